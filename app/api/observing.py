"""The outermost layer: a request id, one log line a request, numbers for /metrics, and the edge's only catch-all."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.bursts import burst_of
from app.api.errors import error_body, error_response, respond_to_app_error
from app.api.security import ANSWER_HEADERS
from app.errors import AppError, Busy, shortage_of, shorten

log = structlog.get_logger(__name__)

QUIET_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})
SECONDS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def is_quiet(scope: MutableMapping[str, Any]) -> bool:
    """Whether nobody wants to hear of it: probes come every few seconds."""
    return scope.get("path") in QUIET_PATHS


class HTTPMetrics:
    """What one web process counts of its own traffic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "annoport_http_requests", "Answers by route and status", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "annoport_http_seconds",
            "Time to the end of the answer",
            ["method", "route"],
            registry=registry,
            buckets=SECONDS_BUCKETS,
        )
        self.bytes_in = Counter("annoport_http_received_bytes", "Bytes of bodies received", registry=registry)
        self.bytes_out = Counter("annoport_http_sent_bytes", "Bytes of bodies sent", registry=registry)


class ObservingMiddleware:
    """See the module."""

    def __init__(self, app: ASGIApp, metrics: HTTPMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope["request_id"] = request_id
        started = time.monotonic()
        status, n_in, n_out = 0, 0, 0

        async def receive_counted() -> Message:
            nonlocal n_in
            message = await receive()
            n_in += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal status, n_out
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            elif message["type"] == "http.response.body":
                n_out += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive_counted, send_counted)
            except asyncio.CancelledError:
                # The service ends, and this took longer than the time for it.
                if not status:
                    await _refuse(Busy("the service is being stopped, try again"), scope, receive_counted, send_counted)
                raise
            except Exception as error:
                # A refusal that comes this far came in the middle of an answer: an export whose process was killed.
                refusal = error if isinstance(error, AppError) else shortage_of(error)
                if refusal is None:
                    log.exception("a request failed because of a defect")
                else:
                    log.warning("a request was cut short", reason=refusal.detail, exc_info=True)
                if status:
                    # Too late for another answer: the connection must end, or the cut body would look whole.
                    raise
                if refusal is not None:
                    await _refuse(refusal, scope, receive_counted, send_counted)
                    return
                body = error_body(
                    request_id, f"The service failed; the reason is in its log under {request_id}.", "defect"
                )
                await error_response(500, body, ANSWER_HEADERS)(scope, receive_counted, send_counted)
            finally:
                burst = burst_of(scope)
                if burst is not None:
                    n_in += burst.n_read
                self._note(scope, status, time.monotonic() - started, n_in, n_out)

    def _note(self, scope: Scope, status: int, seconds: float, n_in: int, n_out: int) -> None:
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "OTHER"
        route = _template(scope)
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        self._metrics.bytes_in.inc(n_in)
        self._metrics.bytes_out.inc(n_out)
        write = log.debug if scope["path"] in QUIET_PATHS else log.info
        write(
            "request",
            method=method,
            route=route,
            path=shorten(scope["path"]),
            status=status,
            ms=round(seconds * 1000, 1),
            user_id=scope.get("user_id"),
            received=n_in,
            sent=n_out,
        )


async def _refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    response = respond_to_app_error(Request(scope), error)
    response.headers.update(ANSWER_HEADERS)
    await response(scope, receive, send)


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _template(scope: Scope) -> str:
    """The route's template, so that metrics do not grow with ids."""
    route: BaseRoute | None = scope.get("route")
    return str(getattr(route, "path_format", "") or getattr(route, "path", "")) or "none"


def _request_id(headers: Headers) -> str:
    """The proxy's id, if it looks like one, else a new one."""
    given = headers.get("x-request-id", "")
    if 8 <= len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum():
        return given
    return secrets.token_hex(8)
