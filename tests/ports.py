"""Ports for servers that are told where to listen: free when they are asked for, and nobody else's until they listen.

The system's own choice (port 0) is for whoever binds it at once. A port that it chose, that was let go and is bound a
moment later, or again after a kill, may be anybody's by then: of another test process, or the near end of any
connection. So these lie below the range from which the system chooses, and each is marked as taken by a test process as
long as that lives: by a name that the kernel gives to one only (an abstract socket of Linux).
"""

from __future__ import annotations

import itertools
import os
import socket
import sys

FIRST, COUNT = 11_000, 8_800  # above 10080, which browsers refuse; with 10,000 more, as some servers add, below 32768

_next = itertools.cycle(FIRST + (os.getpid() * 37 + step) % COUNT for step in range(COUNT))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on and no other test process was given; some servers add 10,000 to theirs."""
    found: list[int] = []
    for port in itertools.islice(_next, COUNT):
        if all(_is_free(each) for each in (port, port + 10_000)) and _take(port):
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


def _take(port: int) -> bool:
    if sys.platform != "linux":
        return True
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0annoport-tests-port-{port}")
    except OSError:
        mark.close()
        return False
    mark.detach()  # it stays open, and ends with this process
    return True
