"""Exports of a part: which rows, files and counts are left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, ShapeType, Tracks
from app.archive import ArchiveWriter
from app.columns import Ragged
from app.errors import InvalidInput, Report
from app.formats import ExportOptions
from tests.formats.builders import OPEN_IMAGES, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    HIERARCHY,
    LIST,
    LIST_HEADER,
    MASK_HEADER,
    MASKS,
    SIZES,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)
from tests.formats.open_images.test_write import shape

WHERE = target({f"{name}.jpg": (8, 8) for name in "abcd"}, labels("Cat", "Dog", "Oak"))
CORNERS = "0.25,0.5,0.25,0.5"
FLAGS = "0,0,0,0,0"
MEMBERS: dict[str, str | bytes] = {
    CLASSES: "/m/c,Cat\n/m/d,Dog\n/m/o,Oak\n/m/a,Animal\n",
    HIERARCHY: json.dumps(
        {"LabelName": "/m/r", "Subcategory": [{"LabelName": "/m/a", "Subcategory": [{"LabelName": "/m/c"}]}]}
    ),
    LIST: LIST_HEADER + "".join(f"{name},train,,,,,,,,,,\n" for name in "abcd"),
    BOXES: BOX_HEADER
    + f"a,x,/m/c,1,{CORNERS},{FLAGS}\na,x,/m/o,0.30,{CORNERS},{FLAGS}\nb,x,/m/d,1,{CORNERS},{FLAGS}\n",
    TAGS: TAG_HEADER + "a,v,/m/d,0\nb,v,/m/c,0\nb,v,/m/o,0.20\nc,v,/m/c,1\n",
    MASKS: MASK_HEADER + f"m.png,a,/m/c,1,{CORNERS},,\ne.png,b,/m/c,1,,,,,,\n",
    "masks/train/m.png": rectangle_png(8, 8, 2, 2, 4, 4),
    "masks/train/e.png": rectangle_png(8, 8, 0, 0, 0, 0),
    "readme.txt": "kept",
}


def part(**options: Any) -> tuple[dict[str, list[str]], Report]:
    """The rows of each table, and the report."""
    sink = good(MEMBERS, WHERE)[0]
    data, report = exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, **options)
    members = read_zip(data)
    good(dict(members), WHERE)
    tables = {
        name: members[path].decode().splitlines()[1:] if path in members else []
        for name, path in (("boxes", BOXES), ("tags", TAGS), ("masks", MASKS), ("images", LIST))
    }
    tables["pngs"] = sorted(name for name in members if name.endswith(".png"))
    tables["files"] = [name for name in members if name == "readme.txt"]
    tables["sizes"] = members[SIZES].decode().splitlines()
    return tables, report


CAT_BOX, OAK_BOX, DOG_BOX = (line for line in str(MEMBERS[BOXES]).splitlines()[1:])
ABSENT_DOG, ABSENT_CAT, FAINT_OAK, CAT_TAG = (line for line in str(MEMBERS[TAGS]).splitlines()[1:])
MASK, EMPTY = (line for line in str(MEMBERS[MASKS]).splitlines()[1:])


@pytest.mark.parametrize(
    ("options", "boxes", "tags", "masks"),
    [
        ({}, [CAT_BOX, OAK_BOX, DOG_BOX], [ABSENT_DOG, FAINT_OAK, ABSENT_CAT, CAT_TAG], [MASK, EMPTY]),
        ({"classes": "Cat"}, [CAT_BOX, OAK_BOX], [ABSENT_DOG, CAT_TAG], [MASK]),
        ({"classes": "Animal", "descendants": True, "only_matching": True}, [CAT_BOX], [CAT_TAG], [MASK]),
        ({"classes": "Dog", "only_matching": True}, [DOG_BOX], [], []),
        ({"image_ids": "train/b"}, [DOG_BOX], [FAINT_OAK, ABSENT_CAT], [EMPTY]),
        ({"label_types": "segmentations"}, [], [], [MASK, EMPTY]),
        ({"label_types": "detections"}, [CAT_BOX, OAK_BOX, DOG_BOX], [], []),
        ({"min_confidence": "0.25"}, [CAT_BOX, OAK_BOX, DOG_BOX], [CAT_TAG], [MASK, EMPTY]),
        (
            {"max_confidence": "0.5", "label_types": "classifications,detections"},
            [OAK_BOX],
            [ABSENT_DOG, FAINT_OAK, ABSENT_CAT],
            [],
        ),
        ({"max_images": "1"}, [CAT_BOX, OAK_BOX], [ABSENT_DOG], [MASK]),
        ({"subsets": "other"}, [], [], []),
    ],
    ids=str,
)
def test_rows_that_are_left(options: dict[str, Any], boxes: list[str], tags: list[str], masks: list[str]) -> None:
    tables, report = part(**options)
    assert (tables["boxes"], tables["tags"], tables["masks"]) == (boxes, tags, masks)
    assert tables["pngs"] == sorted(f"masks/train/{line.split(',')[0]}" for line in masks)
    assert len(tables["images"]) == len(tables["sizes"])
    assert tables["files"] == ([] if options else ["readme.txt"])
    assert ("selection" in report.summary) == bool(options)


def test_counts_and_images() -> None:
    tables, report = part(annotated_only=True, label_types="detections,segmentations")
    assert [line[0] for line in tables["images"]] == ["a", "b"]
    assert report.summary["selection"] == {
        "images": {"before": 4, "after": 2},
        "detections": {"before": 3, "after": 3},
        "classifications": {"before": 2, "after": 0},
        "segmentations": {"before": 1, "after": 1},
    }
    assert report.counts == {"export.unsupported": 1}, "the kept file"


def test_a_subset_without_a_chosen_image_has_no_table() -> None:
    members = {**MEMBERS, "annotations/val-images-with-rotation.csv": LIST_HEADER + "d,val,,,,,,,,,,\n"}
    members[LIST] = LIST_HEADER + "".join(f"{name},train,,,,,,,,,,\n" for name in "abc")
    sink = good(members, WHERE)[0]
    found = read_zip(exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, subsets="val")[0])
    assert not [name for name in found if "train" in name]
    assert found[SIZES] == b"d 8 8\n"


def test_pictures_of_chosen_images_only() -> None:
    sink = good(MEMBERS, WHERE)[0]
    source = MemorySource.of_sink(sink, WHERE.frames, pictures={n: b"%d" % n for n in range(4)})
    found = read_zip(exported(source, WHERE, image_ids="c", save_images=True)[0])
    assert [name for name in found if name.startswith("images/")] == ["images/train/c.jpg"]


def test_shapes_of_tracks_are_selected_frame_by_frame() -> None:
    where = target({f"{name}.jpg": (8, 8) for name in "abcd"}, labels("Cat", "Dog"))
    keys = [
        {"frame": frame, "type": "rectangle", "points": [0, 0, 4, 4], "outside": frame == 3, "attributes": []}
        for frame in (0, 3)
    ]
    body = json.dumps({"shapes": [key | {"occluded": False, "z_order": 0, "rotation": 0} for key in keys]}).encode()
    tracks = replace(Tracks.empty(1), label_ids=np.array([1], dtype=np.int32), bodies=Ragged.from_bytes([body]))
    shapes = shape(ShapeType.RECTANGLE, [0, 0, 1, 1], 2, frame=3)
    source = MemorySource(Annotations(tracks=tracks, shapes=shapes), where.frames)
    data, report = exported(source, where, image_ids="b,d")
    found = read_zip(data)["annotations/default-annotations-bbox.csv"].decode().splitlines()[1:]
    assert [line.split(",")[:3] for line in found] == [["b", "", "Cat"], ["d", "", "Dog"]]
    assert report.summary["selection"]["detections"] == {"before": 4, "after": 2}
    assert "annotations/oid_extra.json" not in read_zip(data)


def test_a_bad_value_is_refused_before_a_byte_is_written() -> None:
    parts: list[bytes] = []
    assert OPEN_IMAGES.write is not None
    source, options = MemorySource(Annotations(), WHERE.frames), ExportOptions(max_images="many")
    with pytest.raises(InvalidInput, match="max_images"):
        OPEN_IMAGES.write(source, WHERE, ArchiveWriter(parts.append, 1), options, Report(), lambda done: None)
    assert parts == []
