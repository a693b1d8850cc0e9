"""CSV by arrays (signatures first; being written)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.columns.cells import Bytes, Cells, Positions
from app.columns.ragged import Ragged
from app.errors import Report

MAX_FIELD_BYTES = 16 << 20
MAX_COLUMNS = 256


@dataclass(frozen=True, slots=True, eq=False)
class CSVBlock:
    """N good records of a table.

    Attributes:
        rows: (N,) int64, the physical line where each record starts, the file's first line = 1.
        columns: column names, in file order (may be () for a table without header).
        n_seen: records read for this block, dropped ones among them; blank lines are none.
    """

    rows: Positions
    columns: tuple[str, ...]
    n_seen: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lines(self) -> Ragged:
        """Ragged of uint8, N rows: each record verbatim, quotes and all, without its line end. Copies."""
        raise NotImplementedError

    def has(self, column: str) -> bool:
        raise NotImplementedError

    def cells(self, column: str) -> Cells:
        """The cells of a column by name (any case), unquoted; empty cells where the table has no such column."""
        raise NotImplementedError

    def cells_at(self, index: int) -> Cells:
        """The cells of a column by place; empty cells where a row is shorter (ragged tables)."""
        raise NotImplementedError

    @property
    def field_counts(self) -> Positions:
        """(N,) int64: fields of each row; differs between rows only in a ragged table."""
        raise NotImplementedError


class CSVReader:
    """A CSV file as blocks of columns; memory follows the block, not the file.

    The header is read on construction. Problems go to the report; rows with a problem are left out of the blocks.
    """

    header: tuple[str, ...]
    """Column names as written, trimmed; () for an empty file (or `columns` of a table without header)."""
    header_row: int
    """Physical line of the header, normally 1."""
    usable: bool
    """False when the header was refused; then there are no blocks."""

    def __init__(
        self,
        blocks: Iterable[bytes],
        report: Report,
        file: str,
        *,
        known: Collection[str] = (),
        required: Collection[str] = (),
        columns: Sequence[str] | None = None,
        ragged: bool = False,
        max_field_bytes: int = MAX_FIELD_BYTES,
        max_columns: int = MAX_COLUMNS,
        block_bytes: int = 1 << 20,
    ) -> None:
        """Read the header.

        Args:
            blocks: the file's bytes in blocks of any size (such as `Archive.blocks`).
            report: takes every problem, with `file` as its file.
            known: column names of which the header must hold at least one; () takes any header.
            required: names that must be there; others are optional and read as empty cells.
            columns: names for a table WITHOUT header (may be empty: then only `cells_at`); None = first row is header.
            ragged: rows may be shorter or longer than the header.
        """
        raise NotImplementedError

    def has(self, column: str) -> bool:
        """Whether the header has this column, in any case."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[CSVBlock]:
        raise NotImplementedError


def split_lines(lines: Ragged, columns: Sequence[str]) -> CSVBlock:
    """Records kept as `CSVBlock.lines`, as cells again; `rows` counts from 1. Raises Damaged on a line that is no record."""
    raise NotImplementedError
