"""Tasks made from pictures: what the clients then see of data, labels, jobs and frames."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.clients.runners import Clients
from tests.samples import LABELS, picture, write_pictures

SIZES = {
    "b.jpg": (80, 60),
    "a.png": (64, 48),
    "Zähler 1.png": (40, 50),
    "10.png": (30, 20),
    "9.jpeg": (31, 21),
}
IN_ORDER = sorted(SIZES)


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def told(clients: Clients, folder: Path) -> Any:
    paths = write_pictures(folder / "in", SIZES)
    return clients.sdk(
        "pictures",
        name="from pictures",
        labels=LABELS,
        task={"segment_size": 3, "overlap": 1, "subset": "train"},
        pictures=[str(path) for path in paths],
        folder=str(folder / "out"),
    )


def test_frames_are_named_and_sized(told: Any) -> None:
    frames = [(frame["name"], (frame["width"], frame["height"])) for frame in told["meta"]["frames"]]
    assert frames == [(name, SIZES[name]) for name in IN_ORDER]
    assert told["meta"]["size"] == len(SIZES)
    assert told["meta"]["deleted_frames"] == []


def test_frames_come_back_as_they_were_uploaded(told: Any, folder: Path) -> None:
    uploaded = [sha((folder / "in" / name).read_bytes()) for name in IN_ORDER]
    assert told["originals"] == uploaded
    assert told["in_chunk"] == uploaded
    assert told["chunk_names"] == [f"{index:06d}{Path(name).suffix}" for index, name in enumerate(IN_ORDER)]
    assert len(list((folder / "out").iterdir())) == len(SIZES)


def test_compressed_frames_and_previews_are_jpegs(told: Any) -> None:
    assert told["compressed"] == ["JPEG", *SIZES[IN_ORDER[0]]]
    kind, width, height = told["preview"]
    assert kind == told["job_preview"] == "JPEG"
    assert max(width, height) <= 256


def test_labels_and_attributes_come_back_in_order(told: Any) -> None:
    assert [label["name"] for label in told["labels"]] == [label["name"] for label in LABELS]
    for given, stored in zip(LABELS, told["labels"], strict=True):
        assert [spec["name"] for spec in stored["attributes"]] == [spec["name"] for spec in given["attributes"]]
        for spec, kept in zip(given["attributes"], stored["attributes"], strict=True):
            assert (kept["input_type"], kept["mutable"]) == (spec["input_type"], spec["mutable"])
            assert [value for value in kept["values"] if value] == [value for value in spec["values"] if value]
    assert told["labels"][0]["color"] == "#ff8800"


def test_task_is_cut_into_overlapping_jobs(told: Any) -> None:
    jobs = sorted((job["start_frame"], job["stop_frame"]) for job in told["jobs"])
    assert jobs == [(0, 2), (2, 4)]
    assert told["job_meta"]["size"] == 3 or told["job_meta"]["size"] == 2
    last = max(job["start_frame"] for job in told["jobs"])
    shown = max(told["jobs"], key=lambda job: job["id"])
    assert told["job_frame"] == told["originals"][shown["start_frame"]]
    assert last == 2
    assert told["job_state"] == "in progress"


def test_task_fields_follow_what_was_done(told: Any) -> None:
    task = told["task"]
    assert task["name"] == "from pictures (renamed)"
    assert (task["size"], task["mode"], task["subset"]) == (len(SIZES), "annotation", "train")
    assert (task["segment_size"], task["overlap"]) == (3, 1)
    assert task["jobs"]["count"] == 2
    assert told["listed"] == 1


def test_removed_frames_are_marked_and_still_there(told: Any) -> None:
    assert told["deleted"] == [1]
    assert told["task"]["size"] == len(SIZES)


@pytest.mark.parametrize("order", ["lexicographical", "predefined"])
def test_more_than_a_thousand_pictures_in_one_form(clients: Clients, tmp_path: Path, order: str) -> None:
    bodies = {f"{index:05d}.png": picture(8 + index % 3, 8, index % 7) for index in range(1200)}
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    told = clients.sdk("many_pictures", folder=str(tmp_path), order=order)
    names = sorted(bodies) if order == "lexicographical" else sorted(bodies)[::-1]
    assert told["size"] == 1200
    assert told["names"] == names
    assert told["last"] == sha(bodies[names[-1]])
    assert told["jobs"] == [[0, 499], [500, 999], [1000, 1199]]


def test_a_zip_of_pictures_keeps_its_folders(clients: Clients, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for index, name in enumerate(["night/1.png", "day/1.png", "day/2.jpg"]):
            archive.writestr(name, picture(20 + index, 10, index, "PNG" if name.endswith("png") else "JPEG"))
        archive.writestr("read me.txt", "not a picture")
    number = clients.cli(
        "task", "create", "zipped", "--labels", '[{"name": "cat"}]', "local", str(archive.filename)
    ).out
    meta = clients.get(f"/api/tasks/{int(number)}/data/meta")
    assert [frame["name"] for frame in meta["frames"]] == ["day/1.png", "day/2.jpg", "night/1.png"]
    assert [frame["width"] for frame in meta["frames"]] == [21, 22, 20]


def test_a_task_of_no_pictures_fails_with_a_reason(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"no picture at all")
    ended = clients.cli("task", "create", "none", "--labels", "[]", "local", str(tmp_path / "notes.png"), ok=False)
    assert ended.code != 0
    assert "notes.png" in ended.err
