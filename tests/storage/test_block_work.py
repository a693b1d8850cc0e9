"""Blocks by jobs: a helper's are those of this process, in order, whatever becomes of the helper."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app import block_inserts
from app.annotations import Annotations, unpack_mask
from app.block_inserts import BlockInserter
from app.blocks import BlockJob, Blocks, Numbering, count_unnumbered, encoding, work_blocks
from app.columns import PackedRagged, Ragged
from app.storage import BlockCrew, Storage, annotations, block_rows, block_work, changes, set_writer
from app.storage.schema import BLOCKS
from tests.storage.stores import make_task, shapes, tags

SIZE = 1000


def random_jobs(n: int) -> list[BlockJob]:
    random = np.random.default_rng(n)
    jobs, first = [], 1
    for number in range(n):
        numbering: Numbering = random.choice(["new", "given", "none"])
        parts: list[Any] = []
        for _ in range(int(random.integers(1, 4))):
            frames = random.integers(0, SIZE, int(random.integers(1, 300))).tolist()
            made: Any = shapes(frames, lines=[b"%d" % frame for frame in frames]) if number % 3 else tags(frames)
            if number % 3 == 1:
                made = made.replace(runs=packed_runs(len(frames)))
            parts.append(made.replace(ids=random.choice([0, 77], len(frames)).astype(np.int64)))
        if number % 3 == 0:
            parts = [part for part in parts if isinstance(part, type(parts[0]))]
        jobs.append(BlockJob(parts, numbering, first, 1, 1, number))
        first += count_unnumbered(parts, numbering)
    return jobs


def packed_runs(rows: int) -> PackedRagged:
    """Some rows packed, as an import has them of masks."""
    cells = Ragged.from_bytes([b"%d" % row if row % 3 else b"" for row in range(rows)])
    return PackedRagged(
        cells, Ragged.from_arrays([[] if row % 3 else [row] for row in range(rows)], np.int32), unpack_mask
    )


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_work, "UNHELPED_JOBS", 1)
    monkeypatch.setattr(block_work, "n_cores", lambda: 2)


@pytest.mark.parametrize("numbering", ["new", "given", "none"])
def test_rows_are_numbered_one_after_the_other(numbering: Numbering) -> None:
    ids = [[0, 5, 0], [7, 0]]
    parts = [shapes([9, 3, 3][: len(some)]).replace(ids=np.array(some, dtype=np.int64)) for some in ids]
    expected = {"new": [1, 2, 3, 4, 5], "given": [1, 5, 2, 7, 3], "none": [0, 5, 0, 7, 0]}[numbering]
    assert count_unnumbered(parts, numbering) == {"new": 5, "given": 3, "none": 0}[numbering]
    job = BlockJob(parts, numbering, 1, 1, 1, 0)
    table = encoding._numbered(type(parts[0]).concatenate(parts), numbering, 1) if numbering != "none" else None
    assert table is None or table.ids.tolist() == expected
    assert sum(row["n_rows"] for row in work_blocks(job)) == 5


def test_a_job_is_sent_without_what_says_nothing() -> None:
    jobs = random_jobs(30)
    for job in jobs:
        again = pickle.loads(pickle.dumps(job))
        assert work_blocks(again) == work_blocks(job)
        for part, sent in zip(job.parts, again.parts, strict=True):
            assert type(sent) is type(part)
            assert [one.dtype for one in plain(sent)] == [one.dtype for one in plain(part)]
    frames = np.arange(10_000).tolist()
    job = BlockJob([shapes(frames, lines=[b"line"] * len(frames))], "new", 1, 1, 1, 0)
    assert len(pickle.dumps(job)) < len(frames) * (4 + 32 + len("line") + 1)  # frame, corners, line, some more


def plain(table: Any) -> list[Any]:
    """The columns that are arrays."""
    return [column for column in encoding.flat_columns(table).values() if isinstance(column, np.ndarray)]


@pytest.mark.usefixtures("eager")
def test_a_helper_makes_the_blocks_that_this_process_makes() -> None:
    jobs = random_jobs(30)
    found: list[Blocks] = []
    with BlockCrew(1) as crew:
        for job in jobs:
            crew.take(job, found.append)
            if crew._helper is not None:
                crew._helper.wait()
        crew.finish()
        assert crew._helper is not None
    assert sorted(found, key=lambda rows: int(rows[0]["part"])) == [work_blocks(job) for job in jobs]


@pytest.mark.usefixtures("eager")
def test_a_helper_that_is_still_starting_is_not_waited_for() -> None:
    jobs = random_jobs(4)
    found: list[Blocks] = []
    with BlockCrew(1) as crew:
        for job in jobs:
            crew.take(job, found.append)
            if crew._helper is not None:
                os.kill(crew._helper.pid, signal.SIGSTOP)
        crew.finish()
        assert crew._helper is not None
    assert sorted(found, key=lambda rows: int(rows[0]["part"])) == [work_blocks(job) for job in jobs]


@pytest.mark.usefixtures("eager")
def test_a_helper_that_dies_costs_nothing_but_time() -> None:
    jobs = random_jobs(30)
    found: list[Blocks] = []
    with BlockCrew(1) as crew:
        for number, job in enumerate(jobs):
            crew.take(job, found.append)
            if number == 9:
                assert crew._helper is not None
                crew._helper.wait()
            if number == 12:
                assert crew._helper is not None
                os.kill(crew._helper.pid, signal.SIGKILL)
        crew.finish()
    assert sorted(found, key=lambda rows: int(rows[0]["part"])) == [work_blocks(job) for job in jobs]


@pytest.mark.usefixtures("eager")
def test_what_goes_wrong_with_an_insert_is_told_at_the_next_call() -> None:
    def insert(rows: Blocks) -> None:
        raise ZeroDivisionError

    with BlockCrew(1) as crew:
        crew.take(random_jobs(1)[0], lambda rows: None)
        crew.take(random_jobs(1)[0], insert)
        with pytest.raises(ZeroDivisionError):
            crew.finish()
        crew.finish()


def test_small_imports_and_lone_cores_get_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, most, n_jobs in ((2, 1, 3), (1, 1, 9), (2, 0, 9)):
        monkeypatch.setattr(block_work, "n_cores", lambda cores=cores: cores)
        with BlockCrew(most) as crew:
            for job in random_jobs(n_jobs):
                crew.take(job, lambda rows: None)
            assert crew._helper is None


def test_a_large_import_has_its_helper_from_the_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_work, "n_cores", lambda: 2)
    with BlockCrew(1, is_large=True) as crew:
        assert crew._helper is not None
    with BlockCrew(0, is_large=True) as crew:
        assert crew._helper is None


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another"])
def test_ids_are_taken_for_several_flushes_and_given_back(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    monkeypatch.setattr(set_writer, "BUFFER_BYTES", 1)
    monkeypatch.setattr(set_writer, "NUMBERS_AHEAD", 25)
    monkeypatch.setattr(set_writer, "TOUCHED_SECONDS", -1.0)
    task_id = make_task(storage, SIZE).id
    taken: list[int] = []

    def take() -> None:
        with storage.database.write() as conn:
            taken.append(changes.take_numbers(conn, task_id, 1))

    with annotations.begin_set(storage, task_id) as writer:
        for number in range(20):
            writer.write(Annotations(shapes=shapes([number] * 7)))
            if other and number % 8 == 3:
                take()
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    with storage.database.read() as conn:
        ids = annotations.load(conn, task_id).shapes.ids.tolist()
    take()
    assert len({*ids, *taken}) == 140 + len(taken)
    assert ids == sorted(ids)
    if not other:
        assert ids == list(range(1, 141))
        assert taken == [141]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("end", ["well", "helper dies", "import fails"])
def test_an_import_with_a_helper_is_the_same_import(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(set_writer, "BUFFER_BYTES", 20_000)
    file = storage.database.file
    task_id = make_task(storage, SIZE).id
    random = np.random.default_rng(8)
    sent = [random.integers(0, SIZE, 100).tolist() for _ in range(30)]

    def write(most_helpers: int) -> Any:
        with (
            BlockCrew(most_helpers, file=file) as crew,
            annotations.begin_set(storage, task_id, crew=crew) as writer,
        ):
            for number, chosen in enumerate(sent):
                if crew._helper is not None and number == 10:
                    crew._helper.wait()  # it gets every job from here on
                writer.write(Annotations(shapes=shapes(chosen, lines=[b"%d" % number] * 100), tags=tags(chosen)))
                if crew._helper is not None and number == 20:
                    if end == "helper dies":
                        os.kill(crew._helper.pid, signal.SIGKILL)
                    if end == "import fails":
                        raise ZeroDivisionError
            assert (crew._helper is not None) == (most_helpers > 0)
            writer.close()
            with storage.database.write() as conn:
                annotations.publish(conn, writer.set_id)
        with storage.database.read() as conn:
            return annotations.load(conn, task_id)

    alone = write(0)
    if end == "import fails":
        with pytest.raises(ZeroDivisionError):
            write(1)
        return
    helped = write(1)
    shift = int(helped.shapes.ids.min()) - int(alone.shapes.ids.min())
    for one, other in ((alone.shapes, helped.shapes), (alone.tags, helped.tags)):
        assert one.frames.tolist() == other.frames.tolist()
        assert (one.ids + shift).tolist() == other.ids.tolist()
    assert alone.shapes.kept.lines.to_bytes_list() == helped.shapes.kept.lines.to_bytes_list()
    assert alone.shapes.points.values.tolist() == helped.shapes.points.values.tolist()


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
def test_a_helper_inserts_all_of_a_job_or_says_that_it_did_not(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(block_inserts, "LOCK_TIMEOUT_SECONDS", 0.05)
    file = storage.database.file
    assert file is not None
    task_id = make_task(storage, SIZE).id
    insert = BlockInserter(str(file))
    request.addfinalizer(insert._connection.close)  # the end of its process does that
    job = BlockJob([shapes(list(range(SIZE)))], "new", 1, task_id, 0, 0)

    def count(set_id: int) -> int:
        with storage.database.read() as conn:
            placed = block_rows.read_blocks(conn, "shapes", task_id, staged_id=set_id)
            return len(placed.table)

    with annotations.begin_set(storage, task_id) as writer:
        job = replace(job, set_id=writer.set_id)
        with storage.database.write():
            assert not insert(job)
        assert count(writer.set_id) == 0
        assert insert(job)
        assert count(writer.set_id) == SIZE
        assert not insert(job)  # the same rows once more
        assert count(writer.set_id) == SIZE
        # It died when it had inserted some, or all, and its answer never came.
        blocks = work_blocks(job)
        for gone in (slice(0, 0), slice(2, 9), slice(0, None)):
            with storage.database.write() as conn:
                block_rows.remove_part(conn, "shapes", blocks[gone])
            writer._insert("shapes", blocks, is_again=True)
            assert count(writer.set_id) == SIZE
    monkeypatch.setattr(block_inserts, "TRANSACTION_BYTES", 1)
    assert not insert(replace(job, part=1))  # given up: nobody would remove these rows
    with storage.database.read() as conn:
        parts = conn.execute(sa.select(BLOCKS["shapes"].c.part).where(BLOCKS["shapes"].c.set_id == job.set_id))
        assert set(parts.scalars()) == {0}


@pytest.mark.usefixtures("eager")
def test_packed_masks_are_encoded_here() -> None:
    large = Ragged.from_bytes([b"x" * 10_000] * 4)
    packed = shapes([1, 2, 3, 4]).replace(runs=PackedRagged(large, Ragged.empty(np.int32, 4), unpack_mask))
    with BlockCrew(1) as crew:
        for _ in range(2):
            crew.take(BlockJob([packed], "new", 1, 1, 1, 0), lambda rows: None)
        assert crew._helper is not None
        crew._helper.wait()
        for parts, n_waiting in (([packed], 0), ([packed, shapes([1])], 0), ([shapes([1])], 1)):
            crew.take(BlockJob(parts, "new", 1, 1, 1, 0), lambda rows: None)
            assert len(crew._waiting) == n_waiting
        crew.finish()


def test_an_error_is_told_when_nothing_is_inserted_any_more(eager: None) -> None:
    """Who gives a set up for it removes what is there; rows that come later would stay."""
    done: list[str] = []

    def fail(rows: Blocks | None, *, is_again: bool = False) -> None:
        raise OSError("full")

    def insert(rows: Blocks | None, *, is_again: bool = False) -> None:
        time.sleep(0.2)
        done.append("inserted")

    with BlockCrew(1, is_large=True) as crew:
        for what in (fail, insert):
            crew._insert(what, [])
        with pytest.raises(OSError, match="full"):
            crew.settle()
        assert done == ["inserted"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("what", ["process", "thread"])
def test_blocks_are_made_here_where_the_system_starts_no_helper(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        if what == "process":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(*(subprocess, "Popen") if what == "process" else (threading.Thread, "start"), refuse)
    jobs = random_jobs(3)
    found: list[Blocks] = []
    with BlockCrew(1) as crew:
        for job in jobs:
            crew.take(job, lambda rows, *, is_again=False: found.append(rows or []))
        crew.finish()
    assert found == [work_blocks(job) for job in jobs]
