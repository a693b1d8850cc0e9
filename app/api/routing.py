"""Routes that are closed until their rule of access has let the caller in.

Every route is a `GuardedRoute`. Its rule is one of the dependencies `CallerDep` (somebody, known) and `AnyoneDep`; a
route without one cannot be made. The rule is applied before a byte of the body is read:

    authenticate → read-only tokens → organization → length of the body → JSON → FastAPI

Which objects a caller may see is decided by the store: its functions take the viewer and raise NotFound.

Trailing slashes: `SecurityMiddleware` takes one slash off the end of every /api/ path, so each path is declared once,
without it, and both forms answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette._utils import get_route_path
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Message, Receive, Scope

from app.api.bodies import announced_length, parse_json, whole_body
from app.api.credentials import Authenticator
from app.api.deps import ApiSettings, Caller, anyone, caller, get_services
from app.api.errors import WrongMediaType
from app.errors import AccessDenied, InvalidInput, NotFound, TooLarge

if TYPE_CHECKING:
    from fastapi._compat import ModelField

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_MODEL_BODY_BYTES = 4 << 20
"""Bodies that become models; 10,000 labels with attributes fit in."""

PARSED_IN_THREAD_BYTES = 64 << 10
"""Smaller ones take less than 20 ms on the event loop (0.3 s a MiB of labels)."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_LIMIT = "__body_limit__"
_READS = "__reads_only__"
_ID = re.compile(r"\{((?:task|job|project|label|user|issue|comment|token)_id)\}")


class IdConvertor(IntegerConvertor):
    """Ids in paths: what no id can be (2^53 has 16 digits; Python turns down thousands of them) is no such path."""

    regex = "[0-9]{1,16}"


register_url_convertor("id", IdConvertor())


def body_limit(setting: str | None) -> Callable[[Endpoint], Endpoint]:
    """Declare which setting bounds an endpoint's body (default `max_json_body_bytes`).

    None: the endpoint reads the stream itself and applies its own limit.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _LIMIT, setting)
        return endpoint

    return mark


def reads_only(endpoint: Endpoint) -> Endpoint:
    """Declare that a POST changes nothing of anybody's, so that read-only tokens may make it: exports, as in CVAT."""
    setattr(endpoint, _READS, True)
    return endpoint


def rule_of(dependant: Dependant) -> Callable[..., Any] | None:
    """`caller` or `anyone`, whichever stands anywhere in a route's dependencies; a caller asked for wins."""
    found: Callable[..., Any] | None = None
    for dependency in dependant.dependencies:
        rule = dependency.call if dependency.call in (caller, anyone) else rule_of(dependency)
        if rule is caller:
            return caller
        found = found or rule
    return found


class ParsedRequest(Request):
    """A request whose JSON was parsed by the guard."""

    parsed: Any = None

    async def json(self) -> Any:
        return self.parsed


class GuardedRoute(APIRoute):
    """See the module."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Most requests are no match for most routes: their ends tell it in a tenth of the time."""
        path = get_route_path(scope)
        head, tail = self._ends
        return super().matches(scope) if path.startswith(head) and path.endswith(tail) else (Match.NONE, {})

    @cached_property
    def _ends(self) -> tuple[str, str]:
        """What stands before and behind the parameters in the path."""
        path = self.path_format
        return path[: path.index("{")] if "{" in path else path, path[path.rfind("}") + 1 :]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        rule = rule_of(self.dependant)
        if rule is None:
            raise TypeError(f"{self.path}: declare who may call it (CallerDep or AnyoneDep)")
        limit_name: str | None = getattr(self.endpoint, _LIMIT, "max_json_body_bytes")
        changes = not getattr(self.endpoint, _READS, False)
        field = self.body_field
        assert field is None or not self._embed_body_fields, f"{self.path}: one model is the whole body"

        async def guarded(request: Request) -> Response:
            settings = get_services(request).settings
            if rule is caller:
                authenticator: Authenticator = request.app.state.authenticator
                found = await authenticator.authenticate(request)
                request.state.caller = found
                request.scope["user_id"] = found.user.id
                if changes:
                    _check_read_only(request, found)
                _check_organization(request)
            _check_encoding(request)
            limit = None if limit_name is None else int(getattr(settings, limit_name))
            if field is not None and limit is not None:
                limit = min(limit, MAX_MODEL_BODY_BYTES)
            receive = request.receive if limit is None else limited(request, limit)
            passed = ParsedRequest(request.scope, receive)
            if field is not None:
                await _read_json(passed, settings, field)
            return await handle(passed)

        return guarded


class Router(APIRouter):
    """An APIRouter of guarded routes."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            route_class=GuardedRoute,
            redirect_slashes=False,
            generate_unique_id_function=lambda route: route.name,
            **more,
        )

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        """Add a route; what is read by GET answers HEAD too (monitors, `curl -I`), by a route of its own, which the
        contract leaves out (two operations of one route would share an id)."""
        # What is no number is no id: `/api/tasks/backup` is not the task of that name, whatever the method.
        path = _ID.sub(r"{\1:id}", path)
        methods = {method.upper() for method in more.pop("methods", None) or ["GET"]}
        if "GET" in methods:
            methods.add("HEAD")
        super().add_api_route(path, endpoint, **more, methods=sorted(methods - {"HEAD"} or methods))
        if "HEAD" in methods and len(methods) > 1:
            head = copy(self.routes[-1])  # to analyse the endpoint once more would take as long again
            assert isinstance(head, GuardedRoute)
            head.methods, head.include_in_schema = {"HEAD"}, False
            self.routes.append(head)


def limited(request: Request, max_bytes: int) -> Receive:
    """The request's `receive`, which refuses a body longer than `max_bytes`: announced or real.

    Raises:
        TooLarge: here, for an announced length, or from the receive that passes the limit.
        InvalidInput: a Content-Length that is no number.
    """
    announced = request.headers.get("content-length")
    if announced is not None and announced_length(announced) > max_bytes:
        raise _too_large(max_bytes)
    receive, n_bytes = request.receive, 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > max_bytes:
            raise _too_large(max_bytes)
        return message

    return counted


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes:,} bytes, which is the most that this call takes")


def _check_read_only(request: Request, found: Caller) -> None:
    if found.read_only and request.method not in SAFE_METHODS:
        raise AccessDenied("This access token is read-only.")


def _check_organization(request: Request) -> None:
    """cvat-api 1.2, for a service without organizations: the personal workspace only."""
    header, slug = request.headers.get("x-organization"), request.query_params.get("org")
    number = request.query_params.get("org_id")
    if number is not None and (header is not None or slug is not None):
        raise InvalidInput('You cannot specify "org_id" query parameter with "org" query parameter or header.')
    if header is not None and slug is not None and header != slug:
        raise InvalidInput('You cannot specify different "org" query parameter and "X-Organization" header.')
    for value in (header, slug, number):
        if value:
            raise NotFound("organization", value, f'There is no organization "{value[:64]}".')


def _check_encoding(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise WrongMediaType("Compressed bodies (Content-Encoding) are not read; send the body as it is.")


async def _read_json(request: ParsedRequest, settings: ApiSettings, field: ModelField) -> None:
    """Read and parse the body ahead of FastAPI, which would take NaN, any depth and 422s.

    A large body is parsed and validated in a thread; FastAPI, which validates on the event loop, then finds a model.
    """
    body = await whole_body(request)
    if not body:
        return
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not (media_type.startswith("application/") and media_type.endswith(("/json", "+json"))):
        raise WrongMediaType(f'Unsupported media type "{media_type[:64]}" in request: send application/json.')
    if len(body) <= PARSED_IN_THREAD_BYTES:
        request.parsed = parse_json(body, settings.max_json_depth)
        return

    def parse() -> Any:
        value, errors = field.validate(parse_json(body, settings.max_json_depth), {}, loc=("body",))
        if errors:
            raise RequestValidationError(errors)
        return value

    request.parsed = await run_in_threadpool(parse)
