"""What annotations are read or written against: a task, and the frames that somebody looks at.

Every look at a frame asks for it, a save twice, so it is one statement, put together once for each kind of viewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from app.annotations import LabelCatalog
from app.errors import InvalidInput, NotFound
from app.storage import labels
from app.storage.access import Viewer, visible
from app.storage.changes import labels_mark_query
from app.storage.database import Connection
from app.storage.rows import User
from app.storage.schema import jobs, tasks


@dataclass(frozen=True, slots=True)
class Scene:
    """A task or job, as far as its annotations ask for it.

    Attributes:
        window: (start, stop), half open: the frames of the job, or all of the task's.
        size: the number of the task's frames.
        revision: of the task or job.
    """

    task_id: int
    window: tuple[int, int]
    size: int
    revision: int
    created_date: datetime
    labels: LabelCatalog

    def defaults(self, label_ids: Iterable[int]) -> dict[int, str]:
        """The default value of every attribute that annotations of these labels may have."""
        known = self.labels.by_id
        return {
            spec.id: spec.default_value
            for label_id in label_ids
            if label_id in known
            for spec in known[label_id].attributes
        }


def of_task(conn: Connection, viewer: User, task_id: int) -> Scene:
    """Raises NotFound, and InvalidInput for a task without data."""
    row = conn.execute(_task_query(Viewer(viewer.id, viewer.is_admin)), {"number": task_id}).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    if not row.has_data:
        raise InvalidInput("this task has no data yet; upload its pictures first", code="task.no_data")
    return _scene(conn, row, (0, int(row.size)))


def of_job(conn: Connection, viewer: User, job_id: int) -> Scene:
    """Raises NotFound."""
    row = conn.execute(_job_query(Viewer(viewer.id, viewer.is_admin)), {"number": job_id}).one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return _scene(conn, row, (int(row.start_frame), int(row.stop_frame) + 1))


def _scene(conn: Connection, row: Any, window: tuple[int, int]) -> Scene:
    catalog = labels.remembered(conn, row.labels_mark, task_id=row.task_id, project_id=row.project_id)
    return Scene(row.task_id, window, int(row.size), row.revision, row.created_date, catalog)


@lru_cache(maxsize=256)
def _task_query(viewer: Viewer) -> sa.Select[Any]:
    of_the_task = tasks.c.id.label("task_id"), tasks.c.revision, tasks.c.created_date, tasks.c.has_data
    query = sa.select(*of_the_task, tasks.c.project_id, tasks.c.size, labels_mark_query())
    return visible(query.where(tasks.c.id == sa.bindparam("number")), tasks, viewer)


@lru_cache(maxsize=256)
def _job_query(viewer: Viewer) -> sa.Select[Any]:
    of_the_job = jobs.c.task_id, jobs.c.revision, jobs.c.created_date, jobs.c.start_frame, jobs.c.stop_frame
    query = sa.select(*of_the_job, tasks.c.project_id, tasks.c.size, labels_mark_query())
    query = query.join(tasks, tasks.c.id == jobs.c.task_id)
    return visible(query.where(jobs.c.id == sa.bindparam("number")), jobs, viewer)
