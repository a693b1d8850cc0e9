"""What every format must do, whatever its files look like. `test_conformance.py` runs this for each entry of FORMATS.

A case names what a format carries (`Format.carries`) and a task that shows it; a format that does not carry it is told
to say so (`export.unsupported`) or to leave the case to another format's tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np

from app.annotations import Annotations, Shapes, ShapeType, Tags, Tracks
from app.columns import Ragged
from app.formats import Target
from tests.formats.builders import labels, target

FRAMES = {"a.jpg": (8, 6), "dir/b.png": (13, 7), "c.jpg": (20, 20)}
POINTS: dict[ShapeType, list[float]] = {
    ShapeType.RECTANGLE: [1, 1, 3, 4],
    ShapeType.POLYGON: [1, 1, 6, 1, 6, 4, 1, 4],
    ShapeType.ELLIPSE: [4, 3, 6, 1],
    ShapeType.POLYLINE: [0, 0, 5, 5, 6, 1],
    ShapeType.POINTS: [1, 1, 2, 2],
    ShapeType.CUBOID: [float(n) for n in range(16)],
}


@dataclass(frozen=True)
class Case:
    """A task; `survives` says that the annotations come back as the very same shapes."""

    carries: str
    annotations: Annotations
    survives: bool


def where(subset: str = "") -> Target:
    return target(FRAMES, labels("cat", 'a, "b"', "日本"), subset=subset)


def shapes(kind: ShapeType) -> Shapes:
    """One shape a frame, a label each."""
    n = len(FRAMES)
    runs: list[list[int]] = [[0, 15, 1, 1, 5, 3]] * n if kind == ShapeType.MASK else [[]] * n
    return replace(
        Shapes.empty(n),
        frames=np.arange(n, dtype=np.int32),
        types=np.full(n, kind, dtype=np.uint8),
        label_ids=np.arange(1, n + 1, dtype=np.int32),
        points=Ragged.from_arrays([POINTS.get(kind, [])] * n, np.float64),
        runs=Ragged.from_arrays(runs, np.int32),
    )


def tags() -> Tags:
    n = len(FRAMES)
    frames, label_ids = np.arange(n, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32)
    return replace(Tags.empty(n), frames=frames, label_ids=label_ids)


def track() -> Tracks:
    keys = [
        {
            "frame": frame,
            "type": "rectangle",
            "points": [frame, 0, frame + 1, 1],
            "outside": False,
            "occluded": False,
            "z_order": 0,
            "rotation": 0,
            "attributes": [],
        }
        for frame in (0, 2)
    ]
    body = json.dumps({"shapes": keys, "elements": []}).encode()
    return replace(Tracks.empty(1), label_ids=np.ones(1, dtype=np.int32), bodies=Ragged.from_bytes([body]))


def cases() -> list[Case]:
    exact = {ShapeType.RECTANGLE, ShapeType.MASK}
    found = [
        Case(kind.name.lower(), Annotations(shapes=shapes(kind)), kind in exact) for kind in (*POINTS, ShapeType.MASK)
    ]
    lone = shapes(ShapeType.POINTS).replace(points=Ragged.from_arrays([[1.5, 2.0]] * len(FRAMES), np.float64))
    found.append(Case("points", Annotations(shapes=lone), True))
    found.append(Case("tag", Annotations(tags=tags()), True))
    found.append(Case("track", Annotations(tracks=track()), False))
    found.append(Case("nothing", Annotations(), True))
    return found


def seen(annotations: Annotations) -> list[tuple[object, ...]]:
    """What a person sees: kind, frame, label, geometry; in order of frame and kind."""
    s, t = annotations.shapes, annotations.tags
    rows: list[tuple[object, ...]] = [
        (int(s.frames[n]), int(s.types[n]), int(s.label_ids[n]), s.points.row(n).tolist(), s.runs.row(n).tolist())
        for n in range(len(s))
    ]
    rows += [(int(t.frames[n]), -1, int(t.label_ids[n]), [], []) for n in range(len(t))]
    return sorted(rows, key=str)
