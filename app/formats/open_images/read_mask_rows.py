"""Mask tables, first walk: what the rows say, checked, as compact columns; no PNG is opened.

Source: Open Images reference 3.9 (paths, BoxID), 3.10 (box cells).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.columns import CSVBlock, decode_numbers, distinct
from app.errors import Problem, shorten
from app.formats.open_images.layout import HIGHEST, LOWEST, MASK_COORDINATES
from app.formats.open_images.mask_files import NOT_FOUND, SEVERAL, MaskFiles
from app.formats.open_images.names import is_plain_name
from app.formats.open_images.read_boxes import claim_subset, find_labels, read_share, tell_numbers
from app.formats.open_images.reading import Ints, Mask, Reading, TableState
from app.formats.open_images.repeats import RepeatedRows, repeats_of

Reals = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_UNSAFE = re.compile(rb"[/\\\x00]")
_UNUSUAL = re.compile(rb"[^\x20-\x7e]")


@dataclass(slots=True, eq=False)
class MaskRows:
    """The good rows of all mask tables, in order.

    Attributes:
        tables: the tables; `bounds[i]` to `bounds[i + 1]` are the rows of table i.
        rows: (M,) line of the file.
        frames, label_codes, label_ids: (M,).
        boxes: (M, 4) BoxXMin BoxXMax BoxYMin BoxYMax; NaN where not all four are there; none at all after
            `drop_boxes`.
        linkable: (M,) bool, all four are there.
        places: (M,) int32, index into `MaskFiles.paths`.
        numbers: (M,) of the PNG in the archive.
    """

    tables: list[TableState] = field(default_factory=list)
    bounds: list[int] = field(default_factory=lambda: [0])
    rows: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    frames: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    label_codes: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    label_ids: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    boxes: Reals = field(default_factory=lambda: np.empty((0, 4), dtype=np.float64))
    linkable: Mask = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    places: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    numbers: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def drop_boxes(self) -> None:
        """They have found what they link to: half of what a row takes."""
        self.boxes = np.empty((0, 4), dtype=np.float64)


_COLUMNS = ("rows", "frames", "label_codes", "label_ids", "boxes", "places")


def read_mask_rows(reading: Reading, files: MaskFiles) -> MaskRows:
    """All mask tables; `files.used` tells afterwards which PNGs are named."""
    found = MaskRows()
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [getattr(found, name)] for name in _COLUMNS}
    n_rows = 0
    for file in reading.layout.of("masks"):
        table = reading.open_table(file)
        with repeats_of(reading, table) as repeats:
            for block in reading.read_table(table):
                columns = _read_block(reading, table, block, files, repeats)
                n_rows += len(columns["rows"])
                for name in _COLUMNS:
                    parts[name].append(columns[name])
        found.tables.append(table)
        found.bounds.append(n_rows)
    for name in _COLUMNS:
        setattr(found, name, np.concatenate(parts[name]))
    found.linkable = ~np.isnan(found.boxes[:, 0])
    files.forget()
    found.numbers = reading.archive.numbers(files.paths[place] for place in found.places.tolist())
    return found


def _read_block(
    reading: Reading, table: TableState, block: CSVBlock, files: MaskFiles, repeats: RepeatedRows
) -> dict[str, npt.NDArray[np.generic]]:
    bad = np.zeros(len(block), dtype=np.bool_)
    frames, ids = reading.find_frames(table, block, bad)
    few = reading.few(table, block, (table.label_column,))
    label_codes, label_ids = find_labels(reading, table, few, frames, bad)
    claim_subset(reading, table, block, frames, bad)
    places = _find_files(reading, table, block, frames, files, bad)
    _check_box_ids(reading, table, block, bad)
    read_share(reading, table, few, "PredictedIoU", bad, empty_is="")
    boxes = _read_box_cells(reading, table, block, bad)
    good = np.flatnonzero(~bad)
    reading.report.table(table.path).dropped += len(block) - len(good)
    reading.name_images(frames[good], ids.take(good))
    reading.needs_size[frames[good] - reading.target.frames.start] = True
    _claim_folder(reading, frames[good], places[good], files)
    repeats.add(block, good)
    reading.see_lines(table, lambda: _have_box_ids(block, good))
    return {
        "rows": block.rows[good],
        "frames": frames[good],
        "label_codes": label_codes[good],
        "label_ids": label_ids[good],
        "boxes": boxes[good],
        "places": places[good].astype(np.int32),
    }


def _find_files(reading: Reading, table: TableState, block: CSVBlock, frames: Ints, files: MaskFiles, bad: Mask) -> Ids:
    """(N,) the place of each row's PNG; of images that are passed over it need not be there."""
    cells = reading.require(table, block, "MaskPath", bad)
    names = cells.ragged()
    unsafe = np.zeros(len(block), dtype=np.bool_)
    joined = names.values.tobytes()
    if _UNSAFE.search(joined) or b"." in joined:
        for row, name in enumerate(names.to_bytes_list()):
            unsafe[row] = name != b"" and (_UNSAFE.search(name) is not None or name in (b".", b".."))
    message = "must be a plain file name, without folders; the file lies in masks/<subset>/"
    reading.tell(table, "error", "mask.bad_path", block.rows, unsafe, "MaskPath", message, cells)
    bad |= unsafe
    places = np.full(len(block), NOT_FOUND, dtype=np.int64)
    named = ~unsafe & (cells.lengths > 0)
    rows = np.flatnonzero(named)
    asked = named & (frames >= 0) if reading.options.unmatched == "skip" else named
    for subset, chosen in _by_subset(reading, table, frames, rows):
        places[chosen] = files.find(names.take(chosen), subset)
    missing, several = asked & (places == NOT_FOUND), asked & (places == SEVERAL)
    room = reading.report.room()
    told = np.flatnonzero(missing)
    if len(told):
        problems = [
            _missing_file(table, files, int(block.rows[row]), cells.row_text(row)) for row in told[:room].tolist()
        ]
        reading.report.add_many(problems, len(told))
    message = "the zip holds several files of this name, and none in masks/<subset>/ of the row's subset: put it there"
    reading.tell(table, "error", "mask.ambiguous_file", block.rows, several, "MaskPath", message, cells)
    bad |= missing | several | ~asked
    files.used[places[places >= 0]] = True
    return places


def _by_subset(reading: Reading, table: TableState, frames: Ints, rows: Ids) -> list[tuple[str | None, Ids]]:
    """Rows by the subset in whose folder their PNG lies: the table's, else the image's."""
    if table.subset is not None:
        # The folder may be called as the table is, `val`, even where that means `validation`.
        return [(table.file.subset, rows)]
    codes = np.full(len(rows), -1, dtype=np.int32)
    known = np.flatnonzero(frames[rows] >= 0)
    codes[known] = reading.subset_of[frames[rows[known]] - reading.target.frames.start]
    return [
        (reading.subsets.values[code] if code >= 0 else None, rows[codes == code]) for code in distinct(codes).tolist()
    ]


def _missing_file(table: TableState, files: MaskFiles, row: int, name: str) -> Problem:
    near = files.nearest(name)
    hint = f'; did you mean "{shorten(near[0])}"?' if near else files.hint
    message = f'there is no file "{shorten(name)}" in the zip{hint}'
    if name in files.no_pngs:
        message = f'"{shorten(files.no_pngs[name])}" is not read: masks are PNGs, and are called .png'
    return Problem(
        "mask.missing_file",
        message,
        "error",
        table.path,
        row,
        "MaskPath",
        shorten(name),
        near[0] if near else None,
    )


def _have_box_ids(block: CSVBlock, good: Ids) -> bool:
    """Whether every reader takes these good rows: they have a BoxID, of letters that are none of control."""
    if not block.has("BoxID"):
        return False
    cells = block.cells("BoxID").take(good)
    return bool((cells.lengths > 0).all()) and not _UNUSUAL.search(cells.ragged().values.tobytes())


def _check_box_ids(reading: Reading, table: TableState, block: CSVBlock, bad: Mask) -> None:
    if not block.has("BoxID"):
        return
    cells = block.cells("BoxID")
    empty = cells.lengths == 0
    message = "BoxID is empty; one is made on export"
    reading.tell(table, "warning", "value.missing", block.rows, empty & ~bad, "BoxID", message, cells)
    unsafe = np.zeros(len(block), dtype=np.bool_)
    joined = cells.ragged()
    if _UNSAFE.search(joined.values.tobytes()) or bool(((cells.lengths <= 2) & ~empty).any()):
        texts = joined.to_texts()
        unsafe[:] = [bool(text) and not is_plain_name(text) for text in texts]
    message = "may not hold a slash, a backslash or NUL, or be dots alone"
    reading.tell(table, "error", "mask.bad_box_id", block.rows, unsafe, "BoxID", message, cells)
    bad |= unsafe


def _read_box_cells(reading: Reading, table: TableState, block: CSVBlock, bad: Mask) -> Reals:
    """(N, 4) the coordinates of the box a mask was drawn in; NaN where they do not name one."""
    boxes = np.full((len(block), 4), np.nan, dtype=np.float64)
    n_filled = np.zeros(len(block), dtype=np.int64)
    for place, column in enumerate(MASK_COORDINATES):
        if not block.has(column):
            continue
        cells = block.cells(column)
        numbers = decode_numbers(cells)
        flawed = tell_numbers(reading, table, block, column, cells, numbers)
        far = ~flawed & ((numbers.values < LOWEST) | (numbers.values > HIGHEST))
        message = "expected a share of the picture, 0 to 1; this looks like pixels: divide by its width or height"
        reading.tell(table, "error", "value.range", block.rows, far, column, message, cells)
        bad |= flawed | far
        n_filled += ~numbers.empty
        boxes[:, place] = numbers.values
    partial = (n_filled > 0) & (n_filled < 4)
    message = "one to three of the four box cells are filled; the mask is linked to no box, the cells are kept"
    reading.tell(table, "warning", "mask.box_partial", block.rows, partial & ~bad, None, message)
    boxes[n_filled < 4] = np.nan
    return boxes


def _claim_folder(reading: Reading, frames: Ints, places: Ids, files: MaskFiles) -> None:
    """Where nothing else tells an image's subset, the folder of its mask does."""
    if not len(frames):
        return
    at = frames - reading.target.frames.start
    open_rows = np.flatnonzero((reading.subset_of[at] < 0) & (reading.weak_subset_of[at] < 0))
    for row in open_rows[np.unique(at[open_rows], return_index=True)[1]].tolist():
        subset = files.subset(int(places[row]))
        if subset:
            reading.weak_subset_of.tell(at[row : row + 1], reading.subset_code(subset))
