"""Background work as clients see it: held reads, lists, cancelling."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.api import Services, build_app
from app.storage import Request, RequestDraft, Result, Storage, Task, User, requests, users
from tests.api.conftest import BASE_URL, MakeClient, TestClient, created

EXPORT = "Open Images V6 1.0"
HOLD_SECONDS = 60.0  # nobody waits so long here, on no machine


@pytest.fixture
def make_request(
    client: TestClient, storage: Storage, make_user: Callable[..., User], give_data: Callable[..., Task]
) -> Callable[..., Request]:
    """Queued work of the user on task 1, which is there with data."""
    created(client, "/api/tasks", name="t")
    give_data(1)

    def make(kind: str = "export:dataset", username: str = "admin", **more: Any) -> Request:
        owner = make_user(username)
        draft = RequestDraft(type=kind, target="task", task_id=1, format=EXPORT, **more)
        with storage.database.write() as conn:
            made, _ = requests.create(conn, owner, draft)
        return made

    return make


def finish(storage: Storage, request: Request, **more: Any) -> None:
    with storage.database.write() as conn:
        claimed = requests.claim(conn, request.id, lease_seconds=60)
    assert claimed is not None
    with storage.database.write() as conn:
        requests.finish(conn, request.id, claimed.attempt, ttl_seconds=600, **more)


def test_a_queued_request_in_cvats_form(client: TestClient, make_request: Callable[..., Request]) -> None:
    made = make_request()
    read = client.get(f"/api/requests/{made.id}").json()
    assert read["status"] == "queued"
    assert read["message"] == ""
    assert read["operation"] == {
        "type": "export:dataset",
        "target": "task",
        "project_id": None,
        "task_id": 1,
        "job_id": None,
        "org_id": None,
        "format": EXPORT,
        "function_id": None,
        "lightweight": None,
    }
    assert read["owner"]["username"] == "admin"
    assert not {"result_url", "result_id", "report"} & set(read)


def test_a_finished_export_has_an_absolute_result_url(
    client: TestClient, storage: Storage, make_request: Callable[..., Request]
) -> None:
    made = make_request()
    result = Result(key="results/x", size=5, filename="a.zip")
    finish(storage, made, result=result, report={"counts": {}, "problems": []})
    read = client.get(f"/api/requests/{made.id}").json()
    assert (read["status"], read["progress"]) == ("finished", 1.0)
    assert read["result_url"] == f"http://localhost/api/tasks/1/dataset/download?rq_id={made.id}"
    assert read["report"] == {"counts": {}, "problems": []}
    assert "result_id" not in read
    assert read["expiry_date"] > read["finished_date"]


def test_a_failed_request_has_a_message_and_its_report(
    client: TestClient, storage: Storage, make_request: Callable[..., Request]
) -> None:
    made = make_request("import:annotations")
    with storage.database.write() as conn:
        claimed = requests.claim(conn, made.id, lease_seconds=60)
    assert claimed is not None
    with storage.database.write() as conn:
        report = {"counts": {"csv.bad": 1}}
        requests.fail(conn, made.id, claimed.attempt, message="row 5 is bad", report=report, ttl_seconds=600)
    read = client.get(f"/api/requests/{made.id}").json()
    assert (read["status"], read["message"], read["report"]) == ("failed", "row 5 is bad", {"counts": {"csv.bad": 1}})
    assert "result_url" not in read


def test_unknown_ids_are_404_at_once(client: TestClient) -> None:
    for request_id in ("x", "a%26b%3Dc", "f" * 32, "x" * 250):
        answer = client.get(f"/api/requests/{request_id}")
        assert answer.status_code == 404
        assert answer.json()["detail"]
    assert client.get("/api/requests/" + "x" * 300).status_code == 404


@pytest.fixture
def holding_client(services: Services) -> TestClient:
    settings = replace(services.settings, request_hold_seconds=HOLD_SECONDS)
    return TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)


def test_a_read_is_held_until_the_work_ends(
    holding_client: TestClient, storage: Storage, make_request: Callable[..., Request]
) -> None:
    made = make_request()
    timer = threading.Timer(0.3, finish, (storage, made))
    timer.start()
    started = time.monotonic()
    read = holding_client.get(f"/api/requests/{made.id}").json()
    waited = time.monotonic() - started
    timer.join()
    assert read["status"] == "finished"
    assert 0.25 < waited < HOLD_SECONDS / 2


def test_a_held_read_ends_when_the_client_goes(
    holding_client: TestClient, make_request: Callable[..., Request]
) -> None:
    made = make_request()

    async def run() -> float:
        messages: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await asyncio.sleep(0.2)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None: ...

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/api/requests/{made.id}",
            "raw_path": b"",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": None,
            "server": None,
        }
        started = time.monotonic()
        await holding_client.app(scope, receive, send)  # type: ignore[arg-type]
        return time.monotonic() - started

    assert asyncio.run(run()) < HOLD_SECONDS / 2


def test_lists_hold_the_callers_own_work(make_client: MakeClient, make_request: Callable[..., Request]) -> None:
    make_request(username="bob")
    made = make_request("import:annotations", username="eve")
    assert make_client("bob").get("/api/requests").json()["count"] == 1
    assert make_client("bob").get(f"/api/requests/{made.id}").status_code == 404
    assert make_client("bob").post(f"/api/requests/{made.id}/cancel").status_code == 404
    eve = make_client("eve")
    assert eve.get("/api/requests?status=queued&action=import&task_id=1").json()["count"] == 1
    assert eve.get("/api/requests?action=export").json()["count"] == 0


def test_cancelling(client: TestClient, storage: Storage, make_request: Callable[..., Request]) -> None:
    made = make_request()
    cancelled = client.post(f"/api/requests/{made.id}/cancel")
    assert cancelled.status_code == 200
    assert cancelled.json()["status"] == "failed"
    assert cancelled.json()["message"]
    again = client.post(f"/api/requests/{made.id}/cancel")
    assert again.status_code == 400
    assert client.post("/api/requests/unknown/cancel").status_code == 404


def test_an_export_that_failed_is_tried_again_with_its_options(
    client: TestClient, make_client: MakeClient, storage: Storage, make_request: Callable[..., Request]
) -> None:
    made = make_request(options={"format": EXPORT, "save_images": True, "classes": "a"})
    running = client.post(f"/api/requests/{made.id}/retry")
    assert (running.status_code, running.json()["code"]) == (400, "request.retry")
    client.post(f"/api/requests/{made.id}/cancel")
    again = client.post(f"/api/requests/{made.id}/retry")
    assert again.status_code == 202
    with storage.database.read() as conn:
        row = requests.load(conn, again.json()["rq_id"])
    assert row.id != made.id
    assert (row.type, row.task_id, row.options, row.status) == (made.type, 1, made.options, "queued")
    assert make_client("bob").post(f"/api/requests/{made.id}/retry").status_code == 404
    with storage.database.write() as conn:
        owner = users.find(conn, "admin")
        assert owner is not None
        imported, _ = requests.create(conn, owner, RequestDraft(type="import:annotations", target="task", task_id=1))
    client.post(f"/api/requests/{imported.id}/cancel")
    refused = client.post(f"/api/requests/{imported.id}/retry")
    assert refused.status_code == 400
    assert "send the archive" in refused.json()["detail"]
