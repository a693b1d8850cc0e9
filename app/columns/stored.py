"""Lines as they are stored: parts of which each is deflated as the text of a table, and inflated when somebody looks.

    parts    ▒▒▒▒▒▒▒  ▒▒▒▒  ▒▒▒▒▒▒▒▒▒▒      rows of blocks, packed; or a column as it is
    rows     0 1 2 3  6 4 5  7 8 …          those that were taken, in any order

Rows are taken and joined without reading them. Who writes a table asks which parts are `whole_parts` of it: those are
written as they are packed (`app/deflate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.lazy import MadeRagged, fill
from app.columns.ragged import UNPACKED_VALUES, Indices, Offsets, Ragged
from app.columns.words import Bytes
from app.deflate import Piece


class LinePart:
    """Lines that are read together, once.

    Attributes:
        lengths: (N,) int64.
        piece: the text of a table that the lines are, a line end behind each; None where they are not stored so.
        n_bytes: what the part takes while nobody looks.
    """

    __slots__ = ("_known", "_read", "lengths", "n_bytes", "piece")

    def __init__(self, lengths: Offsets, piece: Piece | None, n_bytes: int, read: Callable[[], Bytes]) -> None:
        """`read` gives the values of all lines."""
        self.lengths, self.piece, self.n_bytes = lengths, piece, n_bytes
        self._read = read
        self._known: Bytes | None = None

    @property
    def values(self) -> Bytes:
        if self._known is None:
            self._known = self._read()
        return self._known

    def read(self) -> Bytes:
        """The values, which are not remembered."""
        return self._read() if self._known is None else self._known

    def apart(self) -> LinePart:
        """The same lines, which nobody has read yet."""
        return LinePart(self.lengths, self.piece, self.n_bytes, self._read)

    @staticmethod
    def of(column: Ragged) -> LinePart:
        """A column as it is."""
        return LinePart(column.lengths, None, column.nbytes, lambda: column.values)


class StoredLines(MadeRagged):
    """See the module."""

    __slots__ = ("_indices", "_parts", "_starts")
    _parts: Sequence[LinePart]
    _starts: Offsets
    _indices: Indices | None

    def __init__(self, parts: Sequence[LinePart], indices: Indices | None = None) -> None:
        """`indices`: of the rows that are taken; all of them."""
        starts = np.zeros(len(parts) + 1, dtype=np.int64)  # the first row of each part
        np.cumsum([len(part.lengths) for part in parts], out=starts[1:])
        fill(self, _parts=parts, _starts=starts, _indices=indices, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Ragged, (self.values, self.offsets)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._indices is None else len(self._indices)

    @property
    def _rows(self) -> Indices:
        return np.arange(self._starts[-1], dtype=np.int64) if self._indices is None else self._indices

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    @property
    def lengths(self) -> Offsets:
        lengths = np.concatenate([np.empty(0, dtype=np.int64), *(part.lengths for part in self._parts)])
        return lengths if self._indices is None else lengths[self._indices]

    @property
    def nbytes(self) -> int:
        """What the column takes once it is read."""
        return int(self.lengths.sum()) + self._starts.itemsize * (len(self) + 1)

    @property
    def packed_bytes(self) -> int:
        """What its parts take while nobody looks."""
        return sum(part.n_bytes for part in self._parts)

    def take(self, indices: Indices) -> Ragged:
        return StoredLines(self._parts, self._rows[indices])

    def slice(self, start: int, stop: int) -> Ragged:
        return StoredLines(self._parts, self._rows[start:stop])

    def row(self, index: int) -> npt.NDArray[Any]:
        return self._read().row(index)

    def pieces(self, most: int = UNPACKED_VALUES) -> Iterator[Ragged]:
        return self._read().pieces(most)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        found: list[LinePart] = []
        rows: list[Indices] = []
        start = 0
        for part in parts:
            some = part if isinstance(part, StoredLines) else StoredLines([LinePart.of(part)])
            found += some._parts
            rows.append(some._rows + start)
            start += int(some._starts[-1])
        return StoredLines(found, np.concatenate(rows))

    def column(self) -> Ragged:
        """The lines, and nothing else of their parts, of which one is held at a time."""
        if self._indices is not None or len(self._parts) <= 1:
            return self._read()
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        values = np.empty(int(offsets[-1]), dtype=np.uint8)
        for part, start, stop in zip(self._parts, self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True):
            values[offsets[start] : offsets[stop]] = part.read()
        return Ragged(values, offsets)

    def apart(self) -> StoredLines:
        """The same lines, which hold no part that they do not need, and nothing that others have read."""
        is_needed, rows = self._needed()
        return StoredLines([part.apart() for part, needed in zip(self._parts, is_needed, strict=True) if needed], rows)

    def whole_parts(self, bounds: Offsets) -> list[Piece | None]:
        """For each stretch of rows, from bounds[k] to bounds[k + 1], the piece that is just these rows."""
        starts, stops = bounds[:-1], bounds[1:]
        rows = self._rows
        firsts, lasts = rows[starts], rows[stops - 1]
        parts = np.searchsorted(self._starts, firsts, side="right") - 1
        breaks = np.zeros(len(rows) + 1, dtype=np.int64)  # how many of the rows up to each do not follow the one before
        np.cumsum(np.diff(rows) != 1, out=breaks[2:])
        is_whole = (firsts == self._starts[parts]) & (lasts == self._starts[parts + 1] - 1)
        is_whole &= breaks[stops] == breaks[starts + 1]
        return [
            self._parts[part].piece if whole else None
            for part, whole in zip(parts.tolist(), is_whole.tolist(), strict=True)
        ]

    def _needed(self) -> tuple[list[bool], Indices]:
        """Which parts hold rows of the column, and where these are if the others are left out."""
        parts = np.searchsorted(self._starts, self._rows, side="right") - 1
        is_needed = np.zeros(len(self._parts), dtype=np.bool_)
        is_needed[parts] = True
        left_out = np.cumsum(np.where(is_needed, 0, np.diff(self._starts)))  # rows, up to each part
        return is_needed.tolist(), self._rows - left_out[parts]

    def _make(self) -> Ragged:
        is_needed, rows = self._needed()
        parts = [part for part, needed in zip(self._parts, is_needed, strict=True) if needed]
        if not parts:
            return Ragged.empty(np.uint8)
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        values = parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts])
        column = Ragged(values, offsets)
        return column if self._indices is None else column.take(rows)
