"""A column of cells that still lies in the bytes it was read from.

    buffer  …,0.25,/m/01,0.5,…      one array of bytes for the whole block
    starts  position of each cell's first byte        stops  position after its last byte

Nothing is copied until somebody asks. Words: a cell of up to 8 bytes is read as one unaligned little-endian 64-bit
number, all cells at once, through a view of the buffer with a stride of one byte; the first byte is the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.columns.ragged import Indices, Ragged

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """N cells: `buffer` (B,) uint8; `starts`, `stops` (N,) int64, positions in it."""

    buffer: Bytes
    starts: Positions
    stops: Positions

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Positions:
        """(N,) int64, bytes."""
        return self.stops - self.starts

    def take(self, indices: Indices | Mask) -> Cells:
        """The cells at `indices` (or under a boolean mask), in that order; the buffer is shared."""
        return Cells(self.buffer, self.starts[indices], self.stops[indices])

    def row_bytes(self, index: int) -> bytes:
        return self.buffer[self.starts[index] : self.stops[index]].tobytes()

    def row_text(self, index: int) -> str:
        return self.row_bytes(index).decode("utf-8", "replace")

    def ragged(self) -> Ragged:
        """A copy of the cells as one column of byte strings."""
        raise NotImplementedError

    def trimmed(self) -> Cells:
        """The same cells without white space (blank, tab, LF, VT, FF, CR) on either side."""
        raise NotImplementedError

    @staticmethod
    def of(column: Ragged) -> Cells:
        """The rows of a byte column as cells."""
        raise NotImplementedError

    @staticmethod
    def blank(rows: int) -> Cells:
        """`rows` empty cells."""
        return Cells(np.zeros(0, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, np.int64))
