"""Task → zip → task in our service: exactly the same, whatever the task holds. And when the tables were edited."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.annotations import Annotations, AttributeSpec, Label, LabelCatalog, Shapes, ShapeType, Tags, Tracks
from app.columns import Ragged, Texts
from app.geometry import mask_to_runs, pack_mask
from tests.formats.builders import all_attributes, exported, good, target
from tests.formats.memory import MemorySource

SIDE = "annotations/oid_extra.json"
FRAMES = {"a.jpg": (8, 6), "dir/b.png": (13, 7), "c.jpg": (40, 30)}
SIZES = list(FRAMES.values())
MOOD = AttributeSpec(900, "mood", True, "select", "calm", ("calm", "wild"))
PARTS = tuple(Label(50 + n, name, "#00ff00", "points", (MOOD,), parent_id=3) for n, name in enumerate(("head", "tail")))
LABELS = LabelCatalog(
    (
        Label(1, "cat", "#ff0000", "any", (*all_attributes(), MOOD)),
        Label(2, 'a, "b"', "#ff0000", "any"),
        Label(3, "bones", "#ff0000", "skeleton", (), PARTS),
    )
)
TASK = target(FRAMES, LABELS, subset="train")

NUMBER = st.one_of(
    st.floats(-3, 45, allow_nan=False, allow_subnormal=False).map(lambda x: round(x, 2)),
    st.floats(0, 40, allow_subnormal=False),
)
SOURCES = st.sampled_from(["manual", "manual", "auto", "file"])


def attributes_of(draw: st.DrawFn, label: int) -> str:
    if label != 1:
        return "[]"
    values: dict[int, str] = {}
    for spec, choices in (
        (100, ["true", "false"]),
        (101, ["true", "false"]),
        (105, ["1", "0.5", "", "often", "0.50"]),
        (107, ["", "x1", "a/b"]),
        (108, ["0.5", ""]),
        (900, ["calm", "wild"]),
    ):
        if draw(st.booleans()):
            values[spec] = draw(st.sampled_from(choices))
    items = [{"spec_id": spec, "value": value} for spec, value in sorted(values.items())]
    return json.dumps(items, separators=(",", ":"))


def points_of(draw: st.DrawFn, kind: ShapeType) -> list[float]:
    count = {ShapeType.RECTANGLE: 2, ShapeType.ELLIPSE: 2, ShapeType.CUBOID: 8}.get(kind) or draw(st.integers(3, 6))
    points = [draw(NUMBER) for _ in range(2 * count)]
    if kind == ShapeType.RECTANGLE:
        points = [
            min(points[0], points[2]),
            min(points[1], points[3]),
            max(points[0], points[2]),
            max(points[1], points[3]),
        ]
    return points


@st.composite
def shapes(draw: st.DrawFn) -> Shapes:
    frame = draw(st.integers(0, 2))
    kind = draw(st.sampled_from(ShapeType))
    label = 3 if kind == ShapeType.SKELETON else draw(st.integers(1, 2))
    width, height = SIZES[frame]
    runs: list[int] = []
    points: list[float] = []
    elements = b""
    if kind == ShapeType.MASK:
        seed = draw(st.integers(0, 1 << 16))
        pixels = np.random.default_rng(seed).random((height, width)) < 0.4
        pixels[0, 0] = True
        runs = mask_to_runs(pack_mask(pixels)).tolist()
    elif kind == ShapeType.SKELETON:
        one = {"occluded": False, "outside": True, "z_order": 0, "rotation": 0.0, "points": [1.5, 2.5]}
        more = {"frame": frame, "group": 0, "source": "manual"}
        elements = json.dumps(
            [
                {
                    "type": "points",
                    **one,
                    "attributes": [{"spec_id": 900, "value": "wild"}],
                    **more | {"label_id": part.id},
                }
                for part in PARTS
            ]
        ).encode()
    else:
        points = points_of(draw, kind)
    turned = kind in (ShapeType.RECTANGLE, ShapeType.ELLIPSE) and draw(st.booleans())
    return replace(
        Shapes.empty(1),
        frames=np.array([frame], dtype=np.int32),
        types=np.array([kind], dtype=np.uint8),
        label_ids=np.array([label], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 0, 1, 2]))], dtype=np.int32),
        z_orders=np.array([draw(st.sampled_from([0, 0, 5, -1]))], dtype=np.int32),
        occluded=np.array([draw(st.booleans())]),
        rotations=np.array([draw(st.sampled_from([30.0, 90.0, 359.5])) if turned else 0.0]),
        sources=Texts.from_list([draw(SOURCES)]),
        attributes=Texts.from_list([attributes_of(draw, label)]),
        points=Ragged.from_arrays([points], np.float64),
        runs=Ragged.from_arrays([runs], np.int32),
        elements=Ragged.from_bytes([elements]),
    )


@st.composite
def tags(draw: st.DrawFn) -> Tags:
    label = draw(st.integers(1, 2))
    return replace(
        Tags.empty(1),
        frames=np.array([draw(st.integers(0, 2))], dtype=np.int32),
        label_ids=np.array([label], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 0, 4]))], dtype=np.int32),
        sources=Texts.from_list([draw(SOURCES)]),
        attributes=Texts.from_list([attributes_of(draw, label)]),
    )


@st.composite
def tracks(draw: st.DrawFn) -> Tracks:
    kind = draw(st.sampled_from([ShapeType.RECTANGLE, ShapeType.POLYGON, ShapeType.POINTS]))
    frames = sorted(draw(st.sets(st.integers(0, 2), min_size=1)))
    keys = [
        {
            "type": kind.name.lower(),
            "occluded": draw(st.booleans()),
            "outside": frame > frames[0] and draw(st.booleans()),
            "z_order": 0,
            "rotation": 0.0,
            "points": points_of(draw, kind)[:6] if kind != ShapeType.RECTANGLE else points_of(draw, kind),
            "attributes": [{"spec_id": 900, "value": "wild"}],
            "frame": frame,
        }
        for frame in frames
    ]
    body = json.dumps({"shapes": keys, "elements": []}, separators=(",", ":")).encode()
    return replace(
        Tracks.empty(1),
        frames=np.array([frames[0]], dtype=np.int32),
        label_ids=np.array([1], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 3]))], dtype=np.int32),
        attributes=Texts.from_list(['[{"spec_id":100,"value":"true"}]']),
        bodies=Ragged.from_bytes([body]),
    )


def rows_of(table: Any) -> list[str]:
    """Every row as text, without ids and kept lines; in order of text, as a zip does not keep the order on a frame."""
    rows = []
    for n in range(len(table)):
        row: dict[str, Any] = {}
        for name, column in table.columns().items():
            if name in ("ids", "kept"):
                continue
            value = column.row(n) if hasattr(column, "row") else column[n]
            if name in ("bodies", "elements"):
                value = json.loads(value.tobytes()) if len(value) else None
            row[name] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        rows.append(json.dumps(row, sort_keys=True))
    return sorted(rows)


def assert_same(one: Annotations, other: Annotations) -> None:
    for kind in ("shapes", "tags", "tracks"):
        assert rows_of(getattr(one, kind)) == rows_of(getattr(other, kind)), kind


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(shapes(), max_size=7), st.lists(tags(), max_size=3), st.lists(tracks(), max_size=2))
def test_whatever_a_task_holds_comes_back_the_same(
    some_shapes: list[Shapes], some_tags: list[Tags], some_tracks: list[Tracks]
) -> None:
    given_ = Annotations(
        shapes=Shapes.concatenate(sorted(some_shapes, key=lambda s: int(s.frames[0]))),
        tags=Tags.concatenate(sorted(some_tags, key=lambda t: int(t.frames[0]))),
        tracks=Tracks.concatenate(some_tracks),
    )
    data, _ = exported(MemorySource(given_, TASK.frames), TASK)
    sink, report = good(data, TASK)
    assert [p for p in report.warnings if p.code.startswith("extra")] == []
    found = sink.annotations()
    assert_same(given_, found)
    again, _ = exported(MemorySource.of_sink(sink, TASK.frames), TASK)
    second, report = good(again, TASK)
    assert [p for p in report.warnings if p.code.startswith("extra")] == []
    assert_same(given_, second.annotations())
