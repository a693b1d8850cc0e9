"""The real service, as a user starts it: a process of its own, a fresh data folder, a free port."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.main import add_user
from app.settings import Settings
from tests import passwords
from tests.processes import family, runs

COMMAND = (sys.executable, "-m", "app.cli")
ADMIN, PASSWORD = "admin", "correct horse battery"

START_SECONDS = 180.0
STOP_SECONDS = 60.0
REAP_SECONDS = 20.0

ADDRESS = re.compile(r"https?://(?:127\.0\.0\.1|localhost):(\d+)")


class Running(Protocol):
    """What clients and callers need to know of a service, whatever its shape."""

    @property
    def url(self) -> str: ...

    @property
    def auth_mode(self) -> str: ...

    def tail(self, lines: int = 40) -> str:
        """The end of what it printed, for messages."""


@dataclass
class Service:
    """A running service.

    Attributes:
        url: its address as clients use it, without a slash at the end.
        log: everything it printed.
    """

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path
    auth_mode: str

    def stop(self) -> int:
        """SIGTERM, and the exit code; whatever outlives it is ended and reported as a failure."""
        started = family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _end(started)
            self.process.wait()
            raise AssertionError(f"no end {STOP_SECONDS:.0f} s after SIGTERM\n{self.tail()}") from None
        # The children of a process that ended are the init process's: ask by id, with a moment for the kernel to reap.
        deadline = time.monotonic() + REAP_SECONDS
        while (left := [pid for pid in started if runs(pid)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        if left:
            _end(left)
            raise AssertionError(f"processes {left} outlived the service\n{self.tail()}")
        return code

    def tail(self, lines: int = 40) -> str:
        """The end of what it printed, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def annoport(*arguments: str, environ: dict[str, str] | None = None, timeout: float = 180) -> str:
    """Run one command of the service's command line; answers what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, env={**os.environ, **(environ or {})}
    )
    if done.returncode:
        raise AssertionError(f"annoport {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def running_service(
    folder: Path,
    *,
    auth_mode: str = "users",
    arguments: Sequence[str] = (),
    environ: dict[str, str] | None = None,
) -> Iterator[Service]:
    """Start the service with its data in `folder`, wait until it answers, stop it at the end.

    In mode `users` the user ADMIN with PASSWORD is there (an administrator).
    """
    service = start_service(folder, auth_mode=auth_mode, arguments=arguments, environ=environ)
    try:
        yield service
    finally:
        code = service.stop()
    assert code == 0, f"the service ended with {code}\n{service.tail()}"


def start_service(
    folder: Path,
    *,
    auth_mode: str = "users",
    arguments: Sequence[str] = (),
    environ: dict[str, str] | None = None,
) -> Service:
    folder.mkdir(parents=True, exist_ok=True)
    data_dir, log = folder / "data", folder / "service.log"
    environment = {**os.environ, "ANNOPORT_AUTH_MODE": auth_mode, "PYTHONUNBUFFERED": "1", **(environ or {})}
    if auth_mode == "users":
        # As `annoport user add` does, whose process would take longer to start than all the rest.
        with passwords.of_the_product():
            add_user(Settings(data_dir=data_dir), ADMIN, PASSWORD, True, "")
    command = [*COMMAND, "serve", "--host", "127.0.0.1", "--port", "0", "--data-dir", str(data_dir), *arguments]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment
        )
    service = Service(process, "", data_dir, log, auth_mode)
    try:
        service.url = _wait(service)
    except BaseException:
        _end(family(process.pid))
        process.wait()
        raise
    return service


def _wait(service: Service) -> str:
    """The printed address, once the service answers there."""
    deadline = time.monotonic() + START_SECONDS
    url = ""
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise AssertionError(f"the service ended with {service.process.returncode}\n{service.tail()}")
        if not url:
            said = service.log.read_text(errors="replace")
            found = ADDRESS.search(said, max(0, said.find("  here    ")))  # behind a proxy the first line tells its own
            url = found.group(0) if found and found.group(1) != "0" else ""
        if url:
            try:
                with urllib.request.urlopen(f"{url}/api/server/about", timeout=5):
                    return url
            except (urllib.error.URLError, OSError):
                pass
        time.sleep(0.05)
    raise AssertionError(
        f"no answer within {START_SECONDS:.0f} s at {url or 'an address it never printed'}\n{service.tail()}"
    )


def _end(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
