from __future__ import annotations

import numpy as np
import pytest

from app.geometry import MAX_CROSSINGS, PackedMask, ShapeTooComplex, masks_to_polygons, pack_mask, polygons_to_masks
from app.geometry.pixel_outlines import FARTHEST, PixelOutlines
from app.geometry.polygons import _draw
from tests.geometry.test_polygons import pixels_of, random_polygon
from tests.reference_geometry import coco_pixels, random_mask

Polygons = tuple[np.ndarray, np.ndarray]


def column(polygons: list[np.ndarray]) -> Polygons:
    return np.concatenate(polygons), np.cumsum([0, *map(len, polygons)], dtype=np.int64)


def stairs(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Edges along x and y in turn, which cross and touch each other, some of no length, some in several pieces; within
    the frame, over its borders, or beyond."""
    n = int(random.integers(2, 24))
    low, high = ((0, 1), (-0.5, 1.5), (0.9, 2), (-2, 0.1))[int(random.integers(4))]
    x, y = (random.integers(int(low * side), int(high * side) + 2, n).astype(np.float64) for side in (width, height))
    corners = np.stack([np.stack([x, y]), np.stack([np.roll(x, -1), y])]).transpose(2, 0, 1).reshape(-1, 2)
    pieces = np.repeat(corners, random.integers(1, 3, len(corners)), axis=0)
    if random.integers(2):
        middles = np.insert(pieces, 1, np.floor(pieces[:2].mean(axis=0)), axis=0)
        pieces = middles if (pieces[0] == pieces[1]).any() else pieces
    return np.roll(pieces, int(random.integers(len(pieces))), axis=0).reshape(-1)


def assert_same_crops(masks: list[PackedMask | None], slow: list[PackedMask | None]) -> None:
    for mask, other in zip(masks, slow, strict=True):
        assert (mask is None) == (other is None)
        if mask is not None and other is not None:
            assert (mask.left, mask.top, mask.width) == (other.left, other.top, other.width)
            np.testing.assert_array_equal(mask.rows, other.rows)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_polygons_along_pixels_are_drawn_as_any_polygon_is(seed: int, dtype: type) -> None:
    random = np.random.default_rng(seed)
    for largest in (12, 70, 400):
        sizes = random.integers(1, largest, (40, 2))
        polygons = [stairs(random, int(w), int(h)) for w, h in sizes]
        points, offsets = column(polygons)
        outlines = PixelOutlines.of(points.astype(dtype), offsets)
        assert outlines is not None
        assert outlines.along.all()
        masks = outlines.draw(sizes[:, 0], sizes[:, 1], MAX_CROSSINGS)
        assert masks is not None
        assert_same_crops(masks, _draw(points, offsets, sizes[:, 0], sizes[:, 1]))
        for polygon, (width, height), mask in zip(polygons, sizes.tolist(), masks, strict=True):
            np.testing.assert_array_equal(pixels_of(mask, width, height), coco_pixels(polygon, width, height))


@pytest.mark.parametrize("move", [(0, 0), (0, 1), (-3, 5), (500, 0)])
def test_outlines_that_were_traced_are_drawn_as_any_polygon_is(move: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    outlines = masks_to_polygons([pack_mask(random_mask(random, kind, 90)) for kind in range(12)])
    points = outlines.points + np.tile(np.array(move, dtype=np.float64), len(outlines.points) // 2)
    found = PixelOutlines.of(points, outlines.offsets)
    assert found is not None
    assert found.along.all()
    assert_same_crops(
        polygons_to_masks(points, outlines.offsets, 90, 70),
        _draw(points, outlines.offsets, *(np.full(len(outlines.masks), side) for side in (90, 70))),
    )


@pytest.mark.parametrize("seed", range(4))
def test_polygons_of_both_kinds_keep_their_places(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 160, (30, 2))
    polygons = [
        stairs(random, int(w), int(h)) if random.integers(2) else random_polygon(random, kind, int(w), int(h))
        for kind, (w, h) in enumerate(sizes)
    ]
    polygons = [polygon if len(polygon) >= 6 else np.array([0.5, 0, 3, 0, 3, 3]) for polygon in polygons]
    points, offsets = column(polygons)
    outlines = PixelOutlines.of(points, offsets)
    assert outlines is not None
    assert 0 < outlines.along.sum() < 30
    sides = sizes[:, 0], sizes[:, 1]
    assert_same_crops(polygons_to_masks(points, offsets, *sides), _draw(points, offsets, *sides))


@pytest.mark.parametrize(
    "polygon",
    [
        [0, 0, 4, 0, 4, 4, 0, 4.5],
        [0, 0, 4, 0, 4, 4, 1, 3],
        [0, 0, 4, 0, 4, 4, 1, 4],  # the last edge is slanting
        [0, 0, np.inf, 0, np.inf, 4, 0, 4],
        [0, 0, 1e10, 0, 1e10, 4, 0, 4],
        [0, 0, 0, 2.0 * FARTHEST, 4, 2.0 * FARTHEST, 4, 0],
        [0, 0, 4, 0],
        [],
    ],
)
def test_other_polygons_are_told_apart(polygon: list[float]) -> None:
    points, offsets = column([np.array([0, 0, 4, 0, 4, 4, 0, 4.0]), np.array(polygon, dtype=np.float64)])
    outlines = PixelOutlines.of(points, offsets)
    assert outlines is None or outlines.along.tolist() == [True, False]


def test_polygons_of_several_tens_of_millions_of_columns_are_refused_as_any_polygon_is() -> None:
    teeth = np.tile(np.array([0, 0, 50_000, 0, 50_000, 1, 0, 1], dtype=np.float64), 1000)
    points, offsets = column([teeth, np.array([0, 0, 4, 0, 4, 4, 0, 4.0])])
    with pytest.raises(ShapeTooComplex, match="simplify"):
        polygons_to_masks(points, offsets, 50_000, 100)
