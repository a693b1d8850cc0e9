"""The processes behind the web."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from app import background
from app.operations import CountingSink
from tests.processes import family
from tests.service import Service


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


def test_nobody_loads_the_server_engine_who_has_a_file() -> None:
    code = (
        "import sys, app.main; print([name for name in ('sqlalchemy.dialects.postgresql', 'psycopg.pq') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_workers_step_back_for_answers_within_one_session(service: Service) -> None:
    """Linux shares the cores among sessions first: niceness counts only where both are in one."""
    parent = service.process.pid
    others = [pid for pid in family(parent) if pid != parent]
    ours = os.getpriority(os.PRIO_PROCESS, 0)  # whoever runs the tests may have stepped back, too
    theirs = min(ours + 5, 19)
    deadline = time.monotonic() + 30  # a worker that has just begun is loading its modules
    while (
        theirs not in (nice := {os.getpriority(os.PRIO_PROCESS, pid) for pid in others}) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert {theirs} <= nice <= {ours, theirs}
    assert {os.getsid(pid) for pid in others} == {os.getsid(parent)}
