"""`annoport demo`: the main job before a newcomer's eyes, through a real, running service.

Pictures with shapes of known places are drawn, a task is made of them, an Open Images archive with boxes, tags and
masks goes in, and the task's archive comes back; every step prints what it did and the `curl` line that does the same.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from app.archive import ArchiveWriter
from app.errors import AppError
from app.images import encode_mask, encode_picture

WIDTH, HEIGHT = 640, 480
LABELS = {"/m/demo1": "ball", "/m/demo2": "box"}
START_SECONDS = 60.0
BOUNDARY = "annoport-demo-boundary"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One shape of a picture: its class, its box in pixels (x0 y0 x1 y1) and its pixels."""

    label: str
    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]


def draw_picture(seed: int) -> tuple[npt.NDArray[np.uint8], list[Drawn]]:
    """A picture (HEIGHT, WIDTH, 3) of balls and boxes on a soft ground, and where they are."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    ground = random.integers(150, 230, 3)
    light = (rows / HEIGHT * 40 + columns / WIDTH * 20)[..., None]
    pixels = np.clip(ground + light - 30 + random.normal(0, 3, (HEIGHT, WIDTH, 1)), 0, 255)
    shapes = []
    for _ in range(int(random.integers(2, 5))):
        width, height = (int(random.integers(60, 200)) for _ in range(2))
        x, y = int(random.integers(0, WIDTH - width)), int(random.integers(0, HEIGHT - height))
        if random.random() < 0.5:
            label = "/m/demo1"
            inside = ((columns + 0.5 - x - width / 2) / (width / 2)) ** 2 + (
                (rows + 0.5 - y - height / 2) / (height / 2)
            ) ** 2 <= 1
        else:
            label = "/m/demo2"
            inside = (columns >= x) & (columns < x + width) & (rows >= y) & (rows < y + height)
        color = random.integers(20, 220, 3)
        shade = 1 - 0.35 * ((columns - x) / width + (rows - y) / height)[..., None] / 2
        pixels = np.where(inside[..., None], np.clip(color * shade, 0, 255), pixels)
        shapes.append(Drawn(label, (x, y, x + width, y + height), inside))
    return pixels.astype(np.uint8), shapes


def build_archive(path: Path, drawings: dict[str, list[Drawn]]) -> None:
    """An Open Images archive of the drawings: boxes, image labels, masks of the balls."""
    boxes = [
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    ]
    tags = ["ImageID,Source,LabelName,Confidence"]
    masks = ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"]
    with path.open("wb") as file:
        archive = ArchiveWriter(lambda chunk: file.write(chunk) and None)
        for image, shapes in drawings.items():
            for label in sorted({shape.label for shape in shapes}):
                tags.append(f"{image},verification,{label},1")
            for number, shape in enumerate(shapes):
                x0, y0, x1, y1 = shape.box
                place = f"{x0 / WIDTH:.6f},{x1 / WIDTH:.6f},{y0 / HEIGHT:.6f},{y1 / HEIGHT:.6f}"
                boxes.append(f"{image},xclick,{shape.label},1,{place},0,0,0,0,0")
                if shape.label == "/m/demo1":
                    name = f"{image}_{shape.label.replace('/', '')}_{number:08x}.png"
                    masks.append(f"{name},{image},{shape.label},{number:08x},{place},0.9,")
                    archive.add_stored(f"masks/train/{name}", encode_mask(np.packbits(shape.mask, axis=1), WIDTH))
        texts = {
            "annotations/class-descriptions.csv": [f"{mid},{name}" for mid, name in LABELS.items()],
            "annotations/train-image_ids_and_rotation.csv": ["ImageID,Subset", *(f"{i},train" for i in drawings)],
            "annotations/train-annotations-bbox.csv": boxes,
            "annotations/train-annotations-human-imagelabels.csv": tags,
            "annotations/train-annotations-object-segmentation.csv": masks,
        }
        for name, lines in texts.items():
            with archive.open_deflated(name) as member:
                member.write(("\n".join(lines) + "\n").encode())
        archive.close()


class Client:
    """Just enough HTTP for the demo."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme != "http" or parts.hostname is None:
            raise AppError(f"{address} is not an http address such as http://127.0.0.1:8080")
        self._host, self._port = parts.hostname, parts.port or 80

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if body is not None else {})
            answer = connection.getresponse()
            data = answer.read()
        except OSError as error:
            raise AppError(f"no service answers at {self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise AppError(f"{method} {path} was answered with {answer.status}: {data.decode(errors='replace')[:500]}")
        return data

    def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self.call(method, path, None if body is None else json.dumps(body).encode()))

    def wait(self, request_id: str) -> None:
        while True:
            request = self.json("GET", f"/api/requests/{request_id}")
            if request["status"] == "failed":
                raise AppError(request["message"])
            if request["status"] == "finished":
                return
            time.sleep(0.1)


def form_of(files: list[tuple[str, bytes]], fields: dict[str, str]) -> bytes:
    """A multipart body with `client_files[…]`."""
    parts = []
    for name, value in fields.items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for index, (name, data) in enumerate(files):
        head = f'Content-Disposition: form-data; name="client_files[{index}]"; filename="{name}"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def running_service(data_dir: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A service of our own on a free port; ends with the block."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if " serves " not in line:
            raise AppError("the service did not start; run `annoport serve` to see why")
        yield line.split(" serves ", 1)[1].strip(), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def run_demo(*, data_dir: Path | None, url: str | None, output: Path, n_frames: int, stop: bool) -> None:
    """Draw, create, import, export; leave pictures, `upload.zip` and the task's zip in `output`."""
    output.mkdir(parents=True, exist_ok=True)
    if url is not None:
        play(Client(url), url.rstrip("/"), output, n_frames)
        return
    with running_service(data_dir or output / "data") as (address, process):
        play(Client(address), address, output, n_frames)
        if not stop:
            click.echo(f"\nThe service stays up at {address} - look around; Ctrl-C ends it.")
            try:
                process.wait()
            except KeyboardInterrupt:
                click.echo("")


def play(client: Client, address: str, output: Path, n_frames: int) -> None:
    """The main job, step by step."""
    pictures, drawings = [], {}
    for index in range(n_frames):
        pixels, shapes = draw_picture(index)
        name = f"{index + 0xA11CE:016x}"
        data = encode_picture(pixels, "JPEG")
        (output / f"{name}.jpg").write_bytes(data)
        pictures.append((f"{name}.jpg", data))
        drawings[name] = shapes
    archive_path = output / "upload.zip"
    build_archive(archive_path, drawings)
    click.echo(f"1. drew {n_frames} pictures and wrote {archive_path}")

    checkbox = [
        {"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]}
        for name in ("truncated", "is_group_of", "is_depiction", "is_inside")
    ]
    labels = [{"name": name, "attributes": checkbox} for name in LABELS.values()]
    task = client.json("POST", "/api/tasks", {"name": "demo", "labels": labels})
    form = form_of(pictures, {"image_quality": "70"})
    answer = client.call("POST", f"/api/tasks/{task['id']}/data", form, f"multipart/form-data; boundary={BOUNDARY}")
    client.wait(json.loads(answer)["rq_id"])
    click.echo(f"2. made task {task['id']} of them")

    body = archive_path.read_bytes()
    began = time.monotonic()
    path = f"/api/tasks/{task['id']}/import?wait=60"
    report = json.loads(client.call("POST", path, body, "application/zip"))
    seconds = time.monotonic() - began
    click.echo(f"3. imported it in {seconds:.2f} s: {report.get('message', report)}")
    click.echo(f"     curl '{address}{path}' -F file=@{archive_path}")
    for name, counts in report.get("tables", {}).items():
        click.echo(f"     {name}: {counts['seen']} rows, {counts['kept']} kept, {counts['dropped']} dropped")

    began = time.monotonic()
    path = f"/api/tasks/{task['id']}/export?save_images=true"
    exported = output / "demo.zip"
    exported.write_bytes(client.call("GET", path))
    click.echo(f"4. exported it in {time.monotonic() - began:.2f} s: {exported}, {exported.stat().st_size:,} bytes")
    click.echo(f"     curl -fOJ '{address}{path}'")
