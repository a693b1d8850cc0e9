"""Image label tables to tags."""

from __future__ import annotations

import pytest

from app.annotations import AttributeSpec, Label, LabelCatalog
from tests.formats.builders import all_attributes, attribute_values, good, imported, labels, places, target
from tests.formats.open_images.parts import CLASSES, TAG_HEADER, TAGS

SCORED = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat", "dog", attributes=all_attributes()))
PLAIN = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat", "dog"))
NAMES = "cat,cat\ndog,dog\n"
MACHINE = "annotations/oidv7-train-annotations-machine-imagelabels.csv"


def archive(rows: str, header: str = TAG_HEADER, name: str = TAGS) -> dict[str, str]:
    return {name: header + rows, CLASSES: NAMES}


def test_rows_are_tags_with_their_score() -> None:
    tags = good(archive("a,verification,cat,1\nb,,dog,0.70\n"), SCORED)[0].annotations().tags
    assert (tags.frames.tolist(), tags.label_ids.tolist()) == ([0, 1], [1, 2])
    assert attribute_values(SCORED, 1, tags.attributes.row(0)) == {"score": "1", "source": "verification"}
    assert attribute_values(SCORED, 2, tags.attributes.row(1)) == {"score": "0.70"}


def test_a_verified_absence_is_no_tag_without_a_score() -> None:
    sink, report = good(archive("a,verification,cat,0\na,,dog,1\nb,,cat,0.0\n"), PLAIN)
    found = sink.annotations()
    assert (found.tags.frames.tolist(), found.tags.label_ids.tolist()) == ([0], [2])
    assert found.rows.frames.tolist() == [0, 1]
    assert found.rows.kept.lines.to_texts() == ["a,verification,cat,0", "b,,cat,0.0"]
    assert places(report.warnings) == [
        ("tag.negative_hidden", TAGS, 2, "Confidence"),
        ("tag.negative_hidden", TAGS, 4, "Confidence"),
    ]
    assert report.tables[TAGS].kept == 3


def test_a_verified_absence_is_a_tag_of_score_nought_where_the_label_has_one() -> None:
    sink, report = good(archive("a,,cat,0\n"), SCORED)
    assert attribute_values(SCORED, 1, sink.annotations().tags.attributes.row(0)) == {"score": "0"}
    assert report.warnings == []


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        ("select", ("1", "0.5"), False),
        ("radio", ("high", "low"), False),
        ("select", ("0.0", "1"), True),
        ("checkbox", ("true",), True),
        ("number", ("0.5", "1", "0.1"), True),
        ("text", ("",), True),
    ],
)
def test_a_verified_absence_is_no_tag_where_the_score_cannot_say_so(
    kind: str, values: tuple[str, ...], shown: bool
) -> None:
    """Its default would say that the label is there."""
    score = AttributeSpec(1, "score", False, kind, values[0], values)
    where = target({"a.jpg": (8, 8)}, LabelCatalog((Label(1, "cat", "#000000", "any", (score,)),)))
    sink, report = good(archive("a,,cat,0\n"), where)
    assert len(sink.annotations().tags) == shown
    assert report.counts.get("tag.negative_hidden", 0) == (not shown)
    assert "attribute.no_value" not in report.counts


def test_contradicting_rows_are_all_kept() -> None:
    tags = (
        good(archive("a,verification,cat,1\na,machine,cat,0.2\na,verification,cat,0\n"), SCORED)[0].annotations().tags
    )
    assert len(tags) == 3


def test_the_column_of_the_challenges_evaluation_says_what_is_absent() -> None:
    table = "ImageID,LabelName,ConfidenceImageLabel\na,Cat,1\na,Dog,0\n"
    where = target({"a.jpg": (4, 4)}, labels("Cat", "Dog"))
    members = {CLASSES: "Cat,Cat\nDog,Dog\n", "challenge-2019-validation-detection-human-imagelabels.csv": table}
    sink, report = good(members, where)
    assert sink.annotations().tags.label_ids.tolist() == [1]
    assert report.counts["tag.negative_hidden"] == 1


def test_a_table_of_two_columns() -> None:
    sink, report = good(archive("a,cat\n", "ImageID,LabelName\n"), SCORED)
    assert attribute_values(SCORED, 1, sink.annotations().tags.attributes.row(0)) == {"score": "1"}
    assert report.warnings == []


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        (",,cat,1", "value.missing", "ImageID"),
        ("a,,,1", "value.missing", "LabelName"),
        ("a,,cat,x", "value.not_number", "Confidence"),
        ("a,,cat,nan", "value.not_finite", "Confidence"),
        ("a,,cat,1.5", "value.range", "Confidence"),
        ("a,,bird,1", "label.unknown", "LabelName"),
        ("x,,cat,1", "image.unmatched", "ImageID"),
        ("a,,cat", "csv.field_count", None),
    ],
)
def test_errors_have_their_place(row: str, code: str, column: str | None) -> None:
    _, report = imported(archive(f"a,,cat,1\n{row}\n"), SCORED)
    assert places(report.errors) == [(code, TAGS, 3, column)]


def test_machine_labels_are_kept_as_a_file() -> None:
    sink, report = good(archive("a,,cat,1\n") | {MACHINE: TAG_HEADER + "a,machine,bird,0.9\n"}, SCORED)
    assert len(sink.annotations().tags) == 1
    assert places(report.warnings) == [("file.kept", MACHINE, None, None)]
    assert [entry[0] for entry in sink.document["files"]] == [MACHINE]
    assert report.summary["files"][MACHINE] == "kept as it is"


def test_machine_labels_as_tags() -> None:
    sink, report = good(archive("") | {MACHINE: TAG_HEADER + "a,machine,cat,0.9\n"}, SCORED, machine_labels="tags")
    tags = sink.annotations().tags
    assert attribute_values(SCORED, 1, tags.attributes.row(0)) == {"score": "0.9", "source": "machine"}
    assert sink.document["tables"][int(tags.kept.tables[0])][0] == "machine"
    assert report.warnings == []
