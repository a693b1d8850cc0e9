"""Rows that wait on disk until all have been read, in parts that are looked at one after the other.

rows of many tables, in any order ─▶ 64 parts by their image    each lies in one file, in stretches
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.spools import spool_of

PARTS = 64
STRETCH_ROWS = 50_000
"""Rows that are put into parts together."""

Rows = npt.NDArray[Any]


class PartedRows:
    """Rows of one structured type with a field `frame`; rows of a frame are in one part, in the order they came."""

    def __init__(self, fields: list[Any]) -> None:
        """Args:
        fields: of the type, as numpy takes them.
        """
        self.dtype = np.dtype(fields)
        self._file = spool_of(self)
        self._waiting: list[Rows] = []
        self._n_waiting = self._n_written = 0
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]  # first row, rows

    def add(self, **columns: Any) -> None:
        """The next rows, column by column."""
        rows = np.empty(len(columns["frame"]), dtype=self.dtype)
        for name, values in columns.items():
            rows[name] = values
        self._waiting.append(rows)
        self._n_waiting += len(rows)
        if self._n_waiting >= STRETCH_ROWS:
            self._write()

    def _write(self) -> None:
        if not self._n_waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        parts = rows["frame"] % PARTS
        order = np.argsort(parts, kind="stable")
        counts = np.bincount(parts, minlength=PARTS)
        firsts = self._n_written + np.cumsum(counts) - counts
        self._file.seek(self._n_written * self.dtype.itemsize)
        self._file.write(rows[order].tobytes())
        for part in np.flatnonzero(counts).tolist():
            self._places[part].append((int(firsts[part]), int(counts[part])))
        self._n_written += len(rows)

    def stretches(self, part: int) -> Iterator[Rows]:
        """The rows of a part."""
        self._write()
        for first, n_rows in self._places[part]:
            self._file.seek(first * self.dtype.itemsize)
            yield np.frombuffer(self._file.read(n_rows * self.dtype.itemsize), dtype=self.dtype)

    def groups(self, part: int, most: int) -> Iterator[Rows]:
        """The same, some stretches at a time: at least `most` rows but for the last."""
        waiting: list[Rows] = []
        for rows in self.stretches(part):
            waiting.append(rows)
            if sum(map(len, waiting)) >= most:
                yield np.concatenate(waiting)
                waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def read(self, part: int) -> Rows:
        """All of them at once."""
        return np.concatenate([np.empty(0, dtype=self.dtype), *self.stretches(part)])

    def close(self) -> None:
        self._file.close()
