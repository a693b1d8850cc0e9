"""What other tools are known to do to archives: recognised, mended where it can be, and told once a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from app.columns import Cells, Ragged
from app.formats.open_images import repairs
from app.formats.open_images.repairs import REPAIRS, short_decimals
from app.images import decode_mask
from tests.formats.builders import all_attributes, exported, good, imported, labels, places, read_zip, target
from tests.formats.memory import MemorySource
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, MASK_HEADER, MASKS, SIZES, TAG_HEADER, TAGS
from tests.samples import mask_png

TASK = target({"a.jpg": (10, 10), "b.jpg": (20, 10)}, labels("Cat", "Dog", attributes=all_attributes()))
NAMES = "/m/c,Cat\n/m/d,Dog\n"
BIT = mask_png(np.eye(10, dtype=np.bool_))
DARK = mask_png(np.eye(10, dtype=np.bool_), kind="zero-one")


def of_single(text: str) -> str:
    """A coordinate as a tool of single precision writes it."""
    return repr(float(np.float32(text)))


def masks(*rows: str, png: bytes = BIT) -> dict[str, str | bytes]:
    return {CLASSES: NAMES, MASKS: MASK_HEADER + "".join(rows), "masks/train/m.png": png, "masks/train/n.png": BIT}


DAMAGED: dict[str, tuple[dict[str, str | bytes], tuple[str, int | None, str | None], int]] = {
    "class.header_row": ({CLASSES: "LabelName,LabelName\n" + NAMES}, (CLASSES, 1, "LabelName"), 1),
    "class.swapped": ({CLASSES: "Cat,/m/c\nDog,/m/d\n"}, (CLASSES, 1, "LabelName"), 2),
    "class.named_by_mid": ({CLASSES: "/m/c,/m/c\n", "a-" + CLASSES: NAMES}, (CLASSES, 1, "DisplayName"), 1),
    "csv.line_ends": ({CLASSES: NAMES, TAGS: TAG_HEADER + "a,,/m/c,1\r\nb,,/m/c,1\r\n"}, (TAGS, None, None), 1),
    "value.single_precision": (
        {CLASSES: NAMES, BOXES: BOX_HEADER + f"a,,/m/c,1,0.5,{of_single('0.8')},0,{of_single('0.123')},0,0,0,0,0\n"},
        (BOXES, 2, "XMax"),
        2,
    ),
    "value.decimal_one": ({CLASSES: NAMES, TAGS: TAG_HEADER + "a,,/m/c,1\nb,,/m/c,1.0\n"}, (TAGS, 3, "Confidence"), 1),
    "value.flag_words": (
        {CLASSES: NAMES, BOXES: BOX_HEADER + "a,,/m/c,1,0,1,0,1,0,true,0,0,0\n"},
        (BOXES, 2, "IsTruncated"),
        1,
    ),
    "mask.dark": (masks("m.png,a,/m/c,1,,,,,,\nn.png,a,/m/c,2,,,,,,\n", png=DARK), (MASKS, 2, "MaskPath"), 1),
    "mask.shared_file": (
        masks("n.png,a,/m/d,1,,,,,,\nm.png,a,/m/c,1,,,,,,\nm.png,a,/m/d,2,,,,,,\n"),
        (MASKS, 4, "MaskPath"),
        1,
    ),
    "meta.incomplete": (
        {CLASSES: NAMES, SIZES: "a 10 10\n", BOXES: BOX_HEADER + "b,,/m/c,1,0,1,0,1,0,0,0,0,0\n"},
        (SIZES, None, None),
        1,
    ),
}


def test_every_known_damage_has_an_example_and_is_written_down() -> None:
    assert sorted(DAMAGED) == sorted(REPAIRS)
    told = (Path(repairs.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+\.\w+)` \| .+ \| .+ \|$", told.partition("## Damage")[2], re.MULTILINE) == list(
        REPAIRS
    )


@pytest.mark.parametrize("code", DAMAGED)
def test_a_damage_is_told_with_its_place(code: str) -> None:
    members, place, count = DAMAGED[code]
    _, report = good(members, TASK)
    told = [problem for problem in report.warnings if problem.code == code]
    assert places(told) == [(code, *place)], report.warnings
    assert report.counts[code] == count
    assert report.summary["repairs"] == {code: count}


@pytest.mark.parametrize("code", DAMAGED)
def test_cells_and_bytes_stay_as_they_came(code: str) -> None:
    members, _, _ = DAMAGED[code]
    sink, _ = good(members, TASK)
    back = read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])
    for name, data in members.items():
        if isinstance(data, bytes):
            assert back[name] == data
        elif name in (BOXES, TAGS, MASKS) and code != "value.flag_words":
            assert back[name].decode().splitlines() == data.splitlines()


@pytest.mark.parametrize(
    ("cell", "written", "told"),
    [
        ("no", "0", 1),
        ("NO", "0", 1),
        ("Yes", "1", 1),
        (" 1", "1", 1),
        ("-1.0", "-1", 1),
        ("-1", "-1", 0),
        ("0", "0", 0),
    ],
)
def test_every_flag_that_is_written_back_otherwise_is_told(cell: str, written: str, told: int) -> None:
    row = "a,,/m/c,1,0,1,0,1,0,{},0,0,0\n"
    sink, report = good({CLASSES: NAMES, BOXES: BOX_HEADER + row.format(cell)}, TASK)
    assert report.counts.get("value.flag_words", 0) == told
    members = read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])
    assert members[BOXES].decode() == BOX_HEADER + row.format(written)


def test_a_header_is_no_class() -> None:
    sink, _ = good(DAMAGED["class.header_row"][0], TASK)
    assert sink.document["classes"] == [["/m/c", "Cat"], ["/m/d", "Dog"]]


def test_swapped_names_are_read_the_other_way_round() -> None:
    members = {CLASSES: "Cat,/m/c\nDog,/m/d\n", TAGS: TAG_HEADER + "a,,/m/d,1\n"}
    sink, _ = good(members, TASK)
    assert sink.annotations().tags.label_ids.tolist() == [2]
    assert sink.document["classes"] == [["/m/c", "Cat"], ["/m/d", "Dog"]]


@pytest.mark.parametrize("order", [("a/class-descriptions.csv", "b/class-descriptions-boxable.csv"), ("b", "a")])
def test_a_name_in_another_file_takes_the_place_of_a_mid(order: tuple[str, str]) -> None:
    first = {"a/class-descriptions.csv": "/m/c,/m/c\n/m/x,/m/x\n", "b/class-descriptions-boxable.csv": NAMES}
    if order == ("b", "a"):
        first = {"a/class-descriptions.csv": NAMES, "b/class-descriptions-boxable.csv": "/m/c,/m/c\n/m/x,/m/x\n"}
    sink, report = good({**first, TAGS: TAG_HEADER + "a,,/m/c,1\n"}, TASK)
    assert sink.annotations().tags.label_ids.tolist() == [1]
    assert "label.name_conflict" not in report.counts
    assert sorted(map(tuple, sink.document["classes"])) == [("/m/c", "Cat"), ("/m/d", "Dog"), ("/m/x", "/m/x")]


def test_single_precision_places_boxes_by_the_short_decimals() -> None:
    sink, _ = good(DAMAGED["value.single_precision"][0], TASK)
    assert sink.annotations().shapes.points.values.tolist() == [5.0, 0.0, 8.0, 1.23]
    row = f"a,,/m/c,1,0.5,{of_single('0.8')},0,0.123456789,0,0,0,0,0\n"
    sink, report = good({CLASSES: NAMES, BOXES: BOX_HEADER + row + row.replace(of_single("0.8"), "0.800000012")}, TASK)
    assert report.counts == {}, "a table of doubles is left alone"


def test_short_decimals_of_many_numbers() -> None:
    random = np.random.default_rng(7)
    for decimals in range(1, 8):
        wanted = np.round(random.random(400), decimals)
        texts = [repr(float(np.float32(value))) for value in wanted]
        cells = Cells.of(Ragged.from_bytes([text.encode() for text in texts]))
        values = np.array([float(text) for text in texts])
        mended, changed = short_decimals(values, cells, np.ones(len(values), dtype=np.bool_))
        assert mended.tolist() == (wanted if decimals < 8 else values).tolist()
        assert changed.tolist() == (mended != values).tolist()
    exact = Cells.of(Ragged.from_bytes([b"0.500000000", b"0.250000000"]))
    mended, changed = short_decimals(np.array([0.5, 0.25]), exact, np.ones(2, dtype=np.bool_))
    assert not changed.any()


def test_dark_masks_are_drawn_anew_for_fiftyone_alone() -> None:
    sink, _ = good(DAMAGED["mask.dark"][0], TASK)
    data, report = exported(MemorySource.of_sink(sink, TASK.frames), TASK, layout="fiftyone")
    members = read_zip(data)
    drawn = decode_mask(members["labels/masks/A/m.png"])
    assert not drawn.is_dark
    assert drawn.rows.tolist() == decode_mask(DARK).rows.tolist()
    assert members["labels/masks/A/n.png"] == BIT
    assert report.counts == {"export.mask_redrawn": 1}
    assert read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])["masks/train/m.png"] == DARK


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("/m/c;Cat\n/m/d;Dog\n", True),
        ("/m/c\tCat\n", True),
        ("Cat|/m/c\n", True),
        ("LabelName;DisplayName\n/m/c;Cat\n", True),
        ("/m/c,Cat; big\n/m/d,Dog\n", False),
        ("Cat;Dog\nFox\n", False),
        ("/m/c\n/m/d\n", False),
    ],
    ids=repr,
)
def test_a_class_file_without_commas_is_told(text: str, is_told: bool) -> None:
    _, report = imported({CLASSES: text, BOXES: BOX_HEADER + "a,,Cat,1,0,1,0,1,0,0,0,0,0\n"}, TASK)
    found = [(one.file, one.row) for one in report.errors if one.code == "csv.delimiter"]
    assert found == ([(CLASSES, 1)] if is_told else [])
