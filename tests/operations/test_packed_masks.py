"""Masks that an import only proves, beside the same import that decodes them all: one store is as good as the other,
whatever is asked of it and whatever is changed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import helpers
from app.annotations import Annotations, Shapes, ShapeType, looks, packed_masks
from app.api import encoding
from app.api.encoding import encode
from app.columns import PackedRagged, Ragged
from app.helpers import Helper
from app.operations import statistics
from app.operations.backup_rows import join_rows
from app.operations.statistics import count_task, described
from app.operations.targets import task_target
from app.storage import annotations as stored
from tests.images.pngs import build, raw_png
from tests.operations.desk import Desk, open_desk_store
from tests.operations.test_merge import Zips, sample
from tests.samples import OpenImages, mask_png
from tests.storage.stores import shapes as plain_shapes

WIDTH, HEIGHT = 40, 30


def blob(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    centre = random.uniform(0.2, 0.8, 2) * (height, width)
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < random.uniform(2, 80)) | (
        random.random((height, width)) < 0.02
    )


def archive(seed: int, *, good: bool = True) -> OpenImages:
    """Masks of all kinds: those that may stay packed, and every reason against it."""
    random = np.random.default_rng(seed)
    built = sample()
    for number in range(40):
        image = "ab"[number // 10 % 2]
        width, height = WIDTH, HEIGHT
        kind = number % 10
        if kind == 1:
            width, height = width // 2, height // 2  # the mask grows
        elif kind == 2:
            width, height = width * 3, height * 3  # the mask shrinks
        elif kind == 3:
            width += 5
        pixels = blob(random, width, height)
        if kind == 4:
            png = mask_png(np.zeros((height, width), dtype=np.bool_))
        elif kind == 5:
            png = mask_png(pixels, kind=("zero-one", "grey")[number % 20 // 10])
        elif kind == 6:  # nothing but bits behind the last pixel, which are none
            raw = np.zeros((7, 1 + 2), dtype=np.uint8)
            raw[:, 2] = 0x1F
            png = raw_png(raw.tobytes(), 11, 7)
        elif kind == 7:
            png = build(pixels[:, :, None].astype(np.uint8), 0, 1, interlaced=True)
        elif kind == 8:
            single = np.zeros((height * 9, width * 9), dtype=np.bool_)
            single[1, 1] = True  # lost at the size of the frame
            png = mask_png(single)
        else:
            png = build(pixels[:, :, None].astype(np.uint8), 0, 1, random.integers(0, 5, 5).tolist())
        if kind == 9 and not good:
            png = png[:-20]
        built.mask(image, ("/m/01yrx", "/m/0bt9lr")[number % 2], f"{number:08x}", png, subset="train")
    return built


@pytest.fixture
def desks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[OpenImages], tuple[Desk, Desk]]]:
    """An import into two stores, the second of which decodes every mask at once."""
    with open_desk_store(tmp_path / "packed") as packed, open_desk_store(tmp_path / "eager") as eager:

        def bring(built: OpenImages, **options: Any) -> tuple[Desk, Desk]:
            data = Zips(tmp_path)(built)
            one, other = Desk(packed), Desk(eager)
            reports = [one.bring(data, **options)]
            with monkeypatch.context() as patch:
                patch.setattr(packed_masks, "MOST_BYTES", 0)
                reports.append(other.bring(data, **options))
            assert told(reports[0]) == told(reports[1])
            return one, other

        yield bring


def told(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in ("id", "seconds")}


def json_of(desk: Desk, most_helpers: int = 0, **options: Any) -> bytes:
    with desk.storage.database.snapshot() as conn:
        labels = task_target(conn, desk.task_id).labels
        batches = list(stored.iterate(conn, desk.task_id, batch_rows=7, **options))
        tags, shapes, tracks = ([getattr(batch, kind) for batch in batches] for kind in ("tags", "shapes", "tracks"))
        return b"".join(encode(tags, shapes, tracks, labels, most_helpers=most_helpers))


def statistics_of(desk: Desk, most_helpers: int = 0) -> str:
    with desk.storage.database.snapshot() as conn:
        return repr(described(count_task(conn, desk.task_id, most_helpers=most_helpers)))


def backup_of(desk: Desk) -> list[bytes]:
    """Shapes as a backup has them."""
    with desk.storage.database.snapshot() as conn:
        sets = [each.id for each in stored.sets_of(conn, desk.task_id)]
        return [join_rows(part) for one in sets for part in stored.iterate_set(conn, desk.task_id, one, "shapes", 10)]


def n_packed(desk: Desk) -> int:
    runs = desk.load().shapes.runs
    return int((runs.packed.lengths > 0).sum()) if isinstance(runs, PackedRagged) else 0


def assert_alike(one: Desk, other: Desk) -> None:
    before = one.revision()
    assert json_of(one) == json_of(other)
    assert json_of(one, lazy=True) == json_of(other)
    for options in ({}, {"layout": "fiftyone"}, {"rotated": "both", "label_ids": "name"}):
        assert one.export(**options) == other.export(**options)
    assert statistics_of(one) == statistics_of(other)
    assert backup_of(one) == backup_of(other)
    assert one.revision() == before


def masks_of(desk: Desk) -> Shapes:
    shapes = desk.load().shapes
    return shapes.take(shapes.types == ShapeType.MASK)


def as_sent(shapes: Shapes) -> Shapes:
    """What a client sends has numbers."""
    return shapes.replace(runs=Ragged(shapes.runs.values, shapes.runs.offsets))


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_imported_is_the_same(desks: Callable[..., tuple[Desk, Desk]], seed: int) -> None:
    one, other = desks(archive(seed))
    assert 10 < n_packed(one) < len(masks_of(one))
    assert n_packed(other) == 0
    assert_alike(one, other)
    assert n_packed(one) > 10  # looking changes nothing


@pytest.mark.parametrize("most_text", [1, 200, 4 << 20])
def test_json_is_the_same_in_looks_of_any_size(
    desks: Callable[..., tuple[Desk, Desk]], monkeypatch: pytest.MonkeyPatch, most_text: int
) -> None:
    one, other = desks(archive(6))
    expected = json_of(other)
    monkeypatch.setattr(looks, "MOST_TEXT", most_text)
    for masks, size, values in ((1, 1 << 20, 1 << 17), (5, 300, 100), (64, 1, 1)):
        monkeypatch.setattr(looks, "MASKS_A_LOOK", masks)
        monkeypatch.setattr(looks, "BYTES_A_LOOK", size)
        monkeypatch.setattr(encoding, "VALUES_PER_CHUNK", values)
        assert json_of(one) == expected


def test_looks_of_a_helper_are_the_same(
    desks: Callable[..., tuple[Desk, Desk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = desks(archive(7))
    monkeypatch.setattr(looks, "MASKS_A_LOOK", 1)
    monkeypatch.setattr(encoding, "UNHELPED_LOOKS", 0)
    monkeypatch.setattr(statistics, "UNHELPED_LOOKS", 0)
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    monkeypatch.setattr(helpers.Helper, "has_room", waits_until_it_is_up(helpers.Helper.has_room))
    assert json_of(one, most_helpers=1) == json_of(other)
    assert statistics_of(one, most_helpers=1) == statistics_of(other)


def waits_until_it_is_up(has_room: Callable[[Helper], bool]) -> Callable[[Helper], bool]:
    def waited(helper: Helper) -> bool:
        helper.wait()
        return has_room(helper)

    return waited


def test_a_broken_mask_is_told_alike(desks: Callable[..., tuple[Desk, Desk]]) -> None:
    one, other = desks(archive(3, good=False))
    assert len(one.load().shapes) == len(other.load().shapes) == 0


@pytest.mark.parametrize(
    "options",
    [{"conv_mask_to_poly": True}, {"rules": "all"}, {"classes": "cat"}, {"dry_run": True}],
    ids=["traced", "with rules", "selected", "dry run"],
)
def test_options_that_need_pixels_get_them(desks: Callable[..., tuple[Desk, Desk]], options: dict[str, Any]) -> None:
    one, other = desks(archive(4), **options)
    assert_alike(one, other)


def test_edits_leave_the_others_as_they_are(desks: Callable[..., tuple[Desk, Desk]]) -> None:
    one, other = desks(archive(5))
    packed = n_packed(one)
    for desk in (one, other):
        rows = np.flatnonzero(desk.load().shapes.types == ShapeType.MASK).tolist()
        # Sent back as it was: nothing is edited.
        desk.edit("shapes", as_sent, rows[:2])
        # Moved by hand, relabelled, and grouped with a polygon so that both become one mask.
        desk.edit("shapes", lambda table: table.replace(runs=table.runs.take(np.array([1, 0]))), rows[3:5])
        flipped = np.array([desk.label_id("cat")], dtype=np.int32)
        desk.edit("shapes", lambda table, flipped=flipped: table.replace(label_ids=flipped), rows[6:7])
        desk.edit("shapes", lambda table: table.replace(groups=np.array([77], dtype=np.int32)), rows[8:9])
        mask = masks_of(desk).take(np.array([8]))
        new = plain_shapes(mask.frames.tolist()).replace(label_ids=mask.label_ids, groups=mask.groups)
        desk.draw(Annotations(shapes=new))
        desk.remove(shapes=desk.load().shapes.ids[rows[10:12]].tolist())
        edits = desk.load().shapes.kept.edits
        assert edits[rows[:2]].tolist() == [0, 0]
        assert (edits[rows[3:5]] != 0).all()
    assert packed - 12 <= n_packed(one) < packed
    assert_alike(one, other)


def test_a_whole_put_of_what_was_read_changes_nothing(desks: Callable[..., tuple[Desk, Desk]]) -> None:
    one, other = desks(archive(6))
    before = json_of(one)
    for desk in (one, other):
        with desk.storage.database.write() as conn:
            found = stored.load(conn, desk.task_id, with_kept=False)
            stored.replace_all(conn, desk.task_id, replace(found, shapes=as_sent(found.shapes)))
        assert not desk.load().shapes.kept.edits.any()
    assert json_of(one) == before
    assert_alike(one, other)


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_imports_upon_imports_are_the_same(desks: Callable[..., tuple[Desk, Desk]], tmp_path: Path, mode: str) -> None:
    one, other = desks(archive(7))
    more = Zips(tmp_path)(archive(8))
    again = [desk.bring(more, mode=mode) for desk in (one, other)]  # over packed rows, and over plain ones
    assert told(again[0]) == told(again[1])
    assert n_packed(other) > 0
    assert_alike(one, other)
