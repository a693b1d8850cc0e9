"""Issues and comments (cvat-api 15)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from app.api.deps import Links
from app.api.schemas.basic import BasicUser, Id, PatchModel, ReadModel, Text, Whole, WriteModel
from app.storage import issues

Message = Annotated[Text, Field(min_length=1, max_length=issues.MAX_MESSAGE_CHARACTERS)]
Position = Annotated[list[float], Field(min_length=2, max_length=issues.MAX_NUMBERS)]


class IssueWriteRequest(WriteModel):
    """A new issue; the message becomes its first comment."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"frame": 0, "position": [10, 20], "job": 1, "message": "the ear is missing"}]}
    )

    frame: Whole
    position: Position
    job: Id
    assignee: Id | None = None
    message: Message
    resolved: bool = False


class PatchedIssueWriteRequest(PatchModel):
    """A change of an issue."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"resolved": True}]})

    position: Position = Field(default_factory=list)
    assignee: Id | None = None
    resolved: bool = False


class CommentsSummary(ReadModel):
    count: int = Field(examples=[1])
    url: str = Field(examples=["https://host/api/comments?issue_id=3"])


class IssueRead(ReadModel):
    """What somebody has to say about a place on a frame."""

    id: int = Field(examples=[3])
    frame: int = Field(examples=[0])
    position: list[float] = Field(examples=[[10.0, 20.0]])
    job: int = Field(examples=[1])
    owner: BasicUser | None
    assignee: BasicUser | None
    created_date: datetime
    updated_date: datetime
    resolved: bool
    comments: CommentsSummary

    @classmethod
    def of(cls, issue: issues.Issue, links: Links) -> IssueRead:
        return cls(
            id=issue.id,
            frame=issue.frame,
            position=list(issue.position),
            job=issue.job_id,
            owner=BasicUser.of_optional(issue.owner, links),
            assignee=BasicUser.of_optional(issue.assignee, links),
            created_date=issue.created_date,
            updated_date=issue.updated_date,
            resolved=issue.resolved,
            comments=CommentsSummary(count=issue.n_comments, url=links.url("/api/comments", issue_id=issue.id)),
        )


class CommentWriteRequest(WriteModel):
    """A new comment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"issue": 3, "message": "done"}]})

    issue: Id
    message: Message


class PatchedCommentWriteRequest(PatchModel):
    """A change of a comment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "see frame 7 as well"}]})

    message: Message = ""


class CommentRead(ReadModel):
    """One message below an issue."""

    id: int = Field(examples=[7])
    issue: int = Field(examples=[3])
    owner: BasicUser | None
    message: str
    created_date: datetime
    updated_date: datetime

    @classmethod
    def of(cls, comment: issues.Comment, links: Links) -> CommentRead:
        return cls(
            id=comment.id,
            issue=comment.issue_id,
            owner=BasicUser.of_optional(comment.owner, links),
            message=comment.message,
            created_date=comment.created_date,
            updated_date=comment.updated_date,
        )
