"""The one-call doors, and exports through CVAT's: what is asked of the workers, and what the caller gets."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.api import Services, build_app
from app.api.answers import ascii_name, content_disposition
from app.api.imports import ask
from app.api.queries import options_of
from app.errors import AppError, Busy, ImportProblems, InvalidInput
from app.requests.context import Context
from app.storage import Result, Storage, Task, requests
from app.storage.annotations import lock_task
from app.storage.changes import touch_task
from tests.api.conftest import BASE_URL, MakeClient, TestClient
from tests.api.test_uploads import FORMAT, request_row
from tests.api.working import HANDLERS, as_form, new_task, picture, raw_form, work

REPORT = {"problems": [], "counts": {}, "n_errors": 0, "n_warnings": 0, "annotations": {"shapes": 3}}


@pytest.fixture
def task_id(client: TestClient, give_data: Callable[..., Task]) -> int:
    number = new_task(client, name='Wiese & "Straße"; ünd/so')
    give_data(number, 6, 3)
    return number


class Workers:
    """Works on what is announced, beside the caller."""

    def __init__(self, services: Services, handlers: Mapping[str, Any]) -> None:
        self._services, self._handlers = services, handlers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            work(self._services, self._handlers)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def finish(context: Context) -> None:
    with context.finishing(message="imported 3 shapes", report=REPORT):
        pass


def refuse(context: Context) -> None:
    raise ImportProblems.single("csv.not_a_number", "one is no number", file="a.csv", row=3, column="XMin")


# Import


@pytest.mark.parametrize("way", ["form", "zip", "curl", "untyped"])
def test_a_finished_import_answers_with_its_report(
    client: TestClient, services: Services, storage: Storage, task_id: int, way: str
) -> None:
    url = f"/api/tasks/{task_id}/import?format=open+images+v6+1.0&wait=150"
    with Workers(services, {"import:annotations": finish}):
        if way == "form":
            answer = client.post(url, files={"file": ("oi.zip", b"PK")})
        else:
            kinds = {"zip": "application/zip", "curl": "application/x-www-form-urlencoded", "untyped": ""}
            answer = client.post(url, content=b"PK", headers={"Content-Type": kinds[way]} if kinds[way] else {})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {name: told[name] for name in REPORT} == REPORT
    assert (told["status"], told["message"]) == ("finished", "imported 3 shapes")
    options = request_row(storage, told["rq_id"]).options
    assert {name: value for name, value in options.items() if name != "upload"} == {
        "format": FORMAT,
        "conv_mask_to_poly": False,
        "mode": "replace",
        "dry_run": False,
    }


def test_who_waited_for_an_import_that_came_too_late_is_told_as_at_once(
    client: TestClient, services: Services, storage: Storage, task_id: int
) -> None:
    def work_too_late(context: Context) -> None:
        with storage.database.write() as conn:
            lock_task(conn, task_id)
            touch_task(conn, task_id)
        with context.finishing() as conn:
            requests.check_revision(conn, context.request)

    headers = {"If-Match": client.get(f"/api/tasks/{task_id}/annotations").headers["etag"]}
    with Workers(services, {"import:annotations": work_too_late}):
        answer = client.post(f"/api/tasks/{task_id}/import?wait=150", content=b"PK", headers=headers)
    told = answer.json()
    assert (answer.status_code, told["code"], told["status"]) == (412, "request.outdated", "failed")
    assert "nothing is imported; read them again" in told["detail"]


def test_options_travel_with_the_request(client: TestClient, storage: Storage, task_id: int) -> None:
    query = "wait=0&dry_run=YES&mode=append&conv_mask_to_poly=1&unmatched=Skip&org="
    answer = client.post(f"/api/tasks/{task_id}/import?{query}", content=b"PK")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["status"], told["url"]) == ("queued", f"{BASE_URL}/api/requests/{told['rq_id']}")
    row = request_row(storage, told["rq_id"])
    assert row.format is None
    assert {name: value for name, value in row.options.items() if name != "upload"} == {
        "format": None,
        "conv_mask_to_poly": True,
        "mode": "append",
        "dry_run": True,
        "unmatched": "skip",
    }


def test_who_does_not_wait_is_told_the_same_however_quick_the_work_is(
    client: TestClient, services: Services, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_and_work(*arguments: Any) -> Any:
        asked = ask(*arguments)
        work(services, {"import:annotations": refuse})
        return asked

    monkeypatch.setattr("app.api.direct.ask", ask_and_work)
    answer = client.post(f"/api/tasks/{task_id}/import?wait=0", content=b"PK")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert client.get(f"/api/requests/{answer.json()['rq_id']}").json()["status"] == "failed"


def test_work_that_is_recorded_is_told_though_nobody_can_look_at_it(
    client: TestClient, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 503 would have it sent again."""

    async def look(*_: Any, **__: Any) -> Any:
        raise Busy("too many database connections are in use, try again")

    monkeypatch.setattr("app.api.direct.wait_until_final_async", look)
    answer = client.post(f"/api/tasks/{task_id}/import", content=b"PK")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert client.get(f"/api/requests/{answer.json()['rq_id']}").status_code == 200


def test_a_refused_archive_is_400_with_every_problem(client: TestClient, services: Services, task_id: int) -> None:
    with Workers(services, {"import:annotations": refuse}):
        answer = client.post(f"/api/tasks/{task_id}/import", files={"file": ("oi.zip", b"PK")})
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"], told["status"], told["counts"]) == ("csv.not_a_number", "failed", {"csv.not_a_number": 1})
    assert (told["problems"][0]["file"], told["problems"][0]["row"]) == ("a.csv", 3)
    assert "one is no number" in told["detail"]


def test_import_into_a_job(client: TestClient, storage: Storage, task_id: int) -> None:
    job_id = client.get(f"/api/jobs?task_id={task_id}&sort=id").json()["results"][1]["id"]
    answer = client.post(f"/api/jobs/{job_id}/import?wait=0", content=b"PK")
    row = request_row(storage, answer.json()["rq_id"])
    assert (row.target, row.job_id, row.task_id) == ("job", job_id, task_id)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("fromat=x", 'Did you mean "format"?'),
        ("dryrun=true", 'Did you mean "dry_run"?'),
        ("format=Open Imges V6 1.0", 'Did you mean "Open Images V6 1.0"?'),
        ("mode=apend", 'Did you mean "append"?'),
        ("unmatched=skp", 'Did you mean "skip"?'),
        ("dry_run=maybe", "dry_run"),
        ("wait=-1", "wait"),
        ("wait=long", "wait"),
        ("wait=nan", "wait"),
        ("wait=\u0663", "wait"),
        ("max_rows=5", "max_rows"),
    ],
)
def test_a_typo_is_refused_with_what_was_meant(
    client: TestClient, storage: Storage, task_id: int, query: str, said: str
) -> None:
    answer = client.post(f"/api/tasks/{task_id}/import?{query}", content=b"PK")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert list(storage.blobs.list("uploads/")) == []


def test_what_is_no_archive_is_refused_at_the_door(client: TestClient, task_id: int) -> None:
    url = f"/api/tasks/{task_id}/import"
    body, headers = raw_form([('name="archive"; filename="a.zip"', b"PK")])
    for answer in (
        client.post(url),
        client.post(url, json={"file": "a"}),
        client.post(url, content=body, headers=headers),
    ):
        assert answer.status_code == 400, answer.text
    empty = new_task(client)
    assert client.post(f"/api/tasks/{empty}/import", content=b"PK").json()["code"] == "task.no_data"


def test_lines_that_are_pasted_wait_for_the_pictures_of_the_line_above(client: TestClient, services: Services) -> None:
    number = new_task(client)
    assert client.post(f"/api/tasks/{number}/data", files=as_form({"a.png": picture()})).status_code == 202
    with Workers(services, {**HANDLERS, "import:annotations": finish}):
        answer = client.post(f"/api/tasks/{number}/import", content=b"PK")
    assert (answer.status_code, answer.json()["status"]) == (200, "finished")


def test_pictures_that_fail_leave_the_lines_below_without_data(client: TestClient, services: Services) -> None:
    number = new_task(client)
    assert client.post(f"/api/tasks/{number}/data", files=as_form({"a.png": b"none"})).status_code == 202
    with Workers(services, HANDLERS):
        answer = client.post(f"/api/tasks/{number}/import", content=b"PK")
    assert (answer.status_code, answer.json()["code"]) == (400, "task.no_data")


# Export


def streaming(services: Services, pieces: list[bytes], jobs: list[dict[str, Any]], fails_at: int = -1) -> TestClient:
    """A client of an app whose exports are these pieces."""

    async def stream(job: dict[str, Any]) -> AsyncIterator[bytes]:
        jobs.append(job)
        for index, piece in enumerate(pieces):
            if index == fails_at:
                raise InvalidInput("the task has no data yet", code="task.no_data")
            yield piece

    return TestClient(build_app(replace(services, stream_export=stream)), base_url=BASE_URL)


def test_an_export_streams_under_the_tasks_name(services: Services, task_id: int) -> None:
    jobs: list[dict[str, Any]] = []
    client = streaming(services, [b"PK", b"34"], jobs)
    answer = client.get(f"/api/tasks/{task_id}/export?save_images=1&rotated=Box")
    assert (answer.status_code, answer.content) == (200, b"PK34")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["x-content-type-options"] == "nosniff"
    disposition = answer.headers["content-disposition"]
    assert disposition == (
        'attachment; filename="Wiese _ _Strae_ und_so.zip"; '
        "filename*=UTF-8''Wiese%20%26%20%22Stra%C3%9Fe%22%3B%20%C3%BCnd_so.zip"
    )
    assert jobs == [{"task_id": task_id, "job_id": None, "format": FORMAT, "save_images": True, "rotated": "box"}]


def test_an_export_of_a_job_names_it(services: Services, client: TestClient, task_id: int) -> None:
    jobs: list[dict[str, Any]] = []
    job_id = client.get(f"/api/jobs?task_id={task_id}&sort=id").json()["results"][0]["id"]
    answer = streaming(services, [b"PK"], jobs).get(f"/api/jobs/{job_id}/export?format=Write+Only+2.1&filename=x.zip")
    assert 'filename="x.zip"' in answer.headers["content-disposition"]
    assert jobs == [{"task_id": task_id, "job_id": job_id, "format": "Write Only 2.1"}]


def test_a_failure_before_the_first_byte_is_an_answer(services: Services, task_id: int) -> None:
    client = streaming(services, [b"PK"], [], fails_at=0)
    answer = client.get(f"/api/tasks/{task_id}/export")
    assert (answer.status_code, answer.json()["code"]) == (400, "task.no_data")


def test_a_failure_in_the_middle_cuts_the_answer(services: Services, task_id: int) -> None:
    client = streaming(services, [b"PK", b"34"], [], fails_at=1)
    with pytest.raises((AppError, RuntimeError, ExceptionGroup)):
        client.get(f"/api/tasks/{task_id}/export")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("save_image=1", 'Did you mean "save_images"?'),
        ("rotated=msk", 'Did you mean "mask"?'),
        ("format=Nothing", "Open Images V6 1.0"),
        ("save_images=sometimes", "save_images"),
    ],
)
def test_a_typo_in_an_export_is_refused(services: Services, task_id: int, query: str, said: str) -> None:
    jobs: list[dict[str, Any]] = []
    answer = streaming(services, [b"PK"], jobs).get(f"/api/tasks/{task_id}/export?{query}")
    assert (answer.status_code, said in answer.json()["detail"], jobs) == (400, True, [])


# CVAT's doors of export


ARCHIVE = bytes(range(256)) * 5000


def write_archive(context: Context) -> None:
    context.storage.blobs.put(context.result_key, ARCHIVE)
    result = Result(context.result_key, len(ARCHIVE), "task_1_dataset_2026_open images v6 1.0.zip")
    with context.finishing(result=result):
        pass


def exported(client: TestClient, services: Services, task_id: int, query: str = "save_images=True") -> str:
    answer = client.post(f"/api/tasks/{task_id}/dataset/export?format=Open+Images+V6+1.0&{query}")
    assert answer.status_code == 202, answer.text
    work(services, {"export:dataset": write_archive, "export:annotations": write_archive})
    told = client.get(f"/api/requests/{answer.json()['rq_id']}").json()
    assert told["status"] == "finished"
    return str(told["result_url"])


def test_the_way_of_an_export(client: TestClient, services: Services, storage: Storage, task_id: int) -> None:
    url = exported(client, services, task_id, "save_images=True&location=local&filename=../x;y&label_ids=name&other=1")
    assert url.startswith(f"{BASE_URL}/api/tasks/{task_id}/dataset/download?rq_id=")
    row = request_row(storage, url.partition("=")[2])
    assert (row.type, row.format) == ("export:dataset", FORMAT)
    assert row.options == {
        "format": FORMAT,
        "save_images": True,
        "label_ids": "name",
        "filename": ".._x_y.zip".lstrip("."),
    }
    for _ in range(2):
        answer = client.get(url)
        assert (answer.status_code, answer.content) == (200, ARCHIVE)
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-length"] == str(len(ARCHIVE))
        assert "content-encoding" not in answer.headers
        assert answer.headers["content-disposition"].startswith(
            'attachment; filename="task_1_dataset_2026_open images v6 1.0.zip"; filename*='
        )


@pytest.mark.parametrize(
    ("given", "status", "start", "stop"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=100-", 206, 100, len(ARCHIVE)),
        ("bytes=-7", 206, len(ARCHIVE) - 7, len(ARCHIVE)),
        ("bytes=1000000-9999999999", 206, 1_000_000, len(ARCHIVE)),
        ("bytes=-99999999999", 200, 0, len(ARCHIVE)),
        ("bytes=0-1,5-6", 200, 0, len(ARCHIVE)),
        ("bytes=-", 200, 0, len(ARCHIVE)),
        ("items=0-1", 200, 0, len(ARCHIVE)),
        ("bytes=5-2", 200, 0, len(ARCHIVE)),
        ("bytes=1280000-", 416, 0, 0),
        ("bytes=99999999-999999999", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
def test_one_range_is_given(
    client: TestClient, services: Services, task_id: int, given: str, status: int, start: int, stop: int
) -> None:
    url = exported(client, services, task_id)
    answer = client.get(url, headers={"Range": given})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(ARCHIVE)}"
        assert "content-disposition" not in answer.headers, "what is refused is no file"
        assert answer.json()["code"] == "request.range"
        assert f"the range {given} lies outside of the file, which has 1,280,000 bytes" in answer.json()["detail"]
        return
    assert answer.content == ARCHIVE[start:stop]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(ARCHIVE)}"


def test_versions_are_told_apart(client: TestClient, services: Services, task_id: int) -> None:
    url = exported(client, services, task_id)
    etag = client.get(url).headers["etag"]
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(url, headers={"Range": "bytes=0-1", "If-Range": etag}).content == ARCHIVE[:2]
    assert client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).content == ARCHIVE
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(ARCHIVE)))


def test_the_same_export_again_is_the_same_request(client: TestClient, services: Services, task_id: int) -> None:
    first = exported(client, services, task_id)
    assert exported(client, services, task_id) == first
    assert exported(client, services, task_id, "save_images=no") != first


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("format=x", 400),
        (f"format={FORMAT}&location=cloud_storage", 400),
        (f"format={FORMAT}&save_images=x", 400),
    ],
)
def test_a_bad_export_is_400(client: TestClient, task_id: int, query: str, status: int) -> None:
    assert client.post(f"/api/tasks/{task_id}/dataset/export?{query}").status_code == status
    assert client.post(f"/api/tasks/{new_task(client)}/dataset/export?format={FORMAT}").status_code == 400


def test_a_download_needs_finished_work_of_this_thing_and_caller(
    make_client: MakeClient, services: Services, give_data: Callable[..., Task], storage: Storage
) -> None:
    owner, stranger = make_client("owner"), make_client("stranger")
    mine, other, foreign = new_task(owner), new_task(owner), new_task(stranger)
    for number in (mine, other, foreign):
        give_data(number)
    url = exported(owner, services, mine)
    rq_id = url.partition("=")[2]
    assert owner.get(url).status_code == 200
    for client, path in (
        (owner, f"/api/tasks/{other}/dataset/download?rq_id={rq_id}"),
        (owner, f"/api/tasks/{mine}/dataset/download?rq_id=unknown"),
        (owner, f"/api/tasks/{mine}/dataset/download"),
        (stranger, url),
        (stranger, f"/api/tasks/{foreign}/dataset/download?rq_id={rq_id}"),
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
    running = owner.post(f"/api/tasks/{mine}/dataset/export?format={FORMAT}").json()["rq_id"]
    answer = owner.get(f"/api/tasks/{mine}/dataset/download?rq_id={running}")
    assert (answer.status_code, answer.json()["code"]) == (400, "export.unfinished")
    with storage.database.read() as conn:
        key = requests.load(conn, rq_id).result
    assert key is not None
    storage.blobs.delete([key.key])
    assert owner.get(url).status_code == 404


def test_a_bucket_is_answered_with_an_address(
    client: TestClient, services: Services, task_id: int, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = exported(client, services, task_id)
    monkeypatch.setattr(storage.blobs, "presign", lambda key, seconds=300: f"https://bucket/{key}?signed")
    answer = client.get(url, follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://bucket/")


def test_a_file_that_the_bucket_lost_is_made_again(
    client: TestClient, services: Services, task_id: int, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = exported(client, services, task_id)
    monkeypatch.setattr(storage.blobs, "presign", lambda key, seconds=300: f"https://bucket/{key}?signed")
    with storage.database.read() as conn:
        lost = requests.load(conn, url.partition("=")[2]).result
    assert lost is not None
    storage.blobs.delete([lost.key])
    answer = client.get(url, follow_redirects=False)
    assert answer.status_code == 404
    assert "export again" in answer.json()["detail"]
    again = exported(client, services, task_id)
    assert again != url
    assert client.get(again, follow_redirects=False).status_code == 302


NAMES = [
    ("a.zip", "a.zip"),
    ("Größe.zip", "Groe.zip"),
    (".hidden", "hidden.zip"),
    ("..", "download.zip"),
    ("日本", "download.zip"),
    ("a/b\\c;d\"e'f\r\n", "a_b_c_d_e_f_.zip"),
    ("v1.2 final", "v1.2 final.zip"),
    ("x" * 300 + ".zip", "x" * 250 + ".zip"),
]


@pytest.mark.parametrize(("name", "plain"), NAMES, ids=lambda value: value[:20])
def test_names_of_downloads_are_safe_for_every_client(name: str, plain: str) -> None:
    assert ascii_name(name) == plain
    header = content_disposition(name)
    assert header.isascii()
    assert header.count(";") == 2
    assert "\r" not in header
    assert "\n" not in header


def test_a_streamed_export_that_has_not_changed_is_304_before_any_work(
    services: Services, client: TestClient, task_id: int
) -> None:
    jobs: list[dict[str, Any]] = []
    streams = streaming(services, [b"PK"], jobs)
    url = f"/api/tasks/{task_id}/export?side_file=false"
    first = streams.get(url)
    etag = first.headers["etag"]
    assert (first.status_code, len(jobs), etag.startswith('"')) == (200, 1, True)
    for method in ("GET", "HEAD"):
        again = streams.request(method, url, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    head = streams.head(url)
    assert (head.status_code, head.headers["etag"], head.headers["content-type"]) == (200, etag, "application/zip")
    assert head.headers["content-disposition"] == first.headers["content-disposition"]
    assert "content-length" not in head.headers, "nobody knows it before the archive is written"
    assert len(jobs) == 1
    for other in ("", "?side_file=true", "?side_file=false&label_ids=name"):
        assert streams.head(url.partition("?")[0] + other).headers["etag"] != etag
    job_id = client.get(f"/api/jobs?task_id={task_id}&sort=id").json()["results"][0]["id"]
    assert streams.head(f"/api/jobs/{job_id}/export?side_file=false").headers["etag"] != etag
    client.patch(f"/api/tasks/{task_id}", json={"subset": "train"})
    assert streams.get(url, headers={"If-None-Match": etag}).status_code == 200
    assert len(jobs) == 2


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("dry_run=true&dry_run=false", 'dry_run: stands there twice, as "true" and as "false"'),
        ("mode=merge&mode=append", 'mode: stands there twice, as "merge" and as "append"'),
        ("dry_run", "dry_run: must be true or false; it has no value"),
        ("annotated_only=", "annotated_only: must be true or false; it has no value"),
        ("map=label:a=b&map=label:a=c", 'map: the label "a" is mapped to two names'),
    ],
)
def test_an_option_that_says_two_things_or_nothing_is_refused(
    client: TestClient, task_id: int, query: str, said: str
) -> None:
    imported = client.post(
        f"/api/tasks/{task_id}/import?{query}", content=b"PK", headers={"Content-Type": "application/zip"}
    )
    exported = client.get(f"/api/tasks/{task_id}/export?{query}")
    for answer in (imported, exported) if query[0] in "da" else (imported,):
        assert (answer.status_code, answer.json()["detail"].startswith(said)) == (400, True), answer.text


def test_a_list_that_stands_there_twice_is_one_list() -> None:
    pairs = [("classes", "cat,dog"), ("mode", "merge"), ("classes", "bird"), ("mode", "merge"), ("x", "1")]
    assert options_of(pairs) == {"classes": "cat,dog\nbird", "mode": "merge", "x": "1"}
