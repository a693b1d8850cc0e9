"""Two who change annotations at once: whoever names what was read (If-Match) undoes nothing that came since."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.storage.stores import ENGINES, place_of


@pytest.fixture(params=ENGINES)
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    with place_of(request.param, tmp_path) as place, Desk(tmp_path, place) as opened:
        yield opened


def paths_of(desk: Desk, task: TaskDesk) -> list[str]:
    job = desk.call("GET", "/api/jobs", params={"task_id": str(task.number)})["results"][0]["id"]
    return [f"{task.path}/annotations", f"/api/jobs/{job}/annotations"]


def box(label: int, x: float) -> dict[str, Any]:
    return {"frame": 0, "label_id": label, "type": "rectangle", "points": [x, 0, x + 1, 1]}


def test_nobody_undoes_what_came_since(desk: Desk) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        read = desk.client.get(path).headers["etag"]
        stored = desk.call("PUT", path, json={"shapes": [box(cat, 1)]}, headers={"If-Match": f'"x", {read}'})
        ids = {"shapes": [{**box(cat, 3), "id": stored["shapes"][0]["id"]}]}
        long = {"shapes": [box(cat, 1)] * 5000}
        for given in (read, '"x"', "", f"W/{desk.client.get(path).headers['etag']}"):
            headers = {"If-Match": given}
            for method, action, body in (
                ("PUT", "", {"shapes": []}),
                ("PUT", "", long),
                ("PATCH", "?action=create", {"shapes": [box(cat, 2)]}),
                ("PATCH", "?action=update", ids),
                ("PATCH", "?action=delete", ids),
                ("DELETE", "", None),
            ):
                told = desk.call(method, path + action, 412, headers=headers, **({"json": body} if body else {}))
                assert told["code"] == "request.outdated"
                assert "read its annotations again" in told["detail"]
        assert task.annotations()["shapes"] == stored["shapes"]
        now = desk.client.get(path).headers["etag"]
        desk.call("PATCH", f"{path}?action=update", json=ids, headers={"If-Match": now})
        desk.call("DELETE", path, 412, headers={"If-Match": now})
        desk.call("DELETE", path, 204, headers={"If-Match": desk.client.get(path).headers["etag"]})


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-Match": " * "}])
def test_whoever_names_nothing_changes_what_is_there(desk: Desk, headers: dict[str, str]) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        desk.call("PUT", path, json={"shapes": [box(cat, 1)]}, headers=headers)
        desk.call("PATCH", f"{path}?action=create", json={"shapes": [box(cat, 2)]}, headers=headers)
        assert len(task.annotations()["shapes"]) == 2
        desk.call("DELETE", path, 204, headers=headers)


ARCHIVE = zip_of(
    {
        "oidv6-class-descriptions.csv": "/m/01,cat\n",
        "train-annotations-bbox.csv": (
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\na,,/m/01,1,0.5,0.75,0,0.5\n"
        ),
    }
)


def import_calls(path: str) -> list[tuple[str, dict[str, Any]]]:
    """Each door of an import, asked to read, to replace and to merge."""
    own, theirs = path.removesuffix("annotations") + "import", f"{path}?format=Open%20Images%20V7%201.0"
    return [
        (f"{own}?wait=0", {"files": {"file": ("a.zip", ARCHIVE)}}),
        (f"{own}?wait=0&dry_run=true", {"content": ARCHIVE}),
        (f"{own}?wait=0&mode=merge", {"content": ARCHIVE}),
        (f"{own}?wait=0&mode=merge&dry_run=true", {"content": ARCHIVE}),
        (f"{own}?wait=0&mode=append&labels=create", {"content": ARCHIVE}),
        (theirs, {"files": {"annotation_file": ("a.zip", ARCHIVE)}}),
    ]


def asked(desk: Desk, path: str, call: str, body: dict[str, Any]) -> str:
    """An import that waits, meant for the annotations as they are now."""
    read = desk.client.get(path).headers["etag"]
    rq_id: str = desk.call("POST", call, 202, headers={"If-Match": read}, **body)["rq_id"]
    return rq_id


def test_an_archive_is_not_taken_where_somebody_changed_the_annotations(desk: Desk) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        read = desk.client.get(path).headers["etag"]
        stored = desk.call("PUT", path, json={"shapes": [box(cat, 1)]})
        for given in (read, '"x"', ""):
            for call, body in import_calls(path):
                told = desk.call("POST", call, 412, headers={"If-Match": given}, **body)
                assert told["code"] == "request.outdated"
                assert "nothing is imported; read them again" in told["detail"]
            for begun in ({"Upload-Start": ""}, {"Upload-Length": "10", "Tus-Resumable": "1.0.0"}):
                assert desk.call("POST", path, 412, headers={"If-Match": given, **begun})["code"] == "request.outdated"
        desk.work()
        assert task.annotations()["shapes"] == stored["shapes"]


def test_an_archive_that_waited_is_not_taken_where_the_annotations_were_changed_meanwhile(desk: Desk) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        for call, body in import_calls(path):
            rq_id = asked(desk, path, call, body)
            stored = desk.call("PUT", path, json={"shapes": [box(cat, 1)]})
            desk.work()
            told = desk.call("GET", f"/api/requests/{rq_id}")
            assert told["status"] == "failed"
            assert "nothing is imported; read them again" in told["message"]
            assert task.annotations()["shapes"] == stored["shapes"]


def test_an_archive_is_not_taken_where_the_annotations_are_changed_while_it_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    cat = task.labels()["cat"]["id"]
    for path in paths_of(desk, task):
        for call, body in import_calls(path):
            rq_id = asked(desk, path, call, body)
            stored: list[dict[str, Any]] = []

            def change(_: str) -> None:
                stored[:] = desk.call("PUT", path, json={"shapes": [box(cat, 1)]})["shapes"]  # noqa: B023

            with monkeypatch.context() as patched:
                patched.setattr(importlib.import_module("app.operations.import_annotations"), "reach", change)
                desk.work()
            told = desk.call("GET", f"/api/requests/{rq_id}")
            assert (told["status"], stored) == ("failed", task.annotations()["shapes"])
            assert "nothing is imported; read them again" in told["message"]


@pytest.mark.parametrize("given", ["as read", "*", None])
def test_an_archive_is_taken_where_the_annotations_are_as_they_were_read(desk: Desk, given: str | None) -> None:
    task = desk.task({"a.jpg": (8, 6)}, [{"name": "cat"}])
    for path in paths_of(desk, task):
        for call, body in import_calls(path):
            task.put(shapes=[])
            read = desk.client.get(path).headers["etag"]
            headers = {} if given is None else {"If-Match": read if given == "as read" else given}
            rq_id = desk.call("POST", call, 202, headers=headers, **body)["rq_id"]
            desk.work()
            assert desk.call("GET", f"/api/requests/{rq_id}")["status"] == "finished"
            n_shapes = 0 if "dry_run" in call else 1
            assert len(task.annotations()["shapes"]) == n_shapes
