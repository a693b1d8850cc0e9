"""The frames of tasks: names, sizes, and where their pictures lie. Column blocks of 4096 frames.

A picture stays where the upload put it: in a *pack*, the staged body of an upload (a form, a zip, a tus file). Nothing
is copied picture by picture: 10,000 pictures are one blob and three rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import FrameTable
from app.blocks import decode_arrays, decode_ragged, encode_array, encode_ragged
from app.columns import LazyRagged, NarrowRagged, Ragged, distinct
from app.errors import AppError, Damaged, InvalidInput, NotFound
from app.storage.blobs import Blobs, BlobSource
from app.storage.changes import lock_task, touch_jobs, touch_task
from app.storage.database import Connection, Database
from app.storage.rows import Segment
from app.storage.schema import frame_blocks, packs, tasks

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

FRAMES_A_BLOCK = 4096
BLOCKS_AT_ONCE = 16
PLACE_DTYPES = {
    "packs": np.int32,
    "offsets": np.int64,
    "stored_sizes": np.int64,
    "sizes": np.int64,
    "methods": np.uint8,
    "crcs": np.int64,
    "orientations": np.uint8,
}


@dataclass(frozen=True, slots=True, eq=False)
class FramePlaces:
    """Where the pictures of N frames lie; row i is frame `start + i`.

    Attributes:
        packs: (N,) int32, index of the pack within the task.
        offsets: (N,) int64, where the picture's (possibly deflated) bytes begin in the pack.
        stored_sizes: (N,) int64, bytes in the pack.
        sizes: (N,) int64, bytes of the picture itself.
        methods: (N,) uint8, as in zip: 0 stored, 8 deflate.
        crcs: (N,) int64, CRC-32 of the picture; -1 where it is not known.
        orientations: (N,) uint8, EXIF orientation 1..8; 1 for upright.
    """

    packs: Int32s
    offsets: Int64s
    stored_sizes: Int64s
    sizes: Int64s
    methods: Bytes
    crcs: Int64s
    orientations: Bytes
    start: int = 0

    def __post_init__(self) -> None:
        for name, dtype in PLACE_DTYPES.items():
            column = getattr(self, name)
            if column.dtype != dtype or len(column) != len(self.packs):
                raise ValueError(
                    f"{name}: expected ({len(self.packs)},) {np.dtype(dtype)}, got {column.shape} {column.dtype}"
                )

    def __len__(self) -> int:
        return len(self.packs)


@dataclass(frozen=True, slots=True, eq=False)
class FrameColumns:
    """All frames of a task on their way in: `names` UTF-8 (N,), `widths`, `heights` (N,) int32, and the places."""

    names: Ragged
    widths: Int32s
    heights: Int32s
    places: FramePlaces

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.widths) == len(self.heights) == len(self.places):
            raise ValueError("frames: the columns differ in length")
        if self.widths.dtype != np.int32 or self.heights.dtype != np.int32:
            raise ValueError("frames: widths and heights are int32")

    def __len__(self) -> int:
        return len(self.names)


def insert_frames(conn: Connection, task_id: int, frames: FrameColumns) -> None:
    """Write the blocks of a task that has none yet; `tasks.attach_data` calls it."""
    values = []
    for block, start in enumerate(range(0, len(frames), FRAMES_A_BLOCK)):
        stop = min(start + FRAMES_A_BLOCK, len(frames))
        values.append(
            {
                "task_id": task_id,
                "block": block,
                "n_rows": stop - start,
                "names": encode_ragged(frames.names, start, stop),
                "widths": encode_array(frames.widths[start:stop]),
                "heights": encode_array(frames.heights[start:stop]),
                **{name: encode_array(getattr(frames.places, name)[start:stop]) for name in PLACE_DTYPES},
            }
        )
    if values:
        conn.execute(frame_blocks.insert(), values)


def add_packs(conn: Connection, task_id: int, bodies: Sequence[Sequence[Segment]]) -> tuple[int, ...]:
    """Make staged bytes the task's own, to live as long as the task. Returns the indices for `FramePlaces.packs`.

    Give it `upload.segments`; then `uploads.delete(conn, upload.id, keep_bytes=True)` in the same transaction.
    """
    first = conn.execute(
        sa.select(sa.func.coalesce(sa.func.max(packs.c.pack) + 1, 0)).where(packs.c.task_id == task_id)
    ).scalar_one()
    values = [
        {"task_id": task_id, "pack": first + index, "position": position, "key": segment.key, "size": segment.size}
        for index, body in enumerate(bodies)
        for position, segment in enumerate(body)
    ]
    if values:
        conn.execute(packs.insert(), values)
    return tuple(range(first, first + len(bodies)))


def pack_segments(conn: Connection, task_id: int, pack: int) -> tuple[Segment, ...]:
    """The blobs of a pack, one after the other. Raises NotFound."""
    chosen = sa.select(packs.c.key, packs.c.size).where(packs.c.task_id == task_id, packs.c.pack == pack)
    rows = conn.execute(chosen.order_by(packs.c.position)).all()
    if not rows:
        raise NotFound("pack", (task_id, pack))
    return tuple(Segment(row.key, row.size) for row in rows)


def open_pack(conn: Connection, blobs: Blobs, task_id: int, pack: int) -> BlobSource:
    """A pack as one source of bytes. Raises NotFound."""
    return blobs.open(pack_segments(conn, task_id, pack))


def load(
    conn: Connection,
    task_id: int,
    start: int = 0,
    stop: int | None = None,
    *,
    with_names: bool = True,
    names_later: bool = False,
) -> FrameTable:
    """Names, sizes and deleted flags of frames start to stop (None: to the end). Raises NotFound.

    Args:
        with_names: without their names (the larger part) all are called "".
        names_later: they are read when somebody looks at them, which must be within the same snapshot.
    """
    task = conn.execute(
        sa.select(tasks.c.size, tasks.c.mode, tasks.c.deleted_frames).where(tasks.c.id == task_id)
    ).one_or_none()
    if task is None:
        raise NotFound("task", task_id)
    start, stop = _clip(start, stop, task.size)
    numbers = _deleted(task.deleted_frames, start, stop)
    flags = np.zeros(stop - start, dtype=np.bool_)
    flags[numbers - start] = True
    widths, heights = (np.zeros(stop - start, dtype=np.int32) for _ in range(2))

    def pieces(*columns: str) -> Iterator[tuple[Sequence[Any], list[int], int, int]]:
        """Some blocks at a time, their rows, and which of those are asked for; the sizes are noted on the way."""
        at = start
        for first, rows in _pieces(conn, task_id, start, stop, columns):
            counts = [row.n_rows for row in rows]
            low, high = max(start - first, 0), min(stop - first, sum(counts))
            here = slice(at - start, at - start + high - low)
            if "widths" in columns:
                widths[here] = decode_arrays([row.widths for row in rows], counts, np.int32)[low:high]
                heights[here] = decode_arrays([row.heights for row in rows], counts, np.int32)[low:high]
            at += high - low
            yield rows, counts, low, high
        if at != stop:
            raise _missing(conn, task_id)

    def names(*more: str) -> Ragged:
        return NarrowRagged(
            decode_ragged([row.names for row in rows], counts, np.uint8).slice(low, high)
            for rows, counts, low, high in pieces("names", *more)
        )

    found: Ragged = Ragged.empty(np.uint8, stop - start)
    if with_names and not names_later:
        found = names("widths", "heights")
    else:
        for _ in pieces("widths", "heights"):
            pass
        found = LazyRagged(names, stop - start, np.uint8) if with_names else found
    return FrameTable(
        names=found,
        widths=widths,
        heights=heights,
        deleted=flags,
        start=start,
        is_video=task.mode == "interpolation",
    )


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """The sizes of a task's frames, read when somebody asks for some; pictures of a task never change."""

    database: Database
    task_id: int
    n_frames: int
    start: int = 0

    def __len__(self) -> int:
        return self.n_frames

    def sizes(self, frames: npt.NDArray[np.integer[Any]]) -> tuple[Int32s, Int32s]:
        """Widths and heights of frames by their numbers. Raises NotFound where the task is gone."""
        widths, heights = np.empty(len(frames), dtype=np.int32), np.empty(len(frames), dtype=np.int32)
        blocks = frames // FRAMES_A_BLOCK
        with self.database.read() as conn:
            for block in distinct(blocks).tolist():
                start = block * FRAMES_A_BLOCK
                table = load(conn, self.task_id, start, start + FRAMES_A_BLOCK, with_names=False)
                rows = np.flatnonzero(blocks == block)
                widths[rows], heights[rows] = table.sizes(frames[rows])
        return widths, heights


def _pieces(
    conn: Connection, task_id: int, start: int, stop: int, columns: Sequence[str]
) -> Iterator[tuple[int, Sequence[Any]]]:
    """The blocks of frames start to stop, some at a time, and the number of the first frame of those: the store's bytes
    of millions of names would be as many as the names."""
    if start >= stop:
        return
    at, last = start // FRAMES_A_BLOCK, (stop - 1) // FRAMES_A_BLOCK
    asked = (
        sa.select(frame_blocks.c.n_rows, *(frame_blocks.c[name] for name in columns))
        .where(frame_blocks.c.task_id == task_id, frame_blocks.c.block.between(at, last))
        .order_by(frame_blocks.c.block)
    )
    for rows in conn.execute(asked, execution_options={"yield_per": BLOCKS_AT_ONCE}).partitions():
        yield at * FRAMES_A_BLOCK, rows
        at += len(rows)


def load_places(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> FramePlaces:
    """Where the pictures of frames start to stop lie. Raises NotFound."""
    size = conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar()
    if size is None:
        raise NotFound("task", task_id)
    start, stop = _clip(start, stop, size)
    rows, first = _blocks(conn, task_id, start, stop, tuple(PLACE_DTYPES))
    counts = [row.n_rows for row in rows]
    columns = {
        name: decode_arrays([getattr(row, name) for row in rows], counts, dtype)[start - first : stop - first]
        for name, dtype in PLACE_DTYPES.items()
    }
    return FramePlaces(**columns, start=start)


def _clip(start: int, stop: int | None, size: int) -> tuple[int, int]:
    start = min(max(start, 0), size)
    return start, size if stop is None else min(max(stop, start), size)


def _blocks(conn: Connection, task_id: int, start: int, stop: int, columns: Sequence[str]) -> tuple[Sequence[Any], int]:
    """The blocks that hold frames start to stop, and the first frame of the first of them."""
    if start >= stop:
        return [], start
    first, last = start // FRAMES_A_BLOCK, (stop - 1) // FRAMES_A_BLOCK
    rows = [row for _, some in _pieces(conn, task_id, start, stop, columns) for row in some]
    if len(rows) != last - first + 1:
        raise _missing(conn, task_id)
    return rows, first * FRAMES_A_BLOCK


def _missing(conn: Connection, task_id: int) -> AppError:
    """Why there are less blocks than the task has: without a snapshot, it may be gone since it was looked at."""
    if conn.execute(sa.select(tasks.c.id).where(tasks.c.id == task_id)).one_or_none() is None:
        return NotFound("task", task_id)
    return Damaged(f"frames of task {task_id} are missing in the store")


def deleted(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> Int32s:
    """Ascending numbers of the deleted frames in the range. Raises NotFound."""
    task = conn.execute(sa.select(tasks.c.size, tasks.c.deleted_frames).where(tasks.c.id == task_id)).one_or_none()
    if task is None:
        raise NotFound("task", task_id)
    return _deleted(task.deleted_frames, *_clip(start, stop, task.size))


def _deleted(stored: bytes, start: int, stop: int) -> Int32s:
    numbers = np.frombuffer(stored, dtype="<i4").astype(np.int32)
    return numbers[np.searchsorted(numbers, start) : np.searchsorted(numbers, stop)]


def set_deleted(
    conn: Connection, task_id: int, numbers: npt.NDArray[np.integer[Any]], start: int = 0, stop: int | None = None
) -> None:
    """Replace the set of deleted frames within the range. Raises InvalidInput for a number outside of it."""
    start, stop = _clip(start, stop, lock_task(conn, task_id))
    outside = (numbers < start) | (numbers >= stop)
    if bool(outside.any()):
        number = int(numbers[outside][0])
        raise InvalidInput(f"there is no frame {number}; frames are {start} to {stop - 1}", place="deleted_frames")
    before = deleted(conn, task_id)
    kept = before[(before < start) | (before >= stop)]
    after = distinct(np.concatenate([kept, numbers.astype(np.int32)]))
    if np.array_equal(before, after):
        return
    conn.execute(tasks.update().where(tasks.c.id == task_id).values(deleted_frames=after.astype("<i4").tobytes()))
    touch_task(conn, task_id, data=True)
    touch_jobs(conn, task_id, np.setxor1d(before, after))
