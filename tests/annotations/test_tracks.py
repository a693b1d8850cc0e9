from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from app.annotations import MovingShapes, Shapes, ShapeType, Tracks, expand_tracks
from app.annotations import tracks as module
from app.columns import Ragged, Texts
from app.errors import Damaged

Point = tuple[float, float]


def key(frame: int, points: list[float], type: str = "rectangle", **more: Any) -> dict[str, Any]:
    return {"frame": frame, "type": type, "points": points, **more}


def tracks(*bodies: Any, attributes: str = "[]", label: int = 7, group: int = 0, source: str = "manual") -> Tracks:
    encoded = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    n = len(encoded)
    return Tracks.empty(n).replace(
        ids=np.arange(1, n + 1),
        label_ids=np.full(n, label, dtype=np.int32),
        groups=np.full(n, group, dtype=np.int32),
        sources=Texts.same(source, n),
        attributes=Texts.same(attributes, n),
        bodies=Ragged.from_bytes(encoded),
    )


def expand(*keys: dict[str, Any], start: int = 0, stop: int = 10, **more: Any) -> Shapes:
    return expand_tracks(tracks({"shapes": list(keys), "elements": []}, **more), start, stop)


def points_by_frame(shapes: Shapes) -> dict[int, list[float]]:
    return {int(frame): shapes.points.row(row).tolist() for row, frame in enumerate(shapes.frames)}


def test_a_rectangle_moves_straight_between_key_frames_and_holds_after_the_last() -> None:
    shapes = expand(key(2, [0, 0, 4, 4]), key(6, [8, 4, 12, 12]))
    assert points_by_frame(shapes) == {
        2: [0, 0, 4, 4],
        3: [2, 1, 6, 6],
        4: [4, 2, 8, 8],
        5: [6, 3, 10, 10],
        **{frame: [8, 4, 12, 12] for frame in range(6, 10)},
    }
    assert set(shapes.types.tolist()) == {ShapeType.RECTANGLE}
    assert shapes.ids.tolist() == [0] * 8
    assert not shapes.outside.any()


def test_nothing_is_shown_after_an_outside_key_frame_until_the_next_one() -> None:
    shapes = expand(
        key(1, [0, 0, 1, 1]),
        key(3, [4, 4, 5, 5], outside=True),
        key(6, [9, 9, 10, 10]),
        key(8, [9, 9, 10, 10], outside=True),
    )
    assert points_by_frame(shapes) == {1: [0, 0, 1, 1], 2: [2, 2, 3, 3], 6: [9, 9, 10, 10], 7: [9, 9, 10, 10]}


@pytest.mark.parametrize("cut", [(0, 4), (4, 5), (5, 10), (3, 8), (9, 12), (0, 1), (5, 5), (8, 3)])
def test_any_window_of_frames_is_a_part_of_the_whole(cut: tuple[int, int]) -> None:
    keys = [
        key(1, [0, 0, 10, 0, 10, 10], "polygon"),
        key(4, [5, 5, 9, 9, 0, 9, 2, 1], "polygon", outside=False, rotation=0),
        key(8, [5, 5, 9, 9, 0, 9], "polygon"),
    ]
    whole = points_by_frame(expand(*keys, stop=12))
    window = points_by_frame(expand(*keys, start=cut[0], stop=cut[1]))
    assert window == {frame: points for frame, points in whole.items() if cut[0] <= frame < cut[1]}


@pytest.mark.parametrize(
    ("left", "right", "middle"),
    [(0, 90, 45), (350, 10, 0), (10, 350, 0), (90, 280, 5), (0, 0, 0), (300, 20, 340)],
)
def test_rotation_turns_the_shorter_way(left: float, right: float, middle: float) -> None:
    for kind in ("rectangle", "ellipse"):
        shapes = expand(key(0, [0, 0, 4, 4], kind, rotation=left), key(2, [0, 0, 4, 4], kind, rotation=right), stop=4)
        assert shapes.rotations.tolist() == [left, middle, right, right]


def test_attributes_flags_and_order_come_from_the_latest_key_frame() -> None:
    shapes = expand(
        key(0, [0, 0, 1, 1], attributes=[{"spec_id": 9, "value": "a"}, {"spec_id": 4, "value": "ü"}], z_order=3),
        key(2, [0, 0, 1, 1], attributes=[{"spec_id": 9, "value": "b"}], occluded=True),
        attributes='[{"spec_id":5,"value":"fixed"}]',
        group=2,
        source="auto",
        stop=4,
    )
    first = '[{"spec_id":4,"value":"ü"},{"spec_id":5,"value":"fixed"},{"spec_id":9,"value":"a"}]'
    second = first.replace('"a"', '"b"')
    assert shapes.attributes.to_list() == [first, first, second, second]
    assert shapes.occluded.tolist() == [False, False, True, True]
    assert shapes.z_orders.tolist() == [3, 3, 0, 0]
    assert shapes.groups.tolist() == [2] * 4
    assert shapes.label_ids.tolist() == [7] * 4
    assert shapes.sources.to_list() == ["auto"] * 4
    assert (shapes.kept.tables == -1).all()


def test_a_mask_holds_its_runs() -> None:
    runs = [0.0, 2, 1, 1, 1, 1, 2, 2]
    shapes = expand(key(0, runs, "mask"), key(3, [0, 1, 0, 0, 0, 0], "mask"), stop=5)
    assert [shapes.runs.row(row).tolist() for row in range(5)] == [runs] * 3 + [[0, 1, 0, 0, 0, 0]] * 2
    assert len(shapes.points.values) == 0
    assert shapes.runs.values.dtype == np.int32


def test_one_point_moves_and_several_hold() -> None:
    assert points_by_frame(expand(key(0, [0, 0], "points"), key(2, [4, 2], "points"), stop=3))[1] == [2, 1]
    several = expand(key(0, [0, 0, 1, 1], "points"), key(2, [4, 2, 5, 5], "points"), stop=3)
    assert points_by_frame(several)[1] == [0, 0, 1, 1]


def test_key_frames_of_different_types_hold() -> None:
    shapes = expand(key(0, [0, 0, 4, 4]), key(2, [0, 0, 4, 0, 4, 4], "polygon"), stop=3)
    assert points_by_frame(shapes) == {0: [0, 0, 4, 4], 1: [0, 0, 4, 4], 2: [0, 0, 4, 0, 4, 4]}
    assert shapes.types.tolist() == [ShapeType.RECTANGLE, ShapeType.RECTANGLE, ShapeType.POLYGON]


def test_a_polygon_that_only_moves_keeps_its_points() -> None:
    square = [0.0, 0, 8, 0, 8, 8, 0, 8]
    shapes = expand(key(0, square, "polygon"), key(4, [value + 4 for value in square], "polygon"), stop=5)
    assert points_by_frame(shapes) == {frame: [value + frame for value in square] for frame in range(5)}


def test_a_point_that_appears_grows_out_of_its_neighbour() -> None:
    shapes = expand(key(0, [0, 0, 8, 0], "polyline"), key(2, [0, 0, 2, 6, 8, 0], "polyline"), stop=3)
    assert points_by_frame(shapes)[1] == [0, 0, 1, 3, 8, 0]


def test_outlines_without_length_do_no_harm() -> None:
    shapes = expand(key(0, [3, 3, 3, 3, 3, 3], "polygon"), key(2, [0, 0, 4, 0, 4, 4], "polygon"), stop=3)
    assert np.isfinite(shapes.points.values).all()
    assert points_by_frame(shapes)[0] == [3] * 6
    assert points_by_frame(shapes)[2] == [0, 0, 4, 0, 4, 4]
    short = expand(key(0, [1, 1], "polyline"), key(2, [0, 0, 4, 4], "polyline"), stop=3)
    assert points_by_frame(short)[1] == [1, 1]


def between(left: list[Point], right: list[Point], offset: float, is_closed: bool) -> list[Point]:
    """The outline between two others, point by point: the slow twin of the matching in `tracks.py`."""
    if is_closed:
        left, right = [*left, left[0]], [*right, right[0]]

    def along(points: list[Point]) -> list[float]:
        ways = [0.0, *itertools.accumulate(math.dist(a, b) for a, b in itertools.pairwise(points))]
        return [way / ways[-1] if ways[-1] else 0.0 for way in ways]

    def nearest(value: float, places: list[float]) -> int:
        return min(range(len(places)), key=lambda index: (abs(places[index] - value), index))

    along_left, along_right = along(left), along(right)
    partners = [[nearest(value, along_right)] for value in along_left]
    taken = {index for indices in partners for index in indices}
    for index, value in enumerate(along_right):
        if index not in taken:
            partners[nearest(value, along_left)].append(index)
    pairs = [(a, b) for a, indices in enumerate(partners) for b in sorted(indices)]

    def middle(pair: tuple[int, int]) -> Point:
        (x0, y0), (x1, y1) = left[pair[0]], right[pair[1]]
        return x0 + (x1 - x0) * offset, y0 + (y1 - y0) * offset

    groups: list[list[tuple[int, int]]] = []
    for pair in pairs:
        fan = len(partners[pair[0]]) > 1
        last = groups[-1][-1] if groups else None
        last_fan = last is not None and len(partners[last[0]]) > 1
        joins = last is not None and (pair[0] == last[0] if fan else not last_fan and pair[1] == last[1])
        if joins:
            groups[-1].append(pair)
        else:
            groups.append([pair])

    outline: list[Point] = []
    for group in groups:
        points = [middle(pair) for pair in group]
        if len(points) == 1:
            outline += points
            continue
        fan = group[0][0] == group[-1][0]
        stretch = right[group[0][1] : group[-1][1] + 1] if fan else left[group[0][0] : group[-1][0] + 1]
        least = sum(math.dist(a, b) for a, b in itertools.pairwise(stretch)) / (2 * len(stretch))
        kept = [points[0]]
        for point in points[1:-1]:
            if math.dist(kept[-1], point) >= least:
                kept.append(point)
        if len(kept) == 1 and math.dist(points[0], points[-1]) < least:
            outline.append(((points[0][0] + points[-1][0]) / 2, (points[0][1] + points[-1][1]) / 2))
        else:
            outline += [*kept, points[-1]]
    return outline[:-1] if is_closed else outline


@pytest.mark.parametrize("kind", ["polygon", "polyline"])
def test_outlines_of_different_counts_equal_their_twin(kind: str) -> None:
    random = np.random.default_rng(0)
    for round_number in range(120):
        n_left, n_right = (int(n) for n in random.integers(3, 25, 2))
        left, right = random.uniform(0, 100, (n_left, 2)), random.uniform(0, 100, (n_right, 2))
        if round_number % 3 == 0:  # whole numbers, repeated points: ties
            left, right = np.round(left / 20), np.round(right / 20)
        shapes = expand(key(0, left.reshape(-1).tolist(), kind), key(7, right.reshape(-1).tolist(), kind), stop=8)
        found = points_by_frame(shapes)
        assert found[0] == left.reshape(-1).tolist()
        assert found[7] == right.reshape(-1).tolist()
        for frame in range(1, 7):
            twin = between(
                [tuple(p) for p in left.tolist()], [tuple(p) for p in right.tolist()], frame / 7, kind == "polygon"
            )
            np.testing.assert_allclose(np.reshape(found[frame], (-1, 2)), twin, atol=1e-9)


def test_a_skeleton_shows_its_elements_on_each_of_its_frames() -> None:
    nose = {
        "label_id": 21,
        "frame": 0,
        "attributes": [{"spec_id": 1, "value": "x"}],
        "shapes": [key(0, [0, 0], "points"), key(2, [4, 2], "points", occluded=True)],
    }
    ear = {"label_id": 22, "frame": 1, "shapes": [key(1, [9, 9], "points"), key(2, [9, 9], "points", outside=True)]}
    body = {"shapes": [key(0, [], "skeleton"), key(3, [], "skeleton", outside=True)], "elements": [nose, ear]}
    shapes = expand_tracks(tracks(body), 0, 5)
    assert shapes.frames.tolist() == [0, 1, 2]
    assert set(shapes.types.tolist()) == {ShapeType.SKELETON}
    elements = [json.loads(shapes.elements.row_bytes(row)) for row in range(3)]
    assert [[(e["label_id"], e["points"], e["outside"], e["occluded"]) for e in row] for row in elements] == [
        [(21, [0, 0], False, False), (22, [9, 9], True, False)],
        [(21, [2, 1], False, False), (22, [9, 9], False, False)],
        [(21, [4, 2], False, True), (22, [9, 9], True, False)],
    ]
    assert elements[1][0] == {
        "type": "points",
        "frame": 1,
        "label_id": 21,
        "group": 0,
        "source": "manual",
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "rotation": 0.0,
        "points": [2.0, 1.0],
        "attributes": [{"spec_id": 1, "value": "x"}],
    }
    assert len(expand(key(0, [0, 0, 1, 1])).elements.values) == 0


def test_an_element_without_key_frames_is_left_out() -> None:
    body = {"shapes": [key(0, [], "skeleton")], "elements": [{"label_id": 21, "shapes": []}]}
    assert expand_tracks(tracks(body), 0, 1).elements.row_bytes(0) == b"[]"


def test_tracks_follow_each_other_and_empty_ones_have_no_rows() -> None:
    bodies = [
        {"shapes": [key(1, [0, 0, 1, 1])]},
        {"shapes": []},
        {"shapes": [key(8, [0, 0, 1, 1])]},
        {"shapes": [key(2, [5, 5, 6, 6]), key(0, [3, 3, 4, 4])]},
    ]
    shapes = expand_tracks(tracks(*bodies), 0, 3)
    assert shapes.frames.tolist() == [1, 2, 0, 1, 2]
    assert shapes.points.row(3).tolist() == [4, 4, 5, 5]
    assert len(expand_tracks(Tracks.empty(), 0, 10)) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {"shapes": [{"type": "rectangle", "points": [0, 0, 1, 1]}]},
        {"shapes": [key(0, [0, 0, 1, 1], "circle")]},
        {"shapes": [key(0, ["a"])]},  # type: ignore[list-item]
    ],
    ids=["no JSON", "no frame", "unknown type", "text as points"],
)
def test_a_body_that_cannot_be_read_is_named(body: Any) -> None:
    with pytest.raises(Damaged, match="track 1 cannot be read"):
        expand_tracks(tracks(body), 0, 5)


def random_tracks(random: np.random.Generator, n: int, n_frames: int) -> Tracks:
    bodies = []
    for _ in range(n):
        frames = random.choice(np.arange(-3, n_frames + 3), size=random.integers(0, 6), replace=False).tolist()
        kinds = random.choice(["rectangle", "polygon", "mask"], size=len(frames)).tolist()
        points = [random.integers(0, 20, size=4 if kind == "rectangle" else 8).tolist() for kind in kinds]
        bodies.append(
            {
                "shapes": [
                    key(frame, place, kind, outside=bool(random.random() < 0.3), z_order=at)
                    for at, (frame, place, kind) in enumerate(zip(frames, points, kinds, strict=True))
                ]
            }
        )
    return tracks(*bodies)


def test_frames_without_a_track_are_not_counted() -> None:
    n = 2_000_000
    tracemalloc.start()
    try:
        for many in (Tracks.empty(), tracks({"shapes": [key(n + 5, [0, 0, 1, 1])]})):
            moving = MovingShapes(many, 0, n)
            assert not len(moving)
            assert [(first, stop, len(part)) for first, stop, part in moving.between(3, n)] == [(3, n, 0)]
            assert not list(moving.between(3, 3))
        assert tracemalloc.get_traced_memory()[1] < n
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("most_rows", [1, 7, 40, 10_000])
def test_windows_of_frames_give_what_all_tracks_show(monkeypatch: pytest.MonkeyPatch, most_rows: int) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", most_rows)
    monkeypatch.setattr(module, "ROWS_A_STRETCH", max(1, most_rows // 3))
    monkeypatch.setattr(module, "TRACKS_AT_ONCE", 5)
    random = np.random.default_rng(most_rows)
    for start, stop in ((0, 12), (3, 9), (5, 5)):
        many = random_tracks(random, 12, 12)
        whole = expand_tracks(many, start, stop)
        numbers = [-1 - n for n in range(12) for _ in range(len(expand_tracks(many.take(np.array([n])), start, stop)))]
        whole = whole.replace(ids=np.array(numbers, dtype=np.int64))
        whole = whole.take(np.argsort(whole.frames, kind="stable"))
        moving = MovingShapes(many, start, stop)
        assert len(moving) == len(whole)
        for borders in ([start, stop], [start, *sorted(random.integers(start, stop + 1, size=4).tolist()), stop]):
            found, at = [], start
            for first, last in itertools.pairwise(borders):
                for begin, end, shapes in moving.between(first, last):
                    assert begin == at < end <= last
                    assert ((shapes.frames >= begin) & (shapes.frames < end)).all()
                    assert end == begin + 1 or len(shapes) <= max(1, most_rows // 3)
                    found.append(shapes)
                    at = end
            assert at == stop
            assert_same(Shapes.concatenate(found), whole)


def assert_same(one: Shapes, other: Shapes) -> None:
    for name in ("frames", "ids", "types", "label_ids", "z_orders", "occluded", "rotations"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    for name in ("points", "runs"):
        assert getattr(one, name).values.tolist() == getattr(other, name).values.tolist()
        assert getattr(one, name).offsets.tolist() == getattr(other, name).offsets.tolist()
    assert one.attributes.to_list() == other.attributes.to_list()


def test_memory_does_not_follow_the_frames_that_tracks_show_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 1_000)
    many = tracks(*[{"shapes": [key(0, [0, 0, 1, 1]), key(9_999, [8, 8, 9, 9])]}] * 5)
    moving, n_rows = MovingShapes(many, 0, 10_000), 0
    tracemalloc.start()
    try:
        for _, _, shapes in moving.between(0, 10_000):
            n_rows += len(shapes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_rows == len(moving) == 50_000
    assert peak < 2 << 20


def test_many_tracks_of_one_frame_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_A_STRETCH", 500)
    n = 8_000
    many = tracks(*[{"shapes": [key(1, [0, 0, 1, at])]} for at in range(n)])
    for at_once in (1_000, 10_000):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
        moving = MovingShapes(many, 0, 2)
        tracemalloc.start()
        try:
            heights = [height for _, _, part in moving.between(1, 2) for height in part.points.values[3::4].tolist()]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert heights == list(range(n))
        assert peak < 1_000 * n
        assert [len(part) for _, _, part in moving.between(1, 2)] == [500] * (n // 500)
        assert [len(part) for _, _, part in moving.between(1, 2, np.array([1]))] == [n]


@pytest.mark.parametrize(
    "other", [{"shapes": [key(1, [0, 0, 1, 0, 1, 1], "polygon")]}, {"shapes": [key(1, [0, 0, 1, 1], rotation=5)]}]
)
def test_a_frame_of_more_than_plain_boxes_comes_whole(monkeypatch: pytest.MonkeyPatch, other: Any) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(module, "ROWS_A_STRETCH", 2)
    boxes = [{"shapes": [key(1, [0, 0, 1, 1])]}] * 5
    assert [len(part) for *_, part in MovingShapes(tracks(*boxes), 0, 2).between(0, 2)] == [0, 2, 2, 1]
    assert [len(part) for *_, part in MovingShapes(tracks(*boxes, other), 0, 2).between(0, 2)] == [0, 6]
    assert [len(part) for *_, part in MovingShapes(tracks(*boxes, group=3), 0, 2).between(0, 2)] == [0, 5]


def test_a_body_that_cannot_be_read_is_named_before_anything_is_shown() -> None:
    with pytest.raises(Damaged, match="track 2 cannot be read"):
        MovingShapes(tracks({"shapes": []}, b"{"), 0, 5)
