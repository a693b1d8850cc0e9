"""The numbers that the page shows, asked for as anyone may: charts, choices of pictures, counts of a selection."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from app.api.stats import CHARTS
from tests.web.tasks import Caller, archive, box


@pytest.fixture(scope="module")
def task(caller: Caller) -> int:
    task_id = caller.task("numbers", 4)
    boxes = [
        box("p000", flags="1,1,0,0,-1"),
        box("p000", "/m/0bt9lr"),
        box("p001", place="0.2,0.4,0.2,0.4", flags="0,0,0,0,0"),
    ]
    caller.load(task_id, archive(boxes, ["p000,verification,/m/01yrx,1", "p002,verification,/m/0bt9lr,0"]))
    return task_id


def refused(caller: Caller, path: str, **query: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        caller.call("GET", path, **query)
    return caught.value.code, json.loads(caught.value.read())


@pytest.mark.parametrize("chart", CHARTS)
def test_each_chart_is_a_part_of_the_whole(caller: Caller, task: int, chart: str) -> None:
    whole = caller.call("GET", f"/api/tasks/{task}/stats")
    part = caller.call("GET", f"/api/tasks/{task}/stats/{chart}")
    assert part == {name: whole[name] for name in ("task_id", "revision", "counted_share", *CHARTS[chart])}


def test_a_chart_that_is_mistyped_is_named(caller: Caller, task: int) -> None:
    status, body = refused(caller, f"/api/tasks/{task}/stats/lables")
    assert status == 404
    assert "did you mean labels" in body["detail"]


def test_pictures_are_chosen_by_an_attribute_and_its_value(caller: Caller, task: int) -> None:
    def names(wish: str) -> list[str]:
        names: list[str] = caller.call("GET", f"/api/tasks/{task}/pictures", attribute=wish)["names"]
        return names

    assert names("truncated=true") == ["p000.png"]
    assert names("is_inside=false") == ["p000.png", "p001.png"]
    assert names("score=0") == ["p002.png"]
    assert names("colour=red") == []
    assert refused(caller, f"/api/tasks/{task}/pictures", attribute="truncated")[0] == 400


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        pytest.param({"holds": "score=0"}, ["p002.png"], id="holds"),
        pytest.param({"holds": "Truncated=true"}, [], id="names are exact"),
        pytest.param({"holds": "truncated=RU"}, ["p000.png"], id="values in any case"),
        pytest.param({"between": "score=0..0.5"}, ["p002.png"], id="a range"),
        pytest.param({"between": "score=..-1"}, [], id="up to"),
        pytest.param({"between": "score=0.."}, ["p000.png", "p001.png", "p002.png"], id="from"),
        pytest.param({"between": "truncated=.."}, [], id="words are no numbers"),
    ],
)
def test_pictures_are_chosen_by_a_part_of_a_value(
    caller: Caller, task: int, wish: dict[str, str], names: list[str]
) -> None:
    assert caller.call("GET", f"/api/tasks/{task}/pictures", **wish)["names"] == names


@pytest.mark.parametrize(
    "wish", [{"holds": "x"}, {"between": "score"}, {"between": "score=1"}, {"between": "score=a..b"}]
)
def test_a_part_that_cannot_be_meant_is_refused(caller: Caller, task: int, wish: dict[str, str]) -> None:
    status, body = refused(caller, f"/api/tasks/{task}/pictures", **wish)
    assert status == 400
    assert next(iter(wish)) in body


def test_a_selection_is_counted_and_equals_what_is_exported(caller: Caller, task: int) -> None:
    def count(**query: Any) -> dict[str, Any]:
        told: dict[str, Any] = caller.call("GET", f"/api/tasks/{task}/export", dry_run="true", **query)
        assert told["dry_run"] is True
        return told

    assert count()["selection"] == {
        "images": {"before": 4, "after": 4},
        "detections": {"before": 3, "after": 3},
        "classifications": {"before": 2, "after": 2},
    }
    chosen = count(classes="Dog", only_matching="true")["selection"]
    assert chosen["images"] == {"before": 4, "after": 2}
    assert chosen["detections"] == {"before": 3, "after": 1}
    request = caller.call(
        "POST", f"/api/tasks/{task}/dataset/export?format=Open+Images+V6+1.0&classes=Dog&only_matching=true"
    )
    assert caller.wait(request["rq_id"])["report"]["selection"] == chosen
    problems = {problem["code"]: problem for problem in count(classes="Dgo")["problems"]}
    assert set(problems) == {"selection.unknown", "selection.empty"}
    assert problems["selection.unknown"]["suggestion"] == "Dog"
    status, body = refused(caller, f"/api/tasks/{task}/export", dry_run="true", clases="Dog")
    assert (status, body["code"]) == (400, "option.unknown")
    assert refused(caller, f"/api/tasks/{task}/export", dry_run="true", min_confidence="7")[0] == 400


def test_a_finished_export_tells_its_size(caller: Caller, task: int) -> None:
    request = caller.call("POST", f"/api/tasks/{task}/dataset/export?format=Open+Images+V6+1.0")
    found = caller.wait(request["rq_id"])
    assert found["result_size"] > 500
    assert found["expiry_date"]


def test_every_picture_has_a_small_one(caller: Caller, task: int) -> None:
    seen = set()
    for frame in range(4):
        with urllib.request.urlopen(f"{caller.url}/api/tasks/{task}/pictures/{frame}/preview", timeout=60) as answer:
            assert answer.headers["Content-Type"] == "image/jpeg"
            etag, data = answer.headers["ETag"], answer.read()
        assert data[:2] == b"\xff\xd8"
        seen.add(data)
        again = urllib.request.Request(
            f"{caller.url}/api/tasks/{task}/pictures/{frame}/preview", headers={"If-None-Match": etag}
        )
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(again, timeout=60)
    assert len(seen) == 4
    assert refused(caller, f"/api/tasks/{task}/pictures/4/preview")[0] == 404
