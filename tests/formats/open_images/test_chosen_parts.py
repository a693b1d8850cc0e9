"""Part of a data set, through the service: what an import takes, what an export writes, lists of images both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOX_HEADER, LIST_HEADER, MASK_HEADER, TAG_HEADER, rectangle_png
from tests.formats.open_images.random_archives import read_rows

FRAMES = {f"{name}.jpg": (20, 10) for name in ("a1", "b2", "c3", "d4")}
LABELS = [{"name": name} for name in ("Cat", "Dog", "Car")]
TREE = {"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/c"}]}]}
BOXES = {"a1": "/m/c", "b2": "/m/d", "c3": "/m/v"}
ARCHIVE: dict[str, str | bytes] = {
    "class-descriptions.csv": "/m/animal,Animal\n/m/c,Cat\n/m/d,Dog\n/m/v,Car\n",
    "bbox_labels_600_hierarchy.json": json.dumps(TREE),
    "train-images-with-rotation.csv": LIST_HEADER + "a1,train,,,,,,,,,,\nb2,train,,,,,,,,,,\n",
    "test-images-with-rotation.csv": LIST_HEADER + "c3,test,,,,,,,,,,\nd4,test,,,,,,,,,,\n",
    "train-annotations-bbox.csv": BOX_HEADER
    + "".join(f"{name},,{BOXES[name]},1,0,0.5,0,0.5,0,0,0,0,0\n" for name in ("a1", "b2"))
    + "a1,,/m/v,1,0,1,0,1,0,0,0,0,0\n",
    "test-annotations-bbox.csv": BOX_HEADER + "c3,,/m/v,1,0,0.5,0,0.5,0,0,0,0,0\n",
    "train-annotations-human-imagelabels.csv": TAG_HEADER + "a1,,/m/c,1\nb2,,/m/c,0\n",
    "oidv7-train-annotations-machine-imagelabels.csv": TAG_HEADER + "b2,machine,/m/d,0.9\nb2,machine,/m/v,0.4\n",
    "test-annotations-object-segmentation.csv": MASK_HEADER + "m.png,c3,/m/v,1,,,,,,\n",
    "masks/test/m.png": rectangle_png(20, 10, 1, 1, 4, 4),
}
ZIP = zip_of(ARCHIVE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as opened:
        yield opened


@pytest.fixture
def task(desk: Desk) -> TaskDesk:
    return desk.task(FRAMES, LABELS)


def boxes_of(members: dict[str, bytes]) -> set[tuple[str, str]]:
    """(image, LabelName) of every box, in any layout."""
    tables = [data for name, data in members.items() if name.endswith(("annotations-bbox.csv", "detections.csv"))]
    return {(row["ImageID"], row["LabelName"]) for data in tables for row in read_rows(data)[1]}


WISHES: list[tuple[dict[str, Any], set[tuple[str, str]], tuple[int, int]]] = [
    ({"classes": "Animal", "descendants": "true"}, {("a1", "/m/c"), ("a1", "/m/v")}, (4, 1)),
    ({"classes": "/m/c", "only_matching": "true"}, {("a1", "/m/c")}, (4, 1)),
    ({"classes": "Car"}, {("a1", "/m/c"), ("a1", "/m/v"), ("c3", "/m/v")}, (4, 2)),
    ({"subsets": "test"}, {("c3", "/m/v")}, (4, 2)),
    ({"image_ids": "train/b2.jpg,test/c3"}, {("b2", "/m/d"), ("c3", "/m/v")}, (4, 2)),
    ({"image_ids": "test/b2,c3"}, {("c3", "/m/v")}, (4, 1)),
    ({"annotated_only": "true", "label_types": "segmentations"}, set(), (4, 1)),
    ({"max_images": "1", "classes": "Cat,Car"}, {("a1", "/m/c"), ("a1", "/m/v")}, (4, 1)),
]


@pytest.mark.parametrize(("wish", "boxes", "counts"), WISHES, ids=[" ".join(map(str, w[0].values())) for w in WISHES])
def test_an_import_takes_what_an_export_would_write(
    task: TaskDesk, wish: dict[str, Any], boxes: set[tuple[str, str]], counts: tuple[int, int]
) -> None:
    report = task.bring(ZIP, **wish)
    assert report["selection"]["images"] == {"before": counts[0], "after": counts[1]}
    assert boxes_of(task.export()) == boxes
    task.bring(ZIP)
    dry = task.desk.call("GET", f"{task.path}/export", params={**wish, "dry_run": "true"})
    assert dry["selection"]["images"] == {"before": counts[0], "after": counts[1]}
    for layout in ("default", "official", "fiftyone"):
        assert boxes_of(task.export(layout=layout, **wish)) == boxes, layout


def test_a_dry_run_counts_the_same(task: TaskDesk) -> None:
    for wish, _, _ in WISHES:
        dry, real = task.bring(ZIP, dry_run="true", **wish), task.bring(ZIP, **wish)
        assert {**real, "dry_run": True} == dry


def test_machine_labels_by_confidence(task: TaskDesk) -> None:
    report = task.bring(ZIP, machine_labels="tags", min_confidence="0.5")
    assert report["selection"]["classifications"] == {"before": 3, "after": 2}
    rows = read_rows(task.export()["annotations/train-annotations-machine-imagelabels.csv"])[1]
    assert [row["Confidence"] for row in rows] == ["0.9"]


def test_labels_that_are_absent_follow_the_selection(task: TaskDesk) -> None:
    """The row of b2 says that there is no cat: no tag shows it, and it goes where cats and image labels go."""
    name = "annotations/train-annotations-human-imagelabels.csv"
    for wish, stays in (
        ({}, True),
        ({"image_ids": "b2"}, True),
        ({"label_types": "detections"}, False),
        ({"classes": "Dog", "only_matching": "true"}, False),
        ({"min_confidence": "0.5"}, False),
    ):
        task.bring(ZIP, **wish)
        rows = read_rows(members[name])[1] if name in (members := task.export()) else []
        assert ("b2" in {row["ImageID"] for row in rows}) == stays, wish
        task.bring(ZIP)
        rows = read_rows(members[name])[1] if name in (members := task.export(**wish)) else []
        assert ("b2" in {row["ImageID"] for row in rows}) == stays, wish


def test_a_list_of_images_goes_out_and_comes_back(desk: Desk, task: TaskDesk) -> None:
    task.bring(ZIP)
    answer = desk.client.get(f"{task.path}/image_list.txt", params={"classes": "Cat,Dog"})
    assert answer.status_code == 200
    assert answer.text == "train/a1\ntrain/b2\n"
    assert "image_list.txt" in answer.headers["content-disposition"]
    assert desk.client.get(f"{task.path}/image_list.txt").text == "train/a1\ntrain/b2\ntest/c3\ntest/d4\n"
    other = desk.task(FRAMES, LABELS)
    status, report = other.send({"upload.zip": ZIP}, texts={"image_ids": answer.text})
    assert (status, report["selection"]["images"]) == ("finished", {"before": 4, "after": 2})
    assert boxes_of(other.export()) == boxes_of(task.export(image_ids=answer.text))


def test_options_in_the_form_are_checked_like_those_of_the_query(task: TaskDesk) -> None:
    url, form = f"{task.path}/import", [("file", ("upload.zip", ZIP))]
    told = task.desk.call("POST", url, 400, files=form, data={"image_id": "x"})
    assert told["code"] == "option.unknown"
    assert "image_ids" in told["detail"]
    told = task.desk.call("POST", url, 400, files=form, data={"max_images": "many"})
    assert told["code"] == "option.value"
    told = task.desk.call("GET", f"{task.path}/image_list.txt", 400, params={"subset": "x"})
    assert told["code"] == "option.unknown"


def test_the_check_takes_the_same_wishes(tmp_path: Path) -> None:
    (tmp_path / "upload.zip").write_bytes(ZIP)
    (tmp_path / "list.txt").write_text("train/a1\ntest/c3\ntrain/nobody\n")
    wish = ["-o", f"image_ids=@{tmp_path / 'list.txt'}", "--json"]
    done = CliRunner().invoke(main, ["check", str(tmp_path / "upload.zip"), *wish])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert report["selection"]["images"] == {"before": 4, "after": 2}
    assert report["counts"]["selection.unknown"] == 1
    for bad, told in (("image_id=x", "image_ids"), ("image_ids", "name=value"), ("image_ids=@nowhere", "nowhere")):
        done = CliRunner().invoke(main, ["check", str(tmp_path / "upload.zip"), "-o", bad])
        assert done.exit_code == 2
        assert told in done.output
