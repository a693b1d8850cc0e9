"""Projects: a name, labels, and tasks that share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.storage.database import Connection
from app.storage.rows import LabelDraft, ListQuery, Page, Project, User


def create(
    conn: Connection,
    owner: User,
    name: str,
    labels: Sequence[LabelDraft] = (),
    *,
    bug_tracker: str = "",
    assignee_id: int | None = None,
    owner_id: int | None = None,
) -> Project:
    """Add a project. Raises InvalidInput (name, labels, unknown assignee)."""
    raise NotImplementedError


def get(conn: Connection, viewer: User, project_id: int) -> Project:
    """Raises NotFound."""
    raise NotImplementedError


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Project]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    raise NotImplementedError


def change(conn: Connection, viewer: User, project_id: int, **fields: Any) -> Project:
    """Change `name`, `bug_tracker`, `owner_id`, `assignee_id` (None takes the assignee away), `labels` (drafts).

    Raises:
        InvalidInput: unknown user, bad value.
        NotFound: the project, or a label id.
    """
    raise NotImplementedError


def delete(conn: Connection, viewer: User, project_id: int) -> None:
    """Remove it with all its tasks. Raises AccessDenied for an assignee, Conflict while work runs on it."""
    raise NotImplementedError


def task_ids(conn: Connection, project_id: int) -> tuple[int, ...]:
    """Its tasks that have data, in ascending id."""
    raise NotImplementedError
