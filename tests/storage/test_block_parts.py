"""Changes of blocks that are large are written part by part."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Shapes, ShapeType
from app.columns import Ragged
from app.storage import Storage, annotations, block_parts, block_rows
from app.storage.block_rows import fetch_blocks
from tests.storage.stores import make_task, open_store, shapes
from tests.storage.test_annotations import as_lists

FRAMES = [5, 1, 1, 70, 1, 5, 0, 1, 70, 1, 1, 5]


@pytest.fixture
def task_id(storage: Storage) -> int:
    return make_task(storage, 100, ((0, 100),)).id


def stored(storage: Storage, task_id: int) -> Shapes:
    with storage.database.read() as conn:
        return annotations.load(conn, task_id).shapes


@pytest.mark.parametrize("rows_of_a_part", [0.1, 1.0, 3.0, 1000.0])
def test_parts_hold_what_one_block_would(
    storage: Storage, task_id: int, rows_of_a_part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_parts, "PART_ROWS", rows_of_a_part)
    monkeypatch.setattr("app.storage.annotation_changes.PART_ROWS", rows_of_a_part)
    monkeypatch.setattr(block_parts, "LARGE_PARTS", 1.0)
    monkeypatch.setattr("app.storage.annotation_changes.LARGE_PARTS", 1.0)
    with storage.database.write() as conn:
        put = annotations.replace_all(conn, task_id, Annotations(shapes=shapes(FRAMES))).shapes
        added = [annotations.append(conn, task_id, Annotations(shapes=shapes(FRAMES[at:]))).shapes for at in (0, 9, 11)]
        moved = added[2].replace(frames=np.array([2], dtype=np.int32))
        annotations.update(conn, task_id, Annotations(shapes=moved))
    everything = Shapes.concatenate([put, *added[:2], moved])
    expected = everything.take(np.argsort(everything.frames, kind="stable"))
    assert as_lists(stored(storage, task_id)) == as_lists(expected)


def test_a_large_block_is_not_written_anew_for_one_more_shape(
    storage: Storage, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("block_parts", "annotation_changes"):
        monkeypatch.setattr(f"app.storage.{module}.PART_ROWS", 4)

    def parts() -> list[int]:
        with storage.database.read() as conn:
            return [row.n_rows for row in fetch_blocks(conn, "shapes", task_id, ("ids",))]

    with storage.database.write() as conn:
        annotations.replace_all(conn, task_id, Annotations(shapes=shapes([1] * 40)))
    assert parts() == [4] * 10
    for n_more in range(1, 6):
        with storage.database.write() as conn:
            annotations.append(conn, task_id, Annotations(shapes=shapes([1])))
        assert parts() == [4] * 10 + ([n_more] if n_more < 4 else [3, n_more - 3])
    ids = stored(storage, task_id).ids.tolist()
    assert ids == sorted(ids)


def test_memory_of_outlines_that_are_added_does_not_follow_those_that_are_there(tmp_path: Path) -> None:
    n, values = 60, 50_000
    outlines = Ragged(np.arange(n * values) % 977 / 8, np.arange(n + 1, dtype=np.int64) * values)
    many = shapes([1] * n).replace(points=outlines, types=np.full(n, ShapeType.POLYGON, dtype=np.uint8))
    with open_store("sqlite", tmp_path) as storage:
        task_id = make_task(storage, 2, ((0, 2),)).id
        for verb in (annotations.replace_all, annotations.append, annotations.append):
            tracemalloc.start()
            try:
                with storage.database.write() as conn:
                    verb(conn, task_id, Annotations(shapes=many))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < outlines.values.nbytes / 2


def test_memory_of_rows_that_are_added_follows_the_rows_of_some_blocks(tmp_path: Path) -> None:
    n_blocks, n = 40, 80_000
    added = shapes((np.arange(n, dtype=np.int64) * 7919 % (n_blocks * 64)).tolist())
    n_bytes = added.ids.nbytes + added.kept.sets.nbytes + added.points.nbytes
    with open_store("sqlite", tmp_path) as storage:
        task_id = make_task(storage, n_blocks * 64, ((0, n_blocks * 64),)).id
        for _ in range(2):  # into no blocks, and into those that are there
            tracemalloc.start()
            try:
                with storage.database.write() as conn:
                    annotations.append(conn, task_id, Annotations(shapes=added))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 4 * n_bytes


@pytest.mark.parametrize("large_parts", [1.0, 1000.0])
@pytest.mark.parametrize(("start", "stop"), [(0, 6), (1, 2), (5, 71), (2, 100), (64, 70), (70, 100), (3, 3)])
def test_rows_of_a_range_go_and_others_stay_in_their_order(
    storage: Storage, task_id: int, start: int, stop: int, large_parts: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_parts, "PART_ROWS", 3)
    monkeypatch.setattr(block_parts, "LARGE_PARTS", large_parts)
    for _ in range(2):
        with annotations.begin_set(storage, task_id) as writer:
            for at in (0, 4, 9):
                writer.write(Annotations(shapes=shapes(FRAMES[at:], lines=[b"%d" % at for _ in FRAMES[at:]])))
                writer.flush()
            writer.close()
            with storage.database.write() as conn:
                annotations.publish(conn, writer.set_id, mode="append")
    before = stored(storage, task_id)
    with storage.database.write() as conn:
        annotations.clear(conn, task_id, start=start, stop=stop)
    assert as_lists(stored(storage, task_id)) == as_lists(
        before.take((before.frames < start) | (before.frames >= stop))
    )


def test_parts_of_a_large_block_stay_as_small_as_they_are_when_a_range_goes(
    storage: Storage, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_encoded: list[int] = []
    encode = block_parts.encode_blocks

    def counted(table: Shapes, **more: int) -> object:
        n_encoded.append(len(table))
        return encode(table, **more)

    monkeypatch.setattr(block_parts, "PART_ROWS", 10)
    with annotations.begin_set(storage, task_id) as writer:
        for frames in ([1, 2] * 5, [1] * 10, [2] * 10) * 10:
            writer.write(Annotations(shapes=shapes(frames)))
            writer.flush()
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    monkeypatch.setattr(block_parts, "encode_blocks", counted)
    with storage.database.write() as conn:
        annotations.clear(conn, task_id, start=2, stop=50)
        parts = [row.n_rows for row in fetch_blocks(conn, "shapes", task_id, ("ids",))]
    assert [n for n in n_encoded if n] == [5] * 10, "of parts that lose some of their rows"
    assert parts == [5, 10] * 10


@pytest.mark.parametrize("seed", range(4))
def test_changes_of_parts_are_those_of_whole_blocks(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come to another frame may stand elsewhere among those of that frame."""

    def changed(name: str, large_parts: float) -> list[list[object]]:
        monkeypatch.setattr(block_parts, "PART_ROWS", 4)
        monkeypatch.setattr(block_parts, "LARGE_PARTS", large_parts)
        random = np.random.default_rng(seed)
        found: list[list[object]] = []
        with open_store("sqlite", tmp_path / name) as storage:
            task_id = make_task(storage, 100, ((0, 100),)).id
            with annotations.begin_set(storage, task_id) as writer:
                for _ in range(6):
                    frames = random.integers(0, 80, 15).tolist()
                    table = shapes(frames, lines=[b"line %d" % frame for frame in frames])
                    writer.write(Annotations(shapes=table.replace(label_ids=random.integers(1, 4, 15, np.int32))))
                    writer.flush()
                writer.close()
                with storage.database.write() as conn:
                    annotations.publish(conn, writer.set_id)
            for _ in range(12):
                now = stored(storage, task_id)
                some = now.take(np.sort(random.choice(len(now), min(len(now), 5), replace=False)))
                with storage.database.write() as conn:
                    match random.integers(0, 4):
                        case 0:
                            annotations.append(conn, task_id, Annotations(shapes=some.replace(ids=some.ids * 0)))
                        case 1:
                            moved = random.integers(0, 3, len(some), np.int32)
                            frames = np.where(moved == 0, (some.frames + 37) % 100, some.frames).astype(np.int32)
                            groups = some.groups + moved
                            new = some.replace(frames=frames, groups=groups)
                            order = np.argsort(annotations.update(conn, task_id, Annotations(shapes=new)).shapes.ids)
                            found.append(order.tolist())
                        case 2:
                            ids = np.append(some.ids[:3], 10_000)
                            found.append([annotations.delete(conn, task_id, {"shapes": ids}, start=3, stop=70)])
                        case _:
                            few = some.take(np.arange(1))
                            annotations.update(
                                conn, task_id, Annotations(shapes=few.replace(label_ids=few.label_ids + 5))
                            )
                            annotations.remove_labelled(conn, task_id, [int(few.label_ids[0]) + 5])
                now = stored(storage, task_id)
                found.append([as_lists(now.take(np.lexsort((now.ids, now.frames))))])
        return found

    assert changed("parts", 1.0) == changed("whole", 1e9)


def test_a_change_of_one_shape_reads_and_writes_a_part_of_a_large_block(
    storage: Storage, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_decoded, n_encoded = [0], [0]
    decode, encode = block_rows.decode_rows, block_rows.encode_blocks

    def decoded(kind: str, rows: list[Any], **more: Any) -> Any:
        n_decoded[0] += sum(row.n_rows for row in rows)
        return decode(kind, rows, **more)

    def encoded(table: Shapes, **more: int) -> Any:
        n_encoded[0] += len(table)
        return encode(table, **more)

    monkeypatch.setattr(block_parts, "PART_ROWS", 10)
    monkeypatch.setattr(block_rows, "decode_rows", decoded)
    for module in (block_rows, block_parts):
        monkeypatch.setattr(module, "encode_blocks", encoded)
    with annotations.begin_set(storage, task_id) as writer:
        for _ in range(30):
            writer.write(Annotations(shapes=shapes([1, 2] * 5)))
            writer.flush()
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    one = stored(storage, task_id).take(np.array([77]))
    n_decoded[0] = n_encoded[0] = 0
    with storage.database.write() as conn:
        annotations.update(conn, task_id, Annotations(shapes=one.replace(groups=one.groups + 1)))
        annotations.delete(conn, task_id, {"shapes": one.ids})
    assert n_decoded[0] == 20
    assert n_encoded[0] == 10 + 9
    assert len(stored(storage, task_id)) == 299
