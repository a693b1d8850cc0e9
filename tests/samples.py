"""Small pictures, label sets and Open Images archives for tests of the whole service: built slowly and plainly.

Nothing here uses the app: what an archive means is worked out a second time, by loops one can check by reading.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

Mask = npt.NDArray[np.bool_]

IMAGE_FIELDS = [
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author",
    "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
]  # fmt: skip
TAG_FIELDS = ["ImageID", "Source", "LabelName", "Confidence"]
BOX_FIELDS = [
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded",
    "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
]  # fmt: skip
MASK_FIELDS = [
    "MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU",
    "Clicks",
]  # fmt: skip

CHECKBOXES = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")

LABELS: list[dict[str, Any]] = [
    {
        "name": "cat",
        "color": "#ff8800",
        "attributes": [
            *({"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]} for name in CHECKBOXES),
            {"name": "score", "mutable": False, "input_type": "text", "values": []},
            {"name": "box_id", "mutable": False, "input_type": "text", "values": [""]},
            {"name": "predicted_iou", "mutable": False, "input_type": "number", "values": ["0", "1", "0.01"]},
            {"name": "side", "mutable": True, "input_type": "select", "values": ["left", "right"]},
            {"name": "mood", "mutable": False, "input_type": "radio", "values": ["calm", "wild"]},
            {"name": "note", "mutable": True, "input_type": "text", "values": ["none yet"]},
        ],
    },
    {"name": "dog", "attributes": []},
    {
        "name": "Ente, groß",
        "attributes": [
            {"name": "score", "mutable": False, "input_type": "number", "values": ["0", "1", "0.1"]},
        ],
    },
]


@functools.lru_cache(maxsize=256)
def picture(width: int, height: int, seed: int = 0, kind: str = "PNG") -> bytes:
    """A small colourful picture; another seed gives other pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    body = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR).save(body, kind)
    return body.getvalue()


def write_pictures(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> list[Path]:
    """One picture for each name (kind by its extension), sizes as (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed, (name, (width, height)) in enumerate(sizes.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(width, height, seed, "PNG" if name.lower().endswith("png") else "JPEG"))
        paths.append(path)
    return paths


def mask_png(mask: Mask, *, kind: str = "bit") -> bytes:
    """A mask file: `bit` (1-bit grey, as published), `zero-one` (8-bit 0 and 1, by datumaro), `grey` (0 and 255)."""
    if kind == "bit":
        image = Image.fromarray(mask)
    else:
        image = Image.fromarray(mask.astype(np.uint8) * (1 if kind == "zero-one" else 255))
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def runs_of(mask: Mask) -> list[int]:
    """A mask as CVAT writes it: run lengths of its tight box by rows, zeros first, then left, top, right, bottom."""
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())
    runs, current = [0], False
    for value in mask[top : bottom + 1, left : right + 1].reshape(-1).tolist():
        if value is not current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return [*runs, left, top, right, bottom]


def mask_of_runs(points: Sequence[float], width: int, height: int) -> Mask:
    """The way back of `runs_of`."""
    *runs, left, top, right, bottom = (int(number) for number in points)
    assert sum(runs) == (right - left + 1) * (bottom - top + 1), "the runs do not fill their box"
    values = [value for index, run in enumerate(runs) for value in [bool(index % 2)] * run]
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[top : bottom + 1, left : right + 1] = np.array(values).reshape(bottom - top + 1, right - left + 1)
    return mask


def mask_of_polygon(points: Sequence[float], width: int, height: int) -> Mask:
    """The pixels of a polygon, by the rasteriser CVAT and datumaro use."""
    (runs,) = coco.frPyObjects([list(points)], height, width)
    mask: Mask = coco.decode(runs).astype(np.bool_)
    return mask


def disk_with_hole(width: int, height: int, radius: float, hole: float) -> Mask:
    """A disk in the middle of a frame, with a hole that is not in the disk's middle."""
    y, x = np.mgrid[:height, :width] + 0.5
    outer = (x - width / 2) ** 2 + (y - height / 2) ** 2 <= radius**2
    inner = (x - width / 2 - radius / 4) ** 2 + (y - height / 2) ** 2 <= hole**2
    mask: Mask = outer & ~inner
    return mask


@dataclass
class OpenImages:
    """An Open Images archive as rows of text; `write` makes the zip.

    Attributes:
        images: (id, subset) of each image, in the order of the lists.
        tags, boxes, masks: (subset, row) with the columns of `TAG_FIELDS`, `BOX_FIELDS`, `MASK_FIELDS`.
        pngs: mask files by their path below `masks/`.
        sizes: lines of images.meta, (height, width) by id; none: no such file.
        more: any further members by name.
    """

    classes: list[tuple[str, str]]
    images: list[tuple[str, str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    boxes: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    masks: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    pngs: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    more: dict[str, bytes] = field(default_factory=dict)

    def tag(self, image: str, label: str, confidence: str = "1", subset: str = "default", source: str = "") -> None:
        row = {"ImageID": image, "Source": source, "LabelName": label, "Confidence": confidence}
        self.tags.append((subset, row))

    def box(
        self, image: str, label: str, corners: Sequence[str], flags: str = "0 0 0 0 0", subset: str = "default"
    ) -> None:
        """`corners` are XMin, XMax, YMin, YMax as texts; `flags` the five flags in the order of the columns."""
        cells = [image, "xclick", label, "1", *corners, *flags.split()]
        self.boxes.append((subset, dict(zip(BOX_FIELDS, cells, strict=True))))

    def mask(
        self,
        image: str,
        label: str,
        box_id: str,
        png: bytes,
        corners: Sequence[str] = ("", "", "", ""),
        iou: str = "",
        subset: str = "default",
    ) -> None:
        path = f"{image}_{label.replace('/', '')}_{box_id}.png".replace(" ", "-")
        cells = [path, image, label, box_id, *corners, iou, ""]
        self.masks.append((subset, dict(zip(MASK_FIELDS, cells, strict=True))))
        self.pngs[f"{subset}/{path}"] = png

    def write(self, path: Path, *, line_end: str = "\n", image_list: str = "{}-images-with-rotation.csv") -> Path:
        members: dict[str, bytes] = {}

        def add(name: str, header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
            text = io.StringIO()
            writer = csv.DictWriter(text, header, restval="", lineterminator=line_end)
            writer.writeheader()
            writer.writerows(rows)
            members[f"annotations/{name}"] = text.getvalue().encode()

        classes = io.StringIO()
        csv.writer(classes, lineterminator=line_end).writerows(self.classes)
        members["annotations/class-descriptions.csv"] = classes.getvalue().encode()
        members["annotations/bbox_labels_600_hierarchy.json"] = json.dumps(
            {"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": label} for label, _ in self.classes]}
        ).encode()
        for subset in sorted({subset for _, subset in self.images}):
            listed = [{"ImageID": image, "Subset": each} for image, each in self.images if each == subset]
            add(image_list.format(subset), IMAGE_FIELDS, listed)
        tables = (
            ("human-imagelabels", TAG_FIELDS, self.tags),
            ("bbox", BOX_FIELDS, self.boxes),
            ("object-segmentation", MASK_FIELDS, self.masks),
        )
        for name, header, rows in tables:
            for subset in sorted({each for each, _ in rows}):
                add(f"{subset}-annotations-{name}.csv", header, [row for each, row in rows if each == subset])
        if self.sizes:
            lines = (f"{shlex.quote(image)} {height} {width}" for image, (height, width) in self.sizes.items())
            members["annotations/images.meta"] = "".join(f"{line}\n" for line in lines).encode()
        members |= {f"masks/{name}": png for name, png in self.pngs.items()} | self.more
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in members.items():
                archive.writestr(name, body)
        return path


def read_archive(path: Path) -> dict[str, bytes]:
    """All members of a zip by name, each one's checksum verified."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def read_table(body: bytes) -> list[dict[str, str]]:
    """The rows of a CSV member."""
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))
