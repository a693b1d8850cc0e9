"""What an export says of rows that a merge corrected beside others that it did not."""

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

FRAMES = {"a.jpg": (8, 6)}
LABELS = [{"name": "cat"}]
NAMES = "/m/1,cat\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("merges")) as opened:
        yield opened


def rows(members: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(members[name].decode(), newline="")))


def box_of(members: Mapping[str, bytes]) -> tuple[str, ...]:
    """The box that the one mask row names."""
    (row,) = rows(members, MASKS)
    return tuple(row[f"Box{name}"] for name in ("XMin", "XMax", "YMin", "YMax"))


@pytest.mark.parametrize("polygons", ["false", "true"])
def test_a_mask_names_the_box_that_a_merge_corrected(desk: Desk, polygons: str) -> None:
    task: TaskDesk = desk.task(FRAMES, LABELS)
    box = BOX_HEADER + "a,,/m/1,1,0.25,0.75,0.5,1,0,0,0,0,0\n"
    mask = MASK_HEADER + "m.png,a,/m/1,00000001,0.25,0.75,0.5,1,,\n"
    png = rectangle_png(8, 6, 2, 3, 6, 6)
    task.bring(zip_of({CLASSES: NAMES, BOXES: box, MASKS: mask, "masks/train/m.png": png}), conv_mask_to_poly=polygons)
    task.bring(zip_of({CLASSES: NAMES, BOXES: box.replace("0.25", "0.125")}), mode="merge")
    members = task.export()
    assert box_of(members) == ("0.125", "0.75", "0.5", "1")
    other = desk.task(FRAMES, LABELS)
    other.bring(zip_of(members))
    assert other.export() == members


def test_a_mask_that_names_a_box_of_another_import_keeps_its_cells(desk: Desk) -> None:
    """It is in no group; in another task, where both come at once, the box is in one that somebody made."""
    task: TaskDesk = desk.task(FRAMES, LABELS)
    boxes = BOX_HEADER + "a,,/m/1,1,0.25,0.75,0.5,1,0,0,0,0,0\na,,/m/1,1,0,1,0,1,0,0,0,0,0\n"
    mask = MASK_HEADER + "m.png,a,/m/1,00000001,0.25,0.75,0.5,1,,\n"
    png = rectangle_png(8, 6, 2, 3, 6, 6)
    task.bring(zip_of({CLASSES: NAMES, BOXES: boxes}))
    task.bring(zip_of({CLASSES: NAMES, MASKS: mask, "masks/train/m.png": png}), mode="append")
    for group in (0, 3):
        shapes = task.annotations()["shapes"]
        task.change("update", shapes=[{**one, "group": group if one["type"] == "rectangle" else 0} for one in shapes])
        members = task.export()
        assert box_of(members) == ("0.25", "0.75", "0.5", "1")
        other = desk.task(FRAMES, LABELS)
        other.bring(zip_of(members))
        assert groups_of(other) == groups_of(task)
        assert other.export() == members


def groups_of(task: TaskDesk) -> list[tuple[str, int]]:
    return sorted((one["type"], one["group"]) for one in task.annotations()["shapes"])


@pytest.mark.parametrize("becomes", [{"rotation": 45.0}, {"type": "polygon", "points": [2, 3, 6, 3, 6, 6]}], ids=str)
def test_a_box_that_was_turned_beside_its_mask_is_merged_as_part_of_it(desk: Desk, becomes: dict[str, object]) -> None:
    """Both are one mask row since."""
    task: TaskDesk = desk.task(FRAMES, LABELS)
    box = BOX_HEADER + "a,,/m/1,1,0.25,0.75,0.5,1,0,0,0,0,0\n"
    mask = MASK_HEADER + "m.png,a,/m/1,00000001,0.25,0.75,0.5,1,,\n"
    png = rectangle_png(8, 6, 2, 3, 6, 6)
    task.bring(zip_of({CLASSES: NAMES, BOXES: box, MASKS: mask, "masks/train/m.png": png}))
    one = next(shape for shape in task.annotations()["shapes"] if shape["type"] == "rectangle")
    task.change("update", shapes=[{**one, **becomes}])
    before, members = sorted(shape["type"] for shape in task.annotations()["shapes"]), task.export()
    for _ in range(2):
        report = task.bring(zip_of(members), mode="merge")
        assert sorted(shape["type"] for shape in task.annotations()["shapes"]) == before
        assert report["changes"]["shapes"]["added"] == 0
        assert task.export() == members


def test_a_merge_of_its_own_export_changes_no_cell_that_an_export_writes_otherwise(desk: Desk) -> None:
    """Flags in words, or none, and no Confidence: they leave as digits, and say the same when they come back."""
    task: TaskDesk = desk.task(FRAMES, LABELS)
    header = BOX_HEADER.strip() + ",XClick1X\n"
    boxes = header + "a,,/m/1,,0.25,0.75,0.5,1,true,,False,1.0,0,\na,,/m/1,1,0,1,0,1,,0,0,-1,0,0.5\n"
    tags = TAG_HEADER + "a,x,/m/1,\n"
    task.bring(zip_of({CLASSES: NAMES, BOXES: boxes, TAGS: tags}))
    members = task.export()
    report = task.bring(zip_of(members), mode="merge")
    for kind in ("shapes", "tags"):
        counts = report["changes"][kind]
        assert (counts["added"], counts["removed"], counts["changed"]) == (0, 0, 0)
    assert task.export() == members
    corrected = members[BOXES].replace(b",1,-1,0,1,0,", b",1,0,0,1,0,")
    assert corrected != members[BOXES]
    task.bring(zip_of({**members, BOXES: corrected}), mode="merge")
    assert sorted(task.export()[BOXES].splitlines()) == sorted(corrected.splitlines())
