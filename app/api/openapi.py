"""The contract: FastAPI's schema with this service's credentials, errors and words put right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api.deps import caller
from app.api.described import FILENAME, FORMAT, LOCATION, PERSONAL, SCHEMAS, parameter
from app.api.option_words import add_options
from app.api.routing import SAFE_METHODS, rule_of
from app.api.schemas import ErrorInfo

DESCRIPTION = """
Annotation archives in and out of tasks, through the API of CVAT 2.80 or one call.

* A trailing slash makes no difference below `/api/`.
* Every refusal has the body `ErrorInfo`; nothing is answered with 422.
* Lists take `page`, `page_size`, `search`, `sort`, `filter` and equality parameters.
* There are no organizations: `org`, `org_id` and the header `X-Organization` are taken where they are empty.
""".strip()

TAGS = {
    "annotations": "Annotations of tasks and jobs as JSON, and their import",
    "auth": "Login, logout, access tokens",
    "comments": "Comments below issues",
    "direct": "Import and export in one call",
    "issues": "Issues: what somebody has to say about a place on a frame",
    "jobs": "Jobs: windows on the frames of a task",
    "labels": "Labels of tasks and projects",
    "ops": "For those who run the service",
    "projects": "Projects: labels, and tasks that share them",
    "requests": "Background work",
    "server": "The service about itself",
    "stats": "What a task holds, counted",
    "tasks": "Tasks, their pictures, their exports",
    "users": "Users",
}

SECURITY_SCHEMES = {
    "accessToken": {"type": "http", "scheme": "bearer", "description": "A personal access token"},
    "basic": {"type": "http", "scheme": "basic"},
    "loginKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token <key>`, the key of a login",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "Unsafe methods repeat the cookie `csrftoken` in the header `X-CSRFToken`",
    },
}

ERRORS = {
    "400": ("The request cannot be understood, or is refused", "request.invalid", "name: This field is required."),
    "401": (
        "No credentials, or wrong ones",
        "access.not_authenticated",
        "Authentication credentials were not provided.",
    ),
    "403": ("Not allowed, or a CSRF check failed", "access.denied", "This access token is read-only."),
    "404": ("No such thing, or not the caller's", "not_found", "Not found."),
    "405": ("A method that is not for this path, or a format that is not for this direction", "request.method", "…"),
    "408": ("The body stopped arriving", "request.timeout", "The body stopped arriving for 30 seconds."),
    "409": ("The thing is busy, or already there", "conflict", "an import of this task is running; wait for its end"),
    "410": ("A call of an older CVAT; the sentence names the new one", "request.gone", "This call is gone. Use …"),
    "412": (
        "Another version is there than If-Match names; of uploads in parts: another version of tus",
        "request.outdated",
        "the task was changed since; read its annotations again, and send what is to change",
    ),
    "413": ("The body is larger than its limit", "too_large", "the body is larger than 67,108,864 bytes"),
    "414": ("The query is too long", "request.query_too_long", "The query is longer than 16,384 bytes."),
    "415": (
        "The body's type or encoding is not read here",
        "request.media_type",
        'Unsupported media type "text/plain" in request: send application/json.',
    ),
    "416": (
        "The range lies outside of the file",
        "request.range",
        "the range bytes=900- lies outside of the file, which has 812 bytes; leave Range out for all",
    ),
    "429": ("Too much was asked; see Retry-After", "busy.caller", "too many failed logins, wait a minute"),
    "500": (
        "A defect; its id is in the service's log",
        "defect",
        "The service failed; the reason is in its log under 9f86d081884c7d65.",
    ),
    "503": ("Busy; see Retry-After", "busy", "the database is busy writing, try again"),
    "507": ("The disk is full", "no_space", "there is no space left on the disk of the database"),
}
"""Status → what it means, and the code and detail of an example."""

FILES = {
    "206": "The range of the file that was asked for",
    "304": "The client has this version already (If-None-Match)",
    "302": "The file lies in a bucket: its address, good for a short while",
}
MOMENT = "2026-01-31T09:30:00.123456Z"


def describe_api(app: FastAPI, version: str) -> dict[str, Any]:
    """The OpenAPI document of the app, as JSON values in a stable order."""
    document = get_openapi(
        title="annoport",
        version=version,
        summary="A CVAT-compatible web service for annotation archives",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        separate_input_output_schemas=False,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    error = ErrorInfo.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(error.pop("$defs", {}))
    schemas["ErrorInfo"] = error
    schemas.update(SCHEMAS)
    for schema in schemas.values():
        if "examples" not in schema:
            schema["examples"] = [example_of(schema, schemas)]
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = SECURITY_SCHEMES
    components["responses"] = {f"Error{status}": _error(status) for status in ERRORS}
    closed = {
        (route.path_format, method)
        for route in walk_routes(app)
        if rule_of(route.dependant) is caller
        for method in route.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            is_closed = (path, method.upper()) in closed
            if is_closed:
                operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
            operation["tags"] = operation["tags"][-1:]  # a route's own tag comes behind its router's
            _add_options(operation, path, method)
            _add_errors(operation, path, method.upper(), is_closed)
    add_options(document)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def walk_routes(app: FastAPI) -> list[APIRoute]:
    """Every API route with its whole path, those of included routers too."""
    return [route for route in app.routes if isinstance(route, APIRoute)]


def _error(status: str) -> dict[str, Any]:
    text, code, detail = ERRORS[status]
    if not code:
        return {"description": text}
    body = {"detail": detail, "code": code, "problems": [], "counts": {}, "request_id": "9f86d081884c7d65"}
    schema = {"$ref": "#/components/schemas/ErrorInfo"}
    return {"description": text, "content": {"application/json": {"schema": schema, "example": body}}}


def _add_options(operation: dict[str, Any], path: str, method: str) -> None:
    """The query parameters that are read by hand."""
    added: list[dict[str, Any]] = []
    if path.endswith("/dataset/export"):
        added = [{**FORMAT, "required": True}, FILENAME, LOCATION]
    elif path.endswith("/backup/export"):
        lightweight = parameter("lightweight", "Taken and told; pictures are always in it", enum=["true", "false"])
        added = [lightweight, FILENAME, LOCATION]
    elif path.endswith("/export"):
        added = [FORMAT, FILENAME]
    elif path.endswith("/import"):
        added = [FORMAT]
    names = {one["name"] for one in added}
    declared = [one for one in operation.get("parameters", []) if one["name"] not in names]
    if method == "get" and any(one["name"] == "page_size" for one in declared):
        added = [PERSONAL]
    if declared or added:
        operation["parameters"] = [*declared, *added]


def _add_errors(operation: dict[str, Any], path: str, method: str, is_closed: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for answer in responses.values():
        # FastAPI's guess about routes that answer by themselves.
        if answer.get("content", {}).get("application/json", {}).get("schema") == {}:
            del answer["content"]["application/json"]
    statuses = ["400", "405", "413", "414", "415", "500", "503"]
    if is_closed:
        statuses += ["401", "403", "404", "429"]
    if method not in SAFE_METHODS:
        statuses += ["403", "408", "409", "429", "507"]
    if path.endswith("/annotations") and method in ("GET", "PUT"):
        statuses.append("410")
    if path.endswith("/download"):
        statuses.append("416")
    for status in {*statuses, *(responses.keys() & ERRORS.keys())}:
        responses[status] = {"$ref": f"#/components/responses/Error{status}"}
    if (method == "GET" and path.endswith(("/download", "/data", "/preview", "/annotations"))) or "/stats" in path:
        wanted = ("206", "302", "304") if path.endswith("/download") else ("304",)
        for status in wanted:
            binary = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
            responses.setdefault(status, {"description": FILES[status], **(binary if status == "206" else {})})
    operation["responses"] = dict(sorted(responses.items()))


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Any:
    """A value of a schema, made of the examples, choices and defaults within it."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    for name in ("default", "const"):
        if name in schema:
            return schema[name]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            kinds = schema[name]
            return None if {"type": "null"} in kinds else example_of(kinds[0], schemas)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        return None if "null" in kind else example_of({**schema, "type": kind[0]}, schemas)
    if kind == "object":
        return {name: example_of(one, schemas) for name, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema["items"], schemas)] if "$ref" in schema.get("items", {}) else []
    if kind == "string":
        return MOMENT if schema.get("format") == "date-time" else "…"
    return {"integer": 1, "number": 1.0, "boolean": False, "null": None}[kind]
