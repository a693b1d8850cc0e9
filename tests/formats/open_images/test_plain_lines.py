"""What an import notes of its tables: lines that an export may write as they came, without a look into them."""

from __future__ import annotations

import pytest

from app.formats.base import Target
from app.formats.open_images.extras import Extras, relabel
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, LIST, LIST_HEADER, TAG_HEADER, TAGS

WHERE = target({"a.jpg": (8, 6), "x/b.png": (8, 6)}, labels("cat", attributes=all_attributes()))
LISTED = LIST_HEADER + "a,train,,,,,,,,,,\nx/b,train,,,,,,,,,,0.0\n"
A_BOX = "a,xclick,/m/c,1,0.1,0.5,0.25,1,0,1,-1,0,0\n"
B_BOX = "x/b,,/m/c,0.5,0,1,0,1,0,0,0,0,-1\n"
A_TAG = "a,verification,/m/c,1\n"


def members(boxes: str = A_BOX + B_BOX, tags: str = A_TAG, listed: str = LISTED) -> dict[str, str | bytes]:
    return {CLASSES: "/m/c,cat\n", LIST: listed, BOXES: BOX_HEADER + boxes, TAGS: TAG_HEADER + tags}


def plain_paths(archive: dict[str, str | bytes], where: Target = WHERE, **options: str) -> set[str]:
    extras = Extras.from_dict(good(archive, where, **options)[0].document)
    return {extras.tables[number].path for number in extras.plain}


def test_plain_tables_are_noted() -> None:
    assert plain_paths(members()) == {BOXES, TAGS, LIST}


@pytest.mark.parametrize(
    ("changed", "odd"),
    [
        ({"boxes": A_BOX + B_BOX.replace(",0.5,", ",,")}, {BOXES}),
        ({"boxes": A_BOX + B_BOX.replace(",-1\n", ",\n")}, {BOXES}),
        ({"boxes": B_BOX.replace(",-1\n", ",true\n") + A_BOX}, {BOXES}),
        ({"boxes": B_BOX.replace(",-1\n", ", 1\n") + A_BOX}, {BOXES}),
        ({"boxes": A_BOX + B_BOX.replace("x/b,", "x/b.png,")}, {BOXES}),
        ({"boxes": B_BOX.replace("x/b,", "b,") + A_BOX}, {BOXES}),
        ({"tags": A_TAG.replace(",1\n", ",\n")}, {TAGS}),
        ({"tags": A_TAG + "x/b.png,,/m/c,0\n"}, {TAGS}),
        ({"listed": LISTED.replace("a,train", "a,")}, {LIST}),
        ({"listed": LISTED.replace("a,train", "a.jpg,train")}, {LIST}),
    ],
)
def test_a_single_odd_line_is_enough(changed: dict[str, str], odd: set[str]) -> None:
    assert plain_paths(members(**changed)) == {BOXES, TAGS, LIST} - odd


def test_lines_that_are_not_kept_do_not_count() -> None:
    boxes = A_BOX + A_BOX.replace("a,", "c,")
    assert plain_paths(members(boxes=boxes), unmatched="skip") == {BOXES, TAGS, LIST}


def test_a_subset_that_is_called_otherwise_is_no_plain_line() -> None:
    assert plain_paths(members(), map="subset:train=training") == {BOXES, TAGS}


def test_a_note_holds_only_while_the_stem_is_the_images_id() -> None:
    """Two frames of one stem have ids with an extension; lines then say which is meant, whatever was noted."""
    sink, _ = good(members(), WHERE)
    two = target({"a.jpg": (8, 6), "x/b.png": (8, 6), "a.png": (8, 6)}, WHERE.labels)
    written = read_zip(exported(MemorySource.of_sink(sink, two.frames), two)[0])
    assert b"\na.jpg,xclick," in written[BOXES]
    assert b"\na.jpg,train," in written[LIST]


def test_a_backup_that_is_restored_has_no_note() -> None:
    document = good(members(), WHERE)[0].document
    assert document["plain"]
    restored = relabel(document, {1: 1}, {})
    assert restored is not None
    assert restored["plain"] == []
