"""Starts child processes, starts them again when they die, and ends them with the parent.

A child learns of its parent's death by the end of an inherited pipe (`--parent-fd`), so that kill -9 of the parent
leaves no orphan. Children are always spawned, never forked: forking after threads or native clients were started hangs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import structlog

log = structlog.get_logger(__name__)

RESTART_PAUSE_SECONDS = 1.0


class Supervisor:
    """Keeps `count` copies of each added command running until `stop`."""

    def __init__(self, stop_timeout_seconds: float) -> None:
        self._stop_timeout_seconds = stop_timeout_seconds
        self._read_end, self._write_end = os.pipe()
        self._children: list[tuple[list[str], tuple[int, ...], subprocess.Popen[bytes]]] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def add(self, arguments: Sequence[str], count: int = 1, pass_fds: tuple[int, ...] = ()) -> None:
        """Start `count` children running `annoport <arguments>`."""
        command = [sys.executable, "-m", "app.cli", *arguments, "--parent-fd", str(self._read_end)]
        fds = (self._read_end, *pass_fds)
        for _ in range(count):
            self._children.append((command, fds, self._spawn(command, fds)))

    def start(self) -> None:
        self._watcher.start()

    def _spawn(self, command: list[str], fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        # A group of their own: a terminal's Ctrl-C is for the parent, who tells them to stop, in order. But the
        # parent's session: Linux shares cores among sessions first, and niceness counts only within one.
        return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, process_group=0)

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            with self._lock:
                for index, (command, fds, child) in enumerate(self._children):
                    code = child.poll()
                    if code is None or self._stopping.is_set():
                        continue
                    log.warning("a child process ended; starting it again", pid=child.pid, exit_code=code)
                    time.sleep(RESTART_PAUSE_SECONDS)
                    try:
                        self._children[index] = (command, fds, self._spawn(command, fds))
                    except OSError as error:  # no process, no memory, no handles: there may be in a while
                        log.warning("no child process could be started; trying again", reason=str(error))

    def stop(self) -> None:
        """SIGTERM to all, up to the stop timeout to end, then SIGKILL: what was cut resumes by its lease."""
        self._stopping.set()
        with self._lock:
            for _, _, child in self._children:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + self._stop_timeout_seconds
            for _, _, child in self._children:
                try:
                    child.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def exit_with_parent(parent_fd: int, on_end: threading.Event | None = None) -> None:
    """Watch the inherited pipe: when the parent dies, set `on_end` or, without one, end this process at once."""

    def watch() -> None:
        # os.read, not a buffered reader: a daemon thread in one aborts the interpreter at exit.
        while os.read(parent_fd, 1):
            pass
        if on_end is not None:
            on_end.set()
        else:
            os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
