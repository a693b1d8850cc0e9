"""Relationships: kept row by row, tied to their boxes, and following them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from app import spools
from app.annotations import Annotations, Edit, Shapes, ShapeType
from app.columns import Ragged
from app.errors import Report
from app.formats import ImportOptions, read_selected
from app.formats.base import ListText
from app.formats.open_images import parted_rows, waiting_ends
from app.formats.open_images.links import TOLERANCE, BoxFinder
from app.formats.open_images.waiting_ends import WaitingEnds
from tests.formats.builders import OPEN_IMAGES, exported, good, imported, labels, opened, places, read_zip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES

TABLE = "annotations/train-annotations-vrd.csv"
HEADER = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel\n"
TASK = target({"a.jpg": (8, 8), "b.jpg": (8, 8), "c.jpg": (8, 8)}, labels("Cat", "Chair", "Dog"), subset="train")
CAT, CHAIR = "0.250,0.50,0.250,0.50", "0.500001,1,0,1"
ON = f"a,/m/cat,/m/chair,{CAT},0.5,1.0,0.0,1.0,on"
IS = f"a,/m/cat,/m/furry,{CAT},{CAT},is"
FAR = f"b,/m/cat,/m/man,{CAT},0,1,0,1,at"
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: "/m/cat,Cat\n/m/chair,Chair\n/m/man,Man\n",
    BOXES: BOX_HEADER
    + f"a,xclick,/m/cat,1,{CAT},0,0,0,0,0\na,xclick,/m/chair,1,{CHAIR},0,0,0,0,0\nb,xclick,/m/cat,1,{CAT},0,0,0,0,0\n",
    TABLE: HEADER + f"{ON}\n{IS}\n{FAR}\n",
}


@pytest.fixture(scope="module")
def sink() -> MemorySink:
    return good(ARCHIVE, TASK)[0]


def export(sink: MemorySink, shapes: Shapes | None = None, **options: Any) -> tuple[dict[str, bytes], Report]:
    found = sink.annotations()
    whole = Annotations(shapes=found.shapes if shapes is None else shapes, images=found.images, rows=found.rows)
    data, report = exported(MemorySource.of_sink(sink, TASK.frames, whole), TASK, **options)
    return read_zip(data), report


def lines(members: dict[str, bytes], name: str = TABLE) -> list[str]:
    return members[name].decode().splitlines()[1:] if name in members else []


def test_the_report_tells_what_there_is() -> None:
    _, report = good(ARCHIVE, TASK)
    relations = {"at": 1, "is": 1, "on": 1}
    told = {"rows": 3, "linked": 2, "half_linked": 1, "unlinked": 0, "relations": relations}
    assert report.summary["relationships"] == told
    assert report.summary["files"][TABLE] == "relationships"
    assert (report.tables[TABLE].seen, report.tables[TABLE].kept) == (3, 3)
    (warning,) = report.warnings
    assert (warning.code, warning.row, warning.column, warning.value) == ("relationship.unlinked", 4, "XMin2", "/m/man")


def test_nothing_edited_comes_back_to_the_letter(sink: MemorySink) -> None:
    members, report = export(sink)
    assert members[TABLE].decode() == ARCHIVE[TABLE]
    assert report.problems() == []


def test_rows_follow_a_box_that_was_moved(sink: MemorySink) -> None:
    members, _ = export(sink, edited(sink.annotations().shapes, 0, Edit.GEOMETRY, points=[0, 1, 2, 3]))
    new = "0,0.25,0.125,0.375"
    assert lines(members) == [ON.replace(CAT, new), IS.replace(CAT, new), FAR]
    assert f"a,,/m/cat,1,{new}" in members[BOXES].decode()


def test_rows_follow_the_label_of_a_box(sink: MemorySink) -> None:
    members, _ = export(sink, edited(sink.annotations().shapes, 0, Edit.LABEL, label_ids=3))
    assert lines(members) == [ON.replace("/m/cat", "Dog"), IS.replace("/m/cat", "Dog"), FAR]


def test_rows_of_a_deleted_box_go_and_are_counted(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    members, report = export(sink, shapes.take(np.array([1, 2])))
    assert lines(members) == [FAR]
    assert report.counts == {"export.relationship_dropped": 2}
    members, _ = export(sink, shapes.take(np.array([0, 2])))
    assert lines(members) == [IS, FAR]


def test_a_turned_box_gives_the_box_around_it(sink: MemorySink) -> None:
    members, _ = export(sink, edited(sink.annotations().shapes, 0, Edit.GEOMETRY, rotations=90.0))
    assert lines(members)[0] == ON.replace(CAT, "0.25,0.5,0.25,0.5")


def test_a_box_drawn_in_the_same_place_takes_over(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    drawn = shapes.take(np.array([0])).replace(kept=type(shapes.kept).empty(1))
    both = Shapes.concatenate([drawn, shapes.take(np.array([1, 2]))])
    members, report = export(sink, both)
    assert lines(members) == [ON, IS, FAR]
    assert report.problems() == []


def test_boxes_of_an_earlier_import_are_followed_too() -> None:
    first = good({name: data for name, data in ARCHIVE.items() if name != TABLE}, TASK)[0]
    second = MemorySink(set_id=2)
    report = Report()
    assert OPEN_IMAGES.read is not None
    archive = opened({CLASSES: ARCHIVE[CLASSES], TABLE: ARCHIVE[TABLE]})
    OPEN_IMAGES.read(archive, TASK, ImportOptions(), second, report, lambda done: None)
    assert report.summary["relationships"]["unlinked"] == 3
    found, more = first.annotations(), second.annotations()
    shapes = edited(found.shapes, 0, Edit.GEOMETRY, points=[0, 1, 2, 3])
    source = MemorySource(
        Annotations(shapes=shapes, images=found.images, rows=more.rows),
        TASK.frames,
        {1: b"", 2: b""},
        {1: first.document, 2: second.document},
    )
    assert lines(read_zip(exported(source, TASK)[0]))[0] == ON.replace(CAT, "0,0.25,0.125,0.375")
    source = MemorySource(Annotations(rows=more.rows), TASK.frames, {2: b""}, {2: second.document})
    assert lines(read_zip(exported(source, TASK)[0])) == [ON, IS, FAR], "nobody knows of a deletion"


def test_another_name_of_the_relation_stays() -> None:
    members = {**ARCHIVE, TABLE: HEADER.replace("RelationshipLabel", "RelationLabel") + f"{ON}\n{IS}\n"}
    found, _ = good(members, TASK)
    assert export(found)[0][TABLE].decode() == members[TABLE]
    fiftyone, _ = export(found, layout="fiftyone")
    assert fiftyone["labels/relationships.csv"].decode() == HEADER + f"{ON}\n{IS}\n"


def test_fiftyone_has_a_name_for_everything_a_row_names(sink: MemorySink) -> None:
    members, _ = export(sink, layout="fiftyone")
    assert lines(members, "labels/relationships.csv") == [ON, IS, FAR]
    assert {"/m/cat,Cat", "/m/chair,Chair", "/m/man,Man"} <= set(members["metadata/classes.csv"].decode().splitlines())
    assert members["metadata/attributes.csv"].decode().splitlines() == ["id,name", "/m/furry,/m/furry"]
    again, report = good(dict(members), TASK)
    assert report.summary["relationships"]["linked"] == 2
    assert lines(export(again)[0]) == [ON, IS, FAR]


def test_names_in_place_of_ids(sink: MemorySink) -> None:
    members, _ = export(sink, label_ids="name")
    assert [line.split(",")[1:3] for line in lines(members)] == [
        ["Cat", "Chair"],
        ["Cat", "/m/furry"],
        ["Cat", "/m/man"],
    ]
    assert "/m/man,Man" in members[CLASSES].decode()


def test_rows_without_numbers_are_kept_and_unlinked() -> None:
    odd = [f"a,/m/cat,/m/chair,,,,,{CHAIR},on", f"a,/m/cat,/m/chair,x,1,0,1,{CHAIR},"]
    found, report = good({**ARCHIVE, TABLE: HEADER + "\n".join(odd)}, TASK)
    assert report.summary["relationships"]["half_linked"] == 2
    assert lines(export(found)[0]) == odd


def test_numbers_that_no_box_has_keep_no_other_row_from_its_box() -> None:
    far = [f"a,/m/cat,/m/chair,{x},{x},0,1,{x},1,0,1,on" for x in ("-1e300", "1e308", "7", "-9")]
    found, report = good({**ARCHIVE, TABLE: HEADER + "\n".join([*far, ON, IS])}, TASK)
    assert report.summary["relationships"]["linked"] == 2
    assert lines(export(found)[0]) == [*far, ON, IS]


def test_a_table_of_few_columns_is_kept() -> None:
    found, _ = good({**ARCHIVE, TABLE: "ImageID,LabelName1,LabelName2,Extra\na,/m/cat,/m/chair,x\n"}, TASK)
    assert lines(export(found)[0]) == ["a,/m/cat,/m/chair,,,,,,,,,,x"]


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        (ON.replace("a,", "zz,", 1), "ImageID", "image.unmatched"),
        (ON.replace("/m/chair", ""), "LabelName2", "value.missing"),
        (ON + ",more", None, "csv.field_count"),
    ],
)
def test_what_is_refused_is_named(row: str, column: str | None, code: str) -> None:
    _, report = imported({**ARCHIVE, TABLE: f"{HEADER}{IS}\n{row}\n"}, TASK)
    assert places(report.errors) == [(code, TABLE, 3, column)]


def test_other_images_may_be_passed_over() -> None:
    found, report = imported(
        {**ARCHIVE, TABLE: f"{HEADER}{ON.replace('a,', 'zz,', 1)}\n{IS}\n"}, TASK, unmatched="skip"
    )
    assert report.errors == []
    assert lines(export(found)[0]) == [IS]


# --- selections ---


def selected(**options: Any) -> tuple[MemorySink, Report]:
    found, report = MemorySink(), Report()
    given = {name: ListText(value) if isinstance(value, str) else value for name, value in options.items()}
    read_selected(OPEN_IMAGES, opened(ARCHIVE), TASK, ImportOptions(**given), found, report, lambda done: None)
    return found, report


@pytest.mark.parametrize(
    ("options", "rows", "counts"),
    [
        ({"label_types": "relationships"}, [ON, IS, FAR], (3, 3)),
        ({"label_types": "detections"}, [], (3, 0)),
        ({"classes": "Chair"}, [ON, IS], (3, 2)),
        ({"classes": "Chair", "only_matching": True}, [ON], (3, 1)),
        ({"image_ids": "b"}, [FAR], (3, 1)),
        ({"attributes": "truncated", "only_matching": True}, [], (3, 0)),
    ],
    ids=str,
)
def test_selections_choose_among_them_both_ways(
    sink: MemorySink, options: dict[str, Any], rows: list[str], counts: tuple[int, int]
) -> None:
    found, report = selected(**options)
    assert sorted(found.annotations().rows.kept.lines.to_texts()) == sorted(rows)
    told = {"before": counts[0], "after": counts[1]}
    assert report.summary["selection"]["relationships"] == told
    members, report = export(sink, **options)
    assert lines(members) == rows
    assert report.summary["selection"]["relationships"] == told


@pytest.mark.parametrize("options", [{"label_types": "relationships"}, {"classes": "Chair", "only_matching": True}])
def test_boxes_that_were_not_selected_are_not_deleted_ones(options: dict[str, Any]) -> None:
    found, _ = selected(**options)
    members, report = export(found)
    assert lines(members) == ([ON, IS, FAR] if "label_types" in options else [ON])
    assert "export.relationship_dropped" not in report.counts


# --- finding boxes ---


def slow_found(ends: list[tuple[int, int, list[float]]], boxes: list[tuple[int, int, list[float]]]) -> list[int]:
    """The first box of each end: same frame and label, and four numbers that are near."""
    found = []
    for frame, label, box in ends:
        near = (
            n
            for n, (other, other_label, place) in enumerate(boxes)
            if (frame, label) == (other, other_label)
            and all(abs(a - b) <= TOLERANCE for a, b in zip(box, place, strict=True))
        )
        found.append(next(near, -1))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_found_as_by_the_twin(seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(n: int) -> list[tuple[int, int, list[float]]]:
        grid = random.integers(0, 3, (n, 4)) / 4 + random.choice([0, 0, 1e-6, 3e-6, -0.9e-6], (n, 4))
        return [(int(random.integers(0, 3)), int(random.integers(0, 2)), row.tolist()) for row in grid]

    ends, boxes = some(int(random.choice([0, 1, 80]))), some(int(random.choice([0, 1, 120])))

    def columns(rows: list[tuple[int, int, list[float]]]) -> tuple[Any, Any, Any]:
        return (
            np.array([row[0] for row in rows], dtype=np.int32),
            np.array([row[1] for row in rows], dtype=np.int32),
            np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        )

    finder = BoxFinder(*columns(ends), np.ones(len(ends), dtype=np.bool_))
    half = len(boxes) // 2
    finder.see(*columns(boxes[:half]))
    finder.see(*columns(boxes[half:]), half)
    assert finder.found.tolist() == slow_found(ends, boxes)


@pytest.mark.parametrize("seed", range(8))
def test_ends_that_wait_on_disk_find_what_the_twin_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parted_rows, "STRETCH_ROWS", 7)
    monkeypatch.setattr(waiting_ends, "ENDS_AT_ONCE", 3 + 2 * seed)
    monkeypatch.setattr(spools, "SPOOL_BYTES", 100)
    random = np.random.default_rng(seed)

    def some(n: int) -> tuple[Any, Any, Any]:
        grid = random.integers(0, 2, (n, 4)) / 4 + random.choice([0, 0, 1e-6, 3e-6], (n, 4))
        return random.integers(5, 25, n).astype(np.int32), random.integers(0, 3, n).astype(np.int32), grid

    ends, boxes = some(int(random.choice([0, 1, 300]))), some(int(random.choice([0, 1, 900])))
    is_whole = random.random(len(ends[0])) < 0.9
    waiting = WaitingEnds(5, 20)
    for at in range(0, len(is_whole), 40):
        waiting.add(*(column[at : at + 40] for column in (*ends, is_whole)))
    for at in range(0, len(boxes[0]), 40):
        waiting.see(*(column[at : at + 40] for column in boxes))

    def rows(columns: tuple[Any, Any, Any]) -> list[tuple[int, int, list[float]]]:
        return list(zip(*(column.tolist() for column in columns), strict=True))

    first = slow_found(rows(ends), rows(boxes))
    assert waiting.find().tolist() == [number >= 0 and whole for number, whole in zip(first, is_whole, strict=True)]


def test_many_batches_and_frames_without_rows_give_the_same() -> None:
    n = 40
    where = target({f"{k:03}.jpg": (8, 8) for k in range(n)}, labels("Cat"), subset="train")
    boxes = "".join(f"{k:03},x,Cat,1,{CAT},0,0,0,0,0\n" for k in range(n))
    rows = [f"{k:03},Cat,Cat,{CAT},{CAT},on" for k in range(0, n, 7)]
    found, _ = good({BOXES: BOX_HEADER + boxes, TABLE: HEADER + "\n".join(rows)}, where)
    shapes = found.annotations().shapes
    moved = shapes.points.values.reshape(-1, 4) + np.arange(n)[:, None] / 16
    edits = np.full(n, Edit.GEOMETRY, dtype=np.uint8)
    shapes = shapes.replace(
        points=Ragged(moved.reshape(-1), shapes.points.offsets), kept=shapes.kept.replace(edits=edits)
    )
    assert (shapes.types == ShapeType.RECTANGLE).all()
    whole = Annotations(shapes=shapes, rows=found.annotations().rows)
    written = [
        read_zip(exported(MemorySource.of_sink(found, where.frames, whole, batch_frames=batch), where)[0])
        for batch in (1, 3, 64)
    ]
    assert written[0] == written[1] == written[2]
    places_of_boxes = {line.split(",")[0]: line.split(",")[4:8] for line in lines(written[0], BOXES)}
    for line in lines(written[0]):
        cells = line.split(",")
        assert cells[3:7] == cells[7:11] == places_of_boxes[cells[0]]


def test_rows_of_one_image_find_its_boxes_wherever_batches_end() -> None:
    n = 12
    where = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("Cat"), subset="train")
    places = [f"{k / 16},{(k + 1) / 16},0,0.5" for k in range(n)]
    boxes = "".join(f"{image},x,Cat,1,{place},0,0,0,0,0\n" for image in "ab" for place in places)
    rows = [f"{image},Cat,Cat,{places[k]},{places[n - 1 - k]},on" for image in "ab" for k in range(n)]
    found, _ = good({BOXES: BOX_HEADER + boxes, TABLE: HEADER + "\n".join(rows)}, where)
    shapes = found.annotations().shapes
    moved = Ragged(shapes.points.values + np.tile([0.0, 0.0, 0.0, 1.0], 2 * n), shapes.points.offsets)
    edits = np.full(2 * n, Edit.GEOMETRY, dtype=np.uint8)
    shapes = shapes.replace(points=moved, kept=shapes.kept.replace(edits=edits))
    assert not shapes.groups.any()
    whole = Annotations(shapes=shapes, rows=found.annotations().rows)
    written, cut = (
        read_zip(exported(MemorySource.of_sink(found, where.frames, whole, batch_frames=batch), where)[0])
        for batch in (2, 0)
    )
    assert written == cut
    assert len(lines(written)) == 2 * n
    assert all(line.split(",")[6] == line.split(",")[10] == "0.625" for line in lines(written))


def test_memory_of_ends_of_one_image_does_not_follow_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parted_rows, "STRETCH_ROWS", 1_000)
    monkeypatch.setattr(waiting_ends, "ENDS_AT_ONCE", 1_000)
    zeros, boxes = np.zeros(1_000, dtype=np.int32), np.tile([0.0, 0.5, 0.0, 0.5], (1_000, 1))

    def peak(n_times: int) -> int:
        waiting = WaitingEnds(0, 1)
        for _ in range(n_times):
            waiting.add(zeros, zeros, boxes, np.ones(1_000, dtype=np.bool_))
        waiting.see(zeros[:9], zeros[:9], boxes[:9])
        tracemalloc.start()
        try:
            assert waiting.find().all()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(30) < 2 * peak(3)
