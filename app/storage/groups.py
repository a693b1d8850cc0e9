"""The group numbers of a task's annotations: which are in use, and those of a set at work moved to others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.blocks import BLOCK_BITS, decode_arrays, encode_array
from app.storage.block_rows import OBJECT_KINDS, read_column
from app.storage.block_steps import block_steps
from app.storage.database import Connection
from app.storage.schema import BLOCKS, annotation_sets

Groups = npt.NDArray[np.int32]

STEP_ROWS = 200_000
"""Of which one column is read."""
UNGROUPED = [encode_array(np.zeros(n, dtype=np.int32)) for n in (1, 2)]
"""The column of blocks without a group: of one row, and of several."""


def groups_in_use(conn: Connection, task_id: int) -> Iterator[Groups]:
    """The numbers of all visible annotations, step by step; 0 is no group."""
    for kind in OBJECT_KINDS:
        for blocks in block_steps(conn, task_id, (kind,), most_rows=STEP_ROWS, most_bytes=None):
            yield read_column(conn, kind, task_id, "groups", first=int(blocks[0]), last=int(blocks[-1]))


def grouped_tags(
    conn: Connection, task_id: int, start: int, stop: int
) -> Iterator[tuple[npt.NDArray[np.int32], Groups]]:
    """Frames and groups of the tags of frames start to stop that are in a group; blocks without any are not read."""
    table, sets = BLOCKS["tags"].c, annotation_sets.c
    chosen = sa.select(table.n_rows, table.frames, table.groups).join(annotation_sets, sets.id == table.set_id)
    inside = table.block.between(start >> BLOCK_BITS, max(stop - 1, 0) >> BLOCK_BITS)
    of_task = table.task_id == task_id, sets.state == "visible", table.groups.not_in(UNGROUPED)
    for row in conn.execute(chosen.where(*of_task, inside).order_by(table.block, table.set_id, table.part)):
        frames = decode_arrays([row.frames], [row.n_rows], np.int32)
        groups: Groups = decode_arrays([row.groups], [row.n_rows], np.int32)
        found = np.flatnonzero((groups != 0) & (frames >= start) & (frames < stop))
        yield frames[found], groups[found]


def highest_group(conn: Connection, task_id: int, set_id: int) -> int:
    """The highest number of a set, visible or not; 0 where it has none."""
    parts = (groups for kind in OBJECT_KINDS for _, groups in _grouped_blocks(conn, kind, task_id, set_id))
    return max((int(groups.max()) for groups in parts), default=0)


def move_groups(conn: Connection, task_id: int, set_id: int, by: int) -> None:
    """Add to every group number of a closed set that nobody sees yet."""
    for kind in OBJECT_KINDS:
        table = BLOCKS[kind]
        same = [table.c[name] == sa.bindparam(f"its_{name}") for name in ("task_id", "set_id", "block", "part")]
        moved = [
            {**place, "moved": encode_array(moved_by(groups, by))}
            for place, groups in _grouped_blocks(conn, kind, task_id, set_id)
        ]
        if moved:
            conn.execute(table.update().where(*same).values(groups=sa.bindparam("moved")), moved)


def moved_by(groups: Groups, by: int) -> Groups:
    """The numbers with `by` added; 0 stays 0."""
    return np.where(groups > 0, groups + by, 0).astype(np.int32)


def _grouped_blocks(conn: Connection, kind: str, task_id: int, set_id: int) -> Iterator[tuple[dict[str, int], Groups]]:
    """The place of every block of a set that has a group, and its numbers."""
    table = BLOCKS[kind].c
    chosen = sa.select(table.block, table.part, table.n_rows, table.groups)
    for row in conn.execute(
        chosen.where(table.task_id == task_id, table.set_id == set_id, table.groups.not_in(UNGROUPED))
    ):
        groups: Groups = decode_arrays([row.groups], [row.n_rows], np.int32)
        if groups.any():
            yield {"its_task_id": task_id, "its_set_id": set_id, "its_block": row.block, "its_part": row.part}, groups
