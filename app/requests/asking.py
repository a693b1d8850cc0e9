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

FIRST_STEP_SECONDS, LAST_STEP_SECONDS, STEP_SHARE = 0.02, 0.15, 0.05
"""A look takes 0.3 ms. Whoever waits is told of the end a twentieth too late at the most, or 20 ms: steps that grew by
themselves, from 50 ms to 150, made an export of 0.6 s one of 0.7."""


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
    """The request as soon as it is final, else as it is after `seconds`.

    Raises:
        NotFound: unknown or foreign.
    """
    began = time.monotonic()
    while True:
        request = _read(storage, viewer, request_id)
        waited = time.monotonic() - began
        left = seconds - waited
        if request.is_final or left <= 0 or should_stop():
            return request
        time.sleep(min(_step(waited), left))


async def wait_until_final_async(
    storage: Storage,
    viewer: User,
    request_id: str,
    seconds: float,
    *,
    should_stop: Callable[[], Awaitable[bool]] | None = None,
) -> Request:
    """The same for an event loop: sleeps there, reads in a thread. `should_stop`: client gone, or shutdown."""
    began = time.monotonic()
    while True:
        request = await asyncio.to_thread(_read, storage, viewer, request_id)
        waited = time.monotonic() - began
        left = seconds - waited
        if request.is_final or left <= 0 or (should_stop is not None and await should_stop()):
            return request
        await asyncio.sleep(min(_step(waited), left))


def _step(waited: float) -> float:
    """Seconds until the next look, after so many."""
    return min(max(FIRST_STEP_SECONDS, waited * STEP_SHARE), LAST_STEP_SECONDS)
