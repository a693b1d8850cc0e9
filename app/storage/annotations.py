"""The annotations of tasks as column blocks: 64 frames a block, one blob a column.

    annotations             how they are read
    annotation_changes      how they are changed (its functions are names of this module, too)

Blocks belong to the task; a job is a window on its frames, so a frame that two jobs show has one truth. A track belongs
to the frame it begins on.

    annotation set   what one import brought, with its document and kept bytes; invisible until it is published
    base set         what never was in an archive: drawn, or sent as JSON; one per task, made when it is needed

A row stays in its set for life, also when it is edited, so the set of a row says where its kept line and PNG are. Only
where labels of a large task go or become others, a whole set makes way for one with the same document, kept bytes and
rows (`rewriting`).
Every change locks the task's row first, and raises its revision and those of the jobs that show what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import Annotations
from app.blocks import BLOCK_BITS, only_text
from app.columns import Texts
from app.errors import NotFound
from app.storage.annotation_changes import append, clear, delete, n_labelled, remove_labelled, replace_all, update
from app.storage.block_rows import (
    KEYS_A_STATEMENT,
    KINDS,
    LATER,
    OBJECT_KINDS,
    Ids,
    columns_of,
    decode_column,
    decode_rows,
    fetch_blocks,
    in_frame_order,
    in_range,
    read_block_list,
    read_column,
)
from app.storage.block_steps import STEP_BYTES, block_steps, in_steps, large_bytes, weigh_blocks
from app.storage.block_windows import LARGE_SHARE, Cuts, read_windows
from app.storage.changes import lock_task
from app.storage.database import Connection
from app.storage.groups import grouped_tags, groups_in_use, highest_group, move_groups, moved_by
from app.storage.merging import BothSides, Leaving, find_meeting, lock_for_merge, publish_merged, read_both, revision_of
from app.storage.schema import BLOCKS, annotation_sets, tasks
from app.storage.set_writer import SetWriter, begin_set, publish

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
    "find_meeting",
    "grouped_tags",
    "groups_in_use",
    "highest_group",
    "iterate",
    "iterate_set",
    "load",
    "lock_for_merge",
    "lock_task",
    "move_groups",
    "moved_by",
    "n_labelled",
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

BLOCKS_AT_ONCE = 2048
"""Of which few columns are read."""


# ---- reading


def _last(conn: Connection, task_id: int, stop: int | None) -> int:
    size = conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar()
    if size is None:
        raise NotFound("task", task_id)
    return int(size) if stop is None else min(stop, int(size))


def _fetch(
    conn: Connection,
    task_id: int,
    kinds: Sequence[str],
    start: int,
    stop: int,
    with_kept: bool,
    lazy: bool = False,
    blocks: Sequence[int] | None = None,
) -> Annotations:
    """`blocks`: no others than these."""
    if start >= stop:
        return Annotations()
    chosen: dict[str, Any] = {"first": start >> BLOCK_BITS, "last": (stop - 1) >> BLOCK_BITS}
    if blocks is not None:
        chosen = {"blocks": blocks}
    tables: dict[str, Any] = {}
    for kind in kinds:
        later = {
            name: partial(read_column, conn, kind, task_id, name, **chosen, keep_packed=True)
            for name in (LATER.get(kind, ()) if lazy else ())
        }
        names = [name for name in columns_of(kind, with_kept=with_kept) if name not in later]
        rows = fetch_blocks(conn, kind, task_id, names, **chosen)
        placed = in_frame_order(decode_rows(kind, rows, with_kept=with_kept, later=later, keep_packed=lazy))
        tables[kind] = in_range(placed, start, stop).table
    return Annotations(**tables)


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
    return _fetch(conn, task_id, kinds, start, last, with_kept)


def iterate(
    conn: Connection,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    kinds: Sequence[str] = OBJECT_KINDS,
    batch_rows: int = 100_000,
    batch_bytes: int = STEP_BYTES,
    with_kept: bool = True,
    lazy: bool = False,
    cuts: Cuts = "never",
    among: Ids | None = None,
) -> Iterator[Annotations]:
    """The same as `load` in batches of whole blocks: ascending, disjoint frame ranges, about `batch_rows` rows or
    `batch_bytes` of stored outlines each (four times that in memory), whichever is reached first.

    Several queries: on PostgreSQL only a `snapshot()` makes them see one state. `lazy` leaves the largest columns
    (`LATER`) until they are looked at, which must be within that same snapshot, and kept lines as they are packed.

    Args:
        cuts: where the caller takes a frame in several batches, kind by kind: a block that has more than twice as
            much as a batch is then cut, between frames or within them.
        among: no other blocks than these, ascending.
    """
    stop = _last(conn, task_id, stop)
    if start >= stop:
        return
    first, last = start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS
    if among is not None:
        if not len(among):
            return
        first, last = max(first, int(among[0])), min(last, int(among[-1]))
    blocks, shares = weigh_blocks(
        conn, task_id, kinds, first, last, among=among, most_rows=batch_rows, most_bytes=batch_bytes
    )
    large = set(blocks[shares > LARGE_SHARE].tolist()) if cuts != "never" else set()

    for some in _apart(in_steps(blocks, shares), large):
        low, high = max(start, int(some[0]) << BLOCK_BITS), min(stop, (int(some[-1]) + 1) << BLOCK_BITS)
        if int(some[0]) not in large:
            if among is None or len(some) == int(some[-1]) - int(some[0]) + 1:
                yield _fetch(conn, task_id, kinds, low, high, with_kept, lazy)
                continue
            for at in range(0, len(some), KEYS_A_STATEMENT):
                keys = some[at : at + KEYS_A_STATEMENT].tolist()
                yield _fetch(conn, task_id, kinds, low, high, with_kept, lazy, keys)
            continue
        for kind in kinds:
            tables = read_windows(
                *(conn, kind, task_id, int(some[0])),
                start=low,
                stop=high,
                cuts=cuts,
                with_kept=with_kept,
                lazy=lazy,
                most_rows=batch_rows,
                most_bytes=batch_bytes,
            )
            yield from (Annotations(**{kind: table}) for table in tables)


def _apart(steps: list[npt.NDArray[np.int64]], large: set[int]) -> Iterator[npt.NDArray[np.int64]]:
    """Runs of blocks in which large ones stand alone."""
    if not large:
        yield from steps
        return
    for blocks in steps:
        is_large = np.isin(blocks, list(large))
        yield from np.split(blocks, np.flatnonzero(is_large[1:] | is_large[:-1]) + 1)


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
            sa.select(sa.literal(kind), sa.func.sum(table.c.n_rows), sa.func.sum(large_bytes(kind)))
            .join(annotation_sets, annotation_sets.c.id == table.c.set_id)
            .where(
                table.c.task_id == sa.bindparam("task"),
                annotation_sets.c.state == "visible",
                table.c.block.between(sa.bindparam("first"), sa.bindparam("last")),
            )
            for kind, table in ((kind, BLOCKS[kind]) for kind in OBJECT_KINDS)
        )
    )


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
    for blocks in block_steps(conn, task_id, (kind,), set_id=set_id, most_rows=batch_rows):
        yield read_block_list(conn, kind, task_id, blocks, set_id=set_id).table


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
