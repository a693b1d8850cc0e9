"""Bodies on their way into staged uploads: forms, bare bodies, chunks.

Authenticated and measured first: nothing of a body is read before the caller is known, the announced length fits and
there is room on the disk. Bytes go to the store as they come; `finish` makes them durable, then the row is written.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.api.bodies import announced_length, gone, parse_json
from app.api.bursts import Burst, burst_of
from app.api.deps import Caller, Services
from app.api.errors import TimedOut, WrongMediaType
from app.api.forms import Form, FormLimits, FormReader, base_name
from app.api.imports import Goal
from app.api.parameters import from_texts
from app.errors import InvalidInput, TooLarge, shorten
from app.storage import Upload, UploadPart, UploadWriter, housekeeping, uploads

FORM_SLACK_BYTES = 32 << 20
"""What boundaries, part headers and texts of a form may add to its files."""

SPOOL_BYTES = 1 << 20
BURST_FROM_BYTES = 64 << 10
MAX_PAIRS = 100_000
SETTLE_SECONDS = 2.0

T = TypeVar("T")

PICTURE_FIELD = re.compile(r"client_files(\[\d*\])?")
USUAL_FIELDS = {
    "data": "client_files[0]",
    "annotations": "annotation_file",
    "dataset": "dataset_file",
    "backup": "file",
}
"""Where clients put their files, by kind of upload."""
ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def is_form(request: Request) -> bool:
    return media_type(request) == "multipart/form-data"


def announced_bytes(request: Request, max_bytes: int) -> int:
    """The announced length of the body; 0 where it comes in chunks.

    Raises:
        InvalidInput: no number.
        TooLarge: more than `max_bytes`.
    """
    text = request.headers.get("content-length")
    if text is None:
        return 0
    n_bytes = announced_length(text)
    if n_bytes > max_bytes:
        raise too_large(max_bytes)
    return n_bytes


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes:,} bytes, which is the most that this call takes")


def max_bytes_of(services: Services, kind: str) -> int:
    settings = services.settings
    return (
        settings.max_data_upload_bytes
        if kind in ("data", "dataset", "backup")
        else settings.max_annotation_upload_bytes
    )


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, without empty pieces. Raises TimedOut where the client goes away or falls silent."""
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise gone() from None


class Pouring:
    """The body of a request on its way into `take`, which runs in a thread: a disk that is behind makes a write wait
    for seconds, and the event loop must not wait with it."""

    def __init__(self, request: Request, take: Callable[[bytes | bytearray | memoryview], None]) -> None:
        self._request = request
        self._take = take
        self._gathered = bytearray()
        self.size = 0

    async def run(self, finish: Callable[[], T]) -> T:
        """Take all of it, then `finish`, in the thread that took the last of it. Raises TimedOut, and what `take` and
        `finish` raise. A rest that is not taken because the client went is there for `settle`."""
        burst = burst_of(self._request.scope)
        done: list[T] = []
        async for chunk in chunks_of(self._request):
            self._gathered += chunk
            self.size += len(chunk)
            if burst is not None and len(chunk) >= BURST_FROM_BYTES:
                done = await self._read_on(burst, finish)
            elif len(self._gathered) >= SPOOL_BYTES:
                await run_in_threadpool(self.settle)

        def end() -> T:
            self.settle()
            return finish()

        return done[0] if done else await run_in_threadpool(end)

    async def _read_on(self, burst: Burst, finish: Callable[[], T]) -> list[T]:
        """The sender is fast: take what was gathered, and what is there behind it, in one go. Where that was the end
        of the body, what `finish` gave."""
        reading = burst.begin()
        if reading is None:
            return []

        def read() -> list[T]:
            self.settle()
            reading.run(self._take_counted)
            return [finish()] if reading.is_complete else []

        try:
            return await run_in_threadpool(read)
        finally:
            burst.end(reading)

    def _take_counted(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        self._take(data)

    def settle(self) -> None:
        """Take what is gathered. In a thread."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._take(gathered)


class Intake:
    """Takes one request's body into a staged upload of the caller, to one goal."""

    def __init__(self, request: Request, services: Services, caller: Caller, goal: Goal, kind: str) -> None:
        self.request = request
        self.services = services
        self.caller = caller
        self.goal = goal
        self.kind = kind
        self.max_bytes = max_bytes_of(services, kind)
        self._writer: UploadWriter | None = None
        self.texts: list[tuple[str, str]] = []
        """Texts of the form that `file` took."""

    async def form(self, fields: re.Pattern[str]) -> tuple[Form, Upload | None]:
        """The texts of a form, and its files as one upload; None where it has no file.

        Args:
            fields: names of the fields that a file may come in.

        Raises:
            InvalidInput: no form, or a file in another field.
            TooLarge, NoSpace: limits, and the disk.
        """
        settings = self.services.settings
        await self._check_room(announced_bytes(self.request, self.max_bytes + FORM_SLACK_BYTES))
        limits = FormLimits(
            settings.multipart_max_files,
            settings.multipart_max_fields,
            settings.multipart_max_field_bytes,
            settings.multipart_max_part_header_bytes,
        )
        content_type = self.request.headers["content-type"]
        reader = FormReader(
            content_type, limits, lambda name: fields.fullmatch(name) is not None, self._open, USUAL_FIELDS[self.kind]
        )
        pouring = Pouring(self.request, reader.feed)

        def finish() -> tuple[Form, Upload | None]:
            form = reader.close()
            return form, None if self._writer is None else self._finish(self._writer, form.parts)

        try:
            return await pouring.run(finish)
        except BaseException:
            await self._abort()
            raise

    async def file(self, fields: re.Pattern[str]) -> Upload:
        """One archive: the only file of a form, or the bare body; or several files of a form that are read as one
        archive (tables, and zips beside the zip). No backup comes in several files.

        Raises: as `form`, and InvalidInput where no file came, or more than can be.
        """
        if is_form(self.request):
            form, upload = await self.form(fields)
            self.texts = form.texts
            several = len(form.parts) > 1 and self.kind == "backup"
            if upload is None or several:
                await self._forget(upload)
                wanted = "file" if self.kind == "backup" else fields.pattern.split("|")[0]
                raise InvalidInput(
                    f"the form holds {len(form.parts)} files; send one, in the field {wanted}", code="upload.files"
                )
            twice = [name for name, n in Counter(part.name for part in form.parts).items() if n > 1]
            if twice:
                await self._forget(upload)
                raise InvalidInput(f"the form holds two files {shorten(twice[0])}; send each once", code="upload.files")
            return upload
        return await self.bare()

    async def bare(self) -> Upload:
        """The body itself is the file; the query may give its name."""
        name = base_name(self.request.query_params.get("filename") or f"{self.kind}.zip")
        await self._check_room(announced_bytes(self.request, self.max_bytes))
        writer = await run_in_threadpool(self._open, name)
        pouring = Pouring(self.request, writer.write)

        def finish() -> Upload:
            if pouring.size == 0:
                raise InvalidInput("the body is empty; send the archive, bare or in a form", code="upload.empty")
            return self._finish(writer, ())

        try:
            return await pouring.run(finish)
        except BaseException:
            await self._abort()
            raise

    def _open(self, filename: str) -> UploadWriter:
        self._writer = uploads.open_body(
            self.services.storage,
            self.caller.user,
            kind=self.kind,
            target=self.goal.target,
            target_id=self.goal.id,
            filename=filename,
            max_bytes=self.max_bytes,
        )
        return self._writer

    async def _check_room(self, n_bytes: int) -> None:
        await run_in_threadpool(self.services.storage.blobs.check_space, n_bytes)

    def _finish(self, writer: UploadWriter, parts: Sequence[UploadPart]) -> Upload:
        # A lone file is the whole upload.
        return writer.finish(tuple(parts) if self.kind == "data" or len(parts) > 1 else ())

    async def _abort(self) -> None:
        if self._writer is not None:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._writer.abort)

    async def _forget(self, upload: Upload | None) -> None:
        if upload is not None:
            await run_in_threadpool(forget, self.services, upload)


def forget(services: Services, upload: Upload) -> None:
    """Remove a staged upload that nothing will come of; not where work has got it in spite of an error."""
    with services.storage.database.write() as conn:
        uploads.give_up(conn, upload.id)
    housekeeping.collect(services.storage)


class Incoming:
    """Chunks that this process is receiving, by upload.

    A client whose connection broke asks at once where to go on. By then the bytes that did arrive may still be on
    their way to the disk, and an answer of that moment would send it back too far.
    """

    def __init__(self) -> None:
        self._ends: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def of(self, upload_id: str) -> AsyncIterator[None]:
        """While a chunk is received."""
        end = asyncio.Event()
        ends = self._ends.setdefault(upload_id, set())
        ends.add(end)
        try:
            yield
        finally:
            end.set()
            ends.discard(end)
            if not ends:
                self._ends.pop(upload_id, None)

    async def settle(self, upload_id: str) -> None:
        """Wait for a moment until nothing of this upload is on its way."""
        ends = tuple(self._ends.get(upload_id, ()))
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                for end in ends:
                    await end.wait()


def incoming_of(request: Request) -> Incoming:
    state = request.app.state
    found: Incoming | None = getattr(state, "incoming", None)
    if found is None:
        found = state.incoming = Incoming()
    return found


async def receive_chunk(request: Request, writer: UploadWriter) -> Upload:
    """The bytes of a chunk; what arrived before the client went is kept and counted.

    Raises:
        OffsetMismatch: another writer was faster.
        TooLarge: more than the upload's length; none of it is kept.
    """
    pouring = Pouring(request, writer.write)

    def keep() -> Upload:
        pouring.settle()
        return writer.finish()

    try:
        return await pouring.run(writer.finish)
    except TimedOut:
        await run_in_threadpool(keep)
        raise
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(writer.abort)
        raise


async def read_fields(request: Request, services: Services) -> dict[str, Any]:
    """A body without files: JSON, or a form of texts, or nothing.

    Raises:
        InvalidInput, TooLarge, WrongMediaType.
    """
    settings = services.settings
    kind = media_type(request)
    announced_bytes(request, settings.max_json_body_bytes)
    if kind == "multipart/form-data":
        limits = FormLimits(0, settings.multipart_max_fields, settings.multipart_max_field_bytes)
        reader = FormReader(request.headers["content-type"], limits, lambda name: False, _refuse)
        async for chunk in chunks_of(request):
            reader.feed(chunk)
        return from_texts(reader.close().texts)
    body = bytearray()
    async for chunk in chunks_of(request):
        body += chunk
        if len(body) > settings.max_json_body_bytes:
            raise too_large(settings.max_json_body_bytes)
    if not body.strip():
        return {}
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_PAIRS)
        except ValueError:
            raise TooLarge(f"the form has more than {MAX_PAIRS:,} fields") from None
        return from_texts(pairs)
    if not kind.endswith(("/json", "+json")):
        raise WrongMediaType(f'Unsupported media type "{shorten(kind)}": send application/json or a form.')
    found = await run_in_threadpool(parse_json, bytes(body), settings.max_json_depth)
    if not isinstance(found, dict):
        raise InvalidInput("the body must be an object", code="json.type")
    return found


def _refuse(_: str) -> UploadWriter:
    raise InvalidInput("no file is taken here", code="form.field")
