"""Bring back lost work, end what died too often."""

from __future__ import annotations

import structlog

from app.requests.asking import announce
from app.requests.queue import Queue
from app.storage import Storage, requests

log = structlog.get_logger(__name__)


def sweep(
    storage: Storage,
    queue: Queue,
    *,
    max_attempts: int = 3,
    request_ttl_seconds: int = 7 * 86400,
    lost_after_seconds: float = requests.LOST_AFTER_SECONDS,
) -> int:
    """Send the ids of lost requests to the queue again. Returns how many. Workers do it at start and every few seconds;
    where nothing is lost it is one read."""
    with storage.database.read() as conn:
        if not requests.has_lost(conn, lost_after_seconds=lost_after_seconds):
            return 0
    with storage.database.write() as conn:
        lost = requests.requeue_lost(
            conn,
            max_attempts=max_attempts,
            ttl_seconds=request_ttl_seconds,
            lost_after_seconds=lost_after_seconds,
        )
    for request_id in lost:
        announce(queue, request_id)
        log.warning("request announced again", rq_id=request_id)
    return len(lost)
