"""Cells to typed columns, and numbers to text.

Numbers. Almost every number of a table is a digit, a point and up to six digits. Those are read left-aligned as one
word, with zeros for what is not there, so that the point stands in one place. Most others are decimals of up to 24
characters. Those are read right-aligned as up to three words of eight characters (`words.py`), and the point is cut out
by a shift. Eight digits become a number in three multiplications, and value = integer / power of ten. Up to 2^53 (and
10^22) both are exact doubles, so the one division rounds as the decimal itself would: the result is what float() gives,
bit for bit. Larger integers, as the 17 digits of a double written in full, take a second step that corrects the
quotient (`_quotients`). What is longer, has an exponent or is in doubt is checked by a table-driven automaton, all
cells a column of characters at a time, and converted by numpy, whose conversion of bytes is Python's own. Cost a cell:
0.01 µs with six digits, 0.03 short, 0.1 in full, 0.3 the rest; float() 0.1 alone.

Texts and runs are found by hash and proven byte by byte, so equal codes mean equal texts whatever the hash does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from app.columns.cells import Cells
from app.columns.places import HashPlaces
from app.columns.ragged import Ragged, Texts
from app.columns.words import (
    LOW_BYTES,
    PAD,
    Bytes,
    Mask,
    Positions,
    Words,
    equal_cells,
    hash_cells,
    mix_words,
    padded,
    start_hashes,
    word_at,
    word_matrix,
    word_view,
)

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A decoded number column; the three masks exclude one another, and where one is set the value is NaN.

    Attributes:
        values: (N,) float64, exactly what Python's float() makes of the text.
        empty: nothing (or only white space) in the cell.
        not_number: anything that is not an ASCII decimal.
        not_finite: nan, inf, or a decimal too large for a double.
    """

    values: npt.NDArray[np.float64]
    empty: Mask
    not_number: Mask
    not_finite: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Flags:
    """A decoded flag column: `values` (N,) int8 in -1, 0, 1 (-1 where empty or bad); masks `empty` and `bad` (N,)."""

    values: npt.NDArray[np.int8]
    empty: Mask
    bad: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A column as runs of equal cells: R runs over N rows.

    Attributes:
        texts: Ragged of uint8, R rows: the text of each run (neighbours differ; far ones may repeat).
        starts: (R,) int64, first row of each run.
        n_rows: N.
    """

    texts: Ragged
    starts: Positions
    n_rows: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Positions:
        """(R,) int64, rows of each run."""
        return np.diff(self.starts, append=np.int64(self.n_rows))

    def spread(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """One value a run → one value a row: (R,) → (N,)."""
        return np.repeat(values, self.lengths)


# --- numbers ---------------------------------------------------------------------------------------------------------

_ONE_BIT = np.uint64(1)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_POINTS = np.uint64(0x2E2E2E2E2E2E2E2E)
_ZEROS = np.uint64(0x3030303030303030)
_TO_TOP = np.uint64(0x4646464646464646)  # lifts every byte above "9" over 0x80
_MAX_WORDS = 3
_MAX_POWER = 22  # the last power of ten that is a double
_POWERS = np.array([float(10**exponent) for exponent in range(8 * _MAX_WORDS)])
_EXACT = np.uint64(1 << 53)
_DOUBT = 2.0**-30


def decode_numbers(cells: Cells) -> Numbers:
    """ASCII decimals (sign, digits, point, exponent; trimmed) to float64, correctly rounded.

    Returns:
        Numbers; `not_number` also for hexadecimal, underscores, other scripts' digits and anything that only Python
        would take for a number.
    """
    trimmed = cells.trimmed()
    cells = Cells(*padded(trimmed.buffer, trimmed.starts, trimmed.stops))
    n = len(cells)
    empty = cells.lengths == 0  # (N,)
    not_number, not_finite = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    values, rest = _six_decimals(cells)
    if len(rest):
        values[rest], done = _short_decimals(cells.take(rest))
        rest = rest[~(done | empty[rest])]
    if len(rest):
        values[rest], not_number[rest], not_finite[rest] = _any_decimals(cells.take(rest))
    if empty.any() or not_number.any() or not_finite.any():
        values[empty | not_number | not_finite] = np.nan
    return Numbers(values, empty, not_number, not_finite)


def decode_naturals(cells: Cells) -> tuple[npt.NDArray[np.int64], Mask]:
    """(N,) the numbers of cells of one to eight digits and nothing else, 0 for the others; (N,) which are such."""
    cells = Cells(*padded(cells.buffer, cells.starts, cells.stops))
    lengths = cells.lengths
    word = _words_from_the_right(cells, lengths, 1)[0]
    good = (lengths > 0) & (lengths <= 8) & _all_digits(word)
    return np.where(good, _digits(word), np.uint64(0)).astype(np.int64), good


_PLAIN = np.uint64(0x3030303030302E30)  # "0.000000"
_TO_TOP_PLAIN = np.uint64(0x7676767676767F76)  # lifts a byte above 9 over 0x80, and whatever stands for the point


def _six_decimals(cells: Cells) -> tuple[npt.NDArray[np.float64], Positions]:
    """(values, the rows whose values are none): cells of a digit, a point and up to six digits; or a digit alone."""
    lengths = cells.lengths
    word = word_view(cells.buffer)[cells.starts]  # (N,)
    if int(lengths.min(initial=8)) != 8 or int(lengths.max(initial=8)) != 8:
        own = LOW_BYTES[np.minimum(lengths, 8)]
        word = (word & own) | (_PLAIN & ~own)
    word ^= _PLAIN  # digits from 0 to 9, and 0 for the point
    odd = (((word + _TO_TOP_PLAIN) | word) & _TOPS) != 0
    odd |= (lengths == 0) | (lengths > 8)
    # The first digit to where the point was.
    word = (word & ~np.uint64(0xFFFF)) | ((word & np.uint64(0xFF)) << np.uint64(8))
    return _joined(word) / np.float64(1e6), np.flatnonzero(odd)


def _short_decimals(cells: Cells) -> tuple[npt.NDArray[np.float64], Mask]:
    """(values, which of them are proven): cells of up to 24 characters and 19 digits without exponent."""
    signs = cells.buffer[cells.starts]  # (N,)
    minus = signs == ord("-")
    lengths = cells.stops - (cells.starts + (minus | (signs == ord("+"))))  # (N,) without the sign
    n_words = min(_MAX_WORDS, (max(1, int(lengths.max(initial=0))) + 7) // 8)
    good = (lengths > 0) & (lengths <= 8 * n_words)
    found, decimals = np.zeros(len(cells), dtype=np.bool_), np.zeros(len(cells), dtype=np.int64)
    total = np.zeros(len(cells), dtype=np.uint64)
    words = _words_from_the_right(cells, lengths, n_words)
    for place, word in enumerate(words[:-1]):
        carried = words[place + 1] >> np.uint64(56)
        cut, has_point, n_right = _cut_point(word, carried)
        if place:  # where a later word held the point, this one only moves
            cut = np.where(found, (word << np.uint64(8)) | carried, cut)
        decimals = np.where(has_point & ~found, n_right + 8 * place, decimals)
        found |= has_point
        digits = _digits(cut)
        good &= _all_digits(cut)
        if place == 2:
            good &= digits < 1000  # 19 digits in all, which 64 bits hold
        total += digits * np.uint64(10 ** (8 * place))
    good &= (lengths - found > 0) & (decimals <= _MAX_POWER)
    values = total.astype(np.float64) / _POWERS[decimals]
    large = np.flatnonzero(good & (total > _EXACT))
    if len(large):
        values[large], good[large] = _quotients(total[large], _POWERS[decimals[large]])
    np.negative(values, out=values, where=minus)
    return values, good


def _words_from_the_right(cells: Cells, lengths: Positions, n_words: int) -> list[Words]:
    """The last eight characters of each cell, the eight before, …, "0" in front of it; one more word of "0" at last."""
    view = word_view(cells.buffer)
    words = []
    for place in range(1, n_words + 1):
        foreign = LOW_BYTES[np.clip(8 * place - lengths, 0, 8)]  # what is not of the cell
        words.append((view[cells.stops - 8 * place] & ~foreign) | (_ZEROS & foreign))
    return [*words, np.full(1, _ZEROS, dtype=np.uint64)]


def _quotients(integers: Words, powers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], Mask]:
    """integer / power of ten where the integer is no double: (correctly rounded values, which of them are certain).

    The first quotient is off by an ulp or two. What it lacks is found exactly: integer = high + low, and the product of
    quotient and power is had in two doubles (Dekker). Added to the quotient, one rounding decides; only where the sum
    falls next to the middle of two doubles could the last error of the remainder matter, and those are left to others.
    """
    high = integers.astype(np.float64)
    low = (integers - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    quotient = high / powers
    product = quotient * powers
    q_high, q_low = _halves(quotient)
    p_high, p_low = _halves(powers)
    error = ((q_high * p_high - product) + q_high * p_low + q_low * p_high) + q_low * p_low  # product + error is exact
    lacking = (((high - product) - error) + low) / powers
    values = quotient + lacking
    left = np.abs(lacking - (values - quotient)) / np.spacing(values)  # in ulps: 0 to 1/2
    # Near 1/2: a tie. Near 1/4: a tie where the value is a power of two, below which doubles lie closer.
    certain = (np.abs(left - 0.5) > _DOUBT) & (np.abs(left - 0.25) > _DOUBT)
    return values, certain


def _halves(numbers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Veltkamp's split: two numbers of 26 bits whose sum is the number."""
    scaled = numbers * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - numbers)
    return high, numbers - high


def _cut_point(word: Words, carried: Words) -> tuple[Words, Mask, Positions]:
    """Take the first point out: what is left of it moves one to the right, `carried` (a character) comes in.

    Returns:
        (N,) the words (as they were where there is no point), whether there was one, characters to its right.
    """
    other = word ^ _POINTS
    found: Words = (other - _ONES) & ~other & _TOPS  # the lowest bit set is right; higher ones may be false
    lowest = found & (~found + _ONE_BIT)  # the top bit of the point's byte
    has_point = found != 0
    left = np.where(has_point, (lowest >> np.uint64(7)) - _ONE_BIT, np.uint64(0))  # a mask
    right = ~((left << np.uint64(8)) | np.uint64(0xFF))
    cut = (word & right) | ((word & left) << np.uint64(8)) | carried
    n_right = np.where(has_point, 7 - (np.bitwise_count(left) >> 3).astype(np.int64), 0)
    return np.where(has_point, cut, word), has_point, n_right


def _all_digits(word: Words) -> Mask:
    good: Mask = (((word + _TO_TOP) | (word - _ZEROS)) & _TOPS) == 0
    return good


def _digits(word: Words) -> Words:
    """Eight characters, first one lowest, as a number."""
    return _joined(word & np.uint64(0x0F0F0F0F0F0F0F0F))


def _joined(word: Words) -> Words:
    """Eight digits, first one lowest, as a number; pairs, then fours, then all eight."""
    word = ((word * np.uint64(2561)) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = ((word * np.uint64(6553601)) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return (word * np.uint64(42949672960001)) >> np.uint64(32)


# The grammar of a number as an automaton over bytes: sign? (digits (. digits?)? | . digits) (e sign? digits)?
_BAD, _BEGIN, _SIGNED, _WHOLE, _BARE_POINT, _FRACTION, _E, _E_SIGNED, _EXPONENT, _END = range(10)
_MATRIX_BYTES = 64


def _automaton() -> npt.NDArray[np.uint8]:
    """(10 states, 256 bytes) uint8: the next state. A zero byte is the end of the cell."""
    table = np.full((10, 256), _BAD, dtype=np.uint8)
    digits = range(ord("0"), ord("9") + 1)
    for sign in b"+-":
        table[_BEGIN, sign] = _SIGNED
        table[_E, sign] = _E_SIGNED
    for state, then in ((_BEGIN, _WHOLE), (_SIGNED, _WHOLE), (_WHOLE, _WHOLE)):
        table[state, digits] = then
    for state, then in ((_BEGIN, _BARE_POINT), (_SIGNED, _BARE_POINT), (_WHOLE, _FRACTION)):
        table[state, ord(".")] = then
    for state in (_BARE_POINT, _FRACTION):
        table[state, digits] = _FRACTION
    for state in (_E, _E_SIGNED, _EXPONENT):
        table[state, digits] = _EXPONENT
    for state in (_WHOLE, _FRACTION):
        table[state, list(b"eE")] = _E
    for state in (_WHOLE, _FRACTION, _EXPONENT, _END):
        table[state, 0] = _END
    return table


_NEXT_STATE = _automaton()
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


def _any_decimals(cells: Cells) -> tuple[npt.NDArray[np.float64], Mask, Mask]:
    """(values, not_number, not_finite) of trimmed cells that are not empty, by the exact general path."""
    n = len(cells)
    values = np.full(n, np.nan, dtype=np.float64)
    lengths = cells.lengths
    fits = lengths < _MATRIX_BYTES  # at least one zero byte behind each
    rows = np.flatnonzero(fits)
    matrix = _matrix(cells.take(rows))  # (K, W) uint8
    state = np.full(len(rows), _BEGIN, dtype=np.uint8)
    for column in range(matrix.shape[1]):
        state = _NEXT_STATE[state, matrix[:, column]]
    ends_itself = cells.buffer[cells.stops[rows] - 1] == 0  # a NUL would pass for the end of the cell
    good = (state == _END) & ~ends_itself
    texts = np.ascontiguousarray(matrix[good]).view(f"S{matrix.shape[1]}")[:, 0]
    values[rows[good]] = texts.astype(np.float64)
    is_number = np.zeros(n, dtype=np.bool_)
    is_number[rows[good]] = True
    for row in np.flatnonzero(~fits).tolist():
        text = cells.row_bytes(row)
        if _NUMBER.fullmatch(text):
            is_number[row], values[row] = True, float(text)
    not_finite = is_number & np.isinf(values)
    for row in np.flatnonzero(~is_number & (lengths <= len("+infinity"))).tolist():
        not_finite[row] = _NOT_FINITE.fullmatch(cells.row_bytes(row)) is not None
    return values, ~is_number & ~not_finite, not_finite


def _matrix(cells: Cells) -> Bytes:
    """(N, W) uint8: the cells side by side, zeros behind each; W a multiple of 8, over the longest."""
    n_words = int(cells.lengths.max(initial=0)) // 8 + 1
    matrix = np.zeros((len(cells), n_words), dtype="<u8")
    words, lengths = word_view(cells.buffer), cells.lengths
    for place in range(n_words):
        rows = np.flatnonzero(lengths > 8 * place)
        matrix[rows, place] = word_at(words, cells.starts[rows], lengths[rows], place)
    return matrix.view(np.uint8)


# So many numbers are written at a time: their text then stays in the cache, which makes it three times as fast.
_CHUNK_ROWS = 16_384


def encode_numbers(values: npt.NDArray[np.float64]) -> Ragged:
    """The shortest decimal that reads back to the same double: no exponent, integers without point.

    Args:
        values: (N,) float64, finite.

    Returns:
        Ragged of uint8, N rows.
    """
    if not np.isfinite(values).all():
        raise ValueError("only finite numbers can be written")
    values = values.astype(np.float64, copy=False)
    starts = range(0, max(1, len(values)), _CHUNK_ROWS)
    return Ragged.concatenate([_encoded(values[start : start + _CHUNK_ROWS]) for start in starts])


def _encoded(values: npt.NDArray[np.float64]) -> Ragged:
    buffer, starts, stops = _dumped(values)
    lengths = stops - starts
    # "1.0" is written as "1"; the shortest decimals end in ".0" only for whole numbers.
    whole = (lengths > 2) & (buffer[stops - 1] == ord("0")) & (buffer[stops - 2] == ord("."))
    column = Cells(buffer, starts, stops - 2 * whole)
    exponents = np.flatnonzero(buffer == ord("e"))
    if not len(exponents):
        return column.ragged()
    odd = np.searchsorted(stops, exponents, side="right")  # the rows that hold one
    texts = [format(Decimal(repr(value)), "f").encode("ascii") for value in values[odd].tolist()]
    return _replaced(column, odd, Ragged.from_bytes(texts))


def encode_integers(values: npt.NDArray[np.integer[Any]]) -> Ragged:
    """(N,) integers as decimal text: Ragged of uint8, N rows."""
    return Cells(*_dumped(values.astype(np.int64, copy=False))).ragged()


def _dumped(values: npt.NDArray[Any]) -> tuple[Bytes, Positions, Positions]:
    """Numbers as text by orjson, which writes shortest decimals in bulk (0.02 µs each; repr 0.4)."""
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    buffer = np.zeros(len(text) + 2 * PAD, dtype=np.uint8)
    buffer[PAD : PAD + len(text)] = np.frombuffer(text, dtype=np.uint8)
    if not len(values):
        return buffer, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    commas = np.flatnonzero(buffer == ord(","))  # (N - 1,)
    starts = np.concatenate([[PAD + 1], commas + 1])
    stops = np.concatenate([commas, [PAD + len(text) - 1]])
    return buffer, starts, stops


def _replaced(cells: Cells, rows: Positions, texts: Ragged) -> Ragged:
    """The cells as a column, with the texts in place of those at `rows`."""
    other = Cells.of(texts)
    buffer = np.concatenate([cells.buffer, other.buffer])
    starts, stops = cells.starts.copy(), cells.stops.copy()
    starts[rows] = other.starts + len(cells.buffer)
    stops[rows] = other.stops + len(cells.buffer)
    return Cells(buffer, starts, stops).ragged()


# --- flags -----------------------------------------------------------------------------------------------------------

_FLAG_TEXTS = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1, "true": 1, "false": 0, "yes": 1, "no": 0}


def _as_word(text: str) -> int:
    return int.from_bytes(text.encode("ascii"), "little")


_FLAG_ORDER = sorted(_FLAG_TEXTS, key=_as_word)
_FLAG_WORDS = np.array([_as_word(text) for text in _FLAG_ORDER], dtype=np.uint64)
_FLAG_LENGTHS = np.array([len(text) for text in _FLAG_ORDER], dtype=np.int64)
_FLAG_VALUES = np.array([_FLAG_TEXTS[text] for text in _FLAG_ORDER], dtype=np.int8)
_ONE, _ZERO, _MINUS_ONE = (np.uint64(_as_word(text)) for text in ("1", "0", "-1"))
_IS_LETTER = np.uint64(0x4040404040404040)


def decode_flags(cells: Cells) -> Flags:
    """0 1 -1, also 0.0 1.0 -1.0 true false yes no in any case, trimmed."""
    trimmed = cells.trimmed()
    buffer, starts, stops = padded(trimmed.buffer, trimmed.starts, trimmed.stops)
    lengths = stops - starts  # (N,)
    word = word_view(buffer)[starts] & LOW_BYTES[np.minimum(lengths, 8)]  # (N,)
    empty = lengths == 0
    values = (word == _ONE).astype(np.int8) - (word == _MINUS_ONE)
    values[empty] = -1
    bad = np.zeros(len(values), dtype=np.bool_)
    plain = ((word == _ONE) | (word == _ZERO)) & (lengths == 1) | (word == _MINUS_ONE) & (lengths == 2)
    rest = np.flatnonzero(~plain & ~empty)
    if len(rest):
        lower = word[rest] | ((word[rest] & _IS_LETTER) >> np.uint64(1))  # letters to lower case, digits as they are
        place = np.minimum(np.searchsorted(_FLAG_WORDS, lower), len(_FLAG_WORDS) - 1)
        good = (_FLAG_WORDS[place] == lower) & (_FLAG_LENGTHS[place] == lengths[rest])
        values[rest] = np.where(good, _FLAG_VALUES[place], -1)
        bad[rest] = ~good
    return Flags(values, empty, bad)


# --- texts and runs --------------------------------------------------------------------------------------------------


_SHORT = PAD  # bytes: a few words hold all of a cell


def _short_words(cells: Cells) -> tuple[Positions, Words] | None:
    """(N,) lengths, and (N, W) the words of each cell, as many as the longest needs, zeros behind its end; None where a
    cell has more bytes than that."""
    lengths = cells.lengths
    shortest, longest = int(lengths.min(initial=_SHORT)), int(lengths.max(initial=0))
    if longest > _SHORT:
        return None
    buffer, starts, _ = padded(cells.buffer, cells.starts, cells.stops)
    words = word_matrix(buffer, starts, max(1, (longest + 7) // 8))
    for place in range(shortest // 8, words.shape[1]):
        words[:, place] &= LOW_BYTES[np.clip(lengths - 8 * place, 0, 8)]
    return lengths, words


def _hash_short(lengths: Positions, words: Words) -> Words:
    """`hash_cells` of cells whose words are known."""
    hashes: Words = mix_words(start_hashes(lengths), words[:, 0])
    shortest = int(lengths.min(initial=_SHORT))
    for place in range(1, words.shape[1]):
        if shortest > 8 * place:
            hashes = mix_words(hashes, words[:, place])
            continue
        longer = np.flatnonzero(lengths > 8 * place)
        hashes[longer] = mix_words(hashes[longer], words[longer, place])
    return hashes


def _are_equal(short: tuple[Positions, Words], known: tuple[Positions, Words], codes: npt.NDArray[np.int32]) -> Mask:
    """(N,) whether each cell is the known one of its code, all told by lengths and words."""
    lengths, words = short
    equal: Mask = lengths == known[0][codes]
    for mine, theirs in zip(words.T, known[1].T, strict=False):  # what one side has more is nothing but zeros
        equal &= mine == theirs[codes]
    return equal


class TextIndex:
    """Numbers distinct texts in order of first appearance, across as many blocks as are shown to it.

    Meant for columns of few distinct texts: each new one costs a Python step, each known one none.
    """

    def __init__(self) -> None:
        self.values: list[str] = []
        self._raw: list[bytes] = []
        self._known = Cells.blank(0)  # the texts of `values`
        self._hashes: Words = np.zeros(0, dtype=np.uint64)  # sorted
        self._places = HashPlaces(self._hashes)
        self._codes: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # in the order of `_hashes`
        self._words = _short_words(self._known)
        self._collided: dict[bytes, int] = {}

    def codes(self, cells: Cells) -> npt.NDArray[np.int32]:
        """(N,) int32: the number of each cell's text in `values`; unknown texts are added."""
        buffer, starts, stops = padded(cells.buffer, cells.starts, cells.stops)
        if not len(starts):
            return np.zeros(0, dtype=np.int32)
        short = _short_words(Cells(buffer, starts, stops))
        hashes = hash_cells(buffer, starts, stops) if short is None else _hash_short(*short)  # (N,)
        found, codes = self._look_up(hashes)
        if not found.all():
            unknown = np.flatnonzero(~found)
            new_hashes, first = np.unique(hashes[unknown], return_index=True)
            self._add(new_hashes, unknown[first], Cells(buffer, starts, stops))
            _, codes = self._look_up(hashes)
        if short is not None and self._words is not None:
            equal = _are_equal(short, self._words, codes)
        else:
            known = self._known.take(codes)
            equal = equal_cells(buffer, starts, stops, known.buffer, known.starts, known.stops)
        for row in np.flatnonzero(~equal).tolist():  # two texts of one hash: practically never
            codes[row] = self._collision(buffer[starts[row] : stops[row]].tobytes())
        return codes

    @property
    def known(self) -> Cells:
        """The texts of `values` as bytes, one behind the other in a buffer of their own."""
        return self._known

    def texts(self, codes: npt.NDArray[np.int32]) -> Texts:
        """The codes as a Texts column over the values known so far."""
        return Texts(codes, tuple(self.values))

    def _look_up(self, hashes: Words) -> tuple[Mask, npt.NDArray[np.int32]]:
        found, place = self._places.find(hashes)  # (N,)
        return found, self._codes[place] if len(self._codes) else place.astype(np.int32)

    def _add(self, hashes: Words, rows: Positions, cells: Cells) -> None:
        by_appearance = np.argsort(rows)
        codes = np.empty(len(rows), dtype=np.int32)
        codes[by_appearance] = np.arange(len(self.values), len(self.values) + len(rows), dtype=np.int32)
        for row in rows[by_appearance].tolist():
            self._append(cells.row_bytes(row))
        all_hashes = np.concatenate([self._hashes, hashes])
        order = np.argsort(all_hashes, kind="stable")
        self._hashes = all_hashes[order]
        self._places = HashPlaces(self._hashes)
        self._codes = np.concatenate([self._codes, codes])[order]
        self._remember()

    def _remember(self) -> None:
        self._known = Cells.of(Ragged.from_bytes(self._raw))
        short = _short_words(self._known)
        self._words = None if short is None else (short[0], np.asfortranarray(short[1]))

    def _append(self, raw: bytes) -> None:
        self._raw.append(raw)
        self.values.append(raw.decode("utf-8"))

    def _collision(self, raw: bytes) -> int:
        code = self._collided.get(raw)
        if code is None:
            code = self._collided[raw] = len(self.values)
            self._append(raw)
            self._remember()
        return code


def decode_texts(cells: Cells) -> Texts:
    """Distinct texts once, cells as they are; for columns of few distinct texts."""
    index = TextIndex()
    return index.texts(index.codes(cells))


def decode_runs(cells: Cells) -> Runs:
    """Runs of consecutive equal cells; for id columns."""
    n = len(cells)
    if n == 0:
        return Runs(Ragged.empty(np.uint8), np.zeros(0, dtype=np.int64), 0)
    buffer, starts, stops = padded(cells.buffer, cells.starts, cells.stops)
    new = np.ones(n, dtype=np.bool_)
    short = _short_words(Cells(buffer, starts, stops))
    if short is not None:
        new[1:] = np.logical_or.reduce([some[1:] != some[:-1] for some in (short[0], *short[1].T)])
    else:
        new[1:] = ~equal_cells(buffer, starts[1:], stops[1:], buffer, starts[:-1], stops[:-1])
    first_rows = np.flatnonzero(new)
    return Runs(Cells(buffer, starts[first_rows], stops[first_rows]).ragged(), first_rows, n)
