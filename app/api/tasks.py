"""Tasks (cvat-api 6). Their data, annotations, imports and exports are in the routers of those names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.deps import Caller, CallerDep, LinksDep, ServicesDep
from app.api.listing import TASK_FIELDS, listing, paginate
from app.api.routing import Router
from app.api.schemas import (
    PaginatedTaskReadList,
    PatchedTaskWriteRequest,
    PathId,
    RqStatus,
    TaskRead,
    TaskWriteRequest,
)
from app.errors import AccessDenied, InvalidInput, NotFound
from app.formats import relabel_extras
from app.storage import ListQuery, requests, tasks

router = Router(prefix="/api/tasks", tags=["tasks"])

TaskQuery = Annotated[ListQuery, Depends(listing(*TASK_FIELDS))]


@router.get("", response_model=PaginatedTaskReadList, response_model_exclude_unset=True)
def list_tasks(request: Request, query: TaskQuery, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """The tasks that the caller may see, newest first."""
    with services.storage.database.read() as conn:
        page = tasks.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda task: TaskRead.of(task, links))


@router.post("", status_code=201, response_model=TaskRead, response_model_exclude_unset=True)
def create_task(body: TaskWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Make a task without data. It has labels of its own, or those of its project."""
    check_owner(caller, body.owner_id)
    if body.labels and body.project_id is not None:
        raise InvalidInput("a task of a project takes the project's labels: send labels or project_id", place="labels")
    with services.storage.database.write() as conn:
        task = tasks.create(
            conn,
            caller.user,
            body.name,
            [label.draft(with_id=False) for label in body.labels],
            project_id=body.project_id,
            subset=body.subset,
            bug_tracker=body.bug_tracker,
            segment_size=body.segment_size,
            overlap=body.overlap,
            assignee_id=body.assignee_id,
            owner_id=body.owner_id,
        )
    return TaskRead.of(task, links)


@router.get("/{task_id}", response_model=TaskRead, response_model_exclude_unset=True)
def get_task(task_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One task."""
    with services.storage.database.read() as conn:
        task = tasks.get(conn, caller.user, task_id)
    return TaskRead.of(task, links)


@router.patch("/{task_id}", response_model=TaskRead, response_model_exclude_unset=True)
def change_task(
    task_id: PathId, body: PatchedTaskWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Change what is sent. `labels` changes the label set: entries with an id change that label (or remove it, with
    `deleted`), entries without one add a label, labels that are not mentioned stay. With another `project_id` the
    annotations get the labels of the same name of that project, which must have all that they use, with their
    attributes; the task's own labels go."""
    check_owner(caller, body.owner_id)
    check_organization(body.organization_id)
    fields = body.given("name", "bug_tracker", "subset", "owner_id", "assignee_id", "project_id")
    if fields.get("owner_id", 0) is None:
        del fields["owner_id"]
    if body.labels:
        fields["labels"] = [label.draft(with_id=True) for label in body.labels]
    task = tasks.save(services.storage, caller.user, task_id, relabel_extras=relabel_extras, **fields)
    return TaskRead.of(task, links)


@router.delete("/{task_id}", status_code=204)
def delete_task(task_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Remove a task with its jobs, data and annotations. Housekeeping gives back their bytes soon after."""
    with services.storage.database.write() as conn:
        tasks.delete(conn, caller.user, task_id)


@router.get("/{task_id}/status", response_model=RqStatus, deprecated=True)
def get_task_status(task_id: PathId, caller: CallerDep, services: ServicesDep) -> Any:
    """How the making of the task's data stands; /api/requests/{id} says more."""
    query = ListQuery(page_size=1, sort="-created_date", equals={"task_id": str(task_id), "action": "create"})
    with services.storage.database.read() as conn:
        task = tasks.get(conn, caller.user, task_id)
        try:
            found = requests.list_page(conn, caller.user, query).items
        except NotFound:
            found = ()
    if task.has_data:
        return RqStatus(state="Finished", message="", progress=1.0)
    if not found:
        raise NotFound("data", task_id, "This task has no data yet.")
    last = found[0]
    return RqStatus(state=last.status.capitalize(), message=last.message, progress=last.progress or 0.0)


def check_owner(caller: Caller, owner_id: int | None) -> None:
    """Things are made in one's own name; an admin may make them in another's."""
    if owner_id is not None and owner_id != caller.user.id and not caller.user.is_admin:
        raise AccessDenied("Only an admin may name another owner.")


def check_organization(organization_id: int | None) -> None:
    if organization_id is not None:
        raise InvalidInput("this service has no organizations", place="organization_id")
