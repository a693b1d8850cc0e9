"""Issues and comments: who may do what, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.storage import Task, User
from tests.api.conftest import MakeClient, TestClient, created

GOOD = {"frame": 1, "position": [1, 2], "message": "look"}


@pytest.fixture
def job(client: TestClient, give_data: Callable[..., Task]) -> int:
    give_data(created(client, "/api/tasks", name="t")["id"], 4, segment_size=2)
    return min(each["id"] for each in client.get("/api/jobs").json()["results"])


def test_an_issue_begins_with_its_message(client: TestClient, job: int) -> None:
    issue = created(client, "/api/issues", job=job, **GOOD)
    assert issue["comments"] == {"count": 1, "url": f"http://localhost/api/comments?issue_id={issue['id']}"}
    (comment,) = client.get(f"/api/comments?issue_id={issue['id']}").json()["results"]
    assert (comment["message"], comment["owner"]["username"]) == ("look", "admin")
    assert client.get(f"/api/jobs/{job}").json()["issues"]["count"] == 1
    listed = client.get(f"/api/issues?job_id={job}&frame_id=1&resolved=false&owner=admin").json()
    assert [each["id"] for each in listed["results"]] == [issue["id"]]
    assert client.get("/api/issues?resolved=true").json()["count"] == 0
    assert client.delete(f"/api/issues/{issue['id']}").status_code == 204
    assert client.get(f"/api/comments/{comment['id']}").status_code == 404


def test_what_is_not_sent_stays(client: TestClient, job: int) -> None:
    issue = created(client, "/api/issues", job=job, assignee=1, **GOOD)
    path = f"/api/issues/{issue['id']}"
    assert client.patch(path, json={"resolved": True}).json()["assignee"]["id"] == 1
    changed = client.patch(path, json={"assignee": None, "position": [3, 4, 5, 6]}).json()
    assert (changed["resolved"], changed["assignee"], changed["position"]) == (True, None, [3, 4, 5, 6])
    assert changed["updated_date"] > issue["updated_date"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/issues", {"job": 99}),
        ("/api/issues", {"frame": 2}),
        ("/api/issues", {"position": [1]}),
        ("/api/issues", {"position": [1, 2, 3]}),
        ("/api/issues", {"position": [1, 1e300]}),
        ("/api/issues", {"message": ""}),
        ("/api/issues", {"message": "  "}),
        ("/api/issues", {"assignee": 99}),
        ("/api/comments", {"issue": 99, "message": "x"}),
    ],
)
def test_what_cannot_be_is_400(client: TestClient, job: int, path: str, body: dict[str, Any]) -> None:
    given = {"job": job, **GOOD, **body} if path == "/api/issues" else body
    assert client.post(path, json=given).status_code == 400
    assert client.get("/api/issues").json()["count"] == 0
    assert client.get("/api/comments").json()["count"] == 0


def test_issues_are_seen_with_the_job_and_changed_by_who_wrote_them(
    make_client: MakeClient, make_user: Callable[..., User], give_data: Callable[..., Task]
) -> None:
    ann, bob, eve = make_client("ann"), make_client("bob"), make_client("eve")
    give_data(created(ann, "/api/tasks", name="t")["id"])
    job = ann.get("/api/jobs").json()["results"][0]["id"]
    issue = created(ann, "/api/issues", job=job, frame=0, position=[1, 2], message="ann's")
    path, below = f"/api/issues/{issue['id']}", f"/api/comments?issue_id={issue['id']}"
    comment = ann.get(below).json()["results"][0]["id"]
    for stranger in (bob, eve):
        assert stranger.get(path).status_code == 404
        assert stranger.get(below).json()["count"] == 0
        assert stranger.post("/api/issues", json={"job": job, **GOOD, "frame": 0}).status_code == 400
        assert stranger.post("/api/comments", json={"issue": issue["id"], "message": "x"}).status_code == 400
    assert ann.patch(f"/api/jobs/{job}", json={"assignee": make_user("bob").id}).status_code == 200
    assert bob.patch(path, json={"resolved": True}).status_code == 200
    assert bob.patch(path, json={"position": [0, 0]}).status_code == 403
    assert bob.patch(f"/api/comments/{comment}", json={"message": "bob's"}).status_code == 403
    assert bob.delete(f"/api/comments/{comment}").status_code == 403
    assert bob.delete(path).status_code == 403
    own = created(bob, "/api/comments", issue=issue["id"], message="bob's")
    assert bob.patch(f"/api/comments/{own['id']}", json={"message": "better"}).json()["message"] == "better"
    assert ann.delete(f"/api/comments/{own['id']}").status_code == 204
    assert eve.get("/api/issues").json()["count"] == 0
