from __future__ import annotations

import numpy as np
import pytest

from app.columns import distinct


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
