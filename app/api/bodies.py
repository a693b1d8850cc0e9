"""JSON bodies: bounded, strict, parsed once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import orjson
from starlette.requests import ClientDisconnect, Request

from app.api.errors import TimedOut
from app.errors import InvalidInput

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(_OPENING + _CLOSING)))


def announced_length(text: str) -> int:
    """The value of a Content-Length. No limit has 20 digits, and Python reads no number of thousands.

    Raises:
        InvalidInput: no number.
    """
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("Content-Length is not a number")
    return int(text.lstrip("0")[:20] or "0")


async def whole_body(request: Request) -> bytes:
    """All bytes of a body that is short. Raises TimedOut where the client goes away or falls silent."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise gone() from None


async def long_body(request: Request) -> bytearray:
    """The same of a body that may be long: it is there once, and nobody but the caller holds it."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
    except ClientDisconnect:
        raise gone() from None
    return body


def gone() -> TimedOut:
    """The client went away: nobody will read this answer, and it is no defect of the service."""
    return TimedOut("the client went away before the body had arrived", code="request.cut")


def nesting(body: bytes) -> int:
    """How deep the arrays and objects of a JSON text are nested; brackets within strings do not count.

    Cost: one pass in C for texts with few brackets; the exact count only looks at the brackets themselves.
    """
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    if not brackets:
        return 0
    codes = np.frombuffer(brackets, dtype=np.uint8)
    steps = np.where((codes == ord("[")) | (codes == ord("{")), 1, -1)
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


def parse_json(body: bytes, max_depth: int) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidInput: no JSON (NaN, Infinity and lone surrogates are none), or deeper than `max_depth`.
    """
    # Counting brackets is cheap; only a text that has many of them is looked at closely.
    if body.count(b"[") + body.count(b"{") > max_depth and nesting(body) > max_depth:
        raise InvalidInput(f"JSON nested deeper than {max_depth} levels", code="json.too_deep")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"JSON parse error - {error}", code="json.invalid") from None
