"""A whole store from one place to another, from either shape to either: rows, bytes, and the numbers that come next.

    mark → copy bytes (those that are there already stay) → copy and compare rows, one transaction

All or nothing: until the last transaction commits the target has no row, so it is an empty store to everybody. A move
that was cut off is begun again and goes on with the bytes that are missing. The source is only read. Messages of the
queue are not moved: queued requests are announced again by the next sweep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.errors import Conflict, Damaged
from app.storage.database import Connection
from app.storage.housekeeping import TURN
from app.storage.rows import Result
from app.storage.schema import annotation_sets, discarded_blobs, facts, metadata, now, packs, requests, upload_segments
from app.storage.storage import STORE_ID_KEY, Storage

MARK = "moving-from"
ROWS_A_STEP = 64  # a row of a block may hold a megabyte
PIECE_BYTES = 8 << 20
COPIES_AT_ONCE = 4

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """What is in the target now."""

    rows: int
    blobs: int
    bytes: int


def move(source: Storage, target: Storage, tell: Told = lambda text: None) -> Moved:
    """Copy everything into an empty store, and compare.

    Raises:
        Conflict: the target is not empty; work is running in the source.
        Damaged: the source names bytes that are not there; the copy differs.
    """
    with source.database.snapshot() as conn:
        _check_quiet(conn)
        source_id = _fact(conn, STORE_ID_KEY)
        _mark(target, source_id)
        blobs = _named_blobs(conn)
        n_bytes = _copy_blobs(source, target, blobs, tell)
        with target.database.write() as into:
            n_rows = sum(_copy_table(conn, into, table, tell) for table in metadata.sorted_tables)
            _copy_numbers(conn, into)
            for table in metadata.sorted_tables:
                if _digest(conn, table) != _digest(into, table):
                    raise Damaged(f"the copy of table {table.name} differs; nothing was changed in either store")
            into.execute(facts.delete().where(facts.c.name == MARK))
    return Moved(n_rows, len(blobs), n_bytes)


def _check_quiet(conn: Connection) -> None:
    """Somebody at work would write on while we copy."""
    at_work = sa.select(requests.c.id).where(requests.c.status == "started", requests.c.lease_until > now())
    running = conn.execute(at_work.limit(1)).scalar()
    if running is not None:
        raise Conflict(f"request {running} is being worked on; stop the service first, then move")


def _fact(conn: Connection, name: str) -> str | None:
    return conn.execute(sa.select(facts.c.value).where(facts.c.name == name)).scalar()


def _mark(target: Storage, source_id: str | None) -> None:
    """Refuse a store that holds anything but an earlier try of the same move, and say what it is to become."""
    with target.database.write() as conn:
        if _fact(conn, STORE_ID_KEY) == source_id:
            raise Conflict("the source and the target are the same store")
        for table in metadata.sorted_tables:
            if table is not facts and conn.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).scalar():
                raise Conflict(f"the target is not empty: there are {table.name}; move into a new, empty place")
        known = _fact(conn, MARK)
        if known is None:
            if any(key != STORE_ID_KEY for key, _, _ in target.blobs.list()):
                raise Conflict("the target is not empty: its store of bytes holds files; move into a new, empty place")
            conn.execute(facts.insert().values(name=MARK, value=source_id))
        elif known != source_id:
            raise Conflict("the target holds a part of another store, whose move was cut off; use a new, empty place")


def _named_blobs(conn: Connection) -> Mapping[str, Result | None]:
    """The keys that rows name; those of results with what a bucket has to say of them."""
    found: dict[str, Result | None] = {}
    for column in (upload_segments.c.key, packs.c.key, annotation_sets.c.kept_key):
        found |= dict.fromkeys(conn.execute(sa.select(column).where(column.is_not(None))).scalars())
    for row in conn.execute(sa.select(requests).where(requests.c.result_key.is_not(None))):
        found[row.result_key] = Result(row.result_key, row.result_size, row.result_filename, row.result_content_type)
    return found


def _copy_blobs(source: Storage, target: Storage, named: Mapping[str, Result | None], tell: Told) -> int:
    there = {key: size for key, size, _ in source.blobs.list()}
    lost = sorted(named.keys() - there.keys())
    if lost:
        raise Damaged(f"{len(lost)} stored files are gone, the first is {lost[0]}; restore them from a copy")
    done = {key: size for key, size, _ in target.blobs.list()}
    missing = [key for key in sorted(named) if done.get(key) != there[key]]
    tell(f"{len(named)} files, {len(missing)} of them to be copied")

    def copy(key: str) -> None:
        target.blobs.put(key, _pieces(source, key), result=named[key])

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        for _ in pool.map(copy, missing):
            pass
    return sum(there[key] for key in named)


def _pieces(source: Storage, key: str) -> Iterator[bytes]:
    opened = source.blobs.open_key(key)
    try:
        for offset in range(0, opened.size, PIECE_BYTES):
            yield opened.read_at(offset, PIECE_BYTES)
    finally:
        opened.close()


def _rows(conn: Connection, table: sa.Table) -> Iterable[sa.Row[Any]]:
    """All rows in the order of their keys, some at a time; what each store knows of itself is not among them."""
    chosen = sa.select(table).order_by(*table.primary_key)
    if table is facts:
        chosen = chosen.where(facts.c.name.not_in((STORE_ID_KEY, MARK, TURN)))
    if table is discarded_blobs:  # bytes that nobody needs are not moved
        chosen = chosen.where(sa.false())
    return conn.execute(chosen.execution_options(yield_per=ROWS_A_STEP))


def _copy_table(conn: Connection, into: Connection, table: sa.Table, tell: Told) -> int:
    n_rows = 0
    some: list[dict[str, Any]] = []
    for row in _rows(conn, table):
        some.append(dict(row._mapping))
        n_rows += 1
        if len(some) == ROWS_A_STEP:
            into.execute(table.insert(), some)
            some = []
    if some:
        into.execute(table.insert(), some)
    if n_rows:
        tell(f"{table.name}: {n_rows} rows")
    return n_rows


def _digest(conn: Connection, table: sa.Table) -> tuple[int, int]:
    """Number and content of all rows, whatever order the engine's collation gives them."""
    count, total = 0, 0
    for row in _rows(conn, table):
        count += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest()[:16], "big")
    return count, total % (1 << 128)


# Numbers of rows that were deleted are never used again: clients may know them.


def _copy_numbers(conn: Connection, into: Connection) -> None:
    numbers = _last_numbers(conn)
    for table in metadata.sorted_tables:
        last = numbers.get(table.name, 0)
        if last:
            _set_last_number(into, table.name, last)


def _numbered() -> list[sa.Table]:
    """Tables with an id that the engine gives."""
    return [table for table in metadata.sorted_tables if "id" in table.c and table.c.id.autoincrement is True]


def _last_numbers(conn: Connection) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in _numbered():
        found[table.name] = conn.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
    if conn.dialect.name == "sqlite":
        given = conn.execute(sa.text("SELECT name, seq FROM sqlite_sequence")).all()
    else:
        given = conn.execute(
            sa.text(
                "SELECT t.relname, s.last_value FROM pg_sequences s "
                "JOIN pg_class c ON c.relname = s.sequencename AND c.relnamespace = s.schemaname::regnamespace "
                "JOIN pg_depend d ON d.objid = c.oid AND d.deptype IN ('a', 'i') "
                "JOIN pg_class t ON t.oid = d.refobjid WHERE s.last_value IS NOT NULL"
            )
        ).all()
    for name, last in given:
        if name in found:
            found[name] = max(found[name], last)
    return found


def _set_last_number(conn: Connection, table: str, last: int) -> None:
    if conn.dialect.name != "sqlite":
        conn.execute(
            sa.text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)"), {"name": table, "last": last}
        )
        return
    if metadata.tables[table].dialect_options["sqlite"]["autoincrement"]:
        conn.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
        values = {"name": table, "last": last}
        conn.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values)
