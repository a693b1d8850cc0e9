"""Issues: what somebody has to say about a place on a frame of a job, and the comments below it.

They are seen with the job. Anybody who sees the job may add to them; an issue or a comment is changed and removed by
who wrote it, by the owner of the task, or by an administrator; an issue is resolved, and assigned, by all who see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.errors import AccessDenied, InvalidInput, NotFound
from app.storage.access import visible
from app.storage.changes import later
from app.storage.database import Connection
from app.storage.listing import Field, Listing, fetch_page
from app.storage.projects import check_user
from app.storage.rows import ListQuery, Page, User, UserRef
from app.storage.schema import comments, issues, jobs, now, tasks, users
from app.storage.users import ref_columns, ref_from

MAX_NUMBERS = 10_000
MAX_COORDINATE = 1e7
MAX_MESSAGE_CHARACTERS = 16_384

_owners = users.alias("owners")
_assignees = users.alias("assignees")


@dataclass(frozen=True, slots=True)
class Issue:
    """`position` is a list of coordinates, x and y in turn."""

    id: int
    job_id: int
    frame: int
    position: tuple[float, ...]
    resolved: bool
    owner: UserRef | None
    assignee: UserRef | None
    n_comments: int
    created_date: datetime
    updated_date: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """One message below an issue."""

    id: int
    issue_id: int
    owner: UserRef | None
    message: str
    created_date: datetime
    updated_date: datetime


LISTING = Listing(
    fields={
        "id": Field(issues.c.id, "integer"),
        "owner": Field(_owners.c.username),
        "assignee": Field(_assignees.c.username),
        "job_id": Field(issues.c.job_id, "integer"),
        "task_id": Field(jobs.c.task_id, "integer"),
        "frame_id": Field(issues.c.frame, "integer"),
        "resolved": Field(issues.c.resolved, "boolean"),
    },
    search=("owner", "assignee"),
    unique=issues.c.id,
)
COMMENT_LISTING = Listing(
    fields={
        "id": Field(comments.c.id, "integer"),
        "owner": Field(_owners.c.username),
        "issue_id": Field(comments.c.issue_id, "integer"),
        "job_id": Field(issues.c.job_id, "integer"),
        "frame_id": Field(issues.c.frame, "integer"),
    },
    search=("owner",),
    unique=comments.c.id,
)


def _select() -> sa.Select[Any]:
    n_comments = sa.select(sa.func.count()).select_from(comments).where(comments.c.issue_id == issues.c.id)
    return (
        sa.select(
            issues,
            n_comments.correlate(issues).scalar_subquery().label("n_comments"),
            *ref_columns(_owners, "owner_ref"),
            *ref_columns(_assignees, "assignee_ref"),
        )
        .join(jobs, jobs.c.id == issues.c.job_id)
        .join(_owners, _owners.c.id == issues.c.owner_id, isouter=True)
        .join(_assignees, _assignees.c.id == issues.c.assignee_id, isouter=True)
    )


def _issue(row: Any) -> Issue:
    return Issue(
        id=row.id,
        job_id=row.job_id,
        frame=row.frame,
        position=tuple(row.position),
        resolved=row.resolved,
        owner=ref_from(row, "owner_ref"),
        assignee=ref_from(row, "assignee_ref"),
        n_comments=row.n_comments,
        created_date=row.created_date,
        updated_date=row.updated_date,
    )


def _select_comments() -> sa.Select[Any]:
    return (
        sa.select(comments, *ref_columns(_owners, "owner_ref"))
        .join(issues, issues.c.id == comments.c.issue_id)
        .join(_owners, _owners.c.id == comments.c.owner_id, isouter=True)
    )


def _comment(row: Any) -> Comment:
    return Comment(row.id, row.issue_id, ref_from(row, "owner_ref"), row.message, row.created_date, row.updated_date)


# ---- issues


def create(
    conn: Connection,
    owner: User,
    job_id: int,
    frame: int,
    position: Sequence[float],
    message: str,
    *,
    assignee_id: int | None = None,
    resolved: bool = False,
) -> Issue:
    """Add an issue to a job; the message becomes its first comment.

    Raises:
        InvalidInput: no such job or assignee, a frame that is not the job's, a position that is none, no message.
    """
    chosen = visible(sa.select(jobs.c.start_frame, jobs.c.stop_frame), jobs, owner).where(jobs.c.id == job_id)
    job = conn.execute(chosen).one_or_none()
    if job is None:
        raise InvalidInput(f"there is no job {job_id}", place="job")
    if not job.start_frame <= frame <= job.stop_frame:
        raise InvalidInput(f"the job has the frames {job.start_frame} to {job.stop_frame}", place="frame")
    moment = now()
    issue_id = conn.execute(
        issues.insert()
        .values(
            job_id=job_id,
            frame=frame,
            position=_check_position(position),
            resolved=resolved,
            owner_id=owner.id,
            assignee_id=check_user(conn, assignee_id, "assignee"),
            created_date=moment,
            updated_date=moment,
        )
        .returning(issues.c.id)
    ).scalar_one()
    add_comment(conn, owner, issue_id, message)
    return get(conn, owner, issue_id)


def _check_position(position: Sequence[float]) -> list[float]:
    if not 2 <= len(position) <= MAX_NUMBERS or len(position) % 2:
        raise InvalidInput(f"a position is 2 to {MAX_NUMBERS:,} numbers, x and y in turn", place="position")
    if not all(math.isfinite(number) and abs(number) <= MAX_COORDINATE for number in position):
        raise InvalidInput("a coordinate is out of range", place="position")
    return [float(number) for number in position]


def _check_message(message: str) -> str:
    if not 1 <= len(message.strip()) <= MAX_MESSAGE_CHARACTERS or "\x00" in message:
        raise InvalidInput(f"a message has 1 to {MAX_MESSAGE_CHARACTERS:,} characters", place="message")
    return message


def get(conn: Connection, viewer: User, issue_id: int) -> Issue:
    """Raises NotFound."""
    row = conn.execute(visible(_select(), issues, viewer).where(issues.c.id == issue_id)).one_or_none()
    if row is None:
        raise NotFound("issue", issue_id)
    return _issue(row)


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Issue]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    return fetch_page(conn, visible(_select(), issues, viewer), LISTING, query, _issue)


def change(conn: Connection, viewer: User, issue_id: int, **fields: Any) -> Issue:
    """Change `resolved`, `assignee_id`, `position`.

    Raises:
        NotFound, InvalidInput; AccessDenied: the position of somebody else's issue.
    """
    issue = get(conn, viewer, issue_id)
    values: dict[str, Any] = {}
    if "resolved" in fields:
        values["resolved"] = fields["resolved"]
    if "assignee_id" in fields:
        values["assignee_id"] = check_user(conn, fields["assignee_id"], "assignee")
    if "position" in fields:
        _check_author(conn, viewer, issue.owner, issue.job_id, "issue")
        values["position"] = _check_position(fields["position"])
    conn.execute(
        issues.update().where(issues.c.id == issue_id).values(**values, updated_date=later(issues.c.updated_date))
    )
    return get(conn, viewer, issue_id)


def delete(conn: Connection, viewer: User, issue_id: int) -> None:
    """Remove it with its comments. Raises NotFound, AccessDenied."""
    issue = get(conn, viewer, issue_id)
    _check_author(conn, viewer, issue.owner, issue.job_id, "issue")
    conn.execute(issues.delete().where(issues.c.id == issue_id))


def _check_author(conn: Connection, viewer: User, author: UserRef | None, job_id: int, what: str) -> None:
    if viewer.is_admin or (author is not None and author.id == viewer.id):
        return
    chosen = sa.select(tasks.c.owner_id).join(jobs, jobs.c.task_id == tasks.c.id).where(jobs.c.id == job_id)
    if conn.execute(chosen).scalar() != viewer.id:
        raise AccessDenied(f"only who wrote this {what}, the owner of the task or an administrator may do this")


# ---- comments


def add_comment(conn: Connection, owner: User, issue_id: int, message: str) -> Comment:
    """Raises InvalidInput: no such issue, no message."""
    known = visible(sa.select(issues.c.id), issues, owner).where(issues.c.id == issue_id)
    if conn.execute(known).one_or_none() is None:
        raise InvalidInput(f"there is no issue {issue_id}", place="issue")
    moment = now()
    values = {"message": _check_message(message), "created_date": moment, "updated_date": moment}
    made = comments.insert().values(issue_id=issue_id, owner_id=owner.id, **values).returning(comments.c.id)
    return get_comment(conn, owner, conn.execute(made).scalar_one())


def get_comment(conn: Connection, viewer: User, comment_id: int) -> Comment:
    """Raises NotFound."""
    chosen = visible(_select_comments(), comments, viewer).where(comments.c.id == comment_id)
    row = conn.execute(chosen).one_or_none()
    if row is None:
        raise NotFound("comment", comment_id)
    return _comment(row)


def list_comments(conn: Connection, viewer: User, query: ListQuery) -> Page[Comment]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    return fetch_page(conn, visible(_select_comments(), comments, viewer), COMMENT_LISTING, query, _comment)


def change_comment(conn: Connection, viewer: User, comment_id: int, message: str) -> Comment:
    """Raises NotFound, InvalidInput, AccessDenied."""
    _check_own(conn, viewer, comment_id)
    values = {"message": _check_message(message), "updated_date": later(comments.c.updated_date)}
    conn.execute(comments.update().where(comments.c.id == comment_id).values(**values))
    return get_comment(conn, viewer, comment_id)


def delete_comment(conn: Connection, viewer: User, comment_id: int) -> None:
    """Raises NotFound, AccessDenied."""
    _check_own(conn, viewer, comment_id)
    conn.execute(comments.delete().where(comments.c.id == comment_id))


def _check_own(conn: Connection, viewer: User, comment_id: int) -> None:
    comment = get_comment(conn, viewer, comment_id)
    issue = get(conn, viewer, comment.issue_id)
    _check_author(conn, viewer, comment.owner, issue.job_id, "comment")
