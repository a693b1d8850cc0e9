"""A task that moves to a project, or from one to another, takes its annotations along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.open_images.random_archives import make_archive

POINTS = {
    "name": "tip",
    "type": "points",
    "attributes": [{"name": "sure", "mutable": True, "input_type": "checkbox", "values": ["true"]}],
}
SKELETON = {
    "name": "figure",
    "type": "skeleton",
    "sublabels": [POINTS, {"name": "toe", "type": "points"}],
    "svg": "<g/>",
}


@pytest.fixture(params=[-1, 100_000], ids=["written anew ahead", "written anew at once"])
def desk(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("app.storage.rewriting.ROWS_AHEAD", request.param)
    with Desk(tmp_path) as opened:
        yield opened


def project_of(desk: Desk, labels: list[dict[str, Any]], name: str = "p") -> int:
    return int(desk.call("POST", "/api/projects", 201, json={"name": name, "labels": labels})["id"])


def move(desk: Desk, task: TaskDesk, project: int, status: int = 200) -> Any:
    return desk.call("PATCH", task.path, status, json={"project_id": project})


def described(task: TaskDesk) -> Any:
    """All annotations, with names in the place of ids."""
    labels = task.labels().values()
    everyone = [label for top in labels for label in (top, *top["sublabels"])]
    names = {label["id"]: label["name"] for label in everyone}
    specs = {spec["id"]: spec["name"] for label in everyone for spec in label["attributes"]}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        if not isinstance(value, dict):
            return value
        found = {key: named(each) for key, each in value.items()}
        if "label_id" in found:
            found["label_id"] = names[found["label_id"]]
        if "spec_id" in found:
            found["spec_id"] = specs[found["spec_id"]]
        if "attributes" in found:
            found["attributes"] = sorted(found["attributes"], key=lambda each: each["spec_id"])
        return found

    return named(task.annotations())


def draw(task: TaskDesk) -> None:
    """A skeleton, and tracks of shapes and of skeletons, with attributes."""
    figure = task.labels()["figure"]
    parts = {part["name"]: part for part in figure["sublabels"]}
    sure = [{"spec_id": parts["tip"]["attributes"][0]["id"], "value": "false"}]
    elements = [
        {"type": "points", "frame": 0, "label_id": parts["tip"]["id"], "points": [1, 2], "attributes": sure},
        {"type": "points", "frame": 0, "label_id": parts["toe"]["id"], "points": [3, 2], "attributes": []},
    ]
    skeleton = {"type": "skeleton", "frame": 0, "label_id": figure["id"], "points": [], "elements": elements}
    keys = [{"type": "points", "frame": 0, "points": [1, 2], "attributes": sure}]
    bones = [{"frame": 0, "label_id": parts["tip"]["id"], "attributes": [], "shapes": keys}]
    body = [{"type": "skeleton", "frame": 0, "points": [], "attributes": []}]
    track = {"frame": 0, "label_id": figure["id"], "shapes": body, "elements": bones, "attributes": []}
    task.change("create", shapes=[skeleton], tracks=[track])


@pytest.mark.parametrize("seed", [3, 8])
def test_everything_stays_but_the_ids(desk: Desk, seed: int) -> None:
    made = make_archive(seed)
    labels = [*made.labels, SKELETON]
    task = desk.task(made.frames, labels)
    task.bring(made.files, **made.options)
    draw(task)
    before, archive = described(task), task.export()
    others = [{"name": f"other {number}"} for number in range(5)]
    first = project_of(desk, [*others, *reversed(labels)])
    answer = move(desk, task, first)
    assert (answer["project_id"], answer["project_name"]) == (first, "p")
    assert described(task) == before
    moved = task.export()
    assert {name: data for name, data in moved.items() if name not in DECLARING} == {
        name: data for name, data in archive.items() if name not in DECLARING
    }
    used = {label["id"] for label in task.labels().values()}
    assert {shape["label_id"] for shape in task.annotations()["shapes"]} <= used
    second = project_of(desk, labels, "q")
    move(desk, task, second)
    assert described(task) == before
    assert task.export() == archive, "the labels are in the same order again"
    assert desk.call("GET", f"/api/labels?project_id={first}")["count"] == len(labels) + 5


DECLARING = ("annotations/class-descriptions.csv", "annotations/oid_extra.json")
"""What follows the labels that there are."""


@pytest.mark.parametrize(
    ("there", "words"),
    [
        pytest.param([], "no label of this name", id="no label"),
        pytest.param([{"name": "cat", "type": "polygon"}], "type there is polygon", id="another type"),
        pytest.param([{"name": "cat"}], 'no attribute "side"', id="no attribute"),
        pytest.param(
            [{"name": "cat", "attributes": [{"name": "side", "mutable": False, "input_type": "text", "values": []}]}],
            "of another kind there",
            id="another kind of attribute",
        ),
    ],
)
def test_a_project_that_lacks_what_is_used_is_refused(desk: Desk, there: list[dict[str, Any]], words: str) -> None:
    side = {"name": "side", "mutable": False, "input_type": "select", "values": ["left", "right"]}
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat", "attributes": [side]}, {"name": "unused"}])
    project = project_of(desk, there)
    task.put(tags=[{"frame": 0, "label_id": task.labels()["cat"]["id"]}])
    before = task.annotations()
    told = move(desk, task, project, 400)
    assert words in told["detail"]
    assert '"cat"' in told["detail"]
    assert task.annotations() == before
    assert desk.call("GET", task.path)["project_id"] is None
    task.put()
    move(desk, task, project)
    assert task.labels().keys() == {label["name"] for label in there}


def test_a_task_with_annotations_does_not_leave_its_labels(desk: Desk) -> None:
    project = project_of(desk, [{"name": "cat"}])
    task = desk.task({"a.jpg": (8, 6)}, [], project_id=project)
    task.put(tags=[{"frame": 0, "label_id": task.labels()["cat"]["id"]}])
    told = desk.call("PATCH", task.path, 400, json={"project_id": None})
    assert "labels" in told["detail"]


def test_work_that_runs_has_its_labels_until_its_end(desk: Desk) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    project = project_of(desk, [{"name": "cat"}])
    task.put(tags=[{"frame": 0, "label_id": task.labels()["cat"]["id"]}])
    desk.call("POST", f"{task.path}/dataset/export", 202, params={"format": "Open Images V7 1.0"})
    assert "running" in move(desk, task, project, 409)["detail"]
    desk.work()
    move(desk, task, project)
