"""Kept lines on their way out: as they came where nothing changed, else as cells of which some are replaced.

    places of a batch ─┬─ unedited, all cells in order, same header → the line itself       ─┬─ records, in task order
                       └─ everything else                           → cells → new record    ─┘

A record is a CSV row without its line end. Most of an export is lines that nobody touched: they are split to be
checked, never to be joined again; where their import has noted that all lines of the table pass (`Extras.plain`), they
are not even split.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.annotations import Kept
from app.columns import Cells, CSVBlock, Ragged, Texts, decode_texts, join_records, split_lines
from app.formats.open_images.layout import CLICK_COLUMNS, COLUMNS, LABEL_COLUMNS, Kind
from app.formats.open_images.plan import Plan, tables_of

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Columns = dict[str, Ragged]

SIDE = "\0side"
"""A column of cells that is not written into the table: the side file's entry of each row, empty where it needs none.
Rows that need one are made from cells, so the kept lines have none."""
_LABEL_COLUMNS = {"LabelName", *(name for names in LABEL_COLUMNS.values() for name in names)}
EXPANDED = ("boxes", "tags", "machine")
UNKNOWN = "-1"
_UNKNOWN_COLUMNS = frozenset(name.casefold() for name in CLICK_COLUMNS)
"""Columns whose empty cell is written as unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Rows of one table on their way out: the frame of each, its record, and its entry in the side file.

    `entries` is None where no row has one.
    """

    frames: Codes
    records: Ragged
    entries: Ragged | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: Rows | Mask) -> TableRows:
        places: Rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        entries = None if self.entries is None else pick(self.entries, places)
        return TableRows(self.frames[places], pick(self.records, places), entries)

    @staticmethod
    def concatenate(parts: Sequence[TableRows]) -> TableRows:
        if len(parts) == 1:
            return parts[0]
        entries = None
        if any(part.entries is not None for part in parts):
            columns = [Ragged.empty(np.uint8, len(p)) if p.entries is None else p.entries for p in parts]
            entries = Ragged.concatenate(columns)
        return TableRows(
            np.concatenate([part.frames for part in parts]),
            Ragged.concatenate([part.records for part in parts]),
            entries,
        )


@dataclass(frozen=True, slots=True, eq=False)
class KeptLines:
    """Lines that may be written as they came: `places` (N,) ascending in the batch, and `records`."""

    places: Rows
    records: Ragged

    def others(self, chosen: Rows) -> Rows:
        """The chosen places (ascending) that have no line here."""
        if len(self.places) == len(chosen):
            return chosen[:0]
        return np.setdiff1d(chosen, self.places, assume_unique=True)


def pick(column: Ragged, rows: Rows) -> Ragged:
    """Rows of a byte column; all of them in order are the column itself."""
    if len(rows) == len(column) and np.array_equal(rows, np.arange(len(column), dtype=np.int64)):
        return column
    return column.take(rows)


def is_kind(plan: Plan, kept: Kept, *kinds: str) -> Mask:
    """(N,) bool: the row was imported from a table of such a kind."""
    result = np.zeros(len(kept), dtype=np.bool_)
    for set_id, number, rows in tables_of(kept):
        if plan.table(set_id, number).kind in kinds:
            result[rows] = True
    return result


def header_columns(plan: Plan, kinds: Sequence[Kind], subset: str | None) -> tuple[str, ...]:
    """The canonical columns (of boxes with the clicks that a kept table has), then every further one that a
    kept table of the subset has, in its first spelling."""
    known = {name.casefold(): name for name in COLUMNS[kinds[0]]}
    if plan.options.expand != "none" and kinds[0] in EXPANDED:
        return tuple(known.values())  # the tools that want such tables count their columns
    found = [name for kind in kinds for table in plan.tables_of(kind, subset) for name in table.columns]
    if kinds[0] == "boxes":
        folded = {name.casefold() for name in found}
        known |= {name.casefold(): name for name in CLICK_COLUMNS if name.casefold() in folded}
    for name in found:
        known.setdefault(name.casefold(), name)
    return tuple(known.values())


def header_texts(plan: Plan, kinds: Sequence[Kind], subset: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """The header as it is written: a column that every imported table calls by another name keeps that one."""
    tables = [table for kind in kinds for table in plan.tables_of(kind, subset) if table.columns]
    if plan.layout.one_table or not tables or not all(table.spelling for table in tables):
        return tuple(columns)
    spelled = dict(zip(tables[0].columns, tables[0].spelling, strict=True))
    return tuple(spelled.get(name, name) for name in columns)


def kept_lines(
    plan: Plan,
    kept: Kept,
    frames: Codes,
    candidates: Rows,
    kinds: Collection[str],
    columns: Sequence[str],
    is_plain: Callable[[CSVBlock, Rows], Mask],
    *,
    may_trust: bool = True,
) -> KeptLines:
    """The unedited rows among `candidates` (places, ascending) whose line can be written as it came.

    Args:
        frames: (N,) of the batch.
        columns: of the table that is written; only lines of tables with the same header fit.
        is_plain: told the cells of rows and their places, says which can be read by everybody as they are.
        may_trust: lines of which an import noted that they are plain need not be looked into.
    """
    wanted = tuple(name.casefold() for name in columns)
    parts: list[tuple[Rows, Ragged]] = []
    if plan.options.label_ids == "name" and _LABEL_COLUMNS & set(columns):
        candidates = candidates[:0]  # every row has another LabelName
    untouched = candidates[kept.edits[candidates] == 0]
    for set_id, number, rows in tables_of(kept, untouched):
        table = plan.table(set_id, number)
        if table.kind not in kinds or tuple(name.casefold() for name in table.columns) != wanted:
            continue
        lines = pick(kept.lines, rows)
        if may_trust and plan.has_plain_lines(set_id, number, frames[rows]):
            parts.append((rows, lines))
            continue
        block = split_lines(lines, table.columns)
        foreign = plan.foreign_ids(block.cells("ImageID"), frames[rows], exact="masks" in kinds)
        foreign |= _has_foreign_name(plan, set_id, block)
        good = ~foreign & is_plain(block, rows)
        parts.append((rows[good], lines if good.all() else pick(lines, np.flatnonzero(good))))
    if not parts:
        return KeptLines(np.zeros(0, dtype=np.int64), Ragged.empty(np.uint8))
    if len(parts) == 1:
        return KeptLines(*parts[0])
    places = np.concatenate([part[0] for part in parts])
    order = np.argsort(places)
    return KeptLines(places[order], pick(Ragged.concatenate([part[1] for part in parts]), order))


def table_rows(frames: Codes, chosen: Rows, kept: KeptLines, cells: Columns, columns: Sequence[str]) -> TableRows:
    """The chosen rows of a batch (places, ascending): kept lines as they are, the others from their cells.

    Args:
        frames: (N,) of the batch.
        cells: of `kept.others(chosen)`, by column.
    """
    n_made = len(chosen) - len(kept.places)
    if not n_made:
        return TableRows(frames[chosen], kept.records)
    records = join_records([cells[name] for name in columns], n_made)
    if n_made == len(chosen):
        return TableRows(frames[chosen], records, cells.get(SIDE))
    rest = kept.others(chosen)
    both = [
        TableRows(frames[kept.places], kept.records),
        TableRows(frames[rest], records, cells.get(SIDE)),
    ]
    return TableRows.concatenate(both).take(np.argsort(np.concatenate([kept.places, rest])))


def kept_columns(plan: Plan, kept: Kept, columns: Sequence[str]) -> Columns:
    """The kept cells of N rows by output column; a blank cell where the row or its table has none. Labels have the
    name that they have in this export (`Plan.foreign_names`)."""
    n = len(kept)
    tables = [(set_id, plan.table(set_id, number), rows) for set_id, number, rows in tables_of(kept)]
    if not tables:
        return {name: _blank(name, 1).take(np.zeros(n, dtype=np.int64)) for name in columns}
    order = np.concatenate([rows for _, _, rows in tables])
    back = np.full(n, len(order), dtype=np.int64)  # rows never imported read the blank cell at the end
    back[order] = np.arange(len(order), dtype=np.int64)
    blocks = [(set_id, split_lines(pick(kept.lines, rows), table.columns)) for set_id, table, rows in tables]
    return {
        name: pick(
            Ragged.concatenate(
                [
                    *(_cells(plan, set_id, block, name) for set_id, block in blocks),
                    _blank(name, 1),
                ]
            ),
            back,
        )
        for name in columns
    }


def _cells(plan: Plan, set_id: int, block: CSVBlock, name: str) -> Ragged:
    if not block.has(name):
        return _blank(name, len(block))
    column, instead = block.cells(name).ragged(), plan.foreign_names.get(set_id)
    if not instead or name not in _LABEL_COLUMNS:
        return column
    texts = decode_texts(Cells.of(column))
    if not instead.keys() & set(texts.values):
        return column
    names = Ragged.from_bytes([instead.get(text, text).encode() for text in texts.values])
    return pick(names, texts.codes.astype(np.int64))


def _has_foreign_name(plan: Plan, set_id: int, block: CSVBlock) -> Mask:
    """(N,) bool: rows of a set that name a label as another one is called in this export."""
    found = np.zeros(len(block), dtype=np.bool_)
    instead = plan.foreign_names.get(set_id)
    for name in _LABEL_COLUMNS if instead else ():
        if instead and block.has(name):
            texts = decode_texts(block.cells(name))
            found |= np.array([text in instead for text in texts.values], dtype=np.bool_)[texts.codes]
    return found


def _blank(name: str, rows: int) -> Ragged:
    return Ragged.from_bytes([blank_cell(name)] * rows)


def blank_cell(name: str) -> bytes:
    """What a column says of a row that says nothing."""
    return UNKNOWN.encode() if name.casefold() in _UNKNOWN_COLUMNS else b""


def only_kept(kept: Kept, chosen: Mask) -> Kept:
    """What was kept of the chosen rows; the others as if they had never been imported."""
    places = np.where(chosen, np.arange(len(kept), dtype=np.int64), len(kept))
    return Kept.concatenate([kept, Kept.empty(1)]).take(places)


def put(column: Ragged, rows: Rows | Mask, texts: Ragged | Texts | bytes) -> Ragged:
    """The column with other texts at `rows`: one each, or the same bytes for all."""
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    if not len(rows):
        return column
    choice = np.arange(len(column), dtype=np.int64)
    if isinstance(texts, bytes):
        choice[rows] = len(column)
        return pick(Ragged.concatenate([column, Ragged.from_bytes([texts])]), choice)
    choice[rows] = len(column) + np.arange(len(rows), dtype=np.int64)
    return pick(Ragged.concatenate([column, texts if isinstance(texts, Ragged) else spread(texts)]), choice)


def spread(texts: Texts) -> Ragged:
    """Texts as a column of bytes."""
    return pick(Ragged.from_bytes([value.encode("utf-8") for value in texts.values]), texts.codes.astype(np.int64))


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
    """Two passes of ascending frames as one; within a frame the shown rows come first, wherever the passes are cut."""
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
        due = int(np.searchsorted(pending.frames, last, side="left"))  # the next part may begin with that frame, too
        both = TableRows.concatenate([part, pending.take(np.arange(due))])
        yield both.take(np.argsort(both.frames, kind="stable"))
        waiting = [pending.take(np.arange(due, len(pending)))] if due < len(pending) else []
    yield from (part for part in waiting if len(part))
    if following is not None and len(following):
        yield following
    yield from (part for part in rest if len(part))
