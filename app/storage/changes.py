"""What every change of a task leaves behind: a higher revision and a later date; and numbers nobody else gets.

Clients keep copies by `updated_date` and drop them only for a later one, so it grows with each change, also when the
clock is set back: a microsecond more than before, at least.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.errors import NotFound
from app.storage.database import Connection, insert_or_not
from app.storage.schema import facts, jobs, now, projects, tasks

LABELS_KEY = "labels"


def later(column: sa.Column[Any], moment: sa.ColumnElement[Any] | None = None) -> sa.ColumnElement[Any]:
    """The moment (None: now), or a microsecond after the column's value if that is later."""
    moment = sa.literal(now(), column.type) if moment is None else moment
    return sa.case(
        (column < moment, moment),
        else_=sa.type_coerce(sa.type_coerce(column, sa.BigInteger) + 1, column.type),
    )


def touch_labels(conn: Connection) -> None:
    """Tell every process that some label or attribute is another now: what it knows of labels is out of date.

    The mark is random, not a number: a change that is undone again leaves no mark that a later one could repeat.
    """
    insert = insert_or_not(conn, facts)
    mark = {"value": secrets.token_hex(16)}
    conn.execute(insert.on_conflict_do_update(index_elements=["name"], set_=mark), {"name": LABELS_KEY, **mark})


def labels_mark(conn: Connection) -> str | None:
    """Another text after each change of any label; None where none was changed yet."""
    return conn.execute(_choosing_labels_mark()).scalar()


def labels_mark_query() -> sa.Label[str | None]:
    """The same mark as a column of another query, `labels_mark`."""
    return _choosing_labels_mark().scalar_subquery().label("labels_mark")


@cache
def _choosing_labels_mark() -> sa.Select[Any]:
    return sa.select(facts.c.value).where(facts.c.name == LABELS_KEY)


def touch_project(conn: Connection, project_id: int) -> None:
    conn.execute(
        projects.update()
        .where(projects.c.id == project_id)
        .values(revision=projects.c.revision + 1, updated_date=later(projects.c.updated_date))
    )


def touch_task(conn: Connection, task_id: int, *, data: bool = False) -> None:
    """Raise the task's revision. Raises NotFound."""
    changed = conn.execute(_touching_task(data=data), {"task": task_id, "moment": now()})
    if changed.rowcount == 0:
        raise NotFound("task", task_id)


@cache
def _touching_task(*, data: bool) -> sa.Update:
    """Made once, as are the others that every saved frame needs: to put one together takes longer than to run it."""
    moment = sa.bindparam("moment", type_=tasks.c.updated_date.type)
    values: dict[str, Any] = {"revision": tasks.c.revision + 1, "updated_date": later(tasks.c.updated_date, moment)}
    if data:
        values["data_updated_date"] = later(tasks.c.data_updated_date, moment)
    return tasks.update().where(tasks.c.id == sa.bindparam("task")).values(**values)


def touch_jobs(conn: Connection, task_id: int, frames: npt.NDArray[np.integer[Any]] | None = None) -> None:
    """Raise the revisions of the jobs that show one of the frames (None: of all)."""
    chosen = jobs.c.task_id == task_id
    if frames is not None:
        if len(frames) == 0:
            return
        ordered = np.sort(frames)
        if int(ordered[0]) == int(ordered[-1]):
            touch_jobs_between(conn, task_id, int(ordered[0]), int(ordered[0]) + 1)
            return
        rows = conn.execute(sa.select(jobs.c.id, jobs.c.start_frame, jobs.c.stop_frame).where(chosen)).all()
        if not rows:
            return
        bounds = np.array([(row.start_frame, row.stop_frame) for row in rows], dtype=np.int64)
        first = np.searchsorted(ordered, bounds[:, 0], side="left")
        last = np.searchsorted(ordered, bounds[:, 1], side="right")
        ids = [rows[index].id for index in np.flatnonzero(last > first).tolist()]
        if len(ids) < len(rows):
            chosen = jobs.c.id.in_(ids)
    conn.execute(
        jobs.update().where(chosen).values(revision=jobs.c.revision + 1, updated_date=later(jobs.c.updated_date))
    )


def touch_jobs_between(conn: Connection, task_id: int, start: int, stop: int) -> None:
    """Raise the revisions of the jobs that show one of the frames start to stop."""
    conn.execute(_touching_jobs(), {"task": task_id, "start": start, "stop": stop, "moment": now()})


@cache
def _touching_jobs() -> sa.Update:
    moment = sa.bindparam("moment", type_=jobs.c.updated_date.type)
    return (
        jobs.update()
        .where(
            jobs.c.task_id == sa.bindparam("task"),
            jobs.c.start_frame < sa.bindparam("stop"),
            jobs.c.stop_frame >= sa.bindparam("start"),
        )
        .values(revision=jobs.c.revision + 1, updated_date=later(jobs.c.updated_date, moment))
    )


def lock_task(conn: Connection, task_id: int) -> int:
    """Hold the task's row until the end of the transaction: writers of one task are serial. Returns its size.

    Raises:
        NotFound: there is no such task.
    """
    row = conn.execute(_locking(), {"task": task_id}).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return int(row.size)


def lock_tasks_of(conn: Connection, project_id: int) -> list[int]:
    """The same with the tasks that a project has now, in ascending id. Returns them."""
    chosen = sa.select(tasks.c.id).where(tasks.c.project_id == project_id)
    return list(conn.execute(chosen.order_by(tasks.c.id).with_for_update()).scalars())


@cache
def _locking() -> sa.Select[Any]:
    return sa.select(tasks.c.size).where(tasks.c.id == sa.bindparam("task")).with_for_update()


def take_numbers(conn: Connection, task_id: int, count: int) -> int:
    """The first of `count` annotation ids in a row that nothing else of the task ever gets. Raises NotFound."""
    last = conn.execute(_numbering(), {"task": task_id, "count": count}).scalar()
    if last is None:
        raise NotFound("task", task_id)
    return int(last) - count + 1


def give_back_numbers(conn: Connection, task_id: int, first: int, end: int) -> None:
    """The ids from first to end (exclusive) were taken for nothing: they may be given to others, if none were taken
    after them."""
    if first < end:
        unused = sa.and_(tasks.c.id == task_id, tasks.c.last_annotation_id == end - 1)
        conn.execute(tasks.update().where(unused).values(last_annotation_id=first - 1))


@cache
def _numbering() -> sa.UpdateBase:
    count = sa.bindparam("count", type_=tasks.c.last_annotation_id.type)
    return (
        tasks.update()
        .where(tasks.c.id == sa.bindparam("task"))
        .values(last_annotation_id=tasks.c.last_annotation_id + count)
        .returning(tasks.c.last_annotation_id)
    )
