"""Columns of packed rows are the columns of their values, whatever is done to them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from app.columns import PackedRagged, Ragged


def unpack(row: np.ndarray) -> np.ndarray:
    """A packed row is the sum of its bytes, so many times."""
    return np.full(int(row.sum()), len(row), dtype=np.int32)


def columns(seed: int, rows: int) -> tuple[PackedRagged, Ragged]:
    """A column, and the same with nothing packed."""
    random = np.random.default_rng(seed)
    cells = [random.integers(0, 3, random.integers(0, 5)).astype(np.uint8) for _ in range(rows)]
    values = [[] if len(cell) else random.integers(0, 9, random.integers(0, 4)).tolist() for cell in cells]
    packed = PackedRagged(Ragged.from_arrays(cells, np.uint8), Ragged.from_arrays(values, np.int32), unpack)
    plain = [unpack(cell) if len(cell) else value for cell, value in zip(cells, values, strict=True)]
    return packed, Ragged.from_arrays(plain, np.int32)


def rows_of(column: Ragged) -> list[list[int]]:
    return [column.row(index).tolist() for index in range(len(column))]


def same(one: Ragged, other: Ragged) -> bool:
    return (
        one.values.tolist() == other.values.tolist()
        and one.offsets.tolist() == other.offsets.tolist()
        and rows_of(one) == rows_of(other)
        and (len(one), one.dtype, one.lengths.tolist()) == (len(other), other.dtype, other.lengths.tolist())
    )


@pytest.mark.parametrize("rows", [0, 1, 2, 30])
def test_packed_columns_are_like_their_values(rows: int) -> None:
    random = np.random.default_rng(rows)
    for seed in range(10):
        packed, plain = columns(seed, rows)
        assert same(packed, plain)
        indices = random.integers(0, max(rows, 1), 7 if rows else 0)
        assert same(packed.take(indices), plain.take(indices))
        assert same(packed.slice(rows // 3, rows - rows // 4), plain.slice(rows // 3, rows - rows // 4))
        assert same(Ragged.concatenate([packed, plain, packed]), Ragged.concatenate([plain, plain, plain]))
        again = pickle.loads(pickle.dumps(packed))
        assert isinstance(again, PackedRagged)
        assert same(again, plain)
        assert same(Ragged.concatenate([plain, packed]), Ragged.concatenate([plain, plain]))


@pytest.mark.parametrize("most", [1, 4, 1000])
def test_pieces_are_all_rows_in_order_and_small(most: int) -> None:
    for seed in range(20):
        for column in columns(seed, seed):
            pieces = list(column.pieces(most))
            assert [row for piece in pieces for row in rows_of(piece)] == rows_of(column)
            assert all(len(piece.values) <= most or len(piece) == 1 for piece in pieces)
            assert not any(isinstance(piece, PackedRagged) for piece in pieces)


def test_nothing_is_unpacked_before_somebody_looks() -> None:
    def never(row: np.ndarray) -> np.ndarray:
        raise AssertionError("unpacked")

    cells = Ragged.from_bytes([b"ab", b"", b"c"])
    column = PackedRagged(cells, Ragged.from_arrays([[], [7], []], np.int32), never)
    joined = Ragged.concatenate([column, column.take(np.array([1, 2])), Ragged.empty(np.int32, 2)])
    part = joined.slice(2, 6)
    assert isinstance(part, PackedRagged)
    assert (len(part), part.dtype, part.packed.to_bytes_list()) == (4, np.int32, [b"c", b"", b"c", b""])
    assert part.nbytes > 2
    assert part.row(1).tolist() == [7]
    assert not isinstance(part.slice(1, 2), PackedRagged)  # nothing in it is packed
    with pytest.raises(AssertionError, match="unpacked"):
        part.row(0)


def test_a_column_of_other_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2"):
        PackedRagged(Ragged.from_bytes([b"a"]), Ragged.empty(np.int32, 2), unpack)
