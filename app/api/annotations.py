"""Annotations of tasks and jobs as CVAT's LabeledData (cvat-api 9). Their import is in `uploads.py`.

A job is a window: it reads and changes what is on its frames. JSON is decoded in a thread, a batch at a time, and
written from columns; a large task is read block by block from one snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from typing import Annotated, Any

import numpy as np
from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.annotations import Annotations, Label, LabelCatalog
from app.api.answers import StreamAnswer, etag_matches, in_thread, is_current, limiter_of, stream_in_threads
from app.api.bodies import announced_length, long_body, whole_body
from app.api.decoding import Identities, JSONLimits, decode, decode_identities
from app.api.deps import Caller, CallerDep, Services, ServicesDep
from app.api.described import json_of
from app.api.encoding import encode
from app.api.errors import Gone, WrongMediaType, did_you_mean
from app.api.receiving import media_type
from app.api.routing import Router
from app.api.schemas import PathId
from app.columns import PackedRagged
from app.errors import Conflict, InvalidInput, NotFound, Outdated, shorten
from app.formats import outlives
from app.heap import trim_heap
from app.storage import Connection, FrameSizes, Scene, requests, scenes
from app.storage import annotations as stored

router = Router(tags=["annotations"])

ACTIONS = ("create", "update", "delete")
OLD_EXPORT_NAMES = ("format", "filename", "action", "location", "cloud_storage_id")
OLD_IMPORT_NAMES = ("format", "rq_id")

LOADED_ROWS, LOADED_BYTES = 50_000, 2 << 20
"""Up to here all is loaded at once, which frees the database at once; more is read while it is sent."""
READ_ROWS, READ_BYTES = 10_000, 1 << 20
"""At a time; four times the bytes are held, for outlines are stored as 16 bits."""
LARGE_READERS = 4
DECODERS = 2
SMALL_ROWS, SMALL_BYTES = 2000, 256 << 10
"""Up to here an answer is one piece, made by the thread that read it, and a body is decoded by the one that stores it:
a frame or two. Each further thread would take longer to wake than the work takes."""

CONTENT = json_of("LabeledData")
READ: dict[int | str, dict[str, Any]] = {200: {"description": "The annotations", **CONTENT}}
CHANGED: dict[int | str, dict[str, Any]] = {
    412: {"description": "If-Match names another version: somebody has changed something since"}
}
BODY: dict[str, Any] = {"requestBody": {"required": True, **CONTENT}}


def scene_of(conn: Connection, caller: Caller, target: str, number: int) -> Scene:
    """Raises NotFound, and InvalidInput for a task without data."""
    find = scenes.of_job if target == "job" else scenes.of_task
    return find(conn, caller.user, number)


def etag_of(scene: Scene, target: str, number: int) -> str:
    return f'"{target}-{number}-{scene.revision}-{scene.created_date.timestamp():.0f}"'


def expected_revision(services: Services, caller: Caller, target: str, number: int, if_match: str | None) -> int | None:
    """The revision of the task or job that an import is meant for, where If-Match names it; None where any will do.

    Raises:
        Outdated: it is another one already.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    scene = _look(services, caller, target, number)
    if not is_current(if_match, etag_of(scene, target, number)):
        raise requests.outdated_import(target)
    return scene.revision


def _locked_scene(
    conn: Connection, caller: Caller, target: str, number: int, task_id: int, if_match: str | None
) -> Scene:
    """What is there when nobody else writes any more. Raises Outdated, where the caller looked at something else."""
    stored.lock_task(conn, task_id)  # from here on its labels stay
    now = scene_of(conn, caller, target, number)
    if not is_current(if_match, etag_of(now, target, number)):
        raise Outdated(f"the {target} was changed since; read its annotations again, and send what is to change")
    return now


# Reading


def _answer(found: Annotations, catalog: LabelCatalog, headers: dict[str, str] | None = None) -> Response:
    """Belongs in a thread."""
    chunks = encode([found.tags], [found.shapes], [found.tracks], catalog)
    if is_small(found):
        return Response(b"".join(chunks), headers=headers, media_type="application/json")
    return StreamAnswer(stream_in_threads(_trimmed(chunks)), headers=headers, media_type="application/json")


def _trimmed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same; what a large body or answer took goes back to the system then."""
    yield from chunks
    trim_heap()


def is_small(found: Annotations) -> bool:
    """Whether its JSON takes a moment."""
    shapes = found.shapes
    n_rows = len(shapes) + len(found.tags) + len(found.tracks)
    if isinstance(shapes.runs, PackedRagged) or n_rows > SMALL_ROWS:  # packed: nobody knows yet how much it is
        return False
    columns = (shapes.points, shapes.runs, shapes.elements, found.tracks.bodies)
    return sum(column.nbytes for column in columns) <= SMALL_BYTES


async def _read(request: Request, services: Services, caller: Caller, target: str, number: int) -> Response:
    if any(name in request.query_params for name in OLD_EXPORT_NAMES):
        raise Gone(
            f"This call is gone. Use POST /api/{target}s/{number}/dataset/export, then GET /api/requests/{{rq_id}}."
        )

    def look() -> tuple[Scene, Response | None]:
        with services.storage.database.snapshot() as conn:
            scene = scene_of(conn, caller, target, number)
            etag = etag_of(scene, target, number)
            headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
            if etag_matches(request, etag):
                return scene, Response(status_code=304, headers=headers)
            start, stop = scene.window
            weights = stored.weigh(conn, scene.task_id, start, stop)
            n_rows, n_bytes = (sum(each[place] for each in weights.values()) for place in (0, 1))
            if n_rows > LOADED_ROWS or n_bytes > LOADED_BYTES:
                return scene, None
            found = stored.load(
                *(conn, scene.task_id),
                start=start,
                stop=stop,
                kinds=tuple(weights),
                with_kept=False,
                size=scene.size,
            )
        return scene, _answer(found, scene.labels, headers)

    scene, answer = await run_in_threadpool(look)
    if answer is not None:
        return answer
    headers = {"ETag": etag_of(scene, target, number), "Cache-Control": "private, no-cache"}
    chunks = _read_large(services, caller, target, number, limiter_of(request, "large readers", LARGE_READERS))
    # What is sent may be newer than its tag says by then, never older: a client that asks again gets it again.
    return StreamAnswer(chunks, headers=headers, media_type="application/json")


async def _read_large(
    services: Services, caller: Caller, target: str, number: int, readers: CapacityLimiter
) -> AsyncIterator[bytes]:
    """Block by block, all from one snapshot, which lives until the last byte is sent."""
    async with readers:
        context = services.storage.database.snapshot()
        conn = await to_thread.run_sync(context.__enter__)
        chunks: Generator[bytes, None, None] | None = None
        try:
            scene = await to_thread.run_sync(scene_of, conn, caller, target, number)
            start, stop = scene.window
            read = partial(
                stored.iterate,
                *(conn, scene.task_id),
                start=start,
                stop=stop,
                batch_rows=READ_ROWS,
                batch_bytes=READ_BYTES,
                with_kept=False,
                cuts="anywhere",
            )
            chunks = encode(
                (batch.tags for batch in read(kinds=("tags",))),
                (batch.shapes for batch in read(kinds=("shapes",))),
                (batch.tracks for batch in read(kinds=("tracks",))),
                scene.labels,
                most_helpers=services.settings.import_helpers,
            )
            async for chunk in stream_in_threads(_trimmed(chunks)):
                yield chunk
        finally:
            with CancelScope(shield=True):
                if chunks is not None:
                    await to_thread.run_sync(chunks.close)
                await to_thread.run_sync(context.__exit__, None, None, None)


# Writing


def _check_type(request: Request, body: bytes | bytearray) -> None:
    """Raises WrongMediaType."""
    kind = media_type(request)
    if body and not kind.endswith(("/json", "+json")):
        raise WrongMediaType(f'Unsupported media type "{shorten(kind)}" in request: send application/json.')


def _limits(services: Services) -> JSONLimits:
    settings = services.settings
    return JSONLimits(
        settings.max_json_body_bytes,
        settings.max_json_depth,
        settings.max_points_per_shape,
        settings.max_shapes_per_request,
    )


def _look(services: Services, caller: Caller, target: str, number: int) -> Scene:
    """What is written against."""
    with services.storage.database.read() as conn:
        return scene_of(conn, caller, target, number)


def _is_short(request: Request) -> bool:
    """Whether the body is as large as the answer for a frame or two, and says so: then it may be read before anything
    is known of the task, and one thread does everything."""
    text = request.headers.get("content-length", "")
    return bool(text) and announced_length(text) <= SMALL_BYTES


def changed_label(new: Annotations, then: LabelCatalog, now: LabelCatalog) -> str | None:
    """The name of a label that these annotations use and that is not what it was when they were decoded: gone, or with
    other attributes or parts. What becomes of other labels, and names and colors, stop nobody's work."""
    if now == then:
        return None
    for label_id in np.unique(np.concatenate([each.label_ids for each in (new.tags, new.shapes, new.tracks)])).tolist():
        label = then.by_id[label_id]
        if label_id not in now.by_id or _meaning(now.by_id[label_id]) != _meaning(label):
            return label.name
    return None


def _meaning(label: Label) -> Any:
    """What annotations are checked against."""
    return label.attributes, [(part.id, part.attributes) for part in label.sublabels]


async def _write(
    request: Request, services: Services, caller: Caller, target: str, number: int, action: str, if_match: str | None
) -> Response:
    """`replace`, `create` or `update`: decode against frames and labels, then one transaction."""
    look = partial(_look, services, caller, target, number)

    def work(scene: Scene, body: bytes | bytearray) -> Annotations:
        frames = FrameSizes(services.storage.database, scene.task_id, scene.size)
        limits = _limits(services)
        return decode(body, frames, scene.labels, limits, window=scene.window, need_ids=action == "update")

    def store(scene: Scene, new: Annotations) -> Response:
        with services.storage.database.write() as conn:
            now = _locked_scene(conn, caller, target, number, scene.task_id, if_match)
            changed = changed_label(new, scene.labels, now.labels)
            if changed is not None:
                raise Conflict(
                    f'the label "{shorten(changed)}" was changed or removed meanwhile; read the labels and send the '
                    "annotations again"
                )
            start, stop = scene.window
            try:
                if action == "create":
                    kept = stored.append(conn, scene.task_id, new, start=start, stop=stop)
                else:
                    verb = stored.update if action == "update" else stored.replace_all
                    kept = verb(conn, scene.task_id, new, start=start, stop=stop, defaults=now.defaults)
            except NotFound as error:
                # The task is there; what is missing is named by the body, which makes it the body's fault.
                missing = f"there is no annotation with the id {error.key} here"
                raise InvalidInput(missing, code="annotations.unknown") from None

        return _answer(kept, now.labels)

    if _is_short(request):
        short = await whole_body(request)

        def everything() -> Response:
            scene = look()
            _check_type(request, short)
            return store(scene, work(scene, short))

        return await run_in_threadpool(everything)
    scene = await run_in_threadpool(look)
    body = await long_body(request)
    _check_type(request, body)
    new = await in_thread(partial(work, scene, body), limiter_of(request, "decoders", DECODERS))
    del body
    return await run_in_threadpool(store, scene, new)


async def _remove(
    request: Request, services: Services, caller: Caller, target: str, number: int, if_match: str | None
) -> Response:
    """PATCH with `action=delete`: the objects with these ids go; ids that are not there are fine."""
    look = partial(_look, services, caller, target, number)

    def work(body: bytes | bytearray) -> Identities:
        return decode_identities(body, _limits(services))

    def store(ids: Identities) -> Response:
        with services.storage.database.write() as conn:
            scene = scene_of(conn, caller, target, number)
            scene = _locked_scene(conn, caller, target, number, scene.task_id, if_match)
            start, stop = scene.window
            wanted = {"tags": ids.tags, "shapes": ids.shapes, "tracks": ids.tracks}
            stored.delete(conn, scene.task_id, wanted, start=start, stop=stop, near=ids.frames)
        return _answer(Annotations(), scene.labels)

    if _is_short(request):
        short = await whole_body(request)

        def everything() -> Response:
            look()
            _check_type(request, short)
            return store(work(short))

        return await run_in_threadpool(everything)
    await run_in_threadpool(look)
    body = await long_body(request)
    _check_type(request, body)
    ids = await in_thread(partial(work, body), limiter_of(request, "decoders", DECODERS))
    del body
    return await run_in_threadpool(store, ids)


async def _patch(
    request: Request,
    services: Services,
    caller: Caller,
    target: str,
    number: int,
    action: str | None,
    if_match: str | None,
) -> Response:
    if action not in ACTIONS:
        await run_in_threadpool(_look, services, caller, target, number)
        given = f'there is no action "{shorten(action)}".{did_you_mean(action, ACTIONS)}' if action else "is missing."
        raise InvalidInput(f"{given} There are {', '.join(ACTIONS)}", place="action")
    if action == "delete":
        return await _remove(request, services, caller, target, number, if_match)
    return await _write(request, services, caller, target, number, action, if_match)


async def _put(
    request: Request, services: Services, caller: Caller, target: str, number: int, if_match: str | None
) -> Response:
    if any(name in request.query_params for name in OLD_IMPORT_NAMES):
        raise Gone(
            f"This call is gone. Use POST /api/{target}s/{number}/annotations, then GET /api/requests/{{rq_id}}."
        )
    return await _write(request, services, caller, target, number, "replace", if_match)


def _clear(services: Services, caller: Caller, target: str, number: int, if_match: str | None) -> None:
    with services.storage.database.write() as conn:
        scene = scene_of(conn, caller, target, number)
        scene = _locked_scene(conn, caller, target, number, scene.task_id, if_match)
        start, stop = scene.window
        stored.clear(conn, scene.task_id, start=start, stop=stop, outlives=outlives)


# Routes

ActionQuery = Annotated[
    str | None, Query(description="`create`, `update` or `delete`", json_schema_extra={"enum": list(ACTIONS)})
]

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag of what was read: nothing is changed where somebody else changed it since",
    ),
]


@router.get("/api/tasks/{task_id}/annotations", responses=READ)
async def get_task_annotations(request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """All annotations of a task."""
    return await _read(request, services, caller, "task", task_id)


@router.put("/api/tasks/{task_id}/annotations", responses=READ | CHANGED, openapi_extra=BODY)
async def replace_task_annotations(
    request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None
) -> Response:
    """Replace all annotations. An entry with the id of a stored annotation continues it."""
    return await _put(request, services, caller, "task", task_id, if_match)


@router.patch("/api/tasks/{task_id}/annotations", responses=READ | CHANGED, openapi_extra=BODY)
async def change_task_annotations(
    request: Request,
    task_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    action: ActionQuery = None,
    if_match: IfMatch = None,
) -> Response:
    """Add, change or remove annotations; all of them or, where one is refused, none."""
    return await _patch(request, services, caller, "task", task_id, action, if_match)


@router.delete("/api/tasks/{task_id}/annotations", status_code=204, responses=CHANGED)
def clear_task_annotations(task_id: PathId, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Remove all annotations, and what was kept of imported archives."""
    _clear(services, caller, "task", task_id, if_match)


@router.get("/api/jobs/{job_id}/annotations", responses=READ)
async def get_job_annotations(request: Request, job_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The annotations on a job's frames; tracks that begin there."""
    return await _read(request, services, caller, "job", job_id)


@router.put("/api/jobs/{job_id}/annotations", responses=READ | CHANGED, openapi_extra=BODY)
async def replace_job_annotations(
    request: Request, job_id: PathId, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None
) -> Response:
    """Replace the annotations on a job's frames."""
    return await _put(request, services, caller, "job", job_id, if_match)


@router.patch("/api/jobs/{job_id}/annotations", responses=READ | CHANGED, openapi_extra=BODY)
async def change_job_annotations(
    request: Request,
    job_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    action: ActionQuery = None,
    if_match: IfMatch = None,
) -> Response:
    """Add, change or remove annotations on a job's frames."""
    return await _patch(request, services, caller, "job", job_id, action, if_match)


@router.delete("/api/jobs/{job_id}/annotations", status_code=204, responses=CHANGED)
def clear_job_annotations(job_id: PathId, caller: CallerDep, services: ServicesDep, if_match: IfMatch = None) -> None:
    """Remove the annotations on a job's frames."""
    _clear(services, caller, "job", job_id, if_match)
