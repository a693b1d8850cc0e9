"""Byte columns of millions of rows that stay in memory: half the offsets, and cells without a copy.

    buffer  PAD bytes, row after row, PAD bytes       edges  (N + 1,) uint32, positions in the buffer

The buffer is padded as `words.py` wants it, so that rows are hashed, compared and copied where they lie. Who asks for
all offsets at once gets an array that is made anew each time: ask for cells, or for a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.cells import Cells
from app.columns.lazy import LazyRagged, fill
from app.columns.ragged import Indices, Offsets, Ragged
from app.columns.words import PAD, Bytes

STEP = 1 << 16
"""Rows that are looked at together: what is worked out on the way stays small for millions of them."""


def steps(n: int) -> Iterator[slice]:
    """Ranges that make up 0 to n."""
    for first in range(0, n, STEP):
        yield slice(first, min(first + STEP, n))


def steps_within(sizes: npt.NDArray[np.integer[Any]], most_size: int, most_rows: int | None = None) -> Iterator[slice]:
    """Ranges of rows that have at most this size together, and are at most so many; a row that is larger is alone."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    first = 0
    while first < len(sizes):
        room = int(np.searchsorted(ends, ends[first] + most_size, side="right")) - 1
        stop = max(first + 1, min(room, first + (most_rows or len(sizes))))
        yield slice(first, stop)
        first = stop


class NarrowRagged(Ragged):
    """A Ragged of uint8 as this module describes it; of 4 GiB and more with wide edges."""

    __slots__ = ("_buffer", "_edges")
    _buffer: Bytes
    _edges: npt.NDArray[Any]

    def __init__(self, parts: Iterable[Ragged]) -> None:
        """The rows of all parts, one part after the other; a part is not needed any more when the next one comes."""
        buffer: Bytes = np.zeros(2 * PAD, dtype=np.uint8)
        lengths: list[npt.NDArray[Any]] = []
        stop = PAD
        for part in parts:
            first, stop = stop, stop + len(part.values)
            if stop + PAD > len(buffer):
                buffer.resize(max(stop + PAD, len(buffer) + len(buffer) // 4), refcheck=False)
            buffer[first:stop] = part.values
            lengths.append(narrow_numbers(part.lengths))
        buffer.resize(stop + PAD, refcheck=False)
        n_rows = sum(len(some) for some in lengths)
        edges: npt.NDArray[Any] = np.empty(n_rows + 1, dtype=np.uint32 if stop < 1 << 32 else np.int64)
        edges[0] = PAD
        row = 0
        for some in lengths:
            edges[row + 1 : row + 1 + len(some)] = int(edges[row]) + np.cumsum(some, dtype=np.int64)
            row += len(some)
        fill(self, _buffer=buffer, _edges=edges)

    @staticmethod
    def of(column: Ragged) -> NarrowRagged:
        """The column itself where it is narrow."""
        if isinstance(column, LazyRagged):
            column = column.column()
        return column if isinstance(column, NarrowRagged) else NarrowRagged([column])

    def __reduce__(self) -> tuple[Any, ...]:
        return Ragged, (self.values, self.offsets)

    def __len__(self) -> int:
        return len(self._edges) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._buffer.dtype

    @property
    def values(self) -> npt.NDArray[Any]:
        return self._buffer[PAD : int(self._edges[-1])]

    @property
    def offsets(self) -> Offsets:
        return self._edges.astype(np.int64) - PAD

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes + self._edges.nbytes

    def row(self, index: int) -> npt.NDArray[Any]:
        return self._buffer[int(self._edges[:-1][index]) : int(self._edges[1:][index])]

    def cells(self, rows: Indices | slice) -> Cells:
        """Some rows where they lie."""
        return Cells(self._buffer, self._edges[:-1][rows].astype(np.int64), self._edges[1:][rows].astype(np.int64))

    def take(self, indices: Indices) -> Ragged:
        return self.cells(indices).ragged()

    def slice(self, start: int, stop: int) -> Ragged:
        edges = self._edges[start : stop + 1].astype(np.int64)
        return Ragged(self._buffer[edges[0] : edges[-1]], edges - edges[0])


def narrow_numbers(numbers: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """Numbers from 0 on in the fewest bytes that hold the greatest of them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
