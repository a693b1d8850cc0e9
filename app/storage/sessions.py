"""Sessions of browsers and of password logins: cookie values, stored as SHA-256."""

from __future__ import annotations

from app.storage.database import Connection
from app.storage.rows import Session


def create(conn: Connection, user_id: int, *, ttl_seconds: int = 14 * 86400) -> tuple[str, str]:
    """(session key, CSRF token); letters and digits only."""
    raise NotImplementedError


def find(conn: Connection, session_key: str) -> Session | None:
    """The session of a cookie, if it is alive and its user active."""
    raise NotImplementedError


def delete(conn: Connection, session_key: str) -> None:
    """End a session; unknown ones are fine."""
    raise NotImplementedError
