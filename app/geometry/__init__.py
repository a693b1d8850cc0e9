"""Boxes, polygons, ellipses and masks: from one form to the other, with CVAT's very pixels.

In: arrays of points, boxes, runs, packed rows. Out: the same. Never: files, frames' names, labels, PNG bytes.
Spec: pixel rules of the Open Images reference (CVAT and the COCO rasteriser), run lengths as CVAT stores them.
Start with `masks.py`, the form every mask takes between two others; then `rle.py`, `polygons.py`, `contours.py`.
"""

from app.geometry.boxes import (
    bounding_boxes,
    boxes_to_norm,
    boxes_to_pixels,
    clip_boxes,
    hull_boxes,
    points_to_norm,
    points_to_pixels,
    rotated_corners,
)
from app.geometry.contours import Outlines, flips_to_polygons, mask_to_polygons, masks_to_polygons
from app.geometry.ellipses import ellipse_to_mask
from app.geometry.flips import Flips, count_flips, find_flips, resize_flips
from app.geometry.masks import (
    PackedMask,
    equal_masks,
    merge_masks,
    pack_mask,
    place_mask,
    resize_mask,
    tighten_mask,
    unpack_mask,
)
from app.geometry.polygons import (
    MAX_CROSSINGS,
    ShapeTooComplex,
    count_crossings,
    polygon_areas,
    polygon_to_mask,
    polygons_to_mask,
    polygons_to_masks,
    rectangle_to_mask,
)
from app.geometry.rle import RunFault, check_runs, flips_to_runs, mask_to_runs, masks_to_runs, runs_area, runs_to_mask

__all__ = [
    "MAX_CROSSINGS",
    "Flips",
    "Outlines",
    "PackedMask",
    "RunFault",
    "ShapeTooComplex",
    "bounding_boxes",
    "boxes_to_norm",
    "boxes_to_pixels",
    "check_runs",
    "clip_boxes",
    "count_crossings",
    "count_flips",
    "ellipse_to_mask",
    "equal_masks",
    "find_flips",
    "flips_to_polygons",
    "flips_to_runs",
    "hull_boxes",
    "mask_to_polygons",
    "mask_to_runs",
    "masks_to_polygons",
    "masks_to_runs",
    "merge_masks",
    "pack_mask",
    "place_mask",
    "points_to_norm",
    "points_to_pixels",
    "polygon_areas",
    "polygon_to_mask",
    "polygons_to_mask",
    "polygons_to_masks",
    "rectangle_to_mask",
    "resize_flips",
    "resize_mask",
    "rotated_corners",
    "runs_area",
    "runs_to_mask",
    "tighten_mask",
    "unpack_mask",
]
