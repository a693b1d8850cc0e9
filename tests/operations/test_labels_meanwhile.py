"""Labels that go away while an import is at work: it is refused, and nothing refers to what is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import Conflict
from app.operations import Limits, import_annotations, import_dataset
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.storage import requests
from tests.desk import Desk
from tests.operations.test_known_before import HEADER, archive
from tests.samples import picture

LABELS = [{"name": "cat"}, {"name": "dog"}]
TABLE = f"{HEADER}\na,x,cat,1,0.25,0.5,0.25,0.5,0,1,0,0,0\na,x,dog,1,0,1,0,1,0,0,0,0,0\n"
ZIP = archive(**{"annotations/train-annotations-bbox.csv": TABLE})
DATASET = archive(**{"annotations/train-annotations-bbox.csv": TABLE, "images/train/a.png": picture(8, 6)})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as opened:
        yield opened


def attempt(desk: Desk, request_id: str, handler: Any = import_annotations) -> None:
    with desk.storage.database.write() as conn:
        claimed = requests.claim(conn, request_id, lease_seconds=60)
    assert claimed is not None
    handler(Context(claimed, desk.storage, WorkerLimits(), threading.Event()), limits=Limits())


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """`change` when all is read and nothing is shown yet."""
    for name in ("import_annotations", "import_dataset"):
        module = __import__(f"app.operations.{name}", fromlist=["read_archive"])
        real = module.read_archive

        def reading(*given: Any, real: Any = real) -> Any:
            found = real(*given)
            change()
            return found

        monkeypatch.setattr(module, "read_archive", reading)


@pytest.mark.parametrize("mode", ["replace", "append", "merge"])
@pytest.mark.parametrize("in_project", [False, True])
def test_a_label_that_is_removed_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, mode: str, in_project: bool
) -> None:
    fields: dict[str, Any] = {}
    if in_project:
        fields = {"project_id": desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": LABELS})["id"]}
    task = desk.task({"a.png": (8, 6)}, [] if in_project else LABELS, **fields)
    files = [("file", ("a.zip", ZIP))]
    told = desk.call("POST", f"{task.path}/import", 202, files=files, params={"wait": "0", "mode": mode})
    dog = task.labels()["dog"]["id"]
    meanwhile(monkeypatch, lambda: desk.call("DELETE", f"/api/labels/{dog}", 204))
    with pytest.raises(Conflict, match=r'the label "dog" was removed.*import again'):
        attempt(desk, told["rq_id"])
    assert task.annotations()["shapes"] == []
    assert task.export()


def test_a_label_of_a_project_that_is_removed_while_a_dataset_comes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": LABELS})["id"]
    files = {"dataset_file": ("d.zip", DATASET)}
    query = {"format": "Open Images V6 1.0"}
    told = desk.call("POST", f"/api/projects/{project}/dataset", 202, files=files, params=query)
    dog = desk.call("GET", "/api/labels", params={"project_id": project})["results"][1]["id"]
    meanwhile(monkeypatch, lambda: desk.call("DELETE", f"/api/labels/{dog}", 204))
    with pytest.raises(Conflict, match='the label "dog" was removed'):
        attempt(desk, told["rq_id"], import_dataset)
    assert desk.call("GET", "/api/tasks")["count"] == 0


def test_a_task_without_annotations_does_not_move_while_some_come(desk: Desk) -> None:
    projects = [desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": LABELS})["id"] for _ in "ab"]
    task = desk.task({"a.png": (8, 6)}, [], project_id=projects[0])
    desk.call("POST", f"{task.path}/import", 202, files=[("file", ("a.zip", ZIP))], params={"wait": "0"})
    desk.call("PATCH", task.path, 409, json={"project_id": projects[1]})
    desk.work()
    desk.call("PATCH", task.path, 200, json={"project_id": projects[1]})
    assert {shape["label_id"] for shape in task.annotations()["shapes"]} == {
        label["id"] for label in task.labels().values()
    }
