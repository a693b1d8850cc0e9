"""A Sink and a Source in memory: what a store does with annotations, without one.

`MemorySource` gives everything in ascending frames, in small batches, as the store does; frames that are deleted or
outside the target are left out. `edit` changes shapes or tags and sets the flags that the store would set.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Edit, FrameTable, Images, Rows, Shapes, ShapeType, Tags, Tracks
from app.columns import Texts
from app.formats import Picture

SET_ID = 1


class MemorySink:
    """Takes what a reader writes; `annotations()` is all of it with ids and the set's number."""

    def __init__(self, set_id: int = SET_ID) -> None:
        self.set_id = set_id
        self.batches: list[Annotations] = []
        self.pack = bytearray()
        self.document: dict[str, Any] = {}

    def write(self, batch: Annotations) -> None:
        self.batches.append(batch)

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        offset = len(self.pack)
        self.pack += data
        return offset, len(data), zlib.crc32(data)

    def extras(self, extras: Mapping[str, Any]) -> None:
        self.document = json.loads(json.dumps(extras))

    def annotations(self) -> Annotations:
        """Everything, each kind in ascending frames, otherwise in the order it came."""
        whole = Annotations.concatenate(self.batches) if self.batches else Annotations()
        return Annotations(
            shapes=_stored(whole.shapes, self.set_id),
            tags=_stored(whole.tags, self.set_id),
            tracks=whole.tracks,
            images=_stored(whole.images, self.set_id),
            rows=_stored(whole.rows, self.set_id),
        )


def _stored(table: Any, set_id: int) -> Any:
    table = table.take(np.argsort(table.frames, kind="stable"))
    columns: dict[str, Any] = {"kept": table.kept.replace(sets=np.full(len(table), set_id, dtype=np.int64))}
    if hasattr(table, "ids"):
        columns["ids"] = np.arange(1, len(table) + 1, dtype=np.int64)
    return table.replace(**columns)


class MemorySource:
    """Gives annotations as the store does.

    Args:
        packs: kept bytes by set; documents: extras by set.
        pictures: bytes by frame number.
        batch_frames: so many frames a batch; 0: a row a batch wherever the store may end one (`AnnotationReader`).
    """

    def __init__(
        self,
        annotations: Annotations,
        frames: FrameTable,
        packs: Mapping[int, bytes] | None = None,
        documents: Mapping[int, dict[str, Any]] | None = None,
        pictures: Mapping[int, bytes] | None = None,
        batch_frames: int = 2,
    ) -> None:
        self._all, self._frames = annotations, frames
        self._packs, self._documents = dict(packs or {}), dict(documents or {})
        self._pictures, self._batch_frames = dict(pictures or {}), batch_frames

    @classmethod
    def of_sink(
        cls, sink: MemorySink, frames: FrameTable, annotations: Annotations | None = None, **more: Any
    ) -> MemorySource:
        """What an import left, or the same with other annotations."""
        packs, documents = {sink.set_id: bytes(sink.pack)}, {sink.set_id: sink.document}
        return cls(annotations or sink.annotations(), frames, packs, documents, **more)

    def _batches(self, table: Any) -> Iterator[Any]:
        start = self._frames.start
        step = self._batch_frames or 1
        for first in range(start, start + len(self._frames), step):
            stop = min(first + step, start + len(self._frames))
            shown = ~self._frames.deleted[first - start : stop - start]
            inside = (table.frames >= first) & (table.frames < stop)
            inside[inside] = shown[table.frames[inside] - first]
            part = table.take(inside)
            part = part.take(np.argsort(part.frames, kind="stable"))
            if self._batch_frames == 0 and self._may_be_cut(part):
                yield from (part.take(np.array([row])) for row in range(len(part)))
            elif len(part):
                yield part

    def _may_be_cut(self, part: Any) -> bool:
        if isinstance(part, Shapes):
            are_boxes = (part.types == ShapeType.RECTANGLE) & (part.groups == 0) & (part.rotations == 0)
            return bool(are_boxes.all()) and not len(self._all.tracks)
        return isinstance(part, Tags | Rows)

    def images(self) -> Iterator[Images]:
        return self._batches(self._all.images)

    def subsets(self) -> Iterator[tuple[npt.NDArray[np.int32], Texts]]:
        for part in self.images():
            yield part.frames, part.subsets

    def only_subset(self) -> str | None:
        return None

    def part(self, wanted: npt.NDArray[np.bool_]) -> MemorySource:
        return self

    def tags(self) -> Iterator[Tags]:
        return self._batches(self._all.tags)

    def grouped_tags(self) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        for part in self.tags():
            yield part.frames[part.groups != 0], part.groups[part.groups != 0]

    def shapes(self) -> Iterator[Shapes]:
        return self._batches(self._all.shapes)

    def tracks(self) -> Tracks:
        return self._all.tracks

    def rows(self) -> Iterator[Rows]:
        return self._batches(self._all.rows)

    def extras(self) -> dict[int, dict[str, Any]]:
        return self._documents

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        data = self._packs[set_id][offset : offset + size]
        assert len(data) == size
        return data

    def picture(self, frame: int) -> Picture:
        data = self._pictures[frame]
        return Picture(len(data), lambda: iter([data[:3], data[3:]]))


def edited(table: Any, row: int, flags: Edit, **values: Any) -> Any:
    """A table of shapes or tags with some cells of one row changed, and the row's edit flags set."""
    columns: dict[str, Any] = {}
    for name, value in values.items():
        column = getattr(table, name)
        if isinstance(column, np.ndarray):
            column = column.copy()
            column[row] = value
        else:
            other = (
                type(column).from_list([value])
                if hasattr(column, "codes")
                else type(column).from_arrays([value], column.values.dtype)
            )
            order = np.arange(len(column))
            order[row] = len(column)
            column = type(column).concatenate([column, other]).take(order)
        columns[name] = column
    edits = table.kept.edits.copy()
    edits[row] |= flags
    return table.replace(kept=table.kept.replace(edits=edits), **columns)
