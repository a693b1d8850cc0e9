"""Which rows of an archive are rows of a task: found in rounds, from the same line to the nearest box.

See `merging.py` for the rounds of each table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import Kept, Rows, Shapes, Tags, mix, pair_in_order, pair_nearest, without_defaults
from app.columns import Cells, Ragged, Texts, decode_numbers, distinct, steps_within
from app.formats.open_images.layout import COORDINATES, ENDS, LABEL_COLUMNS, POINT_PLACE
from app.formats.open_images.merge_sides import Sides
from app.formats.open_images.said import NO_KIND, hash_ragged
from app.heap import trim_heap

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Table = Any

LEAST_OVERLAP = 0.5
"""An edited box is that of a corrected row only if they overlap so much; one that nobody edited takes the nearest."""
MANY_ROWS = 131_072
"""Of both sides: what was made to pair them is given back."""
STEP_ROWS, STEP_BYTES = 16_384, 2 << 20
"""Rows, and bytes of their lines, whose cells are looked at together, of any number on a picture."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Columns by which rows of a table are one and the same.

    Attributes:
        labels: columns that name a label; however they spell it.
    """

    labels: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


_LABEL = ("LabelName",)
_ENDS = tuple(f"{column}{end}" for end in ENDS for column in COORDINATES)
IDENTITIES: Mapping[str, tuple[Identity, ...]] = {
    "boxes": (Identity(_LABEL, numbers=COORDINATES),),
    "tags": (Identity(_LABEL, ("Source",)), Identity(_LABEL)),
    "machine": (Identity(_LABEL, ("Source",)), Identity(_LABEL)),
    "masks": (Identity(texts=("MaskPath",)), Identity(_LABEL, ("BoxID",))),
    "points": (
        Identity(LABEL_COLUMNS["points"], ("Source", "TextLabel"), POINT_PLACE),
        Identity(LABEL_COLUMNS["points"], numbers=POINT_PLACE),
        Identity(LABEL_COLUMNS["points"], ("Source", "TextLabel")),
    ),
    "relationships": (
        Identity(("LabelName1",), ("LabelName2", "RelationshipLabel"), _ENDS),
        Identity(("LabelName1", "LabelName2"), ("RelationshipLabel",), _ENDS),
        Identity(("LabelName1", "LabelName2"), ("RelationshipLabel",)),
        Identity(numbers=_ENDS),
    ),
    "narratives": (Identity(texts=("AnnotatorID",)),),
}


class Pairing:
    """Pairs of old and new rows, found in several rounds; each row is in one pair at most.

    Attributes:
        old_of: (N,) int64, the old row of each new row, -1 for none yet.
        is_free: (M,) bool, old rows without a pair.
    """

    def __init__(self, n_old: int, n_new: int) -> None:
        self.old_of: Positions = np.full(n_new, -1, dtype=np.int64)
        self.is_free: Mask = np.ones(n_old, dtype=np.bool_)

    def by_key(self, old: Keys, new: Keys, old_may: Mask | None = None, new_may: Mask | None = None) -> None:
        """Pair free rows of equal keys, of those that may."""
        old_rows, new_rows = self.free(old_may, new_may)
        self.add(old_rows, new_rows, pair_in_order(old[old_rows], new[new_rows]))

    def free(self, old_may: Mask | None, new_may: Mask | None) -> tuple[Positions, Positions]:
        waiting = self.old_of < 0
        return (
            np.flatnonzero(self.is_free if old_may is None else self.is_free & old_may),
            np.flatnonzero(waiting if new_may is None else waiting & new_may),
        )

    def add(self, old_rows: Positions, new_rows: Positions, found: Positions) -> None:
        places = np.flatnonzero(found >= 0)
        self.old_of[new_rows[places]] = old_rows[found[places]]
        self.is_free[old_rows[found[places]]] = False


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Shapes (or tags, rows) that one table row became.

    Attributes:
        rows: the places of all rows, unit by unit.
        starts: (U + 1,) where each unit begins in `rows`.
    """

    rows: Positions
    starts: Positions

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def firsts(self) -> Positions:
        return self.rows[self.starts[:-1]]

    @property
    def sizes(self) -> Positions:
        return np.diff(self.starts)

    def members(self, units: Positions) -> tuple[Positions, Positions]:
        """The rows of some units, one after the other, and which of `units` each belongs to."""
        sizes = self.sizes[units]
        which = np.repeat(np.arange(len(units), dtype=np.int64), sizes)
        ordinals = np.arange(len(which), dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.rows[self.starts[units][which] + ordinals], which


def units_of(table: Table) -> Units:
    """Shapes with one PNG (each mask row keeps its own) are one unit, every other row is one by itself."""
    n = len(table)
    if isinstance(table, Shapes) and (has_png := table.kept.png_offsets >= 0).any():
        own = np.where(has_png, table.kept.png_offsets, -1 - np.arange(n, dtype=np.int64))
        keys = np.stack([table.frames.astype(np.int64), np.where(has_png, table.kept.sets, 0), own])
        _, firsts, codes = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        if len(firsts) < n:
            place = np.empty(len(firsts), dtype=np.int64)
            place[np.argsort(firsts)] = np.arange(len(firsts), dtype=np.int64)
            units = place[codes.reshape(-1)]
            rows = np.argsort(units, kind="stable")
            return Units(rows, np.concatenate([[0], np.cumsum(np.bincount(units))]))
    return Units(np.arange(n, dtype=np.int64), np.arange(n + 1, dtype=np.int64))


class RowFinder:
    """Pairs rows of one kind of annotation.

    Args:
        is_whole: the archive was read as a whole. Of a part only rows that are surely the same are paired: what is left
            of both sides may well be in the rest of it.
    """

    def __init__(self, sides: Sides, is_whole: bool) -> None:
        self._sides, self._is_whole = sides, is_whole

    def pair(self, old: Table, new: Table, imported: Mask) -> Pairing:
        """Pairs of rows (the first of each unit) of one kind."""
        pairing = Pairing(len(old), len(new))
        sides = _Part(old, np.arange(len(old))), _Part(new, np.arange(len(new)))
        keys = [part.keys(self._line_keys) for part in sides]
        have_lines = [~self._of_kind(part, NO_KIND) for part in sides]
        self._pair_alike(pairing, *sides, (keys[0], keys[1]), (have_lines[0], have_lines[1]))
        old_rows, new_rows = pairing.free(None, None)
        if not len(old_rows) or not len(new_rows):
            return pairing
        rest = self._pair_rest(_Part(old, old_rows), _Part(new, new_rows), imported[old_rows])
        pairing.add(old_rows, new_rows, rest.old_of)
        return pairing

    def _pair_alike(
        self, pairing: Pairing, old: _Part, new: _Part, keys: tuple[Keys, Keys], may: tuple[Mask, Mask]
    ) -> None:
        """Pair free rows of equal keys; of several with one key those first that show the same, by which a side file
        may tell them apart."""
        if not isinstance(old.table, Rows):
            self._pair_repeated(pairing, old, new, keys, may)
        pairing.by_key(*keys, *may)
        if len(old) + len(new) > MANY_ROWS:
            trim_heap()

    def _pair_repeated(
        self, pairing: Pairing, old: _Part, new: _Part, keys: tuple[Keys, Keys], may: tuple[Mask, Mask]
    ) -> None:
        """Of keys that several rows have, pair those that show the same."""
        free = pairing.free(*may)
        again = np.union1d(*(_repeated(some[rows]) for some, rows in zip(keys, free, strict=True)))
        if not len(again):
            return
        old_rows, new_rows = (rows[np.isin(some[rows], again)] for some, rows in zip(keys, free, strict=True))
        if len(old_rows) and len(new_rows):
            found = pair_in_order(
                mix(keys[0][old_rows], old.take(old_rows).keys(self._whole_keys)),
                mix(keys[1][new_rows], new.take(new_rows).keys(self._whole_keys)),
            )
            pairing.add(old_rows, new_rows, found)

    def _whole_keys(self, table: Table) -> Keys:
        """(N,) of all that is shown, but for the number of the group."""
        looks = [table.occluded, table.z_orders] if isinstance(table, Shapes) else []
        return mix(shown_keys(table), table.groups != 0, self._meanings(table.attributes), *looks)

    def _meanings(self, attributes: Texts) -> npt.NDArray[np.int64]:
        """(N,) of what attributes say."""
        attributes = attributes.compact()
        texts = [without_defaults(text, self._sides.defaults) for text in attributes.values]
        return np.array([hash(text) for text in texts], dtype=np.int64)[attributes.codes]

    def _line_keys(self, table: Table) -> Keys:
        return mix(table.frames, self._sides.said(table.kept).line_keys, *_png_keys(table.kept))

    def _of_kind(self, part: _Part, kind: str) -> Mask:
        return self._sides.said(part.table.kept).of_kind(kind)[part.rows]

    def _pair_rest(self, old: _Part, new: _Part, imported: Mask) -> Pairing:
        pairing = Pairing(len(old), len(new))
        for kind in sorted(self._sides.said(new.table.kept).kinds_there):
            of_kind = self._of_kind(old, kind), self._of_kind(new, kind)
            if not of_kind[1].any():
                continue
            # Rows that say the same but for the spelling of the image's id are the same; those of one spelling before.
            for keys in zip(old.several_keys(self._said_keys), new.several_keys(self._said_keys), strict=True):
                self._pair_alike(pairing, old, new, keys, of_kind)
            if isinstance(old.table, Tags):
                pairing.by_key(old.keys(self._shown_tag_keys), new.keys(self._shown_tag_keys), *of_kind)
            for identity in IDENTITIES.get(kind, ()):
                make = partial(self._keys, identity)
                self._pair_alike(pairing, old, new, (old.keys(make), new.keys(make)), of_kind)
            if kind == "masks":
                pairing.by_key(old.keys(_png_of_frame), new.keys(_png_of_frame), *of_kind)
        if isinstance(old.table, Rows):
            return pairing
        pairing.by_key(old.keys(shown_keys), new.keys(shown_keys))
        if isinstance(old.table, Shapes) and self._is_whole:
            self._pair_corrected(pairing, old, new, imported)
        return pairing

    def _said_keys(self, table: Table) -> tuple[Keys, Keys]:
        """By what rows say: with the spelling of the image's id, and without."""
        said = self._sides.said(table.kept)
        spelled = mix(table.frames, mix(said.content_keys, said.text_keys(("ImageID",))))
        return spelled, mix(table.frames, said.content_keys)

    def _shown_tag_keys(self, table: Tags) -> Keys:
        """(N,) of what a tag of a table shows, and of its `Source` where it shows none: an edited row does not say any
        more what an export made of it."""
        sources = self._sides.said(table.kept).text_keys(("Source",))
        shown = [label_id for label_id, name in self._sides.spec_ids if name == "source"]
        sources[np.isin(table.label_ids, shown)] = 0
        return mix(table.frames, table.label_ids, self._meanings(table.attributes), sources)

    def _pair_corrected(self, pairing: Pairing, old: _Part, new: _Part, imported: Mask) -> None:
        """What is left of one label on an image: rows of a table whose place or label was corrected."""
        edited = old.table.kept.changes[old.rows] != 0
        is_box = self._of_kind(old, "boxes"), self._of_kind(new, "boxes")
        place = partial(self._keys, Identity(numbers=COORDINATES))
        pairing.by_key(old.keys(place), new.keys(place), *is_box)
        old_rows, new_rows = pairing.free(*is_box)
        if len(old_rows) and len(new_rows):
            some_old, some_new = old.take(old_rows), new.take(new_rows)
            least = np.where(edited[old_rows], LEAST_OVERLAP, -1.0)
            boxes = some_old.in_steps(self._norm_boxes), some_new.in_steps(self._norm_boxes)
            groups = some_old.keys(_label_keys), some_new.keys(_label_keys)
            pairing.add(old_rows, new_rows, pair_nearest(*groups, *boxes, least))
        is_mask = self._of_kind(old, "masks"), self._of_kind(new, "masks")
        pairing.by_key(old.keys(_label_keys), new.keys(_label_keys), is_mask[0] & ~edited, is_mask[1])
        rowless = self._of_kind(old, NO_KIND), self._of_kind(new, NO_KIND)
        keys = old.keys(_type_keys), new.keys(_type_keys)
        pairing.by_key(*keys, imported & ~edited & rowless[0], rowless[1])

    def _norm_boxes(self, table: Table) -> npt.NDArray[np.float64]:
        """(N, 4) x0 y0 x1 y1 as imported."""
        said = self._sides.said(table.kept)
        columns = [decode_numbers(Cells.of(said.cells(name))).values for name in ("XMin", "YMin", "XMax", "YMax")]
        return np.stack(columns, axis=1)

    def _keys(self, identity: Identity, table: Table) -> Keys:
        said = self._sides.said(table.kept)
        columns: list[npt.NDArray[Any]] = [table.frames]
        if identity.labels and not isinstance(table, Rows):
            columns.append(table.label_ids)
        elif identity.labels:
            columns += [self._sides.named_labels(said, column) for column in identity.labels]
        if identity.texts:
            columns.append(said.text_keys(identity.texts))
        if identity.numbers:
            columns.append(said.number_keys(identity.numbers))
        return mix(*columns)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of a table, which are looked at some at a time: of their cells no more are held than the keys."""

    table: Table
    rows: Positions

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Positions) -> _Part:
        return _Part(self.table, self.rows[places])

    def in_steps(self, make: Callable[[Table], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What `make` answers for each row."""
        return np.concatenate([make(table) for table in self._steps()])

    def keys(self, make: Callable[[Table], Keys]) -> Keys:
        found: Keys = self.in_steps(make)
        return found

    def several_keys(self, make: Callable[[Table], tuple[Keys, ...]]) -> list[Keys]:
        """Keys of several kinds, which are made together."""
        made = [make(table) for table in self._steps()]
        return [np.concatenate(parts) for parts in zip(*made, strict=True)]

    def _steps(self) -> Iterator[Table]:
        if not len(self.rows):
            yield self.table.slice(0, 0)
        for part in steps_within(self.table.kept.lines.lengths[self.rows], STEP_BYTES, STEP_ROWS):
            rows = self.rows[part]
            if rows[-1] - rows[0] == len(rows) - 1:  # they ascend
                yield self.table.slice(int(rows[0]), int(rows[-1]) + 1)
            else:
                yield self.table.take(rows)


def _repeated(keys: Keys) -> Keys:
    """Those that stand there more than once."""
    ascending = np.sort(keys)
    return distinct(ascending[1:][ascending[1:] == ascending[:-1]])


def _png_keys(kept: Kept) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return kept.png_crcs, kept.png_sizes


def shown_keys(table: Table) -> Keys:
    """(N,) of what is shown: label and geometry."""
    if isinstance(table, Tags):
        return mix(table.frames, table.label_ids)
    points = np.round(table.points.values, 6) + 0.0
    as_bytes = Ragged(points.view(np.uint8), table.points.offsets * 8)
    parts = table.runs.pieces()
    runs = [hash_ragged(Ragged(np.ascontiguousarray(part.values).view(np.uint8), part.offsets * 4)) for part in parts]
    return mix(
        table.frames,
        table.label_ids,
        table.types,
        table.rotations,
        hash_ragged(as_bytes),
        np.concatenate(runs) if runs else np.zeros(0, dtype=np.uint64),
        hash_ragged(table.elements),
    )


def _label_keys(table: Table) -> Keys:
    return mix(table.frames, table.label_ids)


def _type_keys(table: Table) -> Keys:
    return mix(table.frames, table.label_ids, table.types)


def _png_of_frame(table: Table) -> Keys:
    return mix(table.frames, *_png_keys(table.kept))
