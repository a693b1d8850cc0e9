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

from app.annotations import Annotations, Rows, RowsMeaning, Shapes, ShapeType, pack_mask_row, unpack_mask
from app.archive import Entry
from app.columns import CSVBlock, PackedRagged, Ragged
from app.errors import ImportProblems, Problem, Severity, shorten
from app.formats.open_images.kept_bytes import parts_note
from app.formats.open_images.mask_files import MaskFiles
from app.formats.open_images.mask_work import MaskJob, MasksDone, work_masks
from app.formats.open_images.read_boxes import encode_attributes, text_columns
from app.formats.open_images.read_mask_rows import MaskRows
from app.formats.open_images.reading import WARNINGS_LISTED, Ints, Mask, Reading, TableState
from app.formats.open_images.side_items import Item
from app.formats.open_images.side_write import mask_check
from app.geometry import Flips
from app.helpers import Crew

Ids = npt.NDArray[np.int64]

BATCH_MASKS, BATCH_PROOFS = 128, 1024
"""Masks that are decoded, or only proven, at once: pixels take memory, and each batch costs 3 ms however small."""
BATCH_BYTES = 8 << 20
ASPECT_TOLERANCE = 0.01
MAX_REPEATED_BYTES = 256 << 20
"""Bytes of PNGs that come again because several rows name them; each row keeps its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Some rows of a block with the bytes of their PNGs, in the order in which those lie in the zip.

    Attributes:
        block_rows: (K,) places in the block.
        mask_rows: (K,) places in `MaskRows`.
        names: of the PNGs.
        tell: what is to be told before them. Jobs are taken ahead, and reports must not depend on how far.
    """

    block: CSVBlock
    block_rows: Ids
    mask_rows: Ids
    names: list[str]
    job: MaskJob
    tell: Callable[[], None]

    def rest(self, start: int) -> Taken:
        """Those behind the first `start`."""
        job = replace(
            self.job, pngs=self.job.pngs[start:], widths=self.job.widths[start:], heights=self.job.heights[start:]
        )
        return Taken(self.block, self.block_rows[start:], self.mask_rows[start:], self.names[start:], job, self.tell)


@dataclass(slots=True, eq=False)
class Decoded:
    """One good mask at frame size, with the place of its PNG.

    Attributes:
        outlines: its polygons.
        runs: where it is a mask; empty for none.
        packed: where it is a mask that nobody has decoded: a row of `pack_mask_row`.
        flips: where somebody wants them.
    """

    png: tuple[int, int, int]
    is_resized: bool
    outlines: list[npt.NDArray[np.int32]]
    runs: npt.NDArray[np.int32]
    flips: Flips | None
    packed: bytes = b""

    @property
    def has_pixels(self) -> bool:
        return bool(self.outlines) or len(self.runs) > 0 or bool(self.packed)


def read_masks(
    reading: Reading,
    rows: MaskRows,
    groups: Ints,
    numbers: Ints,
    files: MaskFiles,
    crew: Crew[Taken, MaskJob, MasksDone],
) -> None:
    """Write every mask row as a shape.

    Args:
        groups: (M,) of the linked box, 0 for none.
        numbers: (M,) a group for the parts of a mask that become several polygons.
    """
    unlinked = rows.linkable & (groups == 0)
    _check_repeats(reading, rows, files)
    for table, start, stop in zip(rows.tables, rows.bounds[:-1], rows.bounds[1:], strict=True):
        jobs = _jobs(reading, table, rows, start, stop, unlinked, files)
        for taken, done in crew.run(jobs):
            assert done is not None  # each job has an answer
            taken.tell()
            _write_done(reading, table, taken, rows, groups, numbers, done)
            n_done = len(done)
            while n_done < len(taken.names):
                rest = taken.rest(n_done)
                done = work_masks(rest.job)
                _write_done(reading, table, rest, rows, groups, numbers, done)
                n_done += len(done)


def _jobs(
    reading: Reading, table: TableState, rows: MaskRows, start: int, stop: int, unlinked: Mask, files: MaskFiles
) -> Iterator[tuple[Taken, MaskJob]]:
    """The PNGs of the rows of a table, block by block and batch by batch."""
    at, options = start, reading.options
    for block in reading.read_again(table):
        end = at + int(np.searchsorted(rows.rows[at:stop], block.rows[-1], side="right")) if len(block) else at
        chosen = np.searchsorted(block.rows, rows.rows[at:end])  # places of the good rows in the block
        alone = chosen[unlinked[at:end]]
        has_entries = bool(reading.side.entries(table.path, table.first, len(block)))
        stays_packed = not (options.conv_mask_to_poly or has_entries or reading.consistency.is_on)
        most = BATCH_PROOFS if stays_packed else BATCH_MASKS
        for first, last in _batches(reading, rows.places[at:end], files, most):
            mask_rows = np.arange(at + first, at + last, dtype=np.int64)
            taken = _take(reading, table, block, chosen[first:last], rows, mask_rows, files, has_entries, stays_packed)
            if first == 0:
                told = (taken.tell, partial(_tell_unlinked, reading, table, block, alone))
                taken = replace(taken, tell=partial(_in_turn, *reversed(told)))
            yield taken, taken.job
        at = end


def _take(
    reading: Reading,
    table: TableState,
    block: CSVBlock,
    block_rows: Ids,
    rows: MaskRows,
    mask_rows: Ids,
    files: MaskFiles,
    has_entries: bool,
    stays_packed: bool,
) -> Taken:
    """The bytes of some PNGs; those over the limit are told, and not read."""
    options, frames = reading.options, reading.target.frames
    entries = [reading.archive.entry(files.paths[place]) for place in rows.places[mask_rows].tolist()]
    order = sorted(range(len(entries)), key=lambda at: entries[at].offset)
    too_big = [
        (entries[at], int(rows.rows[mask_rows[at]])) for at in order if entries[at].size > options.max_mask_bytes
    ]
    wanted = [at for at in order if entries[at].size <= options.max_mask_bytes]
    pngs = []
    for entry, data in reading.archive.read_many(entries[at] for at in wanted):
        reading.advance(entry.size)
        pngs.append(bytes(data))
    chosen = np.array(wanted, dtype=np.int64)
    at_frames = rows.frames[mask_rows[chosen]] - frames.start
    job = MaskJob(
        pngs,
        frames.widths[at_frames].tolist(),
        frames.heights[at_frames].tolist(),
        options.conv_mask_to_poly,
        has_entries,
        options.max_mask_pixels,
        options.max_mask_bytes,
        packed=stays_packed,
    )
    return Taken(
        block,
        block_rows[chosen],
        mask_rows[chosen],
        [entries[at].name for at in wanted],
        job,
        partial(_tell_too_big, reading, table, too_big),
    )


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
    n_bytes = sum(reading.archive.entry(files.paths[place]).size * int(uses[place] - 1) for place in again)
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


def _tell_unlinked(reading: Reading, table: TableState, block: CSVBlock, chosen: Ids) -> None:
    mask = np.zeros(len(block), dtype=np.bool_)
    mask[chosen] = True
    message = "no box of this image and label has these coordinates; the mask stands alone, the cells are kept"
    reading.tell(table, "warning", "mask.box_unlinked", block.rows, mask, "BoxXMin", message, block.cells("BoxXMin"))


def _batches(reading: Reading, places: Ids, files: MaskFiles, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of rows whose PNGs fit into memory together."""
    start, n_bytes = 0, 0
    for at, place in enumerate(places.tolist()):
        size = reading.archive.entry(files.paths[place]).size
        if at > start and (at - start >= most or n_bytes + size > BATCH_BYTES):
            yield start, at
            start, n_bytes = at, 0
        n_bytes += size
    if start < len(places):
        yield start, len(places)


def _write_done(
    reading: Reading, table: TableState, taken: Taken, rows: MaskRows, groups: Ints, numbers: Ints, done: MasksDone
) -> None:
    """Rows whose masks are done: tell what is to be told, keep the PNGs, write the shapes."""
    decoded = _decoded(reading, table, taken, rows, done)
    order = np.argsort(taken.mask_rows[: len(done)], kind="stable")  # as the table has them
    chosen, numbers_of_rows = taken.block_rows[order], taken.mask_rows[order]
    block = taken.block
    decoded = [decoded[at] for at in order.tolist()]
    count = reading.report.table(table.path)
    refused = np.array([one is None for one in decoded], dtype=np.bool_)
    count.dropped += int(refused.sum())
    good = np.flatnonzero(~refused)  # places in this batch
    found = [one for one in decoded if one is not None]
    count.kept += len(found)
    count.changed += sum(one.is_resized for one in found)
    reading.n_kept_rows += len(found)
    lines = block.lines_at(chosen[good])
    pngs = np.array([one.png for one in found], dtype=np.int64).reshape(-1, 3)
    kept = reading.kept(
        table.number,
        lines,
        png_offsets=pngs[:, 0].copy(),
        png_sizes=pngs[:, 1].copy(),
        png_crcs=pngs[:, 2].astype(np.uint32),
    )
    has_pixels = np.array([one.has_pixels for one in found], dtype=np.bool_)
    empty, full = np.flatnonzero(~has_pixels), np.flatnonzero(has_pixels)
    frames = rows.frames[numbers_of_rows[good]]
    at, types, points, runs, is_split = _shapes_of([found[place] for place in full.tolist()])
    source = full[at]  # (S,) the found row of each shape
    mask_rows = numbers_of_rows[good[source]]
    block_rows = chosen[good[source]]
    label_ids = rows.label_ids[mask_rows]
    columns = text_columns(
        reading,
        {
            "box_id": ("BoxID", block.cells("BoxID")),
            "predicted_iou": ("PredictedIoU", block.cells("PredictedIoU").trimmed()),
        },
        block_rows,
    )
    if reading.consistency.is_on:
        _see(reading, table, rows, numbers_of_rows[good[full]], groups, at, points, runs)
    own = np.where(is_split[at], numbers[mask_rows], np.int32(0))
    shapes = replace(
        Shapes.empty(len(source)),
        frames=frames[source],
        types=types,
        label_ids=label_ids,
        groups=np.where(groups[mask_rows] > 0, groups[mask_rows], own),
        attributes=encode_attributes(reading, table, block, block_rows, label_ids, columns),
        points=points,
        runs=runs,
        kept=kept.take(source),
    )
    entries = [
        entry
        for entry in reading.side.entries(table.path, table.first, len(block))
        if entry[0] in set(block_rows.tolist())
    ]
    if entries:
        shapes = _with_entries(reading, table, block, entries, block_rows, source, shapes, [one.flips for one in found])
    nothing = rows.label_ids[numbers_of_rows[good[empty]]].reshape(-1, 1)
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
    block: CSVBlock,
    entries: list[tuple[int, Item]],
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
    labels = block.cells("LabelName")

    def places(row: int) -> Ids:
        return np.flatnonzero(block_rows == row)

    def check(row: int) -> str:
        at = places(row)[0]
        return mask_check(labels.row_text(row), int(shapes.kept.png_crcs[at]), int(shapes.kept.png_sizes[at]))

    return reading.side.replace_shapes(
        entries,
        check,
        places,
        lambda: reading.sided_table(table),
        shapes,
        lambda row: shapes.kept.take(places(row)[:1]),
        lambda row: int(shapes.frames[places(row)[0]]),
        lambda row: masks[int(source[places(row)[0]])],
        masks_stay=not reading.options.conv_mask_to_poly,
    )


def _shapes_of(found: list[Decoded]) -> tuple[Ids, npt.NDArray[np.uint8], Ragged, Ragged, Mask]:
    """Masks as shapes.

    Returns:
        (S,) which mask each shape shows, (S,) types, points, runs, and (K,) whether a mask became several shapes.
    """
    n_parts = np.array([max(len(one.outlines), 1) for one in found], dtype=np.int64)
    at = np.repeat(np.arange(len(found), dtype=np.int64), n_parts)
    is_mask = np.array([not one.outlines for one in found], dtype=np.bool_)[at]
    types = np.where(is_mask, np.uint8(ShapeType.MASK), np.uint8(ShapeType.POLYGON)).astype(np.uint8)
    no_points = np.empty(0, dtype=np.int32)
    points = Ragged.from_arrays([part for one in found for part in one.outlines or [no_points]], np.float64)
    runs = Ragged.from_arrays(
        [no_points if one.outlines else one.runs for one in found for _ in range(max(len(one.outlines), 1))], np.int32
    )
    if any(one.packed for one in found):  # nothing is traced then: a shape each
        runs = PackedRagged(Ragged.from_bytes([one.packed for one in found]), runs, unpack_mask)
    return at, types, points, runs, n_parts > 1


def _decoded(
    reading: Reading, table: TableState, taken: Taken, rows: MaskRows, done: MasksDone
) -> list[Decoded | None]:
    """The masks of a job, each told and kept; None for a bad one."""
    frames, traced = reading.target.frames, taken.job.traced
    bounds = np.searchsorted(done.owners, np.arange(len(done) + 1)).tolist()
    result: list[Decoded | None] = []
    for at in range(len(done)):
        name, row = taken.names[at], int(rows.rows[taken.mask_rows[at]])
        if done.errors[at]:
            _tell(reading, table, "error", "mask.bad_png", row, f"{name}: {done.errors[at]}", name)
            result.append(None)
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
        png_width, png_height = done.sizes[at]
        frame = int(rows.frames[taken.mask_rows[at]]) - frames.start
        width, height = int(frames.widths[frame]), int(frames.heights[frame])
        is_resized = (png_width, png_height) != (width, height)
        if is_resized:
            sizes = f"{name} has {png_width} x {png_height} pixels, the frame {width} x {height}"
            if _same_aspect(png_width, png_height, width, height):
                _tell(reading, table, "warning", "mask.resized", row, f"{sizes}; it is scaled", name)
            else:
                _tell(reading, table, "warning", "mask.aspect", row, f"{sizes}: another shape; it is stretched", name)
        outlines = [done.outlines.row(part) for part in range(bounds[at], bounds[at + 1])]
        runs = done.runs.row(at)
        if done.is_blank[at]:
            _tell(reading, table, "warning", "mask.empty", row, f"{name} has no pixel set: kept, but no shape", name)
        elif not outlines and not len(runs) and not done.is_packed[at]:
            message = f"{name} has no pixel left at the frame's size"
            _tell(reading, table, "warning", "mask.empty", row, message, name)
        if at in done.too_complex:
            message = f"{done.too_complex[at]}; it stays a mask"
            _tell(reading, table, "warning", "mask.too_complex", row, message, None)
        if traced and outlines:
            reading.sink.keep(parts_note(len(outlines), done.digests[at]))
        png = reading.sink.keep(taken.job.pngs[at])
        packed = pack_mask_row(taken.job.pngs[at], width, height) if done.is_packed[at] else b""
        result.append(Decoded(png, is_resized, outlines, runs, done.flips[at] if done.flips else None, packed))
    return result


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
