"""Columns of whole numbers are the columns of their doubles, whatever is done to them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from app.columns import LazyRagged, Ragged, WholeRagged, as_doubles, held_values
from tests.columns.test_packed import rows_of, same


def columns(seed: int, rows: int, whole_share: float = 0.6) -> tuple[Ragged, Ragged]:
    """A column, and the same of doubles alone."""
    random = np.random.default_rng(seed)
    cells = [random.integers(-32767, 32768, random.integers(0, 5)).tolist() for _ in range(rows)]
    is_whole = random.random(rows) < whole_share
    whole = [cell if one else [] for cell, one in zip(cells, is_whole, strict=True)]
    plain = [[] if one else [number / 4 for number in cell] for cell, one in zip(cells, is_whole, strict=True)]
    both = [some or others for some, others in zip(whole, plain, strict=True)]
    column = WholeRagged(Ragged.from_arrays(whole, np.int16), Ragged.from_arrays(plain, np.float64))
    return column, Ragged.from_arrays(both, np.float64)


@pytest.mark.parametrize("rows", [0, 1, 2, 30])
def test_whole_columns_are_like_their_doubles(rows: int) -> None:
    random = np.random.default_rng(rows)
    for seed in range(10):
        whole, plain = columns(seed, rows)
        assert whole.offsets.tolist() == plain.offsets.tolist()
        assert whole._column is None, "no doubles are made to tell where rows begin"
        assert same(whole, plain)
        indices = random.integers(0, max(rows, 1), 7 if rows else 0)
        assert same(whole.take(indices), plain.take(indices))
        assert same(whole.slice(rows // 3, rows - rows // 4), plain.slice(rows // 3, rows - rows // 4))
        assert same(Ragged.concatenate([plain, whole, whole]), Ragged.concatenate([plain, plain, plain]))
        assert same(pickle.loads(pickle.dumps(whole)), plain)
        assert type(pickle.loads(pickle.dumps(whole))) is type(whole)
        lazy = LazyRagged(lambda column=whole: column, rows, np.float64).take(indices)
        assert same(lazy, plain.take(indices))
        for most in (1, 4, 1000):
            pieces = list(whole.pieces(most))
            assert [row for piece in pieces for row in rows_of(piece)] == rows_of(plain)
            assert all(len(piece.values) <= max(most, 4) for piece in pieces)


def test_values_are_given_as_they_are_held() -> None:
    whole, plain = columns(1, 20, whole_share=1)
    assert held_values(whole).dtype == np.int16
    assert held_values(LazyRagged(lambda: whole, 20, np.float64)).tolist() == plain.values.tolist()
    mixed, plain = columns(1, 20)
    assert (held_values(mixed).dtype, held_values(mixed).tolist()) == (np.float64, plain.values.tolist())
    assert held_values(plain) is plain.values


@pytest.mark.parametrize(("largest", "is_whole"), [(7, True), (-32767, True), (32768, False), (-32768, False)])
def test_integers_become_doubles_held_in_16_bits_where_they_fit(largest: int, is_whole: bool) -> None:
    rows = [[1, 2, largest], [], [-3]]
    found = as_doubles(Ragged.from_arrays(rows, np.int32))
    assert isinstance(found, WholeRagged) == is_whole
    assert same(found, Ragged.from_arrays(rows, np.float64))
    assert same(as_doubles(Ragged.empty(np.int32, 2)), Ragged.empty(np.float64, 2))


def test_halves_of_unlike_length_are_no_column() -> None:
    with pytest.raises(ValueError, match="expected 2, got 1"):
        WholeRagged(Ragged.empty(np.int16, 1), Ragged.empty(np.float64, 2))
