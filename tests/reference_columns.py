"""Slow, obvious twins of what app.columns does by arrays."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

WHITE = " \t\n\v\f\r"
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class Record(NamedTuple):
    """One record: the line it starts at, its bytes, its cells, and what is wrong with its quotes ("" for nothing)."""

    line: int
    raw: bytes
    cells: list[bytes]
    misquoted: bool


def split_csv(data: bytes) -> list[Record]:
    """Byte by byte, by a state machine; blank lines are left out."""
    records: list[Record] = []
    line, start_line, start = 1, 1, 0
    cells: list[bytes] = []
    cell = bytearray()
    state, misquoted, place = "begin", False, 0
    while place <= len(data):
        at_end = place == len(data)
        byte = b"" if at_end else data[place : place + 1]
        if state == "quoted":
            if at_end:
                misquoted = True
                state = "plain"
                continue
            if byte == b'"':
                if data[place + 1 : place + 2] == b'"':
                    cell += b'"'
                    place += 1
                else:
                    state = "closed"
            else:
                cell += byte
                line += byte == b"\n" or (byte == b"\r" and data[place + 1 : place + 2] != b"\n")
            place += 1
            continue
        if at_end or byte in b"\r\n":
            raw = data[start:place]
            if raw:
                records.append(Record(start_line, raw, [*cells, bytes(cell)], misquoted))
            if byte == b"\r" and data[place + 1 : place + 2] == b"\n":
                place += 1
            place += 1
            line += 1
            start, start_line, cells, cell, state, misquoted = place, line, [], bytearray(), "begin", False
            continue
        if byte == b",":
            cells.append(bytes(cell))
            cell, state = bytearray(), "begin"
        elif byte == b'"' and state == "begin":
            state = "quoted"
        else:
            misquoted = misquoted or state == "closed"
            state = "behind" if state in ("closed", "behind") else "plain"
            cell += byte
        place += 1
    return records


def good_rows(data: bytes, width: int) -> tuple[list[Record], list[tuple[str, int]]]:
    """(records that are fine, (code, line) of the others) of a table of so many columns."""
    good, bad = [], []
    for record in split_csv(data):
        try:
            record.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            before = record.raw[: error.start]
            bad.append(("csv.encoding", record.line + len(re.findall(rb"\r\n|\r|\n", before))))
            continue
        if b"\0" in record.raw:
            bad.append(("csv.nul", record.line))
        elif record.misquoted:
            bad.append(("csv.quote", record.line))
        elif len(record.cells) != width:
            bad.append(("csv.field_count", record.line))
        else:
            good.append(record)
    return good, bad


def number(text: str) -> float | str:
    """The value, or which mask is set."""
    text = text.strip(WHITE)
    if not text:
        return "empty"
    if NUMBER.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else "not_finite"
    return "not_finite" if NOT_FINITE.fullmatch(text) else "not_number"


def flag(text: str) -> int | str:
    """The value, or which mask is set."""
    text = text.strip(WHITE)
    if not text:
        return "empty"
    table = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1, "true": 1, "yes": 1, "false": 0, "no": 0}
    return table.get("".join(c.lower() if c.isascii() else c for c in text), "bad")


def runs(cells: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """(first row, text) of each run."""
    return [(row, cell) for row, cell in enumerate(cells) if row == 0 or cells[row - 1] != cell]


def codes(cells: Sequence[bytes]) -> tuple[list[int], list[str]]:
    """(code of each cell, texts in order of first appearance)."""
    known: dict[bytes, int] = {}
    return [known.setdefault(cell, len(known)) for cell in cells], [cell.decode() for cell in known]


def shortest(value: float) -> str:
    """The shortest decimal that reads back, without exponent, without ".0"."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def joined(rows: Sequence[Sequence[str]]) -> bytes:
    """Comma, LF, quotes only where needed; a row that is one empty cell is two quotes."""
    lines = []
    for row in rows:
        cells = ['"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell for cell in row]
        lines.append(",".join(cells) if list(row) != [""] else '""')
    return "".join(line + "\n" for line in lines).encode("utf-8")


def written_by_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """What Python's csv writes. A lone CR it leaves without quotes, and then reads as a line end."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
    return out.getvalue().encode("utf-8")


def read_by_csv(text: str) -> list[list[str]]:
    """What Python's csv reads; blank lines are left out."""
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
