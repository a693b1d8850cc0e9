"""Labels and attributes of tasks and projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.annotations import Label, LabelCatalog
from app.storage.database import Connection
from app.storage.rows import LabelDraft, ListQuery, Page, User


@dataclass(frozen=True, slots=True)
class OwnedLabel:
    """A top-level label (or a sublabel, by `get`) and whose it is."""

    label: Label
    task_id: int | None
    project_id: int | None


def of_task(conn: Connection, task_id: int) -> LabelCatalog:
    """The labels a task's annotations may use: its project's, where it has one."""
    raise NotImplementedError


def of_project(conn: Connection, project_id: int) -> LabelCatalog:
    """The labels of a project."""
    raise NotImplementedError


def list_page(
    conn: Connection,
    viewer: User,
    query: ListQuery,
    *,
    task_id: int | None = None,
    project_id: int | None = None,
    job_id: int | None = None,
) -> Page[OwnedLabel]:
    """Top-level labels by ascending id. More than one of the ids: InvalidInput; one that is unknown: NotFound."""
    raise NotImplementedError


def get(conn: Connection, viewer: User, label_id: int) -> OwnedLabel:
    """Raises NotFound."""
    raise NotImplementedError


def change(conn: Connection, viewer: User, label_id: int, draft: LabelDraft) -> OwnedLabel:
    """Change one top-level label. Raises InvalidInput for a sublabel or a bad value."""
    raise NotImplementedError


def delete(conn: Connection, viewer: User, label_id: int) -> None:
    """Remove one top-level label with its annotations. Raises InvalidInput for a sublabel."""
    raise NotImplementedError


def apply(
    conn: Connection, drafts: Sequence[LabelDraft], *, task_id: int | None = None, project_id: int | None = None
) -> None:
    """Add, change and remove labels of one task or project (cvat-api, section 8).

    Raises:
        InvalidInput: duplicate names, unknown type or input type, name not 1 to 64 characters.
        NotFound: an id that is not a label of this task or project.
    """
    raise NotImplementedError
