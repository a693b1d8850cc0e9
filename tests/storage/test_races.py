"""Two at once: what the second one sees of the first, who holds the database meanwhile.

On PostgreSQL the second has looked around before it waits, on SQLite it has not begun; both must end alike.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.annotations import Annotations
from app.api import ApiSettings, Services, build_app
from app.api.receiving import forget
from app.errors import AppError, Conflict, InvalidInput, NotAuthenticated, NotFound
from app.formats import FORMATS, relabel_extras
from app.requests import open_queue
from app.storage import (
    Connection,
    LabelDraft,
    Request,
    RequestDraft,
    Result,
    Storage,
    Task,
    TaskData,
    User,
    annotations,
    frames,
    housekeeping,
    issues,
    jobs,
    labels,
    projects,
    requests,
    tasks,
    tokens,
    unfinished,
    uploads,
    users,
)
from app.storage.schema import BLOCKS, annotation_sets, facts, login_failures, now
from app.storage.schema import labels as label_rows
from app.storage.schema import requests as request_rows
from tests.storage.stores import frame_columns, make_task, shapes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

Change = Callable[[Connection], Any]


def both(storage: Storage, first: Change, second: Change) -> Any:
    """`second` begins when `first` is done but not committed, and waits for it. What comes of the second: its answer
    or its refusal."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            with storage.database.write() as conn:
                outcome.append(second(conn))
        except AppError as error:
            outcome.append(error)

    other = threading.Thread(target=run)
    with storage.database.write() as conn:
        first(conn)
        other.start()
        until = time.monotonic() + 2
        while other.is_alive() and time.monotonic() < until and not _is_waiting(storage):
            time.sleep(0.01)
    other.join(60)
    assert outcome, "the second failed otherwise"
    return outcome[0]


def _is_waiting(storage: Storage) -> bool:
    if storage.database.is_sqlite:
        time.sleep(0.05)
        return True
    with storage.database.read() as conn:
        of_us = "datname = current_database() AND wait_event_type = 'Lock'"
        return bool(conn.execute(sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {of_us}")).scalar())


def make_project(storage: Storage, owner: User, *names: str) -> int:
    with storage.database.write() as conn:
        return projects.create(conn, owner, "p", [LabelDraft(name) for name in names]).id


def task_of(storage: Storage, owner: User, project_id: int | None, *names: str, size: int = 4) -> Task:
    with storage.database.write() as conn:
        task = tasks.create(conn, owner, "t", [LabelDraft(name) for name in names], project_id=project_id)
        data = TaskData(jobs=((0, size),), segment_size=size)
        return tasks.attach_data(conn, task.id, data, frame_columns(size))


def label_ids(storage: Storage, task_id: int) -> dict[str, int]:
    with storage.database.read() as conn:
        return {label.name: label.id for label in labels.of_task(conn, task_id).labels}


def draw(storage: Storage, task_id: int, *used: int) -> None:
    with storage.database.write() as conn:
        ids = np.array(used, dtype=np.int32)
        annotations.append(conn, task_id, Annotations(shapes=shapes([1] * len(used), label_ids=ids)))


def used_labels(storage: Storage, task_id: int) -> set[int]:
    with storage.database.read() as conn:
        return set(annotations.load(conn, task_id).shapes.label_ids.tolist())


def ask(storage: Storage, owner: User, kind: str, target: str, **of: Any) -> Request:
    with storage.database.write() as conn:
        return requests.create(conn, owner, RequestDraft(kind, target, **of))[0]


# ---- labels and moves


def test_a_label_goes_while_a_task_moves_to_it(storage: Storage, ann: User) -> None:
    project_id = make_project(storage, ann, "cat", "dog")
    task = task_of(storage, ann, None, "cat", "dog")
    draw(storage, task.id, *label_ids(storage, task.id).values())
    with storage.database.read() as conn:
        dog = labels.of_project(conn, project_id).by_name["dog"].id

    def move(conn: Connection) -> None:
        tasks.change(conn, ann, task.id, project_id=project_id, relabel_extras=relabel_extras)

    assert both(storage, move, lambda conn: labels.delete(conn, ann, dog)) is None
    found = label_ids(storage, task.id)
    assert set(found) == {"cat"}
    assert used_labels(storage, task.id) == set(found.values())


def test_a_task_moves_to_a_label_that_goes(storage: Storage, ann: User) -> None:
    project_id = make_project(storage, ann, "cat", "dog")
    task = task_of(storage, ann, None, "cat", "dog")
    draw(storage, task.id, *label_ids(storage, task.id).values())
    with storage.database.read() as conn:
        dog = labels.of_project(conn, project_id).by_name["dog"].id

    def move(conn: Connection) -> None:
        tasks.change(conn, ann, task.id, project_id=project_id, relabel_extras=relabel_extras)

    refused = both(storage, lambda conn: labels.delete(conn, ann, dog), move)
    assert isinstance(refused, InvalidInput)
    assert '"dog"' in refused.detail
    assert used_labels(storage, task.id) == set(label_ids(storage, task.id).values())


def test_labels_for_a_task_that_went_into_a_project(storage: Storage, ann: User) -> None:
    project_id, task = make_project(storage, ann, "cat"), task_of(storage, ann, None, "cat")
    both(
        storage,
        lambda conn: tasks.change(conn, ann, task.id, project_id=project_id),
        lambda conn: tasks.change(conn, ann, task.id, labels=[LabelDraft("new")]),
    )
    with storage.database.read() as conn:
        assert conn.execute(sa.select(label_rows).where(label_rows.c.task_id == task.id)).all() == []


def test_labels_of_a_project_while_one_of_its_tasks_goes(storage: Storage, ann: User) -> None:
    project_id = make_project(storage, ann, "cat")
    task, other = task_of(storage, ann, project_id), task_of(storage, ann, project_id)
    found = both(
        storage,
        lambda conn: tasks.delete(conn, ann, task.id),
        lambda conn: projects.change(conn, ann, project_id, labels=[LabelDraft("dog")]),
    )
    assert found.n_tasks == 1
    assert set(label_ids(storage, other.id)) == {"cat", "dog"}


def test_a_project_and_its_task_change_at_once(storage: Storage, ann: User) -> None:
    """Neither waits for the other in a circle: the task is locked first by both."""
    project_id = make_project(storage, ann, "cat")
    task = task_of(storage, ann, project_id)
    outcome: list[Any] = []

    def change_project() -> None:
        for number in range(15):
            with storage.database.write() as conn:
                projects.change(conn, ann, project_id, name=f"p{number}", labels=[LabelDraft(f"l{number}")])

    def change_task() -> None:
        for number in range(60):
            with storage.database.write() as conn:
                tasks.change(conn, ann, task.id, name=f"t{number}")

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except AppError as error:
            outcome.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (change_project, change_task, change_task)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcome == []


def test_what_a_dataset_gives_labels_to_counts_as_changed(storage: Storage, ann: User) -> None:
    project_id = make_project(storage, ann)
    task = task_of(storage, ann, project_id)
    before = ask(storage, ann, "export:dataset", "task", task_id=task.id)
    maker = ask(storage, ann, "import:dataset", "project", project_id=project_id)
    with storage.database.write() as conn:
        hidden = tasks.create(conn, ann, "new", [LabelDraft("cat")])
        unfinished.hide(conn, maker, task_id=hidden.id)
        unfinished.give_to_project(conn, maker, project_id, hidden.id)
        unfinished.reveal(conn, maker)
    assert set(label_ids(storage, task.id)) == {"cat"}
    assert ask(storage, ann, "export:dataset", "task", task_id=task.id).id != before.id


# ---- removal


def test_annotations_that_come_while_their_task_goes(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    new = Annotations(shapes=shapes([1]))
    both(
        storage,
        lambda conn: annotations.append(conn, task.id, new),
        lambda conn: tasks.delete(conn, ann, task.id),
    )
    with storage.database.read() as conn:
        assert set(conn.execute(sa.select(annotation_sets.c.state)).scalars()) <= {"dropped"}


def test_work_that_is_asked_for_while_its_task_goes(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    draft = RequestDraft("export:dataset", "task", task_id=task.id)
    asked: list[Request] = []
    refused = both(
        storage,
        lambda conn: asked.append(requests.create(conn, ann, draft)[0]),
        lambda conn: tasks.delete(conn, ann, task.id),
    )
    assert isinstance(refused, Conflict)
    with storage.database.read() as conn:
        assert requests.get(conn, ann, asked[0].id).status == "queued"


@pytest.mark.parametrize("is_new", [True, False])
def test_a_task_that_comes_while_its_project_goes(storage: Storage, ann: User, is_new: bool) -> None:
    project_id = make_project(storage, ann, "cat")
    task = make_task(storage, 4)

    def come(conn: Connection) -> Any:
        if is_new:
            return tasks.create(conn, ann, "t", project_id=project_id)
        annotations.append(conn, task.id, Annotations(shapes=shapes([1])))
        annotations.clear(conn, task.id)
        return tasks.change(conn, ann, task.id, project_id=project_id)

    def go(conn: Connection) -> None:
        projects.delete(conn, ann, project_id)

    refused = both(storage, go, come)
    assert isinstance(refused, InvalidInput | Conflict | NotFound)
    project_id = make_project(storage, ann, "cat")
    assert both(storage, come, go) is None
    with storage.database.read() as conn:
        assert set(conn.execute(sa.select(annotation_sets.c.state)).scalars()) <= {"dropped"}
        with pytest.raises(NotFound):
            projects.get(conn, ann, project_id)


def test_a_project_stays_while_work_runs_on_its_tasks(storage: Storage, ann: User) -> None:
    project_id = make_project(storage, ann, "cat")
    task = task_of(storage, ann, project_id)
    asked = ask(storage, ann, "import:annotations", "task", task_id=task.id)
    with pytest.raises(Conflict, match=f"task {task.id} "), storage.database.write() as conn:
        projects.delete(conn, ann, project_id)
    with storage.database.write() as conn:
        requests.cancel(conn, ann, asked.id)
        projects.delete(conn, ann, project_id)


def test_an_issue_of_a_job_that_goes(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    with storage.database.read() as conn:
        job = jobs.of_task(conn, task.id)[0]
    refused = both(
        storage,
        lambda conn: tasks.delete(conn, ann, task.id),
        lambda conn: issues.create(conn, ann, job.id, 1, [1.0, 2.0], "what is this?"),
    )
    assert isinstance(refused, InvalidInput | Conflict)


# ---- sets


def test_a_set_that_was_taken_for_dead_is_not_shown(storage: Storage) -> None:
    task = make_task(storage, 4)
    with annotations.begin_set(storage, task.id) as writer:
        writer.write(Annotations(shapes=shapes([1])))
        writer.close()
        with annotations.begin_set(storage, task.id) as merged:
            merged.close()
            with storage.database.write() as conn:
                conn.execute(annotation_sets.update().values(touched_date=now() - timedelta(hours=3)))
            housekeeping.sweep(storage)
            for chosen in ({"staged_id": writer.set_id}, {"staged_id": merged.set_id}):
                arriving = np.array([1], dtype=np.int32)
                with pytest.raises(Conflict, match="are gone"), storage.database.write() as conn:
                    annotations.publish_merged(
                        conn,
                        task.id,
                        **chosen,
                        merged_id=merged.set_id,
                        leaving=annotations.Leaving(),
                        arriving=arriving,
                        documents={},
                        is_needed=True,
                    )
    with storage.database.read() as conn:
        assert "visible" not in set(conn.execute(sa.select(annotation_sets.c.state)).scalars())


def test_nothing_stays_of_an_import_whose_task_went(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    with suppress(AppError), annotations.begin_set(storage, task.id, ids="given") as writer:
        writer.write(Annotations(shapes=shapes([1], ids=np.array([5]))))
        writer.flush()
        with storage.database.write() as conn:
            tasks.delete(conn, ann, task.id)
        housekeeping.collect(storage)
        writer.write(Annotations(shapes=shapes([2], ids=np.array([6]))))
        writer.flush()
    with storage.database.read() as conn:
        for table in BLOCKS.values():
            assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0


def test_a_set_of_an_undone_transaction_leaves_others_alone(storage: Storage) -> None:
    """SQLite gives its number to the next one."""
    task = make_task(storage, 4)
    with suppress(RuntimeError), storage.database.write() as conn:
        undone = annotations.begin_set(storage, task.id, conn=conn)
        raise RuntimeError
    with annotations.begin_set(storage, task.id) as writer:
        undone.discard()
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)


# ---- clocks


def test_a_clock_that_was_set_back_stops_nothing(storage: Storage, ann: User) -> None:
    future = now() + timedelta(days=900)
    task = make_task(storage, 4)
    asked = ask(storage, ann, "export:dataset", "task", task_id=task.id)
    with storage.database.write() as conn:
        assert requests.claim(conn, asked.id, lease_seconds=60) is not None
        conn.execute(request_rows.update().values(lease_until=future))
        assert requests.has_lost(conn)
        assert requests.requeue_lost(conn, ttl_seconds=60) == (asked.id,)
        assert not requests.has_lost(conn)
        conn.execute(request_rows.update().values(queued_date=future))
        assert requests.requeue_lost(conn, ttl_seconds=60) == (asked.id,)
    assert housekeeping.take_turn(storage, 60)
    assert not housekeeping.take_turn(storage, 60)
    with storage.database.write() as conn:
        conn.execute(facts.update().where(facts.c.name == housekeeping.TURN).values(value=future.isoformat()))
    assert housekeeping.take_turn(storage, 60)


def test_failures_of_the_future_lock_nobody_out(storage: Storage) -> None:
    with storage.database.write() as conn:
        users.create(conn, "eve", "a password")
    for _ in range(2):
        with suppress(AppError):
            users.authenticate(storage.database, "eve", "wrong", "::1", max_failures_per_minute=2)
    with storage.database.write() as conn:
        conn.execute(login_failures.update().values(moment=now() + timedelta(days=900)))
    assert users.authenticate(storage.database, "eve", "a password", "::1", max_failures_per_minute=2).username == "eve"


# ---- accounts


def test_the_local_admin_is_made_by_two(storage: Storage) -> None:
    def make(conn: Connection) -> User:
        return users.ensure_local_admin(conn, "local")

    made: list[User] = []
    assert both(storage, lambda conn: made.append(make(conn)), make) == made[0]


def test_a_password_that_is_changed_while_the_old_one_is_checked(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.database.write() as conn:
        eve = users.create(conn, "eve", "old")

    hasher = users._hasher

    class Slow:
        check_needs_rehash = staticmethod(lambda known: True)
        hash = staticmethod(hasher.hash)

        def verify(self, known: str, password: str) -> bool:
            found = hasher.verify(known, password)
            with storage.database.write() as conn:
                users.set_password(conn, eve.id, "new")
            return found

    with monkeypatch.context() as patch:
        patch.setattr(users, "_hasher", Slow())
        with pytest.raises(NotAuthenticated):
            users.authenticate(storage.database, "eve", "old", "::1")
    assert users.authenticate(storage.database, "eve", "new", "::1").id == eve.id


# ---- reading


@pytest.mark.parametrize("read", [frames.load, frames.load_places])
def test_frames_of_a_task_that_goes_while_they_are_read(
    storage: Storage, ann: User, monkeypatch: pytest.MonkeyPatch, read: Callable[..., Any]
) -> None:
    """Without a snapshot the task may be there, and its frames not any more."""
    task = make_task(storage, 4)
    real = frames._pieces

    def pieces(*given: Any) -> Any:
        with storage.database.write() as other:
            tasks.delete(other, ann, task.id)
        yield from real(*given)

    monkeypatch.setattr(frames, "_pieces", pieces)
    with storage.database.read() as conn:
        if storage.database.is_sqlite:
            assert len(read(conn, task.id)) == 4
            return
        with pytest.raises(NotFound):
            read(conn, task.id)


# ---- through the API


CAR = [{"name": "car"}]
SHAPE = {"type": "rectangle", "frame": 0, "points": [1.0, 1.0, 3.0, 3.0]}


@pytest.fixture
def service(storage: Storage, tmp_path: Path) -> Iterator[Services]:
    queue = open_queue("", tmp_path / "queue")
    yield Services(ApiSettings(allowed_hosts=("localhost",)), storage, queue, "0", FORMATS)
    queue.close()


def caller(service: Services, user: User) -> TestClient:
    app = build_app(replace(service, settings=replace(service.settings, auth_mode="users")))
    with service.storage.database.write() as conn:
        _, secret = tokens.create(conn, user.id)
    return TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {secret}"})


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_label_goes_while_annotations_are_saved(storage: Storage, service: Services, ann: User, method: str) -> None:
    task = task_of(storage, ann, None, "cat", "dog")
    dog = label_ids(storage, task.id)["dog"]
    client = caller(service, ann)
    body = {"shapes": [{**SHAPE, "label_id": dog}], "tags": [], "tracks": []}
    query = {"action": "create"} if method == "PATCH" else {}
    answers: list[Any] = []

    def save() -> None:
        answers.append(client.request(method, f"/api/tasks/{task.id}/annotations", json=body, params=query))

    saving = threading.Thread(target=save)
    with storage.database.write() as conn:
        labels.delete(conn, ann, dog)
        saving.start()
        until = time.monotonic() + 2
        while saving.is_alive() and time.monotonic() < until and not _is_waiting(storage):
            time.sleep(0.01)
    saving.join(60)
    assert answers[0].status_code in (400, 409), answers[0].text
    assert used_labels(storage, task.id) == set()


@pytest.mark.parametrize("door", ["import", "annotations"])
def test_who_has_but_a_job_makes_no_labels(
    storage: Storage, service: Services, ann: User, bob: User, door: str
) -> None:
    task = task_of(storage, ann, None, "cat")
    with storage.database.write() as conn:
        job = jobs.change(conn, ann, jobs.of_task(conn, task.id)[0].id, assignee_id=bob.id)
    query = {"labels": "create", "format": "Open Images V6 1.0"}
    files = {"file" if door == "import" else "annotation_file": ("a.zip", b"PK")}
    path = f"/api/jobs/{job.id}/{door}"
    answer = caller(service, bob).post(path, files=files, params=query)
    assert answer.status_code == 403, answer.text
    with storage.database.read() as conn:
        assert uploads.waiting(conn, bob, kind="annotations", target="job", target_id=job.id) == ()
    wait = {"wait": "0"} if door == "import" else {}
    answer = caller(service, ann).post(path, files=files, params={**query, **wait})
    assert answer.status_code == 202, answer.text


def test_an_export_whose_file_is_gone_is_made_again(storage: Storage, service: Services, ann: User) -> None:
    task = task_of(storage, ann, None, "cat")
    client = caller(service, ann)
    path, query = f"/api/tasks/{task.id}/dataset", {"format": "Open Images V6 1.0"}
    first = client.post(f"{path}/export", params=query).json()["rq_id"]
    with storage.database.write() as conn:
        claimed = requests.claim(conn, first, lease_seconds=60)
        assert claimed is not None
        requests.finish(conn, first, claimed.attempt, result=Result("results/gone", 3, "a.zip"), ttl_seconds=60)
    assert client.post(f"{path}/export", params=query).json()["rq_id"] == first
    if storage.database.is_sqlite:  # a bucket gives its files itself
        assert client.get(f"{path}/download", params={"rq_id": first}).status_code == 404
        assert client.post(f"{path}/export", params=query).json()["rq_id"] != first


def test_an_upload_that_work_has_is_not_given_up(storage: Storage, service: Services, ann: User) -> None:
    """The answer to the commit may be lost, where the commit was not."""
    task = task_of(storage, ann, None, "cat")
    where = {"kind": "annotations", "target": "task", "target_id": task.id}
    writer = uploads.open_body(storage, ann, filename="a.zip", max_bytes=9, **where)
    writer.write(b"abc")
    upload = writer.finish()
    asked = ask(storage, ann, "import:annotations", "task", task_id=task.id, upload_ids=(upload.id,))
    forget(service, upload)
    with storage.database.read() as conn:
        assert requests.get(conn, ann, asked.id).upload_ids == (upload.id,)
    with closing(uploads.open_source(storage, upload)) as source:
        assert source.read_at(0, 3) == b"abc"
