"""Refusals as answers: one table from error class to status, one body.

    {"detail": one sentence, "code": "…", "problems": […], "counts": {…}, "request_id": "…", "<field>": ["…"]}

`detail` is what every client of CVAT shows; field errors stand beside it under the field's name, as CVAT has them.
There is no 422: what fails validation is a 400. A path parameter that is no id is a 404, as an unknown id is.
"""

from __future__ import annotations

import difflib
import http
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from app import errors as refusals
from app.errors import AppError, Busy, ImportProblems, InvalidInput, OffsetMismatch, Report, shorten

log = structlog.get_logger(__name__)


class MethodNotAllowed(AppError):
    """Known, but switched off or not meant for this method."""

    code = "request.method"


class WrongMediaType(AppError):
    """The body's type or encoding is not one that is read here."""

    code = "request.media_type"


class TimedOut(AppError):
    """The body stopped arriving."""

    code = "request.timeout"


class Gone(AppError):
    """A call of an older CVAT that was replaced; the sentence names the new one."""

    code = "request.gone"


class OutsideFile(AppError):
    """No byte of the file is in the range that was asked for."""

    code = "request.range"


STATUS: dict[type[AppError], int] = {
    InvalidInput: 400,
    ImportProblems: 400,
    refusals.Unsupported: 400,
    refusals.LimitReached: 400,
    refusals.NotAuthenticated: 401,
    refusals.AccessDenied: 403,
    refusals.NotFound: 404,
    refusals.Expired: 404,
    MethodNotAllowed: 405,
    TimedOut: 408,
    refusals.Conflict: 409,
    refusals.Cancelled: 409,
    Gone: 410,
    refusals.Outdated: 412,
    refusals.TooLarge: 413,
    WrongMediaType: 415,
    OutsideFile: 416,
    refusals.TooManyRequests: 429,
    Busy: 503,
    refusals.NoSpace: 507,
    refusals.Damaged: 500,
}

STATUS_BY_CODE = {error.code: status for error, status in STATUS.items() if "code" in vars(error)}

NOT_OFFERED = {
    "analytics": "analytics",
    "cloudstorages": "cloud storages",
    "consensus": "consensus",
    "events": "events",
    "functions": "functions of agents",
    "growth": "surveys of its users",
    "guides": "guides",
    "assets": "guides",
    "immediate_reports": "quality control",
    "invitations": "organizations",
    "lambda": "automatic annotation on the server",
    "memberships": "organizations",
    "organizations": "organizations",
    "quality": "quality control",
    "schema": "a schema at this address (see /api/openapi.json)",
    "webhooks": "webhooks",
}
"""First part of the path behind /api/ → what CVAT has there and this service has not."""

NOT_OFFERED_WITHIN = {
    "/auth/password": "passwords by calls; they are set by the command line (annoport user)",
    "/auth/register": "accounts by calls; they are made by the command line (annoport user)",
    "/auth/rules": "rules of access as a file",
    "/server/share": "a share of server files",
    "/validation_layout": "ground truth jobs",
}
"""Part of a path → the same, where the rest of its area is offered."""

VALIDATION_MESSAGES = {
    "missing": "This field is required.",
    "int_parsing": "A valid integer is required.",
    "int_parsing_size": "A valid integer is required.",
    "int_type": "A valid integer is required.",
    "int_from_float": "A valid integer is required.",
    "float_type": "A valid number is required.",
    "datetime_type": "A moment is required, such as 2026-01-31T09:30:00Z.",
    "datetime_parsing": "A moment is required, such as 2026-01-31T09:30:00Z.",
    "datetime_from_date_parsing": "A moment is required, such as 2026-01-31T09:30:00Z.",
    "string_type": "Not a valid string.",
    "bool_parsing": "Must be a valid boolean.",
    "bool_type": "Must be a valid boolean.",
    "list_type": "Expected a list of items.",
    "model_attributes_type": "Expected an object.",
    "dict_type": "Expected an object.",
}


def status_of(error: AppError) -> int:
    """The status of an error: by class, else by what it was in another process, else 500."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return STATUS_BY_CODE.get(error.kind, STATUS_BY_CODE.get(error.code, 500))


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """A blank and a question to put behind a message, or nothing where no choice is near."""
    near = difflib.get_close_matches(str(value), list(choices), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def no_choice(value: str, choices: Sequence[str]) -> str:
    """What to say of a value that is none of the choices: the one that was probably meant, else all."""
    known = f" There are {', '.join(choices)}."
    return f'"{value}" is not a valid choice.{did_you_mean(value, choices) or known}'


def error_body(
    request_id: str,
    detail: str,
    code: str,
    problems: Sequence[Mapping[str, Any]] = (),
    counts: Mapping[str, int] | None = None,
    fields: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The body of every refusal. Fields never hide the common keys."""
    common = {
        "detail": detail,
        "code": code,
        "problems": list(problems),
        "counts": dict(counts or {}),
        "request_id": request_id,
    }
    return {**{name: list(texts) for name, texts in (fields or {}).items()}, **common}


def error_response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    # Messages quote what clients sent; lone surrogates cannot stand in UTF-8 and clients decode the body strictly.
    try:
        content = orjson.dumps(body)
    except TypeError:
        detail = str(body["detail"]).encode("utf-8", "replace").decode("utf-8")
        content = orjson.dumps(error_body(str(body["request_id"]), detail, str(body["code"])))
    return Response(content, status, headers=dict(headers or {}), media_type="application/json")


def request_id_of(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def respond_to_app_error(request: Request, error: AppError) -> Response:
    """The answer to a refusal; routers may call it where they must answer without raising."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status in (429, 503):  # also of another process's Busy
        headers["Retry-After"] = str(getattr(error, "retry_after_seconds", 1))
    if isinstance(error, OffsetMismatch):
        headers["Upload-Offset"] = str(error.offset)
    if status == 401:
        # Not Basic: browsers would ask with a window of their own.
        headers["WWW-Authenticate"] = 'Bearer realm="annoport"'
    if status >= 500 and status != 503:
        log.error("refused", code=error.code, detail=error.detail, status=status)
    problems = [problem.to_dict() for problem in error.problems()]
    counts: Mapping[str, int] = Counter(str(problem["code"]) for problem in problems)
    report = getattr(error, "report", None)
    if isinstance(report, Report):
        counts = report.counts
    fields: dict[str, list[str]] = {}
    if isinstance(error, InvalidInput) and error.place:
        name = error.place.split("[")[0].split(".")[0]
        sentence = error.detail if name != error.place else error.detail.removeprefix(f"{error.place}: ")
        fields[name] = [sentence]
    return error_response(
        status, error_body(request_id_of(request), error.detail, error.code, problems, counts, fields), headers
    )


def _place(location: Sequence[object]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _length_message(error: Mapping[str, Any]) -> str | None:
    """pydantic speaks of items after validation where a text is too short or too long."""
    if not isinstance(error.get("input"), str):
        return None
    limits = error.get("ctx", {})
    if error["type"] in ("too_short", "string_too_short"):
        least = limits["min_length"]
        return "This field may not be blank." if least == 1 else f"At least {least:,} characters are needed."
    if error["type"] in ("too_long", "string_too_long"):
        return f"At most {limits['max_length']:,} characters are taken, {len(error['input']):,} were sent."
    return None


def describe_validation(errors: Iterable[Mapping[str, Any]]) -> tuple[str, dict[str, list[str]]]:
    """pydantic's errors as one sentence, and as messages by field; messages of nested values begin with their place."""
    fields: dict[str, list[str]] = {}
    places: list[str] = []
    for error in errors:
        location = [part for part in error["loc"] if not str(part).startswith(("function-", "constrained-"))]
        where = location[1:] if location and location[0] in ("body", "query", "path", "header", "cookie") else location
        message = VALIDATION_MESSAGES.get(str(error["type"])) or _length_message(error) or str(error["msg"])
        # Some messages quote what was sent, which may be a megabyte.
        message = shorten_sentence(message.removeprefix("Value error, "))
        name = str(where[0]) if where else "non_field_errors"
        place = _place(where)
        fields.setdefault(name, []).append(message if place == name or not where else f"{place}: {message}")
        places.append(f"{place or 'the body'}: {message}")
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return shorten_sentence(places[0]) + more if places else "The request is not valid.", fields


def shorten_sentence(text: str, limit: int = 400) -> str:
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def respond_to_invalid(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    if any(one["loc"][:1] == ("path",) for one in found):
        return error_response(404, error_body(request_id_of(request), "Not found.", "not_found"))
    detail, fields = describe_validation(found)
    return error_response(400, error_body(request_id_of(request), detail, InvalidInput.code, fields=fields))


def respond_to_http(request: Request, error: HTTPException) -> Response:
    """What the framework refuses: unknown routes, wrong methods."""
    status = 400 if error.status_code == 422 else error.status_code
    detail, code = str(error.detail), "request.refused"
    if status == 404:
        detail, code = "Not found.", "not_found"
        path = str(request.scope["path"])
        area = path.removeprefix("/api/").split("/")[0] if path.startswith("/api/") else ""
        part = next((words for words in NOT_OFFERED_WITHIN if words in path), area)
        offered = NOT_OFFERED_WITHIN.get(part) or NOT_OFFERED.get(part)
        if offered:
            detail, code = f"Not found. This service does not offer {offered}.", "not_offered"
        elif path.startswith("/api/"):
            detail = f"Not found. There is no {shorten(path)} here."
    elif status == 405:
        detail, code = f'Method "{request.method}" not allowed.', MethodNotAllowed.code
    elif detail == _phrase(status):
        detail = f"{detail}."
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return error_response(status, error_body(request_id_of(request), detail, code), headers)


def _methods_of(request: Request) -> set[str]:
    """The methods of every route with this path; the framework only names those of the first."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return methods


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def install_error_handlers(app: FastAPI) -> None:
    """Let `app` answer refusals. Defects (500) are caught further out, by `observing.ObservingMiddleware`."""
    app.add_exception_handler(AppError, respond_to_app_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, respond_to_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, respond_to_http)  # type: ignore[arg-type]
