"""What each edit does to the row it was imported from, line by line of the edit rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Edit, Shapes, ShapeType
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    LIST,
    LIST_HEADER,
    MASK_HEADER,
    MASKS,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)

TASK = target({"a.jpg": (8, 8)}, labels("cat", "dog", attributes=all_attributes()))
CLICKS = ",XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"
HEADER = BOX_HEADER.strip() + CLICKS + ",extra\n"
BOX = "a,xclick,/m/c,0.90,0.250,0.50,0.250,0.50,-1,0,-1,1,0,.1,.2,.3,.4,.5,.6,.7,.8,kept"
MASK = "m.png,a,/m/c,0000000a,0.250,0.50,0.250,0.50,0.87650,0.1 0.1 1,more"
ALONE = "n.png,a,/m/c,0000000b,0.1,0.2,0.1,0.2,,0.1 0.1 1,more"
TAG = "a,verification,/m/c,0.90"
PNG, OTHER = rectangle_png(8, 8, 2, 2, 4, 4), rectangle_png(4, 4, 0, 0, 1, 1)
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: "/m/c,cat\n/m/d,dog\n",
    LIST: LIST_HEADER + "a,train,,,,,,,,,,\n",
    BOXES: HEADER + BOX + "\n",
    TAGS: TAG_HEADER + TAG + "\n",
    MASKS: MASK_HEADER.strip() + ",note\n" + MASK + "\n" + ALONE + "\n",
    "masks/train/m.png": PNG,
    "masks/train/n.png": OTHER,
}


@pytest.fixture(scope="module")
def sink() -> MemorySink:
    return good(ARCHIVE, TASK)[0]


def export(sink: MemorySink, **tables: Any) -> dict[str, bytes]:
    """The archive after an edit; `tables` take the place of the imported ones."""
    found = sink.annotations()
    parts = {name: tables.get(name, getattr(found, name)) for name in ("shapes", "tags", "images", "rows")}
    source = MemorySource.of_sink(sink, TASK.frames, Annotations(**parts))
    return read_zip(exported(source, TASK, side_file=False)[0])


def lines(members: dict[str, bytes], name: str) -> list[str]:
    return members[name].decode().splitlines()[1:] if name in members else []


def row_of(shapes: Shapes, line: str) -> int:
    return shapes.kept.lines.to_texts().index(line)


def edit(sink: MemorySink, line: str, flags: Edit, **values: Any) -> dict[str, bytes]:
    shapes = sink.annotations().shapes
    return export(sink, shapes=edited(shapes, row_of(shapes, line), flags, **values))


def test_nothing(sink: MemorySink) -> None:
    members = export(sink)
    assert (lines(members, BOXES), lines(members, MASKS), lines(members, TAGS)) == ([BOX], [MASK, ALONE], [TAG])
    assert (members["masks/train/m.png"], members["masks/train/n.png"]) == (PNG, OTHER)


def test_a_box_was_moved(sink: MemorySink) -> None:
    members = edit(sink, BOX, Edit.GEOMETRY, points=[0, 1, 2, 3])
    clicks = ",-1" * 8
    assert lines(members, BOXES) == [f"a,,/m/c,0.90,0,0.25,0.125,0.375,-1,0,-1,1,0{clicks},kept"]
    followed = MASK.replace("0.250,0.50,0.250,0.50", "0,0.25,0.125,0.375")
    assert lines(members, MASKS) == [followed, ALONE]
    assert members["masks/train/m.png"] == PNG


def test_a_mask_was_drawn_anew(sink: MemorySink) -> None:
    members = edit(sink, ALONE, Edit.GEOMETRY, runs=[0, 4, 0, 0, 1, 1])
    # PredictedIoU was empty; the attribute says nothing either.
    assert lines(members, MASKS) == [MASK, "n.png,a,/m/c,0000000b,0.1,0.2,0.1,0.2,,,more"]
    assert members["masks/train/n.png"] not in (OTHER, PNG)
    found = good(dict(members), TASK)[0].annotations().shapes
    assert found.runs.row(row_of(found, "n.png,a,/m/c,0000000b,0.1,0.2,0.1,0.2,,,more")).tolist() == [0, 4, 0, 0, 1, 1]


def test_the_quality_of_a_redrawn_mask_stays_where_the_attribute_holds_it(sink: MemorySink) -> None:
    members = edit(sink, MASK, Edit.GEOMETRY, runs=[0, 4, 0, 0, 1, 1])
    assert lines(members, MASKS)[0] == MASK.replace("0.1 0.1 1", "")
    plain = target({"a.jpg": (8, 8)}, labels("cat", "dog"))
    other = good(ARCHIVE, plain)[0]
    shapes = other.annotations().shapes
    changed = edited(shapes, row_of(shapes, MASK), Edit.GEOMETRY, runs=[0, 4, 0, 0, 1, 1])
    source = MemorySource.of_sink(other, plain.frames, Annotations(shapes=changed, images=other.annotations().images))
    members = read_zip(exported(source, plain)[0])
    assert lines(members, MASKS)[0] == MASK.replace("0.1 0.1 1", "").replace("0.87650", "")


def test_a_link_was_removed(sink: MemorySink) -> None:
    members = edit(sink, MASK, Edit.GROUP, groups=0)
    assert lines(members, MASKS) == [MASK.replace("0.250,0.50,0.250,0.50", ",,,"), ALONE]
    assert members["masks/train/m.png"] == PNG


def test_a_link_was_made(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    group = int(shapes.groups[row_of(shapes, BOX)])
    free = edited(shapes, row_of(shapes, MASK), Edit.GROUP, groups=0)
    members = export(sink, shapes=edited(free, row_of(free, ALONE), Edit.GROUP, groups=group))
    assert lines(members, MASKS)[1] == ALONE.replace("0.1,0.2,0.1,0.2", "0.250,0.50,0.250,0.50")


def test_the_label_of_a_box(sink: MemorySink) -> None:
    members = edit(sink, BOX, Edit.LABEL, label_ids=2)
    assert lines(members, BOXES) == [BOX.replace("/m/c", "/m/d")]
    assert members[CLASSES].decode().splitlines() == ["/m/c,cat", "/m/d,dog"]


def test_the_label_of_a_mask(sink: MemorySink) -> None:
    members = edit(sink, ALONE, Edit.LABEL, label_ids=2)
    assert lines(members, MASKS)[1] == ALONE.replace("/m/c", "/m/d").replace("n.png", "a_md_0000000b.png")
    assert members["masks/train/a_md_0000000b.png"] == OTHER
    assert "masks/train/n.png" not in members


def test_the_label_of_a_tag(sink: MemorySink) -> None:
    tags = edited(sink.annotations().tags, 0, Edit.LABEL, label_ids=2)
    assert lines(export(sink, tags=tags), TAGS) == [TAG.replace("/m/c", "/m/d")]


def attributes(changes: dict[int, str]) -> str:
    """The box's attributes as imported, with changes by spec id."""
    values = {101: "false", 103: "true", 104: "false", 105: "0.90", 106: "xclick"} | changes
    items = (f'{{"spec_id":{spec},"value":"{value}"}}' for spec, value in sorted(values.items()))
    return f"[{','.join(items)}]"


@pytest.mark.parametrize(
    ("changes", "column", "cell"),
    [
        ({101: "true"}, "IsTruncated", "1"),
        ({103: "false"}, "IsDepiction", "0"),
        ({102: "true"}, "IsGroupOf", "1"),
        ({105: "0.5"}, "Confidence", "0.5"),
        ({106: "freeform"}, "Source", "freeform"),
        ({102: "false"}, None, None),
        ({105: "0.9"}, None, None),
    ],
    ids=str,
)
def test_an_attribute_changes_its_cell_only(
    sink: MemorySink, changes: dict[int, str], column: str | None, cell: str | None
) -> None:
    expected = dict(zip(HEADER.strip().split(","), BOX.split(","), strict=True))
    if column is not None and cell is not None:
        expected[column] = cell
    members = edit(sink, BOX, Edit.ATTRIBUTES, attributes=attributes(changes))
    assert lines(members, BOXES) == [",".join(expected.values())]


def test_the_flag_changes_its_cell_only(sink: MemorySink) -> None:
    members = edit(sink, BOX, Edit.OCCLUDED, occluded=True)
    assert lines(members, BOXES) == [BOX.replace("0.50,-1,0", "0.50,1,0")]


def test_an_unknown_flag_stays_unknown_while_it_is_off(sink: MemorySink) -> None:
    assert lines(edit(sink, BOX, Edit.OCCLUDED, occluded=False), BOXES) == [BOX]


def test_the_score_of_a_tag(sink: MemorySink) -> None:
    tags = sink.annotations().tags
    changed = edited(tags, 0, Edit.ATTRIBUTES, attributes='[{"spec_id":105,"value":"0.25"}]')
    assert lines(export(sink, tags=changed), TAGS) == [TAG.replace("0.90", "0.25")]
    same = edited(tags, 0, Edit.ATTRIBUTES, attributes='[{"spec_id":105,"value":"0.9"}]')
    assert lines(export(sink, tags=same), TAGS) == [TAG]


def test_the_source_of_a_tag(sink: MemorySink) -> None:
    text = '[{"spec_id":105,"value":"0.90"},{"spec_id":106,"value":"machine"}]'
    tags = edited(sink.annotations().tags, 0, Edit.ATTRIBUTES, attributes=text)
    assert lines(export(sink, tags=tags), TAGS) == [TAG.replace("verification", "machine")]


def test_the_box_id_and_quality_of_a_mask(sink: MemorySink) -> None:
    text = '[{"spec_id":107,"value":"new"},{"spec_id":108,"value":"0.5"}]'
    members = edit(sink, MASK, Edit.ATTRIBUTES, attributes=text)
    assert lines(members, MASKS)[0] == MASK.replace("0000000a", "new").replace("0.87650", "0.5")
    assert members["masks/train/m.png"] == PNG


def test_a_box_was_deleted(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    left = shapes.take(np.arange(len(shapes)) != row_of(shapes, BOX))
    members = export(sink, shapes=left)
    assert BOXES not in members
    assert lines(members, MASKS) == [MASK.replace("0.250,0.50,0.250,0.50", ",,,"), ALONE]


def test_a_mask_was_deleted(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    members = export(sink, shapes=shapes.take(np.arange(len(shapes)) != row_of(shapes, MASK)))
    assert lines(members, MASKS) == [ALONE]
    assert "masks/train/m.png" not in members


def test_everything_was_deleted(sink: MemorySink) -> None:
    members = export(sink, shapes=Shapes.empty(), tags=sink.annotations().tags.take(np.zeros(1, dtype=np.bool_)))
    assert set(members) & {BOXES, TAGS, MASKS} == set()
    assert lines(members, LIST) == ["a,train,,,,,,,,,,"]


def test_a_part_of_a_traced_mask_was_deleted() -> None:
    png = rectangle_png(8, 8, 0, 0, 1, 1)
    both = np.zeros((8, 8), dtype=np.bool_)
    both[0, 0] = both[7, 7] = True
    from tests.samples import mask_png

    members = {**ARCHIVE, "masks/train/n.png": mask_png(both)}
    other = good(members, TASK, conv_mask_to_poly=True)[0]
    shapes = other.annotations().shapes
    parts = np.flatnonzero([line == ALONE for line in shapes.kept.lines.to_texts()])
    assert len(parts) == 2
    found = export(other, shapes=shapes.take(np.arange(len(shapes)) != parts[1]))
    assert lines(found, MASKS)[1].startswith("n.png,a,/m/c,0000000b,")
    assert lines(found, MASKS)[1].endswith(",,,more"), "the clicks belong to the mask that was"
    second = good(dict(found), TASK)[0].annotations().shapes
    expected = good({**ARCHIVE, "masks/train/n.png": png}, TASK)[0].annotations().shapes
    row = next(n for n, line in enumerate(second.kept.lines.to_texts()) if line.startswith("n.png"))
    assert second.runs.row(row).tolist() == expected.runs.row(row_of(expected, ALONE)).tolist()


def test_a_polygon_joins_an_imported_mask(sink: MemorySink) -> None:
    from dataclasses import replace

    from app.columns import Ragged

    shapes = sink.annotations().shapes
    polygon = replace(
        Shapes.empty(1),
        types=np.array([ShapeType.POLYGON], dtype=np.uint8),
        label_ids=np.array([1], dtype=np.int32),
        groups=np.array([int(shapes.groups[row_of(shapes, MASK)])], dtype=np.int32),
        points=Ragged.from_arrays([[6, 6, 8, 6, 8, 8, 6, 8]], np.float64),
    )
    members = export(sink, shapes=Shapes.concatenate([shapes, polygon]))
    assert lines(members, MASKS) == [MASK.replace("0.1 0.1 1", ""), ALONE]
    found = good(dict(members), TASK)[0].annotations().shapes
    assert found.runs.row(int(np.flatnonzero(found.types == ShapeType.MASK)[0])).tolist()[-4:] == [2, 2, 7, 7]
