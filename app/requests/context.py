"""What a handler gets: its request, and the ways to tell how it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from app.errors import Busy, Cancelled, LimitReached, NoSpace
from app.requests.limits import WorkerLimits
from app.steps import reach
from app.storage import Connection, Request, Result, Storage, requests

log = structlog.get_logger(__name__)

PROGRESS_STEP_SECONDS = 0.5  # each report is a transaction


class Stopped(Cancelled):
    """This worker must end; the request goes back to the queue."""


class Context:
    """One attempt at a request.

    Attributes:
        request: as it was when this attempt began.
        storage: the open store.
        report: set it (`Report.to_dict()`) before an error is raised, and it is kept with the failure; or within
            `finishing`, where the effect itself tells what there is to report.
        message: likewise, what the finished request says of itself.
        is_finished: whether `finishing` has committed.
    """

    def __init__(self, request: Request, storage: Storage, limits: WorkerLimits, stop: threading.Event) -> None:
        self.request = request
        self.storage = storage
        self.report: Mapping[str, Any] | None = None
        self.message = ""
        self.is_finished = False
        self._limits = limits
        self._stop = stop
        self._began = time.monotonic()
        self._stop_seen: float | None = None
        self._last_beat = self._began
        self._is_lost = False

    @property
    def attempt(self) -> int:
        """1, 2 or 3; part of every blob key (`result_key`)."""
        return self.request.attempt

    @property
    def request_id(self) -> str:
        return self.request.id

    @property
    def options(self) -> Mapping[str, Any]:
        return self.request.options

    @property
    def result_key(self) -> str:
        """Where this attempt's result file goes: `results/<request>/<attempt>`."""
        return f"results/{self.request.id}/{self.attempt}"

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far it is; call it in every loop, it is cheap (a transaction twice a second at most).

        Raises:
            Cancelled: the work is no longer wanted: clean up and let it pass.
            LimitReached: time is up.
        """
        self.check()
        if time.monotonic() - self._last_beat >= PROGRESS_STEP_SECONDS:
            self.beat(fraction, message)

    def check(self) -> None:
        """Raises what `progress` raises, without telling anything."""
        if self._is_lost:
            raise Cancelled("the request was cancelled or taken over")
        if self.seconds_over_time() > 0:
            seconds = round(self._limits.timeout_seconds)
            raise LimitReached(f"the work took longer than the allowed {seconds} seconds")
        if self.seconds_since_stop() > self._limits.grace_seconds / 2:
            raise Stopped("the worker is shutting down")

    def seconds_over_time(self) -> float:
        """How long the allowed time has been over; negative before that. By the monotonic clock."""
        return time.monotonic() - self._began - self._limits.timeout_seconds

    def seconds_since_stop(self) -> float:
        """How long ago the worker was told to stop; 0 where it was not."""
        if not self._stop.is_set():
            return 0.0
        if self._stop_seen is None:
            self._stop_seen = time.monotonic()
        return time.monotonic() - self._stop_seen

    def seconds_since_beat(self) -> float:
        return time.monotonic() - self._last_beat

    def beat(self, fraction: float | None, message: str = "") -> None:
        """Extend the lease. A store that cannot be written for a moment is no reason to end. Raises Cancelled."""
        self._last_beat = time.monotonic()
        try:
            # Not synced: with the power the attempt is gone, too. A sync would wait for all that an import has written.
            with self.storage.database.bulk_write() as conn:
                requests.beat(
                    conn,
                    self.request.id,
                    self.attempt,
                    lease_seconds=self._limits.lease_seconds,
                    progress=fraction,
                    message=message,
                )
        except Cancelled:
            self._is_lost = True
            raise
        except (Busy, NoSpace) as error:
            log.warning("progress could not be written", rq_id=self.request.id, reason=error.detail)

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
        if self._is_lost:
            raise Cancelled("the request was cancelled or taken over")
        stay = self._limits.export_ttl_seconds if result is not None else self._limits.request_ttl_seconds
        with self.storage.database.write() as conn:
            # First of all, so that nobody cancels between the effect and the end.
            requests.beat(conn, self.request.id, self.attempt, lease_seconds=self._limits.lease_seconds, progress=None)
            reach("finish.begun")
            yield conn
            requests.finish(
                conn,
                self.request.id,
                self.attempt,
                message=message or self.message,
                report=self.report if report is None else report,
                result=result,
                result_id=result_id,
                ttl_seconds=stay,
            )
            reach("finish.ready")
        reach("finish.committed")
        self.is_finished = True
