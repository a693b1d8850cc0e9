"""datumaro reads what we export: the same items, boxes, masks, labels and attributes, nothing dropped."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.caller import Caller
from tests.environments import run_script
from tests.judges.scenes import SCENES, Scene, Seen
from tests.samples import LABELS, picture
from tests.service import Service

SCRIPTS = Path(__file__).parent / "scripts"
ROUNDED = 0.011
"""datumaro rounds coordinates to hundredths."""


def pictures_of(scene: Scene) -> dict[str, bytes]:
    return {
        name: picture(width, height, index, "PNG" if name.endswith("png") else "JPEG")
        for index, (name, (width, height)) in enumerate(scene.frames.items())
    }


@pytest.fixture(scope="module")
def read(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every scene with and without pictures, and what else we export, read by datumaro in one go."""
    folder = tmp_path_factory.mktemp("reading")
    archives: dict[str, Path] = {}
    with Caller(local_service) as caller:
        for name, scene in SCENES.items():
            number = caller.task(name, scene.labels, pictures_of(scene), subset=scene.subset)
            caller.annotate(number, scene.given)
            for kind, save in (("plain", "false"), ("pictures", "true")):
                archives[f"{name}-{kind}"] = caller.export(number, folder / f"{name}-{kind}.zip", save_images=save)
            if name == "drawn":
                for version in ("V6", "V7"):
                    archives[version] = caller.export(number, folder / f"{version}.zip", f"Open Images {version} 1.0")
                # Out and in again: what was imported is exported from kept bytes and cells.
                again = caller.task("again", scene.labels, pictures_of(scene))
                caller.bring(again, archives["drawn-plain"])
                archives["drawn-again"] = caller.export(again, folder / "again.zip")
                polygons = caller.task("polygons", scene.labels, pictures_of(scene))
                caller.bring(polygons, archives["drawn-plain"], conv_mask_to_poly="true")
                archives["drawn-polygons"] = caller.export(polygons, folder / "polygons.zip")
            if name == "boxes":
                meta = f"/api/tasks/{number}/data/meta"
                caller.call("PATCH", meta, json={"deleted_frames": [0]})
                archives["deleted"] = caller.export(number, folder / "deleted.zip", save_images="true")
        archives["project"] = export_project(caller, folder)
    told = run_script("judge", SCRIPTS / "read.py", {"archives": {name: str(path) for name, path in archives.items()}})
    return {"told": told, "archives": archives}


def export_project(caller: Caller, folder: Path) -> Path:
    """Three tasks of two subsets; two of them share the name of their only picture."""
    project = caller.json("POST", "/api/projects", json={"name": "subsets", "labels": LABELS})["id"]
    for index, subset in enumerate(("train", "val", "val")):
        task = caller.task(
            f"task {index}", LABELS, {f"{index}.png": picture(20, 10)}, project_id=project, subset=subset
        )
        points = [index, 0, index + 10, 10]
        box = {"type": "rectangle", "frame": 0, "label": "dog", "points": points}
        caller.annotate(task, {"shapes": [box], "tags": [{"frame": 0, "label": "cat"}]})
    return caller.export(project, folder / "project.zip", of="projects", save_images="true")


def items_of(read: Any, name: str) -> dict[str, Any]:
    items = {item["id"]: item for item in read["told"][name]["items"]}
    assert len(items) == len(read["told"][name]["items"]), "an item is there twice"
    return items


def bits(told: dict[str, Any]) -> Any:
    height, width = told["size"]
    raw = np.frombuffer(bytes.fromhex(told["bits"]), dtype=np.uint8)
    return np.unpackbits(raw, count=height * width).reshape(height, width).astype(np.bool_)


def is_same(found: dict[str, Any], wanted: Seen) -> bool:
    """Whether the judge saw this annotation (groups aside)."""
    if (found["kind"], found["label"]) != (wanted.kind, wanted.label):
        return False
    for name, value in wanted.attributes.items():
        if value is None and name in found["attributes"]:
            return False
        if value is not None and found["attributes"].get(name) != value:
            return False
    if wanted.kind == "bbox":
        return all(abs(a - b) <= ROUNDED for a, b in zip(found["points"], wanted.points, strict=True))
    if wanted.mask is not None:
        return bits(found).shape == wanted.mask.shape and bool(np.array_equal(bits(found), wanted.mask))
    return True


def check(found: list[dict[str, Any]], wanted: list[Seen]) -> None:
    """One for one, in any order, and partners in one group, others in none together."""
    assert len(found) == len(wanted), [(each["kind"], each["label"]) for each in found]
    left = list(found)
    groups: dict[int, list[str]] = defaultdict(list)
    for index, each in enumerate(wanted):
        match = next((told for told in left if is_same(told, each)), None)
        assert match is not None, f"not seen: {each}; left are {left}"
        left.remove(match)
        if match["group"]:
            groups[match["group"]].append(each.partner or f"alone {index}")
    partners = [members for members in groups.values() if len(members) > 1]
    assert all(len(set(members)) == 1 for members in partners), groups
    assert {members[0] for members in partners} == {each.partner for each in wanted} - {""}


@pytest.mark.parametrize("kind", ["plain", "pictures"])
@pytest.mark.parametrize("name", SCENES)
def test_every_scene_is_read_as_it_was_drawn(read: Any, name: str, kind: str) -> None:
    scene = SCENES[name]
    items = items_of(read, f"{name}-{kind}")
    assert items.keys() == scene.seen.keys()
    for image, wanted in scene.seen.items():
        check(items[image]["annotations"], wanted)
        assert items[image]["subset"] == (scene.subset or "default")


@pytest.mark.parametrize("name", SCENES)
def test_pictures_are_found_by_the_items(read: Any, name: str) -> None:
    sizes = {image: item["picture"] for image, item in items_of(read, f"{name}-pictures").items()}
    wanted = {}
    for path, (width, height) in SCENES[name].frames.items():
        stem = path.rpartition(".")[0]
        # Where two frames share a stem their ids keep the extension, and the judge looks for pictures without one.
        wanted[path if path in sizes else stem] = None if path in sizes else [height, width]
    assert sizes == wanted


@pytest.mark.parametrize("name", ["drawn-again", "drawn-polygons", "V6", "V7"])
def test_an_archive_that_went_through_us_is_read_the_same(read: Any, name: str) -> None:
    scene = SCENES["drawn"]
    items = items_of(read, name)
    for image, wanted in scene.seen.items():
        check(items[image]["annotations"], wanted)


def test_labels_keep_their_names_and_order(read: Any) -> None:
    assert read["told"]["boxes-plain"]["labels"] == [label["name"] for label in LABELS]


def test_deleted_frames_are_left_out(read: Any) -> None:
    items = items_of(read, "deleted")
    assert items.keys() == {"b", "none"}
    check(items["b"]["annotations"], SCENES["boxes"].seen["b"])


def test_a_project_has_a_subset_for_each_of_its_tasks(read: Any) -> None:
    items = items_of(read, "project")
    assert {image: item["subset"] for image, item in items.items()} == {"0": "train", "1": "val", "2": "val"}
    for image, item in items.items():
        left = int(image)
        check(item["annotations"], [Seen("bbox", "dog", (left, 0, left + 10, 10)), Seen("label", "cat")])
        assert item["picture"] == [10, 20]


def test_two_exports_are_the_same_bytes(local_service: Service, read: Any, tmp_path: Path) -> None:
    scene = SCENES["named"]
    with Caller(local_service) as caller:
        number = caller.task("bytes", scene.labels, pictures_of(scene))
        caller.annotate(number, scene.given)
        first, second = (caller.export(number, tmp_path / f"{index}.zip", save_images="true") for index in range(2))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        names = [name.lower() for name in archive.namelist()]
    assert len(set(names)) == len(names), "two members are one file where letter case does not count"
