"""Tasks and archives for the page's tests, made through the API."""

from __future__ import annotations

import csv
import io
import json
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from tests.samples import picture

CLASSES = (("/m/01yrx", "Cat"), ("/m/0bt9lr", "Dog"))
FLAGS = ("truncated", "is_group_of", "is_depiction", "is_inside")
BOX_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)


class Caller:
    """The API as the local admin."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **query: Any
    ) -> Any:
        address = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(
            address, data=body, method=method, headers={"Content-Type": kind} if body is not None else {}
        )
        with urllib.request.urlopen(request, timeout=180) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def post(self, path: str, value: Any) -> Any:
        return self.call("POST", path, json.dumps(value).encode())

    def wait(self, request_id: str) -> Any:
        while True:
            found = self.call("GET", f"/api/requests/{request_id}")
            if found["status"] in ("finished", "failed"):
                assert found["status"] == "finished", found["message"]
                return found

    def task(self, name: str, pictures: Mapping[str, bytes] | int = 3, labels: Sequence[str] = ("Cat", "Dog")) -> int:
        """A task with pictures; a number makes so many of 120 x 80 pixels, called p000.png, p001.png …"""
        attributes = [
            *({"name": flag, "mutable": False, "input_type": "checkbox", "values": ["false"]} for flag in FLAGS),
            {"name": "score", "mutable": False, "input_type": "text", "values": [""]},
        ]
        task = self.post(
            "/api/tasks", {"name": name, "labels": [{"name": one, "attributes": attributes} for one in labels]}
        )
        if isinstance(pictures, int):
            pictures = {f"p{number:03d}.png": picture(120, 80, number) for number in range(pictures)}
        answer = self.call("POST", f"/api/tasks/{task['id']}/data", zip_of(pictures), "application/zip")
        self.wait(answer["rq_id"])
        return int(task["id"])

    def load(self, task_id: int, archive: bytes, **query: Any) -> Any:
        """Import an archive; answers the report."""
        return self.call("POST", f"/api/tasks/{task_id}/import", archive, "application/zip", wait=150, **query)

    def annotations(self, task_id: int) -> Any:
        return self.call("GET", f"/api/tasks/{task_id}/annotations")


def zip_of(members: Mapping[str, bytes | str]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return body.getvalue()


def box(image: str, label: str = "/m/01yrx", place: str = "0.1,0.5,0.2,0.6", flags: str = "0,0,0,0,0") -> str:
    return f"{image},xclick,{label},1,{place},{flags}"


def archive(
    boxes: Sequence[str] = (),
    tags: Sequence[str] = (),
    more: Mapping[str, bytes | str] | None = None,
    classes: Sequence[tuple[str, str]] = CLASSES,
) -> bytes:
    """An Open Images archive of rows."""
    described = io.StringIO()
    csv.writer(described, lineterminator="\n").writerows(classes)
    members: dict[str, bytes | str] = {"annotations/class-descriptions.csv": described.getvalue()}
    if boxes:
        members["annotations/train-annotations-bbox.csv"] = "\n".join([BOX_HEADER, *boxes]) + "\n"
    if tags:
        members["annotations/train-annotations-human-imagelabels.csv"] = (
            "\n".join(["ImageID,Source,LabelName,Confidence", *tags]) + "\n"
        )
    return zip_of({**members, **(more or {})})
