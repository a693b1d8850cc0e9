"""Refusals: the table of statuses and the body."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
from fastapi import Request
from prometheus_client import CollectorRegistry

from app import errors
from app.api.errors import (
    STATUS,
    STATUS_BY_CODE,
    describe_validation,
    did_you_mean,
    error_body,
    error_response,
    respond_to_app_error,
    status_of,
)
from app.api.observing import HTTPMetrics, ObservingMiddleware
from app.errors import AppError, Busy, ImportProblems, InvalidInput, NotFound, OffsetMismatch, Report


def a_request() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/api/x", "headers": [], "request_id": "abc"})


def test_every_error_of_the_house_has_a_status() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AppError)]
    without = [kind.__name__ for kind in kinds if kind is not AppError and not set(kind.__mro__) & set(STATUS)]
    assert without == []


def test_no_error_is_a_422() -> None:
    assert 422 not in STATUS.values()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("x"), 400),
        (OffsetMismatch("x", 5), 409),
        (errors.TooManyRequests("x"), 429),
        (Busy("x"), 503),
        (errors.NoSpace("x"), 507),
        (AppError("told by another process", code="not_found"), 404),
        (AppError("nobody knows"), 500),
    ],
)
def test_status_by_class_then_by_code(error: AppError, status: int) -> None:
    assert status_of(error) == status


def test_body_names_the_culprit_and_the_request() -> None:
    answer = respond_to_app_error(a_request(), NotFound("task", 5))
    assert answer.status_code == 404
    assert json.loads(answer.body) == {
        "detail": "Not found.",
        "code": "not_found",
        "problems": [],
        "counts": {},
        "request_id": "abc",
    }


def test_place_becomes_a_field() -> None:
    body = json.loads(respond_to_app_error(a_request(), InvalidInput("too long", place="labels[2].name")).body)
    assert body["labels"] == ["labels[2].name: too long"]
    assert body["detail"] == "labels[2].name: too long"
    body = json.loads(respond_to_app_error(a_request(), InvalidInput("too long", place="name")).body)
    assert body["name"] == ["too long"]


def test_a_field_never_hides_the_common_keys() -> None:
    body = error_body("r", "sentence", "code", fields={"detail": ["other"], "name": ["bad"]})
    assert body["detail"] == "sentence"
    assert body["name"] == ["bad"]


def test_import_problems_are_listed_and_counted() -> None:
    report = Report(limit=2)
    for row in range(5):
        report.error("csv.bad", f"row {row}", file="a.csv", row=row)
    body = json.loads(respond_to_app_error(a_request(), ImportProblems(report)).body)
    assert [problem["row"] for problem in body["problems"]] == [0, 1]
    assert body["counts"] == {"csv.bad": 5}
    assert body["code"] == "csv.bad"


def test_headers_go_with_the_error() -> None:
    assert respond_to_app_error(a_request(), Busy("x", 7)).headers["retry-after"] == "7"
    assert respond_to_app_error(a_request(), OffsetMismatch("x", 12)).headers["upload-offset"] == "12"
    assert "www-authenticate" in respond_to_app_error(a_request(), errors.NotAuthenticated("x")).headers


def test_lone_surrogates_in_a_message_do_not_break_the_answer() -> None:
    answer = error_response(400, error_body("r", "bad \ud800 name", "c", fields={"x": ["\udfff"]}))
    assert json.loads(answer.body)["detail"] == "bad ? name"


def test_validation_errors_are_told_by_field_with_their_place() -> None:
    detail, fields = describe_validation(
        [
            {"loc": ("body", "labels", 1, "name"), "type": "missing", "msg": "Field required"},
            {"loc": ("body", "name"), "type": "value_error", "msg": "Value error, no"},
        ]
    )
    assert fields == {"labels": ["labels[1].name: This field is required."], "name": ["no"]}
    assert detail == "labels[1].name: This field is required. (and 1 more)"


def test_a_near_miss_is_named() -> None:
    assert did_you_mean("rectagle", ["rectangle", "mask"]) == ' Did you mean "rectangle"?'
    assert did_you_mean("xyz", ["rectangle", "mask"]) == ""


def test_every_refusal_has_a_status_of_its_own() -> None:
    """A refusal without one would be answered as a defect. Those below never leave the process that they arise in."""
    import app.background
    import app.main  # noqa: F401

    inner = {"BadPNG", "BadPicture", "StreamFailed", "Stopped", "Damaged", "QueryTooLong", "WrongVersion"}
    waiting, without = [AppError], set()
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind is not AppError and kind.__module__.startswith("app."):
            status = next((STATUS[one] for one in kind.__mro__ if one in STATUS), STATUS_BY_CODE.get(kind.code, 500))
            if status == 500:
                without.add(kind.__name__)
    assert without <= inner, without


def test_a_call_that_the_end_of_the_service_cuts_is_told_to_come_again() -> None:
    """uvicorn cancels what takes longer than the time for the end, and would answer 500."""

    async def hang(*_: Any) -> None:
        await asyncio.sleep(600)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def cut() -> None:
        app = ObservingMiddleware(hang, HTTPMetrics(CollectorRegistry()))
        scope = {"type": "http", "method": "GET", "path": "/api/x", "headers": [], "query_string": b""}
        call = asyncio.ensure_future(app(scope, hang, send))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cut())
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"1"
    assert json.loads(sent[1]["body"])["code"] == "busy"
