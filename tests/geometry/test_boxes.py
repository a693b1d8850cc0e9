from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.geometry import bounding_boxes, boxes_to_norm, boxes_to_pixels, clip_boxes, hull_boxes, rotated_corners


def test_example_rows_of_the_reference() -> None:
    boxes_px = np.array([[1.0, 1.0, 3.0, 4.0], [1.0, 1.0, 6.0, 4.0]])
    norm = boxes_to_norm(boxes_px, 8, 6)
    assert norm.tolist() == [
        [0.125, 0.16666666666666666, 0.375, 0.6666666666666666],
        [0.125, 0.16666666666666666, 0.75, 0.6666666666666666],
    ]
    assert boxes_to_pixels(norm, 8, 6).tolist() == boxes_px.tolist()


@given(
    st.lists(st.integers(-2_000_000, 20_000_000_000), min_size=4, max_size=4),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
)
def test_a_pixel_value_of_six_decimals_comes_back_exactly(millionths: list[int], width: int, height: int) -> None:
    boxes_px = np.array([[value / 1e6 for value in millionths]])
    assert boxes_to_pixels(boxes_to_norm(boxes_px, [width], [height]), [width], [height]).tolist() == boxes_px.tolist()


def test_each_box_has_its_own_frame_and_zero_has_no_sign() -> None:
    boxes = boxes_to_pixels(np.array([[0.5, 0.5, 1.0, 1.0], [-1e-12, 0.0, 0.1, 0.2]]), [10, 30], [20, 50])
    assert boxes.tolist() == [[5, 10, 10, 20], [0, 0, 3, 10]]
    assert not np.signbit(boxes).any()


def test_no_box_at_all() -> None:
    none = np.empty((0, 4))
    assert (
        boxes_to_pixels(none, [], []).shape == boxes_to_norm(none, 5, 5).shape == clip_boxes(none, 5, 5).shape == (0, 4)
    )
    assert rotated_corners(none, 0).shape == (0, 4, 2)
    assert bounding_boxes(np.empty(0), np.zeros(1, dtype=np.int64)).shape == (0, 4)


def test_clipping_moves_edges_to_the_border() -> None:
    boxes = clip_boxes(np.array([[-3.0, 2.0, 12.0, 5.0], [20.0, 20.0, 30.0, 30.0]]), 10, 8)
    assert boxes.tolist() == [[0, 2, 10, 5], [10, 8, 10, 8]]


@pytest.mark.parametrize(
    ("rotation", "corners"),
    [
        (0.0, [[2, 2], [6, 2], [6, 4], [2, 4]]),
        (90.0, [[5, 1], [5, 5], [3, 5], [3, 1]]),
        (180.0, [[6, 4], [2, 4], [2, 2], [6, 2]]),
        (270.0, [[3, 5], [3, 1], [5, 1], [5, 5]]),
        (450.0, [[5, 1], [5, 5], [3, 5], [3, 1]]),
        (-90.0, [[3, 5], [3, 1], [5, 1], [5, 5]]),
    ],
)
def test_quarter_turns_are_clockwise_and_exact(rotation: float, corners: list[list[float]]) -> None:
    turned = rotated_corners(np.array([[2.0, 2.0, 6.0, 4.0]]), rotation)
    assert turned.tolist() == [corners]


def test_any_rotation_equals_the_plain_formula() -> None:
    random = np.random.default_rng(0)
    boxes = np.sort(random.uniform(-50, 50, (200, 2, 2)), axis=1).reshape(-1, 4)
    rotations = random.uniform(-720, 720, 200)
    turned = rotated_corners(boxes, rotations)
    for box, rotation, corners in zip(boxes, rotations, turned, strict=True):
        t = np.deg2rad(rotation)
        matrix = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
        centre = (box[:2] + box[2:]) / 2
        plain = np.array([box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]])
        np.testing.assert_allclose(corners, (plain - centre) @ matrix.T + centre, atol=1e-9)
    np.testing.assert_allclose(hull_boxes(turned)[:, :2], turned.min(axis=1))
    np.testing.assert_allclose(hull_boxes(turned)[:, 2:], turned.max(axis=1))


def test_boxes_around_ragged_points() -> None:
    points = np.array([3.0, 4.0, 1.0, 9.0, 5.0, 5.0, 7.0, 7.0])
    offsets = np.array([0, 0, 6, 6, 8, 8], dtype=np.int64)
    assert bounding_boxes(points, offsets).tolist() == [
        [0, 0, 0, 0],
        [1, 4, 5, 9],
        [0, 0, 0, 0],
        [7, 7, 7, 7],
        [0, 0, 0, 0],
    ]
