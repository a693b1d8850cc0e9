"""Annotations as JSON the usual way: a FastAPI route with response models, for so many shapes; seconds of one."""

import json
import sys
import time

from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel


class Attribute(BaseModel):
    spec_id: int
    value: str


class Shape(BaseModel):
    id: int
    frame: int
    label_id: int
    group: int
    source: str
    type: str
    occluded: bool
    outside: bool
    z_order: int
    rotation: float
    points: list[float]
    attributes: list[Attribute]
    elements: list[int]
    score: float


class Data(BaseModel):
    version: int
    tags: list[int]
    shapes: list[Shape]
    tracks: list[int]


count = int(sys.argv[1])
rows = [
    {
        "id": number,
        "frame": number // 7,
        "label_id": number % 600,
        "group": 0,
        "source": "file",
        "type": "rectangle",
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "rotation": 0.0,
        "points": [number * 0.25, 1.5, number * 0.25 + 10.125, 20.75],
        "attributes": [{"spec_id": spec, "value": "true"} for spec in range(5)],
        "elements": [],
        "score": 1.0,
    }
    for number in range(count)
]
app = FastAPI()


@app.get("/")
def read() -> Data:
    return {"version": 0, "tags": [], "shapes": rows, "tracks": []}  # type: ignore[return-value]


with TestClient(app) as client:
    wall, cpu = time.perf_counter(), time.process_time()
    size = len(client.get("/").content)
    print(
        json.dumps(
            {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu, "bytes": size}
        )
    )
