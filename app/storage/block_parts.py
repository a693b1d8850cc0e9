"""Rows to blocks in parts that may be held one at a time, as `block_windows` reads them.

A block that has more than a few parts' worth is never written anew because rows join it: they become a part behind the
others, or go into the last one while that is small. Nor because some of its rows go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.blocks import BLOCK_BITS, encode_blocks, frames_of
from app.columns import PackedRagged, distinct
from app.storage.block_rows import (
    KEYS_A_STATEMENT,
    Ids,
    Placed,
    decode_rows,
    delete_blocks,
    fetch_blocks,
    insert_blocks,
    read_block_list,
    read_blocks,
    read_column,
    remove_part,
    visible_sets,
)
from app.storage.block_steps import LARGE, STEP_ROWS, in_steps, large_bytes, weigh_blocks
from app.storage.database import Connection
from app.storage.schema import BLOCKS, TABLES_BY_KIND, annotation_sets, block_columns

PART_ROWS, PART_BYTES = STEP_ROWS, 2 << 20
"""Of a part, about: rows, and bytes of outlines in memory."""
LARGE_PARTS = 8.0
"""A block with more than so many parts' worth is written part by part."""

Shares = npt.NDArray[np.float64]


def shares_of(kind: str, table: Any) -> Shares:
    """(N,) what each row takes of a part."""
    sizes = np.zeros(len(table), dtype=np.int64)
    for name in LARGE.get(kind, ()):
        column = getattr(table, name)
        if isinstance(column, PackedRagged):
            sizes += column.packed.lengths
            column = column.plain
        sizes += column.lengths * column.dtype.itemsize
    shares: Shares = sizes / PART_BYTES + 1 / PART_ROWS
    return shares


def insert_in_parts(conn: Connection, kind: str, task_id: int, set_id: int, table: Any, order: Ids) -> None:
    """Insert the rows at `order`, of ascending frames, into blocks that have none of this set."""
    for part, rows in _parts(kind, table, order):
        insert_blocks(conn, kind, encode_blocks(rows, task_id=task_id, set_id=set_id, part=part))


def _parts(kind: str, table: Any, order: Ids) -> Iterator[tuple[int, Any]]:
    """Some whole blocks at a time, or a part of a large one, and its number."""
    blocks, shares = frames_of(table)[order] >> BLOCK_BITS, shares_of(kind, table)[order]
    starts = np.flatnonzero(np.diff(blocks, prepend=-2))
    stops = np.append(starts[1:], len(order))
    totals = np.add.reduceat(shares, starts) if len(starts) else shares
    begin, held = 0, 0.0
    for start, stop, total in zip(starts.tolist(), stops.tolist(), totals.tolist(), strict=True):
        if begin < start and (held + total > 1 or total > LARGE_PARTS):
            yield 0, table.take(order[begin:start])
            begin, held = start, 0.0
        held += total
        if total > LARGE_PARTS:
            for part, rows in enumerate(in_steps(order[start:stop], shares[start:stop])):
                yield part, table.take(rows)
            begin, held = stop, 0.0
    if begin < len(order):
        yield 0, table.take(order[begin:])


def add_parts(conn: Connection, kind: str, task_id: int, set_id: int, block: int, table: Any, order: Ids) -> None:
    """Put the rows at `order`, of one block and of ascending frames, behind those that it has of this set."""
    stored = BLOCKS[kind].c
    here = stored.task_id == task_id, stored.set_id == set_id, stored.block == block
    last = conn.execute(
        sa.select(stored.part, stored.n_rows, large_bytes(kind)).where(*here).order_by(stored.part.desc()).limit(1)
    ).one_or_none()
    shares = shares_of(kind, table)[order]
    part = 0
    if last is not None:
        number, n_rows, n_bytes = int(last[0]), int(last[1]), int(last[2])
        part = number + 1
        if n_rows / PART_ROWS + n_bytes / PART_BYTES + float(shares.sum()) <= 1:
            key = _key(block, set_id, number)
            found = decode_rows(kind, fetch_blocks(conn, kind, task_id, block_columns(kind), **key)).table
            table = type(table).concatenate([found, table.take(order)])
            order, shares = np.argsort(frames_of(table), kind="stable"), shares_of(kind, table)
            remove_part(conn, kind, [{"task_id": task_id, "set_id": set_id, "block": block, "part": number}])
            part = number
    for place, rows in enumerate(in_steps(order, shares)):
        encoded = encode_blocks(table.take(rows), task_id=task_id, set_id=set_id, part=part + place)
        insert_blocks(conn, kind, encoded)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Rows that are read to be changed: some blocks whole, or one part of a large block: (block, set id, number)."""

    rows: Placed
    part: tuple[int, int, int] | None = None


def held_parts(conn: Connection, kind: str, task_id: int, blocks: Ids, name: str, wanted: Ids) -> Iterator[Held]:
    """The parts of some large blocks in which a column has one of these values (ascending). Kept lines are read when
    somebody looks."""
    for block in blocks.tolist():
        for set_id, number in _parts_of(conn, kind, task_id, block):
            key = _key(block, set_id, number)
            if np.isin(read_column(conn, kind, task_id, name, **key), wanted).any():
                yield Held(read_blocks(conn, kind, task_id, lazy=True, **key), (block, set_id, number))


def write_part(conn: Connection, kind: str, task_id: int, part: tuple[int, int, int], table: Any) -> None:
    """Put these rows in the place of those that a part has."""
    block, set_id, number = part
    # Encoded first: kept lines may still have to be read from what is removed next.
    encoded = encode_blocks(table, task_id=task_id, set_id=set_id, part=number)
    remove_part(conn, kind, [{"task_id": task_id, "set_id": set_id, "block": block, "part": number}])
    insert_blocks(conn, kind, encoded)


def large_blocks(conn: Connection, kind: str, task_id: int, blocks: Ids) -> Ids:
    """Those of some blocks (ascending, distinct) that are written part by part."""
    if not len(blocks):
        return blocks
    if len(blocks) > KEYS_A_STATEMENT:
        among = int(blocks[0]), int(blocks[-1])
        held, shares = weigh_blocks(
            conn, task_id, (kind,), *among, among=blocks, most_rows=PART_ROWS, most_bytes=PART_BYTES
        )
        return held[shares > LARGE_PARTS]
    found = conn.execute(_weighing(kind), {"task": task_id, "blocks": blocks.tolist()}).all()
    weights = np.array([[*map(int, row)] for row in found], dtype=np.int64).reshape(-1, 3)
    shares = weights[:, 1] / PART_ROWS + weights[:, 2] / PART_BYTES
    return np.sort(weights[shares > LARGE_PARTS, 0])


@cache
def _weighing(kind: str) -> sa.Select[Any]:
    """Made once, for every save of a frame asks it."""
    stored = BLOCKS[kind].c
    return (
        sa.select(stored.block, sa.func.sum(stored.n_rows), sa.func.sum(large_bytes(kind)))
        .join(annotation_sets, annotation_sets.c.id == stored.set_id)
        .where(
            stored.task_id == sa.bindparam("task"),
            stored.block.in_(sa.bindparam("blocks", expanding=True)),
            annotation_sets.c.state == "visible",
        )
        .group_by(stored.block)
    )


def _parts_of(conn: Connection, kind: str, task_id: int, block: int) -> list[tuple[int, int]]:
    """(set id, number) of the visible parts of a block, in their order."""
    stored = BLOCKS[kind].c
    found = conn.execute(
        sa.select(stored.set_id, stored.part)
        .join(annotation_sets, annotation_sets.c.id == stored.set_id)
        .where(stored.task_id == task_id, stored.block == block, annotation_sets.c.state == "visible")
        .order_by(stored.set_id, stored.part)
    )
    return [(int(set_id), int(part)) for set_id, part in found]


def _key(block: int, set_id: int, number: int) -> dict[str, Any]:
    """What `fetch_blocks` knows a part by."""
    return {"first": block, "last": block, "set_id": set_id, "part": number}


def remove_range(conn: Connection, kind: str, task_id: int, start: int, stop: int) -> None:
    """Remove the rows of frames start to stop in every visible set. Blocks at the edges are written anew; of large ones
    only the parts that lose some of their rows, one after the other."""
    if start >= stop:
        return
    first, last = start >> BLOCK_BITS, (stop - 1) >> BLOCK_BITS
    edges = distinct(np.array([first, last], dtype=np.int64))
    partial = edges[(edges << BLOCK_BITS < start) | ((edges + 1) << BLOCK_BITS > stop)]
    large = large_blocks(conn, kind, task_id, partial).tolist()
    for block in large:
        _remove_in_parts(conn, kind, task_id, block, start, stop)
    before = read_block_list(conn, kind, task_id, partial[~np.isin(partial, large)])
    frames = frames_of(before.table)
    outside = before.take(np.flatnonzero((frames < start) | (frames >= stop)))
    delete_blocks(conn, kind, task_id, visible_sets(conn, task_id), first + (first in large), last - (last in large))
    for set_id in distinct(outside.set_ids).tolist():
        rows = outside.table.take(np.flatnonzero(outside.set_ids == set_id))
        insert_blocks(conn, kind, encode_blocks(rows, task_id=task_id, set_id=set_id, part=0))


def _remove_in_parts(conn: Connection, kind: str, task_id: int, block: int, start: int, stop: int) -> None:
    """`remove_range` of a block, which holds a part of it at a time."""
    for set_id, part in _parts_of(conn, kind, task_id, block):
        key = _key(block, set_id, part)
        frames = read_column(conn, kind, task_id, "frames", **key)
        stays = np.flatnonzero((frames < start) | (frames >= stop))
        if len(stays) < len(frames):
            rest = TABLES_BY_KIND[kind].empty()
            if len(stays):
                rest = read_blocks(conn, kind, task_id, **key).table.take(stays)
            write_part(conn, kind, task_id, (block, set_id, part), rest)
