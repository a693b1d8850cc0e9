"""Kept lines as cells again, and cells with some rows replaced: the shared steps of every table's writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.annotations import Kept
from app.columns import Ragged, Texts, split_lines
from app.formats.open_images.names import clean_subset
from app.formats.open_images.plan import Plan

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Columns = dict[str, Ragged]


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Rows of one table on their way out: the frame of each, and its cells by column, unquoted."""

    frames: Codes
    columns: Columns

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: Rows | Mask) -> TableRows:
        places: Rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        return TableRows(self.frames[places], {name: column.take(places) for name, column in self.columns.items()})

    @staticmethod
    def concatenate(parts: Sequence[TableRows]) -> TableRows:
        if len(parts) == 1:
            return parts[0]
        return TableRows(
            np.concatenate([part.frames for part in parts]),
            {name: Ragged.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        )


def is_kind(plan: Plan, kept: Kept, kind: str) -> Mask:
    """(N,) bool: the row was imported from a table of this kind."""
    result = np.zeros(len(kept), dtype=np.bool_)
    for set_id, number, rows in _tables_of(kept):
        result[rows] = plan.table(set_id, number).kind == kind
    return result


def _tables_of(kept: Kept) -> Iterator[tuple[int, int, Rows]]:
    """Each table that rows came from: set, number, rows in order."""
    imported = np.flatnonzero(kept.tables >= 0)
    if not len(imported):
        return
    keys = np.stack([kept.sets[imported], kept.tables[imported].astype(np.int64)], axis=1)
    tables, inverse = np.unique(keys, axis=0, return_inverse=True)
    for place, (set_id, number) in enumerate(tables.tolist()):
        yield set_id, number, imported[inverse.reshape(-1) == place]


def header_columns(plan: Plan, kind: str, canonical: Sequence[str], subset: str | None = None) -> tuple[str, ...]:
    """The canonical columns, then every further column that a kept table of this kind has, in its first spelling.

    Args:
        subset: of the file that is written; tables whose name tells another one have no row in it. Not for image
            lists, whose rows may tell another subset than their table.
    """
    known = {name.casefold(): name for name in canonical}
    for extras in plan.extras.values():
        for table in extras.tables:
            here = subset is None or table.subset is None or clean_subset(table.subset) == subset
            if table.kind == kind and here:
                for name in table.columns:
                    known.setdefault(name.casefold(), name)
    return tuple(known.values())


def kept_columns(plan: Plan, kept: Kept, columns: Sequence[str]) -> Columns:
    """The kept cells of N rows by output column; empty where the row or its table has none."""
    n = len(kept)
    tables = list(_tables_of(kept))
    if not tables:
        return {name: Ragged.empty(np.uint8, n) for name in columns}
    order = np.concatenate([rows for _, _, rows in tables])
    back = np.full(n, len(order), dtype=np.int64)  # rows never imported read the empty cell at the end
    back[order] = np.arange(len(order), dtype=np.int64)
    blocks = [split_lines(kept.lines.take(rows), plan.table(set_id, number).columns) for set_id, number, rows in tables]
    blank = Ragged.empty(np.uint8, 1)
    return {
        name: Ragged.concatenate([*(block.cells(name).ragged() for block in blocks), blank]).take(back)
        for name in columns
    }


def put(column: Ragged, rows: Rows | Mask, texts: Ragged | Texts | bytes) -> Ragged:
    """The column with other texts at `rows`: one each, or the same bytes for all."""
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    if not len(rows):
        return column
    choice = np.arange(len(column), dtype=np.int64)
    if isinstance(texts, bytes):
        choice[rows] = len(column)
        return Ragged.concatenate([column, Ragged.from_bytes([texts])]).take(choice)
    choice[rows] = len(column) + np.arange(len(rows), dtype=np.int64)
    return Ragged.concatenate([column, texts if isinstance(texts, Ragged) else spread(texts)]).take(choice)


def spread(texts: Texts) -> Ragged:
    """Texts as a column of bytes."""
    return Ragged.from_bytes([value.encode("utf-8") for value in texts.values]).take(texts.codes)


def map_texts(codes: Rows, texts: Texts, change: Callable[[int, str], str]) -> Texts:
    """`change(code, text)` of every row, worked out once for each distinct pair."""
    if not len(codes):
        return Texts(np.zeros(0, dtype=np.int32), ())
    keys = codes * max(len(texts.values), 1) + texts.codes
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    known: dict[str, int] = {}
    results = [known.setdefault(change(int(codes[row]), texts.row(row)), len(known)) for row in first.tolist()]
    return Texts(np.array(results, dtype=np.int32)[inverse], tuple(known))


def merge_by_frame(shown: Iterable[TableRows], hidden: Iterable[TableRows]) -> Iterator[TableRows]:
    """Two passes of ascending frames as one; within a frame the shown rows come first."""
    waiting: list[TableRows] = []
    rest = iter(hidden)
    following = next(rest, None)
    for part in shown:
        if not len(part):
            continue
        last = int(part.frames[-1])
        while following is not None and (not len(following) or int(following.frames[0]) <= last):
            waiting.append(following)
            following = next(rest, None)
        if not waiting:
            yield part
            continue
        pending = TableRows.concatenate(waiting)
        due = pending.frames <= last
        both = TableRows.concatenate([part, pending.take(due)])
        yield both.take(np.argsort(both.frames, kind="stable"))
        waiting = [pending.take(~due)] if not due.all() else []
    yield from (part for part in waiting if len(part))
    if following is not None and len(following):
        yield following
    yield from (part for part in rest if len(part))
