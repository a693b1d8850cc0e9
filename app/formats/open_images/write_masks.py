"""Masks to rows of the mask table and PNGs: the stored bytes where nothing changed, new ones by the pixel rules.

    instances ─┬─ untouched: its line and its PNG as they came
               └─ drawn, edited or of other columns: cells by column (`mask_cells.py`), a PNG where pixels changed

    shapes ── jobs ──▶ who draws, ahead of who writes ── PNGs, entries ──▶ rows, some hundred masks at a time

Source: Open Images reference 4.5 to 4.9, 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from isal import isal_zlib

from app.annotations import Kept, Rows, Shapes, ShapeType
from app.archive import ArchiveWriter
from app.columns import Ragged, distinct, join_records
from app.errors import Problem, shorten
from app.formats.base import Source
from app.formats.open_images.kept_bytes import KeptBytes, read_all
from app.formats.open_images.kept_rows import (
    Codes,
    Columns,
    KeptLines,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    pick,
    put,
)
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.layout import MASK_COORDINATES
from app.formats.open_images.mask_cells import MadeRows, MaskBoxes, box_ids, linked_boxes, made_cells
from app.formats.open_images.mask_drawing import Drawn, finish_mask
from app.formats.open_images.mask_instances import (
    Instance,
    draw_instances,
    rows_of,
)
from app.formats.open_images.mask_jobs import (
    GEOMETRY,
    POLYGON,
    TAKEN_AT_ONCE,
    TAKEN_BYTES,
    Batch,
    Chunk,
    Done,
    DrawCrew,
    MaskJobs,
    NeedyShapes,
    PlainStretch,
    Stretch,
    identity,
)
from app.formats.open_images.mask_names import MaskNames
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_pieces import Entry
from app.formats.open_images.side_write import SideWriter, mask_check, may_be_outlines
from app.formats.open_images.whole_outlines import untouched_outlines, whole_outlines
from app.formats.open_images.write_boxes import id_cells, is_rotated
from app.formats.open_images.write_tags import kept_label_cells, selected_rows
from app.geometry import PackedMask, resize_mask
from app.images import decode_mask, encode_mask

LAST_BOX_NUMBER = 0xFFFFFFFF
WHOLE_FRAME = ("0", "1", "0", "1")


Found = dict[int, Drawn | None]
"""What became of drawn instances, by their number; None for one without a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What is known of a batch before the first of its rows is written.

    Attributes:
        lines: of the untouched instances; `line_of` (N,) tells the line of each, -1 for none; `paths` and `labels`
            the MaskPath and LabelName of each line.
        box_ids: (N,) of the instances on frames where not all are untouched; None for the others.
        boxes: of the instances that are linked to one.
        reserved: frame → names of untouched masks, where the frame has other instances too.
    """

    lines: KeptLines
    line_of: Places
    paths: Sequence[str]
    labels: Sequence[str]
    box_ids: Sequence[str | None]
    boxes: MaskBoxes
    reserved: Mapping[int, Sequence[str]]


class MaskTable:
    """Writes the PNGs of one table as they come and gives its rows.

    Shapes may be told beforehand (`expect`), while other tables are written: a helper draws them by then (`go_on`).
    """

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
        self._crew = crew
        self._jobs = MaskJobs(plan, source, subset, columns, side)
        self._drawing = crew.run_ahead(self._jobs.next)
        self._last_settled: tuple[Batch | None, Settled | None] = (None, None)

    def expect(self, shapes: Shapes, needed: Mask) -> None:
        """The next shapes that `rows` is to write; of ascending frames."""
        self._jobs.expect(shapes, needed)
        self._crew.expect(self._jobs.n_expected // TAKEN_AT_ONCE)

    def go_on(self) -> None:
        """Have more of what is expected drawn by whoever helps; nothing is waited for."""
        self._drawing.go_on()

    def rows(self, rest: Iterator[NeedyShapes]) -> Iterator[TableRows]:
        """The rows of all that was expected and of the rest, one PNG written for each."""
        self._jobs.rest = rest
        drawn: Found = {}
        start: int | None = None
        n_bytes = 0
        for stretch, done in self._drawing:
            if isinstance(stretch, PlainStretch):
                yield from self._write_plain(stretch)
                continue
            start = stretch.start if start is None else start
            found = self._found(stretch, done)
            drawn |= found
            n_bytes += sum([len(one.png) for one in found.values() if one is not None and one.png is not None])
            if stretch.stop == stretch.chunk.stop or n_bytes >= TAKEN_BYTES:
                yield from self._write(stretch.chunk, start, stretch.stop, drawn)
                drawn, start, n_bytes = {}, None, 0
        self._last_settled = None, None

    # --- what is drawn ---

    def _found(self, stretch: Stretch, done: Done) -> Found:
        """What became of each drawn instance: what no job has drawn is drawn here."""
        batch, chunk, start = stretch.chunk.batch, stretch.chunk, stretch.start
        found: Found = {}
        if done is not None:
            found.update(zip(stretch.by_job.tolist(), done, strict=True))
        wanted = (start + np.flatnonzero(chunk.drawn[start : stretch.stop])).tolist()
        rest = np.array([number for number in wanted if number not in found], dtype=np.int64)
        if not len(rest):
            return found
        pngs, fills_boxes = self._jobs.pngs(batch, rest), self._plan.layout.fills_boxes
        masks = draw_instances(self._plan, batch.shapes, [batch.instances[number] for number in rest.tolist()])
        sizes = zip(*(sides.tolist() for sides in self._plan.sizes_of(batch.masks.frames[rest])), strict=True)
        for number, mask, (width, height) in zip(rest.tolist(), masks, sizes, strict=True):
            of_polygons = batch.masks.polygons[number]
            earlier = self._jobs.earlier(batch.instances[number], pngs) if of_polygons else (b"", None)
            found[number] = None if mask is None else finish_mask(mask, width, height, *earlier, fills_boxes)
        return found

    # --- what is written ---

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
            batch = self._jobs.batch(shapes, stretch.needed, stretch.chosen)
            start = int(np.searchsorted(batch.masks.firsts, rows[0]))  # an instance each
            chunk = self._jobs.chunk(batch, start, start + len(rows), KeptBytes(self._source, kept, rows))
            yield from self._write(chunk, chunk.start, chunk.stop, {})
            return
        yield TableRows(shapes.frames[rows], masks.records)

    def _write(self, chunk: Chunk, start: int, stop: int, drawn: Found) -> Iterator[TableRows]:
        """Write the PNGs of some instances of a chunk, in order, and give their rows."""
        batch, masks, kept = chunk.batch, chunk.batch.masks, chunk.batch.shapes.kept
        settled = self._settle(batch)
        folders = self._folders(masks.frames[start:stop])
        lines: dict[int, str] = {}  # instances whose line stays, and where their PNGs lie
        is_free = (settled.line_of >= 0) & (chunk.whole | masks.unchanged)
        for number in (start + np.flatnonzero(is_free[start:stop])).tolist():
            name, folder = settled.paths[settled.line_of[number]], folders[number - start]
            if self._names.claim(folder, name, identity(kept, masks.owners[number])):
                lines[number] = folder + name
        redrawn = [number for number, one in drawn.items() if one is not None and one.png is not None]
        pngs = self._jobs.pngs(batch, np.setdiff1d(np.arange(start, stop, dtype=np.int64), redrawn))
        empty = sorted([number for number, one in drawn.items() if one is None])
        is_made = np.ones(stop - start, dtype=np.bool_)
        is_made[np.array([*lines, *empty], dtype=np.int64) - start] = False
        made = start + np.flatnonzero(is_made)
        cells = self._made_cells(batch, settled, made, drawn)
        names = dict(zip(made.tolist(), cells["MaskPath"].to_texts(), strict=True))
        for number, folder, owner in zip(range(start, stop), folders, masks.owners[start:stop].tolist(), strict=True):
            if number in lines:
                self._put_kept(lines[number], kept, owner, pngs)
            elif number in names:
                one = drawn.get(number)
                if one is None or one.png is None:
                    names[number] = self._name_kept(folder, names[number], kept, owner)
                    self._put_kept(folder + names[number], kept, owner, pngs)
                else:
                    self._names.reserve(settled.reserved.get(batch.instances[number].frame, ()))
                    names[number] = self._names.choose(folder, names[number])
                    crc = isal_zlib.crc32(one.png)
                    self._archive.add_stored(folder + names[number], one.png, crc, is_accepted=True)
        cells["MaskPath"] = Ragged.from_bytes(list(map(str.encode, names.values())))
        kept_numbers = np.array(list(lines), dtype=np.int64)
        self._tell_empty(batch, empty)
        parts = [
            TableRows(masks.frames[made], join_records([cells[name] for name in self._columns], len(made))),
            TableRows(masks.frames[kept_numbers], pick(settled.lines.records, settled.line_of[kept_numbers])),
        ]
        numbers = np.concatenate([made, kept_numbers])
        if len(numbers):
            entries = self._entries(chunk, settled, numbers, cells, drawn, pngs)
            both = replace(TableRows.concatenate([part for part in parts if len(part)]), entries=entries)
            yield both.take(np.argsort(numbers))

    def _settle(self, batch: Batch) -> Settled:
        """See `Settled`; the last one is remembered."""
        if self._last_settled[0] is not batch:
            self._last_settled = batch, self._find_settled(batch)
        assert self._last_settled[1] is not None
        return self._last_settled[1]

    def _find_settled(self, batch: Batch) -> Settled:
        plan, shapes, masks = self._plan, batch.shapes, batch.masks
        edits, owners, boxes = shapes.kept.edits, masks.owners, masks.boxes
        still_boxes = is_kind(plan, shapes.kept, "boxes") & (edits == 0) & ~is_rotated(shapes)
        still_masks = (shapes.types == ShapeType.MASK) & (edits == 0) & ~batch.needed
        outlines = untouched_outlines(plan, shapes, batch.instances)
        untouched = np.where(outlines, masks.edits == 0, (masks.sizes == 1) & still_masks[owners])
        is_alone = (shapes.groups[masks.firsts] == 0) | masks.traced
        # A merge may have corrected the box alone: its row is of another import then.
        same_import = shapes.kept.sets[boxes] == shapes.kept.sets[owners]
        candidates = masks.imported & untouched & np.where(boxes >= 0, still_boxes[boxes] & same_import, is_alone)
        lines = self._jobs.lines(shapes, distinct(owners[candidates]))
        line_of = np.full(len(masks.frames), -1, dtype=np.int64)
        if len(lines.places):
            rows = np.minimum(np.searchsorted(lines.places, owners), len(lines.places) - 1)
            line_of = np.where(masks.imported & (lines.places[rows] == owners), rows, -1)
        cells = kept_columns(plan, shapes.kept.take(lines.places), ("MaskPath", "LabelName"))
        paths = cells["MaskPath"].to_texts()
        is_peer = np.isin(masks.frames, masks.frames[line_of < 0])
        # Where others are to be named, it must be certain which names are taken.
        suspects = np.flatnonzero(outlines & (line_of >= 0) & is_peer)
        line_of[suspects[~self._are_whole(batch, suspects)]] = -1
        peers = np.flatnonzero(is_peer)
        reserved: dict[int, list[str]] = {}
        for frame, line in zip(masks.frames[peers].tolist(), line_of[peers].tolist(), strict=True):
            if line >= 0:
                reserved.setdefault(frame, []).append(paths[line])
        texts: list[str | None] = [None] * len(masks.frames)
        for number, text in zip(peers.tolist(), box_ids(plan, shapes, masks, peers), strict=True):
            texts[number] = text
        return Settled(
            lines, line_of, paths, cells["LabelName"].to_texts(), texts, linked_boxes(plan, shapes, masks), reserved
        )

    def _are_whole(self, batch: Batch, numbers: Places) -> Mask:
        """Of instances of untouched polygons, which are the whole outline of their PNG."""
        whole = np.zeros(len(numbers), dtype=np.bool_)
        for start in range(0, len(numbers), TAKEN_AT_ONCE):
            part = slice(start, start + TAKEN_AT_ONCE)
            some = [batch.instances[number] for number in numbers[part].tolist()]
            whole[part] = whole_outlines(self._plan, batch.shapes, some, self._jobs.pngs(batch, numbers[part]))
        return whole

    def _made_cells(self, batch: Batch, settled: Settled, made: Places, drawn: Found) -> Columns:
        numbers = made.tolist()
        found = [drawn.get(number) for number in numbers]
        redrawn = np.array([one is not None and one.png is not None for one in found], dtype=np.bool_)
        edges = None
        if self._plan.layout.fills_boxes:
            each = zip([batch.instances[number] for number in numbers], found, strict=True)
            edges = np.array([_edges(batch.shapes, *one) for one in each], dtype=np.float64).reshape(-1, 4)
        ids = [settled.box_ids[number] for number in numbers]
        rows = MadeRows(batch.shapes, batch.masks, made, ids, settled.boxes, redrawn, edges)
        return made_cells(self._plan, rows, self._columns)

    # --- entries of the side file ---

    def _entries(
        self,
        chunk: Chunk,
        settled: Settled,
        numbers: Places,
        cells: Columns,
        drawn: Found,
        pngs: KeptBytes,
    ) -> Ragged | None:
        """Of the rows of some instances: first those that are made of `cells`, then those whose line stays."""
        if self._side is None:
            return None
        labels = cells["LabelName"]
        entries: list[Entry] = [b""] * len(numbers)
        prepared = False
        for place, number in enumerate(numbers.tolist()):
            one = drawn.get(number)
            if place < len(labels) and not chunk.batch.needs_entry(number):
                continue
            if place >= len(labels) and not chunk.whole[number]:
                continue
            if one is not None and one.entry:
                entries[place] = one.entry
                continue
            if not prepared:
                self._side.prepare(chunk.batch.masks.frames[numbers])
                prepared = True
            line = settled.line_of[number]
            label = labels.row_bytes(place).decode("utf-8") if place < len(labels) else settled.labels[line]
            entries[place] = self._entry(chunk, number, label, one, pngs)
        return Ragged.from_bytes([self._side.hold(entry) for entry in entries]) if any(entries) else None

    def _entry(self, chunk: Chunk, number: int, label: str, one: Drawn | None, pngs: KeptBytes) -> bytes:
        assert self._side is not None
        batch = chunk.batch
        shapes, instance = batch.shapes, batch.instances[number]
        png = None if one is None else one.png
        owner = int(batch.masks.owners[number])
        if png is not None:
            told = isal_zlib.crc32(png), len(png)
        elif self._plan.layout.bright_masks:
            written, crc = self._as_written(shapes.kept, owner, pngs)
            told = crc, len(written)
        else:
            told = identity(shapes.kept, owner)
        check = mask_check(label, *told)
        if chunk.whole[number]:
            return self._side.outline_entry(shapes, instance.rows, check)
        is_as_traced = png is None and not batch.masks.edits[number] & GEOMETRY
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
        if self._names.claim(folder, wanted, identity(kept, row)):
            return wanted
        name = self._names.choose(folder, wanted, identity(kept, row))
        message = f"{shorten(wanted)} is taken by another mask; it became {shorten(name)}"
        self._plan.report.add_many([Problem("export.renamed", message, "warning", value=shorten(wanted))], 1)
        return name

    def _put_kept(self, path: str, kept: Kept, row: int, pngs: KeptBytes) -> None:
        """Write a kept PNG whose name was claimed; once for all rows that name it."""
        if not self._names.begin(path):
            return
        data, crc = self._as_written(kept, row, pngs)
        if crc != kept.png_crcs[row]:
            message = (
                f"{shorten(path)} has dark or several greys, which FiftyOne cannot read; it is black and white now"
            )
            self._plan.report.add_many([Problem("export.mask_redrawn", message, "warning")], 1)
        self._archive.add_stored(path, data, crc)

    def _as_written(self, kept: Kept, row: int, pngs: KeptBytes) -> tuple[bytes | memoryview, int]:
        """A kept PNG as this layout has it, and its CRC-32."""
        data, crc = pngs.read(row), int(kept.png_crcs[row])
        if self._plan.layout.bright_masks:
            found = decode_mask(data)
            if found.is_dark or not found.is_binary:
                drawn = encode_mask(found.rows, found.width)
                return drawn, isal_zlib.crc32(drawn)
        return data, crc

    def _tell_empty(self, batch: Batch, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        message = "a shape covers no pixel of its frame and is left out"
        self._plan.report.add_many([Problem("export.empty_mask", message, "warning")], len(numbers))
        if self._side is not None:
            rows, _ = rows_of([batch.instances[number] for number in numbers])
            shapes = batch.shapes.take(rows)
            if self._plan.options.rotated == "both":  # a rectangle has the row of its hull
                shapes = shapes.take(shapes.types != ShapeType.RECTANGLE)
            self._side.add_rowless(shapes)


def _edges(shapes: Shapes, instance: Instance, drawn: Drawn | None) -> Sequence[float]:
    """The mask's own box: left, top, right, bottom."""
    if drawn is not None and drawn.edges is not None:
        return drawn.edges
    first = instance.rows[0] if instance.imported is None else instance.imported
    if shapes.types[first] == POLYGON:  # a whole outline
        corners = shapes.points.take(np.array(instance.rows, dtype=np.int64)).values.reshape(-1, 2)
        return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
    # An untouched mask shape: its runs end with the box, inclusive.
    left, top, right, bottom = shapes.runs.row(first)[-4:].tolist()
    return [left, top, right + 1, bottom + 1]
