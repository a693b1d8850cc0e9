"""Flips of masks: beside the pixels, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from app.geometry import PackedMask, count_flips, find_flips, flips_to_runs, pack_mask, resize_flips, resize_mask
from tests.reference_geometry import nearest, random_mask, runs_of


def slow_flips(pixels: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for line, row in enumerate(pixels.tolist()):
        before = False
        for column, pixel in enumerate([*row, False]):
            if pixel != before:
                found.append((line, column))
            before = pixel
    return found


@pytest.mark.parametrize("largest", [3, 20, 70], ids=lambda largest: f"up to {largest} pixels a side")
def test_flips_are_where_pixels_change(largest: int) -> None:
    random = np.random.default_rng(largest)
    for kind in range(90):
        pixels = random_mask(random, kind, largest)
        flips = find_flips(pack_mask(pixels, 5, 7))
        tight = find_flips(pack_mask(pixels, 5, 7), is_tight=True)
        assert (tight.lines.tolist(), tight.columns.tolist()) == (flips.lines.tolist(), flips.columns.tolist())
        assert list(zip(flips.lines.tolist(), flips.columns.tolist(), strict=True)) == slow_flips(pixels)
        assert (flips.height, flips.width, flips.left, flips.top, len(flips)) == (*pixels.shape, 5, 7, len(flips.lines))
        assert flips.area == pixels.sum()


@pytest.mark.parametrize("scale", [0.02, 0.3, 0.7, 1.0, 1.5, 4.0])
def test_resized_flips_are_those_of_the_resized_pixels(scale: float) -> None:
    random = np.random.default_rng(int(scale * 100))
    for kind in range(60):
        pixels = random_mask(random, kind, 30)
        height = max(1, round(pixels.shape[0] * scale * random.uniform(0.8, 1.2)))
        width = max(1, round(pixels.shape[1] * scale * random.uniform(0.8, 1.2)))
        for new_height, new_width in ((height, width), (pixels.shape[0], width), (height, pixels.shape[1])):
            flips = resize_flips(find_flips(pack_mask(pixels)), new_width, new_height)
            expected = nearest(pixels, new_width, new_height)
            assert list(zip(flips.lines.tolist(), flips.columns.tolist(), strict=True)) == slow_flips(expected)
            assert (flips.width, flips.height) == (new_width, new_height)
            assert flips_to_runs(flips).tolist() == runs_of(expected)
            same = find_flips(resize_mask(pack_mask(pixels), new_width, new_height))
            np.testing.assert_array_equal(same.columns, flips.columns)


def test_large_masks_do_not_overflow() -> None:
    rows = np.zeros((3, 125_000), dtype=np.uint8)
    rows[1, 1::2] = 0x18
    flips = resize_flips(find_flips(PackedMask(rows, 1_000_000)), 999_999, 5)
    assert flips_to_runs(flips).tolist()[-4:] == [11, 2, 999_996, 3]
    assert len(flips) == 2 * 125_000


def test_flips_of_a_large_mask_are_found_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(5).random((50, 37)) < 0.5
    whole = find_flips(pack_mask(pixels))
    for strip_bytes in (1, 12, 100):
        monkeypatch.setattr("app.geometry.flips.STRIP_BYTES", strip_bytes)
        flips = find_flips(pack_mask(pixels))
        assert np.array_equal(flips.lines, whole.lines)
        assert np.array_equal(flips.columns, whole.columns)
        assert count_flips(pack_mask(pixels)) == len(whole)
