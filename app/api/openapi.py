"""The contract: FastAPI's schema with this service's credentials, errors and words put right."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api.deps import caller
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
    "direct": "Import and export in one call",
    "jobs": "Jobs: windows on the frames of a task",
    "labels": "Labels of tasks and projects",
    "ops": "For those who run the service",
    "projects": "Projects: labels, and tasks that share them",
    "requests": "Background work",
    "server": "The service about itself",
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
    "400": "The request cannot be understood, or is refused",
    "401": "No credentials, or wrong ones",
    "403": "Not allowed, or a CSRF check failed",
    "404": "No such thing, or not the caller's",
    "408": "The body stopped arriving",
    "409": "The thing is busy, or already there",
    "413": "The body is larger than its limit",
    "414": "The query is too long",
    "415": "The body's type or encoding is not read here",
    "429": "Too much was asked; see Retry-After",
    "503": "Busy; see Retry-After",
    "507": "The disk is full",
}


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
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = SECURITY_SCHEMES
    components["responses"] = {
        f"Error{status}": {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorInfo"}}},
        }
        for status, text in ERRORS.items()
    }
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
            _add_errors(operation, method.upper(), is_closed)
    add_options(document)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def walk_routes(app: FastAPI) -> list[APIRoute]:
    """Every API route with its whole path, those of included routers too."""
    return [route for route in app.routes if isinstance(route, APIRoute)]


def _add_errors(operation: dict[str, Any], method: str, is_closed: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = ["400", "414", "503"]
    if is_closed:
        statuses += ["401", "403", "404", "429"]
    if method not in SAFE_METHODS:
        statuses += ["403", "408", "409", "413", "415", "429", "507"]
    for status in statuses:
        responses.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
    operation["responses"] = dict(sorted(responses.items()))
