"""Accounts and passwords."""

from __future__ import annotations

from app.storage.database import Connection, Database
from app.storage.rows import ListQuery, Page, User


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
    raise NotImplementedError


def get(conn: Connection, user_id: int) -> User:
    """Raises NotFound."""
    raise NotImplementedError


def find(conn: Connection, username: str) -> User | None:
    """By name, in any letter case."""
    raise NotImplementedError


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[User]:
    """Everybody for an admin; for others themselves."""
    raise NotImplementedError


def set_password(conn: Connection, user_id: int, password: str) -> None:
    """Replace the password; every session and login key of the user ends."""
    raise NotImplementedError


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
    raise NotImplementedError


def authenticate(
    database: Database, username: str, password: str, address: str, *, max_failures_per_minute: int = 10
) -> User:
    """Check a password and note the login. The same time and the same answer for unknown names; ~0.1 s of CPU.

    Raises:
        NotAuthenticated: wrong name or password, or the account is not active.
        TooManyRequests: too many failures of this name from this address.
    """
    raise NotImplementedError


def ensure_local_admin(conn: Connection, username: str = "admin") -> User:
    """The account of `auth_mode=local`: made without a password when there is none of that name."""
    raise NotImplementedError
