"""Keys of logins and personal access tokens: shown once, stored as SHA-256."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from app.storage.database import Connection, Database
from app.storage.rows import Token, User


def create(
    conn: Connection,
    owner_id: int,
    name: str = "",
    *,
    kind: Literal["login", "access"] = "access",
    expiry_date: datetime | None = None,
    read_only: bool = False,
) -> tuple[Token, str]:
    """A new token and its secret (a login key is 40 characters; letters and digits only)."""
    raise NotImplementedError


def verify(database: Database, secret: str) -> tuple[User, Token] | None:
    """Whose token this is, if it is alive. Notes the use (once a minute at most)."""
    raise NotImplementedError


def get(conn: Connection, viewer: User, token_id: int) -> Token:
    """Raises NotFound."""
    raise NotImplementedError


def list_all(conn: Connection, viewer: User) -> tuple[Token, ...]:
    """The viewer's own access tokens, newest first."""
    raise NotImplementedError


def change(
    conn: Connection,
    viewer: User,
    token_id: int,
    *,
    name: str | None = None,
    read_only: bool | None = None,
    expiry_date: datetime | None | Literal["keep"] = "keep",
) -> Token:
    """Change a token of the viewer."""
    raise NotImplementedError


def revoke(conn: Connection, viewer: User, token_id: int) -> None:
    """End a token of the viewer."""
    raise NotImplementedError


def revoke_secret(conn: Connection, secret: str) -> None:
    """End the token with this secret (logout); unknown ones are fine."""
    raise NotImplementedError
