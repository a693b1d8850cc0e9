from __future__ import annotations

import numpy as np
import pytest

from app.columns import distinct, used_codes


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 500])
def test_distinct_numbers_are_those_of_numpy(rows: int, dtype: type[np.integer]) -> None:
    random = np.random.default_rng(rows)
    for most in (1, 2, 100):
        numbers = random.integers(0, most, rows).astype(dtype)
        kept = numbers.copy()
        found = distinct(numbers)
        assert found.dtype == dtype
        assert found.tolist() == sorted(set(numbers.tolist())) == np.unique(numbers).tolist()
        assert (numbers == kept).all()


@pytest.mark.parametrize("rows", [0, 1, 2, 500])
@pytest.mark.parametrize("most", [1, 40, 1 << 30], ids=["one", "near", "far apart"])
def test_used_codes_are_those_of_numpy(rows: int, most: int) -> None:
    codes = np.random.default_rng(rows).integers(0, most, rows).astype(np.int32)
    used, places = used_codes(codes)
    expected, inverse = np.unique(codes, return_inverse=True)
    assert used.tolist() == expected.tolist()
    assert places.dtype == np.int32
    assert places.tolist() == inverse.tolist()
