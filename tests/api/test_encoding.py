"""Annotations ↔ LabeledData JSON: exact, complete, strict, bounded."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import Annotations, AttributeSpec, FrameTable, Label, LabelCatalog, Shapes, ShapeType
from app.api import encoding
from app.api import outline as outlining
from app.api.decoding import InvalidAnnotations, JSONLimits, decode, decode_identities
from app.api.encoding import encode
from app.api.outline import outline
from app.columns import Ragged
from app.errors import InvalidInput, TooLarge
from tests import reference_api

SIDE = AttributeSpec(3, "side", False, "select", "left", ("left", "right"))
SCORE = AttributeSpec(4, "score", False, "text", "1", ("1",))
GAIT = AttributeSpec(5, "gait", True, "select", "walk", ("walk", "run"))
BENT = AttributeSpec(6, "bent", True, "checkbox", "false", ("false",))

CAR = Label(7, "car", "#f00", "any", (SCORE, SIDE))
TREE = Label(8, "Bäume", "#0f0", "any")
HORSE = Label(9, "horse", "#00f", "any", (SIDE, GAIT))
ARM = Label(
    10,
    "arm",
    "#ff0",
    "skeleton",
    sublabels=(
        Label(11, "elbow", "#111", "points", (BENT,), parent_id=10),
        Label(12, "hand", "#222", "points", parent_id=10),
    ),
)
LABELS = LabelCatalog((CAR, TREE, HORSE, ARM))
FRAMES = FrameTable.build([f"{i}.jpg" for i in range(20)], [64] * 20, [48] * 20)
LIMITS = JSONLimits()

BOX = {"type": "rectangle", "frame": 0, "label_id": 8, "points": [1, 2.5, 3, 4]}
MASK = {"type": "mask", "frame": 1, "label_id": 8, "points": [0, 2, 1, 1, 1, 1, 2, 2]}


def body_of(**sections: Any) -> bytes:
    return json.dumps(sections).encode()


def written(found: Annotations) -> dict[str, Any]:
    text = b"".join(encode([found.tags], [found.shapes], [found.tracks], LABELS))
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def refused(body: bytes, **more: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode(body, FRAMES, LABELS, more.pop("limits", LIMITS), **more)
    return caught.value


# Round trip

coordinates = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-1000, 1000)
frame_numbers = st.integers(0, 19)


def points_of(kind: str) -> st.SearchStrategy[list[Any]]:
    sizes = {"rectangle": (4, 4), "ellipse": (4, 4), "cuboid": (16, 16), "polygon": (6, 12), "polyline": (4, 12)}
    low, high = sizes.get(kind, (2, 12))
    return st.lists(coordinates, min_size=low, max_size=high).map(lambda found: found[: len(found) // 2 * 2])


def plain_shape(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just(kind), "frame": frame_numbers, "label_id": st.just(7), "points": points_of(kind)},
        optional={
            "id": st.none() | st.integers(0, 2**62),
            "group": st.none() | st.integers(0, 5),
            "occluded": st.booleans(),
            "outside": st.booleans(),
            "z_order": st.integers(-3, 3),
            "rotation": st.floats(0, 360),
            "score": st.floats(0, 1),
            "source": st.sampled_from(["manual", "auto", "fïle", '"\\\n']),
            "attributes": st.sampled_from(
                [[], [{"spec_id": 3, "value": "right"}], [{"spec_id": 4, "value": 0.5}, {"spec_id": 3, "value": True}]]
            ),
        },
    )


KINDS = ("rectangle", "ellipse", "cuboid", "polygon", "polyline", "points")
shapes_in_json = st.one_of(*[plain_shape(kind) for kind in KINDS], st.just(MASK))
key_shapes = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("rectangle"), "frame": frame_numbers, "points": points_of("rectangle")},
        optional={
            "outside": st.booleans(),
            "attributes": st.sampled_from([[], [{"spec_id": 5, "value": "run"}]]),
        },
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda shape: shape["frame"],
)
tracks_in_json = st.fixed_dictionaries({"frame": st.just(0), "label_id": st.just(9), "shapes": key_shapes})
tags_in_json = st.fixed_dictionaries({"frame": frame_numbers, "label_id": st.sampled_from([7, 8, 9])})


@settings(max_examples=150, deadline=None)
@given(st.lists(shapes_in_json, max_size=8), st.lists(tags_in_json, max_size=4), st.lists(tracks_in_json, max_size=3))
def test_what_is_read_is_written_by_twin_and_by_itself(
    shapes: list[dict[str, Any]], tags: list[dict[str, Any]], tracks: list[dict[str, Any]]
) -> None:
    found = decode(body_of(shapes=shapes, tags=tags, tracks=tracks), FRAMES, LABELS, LIMITS)
    text = written(found)
    assert text == reference_api.document(found, LABELS)
    for given_shape, shape in zip(shapes, text["shapes"], strict=True):
        assert shape["points"] == given_shape["points"]
        assert shape["id"] == (given_shape.get("id") or 0)
        assert shape["source"] == given_shape.get("source", "manual")
    again = decode(json.dumps(text).encode(), FRAMES, LABELS, LIMITS)
    assert written(again) == text


def test_many_batches_say_the_same_as_the_twin() -> None:
    rows = outlining.BATCH_BYTES // 40
    rng = np.random.default_rng(5)
    kinds = rng.integers(0, 3, rows)
    shapes: list[dict[str, Any]] = []
    for i, kind in enumerate(kinds.tolist()):
        shape = [BOX, MASK, {**BOX, "type": "polygon", "points": [0, 0, 9.25, 0, 9, i]}][kind]
        shapes.append({**shape, "id": i + 1, "source": f"s{i % 7}", "label_id": 7 + i % 2})
    found = decode(body_of(shapes=shapes), FRAMES, LABELS, LIMITS)
    assert len(found.shapes) == rows
    assert written(found) == reference_api.document(found, LABELS)


def test_doubles_come_back_exactly() -> None:
    values = [0.1 + 0.2, 1 / 3, 1e-300, 123456.78901234567]
    found = decode(body_of(shapes=[{**BOX, "points": values}]), FRAMES, LABELS, LIMITS)
    assert written(found)["shapes"][0]["points"] == values


def test_empty_is_written_with_all_lists() -> None:
    assert written(Annotations()) == {"version": 0, "tags": [], "shapes": [], "tracks": []}
    assert written(decode(b"{}", FRAMES, LABELS, LIMITS))["shapes"] == []


def test_chunks_are_about_a_mebibyte() -> None:
    rows = 20_000
    shapes = Shapes.empty(rows).replace(
        label_ids=np.full(rows, 8, dtype=np.int32),
        points=Ragged(np.linspace(0, 9, 4 * rows), np.arange(rows + 1, dtype=np.int64) * 4),
    )
    sizes = [len(chunk) for chunk in encode([], [shapes], [], LABELS)]
    assert max(sizes) < 2 << 20
    assert sum(size > 1 << 19 for size in sizes) >= rows // 4096


WIDE = tuple(AttributeSpec(100 + at, f"a{at}", at % 2 == 0, "text", "x" * 100, ("",)) for at in range(200))
WIDE_LABELS = LabelCatalog((CAR, Label(8, "wide", "#f00", "any", WIDE), Label(13, "plain", "#00f", "any")))


def wide_body(kind: str) -> bytes:
    """Rows that take 30 kB each when they are complete: by defaults of their label, or by values of their own."""
    shape = {"type": "rectangle", "frame": 0, "points": [1, 2, 3, 4]}
    if kind == "tracks":
        entry: dict[str, Any] = {"frame": 0, "label_id": 8, "shapes": [{**shape, "frame": at} for at in range(5)]}
    elif kind == "tags":
        entry = {"frame": 0, "label_id": 8}
    else:
        entry = {**shape, "label_id": 8}
        if kind == "values":
            entry = {**entry, "label_id": 7, "attributes": [{"spec_id": 4, "value": "y" * 4_000}]}
            more = [{**entry, "attributes": [{"spec_id": 4, "value": f"{at} " + "y" * 3_900}]} for at in range(600)]
            return body_of(shapes=[*([entry] * 1_000), *more, {**shape, "label_id": 7}])
    section = kind if kind in ("tags", "tracks") else "shapes"
    return body_of(**{section: [entry] * 600 + [{**entry, "label_id": 13}]})


@pytest.mark.parametrize("kind", ["tags", "shapes", "tracks", "values"])
def test_chunks_of_wide_rows_are_as_small(kind: str) -> None:
    found = decode(wide_body(kind), FRAMES, WIDE_LABELS, LIMITS)
    parts = list(encode([found.tags], [found.shapes], [found.tracks], WIDE_LABELS))
    assert json.loads(b"".join(parts)) == reference_api.document(found, WIDE_LABELS)
    assert sum(map(len, parts)) > 5 << 20
    assert max(map(len, parts)) < 2 << 20


def test_what_is_remembered_of_attributes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_CACHED_BYTES", 100_000)
    found = decode(wide_body("values"), FRAMES, WIDE_LABELS, LIMITS)
    attributes = encoding._Attributes(WIDE_LABELS)
    attributes.column(found.shapes.label_ids, found.shapes.attributes)
    assert 0 < sum(len(text) + len(known) for (_, text, _), known in attributes._known.items()) <= 100_000


def test_missing_attributes_get_defaults_and_removed_ones_are_left_out() -> None:
    shape = {**BOX, "label_id": 7, "attributes": [{"spec_id": 4, "value": "0.5"}]}
    found = decode(body_of(shapes=[shape]), FRAMES, LABELS, LIMITS)
    assert found.shapes.attributes.row(0) == '[{"spec_id":4,"value":"0.5"}]'
    assert written(found)["shapes"][0]["attributes"] == [
        {"spec_id": 3, "value": "left"},
        {"spec_id": 4, "value": "0.5"},
    ]
    less = LabelCatalog((Label(7, "car", "", "any", (SIDE,)),))
    text = json.loads(b"".join(encode([], [found.shapes], [], less)))
    assert text["shapes"][0]["attributes"] == [{"spec_id": 3, "value": "left"}]


def test_a_value_that_looks_like_an_attribute_is_still_a_value() -> None:
    value = '{"spec_id":3,"value":"x"}'
    shape = {**BOX, "label_id": 7, "attributes": [{"spec_id": 4, "value": value}]}
    found = decode(body_of(shapes=[shape]), FRAMES, LABELS, LIMITS)
    assert written(found)["shapes"][0]["attributes"][1] == {"spec_id": 4, "value": value}
    assert written(found)["shapes"][0]["attributes"][0] == {"spec_id": 3, "value": "left"}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (5, "5"), (0.25, "0.25"), ("ü", "ü")], ids=repr
)
def test_attribute_values_become_texts(value: object, text: str) -> None:
    shape = {**BOX, "label_id": 7, "attributes": [{"spec_id": 4, "value": value}]}
    found = decode(body_of(shapes=[shape]), FRAMES, LABELS, LIMITS)
    assert written(found)["shapes"][0]["attributes"][1]["value"] == text


def test_a_skeleton_keeps_its_elements() -> None:
    elements = [
        {"type": "points", "label_id": 11, "frame": 2, "points": [1, 2], "attributes": []},
        {"type": "points", "label_id": 12, "frame": 2, "points": [3, 4.5], "occluded": True},
    ]
    skeleton = {"type": "skeleton", "frame": 2, "label_id": 10, "points": [], "elements": elements}
    found = decode(body_of(shapes=[BOX, skeleton]), FRAMES, LABELS, LIMITS)
    box, shape = written(found)["shapes"]
    assert box["elements"] == []
    assert [element["label_id"] for element in shape["elements"]] == [11, 12]
    assert shape["elements"][0]["attributes"] == [{"spec_id": 6, "value": "false"}]
    assert shape["elements"][1]["occluded"] is True
    assert shape["elements"][1]["points"] == [3.0, 4.5]
    assert written(found) == reference_api.document(found, LABELS)


def test_a_track_keeps_mutable_values_on_shapes_and_sorts_them() -> None:
    track = {
        "frame": 0,
        "label_id": 9,
        "attributes": [{"spec_id": 3, "value": "right"}],
        "shapes": [
            {"type": "rectangle", "frame": 4, "points": [1, 1, 2, 2]},
            {"type": "rectangle", "frame": 0, "points": [0, 0, 1, 1], "attributes": [{"spec_id": 5, "value": "run"}]},
        ],
    }
    found = decode(body_of(tracks=[track]), FRAMES, LABELS, LIMITS)
    text = written(found)["tracks"][0]
    assert text["attributes"] == [{"spec_id": 3, "value": "right"}]
    assert [shape["frame"] for shape in text["shapes"]] == [0, 4]
    assert [shape["attributes"] for shape in text["shapes"]] == [[{"spec_id": 5, "value": "run"}]] * 2


def test_a_skeleton_track_keeps_its_elements() -> None:
    key = {"type": "points", "frame": 1, "points": [1, 2]}
    track = {
        "frame": 1,
        "label_id": 10,
        "shapes": [{"type": "skeleton", "frame": 1, "points": []}],
        "elements": [{"frame": 1, "label_id": 11, "shapes": [key]}, {"frame": 1, "label_id": 12, "shapes": [key]}],
    }
    found = decode(body_of(tracks=[track]), FRAMES, LABELS, LIMITS)
    text = written(found)["tracks"][0]
    assert [element["label_id"] for element in text["elements"]] == [11, 12]
    assert text["elements"][0]["shapes"][0]["attributes"] == [{"spec_id": 6, "value": "false"}]
    assert decode(json.dumps({"tracks": [text]}).encode(), FRAMES, LABELS, LIMITS).counts()["tracks"] == 1


def test_a_track_of_a_job_may_go_on_beyond_it() -> None:
    shapes = [{"type": "rectangle", "frame": frame, "points": [0, 0, 1, 1]} for frame in (5, 12)]
    body = body_of(tracks=[{"frame": 5, "label_id": 9, "shapes": shapes}])
    assert len(decode(body, FRAMES, LABELS, LIMITS, window=(4, 8)).tracks) == 1
    error = refused(body, window=(6, 8))
    assert "tracks[0].frame" in error.detail


# What is refused, and where

SQUARE = [0, 4, 0, 0, 1, 1]
BAD_SHAPES: list[tuple[str, dict[str, Any], str, str]] = [
    ("a text for a number", {"points": [1, "2", 3, 4]}, "points[1]", "json.type"),
    ("a boolean for a number", {"points": [1, 2, 3, True]}, "points[3]", "json.type"),
    ("null in points", {"points": [None, 2, 3, 4]}, "points[0]", "json.type"),
    ("points are no list", {"points": {"x": 1}}, "points", "json.type"),
    ("three numbers", {"points": [1, 2, 3]}, "points", "annotations.points"),
    ("far outside", {"points": [1, 2, 3, 1e9]}, "points[3]", "json.range"),
    ("polygon of two corners", {"type": "polygon", "points": [1, 2, 3, 4]}, "points", "annotations.points"),
    ("polygon of an odd number", {"type": "polygon", "points": [1] * 7}, "points", "annotations.points"),
    ("polyline of one point", {"type": "polyline", "points": [1, 2]}, "points", "annotations.points"),
    ("cuboid of 8 numbers", {"type": "cuboid", "points": [1] * 8}, "points", "annotations.points"),
    ("no points at all", {"type": "points", "points": []}, "points", "annotations.points"),
    ("unknown type", {"type": "circle"}, "type", "annotations.type"),
    ("type is a number", {"type": 3}, "type", "json.type"),
    ("unknown label", {"label_id": 99}, "label_id", "annotations.label"),
    ("a part of a skeleton", {"label_id": 11}, "label_id", "annotations.label"),
    ("label is a text", {"label_id": "8"}, "label_id", "json.type"),
    ("label is a boolean", {"label_id": True}, "label_id", "json.type"),
    ("frame past the end", {"frame": 20}, "frame", "annotations.frame"),
    ("negative frame", {"frame": -1}, "frame", "annotations.frame"),
    ("half a frame", {"frame": 0.5}, "frame", "json.type"),
    ("huge frame", {"frame": 2**63}, "frame", "json.range"),
    ("occluded is a number", {"occluded": 1}, "occluded", "json.type"),
    ("rotation too far", {"rotation": 360.5}, "rotation", "json.range"),
    ("score above one", {"score": 87.5}, "score", "json.range"),
    ("score below zero", {"score": -0.5}, "score", "json.range"),
    ("negative group", {"group": -1}, "group", "json.range"),
    ("NUL in the source", {"source": "a\0b"}, "source", "json.text"),
    ("source too long", {"source": "x" * 257}, "source", "json.text"),
    ("unknown attribute", {"attributes": [{"spec_id": 3, "value": "x"}]}, "attributes[0]", "annotations.attribute"),
    ("elements on a box", {"elements": [{"type": "points"}]}, "elements[0].label_id", "json.type"),
    ("mask: runs too short", {"type": "mask", "points": [0, 3, 0, 0, 1, 1]}, "points", "annotations.mask"),
    ("mask: half a pixel", {"type": "mask", "points": [0, 3.5, 0, 0, 1, 1]}, "points[1]", "json.range"),
    ("mask: negative run", {"type": "mask", "points": [-1, 5, 0, 0, 1, 1]}, "points[0]", "annotations.mask"),
    ("mask: leaves the picture", {"type": "mask", "points": [0, 4, 63, 0, 64, 1]}, "points", "annotations.mask"),
    ("mask: left of it", {"type": "mask", "points": [0, 4, -1, 0, 0, 1]}, "points", "annotations.mask"),
    ("mask: turned box", {"type": "mask", "points": [0, 0, 2, 0, 1, 1]}, "points", "annotations.mask"),
    ("mask: no run", {"type": "mask", "points": [0, 0, 1, 1]}, "points", "annotations.points"),
]


@pytest.mark.parametrize(("change", "place", "code"), [case[1:] for case in BAD_SHAPES], ids=[c[0] for c in BAD_SHAPES])
def test_a_bad_shape_is_refused_with_its_place(change: dict[str, Any], place: str, code: str) -> None:
    error = refused(body_of(shapes=[BOX, MASK, {**BOX, **change}]))
    assert isinstance(error, InvalidAnnotations)
    assert (error.problems()[0].column, error.problems()[0].code) == (f"shapes[2].{place}", code)
    assert error.detail.startswith(f"shapes[2].{place}: ")


@pytest.mark.parametrize("name", ["type", "frame", "label_id"])
def test_a_needed_field_that_is_missing_is_named(name: str) -> None:
    shape = {key: value for key, value in BOX.items() if key != name}
    error = refused(body_of(shapes=[shape]))
    assert f"shapes[0].{name}: " in error.detail
    assert "missing" in error.detail


ATTRIBUTE_CASES = {
    "not of this label": {"spec_id": 5, "value": "run"},
    "no value": {"spec_id": 3},
    "no spec": {"value": "x"},
    "a list for a value": {"spec_id": 3, "value": []},
    "null for a value": {"spec_id": 3, "value": None},
    "too long": {"spec_id": 3, "value": "x" * 4097},
    "NUL": {"spec_id": 3, "value": "\0"},
    "no object": 3,
    "boolean spec": {"spec_id": True, "value": "x"},
}


@pytest.mark.parametrize("entry", ATTRIBUTE_CASES.values(), ids=ATTRIBUTE_CASES)
def test_a_bad_attribute_is_refused_with_its_place(entry: object) -> None:
    shape = {**BOX, "label_id": 7, "attributes": [{"spec_id": 4, "value": "1"}, entry]}
    assert refused(body_of(shapes=[shape])).problems()[0].column == "shapes[0].attributes[1]"


def test_attributes_named_twice_or_on_the_wrong_side_of_a_track_are_refused() -> None:
    twice = [{"spec_id": 3, "value": "left"}, {"spec_id": 3, "value": "right"}]
    assert "twice" in refused(body_of(tags=[{"frame": 0, "label_id": 7, "attributes": twice}])).detail
    key = {"type": "rectangle", "frame": 0, "points": [0, 0, 1, 1]}
    track = {"frame": 0, "label_id": 9, "shapes": [key], "attributes": [{"spec_id": 5, "value": "run"}]}
    assert refused(body_of(tracks=[track])).problems()[0].column == "tracks[0].attributes[0]"
    track = {"frame": 0, "label_id": 9, "shapes": [{**key, "attributes": [{"spec_id": 3, "value": "left"}]}]}
    assert refused(body_of(tracks=[track])).problems()[0].column == "tracks[0].shapes[0].attributes[0]"


def test_tracks_need_shapes_and_one_a_frame() -> None:
    assert "at least one shape" in refused(body_of(tracks=[{"frame": 0, "label_id": 9, "shapes": []}])).detail
    key = {"type": "rectangle", "frame": 3, "points": [0, 0, 1, 1]}
    error = refused(body_of(tracks=[{"frame": 3, "label_id": 9, "shapes": [key, key]}]))
    assert error.problems()[0].column == "tracks[0].shapes[1].frame"


@pytest.mark.parametrize("number", [7e192, -7e192, 2**63, -(2**63), 2**64, 1e308])
@pytest.mark.parametrize("kind", ["mask", "rectangle", "skeleton"])
def test_numbers_of_any_size_are_refused_wherever_shapes_stand(kind: str, number: float) -> None:
    points = [number] * 6 if kind == "mask" else [number] * 4
    key = {"type": kind, "frame": 0, "points": points}
    for change in ({}, {"frame": number}, {"z_order": number}, {"rotation": number}):
        refused(body_of(tracks=[{"frame": 0, "label_id": 9, "shapes": [{**key, **change}]}]))
        part = {"label_id": 11, "frame": 0, "shapes": [{**key, **change}]}
        refused(body_of(tracks=[{"frame": 0, "label_id": 10, "shapes": [], "elements": [part]}]))
        element = {"label_id": 11, **key, **change}
        refused(body_of(shapes=[{"type": "skeleton", "frame": 0, "label_id": 10, "points": [], "elements": [element]}]))


def test_every_problem_is_counted_and_the_first_hundred_are_listed() -> None:
    error = refused(body_of(shapes=[{**BOX, "frame": 50}] * 300, tags=[{"frame": 0, "label_id": 1}] * 5))
    assert isinstance(error, InvalidAnnotations)
    assert error.report.counts == {"annotations.frame": 300, "annotations.label": 5}
    assert len(error.report.errors) == 100
    assert error.detail.endswith("(and 304 more)")


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_tokens_that_are_no_json_are_named(token: str) -> None:
    body = b'{"shapes":[%b,{"type":"rectangle","frame":0,"label_id":8,"points":[1,2,3,%b]}]}' % (
        json.dumps(BOX).encode(),
        token.encode(),
    )
    error = refused(body)
    assert error.detail.startswith(f"shapes[1].points[3]: expected a number, got {token}")
    attribute = b'{"shapes":[{"type":"rectangle","frame":0,"label_id":7,"points":[1,2,3,4],"attributes":[{"spec_id":4,'
    assert "attributes[0]" in refused(attribute + b'"value":%b}]}]}' % token.encode()).detail


@pytest.mark.parametrize("token", ["NaN", "Infinity"])
@pytest.mark.parametrize("odd", [b'"\\ud800"', b"1180591620717411303424", b"-9223372036854775809", b"1e999"])
def test_what_else_is_wrong_beside_such_a_token_is_refused_too(odd: bytes, token: str) -> None:
    for name in ("attributes", "source", "label_id", "frame", "points", "group", "z_order", "rotation", "id"):
        for value in (odd, b"[%b]" % odd, b'[{"spec_id":%b,"value":%b}]' % (odd, odd), b"[{%b:1}]" % (b'"\\ud800"')):
            entry = b'{"type":"rectangle","frame":0,"label_id":7,"points":[1,2,3,4],"%b":%b}' % (name.encode(), value)
            for kind in (b"shapes", b"tags", b"tracks"):
                refused(b'{"%b":[%b,{"score":%b}]}' % (kind, entry, token.encode()))


def test_a_token_within_a_text_is_text() -> None:
    body = b'{"shapes":[{"type":"rectangle","frame":0,"label_id":8,"points":[1,2,3,NaN],"source":"a\\"NaN"}]}'
    assert refused(body).detail.startswith("shapes[0].points[3]: expected a number, got NaN")


SYNTAX = {
    "cut": b'{"shapes":[{"type":',
    "cut in a string": b'{"shapes":[{"type":"rect',
    "a bracket too many": b'{"shapes":[]}}',
    "two documents": b'{"shapes":[]}{"shapes":[]}',
    "missing comma": b'{"shapes":[{} {}]}',
    "comma at the end": b'{"shapes":[{},]}',
    "two commas": b'{"shapes":[{},,{}]}',
    "wrong bracket": b'{"shapes":[{]}',
    "wrong bracket inside": b'{"shapes":[{"a":[1}]]}',
    "byte order mark": b'\xef\xbb\xbf{"shapes":[]}',
    "no UTF-8": b'{"shapes":[{"source":"\xff"}]}',
    "half a surrogate": b'{"shapes":[{"source":"\\ud800"}]}',
    "named twice": b'{"shapes":[{}],"shapes":[]}',
    "infinite": b'{"shapes":[{"score":1e999}]}',
    "empty": b"",
    "blank": b"  \n",
}


@pytest.mark.parametrize("body", SYNTAX.values(), ids=SYNTAX)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refused(body).code == "json.syntax"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"5", b'{"shapes":5}', b'{"shapes":{}}', b'{"shapes":[1]}'])
def test_json_of_another_kind_is_refused(body: bytes) -> None:
    assert refused(body).code == "json.type"


def test_json_breaks_at_batch_borders_are_found() -> None:
    entry = json.dumps(BOX).encode()
    many = outlining.BATCH_BYTES // len(entry) + 5
    good = b'{"shapes":[' + b",".join([entry] * many) + b"]}"
    assert len(decode(good, FRAMES, LABELS, LIMITS).shapes) == many
    at = good.index(b"}," + entry, outlining.BATCH_BYTES - 2 * len(entry))
    assert refused(good[: at + 1] + b" " + good[at + 2 :]).code == "json.syntax"
    assert refused(good[:-2] + b",]}").code == "json.syntax"
    spaced = good.replace(b"},", b"} \n , ")
    assert len(decode(spaced, FRAMES, LABELS, LIMITS).shapes) == many


# Limits


def test_limits_hold() -> None:
    deep = b'{"shapes":[' + b"[" * 62 + b"]" * 62 + b"]}"
    assert refused(deep).code == "json.type"
    assert refused(b'{"shapes":[' + b"[" * 63 + b"]" * 63 + b"]}").code == "json.depth"
    assert refused(b"[" * 2_000_000).code == "json.depth"
    error = refused(body_of(shapes=[BOX] * 11), limits=JSONLimits(max_shapes=10))
    assert error.code == "annotations.too_many"
    polygon = {**BOX, "type": "polygon", "points": [1.0] * 12}
    assert "at most 10" in refused(body_of(shapes=[polygon]), limits=JSONLimits(max_points=10)).detail
    with pytest.raises(TooLarge):
        decode(body_of(shapes=[BOX]), FRAMES, LABELS, JSONLimits(max_body_bytes=20))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.text('a"\\[]{},:', max_size=6) | st.integers(-(2**63), 2**63 - 1),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\[{', max_size=3), inner, max_size=3)
            ),
            max_leaves=12,
        ),
        max_size=4,
    ),
    st.integers(1, 40),
)
def test_the_outline_of_any_document_gives_its_entries(document: dict[str, Any], block_bytes: int) -> None:
    text = json.dumps(document).encode()
    whole, outlining.BLOCK_BYTES = outlining.BLOCK_BYTES, block_bytes
    try:
        found = outline(text, max_depth=reference_api.depth(document), max_entries=1000)
        for name, value in document.items():
            if isinstance(value, list):
                assert [entry for _, values in found.entries(name) for entry in values] == value
        with pytest.raises(InvalidInput):
            outline(text, max_depth=reference_api.depth(document) - 1, max_entries=1000)
    finally:
        outlining.BLOCK_BYTES = whole


HOSTILE = {
    "empty objects": b'{"shapes":[' + b"{}," * 4_000_000 + b"{}]}",
    "empty lists in one shape": b'{"shapes":[{"points":[' + b"[]," * 4_000_000 + b"[]]}]}",
    "keys of the root": b"{" + b'"a":1,' * 2_000_000 + b'"a":1}',
    "short texts": b'{"shapes":[' + b'"ab",' * 3_000_000 + b'"ab"]}',
    "unfinished lists": b'{"shapes":[' + b"[[[[" * 3_000_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_body_built_to_fill_memory_is_refused_cheaply(body: bytes) -> None:
    tracemalloc.start()
    try:
        error = refused(body, limits=JSONLimits(max_body_bytes=len(body)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.detail
    assert peak < 100 << 20


def test_bodies_of_tracks_are_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlining, "BLOCK_BYTES", 32 << 10)
    monkeypatch.setattr(outlining, "BATCH_BYTES", 32 << 10)
    n = 20_000
    key = {"type": "rectangle", "frame": 1, "points": [1, 1, 3, 3]}
    body = body_of(tracks=[{"frame": 1, "label_id": 8, "shapes": [key]}] * n)
    tracemalloc.start()
    try:
        found = decode(body, FRAMES, LABELS, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.tracks) == n
    assert peak < 2 * found.tracks.bodies.nbytes


# Changes and removals


def test_update_needs_distinct_ids() -> None:
    assert "shapes[0].id" in refused(body_of(shapes=[BOX]), need_ids=True).detail
    twice = body_of(shapes=[{**BOX, "id": 5}, {**BOX, "id": 6}, {**BOX, "id": 5}])
    assert refused(twice, need_ids=True).problems()[0].column == "shapes[2].id"
    found = decode(
        body_of(shapes=[{**BOX, "id": 5}], tags=[{"id": 5, "frame": 0, "label_id": 7}]),
        FRAMES,
        LABELS,
        LIMITS,
        need_ids=True,
    )
    assert (found.shapes.ids.tolist(), found.tags.ids.tolist()) == ([5], [5])


def test_removal_looks_at_ids_alone() -> None:
    found = decode_identities(body_of(shapes=[{"id": 3, "type": "gone"}, {"id": 4}], tracks=[{"id": 9}]), LIMITS)
    assert (found.shapes.tolist(), found.tags.tolist(), found.tracks.tolist()) == ([3, 4], [], [9])
    with pytest.raises(InvalidAnnotations, match=r"tags\[0\].id"):
        decode_identities(body_of(tags=[{"frame": 1}]), LIMITS)


def test_types_have_cvats_names() -> None:
    found = decode(body_of(shapes=[BOX, MASK]), FRAMES, LABELS, LIMITS)
    assert found.shapes.types.tolist() == [ShapeType.RECTANGLE, ShapeType.MASK]
    assert found.shapes.runs.row(1).tolist() == MASK["points"]
    assert [shape["type"] for shape in written(found)["shapes"]] == ["rectangle", "mask"]
    assert written(found)["shapes"][1]["points"] == MASK["points"]


def test_a_catalog_that_serves_many_calls_is_gone_through_once() -> None:
    looks = 0

    class Counted(tuple[Label, ...]):
        def __iter__(self) -> Iterator[Label]:
            nonlocal looks
            looks += 1
            return super().__iter__()

    catalog = LabelCatalog(Counted((CAR, TREE)))
    body = body_of(shapes=[BOX])
    seen = []
    for _ in range(2):
        looks = 0
        shapes = decode(body, FRAMES, catalog, LIMITS).shapes
        assert b'"label_id":' in b"".join(encode([], [shapes], [], catalog))
        seen.append(looks)
    assert seen[0] > 0
    assert seen[1] == 0


def test_memory_of_many_boxes_that_are_read_follows_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlining, "BLOCK_BYTES", 64 << 10)
    monkeypatch.setattr(outlining, "BATCH_BYTES", 64 << 10)
    n = 50_000
    body = body_of(shapes=[{**BOX, "points": [at, 1, at + 0.5, 2]} for at in range(n)])
    tracemalloc.start()
    try:
        found = decode(body, FRAMES, LABELS, LIMITS).shapes
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == n
    assert peak < 1.8 * held
