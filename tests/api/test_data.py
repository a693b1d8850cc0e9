"""Frames, chunks, previews, and what is known of frames."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.api import Services, data
from app.storage import Task
from tests.api.conftest import TestClient
from tests.api.working import filled_task, new_task, picture

PICTURES = {
    "a.png": picture(40, 30, 1),
    "b.jpg": picture(20, 10, 2, "JPEG", orientation=6),
    "c.webp": picture(9, 7, 3, "WEBP"),
    "d.png": picture(11, 13, 4),
    "e.jpg": picture(16, 16, 5, "JPEG"),
}


@pytest.fixture
def task_id(client: TestClient, services: Services) -> int:
    return filled_task(client, services, PICTURES, segment_size=2, chunk_size="2")


@pytest.fixture
def job_ids(client: TestClient, task_id: int) -> list[int]:
    found = client.get(f"/api/jobs?task_id={task_id}&sort=id").json()["results"]
    assert [(job["start_frame"], job["stop_frame"]) for job in found] == [(0, 1), (2, 3), (4, 4)]
    return [job["id"] for job in found]


def size_of(data: bytes) -> tuple[int, int, str | None]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return (*image.size, image.format)


# Frames


def test_an_original_frame_is_the_uploaded_file(client: TestClient, task_id: int) -> None:
    for number, media_type in ((0, "image/png"), (2, "image/webp"), (4, "image/jpeg")):
        answer = client.get(f"/api/tasks/{task_id}/data/?number={number}&quality=original&type=frame")
        assert answer.status_code == 200
        assert answer.content == list(PICTURES.values())[number]
        assert answer.headers["content-type"] == media_type
        assert "content-disposition" not in answer.headers


def test_a_turned_picture_is_given_upright(client: TestClient, task_id: int) -> None:
    answer = client.get(f"/api/tasks/{task_id}/data?number=1&quality=original&type=frame")
    assert size_of(answer.content) == (10, 20, "JPEG")
    assert client.get(f"/api/tasks/{task_id}/data/meta").json()["frames"][1]["width"] == 10


def test_a_compressed_frame_is_a_jpeg_of_the_same_size(client: TestClient, task_id: int) -> None:
    for query in ("type=frame&number=0", "type=frame&number=0&quality=compressed"):
        answer = client.get(f"/api/tasks/{task_id}/data?{query}")
        assert (answer.headers["content-type"], size_of(answer.content)) == ("image/jpeg", (40, 30, "JPEG"))


def test_a_picture_in_a_zip_is_inflated(client: TestClient, services: Services) -> None:
    pixels = Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8))
    stream, packed = io.BytesIO(), io.BytesIO()
    pixels.save(stream, "BMP")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/a.bmp", stream.getvalue())
    task_id = filled_task(client, services, {"p.zip": packed.getvalue()})
    answer = client.get(f"/api/tasks/{task_id}/data?number=0&quality=original&type=frame")
    assert (answer.content, answer.headers["content-type"]) == (stream.getvalue(), "image/bmp")


def test_browsers_may_keep_pictures(client: TestClient, task_id: int) -> None:
    for query in ("type=frame&number=0", "type=frame&number=0&quality=original", "type=chunk&number=0"):
        url = f"/api/tasks/{task_id}/data?{query}"
        etag = client.get(url).headers["etag"]
        again = client.get(url, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    etags = {client.get(f"/api/tasks/{task_id}/data?type=frame&number={n}").headers["etag"] for n in range(5)}
    assert len(etags) == 5


@pytest.mark.parametrize(
    "query",
    [
        "",
        "type=frame",
        "number=0",
        "type=picture&number=0",
        "type=frame&number=5",
        "type=frame&number=-1",
        "type=frame&number=a",
        "type=frame&number=0&quality=best",
        "type=chunk&number=3",
        "type=chunk",
        "type=frame&number=99999999999999999999",
    ],
)
def test_a_bad_question_is_400(client: TestClient, task_id: int, query: str) -> None:
    assert client.get(f"/api/tasks/{task_id}/data?{query}").status_code == 400


def test_what_is_not_there_is_404(client: TestClient, task_id: int) -> None:
    assert client.get(f"/api/tasks/{task_id}/data?type=context_image&number=0").status_code == 404
    empty = new_task(client)
    for path in ("data?type=frame&number=0", "data/meta", "preview"):
        assert client.get(f"/api/tasks/{empty}/{path}").status_code == 404
        assert client.get(f"/api/tasks/987654/{path}").status_code == 404


def test_bytes_that_are_gone_are_a_defect_and_not_a_crash(
    client: TestClient, give_data: Callable[..., Task], services: Services
) -> None:
    """Frames without pictures behind them: nothing hangs, nothing leaks a path."""
    number = new_task(client)
    give_data(number)
    answer = client.get(f"/api/tasks/{number}/data?type=frame&number=0&quality=original")
    assert answer.status_code in (404, 500)
    assert "/" not in answer.json()["detail"]


# Chunks


@pytest.mark.parametrize("quality", ["original", "compressed"])
def test_a_chunk_holds_its_frames_in_order(client: TestClient, task_id: int, quality: str) -> None:
    names: list[str] = []
    pictures: list[bytes] = []
    for number in range(3):
        answer = client.get(f"/api/tasks/{task_id}/data/?number={number}&quality={quality}&type=chunk")
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            names += archive.namelist()
            pictures += [archive.read(name) for name in archive.namelist()]
    sizes = [(40, 30), (10, 20), (9, 7), (11, 13), (16, 16)]
    assert [size_of(data)[:2] for data in pictures] == sizes
    if quality == "original":
        assert names == ["000000.png", "000001.jpg", "000000.webp", "000001.png", "000000.jpg"]
        assert pictures[0] == PICTURES["a.png"]
    else:
        assert {size_of(data)[2] for data in pictures} == {"JPEG"}


def members(answer: Any) -> int:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return len(archive.namelist())


def test_a_job_sees_its_own_frames(client: TestClient, job_ids: list[int]) -> None:
    url = f"/api/jobs/{job_ids[1]}/data"
    assert client.get(f"{url}?type=frame&number=2&quality=original").content == PICTURES["c.webp"]
    for number in (0, 1, 4):
        assert client.get(f"{url}?type=frame&number={number}").status_code == 400
    assert members(client.get(f"{url}?type=chunk&number=1")) == 2
    assert members(client.get(f"{url}?type=chunk&index=0")) == 2
    for query in ("type=chunk&number=0", "type=chunk&index=1", "type=chunk&number=9"):
        assert client.get(f"{url}?{query}").status_code == 400


def test_previews_are_small(client: TestClient, services: Services, task_id: int, job_ids: list[int]) -> None:
    large = filled_task(client, services, {"a.png": picture(600, 300)})
    assert size_of(client.get(f"/api/tasks/{large}/preview").content) == (256, 128, "JPEG")
    assert size_of(client.get(f"/api/jobs/{job_ids[2]}/preview").content) == (16, 16, "JPEG")
    project = client.post("/api/projects", json={"name": "p"}).json()["id"]
    assert client.get(f"/api/projects/{project}/preview").status_code == 404
    filled_task(client, services, {"a.png": picture(30, 20)}, project_id=project, labels=[])
    new_task(client, project_id=project, labels=[])
    assert size_of(client.get(f"/api/projects/{project}/preview").content) == (30, 20, "JPEG")


# What is known of frames


@pytest.mark.parametrize("frames_a_piece", [1, 2, 3, 5])
def test_meta_of_many_frames_comes_in_pieces(
    client: TestClient, task_id: int, job_ids: list[int], frames_a_piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same whatever the pieces; a task of 1.7 million frames is never there as a whole."""
    paths = [f"/api/tasks/{task_id}/data/meta", *(f"/api/jobs/{number}/data/meta" for number in job_ids)]
    assert client.patch(paths[0], json={"deleted_frames": [1, 4]}).status_code == 200
    whole = [client.get(path) for path in paths]
    monkeypatch.setattr(data, "FRAMES_A_PIECE", frames_a_piece)
    answers = [client.get(path) for path in paths]
    assert [answer.content for answer in answers] == [answer.content for answer in whole]
    assert ("content-length" in answers[0].headers) == (frames_a_piece == 5)
    assert client.patch(paths[0], json={"deleted_frames": [1, 4]}).json()["frames"] == whole[0].json()["frames"]


def test_meta_tells_names_and_sizes(client: TestClient, task_id: int) -> None:
    meta = client.get(f"/api/tasks/{task_id}/data/meta").json()
    assert [(f["name"], f["width"], f["height"]) for f in meta["frames"]] == [
        ("a.png", 40, 30),
        ("b.jpg", 10, 20),
        ("c.webp", 9, 7),
        ("d.png", 11, 13),
        ("e.jpg", 16, 16),
    ]
    assert all(f["related_files"] == 0 and f["has_related_context"] is False for f in meta["frames"])
    assert {key: value for key, value in meta.items() if key not in ("frames", "chunks_updated_date")} == {
        "chunk_size": 2,
        "size": 5,
        "image_quality": 70,
        "start_frame": 0,
        "stop_frame": 4,
        "frame_filter": "",
        "deleted_frames": [],
        "included_frames": None,
        "chapters": None,
        "storage": "local",
        "storage_method": "cache",
        "cloud_storage_id": None,
    }
    assert meta["chunks_updated_date"].endswith("Z")


def test_deleted_frames_are_replaced(client: TestClient, task_id: int, job_ids: list[int]) -> None:
    url = f"/api/tasks/{task_id}/data/meta"
    changed = client.patch(url, json={"deleted_frames": [4, 1, 1]}).json()
    assert (changed["deleted_frames"], changed["size"], len(changed["frames"])) == ([1, 4], 5, 5)
    assert client.patch(url, json={}).json()["deleted_frames"] == [1, 4]
    job = client.patch(f"/api/jobs/{job_ids[1]}/data/meta", json={"deleted_frames": [2]}).json()
    assert (job["deleted_frames"], job["start_frame"], job["stop_frame"], job["size"]) == ([2], 2, 3, 2)
    assert [frame["name"] for frame in job["frames"]] == ["c.webp", "d.png"]
    assert client.get(url).json()["deleted_frames"] == [1, 2, 4]
    assert client.patch(url, json={"deleted_frames": []}).json()["deleted_frames"] == []


def test_start_and_stop_count_the_sorted_uploads_of_a_task_and_of_a_job(client: TestClient, services: Services) -> None:
    """As in CVAT: what is shown are the uploads `start_frame, start_frame + step … stop_frame`."""
    names = [f"{number}.png" for number in range(9)]
    asked = {"start_frame": "1", "stop_frame": "8", "frame_filter": "step=2"}
    task_id = filled_task(client, services, dict.fromkeys(names, PICTURES["a.png"]), segment_size=3, **asked)
    (first, last) = client.get(f"/api/jobs?task_id={task_id}&sort=id").json()["results"]
    assert (last["start_frame"], last["stop_frame"]) == (3, 3), "frames of the task, everywhere else"
    shown = {}
    for path in (f"tasks/{task_id}", f"jobs/{first['id']}", f"jobs/{last['id']}"):
        meta = client.get(f"/api/{path}/data/meta").json()
        assert meta["frame_filter"] == "step=2"
        shown[path] = (meta["start_frame"], meta["stop_frame"])
        assert names[meta["start_frame"] : meta["stop_frame"] + 1 : 2] == [frame["name"] for frame in meta["frames"]]
    assert list(shown.values()) == [(1, 7), (1, 5), (7, 7)]


@pytest.mark.parametrize("numbers", [[5], [-1], ["a"], [True], [1.5], 3, [None]], ids=str)
def test_frames_that_are_not_there_cannot_be_deleted(
    client: TestClient, task_id: int, job_ids: list[int], numbers: Any
) -> None:
    url = f"/api/tasks/{task_id}/data/meta"
    assert client.patch(url, json={"deleted_frames": numbers}).status_code == 400
    assert client.patch(f"/api/jobs/{job_ids[0]}/data/meta", json={"deleted_frames": [2]}).status_code == 400
    assert client.get(url).json()["deleted_frames"] == []


def test_a_deleted_frame_is_still_shown(client: TestClient, task_id: int) -> None:
    client.patch(f"/api/tasks/{task_id}/data/meta", json={"deleted_frames": [0]})
    assert client.get(f"/api/tasks/{task_id}/data?type=frame&number=0&quality=original").content == PICTURES["a.png"]
    assert members(client.get(f"/api/tasks/{task_id}/data?type=chunk&number=0")) == 2
