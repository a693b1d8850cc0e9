"""Box tables to rectangles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.annotations import ShapeType
from tests.formats.builders import all_attributes, attribute_values, good, imported, labels, places, target
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES

ATTRIBUTES = all_attributes()
TASK = target({"a.jpg": (10, 20), "b.jpg": (8, 6)}, labels("/m/0", "/m/1", attributes=ATTRIBUTES))
NAMES = "/m/0,Cat\n/m/1,Dog\n"


def archive(rows: str, header: str = BOX_HEADER, name: str = BOXES) -> dict[str, str]:
    return {name: header + rows, CLASSES: NAMES}


def test_the_worked_example() -> None:
    sink, report = good(archive("a,xclick,/m/0,1,0.1,0.5,0.2,0.6,1,0,-1,1,0\n"), TASK)
    shapes = sink.annotations().shapes
    assert shapes.points.values.tolist() == [1, 4, 5, 12]
    assert (shapes.types.tolist(), shapes.occluded.tolist()) == ([ShapeType.RECTANGLE], [True])
    assert (shapes.rotations.tolist(), shapes.groups.tolist()) == ([0], [0])
    assert attribute_values(TASK, 1, shapes.attributes.row(0)) == {
        "score": "1",
        "source": "xclick",
        "occluded": "true",
        "truncated": "false",
        "is_depiction": "true",
        "is_inside": "false",
    }
    assert report.warnings == []
    assert shapes.kept.lines.to_texts() == ["a,xclick,/m/0,1,0.1,0.5,0.2,0.6,1,0,-1,1,0"]
    assert sink.document["tables"] == [["boxes", "train", BOXES, BOX_HEADER.strip().split(",")]]
    assert report.tables[BOXES].seen == report.tables[BOXES].kept == 1


def test_without_declared_attributes_nothing_is_shown_and_all_is_kept() -> None:
    task = target({"a.jpg": (10, 20)}, labels("/m/0"))
    shapes = good(archive("a,xclick,/m/0,1,0.1,0.5,0.2,0.6,0,1,1,1,1\n"), task)[0].annotations().shapes
    assert shapes.attributes.to_list() == ["[]"]
    assert shapes.occluded.tolist() == [False]
    assert shapes.kept.lines.to_texts() == ["a,xclick,/m/0,1,0.1,0.5,0.2,0.6,0,1,1,1,1"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("1,0,-1,1.0,0.0", "true false - true false"),
        ("true,FALSE,yes,No,-1.0", "true false true false -"),
    ],
)
def test_flags_may_be_words(cells: str, expected: str) -> None:
    shapes = good(archive(f"a,,/m/0,1,0,1,0,1,{cells}\n"), TASK)[0].annotations().shapes
    values = attribute_values(TASK, 1, shapes.attributes.row(0))
    names = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
    assert " ".join(values.get(name, "-") for name in names) == expected


def test_coordinates_are_rounded_to_a_millionth_of_a_pixel() -> None:
    third = repr(1 / 3)
    shapes = good(archive(f"b,,/m/0,1,0,{third},0,{1 / 6!r},0,0,0,0,0\n"), TASK)[0].annotations().shapes
    assert shapes.points.values.tolist() == [0, 0, round(8 / 3, 6), 1]


def test_columns_in_any_order_and_case_further_ones_kept() -> None:
    header = "extra,YMax,ymin, XMAX ,xmin,labelname,IMAGEID\n"
    shapes = good(archive('"x, y",0.5,0,0.5,0,/m/0,b\n', header), TASK)[0].annotations().shapes
    assert shapes.points.values.tolist() == [0, 0, 4, 3]
    assert shapes.kept.lines.to_texts() == ['"x, y",0.5,0,0.5,0,/m/0,b']
    assert attribute_values(TASK, 1, shapes.attributes.row(0)) == {"score": "1"}


def test_line_ends_byte_order_marks_and_blank_lines_make_no_difference() -> None:
    rows = "a,,/m/0,1,0,1,0,1,0,0,0,0,0\nb,,/m/1,1,0,1,0,1,0,0,0,0,0\n"
    plain = good(archive(rows), TASK)[0].annotations().shapes
    text = (BOX_HEADER + "\n" + rows).replace("\n", "\r\n")
    other = good({BOXES: b"\xef\xbb\xbf" + text.encode(), CLASSES: NAMES}, TASK)[0].annotations().shapes
    assert np.array_equal(plain.points.values, other.points.values)
    assert plain.kept.lines.to_texts() == other.kept.lines.to_texts()


ROW = "a,,/m/0,1,0.1,0.5,0.2,0.6,0,0,0,0,0"


def changed(**cells: str) -> str:
    names = BOX_HEADER.strip().split(",")
    row = dict(zip(names, ROW.split(","), strict=True)) | cells
    return ",".join(row.values()) + "\n"


@pytest.mark.parametrize(
    ("cells", "code", "column"),
    [
        ({"ImageID": ""}, "value.missing", "ImageID"),
        ({"LabelName": ""}, "value.missing", "LabelName"),
        ({"XMin": ""}, "value.missing", "XMin"),
        ({"YMax": " "}, "value.missing", "YMax"),
        ({"XMin": "abc"}, "value.not_number", "XMin"),
        ({"XMin": "0x1"}, "value.not_number", "XMin"),
        ({"XMin": "1_0"}, "value.not_number", "XMin"),
        ({"YMin": "nan"}, "value.not_finite", "YMin"),
        ({"YMin": "1e999"}, "value.not_finite", "YMin"),
        ({"XMax": "100"}, "value.range", "XMax"),
        ({"YMin": "-1.01"}, "value.range", "YMin"),
        ({"Confidence": "7"}, "value.range", "Confidence"),
        ({"Confidence": "x"}, "value.not_number", "Confidence"),
        ({"Confidence": "inf"}, "value.not_finite", "Confidence"),
        ({"IsInside": "maybe"}, "value.flag", "IsInside"),
        ({"IsOccluded": "2"}, "value.flag", "IsOccluded"),
        ({"IsOccluded": "t"}, "value.flag", "IsOccluded"),
        ({"XMin": '"0,1"'}, "value.not_number", "XMin"),
        ({"XMin": "0.9"}, "box.inverted", "XMin"),
        ({"YMin": "0.9"}, "box.inverted", "YMin"),
        ({"LabelName": "/m/9"}, "label.unknown", "LabelName"),
        ({"ImageID": "zz"}, "image.unmatched", "ImageID"),
    ],
)
def test_errors_have_their_place(cells: dict[str, str], code: str, column: str) -> None:
    sink, report = imported(archive(ROW + "\n" + changed(**cells) + ROW + "\n"), TASK)
    assert places(report.errors) == [(code, BOXES, 3, column)]
    value = next(iter(cells.values())).strip('"')
    assert ("a point" in report.errors[0].message) == ("," in value)
    assert report.errors[0].value == value.strip() or report.errors[0].value == value
    assert not value.strip() or f'"{value.strip()}"' in str(report.errors[0])
    assert (report.tables[BOXES].kept, report.tables[BOXES].dropped) == (2, 1)
    assert len(sink.annotations().shapes) == 2


def test_a_box_that_is_inverted_both_ways_is_told_both_ways() -> None:
    _, report = imported(archive(changed(XMin="0.9", YMin="0.9")), TASK)
    assert places(report.errors) == [("box.inverted", BOXES, 2, "XMin"), ("box.inverted", BOXES, 2, "YMin")]
    assert report.tables[BOXES].dropped == 1


@pytest.mark.parametrize(
    ("cells", "code", "column"),
    [
        ({"XMin": "-0.1"}, "box.outside", None),
        ({"XMax": "1.2"}, "box.outside", None),
        ({"XMin": "0.5"}, "box.empty", None),
        ({"Confidence": ""}, "value.missing", "Confidence"),
        ({"IsGroupOf": ""}, "value.missing", "IsGroupOf"),
    ],
)
def test_warnings_have_their_place_and_the_row_stays(cells: dict[str, str], code: str, column: str | None) -> None:
    sink, report = good(archive(changed(**cells)), TASK)
    assert places(report.warnings) == [(code, BOXES, 2, column)]
    assert len(sink.annotations().shapes) == 1


def test_an_empty_confidence_is_one() -> None:
    shapes = good(archive(changed(Confidence="")), TASK)[0].annotations().shapes
    assert attribute_values(TASK, 1, shapes.attributes.row(0))["score"] == "1"


def test_equal_rows_are_all_kept_and_told() -> None:
    sink, report = good(archive(f"{ROW}\n{changed(Source='x')}{ROW}\n{ROW}\n"), TASK)
    assert places(report.warnings) == [("row.duplicate", BOXES, 4, None), ("row.duplicate", BOXES, 5, None)]
    assert len(sink.annotations().shapes) == 4


def test_a_value_that_a_list_does_not_have_is_kept_in_the_row_only() -> None:
    task = target({"a.jpg": (10, 20)}, labels("/m/0", attributes=all_attributes(source="select")))
    sink, report = good(archive("a,xclick,/m/0,1,0,1,0,1,0,0,0,0,0\n"), task)
    assert places(report.warnings) == [("attribute.no_value", BOXES, 2, "Source")]
    assert "source" not in attribute_values(task, 1, sink.annotations().shapes.attributes.row(0))


def test_many_errors_are_all_counted_and_the_first_hundred_listed() -> None:
    _, report = imported(archive(changed(XMin="x") * 500), TASK)
    assert (report.n_errors, len(report.errors), report.counts) == (500, 100, {"value.not_number": 500})
    assert [problem.row for problem in report.errors] == list(range(2, 102))


def test_a_flood_of_one_warning_leaves_room_for_others() -> None:
    _, report = good(archive(changed(XMax="1.1", Source="a") * 200 + changed(Confidence="")), TASK)
    assert report.counts["box.outside"] == 200
    assert len([p for p in report.warnings if p.code == "box.outside"]) == 5
    assert any(p.code == "value.missing" for p in report.warnings)


def test_a_table_in_many_blocks_is_the_same_table() -> None:
    rows = "".join(f"{'ab'[n % 2]},,/m/{n % 2},1,0,{n / 40000},0,1,0,0,0,0,0\n" for n in range(30000))
    sink, report = good(archive(rows), TASK)
    assert report.tables[BOXES].kept == 30000
    assert len(sink.batches) > 1
    assert sorted(sink.annotations().shapes.points.values[2::4].tolist()) == sorted(
        round(n / 40000 * (10, 8)[n % 2], 6) for n in range(30000)
    )


def test_the_row_limit() -> None:
    from app.errors import ImportProblems

    with pytest.raises(ImportProblems) as caught:
        imported(archive(ROW + "\n" + ROW + "\n"), TASK, max_rows=1)
    assert caught.value.code == "csv.too_big"


def test_json_of_attributes_has_no_blanks() -> None:
    text = good(archive(ROW + "\n"), TASK)[0].annotations().shapes.attributes.row(0)
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("abc", "write a number, such as 0.25"),
        ("nan", "write a number, such as 0.25"),
        ('"0,1"', "its decimal mark must be a point"),
        ("10%", "write 10% as 0.1"),
        ("01.Feb", "a spreadsheet may have made a date of it"),
        ("Jan-25", "a spreadsheet may have made a date of it"),
        ("2026-01-02", "a spreadsheet may have made a date of it"),
        ("", "fill it, or remove the row"),
        ("640", "divide by its width or height"),
    ],
)
def test_a_cell_that_is_no_place_is_told_with_what_to_do(cell: str, advice: str) -> None:
    row = f"a,x,/m/c,1,{cell},1,0,1,0,0,0,0,0\n"
    _, report = imported(archive(row), target({"a.jpg": (8, 6)}, labels("/m/c")))
    assert [problem.column for problem in report.errors] == ["XMin"]
    assert advice in report.errors[0].message
