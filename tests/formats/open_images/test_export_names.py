"""Names in an export: ids, subsets, mask files, kept files; each is found again, and none takes another's place."""

from __future__ import annotations

import csv
import io
import itertools
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import Annotations, Edit, FrameIndex, Shapes, ShapeType
from app.archive import ArchiveWriter, BytesSource, open_archive
from app.columns import Texts
from app.errors import Report
from app.formats import ExportOptions, Target
from app.formats.open_images.write import write
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, round_trip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    LIST,
    LIST_HEADER,
    MASK_HEADER,
    MASKS,
    SIZES,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)
from tests.formats.open_images.test_write import CAT, DOG, shape, tag

PLAIN = labels("cat", "dog")
FULL = ",,cat,1,0,1,0,1,0,0,0,0,0\n"


def cells(members: dict[str, bytes], name: str, column: str) -> list[str]:
    return [row[column] for row in csv.DictReader(io.StringIO(members[name].decode(), newline=""))]


def joined(*sinks: MemorySink, where: Target, **more: Any) -> MemorySource:
    """What several imports left side by side."""
    return MemorySource(
        Annotations.concatenate([sink.annotations() for sink in sinks]),
        where.frames,
        {sink.set_id: bytes(sink.pack) for sink in sinks},
        {sink.set_id: sink.document for sink in sinks},
        **more,
    )


def appended(members: dict[str, str | bytes], where: Target, set_id: int) -> MemorySink:
    from app.formats import ImportOptions, find_format
    from tests.formats.builders import opened

    sink, report = MemorySink(set_id), Report()
    read = find_format("Open Images V6 1.0").read
    assert read is not None
    read(opened(members), where, ImportOptions(), sink, report, lambda done: None)
    assert report.errors == []
    return sink


# --- ids ---


def test_an_id_in_another_spelling_stays_and_has_a_size() -> None:
    where = target({"dir/a.jpg": (8, 6), "b.jpg": (4, 4)}, PLAIN)
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        LIST: LIST_HEADER + "dir/a,train,,,,,,,,,,\nb,train,,,,,,,,,,\n",
        BOXES: BOX_HEADER + "dir/a.jpg" + FULL + "a" + FULL + "./dir/a" + FULL + "b" + FULL,
    }
    found = round_trip(members, where)
    assert cells(found, BOXES, "ImageID") == ["dir/a.jpg", "a", "./dir/a", "b"]
    sizes = found[SIZES].decode().splitlines()
    assert sorted(sizes) == ["./dir/a 6 8", "a 6 8", "b 4 4", "dir/a 6 8", "dir/a.jpg 6 8"]
    assert good(dict(found), where)[0].annotations().shapes.frames.tolist() == [0, 0, 0, 1]


def test_an_id_that_means_another_frame_by_now_is_written_anew() -> None:
    """The frames of a task keep their names, so only a backup can tell such a state; of those nothing is noted."""
    where = target({"a.jpg": (8, 6), "c.jpg": (4, 4)}, PLAIN)
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        BOXES: BOX_HEADER + "a" + FULL,
        TAGS: TAG_HEADER + "a,,cat,1\n",
    }
    sink = good(members, where)[0]
    sink.document["plain"] = []
    renamed = target({"z.jpg": (8, 6), "a.jpg": (4, 4)}, PLAIN)
    found = read_zip(exported(MemorySource.of_sink(sink, renamed.frames), renamed)[0])
    assert cells(found, BOXES, "ImageID") == cells(found, TAGS, "ImageID") == ["z"]
    assert cells(found, "annotations/train-images-with-rotation.csv", "ImageID") == ["z"]
    assert found[SIZES].decode() == "z 6 8\na 4 4\n"


FOLDERS = target({"cats/1.jpg": (8, 6), "cats/2.jpg": (8, 6), "dogs/1.jpg": (4, 4)}, PLAIN)


def test_ids_that_their_neighbours_explain_stay() -> None:
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        LIST: LIST_HEADER + "1,train,,,,,,,,,,\n2,train,,,,,,,,,,\n",
        BOXES: BOX_HEADER + "1" + FULL + "2" + FULL,
    }
    sink = good(members, FOLDERS)[0]
    assert sink.annotations().shapes.frames.tolist() == [0, 1]
    found = read_zip(exported(MemorySource.of_sink(sink, FOLDERS.frames), FOLDERS)[0])
    assert cells(found, BOXES, "ImageID") == ["1", "2"]
    assert found[SIZES].decode() == "1 6 8\n2 6 8\ndogs/1 4 4\n"
    # Without the second row the table alone does not tell which folder is meant; the list does.
    shapes = sink.annotations().shapes.take(np.array([0]))
    source = MemorySource.of_sink(sink, FOLDERS.frames, replace(sink.annotations(), shapes=shapes))
    again = read_zip(exported(source, FOLDERS)[0])
    assert good(dict(again), FOLDERS)[0].annotations().shapes.frames.tolist() == [0]


@pytest.mark.parametrize(
    "name",
    ["Zähler, \"groß\" 'x'.jpg", "日本/東京 1.png", "a.b.c.jpg", " x .jpg", "#1.jpg", "tab.jpeg.png", "UPPER.JPG"],
)
def test_a_name_of_any_kind_is_found_again(name: str) -> None:
    where = target({name: (8, 6), "other.jpg": (8, 6)}, PLAIN)
    shapes = Shapes.concatenate([shape(ShapeType.RECTANGLE, [0, 0, 4, 3]), shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0])])
    source = MemorySource(Annotations(shapes=shapes, tags=tag(DOG)), where.frames)
    found, report = good(exported(source, where)[0], where)
    assert found.annotations().shapes.frames.tolist() == [0, 0]
    assert found.annotations().tags.frames.tolist() == [0]
    assert set(report.counts) <= {"extra.ignored"}


@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
def test_frames_that_differ_by_composition_alone_find_their_rows_again(layout: str) -> None:
    names = ("é.jpg", "e\u0301.jpg", "x/é.jpg", "x/e\u0301.png", "plain.jpg")
    task = target(dict.fromkeys(names, (8, 6)), PLAIN)
    shapes = [shape(ShapeType.RECTANGLE, [0, 0, 1 + frame, 6], CAT, frame=frame) for frame in range(len(names))]
    source = MemorySource(Annotations(shapes=Shapes.concatenate(shapes)), task.frames)
    first = read_zip(exported(source, task, layout=layout)[0])
    sink, _ = good(first, task)
    found = sink.annotations()
    rights = {int(frame): float(points[2]) for frame, points in zip(found.shapes.frames, boxes_of(found), strict=True)}
    assert rights == {frame: 1.0 + frame for frame in range(len(names))}
    again = read_zip(exported(MemorySource.of_sink(sink, task.frames), task, layout=layout)[0])
    assert again == first


def boxes_of(found: Annotations) -> Any:
    return found.shapes.points.values.reshape(-1, 4)


def test_frames_of_one_name_in_several_tasks_have_ids_of_their_own() -> None:
    where = target({"a.jpg": (8, 6), "b.jpg": (8, 6), "c.jpg": (8, 6)}, PLAIN)
    names = target({"a.jpg": (8, 6)}, PLAIN).frames.names
    where = replace(where, frames=replace(where.frames, names=type(names).concatenate([names] * 3)))
    shapes = Shapes.concatenate([shape(ShapeType.RECTANGLE, [0, 0, 4, 3], frame=n) for n in range(3)])
    found = read_zip(exported(MemorySource(Annotations(shapes=shapes), where.frames), where)[0])
    ids = cells(found, "annotations/default-annotations-bbox.csv", "ImageID")
    assert len(set(ids)) == 3
    assert [line.split()[0] for line in found[SIZES].decode().splitlines()] == ids


# --- subsets ---


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=0, max_size=12), min_size=2, max_size=6))
def test_subsets_of_any_text_are_read_back(texts: list[str]) -> None:
    usable = [text.encode("utf-8", "ignore").decode() for text in texts]
    frames = range(len(usable))
    where = target({f"{n}.jpg": (8, 6) for n in frames}, PLAIN)
    where = replace(where, subsets=Texts.from_list(usable))
    shapes = Shapes.concatenate(
        [shape(ShapeType.MASK, [0, 1, 0, 0, 0, 0], frame=n) for n in frames]
        + [shape(ShapeType.RECTANGLE, [0, 0, 1, 1], frame=n) for n in frames]
    )
    data, _ = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    read_zip(data)
    found = good(data, where)[0].annotations()
    assert sorted(found.shapes.frames.tolist()) == sorted([*frames, *frames])
    read = found.images.subsets.to_list()
    for one, other in itertools.combinations(frames, 2):
        alike = {usable[one], usable[other]} <= {"", "default", ".", ".."} or usable[one] == usable[other]
        assert (read[one] == read[other]) == alike


@pytest.mark.parametrize(("layout", "written"), [("default", "a:b"), ("official", "_a:b"), ("fiftyone", "a:b")])
def test_no_path_begins_with_a_subset_that_looks_like_a_drive(layout: str, written: str) -> None:
    where = replace(target({"a.jpg": (8, 6)}, PLAIN), subsets=Texts.from_list(["a:b"]))
    data, report = exported(MemorySource(Annotations(tags=tag(CAT)), where.frames), where, layout=layout)
    assert report.counts == ({"export.renamed": 1} if written != "a:b" else {})
    assert good(data, where)[0].annotations().images.subsets.to_list() == [written]


@pytest.mark.parametrize(
    ("subsets", "written"),
    [
        (["Train", "train"], ["Train", "train-2"]),
        (["a/b", "a-b"], ["a-b-2", "a-b"]),
        (["oidv7-train", "train"], ["_oidv7-train", "train"]),
        (["._x", "default"], ["_._x", "default"]),
        (["e\u0301", "x"], ["é", "x"]),
    ],
)
def test_subsets_that_cannot_stay_are_told(subsets: list[str], written: list[str]) -> None:
    where = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, PLAIN)
    where = replace(where, subsets=Texts.from_list(subsets))
    tags = type(tag(CAT)).concatenate([tag(CAT), tag(CAT, frame=1)])
    data, report = exported(MemorySource(Annotations(tags=tags), where.frames), where)
    members = read_zip(data)
    for name, image in zip(written, "ab", strict=True):
        assert cells(members, f"annotations/{name}-annotations-human-imagelabels.csv", "ImageID") == [image]
    assert report.counts == {"export.renamed": sum(a != b for a, b in zip(subsets, written, strict=True))}


def test_an_image_that_moved_to_another_subset_takes_its_rows_along() -> None:
    where = target({"a.jpg": (8, 6)}, PLAIN)
    first: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        LIST: LIST_HEADER + "a,train,,,,,,,,,,\n",
        TAGS: "ImageID,Source,LabelName,Confidence,more\na,x,cat,1,kept\n",
    }
    second: dict[str, str | bytes] = {"annotations/val-images-with-rotation.csv": LIST_HEADER + "a,val,,,,,,,,,,\n"}
    source = joined(appended(first, where, 1), appended(second, where, 2), where=where)
    found = read_zip(exported(source, where)[0])
    assert found["annotations/val-annotations-human-imagelabels.csv"].decode().splitlines()[1] == "a,x,cat,1,kept"
    assert not [name for name in found if "train" in name]


# --- masks ---

TASK = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("cat", "dog", attributes=all_attributes()))
ONE, TWO = rectangle_png(8, 8, 0, 0, 1, 1), rectangle_png(8, 8, 2, 2, 4, 4)


def test_a_new_mask_does_not_take_the_name_of_a_kept_one() -> None:
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + "a_cat_00000001.png,a,cat,00000007,,,,,,\n",
        "masks/train/a_cat_00000001.png": ONE,
    }
    sink = good(members, TASK)[0]
    new = Shapes.concatenate([shape(ShapeType.MASK, [0, 1, n, n, n, n]) for n in (3, 4)])
    shapes = Shapes.concatenate([new, sink.annotations().shapes])  # the new ones come first
    source = MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=shapes, images=sink.annotations().images))
    data, report = exported(source, TASK)
    found = read_zip(data)
    assert cells(found, MASKS, "MaskPath") == ["a_cat_00000000.png", "a_cat_00000001-2.png", "a_cat_00000001.png"]
    assert found["masks/train/a_cat_00000001.png"] == ONE
    assert report.counts == {}


def test_masks_of_two_imports_that_share_a_name() -> None:
    def members(png: bytes, name: str = "m.png") -> dict[str, str | bytes]:
        return {
            CLASSES: "cat,cat\n",
            MASKS: MASK_HEADER + f"{name},a,cat,1,,,,,,\n",
            f"masks/train/{name}": png,
        }

    for second, paths in ((members(TWO), ["m.png", "m-2.png"]), (members(ONE), ["m.png", "m.png"])):
        source = joined(appended(members(ONE), TASK, 1), appended(second, TASK, 2), where=TASK)
        data, report = exported(source, TASK)
        found = read_zip(data)
        assert cells(found, MASKS, "MaskPath") == paths
        assert found["masks/train/m.png"] == ONE
        assert report.counts == ({"export.renamed": 1} if paths[1] != "m.png" else {})
    source = joined(appended(members(ONE), TASK, 1), appended(members(TWO, "M.PNG"), TASK, 2), where=TASK)
    found = read_zip(exported(source, TASK)[0])
    assert cells(found, MASKS, "MaskPath")[0] == "m.png"
    assert len({name.lower() for name in found}) == len(found)


def test_masks_without_a_pixel_have_ids_and_names() -> None:
    empty = rectangle_png(8, 8, 0, 0, 0, 0)
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + "e.png,a,cat,,,,,,,\nf.png,a,cat,,,,,,,\ng.png,b,cat,,,,,,,\nm.png,a,cat,,,,,,,\n",
        "masks/train/e.png": empty,
        "masks/train/f.png": empty,
        "masks/train/g.png": empty,
        "masks/train/m.png": ONE,
    }
    found = round_trip(members, TASK)
    ids = dict(zip(cells(found, MASKS, "MaskPath"), cells(found, MASKS, "BoxID"), strict=True))
    assert ids == {"m.png": "00000000", "e.png": "ffffffff", "f.png": "fffffffe", "g.png": "ffffffff"}


def test_a_name_as_long_as_names_can_be_gets_its_number() -> None:
    name = "n" * 251 + ".png"
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + f"{name},a,cat,1,,,,,,\n",
        f"masks/train/{name}": ONE,
    }
    sink = good(members, TASK)[0]
    shapes = sink.annotations().shapes
    redrawn = edited(shapes, 0, Edit.GEOMETRY, runs=[0, 4, 0, 0, 1, 1])
    both = Shapes.concatenate([shapes, redrawn])
    source = MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=both, images=sink.annotations().images))
    # Two shapes of one kept row are one mask; the second one here is of another import.
    kept = both.kept.replace(sets=np.array([1, 2], dtype=np.int64))
    source = MemorySource(
        Annotations(shapes=both.replace(kept=kept), images=sink.annotations().images),
        TASK.frames,
        {1: bytes(sink.pack), 2: bytes(sink.pack)},
        {1: sink.document, 2: sink.document},
    )
    paths = cells(read_zip(exported(source, TASK)[0]), MASKS, "MaskPath")
    assert paths[0] == name
    assert paths[1].endswith("-2.png")
    assert len(paths[1]) <= 255


def test_decomposed_names_become_what_the_files_are_called() -> None:
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + "e\u0301.png,a,cat,1,,,,,,\n",
        "masks/train/e\u0301.png": ONE,
    }
    found = round_trip(members, TASK)
    assert cells(found, MASKS, "MaskPath") == ["é.png"]
    assert found["masks/train/é.png"] == ONE


# --- kept files ---


def test_kept_files_of_two_imports_both_stay() -> None:
    where = target({"a.jpg": (8, 6)}, PLAIN)

    def members(text: str) -> dict[str, str | bytes]:
        return {TAGS: TAG_HEADER + "a,,cat,1\n", CLASSES: "cat,cat\n", "README.md": text, "notes/x.txt": "same"}

    source = joined(appended(members("old"), where, 1), appended(members("new"), where, 2), where=where)
    data, report = exported(source, where)
    found = read_zip(data)
    assert (found["README.md"], found["README-2.md"], found["notes/x.txt"]) == (b"new", b"old", b"same")
    assert "notes/x-2.txt" not in found
    assert report.counts == {"export.renamed": 1}


@pytest.mark.parametrize("names", [("a.png", "A.png"), ("x.png/y.png", "x.png"), ("b/c.png", "B/c.png", "b/C.png")])
def test_pictures_that_differ_by_letter_case_are_found_by_their_ids(names: tuple[str, ...]) -> None:
    where = target(dict.fromkeys(names, (8, 6)), PLAIN)
    tags = type(tag(CAT)).concatenate([tag(CAT, frame=n) for n in range(len(names))])
    pictures = {n: name.encode() for n, name in enumerate(names)}
    source = MemorySource(Annotations(tags=tags), where.frames, pictures=pictures)
    members = read_zip(exported(source, where, save_images=True)[0])
    data = {
        path.removeprefix("images/default/"): found for path, found in members.items() if path.startswith("images/")
    }
    again = target(dict.fromkeys(data, (8, 6)), PLAIN)
    rows = {path: text for path, text in members.items() if not path.startswith("images/")}
    found = good(rows, again)[0].annotations().tags.frames.tolist()
    ids = cells(members, "annotations/default-annotations-human-imagelabels.csv", "ImageID")
    assert [data[again.frames.name(frame)].decode() for frame in found] == [f"{image}.png" for image in ids]


@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
@pytest.mark.parametrize(
    "name",
    [
        "annotations",
        "Images",
        "data",
        "labels",
        "train",
        "images/train/a.jpg/x",
        "annotations/images.meta/x.txt",
        "a/b",
    ],
)
def test_a_kept_file_that_is_called_like_a_folder_is_taken_back(name: str, layout: str) -> None:
    where = target({"a.jpg": (8, 6), "b/c.jpg": (8, 6)}, PLAIN)
    members: dict[str, str | bytes] = {
        TAGS.rpartition("/")[2]: TAG_HEADER + "a,,cat,1\n",
        CLASSES.rpartition("/")[2]: "cat,cat\n",
        "masks/train/q.png": ONE,
        name: "text",
    }
    pictures = dict.fromkeys(range(2), b"picture")
    source = MemorySource.of_sink(good(members, where)[0], where.frames, pictures=pictures)
    data, report = exported(source, where, layout=layout, save_images=True)
    assert b"text" in read_zip(data).values()
    assert list(read_zip(data).values()).count(b"picture") == 2
    good(data, where)
    assert set(report.counts) <= {"export.renamed"}


@pytest.mark.parametrize("name", ["x" * 251 + ".txt", "a." + "x" * 253, "/".join(["y" * 255] * 4)])
def test_a_kept_file_of_the_longest_name_gets_its_number(name: str) -> None:
    where = target({"a.jpg": (8, 6)}, PLAIN)

    def members(text: str) -> dict[str, str | bytes]:
        return {TAGS: TAG_HEADER + "a,,cat,1\n", CLASSES: "cat,cat\n", name: text}

    source = joined(appended(members("old"), where, 1), appended(members("new"), where, 2), where=where)
    data, report = exported(source, where)
    assert read_zip(data)[name] == b"new"
    assert b"old" in read_zip(data).values()
    assert report.counts == {"export.renamed": 1}
    good(data, where)


def test_kept_files_leave_in_pieces() -> None:
    where = target({"a.jpg": (8, 6)}, PLAIN)
    big = bytes(range(256)) * 20_000
    members: dict[str, str | bytes] = {
        LIST: LIST_HEADER + "a,train,,,,,,,,,,\n",
        "big.bin": big,
        "packed.zip": big,
        "none.txt": "",
    }
    sink = good(members, where)[0]
    asked: list[int] = []

    class Counting(MemorySource):
        def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
            asked.append(size)
            return super().kept_bytes(set_id, offset, size)

    found = read_zip(exported(Counting.of_sink(sink, where.frames), where)[0])
    assert (found["big.bin"], found["packed.zip"], found["none.txt"]) == (big, big, b"")
    assert max(asked) <= 1 << 20


def test_pngs_that_lie_side_by_side_are_read_together() -> None:
    paths = [f"m{n:03}.png" for n in range(300)]
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\n",
        MASKS: MASK_HEADER + "".join(f"{path},a,cat,{n:x},,,,,,\n" for n, path in enumerate(paths)),
        **{f"masks/train/{path}": ONE for path in paths},
    }
    sink = good(members, TASK)[0]
    asked: list[int] = []

    class Counting(MemorySource):
        def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
            asked.append(size)
            return super().kept_bytes(set_id, offset, size)

    found = read_zip(exported(Counting.of_sink(sink, TASK.frames), TASK)[0])
    assert all(found[f"masks/train/{path}"] == ONE for path in paths)
    assert len(asked) <= 5, "masks are drawn, and read, 64 at a time"


# --- the archive ---


@pytest.mark.parametrize("held_bytes", [1 << 20, 100, -1])
def test_shapes_are_read_once_a_subset_where_few_are_no_boxes(held_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of points and of masks pass over boxes; masks are held for their own, while they are few."""
    monkeypatch.setattr(import_module("app.formats.open_images.write"), "HELD_BYTES", held_bytes)
    boxes = BOX_HEADER + "a,xclick,cat,1,0.1,0.5,0.1,0.5,0,0,0,0,0\n"
    masks = MASK_HEADER + "m.png,a,cat,7,,,,,,\nn.png,b,cat,7,,,,,,\n"
    pngs: dict[str, str | bytes] = {MASKS: masks, "masks/train/m.png": ONE, "masks/train/n.png": ONE}
    n_passes: list[int] = []

    class Counting(MemorySource):
        def shapes(self) -> Iterator[Shapes]:
            n_passes[-1] += 1
            return super().shapes()

    both: tuple[dict[str, str | bytes], ...] = ({BOXES: boxes}, {BOXES: boxes, **pngs})
    for members in both:
        n_passes.append(0)
        sink = good({CLASSES: "cat,cat\n", **members}, TASK)[0]
        found = read_zip(exported(Counting.of_sink(sink, TASK.frames, batch_frames=1), TASK)[0])
        assert found[BOXES].decode() == boxes
        assert found.get(MASKS, b"").decode() == members.get(MASKS, "")
    assert n_passes == [2, 1 if held_bytes > 100 else 2], "two subsets; with masks on both images it is one"


def test_the_first_member_begins_before_ids_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = good({CLASSES: "cat,cat\n", BOXES: BOX_HEADER + "a,xclick,cat,1,0.1,0.5,0.1,0.5,0,0,0,0,0\n"}, TASK)[0]
    chunks: list[bytes] = []
    seen: list[int] = []
    make = FrameIndex.__init__

    def watched(index: FrameIndex, *given: Any, **more: Any) -> None:
        seen.append(len(chunks))
        make(index, *given, **more)

    monkeypatch.setattr(FrameIndex, "__init__", watched)
    source = MemorySource.of_sink(sink, TASK.frames)
    write(source, TASK, ArchiveWriter(chunks.append), ExportOptions(), Report(), lambda done: None)
    assert seen
    assert min(seen) > 0


def mixture() -> MemorySource:
    """Kept, edited, new and empty masks, boxes and tags over several frames."""
    members: dict[str, str | bytes] = {
        CLASSES: "cat,cat\ndog,dog\n",
        BOXES: BOX_HEADER + "".join(f"{image}" + FULL for image in "abba"),
        TAGS: TAG_HEADER + "a,,cat,1\nb,,dog,0\na,,dog,0\n",
        MASKS: MASK_HEADER + "m.png,a,cat,1,,,,,,\nn.png,b,dog,1,0,1,0,1,,\ne.png,b,dog,,,,,,,\n",
        "masks/train/m.png": ONE,
        "masks/train/n.png": TWO,
        "masks/train/e.png": rectangle_png(8, 8, 0, 0, 0, 0),
        "readme.txt": "kept",
    }
    plain = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, PLAIN)
    sink = good(members, plain)[0]
    found = sink.annotations()
    new = [shape(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4], DOG, frame=n % 2, group=n) for n in range(6)]
    new += [shape(ShapeType.RECTANGLE, [1, 1, 6, 4], DOG, frame=n % 2, group=n) for n in range(3)]
    shapes = edited(found.shapes, 1, Edit.GEOMETRY, points=[1, 1, 2, 2])
    shapes = Shapes.concatenate([shapes, *new])
    shapes = shapes.take(np.argsort(shapes.frames, kind="stable"))
    return MemorySource.of_sink(sink, plain.frames, replace(found, shapes=shapes))


@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
def test_batches_leave_no_trace(layout: str) -> None:
    where = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, PLAIN)
    source = mixture()
    first = exported(source, where, layout=layout)[0]
    source._batch_frames = 1
    assert exported(source, where, layout=layout)[0] == first


@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
def test_every_reader_of_zips_takes_the_archive(layout: str, tmp_path: Path) -> None:
    where = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, PLAIN)
    data, _ = exported(mixture(), where, layout=layout)
    archive = open_archive(BytesSource(data))
    archive.verify(lambda done: None)
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.testzip() is None
        assert sorted(other.namelist()) == sorted(archive.names())
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    told = subprocess.run(["unzip", "-t", str(path)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_an_absurd_polygon_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    where = target({"a.jpg": (400, 300)}, PLAIN)
    zigzag = [coordinate for n in range(200) for coordinate in (float(n % 2) * 400, n * 1.5)]
    shapes = Shapes.concatenate([shape(ShapeType.POLYGON, zigzag), shape(ShapeType.POLYGON, [1, 1, 9, 1, 9, 9], DOG)])
    monkeypatch.setattr("app.geometry.polygons.MAX_CROSSINGS", 10_000)
    data, report = exported(MemorySource(Annotations(shapes=shapes), where.frames), where)
    members = read_zip(data)
    assert cells(members, "annotations/default-annotations-object-segmentation.csv", "LabelName") == ["dog"]
    assert report.counts["export.unsupported"] == 1
    assert "a.jpg" in report.warnings[0].message


def test_names_for_labels_reach_rows_that_nobody_sees() -> None:
    where = target({"a.jpg": (8, 8)}, labels("Cat", "Dog"))
    members: dict[str, str | bytes] = {
        CLASSES: "/m/c,cat\n/m/d,Dog\n/m/k,Cat\n",
        TAGS: TAG_HEADER + "a,,/m/c,0\na,,/m/k,0\na,,/m/d,0\n",
        MASKS: MASK_HEADER + "e.png,a,/m/c,1,,,,,,\n",
        "masks/train/e.png": rectangle_png(8, 8, 0, 0, 0, 0),
    }
    sink = good(members, where)[0]
    found = read_zip(exported(MemorySource.of_sink(sink, where.frames), where, label_ids="name")[0])
    assert cells(found, TAGS, "LabelName") == ["Cat", "Cat", "Dog"]
    assert cells(found, MASKS, "LabelName") == ["Cat"]
    assert found[CLASSES].decode() == "Cat,Cat\nDog,Dog\n"
    # A label that was deleted since took its rows along.
    less = target({"a.jpg": (8, 8)}, labels("Cat"))
    data, report = exported(MemorySource.of_sink(sink, less.frames), less, label_ids="name")
    assert cells(read_zip(data), TAGS, "LabelName") == ["Cat", "Cat"]
    assert read_zip(data)[CLASSES].decode() == "Cat,Cat\n"
    assert report.counts == {"export.label_deleted": 1}
    # A label has another name by now: the import has noted by which names its rows mean it.
    other = target({"a.jpg": (8, 8)}, labels("Tiger", "Dog"))
    found = read_zip(exported(MemorySource.of_sink(sink, other.frames), other, label_ids="name")[0])
    assert cells(found, TAGS, "LabelName") == ["Tiger", "Tiger", "Dog"]
    assert found[CLASSES].decode() == "Tiger,Tiger\nDog,Dog\n"


@pytest.mark.parametrize("column", ["Weather", "XClick1X"])
def test_rows_of_images_that_no_list_had_do_not_depend_on_their_neighbours(column: str) -> None:
    where = target({"a.jpg": (8, 6), "b.jpg": (4, 4), "c.jpg": (4, 4)}, PLAIN)
    header = LIST_HEADER.replace("\n", f",{column}\n")
    members: dict[str, str | bytes] = {CLASSES: "cat,cat\n", LIST: header + "b,train,,,,,,,,,,,7\n"}
    sink = good(members, where)[0]
    ways = [
        exported(MemorySource.of_sink(sink, where.frames, batch_frames=n_frames), where)[0] for n_frames in (1, 2, 100)
    ]
    assert ways[0] == ways[1] == ways[2]
    blank = "-1" if column == "XClick1X" else ""
    assert cells(read_zip(ways[0]), "annotations/default-images-with-rotation.csv", column) == [blank] * 2
    assert cells(read_zip(ways[0]), LIST, column) == ["7"]
