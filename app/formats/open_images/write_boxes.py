"""Rectangles to rows of the box table: kept cells where nothing changed, new ones by the edit rules.

Source: Open Images reference 4.5 (cells of new rows), 4.9 (numbers), 5 (edit rules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Shapes, ShapeType
from app.columns import Cells, Ragged, decode_flags, decode_texts, encode_numbers
from app.errors import Problem, shorten
from app.formats.open_images.attributes import flag_text, same_value, share_text, shown_value
from app.formats.open_images.kept_rows import Columns, Mask, TableRows, is_kind, kept_columns, map_texts, put
from app.formats.open_images.layout import CLICK_COLUMNS, COORDINATES, FLAGS
from app.formats.open_images.plan import Plan
from app.geometry import boxes_to_norm, hull_boxes, rotated_corners

UNKNOWN = "-1"
OCCLUDED = "IsOccluded"
Boxes = npt.NDArray[np.float64]


def boxes_of(plan: Plan, shapes: Shapes) -> Mask:
    """(N,) bool, the shapes that become rows of the box table."""
    is_rectangle: Mask = shapes.types == ShapeType.RECTANGLE
    return is_rectangle if plan.options.rotated != "mask" else is_rectangle & ~is_rotated(shapes)


def is_rotated(shapes: Shapes) -> Mask:
    turned: Mask = shapes.rotations % 360.0 != 0
    return turned


def box_rows(plan: Plan, batches: Iterator[Shapes], subset: str, columns: Sequence[str]) -> Iterator[TableRows]:
    """The rows of the subset's box table, in the order of the shapes."""
    for shapes in batches:
        chosen = boxes_of(plan, shapes) & plan.in_subset(shapes.frames, subset)
        if chosen.any():
            part = shapes.take(chosen)
            yield TableRows(part.frames, box_columns(plan, part, columns))


def pixel_boxes(shapes: Shapes) -> Boxes:
    """(N, 4) x0 y0 x1 y1 of rectangles; of rotated ones the hull."""
    boxes = shapes.points.values.reshape(-1, 4)
    turned = np.flatnonzero(is_rotated(shapes))
    if len(turned):
        boxes = boxes.copy()
        boxes[turned] = hull_boxes(rotated_corners(boxes[turned], shapes.rotations[turned]))
    return boxes


def coordinate_texts(plan: Plan, shapes: Shapes) -> list[Ragged]:
    """XMin, XMax, YMin, YMax of rectangles in shortest form."""
    widths, heights = plan.sizes_of(shapes.frames)
    norm = boxes_to_norm(pixel_boxes(shapes), widths, heights)
    return [encode_numbers(np.ascontiguousarray(norm[:, place])) for place in (0, 2, 1, 3)]


def box_columns(plan: Plan, shapes: Shapes, columns: Sequence[str]) -> Columns:
    """The cells of rectangles, by column."""
    cells = kept_columns(plan, shapes.kept, columns)
    imported = is_kind(plan, shapes.kept, "boxes")
    edits = shapes.kept.edits
    moved = ~imported | (edits & Edit.GEOMETRY != 0) | is_rotated(shapes)
    if not imported.all():
        others = np.flatnonzero(~imported)
        cells = {name: put(column, others, b"") for name, column in cells.items()}
    cells["ImageID"] = put(cells["ImageID"], ~imported, plan.ids_of(shapes.frames[~imported]))
    cells["LabelName"] = label_cells(plan, cells["LabelName"], shapes.label_ids, imported, edits)
    clicks = [name for name in cells if name in CLICK_COLUMNS]
    if moved.any():
        part = shapes.take(moved)
        for name, texts in zip(COORDINATES, coordinate_texts(plan, part), strict=True):
            cells[name] = put(cells[name], moved, texts)
        for name in clicks:
            cells[name] = put(cells[name], moved, UNKNOWN.encode())
    for name in clicks:  # rows of a table that had no clicks
        cells[name] = put(cells[name], cells[name].lengths == 0, UNKNOWN.encode())
    _attribute_cells(plan, shapes, cells, imported, moved)
    return cells


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
    places, pairs = plan.decoder.pairs(shapes.label_ids, shapes.attributes)
    edits = shapes.kept.edits
    free = ~imported | (edits & (Edit.ATTRIBUTES | Edit.LABEL) != 0)  # rows whose attributes speak
    rows = np.flatnonzero(free)

    def speak(column: str, change: Callable[[int, str], str]) -> None:
        if len(rows):
            kept = decode_texts(Cells.of(cells[column].take(rows)))
            cells[column] = put(cells[column], rows, map_texts(places[rows], kept, change))

    speak("Confidence", confidence_rule(plan, pairs))
    cells["Confidence"] = fill_confidence(cells["Confidence"])
    cells["Source"] = put(cells["Source"], moved & imported, b"")
    if plan.options.box_source:
        cells["Source"] = put(cells["Source"], ~imported, plan.options.box_source.encode())
    speak("Source", source_rule(pairs))
    for column, name in FLAGS.items():
        if column != OCCLUDED:
            speak(column, flag_rule(plan, pairs, name))
            cells[column] = plain_flags(cells[column])
    cells[OCCLUDED] = _occluded_cells(cells[OCCLUDED], shapes.occluded, imported)


Pairs = list[tuple[int, dict[str, str]]]


def confidence_rule(plan: Plan, pairs: Pairs) -> Callable[[int, str], str]:
    """Confidence of a row whose attributes speak: the score, else what was kept, else 1."""

    def confidence(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        score = values.get("score", "")
        if score.strip() == "":
            return kept or "1"
        if kept and same_value(score, kept):
            return kept
        text = share_text(score)
        if text is None:
            _warn_bad_attribute(plan, label_id, "score", score, kept or "1", "a number from 0 to 1")
            return kept or "1"
        return text

    return confidence


def source_rule(pairs: Pairs) -> Callable[[int, str], str]:
    """Source of a row whose attributes speak: the attribute, else what was kept."""
    return lambda pair, kept: pairs[pair][1].get("source") or kept


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
        text = flag_text(value)
        if text is None:
            if value.strip():
                _warn_bad_attribute(plan, label_id, name, value, kept or UNKNOWN, "a flag such as true or false")
            return kept or UNKNOWN
        known = flag_text(kept) if kept else None
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


def _warn_bad_attribute(plan: Plan, label_id: int, name: str, value: str, written: str, wanted: str) -> None:
    label = plan.target.labels.by_id[label_id].name
    message = f'{name} of label "{shorten(label)}" is "{shorten(value)}", not {wanted}; {written} was written'
    plan.report.add_many([Problem("export.bad_attribute", message, "warning", value=shorten(value))], 1)
