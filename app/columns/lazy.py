"""Columns that are read when somebody looks at their values.

A table of many columns is often needed for a few. Rows may be taken from a lazy column, in any number of steps, without
reading it; once it is read, all that were taken from it share the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from app.columns.ragged import UNPACKED_VALUES, Indices, Offsets, Ragged, Texts

T = TypeVar("T")


class LazyTexts(Texts):
    """Texts that `load` will give; `rows` of them."""

    __slots__ = ("_column", "_indices", "_load", "_rows")
    _column: Texts | None
    _indices: Indices | None
    _load: Callable[[], Texts]
    _rows: int

    def __init__(self, load: Callable[[], Texts], rows: int, indices: Indices | None = None) -> None:
        """`indices`: of the rows that are taken; all of them."""
        fill(self, _load=load if indices is not None else cache(load), _rows=rows, _indices=indices, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts, (self.codes, self.values)

    def __len__(self) -> int:
        return self._rows

    def take(self, indices: Indices) -> Texts:
        chosen = indices if self._indices is None else self._indices[indices]
        return LazyTexts(self._load, len(indices), chosen)

    def slice(self, start: int, stop: int) -> Texts:
        return self.take(np.arange(*slice(start, stop).indices(self._rows), dtype=np.int64))

    def apart(self) -> Texts:
        """The same column, which shares nothing that is read."""
        return LazyTexts(_read_anew(self._load), self._rows, self._indices)

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        return self._read().codes

    @property
    def values(self) -> tuple[str, ...]:
        return self._read().values

    def _read(self) -> Texts:
        column = self._column
        if column is None:
            column = self._load()
            if self._indices is not None:
                column = column.take(self._indices)
            _check_rows(column, self._rows)
            fill(self, _column=column)
        return column


class MadeRagged(Ragged):
    """A Ragged whose values and offsets are made (`_make`) when somebody looks at them, once."""

    __slots__ = ("_column",)
    _column: Ragged | None

    @property
    def values(self) -> npt.NDArray[Any]:
        return self._read().values

    @property
    def offsets(self) -> Offsets:
        return self._read().offsets

    def _read(self) -> Ragged:
        column = self._column
        if column is None:
            column = self._make()
            fill(self, _column=column)
        return column

    def _make(self) -> Ragged:
        raise NotImplementedError


class LazyRagged(MadeRagged):
    """A Ragged that `load` will give: `rows` rows of `dtype`."""

    __slots__ = ("_dtype", "_indices", "_load", "_rows")
    _dtype: np.dtype[Any]
    _indices: Indices | None
    _load: Callable[[], Ragged]
    _rows: int

    def __init__(
        self, load: Callable[[], Ragged], rows: int, dtype: npt.DTypeLike, indices: Indices | None = None
    ) -> None:
        """`indices`: of the rows that are taken; all of them."""
        shared = load if indices is not None else cache(load)
        fill(self, _load=shared, _rows=rows, _dtype=np.dtype(dtype), _indices=indices, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Ragged, (self.values, self.offsets)

    def __len__(self) -> int:
        return self._rows

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def take(self, indices: Indices) -> Ragged:
        chosen = indices if self._indices is None else self._indices[indices]
        return LazyRagged(self._load, len(indices), self._dtype, chosen)

    def slice(self, start: int, stop: int) -> Ragged:
        return self.take(np.arange(*slice(start, stop).indices(self._rows), dtype=np.int64))

    def apart(self) -> Ragged:
        """The same column, which shares nothing that is read: to hold it holds no values that others look at."""
        return LazyRagged(_read_anew(self._load), self._rows, self._dtype, self._indices)

    @property
    def lengths(self) -> Offsets:
        if self._column is not None or self._indices is None:
            return self._read().lengths
        return self._load().lengths[self._indices]  # no value is copied for them

    @property
    def nbytes(self) -> int:
        return self._read().nbytes

    def row(self, index: int) -> npt.NDArray[Any]:
        return self._read().row(index)

    def pieces(self, most: int = UNPACKED_VALUES) -> Iterator[Ragged]:
        return self._read().pieces(most)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        rows = sum(map(len, parts))

        def load() -> Ragged:
            return Ragged.concatenate([part._read() if isinstance(part, LazyRagged) else part for part in parts])

        return LazyRagged(load, rows, self._dtype)

    def column(self) -> Ragged:
        """The column itself."""
        return self._read()

    def _make(self) -> Ragged:
        column = self._load()
        if self._indices is not None:
            column = column.take(self._indices)
        _check_rows(column, self._rows)
        return column


def fill(column: Ragged | Texts, **fields: Any) -> None:
    """Set fields of a column, which is frozen for everybody else."""
    for name, value in fields.items():
        object.__setattr__(column, name, value)


def _read_anew(load: Callable[[], T]) -> Callable[[], T]:
    """What a column was made with, remembering nothing yet."""
    return cache(getattr(load, "__wrapped__", load))


def _check_rows(column: Ragged | Texts, rows: int) -> None:
    if len(column) != rows:
        raise ValueError(f"a lazy column: expected {rows} rows, got {len(column)}")
