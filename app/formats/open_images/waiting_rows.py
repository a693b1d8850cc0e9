"""Rows of a table that wait until it is their turn: in memory while they are few, on disk once they are much."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.columns import Ragged
from app.formats.open_images.kept_rows import TableRows
from app.spools import spool_of


class WaitingRows:
    """Batches of rows, given back in the order they came when all are there."""

    def __init__(self) -> None:
        self._file = spool_of(self)
        self._have_entries: list[bool] = []

    def add(self, rows: TableRows) -> None:
        """The next batch."""
        columns = [rows.records] if rows.entries is None else [rows.records, rows.entries]
        np.save(self._file, rows.frames)
        for column in columns:
            np.save(self._file, column.offsets)
            np.save(self._file, column.values)
        self._have_entries.append(rows.entries is not None)

    def __iter__(self) -> Iterator[TableRows]:
        """Nothing is added while somebody reads, and one reads at a time."""
        self._file.seek(0)
        for has_entries in self._have_entries:
            frames = np.load(self._file)
            yield TableRows(frames, self._column(), self._column() if has_entries else None)

    def _column(self) -> Ragged:
        offsets = np.load(self._file)
        return Ragged(np.load(self._file), offsets)
