"""The two halves of the store in one value."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from app.errors import AppError, Conflict, Damaged, NotFound, NotMigrated, Unreachable
from app.storage import migrations
from app.storage.blobs import Blobs, open_blobs
from app.storage.database import MIN_SQLITE, Database
from app.storage.schema import facts

# The same random name in the database and among the blobs: a database that was lost and made anew would otherwise see
# every blob as an orphan, and housekeeping would remove them all.
STORE_ID_KEY = "store-id"
QUICK_CHECK_BYTES = 256 << 20  # a larger database is not read through at each start


@dataclass(frozen=True)
class Storage:
    """An open store. Safe to share between threads; never carried over a fork."""

    database: Database
    blobs: Blobs

    def close(self) -> None:
        """Give back connections."""
        self.database.close()

    def check_health(self) -> None:
        """Write a row and a blob and take them away again.

        Raises:
            Busy, NoSpace, Damaged: what keeps the store from writing.
            Conflict: the schema is not the one of this version.
        """
        name = f"health-{secrets.token_hex(8)}"
        with self.database.write() as conn:
            if not migrations.is_current(conn):
                raise Conflict("the database is not migrated to this version; run `migrate`")
            conn.execute(facts.insert().values(name=name, value=""))
            conn.execute(facts.delete().where(facts.c.name == name))
        self.blobs.put(name, b"ok")
        self.blobs.delete([name])


def open_storage(
    database_url: str,
    blob_url: str,
    data_dir: Path,
    *,
    min_free_bytes: int = 512 << 20,
    pool_size: int = 48,
    migrate: bool = True,
    may_redirect: bool = True,
    public_endpoint: str = "",
) -> Storage:
    """Open (and, with `migrate`, create or bring up to date) the store.

    Args:
        database_url: `sqlite:///path` or `postgresql://…`; "" is `data_dir/annoport.sqlite3`.
        blob_url: `file:///folder` or `s3://bucket/prefix` (credentials from the environment, as S3 tools have them);
            "" is `data_dir/blobs`.
        data_dir: created with mode 0700 where it is missing.
        min_free_bytes: writes of blobs are refused (NoSpace) below this much free disk.
        pool_size: connections; at least the number of threads that use the store at once.
        may_redirect, public_endpoint: how clients reach a bucket, see `blobs.open_blobs`.

    Raises:
        Damaged: the database cannot be read, or is not the one that the blobs belong to; everything is left as it is.
        Conflict: the database was made by a newer version, or (NotMigrated; without `migrate`) by an older one.
        Unreachable: a server does not answer, or not yet.
        AppError: the data folder cannot be written, a URL is none, or the database's server refuses us.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_writable(data_dir)
    database = Database(
        database_url or f"sqlite:///{(data_dir / 'annoport.sqlite3').absolute()}",
        pool_size=pool_size,
    )
    blobs = open_blobs(
        blob_url or str(data_dir / "blobs"),
        data_dir / "spool",
        min_free_bytes=min_free_bytes,
        may_redirect=may_redirect,
        public_endpoint=public_endpoint,
    )
    try:
        if database.is_sqlite:
            check_sqlite(database)
        store_id = _read_store_id(blobs)
        if migrate:
            with database.read() as conn:
                is_new = not sa.inspect(conn).has_table("facts")
            if is_new and store_id is not None:
                raise Damaged(
                    "the database is missing or empty, but stored files belong to it; restore it from a copy, "
                    "or remove the stored files as well"
                )
            migrations.migrate(database)
        else:
            with database.read() as conn:
                if migrations.is_older(conn):
                    raise NotMigrated("the database is not migrated to this version; run `migrate`")
                if not migrations.is_current(conn):
                    raise Conflict("the database was made by a newer version of this program")
        _agree_on_store_id(database, blobs, store_id)
    except Unreachable as error:
        refusal = database.refusal()
        database.close()
        if refusal:
            raise AppError(f"the database's server refuses the connection: {refusal}") from error
        raise
    except BaseException:
        database.close()
        raise
    return Storage(database, blobs)


def check_writable(data_dir: Path) -> None:
    """Refuse by name what this user may not write to, or what lies on a read-only disk. Raises AppError."""
    for path in (data_dir, *(data_dir / name for name in ("annoport.sqlite3", "blobs", "spool"))):
        is_there = path == data_dir or os.path.exists(path)
        if is_there and not os.access(path, os.W_OK | (os.X_OK if os.path.isdir(path) else 0)):
            raise AppError(
                f"{path.absolute()} cannot be written, and the service keeps its data there; let the user who runs "
                "annoport write to it, or choose another folder (--data-dir, ANNOPORT_DATA_DIR)"
            )


def check_sqlite(database: Database) -> None:
    """Refuse a damaged file before anything is written to it. Raises Damaged."""
    if sa.create_engine("sqlite://").dialect.dbapi.sqlite_version_info < MIN_SQLITE:  # type: ignore[union-attr]
        raise Damaged("this Python's SQLite is too old; 3.35 is needed")
    size = database.path.stat().st_size if database.path.exists() else 0
    with database.read() as conn:
        conn.execute(sa.text("SELECT count(*) FROM sqlite_master"))
        if 0 < size <= QUICK_CHECK_BYTES:
            found = conn.execute(sa.text("PRAGMA quick_check(1)")).scalar_one()
            if found != "ok":
                raise Damaged(f"the database file {database.path.name} is damaged ({found}); restore it from a copy")


def _read_store_id(blobs: Blobs) -> str | None:
    try:
        source = blobs.open_key(STORE_ID_KEY)
    except NotFound:
        return None
    try:
        return source.read_at(0, 64).decode("ascii", "replace")
    finally:
        source.close()


def _agree_on_store_id(database: Database, blobs: Blobs, found: str | None) -> None:
    with database.read() as conn:
        known = conn.execute(sa.select(facts.c.value).where(facts.c.name == STORE_ID_KEY)).scalar()
    if known is None:
        with database.write() as conn:
            known = conn.execute(sa.select(facts.c.value).where(facts.c.name == STORE_ID_KEY)).scalar()
            if known is None:
                known = found or secrets.token_hex(16)
                conn.execute(facts.insert().values(name=STORE_ID_KEY, value=known))
    if found is None:
        blobs.put(STORE_ID_KEY, known.encode("ascii"))
    elif found != known:
        raise Damaged("the stored files belong to another database; check the two URLs")
