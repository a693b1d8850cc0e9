"""A disk that is full or broken: nothing acknowledged is lost, nothing half there, and all works again after."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api import ApiSettings, Services, build_app
from app.formats import FORMATS
from app.operations import Limits, export_dataset, import_annotations, ingest_images
from app.requests import open_queue
from app.requests.worker import Handler
from app.storage import open_storage
from tests.api.conftest import BASE_URL
from tests.api.working import TestClient, filled_task, picture, work
from tests.kills.actors import FORMAT, boxes, packed, shown, unpacked
from tests.kills.shapes import Embedded, wait_for

HANDLERS: Mapping[str, Handler] = {
    "create:task": partial(ingest_images, limits=Limits()),
    "import:annotations": partial(import_annotations, limits=Limits()),
    "export:dataset": export_dataset,
    "export:annotations": export_dataset,
}
TROUBLE = (503, 507)


class Faults:
    """Lets the n-th opening, writing, syncing or renaming of a stored file fail."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int, code: int) -> None:
        self.left = n
        self.code = code
        for name in ("fsync", "replace"):
            patch.setattr(os, name, self.failing(getattr(os, name)))
        patch.setattr("app.storage.blobs.open", self.open, raising=False)

    def failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **named)

        return call

    def open(self, *arguments: Any, **named: Any) -> Any:
        return Written(self.failing(builtins.open)(*arguments, **named), self)


class Written:
    """A file whose writing may fail."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self.write = faults.failing(file.write)
        self.flush = faults.failing(file.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    storage, queue = open_storage("", "", tmp_path, min_free_bytes=0, pool_size=8), open_queue("", tmp_path)
    settings = ApiSettings(allowed_hosts=("localhost",), request_hold_seconds=0.0)
    yield Services(settings=settings, storage=storage, queue=queue, version="0", formats=FORMATS)
    queue.close()
    storage.close()


class Session:
    """Somebody who edits, uploads, imports and exports, and is content with refusals that name the disk."""

    def __init__(self, client: TestClient, services: Services) -> None:
        self.client, self.services = client, services
        self.task = filled_task(client, services, {"a.png": picture(1000, 1000)}, labels=[{"name": "cat"}])
        self.label = client.get(f"/api/labels?task_id={self.task}").json()["results"][0]["id"]
        self.path = f"/api/tasks/{self.task}"
        self.state: tuple[int, ...] = ()

    def asked(self, answer: Any, *statuses: int) -> bool:
        assert answer.status_code in (*statuses, *TROUBLE), answer.text
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
        return answer.status_code in statuses

    def worked(self, answer: Any) -> Any:
        """The request at its end, if it was taken."""
        if not self.asked(answer, 202):
            return None
        for _ in range(4):  # put off by a broken disk, it comes again with the next sweep
            self.services.queue.send(answer.json()["rq_id"])
            work(self.services, HANDLERS)
            request = self.client.get(f"/api/requests/{answer.json()['rq_id']}").json()
            if request["status"] in ("finished", "failed"):
                assert request["status"] == "finished" or "disk" in request["message"], request
                return request
        raise AssertionError(request)

    def everything(self) -> None:
        if self.asked(self.client.put(self.path + "/annotations", json={"shapes": boxes((3, 5), self.label)}), 200):
            self.state = (3, 5)
        self.check()
        files = {"annotation_file": ("a.zip", packed((7, 9, 11)))}
        done = self.worked(self.client.post(self.path + "/annotations", params={"format": FORMAT}, files=files))
        if done is not None and done["status"] == "finished":
            self.state = (7, 9, 11)
        self.check()
        self.tus()
        self.check()
        done = self.worked(self.client.post(self.path + "/dataset/export", params={"format": FORMAT}))
        if done is not None and done["status"] == "finished":
            answer = self.client.get("/api/" + done["result_url"].partition("/api/")[2])
            assert unpacked(answer.content) == self.state

    def tus(self) -> None:
        body = packed((13,))
        headers = {"Upload-Length": str(len(body)), "Upload-Metadata": "filename YS56aXA="}
        created = self.client.post(self.path + "/annotations", headers=headers)
        if not self.asked(created, 201):
            return
        place, name = created.headers["location"], created.headers["upload-filename"]
        offset = 0
        for part in (body[:300], body[300:]):
            headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            answer = self.client.patch(place, headers=headers, content=part)
            known = int(self.client.head(place).headers["upload-offset"])
            if not self.asked(answer, 204):
                assert known == offset
                return
            offset = int(answer.headers["upload-offset"])
            assert known == offset
        query = {"format": FORMAT, "filename": name}
        done = self.worked(self.client.post(self.path + "/annotations", params=query, headers={"Upload-Finish": ""}))
        if done is not None and done["status"] == "finished":
            self.state = (13,)

    def check(self) -> None:
        assert shown(self.client.get(self.path + "/annotations").json()) == self.state


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["disk full", "disk broken"])
def test_every_write_may_fail_once(services: Services, code: int) -> None:
    app: FastAPI = build_app(services)
    with TestClient(app, base_url=BASE_URL) as client:
        session = Session(client, services)
        for n in range(1, 60):
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch, n, code)
                session.everything()
            incoming = list((services.storage.blobs.incoming).iterdir())  # type: ignore[attr-defined]
            assert incoming == []
            if faults.left > 0:
                break
        else:
            pytest.fail("the calls do not end")
        assert n > 20, f"only {n} calls"
        session.everything()
        assert session.state == (13,)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Take all the room that there is."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("webs", [1, 2])
def test_a_full_disk_refuses_writing_and_goes_on_reading(small_disk: Path, tmp_path: Path, webs: int) -> None:
    log = tmp_path / "service.log"  # the small disk has no room for it
    shape = Embedded(small_disk, workers=1, webs=webs, settings={"ANNOPORT_MIN_FREE_BYTES": "0"}, log=log)
    try:
        fill_and_go_on(small_disk, shape)
    except AssertionError as error:
        error.add_note(shape.tail())
        shape.kill()
        raise
    assert not list((small_disk / "data" / "blobs" / ".incoming").iterdir())
    shape.stop()


def fill_and_go_on(small_disk: Path, shape: Embedded) -> None:
    with httpx.Client(base_url=shape.url(), timeout=180) as client:
        task = client.post("/api/tasks", json={"name": "t", "labels": [{"name": "cat"}]}).json()["id"]
        files = {"client_files[0]": ("a.png", picture(1000, 1000))}
        rq_id = client.post(f"/api/tasks/{task}/data", files=files).json()["rq_id"]
        while client.get(f"/api/requests/{rq_id}").json()["status"] != "finished":
            pass
        label = client.get(f"/api/labels?task_id={task}").json()["results"][0]["id"]
        path = f"/api/tasks/{task}/annotations"
        assert client.put(path, json={"shapes": boxes((5,), label)}).status_code == 200
        ballast = small_disk / "ballast"
        fill(ballast)
        statuses = set()
        for _ in range(30):  # the log of the database has room for some
            answer = client.put(path, json={"shapes": boxes(tuple(range(1, 900)), label)})
            statuses.add(answer.status_code)
        assert 507 in statuses
        assert statuses <= {200, 507}
        refused = client.post(
            f"/api/tasks/{task}/import?wait=150", content=packed(tuple(range(1, 900))) + bytes(1 << 20)
        )
        assert refused.status_code == 507, refused.text
        assert refused.json()["code"] == "no_space"
        before = shown(client.get(path).json())
        assert before in ((5,), tuple(range(1, 900)))
        assert client.get(f"/api/tasks/{task}/export").status_code == 200
        read_everywhere(client)
        for role, pid in shape.victims():
            if role in ("child-stream", "child-web"):  # the one that takes its place begins on a full disk
                os.kill(pid, signal.SIGKILL)
        wait_for(shape.url)
        with httpx.Client(base_url=shape.url(), timeout=60) as other:
            assert other.get(f"/api/tasks/{task}/export").status_code == 200
            read_everywhere(other)
    ballast.unlink()
    with httpx.Client(base_url=shape.url(), timeout=60) as client:
        assert client.put(path, json={"shapes": boxes((6,), label)}).status_code == 200
        taken = client.post(f"/api/tasks/{task}/import?wait=150", content=packed((8,)))
        assert taken.status_code == 200, taken.text
        assert shown(client.get(path).json()) == (8,)


def read_everywhere(client: httpx.Client) -> None:
    """Each route is counted by a number of its own, which has to have room somewhere."""
    for path in ("tasks", "projects", "jobs", "labels", "requests", "users", "issues", "server/about", "tasks/9999"):
        assert client.get(f"/api/{path}").status_code in (200, 404), path
    assert client.get("/metrics").status_code == 200


def test_a_service_starts_on_a_full_disk_and_reads(small_disk: Path, tmp_path: Path) -> None:
    """After a crash, and without the file of the queue; with room all goes on by itself."""
    log = tmp_path / "service.log"
    shape = Embedded(small_disk, workers=1, settings={"ANNOPORT_MIN_FREE_BYTES": "0"}, log=log)
    with httpx.Client(base_url=shape.url(), timeout=60) as client:
        task = client.post("/api/tasks", json={"name": "t", "labels": [{"name": "cat"}]}).json()["id"]
    shape.kill()
    for left in (small_disk / "data").glob("queue.sqlite3*"):
        left.unlink()
    ballast = small_disk / "ballast"
    fill(ballast)
    shape.revive()
    try:
        with httpx.Client(base_url=shape.url(), timeout=60) as client:
            assert client.get(f"/api/tasks/{task}").json()["name"] == "t"
            ballast.unlink()
            files = {"client_files[0]": ("a.png", picture(1000, 1000))}
            rq_id = client.post(f"/api/tasks/{task}/data", files=files).json()["rq_id"]
            while (request := client.get(f"/api/requests/{rq_id}").json())["status"] not in ("finished", "failed"):
                pass
            assert request["status"] == "finished", request
    except AssertionError as error:
        error.add_note(shape.tail())
        shape.kill()
        raise
    shape.stop()


def test_a_service_waits_for_room_to_start(small_disk: Path, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    shape = Embedded(small_disk, workers=1, settings={"ANNOPORT_MIN_FREE_BYTES": "0"}, log=log)
    shape.stop()
    ballast = small_disk / "ballast"
    fill(ballast)

    def make_room() -> None:
        while "waiting for room" not in log.read_text():
            time.sleep(0.05)
        ballast.unlink()

    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(make_room)
        shape.revive()
        made.result()
    assert "no space left" in log.read_text()
    shape.stop()
