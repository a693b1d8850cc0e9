"""Images of which an append says something else than an import before it: nothing of it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.parts import BOX_HEADER, CLASSES, LIST_HEADER
from tests.operations.desk import Desk, open_desk_store
from tests.samples import LABELS

LABEL = LABELS[0]["name"]
BOX = "{},xclick,/m/1,1,0.25,0.5,0.25,0.5,0,0,0,0,0\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk_store(tmp_path) as storage:
        yield Desk(storage)


def listed(*rows: str, subset: str = "train", boxes: str = "") -> bytes:
    members: dict[str, str | bytes] = {CLASSES: f"/m/1,{LABEL}\n"}
    if rows:
        members[f"annotations/{subset}-images-with-rotation.csv"] = LIST_HEADER + "".join(rows)
    if boxes:
        members[f"annotations/{subset}-annotations-bbox.csv" if subset else "labels/detections.csv"] = (
            BOX_HEADER + boxes
        )
    return zip_of(members)


def row(image: str, url: str, subset: str = "train") -> str:
    return f"{image},{subset},{url},,,,,,,,,\n"


def lists(desk: Desk) -> dict[str, list[str]]:
    members = read_zip(desk.export())
    return {
        name.removeprefix("annotations/").partition("-")[0]: data.decode().splitlines()[1:]
        for name, data in members.items()
        if name.endswith("images-with-rotation.csv")
    }


def told(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        tuple(problem.get(key) for key in ("file", "row", "column", "value"))
        for problem in report["problems"]
        if problem["code"] == "image.replaced"
    ]


LIST = "annotations/train-images-with-rotation.csv"


def test_other_cells_of_an_image_are_told_and_the_new_ones_leave(desk: Desk) -> None:
    desk.bring(listed(row("a", "one"), row("b", "two")))
    report = desk.bring(listed(row("b", "three"), row("d/c", "four")), mode="append", dry_run=True)
    assert told(report) == [(LIST, 2, "ImageID", "b")]
    assert told(desk.bring(listed(row("b", "three"), row("d/c", "four")), mode="append")) == told(report)
    assert lists(desk)["train"] == [row("a", "one")[:-1], row("b", "three")[:-1], row("d/c", "four")[:-1]]
    assert told(desk.bring(listed(row("b", "three")), mode="append")) == [], "the newest counts"
    assert told(desk.bring(listed(row("b", "two")))) == [], "what is replaced is not kept"


def test_another_subset_is_told(desk: Desk) -> None:
    desk.bring(listed(row("a", "one"), row("b", "two")))
    report = desk.bring(listed(row("b", "two", "test"), subset="test"), mode="append")
    assert told(report) == [(LIST.replace("train", "test"), 2, "Subset", "b")]
    message = next(problem["message"] for problem in report["problems"] if problem["code"] == "image.replaced")
    assert message == 'an earlier import had this image in "train"; it is in "test" from now on'
    assert lists(desk)["test"] == [row("b", "two", "test")[:-1]]


def test_files_without_a_list_leave_what_is_known(desk: Desk) -> None:
    desk.bring(listed(row("a", "one"), row("b", "two")))
    assert told(desk.bring(listed(boxes=BOX.format("a")), mode="append")) == []
    assert lists(desk)["train"][:2] == [row("a", "one")[:-1], row("b", "two")[:-1]]
    report = desk.bring(listed(boxes=BOX.format("b"), subset="test"), mode="append")
    assert told(report) == [(None, None, "ImageID", "b")]
    found = lists(desk)
    assert found["train"][0] == row("a", "one")[:-1]
    assert found["test"] == [row("b", "two", "test")[:-1]]


def test_files_that_tell_no_subset_leave_the_one_that_is_known(desk: Desk) -> None:
    desk.bring(listed(row("a", "one")))
    assert told(desk.bring(listed(boxes=BOX.format("a"), subset=""), mode="append")) == []
    assert lists(desk)["train"] == [row("a", "one")[:-1]]
