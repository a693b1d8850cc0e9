"""Real worker processes, killed at any moment: every request ends, every effect is there exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from app.requests import enqueue
from app.storage import Request, RequestDraft, annotations, requests
from tests.requests.conftest import Place, Starter
from tests.storage.stores import make_task

PATIENCE_SECONDS = 180


def ask(place: Place, task_id: int, type: str = "export:dataset", **options: object) -> Request:
    draft = RequestDraft(type, "task", task_id=task_id, format="f", options=options)
    return enqueue(place.storage, place.queue, place.ann, draft, max_queued_per_user=1000)


def states(place: Place, asked: list[Request]) -> list[Request]:
    with place.storage.database.read() as conn:
        return [requests.load(conn, request.id) for request in asked]


def wait_for_all(place: Place, asked: list[Request]) -> list[Request]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = states(place, asked)
        if all(request.is_final for request in found):
            return found
        assert time.monotonic() < deadline, [(request.status, request.attempt) for request in found]
        time.sleep(0.1)


def wait_for_start(place: Place, request: Request) -> None:
    while states(place, [request])[0].status == "queued":
        time.sleep(0.02)


def kill_now_and_then(place: Place, start_worker: Starter, n_requests: int, n_kills: int, seed: int) -> None:
    chance = random.Random(seed)
    task = make_task(place.storage, 100)
    workers = [start_worker() for _ in range(2)]
    asked = [ask(place, task.id, frame=number % 100, seconds=0.2, number=number) for number in range(n_requests)]
    for _ in range(n_kills):
        time.sleep(chance.uniform(0.2, 1.0))
        victim = chance.randrange(len(workers))
        workers[victim].send_signal(signal.SIGKILL)
        workers[victim].wait()
        workers[victim] = start_worker()
    found = wait_for_all(place, asked)
    finished = [request for request in found if request.status == "finished"]
    assert all(request.status == "finished" or "interrupted" in request.message for request in found)
    assert len(finished) >= n_requests - n_kills
    with place.storage.database.read() as conn:
        frames = annotations.load(conn, task.id).shapes.frames.tolist()
    assert sorted(frames) == sorted(request.options["frame"] for request in finished)
    for request in finished:
        assert request.result is not None
        source = place.storage.blobs.open_key(request.result.key)
        assert source.read_at(0, 10) == b"result"
        source.close()


def test_kills_lose_nothing_and_double_nothing(place: Place, start_worker: Starter) -> None:
    kill_now_and_then(place, start_worker, n_requests=12, n_kills=4, seed=1)


@pytest.mark.long
def test_many_kills_lose_nothing_and_double_nothing(place: Place, start_worker: Starter) -> None:
    kill_now_and_then(place, start_worker, n_requests=200, n_kills=100, seed=2)


def test_work_that_kills_its_worker_fails_after_three_times(place: Place, start_worker: Starter) -> None:
    task = make_task(place.storage, 1)
    poison = ask(place, task.id, "export:backup", fault="die")
    worker = start_worker()
    for _ in range(3):
        worker.wait(PATIENCE_SECONDS)
        worker = start_worker()
    (found,) = wait_for_all(place, [poison])
    assert (found.status, found.attempt) == ("failed", 3)
    assert found.message.startswith("interrupted")
    assert wait_for_all(place, [ask(place, task.id, frame=0)])[0].status == "finished"


def test_sigterm_lets_short_work_end(place: Place, start_worker: Starter) -> None:
    task = make_task(place.storage, 1)
    worker = start_worker(grace_seconds=2 * PATIENCE_SECONDS)
    request = ask(place, task.id, frame=0, seconds=1)
    wait_for_start(place, request)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_SECONDS) == 0
    assert states(place, [request])[0].status == "finished"


def test_sigterm_gives_long_work_back(place: Place, start_worker: Starter) -> None:
    task = make_task(place.storage, 1)
    worker = start_worker(grace_seconds=10)  # seconds pass between what the work hears and the end of the process
    request = ask(place, task.id, frame=0, seconds=1000)
    wait_for_start(place, request)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_SECONDS) == 0
    assert states(place, [request])[0].status == "queued"


def test_sigterm_ends_work_that_does_not_listen(place: Place, start_worker: Starter) -> None:
    task = make_task(place.storage, 1)
    worker = start_worker()
    request = ask(place, task.id, "export:backup", fault="hang")
    wait_for_start(place, request)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_SECONDS) == 70
    assert states(place, [request])[0].status == "queued"


def test_a_worker_goes_with_its_parent(place: Place, start_worker: Starter) -> None:
    read_end, write_end = os.pipe()
    worker: subprocess.Popen[bytes] = start_worker(read_end)
    task = make_task(place.storage, 1)
    assert wait_for_all(place, [ask(place, task.id, frame=0)])[0].status == "finished"
    assert worker.poll() is None
    os.close(write_end)
    assert worker.wait(PATIENCE_SECONDS) == 0
    os.close(read_end)
