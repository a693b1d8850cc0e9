from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.geometry.contours as contours
from app.geometry import (
    ShapeTooComplex,
    mask_to_polygons,
    masks_to_polygons,
    pack_mask,
    place_mask,
    polygons_to_mask,
    unpack_mask,
)
from tests.reference_geometry import coco_pixels, count_parts, random_mask


def check_polygons(pixels: np.ndarray, left: int, top: int, polygons: list[np.ndarray]) -> None:
    """All that is promised of the polygons of one mask."""
    height, width = top + pixels.shape[0] + 2, left + pixels.shape[1] + 2
    frame = np.zeros((height, width), dtype=np.bool_)
    frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert len(polygons) == count_parts(pixels)
    covered = np.zeros((height, width), dtype=np.int64)
    for polygon in polygons:
        covered += coco_pixels(polygon, width, height)
        corners = polygon.reshape(-1, 2)
        steps = np.roll(corners, -1, axis=0) - corners
        along_x = steps[:, 0] != 0
        assert (along_x != (steps[:, 1] != 0)).all(), "edges are horizontal or vertical, none has length 0"
        assert (along_x != np.roll(along_x, -1)).all(), "no three neighbouring points lie on one line"
        assert (corners == np.round(corners)).all()
        area = (corners[:, 0] * np.roll(corners[:, 1], -1) - corners[:, 1] * np.roll(corners[:, 0], -1)).sum() / 2
        assert area == coco_pixels(polygon, width, height).sum(), "clockwise, holes subtracted"
    np.testing.assert_array_equal(covered, frame)
    if polygons:
        drawn = polygons_to_mask(polygons, width, height)
        assert drawn is not None
        np.testing.assert_array_equal(unpack_mask(place_mask(drawn, width, height)), frame)


@pytest.mark.parametrize("seed", range(6))
def test_mask_to_polygons_to_mask_is_the_identity(seed: int) -> None:
    """2,400 masks in all, in batches of every size."""
    random = np.random.default_rng(seed)
    kind = 0
    while kind < 400:
        batch = [random_mask(random, kind + index) for index in range(int(random.integers(1, 40)))]
        kind += len(batch)
        places = random.integers(0, 20, (len(batch), 2)).tolist()
        outlines = masks_to_polygons([pack_mask(p, *place) for p, place in zip(batch, places, strict=True)])
        assert (np.diff(outlines.masks) >= 0).all()
        for index, (pixels, (left, top)) in enumerate(zip(batch, places, strict=True)):
            rows = np.flatnonzero(outlines.masks == index)
            polygons = [outlines.points[outlines.offsets[row] : outlines.offsets[row + 1]] for row in rows]
            check_polygons(pixels, left, top, polygons)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 9), st.lists(st.booleans(), min_size=1, max_size=81))
def test_any_small_mask_comes_back(width: int, bits: list[bool]) -> None:
    bits = bits + [False] * (-len(bits) % width)
    pixels = np.array(bits, dtype=np.bool_).reshape(-1, width)
    check_polygons(pixels, 1, 2, mask_to_polygons(pack_mask(pixels, 1, 2)))


def test_a_single_pixel_is_a_square() -> None:
    assert [p.tolist() for p in mask_to_polygons(pack_mask(np.ones((1, 1), dtype=np.bool_), 3, 5))] == [
        [3, 5, 4, 5, 4, 6, 3, 6]
    ]


def test_a_full_frame_is_its_four_corners() -> None:
    assert [p.tolist() for p in mask_to_polygons(pack_mask(np.ones((6, 16), dtype=np.bool_)))] == [
        [0, 0, 16, 0, 16, 6, 0, 6]
    ]


def test_a_hole_is_cut_open_to_the_left() -> None:
    pixels = np.ones((3, 3), dtype=np.bool_)
    pixels[1, 1] = False
    assert [p.tolist() for p in mask_to_polygons(pack_mask(pixels))] == [
        [0, 0, 3, 0, 3, 3, 0, 3, 0, 1, 1, 1, 1, 2, 2, 2, 2, 1, 0, 1]
    ]


def test_an_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    pixels = np.ones((7, 7), dtype=np.bool_)
    pixels[1:6, 1:6] = False
    pixels[3, 3] = True
    polygons = mask_to_polygons(pack_mask(pixels))
    assert [len(polygon) // 2 for polygon in polygons] == [10, 4]
    check_polygons(pixels, 0, 0, polygons)


def test_pixels_that_touch_at_a_corner_are_one_polygon() -> None:
    assert [p.tolist() for p in mask_to_polygons(pack_mask(np.eye(2, dtype=np.bool_)))] == [
        [0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 1, 2, 1, 1, 0, 1]
    ]


def test_no_mask_and_empty_masks_have_no_polygons() -> None:
    empty = pack_mask(np.zeros((4, 5), dtype=np.bool_))
    assert mask_to_polygons(empty) == []
    assert len(masks_to_polygons([]).masks) == 0
    full = pack_mask(np.ones((2, 2), dtype=np.bool_))
    assert masks_to_polygons([empty, full, empty, full]).masks.tolist() == [1, 3]


def test_large_masks_are_traced_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    masks = [pack_mask(random_mask(random, kind)) for kind in range(18)]
    together = masks_to_polygons(masks)
    for name, value in (("BATCH_FLIPS", 1), ("BATCH_MASKS", 5)):
        monkeypatch.setattr(contours, name, value)
        apart = masks_to_polygons(masks)
        np.testing.assert_array_equal(apart.points, together.points)
        np.testing.assert_array_equal(apart.offsets, together.offsets)
        np.testing.assert_array_equal(apart.masks, together.masks)


def test_rings_are_spliced_as_the_walk_over_bridges_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    masks = [pack_mask(random_mask(random, kind, 60)) for kind in range(270)]
    spliced = masks_to_polygons(masks)
    monkeypatch.setattr(contours, "_splice", lambda rings, edges, holes: contours._walk(edges))
    walked = masks_to_polygons(masks)
    np.testing.assert_array_equal(spliced.points, walked.points)
    np.testing.assert_array_equal(spliced.offsets, walked.offsets)
    np.testing.assert_array_equal(spliced.masks, walked.masks)


def test_too_many_corners_are_refused_for_one_mask_but_not_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:20, :20]
    board = pack_mask((x + y) % 2 == 0)
    corners = 4 * board.area
    monkeypatch.setattr(contours, "MAX_CORNERS", corners)
    assert masks_to_polygons([board] * 7).masks.tolist() == list(range(7))
    monkeypatch.setattr(contours, "MAX_CORNERS", corners - 1)
    with pytest.raises(ShapeTooComplex) as refused:
        masks_to_polygons([board] * 7)
    assert f"more than {corners - 1} corners" in refused.value.detail


def test_too_many_parts_are_refused_for_one_mask_but_not_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:20, :20]
    dots = pack_mask((x % 2 == 0) & (y % 2 == 0))
    monkeypatch.setattr(contours, "MAX_PARTS", dots.area)
    assert len(masks_to_polygons([dots] * 7).masks) == 7 * dots.area
    monkeypatch.setattr(contours, "MAX_PARTS", dots.area - 1)
    with pytest.raises(ShapeTooComplex) as refused:
        masks_to_polygons([dots] * 7)
    assert "100 parts, more than 99" in refused.value.detail


def test_masks_are_looked_at_in_bands_as_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(8)
    masks = [pack_mask(random_mask(random, kind, 60)) for kind in range(90)]
    whole = [masks_to_polygons([mask]) for mask in masks]
    monkeypatch.setattr(contours, "BATCH_FLIPS", 7)
    for mask, one in zip(masks, whole, strict=True):
        banded = masks_to_polygons([mask])
        np.testing.assert_array_equal(banded.points, one.points)
        np.testing.assert_array_equal(banded.offsets, one.offsets)


def test_noise_is_refused_before_it_costs_memory() -> None:
    noise = np.random.default_rng(3).random((1500, 1500)) < 0.5
    mask = pack_mask(noise)
    tracemalloc.start()
    try:
        with pytest.raises(ShapeTooComplex):
            masks_to_polygons([mask])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_large_places_are_traced_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(21)
    masks = [pack_mask(random_mask(random, kind)) for kind in range(18)]
    found = masks_to_polygons(masks)
    monkeypatch.setattr(contours, "SMALL", 0)
    monkeypatch.setattr(contours, "_by_column", lambda lines, columns: np.lexsort((lines, columns)))
    again = masks_to_polygons(masks)
    for one, other in zip((found.points, found.offsets), (again.points, again.offsets), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("widest", [3, 300, 1 << 16, 1 << 40])
@pytest.mark.parametrize("seed", range(8))
def test_places_are_ordered_by_column_then_line(seed: int, widest: int) -> None:
    """Two runs of ascending lines; those of equal places as they stand."""
    chance = np.random.default_rng(seed)
    lines = np.concatenate([np.sort(chance.integers(0, 40, chance.integers(0, 90))) for _ in range(2)])
    columns = chance.integers(0, widest, len(lines))
    assert contours._by_column(lines, columns).tolist() == np.lexsort((lines, columns)).tolist()
