"""Where the time goes: the service's own work on one archive, in this process, under Python's profiler.

    python -m tests.bench.profile DATA.zip [--step import] [--top 40] [--sort tottime]

The steps are those of the bench; the web process takes the upload, and what a worker or an export process would do
then is done here. The profiler makes calls dear, so look at shares, not at seconds; `--sample` looks at the stack
every millisecond of CPU instead, which makes nothing dear, and tells the share of each function with all it calls.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import pstats
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Self

import structlog

from app.background import handlers_of, open_store
from app.operations import stream_dataset
from app.requests import WorkerLimits
from app.requests.worker import run_request
from app.settings import Settings
from app.storage import Storage
from tests.bench.make_data import SUBSET, Files, files_of
from tests.bench.run import attach_frames, has_masks, touch_polygons
from tests.caller import FORMAT, Caller
from tests.service import Service, running_service

APP = "/app/"
STEPS = ("pictures", "import", "export", "trace", "export polygons", "export drawn")


class Sampler:
    """The functions of the service that are at work, by how many samples found them on the stack."""

    def __init__(self) -> None:
        self.n_samples = 0
        self.found: Counter[str] = Counter()

    def __enter__(self) -> Self:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        self.n_samples += 1
        names = set()
        while frame is not None:
            code = frame.f_code
            if APP in code.co_filename:
                names.add(f"{code.co_filename.partition(APP)[2]} {code.co_qualname}")
            frame = frame.f_back
        self.found.update(names)

    def print(self, top: int) -> None:
        for name, count in self.found.most_common(top):
            print(f"{count / max(self.n_samples, 1):7.1%}  {name}")


class Profiler:
    """Runs work with or without the profiler."""

    def __init__(self, wanted: str, top: int, sort: str, dump: Path | None, samples: bool) -> None:
        self._wanted, self._top, self._sort, self._dump, self._samples = wanted, top, sort, dump, samples

    def run(self, step: str, work: Callable[[], object]) -> None:
        if self._samples and step == self._wanted:
            with Sampler() as sampler:
                work()
            sampler.print(self._top)
            return
        profile = cProfile.Profile() if step == self._wanted else None
        wall, cpu = time.perf_counter(), time.process_time()
        if profile is not None:
            profile.enable()
        work()
        if profile is not None:
            profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{step:24} {wall:8.2f} s wall {cpu:8.2f} s CPU", flush=True)
        if profile is not None:
            if self._dump:
                profile.dump_stats(self._dump)
            pstats.Stats(profile).sort_stats(self._sort).print_stats(self._top)


def run(service: Service, files: Files, profiler: Profiler, rounds: int) -> None:
    """Each step once; the service has no workers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = Settings(data_dir=service.data_dir)
    storage = open_store(settings, migrate=False)
    handlers = handlers_of(settings)

    def work(rq_id: str) -> None:
        run_request(storage, handlers, rq_id, WorkerLimits(timeout_seconds=36_000), threading.Event())

    with Caller(service) as caller:
        number = task_with_frames(caller, service, files, lambda rq_id: profiler.run("pictures", lambda: work(rq_id)))
        for polygons in (False, True) if has_masks(files) else (False,):
            for _ in range(rounds):
                with files.archive.open("rb") as stream:
                    query = {"format": FORMAT, "wait": 0, "conv_mask_to_poly": polygons}
                    queued = caller.call("POST", f"/api/tasks/{number}/import", params=query, content=stream).json()
                profiler.run("trace" if polygons else "import", lambda: work(queued["rq_id"]))  # noqa: B023
                state = caller.json("GET", f"/api/requests/{queued['rq_id']}")
                assert state["status"] == "finished", state
            for _ in range(rounds):
                profiler.run("export polygons" if polygons else "export", lambda: export(storage, number))
            if polygons:
                touch_polygons(service, number)
                profiler.run("export drawn", lambda: export(storage, number))
    storage.close()


def task_with_frames(caller: Caller, service: Service, files: Files, work: Callable[[str], object]) -> int:
    """A task for the archive of `files`; `work` does what a worker would do with its pictures, if there are any."""
    body = {"name": "profile", "labels": json.loads(files.labels.read_text()), "subset": SUBSET}
    number = int(caller.json("POST", "/api/tasks", json=body)["id"])
    if files.pictures.is_file():
        with files.pictures.open("rb") as stream:
            started = caller.json("POST", f"/api/tasks/{number}/data", files={"client_files[0]": ("p.zip", stream)})
        work(started["rq_id"])
    else:
        attach_frames(service, number, files)
    return number


def export(storage: Storage, number: int) -> None:
    stream_dataset(storage, {"task_id": number, "format": FORMAT}, lambda chunk: None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile one step on one archive of make_data.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--step", choices=STEPS, default="", help="the step to profile; without it all are timed")
    parser.add_argument("--top", type=int, default=40, help="lines (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each step is taken (%(default)s)")
    parser.add_argument("--sort", default="tottime", help="tottime or cumtime (%(default)s)")
    parser.add_argument("--sample", action="store_true", help="look at the stack instead of counting calls")
    parser.add_argument("--dump", type=Path, default=None, help="write the profile here, too")
    given = parser.parse_args()
    profiler = Profiler(given.step, given.top, given.sort, given.dump, given.sample)
    with (
        tempfile.TemporaryDirectory(prefix="annoport-profile-") as folder,
        running_service(Path(folder), auth_mode="local", arguments=["--workers", "0"]) as service,
    ):
        run(service, files_of(given.archive), profiler, given.rounds)


if __name__ == "__main__":
    main()
