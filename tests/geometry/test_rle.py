from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.geometry import (
    RunFault,
    check_runs,
    mask_to_runs,
    masks_to_runs,
    pack_mask,
    runs_area,
    runs_to_mask,
    unpack_mask,
)
from tests.reference_geometry import random_mask, runs_of


def ragged(*rows: list[float]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([value for row in rows for value in row], dtype=np.float64)
    return values, np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)


def test_example_of_the_format_description() -> None:
    pixels = np.zeros((3, 4), dtype=np.bool_)
    pixels[1, 1] = pixels[1, 2] = pixels[2, 2] = True
    assert mask_to_runs(pack_mask(pixels)).tolist() == [0, 2, 1, 1, 1, 1, 2, 2]


def test_runs_equal_their_twin_and_come_back() -> None:
    random = np.random.default_rng(0)
    masks, expected = [], []
    for kind in range(200):
        pixels = random_mask(random, kind)
        left, top = (int(place) for place in random.integers(0, 50, 2))
        masks.append(pack_mask(pixels, left, top))
        expected.append(runs_of(pixels, left, top))
        runs = mask_to_runs(masks[-1])
        assert runs.dtype == np.int32
        assert runs.tolist() == expected[-1]
        if len(runs):
            again = runs_to_mask(runs)
            assert (again.left, again.top) == (runs[-4], runs[-3])
            np.testing.assert_array_equal(mask_to_runs(again), runs)
            np.testing.assert_array_equal(runs_to_mask(runs.astype(np.float64)).rows, again.rows)
    values, offsets = masks_to_runs(masks)
    assert [values[a:b].tolist() for a, b in itertools.pairwise(offsets.tolist())] == expected
    areas = [int(unpack_mask(mask).sum()) for mask in masks]
    assert runs_area(values, offsets).tolist() == areas


def test_no_mask_at_all_is_an_empty_column() -> None:
    values, offsets = masks_to_runs([])
    assert (len(values), offsets.tolist()) == (0, [0])
    assert runs_area(values, offsets).tolist() == []
    assert check_runs(values, offsets, 5, 5).tolist() == []


@given(st.data())
def test_any_split_into_runs_is_accepted_and_drawn(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    cuts = sorted(data.draw(st.lists(st.integers(0, width * height), max_size=8)))
    runs = np.diff([0, *cuts, width * height]).tolist()  # runs of length 0 anywhere
    values, offsets = ragged([*runs, 3, 2, 3 + width - 1, 2 + height - 1])
    assert check_runs(values, offsets, 3 + width, 2 + height).tolist() == [RunFault.NONE]
    mask = runs_to_mask(values)
    expected = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    np.testing.assert_array_equal(unpack_mask(mask), expected)
    assert runs_area(values, offsets).tolist() == [expected.sum()]


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        ([0, 2, 1, 1, 1, 1, 2, 2], RunFault.NONE),
        ([0.0, 4.0, 0, 0, 1, 1], RunFault.NONE),
        ([1, 0, 0, 0, 0], RunFault.NONE),
        ([], RunFault.TOO_SHORT),
        ([0, 0, 1, 1], RunFault.TOO_SHORT),
        ([0, 2.5, 1, 1, 1, 1, 2, 2], RunFault.NOT_WHOLE),
        ([0, -2, 1, 1, 1, 1, 2, 2], RunFault.NOT_WHOLE),
        ([0, float("nan"), 0, 0, 1, 1], RunFault.NOT_WHOLE),
        ([0, float("inf"), 0, 0, 1, 1], RunFault.NOT_WHOLE),
        ([0, 1e18, 0, 0, 1, 1], RunFault.NOT_WHOLE),
        ([0, 4, -1, 0, 0, 1], RunFault.NOT_WHOLE),
        ([0, 4, 0, 0, 1.5, 1], RunFault.NOT_WHOLE),
        ([0, 4, 1, 0, 0, 1], RunFault.BAD_BOX),
        ([0, 4, 0, 1, 1, 0], RunFault.BAD_BOX),
        ([0, 4, 9, 0, 10, 1], RunFault.BAD_BOX),
        ([0, 4, 0, 7, 1, 8], RunFault.BAD_BOX),
        ([0, 3, 0, 0, 1, 1], RunFault.BAD_SUM),
        ([0, 5, 0, 0, 1, 1], RunFault.BAD_SUM),
    ],
    ids=lambda value: value.name if isinstance(value, RunFault) else " ".join(map(str, value)) or "nothing",
)
def test_faults_are_told_apart_on_a_frame_of_10_by_8(runs: list[float], fault: RunFault) -> None:
    good = [0, 4, 0, 0, 1, 1]
    values, offsets = ragged(good, runs, good)
    assert check_runs(values, offsets, [10] * 3, [8] * 3).tolist() == [0, fault, 0]
