"""The asking side: record work, wait for its end, cancel it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from app.errors import Busy
from app.requests.queue import Queue
from app.steps import reach
from app.storage import Request, RequestDraft, Storage, User, requests

log = structlog.get_logger(__name__)

# Small work ends within the first steps; long work is not asked about often.
FIRST_STEP_SECONDS = 0.05
LAST_STEP_SECONDS = 0.15
STEP_GROWTH = 1.3


def enqueue(
    storage: Storage,
    queue: Queue,
    owner: User,
    draft: RequestDraft,
    *,
    max_queued_per_user: int = 20,
    max_queued: int = 500,
    reuse_finished: bool = False,
) -> Request:
    """Record work and announce it to the workers. See `storage.requests.create` for what it raises."""
    with storage.database.write() as conn:
        request, is_new = requests.create(
            conn,
            owner,
            draft,
            max_queued_per_user=max_queued_per_user,
            max_queued=max_queued,
            reuse_finished=reuse_finished,
        )
    if is_new:
        reach("queue.committed")
        announce(queue, request.id)
        reach("queue.announced")
        log.info("request queued", rq_id=request.id, type=request.type, user_id=owner.id)
    return request


def announce(queue: Queue, request_id: str) -> None:
    """Tell the workers. The row is committed, so a queue that fails only costs time: the sweep will find it."""
    try:
        queue.send(request_id)
    except Busy as error:
        log.warning("request not announced; it will start within a minute", rq_id=request_id, reason=error.detail)
    except Exception:
        log.exception("the queue took no message; the request will start within a minute", rq_id=request_id)


def cancel(storage: Storage, viewer: User, request_id: str) -> Request:
    """Cancel queued or running work. Raises NotFound, Conflict where it is final."""
    with storage.database.write() as conn:
        request = requests.cancel(conn, viewer, request_id)
    log.info("request cancelled", rq_id=request_id, type=request.type, user_id=viewer.id)
    return request


def _read(storage: Storage, viewer: User, request_id: str) -> Request:
    with storage.database.read() as conn:
        return requests.get(conn, viewer, request_id)


def wait_until_final(
    storage: Storage,
    viewer: User,
    request_id: str,
    seconds: float,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Request:
    """The request as soon as it is final, else as it is after `seconds`. Steps grow from 50 ms to 500 ms.

    Raises:
        NotFound: unknown or foreign.
    """
    deadline = time.monotonic() + seconds
    step = FIRST_STEP_SECONDS
    while True:
        request = _read(storage, viewer, request_id)
        left = deadline - time.monotonic()
        if request.is_final or left <= 0 or should_stop():
            return request
        time.sleep(min(step, left))
        step = min(step * STEP_GROWTH, LAST_STEP_SECONDS)


async def wait_until_final_async(
    storage: Storage,
    viewer: User,
    request_id: str,
    seconds: float,
    *,
    should_stop: Callable[[], Awaitable[bool]] | None = None,
) -> Request:
    """The same for an event loop: sleeps there, reads in a thread. `should_stop`: client gone, or shutdown."""
    deadline = time.monotonic() + seconds
    step = FIRST_STEP_SECONDS
    while True:
        request = await asyncio.to_thread(_read, storage, viewer, request_id)
        left = deadline - time.monotonic()
        if request.is_final or left <= 0 or (should_stop is not None and await should_stop()):
            return request
        await asyncio.sleep(min(step, left))
        step = min(step * STEP_GROWTH, LAST_STEP_SECONDS)
