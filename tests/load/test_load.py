"""A few clients for a moment always; thirty-two for a minute with `-m long`. Times are told, never asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.load.run import SECONDS, load_embedded


def test_clients_beside_stalled_ones_see_no_error(tmp_path: Path) -> None:
    outcome = load_embedded(tmp_path, 4.0, n_clients=6, n_stalled=60)
    assert not outcome.errors, outcome
    assert outcome.n_calls > 10


@pytest.mark.long
def test_many_clients_see_no_error(tmp_path: Path) -> None:
    outcome = load_embedded(tmp_path, SECONDS)
    print(outcome)
    assert not outcome.errors, outcome
