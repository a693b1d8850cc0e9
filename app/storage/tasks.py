"""Tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.storage.database import Connection
from app.storage.frames import FrameColumns
from app.storage.rows import LabelDraft, ListQuery, Page, Task, TaskData, User


def create(
    conn: Connection,
    owner: User,
    name: str,
    labels: Sequence[LabelDraft] = (),
    *,
    project_id: int | None = None,
    subset: str = "",
    bug_tracker: str = "",
    segment_size: int = 0,
    overlap: int = 0,
    assignee_id: int | None = None,
    owner_id: int | None = None,
) -> Task:
    """Add a task without data.

    Raises:
        InvalidInput: name not 1 to 256 characters, labels beside a project, unknown project or user, bad labels.
    """
    raise NotImplementedError


def get(conn: Connection, viewer: User, task_id: int) -> Task:
    """Raises NotFound."""
    raise NotImplementedError


def load(conn: Connection, task_id: int) -> Task:
    """The same without a viewer, for background work whose right was checked when it was asked for."""
    raise NotImplementedError


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Task]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    raise NotImplementedError


def change(conn: Connection, viewer: User, task_id: int, **fields: Any) -> Task:
    """Change `name`, `bug_tracker`, `subset`, `owner_id`, `assignee_id`, `project_id`, `labels` (drafts; ignored for a
    task of a project).

    Raises:
        InvalidInput: unknown user or project, bad value, a project whose labels lack one that is in use.
        NotFound: the task, or a label id.
    """
    raise NotImplementedError


def delete(conn: Connection, viewer: User, task_id: int) -> None:
    """Remove it with jobs, data, annotations. Raises AccessDenied for an assignee, Conflict while work runs on it."""
    raise NotImplementedError


def attach_data(conn: Connection, task_id: int, data: TaskData, frames: FrameColumns) -> Task:
    """Give a task its frames and jobs, once. Raises Conflict where it has data already."""
    raise NotImplementedError


def touch(conn: Connection, task_id: int, frames: npt.NDArray[np.integer[Any]] | None = None) -> None:
    """Lock the task's row, raise its revision and move its `updated_date` on; so too for the jobs that show one of
    `frames` (None: all jobs)."""
    raise NotImplementedError
