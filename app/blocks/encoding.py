"""Tables of annotations → bytes of blocks: 64 frames of one kind, one blob a column.

    job   some tables of one kind, one behind the other, and the number of their first row
    done  a dict for each block: its number, how many rows it has, and the bytes of each column

A job is worked on here or in another process: hence no table of the store and no SQL, which take long to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.annotations import Kept, Table
from app.blocks.codec import encoder, is_constant
from app.columns import PackedRagged, Ragged, Texts, narrow_numbers

BLOCK_BITS = 6
FRAMES_A_BLOCK = 1 << BLOCK_BITS
COLD = frozenset({"kept_lines"})  # the larger part of an import, and only exports read it

Numbering = Literal["new", "given", "none"]
Blocks = list[dict[str, Any]]


def frames_of(table: Any) -> npt.NDArray[np.int32]:
    frames: npt.NDArray[np.int32] = table.frames
    return frames


def blocks_of(table: Any) -> npt.NDArray[np.int64]:
    """(N,) int64, the block of each row."""
    return frames_of(table).astype(np.int64) >> BLOCK_BITS


def flat_columns(table: Table) -> dict[str, Any]:
    """The stored columns of a table by their names in the schema."""
    columns: dict[str, Any] = {}
    for name, column in table.columns().items():
        if isinstance(column, Kept):
            columns |= {f"kept_{inner}": value for inner, value in column.columns().items() if inner != "sets"}
        else:
            columns[name] = column
    return columns


def byte_size(table: Table) -> int:
    """About how many bytes the rows take, in memory and in the store."""
    total = 0
    for column in flat_columns(table).values():
        if isinstance(column, Ragged):
            total += column.nbytes
        else:
            total += column.codes.nbytes if isinstance(column, Texts) else column.nbytes
    return total


def encode_blocks(table: Any, *, task_id: int, set_id: int, part: int) -> list[dict[str, Any]]:
    """Rows for `insert_blocks`, in ascending blocks; within a block the order of the rows of a frame is kept."""
    if len(table) == 0:
        return []
    frames = frames_of(table)
    if bool((frames[1:] < frames[:-1]).any()):
        table = table.take(np.argsort(frames, kind="stable"))
    blocks = blocks_of(table)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(blocks)) + 1, [len(blocks)]]).tolist()
    encoders = {name: encoder(column, are_lines=name in COLD) for name, column in flat_columns(table).items()}
    same = {name: found for name, found in encoders.items() if isinstance(found, bytes)}
    differing = {name: found for name, found in encoders.items() if not isinstance(found, bytes)}
    return [
        {
            "task_id": task_id,
            "set_id": set_id,
            "block": int(blocks[start]),
            "part": part,
            "n_rows": stop - start,
            **same,
            **{name: encode(start, stop) for name, encode in differing.items()},
        }
        for start, stop in pairwise(starts)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class BlockJob:
    """Some rows of one set.

    Attributes:
        parts: tables of one kind.
        numbering: every row gets a new id; or those that have none (0); or none does.
        first: the first of the new ids.
        part: the number of this flush.

    On its way to another process a column that is the same in all rows is one value, and lengths are narrow: 83 of some
    230 bytes of a box say nothing.
    """

    parts: Sequence[Any]
    numbering: Numbering
    first: int
    task_id: int
    set_id: int
    part: int

    @property
    def kind(self) -> str:
        """`shapes`, `tags`, …: a kind is called as its tables are."""
        return type(self.parts[0]).__name__.lower()

    def __reduce__(self) -> tuple[Any, ...]:
        parts = [(type(part), thin_columns(part)) for part in self.parts]
        return _job, (parts, self.numbering, self.first, self.task_id, self.set_id, self.part)


def _job(parts: Sequence[tuple[Any, dict[str, Any]]], *rest: Any) -> BlockJob:
    return BlockJob([kind(**full_columns(columns)) for kind, columns in parts], *rest)


def thin_columns(table: Table) -> dict[str, Any]:
    return {name: _thin(column) for name, column in table.columns().items()}


def full_columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: _full(*column) for name, column in columns.items()}


def _thin(column: Any) -> tuple[Any, ...]:
    """A column as it is sent: what it is, and its parts."""
    if isinstance(column, Kept):
        return "kept", thin_columns(column)
    if isinstance(column, np.ndarray):
        return ("same", len(column), column[0]) if is_constant(column) else ("as it is", column)
    if type(column) is Ragged:
        return "ragged", _thin(narrow_numbers(column.lengths)), column.values
    if type(column) is Texts:
        return "texts", _thin(column.codes), column.values
    return "as it is", column


def _full(kind: str, *parts: Any) -> Any:
    match kind:
        case "kept":
            return Kept(**full_columns(parts[0]))
        case "same":
            rows, value = parts
            return np.broadcast_to(value, rows)
        case "ragged":
            lengths = _full(*parts[0])
            offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
            np.cumsum(lengths, out=offsets[1:])
            return Ragged(parts[1], offsets)
        case "texts":
            return Texts(_full(*parts[0]), parts[1])
    return parts[0]


def count_unnumbered(parts: Sequence[Any], numbering: Numbering) -> int:
    """How many rows get an id of their own."""
    if numbering == "none":
        return 0
    return sum(len(part) if numbering == "new" else int((part.ids == 0).sum()) for part in parts)


def is_packed(parts: Sequence[Any]) -> bool:
    """Whether most bytes of some tables are packed rows, which are stored as they are."""
    packed = [part.runs.packed.nbytes for part in parts if isinstance(getattr(part, "runs", None), PackedRagged)]
    return bool(packed) and 2 * sum(packed) > sum(map(byte_size, parts))


def work_blocks(job: BlockJob) -> Blocks:
    """Number, sort and encode."""
    table = type(job.parts[0]).concatenate(job.parts)
    if job.numbering != "none" and hasattr(table, "ids"):
        table = _numbered(table, job.numbering, job.first)
    return encode_blocks(table, task_id=job.task_id, set_id=job.set_id, part=job.part)


def _numbered(table: Any, numbering: Numbering, first: int) -> Any:
    if numbering == "new":
        return table.replace(ids=np.arange(first, first + len(table), dtype=np.int64))
    ids: npt.NDArray[np.int64] = table.ids.copy()
    rows = np.flatnonzero(ids == 0)
    ids[rows] = np.arange(first, first + len(rows), dtype=np.int64)
    return table.replace(ids=ids)
