"""Bring back lost work, end what died too often."""

from __future__ import annotations

from app.requests.queue import Queue
from app.storage import Storage


def sweep(storage: Storage, queue: Queue, *, max_attempts: int = 3, request_ttl_seconds: int = 7 * 86400) -> int:
    """Send the ids of lost requests to the queue again. Returns how many. Workers do it each minute and at start."""
    raise NotImplementedError
