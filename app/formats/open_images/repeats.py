"""Equal rows of one table, and of tables of one kind: found by the hash of the line, 8 bytes a row, in stretches of a
million. A data set may bring some rows twice: `-human-imagelabels.csv` and `-human-imagelabels-boxable.csv` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from app.columns import CSVBlock, HashPlaces, distinct
from app.errors import Problem, Report
from app.formats.open_images.layout import TableFile
from app.formats.open_images.reading import WARNINGS_LISTED, Reading, TableState

Hashes = npt.NDArray[np.uint64]

STRETCH_ROWS = 1_000_000
PARTS = 4


class SeenHashes:
    """Hashes of the lines of earlier tables, in runs of ascending ones that are each more than twice as long as the
    next: of thousands of tables each hash is sorted some ten times, not once for each table."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, parts: Sequence[Hashes]) -> None:
        run = _ascending(parts)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = _ascending([self._runs.pop(), run])
        if len(run):
            self._runs.append(run)

    def find(self, ascending: Hashes) -> npt.NDArray[np.bool_]:
        """(N,) bool, whether each of some ascending hashes is there."""
        found = np.zeros(len(ascending), dtype=np.bool_)
        for run in self._runs:
            places = np.searchsorted(run, ascending)
            found |= run[np.minimum(places, len(run) - 1)] == ascending
        return found


class RepeatedRows:
    """Collects the lines of one table and tells (`row.duplicate`) which were there before; all are kept."""

    def __init__(self, table: TableState, report: Report, before: SeenHashes | None = None) -> None:
        """`before`: of lines of other tables with these columns."""
        self._table, self._report = table, report
        self._before = before if before is not None else SeenHashes()
        self._hashes: list[Hashes] = []
        self._rows: list[range | npt.NDArray[np.int64]] = []
        self._n = len(self._before)

    def seen(self) -> SeenHashes:
        """All that is held, for the tables that follow; no line is added any more."""
        self._before.add(self._hashes)
        return self._before

    def add(self, block: CSVBlock, chosen: npt.NDArray[np.int64]) -> None:
        self._hashes.append(block.line_hashes()[chosen])
        rows = block.rows[chosen]
        is_stretch = len(rows) > 0 and int(rows[-1]) - int(rows[0]) == len(rows) - 1
        self._rows.append(range(int(rows[0]), int(rows[-1]) + 1) if is_stretch else rows)
        self._n += len(chosen)
        if self._n >= STRETCH_ROWS:
            self.tell()
            # Equal rows stand close together in every published table: the last block stays for comparison.
            self._hashes, self._rows, self._before = self._hashes[-1:], self._rows[-1:], SeenHashes()
            self._n = len(self._rows[0])

    def tell(self) -> None:
        found = self._repeated_hashes()
        if not len(found):
            return
        places = HashPlaces(found)
        first_seen = self._before.find(found)
        repeated = [np.zeros(0, dtype=np.int64)]
        for hashes, rows in zip(self._hashes, self._rows, strict=True):
            is_there, at = places.find(hashes)
            again = np.flatnonzero(is_there)  # some of many
            distinct, first = np.unique(at[again], return_index=True)
            again = np.delete(again, first[~first_seen[distinct]])
            first_seen[distinct] = True
            repeated.append(rows.start + again if isinstance(rows, range) else rows[again])
        lines = np.concatenate(repeated)  # ascending, as the blocks are
        listed = [
            Problem(
                "row.duplicate",
                "this row is there before, word for word; both are kept",
                "warning",
                self._table.path,
                row,
            )
            for row in lines[:WARNINGS_LISTED].tolist()
        ]
        self._report.add_many(listed, len(lines))

    def _repeated_hashes(self) -> npt.NDArray[np.uint64]:
        """Those of this table that are there more than once, ascending. A part of the hashes after the other: equal
        ones are in the same."""
        found = [np.zeros(0, dtype=np.uint64)]
        for part in range(PARTS) if self._hashes else ():
            ascending = _ascending([some[some & (PARTS - 1) == part] for some in self._hashes])
            is_again = self._before.find(ascending)
            is_again[1:] |= ascending[1:] == ascending[:-1]
            found.append(distinct(ascending[is_again]))
        return np.sort(np.concatenate(found))


def _ascending(parts: Sequence[Hashes]) -> Hashes:
    """All of them, sorted."""
    hashes = np.concatenate([np.zeros(0, dtype=np.uint64), *parts])
    hashes.sort()
    return hashes


@contextmanager
def repeats_of(reading: Reading, table: TableState) -> Iterator[RepeatedRows]:
    """What collects the lines of a table, and tells in the end; lines of earlier tables count, as far as held."""
    key = (table.file.kind, *(name.casefold() for name in table.header))
    repeats = RepeatedRows(table, reading.report, reading.lines_before.get(key))
    yield repeats
    repeats.tell()
    if len(reading.layout.of(table.file.kind)) > 1:
        reading.lines_before[key] = repeats.seen()


def read_each_block(
    reading: Reading, file: TableFile, read_block: Callable[[Reading, TableState, CSVBlock, RepeatedRows], None]
) -> None:
    """A table by its blocks; rows that repeat others are told at its end."""
    table = reading.open_table(file)
    with repeats_of(reading, table) as repeats:
        for block in reading.read_table(table):
            read_block(reading, table, block, repeats)
            del block
