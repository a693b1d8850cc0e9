"""Tasks: making, reading, changing, listing, removing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.storage import RequestDraft, Storage, Task, User, requests
from tests.api.conftest import MakeClient, TestClient, created

DATA_FIELDS = {
    "data",
    "size",
    "image_quality",
    "data_chunk_size",
    "data_original_chunk_type",
    "data_compressed_chunk_type",
}


def test_a_new_task_has_no_data_and_says_so_by_leaving_it_out(client: TestClient) -> None:
    task = created(client, "/api/tasks", name="t")
    assert not DATA_FIELDS & set(task)
    assert task["mode"] == ""
    assert {name: task[name] for name in ("organization", "target_storage", "source_storage", "assignee")} == {
        "organization": None,
        "target_storage": None,
        "source_storage": None,
        "assignee": None,
    }
    assert task["jobs"] == {
        "count": 0,
        "completed": 0,
        "validation": 0,
        "url": f"http://localhost/api/jobs?task_id={task['id']}",
    }
    assert task["labels"] == {"url": f"http://localhost/api/labels?task_id={task['id']}"}
    assert task["owner"]["url"] == f"http://localhost/api/users/{task['owner']['id']}"
    assert task["created_date"].endswith("Z")


def test_data_fields_appear_with_the_data(client: TestClient, give_data: Callable[..., Task]) -> None:
    task = created(client, "/api/tasks", name="t", segment_size=2, overlap=0, subset="train", bug_tracker="http://x")
    give_data(task["id"], size=5, segment_size=2)
    read = client.get(f"/api/tasks/{task['id']}").json()
    assert set(read) >= DATA_FIELDS
    assert (read["size"], read["mode"], read["segment_size"], read["jobs"]["count"]) == (5, "annotation", 2, 3)
    assert read["data_original_chunk_type"] == "imageset"
    assert read["updated_date"] > task["updated_date"]
    assert (read["subset"], read["bug_tracker"]) == ("train", "http://x")


def test_everything_but_the_name_may_be_missing_null_or_unknown(client: TestClient) -> None:
    body = {
        "name": "t",
        "labels": [],
        "project_id": None,
        "subset": None,
        "segment_size": None,
        "overlap": None,
        "bug_tracker": None,
        "owner_id": None,
        "assignee_id": None,
        "source_storage": None,
        "target_storage": {"location": "local"},
        "organization": None,
        "something": [1],
    }
    assert client.post("/api/tasks", json=body).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": 5}, "name"),
        ({"name": "t", "segment_size": -1}, "segment_size"),
        ({"name": "t", "segment_size": 1.5}, "segment_size"),
        ({"name": "t", "segment_size": True}, "segment_size"),
        ({"name": "t", "segment_size": 10**12}, "segment_size"),
        ({"name": "t", "project_id": 99}, "project_id"),
        ({"name": "t", "project_id": "x"}, "project_id"),
        ({"name": "t", "owner_id": 99}, "owner_id"),
        ({"name": "t", "assignee_id": 99}, "assignee_id"),
        ({"name": "t", "subset": "x" * 65}, "subset"),
        ({"name": "t", "labels": {"name": "a"}}, "labels"),
        ({"name": "t", "target_storage": {"location": "cloud_storage", "cloud_storage_id": 1}}, "target_storage"),
        ({"name": "t", "consensus_replicas": 3}, "consensus_replicas"),
    ],
)
def test_bad_fields_are_400_by_name(client: TestClient, body: dict[str, Any], field: str) -> None:
    answer = client.post("/api/tasks", json=body)
    assert answer.status_code == 400
    assert answer.json()[field]
    assert field in answer.json()["detail"]
    assert client.get("/api/tasks").json()["count"] == 0


def test_a_missing_name_is_told_in_cvats_words(client: TestClient) -> None:
    assert client.post("/api/tasks", json={}).json()["name"] == ["This field is required."]


def test_labels_or_a_project_not_both(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", labels=[{"name": "a"}])
    body = {"name": "t", "project_id": project["id"], "labels": [{"name": "b"}]}
    assert client.post("/api/tasks", json=body).status_code == 400
    task = created(client, "/api/tasks", name="t", project_id=project["id"], labels=[])
    assert (task["project_id"], task["project_name"]) == (project["id"], "p")


def test_a_change_touches_only_what_is_sent(client: TestClient, make_user: Callable[..., User]) -> None:
    helper = make_user("helper")
    task = created(client, "/api/tasks", name="t", subset="train", bug_tracker="x")
    changed = client.patch(f"/api/tasks/{task['id']}", json={"name": "new", "assignee_id": helper.id}).json()
    assert (changed["name"], changed["subset"], changed["bug_tracker"]) == ("new", "train", "x")
    assert changed["assignee"]["username"] == "helper"
    assert changed["assignee_updated_date"] is not None
    assert changed["updated_date"] > task["updated_date"]
    cleared = client.patch(f"/api/tasks/{task['id']}", json={"assignee_id": None, "subset": ""}).json()
    assert (cleared["assignee"], cleared["subset"], cleared["name"]) == (None, "", "new")


@pytest.mark.parametrize(
    "body", [{"name": None}, {"name": ""}, {"owner_id": 99}, {"organization_id": 1}, {"project_id": 9}]
)
def test_bad_changes_change_nothing(client: TestClient, body: dict[str, Any]) -> None:
    task = created(client, "/api/tasks", name="t")
    assert client.patch(f"/api/tasks/{task['id']}", json=body).status_code == 400
    assert client.get(f"/api/tasks/{task['id']}").json() == task


def test_an_empty_change_is_fine(client: TestClient) -> None:
    task = created(client, "/api/tasks", name="t")
    assert client.patch(f"/api/tasks/{task['id']}", json={}).json()["name"] == "t"


def test_a_task_is_removed_once(client: TestClient, give_data: Callable[..., Task]) -> None:
    task = created(client, "/api/tasks", name="t", labels=[{"name": "a"}])
    give_data(task["id"])
    answer = client.delete(f"/api/tasks/{task['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/api/jobs").json()["count"] == 0
    assert client.get("/api/labels").json()["count"] == 0
    answer = client.delete(f"/api/tasks/{task['id']}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not found.")


def test_an_assignee_may_not_remove_a_task(make_client: MakeClient, make_user: Callable[..., User]) -> None:
    helper = make_user("helper")
    task = created(make_client("owner"), "/api/tasks", name="t", assignee_id=helper.id)
    assert make_client("helper").delete(f"/api/tasks/{task['id']}").status_code == 403
    assert make_client("owner").delete(f"/api/tasks/{task['id']}").status_code == 204


def test_the_old_status_call(client: TestClient, storage: Storage, give_data: Callable[..., Task]) -> None:
    task = created(client, "/api/tasks", name="t")
    path = f"/api/tasks/{task['id']}/status"
    assert client.get(path).status_code == 404
    with storage.database.read() as conn:
        from app.storage import users

        admin = users.find(conn, "admin")
    assert admin is not None
    with storage.database.write() as conn:
        requests.create(conn, admin, RequestDraft(type="create:task", target="task", task_id=task["id"]))
    assert client.get(path).json()["state"] == "Queued"
    give_data(task["id"])
    assert client.get(path).json() == {"state": "Finished", "message": "", "progress": 1.0}
