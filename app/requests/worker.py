"""The worker process: one request at a time, under limits, until it is told to stop.

The handler runs in the main thread. A second thread, the monitor, keeps the lease alive while a long step makes no
progress report, and ends the process when the handler does not react: to the end of its time, or to SIGTERM. It never
throws anything into the handler; a handler that ends in the middle of a transaction would leave it open.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from app.errors import AppError, Busy, Cancelled, ImportProblems, LimitReached, NoSpace, Problem, shortage_of
from app.heap import give_back, resident_bytes
from app.requests.context import Context, Stopped
from app.requests.limits import WorkerLimits, limit_memory
from app.requests.queue import Queue
from app.requests.sweep import sweep
from app.steps import reach
from app.storage import Connection, Storage, housekeeping, requests

log = structlog.get_logger(__name__)

Handler = Callable[[Context], None]
"""Does the work of one operation type and ends in `context.finishing(…)`. An AppError fails the request with its
detail; a handler that returns without `finishing` finishes without a result."""

POLL_SECONDS = 0.025  # half of it is the mean wait of a request where the queue does not wake its receivers
MONITOR_SECONDS = 0.5
UNRESPONSIVE_SECONDS = 30  # a handler that has not seen the end of its time by then never will
ORPHAN_SECONDS = 600  # beyond the wall time of work, which makes blobs and sets before it says what they are
CLOCK_STEP_SECONDS = 5.0  # more than a clock that is steered is off between two sweeps
PROBLEMS_IN_MESSAGE = 3
FAIL_TRIES = 10
EXIT_CODE = 70  # EX_SOFTWARE: the supervisor starts another one


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
    limits = limits or WorkerLimits()
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    if parent_fd is not None:
        threading.Thread(target=_watch_parent, args=(parent_fd, stop), name="parent", daemon=True).start()
    limit_memory(limits.memory_bytes)
    log.info("worker started", pid=os.getpid())
    chores = _Chores(storage, queue, limits)
    while not stop.is_set():
        chores.run()
        try:
            request_id = queue.receive()
        except Busy as error:
            log.warning("the queue cannot be read", reason=error.detail)
            stop.wait(1)
            continue
        except Exception:
            log.exception("the queue cannot be read")
            stop.wait(1)
            continue
        if request_id is None:
            stop.wait(POLL_SECONDS)
        else:
            run_request(storage, handlers, request_id, limits, stop)
    queue.close()  # the connection that waits belongs to this thread
    log.info("worker ended", pid=os.getpid())


def _watch_parent(parent_fd: int, stop: threading.Event) -> None:
    try:
        os.read(parent_fd, 1)  # not buffered: a daemon thread inside a buffered read aborts the interpreter's exit
    except OSError:
        log.warning("the pipe from the parent is broken")
    stop.set()


class _Chores:
    """Sweeps between two requests.

    Leases, sets and blobs have dates. Where the clock was set (or the machine slept), those of work that goes on are as
    much too old; so nothing is judged by its date until whoever lives has dated it anew.
    """

    def __init__(self, storage: Storage, queue: Queue, limits: WorkerLimits) -> None:
        self._storage = storage
        self._queue = queue
        self._limits = limits
        self._next_sweep = 0.0
        self._next_housekeeping = time.monotonic() + 1  # the first request after a start does not wait for it
        self._has_swept = False
        self._orphan_age_seconds = ORPHAN_SECONDS + round(limits.timeout_seconds)
        self._clock_ahead = time.time() - time.monotonic()

    def run(self) -> None:
        moment = time.monotonic()
        ahead = time.time() - moment
        if abs(ahead - self._clock_ahead) > CLOCK_STEP_SECONDS:
            log.warning("the clock was set", seconds=round(ahead - self._clock_ahead))
            self._next_sweep = max(self._next_sweep, moment + self._limits.lease_seconds)
            self._next_housekeeping = max(self._next_housekeeping, moment + self._orphan_age_seconds)
        self._clock_ahead = ahead
        try:
            if moment >= self._next_sweep:
                self._next_sweep = moment + min(self._limits.sweep_seconds, self._limits.lease_seconds / 3)
                sweep(
                    self._storage,
                    self._queue,
                    max_attempts=self._limits.max_attempts,
                    request_ttl_seconds=self._limits.request_ttl_seconds,
                    lost_after_seconds=self._limits.lease_seconds,
                )
                housekeeping.collect(self._storage)
            if moment >= self._next_housekeeping:
                # Every worker at its start; later one of them for all.
                pause_seconds = self._limits.housekeeping_seconds * 0.9 if self._has_swept else 0
                self._next_housekeeping = moment + self._limits.housekeeping_seconds
                self._has_swept = True
                if not housekeeping.take_turn(self._storage, pause_seconds):
                    return
                swept = housekeeping.sweep(
                    self._storage,
                    upload_ttl_seconds=self._limits.upload_ttl_seconds,
                    orphan_age_seconds=self._orphan_age_seconds,
                )
                log.info("housekeeping done", removed=repr(swept))
        except (Busy, NoSpace) as error:
            log.warning("a sweep was put off", reason=error.detail)
        except Exception:
            log.exception("a sweep failed")


def run_request(
    storage: Storage, handlers: Mapping[str, Handler], request_id: str, limits: WorkerLimits, stop: threading.Event
) -> None:
    """Claim one request and work on it to its end; nothing where another worker has it."""
    try:
        with storage.database.write() as conn:
            request = requests.claim(
                conn, request_id, lease_seconds=limits.lease_seconds, max_attempts=limits.max_attempts
            )
    except AppError as error:
        log.warning("a request could not be claimed; it will be announced again", rq_id=request_id, reason=error.detail)
        return
    if request is None:
        return
    reach("claim.committed")
    context = Context(request, storage, limits, stop)
    logger = log.bind(rq_id=request.id, type=request.type, attempt=request.attempt, user_id=request.owner.id)
    logger.info("request started")
    began, before = time.monotonic(), resident_bytes()
    try:
        with _Monitor(context, limits):
            outcome = _run_handler(context, handlers, limits, logger)
    except RuntimeError as error:  # there is no thread for the monitor
        shortage = shortage_of(error)
        if not isinstance(shortage, Busy):
            raise
        outcome = _put_off(context, limits, shortage, logger)
    logger.info("request ended", outcome=outcome, seconds=round(time.monotonic() - began, 3))
    give_back(before, storage.database.drop_caches)


def _run_handler(context: Context, handlers: Mapping[str, Handler], limits: WorkerLimits, logger: Any) -> str:
    handler = handlers.get(context.request.type)
    try:
        if handler is None:
            return _fail(context, limits, f"this server cannot do {context.request.type}", None)
        handler(context)
        if not context.is_finished:
            with context.finishing():
                pass
    except Stopped:
        _write(context, lambda conn: requests.release(conn, context.request.id, context.attempt))
        return "released"
    except Cancelled:
        return "cancelled"
    except Busy as error:
        return _put_off(context, limits, error, logger)
    except AppError as error:
        return _fail(context, limits, message_of(error), _report(context, error))
    except MemoryError:
        limit = LimitReached(
            f"the work needs more memory than the allowed {limits.memory_bytes >> 20} MiB", code="limit.memory"
        )
        return _fail(context, limits, limit.detail, _report(context, limit))
    except Exception as error:
        shortage = shortage_of(error)
        if isinstance(shortage, Busy):
            return _put_off(context, limits, shortage, logger)
        if shortage is not None:
            return _fail(context, limits, shortage.detail, _report(context, shortage))
        number = secrets.token_hex(6)
        logger.exception("a handler failed", error_id=number)
        return _fail(context, limits, f"the service made a mistake (error {number} in its log)", None)
    return "finished"


def _put_off(context: Context, limits: WorkerLimits, error: Busy, logger: Any) -> str:
    """The work will be tried again, unless this was the last attempt."""
    if context.attempt - context.request.releases >= limits.max_attempts:
        return _fail(context, limits, error.detail, _report(context, error))
    logger.warning("the work will be tried again", reason=error.detail)
    _write(context, lambda conn: requests.release(conn, context.request.id, context.attempt, counts=True))
    return "put off"


def message_of(error: AppError) -> str:
    """One line for a person: what is wrong, with the first few problems of an import."""
    if not isinstance(error, ImportProblems):
        return error.detail
    report = error.report
    listed = [str(problem) for problem in report.errors[:PROBLEMS_IN_MESSAGE]]
    more = report.n_errors - len(listed)
    return "; ".join(listed) + (f"; and {more} more" if more > 0 else "")


def _report(context: Context, error: AppError) -> Mapping[str, Any]:
    """The whole truth about a failure: the report if there is one."""
    if context.report is not None:
        return context.report
    if isinstance(error, ImportProblems):
        return error.report.to_dict()
    problem = Problem(error.code, error.detail)
    return {"problems": [problem.to_dict()], "counts": {error.code: 1}, "n_errors": 1, "n_warnings": 0, "tables": {}}


def _fail(context: Context, limits: WorkerLimits, message: str, report: Mapping[str, Any] | None) -> str:
    def fail(conn: Connection) -> None:
        requests.fail(
            conn,
            context.request.id,
            context.attempt,
            message=" ".join(message.split()),
            report=context.report if report is None else report,
            ttl_seconds=limits.request_ttl_seconds,
        )

    return "failed" if _write(context, fail) else "lost"


def _write(context: Context, change: Callable[[Connection], None]) -> bool:
    """Write the end of a request; a full disk may have room again in a moment, else the lease tells the story."""
    for _ in range(FAIL_TRIES):
        try:
            with context.storage.database.write() as conn:
                change(conn)
        except Cancelled:
            return False
        except (Busy, NoSpace) as error:
            log.warning("the end of a request could not be written", rq_id=context.request.id, reason=error.detail)
            time.sleep(1)
        else:
            return True
    return False


class _Monitor:
    """Watches one attempt from a thread of its own; see the module."""

    def __init__(self, context: Context, limits: WorkerLimits) -> None:
        self._context = context
        self._limits = limits
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        context, limits = self._context, self._limits
        step = min(MONITOR_SECONDS, limits.lease_seconds / 4)
        while not self._done.wait(step):
            if context.seconds_over_time() > UNRESPONSIVE_SECONDS:
                self._end("limit.time")
            if context.seconds_since_stop() > limits.grace_seconds * 0.8:
                self._end("stop")
            if context.seconds_since_beat() > limits.lease_seconds / 3:
                try:
                    context.beat(None)
                except Cancelled:
                    continue  # the handler will see it
                except Exception:
                    log.exception("the lease could not be extended", rq_id=context.request.id)

    def _end(self, reason: str) -> None:
        """End the process: the main thread does not listen. The row is written first, from here."""
        context = self._context
        log.error("the work does not react; the worker ends", rq_id=context.request.id, reason=reason)
        try:
            if reason == "stop":
                _write(context, lambda conn: requests.release(conn, context.request.id, context.attempt))
            else:
                error = LimitReached(
                    f"the work took longer than the allowed {round(self._limits.timeout_seconds)} seconds"
                )
                _fail(context, self._limits, error.detail, _report(context, error))
        finally:
            os._exit(EXIT_CODE)
