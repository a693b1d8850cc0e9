"""Mask tables, second walk: PNGs → mask shapes (or polygons). Every PNG is kept as it came.

Source: Open Images reference 3.9 (foreground, sizes, polygons), 3.10 (groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Rows, Shapes, ShapeType
from app.columns import CSVBlock, Ragged
from app.errors import ImportProblems, Problem, Severity, shorten
from app.formats.open_images.mask_files import MaskFiles
from app.formats.open_images.read_boxes import encode_attributes, text_columns
from app.formats.open_images.read_mask_rows import MaskRows
from app.formats.open_images.reading import WARNINGS_LISTED, Ints, Mask, Reading, TableState
from app.formats.open_images.side_items import Item
from app.formats.open_images.side_write import mask_check
from app.geometry import (
    Flips,
    PackedMask,
    ShapeTooComplex,
    count_flips,
    find_flips,
    flips_to_polygons,
    flips_to_runs,
    resize_flips,
)
from app.images import BadPNG, decode_mask

Ids = npt.NDArray[np.int64]

BATCH_MASKS = 256
BATCH_BYTES = 32 << 20
BATCH_FLIPS = 4_000_000
MAX_FLIPS = 8_000_000
"""Of one mask; no object has so many, noise of 50 million pixels has three times as many and takes 800 MB."""
"""Flips of masks held at once, 8 bytes each: PNGs of a few kilobytes may hold tens of millions."""
ASPECT_TOLERANCE = 0.01
MAX_REPEATED_BYTES = 256 << 20
"""Bytes of PNGs that come again because several rows name them; each row keeps its own."""


@dataclass(slots=True, eq=False)
class Decoded:
    """One mask at frame size, with the place of its PNG; None for a mask without pixels."""

    mask: Flips | None
    png: tuple[int, int, int]
    is_resized: bool = False


def read_masks(reading: Reading, rows: MaskRows, groups: Ints, numbers: Ints, files: MaskFiles) -> None:
    """Write every mask row as a shape.

    Args:
        groups: (M,) of the linked box, 0 for none.
        numbers: (M,) a group for the parts of a mask that become several polygons.
    """
    unlinked = rows.linkable & (groups == 0)
    _check_repeats(reading, rows, files)
    for table, start, stop in zip(rows.tables, rows.bounds[:-1], rows.bounds[1:], strict=True):
        at = start
        for block in reading.read_again(table):
            end = at + int(np.searchsorted(rows.rows[at:stop], block.rows[-1], side="right")) if len(block) else at
            chosen = np.searchsorted(block.rows, rows.rows[at:end])  # places of the good rows in the block
            _tell_unlinked(reading, table, block, chosen[unlinked[at:end]])
            for first, last in _batches(reading, rows.places[at:end], files):
                _read_batch(
                    reading,
                    table,
                    block,
                    chosen[first:last],
                    rows,
                    np.arange(at + first, at + last, dtype=np.int64),
                    groups,
                    numbers,
                    files,
                )
            at = end


def _check_repeats(reading: Reading, rows: MaskRows, files: MaskFiles) -> None:
    """Many rows that name one large PNG would be kept many times over."""
    uses = np.bincount(rows.places)
    again = np.flatnonzero(uses > 1).tolist()
    n_bytes = sum(reading.archive.entry(files.paths[place]).size * int(uses[place] - 1) for place in again)
    if n_bytes > MAX_REPEATED_BYTES:
        worst = files.paths[max(again, key=lambda place: int(uses[place]))]
        message = f"rows name the same PNGs again and again ({n_bytes:,} bytes in all), most often {worst}"
        reading.report.error("zip.too_big", message, file=worst)
        raise ImportProblems(reading.report)


def _tell_unlinked(reading: Reading, table: TableState, block: CSVBlock, chosen: Ids) -> None:
    mask = np.zeros(len(block), dtype=np.bool_)
    mask[chosen] = True
    message = "no box of this image and label has these coordinates; the mask stands alone, the cells are kept"
    reading.tell(table, "warning", "mask.box_unlinked", block.rows, mask, "BoxXMin", message, block.cells("BoxXMin"))


def _batches(reading: Reading, places: Ids, files: MaskFiles) -> Iterator[tuple[int, int]]:
    """Stretches of rows whose PNGs fit into memory together."""
    start, n_bytes = 0, 0
    for at, place in enumerate(places.tolist()):
        size = reading.archive.entry(files.paths[place]).size
        if at > start and (at - start >= BATCH_MASKS or n_bytes + size > BATCH_BYTES):
            yield start, at
            start, n_bytes = at, 0
        n_bytes += size
    if start < len(places):
        yield start, len(places)


def _read_batch(
    reading: Reading,
    table: TableState,
    block: CSVBlock,
    chosen: Ids,
    rows: MaskRows,
    numbers_of_rows: Ids,
    groups: Ints,
    numbers: Ints,
    files: MaskFiles,
) -> None:
    """Some rows of a block: decode, keep, write."""
    for places, decoded in _decode_all(reading, table, rows, numbers_of_rows, files):
        _write_batch(reading, table, block, chosen[places], rows, numbers_of_rows[places], groups, numbers, decoded)


def _write_batch(
    reading: Reading,
    table: TableState,
    block: CSVBlock,
    chosen: Ids,
    rows: MaskRows,
    numbers_of_rows: Ids,
    groups: Ints,
    numbers: Ints,
    decoded: list[Decoded | None],
) -> None:
    """Rows of a block with their masks, None for a bad one."""
    count = reading.report.table(table.path)
    refused = np.array([one is None for one in decoded], dtype=np.bool_)
    count.dropped += int(refused.sum())
    good = np.flatnonzero(~refused)  # places in this batch
    found = [one for one in decoded if one is not None]
    count.kept += len(found)
    count.changed += sum(one.is_resized for one in found)
    reading.n_kept_rows += len(found)
    lines = block.lines.take(chosen[good]) if len(good) else Ragged.empty(np.uint8)
    pngs = np.array([one.png for one in found], dtype=np.int64).reshape(-1, 3)
    kept = reading.kept(
        table.number,
        lines,
        png_offsets=pngs[:, 0].copy(),
        png_sizes=pngs[:, 1].copy(),
        png_crcs=pngs[:, 2].astype(np.uint32),
    )
    has_pixels = np.array([one.mask is not None for one in found], dtype=np.bool_)
    empty, full = np.flatnonzero(~has_pixels), np.flatnonzero(has_pixels)
    frames = rows.frames[numbers_of_rows[good]]
    masks = [one.mask for one in found if one.mask is not None]
    at, types, points, runs, is_split = _shapes_of(reading, table, rows, numbers_of_rows[good[full]], masks)
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
        shapes = _with_entries(reading, table, block, entries, block_rows, source, shapes, [one.mask for one in found])
    reading.write(Annotations(shapes=shapes, rows=Rows(frames[empty], kept.take(empty))))


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


def _shapes_of(
    reading: Reading, table: TableState, rows: MaskRows, mask_rows: Ids, masks: list[Flips]
) -> tuple[Ids, npt.NDArray[np.uint8], Ragged, Ragged, Mask]:
    """Masks as shapes.

    Returns:
        (S,) which mask each shape shows, (S,) types, points, runs, and (K,) whether a mask became several shapes.
    """
    polygons: list[tuple[int, npt.NDArray[np.float64]]] = []
    whole = list(range(len(masks)))
    if reading.options.conv_mask_to_poly and masks:
        whole = []
        try:
            outlines = flips_to_polygons(masks)
            pieces = np.split(outlines.points, outlines.offsets[1:-1])
            polygons = list(zip(outlines.masks.tolist(), pieces, strict=True))
        except ShapeTooComplex:
            for place, mask in enumerate(masks):
                try:
                    outlines = flips_to_polygons([mask])
                except ShapeTooComplex as error:
                    row = int(rows.rows[mask_rows[place]])
                    _tell(reading, table, "warning", "mask.too_complex", row, f"{error.detail}; it stays a mask", None)
                    whole.append(place)
                else:
                    polygons += [(place, part) for part in np.split(outlines.points, outlines.offsets[1:-1])]
    no_points, no_runs = np.empty(0, dtype=np.float64), np.empty(0, dtype=np.int32)
    entries = [(place, ShapeType.POLYGON, points, no_runs) for place, points in polygons]
    entries += [(place, ShapeType.MASK, no_points, flips_to_runs(masks[place])) for place in whole]
    entries.sort(key=lambda entry: entry[0])  # stable: parts stay in order
    at = np.array([entry[0] for entry in entries], dtype=np.int64)
    is_split = np.bincount(at, minlength=len(masks)) > 1
    types = np.array([entry[1] for entry in entries], dtype=np.uint8)
    points = Ragged.from_arrays([entry[2] for entry in entries], np.float64)
    runs = Ragged.from_arrays([entry[3] for entry in entries], np.int32)
    return at, types, points, runs, is_split


def _decode_all(
    reading: Reading,
    table: TableState,
    rows: MaskRows,
    mask_rows: Ids,
    files: MaskFiles,
) -> Iterator[tuple[Ids, list[Decoded | None]]]:
    """The masks of some rows (and which of the rows they are), read in the order in which they lie in the zip; None for
    a bad one, which is told. All at once, unless they hold so much that they come in parts."""
    entries = [reading.archive.entry(files.paths[place]) for place in rows.places[mask_rows].tolist()]
    order = sorted(range(len(entries)), key=lambda at: entries[at].offset)
    decoded: dict[int, Decoded | None] = {}
    n_flips = 0
    for at in order:
        if entries[at].size > reading.options.max_mask_bytes:
            row = int(rows.rows[mask_rows[at]])
            limit = reading.options.max_mask_bytes
            message = f"{entries[at].name} has {entries[at].size:,} bytes, over the limit of {limit:,}"
            _tell(reading, table, "error", "mask.bad_png", row, message, files.paths[rows.places[mask_rows[at]]])
            decoded[at] = None
    wanted = [at for at in order if entries[at].size <= reading.options.max_mask_bytes]
    for at, (entry, data) in zip(wanted, reading.archive.read_many(entries[at] for at in wanted), strict=True):
        mask_row = int(mask_rows[at])
        reading.advance(entry.size)
        try:
            mask, is_resized = _decode(
                reading, table, int(rows.rows[mask_row]), int(rows.frames[mask_row]), entry.name, data
            )
        except BadPNG as error:
            message = f"{entry.name}: {error.detail}"
            _tell(reading, table, "error", "mask.bad_png", int(rows.rows[mask_row]), message, entry.name)
            decoded[at] = None
            continue
        decoded[at] = Decoded(mask, reading.sink.keep(data), is_resized)
        n_flips += 0 if mask is None else len(mask)
        if n_flips > BATCH_FLIPS:
            yield _in_table_order(decoded)
            decoded, n_flips = {}, 0
    if decoded:
        yield _in_table_order(decoded)


def _in_table_order(decoded: dict[int, Decoded | None]) -> tuple[Ids, list[Decoded | None]]:
    places = sorted(decoded)
    return np.array(places, dtype=np.int64), [decoded[at] for at in places]


def _decode(
    reading: Reading, table: TableState, row: int, frame: int, name: str, data: bytes | memoryview
) -> tuple[Flips | None, bool]:
    """The mask at frame size (None where it has no pixel), and whether the PNG has another size."""
    options, frames = reading.options, reading.target.frames
    found = decode_mask(data, max_pixels=options.max_mask_pixels, max_bytes=options.max_mask_bytes)
    at = frame - frames.start
    width, height = int(frames.widths[at]), int(frames.heights[at])
    if not found.is_binary:
        message = f"{name} is no two-level grey picture; every pixel that is not 0 counts as the object"
        _tell(reading, table, "warning", "mask.not_binary", row, message, name)
    is_resized = (found.width, found.height) != (width, height)
    if is_resized:
        sizes = f"{name} has {found.width} x {found.height} pixels, the frame {width} x {height}"
        if _same_aspect(found.width, found.height, width, height):
            _tell(reading, table, "warning", "mask.resized", row, f"{sizes}; it is scaled", name)
        else:
            _tell(reading, table, "warning", "mask.aspect", row, f"{sizes}: another shape; it is stretched", name)
    packed = PackedMask(found.rows, found.width)
    if found.width * found.height > MAX_FLIPS and (n_flips := count_flips(packed)) > MAX_FLIPS:
        raise BadPNG(f"it changes {n_flips:,} times between object and ground; at most {MAX_FLIPS:,} are taken")
    mask = find_flips(packed)
    if not len(mask):
        _tell(reading, table, "warning", "mask.empty", row, f"{name} has no pixel set: kept, but no shape", name)
        return None, is_resized
    resized = resize_flips(mask, width, height) if is_resized else mask
    if not len(resized):
        _tell(reading, table, "warning", "mask.empty", row, f"{name} has no pixel left at the frame's size", name)
        return None, is_resized
    return resized, is_resized


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
