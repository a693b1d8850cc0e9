"""The contract: valid, complete, with examples and errors."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import validate

from app.api.option_words import DOORS, WORDS
from app.api.queries import option_names
from app.formats import ExportOptions, ImportOptions
from tests.api.conftest import TestClient

METHODS = {"get", "put", "post", "patch", "delete", "head", "options"}


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_it_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_it_is_served_to_everybody_and_the_same_twice(anonymous: TestClient, app: FastAPI) -> None:
    served = anonymous.get("/api/openapi.json").json()
    assert served == app.openapi()
    assert app.openapi() is app.openapi()


def test_no_operation_answers_422(document: dict[str, Any]) -> None:
    assert all("422" not in operation["responses"] for operation in operations(document).values())
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_operation_is_described_and_tells_its_errors(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        assert operation.get("description") or operation.get("summary"), name
        assert "400" in operation["responses"], name
        if "security" in operation:
            assert {"401", "403", "404"} <= set(operation["responses"]), name
            assert {"basic": []} in operation["security"]


def test_open_operations_are_the_known_ones(document: dict[str, Any]) -> None:
    open_to_all = {name for name, operation in operations(document).items() if "security" not in operation}
    assert {name for name in open_to_all if not name.startswith("OPTIONS")} == {
        "GET /api/server/about",
        "POST /api/auth/login",
        "POST /api/auth/logout",
        "GET /health/live",
        "GET /health/ready",
    }


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(ids) == len(set(ids))


def test_models_are_named_as_in_cvat(document: dict[str, Any]) -> None:
    expected = {
        "About",
        "BasicUser",
        "DatasetFormats",
        "JobRead",
        "Label",
        "PaginatedJobReadList",
        "PaginatedTaskReadList",
        "PatchedLabelRequest",
        "PatchedTaskWriteRequest",
        "ProjectRead",
        "Request",
        "TaskRead",
        "TaskWriteRequest",
        "User",
    }
    assert expected <= set(document["components"]["schemas"])


def test_every_option_of_a_format_is_told_at_every_door(document: dict[str, Any]) -> None:
    told = operations(document)
    for door, kind in DOORS.items():
        name = door.replace(door.split(" ")[0], door.split(" ")[0].upper(), 1)
        parameters = [parameter["name"] for parameter in told[name]["parameters"]]
        assert len(parameters) == len(set(parameters)), name
        assert set(option_names(kind)) <= set(parameters), name
    assert set(WORDS) == {*option_names(ImportOptions), *option_names(ExportOptions)}


@pytest.mark.parametrize("name", ["TaskWriteRequest", "ProjectWriteRequest", "LoginRequest", "AccessTokenWriteRequest"])
def test_examples_of_bodies_are_accepted(document: dict[str, Any], name: str) -> None:
    import app.api.schemas as schemas

    examples = document["components"]["schemas"][name]["examples"]
    assert examples
    for example in examples:
        getattr(schemas, name).model_validate(example)
