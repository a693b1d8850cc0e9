"""What gets lost elsewhere, where no other test of a rule shows it: the table stands in tests/README.md."""

from __future__ import annotations

import csv
import io

import numpy as np

from app.annotations import Annotations, Shapes, ShapeType
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, round_trip, target
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
    rectangle_png,
)
from tests.formats.open_images.test_write import shape
from tests.samples import read_table

NAMES = "/m/c,Cat\n/m/d,Dog\n"
TASK = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("Cat", "Dog", attributes=all_attributes()))
PNG = rectangle_png(8, 6, 1, 1, 4, 4)


def test_the_hierarchy_is_the_same_text() -> None:
    tree = '{"LabelName": "/m/0bl9f",\n "Subcategory": [{"LabelName": "/m/x", "Subcategory": [{"LabelName": "/m/c"}]},'
    tree += ' {"LabelName": "/m/y", "Subcategory": [{"LabelName": "/m/c", "Part": [{"LabelName": "/m/d"}]}]}]}'
    assert round_trip({CLASSES: NAMES, HIERARCHY: tree}, TASK)[HIERARCHY].decode() == tree


def test_no_size_is_needed_and_every_size_is_written() -> None:
    members = {
        CLASSES: NAMES,
        BOXES: BOX_HEADER + "a,,/m/c,1,0,0.5,0,0.5,0,0,0,0,0\n",
        MASKS: MASK_HEADER + "m.png,b,/m/d,1,,,,,,\n",
        "masks/train/m.png": PNG,
    }
    sink, _ = good(members, TASK)
    assert len(sink.annotations().shapes) == 2
    back = read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])
    assert back[SIZES].decode().splitlines() == ["a 6 8", "b 6 8"]


def test_every_file_of_the_data_set_comes_back() -> None:
    members = {
        CLASSES: NAMES,
        "train-annotations-human-imagelabels-boxable.csv": TAG_HEADER + "a,verification,/m/c,1\n",
        "oidv7-train-annotations-machine-imagelabels.csv": TAG_HEADER + "a,machine,/m/c,0.7\n",
        "oidv6-train-annotations-vrd.csv": "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,"
        "YMin2,YMax2,RelationshipLabel\na,/m/c,/m/d,0,1,0,1,0,0.5,0,0.5,at\n",
        "oidv7-train-annotations-point-labels.csv": "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,"
        "UnsureVotes,TextLabel\na,0.5,0.25,/m/c,yes,cs,3,0,1,cat\n",
        "open_images_train_v6_localized_narratives-00000-of-00010.jsonl": '{"dataset_id": "x", "image_id": "a", '
        '"annotator_id": 1, "caption": "A cat.", "timed_caption": [], "traces": [], "voice_recording": "x.ogg"}\n',
        "oidv6-relationships-description.csv": "at,at\n",
    }
    back = round_trip(members, TASK)
    wanted = {line for data in members.values() for line in data.splitlines() if line.startswith(("a,", "{", "at,"))}
    found = {line for data in back.values() for line in data.decode(errors="replace").splitlines()}
    assert wanted <= found, wanted - found


def test_groups_links_and_labels_stay_apart() -> None:
    shapes = [
        shape(ShapeType.RECTANGLE, [0, 0, 4, 3], 2, group=7),
        shape(ShapeType.RECTANGLE, [1, 1, 5, 4], 1, group=7),
        shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], 1, group=7, attributes={107: "m"}),
        shape(ShapeType.MASK, [0, 1, 2, 2, 2, 2], 2, group=7, attributes={107: "n"}),
        shape(ShapeType.RECTANGLE, [0, 0, 1, 1], 1, group=9),
        shape(ShapeType.RECTANGLE, [1, 1, 2, 2], 2, group=9),
    ]
    whole = Shapes.concatenate(shapes)
    members = read_zip(exported(MemorySource(Annotations(shapes=whole), TASK.frames), TASK)[0])
    rows = {row["BoxID"]: row for row in read_table(members["annotations/default-annotations-object-segmentation.csv"])}
    assert [rows["m"]["BoxXMin"], rows["n"]["BoxXMin"]] == ["0.125", "0"], "each mask has the box of its own label"
    found = good(dict(members), TASK)[0].annotations().shapes
    told = [sorted(zip(s.types.tolist(), s.label_ids.tolist(), s.groups.tolist(), strict=True)) for s in (whole, found)]
    assert told[0] == told[1]


def test_subsets_and_equal_stems() -> None:
    where = target({"a.jpg": (8, 6), "a.png": (4, 4), "b.jpg": (8, 6)}, labels("Cat"), subset="my set")
    boxes = [shape(ShapeType.RECTANGLE, [0, 0, 1 + frame, 1], 1, frame=frame) for frame in range(3)]
    source = MemorySource(Annotations(shapes=Shapes.concatenate(boxes)), where.frames)
    members = read_zip(exported(source, where)[0])
    rows = read_table(members["annotations/my set-annotations-bbox.csv"])
    assert [row["ImageID"] for row in rows] == ["a.jpg", "a.png", "b"]
    assert good(dict(members), where)[0].annotations().shapes.frames.tolist() == [0, 1, 2]


def test_numbers_keep_their_last_digit() -> None:
    random = np.random.default_rng(3)
    texts = [repr(float(value)) for value in random.random(40)]
    row = "a,,/m/c,1,{},1,{},1,0,0,0,0,0\n"
    table = BOX_HEADER + "".join(row.format(x, y) for x, y in zip(texts[::2], texts[1::2], strict=True))
    back = round_trip({CLASSES: NAMES, LIST: LIST_HEADER + "a,train,,,,,,,,,,\n", BOXES: table}, TASK)
    assert back[BOXES].decode() == table
    points = [
        [value * side for value, side in zip(values, (8, 6, 8, 6), strict=True)] for values in random.random((9, 4))
    ]
    boxes = [[min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)] for x0, y0, x1, y1 in points]
    shapes = Shapes.concatenate([shape(ShapeType.RECTANGLE, box, 1) for box in boxes])
    data, _ = exported(MemorySource(Annotations(shapes=shapes), TASK.frames), TASK)
    assert good(data, TASK)[0].annotations().shapes.points.values.tolist() == shapes.points.values.tolist()


def test_digits_are_no_frame_number() -> None:
    frames = {f"{name}.jpg": (8, 6) for name in ("x", "0000000000000000", "1", "y")}
    where = target(frames, labels("Cat"))
    rows = "".join(f"{name},,Cat,1\n" for name in ("0000000000000000", "1"))
    sink, _ = good({CLASSES: "Cat,Cat\n", "train-annotations-human-imagelabels.csv": TAG_HEADER + rows}, where)
    assert sink.annotations().tags.frames.tolist() == [1, 2]
    rest = list(csv.reader(io.StringIO(TAG_HEADER + "3,,Cat,1\n0,,Cat,1\n")))
    text = "\n".join(",".join(row) for row in rest) + "\n"
    sink, report = good({"train-annotations-human-imagelabels.csv": text + "1,,Cat,1\n"}, where, unmatched="skip")
    assert (sink.annotations().tags.frames.tolist(), report.counts["image.unmatched"]) == ([2], 2)
