"""What a client waits for beside archives: uploads, annotations as JSON, one frame, a small import by `cvat-cli`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

import httpx

from tests.bench.make_data import SUBSET, Counts, Files, make, picture_png
from tests.bench.run import BLOCK_BYTES, Bench, attach_frames
from tests.caller import FORMAT, Caller
from tests.clients.runners import Clients
from tests.processes import Meter
from tests.service import ADMIN, PASSWORD, Service, running_service

SCRIPTS = Path(__file__).parent / "scripts"
MODEL_SHAPES = 20_000
FRAME_CALLS = 100
TUS_BYTES = 10_000_000
BOUNDARY = b"0123456789abcdef" * 2


@dataclass
class Timed:
    """One measured thing: seconds, and what is beside it."""

    seconds: float
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    amount: float = 0.0


# --- uploads ---


@dataclass(frozen=True)
class Plain:
    """The server that does it the usual way."""

    url: str
    pid: int


def uploads(folder: Path, megabytes: int, rounds: int) -> dict[str, list[Timed]]:
    """The same bytes by every way, in turn; `amount` is MB/s of bytes on disk, synced."""
    folder.mkdir(parents=True, exist_ok=True)
    body = folder / "body.bin"
    with body.open("wb") as sink:
        for _ in range(megabytes):
            sink.write(os.urandom(1 << 20))
    found: dict[str, list[Timed]] = {name: [] for name in ("usual", "raw", "ours: body", "ours: form", "ours: tus")}
    arguments = ["--workers", "0"]
    with (
        plain_server(folder) as plain,
        running_service(folder / "s", auth_mode="local", arguments=arguments) as service,
        Caller(service) as caller,
    ):
        caller.http.timeout = httpx.Timeout(600)
        number = _empty_task(service, caller)
        for turn in range(rounds):
            # Another one first each time, for the disk remembers what was asked of it before.
            names = list(found)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                os.sync()  # what the way before left in memory is not this one's to write
                server = service.process.pid if name.startswith("ours") else plain.pid
                with Meter(server) as meter:
                    start = time.perf_counter()
                    _upload(name, plain.url, service.url, number, body)
                    seconds = time.perf_counter() - start
                rate = body.stat().st_size / 1e6 / seconds
                found[name].append(Timed(seconds, meter.cpu_seconds, meter.peak_mib, rate))
                _forget(caller)
                # Nor is the memory of its file there for the next one alone: to find new memory takes twice as long.
                for left in (*folder.glob("tmp*/*"), *folder.glob("s/data/blobs/uploads/*/*")):
                    left.unlink()
    body.unlink()
    return found


def _empty_task(service: Service, caller: Caller) -> int:
    """A task of one frame; no worker is there to take pictures."""
    number = int(caller.json("POST", "/api/tasks", json={"name": "uploads", "labels": [{"name": "cat"}]})["id"])
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.txt"
        frames.write_text("a.png 10 10\n")
        attach_frames(service, number, Files(frames, frames, frames, frames))
    return number


class Sender:
    """A client that costs next to nothing: the kernel sends the file, so what is measured is the server."""

    def __init__(self, base: str) -> None:
        place = urlsplit(base)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port)

    def send(self, method: str, path: str, source: IO[bytes], piece: slice, headers: Mapping[str, str]) -> Any:
        """One request with a piece of the file, between what a form needs if its type says so; the answer's headers."""
        before = after = b""
        if "boundary=" in headers.get("Content-Type", ""):
            field = b'Content-Disposition: form-data; name="file"; filename="a.zip"'
            before, after = b"--%s\r\n%s\r\n\r\n" % (BOUNDARY, field), b"\r\n--%s--\r\n" % BOUNDARY
        self._connection.putrequest(method, path)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.putheader("Content-Length", str(len(before) + piece.stop - piece.start + len(after)))
        self._connection.endheaders(before or None)
        at = piece.start
        while at < piece.stop:
            at += os.sendfile(self._connection.sock.fileno(), source.fileno(), at, min(piece.stop - at, BLOCK_BYTES))
        self._connection.sock.sendall(after)
        answer = self._connection.getresponse()
        told = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {told[:3000]!r}"
        return answer.headers

    def close(self) -> None:
        self._connection.close()


def _upload(name: str, plain: str, ours: str, number: int, body: Path) -> None:
    sender = Sender(ours if name.startswith("ours") else plain)
    path = f"/api/tasks/{number}/import?{urlencode({'format': FORMAT, 'wait': 0})}"
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    with body.open("rb") as source:
        whole = slice(0, body.stat().st_size)
        if name == "ours: tus":
            _tus(sender, number, source, whole.stop)
        else:
            path = {"usual": "/usual", "raw": "/raw"}.get(name, path)
            sender.send("POST", path, source, whole, form if name in ("usual", "ours: form") else {})
    sender.close()


def _tus(sender: Sender, number: int, source: IO[bytes], size: int) -> None:
    """As CVAT's clients do it: start, pieces of 10 MB, finish."""
    path = f"/api/tasks/{number}/annotations/?{urlencode({'format': FORMAT, 'filename': 'a.zip'})}"
    nothing = slice(0, 0)
    sender.send("POST", path, source, nothing, {"Upload-Start": ""})
    about = {"Upload-Length": str(size), "Tus-Resumable": "1.0.0", "Upload-Metadata": "filename YS56aXA="}
    place = urlsplit(sender.send("POST", path, source, nothing, about)["Location"]).path
    chunk = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
    for at in range(0, size, TUS_BYTES):
        piece = slice(at, min(at + TUS_BYTES, size))
        sender.send("PATCH", place, source, piece, {**chunk, "Upload-Offset": str(at)})
    sender.send("POST", path, source, nothing, {"Upload-Finish": ""})


def _forget(caller: Caller) -> None:
    """Cancel what waits for a worker, so that the next upload may begin."""
    for request in caller.json("GET", "/api/requests")["results"]:
        if request["status"] not in ("finished", "failed"):
            caller.http.post(f"/api/requests/{request['id']}/cancel")


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[Plain]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SCRIPTS / "plain_uploads.py"), str(port), str(folder)]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(folder)})
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield Plain(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.kill()
        process.wait()


# --- annotations as JSON, one frame ---


def annotations(folder: Path, counts: Counts, frame_counts: Counts, rounds: int) -> dict[str, list[Timed]]:
    """All shapes as JSON, and single frames read and saved in a task of many shapes; and the usual way for JSON."""
    found: dict[str, list[Timed]] = {
        name: [] for name in ("json", "json, response models", "frame read", "frame saved")
    }
    with running_service(folder / "s", auth_mode="local") as service:
        bench, number = filled_task(service, folder / "json.zip", counts, single=0)
        for _ in range(rounds):
            bench.stream("json", f"/api/tasks/{number}/annotations", None)
            step = bench.steps[-1]
            found["json"].append(Timed(step.wall_seconds, step.cpu_seconds, step.peak_mib, step.amount))
            done = subprocess.run(
                [sys.executable, str(SCRIPTS / "response_models.py"), str(MODEL_SHAPES)],
                capture_output=True,
                text=True,
                check=True,
            )
            told, scale = json.loads(done.stdout), counts.boxes / MODEL_SHAPES
            found["json, response models"].append(Timed(told["wall_seconds"] * scale, told["cpu_seconds"] * scale))
        bench.caller.http.close()
        bench, number = filled_task(service, folder / "frame.zip", frame_counts, single=2)
        job = bench.caller.json("GET", f"/api/jobs?task_id={number}&page_size=3")["results"]
        job_id = min(each["id"] for each in job)
        path = f"/api/jobs/{job_id}/annotations"
        held = bench.caller.json("GET", path)
        for _ in range(rounds):
            for name, method in (("frame read", "GET"), ("frame saved", "PUT")):
                each = []
                with Meter(service.process.pid) as meter:
                    for _ in range(FRAME_CALLS):
                        start = time.perf_counter()
                        answer = bench.caller.call(method, path, **({"json": held} if method == "PUT" else {}))
                        each.append(time.perf_counter() - start)
                        held = answer.json() if method == "PUT" else held
                found[name].append(Timed(statistics.median(each), meter.cpu_seconds / FRAME_CALLS, meter.peak_mib))
        bench.caller.http.close()
    return found


def filled_task(service: Service, archive: Path, counts: Counts, single: int) -> tuple[Bench, int]:
    """A task with everything of an archive in it; its first `single` jobs have one frame each."""
    files = make(archive, counts, seed=1)
    bench = Bench(service, files)
    body = {"name": "bench", "labels": json.loads(files.labels.read_text()), "subset": SUBSET}
    number = int(bench.caller.json("POST", "/api/tasks", json=body)["id"])
    attach_frames(service, number, files, single=single)
    bench.bring(number, "import", counts.boxes)
    return bench, number


# --- cvat-cli ---


def small_import(folder: Path, rounds: int) -> list[Timed]:
    """`cvat-cli task import-dataset` of three pictures' annotations, from the command's start to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "small.zip"
    names = ("a", "b", "c")
    boxes = "".join(f"{name},xclick,cat,1,0.1,0.5,0.2,0.6,0,0,0,0,0\n" for name in names)
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("annotations/class-descriptions.csv", "cat,cat\n")
        target.writestr(
            f"annotations/{SUBSET}-annotations-bbox.csv",
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
            f"IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n{boxes}",
        )
    found = []
    with running_service(folder / "s", auth_mode="users") as service:
        clients = Clients(service, folder / "home")
        clients.home.mkdir(parents=True, exist_ok=True)
        pictures = {f"{name}.png": picture_png((64, 48)) for name in names}
        with Caller(service) as caller:
            number = caller.task("small", [{"name": "cat"}], pictures)
        for _ in range(rounds):
            with Meter(service.process.pid) as meter:
                start = time.perf_counter()
                auth = f"{ADMIN}:{PASSWORD}"
                clients.cli("task", "import-dataset", "--format", FORMAT, str(number), str(archive), auth=auth)
                seconds = time.perf_counter() - start
            found.append(Timed(seconds, meter.cpu_seconds, meter.peak_mib))
        start = time.perf_counter()
        clients.cli("task", "ls")
        found.append(Timed(time.perf_counter() - start, 0, 0))  # what the client takes for nothing at all
    return found


def summary(found: dict[str, list[Timed]]) -> dict[str, Any]:
    """Medians, and the largest peak."""
    return {
        name: Timed(
            statistics.median(one.seconds for one in each),
            statistics.median(one.cpu_seconds for one in each),
            max(one.peak_mib for one in each),
            statistics.median(one.amount for one in each),
        )
        for name, each in found.items()
        if each
    }
