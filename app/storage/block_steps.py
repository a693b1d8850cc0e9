"""Which blocks to hold at once, so that memory does not follow the task: what they weigh is asked for first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.storage.block_rows import Ids
from app.storage.database import Connection
from app.storage.schema import BLOCKS, annotation_sets

Shares = npt.NDArray[np.float64]

LAST_BLOCK = 1 << 25
NO_BLOCKS: Ids = np.empty(0, dtype=np.int64)
STEP_ROWS = 8_000
STEP_BYTES = 8 << 20
LARGE: Mapping[str, tuple[str, ...]] = {"shapes": ("points", "runs", "elements"), "tracks": ("bodies",)}
"""Columns of rows without a bound of their own."""


def large_bytes(kind: str) -> sa.ColumnElement[int]:
    """Stored bytes of a block's columns that may be large: outlines have four times that in memory."""
    return sum((sa.func.length(BLOCKS[kind].c[name]) for name in LARGE.get(kind, ())), sa.literal(0))


def block_steps(
    conn: Connection,
    task_id: int,
    kinds: Iterable[str],
    first: int = -1,
    last: int = LAST_BLOCK,
    *,
    among: Ids | None = None,
    set_id: int | None = None,
    staged_id: int | None = None,
    most_rows: int = STEP_ROWS,
    most_bytes: int | None = STEP_BYTES,
) -> list[Ids]:
    """The visible blocks from first to last (inclusive) that have a row of any of these kinds, ascending, in steps of
    about `most_rows` rows or `most_bytes` of outlines, whichever is reached first; a block of more is one step.

    Args:
        among: no other blocks than these.
        set_id: no rows but those of this set, visible or not.
        staged_id: rows of this set at work, too.
        most_bytes: None where no column is read that may be large.
    """
    blocks, shares = weigh_blocks(
        *(conn, task_id, kinds, first, last),
        among=among,
        set_id=set_id,
        staged_id=staged_id,
        most_rows=most_rows,
        most_bytes=most_bytes,
    )
    return in_steps(blocks, shares)


def in_steps(blocks: Ids, shares: Shares) -> list[Ids]:
    """Blocks (or rows) (B,) in runs, given what each has of the most that a step may have."""
    if not len(blocks):
        return []
    step_of_block = np.floor(np.cumsum(shares) - shares)
    return np.split(blocks, np.flatnonzero(np.diff(step_of_block)) + 1)


def weigh_blocks(
    conn: Connection,
    task_id: int,
    kinds: Iterable[str],
    first: int = -1,
    last: int = LAST_BLOCK,
    *,
    among: Ids | None = None,
    set_id: int | None = None,
    staged_id: int | None = None,
    most_rows: int = STEP_ROWS,
    most_bytes: int | None = STEP_BYTES,
) -> tuple[Ids, Shares]:
    """The blocks of `block_steps` (B,), ascending, and what each has of the most that a step may have: 1 is as much."""
    sets = annotation_sets.c
    seen = sets.state == "visible" if staged_id is None else sa.or_(sets.state == "visible", sets.id == staged_id)
    weight = (lambda _kind: sa.literal(0)) if most_bytes is None else large_bytes
    found: list[tuple[int, int, int]] = []
    for kind in kinds:
        table = BLOCKS[kind]
        weighed = sa.select(table.c.block, sa.func.sum(table.c.n_rows), sa.func.sum(weight(kind)))
        chosen = (table.c.set_id == set_id,) if set_id is not None else (sets.id == table.c.set_id, seen)
        inside = table.c.task_id == task_id, table.c.block.between(first, last)
        rows = conn.execute(weighed.where(*inside, *chosen).group_by(table.c.block))
        found += [(int(block), int(n_rows), int(size)) for block, n_rows, size in rows]
    if not found:
        return NO_BLOCKS, np.empty(0, dtype=np.float64)
    weights = np.array(sorted(found), dtype=np.int64)
    if among is not None:
        weights = weights[np.isin(weights[:, 0], among)]
        if not len(weights):
            return NO_BLOCKS, np.empty(0, dtype=np.float64)
    blocks, starts = np.unique(weights[:, 0], return_index=True)
    shares = np.add.reduceat(weights[:, 1:] / (max(most_rows, 1), max(most_bytes or 1, 1)), starts).sum(axis=1)
    return blocks, shares


def count_rows(conn: Connection, task_id: int, kind: str, first: int, last: int, *, but: Ids) -> int:
    """Rows of the visible blocks from first to last (inclusive), but for those of some."""
    table, sets = BLOCKS[kind], annotation_sets.c
    counted = sa.select(table.c.block, sa.func.sum(table.c.n_rows)).group_by(table.c.block)
    inside = table.c.task_id == task_id, table.c.block.between(first, last)
    rows = conn.execute(counted.where(*inside, sets.id == table.c.set_id, sets.state == "visible")).all()
    found = np.array([tuple(row) for row in rows], dtype=np.int64).reshape(-1, 2)
    return int(found[~np.isin(found[:, 0], but), 1].sum())
