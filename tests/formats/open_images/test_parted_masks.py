"""A mask row that several shapes show, some of which go their own way: each pixel leaves with the label that it has."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import MASK_HEADER, MASKS
from tests.samples import mask_png, runs_of

FRAMES = {"a.jpg": (40, 30)}
LABELS = [{"name": "cat"}, {"name": "dog"}]
LEFT, RIGHT = (slice(1, 3), slice(1, 3)), (slice(1, 4), slice(11, 14))
N_LEFT, N_RIGHT = 4, 9


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("parted")) as opened:
        yield opened


def pixels_of(*places: tuple[slice, slice]) -> np.ndarray[Any, Any]:
    pixels = np.zeros((30, 40), dtype=np.bool_)
    for place in places:
        pixels[place] = True
    return pixels


def of_polygons(desk: Desk) -> TaskDesk:
    """A task of an archive's mask of two parts, as polygons."""
    task = desk.task(FRAMES, LABELS)
    row = "m.png,a,cat,7,,,,,0.9,0.1 0.2 1\n"
    task.bring(
        zip_of({MASKS: MASK_HEADER + row, "masks/train/m.png": mask_png(pixels_of(LEFT, RIGHT))}),
        conv_mask_to_poly="true",
    )
    return task


def of_masks(desk: Desk) -> TaskDesk:
    """A task of two masks in a group that were drawn, exported and imported again."""
    task = desk.task(FRAMES, LABELS)
    look = {"type": "mask", "frame": 0, "group": 1, "label_id": task.labels()["cat"]["id"], "attributes": []}
    task.put(shapes=[{**look, "points": runs_of(pixels_of(place))} for place in (LEFT, RIGHT)])
    task.bring(task.export_zip())
    return task


def said(task: TaskDesk) -> list[tuple[str, int]]:
    """(LabelName, pixels) of each mask row, ascending."""
    members = task.export()
    (table,) = [name for name in members if "segmentation" in name]
    found = []
    for row in csv.DictReader(io.StringIO(members[table].decode())):
        (png,) = [data for name, data in members.items() if name.endswith("/" + row["MaskPath"])]
        found.append((row["LabelName"], int((np.asarray(Image.open(io.BytesIO(png))) != 0).sum())))
    return sorted(found)


@pytest.mark.parametrize("make", [of_polygons, of_masks])
def test_shapes_that_nobody_touched_are_one_row(desk: Desk, make: Any) -> None:
    assert said(make(desk)) == [("cat", N_LEFT + N_RIGHT)]


@pytest.mark.parametrize("make", [of_polygons, of_masks])
def test_a_deleted_part_takes_its_pixels_along(desk: Desk, make: Any) -> None:
    task = make(desk)
    task.change("delete", shapes=[task.annotations()["shapes"][1]])
    assert said(task) == [("cat", N_LEFT)]
    task.bring(task.export_zip())
    assert said(task) == [("cat", N_LEFT)]


@pytest.mark.parametrize("make", [of_polygons, of_masks])
@pytest.mark.parametrize("which", [0, 1])
def test_a_relabelled_part_is_a_mask_of_its_label(desk: Desk, make: Any, which: int) -> None:
    task = make(desk)
    shape = task.annotations()["shapes"][which]
    task.change("update", shapes=[{**shape, "label_id": task.labels()["dog"]["id"]}])
    sizes = [N_LEFT, N_RIGHT]
    assert said(task) == [("cat", sizes[1 - which]), ("dog", sizes[which])]
    before = task.annotations()["shapes"]
    task.bring(task.export_zip())
    assert said(task) == [("cat", sizes[1 - which]), ("dog", sizes[which])]
    assert [{**one, "id": 0} for one in task.annotations()["shapes"]] == [{**one, "id": 0} for one in before]


@pytest.mark.parametrize("make", [of_polygons, of_masks])
def test_an_ungrouped_part_is_a_row_of_its_own(desk: Desk, make: Any) -> None:
    task = make(desk)
    task.change("update", shapes=[{**task.annotations()["shapes"][1], "group": 0}])
    assert said(task) == [("cat", N_LEFT), ("cat", N_RIGHT)]
    task.bring(task.export_zip())
    assert said(task) == [("cat", N_LEFT), ("cat", N_RIGHT)]


@pytest.mark.parametrize("make", [of_polygons, of_masks])
def test_parts_that_are_relabelled_together_stay_one_row(desk: Desk, make: Any) -> None:
    task = make(desk)
    dog = task.labels()["dog"]["id"]
    task.change("update", shapes=[{**one, "label_id": dog} for one in task.annotations()["shapes"]])
    assert said(task) == [("dog", N_LEFT + N_RIGHT)]
