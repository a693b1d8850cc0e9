"""Keys of logins and personal access tokens: shown once, stored as SHA-256.

A secret is random (190 bits and more), so a plain hash is enough: there is nothing to guess from it.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa

from app.errors import Busy, InvalidInput, NoSpace, NotFound
from app.storage.access import visible
from app.storage.database import Connection, Database
from app.storage.listing import Field, Listing, fetch_page
from app.storage.rows import ListQuery, Page, Token, User
from app.storage.schema import now, tokens, users
from app.storage.users import get as get_user
from app.storage.users import ref_columns, ref_from

ALPHABET = string.ascii_letters + string.digits
LOGIN_KEY_CHARACTERS = 40  # the client takes no longer ones
ACCESS_PREFIX = "anp"
USE_IS_NOTED_EACH = timedelta(minutes=1)

LISTING = Listing(
    fields={
        "id": Field(tokens.c.id, "integer"),
        "name": Field(tokens.c.name),
        "read_only": Field(tokens.c.read_only, "boolean"),
        "created_date": Field(tokens.c.created_date, "moment"),
        "updated_date": Field(tokens.c.updated_date, "moment"),
        "expiry_date": Field(tokens.c.expiry_date, "moment"),
        "last_used_date": Field(tokens.c.last_used_date, "moment"),
    },
    search=("name",),
    unique=tokens.c.id,
)


def random_text(characters: int) -> str:
    """Letters and digits: 5.95 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _select() -> sa.Select[Any]:
    return sa.select(tokens, *ref_columns(users, "owner_ref")).join(users, users.c.id == tokens.c.owner_id)


def _token(row: Any) -> Token:
    owner = ref_from(row, "owner_ref")
    assert owner is not None, "the join is inner"
    return Token(
        id=row.id,
        owner=owner,
        kind=row.kind,
        name=row.name,
        prefix=row.prefix,
        read_only=row.read_only,
        created_date=row.created_date,
        updated_date=row.updated_date,
        expiry_date=row.expiry_date,
        last_used_date=row.last_used_date,
    )


def _check_name(name: str) -> str:
    if len(name) > 256 or "\x00" in name:
        raise InvalidInput("a token's name has at most 256 characters", place="name")
    return name


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
    secret = random_text(LOGIN_KEY_CHARACTERS) if kind == "login" else ACCESS_PREFIX + random_text(48)
    token_id = conn.execute(
        tokens.insert()
        .values(
            owner_id=owner_id,
            kind=kind,
            name=_check_name(name),
            prefix=secret[:8],
            hash=digest(secret),
            read_only=read_only,
            created_date=now(),
            updated_date=now(),
            expiry_date=expiry_date,
        )
        .returning(tokens.c.id)
    ).scalar_one()
    return _token(conn.execute(_select().where(tokens.c.id == token_id)).one()), secret


def verify(database: Database, secret: str) -> tuple[User, Token] | None:
    """Whose token this is, if it is alive. Notes the use (once a minute at most)."""
    with database.read() as conn:
        row = conn.execute(_alive(), {"digest": digest(secret), "moment": now()}).one_or_none()
        if row is None:
            return None
        token, user = _token(row), get_user(conn, row.owner_id)
    if token.last_used_date is None or not -USE_IS_NOTED_EACH < now() - token.last_used_date < USE_IS_NOTED_EACH:
        # A store that cannot be written for a moment still lets people read.
        with suppress(Busy, NoSpace), database.write() as conn:
            conn.execute(tokens.update().where(tokens.c.id == token.id).values(last_used_date=now()))
    return user, token


@cache
def _alive() -> sa.Select[Any]:
    """Made once: each request with a token asks it."""
    later = tokens.c.expiry_date > sa.bindparam("moment", type_=tokens.c.expiry_date.type)
    is_alive = sa.or_(tokens.c.expiry_date.is_(None), later)
    return _select().where(tokens.c.hash == sa.bindparam("digest"), is_alive, users.c.is_active)


def get(conn: Connection, viewer: User, token_id: int) -> Token:
    """An access token. Raises NotFound."""
    own = visible(_select(), tokens, viewer).where(tokens.c.id == token_id, tokens.c.kind == "access")
    row = conn.execute(own).one_or_none()
    if row is None:
        raise NotFound("token", token_id)
    return _token(row)


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Token]:
    """The viewer's own access tokens. Raises InvalidInput for an unknown field or operator, NotFound for a page."""
    own = _select().where(tokens.c.owner_id == viewer.id, tokens.c.kind == "access")
    return fetch_page(conn, own, LISTING, query, _token)


def change(
    conn: Connection,
    viewer: User,
    token_id: int,
    *,
    name: str | None = None,
    read_only: bool | None = None,
    expiry_date: datetime | Literal["keep"] | None = "keep",
) -> Token:
    """Change a token of the viewer."""
    get(conn, viewer, token_id)
    values: dict[str, Any] = {"updated_date": now()}
    if name is not None:
        values["name"] = _check_name(name)
    if read_only is not None:
        values["read_only"] = read_only
    if expiry_date != "keep":
        values["expiry_date"] = expiry_date
    conn.execute(tokens.update().where(tokens.c.id == token_id).values(**values))
    return get(conn, viewer, token_id)


def revoke(conn: Connection, viewer: User, token_id: int) -> None:
    """End a token of the viewer."""
    get(conn, viewer, token_id)
    conn.execute(tokens.delete().where(tokens.c.id == token_id))


def revoke_secret(conn: Connection, secret: str) -> None:
    """End the token with this secret (logout); unknown ones are fine."""
    conn.execute(tokens.delete().where(tokens.c.hash == digest(secret)))
