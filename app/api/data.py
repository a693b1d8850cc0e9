"""Pictures of tasks and jobs: frames, chunks, previews, and what is known of each (cvat-api 7).

Every number is a frame number of the task. `quality=original` is the uploaded file, turned upright where its EXIF data
says so; `compressed` is a JPEG of the same size. Pictures are decoded in a few threads and never on the event loop.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.api.answers import StreamAnswer, etag_matches, in_thread, limiter_of, stream_in_threads
from app.api.deps import Caller, CallerDep, Services, ServicesDep
from app.api.described import json_of
from app.api.encoding import join_rows, number_texts
from app.api.queries import parse_choice, parse_whole
from app.api.routing import Router
from app.api.schemas import PathId, Whole, WriteModel
from app.archive import ArchiveWriter
from app.columns import distinct, dump_texts
from app.errors import Damaged, InvalidInput, NotFound, shorten
from app.images import (
    MIME_TYPES,
    BadPicture,
    PictureTooBig,
    compress_picture,
    encode_picture,
    make_preview,
    read_size,
    upright_picture,
)
from app.operations import frame_step
from app.storage import BlobSource, Connection, FramePlaces, ListQuery, Task, frames, jobs, projects, tasks

router = Router(tags=["tasks"])

TYPES = ("frame", "chunk", "context_image", "preview")
QUALITIES = ("compressed", "original")
MAX_NUMBER = 2**31 - 1
PICTURE_THREADS = 2
PREVIEW_SIDE = 256
NO_LIMIT = 1 << 62
PIECE_BYTES = 1 << 20
FRAMES_A_PIECE = 4 * frames.FRAMES_A_BLOCK
DEFLATED = 8

EXTENSION = re.compile(r"[A-Za-z0-9]{1,8}")
EXTENSIONS = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/webp": "webp",
    "image/tiff": "tif",
}
CACHED = {"Cache-Control": "private, no-cache"}
"""Browsers keep pictures and ask whether they are still right: they never change, but a task may be removed."""

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
PREVIEW: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}


@dataclass(frozen=True, slots=True)
class View:
    """A task and those of its frames that the caller looks at: `start` to `stop` (half open)."""

    task: Task
    start: int
    stop: int
    target: str

    def etag(self, *parts: object) -> str:
        """Of something that is made of pictures alone; those are attached once."""
        moment = f"{self.task.created_date.timestamp():.0f}"
        return '"' + "-".join(map(str, ("data", self.task.id, moment, *parts))) + '"'


FindView = Callable[[Connection, Caller, int], View]


def task_view(conn: Connection, caller: Caller, task_id: int) -> View:
    """Raises NotFound: no such task, or no data yet."""
    task = tasks.get(conn, caller.user, task_id)
    if not task.has_data:
        raise NotFound("data", task_id, "This task has no data yet.")
    return View(task, 0, task.size, "task")


def job_view(conn: Connection, caller: Caller, job_id: int) -> View:
    """Raises NotFound."""
    job = jobs.get(conn, caller.user, job_id)
    return View(tasks.load(conn, job.task_id), *job.frame_range, "job")


def project_view(conn: Connection, caller: Caller, project_id: int) -> View:
    """The newest task with data. Raises NotFound where there is none."""
    projects.get(conn, caller.user, project_id)
    query = ListQuery(page_size=0, sort="-id", equals={"project_id": str(project_id)})
    for task in tasks.list_page(conn, caller.user, query).items:
        if task.has_data:
            return View(task, 0, task.size, "task")
    raise NotFound("preview", project_id, "No task of this project has data yet.")


async def _view(services: Services, caller: Caller, find: FindView, number: int) -> View:
    def look() -> View:
        with services.storage.database.read() as conn:
            return find(conn, caller, number)

    return await run_in_threadpool(look)


class Pictures:
    """The pictures of consecutive frames, read from where their uploads lie. Close it after use."""

    def __init__(self, services: Services, view: View, start: int, stop: int) -> None:
        self._max_bytes = services.settings.max_image_bytes
        self._max_pixels = services.settings.max_image_pixels
        self._quality = view.task.image_quality
        self._packs: dict[int, BlobSource] = {}
        with services.storage.database.read() as conn:
            self._names = frames.load(conn, view.task.id, start, stop)
            self._places: FramePlaces = frames.load_places(conn, view.task.id, start, stop)
            for pack in distinct(self._places.packs).tolist():
                self._packs[pack] = frames.open_pack(conn, services.storage.blobs, view.task.id, pack)

    def __len__(self) -> int:
        return len(self._places)

    def stored(self, row: int) -> bytes:
        """The uploaded file. Raises Damaged where its bytes are not there any more."""
        places = self._places
        source = self._packs[int(places.packs[row])]
        size, stored_size = int(places.sizes[row]), int(places.stored_sizes[row])
        data = source.read_at(int(places.offsets[row]), stored_size)
        if len(data) == stored_size and int(places.methods[row]) == DEFLATED:
            data = zlib.decompressobj(-15).decompress(data, min(size, self._max_bytes) + 1)
        if len(data) != size:
            raise Damaged(f"the picture of frame {places.start + row} cannot be read from the store")
        return data

    def picture(self, row: int, quality: str) -> tuple[bytes, str]:
        """The picture in this quality, and its media type; one that is too big to be decoded here as it was uploaded.

        Raises:
            InvalidInput: it is damaged, which nobody has seen before: at its upload only its header was read.
        """
        data = self.stored(row)
        try:
            if quality == "original":
                return upright_picture(data, max_pixels=self._max_pixels)
            return compress_picture(data, self._quality, max_pixels=self._max_pixels), "image/jpeg"
        except PictureTooBig:
            return data, self.media_type(data)
        except BadPicture as error:
            raise self.damaged(row, error) from error

    def chunk_member(self, row: int, quality: str) -> tuple[bytes, str]:
        """The same in a chunk, where a damaged picture stands as it was uploaded: it must not hide its neighbours."""
        try:
            data, media_type = self.picture(row, quality)
        except InvalidInput:
            data = self.stored(row)
            media_type = self.media_type(data)
        return data, media_type

    def media_type(self, data: bytes) -> str:
        """By the header of the picture."""
        try:
            return MIME_TYPES[read_size(data, max_pixels=NO_LIMIT).format]
        except BadPicture:
            return "application/octet-stream"

    def damaged(self, row: int, error: BadPicture) -> InvalidInput:
        frame = self._places.start + row
        message = f"the picture of frame {frame}, {shorten(self._names.name(frame))}, cannot be shown: {error.detail}"
        return InvalidInput(message, code=error.code)

    def member_name(self, row: int, quality: str, media_type: str) -> str:
        """In a chunk: by position, with the extension of the file."""
        extension = self._names.name(self._places.start + row).rpartition(".")[2]
        if (quality == "compressed" and media_type == "image/jpeg") or not EXTENSION.fullmatch(extension):
            extension = EXTENSIONS.get(media_type, "bin")
        return f"{row:06d}.{extension}"

    def preview(self, row: int) -> bytes:
        try:
            return make_preview(self.stored(row), max_pixels=self._max_pixels)
        except PictureTooBig:
            return encode_picture(np.full((PREVIEW_SIDE, PREVIEW_SIDE), 128, dtype=np.uint8))  # a grey tile
        except BadPicture as error:
            raise self.damaged(row, error) from error

    def close(self) -> None:
        for source in self._packs.values():
            source.close()


async def _data(
    request: Request,
    services: Services,
    view: View,
    kind: str | None,
    number: str | None,
    quality: str | None,
    index: str | None,
) -> Response:
    if not kind:
        raise InvalidInput(f"is missing; there are {', '.join(TYPES)}", place="type")
    kind = parse_choice("type", kind, TYPES)
    quality = parse_choice("quality", quality, QUALITIES) if quality else "compressed"
    if kind == "context_image":
        raise NotFound("context image", number or "", "There are no context images.")
    if kind == "preview":
        return await _preview(request, services, view)
    if kind == "chunk" and index and view.target == "job":
        first = view.start + parse_whole("index", index, 0, MAX_NUMBER) * view.task.chunk_size
        return await _chunk(request, services, view, first, quality, "index")
    if not number:
        raise InvalidInput("is missing", place="number")
    wanted = parse_whole("number", number, 0, MAX_NUMBER)
    if kind == "chunk":
        return await _chunk(request, services, view, wanted * view.task.chunk_size, quality, "number")
    if not view.start <= wanted < view.stop:
        raise InvalidInput(
            f"there is no frame {wanted} here; frames are {view.start} to {view.stop - 1}", place="number"
        )
    return await _frame(request, services, view, wanted, quality)


async def _frame(request: Request, services: Services, view: View, number: int, quality: str) -> Response:
    headers = {**CACHED, "ETag": view.etag(number, quality)}
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)

    def make() -> tuple[bytes, str]:
        pictures = Pictures(services, view, number, number + 1)
        try:
            return pictures.picture(0, quality)
        finally:
            pictures.close()

    data, media_type = await in_thread(make, limiter_of(request, "pictures", PICTURE_THREADS))
    return Response(data, headers=headers, media_type=media_type)


async def _chunk(request: Request, services: Services, view: View, first: int, quality: str, place: str) -> Response:
    start, stop = max(first, view.start), min(first + view.task.chunk_size, view.stop)
    if start >= stop:
        raise InvalidInput("there is no such chunk here", place=place)
    headers = {**CACHED, "ETag": view.etag("chunk", start, stop, quality)}
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    limiter = limiter_of(request, "pictures", PICTURE_THREADS)
    pictures = await in_thread(partial(Pictures, services, view, start, stop), limiter)
    pieces = stream_in_threads(chunk_pieces(pictures, quality), limiter)
    return StreamAnswer(pieces, headers=headers, media_type="application/zip")


def chunk_pieces(pictures: Pictures, quality: str) -> Iterator[bytes]:
    """A zip of the pictures in order, named by position, in pieces of about 1 MiB. Closes the pictures."""
    ready: list[bytes] = []
    try:
        writer = ArchiveWriter(lambda piece: ready.append(bytes(piece)), chunk_bytes=PIECE_BYTES)
        for row in range(len(pictures)):
            data, media_type = pictures.chunk_member(row, quality)
            writer.add_stored(pictures.member_name(row, quality, media_type), data)
            yield from ready
            ready.clear()
        writer.close()
        yield from ready
    finally:
        pictures.close()


async def _preview(request: Request, services: Services, view: View, frame: int | None = None) -> Response:
    """A small JPEG of a frame; of the first one without `frame`."""
    number = view.start if frame is None else frame
    headers = {**CACHED, "ETag": view.etag("preview", number)}
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)

    def make() -> bytes:
        pictures = Pictures(services, view, number, number + 1)
        try:
            return pictures.preview(0)
        finally:
            pictures.close()

    data = await in_thread(make, limiter_of(request, "pictures", PICTURE_THREADS))
    return Response(data, headers=headers, media_type="image/jpeg")


# What is known of the frames


class PatchedDataMetaWriteRequest(WriteModel):
    """A change of what is known of the frames."""

    deleted_frames: list[Whole] | None = Field(None, description="Replaces the set of deleted frames")


def meta_pieces(services: Services, view: View, deleted: Sequence[int]) -> Iterator[bytes]:
    """data/meta as JSON, some thousand frames at a time. Pictures of a task never change, so no snapshot is held."""
    task = view.task
    # Of these two numbers alone CVAT speaks as of the sorted uploads, before any were left out; of a job's, too.
    first, step = task.start_frame, frame_step(task.frame_filter)
    head = {
        "chunks_updated_date": task.data_updated_date,
        "chunk_size": task.chunk_size,
        "size": view.stop - view.start,
        "image_quality": task.image_quality,
        "start_frame": first + view.start * step,
        "stop_frame": first + (view.stop - 1) * step,
        "frame_filter": task.frame_filter,
        "deleted_frames": deleted,
        "included_frames": None,
        "chapters": None,
        "storage": "local",
        "storage_method": "cache",
        "cloud_storage_id": None,
    }
    yield orjson.dumps(head, option=orjson.OPT_UTC_Z)[:-1] + b',"frames":['
    for start in range(view.start, view.stop, FRAMES_A_PIECE):
        with services.storage.database.read() as conn:
            table = frames.load(conn, task.id, start, min(start + FRAMES_A_PIECE, view.stop))
        rows = join_rows(
            b'{"name":',
            dump_texts(table.names.to_texts()),
            b',"width":',
            number_texts(table.widths),
            b',"height":',
            number_texts(table.heights),
            b',"related_files":0,"has_related_context":false},',
        )
        yield rows if start == view.start else b"," + rows
    yield b"]}"


def _meta_answer(services: Services, view: View, deleted: Sequence[int]) -> Response:
    pieces = meta_pieces(services, view, deleted)
    if view.stop - view.start <= FRAMES_A_PIECE:
        return Response(b"".join(pieces), media_type="application/json")
    return StreamAnswer(stream_in_threads(pieces), media_type="application/json")


def _deleted_in(conn: Connection, view: View) -> list[int]:
    numbers: list[int] = frames.deleted(conn, view.task.id, view.start, view.stop).tolist()
    return numbers


def _get_meta(services: Services, caller: Caller, find: FindView, number: int) -> Response:
    with services.storage.database.read() as conn:
        view = find(conn, caller, number)
        deleted = _deleted_in(conn, view)
    return _meta_answer(services, view, deleted)


def _change_meta(
    services: Services, caller: Caller, find: FindView, number: int, body: PatchedDataMetaWriteRequest
) -> Response:
    with services.storage.database.write() as conn:
        view = find(conn, caller, number)
        if body.deleted_frames is not None:
            numbers = distinct(np.array(body.deleted_frames, dtype=np.int64))
            bad = numbers[(numbers < view.start) | (numbers >= view.stop)]
            if len(bad):
                message = f"there is no frame {bad[0]} here; frames are {view.start} to {view.stop - 1}"
                raise InvalidInput(message, place="deleted_frames")
            frames.set_deleted(conn, view.task.id, numbers, view.start, view.stop)
            view = find(conn, caller, number)
        deleted = _deleted_in(conn, view)
    return _meta_answer(services, view, deleted)


# Routes

TypeQuery = Annotated[str | None, Query(alias="type", description="`frame` or `chunk`")]
NumberQuery = Annotated[str | None, Query(alias="number", description="The frame, or the chunk")]
QualityQuery = Annotated[str | None, Query(description="`original` or `compressed` (default)")]
IndexQuery = Annotated[str | None, Query(description="Of a job: the chunk, counted from the job's first frame")]
META: dict[int | str, dict[str, Any]] = {200: json_of("DataMetaRead")}


@router.get("/api/tasks/{task_id}/data", responses=PICTURE)
async def get_task_data(
    request: Request,
    task_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    kind: TypeQuery = None,
    frame: NumberQuery = None,
    quality: QualityQuery = None,
) -> Response:
    """One picture (`type=frame`), or a zip of some (`type=chunk`)."""
    view = await _view(services, caller, task_view, task_id)
    return await _data(request, services, view, kind, frame, quality, None)


@router.get("/api/jobs/{job_id}/data", responses=PICTURE, tags=["jobs"])
async def get_job_data(
    request: Request,
    job_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    kind: TypeQuery = None,
    frame: NumberQuery = None,
    quality: QualityQuery = None,
    index: IndexQuery = None,
) -> Response:
    """The same of a job's frames."""
    view = await _view(services, caller, job_view, job_id)
    return await _data(request, services, view, kind, frame, quality, index)


@router.get("/api/tasks/{task_id}/data/meta", responses=META)
def get_task_meta(task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """Names and sizes of a task's frames, and which are deleted."""
    return _get_meta(services, caller, task_view, task_id)


@router.patch("/api/tasks/{task_id}/data/meta", responses=META)
def change_task_meta(
    task_id: PathId, body: PatchedDataMetaWriteRequest, caller: CallerDep, services: ServicesDep
) -> Response:
    """Replace the set of deleted frames. Their annotations stay stored and are left out of exports."""
    return _change_meta(services, caller, task_view, task_id, body)


@router.get("/api/jobs/{job_id}/data/meta", responses=META, tags=["jobs"])
def get_job_meta(job_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The same of a job's frames."""
    return _get_meta(services, caller, job_view, job_id)


@router.patch("/api/jobs/{job_id}/data/meta", responses=META, tags=["jobs"])
def change_job_meta(
    job_id: PathId, body: PatchedDataMetaWriteRequest, caller: CallerDep, services: ServicesDep
) -> Response:
    """Replace the deleted frames within a job's range."""
    return _change_meta(services, caller, job_view, job_id, body)


@router.get("/api/tasks/{task_id}/preview", responses=PREVIEW)
async def get_task_preview(request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """A small JPEG of a task's first frame."""
    return await _preview(request, services, await _view(services, caller, task_view, task_id))


@router.get("/api/tasks/{task_id}/pictures/{frame}/preview", responses=PREVIEW, tags=["stats"])
async def get_picture_preview(
    request: Request, task_id: PathId, frame: PathId, caller: CallerDep, services: ServicesDep
) -> Response:
    """A small JPEG of any frame of a task, for lists of pictures."""
    view = await _view(services, caller, task_view, task_id)
    if frame >= view.stop:
        raise NotFound("picture", frame)
    return await _preview(request, services, view, frame)


@router.get("/api/jobs/{job_id}/preview", responses=PREVIEW, tags=["jobs"])
async def get_job_preview(request: Request, job_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """A small JPEG of a job's first frame."""
    return await _preview(request, services, await _view(services, caller, job_view, job_id))


@router.get("/api/projects/{project_id}/preview", responses=PREVIEW, tags=["projects"])
async def get_project_preview(
    request: Request, project_id: PathId, caller: CallerDep, services: ServicesDep
) -> Response:
    """A small JPEG of the first frame of a project's newest task."""
    return await _preview(request, services, await _view(services, caller, project_view, project_id))
