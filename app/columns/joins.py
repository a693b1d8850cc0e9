"""Columns to CSV bytes: every cell is copied to its place in one output array, eight bytes a step.

    lengths of all cells → where each row and each cell begins → a pass a column (and word) copies the cells
    → commas and line ends are put into the gaps

Quotes only where a cell needs them: comma, quote, LF or CR in it. Texts are quoted once per distinct text; of byte
columns only the rows that hold such a byte are touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from app.columns.cells import Cells
from app.columns.gapped import GappedLines
from app.columns.ragged import Ragged, Texts
from app.columns.words import Bytes, Positions, copy_cells, joined_cells

Column = Ragged | Texts | bytes

QUOTE = ord('"')
_SPECIAL = np.isin(np.arange(256), np.frombuffer(b',"\r\n', dtype=np.uint8))  # (256,) bool
# Rows are joined so many at a time: source and target then stay in the cache.
_CHUNK_ROWS = 8192


def join_columns(columns: Sequence[Column], rows: int) -> bytes:
    """CSV rows from columns: comma, LF, quotes only where needed.

    Args:
        columns: each a Ragged of uint8 (N rows), a Texts (N rows), or bytes: the same cell in every row.
        rows: N.

    Returns:
        N lines, each ended by LF. A row that is one empty cell is written as two quotes, so that it is no blank line.
    """
    return b"".join(values.tobytes() for values, _ in _joined(columns, rows, b"\n"))


def join_words(columns: Sequence[Ragged], rows: int) -> bytes:
    """Lines of cells with a blank between them, each ended by LF; the cells are written as they are."""
    lines = []
    for start in range(0, rows, _CHUNK_ROWS):
        stop = min(start + _CHUNK_ROWS, rows)
        lines.append(_join([Cells.of(column.slice(start, stop)) for column in columns], b"\n", b" ")[0].tobytes())
    return b"".join(lines)


def join_records(columns: Sequence[Column], rows: int) -> Ragged:
    """The same rows as a column of records without line ends, for `join_lines`: Ragged of uint8, N rows."""
    values = [np.zeros(0, dtype=np.uint8)]
    ends = [np.zeros(1, dtype=np.int64)]
    for chunk, chunk_ends in _joined(columns, rows, b""):
        values.append(chunk)
        ends.append(chunk_ends + ends[-1][-1])
    return Ragged(np.concatenate(values), np.concatenate(ends))


def _joined(columns: Sequence[Column], rows: int, line_end: bytes) -> Iterator[tuple[Bytes, Positions]]:
    """Chunks of rows as bytes, with the end of each row (its line end included) in its chunk."""
    for column in columns:
        if not isinstance(column, bytes) and len(column) != rows:
            raise ValueError(f"a column has {len(column)} rows instead of {rows}")
    parts = _parts_of(columns)
    for start in range(0, rows, _CHUNK_ROWS):
        yield _join([part(start, min(start + _CHUNK_ROWS, rows)) for part in parts], line_end)


def _parts_of(columns: Sequence[Column]) -> list[Callable[[int, int], Cells]]:
    """For each column a function that gives the quoted cells of rows start to stop. Columns that are the same in every
    row, and stand side by side, are one: their cells and what is between them."""
    lone = len(columns) == 1
    parts: list[Callable[[int, int], Cells]] = []
    constants: list[bytes] = []
    for column in columns:
        if isinstance(column, bytes):
            constants.append(_quoted(Ragged.from_bytes([column]), lone).row_bytes(0))
            continue
        if constants:
            parts.append(_repeated(b",".join(constants)))
            constants = []
        parts.append(_cells_of(column, lone))
    return [*parts, _repeated(b",".join(constants))] if constants else parts


def join_lines(lines: Ragged) -> bytes:
    """Whole records (as `CSVBlock.lines`) with LF behind each; they are written as they are."""
    values, places = joined_cells(lines.values, lines.offsets[:-1], lines.offsets[1:], gap=1)
    values[places[1:] - 1] = ord("\n")
    return values.tobytes()


def text_of_lines(lines: Ragged, start: int, stop: int) -> Bytes:
    """`join_lines` of rows start to stop; lines that lie in such a text already are not copied."""
    if isinstance(lines, GappedLines) and lines.end == b"\n" and start < stop:
        return lines.text_between(start, stop)
    return np.frombuffer(join_lines(lines.slice(start, stop)), dtype=np.uint8)


def _cells_of(column: Ragged | Texts, lone: bool) -> Callable[[int, int], Cells]:
    """A function that gives the quoted cells of rows start to stop."""
    if isinstance(column, Ragged):
        return lambda start, stop: Cells.of(_quoted(column.slice(start, stop), lone))
    texts = Cells.of(_quoted(Ragged.from_bytes([text.encode("utf-8") for text in column.values]), lone))
    return lambda start, stop: texts.take(column.codes[start:stop])


def _repeated(text: bytes) -> Callable[[int, int], Cells]:
    constant = Cells.of(Ragged.from_bytes([text]))
    return lambda start, stop: constant.take(np.zeros(stop - start, dtype=np.int64))


def _quoted(column: Ragged, lone: bool) -> Ragged:
    """The column with quotes around the rows that need them."""
    special = np.flatnonzero(_SPECIAL[column.values])
    empty = column.lengths == 0
    if not len(special) and not (lone and empty.any()):
        return column
    needs = empty.copy() if lone else np.zeros(len(column), dtype=np.bool_)
    needs[np.searchsorted(column.offsets, special, side="right") - 1] = True
    rows = np.flatnonzero(needs)
    inner = column.take(rows)
    is_quote = inner.values == QUOTE
    n_quotes = np.concatenate([[0], np.cumsum(is_quote)])[inner.offsets]  # (R + 1,) quotes in front of each row
    offsets = inner.offsets + n_quotes + 2 * np.arange(len(rows) + 1, dtype=np.int64)
    values = np.full(int(offsets[-1]), QUOTE, dtype=np.uint8)
    # Each byte lies behind the opening quotes of its row and those of the rows before, and behind the doubled ones.
    row_of = np.repeat(np.arange(len(rows), dtype=np.int64), inner.lengths)
    places = np.arange(len(inner.values), dtype=np.int64) + np.cumsum(is_quote) + 2 * row_of + 1
    values[places] = inner.values
    return _with_rows(column, rows, Ragged(values, offsets))


def _with_rows(column: Ragged, rows: Positions, texts: Ragged) -> Ragged:
    """The column with other texts at `rows`."""
    cells, other = Cells.of(column), Cells.of(texts)
    starts, stops = cells.starts.copy(), cells.stops.copy()
    starts[rows] = other.starts + len(cells.buffer)
    stops[rows] = other.stops + len(cells.buffer)
    return Cells(np.concatenate([cells.buffer, other.buffer]), starts, stops).ragged()


def _join(columns: Sequence[Cells], line_end: bytes, between: bytes = b",") -> tuple[Bytes, Positions]:
    """Rows of cells that are quoted already, as bytes, and the end of each row."""
    lengths = [cells.lengths for cells in columns]
    ends = np.cumsum(np.sum(lengths, axis=0) + len(columns) - 1 + len(line_end))  # (N,) behind each row's line end
    target: Bytes = np.zeros(int(ends[-1]) + 8, dtype=np.uint8)
    places = np.concatenate([[0], ends[:-1]])  # (N,) where the next cell of each row begins
    gaps = []
    for cells, widths in zip(columns, lengths, strict=True):
        copy_cells(target, places, cells.buffer, cells.starts, cells.stops)
        places = places + widths
        gaps.append(places)
        places = places + 1
    for gap in gaps[:-1]:
        target[gap] = ord(between)
    if line_end:
        target[gaps[-1]] = ord(line_end)
    return target[: ends[-1]], ends
