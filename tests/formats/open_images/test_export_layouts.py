"""The layouts of an export: each is read back the same, and by the rules of the tool it is meant for."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.annotations import Annotations, Shapes, ShapeType
from tests.desk import Desk
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target, zip_of
from tests.formats.memory import MemorySource
from tests.formats.open_images.parts import (
    BOX_HEADER,
    CLASSES,
    HIERARCHY,
    LIST_HEADER,
    MASK_HEADER,
    TAG_HEADER,
    rectangle_png,
)
from tests.formats.open_images.test_write import shape, tag

A, B, C = "000a1249af2bc5f0", "e88da03f2d80f1a1", "f00000000000000f"
WHERE = target(
    {f"{A}.jpg": (16, 8), f"deep/{B}.jpg": (8, 8), f"{C}.png": (8, 8), "new.jpg": (10, 10)},
    labels("Cat", "Dog", attributes=all_attributes()),
)
BOX = "0.25,0.75,0.25,0.75"
TREE = {"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/c", "Part": [{"LabelName": "/m/d"}]}]}
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: "/m/c,Cat\n/m/d,Dog\n",
    HIERARCHY: json.dumps(TREE),
    "train-images-with-rotation.csv": LIST_HEADER + f"{A},train,u,,,,,,,,,0.0\n{B},train,,,,,,,,,,\n",
    "validation-images-with-rotation.csv": LIST_HEADER + f"{C},validation,,,,,,,,,,\n",
    "train-annotations-bbox.csv": BOX_HEADER
    + f"{A},xclick,/m/c,1,{BOX},0,1,-1,0,0\n{B},xclick,/m/d,1,{BOX},0,0,0,0,0\n",
    "validation-annotations-human-imagelabels.csv": TAG_HEADER + f"{C},verification,/m/c,1\n{C},verification,/m/d,0\n",
    "oidv7-val-annotations-machine-imagelabels.csv": TAG_HEADER + f"{C},machine,/m/d,0.70\n",
    "train-annotations-object-segmentation.csv": MASK_HEADER
    + f"x.png,{A},/m/c,00000001,{BOX},0.9,\ny.png,{B},/m/d,00000002,,,,,,\nz.png,{B},/m/d,00000003,,,,,,\n",
    "masks/train/x.png": rectangle_png(16, 8, 4, 2, 12, 6),
    "masks/train/y.png": rectangle_png(8, 8, 1, 1, 4, 6),
    "masks/train/z.png": rectangle_png(8, 8, 0, 0, 0, 0),
    "validation-annotations-object-segmentation.csv": MASK_HEADER + f"x.png,{C},/m/c,00000001,,,,,,\n",
    "masks/validation/x.png": rectangle_png(8, 8, 7, 7, 8, 8),
}


def source(**options: Any) -> MemorySource:
    sink = good(ARCHIVE, WHERE, **options)[0]
    found = sink.annotations()
    new = shape(ShapeType.POLYGON, [1, 1, 9, 1, 9, 9, 1, 9], frame=3)
    pictures = {frame: f"picture {frame}".encode() for frame in range(4)}
    return MemorySource.of_sink(
        sink,
        WHERE.frames,
        Annotations(
            shapes=Shapes.concatenate([found.shapes, new]),
            tags=type(found.tags).concatenate([found.tags, tag(2, frame=3)]),
            images=found.images,
            rows=found.rows,
        ),
        pictures=pictures,
    )


def written(layout: str, **options: Any) -> dict[str, bytes]:
    return read_zip(exported(source(machine_labels="tags"), WHERE, layout=layout, save_images=True, **options)[0])


def seen(annotations: Annotations) -> list[Any]:
    """What a person sees, without order."""
    shapes, tags = annotations.shapes, annotations.tags
    found: list[Any] = []
    for row in range(len(shapes)):
        found.append(
            (
                int(shapes.frames[row]),
                int(shapes.types[row]),
                int(shapes.label_ids[row]),
                shapes.points.row(row).tolist(),
                shapes.runs.row(row).tolist(),
            )
        )
    found += [(int(tags.frames[row]), int(tags.label_ids[row]), tags.attributes.row(row)) for row in range(len(tags))]
    return sorted(found, key=repr)


@pytest.mark.parametrize("label_ids", ["mid", "name"])
@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
def test_every_layout_is_read_back_the_same(layout: str, label_ids: str) -> None:
    members = written(layout, label_ids=label_ids)
    first = good(dict(written("default")), WHERE, machine_labels="tags")[0].annotations()
    sink, _ = good(dict(members), WHERE, machine_labels="tags")
    assert seen(sink.annotations()) == seen(first)
    subsets = dict(
        zip(sink.annotations().images.frames.tolist(), sink.annotations().images.subsets.to_list(), strict=True)
    )
    assert subsets == {0: "train", 1: "train", 2: "validation", 3: "default"}


def test_the_official_layout_is_called_as_published() -> None:
    members = written("official")
    assert sorted(name for name in members if "/" not in name) == [
        "bbox_labels_600_hierarchy.json",
        "default-annotations-object-segmentation.csv",
        "default-images-with-rotation.csv",
        "images.meta",
        "oidv6-train-annotations-bbox.csv",
        "oidv6-train-images-with-labels-with-rotation.csv",
        "oidv7-class-descriptions.csv",
        "oidv7-default-annotations-human-imagelabels.csv",
        "oidv7-val-annotations-human-imagelabels.csv",
        "oidv7-val-annotations-machine-imagelabels.csv",
        "train-annotations-object-segmentation.csv",
        "validation-annotations-object-segmentation.csv",
        "validation-images-with-rotation.csv",
    ]
    pngs = {name for name in members if name.endswith(".png") and "masks" in name}
    assert pngs == {
        "train-masks-0/x.png",
        "train-masks-e/y.png",
        "train-masks-e/z.png",
        "validation-masks-f/x-2.png",
        "default-masks-0/new_mc_00000000.png",
    }
    assert members["oidv7-class-descriptions.csv"].decode() == "LabelName,DisplayName\n/m/c,Cat\n/m/d,Dog\n"
    assert members[f"train/deep/{B}.jpg"] == b"picture 1"
    assert json.loads(members["bbox_labels_600_hierarchy.json"]) == TREE


def test_val_stays_val_where_it_is_a_subset() -> None:
    from dataclasses import replace

    from app.columns import Texts

    where = target({"a.jpg": (4, 4), "b.jpg": (4, 4)}, labels("cat"))
    where = replace(where, subsets=Texts.from_list(["val", "validation"]))
    tags = type(tag(1)).concatenate([tag(1), tag(1, frame=1)])
    members = read_zip(exported(MemorySource(Annotations(tags=tags), where.frames), where, layout="official")[0])
    assert members["oidv7-val-annotations-human-imagelabels.csv"].decode().splitlines()[1:] == ["a,,cat,1"]
    assert members["oidv7-validation-annotations-human-imagelabels.csv"].decode().splitlines()[1:] == ["b,,cat,1"]


# --- FiftyOne ---


def rows(members: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(members[name].decode(), newline="")))


def read_as_fiftyone(members: dict[str, bytes]) -> dict[str, Any]:
    """Samples by its rules: pictures of one folder, every file must be there, -1 is true, grey over 122 is object."""
    pictures = {name.removeprefix("data/").rpartition(".")[0] for name in members if name.startswith("data/")}
    assert not any("/" in image for image in pictures)
    classes = dict(csv.reader(io.StringIO(members["metadata/classes.csv"].decode(), newline="")))
    attributes = dict(csv.reader(io.StringIO(members["metadata/attributes.csv"].decode(), newline="")))
    assert attributes
    masked = [classes[line] for line in members["metadata/segmentation_classes.csv"].decode().splitlines()]
    points = list(csv.reader(io.StringIO(members["metadata/point_classes.csv"].decode(), newline="")))[1:]
    assert {row[0] for row in points} == set(classes)
    hierarchy = json.loads(members["metadata/hierarchy.json"])
    assert members["labels/relationships.csv"].startswith(b"ImageID,LabelName1,LabelName2,XMin1")
    assert members["labels/points.csv"].startswith(b"ImageId,X,Y,Label")
    samples: dict[str, Any] = {image: {"positive": [], "negative": [], "boxes": [], "masks": []} for image in pictures}
    for row in rows(members, "labels/classifications.csv"):
        kind = "positive" if float(row["Confidence"]) > 0.1 else "negative"
        samples[row["ImageID"]][kind].append(classes[row["LabelName"]])
    for row in rows(members, "labels/detections.csv"):
        corners = tuple(float(row[name]) for name in ("XMin", "YMin", "XMax", "YMax"))
        flags = [bool(int(row[name])) for name in ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")]
        samples[row["ImageID"]]["boxes"].append((classes[row["LabelName"]], corners, flags))
    for row in rows(members, "labels/segmentations.csv"):
        assert classes[row["LabelName"]] in masked
        left, right, top, bottom = (float(row[name]) for name in ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"))
        png = members[f"labels/masks/{row['ImageID'][0].upper()}/{row['MaskPath']}"]
        grey = np.asarray(Image.open(io.BytesIO(png)).convert("L")) > 122
        height, width = grey.shape
        crop = grey[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
        samples[row["ImageID"]]["masks"].append((classes[row["LabelName"]], int(crop.sum()), crop.size))
    return {"samples": samples, "hierarchy": hierarchy}


def test_fiftyone_reads_its_layout() -> None:
    told = read_as_fiftyone(written("fiftyone"))
    assert told["hierarchy"] == {
        "LabelName": "Entity",
        "Subcategory": [{"LabelName": "Cat", "Part": [{"LabelName": "Dog"}]}],
    }
    samples = told["samples"]
    assert samples.keys() == {A, B, C, "new"}
    assert samples[A]["boxes"] == [("Cat", (0.25, 0.25, 0.75, 0.75), [False, True, True, False, False])]
    assert samples[A]["masks"] == [("Cat", 32, 32)]
    assert samples[B]["masks"] == [("Dog", 15, 15), ("Dog", 0, 64)]
    assert samples[C]["masks"] == [("Cat", 1, 1)]
    assert samples["new"]["masks"] == [("Cat", 64, 64)]
    assert (sorted(samples[C]["positive"]), samples[C]["negative"]) == (["Cat", "Dog"], ["Dog"])
    assert samples["new"]["positive"] == ["Dog"]


def test_fiftyone_finds_every_file_of_an_empty_task() -> None:
    where = target({"a.jpg": (4, 4)}, labels("cat"))
    pictures = MemorySource(Annotations(), where.frames, pictures={0: b"x"})
    told = read_as_fiftyone(read_zip(exported(pictures, where, layout="fiftyone", save_images=True)[0]))
    assert told["samples"] == {"a": {"positive": [], "negative": [], "boxes": [], "masks": []}}


def test_images_that_need_their_folder_are_told() -> None:
    where = target({"x/a.jpg": (4, 4), "y/a.jpg": (4, 4), "y/b.jpg": (4, 4)}, labels("cat"))
    data, report = exported(MemorySource(Annotations(tags=tag(1)), where.frames), where, layout="fiftyone")
    assert [row["ImageID"] for row in rows(read_zip(data), "metadata/image_ids.csv")] == ["x/a", "y/a", "b"]
    assert report.counts == {"export.unsupported": 2}
    assert good(data, where)[0].annotations().tags.frames.tolist() == [0]


def test_a_second_trip_through_fiftyones_layout_tells_nothing_new() -> None:
    members = written("fiftyone")
    sink, _ = good(dict(members), WHERE)
    again, report = exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, layout="fiftyone")
    found = read_zip(again)
    assert not [name for name in found if "-2." in name and "x-2" not in name]
    assert set(report.counts) <= {"export.unknown_flag"}
    assert {n: d for n, d in found.items() if n.startswith("metadata/")}.keys() == {
        n for n in members if n.startswith("metadata/")
    }


def test_fiftyones_own_files_come_back_as_they_were_and_know_what_was_drawn_since(tmp_path: Path) -> None:
    frames = {f"{A}.jpg": (16, 8), f"{B}.jpg": (8, 8)}
    with Desk(tmp_path) as desk:
        task = desk.task(frames, [{"name": "Cat"}, {"name": 'Dog, "hot"'}, {"name": "/m/0bird"}])
        cat, dog, bird = (label["id"] for label in task.labels().values())
        polygon = {"type": "polygon", "frame": 0, "points": [1, 1, 9, 1, 9, 7], "attributes": []}
        task.put(shapes=[{**polygon, "label_id": cat}])
        first = task.export_zip(layout="fiftyone")
        members = read_zip(first)
        assert members["metadata/segmentation_classes.csv"] == b"Cat\n"
        task.bring(first)
        assert task.export_zip(layout="fiftyone") == first
        members["metadata/point_classes.csv"] = b"LabelName,DisplayName,YesPoints\nCat,Cat,3"
        members["metadata/README.md"] = b"hello"
        task.bring(zip_of(members))
        again = task.export(layout="fiftyone")
        assert again == {**members, "metadata/point_classes.csv": again["metadata/point_classes.csv"]}
        added = [{**polygon, "label_id": label} for label in (dog, bird)]
        task.change("create", shapes=[*added, {**added[0], "type": "points", "points": [2, 2]}])
        members = task.export(layout="fiftyone")
        assert members["metadata/segmentation_classes.csv"] == b'Cat\nDog, "hot"\n/m/0bird\n'
        told = members["metadata/point_classes.csv"].decode()
        assert told.startswith('LabelName,DisplayName,YesPoints\nCat,Cat,3\n"Dog, ""hot""","Dog, ""hot"""\n')
        assert task.export(layout="fiftyone", side_file="false", label_types="points").keys() >= {
            "metadata/segmentation_classes.csv"
        }


def cells_of(data: bytes) -> list[list[float]]:
    """The Box* cells of masks, in FiftyOne's layout."""
    rows = csv.DictReader(io.StringIO(read_zip(data)["labels/segmentations.csv"].decode()))
    return [[float(row[f"Box{side}"]) for side in ("XMin", "XMax", "YMin", "YMax")] for row in rows]


def test_a_box_with_the_edges_of_a_mask_that_has_none_stays_by_itself() -> None:
    where = target({"a.jpg": (16, 8)}, labels("Cat"))
    mask = shape(ShapeType.MASK, [0, 6, 2, 1, 4, 2])
    alone = Shapes.concatenate([shape(ShapeType.RECTANGLE, [2, 1, 5, 3]), mask])
    for groups in ([0, 0], [1, 1], [1, 2]):
        shapes = alone.replace(groups=np.array(groups, dtype=np.int32))
        data, _ = exported(MemorySource(Annotations(shapes=shapes), where.frames), where, layout="fiftyone")
        assert good(data, where)[0].annotations().shapes.groups.tolist() == groups
        is_exact = cells_of(data) == [[0.125, 0.3125, 0.125, 0.375]]
        assert is_exact is (groups == [1, 1]), "made boxes are a little aside"


@pytest.mark.parametrize(("width", "height"), [(333, 100), (1920, 1080)])
def test_fiftyone_sees_all_pixels_of_a_mask_without_a_box(width: int, height: int) -> None:
    where = target({"a.jpg": (width, height)}, labels("Cat"))
    edges = [[0, 0, width, height]]
    edges += [[at % (width - 9), at % (height - 9), at % (width - 9) + 9, at % (height - 9) + 9] for at in range(width)]
    masks = [shape(ShapeType.MASK, [0, 81, x0, y0, x1 - 1, y1 - 1]) for x0, y0, x1, y1 in edges[1:]]
    whole = shape(ShapeType.MASK, [0, width * height, 0, 0, width - 1, height - 1])
    found = Annotations(shapes=Shapes.concatenate([whole, *masks]))
    data, _ = exported(MemorySource(found, where.frames), where, layout="fiftyone")
    seen = [[int(x0 * width), int(y0 * height), int(x1 * width), int(y1 * height)] for x0, x1, y0, y1 in cells_of(data)]
    assert sorted(seen) == sorted(edges), "as FiftyOne crops them"
