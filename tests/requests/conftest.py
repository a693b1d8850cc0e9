"""A store and a queue for each test, on each engine, and worker processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.requests import Queue, open_queue
from app.storage import Storage, User
from tests.storage.stores import ENGINES, prepared_place, user

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A store, its queue, and how to reach both from another process."""

    storage: Storage
    queue: Queue
    folder: Path
    url: str
    blob_url: str
    ann: User


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with prepared_place(request.param, tmp_path) as where:
        storage = where.open()
        queue = open_queue(where.database_url, tmp_path)
        yield Place(storage, queue, tmp_path, where.database_url, where.blob_url, user(storage, "ann"))
        queue.close()
        storage.close()


Starter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker(place: Place) -> Iterator[Starter]:
    """Starts worker processes, with other limits where they are given; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(parent_fd: int = -1, **limits: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.requests.handlers", str(place.folder), place.url, place.blob_url]
        process = subprocess.Popen(
            [*command, str(parent_fd), json.dumps(limits)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=[parent_fd] if parent_fd >= 0 else [],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
