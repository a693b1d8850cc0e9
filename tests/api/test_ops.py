"""Health and metrics."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.errors import NoSpace
from app.storage import Storage
from app.storage.schema import now, requests
from tests.api.conftest import TestClient, created


def test_live_and_ready_need_no_credentials(anonymous: TestClient) -> None:
    assert anonymous.get("/health/live").json() == {"status": "ok"}
    ready = anonymous.get("/health/ready").json()
    assert (ready["status"], ready["oldest_queued_seconds"]) == ("ok", 0.0)


def test_a_service_that_cannot_write_is_not_ready(
    anonymous: TestClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Storage) -> None:
        raise NoSpace("the disk is full")

    monkeypatch.setattr(Storage, "check_health", full)
    answer = anonymous.get("/health/ready")
    assert answer.status_code == 503
    assert "the disk is full" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"
    assert anonymous.get("/health/live").status_code == 200


def test_work_that_waits_too_long_is_told_and_takes_no_process_out(client: TestClient, storage: Storage) -> None:
    assert client.get("/health/work").json()["work"] == "ok"
    task = created(client, "/api/tasks", name="t")
    files = {"client_files[0]": ("a.png", b"no picture", "image/png")}
    assert client.post(f"/api/tasks/{task['id']}/data", files=files).status_code == 202
    assert client.get("/health/work").status_code == 200, "it waits, but not for long"
    with storage.database.write() as conn:
        conn.execute(requests.update().values(created_date=now() - timedelta(seconds=301)))
    late = client.get("/health/work")
    assert (late.status_code, late.json()["code"]) == (503, "work.late")
    assert "1 requests wait, the oldest for 301 s" in late.json()["detail"]
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["work"]) == (200, "late")


def test_metrics_count_by_template_not_by_id(client: TestClient) -> None:
    task = created(client, "/api/tasks", name="t")
    for task_id in (task["id"], 77, 78):
        client.get(f"/api/tasks/{task_id}")
    client.get("/api/nowhere/5")
    text = client.get("/metrics").text
    assert 'annoport_http_requests_total{method="GET",route="/api/tasks/{task_id}",status="404"} 2.0' in text
    assert 'annoport_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert "/api/tasks/77" not in text
    assert 'annoport_requests{status="queued"} 0.0' in text
    assert "annoport_oldest_queued_seconds 0.0" in text


def test_two_apps_count_apart(client: TestClient, anonymous: TestClient) -> None:
    anonymous.get("/health/live")
    assert 'route="/health/live"' not in client.get("/metrics").text
