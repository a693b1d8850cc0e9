"""A project whose tasks have pictures of one name: its archive comes back as a project, of which the same leaves again.

Lines may stand in another order, since tasks are made in the order of their subsets.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.caller import FORMAT, Caller
from tests.samples import picture
from tests.service import Service

SAME = {
    "in two subsets": [("train", ["a.png", "b.png"]), ("val", ["a.png", "b.png"])],
    "in one subset": [("train", ["a.png"]), ("train", ["a.png"]), ("train", ["a.png"])],
    "in folders, too": [("train", ["x/a.png", "y/a.png", "a.jpg.png"]), ("val", ["x/a.png"]), ("", ["a.png"])],
}


@pytest.mark.parametrize("parts", SAME.values(), ids=SAME)
def test_pictures_of_one_name_come_back(service: Service, tmp_path: Path, parts: list[tuple[str, list[str]]]) -> None:
    with Caller(service) as caller:
        one, other = (
            caller.json("POST", "/api/projects", json={"name": "p", "labels": [{"name": "cat"}]})["id"] for _ in "12"
        )
        for number, (subset, names) in enumerate(parts):
            pictures = {name: picture(40 + number, 30) for name in names}
            task = caller.task("t", [], pictures, project_id=one, subset=subset)
            look = {"type": "rectangle", "label": "cat"}
            boxes = [{**look, "frame": frame, "points": [number, frame, 20, 20]} for frame in range(len(names))]
            caller.annotate(task, {"shapes": boxes})
        before = caller.export(one, tmp_path / "p.zip", of="projects", save_images="true").read_bytes()
        query = {"format": FORMAT}
        started = caller.json(
            "POST", f"/api/projects/{other}/dataset", params=query, files={"dataset_file": ("p.zip", before)}
        )
        caller.wait(started["rq_id"])
        after = caller.export(other, tmp_path / "q.zip", of="projects", save_images="true").read_bytes()
    assert lines_of(after) == lines_of(before)
    n_pictures = sum(name.startswith("images/") for name in lines_of(before))
    assert n_pictures == sum(len(names) for _, names in parts)


def test_a_project_without_labels_takes_what_the_side_file_says_of_them(service: Service, tmp_path: Path) -> None:
    note = {"name": "note", "mutable": False, "input_type": "text", "values": [""]}
    with Caller(service) as caller:
        one = caller.json(
            "POST", "/api/projects", json={"name": "p", "labels": [{"name": "cat", "attributes": [note]}]}
        )
        other = caller.json("POST", "/api/projects", json={"name": "q"})
        task = caller.task("t", [], {"a.png": picture(40, 30)}, project_id=one["id"], subset="train")
        line = {"type": "polyline", "label": "cat", "frame": 0, "points": [1, 1, 5, 5], "attributes": {"note": "x"}}
        caller.annotate(task, {"shapes": [line]})
        before = caller.export(one["id"], tmp_path / "p.zip", of="projects", save_images="true").read_bytes()
        path, files = f"/api/projects/{other['id']}/dataset", {"dataset_file": ("p.zip", before)}
        caller.wait(caller.json("POST", path, params={"format": FORMAT}, files=files)["rq_id"])
        after = caller.export(other["id"], tmp_path / "q.zip", of="projects", save_images="true").read_bytes()
    assert lines_of(after) == lines_of(before)


def lines_of(data: bytes) -> dict[str, list[bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: sorted(archive.read(name).splitlines()) for name in archive.namelist()}
