"""A Ragged of doubles whose rows may be held as 16-bit whole numbers, as the store has outlines along pixel edges.

    whole   12 7 12 9 …  |  —          |  3 3 …      rows of int16
    plain   —            |  0.25 7.5   |  —          rows of the others

Rows are taken, joined, sent and stored as they are. Whoever looks at `values` has all of them as doubles;
`held_values` gives what is a quarter of that, where every row is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.lazy import LazyRagged, MadeRagged, fill
from app.columns.narrow import steps_within
from app.columns.ragged import UNPACKED_VALUES, Indices, Offsets, Ragged

LARGEST_WHOLE = 32767
"""And the smallest with a minus."""


class WholeRagged(MadeRagged):
    """See the module. `whole` (N rows of int16), `plain` (N rows of float64): each row is in one of them."""

    __slots__ = ("plain", "whole")
    whole: Ragged
    plain: Ragged

    def __init__(self, whole: Ragged, plain: Ragged) -> None:
        if len(whole) != len(plain):
            raise ValueError(f"whole rows: expected {len(plain)}, got {len(whole)}")
        fill(self, whole=whole, plain=plain, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return WholeRagged, (self.whole, self.plain)

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.plain.dtype

    @property
    def offsets(self) -> Offsets:
        return self.whole.offsets + self.plain.offsets  # no doubles are made for them

    @property
    def lengths(self) -> Offsets:
        return self.whole.lengths + self.plain.lengths

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes + self.plain.nbytes

    def row(self, index: int) -> npt.NDArray[Any]:
        whole = self.whole.row(index)
        return whole.astype(self.dtype) if len(whole) else self.plain.row(index)

    def take(self, indices: Indices) -> Ragged:
        return _of(self.whole.take(indices), self.plain.take(indices))

    def slice(self, start: int, stop: int) -> Ragged:
        return _of(self.whole.slice(start, stop), self.plain.slice(start, stop))

    def pieces(self, most: int = UNPACKED_VALUES) -> Iterator[Ragged]:
        for part in steps_within(self.lengths, most):
            yield self.slice(part.start, part.stop)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        whole = [part.whole if isinstance(part, WholeRagged) else Ragged.empty(np.int16, len(part)) for part in parts]
        plain = [part.plain if isinstance(part, WholeRagged) else part for part in parts]
        return WholeRagged(Ragged.concatenate(whole), Ragged.concatenate(plain))

    def _make(self) -> Ragged:
        offsets = self.offsets
        if not len(self.plain.values):
            return Ragged(self.whole.values.astype(self.dtype), offsets)
        is_whole = np.repeat(self.whole.lengths > 0, np.diff(offsets))
        values = np.empty(len(is_whole), dtype=self.dtype)
        values[is_whole] = self.whole.values
        values[~is_whole] = self.plain.values
        return Ragged(values, offsets)


def as_doubles(column: Ragged) -> Ragged:
    """A column of integers as one of doubles, held as whole numbers where they fit."""
    values, rows = column.values, len(column)
    if len(values) and max(int(values.max()), -int(values.min())) <= LARGEST_WHOLE:
        return WholeRagged(Ragged(values.astype(np.int16), column.offsets), Ragged.empty(np.float64, rows))
    return Ragged(values.astype(np.float64), column.offsets)


def held_values(column: Ragged) -> npt.NDArray[Any]:
    """The values of all rows, as int16 where they are held so."""
    if isinstance(column, LazyRagged):
        column = column.column()
    if isinstance(column, WholeRagged) and not len(column.plain.values):
        return column.whole.values
    return column.values


def _of(whole: Ragged, plain: Ragged) -> Ragged:
    return WholeRagged(whole, plain) if len(whole.values) else plain
