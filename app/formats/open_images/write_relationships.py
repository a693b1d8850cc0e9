"""Kept relationships back to rows: as they came, but for what was changed of their boxes.

    the end's box now                       the row
    as it was, or never known               stays, to the letter
    moved                                   has its new coordinates at this end
    another label                           has its LabelName at this end
    deleted, but there at the import        goes, and is counted: a relationship is between two things

Boxes are found as at the import, by what their own rows said then; a box that was drawn counts by where it is.

Source: Open Images reference 1.3; edit rules as of masks and their boxes (5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Rows, Shapes, ShapeType
from app.columns import Cells, CSVBlock, Ragged, TextIndex, decode_numbers, decode_texts, distinct
from app.formats.open_images.kept_rows import (
    Columns,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    kept_lines,
    put,
    spread,
    table_rows,
)
from app.formats.open_images.layout import COORDINATES, ENDS
from app.formats.open_images.links import BoxFinder
from app.formats.open_images.plan import Plan, tables_of
from app.formats.open_images.read_relationships import is_attributive
from app.formats.open_images.write_boxes import coordinate_texts, id_cells, is_rotated, norm_boxes

KIND: Literal["relationships"] = "relationships"
Codes = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


class RelationshipWriter:
    """Writes the rows of an export.

    Attributes:
        n_dropped: rows of which a box was deleted.
        attributes: what `is` rows say of things: LabelName2 of each, in order of appearance.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.n_dropped = 0
        self.attributes: dict[str, None] = {}

    def rows(
        self, batches: Iterator[Rows], shapes: Iterator[Shapes], subset: str | None, columns: Sequence[str]
    ) -> Iterator[TableRows]:
        """The rows of the subset's table; batches and shapes in ascending frames."""
        boxes = _Boxes(self._plan, shapes)
        for batch in batches:
            here = self._plan.in_subset(batch.frames, subset) & is_kind(self._plan, batch.kept, KIND)
            if here.any():
                yield self._of_batch(batch.take(here), boxes, columns)

    def _of_batch(self, rows: Rows, boxes: _Boxes, columns: Sequence[str]) -> TableRows:
        plan = self._plan
        cells = kept_columns(plan, rows.kept, columns)
        attributive = is_attributive(Cells.of(cells["RelationshipLabel"]))
        ends = boxes.find(rows.frames, cells, attributive)
        gone = ((ends.found < 0) & _was_linked(plan, rows)).any(axis=1)
        stays = ~gone & self._selected(rows, cells)
        self.n_dropped += int(gone.sum())
        chosen = np.flatnonzero(stays)
        cells["ImageID"] = id_cells(plan, cells["ImageID"], rows.frames)
        changed = np.zeros(len(rows), dtype=np.bool_)
        for place, end in enumerate(ENDS):
            self._follow(cells, end, ends.found[:, place], ends.shapes, attributive, changed)
        if plan.options.label_ids == "name":
            self._name(cells, attributive & stays, ~attributive & stays)
        elif plan.layout.one_table:
            self._tell_classes(cells, attributive & stays, ~attributive & stays)
        lines = kept_lines(plan, rows.kept, rows.frames, np.flatnonzero(stays & ~changed), (KIND,), columns, _is_plain)
        rest = lines.others(chosen)
        return table_rows(
            rows.frames, chosen, lines, {name: column.take(rest) for name, column in cells.items()}, columns
        )

    def _selected(self, rows: Rows, cells: Columns) -> Mask:
        plan = self._plan
        if plan.selector is None:
            return np.ones(len(rows), dtype=np.bool_)
        return plan.selector.keeps_rows(rows.frames, _label_ids(plan, cells), KIND)

    def _follow(self, cells: Columns, end: str, found: Ids, shapes: Shapes, attributive: Mask, changed: Mask) -> None:
        """What one end says of its box, in place; rows that change are marked."""
        rows = np.flatnonzero(found >= 0)
        if not len(rows):
            return
        of = found[rows]
        moved = (shapes.kept.edits & Edit.GEOMETRY != 0) | is_rotated(shapes)
        moved &= shapes.kept.tables >= 0
        at = rows[moved[of]]
        if len(at):
            texts = coordinate_texts(self._plan, shapes.take(found[at]))
            for column, text in zip(COORDINATES, texts, strict=True):
                cells[f"{column}{end}"] = put(cells[f"{column}{end}"], at, text)
            changed[at] = True
        renamed = (shapes.kept.edits & Edit.LABEL != 0) & (shapes.kept.tables >= 0)
        if self._plan.options.label_ids == "name":
            renamed = np.ones(len(shapes), dtype=np.bool_)
        at = rows[renamed[of]]
        if end == ENDS[1]:
            at = at[~attributive[at]]
        if len(at):
            names = self._plan.label_column(shapes.label_ids[found[at]])
            cells[f"LabelName{end}"] = put(cells[f"LabelName{end}"], at, names)
            changed[at] = True

    def _name(self, cells: Columns, attributive: Mask, plain: Mask) -> None:
        """`label_ids=name`: names of labels in place of LabelNames; attributes are no labels."""
        for end, chosen in zip(ENDS, (attributive | plain, plain), strict=True):
            rows = np.flatnonzero(chosen)
            texts = decode_texts(Cells.of(cells[f"LabelName{end}"].take(rows)))
            names = [self._plan.name_of(name) for name in texts.values]
            column = spread(texts)
            if names != list(texts.values):
                column = Ragged.from_bytes([name.encode() for name in names]).take(texts.codes.astype(np.int64))
            cells[f"LabelName{end}"] = put(cells[f"LabelName{end}"], rows, column)
        self._tell_attributes(cells, attributive)

    def _tell_classes(self, cells: Columns, attributive: Mask, plain: Mask) -> None:
        """Readers of this layout want every class and every attribute to have a name."""
        for end, chosen in zip(ENDS, (attributive | plain, plain), strict=True):
            texts = decode_texts(Cells.of(cells[f"LabelName{end}"].take(np.flatnonzero(chosen))))
            self._plan.strays.update(dict.fromkeys(texts.values))
        self._tell_attributes(cells, attributive)

    def _tell_attributes(self, cells: Columns, attributive: Mask) -> None:
        texts = decode_texts(Cells.of(cells["LabelName2"].take(np.flatnonzero(attributive))))
        self.attributes |= dict.fromkeys(texts.values)


@dataclass(frozen=True, slots=True)
class _Ends:
    """The boxes of rows: `found` (N, 2) places in `shapes`, -1 for an end without one."""

    found: Ids
    shapes: Shapes


class _Boxes:
    """Rectangles of a stream, those of the frames that are asked for; frames are asked for in ascending order, the last
    one perhaps again."""

    def __init__(self, plan: Plan, shapes: Iterator[Shapes]) -> None:
        self._plan, self._coming = plan, shapes
        self._held = Shapes.empty()
        self._ended = False
        self._last: tuple[Codes, Shapes] = (np.empty(0, dtype=np.int32), Shapes.empty())

    def find(self, frames: Codes, cells: Columns, attributive: Mask) -> _Ends:
        """The boxes of rows of these frames (ascending)."""
        shapes = self._of(distinct(frames))
        index = TextIndex()
        codes = [index.codes(Cells.of(cells[f"LabelName{end}"])) for end in ENDS]
        codes[1] = np.where(attributive, codes[0], codes[1])
        numbers = [[decode_numbers(Cells.of(cells[f"{column}{end}"])) for column in COORDINATES] for end in ENDS]
        boxes = np.concatenate([np.stack([one.values for one in of_end], axis=1) for of_end in numbers])
        lacks = [[one.empty | one.not_number | one.not_finite for one in of_end] for of_end in numbers]
        is_whole = ~np.concatenate([np.any(of_end, axis=0) for of_end in lacks])
        finder = BoxFinder(np.concatenate([frames, frames]), np.concatenate(codes).astype(np.int32), boxes, is_whole)
        names, places = self._said(shapes)
        finder.see(shapes.frames, index.codes(Cells.of(names)).astype(np.int32), places)
        return _Ends(finder.found.reshape(2, -1).T, shapes)

    def _of(self, frames: Codes) -> Shapes:
        if not np.array_equal(self._last[0], frames):
            self._last = frames, self._next(frames)
        return self._last[1]

    def _next(self, frames: Codes) -> Shapes:
        parts, last = [], int(frames[-1])
        known = self._last[1]
        parts.append(known.take(np.isin(known.frames, frames)))
        while True:
            parts.append(self._held.take(np.isin(self._held.frames, frames)))
            self._held = self._held.take(self._held.frames > last)
            if self._ended or len(self._held):
                return Shapes.concatenate([part for part in parts if len(part)])
            following = next(self._coming, None)
            self._ended = following is None
            shapes = following if following is not None else Shapes.empty()
            self._held = shapes.take(shapes.types == ShapeType.RECTANGLE)

    def _said(self, shapes: Shapes) -> tuple[Ragged, Reals]:
        """LabelName (B,) and XMin XMax YMin YMax (B, 4) that the row of each box said; of a drawn one would say."""
        plan = self._plan
        imported = is_kind(plan, shapes.kept, "boxes")
        cells = kept_columns(plan, shapes.kept, ("LabelName", *COORDINATES))
        places = np.stack([decode_numbers(Cells.of(cells[column])).values for column in COORDINATES], axis=1)
        drawn = np.flatnonzero(~imported)
        names = cells["LabelName"]
        if len(drawn):
            part = shapes.take(drawn)
            places[drawn] = norm_boxes(plan, part)[:, [0, 2, 1, 3]]
            names = put(names, drawn, plan.label_column(part.label_ids))
        return names, places


def _was_linked(plan: Plan, rows: Rows) -> Mask:
    """(N, 2) bool, ends whose box was there at the import."""
    ends = np.zeros(len(rows), dtype=np.int64)
    for set_id, number, places in tables_of(rows.kept):
        ends[places] = plan.extras[set_id].linked.get(number, 0)
    return np.stack([ends & 1 > 0, ends & 2 > 0], axis=1)


def named_labels(plan: Plan, batches: Iterator[Rows]) -> Iterator[tuple[Codes, Codes]]:
    """Frames (N,) and label ids (N, 2) of all relationships."""
    for batch in batches:
        rows = batch.take(is_kind(plan, batch.kept, KIND))
        if len(rows):
            yield rows.frames, _label_ids(plan, kept_columns(plan, rows.kept, [f"LabelName{end}" for end in ENDS]))


def _label_ids(plan: Plan, cells: Columns) -> Codes:
    """(N, 2) the label of each end, -1 for none of the target's."""
    found = []
    for end in ENDS:
        texts = decode_texts(Cells.of(cells[f"LabelName{end}"]))
        ids = np.array([plan.label_ids_of_names.get(name, -1) for name in texts.values], dtype=np.int32)
        found.append(ids[texts.codes])
    return np.stack(found, axis=1)


def _is_plain(block: CSVBlock, places: Ids) -> Mask:
    return np.ones(len(places), dtype=np.bool_)
