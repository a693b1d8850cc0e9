"""Columns whose cells have a length of their own, and columns of few distinct texts.

    Ragged   values  v0 v1 v2 v3 v4 v5        one flat array
             offsets 0     2  2        6      N + 1 positions: row i is values[offsets[i]:offsets[i+1]]
    Texts    codes   0 1 0 0 2                one small number a row
             values  "manual" "file" "auto"   each distinct text once

A Ragged of uint8 is a column of byte strings. Taking rows copies values once, or not at all where they are a stretch of
the column; nothing loops over short rows in Python. Nobody writes into the values of a column that was given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.numbers import used_codes
from app.columns.words import joined_cells

Offsets = npt.NDArray[np.int64]
Indices = npt.NDArray[np.integer[Any]]

PIECE_BYTES = 2048
"""From this mean length on, pieces are copied one by one (measured)."""
UNPACKED_VALUES = 1 << 20
"""Values that are unpacked at a time where nobody says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """N rows of varying length: `values` (M,) of any dtype, `offsets` (N + 1,) int64 from 0 to M."""

    values: npt.NDArray[Any]
    offsets: Offsets

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets.dtype != np.int64:
            raise ValueError(f"offsets: expected (N + 1,) int64, got {self.offsets.shape} {self.offsets.dtype}")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(f"offsets end at {self.offsets[-1]}, values hold {len(self.values)}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def lengths(self) -> Offsets:
        """(N,) int64, the length of each row."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """What the column takes in memory as it is."""
        return self.values.nbytes + self.offsets.nbytes

    def row(self, index: int) -> npt.NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def pieces(self, most: int = UNPACKED_VALUES) -> Iterator[Ragged]:
        """All rows in stretches of at most so many values, or of one row that has more."""
        start = 0
        while start < len(self):
            room = int(np.searchsorted(self.offsets, self.offsets[start] + most, side="right")) - 1
            stop = min(max(room, start + 1), len(self))
            yield self.slice(start, stop)
            start = stop

    def row_bytes(self, index: int) -> bytes:
        return self.row(index).tobytes()

    def take(self, indices: Indices) -> Ragged:
        """The rows at `indices`, in that order; neighbours that stay together are copied as one piece."""
        starts = self.offsets[:-1][indices]  # (K,)
        stops = self.offsets[1:][indices]  # (K,)
        offsets = np.zeros(len(starts) + 1, dtype=np.int64)
        np.cumsum(stops - starts, out=offsets[1:])
        total = int(offsets[-1])
        new_piece = np.ones(len(starts), dtype=np.bool_)
        new_piece[1:] = starts[1:] != stops[:-1]
        pieces = np.flatnonzero(new_piece)  # (P,) the first row of each
        if total == 0:
            return Ragged(np.empty(0, dtype=self.values.dtype), offsets)  # a part of them would hold them all
        if len(pieces) == 1 and 2 * total >= len(self.values):
            return Ragged(self.values[starts[0] : starts[0] + total], offsets)
        lasts = np.append(pieces[1:], len(starts)) - 1
        if total * self.values.itemsize >= PIECE_BYTES * len(pieces):
            parts = zip(starts[pieces].tolist(), stops[lasts].tolist(), strict=True)
            return Ragged(np.concatenate([self.values[start:stop] for start, stop in parts]), offsets)
        size = self.values.itemsize
        data = np.ascontiguousarray(self.values).view(np.uint8)
        values, _ = joined_cells(data, size * starts[pieces], size * stops[lasts])
        return Ragged(values.view(self.values.dtype), offsets)

    def slice(self, start: int, stop: int) -> Ragged:
        """Rows start to stop, without copying the values."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    @staticmethod
    def empty(dtype: npt.DTypeLike, rows: int = 0) -> Ragged:
        """`rows` rows of length zero."""
        return Ragged(np.empty(0, dtype=dtype), np.zeros(rows + 1, dtype=np.int64))

    @staticmethod
    def concatenate(parts: Sequence[Ragged]) -> Ragged:
        if len(parts) == 1:
            return parts[0]
        # A column of another kind knows how to stay what it is.
        return next((part for part in parts if type(part).join is not Ragged.join), parts[0]).join(parts)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        """`concatenate` as this kind of column does it; it is one of the parts."""
        values = np.concatenate([part.values for part in parts])
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Ragged(values, offsets)

    @staticmethod
    def from_arrays(rows: Sequence[npt.ArrayLike], dtype: npt.DTypeLike) -> Ragged:
        arrays = [np.asarray(row, dtype=dtype) for row in rows]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        values = np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)
        return Ragged(values, offsets)

    @staticmethod
    def from_bytes(rows: Sequence[bytes]) -> Ragged:
        """A column of byte strings (uint8)."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return Ragged(np.frombuffer(b"".join(rows), dtype=np.uint8), offsets)

    def to_bytes_list(self) -> list[bytes]:
        """Every row as bytes. For few rows (names of a page, distinct texts); never for a data path."""
        data, ends = self.values.tobytes(), self.offsets.tolist()
        return [data[start:stop] for start, stop in pairwise(ends)]

    def to_texts(self) -> list[str]:
        return [row.decode("utf-8") for row in self.to_bytes_list()]


class GrowingRagged:
    """A Ragged that comes in parts: its values are held once, where `concatenate` has them twice for a moment."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._values = bytearray()  # a large one grows in its place
        self._lengths: list[Offsets] = []

    def add(self, part: Ragged) -> None:
        self._values += np.ascontiguousarray(part.values, dtype=self._dtype).view(np.uint8).data
        self._lengths.append(part.lengths)

    def column(self) -> Ragged:
        """All parts so far; none may be added afterwards."""
        lengths = np.concatenate([np.zeros(1, dtype=np.int64), *self._lengths])
        return Ragged(np.frombuffer(self._values, dtype=self._dtype), np.cumsum(lengths, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """N texts of which few are distinct: `codes` (N,) int32 into `values`; a value may be unused, none is repeated."""

    codes: npt.NDArray[np.int32]
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.codes.ndim != 1 or self.codes.dtype != np.int32:
            raise ValueError(f"codes: expected (N,) int32, got {self.codes.shape} {self.codes.dtype}")

    def __len__(self) -> int:
        return len(self.codes)

    def row(self, index: int) -> str:
        return self.values[int(self.codes[index])]

    def take(self, indices: Indices) -> Texts:
        return Texts(self.codes[indices], self.values)

    def slice(self, start: int, stop: int) -> Texts:
        return Texts(self.codes[start:stop], self.values)

    def compact(self) -> Texts:
        """The same column with only the values that are used, in the order of their codes."""
        used, codes = used_codes(self.codes)
        return Texts(codes, tuple(self.values[code] for code in used.tolist()))

    def to_list(self) -> list[str]:
        return [self.values[code] for code in self.codes.tolist()]

    @staticmethod
    def same(text: str, rows: int) -> Texts:
        """`rows` times the same text."""
        return Texts(np.zeros(rows, dtype=np.int32), (text,))

    @staticmethod
    def from_list(texts: Iterable[str]) -> Texts:
        known: dict[str, int] = {}
        codes = [known.setdefault(text, len(known)) for text in texts]
        return Texts(np.array(codes, dtype=np.int32), tuple(known))

    @staticmethod
    def concatenate(parts: Sequence[Texts]) -> Texts:
        if len(parts) == 1:
            return parts[0]
        known: dict[str, int] = {}
        codes = []
        for part in parts:
            if len(part.values) > len(part):  # a few rows of a long column have all its values
                part = part.compact()
            mapping = np.array([known.setdefault(value, len(known)) for value in part.values], dtype=np.int32)
            codes.append(mapping[part.codes] if len(mapping) else part.codes)
        return Texts(np.concatenate(codes) if codes else np.empty(0, dtype=np.int32), tuple(known))
