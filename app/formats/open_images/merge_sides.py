"""The two sides of a merge: what a task holds from earlier archives, and an archive that has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import Kept
from app.columns import Cells, Ragged, decode_texts, distinct
from app.formats.base import NewDocument, Target
from app.formats.open_images.extras import Extras
from app.formats.open_images.kept_rows import UNKNOWN, put
from app.formats.open_images.layout import CLICK_COLUMNS, FLAGS, LABEL_COLUMNS
from app.formats.open_images.said import IMAGE_ID, Said, equal_rows
from app.formats.open_images.write_boxes import fill_confidence, plain_flags

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


class Sides:
    """Documents and labels that both sides refer to.

    Attributes:
        extras: of every set, the new one among them.
    """

    def __init__(self, new: NewDocument, target: Target) -> None:
        self.target, self.new = target, Extras.from_dict(new.extras)
        self.earlier = {set_id: Extras.from_dict(document) for set_id, document in target.earlier.items()}
        self._new_id, self._twins = new.set_id, dict[int, int]()
        self.extras: dict[int, Extras] = {**self.earlier, new.set_id: self.new}
        self._strays: dict[str, int] = {}  # LabelNames of no label

    def said(self, kept: Kept) -> Said:
        return Said(kept, self.extras)

    def sided_tables(self, tables: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Numbers of tables of the new archive → those of their twins whose rows say less than what is shown."""
        found = tables.copy()
        for number in distinct(tables[~np.isin(tables, self.new.sided) & (tables >= 0)]).tolist():
            if number not in self._twins:
                self._twins[number] = len(self.new.tables)
                twins = (*self.new.tables, self.new.tables[number])
                self.new = replace(self.new, tables=twins, sided=(*self.new.sided, self._twins[number]))
                self.extras[self._new_id] = self.new
            found[tables == number] = self._twins[number]
        return found

    def named_labels(self, said: Said, column: str = "LabelName") -> Positions:
        """(N,) the label that each row names, however it is spelled; below 0, a number for each other name."""
        names = decode_texts(Cells.of(said.cells(column)))
        ids = [self.label_ids.get(name, -1 - self._strays.setdefault(name, len(self._strays))) for name in names.values]
        return np.array(ids or [0], dtype=np.int64)[names.codes]

    def same_lines(self, mine: Kept, theirs: Kept) -> Mask:
        """(N,) rows whose lines are the same, of tables with the same columns."""
        sides = self.said(mine), self.said(theirs)
        same: Mask = equal_rows(mine.lines, theirs.lines) & (sides[0].header_keys == sides[1].header_keys)
        return same

    @cached_property
    def defaults(self) -> dict[int, str]:
        """The default value of each attribute."""
        labels = self.target.labels.by_id.values()
        return {spec.id: spec.default_value for label in labels for spec in label.attributes}

    @cached_property
    def spec_ids(self) -> dict[tuple[int, str], int]:
        """Attributes by label and name."""
        labels = self.target.labels.by_id.items()
        return {(label_id, spec.name): spec.id for label_id, label in labels for spec in label.attributes}

    @cached_property
    def label_ids(self) -> dict[str, int]:
        """Labels by any LabelName that imported rows have for them."""
        found = {label.name: label.id for label in self.target.labels.by_id.values()}
        for extras in self.extras.values():
            names = {name: mid for mid, name in extras.classes}
            found |= {names[name]: label_id for name, label_id in tuple(found.items()) if name in names}
            found |= {name: key for name, key in extras.also.items() if key in self.target.labels.by_id}
            found |= {mid: label_id for label_id, mid in extras.mids.items() if label_id in self.target.labels.by_id}
        return found


LABEL_NAMES = frozenset(name.casefold() for names in LABEL_COLUMNS.values() for name in names) | {"labelname"}
"""Columns that name a label, by whatever name of it."""


def differing_cells(mine: Said, theirs: Said) -> dict[str, Mask]:
    """Which rows differ in each column, but the image's id; the frame is the same."""
    names = {**mine.columns, **theirs.columns}
    names.pop(IMAGE_ID, None)
    found = {name: ~equal_rows(mine.cells(name), theirs.cells(name)) for name in names}
    for kind, columns in WRITTEN_OTHERWISE.items():
        for name in columns & found.keys():
            rows = np.flatnonzero(found[name] & (mine.kinds == kind) & (theirs.kinds == kind))
            if len(rows):
                sides = (_as_written(name, side.cells(name).take(rows)) for side in (mine, theirs))
                found[name][rows] = ~equal_rows(*sides)
    return found or {"": np.zeros(len(mine), dtype=np.bool_)}


_FLAGS = frozenset(name.casefold() for name in FLAGS)
_CLICKS = frozenset(name.casefold() for name in CLICK_COLUMNS)
_CONFIDENCE = "confidence"
WRITTEN_OTHERWISE: Mapping[str, frozenset[str]] = {
    "boxes": _FLAGS | _CLICKS | {_CONFIDENCE},
    "tags": frozenset({_CONFIDENCE}),
    "machine": frozenset({_CONFIDENCE}),
}
"""Columns whose cells an export may write otherwise than they came: empty ones, and flags in words."""


def _as_written(name: str, cells: Ragged) -> Ragged:
    """Cells of such a column as an export has them."""
    if name == _CONFIDENCE:
        return fill_confidence(cells)
    return plain_flags(cells) if name in _FLAGS else put(cells, cells.lengths == 0, UNKNOWN.encode())
