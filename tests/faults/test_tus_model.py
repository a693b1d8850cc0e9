"""Random chunks of resumable uploads to a real service, with cuts, wrong offsets, two writers and kills, against a
model that knows what was acknowledged.

    chunk            204 and the offset behind it
    cut              what had arrived may count: HEAD tells so much, and the upload goes on there
    wrong offset     409 with the true one         past the end   413, and the offset stays
    kill -9          every acknowledged byte is there

At the end the archive is imported, which reads every byte of it. A few steps run always, many with
`pytest -m long tests/faults/test_tus_model.py`.
"""

from __future__ import annotations

import base64
import contextlib
import io
import random
import signal
import socket
import struct
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.caller import FORMAT, Caller
from tests.processes import family
from tests.samples import picture
from tests.service import Service, _end, start_service

SIZES = (1, 2, 100, 8191, 65_535, 65_536, 65_537, 200_000, 1 << 20, 3_000_001)
TYPE = "application/offset+octet-stream"


@dataclass
class Upload:
    """One upload, as the client knows it: `low` bytes were acknowledged, at most `high` were sent."""

    path: str
    name: str
    data: bytes
    low: int = 0
    high: int = 0

    def told(self, offset: int, *, is_last: bool = True) -> None:
        """The service told where to go on; it may be further on later, if what was sent may still be on its way."""
        assert self.low <= offset <= self.high, (self.low, offset, self.high)
        self.low, self.high = offset, offset if is_last else self.high


def archive_of(rng: random.Random, n_bytes: int) -> bytes:
    """A zip of one box and a file that is kept, of bytes nobody can guess."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as zipped:
        zipped.writestr("train-annotations-bbox.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,0,0.5,0,0.5\n")
        zipped.writestr("notes.bin", rng.randbytes(n_bytes))
    return into.getvalue()


class Run:
    """A service that is killed and started again, and some uploads to one task."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.start()
        with Caller(self.service) as caller:
            self.task = caller.task("t", [{"name": "cat"}], {"a.png": picture(8, 6)})
        self.uploads: list[Upload] = []

    def start(self) -> None:
        self.service: Service = start_service(self.folder, auth_mode="local")
        self.http = httpx.Client(base_url=self.service.url, timeout=180)

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, path, **more)

    def begin(self, n_bytes: int) -> None:
        data = archive_of(self.rng, n_bytes)
        name = base64.b64encode(b"upload.zip").decode()
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": f"filename {name}"}
        made = self.call("POST", f"/api/tasks/{self.task}/annotations/", headers=headers)
        assert made.status_code == 201, made.text
        place = urlsplit(made.headers["location"]).path
        self.uploads.append(Upload(place, made.headers["upload-filename"], data))

    def patch(self, upload: Upload, offset: int, data: bytes, **more: str) -> httpx.Response:
        headers = {"Tus-Resumable": "1.0.0", "Content-Type": TYPE, "Upload-Offset": str(offset), **more}
        return self.call("PATCH", upload.path, content=data, headers=headers)

    def ask(self, upload: Upload, *, is_last: bool = True) -> None:
        answer = self.call("HEAD", upload.path, headers={"Tus-Resumable": "1.0.0"})
        assert answer.status_code == 200
        assert int(answer.headers["upload-length"]) == len(upload.data)
        upload.told(int(answer.headers["upload-offset"]), is_last=is_last)

    def piece(self, upload: Upload) -> bytes:
        """The next bytes of an upload whose offset is known."""
        size = min(self.rng.choice(SIZES), len(upload.data) - upload.low)
        return upload.data[upload.low : upload.low + size]

    # --- steps ---

    def chunk(self, upload: Upload) -> None:
        data = self.piece(upload)
        answer = self.patch(upload, upload.low, data)
        if answer.status_code == 409 and upload.low < upload.high:  # more of an earlier one had arrived
            assert int(answer.headers["upload-offset"]) > upload.low
            upload.told(int(answer.headers["upload-offset"]))
            return
        assert answer.status_code == 204, answer.text
        upload.low = upload.high = upload.low + len(data)
        upload.told(int(answer.headers["upload-offset"]))

    def refused(self, upload: Upload) -> None:
        """Each leaves the upload as it was."""
        rest = len(upload.data) - upload.low
        wrong = self.rng.choice(
            [at for at in (0, upload.low - 1, upload.low + 1, 10**12) if at not in (upload.low, -1)]
        )
        answer = self.patch(upload, wrong, self.rng.randbytes(self.rng.choice([1, 100_000])))
        assert (answer.status_code, answer.headers["upload-offset"]) == (409, str(upload.low))
        assert self.patch(upload, upload.low, self.rng.randbytes(rest + 1)).status_code == 413
        # A body of unknown length is found out by its bytes.
        chunks = iter([upload.data[upload.low :], b"x"])
        assert self.patch(upload, upload.low, chunks).status_code == 413  # type: ignore[arg-type]
        assert self.patch(upload, upload.low, b"x", **{"Content-Type": "text/plain"}).status_code == 415
        assert self.patch(upload, upload.low, b"x", **{"Upload-Offset": "-1"}).status_code == 400
        assert self.call("HEAD", upload.path[:-1] + "!", headers={"Tus-Resumable": "1.0.0"}).status_code == 404
        self.ask(upload)

    def empty(self, upload: Upload) -> None:
        answer = self.patch(upload, upload.low, b"")
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(upload.low))

    def cut(self, upload: Upload) -> None:
        """A chunk whose sender goes in the middle."""
        data = self.piece(upload)
        sent = self.send_some(upload, data, self.rng.randrange(len(data) + 1))
        upload.high = upload.low + sent
        self.ask(upload, is_last=False)
        if upload.low < len(upload.data):
            self.chunk(upload)
        self.ask(upload)

    def send_some(self, upload: Upload, data: bytes, n_bytes: int) -> int:
        """The head of a chunk and some of its bytes, then an end or a reset."""
        url = urlsplit(self.service.url)
        head = (
            f"PATCH {upload.path} HTTP/1.1\r\nHost: {url.netloc}\r\nTus-Resumable: 1.0.0\r\nContent-Type: {TYPE}\r\n"
            f"Upload-Offset: {upload.low}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with socket.create_connection((url.hostname, url.port), timeout=180) as connection:
            connection.sendall(head.encode() + data[:n_bytes])
            if self.rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return n_bytes

    def race(self, upload: Upload) -> None:
        """Two writers of the same place: at least one is told 204; what both sent is the same."""
        data = self.piece(upload)
        answers: list[httpx.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(self.patch(upload, upload.low, data))) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses in ([204, 409], [204, 423]), statuses
        upload.high += len(data)
        upload.low = upload.high
        assert {answer.headers.get("upload-offset", str(upload.low)) for answer in answers} == {str(upload.low)}

    def kill(self, upload: Upload) -> None:
        """kill -9 of everything in the middle of a chunk."""
        data = self.piece(upload)
        with contextlib.suppress(OSError):
            self.send_some(upload, data, self.rng.randrange(len(data) + 1))
        upload.high = upload.low + len(data)
        self.end()
        self.start()
        self.ask(upload)

    def end(self) -> None:
        self.http.close()
        pids = family(self.service.process.pid)
        self.service.process.send_signal(signal.SIGKILL)
        self.service.process.wait()
        _end(pids)

    # --- the whole ---

    def work(self, n_steps: int, n_kills: int) -> None:
        weights: Mapping[str, int] = {"chunk": 6, "refused": 2, "empty": 1, "cut": 5, "race": 2}
        kills = set(self.rng.sample(range(n_steps), n_kills))
        for step in range(n_steps):
            open_ones = [upload for upload in self.uploads if upload.low < len(upload.data)]
            if not open_ones:
                break
            upload = self.rng.choice(open_ones)
            (name,) = self.rng.choices([*weights], [*weights.values()])
            getattr(self, "kill" if step in kills else name)(upload)
            for other in self.uploads:  # nobody else was moved
                self.ask(other)
        for upload in self.uploads:
            self.finish(upload)

    def finish(self, upload: Upload) -> None:
        asked = {"format": FORMAT, "filename": upload.name, "conv_mask_to_poly": "false"}
        path = f"/api/tasks/{self.task}/annotations/"
        if upload.low < len(upload.data):
            early = self.call("POST", path, params=asked, headers={"Upload-Finish": ""})
            assert early.status_code == 400, early.text
        while upload.low < len(upload.data):
            self.chunk(upload)
        done = self.call("POST", path, params=asked, headers={"Upload-Finish": ""})
        assert done.status_code == 202, done.text
        with Caller(self.service) as caller:
            caller.wait(done.json()["rq_id"])
            caller.export(self.task, self.folder / "back.zip")
        with zipfile.ZipFile(self.folder / "back.zip") as back, zipfile.ZipFile(io.BytesIO(upload.data)) as sent:
            assert back.read("notes.bin") == sent.read("notes.bin")


def play(folder: Path, seed: int, n_steps: int, n_kills: int) -> None:
    run = Run(folder, seed)
    try:
        for n_bytes in (70_000, 500_000, 5_000_000):
            run.begin(n_bytes)
        run.work(n_steps, n_kills)
        log = run.service.log.read_text(errors="replace")
        assert "Traceback" not in log, run.service.tail()
        left = [*run.service.data_dir.rglob(".incoming/*")]
        assert len(left) <= n_kills, left  # what a killed process was writing goes when it is old
    finally:
        run.end()


def test_bytes_that_were_acknowledged_are_there(tmp_path: Path) -> None:
    play(tmp_path, seed=1, n_steps=24, n_kills=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_chunks(tmp_path: Path, seed: int) -> None:
    play(tmp_path, seed, n_steps=150, n_kills=4)
