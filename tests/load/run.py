"""Clients of mixed work beside clients that never finish what they began."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.kills.actors import Actor, Broken, Cut
from tests.kills.shapes import Embedded, Shape
from tests.processes import family, resident_mib

N_CLIENTS, N_STALLED, SECONDS = 32, 150, 60.0
SETTINGS = {"ANNOPORT_MAX_QUEUED_PER_USER": "500", "ANNOPORT_HEADER_TIMEOUT_SECONDS": "3600"}
STALLS = (
    b"GET /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    b"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    b"",
)


@dataclass
class Outcome:
    """What a run brought about; times are in seconds, by kind of call."""

    seconds: float = 0.0
    n_calls: int = 0
    n_done: Counter[str] = field(default_factory=Counter)
    n_refused: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)
    mib_before: dict[str, float] = field(default_factory=dict)
    mib_after: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.n_calls} calls in {self.seconds:.0f} s, {len(self.errors)} errors, refused {dict(self.n_refused)}"
        ]
        for kind, taken in sorted(self.times.items()):
            p50, p99, most = np.percentile(taken, [50, 99, 100]) * 1000
            lines.append(f"  {kind:12} {len(taken):6} calls  p50 {p50:6.0f} ms  p99 {p99:6.0f} ms  max {most:6.0f} ms")
        for role, before in sorted(self.mib_before.items()):
            lines.append(f"  {role:12} {before:6.0f} MiB before, {self.mib_after.get(role, 0):6.0f} MiB after")
        lines += [f"  done {dict(self.n_done)}", *(f"  ERROR {error}" for error in self.errors[:10])]
        return "\n".join(lines)


@contextlib.contextmanager
def stalled(port: int, count: int) -> Iterator[None]:
    """Connections that begin a request and send no more."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(STALLS[number % len(STALLS)])
        yield


def put_load(shape: Shape, port: int, seconds: float, n_clients: int, n_stalled: int, root: int) -> Outcome:
    """Let clients work for so long, each on a task of its own."""
    outcome, stop = Outcome(), threading.Event()
    actors = [Actor(shape.url, number) for number in range(n_clients)]
    for actor in actors:
        actor.begin()

    def live(actor: Actor) -> None:
        try:
            while not stop.is_set():
                actor.step()
            actor.finish()
        except (Broken, Cut) as error:
            outcome.errors.append(str(error))

    warm_up(actors[0])
    outcome.mib_before = memory(shape, root)
    for actor in actors:
        actor.seconds.clear()
    with stalled(port, n_stalled):
        threads = [threading.Thread(target=live, args=(actor,)) for actor in actors]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        outcome.seconds = time.monotonic() - began
    time.sleep(1)
    outcome.mib_after = memory(shape, root)
    for actor in actors:
        outcome.n_done += actor.n_done
        outcome.n_refused += actor.n_refused
        outcome.errors += ["a connection was cut"] * actor.n_cut
        for kind, taken in actor.seconds.items():
            outcome.times.setdefault(kind, []).extend(taken)
        actor.close()
    outcome.n_calls = sum(map(len, outcome.times.values()))
    return outcome


def warm_up(actor: Actor) -> None:
    """One of each kind of work, so that every process has loaded what it needs."""
    actor.try_all(("put", "create", "import by form", "import by tus", "export", "stream", "task", "clear"))


def memory(shape: Shape, root: int) -> dict[str, float]:
    """Resident memory by role, the largest of each."""
    roles = {pid: role for role, pid in shape.victims()}
    found: dict[str, float] = {}
    for pid in family(root):
        role = roles.get(pid, "web")
        found[role] = max(found.get(role, 0.0), resident_mib(pid))
    return found


def load_embedded(folder: Path, seconds: float, n_clients: int = N_CLIENTS, n_stalled: int = N_STALLED) -> Outcome:
    """The embedded shape under load."""
    shape = Embedded(folder, settings=SETTINGS)
    try:
        return put_load(shape, shape.port, seconds, n_clients, n_stalled, shape.process.pid)
    finally:
        shape.stop()
