"""Stores for tests, in both shapes: SQLite with a folder, PostgreSQL with a bucket (`tests/engines.py`)."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.annotations import Annotations, Kept, Shapes, Tags, Tracks
from app.columns import Ragged, Texts
from app.storage import (
    AttributeDraft,
    Connection,
    FrameColumns,
    FramePlaces,
    LabelDraft,
    Storage,
    Task,
    TaskData,
    User,
    migrations,
    open_storage,
    tasks,
    users,
)
from app.storage.schema import facts, metadata
from tests import engines

ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Place:
    """Where a store is: the two URLs ("" is the folder's own) and the folder."""

    database_url: str
    blob_url: str
    folder: Path

    def open(self, **more: Any) -> Storage:
        return open_storage(
            self.database_url, self.blob_url, self.folder, **{"min_free_bytes": 0, "pool_size": 12, **more}
        )


@contextmanager
def place_of(engine: str, folder: Path) -> Iterator[Place]:
    """A place with an empty store of that engine; PostgreSQL comes with a bucket."""
    if engine == "sqlite":
        lay_database(folder)
        yield Place("", "", folder)
        return
    made = engines.bucket()
    with prepared_database(with_users=False) as url:
        yield Place(url, made.place(), folder)


@functools.cache
def _new_file(with_users: bool) -> bytes:
    """The file of a new SQLite database, as `open_storage` makes it, with our tables (and the users)."""
    with TemporaryDirectory() as folder:
        opened = open_storage("", "", Path(folder), min_free_bytes=0, pool_size=2)
        with opened.database.write() as conn:
            if with_users:
                _add_users(conn)
            conn.execute(facts.delete())  # it belongs to no folder of blobs yet
        opened.close()
        assert not list(Path(folder).glob("*-wal")), "the log is in the file"
        return opened.database.path.read_bytes()


def lay_database(folder: Path, *, with_users: bool = False) -> None:
    """Put a new SQLite database where `open_storage` looks for it in this folder, if there is none: walking the
    schema's steps takes a hundred times as long, and most of the time of a test that only needs a store."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "annoport.sqlite3"
    if not file.exists():
        file.write_bytes(_new_file(with_users))


_free: dict[bool, list[str]] = {True: [], False: []}  # databases with our tables (and users) that no test uses


@functools.cache
def _engine(url: str) -> sa.Engine:
    """Keeps no connection."""
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)


@functools.cache
def _emptying() -> sa.TextClause:
    """One script, sent at once. The queue's table is there once a queue was opened."""
    tables = "".join(f"DELETE FROM {table.name}; " for table in reversed(metadata.sorted_tables))
    queue = "IF to_regclass('huey_task') IS NOT NULL THEN DELETE FROM huey_task; END IF; "
    numbers = "PERFORM setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences; "
    return sa.text(f"DO $$ BEGIN {tables}{queue}{numbers}END $$")


def _clear(url: str, *, with_users: bool) -> bool:
    """Bring a used database back to our tables (and users) alone; a hundredth of the time of making one. Returns
    whether that worked: a test may have changed the tables themselves."""
    try:
        with _engine(url).begin() as conn:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            conn.execute(sa.text(f"{others} AND pid <> pg_backend_pid()"))
            if conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() != migrations.HEAD:
                return False
            conn.execute(_emptying())
            if with_users:
                _add_users(conn)
        return True
    except sa.exc.DBAPIError:
        return False


@contextmanager
def prepared_database(*, with_users: bool = True) -> Iterator[str]:
    """The URL of a PostgreSQL database with our tables (and the users); kept for the next test."""
    if _free[with_users]:
        url = _free[with_users].pop()
    else:
        held = ExitStack()
        url = held.enter_context(engines.new_database())
        atexit.register(held.close)  # before the server ends, which was asked for first
        with TemporaryDirectory() as folder:
            opened = open_storage(url, "", Path(folder), min_free_bytes=0, pool_size=2)
            with opened.database.write() as conn:
                if with_users:
                    _add_users(conn)
                conn.execute(facts.delete())  # it belongs to no bucket yet
            opened.close()
    yield url
    if _clear(url, with_users=with_users):
        _free[with_users].append(url)


def _add_users(conn: Connection) -> None:
    users.create(conn, "admin", None, is_admin=True)
    users.create(conn, "ann", None)
    users.create(conn, "bob", None)


@contextmanager
def prepared_place(engine: str, folder: Path) -> Iterator[Place]:
    """The same with our tables and the users admin (an admin), ann and bob, none of whom has a password."""
    if engine == "sqlite":
        lay_database(folder, with_users=True)
        yield Place("", "", folder)
        return
    made = engines.bucket()
    with prepared_database() as url:
        yield Place(url, made.place(), folder)


@contextmanager
def open_store(engine: str, folder: Path) -> Iterator[Storage]:
    """An open store at such a place."""
    with prepared_place(engine, folder) as place:
        storage = place.open()
        try:
            yield storage
        finally:
            storage.close()


def user(storage: Storage, name: str) -> User:
    with storage.database.read() as conn:
        found = users.find(conn, name)
    assert found is not None
    return found


def frame_columns(size: int) -> FrameColumns:
    numbers = np.arange(size, dtype=np.int64)
    return FrameColumns(
        names=Ragged.from_bytes([f"d/{number:06}.png".encode() for number in range(size)]),
        widths=(numbers % 100 + 1).astype(np.int32),
        heights=(numbers % 77 + 1).astype(np.int32),
        places=FramePlaces(
            packs=np.zeros(size, dtype=np.int32),
            offsets=numbers * 1000,
            stored_sizes=numbers + 10,
            sizes=numbers + 20,
            methods=np.zeros(size, dtype=np.uint8),
            crcs=np.full(size, -1, dtype=np.int64),
            orientations=np.ones(size, dtype=np.uint8),
        ),
    )


LABELS = (
    LabelDraft("car", attributes=(AttributeDraft("side", input_type="select", values=("left", "right")),)),
    LabelDraft("dog"),
)


def make_task(
    storage: Storage, size: int = 0, jobs: tuple[tuple[int, int], ...] | None = None, owner: str = "ann"
) -> Task:
    """A task of the owner with the labels car and dog; with `size` frames it has data."""
    with storage.database.write() as conn:
        found = users.find(conn, owner)
        assert found is not None
        task = tasks.create(conn, found, "t", LABELS)
        if size:
            data = TaskData(jobs=jobs or ((0, size),), segment_size=size)
            task = tasks.attach_data(conn, task.id, data, frame_columns(size))
    return task


def shapes(frames: list[int], *, lines: list[bytes] | None = None, **columns: object) -> Shapes:
    """Rectangles on these frames, each of its own place; with `lines` they are rows of an import."""
    rows = len(frames)
    points = np.arange(rows * 4, dtype=np.float64)
    made = Shapes.empty(rows).replace(
        frames=np.array(frames, dtype=np.int32),
        label_ids=np.ones(rows, dtype=np.int32),
        points=Ragged(points, np.arange(rows + 1, dtype=np.int64) * 4),
        kept=kept(lines) if lines is not None else Kept.empty(rows),
    )
    return made.replace(**columns)


def kept(lines: list[bytes]) -> Kept:
    return Kept.empty(len(lines)).replace(tables=np.zeros(len(lines), dtype=np.int32), lines=Ragged.from_bytes(lines))


def tags(frames: list[int], **columns: object) -> Tags:
    rows = len(frames)
    made = Tags.empty(rows).replace(frames=np.array(frames, dtype=np.int32), label_ids=np.ones(rows, dtype=np.int32))
    return made.replace(**columns)


def tracks(frames: list[int]) -> Tracks:
    bodies = [b'{"shapes":[{"frame":%d}],"elements":[]}' % frame for frame in frames]
    return Tracks.empty(len(frames)).replace(
        frames=np.array(frames, dtype=np.int32),
        label_ids=np.full(len(frames), 2, dtype=np.int32),
        bodies=Ragged.from_bytes(bodies),
    )


def attributes(*texts: str) -> Texts:
    return Texts.from_list(texts)


def rows_of(annotations: Annotations) -> dict[str, list[tuple[int, int]]]:
    """(id, frame) of every object, in order."""
    found = {}
    for kind in ("shapes", "tags", "tracks"):
        table = getattr(annotations, kind)
        found[kind] = list(zip(table.ids.tolist(), table.frames.tolist(), strict=True))
    return found
