"""Bring back lost work, end what died too often."""

from __future__ import annotations

import structlog

from app.errors import Busy
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
    where nothing is lost it is two reads."""
    if _is_empty(queue):
        lost_after_seconds = min(lost_after_seconds, requests.GONE_AFTER_SECONDS)
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


def _is_empty(queue: Queue) -> bool:
    """Whether no message waits: then what has been queued for a while is nobody's. Whoever sent its message died before
    that, or whoever received it died before the claim; after a restart it need not wait for a minute."""
    try:
        return len(queue) == 0
    except Busy as error:
        log.warning("the queue cannot be read", reason=error.detail)
        return False
