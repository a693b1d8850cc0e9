"""A label that is deleted takes the rows along that only said of it that it is absent: an export comes in again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.storage import requests
from tests.desk import Desk, TaskDesk
from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.parts import CLASSES, MASK_HEADER, MASKS, TAG_HEADER, TAGS, pixels

FRAMES = {"a.jpg": (8, 6), "b.jpg": (8, 6)}
LABELS = [{"name": "cat"}, {"name": "dog"}]
NAMES = "/m/1,Cat\n/m/2,Dog\n/m/3,Cat\n/m/4,Feline\n"
EMPTY = pixels(*["." * 8] * 6)
GONE = "export.label_deleted"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("deleted")) as opened:
        yield opened


def absent(*names: str) -> bytes:
    """An archive: each of these and dog are absent of one picture, and have a mask without a pixel on it."""
    names = (*names, "/m/2")
    masks = "".join(f"m{at}.png,a,{name},,,,,,,\n" for at, name in enumerate(names))
    return zip_of(
        {
            CLASSES: NAMES,
            TAGS: TAG_HEADER + "".join(f"a,crowd,{name},0\n" for name in names) + "b,,/m/2,1\n",
            MASKS: MASK_HEADER + masks,
            **{f"masks/train/m{at}.png": EMPTY for at in range(len(names))},
        }
    )


def hidden(members: Mapping[str, bytes]) -> list[str]:
    """The LabelName of each row that nothing shows."""
    tags = [line.split(",") for line in members[TAGS].decode().splitlines()[1:]]
    masks = [line.split(",")[2] for line in members[MASKS].decode().splitlines()[1:]]
    return [cells[2] for cells in tags if cells[3] == "0"] + masks


def delete(task: TaskDesk, name: str) -> None:
    task.desk.call("DELETE", f"/api/labels/{task.labels()[name]['id']}", 204)


def told(task: TaskDesk, **query: Any) -> tuple[bytes, dict[str, int]]:
    """An export, and what its report counts."""
    asked = {"format": "Open Images V7 1.0", "save_images": "false", **query}
    rq_id = task.desk.call("POST", f"{task.path}/dataset/export", 202, params=asked)["rq_id"]
    task.desk.work()
    with task.desk.storage.database.read() as conn:
        report = dict(requests.load(conn, rq_id).report or {})
    data = task.desk.client.get(f"{task.path}/dataset/download", params={"rq_id": rq_id}).content
    return data, {code: count for code, count in report["counts"].items() if code.startswith("export.")}


def comes_back(task: TaskDesk, data: bytes, **options: str) -> None:
    """Into another task with the same labels, and into the task itself."""
    labels = [{"name": name} for name in task.labels()]
    for other, mode in ((task.desk.task(FRAMES, labels), "replace"), (task, "merge"), (task, "replace")):
        other.bring(data, mode=mode)
        again, counts = told(other, **options)
        assert (read_zip(again), counts) == (read_zip(data), {})


@pytest.mark.parametrize("options", [{}, {"layout": "official"}, {"label_ids": "name"}], ids=str)
def test_rows_of_a_deleted_label_are_left_out_and_told(desk: Desk, options: dict[str, str]) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(absent("/m/1"))
    delete(task, "cat")
    data, counts = told(task, **options)
    dog = "dog" if "label_ids" in options else "/m/2"
    if "layout" not in options:
        assert hidden(read_zip(data)) == [dog, dog]
    assert counts == {GONE: 2}
    comes_back(task, data, **options)


def test_rows_that_called_a_deleted_label_otherwise_go_too(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(absent("/m/1", "/m/3", "cat"))
    task.bring(absent("/m/4"), mode="append", map="label:/m/4=cat")
    delete(task, "cat")
    data, counts = told(task)
    assert hidden(read_zip(data)) == ["/m/2"] * 4
    assert counts == {GONE: 8}
    comes_back(task, data)


def test_rows_of_a_label_that_has_another_name_stay(desk: Desk) -> None:
    task = desk.task(FRAMES, [*LABELS, {"name": "bird"}])
    task.bring(absent("/m/1"))
    desk.call("PATCH", f"/api/labels/{task.labels()['cat']['id']}", json={"name": "tiger"})
    delete(task, "bird")
    data, counts = told(task)
    assert hidden(read_zip(data)) == ["/m/1", "/m/2", "/m/1", "/m/2"]
    assert counts == {}
    comes_back(task, data)


def test_rows_mean_the_label_that_is_made_in_the_place_of_a_deleted_one(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(absent("/m/1"))
    delete(task, "cat")
    desk.call("PATCH", task.path, json={"labels": [{"name": "cat"}]})
    data, counts = told(task)
    assert hidden(read_zip(data)) == ["/m/1", "/m/2", "/m/1", "/m/2"]
    assert counts == {}
    other = desk.task(FRAMES, LABELS)
    other.bring(data)
    assert hidden(other.export()) == hidden(read_zip(data))


def test_what_is_selected_is_told_alone(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(absent("/m/1"))
    delete(task, "cat")
    assert told(task, label_types="segmentations")[1] == {GONE: 1}
    assert told(task, image_ids="b")[1] == {}


def test_a_task_that_moves_still_knows_which_labels_it_had(desk: Desk) -> None:
    task = desk.task(FRAMES, [*LABELS, {"name": "bird"}])
    task.bring(absent("/m/1", "/m/4"), map="label:/m/4=bird")
    delete(task, "cat")
    for name in "pq":  # the project has no bird, which no annotation is of
        project = desk.call("POST", "/api/projects", 201, json={"name": name, "labels": [{"name": "dog"}]})["id"]
        desk.call("PATCH", task.path, json={"project_id": project})
        data, counts = told(task)
        assert hidden(read_zip(data)) == ["/m/2", "/m/2"]
        assert counts == {GONE: 4}
    comes_back(task, data)
