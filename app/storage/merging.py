"""A staged import beside what a task holds: read together frame range by frame range, and put together in one step.

    staged set    everything an archive said; nobody ever sees it
    merged set    what of it is new or corrected; becomes visible as `publish_merged` takes the rows that go

What goes is remembered by its place in its block (set, block, number in it), which holds as long as the task's revision
does. Rows that stay are not written again.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import Annotations, ranks
from app.blocks import BLOCK_BITS, blocks_of, frames_of
from app.columns import distinct
from app.errors import NotFound
from app.heap import trim_heap
from app.spools import spool_of
from app.storage.block_rows import (
    KINDS,
    Changed,
    Ids,
    Placed,
    encode_changed,
    pairs_of,
    put_changed,
    read_block_list,
)
from app.storage.block_steps import block_steps, count_rows, weigh_blocks
from app.storage.changes import lock_task, touch_jobs, touch_task
from app.storage.database import Connection
from app.storage.schema import annotation_sets, tasks
from app.storage.set_writer import leave_writing

MANY_ROWS = 65_536
"""Of one kind: more than a range of usual blocks has."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class BothSides:
    """What a task and a staged set have of a range of frames, by kind; `places` of the task's rows: (N, 3) int64 set,
    block, number of the row in it."""

    held: Annotations
    imported: Mapping[str, Mask]
    staged: Annotations
    places: Mapping[str, npt.NDArray[np.int64]]


@dataclass(slots=True, weakref_slot=True, eq=False)
class Leaving:
    """Rows that a merge takes from the visible sets: their places, and their frames; and what is left of their blocks,
    once it is made."""

    places: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    frames: list[npt.NDArray[np.int32]] = field(default_factory=list)
    _left: IO[bytes] | None = None
    _n_left: int = 0

    def add(self, kind: str, places: npt.NDArray[np.int64], frames: npt.NDArray[np.int32]) -> None:
        if len(places):
            self.places.setdefault(kind, []).append(places)
            self.frames.append(frames)

    def make_what_is_left(self, conn: Connection, task_id: int) -> None:
        """Encode the blocks without the rows that leave, in the state that these were found in. It waits on disk; who
        publishes has the task (in a file: everybody) wait only until it is inserted."""
        self._left = spool_of(self)
        for kind, parts in self.places.items():
            for changed in _without(conn, kind, task_id, np.concatenate(parts)):
                pickle.dump((kind, changed), self._left, protocol=5)
                self._n_left += 1

    def take_away(self, conn: Connection, task_id: int) -> None:
        """Store what is left, in the same state."""
        if self._left is None:
            self.make_what_is_left(conn, task_id)
        assert self._left is not None
        self._left.seek(0)
        for _ in range(self._n_left):
            kind, changed = pickle.load(self._left)
            put_changed(conn, kind, task_id, changed)


def revision_of(conn: Connection, task_id: int) -> int:
    """Raises NotFound."""
    found = conn.execute(sa.select(tasks.c.revision).where(tasks.c.id == task_id)).scalar()
    if found is None:
        raise NotFound("task", task_id)
    return int(found)


@dataclass(frozen=True, slots=True, eq=False)
class Meeting:
    """Where a staged set has to be compared with what its task holds: most archives speak of few of its frames.

    Attributes:
        start, stop: frames, half open; from -1 on, where rows without a frame are among them.
        blocks: (B,) ascending, those in which the staged set has a row, or that are not wholly within the frames.
        apart: how many rows of each kind the task has in all other blocks of the frames.
    """

    task_id: int
    staged_id: int
    start: int
    stop: int
    blocks: Ids
    apart: Mapping[str, int]


def find_meeting(conn: Connection, task_id: int, staged_id: int, *, start: int = 0, stop: int | None = None) -> Meeting:
    """Of frames start to stop of the task, of the whole task also rows without a frame."""
    size = int(conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar_one())
    stop = size if stop is None else min(stop, size)
    is_whole = start <= 0 and stop >= size
    first, last = (-1 if is_whole else start >> BLOCK_BITS), max(stop - 1, 0) >> BLOCK_BITS
    said, _ = weigh_blocks(conn, task_id, KINDS, first, last, set_id=staged_id, most_bytes=None)
    cut = [frame >> BLOCK_BITS for frame in (start, stop) if frame % (1 << BLOCK_BITS) and not is_whole]
    compared = distinct(np.concatenate([said, np.array(cut, dtype=np.int64)]))
    apart = {kind: count_rows(conn, task_id, kind, first, last, but=compared) for kind in KINDS}
    return Meeting(task_id, staged_id, -1 if is_whole else start, stop, compared, apart)


def read_both(conn: Connection, meeting: Meeting, *, batch_rows: int = 50_000) -> Iterator[BothSides]:
    """The blocks that are compared, in ascending ranges of about `batch_rows` rows or of some megabytes of outlines.

    Needs the state in which they were found: a snapshot, or a transaction that has locked the task.
    """
    task_id, staged_id, blocks = meeting.task_id, meeting.staged_id, meeting.blocks
    if not len(blocks):
        return
    bases = _base_sets(conn, task_id)
    first, last = int(blocks[0]), int(blocks[-1])
    for some in block_steps(conn, task_id, KINDS, first, last, among=blocks, staged_id=staged_id, most_rows=batch_rows):
        yield _read_range(conn, meeting, some, bases)


def _read_range(conn: Connection, meeting: Meeting, blocks: Ids, bases: Sequence[int]) -> BothSides:
    task_id, staged_id, start, stop = meeting.task_id, meeting.staged_id, meeting.start, meeting.stop
    held, imported, staged, places = {}, {}, {}, {}
    for kind in KINDS:
        placed = read_block_list(conn, kind, task_id, blocks)
        numbers = _numbers(placed)
        frames = frames_of(placed.table)
        inside = np.flatnonzero((frames >= start) & (frames < stop))
        if len(inside) < len(frames):
            placed, numbers = placed.take(inside), numbers[inside]
        imported[kind] = ~np.isin(placed.set_ids, bases)
        places[kind] = np.stack([placed.set_ids, blocks_of(placed.table), numbers], axis=1)
        held[kind] = _compact(placed.table)
        del placed, numbers, frames, inside
        staged[kind] = _compact(read_block_list(conn, kind, task_id, blocks, staged_id=staged_id).table)
    return BothSides(Annotations(**held), imported, Annotations(**staged), places)


def _compact(table: Any) -> Any:
    """Of many rows, which are there because one block has them all, no more is held than they say."""
    if len(table) < MANY_ROWS:
        return table
    table = table.with_values_once()
    trim_heap()  # of what they were read from
    return table


def _base_sets(conn: Connection, task_id: int) -> list[int]:
    sets = annotation_sets.c
    return list(conn.execute(sa.select(sets.id).where(sets.task_id == task_id, sets.is_base)).scalars())


def _numbers(placed: Placed) -> Ids:
    """(N,) int64, how many rows of the same set and block stand before each."""
    return ranks(_pair_codes(placed.set_ids, blocks_of(placed.table))) if len(placed) else placed.set_ids


def _pair_codes(set_ids: Ids, blocks: Ids) -> Ids:
    """(N,) int64, one small number for each pair of set and block, counted from 0."""
    sets = distinct(set_ids)
    first = int(blocks.min())
    pairs = np.searchsorted(sets, set_ids) * (int(blocks.max()) - first + 1) + (blocks - first)
    return np.searchsorted(distinct(pairs), pairs)


def publish_merged(
    conn: Connection,
    task_id: int,
    *,
    staged_id: int,
    merged_id: int,
    leaving: Leaving,
    arriving: npt.NDArray[np.int32],
    documents: Mapping[int, Mapping[str, Any]],
    is_needed: bool,
) -> bool:
    """Take the rows that leave, show those of the merged set, and forget the staged one, in the caller's transaction
    (which has locked the task).

    Args:
        arriving: frames of the merged set's rows.
        documents: extras of earlier sets that change.
        is_needed: the merged set's own document says something new.

    Returns:
        Whether anything has changed; if not, neither has the task's revision.

    Raises:
        Conflict: one of the sets is gone.
    """
    leave_writing(conn, staged_id, "dropped")
    leaving.take_away(conn, task_id)
    for set_id, extras in documents.items():
        conn.execute(annotation_sets.update().where(annotation_sets.c.id == set_id).values(extras=dict(extras)))
    shows = is_needed or len(arriving) > 0
    if shows:
        leave_writing(conn, merged_id, "visible")
    if not shows and not leaving.places and not documents:
        return False
    touch_task(conn, task_id)
    touch_jobs(conn, task_id, None if documents or is_needed else np.concatenate([arriving, *leaving.frames]))
    return True


def _without(conn: Connection, kind: str, task_id: int, places: npt.NDArray[np.int64]) -> Iterator[Changed]:
    """Blocks without the rows at these places (set, block, number), some at a time."""
    blocks = distinct(places[:, 1])
    for some in block_steps(conn, task_id, (kind,), int(blocks[0]), int(blocks[-1]), among=blocks):
        before = read_block_list(conn, kind, task_id, some)
        here = places[np.isin(places[:, 1], some)]
        n = len(before)
        codes = _pair_codes(
            np.concatenate([before.set_ids, here[:, 0]]), np.concatenate([blocks_of(before.table), here[:, 1]])
        )
        codes *= n  # no block has more rows
        gone = np.isin(codes[:n] + _numbers(before), codes[n:] + here[:, 2])
        del codes, here
        leaving = before.take(np.flatnonzero(gone))
        yield encode_changed(task_id, before.take(np.flatnonzero(~gone)), pairs_of(leaving))


def lock_for_merge(conn: Connection, task_id: int) -> int:
    """Hold the task until the end of the transaction. Returns its revision. Raises NotFound."""
    lock_task(conn, task_id)
    return revision_of(conn, task_id)
