"""Kills at random moments: a handful always, two hundred with `-m long`, a thousand by `python -m tests.kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.actors import Actor
from tests.kills.project_actors import ProjectActor
from tests.kills.run import kill_rounds
from tests.kills.shapes import Embedded


def test_a_few_kills_break_no_promise(tmp_path: Path) -> None:
    outcome = kill_rounds(Embedded(tmp_path), 6, seed=7, actors=[Actor] * 3)
    assert not outcome.broken, outcome
    assert outcome.n_rounds == 6


def test_a_few_power_cuts_leave_projects_whole(tmp_path: Path) -> None:
    outcome = kill_rounds(Embedded(tmp_path), 6, 7, [ProjectActor] * 2, power_cuts=0.7)
    assert not outcome.broken, outcome
    assert outcome.n_rounds == 6


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_power_cuts_leave_projects_whole(tmp_path: Path) -> None:
    outcome = kill_rounds(Embedded(tmp_path), 100, 8, [ProjectActor] * 3, power_cuts=0.5)
    assert not outcome.broken, outcome


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_kills_break_no_promise(tmp_path: Path) -> None:
    outcome = kill_rounds(Embedded(tmp_path), 200, seed=8)
    assert not outcome.broken, outcome
