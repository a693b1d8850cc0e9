"""What keeping every cell costs: the same import with and without, in this process, in turn.

    python -m tests.bench.lossless DATA.zip [--rounds 3]

Without: the kept line of each row is empty, everything else is as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from app.background import handlers_of, open_store
from app.columns import CSVBlock, Ragged
from app.formats.open_images.repeats import RepeatedRows
from app.requests import WorkerLimits
from app.requests.worker import run_request
from app.settings import Settings
from tests.bench.make_data import Files, files_of
from tests.bench.profile import task_with_frames
from tests.caller import FORMAT, Caller
from tests.service import Service, running_service


def measure(service: Service, files: Files, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each round; the service has no workers."""
    settings = Settings(data_dir=service.data_dir)
    storage = open_store(settings, migrate=False)
    handlers = handlers_of(settings)
    found: dict[str, list[float]] = {"kept": [], "bare": []}

    def work(rq_id: str) -> None:
        run_request(storage, handlers, rq_id, WorkerLimits(timeout_seconds=36_000), threading.Event())

    with Caller(service) as caller:
        number = task_with_frames(caller, service, files, work)
        for _ in range(rounds):
            for name, cells in found.items():
                with files.archive.open("rb") as stream:
                    query = {"format": FORMAT, "wait": 0}
                    queued = caller.call("POST", f"/api/tasks/{number}/import", params=query, content=stream).json()
                start = time.process_time()
                with bare() if name == "bare" else contextlib.nullcontext():
                    work(queued["rq_id"])
                cells.append(time.process_time() - start)
    storage.close()
    return found


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Lines of blocks are empty and never looked at."""
    lines = property(lambda block: Ragged.empty("u1", len(block)))
    with (
        mock.patch.object(CSVBlock, "lines", lines),
        mock.patch.object(CSVBlock, "lines_at", lambda block, rows: Ragged.empty("u1", len(rows))),
        mock.patch.object(RepeatedRows, "add"),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description="Time an import with and without keeping its cells.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="annoport-lossless-") as folder,
        running_service(Path(folder), auth_mode="local", arguments=["--workers", "0"]) as service,
    ):
        print(json.dumps(measure(service, files_of(given.archive), given.rounds)))


if __name__ == "__main__":
    main()
