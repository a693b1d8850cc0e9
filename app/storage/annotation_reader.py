"""One consistent state of a task's annotations, in batches, for exports.

Batches hold whole frames where it matters what else a frame has: images, and shapes of a frame that has masks or
groups, or of a task that has tracks. Those of tags, kept rows, points and plain boxes may end anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import sqlalchemy as sa

from app.annotations import Images, Rows, Shapes, Tags, Tracks
from app.blocks import BLOCK_BITS
from app.columns import Ragged, Texts, dump_tight
from app.errors import Damaged, NotFound
from app.storage import annotations as annotation_rows
from app.storage import frames as frame_rows
from app.storage.blobs import BlobSource
from app.storage.block_windows import Cuts
from app.storage.database import Connection
from app.storage.schema import annotation_sets, tasks
from app.storage.storage import Storage

BATCH_ROWS = 8_000
"""Rows held at once. Outlines have some 20 kB each, so this bounds memory; reading fewer at a time costs a little."""


class AnnotationReader:
    """One consistent state of a task's (or job's) annotations in ascending frames; all of `formats.Source` but
    pictures. Lives as long as the connection's transaction (`database.snapshot()`).

    Args:
        start, stop: the frames of a job; the whole task by default. Kept rows without a frame belong to the whole.
        skip_deleted: leave out deleted frames (tracks that begin on one stay: they cover others).
        frame_offset: added to every frame number that comes out (the tasks of a project in one target).
        batch_rows: about so many rows a batch.
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
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        size = conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar()
        if size is None:
            raise NotFound("task", task_id)
        self._conn = conn
        self._blobs = storage.blobs
        self._task_id = task_id
        self._start, self._stop = max(start, 0), size if stop is None else min(stop, size)
        self._is_whole = self._start == 0 and self._stop == size
        self._deleted = frame_rows.deleted(conn, task_id) if skip_deleted else np.empty(0, dtype=np.int32)
        self._frame_offset = frame_offset
        self._batch_rows = batch_rows
        self._packs: dict[int, BlobSource] = {}
        self._has_tracks: bool | None = None
        self._among: npt.NDArray[np.int64] | None = None

    def part(self, wanted: npt.NDArray[np.bool_]) -> AnnotationReader:
        """The same, which reads no block without a frame that is wanted, of those from start to stop (N,)."""
        self._cuts("shapes")  # asked once
        part = copy(self)
        blocks = (np.flatnonzero(wanted) + self._start) >> BLOCK_BITS
        part._among = blocks[np.flatnonzero(np.diff(blocks, prepend=-1))]  # ascending: a sort would take longer
        return part

    def images(self) -> Iterator[Images]:
        yield from self._pass("images")

    def subsets(self) -> Iterator[tuple[npt.NDArray[np.int32], Texts]]:
        """Frames and subsets of `images`, and nothing else of them."""
        for frames, subsets in annotation_rows.iterate_subsets(self._conn, self._task_id, self._start, self._stop):
            if len(self._deleted):
                stays = np.flatnonzero(~np.isin(frames, self._deleted))
                frames, subsets = frames[stays], subsets.take(stays)
            yield (frames + self._frame_offset).astype(np.int32), subsets

    def only_subset(self) -> str | None:
        """The subset of all that `images` gives, where all blocks tell the same one."""
        return annotation_rows.only_subset(self._conn, self._task_id, self._start, self._stop)

    def tags(self) -> Iterator[Tags]:
        yield from self._pass("tags")

    def grouped_tags(self) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Frames and groups of the tags that are in one."""
        for frames, groups in annotation_rows.grouped_tags(self._conn, self._task_id, self._start, self._stop):
            stays = np.flatnonzero(~np.isin(frames, self._deleted))
            yield (frames[stays] + self._frame_offset).astype(np.int32), groups[stays]

    def shapes(self) -> Iterator[Shapes]:
        yield from self._pass("shapes")

    def rows(self) -> Iterator[Rows]:
        yield from self._pass("rows")

    def tracks(self) -> Tracks:
        return self._tracks_of(self._start, self._stop)

    def earlier_tracks(self) -> Tracks:
        """Those that begin before the first frame: other jobs have them, though they may show on these frames, too."""
        return self._tracks_of(0, self._start) if self._start else Tracks.empty()

    def _tracks_of(self, start: int, stop: int) -> Tracks:
        loaded = annotation_rows.load(self._conn, self._task_id, start=start, stop=stop, kinds=("tracks",))
        tracks = loaded.tracks
        if self._frame_offset and len(tracks):
            bodies = [shift_frames(body, self._frame_offset) for body in tracks.bodies.to_bytes_list()]
            frames = (tracks.frames + self._frame_offset).astype(np.int32)
            tracks = tracks.replace(frames=frames, bodies=Ragged.from_bytes(bodies))
        return tracks

    def _pass(self, kind: str) -> Iterator[Any]:
        start = -1 if kind == "rows" and self._is_whole else self._start
        batches = annotation_rows.iterate(
            self._conn,
            self._task_id,
            start=start,
            stop=self._stop,
            kinds=(kind,),
            batch_rows=self._batch_rows,
            lazy=True,
            cuts=self._cuts(kind),
            among=self._among,
        )
        for batch in batches:
            table = getattr(batch, kind)
            if len(self._deleted):
                table = table.take(np.flatnonzero(~np.isin(table.frames, self._deleted)))
            if self._frame_offset:
                frames = table.frames
                table = table.replace(
                    frames=np.where(frames >= 0, frames + self._frame_offset, frames).astype(np.int32)
                )
            if len(table):
                yield table

    def _cuts(self, kind: str) -> Cuts:
        if kind == "images":
            return "never"
        if kind == "shapes" and self._has_tracks is None:
            weights = annotation_rows.weigh(self._conn, self._task_id, self._start, self._stop)
            self._has_tracks = "tracks" in weights
        return "never" if kind == "shapes" and self._has_tracks else "plain"

    def extras(self) -> dict[int, dict[str, Any]]:
        """The extras of every set, oldest first; an archive without a row may have left files and class names."""
        sets = annotation_sets
        rows = self._conn.execute(
            sa.select(sets.c.id, sets.c.extras)
            .where(sets.c.task_id == self._task_id, sets.c.state == "visible", sets.c.extras.is_not(None))
            .order_by(sets.c.id)
        )
        return {row.id: row.extras for row in rows}

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        """What `SetWriter.keep` took. Raises Damaged where it is gone."""
        source = self._packs.get(set_id)
        if source is None:
            chosen = sa.select(annotation_sets.c.kept_key).where(annotation_sets.c.id == set_id)
            key = self._conn.execute(chosen).scalar()
            try:
                if key is None:
                    raise NotFound("blob", set_id)
                source = self._packs[set_id] = self._blobs.open_key(key)
            except NotFound as error:
                raise Damaged(f"the bytes kept by import {set_id} are gone") from error
        data = source.read_at(offset, size)
        if len(data) != size:
            raise Damaged(f"the bytes kept by import {set_id} are cut off")
        return data

    def close(self) -> None:
        """Give back open files."""
        for source in self._packs.values():
            source.close()
        self._packs = {}


def shift_frames(body: bytes, offset: int) -> bytes:
    """A track's JSON with every frame number raised."""
    document = orjson.loads(body)

    def shift(track: dict[str, Any]) -> None:
        for shape in track.get("shapes", ()):
            shape["frame"] += offset
        for element in track.get("elements", ()):
            if "frame" in element:
                element["frame"] += offset
            shift(element)

    shift(document)
    return dump_tight(document)
