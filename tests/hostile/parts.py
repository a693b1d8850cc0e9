"""A small sound Open Images archive, member by member, to be spoiled in one place."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Mapping

import numpy as np

from tests.images.pngs import SIGNATURE, build, chunk, header

FRAMES = {"a.jpg": (8, 6), "b.jpg": (64, 48), "sub/c.png": (100, 80)}
"""Names of the task's pictures and their sizes as (width, height)."""

LABELS = ["cat", "dog"]

CLASSES = "annotations/class-descriptions.csv"
BOXES = "annotations/train-annotations-bbox.csv"
TAGS = "annotations/train-annotations-human-imagelabels.csv"
MASKS = "annotations/train-annotations-object-segmentation.csv"
IMAGES = "annotations/train-images-with-rotation.csv"
META = "annotations/images.meta"
TREE = "annotations/bbox_labels_600_hierarchy.json"
PNG = "masks/train/a_m0_00000001.png"

BOX_HEADER = (
    b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
TAG_HEADER = b"ImageID,Source,LabelName,Confidence\n"
MASK_HEADER = b"MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
IMAGE_HEADER = (
    b"ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    b"Thumbnail300KURL,Rotation\n"
)


@functools.lru_cache(maxsize=64)
def mask(width: int = 8, height: int = 6) -> bytes:
    """A 1-bit mask with a filled middle."""
    samples = np.zeros((height, width, 1), dtype=np.int64)
    samples[height // 3 : 2 * height // 3 + 1, width // 3 : 2 * width // 3 + 1] = 1
    return build(samples, 0, 1)


def box(
    image: str = "a",
    label: str = "/m/0",
    corners: str = "0.125,0.5,0.25,0.75",
    flags: str = "0,0,0,0,0",
    confidence: str = "1",
) -> bytes:
    return f"{image},xclick,{label},{confidence},{corners},{flags}\n".encode()


def mask_row(
    path: str = "a_m0_00000001.png",
    image: str = "a",
    label: str = "/m/0",
    box_id: str = "00000001",
    box: str = ",,,",
    iou: str = "",
) -> bytes:
    return f"{path},{image},{label},{box_id},{box},{iou},\n".encode()


def members() -> dict[str, bytes]:
    """Everything, sound."""
    return {
        CLASSES: b"/m/0,cat\n/m/1,dog\n",
        TREE: b'{"LabelName": "/m/9", "Subcategory": [{"LabelName": "/m/0"}, {"LabelName": "/m/1"}]}',
        IMAGES: IMAGE_HEADER + b"".join(b"%s,train,,,,,,,,,,\n" % name for name in (b"a", b"b", b"sub/c")),
        BOXES: BOX_HEADER + box() + box("b", "/m/1") + box("sub/c"),
        TAGS: TAG_HEADER + b"a,verification,/m/0,1\nb,verification,/m/1,1\n",
        MASKS: MASK_HEADER + mask_row(),
        PNG: mask(),
        META: b"a 6 8\nb 48 64\nsub/c 80 100\n",
    }


def tree(changes: Mapping[str, bytes | None] | None = None, *, level: int | None = None) -> bytes:
    """The archive with some members replaced, added, or (None) left out."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, data in (members() | dict(changes or {})).items():
            if data is not None:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return body.getvalue()


def only(changes: Mapping[str, bytes]) -> bytes:
    """An archive of these members alone."""
    return tree({**dict.fromkeys(members(), None), **changes})


def png_of(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


__all__ = ["SIGNATURE", "chunk", "header"]
