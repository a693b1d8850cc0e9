"""Whether any worker of a data folder lives: each holds a lock on one file for its life, which the kernel takes back.

A lease outlives its worker by a minute, for nobody can see from afar whether a machine is dead or slow. On one machine
the kernel knows: where no worker lives, all leases are over, and after a crash work goes on with the start.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LOCK_FILE = "workers.lock"


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """This worker lives until the end of the block, or of the process."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context((folder / LOCK_FILE).open("ab"))
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:  # a full disk, one without locks; at worst work of this worker is taken for lost
            log.warning("the lock of workers cannot be had", reason=str(error))
        yield


@contextmanager
def if_none_lives(folder: Path) -> Iterator[bool]:
    """Whether no worker lives; none begins within the block then."""
    try:
        file = (folder / LOCK_FILE).open("ab")
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
