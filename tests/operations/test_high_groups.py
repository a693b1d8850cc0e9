"""Group numbers may be any that CVAT takes; what is appended gets free ones, or is refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations
from app.formats.base import MAX_GROUP
from app.operations import groups as numbers
from app.operations.groups import _widest_gap
from app.operations.import_annotations import import_annotations
from app.storage import Storage
from tests.operations.desk import Desk, open_desk_store
from tests.samples import OpenImages, disk_with_hole, mask_png
from tests.storage.stores import shapes

CORNERS = ("0.25", "0.75", "0.2", "0.8")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_desk_store(tmp_path / "store") as opened:
        yield opened


def linked(folder: Path) -> bytes:
    built = OpenImages(classes=[("/m/01yrx", "cat")], images=[("a", "train")])
    built.box("a", "/m/01yrx", CORNERS, subset="train")
    built.mask("a", "/m/01yrx", "0a", mask_png(disk_with_hole(40, 30, 10, 3)), CORNERS, subset="train")
    return built.write(folder / "upload.zip").read_bytes()


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize("highest", [7, 1 << 30, MAX_GROUP - 1, MAX_GROUP])
def test_groups_that_are_added_are_free(storage: Storage, tmp_path: Path, highest: int, mode: str) -> None:
    desk = Desk(storage)
    drawn = shapes([0]).replace(
        groups=np.array([highest], dtype=np.int32), label_ids=np.array([desk.label_id("cat")], dtype=np.int32)
    )
    desk.draw(Annotations(shapes=drawn))
    for dry_run in (True, False):
        assert not desk.bring(linked(tmp_path), mode=mode, dry_run=dry_run).get("n_errors")
    groups = desk.load().shapes.groups.tolist()
    assert len(groups) == 3
    (new,) = {group for group in groups if group != highest}
    assert new > 0
    assert groups.count(new) == 2


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize("highest", [0, 7, (1 << 30) + 7])
def test_groups_that_others_take_meanwhile_stay_theirs(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, highest: int, mode: str
) -> None:
    desk = Desk(storage)
    cat = np.array([desk.label_id("cat")] * 2, dtype=np.int32)
    at_first = shapes([0]).replace(groups=np.array([highest], dtype=np.int32), label_ids=cat[:1])
    desk.draw(Annotations(shapes=at_first))
    taken = highest + 1 if highest < 1 << 30 else 1
    drawn = shapes([0, 0]).replace(groups=np.full(2, taken, dtype=np.int32), label_ids=cat)
    module = sys.modules[import_annotations.__module__]
    real = module.read_archive

    def reading(*given: Any) -> Any:
        found = real(*given)
        desk.draw(Annotations(shapes=drawn))
        return found

    monkeypatch.setattr(module, "read_archive", reading)
    assert not desk.bring(linked(tmp_path), mode=mode).get("n_errors")
    found = desk.load().shapes
    groups = found.groups[found.kept.tables < 0].tolist()
    assert groups == [highest, taken, taken]
    (new,) = set(found.groups[found.kept.tables >= 0].tolist())
    assert new not in groups
    assert new > 0


def test_the_widest_gap_is_found() -> None:
    parts = [np.array(numbers, dtype=np.int32) for numbers in ([], [0, 5, 1 << 30], [MAX_GROUP, 9])]
    assert _widest_gap(iter(parts)) == ((1 << 30) + 1, MAX_GROUP - (1 << 30) - 1)
    assert _widest_gap(iter(parts[:1])) == (1, MAX_GROUP)


def test_where_numbers_are_too_few_it_is_told(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "HIGH_GROUP", 0)
    monkeypatch.setattr(numbers, "_widest_gap", lambda groups: (5, 0))
    desk = Desk(storage)
    drawn = shapes([0]).replace(
        groups=np.array([4], dtype=np.int32), label_ids=np.array([desk.label_id("cat")], dtype=np.int32)
    )
    desk.draw(Annotations(shapes=drawn))
    assert desk.bring(linked(tmp_path), mode="append")["counts"]["group.no_room"] == 1
