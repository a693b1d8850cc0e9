"""Jobs: windows on the frames of a task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from app.errors import AccessDenied, InvalidInput, NotFound
from app.storage.access import Viewer, visible
from app.storage.changes import later, touch_task
from app.storage.database import Connection
from app.storage.listing import Field, Listing, fetch_page
from app.storage.projects import people
from app.storage.rows import Job, ListQuery, Page, User
from app.storage.schema import issues, jobs, projects, tasks, users
from app.storage.users import ref_columns, ref_from

STAGES = ("annotation", "validation", "acceptance")
STATES = ("new", "in progress", "completed", "rejected")

_assignees = users.alias("assignees")

LISTING = Listing(
    fields={
        "id": Field(jobs.c.id, "integer"),
        "task_id": Field(jobs.c.task_id, "integer"),
        "task_name": Field(tasks.c.name),
        "project_id": Field(tasks.c.project_id, "integer"),
        "project_name": Field(projects.c.name),
        "assignee": Field(_assignees.c.username),
        "state": Field(jobs.c.state),
        "stage": Field(jobs.c.stage),
        "dimension": Field(sa.literal("2d")),
        "media_type": Field(sa.literal("image")),
        "mode": Field(tasks.c.mode),
        "type": Field(sa.literal("annotation")),
        "parent_job_id": Field(sa.cast(sa.null(), sa.BigInteger), "integer"),
        "updated_date": Field(jobs.c.updated_date, "moment"),
    },
    search=("task_name", "project_name", "assignee", "state", "stage"),
    unique=jobs.c.id,
)


_n_issues = sa.select(sa.func.count()).select_from(issues).where(issues.c.job_id == jobs.c.id)


def _select() -> sa.Select[Any]:
    return (
        sa.select(
            jobs,
            _n_issues.correlate(jobs).scalar_subquery().label("n_issues"),
            tasks.c.name.label("task_name"),
            tasks.c.project_id,
            tasks.c.bug_tracker,
            tasks.c.mode,
            tasks.c.chunk_size,
            projects.c.name.label("project_name"),
            *ref_columns(_assignees, "assignee_ref"),
        )
        .join(tasks, tasks.c.id == jobs.c.task_id)
        .join(projects, projects.c.id == tasks.c.project_id, isouter=True)
        .join(_assignees, _assignees.c.id == jobs.c.assignee_id, isouter=True)
    )


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        task_id=row.task_id,
        task_name=row.task_name,
        project_id=row.project_id,
        project_name=row.project_name,
        start_frame=row.start_frame,
        stop_frame=row.stop_frame,
        stage=row.stage,
        state=row.state,
        assignee=ref_from(row, "assignee_ref"),
        assignee_updated_date=row.assignee_updated_date,
        bug_tracker=row.bug_tracker,
        mode=row.mode,
        chunk_size=row.chunk_size,
        created_date=row.created_date,
        updated_date=row.updated_date,
        revision=row.revision,
        n_issues=row.n_issues,
    )


def get(conn: Connection, viewer: User, job_id: int) -> Job:
    """Raises NotFound."""
    row = conn.execute(visible(_select(), jobs, viewer).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return _job(row)


def task_of(conn: Connection, viewer: User, job_id: int) -> int:
    """The number of a job's task: of `get`, what each chunk of an upload asks. Raises NotFound."""
    found = conn.execute(_asking_task(Viewer(viewer.id, viewer.is_admin)), {"number": job_id}).scalar_one_or_none()
    if found is None:
        raise NotFound("job", job_id)
    return int(found)


@lru_cache(maxsize=256)
def _asking_task(viewer: Viewer) -> sa.Select[Any]:
    return visible(sa.select(jobs.c.task_id), jobs, viewer).where(jobs.c.id == sa.bindparam("number"))


def load(conn: Connection, job_id: int) -> Job:
    """The same without a viewer, for background work."""
    row = conn.execute(_select().where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return _job(row)


def of_task(conn: Connection, task_id: int) -> tuple[Job, ...]:
    """All jobs of a task in frame order."""
    chosen = _select().where(jobs.c.task_id == task_id).order_by(jobs.c.start_frame, jobs.c.id)
    return tuple(_job(row) for row in conn.execute(chosen))


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Job]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    return fetch_page(conn, visible(_select(), jobs, viewer), LISTING, query, _job)


def change(conn: Connection, viewer: User, job_id: int, **fields: Any) -> Job:
    """Change `stage`, `state`, `assignee_id`; a new stage resets the state to `new` unless it is given.

    Raises:
        AccessDenied: another assignee, by somebody who does not see the task.
        InvalidInput: unknown user, stage or state.
    """
    job = get(conn, viewer, job_id)
    assignee_id = job.assignee.id if job.assignee else None
    if fields.get("assignee_id", assignee_id) != assignee_id:
        own = visible(sa.select(tasks.c.id), tasks, viewer).where(tasks.c.id == job.task_id)
        if conn.execute(own).one_or_none() is None:
            raise AccessDenied("who has this job may not give it to others; ask the owner of its task")
    values = people(conn, jobs, fields)
    values.pop("owner_id", None)
    stage, state = fields.pop("stage", job.stage), fields.pop("state", None)
    if fields:
        raise InvalidInput("this field cannot be changed", place=next(iter(fields)))
    if stage not in STAGES:
        raise InvalidInput(f"a stage is one of {', '.join(STAGES)}", place="stage")
    if state is not None and state not in STATES:
        raise InvalidInput(f"a state is one of {', '.join(STATES)}", place="state")
    if stage != job.stage:
        values["stage"] = stage
        values["state"] = state or "new"
    elif state is not None:
        values["state"] = state
    touch_task(conn, job.task_id)
    conn.execute(
        jobs.update()
        .where(jobs.c.id == job_id)
        .values(revision=jobs.c.revision + 1, updated_date=later(jobs.c.updated_date), **values)
    )
    return load(conn, job_id)


def set_progress(conn: Connection, task_id: int, progress: Sequence[tuple[str, str]]) -> None:
    """Stage and state of every job of a new task, in frame order. Raises InvalidInput for unknown ones."""
    for job, (stage, state) in zip(of_task(conn, task_id), progress, strict=True):
        if stage not in STAGES or state not in STATES:
            raise InvalidInput(f"a job has no stage {stage[:32]!r} with the state {state[:32]!r}")
        conn.execute(jobs.update().where(jobs.c.id == job.id).values(stage=stage, state=state))
