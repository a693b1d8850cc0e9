"""Each code of the format's list of errors and warnings has an example here, with the file, row and column it names."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.archive import ArchiveLimits, BytesSource, open_archive
from app.errors import ImportProblems
from tests.archive.zips import Member, build
from tests.formats.builders import all_attributes, good, imported, labels, target
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

TASK = target(
    {"a.jpg": (8, 6), "b.jpg": (8, 6), "x/c.jpg": (8, 6), "y/c.jpg": (8, 6)},
    labels("Cat", "Dog", attributes=all_attributes(score="select")),
)
PLAIN = target({"a.jpg": (8, 6)}, labels("Cat"))
NAMES = "/m/c,Cat\n/m/d,Dog\n"
PNG = rectangle_png(8, 6, 1, 1, 4, 4)
SIDE = "annotations/oid_extra.json"
Place = tuple[str | None, int | None, str | None]
MOODY = (
    '{"version":1,"files":[],"entries":[{"row":null,"image":"a","size":[8,6],'
    '"shapes":[{"type":"polyline","label":"Cat","points":[0,0,4,4],"attributes":{"mood":"wild"}}]}]}'
)
TALL = rectangle_png(16, 3, 1, 1, 4, 3)


def boxes(*rows: str, **more: str | bytes) -> dict[str, str | bytes]:
    return {CLASSES: NAMES, BOXES: BOX_HEADER + "a,,/m/c,1,0,1,0,1,0,0,0,0,0\n" + "".join(rows), **more}


def box(*cells: str) -> dict[str, str | bytes]:
    """A good row and one whose coordinates (and flag) are these."""
    return boxes(f"a,,/m/c,1,{','.join(cells[:4])},{cells[4] if len(cells) > 4 else 0},0,0,0,0\n")


def masks(*rows: str, **pngs: bytes) -> dict[str, str | bytes]:
    files = {f"masks/train/{name}.png": png for name, png in ({"m": PNG} | pngs).items()}
    return {CLASSES: NAMES, MASKS: MASK_HEADER + "".join(rows), **files}


def tags(*rows: str, **more: Any) -> dict[str, str | bytes]:
    return {CLASSES: NAMES, TAGS: TAG_HEADER + "".join(rows), **more}


ERRORS: dict[str, tuple[dict[str, str | bytes], Place]] = {
    "layout.not_found": ({"readme.txt": "x"}, (None, None, None)),
    "layout.several_roots": ({f"{root}/{BOXES}": BOX_HEADER for root in "12"}, (f"2/{BOXES}", None, None)),
    "csv.encoding": ({BOXES: (BOX_HEADER + "a,,\xff,1,0,1,0,1,0,0,0,0,0\n").encode("latin-1")}, (BOXES, 2, None)),
    "csv.nul": (boxes("a,,/m/\0c,1,0,1,0,1,0,0,0,0,0\n"), (BOXES, 3, None)),
    "csv.quote": (boxes('a,,"/m/c,1,0,1,0,1,0,0,0,0,0\n'), (BOXES, 3, None)),
    "csv.no_header": ({BOXES: "a,x,/m/c,1,0,1,0,1,0,0,0,0,0\n"}, (BOXES, 1, None)),
    "csv.delimiter": ({BOXES: BOX_HEADER.replace(",", ";")}, (BOXES, 1, None)),
    "csv.missing_column": ({BOXES: BOX_HEADER.replace("XMin,", "")}, (BOXES, 1, "XMin")),
    "csv.duplicate_column": ({BOXES: BOX_HEADER.replace("Source", "XMin")}, (BOXES, 1, "XMin")),
    "csv.repeated_header": (boxes(BOX_HEADER), (BOXES, 3, None)),
    "csv.field_count": (boxes("a,,/m/c,1,0\n"), (BOXES, 3, None)),
    "value.missing": (boxes("a,,,1,0,1,0,1,0,0,0,0,0\n"), (BOXES, 3, "LabelName")),
    "value.not_number": (box("abc", "1", "0", "1"), (BOXES, 3, "XMin")),
    "value.not_finite": (box("0", "nan", "0", "1"), (BOXES, 3, "XMax")),
    "value.range": (box("0", "1", "0", "640"), (BOXES, 3, "YMax")),
    "value.flag": (box("0", "1", "0", "1", "2"), (BOXES, 3, "IsOccluded")),
    "box.inverted": (box("0", "1", "0.9", "0.1"), (BOXES, 3, "YMin")),
    "image.unmatched": (tags("a,,/m/c,1\nnobody,,/m/c,1\n"), (TAGS, 3, "ImageID")),
    "image.ambiguous": (tags("a,,/m/c,1\nc,,/m/c,1\n"), (TAGS, 3, "ImageID")),
    "image.subset_conflict": ({LIST: LIST_HEADER + "a,train,,,,,,,,,,\na,test,,,,,,,,,,\n"}, (LIST, 3, "Subset")),
    "image.bad_subset": ({LIST: LIST_HEADER + "a,..,,,,,,,,,,\n"}, (LIST, 2, "Subset")),
    "label.unknown": (tags("a,,/m/c,1\na,,/m/zebra,1\n"), (TAGS, 3, "LabelName")),
    "mask.missing_file": (masks("m.png,a,/m/c,1,,,,,,\nn.png,a,/m/c,1,,,,,,\n"), (MASKS, 3, "MaskPath")),
    "mask.ambiguous_file": (
        masks("m.png,a,/m/c,1,,,,,,\n") | {"one/m.png": PNG, "two/m.png": PNG, "masks/train/m.png": PNG}
        | {MASKS: MASK_HEADER + "n.png,a,/m/c,1,,,,,,\n", "one/n.png": PNG, "two/n.png": PNG},
        (MASKS, 2, "MaskPath"),
    ),
    "mask.bad_png": (masks("m.png,a,/m/c,1,,,,,,\n", m=PNG[:-20]), (MASKS, 2, "MaskPath")),
    "mask.bad_path": (masks("../m.png,a,/m/c,1,,,,,,\n"), (MASKS, 2, "MaskPath")),
    "mask.bad_box_id": (masks("m.png,a,/m/c,a/b,,,,,,\n"), (MASKS, 2, "BoxID")),
    "meta.bad_line": (boxes(**{SIZES: "a 6 8\nb six 8\n"}), (SIZES, 2, None)),
    "hierarchy.bad_json": (boxes(**{HIERARCHY: '{"LabelName": "x",\n "Subcategory": [}'}), (HIERARCHY, 2, None)),
    "hierarchy.bad_node": (
        boxes(**{HIERARCHY: '{"LabelName": "x", "Subcategory": [{"Part": []}]}'}),
        (HIERARCHY, None, "$.Subcategory[0]"),
    ),
}  # fmt: skip
WARNINGS: dict[str, tuple[dict[str, str | bytes], Place]] = {
    "file.kept": (boxes(**{"notes.md": "x"}), ("notes.md", None, None)),
    "layout.two_versions": (
        boxes(**{"annotations/oidv6-train-annotations-bbox.csv": BOX_HEADER}),
        (BOXES, None, None),
    ),
    "row.duplicate": (tags("a,,/m/c,1\na,,/m/c,1\n"), (TAGS, 3, None)),
    "value.missing": (tags("a,,/m/c,\n"), (TAGS, 2, "Confidence")),
    "box.outside": (box("-0.1", "1", "0", "1"), (BOXES, 3, None)),
    "box.empty": (box("0.5", "0.5", "0", "1"), (BOXES, 3, None)),
    "image.duplicate": ({LIST: LIST_HEADER + "a,train,x,,,,,,,,,\na,train,y,,,,,,,,,\n"}, (LIST, 3, "ImageID")),
    "label.undeclared": ({TAGS: TAG_HEADER + "a,,Cat,1\n"}, (TAGS, 2, "LabelName")),
    "label.shared_name": (
        {CLASSES: NAMES + "/m/e,Cat\n", TAGS: TAG_HEADER + "a,,/m/c,1\na,,/m/e,1\n"},
        (TAGS, 3, "LabelName"),
    ),
    "label.name_conflict": ({CLASSES: NAMES + "/m/c,Puma\n", TAGS: TAG_HEADER}, (CLASSES, 3, "DisplayName")),
    "mask.not_binary": (masks("m.png,a,/m/c,1,,,,,,\n", m=b"palette"), (MASKS, 2, "MaskPath")),
    "mask.resized": (masks("m.png,a,/m/c,1,,,,,,\n", m=rectangle_png(16, 12, 1, 1, 9, 9)), (MASKS, 2, "MaskPath")),
    "mask.aspect": (masks("m.png,a,/m/c,1,,,,,,\n", m=TALL), (MASKS, 2, "MaskPath")),
    "mask.empty": (masks("m.png,a,/m/c,1,,,,,,\n", m=rectangle_png(8, 6, 0, 0, 0, 0)), (MASKS, 2, "MaskPath")),
    "mask.unreferenced": (masks("m.png,a,/m/c,1,,,,,,\n", n=PNG), ("masks/train/n.png", None, None)),
    "mask.box_partial": (masks("m.png,a,/m/c,1,0.1,,,,,\n"), (MASKS, 2, None)),
    "mask.box_unlinked": (masks("m.png,a,/m/c,1,0.1,0.2,0.1,0.2,,\n"), (MASKS, 2, "BoxXMin")),
    "meta.size_differs": (boxes(**{SIZES: "a 6 9\n"}), (SIZES, 1, None)),
    "attribute.no_value": (tags("a,,/m/c,0.7\n"), (TAGS, 2, "Confidence")),
    "hierarchy.unknown_label": (
        boxes(**{HIERARCHY: '{"LabelName": "x", "Subcategory": [{"LabelName": "/m/z"}]}'}),
        (HIERARCHY, None, None),
    ),
    "attribute.undeclared": (boxes(**{SIDE: MOODY}), (SIDE, None, None)),
    "extra.ignored": (boxes(**{SIDE: '{"version": 99}'}), (SIDE, None, None)),
}  # fmt: skip


def palette_png() -> bytes:
    """A picture of two palette entries, of which neither is grey."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes([1] * 8) for _ in range(6))
    head = struct.pack(">IIBBBBB", 8, 6, 8, 3, 0, 0, 0)
    parts = [
        chunk(b"IHDR", head),
        chunk(b"PLTE", b"\0\0\0\xff\0\0"),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("severity", "code"), [*(("error", c) for c in ERRORS), *(("warning", c) for c in WARNINGS)])
def test_a_problem_has_its_code_and_place(severity: str, code: str) -> None:
    members, place = (ERRORS if severity == "error" else WARNINGS)[code]
    members = {name: palette_png() if data == b"palette" else data for name, data in members.items()}
    try:
        _, report = imported(members, TASK)
    except ImportProblems as problems:
        report = problems.report
    told = [problem for problem in report.problems() if problem.code == code and problem.severity == severity]
    assert told, report.problems()
    assert (told[0].file, told[0].row, told[0].column) == place
    if severity == "warning":
        assert report.errors == []


def test_warnings_that_need_an_option_or_a_label_of_their_own() -> None:
    members = tags("a,,/m/c,1\nnobody,,/m/c,1\n")
    _, report = imported(members, PLAIN, unmatched="skip")
    (problem,) = report.warnings
    assert (problem.code, problem.file, problem.row, problem.column) == ("image.unmatched", TAGS, 3, "ImageID")
    _, report = imported(tags("a,,/m/c,0\n"), PLAIN)
    (problem,) = report.warnings
    assert (problem.code, problem.file, problem.row, problem.column) == ("tag.negative_hidden", TAGS, 2, "Confidence")


def test_an_image_that_is_not_in_the_job_is_told_as_such() -> None:
    for is_part, whose in ((False, "task"), (True, "job")):
        _, report = imported(tags("nobody,,/m/c,1\n"), replace(PLAIN, is_part=is_part))
        assert f'no frame of the {whose} is called "nobody"' in report.errors[0].message


def test_what_to_do_about_a_label_that_is_like_none_is_told() -> None:
    _, report = imported({TAGS: TAG_HEADER + "a,,/m/zebra,1\na,,Zebra,1\na,,Catt,1\n"}, PLAIN)
    told = [problem.message.partition("; ")[2] for problem in report.errors]
    assert told == [
        "no class file tells its name: send class-descriptions.csv with it",
        'the task has "Cat". labels=create makes what is missing, map=label:NAME=LABEL says which label is meant',
        "did you mean 'Cat'?",
    ]


def test_a_table_that_is_packed_by_itself_is_told() -> None:
    packed = {f"annotations/f{n}.txt": "x" for n in range(20)} | {TAGS.replace("train", "test") + ".gz": b"\x1f\x8b"}
    _, report = imported(tags("a,,/m/c,1\n", **packed), PLAIN)
    (told,) = [problem for problem in report.warnings if problem.file == TAGS.replace("train", "test") + ".gz"]
    assert (told.code, told.suggestion) == ("file.kept", None)
    assert told.message.endswith("a table that is packed by itself is not looked into: unpack it, and send it so")


def test_a_deleted_image_is_told_once_at_its_first_row() -> None:
    members = {
        LIST: LIST_HEADER + "a,train,,,,,,,,,,\nb,train,,,,,,,,,,\n",
        CLASSES: "Cat,Cat\n",
        BOXES: BOX_HEADER + "".join(f"{image},,Cat,1,0,1,0,1,0,0,0,0,0\n" for image in "abab"),
        TAGS: TAG_HEADER + "b,,Cat,1\nb,,Cat,1\n",
    }
    sizes = {"a.jpg": (8, 6), "b.jpg": (8, 6)}
    sink, report = good(members, target(sizes, labels("Cat"), deleted=np.array([False, True])))
    told = [problem for problem in report.warnings if problem.code == "image.deleted"]
    assert [(each.file, each.row, each.column, each.value) for each in told] == [(BOXES, 3, "ImageID", "b")]
    assert "left out of exports until it is restored" in told[0].message
    assert len(sink.annotations().shapes) == 4, "they are kept"
    _, report = good(members, target(sizes, labels("Cat")))
    assert "image.deleted" not in report.counts


SYMLINK = Member(b"a.csv", b"b", attributes=0o120777 << 16)
ZIPS: dict[str, tuple[bytes, ArchiveLimits, str | None]] = {
    "zip.invalid": (b"PK\x03\x04 cut short", ArchiveLimits(), None),
    "zip.encrypted": (build(Member(b"a.csv", flags=1)), ArchiveLimits(), "a.csv"),
    "zip.unsafe_path": (build(Member(b"../a.csv")), ArchiveLimits(), "../a.csv"),
    "zip.symlink": (build(SYMLINK), ArchiveLimits(), "a.csv"),
    "zip.duplicate_member": (build(Member(b"a.csv"), Member(b"A.csv")), ArchiveLimits(), "A.csv"),
    "zip.bad_member": (build(Member(b"a.csv", central={"crc": 1}, local={"crc": 1})), ArchiveLimits(), "a.csv"),
    "zip.too_big": (build(Member(b"a.csv", bytes(99))), ArchiveLimits(max_member_bytes=98), "a.csv"),
}


@pytest.mark.parametrize("code", ZIPS)
def test_a_zip_that_is_refused_has_its_code_and_member(code: str) -> None:
    data, limits, file = ZIPS[code]
    with pytest.raises(ImportProblems) as caught:
        open_archive(BytesSource(data), limits).verify()
    problem = caught.value.report.errors[0]
    assert (problem.code, problem.file) == (code, file)
