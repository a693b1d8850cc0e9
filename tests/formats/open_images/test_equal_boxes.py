"""Equal boxes, masks linked to them, and hands that regroup, relabel, move and delete: who belongs together stays so.

A mask names its box by what the box says, so of equal boxes a reader takes the first that is free. Where that would not
be the mask's own, the side file tells. Numbers of groups may be others afterwards; a group of one counts as none.

A few series run always, four hundred with `pytest -m long tests/formats/open_images/test_equal_boxes.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOX_HEADER, BOXES, MASK_HEADER, MASKS
from tests.samples import mask_png

SOME, MANY, STEP = (0, 1, 2, 3, 19, 40, 55, 66, 74), 400, 50
FRAMES = {"a.jpg": (40, 30), "b.jpg": (40, 30)}
LABELS = [{"name": "cat"}, {"name": "dog"}]
SIDE = "annotations/oid_extra.json"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("equal")) as opened:
        yield opened


def archive(rng: random.Random) -> bytes:
    boxes, masks, files = [], [], {}
    for image in "ab":
        for _ in range(rng.randint(1, 3)):
            label, corners = rng.choice(["cat", "dog"]), [rng.choice(["0.1", "0.2"]), "0.5", "0.2", "0.6"]
            cells = ",".join(corners)
            boxes += [f"{image},xclick,{label},1,{cells},0,0,0,0,0\n"] * rng.choice([1, 2, 2, 3])
            for _ in range(rng.choice([0, 1, 1, 2])):
                name = f"{image}{len(masks)}.png"
                pixels = np.random.default_rng(rng.getrandbits(32)).random((30, 40)) < 0.3
                pixels[0, 0] = True
                files[f"masks/train/{name}"] = mask_png(pixels)
                masks.append(f"{name},{image},{label},{len(masks):08x},{cells},,\n")
    for rows in (boxes, masks):
        if rng.random() < 0.5:
            rng.shuffle(rows)
    classes = {"annotations/class-descriptions.csv": "cat,cat\ndog,dog\n"}
    return zip_of({BOXES: BOX_HEADER + "".join(boxes), MASKS: MASK_HEADER + "".join(masks), **classes, **files})


def edit(task: TaskDesk, rng: random.Random) -> None:
    shapes = task.annotations()["shapes"]
    if not shapes:
        return
    one, kind = rng.choice(shapes), rng.choice(["group", "group", "delete", "label", "move"])
    if kind == "delete":
        task.change("delete", shapes=[one])
        return
    if kind == "group":
        one["group"] = rng.choice([0, 0, 1, 2, 3, rng.choice(shapes)["group"]])
    if kind == "label":
        one["label_id"] = rng.choice([label["id"] for label in task.labels().values()])
    if kind == "move" and one["type"] == "rectangle":
        one["points"] = [1, 1, 5, 5]
    task.change("update", shapes=[one])


def held(task: TaskDesk) -> tuple[list[tuple[Any, ...]], list[tuple[int, ...]]]:
    """Shapes in the order of what they are, and which of them make a group. Equal boxes of one group are one another's
    equals, those of several groups are not: so they are sorted by their groups' other members, too."""
    names = {label["id"]: name for name, label in task.labels().items()}
    found = [
        ((one["frame"], one["type"], tuple(one["points"]), names[one["label_id"]]), (one["frame"], one["group"]))
        for one in task.annotations()["shapes"]
    ]
    members: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for what, group in found:
        members.setdefault(group, []).append(what)
    peers = {group: sorted(all_) if group[1] and len(all_) > 1 else [] for group, all_ in members.items()}
    ordered = sorted(found, key=lambda one: (one[0], peers[one[1]]))
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (_, group) in enumerate(ordered):
        if peers[group]:
            groups.setdefault(group, []).append(place)
    return [what for what, _ in ordered], sorted(map(tuple, groups.values()))


def there_and_back(desk: Desk, seed: int) -> None:
    rng = random.Random(seed)
    one, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    one.bring(archive(rng))
    assert SIDE not in one.export(), f"seed {seed}: links alone need no side file"
    for _ in range(rng.randint(1, 4)):
        edit(one, rng)
    data = one.export_zip()
    other.bring(data)
    assert held(other) == held(one), f"seed {seed}"
    assert other.export_zip() == data, f"seed {seed}"


@pytest.mark.parametrize("seed", SOME)
def test_who_belongs_together_stays_together(desk: Desk, seed: int) -> None:
    there_and_back(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, MANY, STEP))
def test_many_series_keep_groups_together(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            there_and_back(desk, seed)


def groups(task: TaskDesk) -> list[tuple[str, bool, int]]:
    return sorted((one["type"], one["occluded"], one["group"]) for one in task.annotations()["shapes"])


ROW = "a,xclick,cat,1,0.1,0.5,0.2,0.6,{},0,0,0,0\n"
MASK = "m{0}.png,a,cat,0000000{0},0.1,0.5,0.2,0.6,,\n"


def two_masks(desk: Desk, rows: str) -> tuple[TaskDesk, TaskDesk]:
    one, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    pngs = {f"masks/train/m{number}.png": mask_png(np.ones((30, 40 - number), dtype=np.bool_)) for number in (0, 1)}
    one.bring(zip_of({BOXES: BOX_HEADER + rows, MASKS: MASK_HEADER + MASK.format(0) + MASK.format(1), **pngs}))
    return one, other


def test_a_mask_stays_with_the_second_of_two_equal_boxes(desk: Desk) -> None:
    one, other = two_masks(desk, ROW.format(0) + ROW.format(1))
    assert groups(one) == [("mask", False, 1), ("mask", False, 2), ("rectangle", False, 1), ("rectangle", True, 2)]
    one.change("delete", shapes=[shape for shape in one.annotations()["shapes"] if shape["type"] == "mask"][:1])
    other.bring(one.export_zip())
    assert groups(other) == groups(one) == [("mask", False, 2), ("rectangle", False, 1), ("rectangle", True, 2)]


def test_masks_of_a_box_that_is_gone_stay_together(desk: Desk) -> None:
    one, other = two_masks(desk, ROW.format(0))
    one.change("delete", shapes=[shape for shape in one.annotations()["shapes"] if shape["type"] == "rectangle"])
    other.bring(one.export_zip())
    assert groups(other) == groups(one) == [("mask", False, 1), ("mask", False, 1)]
