"""Groups come back as they were set, also those that rows do not tell: of half a pair, and of a pair with a tag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk import Desk, TaskDesk
from tests.operations.test_high_groups import linked

FRAMES, LABELS = {"a.png": (40, 30), "b.png": (40, 30)}, [{"name": "cat"}]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path / "store") as opened:
        yield opened


def groups(task: TaskDesk) -> dict[str, list[Any]]:
    found = task.annotations()
    shapes = [(shape["type"], shape["frame"], shape["group"]) for shape in found["shapes"]]
    return {"shapes": sorted(shapes), "tags": [tag["group"] for tag in found["tags"]]}


def check_trip(desk: Desk, task: TaskDesk, **options: str) -> None:
    other = desk.task(FRAMES, LABELS)
    other.bring(task.export_zip(), **options)
    assert groups(other) == groups(task)


@pytest.mark.parametrize("conv_mask_to_poly", ["true", "false"])
@pytest.mark.parametrize("half", ["box", "mask"])
@pytest.mark.parametrize("edit", ["delete", "ungroup", "move", "regroup"])
def test_half_of_a_pair_keeps_its_group(
    desk: Desk, tmp_path: Path, edit: str, half: str, conv_mask_to_poly: str
) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(linked(tmp_path), conv_mask_to_poly=conv_mask_to_poly)
    (shape,) = (one for one in task.annotations()["shapes"] if (one["type"] == "rectangle") == (half == "box"))
    if edit == "delete":
        task.change("delete", shapes=[shape])
    else:
        changes = {"ungroup": {"group": 0}, "move": {"frame": 1}, "regroup": {"group": 5}}
        task.change("update", shapes=[{**shape, **changes[edit]}])
    assert any(group == 1 for _, _, group in groups(task)["shapes"])
    check_trip(desk, task, conv_mask_to_poly=conv_mask_to_poly)


def test_a_tag_stays_in_the_group_of_a_pair(desk: Desk, tmp_path: Path) -> None:
    task = desk.task(FRAMES, LABELS)
    task.bring(linked(tmp_path))
    cat = task.labels()["cat"]["id"]
    task.change("create", tags=[{"frame": 0, "label_id": cat, "group": 1}])
    check_trip(desk, task)


@pytest.mark.parametrize("mode", ["replace", "append", "merge"])
def test_groups_of_any_number_stay_groups(desk: Desk, tmp_path: Path, mode: str) -> None:
    """The highest ones leave no number for what rows link: they come back as others, grouped alike."""
    task = desk.task(FRAMES, LABELS)
    task.bring(linked(tmp_path))
    look = {"label_id": task.labels()["cat"]["id"], "frame": 0}
    outline = {**look, "type": "polygon", "points": [1, 1, 9, 1, 9, 9]}
    high, low, lowest = (1 << 31) - 1, (1 << 29) + 7, 5
    task.change(
        "create",
        shapes=[
            {**outline, "group": group, "z_order": number} for number, group in enumerate([high, low, high, lowest])
        ],
        tags=[{**look, "group": low}],
        tracks=[{**look, "group": high, "shapes": [{"type": "rectangle", "frame": 0, "points": [1, 2, 3, 4]}]}],
    )
    other = desk.task(FRAMES, LABELS)
    before = {**outline, "label_id": other.labels()["cat"]["id"], "frame": 1, "group": 9, "z_order": 9}
    other.change("create", shapes=[before])
    report = other.bring(task.export_zip(), mode=mode)
    assert report["counts"] == {}
    found = other.annotations()
    shapes = {shape["z_order"]: shape["group"] for shape in found["shapes"] if shape["type"] == "polygon"}
    (pair,) = {shape["group"] for shape in found["shapes"] if shape["type"] != "polygon"}
    assert shapes[0] == shapes[2] == found["tracks"][0]["group"]
    assert shapes[1] == found["tags"][0]["group"]
    assert len({pair, *shapes.values()}) == (4 if mode == "replace" else 5)
