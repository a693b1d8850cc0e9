"""Slow, obvious twins of what app.geometry and app.images do to pixels: plain loops, one pixel at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Pixels = npt.NDArray[np.bool_]


def coco_pixels(polygon: Sequence[float], width: int, height: int) -> Pixels:
    """What CVAT and datumaro draw."""
    if len(polygon) < 6:
        return np.zeros((height, width), dtype=np.bool_)
    encoded = coco.frPyObjects([[float(value) for value in polygon]], height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its decoder is older than numpy's `copy` argument
        return np.asarray(coco.decode(encoded)[:, :, 0], dtype=np.bool_)


def runs_of(pixels: Pixels, left: int = 0, top: int = 0) -> list[int]:
    """CVAT's run lengths of the set pixels of a picture whose first pixel lies at (left, top)."""
    rows, columns = np.nonzero(pixels)
    if len(rows) == 0:
        return []
    y0, y1, x0, x1 = int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())
    runs, colour, length = [], False, 0
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            if bool(pixels[y, x]) != colour:
                runs.append(length)
                colour, length = not colour, 0
            length += 1
    return [*runs, length, left + x0, top + y0, left + x1, top + y1]


def nearest(pixels: Pixels, width: int, height: int) -> Pixels:
    """Nearest neighbour by the rule of the reference, 3.9."""
    old_height, old_width = pixels.shape
    resized = np.zeros((height, width), dtype=np.bool_)
    for y in range(height):
        for x in range(width):
            resized[y, x] = pixels[math.floor(y * old_height / height), math.floor(x * old_width / width)]
    return resized


def ellipse_pixels(points: Sequence[float], rotation: float, width: int, height: int) -> Pixels:
    """Centres inside the ellipse, by turning each centre back."""
    centre_x, centre_y, right, top = points
    a, b, turn = abs(right - centre_x), abs(centre_y - top), math.radians(rotation)
    pixels = np.zeros((height, width), dtype=np.bool_)
    for y in range(height):
        for x in range(width):
            dx, dy = x + 0.5 - centre_x, y + 0.5 - centre_y
            u = dx * math.cos(turn) + dy * math.sin(turn)
            v = -dx * math.sin(turn) + dy * math.cos(turn)
            pixels[y, x] = (u / a) ** 2 + (v / b) ** 2 <= 1.0 + 1e-12
    return pixels


def count_parts(pixels: Pixels) -> int:
    """Connected parts; pixels that touch at a corner are connected."""
    left = np.pad(pixels, 1)
    parts = 0
    for y, x in zip(*np.nonzero(left), strict=True):
        if not left[y, x]:
            continue
        parts += 1
        waiting = [(int(y), int(x))]
        left[y, x] = False
        while waiting:
            row, column = waiting.pop()
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    if left[row + down, column + across]:
                        left[row + down, column + across] = False
                        waiting.append((row + down, column + across))
    return parts


def unfilter(filters: Sequence[int], rows: npt.NDArray[np.uint8], distance: int) -> npt.NDArray[np.uint8]:
    """PNG filters undone byte by byte; `distance` is the number of bytes of a pixel, at least 1."""
    plain = np.zeros(rows.shape, dtype=np.int64)
    for y, kind in enumerate(filters):
        for x in range(rows.shape[1]):
            a = int(plain[y, x - distance]) if x >= distance else 0
            b = int(plain[y - 1, x]) if y else 0
            c = int(plain[y - 1, x - distance]) if y and x >= distance else 0
            estimate = a + b - c
            paeth = min((a, b, c), key=lambda value: abs(estimate - value))
            plain[y, x] = (int(rows[y, x]) + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
    return plain.astype(np.uint8)


def random_mask(random: np.random.Generator, kind: int, largest: int = 40) -> Pixels:
    """Masks of the kinds that break tracers; `kind` counts through them."""
    height, width = (int(side) for side in random.integers(1, largest, 2))
    y, x = np.mgrid[:height, :width]
    match kind % 9:
        case 0:
            return random.random((height, width)) < random.random()
        case 1:
            return (x + y) % 2 == int(random.integers(0, 2))
        case 2:  # rings within holes within rings
            return np.maximum(abs(y - height // 2), abs(x - width // 2)) % int(random.integers(2, 5)) == 0
        case 3:
            return np.ones((height, width), dtype=np.bool_)
        case 4:  # coarse blocks, many of which touch at a corner
            return np.kron(random.random((height, width)) < 0.5, np.ones((3, 3), dtype=np.bool_))[:height, :width]
        case 5:  # thin diagonal lines
            return (x == y) | (x == width - 1 - y)
        case 6:  # many small holes
            return random.random((height, width)) < 0.93
        case 7:  # a single pixel
            return (x == random.integers(0, width)) & (y == random.integers(0, height))
        case _:
            return np.hypot(y - height / 2, x - width / 2) % 6 < 3.3
