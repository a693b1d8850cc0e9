"""The annotations of tasks as column blocks: 64 frames a block, one blob a column.

Blocks belong to the task; a job is a window on its frames, so a frame that two jobs show has one truth. A track belongs
to the frame it begins on.

    annotation set   what one import brought, with its document and kept bytes; invisible until it is published
    base set         what never was in an archive: drawn, or sent as JSON; one per task, made when it is needed

A row stays in its set for life, also when it is edited, so the set of a row says where its kept line and PNG are.
Every change locks the task's row first, and raises its revision and those of the jobs that show what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import Annotations, Kept
from app.blocks import BLOCK_BITS, blocks_of, encode_blocks, frames_of, only_text
from app.columns import Texts
from app.errors import InvalidInput, NotFound
from app.storage.block_rows import (
    KEYS_A_STATEMENT,
    KINDS,
    LATER,
    OBJECT_KINDS,
    Ids,
    Placed,
    columns_of,
    decode_column,
    decode_rows,
    delete_blocks,
    fetch_blocks,
    in_frame_order,
    in_range,
    insert_blocks,
    pairs_of,
    read_block_list,
    read_blocks,
    read_column,
    remove_range,
    write_changed,
    write_rows,
)
from app.storage.changes import lock_task, take_numbers, touch_jobs, touch_jobs_between, touch_task
from app.storage.database import Connection
from app.storage.edits import continue_rows
from app.storage.merging import BothSides, Leaving, lock_for_merge, publish_merged, read_both, revision_of
from app.storage.removal import drop_sets
from app.storage.schema import (
    BLOCKS,
    annotation_sets,
    attribute_specs,
    now,
    tasks,
)
from app.storage.set_writer import SetWriter, begin_set, drop_emptied_sets, publish, used_sets

__all__ = [
    "KINDS",
    "BothSides",
    "Leaving",
    "SetRow",
    "SetWriter",
    "append",
    "begin_set",
    "clear",
    "counts",
    "delete",
    "iterate",
    "iterate_set",
    "load",
    "lock_for_merge",
    "publish",
    "publish_merged",
    "read_both",
    "remove_labelled",
    "replace_all",
    "revision_of",
    "sets_of",
    "update",
    "weigh",
]

BATCH_BYTES = 8 << 20
NARROW_BLOCKS = 8
"""Up to here a whole range is read in order to replace it: what stays the same is then not written anew."""
BLOCKS_AT_ONCE = 2048
"""Of which few columns are read."""
LARGE = {"shapes": ("points", "runs", "elements"), "tracks": ("bodies",)}
"""Columns of rows without a bound of their own."""


# ---- reading


def _last(conn: Connection, task_id: int, stop: int | None) -> int:
    size = conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar()
    if size is None:
        raise NotFound("task", task_id)
    return int(size) if stop is None else min(stop, int(size))


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store has of frames start to stop, on its way to tables: for each kind the rows of its blocks, and how
    to get the columns that they lack."""

    start: int
    stop: int
    with_kept: bool
    kinds: Mapping[str, tuple[Sequence[Any], Mapping[str, Callable[[], Any]]]]

    def decoded(self) -> Annotations:
        """Nothing is read from the store by this."""
        tables: dict[str, Any] = {}
        for kind, (rows, later) in self.kinds.items():
            placed = in_frame_order(decode_rows(kind, rows, with_kept=self.with_kept, later=later))
            tables[kind] = in_range(placed, self.start, self.stop).table
        return Annotations(**tables)


def _fetch(
    conn: Connection, task_id: int, kinds: Sequence[str], start: int, stop: int, with_kept: bool, lazy: bool = False
) -> _Found:
    if start >= stop:
        return _Found(start, stop, with_kept, {})
    first, last = start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS
    found = {}
    for kind in kinds:
        later = {
            name: partial(read_column, conn, kind, task_id, name, first=first, last=last)
            for name in (LATER.get(kind, ()) if lazy else ())
        }
        names = [name for name in columns_of(kind, with_kept=with_kept) if name not in later]
        found[kind] = fetch_blocks(conn, kind, task_id, names, first=first, last=last), later
    return _Found(start, stop, with_kept, found)


def load(
    conn: Connection,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    kinds: Sequence[str] = OBJECT_KINDS,
    with_kept: bool = True,
    size: int | None = None,
) -> Annotations:
    """The annotations of frames start to stop, ascending frames, then the order they came in. A track belongs to the
    frame it begins on. Kept rows without a frame are at -1. `with_kept=False` reads less: `kept` is then empty.
    A caller that knows the task's `size` spares a query.

    Raises:
        NotFound: the task.
    """
    last = _last(conn, task_id, stop) if size is None else min(size if stop is None else stop, size)
    return _fetch(conn, task_id, kinds, start, last, with_kept).decoded()


def iterate(
    conn: Connection,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    kinds: Sequence[str] = OBJECT_KINDS,
    batch_rows: int = 100_000,
    batch_bytes: int = BATCH_BYTES,
    with_kept: bool = True,
    lazy: bool = False,
) -> Iterator[Annotations]:
    """The same as `load` in batches of whole blocks: ascending, disjoint frame ranges, about `batch_rows` rows or
    `batch_bytes` of stored outlines each (four times that in memory), whichever is reached first.

    Several queries: on PostgreSQL only a `snapshot()` makes them see one state. `lazy` leaves the largest columns
    (`LATER`) until they are looked at, which must be within that same snapshot.
    """
    stop = _last(conn, task_id, stop)
    if start >= stop:
        return
    found = _weights(conn, task_id, kinds, start, stop)
    if not found:
        return
    table = np.array(sorted(found), dtype=np.int64)
    blocks, starts = np.unique(table[:, 0], return_index=True)
    totals = np.add.reduceat(table[:, 1:] / (max(batch_rows, 1), batch_bytes), starts).sum(axis=1)
    batch_of_block = np.floor(np.cumsum(totals) - totals)
    edges = np.flatnonzero(np.diff(batch_of_block)) + 1
    ranges = []
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(blocks)], strict=True):
        low = max(start, int(blocks[first]) << BLOCK_BITS)
        high = min(stop, (int(blocks[last - 1]) + 1) << BLOCK_BITS)
        ranges.append((low, high))
    batches = (_fetch(conn, task_id, kinds, low, high, with_kept, lazy) for low, high in ranges)
    if with_kept and not all(lazy and "kept_lines" in LATER.get(kind, ()) for kind in kinds):
        yield from _ahead(batches)
    else:  # there is nothing to inflate
        yield from (batch.decoded() for batch in batches)


def _ahead(found: Iterator[_Found]) -> Iterator[Annotations]:
    """The tables of each; from the second on, a thread decodes the next ones while these are worked on: inflating
    needs no lock of Python's. The store is asked by this thread alone."""
    first = next(found, None)
    if first is None:
        return
    yield first.decoded()
    following = next(found, None)
    if following is None:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="decode rows") as thread:
        waiting = thread.submit(following.decoded)
        del first, following
        for more in found:
            done = waiting.result()
            waiting = thread.submit(more.decoded)
            del more
            yield done
            del done
        yield waiting.result()


def iterate_subsets(
    conn: Connection, task_id: int, start: int, stop: int
) -> Iterator[tuple[npt.NDArray[np.int32], Texts]]:
    """The frames start to stop that imports named, in ascending blocks, and the subset that each came with."""
    if start >= stop:
        return
    last = (stop - 1) >> BLOCK_BITS
    for block in range(start >> BLOCK_BITS, last + 1, BLOCKS_AT_ONCE):
        until = min(block + BLOCKS_AT_ONCE - 1, last)
        rows = fetch_blocks(conn, "images", task_id, ("frames", "subsets"), first=block, last=until)
        if not rows:
            continue
        counts_of_parts = [row.n_rows for row in rows]
        frames = decode_column("images", "frames", [row.frames for row in rows], counts_of_parts)
        subsets = decode_column("images", "subsets", [row.subsets for row in rows], counts_of_parts)
        # Of a frame that is there twice the last counts: blocks keep the order of sets, their frames may cross.
        order = np.argsort(frames, kind="stable")
        order = order[(frames[order] >= start) & (frames[order] < stop)]
        yield frames[order], subsets.take(order)


def only_subset(conn: Connection, task_id: int, start: int, stop: int) -> str | None:
    """The one subset of all images in the blocks of frames start to stop; None where there is none, or not but one.
    One row of millions of images is decoded."""
    between = {"task": task_id, "first": start >> BLOCK_BITS, "last": (stop - 1) >> BLOCK_BITS}
    found = conn.execute(_distinct_subsets(), between).scalars().all()
    return only_text(found[0]) if len(found) == 1 else None


@cache
def _distinct_subsets() -> sa.Select[Any]:
    table, sets = BLOCKS["images"].c, annotation_sets.c
    return (
        sa.select(table.subsets)
        .distinct()
        .join(annotation_sets, sets.id == table.set_id)
        .where(
            table.task_id == sa.bindparam("task"),
            sets.state == "visible",
            table.block.between(sa.bindparam("first"), sa.bindparam("last")),
        )
        .limit(2)
    )


def _weights(conn: Connection, task_id: int, kinds: Sequence[str], start: int, stop: int) -> list[tuple[int, int, int]]:
    """(block, rows, bytes of columns that may be large) of the visible blocks of each kind; not in order."""
    found = []
    for kind in kinds:
        table = BLOCKS[kind]
        chosen = (
            sa.select(table.c.block, sa.func.sum(table.c.n_rows), sa.func.sum(_large_bytes(kind)))
            .join(annotation_sets, annotation_sets.c.id == table.c.set_id)
            .where(
                table.c.task_id == task_id,
                annotation_sets.c.state == "visible",
                table.c.block.between(start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS),
            )
            .group_by(table.c.block)
        )
        found += [(int(block), int(rows), int(size)) for block, rows, size in conn.execute(chosen).all()]
    return found


def weigh(conn: Connection, task_id: int, start: int, stop: int) -> dict[str, tuple[int, int]]:
    """About how many rows `load` would give, and how many bytes of outlines, without reading them; of each kind that
    has any."""
    if start >= stop:
        return {}
    between = {"task": task_id, "first": start >> BLOCK_BITS, "last": (stop - 1) >> BLOCK_BITS}
    found = conn.execute(_weighing(), between).all()
    return {kind: (int(rows), int(size)) for kind, rows, size in found if rows}


@cache
def _weighing() -> sa.CompoundSelect[Any]:
    """(kind, rows, bytes) of the visible blocks: one statement, made once, for every look at a frame asks it."""
    return sa.union_all(
        *(
            sa.select(sa.literal(kind), sa.func.sum(table.c.n_rows), sa.func.sum(_large_bytes(kind)))
            .join(annotation_sets, annotation_sets.c.id == table.c.set_id)
            .where(
                table.c.task_id == sa.bindparam("task"),
                annotation_sets.c.state == "visible",
                table.c.block.between(sa.bindparam("first"), sa.bindparam("last")),
            )
            for kind, table in ((kind, BLOCKS[kind]) for kind in OBJECT_KINDS)
        )
    )


def _large_bytes(kind: str) -> sa.ColumnElement[int]:
    return sum((sa.func.length(BLOCKS[kind].c[name]) for name in LARGE.get(kind, ())), sa.literal(0))


@dataclass(frozen=True, slots=True)
class SetRow:
    """A visible annotation set: the document and the kept bytes of an import; the base set has neither."""

    id: int
    is_base: bool
    extras: Mapping[str, Any] | None
    kept_key: str | None


def sets_of(conn: Connection, task_id: int) -> list[SetRow]:
    """The visible sets of a task, oldest first."""
    sets = annotation_sets.c
    chosen = sa.select(sets.id, sets.is_base, sets.extras, sets.kept_key)
    visible = sets.task_id == task_id, sets.state == "visible"
    return [SetRow(*row) for row in conn.execute(chosen.where(*visible).order_by(sets.id))]


def iterate_set(conn: Connection, task_id: int, set_id: int, kind: str, batch_rows: int = 5000) -> Iterator[Any]:
    """All rows of one kind in a visible set, of every frame and of none, in batches of whole blocks."""
    table = BLOCKS[kind]
    per_block = (
        sa.select(table.c.block, sa.func.sum(table.c.n_rows))
        .where(table.c.task_id == task_id, table.c.set_id == set_id)
        .group_by(table.c.block)
        .order_by(table.c.block)
    )
    waiting: list[int] = []
    n_rows = 0
    for block, rows in conn.execute(per_block).all():
        waiting.append(int(block))
        n_rows += int(rows)
        if n_rows >= batch_rows or len(waiting) == KEYS_A_STATEMENT:
            yield read_blocks(conn, kind, task_id, blocks=waiting, set_id=set_id).table
            waiting, n_rows = [], 0
    if waiting:
        yield read_blocks(conn, kind, task_id, blocks=waiting, set_id=set_id).table


def counts(conn: Connection, task_id: int, *, start: int = 0, stop: int | None = None) -> dict[str, int]:
    """Rows of frames start to stop by kind; of the whole task with kept rows that have no frame."""
    size = _last(conn, task_id, None)
    stop = size if stop is None else min(stop, size)
    found = {}
    for kind, table in BLOCKS.items():
        total = (
            sa.select(sa.func.coalesce(sa.func.sum(table.c.n_rows), 0))
            .join(annotation_sets, annotation_sets.c.id == table.c.set_id)
            .where(table.c.task_id == task_id, annotation_sets.c.state == "visible")
        )
        if start > 0 or stop < size:
            inner = -(-start >> BLOCK_BITS), stop >> BLOCK_BITS  # whole blocks, from and up to
            total = total.where(table.c.block >= inner[0], table.c.block < inner[1])
        found[kind] = int(conn.execute(total).scalar_one())
        if start > 0 or stop < size:
            found[kind] += _count_in_edges(conn, kind, task_id, start, stop)
    return found


def _count_in_edges(conn: Connection, kind: str, task_id: int, start: int, stop: int) -> int:
    """Rows of the frames whose blocks are only partly among frames start to stop."""
    edges = {start >> BLOCK_BITS, max(stop - 1, 0) >> BLOCK_BITS} if start < stop else set()
    partial = [block for block in edges if not start <= block << BLOCK_BITS <= ((block + 1) << BLOCK_BITS) <= stop]
    if not partial:
        return 0
    rows = fetch_blocks(conn, kind, task_id, ("frames",), blocks=partial)
    if not rows:
        return 0
    frames = decode_column(kind, "frames", [row.frames for row in rows], [row.n_rows for row in rows])
    return int(((frames >= start) & (frames < stop)).sum())


# ---- parts of a change


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


def _find(
    conn: Connection, kind: str, task_id: int, ids: Ids, start: int, stop: int, *, near: Ids | None = None
) -> Ids:
    """The blocks (ascending, distinct) that hold rows with these ids, by their columns of ids alone.

    Args:
        near: blocks to look into first; usually all are there.
    """
    if len(ids) == 0 or start >= stop:
        return np.empty(0, dtype=np.int64)
    wanted = np.unique(ids)
    rounds: list[dict[str, Any]] = []
    if near is not None and 0 < len(near) <= KEYS_A_STATEMENT:
        rounds.append({"blocks": np.unique(near).tolist()})
    rounds.append({"first": start >> BLOCK_BITS, "last": (stop - 1) >> BLOCK_BITS})
    found = np.empty(0, dtype=np.int64)
    for chosen in rounds:
        rows = fetch_blocks(conn, kind, task_id, ("ids",), **chosen)
        if not rows:
            continue
        counts_of_parts = [row.n_rows for row in rows]
        stored = decode_column(kind, "ids", [row.ids for row in rows], counts_of_parts)
        row_blocks = np.repeat(np.array([row.block for row in rows], dtype=np.int64), counts_of_parts)
        hits = np.isin(stored, wanted)
        found = np.unique(row_blocks[hits])
        if int(hits.sum()) == len(wanted):
            break
    return found


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
        blocks = np.unique(blocks_of(table))
        before = read_block_list(conn, kind, task_id, blocks, set_id=base, lazy=True)
        after = in_frame_order(_joined(before, Placed(table, np.full(len(table), base, dtype=np.int64))))
        write_changed(conn, kind, task_id, after, [(base, blocks)])
        touched.append(frames_of(table))
    _finish(conn, task_id, touched)
    return new


def _joined(left: Placed, right: Placed) -> Placed:
    table = type(left.table).concatenate([left.table, right.table])
    return Placed(table, np.concatenate([left.set_ids, right.set_ids]))


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
        if len(np.unique(table.ids)) < len(table):
            raise InvalidInput("an id is there twice", place=kind)
        new_blocks = np.unique(blocks_of(table))
        before = read_block_list(conn, kind, task_id, new_blocks, lazy=True)
        places = _match(before.table.ids, table.ids)
        if bool((places < 0).any()):  # some come from far away
            blocks = _find(conn, kind, task_id, table.ids, start, stop)
            before = read_block_list(conn, kind, task_id, np.union1d(blocks, new_blocks), lazy=True)
            places = _match(before.table.ids, table.ids)
        old_frames = frames_of(before.table)[places] if len(before.table) else np.empty(len(table), dtype=np.int32)
        missing = np.flatnonzero((places < 0) | (old_frames < start) | (old_frames >= stop))
        if len(missing):
            wrong = int(table.ids[missing[0]])
            raise NotFound("annotation", wrong, f"there is no annotation with id {wrong} among the {kind}")
        old = before.take(places)
        table = _continued(conn, kind, old.table, table, defaults)
        stored[kind] = table
        touched += [old_frames, frames_of(table)]
        if write_rows(conn, kind, task_id, before, places, old.table, table):
            continue
        sets = np.where(old_frames == table.frames, old.set_ids, base)
        current = Placed(table, sets)
        everything = _joined(before, current)
        order = np.arange(len(before.table), dtype=np.int64)
        order[places] = len(before.table) + np.arange(len(table), dtype=np.int64)
        after = in_frame_order(everything.take(order))
        write_changed(conn, kind, task_id, after, [*pairs_of(old), *pairs_of(current)])
    _finish(conn, task_id, touched)
    return Annotations(**stored)


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
    edges = np.unique(np.array([first, last], dtype=np.int64))
    # No row lies behind the last frame, so the task's end is as good as a block's.
    partial = edges[(edges << BLOCK_BITS < start) | (((edges + 1) << BLOCK_BITS > stop) & (stop < size))]
    is_narrow = last - first < NARROW_BLOCKS
    tables: dict[str, Any] = {}
    sets: dict[str, Ids] = {}
    seen: dict[str, Placed] = {}
    staying: dict[str, tuple[Ids, Any]] = {}
    fresh: dict[str, npt.NDArray[np.bool_]] = {}
    for kind in OBJECT_KINDS:
        table = getattr(new, kind)
        if is_narrow:
            before = read_blocks(conn, kind, task_id, first=first, last=last, lazy=True)
        else:  # which blocks of the range hold one of these?
            found = _find(conn, kind, task_id, table.ids[table.ids > 0], start, stop)
            before = read_block_list(conn, kind, task_id, np.union1d(found, partial))
        seen[kind] = before
        if not len(table) and not len(before.table):
            tables[kind], sets[kind] = table, np.empty(0, dtype=np.int64)
            fresh[kind] = np.empty(0, dtype=np.bool_)
            continue
        frames = frames_of(before.table)
        inside = np.flatnonzero((frames >= start) & (frames < stop))
        old = before.take(inside)
        places = _match(old.table.ids, table.ids)
        places[_repeated(table.ids)] = -1
        known = np.flatnonzero(places >= 0)
        fresh[kind] = places < 0
        sets[kind] = np.full(len(table), base, dtype=np.int64)
        table = _without_kept(table)
        if len(known):
            continued = old.take(places[known])
            chosen = table.take(known)
            rows = _continued(conn, kind, continued.table, chosen, defaults)
            stays = continued.table.frames == rows.frames
            sets[kind][known] = np.where(stays, continued.set_ids, base)
            order = np.arange(len(table), dtype=np.int64)
            order[known] = len(table) + np.arange(len(known), dtype=np.int64)
            table = type(table).concatenate([table, rows]).take(order)
            if len(known) == len(table) == len(inside):  # none comes, none goes
                staying[kind] = inside[places], continued.table
        tables[kind] = table
    stored = _number(conn, task_id, Annotations(**tables), fresh)
    left: set[int] = set()
    held: set[int] = set()
    for kind in OBJECT_KINDS:
        current = Placed(getattr(stored, kind), sets[kind])
        before = seen[kind]
        if is_narrow:
            if not len(before.table) and not len(current.table):
                continue
            if kind in staying and write_rows(conn, kind, task_id, before, *staying[kind], current.table):
                continue
            compared = None if kind in staying else before
        frames = frames_of(before.table)
        outside = before.take(np.flatnonzero((frames < start) | (frames >= stop)))
        after = in_frame_order(_joined(outside, current))
        if is_narrow:
            write_changed(conn, kind, task_id, after, [*pairs_of(before), *pairs_of(current)], before=compared)
            left |= set(np.unique(before.set_ids).tolist())
            held |= set(np.unique(after.set_ids).tolist())
            continue
        left |= delete_blocks(conn, kind, task_id, all_sets, first, last)
        for set_id in np.unique(after.set_ids).tolist():
            held.add(set_id)
            rows = after.table.take(np.flatnonzero(after.set_ids == set_id))
            insert_blocks(conn, kind, encode_blocks(rows, task_id=task_id, set_id=set_id, part=0))
    drop_emptied_sets(conn, task_id, left - held)
    touch_task(conn, task_id)
    touch_jobs_between(conn, task_id, start, stop)
    return stored


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
        blocks = _find(conn, kind, task_id, wanted, start, stop, near=hints)
        if len(blocks) == 0:
            continue
        before = read_block_list(conn, kind, task_id, blocks, lazy=True)
        frames = frames_of(before.table)
        touched.append(
            _remove_rows(
                conn, kind, task_id, before, np.isin(before.table.ids, wanted) & (frames >= start) & (frames < stop)
            )
        )
    if touched:
        _finish(conn, task_id, touched)
    return sum(map(len, touched))


def _remove_rows(
    conn: Connection, kind: str, task_id: int, before: Placed, gone: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Write the blocks without the rows that go. Returns the frames of those."""
    leaving = before.take(np.flatnonzero(gone))
    write_changed(conn, kind, task_id, before.take(np.flatnonzero(~gone)), pairs_of(leaving))
    return frames_of(leaving.table)


def clear(conn: Connection, task_id: int, *, start: int = 0, stop: int | None = None) -> None:
    """DELETE: shapes, tags and tracks of the range go, and with them images and kept rows of imports."""
    start, stop, size = _begin(conn, task_id, start, stop)
    if start <= 0 and stop >= size:
        drop_sets(conn, sa.and_(annotation_sets.c.task_id == task_id, annotation_sets.c.state == "visible"))
        touch_jobs(conn, task_id)
    else:
        before = used_sets(conn, task_id)
        for kind in KINDS:
            remove_range(conn, kind, task_id, start, stop)
        drop_emptied_sets(conn, task_id, before)
        touch_jobs_between(conn, task_id, start, stop)
    touch_task(conn, task_id)


def remove_labelled(conn: Connection, task_id: int, label_ids: Sequence[int]) -> None:
    """Remove every annotation of these labels, as their labels go. Raises NotFound."""
    lock_task(conn, task_id)
    wanted = np.array(label_ids, dtype=np.int32)
    for kind in OBJECT_KINDS:
        rows = fetch_blocks(conn, kind, task_id, ("label_ids",))
        if not rows:
            continue
        counts_of_parts = [row.n_rows for row in rows]
        stored = decode_column(kind, "label_ids", [row.label_ids for row in rows], counts_of_parts)
        row_blocks = np.repeat(np.array([row.block for row in rows], dtype=np.int64), counts_of_parts)
        blocks = np.unique(row_blocks[np.isin(stored, wanted)])
        for at in range(0, len(blocks), 500):
            before = read_block_list(conn, kind, task_id, blocks[at : at + 500], lazy=True)
            _remove_rows(conn, kind, task_id, before, np.isin(before.table.label_ids, wanted))
