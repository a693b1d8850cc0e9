from __future__ import annotations

import numpy as np
import pytest

from app.geometry import (
    PackedMask,
    equal_masks,
    find_flips,
    merge_masks,
    pack_mask,
    place_mask,
    resize_mask,
    tighten_mask,
    unpack_mask,
)
from tests.reference_geometry import nearest, random_mask


def on_frame(mask: PackedMask, width: int, height: int) -> np.ndarray:
    """The mask's pixels on a frame, pixel by pixel."""
    frame = np.zeros((height, width), dtype=np.bool_)
    pixels = unpack_mask(mask)
    for y, x in zip(*np.nonzero(pixels), strict=True):
        if 0 <= y + mask.top < height and 0 <= x + mask.left < width:
            frame[y + mask.top, x + mask.left] = True
    return frame


def padding_is_clear(mask: PackedMask) -> bool:
    return not np.unpackbits(mask.rows, axis=1)[:, mask.width :].any()


@pytest.mark.parametrize("seed", range(5))
def test_pixels_survive_packing_tightening_and_placing(seed: int) -> None:
    random = np.random.default_rng(seed)
    for kind in range(60):
        pixels = random_mask(random, kind)
        left, top = (int(place) for place in random.integers(-20, 30, 2))
        mask = pack_mask(pixels, left, top)
        assert mask.area == pixels.sum()
        rows, columns = np.nonzero(pixels)
        assert mask.first_pixel == ((top + rows[0], left + columns[0]) if len(rows) else None)
        box = (left + columns.min(), top + rows.min(), left + columns.max(), top + rows.max()) if len(rows) else None
        assert mask.box == find_flips(mask).box == box
        np.testing.assert_array_equal(unpack_mask(mask), pixels)
        frame = on_frame(mask, 45, 37)
        placed = place_mask(mask, 45, 37)
        assert (placed.left, placed.top, placed.width, placed.height) == (0, 0, 45, 37)
        np.testing.assert_array_equal(unpack_mask(placed), frame)
        assert padding_is_clear(placed)
        tight = tighten_mask(mask)
        if tight is None:
            assert not pixels.any()
            continue
        tight_pixels = unpack_mask(tight)
        assert all(line.any() for line in (*tight_pixels[[0, -1]], *tight_pixels[:, [0, -1]].T))
        assert padding_is_clear(tight)
        np.testing.assert_array_equal(on_frame(tight, 80, 80), on_frame(mask, 80, 80))


def test_a_tight_mask_is_not_copied() -> None:
    mask = pack_mask(np.ones((3, 9), dtype=np.bool_))
    assert tighten_mask(mask) is mask


def test_columns_in_fortran_order_are_packed_alike() -> None:
    pixels = np.random.default_rng(1).random((17, 21)) < 0.5
    np.testing.assert_array_equal(pack_mask(np.asfortranarray(pixels)).rows, pack_mask(pixels).rows)


def test_union_holds_the_pixels_of_all() -> None:
    random = np.random.default_rng(2)
    for _ in range(40):
        masks = [
            pack_mask(random_mask(random, kind, 20), *(int(place) for place in random.integers(0, 40, 2)))
            for kind in range(int(random.integers(1, 5)))
        ]
        union = merge_masks(masks)
        expected = np.logical_or.reduce([on_frame(mask, 64, 64) for mask in masks])
        np.testing.assert_array_equal(on_frame(union, 64, 64), expected)
        assert padding_is_clear(union)


@pytest.mark.parametrize("seed", range(40))
def test_masks_are_equal_where_their_pixels_are(seed: int) -> None:
    """However large their rectangles are, and wherever they begin."""
    rng = np.random.default_rng(seed)
    frame = np.zeros((20, 40), dtype=bool)
    if seed % 5:
        top, left, bottom, right = rng.integers(0, 8), rng.integers(0, 18), rng.integers(9, 20), rng.integers(19, 40)
        frame[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.3
    changed = frame.copy()
    changed[rng.integers(20), rng.integers(40)] ^= True

    def part(pixels: np.ndarray) -> PackedMask:
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        y0, y1 = (rows[0], rows[-1] + 1) if len(rows) else (5, 6)
        x0, x1 = (columns[0], columns[-1] + 1) if len(columns) else (5, 6)
        y0, y1, x0, x1 = rng.integers(0, y0 + 1), rng.integers(y1, 21), rng.integers(0, x0 + 1), rng.integers(x1, 41)
        return pack_mask(pixels[y0:y1, x0:x1], int(x0), int(y0))

    for _ in range(10):
        assert equal_masks(part(frame), part(frame))
    assert not equal_masks(part(frame), pack_mask(changed))
    assert not equal_masks(pack_mask(changed), part(frame))


def test_resizing_takes_the_nearest_pixel_rounding_down() -> None:
    random = np.random.default_rng(3)
    for kind in range(60):
        pixels = random_mask(random, kind)
        width, height = (int(side) for side in random.integers(1, 60, 2))
        resized = resize_mask(pack_mask(pixels), width, height)
        np.testing.assert_array_equal(unpack_mask(resized), nearest(pixels, width, height))
        assert padding_is_clear(resized)


def test_resizing_to_the_same_width_moves_rows_only() -> None:
    pixels = np.random.default_rng(4).random((10, 13)) < 0.5
    np.testing.assert_array_equal(unpack_mask(resize_mask(pack_mask(pixels), 13, 4)), nearest(pixels, 13, 4))
    mask = pack_mask(pixels)
    assert resize_mask(mask, 13, 10) is mask


@pytest.mark.parametrize(
    ("rows", "width"),
    [
        (np.zeros((2, 1), dtype=np.uint8), 9),
        (np.zeros((0, 1), dtype=np.uint8), 8),
        (np.zeros((1, 1), dtype=np.bool_), 8),
        (np.zeros((1, 0), dtype=np.uint8), 0),
    ],
    ids=["too few bytes a row", "no row", "not bytes", "no column"],
)
def test_rows_of_another_shape_are_our_own_mistake(rows: np.ndarray, width: int) -> None:
    with pytest.raises(ValueError, match="rows"):
        PackedMask(rows, width)
