"""Handlers for worker processes of the tests; the process is `python -m tests.requests.handlers FOLDER URL BLOBS FD
LIMITS`.

What a handler does is written as options of the request: `seconds` to work, `frame` to annotate, `fault`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from app.annotations import Annotations
from app.errors import Busy, ImportProblems, NoSpace, NotFound, Report
from app.requests import Context, WorkerLimits, open_queue, run_worker
from app.storage import Result, annotations, open_storage
from tests.storage.stores import shapes


def work(context: Context) -> None:
    """Step by step for `seconds`, then one more shape on `frame`."""
    options = context.options
    assert context.request.task_id is not None
    with annotations.begin_set(context.storage, context.request.task_id) as writer:
        writer.write(Annotations(shapes=shapes([options["frame"]])))
        writer.keep(b"kept")
        n_steps = max(1, round(options.get("seconds", 0) / 0.02))
        for step in range(n_steps):
            time.sleep(0.02)
            context.progress(step / n_steps, "working")
        writer.close()
        key = context.result_key
        size = context.storage.blobs.put(key, b"result")
        with context.finishing(report={"kept": 1}, result=Result(key, size, "r.zip")) as conn:
            annotations.publish(conn, writer.set_id, mode="append")


def fail(context: Context) -> None:
    """Every way to fail, by name."""
    fault = context.options["fault"]
    if fault == "problems":
        report = Report()
        for row in range(2, 7):
            report.error("csv.bad_number", "not a number", file="a.csv", row=row, column="XMin")
        raise ImportProblems(report)
    if fault == "reported":
        context.report = {"counts": {"x": 1}}
        raise NotFound("thing", 1, "the thing is gone")
    if fault == "no space":
        raise NoSpace("there is no space left")
    if fault == "busy":
        raise Busy("try again")
    if fault == "handles":
        raise OSError(errno.EMFILE, "Too many open files")
    if fault == "threads":
        raise RuntimeError("can't start new thread")
    if fault == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if fault == "mistake":
        raise ZeroDivisionError("secret detail")
    if fault == "memory":
        np.ones(1 << 40, dtype=np.uint8)
    if fault == "die":
        os._exit(9)
    if fault == "slow":
        while True:
            time.sleep(0.01)
            context.progress(0.5)
    if fault == "hang":
        time.sleep(600)
    if fault == "nothing":
        return
    raise AssertionError(fault)


HANDLERS = {"import:annotations": work, "export:dataset": work, "export:backup": fail}


def limits(**more: float) -> WorkerLimits:
    """Short leases, so that tests are short."""
    values = {"lease_seconds": 1.0, "grace_seconds": 4.0, "sweep_seconds": 0.2, "timeout_seconds": 60.0, **more}
    return WorkerLimits(**values)  # type: ignore[arg-type]


if __name__ == "__main__":
    folder, database_url, blob_url, parent_fd = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    changed = json.loads(sys.argv[5])
    opened = open_storage(database_url, blob_url, folder, min_free_bytes=0, pool_size=4, migrate=False)
    run_worker(
        opened,
        open_queue(database_url, folder),
        HANDLERS,
        limits=limits(**changed),
        parent_fd=parent_fd if parent_fd >= 0 else None,
    )
