"""Helpers: what goes through the pipe comes out the same; a helper that is gone is told, never waited for."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from app import helpers
from app.helpers import SENT_AHEAD, Ahead, Crew, Helper, n_cores, receive, send


def double(job: Any) -> Any:
    """The work of the helpers here."""
    print("no answer")
    match job if isinstance(job, str) else "":
        case "raise":
            raise ValueError("as it was asked to")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(60)
    return job + job


@contextmanager
def started() -> Iterator[Helper]:
    helper = Helper("tests.test_helpers:double")
    try:
        yield helper
    finally:
        helper.close()
    assert not os.path.exists(f"/proc/{helper.pid}")


def test_what_is_sent_is_received() -> None:
    large = np.arange(1_000_000, dtype=np.int64)
    values: list[Any] = [
        None,
        {"a": [1, "é", b"x"]},
        [],
        large,
        large[::3],
        np.zeros(0, dtype=np.uint8),
        [np.full(n, n, dtype=np.float64) for n in range(1500)],
        np.frombuffer(b"read only", dtype=np.uint8),
    ]
    incoming, outgoing = os.pipe()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(receive(incoming) for _ in values))
    thread.start()
    for value in values:
        send(outgoing, value)
    thread.join()
    os.close(outgoing)
    with pytest.raises(EOFError):
        receive(incoming)
    os.close(incoming)
    for one, other in zip(values, found, strict=True):
        np.testing.assert_equal(one, other)
        assert type(one) is type(other)


def test_answers_are_taken_in_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Any] = [np.arange(n, dtype=np.int64) for n in (0, 9, 300_000, 2, 0, 131_072)] + ["text"] * 50
    incoming, outgoing = os.pipe()
    fcntl.fcntl(outgoing, fcntl.F_SETPIPE_SZ, helpers.PIPE_BYTES)
    calls: list[int] = []
    os_read = os.read

    def read(pipe: int, size: int) -> bytes:
        calls.append(size)
        return os_read(pipe, size)

    monkeypatch.setattr(os, "read", read)
    monkeypatch.delattr(os, "readv")
    answers = helpers._Incoming(incoming)
    for value in values[:2]:
        send(outgoing, value)
    for value in values[:2]:
        np.testing.assert_equal(helpers._loads(helpers._receive_parts(answers.read)), value)
    assert len(calls) == 1
    monkeypatch.undo()
    thread = threading.Thread(target=lambda: [send(outgoing, value) for value in values[2:]])
    thread.start()
    for value in values[2:]:
        found = helpers._loads(helpers._receive_parts(answers.read))
        np.testing.assert_equal(found, value)
        assert isinstance(found, str) or (found.flags.writeable and found.flags.aligned)
    thread.join()
    os.close(outgoing)
    with pytest.raises(EOFError):
        helpers._receive_parts(answers.read)
    os.close(incoming)


def test_arrays_go_by_shared_memory_as_long_as_they_fit() -> None:
    memory = helpers._shared_memory(2)
    assert memory is not None  # Linux has it
    here, there = helpers._Slots(memory, 2), helpers._Slots(memory, 2)
    os.close(memory)
    fits = np.arange(helpers.SLOT_BYTES // 8 - 64, dtype=np.int64)
    values: list[Any] = [
        {"a": [1, b"x"], "none": np.zeros(0, dtype=np.uint8), "some": np.arange(9)[::2]},
        fits,
        [np.full(n, n, dtype=np.float64) for n in range(300)],
        np.append(fits, fits[:64]),
        np.frombuffer(b"read only", dtype=np.uint8),
        "no array",
    ]
    incoming, outgoing = os.pipe()
    for value in values:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(receive(incoming, there)))  # noqa: B023
        thread.start()
        again = send(outgoing, value, here)
        thread.join()
        np.testing.assert_equal(found[0], value)
        assert (again is None) == (value is values[3])
        np.testing.assert_equal(value if again is None else again(), value)
        here.free_oldest()
    # A slot that is not free is left alone.
    n_free = len(here._free)
    for number in range(n_free + 1):
        again = send(outgoing, np.full(9, number), here)
        assert (again is None) == (number == n_free)
    assert [receive(incoming, there)[0] for _ in range(n_free + 1)] == list(range(n_free + 1))
    os.close(outgoing)
    os.close(incoming)


def test_a_system_without_shared_memory_has_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with started() as helper:
        for number in range(4):
            again = helper.send(np.full(300_000, number))
            assert again()[0] == number
            done = helper.receive()
            assert done is not None
            assert bool((done[0] == 2 * number).all())


def test_a_job_can_be_had_again_when_its_helper_is_gone() -> None:
    with started() as helper:
        again = [helper.send("die"), helper.send(np.arange(1000))]
        assert helper.receive() is None
        again.append(helper.send(np.arange(5)))
        assert again[0]() == "die"
        assert again[1]().tolist() == list(range(1000))
        assert again[2]().tolist() == list(range(5))


def test_answers_come_in_the_order_of_the_jobs() -> None:
    with started() as helper:
        helper.wait()
        helper.send(np.full(300_000, 0))
        for job in range(20):
            assert helper.has_room()
            helper.send(np.full(300_000, job + 1))
            done = helper.receive()
            assert done is not None
            assert bool((done[0] == 2 * job).all())


def test_jobs_are_handed_over_while_the_helper_works() -> None:
    with started() as helper:
        assert not helper.has_room()  # it has only begun to start
        helper.wait()
        helper.send("sleep")
        assert helper.has_room()
        helper.send(np.zeros(2_000_000))  # far more than a pipe holds
        assert not helper.has_room()
        assert not helper.has_answer()


def test_a_helper_has_as_many_jobs_as_was_said() -> None:
    helper = Helper("tests.test_helpers:double", ahead=5)
    helper.wait()
    for number in range(5):
        assert helper.has_room()
        helper.send(np.full(300_000, number))
    assert not helper.has_room()
    answers = [helper.receive() for _ in range(5)]
    assert [int(done[0][0]) for done in answers if done is not None] == [0, 2, 4, 6, 8]
    helper.close()


@pytest.mark.parametrize("end", ["raise", "die"])
def test_a_helper_that_ends_answers_nothing_more(end: str) -> None:
    with started() as helper:
        helper.send("a")
        helper.send(end)
        assert helper.receive() == ("aa",)
        assert helper.receive() is None
        assert not helper.has_room()
        assert helper.has_answer()
        helper.send("b")
        assert helper.receive() is None


class Unreadable:
    """What can be sent and not be received."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def unreadable(job: Any) -> Any:
    return Unreadable()


def test_what_cannot_be_read_is_waited_for_by_nobody() -> None:
    with started() as helper:
        helper.send(Unreadable())
        helper.send(np.zeros(2_000_000))
        assert helper.receive() is None
        assert not helper.has_room()


def test_an_answer_that_cannot_be_read_is_none() -> None:
    helper = Helper("tests.test_helpers:unreadable")
    helper.send(1)
    assert helper.receive() is None
    helper.close()


def readable_here(job: Any) -> Any:
    return job + job if os.environ["READABLE_IN"] == str(os.getpid()) else Unreadable()


@pytest.mark.parametrize("most_held", [0, 30])
def test_an_answer_that_is_kept_and_cannot_be_read_is_worked_out_here(
    most_held: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    monkeypatch.setenv("READABLE_IN", str(os.getpid()))
    came = [*range(6)]
    with Crew(readable_here, 1, 0, 2) as crew:
        run = crew.run_ahead(lambda: (came[0], np.full(3000, came.pop(0))) if came else None, most_held)
        (helper,) = crew.helpers()
        helper.wait()
        run.go_on()
        while not helper.has_answer():
            time.sleep(0.01)
        run.go_on()
        found = [(number, None if done is None else int(done[0])) for number, done in run]
    assert found == [(number, 2 * number) for number in range(6)]
    capfd.readouterr()


class Refusing:
    """A system that starts no process, or no thread."""

    def __init__(self, patch: pytest.MonkeyPatch, what: str) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            if what == "process":
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
            raise RuntimeError("can't start new thread")

        patch.setattr(helpers, "n_cores", lambda: 2)
        if what == "process":
            patch.setattr(subprocess, "Popen", refuse)
        else:
            patch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("what", ["process", "thread"])
def test_work_is_done_here_where_the_system_starts_no_helper(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what earlier tests have left
    n_handles = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        Refusing(patch, what)
        with Crew(double, 1) as crew:
            assert [done for _, done in crew.run((number, "a") for number in range(5))] == ["aa"] * 5
        with Ahead(double, 5, lambda number: "a") as ahead:
            assert ahead.answer(3) == "aa"
    del crew, ahead
    gc.collect()  # shared memory goes with its last view
    assert len(os.listdir("/proc/self/fd")) == n_handles
    assert not [one for one in threading.enumerate() if one.name.startswith("helper")]


def test_a_helper_ends_with_its_reader() -> None:
    helper = Helper("tests.test_helpers:double")
    helper.send("a")
    assert helper.receive() == ("aa",)
    helper.send("sleep")
    os.close(helper._jobs)
    assert helper._process.wait(40) == 0  # before it would have slept enough
    helper._jobs = os.dup(2)
    helper.close()


def test_a_crew_that_expects_jobs_has_its_helper_before_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    with Crew(double, 1, 8, 3) as crew:
        crew.expect(8)
        assert not crew._helpers, "so few are done here"
        crew.expect(9)
        (helper,) = crew._helpers
        helper.wait()
        jobs = [(number, np.full(300_000, number)) for number in range(20)]
        found = [(number, None if done is None else int(done[0])) for number, done in crew.run(jobs)]
        assert found == [(number, 2 * number) for number in range(20)]
        assert crew._helpers == [helper]
    assert helper._process.poll() is not None


@pytest.mark.parametrize("n_helpers", [0, 1, 2])
def test_jobs_that_come_later_are_begun_before_they_are_asked_for(
    n_helpers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helpers, "n_cores", lambda: 3)
    monkeypatch.setattr(helpers, "AHEAD_JOBS", 12)
    came: list[int] = []
    with Crew(double, n_helpers, 0, 2) as crew:
        run = crew.run_ahead(lambda: (came[0], job(came.pop(0))) if came else None)
        for helper in crew.helpers():
            helper.wait()
        for number in range(40):
            came.append(number)
            run.go_on()
        while n_helpers and len(came) > 28:
            run.go_on()
        assert len(came) == (28 if n_helpers else 40), "so many may be done or begun, and none is done here"
        found = [(number, None if done is None else int(done[0])) for number, done in run]
        came += [40, 43]
        found += [(number, None if done is None else int(done[0])) for number, done in run]
    assert found == [(number, None if number % 5 == 2 else 2 * number) for number in [*range(41), 43]]
    assert (run._file is not None) == (n_helpers > 0), "some answers waited on disk"


def job(number: int) -> Any:
    """Nothing is to be done for some."""
    return None if number % 5 == 2 else np.full(3000, number)


def test_a_run_goes_on_without_its_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    came = [*range(30)]
    with Crew(double, 1, 0, 4) as crew:
        run = crew.run_ahead(lambda: (came[0], np.full(300_000, came.pop(0))) if came else None)
        (helper,) = crew.helpers()
        helper.wait()
        run.go_on()
        assert len(came) == 26
        os.kill(helper.pid, signal.SIGKILL)
        for _ in range(3):
            run.go_on()
        found = []
        for number, done in run:
            assert done is not None
            found.append((number, int(done[0])))
    assert found == [(number, 2 * number) for number in range(30)]


def test_answers_made_ahead_are_there_in_any_order() -> None:
    with Ahead(double, 30, lambda number: np.full(1000, number)) as ahead:
        for number in [7, 29, 0, 7, *range(30)]:
            assert ahead.answer(number).tolist() == [2 * number] * 1000
        assert ahead._helper is not None
        assert ahead._helper._process.wait(60)  # it is not kept for nothing


def test_work_ahead_goes_on_without_its_helper() -> None:
    with Ahead(double, 30, lambda number: np.full(300_000, number)) as ahead:
        assert ahead.answer(3)[0] == 6
        assert ahead._helper is not None
        os.kill(ahead._helper.pid, signal.SIGKILL)
        assert [int(ahead.answer(number)[0]) for number in range(30)] == [2 * number for number in range(30)]


def test_a_job_that_cannot_be_made_is_told_to_whoever_asks_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    def make(number: int) -> str:
        if number == 2:
            raise KeyError("no such job")
        return "a"

    with Ahead(double, 3, make) as ahead:
        assert ahead._helper is not None
        ahead._thread.join(60)
        with pytest.raises(KeyError):
            ahead.answer(2)
    capfd.readouterr()


def test_work_ahead_that_nobody_waits_for_is_left() -> None:
    made: list[int] = []

    def make(number: int) -> Any:
        made.append(number)
        return "sleep" if number == 0 else np.zeros(2_000_000)  # far more than a pipe holds

    with Ahead(double, 30, make) as ahead:
        while len(made) < 2:
            time.sleep(0.01)
        helper = ahead._helper
    assert helper is not None
    assert helper._process.poll() is not None
    assert not ahead._thread.is_alive()


def test_no_work_ahead_needs_no_helper() -> None:
    with Ahead(double, 0, lambda number: number) as ahead:
        assert ahead._helper is None


def test_some_jobs_go_ahead_and_there_is_a_core() -> None:
    assert SENT_AHEAD >= 2
    assert n_cores() >= 1
