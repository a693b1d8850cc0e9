"""Bytes of a CSV file to positions of records and fields: by arrays where the bytes are well formed, exactly anywhere.

Dialect: comma; a record ends with LF, CR LF or CR; a field that begins with a quote ends with a quote, two quotes
inside stand for one, and commas and line ends inside belong to it. A quote further inside a field that does not begin
with one is an ordinary character, as Python's csv reads it.

Fast path. Separators are found by comparing all bytes at once. Where there are quotes, the running XOR of "is a quote"
says for each byte whether it lies inside quotes, if quotes open only at the begin of a field and close only at its
end; that is checked for every quote, and where it holds the split is exact. Where it does not hold (a quote inside
a plain field, text behind a closing quote, a quote never closed) the block is scanned field by field instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from app.columns.cells import Cells
from app.columns.numbers import distinct
from app.columns.ragged import Ragged
from app.columns.words import PAD, Bytes, Mask, Positions

QUOTE, COMMA, LF, CR, BLANK = 34, 44, 10, 13, 32
MAX_QUOTES = 2 << 20
QUOTES_AT_ONCE = 1 << 20


@dataclass(slots=True)
class Records:
    """N records of a block, blank lines left out.

    Attributes:
        buffer: padded; holds the block's bytes from `PAD` on, and behind them fields whose doubled quotes were undone.
        field_starts, field_stops: (F,) int64: every field's text, without its quotes.
        first_fields: (N + 1,) int64: fields of record i are first_fields[i] to first_fields[i + 1].
        starts, stops: (N,) int64: the records, verbatim, without their line ends.
        lines: (N,) int64: line ends in front of each record.
        n_bytes, n_lines: how much of the block they take up.
        misquoted: records (by number) whose quotes are not in order: the reason.
        too_wide: records with more fields than asked for: their number; no fields are given for them.
        has_white: whether a field may begin or end with white space.
        is_plain: no field has quotes, so that a comma or a line end stands behind each, and the next one follows it.
        is_ascii: all bytes are ASCII, and none is NUL.
    """

    buffer: Bytes
    field_starts: Positions
    field_stops: Positions
    first_fields: Positions
    starts: Positions
    stops: Positions
    lines: Positions
    n_bytes: int
    n_lines: int
    misquoted: dict[int, str] = field(default_factory=dict)
    too_wide: dict[int, int] = field(default_factory=dict)
    has_white: bool = True
    is_plain: bool = False
    is_ascii: bool = False

    def __len__(self) -> int:
        return len(self.starts)


def split_records(data: bytes, ended: bool, max_fields: int) -> Records | None:
    """Split the complete records at the begin of `data`.

    Args:
        data: begins at the begin of a record.
        ended: nothing follows, so the last record is complete with or without a line end.
        max_fields: records of more fields are only counted.

    Returns:
        None where not even one line is complete (more bytes are needed).
    """
    if ended and data and data[-1] not in (LF, CR):
        data += b"\n"
    usable = len(data)
    if not ended and data.endswith(b"\r"):
        usable -= 1  # perhaps half of a CR LF
    buffer = np.zeros(len(data) + 2 * PAD, dtype=np.uint8)
    buffer[PAD : PAD + len(data)] = np.frombuffer(data, dtype=np.uint8)
    text = buffer[PAD : PAD + usable]
    is_end, is_comma = text == LF, text == COMMA
    if b"\r" in data:
        is_end |= (text == CR) & (buffer[PAD + 1 : PAD + usable + 1] != LF)
    quoted = b'"' in data
    # Compared bytes are counted six times as fast as `bytes.count` finds one.
    n_ends = int(np.count_nonzero(is_end))
    too_many = np.count_nonzero(is_comma) > max_fields * (n_ends + 1)
    if too_many or (quoted and (n_ends > MAX_QUOTES or np.count_nonzero(text == QUOTE) > MAX_QUOTES)):
        # Hostile: never hold a position for each comma, quote, or line end within quotes.
        del buffer, text, is_end, is_comma
        return scan_records(data, ended, max_fields)
    is_separator = is_comma | is_end
    if quoted:
        return _split_quoted(data, buffer, text, is_end, is_separator, ended, max_fields)
    last_end = max(data.rfind(b"\n", 0, usable), data.rfind(b"\r", 0, usable))
    if last_end < 0:
        return None
    cut = last_end + 1
    separators = np.flatnonzero(is_separator[:cut])  # (F,)
    records = _regular(buffer, separators, cut, n_ends) or _assemble(buffer, separators, cut, None)
    records.has_white = np.count_nonzero(text <= BLANK) != n_ends
    records.is_plain = True
    records.is_ascii = data.isascii() and b"\0" not in data
    return records


def _regular(buffer: Bytes, separators: Positions, cut: int, n: int) -> Records | None:
    """`_assemble` of N lines that have the same number of fields, more than one, and end with LF; else None."""
    width = len(separators) // n
    if width < 2 or len(separators) != n * width:
        return None
    places = separators + PAD
    stops = places[width - 1 :: width]
    if bool((buffer[stops] != LF).any()) or bool((buffer[stops - 1] == CR).any()):
        return None
    starts = np.empty_like(places)
    starts[0] = PAD
    np.add(places[:-1], 1, out=starts[1:])
    first_fields = np.arange(0, len(places) + 1, width, dtype=np.int64)
    lines = np.arange(n, dtype=np.int64)
    return Records(buffer, starts, places, first_fields, starts[::width], stops, lines, cut, n)


def _split_quoted(
    data: bytes, buffer: Bytes, text: Bytes, is_end: Mask, is_separator: Mask, ended: bool, max_fields: int
) -> Records | None:
    is_quote = text == QUOTE
    inside = np.bitwise_xor.accumulate(is_quote)  # (B,) bool: an odd number of quotes up to here
    outer_ends = np.flatnonzero(is_end & ~inside)
    if not len(outer_ends):
        return scan_records(data, ended, max_fields) if ended else None
    cut = int(outer_ends[-1]) + 1
    if ended and cut != len(text):
        return scan_records(data, ended, max_fields)  # the last quote is not closed
    real = (is_separator & ~inside)[:cut]  # (B,)
    quotes = np.flatnonzero(is_quote[:cut])
    if not _well_quoted(text, real, quotes):
        return scan_records(data, ended, max_fields)
    ends = np.flatnonzero(is_end[:cut])
    records = _assemble(buffer, np.flatnonzero(real), cut, ends)
    _unquote(records, quotes)
    return records


def _well_quoted(text: Bytes, real: Mask, quotes: Positions) -> bool:
    """Whether every quote opens a field, closes one, or is half of a doubled quote between them."""
    opening, closing = quotes[0::2], quotes[1::2]  # as many of each: the cut lies outside quotes
    doubled = opening[1:] == closing[:-1] + 1  # (Q/2 - 1,) the closing one and the next opening one are a pair
    begins = (opening == 0) | real[opening - 1]
    begins[1:] |= doubled
    after = closing + 1  # never past the end: the cut lies behind a line end
    ends = real[after]
    before_lf = (text[after] == CR) & ~ends
    ends[before_lf] = real[after[before_lf] + 1]
    ends[:-1] |= doubled
    return bool(begins.all() and ends.all())


def _assemble(buffer: Bytes, separators: Positions, cut: int, all_ends: Positions | None) -> Records:
    """Records from the positions (in the block) of all separators; blank lines are taken out.

    Args:
        all_ends: line ends, those inside quotes among them; None: every record is one line.
    """
    places = separators + PAD
    last_fields = np.flatnonzero(buffer[places] != COMMA)  # (N,) the field that ends each record
    stops = places.copy()
    line_ends = places[last_fields]
    stops[last_fields] -= (buffer[line_ends] == LF) & (buffer[line_ends - 1] == CR)
    starts = np.empty_like(places)
    starts[0] = PAD
    starts[1:] = places[:-1] + 1
    first_fields = np.zeros(len(last_fields) + 1, dtype=np.int64)
    first_fields[1:] = last_fields + 1
    record_starts, record_stops = starts[first_fields[:-1]], stops[last_fields]
    if all_ends is None:
        lines, n_lines = np.arange(len(last_fields), dtype=np.int64), len(last_fields)
    else:
        lines, n_lines = np.searchsorted(all_ends, record_starts - PAD).astype(np.int64), len(all_ends)
    records = Records(buffer, starts, stops, first_fields, record_starts, record_stops, lines, cut, n_lines)
    blank = record_starts == record_stops
    return _without(records, blank) if blank.any() else records


def _without(records: Records, blank: Mask) -> Records:
    """Take blank lines out: each is one empty field."""
    keep = ~blank
    fields = np.ones(len(records.field_starts), dtype=np.bool_)
    fields[records.first_fields[:-1][blank]] = False
    n_fields = np.diff(records.first_fields)[keep]
    first_fields = np.zeros(len(n_fields) + 1, dtype=np.int64)
    np.cumsum(n_fields, out=first_fields[1:])
    return Records(
        records.buffer,
        records.field_starts[fields],
        records.field_stops[fields],
        first_fields,
        records.starts[keep],
        records.stops[keep],
        records.lines[keep],
        records.n_bytes,
        records.n_lines,
    )


def _unquote(records: Records, quotes: Positions) -> None:
    """Take the quotes off quoted fields, and make one quote of two; in place."""
    starts, stops = records.field_starts, records.field_stops
    quoted = np.flatnonzero((records.buffer[starts] == QUOTE) & (starts < stops))
    starts[quoted] += 1
    stops[quoted] -= 1
    opening, closing = quotes[0::2], quotes[1::2]
    doubled = closing[:-1][opening[1:] == closing[:-1] + 1] + PAD
    if len(doubled):
        holders = distinct(np.searchsorted(starts, doubled, side="right") - 1)
        _undouble(records, holders)


def _undouble(records: Records, holders: Positions) -> None:
    """Copy fields that hold doubled quotes behind the block, with one quote for two; in place."""
    column = Cells(records.buffer, records.field_starts[holders], records.field_stops[holders]).ragged()
    values = column.values.tobytes().replace(b'""', b'"')  # each field has an even number of them, in pairs
    offsets = column.offsets - quotes_before(column) // 2
    del column
    _append(records, holders, Ragged(np.frombuffer(values, dtype=np.uint8), offsets))


def quotes_before(column: Ragged) -> Positions:
    """(N + 1,) how many quotes lie before each offset; few of them have a place at a time."""
    found = np.zeros(len(column.offsets), dtype=np.int64)
    total = 0
    for start in range(0, len(column.values), QUOTES_AT_ONCE):
        part = column.values[start : start + QUOTES_AT_ONCE]
        quotes = np.flatnonzero(part == QUOTE)
        first, last = np.searchsorted(column.offsets, [start, start + len(part)], side="right")
        found[first:last] = total + np.searchsorted(quotes, column.offsets[first:last] - start)
        total += len(quotes)
    return found


def _append(records: Records, fields: Positions, texts: Ragged) -> None:
    base = len(records.buffer)
    records.buffer = np.concatenate([records.buffer, texts.values, np.zeros(PAD, dtype=np.uint8)])
    records.field_starts[fields] = texts.offsets[:-1] + base
    records.field_stops[fields] = texts.offsets[1:] + base


_PLAIN_END = re.compile(rb"[,\r\n]")
_LINE_END = re.compile(rb"[\r\n]")
_UP_TO_CLOSING = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
"""The rest of a quoted field. Nothing is tried twice, so that 8 million doubled quotes take 0.1 s, and no memory."""
_NEVER_CLOSED = "a quote that is never closed"
_TEXT_BEHIND = "text behind a closing quote"


def scan_records(data: bytes, ended: bool, max_fields: int, max_records: int | None = None) -> Records | None:
    """`split_records` field by field: the same result where the fast path is right, and a reason where nothing is.

    Args:
        max_records: stop behind so many.
    """
    starts: list[int] = []
    stops: list[int] = []
    n_fields: list[int] = []
    record_starts: list[int] = []
    record_stops: list[int] = []
    lines: list[int] = []
    misquoted: dict[int, str] = {}
    too_wide: dict[int, int] = {}
    doubled: list[int] = []
    position = line = 0
    while position < len(data) and len(lines) != max_records:
        record = _scan_record(data, position, ended, max_fields)
        if record is None:
            break
        stop, behind, bounds, count, why, pairs = record
        if stop > position:
            if why:
                misquoted[len(lines)] = why
            if count > max_fields:
                too_wide[len(lines)] = count
                bounds, pairs = [], []
            doubled += [len(starts) + place for place in pairs]
            starts += bounds[0::2]
            stops += bounds[1::2]
            n_fields.append(len(bounds) // 2)
            record_starts.append(position)
            record_stops.append(stop)
            lines.append(line)
        line += data.count(b"\n", position, behind) + data.count(b"\r", position, behind)
        line -= data.count(b"\r\n", position, behind)
        position = behind
    if not position:
        return None
    buffer = np.zeros(position + 2 * PAD, dtype=np.uint8)
    buffer[PAD : PAD + position] = np.frombuffer(data, dtype=np.uint8, count=position)
    first_fields = np.zeros(len(lines) + 1, dtype=np.int64)
    np.cumsum(n_fields, out=first_fields[1:])
    records = Records(
        buffer,
        np.array(starts, dtype=np.int64) + PAD,
        np.array(stops, dtype=np.int64) + PAD,
        first_fields,
        np.array(record_starts, dtype=np.int64) + PAD,
        np.array(record_stops, dtype=np.int64) + PAD,
        np.array(lines, dtype=np.int64),
        position,
        line,
        misquoted,
        too_wide,
    )
    if doubled:
        _undouble(records, np.array(doubled, dtype=np.int64))
    return records


def _scan_record(
    data: bytes, position: int, ended: bool, max_fields: int
) -> tuple[int, int, list[int], int, str, list[int]] | None:
    """One record from `position`.

    Returns:
        Its stop, the position behind its line end, start and stop of each field (the first `max_fields`), the number
        of fields, what is wrong with its quotes, and which fields hold doubled quotes. None where it is not complete.
    """
    bounds: list[int] = []
    pairs: list[int] = []
    count, why, size = 0, "", len(data)
    while True:
        if count == max_fields + 1:
            skipped, position = _skip_plain_fields(data, position)
            count += skipped
        start = position
        if position < size and data[position] == QUOTE:
            start = position + 1
            closed = _UP_TO_CLOSING.match(data, start)
            close = closed.end() - 1 if closed else -1
            if close < 0 or (close + 1 == size and not ended):
                if not ended:
                    return None
                return size, size, [], count + 1, _NEVER_CLOSED, []
            stop = position = close + 1
            if position < size and data[position] not in (COMMA, CR, LF):
                why = why or _TEXT_BEHIND
            elif count < max_fields and data.find(b'""', start, close) >= 0:
                pairs.append(count)
            stop -= 1
        else:
            stop = -1
        found = _PLAIN_END.search(data, position)
        if found is None:
            if not ended:
                return None
            position = size
        else:
            position = found.start()
        if stop < 0:
            stop = position
        if count < max_fields:
            bounds += (start, stop)
        count += 1
        if position == size:
            return size, size, bounds, count, why, pairs
        if data[position] == COMMA:
            position += 1
            continue
        record_stop = position
        if data[position] == CR:
            if position + 1 == size and not ended:
                return None
            if data[position + 1 : position + 2] == b"\n":
                position += 1
        return record_stop, position + 1, bounds, count, why, pairs


def _skip_plain_fields(data: bytes, position: int) -> tuple[int, int]:
    """(fields, position of the last one's begin): over the plain rest of a line, whose fields nobody wants."""
    found = _LINE_END.search(data, position)
    end = len(data) if found is None else found.start()
    if data.find(b'"', position, end) >= 0:
        return 0, position
    last = data.rfind(b",", position, end) + 1
    return (data.count(b",", position, end), last) if last else (0, position)
