"""Two who change annotations at once: whoever names what was read (If-Match) undoes nothing that came since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk import Desk, TaskDesk
from tests.storage.stores import ENGINES, place_of


@pytest.fixture(params=ENGINES)
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    with place_of(request.param, tmp_path) as place, Desk(tmp_path, place) as opened:
        yield opened


def paths_of(desk: Desk, task: TaskDesk) -> list[str]:
    job = desk.call("GET", "/api/jobs", params={"task_id": str(task.number)})["results"][0]["id"]
    return [f"{task.path}/annotations", f"/api/jobs/{job}/annotations"]


def box(label: int, x: float) -> dict[str, Any]:
    return {"frame": 0, "label_id": label, "type": "rectangle", "points": [x, 0, x + 1, 1]}


def test_nobody_undoes_what_came_since(desk: Desk) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        read = desk.client.get(path).headers["etag"]
        stored = desk.call("PUT", path, json={"shapes": [box(cat, 1)]}, headers={"If-Match": f'"x", {read}'})
        ids = {"shapes": [{**box(cat, 3), "id": stored["shapes"][0]["id"]}]}
        long = {"shapes": [box(cat, 1)] * 5000}
        for given in (read, '"x"', "", f"W/{desk.client.get(path).headers['etag']}"):
            headers = {"If-Match": given}
            for method, action, body in (
                ("PUT", "", {"shapes": []}),
                ("PUT", "", long),
                ("PATCH", "?action=create", {"shapes": [box(cat, 2)]}),
                ("PATCH", "?action=update", ids),
                ("PATCH", "?action=delete", ids),
                ("DELETE", "", None),
            ):
                told = desk.call(method, path + action, 412, headers=headers, **({"json": body} if body else {}))
                assert told["code"] == "request.outdated"
                assert "read its annotations again" in told["detail"]
        assert task.annotations()["shapes"] == stored["shapes"]
        now = desk.client.get(path).headers["etag"]
        desk.call("PATCH", f"{path}?action=update", json=ids, headers={"If-Match": now})
        desk.call("DELETE", path, 412, headers={"If-Match": now})
        desk.call("DELETE", path, 204, headers={"If-Match": desk.client.get(path).headers["etag"]})


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-Match": " * "}])
def test_whoever_names_nothing_changes_what_is_there(desk: Desk, headers: dict[str, str]) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        desk.call("PUT", path, json={"shapes": [box(cat, 1)]}, headers=headers)
        desk.call("PATCH", f"{path}?action=create", json={"shapes": [box(cat, 2)]}, headers=headers)
        assert len(task.annotations()["shapes"]) == 2
        desk.call("DELETE", path, 204, headers=headers)
