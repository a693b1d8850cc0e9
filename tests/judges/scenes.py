"""Tasks whose exports the judge reads: what is drawn, and what a reader of the archive must then see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.samples import LABELS, Mask, disk_with_hole, mask_of_polygon, runs_of

WIDTH, HEIGHT = 64, 48

Plain = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One annotation as the judge reports it.

    Attributes:
        points: left, top, right, bottom of a box.
        mask: the pixels of a mask.
        attributes: those that must be there with this value; None: must not be there.
        partner: annotations of one partner name are in one group; "" is no group with anything.
    """

    kind: str
    label: str
    points: Sequence[float] = ()
    mask: Mask | None = None
    attributes: Plain = field(default_factory=dict)
    partner: str = ""


@dataclass(frozen=True)
class Scene:
    """A task, its annotations (see `Caller.annotate`), and what is seen of each frame (by item id)."""

    frames: dict[str, tuple[int, int]]
    given: dict[str, list[Plain]]
    seen: dict[str, list[Seen]]
    labels: list[Plain] = field(default_factory=lambda: LABELS)
    subset: str = ""


def ellipse(center: tuple[float, float], radii: tuple[float, float], degrees: float) -> Mask:
    """Pixels whose centre is inside the exact ellipse, turned clockwise on the screen; one pixel at a time."""
    turn = math.radians(degrees)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = column + 0.5 - center[0], row + 0.5 - center[1]
            along = x * math.cos(turn) + y * math.sin(turn)
            across = -x * math.sin(turn) + y * math.cos(turn)
            mask[row, column] = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
    return mask


def turned(left: float, top: float, right: float, bottom: float, degrees: float) -> list[float]:
    """The corners of a rectangle turned clockwise about its middle."""
    turn = math.radians(degrees)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    corners = []
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
        dx, dy = x - middle_x, y - middle_y
        corners += [middle_x + dx * math.cos(turn) - dy * math.sin(turn)]
        corners += [middle_y + dx * math.sin(turn) + dy * math.cos(turn)]
    return corners


def polygon_mask(points: Sequence[float]) -> Mask:
    return mask_of_polygon(points, WIDTH, HEIGHT)


def rectangle(frame: int, label: str, points: Sequence[float], **more: Any) -> Plain:
    return {"type": "rectangle", "frame": frame, "label": label, "points": list(points), **more}


def polygon(frame: int, label: str, points: Sequence[float], **more: Any) -> Plain:
    return {"type": "polygon", "frame": frame, "label": label, "points": list(points), **more}


def mask(frame: int, label: str, pixels: Mask, **more: Any) -> Plain:
    return {"type": "mask", "frame": frame, "label": label, "points": runs_of(pixels), **more}


BLOB = [5.0, 4.0, 40.5, 9.25, 33.0, 40.0, 8.75, 30.5]
STAR = [
    30.0,
    2.0,
    36.0,
    18.0,
    55.0,
    18.0,
    40.0,
    28.0,
    46.0,
    45.0,
    30.0,
    34.0,
    14.0,
    45.0,
    20.0,
    28.0,
    5.0,
    18.0,
    24.0,
    18.0,
]
RING = disk_with_hole(WIDTH, HEIGHT, 20, 7)
SPOT = disk_with_hole(WIDTH, HEIGHT, 4, 0)
FLAGS = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")

BOXES = Scene(
    frames={"a.png": (WIDTH, HEIGHT), "b.jpg": (80, 60), "none.png": (10, 10)},
    given={
        "tags": [
            {"frame": 0, "label": "dog"},
            {"frame": 0, "label": "cat", "attributes": {"score": "0.25"}},
            {"frame": 1, "label": "Ente, groß", "attributes": {"score": "0.5"}},
        ],
        "shapes": [
            rectangle(0, "cat", (1.5, 2, 30.25, 40), occluded=True, attributes={"score": "0.75", "is_inside": "true"}),
            rectangle(0, "dog", (0, 0, 64, 48)),
            rectangle(1, "cat", (10, 10, 20, 20), attributes={"truncated": "true", "is_group_of": "true"}),
            rectangle(1, "cat", (10, 10, 20, 20), attributes={"is_depiction": "true"}),
        ],
    },
    seen={
        "a": [
            Seen("label", "dog", attributes={"score": 1.0}),
            Seen("label", "cat", attributes={"score": 0.25}),
            Seen(
                "bbox", "cat", (1.5, 2, 30.25, 40),
                attributes={"score": 0.75, "is_inside": True, "occluded": True, "truncated": False},
            ),
            Seen(
                "bbox", "dog", (0, 0, 64, 48),
                attributes={"occluded": False, "truncated": None, "is_inside": None, "score": 1.0},
            ),
        ],
        "b": [
            Seen("label", "Ente, groß", attributes={"score": 0.5}),
            Seen("bbox", "cat", (10, 10, 20, 20), attributes={"truncated": True, "is_group_of": True}),
            Seen("bbox", "cat", (10, 10, 20, 20), attributes={"is_depiction": True, "is_group_of": False}),
        ],
        "none": [],
    },
)  # fmt: skip

DRAWN = Scene(
    frames={f"{index}.png": (WIDTH, HEIGHT) for index in range(5)},
    given={
        "shapes": [
            polygon(0, "cat", BLOB, attributes={"box_id": "abc123", "predicted_iou": "0.5"}),
            polygon(0, "dog", STAR, z_order=3),
            mask(1, "cat", RING),
            mask(1, "cat", SPOT),
            {"type": "ellipse", "frame": 2, "label": "dog", "points": [30.2, 20.7, 50.9, 11.4], "rotation": 30.0},
            {"type": "ellipse", "frame": 2, "label": "cat", "points": [10.0, 10.0, 16.0, 5.0]},
            rectangle(3, "cat", (20, 10, 50, 30), rotation=90.0),
            rectangle(3, "dog", (20.5, 10.25, 50, 30), rotation=333.5),
            polygon(4, "dog", [-20.0, -20.0, 30.0, -10.0, 100.0, 60.0, 20.0, 90.0]),
            {"type": "points", "frame": 4, "label": "dog", "points": [1.0, 1.0, 5.0, 5.0]},
            {"type": "polyline", "frame": 4, "label": "dog", "points": [1.0, 1.0, 5.0, 5.0]},
        ]
    },
    seen={
        "0": [
            Seen("mask", "cat", mask=polygon_mask(BLOB), attributes={"box_id": "abc123", "predicted_iou": 0.5}),
            Seen("mask", "dog", mask=polygon_mask(STAR)),
        ],
        "1": [Seen("mask", "cat", mask=RING), Seen("mask", "cat", mask=SPOT)],
        "2": [
            Seen("mask", "dog", mask=ellipse((30.2, 20.7), (20.7, 9.3), 30)),
            Seen("mask", "cat", mask=ellipse((10, 10), (6, 5), 0)),
        ],
        "3": [
            Seen("mask", "cat", mask=polygon_mask(turned(20, 10, 50, 30, 90))),
            Seen("mask", "dog", mask=polygon_mask(turned(20.5, 10.25, 50, 30, 333.5))),
        ],
        "4": [
            Seen("mask", "dog", mask=polygon_mask([-20.0, -20.0, 30.0, -10.0, 100.0, 60.0, 20.0, 90.0])),
        ],
    },
)

LEFT = [2.0, 2.0, 20.0, 2.0, 20.0, 20.0, 2.0, 20.0]
RIGHT = [15.0, 10.0, 40.0, 10.0, 40.0, 30.0, 15.0, 30.0]

GROUPS = Scene(
    frames={f"{index}.png": (WIDTH, HEIGHT) for index in range(4)},
    given={
        "shapes": [
            rectangle(0, "cat", (1, 1, 6, 4), group=3),
            mask(0, "cat", SPOT, group=3),
            rectangle(0, "cat", (1, 1, 30, 40)),
            polygon(1, "dog", LEFT, group=1),
            polygon(1, "dog", RIGHT, group=1),
            mask(1, "dog", SPOT, group=1),
            rectangle(1, "dog", (2, 2, 41, 31), group=1),
            polygon(2, "dog", LEFT, group=9),
            polygon(2, "cat", RIGHT, group=9),
            rectangle(2, "cat", (15, 10, 40, 30), group=9),
            rectangle(3, "dog", (0, 0, 9, 9), group=2),
            rectangle(3, "cat", (5, 5, 9, 9), group=2),
        ]
    },
    seen={
        "0": [
            Seen("bbox", "cat", (1, 1, 6, 4), partner="pair"),
            Seen("mask", "cat", mask=SPOT, partner="pair"),
            Seen("bbox", "cat", (1, 1, 30, 40)),
        ],
        "1": [
            Seen("mask", "dog", mask=polygon_mask(LEFT) | polygon_mask(RIGHT) | SPOT, partner="union"),
            Seen("bbox", "dog", (2, 2, 41, 31), partner="union"),
        ],
        "2": [
            Seen("mask", "dog", mask=polygon_mask(LEFT)),
            Seen("mask", "cat", mask=polygon_mask(RIGHT), partner="cat"),
            Seen("bbox", "cat", (15, 10, 40, 30), partner="cat"),
        ],
        "3": [Seen("bbox", "dog", (0, 0, 9, 9)), Seen("bbox", "cat", (5, 5, 9, 9))],
    },
)

# Names that meet every quoting rule on the way: CSV, images.meta (shell quoting), zip, folders, and mask files whose
# names would be equal after folding to ASCII.
NAMES = ("day/1.png", "night/1.png", "Zähler, \"groß\".png", "it's #1.png", "日本.png", "中国.png", "two  blanks .png",
         "$HOME `x`.png", "dots.in.name.png", "same.png", "same.jpg")  # fmt: skip
NAME_IDS = [name if name.startswith("same") else name.rpartition(".")[0] for name in NAMES]

NAMED = Scene(
    frames=dict.fromkeys(NAMES, (WIDTH, HEIGHT)),
    # Frames are numbered in sorted order of their names.
    given={
        "tags": [{"frame": index, "label": "dog"} for index in range(len(NAMES))],
        "shapes": [
            shape
            for index in range(len(NAMES))
            for shape in (
                rectangle(index, "dog", (index, index, 40, 40)),
                mask(index, "cat", np.roll(SPOT, index, axis=1)),
            )
        ],
    },
    seen={
        (name if name.startswith("same") else name.rpartition(".")[0]): [
            Seen("label", "dog"),
            Seen("bbox", "dog", (index, index, 40, 40)),
            Seen("mask", "cat", mask=np.roll(SPOT, index, axis=1)),
        ]
        for index, name in enumerate(sorted(NAMES))
    },
)

TRACKS = Scene(
    frames={f"{index}.png": (WIDTH, HEIGHT) for index in range(6)},
    given={
        "tracks": [
            {
                "frame": 1,
                "label": "dog",
                "group": 0,
                "shapes": [
                    {"type": "rectangle", "frame": 1, "points": [0.0, 0.0, 10.0, 10.0]},
                    {"type": "rectangle", "frame": 3, "points": [20.0, 10.0, 30.0, 20.0], "occluded": True},
                    {"type": "rectangle", "frame": 5, "points": [20.0, 10.0, 30.0, 20.0], "outside": True},
                ],
            }
        ],
        "shapes": [rectangle(0, "dog", (1, 2, 3, 4))],
    },
    seen={
        "0": [Seen("bbox", "dog", (1, 2, 3, 4))],
        "1": [Seen("bbox", "dog", (0, 0, 10, 10), attributes={"occluded": False})],
        "2": [Seen("bbox", "dog", (10, 5, 20, 15))],
        "3": [Seen("bbox", "dog", (20, 10, 30, 20), attributes={"occluded": True})],
        "4": [Seen("bbox", "dog", (20, 10, 30, 20))],
        "5": [],
    },
)

EMPTY = Scene(frames={"a.png": (8, 6)}, given={}, seen={"a": []})

SUBSET = Scene(
    frames={"a.png": (WIDTH, HEIGHT)},
    given={"shapes": [rectangle(0, "cat", (0, 0, 10, 10)), mask(0, "cat", RING)]},
    seen={"a": [Seen("bbox", "cat", (0, 0, 10, 10)), Seen("mask", "cat", mask=RING)]},
    subset="my-set",
)

SCENES = {
    "boxes": BOXES,
    "drawn": DRAWN,
    "groups": GROUPS,
    "named": NAMED,
    "tracks": TRACKS,
    "empty": EMPTY,
    "subset": SUBSET,
}
