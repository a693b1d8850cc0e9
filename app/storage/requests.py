"""The rows of background work: the one truth about it (stack.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.storage.database import Connection
from app.storage.rows import ListQuery, Page, Request, RequestDraft, Result, User


def create(
    conn: Connection,
    owner: User,
    draft: RequestDraft,
    *,
    max_queued_per_user: int = 20,
    max_queued: int = 500,
    reuse_finished: bool = False,
) -> tuple[Request, bool]:
    """Record work as queued. Returns the request and whether it is new.

    An export that equals one of the same owner (type, target, format, options, and revisions of what it shows) which
    is queued or started, or with `reuse_finished` finished, is that one. Imports and data creation are exclusive.

    Raises:
        Conflict: an import or data creation of the same task (or project) is queued or started.
        TooManyRequests, Busy: the limits.
    """
    raise NotImplementedError


def get(conn: Connection, viewer: User, request_id: str) -> Request:
    """Raises NotFound."""
    raise NotImplementedError


def load(conn: Connection, request_id: str) -> Request:
    """The same without a viewer, for background work."""
    raise NotImplementedError


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Request]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    raise NotImplementedError


def cancel(conn: Connection, viewer: User, request_id: str) -> Request:
    """Fail a queued or started request with "cancelled". Raises Conflict where it is final."""
    raise NotImplementedError


def claim(conn: Connection, request_id: str, *, lease_seconds: float, max_attempts: int = 3) -> Request | None:
    """Take a request that is queued, or whose worker went silent; None where there is nothing to do."""
    raise NotImplementedError


def beat(
    conn: Connection, request_id: str, attempt: int, *, lease_seconds: float, progress: float | None, message: str = ""
) -> None:
    """Say that attempt is alive. Raises Cancelled where the request is no longer its."""
    raise NotImplementedError


def finish(
    conn: Connection,
    request_id: str,
    attempt: int,
    *,
    message: str = "",
    report: Mapping[str, Any] | None = None,
    result: Result | None = None,
    result_id: int | None = None,
    ttl_seconds: int,
) -> None:
    """Final status `finished`, in the transaction of the effect. Raises Cancelled where the request is not its."""
    raise NotImplementedError


def fail(
    conn: Connection,
    request_id: str,
    attempt: int,
    *,
    message: str,
    report: Mapping[str, Any] | None = None,
    ttl_seconds: int,
) -> None:
    """Final status `failed`. Raises Cancelled where the request is not its."""
    raise NotImplementedError


def release(conn: Connection, request_id: str, attempt: int) -> None:
    """Back to `queued` (a worker that must stop); the attempt does not count."""
    raise NotImplementedError


def requeue_lost(conn: Connection, *, max_attempts: int = 3, ttl_seconds: int) -> tuple[str, ...]:
    """Ids to be sent to the queue again: expired leases, and rows queued for more than a minute. The last attempt's
    death fails the request."""
    raise NotImplementedError


def mark_downloaded(conn: Connection, request_id: str, *, ttl_seconds: int) -> None:
    """Its result stays for `ttl_seconds` from now on."""
    raise NotImplementedError


def counts(conn: Connection) -> dict[str, int]:
    """Number of requests by status, for metrics."""
    raise NotImplementedError


def oldest_queued_seconds(conn: Connection) -> float:
    """Age of the oldest queued request; 0 where there is none."""
    raise NotImplementedError
