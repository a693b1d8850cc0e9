"""images.meta: `<id> <height> <width>` a line, height first, in shell quoting.

The sizes of an archive never size anything here: frames have their own; a difference is told.

Source: Open Images reference 2.3, 3.6, section 6 (how a line is read that is no good shell text).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.columns import Cells, Ragged, decode_naturals, encode_integers, join_words
from app.errors import Report

MAX_DIGITS = 6
MAX_LINE_BYTES = 8192
"""An id of 1,024 bytes with every character quoted is shorter. The shell's reader takes a microsecond a character."""
_SIZE = re.compile(r"0*[1-9][0-9]{0,5}")
_PLAIN_LINE = re.compile(
    rb"([A-Za-z0-9_./:@%+=,-]+)[ \t]+(0{0,3}[1-9][0-9]{0,5})[ \t]+(0{0,3}[1-9][0-9]{0,5})[ \t]*\r?"
)
_NEEDS_QUOTES = re.compile(rb"[^A-Za-z0-9_./:@%+=,\-]")
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+=,-"
_IS_PLAIN = np.isin(np.arange(256), np.frombuffer(_PLAIN, dtype=np.uint8))  # (256,) bool
_LF, _BLANK = ord("\n"), ord(" ")
_MOST = 10**MAX_DIGITS - 1


@dataclass(frozen=True, slots=True, eq=False)
class SizeLines:
    """Good lines of one block: ids (N,) bytes, heights and widths (N,) int32, rows (N,) int64 (first line = 1)."""

    ids: Ragged
    heights: npt.NDArray[np.int32]
    widths: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]


def read_sizes(blocks: Iterable[bytes], file: str, report: Report) -> Iterator[SizeLines]:
    """The lines of an images.meta, block by block; bad ones go to the report (`meta.bad_line`)."""
    row, rest, first = 1, b"", True
    for block in blocks:
        if first:
            block, first = block.removeprefix(b"\xef\xbb\xbf"), False
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            plain = _decode_plain(whole, row)
            yield _decode_lines(whole.split(b"\n"), row, file, report) if plain is None else plain
            row += whole.count(b"\n") + 1
        if len(rest) > MAX_LINE_BYTES:
            _refuse_long_line(rest, row, file, report)
            return
    if rest:
        yield _decode_lines([rest], row, file, report)


def join_sizes(ids: Ragged, heights: npt.NDArray[np.int32], widths: npt.NDArray[np.int32]) -> bytes:
    """Lines of an images.meta. An id with a line break has no place in this file and is left out."""
    if len(ids) and bool(_IS_PLAIN[ids.values].all()) and bool(ids.lengths.all()):
        return join_words([ids, encode_integers(heights), encode_integers(widths)], len(ids))
    texts = ids.to_bytes_list()
    quoted = (_quote(text) if _NEEDS_QUOTES.search(text) or not text else text for text in texts)
    lines = (
        b"%s %d %d\n" % (text, height, width)
        for text, height, width in zip(quoted, heights.tolist(), widths.tolist(), strict=True)
        if b"\n" not in text and b"\r" not in text
    )
    return b"".join(lines)


def _quote(text: bytes) -> bytes:
    return shlex.quote(text.decode("utf-8")).encode()


def _decode_plain(text: bytes, first_row: int) -> SizeLines | None:
    """Lines that all are an id of plain characters and two numbers, one blank between them; None if any is not."""
    data = np.frombuffer(text, dtype=np.uint8)
    places = np.flatnonzero(~_IS_PLAIN[data])
    if len(places) % 3 != 2:
        return None
    gaps = np.append(places, len(data)).reshape(-1, 3)  # (N, 3) where each cell of a line ends
    if not bool((data[gaps[:, :2]] == _BLANK).all()) or not bool((data[gaps[:-1, 2]] == _LF).all()):
        return None
    starts = np.concatenate([[0], gaps.reshape(-1)[:-1] + 1]).reshape(-1, 3)
    if bool((starts == gaps).any()) or int((gaps[:, 2] - starts[:, 0]).max()) > MAX_LINE_BYTES:
        return None
    cells = [Cells(data, starts[:, column].copy(), gaps[:, column].copy()) for column in range(3)]
    (heights, good), (widths, also_good) = decode_naturals(cells[1]), decode_naturals(cells[2])
    good &= also_good & (heights > 0) & (widths > 0) & (heights <= _MOST) & (widths <= _MOST)
    if not bool(good.all()):
        return None
    rows = np.arange(first_row, first_row + len(gaps), dtype=np.int64)
    return SizeLines(cells[0].ragged(), heights.astype(np.int32), widths.astype(np.int32), rows)


def _decode_lines(lines: list[bytes], first_row: int, file: str, report: Report) -> SizeLines:
    """One match a plain line, which is all of an ordinary file; the shell's reader for the others."""
    ids: list[bytes] = []
    sizes: list[tuple[int, int]] = []
    rows: list[int] = []
    for row, line in enumerate(lines, first_row):
        plain = _PLAIN_LINE.fullmatch(line)
        if plain is not None:
            ids.append(plain[1])
            sizes.append((int(plain[2]), int(plain[3])))
            rows.append(row)
            continue
        found = _decode_line(line, row, file, report)
        if found is not None:
            ids.append(found[0].encode("utf-8"))
            sizes.append((found[1], found[2]))
            rows.append(row)
    pairs = np.array(sizes, dtype=np.int32).reshape(-1, 2)
    return SizeLines(Ragged.from_bytes(ids), pairs[:, 0], pairs[:, 1], np.array(rows, dtype=np.int64))


def _refuse_long_line(line: bytes, row: int, file: str, report: Report) -> None:
    report.error(
        "meta.bad_line",
        f"the line is longer than {MAX_LINE_BYTES:,} bytes; expected `<id> <height> <width>`",
        file=file,
        row=row,
        value=line[:80].decode("utf-8", "replace"),
    )


def _decode_line(line: bytes, row: int, file: str, report: Report) -> tuple[str, int, int] | None:
    """Id, height, width of a line in shell quoting; None for a blank line, a comment or a bad one."""
    if len(line) > MAX_LINE_BYTES:
        _refuse_long_line(line, row, file, report)
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        report.error("meta.bad_line", "not UTF-8 text", file=file, row=row)
        return None
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a lone quote: the last two numbers, the rest is the id
        words = text.strip().rsplit(None, 2)
    else:
        if not words:
            return None
    if len(words) >= 3 and words[0] and _SIZE.fullmatch(words[1]) and _SIZE.fullmatch(words[2]):
        return words[0], int(words[1]), int(words[2])
    report.error(
        "meta.bad_line",
        "expected `<id> <height> <width>`, sizes as whole numbers from 1 to 999999; quote an id that has blanks",
        file=file,
        row=row,
        value=text,
    )
    return None
