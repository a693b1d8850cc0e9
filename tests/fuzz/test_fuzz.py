"""A little of each fuzzer: random changes of sound inputs for a moment. More by `python -m tests.fuzz`."""

from __future__ import annotations

import random
import time

import pytest

from tests.fuzz.targets import TARGETS, mutate

SECONDS = 1.5


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_changed_inputs_are_read_or_refused(name: str) -> None:
    fuzzed, chance = TARGETS[name], random.Random(name)
    seeds = fuzzed.seeds()
    for seed in seeds:
        fuzzed.run(seed)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        data = mutate(chance.choice(seeds), chance)
        try:
            fuzzed.run(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error
