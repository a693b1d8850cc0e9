"""A column of cells that still lies in the bytes it was read from.

    buffer  …,0.25,/m/01,0.5,…      one array of bytes for the whole block
    starts  position of each cell's first byte        stops  position after its last byte

Nothing is copied until somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.columns.ragged import Indices, Ragged
from app.columns.words import PAD, Bytes, Mask, Positions, joined_cells

WHITE = b" \t\n\v\f\r"
_IS_WHITE = np.isin(np.arange(256), np.frombuffer(WHITE, dtype=np.uint8))  # (256,) bool
# Cells with more white space than this on one side are rare, and are stripped one by one.
_TRIM_STEPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """N cells: `buffer` (B,) uint8; `starts`, `stops` (N,) int64, positions in it; `is_trimmed`: none has white space
    on either side, as somebody knows who has seen all of the buffer."""

    buffer: Bytes
    starts: Positions
    stops: Positions
    is_trimmed: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Positions:
        """(N,) int64, bytes."""
        return self.stops - self.starts

    def take(self, indices: Indices | Mask) -> Cells:
        """The cells at `indices` (or under a boolean mask), in that order; the buffer is shared."""
        return Cells(self.buffer, self.starts[indices], self.stops[indices], self.is_trimmed)

    def row_bytes(self, index: int) -> bytes:
        return self.buffer[self.starts[index] : self.stops[index]].tobytes()

    def row_text(self, index: int) -> str:
        """For messages: bytes that are no UTF-8 are replaced."""
        return self.row_bytes(index).decode("utf-8", "replace")

    def ragged(self) -> Ragged:
        """A copy of the cells as one column of byte strings."""
        return Ragged(*joined_cells(self.buffer, self.starts, self.stops))

    def trimmed(self) -> Cells:
        """The same cells without white space (blank, tab, LF, VT, FF, CR) on either side."""
        if self.is_trimmed or not len(self.buffer) or not len(self):
            return self
        starts, stops, last, steps = self.starts, self.stops, len(self.buffer) - 1, 0
        while True:
            left = _IS_WHITE[self.buffer[np.minimum(starts, last)]] & (starts < stops)
            right = _IS_WHITE[self.buffer[np.maximum(stops - 1, 0)]] & (starts + left < stops)
            if not left.any() and not right.any():
                return Cells(self.buffer, starts, stops)
            if steps == _TRIM_STEPS:
                return self._strip(starts, stops, np.flatnonzero(left | right))
            starts, stops, steps = starts + left, stops - right, steps + 1

    def _strip(self, starts: Positions, stops: Positions, rows: Positions) -> Cells:
        starts, stops = starts.copy(), stops.copy()
        for row in rows.tolist():
            text = self.buffer[starts[row] : stops[row]].tobytes()
            starts[row] += len(text) - len(text.lstrip(WHITE))
            stops[row] = starts[row] + len(text.strip(WHITE))
        return Cells(self.buffer, starts, stops)

    @staticmethod
    def of(column: Ragged) -> Cells:
        """The rows of a byte column as cells; copies it once, to pad it."""
        buffer = np.zeros(len(column.values) + 2 * PAD, dtype=np.uint8)
        buffer[PAD : PAD + len(column.values)] = column.values
        edges = column.offsets + PAD
        return Cells(buffer, edges[:-1], edges[1:])

    @staticmethod
    def blank(rows: int) -> Cells:
        """`rows` empty cells."""
        places = np.full(rows, PAD, dtype=np.int64)
        return Cells(np.zeros(2 * PAD, dtype=np.uint8), places, places)
