"""The internal truth: annotations as columns, one value a row in every column.

    Shapes   one row a shape on one frame (rectangle, polygon, polyline, points, ellipse, cuboid, mask, skeleton)
    Tags     one row a tag of one frame
    Tracks   one row a track; its key frames are one JSON text a row (tracks are few, and no table of a format has them)
    Images   one row a frame that an archive said something about: the id and the subset it came with, the kept line
    Rows     kept lines of a table that no annotation shows (a hidden negative label, an empty mask, a relationship …)

`Kept` stands beside Shapes, Tags, Images and Rows: what an imported row said, to the letter, so that an archive comes
back as it was. A row that never was in an archive has table -1.

Conventions: pixels of the upright frame, (0, 0) the outer corner of the top left pixel, x right, y down. `frames` are
CVAT's frame numbers of the task. `ids` are 0 until the store has given them. A mask's `runs` are CVAT's: lengths of
alternating runs of its box, row by row, zeros first, then left, top, right, bottom (inclusive); its `points` are empty.
`attributes` are JSON texts `[{"spec_id":3,"value":"left"},…]` in ascending spec_id, without spaces; they hold what was
set, not the defaults. `elements` are JSON texts of a skeleton's elements (empty for every other type).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum, IntFlag
from functools import cache
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from app.columns import Indices, Ragged, Texts

Ints = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]


class ShapeType(IntEnum):
    """CVAT's shape types, as stored. Numbers are part of the stored data: never renumber."""

    RECTANGLE = 0
    POLYGON = 1
    POLYLINE = 2
    POINTS = 3
    ELLIPSE = 4
    CUBOID = 5
    MASK = 6
    SKELETON = 7


class Edit(IntFlag):
    """What was changed of an annotation since its row was imported. Numbers are stored: never renumber.

    PART is no change: the mask shows a part of its row, whose PNG has the pixels of other shapes, too.
    """

    NONE = 0
    GEOMETRY = 1
    LABEL = 2
    ATTRIBUTES = 4
    OCCLUDED = 8
    GROUP = 16
    PART = 32


class Table:
    """Shared by all tables here: equal lengths, rows by index, concatenation. Columns are arrays, Ragged or Texts."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(getattr(self, self.column_names()[0]))

    @classmethod
    @cache
    def column_names(cls) -> tuple[str, ...]:
        """Of the columns. Looking the fields up each time took a fifth of what it takes to save a frame."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]

    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.column_names()}

    def take(self, indices: Indices | Flags) -> Self:
        """The rows at `indices` (a boolean mask works too), in that order."""
        if indices.dtype == np.bool_:
            indices = np.flatnonzero(indices)
        return type(self)(
            **{n: c[indices] if isinstance(c, np.ndarray) else c.take(indices) for n, c in self.columns().items()}
        )

    def slice(self, start: int, stop: int) -> Self:
        """Rows start to stop, sharing their bytes."""
        return type(self)(
            **{
                n: c[start:stop] if isinstance(c, np.ndarray) else c.slice(start, stop)
                for n, c in self.columns().items()
            }
        )

    def replace(self, **columns: Any) -> Self:
        return replace(self, **columns)  # type: ignore[type-var]

    def with_values_once(self) -> Self:
        """The same rows; a column that says the same in all of them holds that once, and nobody may write into it."""
        return type(self)(**{name: _once(column) for name, column in self.columns().items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of the parts, in order. No part at all is the empty table."""
        if not parts:
            return cls.empty()
        if len(parts) == 1:
            return parts[0]
        columns = {}
        for name, first in parts[0].columns().items():
            columns_of_parts = [getattr(part, name) for part in parts]
            if isinstance(first, np.ndarray):
                columns[name] = np.concatenate(columns_of_parts)
            else:
                columns[name] = type(first).concatenate(columns_of_parts)
        return cls(**columns)

    @classmethod
    def empty(cls, rows: int = 0) -> Self:
        """A table of `rows` rows with the neutral value in every column."""
        raise NotImplementedError

    def _check(self, **dtypes: npt.DTypeLike) -> None:
        rows = len(self)
        for name in self.column_names():
            column = getattr(self, name)
            if len(column) != rows:
                raise ValueError(f"{type(self).__name__}.{name}: expected {rows} rows, got {len(column)}")
            dtype = dtypes.get(name)
            if dtype is not None and column.dtype != dtype:
                raise ValueError(f"{type(self).__name__}.{name}: expected {np.dtype(dtype)}, got {column.dtype}")


def _once(column: Any) -> Any:
    if isinstance(column, Table):
        return column.with_values_once()
    if type(column) is Texts:
        return Texts(_once(column.codes), column.values)
    if type(column) is Ragged and not len(column.values):
        return Ragged(column.values, _once(column.offsets))
    if isinstance(column, np.ndarray) and len(column) > 1:
        whole = column.view(np.int64) if column.dtype == np.float64 else column  # -0.0 is not 0.0
        if (whole == whole[0]).all():
            return np.broadcast_to(column[:1].copy(), column.shape)
    return column


@dataclass(frozen=True, slots=True, eq=False)
class Kept(Table):
    """What imported rows said, beside the annotation that shows them.

    Attributes:
        tables: (N,) int32, index into the tables of the set's extras; -1 for a row that was never imported.
        lines: (N,) bytes, the record as it stood in its table, without its line end (quoted line breaks included).
        edits: (N,) uint8, `Edit` flags: what changed since; `changes` are these without PART.
        png_offsets: (N,) int64, where the mask's original PNG lies in the set's pack; -1 for none.
        png_sizes: (N,) int64, bytes.
        png_crcs: (N,) uint32, CRC-32 of the PNG, as a zip entry needs it.
        sets: (N,) int64, the annotation set that `tables` and the pack belong to; the store fills it in.
    """

    tables: Ints
    lines: Ragged
    edits: npt.NDArray[np.uint8]
    png_offsets: Ids
    png_sizes: Ids
    png_crcs: npt.NDArray[np.uint32]
    sets: Ids

    def __post_init__(self) -> None:
        self._check(
            tables=np.int32,
            lines=np.uint8,
            edits=np.uint8,
            png_offsets=np.int64,
            png_sizes=np.int64,
            png_crcs=np.uint32,
            sets=np.int64,
        )

    @property
    def changes(self) -> npt.NDArray[np.uint8]:
        """(N,) `Edit` flags of what was done to the rows."""
        return self.edits & ~np.uint8(Edit.PART)

    @classmethod
    def empty(cls, rows: int = 0) -> Kept:
        return cls(
            tables=np.full(rows, -1, dtype=np.int32),
            lines=Ragged.empty(np.uint8, rows),
            edits=np.zeros(rows, dtype=np.uint8),
            png_offsets=np.full(rows, -1, dtype=np.int64),
            png_sizes=np.zeros(rows, dtype=np.int64),
            png_crcs=np.zeros(rows, dtype=np.uint32),
            sets=np.zeros(rows, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shapes(Table):
    """One row a shape on one frame; see the module for the conventions."""

    ids: Ids
    frames: Ints
    types: npt.NDArray[np.uint8]
    label_ids: Ints
    groups: Ints
    z_orders: Ints
    occluded: Flags
    outside: Flags
    rotations: Reals
    scores: Reals
    sources: Texts
    attributes: Texts
    points: Ragged
    runs: Ragged
    elements: Ragged
    kept: Kept

    def __post_init__(self) -> None:
        self._check(
            ids=np.int64,
            frames=np.int32,
            types=np.uint8,
            label_ids=np.int32,
            groups=np.int32,
            z_orders=np.int32,
            occluded=np.bool_,
            outside=np.bool_,
            rotations=np.float64,
            scores=np.float64,
            points=np.float64,
            runs=np.int32,
            elements=np.uint8,
        )

    @classmethod
    def empty(cls, rows: int = 0) -> Shapes:
        return cls(
            ids=np.zeros(rows, dtype=np.int64),
            frames=np.zeros(rows, dtype=np.int32),
            types=np.zeros(rows, dtype=np.uint8),
            label_ids=np.zeros(rows, dtype=np.int32),
            groups=np.zeros(rows, dtype=np.int32),
            z_orders=np.zeros(rows, dtype=np.int32),
            occluded=np.zeros(rows, dtype=np.bool_),
            outside=np.zeros(rows, dtype=np.bool_),
            rotations=np.zeros(rows, dtype=np.float64),
            scores=np.ones(rows, dtype=np.float64),
            sources=Texts.same("manual", rows),
            attributes=Texts.same("[]", rows),
            points=Ragged.empty(np.float64, rows),
            runs=Ragged.empty(np.int32, rows),
            elements=Ragged.empty(np.uint8, rows),
            kept=Kept.empty(rows),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tags(Table):
    """One row a tag of one frame."""

    ids: Ids
    frames: Ints
    label_ids: Ints
    groups: Ints
    sources: Texts
    attributes: Texts
    kept: Kept

    def __post_init__(self) -> None:
        self._check(ids=np.int64, frames=np.int32, label_ids=np.int32, groups=np.int32)

    @classmethod
    def empty(cls, rows: int = 0) -> Tags:
        return cls(
            ids=np.zeros(rows, dtype=np.int64),
            frames=np.zeros(rows, dtype=np.int32),
            label_ids=np.zeros(rows, dtype=np.int32),
            groups=np.zeros(rows, dtype=np.int32),
            sources=Texts.same("manual", rows),
            attributes=Texts.same("[]", rows),
            kept=Kept.empty(rows),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tracks(Table):
    """One row a track.

    Attributes:
        frames: (N,) int32, the first frame.
        attributes: the immutable ones.
        bodies: (N,) bytes, JSON `{"shapes":[…],"elements":[…]}` as in CVAT's LabeledData, shapes in frame order.
    """

    ids: Ids
    frames: Ints
    label_ids: Ints
    groups: Ints
    sources: Texts
    attributes: Texts
    bodies: Ragged

    def __post_init__(self) -> None:
        self._check(ids=np.int64, frames=np.int32, label_ids=np.int32, groups=np.int32, bodies=np.uint8)

    @classmethod
    def empty(cls, rows: int = 0) -> Tracks:
        return cls(
            ids=np.zeros(rows, dtype=np.int64),
            frames=np.zeros(rows, dtype=np.int32),
            label_ids=np.zeros(rows, dtype=np.int32),
            groups=np.zeros(rows, dtype=np.int32),
            sources=Texts.same("manual", rows),
            attributes=Texts.same("[]", rows),
            bodies=Ragged.empty(np.uint8, rows),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Images(Table):
    """One row a frame that an archive named.

    Attributes:
        names: (N,) bytes, UTF-8: the image id it came with, to be used again on export.
        subsets: the subset it came with.
    """

    frames: Ints
    names: Ragged
    subsets: Texts
    kept: Kept

    def __post_init__(self) -> None:
        self._check(frames=np.int32, names=np.uint8)

    @classmethod
    def empty(cls, rows: int = 0) -> Images:
        return cls(
            frames=np.zeros(rows, dtype=np.int32),
            names=Ragged.empty(np.uint8, rows),
            subsets=Texts.same("default", rows),
            kept=Kept.empty(rows),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Table):
    """Kept lines that no annotation shows. `frames` is -1 where the row belongs to no frame of the task."""

    frames: Ints
    kept: Kept

    def __post_init__(self) -> None:
        self._check(frames=np.int32)

    @classmethod
    def empty(cls, rows: int = 0) -> Rows:
        return cls(frames=np.zeros(rows, dtype=np.int32), kept=Kept.empty(rows))


@dataclass(frozen=True, slots=True, eq=False)
class RowsMeaning:
    """What kept rows speak of, for whoever selects among them; it is not stored.

    Attributes:
        kind: the kind of label, as selections call it.
        label_ids: (N, K) int32, the labels that each row names, -1 for none of the target's.
        is_absent: the rows show nothing: labels verified to be absent, masks without a pixel; K is 1.
    """

    kind: Literal["relationships", "classifications", "segmentations"]
    label_ids: Ints
    is_absent: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """A task's annotations, or one batch of them. Batches of one import are written one after the other.

    `meaning` is of the rows, where their reader knows one; `confidences` (N,) of the shapes, or else of the tags, where
    somebody chooses by them and the rows tell.
    """

    shapes: Shapes = field(default_factory=Shapes.empty)
    tags: Tags = field(default_factory=Tags.empty)
    tracks: Tracks = field(default_factory=Tracks.empty)
    images: Images = field(default_factory=Images.empty)
    rows: Rows = field(default_factory=Rows.empty)
    meaning: RowsMeaning | None = None
    confidences: Reals | None = None

    def counts(self) -> dict[str, int]:
        return {"shapes": len(self.shapes), "tags": len(self.tags), "tracks": len(self.tracks)}

    @staticmethod
    def concatenate(parts: Sequence[Annotations]) -> Annotations:
        return Annotations(
            shapes=Shapes.concatenate([part.shapes for part in parts]),
            tags=Tags.concatenate([part.tags for part in parts]),
            tracks=Tracks.concatenate([part.tracks for part in parts]),
            images=Images.concatenate([part.images for part in parts]),
            rows=Rows.concatenate([part.rows for part in parts]),
        )
