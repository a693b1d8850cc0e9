"""What the other wire models are made of."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.api.deps import Links
from app.storage import UserRef

MAX_INT = 2_147_483_647


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("Null characters are not allowed.")
    return text


def _name(text: str) -> str:
    # Terminals, logs and file names carry names further; none of a picture or class has a control character.
    if any(unicodedata.category(c) == "Cc" for c in text):
        raise ValueError("Control characters are not allowed in a name.")
    if not text.strip():
        raise ValueError("This field may not be blank.")
    return text


def _no_boolean(value: Any) -> Any:
    # To pydantic a boolean is a number, to CVAT's clients it is none.
    if isinstance(value, bool):
        raise ValueError("A valid integer is required.")
    return value


def _blank_if_null(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, AfterValidator(_no_nul)]
PlainName = Annotated[Text, AfterValidator(_name)]
Name = Annotated[PlainName, Field(min_length=1, max_length=256)]
OptionalText = Annotated[
    Text, BeforeValidator(_blank_if_null, json_schema_input_type=str | None), Field(max_length=2000)
]
"""A text that null empties: scripts send back the nulls they read elsewhere."""

# Limits first: behind a validator they would not be known to the contract.
Whole = Annotated[int, Field(ge=0, le=MAX_INT), BeforeValidator(_no_boolean)]
Id = Annotated[int, Field(ge=1, le=2**53 - 1), BeforeValidator(_no_boolean)]

PathId = Annotated[int, Field(ge=0, le=2**53 - 1)]


class WriteModel(BaseModel):
    """A body from a client. Unknown keys are ignored: people send back what they have read."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    def given(self, *names: str) -> dict[str, Any]:
        """The fields that the client sent, of these names."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class PatchModel(WriteModel):
    """A change: what is not sent stays as it is, so the contract shows no defaults."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler.resolve_ref_schema(handler(schema))
        for field in described.get("properties", {}).values():
            field.pop("default", None)
        return described


class ReadModel(BaseModel):
    """An answer. Fields that were never set are left out of it."""

    model_config = ConfigDict(frozen=True)


class BasicUser(ReadModel):
    """A user as others see them."""

    url: str = Field(examples=["https://host/api/users/1"])
    id: int = Field(examples=[1])
    username: str = Field(examples=["admin"])
    first_name: str = ""
    last_name: str = ""

    @classmethod
    def of(cls, user: UserRef, links: Links) -> BasicUser:
        return cls(
            url=links.url(f"/api/users/{user.id}"),
            id=user.id,
            username=user.username,
            first_name=user.first_name,
            last_name=user.last_name,
        )

    @classmethod
    def of_optional(cls, user: UserRef | None, links: Links) -> BasicUser | None:
        return None if user is None else cls.of(user, links)


class StorageRequest(WriteModel):
    """Where a task's files are to lie; only this service's own store is offered."""

    location: Literal["local"] = Field("local", description="`cloud_storage` is not offered")
    cloud_storage_id: None = None


class Storage(ReadModel):
    """Where a task's files lie. Always null here: in this service's own store."""

    id: int
    location: Literal["local", "cloud_storage"]
    cloud_storage_id: int | None = None


class LabelsSummary(ReadModel):
    url: str = Field(examples=["https://host/api/labels?task_id=5"])


class JobsSummary(ReadModel):
    count: int = Field(examples=[1])
    completed: int | None = Field(examples=[0])
    validation: int | None = Field(examples=[0])
    url: str = Field(examples=["https://host/api/jobs?task_id=5"])


class TasksSummary(ReadModel):
    count: int = Field(examples=[2])
    url: str = Field(examples=["https://host/api/tasks?project_id=3"])


class IssuesSummary(ReadModel):
    count: int = Field(examples=[0])
    url: str = Field(examples=["https://host/api/issues?job_id=11"])


class Detail(ReadModel):
    detail: str


class RqId(ReadModel):
    """The id of background work, for GET /api/requests/{id}."""

    rq_id: str = Field(examples=["4f0c5a3d9e7b4c6f8a1b2c3d4e5f6071"])
