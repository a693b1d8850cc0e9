"""Rows that come in one order and are wanted in another: by parts, such as the subsets of an export.

    batches     a b a c │ b b a │ c …        rows with the part of each, as they come
    stretches   aaa bbb c │ a b cc │ …       many rows at a time, written part by part
    read(a)     aaa a …                      of a part, in the order they came

What is read once waits on disk, where else all would be read once for each part. Memory holds a stretch, and what a
part has in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import Kept, Table
from app.blocks.encoding import byte_size, full_columns, thin_columns
from app.columns import LazyRagged, StoredLines, Texts
from app.spools import spool_of

STRETCH_ROWS, STRETCH_BYTES = 1 << 16, 16 << 20
"""Of rows that are put into parts together, about. To write a part takes some 0.1 ms, however few rows it has."""
READ_ROWS, READ_BYTES = 8_000, 8 << 20
"""Of a part, read at once, about."""

Parts = npt.NDArray[np.integer[Any]]


class WaitingTables:
    """Rows of tables of one kind."""

    def __init__(self) -> None:
        self._file = spool_of(self)
        self._size = 0
        self._waiting: list[tuple[Any, Parts]] = []
        self._n_rows = self._n_bytes = 0
        self._places: dict[int, list[tuple[int, int, int]]] = {}  # of each part: offset, rows, bytes

    def add(self, table: Table, parts: Parts) -> None:
        """The next rows and the part (N,) of each; those of a negative number are wanted by nobody."""
        wanted = parts >= 0
        if not wanted.all():
            rows = np.flatnonzero(wanted)
            table, parts = table.take(rows), parts[rows]
        if not len(table):
            return
        self._waiting.append((table, parts))
        self._n_rows += len(table)
        self._n_bytes += byte_size(table)
        if self._n_rows >= STRETCH_ROWS or self._n_bytes >= STRETCH_BYTES:
            self._write()

    def read(self, part: int) -> Iterator[Any]:
        """The rows of a part, some at a time; rows that came together and are of one frame stay together. Nothing is
        added any more."""
        self._write()
        some: list[Any] = []
        n_rows = n_bytes = 0
        for offset, rows, size in self._places.get(part, ()):
            if some and (n_rows + rows > READ_ROWS or n_bytes + size > READ_BYTES):
                yield type(some[0]).concatenate(some)
                some, n_rows, n_bytes = [], 0, 0
            some.append(self._load(offset, size))
            n_rows, n_bytes = n_rows + rows, n_bytes + size
        if some:
            yield type(some[0]).concatenate(some)

    def _write(self) -> None:
        if not self._waiting:
            return
        tables, codes = [table for table, _ in self._waiting], np.concatenate([parts for _, parts in self._waiting])
        table = _plain(type(tables[0]).concatenate(tables))
        self._waiting, self._n_rows, self._n_bytes = [], 0, 0
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        bounds = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
        self._file.seek(self._size)
        for start, stop in pairwise(bounds):
            data = _dump(table.take(order[start:stop]) if len(bounds) > 2 else table)
            self._places.setdefault(int(ordered[start]), []).append((self._size, stop - start, len(data)))
            self._file.write(data)
            self._size += len(data)

    def _load(self, offset: int, size: int) -> Any:
        self._file.seek(offset)
        kind, columns = pickle.loads(self._file.read(size))
        return kind(**full_columns(columns))


def _dump(table: Any) -> bytes:
    return pickle.dumps((type(table), thin_columns(_compact(table))), protocol=pickle.HIGHEST_PROTOCOL)


def _plain(table: Any) -> Any:
    """The same rows with columns that are read."""

    def plain(column: Any) -> Any:
        if isinstance(column, Texts):
            return Texts(column.codes, column.values)
        return column.column() if isinstance(column, LazyRagged | StoredLines) else column

    return _mapped(table, plain)


def _compact(table: Any) -> Any:
    """The same rows without texts that none of them has."""
    return _mapped(table, lambda column: column.compact() if isinstance(column, Texts) else column)


def _mapped(table: Any, change: Callable[[Any], Any]) -> Any:
    columns = {
        name: _mapped(column, change) if isinstance(column, Kept) else change(column)
        for name, column in table.columns().items()
    }
    return type(table)(**columns)
