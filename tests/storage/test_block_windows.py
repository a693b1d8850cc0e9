"""Blocks that are read some rows at a time, against the same blocks read at once."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Shapes, ShapeType
from app.storage import Connection, Storage, annotations, block_windows
from app.storage.block_windows import LARGE_SHARE, Cuts
from tests.storage.stores import attributes, kept, make_task, open_store, shapes, tags, tracks
from tests.storage.test_annotations import as_lists

SIZE = 150
KINDS = ("shapes", "tags", "tracks", "images", "rows")


@pytest.fixture
def task_id(storage: Storage) -> int:
    return make_task(storage, SIZE, ((0, SIZE),)).id


def crowded(random: np.random.Generator, frames: list[int]) -> Shapes:
    """Boxes of few frames, of one of which some have a group and of another some are turned."""
    table = shapes(frames, lines=[b"line %d" % random.integers(1000) for _ in frames])
    label_ids = random.integers(1, 4, len(frames)).astype(np.int32)
    texts = attributes(*(f'[{{"spec_id":1,"value":"{number}"}}]' for number in random.integers(0, 9, len(frames))))
    groups = np.where(table.frames == 5, random.integers(0, 2, len(frames)), 0).astype(np.int32)
    rotations = np.where(table.frames == 6, random.integers(0, 2, len(frames)) * 30.0, 0.0)
    return table.replace(label_ids=label_ids, attributes=texts, groups=groups, rotations=rotations)


def fill(storage: Storage, task_id: int, seed: int) -> None:
    """Several parts in two imports and the base set, in any order of frames."""
    random = np.random.default_rng(seed)
    for _ in range(2):
        with annotations.begin_set(storage, task_id) as writer:
            for _ in range(3):
                frames = random.choice([4, 5, 5, 5, 6, 6, 7, 7, 7, 7, 7, 60, 64, 149], 40).tolist()
                few = tags(frames[:9], kept=kept([b"tag %d" % frame for frame in frames[:9]]))
                writer.write(Annotations(shapes=crowded(random, frames), tags=few))
                writer.flush()
            writer.close()
            with storage.database.write() as conn:
                annotations.publish(conn, writer.set_id, mode="append")
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes([7] * 9 + [5, 149]), tracks=tracks([5, 7, 7])))


def parts_of(conn: Connection, task_id: int, cuts: Cuts, **more: Any) -> list[Annotations]:
    return list(annotations.iterate(conn, task_id, cuts=cuts, **more))


@pytest.mark.parametrize("cuts", ["plain", "anywhere"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("most_readings", [0, 1 << 30])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (5, 7), (6, 100)])
def test_windows_are_the_block_in_its_order(
    storage: Storage,
    task_id: int,
    cuts: Cuts,
    lazy: bool,
    most_readings: int,
    start: int,
    stop: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_windows, "MOST_READINGS", most_readings)
    fill(storage, task_id, seed=1)
    bounds = {"start": start, "stop": stop, "lazy": lazy}
    with storage.database.snapshot() as conn:
        for batch_rows in (1, 7, 25, 1000):
            for kind in ("shapes", "tags", "tracks"):
                whole = getattr(annotations.load(conn, task_id, start=start, stop=stop, kinds=(kind,)), kind)
                tables = [
                    getattr(part, kind)
                    for part in parts_of(conn, task_id, cuts, kinds=(kind,), batch_rows=batch_rows, **bounds)
                ]
                assert as_lists(type(whole).concatenate(tables)) == as_lists(whole)
                assert all(len(table) for table in tables)


def test_plain_cuts_leave_frames_whole_where_rows_belong_together(storage: Storage, task_id: int) -> None:
    fill(storage, task_id, seed=2)
    with storage.database.snapshot() as conn:
        tables = [part.shapes for part in parts_of(conn, task_id, "plain", kinds=("shapes",), batch_rows=10)]
        everywhere = [part.shapes for part in parts_of(conn, task_id, "anywhere", kinds=("shapes",), batch_rows=10)]
    both = {int(one.frames[-1]) for one, other in pairwise(tables) if one.frames[-1] == other.frames[0]}
    assert both == {7, 60, 149}, "only frames of plain boxes are cut"
    assert max(len(table) for table in everywhere) <= LARGE_SHARE * 10
    assert all(len(set(table.frames.tolist())) == 1 for table in tables if 7 in table.frames and len(table) > 10)


@pytest.mark.parametrize(
    ("other", "is_cut"),
    [(ShapeType.RECTANGLE, True), (ShapeType.POINTS, True), (ShapeType.MASK, False), (ShapeType.POLYGON, False)],
)
def test_a_mask_is_no_plain_box(storage: Storage, task_id: int, other: ShapeType, is_cut: bool) -> None:
    boxes = shapes([3] * 30)
    for types in (np.append(boxes.types[1:], np.uint8(other)),):
        with storage.database.write() as conn:
            annotations.clear(conn, task_id)
            annotations.append(conn, task_id, Annotations(shapes=boxes.replace(types=types)))
            assert (len(parts_of(conn, task_id, "plain", kinds=("shapes",), batch_rows=10)) > 1) == is_cut


@pytest.mark.parametrize("cuts", ["never", "anywhere"])
def test_memory_follows_the_window_not_the_frame(tmp_path: Path, cuts: Cuts) -> None:
    rows = 5_000

    def peak(n_parts: int) -> int:
        with open_store("sqlite", tmp_path / f"{cuts}{n_parts}") as storage:
            task_id = make_task(storage, 2, ((0, 2),)).id
            with annotations.begin_set(storage, task_id) as writer:
                for _ in range(n_parts):
                    writer.write(Annotations(shapes=shapes([1] * rows)))
                    writer.flush()
                writer.close()
                with storage.database.write() as conn:
                    annotations.publish(conn, writer.set_id)
            n_rows = 0
            tracemalloc.start()
            with storage.database.snapshot() as conn:
                for part in annotations.iterate(conn, task_id, kinds=("shapes",), batch_rows=rows, cuts=cuts):
                    n_rows += len(part.shapes)
                    del part
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert n_rows == n_parts * rows
        return found

    assert (peak(24) < 1.5 * peak(6)) == (cuts == "anywhere")


def test_parts_in_no_order_of_frames_are_decoded_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_decoded = 0
    decode = block_windows.decode_rows

    def counted(kind: str, rows: Any, **more: Any) -> Any:
        nonlocal n_decoded
        n_decoded += len(rows)
        return decode(kind, rows, **more)

    monkeypatch.setattr(block_windows, "decode_rows", counted)

    def decoded(n_parts: int) -> int:
        nonlocal n_decoded
        n_decoded, found = 0, 0
        with open_store("sqlite", tmp_path / str(n_parts)) as storage:
            task_id = make_task(storage, 64, ((0, 64),)).id
            random = np.random.default_rng(n_parts)
            with annotations.begin_set(storage, task_id) as writer:
                for _ in range(n_parts):
                    writer.write(Annotations(shapes=shapes(random.integers(0, 64, 200).tolist())))
                    writer.flush()
                writer.close()
                with storage.database.write() as conn:
                    annotations.publish(conn, writer.set_id)
            with storage.database.snapshot() as conn:
                for part in annotations.iterate(conn, task_id, kinds=("shapes",), batch_rows=200, cuts="plain"):
                    found += len(part.shapes)
        assert found == n_parts * 200
        return n_decoded

    assert decoded(30) <= 30 * block_windows.MOST_READINGS
    assert decoded(60) <= 60 * block_windows.MOST_READINGS
