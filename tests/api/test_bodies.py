"""JSON bodies: depth and strictness."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from app.api.bodies import announced_length, nesting, parse_json
from app.errors import InvalidInput


def slow_nesting(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((slow_nesting(one) for one in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((slow_nesting(one) for one in value), default=0)
    return 0


def random_value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(5 if depth else 3)
    if kind == 0:
        return rng.choice(["", "[", '"', "\\", '\\"[{', "]}", 'a"b', "\\\\", "é["])
    if kind == 1:
        return rng.choice([0, -1.5, True, None])
    if kind == 2:
        return rng.choice([[], {}])
    if kind == 3:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["[", '"{', "k", "\\"]): random_value(rng, depth - 1) for _ in range(rng.randrange(4))}


def test_nesting_equals_that_of_the_parsed_value() -> None:
    rng = random.Random(5)
    for _ in range(500):
        value = random_value(rng, 6)
        assert nesting(json.dumps(value).encode()) == slow_nesting(value)


@pytest.mark.parametrize(("depth", "fits"), [(64, True), (65, False), (100_000, False)])
def test_depth_is_bounded_before_parsing(depth: int, fits: bool) -> None:
    text = b"[" * depth + b"]" * depth
    if fits:
        assert parse_json(text, 64) is not None
    else:
        with pytest.raises(InvalidInput, match="deeper than 64"):
            parse_json(text, 64)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(parse_json(b"[" + b",".join([b"{}"] * 1000) + b"]", 4)) == 1000


@pytest.mark.parametrize(
    "text", [b"{", b"NaN", b"[Infinity]", b"[1e999]x", b'"\\ud800"', b"\xff", b"{'a': 1}", b"[1,]", b'["' * 70]
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_json(text, 64)


def test_unclosed_string_of_many_quotes_is_quick() -> None:
    # The pattern for strings is possessive: nothing to go back to.
    with pytest.raises(InvalidInput):
        parse_json(b"[" * 100 + b'"' + b"\\" * 2_000_001, 64)


def test_an_announced_length_of_any_digits_is_read() -> None:
    assert [announced_length(text) for text in ("0", "12", "0" * 6000, "0" * 6000 + "12")] == [0, 12, 0, 12]
    assert announced_length("9" * 6000) > 1 << 60
    for text in ("", "-1", "+1", "1.0", "x", "²", "1 "):
        with pytest.raises(InvalidInput):
            announced_length(text)
