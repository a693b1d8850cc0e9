"""The worker in this process: every way a request may go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.annotations import Annotations
from app.errors import Cancelled, Conflict, NotFound
from app.requests import (
    Context,
    WorkerLimits,
    cancel,
    enqueue,
    run_worker,
    sweep,
    wait_until_final,
    wait_until_final_async,
)
from app.requests.worker import _Chores, _Monitor, run_request
from app.storage import Request, RequestDraft, annotations, housekeeping, requests
from app.storage.schema import now
from app.storage.schema import requests as table
from tests.requests.conftest import ROOT, Place
from tests.requests.handlers import HANDLERS, limits
from tests.storage.stores import make_task, shapes, user

PATIENCE_SECONDS = 60


def ask(place: Place, type: str = "import:annotations", **options: Any) -> Request:
    task = make_task(place.storage, 10)
    draft = RequestDraft(type, "task", task_id=task.id, format="f", options={"frame": 1, **options})
    return enqueue(place.storage, place.queue, place.ann, draft)


def work_once(place: Place, request: Request, **changed: float) -> Request:
    """Let a worker do this one request."""
    assert place.queue.receive() == request.id
    run_request(place.storage, HANDLERS, request.id, limits(**changed), threading.Event())
    return load(place, request)


def load(place: Place, request: Request) -> Request:
    with place.storage.database.read() as conn:
        return requests.load(conn, request.id)


def n_shapes(place: Place, request: Request) -> int:
    with place.storage.database.read() as conn:
        return annotations.counts(conn, request.task_id or 0)["shapes"]


def test_effect_result_and_end_come_together(place: Place) -> None:
    request = ask(place)
    final = work_once(place, request)
    assert (final.status, final.report, final.progress, final.attempt) == ("finished", {"kept": 1}, 1.0, 1)
    assert final.result is not None
    assert final.result.key == f"results/{request.id}/1"
    assert n_shapes(place, request) == 1


@pytest.mark.parametrize(
    ("fault", "message", "counts"),
    [
        (
            "problems",
            "a.csv:2:XMin: csv.bad_number: not a number; a.csv:3:XMin: csv.bad_number: not a number; "
            "a.csv:4:XMin: csv.bad_number: not a number; and 2 more",
            {"csv.bad_number": 5},
        ),
        ("reported", "the thing is gone", {"x": 1}),
        ("no space", "there is no space left", {"no_space": 1}),
        ("full", "there is no space left on the disk", {"no_space": 1}),
        ("memory", "the work needs more memory than the allowed 0 MiB", {"limit.memory": 1}),
    ],
)
def test_what_users_cause_is_told_to_them(place: Place, fault: str, message: str, counts: dict[str, int]) -> None:
    final = work_once(place, ask(place, "export:backup", fault=fault))
    assert (final.status, final.message) == ("failed", message)
    assert final.report is not None
    assert final.report["counts"] == counts


def test_our_own_mistakes_have_a_number_and_no_detail(place: Place) -> None:
    final = work_once(place, ask(place, "export:backup", fault="mistake"))
    assert final.status == "failed"
    assert "secret" not in final.message
    assert "error " in final.message


def test_a_handler_that_says_nothing_has_finished(place: Place) -> None:
    assert work_once(place, ask(place, "export:backup", fault="nothing")).status == "finished"


def test_work_nobody_here_can_do_fails(place: Place) -> None:
    assert "cannot do export:other" in work_once(place, ask(place, "export:other")).message


def test_work_that_takes_too_long_fails(place: Place) -> None:
    final = work_once(place, ask(place, "export:backup", fault="slow"), timeout_seconds=0.3)
    assert (final.status, final.message) == ("failed", "the work took longer than the allowed 0 seconds")
    assert final.report is not None
    assert final.report["counts"] == {"limit.time": 1}


def test_housekeeping_leaves_alone_what_work_may_still_be_making(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ages: list[int] = []
    monkeypatch.setattr(housekeeping, "sweep", lambda _, orphan_age_seconds, **more: ages.append(orphan_age_seconds))
    chores = _Chores(place.storage, place.queue, limits(timeout_seconds=20_000))
    chores._next_housekeeping = 0
    chores.run()
    assert len(ages) == 1
    assert ages[0] > 20_000


@pytest.mark.parametrize("hours", [2, -2])
def test_a_clock_that_is_set_takes_no_work_from_a_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    request = ask(place)
    assert place.queue.receive() == request.id
    assert request.task_id is not None
    with place.storage.database.write() as conn:
        begun = requests.claim(conn, request.id, lease_seconds=60)
    assert begun is not None
    chores = _Chores(place.storage, place.queue, limits(lease_seconds=60))
    real, real_monotonic = time.time, time.monotonic
    passed = 0.0
    moment = timedelta(hours=hours)
    monkeypatch.setattr(time, "time", lambda: real() + passed + moment.total_seconds())
    monkeypatch.setattr(time, "monotonic", lambda: real_monotonic() + passed)
    for module in (requests, housekeeping):
        monkeypatch.setattr(module, "now", lambda: now() + moment + timedelta(seconds=passed))
    context = Context(begun, place.storage, limits(lease_seconds=60), threading.Event())
    with annotations.begin_set(place.storage, request.task_id) as writer:
        chores.run()
        passed = 55.0  # the work says that it lives, as the monitor does
        context.beat(None)
        chores.run()
        passed = 70.0
        chores.run()
        writer.close()
        with context.finishing() as conn:
            annotations.publish(conn, writer.set_id)
    assert (load(place, request).status, load(place, request).attempt) == ("finished", 1)


def test_work_that_died_is_found_after_the_clock_was_set(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(place)
    assert place.queue.receive() == request.id
    with place.storage.database.write() as conn:
        assert requests.claim(conn, request.id, lease_seconds=0.2) is not None
    chores = _Chores(place.storage, place.queue, limits(lease_seconds=0.2))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    chores.run()
    assert load(place, request).status == "started"
    time.sleep(0.25)
    chores.run()
    assert load(place, request).status == "queued"


@pytest.mark.parametrize("fault", ["busy", "handles", "threads"])
def test_a_busy_store_or_machine_is_tried_again_three_times(place: Place, fault: str) -> None:
    request = ask(place, "export:backup", fault=fault)
    states = [work_once(place, request).status]
    for _ in range(2):
        assert sweep(place.storage, place.queue) == 1
        states.append(work_once(place, request).status)
    assert states == ["queued", "queued", "failed"]


def test_work_without_a_thread_to_watch_it_is_put_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(place)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "monitor":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert work_once(place, request).status == "queued"
    assert sweep(place.storage, place.queue) == 1
    assert work_once(place, request).status == "finished"


def test_what_stopped_workers_gave_back_is_no_try_of_a_busy_store(place: Place) -> None:
    request = ask(place, "export:backup", fault="busy")
    for attempt in (1, 2):
        with place.storage.database.write() as conn:
            assert requests.claim(conn, request.id, lease_seconds=10) is not None
            requests.release(conn, request.id, attempt)
    states = [work_once(place, request).status]
    for _ in range(2):
        assert sweep(place.storage, place.queue) == 1
        states.append(work_once(place, request).status)
    assert states == ["queued", "queued", "failed"]


def test_running_work_is_cancelled_and_has_no_effect(place: Place) -> None:
    request = ask(place, seconds=600)
    assert place.queue.receive() == request.id
    thread = threading.Thread(
        target=run_request, args=(place.storage, HANDLERS, request.id, limits(), threading.Event())
    )
    thread.start()
    while load(place, request).progress in (None, 0.0):
        time.sleep(0.02)
    with pytest.raises(NotFound):
        cancel(place.storage, user(place.storage, "bob"), request.id)
    assert cancel(place.storage, place.ann, request.id).status == "failed"
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert (load(place, request).message, n_shapes(place, request)) == ("cancelled", 0)
    with pytest.raises(Conflict):
        cancel(place.storage, place.ann, request.id)


def test_queued_work_is_cancelled_before_it_begins(place: Place) -> None:
    request = ask(place)
    cancel(place.storage, place.ann, request.id)
    assert work_once(place, request).attempt == 0
    assert n_shapes(place, request) == 0


def test_a_cancel_between_the_work_and_its_end_undoes_the_effect(place: Place) -> None:
    request = ask(place)

    def handler(context: Context) -> None:
        cancel(place.storage, place.ann, request.id)
        with pytest.raises(Cancelled), context.finishing() as conn:
            annotations.append(conn, context.request.task_id or 0, Annotations(shapes=shapes([1])))
        raise Cancelled("as it was told")

    run_request(place.storage, {request.type: handler}, request.id, limits(), threading.Event())
    assert (load(place, request).message, n_shapes(place, request)) == ("cancelled", 0)


def test_a_message_that_comes_twice_has_one_effect(place: Place) -> None:
    request = ask(place)
    work_once(place, request)
    run_request(place.storage, HANDLERS, request.id, limits(), threading.Event())
    run_request(place.storage, HANDLERS, "unknown", limits(), threading.Event())
    assert n_shapes(place, request) == 1


def test_a_step_longer_than_the_lease_keeps_it(place: Place) -> None:
    request = ask(place)
    lease_seconds = 2.0
    ends: list[datetime] = []
    states: list[bool] = []

    def handler(context: Context) -> None:
        while not ends or ends[-1] < ends[0] + timedelta(seconds=lease_seconds):
            time.sleep(0.02)  # no progress report
            with place.storage.database.read() as conn:
                ends.append(conn.execute(sa.select(table.c.lease_until)).scalar_one())
                states.append(requests.has_lost(conn))

    short = limits(lease_seconds=lease_seconds)
    run_request(place.storage, {request.type: handler}, request.id, short, threading.Event())
    assert states[-1] is False
    assert load(place, request).status == "finished"


def test_a_worker_told_to_stop_gives_its_work_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the monitor may be the first to see that the time is over, and it would end this very process.
    monkeypatch.setattr(_Monitor, "_end", lambda *_: None)
    request = ask(place, seconds=600)
    stop = threading.Event()
    thread = threading.Thread(
        target=run_worker,
        args=(place.storage, place.queue, HANDLERS),
        kwargs={"limits": limits(grace_seconds=2), "stop": stop},
    )
    thread.start()
    while load(place, request).status == "queued":
        time.sleep(0.02)
    stop.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    found = load(place, request)
    assert (found.status, n_shapes(place, request)) == ("queued", 0)


def test_a_worker_serves_until_it_is_told_to_stop(place: Place) -> None:
    stop = threading.Event()
    thread = threading.Thread(
        target=run_worker, args=(place.storage, place.queue, HANDLERS), kwargs={"limits": limits(), "stop": stop}
    )
    thread.start()
    try:
        asked = [ask(place) for _ in range(3)]
        finals = [wait_until_final(place.storage, place.ann, request.id, PATIENCE_SECONDS) for request in asked]
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert [final.status for final in finals] == ["finished"] * 3


def test_waiting_ends_with_the_request_the_time_or_a_word(place: Place) -> None:
    request = ask(place)
    began = time.monotonic()
    assert wait_until_final(place.storage, place.ann, request.id, 0.2).status == "queued"
    assert 0.15 < time.monotonic() - began < 20
    assert wait_until_final(place.storage, place.ann, request.id, 60, should_stop=lambda: True).status == "queued"

    async def gone() -> bool:
        return True

    async def both() -> list[Request]:
        waiting = asyncio.create_task(wait_until_final_async(place.storage, place.ann, request.id, 60))
        stopped = await wait_until_final_async(place.storage, place.ann, request.id, 60, should_stop=gone)
        await asyncio.to_thread(work_once, place, request)
        return [stopped, await waiting]

    assert [found.status for found in asyncio.run(both())] == ["queued", "finished"]
    with pytest.raises(NotFound):
        wait_until_final(place.storage, user(place.storage, "bob"), request.id, 1)


def test_a_queue_that_fails_costs_time_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request_id: str) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(place.queue, "send", fail)
        request = ask(place)
    assert place.queue.receive() is None
    age(place, request, 61)
    assert sweep(place.storage, place.queue) == 1
    assert work_once(place, request).status == "finished"


def test_a_message_that_is_lost_is_missed_soon_where_none_waits(place: Place) -> None:
    """A worker, or the whole service, died between the message and the claim: nobody need wait for a minute."""
    lost = ask(place)
    assert place.queue.receive() == lost.id
    age(place, lost, 3)
    behind = ask(place)
    age(place, behind, -60)  # just now, however slow this machine is
    assert sweep(place.storage, place.queue) == 0, "messages wait: its own may be one of them"
    assert place.queue.receive() == behind.id
    assert sweep(place.storage, place.queue) == 1, "the one behind was announced just now"
    assert sweep(place.storage, place.queue) == 0
    assert work_once(place, lost).status == "finished"


def age(place: Place, request: Request, seconds: float) -> None:
    """It was queued so long ago."""
    with place.storage.database.write() as conn:
        earlier = {"queued_date": now() - timedelta(seconds=seconds)}
        conn.execute(table.update().where(table.c.id == request.id).values(**earlier))


def test_limits_are_plain_values() -> None:
    assert WorkerLimits().max_attempts == 3


def test_memory_over_the_limit_is_refused_to_the_handler_alone() -> None:
    program = (
        "import numpy as np\n"
        "from app.requests.limits import limit_memory\n"
        "limit_memory(100 << 20)\n"
        "np.ones(50 << 20, dtype=np.uint8)\n"
        "try:\n"
        "    np.ones(200 << 20, dtype=np.uint8)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "refused\n"
