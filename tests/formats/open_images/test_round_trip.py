"""Zip → task → zip, nothing edited: every cell, every byte. And task → zip → task."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import Annotations, Shapes, ShapeType
from app.columns import Ragged, Texts
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
    TAGS,
    pixels,
    rectangle_png,
)

IDS = ("e88da03f2d80f1a1", "0000000000000002", "000a1249af2bc5f0")
TASK = target(
    {f"{IDS[0]}.jpg": (1024, 768), f"cats/{IDS[1]}.jpg": (8, 6), "plain.jpg": (10, 20)},
    labels("Cat", 'Fiat 500 "topolino"', "unused", attributes=all_attributes()),
)
CLICKS = ",XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"

ARCHIVE: dict[str, str | bytes] = {
    CLASSES: '/m/01yrx,Cat\n/m/02wvth,"Fiat 500 ""topolino"""\n/m/unused,Not in the task\n',
    HIERARCHY: '{ "LabelName":"/m/0bl9f",\n"Subcategory":[{"LabelName":"/m/01yrx","Part":[{"LabelName":"/m/01yrx"}]}]}',
    SIZES: f"{IDS[0]} 768 1024\n{IDS[1]} 6 8\n",
    LIST: LIST_HEADER
    + f'{IDS[0]},train,https://x/o.jpg,https://x,"CC BY, 2.0",https://a,"Ann ""the"" Author","Title, ""quoted""\n'
    + 'over two lines",123,md5==,https://t,90.0\n'
    + f"{IDS[1]},train,,,,,,,,,,\n",
    "annotations/validation-images-with-rotation.csv": LIST_HEADER + "plain,validation,u,,,,,,,,,nan\n",
    BOXES: BOX_HEADER.strip()
    + CLICKS
    + "\n"
    + f"{IDS[0]},xclick,/m/01yrx,1,0.120000,0.5,0.0499,0.9000,1,0,-1,1,0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8\n"
    + f"{IDS[1]},activemil,/m/02wvth,1,0,1,0,1,-1,-1,-1,-1,-1"
    + ",-1.000000" * 8
    + "\n"
    + f"{IDS[0]},xclick,/m/01yrx,1,0.120000,0.5,0.0499,0.9000,0,0,0,0,0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8\n",
    "annotations/validation-annotations-bbox.csv": BOX_HEADER
    + "plain,freeform,/m/01yrx,1,1e-2,0.5,-0.1,1.1,0,0,0,0,0\n",
    TAGS: TAG_HEADER
    + f"{IDS[0]},verification,/m/01yrx,1\n{IDS[0]},crowdsource-verification,/m/02wvth,0\n{IDS[1]},,/m/01yrx,0.70\n",
    MASKS: MASK_HEADER
    + f"{IDS[1]}_m01yrx_e16d01b9.png,{IDS[1]},/m/01yrx,e16d01b9,,,,,0.87654,0.1 0.2 1;0.3 0.4 0\n"
    + f"{IDS[1]}_m02wvth_00000001.png,{IDS[1]},/m/02wvth,00000001,0.0,1.0,0,1.000000,,\n"
    + f"empty.png,{IDS[1]},/m/01yrx,00000002,,,,,,\n"
    + f"small.png,{IDS[0]},/m/01yrx,00000003,0.12,0.5,0.0499,0.9,,\n",
    f"masks/train/{IDS[1]}_m01yrx_e16d01b9.png": pixels("##......", "#.#.....", "###.....", *["........"] * 3),
    f"masks/train/{IDS[1]}_m02wvth_00000001.png": rectangle_png(8, 6, 0, 0, 8, 6, kind="zero-one"),
    "masks/train/empty.png": rectangle_png(8, 6, 0, 0, 0, 0),
    "masks/train/small.png": rectangle_png(64, 48, 5, 5, 20, 30, kind="grey"),
    "masks/train/nobody.png": b"not even a picture",
    "annotations/oidv6-relationship-triplets.csv": "LabelName1,LabelName2\r\nx,y\r\n",
    "README.md": "hello\n",
    "empty.txt": "",
}


def cells(data: bytes | str) -> list[dict[str, str]]:
    text = data if isinstance(data, str) else data.decode()
    return sorted(
        ({name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))), key=str
    )


@pytest.mark.parametrize("conv_mask_to_poly", [False, True])
def test_an_untouched_archive_comes_back_with_every_cell_and_byte(conv_mask_to_poly: bool) -> None:
    members = round_trip(ARCHIVE, TASK, conv_mask_to_poly=conv_mask_to_poly)
    for name, data in ARCHIVE.items():
        if name.endswith(".csv") and "vrd" not in name and name != CLASSES:
            assert cells(members[name]) == cells(data), name
        elif name == CLASSES:
            assert members[name].decode() == f"{data}unused,unused\n", "the task's own label is declared too"
        elif name != SIZES:
            assert members[name] == (data if isinstance(data, bytes) else data.encode()), name
    extra = {"annotations/train-image_ids_and_rotation.csv", "annotations/validation-image_ids_and_rotation.csv"}
    if conv_mask_to_poly:
        extra.add("annotations/oid_extra.json")  # says that these masks were polygons
    assert set(members) - set(ARCHIVE) == extra


def test_a_second_trip_gives_the_same_bytes() -> None:
    first = round_trip(ARCHIVE, TASK)
    assert round_trip(dict(first), TASK) == first


def test_the_annotations_of_a_second_trip_are_the_same() -> None:
    first = good(ARCHIVE, TASK)[0].annotations()
    second = good(dict(round_trip(ARCHIVE, TASK)), TASK)[0].annotations()
    assert_same(first, second)


def assert_same(one: Annotations, other: Annotations) -> None:
    """Equal in all that a person sees, frame by frame in the same order."""
    for kind in ("shapes", "tags"):
        a, b = getattr(one, kind), getattr(other, kind)
        assert len(a) == len(b), kind
        for name, column in a.columns().items():
            theirs = getattr(b, name)
            if name in ("ids", "kept"):
                continue
            if isinstance(column, np.ndarray):
                assert column.tolist() == theirs.tolist(), (kind, name)
            elif isinstance(column, Ragged):
                assert column.offsets.tolist() == theirs.offsets.tolist(), (kind, name)
                assert column.values.tolist() == theirs.values.tolist(), (kind, name)
            else:
                assert column.to_list() == theirs.to_list(), (kind, name)


def test_names_of_tables_may_change_and_two_of_a_kind_become_one() -> None:
    members = {
        CLASSES: "cat,cat\n",
        "annotations/train-annotations-human-imagelabels-boxable.csv": TAG_HEADER + "plain,a,cat,1\n",
        "annotations/oidv6-train-annotations-human-imagelabels.csv": "ImageID,LabelName,extra\nplain,cat,x\n",
    }
    where = target({"plain.jpg": (4, 4)}, labels("cat"))
    text = round_trip(members, where)[TAGS].decode()
    assert text == "ImageID,Source,LabelName,Confidence,extra\nplain,,cat,1,x\nplain,a,cat,1,\n"


def test_clicks_of_one_table_are_unknown_in_rows_of_another() -> None:
    members = {
        CLASSES: "cat,cat\n",
        "train-annotations-bbox.csv": BOX_HEADER + "plain,,cat,1,0,1,0,1,0,0,0,0,0\n",
        "oidv6-train-annotations-bbox.csv": BOX_HEADER.strip() + ",XClick1X\nplain,,cat,1,0,0.5,0,1,0,0,0,0,0,0.5\n",
        "validation-annotations-bbox.csv": BOX_HEADER + "other,,cat,1,0,1,0,1,0,0,0,0,0\n",
    }
    where = target({"plain.jpg": (4, 4), "other.jpg": (4, 4)}, labels("cat"))
    found = round_trip(members, where)
    assert [line.split(",")[-1] for line in found[BOXES].decode().splitlines()] == ["XClick1X", "0.5", "-1"]
    assert "XClick1X" not in found["annotations/validation-annotations-bbox.csv"].decode()


def test_words_and_gaps_come_back_as_other_readers_take_them() -> None:
    members = {
        CLASSES: "cat,cat\n",
        BOXES: BOX_HEADER + "plain,,cat,,0,1,0,1,true,,no,0.0,1\n",
        MASKS: MASK_HEADER + "m.png,plain,cat,,,,,,,\n",
        "masks/train/m.png": rectangle_png(4, 4, 0, 0, 1, 1),
    }
    where = target({"plain.jpg": (4, 4)}, labels("cat"))
    found = round_trip(members, where)
    assert found[BOXES].decode() == BOX_HEADER + "plain,,cat,1,0,1,0,1,1,-1,0,0,1\n"
    assert found[MASKS].decode() == MASK_HEADER + "m.png,plain,cat,00000000,,,,,,\n"


def test_two_rows_of_one_png_stay_two_rows() -> None:
    members = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + "m.png,plain,cat,1,,,,,,\nm.png,plain,cat,2,,,,,,\n",
        "masks/train/m.png": rectangle_png(4, 4, 0, 0, 1, 1),
    }
    where = target({"plain.jpg": (4, 4)}, labels("cat"))
    found = round_trip(members, where)
    assert found[MASKS] == str(members[MASKS]).encode()
    assert [name for name in found if name.startswith("masks/")] == ["masks/train/m.png"]


def test_two_masks_of_one_box_stay_two_rows() -> None:
    box = "0.25,0.75,0.25,0.75"
    members = {
        CLASSES: "cat,cat\n",
        BOXES: BOX_HEADER + f"plain,,cat,1,{box},0,0,0,0,0\n",
        MASKS: MASK_HEADER + f"m.png,plain,cat,1,{box},,\nn.png,plain,cat,2,{box},,\n",
        "masks/train/m.png": rectangle_png(4, 4, 0, 0, 1, 1),
        "masks/train/n.png": rectangle_png(4, 4, 1, 1, 2, 2),
    }
    where = target({"plain.jpg": (4, 4)}, labels("cat"))
    found = round_trip(members, where)
    assert found[MASKS] == str(members[MASKS]).encode()
    assert found["masks/train/n.png"] == members["masks/train/n.png"]


def test_names_of_labels_where_asked() -> None:
    sink, _ = good(ARCHIVE, TASK)
    data, _ = exported(MemorySource.of_sink(sink, TASK.frames), TASK, label_ids="name")
    members = read_zip(data)
    assert {row["LabelName"] for row in cells(members[BOXES])} == {"Cat", 'Fiat 500 "topolino"'}
    assert members[CLASSES].decode() == 'Cat,Cat\n"Fiat 500 ""topolino""","Fiat 500 ""topolino"""\nunused,unused\n'


def test_the_archive_lists_every_member_once_in_a_fixed_order() -> None:
    sink, _ = good(ARCHIVE, TASK)
    data, _ = exported(MemorySource.of_sink(sink, TASK.frames), TASK)
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert len(names) == len(set(names))
    for batch_frames in (0, 1):
        again, _ = exported(MemorySource.of_sink(sink, TASK.frames, batch_frames=batch_frames), TASK)
        assert again == data, "batches leave no trace"


# --- task → zip → task ---

FRAMES = {"a.jpg": (8, 6), "dir/b.png": (13, 7), "c.jpg": (100, 90)}
WHERE = target(FRAMES, labels("cat", 'a, "b"', attributes=all_attributes()), subset="train")
SIZES_OF = list(FRAMES.values())


@st.composite
def boxes(draw: st.DrawFn) -> Shapes:
    frame = draw(st.integers(0, 2))
    width, height = SIZES_OF[frame]
    pixel = st.floats(0, 1, allow_subnormal=False)
    x = sorted(round(draw(pixel) * width, 2) for _ in "ab")
    y = sorted(round(draw(pixel) * height, 2) for _ in "ab")
    flags = {101: draw(st.sampled_from(["true", "false"])), 102: "true", 103: "false", 104: "false"}
    occluded = draw(st.booleans())
    values = {100: "true" if occluded else "false", **flags, 105: draw(st.sampled_from(["1", "0.25", "0"]))}
    text = ",".join(f'{{"spec_id":{spec},"value":"{value}"}}' for spec, value in sorted(values.items()))
    return replace(
        Shapes.empty(1),
        frames=np.array([frame], dtype=np.int32),
        types=np.array([ShapeType.RECTANGLE], dtype=np.uint8),
        label_ids=np.array([draw(st.integers(1, 2))], dtype=np.int32),
        occluded=np.array([occluded]),
        attributes=Texts.from_list([f"[{text}]"]),
        points=Ragged.from_arrays([[x[0], y[0], x[1], y[1]]], np.float64),
    )


@st.composite
def masks(draw: st.DrawFn) -> Shapes:
    from app.geometry import mask_to_runs, pack_mask

    frame = draw(st.integers(0, 1))
    width, height = SIZES_OF[frame]
    bits = draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height).filter(any))
    runs = mask_to_runs(pack_mask(np.array(bits, dtype=np.bool_).reshape(height, width)))
    box_id = f"{draw(st.integers(0, 1 << 40)):x}x"
    return replace(
        Shapes.empty(1),
        frames=np.array([frame], dtype=np.int32),
        types=np.array([ShapeType.MASK], dtype=np.uint8),
        label_ids=np.array([draw(st.integers(1, 2))], dtype=np.int32),
        attributes=Texts.from_list([f'[{{"spec_id":107,"value":"{box_id}"}},{{"spec_id":108,"value":"0.5"}}]']),
        runs=Ragged.from_arrays([runs], np.int32),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes(), max_size=5), st.lists(masks(), max_size=4))
def test_what_tables_can_say_comes_back_the_same(some_boxes: list[Shapes], some_masks: list[Shapes]) -> None:
    shapes = Shapes.concatenate([*some_boxes, *some_masks])
    shapes = shapes.take(np.argsort(shapes.frames, kind="stable"))
    data, report = exported(MemorySource(Annotations(shapes=shapes), WHERE.frames), WHERE)
    assert report.problems() == []
    found = good(data, WHERE)[0].annotations()
    assert_same(Annotations(shapes=shapes), Annotations(shapes=found.shapes))


@settings(max_examples=20, deadline=None)
@given(masks(), st.booleans())
def test_a_mask_survives_the_trip_as_polygons(mask: Shapes, again: bool) -> None:
    data, _ = exported(MemorySource(Annotations(shapes=mask), WHERE.frames), WHERE)
    sink, _ = good(data, WHERE, conv_mask_to_poly=True)
    for _ in range(1 + again):
        data, _ = exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, side_file=False)
        sink, _ = good(data, WHERE, conv_mask_to_poly=True)
    found = good(data, WHERE)[0].annotations().shapes
    assert found.runs.values.tolist() == mask.runs.values.tolist()
