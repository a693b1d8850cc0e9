"""Narrow byte columns beside plain ones."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.columns import NarrowRagged, Ragged, narrow_numbers, steps

ROWS = st.lists(st.binary(max_size=40), max_size=12)


@given(st.lists(ROWS, max_size=4))
def test_a_narrow_column_is_the_plain_one(parts: list[list[bytes]]) -> None:
    plain = Ragged.from_bytes([row for part in parts for row in part])
    narrow = NarrowRagged(Ragged.from_bytes(part) for part in parts)
    n = len(plain)
    assert len(narrow) == n
    assert narrow.dtype == plain.dtype
    assert narrow.values.tobytes() == plain.values.tobytes()
    assert narrow.offsets.tolist() == plain.offsets.tolist()
    assert narrow.lengths.tolist() == plain.lengths.tolist()
    assert narrow.nbytes > 0
    assert [narrow.row_bytes(row) for row in range(n)] == plain.to_bytes_list()
    chosen = np.random.default_rng(n).integers(0, max(n, 1), 5 if n else 0)
    assert narrow.take(chosen).to_bytes_list() == plain.take(chosen).to_bytes_list()
    assert narrow.cells(chosen).ragged().to_bytes_list() == plain.take(chosen).to_bytes_list()
    assert narrow.slice(n // 3, n).to_bytes_list() == plain.slice(n // 3, n).to_bytes_list()
    assert narrow.cells(slice(0, n)).ragged().to_bytes_list() == plain.to_bytes_list()
    assert NarrowRagged.of(narrow) is narrow
    assert NarrowRagged.of(plain).to_bytes_list() == plain.to_bytes_list()
    assert pickle.loads(pickle.dumps(narrow)).to_bytes_list() == plain.to_bytes_list()
    assert Ragged.concatenate([narrow, plain]).to_bytes_list() == 2 * plain.to_bytes_list()


def test_numbers_take_the_bytes_they_need() -> None:
    assert narrow_numbers(np.array([0, 255])).dtype == np.uint8
    assert narrow_numbers(np.array([256], dtype=np.int64)).dtype == np.uint16
    assert narrow_numbers(np.zeros(0, dtype=np.int64)).dtype == np.uint8
    assert narrow_numbers(np.array([2**40])).tolist() == [2**40]


def test_steps_make_up_a_whole() -> None:
    parts = list(steps(200_000))
    assert [row for part in parts for row in (part.start, part.stop)][1:-1:2] == [part.start for part in parts[1:]]
    assert (parts[0].start, parts[-1].stop) == (0, 200_000)
    assert list(steps(0)) == []
