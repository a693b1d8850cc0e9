"""What the annotations of a task, a job or a project refer to, and where they are read from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from app.annotations import Images, Rows, Shapes, Tags, Tracks
from app.columns import Texts
from app.errors import Damaged, InvalidInput
from app.formats import Picture, Target
from app.storage import AnnotationReader, BlobSource, Connection, Storage, frames, jobs, labels, tasks

CHUNK_BYTES = 1 << 20
DEFLATED = 8


def task_target(conn: Connection, task_id: int, start: int = 0, stop: int | None = None) -> Target:
    """The frames (of a task, or from start to stop) and labels that annotations may name.

    Raises:
        InvalidInput: the task has no data yet.
    """
    task = tasks.load(conn, task_id)
    if not task.has_data:
        raise InvalidInput(f"task {task_id} has no data yet; upload its pictures first")
    table = frames.load(conn, task_id, start, stop)
    return Target(table, labels.of_task(conn, task_id), Texts.same(task.subset, len(table)), task.name)


def job_range(conn: Connection, job_id: int | None) -> tuple[int, int | None]:
    """Frames of a job as start, stop (exclusive); without a job the whole task."""
    return jobs.load(conn, job_id).frame_range if job_id is not None else (0, None)


class TaskSource:
    """A `formats.Source`: the store's annotation reader, and the pictures of the frames.

    Reads one consistent state as long as the connection's transaction lives; give it a snapshot.
    """

    def __init__(
        self, conn: Connection, storage: Storage, task_id: int, start: int = 0, stop: int | None = None
    ) -> None:
        self._conn, self._storage, self._task_id = conn, storage, task_id
        self._reader = AnnotationReader(conn, storage, task_id, start=start, stop=stop)
        self._places = frames.load_places(conn, task_id, start, stop)
        self._packs: dict[int, BlobSource] = {}

    def images(self) -> Iterator[Images]:
        return self._reader.images()

    def tags(self) -> Iterator[Tags]:
        return self._reader.tags()

    def shapes(self) -> Iterator[Shapes]:
        return self._reader.shapes()

    def tracks(self) -> Tracks:
        return self._reader.tracks()

    def rows(self) -> Iterator[Rows]:
        return self._reader.rows()

    def extras(self) -> dict[int, dict[str, Any]]:
        return self._reader.extras()

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        return self._reader.kept_bytes(set_id, offset, size)

    def picture(self, frame: int) -> Picture:
        """The picture of a frame as it was uploaded."""
        row = frame - self._places.start
        pack = int(self._places.packs[row])
        if pack not in self._packs:
            self._packs[pack] = frames.open_pack(self._conn, self._storage.blobs, self._task_id, pack)
        source = self._packs[pack]
        offset, stored = int(self._places.offsets[row]), int(self._places.stored_sizes[row])
        deflated = int(self._places.methods[row]) == DEFLATED
        return Picture(
            size=int(self._places.sizes[row]),
            chunks=lambda: _inflate(source, offset, stored) if deflated else _stretch(source, offset, stored),
        )

    def close(self) -> None:
        self._reader.close()
        for source in self._packs.values():
            source.close()


def _stretch(source: BlobSource, offset: int, size: int) -> Iterator[bytes]:
    while size > 0:
        chunk = source.read_at(offset, min(size, CHUNK_BYTES))
        if not chunk:
            raise Damaged("a picture's bytes are cut short in the store")
        yield chunk
        offset, size = offset + len(chunk), size - len(chunk)


def _inflate(source: BlobSource, offset: int, size: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-15)
    for chunk in _stretch(source, offset, size):
        yield inflater.decompress(chunk)
    yield inflater.flush()
