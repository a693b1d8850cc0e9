"""What imported rows said, cell by cell, of rows that may come from different tables and imports.

    kept lines of table 0 (ImageID,LabelName,…)  ─┐
    kept lines of table 3 (LabelName,ImageID,…)  ─┴→  one column of cells by name, one key a row

Keys are for pairing rows; whether paired rows say the same is settled cell by cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import Kept, mix
from app.columns import Cells, CSVBlock, Ragged, decode_numbers, equal_cells, hash_cells, split_lines
from app.formats.open_images.extras import Extras, KeptTable
from app.formats.open_images.plan import tables_of

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

IMAGE_ID = "imageid"
NO_KIND = ""


class Said:
    """The kept rows of one kind of annotation; rows that never were in a table say nothing.

    Args:
        extras: of every set that `kept` names.
    """

    def __init__(self, kept: Kept, extras: Mapping[int, Extras]) -> None:
        self.kept = kept
        found = list(tables_of(kept))
        self._tables: list[tuple[KeptTable, Positions]] = [
            (extras[set_id].tables[number], rows) for set_id, number, rows in found
        ]
        self._links = [extras[set_id].linked.get(number, 0) for set_id, number, _ in found]

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def kinds(self) -> npt.NDArray[np.str_]:
        """(N,) the kind of each row's table; `NO_KIND` for none."""
        found = np.full(len(self), NO_KIND, dtype="U16")
        for table, rows in self._tables:
            found[rows] = table.kind
        return found

    @property
    def kinds_there(self) -> set[str]:
        """Kinds of tables that any row is of."""
        return {table.kind for table, rows in self._tables if len(rows)}

    def of_kind(self, kind: str) -> Mask:
        """(N,) whether the row is of a table of this kind; of none, for `NO_KIND`."""
        return self.rows_where(lambda table: table.kind == kind) if kind != NO_KIND else ~self.rows_where(_any)

    @cached_property
    def links(self) -> npt.NDArray[np.int64]:
        """(N,) which ends of a relationship name boxes that its archive had, as bits."""
        found = np.zeros(len(self), dtype=np.int64)
        for (_, rows), links in zip(self._tables, self._links, strict=True):
            found[rows] = links
        return found

    def rows_where(self, fits: Any) -> Mask:
        """(N,) whether the row's table fits: a function of `KeptTable`."""
        found = np.zeros(len(self), dtype=np.bool_)
        for table, rows in self._tables:
            found[rows] = fits(table)
        return found

    @cached_property
    def _blocks(self) -> list[tuple[CSVBlock, Positions]]:
        return [(split_lines(self.kept.lines.take(rows), table.columns), rows) for table, rows in self._tables]

    @cached_property
    def columns(self) -> dict[str, None]:
        """The names of all columns, in lower case."""
        return dict.fromkeys(name.casefold() for table, _ in self._tables for name in table.columns)

    def cells(self, column: str) -> Ragged:
        """(N,) the cells of a column; empty ones where a row's table has none."""
        parts = [block.cells(column).ragged() for block, _ in self._blocks]
        places = np.full(len(self), sum(len(part) for part in parts), dtype=np.int64)
        first = 0
        for _, rows in self._blocks:
            places[rows] = np.arange(first, first + len(rows), dtype=np.int64)
            first += len(rows)
        return Ragged.concatenate([*parts, Ragged.empty(np.uint8, 1)]).take(places)

    @cached_property
    def line_keys(self) -> Keys:
        """(N,) of the line as it stands, and the columns of its table."""
        return mix(hash_ragged(self.kept.lines), self.header_keys)

    @cached_property
    def header_keys(self) -> Keys:
        """(N,) of the kind and the columns of each row's table."""
        found = np.zeros(len(self), dtype=np.uint64)
        for table, rows in self._tables:
            found[rows] = np.uint64(hash((table.kind, *(name.casefold() for name in table.columns))) & (2**63 - 1))
        return found

    @cached_property
    def content_keys(self) -> Keys:
        """(N,) of all cells but the image's id, whatever the order of the columns; empty cells count for nothing."""
        total = np.zeros(len(self), dtype=np.uint64)
        for block, rows in self._blocks:
            for place, name in enumerate(block.columns):
                cells = block.cells_at(place)
                if name.casefold() != IMAGE_ID:
                    factor = np.uint64(hash(name.casefold()) & (2**63 - 1) | 1)
                    hashes = hash_cells(cells.buffer, cells.starts, cells.stops) * factor
                    total[rows] += np.where(cells.lengths > 0, hashes, np.uint64(0))
        return total

    def text_keys(self, columns: Sequence[str]) -> Keys:
        """(N,) of the texts of some columns."""
        return mix(*(hash_ragged(self.cells(column)) for column in columns))

    def number_keys(self, columns: Sequence[str]) -> Keys:
        """(N,) of the numbers of some columns, however they are written."""
        return mix(*(decode_numbers(Cells.of(self.cells(column))).values for column in columns))


def _any(_: KeptTable) -> bool:
    return True


def hash_ragged(column: Ragged) -> Keys:
    """(N,)"""
    cells = Cells.of(column)
    return hash_cells(cells.buffer, cells.starts, cells.stops)


def equal_rows(one: Ragged, two: Ragged) -> Mask:
    """(N,) whether two columns of bytes hold the same, row by row."""
    left, right = Cells.of(one), Cells.of(two)
    return equal_cells(left.buffer, left.starts, left.stops, right.buffer, right.starts, right.stops)
