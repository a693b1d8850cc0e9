"""One import into several tasks that stand one after the other: every row goes to the task of its frame.

    frames of the import    0 …… 9 | 10 …… 24 | 25 …
    tasks                   A      | B        | C …       each with a set of its own, its frames from 0

Kept bytes are one blob which all of the sets name, for a reader does not tell whose they are; so is the document.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import Annotations
from app.blocks import frames_of
from app.columns import Ragged, distinct
from app.storage.annotation_reader import shift_frames
from app.storage.blobs import BlobWriter
from app.storage.block_rows import KINDS
from app.storage.set_writer import BUFFER_BYTES, SetWriter, begin_set
from app.storage.storage import Storage


class SplitWriter:
    """A `formats.Sink` over the sets of several tasks; publish each of `set_ids`. Leaving the block discards the rest.

    Args:
        parts: (task id, its number of frames), in the order of the import's frames.
    """

    def __init__(self, storage: Storage, parts: Sequence[tuple[int, int]]) -> None:
        self._storage = storage
        self._writers: list[SetWriter] = [begin_set(storage, task_id) for task_id, _ in parts]
        sizes = np.array([size for _, size in parts], dtype=np.int64)
        self._firsts = np.cumsum(sizes) - sizes  # (T,) the import's frame that is frame 0 of each task
        self._kept: BlobWriter | None = None

    @property
    def set_ids(self) -> list[int]:
        return [writer.set_id for writer in self._writers]

    def write(self, batch: Annotations) -> None:
        """Take a batch. Rows without a frame (-1) go to the first task."""
        for kind in KINDS:
            table = getattr(batch, kind)
            if len(table) == 0:
                continue
            owners = np.searchsorted(self._firsts, frames_of(table), side="right") - 1
            owners = np.maximum(owners, 0)
            for owner in distinct(owners).tolist():
                rows = table.take(np.flatnonzero(owners == owner))
                self._writers[owner].write(Annotations(**{kind: _moved(kind, rows, int(self._firsts[owner]))}))
        if sum(writer.waiting_bytes for writer in self._writers) >= BUFFER_BYTES:
            for writer in self._writers:
                writer.flush()

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        """Keep bytes; (offset, size, crc32)."""
        if self._kept is None:
            self._kept = self._storage.blobs.open_writer(f"kept/{self.set_ids[0]}-{secrets.token_hex(8)}")
        offset = self._kept.size
        self._kept.write(data)
        return offset, self._kept.size - offset, isal_zlib.crc32(data)

    def extras(self, extras: Mapping[str, Any]) -> None:
        """The format's own document about this import."""
        for writer in self._writers:
            writer.extras(extras)

    def close(self) -> dict[str, int]:
        """Write what is buffered and make the kept bytes durable. Returns rows by kind."""
        if self._kept is not None:
            size = self._kept.finish()
            for writer in self._writers:
                writer.share(self._kept.key, size)
        counts = [writer.close() for writer in self._writers]
        return {kind: sum(count[kind] for count in counts) for kind in KINDS}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is not None:
            self._kept.abort()
        for writer in self._writers:
            writer.discard()


def _moved(kind: str, table: Any, first: int) -> Any:
    """The same rows, with the frames of their task."""
    if first == 0:
        return table
    frames: npt.NDArray[np.int32] = (frames_of(table) - first).astype(np.int32)
    if kind == "tracks":
        bodies = [shift_frames(body, -first) for body in table.bodies.to_bytes_list()]
        return table.replace(frames=frames, bodies=Ragged.from_bytes(bodies))
    return table.replace(frames=frames)
