"""Datasets into projects: all or nothing, also where the worker dies; kept bytes of sets that share them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import AppError, ImportProblems
from app.operations import Limits, import_dataset
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.storage import (
    AnnotationReader,
    Request,
    RequestDraft,
    Storage,
    User,
    annotations,
    frames,
    housekeeping,
    labels,
    open_storage,
    projects,
    requests,
    tasks,
    uploads,
    users,
)
from app.storage.rows import ListQuery
from app.storage.schema import annotation_sets, now
from app.storage.schema import requests as request_rows
from app.storage.schema import tasks as task_rows
from tests.samples import OpenImages, disk_with_hole, mask_png, picture
from tests.storage.stores import lay_database

FORMAT = "Open Images V6 1.0"
MASK = mask_png(disk_with_hole(40, 30, 12, 4))


class Killed(BaseException):
    """A worker that dies gets nothing more done."""


@pytest.fixture
def storage(tmp_path: Path) -> Any:
    lay_database(tmp_path / "data")
    opened = open_storage("", "", tmp_path / "data", min_free_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def ann(storage: Storage) -> User:
    with storage.database.write() as conn:
        return users.create(conn, "ann", None)


def dataset(**more: bytes) -> OpenImages:
    built = OpenImages(classes=[("cat", "cat")])
    built.images = [("a", "train"), ("c", "test")]
    built.box("a", "cat", ("0.125", "0.5", "0.25", "0.75"), subset="train")
    built.mask("a", "cat", "0000000a", MASK, subset="train")
    built.mask("c", "cat", "0000000c", MASK, subset="test")
    built.more = {"images/train/a.png": picture(80, 60, 1), "images/test/c.png": picture(40, 30, 3), "note.txt": b"n"}
    built.more |= more
    return built


def asked(storage: Storage, ann: User, path: Path, project_id: int, **options: Any) -> Request:
    writer = uploads.open_body(
        storage, ann, kind="dataset", target="project", target_id=project_id, filename="d.zip", max_bytes=1 << 30
    )
    writer.write(path.read_bytes())
    upload = writer.finish()
    draft = RequestDraft(
        "import:dataset", "project", project_id=project_id, format=FORMAT, options={"format": FORMAT, **options},
        upload_ids=(upload.id,),
    )  # fmt: skip
    with storage.database.write() as conn:
        request, _ = requests.create(conn, ann, draft)
    return request


def attempt(storage: Storage, request_id: str) -> None:
    with storage.database.write() as conn:
        claimed = requests.claim(conn, request_id, lease_seconds=-1)
    assert claimed is not None
    import_dataset(Context(claimed, storage, WorkerLimits(lease_seconds=-1), threading.Event()), limits=Limits())


def new_project(storage: Storage, ann: User) -> int:
    with storage.database.write() as conn:
        return projects.create(conn, ann, "p").id


def seen(storage: Storage, ann: User) -> list[str]:
    """Names of the tasks that the user, and that an administrator, sees."""
    with storage.database.write() as conn:
        root = users.find(conn, "root") or users.create(conn, "root", None, is_admin=True)
        of_ann, of_root = (tasks.list_page(conn, viewer, ListQuery()).items for viewer in (ann, root))
    assert [task.id for task in of_ann] == [task.id for task in of_root]
    return sorted(task.name for task in of_ann)


def count(storage: Storage, table: sa.Table) -> int:
    with storage.database.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_one_task_a_subset_with_pictures_and_annotations(storage: Storage, ann: User, tmp_path: Path) -> None:
    project_id = new_project(storage, ann)
    attempt(storage, asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id).id)
    assert seen(storage, ann) == ["test", "train"]
    with storage.database.snapshot() as conn:
        assert projects.load(conn, project_id).n_tasks == 2
        assert [label.name for label in labels.of_project(conn, project_id).labels] == ["cat"]
        for task_id, name in zip(projects.task_ids(conn, project_id), ("c.png", "a.png"), strict=True):
            assert frames.load(conn, task_id).name(0) == name
            reader = AnnotationReader(conn, storage, task_id)
            (shapes,) = reader.shapes()
            kept = shapes.take(shapes.kept.png_sizes > 0).kept
            place = int(kept.sets[0]), int(kept.png_offsets[0]), int(kept.png_sizes[0])
            assert reader.kept_bytes(*place) == MASK
            reader.close()


def test_a_project_without_labels_takes_those_of_the_class_file(storage: Storage, ann: User, tmp_path: Path) -> None:
    def made(chosen: OpenImages, **options: Any) -> list[str]:
        project_id = new_project(storage, ann)
        attempt(storage, asked(storage, ann, chosen.write(tmp_path / "d.zip"), project_id, **options).id)
        with storage.database.read() as conn:
            return [label.name for label in labels.of_project(conn, project_id).labels]

    named = dataset()
    named.classes = [("/m/b", "bird"), ("cat", "cat"), ("/m/0", "background"), ("/m/l", "n" * 300), ("/m/a", "ant")]
    assert made(named) == [
        "bird",
        "cat",
        "ant",
    ]  # what no label can be called is no reason to refuse where no row has it
    assert made(named, labels="create") == ["cat"]
    assert made(named, classes="cat") == ["cat"]


def test_more_classes_than_labels_can_be_are_those_of_rows(
    storage: Storage, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MAX_LABELS", 2)
    named = dataset()
    named.classes = [("/m/b", "bird"), ("cat", "cat"), ("/m/a", "ant")]
    project_id = new_project(storage, ann)
    attempt(storage, asked(storage, ann, named.write(tmp_path / "d.zip"), project_id).id)
    with storage.database.read() as conn:
        assert [label.name for label in labels.of_project(conn, project_id).labels] == ["cat"]


def test_kept_bytes_live_as_long_as_one_of_the_tasks(storage: Storage, ann: User, tmp_path: Path) -> None:
    project_id = new_project(storage, ann)
    attempt(storage, asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id).id)
    with storage.database.read() as conn:
        first, second = projects.task_ids(conn, project_id)
        (key,) = set(conn.execute(sa.select(annotation_sets.c.kept_key)).scalars())
    for task_id, is_left in ((first, True), (second, False)):
        with storage.database.write() as conn:
            tasks.delete(conn, ann, task_id)
        housekeeping.collect(storage)
        with storage.database.write() as conn:
            conn.execute(sa.text("UPDATE discarded_blobs SET not_before = 0"))
        housekeeping.collect(storage)
        assert (key in [found for found, _, _ in storage.blobs.list()]) is is_left


def test_a_refused_dataset_leaves_nothing(storage: Storage, ann: User, tmp_path: Path) -> None:
    project_id = new_project(storage, ann)
    bad = dataset()
    bad.box("nowhere", "cat", ("0", "1", "0", "1"), subset="train")
    with pytest.raises(ImportProblems, match="nowhere"):
        attempt(storage, asked(storage, ann, bad.write(tmp_path / "d.zip"), project_id).id)
    housekeeping.collect(storage)
    assert (count(storage, task_rows), count(storage, annotation_sets)) == (0, 0)
    with storage.database.read() as conn:
        assert labels.of_project(conn, project_id).labels == ()


def test_a_dry_run_tells_what_would_be_and_makes_nothing(storage: Storage, ann: User, tmp_path: Path) -> None:
    project_id = new_project(storage, ann)
    request = asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id, dry_run=True)
    attempt(storage, request.id)
    with storage.database.read() as conn:
        report = requests.load(conn, request.id).report
    assert report is not None
    assert report["tasks"] == {"test": 1, "train": 1}
    assert count(storage, task_rows) == 0


def killed_at(name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Dies at this step, and does not clean up, as a killed process does not."""
    module = __import__("app.operations.import_dataset", fromlist=["x"])

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    owner = annotations if name == "publish" else module
    real = getattr(owner, name)
    clear = module.unfinished.clear
    monkeypatch.setattr(owner, name, die)
    monkeypatch.setattr(module.unfinished, "clear", lambda *_: None)

    def revive() -> None:
        monkeypatch.setattr(owner, name, real)
        monkeypatch.setattr(module.unfinished, "clear", clear)

    return revive


@pytest.mark.parametrize("step", ["SplitWriter", "read_archive", "publish"])
def test_what_a_killed_worker_left_is_never_seen(
    storage: Storage, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    project_id = new_project(storage, ann)
    request = asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id)
    revive = killed_at(step, monkeypatch)
    with pytest.raises(Killed):
        attempt(storage, request.id)
    assert count(storage, task_rows) == 2, "the attempt had come that far"
    assert seen(storage, ann) == []
    with storage.database.read() as conn:
        assert projects.load(conn, project_id).n_tasks == 0
        assert labels.of_project(conn, project_id).labels == ()
    revive()
    attempt(storage, request.id)
    assert seen(storage, ann) == ["test", "train"]
    assert count(storage, task_rows) == 2


def test_the_sweep_removes_what_a_dead_request_was_making(
    storage: Storage, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = new_project(storage, ann)
    request = asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id)
    revive = killed_at("publish", monkeypatch)
    with pytest.raises(Killed):
        attempt(storage, request.id)
    revive()
    housekeeping.sweep(storage)
    assert count(storage, task_rows) == 2, "it may still go on"
    with storage.database.write() as conn:
        conn.execute(request_rows.update().values(status="failed", expiry_date=now()))
    housekeeping.sweep(storage)
    assert count(storage, task_rows) == 0


def test_an_attempt_that_was_taken_over_harms_its_successor_not(
    storage: Storage, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = new_project(storage, ann)
    request = asked(storage, ann, dataset().write(tmp_path / "d.zip"), project_id)
    module = __import__("app.operations.import_dataset", fromlist=["x"])
    real = module.read_archive

    def slow(*given: Any) -> None:
        monkeypatch.setattr(module, "read_archive", real)
        attempt(storage, request.id)  # another worker takes over and finishes meanwhile
        real(*given)

    monkeypatch.setattr(module, "read_archive", slow)
    with pytest.raises(AppError):
        attempt(storage, request.id)
    assert seen(storage, ann) == ["test", "train"]
    assert count(storage, task_rows) == 2
