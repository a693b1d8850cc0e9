"""Columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FAR_APART = 16
"""Numbers up to so many times as many as there are."""


def distinct(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The distinct ones of some numbers, ascending: `np.unique`, which makes a hash table of them (numpy 2.4), seven to
    ten times the cost from a hundred numbers on, and memory for millions."""
    ascending = np.sort(numbers, axis=None)
    is_new = np.ones(len(ascending), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    return ascending[is_new]


def among(numbers: npt.NDArray[Any], few: Sequence[int]) -> npt.NDArray[np.bool_]:
    """(N,) bool, the numbers that are one of a few: `np.isin`, which looks for the range of the numbers and makes a
    table of it each time, a tenth of the speed for numbers of a byte."""
    found: npt.NDArray[np.bool_] = numbers == few[0]
    for one in few[1:]:
        found |= numbers == one
    return found


def used_codes(codes: npt.NDArray[np.int32]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """The distinct codes, ascending, and the place of each code among them: `np.unique` of numbers from 0 on, which are
    counted where they are not far apart, in a third of the time and less."""
    most = int(codes.max(initial=-1)) + 1
    if most > FAR_APART * len(codes):
        found, inverse = np.unique(codes, return_inverse=True)
        return found, inverse.astype(np.int32)
    used = np.flatnonzero(np.bincount(codes, minlength=1))
    places = np.zeros(most, dtype=np.int32)
    places[used] = np.arange(len(used), dtype=np.int32)
    return used, places[codes]
