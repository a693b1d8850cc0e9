"""Mask tables, second walk: PNGs → mask shapes (or polygons). Every PNG is kept as it came.

The reader hands out jobs, tells what is to be told in the order of the zip, and writes the shapes in that of the table;
pixels are `mask_work.py`'s.

Source: Open Images reference 3.9 (foreground, sizes, polygons), 3.10 (groups).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Rows, RowsMeaning, Shapes, ShapeType, can_stay_packed, pack_masks, unpack_mask
from app.archive import Entry
from app.columns import CSVBlock, PackedRagged, Ragged, as_doubles, distinct, steps_within
from app.errors import ImportProblems, Problem, Severity, shorten
from app.formats.open_images.kept_bytes import parts_note
from app.formats.open_images.mask_files import MaskFiles
from app.formats.open_images.mask_proofs import MaskProofs
from app.formats.open_images.mask_work import MaskJob, MasksDone, work_masks
from app.formats.open_images.read_boxes import encode_attributes, text_columns
from app.formats.open_images.read_mask_rows import MaskRows
from app.formats.open_images.reading import WARNINGS_LISTED, Ints, Mask, Reading, TableState
from app.formats.open_images.side_write import mask_check
from app.geometry import Flips
from app.helpers import HELD_JOBS, Crew

Ids = npt.NDArray[np.int64]

BATCH_MASKS, BATCH_PROOFS = 128, 1024
"""Masks that are decoded, or only proven, at once: pixels take memory, and each batch costs 3 ms however small."""
BATCH_BYTES = 8 << 20
AHEAD_BYTES, AHEAD_MASKS = 24 << 20, 8192
"""PNGs that are held with their rows, from when they are read until they are written."""
ASPECT_TOLERANCE = 0.01
MAX_REPEATED_BYTES = 256 << 20
"""Bytes of PNGs that come again because several rows name them; each row keeps its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Some rows of a block with the bytes of their PNGs, in the order in which those lie in the zip.

    Attributes:
        n_bytes: of the PNGs.
        first: rows of the table in front of the block. Jobs are taken ahead, of the blocks behind, too.
        block_rows: (K,) places in the block.
        mask_rows: (K,) places in `MaskRows`.
        numbers, crcs: (K,) of the PNGs: in the archive, and of their bytes.
        tell: what is to be told before them: reports must not depend on how far ahead jobs are taken.
    """

    table: TableState
    block: CSVBlock
    first: int
    block_rows: Ids
    mask_rows: Ids
    numbers: Ints
    crcs: Ids
    n_bytes: int
    job: MaskJob
    tell: Callable[[], None]

    @property
    def is_proven(self) -> bool:
        """Whether nothing is left to be done."""
        return bool(self.job.proven) and all(width for width, *_ in self.job.proven)

    def rest(self, start: int) -> Taken:
        """Those behind the first `start`."""
        job = replace(
            self.job,
            pngs=self.job.pngs[start:],
            widths=self.job.widths[start:],
            heights=self.job.heights[start:],
            proven=self.job.proven[start:],
        )
        return replace(
            self,
            block_rows=self.block_rows[start:],
            mask_rows=self.mask_rows[start:],
            numbers=self.numbers[start:],
            crcs=self.crcs[start:],
            job=job,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The good masks of a job, in the order of the table, as columns.

    Attributes:
        at: (F,) their places in the job.
        pngs: (F, 3) offset, size and CRC-32 of what was kept.
        is_resized: (F,) bool.
        n_parts: (F,) polygons that each became, 0 where it is a mask or has no pixel.
        has_pixels: (F,) bool.
    """

    at: Ids
    pngs: Ids
    is_resized: Mask
    n_parts: Ids
    has_pixels: Mask


class MaskReader:
    """Writes every mask row as a shape: first `go_on` while other tables are read, then `read`.

    Only where pixels are wanted (outlines, or the consistency rules) is anything done ahead of `read`.
    """

    def __init__(
        self,
        reading: Reading,
        rows: MaskRows,
        files: MaskFiles,
        crew: Crew[Taken, MaskJob, MasksDone],
        proofs: MaskProofs,
    ) -> None:
        self._reading, self._rows, self._files, self._proofs = reading, rows, files, proofs
        self._goes_ahead = bool(reading.options.conv_mask_to_poly) or reading.consistency.is_on
        self._unlinked: Mask = np.zeros(0, dtype=np.bool_)
        self._jobs = self._make_jobs()
        self._run = crew.run_ahead(self._next_job, HELD_JOBS * crew.ahead)
        self._ahead_bytes = self._n_ahead = 0
        self._failed: ImportProblems | None = None

    def go_on(self) -> None:
        """Give helpers something to do, and wait for nothing."""
        if self._goes_ahead:
            self._run.go_on()

    def read(self, groups: Ints, numbers: Ints) -> None:
        """Write all shapes, once; nobody goes ahead any more.

        Args:
            groups: (M,) of the linked box, 0 for none.
            numbers: (M,) a group for the parts of a mask that become several polygons.
        """
        reading, rows, run = self._reading, self._rows, self._run
        del self._run  # it refers to this reader: in a circle all would lie about until somebody looks for garbage
        self._unlinked = rows.linkable & (groups == 0)
        _check_repeats(reading, rows, self._files)
        for taken, answer in run:
            self._ahead_bytes -= taken.n_bytes
            self._n_ahead -= len(taken.numbers)
            done = MasksDone.of_proven(taken.job.proven) if answer is None else answer
            taken.tell()
            _write_done(reading, taken, rows, groups, numbers, done)
            n_done = len(done)
            while n_done < len(taken.numbers):
                rest = taken.rest(n_done)
                done = work_masks(rest.job)
                _write_done(reading, rest, rows, groups, numbers, done)
                n_done += len(done)
        if self._failed is not None:
            raise self._failed

    def _next_job(self) -> tuple[Taken, MaskJob | None] | None:
        """None where there is no other, or so much was taken ahead that it has to wait."""
        if self._ahead_bytes >= AHEAD_BYTES or self._n_ahead >= AHEAD_MASKS:
            return None
        try:
            found = next(self._jobs, None)
        except ImportProblems as problems:  # told in its turn: reports must not depend on how far ahead jobs are taken
            self._failed = problems
            return None
        if found is None:
            return None
        self._ahead_bytes += found.n_bytes
        self._n_ahead += len(found.numbers)
        return found, None if found.is_proven else found.job

    def _make_jobs(self) -> Iterator[Taken]:
        """The PNGs of all rows: table by table, block by block and batch by batch."""
        reading, rows = self._reading, self._rows
        for table, at, stop in zip(rows.tables, rows.bounds[:-1], rows.bounds[1:], strict=True):
            for block in reading.read_again(table):
                end = at + int(np.searchsorted(rows.rows[at:stop], block.rows[-1], side="right")) if len(block) else at
                chosen = np.searchsorted(block.rows, rows.rows[at:end])  # places of the good rows in the block
                has_entries = reading.side.has_entries(table.path, table.first, len(block))
                stays_packed = not (self._goes_ahead or has_entries)
                most = BATCH_PROOFS if stays_packed else BATCH_MASKS
                for part in steps_within(reading.archive.members(rows.numbers[at:end]).sizes, BATCH_BYTES, most):
                    mask_rows = np.arange(at + part.start, at + part.stop, dtype=np.int64)
                    proofs = self._proofs if stays_packed else None
                    taken = _take(reading, table, block, chosen[part], rows, mask_rows, has_entries, proofs)
                    if part.start == 0:
                        tell_unlinked = partial(self._tell_unlinked, table, block, chosen, at)
                        taken = replace(taken, tell=partial(_in_turn, tell_unlinked, taken.tell))
                    yield taken
                at = end

    def _tell_unlinked(self, table: TableState, block: CSVBlock, chosen: Ids, first: int) -> None:
        """Args:
        chosen: (K,) places in the block of the masks `first`, `first` + 1, ….
        """
        mask = np.zeros(len(block), dtype=np.bool_)
        mask[chosen[self._unlinked[first : first + len(chosen)]]] = True
        message = "no box of this image and label has these coordinates; the mask stands alone, the cells are kept"
        cells = block.cells("BoxXMin")
        self._reading.tell(table, "warning", "mask.box_unlinked", block.rows, mask, "BoxXMin", message, cells)


def _take(
    reading: Reading,
    table: TableState,
    block: CSVBlock,
    block_rows: Ids,
    rows: MaskRows,
    mask_rows: Ids,
    has_entries: bool,
    proofs: MaskProofs | None,
) -> Taken:
    """The bytes of some PNGs; those over the limit are told, and not read.

    Args:
        proofs: where the masks may stay packed.
    """
    options, archive, frames = reading.options, reading.archive, reading.target.frames
    order = np.argsort(archive.members(rows.numbers[mask_rows]).offsets, kind="stable")
    mask_rows, block_rows = mask_rows[order], block_rows[order]
    is_too_big = archive.members(rows.numbers[mask_rows]).sizes > options.max_mask_bytes
    too_big = [
        (archive.entries[number], row)
        for number, row in zip(
            rows.numbers[mask_rows[is_too_big]].tolist(), rows.rows[mask_rows[is_too_big]].tolist(), strict=True
        )
    ]
    mask_rows, block_rows = mask_rows[~is_too_big], block_rows[~is_too_big]
    numbers = rows.numbers[mask_rows]
    members = archive.members(numbers)
    n_bytes = int(members.sizes.sum())
    pngs = archive.read_all(numbers)
    reading.advance(n_bytes)
    at_frames = rows.frames[mask_rows] - frames.start
    widths, heights = frames.widths[at_frames].astype(np.int64), frames.heights[at_frames].astype(np.int64)
    proven: list[tuple[int, int, int]] = []
    if proofs is not None:
        told = proofs.told(numbers)
        told[~can_stay_packed(members.sizes, told[:, 0], told[:, 1], widths, heights)] = 0
        proven = list(zip(*told.T.tolist(), strict=True))
    job = MaskJob(
        pngs,
        widths.tolist(),
        heights.tolist(),
        options.conv_mask_to_poly,
        has_entries,
        options.max_mask_pixels,
        options.max_mask_bytes,
        packed=proofs is not None,
        proven=proven,
    )
    tell = partial(_tell_too_big, reading, table, too_big)
    return Taken(table, block, table.first, block_rows, mask_rows, numbers, members.crcs, n_bytes, job, tell)


def _tell_too_big(reading: Reading, table: TableState, entries: list[tuple[Entry, int]]) -> None:
    limit = reading.options.max_mask_bytes
    for entry, row in entries:
        message = f"{entry.name} has {entry.size:,} bytes, over the limit of {limit:,}"
        _tell(reading, table, "error", "mask.bad_png", row, message, entry.name)
        reading.report.table(table.path).dropped += 1


def _in_turn(*steps: Callable[[], None]) -> None:
    for step in steps:
        step()


def _check_repeats(reading: Reading, rows: MaskRows, files: MaskFiles) -> None:
    """Many rows that name one large PNG would be kept many times over."""
    uses = np.bincount(rows.places)
    again = np.flatnonzero(uses > 1).tolist()
    _tell_shared(reading, rows, files, again)
    sizes = reading.archive.members(reading.archive.numbers(files.paths[place] for place in again)).sizes
    n_bytes = int((sizes * (uses[again] - 1)).sum())
    if n_bytes > MAX_REPEATED_BYTES:
        worst = files.paths[max(again, key=lambda place: int(uses[place]))]
        message = f"rows name the same PNGs again and again ({n_bytes:,} bytes in all), most often {worst}"
        reading.report.error("zip.too_big", message, file=worst)
        raise ImportProblems(reading.report)


def _tell_shared(reading: Reading, rows: MaskRows, files: MaskFiles, again: list[int]) -> None:
    """Rows of several masks that name one file: whoever wrote it has kept the last mask alone."""
    if not again:
        return
    _, first = np.unique(rows.places, return_index=True)
    shared = np.isin(rows.places, again)
    shared[first] = False
    for table, start, stop in zip(rows.tables, rows.bounds[:-1], rows.bounds[1:], strict=True):
        later = start + np.flatnonzero(shared[start:stop])
        if len(later):
            row, name = int(rows.rows[later[0]]), files.paths[int(rows.places[later[0]])]
            message = (
                "rows name a PNG that another row names already, as where a tool has written masks over each other: "
                "such a mask is lost. Each row shows the file; draw the mask anew where it is not its own"
            )
            reading.repairs.tell("mask.shared_file", table.path, len(later), message, row, "MaskPath", name)


def _write_done(reading: Reading, taken: Taken, rows: MaskRows, groups: Ints, numbers: Ints, done: MasksDone) -> None:
    """Rows whose masks are done: tell what is to be told, keep the PNGs, write the shapes."""
    table = taken.table
    n_parts = np.bincount(done.owners, minlength=len(done)).astype(np.int64)
    found = _keep(reading, taken, done, n_parts, _tell_done(reading, table, taken, rows, done, n_parts))
    block, chosen, mask_rows_of = taken.block, taken.block_rows[found.at], taken.mask_rows[found.at]
    count = reading.report.table(table.path)
    count.dropped += len(done) - len(found.at)
    count.kept += len(found.at)
    count.changed += int(found.is_resized.sum())
    reading.n_kept_rows += len(found.at)
    kept = reading.kept(
        table.number,
        block.lines_at(chosen),
        png_offsets=found.pngs[:, 0].copy(),
        png_sizes=found.pngs[:, 1].copy(),
        png_crcs=found.pngs[:, 2].astype(np.uint32),
    )
    empty, full = np.flatnonzero(~found.has_pixels), np.flatnonzero(found.has_pixels)
    frames = rows.frames[mask_rows_of]
    at, types, points, runs = _shapes_of(taken.job, done, found, full)
    source = full[at]  # (S,) the found row of each shape
    mask_rows = mask_rows_of[source]
    block_rows = chosen[source]
    label_ids = rows.label_ids[mask_rows]
    few = reading.few(table, block, ())
    sources = {
        "box_id": ("BoxID", few["BoxID"]),
        "predicted_iou": ("PredictedIoU", few["PredictedIoU"].trimmed()),
    }
    if reading.consistency.is_on:
        _see(reading, table, rows, mask_rows_of[full], groups, at, points, runs)
    own = np.where(found.n_parts[source] > 1, numbers[mask_rows], np.int32(0))
    shapes = replace(
        Shapes.empty(len(source)),
        frames=frames[source],
        types=types,
        label_ids=label_ids,
        groups=np.where(groups[mask_rows] > 0, groups[mask_rows], own),
        attributes=encode_attributes(
            reading, table, few, block_rows, label_ids, lambda places: text_columns(reading, sources, places)
        ),
        points=points,
        runs=runs,
        kept=kept.take(source),
    )
    if reading.side.has_entries(table.path, taken.first, len(block)):
        masks = [done.flips[at] for at in found.at.tolist()]
        shapes = _with_entries(reading, table, taken, block_rows, source, shapes, masks)
    nothing = rows.label_ids[mask_rows_of[empty]].reshape(-1, 1)
    meaning = RowsMeaning("segmentations", nothing, is_absent=True)
    reading.write(Annotations(shapes=shapes, rows=Rows(frames[empty], kept.take(empty)), meaning=meaning))


def _see(
    reading: Reading,
    table: TableState,
    rows: MaskRows,
    mask_rows: Ids,
    groups: Ints,
    at: Ids,
    points: Ragged,
    runs: Ragged,
) -> None:
    """Show some masks to the consistency rules.

    Args:
        mask_rows: (K,) of the masks; at: (S,) which of them each shape shows.
    """
    if not len(mask_rows):
        return
    frames = rows.frames[mask_rows]
    places = frames - reading.target.frames.start
    sizes = np.stack([reading.target.frames.widths[places], reading.target.frames.heights[places]], axis=1)
    bounds = np.tile(np.array([np.inf, np.inf, -np.inf, -np.inf]), (len(mask_rows), 1))
    masks = np.flatnonzero(runs.lengths > 0)
    corners = runs.values[runs.offsets[masks + 1][:, np.newaxis] + np.arange(-4, 0)] if len(masks) else np.empty((0, 4))
    bounds[at[masks]] = corners + np.array([0, 0, 1, 1])
    outlines = np.flatnonzero(points.lengths > 0)
    if len(outlines):
        pairs = points.values.reshape(-1, 2)
        starts = points.offsets[outlines] // 2
        np.minimum.at(bounds[:, :2], at[outlines], np.minimum.reduceat(pairs, starts))
        np.maximum.at(bounds[:, 2:], at[outlines], np.maximum.reduceat(pairs, starts))
    reading.consistency.add_masks(
        table.path,
        rows.rows[mask_rows],
        frames,
        rows.label_codes[mask_rows],
        groups[mask_rows] > 0,
        rows.boxes[mask_rows],
        bounds,
        sizes.astype(np.float64),
    )


def _with_entries(
    reading: Reading,
    table: TableState,
    taken: Taken,
    block_rows: Ids,
    source: Ids,
    shapes: Shapes,
    masks: list[Flips | None],
) -> Shapes:
    """The shapes of some rows, as the side file knows them.

    Args:
        block_rows: (S,) the row of the block that each shape shows.
        source: (S,) the mask that it shows.
    """
    labels = taken.block.cells("LabelName")

    def places(row: int) -> Ids:
        return np.flatnonzero(block_rows == row)

    def check(row: int) -> str:
        at = places(row)[0]
        return mask_check(labels.row_text(row), int(shapes.kept.png_crcs[at]), int(shapes.kept.png_sizes[at]))

    return reading.side.replace_shapes(
        table.path,
        reading.side.entries(table.path, taken.first, distinct(block_rows)),
        check,
        places,
        lambda: reading.sided_table(table),
        shapes,
        lambda row: masks[int(source[places(row)[0]])],
        masks_stay=not reading.options.conv_mask_to_poly,
    )


def _shapes_of(
    job: MaskJob, done: MasksDone, found: Found, full: Ids
) -> tuple[Ids, npt.NDArray[np.uint8], Ragged, Ragged]:
    """Masks as shapes.

    Args:
        full: (K,) those of `found` that have pixels.

    Returns:
        (S,) which of them each shape shows, (S,) types, points, runs.
    """
    masks, n_parts = found.at[full], found.n_parts[full]
    counts = np.maximum(n_parts, 1)
    at = np.repeat(np.arange(len(full), dtype=np.int64), counts)
    is_mask = n_parts[at] == 0
    types = np.where(is_mask, np.uint8(ShapeType.MASK), np.uint8(ShapeType.POLYGON)).astype(np.uint8)
    # Shapes without points, or without runs, take the empty row behind the others.
    ordinals = np.arange(len(at), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = np.searchsorted(done.owners, masks)[at] + ordinals
    points = _rows_or_none(done.outlines, np.where(is_mask, len(done.outlines), parts))
    points = as_doubles(points)
    runs = _rows_or_none(done.runs, np.where(is_mask, masks[at], len(done.runs)))
    is_packed = np.array(done.is_packed, dtype=np.bool_)[masks]
    if is_packed.any():  # nothing is traced then: a shape each
        pngs = [
            job.pngs[mask] if packed else b"" for mask, packed in zip(masks.tolist(), is_packed.tolist(), strict=True)
        ]
        sizes = (np.array(sides, dtype=np.int64)[masks] for sides in (job.widths, job.heights))
        runs = PackedRagged(pack_masks(pngs, *sizes), runs, unpack_mask)
    return at, types, points, runs


def _rows_or_none(column: Ragged, rows: Ids) -> Ragged:
    """Rows of a column; the one behind its last is empty."""
    if not len(column.values):
        return Ragged.empty(column.dtype, len(rows))
    return Ragged.concatenate([column, Ragged.empty(column.dtype, 1)]).take(rows)


def _tell_done(
    reading: Reading, table: TableState, taken: Taken, rows: MaskRows, done: MasksDone, n_parts: Ids
) -> Mask:
    """Tell what is to be told of the masks of a job, in their order. Returns (N,) bool, which are scaled."""
    frames = reading.target.frames
    at_frames = rows.frames[taken.mask_rows[: len(done)]] - frames.start
    widths, heights = frames.widths[at_frames], frames.heights[at_frames]
    sizes = np.array(done.sizes, dtype=np.int64).reshape(-1, 2)
    is_bad = np.array([error != "" for error in done.errors], dtype=np.bool_)
    is_resized: Mask = ~is_bad & ((sizes[:, 0] != widths) | (sizes[:, 1] != heights))
    is_empty = ~(is_bad | np.array(done.is_packed, dtype=np.bool_) | (n_parts > 0) | (done.runs.lengths > 0))
    is_odd = is_bad | is_resized | is_empty | np.array(done.is_dark, dtype=np.bool_)
    is_odd |= ~np.array(done.is_binary, dtype=np.bool_)
    is_odd[list(done.too_complex)] = True
    for at in np.flatnonzero(is_odd).tolist():
        name, row = reading.archive.entries[int(taken.numbers[at])].name, int(rows.rows[taken.mask_rows[at]])
        if is_bad[at]:
            _tell(reading, table, "error", "mask.bad_png", row, f"{name}: {done.errors[at]}", name)
            continue
        if not done.is_binary[at]:
            message = f"{name} is no two-level grey picture; every pixel that is not 0 counts as the object"
            _tell(reading, table, "warning", "mask.not_binary", row, message, name)
        if done.is_dark[at]:
            message = (
                "the PNGs are of 0 and a dark grey, as CVAT and datumaro write them: they look black. Anything but 0 "
                "is the object; the files stay as they are, and new ones are black and white"
            )
            reading.repairs.tell("mask.dark", table.path, 1, message, row, "MaskPath", name)
        if is_resized[at]:
            (png_width, png_height), width, height = done.sizes[at], int(widths[at]), int(heights[at])
            told = f"{name} has {png_width} x {png_height} pixels, the frame {width} x {height}"
            if _same_aspect(png_width, png_height, width, height):
                _tell(reading, table, "warning", "mask.resized", row, f"{told}; it is scaled", name)
            else:
                _tell(reading, table, "warning", "mask.aspect", row, f"{told}: another shape; it is stretched", name)
        if done.is_blank[at]:
            _tell(reading, table, "warning", "mask.empty", row, f"{name} has no pixel set: kept, but no shape", name)
        elif is_empty[at]:
            message = f"{name} has no pixel left at the frame's size"
            _tell(reading, table, "warning", "mask.empty", row, message, name)
        if at in done.too_complex:
            message = f"{done.too_complex[at]}; it stays a mask"
            _tell(reading, table, "warning", "mask.too_complex", row, message, None)
    return is_resized


def _keep(reading: Reading, taken: Taken, done: MasksDone, n_parts: Ids, is_resized: Mask) -> Found:
    """Keep the PNGs of good masks, in their order, all in one piece."""
    good = np.flatnonzero([error == "" for error in done.errors])
    pngs = [taken.job.pngs[at] for at in good.tolist()]
    notes = [
        parts_note(int(n_parts[at]), done.digests[at]) if taken.job.traced and n_parts[at] else b""
        for at in (good.tolist() if len(done.outlines) else ())
    ] or [b""] * len(good)
    sizes = np.array([(len(note), len(png)) for note, png in zip(notes, pngs, strict=True)], dtype=np.int64).reshape(-1)
    pieces = [piece for pair in zip(notes, pngs, strict=True) for piece in pair]
    begin = reading.sink.keep(b"".join(pieces))[0] if pieces else 0
    offsets = begin + (np.cumsum(sizes) - sizes)[1::2]
    kept = np.stack([offsets, sizes[1::2], taken.crcs[good]], axis=1)
    order = np.argsort(taken.mask_rows[good], kind="stable")  # as the table has them
    at = good[order]
    has_pixels = (n_parts > 0) | (done.runs.lengths > 0) | np.array(done.is_packed, dtype=np.bool_)
    return Found(at, kept[order], is_resized[at], n_parts[at], has_pixels[at])


def _same_aspect(png_width: int, png_height: int, width: int, height: int) -> bool:
    """Whether the scale factors agree within 1 % or one pixel."""
    across, down = png_width / width, png_height / height
    if abs(across - down) <= ASPECT_TOLERANCE * max(across, down):
        return True
    return abs(png_height - height * across) <= 1 or abs(png_width - width * down) <= 1


def _tell(
    reading: Reading, table: TableState, severity: Severity, code: str, row: int, message: str, value: str | None
) -> None:
    """One row's problem; warnings of one kind are listed a few times and counted always."""
    listed = table.listed.get(code, 0)
    if severity == "warning" and listed >= WARNINGS_LISTED:
        reading.report.count_more(code, severity, 1)
        return
    table.listed[code] = listed + 1
    shown = None if value is None else shorten(value)
    reading.report.add(Problem(code, message, severity, table.path, row, "MaskPath", shown))
