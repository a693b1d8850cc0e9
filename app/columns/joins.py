"""Columns to CSV bytes (signatures first; being written)."""

from __future__ import annotations

from collections.abc import Sequence

from app.columns.ragged import Ragged, Texts

Column = Ragged | Texts | bytes


def join_columns(columns: Sequence[Column], rows: int) -> bytes:
    """CSV rows from columns: comma, LF, quotes only where needed.

    Args:
        columns: each a Ragged of uint8 (N rows), a Texts (N rows), or bytes: the same cell in every row.
        rows: N.
    """
    raise NotImplementedError


def join_lines(lines: Ragged) -> bytes:
    """Whole records (as `CSVBlock.lines`) with LF behind each; they are written as they are."""
    raise NotImplementedError
