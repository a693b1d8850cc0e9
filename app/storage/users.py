"""Accounts and passwords."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, TooManyRequests
from app.storage.access import visible
from app.storage.database import Connection, Database
from app.storage.listing import Field, Listing, fetch_page
from app.storage.rows import ListQuery, Page, User, UserRef
from app.storage.schema import login_failures, now, sessions, tokens, users

USERNAME = re.compile(r"[\w.@+-]{1,150}")
MAX_PASSWORD_CHARACTERS = 4096
FAILURE_WINDOW = timedelta(minutes=1)
_hasher = PasswordHasher()  # argon2id with the library's current recommendation (RFC 9106, low memory)

LISTING = Listing(
    fields={
        "id": Field(users.c.id, "integer"),
        "username": Field(users.c.username),
        "first_name": Field(users.c.first_name),
        "last_name": Field(users.c.last_name),
        "is_active": Field(users.c.is_active, "boolean"),
    },
    search=("username", "first_name", "last_name"),
    unique=users.c.id,
)


@cache
def _nobody() -> str:
    """A hash that no password fits, so an unknown name costs what a known one does."""
    return _hasher.hash("no such user")


def user_from(row: Any) -> User:
    return User(
        id=row.id,
        username=row.username,
        first_name=row.first_name,
        last_name=row.last_name,
        email=row.email,
        is_admin=row.is_admin,
        is_active=row.is_active,
        created_date=row.created_date,
        last_login=row.last_login,
    )


def ref_columns(table: Any, prefix: str) -> list[sa.ColumnElement[Any]]:
    """The columns of a joined user, for `ref_from`."""
    return [getattr(table.c, name).label(f"{prefix}_{name}") for name in ("id", "username", "first_name", "last_name")]


def ref_from(row: Any, prefix: str) -> UserRef | None:
    values = row._mapping
    if values[f"{prefix}_id"] is None:
        return None
    return UserRef(*(values[f"{prefix}_{name}"] for name in ("id", "username", "first_name", "last_name")))


def _hash(password: str) -> str:
    if not 1 <= len(password) <= MAX_PASSWORD_CHARACTERS or "\x00" in password:
        raise InvalidInput(f"a password has 1 to {MAX_PASSWORD_CHARACTERS} characters", place="password")
    return _hasher.hash(password)


def create(
    conn: Connection,
    username: str,
    password: str | None,
    *,
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    is_admin: bool = False,
) -> User:
    """Add an account. Without a password it can only be used through tokens. Takes ~0.1 s (argon2).

    Raises:
        InvalidInput: the name is not 1 to 150 letters, digits and `@.+-_`.
        Conflict: the name is taken (in any letter case).
    """
    if not USERNAME.fullmatch(username):
        raise InvalidInput("a user name has 1 to 150 letters, digits and @.+-_", place="username")
    if find(conn, username) is not None:
        raise Conflict(f"the user name {username} is taken")
    row = conn.execute(
        users.insert()
        .values(
            username=username,
            username_key=username.casefold(),
            first_name=first_name[:150],
            last_name=last_name[:150],
            email=email[:254],
            is_admin=is_admin,
            is_active=True,
            password_hash=None if password is None else _hash(password),
            created_date=now(),
        )
        .returning(users)
    ).one()
    return user_from(row)


def get(conn: Connection, user_id: int) -> User:
    """Raises NotFound."""
    row = conn.execute(_by_id(), {"key": user_id}).one_or_none()
    if row is None:
        raise NotFound("user", user_id)
    return user_from(row)


@cache
def _by_id() -> sa.Select[Any]:
    """Made once, as the other that each request asks for its caller."""
    return sa.select(users).where(users.c.id == sa.bindparam("key"))


def find(conn: Connection, username: str) -> User | None:
    """By name, in any letter case."""
    row = conn.execute(_by_name(), {"key": username.casefold()[:150]}).one_or_none()
    return None if row is None else user_from(row)


@cache
def _by_name() -> sa.Select[Any]:
    return sa.select(users).where(users.c.username_key == sa.bindparam("key"))


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[User]:
    """Everybody for an admin; for others themselves."""
    return fetch_page(conn, visible(sa.select(users), users, viewer), LISTING, query, user_from)


def set_password(conn: Connection, user_id: int, password: str) -> None:
    """Replace the password; every session and login key of the user ends."""
    changed = conn.execute(users.update().where(users.c.id == user_id).values(password_hash=_hash(password)))
    if changed.rowcount == 0:
        raise NotFound("user", user_id)
    conn.execute(sessions.delete().where(sessions.c.user_id == user_id))
    conn.execute(tokens.delete().where(tokens.c.owner_id == user_id, tokens.c.kind == "login"))


def change(
    conn: Connection,
    user_id: int,
    *,
    first_name: str | None = None,
    last_name: str | None = None,
    email: str | None = None,
    is_admin: bool | None = None,
    is_active: bool | None = None,
) -> User:
    """Change an account; None leaves a field."""
    given = {
        "first_name": first_name,
        "last_name": last_name,
        "email": email,
        "is_admin": is_admin,
        "is_active": is_active,
    }
    values = {name: value for name, value in given.items() if value is not None}
    if values:
        conn.execute(users.update().where(users.c.id == user_id).values(**values))
    return get(conn, user_id)


def authenticate(
    database: Database, username: str, password: str, address: str, *, max_failures_per_minute: int = 10
) -> User:
    """Check a password and note the login. The same time and the same answer for unknown names; ~0.1 s of CPU.

    Raises:
        NotAuthenticated: wrong name or password, or the account is not active.
        TooManyRequests: too many failures of this name from this address.
    """
    place = hashlib.sha256(f"{username.casefold()}\x00{address}".encode("utf-8", "replace")).hexdigest()
    recent = sa.select(sa.func.count()).select_from(login_failures)
    with database.read() as conn:
        since = now() - FAILURE_WINDOW
        n_failures = conn.execute(
            recent.where(login_failures.c.key == place, login_failures.c.moment.between(since, now()))
        ).scalar_one()
        row = conn.execute(sa.select(users).where(users.c.username_key == username.casefold()[:150])).one_or_none()
    if n_failures >= max_failures_per_minute:
        raise TooManyRequests("too many failed logins, wait a minute", retry_after_seconds=60)
    known_hash = row.password_hash if row is not None and row.is_active else None
    try:
        is_right = (
            _hasher.verify(known_hash or _nobody(), password[:MAX_PASSWORD_CHARACTERS]) and known_hash is not None
        )
    except (VerificationError, InvalidHashError):
        is_right = False
    with database.write() as conn:
        if row is None or known_hash is None or not is_right:
            conn.execute(login_failures.delete().where(login_failures.c.moment < now() - FAILURE_WINDOW))
            conn.execute(login_failures.insert().values(key=place, moment=now()))
        else:
            conn.execute(login_failures.delete().where(login_failures.c.key == place))
            changes: dict[str, Any] = {"last_login": now()}
            if _hasher.check_needs_rehash(known_hash):
                changes["password_hash"] = _hasher.hash(password)
            still = sa.and_(users.c.id == row.id, users.c.password_hash == known_hash, users.c.is_active)
            if conn.execute(users.update().where(still).values(**changes)).rowcount:  # else changed while we looked
                return get(conn, row.id)
    raise NotAuthenticated("wrong user name or password")


def ensure_local_admin(conn: Connection, username: str = "admin") -> User:
    """The account of `auth_mode=local`: made without a password when there is none of that name."""
    found = find(conn, username)
    if found is None:
        # Several processes may be the first one, on PostgreSQL at the same moment.
        with suppress(sa.exc.IntegrityError), conn.begin_nested():
            return create(conn, username, None, is_admin=True)
        found = find(conn, username)
        assert found is not None, "somebody else has made it"
    return found


def has_password(conn: Connection, user_id: int) -> bool:
    """Whether the account can log in with a password; the local admin cannot until it is given one."""
    query = sa.select(users.c.password_hash.is_not(None)).where(users.c.id == user_id)
    return bool(conn.execute(query).scalar_one_or_none())
