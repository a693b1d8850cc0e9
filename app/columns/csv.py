"""A CSV file as blocks of columns: what `records.py` splits, checked, counted by line, with names.

UTF-8 with or without byte order mark. Blank lines are nothing. Header names are matched trimmed and in any case. A row
that is broken (not UTF-8, NUL, quotes out of order, too many or too few cells, a cell over the limit) is reported and
left out; the rows around it are read. Lines are counted as an editor counts them: each LF, CR LF and CR is one, inside
quotes too.

Cost: 1 MiB of a plain table takes about 3 ms to split; memory is a few times the block, and the largest record.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.columns.cells import Cells
from app.columns.gapped import GappedLines
from app.columns.joins import join_lines
from app.columns.numbers import distinct
from app.columns.ragged import Ragged
from app.columns.records import COMMA, CR, QUOTE, Records, quotes_before, scan_records, split_records
from app.columns.words import PAD, Bytes, Mask, Positions, Words, hash_lines
from app.errors import Damaged, Problem, Report, shorten

MAX_FIELD_BYTES = 16 << 20
MAX_COLUMNS = 256
BLOCK_BYTES = 1 << 20

_BOM = b"\xef\xbb\xbf"
_OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SAVE_AS_UTF8 = "Save the file as UTF-8."
_LONGEST_NAME, _NEAR = 100, 0.8
"""Names of columns that are compared, and how alike they must be."""
_SHOWN_BYTES = 400
"""Of a broken row, for a report, which shortens it."""
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
_OTHER_DELIMITERS = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}
_FIRST_PRINTED, _LAST_ASCII = 0x20, 0x7F


@dataclass(frozen=True, slots=True, eq=False)
class CSVBlock:
    """N good records of a table.

    Attributes:
        rows: (N,) int64, the physical line where each record starts, the file's first line = 1.
        columns: column names, in file order (may be () for a table without header).
        n_seen: records read for this block, dropped ones among them; blank lines are none.
        buffer: uint8, the bytes that all positions below refer to.
        starts, stops: (N, C) int64, the cells; where a row of a ragged table is shorter, empty ones.
        line_starts, line_stops: (N,) int64, the records verbatim.
        field_counts: (N,) int64, cells of each row; they differ only in a ragged table.
        is_trimmed: no cell has white space on either side.
        is_plain: no cell has quotes, and each row has all of them: one comma stands between neighbours.
    """

    rows: Positions
    columns: tuple[str, ...]
    n_seen: int
    buffer: Bytes
    starts: Positions
    stops: Positions
    line_starts: Positions
    line_stops: Positions
    field_counts: Positions
    is_trimmed: bool = False
    is_plain: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lines(self) -> Ragged:
        """Ragged of uint8, N rows: each record verbatim, quotes and all, without its line end."""
        end, lengths = self._line_end(), self.line_stops - self.line_starts
        if not end:  # they do not follow each other
            return Cells(self.buffer, self.line_starts, self.line_stops).ragged()
        text = self.buffer[self.line_starts[0] : self.line_stops[-1]]
        if self.is_plain:
            return GappedLines(text, end, lengths)
        joined = text.tobytes().replace(end, b"")
        if len(joined) != lengths.sum():  # a line holds a line end
            return Cells(self.buffer, self.line_starts, self.line_stops).ragged()
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Ragged(np.frombuffer(joined, dtype=np.uint8), offsets)

    def lines_at(self, rows: Positions) -> Ragged:
        """The same of some rows: nothing of the others is looked at."""
        return Cells(self.buffer, self.line_starts[rows], self.line_stops[rows]).ragged()

    def line_hashes(self) -> Words:
        """(N,) uint64: equal lines have equal hashes in this process; which others have, nobody can foresee."""
        return hash_lines(self.buffer, self.line_starts, self.line_stops)

    def _line_end(self) -> bytes:
        """What stands between all lines: LF or CR LF; nothing where it is not the same everywhere, or there is no line.

        A line may hold it, too, if it has quotes.
        """
        starts, stops = self.line_starts, self.line_stops
        if len(starts) == 0:
            return b""
        ends = stops[:-1]
        end = b"\r\n" if len(ends) and self.buffer[ends[0]] == CR else b"\n"
        if bool((starts[1:] != ends + len(end)).any()):
            return b""
        if any(bool((self.buffer[ends + place] != byte).any()) for place, byte in enumerate(end)):
            return b""
        return end

    def has(self, column: str) -> bool:
        """Whether the table has this column, in any case."""
        return _place(self.columns, column) >= 0

    def cells(self, column: str) -> Cells:
        """The cells of a column by name (any case), unquoted; empty cells where the table has no such column."""
        place = _place(self.columns, column)
        return self.cells_at(place) if place >= 0 else Cells.blank(len(self))

    def cells_at(self, index: int) -> Cells:
        """The cells of a column by place; empty cells where a row is shorter (ragged tables)."""
        if index >= self.starts.shape[1]:
            return Cells.blank(len(self))
        starts, stops = np.ascontiguousarray(self.starts[:, index]), np.ascontiguousarray(self.stops[:, index])
        return Cells(self.buffer, starts, stops, self.is_trimmed)


class PlainBlock(CSVBlock):
    """Lines without quotes: their commas say all, and only columns that are asked for get places of their own."""

    __slots__ = ("_commas",)
    _commas: Positions

    def __init__(self, lines: Ragged, columns: tuple[str, ...], commas: Positions) -> None:
        """`commas`: (N, C - 1) their places in the lines' values."""
        n = len(lines)
        buffer = np.zeros(len(lines.values) + 2 * PAD, dtype=np.uint8)
        buffer[PAD : PAD + len(lines.values)] = lines.values
        for name, value in {
            "rows": np.arange(1, n + 1, dtype=np.int64),
            "columns": columns,
            "n_seen": n,
            "buffer": buffer,
            "line_starts": lines.offsets[:-1] + PAD,
            "line_stops": lines.offsets[1:] + PAD,
            "field_counts": np.full(n, len(columns), dtype=np.int64),
            "is_trimmed": False,
            "is_plain": True,
            "_commas": commas,
        }.items():
            object.__setattr__(self, name, value)  # a block is frozen for everybody else

    @property
    def starts(self) -> Positions:
        return np.concatenate([self.line_starts[:, None], self._commas + (PAD + 1)], axis=1)

    @property
    def stops(self) -> Positions:
        return np.concatenate([self._commas + PAD, self.line_stops[:, None]], axis=1)

    def cells_at(self, index: int) -> Cells:
        if index >= len(self.columns):
            return Cells.blank(len(self))
        starts = self._commas[:, index - 1] + (PAD + 1) if index else self.line_starts
        stops = self._commas[:, index] + PAD if index < len(self.columns) - 1 else self.line_stops
        return Cells(self.buffer, starts, stops)


def _cut(blocks: Iterable[bytes], n_bytes: int) -> Iterator[bytes]:
    """The same bytes in blocks of `n_bytes` at most, so that memory does not follow what a caller gives at once."""
    for block in blocks:
        for start in range(0, len(block), n_bytes):
            yield block if len(block) <= n_bytes else block[start : start + n_bytes]


def _place(columns: Sequence[str], column: str) -> int:
    key = column.strip().casefold()
    for place, name in enumerate(columns):
        if name.casefold() == key:
            return place
    return -1


class CSVReader:
    """A CSV file as blocks of columns; memory follows the block, not the file.

    The header is read on construction. Problems go to the report; rows with a problem are left out of the blocks.

    Attributes:
        header: column names, trimmed; () for an empty file (or `columns` of a table without header).
        spelling: the same as they are written, where a name stands there by an alias.
        header_row: physical line of the header, normally 1.
        usable: False when the header was refused; then there are no blocks.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        report: Report,
        file: str,
        *,
        known: Collection[str] = (),
        required: Collection[str] = (),
        aliases: Mapping[str, str] = {},
        columns: Sequence[str] | None = None,
        ragged: bool = False,
        max_field_bytes: int = MAX_FIELD_BYTES,
        max_columns: int = MAX_COLUMNS,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Read the header.

        Args:
            blocks: the file's bytes in blocks of any size (such as `Archive.blocks`).
            report: takes every problem, with `file` as its file.
            known: column names of which the header must hold at least one; () takes any header.
            required: names that must be there; others are optional and read as empty cells.
            aliases: other names of a column, in lower case, and the name it has here (unless that is there too).
            columns: names for a table WITHOUT header (may be empty: then only `cells_at`); None = first row is header.
            ragged: rows may be shorter or longer than the header.
            max_columns: of the header, and of a row of a ragged table.
        """
        self._blocks = _cut(blocks, block_bytes)
        self._report = report
        self._file = file
        self._ragged = ragged
        self._max_field_bytes = max_field_bytes
        self._max_columns = max_columns
        self._block_bytes = block_bytes
        self._pending = b""
        self._ended = False
        self._line = 1
        self._width = len(columns or ())
        self._aliases = aliases
        self._header_line = b""
        self.header = self.spelling = tuple(columns or ())
        self.header_row = 1
        self.usable = self._skip_mark()
        if self.usable and columns is None:
            self.usable = self._read_header(known, required)

    def has(self, column: str) -> bool:
        """Whether the header has this column, in any case."""
        return _place(self.header, column) >= 0

    def __iter__(self) -> Iterator[CSVBlock]:
        """The rows behind those given out before; each block holds about `block_bytes` of the file."""
        while self.usable:
            records = self._next_records()
            if records is None:
                return
            block = self._block(records) if len(records) else None
            del records  # neither is there any more while the next ones are read
            if block is not None:
                yield block
            del block

    # --- bytes ---

    def _fill(self, n_bytes: int) -> None:
        """Read until so many bytes are pending, or the file ends."""
        parts, have = [self._pending], len(self._pending)
        while have < n_bytes and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            else:
                parts.append(block)
                have += len(block)
        self._pending = b"".join(parts) if len(parts) > 1 else parts[0]

    def _skip_mark(self) -> bool:
        self._fill(len(_BOM))
        for mark, name in _OTHER_MARKS.items():
            if self._pending.startswith(mark):
                self._error("csv.encoding", f"The file is {name}. {_SAVE_AS_UTF8}", 1)
                return False
        self._pending = self._pending.removeprefix(_BOM)
        return True

    def _next_records(self, only_first: bool = False) -> Records | None:
        """The next complete records; None at the end of the file, or where a record is over the limit."""
        n_bytes, longest = self._block_bytes, self._max_field_bytes + self._block_bytes
        while True:
            self._fill(n_bytes)
            width = self._max_columns
            # Behind a long record much may be there: of that, no more than a block is looked at.
            data = self._pending if len(self._pending) <= 2 * n_bytes else self._pending[:n_bytes]
            ended = self._ended and len(data) == len(self._pending)
            if not data:
                return None
            # A record that is longer than a block is taken by itself, field by field.
            is_long = n_bytes > self._block_bytes
            records = (
                scan_records(data, ended, width, 1) if only_first or is_long else split_records(data, ended, width)
            )
            if records is not None:
                del data
                self._pending = self._pending[records.n_bytes :]
                records.lines = records.lines + self._line
                self._line += records.n_lines
                if len(records) or not only_first:
                    return records
            elif len(data) > longest:
                message = (
                    f"The record that begins here is longer than {self._max_field_bytes:,} bytes; perhaps a quote is "
                    "never closed. The rest of the file was not read."
                )
                self._error("csv.too_big", message, self._line)
                self.usable = False
                return None
            else:
                n_bytes = min(2 * len(data), longest + 1)

    # --- header ---

    def _read_header(self, known: Collection[str], required: Collection[str]) -> bool:
        """Take the first record for the header. False where it cannot be one; the report says why."""
        records = self._next_records(only_first=True)
        if records is None:
            return self.usable  # an empty file is an empty table
        self.header_row = row = int(records.lines[0])
        line = records.buffer[records.starts[0] : records.stops[0]].tobytes()
        if b"\0" in line:
            self._error("csv.nul", f"The header holds a NUL character. {_SAVE_AS_UTF8}", row)
        elif records.misquoted:
            self._error("csv.quote", f"The header has {records.misquoted[0]}. Quote whole cells only.", row)
        elif records.too_wide:
            message = (
                f"The header has {records.too_wide[0]:,} columns, over the limit of {self._max_columns:,}. Remove some."
            )
            self._error("csv.too_big", message, row)
        elif int((records.field_stops - records.field_starts).max()) > self._max_field_bytes:
            message = f"The header has a cell of more than {self._max_field_bytes:,} bytes. Shorten it."
            self._error("csv.too_big", message, row)
        elif _first_bad_byte(line) is not None:
            self._error("csv.encoding", f"The header is not UTF-8. {_SAVE_AS_UTF8}", row)
        else:
            cells = Cells(records.buffer, records.field_starts, records.field_stops)
            self.spelling = tuple(cells.row_bytes(i).decode("utf-8").strip() for i in range(len(cells)))
            self.header = self._canonical(self.spelling)
            self._width = len(self.header)
            self._header_line = line
            return self._check_names(known, required, line)
        return False

    def _canonical(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Aliases as the names they stand for, as long as those are not there themselves."""
        there = {name.casefold() for name in names}
        known = {alias: name for alias, name in self._aliases.items() if name.casefold() not in there}
        return tuple(known.get(name.casefold(), name) for name in names)

    def _check_names(self, known: Collection[str], required: Collection[str], line: bytes) -> bool:
        """Whether the header has names that make sense; every flaw goes to the report."""
        row, n_errors = self.header_row, self._report.n_errors
        shown = shorten(line.decode("utf-8"))
        if known and not any(self.has(name) for name in known):
            message = told_delimiter(line)
            if message is not None:
                self._error("csv.delimiter", message, row, value=shown)
            else:
                one, meant = next(iter(self._meant(known).items()), ("", ""))
                advice = _advice_without_header(line, known)
                if meant:
                    advice = f'Perhaps "{shorten(one)}" is meant to be "{meant}": rename it, and others alike.'
                message = f"The first row names none of the columns {', '.join(known)}. {advice}"
                self._error("csv.no_header", message, row, value=shown)
            return False
        seen: set[str] = set()
        for name in self.header:
            key = name.casefold()
            if key and key in seen:
                message = f'The column "{shorten(name)}" is there twice. Remove or rename one.'
                self._error("csv.duplicate_column", message, row, column=shorten(name))
            seen.add(key)
        near = self._meant(known)
        for name in required:
            if not self.has(name):
                written = next((one for one, meant in near.items() if meant == name), None)
                hint = " Add it." if written is None else f' Perhaps "{shorten(written)}" is meant to be it: rename it.'
                message = f'There is no column "{name}".{hint} The header is: {shown}'
                place = {} if written is None else {"value": written}
                self._error("csv.missing_column", message, row, column=name, **place)
        for written, name in near.items():
            if name not in required:
                message = (
                    f'No column is called "{shorten(written)}"; did you mean "{name}"? Its cells are kept, not read.'
                )
                self._report.warn(
                    "csv.unknown_column", message, file=self._file, row=row, column=written, suggestion=name
                )
        return self._report.n_errors == n_errors

    def _meant(self, known: Collection[str]) -> dict[str, str]:
        """Columns of no known name, by the one that each was probably meant to have: one that is not there."""
        missing = {name.casefold(): name for name in known if not self.has(name)}
        strange = [name for name in self.header if name and not any(name.casefold() == one.casefold() for one in known)]
        found = {}
        for written in strange if missing else ():
            near = difflib.get_close_matches(written.casefold()[:_LONGEST_NAME], missing, 1, cutoff=_NEAR)
            if near:
                found[written] = missing.pop(near[0])
        return found

    # --- rows ---

    def _block(self, records: Records) -> CSVBlock:
        """Drop and report what is broken; the rest side by side."""
        counts = np.diff(records.first_fields)  # (N,)
        if not self._width and not self._ragged:
            self._width = int(counts[0])  # a table without header or names is as wide as its first row
        bad = np.zeros(len(records), dtype=np.bool_)
        self._check_bytes(records, bad)
        self._check_quotes(records, bad)
        self._check_header(records, bad)
        self._check_counts(records, counts, bad)
        if records.n_bytes > self._max_field_bytes:
            self._check_sizes(records, bad)
        keep = np.flatnonzero(~bad)  # (K,)
        counts = counts[keep]
        width = int(counts.max(initial=0)) if self._ragged else self._width
        if not bad.any() and len(records.field_starts) == len(records) * width:
            starts, stops = records.field_starts.reshape(-1, width), records.field_stops.reshape(-1, width)
        else:
            places = np.arange(width, dtype=np.int64)
            fields = records.first_fields[keep][:, None] + places  # (K, C)
            missing = places >= counts[:, None]  # (K, C)
            fields[missing] = 0
            starts, stops = records.field_starts[fields], records.field_stops[fields]
            starts[missing] = stops[missing] = PAD
        return CSVBlock(
            rows=records.lines[keep],
            columns=self.header,
            n_seen=len(records),
            buffer=records.buffer,
            starts=starts,
            stops=stops,
            line_starts=records.starts[keep],
            line_stops=records.stops[keep],
            field_counts=counts,
            is_trimmed=not records.has_white,
            is_plain=records.is_plain and not self._ragged,
        )

    def _check_bytes(self, records: Records, bad: Mask) -> None:
        if records.is_ascii:
            return
        data = records.buffer[PAD : PAD + records.n_bytes].tobytes()
        if not data.isascii():
            rows, lines = _lines_not_utf8(records, data)
            message = f"This line is not UTF-8. {_SAVE_AS_UTF8}"
            self._report_rows("csv.encoding", records, rows, [message] * min(len(lines), self._report.room()), lines)
            bad[rows] = True
        if b"\0" in data:
            places = np.flatnonzero(records.buffer[PAD : PAD + records.n_bytes] == 0) + PAD
            rows = distinct(np.searchsorted(records.starts, places, side="right") - 1)
            rows = rows[~bad[rows]]
            message = f"This row holds a NUL character. {_SAVE_AS_UTF8}"
            self._report_rows("csv.nul", records, rows, [message] * min(len(rows), self._report.room()))
            bad[rows] = True

    def _check_quotes(self, records: Records, bad: Mask) -> None:
        rows = np.array([row for row in records.misquoted if not bad[row]], dtype=np.int64)
        reasons = [records.misquoted[row] for row in rows[: self._report.room()].tolist()]
        messages = [f"This row has {why}. Quote whole cells, and write a quote inside as two." for why in reasons]
        self._report_rows("csv.quote", records, rows, messages)
        bad[rows] = True

    def _check_header(self, records: Records, bad: Mask) -> None:
        """Tables that were put together have their headers within."""
        line = self._header_line
        if not line:
            return
        lengths = records.stops - records.starts
        rows = np.flatnonzero((lengths == len(line)) | (lengths == len(_BOM) + len(line)))
        # Rows of data may all be as long as the header: two bytes tell most of them from it.
        for back in (1, (len(line) + 1) // 2):
            rows = rows[records.buffer[records.stops[rows] - back] == line[-back]]
        texts = (records.buffer[records.starts[row] : records.stops[row]].tobytes() for row in rows.tolist())
        rows = rows[[text.removeprefix(_BOM) == line for text in texts]] if len(rows) else rows
        rows = rows[~bad[rows]]
        message = "This row is the header once more, as where tables were put together. Remove it."
        self._report_rows("csv.repeated_header", records, rows, [message] * min(len(rows), self._report.room()))
        bad[rows] = True

    def _check_counts(self, records: Records, counts: Positions, bad: Mask) -> None:
        for row, count in records.too_wide.items():
            counts[row] = count
        wrong = counts > self._max_columns if self._ragged else counts != self._width
        rows = np.flatnonzero(wrong & ~bad)
        shown = counts[rows[: self._report.room()]].tolist()
        if self._ragged:
            messages = [f"This row has {n:,} cells, over the limit of {self._max_columns:,}." for n in shown]
        else:
            too_few = f"the table has {self._width:,} columns. Is the row cut? Give it all its cells."
            too_many = f"the table has {self._width:,} columns. Quote a cell that holds a comma, also in a number."
            messages = [
                f"This row has {n:,} cell{'s' * (n != 1)}, {too_many if n > self._width else too_few}" for n in shown
            ]
        self._report_rows("csv.too_big" if self._ragged else "csv.field_count", records, rows, messages)
        bad[rows] = True

    def _check_sizes(self, records: Records, bad: Mask) -> None:
        fields = np.flatnonzero(records.field_stops - records.field_starts > self._max_field_bytes)
        rows, first = np.unique(np.searchsorted(records.first_fields, fields, side="right") - 1, return_index=True)
        places = fields[first] - records.first_fields[rows]
        rows, places = rows[~bad[rows]], places[~bad[rows]]
        message = f"This row has a cell of more than {self._max_field_bytes:,} bytes. Shorten it."
        listed = places[: self._report.room()].tolist()
        columns = [shorten(self.header[place]) if place < len(self.header) else None for place in listed]
        self._report_rows("csv.too_big", records, rows, [message] * len(listed), columns=columns)
        bad[rows] = True

    def _report_rows(
        self,
        code: str,
        records: Records,
        rows: Positions,
        messages: Sequence[str],
        lines: Positions | None = None,
        columns: Sequence[str | None] = (),
    ) -> None:
        """Report `rows` of one flaw, of which the first have messages; their text is told as far as a value is."""
        if lines is None:
            lines = records.lines[rows]
        problems = []
        columns = columns or [None] * len(messages)
        for row, line, message, column in zip(rows.tolist(), lines.tolist(), messages, columns, strict=False):
            start, stop = int(records.starts[row]), int(records.stops[row])
            text = records.buffer[start : min(stop, start + _SHOWN_BYTES)].tobytes().decode("utf-8", "replace")
            problems.append(Problem(code, message, file=self._file, row=line, column=column, value=text))
        self._report.add_many(problems, len(rows))

    def _error(self, code: str, message: str, row: int, **place: str) -> None:
        self._report.error(code, message, file=self._file, row=row, **place)


def _advice_without_header(line: bytes, known: Collection[str]) -> str:
    """What to do about a first row that names no column."""
    text = line.decode("utf-8").strip().strip('"')
    if _SEPARATOR_LINE.fullmatch(text):
        return "Such a line is for Excel alone: remove it."
    if any(name.strip() in known for name in text.split(",")):
        return "Each line is quoted as if it were one cell: remove the quotes around lines."
    return "Put a header above the rows."


def told_delimiter(line: bytes) -> str | None:
    """What to tell of a line that has something else in place of commas."""
    other = next((name for byte, name in _OTHER_DELIMITERS.items() if byte in line), None)
    return None if other is None else f"The columns seem to be separated by {other}. Save the file with commas."


def _first_bad_byte(data: bytes | memoryview) -> int | None:
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError as error:
        return error.start
    return None


def _lines_not_utf8(records: Records, data: bytes) -> tuple[Positions, Positions]:
    """(records, physical lines of their first bad byte). A Python step for each bad record only."""
    view, position = memoryview(data), 0
    rows: list[int] = []
    lines: list[int] = []
    while (found := _first_bad_byte(view[position:])) is not None:
        place = position + found
        row = int(np.searchsorted(records.starts, place + PAD, side="right")) - 1
        start = int(records.starts[row]) - PAD
        ends = data.count(b"\n", start, place) + data.count(b"\r", start, place) - data.count(b"\r\n", start, place)
        rows.append(row)
        lines.append(int(records.lines[row]) + ends)
        position = int(records.stops[row]) - PAD
    return np.array(rows, dtype=np.int64), np.array(lines, dtype=np.int64)


def split_lines(lines: Ragged, columns: Sequence[str], ragged: bool = False) -> CSVBlock:
    """Records kept as `CSVBlock.lines`, as cells again.

    Args:
        columns: names, as of the block they came from.

    Returns:
        A block with as many rows as there are lines, in their order.

    Raises:
        Damaged: a line is not one record of so many columns.
    """
    if not ragged:
        block = _split_plain(lines, tuple(columns)) or _split_mixed(lines, tuple(columns))
        if block is not None:
            return block
    return _split_by_reader(lines, columns, ragged)


def _split_by_reader(lines: Ragged, columns: Sequence[str], ragged: bool) -> CSVBlock:
    report = Report()
    data = join_lines(lines)
    longest = max(len(data), 1)
    reader = CSVReader(
        [data], report, "kept rows", columns=columns, ragged=ragged, max_field_bytes=longest, block_bytes=longest
    )
    blocks = list(reader)
    if report.n_errors or sum(len(block) for block in blocks) != len(lines):
        raise Damaged("Kept rows of a table cannot be read back.")
    if blocks:
        return blocks[0] if len(blocks) == 1 else _concatenated(blocks)
    none = np.zeros(0, dtype=np.int64)
    table = np.zeros((0, len(columns)), dtype=np.int64)
    return CSVBlock(none, tuple(columns), 0, np.zeros(2 * PAD, dtype=np.uint8), table, table, none, none, none)


def _concatenated(blocks: Sequence[CSVBlock]) -> CSVBlock:
    """Blocks of one table as one: a record that is read in another way than its neighbours ends a block."""
    sizes = [len(block.buffer) for block in blocks]
    moves = np.cumsum([0, *sizes[:-1]])
    width = max(block.starts.shape[1] for block in blocks)

    def moved(name: str) -> list[Positions]:
        return [getattr(block, name) + move for block, move in zip(blocks, moves.tolist(), strict=True)]

    def widened(cells: Sequence[Positions]) -> Positions:
        """Cells that a shorter table lacks are empty; any place is as good as another."""
        return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1])), mode="edge") for part in cells])

    starts, stops = widened(moved("starts")), widened(moved("stops"))
    for block, first in zip(blocks, np.cumsum([0, *map(len, blocks)]).tolist(), strict=False):
        rows, n = slice(first, first + len(block)), block.starts.shape[1]
        starts[rows, n:] = stops[rows, n:]
    return CSVBlock(
        rows=np.concatenate([block.rows for block in blocks]),
        columns=blocks[0].columns,
        n_seen=sum(block.n_seen for block in blocks),
        buffer=np.concatenate([block.buffer for block in blocks]),
        starts=starts,
        stops=stops,
        line_starts=np.concatenate(moved("line_starts")),
        line_stops=np.concatenate(moved("line_stops")),
        field_counts=np.concatenate([block.field_counts for block in blocks]),
    )


def _split_plain(lines: Ragged, columns: tuple[str, ...]) -> CSVBlock | None:
    """`split_lines` of what most tables hold: no quote, no control character, as many commas as there must be; else
    None. Three passes over the bytes, where the reader takes a dozen."""
    values, offsets, n, n_commas = lines.values, lines.offsets, len(lines), len(columns) - 1
    if n == 0 or n_commas < 1 or len(values) == 0 or values.min() < _FIRST_PRINTED:
        return None
    if (values == QUOTE).any():
        return None
    found = np.flatnonzero(values == COMMA)
    if len(found) != n * n_commas:
        return None
    commas = found.reshape(n, n_commas)
    if (commas[:, 0] < offsets[:-1]).any() or (commas[:, -1] >= offsets[1:]).any():
        return None
    if values.max() > _LAST_ASCII and (_splits_a_character(lines) or _first_bad_byte(values.tobytes()) is not None):
        return None
    return PlainBlock(lines, columns, commas)


def _split_mixed(lines: Ragged, columns: tuple[str, ...]) -> CSVBlock | None:
    """`split_lines` where some lines hold quotes: those by the reader, the others as `_split_plain` does."""
    is_quoted = np.diff(quotes_before(lines)) > 0
    quoted, rest = np.flatnonzero(is_quoted), np.flatnonzero(~is_quoted)
    if not len(quoted) or not len(rest):
        return None
    plain = _split_plain(lines.take(rest), columns)
    if plain is None:
        return None
    other = _split_by_reader(lines.take(quoted), columns, False)
    order = np.empty(len(lines), dtype=np.int64)  # places in the two blocks, one behind the other
    order[rest] = np.arange(len(rest), dtype=np.int64)
    order[quoted] = len(rest) + np.arange(len(quoted), dtype=np.int64)
    move = len(plain.buffer)
    last = lines.row_bytes(int(quoted[-1]))
    behind = other.rows[-1] + 1 + last.count(b"\n") + last.count(b"\r") - last.count(b"\r\n")
    n_lines = np.ones(len(lines), dtype=np.int64)  # of each record
    n_lines[quoted] = np.diff(other.rows, append=behind)
    return CSVBlock(
        rows=np.cumsum(n_lines) - n_lines + 1,
        columns=columns,
        n_seen=len(lines),
        buffer=np.concatenate([plain.buffer, other.buffer]),
        starts=np.concatenate([plain.starts.T, other.starts.T + move], axis=1)[:, order].T,
        stops=np.concatenate([plain.stops.T, other.stops.T + move], axis=1)[:, order].T,
        line_starts=np.concatenate([plain.line_starts, other.line_starts + move])[order],
        line_stops=np.concatenate([plain.line_stops, other.line_stops + move])[order],
        field_counts=np.concatenate([plain.field_counts, other.field_counts])[order],
    )


def _splits_a_character(lines: Ragged) -> bool:
    """Whether a line (none is empty) begins within a character of UTF-8, which together they might hide."""
    return bool((lines.values[lines.offsets[:-1]] & 0xC0 == 0x80).any())
