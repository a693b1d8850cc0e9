"""The service as processes: stopped and let go, locked out, cut off, damaged, started again, told to end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import AppError
from app.main import bind
from app.settings import Settings
from tests.api.working import picture
from tests.kills.actors import FORMAT, boxes, packed, shown, unpacked
from tests.kills.shapes import Embedded
from tests.ports import free_port
from tests.processes import family
from tests.service import COMMAND

WAIT_SECONDS = 150.0


class User:
    """One user and a task of one picture."""

    def __init__(self, shape: Embedded) -> None:
        self.shape = shape
        self.http = httpx.Client(base_url=shape.url(), timeout=WAIT_SECONDS)
        self.task = self.http.post("/api/tasks", json={"name": "t", "labels": [{"name": "cat"}]}).json()["id"]
        files = {"client_files[0]": ("a.png", picture(1000, 1000))}
        self.final(self.http.post(f"/api/tasks/{self.task}/data", files=files))
        self.label = self.http.get(f"/api/labels?task_id={self.task}").json()["results"][0]["id"]
        self.path = f"/api/tasks/{self.task}/annotations"

    def final(self, asked: httpx.Response) -> Any:
        assert asked.status_code == 202, asked.text
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            request = self.http.get(f"/api/requests/{asked.json()['rq_id']}").json()
            if request["status"] in ("finished", "failed"):
                return request
        raise AssertionError(request)

    def put(self, *numbers: int) -> httpx.Response:
        return self.http.put(self.path, json={"shapes": boxes(numbers, self.label)})

    def state(self) -> tuple[int, ...]:
        return shown(self.http.get(self.path).json())

    def ask_import(self, *numbers: int) -> httpx.Response:
        files = {"annotation_file": ("a.zip", packed(numbers))}
        return self.http.post(self.path, params={"format": FORMAT}, files=files)

    def worker(self) -> int:
        """The process id of the worker; one that ended is followed by another."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for role, pid in self.shape.victims():
                if role == "worker":
                    return pid
            time.sleep(0.05)
        raise AssertionError(f"there is no worker\n{self.shape.tail()}")

    def stop_worker(self) -> int:
        """SIGSTOP to the worker, at a moment where it has no lock that others would wait for."""
        while True:
            pid = self.worker()
            os.kill(pid, signal.SIGSTOP)
            while not all(state_of(thread) in "TtZX" for thread in Path(f"/proc/{pid}/task").glob("*/stat")):
                time.sleep(0.01)
            database = sqlite3.connect(self.shape.folder / "data" / "annoport.sqlite3", timeout=0, isolation_level=None)
            with contextlib.closing(database), contextlib.suppress(sqlite3.OperationalError):
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
                return pid
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)

    def requests(self) -> Any:
        return self.http.get(f"/api/requests?task_id={self.task}").json()["results"]


def state_of(stat: Path) -> str:
    """Of a process or thread, by its /proc/…/stat: one letter, X where it is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    running = Embedded(tmp_path_factory.mktemp("processes"), workers=1)
    yield running
    running.stop()


@pytest.fixture
def user(shape: Embedded) -> Iterator[User]:
    someone = User(shape)
    yield someone
    someone.http.close()


def test_another_process_that_locks_the_database_gives_503_and_reading_goes_on(user: User) -> None:
    assert user.put(1).status_code == 200
    lock = sqlite3.connect(user.shape.folder / "data" / "annoport.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        refused = user.put(2)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert user.state() == (1,)
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert user.put(2).status_code == 200
    assert user.state() == (2,)


def staged(shape: Embedded) -> list[Path]:
    blobs = shape.folder / "data" / "blobs"
    return [path for path in (*(blobs / ".incoming").iterdir(), *blobs.glob("uploads/*/*")) if path.is_file()]


def cut_after(shape: Embedded, head: str, body: bytes) -> None:
    """Send the head of a request and a part of its body, and go away."""
    with socket.create_connection(("127.0.0.1", shape.port)) as connection:
        connection.sendall(head.encode() + body)
        time.sleep(0.3)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end


def test_a_cut_upload_leaves_no_request_and_no_bytes(user: User) -> None:
    before, n_requests = staged(user.shape), len(user.requests())
    head = f"POST {user.path}?format={FORMAT.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    body = bytes(3 << 20)
    cut_after(user.shape, head + "Content-Type: application/zip\r\nContent-Length: 50000000\r\n\r\n", body)
    form = b'--X\r\nContent-Disposition: form-data; name="annotation_file"; filename="a.zip"\r\n\r\n' + body
    multipart = "Content-Type: multipart/form-data; boundary=X\r\n"
    cut_after(user.shape, head + multipart + "Content-Length: 50000000\r\n\r\n", form)
    cut_after(user.shape, head + multipart + "Transfer-Encoding: chunked\r\n\r\n", b"ffffff\r\n" + form)
    deadline = time.monotonic() + WAIT_SECONDS
    while staged(user.shape) != before:
        assert time.monotonic() < deadline, staged(user.shape)
        time.sleep(0.05)
    assert len(user.requests()) == n_requests


def test_a_cut_body_of_json_is_no_defect(user: User) -> None:
    for method, path in (("POST", "/api/tasks"), ("PUT", user.path)):
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        cut_after(user.shape, head + "Content-Length: 50000\r\n\r\n", b"[" * 5000)
        cut_after(user.shape, head + "Transfer-Encoding: chunked\r\n\r\n", b"ffffff\r\n[[[")
    assert user.http.get(user.path).status_code == 200
    assert "defect" not in user.shape.tail(1000)


def test_a_cut_download_harms_nothing(user: User) -> None:
    assert user.put(*range(1, 900)).status_code == 200
    done = user.final(user.http.post(f"/api/tasks/{user.task}/dataset/export", params={"format": FORMAT}))
    path = "/api/" + done["result_url"].partition("/api/")[2]
    for _ in range(5):
        cut_after(user.shape, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"")
        cut_after(user.shape, f"GET /api/tasks/{user.task}/export HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"")
    assert unpacked(user.http.get(path).content) == tuple(range(1, 900))


def test_processes_that_stop_and_go_on_lose_nothing(user: User) -> None:
    shape = user.shape
    asked = user.ask_import(4, 5)
    for pid in family(shape.process.pid):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6)  # longer than the lease
    for pid in family(shape.process.pid):
        os.kill(pid, signal.SIGCONT)
    assert user.final(asked)["status"] == "finished"
    assert user.state() == (4, 5)
    worker = user.stop_worker()
    asked = user.ask_import(6)
    assert user.put(7).status_code == 200
    os.kill(worker, signal.SIGCONT)
    assert user.final(asked)["status"] == "finished"
    assert user.state() in ((6,), (7,))


def test_what_waits_on_disk_waits_in_the_data_folder(shape: Embedded) -> None:
    """The system's place for it is memory in a container, and may be full while the data folder is not."""
    place = shape.folder / "data" / "tmp"
    missing, deadline = {"worker", "child-stream"}, time.monotonic() + WAIT_SECONDS
    while missing:  # what earlier tests ended is started again
        assert time.monotonic() < deadline, f"{missing} are not there\n{shape.tail()}"
        for role, pid in shape.victims():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if role in missing:
                    assert f"TMPDIR={place.resolve()}".encode() in variables, role
                    missing.remove(role)
        time.sleep(0.05 if missing else 0)


def test_work_of_a_killed_worker_is_done_by_the_next(user: User) -> None:
    asked = [user.ask_import(8)]
    os.kill(user.worker(), signal.SIGKILL)
    asked.append(user.http.post(f"/api/tasks/{user.task}/dataset/export", params={"format": FORMAT}))
    assert [user.final(one)["status"] for one in asked] == ["finished", "finished"]
    assert user.state() == (8,)


def test_work_that_ran_when_all_processes_died_goes_on_with_the_start(tmp_path: Path) -> None:
    """Not only when its lease is over, which may be long."""
    shape = Embedded(tmp_path, workers=1, settings={"ANNOPORT_LEASE_SECONDS": "3600"})
    user = User(shape)
    shape.kill()
    shape.change(ANNOPORT_FAIL_POINT="claim.committed")
    shape.revive()
    asked = user.ask_import(4, 5)
    while user.http.get(f"/api/requests/{asked.json()['rq_id']}").json()["status"] != "started":
        pass
    shape.kill()
    shape.change(ANNOPORT_FAIL_POINT="")
    shape.revive()
    assert user.final(asked)["status"] == "finished"
    assert user.state() == (4, 5)
    user.http.close()
    shape.stop()


def test_a_restart_keeps_queued_and_finished_requests_by_their_ids(tmp_path: Path) -> None:
    shape = Embedded(tmp_path, workers=1)
    user = User(shape)
    export = {"params": {"format": FORMAT}}
    finished = user.http.post(f"/api/tasks/{user.task}/dataset/export", **export)
    result = user.final(finished)["result_url"].partition("/api/")[2]
    user.stop_worker()  # what is asked for now stays queued
    queued = user.ask_import(9, 10)
    assert queued.status_code == 202
    assert user.ask_import(11).status_code == 409
    shape.kill()
    shape.revive()
    assert user.final(queued)["status"] == "finished"
    assert user.state() == (9, 10)
    assert user.final(finished)["status"] == "finished"
    assert unpacked(user.http.get("/api/" + result).content) == ()
    user.http.close()
    shape.stop()


def test_sigterm_ends_at_once_and_leaves_queued_work_for_later(tmp_path: Path) -> None:
    shape = Embedded(tmp_path, workers=1)
    user = User(shape)
    worker = user.stop_worker()
    asked = user.ask_import(3)
    os.kill(worker, signal.SIGCONT)
    shape.stop()
    shape.revive()
    assert user.final(asked)["status"] == "finished"
    assert user.state() == (3,)
    user.http.close()
    shape.stop()


def has_read(port: int, sender: int) -> bool:
    """Whether the server at `port` has taken all that came from the port `sender`, by Linux's list of connections."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues, *_, inode = line.split()[1:10]
        if [int(each.rpartition(":")[2], 16) for each in (local, remote)] == [port, sender]:
            return inode != "0" and int(queues.rpartition(":")[2], 16) == 0
    return False


@pytest.mark.parametrize("webs", [1, 2])
def test_who_waits_for_work_is_answered_when_the_service_ends(tmp_path: Path, webs: int) -> None:
    """Not cut after the time for running answers, with a 500."""
    settings = {"ANNOPORT_REQUEST_HOLD_SECONDS": "60", "ANNOPORT_STOP_TIMEOUT_SECONDS": "50"}
    shape = Embedded(tmp_path, workers=0, webs=webs, settings=settings)
    backup = {"task_file": ("b.zip", packed((1,)))}
    asked = httpx.post(f"{shape.url()}/api/tasks/backup", files=backup, timeout=WAIT_SECONDS).json()
    held = http.client.HTTPConnection("127.0.0.1", shape.port, timeout=WAIT_SECONDS)
    with contextlib.closing(held):
        held.request("GET", f"/api/requests/{asked['rq_id']}")
        while not has_read(shape.port, held.sock.getsockname()[1]):
            time.sleep(0.01)
        began = time.monotonic()
        shape.process.send_signal(signal.SIGTERM)
        answer = held.getresponse()
        assert (answer.status, json.load(answer)["status"]) == (200, "queued")
    assert shape.process.wait(WAIT_SECONDS) == 0, shape.tail()
    assert time.monotonic() - began < 45, "the time for running answers was used up"


STOPPED_WHILE_IT_STARTS = """
import os, signal, sys
from pathlib import Path
from app import main
from app.settings import Settings

create_app = main.create_app

def stopped(settings):
    os.kill(os.getpid(), signal.SIGTERM)
    return create_app(settings)

main.create_app = stopped
sys.exit(main.run_service(Settings(data_dir=Path(sys.argv[1]), port=0, workers=0)))
"""


def test_a_service_that_is_stopped_while_it_starts_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOPPED_WHILE_IT_STARTS, str(tmp_path)]
    assert subprocess.run(command, timeout=WAIT_SECONDS).returncode == 0


def test_a_port_that_dying_processes_have_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "metrics-999999999").mkdir()  # of a parent that is no more
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        end = threading.Timer(0.5, listener.close)
        end.start()
        settings = Settings(port=listener.getsockname()[1], data_dir=tmp_path)
        bind(settings).close()
        end.join()


@pytest.mark.parametrize("left", ["", "of a parent that lives"])
def test_a_port_that_somebody_else_has_is_told_at_once(
    tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left:
        (tmp_path / f"metrics-{os.getppid()}").mkdir()
    monkeypatch.setattr("app.main.time.sleep", lambda _: pytest.fail("waited"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(AppError, match=f"port {port}: another program has it"):
            bind(Settings(port=port, data_dir=tmp_path))


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="take an address of this machine"):
        bind(Settings(host="192.0.2.1", data_dir=tmp_path, auth_mode="users"))


def test_a_damaged_database_refuses_to_start_and_stays_as_it_is(tmp_path: Path) -> None:
    shape = Embedded(tmp_path, workers=0)
    shape.stop()
    database = tmp_path / "data" / "annoport.sqlite3"
    for damage in (b"no database at all" * 1000, database.read_bytes()[:8192] + bytes(8192) + b"\xff" * 8192):
        database.write_bytes(damage)
        port = str(free_port())
        command = [*COMMAND, "serve", "--port", port, "--data-dir", str(tmp_path / "data"), "--workers", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS)
        assert done.returncode == 1
        assert "annoport.sqlite3 is damaged" in done.stderr
        assert "Traceback" not in done.stderr
        assert database.read_bytes() == damage
    database.unlink()
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert "the database is missing or empty" in done.stderr
    assert done.returncode == 1


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "serve", "--port", str(port), "--data-dir", str(tmp_path), "--workers", "0"]
    with Path("/dev/full").open("wb") as full, (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=full)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/api/tasks").status_code == 200:
                    break
            time.sleep(0.05)
        answer = httpx.post(f"http://127.0.0.1:{port}/api/tasks", json={"name": "t", "labels": []})
        assert answer.status_code == 201, answer.text
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
