"""Tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.errors import AppError, Conflict, InvalidInput, NotFound
from app.storage import annotations as annotation_rows
from app.storage import labels as label_rows
from app.storage.access import Viewer, check_handing_over, check_owner, visible
from app.storage.changes import later, lock_task, touch_jobs, touch_labels, touch_project, touch_task
from app.storage.database import Connection
from app.storage.frames import FrameColumns, insert_frames
from app.storage.listing import Field, Listing, fetch_page
from app.storage.projects import check_name, check_text, check_user, people
from app.storage.relabelling import Moves, RelabelExtras, plan_moves, relabel, relabelling
from app.storage.removal import remove_task
from app.storage.rewriting import NOTHING, Ahead, Extras, in_two_steps, written_anew
from app.storage.rows import LabelDraft, ListQuery, Page, Task, TaskData, User
from app.storage.schema import jobs, labels, now, projects, requests, tasks, users
from app.storage.storage import Storage
from app.storage.users import ref_columns, ref_from

MAX_SUBSET_CHARACTERS = 64

_owners = users.alias("owners")
_assignees = users.alias("assignees")


def _count_jobs(*chosen: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    count = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.task_id == tasks.c.id, *chosen)
    return count.correlate(tasks).scalar_subquery()


_n_jobs = _count_jobs()
_n_annotation = _count_jobs(jobs.c.stage == "annotation")
_n_validation = _count_jobs(jobs.c.stage == "validation")
_n_completed = _count_jobs(jobs.c.stage == "acceptance", jobs.c.state == "completed")
_status = sa.case(
    (sa.or_(_n_jobs == 0, _n_annotation > 0), "annotation"), (_n_validation > 0, "validation"), else_="completed"
)

LISTING = Listing(
    fields={
        "id": Field(tasks.c.id, "integer"),
        "name": Field(tasks.c.name),
        "project_id": Field(tasks.c.project_id, "integer"),
        "project_name": Field(projects.c.name),
        "owner": Field(_owners.c.username),
        "assignee": Field(_assignees.c.username),
        "status": Field(_status),
        "subset": Field(tasks.c.subset),
        "mode": Field(tasks.c.mode),
        "dimension": Field(sa.literal("2d")),
        "media_type": Field(sa.literal("image")),
        "tracker_link": Field(tasks.c.bug_tracker),
        "validation_mode": Field(sa.cast(sa.null(), sa.Text)),
        "updated_date": Field(tasks.c.updated_date, "moment"),
    },
    search=("project_name", "name", "owner", "status", "assignee", "subset", "mode", "dimension", "tracker_link"),
    unique=tasks.c.id,
)


def _select() -> sa.Select[Any]:
    return (
        sa.select(
            tasks,
            projects.c.name.label("project_name"),
            _status.label("status"),
            _n_jobs.label("n_jobs"),
            _n_completed.label("n_completed_jobs"),
            _n_validation.label("n_validation_jobs"),
            *ref_columns(_owners, "owner_ref"),
            *ref_columns(_assignees, "assignee_ref"),
        )
        .join(projects, projects.c.id == tasks.c.project_id, isouter=True)
        .join(_owners, _owners.c.id == tasks.c.owner_id, isouter=True)
        .join(_assignees, _assignees.c.id == tasks.c.assignee_id, isouter=True)
    )


def _task(row: Any) -> Task:
    return Task(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        project_name=row.project_name,
        subset=row.subset,
        bug_tracker=row.bug_tracker,
        owner=ref_from(row, "owner_ref"),
        assignee=ref_from(row, "assignee_ref"),
        assignee_updated_date=row.assignee_updated_date,
        status=row.status,
        created_date=row.created_date,
        updated_date=row.updated_date,
        has_data=row.has_data,
        mode=row.mode,
        size=row.size,
        segment_size=row.segment_size,
        overlap=row.overlap,
        image_quality=row.image_quality,
        chunk_size=row.chunk_size,
        start_frame=row.start_frame,
        stop_frame=row.stop_frame,
        frame_filter=row.frame_filter,
        sorting_method=row.sorting_method,
        data_updated_date=row.data_updated_date,
        revision=row.revision,
        n_jobs=row.n_jobs,
        n_completed_jobs=row.n_completed_jobs,
        n_validation_jobs=row.n_validation_jobs,
    )


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
    if project_id is not None and labels:
        raise InvalidInput(
            "a task of a project has the project's labels; give labels or a project, not both", place="labels"
        )
    _check_project(conn, owner, project_id)
    if segment_size < 0 or overlap < 0:
        raise InvalidInput("segment_size and overlap are not negative", place="segment_size")
    moment = now()
    task_id = conn.execute(
        tasks.insert()
        .values(
            name=check_name(name),
            project_id=project_id,
            subset=check_text(subset, "subset", MAX_SUBSET_CHARACTERS),
            bug_tracker=check_text(bug_tracker, "bug_tracker", 2000),
            owner_id=check_user(conn, owner_id, "owner_id") or owner.id,
            assignee_id=check_user(conn, assignee_id, "assignee_id"),
            assignee_updated_date=None if assignee_id is None else moment,
            created_date=moment,
            updated_date=moment,
            data_updated_date=moment,
            segment_size=segment_size,
            overlap=overlap,
            deleted_frames=b"",
        )
        .returning(tasks.c.id)
    ).scalar_one()
    label_rows.apply(conn, label_rows.as_new(labels), task_id=task_id)
    if project_id is not None:
        touch_project(conn, project_id)
    return load(conn, task_id)


def _check_project(conn: Connection, viewer: User, project_id: object) -> None:
    if project_id is None:
        return
    known = (
        isinstance(project_id, int)
        and conn.execute(
            visible(sa.select(projects.c.id).where(projects.c.id == project_id), projects, viewer)
        ).one_or_none()
    )
    if not known:
        raise InvalidInput(f"there is no project {project_id}", place="project_id")


def get(conn: Connection, viewer: User, task_id: int) -> Task:
    """Raises NotFound."""
    row = conn.execute(visible(_select(), tasks, viewer).where(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return _task(row)


def load(conn: Connection, task_id: int) -> Task:
    """The same without a viewer, for background work whose right was checked when it was asked for."""
    row = conn.execute(_select().where(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return _task(row)


def has_data(conn: Connection, viewer: User, task_id: int) -> bool:
    """Of `get`, what each chunk of an upload asks. Raises NotFound."""
    row = conn.execute(_asking_data(Viewer(viewer.id, viewer.is_admin)), {"number": task_id}).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return bool(row.has_data)


@lru_cache(maxsize=256)
def _asking_data(viewer: Viewer) -> sa.Select[Any]:
    return visible(sa.select(tasks.c.has_data), tasks, viewer).where(tasks.c.id == sa.bindparam("number"))


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Task]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    return fetch_page(conn, visible(_select(), tasks, viewer), LISTING, query, _task)


def save(
    storage: Storage, viewer: User, task_id: int, *, relabel_extras: RelabelExtras | None = None, **fields: Any
) -> Task:
    """As `change`, in a transaction of its own; the annotations of a large task whose labels go or become others are
    written anew before it, so that others can write meanwhile."""
    return in_two_steps(
        storage,
        lambda: _ahead_of_change(storage, viewer, task_id, relabel_extras, fields),
        lambda conn, ahead: change(conn, viewer, task_id, relabel_extras=relabel_extras, ahead=ahead, **fields),
    )


def _ahead_of_change(
    storage: Storage, viewer: User, task_id: int, relabel_extras: RelabelExtras | None, fields: Mapping[str, Any]
) -> AbstractContextManager[Ahead]:
    """Nothing, where `change` will refuse: it says why."""
    project_id, drafts = fields.get("project_id"), fields.get("labels") or ()
    with storage.database.read() as conn:
        task = get(conn, viewer, task_id)
        if project_id is not None and project_id != task.project_id and relabel_extras is not None:
            try:
                check_handing_over(viewer, task, fields, "task")
                _check_project(conn, viewer, project_id)
                _check_no_work(conn, task_id)
                before, after = label_rows.of_task(conn, task_id), label_rows.of_project(conn, project_id)
                moves = plan_moves(conn, task_id, before, after)
            except AppError:
                return nullcontext(NOTHING)
            relabelled = partial(_relabelled_extras, relabel_extras, moves)
            return written_anew(storage, [task_id], (before, after), relabelling(moves), relabelled)
    if drafts and task.project_id is None and project_id is None:
        return label_rows.removing(storage, drafts, task_id=task_id)
    return nullcontext(NOTHING)


def _relabelled_extras(relabel_extras: RelabelExtras, moves: Moves, extras: Extras) -> Extras:
    return None if extras is None else dict(relabel_extras(extras, moves.labels, moves.attributes))


def change(
    conn: Connection,
    viewer: User,
    task_id: int,
    *,
    relabel_extras: RelabelExtras | None = None,
    ahead: Ahead = NOTHING,
    **fields: Any,
) -> Task:
    """Change `name`, `bug_tracker`, `subset`, `owner_id`, `assignee_id`, `project_id`, `labels` (drafts; ignored for a
    task of a project). Annotations move to the labels of the same name of another project.

    Raises:
        AccessDenied: another owner, assignee or project, by somebody who is not the owner.
        Conflict: another project while work runs on the task.
        InvalidInput: unknown user or project, bad value, a project that lacks a label which annotations have.
        NotFound: the task, or a label id.
    """
    get(conn, viewer, task_id)
    touch_task(conn, task_id)
    task = get(conn, viewer, task_id)  # as it is now that nobody else changes it
    check_handing_over(viewer, task, fields, "task")
    drafts = fields.pop("labels", None)
    values = people(conn, tasks, fields)
    if "name" in fields:
        values["name"] = check_name(fields.pop("name"))
    for name, limit in (("bug_tracker", 2000), ("subset", MAX_SUBSET_CHARACTERS)):
        if name in fields:
            values[name] = check_text(fields.pop(name), name, limit)
    project_id = fields.pop("project_id", task.project_id)
    if fields:
        raise InvalidInput("this field cannot be changed", place=next(iter(fields)))
    if project_id != task.project_id:
        _check_project(conn, viewer, project_id)
    for touched in sorted({project_id, task.project_id} - {None}):  # its labels stay as they are, too
        touch_project(conn, touched)
    if project_id != task.project_id:
        _move(conn, task, project_id, relabel_extras, ahead)
        values["project_id"] = project_id
    if values:
        conn.execute(tasks.update().where(tasks.c.id == task_id).values(**values))
    if drafts and project_id is None:
        label_rows.apply(conn, drafts, task_id=task_id, ahead=ahead)
    return load(conn, task_id)


def _move(
    conn: Connection, task: Task, project_id: int | None, relabel_extras: RelabelExtras | None, ahead: Ahead
) -> None:
    """Annotations get the labels of another project; the task's own go."""
    _check_no_work(conn, task.id)  # of a task without annotations, too: an import may be bringing some
    if any(annotation_rows.counts(conn, task.id).values()):
        if project_id is None or relabel_extras is None:
            raise InvalidInput(
                "a task with annotations cannot leave its project, as their labels would be lost; move it to a project "
                "with labels of the same names, or remove them first",
                place="project_id",
            )
        before, after = label_rows.of_task(conn, task.id), label_rows.of_project(conn, project_id)
        if not ahead.show(conn, task.id, (before, after)):
            relabel(conn, task.id, plan_moves(conn, task.id, before, after), relabel_extras)
    conn.execute(labels.delete().where(labels.c.task_id == task.id))
    touch_labels(conn)
    touch_jobs(conn, task.id)


def delete(conn: Connection, viewer: User, task_id: int) -> None:
    """Remove it with jobs, data, annotations. Raises AccessDenied for an assignee, Conflict while work runs on it."""
    get(conn, viewer, task_id)
    lock_task(conn, task_id)  # who asks for work on it, or moves it, does so before or finds it gone
    task = get(conn, viewer, task_id)
    if (
        task.project_id is None
        or conn.execute(sa.select(projects.c.owner_id).where(projects.c.id == task.project_id)).scalar() != viewer.id
    ):
        check_owner(task.owner.id if task.owner else None, viewer, "task")
    _check_no_work(conn, task_id)
    remove_task(conn, task_id)
    if task.project_id is not None:
        touch_project(conn, task.project_id)


def _check_no_work(conn: Connection, task_id: int) -> None:
    running = requests.c.task_id == task_id, requests.c.status.in_(("queued", "started"))
    if conn.execute(sa.select(requests.c.id).where(*running).limit(1)).one_or_none():
        raise Conflict("work is running on this task; cancel it or wait for its end")


def attach_data(conn: Connection, task_id: int, data: TaskData, frames: FrameColumns) -> Task:
    """Give a task its frames and jobs, once. Raises Conflict where it has data already."""
    size = len(frames)
    assert all(0 <= start < stop <= size for start, stop in data.jobs), "a job lies outside of the task"
    attached = conn.execute(
        tasks.update()
        .where(tasks.c.id == task_id, sa.not_(tasks.c.has_data))
        .values(
            has_data=True,
            size=size,
            mode=data.mode,
            segment_size=data.segment_size,
            overlap=data.overlap,
            image_quality=data.image_quality,
            chunk_size=data.chunk_size,
            start_frame=data.start_frame,
            stop_frame=data.stop_frame,
            frame_filter=data.frame_filter,
            sorting_method=data.sorting_method,
            data_updated_date=later(tasks.c.data_updated_date),
            updated_date=later(tasks.c.updated_date),
            revision=tasks.c.revision + 1,
        )
    )
    if attached.rowcount == 0:
        load(conn, task_id)
        raise Conflict("this task has data already")
    insert_frames(conn, task_id, frames)
    moment = now()
    if data.jobs:
        conn.execute(
            jobs.insert(),
            [
                {
                    "task_id": task_id,
                    "start_frame": start,
                    "stop_frame": stop - 1,
                    "created_date": moment,
                    "updated_date": moment,
                }
                for start, stop in data.jobs
            ],
        )
    return load(conn, task_id)


def touch(conn: Connection, task_id: int, frames: npt.NDArray[np.integer[Any]] | None = None) -> None:
    """Lock the task's row, raise its revision and move its `updated_date` on; so too for the jobs that show one of
    `frames` (None: all jobs)."""
    touch_task(conn, task_id)
    touch_jobs(conn, task_id, frames)
