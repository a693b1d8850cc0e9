"""Datasets into projects, by the SDK and by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.runners import FORMAT, Clients
from tests.samples import LABELS, OpenImages, disk_with_hole, mask_png, picture, read_archive, read_table

RING = disk_with_hole(40, 30, 12, 4)


def dataset() -> OpenImages:
    """Two subsets with pictures, boxes, a mask and a file that nobody interprets."""
    built = OpenImages(classes=[("/m/01", "cat"), ("/m/02", "dog")])
    built.images = [("a", "train"), ("b", "train"), ("c", "test")]
    built.box("a", "/m/01", ("0.125", "0.5", "0.25", "0.75"), "1 0 0 0 0", subset="train")
    built.box("c", "/m/02", ("0.25", "0.5", "0.25", "0.75"), subset="test")
    built.mask("c", "/m/02", "0000000c", mask_png(RING), subset="test")
    built.tag("b", "/m/02", "1", subset="train")
    built.more = {
        "images/train/a.png": picture(80, 60, 1),
        "images/train/b.jpg": picture(64, 48, 2, "JPEG"),
        "images/test/c.png": picture(40, 30, 3),
        "README.md": b"kept",
    }
    return built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    dataset().write(folder / "first.zip")
    bad = dataset()
    bad.box("a", "/m/0unknown", ("0", "1", "0", "1"), subset="train")
    bad.write(folder / "bad.zip")
    return folder


@pytest.fixture(scope="module")
def told(clients: Clients, folder: Path) -> Any:
    return clients.sdk(
        "projects",
        first=str(folder / "first.zip"),
        bad=str(folder / "bad.zip"),
        export=str(folder / "export.zip"),
    )


def test_each_subset_becomes_a_task_with_its_pictures(told: Any) -> None:
    assert [(task["name"], task["subset"], task["frames"]) for task in told["tasks"]] == [
        ("test", "test", ["c.png"]),
        ("train", "train", ["a.png", "b.jpg"]),
    ]
    assert [task["picture"] for task in told["tasks"]] == [len(picture(40, 30, 3)), len(picture(80, 60, 1))]
    assert told["preview"] > 0


def test_each_task_has_the_annotations_of_its_frames(told: Any) -> None:
    test, train = (task["annotations"] for task in told["tasks"])
    assert [(shape["type"], shape["frame"]) for shape in test["shapes"]] == [("rectangle", 0), ("polygon", 0)]
    assert [(shape["points"], shape["occluded"]) for shape in train["shapes"]] == [([10, 15, 40, 45], True)]
    assert [tag["frame"] for tag in train["tags"]] == [1]


def test_a_project_without_labels_takes_those_of_the_dataset(told: Any) -> None:
    assert told["labels"] == ["cat", "dog"]


def test_a_refused_dataset_leaves_no_task(told: Any) -> None:
    assert "/m/0unknown" in told["failure"]
    assert told["count"] == 2


def test_a_task_moves_to_another_project_with_its_annotations(told: Any) -> None:
    assert told["moved"] == {"project": True, "labels": ["cat"], "places": True, "left": True}


def test_the_export_of_the_project_is_the_dataset(told: Any, folder: Path) -> None:
    sent, back = read_archive(folder / "first.zip"), read_archive(folder / "export.zip")
    for name in ("train-annotations-bbox", "test-annotations-bbox", "train-annotations-human-imagelabels"):
        path = f"annotations/{name}.csv"
        assert read_table(back[path]) == read_table(sent[path])
    for name in dataset().more:
        assert back[name] == sent[name]


def test_the_command_line_imports_a_dataset(clients: Clients, folder: Path) -> None:
    more = ("--dataset_path", str(folder / "first.zip"), "--dataset_format", FORMAT)
    number = clients.cli("project", "create", "by cvat-cli", *more).out.split()[-1]
    assert clients.get(f"/api/tasks?project_id={number}")["count"] == 2
    clients.cli("project", "import-dataset", "--format", FORMAT, number, str(folder / "first.zip"))
    assert clients.get(f"/api/tasks?project_id={number}")["count"] == 4
    clients.cli("project", "delete", number)


def test_labels_of_the_project_are_matched_and_unknown_ones_refused(clients: Clients, folder: Path) -> None:
    labels = json.dumps([label for label in LABELS if label["name"] == "cat"])
    number = clients.cli("project", "create", "cats only", "--labels", labels).out.split()[-1]
    ended = clients.cli("project", "import-dataset", "--format", FORMAT, number, str(folder / "first.zip"), ok=False)
    assert ended.code != 0
    assert "dog" in ended.err
    assert clients.get(f"/api/tasks?project_id={number}")["count"] == 0
    assert clients.get(f"/api/projects/{number}")["tasks"]["count"] == 0
    clients.cli("project", "delete", number)
