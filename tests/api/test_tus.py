"""Resumable uploads: offsets that are true, whatever happens between two chunks."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import Services, build_app
from app.storage import Storage, Task, UploadWriter, uploads
from tests.api.conftest import BASE_URL, MakeClient, TestClient
from tests.api.test_uploads import ARCHIVE, FORMAT, PICTURES, drive, ended, names_of, request_row
from tests.api.working import new_task

CHUNK = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def metadata(name: str) -> str:
    return "filename " + base64.b64encode(name.encode()).decode()


def begin(client: TestClient, url: str, length: int, name: str = "oi.zip", **more: str) -> Any:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata(name), **more}
    return client.post(url, headers=headers)


def send(client: TestClient, url: str, offset: int, data: bytes, **more: str) -> Any:
    return client.patch(url, content=data, headers={**CHUNK, "Upload-Offset": str(offset), **more})


def offset_of(client: TestClient, url: str) -> int:
    answer = client.head(url, headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


@pytest.fixture
def task_id(client: TestClient, give_data: Callable[..., Task]) -> int:
    number = new_task(client)
    give_data(number)
    return number


def test_the_way_of_the_cli(client: TestClient, task_id: int, storage: Storage) -> None:
    url = f"/api/tasks/{task_id}/annotations/"
    start = client.post(f"{url}?format=Open+Images+V6+1.0&filename=oi.zip", headers={"Upload-Start": ""})
    assert (start.status_code, start.content) == (202, b"")
    made = begin(client, url, len(ARCHIVE))
    assert made.status_code == 201
    place, name = made.headers["location"], made.headers["upload-filename"]
    assert place == f"{BASE_URL}/api/tasks/{task_id}/annotations/{name}"
    assert made.headers["tus-resumable"] == "1.0.0"
    assert send(client, place, 0, ARCHIVE[:50]).headers["upload-offset"] == "50"
    assert offset_of(client, place) == 50
    done = send(client, place, 50, ARCHIVE[50:])
    assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(ARCHIVE)))
    finish = client.post(f"{url}?format=Open+Images+V6+1.0&filename={name}", headers={"Upload-Finish": ""})
    assert finish.status_code == 202
    row = request_row(storage, finish.json()["rq_id"])
    assert row.upload_ids == (name,)
    assert row.format == FORMAT


def test_a_large_picture_comes_beside_a_group(client: TestClient, services: Services) -> None:
    number = new_task(client)
    url = f"/api/tasks/{number}/data"
    made = begin(client, url, len(PICTURES["b.png"]), "b.png")
    assert made.headers["upload-filename"] == "b.png"
    send(client, made.headers["location"], 0, PICTURES["b.png"])
    client.post(url, files={"client_files[0]": ("a.png", PICTURES["a.png"])}, headers={"Upload-Multiple": ""})
    answer = client.post(url, json={"image_quality": 70}, headers={"Upload-Finish": ""})
    assert ended(client, services, answer)["status"] == "finished"
    assert names_of(client, number) == ["a.png", "b.png"]


def test_a_wrong_offset_is_409_with_the_true_one(client: TestClient, task_id: int) -> None:
    place = begin(client, f"/api/tasks/{task_id}/annotations", 10).headers["location"]
    send(client, place, 0, b"abcd")
    for offset in (0, 3, 5, 10):
        answer = send(client, place, offset, b"xyz")
        assert (answer.status_code, answer.headers["upload-offset"]) == (409, "4")
    assert offset_of(client, place) == 4


def test_bytes_past_the_end_are_413_and_the_offset_stays(client: TestClient, task_id: int) -> None:
    place = begin(client, f"/api/tasks/{task_id}/annotations", 10).headers["location"]
    send(client, place, 0, b"abcd")
    assert send(client, place, 4, b"1234567").status_code == 413
    answer = client.patch(place, content=iter([b"123", b"4567"]), headers={**CHUNK, "Upload-Offset": "4"})
    assert answer.status_code == 413
    assert offset_of(client, place) == 4
    assert send(client, place, 4, b"123456").status_code == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "0x0"}, 400),
        ({"Upload-Offset": "٠"}, 400),
        ({"Upload-Offset": ""}, 400),
        ({"Upload-Offset": "9" * 30}, 400),
        ({"Content-Encoding": "gzip"}, 415),
    ],
    ids=str,
)
def test_a_chunk_with_bad_headers_is_refused(
    client: TestClient, task_id: int, headers: dict[str, str], status: int
) -> None:
    place = begin(client, f"/api/tasks/{task_id}/annotations", 10).headers["location"]
    encoded = {name: value.encode() for name, value in {**CHUNK, "Upload-Offset": "0", **headers}.items()}
    answer = client.patch(place, content=b"abc", headers=encoded)
    assert answer.status_code == status, answer.text
    if status == 412:
        assert answer.headers["tus-version"] == "1.0.0"
    assert offset_of(client, place) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "-5"}, 400),
        ({"Upload-Length": "5.0"}, 400),
        ({"Upload-Length": ""}, 400),
        ({"Upload-Length": str(3 << 30)}, 413),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "filename"}, 400),
        ({"Upload-Metadata": "filename !!!"}, 400),
        ({"Upload-Metadata": "filename " + base64.b64encode(b"\xff").decode()}, 400),
        ({"Upload-Metadata": metadata("../a.zip")}, 400),
        ({"Upload-Metadata": metadata("a\\b.zip")}, 400),
        ({"Upload-Metadata": metadata("..")}, 400),
        ({"Upload-Metadata": metadata("a\0b")}, 400),
        ({"Upload-Metadata": metadata("x" * 300)}, 400),
        ({"Upload-Metadata": "a " + "A" * 9000}, 400),
        ({"Tus-Resumable": "0.2.2"}, 412),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_beginning_reserves_nothing(
    client: TestClient, task_id: int, headers: dict[str, str], status: int
) -> None:
    answer = begin(client, f"/api/tasks/{task_id}/annotations", 5, **headers)
    assert answer.status_code == status
    assert "location" not in answer.headers


def test_metadata_may_hold_more(client: TestClient, task_id: int) -> None:
    answer = begin(
        client, f"/api/tasks/{task_id}/annotations", 0, **{"Upload-Metadata": f"{metadata('ä.zip')}, filetype, a Yg=="}
    )
    assert answer.status_code == 201
    place = answer.headers["location"]
    assert send(client, place, 0, b"").headers["upload-offset"] == "0"


def test_options_tell_what_is_spoken(anonymous: TestClient) -> None:
    for path in (
        "/api/tasks/1/annotations/",
        "/api/jobs/1/annotations",
        "/api/projects/1/dataset/",
        "/api/tasks/1/data/",
    ):
        answer = anonymous.options(path)
        assert answer.status_code == 204
        assert (answer.headers["tus-version"], answer.headers["tus-extension"]) == ("1.0.0", "creation")
        assert int(answer.headers["tus-max-size"]) > 0


@pytest.mark.parametrize("filename", ["", "oi.zip", "1_" + "0" * 32, "incomplete"])
def test_finishing_what_is_not_there_is_400(client: TestClient, task_id: int, filename: str) -> None:
    url = f"/api/tasks/{task_id}/annotations"
    name = begin(client, url, 10, "other.zip").headers["upload-filename"]
    query = f"format={FORMAT}&filename={name if filename == 'incomplete' else filename}"
    answer = client.post(f"{url}?{query}", headers={"Upload-Finish": ""})
    assert answer.status_code == 400
    assert "filename" in answer.json()


def test_uploads_belong_to_their_user_and_their_target(make_client: MakeClient, give_data: Callable[..., Task]) -> None:
    owner, stranger = make_client("owner"), make_client("stranger")
    first, second = new_task(owner), new_task(owner)
    for number in (first, second):
        give_data(number)
    foreign = new_task(stranger)
    give_data(foreign)
    place = begin(owner, f"/api/tasks/{first}/annotations", 4).headers["location"]
    name = place.rsplit("/", 1)[1]
    for client, path in (
        (stranger, f"/api/tasks/{first}/annotations/{name}"),
        (stranger, f"/api/tasks/{foreign}/annotations/{name}"),
        (owner, f"/api/tasks/{second}/annotations/{name}"),
        (owner, f"/api/tasks/{first}/data/{name}"),
        (owner, f"/api/tasks/{first}/annotations/unknown"),
    ):
        assert client.head(path).status_code == 404
        assert send(client, path, 0, b"abcd").status_code == 404
    send(owner, place, 0, b"abcd")
    for client, number in ((owner, second), (stranger, foreign)):
        answer = client.post(
            f"/api/tasks/{number}/annotations?format={FORMAT}&filename={name}", headers={"Upload-Finish": ""}
        )
        assert answer.status_code == 400


def test_what_arrived_before_a_cut_counts(services: Services, give_data: Callable[..., Task]) -> None:
    app = build_app(services)
    client = TestClient(app, base_url=BASE_URL)
    number = new_task(client)
    give_data(number)
    place = begin(client, f"/api/tasks/{number}/annotations", 1000).headers["location"]
    path = place.removeprefix(BASE_URL)
    data = os.urandom(1000)
    drive(app, path, {**CHUNK, "Upload-Offset": "0"}, [data[:300], data[300:450]], "PATCH")
    assert offset_of(client, place) == 450
    assert send(client, place, 450, data[450:]).status_code == 204
    with services.storage.database.read() as conn:
        upload = uploads.load(conn, path.rsplit("/", 1)[1])
    source = uploads.open_source(services.storage, upload)
    assert source.read_at(0, 2000) == data
    source.close()


def test_of_two_writers_at_once_one_wins(client: TestClient, task_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = begin(client, f"/api/tasks/{task_id}/annotations", 8).headers["location"]
    finish = UploadWriter.finish
    raced = False

    def finish_second(writer: UploadWriter, parts: Any = ()) -> Any:
        """Between the last byte and the row of the first writer comes the second one."""
        nonlocal raced
        if not raced:
            raced = True
            assert send(client, place, 0, b"second").status_code == 204
        return finish(writer, parts)

    monkeypatch.setattr(UploadWriter, "finish", finish_second)
    answer = send(client, place, 0, b"first")
    assert (answer.status_code, answer.headers["upload-offset"]) == (409, "6")
    assert offset_of(client, place) == 6


def test_the_offset_waits_for_bytes_on_their_way_to_the_disk(
    services: Services, give_data: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was cut off asks where to go on while the disk still works on what arrived."""
    app = build_app(services)
    client = TestClient(app, base_url=BASE_URL)
    number = new_task(client)
    give_data(number)
    place = begin(client, f"/api/tasks/{number}/annotations", 1000).headers["location"]
    finish, told = UploadWriter.finish, []
    arrived, asked = threading.Event(), threading.Event()

    def finish_slowly(writer: UploadWriter, parts: Any = ()) -> Any:
        arrived.set()
        asked.wait(60)
        time.sleep(0.2)
        return finish(writer, parts)

    monkeypatch.setattr(UploadWriter, "finish", finish_slowly)

    async def both() -> None:
        from httpx import ASGITransport, AsyncClient

        async with AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as other:
            headers = {**CHUNK, "Upload-Offset": "0"}
            chunk = asyncio.create_task(other.patch(place, content=b"x" * 300, headers=headers))
            await asyncio.to_thread(arrived.wait, 60)
            question = asyncio.create_task(other.head(place, headers={"Tus-Resumable": "1.0.0"}))
            await asyncio.sleep(0.05)
            asked.set()
            told.append((await question).headers["upload-offset"])
            await chunk

    asyncio.run(both())
    assert told == ["300"]


def test_too_many_open_uploads_are_429(services: Services, give_data: Callable[..., Task]) -> None:
    few = replace(services.settings, tus_max_open_per_user=2)
    client = TestClient(build_app(replace(services, settings=few)), base_url=BASE_URL)
    number = new_task(client)
    give_data(number)
    url = f"/api/tasks/{number}/annotations"
    assert [begin(client, url, 5).status_code for _ in range(3)] == [201, 201, 429]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=12))
def test_any_order_of_chunks_ends_in_the_very_bytes(
    client: TestClient, task_id: int, storage: Storage, steps: list[tuple[int, int]]
) -> None:
    """A model: chunks at the true offset are taken, all others are refused with it."""
    data = bytes(range(40))
    place = begin(client, f"/api/tasks/{task_id}/annotations", len(data)).headers["location"]
    true = 0
    for offset, size in steps:
        chunk = data[offset : offset + size]
        answer = send(client, place, offset, chunk)
        if offset == true:
            assert answer.status_code == 204
            true += len(chunk)
        else:
            assert answer.status_code == 409
        assert int(answer.headers["upload-offset"]) == true
    if true < len(data):
        assert send(client, place, true, data[true:]).status_code == 204
    with storage.database.write() as conn:
        upload = uploads.load(conn, place.rsplit("/", 1)[1])
        assert upload.is_complete
    source = uploads.open_source(storage, upload)
    assert source.read_at(0, 100) == data
    source.close()
