"""Starts before what they need is there: they wait and say so; what waiting does not change ends them at once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import AppError
from app.storage.database import Database
from tests import engines
from tests.ports import free_ports
from tests.service import COMMAND

WAIT_SECONDS = 180.0
END_SECONDS = 60.0


class Gate:
    """A port at which a server can be reached while it is open."""

    def __init__(self, to: tuple[str, int]) -> None:
        (self.port,) = free_ports(1)
        self._to = to
        self._open: list[socket.socket] = []

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._open.append(listener)
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits there
            each.close()
        self._open.clear()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._to)
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def started(url: sa.URL, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process of the service on this database, and its log."""
    log = folder / f"{arguments[0]}.log"
    environ = {"ANNOPORT_DATABASE_URL": url.render_as_string(hide_password=False), "ANNOPORT_AUTH_MODE": "local"}
    command = [*COMMAND, *arguments, "--data-dir", str(folder / arguments[0])]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **environ}
        )
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def wait_for(words: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while words not in log.read_text():
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
        assert time.monotonic() < deadline, f"{words!r} is not in {log.read_text()}"
        time.sleep(0.05)


@pytest.fixture
def database() -> Iterator[sa.URL]:
    """An empty database."""
    with engines.new_database() as url:
        yield sa.make_url(url)


def test_processes_wait_for_a_database_that_starts_later(database: sa.URL, tmp_path: Path) -> None:
    gate = Gate((database.host or "", database.port or 5432))
    url = database.set(host="127.0.0.1", port=gate.port)
    (port,) = free_ports(1)
    try:
        with started(url, tmp_path, "worker") as worker:
            wait_for("waiting for a server", *worker)
            assert "onnection refused" in worker[1].read_text()
            gate.open()
            wait_for("waiting for the database to be migrated", *worker)
            gate.close()
            with started(url, tmp_path, "serve", "--no-worker", "--port", str(port)) as web:
                wait_for("waiting for a server", *web)
                gate.open()
                wait_for(f"http://127.0.0.1:{port}", *web)
                wait_for("worker started", *worker)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=60) as answer:
                    assert answer.status == 200
    finally:
        gate.close()


def test_a_server_that_refuses_ends_the_start_with_its_words(database: sa.URL, tmp_path: Path) -> None:
    for name in ("worker", "serve"):
        with started(database.set(database="nowhere"), tmp_path, name) as (process, log):
            assert process.wait(END_SECONDS) == 1
            said = log.read_text()
        assert "refuses the connection" in said
        assert 'database "nowhere" does not exist' in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres:/bad", "cannot be read"),
        ("postgresql://ann:secret@host:port/x", "cannot be read"),
        ("mysql://ann:secret@host/x", "not mysql"),
    ],
)
def test_a_url_of_no_database_of_ours_is_told(url: str, words: str) -> None:
    with pytest.raises(AppError, match=words) as refused:
        Database(url)
    assert "secret" not in refused.value.detail
