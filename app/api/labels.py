"""Labels of tasks and projects (cvat-api 8). They are added through their task or project."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.listing import LABEL_FIELDS, listing, paginate
from app.api.routing import Router
from app.api.schemas import Label, PaginatedLabelList, PatchedLabelRequest, PathId
from app.errors import InvalidInput
from app.storage import ListQuery, labels

router = Router(prefix="/api/labels", tags=["labels"])

LabelQuery = Annotated[ListQuery, Depends(listing(*LABEL_FIELDS))]
OwnerId = Annotated[str | None, Query(description="At most one of task_id, project_id and job_id", max_length=20)]


def _owner_id(name: str, text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidInput("A valid integer is required.", place=name)
    return int(text)


@router.get("", response_model=PaginatedLabelList, response_model_exclude_unset=True)
def list_labels(
    request: Request,
    query: LabelQuery,
    caller: CallerDep,
    services: ServicesDep,
    links: LinksDep,
    task_id: OwnerId = None,
    project_id: OwnerId = None,
    job_id: OwnerId = None,
) -> Any:
    """Labels in order of definition, first level only. A task of a project has the project's labels."""
    with services.storage.database.read() as conn:
        page = labels.list_page(
            conn,
            caller.user,
            query,
            task_id=_owner_id("task_id", task_id),
            project_id=_owner_id("project_id", project_id),
            job_id=_owner_id("job_id", job_id),
        )
    return paginate(request, links, page, lambda owned: Label.of(owned.label, owned.task_id, owned.project_id))


@router.get("/{label_id}", response_model=Label, response_model_exclude_unset=True)
def get_label(label_id: PathId, caller: CallerDep, services: ServicesDep) -> Any:
    """One label, or a sublabel."""
    with services.storage.database.read() as conn:
        owned = labels.get(conn, caller.user, label_id)
    return Label.of(owned.label, owned.task_id, owned.project_id)


@router.patch("/{label_id}", response_model=Label, response_model_exclude_unset=True)
def change_label(label_id: PathId, body: PatchedLabelRequest, caller: CallerDep, services: ServicesDep) -> Any:
    """Change what is sent: name, color, type, attributes (by id, else by name; new ones are added)."""
    if body.deleted:
        raise InvalidInput("a label is removed by DELETE", place="deleted")
    if body.id is not None and body.id != label_id:
        raise InvalidInput("the id in the body is another label's", place="id")
    with services.storage.database.write() as conn:
        owned = labels.change(conn, caller.user, label_id, body.draft(with_id=True))
    return Label.of(owned.label, owned.task_id, owned.project_id)


@router.delete("/{label_id}", status_code=204)
def delete_label(label_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Remove a label with its annotations."""
    labels.remove(services.storage, caller.user, label_id)
