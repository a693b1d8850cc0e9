"""Commands that change a whole store, killed at random moments: they are begun again, and all of the store is there."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from app.annotations import Annotations
from app.storage import Connection, Database, Storage, annotations, open_storage
from app.storage.migrations import HEAD, config, current
from app.storage.schema import metadata
from tests.kills.store import check_store
from tests.service import COMMAND, annoport
from tests.storage.stores import make_task, open_store, shapes

N_KILLS = 5
N_SHAPES = 40_000


def run_to_its_end(arguments: list[str], seed: int, check: Callable[[], None]) -> None:
    """The command, killed and begun again, until it ends by itself; `check` looks in between."""
    chance = random.Random(seed)
    began = time.monotonic()
    annoport(*arguments, "--help")  # how long a process takes on this machine to begin
    least = time.monotonic() - began
    n_kills = 0
    while True:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(least * chance.uniform(0.8, 1.6) if n_kills < N_KILLS else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            n_kills += 1
        _, said = process.communicate()
        if process.returncode >= 0:
            assert process.returncode == 0, said.decode()
            return
        check()


def fill(storage: Storage) -> int:
    task = make_task(storage, 200, jobs=((0, 100), (100, 200)))
    frames = [frame for frame in range(200) for _ in range(N_SHAPES // 200)]
    with annotations.begin_set(storage, task.id) as writer:
        writer.write(Annotations(shapes=shapes(frames, lines=[b"a line"] * N_SHAPES)))
        for number in range(4):
            writer.keep(os.urandom(1 << 20) + bytes([number]))
        writer.extras({"a": 1})
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    return task.id


def rows_of(storage: Storage) -> dict[str, str]:
    """All rows of each table, as a digest."""
    with storage.database.read() as conn:
        return {
            table.name: hashlib.sha256(
                repr(sorted(repr(tuple(row)) for row in conn.execute(sa.select(table)))).encode()
            ).hexdigest()
            for table in metadata.sorted_tables
            if table.name not in ("facts", "discarded_blobs")
        }


@contextmanager
def opened(folder: Path) -> Iterator[Storage]:
    """An embedded store."""
    storage = open_storage("", "", folder, min_free_bytes=0)
    try:
        yield storage
    finally:
        storage.close()


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The data folder of a closed store with something in it."""
    folder = tmp_path / "source"
    with open_store("sqlite", folder) as storage:
        fill(storage)
    return folder


def test_a_move_that_is_killed_goes_on(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"

    def check() -> None:
        """The source is as it was, and the target whole or empty."""
        with opened(filled) as source:
            assert rows_of(source) == before
        if (target / "annoport.sqlite3").exists():
            with opened(target) as moved:
                found = rows_of(moved)
                assert found in (before, nothing)

    with opened(filled) as source:
        before = rows_of(source)
    nothing = dict.fromkeys(before, hashlib.sha256(b"[]").hexdigest())
    arguments = ["move", "--data-dir", str(filled), "--to-data-dir", str(target)]
    run_to_its_end(arguments, 1, check)
    with opened(target) as moved:
        assert rows_of(moved) == before
    assert check_store(open_storage("", "", target, min_free_bytes=0)) == []


N_REQUESTS = 30_000


def old_store(folder: Path) -> None:
    """An embedded database as its first version made it, with rows that later steps change."""
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'annoport.sqlite3'}")
    settings = config()
    with database.write() as conn:
        settings.attributes["connection"] = conn
        command.upgrade(settings, "0001")
        user = {"id": 1, "username": "ann", "username_key": "ann", "first_name": "", "last_name": "", "email": "e"}
        insert(conn, "users", [{**user, "is_admin": True, "is_active": True, "created_date": 1}])
        values = {"type": "export:dataset", "target": "task", "options": "{}", "owner_id": 1, "status": "finished"}
        values |= {"message": "m" * 200, "attempt": 1, "releases": 0, "created_date": 1, "queued_date": 1}
        values |= {"fingerprint": "f", "result_etag": "e" * 40, "expiry_date": 1 << 60}
        insert(conn, "requests", [{"id": f"r{number}", **values} for number in range(N_REQUESTS)])
    database.close()


def insert(conn: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    places = ", ".join(f":{name}" for name in names)
    conn.execute(sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"), rows)


def test_a_migration_that_is_killed_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    old_store(folder)

    def check() -> None:
        database = Database(f"sqlite:///{folder / 'annoport.sqlite3'}")
        with database.read() as conn:
            step = current(conn)
            assert step in ("0001", HEAD), "half of the steps were taken"
            names = {column["name"] for column in sa.inspect(conn).get_columns("requests")}
            assert ("result_etag" in names) == (step == "0001")
            assert conn.execute(sa.text("SELECT count(*) FROM requests")).scalar_one() == N_REQUESTS
            assert conn.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
        database.close()

    run_to_its_end(["migrate", "--data-dir", str(folder)], 2, check)
    check()
    assert check_store(open_storage("", "", folder, min_free_bytes=0)) == []
