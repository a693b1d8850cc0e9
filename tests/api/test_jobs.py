"""Jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.storage import Task, User
from tests.api.conftest import TestClient, created


@pytest.fixture
def jobs(client: TestClient, give_data: Callable[..., Task]) -> list[int]:
    """Ids of the three jobs of a task of five frames."""
    task = created(client, "/api/tasks", name="t")
    give_data(task["id"], size=5, segment_size=2)
    return [job["id"] for job in client.get(f"/api/jobs?task_id={task['id']}&sort=id").json()["results"]]


def test_jobs_are_windows_on_the_tasks_frames(client: TestClient, jobs: list[int]) -> None:
    read = [client.get(f"/api/jobs/{job}").json() for job in jobs]
    assert [(job["start_frame"], job["stop_frame"], job["frame_count"]) for job in read] == [
        (0, 1, 2),
        (2, 3, 2),
        (4, 4, 1),
    ]
    first = read[0]
    assert (first["type"], first["stage"], first["state"], first["status"]) == (
        "annotation",
        "annotation",
        "new",
        "annotation",
    )
    assert first["issues"] == {"count": 0, "url": f"http://localhost/api/issues?job_id={jobs[0]}"}
    assert first["labels"] == {"url": f"http://localhost/api/labels?job_id={jobs[0]}"}
    assert (first["task_name"], first["assignee"], first["bug_tracker"], first["organization"]) == (
        "t",
        None,
        None,
        None,
    )


def test_stage_state_and_assignee_change(client: TestClient, jobs: list[int], make_user: Callable[..., User]) -> None:
    helper = make_user("helper")
    path = f"/api/jobs/{jobs[0]}"
    assert client.patch(path, json={"state": "in progress"}).json()["state"] == "in progress"
    moved = client.patch(path, json={"stage": "validation"}).json()
    assert (moved["stage"], moved["state"], moved["status"]) == ("validation", "new", "validation")
    done = client.patch(path, json={"stage": "acceptance", "state": "completed"}).json()
    assert (done["stage"], done["state"], done["status"]) == ("acceptance", "completed", "completed")
    assigned = client.patch(path, json={"assignee": helper.id}).json()
    assert (assigned["assignee"]["username"], assigned["stage"]) == ("helper", "acceptance")
    assert client.patch(path, json={"assignee": None}).json()["assignee"] is None
    task = client.get("/api/tasks/1").json()
    assert (task["jobs"]["completed"], task["jobs"]["count"], task["status"]) == (1, 3, "annotation")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"stage": "validtion"}, 'Did you mean "validation"?'),
        ({"state": "done"}, "done"),
        ({"assignee": 99}, "99"),
        ({"assignee": "helper"}, "integer"),
        ({"stage": None}, "stage"),
    ],
)
def test_bad_changes_are_400(client: TestClient, jobs: list[int], body: dict[str, Any], words: str) -> None:
    answer = client.patch(f"/api/jobs/{jobs[0]}", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


def test_jobs_are_neither_made_nor_removed_by_calls(client: TestClient, jobs: list[int]) -> None:
    assert client.post("/api/jobs", json={"type": "ground_truth", "task_id": 1}).status_code == 400
    assert client.post("/api/jobs").status_code == 400
    assert client.delete(f"/api/jobs/{jobs[0]}").status_code == 400
    assert client.delete("/api/jobs/99").status_code == 404
    assert client.get("/api/jobs").json()["count"] == 3


def test_jobs_are_found_by_state_and_task(client: TestClient, jobs: list[int]) -> None:
    client.patch(f"/api/jobs/{jobs[1]}", json={"state": "completed"})
    assert [job["id"] for job in client.get("/api/jobs?state=completed").json()["results"]] == [jobs[1]]
    assert client.get("/api/jobs?task_id=99").json()["count"] == 0
