"""Tables of annotations ↔ rows of blocks. A block is 64 frames of one kind in one set; kinds have a table each.

    (set, kind, block, part) → n_rows, one blob a column

Rows of a part are in ascending frames. An import writes one part per flush. An edit after which a block has the rows it
had writes those of its columns that differ; any other rewrites the block as one part.
64 frames is the best of both engines, measured (performance.md, section 5). Rows without a frame (-1) are in block -1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import Kept, unpack_mask
from app.block_inserts import insertion
from app.blocks import (
    BLOCK_BITS,
    COLD,
    Blocks,
    blocks_of,
    decode_arrays,
    decode_lines,
    decode_ragged,
    decode_texts,
    encode_blocks,
    encoder,
    flat_columns,
    frames_of,
)
from app.columns import LazyRagged, LazyTexts, PackedRagged, Ragged, StoredLines, Texts, distinct
from app.storage.database import Connection
from app.storage.schema import BLOCKS, TABLES_BY_KIND, annotation_sets, block_columns

KINDS = tuple(BLOCKS)
OBJECT_KINDS = ("shapes", "tags", "tracks")  # what has an id
KEYS_A_STATEMENT = 500
COMPARED_BLOCKS = 64  # of one change; for more of them, to compare costs as much as to write

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Rows of one kind and the set that each lies in: `set_ids` (N,) int64."""

    table: Any
    set_ids: Ids

    def __len__(self) -> int:
        return len(self.set_ids)

    def take(self, indices: npt.NDArray[Any]) -> Placed:
        return Placed(self.table.take(indices), self.set_ids[indices])


LATER = {
    "shapes": ("attributes", "points", "runs", "elements"),
    "tags": ("attributes",),
    "images": ("names", "kept_lines"),
}
"""What a reader of many rows often has no need of; by far the largest columns."""


def insert_blocks(conn: Connection, kind: str, rows: Sequence[dict[str, Any]]) -> None:
    """A row holds 64 frames, so statements are few and COPY saves next to nothing: 313 blocks of 7 MB took PostgreSQL
    15 0.133 s by these INSERTs, 0.117 s by COPY; packed by lz4, against 0.239 s by its own method (migration 0003)."""
    if not rows:
        return
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(*insertion(kind, rows))
    else:
        conn.execute(BLOCKS[kind].insert(), rows)


def remove_part(conn: Connection, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Remove these blocks of one flush, if they are there."""
    if rows:
        table, head = BLOCKS[kind], rows[0]
        between = table.c.block.between(head["block"], rows[-1]["block"])
        same = [table.c[name] == head[name] for name in ("task_id", "set_id", "part")]
        conn.execute(table.delete().where(between, *same))


def fetch_blocks(
    conn: Connection,
    kind: str,
    task_id: int,
    columns: Iterable[str],
    *,
    first: int | None = None,
    last: int | None = None,
    blocks: Sequence[int] | None = None,
    set_id: int | None = None,
    part: int | None = None,
    staged_id: int | None = None,
) -> Sequence[Any]:
    """Rows (block, set, n_rows, the columns) of the visible blocks of a task (or those of a set at work), ordered by
    block, set, part. `first` and `last` are inclusive."""
    given = {
        "task": task_id,
        "first": first,
        "last": last,
        "blocks": blocks,
        "set": set_id,
        "part": part,
        "staged": staged_id,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return conn.execute(_block_statement(kind, tuple(columns), frozenset(chosen)), chosen).all()


@lru_cache(maxsize=256)
def _block_statement(kind: str, columns: tuple[str, ...], given: frozenset[str]) -> sa.Select[Any]:
    """Made once, and given its values apart: to put it together anew took longer than to read one block, and so did to
    look up how it compiles, which is remembered of the very same statement only."""
    table, sets = BLOCKS[kind].c, annotation_sets.c
    found = (
        sa.select(table.block, table.set_id, table.n_rows, *(table[name] for name in columns))
        .join(annotation_sets, sets.id == table.set_id)
        .where(
            table.task_id == sa.bindparam("task"),
            sets.id == sa.bindparam("staged") if "staged" in given else sets.state == "visible",
        )
        .order_by(table.block, table.set_id, table.part)
    )
    bounds = {
        "first": table.block >= sa.bindparam("first"),
        "last": table.block <= sa.bindparam("last"),
        "blocks": table.block.in_(sa.bindparam("blocks", expanding=True)),
        "set": table.set_id == sa.bindparam("set"),
        "part": table.part == sa.bindparam("part"),
    }
    return found.where(*(condition for name, condition in bounds.items() if name in given))


def decode_column(
    kind: str,
    name: str,
    blobs: Sequence[bytes],
    counts: Sequence[int],
    *,
    keep_whole: bool = False,
    keep_packed: bool = False,
) -> Any:
    """One stored column of several parts. `keep_whole` as in `decode_ragged`; `keep_packed`: lines are left as they are
    stored until somebody looks."""
    model = _MODELS[kind][name]
    if name in COLD:
        lines = decode_lines(blobs, counts)
        return lines.column() if isinstance(lines, StoredLines) and not keep_packed else lines
    if isinstance(model, Ragged):
        unpack = unpack_mask if name == "runs" else None
        return decode_ragged(blobs, counts, model.dtype, unpack, keep_whole=keep_whole and name == "points")
    if isinstance(model, Texts):
        return decode_texts(blobs, counts)
    return decode_arrays(blobs, counts, model.dtype)


_MODELS = {kind: flat_columns(table.empty()) for kind, table in TABLES_BY_KIND.items()}


@cache
def columns_of(kind: str, *, with_kept: bool = True) -> tuple[str, ...]:
    """The stored columns of a kind; without those of `kept`, which are the larger part, if they are not wanted."""
    return tuple(name for name in block_columns(kind) if with_kept or not name.startswith("kept_"))


def decode_rows(
    kind: str,
    rows: Sequence[Any],
    *,
    with_kept: bool = True,
    later: Mapping[str, Callable[[], Any]] | None = None,
    cut: tuple[int, int] | None = None,
    keep_packed: bool = False,
) -> Placed:
    """The table of the rows that `fetch_blocks` found with the columns `columns_of`, in their order.

    Args:
        later: Ragged and Texts columns that the rows lack, and how to get them when they are looked at.
        cut: only the rows from start to stop, which share nothing with the others; `later` gives as many.
        keep_packed: as in `decode_column`.
    """
    empty = _empty(kind)
    if not rows:
        return Placed(empty, np.empty(0, dtype=np.int64))
    _blocks, set_ids, counts, *blobs = zip(*rows, strict=True)
    row_sets = np.repeat(np.array(set_ids, dtype=np.int64), counts)
    later = later or {}
    names = [name for name in columns_of(kind, with_kept=with_kept) if name not in later]
    decoded = {
        name: decode_column(kind, name, column, counts, keep_packed=keep_packed)
        for name, column in zip(names, blobs, strict=True)
    }
    if cut is not None:
        row_sets = row_sets[slice(*cut)]
        decoded = {name: cut_column(column, *cut) for name, column in decoded.items()}
    for name, load in later.items():
        model = _MODELS[kind][name]
        is_ragged = isinstance(model, Ragged)
        decoded[name] = LazyRagged(load, len(row_sets), model.dtype) if is_ragged else LazyTexts(load, len(row_sets))
    kept = {name.removeprefix("kept_"): decoded.pop(name) for name in list(decoded) if name.startswith("kept_")}
    if kept:
        sets = np.where(kept["tables"] >= 0, row_sets, 0)
        decoded["kept"] = Kept(**kept, sets=sets)
    elif hasattr(empty, "kept"):
        decoded["kept"] = Kept.empty(len(row_sets))
    return Placed(type(empty)(**decoded), row_sets)


def cut_column(column: Any, start: int, stop: int) -> Any:
    """Rows start to stop of an array, Ragged or Texts, which hold nothing of the other rows."""
    if isinstance(column, np.ndarray):
        return column[start:stop].copy()
    if isinstance(column, Texts):
        some = column.slice(start, stop)
        return some.compact() if len(some.values) > len(some) else some
    return column.take(np.arange(start, stop, dtype=np.int64))


@cache
def _empty(kind: str) -> Any:
    """Shared, for nobody writes into a table that was given out."""
    return TABLES_BY_KIND[kind].empty()


def in_frame_order(placed: Placed) -> Placed:
    """Ascending frames; rows of one frame stay as they are."""
    frames = frames_of(placed.table)
    if len(frames) and bool((frames[1:] < frames[:-1]).any()):
        return placed.take(np.argsort(frames, kind="stable"))
    return placed


def in_range(placed: Placed, start: int, stop: int) -> Placed:
    """Only the rows of frames start to stop."""
    frames = frames_of(placed.table)
    inside = (frames >= start) & (frames < stop)
    return placed if bool(inside.all()) else placed.take(np.flatnonzero(inside))


def read_blocks(conn: Connection, kind: str, task_id: int, *, lazy: bool = False, **chosen: Any) -> Placed:
    """All columns of the chosen blocks (see `fetch_blocks`), in ascending frames.

    Args:
        lazy: kept lines are read when somebody looks at them, which must be before the blocks are changed.
    """
    names = block_columns(kind)
    later: dict[str, Callable[[], Any]] = {}
    if lazy:
        later = {name: partial(read_column, conn, kind, task_id, name, **chosen) for name in names if name in COLD}
    columns = [name for name in names if name not in later]
    return in_frame_order(decode_rows(kind, fetch_blocks(conn, kind, task_id, columns, **chosen), later=later))


def read_column(
    conn: Connection, kind: str, task_id: int, name: str, *, keep_packed: bool = False, **chosen: Any
) -> Any:
    """One column of some blocks, in the order of `decode_rows`. `keep_packed` as in `decode_column`."""
    rows = fetch_blocks(conn, kind, task_id, (name,), **chosen)
    blobs, counts = [row[-1] for row in rows], [row.n_rows for row in rows]
    return decode_column(kind, name, blobs, counts, keep_whole=True, keep_packed=keep_packed)


def read_block_list(
    conn: Connection, kind: str, task_id: int, blocks: Ids, *, lazy: bool = False, **chosen: Any
) -> Placed:
    """All columns of these blocks, ascending and distinct, in ascending frames. `lazy` as in `read_blocks`, and what is
    chosen among their rows as in `fetch_blocks`."""
    if 0 < len(blocks) == int(blocks[-1]) - int(blocks[0]) + 1:
        return read_blocks(conn, kind, task_id, first=int(blocks[0]), last=int(blocks[-1]), lazy=lazy, **chosen)
    parts = [
        read_blocks(conn, kind, task_id, blocks=blocks[at : at + KEYS_A_STATEMENT].tolist(), lazy=lazy, **chosen)
        for at in range(0, len(blocks), KEYS_A_STATEMENT)
    ]
    return concatenate_placed(parts) if parts else Placed(TABLES_BY_KIND[kind].empty(), np.empty(0, dtype=np.int64))


def concatenate_placed(parts: Sequence[Placed]) -> Placed:
    table = type(parts[0].table).concatenate([part.table for part in parts])
    return Placed(table, np.concatenate([part.set_ids for part in parts]))


def delete_blocks(conn: Connection, kind: str, task_id: int, set_ids: Sequence[int], first: int, last: int) -> set[int]:
    """Remove every block from first to last (inclusive) of these sets. Returns the sets that had one there."""
    table = BLOCKS[kind]
    had: set[int] = set()
    for at in range(0, len(set_ids), KEYS_A_STATEMENT):
        chosen = table.c.set_id.in_(set_ids[at : at + KEYS_A_STATEMENT])
        gone = table.delete().where(table.c.task_id == task_id, table.c.block.between(first, last), chosen)
        had.update(conn.execute(gone.returning(table.c.set_id)).scalars())
    return had


def write_changed(
    conn: Connection,
    kind: str,
    task_id: int,
    after: Placed,
    changed: Sequence[tuple[int, Ids]],
    *,
    before: Placed | None = None,
) -> None:
    """Write the (set, block) pairs named in `changed` anew; `after` holds all of their rows, and may hold others.

    Args:
        changed: (set id, blocks) pairs; a set may occur more than once.
        before: all of their rows as they are stored: where a block still has the very rows it had, only those of its
            columns are written that differ.
    """
    pairs = _by_set(changed)
    if before is not None and sum(map(len, pairs.values())) <= COMPARED_BLOCKS:
        pairs = {
            set_id: np.array(
                [block for block in blocks.tolist() if not _update(conn, kind, task_id, set_id, block, before, after)],
                dtype=np.int64,
            )
            for set_id, blocks in pairs.items()
        }
    # All is encoded first: kept lines may still have to be read from what is removed next.
    put_changed(conn, kind, task_id, _encoded(task_id, after, pairs))


Changed = list[tuple[int, Ids, Blocks]]
"""Of each set the blocks that are written anew, and what is stored for them then."""


def encode_changed(task_id: int, after: Placed, changed: Sequence[tuple[int, Ids]]) -> Changed:
    """What `put_changed` takes to write the (set, block) pairs anew, as `write_changed` does."""
    return _encoded(task_id, after, _by_set(changed))


def put_changed(conn: Connection, kind: str, task_id: int, changed: Changed) -> None:
    """Write blocks anew that are encoded already."""
    for set_id, blocks, _ in changed:
        for at in range(0, len(blocks), KEYS_A_STATEMENT):
            some = blocks[at : at + KEYS_A_STATEMENT].tolist()
            conn.execute(_deleting(kind), {"task": task_id, "set": set_id, "blocks": some})
    for _, _, rows in changed:
        insert_blocks(conn, kind, rows)


def _by_set(changed: Sequence[tuple[int, Ids]]) -> dict[int, Ids]:
    by_set: dict[int, list[Ids]] = {}
    for set_id, parts in changed:
        by_set.setdefault(set_id, []).append(parts)
    return {set_id: distinct(np.concatenate(parts)) for set_id, parts in sorted(by_set.items())}


def _encoded(task_id: int, after: Placed, pairs: Mapping[int, Ids]) -> Changed:
    row_blocks = blocks_of(after.table)
    found: Changed = []
    for set_id, blocks in pairs.items():
        if len(blocks):
            rows = after.table.take(np.flatnonzero((after.set_ids == set_id) & np.isin(row_blocks, blocks)))
            found.append((set_id, blocks, encode_blocks(rows, task_id=task_id, set_id=set_id, part=0)))
    return found


@cache
def _deleting(kind: str) -> sa.Delete:
    table = BLOCKS[kind]
    return table.delete().where(
        table.c.task_id == sa.bindparam("task"),
        table.c.set_id == sa.bindparam("set"),
        table.c.block.in_(sa.bindparam("blocks", expanding=True)),
    )


def write_rows(
    conn: Connection, kind: str, task_id: int, before: Placed, at: npt.NDArray[np.int64], old: Any, new: Any
) -> bool:
    """Write `new` in the place of `old`, the rows `at` of `before`, which holds their blocks whole: only columns that
    differ. Returns whether that could be: rows that move, and blocks in several parts, are to be written by
    `write_changed`, whatever was written here.
    """
    if not (np.array_equal(old.ids, new.ids) and np.array_equal(old.frames, new.frames)):
        return False
    pairs = set(zip(before.set_ids[at].tolist(), (old.frames >> BLOCK_BITS).tolist(), strict=True))
    changed = _changed_columns(old, new)
    if changed is None or len(pairs) > COMPARED_BLOCKS:
        return False
    whole = flat_columns(before.table)
    columns = {name: _scattered(whole[name], at, rows) for name, rows in changed.items()}
    blocks = blocks_of(before.table)
    for set_id, block in sorted(pairs) if columns else ():
        inside = (before.set_ids == set_id) & (blocks == block)
        chosen = columns
        if not bool(inside.all()):
            rows = np.flatnonzero(inside)
            chosen = {
                name: column[rows] if isinstance(column, np.ndarray) else column.take(rows)
                for name, column in columns.items()
            }
        if not _update_columns(conn, kind, task_id, set_id, block, chosen):
            return False
    return True


def _scattered(column: Any, at: npt.NDArray[np.int64], rows: Any) -> Any:
    """The column with other rows at these places."""
    if isinstance(column, np.ndarray):
        copied = column.copy()
        copied[at] = rows
        return copied
    order = np.arange(len(column), dtype=np.int64)
    order[at] = len(column) + np.arange(len(rows), dtype=np.int64)
    return type(column).concatenate([column, rows]).take(order)


def _update(conn: Connection, kind: str, task_id: int, set_id: int, block: int, before: Placed, after: Placed) -> bool:
    """Whether the block has the very rows it had, in one part, and its columns that differ are written."""
    columns = _changed_columns(_rows_of(before, set_id, block), _rows_of(after, set_id, block))
    if not columns:
        return columns is not None
    return _update_columns(conn, kind, task_id, set_id, block, columns)


def _update_columns(
    conn: Connection, kind: str, task_id: int, set_id: int, block: int, columns: Mapping[str, Any]
) -> bool:
    """Write whole columns of one block; returns False where it has several parts."""
    n_rows = len(next(iter(columns.values())))
    values = {f"new_{name}": _whole(encoder(column), n_rows) for name, column in columns.items()}
    which = {"task": task_id, "its_set": set_id, "its_block": block, "n": n_rows}
    # No part of several has all of their rows.
    return conn.execute(_updating(kind, tuple(columns)), {**which, **values}).rowcount == 1


def _whole(found: bytes | Callable[[int, int], bytes], n_rows: int) -> bytes:
    return found if isinstance(found, bytes) else found(0, n_rows)


@lru_cache(maxsize=256)
def _updating(kind: str, names: tuple[str, ...]) -> sa.Update:
    table = BLOCKS[kind]
    return (
        table.update()
        .where(
            table.c.task_id == sa.bindparam("task"),
            table.c.set_id == sa.bindparam("its_set"),
            table.c.block == sa.bindparam("its_block"),
            table.c.n_rows == sa.bindparam("n"),
        )
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )


def _rows_of(placed: Placed, set_id: int, block: int) -> Any:
    chosen = (placed.set_ids == set_id) & (blocks_of(placed.table) == block)
    return placed.table if bool(chosen.all()) else placed.table.take(np.flatnonzero(chosen))


def _changed_columns(old: Any, new: Any) -> dict[str, Any] | None:
    """Columns of the same rows that differ; None where the rows are others. Kept lines follow their rows."""
    if not len(new) or not np.array_equal(old.ids, new.ids):
        return None
    before, after = flat_columns(old), flat_columns(new)
    if "kept_tables" in after and not np.array_equal(before["kept_tables"], after["kept_tables"]):
        return None
    return {name: column for name, column in after.items() if name not in COLD and not _same(before[name], column)}


def _same(old: Any, new: Any) -> bool:
    """Whether two columns are equal, bit by bit."""
    if old is new:
        return True
    if isinstance(new, Texts):
        # Codes of the first part stay what they are when others join it.
        joined = np.array_equal(old.codes, new.codes) and new.values[: len(old.values)] == old.values
        return bool(joined or old.to_list() == new.to_list())
    if isinstance(new, PackedRagged) or isinstance(old, PackedRagged):
        both = isinstance(new, PackedRagged) and isinstance(old, PackedRagged)
        return both and _same(old.packed, new.packed) and _same(old.plain, new.plain)
    if isinstance(new, Ragged):
        return np.array_equal(old.offsets, new.offsets) and _same(old.values, new.values)
    return bool(old.tobytes() == new.tobytes())


def pairs_of(placed: Placed) -> list[tuple[int, Ids]]:
    """The (set, blocks) pairs that these rows lie in."""
    blocks = blocks_of(placed.table)
    return [(int(set_id), distinct(blocks[placed.set_ids == set_id])) for set_id in distinct(placed.set_ids)]


def visible_sets(conn: Connection, task_id: int) -> list[int]:
    chosen = sa.select(annotation_sets.c.id).where(
        annotation_sets.c.task_id == task_id, annotation_sets.c.state == "visible"
    )
    return list(conn.execute(chosen.order_by(annotation_sets.c.id)).scalars())
