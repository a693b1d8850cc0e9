"""`labels=create` through the running service: labels come with the import, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.errors import Conflict
from app.operations import Limits, import_annotations
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.storage import LabelDraft, labels, requests, unfinished
from app.storage import annotations as stored
from app.storage.schema import labels as label_rows
from app.storage.schema import requests as request_rows
from tests.caller import Caller
from tests.desk import Desk
from tests.operations.desk import Desk as StoredDesk
from tests.operations.desk import open_desk_store
from tests.operations.test_known_before import HEADER, archive
from tests.samples import picture
from tests.service import Service

BOXES = "annotations/train-annotations-bbox.csv"
TABLES = {
    BOXES: f"{HEADER}\na,xclick,/m/01yrx,1,0.25,0.5,0.25,0.5,0,1,0,0,0\na,x,/m/0bt9lr,1,0,1,0,1,0,0,0,0,0\n",
    "annotations/train-annotations-human-imagelabels.csv": "ImageID,Source,LabelName,Confidence\na,v,/m/tree,0\n",
    "annotations/class-descriptions.csv": "/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/tree,Tree\n/m/no,Unused\n",
}
ZIP = archive(**TABLES)
BROKEN = archive(**{**TABLES, BOXES: TABLES[BOXES] + "a,x,/m/0bt9lr,1,zero,1,0,1,0,0,0,0,0\n"})


def task_of(caller: Caller, **fields: Any) -> int:
    return caller.task("made", [{"name": "Cat", "color": "#3cb44b"}], {"a.png": picture(80, 60)}, **fields)


def bring(caller: Caller, path: str, body: bytes = ZIP, **query: Any) -> Any:
    return caller.json("POST", f"{path}/import", params={"wait": 150, "labels": "create", **query}, content=body)


def names(caller: Caller, **of: int) -> list[str]:
    found = caller.json("GET", "/api/labels", params={**of, "page_size": 500})["results"]
    return sorted(label["name"] for label in found)


@pytest.mark.parametrize("mode", ["replace", "append", "merge"])
def test_missing_labels_are_made_with_the_import(service: Service, mode: str) -> None:
    with Caller(service) as caller:
        task = task_of(caller)
        told = bring(caller, f"/api/tasks/{task}", dry_run=True, mode=mode)
        assert names(caller, task_id=task) == ["Cat"]
        done = bring(caller, f"/api/tasks/{task}", mode=mode)
        same = ("problems", "counts", "tables", "annotations", "created_labels", "changes")
        assert {name: told[name] for name in same} == {name: done[name] for name in same}
        assert [(made["name"], made["words"]) for made in done["created_labels"]] == [
            ("Dog", ["/m/0bt9lr"]),
            ("Tree", ["/m/tree"]),
        ]
        made = {label["name"]: label for label in caller.labels(task)}
        assert sorted(made) == ["Cat", "Dog", "Tree"]
        assert len({label["color"] for label in made.values()}) == 3
        dog = {spec["name"]: spec["input_type"] for spec in made["Dog"]["attributes"]}
        assert dog == {
            **dict.fromkeys(("truncated", "is_group_of", "is_depiction", "is_inside"), "checkbox"),
            **dict.fromkeys(("score", "source"), "text"),
        }
        shown = caller.annotations(task)
        assert len(shown["shapes"]) == 2
        assert [tag["label_id"] for tag in shown["tags"]] == [made["Tree"]["id"]], "its score says that it is absent"
        again = bring(caller, f"/api/tasks/{task}")
        assert again["created_labels"] == []
        everything = caller.json("GET", "/api/tasks", params={"page_size": 500})["results"]
        assert all(one["name"] != "labels of an import" for one in everything)


def test_jobs_and_tasks_of_projects_get_the_labels_where_they_belong(service: Service) -> None:
    with Caller(service) as caller:
        task = task_of(caller)
        (job,) = caller.json("GET", "/api/jobs", params={"task_id": task})["results"]
        bring(caller, f"/api/jobs/{job['id']}")
        assert names(caller, task_id=task) == ["Cat", "Dog", "Tree"]
        project = caller.json("POST", "/api/projects", json={"name": "p", "labels": [{"name": "Cat"}]})["id"]
        first, second = task_of(caller, project_id=project), task_of(caller, project_id=project)
        before = caller.json("GET", f"/api/tasks/{second}")["updated_date"]
        bring(caller, f"/api/tasks/{first}")
        assert names(caller, project_id=project) == names(caller, task_id=second) == ["Cat", "Dog", "Tree"]
        assert caller.json("GET", f"/api/tasks/{second}")["updated_date"] > before


def test_cvats_door_takes_it_too(service: Service) -> None:
    with Caller(service) as caller:
        task = task_of(caller)
        query = {"format": "Open Images V6 1.0", "labels": "create", "map": "label:Tree=Cat"}
        form = {"annotation_file": ("a.zip", ZIP, "application/zip")}
        started = caller.json("POST", f"/api/tasks/{task}/annotations", params=query, files=form)
        caller.wait(started["rq_id"])
        assert names(caller, task_id=task) == ["Cat", "Dog"]


def test_a_refused_archive_makes_no_label(service: Service) -> None:
    with Caller(service) as caller:
        task = task_of(caller)
        answer = caller.http.post(f"/api/tasks/{task}/import", params={"wait": 150, "labels": "create"}, content=BROKEN)
        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert [problem["code"] for problem in answer.json()["problems"]] == ["value.not_number"]
        assert names(caller, task_id=task) == ["Cat"]


TWO = archive(
    **{
        BOXES: f"{HEADER}\na,x,/m/01yrx,1,0,0.5,0,0.5,0,0,0,0,0\na,x,/m/0bt9lr,0.2,0,0.5,0,0.5,0,1,0,0,0\n"
        "b,x,/m/bird,1,0,1,0,1,0,0,0,0,0\n",
        "annotations/train-annotations-human-imagelabels.csv": "ImageID,Source,LabelName,Confidence\n"
        f"a,v,/m/tree,1\nb,v,/m/0bt9lr,0\nb,v,{'/m/long' * 20},1\n",
        "annotations/class-descriptions.csv": "/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/tree,Tree\n/m/bird,Bird\n",
    }
)


@pytest.mark.parametrize(
    ("query", "made"),
    [
        pytest.param({"image_ids": "a"}, ["Dog", "Tree"], id="of listed images"),
        pytest.param({"image_ids": "a", "label_types": "detections"}, ["Dog"], id="of boxes of a listed image"),
        pytest.param({"image_ids": "a", "label_types": "classifications"}, ["Tree"], id="of tags of a listed image"),
        pytest.param({"label_types": "detections"}, ["Bird", "Dog"], id="of boxes"),
        pytest.param({"label_types": "detections", "min_confidence": "0.5"}, ["Bird"], id="of what is sure enough"),
        pytest.param({"max_images": "1"}, ["Dog", "Tree"], id="of the first image"),
        pytest.param({"classes": "Cat"}, ["Dog", "Tree"], id="of images with a class"),
        pytest.param({"classes": "Cat,Bird", "only_matching": "true"}, ["Bird"], id="of classes"),
        pytest.param({"attributes": "truncated", "image_ids": "a"}, ["Dog", "Tree"], id="of images with an attribute"),
        pytest.param({"image_ids": "a", "labels": "match", "classes": "Cat", "only_matching": "true"}, [], id="none"),
    ],
)
def test_labels_are_made_for_selected_rows_alone(service: Service, query: dict[str, str], made: list[str]) -> None:
    with Caller(service) as caller:
        pictures = {"a.png": picture(80, 60), "b.png": picture(80, 60, 1)}
        task = caller.task("made", [{"name": "Cat"}], pictures)
        told = bring(caller, f"/api/tasks/{task}", TWO, dry_run=True, **query)
        done = bring(caller, f"/api/tasks/{task}", TWO, **query)
        assert names(caller, task_id=task) == sorted(["Cat", *made])
        assert [label["name"] for label in done.get("created_labels", ())] == [
            label["name"] for label in told.get("created_labels", ())
        ]
        shown = caller.annotations(task)
        by_id = {label["id"]: label["name"] for label in caller.labels(task)}
        used = {by_id[item["label_id"]] for item in [*shown["shapes"], *shown["tags"]]}
        assert used >= set(made) - {"Cat"}, "each new label has something to show"
        assert set(done["counts"]) <= {"label.passed_over", "label.undeclared"}


def test_rows_that_are_not_selected_need_no_label(service: Service) -> None:
    with Caller(service) as caller:
        pictures = {"a.png": picture(80, 60), "b.png": picture(80, 60, 1)}
        task = caller.task("some", [{"name": "Cat"}, {"name": "Dog"}, {"name": "Bird"}], pictures)
        for query in ({"label_types": "detections"}, {"image_ids": "b", "label_types": "detections"}):
            report = bring(caller, f"/api/tasks/{task}", TWO, labels="match", **query)
            passed = [problem["value"] for problem in report["problems"] if problem["code"] == "label.passed_over"]
            assert passed[0] == "/m/tree", "told, once a name"
            assert len(passed) == report["counts"]["label.passed_over"] == 2
        for query in ({"image_ids": "a"}, {"annotated_only": "true", "image_ids": "b"}):
            asked = {"wait": 150, **query}
            answer = caller.http.post(f"/api/tasks/{task}/import", params=asked, content=TWO)
            assert answer.status_code == httpx.codes.BAD_REQUEST, "a row that is selected needs one"
            codes = {problem["code"] for problem in answer.json()["problems"] if problem["severity"] == "error"}
            assert codes == {"label.unknown"}


def test_only_the_wanted_classes_are_made(service: Service) -> None:
    with Caller(service) as caller:
        task = task_of(caller)
        query = {"classes": "Dog", "only_matching": "true"}
        report = bring(caller, f"/api/tasks/{task}", **query)
        assert names(caller, task_id=task) == ["Cat", "Dog"]
        assert report["counts"] == {"label.passed_over": 1}
        assert report["annotations"]["shapes"] == 1
        query = {"wait": "150", "classes": "Cat", "only_matching": "true"}
        without = caller.json("POST", f"/api/tasks/{task}/import", params=query, content=ZIP)
        assert without["annotations"]["shapes"] == 1, "other classes need no label"


def test_datasets_of_projects_make_them_beside_those_there_are(service: Service) -> None:
    whole = archive(**TABLES, **{"images/train/a.png": picture(80, 60)})
    with Caller(service) as caller:
        project = caller.json("POST", "/api/projects", json={"name": "p", "labels": [{"name": "Cat"}]})["id"]

        def send(**query: str) -> Any:
            form = {"dataset_file": ("d.zip", whole, "application/zip")}
            params = {"format": "Open Images V6 1.0", "labels": "create", **query}
            started = caller.json("POST", f"/api/projects/{project}/dataset", params=params, files=form)
            return caller.wait(started["rq_id"])

        send(dry_run="true")
        assert names(caller, project_id=project) == ["Cat"]
        send()
        assert names(caller, project_id=project) == ["Cat", "Dog", "Tree"]
        (task,) = caller.json("GET", "/api/tasks", params={"project_id": project})["results"]
        assert len(caller.annotations(task["id"])["shapes"]) == 2


# --- what happens in the middle ---


class Killed(BaseException):
    """A worker that dies gets nothing more done."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as one:
        yield one


def start(desk: Desk) -> tuple[int, str]:
    """A task with an import that waits."""
    task = desk.task({"a.png": (80, 60)}, [{"name": "Cat"}])
    query = {"wait": "0", "labels": "create"}
    told = desk.call("POST", f"{task.path}/import", 202, files=[("file", ("a.zip", ZIP))], params=query)
    return task.number, told["rq_id"]


def attempt(desk: Desk, request_id: str) -> None:
    with desk.storage.database.write() as conn:
        claimed = requests.claim(conn, request_id, lease_seconds=-1)
    assert claimed is not None
    import_annotations(
        Context(claimed, desk.storage, WorkerLimits(lease_seconds=-1), threading.Event()), limits=Limits()
    )


def labels_in(desk: Desk) -> list[tuple[int | None, str]]:
    with desk.storage.database.read() as conn:
        return [tuple(row) for row in conn.execute(sa.select(label_rows.c.task_id, label_rows.c.name))]


def die(*_: object, **__: object) -> None:
    raise Killed


def test_a_killed_worker_leaves_no_label_and_the_next_attempt_makes_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, request_id = start(desk)
    with monkeypatch.context() as patched:
        patched.setattr(stored, "publish", die)
        patched.setattr(unfinished, "clear", die)
        with pytest.raises(Killed):
            attempt(desk, request_id)
    # The killed attempt's labels are there, of a task that nobody sees.
    assert len(labels_in(desk)) == 3
    assert [name for owner, name in labels_in(desk) if owner == task] == ["Cat"]
    assert desk.call("GET", "/api/tasks")["count"] == 1
    attempt(desk, request_id)
    assert sorted(labels_in(desk), key=str) == [(task, name) for name in ("Cat", "Dog", "Tree")]
    assert desk.call("GET", "/api/tasks")["count"] == 1


def test_an_attempt_that_nobody_follows_is_swept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task, request_id = start(desk)
    with monkeypatch.context() as patched:
        patched.setattr(stored, "publish", die)
        patched.setattr(unfinished, "clear", die)
        with pytest.raises(Killed):
            attempt(desk, request_id)
    with desk.storage.database.write() as conn:
        conn.execute(request_rows.update().values(status="failed"))
        unfinished.clear_dead(conn)
    assert labels_in(desk) == [(task, "Cat")]


def test_a_label_made_meanwhile_is_a_conflict(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task, request_id = start(desk)
    publish = stored.publish

    def meanwhile(conn: Any, *args: Any, **more: Any) -> None:
        publish(conn, *args, **more)
        labels.apply(conn, [LabelDraft("Dog")], task_id=task)

    monkeypatch.setattr(stored, "publish", meanwhile)
    with pytest.raises(Conflict):
        attempt(desk, request_id)
    assert labels_in(desk) == [(task, "Cat")], "nothing of it is left"


def test_more_labels_than_a_task_can_have(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_LABELS", 2)
    task = desk.task({"a.png": (80, 60)}, [{"name": "Cat"}])
    for dry_run in ("true", "false"):
        status, report = task.send({"a.zip": ZIP}, labels="create", dry_run=dry_run)
        assert (status, [problem["code"] for problem in report["problems"]]) == ("failed", ["label.too_many"])
    assert labels_in(desk) == [(task.number, "Cat")]


def test_labels_that_were_made_are_read_while_others_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_desk_store(tmp_path / "store") as storage:
        task = StoredDesk(storage, names=("a.png",), sizes=((80, 60),))
        write, read = storage.database.__class__.write, labels._catalog
        depth, read_within = 0, []

        @contextmanager
        def counted(database: Any) -> Iterator[Any]:
            nonlocal depth
            with write(database) as conn:
                depth += 1
                try:
                    yield conn
                finally:
                    depth -= 1

        def looked_at(*given: Any) -> Any:
            found = read(*given)
            read_within.append(bool(depth and found.by_name.keys() & {"Cat", "Tree"}))
            return found

        monkeypatch.setattr(storage.database.__class__, "write", counted)
        monkeypatch.setattr(labels, "_catalog", looked_at)
        report = task.bring(ZIP, labels="create")
        assert report["n_errors"] == 0
        assert [made["name"] for made in report["created_labels"]]
        assert read_within
        assert not any(read_within)
