"""The whole service in one process: its API over a store in a folder, and a worker that runs when something waits.

    desk = Desk(folder);  task = desk.task({"a.jpg": (8, 6)}, LABELS)
    report = task.bring({"upload.zip": zipped, "train-masks-0.zip": masks}, unmatched="skip")
    members = task.export(layout="official");  task.annotations()

What goes in and comes out is what a client sends and gets; only the processes between are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.api import ApiSettings, Services, build_app
from app.background import handlers_of
from app.columns import Ragged
from app.formats import FORMATS
from app.operations import stream_dataset
from app.requests import open_queue
from app.settings import Settings
from app.storage import FrameColumns, FramePlaces, TaskData, requests, tasks
from tests.api.working import work
from tests.formats.builders import read_zip
from tests.storage.stores import Place, lay_database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

FORMAT = "Open Images V7 1.0"


class Desk:
    """A service; `close` it, or use it as a context. `place`: where its store is, by default in the folder, new."""

    def __init__(self, folder: Path, place: Place | None = None, **settings: Any) -> None:
        self.settings = Settings(data_dir=folder, min_free_bytes=0, **settings)
        if place is None:
            lay_database(folder)
            place = Place("", "", folder)
        self.storage = place.open(pool_size=8)
        self.queue = open_queue("", folder)
        api_settings = ApiSettings(allowed_hosts=("localhost",), request_hold_seconds=0.0)
        self.services = Services(
            settings=api_settings,
            storage=self.storage,
            queue=self.queue,
            version="0",
            formats=FORMATS,
            stream_export=self._stream,
        )
        self.client = TestClient(build_app(self.services), base_url="http://localhost")
        self._handlers = handlers_of(self.settings)

    async def _stream(self, job: Mapping[str, Any]) -> AsyncIterator[bytes]:
        parts: list[bytes] = []
        stream_dataset(self.storage, job, lambda chunk: parts.append(bytes(chunk)))
        for part in parts:
            yield part

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.queue.close()
        self.storage.close()

    def work(self) -> None:
        """Do everything that waits."""
        work(self.services, self._handlers)

    def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """A call that must answer with this status; the JSON body."""
        answer = self.client.request(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def task(
        self,
        frames: Mapping[str, tuple[int, int]],
        labels: Sequence[Mapping[str, Any]],
        job_size: int = 0,
        **fields: Any,
    ) -> TaskDesk:
        """A task of frames, name → (width, height), whose pictures nobody needs."""
        number = self.call("POST", "/api/tasks", 201, json={"name": "t", "labels": list(labels), **fields})["id"]
        n, sizes = len(frames), np.array(list(frames.values()), dtype=np.int32).reshape(-1, 2)
        columns = FrameColumns(
            names=Ragged.from_bytes([name.encode() for name in frames]),
            widths=sizes[:, 0].copy(),
            heights=sizes[:, 1].copy(),
            places=FramePlaces(
                packs=np.zeros(n, dtype=np.int32),
                offsets=np.zeros(n, dtype=np.int64),
                stored_sizes=np.zeros(n, dtype=np.int64),
                sizes=np.zeros(n, dtype=np.int64),
                methods=np.zeros(n, dtype=np.uint8),
                crcs=np.full(n, -1, dtype=np.int64),
                orientations=np.ones(n, dtype=np.uint8),
            ),
        )
        step = job_size or n
        jobs = tuple((start, min(start + step, n)) for start in range(0, n, step))
        with self.storage.database.write() as conn:
            tasks.attach_data(conn, number, TaskData(jobs=jobs, segment_size=step, stop_frame=n - 1), columns)
        return TaskDesk(self, number)


class TaskDesk:
    """One task of a service."""

    def __init__(self, desk: Desk, number: int) -> None:
        self.desk, self.number = desk, number
        self.path = f"/api/tasks/{number}"

    def send(
        self, files: Mapping[str, bytes], path: str = "", texts: Mapping[str, str] | None = None, **query: Any
    ) -> tuple[str, dict[str, Any]]:
        """Import files of one form through our own door: the request's status, and its report.

        Args:
            texts: options that come as fields of the form.
        """
        form = [("file", (name, data)) for name, data in files.items()]
        url = f"{path or self.path}/import"
        asked = {"wait": "0", **query}
        told = self.desk.call("POST", url, 202, files=form, data=dict(texts or {}), params=asked)
        self.desk.work()
        with self.desk.storage.database.read() as conn:
            done = requests.load(conn, told["rq_id"])
        return done.status, dict(done.report or {"message": done.message})

    def bring(self, files: Mapping[str, bytes] | bytes, **query: Any) -> dict[str, Any]:
        """Import what has no errors; the report."""
        status, report = self.send({"upload.zip": files} if isinstance(files, bytes) else files, **query)
        assert status == "finished", report
        assert report["n_errors"] == 0
        return report

    def refuse(self, files: Mapping[str, bytes] | bytes, **query: Any) -> list[dict[str, Any]]:
        """Import what is refused; its errors."""
        status, report = self.send({"upload.zip": files} if isinstance(files, bytes) else files, **query)
        assert status == "failed", report
        return [problem for problem in report["problems"] if problem["severity"] == "error"]

    def export_zip(self, **query: Any) -> bytes:
        asked = {"format": FORMAT, "save_images": "false", **query}
        rq_id = self.desk.call("POST", f"{self.path}/dataset/export", 202, params=asked)["rq_id"]
        self.desk.work()
        answer = self.desk.client.get(f"{self.path}/dataset/download", params={"rq_id": rq_id})
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    def export(self, **query: Any) -> dict[str, bytes]:
        return read_zip(self.export_zip(**query))

    def annotations(self) -> dict[str, Any]:
        found: dict[str, Any] = self.desk.call("GET", f"{self.path}/annotations")
        return found

    def change(self, action: str, **tables: Any) -> dict[str, Any]:
        """PATCH with an action: create, update, delete."""
        body = {"version": 0, "tags": [], "shapes": [], "tracks": [], **tables}
        found: dict[str, Any] = self.desk.call(
            "PATCH", f"{self.path}/annotations", params={"action": action}, json=body
        )
        return found

    def put(self, **tables: Any) -> dict[str, Any]:
        body = {"version": 0, "tags": [], "shapes": [], "tracks": [], **tables}
        found: dict[str, Any] = self.desk.call("PUT", f"{self.path}/annotations", json=body)
        return found

    def labels(self) -> dict[str, dict[str, Any]]:
        """The labels by name."""
        listed = self.desk.call("GET", "/api/labels", params={"task_id": str(self.number), "page_size": "500"})
        return {label["name"]: label for label in listed["results"]}
