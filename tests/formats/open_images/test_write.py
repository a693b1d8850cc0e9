"""A task's annotations to rows: the worked examples, names, sizes, subsets."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.annotations import Annotations, Shapes, ShapeType, Tags, Tracks
from app.columns import Ragged, Texts
from app.errors import Report
from app.formats import ImportOptions, Target, find_format
from app.formats.selection import read_selected
from tests.formats.builders import all_attributes, exported, imported, labels, opened, places, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import BOX_HEADER, CLASSES, HIERARCHY, LIST_HEADER, MASK_HEADER, SIZES, TAG_HEADER

FRAME = {"a.jpg": (8, 6)}
SCORED = labels("cat", "dog", attributes=all_attributes())
PLAIN = labels("cat", "dog")
CAT, DOG = 1, 2


def shape(
    kind: ShapeType,
    points: list[float],
    label: int = CAT,
    *,
    frame: int = 0,
    group: int = 0,
    rotation: float = 0.0,
    occluded: bool = False,
    attributes: dict[int, str] | None = None,
) -> Shapes:
    items = [{"spec_id": spec, "value": value} for spec, value in sorted((attributes or {}).items())]
    return replace(
        Shapes.empty(1),
        frames=np.array([frame], dtype=np.int32),
        types=np.array([kind], dtype=np.uint8),
        label_ids=np.array([label], dtype=np.int32),
        groups=np.array([group], dtype=np.int32),
        rotations=np.array([rotation], dtype=np.float64),
        occluded=np.array([occluded]),
        attributes=Texts.from_list([json.dumps(items, separators=(",", ":"))]),
        points=Ragged.from_arrays([[] if kind == ShapeType.MASK else points], np.float64),
        runs=Ragged.from_arrays([points if kind == ShapeType.MASK else []], np.int32),
    )


def tag(label: int, attributes: dict[int, str] | None = None, frame: int = 0) -> Tags:
    items = [{"spec_id": spec, "value": value} for spec, value in sorted((attributes or {}).items())]
    return replace(
        Tags.empty(1),
        frames=np.array([frame], dtype=np.int32),
        label_ids=np.array([label], dtype=np.int32),
        attributes=Texts.from_list([json.dumps(items, separators=(",", ":"))]),
    )


def written(*parts: Shapes | Tags, where: Target | None = None, **options: object) -> dict[str, bytes]:
    where = where or target(FRAME, PLAIN)
    shapes = Shapes.concatenate([part for part in parts if isinstance(part, Shapes)])
    tags = Tags.concatenate([part for part in parts if isinstance(part, Tags)])
    source = MemorySource(Annotations(shapes=shapes, tags=tags), where.frames)
    return read_zip(exported(source, where, **options)[0])


def rows(members: dict[str, bytes], table: str, subset: str = "default") -> list[str]:
    name = f"annotations/{subset}-annotations-{table}.csv"
    header = {"bbox": BOX_HEADER, "human-imagelabels": TAG_HEADER, "object-segmentation": MASK_HEADER}[table]
    if name not in members:
        return []
    text = members[name].decode()
    assert text.startswith(header)
    return text[len(header) :].splitlines()


def drawn(png: bytes) -> list[str]:
    image = Image.open(io.BytesIO(png))
    assert image.mode in ("1", "L")
    pixels = np.asarray(image.convert("L"))
    assert set(np.unique(pixels).tolist()) <= {0, 255}
    return ["".join("#" if value else "." for value in line) for line in pixels.tolist()]


def test_a_rectangle() -> None:
    members = written(shape(ShapeType.RECTANGLE, [1, 1, 3, 4], occluded=True))
    assert rows(members, "bbox") == ["a,,cat,1,0.125,0.375,0.16666666666666666,0.6666666666666666,1,-1,-1,-1,-1"]


def test_a_tag_with_a_score() -> None:
    members = written(tag(DOG, {105: "0.7"}), where=target(FRAME, SCORED))
    assert rows(members, "human-imagelabels") == ["a,,dog,0.7"]


def test_a_polygon() -> None:
    members = written(shape(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4, 1, 4], DOG))
    assert rows(members, "object-segmentation") == ["a_dog_00000000.png,a,dog,00000000,,,,,,"]
    picture = drawn(members["masks/default/a_dog_00000000.png"])
    assert picture == ["........", ".#####..", ".#####..", ".#####..", "........", "........"]


def test_a_rectangle_and_a_mask_of_one_group() -> None:
    members = written(
        shape(ShapeType.RECTANGLE, [1, 1, 6, 4], group=3), shape(ShapeType.MASK, [0, 15, 1, 1, 5, 3], group=3)
    )
    corners = "0.125,0.75,0.16666666666666666,0.6666666666666666"
    assert rows(members, "bbox") == [f"a,,cat,1,{corners},0,-1,-1,-1,-1"]
    assert rows(members, "object-segmentation") == [f"a_cat_00000000.png,a,cat,00000000,{corners},,"]


def test_a_rectangle_turned_by_a_quarter() -> None:
    members = written(shape(ShapeType.RECTANGLE, [2, 2, 6, 4], rotation=90))
    assert rows(members, "bbox") == []
    assert rows(members, "object-segmentation") == ["a_cat_00000000.png,a,cat,00000000,,,,,,"]
    picture = drawn(members["masks/default/a_cat_00000000.png"])
    assert picture == ["........", "...##...", "...##...", "...##...", "...##...", "........"]


def test_turned_rectangles_as_boxes() -> None:
    turned = shape(ShapeType.RECTANGLE, [2, 2, 6, 4], rotation=90)
    members = written(turned, rotated="box")
    assert rows(members, "bbox") == ["a,,cat,1,0.375,0.625,0.16666666666666666,0.8333333333333334,0,-1,-1,-1,-1"]
    assert rows(members, "object-segmentation") == []


def test_a_turned_rectangle_as_both_is_linked() -> None:
    members = written(shape(ShapeType.RECTANGLE, [2, 2, 6, 4], rotation=90), rotated="both")
    (box,), (mask,) = rows(members, "bbox"), rows(members, "object-segmentation")
    corners = "0.375,0.625,0.16666666666666666,0.8333333333333334"
    assert corners in box
    assert mask == f"a_cat_00000000.png,a,cat,00000000,{corners},,"


def test_an_ellipse() -> None:
    members = written(shape(ShapeType.ELLIPSE, [4, 3, 6, 1]))
    picture = drawn(members["masks/default/a_cat_00000000.png"])
    assert picture == ["........", "...##...", "..####..", "..####..", "...##...", "........"]


def test_parts_of_one_group_and_label_are_one_mask() -> None:
    members = written(
        shape(ShapeType.POLYGON, [0, 0, 2, 0, 2, 2, 0, 2], group=1),
        shape(ShapeType.MASK, [0, 1, 7, 5, 7, 5], group=1),
        shape(ShapeType.POLYGON, [4, 0, 5, 0, 5, 1, 4, 1], DOG, group=1),
        shape(ShapeType.POLYGON, [4, 4, 5, 4, 5, 5, 4, 5]),
    )
    assert rows(members, "object-segmentation") == [
        "a_cat_00000000.png,a,cat,00000000,,,,,,",
        "a_dog_00000001.png,a,dog,00000001,,,,,,",
        "a_cat_00000002.png,a,cat,00000002,,,,,,",
    ]
    first = ["##......", "##......", "........", "........", "........", ".......#"]
    assert drawn(members["masks/default/a_cat_00000000.png"]) == first


def test_of_several_boxes_the_first_of_the_label_carries_the_link() -> None:
    members = written(
        shape(ShapeType.RECTANGLE, [0, 0, 1, 1], DOG, group=1),
        shape(ShapeType.RECTANGLE, [0, 0, 2, 3], group=1),
        shape(ShapeType.RECTANGLE, [0, 0, 8, 6], group=1),
        shape(ShapeType.MASK, [0, 15, 1, 1, 5, 3], group=1),
    )
    assert rows(members, "object-segmentation") == ["a_cat_00000000.png,a,cat,00000000,0,0.25,0,0.5,,"]


def test_masks_that_clean_to_one_name_are_all_written() -> None:
    catalog = labels("日本", "中国", "d/1", "d1", "D1")
    where = target(FRAME, catalog)
    parts = [shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], label, attributes={}) for label in (1, 2, 3, 4, 5)]
    members = written(*parts, where=where)
    pngs = [name for name in members if name.startswith("masks/")]
    assert len(pngs) == 5
    assert len({name.lower() for name in pngs}) == 5
    paths = [row.split(",")[0] for row in rows(members, "object-segmentation")]
    assert sorted(f"masks/default/{path}" for path in paths) == sorted(pngs)


def test_equal_box_ids_do_not_overwrite_one_another() -> None:
    where = target(FRAME, SCORED)
    mask = shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], attributes={107: "5.0", 108: "0.50"})
    members = written(mask, mask, shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], attributes={107: "a/b"}), where=where)
    assert rows(members, "object-segmentation") == [
        "a_cat_5.0.png,a,cat,5.0,,,,,0.5,",
        "a_cat_5.0-2.png,a,cat,5.0,,,,,0.5,",
        "a_cat_00000000.png,a,cat,00000000,,,,,,",
    ]


def test_shapes_without_a_pixel_are_left_out_and_told() -> None:
    where = target(FRAME, PLAIN)
    shapes = Shapes.concatenate(
        [
            shape(ShapeType.POLYGON, [20, 20, 30, 20, 30, 30]),
            shape(ShapeType.POLYGON, [1, 1, 1.2, 1, 1.2, 1.2]),
            shape(ShapeType.MASK, [4, 0, 0, 1, 1]),
        ]
    )
    data, report = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    assert rows(read_zip(data), "object-segmentation") == []
    assert report.counts == {"export.empty_mask": 3}
    back = imported(data, where)[0].annotations().shapes
    assert sorted(back.types.tolist()) == sorted(shapes.types.tolist())  # by the side file


def test_what_no_table_holds_is_told() -> None:
    where = target(FRAME, PLAIN)
    kinds = [ShapeType.POLYLINE, ShapeType.POLYLINE, ShapeType.CUBOID]
    shapes = Shapes.concatenate([shape(kind, [1, 1, 2, 2]) for kind in kinds])
    _, report = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    assert report.counts == {"export.unsupported": 3}


def test_flags_and_confidence_of_a_new_box() -> None:
    where = target(FRAME, SCORED)
    box = [0.0, 0.0, 8.0, 6.0]

    def cells(attributes: dict[int, str], occluded: bool = False) -> str:
        members = written(shape(ShapeType.RECTANGLE, box, attributes=attributes, occluded=occluded), where=where)
        row = rows(members, "bbox")[0].split(",")
        return ",".join([row[1], row[3], *row[8:]])

    assert cells({101: "true", 102: "false", 103: "1", 104: "-1", 105: "0.50"}) == ",0.5,0,1,0,1,-1"
    assert cells({100: "true"}) == ",1,0,0,0,0,0", "the flag, not the attribute"
    assert cells({}, occluded=True) == ",1,1,0,0,0,0", "a declared checkbox is off"
    assert cells({105: "", 106: "freeform"}) == "freeform,1,0,0,0,0,0"


def test_an_attribute_that_is_no_flag_is_told() -> None:
    where = target(FRAME, labels("cat", attributes=all_attributes(truncated="text", score="text")))
    shapes = shape(ShapeType.RECTANGLE, [0, 0, 8, 6], attributes={101: "maybe", 105: "good"})
    data, report = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    assert rows(read_zip(data), "bbox")[0].split(",")[9] == "-1"
    assert report.counts == {"export.bad_attribute": 2}


def test_what_lies_too_far_outside_is_cut_and_told() -> None:
    shapes = Shapes.concatenate(
        [
            shape(ShapeType.RECTANGLE, [-4, -3, 20, 20]),
            shape(ShapeType.RECTANGLE, [-8, 0, 16, 12]),
            shape(ShapeType.POINTS, [100, 1]),
        ]
    )
    where = target(FRAME, PLAIN)
    data, report = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    assert [row.split(",")[4:8] for row in rows(read_zip(data), "bbox")] == [
        ["-0.5", "2", "-0.5", "2"],
        ["-1", "2", "0", "2"],
    ]
    assert report.counts == {"export.clipped": 2}  # a box and the point
    assert not imported(data, where)[1].errors


def test_a_box_id_that_is_a_number_has_no_point() -> None:
    attributes = [replace(one, input_type="number", values=("0", "9", "1")) for one in all_attributes()]
    where = target(FRAME, labels("cat", attributes=attributes))
    mask = shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], attributes={107: "5.0"})
    assert rows(written(mask, where=where), "object-segmentation") == ["a_cat_5.png,a,cat,5,,,,,,"]


@pytest.mark.parametrize(
    ("attribute", "text", "column", "written", "told"),
    [
        ("box_id", "5.0", 3, "5.0", 0),  # of a text it is what somebody wrote
        ("box_id", "a/b", 3, "00000000", 1),
        ("box_id", "..", 3, "00000000", 1),
        ("box_id", "", 3, "00000000", 0),
        ("predicted_iou", "0.25", 8, "0.25", 0),
        ("predicted_iou", "7", 8, "", 1),
        ("predicted_iou", "abc", 8, "", 1),
        ("predicted_iou", "０.5", 8, "", 1),
        ("predicted_iou", "0_1", 8, "", 1),
    ],
)
def test_attributes_of_masks_that_cannot_be_written_are_told(
    attribute: str, text: str, column: int, written: str, told: int
) -> None:
    attributes = all_attributes()
    where = target({"a.jpg": (8, 6)}, labels("cat", "dog", attributes=attributes))
    spec = next(spec.id for spec in where.labels.by_id[CAT].attributes if spec.name == attribute)
    mask = shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], attributes={spec: text})
    data, report = exported(MemorySource(Annotations(shapes=mask), where.frames), where)
    assert rows(read_zip(data), "object-segmentation")[0].split(",")[column] == written
    assert report.counts == ({"export.bad_attribute": 1} if told else {})


def test_sources_may_be_filled_in() -> None:
    members = written(
        shape(ShapeType.RECTANGLE, [0, 0, 8, 6]), tag(DOG), box_source="freeform", tag_source="verification"
    )
    assert rows(members, "bbox")[0].startswith("a,freeform,cat")
    assert rows(members, "human-imagelabels") == ["a,verification,dog,1"]


def test_numbers_have_no_exponent() -> None:
    where = target({"a.jpg": (100000, 100000)}, PLAIN)
    members = written(shape(ShapeType.RECTANGLE, [0, 0.001, 100000, 1]), where=where)
    assert rows(members, "bbox") == ["a,,cat,1,0,1,0.00000001,0.00001,0,-1,-1,-1,-1"]


def test_every_frame_is_listed_and_has_a_size() -> None:
    where = target({"a.jpg": (8, 6), "my dir/b c.png": (5, 4), "gone.jpg": (1, 1)}, PLAIN)
    where = replace(where, frames=replace(where.frames, deleted=np.array([False, False, True])))
    members = written(where=where)
    listed = LIST_HEADER + "a,default,,,,,,,,,,\nmy dir/b c,default,,,,,,,,,,\n"
    assert members["annotations/default-images-with-rotation.csv"].decode() == listed
    assert members["annotations/default-image_ids_and_rotation.csv"].decode() == listed
    assert members[SIZES].decode() == "a 6 8\n'my dir/b c' 4 5\n"
    assert members[CLASSES].decode() == "cat,cat\ndog,dog\n"
    assert json.loads(members[HIERARCHY]) == {"LabelName": "/m/0", "Subcategory": []}
    assert "annotations/default-image_ids_and_rotation.csv" not in written(where=where, documented_image_list=False)


def test_a_task_without_frames_has_headers() -> None:
    members = written(where=target({}, PLAIN))
    assert members["annotations/default-images-with-rotation.csv"].decode() == LIST_HEADER


@pytest.mark.parametrize(
    ("frames", "ids"),
    [
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["a", "a.jpg"], ["a", "a.jpg"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["a.jpg", "a.jpg.png"], ["a", "a.jpg.png"]),
    ],
)
def test_ids_are_unique(frames: list[str], ids: list[str]) -> None:
    members = written(where=target(dict.fromkeys(frames, (4, 4)), PLAIN))
    assert members[SIZES].decode() == "".join(f"{name} 4 4\n" for name in ids)


def test_ids_of_a_video() -> None:
    members = written(where=target({"frame_000007": (4, 4)}, PLAIN, is_video=True))
    assert members[SIZES].decode() == "frame_000007 4 4\n"


def test_the_subset_of_the_task() -> None:
    for subset, expected in (("train", "train"), ("", "default"), ("a/b", "a-b")):
        where = target(FRAME, PLAIN, subset=subset)
        members = written(shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0]), where=where)
        assert f"annotations/{expected}-annotations-object-segmentation.csv" in members
        assert f"masks/{expected}/a_cat_00000000.png" in members


def test_subsets_of_several_tasks() -> None:
    where = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, PLAIN)
    where = replace(where, subsets=Texts.from_list(["train", "val"]))
    members = written(tag(CAT), tag(DOG, frame=1), where=where)
    assert rows(members, "human-imagelabels", "train") == ["a,,cat,1"]
    assert rows(members, "human-imagelabels", "val") == ["b,,dog,1"]


def test_a_track_is_a_row_on_every_frame_where_it_shows() -> None:
    where = target({f"frame_{n:06}.jpg": (8, 6) for n in range(5)}, PLAIN)
    where = replace(where, frames=replace(where.frames, deleted=np.array([False, False, True, False, False])))

    def key(frame: int, left: float, outside: bool) -> dict[str, object]:
        points = [left, 0, left + 1, 1]
        extra = {"occluded": False, "z_order": 0, "rotation": 0, "attributes": []}
        return {"frame": frame, "type": "rectangle", "points": points, "outside": outside, **extra}

    body = json.dumps({"shapes": [key(0, 0, False), key(4, 4, True)], "elements": []}).encode()
    tracks = replace(Tracks.empty(1), label_ids=np.array([CAT], dtype=np.int32), bodies=Ragged.from_bytes([body]))
    shapes = shape(ShapeType.RECTANGLE, [0, 0, 8, 6], DOG, frame=1)
    source = MemorySource(Annotations(tracks=tracks, shapes=shapes), where.frames)
    found = rows(read_zip(exported(source, where)[0]), "bbox")
    assert [row.split(",")[0] + row.split(",")[2] + row.split(",")[4] for row in found] == [
        "frame_000000cat0",
        "frame_000001dog0",
        "frame_000001cat0.125",
        "frame_000003cat0.375",
    ]


@pytest.mark.parametrize("most_rows", [1, 3])
@pytest.mark.parametrize("group", [0, 4])
def test_tracks_of_one_frame_are_written_alike_in_parts(
    monkeypatch: pytest.MonkeyPatch, most_rows: int, group: int
) -> None:
    where = target({f"{n:06}.jpg": (8, 6) for n in range(3)}, PLAIN)
    more = {"occluded": False, "outside": False, "z_order": 0, "rotation": 0, "attributes": []}
    bodies = [
        json.dumps({"shapes": [{"frame": n % 2, "type": "rectangle", "points": [0, 0, n % 3 + 1, 2], **more}]}).encode()
        for n in range(9)
    ]
    tracks = replace(
        Tracks.empty(9),
        ids=np.arange(1, 10),
        label_ids=np.full(9, CAT, dtype=np.int32),
        bodies=Ragged.from_bytes(bodies),
    )
    # The grouped box looks like some of those of tracks, so that its group is told.
    still = [shape(ShapeType.RECTANGLE, [0, 0, 2, 2], CAT, frame=frame, group=group) for frame in (0, 0, 1)]
    still.append(shape(ShapeType.POLYGON, [0, 0, 2, 0, 2, 2], CAT, frame=0, group=group))
    source = MemorySource(Annotations(tracks=tracks, shapes=Shapes.concatenate(still)), where.frames)
    whole = exported(source, where)[0]
    monkeypatch.setattr("app.annotations.tracks.ROWS_AT_ONCE", most_rows)
    monkeypatch.setattr("app.annotations.tracks.ROWS_A_STRETCH", most_rows)
    assert exported(source, where)[0] == whole


@pytest.mark.parametrize("most_rows", [1, 3])
def test_tracks_expanded_some_frames_at_a_time_are_written_alike(
    monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    where = target({f"{n:06}.jpg": (8, 6) for n in range(9)}, PLAIN)
    where = replace(where, subsets=Texts.from_list(["train", "val", "train"] * 3))
    bodies = []
    for n in range(6):
        kind, points = [("rectangle", [0, 0, n + 1, 2]), ("polygon", [0, 0, 4, 0, 4, n + 1])][n % 2]
        key = {"type": kind, "points": points, "occluded": n == 2, "z_order": 0, "rotation": 0, "attributes": []}
        shown = [{**key, "frame": n, "outside": False}, {**key, "frame": n + 3, "outside": n < 4}]
        bodies.append(json.dumps({"shapes": shown, "elements": []}).encode())
    tracks = replace(
        Tracks.empty(6),
        ids=np.arange(1, 7),
        label_ids=np.full(6, CAT, dtype=np.int32),
        bodies=Ragged.from_bytes(bodies),
    )
    still = [shape(ShapeType.RECTANGLE, [0, 0, 8, 6], DOG, frame=frame) for frame in (1, 1, 4, 8)]
    source = MemorySource(Annotations(tracks=tracks, shapes=Shapes.concatenate(still)), where.frames)
    whole = exported(source, where)[0]
    monkeypatch.setattr("app.annotations.tracks.ROWS_AT_ONCE", most_rows)
    assert exported(source, where)[0] == whole
    # As many rows as frames that tracks show on, and the four.
    tables = [name for name in read_zip(whole) if "bbox" in name or "segmentation" in name]
    assert sum(len(read_zip(whole)[name].splitlines()) - 1 for name in tables) == 4 * 3 + 5 + 4 + 4


def test_pictures_are_stored_as_they_are() -> None:
    where = target({"x/a.jpg": (8, 6), "b.png": (8, 6)}, PLAIN, subset="train")
    source = MemorySource(Annotations(), where.frames, pictures={0: b"first picture", 1: b"second"})
    members = read_zip(exported(source, where, save_images=True)[0])
    assert members["images/train/x/a.jpg"] == b"first picture"
    assert members["images/train/b.png"] == b"second"


def test_the_same_task_gives_the_same_bytes() -> None:
    where = target(FRAME, PLAIN)
    shapes = Shapes.concatenate(
        [shape(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4]), shape(ShapeType.RECTANGLE, [0, 0, 1, 1])]
    )
    source = MemorySource(Annotations(shapes=shapes, tags=tag(CAT)), where.frames)
    assert exported(source, where)[0] == exported(source, where)[0]


def test_a_spreadsheet_formula_is_plain_text() -> None:
    catalog = labels("=1+1", '"quoted", name')
    members = written(tag(1), tag(2), where=target(FRAME, catalog))
    assert rows(members, "human-imagelabels") == ["a,,=1+1,1", 'a,,"""quoted"", name",1']


def test_nothing_is_said_of_a_clean_export() -> None:
    where = target(FRAME, SCORED)
    source = MemorySource(Annotations(tags=tag(CAT)), where.frames)
    assert places(exported(source, where)[1].problems()) == []


def peak_of(call: Callable[[], object]) -> int:
    """Bytes, where nobody looks for garbage: what one pass has held must be gone by itself before the next."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_many_classes_are_held_once_and_written_some_at_a_time() -> None:
    n = 40_000
    classes = "".join(f"/m/{number:06},class number {number:06}\n" for number in range(n))
    members = {
        "annotations/class-descriptions.csv": f"/m/c,cat\n{classes}",
        "annotations/hierarchy.json": '{"LabelName": "/m/9", "Subcategory": [{"LabelName": "/m/000001"}]}',
        "annotations/train-annotations-human-imagelabels.csv": "ImageID,Source,LabelName,Confidence\na,x,/m/c,1\n",
    }
    where, archive, sink = target(FRAME, PLAIN), opened(members), MemorySink()

    def bring(**options: Any) -> None:
        read_selected(
            find_format("Open Images V6 1.0"), archive, where, ImportOptions(**options), sink, Report(), lambda _: None
        )

    plain = peak_of(bring)
    assert peak_of(lambda: bring(classes="cat")) < 1.1 * plain
    source = MemorySource.of_sink(sink, where.frames)
    told: list[bytes] = []
    assert peak_of(lambda: told.append(exported(source, where)[0])) < 12 << 20
    assert read_zip(told[0])["annotations/class-descriptions.csv"].decode() == f"/m/c,cat\n{classes}dog,dog\n"
