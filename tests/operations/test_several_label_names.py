"""A label whose rows call it by several LabelNames: all mean it in an export, also after it got another name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    MASK_HEADER,
    MASKS,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)

FRAMES = {"a.jpg": (8, 6), "b.jpg": (8, 6)}
LABELS = [{"name": "cat"}, {"name": "dog"}]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("names")) as opened:
        yield opened


def tags(names: str, *rows: str) -> bytes:
    return zip_of({CLASSES: names, TAGS: TAG_HEADER + "".join(f"{row},1\n" for row in rows)})


def names_of(members: Mapping[str, bytes], table: str = TAGS) -> list[str]:
    rows = csv.DictReader(io.StringIO(members[table].decode(), newline=""))
    return sorted(row["LabelName"] for row in rows)


def rename(task: TaskDesk, old: str, new: str) -> None:
    task.desk.call("PATCH", f"/api/labels/{task.labels()[old]['id']}", json={"name": new})


def copy(task: TaskDesk, data: bytes) -> TaskDesk:
    """Another task with the same labels, which takes the archive."""
    other = task.desk.task(FRAMES, [{"name": name} for name in task.labels()])
    other.bring(data)
    return other


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_task_of_the_labels_new_name_takes_rows_of_all_its_names(desk: Desk, mode: str) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(tags("", "a,x,cat"))
    task.bring(tags("/m/1,cat\n/m/2,Cat\n", "b,y,/m/1", "b,z,/m/2"), mode=mode)
    rename(task, "cat", "tiger")
    data = task.export_zip()
    assert names_of(task.export()) == ["/m/1", "/m/2", "cat"]
    other = copy(task, data)
    assert {one["label_id"] for one in other.annotations()["tags"]} == {other.labels()["tiger"]["id"]}
    assert other.export_zip() == data
    labels = [{"name": "dog"}, {"name": "tiger"}]
    project = desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": labels})
    desk.call("PATCH", task.path, json={"project_id": project["id"]})
    assert names_of(task.export()) == ["/m/1", "/m/2", "cat"]
    assert names_of(copy(task, task.export_zip()).export()) == ["/m/1", "/m/2", "cat"]


def test_what_is_drawn_has_the_mid_that_came_after_rows_of_the_labels_own_name(desk: Desk) -> None:
    """In the task, and in one that takes its export."""
    task = desk.task(FRAMES, LABELS)
    task.bring(tags("", "a,x,cat"))
    task.bring(tags("/m/1,cat\n", "b,y,/m/1"), mode="append")
    cat = task.labels()["cat"]["id"]
    task.change("create", tags=[{"frame": 0, "label_id": cat, "group": 0, "source": "auto", "attributes": []}])
    data = task.export_zip()
    assert names_of(task.export()) == ["/m/1", "/m/1", "cat"]
    other = copy(task, data)
    other.change("create", tags=[{"frame": 1, "label_id": other.labels()["cat"]["id"], "attributes": []}])
    assert names_of(other.export()) == ["/m/1", "/m/1", "/m/1", "cat"]


def test_a_mask_and_its_box_stay_together_whatever_they_call_their_label(desk: Desk) -> None:
    box = BOX_HEADER + "a,,/m/1,1,0.25,0.75,0.5,1,0,0,0,0,0\n"
    mask = MASK_HEADER + "m.png,a,/m/1,,0.25,0.75,0.5,1,,\n"
    png = rectangle_png(8, 6, 2, 3, 6, 6)
    task = desk.task(FRAMES, LABELS)
    task.bring(zip_of({CLASSES: "/m/1,cat\n", BOXES: box, MASKS: mask, "masks/train/m.png": png}))
    task.bring(task.export_zip(label_ids="name"), mode="merge")
    assert len({one["group"] for one in task.annotations()["shapes"]}) == 1
    other = copy(task, task.export_zip())
    assert other.annotations()["shapes"][0]["group"] != 0
    assert len({one["group"] for one in other.annotations()["shapes"]}) == 1
    assert other.export_zip() == task.export_zip()


def test_a_label_that_is_newer_than_its_class_has_the_mid(desk: Desk) -> None:
    """As it would have after the task's own export came in again."""
    task = desk.task(FRAMES, LABELS)
    task.bring(tags("/m/1,cat\n/m/3,bird\n/m/4,fish\n/m/5,fish\n", "a,x,/m/1"))
    desk.call("PATCH", task.path, json={"labels": [{"name": "bird"}, {"name": "fish"}]})
    made = [{"frame": 0, "label_id": task.labels()[name]["id"], "attributes": []} for name in ("bird", "fish")]
    task.change("create", tags=made)
    data = task.export_zip()
    assert names_of(task.export()) == ["/m/1", "/m/3", "fish"]
    assert copy(task, data).export_zip() == data
    task.bring(data, mode="merge")
    assert task.export_zip() == data
