"""Exports through a child process: chunks in order, refusals as errors, a dead or slow child, places."""

import asyncio
import errno
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.api.errors import status_of
from app.errors import AppError, Busy
from app.streams import StreamPool

CHILD = """
import os, sys, time
from app.errors import InvalidInput
from app.streams import serve_streams

def export(job, send):
    if job["do"] == "refuse":
        raise InvalidInput("there is no such task", code="task.unknown")
    if job["do"] == "fail":
        raise RuntimeError("secret detail")
    if job["do"] == "lack":
        raise OSError(job["number"], "lacking") if job["number"] else MemoryError
    for number in range(job.get("chunks", 3)):
        send(bytes([number % 256]) * job.get("size", 10))
    if job["do"] == "die":
        os._exit(9)
    if job["do"] == "hang":
        time.sleep(600)
    if job["do"] == "pid":
        send(str(os.getpid()).encode())

serve_streams(int(sys.argv[2]), export)
"""

DEAF_CHILD = """
import socket, sys, time
from pathlib import Path

connection = socket.socket(fileno=int(sys.argv[3]))
connection.shutdown(socket.SHUT_RDWR)
Path(sys.argv[1]).touch()
time.sleep(600)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return [sys.executable, str(script)]


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def run(command: list[str], *jobs: dict[str, Any], **options: Any) -> list[Any]:
    """Run jobs one after the other in one pool; each result is the bytes or the exception."""

    async def work() -> list[Any]:
        pool = StreamPool(command, **options)
        results: list[Any] = []
        for job in jobs:
            try:
                results.append(await collect(pool.stream(job)))
            except AppError as error:
                results.append(error)
        pool.close()
        await asyncio.sleep(0.1)
        return results

    return asyncio.run(work())


def test_chunks_arrive_whole_and_in_order(command: list[str]) -> None:
    [data] = run(command, {"do": "it", "chunks": 40, "size": 300_000})
    assert data == b"".join(bytes([number]) * 300_000 for number in range(40))


def test_a_warm_child_is_used_again(command: list[str]) -> None:
    first, second = run(command, {"do": "pid", "chunks": 0}, {"do": "pid", "chunks": 0}, size=1)
    assert first == second


def test_a_refusal_is_told_and_the_child_lives_on(command: list[str]) -> None:
    refused, data = run(command, {"do": "refuse"}, {"do": "it", "chunks": 1})
    assert (refused.code, refused.detail) == ("task.unknown", "there is no such task")
    assert data == bytes(10)


def test_a_defect_tells_no_details(command: list[str]) -> None:
    [failed] = run(command, {"do": "fail"})
    assert failed.code == "export.failed"
    assert "secret" not in failed.detail


def test_a_dead_child_is_an_error_and_is_replaced(command: list[str]) -> None:
    # Two die: what was not begun is tried once more.
    died, data = run(command, {"do": "die"}, {"do": "it", "chunks": 1})
    assert isinstance(died, Busy)
    assert "ended before its work was done" in died.detail
    assert data == bytes(10)


def test_more_than_the_places_must_wait_and_then_hear_busy(command: list[str]) -> None:
    async def work() -> None:
        pool = StreamPool(command, size=1, wait_seconds=0.2)
        held = pool.stream({"do": "hang", "chunks": 1})
        assert await anext(held) == bytes(10)
        with pytest.raises(Busy):
            await collect(pool.stream({"do": "it"}))
        await held.aclose()  # the reader goes away: its child is ended, its place is free
        assert await collect(pool.stream({"do": "it", "chunks": 1})) == bytes(10)
        pool.close()
        await asyncio.sleep(0.1)

    asyncio.run(work())


def test_a_child_that_dies_as_it_is_asked_is_replaced(command: list[str], tmp_path: Path) -> None:
    # It lives, as far as can be seen, but reads no more: as one does between its killing and its end.
    deaf, script = tmp_path / "deaf", tmp_path / "dying.py"
    script.write_text(DEAF_CHILD)

    async def work() -> bytes:
        pool = StreamPool([sys.executable, str(script), str(deaf)])
        pool.warm()
        pool._command = command
        while not deaf.exists():
            await asyncio.sleep(0.01)
        data = await collect(pool.stream({"do": "it", "chunks": 1}))
        pool.close()
        await asyncio.sleep(0.1)
        return data

    assert asyncio.run(work()) == bytes(10)


def test_a_child_that_the_system_refuses_takes_no_place_for_ever(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = subprocess.Popen, 3

    def start(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(*arguments, **named)

    async def work() -> bytes:
        gc.collect()  # what earlier tests have left would go meanwhile
        n_handles = len(os.listdir("/proc/self/fd"))
        pool = StreamPool(command, size=1, wait_seconds=60)
        pool.warm()
        with pytest.raises(BlockingIOError):
            await collect(pool.stream({"do": "it"}))
        assert len(os.listdir("/proc/self/fd")) <= n_handles
        data = await collect(pool.stream({"do": "it", "chunks": 1}))
        pool.close()
        await asyncio.sleep(0.1)
        return data

    monkeypatch.setattr(subprocess, "Popen", start)
    assert asyncio.run(work()) == bytes(10)


def test_what_the_machine_lacks_is_told_as_such(command: list[str]) -> None:
    full, busy, memory = run(command, *({"do": "lack", "number": n} for n in (errno.ENOSPC, errno.EMFILE, 0)))
    assert [status_of(error) for error in (full, busy, memory)] == [507, 503, 503]
