"""What the tests of uploads, data and annotations share: pictures, forms, and a worker that runs at once."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from app.api import Services
from app.operations import Limits, ingest_images
from app.requests.limits import WorkerLimits
from app.requests.worker import Handler, run_request

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

HANDLERS: Mapping[str, Handler] = {"create:task": partial(ingest_images, limits=Limits())}


def work(services: Services, handlers: Mapping[str, Handler] = HANDLERS) -> None:
    """Run everything that was announced, here and now."""
    while (request_id := services.queue.receive()) is not None:
        run_request(services.storage, handlers, request_id, WorkerLimits(), threading.Event())
    services.queue.close()  # who waited for a message may have been a thread, which takes its connection along


def picture(width: int = 8, height: int = 6, seed: int = 0, kind: str = "PNG", orientation: int = 1) -> bytes:
    """A picture of random pixels; `orientation` goes into its EXIF data."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, kind, **({"exif": exif} if orientation != 1 else {}))
    return stream.getvalue()


def new_task(client: TestClient, **fields: Any) -> int:
    answer = client.post("/api/tasks", json={"name": "t", "labels": [{"name": "car"}], **fields})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def filled_task(client: TestClient, services: Services, pictures: Mapping[str, bytes], **fields: Any) -> int:
    """A task whose frames are these pictures."""
    of_data = ("image_quality", "chunk_size", "start_frame", "stop_frame", "frame_filter")
    params = {name: fields.pop(name) for name in of_data if name in fields}
    task_id = new_task(client, **fields)
    answer = client.post(f"/api/tasks/{task_id}/data", files=as_form(pictures), data=params)
    assert answer.status_code == 202, answer.text
    work(services)
    told = client.get(f"/api/requests/{answer.json()['rq_id']}").json()
    assert told["status"] == "finished", told
    return task_id


def as_form(pictures: Mapping[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [(f"client_files[{index}]", (name, data)) for index, (name, data) in enumerate(pictures.items())]


def raw_form(parts: Sequence[tuple[str, bytes]], boundary: str = "XX") -> tuple[bytes, dict[str, str]]:
    """A form written by hand: (Content-Disposition without `form-data; `, bytes) of each part; and its headers."""
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), data)
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def in_chunks(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
