"""Answers that are files: names, ranges, and streams whose readers may stall.

A stream is sent in pieces of 1 MiB (at the usual 64 KiB a download runs at a third of the speed). A client that takes
nothing for a minute loses its connection, for it holds a file, an export process or a transaction.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from app.api.errors import OutsideFile, respond_to_app_error
from app.errors import Damaged, shorten
from app.storage import BlobSource

PIECE_BYTES = 1 << 20
STALL_SECONDS = 60.0
MAX_NAME_CHARACTERS = 254

_UNSAFE = re.compile(r"[^A-Za-z0-9_\-. ]+")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

T = TypeVar("T")


def content_disposition(name: str) -> str:
    """`attachment` with the name twice: in plain ASCII for CVAT's clients, which read nothing else and split at `;`,
    then exactly."""
    exact = "".join("_" if c in "/\\" else c for c in name if c.isprintable()).strip() or "download.zip"
    return f"attachment; filename=\"{ascii_name(exact)}\"; filename*=UTF-8''{quote(exact, safe='')}"


def ascii_name(name: str) -> str:
    """Letters, digits, `_ - .` and blanks; no dot in front; an extension; at most 254 characters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lstrip(". ")
    stem, dot, extension = plain.rpartition(".")
    if not dot or not extension.isalnum() or len(extension) > 8:
        stem, extension = plain, "zip"
    stem = _UNSAFE.sub("_", stem).strip(" .") or "download"
    return f"{stem[: MAX_NAME_CHARACTERS - 1 - len(extension)]}.{extension}"


class StreamAnswer(StreamingResponse):
    """A streaming answer that gives up on a client that stalls."""

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)

        await super().stream_response(send_in_time)


async def stream_in_threads(pieces: Iterable[bytes], limiter: CapacityLimiter | None = None) -> AsyncIterator[bytes]:
    """Take each piece in a thread, so that making it does not keep the event loop."""
    iterator = iter(pieces)
    while (piece := await to_thread.run_sync(next, iterator, None, limiter=limiter)) is not None:
        yield piece


async def in_thread(function: Callable[[], T], limiter: CapacityLimiter | None = None) -> T:
    return await to_thread.run_sync(function, limiter=limiter)


def etag_matches(request: Request, etag: str) -> bool:
    """Whether the client has this version already (If-None-Match)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in given.split(","))


def is_current(if_match: str | None, etag: str) -> bool:
    """Whether a change may be made that is meant for the versions of If-Match, where a client names any."""
    return if_match is None or if_match.strip() == "*" or etag in (one.strip() for one in if_match.split(","))


def send_source(
    request: Request, source: BlobSource, size: int, etag: str, headers: Mapping[str, str], media_type: str
) -> Response:
    """The bytes of a source: all of them, or the one range that is asked for. Closes the source."""
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if etag_matches(request, etag):
        source.close()
        return Response(status_code=304, headers=headers)
    span = parse_range(request, size, etag)
    if span is None:
        source.close()
        asked = shorten(request.headers["range"])
        answer = respond_to_app_error(
            request,
            OutsideFile(
                f"the range {asked} lies outside of the file, which has {size:,} bytes; leave Range out for all"
            ),
        )
        answer.headers.update({"Accept-Ranges": "bytes", "Content-Range": f"bytes */{size}"})
        return answer
    start, stop = span
    status = 200
    if (start, stop) != (0, size):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        source.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamAnswer(_read_span(source, start, stop), status, headers=headers, media_type=media_type)


def parse_range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """(start, stop) to send; None where the range lies outside. Several ranges, or an If-Range of another version, get
    the whole file."""
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if_range = request.headers.get("if-range")
    if match is None or match.group(0) == "bytes=-" or (if_range is not None and if_range.strip() != etag):
        return 0, size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size or stop <= start or (not first and int(last) == 0):
        return (0, size) if first and last and int(last) < int(first) else None
    return start, stop


async def _read_span(source: BlobSource, start: int, stop: int) -> AsyncIterator[bytes]:
    try:
        while start < stop:
            piece = await to_thread.run_sync(source.read_at, start, min(PIECE_BYTES, stop - start))
            if not piece:
                raise Damaged("a stored file is shorter than it was")
            yield piece
            start += len(piece)
    finally:
        source.close()


def limiter_of(request: Request, name: str, tokens: int) -> CapacityLimiter:
    """How many of one kind of work may run in threads of this process at once."""
    state = request.app.state
    limiters: dict[str, CapacityLimiter] | None = getattr(state, "limiters", None)
    if limiters is None:
        limiters = state.limiters = {}
    if name not in limiters:
        limiters[name] = CapacityLimiter(tokens)
    return limiters[name]
