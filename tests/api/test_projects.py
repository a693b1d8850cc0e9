"""Projects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import TestClient, created


def test_a_project_and_its_tasks(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", labels=[{"name": "a"}], bug_tracker="x")
    assert project["tasks"] == {"count": 0, "url": f"http://localhost/api/tasks?project_id={project['id']}"}
    assert project["labels"] == {"url": f"http://localhost/api/labels?project_id={project['id']}"}
    assert (project["dimension"], project["organization"], project["target_storage"]) == (None, None, None)
    for subset in ("train", "test", "train"):
        created(client, "/api/tasks", name="t", project_id=project["id"], subset=subset)
    read = client.get(f"/api/projects/{project['id']}").json()
    assert (read["tasks"]["count"], sorted(read["task_subsets"]), read["dimension"]) == (3, ["test", "train"], "2d")
    assert client.get(f"/api/tasks?project_id={project['id']}").json()["count"] == 3


def test_a_change_touches_only_what_is_sent(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", bug_tracker="x")
    changed = client.patch(f"/api/projects/{project['id']}", json={"name": "q", "assignee_id": 1}).json()
    assert (changed["name"], changed["bug_tracker"], changed["assignee"]["id"]) == ("q", "x", 1)
    assert client.patch(f"/api/projects/{project['id']}", json={"assignee_id": None}).json()["assignee"] is None


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "p", "owner_id": 9}, {"name": "p", "labels": [{}]}])
def test_bad_projects_are_400(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/api/projects", json=body).status_code == 400
    assert client.get("/api/projects").json()["count"] == 0


def test_a_project_goes_with_its_tasks(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", labels=[{"name": "a"}])
    task = created(client, "/api/tasks", name="t", project_id=project["id"])
    other = created(client, "/api/tasks", name="other")
    assert client.delete(f"/api/projects/{project['id']}").status_code == 204
    assert client.get(f"/api/tasks/{task['id']}").status_code == 404
    assert client.get(f"/api/tasks/{other['id']}").status_code == 200
    assert client.get(f"/api/projects/{project['id']}").status_code == 404
