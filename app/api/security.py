"""What every request must pass before a route is looked for, and what every answer carries.

    Host        one, well formed, one of the allowed names               else 400
    Origin      ours, or a listed one, on every unsafe method            else 403
                (local mode: on every method, as nobody else protects reading there)
    path        no control characters; one trailing slash is taken off   else 404
    query       valid UTF-8 without NUL, at most 16 KiB                  else 400, 414
    body        never silent for longer than `body_idle_timeout_seconds` else 408

Ours is an Origin whose host and port equal the Host header or the public address. The scheme is not compared: behind a
proxy that ends TLS it may differ, and the Host was checked. CSRF tokens of sessions are checked with the session
(`credentials.py`), limits of bodies with the route (`routing.py`), limits of headers with the connection
(`protocol.py`).
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.deps import ApiSettings
from app.api.errors import TimedOut, respond_to_app_error
from app.errors import AccessDenied, AppError, InvalidInput, NotFound

MAX_QUERY_BYTES = 16 << 10
PAUSE_SECONDS = 5.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}

ANSWER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer, unless the answer sets its own."""

API_ANSWER_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
    "Vary": "Authorization, Cookie, X-Organization",
}
"""On answers of /api/, unless the answer sets its own: JSON and downloads, never pages."""

CORS_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
CORS_EXPOSED = "Location, Upload-Offset, Upload-Length, Upload-Filename, Content-Disposition, X-Request-Id, Retry-After"


class QueryTooLong(AppError):
    """The request line is longer than anything that is asked here."""

    code = "request.query_too_long"


class SecurityMiddleware:
    """See the module."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self.app = app
        self._settings = settings
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._own_netlocs = frozenset({_netloc(settings.public_url)} - {""})
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        foreign_but_listed = origin is not None and origin.lower() in self._origins
        path: str = scope["path"]
        is_api = path.startswith("/api/")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in ANSWER_HEADERS.items():
                    answer.setdefault(name, value)
                if is_api:
                    for name, value in API_ANSWER_HEADERS.items():
                        answer.setdefault(name, value)
                if foreign_but_listed and origin is not None:
                    answer["Access-Control-Allow-Origin"] = origin
                    answer["Access-Control-Allow-Credentials"] = "true"
                    answer["Access-Control-Expose-Headers"] = CORS_EXPOSED
                    answer["Cross-Origin-Resource-Policy"] = "cross-origin"
                    answer.add_vary_header("Origin")
            await send(message)

        try:
            self._check_host(headers)
            self._check_origin(scope["method"], headers)
            _check_target(scope)
        except AppError as error:
            response = respond_to_app_error(Request(scope), error)
            if isinstance(error, QueryTooLong):
                response.status_code = 414
            await response(scope, receive, send_guarded)
            return
        if foreign_but_listed and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers)(scope, receive, send_guarded)
            return
        if is_api and len(path) > len("/api/") and path.endswith("/"):
            # In place: what is outside of this layer looks up the route and the caller in the same scope.
            scope["path"] = path[:-1]
            scope["raw_path"] = scope.get("raw_path", b"").removesuffix(b"/")
        await self.app(scope, _Patient(receive, self._settings.body_idle_timeout_seconds), send_guarded)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) > 1:
            raise InvalidInput("There is more than one Host header.", code="request.host")
        name = _host_name(hosts[0]) if hosts else ""
        if hosts and not name:
            raise InvalidInput("The Host header is malformed.", code="request.host")
        if self._hosts and name not in self._hosts:
            raise InvalidInput(
                "This service does not answer to that Host; ANNOPORT_ALLOWED_HOSTS lists the names it answers to.",
                code="request.host",
            )

    def _check_origin(self, method: str, headers: Headers) -> None:
        if method in SAFE_METHODS and not self._settings.is_local:
            return
        origin = headers.get("origin")
        if origin is None:
            # Browsers leave Origin out of plain GETs; they say instead that another site embeds the answer.
            embedded = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode", "") != "navigate"
            if embedded or (headers.get("sec-fetch-site") == "cross-site" and method not in SAFE_METHODS):
                raise AccessDenied("Pages of other sites may not call this service.", code="access.origin")
            return
        netloc = _netloc(origin)
        own = self._own_netlocs | {_netloc(f"{origin.partition('://')[0]}://{headers.get('host', '')}")}
        if not (netloc and netloc in own) and origin.lower() not in self._origins:
            raise AccessDenied(
                "Origin checking failed: pages of other sites may not call this service; "
                "ANNOPORT_ALLOWED_ORIGINS lists those that may.",
                code="access.origin",
            )


class _Patient:
    """A `receive` that waits for the next piece of a body only so long. After the body it waits as long as asked."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(self._seconds):
                    message = await self._receive()
                break
            except TimeoutError:
                # Much later than asked for: this process was stopped for a while, and the client is not to blame.
                if loop.time() - began < self._seconds + PAUSE_SECONDS:
                    raise TimedOut(f"The body stopped arriving for {self._seconds:g} seconds.") from None
        self._complete = not message.get("more_body", False)
        return message


def _check_target(scope: Scope) -> None:
    query = scope.get("query_string", b"")
    if len(query) > MAX_QUERY_BYTES:
        raise QueryTooLong(f"The query is longer than {MAX_QUERY_BYTES:,} bytes.")
    if not query.isascii() or b"%" in query:
        decoded = unquote_to_bytes(query)
        try:
            has_nul = "\0" in decoded.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput("The query is not valid UTF-8.") from None
        if has_nul:
            raise InvalidInput("The query holds a NUL character.")
    path: str = scope["path"]
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" or c == "\ufffd" for c in path):
        raise NotFound("path", path)


def _host_name(host: str) -> str:
    """The name of a Host header, lower case, without port; "" if it is malformed."""
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        name += bracket
        if not bracket or (rest and not rest.startswith(":")):
            return ""
        port = rest[1:]
        plain = name[1:-1]
        if not plain or any(c not in "0123456789abcdefABCDEF:." for c in plain):
            return ""
    else:
        name, _, port = host.partition(":")
        if not name or not all(c.isascii() and (c.isalnum() or c in "-._") for c in name):
            return ""
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        return ""
    return name.lower().rstrip(".") or ""


def _netloc(origin: str) -> str:
    """`host:port` of an origin with its default port written out; "" for `null` and nonsense."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.hostname}:{port}" if parts.hostname and port else ""


def _preflight(headers: Headers) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": CORS_METHODS,
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "")[:1024],
            "Access-Control-Max-Age": "600",
        },
    )
