"""Passes over a task: each answer is made once, few at a time, and nobody waits without end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.api.stats import PASSES, WAITING, Memory
from app.errors import Busy


def test_who_asks_at_once_gets_what_one_has_made() -> None:
    memory, calls = Memory(), []

    def make() -> bytes:
        calls.append(1)
        return b"made"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: memory.get(("a",), make), range(8)))
    assert found == [b"made"] * 8
    assert 1 <= len(calls) <= PASSES


def test_only_so_many_wait() -> None:
    memory, go = Memory(), threading.Event()
    begun = threading.Semaphore(0)

    def make() -> bytes:
        begun.release()
        assert go.wait(20)
        return b"x"

    with ThreadPoolExecutor(WAITING) as pool:
        asked = [pool.submit(memory.get, (number,), make) for number in range(WAITING)]
        try:
            for _ in range(PASSES):
                assert begun.acquire(timeout=20)
            while memory._waiting.acquire(blocking=False):  # until all of them are in
                memory._waiting.release()
            assert not begun.acquire(blocking=False), "more passes than may run at once"
            with pytest.raises(Busy, match="try again"):
                memory.get(("late",), make)
        finally:
            go.set()
        assert [each.result(20) for each in asked] == [b"x"] * WAITING
    assert memory.get(("late",), make) == b"x"
