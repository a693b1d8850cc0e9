"""What endpoints are given: the services, the caller, links. Rules of access are the dependencies `CallerDep` and
`AnyoneDep`: a route without one of them cannot be made (see `routing.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Depends, Request

from app.formats.base import Format
from app.requests import Queue
from app.storage import Storage, User

MIB = 1 << 20

Streamer = Callable[[dict[str, Any]], AsyncIterator[bytes]]
"""Runs an export (a JSON description of it) and gives its chunks."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The plain values the edge needs; main takes them from its settings, tests write them by hand.

    Attributes:
        auth_mode: `local` serves callers without credentials as the local admin; `users` wants everybody to log in.
        public_url: the address clients use, without a slash at the end; "" takes it from each request.
        allowed_hosts: names to answer to, without ports; empty means any.
        allowed_origins: origins of other sites whose pages may call.
        request_hold_seconds: how long GET /api/requests/{id} waits for an end.
        import_helpers: processes that may help with one large answer.
    """

    auth_mode: Literal["local", "users"] = "local"
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    cookie_secure: bool = False
    session_ttl_seconds: int = 14 * 86400
    login_rate_per_minute: int = 10

    request_hold_seconds: float = 4.0
    max_queued_per_user: int = 20
    max_queued: int = 500
    queue_late_seconds: float = 300.0
    request_ttl_seconds: int = 7 * 86400
    export_ttl_seconds: int = 86400
    import_helpers: int = 0

    max_annotation_upload_bytes: int = 2048 * MIB
    max_data_upload_bytes: int = 25600 * MIB
    tus_max_size_bytes: int = 25600 * MIB
    tus_max_open_per_user: int = 50
    tus_expiry_seconds: int = 86400
    max_json_body_bytes: int = 64 * MIB
    max_login_body_bytes: int = 64 << 10
    max_json_depth: int = 64
    multipart_max_files: int = 10_000
    multipart_max_fields: int = 1_000
    multipart_max_field_bytes: int = MIB
    multipart_max_part_header_bytes: int = 16 << 10
    body_idle_timeout_seconds: float = 30.0

    max_image_pixels: int = 178_956_970
    max_image_bytes: int = 256 * MIB
    max_points_per_shape: int = 100_000
    max_shapes_per_request: int = 200_000
    max_page_size: int = 500

    @property
    def is_local(self) -> bool:
        return self.auth_mode == "local"

    @property
    def secure_cookies(self) -> bool:
        return self.cookie_secure or self.public_url.startswith("https://")


@dataclass(frozen=True, slots=True)
class Services:
    """What one web process has; made by `main`, kept in `app.state.services`.

    Attributes:
        version: this service's own version (`/api/server/about` shows it behind CVAT's).
        formats: the registry.
        stream_export: runs an export outside of this process and gives its chunks.
    """

    settings: ApiSettings
    storage: Storage
    queue: Queue
    version: str
    formats: Sequence[Format]
    stream_export: Streamer | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and how that is known."""

    user: User
    how: Literal["local", "session", "token", "basic"]
    read_only: bool = False
    token_id: int | None = None
    token_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """Absolute URLs, as the SDK asks for them: `links.url("/api/jobs", task_id=5)`."""

    base: str

    def url(self, path: str, query: Mapping[str, object] | None = None, **more: object) -> str:
        pairs = {**(query or {}), **more}
        return f"{self.base}{path}?{urlencode(pairs)}" if pairs else f"{self.base}{path}"


def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def get_links(request: Request) -> Links:
    """From the public address, else from the scheme and Host of this request (the server believes trusted proxies)."""
    settings = get_services(request).settings
    if settings.public_url:
        return Links(settings.public_url.rstrip("/"))
    host = request.headers.get("host") or "localhost"
    return Links(f"{request.url.scheme}://{host}")


# Dependencies are `async def` though they await nothing: FastAPI would send plain ones through its thread pool.


async def caller(request: Request) -> Caller:
    """The authenticated caller. The route has found out before the body was read (`routing.GuardedRoute`)."""
    found: Caller = request.state.caller
    return found


async def anyone() -> None:
    """Declares that a route answers without credentials."""


async def services(request: Request) -> Services:
    return get_services(request)


async def links(request: Request) -> Links:
    return get_links(request)


ServicesDep = Annotated[Services, Depends(services)]
LinksDep = Annotated[Links, Depends(links)]
CallerDep = Annotated[Caller, Depends(caller)]
AnyoneDep = Annotated[None, Depends(anyone)]
