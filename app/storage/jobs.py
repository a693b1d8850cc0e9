"""Jobs: windows on the frames of a task."""

from __future__ import annotations

from typing import Any

from app.storage.database import Connection
from app.storage.rows import Job, ListQuery, Page, User


def get(conn: Connection, viewer: User, job_id: int) -> Job:
    """Raises NotFound."""
    raise NotImplementedError


def load(conn: Connection, job_id: int) -> Job:
    """The same without a viewer, for background work."""
    raise NotImplementedError


def of_task(conn: Connection, task_id: int) -> tuple[Job, ...]:
    """All jobs of a task in frame order."""
    raise NotImplementedError


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Job]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    raise NotImplementedError


def change(conn: Connection, viewer: User, job_id: int, **fields: Any) -> Job:
    """Change `stage`, `state`, `assignee_id`; a new stage resets the state to `new` unless it is given.

    Raises:
        InvalidInput: unknown user, stage or state.
    """
    raise NotImplementedError
