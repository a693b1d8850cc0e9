"""Box tables → rectangles.

Source: Open Images reference 3.6 (sizes), 3.7 (values, checks, worked example), 3.10 (groups).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Shapes, ShapeType
from app.columns import Cells, Coded, CSVBlock, Numbers, Ragged, Texts, decode_flags, decode_numbers, decode_texts
from app.errors import shorten
from app.formats.open_images.attributes import AttributeColumn
from app.formats.open_images.layout import COORDINATES, FLAGS, HIGHEST, LOWEST, TableFile
from app.formats.open_images.links import MaskLinks
from app.formats.open_images.reading import FILL, FewColumns, Ints, Mask, Reading, TableState
from app.formats.open_images.repairs import are_decimal_ones, are_digits, short_decimals
from app.formats.open_images.repeats import RepeatedRows, repeats_of
from app.formats.open_images.side_read import row_check
from app.formats.open_images.side_write import BOX_CELLS
from app.formats.open_images.waiting_ends import WaitingEnds
from app.formats.open_images.write_boxes import PLAIN_CELLS
from app.geometry import boxes_to_pixels

Reals = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

UNLIKE_CELLS = 64
_DATE = re.compile(r"\d{1,2}[./ -][A-Za-z]{3,9}\.?|[A-Za-z]{3}[ -]\d{2,4}|\d{1,4}([./-])\d{1,2}\1\d{1,4}")
FEW_BOX_COLUMNS = ("Source", "LabelName", "Confidence", *FLAGS)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of other tables that wait for boxes."""

    masks: MaskLinks
    relationships: WaitingEnds


def read_boxes(reading: Reading, waiting: Waiting) -> None:
    """All box tables, in order; boxes that a mask belongs to get its group."""
    for file in reading.layout.of("boxes"):
        _read_table(reading, file, waiting)


def _read_table(reading: Reading, file: TableFile, waiting: Waiting) -> None:
    table = reading.open_table(file)
    with repeats_of(reading, table) as repeats:
        for block in reading.read_table(table):
            _read_block(reading, table, block, waiting, repeats)
            del block


def _read_block(reading: Reading, table: TableState, block: CSVBlock, waiting: Waiting, repeats: RepeatedRows) -> None:
    bad = np.zeros(len(block), dtype=np.bool_)
    few = reading.few(table, block, FEW_BOX_COLUMNS)
    frames, ids = reading.find_frames(table, block, bad)
    label_codes, label_ids = find_labels(reading, table, few, frames, bad)
    claim_subset(reading, table, block, frames, bad)
    corners = _read_corners(reading, table, block, bad)
    flags = {column: _read_flag(reading, table, few, column, bad) for column in FLAGS}
    confidence = read_share(reading, table, few, "Confidence", bad, empty_is="1")
    count = reading.report.table(table.path)
    good = np.flatnonzero(~bad)
    count.dropped += len(block) - len(good)
    if not len(good):
        return
    reading.name_images(frames[good], ids.take(good))
    repeats.add(block, good)
    reading.see_lines(table, lambda: all(are_all(few[name], what, good) for name, what in PLAIN_CELLS.items()))
    sources = {"score": ("Confidence", confidence), "source": ("Source", few["Source"])}

    def columns(rows: Rows) -> list[AttributeColumn]:
        shown = [flag_column(FLAGS[column], column, flags[column][rows]) for column in FLAGS]
        return shown + text_columns(reading, sources, rows)

    frames, label_ids, corners = frames[good], label_ids[good], corners[good]
    reading.needs_size[frames - reading.target.frames.start] = True
    reading.consistency.add_boxes(table.path, block.rows[good], frames, label_codes[good], corners)
    waiting.relationships.see(frames, label_codes[good], corners)
    boxes_px = boxes_to_pixels(corners[:, [0, 2, 1, 3]], *reading.target.frames.sizes(frames))
    shapes = replace(
        Shapes.empty(len(good)),
        frames=frames,
        types=np.full(len(good), ShapeType.RECTANGLE, dtype=np.uint8),
        label_ids=label_ids,
        groups=waiting.masks.take_boxes(frames, label_codes[good], corners),
        occluded=flags["IsOccluded"][good] == 1,
        attributes=encode_attributes(reading, table, few, good, label_ids, columns, few.kinds),
        points=Ragged(boxes_px.reshape(-1), np.arange(len(good) + 1, dtype=np.int64) * 4),
        kept=reading.kept(table.number, block.lines.take(good)),
    )
    count.kept += len(good)
    reading.n_kept_rows += len(good)
    told = with_entries(reading, table, block, good, shapes, BOX_CELLS)
    said = reading.confidences(confidence, good) if len(told) == len(good) else None
    reading.write(Annotations(shapes=told, confidences=said))


def with_entries(
    reading: Reading,
    table: TableState,
    block: CSVBlock,
    good: npt.NDArray[np.int64],
    shapes: Shapes,
    cells: Sequence[str],
) -> Shapes:
    """The shapes of the block's good rows, one a row, as the side file knows them by these `cells`."""
    if not reading.side.has_entries(table.path, table.first, len(block)):
        return shapes
    place = np.full(len(block), -1, dtype=np.int64)
    place[good] = np.arange(len(good), dtype=np.int64)
    return reading.side.replace_shapes(
        table.path,
        reading.side.entries(table.path, table.first, np.arange(len(block), dtype=np.int64)),
        row_check(block, cells),
        lambda row: place[row : row + 1] if place[row] >= 0 else place[:0],
        lambda: reading.sided_table(table),
        shapes,
    )


def read_coordinate(
    reading: Reading, table: TableState, block: CSVBlock, column: str
) -> tuple[Cells, npt.NDArray[np.float64], Mask]:
    """The cells of a column of places, their (N,) values, and (N,) which are none: those are told."""
    cells = block.cells(column)
    numbers = decode_numbers(cells)
    flawed = tell_numbers(reading, table, block, column, cells, numbers)
    reading.tell(
        table, "error", "value.missing", block.rows, numbers.empty, column, f"{column} is empty; {FILL}", cells
    )
    flawed |= numbers.empty
    far = ~flawed & ((numbers.values < LOWEST) | (numbers.values > HIGHEST))
    message = "expected a share of the picture, 0 to 1; this looks like pixels: divide by its width or height"
    reading.tell(table, "error", "value.range", block.rows, far, column, message, cells)
    return cells, numbers.values, flawed | far


def _read_corners(reading: Reading, table: TableState, block: CSVBlock, bad: Mask) -> Reals:
    """(N, 4) XMin XMax YMin YMax, checked."""
    corners = np.empty((len(block), 4), dtype=np.float64)
    good = np.ones(len(block), dtype=np.bool_)
    for place, column in enumerate(COORDINATES):
        cells, values, flawed = read_coordinate(reading, table, block, column)
        good &= ~flawed
        corners[:, place], mended = short_decimals(values, cells, good)
        message = "has coordinates of single precision, as datumaro writes them; the short decimals place the boxes"
        reading.mend(table, "value.single_precision", block, mended, column, message)
    upright = good.copy()
    for low, high, column in ((0, 1, "XMin"), (2, 3, "YMin")):
        inverted = good & (corners[:, low] > corners[:, high])
        message = f"{column} is greater than {COORDINATES[high]}; the columns are XMin, XMax, YMin, YMax"
        reading.tell(table, "error", "box.inverted", block.rows, inverted, column, message, block.cells(column))
        upright &= ~inverted
    good = upright
    bad |= ~good
    good &= ~bad
    outside = good & ((corners < 0) | (corners > 1)).any(axis=1)
    message = "reaches outside of the picture; kept as it is"
    reading.tell(table, "warning", "box.outside", block.rows, outside, None, message)
    flat = good & ((corners[:, 0] == corners[:, 1]) | (corners[:, 2] == corners[:, 3]))
    reading.tell(table, "warning", "box.empty", block.rows, flat, None, "has no width or no height; kept as it is")
    return corners


def _read_flag(reading: Reading, table: TableState, few: FewColumns, column: str, bad: Mask) -> npt.NDArray[np.int8]:
    """(N,) int8: 1, 0, -1 for unknown."""
    block, cells = few.block, few[column]
    if not block.has(column):
        return np.full(len(block), -1, dtype=np.int8)
    flags = cells.decoded(decode_flags)
    message = "expected 1, 0, or -1 for unknown"
    wrong = reading.tell_cells(table, "error", "value.flag", block, flags.bad, column, message, cells)
    message = f"{column} is empty: unknown"
    reading.tell_cells(table, "warning", "value.missing", block, flags.empty, column, message, cells, unless=bad)
    if wrong is not None:
        bad |= wrong
    words = ~(flags.bad | flags.empty | cells.decoded(are_digits))
    message = "flags are words, or have a point or blanks; they are read as 1, 0 and -1, and written back so"
    reading.mend_cells(table, "value.flag_words", block, words, column, message, cells)
    return cells.spread(flags.values)


# --- shared with tags and masks ---


def find_labels(reading: Reading, table: TableState, few: FewColumns, frames: Ints, bad: Mask) -> tuple[Ints, Ints]:
    """(N,) codes of the LabelNames, and (N,) label ids, -1 (and `bad`) where there is none.

    Where unmatched images are passed over, the labels of their rows are not asked for: a slice of an official file
    names classes that the task need not have. Nor need it have those of rows that the options do not select.
    """
    block, column, cells = few.block, table.label_column, few[table.label_column]
    asked = np.ones(len(block), dtype=np.bool_)
    message = f"{column} is empty; {FILL}"
    empty = reading.tell_cells(
        table, "error", "value.missing", block, cells.decoded(_are_empty), column, message, cells
    )
    if empty is not None:
        bad |= empty
        asked = ~empty
    if reading.options.unmatched == "skip":
        asked &= frames >= 0
    rows = np.flatnonzero(asked)
    codes = np.full(len(block), -1, dtype=np.int32)
    label_ids = np.full(len(block), -1, dtype=np.int32)
    codes[rows] = reading.labels.codes_of(cells.take(rows), table.path)
    needed = reading.needs_label(table, frames[rows])
    label_ids[rows] = reading.labels.resolve(codes[rows], block.rows[rows], table.path, column, needed)
    bad |= label_ids < 0
    return codes, label_ids


def _are_empty(cells: Cells) -> Mask:
    empty: Mask = cells.lengths == 0
    return empty


def claim_subset(reading: Reading, table: TableState, block: CSVBlock, frames: Ints, bad: Mask) -> None:
    """The subset that the table's name tells is that of its images."""
    if table.subset is not None:
        reading.claim(table, block.rows, frames, reading.subset_code(table.subset), bad)


def tell_numbers(
    reading: Reading, table: TableState, block: CSVBlock, column: str, cells: Cells, numbers: Numbers
) -> Mask:
    """Report what is no number; (N,) the mask of those rows."""
    for code, mask, message in (
        ("value.not_number", numbers.not_number, "is not a number"),
        ("value.not_finite", numbers.not_finite, "is not a finite number"),
    ):
        reading.tell(table, "error", code, block.rows, mask, column, _about(cells, message), cells)
    return numbers.not_number | numbers.not_finite


def _advice(text: str) -> str:
    """How to write what is no number."""
    if "," in text:
        return "its decimal mark must be a point"
    if text.endswith("%"):
        return "write 10% as 0.1"
    if _DATE.fullmatch(text):
        return "a spreadsheet may have made a date of it: write a number, such as 0.25"
    return "write a number, such as 0.25"


def _about(cells: Cells | Coded, words: str) -> Callable[[int], str]:
    def told(place: int) -> str:
        text = cells.row_text(place)
        return f'"{shorten(text)}" {words}; {_advice(text)}'

    return told


def read_share(reading: Reading, table: TableState, few: FewColumns, column: str, bad: Mask, *, empty_is: str) -> Coded:
    """The trimmed texts of a column of numbers in 0..1, checked.

    Args:
        empty_is: what an empty cell is read as, with warning `value.missing`; "" takes it as it is.
    """
    block = few.block
    if not block.has(column):
        return Coded(np.zeros(len(block), dtype=np.int32), Cells.of(Ragged.from_bytes([empty_is.encode()])))
    cells = few[column].trimmed()
    numbers = cells.decoded(decode_numbers)
    flawed = numbers.not_number | numbers.not_finite
    far = ~flawed & ~numbers.empty & ((numbers.values < 0) | (numbers.values > 1))
    for code, mask, message in (
        ("value.not_number", numbers.not_number, _about(cells, "is not a number")),
        ("value.not_finite", numbers.not_finite, _about(cells, "is not a finite number")),
        ("value.range", far, "expected a number of 0 to 1"),
    ):
        wrong = reading.tell_cells(table, "error", code, block, mask, column, message, cells)
        if wrong is not None:
            bad |= wrong
    if column == "Confidence":
        message = "is written with a point, as datumaro does; 1.0 counts as 1, the cells stay"
        ones = cells.decoded(are_decimal_ones)
        reading.mend_cells(table, "value.decimal_one", block, ones, column, message, few[column])
    if not empty_is:
        return cells
    message = f"{column} is empty: read as {empty_is}"
    reading.tell_cells(table, "warning", "value.missing", block, numbers.empty, column, message, cells, unless=bad)
    return cells.changed(_filling(empty_is)) if numbers.empty.any() else cells


@cache
def _filling(text: str) -> Callable[[Cells], Cells]:
    def filled(cells: Cells) -> Cells:
        """The text in place of each empty cell."""
        texts = Ragged.concatenate([cells.ragged(), Ragged.from_bytes([text.encode()])])
        return Cells.of(texts.take(np.where(cells.lengths == 0, len(cells), np.arange(len(cells)))))

    return filled


def are_all(column: Coded, what: Callable[[Cells], Mask], rows: Rows) -> bool:
    """Whether something holds for the cells of all these rows."""
    holds = column.decoded(what)
    return bool(holds.all()) or bool(column.spread(holds)[rows].all())


def flag_column(attribute: str, column: str, values: npt.NDArray[np.int8]) -> AttributeColumn:
    return AttributeColumn(attribute, column, values.astype(np.int32), ("0", "1"), is_flag=True)


def text_columns(reading: Reading, sources: Mapping[str, tuple[str, Coded]], rows: Rows) -> list[AttributeColumn]:
    """Columns shown as they are written, of some rows; those that no label declares cost nothing."""
    columns = []
    for attribute, (column, cells) in sources.items():
        if reading.attributes.is_declared(attribute):
            some = cells.take(rows)
            codes, values = some.decoded(_shown_texts)
            empty = np.array([not value for value in values], dtype=np.bool_)
            codes = np.where(empty[codes], np.int32(-1), codes).astype(np.int32)
            columns.append(AttributeColumn(attribute, column, some.spread(codes), values))
    return columns


def _shown_texts(cells: Cells) -> tuple[Ints, Sequence[str]]:
    """Codes, and texts; each text once where they are few. Ids, whose first cells all differ, are not told apart."""
    head = cells.take(np.arange(min(len(cells), UNLIKE_CELLS), dtype=np.int64)).ragged().to_bytes_list()
    if len(set(head)) < UNLIKE_CELLS:
        texts = decode_texts(cells)
        return texts.codes, texts.values
    return np.arange(len(cells), dtype=np.int32), cells.ragged().to_texts()


def encode_attributes(
    reading: Reading,
    table: TableState,
    few: FewColumns,
    good: Rows,
    label_ids: Ints,
    columns: Callable[[Rows], list[AttributeColumn]],
    kinds: Rows | None = None,
) -> Texts:
    """Attribute texts of the good rows; values that an attribute cannot take are told and kept in the row.

    Args:
        columns: of some rows of the block.
        kinds: `few.kinds`, where those columns and the label are all that it is about.
    """
    block = few.block

    def no_value(column: AttributeColumn, rows: Mask) -> None:
        refused = np.zeros(len(block), dtype=np.bool_)
        refused[good[rows]] = True
        message = f'the attribute "{column.name}" has no such value; it stays at its default, the row keeps the cell'
        cells = block.cells(column.column)
        reading.tell(table, "warning", "attribute.no_value", block.rows, refused, column.column, message, cells)

    if kinds is None:
        return reading.attributes.encode(label_ids, columns(good), no_value)
    return few.texts.encode(kinds[good], label_ids, lambda rows: columns(good[rows]), no_value)
