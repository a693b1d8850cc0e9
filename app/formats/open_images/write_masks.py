"""Masks to rows of the mask table and PNGs: the stored bytes where nothing changed, new ones by the pixel rules.

    instances ─┬─ untouched: its line and its PNG as they came
               └─ drawn, edited or of other columns: cells one by one, a PNG where pixels changed

Source: Open Images reference 4.5 to 4.9, 5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import or_

import numpy as np
from isal import isal_zlib

from app.annotations import Edit, Kept, Rows, Shapes, ShapeType
from app.archive import ArchiveWriter
from app.columns import CSVBlock, Ragged, distinct, encode_numbers, join_records, join_texts, steps_within
from app.errors import Problem, shorten
from app.formats.base import Source
from app.formats.open_images.attributes import same_value, share_text
from app.formats.open_images.kept_bytes import KeptBytes, read_all
from app.formats.open_images.kept_rows import (
    Codes,
    Columns,
    KeptLines,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    kept_lines,
    only_kept,
    put,
)
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.layout import COORDINATES, MASK_COORDINATES
from app.formats.open_images.mask_drawing import DrawJob, Drawn, Earlier, draw_masks, finish_mask
from app.formats.open_images.mask_instances import (
    Instance,
    draw_instances,
    drawn_shapes,
    find_instances,
    row_of,
    unchanged_masks,
)
from app.formats.open_images.mask_names import MaskNames
from app.formats.open_images.names import is_plain_name, is_safe_box_id, mask_stem
from app.formats.open_images.plain_masks import PlainMasks, find_plain
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_pieces import Draft, Entry
from app.formats.open_images.side_write import SideWriter, mask_check, may_be_outlines
from app.formats.open_images.whole_outlines import untouched_outlines, whole_outlines
from app.formats.open_images.write_boxes import coordinate_texts, id_cells, is_rotated
from app.formats.open_images.write_tags import kept_label_cells, selected_rows
from app.geometry import PackedMask, boxes_to_norm, resize_mask
from app.helpers import Crew
from app.images import decode_mask, encode_mask

# Instances taken at once: those that are drawn, whose crops stand in memory together, and all that are looked at.
TAKEN_AT_ONCE, KEPT_AT_ONCE = 64, 1024
# And coordinates of those (traced masks: some thirty of them), and bytes of the PNGs and lines of these.
TAKEN_VALUES, TAKEN_BYTES = 1 << 16, 8 << 20
UNHELPED_JOBS, JOBS_AHEAD = 16, 6
# Tolerance of a link between a mask's box and a box row, as the reader has it.
LINK_TOLERANCE = 1e-6 + 1e-12
LAST_BOX_NUMBER = 0xFFFFFFFF
WHOLE_FRAME = ("0", "1", "0", "1")
MASKS = ("masks",)
# An enumeration's attributes are slow to get, and these are asked for once a mask.
POLYGON = int(ShapeType.POLYGON)
GEOMETRY, LABEL, GROUP = int(Edit.GEOMETRY), int(Edit.LABEL), int(Edit.GROUP)

NeedyShapes = tuple[Shapes, Mask]
"""Shapes of some frames, all that masks may have to do with, and (N,) which of them need an entry in the side file."""
Line = dict[str, str]
Box = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Shapes of some frames, and what is known of them before the first mask is written.

    Attributes:
        instances: in the order of their first shape.
        lines: of the untouched ones (outlines: as far as can be told without their PNG); `row_of` tells the row there
            by the place of their shape, `paths` and `labels` their MaskPath and LabelName.
        box_ids: of the other instances, by `id`.
        boxes: the four cells of each rectangle that another instance is linked to, by its place.
        reserved: frame → names of untouched masks, where the frame has other instances too.
        needed: (N,) shapes that need an entry in the side file.
        edits: of the shapes.
        unchanged: the `id` of each of `unchanged_masks`.
    """

    shapes: Shapes
    instances: list[Instance]
    lines: KeptLines
    row_of: dict[int, int]
    paths: list[str]
    labels: list[str]
    box_ids: dict[int, str]
    boxes: dict[int, Box]
    reserved: dict[int, list[str]]
    needed: list[bool]
    edits: list[int]
    unchanged: Collection[int]

    def line(self, instance: Instance) -> int | None:
        """The row of an untouched instance in `lines`."""
        return None if instance.imported is None else self.row_of.get(instance.imported)

    def edits_of(self, instance: Instance) -> int:
        """What was changed of an imported instance; nothing of a new one."""
        return reduce(or_, [self.edits[row] for row in instance.rows]) if instance.imported is not None else 0

    def needs_entry(self, instance: Instance) -> bool:
        return len(instance.rows) > 1 or self.needed[instance.rows[0]]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Instances of a batch that are looked at together.

    Attributes:
        whole: the `id` of each that is the outline of its PNG.
        drawn: the `id` of each whose pixels are wanted.
        cells: of the drawn ones, see `MaskTable._cells`.
        folders: of the PNGs of each frame.
    """

    batch: Batch
    instances: Sequence[Instance]
    pngs: KeptBytes
    whole: Collection[int]
    drawn: Collection[int]
    cells: dict[int, Line]
    folders: dict[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Some instances of a chunk.

    Attributes:
        drawn: those whose pixels are wanted; those of them that are polygons alone are drawn by a job.
    """

    chunk: Chunk
    instances: Sequence[Instance]
    drawn: Sequence[Instance]
    by_job: Sequence[Instance]


@dataclass(frozen=True, slots=True, eq=False)
class PlainStretch:
    """Some masks of a batch that leave as they came."""

    shapes: Shapes
    needed: Mask
    chosen: Mask
    masks: PlainMasks


DrawCrew = Crew[Stretch | PlainStretch, DrawJob, list[Drawn | None] | None]


def draw_crew(most_helpers: int) -> DrawCrew:
    """Who draws the masks of a table; to be entered."""
    return Crew(draw_masks, most_helpers, UNHELPED_JOBS, JOBS_AHEAD)


class MaskTable:
    """Writes the PNGs of one table as they come and gives its rows."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        archive: ArchiveWriter,
        names: MaskNames,
        subset: str | None,
        columns: Sequence[str],
        crew: DrawCrew,
        side: SideWriter | None,
    ) -> None:
        self._side = side
        self._plan, self._source, self._archive, self._names = plan, source, archive, names
        self._subset, self._columns = subset, columns
        self._last_folder = (-1, "")
        self._n_expected = 0
        self._crew = crew

    def expect(self, shapes: Shapes) -> None:
        """Shapes that will come to `rows`, told some time before: whoever helps to draw them has started by then."""
        edited = (shapes.kept.edits & GEOMETRY != 0) | (shapes.kept.tables < 0)
        self._n_expected += int(((shapes.types == POLYGON) & edited).sum())
        self._crew.expect(self._n_expected // TAKEN_AT_ONCE)

    def rows(self, batches: Iterator[NeedyShapes]) -> Iterator[TableRows]:
        """The rows of shapes, one PNG written for each."""
        for stretch, drawn in self._crew.run(self._jobs(batches)):
            if isinstance(stretch, PlainStretch):
                yield from self._write_plain(stretch)
            else:
                yield from self._write(stretch, drawn)

    def _jobs(self, batches: Iterator[NeedyShapes]) -> Iterator[tuple[Stretch | PlainStretch, DrawJob | None]]:
        for shapes, needed in batches:
            chosen = drawn_shapes(self._plan, shapes) & self._plan.chosen_shapes(shapes, self._subset)
            if not chosen.any():
                continue
            plain = self._plain(shapes, needed, chosen)
            if plain is not None:
                sizes = shapes.kept.png_sizes[plain.rows]
                for masks in plain.stretches(sizes, KEPT_AT_ONCE, TAKEN_BYTES):
                    yield PlainStretch(shapes, needed, chosen, masks), None
                continue
            batch = self._batch(shapes, needed, find_instances(self._plan, shapes, chosen))
            for instances in _chunks(batch):
                for stretch in _stretches(self._chunk(batch, instances)):
                    yield stretch, self._draw_job(stretch)

    def _plain(self, shapes: Shapes, needed: Mask, chosen: Mask) -> PlainMasks | None:
        """All masks of a batch, where they leave as they came."""
        layout = self._plan.layout
        if layout.bright_masks or layout.fills_boxes:  # such a layout may change any of them
            return None
        return find_plain(self._plan, shapes, chosen, needed, partial(self._lines, shapes))

    def _write_plain(self, stretch: PlainStretch) -> Iterator[TableRows]:
        """Write their PNGs, if all of them can have their names; else the general way finds others."""
        shapes, masks = stretch.shapes, stretch.masks
        kept, rows = shapes.kept, masks.rows
        folders, crcs = self._folders(shapes.frames[rows]), kept.png_crcs[rows].tolist()
        identities = list(zip(crcs, kept.png_sizes[rows].tolist(), strict=True))
        if paths := self._names.claim_all(folders, masks.names, identities):
            self._archive.add_stored_all(paths, read_all(self._source, kept, rows), crcs)
        elif all(map(self._names.claim, folders, masks.names, identities)):
            pngs = KeptBytes(self._source, kept, rows)
            for row, folder, name, crc in zip(rows.tolist(), folders, masks.names, crcs, strict=True):
                if self._names.begin(folder + name):
                    self._archive.add_stored(folder + name, pngs.read(row), crc, is_accepted=True)
        else:
            instances = find_instances(self._plan, shapes, stretch.chosen)
            batch = self._batch(shapes, stretch.needed, instances)
            wanted = set(rows.tolist())
            chunk = self._chunk(batch, [one for one in instances if one.rows[0] in wanted])
            for some in _stretches(chunk):
                yield from self._write(some, None)
            return
        yield TableRows(shapes.frames[rows], masks.records)

    def hidden(self, batches: Iterator[Rows]) -> Iterator[TableRows]:
        """Kept rows that show nothing (masks without a pixel), with their PNGs."""
        for rows in batches:
            here = self._plan.in_subset(rows.frames, self._subset) & is_kind(self._plan, rows.kept, "masks")
            part = selected_rows(self._plan, rows.take(here), "segmentations")
            for start in range(0, len(part), TAKEN_AT_ONCE):
                yield self._write_hidden(part.take(np.arange(start, min(start + TAKEN_AT_ONCE, len(part)))))

    def _write_hidden(self, rows: Rows) -> TableRows:
        cells = self._hidden_cells(rows)
        pngs = KeptBytes(self._source, rows.kept, np.arange(len(rows), dtype=np.int64))
        names = []
        for row, wanted in enumerate(cells["MaskPath"].to_texts()):
            folder = self._folder(int(rows.frames[row]))
            name = self._name_kept(folder, wanted, rows.kept, row)
            self._put_kept(folder + name, rows.kept, row, pngs)
            names.append(name.encode())
        cells["MaskPath"] = Ragged.from_bytes(names)
        return TableRows(rows.frames, join_records([cells[name] for name in self._columns], len(rows)))

    def _hidden_cells(self, rows: Rows) -> Columns:
        """The kept cells; a BoxID where there is none, for readers insist on one."""
        cells = kept_columns(self._plan, rows.kept, self._columns)
        cells["ImageID"] = id_cells(self._plan, cells["ImageID"], rows.frames, exact=True)
        cells["LabelName"] = kept_label_cells(self._plan, cells["LabelName"])
        nameless = np.flatnonzero(cells["BoxID"].lengths == 0)
        frames = rows.frames[nameless]
        ranks = np.arange(len(frames), dtype=np.int64) - np.searchsorted(frames, frames)  # frames ascend
        numbers = (LAST_BOX_NUMBER - ranks).tolist()
        cells["BoxID"] = put(cells["BoxID"], nameless, Ragged.from_bytes([b"%08x" % number for number in numbers]))
        if self._plan.layout.fills_boxes:
            gaps = np.any([cells[name].lengths == 0 for name in MASK_COORDINATES], axis=0)
            for name, text in zip(MASK_COORDINATES, WHOLE_FRAME, strict=True):
                cells[name] = put(cells[name], gaps, text.encode())
        return cells

    # --- one batch ---

    def _batch(self, shapes: Shapes, need: Mask, instances: list[Instance]) -> Batch:
        plan = self._plan
        edits = shapes.kept.edits
        still_boxes = is_kind(plan, shapes.kept, "boxes") & (edits == 0) & ~is_rotated(shapes)
        still_masks = (shapes.types == ShapeType.MASK) & (edits == 0) & ~need
        outlines = untouched_outlines(plan, shapes, instances).tolist()
        candidates = [
            instance.imported
            for instance, grouped, is_outline in zip(instances, _grouped(shapes, instances), outlines, strict=True)
            if instance.imported is not None
            and (
                not edits[instance.rows].any()
                if is_outline
                else len(instance.rows) == 1 and still_masks[instance.imported]
            )
            and (still_boxes[instance.box] if instance.box is not None else not grouped or _is_traced(shapes, instance))
        ]
        places = distinct(np.array(candidates, dtype=np.int64))
        lines = self._lines(shapes, places)
        row_of_place = {place: row for row, place in enumerate(lines.places.tolist())}
        cells = kept_columns(plan, shapes.kept.take(lines.places), ("MaskPath", "LabelName"))
        paths, labels = cells["MaskPath"].to_texts(), cells["LabelName"].to_texts()
        touched = {instance.frame for instance in instances if instance.imported not in row_of_place}
        # Where others are to be named, it must be certain which names are taken.
        suspects = [
            instance
            for instance, is_outline in zip(instances, outlines, strict=True)
            if is_outline and instance.imported in row_of_place and instance.frame in touched
        ]
        for broken in self._broken(shapes, suspects):
            del row_of_place[row_of(broken)]
        peers = [instance for instance in instances if instance.frame in touched]
        reserved: dict[int, list[str]] = {}
        for instance in peers:
            if instance.imported is not None and instance.imported in row_of_place:
                reserved.setdefault(instance.frame, []).append(paths[row_of_place[instance.imported]])
        return Batch(
            shapes,
            instances,
            lines,
            row_of_place,
            paths,
            labels,
            self._box_ids(shapes, peers),
            self._box_texts(shapes, instances),
            reserved,
            need.tolist(),
            edits.tolist(),
            unchanged_masks(shapes, instances),
        )

    def _lines(self, shapes: Shapes, places: Places) -> KeptLines:
        """Of the places, those whose line can be written as it came."""
        plan = self._plan
        may_trust = not plan.layout.fills_boxes
        return kept_lines(
            plan, shapes.kept, shapes.frames, places, MASKS, self._columns, self._is_plain, may_trust=may_trust
        )

    def _broken(self, shapes: Shapes, outlines: Sequence[Instance]) -> Iterator[Instance]:
        """The instances of untouched polygons that are not the whole outline of their PNG."""
        for start in range(0, len(outlines), TAKEN_AT_ONCE):
            some = outlines[start : start + TAKEN_AT_ONCE]
            pngs = KeptBytes(self._source, shapes.kept, np.array([row_of(one) for one in some], dtype=np.int64))
            whole = whole_outlines(self._plan, shapes, some, pngs)
            yield from (instance for instance in some if id(instance) not in whole)

    def _is_plain(self, block: CSVBlock, places: Places) -> Mask:
        """Whether every reader takes these rows: a BoxID, a usable name, and the box where the layout wants one."""
        texts = zip(block.cells("BoxID").ragged().to_texts(), block.cells("MaskPath").ragged().to_texts(), strict=True)
        good = np.array([is_safe_box_id(box) and is_plain_name(path) for box, path in texts], dtype=np.bool_)
        if self._plan.layout.fills_boxes:
            for name in MASK_COORDINATES:
                good &= block.cells(name).lengths > 0
        return good

    def _box_ids(self, shapes: Shapes, instances: Sequence[Instance]) -> dict[int, str]:
        """The attribute's text, else the kept cell, else the next number that is free on the image."""
        if not instances:
            return {}
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
        return {id(instance): text for instance, text in zip(instances, texts, strict=True)}

    def _box_texts(self, shapes: Shapes, instances: Sequence[Instance]) -> dict[int, Box]:
        """The four cells of each linked box, by its place: the kept ones where it was not moved."""
        places = sorted({instance.box for instance in instances if instance.box is not None})
        if not places:
            return {}
        part = shapes.take(np.array(places, dtype=np.int64))
        kept = kept_columns(self._plan, part.kept, COORDINATES)
        still = is_kind(self._plan, part.kept, "boxes") & (part.kept.edits & Edit.GEOMETRY == 0) & ~is_rotated(part)
        moved = np.flatnonzero(~still)
        made = coordinate_texts(self._plan, part.take(moved)) if len(moved) else [Ragged.empty(np.uint8)] * 4
        columns = [put(kept[name], moved, texts).to_texts() for name, texts in zip(COORDINATES, made, strict=True)]
        return dict(zip(places, zip(*columns, strict=True), strict=True))

    # --- some instances ---

    def _chunk(self, batch: Batch, instances: Sequence[Instance]) -> Chunk:
        shapes = batch.shapes
        owners = [row_of(instance) for instance in instances if instance.imported is not None]
        pngs = KeptBytes(self._source, shapes.kept, np.array(owners, dtype=np.int64))
        whole = whole_outlines(self._plan, shapes, instances, pngs)
        drawn = [one for one in instances if id(one) not in batch.unchanged and id(one) not in whole]
        frames = distinct(np.array([one.frame for one in instances], dtype=np.int32))
        if self._side is not None:
            self._side.prepare(frames)
        cells = self._cells(shapes, drawn) if drawn else {}
        folders = dict(zip(frames.tolist(), self._folders(frames), strict=True))
        return Chunk(batch, instances, pngs, whole, set(map(id, drawn)), cells, folders)

    def _draw_job(self, stretch: Stretch) -> DrawJob | None:
        """None where there is nothing to draw."""
        if not stretch.by_job:
            return None
        batch, pngs = stretch.chunk.batch, stretch.chunk.pngs
        rows = [row for instance in stretch.by_job for row in instance.rows]
        points = batch.shapes.points.take(np.array(rows, dtype=np.int64))
        counts = [len(instance.rows) for instance in stretch.by_job]
        frames = np.array([instance.frame for instance in stretch.by_job], dtype=np.int32)
        widths, heights = (sides.tolist() for sides in self._plan.sizes_of(frames))
        return DrawJob(
            points.values,
            points.offsets,
            np.repeat(np.arange(len(counts), dtype=np.int64), counts),
            widths,
            heights,
            [self._earlier(one, pngs) for one in stretch.by_job],
            self._plan.layout.fills_boxes,
            [self._draft(stretch.chunk, one) for one in stretch.by_job],
        )

    def _draft(self, chunk: Chunk, instance: Instance) -> Draft | None:
        """Of the side file's entry of polygons; None where there is none, or where they may be the mask's outline."""
        batch, shapes = chunk.batch, chunk.batch.shapes
        if self._side is None or not batch.needs_entry(instance) or self._side.is_of_track(shapes, instance.rows):
            return None
        edits = batch.edits_of(instance)
        is_imported = instance.imported is not None
        if is_imported and not edits & GEOMETRY and may_be_outlines(shapes, instance.rows):
            return None
        label = self._label_name(shapes, instance, chunk.cells[id(instance)], edits)
        stored = mask_check("", *_identity(shapes.kept, row_of(instance)))[1:] if is_imported else ""
        return self._side.draft(shapes, instance.rows, label, stored)

    def _label_name(self, shapes: Shapes, instance: Instance, cells: Line, edits: int) -> str:
        """The LabelName of its row; the kept one, unless it says another label."""
        is_kept = instance.imported is not None and not edits & LABEL and self._plan.options.label_ids != "name"
        return cells["LabelName"] if is_kept else self._plan.label_names[int(shapes.label_ids[row_of(instance)])]

    def _earlier(self, instance: Instance, pngs: KeptBytes) -> Earlier | None:
        if instance.imported is None:
            return None
        return Earlier(bytes(pngs.read(instance.imported)), pngs.digest(instance.imported))

    def _drawn(self, stretch: Stretch, done: list[Drawn | None] | None) -> dict[int, Drawn | None]:
        """What became of each drawn instance, by `id`; None for one without a pixel."""
        batch, pngs = stretch.chunk.batch, stretch.chunk.pngs
        by_job = [] if done is None else stretch.by_job
        found = dict(zip(map(id, by_job), done or (), strict=True))
        rest = [instance for instance in stretch.drawn if id(instance) not in found]
        if not rest:
            return found
        masks = draw_instances(self._plan, batch.shapes, rest)
        frames = np.array([instance.frame for instance in rest], dtype=np.int32)
        sizes = zip(*(sides.tolist() for sides in self._plan.sizes_of(frames)), strict=True)
        outlines = {id(instance) for instance in stretch.by_job}
        for instance, mask, (width, height) in zip(rest, masks, sizes, strict=True):
            earlier = self._earlier(instance, pngs) if id(instance) in outlines else None
            fills_boxes = self._plan.layout.fills_boxes
            found[id(instance)] = None if mask is None else finish_mask(mask, width, height, earlier, fills_boxes)
        return found

    def _write(self, stretch: Stretch, done: list[Drawn | None] | None) -> Iterator[TableRows]:
        """Write the PNGs of some instances, in order, and give their rows."""
        chunk, instances = stretch.chunk, stretch.instances
        batch, pngs, whole = chunk.batch, chunk.pngs, chunk.whole
        shapes = batch.shapes
        lines: dict[int, int] = {}
        paths: dict[int, str] = {}  # of their PNGs
        for instance in instances:
            if (row := _free_line(batch, instance, whole)) is not None:
                folder, key = chunk.folders[instance.frame], id(instance)
                if self._names.claim(folder, batch.paths[row], _identity(shapes.kept, row_of(instance))):
                    lines[key], paths[key] = row, folder + batch.paths[row]
        rest = [instance for instance in instances if id(instance) not in lines]
        masks = self._drawn(stretch, done)
        empty = {key for key, mask in masks.items() if mask is None}
        others = [instance for instance in rest if id(instance) not in chunk.cells]
        cells = chunk.cells | self._cells(shapes, others) if others else chunk.cells
        frames = [instance.frame for instance in instances if id(instance) not in empty]
        places: list[int] = []  # of each row: of a line, or behind them of a new one
        texts: list[list[str]] = []
        entries_of_texts: list[bytes] = []
        first, n_lines = min(lines.values(), default=0), max(lines.values(), default=-1) + 1
        entries_of_lines = [b""] * (n_lines - first)
        for instance in instances:
            if (line := lines.get(id(instance))) is not None:
                self._put_kept(paths[id(instance)], shapes.kept, row_of(instance), pngs)
                places.append(line - first)
                if self._side is not None and id(instance) in whole:
                    check = mask_check(batch.labels[line], *_identity(shapes.kept, row_of(instance)))
                    of_line = self._side.outline_entry(shapes, instance.rows, check)
                    entries_of_lines[line - first] = self._side.hold(of_line)
            elif id(instance) not in empty:
                places.append(n_lines - first + len(texts))
                text = cells[id(instance)]
                entry = self._write_line(chunk, instance, text, masks.get(id(instance)))
                entries_of_texts.append(b"" if self._side is None else self._side.hold(entry))
                texts.append([text[name] for name in self._columns])
        self._tell_empty(len(empty))
        if self._side is not None and empty:
            gone = [place for instance in rest if id(instance) in empty for place in instance.rows]
            self._side.add_rowless(shapes.take(np.array(gone, dtype=np.int64)))
        if frames:
            kept, made = batch.lines.records.slice(first, n_lines), join_texts(texts, len(self._columns))
            entries = [*entries_of_lines, *entries_of_texts]
            rows = TableRows(
                np.array(frames, dtype=np.int32),
                Ragged.concatenate([kept, made]) if len(kept) and len(made) else made if len(made) else kept,
                Ragged.from_bytes(entries) if any(entries) else None,
            )
            if places != list(range(len(entries))):
                both = replace(rows, frames=np.zeros(len(entries), dtype=np.int32))
                rows = replace(both.take(np.array(places, dtype=np.int64)), frames=rows.frames)
            yield rows

    def _cells(self, shapes: Shapes, instances: Sequence[Instance]) -> dict[int, Line]:
        """The cells of each instance as it was kept; blank ones for a new instance."""
        places = np.array([row_of(instance) for instance in instances], dtype=np.int64)
        owned = np.array([instance.imported is not None for instance in instances], dtype=np.bool_)
        part = shapes.take(places)
        kept = only_kept(part.kept, owned)
        columns = kept_columns(self._plan, kept, self._columns)
        columns["ImageID"] = id_cells(self._plan, columns["ImageID"], part.frames, exact=True)
        texts = zip(*(columns[name].to_texts() for name in self._columns), strict=True)
        return {
            id(instance): dict(zip(self._columns, row, strict=True))
            for instance, row in zip(instances, texts, strict=True)
        }

    def _write_line(self, chunk: Chunk, instance: Instance, line: Line, drawn: Drawn | None) -> Entry:
        """Write the PNG of one instance, and change the cells of its row by the edit rules; its entry in the side
        file."""
        batch, pngs = chunk.batch, chunk.pngs
        plan, shapes, row = self._plan, batch.shapes, row_of(instance)
        is_imported = instance.imported is not None
        edits = batch.edits_of(instance)
        png = None if drawn is None else drawn.png  # None: the stored one stays
        label_id = int(shapes.label_ids[row])
        relabelled = not is_imported or bool(edits & LABEL) or plan.options.label_ids == "name"
        line["LabelName"] = self._label_name(shapes, instance, line, edits)
        values = plan.decoder.values(label_id, shapes.attributes.row(row))
        line["BoxID"] = batch.box_ids[id(instance)] if id(instance) in batch.box_ids else line["BoxID"]
        self._box_cells(batch, instance, line, edits, drawn)
        _set_quality(line, values, png is not None and is_imported)
        if png is not None and is_imported:
            line["Clicks"] = ""
        if relabelled or not is_plain_name(line["MaskPath"]):
            line["MaskPath"] = f"{mask_stem(line['ImageID'], line['LabelName'], line['BoxID'])}.png"
        folder = chunk.folders[instance.frame]
        if png is None:
            identity = _identity(shapes.kept, row)
            line["MaskPath"] = self._name_kept(folder, line["MaskPath"], shapes.kept, row)
            self._put_kept(folder + line["MaskPath"], shapes.kept, row, pngs)
        else:
            identity = (isal_zlib.crc32(png), len(png))
            self._names.reserve(batch.reserved.get(instance.frame, ()))
            line["MaskPath"] = self._names.choose(folder, line["MaskPath"])
            self._archive.add_stored(folder + line["MaskPath"], png, identity[0], is_accepted=True)
        if self._side is None or not batch.needs_entry(instance):
            return b""
        if drawn is not None and drawn.entry:
            return drawn.entry
        check = mask_check(line["LabelName"], *identity)
        if id(instance) in chunk.whole:
            return self._side.outline_entry(shapes, instance.rows, check)
        is_as_traced = png is None and not edits & GEOMETRY
        may_be_traced = is_as_traced and may_be_outlines(shapes, instance.rows)
        traced = self._imported_pixels(shapes, instance, pngs) if may_be_traced else None
        return self._side.mask_entry(shapes, instance.rows, check, traced)

    def _imported_pixels(self, shapes: Shapes, instance: Instance, pngs: KeptBytes) -> PackedMask | None:
        """The imported mask at frame size, where the instance is made of polygons: they may be its very outline."""
        if instance.imported is None or not bool((shapes.types[instance.rows] == ShapeType.POLYGON).all()):
            return None
        width, height = (int(side[0]) for side in self._plan.sizes_of(np.array([instance.frame], dtype=np.int32)))
        kept = decode_mask(pngs.read(instance.imported))
        return resize_mask(PackedMask(kept.rows, kept.width), width, height)

    def _box_cells(self, batch: Batch, instance: Instance, line: Line, edits: int, drawn: Drawn | None) -> None:
        """Box*: the linked box's own text, unless the kept cells say the same; emptied when the link is gone."""
        shapes, is_imported = batch.shapes, instance.imported is not None
        if instance.box is not None:
            texts = batch.boxes[instance.box]
            if not (is_imported and _same_box([line[name] for name in MASK_COORDINATES], texts)):
                line.update(zip(MASK_COORDINATES, texts, strict=True))
        elif edits & GROUP or (shapes.groups[instance.rows[0]] and not _is_traced(shapes, instance)):
            line.update(dict.fromkeys(MASK_COORDINATES, ""))
        if self._plan.layout.fills_boxes and not all(line[name] for name in MASK_COORDINATES):
            line.update(zip(MASK_COORDINATES, self._tight_box(shapes, instance, drawn), strict=True))

    def _tight_box(self, shapes: Shapes, instance: Instance, drawn: Drawn | None) -> Box:
        """The mask's own box as cells."""
        if drawn is not None and drawn.edges is not None:
            edges = list(drawn.edges)
        elif shapes.types[row_of(instance)] == ShapeType.POLYGON:  # a whole outline
            corners = shapes.points.take(np.array(instance.rows, dtype=np.int64)).values.reshape(-1, 2)
            edges = [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
        else:  # an untouched mask shape: its runs end with the box, inclusive
            left, top, right, bottom = shapes.runs.row(row_of(instance))[-4:].tolist()
            edges = [left, top, right + 1, bottom + 1]
        sizes = self._plan.sizes_of(np.array([instance.frame], dtype=np.int32))
        x0, y0, x1, y1 = encode_numbers(boxes_to_norm(np.array([edges], dtype=np.float64), *sizes)[0]).to_texts()
        return x0, x1, y0, y1

    # --- names and bytes ---

    def _folders(self, frames: Codes) -> list[str]:
        """The folder of a mask of each frame."""
        places = frames - self._plan.start
        images = self._plan.ids.cells(places).ragged().to_texts()
        return list(map(self._plan.layout.mask_folder, self._plan.subsets.take(places).to_list(), images))

    def _folder(self, frame: int) -> str:
        if frame != self._last_folder[0]:
            row = frame - self._plan.start
            image = self._plan.ids.row_bytes(row).decode("utf-8")
            self._last_folder = frame, self._plan.layout.mask_folder(self._plan.subsets.row(row), image)
        return self._last_folder[1]

    def _name_kept(self, folder: str, wanted: str, kept: Kept, row: int) -> str:
        """The name of a kept PNG: its own, unless another has it."""
        if self._names.claim(folder, wanted, _identity(kept, row)):
            return wanted
        name = self._names.choose(folder, wanted, _identity(kept, row))
        message = f"{shorten(wanted)} is taken by another mask; it became {shorten(name)}"
        self._plan.report.add_many([Problem("export.renamed", message, "warning", value=shorten(wanted))], 1)
        return name

    def _put_kept(self, path: str, kept: Kept, row: int, pngs: KeptBytes) -> None:
        """Write a kept PNG whose name was claimed; once for all rows that name it."""
        if not self._names.begin(path):
            return
        data, crc = pngs.read(row), int(kept.png_crcs[row])
        if self._plan.layout.bright_masks:
            found = decode_mask(data)
            if found.is_dark or not found.is_binary:
                drawn = encode_mask(found.rows, found.width)
                self._archive.add_stored(path, drawn, isal_zlib.crc32(drawn))
                message = (
                    f"{shorten(path)} has dark or several greys, which FiftyOne cannot read; it is black and white now"
                )
                self._plan.report.add_many([Problem("export.mask_redrawn", message, "warning")], 1)
                return
        self._archive.add_stored(path, data, crc)

    def _tell_empty(self, count: int) -> None:
        if count:
            message = "a shape covers no pixel of its frame and is left out"
            self._plan.report.add_many([Problem("export.empty_mask", message, "warning")], count)


def _grouped(shapes: Shapes, instances: Sequence[Instance]) -> list[bool]:
    """Whether the first shape of each instance is in a group."""
    firsts = np.array([instance.rows[0] for instance in instances], dtype=np.int64)
    grouped: list[bool] = (shapes.groups[firsts] != 0).tolist()
    return grouped


def _chunks(batch: Batch) -> Iterator[list[Instance]]:
    """Instances whose PNGs and cells fit into memory together."""
    owners = np.array([row_of(instance) for instance in batch.instances], dtype=np.int64)
    kept = batch.shapes.kept
    for part in steps_within(kept.png_sizes[owners] + kept.lines.lengths[owners], TAKEN_BYTES, KEPT_AT_ONCE):
        yield batch.instances[part]


def _stretches(chunk: Chunk) -> Iterator[Stretch]:
    """Instances of which so many are drawn as fit into memory together."""
    shapes = chunk.batch.shapes
    types = shapes.types.tolist()
    sizes = shapes.points.lengths.tolist() if chunk.drawn else []
    start = n_values = 0
    drawn: list[Instance] = []
    for stop, instance in enumerate(chunk.instances, 1):
        if id(instance) in chunk.drawn:
            drawn.append(instance)
            n_values += sum([sizes[row] for row in instance.rows])
        if len(drawn) >= TAKEN_AT_ONCE or n_values >= TAKEN_VALUES or stop == len(chunk.instances):
            by_job = [one for one in drawn if all(types[row] == POLYGON for row in one.rows)]
            yield Stretch(chunk, chunk.instances[start:stop], drawn, by_job)
            start, n_values, drawn = stop, 0, []


def _free_line(batch: Batch, instance: Instance, whole: Collection[int]) -> int | None:
    """The line of an untouched instance; None for another one.

    Args:
        whole: the `id` of each instance that is the outline of its PNG.
    """
    line = batch.line(instance)
    return line if line is None or id(instance) in whole or id(instance) in batch.unchanged else None


def _identity(kept: Kept, row: int) -> tuple[int, int]:
    return int(kept.png_crcs[row]), int(kept.png_sizes[row])


def _is_traced(shapes: Shapes, instance: Instance) -> bool:
    """Whether an instance is the parts of one imported mask: their group may be theirs alone, and no link."""
    return (
        instance.imported is not None
        and len(instance.rows) > 1
        and bool((shapes.types[instance.rows] == ShapeType.POLYGON).all())
    )


def _set_quality(line: Line, values: Mapping[str, str], redrawn: bool) -> None:
    """PredictedIoU: the attribute, else the kept cell while the pixels are the imported ones."""
    wanted = values.get("predicted_iou", "")
    if wanted.strip():
        kept = line["PredictedIoU"]
        line["PredictedIoU"] = kept if kept and same_value(wanted, kept) else (share_text(wanted) or "")
    elif redrawn:
        line["PredictedIoU"] = ""


def _fixed_box_id(wanted: str, kept: str) -> str:
    """A BoxID that an attribute or a kept cell gives; "" where neither gives one that can be written."""
    if wanted and kept and same_value(wanted, kept):
        wanted = kept
    if wanted.endswith(".0") and wanted[:-2].isdigit():
        wanted = wanted[:-2]  # a number attribute
    return next((text for text in (wanted, kept) if text and is_safe_box_id(text)), "")


def _same_box(cells: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a mask's own box cells name the linked box; they are numbers, for the import checked them."""
    return all(cells) and all(
        abs(float(cell) - float(text)) <= LINK_TOLERANCE for cell, text in zip(cells, texts, strict=True)
    )
