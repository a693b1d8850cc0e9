"""Masks to rows of the mask table and PNGs: the stored bytes where nothing changed, new ones by the pixel rules.

Source: Open Images reference 4.5 to 4.9, 5.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from app.annotations import Edit, Rows, Shapes, ShapeType
from app.archive import ArchiveWriter
from app.columns import Cells, Ragged, decode_numbers
from app.errors import Problem, shorten
from app.formats.base import Source
from app.formats.open_images.attributes import same_value, share_text
from app.formats.open_images.kept_rows import Columns, TableRows, is_kind, kept_columns
from app.formats.open_images.layout import COORDINATES, MASK_COORDINATES
from app.formats.open_images.mask_instances import Instance, draw_instances, drawn_shapes, find_instances, keeps_png
from app.formats.open_images.names import is_plain_name, is_safe_box_id, mask_stem
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import coordinate_texts
from app.geometry import PackedMask, place_mask, resize_mask
from app.images import decode_mask, encode_mask

FOLDER = "masks/"
# Instances drawn at once: crops of all of them stand in memory together.
DRAWN_AT_ONCE = 256
# Tolerance of a link between a mask's box and a box row, as the reader has it.
LINK_TOLERANCE = 1e-6 + 1e-12


class MaskTable:
    """Writes the PNGs of one subset as they come and gives the rows of its table."""

    def __init__(self, plan: Plan, source: Source, archive: ArchiveWriter, subset: str, columns: Sequence[str]) -> None:
        self._plan, self._source, self._archive = plan, source, archive
        self._subset, self._columns = subset, columns
        self._written: dict[str, tuple[int, int]] = {}

    def rows(self, batches: Iterator[Shapes]) -> Iterator[TableRows]:
        """The rows of shapes, one PNG written for each."""
        for shapes in batches:
            here = self._plan.in_subset(shapes.frames, self._subset)
            chosen = drawn_shapes(self._plan, shapes) & here
            if not chosen.any():
                continue
            instances = find_instances(self._plan, shapes, chosen)
            box_ids = self._box_ids(shapes, instances)
            for first in range(0, len(instances), DRAWN_AT_ONCE):
                stop = first + DRAWN_AT_ONCE
                yield from self._some(shapes, instances[first:stop], box_ids[first:stop])

    def hidden(self, batches: Iterator[Rows]) -> Iterator[TableRows]:
        """Kept rows that show nothing (masks without a pixel), with their PNGs."""
        for rows in batches:
            chosen = self._plan.in_subset(rows.frames, self._subset) & is_kind(self._plan, rows.kept, "masks")
            if not chosen.any():
                continue
            part = rows.take(chosen)
            cells = kept_columns(self._plan, part.kept, self._columns)
            names = []
            for row in range(len(part)):
                name = self._free_name(cells["MaskPath"].row_bytes(row).decode("utf-8"), part, row)
                self._write_kept(name, part, row)
                names.append(name.encode())
            cells["MaskPath"] = Ragged.from_bytes(names)
            yield TableRows(part.frames, cells)

    def _box_ids(self, shapes: Shapes, instances: Sequence[Instance]) -> list[str]:
        """The attribute's text, else the kept cell, else the next number that is free on the image."""
        places = np.array([row_of(instance) for instance in instances], dtype=np.int64)
        kept = kept_columns(self._plan, shapes.kept.take(places), ("BoxID",))["BoxID"].to_texts()
        texts: list[str] = []
        taken: dict[int, set[str]] = {}
        for place, instance in enumerate(instances):
            row = row_of(instance)
            values = self._plan.decoder.values(int(shapes.label_ids[row]), shapes.attributes.row(row))
            text = _fixed_box_id(values.get("box_id", ""), kept[place] if instance.imported is not None else "")
            taken.setdefault(instance.frame, set()).add(text)
            texts.append(text)
        numbers = dict.fromkeys(taken, 0)
        for place, instance in enumerate(instances):
            if texts[place]:
                continue
            frame = instance.frame
            while f"{numbers[frame]:08x}" in taken[frame]:
                numbers[frame] += 1
            texts[place] = f"{numbers[frame]:08x}"
            numbers[frame] += 1
        return texts

    def _some(self, shapes: Shapes, instances: Sequence[Instance], box_ids: Sequence[str]) -> Iterator[TableRows]:
        plan = self._plan
        drawn = [instance for instance in instances if not keeps_png(shapes, instance)]
        pixels = dict(zip(map(id, drawn), draw_instances(plan, shapes, drawn), strict=True))
        kept_places = np.array([row_of(instance) for instance in instances], dtype=np.int64)
        first = shapes.take(kept_places)
        cells = kept_columns(plan, first.kept, self._columns)
        boxes = self._box_texts(shapes, instances)
        lines: list[dict[str, str]] = []
        frames: list[int] = []
        empty = 0
        for place, instance in enumerate(instances):
            mask = pixels.get(id(instance))
            if id(instance) in pixels and mask is None:
                empty += 1
                continue
            row = self._row(shapes, instance, cells, place, boxes, box_ids[place], mask)
            lines.append(row)
            frames.append(instance.frame)
        if empty:
            problem = Problem("export.empty_mask", "a shape covers no pixel of its frame and is left out", "warning")
            plan.report.add_many([problem], empty)
        if lines:
            columns = {
                name: Ragged.from_bytes([line[name].encode("utf-8") for line in lines]) for name in self._columns
            }
            yield TableRows(np.array(frames, dtype=np.int32), columns)

    def _box_texts(self, shapes: Shapes, instances: Sequence[Instance]) -> dict[int, tuple[str, ...]]:
        """The four cells of each linked box, by its place: the kept ones where it was not moved."""
        places = sorted({instance.box for instance in instances if instance.box is not None})
        if not places:
            return {}
        part = shapes.take(np.array(places, dtype=np.int64))
        kept = kept_columns(self._plan, part.kept, COORDINATES)
        still = is_kind(self._plan, part.kept, "boxes") & (part.kept.edits & Edit.GEOMETRY == 0)
        fresh = coordinate_texts(self._plan, part)
        return {
            place: tuple(
                (kept[name] if still[row] else texts).row_bytes(row).decode()
                for name, texts in zip(COORDINATES, fresh, strict=True)
            )
            for row, place in enumerate(places)
        }

    def _row(
        self,
        shapes: Shapes,
        instance: Instance,
        cells: Columns,
        place: int,
        boxes: dict[int, tuple[str, ...]],
        box_id: str,
        mask: PackedMask | None,
    ) -> dict[str, str]:
        """The cells of one instance; its PNG is written on the way."""
        plan = self._plan
        row = row_of(instance)
        is_imported = instance.imported is not None
        edits = int(np.bitwise_or.reduce(shapes.kept.edits[instance.rows])) if is_imported else 0
        line = {name: cells[name].row_bytes(place).decode("utf-8") if is_imported else "" for name in self._columns}
        png, redrawn = self._png(shapes, instance, mask)
        label_id = int(shapes.label_ids[row])
        relabelled = not is_imported or bool(edits & Edit.LABEL) or plan.options.label_ids == "name"
        if not is_imported:
            line["ImageID"] = plan.ids.row_bytes(instance.frame - plan.start).decode("utf-8")
        if relabelled:
            line["LabelName"] = plan.label_names[label_id]
        values = plan.decoder.values(label_id, shapes.attributes.row(row))
        line["BoxID"] = box_id
        self._box_cells(shapes, instance, line, boxes, edits, is_imported)
        self._quality(line, values, redrawn and is_imported)
        if redrawn and is_imported:
            line["Clicks"] = ""
        if relabelled or not is_plain_name(line["MaskPath"]):
            line["MaskPath"] = f"{mask_stem(line['ImageID'], line['LabelName'], line['BoxID'])}.png"
        if png is None:
            name = self._free_name(line["MaskPath"], shapes, row)
            self._write_kept(name, shapes, row)
        else:
            name = self._free_name(line["MaskPath"], None, 0)
            self._archive.add_stored(self._path(name), png)
        line["MaskPath"] = name
        return line

    def _png(self, shapes: Shapes, instance: Instance, mask: PackedMask | None) -> tuple[bytes | None, bool]:
        """The new PNG, or None for the stored one; and whether the pixels changed since the import."""
        if mask is None:
            return None, False
        width, height = (int(side[0]) for side in self._plan.sizes_of(np.array([instance.frame], dtype=np.int32)))
        whole = place_mask(mask, width, height)
        row = instance.imported
        if row is not None and bool((shapes.types[instance.rows] == ShapeType.POLYGON).all()):
            # Polygons traced from an imported mask: the same pixels are the same mask, whatever became of its outline.
            kept = decode_mask(self._kept_png(shapes, row))
            same = resize_mask(PackedMask(kept.rows, kept.width), width, height)
            if np.array_equal(same.rows, whole.rows):
                return None, False
        return encode_mask(whole.rows, width), True

    def _box_cells(
        self,
        shapes: Shapes,
        instance: Instance,
        line: dict[str, str],
        boxes: dict[int, tuple[str, ...]],
        edits: int,
        is_imported: bool,
    ) -> None:
        """Box*: the linked box's own text, unless the kept cells say the same; emptied when the link is gone."""
        if instance.box is not None:
            texts = boxes[instance.box]
            if not (is_imported and _same_box([line[name] for name in MASK_COORDINATES], texts)):
                line.update(zip(MASK_COORDINATES, texts, strict=True))
        elif not is_imported or edits & Edit.GROUP or shapes.groups[instance.rows[0]]:
            line.update(dict.fromkeys(MASK_COORDINATES, ""))

    def _quality(self, line: dict[str, str], values: dict[str, str], redrawn: bool) -> None:
        """PredictedIoU: the attribute, else the kept cell while the pixels are the imported ones."""
        wanted = values.get("predicted_iou", "")
        if wanted.strip():
            kept = line["PredictedIoU"]
            line["PredictedIoU"] = kept if kept and same_value(wanted, kept) else (share_text(wanted) or "")
        elif redrawn:
            line["PredictedIoU"] = ""

    def _free_name(self, wanted: str, table: Shapes | Rows | None, row: int) -> str:
        """A name that no other PNG of the subset has, in any letter case. A kept PNG may be named by several rows."""
        if table is not None:
            identity = (int(table.kept.png_crcs[row]), int(table.kept.png_sizes[row]))
            if self._written.get(wanted) == identity:
                return wanted
        stem, number, name = wanted.removesuffix(".png"), 1, wanted
        while not self._archive.accepts(self._path(name)):
            number += 1
            name = f"{stem}-{number}.png"
        if name != wanted and table is not None:
            message = f"{shorten(wanted)} is taken by another mask; it became {shorten(name)}"
            self._plan.report.add_many([Problem("export.renamed", message, "warning", value=wanted)], 1)
        return name

    def _path(self, name: str) -> str:
        return f"{FOLDER}{self._subset}/{unicodedata.normalize('NFC', name)}"

    def _write_kept(self, name: str, table: Shapes | Rows, row: int) -> None:
        identity = (int(table.kept.png_crcs[row]), int(table.kept.png_sizes[row]))
        if self._written.get(name) == identity:
            return
        self._written[name] = identity
        data = self._kept_png(table, row)
        self._archive.add_stored(self._path(name), data, identity[0])

    def _kept_png(self, table: Shapes | Rows, row: int) -> bytes:
        kept = table.kept
        return self._source.kept_bytes(int(kept.sets[row]), int(kept.png_offsets[row]), int(kept.png_sizes[row]))


def row_of(instance: Instance) -> int:
    """The place of the shape that speaks for the instance: label, attributes, kept row."""
    return instance.rows[0] if instance.imported is None else instance.imported


def _fixed_box_id(wanted: str, kept: str) -> str:
    """A BoxID that an attribute or a kept cell gives; "" where neither gives one that can be written."""
    if wanted and kept and same_value(wanted, kept):
        wanted = kept
    if wanted.endswith(".0") and wanted[:-2].isdigit():
        wanted = wanted[:-2]  # a number attribute
    return next((text for text in (wanted, kept) if text and is_safe_box_id(text)), "")


def _same_box(cells: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a mask's own box cells name the linked box."""
    if not all(cells):
        return False
    numbers = [
        decode_numbers(Cells.of(Ragged.from_bytes([t.encode() for t in side]))).values for side in (cells, texts)
    ]
    return bool(np.all(np.abs(numbers[0] - numbers[1]) <= LINK_TOLERANCE))
