"""Ports for servers that are told where to listen: free when they are asked for, and nobody else's until they listen.

The system's own choice (port 0) is for whoever binds it at once. A port that it chose, that was let go and is bound a
moment later, or again after a kill, may be anybody's by then: the other worker of pytest's, or the near end of any
connection. So these lie below the range from which the system chooses, and each worker has a stretch of its own.
"""

from __future__ import annotations

import itertools
import os
import re
import socket

FIRST, STRETCH, N_STRETCHES = 11_000, 1_100, 8  # above 10080, which browsers refuse; with 10,000 more still below 32768


def _candidates() -> itertools.cycle[int]:
    worker = re.search(r"\d+$", os.environ.get("PYTEST_XDIST_WORKER", ""))
    start = FIRST + (int(worker[0]) if worker else 0) % N_STRETCHES * STRETCH
    begin = os.getpid() % STRETCH  # two runs at once on one machine seldom meet
    return itertools.cycle(start + (begin + step) % STRETCH for step in range(STRETCH))


_next = _candidates()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each given again only after all others were; some servers add 10,000 to theirs."""
    found: list[int] = []
    for port in itertools.islice(_next, STRETCH):
        if all(_is_free(each) for each in (port, port + 10_000)):
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError(f"no {count} free ports")


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
