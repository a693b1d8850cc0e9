"""What a reader meets rarely: floods, limits, odd places."""

from __future__ import annotations

import importlib

import pytest

from app.archive import BytesSource, open_archive
from app.errors import Damaged, ImportProblems, Report
from app.formats import ImportOptions
from app.formats.open_images import repeats
from app.formats.open_images.labels import LabelMatcher
from tests.formats.builders import OPEN_IMAGES, good, imported, labels, places, target, zip_of
from tests.formats.memory import MemorySink
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    HIERARCHY,
    LIST,
    LIST_HEADER,
    MASK_HEADER,
    MASKS,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)

TASK = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat"))
NAMES = "cat,cat\n"


def test_floods_of_unmatched_ids_are_counted_and_listed_in_part() -> None:
    rows = "".join(f"x{n},,cat,1\n" for n in range(40))
    more = "".join(f"y{n},train,,,,,,,,,,\n" for n in range(30))
    members = {TAGS: TAG_HEADER + "a,,cat,1\n" + rows, LIST: LIST_HEADER + more, CLASSES: NAMES}
    _, report = good(members, TASK, unmatched="skip")
    assert report.counts["image.unmatched"] == 70
    assert len([p for p in report.warnings if p.file == TAGS]) == 5
    assert len([p for p in report.warnings if p.file == LIST]) == 5


def test_a_flood_that_comes_in_several_blocks_is_counted() -> None:
    rows = "".join(f"x{n:07},,cat,1\n" for n in range(120_000))
    _, report = good({TAGS: TAG_HEADER + "a,,cat,1\n" + rows, CLASSES: NAMES}, TASK, unmatched="skip")
    assert report.counts["image.unmatched"] == 120_000
    _, report = imported({TAGS: TAG_HEADER + rows, CLASSES: NAMES}, TASK)
    assert (report.n_errors, len(report.errors)) == (120_000, 100)


def test_the_folder_of_ids_is_found_in_lists_whose_rows_tell_subsets() -> None:
    task = target({"x/1.jpg": (1, 1), "y/1.jpg": (1, 1), "y/2.jpg": (1, 1)}, labels("cat"))
    rows = "1,train,,,,,,,,,,\n2,test,,,,,,,,,,\n"
    sink, _ = good({"image_ids_and_rotation.csv": LIST_HEADER + rows}, task)
    assert sink.annotations().images.frames.tolist() == [1, 2]
    sink, _ = good({"image_ids.csv": "ImageID\n1\n2\n"}, task)
    assert sink.annotations().images.frames.tolist() == [1, 2]


def test_val_beside_a_folder_of_validation() -> None:
    members = {LIST: LIST_HEADER + "a,val,,,,,,,,,,\n", "images/validation/b.jpg": b"x"}
    sink, _ = good(members, TASK)
    assert sink.annotations().images.subsets.to_list() == ["validation"]


def test_bytes_kept_in_pieces_must_lie_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import reading

    class Scattering(MemorySink):
        def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
            self.pack += b"-"
            return super().keep(data)

    monkeypatch.setattr(reading, "KEPT_PIECE_BYTES", 4)
    archive = open_archive(BytesSource(zip_of({TAGS: TAG_HEADER, "notes.bin": bytes(range(256)) * 40})))
    sink = MemorySink()
    assert OPEN_IMAGES.read is not None
    OPEN_IMAGES.read(archive, TASK, ImportOptions(), sink, Report(), lambda done: None)
    ((_, offset, size, _),) = sink.document["files"]
    assert bytes(sink.pack[offset : offset + size]) == bytes(range(256)) * 40
    with pytest.raises(Damaged):
        OPEN_IMAGES.read(archive, TASK, ImportOptions(), Scattering(), Report(), lambda done: None)


def test_equal_rows_are_found_from_stretch_to_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "STRETCH_ROWS", 2)
    row = "a,,cat,1,0,1,0,1,0,0,0,0,0\n"
    _, report = good({BOXES: BOX_HEADER + row + row, CLASSES: NAMES}, TASK)
    assert report.counts["row.duplicate"] >= 1
    assert places(report.warnings)[0] == ("row.duplicate", BOXES, 3, None)


def test_a_hierarchy_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read = importlib.import_module("app.formats.open_images.read")  # the package's `read` is the function
    _, report = imported({TAGS: TAG_HEADER, HIERARCHY: "[]"}, TASK)
    assert places(report.errors) == [("hierarchy.bad_node", HIERARCHY, None, "$")]
    monkeypatch.setattr(read, "MAX_BYTES", 3)
    _, report = imported({TAGS: TAG_HEADER, HIERARCHY: '{"LabelName":"r"}'}, TASK)
    assert places(report.errors) == [("hierarchy.too_big", HIERARCHY, None, None)]


def test_many_masks_of_another_size_are_counted_and_listed_in_part() -> None:
    rows = "".join(f"m{n}.png,a,cat,{n:08x},,,,,,\n" for n in range(9))
    pngs = {f"masks/train/m{n}.png": rectangle_png(16, 12, 0, 0, 4, 4) for n in range(9)}
    _, report = good({MASKS: MASK_HEADER + rows, CLASSES: NAMES, **pngs}, TASK)
    assert report.counts == {"mask.resized": 9}
    assert len(report.warnings) == 5


def test_a_mask_that_vanishes_at_the_size_of_its_frame() -> None:
    members = {
        MASKS: MASK_HEADER + "m.png,a,cat,0,,,,,,\n",
        CLASSES: NAMES,
        "masks/train/m.png": rectangle_png(800, 600, 1, 1, 2, 2),
    }
    sink, report = good(members, TASK)
    assert [p.code for p in report.warnings] == ["mask.resized", "mask.empty"]
    assert (len(sink.annotations().shapes), len(sink.annotations().rows)) == (0, 1)


def test_files_of_one_name_in_unknown_folders_are_ambiguous() -> None:
    png = rectangle_png(8, 6, 0, 0, 1, 1)
    members = {MASKS: MASK_HEADER + "m.png,a,cat,0,,,,,,\n", CLASSES: NAMES, "x/m.png": png, "y/m.png": png}
    _, report = imported(members, TASK)
    assert places(report.errors) == [("mask.ambiguous_file", MASKS, 2, "MaskPath")]


def test_a_damaged_member_that_nobody_reads_refuses_the_archive() -> None:
    from app.errors import ImportProblems

    data = bytearray(zip_of({TAGS: TAG_HEADER + "a,,cat,1\n", CLASSES: NAMES, "images/a.jpg": b"0123456789" * 50}))
    at = data.rindex(b"images/a.jpg", 0, data.index(b"PK\x01\x02")) + len(b"images/a.jpg")
    data[at + 3] ^= 0xFF
    with pytest.raises(ImportProblems) as caught:
        imported(bytes(data), TASK)
    assert caught.value.code == "zip.bad_member"


@pytest.mark.parametrize(
    ("option", "members", "place"),
    [
        ("max_classes", {CLASSES: "".join(f"/m/{n},thing {n}\n" for n in range(9))}, (CLASSES, 3, "LabelName")),
        ("max_classes", {TAGS: TAG_HEADER + "".join(f"a,,l{n},1\n" for n in range(9))}, (TAGS, None, "LabelName")),
        (
            "max_subsets",
            {"annotations/image_ids_and_rotation.csv": "ImageID,Subset\na,one\nb,two\nc,three\n"},
            (None, None, "Subset"),
        ),
    ],
)
def test_more_classes_or_subsets_than_can_be_held_end_an_import(
    option: str, members: dict[str, str], place: tuple[str | None, int | None, str]
) -> None:
    three = target(dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), (8, 6)), labels("cat"))
    with pytest.raises(ImportProblems) as caught:
        imported({TAGS: TAG_HEADER, **members}, three, **{option: 2})
    assert places(caught.value.report.errors) == [("csv.too_big", *place)]


def test_only_names_that_are_listed_are_compared_with_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    nearest = LabelMatcher.nearest
    monkeypatch.setattr(LabelMatcher, "nearest", lambda self, name: compared.append(name) or nearest(self, name))
    rows = "".join(f"a,,ca{n},1\n" for n in range(500))
    _, report = imported({TAGS: TAG_HEADER + rows}, TASK)
    assert report.counts["label.unknown"] == 500
    assert report.errors[0].suggestion == "cat"
    assert len(compared) < report.limit
