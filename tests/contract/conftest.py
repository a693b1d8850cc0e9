"""A service with something of everything in it, for programs that know no more than the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.caller import Caller
from tests.samples import picture
from tests.service import Service, running_service


@dataclass(frozen=True)
class Stocked:
    """A service, an access token, and ids of what is in it by the names of path parameters."""

    service: Service
    token: str
    ids: dict[str, list[Any]]


@pytest.fixture
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    environ = {
        "ANNOPORT_LOGIN_RATE_PER_MINUTE": "1000000",
        "ANNOPORT_MAX_QUEUED_PER_USER": "10000",
        "ANNOPORT_REQUEST_HOLD_SECONDS": "0.1",
    }
    with running_service(tmp_path_factory.mktemp("contract"), environ=environ) as service, Caller(service) as caller:
        token = caller.json("POST", "/api/auth/access_tokens", json={"name": "contract"})["value"]
        yield Stocked(service, token, fill(caller))


def fill(caller: Caller) -> dict[str, list[Any]]:
    """Two tasks with data, one of them in a project, with issues and an access token."""
    label = {"name": "cat", "attributes": [{"name": "n", "mutable": False, "input_type": "text", "values": []}]}
    pictures = {f"{number}.png": picture(9, 7, number) for number in range(4)}
    project = caller.json("POST", "/api/projects", json={"name": "p", "labels": [label]})["id"]
    tasks = [
        caller.task("in p", [], pictures, project_id=project, segment_size=2),
        caller.task("alone", [label], pictures),
    ]
    for task in tasks:
        caller.annotate(task, {"shapes": [{"type": "rectangle", "frame": 0, "label": "cat", "points": [1, 1, 5, 5]}]})
    jobs = caller.json("GET", "/api/jobs?sort=id")["results"]
    issues = [
        caller.json(
            "POST",
            "/api/issues",
            json={"job": job["id"], "frame": job["start_frame"], "position": [1, 2], "message": "m"},
        )["id"]
        for job in jobs
    ]
    return {
        "project_id": [project],
        "task_id": tasks,
        "job_id": [job["id"] for job in jobs],
        "label_id": [label["id"] for label in caller.json("GET", "/api/labels")["results"]],
        "issue_id": issues,
        "comment_id": [comment["id"] for comment in caller.json("GET", "/api/comments")["results"]],
        "token_id": [caller.json("POST", "/api/auth/access_tokens", json={"name": "t"})["id"]],
        "user_id": [caller.json("GET", "/api/users/self")["id"]],
        "request_id": [request["id"] for request in caller.json("GET", "/api/requests")["results"]],
    }
