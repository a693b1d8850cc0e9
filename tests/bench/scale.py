"""How far each shape carries on this machine: imports and exports with 1, 2 and 3 workers, small reads and writes.

    python -m tests.bench.scale [--size 10k] [--tasks 6] [--workers 1 2 3] [--shapes embedded cluster]

Every task gets the same archive, all at once, so that the queue is never empty; then all are exported; then clients
read a task and add a box for some seconds. The cluster has one web process, nginx, PostgreSQL and a bucket on this
machine too. Its numbers hold for this machine alone: what is told is how they change with the number of workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.storage import Storage, open_storage
from tests.bench.make_data import SPLITS, files_of, make
from tests.bench.run import FORMAT, counted, give_frames
from tests.caller import Caller
from tests.cluster.processes import running_cluster
from tests.processes import family, look
from tests.service import ADMIN, PASSWORD, Running, running_service

CLIENTS = 4


@dataclass(frozen=True)
class Place:
    """A running service and its store."""

    running: Running
    storage: Storage
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Of the service's own processes so far; the database and the bucket are not among them."""
        uses = (look(pid) for root in self.pids for pid in family(root))
        return sum(use.cpu_seconds for use in uses if use)


@contextlib.contextmanager
def embedded(folder: Path, n_workers: int) -> Iterator[Place]:
    with running_service(folder, arguments=("--workers", str(n_workers)), environ=LIMITS) as service:
        storage = open_storage("", "", service.data_dir, migrate=False)
        try:
            yield Place(service, storage, (service.process.pid,))
        finally:
            storage.close()


@contextlib.contextmanager
def cluster(folder: Path, n_workers: int) -> Iterator[Place]:
    with running_cluster(folder, 1, n_workers, environ=LIMITS) as running:
        os.environ.update({name: value for name, value in running.environ.items() if name.startswith("AWS_")})
        storage = open_storage(running.database_url, running.blob_url, folder / "look", migrate=False)
        try:
            yield Place(running, storage, tuple(member.process.pid for member in running.members if member.process))
        finally:
            storage.close()


SHAPES = {"embedded": embedded, "cluster": cluster}
LIMITS = {"ANNOPORT_MAX_QUEUED_PER_USER": "200"}


def all_at_once(caller: Caller, ask: Callable[[int], httpx.Response], numbers: list[int]) -> float:
    """Ask for work on every task, wait for all of it; seconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [answer.json()["rq_id"] for answer in pool.map(ask, numbers)]
    for rq_id in asked:
        caller.wait(rq_id)
    return time.perf_counter() - began


def rate_of(url: str, ask: Callable[[httpx.Client, int], httpx.Response], seconds: float) -> float:
    """Answers a second to a few clients that ask one after the other."""

    def work(number: int) -> int:
        n_answers = 0
        with httpx.Client(base_url=url, auth=(ADMIN, PASSWORD), timeout=60) as client:
            token = client.post("/api/auth/access_tokens", json={"name": "scale"}).json()["value"]
            client.auth = None
            client.headers["Authorization"] = f"Bearer {token}"
            deadline = time.perf_counter() + seconds
            while time.perf_counter() < deadline:
                answer = ask(client, number)
                assert answer.is_success, answer.text
                n_answers += 1
        return n_answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(work, range(CLIENTS))) / seconds


def measure(place: Place, archive: Path, n_tasks: int, seconds: float) -> dict[str, float]:
    files, rows = files_of(archive), counted(archive)
    with Caller(place.running) as caller:
        caller.http.timeout = httpx.Timeout(600)
        labels = json.loads(files.labels.read_text())
        numbers = []
        for number in range(n_tasks):
            made = caller.json("POST", "/api/tasks", json={"name": f"scale {number}", "labels": labels})
            numbers.append(int(made["id"]))
            give_frames(place.storage, numbers[-1], files)
        body = files.archive.read_bytes()
        query = {"format": FORMAT, "wait": "0", "conv_mask_to_poly": "false"}
        before = place.cpu_seconds()
        imported = all_at_once(
            caller,
            lambda number: caller.call("POST", f"/api/tasks/{number}/import", params=query, content=body),
            numbers,
        )
        between = place.cpu_seconds()
        exported = all_at_once(
            caller,
            lambda number: caller.call("POST", f"/api/tasks/{number}/dataset/export", params={"format": FORMAT}),
            numbers,
        )
        after = place.cpu_seconds()
        of_task = {number: caller.labels(number)[0]["id"] for number in numbers}

    def read(client: httpx.Client, number: int) -> httpx.Response:
        return client.get(f"/api/tasks/{numbers[number % len(numbers)]}")

    def write(client: httpx.Client, number: int) -> httpx.Response:
        task = numbers[number % len(numbers)]
        box: dict[str, Any] = {"type": "rectangle", "frame": 0, "label_id": of_task[task], "points": [1, 1, 9, 9]}
        body = {"version": 0, "tags": [], "shapes": [{**box, "attributes": []}], "tracks": []}
        return client.patch(f"/api/tasks/{task}/annotations", params={"action": "create"}, json=body)

    return {
        "rows": rows * n_tasks,
        "import rows/s": rows * n_tasks / imported,
        "import rows/CPU s": rows * n_tasks / max(between - before, 0.01),
        "export rows/s": rows * n_tasks / exported,
        "export rows/CPU s": rows * n_tasks / max(after - between, 0.01),
        "reads/s": rate_of(place.running.url, read, seconds),
        "writes/s": rate_of(place.running.url, write, seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SPLITS, default="10k")
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=5.0, help="of reads, and of writes")
    given = parser.parse_args()
    counts = SPLITS[given.size]
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "data.zip"
        make(archive, counts, seed=1)
        print(
            f"{given.tasks} tasks of {counts.images} frames, {counts.boxes} boxes, {counts.tags} tags, "
            f"{counts.masks} masks; {os.cpu_count()} cores; {CLIENTS} clients",
            flush=True,
        )
        head = False
        for n_workers in given.workers:
            for shape in given.shapes:
                with SHAPES[shape](Path(folder) / f"{shape}-{n_workers}", n_workers) as place:
                    found = measure(place, archive, given.tasks, given.seconds)
                if not head:
                    print("| shape | workers | " + " | ".join(found) + " |\n|---|---|" + "---|" * len(found))
                    head = True
                cells = " | ".join(f"{value:,.0f}" for value in found.values())
                print(f"| {shape} | {n_workers} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
