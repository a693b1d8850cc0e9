"""Columns that are read when they are looked at: the same values, read once, and not before."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from app.columns import LazyRagged, LazyTexts, Ragged, Texts


def test_lazy_texts_are_read_once_and_only_when_looked_at() -> None:
    texts = Texts.from_list(["b", "a", "b", "c", "a"])
    reads = []

    def load() -> Texts:
        reads.append(1)
        return texts

    lazy = LazyTexts(load, 5)
    taken = lazy.take(np.array([4, 1, 0, 2])).take(np.array([2, 3])).slice(0, 2)
    part = lazy.slice(1, 4)
    assert (len(lazy), len(taken), len(part), reads) == (5, 2, 3, [])
    assert isinstance(taken, Texts)
    assert taken.to_list() == ["b", "b"]
    assert part.to_list() == ["a", "b", "c"]
    assert (lazy.row(3), lazy.to_list(), lazy.compact().values) == ("c", texts.to_list(), ("b", "a", "c"))
    assert Texts.concatenate([part, taken]).to_list() == ["a", "b", "c", "b", "b"]
    assert reads == [1]


def test_lazy_ragged_columns_are_read_once_and_only_when_looked_at() -> None:
    column = Ragged.from_arrays([[1, 2], [], [3], [4, 5, 6]], np.int32)
    reads = []

    def load() -> Ragged:
        reads.append(1)
        return column

    lazy = LazyRagged(load, 4, np.int32)
    taken = lazy.take(np.array([3, 3, 0])).slice(1, 3)
    assert (len(lazy), len(taken), lazy.dtype, taken.dtype, reads) == (4, 2, np.int32, np.int32, [])
    assert isinstance(taken, Ragged)
    assert taken.lengths.tolist() == [3, 2]
    assert taken._column is None, "lengths copy no value"
    assert [taken.row(row).tolist() for row in range(2)] == [[4, 5, 6], [1, 2]]
    assert lazy.lengths.tolist() == [2, 0, 1, 3]
    assert Ragged.concatenate([lazy.slice(2, 9), taken]).values.tolist() == [3, 4, 5, 6, 4, 5, 6, 1, 2]
    assert lazy.slice(1, 2).row_bytes(0) == b""
    assert reads == [1]


def test_a_column_of_other_length_than_told_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="expected 3 rows, got 2"):
        _ = LazyTexts(lambda: Texts.same("a", 2), 3).codes
    with pytest.raises(ValueError, match="expected 3 rows, got 2"):
        _ = LazyRagged(lambda: Ragged.empty(np.uint8, 2), 3, np.uint8).values


def test_lazy_columns_are_sent_as_what_they_are() -> None:
    texts, column = Texts.from_list(["b", "a", "b"]), Ragged.from_arrays([[1, 2], [], [3]], np.int32)
    lazy = LazyTexts(lambda: texts, 3), LazyRagged(lambda: column, 3, np.int32)
    sent_texts, sent_column = pickle.loads(pickle.dumps(lazy))
    assert sent_texts.to_list() == texts.to_list()
    assert sent_column.values.tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", [LazyTexts, LazyRagged])
def test_a_column_apart_reads_anew_and_once(kind: type) -> None:
    reads: list[int] = []

    def load() -> Any:
        reads.append(0)
        return Texts.from_list("aba") if kind is LazyTexts else Ragged.from_bytes([b"a", b"bc", b""])

    column = LazyTexts(load, 3) if kind is LazyTexts else LazyRagged(load, 3, np.uint8)
    taken = column.take(np.array([2, 0]))
    apart = taken.apart()  # type: ignore[attr-defined]
    later = apart.take(np.array([1]))

    def values(some: Any) -> list[Any]:
        return list(some.to_list() if kind is LazyTexts else some.to_bytes_list())

    whole, both = values(column), values(taken)
    assert len(reads) == 1
    assert values(apart) == both == [whole[2], whole[0]]
    assert values(later) == both[1:]
    assert len(reads) == 2
