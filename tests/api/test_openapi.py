"""The contract: valid, complete, with examples and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app.api.direct import EXPORT_NAMES
from app.api.errors import STATUS
from app.api.imports import OWN_NAMES
from app.api.option_words import DOORS, WORDS
from app.api.queries import option_names
from app.formats import ExportOptions, ImportOptions
from app.main import openapi_text
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
        "GET /health/work",
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


def parameters(operation: dict[str, Any], place: str = "query") -> set[str]:
    return {one["name"] for one in operation.get("parameters", []) if one["in"] == place}


def test_every_parameter_is_described_and_named_once(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        listed = [(one["name"], one["in"]) for one in operation.get("parameters", [])]
        assert len(set(listed)) == len(listed), name
        for one in operation.get("parameters", []):
            assert one["in"] == "path" or one.get("description"), (name, one["name"])
            assert one["schema"], (name, one["name"])


def test_doors_of_their_own_tell_every_name_that_they_take(document: dict[str, Any]) -> None:
    found = operations(document)
    for thing in ("tasks/{task_id}", "jobs/{job_id}"):
        assert set(EXPORT_NAMES) <= parameters(found[f"GET /api/{thing}/export"])
        assert set(OWN_NAMES) - {"filename"} <= parameters(found[f"POST /api/{thing}/import"])
        for door in ("dataset/export", "annotations"):
            assert "format" in parameters(found[f"POST /api/{thing}/{door}"])


def test_lists_take_what_lists_take(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if schema.get("$ref", "").rpartition("/")[2].startswith("Paginated"):
            assert {"page", "page_size", "search", "sort", "filter", "org"} <= parameters(operation), name


def test_every_body_and_answer_has_a_schema_and_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in operations(document).items():
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [answer.get("content", {}) for answer in operation["responses"].values()]
        for kind, content in ((kind, one) for each in contents for kind, one in each.items()):
            schema = content.get("schema", {})
            reference = schema.get("$ref", "").rpartition("/")[2]
            assert schema or "example" in content, (name, kind)
            if kind == "application/json" and reference:
                assert schemas[reference]["examples"], (name, reference)


def test_examples_are_what_their_schemas_say(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        for example in schema["examples"]:
            Draft202012Validator(whole).validate(example)
    for status, answer in document["components"]["responses"].items():
        for content in answer.get("content", {}).values():
            assert set(content["example"]) == {"detail", "code", "problems", "counts", "request_id"}, status


def test_every_status_an_error_may_have_is_in_the_contract(document: dict[str, Any]) -> None:
    described = {int(name.removeprefix("Error")) for name in document["components"]["responses"]}
    assert set(STATUS.values()) <= described
    for name, operation in operations(document).items():
        assert operation["tags"], name
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}, name


def test_the_contract_in_the_repository_is_the_one_that_is_served() -> None:
    written = (Path(__file__).parents[2] / "openapi" / "openapi.json").read_text(encoding="utf-8")
    assert written == openapi_text(), "annoport openapi > openapi/openapi.json"
