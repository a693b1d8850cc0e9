"""A part of an archive into a task, through the running service: what stays is the same at every door."""

from __future__ import annotations

import pytest

from tests.caller import Caller
from tests.operations.test_known_before import HEADER, archive
from tests.samples import picture
from tests.service import Service

BOXES = f"""{HEADER}
a,xclick,/m/01yrx,1,0.25,0.5,0.25,0.5,0,0,0,0,0
a,xclick,/m/0bt9lr,1,0.25,0.75,0.25,0.5,0,0,0,0,0
b,xclick,/m/0bt9lr,1,0.25,0.75,0.25,0.5,0,0,0,0,0
"""
ZIP = archive(
    **{
        "annotations/train-annotations-bbox.csv": BOXES,
        "annotations/class-descriptions.csv": "/m/01yrx,Cat\n/m/0bt9lr,Dog\n",
    }
)


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_only_what_is_selected_is_imported(service: Service, dry_run: str) -> None:
    with Caller(service) as caller:
        pictures = {name: picture(80, 60) for name in ("a.png", "b.png")}
        task = caller.task("part", [{"name": "Cat"}, {"name": "Dog"}], pictures)
        query = {"wait": 150, "classes": "Cat", "only_matching": "true", "dry_run": dry_run}
        report = caller.json("POST", f"/api/tasks/{task}/import", params=query, content=ZIP)
        assert report["selection"]["images"] == {"before": 2, "after": 1}
        assert report["selection"]["detections"] == {"before": 3, "after": 1}
        assert report["annotations"]["shapes"] == 1
        shapes = caller.json("GET", f"/api/tasks/{task}/annotations")["shapes"]
    assert [shape["points"][2] for shape in shapes] == ([40.0] if dry_run == "false" else [])


@pytest.mark.parametrize("query", [{"classes": "Catt"}, {"image_ids": "zz"}])
def test_a_selection_of_nothing_is_refused_and_changes_nothing(service: Service, query: dict[str, str]) -> None:
    with Caller(service) as caller:
        task = caller.task(
            "part", [{"name": "Cat"}, {"name": "Dog"}], {"a.png": picture(80, 60), "b.png": picture(8, 6)}
        )
        caller.json("POST", f"/api/tasks/{task}/import", params={"wait": 150}, content=ZIP)
        before = caller.json("GET", f"/api/tasks/{task}/annotations")
        answer = caller.http.post(f"/api/tasks/{task}/import", params={"wait": "150", **query}, content=ZIP)
        assert answer.status_code == 400
        assert answer.json()["code"] == "selection.empty"
        assert caller.json("GET", f"/api/tasks/{task}/annotations") == before
        for door in ("export", "image_list.txt"):  # streams, which have no report to tell it in
            answer = caller.http.get(f"/api/tasks/{task}/{door}", params=query)
            assert (answer.status_code, answer.json()["code"]) == (400, "selection.empty"), answer.text
            assert next(iter(query.values())) in answer.json()["detail"]


def test_an_empty_table_says_what_it_takes_away(service: Service) -> None:
    with Caller(service) as caller:
        pictures = {name: picture(80, 60) for name in ("a.png", "b.png")}
        task = caller.task("emptied", [{"name": "Cat"}, {"name": "Dog"}], pictures)
        first = caller.json("POST", f"/api/tasks/{task}/import", params={"wait": 150}, content=ZIP)
        assert first["message"].startswith("imported 3 shapes, 2 images")
        empty = archive(**{"annotations/train-annotations-bbox.csv": HEADER + "\n"})
        for dry_run, said in (("true", "would remove"), ("false", "removed")):
            query = {"wait": 150, "dry_run": dry_run}
            report = caller.json("POST", f"/api/tasks/{task}/import", params=query, content=empty)
            assert report["message"] == f"nothing to import; {said} 3 shapes, 2 images"
        assert caller.json("GET", f"/api/tasks/{task}/annotations")["shapes"] == []
