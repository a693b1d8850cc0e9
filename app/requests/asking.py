"""The asking side: record work, wait for its end, cancel it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.requests.queue import Queue
from app.storage import Request, RequestDraft, Storage, User


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
    raise NotImplementedError


def cancel(storage: Storage, viewer: User, request_id: str) -> Request:
    """Cancel queued or running work. Raises NotFound, Conflict where it is final."""
    raise NotImplementedError


def wait_until_final(
    storage: Storage,
    viewer: User,
    request_id: str,
    seconds: float,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Request:
    """The request as soon as it is final, else as it is after `seconds`. Steps grow from 50 ms to 500 ms."""
    raise NotImplementedError


async def wait_until_final_async(
    storage: Storage,
    viewer: User,
    request_id: str,
    seconds: float,
    *,
    should_stop: Callable[[], Awaitable[bool]] | None = None,
) -> Request:
    """The same for an event loop: sleeps there, reads in a thread. `should_stop`: client gone, or shutdown."""
    raise NotImplementedError
