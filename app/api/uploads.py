"""Uploads: one URL for each kind, whose headers say what a request means (cvat-api 4, stack.md 6).

    POST  Upload-Finish      the uploaded bytes become work            202 {"rq_id"}
          Upload-Start       nothing to do                             202
          Upload-Length      begin a resumable upload (tus)            201 Location, Upload-Filename
          Upload-Multiple    a form of files, kept until the finish    200
          none of them       everything in one request                 202 {"rq_id"}
    HEAD, PATCH  …/<upload id>    how far it is, and the next chunk    200, 204

    /api/tasks/{id}/data            pictures; files of a form are `client_files[0]`, `client_files[1]`, …
    /api/tasks/{id}/annotations     an archive, `annotation_file`; the same for jobs
    /api/projects/{id}/dataset      an archive with pictures, `dataset_file`
    /api/tasks/backup               a backup of ours, `task_file`; the same for projects, `project_file`

Headers are tested for presence: CVAT's clients send them empty or with `True`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from app.api import tus
from app.api.annotations import expected_revision
from app.api.deps import AnyoneDep, Caller, CallerDep, LinksDep, Services, ServicesDep
from app.api.described import FORMAT, LOCATION, parameter, told_headers
from app.api.errors import respond_to_app_error
from app.api.imports import (
    MODES,
    Goal,
    ask,
    backup_draft,
    check_location,
    data_draft,
    format_named,
    import_draft,
    import_options,
    no_data,
)
from app.api.option_words import WORDS
from app.api.parameters import data_params, from_texts
from app.api.queries import query_of
from app.api.receiving import (
    PICTURE_FIELD,
    ZIP_TYPES,
    Intake,
    announced_bytes,
    forget,
    incoming_of,
    is_form,
    max_bytes_of,
    media_type,
    read_fields,
    receive_chunk,
)
from app.api.routing import Router, body_limit
from app.api.schemas import PathId, RqId
from app.errors import InvalidInput, NotFound, TooLarge
from app.operations import named_order
from app.storage import RequestDraft, Upload, UploadWriter, jobs, projects, requests, tasks, uploads
from app.storage.database import Connection

router = Router(tags=["tasks"])

ARCHIVE_FIELDS = {
    "annotations": re.compile(r"annotation_file|file"),
    "dataset": re.compile(r"dataset_file|file"),
    "backup": re.compile(r"(task|project)_file|file"),
}
COMPARED_BYTES = 4 << 20

UploadId = Annotated[str, Path(max_length=128)]
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "A group of files was taken"},
    201: {
        "description": "A resumable upload was begun",
        "headers": told_headers(
            Location="The address of the upload, for HEAD and PATCH",
            Upload_Filename="What `filename` is to be at the finish",
            Upload_Offset="0",
        ),
    },
    202: {"description": "The work has begun; of Upload-Start alone: nothing to do, without a body", "model": RqId},
    412: {"description": "Another version, of tus or of the annotations"},
}
OFFSETS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "How far the upload is",
        "headers": told_headers(Upload_Offset="Bytes that are there", Upload_Length="Bytes of the whole"),
    },
    204: {"description": "The chunk was taken", "headers": told_headers(Upload_Offset="Bytes that are there now")},
    412: {"description": "Another version, of tus or of the annotations"},
}


# Goals: whose upload it is, checked before anything of the body is read


def task_goal(conn: Connection, caller: Caller, task_id: int, kind: str) -> Goal:
    has_data = tasks.has_data(conn, caller.user, task_id)
    if kind == "data" and has_data:
        raise InvalidInput(f"task {task_id} has its data already; pictures can be attached once", code="task.has_data")
    if kind == "annotations" and not has_data:
        raise no_data(task_id)
    return Goal("task", task_id, task_id)


def job_goal(conn: Connection, caller: Caller, job_id: int, _: str) -> Goal:
    return Goal("job", job_id, jobs.task_of(conn, caller.user, job_id))


def project_goal(conn: Connection, caller: Caller, project_id: int, _: str) -> Goal:
    return Goal("project", projects.get(conn, caller.user, project_id).id)


def task_to_be(conn: Connection, caller: Caller, _: int, __: str) -> Goal:
    return Goal("task", None)


def project_to_be(conn: Connection, caller: Caller, _: int, __: str) -> Goal:
    return Goal("project", None)


FindGoal = Callable[[Connection, Caller, int, str], Goal]


async def _goal(services: Services, caller: Caller, find: FindGoal, number: int, kind: str) -> Goal:
    def look() -> Goal:
        with services.storage.database.read() as conn:
            return find(conn, caller, number, kind)

    return await run_in_threadpool(look)


# The five meanings of a POST


async def _receive(request: Request, services: Services, caller: Caller, base: str, goal: Goal, kind: str) -> Response:
    sent, revision = request.headers, None
    if kind == "annotations":
        assert goal.id is not None
        if_match = sent.get("if-match")
        revision = await run_in_threadpool(expected_revision, services, caller, goal.target, goal.id, if_match)
    if "upload-finish" in sent:
        if kind == "data":
            return await _finish_data(request, services, caller, goal)
        return await _finish_archive(request, services, caller, goal, kind, revision)
    if "upload-start" in sent:
        if kind != "data" and request.query_params.get("format"):
            format_named(services, request.query_params["format"], reading=True)
        return Response(status_code=202)
    if "upload-length" in sent or "upload-defer-length" in sent:
        return await _begin(request, services, caller, base, goal, kind)
    if "upload-multiple" in sent:
        return await _receive_group(request, services, caller, goal, kind)
    if kind == "data":
        return await _receive_data(request, services, caller, goal)
    return await _receive_archive(request, services, caller, goal, kind, revision)


async def _begin(request: Request, services: Services, caller: Caller, base: str, goal: Goal, kind: str) -> Response:
    """tus creation."""
    max_bytes = min(max_bytes_of(services, kind), services.settings.tus_max_size_bytes)
    try:
        tus.check_version(request.headers)
    except tus.WrongVersion as error:
        return _wrong_version(request, error, max_bytes)
    if "upload-defer-length" in request.headers:
        raise InvalidInput("the length must be known at the start: send Upload-Length", code="upload.header")
    length = tus.parse_size(request.headers, "upload-length")
    if length > max_bytes:
        raise TooLarge(f"{length:,} bytes are announced; at most {max_bytes:,} are taken")
    filename = tus.plain_filename(tus.parse_metadata(request.headers.get("upload-metadata", "")))

    def create() -> Upload:
        services.storage.blobs.check_space(length)
        with services.storage.database.write() as conn:
            return uploads.create(
                conn,
                caller.user,
                kind=kind,
                target=goal.target,
                target_id=goal.id,
                filename=filename,
                length=length,
                max_open=services.settings.tus_max_open_per_user,
            )

    upload = await run_in_threadpool(create)
    told = {
        "Location": f"{base}{request.scope['path']}/{upload.id}",
        # Pictures keep their names; of anything else the id is the name, so that equal names never mix.
        "Upload-Filename": _header_text(upload.filename) if kind == "data" else upload.id,
        "Upload-Offset": "0",
    }
    return Response(status_code=201, headers={**tus.offer(max_bytes), **told})


def _header_text(text: str) -> str:
    """A file name as a header can carry it: UTF-8 as it is read by clients that know it, byte for byte."""
    return text.encode("utf-8").decode("latin-1")


async def _receive_group(request: Request, services: Services, caller: Caller, goal: Goal, kind: str) -> Response:
    """Upload-Multiple: files to be used at the finish."""
    if not is_form(request):
        raise InvalidInput("Upload-Multiple needs a form (multipart/form-data) with files", code="upload.form")
    intake = Intake(request, services, caller, goal, kind)
    if kind == "data":
        _, upload = await intake.form(PICTURE_FIELD)
        if upload is None:
            raise InvalidInput("the form holds no file; send client_files[0], client_files[1], …", code="upload.files")
    else:
        await intake.file(ARCHIVE_FIELDS[kind])
    return Response(status_code=200)


# Pictures


async def _receive_data(request: Request, services: Services, caller: Caller, goal: Goal) -> Response:
    """Pictures and parameters in one request."""
    if is_form(request):
        form, upload = await Intake(request, services, caller, goal, "data").form(PICTURE_FIELD)
        given = from_texts(form.texts)
    elif media_type(request) in ZIP_TYPES:
        upload = await Intake(request, services, caller, goal, "data").bare()
        given = {}
    else:
        upload, given = None, await read_fields(request, services)
    try:
        params = data_params(given)
        if upload is None:
            raise InvalidInput(
                "no pictures came with the request; send a form with client_files[0], client_files[1], … or use "
                "Upload-Start, Upload-Multiple and Upload-Finish",
                code="upload.files",
            )
        check_order([upload], params)
        return await _ask(services, caller, data_draft(goal, [upload], params))
    except BaseException:
        if upload is not None:
            await run_in_threadpool(forget, services, upload)
        raise


async def _finish_data(request: Request, services: Services, caller: Caller, goal: Goal) -> Response:
    """All pictures that wait for this task become its data."""
    params = data_params(await read_fields(request, services))

    def collect() -> list[Upload]:
        with services.storage.database.read() as conn:
            waiting = uploads.waiting(conn, caller.user, kind="data", target="task", target_id=goal.id)
        again = sent_again(services, waiting)
        for upload in again:
            forget(services, upload)
        staged = [upload for upload in waiting if upload not in again]
        if staged:
            check_order(staged, params)
        return staged

    staged = await run_in_threadpool(collect)
    if not staged:
        raise InvalidInput(
            "no pictures are waiting for this task; upload them before Upload-Finish", code="upload.files"
        )
    return await _ask(services, caller, data_draft(goal, staged, params))


def check_order(staged: Sequence[Upload], params: Mapping[str, Any]) -> None:
    """Whether an order by name names the uploaded files, where those are known: the members of a zip are not yet.

    Raises:
        InvalidInput: it does not; what was uploaded stays, for another finish.
    """
    names = [name for upload in staged for name, _, _ in _files(upload)]
    if any(name.lower().endswith(".zip") for name in names):
        return
    if params.get("job_file_mapping"):
        named_order(names, [name for job in params["job_file_mapping"] for name in job], "job_file_mapping")
    elif params.get("sorting_method") == "predefined":
        named_order(names, params.get("upload_file_order") or [], "upload_file_order")


def sent_again(services: Services, waiting: Sequence[Upload]) -> list[Upload]:
    """Uploads that a client which was cut off has sent a second time: every file of theirs came later once more, under
    the same name and with the very same bytes."""
    again: list[Upload] = []
    for index, upload in enumerate(waiting):
        later = {
            (name, size): (other, offset) for other in waiting[index + 1 :] for name, offset, size in _files(other)
        }
        files = _files(upload)
        if all((name, size) in later for name, _, size in files) and all(
            _same_bytes(services, upload, offset, *later[name, size], size) for name, offset, size in files
        ):
            again.append(upload)
    return again


def _files(upload: Upload) -> list[tuple[str, int, int]]:
    if not upload.parts:
        return [(upload.filename, 0, upload.length)]
    return [(part.name, part.offset, part.size) for part in upload.parts]


def _same_bytes(services: Services, one: Upload, one_offset: int, other: Upload, other_offset: int, size: int) -> bool:
    first, second = uploads.open_source(services.storage, one), uploads.open_source(services.storage, other)
    try:
        return all(
            first.read_at(one_offset + at, min(COMPARED_BYTES, size - at))
            == second.read_at(other_offset + at, min(COMPARED_BYTES, size - at))
            for at in range(0, size, COMPARED_BYTES)
        )
    finally:
        first.close()
        second.close()


# Archives


def field_of(kind: str, target: str) -> str:
    """The form field that CVAT names for the file."""
    return {"annotations": "annotation_file", "dataset": "dataset_file"}.get(kind, f"{target}_file")


def _archive_draft(
    services: Services, query: dict[str, str], goal: Goal, kind: str, revision: int | None
) -> Callable[[Upload], RequestDraft]:
    """What to do with the archive when it is there. Raises what is wrong with the query, before a body is read."""
    if kind == "backup":
        check_location(query)
        return lambda upload: backup_draft(goal, upload)
    options = import_options(services, query, goal)
    return lambda upload: import_draft(goal, upload, options, revision)


async def _receive_archive(
    request: Request, services: Services, caller: Caller, goal: Goal, kind: str, revision: int | None
) -> Response:
    """An archive in one request."""
    draft = _archive_draft(services, query_of(request), goal, kind, revision)
    if not is_form(request) and media_type(request) not in ZIP_TYPES:
        wanted = field_of(kind, goal.target)
        raise InvalidInput(f"no file came with the request; send a form with the field {wanted}", code="upload.files")
    upload = await Intake(request, services, caller, goal, kind).file(ARCHIVE_FIELDS[kind])
    try:
        return await _ask(services, caller, draft(upload))
    except BaseException:
        await run_in_threadpool(forget, services, upload)
        raise


async def _finish_archive(
    request: Request, services: Services, caller: Caller, goal: Goal, kind: str, revision: int | None
) -> Response:
    """The uploaded archive that `filename` names is imported."""
    query = query_of(request)
    draft = _archive_draft(services, query, goal, kind, revision)
    filename = query.get("filename")
    if not filename:
        raise InvalidInput("which upload? It is the header Upload-Filename of its creation", place="filename")

    def find() -> Upload:
        with services.storage.database.read() as conn:
            return uploads.find(conn, caller.user, kind=kind, target=goal.target, target_id=goal.id, filename=filename)

    asked = draft(await run_in_threadpool(find))
    if asked.options.get("dry_run"):
        # What was sent for a look is there for the import that follows: nobody sends it twice.
        asked = replace(asked, options={**asked.options, requests.KEEP_UPLOAD: True})
    return await _ask(services, caller, asked)


async def _ask(services: Services, caller: Caller, draft: RequestDraft) -> Response:
    work = await run_in_threadpool(ask, services, caller, draft)
    return JSONResponse({"rq_id": work.id}, status_code=202)


# Chunks


def _own_upload(conn: Connection, caller: Caller, goal: Goal, kind: str, upload_id: str) -> Upload:
    """The upload of this id, if it goes to this goal."""
    upload = uploads.get(conn, caller.user, upload_id, with_segments=False)
    if (upload.kind, upload.target, upload.target_id) != (kind, goal.target, goal.id):
        raise NotFound("upload", upload_id)
    return upload


async def _tell(
    request: Request, services: Services, caller: Caller, goal: Goal, kind: str, upload_id: str
) -> Response:

    def look() -> Upload:
        with services.storage.database.read() as conn:
            return _own_upload(conn, caller, goal, kind, upload_id)

    await run_in_threadpool(look)
    await incoming_of(request).settle(upload_id)
    upload = await run_in_threadpool(look)
    told = {"Upload-Offset": str(upload.offset), "Upload-Length": str(upload.length)}
    return Response(status_code=200, headers={**tus.HEADERS, **told})


async def _append(
    request: Request, services: Services, caller: Caller, find: FindGoal, number: int, kind: str, upload_id: str
) -> Response:
    """The next chunk of a resumable upload."""

    def open_chunk() -> UploadWriter:
        with services.storage.database.read() as conn:
            goal = find(conn, caller, number, "" if kind == "data" else kind)
            tus.check_version(request.headers)
            upload = _own_upload(conn, caller, goal, kind, upload_id)
        tus.check_chunk_type(request.headers)
        offset = tus.parse_size(request.headers, "upload-offset")
        if offset == upload.offset:
            announced_bytes(request, upload.length - offset)
        return uploads.open_chunk(services.storage, caller.user, upload_id, offset, known=upload)

    async with incoming_of(request).of(upload_id):  # from the start: who asks meanwhile waits for what comes of this
        try:
            writer = await run_in_threadpool(open_chunk)
        except tus.WrongVersion as error:
            return _wrong_version(request, error, services.settings.tus_max_size_bytes)
        upload = await receive_chunk(request, writer)
    return Response(status_code=204, headers={**tus.HEADERS, "Upload-Offset": str(upload.offset)})


def _wrong_version(request: Request, error: tus.WrongVersion, max_bytes: int) -> Response:
    response = respond_to_app_error(request, error)
    response.status_code = 412
    response.headers.update(tus.offer(max_bytes))
    return response


# Routes


IN_PATH = {
    "task": Annotated[PathId, Path(alias="task_id")],
    "job": Annotated[PathId, Path(alias="job_id")],
    "project": Annotated[PathId, Path(alias="project_id")],
}


async def _no_number() -> int:
    return 0


def _add_routes(target: str, name: str, find: FindGoal, kind: str, tag: str, what: str) -> None:
    """POST, OPTIONS and the chunk routes of one kind of upload, at `/api/<target>s/{<target>_id}/<name>` (for backups,
    which are of nothing that is there, at `/api/<target>s/backup`)."""
    path = f"/api/{target}s/backup" if kind == "backup" else f"/api/{target}s/{{{target}_id}}/{name}"
    chunk_path = path + "/{upload_id}"

    async def receive(
        request: Request, number: int, caller: CallerDep, services: ServicesDep, links: LinksDep
    ) -> Response:
        goal = await _goal(services, caller, find, number, kind)
        return await _receive(request, services, caller, links.base, goal, kind)

    async def offer(services: ServicesDep, _: AnyoneDep) -> Response:
        """What of tus is spoken here. Open, for browsers ask without credentials; it is the same for everybody."""
        max_bytes = min(max_bytes_of(services, kind), services.settings.tus_max_size_bytes)
        return Response(status_code=204, headers=tus.offer(max_bytes))

    async def tell(
        request: Request, number: int, upload_id: UploadId, caller: CallerDep, services: ServicesDep
    ) -> Response:
        """How far a resumable upload is."""
        goal = await _goal(services, caller, find, number, "" if kind == "data" else kind)
        return await _tell(request, services, caller, goal, kind, upload_id)

    async def append(
        request: Request, number: int, upload_id: UploadId, caller: CallerDep, services: ServicesDep
    ) -> Response:
        """The next chunk of a resumable upload (`application/offset+octet-stream`)."""
        return await _append(request, services, caller, find, number, kind, upload_id)

    for endpoint in (receive, tell, append):
        endpoint.__annotations__["number"] = (
            Annotated[int, Depends(_no_number)] if kind == "backup" else IN_PATH[target]
        )
    call = f"{target}_{name}"
    router.add_api_route(
        path,
        body_limit(None)(receive),
        methods=["POST"],
        status_code=202,
        responses=ANSWERS,
        tags=[tag],
        name=f"upload_{call}",
        summary=f"Upload {what}",
        description=f"Upload {what}: in one request, as groups of files, or resumable (tus 1.0.0). The headers of the "
        "request say which part of an upload it is.",
        openapi_extra={"parameters": _described(kind), "requestBody": _bodies(kind, target)},
    )
    for one in (path, chunk_path):
        router.add_api_route(one, offer, methods=["OPTIONS"], status_code=204, include_in_schema=False)
    router.add_api_route(
        chunk_path,
        tell,
        methods=["HEAD"],
        responses={200: OFFSETS[200]},
        response_class=Response,
        tags=[tag],
        name=f"upload_{call}_offset",
    )
    router.add_api_route(
        chunk_path,
        body_limit(None)(append),
        methods=["PATCH"],
        status_code=204,
        responses={204: OFFSETS[204], 412: OFFSETS[412]},
        tags=[tag],
        name=f"upload_{call}_chunk",
    )


def _header(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _described(kind: str) -> list[dict[str, Any]]:
    """What the contract shows; the values are read by hand, for they come as texts of many spellings."""
    headers = [
        _header("Upload-Start", "Begin; nothing else happens"),
        _header("Upload-Finish", "Use what was uploaded"),
        _header("Upload-Multiple", "Keep the files of this form for the finish"),
        _header("Upload-Length", "Begin a resumable upload of so many bytes"),
        _header("Upload-Metadata", "Of a resumable upload: `filename` and its base64"),
    ]
    if kind == "data":
        return headers
    upload = parameter("filename", "At the finish: the header `Upload-Filename` of the upload", maxLength=256)
    if kind == "backup":
        return [upload, LOCATION, *headers]
    if kind == "annotations":
        text = "The ETag of the annotations that were read: nothing is imported where somebody else changed them since"
        headers.append(_header("If-Match", text))
    mode = parameter("import_mode", "What becomes of earlier annotations", enum=list(MODES), default="replace")
    return [
        FORMAT,
        upload,
        parameter("conv_mask_to_poly", WORDS["conv_mask_to_poly"], enum=["true", "false"], default="true"),
        *([] if kind == "dataset" else [mode]),
        parameter("dry_run", "Read and report, change nothing", enum=["true", "false"], default="false"),
        LOCATION,
        *headers,
    ]


def _bodies(kind: str, target: str) -> dict[str, Any]:
    binary: Mapping[str, Any] = {"type": "string", "format": "binary"}
    if kind == "data":
        properties: dict[str, Any] = {
            "client_files[0]": binary,
            "image_quality": {"type": "integer", "minimum": 0, "maximum": 100, "default": 70},
            "chunk_size": {"type": "integer", "minimum": 1},
            "sorting_method": {"type": "string", "enum": ["lexicographical", "natural", "predefined", "random"]},
            "upload_file_order": {"type": "array", "items": {"type": "string"}},
            "start_frame": {"type": "integer", "minimum": 0},
            "stop_frame": {"type": "integer", "minimum": 0},
            "frame_filter": {"type": "string", "examples": ["step=2"]},
            "job_file_mapping": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        }
    else:
        properties = {field_of(kind, target): binary}
    content = {
        "multipart/form-data": {"schema": {"type": "object", "properties": properties}},
        "application/zip": {"schema": dict(binary)},
    }
    if kind == "data":
        texts = {name: schema for name, schema in properties.items() if schema is not binary}
        content["application/json"] = {"schema": {"type": "object", "properties": texts}}
    return {"required": False, "content": content}


_add_routes("task", "data", task_goal, "data", "tasks", "the pictures of a task")
_add_routes("task", "annotations", task_goal, "annotations", "annotations", "an archive into a task")
_add_routes("job", "annotations", job_goal, "annotations", "annotations", "an archive into a job")
_add_routes("project", "dataset", project_goal, "dataset", "projects", "a dataset into a project")
_add_routes("task", "backup", task_to_be, "backup", "tasks", "a backup of a task, of which a new one is made")
_add_routes("project", "backup", project_to_be, "backup", "projects", "a backup of a project")
