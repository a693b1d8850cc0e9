"""datumaro reads every export, also those made of archives with all that archives in the wild hold: nothing is dropped.

Made without a service, so that any archive and any option can be put before the judge.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Edit, Shapes, ShapeType
from app.formats import Target
from tests.environments import run_script
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource, edited
from tests.formats.open_images.parts import (
    BOX_HEADER,
    CLASSES,
    HIERARCHY,
    LIST_HEADER,
    MASK_HEADER,
    TAG_HEADER,
    rectangle_png,
)
from tests.formats.open_images.test_round_trip import ARCHIVE, IDS, TASK
from tests.formats.open_images.test_write import shape, tag

SCRIPTS = Path(__file__).parent / "scripts"

ODD = target(
    {"dir/a.jpg": (16, 12), "b.png": (16, 12), "Zähler 'x'.jpg": (9, 7), "none.jpg": (5, 5)},
    labels("Cat", "Dog", attributes=all_attributes()),
)
ODD_ARCHIVE: dict[str, str | bytes] = {
    "oidv7-class-descriptions.csv": "LabelName,DisplayName\n/m/c,Cat\n/m/d,Dog\n/m/x,Not in the task\n",
    HIERARCHY: json.dumps(
        {"LabelName": "/m/0", "Subcategory": [{"LabelName": "/m/x", "Subcategory": [{"LabelName": "/m/c"}]}]}
    ),
    "image_ids_and_rotation.csv": LIST_HEADER + "dir/a,train,,,,,,,,,,nan\nb,val,,,,,,,,,,\n",
    "oidv6-train-annotations-bbox.csv": BOX_HEADER
    + "dir/a,xclick,/m/c,,0.1,0.5,0.2,0.6,true,,no,1.0,-1.0\n./dir/a,,/m/d,1,-0.1,1.1,0,1,0,0,0,0,0\n"
    + "a.jpg,,/m/d,1,0,0,0,1,0,0,0,0,0\n",
    "oidv7-val-annotations-human-imagelabels.csv": TAG_HEADER + "b,verification,/m/d,0\nb,verification,/m/c,\n",
    "train-annotations-object-segmentation.csv": MASK_HEADER
    + "m.png,dir/a,/m/c,,0.1,0.5,0.2,0.6,,\ne.png,dir/a,/m/d,,,,,,,\ntwo.png,a,/m/d,zz,,,,,,\n",
    "masks/train/m.png": rectangle_png(16, 12, 2, 2, 8, 7, kind="grey"),
    "masks/train/e.png": rectangle_png(16, 12, 0, 0, 0, 0),
    "masks/train/two.png": rectangle_png(4, 3, 0, 0, 2, 2),
}


def odd_source() -> MemorySource:
    """The odd archive, some rows edited, and new shapes of every kind beside them."""
    sink = good(ODD_ARCHIVE, ODD)[0]
    found = sink.annotations()
    shapes = edited(found.shapes, 0, Edit.GEOMETRY, points=[1.5, 2.25, 9, 11])
    new = [
        shape(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4], 2, frame=2, attributes={107: "a/b"}),
        shape(ShapeType.ELLIPSE, [4, 3, 7, 1], 1, frame=2, group=4),
        shape(ShapeType.RECTANGLE, [1, 1, 6, 4], 1, frame=2, group=4),
        shape(ShapeType.RECTANGLE, [2, 2, 7, 5], 2, frame=2, rotation=30),
        shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], 2, frame=3, attributes={107: "5.0", 108: "0.5"}),
        shape(ShapeType.MASK, [0, 1, 1, 1, 1, 1], 2, frame=3, attributes={107: "5.0"}),
    ]
    tags = type(found.tags).concatenate([found.tags, tag(1, {105: "0.25"}, frame=2), tag(2, {105: "x"}, frame=3)])
    return MemorySource.of_sink(sink, ODD.frames, replace(found, shapes=Shapes.concatenate([shapes, *new]), tags=tags))


def untouched(**options: Any) -> MemorySource:
    return MemorySource.of_sink(good(ARCHIVE, TASK, **options)[0], TASK.frames)


SCENES: dict[str, tuple[Target, Any, dict[str, Any]]] = {
    "untouched": (TASK, untouched, {}),
    "polygons": (TASK, lambda: untouched(conv_mask_to_poly=True), {}),
    "names": (TASK, untouched, {"label_ids": "name"}),
    "expanded": (TASK, untouched, {"expand": "hierarchy"}),
    "cats": (TASK, untouched, {"classes": "Cat", "only_matching": True}),
    "one image": (TASK, untouched, {"max_images": "1", "seed": "4"}),
    "odd": (ODD, odd_source, {}),
    "odd, by names": (ODD, odd_source, {"label_ids": "name"}),
    "odd, turned as boxes": (ODD, odd_source, {"rotated": "box"}),
    "odd, turned as both": (ODD, odd_source, {"rotated": "both"}),
    "odd, no extras": (ODD, odd_source, {"side_file": False, "documented_image_list": False}),
}


def rows_of(members: dict[str, bytes], kind: str) -> Counter[tuple[str, str]]:
    """(ImageID, LabelName) of every row of a kind of table."""
    found: Counter[tuple[str, str]] = Counter()
    for name, data in members.items():
        if name.endswith(f"-annotations-{kind}.csv"):
            for row in csv.DictReader(io.StringIO(data.decode(), newline="")):
                found[row["ImageID"], row["LabelName"]] += 1
    return found


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("exports")
    archives, members = {}, {}
    for name, (where, make, options) in SCENES.items():
        data, _ = exported(make(), where, **options)
        path = folder / f"{name}.zip"
        path.write_bytes(data)
        archives[name], members[name] = str(path), read_zip(data)
    return {"told": run_script("judge", SCRIPTS / "read.py", {"archives": archives}), "members": members}


@pytest.mark.parametrize("name", SCENES)
def test_the_judge_sees_every_row(read: dict[str, Any], name: str) -> None:
    members, told = read["members"][name], read["told"][name]
    for kind, table in (("bbox", "bbox"), ("label", "human-imagelabels"), ("mask", "object-segmentation")):
        seen = Counter(
            (item["id"], each["label"])
            for item in told["items"]
            for each in item["annotations"]
            if each["kind"] == kind
        )
        assert seen == rows_of(members, table), kind


@pytest.mark.parametrize("name", SCENES)
def test_the_judge_knows_every_class_and_image(read: dict[str, Any], name: str) -> None:
    members, told = read["members"][name], read["told"][name]
    classes = [row[0] for row in csv.reader(io.StringIO(members[CLASSES].decode(), newline=""))]
    assert told["labels"] == classes
    listed = {
        line.split(",")[0]
        for path, data in members.items()
        if path.endswith("-images-with-rotation.csv")
        for line in data.decode().splitlines()[1:]
        if line.count(",") >= 10
    }
    assert listed <= {item["id"] for item in told["items"]}


def bits(each: dict[str, Any]) -> Any:
    height, width = each["size"]
    raw = np.frombuffer(bytes.fromhex(each["bits"]), dtype=np.uint8)
    return np.unpackbits(raw, count=height * width).reshape(height, width)


@pytest.mark.parametrize("name", ["untouched", "polygons"])
def test_masks_have_the_pixels_that_were_imported(read: dict[str, Any], name: str) -> None:
    found = {
        (item["id"], each["attributes"]["box_id"]): int(bits(each).sum())
        for item in read["told"][name]["items"]
        for each in item["annotations"]
        if each["kind"] == "mask"
    }
    small = 15 * 16 * 25 * 16  # 15 x 25 pixels of a picture a sixteenth as wide and as high
    assert found == {
        (IDS[1], "e16d01b9"): 7,
        (IDS[1], "00000001"): 48,
        (IDS[1], "00000002"): 0,
        (IDS[0], "00000003"): small,
    }


def test_a_turned_rectangle_as_both_is_one_group(read: dict[str, Any]) -> None:
    item = next(item for item in read["told"]["odd, turned as both"]["items"] if item["id"] == "Zähler 'x'")
    groups = Counter(each["group"] for each in item["annotations"] if each["kind"] in ("bbox", "mask"))
    assert sorted(groups.values()) == [1, 2, 2], (
        "the polygon alone, the ellipse with its box, the turned one with its hull"
    )
