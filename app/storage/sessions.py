"""Sessions of browsers and of password logins: cookie values, stored as SHA-256."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from app.storage.database import Connection
from app.storage.rows import Session
from app.storage.schema import now, sessions, users
from app.storage.tokens import digest, random_text
from app.storage.users import user_from


def create(conn: Connection, user_id: int, *, ttl_seconds: int = 14 * 86400) -> tuple[str, str]:
    """(session key, CSRF token); letters and digits only."""
    session_key, csrf_token = random_text(40), random_text(40)
    conn.execute(
        sessions.insert().values(
            hash=digest(session_key),
            user_id=user_id,
            csrf_token=csrf_token,
            created_date=now(),
            expiry_date=now() + timedelta(seconds=ttl_seconds),
        )
    )
    return session_key, csrf_token


def find(conn: Connection, session_key: str) -> Session | None:
    """The session of a cookie, if it is alive and its user active."""
    row = conn.execute(_alive(), {"digest": digest(session_key), "moment": now()}).one_or_none()
    return None if row is None else Session(user_from(row), row.csrf_token, row.expiry_date)


@cache
def _alive() -> sa.Select[Any]:
    """Made once: each request with a cookie asks it."""
    later = sessions.c.expiry_date > sa.bindparam("moment", type_=sessions.c.expiry_date.type)
    found = sa.select(sessions.c.csrf_token, sessions.c.expiry_date, users)
    found = found.join(users, users.c.id == sessions.c.user_id)
    return found.where(sessions.c.hash == sa.bindparam("digest"), later, users.c.is_active)


def delete(conn: Connection, session_key: str) -> None:
    """End a session; unknown ones are fine."""
    conn.execute(sessions.delete().where(sessions.c.hash == digest(session_key)))
