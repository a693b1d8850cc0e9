"""The cells of mask rows that do not leave as they came, by column: kept cells, changed by the edit rules.

Source: Open Images reference 4.5, 4.6, 4.7, 4.8, 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Shapes
from app.columns import Cells, Ragged, decode_numbers, encode_numbers, equal_cells
from app.formats.open_images.attributes import is_silent, same_value, share_text
from app.formats.open_images.kept_rows import Columns, Mask, is_kind, kept_columns, only_kept, pick, put
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.layout import COORDINATES, MASK_COORDINATES
from app.formats.open_images.mask_instances import InstanceColumns
from app.formats.open_images.names import are_plain_names, is_safe_box_id, mask_stem
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import coordinate_texts, id_cells, is_rotated, label_cells, warn_bad_attribute
from app.geometry import boxes_to_norm

# Tolerance of a link between a mask's box and a box row, as the reader has it.
LINK_TOLERANCE = 1e-6 + 1e-12
# Boxes that are made for masks without one lie so far right of and below their pixels, as a share of the picture: a box
# that has the very edges of such a mask is not taken for its own, and readers that cut pixels off a product (FiftyOne:
# `int(0.29 * 100)` is 28) get the last column. Far less than a pixel.
ASIDE, ASIDE_DECIMALS = 2e-6, 9


@dataclass(frozen=True, slots=True, eq=False)
class MaskBoxes:
    """The four cells of each rectangle that an instance is linked to: `places` (B,) of the rectangles, ascending."""

    places: Places
    columns: Sequence[Ragged]

    def of(self, places: Places) -> list[Ragged]:
        """XMin, XMax, YMin, YMax of some of them."""
        rows = np.searchsorted(self.places, places)
        return [pick(column, rows) for column in self.columns]


def linked_boxes(plan: Plan, shapes: Shapes, masks: InstanceColumns) -> MaskBoxes:
    """The boxes of instances: the kept cells of those that were not moved."""
    places = np.unique(masks.boxes[masks.boxes >= 0])
    part = shapes.take(places)
    if not len(part):
        return MaskBoxes(places, [Ragged.empty(np.uint8)] * 4)
    kept = kept_columns(plan, part.kept, COORDINATES)
    still = is_kind(plan, part.kept, "boxes") & (part.kept.edits & Edit.GEOMETRY == 0) & ~is_rotated(part)
    moved = np.flatnonzero(~still)
    made = coordinate_texts(plan, part.take(moved)) if len(moved) else [Ragged.empty(np.uint8)] * 4
    return MaskBoxes(places, [put(kept[name], moved, texts) for name, texts in zip(COORDINATES, made, strict=True)])


def label_column(plan: Plan, shapes: Shapes, masks: InstanceColumns, chosen: Places, kept: Ragged) -> Ragged:
    """LabelName of the chosen instances, given the kept cells of their owners."""
    label_ids = shapes.label_ids[masks.owners[chosen]]
    return label_cells(plan, kept, label_ids, masks.imported[chosen], masks.edits[chosen])


def box_ids(plan: Plan, shapes: Shapes, masks: InstanceColumns, chosen: Places) -> list[str]:
    """BoxID of the chosen instances, all of some frames: the attribute's text, else the kept cell, else the next number
    that is free on the image."""
    owners = masks.owners[chosen]
    part = shapes.take(owners)
    kept = kept_columns(plan, only_kept(part.kept, masks.imported[chosen]), ("BoxID",))["BoxID"].to_texts()
    wanted = said_of(plan, shapes, owners, "box_id", masks.imported[chosen], kept)
    numbered = [is_number(plan, label_id) for label_id in part.label_ids.tolist()]
    texts = list(map(_fixed_box_id, wanted, kept, numbered))
    nameless = [place for place, text in enumerate(texts) if not text]
    if nameless:
        frames = masks.frames[chosen].tolist()
        taken: dict[int, set[str]] = {frames[place]: set() for place in nameless}
        for frame, text in zip(frames, texts, strict=True):
            if frame in taken:
                taken[frame].add(text)
        numbers = dict.fromkeys(taken, 0)
        for place in nameless:
            frame = frames[place]
            while f"{numbers[frame]:08x}" in taken[frame]:
                numbers[frame] += 1
            texts[place] = f"{numbers[frame]:08x}"
            numbers[frame] += 1
    return texts


def said_of(plan: Plan, shapes: Shapes, rows: Places, name: str, imported: Mask, kept: Sequence[str]) -> list[str]:
    """The values of an attribute of shapes; "" where an imported one's says nothing that its kept cell does not."""
    texts = shapes.attributes.take(rows).to_list()
    found = []
    for label_id, text, is_imported, cell in zip(
        shapes.label_ids[rows].tolist(), texts, imported.tolist(), kept, strict=True
    ):
        value = plan.decoder.values(label_id, text).get(name, "")
        is_unsaid = is_imported and is_silent(plan.decoder.spec(label_id, name), value, cell)
        found.append("" if is_unsaid else value)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class MadeRows:
    """Instances whose rows are made of cells.

    Attributes:
        masks: those of the batch.
        chosen: (M,) which of them.
        box_ids: (M,) None for the kept cell.
        redrawn: (M,) they get a new PNG.
        edges: (M, 4) of the tight boxes, left, top, right, bottom, where the layout fills boxes; else None.
    """

    shapes: Shapes
    masks: InstanceColumns
    chosen: Places
    box_ids: Sequence[str | None]
    boxes: MaskBoxes
    redrawn: Mask
    edges: npt.NDArray[np.float64] | None


def made_cells(plan: Plan, rows: MadeRows, columns: Sequence[str]) -> Columns:
    """The cells of such rows; MaskPath is the name that each PNG should have."""
    shapes, masks, chosen = rows.shapes, rows.masks, rows.chosen
    owners, imported, edits = masks.owners[chosen], masks.imported[chosen], masks.edits[chosen]
    part = shapes.take(owners)
    cells = kept_columns(plan, only_kept(part.kept, imported), columns)
    cells["ImageID"] = id_cells(plan, cells["ImageID"], part.frames, exact=True)
    cells["LabelName"] = label_column(plan, shapes, masks, chosen, cells["LabelName"])
    given = np.array([text is not None for text in rows.box_ids], dtype=np.bool_)
    cells["BoxID"] = put(cells["BoxID"], given, Ragged.from_bytes([t.encode() for t in rows.box_ids if t is not None]))
    _tell_bad_box_ids(plan, rows, cells["BoxID"].to_texts())
    _box_cells(rows, cells)
    if rows.edges is not None:
        _fill_boxes(plan, part, cells, rows.edges)
    redrawn = imported & rows.redrawn
    _put_quality(plan, rows, cells, redrawn)
    cells["Clicks"] = put(cells["Clicks"], redrawn, b"")
    names = cells["MaskPath"].to_texts()
    new = ~imported | (edits & Edit.LABEL != 0) | ~are_plain_names(names)
    if plan.options.label_ids == "name":
        new[:] = True
    renamed = np.flatnonzero(new)
    if len(renamed):
        texts = (pick(cells[name], renamed).to_texts() for name in ("ImageID", "LabelName", "BoxID"))
        made = [f"{mask_stem(*each)}.png".encode() for each in zip(*texts, strict=True)]
        cells["MaskPath"] = put(cells["MaskPath"], renamed, Ragged.from_bytes(made))
    return cells


def _box_cells(rows: MadeRows, cells: Columns) -> None:
    """Box*: the linked box's own text, unless the kept cells say the same; emptied when the link is gone."""
    masks, chosen = rows.masks, rows.chosen
    boxes = masks.boxes[chosen]
    linked = np.flatnonzero(boxes >= 0)
    texts = rows.boxes.of(boxes[linked])
    own = [pick(cells[name], linked) for name in MASK_COORDINATES]
    other = np.flatnonzero(~(masks.imported[chosen[linked]] & _same_boxes(own, texts)))
    for name, column in zip(MASK_COORDINATES, texts, strict=True):
        cells[name] = put(cells[name], linked[other], pick(column, other))
    grouped = rows.shapes.groups[masks.firsts[chosen]] != 0
    gone = (boxes < 0) & ((masks.edits[chosen] & Edit.GROUP != 0) | (grouped & ~masks.traced[chosen]))
    for name in MASK_COORDINATES:
        cells[name] = put(cells[name], gone, b"")


def _same_boxes(own: Sequence[Ragged], texts: Sequence[Ragged]) -> Mask:
    """(N,) bool, whether a mask's own box cells name the linked box; they are numbers, for the import checked them."""
    same = np.ones(len(own[0]), dtype=np.bool_)
    for column, text in zip(own, texts, strict=True):
        mine, theirs = Cells.of(column), Cells.of(text)
        equal = equal_cells(mine.buffer, mine.starts, mine.stops, theirs.buffer, theirs.starts, theirs.stops)
        equal &= mine.lengths > 0
        rest = np.flatnonzero(same & ~equal & (mine.lengths > 0))
        difference = decode_numbers(mine.take(rest)).values - decode_numbers(theirs.take(rest)).values
        equal[rest] = np.abs(difference) <= LINK_TOLERANCE
        same &= equal
    return same


def _fill_boxes(plan: Plan, part: Shapes, cells: Columns, edges: npt.NDArray[np.float64]) -> None:
    """The masks' own boxes, where there is none; moved by `ASIDE`, but for edges of the picture."""
    gaps = np.flatnonzero(np.any([cells[name].lengths == 0 for name in MASK_COORDINATES], axis=0))
    norm = boxes_to_norm(edges[gaps], *plan.sizes_of(part.frames[gaps]))
    norm = np.minimum(np.round(norm + ASIDE, ASIDE_DECIMALS), 1.0)
    for name, place in zip(MASK_COORDINATES, (0, 2, 1, 3), strict=True):
        cells[name] = put(cells[name], gaps, encode_numbers(np.ascontiguousarray(norm[:, place])))


def _put_quality(plan: Plan, rows: MadeRows, cells: Columns, redrawn: Mask) -> None:
    """PredictedIoU: the attribute, else the kept cell while the pixels are the imported ones."""
    owners, imported = rows.masks.owners[rows.chosen], rows.masks.imported[rows.chosen]
    wanted = said_of(plan, rows.shapes, owners, "predicted_iou", imported, cells["PredictedIoU"].to_texts())
    said = np.array([bool(text.strip()) for text in wanted], dtype=np.bool_)
    column = put(cells["PredictedIoU"], redrawn & ~said, b"")
    places = np.flatnonzero(said)
    kept = pick(column, places).to_texts()
    texts = []
    for place, old in zip(places.tolist(), kept, strict=True):
        new = wanted[place]
        text = old if old and same_value(new, old) else share_text(new)
        if text is None:
            label_id = int(rows.shapes.label_ids[owners[place]])
            warn_bad_attribute(plan, label_id, "predicted_iou", new, "nothing", "a number from 0 to 1")
        texts.append(text or "")
    cells["PredictedIoU"] = put(column, places, Ragged.from_bytes([text.encode() for text in texts]))


def _fixed_box_id(wanted: str, kept: str, is_number: bool) -> str:
    """A BoxID that an attribute or a kept cell gives; "" where neither gives one that can be written."""
    if wanted and kept and same_value(wanted, kept):
        wanted = kept
    elif is_number and wanted.endswith(".0") and wanted[:-2].isdigit():
        wanted = wanted[:-2]
    for text in (wanted, kept):
        if text and is_safe_box_id(text):
            return text
    return ""


def is_number(plan: Plan, label_id: int) -> bool:
    """Whether a label declares `box_id` as a number, so that 5.0 says 5."""
    spec = plan.decoder.spec(label_id, "box_id")
    return spec is not None and spec.input_type == "number"


def _tell_bad_box_ids(plan: Plan, rows: MadeRows, box_ids: Sequence[str]) -> None:
    """Values that cannot be a BoxID, of rows that are made: something else was written."""
    owners, imported = rows.masks.owners[rows.chosen], rows.masks.imported[rows.chosen]
    wanted = said_of(plan, rows.shapes, owners, "box_id", imported, box_ids)
    for label_id, value, written in zip(rows.shapes.label_ids[owners].tolist(), wanted, box_ids, strict=True):
        if value and not is_safe_box_id(value):
            warn_bad_attribute(plan, label_id, "box_id", value, written, "usable in a file's name")
