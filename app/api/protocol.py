"""uvicorn's HTTP protocol with the limits it lacks: time and size of headers, and of bodies nobody reads.

    connection made ──▶ headers must be complete within `header_timeout_seconds`      else 408, closed
    connections     ──▶ at most as many as uvicorn is told                             else 503, closed
    headers         ──▶ at most `max_header_bytes`, the first line 16 KiB             else 431, 414, closed
    body            ──▶ the application reads it (`SecurityMiddleware` has its timer)
    answer sent     ──▶ what is left of the body is thrown away for 30 s, then closed

Give the class to uvicorn: `uvicorn.Config(app, http=guarded_protocol(…))`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.bodies import announced_length
from app.api.bursts import EXTENSION, Burst

MAX_TARGET_BYTES = 16 << 10
DRAIN_SECONDS = 30.0
PAUSE_SECONDS = 5.0

REFUSALS = {
    400: (b"Bad Request", "request.malformed", "This is not a valid HTTP request."),
    408: (b"Request Timeout", "request.timeout", "The headers of the request did not arrive in time."),
    414: (b"URI Too Long", "request.query_too_long", "The address of the request is too long."),
    503: (b"Service Unavailable", "busy", "Too many connections are open; try again in a moment."),
    431: (b"Request Header Fields Too Large", "request.headers_too_large", "The headers of the request are too large."),
}


class _Refused(Exception):
    """Leaves the parser; uvicorn answers its errors by `send_400_response`."""


class GuardedProtocol(HttpToolsProtocol):
    """See the module."""

    header_timeout_seconds = 10.0
    max_header_bytes = 64 << 10

    _timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _n_header_bytes = 0
    _n_begun = 0
    _refusal = 400
    _burst: Burst | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(self.header_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_headers = self._in_headers
        was_in_body = self.cycle is not None and self.cycle.more_body
        self._n_begun = 0
        super().data_received(data)
        # A piece that ends a body and begins the next request is not counted; it is 256 KiB at most.
        if self._in_headers and (was_in_headers or (self._n_begun == 1 and not was_in_body)):
            self._n_header_bytes += len(data)
        if self.transport.is_closing():
            self._disarm()
            return
        if self._in_headers and self._n_header_bytes > self.max_header_bytes:
            self._refuse(431)
        elif self._in_headers:
            self._arm(self.header_timeout_seconds)
        elif self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._arm(DRAIN_SECONDS)
        else:
            self._disarm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._n_header_bytes = 0
        self._n_begun += 1

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._refusal = 414
            raise _Refused

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if sum(len(name) + len(value) + 4 for name, value in self.headers) > self.max_header_bytes:
            self._refusal = 431
            raise _Refused
        limit = self.limit_concurrency
        if limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit):
            self._refusal = 503
            raise _Refused
        super().on_headers_complete()
        self._burst = self._offer_burst()

    def _offer_burst(self) -> Burst | None:
        lengths = [value for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        if len(lengths) != 1 or not lengths[0].isdigit() or self.scheme != "http" or self.parser.should_upgrade():
            return None
        burst = Burst(self, self.cycle, announced_length(lengths[0].decode("ascii")))
        self.scope["extensions"] = {EXTENSION: burst}  # type: ignore[dict-item]
        return burst

    def on_body(self, body: bytes) -> None:
        if self._burst is not None:
            self._burst.n_parsed += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        # uvicorn keeps `more_body` as it was once the answer is complete; the timer above needs the truth.
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def _refuse(self, status: int) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            phrase, code, detail = REFUSALS[status]
            body = orjson.dumps({"detail": detail, "code": code, "problems": [], "counts": {}})
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"x-content-type-options: nosniff\r\nconnection: close\r\n%s\r\n%s"
                % (status, phrase, len(body), b"retry-after: 2\r\n" if status == 503 else b"", body)
            )
        self.transport.close()

    def _arm(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._expire, seconds)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, seconds: float) -> None:
        due = self._timer.when() if self._timer is not None else 0.0
        self._timer = None
        if self.loop.time() > due + PAUSE_SECONDS:  # this process was stopped for a while: the client gets its time
            self._arm(seconds)
            return
        if self._in_headers:
            self._refuse(408)
        else:
            self.transport.close()


def guarded_protocol(*, header_timeout_seconds: float, max_header_bytes: int) -> type[GuardedProtocol]:
    """The protocol class with these limits, for `uvicorn.Config(http=…)`."""
    limits: dict[str, Any] = {
        "header_timeout_seconds": header_timeout_seconds,
        "max_header_bytes": max_header_bytes,
    }
    return type("LimitedProtocol", (GuardedProtocol,), limits)
