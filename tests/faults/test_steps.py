"""A process that dies at each named step in turn: the next start resolves it alone, and no promise is broken."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from app.steps import STEPS, die_at, reach
from tests.kills.actors import PATIENCE_SECONDS, Actor
from tests.kills.shapes import Embedded
from tests.kills.store import check_store
from tests.processes import family, runs

ROUND = ("put", "import by form", "import by tus", "export", "task", "clear")
A_FEW = {
    "tus.synced": ("import by tus",),
    "queue.committed": ("import by form",),
    "plan.done": ("import by form",),
    "finish.ready": ("import by form",),
    "results.renamed": ("put", "export"),
}
"""Some steps, and what reaches each of them."""
DEATH_SECONDS = 120.0


def walk(folder: Path, steps: Mapping[str, Sequence[str]]) -> None:
    """One installation and one actor all the way; at each step a process dies, and then all others with it."""
    shape = Embedded(folder, workers=1)
    actor = Actor(shape.url, 5)
    actor.begin()
    for step, calls in steps.items():
        shape.kill()
        shape.change(ANNOPORT_FAIL_POINT=step)
        shape.revive()
        started = family(shape.process.pid)
        actor.patience_seconds = 1.5
        deadline = time.monotonic() + DEATH_SECONDS
        while all(runs(pid) for pid in started):
            assert time.monotonic() < deadline, f"{step} was not reached\n{shape.tail()}"
            actor.try_all(calls)
        shape.kill()
        shape.change(ANNOPORT_FAIL_POINT="")
        shape.revive()
        actor.patience_seconds = PATIENCE_SECONDS
        actor.settle()
    actor.finish()
    actor.close()
    shape.stop()
    assert check_store(shape.open_store()) == []


def test_a_death_at_some_steps_breaks_no_promise(tmp_path: Path) -> None:
    walk(tmp_path, A_FEW)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_death_at_any_step_breaks_no_promise(tmp_path: Path) -> None:
    walk(tmp_path, dict.fromkeys(STEPS, ROUND))


def test_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no step"):
        die_at("nowhere")
    reach(STEPS[0])
    die_at("")
