"""JSON that is held takes what it is long."""

from __future__ import annotations

import tracemalloc

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.columns import dump_texts, dump_tight


@given(st.lists(st.text()))
def test_the_json_of_texts_is_that_of_each(texts: list[str]) -> None:
    try:
        expected = [orjson.dumps(text) for text in texts]
    except TypeError:  # half a surrogate pair
        with pytest.raises(TypeError):
            dump_texts(texts)
        return
    assert dump_texts(texts) == dump_texts(tuple(texts)) == expected


def test_many_short_ones_take_little() -> None:
    n, values = 10_000, {"spec_id": 1, "value": "left"}
    tracemalloc.start()
    try:
        held = [dump_tight(values) for _ in range(n)]
        named = dump_texts([f"name {number}" for number in range(n)])
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(held), len(named)) == (n, n)
    assert now < 300 * n


def test_options_are_those_of_orjson() -> None:
    numbers = np.arange(3.0)
    assert dump_tight(numbers, option=orjson.OPT_SERIALIZE_NUMPY) == b"[0.0,1.0,2.0]"
    assert dump_tight({1}, default=lambda value: sorted(value)) == b"[1]"
