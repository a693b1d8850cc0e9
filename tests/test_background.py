"""The processes behind the web."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app import background
from app.operations import CountingSink


def test_a_worker_warms_up_on_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the small archive is refused, so it walks all the way."""
    sinks: list[CountingSink] = []

    def sink() -> CountingSink:
        sinks.append(CountingSink())
        return sinks[-1]

    monkeypatch.setattr(background, "CountingSink", sink)
    background.warm_up()
    counts = {"shapes": 2, "tags": 1, "images": 1}
    assert [{kind: n for kind, n in one.close().items() if n} for one in sinks] == [counts, counts]


def test_workers_do_not_know_the_edge() -> None:
    code = (
        "import sys, app.background; print([name for name in ('fastapi', 'uvicorn', 'app.api') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
