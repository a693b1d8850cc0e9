from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from app.geometry import (
    MAX_CROSSINGS,
    PackedMask,
    ShapeTooComplex,
    count_crossings,
    masks_to_polygons,
    pack_mask,
    place_mask,
    polygon_areas,
    polygon_to_mask,
    polygons_to_mask,
    polygons_to_masks,
    rectangle_to_mask,
    unpack_mask,
)
from tests.reference_geometry import coco_pixels, random_mask


def pixels_of(mask: PackedMask | None, width: int, height: int) -> np.ndarray:
    if mask is None:
        return np.zeros((height, width), dtype=np.bool_)
    assert 0 <= mask.left <= mask.left + mask.width <= width
    assert 0 <= mask.top <= mask.top + mask.height <= height
    return unpack_mask(place_mask(mask, width, height))


def random_polygon(random: np.random.Generator, kind: int, width: int, height: int) -> np.ndarray:
    n = int(random.integers(0, 40))
    size = np.array([width, height])
    match kind % 8:
        case 0:
            points = random.uniform(-0.2, 1.2, (n, 2)) * size
        case 1:
            points = np.round(random.uniform(-0.2, 1.2, (n, 2)) * size)
        case 2:  # tenths: ties of the rounding to fifths
            points = np.round(random.uniform(0, 1, (n, 2)) * size, 1)
        case 3:  # an outline of short edges
            points = np.cumsum(random.normal(0, 5, (n, 2)), axis=0) + size / 2
        case 4:  # far outside on both sides
            points = random.uniform(-3, 3, (n, 2)) * size
        case 5:
            points = random.uniform(-2, -0.1, (n, 2)) * size
        case 6:
            points = random.uniform(0.9, 2, (n, 2)) * size
        case _:  # repeated points and straight edges
            points = np.repeat(np.round(random.uniform(0, 1, (n, 2)) * size * 2) / 2, 2, axis=0)
    return points.reshape(-1)


@pytest.mark.parametrize("seed", range(8))
def test_pixels_are_those_of_the_coco_rasteriser(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(20):
        sizes = random.integers(1, 160, (25, 2))
        polygons = [random_polygon(random, kind, int(w), int(h)) for kind, (w, h) in enumerate(sizes)]
        offsets = np.cumsum([0, *(len(polygon) for polygon in polygons)], dtype=np.int64)
        masks = polygons_to_masks(np.concatenate(polygons), offsets, sizes[:, 0], sizes[:, 1])
        for polygon, (width, height), mask in zip(polygons, sizes.tolist(), masks, strict=True):
            np.testing.assert_array_equal(pixels_of(mask, width, height), coco_pixels(polygon, width, height))


def test_large_outlines_are_those_of_the_coco_rasteriser_too() -> None:
    random = np.random.default_rng(9)
    for n in (434, 3_000):
        angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
        radii = 240 * (1 + 0.2 * np.sin(3 * angles) + 0.03 * random.normal(size=n))
        polygon = np.stack([500 + radii * np.cos(angles), 380 + radii * np.sin(angles)], axis=1).reshape(-1)
        mask = polygon_to_mask(polygon, 1024, 768)
        np.testing.assert_array_equal(pixels_of(mask, 1024, 768), coco_pixels(polygon, 1024, 768))


def test_several_chunks_of_crossings_give_the_same_pixels() -> None:
    random = np.random.default_rng(10)
    polygon = (random.uniform(-0.2, 1.2, (2_000, 2)) * [400, 300]).reshape(-1)
    assert count_crossings(polygon, np.array([0, len(polygon)]), 400, 300)[0] > 100_000
    np.testing.assert_array_equal(
        pixels_of(polygon_to_mask(polygon, 400, 300), 400, 300), coco_pixels(polygon, 400, 300)
    )


def test_example_polygon_of_the_reference_has_15_pixels() -> None:
    mask = polygon_to_mask(np.array([1.0, 1, 6, 1, 6, 4, 1, 4]), 8, 6)
    expected = np.zeros((6, 8), dtype=np.bool_)
    expected[1:4, 1:6] = True
    np.testing.assert_array_equal(pixels_of(mask, 8, 6), expected)


def test_example_rectangle_of_the_reference_turned_by_90_degrees() -> None:
    expected = np.zeros((6, 8), dtype=np.bool_)
    expected[1:5, 3:5] = True
    mask = rectangle_to_mask(np.array([2.0, 2, 6, 4]), 90, 8, 6)
    np.testing.assert_array_equal(pixels_of(mask, 8, 6), expected)


@pytest.mark.parametrize("quarter", range(4), ids=["whole", "quarter", "half", "three quarters"])
def test_axis_parallel_edges_follow_the_centre_rule_with_ties_to_the_left_and_upper_side(quarter: int) -> None:
    x0, y0, x1, y1 = 2 + quarter / 4, 1 + quarter / 4, 7 + quarter / 4, 5 + quarter / 4
    mask = polygon_to_mask(np.array([x0, y0, x1, y0, x1, y1, x0, y1]), 12, 9)
    x, y = np.arange(12) + 0.5, np.arange(9) + 0.5
    expected = ((x > x0) & (x <= x1)) & ((y > y0) & (y <= y1))[:, None]
    np.testing.assert_array_equal(pixels_of(mask, 12, 9), expected)


def test_x_from_one_and_a_half_to_three_and_a_half_covers_pixels_2_and_3() -> None:
    mask = polygon_to_mask(np.array([1.5, 0, 3.5, 0, 3.5, 1, 1.5, 1]), 6, 1)
    assert np.flatnonzero(pixels_of(mask, 6, 1)[0]).tolist() == [2, 3]


def test_a_group_is_the_union_and_a_crossing_outline_is_even_odd() -> None:
    first, second = np.array([1.0, 1, 6, 1, 6, 6, 1, 6]), np.array([4.0, 4, 9, 4, 9, 9, 4, 9])
    union = polygons_to_mask([first, second.reshape(-1, 2)], 10, 10)
    assert union is not None
    assert union.area == 25 + 25 - 4
    twice = np.concatenate([first, first])  # walked round twice: every pixel is outside again
    assert polygon_to_mask(twice, 10, 10) is None
    assert polygons_to_mask([], 10, 10) is None
    assert polygons_to_mask([first + 100.0], 10, 10) is None


@pytest.mark.parametrize("points", [[], [1.0, 1.0], [1.0, 1.0, 5.0, 5.0]], ids=["none", "one", "two"])
def test_fewer_than_three_points_draw_nothing(points: list[float]) -> None:
    assert polygon_to_mask(np.array(points, dtype=np.float64), 8, 8) is None


def test_far_points_cost_nothing_and_cut_the_frame_where_they_should() -> None:
    half = polygon_to_mask(np.array([-1e7, -1e7, 5, -1e7, 5, 1e7, -1e7, 1e7]), 10, 10)
    assert np.flatnonzero(pixels_of(half, 10, 10)[3]).tolist() == [0, 1, 2, 3, 4]
    everything = polygon_to_mask(np.array([-1e300, -1e300, 1e300, -1e300, 1e300, 1e300, -1e300, 1e300]), 10, 10)
    assert pixels_of(everything, 10, 10).all()
    diagonal = pixels_of(polygon_to_mask(np.array([-1e6, -1e6, 1e6, 1e6, 1e6, -1e6]), 10, 10), 10, 10)
    assert diagonal[np.triu_indices(10, 1)].all()
    assert not diagonal[np.tril_indices(10, -1)].any()


@pytest.mark.parametrize("scale", [1.0, 1e7], ids=["within the frame", "coordinates of ten million"])
def test_a_hundred_thousand_random_points_are_drawn_in_bounded_time_and_memory(scale: float) -> None:
    random = np.random.default_rng(11)
    points = (
        random.uniform(0, 1, (100_000, 2)) * [1024, 768]
        if scale == 1.0
        else random.uniform(-1, 1, (100_000, 2)) * scale
    )
    started = time.process_time()
    tracemalloc.start()
    mask = polygon_to_mask(points, 1024, 768)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask is not None
    assert peak < 64 << 20
    assert time.process_time() - started < 15


def test_more_crossings_than_any_outline_has_are_refused_before_drawing() -> None:
    points = (np.random.default_rng(12).uniform(0, 1, (100_000, 2)) * [20_000, 20_000]).reshape(-1)
    offsets = np.array([0, len(points)], dtype=np.int64)
    assert count_crossings(points, offsets, 20_000, 20_000)[0] > MAX_CROSSINGS
    with pytest.raises(ShapeTooComplex) as refused:
        polygon_to_mask(points, 20_000, 20_000)
    assert refused.value.code == "shape.too_complex"
    assert "100000 points" in refused.value.detail


def test_areas_of_polygons() -> None:
    shapes = [[0, 0, 4, 0, 4, 3], [], [1, 1, 1, 5, 9, 5, 9, 1], [2, 2], [0, 0, 2, 2, 2, 0, 0, 2]]
    points = np.array([number for shape in shapes for number in shape], dtype=np.float64)
    offsets = np.cumsum([0, *(len(shape) for shape in shapes)], dtype=np.int64)
    assert polygon_areas(points, offsets).tolist() == [6, 0, 32, 0, 0]
    assert polygon_areas(points[:0], offsets[:1]).tolist() == []


def test_areas_of_outlines_are_the_pixels_of_their_masks() -> None:
    random = np.random.default_rng(1)
    masks = [pack_mask(random_mask(random, kind)) for kind in range(60)]
    outlines = masks_to_polygons(masks)
    areas = np.bincount(outlines.masks, polygon_areas(outlines.points, outlines.offsets), minlength=60)
    assert areas.tolist() == [mask.area for mask in masks]
