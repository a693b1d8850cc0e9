"""Projects: a name, labels, and tasks that share them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from app.annotations import has_controls
from app.errors import Conflict, InvalidInput, NotFound
from app.storage import labels as label_rows
from app.storage.access import check_handing_over, check_owner, visible
from app.storage.changes import later, lock_tasks_of
from app.storage.database import Connection
from app.storage.listing import Field, Listing, fetch_page
from app.storage.removal import forget_requests, remove_task
from app.storage.rewriting import NOTHING, Ahead, in_two_steps
from app.storage.rows import LabelDraft, ListQuery, Page, Project, User
from app.storage.schema import now, projects, requests, tasks, users
from app.storage.storage import Storage
from app.storage.users import ref_columns, ref_from

_owners = users.alias("owners")
_assignees = users.alias("assignees")

LISTING = Listing(
    fields={
        "id": Field(projects.c.id, "integer"),
        "name": Field(projects.c.name),
        "owner": Field(_owners.c.username),
        "assignee": Field(_assignees.c.username),
        "status": Field(projects.c.status),
        "updated_date": Field(projects.c.updated_date, "moment"),
    },
    search=("name", "owner", "assignee", "status"),
    unique=projects.c.id,
)


def check_name(name: object, place: str = "name") -> str:
    """A name of a task or project. Raises InvalidInput."""
    if not isinstance(name, str) or not 1 <= len(name) <= 256 or has_controls(name):
        raise InvalidInput("a name has 1 to 256 characters, none of them a control character", place=place)
    return name


def check_text(text: object, place: str, max_characters: int) -> str:
    """A free text. Raises InvalidInput."""
    if not isinstance(text, str) or len(text) > max_characters or "\x00" in text:
        raise InvalidInput(f"expected a text of at most {max_characters} characters", place=place)
    return text


def check_user(conn: Connection, user_id: object, place: str) -> int | None:
    """A user's id, or None. Raises InvalidInput for an unknown one."""
    if user_id is None:
        return None
    known = isinstance(user_id, int) and conn.execute(sa.select(users.c.id).where(users.c.id == user_id)).one_or_none()
    if not known:
        raise InvalidInput(f"there is no user {user_id}", place=place)
    return int(user_id)  # type: ignore[call-overload,no-any-return]


def people(conn: Connection, table: sa.Table, fields: dict[str, Any]) -> dict[str, Any]:
    """The column values of `owner_id` and `assignee_id` among the fields, which they leave."""
    values: dict[str, Any] = {}
    if fields.get("owner_id") is not None:
        values["owner_id"] = check_user(conn, fields["owner_id"], "owner_id")
    if "assignee_id" in fields:
        assignee_id = check_user(conn, fields["assignee_id"], "assignee_id")
        values["assignee_id"] = assignee_id
        current = table.c.assignee_id
        values["assignee_updated_date"] = sa.case(
            (current.is_not_distinct_from(assignee_id), table.c.assignee_updated_date),
            else_=sa.literal(now(), table.c.assignee_updated_date.type),
        )
    for name in ("owner_id", "assignee_id"):
        fields.pop(name, None)
    return values


def _select() -> sa.Select[Any]:
    n_tasks = sa.select(sa.func.count()).select_from(tasks).where(tasks.c.project_id == projects.c.id)
    return (
        sa.select(
            projects,
            n_tasks.correlate(projects).scalar_subquery().label("n_tasks"),
            *ref_columns(_owners, "owner_ref"),
            *ref_columns(_assignees, "assignee_ref"),
        )
        .join(_owners, _owners.c.id == projects.c.owner_id, isouter=True)
        .join(_assignees, _assignees.c.id == projects.c.assignee_id, isouter=True)
    )


def _project(row: Any, subsets: tuple[str, ...]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        owner=ref_from(row, "owner_ref"),
        assignee=ref_from(row, "assignee_ref"),
        assignee_updated_date=row.assignee_updated_date,
        bug_tracker=row.bug_tracker,
        status=row.status,
        created_date=row.created_date,
        updated_date=row.updated_date,
        task_subsets=subsets,
        n_tasks=row.n_tasks,
    )


def _subsets(conn: Connection, project_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    rows = conn.execute(
        sa.select(tasks.c.project_id, tasks.c.subset)
        .where(tasks.c.project_id.in_(project_ids), tasks.c.subset != "")
        .distinct()
        .order_by(tasks.c.project_id, tasks.c.subset)
    ).all()
    found: dict[int, tuple[str, ...]] = {}
    for row in rows:
        found[row.project_id] = (*found.get(row.project_id, ()), row.subset)
    return found


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
    moment = now()
    project_id = conn.execute(
        projects.insert()
        .values(
            name=check_name(name),
            owner_id=check_user(conn, owner_id, "owner_id") or owner.id,
            assignee_id=check_user(conn, assignee_id, "assignee_id"),
            assignee_updated_date=None if assignee_id is None else moment,
            bug_tracker=check_text(bug_tracker, "bug_tracker", 2000),
            created_date=moment,
            updated_date=moment,
        )
        .returning(projects.c.id)
    ).scalar_one()
    label_rows.apply(conn, label_rows.as_new(labels), project_id=project_id)
    return _load(conn, _select(), project_id)


def _load(conn: Connection, select: sa.Select[Any], project_id: int) -> Project:
    row = conn.execute(select.where(projects.c.id == project_id)).one_or_none()
    if row is None:
        raise NotFound("project", project_id)
    return _project(row, _subsets(conn, [project_id]).get(project_id, ()))


def get(conn: Connection, viewer: User, project_id: int) -> Project:
    """Raises NotFound."""
    return _load(conn, visible(_select(), projects, viewer), project_id)


def load(conn: Connection, project_id: int) -> Project:
    """The same without a viewer, for background work whose right was checked when it was asked for."""
    return _load(conn, _select(), project_id)


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Project]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    found = fetch_page(conn, visible(_select(), projects, viewer), LISTING, query, lambda row: row)
    subsets = _subsets(conn, [row.id for row in found.items])
    items = tuple(_project(row, subsets.get(row.id, ())) for row in found.items)
    return Page(found.count, items, found.page, found.page_size)


def save(storage: Storage, viewer: User, project_id: int, **fields: Any) -> Project:
    """As `change`, in a transaction of its own; the annotations of large tasks whose labels go are written anew before
    it, so that others can write meanwhile."""

    def prepare() -> AbstractContextManager[Ahead]:
        with storage.database.read() as conn:
            check_handing_over(viewer, get(conn, viewer, project_id), fields, "project")
        return label_rows.removing(storage, fields.get("labels") or (), project_id=project_id)

    return in_two_steps(storage, prepare, lambda conn, ahead: change(conn, viewer, project_id, ahead=ahead, **fields))


def change(conn: Connection, viewer: User, project_id: int, *, ahead: Ahead = NOTHING, **fields: Any) -> Project:
    """Change `name`, `bug_tracker`, `owner_id`, `assignee_id` (None takes the assignee away), `labels` (drafts).

    Raises:
        AccessDenied: another owner or assignee, by somebody who is not the owner.
        InvalidInput: unknown user, bad value.
        NotFound: the project, or a label id.
    """
    check_handing_over(viewer, get(conn, viewer, project_id), fields, "project")
    drafts = fields.pop("labels", None)
    values = people(conn, projects, fields)
    if "name" in fields:
        values["name"] = check_name(fields.pop("name"))
    if "bug_tracker" in fields:
        values["bug_tracker"] = check_text(fields.pop("bug_tracker"), "bug_tracker", 2000)
    if fields:
        raise InvalidInput("this field cannot be changed", place=next(iter(fields)))
    if drafts:  # first, for it locks the tasks
        label_rows.apply(conn, drafts, project_id=project_id, ahead=ahead)
    conn.execute(
        projects.update()
        .where(projects.c.id == project_id)
        .values(revision=projects.c.revision + 1, updated_date=later(projects.c.updated_date), **values)
    )
    return _load(conn, _select(), project_id)


def delete(conn: Connection, viewer: User, project_id: int) -> None:
    """Remove it with all its tasks. Raises AccessDenied for an assignee, Conflict while work runs on it."""
    project = get(conn, viewer, project_id)
    check_owner(project.owner.id if project.owner else None, viewer, "project")
    lock_tasks_of(conn, project_id)
    conn.execute(sa.select(projects.c.id).where(projects.c.id == project_id).with_for_update())
    task_ids = lock_tasks_of(conn, project_id)  # with those that came before nobody could any more
    of_it = sa.or_(
        requests.c.project_id == project_id,
        requests.c.task_id.in_(sa.select(tasks.c.id).where(tasks.c.project_id == project_id)),
    )
    running = sa.select(requests.c.task_id).where(of_it, requests.c.status.in_(("queued", "started"))).limit(1)
    found = conn.execute(running).one_or_none()
    if found is not None:
        where = "this project" if found.task_id is None else f"task {found.task_id} of this project"
        raise Conflict(f"work is running on {where}; cancel it or wait for its end")
    for task_id in task_ids:
        remove_task(conn, task_id)
    forget_requests(conn, requests.c.project_id == project_id)
    conn.execute(projects.delete().where(projects.c.id == project_id))


def task_ids(conn: Connection, project_id: int) -> tuple[int, ...]:
    """Its tasks that have data, in ascending id."""
    chosen = sa.select(tasks.c.id).where(tasks.c.project_id == project_id, tasks.c.has_data).order_by(tasks.c.id)
    return tuple(conn.execute(chosen).scalars())
