"""What the annotations of a task, a job or a project refer to, and where they are read from."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import FrameTable, Images, LabelCatalog, Rows, Shapes, Tags, Tracks
from app.columns import Ragged, Texts, dump_tight
from app.errors import Damaged, InvalidInput
from app.formats import Picture, Target
from app.storage import AnnotationReader, BlobSource, Connection, Storage, frames, jobs, labels, projects, tasks

FrameNumbers = npt.NDArray[np.int32]

CHUNK_BYTES = 1 << 20
DEFLATED = 8


@dataclass(frozen=True, slots=True)
class Before:
    """What a task was like as an import of it began."""

    labels: LabelCatalog
    revision: int


def task_target(
    conn: Connection, task_id: int, start: int = 0, stop: int | None = None, *, names_later: bool = False
) -> Target:
    """The frames (of a task, or from start to stop) and labels that annotations may name.

    Args:
        names_later: the names of frames are read when they are needed, within the same snapshot.

    Raises:
        InvalidInput: the task has no data yet.
    """
    task = tasks.load(conn, task_id)
    if not task.has_data:
        raise InvalidInput(f"task {task_id} has no data yet; upload its pictures first")
    table = frames.load(conn, task_id, start, stop, names_later=names_later).narrow()
    subsets = Texts.same(task.subset, len(table))
    return Target(table, labels.of_task(conn, task_id), subsets, task.name, is_part=len(table) < task.size)


def project_target(conn: Connection, project_id: int) -> tuple[Target, list[tuple[int, int]]]:
    """All frames of the project's tasks that have data, one after the other, and (task id, first frame) of each."""
    project = projects.load(conn, project_id)
    parts, places, subsets, first = [], [], [], 0
    for task_id in projects.task_ids(conn, project_id):
        task = tasks.load(conn, task_id)
        if task.has_data:
            parts.append(frames.load(conn, task_id))
            places.append((task_id, first))
            subsets.append(Texts.same(task.subset, task.size))
            first += task.size
    if not parts:
        raise InvalidInput(f"project {project_id} has no task with data yet")
    table = FrameTable(
        Ragged.concatenate([part.names for part in parts]),
        np.concatenate([part.widths for part in parts]),
        np.concatenate([part.heights for part in parts]),
        np.concatenate([part.deleted for part in parts]),
    )
    target = Target(table, labels.of_project(conn, project_id), Texts.concatenate(subsets), project.name)
    return target, places


def job_range(conn: Connection, job_id: int | None) -> tuple[int, int | None]:
    """Frames of a job as start, stop (exclusive); without a job the whole task."""
    return jobs.load(conn, job_id).frame_range if job_id is not None else (0, None)


class TaskSource:
    """A `formats.Source`: the store's annotation reader, and the pictures of the frames.

    Reads one consistent state as long as the connection's transaction lives; give it a snapshot.
    """

    def __init__(
        self,
        conn: Connection,
        storage: Storage,
        task_id: int,
        start: int = 0,
        stop: int | None = None,
        frame_offset: int = 0,
    ) -> None:
        self._conn, self._storage, self._task_id = conn, storage, task_id
        self._frame_offset = frame_offset
        self._reader = AnnotationReader(conn, storage, task_id, start=start, stop=stop, frame_offset=frame_offset)
        self._start, self._stop = start, stop
        self._packs: dict[int, BlobSource] = {}

    @cached_property
    def _places(self) -> frames.FramePlaces:
        """For those who want pictures: as large as the names of all frames."""
        return frames.load_places(self._conn, self._task_id, self._start, self._stop)

    def images(self) -> Iterator[Images]:
        return self._reader.images()

    def part(self, wanted: npt.NDArray[np.bool_]) -> TaskSource:
        """Blocks without a frame that is wanted are passed over."""
        part = copy(self)
        part._reader = self._reader.part(wanted)
        return part

    def subsets(self) -> Iterator[tuple[FrameNumbers, Texts]]:
        return self._reader.subsets()

    def only_subset(self) -> str | None:
        return self._reader.only_subset()

    def tags(self) -> Iterator[Tags]:
        return self._reader.tags()

    def grouped_tags(self) -> Iterator[tuple[FrameNumbers, FrameNumbers]]:
        return self._reader.grouped_tags()

    def shapes(self) -> Iterator[Shapes]:
        return self._reader.shapes()

    def tracks(self) -> Tracks:
        return self._reader.tracks()

    def earlier_tracks(self) -> Tracks:
        """Those that begin before the first frame."""
        return self._reader.earlier_tracks()

    def rows(self) -> Iterator[Rows]:
        return self._reader.rows()

    def extras(self) -> dict[int, dict[str, Any]]:
        return self._reader.extras()

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        return self._reader.kept_bytes(set_id, offset, size)

    def picture(self, frame: int) -> Picture:
        """The picture of a frame as it was uploaded."""
        row = frame - self._frame_offset - self._places.start
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


class ProjectSource:
    """The tasks of a project, one after the other, as one `formats.Source`."""

    def __init__(self, conn: Connection, storage: Storage, places: Sequence[tuple[int, int]]) -> None:
        self._firsts = [first for _, first in places]
        self._sources = [TaskSource(conn, storage, task_id, frame_offset=first) for task_id, first in places]
        self._of_set = {set_id: source for source in self._sources for set_id in source.extras()}
        self._passed = self._sources  # those that images, tags and shapes are read of

    def part(self, wanted: npt.NDArray[np.bool_]) -> ProjectSource:
        """Tasks without a frame that is wanted are passed over: each query of one costs milliseconds."""
        stops = [*self._firsts[1:], len(wanted)]
        part = copy(self)
        part._passed = [
            source if wanted[first:stop].all() else source.part(wanted[first:stop])
            for source, first, stop in zip(self._sources, self._firsts, stops, strict=True)
            if wanted[first:stop].any()
        ]
        return part

    def images(self) -> Iterator[Images]:
        return chain.from_iterable(source.images() for source in self._passed)

    def subsets(self) -> Iterator[tuple[FrameNumbers, Texts]]:
        return chain.from_iterable(source.subsets() for source in self._sources)

    def only_subset(self) -> str | None:
        found = {source.only_subset() for source in self._sources}
        return found.pop() if len(found) == 1 else None

    def tags(self) -> Iterator[Tags]:
        return chain.from_iterable(source.tags() for source in self._passed)

    def grouped_tags(self) -> Iterator[tuple[FrameNumbers, FrameNumbers]]:
        return chain.from_iterable(source.grouped_tags() for source in self._sources)

    def shapes(self) -> Iterator[Shapes]:
        return chain.from_iterable(source.shapes() for source in self._passed)

    def tracks(self) -> Tracks:
        """Each ends with its task: in one row of frames it would go on into the next."""
        stops = [*self._firsts[1:], None]
        return Tracks.concatenate(
            [_ended(source.tracks(), stop) for source, stop in zip(self._sources, stops, strict=True)]
        )

    def rows(self) -> Iterator[Rows]:
        return chain.from_iterable(source.rows() for source in self._passed)

    def extras(self) -> dict[int, dict[str, Any]]:
        return {set_id: extras for source in self._sources for set_id, extras in source.extras().items()}

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        return self._of_set[set_id].kept_bytes(set_id, offset, size)

    def picture(self, frame: int) -> Picture:
        return self._sources[bisect_right(self._firsts, frame) - 1].picture(frame)

    def close(self) -> None:
        for source in self._sources:
            source.close()


def _ended(tracks: Tracks, stop: int | None) -> Tracks:
    """Tracks that are outside from frame `stop` on."""
    if stop is None or not len(tracks):
        return tracks

    def end(part: dict[str, Any]) -> None:
        if part.get("shapes"):
            part["shapes"].append({**part["shapes"][-1], "frame": stop, "outside": True})
        for element in part.get("elements") or ():
            end(element)

    bodies = []
    for text in tracks.bodies.to_bytes_list():
        body = orjson.loads(text)
        end(body)
        bodies.append(dump_tight(body))
    return tracks.replace(bodies=Ragged.from_bytes(bodies))


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
