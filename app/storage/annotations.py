"""The annotations of tasks as column blocks: 64 frames a block, one blob a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Images, Rows, Shapes, Tags, Tracks
from app.storage.database import Connection
from app.storage.storage import Storage

KINDS = ("shapes", "tags", "tracks", "images", "rows")
Ids = npt.NDArray[np.int64]


class SetWriter:
    """Writes one import into a set that nobody sees until `publish`; a `formats.Sink`.

        with begin_set(storage, task_id) as writer:
            …writer.write(batch), writer.keep(png), writer.extras(document)…
            writer.close()
            with storage.database.write() as conn:
                publish(conn, writer.set_id, mode="replace")

    Leaving the block without a publish discards the set.
    """

    set_id: int
    task_id: int

    def write(self, batch: Annotations) -> None:
        """Take a batch; ids are given by the store. Rows of frames outside the task: InvalidInput."""
        raise NotImplementedError

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        """Keep bytes; (offset, size, crc32)."""
        raise NotImplementedError

    def extras(self, extras: Mapping[str, Any]) -> None:
        """The format's own document about this import (replaces an earlier one)."""
        raise NotImplementedError

    def close(self) -> dict[str, int]:
        """Write what is buffered and make the kept bytes durable. Returns rows by kind."""
        raise NotImplementedError

    def discard(self) -> None:
        """Forget everything that was written; harmless after publish."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError


def begin_set(storage: Storage, task_id: int) -> SetWriter:
    """A writer for one import into the task."""
    raise NotImplementedError


def publish(
    conn: Connection, set_id: int, *, mode: str = "replace", start: int = 0, stop: int | None = None
) -> None:
    """Make a closed set visible, all at once, in the caller's transaction.

    Args:
        mode: `replace` drops every other annotation, image and kept row of frames start to stop; `append` adds.
        start, stop: the frames of a job; the whole task by default. The set must hold no other frames.
    """
    raise NotImplementedError


class AnnotationReader:
    """One consistent state of a task's (or job's) annotations in ascending frames; all of `formats.Source` but
    pictures. Lives as long as the connection's transaction (`database.snapshot()`).

    Attributes:
        frame_offset: added to every frame number that comes out (the tasks of a project in one target).
    """

    def __init__(
        self,
        conn: Connection,
        storage: Storage,
        task_id: int,
        *,
        start: int = 0,
        stop: int | None = None,
        skip_deleted: bool = True,
        frame_offset: int = 0,
        batch_rows: int = 100_000,
    ) -> None:
        raise NotImplementedError

    def images(self) -> Iterator[Images]:
        raise NotImplementedError

    def tags(self) -> Iterator[Tags]:
        raise NotImplementedError

    def shapes(self) -> Iterator[Shapes]:
        raise NotImplementedError

    def tracks(self) -> Tracks:
        raise NotImplementedError

    def rows(self) -> Iterator[Rows]:
        raise NotImplementedError

    def extras(self) -> dict[int, dict[str, Any]]:
        """The extras of every set still in use, oldest first."""
        raise NotImplementedError

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        """What `SetWriter.keep` took. Raises Damaged where it is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back open files."""
        raise NotImplementedError


def load(
    conn: Connection,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    kinds: Sequence[str] = ("shapes", "tags", "tracks"),
) -> Annotations:
    """The annotations of frames start to stop, ascending frames, then the order they came in. A track belongs to the
    frame it begins on."""
    raise NotImplementedError


def iterate(
    conn: Connection,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    kinds: Sequence[str] = ("shapes", "tags", "tracks"),
    batch_rows: int = 100_000,
) -> Iterator[Annotations]:
    """The same as `load` in batches of whole blocks: ascending, disjoint frame ranges, about `batch_rows` rows each."""
    raise NotImplementedError


def replace_all(
    conn: Connection, task_id: int, new: Annotations, *, start: int = 0, stop: int | None = None
) -> Annotations:
    """JSON PUT: shapes, tags and tracks of the range become exactly `new`; images and kept rows stay.

    A row of `new` whose id exists in the range, in the same kind, continues that row: it keeps its `kept`, and `edits`
    tells what differs. Any other id is ignored and given anew.

    Returns:
        What is stored, with ids.

    Raises:
        InvalidInput: a frame outside of the range.
    """
    raise NotImplementedError


def append(conn: Connection, task_id: int, new: Annotations, *, start: int = 0, stop: int | None = None) -> Annotations:
    """PATCH create: add; ids are given anew. Returns what was added, with ids. Raises InvalidInput as above."""
    raise NotImplementedError


def update(conn: Connection, task_id: int, new: Annotations, *, start: int = 0, stop: int | None = None) -> Annotations:
    """PATCH update: rows replace those of the same id and kind, continuing them. Returns what is stored.

    Raises:
        InvalidInput: a frame outside of the range.
        NotFound: an id that is not in the range.
    """
    raise NotImplementedError


def delete(conn: Connection, task_id: int, ids: Mapping[str, Ids], *, start: int = 0, stop: int | None = None) -> int:
    """PATCH delete: remove rows by kind (`shapes`, `tags`, `tracks`) and id; unknown ids are fine. Returns how many."""
    raise NotImplementedError


def clear(conn: Connection, task_id: int, *, start: int = 0, stop: int | None = None) -> None:
    """DELETE: shapes, tags and tracks of the range go, and with them images and kept rows of imports."""
    raise NotImplementedError


def counts(conn: Connection, task_id: int) -> dict[str, int]:
    """Rows of the whole task by kind."""
    raise NotImplementedError
