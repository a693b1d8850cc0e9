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
