"""Exports through CVAT's doors: ask, wait at /api/requests, fetch the file (cvat-api 11).

    POST /api/{tasks,jobs,projects}/{id}/dataset/export?format=…&save_images=…   202 {"rq_id"}
    GET  /api/{tasks,jobs,projects}/{id}/dataset/download?rq_id=…                the zip
    POST /api/{tasks,projects}/{id}/backup/export                                202 {"rq_id"}
    GET  /api/{tasks,projects}/{id}/backup/download?rq_id=…                      the zip

Asking again for what is being written, or was written and has not changed since, gives the same request.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from app.api.answers import ascii_name, content_disposition, send_source
from app.api.deps import Caller, CallerDep, Services, ServicesDep
from app.api.errors import Gone
from app.api.imports import Goal, ask, check_has_data, check_location, format_named
from app.api.queries import parse_flag, parse_options, query_of
from app.api.routing import Router, body_limit, reads_only
from app.api.schemas import PathId, RqId
from app.errors import Expired, InvalidInput, NotFound
from app.formats import ExportOptions
from app.storage import BlobSource, Connection, RequestDraft, Result, jobs, projects, requests, tasks

router = Router(tags=["tasks"])

ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


def find_goal(conn: Connection, caller: Caller, target: str, number: int) -> Goal:
    """The thing of this id, if the caller may see it. `target`: `task`, `job`, `project`."""
    if target == "job":
        return Goal("job", number, jobs.get(conn, caller.user, number).task_id)
    if target == "project":
        return Goal("project", projects.get(conn, caller.user, number).id)
    return Goal("task", number, tasks.get(conn, caller.user, number).id)


def export_options(services: Services, query: dict[str, str]) -> dict[str, Any]:
    """The format's display name and every option that is given, by name.

    Raises:
        InvalidInput, MethodNotAllowed: no such format or value.
        Unsupported: another place than the client.
    """
    check_location(query)
    options: dict[str, Any] = {"save_images": False, **parse_options(ExportOptions, query)}
    options["format"] = format_named(services, query.get("format", ""), reading=False).display_name
    if query.get("filename"):
        options["filename"] = ascii_name(query["filename"])
    return options


def _export(services: Services, caller: Caller, target: str, number: int, query: dict[str, str]) -> Response:
    with services.storage.database.read() as conn:
        goal = find_goal(conn, caller, target, number)
        options = export_options(services, query)
        if goal.task_id is not None:
            check_has_data(conn, goal.task_id)
    draft = RequestDraft(
        type="export:dataset" if options["save_images"] else "export:annotations",
        target=goal.target,
        task_id=goal.task_id,
        job_id=goal.job_id,
        project_id=goal.project_id,
        format=options["format"],
        options=options,
    )
    work = ask(services, caller, draft, reuse_finished=True)
    return JSONResponse({"rq_id": work.id}, status_code=202)


def _open_result(
    services: Services, caller: Caller, target: str, number: int, rq_id: str, is_backup: bool, may_redirect: bool
) -> tuple[Result, Any]:
    """The file of finished work: its source, or the address where it lies."""
    with services.storage.database.read() as conn:
        goal = find_goal(conn, caller, target, number)
        try:
            work = requests.get(conn, caller.user, rq_id)
        except NotFound:
            raise Expired("this export is unknown, or has expired: export again") from None
    if (work.target, work.task_id, work.job_id, work.project_id) != (
        goal.target,
        goal.task_id,
        goal.job_id,
        goal.project_id,
    ):
        raise Expired("this export is unknown, or has expired: export again")
    if (work.type == "export:backup") is not is_backup:
        raise Expired("this export is unknown, or has expired: export again")
    if work.status != "finished":
        raise InvalidInput(f"this export is {work.status}, there is nothing to download", code="export.unfinished")
    if work.result is None:
        raise InvalidInput("this work made no file", place="rq_id", code="export.no_file")
    with services.storage.database.write() as conn:
        requests.mark_downloaded(conn, work.id, ttl_seconds=services.settings.export_ttl_seconds)
    try:
        # Also where the bucket answers: it would say that the file is gone in words of its own, and nobody here knew.
        source = services.storage.blobs.open_key(work.result.key)
    except NotFound:
        with services.storage.database.write() as conn:
            requests.lose_result(conn, work.id)
        raise Expired("this export has expired: export again") from None
    address = services.storage.blobs.presign(work.result.key) if may_redirect else None
    if address is None:
        return work.result, source
    source.close()
    return work.result, address


@router.post("/api/tasks/{task_id}/dataset/export", status_code=202, response_model=RqId)
@reads_only
@body_limit("max_login_body_bytes")
def export_task(request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """Write a task's annotations (with `save_images`, its pictures too) into an archive."""
    return _export(services, caller, "task", task_id, query_of(request))


@router.post("/api/jobs/{job_id}/dataset/export", status_code=202, response_model=RqId, tags=["jobs"])
@reads_only
@body_limit("max_login_body_bytes")
def export_job(request: Request, job_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The same of a job's frames."""
    return _export(services, caller, "job", job_id, query_of(request))


@router.post("/api/projects/{project_id}/dataset/export", status_code=202, response_model=RqId, tags=["projects"])
@reads_only
@body_limit("max_login_body_bytes")
def export_project(request: Request, project_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The same of all tasks of a project that have data."""
    return _export(services, caller, "project", project_id, query_of(request))


RqIdQuery = Annotated[str, Query(description="The id of the finished export", max_length=256)]


async def _download(
    request: Request, services: Services, caller: Caller, target: str, number: int, rq_id: str, is_backup: bool = False
) -> Response:
    # An address is signed for one method; who asks for the headers alone gets them from here.
    may_redirect = request.method == "GET"
    opened = run_in_threadpool(_open_result, services, caller, target, number, rq_id, is_backup, may_redirect)
    result, place = await opened
    if isinstance(place, str):
        return RedirectResponse(place, status_code=302)
    source: BlobSource = place
    headers = {"Content-Disposition": content_disposition(result.filename), "Cache-Control": "private, no-cache"}
    # A result never changes, so its request's id is a tag of its bytes.
    return send_source(request, source, result.size, f'"{rq_id}"', headers, result.content_type)


@router.get("/api/tasks/{task_id}/dataset/download", responses=ZIP, name="download_task_dataset")
async def download_task(
    request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep, rq_id: RqIdQuery = ""
) -> Response:
    """The file of a finished export."""
    return await _download(request, services, caller, "task", task_id, rq_id)


@router.get("/api/jobs/{job_id}/dataset/download", responses=ZIP, tags=["jobs"])
async def download_job(
    request: Request, job_id: PathId, caller: CallerDep, services: ServicesDep, rq_id: RqIdQuery = ""
) -> Response:
    """The file of a finished export."""
    return await _download(request, services, caller, "job", job_id, rq_id)


@router.get("/api/projects/{project_id}/dataset/download", responses=ZIP, tags=["projects"])
async def download_project(
    request: Request, project_id: PathId, caller: CallerDep, services: ServicesDep, rq_id: RqIdQuery = ""
) -> Response:
    """The file of a finished export."""
    return await _download(request, services, caller, "project", project_id, rq_id)


# Backups


def _back_up(services: Services, caller: Caller, target: str, number: int, query: dict[str, str]) -> Response:
    with services.storage.database.read() as conn:
        goal = find_goal(conn, caller, target, number)
        check_location(query)
        if goal.task_id is not None:
            check_has_data(conn, goal.task_id)
    # Pictures are always in it: they lie here, and CVAT leaves out only those that lie in a cloud storage.
    lightweight = parse_flag("lightweight", query["lightweight"]) if query.get("lightweight") else False
    options: dict[str, Any] = {"lightweight": lightweight}
    if query.get("filename"):
        options["filename"] = ascii_name(query["filename"])
    draft = RequestDraft(
        type="export:backup",
        target=goal.target,
        task_id=goal.task_id,
        project_id=goal.project_id,
        options=options,
    )
    work = ask(services, caller, draft, reuse_finished=True)
    return JSONResponse({"rq_id": work.id}, status_code=202)


@router.post("/api/tasks/{task_id}/backup/export", status_code=202, response_model=RqId)
@reads_only
@body_limit("max_login_body_bytes")
def back_up_task(request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """Write everything of a task into a zip that this service (not CVAT) makes a task of again."""
    return _back_up(services, caller, "task", task_id, query_of(request))


@router.post("/api/projects/{project_id}/backup/export", status_code=202, response_model=RqId, tags=["projects"])
@reads_only
@body_limit("max_login_body_bytes")
def back_up_project(request: Request, project_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The same of a project with all tasks that have data."""
    return _back_up(services, caller, "project", project_id, query_of(request))


@router.get("/api/tasks/{task_id}/backup/download", responses=ZIP)
async def download_task_backup(
    request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep, rq_id: RqIdQuery = ""
) -> Response:
    """The file of a finished backup."""
    return await _download(request, services, caller, "task", task_id, rq_id, is_backup=True)


@router.get("/api/projects/{project_id}/backup/download", responses=ZIP, tags=["projects"])
async def download_project_backup(
    request: Request, project_id: PathId, caller: CallerDep, services: ServicesDep, rq_id: RqIdQuery = ""
) -> Response:
    """The file of a finished backup."""
    return await _download(request, services, caller, "project", project_id, rq_id, is_backup=True)


OLD_CALL = "This call is gone. Use POST {path}/export, then GET /api/requests/{{rq_id}}."


def _add_old_calls(target: str, what: str) -> None:
    """How exports and backups were driven up to about CVAT 2.30: scripts are told the new calls."""

    def old_call(request: Request, number: int, caller: CallerDep, services: ServicesDep) -> Response:
        with services.storage.database.read() as conn:
            find_goal(conn, caller, target, number)
        raise Gone(OLD_CALL.format(path=request.scope["path"]))

    old_call.__annotations__["number"] = Annotated[PathId, Path(alias=f"{target}_id")]
    router.add_api_route(
        f"/api/{target}s/{{{target}_id}}/{what}",
        old_call,
        name=f"old_{what}_of_{target}",
        status_code=410,
        response_class=Response,
        deprecated=True,
        summary="Gone",
        description=f"A call of an older CVAT; use POST /api/{target}s/{{{target}_id}}/{what}/export.",
        tags=[f"{target}s"],
    )


for _target in ("task", "job", "project"):
    _add_old_calls(_target, "dataset")
for _target in ("task", "project"):
    _add_old_calls(_target, "backup")
