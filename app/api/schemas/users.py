"""Users, logins and access tokens (cvat-api 2 and 15)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from app.api.deps import Links
from app.api.schemas.basic import BasicUser, Name, PatchModel, ReadModel, Text, WriteModel
from app.storage import Token
from app.storage import User as UserRow


class User(ReadModel):
    """A user's whole record, for themselves and for admins."""

    url: str = Field(examples=["https://host/api/users/1"])
    id: int = Field(examples=[1])
    username: str = Field(examples=["admin"])
    first_name: str
    last_name: str
    email: str
    groups: list[str] = Field(examples=[[]])
    is_staff: bool
    is_superuser: bool
    is_active: bool
    last_login: datetime | None
    date_joined: datetime

    @classmethod
    def of(cls, user: UserRow, links: Links) -> User:
        return cls(
            url=links.url(f"/api/users/{user.id}"),
            id=user.id,
            username=user.username,
            first_name=user.first_name,
            last_name=user.last_name,
            email=user.email,
            groups=["admin"] if user.is_admin else ["user"],
            is_staff=user.is_admin,
            is_superuser=user.is_admin,
            is_active=user.is_active,
            last_login=user.last_login,
            date_joined=user.created_date,
        )


class LoginRequest(WriteModel):
    """A name (or, in its place, an email that is a name) and a password."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "admin", "password": "secret"}]})

    username: Annotated[Text, Field(max_length=256)] = ""
    email: Annotated[Text, Field(max_length=256)] = ""
    password: Annotated[str, Field(max_length=1024)]


class LoginKey(ReadModel):
    """The key of a login, for `Authorization: Token <key>`."""

    key: str = Field(examples=["b4e1c2…"], max_length=40)


FIRST_YEAR, LAST_YEAR = 1970, 9990


def _with_zone(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:  # near the ends of time, arithmetic fails
        raise ValueError(f"A year from {FIRST_YEAR} to {LAST_YEAR} is needed.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_with_zone)]


class AccessTokenWriteRequest(WriteModel):
    """A new access token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "ci", "read_only": False}]})

    name: Name
    expiry_date: Moment | None = None
    read_only: bool = False


class PatchedAccessTokenWriteRequest(PatchModel):
    """A change of an access token: only what is sent is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "nightly"}]})

    name: Name = ""
    expiry_date: Moment | None = None
    read_only: bool = False


class AccessTokenRead(ReadModel):
    """An access token; `value`, the secret, is shown once, when it is made."""

    id: int = Field(examples=[2])
    name: str = Field(examples=["ci"])
    created_date: datetime
    updated_date: datetime
    expiry_date: datetime | None
    last_used_date: datetime | None
    read_only: bool
    owner: BasicUser
    value: str = ""

    @classmethod
    def of(cls, token: Token, links: Links, value: str | None = None) -> AccessTokenRead:
        secret = {} if value is None else {"value": value}
        return cls(
            id=token.id,
            name=token.name,
            created_date=token.created_date,
            updated_date=token.updated_date,
            expiry_date=token.expiry_date,
            last_used_date=token.last_used_date,
            read_only=token.read_only,
            owner=BasicUser.of(token.owner, links),
            **secret,
        )
