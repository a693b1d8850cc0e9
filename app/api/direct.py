"""One call, one answer: for curl and for scripts.

    curl -F file=@upload.zip  '…/api/tasks/5/import?wait=30'          → the report
    curl -F file=@upload.zip -F file=@train-masks-0.zip …             several files are one archive
    curl -F file=@upload.zip -F 'image_ids=<list.txt' …               options as fields of the form
    curl -T is not needed: the bare body works too (--data-binary @upload.zip)
    curl -fOJ '…/api/tasks/5/export?save_images=true'                 → taskname.zip, from its first byte
    curl '…/api/tasks/5/export?classes=Cat&dry_run=true'              → how much of the task that zip would hold

These doors are ours, so an option that does not exist is refused with the nearest one that does.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import orjson
import structlog
from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from app.api.annotations import IfMatch, expected_revision
from app.api.answers import StreamAnswer, content_disposition, etag_matches
from app.api.deps import Caller, CallerDep, Links, LinksDep, Services, ServicesDep
from app.api.described import json_of, told_headers
from app.api.errors import error_body, error_response, request_id_of
from app.api.exports import find_goal
from app.api.imports import Goal, ask, check_has_data, format_named, import_draft, own_import_options
from app.api.queries import check_names, option_names, options_of, parse_flag, parse_options
from app.api.receiving import Intake, forget, is_form, media_type
from app.api.requests import Departure
from app.api.routing import Router, body_limit
from app.api.schemas import PathId
from app.api.schemas import Request as RequestRead
from app.api.uploads import ARCHIVE_FIELDS
from app.errors import Busy, InvalidInput, Outdated, Unsupported, shorten
from app.formats import ExportOptions
from app.requests import wait_until_final_async
from app.storage import Request as Work
from app.storage import Task, requests, tasks

log = structlog.get_logger(__name__)

router = Router(tags=["direct"])

DEFAULT_FORMAT = "Open Images V6 1.0"
DEFAULT_WAIT_SECONDS = 30.0
MAX_WAIT_SECONDS = 600.0
# Lines pasted into a shell reach these doors before the pictures of the line above are frames; a body waits meanwhile.
DATA_WAIT_SECONDS = 10.0
EXPORT_NAMES = (*option_names(ExportOptions), "format", "filename", "dry_run")

FormatQuery = Annotated[str | None, Query(description="Display name of the format; left out: by the archive's entries")]
WaitQuery = Annotated[
    str | None, Query(description="Seconds to wait for the end, 0 to 600; default 30. With 0 the answer is always 202")
]
FlagQuery = Annotated[str | None, Query(description="true or false")]
ModeQuery = Annotated[str | None, Query(description="`replace` (default), `append` or `merge`")]
TextQuery = Annotated[str | None, Query()]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "The archive: a zip, or several zips and tables that are one together",
                        }
                    },
                }
            },
        },
    }
}
REPORT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Imported (or, with `dry_run`, read): the report", **json_of("ImportReport")},
    202: {
        "description": "Not at its end yet: `rq_id` and how far it is",
        "headers": told_headers(Location="Where to ask again"),
        **json_of("ImportWaiting"),
    },
    412: {"description": "If-Match names another version: somebody changed the annotations since, nothing is imported"},
}
ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not changed since the `ETag` of `If-None-Match`; nothing is written for this answer"},
}


def parse_wait(text: str | None) -> float:
    """Seconds. Raises InvalidInput."""
    if text is None or text == "":
        return DEFAULT_WAIT_SECONDS
    try:
        seconds = float(text.strip().removesuffix("s")) if text.isascii() else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise InvalidInput(f'seconds from 0 to {MAX_WAIT_SECONDS:.0f} are needed; got "{shorten(text)}"', place="wait")
    return seconds


async def _find(services: Services, caller: Caller, target: str, number: int) -> tuple[Goal, Task]:
    """The goal and its task, which has data, at the latest when the request that makes it has ended."""

    def look(*, refuse: bool) -> tuple[Goal, Task, str | None]:
        with services.storage.database.read() as conn:
            goal = find_goal(conn, caller, target, number)
            assert goal.task_id is not None
            task = tasks.load(conn, goal.task_id)
            making = None if task.has_data or refuse else requests.making_data(conn, caller.user, goal.task_id)
            if making is None:
                check_has_data(conn, goal.task_id)
            return goal, task, making

    goal, task, making = await run_in_threadpool(look, refuse=False)
    if making is not None:
        await wait_until_final_async(services.storage, caller.user, making, DATA_WAIT_SECONDS)
        goal, task, _ = await run_in_threadpool(look, refuse=True)
    return goal, task


async def _import(
    request: Request,
    services: Services,
    caller: Caller,
    links: Links,
    target: str,
    number: int,
    if_match: str | None,
) -> Response:
    query = options_of(request.query_params.multi_items())

    goal, _ = await _find(services, caller, target, number)
    revision = await run_in_threadpool(expected_revision, services, caller, target, number, if_match)
    options = own_import_options(services, query)
    wait = parse_wait(query.get("wait"))
    if media_type(request).endswith("json") and not is_form(request):
        raise InvalidInput(
            "the body is JSON; send the archive, bare or in the field file of a form", code="upload.form"
        )
    intake = Intake(request, services, caller, goal, "annotations")
    upload = await intake.file(ARCHIVE_FIELDS["annotations"])
    try:
        if intake.texts:  # options may come as fields of the form, where a list may be as long as a file
            query = options_of([*request.query_params.multi_items(), *intake.texts])
            options = own_import_options(services, query)
            wait = parse_wait(query.get("wait"))
        work = await run_in_threadpool(ask, services, caller, import_draft(goal, upload, options, revision))
    except BaseException:
        await run_in_threadpool(forget, services, upload)
        raise
    if wait == 0:  # nor looked at again: work that ended within this moment would make it a matter of luck what is told
        return _told(request, work, links)
    departure = Departure(request)
    try:
        work = await wait_until_final_async(
            services.storage, caller.user, work.id, wait, should_stop=departure.has_happened
        )
    except Busy:  # only the look at it: the work is recorded, and asking again would record it twice
        log.warning("the end of work could not be waited for", rq_id=work.id, exc_info=True)
    finally:
        departure.close()
    return _told(request, work, links)


def _told(request: Request, work: Work, links: Links) -> Response:
    """The report of finished work, the problems of failed work, else where to ask again."""
    about = RequestRead.of(work, links)
    report = dict(work.report or {})
    place = {"rq_id": work.id, "status": work.status, "url": links.url(f"/api/requests/{work.id}")}
    if work.status == "finished":
        return JSONResponse({**place, "message": about.message, **report})
    if work.status == "failed":
        problems, counts = report.pop("problems", []), report.pop("counts", {})
        code = next((problem["code"] for problem in problems if problem["severity"] == "error"), "request.failed")
        body = error_body(request_id_of(request), about.message, code, problems, counts)
        return error_response(412 if code == Outdated.code else 400, {**report, **place, **body})
    waiting = {**place, "message": about.message, "progress": about.progress}
    return JSONResponse(waiting, status_code=202, headers={"Location": place["url"]})


@router.post("/api/tasks/{task_id}/import", responses=REPORT, openapi_extra=BODY)
@body_limit(None)
async def import_into_task(
    request: Request,
    task_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    links: LinksDep,
    format: FormatQuery = None,
    wait: WaitQuery = None,
    dry_run: FlagQuery = None,
    mode: ModeQuery = None,
    conv_mask_to_poly: FlagQuery = None,
    unmatched: TextQuery = None,
    if_match: IfMatch = None,
) -> Response:
    """Send an archive, get the report. With `dry_run` the report is the same and nothing is changed."""
    return await _import(request, services, caller, links, "task", task_id, if_match)


@router.post("/api/jobs/{job_id}/import", responses=REPORT, openapi_extra=BODY)
@body_limit(None)
async def import_into_job(
    request: Request,
    job_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    links: LinksDep,
    format: FormatQuery = None,
    wait: WaitQuery = None,
    dry_run: FlagQuery = None,
    mode: ModeQuery = None,
    conv_mask_to_poly: FlagQuery = None,
    unmatched: TextQuery = None,
    if_match: IfMatch = None,
) -> Response:
    """The same into the frames of a job."""
    return await _import(request, services, caller, links, "job", job_id, if_match)


async def _export(request: Request, services: Services, caller: Caller, target: str, number: int) -> Response:
    query = options_of(request.query_params.multi_items())

    goal, task = await _find(services, caller, target, number)
    check_names(query, EXPORT_NAMES)
    options = parse_options(ExportOptions, query)
    chosen = format_named(services, query.get("format") or DEFAULT_FORMAT, reading=False)
    if services.stream_export is None:
        raise Unsupported("exports are not streamed here; use POST …/dataset/export", code="export.unsupported")
    job = {"task_id": goal.task_id, "job_id": goal.job_id, "format": chosen.display_name, **options}
    if query.get("dry_run") and parse_flag("dry_run", query["dry_run"]):
        told = b"".join([chunk async for chunk in services.stream_export({**job, "dry_run": True})])
        return Response(told, media_type="application/json", headers={"Cache-Control": "no-store"})
    name = task.name if goal.job_id is None else f"{task.name} job {goal.job_id}"
    filename = query.get("filename") or f"{name}.zip"
    etag = export_etag(services, task, job)
    headers = {
        "Content-Disposition": content_disposition(filename),
        "ETag": etag,
        "Cache-Control": "private, no-cache",
    }
    if etag_matches(request, etag):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return StreamAnswer(_nothing(), headers=headers, media_type="application/zip")  # its length is not known
    chunks = services.stream_export(job)
    # What goes wrong before the first byte can still be answered as a refusal.
    first = await anext(chunks, b"")
    return StreamAnswer(_whole(first, chunks), headers=headers, media_type="application/zip")


def export_etag(services: Services, task: Task, job: Mapping[str, Any]) -> str:
    """Of a streamed export, before it is written: the same state, options and writer give the same bytes.

    A job's archive has class names and kept files of the whole task, so the task's revision counts for it too.
    """
    state = [services.version, task.id, task.created_date.isoformat(), task.revision]
    text = orjson.dumps([*state, dict(job)], option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for chunk in rest:
            yield chunk
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


@router.get("/api/tasks/{task_id}/export", responses=ZIP)
async def export_task_now(
    request: Request,
    task_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    format: FormatQuery = None,
    save_images: FlagQuery = None,
    dry_run: FlagQuery = None,
) -> Response:
    """The archive itself, from its first byte, named after the task; with `dry_run` the counts of what it holds."""
    return await _export(request, services, caller, "task", task_id)


@router.get(
    "/api/tasks/{task_id}/image_list.txt", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def list_task_images(
    request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep, format: FormatQuery = None
) -> Response:
    """The images that an export with these options would hold, `<subset>/<image id>` a line, as `image_ids` takes them
    and the data set's own downloader does."""
    query = options_of(request.query_params.multi_items())
    goal, _ = await _find(services, caller, "task", task_id)
    check_names(query, EXPORT_NAMES)
    options = parse_options(ExportOptions, query)
    chosen = format_named(services, query.get("format") or DEFAULT_FORMAT, reading=False)
    if services.stream_export is None or chosen.list_images is None:
        raise Unsupported(f"{chosen.display_name} has no lists of images", code="export.unsupported")
    job = {"task_id": goal.task_id, "job_id": None, "format": chosen.display_name, **options, "image_list": True}
    chunks = services.stream_export(job)
    first = await anext(chunks, b"")
    headers = {"Content-Disposition": content_disposition(query.get("filename") or "image_list.txt")}
    return StreamAnswer(_whole(first, chunks), headers=headers, media_type="text/plain; charset=utf-8")


@router.get("/api/jobs/{job_id}/export", responses=ZIP)
async def export_job_now(
    request: Request,
    job_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    format: FormatQuery = None,
    save_images: FlagQuery = None,
    dry_run: FlagQuery = None,
) -> Response:
    """The same of a job's frames."""
    return await _export(request, services, caller, "job", job_id)
