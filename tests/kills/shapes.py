"""Installations whose processes are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx

from app.storage import Storage, open_storage
from tests.ports import free_port
from tests.processes import family, look, runs
from tests.service import COMMAND

START_SECONDS = 180.0
SETTINGS = {"ANNOPORT_LEASE_SECONDS": "5", "ANNOPORT_SWEEP_SECONDS": "1", "ANNOPORT_REQUEST_HOLD_SECONDS": "1"}
"""Lost work is taken up again after seconds, so that a run takes minutes."""


ROLES = {
    "worker": "worker",
    "child-stream": "child-stream",
    "child-web": "child-web",
    "helper": "-c from app.helpers",
}
"""What a child is → what its command has."""


class Shape(Protocol):
    """One installation, running."""

    def url(self) -> str:
        """Where actors find it; it may be down for a moment."""

    def victims(self) -> list[tuple[str, int]]:
        """(role, process id) of all that may be killed now."""

    def kill(self) -> None:
        """All processes at once, as a power cut does."""

    def revive(self) -> None:
        """Start again what does not start again by itself, and wait until it answers."""

    def stop(self) -> None:
        """End everything in order."""

    def open_store(self) -> Storage:
        """The store, after `stop`."""


class Embedded:
    """`annoport serve`: one web process, which is the supervisor too, or a supervisor of several; and its children."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        webs: int = 1,
        settings: dict[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        self.log = log or folder / "service.log"
        self.port = free_port()
        self.restarts: list[float] = []
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", **SETTINGS, **(settings or {})}
        self._command = [
            *(*COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--data-dir", str(folder / "data"), "--workers", str(workers)),
            *("--web-processes", str(webs)),
        ]
        self.process = self._start()

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ
            )
        try:
            wait_for(self.url, lambda: process.poll() is not None)
        except AssertionError as error:
            process.kill()
            raise AssertionError(f"{error}\n{self.tail()}") from None
        self.restarts.append(time.monotonic() - began)
        return process

    def victims(self) -> list[tuple[str, int]]:
        found = []
        for pid in family(self.process.pid):
            use = look(pid)
            if use is not None:
                role = next((role for role in ROLES if f" {ROLES[role]}" in use.command), "web")
                found.append((role, pid))
        return found

    def revive(self) -> None:
        if runs(self.process.pid):
            return
        self.process.wait()  # its threads may outlive it by a moment, and only then it can be reaped
        self.process = self._start()

    def change(self, **settings: str) -> None:
        """Settings for the next start."""
        self._environ.update(settings)

    def kill(self) -> None:
        """All processes at once, as a power cut does."""
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(START_SECONDS) == 0, self.tail()

    def open_store(self) -> Storage:
        return open_storage("", "", self.folder / "data", min_free_bytes=0)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def wait_for(url: Callable[[], str], is_dead: Callable[[], bool] = lambda: False) -> None:
    """Wait until the service answers."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=5) as http:
        while time.monotonic() < deadline:
            assert not is_dead(), "the service ended while it was starting"
            with contextlib.suppress(httpx.TransportError):
                if http.get(url() + "/health/live").status_code == 200:
                    return
            time.sleep(0.03)
    raise AssertionError(f"no answer at {url()} for {START_SECONDS:.0f} s")
