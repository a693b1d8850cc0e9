"""The supervisor: children that end are started again, whatever the system refuses meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from app import supervisor
from app.supervisor import Supervisor

WAIT_SECONDS = 60.0


def test_a_child_that_the_system_refuses_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that ended with the refusal would leave the service without workers for ever."""
    real, children, left = subprocess.Popen, [], 0

    def start(command: list[str], **named: Any) -> Any:
        nonlocal left
        if left > 0:
            left -= 1
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        children.append(real(["sleep", "600"], **named))
        return children[-1]

    monkeypatch.setattr(supervisor, "RESTART_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(subprocess, "Popen", start)
    watching = Supervisor(5)
    watching.add(["worker"])
    watching.start()
    left = 2
    os.kill(children[0].pid, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS
    while len(children) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    watching.stop()
    assert len(children) == 2
    assert left == 0
    assert children[1].poll() is not None
