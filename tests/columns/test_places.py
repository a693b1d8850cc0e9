"""Places of hashes, beside the binary search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.columns import HashPlaces

HASHES = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 2, 2**64 - 1]), st.integers(0, 99))


def check(known: list[int], asked: list[int]) -> None:
    hashes, wanted = np.array(sorted(known), dtype=np.uint64), np.array(asked, dtype=np.uint64)
    found, places = HashPlaces(hashes).find(wanted)
    known_ones = set(known)
    assert found.tolist() == [value in known_ones for value in asked]
    expected = np.searchsorted(hashes, wanted)
    assert places[found].tolist() == expected[found].tolist()
    assert not len(known) or (places.min(initial=0) >= 0 and places.max(initial=0) < len(known))
    upper, wanted_upper = (hashes >> np.uint64(32)).astype(np.uint32), (wanted >> np.uint64(32)).astype(np.uint32)
    found, places = HashPlaces(upper).find(wanted_upper)
    assert found.tolist() == np.isin(wanted_upper, upper).tolist()
    assert places[found].tolist() == np.searchsorted(upper, wanted_upper)[found].tolist()


@given(st.lists(HASHES, max_size=30), st.lists(HASHES, max_size=30))
def test_places_are_those_of_the_binary_search(known: list[int], others: list[int]) -> None:
    check(known, [*known, *others])


@pytest.mark.parametrize("n", [1, 1000, 50_000, 70_000])
@pytest.mark.parametrize("spread", ["even", "crowded"])
def test_many_hashes_are_found(n: int, spread: str) -> None:
    random = np.random.default_rng(n)
    highest = 2**64 - 1 if spread == "even" else 2**20
    known = random.integers(0, highest, n, dtype=np.uint64).tolist()
    check(known, [*known, *random.integers(0, highest, 1000, dtype=np.uint64).tolist()])
