"""The frames of tasks: names, sizes, and where their pictures lie. Column blocks of 4096 frames.

A picture stays where the upload put it: in a *pack*, the staged body of an upload (a form, a zip, a tus file).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import FrameTable
from app.columns import Ragged
from app.storage.blobs import Blobs, BlobSource
from app.storage.database import Connection
from app.storage.rows import Segment

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


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

    def __len__(self) -> int:
        return len(self.packs)


@dataclass(frozen=True, slots=True, eq=False)
class FrameColumns:
    """All frames of a task on their way in: `names` UTF-8 (N,), `widths`, `heights` (N,) int32, and the places."""

    names: Ragged
    widths: Int32s
    heights: Int32s
    places: FramePlaces

    def __len__(self) -> int:
        return len(self.names)


def add_packs(conn: Connection, task_id: int, packs: Sequence[Sequence[Segment]]) -> tuple[int, ...]:
    """Make staged bytes the task's own, to live as long as the task. Returns the indices for `FramePlaces.packs`.

    Give it `upload.segments`; then `uploads.delete(conn, upload.id, keep_bytes=True)` in the same transaction.
    """
    raise NotImplementedError


def open_pack(conn: Connection, blobs: Blobs, task_id: int, pack: int) -> BlobSource:
    """A pack as one source of bytes. Raises NotFound."""
    raise NotImplementedError


def load(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> FrameTable:
    """Names, sizes and deleted flags of frames start to stop (None: to the end)."""
    raise NotImplementedError


def load_places(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> FramePlaces:
    """Where the pictures of frames start to stop lie."""
    raise NotImplementedError


def deleted(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> Int32s:
    """Ascending numbers of the deleted frames in the range."""
    raise NotImplementedError


def set_deleted(
    conn: Connection, task_id: int, numbers: npt.NDArray[np.integer[Any]], start: int = 0, stop: int | None = None
) -> None:
    """Replace the set of deleted frames within the range. Raises InvalidInput for a number outside of it."""
    raise NotImplementedError
