"""Small archives to try the service with: pictures of a made-up harbour, and Open Images tables that describe them.

    open-images-sample.zip       twelve pictures and their annotations: makes a whole task
    open-images-tables.zip       the tables and masks alone, as one imports them into a task that has the pictures
    open-images-mistakes.zip     the same tables with the mistakes that are made most often

Drawn from a fixed seed: the same bytes every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from app.archive import ArchiveWriter
from app.images import encode_mask, encode_picture

SAMPLES = ("open-images-sample.zip", "open-images-tables.zip", "open-images-mistakes.zip")

WIDTH, HEIGHT, N_PICTURES = 640, 420, 12
CLASSES = (("/m/019jd", "Boat"), ("/m/01rzcn", "Buoy"), ("/m/0h8n6f9", "Crate"), ("/m/06m11", "Sun"))
BOAT, BUOY, CRATE, SUN = (mid for mid, _ in CLASSES)

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something drawn: its class, its pixels, and what is said of it."""

    label: str
    mask: Mask
    occluded: int = 0
    truncated: int = 0
    has_mask: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """XMin, XMax, YMin, YMax in 0..1."""
        columns, rows = np.flatnonzero(self.mask.any(axis=0)), np.flatnonzero(self.mask.any(axis=1))
        x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        return float(x0 / WIDTH), float(x1 / WIDTH), float(y0 / HEIGHT), float(y1 / HEIGHT)


def draw_harbour(seed: int) -> tuple[npt.NDArray[np.uint8], list[Thing]]:
    """A picture (HEIGHT, WIDTH, 3), and the things in it from back to front."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) + 0.5
    horizon = float(random.uniform(0.38, 0.5)) * HEIGHT
    dusk = float(random.uniform(0, 1))
    top, low, warm, deep, shallow = (
        np.array(color, dtype=np.float32)
        for color in ((96, 150, 214), (216, 226, 236), (246, 178, 120), (24, 74, 104), (34, 108, 144))
    )
    rows = y[:, :1]  # colours change from row to row only
    sky = top + (low * (1 - dusk) + warm * dusk - top) * np.clip(rows / horizon, 0, 1)
    sea = deep + (shallow - deep) * np.clip((rows - horizon) / (HEIGHT - horizon), 0, 1)
    pixels = np.repeat(np.where(rows > horizon, sea, sky)[:, None, :], WIDTH, axis=1)  # (HEIGHT, WIDTH, 3)
    ripples = np.sin(y * 0.9 + np.sin(x * 0.05) * 3) * np.clip((y - horizon) / 60, 0, 1) * 5
    pixels += ripples[..., None]
    things: list[Thing] = []

    def paint(mask: Mask, color: tuple[int, int, int]) -> None:
        shade = 1.05 - 0.25 * y[mask] / HEIGHT  # darker below
        pixels[mask] = shade[:, None] * np.array(color, dtype=np.float32)

    if random.random() < 0.6:
        centre, radius = float(random.uniform(0.15, 0.85)) * WIDTH, float(random.uniform(16, 30))
        sun = (x - centre) ** 2 + (y - horizon * float(random.uniform(0.3, 0.7))) ** 2 <= radius**2
        paint(sun, (255, 226, 150))
        things.append(Thing(SUN, sun, has_mask=True))
    for _ in range(int(random.integers(1, 4))):
        mask, hull = boat(random, x, y, horizon)
        paint(mask & ~hull, (238, 236, 228))
        paint(hull, tuple(int(v) for v in random.integers(40, 190, 3)))  # type: ignore[arg-type]
        things.append(Thing(BOAT, mask, truncated=int(mask[:, 0].any() or mask[:, -1].any()), has_mask=True))
    for _ in range(int(random.integers(1, 5))):
        centre, foot = float(random.uniform(0.05, 0.95)) * WIDTH, float(random.uniform(0.62, 0.85)) * HEIGHT
        radius = float(random.uniform(8, 20))
        buoy = ((x - centre) ** 2 + (y - foot) ** 2 <= radius**2) | (
            (abs(x - centre) < (foot - y) * -0.2 + radius * 0.9) & (y < foot) & (y > foot - 2.6 * radius)
        )
        paint(buoy, (214, 66, 44) if random.random() < 0.7 else (58, 140, 92))
        things.append(Thing(BUOY, buoy, has_mask=random.random() < 0.7))
    quay = HEIGHT * float(random.uniform(0.86, 0.93))
    pixels[y[:, 0] > quay] = np.array([112, 104, 98])
    for _ in range(int(random.integers(0, 4))):
        side, left = float(random.uniform(34, 76)), float(random.uniform(0, 0.9)) * WIDTH
        crate = (x >= left) & (x < left + side) & (y < quay + side * 0.35) & (y >= quay - side * 0.65)
        paint(crate, (168, 122, 74))
        paint(crate & ((abs((x - left) % 14 - 7) < 1) | (abs((quay - y) % 18 - 9) < 1)), (120, 84, 50))
        things.append(Thing(CRATE, crate, truncated=int(left + side > WIDTH)))
    front = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    seen: list[Thing] = []
    for thing in reversed(things):
        visible = thing.mask & ~front
        hidden = 1 - visible.sum() / max(1, thing.mask.sum())
        front |= thing.mask
        if visible.sum() > 60:
            seen.append(Thing(thing.label, visible, int(hidden > 0.02), thing.truncated, thing.has_mask))
    noise = np.resize(random.normal(0, 2.2, 7919).astype(np.float32), (HEIGHT, WIDTH, 1))
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), seen[::-1]


def boat(random: np.random.Generator, x: Pixels, y: Pixels, horizon: float) -> tuple[Mask, Mask]:
    """A sailing boat: all of it, and its hull."""
    length = float(random.uniform(60, 190))
    left = float(random.uniform(-0.1, 0.85)) * WIDTH
    line = horizon + float(random.uniform(14, 90))
    height = length * 0.16
    inset = (y - line + height) * 0.6
    hull = (y <= line) & (y > line - height) & (x >= left + inset) & (x < left + length - inset)
    mast = left + length * float(random.uniform(0.4, 0.6))
    rig = length * float(random.uniform(0.7, 1.0))
    rise = line - height - y  # above the deck
    sail = (rise > 4) & (rise < rig) & (x >= mast + 2) & (x < mast + 2 + (rig - rise) * 0.45)
    jib = (rise > 8) & (rise < rig * 0.8) & (x < mast - 2) & (x >= mast - 2 - (rig * 0.8 - rise) * 0.35)
    pole = (rise >= 0) & (rise < rig) & (abs(x - mast) < 1.6)
    mask: Mask = hull | sail | jib | pole
    return mask, hull


@lru_cache(maxsize=1)
def _drawn() -> tuple[tuple[str, bytes, tuple[Thing, ...]], ...]:
    """Image id, JPEG, things; in order."""
    drawn = []
    for seed in range(N_PICTURES):
        pixels, things = draw_harbour(seed)
        drawn.append((f"{0x5EA0_0000 + seed * 7919:016x}", encode_picture(pixels, "JPEG", 88), tuple(things)))
    return tuple(drawn)


@lru_cache(maxsize=len(SAMPLES))
def make_sample(name: str) -> bytes:
    """The zip of this name (one of `SAMPLES`)."""
    body = bytearray()
    archive = ArchiveWriter(lambda chunk: body.extend(chunk))
    images = ["ImageID,Subset"]
    boxes = [
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    ]
    tags = ["ImageID,Source,LabelName,Confidence"]
    masks = ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"]
    pngs: dict[str, bytes] = {}
    pictures: dict[str, bytes] = {}
    for image, picture, things in _drawn():
        pictures[f"images/train/{image}.jpg"] = picture
        images.append(f"{image},train")
        there = {thing.label for thing in things}
        tags += [f"{image},verification,{mid},{int(mid in there)}" for mid, _ in CLASSES if mid in there or mid == SUN]
        for number, thing in enumerate(things):
            place = ",".join(f"{value:.6f}" for value in thing.box)
            flags = f"{thing.occluded},{thing.truncated},0,0,{0 if thing.label != SUN else -1}"
            boxes.append(f"{image},xclick,{thing.label},1,{place},{flags}")
            if thing.has_mask:
                path = f"{image}_{thing.label.replace('/', '')}_{number:08x}.png"
                masks.append(f"{path},{image},{thing.label},{number:08x},{place},0.9,")
                pngs[f"masks/train/{path}"] = encode_mask(np.packbits(thing.mask, axis=1), WIDTH)
    if name == "open-images-mistakes.zip":
        boxes, tags = with_mistakes(boxes, tags)
    tables = {
        "class-descriptions.csv": [f"{mid},{label}" for mid, label in CLASSES],
        "train-images-with-rotation.csv": images,
        "train-annotations-bbox.csv": boxes,
        "train-annotations-human-imagelabels.csv": tags,
        "train-annotations-object-segmentation.csv": masks,
    }
    for table, lines in tables.items():
        with archive.open_deflated(f"annotations/{table}") as member:
            member.write(("\n".join(lines) + "\n").encode())
    for path, data in {**pngs, **(pictures if name == "open-images-sample.zip" else {})}.items():
        archive.add_stored(path, data)
    archive.close()
    return bytes(body)


def with_mistakes(boxes: list[str], tags: list[str]) -> tuple[list[str], list[str]]:
    """The same rows with a picture that is not there, a label that is not there, pixels for fractions, and a word."""
    spoiled, image = list(boxes), boxes[1].split(",")[0]

    def put(row: int, column: int, value: str) -> None:
        cells = spoiled[row].split(",")
        cells[column] = value
        spoiled[row] = ",".join(cells)

    put(2, 0, image[:-1] + "g")
    put(3, 4, "112.0")
    put(3, 5, "240.0")
    put(5, 2, "/m/019jdd")
    put(6, 6, "middle")
    first = spoiled[7].split(",")
    put(7, 4, first[5])
    put(7, 5, first[4])
    put(8, 8, "maybe")
    return spoiled, [*tags, f"{image},verification,Lighthouse,1"]
