"""Stores for tests, on every engine there is: SQLite always, PostgreSQL where `TEST_DATABASE_URL` names a server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from app.annotations import Annotations, Kept, Shapes, Tags, Tracks
from app.columns import Ragged, Texts
from app.storage import (
    AttributeDraft,
    FrameColumns,
    FramePlaces,
    LabelDraft,
    Storage,
    Task,
    TaskData,
    User,
    open_storage,
    tasks,
    users,
)

ENGINES = ("sqlite", "postgresql") if os.environ.get("TEST_DATABASE_URL") else ("sqlite",)


@contextmanager
def database_url(engine: str) -> Iterator[str]:
    """The URL of an empty database of that engine; "" is the data folder's own."""
    if engine == "sqlite":
        yield ""
        return
    server = sa.make_url(os.environ["TEST_DATABASE_URL"]).set(drivername="postgresql+psycopg")
    name = f"test_{secrets.token_hex(8)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as conn:
            conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def open_store(engine: str, folder: Path) -> Iterator[Storage]:
    """An empty store with the users admin (an admin), ann and bob, none of whom has a password."""
    with database_url(engine) as url:
        storage = open_storage(url, "", folder, min_free_bytes=0, pool_size=12)
        try:
            with storage.database.write() as conn:
                users.create(conn, "admin", None, is_admin=True)
                users.create(conn, "ann", None)
                users.create(conn, "bob", None)
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
