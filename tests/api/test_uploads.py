"""Pictures and archives on their way in: forms, groups, bare bodies, and what is refused before a byte is read."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import Services, build_app
from app.storage import Request, Storage, requests, uploads, users
from tests.api.conftest import BASE_URL, MakeClient, TestClient
from tests.api.working import as_form, filled_task, in_chunks, new_task, picture, raw_form, work

FORMAT = "Open Images V6 1.0"
PICTURES = {"b.png": picture(seed=1), "a.png": picture(10, 4, seed=2), "c.jpg": picture(5, 5, 3, "JPEG")}


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


ARCHIVE = zipped({"annotations/x.csv": b"ImageID\n"})


def request_row(storage: Storage, rq_id: str) -> Request:
    with storage.database.read() as conn:
        return requests.load(conn, rq_id)


def staged(storage: Storage, client: TestClient, task_id: int, kind: str = "data") -> list[Any]:
    with storage.database.read() as conn:
        user = users.find(conn, "admin") or users.find(conn, "local")
        assert user is not None
        return list(uploads.waiting(conn, user, kind=kind, target="task", target_id=task_id))


def names_of(client: TestClient, task_id: int) -> list[str]:
    return [frame["name"] for frame in client.get(f"/api/tasks/{task_id}/data/meta").json()["frames"]]


def ended(client: TestClient, services: Services, answer: Any) -> Any:
    assert answer.status_code == 202, answer.text
    work(services)
    return client.get(f"/api/requests/{answer.json()['rq_id']}").json()


# Pictures


def test_one_form_makes_the_data(client: TestClient, services: Services) -> None:
    task_id = new_task(client, segment_size=2)
    answer = client.post(f"/api/tasks/{task_id}/data", files=as_form(PICTURES), data={"image_quality": "55"})
    assert ended(client, services, answer)["status"] == "finished"
    assert names_of(client, task_id) == ["a.png", "b.png", "c.jpg"]
    task = client.get(f"/api/tasks/{task_id}").json()
    assert (task["size"], task["image_quality"], task["mode"], task["jobs"]["count"]) == (3, 55, "annotation", 2)


@pytest.mark.parametrize("text", ["--5", "-5", "5-", "101", "²", "1.5", "0x5"])
def test_a_quality_that_is_no_number_is_refused(client: TestClient, text: str) -> None:
    url = f"/api/tasks/{new_task(client)}/data"
    for sent in ({"data": {"image_quality": text}}, {"json": {"image_quality": text}}):
        answer = client.post(url, **sent)  # type: ignore[arg-type]
        assert (answer.status_code, next(iter(answer.json()))) == (400, "image_quality")


def test_the_request_says_what_was_uploaded(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = new_task(client)
    params = {"sorting_method": "natural", "start_frame": "1", "frame_filter": "step=2", "use_cache": "False", "x": "y"}
    answer = client.post(f"/api/tasks/{task_id}/data/", files=as_form(PICTURES), data=params)
    row = request_row(storage, answer.json()["rq_id"])
    assert (row.type, row.target, row.task_id) == ("create:task", "task", task_id)
    assert row.options["uploads"] == list(row.upload_ids)
    assert row.options["params"] == {"sorting_method": "natural", "start_frame": 1, "frame_filter": "step=2"}


@pytest.mark.parametrize("empty", ["", "True"])
def test_the_way_of_the_sdk(client: TestClient, services: Services, empty: str) -> None:
    """Start, groups whose numbering begins anew, a finish in JSON."""
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data/"
    start = client.post(url, headers={"Upload-Start": empty, "Content-Type": "application/json"})
    assert (start.status_code, start.content) == (202, b"")
    for name, data in PICTURES.items():
        body, headers = raw_form(
            [('name="image_quality"', b"70"), (f'name="client_files[0]"; filename="/home/me/{name}"', data)]
        )
        group = client.post(url, content=body, headers={**headers, "Upload-Multiple": empty})
        assert (group.status_code, group.content) == (200, b"")
    finish = {"image_quality": 70, "copy_data": False, "sorting_method": "predefined", "use_cache": False}
    finish["upload_file_order"] = ["c.jpg", "a.png", "b.png"]  # type: ignore[assignment]
    answer = client.post(url, json=finish, headers={"Upload-Finish": empty})
    assert ended(client, services, answer)["status"] == "finished"
    assert names_of(client, task_id) == ["c.jpg", "a.png", "b.png"]


def test_what_waited_from_an_earlier_try_is_told_and_given_up(client: TestClient, services: Services) -> None:
    """The SDK's `upload_data` with a wrong parameter, then with the right one and fewer files."""
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data/"

    def send(pictures: dict[str, bytes], **params: Any) -> Any:
        client.post(url, headers={"Upload-Start": ""})
        client.post(url, files=as_form(pictures), headers={"Upload-Multiple": ""})
        return client.post(url, json=params, headers={"Upload-Finish": ""})

    assert send(PICTURES, image_quality=101).status_code == 400
    one = {"a.png": PICTURES["a.png"]}
    refused = ended(client, services, send(one))
    assert refused["status"] == "failed"
    assert "earlier try" in refused["message"]
    assert ended(client, services, send(one))["message"] == "1 frame"
    assert names_of(client, task_id) == ["a.png"]


@pytest.mark.parametrize(
    ("order", "expected", "jobs"),
    [
        ({"upload_file_order": ["z.png", "p.zip"]}, ["z.png", "y.png", "x/a.png"], 1),
        ({"upload_file_order": ["p.zip", "z.png"]}, ["y.png", "x/a.png", "z.png"], 1),
        ({"upload_file_order": ["x/a.png", "z.png", "y.png"]}, ["x/a.png", "z.png", "y.png"], 1),
        ({"job_file_mapping": [["z.png"], ["p.zip"]]}, ["z.png", "y.png", "x/a.png"], 2),
    ],
)
def test_an_order_of_files_may_name_a_zip_for_what_is_in_it(
    client: TestClient, services: Services, order: dict[str, Any], expected: list[str], jobs: int
) -> None:
    """As the SDK does it for `sorting_method=predefined`: it names the files that it sends."""
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data/"
    archive = zipped({"y.png": PICTURES["b.png"], "x/a.png": PICTURES["a.png"]})
    files = {"client_files[0]": ("p.zip", archive), "client_files[1]": ("z.png", PICTURES["a.png"])}
    client.post(url, files=files, headers={"Upload-Multiple": ""})
    answer = client.post(url, json={"sorting_method": "predefined", **order}, headers={"Upload-Finish": ""})
    ending = ended(client, services, answer)
    assert ending["status"] == "finished", ending["message"]
    assert names_of(client, task_id) == expected
    assert client.get(f"/api/tasks/{task_id}").json()["jobs"]["count"] == jobs


@pytest.mark.parametrize("n_before", [0, 4000, 5000])
@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_form_may_have_notes_around_it(client: TestClient, services: Services, n_before: int, size: int) -> None:
    task_id = new_task(client)
    data = PICTURES["a.png"] + bytes(size)
    body, headers = raw_form([('name="image_quality"', b"70"), ('name="client_files[0]"; filename="a.png"', data)])
    body = b"n" * n_before + b"\r\n" + body + b"n" * min(n_before, 4000)
    answer = client.post(f"/api/tasks/{task_id}/data", content=in_chunks(body, 70_000), headers=headers)
    if n_before > 4096:
        assert (answer.status_code, answer.json()["code"]) == (400, "form.malformed")
        assert "4,096 bytes" in answer.json()["detail"]
        return
    assert ended(client, services, answer)["status"] == "finished"
    assert names_of(client, task_id) == ["a.png"]


@pytest.mark.parametrize("kind", ["empty", "urlencoded", "form"])
def test_the_finish_may_be_a_form_or_nothing(client: TestClient, services: Services, kind: str) -> None:
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data"
    client.post(url, files=as_form(PICTURES), headers={"Upload-Multiple": ""})
    headers = {"Upload-Finish": ""}
    if kind == "empty":
        answer = client.post(url, headers={**headers, "Content-Type": "application/json"})
    elif kind == "urlencoded":
        answer = client.post(url, headers=headers, data={"job_file_mapping[0][0]": "b.png", "job_file_mapping": "x"})
        assert answer.status_code == 400
        pairs = "job_file_mapping[0][0]=b.png&job_file_mapping[1][0]=a.png&job_file_mapping[1][1]=c.jpg"
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = client.post(url, headers=headers, content=pairs)
    else:
        body, form_headers = raw_form([('name="job_file_mapping"', b'[["b.png"], ["a.png", "c.jpg"]]')])
        answer = client.post(url, content=body, headers={**headers, **form_headers})
    assert ended(client, services, answer)["status"] == "finished"
    if kind != "empty":
        assert names_of(client, task_id) == ["b.png", "a.png", "c.jpg"]
        assert client.get(f"/api/tasks/{task_id}").json()["jobs"]["count"] == 2


def test_a_zip_of_pictures_keeps_its_folders(client: TestClient, services: Services) -> None:
    for headers, more in (({"Content-Type": "application/zip"}, {}), ({}, {"files": True})):
        task_id = new_task(client)
        body = zipped({f"x/{name}": data for name, data in PICTURES.items()})
        if more:
            answer = client.post(f"/api/tasks/{task_id}/data", files={"client_files[0]": ("p.zip", body)})
        else:
            answer = client.post(f"/api/tasks/{task_id}/data", content=in_chunks(body, 100), headers=headers)
        assert ended(client, services, answer)["status"] == "finished"
        assert names_of(client, task_id) == ["x/a.png", "x/b.png", "x/c.jpg"]


def test_data_is_attached_once(client: TestClient, services: Services) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/data"
    for headers in ({}, {"Upload-Start": ""}, {"Upload-Multiple": ""}, {"Upload-Finish": ""}, {"Upload-Length": "5"}):
        answer = client.post(url, files=as_form(PICTURES), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "task.has_data")


def test_a_group_that_was_sent_again_counts_once(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data"
    for _ in range(2):
        client.post(url, files=as_form(PICTURES), headers={"Upload-Multiple": ""})
    assert len(staged(storage, client, task_id)) == 2
    assert ended(client, services, client.post(url, headers={"Upload-Finish": ""}))["status"] == "finished"
    assert len(names_of(client, task_id)) == 3


def test_two_pictures_of_one_name_are_never_taken_for_one(client: TestClient, services: Services) -> None:
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data"
    same_size = bytearray(PICTURES["a.png"])
    same_size[-5] ^= 1
    for data in (PICTURES["a.png"], bytes(same_size)):
        client.post(url, files=as_form({"a.png": data}), headers={"Upload-Multiple": ""})
    told = ended(client, services, client.post(url, headers={"Upload-Finish": ""}))
    assert told["status"] == "failed"
    assert "a.png" in told["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"remote_files": ["http://127.0.0.1/a.png"]},
        {"server_files": ["a.png"]},
        {"cloud_storage_id": 3},
        {"server_files": [], "filename_pattern": "*"},
        {"validation_params": {"mode": "gt"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("headers", [{}, {"Upload-Finish": ""}], ids=["one request", "finish"])
def test_pictures_from_elsewhere_are_refused(client: TestClient, body: dict[str, Any], headers: dict[str, str]) -> None:
    answer = client.post(f"/api/tasks/{new_task(client)}/data", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "data.source")
    assert next(iter(body)) in answer.json()["detail"] or "filename_pattern" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_quality", 101),
        ("image_quality", "good"),
        ("image_quality", True),
        ("chunk_size", 0),
        ("start_frame", -1),
        ("stop_frame", 1.5),
        ("sorting_method", "by size"),
        ("frame_filter", "step=0"),
        ("upload_file_order", {"a": 1}),
        ("job_file_mapping", ["a.png"][0:0] or [[]]),
        ("job_file_mapping", 5),
    ],
)
def test_a_bad_parameter_is_named(client: TestClient, name: str, value: Any) -> None:
    url = f"/api/tasks/{new_task(client)}/data"
    client.post(url, files=as_form(PICTURES), headers={"Upload-Multiple": ""})
    answer = client.post(url, json={name: value}, headers={"Upload-Finish": ""})
    assert answer.status_code == 400
    assert name in answer.json()["detail"]


def test_no_picture_is_no_data(client: TestClient, storage: Storage) -> None:
    task_id = new_task(client)
    url = f"/api/tasks/{task_id}/data"
    for more in ({}, {"json": {"image_quality": 70}}, {"headers": {"Upload-Finish": ""}}, {"data": {"a": "b"}}):
        answer = client.post(url, **more)
        assert (answer.status_code, answer.json()["code"]) == (400, "upload.files")
    answer = client.post(url, files={"other": ("a.png", b"x")})
    assert (answer.status_code, answer.json()["code"]) == (400, "form.field")
    assert answer.json()["detail"].endswith("send it in the field client_files[0]")
    assert staged(storage, client, task_id) == []


def test_a_refused_request_keeps_nothing(client: TestClient, storage: Storage, services: Services) -> None:
    task_id = new_task(client)
    answer = client.post(f"/api/tasks/{task_id}/data", files=as_form(PICTURES), data={"image_quality": "500"})
    assert answer.status_code == 400
    assert staged(storage, client, task_id) == []
    assert list(services.storage.blobs.list("uploads/")) == []


# Archives


def test_an_archive_in_one_form(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = filled_task(client, services, PICTURES)
    answer = client.post(
        f"/api/tasks/{task_id}/annotations/?format=Open+Images+V6+1.0&import_mode=append&unmatched=skip",
        files={"annotation_file": ("oi.zip", ARCHIVE)},
    )
    assert answer.status_code == 202
    row = request_row(storage, answer.json()["rq_id"])
    assert (row.type, row.target, row.task_id, row.job_id, row.format) == (
        "import:annotations",
        "task",
        task_id,
        None,
        FORMAT,
    )
    upload_id = row.upload_ids[0]
    assert row.options == {
        "upload": upload_id,
        "format": FORMAT,
        "conv_mask_to_poly": True,
        "mode": "append",
        "dry_run": False,
        "unmatched": "skip",
    }
    with storage.database.read() as conn:
        upload = uploads.load(conn, upload_id)
    source = uploads.open_source(storage, upload)
    assert (source.read_at(0, source.size), upload.parts, upload.filename) == (ARCHIVE, (), "oi.zip")
    source.close()


def test_an_archive_into_a_job_and_a_project(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = filled_task(client, services, PICTURES)
    job_id = client.get(f"/api/jobs?task_id={task_id}").json()["results"][0]["id"]
    project_id = client.post("/api/projects", json={"name": "p"}).json()["id"]
    answer = client.post(
        f"/api/jobs/{job_id}/annotations?format={FORMAT}&conv_mask_to_poly=False",
        content=ARCHIVE,
        headers={"Content-Type": "application/zip"},
    )
    row = request_row(storage, answer.json()["rq_id"])
    assert (row.target, row.task_id, row.job_id, row.options["conv_mask_to_poly"]) == ("job", task_id, job_id, False)
    answer = client.post(
        f"/api/projects/{project_id}/dataset/?format={FORMAT}", files={"dataset_file": ("d.zip", ARCHIVE)}
    )
    row = request_row(storage, answer.json()["rq_id"])
    assert (row.type, row.target, row.project_id, row.task_id) == ("import:dataset", "project", project_id, None)


def test_a_group_is_found_again_by_its_name(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/annotations"
    client.post(url, files={"annotation_file": ("/x/oi.zip", ARCHIVE)}, headers={"Upload-Multiple": ""})
    answer = client.post(f"{url}?format={FORMAT}&filename=oi.zip", headers={"Upload-Finish": ""})
    assert answer.status_code == 202
    assert request_row(storage, answer.json()["rq_id"]).upload_ids


def test_an_upload_that_was_only_looked_at_waits_for_its_import(client: TestClient, services: Services) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/annotations"
    client.post(url, files={"annotation_file": ("/x/oi.zip", ARCHIVE)}, headers={"Upload-Multiple": ""})

    def finish(**query: str) -> Any:
        asked = {"format": FORMAT, "filename": "oi.zip", **query}
        return client.post(url, params=asked, headers={"Upload-Finish": ""})

    for _ in range(2):
        ended(client, services, finish(dry_run="true"))
        assert len(staged(services.storage, client, task_id, "annotations")) == 1
    ended(client, services, finish())
    assert staged(services.storage, client, task_id, "annotations") == []
    assert finish().json()["code"] == "upload.unknown"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "format.unknown"),
        ("format=Open+Images+V9+1.0", 400, "format.unknown"),
        ("format=Write+Only+2.1", 405, "request.method"),
        (f"format={FORMAT}&import_mode=mix", 400, "option.value"),
        (f"format={FORMAT}&conv_mask_to_poly=maybe", 400, "option.value"),
        (f"format={FORMAT}&location=cloud_storage&cloud_storage_id=1", 400, "unsupported"),
    ],
)
def test_a_bad_query_is_refused_and_nothing_kept(
    client: TestClient, services: Services, query: str, status: int, code: str
) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/annotations?{query}"
    answer = client.post(url, content=ARCHIVE, headers={"Content-Type": "application/zip"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code == "format.unknown" and query:
        assert FORMAT in answer.json()["detail"]
    assert staged(services.storage, client, task_id, "annotations") == []


def test_a_form_with_no_archive_or_one_twice_is_refused(
    client: TestClient, services: Services, storage: Storage
) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/annotations?format={FORMAT}"
    twice = [("annotation_file", ("a.zip", b"a")), ("annotation_file", ("b.zip", b"b")), ("file", ("a.zip", b"a"))]
    body, headers = raw_form([('name="x"', b"y")])
    for answer in (
        client.post(url, files=twice),
        client.post(url, content=body, headers=headers),
        client.post(url, json={"a": 1}),
        client.post(url, content=b"", headers={"Content-Type": "application/zip"}),
    ):
        assert answer.status_code == 400, answer.text
    assert staged(storage, client, task_id, "annotations") == []


def test_an_archive_for_a_task_without_pictures_is_refused(client: TestClient) -> None:
    url = f"/api/tasks/{new_task(client)}/annotations?format={FORMAT}"
    answer = client.post(url, files={"annotation_file": ("oi.zip", ARCHIVE)})
    assert (answer.status_code, answer.json()["code"]) == (400, "task.no_data")


def test_a_second_import_while_one_runs_is_409(client: TestClient, services: Services, storage: Storage) -> None:
    task_id = filled_task(client, services, PICTURES)
    url = f"/api/tasks/{task_id}/annotations?format={FORMAT}"
    assert client.post(url, files={"annotation_file": ("oi.zip", ARCHIVE)}).status_code == 202
    assert client.post(url, files={"annotation_file": ("oi.zip", ARCHIVE)}).status_code == 409
    assert staged(storage, client, task_id, "annotations") == []


# Limits, rights, and bodies that never end


def test_a_body_that_is_too_large_is_refused_announced_or_not(services: Services) -> None:
    small = replace(services.settings, max_data_upload_bytes=1000, max_annotation_upload_bytes=1000)
    client = TestClient(build_app(replace(services, settings=small)), base_url=BASE_URL)
    url = f"/api/tasks/{new_task(client)}/data"
    headers = {"Content-Type": "application/zip"}
    assert client.post(url, content=bytes(1001), headers=headers).status_code == 413
    assert client.post(url, content=in_chunks(bytes(5000), 100), headers=headers).status_code == 413
    assert client.post(url, files=as_form({"a.png": bytes(2000)})).status_code == 413
    assert list(services.storage.blobs.list("uploads/")) == []


def test_too_little_disk_is_507(services: Services, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.errors import NoSpace

    def full(needed_bytes: int = 0) -> None:
        raise NoSpace("there is not enough space on the disk")

    client = TestClient(build_app(services), base_url=BASE_URL)
    task_id = new_task(client)
    monkeypatch.setattr(storage.blobs, "check_space", full)
    assert client.post(f"/api/tasks/{task_id}/data", files=as_form(PICTURES)).status_code == 507
    tus = {"Upload-Length": "5", "Upload-Metadata": "filename YS5wbmc="}
    assert client.post(f"/api/tasks/{task_id}/data", headers=tus).status_code == 507


def test_a_stranger_uploads_nothing(make_client: MakeClient, storage: Storage) -> None:
    owner, stranger = make_client("owner"), make_client("stranger")
    task_id = new_task(owner)
    for headers in ({}, {"Upload-Multiple": ""}, {"Upload-Start": ""}, {"Upload-Finish": ""}, {"Upload-Length": "4"}):
        answer = stranger.post(f"/api/tasks/{task_id}/data", files=as_form(PICTURES), headers=headers)
        assert answer.status_code == 404
    assert list(storage.blobs.list("uploads/")) == []


def drive(app: Any, path: str, headers: dict[str, str], pieces: list[bytes], method: str = "POST") -> list[Any]:
    """Call the app as a server does whose client goes away after these pieces of a body."""
    messages: list[Any] = []
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)

    url, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url,
        "raw_path": url.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    return messages


def test_a_form_that_is_cut_leaves_nothing(services: Services, storage: Storage) -> None:
    app = build_app(services)
    task_id = new_task(TestClient(app, base_url=BASE_URL))
    body, headers = raw_form([('name="client_files[0]"; filename="a.png"', PICTURES["a.png"])])
    drive(app, f"/api/tasks/{task_id}/data", headers, [body[:80], body[80:-30]])
    assert list(storage.blobs.list("uploads/")) == []
    with storage.database.read() as conn:
        assert requests.counts(conn).get("queued", 0) == 0


def test_json_of_the_finish_is_bounded(services: Services) -> None:
    small = replace(services.settings, max_json_body_bytes=1024)
    client = TestClient(build_app(replace(services, settings=small)), base_url=BASE_URL)
    url = f"/api/tasks/{new_task(client)}/data"
    for body in (json.dumps({"a": "b" * 2000}).encode(), b"[" * 500, b"{nonsense", b"[1]"):
        headers = {"Upload-Finish": "", "Content-Type": "application/json"}
        assert client.post(url, content=body, headers=headers).status_code in (400, 413)
    headers = {"Upload-Finish": "", "Content-Type": "text/plain"}
    assert client.post(url, content=b"x", headers=headers).status_code == 415


HEADERS = {
    "Upload-Start": ["", "True"],
    "Upload-Finish": ["", "\xff"],
    "Upload-Multiple": [""],
    "Upload-Length": ["0", "5", "-1", "9" * 40, "x"],
    "Upload-Metadata": ["", "filename", "filename YQ==", ",,,", "filename \xe4", "name YS9i"],
    "Upload-Offset": ["0", "", "1e3"],
    "Tus-Resumable": ["1.0.0", "2", ""],
    "Content-Type": ["", ";", "multipart/form-data", "multipart/form-data; boundary=XX", "application/json", "a/b; c",
                     "application/x-www-form-urlencoded", "application/zip", "application/offset+octet-stream"],
    "Range": ["bytes=0-", "x"],
}  # fmt: skip
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"upload_file_order": 1}',
    b'{"job_file_mapping": [[["a"]]]}',
    b"a=b&c[0]=d&c=e",
    b"job_file_mapping[9][0]=a",
    b"job_file_mapping=[",
    b"&" * 200_000,
    b"\xff" * 50,
    b"--XX--\r\n",
    raw_form([('name="image_quality"', b"x")])[0],
    raw_form([('name="client_files[0]"; filename="a.png"', b"x")])[0],
    raw_form([('name="file"; filename="a"', b"")])[0],
]


@pytest.fixture
def targets(client: TestClient, services: Services) -> tuple[int, int, int]:
    """A task without data, a task with data, a project."""
    project = client.post("/api/projects", json={"name": "p"}).json()["id"]
    return new_task(client), filled_task(client, services, PICTURES), project


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mix_of_headers_and_bodies_is_a_defect(
    client: TestClient, targets: tuple[int, int, int], data: st.DataObject
) -> None:
    """Any refusal is fine, as long as it is one."""
    empty, full, project = targets
    path = data.draw(
        st.sampled_from(
            [
                f"/api/tasks/{empty}/data",
                f"/api/tasks/{full}/annotations",
                f"/api/tasks/{full}/annotations/1_0",
                f"/api/projects/{project}/dataset",
                f"/api/tasks/{full}/import",
                f"/api/tasks/{empty}/annotations",
            ]
        )
    )
    names = data.draw(st.lists(st.sampled_from(sorted(HEADERS)), unique=True, max_size=4))
    headers = {name: data.draw(st.sampled_from(HEADERS[name])).encode("latin-1") for name in names}
    query = data.draw(
        st.sampled_from(
            ["?wait=0", "?wait=0&format=Open+Images+V6+1.0", "?format=&filename=x&wait=0", "?filename=..&wait=0"]
        )
    )
    method = data.draw(st.sampled_from(["POST", "PATCH", "HEAD", "PUT", "OPTIONS", "GET"]))
    answer = client.request(method, path + query, content=data.draw(st.sampled_from(BODIES)), headers=headers)
    assert answer.status_code < 500 or answer.status_code == 503, (answer.status_code, answer.text)
