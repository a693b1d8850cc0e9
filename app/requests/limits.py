"""What one worker process may use, and how often it looks after things."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Values of the settings.

    Attributes:
        memory_bytes: how much more address space than at its start the process may use; 0 is no limit.
        timeout_seconds: wall time of one attempt.
        lease_seconds: after so long without a word a request is somebody else's; one whose message died with a worker
            is announced again after as long (a minute at most).
        grace_seconds: how long work may go on after SIGTERM.
        sweep_seconds: how often lost requests are looked for (leases more often).
    """

    memory_bytes: int = 0
    timeout_seconds: float = 600
    lease_seconds: float = 30
    grace_seconds: float = 15
    max_attempts: int = 3
    request_ttl_seconds: int = 7 * 86400
    export_ttl_seconds: int = 86400
    upload_ttl_seconds: int = 86400
    sweep_seconds: float = 60
    housekeeping_seconds: float = 3600


def limit_memory(memory_bytes: int) -> None:
    """Allow this process `memory_bytes` more address space than it has now: libraries reserve much at their start."""
    if memory_bytes <= 0:
        return
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return  # not Linux; RLIMIT_AS is not to be trusted there
    total = pages * resource.getpagesize() + memory_bytes
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        total = min(total, hard)
    resource.setrlimit(resource.RLIMIT_AS, (total, hard))
