"""Transactions that lose nothing, and the engines' failures in the house's words."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import Busy, Conflict, Damaged, NoSpace
from app.storage import Storage, database, open_storage
from app.storage.migrations import HEAD, config, migrate
from app.storage.schema import facts, metadata
from tests.storage.stores import open_store

N_PROCESSES, N_THREADS, N_UPDATES = 2, 3, 40


def _count_up(url: str, folder: str) -> None:
    storage = open_storage(url, "", Path(folder), min_free_bytes=0, migrate=False)

    def work() -> None:
        for _ in range(N_UPDATES):
            with storage.database.write() as conn:
                value = conn.execute(sa.select(facts.c.value).where(facts.c.name == "n").with_for_update()).scalar_one()
                conn.execute(facts.update().where(facts.c.name == "n").values(value=str(int(value) + 1)))

    threads = [threading.Thread(target=work) for _ in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage.close()


def test_concurrent_read_then_write_loses_no_update(storage: Storage, tmp_path: Path) -> None:
    with storage.database.write() as conn:
        conn.execute(facts.insert().values(name="n", value="0"))
    url = "" if storage.database.is_sqlite else storage.database.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count_up, args=(url, str(tmp_path))) for _ in range(N_PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0] * N_PROCESSES
    with storage.database.read() as conn:
        value = conn.execute(sa.select(facts.c.value).where(facts.c.name == "n")).scalar_one()
    assert int(value) == N_PROCESSES * N_THREADS * N_UPDATES


def test_caches_are_dropped_beside_open_transactions(storage: Storage) -> None:
    def count(conn: sa.Connection) -> int:
        return conn.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one()

    with storage.database.snapshot() as conn:
        before = count(conn)
        storage.database.drop_caches()
        with storage.database.write() as other:
            other.execute(facts.insert().values(name="n", value="0"))
            storage.database.drop_caches()
        assert count(conn) == before
    with storage.database.read() as conn:
        assert count(conn) == before + 1


def test_a_block_that_raises_is_undone(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), storage.database.write() as conn:  # noqa: PT012
        conn.execute(facts.insert().values(name="n", value="0"))
        raise ZeroDivisionError
    with storage.database.read() as conn:
        assert conn.execute(sa.select(facts).where(facts.c.name == "n")).one_or_none() is None


def test_a_read_transaction_cannot_write(storage: Storage) -> None:
    with pytest.raises(sa.exc.DBAPIError), storage.database.read() as conn:
        conn.execute(facts.insert().values(name="n", value="0"))


def test_a_snapshot_sees_one_state(storage: Storage) -> None:
    with storage.database.snapshot() as reader:
        before = reader.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one()
        with storage.database.write() as conn:
            conn.execute(facts.insert().values(name="n", value="0"))
        assert reader.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() == before


def _ours(name: str | None, kind: str, parents: object) -> bool:
    """A database that a queue used before holds the queue's tables too."""
    return kind != "table" or not str(name).startswith("huey_")


def test_migrations_make_what_the_schema_says(storage: Storage) -> None:
    with storage.database.write() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "include_name": _ours})
        assert compare_metadata(context, metadata) == []


def test_the_head_is_the_newest_step() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_many_processes_may_migrate_at_once(tmp_path: Path) -> None:
    opened: list[Storage] = []
    threads = [threading.Thread(target=lambda: opened.append(open_storage("", "", tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for storage in opened:
        storage.check_health()
        storage.close()


def test_steps_that_take_longer_than_any_lock_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes that start at once on a slow machine, none may end because another one is at work."""
    monkeypatch.setattr("app.storage.database.LOCK_TIMEOUT_SECONDS", 0.1)
    upgrade, n_walks = command.upgrade, []

    def slowly(*arguments: Any) -> None:
        n_walks.append(1)
        time.sleep(1)
        upgrade(*arguments)

    monkeypatch.setattr(command, "upgrade", slowly)
    with ThreadPoolExecutor(3) as pool:
        opened = list(pool.map(lambda _: open_storage("", "", tmp_path, min_free_bytes=0), range(3)))
    for storage in opened:
        storage.close()
    assert len(n_walks) == 1


def test_migrating_again_changes_nothing(storage: Storage) -> None:
    assert migrate(storage.database) is False


def test_a_database_of_a_newer_version_is_refused(storage: Storage, tmp_path: Path) -> None:
    with storage.database.write() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer version"):
        migrate(storage.database)


def test_a_lock_of_another_process_is_busy_and_reading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    with open_store("sqlite", tmp_path / "d") as storage:
        storage.database.writer.dispose()
        other = sqlite3.connect(storage.database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy), storage.database.write():
            pass
        with storage.database.read() as conn:
            assert conn.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() > 0
        other.execute("ROLLBACK")
        other.close()
        with storage.database.write() as conn:
            conn.execute(facts.insert().values(name="n", value="0"))


def test_who_opens_the_database_to_read_waits_for_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    with open_store("sqlite", tmp_path / "d") as storage, storage.database.write():
        another = open_storage("", "", tmp_path / "d", migrate=False)
        with another.database.read() as conn:
            assert conn.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() > 0
        another.close()


def test_a_writer_in_the_same_process_waits_and_is_then_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    with (
        open_store("sqlite", tmp_path / "d") as storage,
        storage.database.write(),
        pytest.raises(Busy),
        storage.database.write(),
    ):
        pytest.fail("two write transactions at once")


def test_a_full_disk_is_no_space_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as storage:
        with storage.database.write() as conn:
            pages = conn.execute(sa.text("PRAGMA page_count")).scalar_one()
            conn.execute(sa.text(f"PRAGMA max_page_count = {pages}"))  # what SQLite sees of a full disk
        with pytest.raises(NoSpace), storage.database.write() as conn:
            conn.execute(facts.insert().values(name="n", value="x" * 1_000_000))
        with storage.database.write() as conn:
            assert conn.execute(sa.select(facts).where(facts.c.name == "n")).one_or_none() is None
            conn.execute(sa.text("PRAGMA max_page_count = 1000000"))
        with storage.database.write() as conn:
            conn.execute(facts.insert().values(name="n", value="x" * 1_000_000))


def test_space_that_nothing_uses_goes_back_to_the_disk(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as storage:
        base = storage.database
        with base.write() as conn:
            conn.execute(facts.insert(), [{"name": f"n{i}", "value": "x" * 100_000} for i in range(200)])
            conn.execute(facts.insert().values(name="last", value="y" * 100_000))
        with base.write() as conn:
            conn.execute(facts.delete().where(facts.c.name.startswith("n")))
        assert base.give_back_space() == 0  # 20 MB are kept for what comes next
        with base.read() as conn:
            n_pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        assert base.give_back_space(kept_bytes=1 << 20) > 15 << 20
        with base.read() as conn:
            assert conn.exec_driver_sql("PRAGMA page_count").scalar_one() < n_pages // 5
            assert conn.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            last = sa.select(facts.c.value).where(facts.c.name == "last")
            assert conn.execute(last).scalar_one() == "y" * 100_000


def test_a_file_that_cannot_shrink_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("CREATE TABLE t (a)")
        old.executemany("INSERT INTO t VALUES (zeroblob(100000))", [()] * 50)
        old.execute("DELETE FROM t")
    base = database.Database(f"sqlite:///{path}")
    assert base.give_back_space(kept_bytes=0) == 0
    base.close()


@pytest.mark.parametrize(
    "damage", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\x10\x00" + b"\xff" * 4000]
)
def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    with open_store("sqlite", tmp_path):
        pass
    path = tmp_path / "annoport.sqlite3"
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(damage)
    with pytest.raises(Damaged):
        open_storage("", "", tmp_path)
    assert path.read_bytes() == damage


def test_a_lost_database_is_not_made_anew_over_its_files(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path):
        pass
    (tmp_path / "annoport.sqlite3").unlink()
    with pytest.raises(Damaged, match="missing or empty"):
        open_storage("", "", tmp_path)


def test_files_of_another_database_are_refused(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path / "a"), open_store("sqlite", tmp_path / "b"):
        pass
    with pytest.raises(Damaged, match="another database"):
        open_storage("", str(tmp_path / "b" / "blobs"), tmp_path / "a")


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"server:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(Damaged, match="network file system"):
        database.check_file_system(tmp_path / "data")


def test_health_passes_and_leaves_nothing(storage: Storage) -> None:
    blobs = sorted(storage.blobs.list())
    storage.check_health()
    assert sorted(storage.blobs.list()) == blobs


def test_an_unmigrated_database_is_refused_without_migrate(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="not migrated"):
        open_storage("", "", tmp_path, migrate=False)
