"""Pieces of Open Images archives for tests."""

from __future__ import annotations

import numpy as np

from tests.samples import mask_png

BOX_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
TAG_HEADER = "ImageID,Source,LabelName,Confidence\n"
MASK_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
LIST_HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation\n"
)
BOXES = "annotations/train-annotations-bbox.csv"
TAGS = "annotations/train-annotations-human-imagelabels.csv"
MASKS = "annotations/train-annotations-object-segmentation.csv"
LIST = "annotations/train-images-with-rotation.csv"
CLASSES = "annotations/class-descriptions.csv"
HIERARCHY = "annotations/bbox_labels_600_hierarchy.json"
SIZES = "annotations/images.meta"


def pixels(*rows: str) -> bytes:
    """A 1-bit PNG drawn with `#` and `.`."""
    return mask_png(np.array([[c == "#" for c in row] for row in rows], dtype=np.bool_))


def rectangle_png(width: int, height: int, left: int, top: int, right: int, bottom: int, kind: str = "bit") -> bytes:
    """A PNG with a filled rectangle; right and bottom are exclusive."""
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask_png(mask, kind=kind)
