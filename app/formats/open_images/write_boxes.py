"""Rectangles to rows of the box table: kept cells where nothing changed, new ones by the edit rules.

Source: Open Images reference 4.5 (cells of new rows), 4.9 (numbers), 5 (edit rules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Shapes, ShapeType
from app.columns import Cells, CSVBlock, Ragged, decode_flags, decode_texts, encode_numbers, equal_cells
from app.errors import Problem, shorten
from app.formats.open_images.attributes import flag_text, is_silent, same_value, share_text, shown_value
from app.formats.open_images.kept_rows import (
    SIDE,
    UNKNOWN,
    Columns,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    kept_lines,
    map_texts,
    only_kept,
    put,
    table_rows,
)
from app.formats.open_images.layout import CLICK_COLUMNS, COORDINATES, FLAGS, HIGHEST, LOWEST
from app.formats.open_images.plan import Plan
from app.formats.open_images.repairs import are_digits
from app.geometry import boxes_to_norm, hull_boxes, rotated_corners

if TYPE_CHECKING:
    from app.formats.open_images.side_write import SideWriter

OCCLUDED = "IsOccluded"
_CLICKS = frozenset(name.casefold() for name in CLICK_COLUMNS)
Boxes = npt.NDArray[np.float64]


def boxes_of(plan: Plan, shapes: Shapes) -> Mask:
    """(N,) bool, the shapes that become rows of the box table."""
    is_rectangle: Mask = shapes.types == ShapeType.RECTANGLE
    return is_rectangle if plan.options.rotated != "mask" else is_rectangle & ~is_rotated(shapes)


def is_rotated(shapes: Shapes) -> Mask:
    if not shapes.rotations.any():  # fifty times as fast as a remainder
        return np.zeros(len(shapes), dtype=np.bool_)
    turned: Mask = shapes.rotations % 360.0 != 0
    return turned


def box_rows(
    plan: Plan, batches: Iterator[Shapes], subset: str | None, columns: Sequence[str], side: SideWriter | None = None
) -> Iterator[TableRows]:
    """The rows of the subset's box table, in the order of the shapes."""
    for shapes in batches:
        is_box = boxes_of(plan, shapes) & plan.chosen_shapes(shapes, subset)
        chosen = np.flatnonzero(is_box)
        if not len(chosen):
            continue
        need = side.needed(shapes) if side is not None else np.zeros(len(shapes), dtype=np.bool_)
        candidates = np.flatnonzero(is_box & ~is_rotated(shapes) & ~need)
        lines = kept_lines(plan, shapes.kept, shapes.frames, candidates, ("boxes",), columns, plain_boxes)
        rest = lines.others(chosen)
        cells: Columns = {}
        if len(rest):
            part = shapes.take(rest)
            cells = box_columns(plan, part, columns)
            if side is not None:
                cells[SIDE] = side.box_entries(part, need[rest], cells)
        yield table_rows(shapes.frames, chosen, lines, cells, columns)


def plain_boxes(block: CSVBlock, places: npt.NDArray[np.int64] | None = None) -> Mask:
    """(N,) whether other readers take these rows: a Confidence, and flags in digits."""
    good = np.ones(len(block), dtype=np.bool_)
    for column, is_plain in PLAIN_CELLS.items():
        good &= is_plain(block.cells(column))
    return good


def are_there(cells: Cells) -> Mask:
    there: Mask = cells.lengths > 0
    return there


PLAIN_CELLS: Mapping[str, Callable[[Cells], Mask]] = {"Confidence": are_there, **dict.fromkeys(FLAGS, are_digits)}
"""The cells of each column that other readers take."""


def pixel_boxes(shapes: Shapes) -> Boxes:
    """(N, 4) x0 y0 x1 y1 of rectangles; of rotated ones the hull."""
    boxes = shapes.points.values.reshape(-1, 4)
    turned = np.flatnonzero(is_rotated(shapes))
    if len(turned):
        boxes = boxes.copy()
        boxes[turned] = hull_boxes(rotated_corners(boxes[turned], shapes.rotations[turned]))
    # JSON may hold a rectangle whose corners are swapped; a table row may not.
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def norm_boxes(plan: Plan, shapes: Shapes) -> Boxes:
    """(N, 4) x0 y0 x1 y1 of rectangles as shares of their frame, within the range that readers take."""
    return np.clip(_shares(plan, shapes), LOWEST, HIGHEST)


def _shares(plan: Plan, shapes: Shapes) -> Boxes:
    widths, heights = plan.sizes_of(shapes.frames)
    return boxes_to_norm(pixel_boxes(shapes), widths, heights)


def clip_and_tell(plan: Plan, shapes: Shapes, shares: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.float64]:
    """(N, …) the shares of their frames within the range that readers take: what reaches further out of its picture is
    written as far as they do, and told."""
    far = np.flatnonzero(((shares < LOWEST) | (shares > HIGHEST)).any(axis=1))
    if len(far):
        name = plan.target.frames.name(int(shapes.frames[far[0]]))
        message = (
            f"{len(far):,} {what} further out of their picture than {LOWEST:g} to {HIGHEST:g} of its size, which "
            f'readers refuse; they are written up to there, the first in "{shorten(name)}"'
        )
        plan.report.add_many([Problem("export.clipped", message, "warning", value=shorten(name))], len(far))
    return np.clip(shares, LOWEST, HIGHEST)


def coordinate_texts(plan: Plan, shapes: Shapes) -> list[Ragged]:
    """XMin, XMax, YMin, YMax of rectangles in shortest form."""
    return _corner_texts(norm_boxes(plan, shapes))


def _corner_texts(norm: Boxes) -> list[Ragged]:
    return [encode_numbers(np.ascontiguousarray(norm[:, place])) for place in (0, 2, 1, 3)]


def box_columns(plan: Plan, shapes: Shapes, columns: Sequence[str]) -> Columns:
    """The cells of rectangles, by column."""
    edits = shapes.kept.edits
    imported = is_kind(plan, shapes.kept, "boxes")
    if not imported.all():  # what was kept of another table says nothing here
        shapes = shapes.replace(kept=only_kept(shapes.kept, imported))
    cells = kept_columns(plan, shapes.kept, columns)
    moved = ~imported | (edits & Edit.GEOMETRY != 0)  # a row that is a turned rectangle's hull is so until it moves
    cells["ImageID"] = id_cells(plan, cells["ImageID"], shapes.frames)
    cells["LabelName"] = label_cells(plan, cells["LabelName"], shapes.label_ids, imported, edits)
    if moved.any():
        part = shapes.take(moved)
        norm = clip_and_tell(plan, part, _shares(plan, part), "boxes reach")
        for name, texts in zip(COORDINATES, _corner_texts(norm), strict=True):
            cells[name] = put(cells[name], moved, texts)
        for name in cells:
            if name.casefold() in _CLICKS:
                cells[name] = put(cells[name], moved, UNKNOWN.encode())
    _attribute_cells(plan, shapes, cells, imported, moved)
    return cells


def id_cells(plan: Plan, kept: Ragged, frames: npt.NDArray[np.int32], exact: bool = False) -> Ragged:
    """ImageID: as it came while it still means the frame (or, `exact`, is the image's own id)."""
    foreign = plan.foreign_ids(Cells.of(kept), frames, exact)
    return put(kept, foreign, plan.ids_of(frames[foreign]))


def label_cells(
    plan: Plan, kept: Ragged, label_ids: npt.NDArray[np.int32], imported: Mask, edits: npt.NDArray[np.uint8]
) -> Ragged:
    """LabelName: as it came, unless the label was changed or names are asked for."""
    changed = ~imported | (edits & Edit.LABEL != 0)
    if plan.options.label_ids == "name":
        changed = np.ones(len(kept), dtype=np.bool_)
    return put(kept, changed, plan.label_column(label_ids[changed]))


def _attribute_cells(plan: Plan, shapes: Shapes, cells: Columns, imported: Mask, moved: Mask) -> None:
    """Confidence, Source and the flags, in place."""
    edits = shapes.kept.edits
    free = ~imported | (edits & (Edit.ATTRIBUTES | Edit.LABEL) != 0)  # rows whose attributes speak
    rows = np.flatnonzero(free)
    places, pairs = plan.decoder.pairs(shapes.label_ids[rows], shapes.attributes.take(rows))

    def speak(column: str, change: Callable[[int, str], str], among: Mask | None = None) -> None:
        some = np.arange(len(rows), dtype=np.int64) if among is None else np.flatnonzero(among[rows])
        if len(some):
            kept = decode_texts(Cells.of(cells[column].take(rows[some])))
            cells[column] = put(cells[column], rows[some], map_texts(places[some], kept, change))

    speak("Confidence", confidence_rule(plan, pairs))
    cells["Confidence"] = fill_confidence(cells["Confidence"])
    if plan.options.box_source:
        cells["Source"] = put(cells["Source"], ~imported, plan.options.box_source.encode())
    before = Cells.of(cells["Source"])
    for among, is_imported in ((imported, True), (~imported, False)):
        speak("Source", source_rule(plan, pairs, is_imported), among)
    # Who drew a box that was moved is not known, unless somebody said it anew.
    after = Cells.of(cells["Source"])
    same = equal_cells(before.buffer, before.starts, before.stops, after.buffer, after.starts, after.stops)
    cells["Source"] = put(cells["Source"], moved & imported & same, b"")
    for column, name in FLAGS.items():
        if column != OCCLUDED:
            silent = imported & (cells[column].lengths == 0)  # read as unknown, and so remembered
            cells[column] = put(cells[column], silent, UNKNOWN.encode())
            speak(column, flag_rule(plan, pairs, name))
            cells[column] = plain_flags(cells[column])
    cells[OCCLUDED] = _occluded_cells(cells[OCCLUDED], shapes.occluded, imported)


Pairs = Sequence[tuple[int, Mapping[str, str]]]


def confidence_rule(plan: Plan, pairs: Pairs) -> Callable[[int, str], str]:
    """Confidence of a row whose attributes speak: the score, else what was kept, else 1."""

    def confidence(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        score = values.get("score", "")
        if score.strip() == "":
            return kept or "1"
        if kept and (same_value(score, kept) or is_silent(plan.decoder.spec(label_id, "score"), score, kept)):
            return kept
        text = share_text(score)
        if text is None:
            warn_bad_attribute(plan, label_id, "score", score, kept or "1", "a number from 0 to 1")
            return kept or "1"
        return text

    return confidence


def source_rule(plan: Plan, pairs: Pairs, is_imported: bool) -> Callable[[int, str], str]:
    """Source of a row whose attributes speak: the attribute, else what was kept."""

    def source(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        said = values.get("source", "")
        if not said or (is_imported and is_silent(plan.decoder.spec(label_id, "source"), said, kept)):
            return kept
        return said

    return source


def fill_confidence(column: Ragged) -> Ragged:
    """No reader takes an empty Confidence: such cells say 1, as they were read."""
    return put(column, column.lengths == 0, b"1")


def flag_rule(plan: Plan, pairs: Pairs, name: str) -> Callable[[int, str], str]:
    """A flag of a row whose attributes speak; an unknown one stays unknown while its attribute is at the default."""

    def flag(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        spec = plan.decoder.spec(label_id, name)
        if spec is None:
            return kept or UNKNOWN
        if name not in values:
            if not kept:  # a new row says what a person sees: the declared default
                return flag_text(spec.default_value) or UNKNOWN
            return kept
        value = values[name]
        known = flag_text(kept) if kept else None
        if known in ("0", "1") and is_silent(spec, value, known, True):
            return kept
        text = flag_text(value)
        if text is None:
            if value.strip():
                warn_bad_attribute(plan, label_id, name, value, kept or UNKNOWN, "a flag such as true or false")
            return kept or UNKNOWN
        if known == UNKNOWN and same_value(value, spec.default_value):
            return kept
        if known is not None and known != UNKNOWN and shown_value(spec, known, True) == value:
            return kept
        return text

    return flag


def plain_flags(column: Ragged) -> Ragged:
    """Flags as digits: other readers refuse words and empty cells."""
    texts = decode_texts(Cells.of(column))
    if all(value in ("0", "1", UNKNOWN) for value in texts.values):
        return column
    values = [flag_text(value) or UNKNOWN for value in texts.values]
    return Ragged.from_bytes([value.encode() for value in values]).take(texts.codes)


def _occluded_cells(kept: Ragged, occluded: Mask, imported: Mask) -> Ragged:
    """The shape's flag; an unknown one stays unknown while the flag is off, and an equal one keeps its cell."""
    known = decode_flags(Cells.of(kept)).values  # (N,) -1, 0, 1
    digits = occluded.astype(np.int8)
    changed = ~imported | ((known != digits) & ~((known == -1) & ~occluded))
    column = put(kept, changed & occluded, b"1")
    column = put(column, changed & ~occluded, b"0")
    return plain_flags(column)


def warn_bad_attribute(plan: Plan, label_id: int, name: str, value: str, written: str, wanted: str) -> None:
    """An attribute's value cannot be written as a cell: what was `wanted`, and what was `written`."""
    label = plan.target.labels.by_id[label_id].name
    message = f'{name} of label "{shorten(label)}" is "{shorten(value)}", not {wanted}; {written} was written'
    plan.report.add_many([Problem("export.bad_attribute", message, "warning", value=shorten(value))], 1)
