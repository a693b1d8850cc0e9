"""Three web processes and three workers behind nginx: real clients work through them while processes are killed and
started, the database too. Nothing acknowledged is lost, nothing is there twice.

The log of deaths and what held is printed; `pytest -s tests/cluster/test_deaths.py` shows it, `-m long` goes on for
five minutes.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.requests.worker import EXIT_CODE
from app.storage import open_storage
from tests import engines
from tests.caller import Caller
from tests.clients import meadow
from tests.clients.runners import Clients
from tests.cluster.checks import check_store, wait_until_quiet
from tests.cluster.processes import Cluster, Member, running_cluster
from tests.environments import SCRIPT_SECONDS, python_of
from tests.samples import LABELS, write_pictures
from tests.service import ADMIN, PASSWORD

N_WEBS = N_WORKERS = 3
MIN_DEATHS = 3


def archives(folder: Path) -> list[dict[str, str]]:
    """Three archives that leave different annotations behind."""
    made = []
    for number in range(3):
        archive = meadow.archive()
        for step in range(number * 40):
            left = f"{0.001 * step:.3f}"
            archive.box("a", "cat", (left, "0.5", "0.25", "0.75"))
        path = archive.write(folder / f"variant-{number}.zip")
        made.append({"name": str(number), "path": str(path)})
    return made


@dataclass
class Deaths:
    """Kills and starts at random, and says what it did."""

    cluster: Cluster
    chance: random.Random
    postgres: engines.Postgres | None
    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _began: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        self.lines.append(f"{time.monotonic() - self._began:7.2f} s  {text}")

    def go_on(self, seconds: float) -> None:
        """Until the time is up and a few have died; at the end everything is running again."""
        deadline = time.monotonic() + seconds
        n_restarts = 0
        while time.monotonic() < deadline or sum(self.counts.values()) < MIN_DEATHS:
            time.sleep(self.chance.uniform(0.3, 1.5))
            for member in self.cluster.members:
                if not member.is_alive and self.chance.random() < 0.6:
                    self._start(member)
            half_time = time.monotonic() > deadline - seconds / 2
            if self.postgres is not None and ((n_restarts == 0 and half_time) or self.chance.random() < 0.02):
                n_restarts += 1
                self.note("PostgreSQL: stopped at once, started")
                self.counts["database restarts"] += 1
                self.postgres.restart(signal.SIGQUIT)
                continue
            # One web process stays, or nobody would be there to ask.
            webs = [web for web in self.cluster.webs if web.is_alive]
            alive = [*(webs if len(webs) > 1 else []), *(each for each in self.cluster.workers if each.is_alive)]
            if alive:
                self._end(self.chance.choice(alive))
        for member in self.cluster.members:
            if not member.is_alive:
                self._start(member)
        self.cluster.wait_until_up()

    def _end(self, member: Member) -> None:
        if self.chance.random() < 0.8:
            member.kill()
            self.note(f"{member.name}: kill -9")
            self.counts[f"kill -9 of a {member.name.partition('-')[0]}"] += 1
        else:
            code = member.stop()
            self.note(f"{member.name}: SIGTERM, ended with {code}")
            self.counts[f"SIGTERM to a {member.name.partition('-')[0]}"] += 1
            # One that has hardly begun has not said yet what it does at a signal; a worker whose work does not look up
            # in time, on a machine that is busy with more than this, leaves it to the lease and says so.
            expected = (0, -signal.SIGTERM, *([EXIT_CODE] if member in self.cluster.workers else []))
            assert code in expected, f"{member.name} ended with {code}\n{self.cluster.tail()}"

    def _start(self, member: Member) -> None:
        member.start()
        self.note(f"{member.name}: started")


class Writer(threading.Thread):
    """Adds boxes to one task by PATCH, each with a place of its own; knows which were acknowledged."""

    def __init__(self, cluster: Cluster, task: int, label: int, number: int) -> None:
        super().__init__(name=f"writer-{number}")
        self._http = httpx.Client(base_url=cluster.url, auth=(ADMIN, PASSWORD), timeout=30)
        self._task, self._label, self._number = task, label, number
        self.sent: list[float] = []
        self.acknowledged: list[float] = []
        self.answers: Counter[str] = Counter()
        self.stopping = threading.Event()

    def run(self) -> None:
        step = 0
        while not self.stopping.wait(0.1):
            step += 1
            place = self._number * 0.001 + step * 0.01
            box = {
                "type": "rectangle",
                "frame": 0,
                "label_id": self._label,
                "points": [place, 1, 60, 40],
                "attributes": [],
            }
            body = {"version": 0, "tags": [], "shapes": [box], "tracks": []}
            self.sent.append(place)
            try:
                path = f"/api/tasks/{self._task}/annotations"
                answer = self._http.patch(path, params={"action": "create"}, json=body)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
                continue
            self.answers[str(answer.status_code)] += 1
            if answer.is_success:
                self.acknowledged.append(place)
        self._http.close()


def run(folder: Path, seconds: float, seed: int, n_clients: int) -> None:
    python_of("client")
    postgres = engines.start_postgres(synchronous_commit="on")
    try:
        with running_cluster(
            folder / "cluster", N_WEBS, N_WORKERS, database_url=postgres.url, environ=LEASE
        ) as cluster:
            _run(cluster, postgres, folder, seconds, seed, n_clients)
    finally:
        postgres.server.discard()


LEASE = {"ANNOPORT_LEASE_SECONDS": "5", "ANNOPORT_SWEEP_SECONDS": "2", "ANNOPORT_STOP_TIMEOUT_SECONDS": "8"}


def _run(cluster: Cluster, postgres: engines.Postgres, folder: Path, seconds: float, seed: int, n_clients: int) -> None:
    pictures = {path.name: path.read_bytes() for path in write_pictures(folder / "in", meadow.SIZES)}
    variants = archives(folder)
    with Caller(cluster) as caller:
        # What each archive leaves behind and gives back where nothing dies.
        expected: dict[str, Any] = {}
        for variant in variants:
            number = caller.task(f"quiet {variant['name']}", LABELS, pictures)
            caller.bring(number, Path(variant["path"]))
            expected[variant["name"]] = content_of(caller, number, folder)
        shared = caller.task("shared", LABELS, pictures)
        label = caller.labels(shared)[0]["id"]
        writers = [Writer(cluster, shared, label, number) for number in range(2)]
        clients = Clients(cluster, folder)
        deaths = Deaths(cluster, random.Random(seed), postgres)
        (folder / "out").mkdir()

        def work(number: int) -> Any:
            return clients.sdk(
                "enduring",
                wait_seconds=seconds + SCRIPT_SECONDS,
                name=f"client-{number}",
                seconds=seconds,
                labels=LABELS,
                pictures=sorted(str(path) for path in (folder / "in").iterdir()),
                variants=variants[number:] + variants[:number],
                folder=str(folder / "out"),
            )

        with ThreadPoolExecutor(n_clients) as pool:
            for writer in writers:
                writer.start()
            told = [pool.submit(work, number) for number in range(n_clients)]
            try:
                deaths.go_on(seconds)
                results = [each.result() for each in told]
            finally:
                for writer in writers:
                    writer.stopping.set()
                    writer.join()
        storage = open_storage(cluster.database_url, cluster.blob_url, folder / "look", min_free_bytes=0, migrate=False)
        wait_until_quiet(storage)
        rounds = [each for result in results for each in result["rounds"]]
        digests: dict[str, set[str]] = {}
        for each in rounds:
            assert content_of(caller, each["task"], folder) == expected[each["variant"]], each
            digests.setdefault(each["variant"], set()).add(each["digest"])
        assert all(len(found) == 1 for found in digests.values()), "exports of equal tasks differ"
        boxes = Counter(round(shape["points"][0], 3) for shape in caller.annotations(shared)["shapes"])
        sent = {round(place, 3) for writer in writers for place in writer.sent}
        acknowledged = {round(place, 3) for writer in writers for place in writer.acknowledged}
        assert max(boxes.values()) == 1, "a box is there twice"
        assert acknowledged <= set(boxes), f"acknowledged boxes are gone: {sorted(acknowledged - set(boxes))[:5]}"
        assert set(boxes) <= sent
        for member in cluster.members:
            defects = [line for line in member.log.read_text().splitlines() if '"defect' in line or "Traceback" in line]
            assert not defects, f"{member.name}: {defects[:3]}"
    for member in cluster.workers:
        member.stop()
    try:
        counted = check_store(storage)
    finally:
        storage.close()
    print("\n".join(["", *deaths.lines]))
    errors: Counter[str] = Counter()
    for result in results:
        errors.update(result["errors"])
    print(f"deaths: {dict(deaths.counts)}")
    print(
        f"clients: {len(rounds)} rounds of task, import and export by {n_clients} clients; "
        f"tries that failed: {dict(errors)}"
    )
    answers = sum((writer.answers for writer in writers), Counter())
    print(f"writers: {len(acknowledged)} boxes acknowledged of {len(sent)} sent, {len(boxes)} there; {dict(answers)}")
    print(f"store: {counted}")
    print("held: every acknowledged import and box once, equal exports, every request ended, rows and bytes agree")
    assert sum(deaths.counts.values()) >= MIN_DEATHS


def content_of(caller: Caller, number: int, folder: Path) -> Any:
    """The annotations of a task without ids, and the digest of its export."""
    found = caller.annotations(number)
    names = {label["id"]: label["name"] for label in caller.labels(number)}
    plain = sorted(
        json.dumps([names[each["label_id"]], each["frame"], each.get("type"), each.get("points")])
        for kind in ("shapes", "tags")
        for each in found[kind]
    )
    path = caller.export(number, folder / "content.zip")
    return len(plain), plain, hashlib.sha256(path.read_bytes()).hexdigest()


def test_deaths_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    run(tmp_path, seconds=12, seed=1, n_clients=2)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_deaths_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    run(tmp_path, seconds=300, seed=time.time_ns(), n_clients=4)
