"""How annotations are changed, in the caller's transaction: what JSON adds, updates, replaces and deletes.

Every change locks the task's row first, and raises its revision and those of the jobs that show what changed. Of a
large task the blocks that hold what a call names are taken in steps, so memory follows the call, not the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import Annotations, Kept
from app.blocks import BLOCK_BITS, blocks_of, frames_of
from app.columns import distinct
from app.errors import InvalidInput, NotFound
from app.storage.block_parts import (
    LARGE_PARTS,
    PART_BYTES,
    PART_ROWS,
    Held,
    add_parts,
    held_parts,
    insert_in_parts,
    large_blocks,
    shares_of,
    write_part,
)
from app.storage.block_rows import (
    KEYS_A_STATEMENT,
    OBJECT_KINDS,
    Ids,
    Placed,
    concatenate_placed,
    decode_column,
    delete_blocks,
    fetch_blocks,
    in_frame_order,
    pairs_of,
    read_block_list,
    read_blocks,
    write_changed,
    write_rows,
)
from app.storage.block_steps import LAST_BLOCK, block_steps, in_steps, weigh_blocks
from app.storage.changes import lock_task, take_numbers, touch_jobs, touch_jobs_between, touch_task
from app.storage.database import Connection
from app.storage.edits import continue_rows
from app.storage.schema import TABLES_BY_KIND, annotation_sets, attribute_specs, now
from app.storage.set_writer import Outlives, drop_emptied_sets, remove_visible

NARROW_BLOCKS = 8
"""Up to here all blocks are taken at once; a whole range is read in order to replace it: what stays the same is then
not written anew."""
SCANNED_ROWS = 200_000
"""Of which one column is read."""


def _begin(conn: Connection, task_id: int, start: int, stop: int | None) -> tuple[int, int, int]:
    """Lock the task. Returns start, stop, size."""
    size = lock_task(conn, task_id)
    return max(start, 0), size if stop is None else min(stop, size), size


def _check_frames(new: Annotations, start: int, stop: int) -> None:
    for kind in OBJECT_KINDS:
        frames = frames_of(getattr(new, kind))
        outside = np.flatnonzero((frames < start) | (frames >= stop))
        if len(outside):
            row = int(outside[0])
            raise InvalidInput(
                f"frame {int(frames[row])} is not one of {start} to {stop - 1}", place=f"{kind}[{row}].frame"
            )


def _sets(conn: Connection, task_id: int) -> tuple[int, list[int]]:
    """The base set, made if there is none, and all visible sets."""
    rows = conn.execute(_choosing_sets(), {"task": task_id}).all()
    found = next((row.id for row in rows if row.is_base), None)
    if found is None:
        moment = now()
        values = {
            "task_id": task_id,
            "state": "visible",
            "is_base": True,
            "created_date": moment,
            "touched_date": moment,
        }
        found = conn.execute(annotation_sets.insert().values(**values).returning(annotation_sets.c.id)).scalar_one()
        return int(found), [*(row.id for row in rows), int(found)]
    return int(found), [row.id for row in rows]


@cache
def _choosing_sets() -> sa.Select[Any]:
    sets = annotation_sets.c
    visible = sets.task_id == sa.bindparam("task"), sets.state == "visible"
    return sa.select(sets.id, sets.is_base).where(*visible).order_by(sets.id)


Defaults = Callable[[Iterable[int]], Mapping[int, str]]
"""The default value of every attribute that annotations of these labels may have."""


def _stored_defaults(conn: Connection, label_ids: Iterable[int]) -> Mapping[int, str]:
    wanted = list(label_ids)
    found: dict[int, str] = {}
    for at in range(0, len(wanted), KEYS_A_STATEMENT):
        of_labels = attribute_specs.c.label_id.in_(wanted[at : at + KEYS_A_STATEMENT])
        rows = conn.execute(sa.select(attribute_specs.c.id, attribute_specs.c.default_value).where(of_labels))
        found.update((row.id, row.default_value) for row in rows)
    return found


def _continued(conn: Connection, kind: str, old: Any, new: Any, defaults: Defaults | None) -> Any:
    """`new` as the next state of `old`, row by row."""
    label_ids = set(old.label_ids.tolist()) | set(new.label_ids.tolist())
    known = _stored_defaults(conn, label_ids) if defaults is None else defaults(label_ids)
    return continue_rows(kind, old, new, known)


def _number(
    conn: Connection, task_id: int, new: Annotations, fresh: Mapping[str, npt.NDArray[np.bool_]]
) -> Annotations:
    """Give the `fresh` rows ids of their own."""
    n_fresh = sum(int(flags.sum()) for flags in fresh.values())
    if n_fresh == 0:
        return new
    first = take_numbers(conn, task_id, n_fresh)
    tables: dict[str, Any] = {}
    for kind, flags in fresh.items():
        table = getattr(new, kind)
        ids = table.ids.copy()
        ids[flags] = np.arange(first, first + int(flags.sum()), dtype=np.int64)
        first += int(flags.sum())
        tables[kind] = table.replace(ids=ids)
    return Annotations(**tables)


def _without_kept(table: Any) -> Any:
    return table.replace(kept=Kept.empty(len(table))) if "kept" in table.columns() else table


def _hits(
    conn: Connection, kind: str, task_id: int, name: str, wanted: Ids, first: int = -1, last: int = LAST_BLOCK
) -> Iterator[tuple[Ids, Ids]]:
    """Which rows of the blocks first to last have one of these values (ascending, distinct), by one column alone: their
    values and their blocks, step by step."""
    for blocks in block_steps(conn, task_id, (kind,), first, last, most_rows=SCANNED_ROWS, most_bytes=None):
        yield _hits_among(conn, kind, task_id, name, wanted, first=int(blocks[0]), last=int(blocks[-1]))


def _hits_among(conn: Connection, kind: str, task_id: int, name: str, wanted: Ids, **chosen: Any) -> tuple[Ids, Ids]:
    rows = fetch_blocks(conn, kind, task_id, (name,), **chosen)
    if not rows or not len(wanted):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    counts_of_parts = [row.n_rows for row in rows]
    values = decode_column(kind, name, [row[-1] for row in rows], counts_of_parts)
    row_blocks = np.repeat(np.array([row.block for row in rows], dtype=np.int64), counts_of_parts)
    found = wanted[np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)] == values
    return values[found], row_blocks[found]


def _find(
    conn: Connection, kind: str, task_id: int, ids: Ids, start: int, stop: int, *, near: Ids | None = None
) -> Ids:
    """(N,) int64, the block of the row with each of these ids; -1 where the range has none.

    Args:
        near: blocks to look into first; usually all are there.
    """
    found = np.full(len(ids), -1, dtype=np.int64)
    if len(ids) == 0 or start >= stop:
        return found
    wanted = distinct(ids)
    block_of = np.full(len(wanted), -1, dtype=np.int64)
    first, last = start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS

    def looks() -> Iterator[tuple[Ids, Ids]]:
        if near is not None and 0 < len(near) <= KEYS_A_STATEMENT:
            yield _hits_among(conn, kind, task_id, "ids", wanted, blocks=distinct(near).tolist())
        yield from _hits(conn, kind, task_id, "ids", wanted, first, last)

    for values, blocks in looks():
        block_of[np.searchsorted(wanted, values)] = blocks
        if not bool((block_of < 0).any()):
            break
    return block_of[np.searchsorted(wanted, ids)]


def _steps(conn: Connection, kind: str, task_id: int, blocks: Ids) -> list[Ids]:
    """These blocks (ascending, distinct), so many at a time as may be held at once."""
    if len(blocks) <= NARROW_BLOCKS:
        return [blocks] if len(blocks) else []
    held = block_steps(conn, task_id, (kind,), int(blocks[0]), int(blocks[-1]), among=blocks)
    empty = np.setdiff1d(blocks, np.concatenate(held)) if held else blocks
    return [*held, empty] if len(empty) else held


def _match(stored: Ids, ids: Ids) -> npt.NDArray[np.int64]:
    """(N,) int64, where each id stands in `stored`; -1 where it does not."""
    if len(stored) == 0:
        return np.full(len(ids), -1, dtype=np.int64)
    order = np.argsort(stored, kind="stable")
    places = np.minimum(np.searchsorted(stored[order], ids), len(stored) - 1)
    rows = order[places]
    return np.where(stored[rows] == ids, rows, -1).astype(np.int64)


def _finish(conn: Connection, task_id: int, frames: Sequence[npt.NDArray[np.int32]]) -> None:
    touch_task(conn, task_id)
    touch_jobs(conn, task_id, np.concatenate([np.empty(0, dtype=np.int32), *frames]))


# ---- changes


def append(conn: Connection, task_id: int, new: Annotations, *, start: int = 0, stop: int | None = None) -> Annotations:
    """PATCH create: add; ids are given anew.

    Returns:
        What was added, with ids, row by row.

    Raises:
        InvalidInput: a frame outside of the range.
        NotFound: the task.
    """
    start, stop, _size = _begin(conn, task_id, start, stop)
    _check_frames(new, start, stop)
    base, _ = _sets(conn, task_id)
    new = Annotations(**{kind: _without_kept(getattr(new, kind)) for kind in OBJECT_KINDS})
    new = _number(conn, task_id, new, {kind: np.ones(len(getattr(new, kind)), dtype=np.bool_) for kind in OBJECT_KINDS})
    touched = []
    for kind in OBJECT_KINDS:
        table = getattr(new, kind)
        if len(table) == 0:
            continue
        _add_rows(conn, kind, task_id, base, table)
        touched.append(frames_of(table))
    _finish(conn, task_id, touched)
    return new


def _add_rows(conn: Connection, kind: str, task_id: int, base: int, table: Any) -> None:
    """Put rows into the base set, behind those that their frames have there."""
    row_blocks = blocks_of(table)
    blocks, shares = _weigh(conn, kind, task_id, base, table)
    is_large = shares > LARGE_PARTS
    order = np.argsort(frames_of(table), kind="stable")
    for block in blocks[is_large].tolist():
        add_parts(conn, kind, task_id, base, block, table, order[row_blocks[order] == block])
    for some in in_steps(blocks[~is_large], shares[~is_large]):
        before = read_block_list(conn, kind, task_id, some, set_id=base, lazy=True)
        rows = table.take(np.flatnonzero(np.isin(row_blocks, some)))
        after = concatenate_placed([before, Placed(rows, np.full(len(rows), base, dtype=np.int64))])
        write_changed(conn, kind, task_id, in_frame_order(after), [(base, some)])


def _weigh(conn: Connection, kind: str, task_id: int, base: int, table: Any) -> tuple[Ids, npt.NDArray[np.float64]]:
    """The blocks of these rows (B,), ascending, and how many parts' worth each will have with them."""
    blocks, of_row = np.unique(blocks_of(table), return_inverse=True)
    totals = np.zeros(len(blocks), dtype=np.float64)
    np.add.at(totals, of_row, shares_of(kind, table))
    held, shares = weigh_blocks(
        *(conn, task_id, (kind,), int(blocks[0]), int(blocks[-1])),
        among=blocks,
        set_id=base,
        most_rows=PART_ROWS,
        most_bytes=PART_BYTES,
    )
    totals[np.searchsorted(blocks, held)] += shares
    return blocks, totals


def update(
    conn: Connection,
    task_id: int,
    new: Annotations,
    *,
    start: int = 0,
    stop: int | None = None,
    defaults: Defaults | None = None,
) -> Annotations:
    """PATCH update: rows replace those of the same id and kind, continuing them. Where the caller knows the labels'
    `defaults`, they need not be read.

    Returns:
        What is stored, row by row.

    Raises:
        InvalidInput: a frame outside of the range, an id twice.
        NotFound: an id that is not in the range.
    """
    start, stop, _size = _begin(conn, task_id, start, stop)
    _check_frames(new, start, stop)
    base, _ = _sets(conn, task_id)
    stored: dict[str, Any] = {}
    touched = []
    for kind in OBJECT_KINDS:
        table = getattr(new, kind)
        if len(table) == 0:
            continue
        if len(distinct(table.ids)) < len(table):
            raise InvalidInput("an id is there twice", place=kind)
        order, parts, leaving = [], [], []
        for rows, held, places in _stored_rows(conn, kind, task_id, table, start, stop):
            before = held.rows
            old = before.take(places)
            after = _continued(conn, kind, old.table, table.take(rows), defaults)
            order.append(rows)
            parts.append(after)
            touched += [old.table.frames, after.frames]
            if held.part is not None:
                leaves = np.flatnonzero(old.table.frames != after.frames)
                following = np.arange(len(before.table), dtype=np.int64)
                following[places] = len(before.table) + np.arange(len(rows), dtype=np.int64)
                following[places[leaves]] = -1
                both = type(after).concatenate([before.table, after])
                write_part(conn, kind, task_id, held.part, both.take(following[following >= 0]))
                if len(leaves):
                    leaving.append(_without_kept(after.take(leaves)))
                continue
            if write_rows(conn, kind, task_id, before, places, old.table, after):
                continue
            stays = np.flatnonzero(blocks_of(old.table) == blocks_of(after))
            current = Placed(after, np.where(old.table.frames == after.frames, old.set_ids, base))
            following = np.arange(len(before.table), dtype=np.int64)
            following[places] = -1
            following[places[stays]] = len(before.table) + stays
            everything = concatenate_placed([before, current]).take(following[following >= 0])
            changed = [*pairs_of(old), *pairs_of(current.take(stays))]
            write_changed(conn, kind, task_id, in_frame_order(everything), changed)
            if len(stays) < len(rows):
                leaving.append(_without_kept(after.take(np.setdiff1d(np.arange(len(rows)), stays))))
        if leaving:  # for another block, which may be one of those above
            _add_rows(conn, kind, task_id, base, type(table).concatenate(leaving))
        stored[kind] = type(table).concatenate(parts).take(np.argsort(np.concatenate(order)))
    _finish(conn, task_id, touched)
    return Annotations(**stored)


def _stored_rows(
    conn: Connection, kind: str, task_id: int, table: Any, start: int, stop: int
) -> Iterator[tuple[npt.NDArray[np.int64], Held, npt.NDArray[np.int64]]]:
    """Which rows of `table` are stored in some blocks, these blocks whole or a part of a large one, and where in them
    the rows stand; each row once. Raises NotFound."""
    blocks = distinct(blocks_of(table))
    is_narrow = len(blocks) <= NARROW_BLOCKS
    if is_narrow and not len(large_blocks(conn, kind, task_id, blocks)):  # most rows stay on their frame
        before = read_block_list(conn, kind, task_id, blocks, lazy=True)
        places = _match(before.table.ids, table.ids)
        if bool((places >= 0).all()):
            _check_found(kind, before, places, start, stop)
            yield np.arange(len(table)), Held(before), places
            return
    found = _find(conn, kind, task_id, table.ids, start, stop, near=blocks if is_narrow else None)
    missing = np.flatnonzero(found < 0)
    if len(missing):
        raise _not_found(kind, int(table.ids[missing[0]]))
    for held in _hold(conn, kind, task_id, distinct(found), "ids", distinct(table.ids)):
        ids = held.rows.table.ids
        rows = np.flatnonzero(np.isin(table.ids, ids))
        places = _match(ids, table.ids[rows])
        _check_found(kind, held.rows, places, start, stop)
        yield rows, held, places


def _hold(conn: Connection, kind: str, task_id: int, blocks: Ids, name: str, wanted: Ids) -> Iterator[Held]:
    """These blocks (ascending, distinct), some at a time; of large ones only the parts in which a column has one of
    these values (ascending)."""
    large = large_blocks(conn, kind, task_id, blocks)
    for some in _steps(conn, kind, task_id, np.setdiff1d(blocks, large) if len(large) else blocks):
        yield Held(read_block_list(conn, kind, task_id, some, lazy=True))
    yield from held_parts(conn, kind, task_id, large, name, wanted)


def _check_found(kind: str, before: Placed, places: npt.NDArray[np.int64], start: int, stop: int) -> None:
    """Raises NotFound: a row of a frame outside of the range."""
    frames = frames_of(before.table)[places]
    outside = places[(frames < start) | (frames >= stop)]
    if len(outside):
        raise _not_found(kind, int(before.table.ids[outside[0]]))


def _not_found(kind: str, number: int) -> NotFound:
    return NotFound("annotation", number, f"there is no annotation with id {number} among the {kind}")


def replace_all(
    conn: Connection,
    task_id: int,
    new: Annotations,
    *,
    start: int = 0,
    stop: int | None = None,
    defaults: Defaults | None = None,
) -> Annotations:
    """JSON PUT: shapes, tags and tracks of the range become exactly `new`; images and kept rows stay.

    A row of `new` whose id exists in the range, in the same kind, continues that row: it keeps its `kept`, and `edits`
    tells what differs. Any other id is ignored and given anew. `defaults` as in `update`.

    Returns:
        What is stored, with ids, row by row.

    Raises:
        InvalidInput: a frame outside of the range.
        NotFound: the task.
    """
    start, stop, size = _begin(conn, task_id, start, stop)
    _check_frames(new, start, stop)
    if start >= stop:
        return Annotations()
    base, all_sets = _sets(conn, task_id)
    first, last = start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS
    edges = distinct(np.array([first, last], dtype=np.int64))
    # No row lies behind the last frame, so the task's end is as good as a block's.
    partial = edges[(edges << BLOCK_BITS < start) | (((edges + 1) << BLOCK_BITS > stop) & (stop < size))]
    is_large = any(float(shares_of(kind, getattr(new, kind)).sum()) > LARGE_PARTS for kind in OBJECT_KINDS)
    is_narrow = last - first < NARROW_BLOCKS and not is_large
    seen: dict[str, Placed] = {}
    changes: dict[str, _Replacement] = {}
    for kind in OBJECT_KINDS:
        table = getattr(new, kind)
        if is_narrow:
            seen[kind] = read_blocks(conn, kind, task_id, first=first, last=last, lazy=True)
        else:  # which blocks of the range hold one of these?
            found = _find(conn, kind, task_id, table.ids[table.ids > 0], start, stop)
            held = np.union1d(found[found >= 0], partial)
            seen[kind] = _continuing(conn, kind, task_id, held, table.ids, start, stop)
        changes[kind] = _replacement(conn, kind, seen[kind], table, start, stop, base, defaults)
    fresh = {kind: change.fresh for kind, change in changes.items()}
    stored = _number(conn, task_id, Annotations(**{kind: each.table for kind, each in changes.items()}), fresh)
    left: set[int] = set()
    held_sets: set[int] = set()
    for kind in OBJECT_KINDS:
        before, change = seen[kind], changes[kind]
        current = Placed(getattr(stored, kind), change.set_ids)
        if is_narrow:
            if not len(before) and not len(current):
                continue
            if change.staying and write_rows(conn, kind, task_id, before, *change.staying, current.table):
                continue
            compared = None if change.staying else before
        frames = frames_of(before.table)
        outside = before.take(np.flatnonzero((frames < start) | (frames >= stop)))
        after = concatenate_placed([outside, current]) if len(outside) else current
        if is_narrow:
            after = in_frame_order(after)
            write_changed(conn, kind, task_id, after, [*pairs_of(before), *pairs_of(current)], before=compared)
            left |= set(distinct(before.set_ids).tolist())
            held_sets |= set(distinct(after.set_ids).tolist())
            continue
        left |= delete_blocks(conn, kind, task_id, all_sets, first, last)
        order = np.argsort(frames_of(after.table), kind="stable")
        for set_id in distinct(after.set_ids).tolist():
            held_sets.add(set_id)
            of_set = order[after.set_ids[order] == set_id]
            insert_in_parts(conn, kind, task_id, set_id, after.table, of_set)
    drop_emptied_sets(conn, task_id, left - held_sets)
    touch_task(conn, task_id)
    touch_jobs_between(conn, task_id, start, stop)
    return stored


@dataclass(frozen=True, slots=True)
class _Replacement:
    """What one kind becomes in a range: its rows, the sets they are to lie in, which of them have no id yet.

    `staying`, where none comes and none goes: where the rows that these continue stand among those that were read, and
    what they say there, row by row.
    """

    table: Any
    set_ids: Ids
    fresh: npt.NDArray[np.bool_]
    staying: tuple[Ids, Any] | None = None


def _replacement(
    conn: Connection, kind: str, before: Placed, table: Any, start: int, stop: int, base: int, defaults: Defaults | None
) -> _Replacement:
    """Rows of `table` with the id of a row of the range continue it, where it lies; others are new, in the base."""
    set_ids = np.full(len(table), base, dtype=np.int64)
    if not len(table) and not len(before):
        return _Replacement(table, set_ids, np.empty(0, dtype=np.bool_))
    frames = frames_of(before.table)
    inside = np.flatnonzero((frames >= start) & (frames < stop))
    places = _match(before.table.ids[inside], table.ids)
    places[_repeated(table.ids)] = -1
    known = np.flatnonzero(places >= 0)
    table = _without_kept(table)
    if not len(known):
        return _Replacement(table, set_ids, places < 0)
    old_rows = inside[places[known]]
    old = _chosen(before, old_rows)
    rows = _continued(conn, kind, old.table, _chosen(table, known), defaults)
    set_ids[known] = np.where(old.table.frames == rows.frames, old.set_ids, base)
    if len(known) < len(table):
        order = np.arange(len(table), dtype=np.int64)
        order[known] = len(table) + np.arange(len(known), dtype=np.int64)
        rows = type(table).concatenate([table, rows]).take(order)
    elif len(known) == len(inside):
        return _Replacement(rows, set_ids, places < 0, (old_rows, old.table))
    return _Replacement(rows, set_ids, places < 0)


def _chosen(rows: Any, at: Ids) -> Any:
    """These rows of a table; the table itself where they are all of it, in order, as a client sends them back: to take
    them one by one was a twentieth of what it takes to save a frame."""
    is_all = len(at) == len(rows) and bool((at == np.arange(len(at))).all())
    return rows if is_all else rows.take(at)


def _continuing(conn: Connection, kind: str, task_id: int, blocks: Ids, ids: Ids, start: int, stop: int) -> Placed:
    """Of these blocks the rows with one of these ids, and those of frames outside of the range."""
    parts = [Placed(TABLES_BY_KIND[kind].empty(), np.empty(0, dtype=np.int64))]
    for some in _steps(conn, kind, task_id, blocks):
        placed = read_block_list(conn, kind, task_id, some)
        frames = frames_of(placed.table)
        chosen = np.isin(placed.table.ids, ids) | (frames < start) | (frames >= stop)
        parts.append(placed.take(np.flatnonzero(chosen)))
    return concatenate_placed(parts)


def _repeated(ids: Ids) -> npt.NDArray[np.bool_]:
    """(N,) bool, every occurrence of a value but the first."""
    flags = np.ones(len(ids), dtype=np.bool_)
    flags[np.unique(ids, return_index=True)[1]] = False
    return flags


def delete(
    conn: Connection,
    task_id: int,
    ids: Mapping[str, Ids],
    *,
    start: int = 0,
    stop: int | None = None,
    near: Mapping[str, Ids] | None = None,
) -> int:
    """PATCH delete: remove rows by kind (`shapes`, `tags`, `tracks`) and id; unknown ids are fine. Returns how many.

    Args:
        near: frames by kind that are looked at first: where all ids are there, no others need to be.
    """
    start, stop, _size = _begin(conn, task_id, start, stop)
    touched: list[npt.NDArray[np.int32]] = []
    for kind in OBJECT_KINDS:
        wanted = np.asarray(ids.get(kind, ()), dtype=np.int64)
        hints = None if near is None else np.asarray(near.get(kind, ()), dtype=np.int64) >> BLOCK_BITS
        found = _find(conn, kind, task_id, wanted, start, stop, near=hints)
        for held in _hold(conn, kind, task_id, distinct(found[found >= 0]), "ids", wanted):
            table = held.rows.table
            frames = frames_of(table)
            gone = np.isin(table.ids, wanted) & (frames >= start) & (frames < stop)
            touched.append(_remove_rows(conn, kind, task_id, held, gone))
    if touched:
        _finish(conn, task_id, touched)
    return sum(map(len, touched))


def _remove_rows(
    conn: Connection, kind: str, task_id: int, held: Held, gone: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Write the blocks without the rows that go. Returns the frames of those."""
    before = held.rows
    leaving = before.take(np.flatnonzero(gone))
    if held.part is not None:
        if len(leaving.table):
            write_part(conn, kind, task_id, held.part, before.table.take(np.flatnonzero(~gone)))
        return frames_of(leaving.table)
    write_changed(conn, kind, task_id, before.take(np.flatnonzero(~gone)), pairs_of(leaving))
    return frames_of(leaving.table)


def clear(
    conn: Connection, task_id: int, *, start: int = 0, stop: int | None = None, outlives: Outlives | None = None
) -> None:
    """DELETE: shapes, tags and tracks of the range go, and with them images and kept rows of imports. `outlives` as in
    `publish`."""
    start, stop, size = _begin(conn, task_id, start, stop)
    remove_visible(conn, task_id, start, stop, size, outlives)
    if start <= 0 and stop >= size:
        touch_jobs(conn, task_id)
    else:
        touch_jobs_between(conn, task_id, start, stop)
    touch_task(conn, task_id)


def remove_labelled(conn: Connection, task_id: int, label_ids: Sequence[int]) -> None:
    """Remove every annotation of these labels, as their labels go. Raises NotFound."""
    lock_task(conn, task_id)
    wanted = distinct(np.array(label_ids, dtype=np.int64))
    for kind in OBJECT_KINDS:
        found = [blocks for _, blocks in _hits(conn, kind, task_id, "label_ids", wanted)]
        blocks_of_labels = distinct(np.concatenate([np.empty(0, dtype=np.int64), *map(np.unique, found)]))
        for held in _hold(conn, kind, task_id, blocks_of_labels, "label_ids", wanted):
            _remove_rows(conn, kind, task_id, held, np.isin(held.rows.table.label_ids, wanted))


def n_labelled(conn: Connection, task_id: int, label_ids: Sequence[int]) -> int:
    """How many rows are in the blocks that have annotations of these labels: what `remove_labelled` writes anew."""
    wanted = distinct(np.array(label_ids, dtype=np.int64))
    n_rows = 0
    for kind in OBJECT_KINDS:
        for step in block_steps(conn, task_id, (kind,), most_rows=SCANNED_ROWS, most_bytes=None):
            between: dict[str, Any] = {"first": int(step[0]), "last": int(step[-1])}
            rows = fetch_blocks(conn, kind, task_id, ("label_ids",), **between)
            if not rows:
                continue
            counts = np.array([row.n_rows for row in rows], dtype=np.int64)
            found = decode_column(kind, "label_ids", [row[-1] for row in rows], counts.tolist())
            has_some = np.logical_or.reduceat(np.isin(found, wanted), np.cumsum(counts) - counts)
            n_rows += int(counts[has_some].sum())
    return n_rows
