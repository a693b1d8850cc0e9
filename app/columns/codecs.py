"""Cells to typed columns, and numbers to text (signatures first; being written)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.columns.cells import Cells, Mask, Positions
from app.columns.ragged import Ragged, Texts


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

    def spread(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """One value a run → one value a row: (R,) → (N,)."""
        return np.repeat(values, self.lengths)


class TextIndex:
    """Numbers distinct texts in order of first appearance, across as many blocks as are shown to it."""

    values: list[str]

    def codes(self, cells: Cells) -> npt.NDArray[np.int32]:
        """(N,) int32: the number of each cell's text in `values`; unknown texts are added."""
        raise NotImplementedError

    def texts(self, codes: npt.NDArray[np.int32]) -> Texts:
        """The codes as a Texts column over the values known so far."""
        raise NotImplementedError


def decode_numbers(cells: Cells) -> Numbers:
    """ASCII decimals (sign, digits, point, exponent; trimmed) to float64, correctly rounded."""
    raise NotImplementedError


def decode_flags(cells: Cells) -> Flags:
    """0 1 -1, also 0.0 1.0 -1.0 true false yes no in any case, trimmed."""
    raise NotImplementedError


def decode_texts(cells: Cells) -> Texts:
    """Distinct texts once, cells as they are; for columns of few distinct texts."""
    raise NotImplementedError


def decode_runs(cells: Cells) -> Runs:
    """Runs of consecutive equal cells; for id columns."""
    raise NotImplementedError


def encode_numbers(values: npt.NDArray[np.float64]) -> Ragged:
    """The shortest decimal that reads back to the same double: no exponent, integers without point. Finite only."""
    raise NotImplementedError


def encode_integers(values: npt.NDArray[np.integer]) -> Ragged:
    """Integers as decimal text."""
    raise NotImplementedError
