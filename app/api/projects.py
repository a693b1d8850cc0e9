"""Projects (cvat-api 13). Import and export of their datasets are in `uploads.py` and `exports.py`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.listing import PROJECT_FIELDS, listing, paginate
from app.api.routing import Router
from app.api.schemas import (
    PaginatedProjectReadList,
    PatchedProjectWriteRequest,
    PathId,
    ProjectRead,
    ProjectWriteRequest,
)
from app.api.tasks import check_organization, check_owner
from app.storage import ListQuery, projects

router = Router(prefix="/api/projects", tags=["projects"])

ProjectQuery = Annotated[ListQuery, Depends(listing(*PROJECT_FIELDS))]


@router.get("", response_model=PaginatedProjectReadList, response_model_exclude_unset=True)
def list_projects(
    request: Request, query: ProjectQuery, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """The projects that the caller may see, newest first."""
    with services.storage.database.read() as conn:
        page = projects.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda project: ProjectRead.of(project, links))


@router.post("", status_code=201, response_model=ProjectRead, response_model_exclude_unset=True)
def create_project(body: ProjectWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Make a project; its tasks share its labels."""
    check_owner(caller, body.owner_id)
    with services.storage.database.write() as conn:
        project = projects.create(
            conn,
            caller.user,
            body.name,
            [label.draft(with_id=False) for label in body.labels],
            bug_tracker=body.bug_tracker,
            assignee_id=body.assignee_id,
            owner_id=body.owner_id,
        )
    return ProjectRead.of(project, links)


@router.get("/{project_id}", response_model=ProjectRead, response_model_exclude_unset=True)
def get_project(project_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One project."""
    with services.storage.database.read() as conn:
        project = projects.get(conn, caller.user, project_id)
    return ProjectRead.of(project, links)


@router.patch("/{project_id}", response_model=ProjectRead, response_model_exclude_unset=True)
def change_project(
    project_id: PathId, body: PatchedProjectWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Change what is sent; `labels` changes the label set as for tasks."""
    check_owner(caller, body.owner_id)
    check_organization(body.organization_id)
    fields = body.given("name", "bug_tracker", "owner_id", "assignee_id")
    if fields.get("owner_id", 0) is None:
        del fields["owner_id"]
    if body.labels:
        fields["labels"] = [label.draft(with_id=True) for label in body.labels]
    project = projects.save(services.storage, caller.user, project_id, **fields)
    return ProjectRead.of(project, links)


@router.delete("/{project_id}", status_code=204)
def delete_project(project_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Remove a project with all its tasks."""
    with services.storage.database.write() as conn:
        projects.delete(conn, caller.user, project_id)
