"""Jobs (cvat-api 12). Their data, annotations, imports and exports are in the routers of those names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.listing import JOB_FIELDS, listing, paginate
from app.api.routing import Router, body_limit
from app.api.schemas import JobRead, PaginatedJobReadList, PatchedJobWriteRequest, PathId
from app.errors import Unsupported
from app.storage import ListQuery, jobs

router = Router(prefix="/api/jobs", tags=["jobs"])

JobQuery = Annotated[ListQuery, Depends(listing(*JOB_FIELDS))]

MADE_BY_DATA = "Jobs are made when a task gets its data, by segment_size and overlap, and go with the task."


@router.get("", response_model=PaginatedJobReadList, response_model_exclude_unset=True)
def list_jobs(request: Request, query: JobQuery, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """The jobs that the caller may see, newest first."""
    with services.storage.database.read() as conn:
        page = jobs.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda job: JobRead.of(job, links))


@router.post("", status_code=201, response_model=JobRead)
@body_limit("max_login_body_bytes")
def create_job(caller: CallerDep) -> Any:
    """Refused: ground truth jobs are not offered, and other jobs come with the data."""
    raise Unsupported(MADE_BY_DATA)


@router.get("/{job_id}", response_model=JobRead, response_model_exclude_unset=True)
def get_job(job_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One job."""
    with services.storage.database.read() as conn:
        job = jobs.get(conn, caller.user, job_id)
    return JobRead.of(job, links)


@router.patch("/{job_id}", response_model=JobRead, response_model_exclude_unset=True)
def change_job(
    job_id: PathId, body: PatchedJobWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Change the stage, the state or the assignee."""
    fields = body.given("stage", "state")
    if "assignee" in body.model_fields_set:
        fields["assignee_id"] = body.assignee
    with services.storage.database.write() as conn:
        job = jobs.change(conn, caller.user, job_id, **fields)
    return JobRead.of(job, links)


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Refused: a job goes with its task."""
    with services.storage.database.read() as conn:
        jobs.get(conn, caller.user, job_id)
    raise Unsupported(MADE_BY_DATA)
