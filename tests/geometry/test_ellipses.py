from __future__ import annotations

import numpy as np
import pytest

from app.geometry import ellipse_to_mask, place_mask, tighten_mask, unpack_mask
from tests.reference_geometry import ellipse_pixels


@pytest.mark.parametrize("seed", range(6))
def test_pixels_are_those_whose_centre_is_inside(seed: int) -> None:
    random = np.random.default_rng(seed)
    for round_number in range(40):
        width, height = (int(side) for side in random.integers(1, 40, 2))
        centre = random.uniform(-0.3, 1.3, 2) * [width, height]
        radii = random.uniform(0.05, 30, 2)
        if round_number % 3 == 0:  # halves: centres of pixels on the very border
            centre, radii = np.round(centre * 2) / 2, np.maximum(np.round(radii * 2) / 2, 0.5)
        rotation = float(random.choice([0.0, 90.0, 45.0, 180.0, random.uniform(-400, 400)]))
        points = np.array([centre[0], centre[1], centre[0] + radii[0], centre[1] - radii[1]])
        expected = ellipse_pixels(points.tolist(), rotation, width, height)
        mask = ellipse_to_mask(points, rotation, width, height)
        if mask is None:
            assert not expected.any()
            continue
        np.testing.assert_array_equal(unpack_mask(place_mask(mask, width, height)), expected)
        assert tighten_mask(mask) is mask


def test_a_circle_of_radius_one_around_a_corner_has_four_pixels() -> None:
    mask = ellipse_to_mask(np.array([3.0, 3.0, 4.0, 2.0]), 0, 8, 8)
    assert mask is not None
    assert (mask.left, mask.top, mask.width, mask.area) == (2, 2, 2, 4)


@pytest.mark.parametrize(
    "points",
    [[4.0, 4.0, 4.0, 2.0], [4.0, 4.0, 6.0, 4.0], [50.0, 50.0, 53.0, 47.0], [4.0, 4.0, 4.2, 3.8], [1e7, 1e7, 2e7, 0.0]],
    ids=["no width", "no height", "outside", "between centres", "far and large"],
)
def test_nothing_left_is_none(points: list[float]) -> None:
    rotation = 0.0 if points[0] < 1e6 else 30.0
    mask = ellipse_to_mask(np.array(points), rotation, 8, 8)
    assert mask is None


def test_an_ellipse_around_the_whole_frame_fills_it() -> None:
    mask = ellipse_to_mask(np.array([4.0, 4.0, 1e7, -1e7]), 33, 8, 8)
    assert mask is not None
    assert mask.area == 64
