"""Pages of lists (cvat-api 1.1)."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import Field

from app.api.schemas.basic import BasicUser, ReadModel
from app.api.schemas.issues import CommentRead, IssueRead
from app.api.schemas.jobs import JobRead
from app.api.schemas.labels import Label
from app.api.schemas.projects import ProjectRead
from app.api.schemas.requests import Request
from app.api.schemas.tasks import TaskRead
from app.api.schemas.users import AccessTokenRead, User

Item = TypeVar("Item")


class Paginated(ReadModel, Generic[Item]):
    """One page; `next` is null on the last."""

    count: int = Field(description="Of all pages", examples=[42])
    next: str | None = Field(examples=["https://host/api/tasks?page=3"])
    previous: str | None = Field(examples=[None])
    results: list[Item]


class PaginatedTaskReadList(Paginated[TaskRead]):
    """Tasks."""


class PaginatedProjectReadList(Paginated[ProjectRead]):
    """Projects."""


class PaginatedJobReadList(Paginated[JobRead]):
    """Jobs."""


class PaginatedIssueReadList(Paginated[IssueRead]):
    """Issues."""


class PaginatedCommentReadList(Paginated[CommentRead]):
    """Comments."""


class PaginatedLabelList(Paginated[Label]):
    """Labels."""


class PaginatedMetaUserList(Paginated[User | BasicUser]):
    """Users."""


class PaginatedRequestList(Paginated[Request]):
    """Background work."""


class PaginatedAccessTokenReadList(Paginated[AccessTokenRead]):
    """Access tokens."""
