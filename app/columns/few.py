"""Columns that say few things: each thing is decoded once for a whole table, not once a row.

    …,xclick,/m/01g317,1,0.1,…,0,1,0,0,0,…       columns side by side are one stretch of the line, looked up as a whole
       └─── stretch ────┘       └stretch┘
    codes   (N,) the number of each row's stretch        cells   (K,) of one column, for each stretch that was met

Where cells hold no quotes, the commas of a stretch part its cells, so equal stretches mean equal cells. A stretch that
turns out to say many things (numbers of a machine, say), and a block with quotes, is read cell by cell.

Cost: one look-up a stretch and row, 0.02 µs, whatever is made of its cells later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from app.columns.cells import Cells
from app.columns.codecs import TextIndex
from app.columns.csv import CSVBlock
from app.columns.records import COMMA
from app.columns.words import Positions

Value = TypeVar("Value", bound=np.generic)
Decoded = TypeVar("Decoded")

MOST_TEXTS, MOST_STRETCHES = 1 << 14, 4  # numbers of four stretches fit into 64 bits together
MOST_BYTES = 2 << 20
"""Of the texts of a stretch; they are held until the table ends, three times."""
FREE_TEXTS, ROWS_A_TEXT = 1 << 10, 8
"""Texts that a stretch may have at any rate; beyond that, as many as there are rows by this."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of N rows by K cells: `codes` (N,) int32 into `cells`; None: each row has its own.

    What was decoded of the cells is kept from block to block (`notes`).
    """

    codes: npt.NDArray[np.int32] | None
    cells: Cells
    notes: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cells) if self.codes is None else len(self.codes)

    def decoded(self, decode: Callable[[Cells], Decoded]) -> Decoded:
        """What a function makes of the cells. It must see nothing else, and be the same object each time."""
        n_known, found = self.notes.get(decode, (-1, None))
        if n_known != len(self.cells):
            found = decode(self.cells)
            self.notes[decode] = len(self.cells), found
        return found  # type: ignore[no-any-return]

    def changed(self, change: Callable[[Cells], Cells]) -> Coded:
        """The column with what a function makes of its cells in their place; the same holds for it."""
        return Coded(self.codes, self.decoded(change), self.notes.setdefault(("changed", change), {}))

    def trimmed(self) -> Coded:
        return self.changed(Cells.trimmed)

    def row_text(self, index: int) -> str:
        """For messages, as `Cells.row_text`."""
        return self.cells.row_text(index if self.codes is None else int(self.codes[index]))

    def spread(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """One value a cell → one value a row: (K,) → (N,)."""
        return values if self.codes is None else values[self.codes]

    def take(self, rows: Positions) -> Coded:
        if self.codes is None:
            return Coded(None, self.cells.take(rows))
        return Coded(self.codes[rows], self.cells, self.notes)


class FewTexts:
    """Reads some columns of the blocks of one table, or of several with the same columns."""

    def __init__(self, columns: Sequence[str], wanted: Sequence[str]) -> None:
        """Args:
        columns: of the table.
        wanted: those that say few things; the table may lack some.
        """
        folded = [name.casefold() for name in columns]
        places = sorted(folded.index(name.casefold()) for name in wanted if name.casefold() in folded)
        self._wanted = wanted
        starts = [place for place in places if place - 1 not in places]
        stops = [place + 1 for place in places if place + 1 not in places]
        self._stretches = [_Stretch(start, stop) for start, stop in zip(starts, stops, strict=True)]
        self._place_of = {name: folded.index(name.casefold()) for name in wanted if name.casefold() in folded}

    def read(self, block: CSVBlock) -> tuple[Mapping[str, Coded], npt.NDArray[np.int64] | None]:
        """The columns, and (N,) a number for each row: rows of equal numbers are alike in all of them, in every block;
        None where nobody knows."""
        found: dict[str, Coded] = {}
        are_few = len(self._stretches) <= MOST_STRETCHES
        kinds: npt.NDArray[np.int64] | None = np.zeros(len(block), dtype=np.int64) if are_few else None
        for stretch in self._stretches:
            codes = stretch.codes(block)
            if codes is None:
                kinds = None
            elif kinds is not None:
                kinds = kinds * MOST_TEXTS + codes
            for name, place in self._place_of.items():
                if stretch.start <= place < stretch.stop:
                    found[name] = Coded(None, block.cells_at(place)) if codes is None else stretch.column(codes, place)
        nothing = np.zeros(len(block), dtype=np.int32)
        for name in self._wanted:
            if name not in found:
                found[name] = Coded(nothing, Cells.blank(1))
        return found, kinds


class _Stretch:
    """Columns `start` to `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._index: TextIndex | None = TextIndex()
        self._n_rows = 0
        self._n_texts = 0
        self._part(Cells.blank(0))
        self._notes: dict[int, dict[Any, Any]] = {}

    def codes(self, block: CSVBlock) -> npt.NDArray[np.int32] | None:
        """(N,) the number of each row's stretch; None where they are too many, or cannot be told."""
        if self._index is None or not block.is_plain:
            return None
        first, last = block.cells_at(self.start), block.cells_at(self.stop - 1)
        codes = self._index.codes(Cells(first.buffer, first.starts, last.stops))
        self._n_rows += len(block)
        n_texts = len(self._index.values)
        is_much = len(self._index.known.buffer) > MOST_BYTES
        if is_much or n_texts > min(MOST_TEXTS, FREE_TEXTS + self._n_rows // ROWS_A_TEXT):
            self._index = None
            self._notes.clear()
            self._part(Cells.blank(0))
            return None
        if n_texts != self._n_texts:
            self._n_texts = n_texts
            self._part(self._index.known)
        return codes

    def _part(self, texts: Cells) -> None:
        self._buffer = texts.buffer
        commas = np.flatnonzero(texts.buffer == COMMA).reshape(len(texts), self.stop - self.start - 1)
        self._edges = np.concatenate([texts.starts[:, None] - 1, commas, texts.stops[:, None]], axis=1)

    def column(self, codes: npt.NDArray[np.int32], place: int) -> Coded:
        at = place - self.start
        cells = Cells(self._buffer, self._edges[:, at] + 1, self._edges[:, at + 1])
        return Coded(codes, cells, self._notes.setdefault(place, {}))
