"""Which frames and rows a selection leaves, whatever the format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.annotations import (
    Annotations,
    AttributeSpec,
    FrameIndex,
    Label,
    LabelCatalog,
    Shapes,
    ShapeType,
    Tags,
    Tracks,
)
from app.columns import Ragged, Texts
from app.errors import InvalidInput, Report
from app.formats import ImportOptions, SelectionOptions, Target, parse_selection, read_selected
from app.formats.base import ClassWords, ListText
from app.formats.selection import Selection, Selector, split_list
from tests.formats.builders import OPEN_IMAGES, opened, target
from tests.formats.memory import MemorySink

SPECS = (
    AttributeSpec(1, "score", False, "text", "", ()),
    AttributeSpec(2, "truncated", False, "checkbox", "false", ()),
    AttributeSpec(3, "side", False, "select", "left", ("left", "right")),
)
LABELS = LabelCatalog(
    (
        Label(1, "Cat", "", "any", SPECS),
        Label(2, "Dog", "", "any", SPECS),
        Label(3, "Oak", "", "any"),
    )
)
TREE = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        {"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]},
        {"LabelName": "/m/tree", "Subcategory": [{"LabelName": "/m/oak"}]},
    ],
}
WORDS = ClassWords(
    {1: "/m/cat", 2: "/m/dog"},
    {"/m/cat": "Cat", "/m/dog": "Dog", "/m/animal": "Animal", "/m/oak": "Oak", "/m/tree": "Tree"},
    json.dumps(TREE),
)
WHERE = replace(
    target({f"{name}.jpg": (8, 8) for name in "abcdef"}, LABELS),
    subsets=Texts.from_list(["train", "train", "val", "val", "test", ""]),
)


def text(values: dict[int, str] | None) -> str:
    return json.dumps([{"spec_id": key, "value": value} for key, value in (values or {}).items()])


def shapes(*rows: tuple[int, int, ShapeType] | tuple[int, int, ShapeType, dict[int, str]], **more: Any) -> Shapes:
    """(frame, label, type, attributes) each."""
    texts = [text(row[3] if len(row) > 3 else None) for row in rows]  # type: ignore[misc]
    return Shapes.empty(len(rows)).replace(
        frames=np.array([row[0] for row in rows], dtype=np.int32),
        label_ids=np.array([row[1] for row in rows], dtype=np.int32),
        types=np.array([row[2] for row in rows], dtype=np.uint8),
        attributes=Texts.from_list(texts),
        points=Ragged.from_arrays([[0, 0, 1, 1]] * len(rows), np.float64),
        **more,
    )


def tags(*rows: tuple[int, int, dict[int, str]]) -> Tags:
    return Tags.empty(len(rows)).replace(
        frames=np.array([row[0] for row in rows], dtype=np.int32),
        label_ids=np.array([row[1] for row in rows], dtype=np.int32),
        attributes=Texts.from_list([text(row[2]) for row in rows]),
    )


BOX, MASK, POINTS = ShapeType.RECTANGLE, ShapeType.MASK, ShapeType.POINTS
SHAPES = shapes(
    (0, 1, BOX, {1: "0.9", 2: "true"}),
    (0, 2, BOX, {1: "0.2"}),
    (1, 2, MASK, {3: "right"}),
    (2, 3, BOX),
    (2, 1, POINTS),
    (4, 2, BOX, {2: "false"}),
)
TAGS = tags((0, 3, {}), (3, 1, {1: "0.5"}), (4, 1, {}))


def chosen(where: Target = WHERE, **options: Any) -> tuple[list[int], list[int], list[int], Report]:
    """Frames, rows of SHAPES and rows of TAGS that stay; and the report."""
    given = {name: ListText(value) if isinstance(value, str) else value for name, value in options.items()}
    report = Report()
    selector = Selector(parse_selection(SelectionOptions(**given)), where, WORDS, report)
    selector.see(SHAPES)
    selector.see(TAGS)
    selector.choose_images(FrameIndex(where.frames), where.subsets)
    selector.settle()
    return (
        np.flatnonzero(selector.shown).tolist(),
        np.flatnonzero(selector.keeps(SHAPES)).tolist(),
        np.flatnonzero(selector.keeps(TAGS)).tolist(),
        report,
    )


@pytest.mark.parametrize(
    ("options", "frames", "rows", "tag_rows"),
    [
        ({"classes": "Cat"}, [0, 2, 3, 4], [0, 1, 3, 4, 5], [0, 1, 2]),
        ({"classes": "/m/cat"}, [0, 2, 3, 4], [0, 1, 3, 4, 5], [0, 1, 2]),
        ({"classes": "cat", "only_matching": True}, [0, 2, 3, 4], [0, 4], [1, 2]),
        ({"classes": "Animal"}, [], [], []),
        ({"classes": "Animal", "descendants": True, "only_matching": True}, [0, 1, 2, 3, 4], [0, 1, 2, 4, 5], [1, 2]),
        ({"classes": "/m/tree", "descendants": True}, [0, 2], [0, 1, 3, 4], [0]),
        ({"classes": "Cat,Oak", "only_matching": True}, [0, 2, 3, 4], [0, 3, 4], [0, 1, 2]),
        ({"subsets": "train"}, [0, 1], [0, 1, 2], [0]),
        ({"subsets": "val, test"}, [2, 3, 4], [3, 4, 5], [1, 2]),
        ({"image_ids": "a, c.jpg"}, [0, 2], [0, 1, 3, 4], [0]),
        ({"image_ids": "train/a\nval/d\n"}, [0, 3], [0, 1], [0, 1]),
        ({"image_ids": "val/a"}, [], [], []),
        ({"attributes": "truncated"}, [0], [0, 1], [0]),
        ({"attributes": "truncated=false", "only_matching": True}, [0, 1, 2, 3, 4], [1, 2, 4, 5], [1, 2]),
        ({"attributes": "side=Right"}, [1], [2], []),
        ({"attributes": "score=0.20"}, [0], [0, 1], [0]),
        ({"classes": "Dog", "attributes": "side=right"}, [1], [2], []),
        ({"min_confidence": "0.6"}, [0, 1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 2]),
        ({"min_confidence": "0.3", "max_confidence": "0.9"}, [0, 1, 2, 3, 4, 5], [0], [1]),
        ({"annotated_only": True}, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], [0, 1, 2]),
        ({"annotated_only": True, "label_types": "segmentations"}, [1], [2], []),
        ({"label_types": "detections"}, [0, 1, 2, 3, 4, 5], [0, 1, 3, 5], []),
        ({"label_types": "points, classifications", "annotated_only": True}, [0, 2, 3, 4], [4], [0, 1, 2]),
        ({"max_images": "2"}, [0, 1], [0, 1, 2], [0]),
        ({"max_images": "1", "classes": "Cat,Dog"}, [0], [0, 1], [0]),
        ({"max_images": "2", "classes": "Dog,Cat"}, [0, 4], [0, 1, 5], [0, 2]),
        ({"max_images": "0"}, [], [], []),
        ({"classes": "Cat", "subsets": "val", "max_images": "1"}, [2], [3, 4], []),
    ],
    ids=str,
)
def test_what_stays(options: dict[str, Any], frames: list[int], rows: list[int], tag_rows: list[int]) -> None:
    assert chosen(**options)[:3] == (frames, rows, tag_rows)


def test_counts_before_and_after() -> None:
    report = chosen(classes="Cat", only_matching=True, subsets="train,val")[3]
    assert report.summary["selection"] == {
        "images": {"before": 6, "after": 3},
        "detections": {"before": 4, "after": 1},
        "classifications": {"before": 3, "after": 1},
        "segmentations": {"before": 1, "after": 0},
        "points": {"before": 1, "after": 1},
    }


def mixed(place: int, seed: int) -> int:
    """splitmix64, in plain numbers."""
    whole = (1 << 64) - 1
    value = (place + seed) * 0x9E3779B97F4A7C15 & whole
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & whole
    value = (value ^ value >> 27) * 0x94D049BB133111EB & whole
    return value ^ value >> 31


def test_a_seed_chooses_the_same_images_everywhere() -> None:
    names = {f"{n:05}.jpg": (8, 8) for n in range(1000)}
    where = target(names, LABELS)
    first = chosen(where, max_images="100", seed="7")[0]
    assert first == chosen(where, max_images="100", seed="7")[0]
    assert first != chosen(where, max_images="100", seed="8")[0]
    assert first == sorted(sorted(range(1000), key=lambda place: mixed(place, 7))[:100])
    assert len(set(first)) == 100
    assert chosen(where, max_images="100")[0] == list(range(100))
    assert set(chosen(where, max_images="50", seed="7")[0]) < set(first), "fewer images are a part of more"


def test_frames_that_were_deleted_stay_away() -> None:
    where = replace(WHERE, frames=replace(WHERE.frames, deleted=np.array([True] + [False] * 5)))
    frames, _, _, report = chosen(where, classes="Cat")
    assert frames == [2, 3, 4]
    assert report.summary["selection"]["images"] == {"before": 5, "after": 3}


def test_words_that_mean_nothing_are_told() -> None:
    report = chosen(classes="Catt,Cat", subsets="trian", image_ids="zz,a", attributes="truncatd")[3]
    told = [(problem.code, problem.value, problem.suggestion) for problem in report.warnings]
    assert told == [
        ("selection.unknown", "Catt", "Cat"),
        ("selection.unknown", "truncatd", "truncated"),
        ("selection.unknown", "trian", "train"),
        ("selection.unknown", "zz", None),
        ("selection.empty", None, None),
    ]
    assert 'no image is in the subset "trian"; did you mean "train"?' in report.warnings[-1].message


def test_words_are_compared_only_while_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty thousand classes that a task of as many does not know would be compared for an hour."""
    asked = []
    monkeypatch.setattr("app.formats.selection.difflib.get_close_matches", lambda word, *_, **__: asked.append(word))
    many = ",".join(f"unknown {number}" for number in range(3000))
    report = chosen(classes=many, subsets=many)[3]
    assert report.counts["selection.unknown"] == 6000
    assert len(asked) < len(report.warnings) <= report.limit


@pytest.mark.parametrize("word", ["CATT", "catt", "Catt"])
def test_the_nearest_word_is_told_whatever_its_case(word: str) -> None:
    report = chosen(classes=word)[3]
    assert [problem.suggestion for problem in report.warnings] == ["Cat", None]
    assert report.warnings[1].message.endswith(f'no label is called "{word}"; did you mean "Cat"?')


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"min_confidence": "high"}, "min_confidence"),
        ({"max_confidence": "2"}, "max_confidence"),
        ({"min_confidence": "nan"}, "min_confidence"),
        ({"min_confidence": "0.9", "max_confidence": "0.1"}, "max_confidence"),
        ({"max_images": "-1"}, "max_images"),
        ({"seed": "x"}, "seed"),
        ({"label_types": "detection"}, "label_types"),
    ],
    ids=str,
)
def test_values_that_cannot_be_understood(options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_selection(SelectionOptions(**options))
    assert caught.value.place == place


def test_a_list_may_be_quoted_and_broken() -> None:
    assert split_list('a, "b, c",a\nd\r\n\n "e ""f""" ') == ("a", "b, c", "d", 'e "f"')
    assert split_list(" , ,\n") == ()


def test_nothing_asked_for_is_no_selection() -> None:
    assert parse_selection(SelectionOptions()).is_empty
    assert parse_selection(SelectionOptions(descendants=True, only_matching=True, seed="3")).is_empty
    assert not Selection(annotated_only=True).is_empty


def test_occluded_is_the_flag() -> None:
    table = shapes((0, 1, BOX), (1, 1, BOX), occluded=np.array([True, False]))
    for wish, expected in (("occluded", [True, False]), ("occluded=false", [False, True])):
        selection = replace(parse_selection(SelectionOptions(attributes=ListText(wish))), only_matching=True)
        selector = Selector(selection, WHERE, WORDS, Report())
        assert selector.keeps(table).tolist() == expected


# --- on the way in ---

MEMBERS: dict[str, str | bytes] = {
    "class-descriptions.csv": "/m/cat,Cat\n/m/dog,Dog\n/m/animal,Animal\n/m/oak,Oak\n",
    "bbox_labels_600_hierarchy.json": json.dumps(TREE),
    "train-images-with-rotation.csv": "ImageID,Subset\na,train\nb,train\n",
    "validation-images-with-rotation.csv": "ImageID,Subset\nc,validation\n",
    "train-annotations-bbox.csv": "ImageID,LabelName,XMin,XMax,YMin,YMax\n"
    "a,/m/cat,0,1,0,1\na,/m/oak,0,1,0,1\nb,/m/oak,0,1,0,1\n",
    "validation-annotations-human-imagelabels.csv": "ImageID,LabelName,Confidence\nc,/m/dog,1\nc,/m/cat,0\n",
}


def imported(**options: Any) -> tuple[Annotations, Report]:
    sink, report = MemorySink(), Report()
    given = {name: ListText(value) if isinstance(value, str) else value for name, value in options.items()}
    done: list[float] = []
    read_selected(OPEN_IMAGES, opened(MEMBERS), WHERE, ImportOptions(**given), sink, report, done.append)
    assert report.errors == []
    assert done == sorted(done)
    assert sink.document["tables"]
    return sink.annotations(), report


@pytest.mark.parametrize(
    ("options", "boxes", "image_labels", "images"),
    [
        ({}, [0, 0, 1], [2], [0, 1, 2]),
        ({"classes": "Animal", "descendants": True}, [0, 0], [2], [0, 2]),
        ({"classes": "/m/oak", "only_matching": True}, [0, 1], [], [0, 1]),
        ({"subsets": "validation"}, [], [2], [2]),
        ({"image_ids": "train/b"}, [1], [], [1]),
        ({"max_images": "1"}, [0, 0], [], [0]),
        ({"label_types": "classifications"}, [], [2], [0, 1, 2]),
    ],
    ids=str,
)
def test_an_import_takes_what_is_selected(
    options: dict[str, Any], boxes: list[int], image_labels: list[int], images: list[int]
) -> None:
    found, report = imported(**options)
    assert found.shapes.frames.tolist() == boxes
    assert sorted({*found.tags.frames.tolist(), *(image_labels and found.tags.frames.tolist())}) == sorted(
        set(image_labels)
    )
    assert found.images.frames.tolist() == images
    assert ("selection" in report.summary) == bool(options)


def test_tracks_go_with_the_frame_they_begin_on() -> None:
    tracks = Tracks.empty(2).replace(
        frames=np.array([0, 2], dtype=np.int32), label_ids=np.array([1, 2], dtype=np.int32)
    )
    options = SelectionOptions(image_ids=ListText("a"))
    selector = Selector(parse_selection(options), WHERE, ClassWords(), Report())
    selector.choose_images(FrameIndex(WHERE.frames), Texts.same("", len(WHERE.frames)))
    selector.settle()
    assert selector.keeps_tracks(tracks).tolist() == [True, False]
