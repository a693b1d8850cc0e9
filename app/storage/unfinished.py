"""Tasks and projects that a request is still making: rows like all others, which nobody sees until it has finished.

    hide     a new task or project belongs to the attempt that makes it
    reveal   in the transaction of the request's end: they are there for everybody, all at once
    clear    what an attempt was making goes: a failure ends with it
    clear_earlier    the same for the attempts before this one, which were killed: an attempt begins with it

Where no attempt follows a killed one, the sweep does it (`clear_dead`).
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from app.errors import Conflict, shorten
from app.storage.changes import later, lock_tasks_of, touch_jobs, touch_labels, touch_project, touch_task
from app.storage.database import Connection
from app.storage.removal import remove_task
from app.storage.rows import Request
from app.storage.schema import labels, projects, requests, tasks


def hide(conn: Connection, maker: Request, *, task_id: int | None = None, project_id: int | None = None) -> None:
    """Nobody sees this new task (which goes into `project_id`, where that is given too) or project.

    Call it in the transaction that creates the thing.
    """
    values = {"maker_id": maker.id, "maker_attempt": maker.attempt}
    if task_id is not None:
        conn.execute(tasks.update().where(tasks.c.id == task_id).values(**values, project_id=project_id))
    else:
        conn.execute(projects.update().where(projects.c.id == project_id).values(**values))


def _made_by(table: sa.Table, maker: Request) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.maker_id == maker.id, table.c.maker_attempt == maker.attempt)


def reveal(conn: Connection, maker: Request) -> None:
    """Everything that this attempt has made is there from the end of this transaction on."""
    for table in (tasks, projects):
        values = {"maker_id": None, "maker_attempt": None, "updated_date": later(table.c.updated_date)}
        conn.execute(table.update().where(_made_by(table, maker)).values(**values))


def give_labels(conn: Connection, maker: Request, task_id: int, holder_id: int) -> None:
    """The labels of a hidden task become those of another (or of the project it is in); the hidden task goes.

    Raises:
        Conflict: the task is gone, or got labels of these names meanwhile.
    """
    row = conn.execute(sa.select(tasks.c.project_id).where(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise Conflict("the task is gone")
    project_id = row.project_id
    home = {"task_id": task_id if project_id is None else None, "project_id": project_id}
    of_home = labels.c.task_id == task_id if project_id is None else labels.c.project_id == project_id
    _touch_tasks(conn, [task_id] if project_id is None else lock_tasks_of(conn, project_id))
    if project_id is not None:
        touch_project(conn, project_id)
    _check_free_names(conn, of_home, holder_id)
    conn.execute(labels.update().where(labels.c.task_id == holder_id).values(**home))
    touch_labels(conn)
    clear(conn, maker)


def hold_home(conn: Connection, task_id: int) -> None:
    """Lock the tasks that `give_labels` will change, before any of them is."""
    project_id = conn.execute(sa.select(tasks.c.project_id).where(tasks.c.id == task_id)).scalar()
    if project_id is not None:
        lock_tasks_of(conn, project_id)


def _touch_tasks(conn: Connection, task_ids: Sequence[int]) -> None:
    for one in task_ids:
        touch_task(conn, one)
        touch_jobs(conn, one)


def _check_free_names(conn: Connection, of_home: sa.ColumnElement[bool], holder_id: int) -> None:
    new = sa.select(labels.c.name).where(labels.c.task_id == holder_id, labels.c.parent_id.is_(None))
    clash = sa.select(labels.c.name).where(of_home, labels.c.parent_id.is_(None), labels.c.name.in_(new)).limit(1)
    name = conn.execute(clash).scalar()
    if name is not None:
        raise Conflict(f'the label "{shorten(name)}" was made meanwhile; import again')


def give_to_project(
    conn: Connection, maker: Request, project_id: int, label_task_id: int | None, *, had_labels: bool = False
) -> None:
    """Move the hidden tasks into a project, and the labels of one of them, if the project took them from an import.

    Raises:
        Conflict: the project is gone, or got labels of these names meanwhile; or any, if it had none at the start.
    """
    if label_task_id is not None:  # which all tasks of the project have from now on
        _touch_tasks(conn, lock_tasks_of(conn, project_id))
    touch_project(conn, project_id)
    if conn.execute(sa.select(projects.c.id).where(projects.c.id == project_id)).one_or_none() is None:
        raise Conflict("the project is gone")
    if label_task_id is not None:
        own = sa.select(labels.c.id).where(labels.c.project_id == project_id).limit(1)
        _check_free_names(conn, labels.c.project_id == project_id, label_task_id)
        if not had_labels and conn.execute(own).one_or_none() is not None:
            raise Conflict("the project got labels of its own meanwhile; import again")
        moved = {"task_id": None, "project_id": project_id}
        conn.execute(labels.update().where(labels.c.task_id == label_task_id).values(**moved))
        touch_labels(conn)
    conn.execute(tasks.update().where(_made_by(tasks, maker)).values(project_id=project_id))


def clear(conn: Connection, maker: Request) -> None:
    """Remove everything that this attempt was making."""
    _clear(conn, _made_by(tasks, maker), _made_by(projects, maker))


def clear_earlier(conn: Connection, maker: Request) -> None:
    """Remove everything that the attempts before this one were making."""
    chosen = (
        sa.and_(table.c.maker_id == maker.id, table.c.maker_attempt < maker.attempt) for table in (tasks, projects)
    )
    _clear(conn, *chosen)


def clear_dead(conn: Connection) -> None:
    """Remove what requests were making that have ended, or are no more."""
    at_work = sa.select(requests.c.id).where(requests.c.status.in_(("queued", "started")))
    dead = (sa.and_(table.c.maker_id.is_not(None), table.c.maker_id.not_in(at_work)) for table in (tasks, projects))
    _clear(conn, *dead)


def _clear(conn: Connection, of_tasks: sa.ColumnElement[bool], of_projects: sa.ColumnElement[bool]) -> None:
    for task_id in conn.execute(sa.select(tasks.c.id).where(of_tasks).order_by(tasks.c.id)).scalars().all():
        remove_task(conn, task_id)
    conn.execute(projects.delete().where(of_projects))
