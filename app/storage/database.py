"""The database: one value, three contexts; everything that differs between SQLite and PostgreSQL.

SQLite: write-ahead log with full sync, so a commit survives power loss. A write begins with BEGIN IMMEDIATE: the
driver's own way of beginning lost 371 of 600 concurrent updates without an error, and a plain BEGIN failed at once
with "database is locked" (stack.md, section 4). Writers of one process wait for each other in a queue of our own,
which is fair and wakes at once, where SQLite's busy handler sleeps and tries again. Readers have connections of their
own that refuse to write.
PostgreSQL: READ COMMITTED, lock_timeout 5 s; who reads a row in order to change it takes `with_for_update()`. Who
needs several takes requests first, then tasks by ascending id, then projects by ascending id, then the mark of labels:
nobody waits in a circle.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.block_inserts import LOCK_TIMEOUT_SECONDS, PAGE_BYTES, WRITE_CACHE_KIB, set_up
from app.errors import FULL_DISK, AppError, Busy, Conflict, Damaged, NoSpace, Unreachable

Connection = sa.Connection

WAL_PAUSE_SECONDS = 0.02
PING_SECONDS = 5
READ_CACHE_KIB = 4096  # of each connection
KEPT_FREE_BYTES = 64 << 20
SHRINKING_BYTES, SHRINKING_STEPS = 4 << 20, 64  # of one transaction, others wait no longer; and of one round
MIN_SQLITE = (3, 35)  # RETURNING
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse.sshfs", "glusterfs"}
)

# Primary result codes of SQLite (sqlite.org/rescode.html); the low byte of the extended code.
SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_NOTADB = (
    5,
    6,
    10,
    11,
    13,
    14,
    26,
)

DISK_TROUBLE = (SQLITE_IOERR, SQLITE_CANTOPEN)


class Database:
    """SQLite or PostgreSQL behind SQLAlchemy Core.

    read      a read transaction (SQLite: one snapshot)
    snapshot  a read transaction that sees one state on both engines, for exports
    write     a write transaction (SQLite: BEGIN IMMEDIATE), committed at the end of the block, undone by an exception

    Do not open one `write` inside another. All of them raise Busy when the database stays locked for 5 s, NoSpace when
    the disk is full, Damaged when the file cannot be read.
    """

    def __init__(self, url: str, *, pool_size: int = 48) -> None:
        """Raises AppError for a URL that is none, or of another database."""
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writers = threading.Lock()
        if self.is_sqlite:
            path = self.path
            check_file_system(path.parent)
            self.reader = _sqlite_engine(path, pool_size, "BEGIN", read_only=True)
            self.writer = _sqlite_engine(path, 2, "BEGIN IMMEDIATE", read_only=False)
            self.bulk_writer = _sqlite_engine(path, 1, "BEGIN IMMEDIATE", read_only=False, synchronous="NORMAL")
        else:
            self.writer = sa.create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=30,
                pool_pre_ping=True,
                connect_args={"options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c timezone=UTC"},
            )
            self.bulk_writer = self.writer
            self.reader = self.writer.execution_options(postgresql_readonly=True)
            self.snapshots = self.reader.execution_options(isolation_level="REPEATABLE READ")

    @property
    def path(self) -> Path:
        """The file of an SQLite database."""
        return Path(self.url.database or "")

    @property
    def file(self) -> Path | None:
        """The same, None for a server."""
        return self.path if self.is_sqlite else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with translated(self), self.reader.begin() as conn:
            yield conn

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with translated(self), (self.reader if self.is_sqlite else self.snapshots).begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._write(self.writer) as conn:
            yield conn

    @contextmanager
    def bulk_write(self) -> Iterator[Connection]:
        """A write transaction that may be lost by power loss until the next `write` of anybody: for rows that nobody
        sees before a later transaction says so, or that only tell how far work is. That one syncs the log, and with it
        everything written before."""
        with self._write(self.bulk_writer) as conn:
            yield conn

    @contextmanager
    def _write(self, engine: sa.Engine) -> Iterator[Connection]:
        if not self.is_sqlite:
            with translated(self), engine.begin() as conn:
                yield conn
            return
        if not self._writers.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise Busy("the database is busy writing, try again")
        try:
            with translated(self), engine.begin() as conn:
                yield conn
        finally:
            self._writers.release()

    def give_back_space(self, kept_bytes: int = KEPT_FREE_BYTES, steps: int = SHRINKING_STEPS) -> int:
        """Return pages that nothing uses any more to the disk, all but `kept_bytes` for what comes next, in small
        transactions and not many. Returns how many bytes the file is to lose (at the next checkpoint)."""
        if not self.is_sqlite:
            return 0  # its own autovacuum
        page_bytes, n_free = self._free_pages()
        n_before = n_free
        for _ in range(steps):
            n_pages = min(n_free - kept_bytes // page_bytes, SHRINKING_BYTES // page_bytes)
            if n_pages <= 0:
                break
            with self.write() as conn:
                # A script is carried on to its end; of a statement sqlite3 takes one step, and one page.
                conn.connection.cursor().executescript(f"PRAGMA incremental_vacuum({n_pages})")
            n_left = self._free_pages()[1]
            if n_left == n_free:  # a file from before there was this keeps its pages
                break
            n_free = n_left
        return max(n_before - n_free, 0) * page_bytes

    def _free_pages(self) -> tuple[int, int]:
        with self.read() as conn:
            size, count = (
                conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_size", "freelist_count")
            )
        return int(size), int(count)

    def refusal(self) -> str:
        """Why a server that takes connections refuses ours, in its own words, such as a wrong password; "" where it
        takes ours, or does not answer (yet)."""
        if self.is_sqlite:
            return ""
        from psycopg import conninfo, pq

        _, named = self.writer.dialect.create_connect_args(self.url)
        known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
        told = {name: value for name, value in named.items() if name in known}
        server = conninfo.make_conninfo(**{**told, "connect_timeout": PING_SECONDS})
        if pq.PGconn.ping(server.encode()) != pq.Ping.OK:
            return ""
        try:
            with self.writer.connect():
                return ""
        except sa.exc.DBAPIError as error:
            return " ".join(str(error.orig).split())

    def drop_caches(self) -> None:
        """Close connections that nobody uses, whose pages lie scattered over the heap: three of them hold some 9 MiB
        after an import. The next transactions open theirs anew, which takes a millisecond."""
        if self.is_sqlite:
            self.close()

    def close(self) -> None:
        for engine in {self.reader, self.writer, self.bulk_writer}:
            engine.dispose()


def insert_or_not(conn: Connection, table: sa.Table) -> Any:
    """An INSERT that can be told what to do where the row is there already. Of the two engines' own statements only the
    one that is used is loaded: PostgreSQL's brings all its types and drivers along."""
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_into_file

        return insert_into_file(table)
    from sqlalchemy.dialects.postgresql import insert

    return insert(table)


def parse_url(url: str) -> sa.URL:
    """Raises AppError, without the URL, which may hold a password."""
    try:
        made = sa.make_url(url)
        backend = made.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        raise AppError(
            "the database URL cannot be read; it looks like postgresql://USER:PASSWORD@HOST:5432/NAME, with %40 for an "
            "@ in the password (ANNOPORT_DATABASE_URL)"
        ) from None
    if backend not in ("sqlite", "postgresql"):
        raise AppError(f"the database is SQLite or PostgreSQL, and not {backend} (ANNOPORT_DATABASE_URL)")
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


def _sqlite_engine(path: Path, pool_size: int, begin: str, *, read_only: bool, synchronous: str = "FULL") -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=os.fspath(path)),
        poolclass=sa.pool.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
        connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_SECONDS},
    )

    def connect(connection: Any, _record: Any) -> None:
        try:
            prepare(connection)
        except BaseException:
            connection.close()  # nobody else knows of it yet
            raise

    def prepare(connection: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours
        # str.lower knows all letters, SQLite's own lower() only ASCII; PostgreSQL's knows them too.
        connection.create_function(
            "lower", 1, lambda text: text.lower() if isinstance(text, str) else text, deterministic=True
        )
        cursor = connection.cursor()
        # Of a new file alone, and before the log, which writes its first page. SQLite writes the mode whenever it is
        # set, so that whoever only wants to read would wait for who writes, and find the disk full.
        if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
            cursor.execute(f"PRAGMA page_size={PAGE_BYTES}")
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _enter_wal(cursor)
        set_up(cursor, synchronous=synchronous, cache_kib=READ_CACHE_KIB if read_only else WRITE_CACHE_KIB)
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def start(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", connect)
    sa.event.listen(engine, "begin", start)
    return engine


def _enter_wal(cursor: Any) -> None:
    """SQLite waits for no lock where it changes the mode of a new file: several processes may be at it."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(WAL_PAUSE_SECONDS)


@contextmanager
def translated(database: Database) -> Iterator[None]:
    """Turn the engines' errors that are not our mistakes into the house's."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        known = known_error(database, error.orig)
        if known is None:
            raise
        raise known from error
    except sa.exc.TimeoutError as error:  # the pool
        raise Busy("too many database connections are in use, try again") from error


def known_error(database: Database, error: BaseException | None) -> AppError | None:
    """The house's error for one of the driver's, or None where it is a defect."""
    busy = Busy("the database is locked by other work, try again")
    full = NoSpace("there is no space left on the disk of the database")
    if database.is_sqlite:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (SQLITE_BUSY, SQLITE_LOCKED):
            return busy
        if code == SQLITE_FULL or (code in DISK_TROUBLE and _is_full(database.path.parent)):
            return full
        if code in DISK_TROUBLE:
            return Busy(f"the disk of the database cannot be used just now ({error}), try again")
        if code in (SQLITE_CORRUPT, SQLITE_NOTADB):
            return Damaged(f"the database file {database.path.name} is damaged ({error}); restore it from a copy")
        return None
    state = getattr(error, "sqlstate", None) or ""
    if state in ("55P03", "40001", "40P01"):
        return busy
    if state.startswith(("08", "57P")) or type(error).__name__ == "ConnectionTimeout":
        return Unreachable("the database does not answer just now, try again")
    if state == "53100":
        return full
    if state == "23503":  # between the look at a row and the writing of another that refers to it
        return Conflict("what this belongs to was removed meanwhile")
    if state == "" and type(error).__name__ == "OperationalError":  # no connection at all
        return Unreachable("the database cannot be reached, try again")
    return None


def _is_full(folder: Path) -> bool:
    """Whether nothing can be written there: a quota shows only to those who try."""
    try:
        if shutil.disk_usage(folder).free < 1 << 20:
            return True
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(64 << 10))
            probe.flush()
    except OSError as error:
        return error.errno in FULL_DISK
    return False


def check_file_system(folder: Path) -> None:
    """SQLite's log needs shared memory and locks that network file systems do not give.

    Raises:
        Damaged: the folder lies on one.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # not Linux: nothing to ask
    place = os.fspath(folder.resolve()) + "/"
    best, kind = "", ""
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode("latin-1", "replace").decode("unicode_escape")
        if place.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, fields[2]
    if kind in NETWORK_FILE_SYSTEMS:
        raise Damaged(
            f"the data folder lies on a network file system ({kind}), where SQLite is not safe; use a local disk"
        )
