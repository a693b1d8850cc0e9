"""Files that nobody interprets speak of any image: who has but a job of a task is given none of the whole task's."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.formats import outlives
from app.operations.export_dataset import stream_dataset
from app.storage import Storage, annotations, jobs
from tests.operations.desk import Desk, open_desk_store
from tests.samples import OpenImages


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_desk_store(tmp_path / "store") as opened:
        yield opened


def archive(folder: Path, image: str, note: str) -> bytes:
    built = OpenImages(classes=[("/m/01yrx", "cat")], images=[(image, "train")], more={note: b"about pictures"})
    built.box(image, "/m/01yrx", ("0.25", "0.75", "0.2", "0.8"), subset="train")
    return built.write(folder / "upload.zip").read_bytes()


def notes(desk: Desk, job_id: int | None) -> set[str]:
    pieces: list[bytes] = []
    stream_dataset(desk.storage, {"task_id": desk.task_id, "job_id": job_id}, lambda piece: pieces.append(bytes(piece)))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as exported:
        return {name for name in exported.namelist() if name.endswith(".txt")}


def test_a_job_is_given_the_files_that_were_brought_into_it(storage: Storage, tmp_path: Path) -> None:
    desk = Desk(storage, jobs=((0, 1), (1, 3)))
    with storage.database.read() as conn:
        first, second = (job.id for job in jobs.of_task(conn, desk.task_id))
    desk.bring(archive(tmp_path, "b", "of the task.txt"))
    desk.bring(archive(tmp_path, "a", "of the first job.txt"), job_id=first)
    assert notes(desk, None) == {"of the task.txt", "of the first job.txt"}
    assert notes(desk, first) == {"of the first job.txt"}
    assert notes(desk, second) == set()


def test_a_job_of_all_frames_is_the_whole_task(storage: Storage, tmp_path: Path) -> None:
    desk = Desk(storage)
    with storage.database.read() as conn:
        (job,) = jobs.of_task(conn, desk.task_id)
    desk.bring(archive(tmp_path, "b", "note.txt"))
    assert notes(desk, job.id) == {"note.txt"}


def test_files_of_the_whole_task_outlive_the_rows_that_imports_into_jobs_replace(
    storage: Storage, tmp_path: Path
) -> None:
    desk = Desk(storage, jobs=((0, 1), (1, 3)))
    with storage.database.read() as conn:
        first, second = (job.id for job in jobs.of_task(conn, desk.task_id))
    desk.bring(archive(tmp_path, "b", "of the task.txt"))
    desk.bring(archive(tmp_path, "a", "of the first job.txt"), job_id=first)
    desk.bring(archive(tmp_path, "b", "of the second job.txt"), job_id=second)
    assert notes(desk, None) == {"of the task.txt", "of the first job.txt", "of the second job.txt"}
    desk.bring(archive(tmp_path, "b", "of the second job, again.txt"), job_id=second)
    assert notes(desk, None) == {"of the task.txt", "of the first job.txt", "of the second job, again.txt"}
    desk.bring(archive(tmp_path, "a", "of the task, again.txt"))
    assert notes(desk, None) == {"of the task, again.txt"}


def test_who_clears_a_job_leaves_the_files_of_the_task(storage: Storage, tmp_path: Path) -> None:
    desk = Desk(storage, jobs=((0, 1), (1, 3)))
    desk.bring(archive(tmp_path, "b", "of the task.txt"))
    for window, left in (((1, 3), {"of the task.txt"}), ((0, None), set[str]())):
        with storage.database.write() as conn:
            annotations.clear(conn, desk.task_id, start=window[0], stop=window[1], outlives=outlives)
        assert notes(desk, None) == left
