"""Kept files that are tables, of archives with other folders: what leaves is one data set, and comes in again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk import Desk
from tests.formats.builders import zip_of
from tests.operations.test_known_before import HEADER

NAME = "train-annotations-machine-imagelabels.csv"
BOXES = f"{HEADER}\na,x,cat,1,0.25,0.5,0.25,0.5,0,1,0,0,0\n".encode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as opened:
        yield opened


def archive(folder: str, confidence: str) -> bytes:
    labels = f"ImageID,Source,LabelName,Confidence\na,machine,cat,{confidence}\n".encode()
    return zip_of({f"{folder}train-annotations-bbox.csv": BOXES, f"{folder}{NAME}": labels})


@pytest.mark.parametrize("machine_labels", ["keep", "tags"])
def test_tables_of_one_name_in_two_folders_are_taken_back(desk: Desk, machine_labels: str) -> None:
    frames, labels = {"a.png": (8, 6)}, [{"name": "cat"}]
    task = desk.task(frames, labels)
    task.bring(archive("", "0.5"))
    task.bring(archive("annotations/", "0.7"), mode="append", machine_labels=machine_labels)
    exported = task.export()
    assert sorted(body.split(b",")[-1] for name, body in exported.items() if "machine" in name) == [b"0.5\n", b"0.7\n"]
    desk.task(frames, labels).bring(task.export_zip())
