"""The worker process: one request at a time, under limits, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.requests.queue import Queue
from app.storage import Connection, Request, Result, Storage


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """0 is no limit for memory only."""

    memory_bytes: int = 0
    timeout_seconds: float = 600
    lease_seconds: float = 30
    grace_seconds: float = 15
    max_attempts: int = 3
    import_ttl_seconds: int = 3600
    request_ttl_seconds: int = 7 * 86400
    export_ttl_seconds: int = 86400
    upload_ttl_seconds: int = 86400
    sweep_seconds: float = 60
    housekeeping_seconds: float = 3600


class Context:
    """What a handler gets: its request, and the ways to tell how it goes.

    Attributes:
        request: as it was when this attempt began.
        attempt: 1, 2 or 3; part of every blob key (`result_key`).
        report: set it (`Report.to_dict()`) before an error is raised, and it is kept with the failure.
    """

    request: Request
    storage: Storage
    report: Mapping[str, Any] | None

    @property
    def attempt(self) -> int:
        raise NotImplementedError

    @property
    def options(self) -> Mapping[str, Any]:
        raise NotImplementedError

    @property
    def result_key(self) -> str:
        """Where this attempt's result file goes: `results/<request>/<attempt>`."""
        raise NotImplementedError

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far it is; call it in every loop, it is cheap.

        Raises:
            Cancelled: the work is no longer wanted: clean up and let it pass.
            LimitReached: time is up.
        """
        raise NotImplementedError

    @contextmanager
    def finishing(
        self,
        *,
        message: str = "",
        report: Mapping[str, Any] | None = None,
        result: Result | None = None,
        result_id: int | None = None,
    ) -> Iterator[Connection]:
        """One transaction for the effect and the final status: write the effect through the connection.

            with context.finishing(report=report.to_dict()) as conn:
                annotations.publish(conn, writer.set_id)

        Raises:
            Cancelled: the request was cancelled or taken over; the effect is undone.
        """
        raise NotImplementedError


Handler = Callable[[Context], None]
"""Does the work of one operation type and ends in `context.finishing(…)`. An AppError fails the request with its
detail; a handler that returns without `finishing` finishes without a result."""


def run_worker(
    storage: Storage,
    queue: Queue,
    handlers: Mapping[str, Handler],
    *,
    limits: WorkerLimits | None = None,
    stop: threading.Event | None = None,
    parent_fd: int | None = None,
) -> None:
    """Serve the queue until `stop` is set, SIGTERM or SIGINT comes, or the parent is gone.

    Call it in the main thread of a process of its own (never a fork of one that used the store).

    Args:
        handlers: by `operation.type`.
        parent_fd: read end of a pipe whose write end the parent holds and never writes to; its end is the parent's.
    """
    raise NotImplementedError
