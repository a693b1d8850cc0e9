"""Boxes: x0 y0 x1 y1, edges, so a box around the whole frame is 0 0 width height."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
Reals = npt.NDArray[np.float64]

PIXEL_DECIMALS = 6
"""Pixel values of an import are rounded to this many decimals (Open Images reference 3.6)."""


def boxes_to_pixels(boxes_norm: Boxes, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Boxes:
    """Scale normalised boxes to pixels, rounded to 1e-6 so that a coordinate we exported comes back exactly.

    Args:
        boxes_norm: (N, 4) float64, x0 y0 x1 y1, 0..1 of its frame (outside is kept as it is).
        widths, heights: (N,) or one number, pixels.

    Source: Open Images reference 3.6.
    """
    boxes_px = np.round(boxes_norm * _sizes(boxes_norm, widths, heights), PIXEL_DECIMALS)  # (N, 4)
    boxes_px += 0.0  # no box starts at -0.0
    return boxes_px


def boxes_to_norm(boxes_px: Boxes, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Boxes:
    """Divide pixel boxes by the size of their frame; nothing is rounded or clipped. Shapes as in `boxes_to_pixels`."""
    return boxes_px / _sizes(boxes_px, widths, heights)


def points_to_pixels(points_norm: Reals, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Reals:
    """The same of (N, 2) points x y."""
    return np.ascontiguousarray(boxes_to_pixels(np.tile(points_norm, 2), widths, heights)[:, :2])


def points_to_norm(points_px: Reals, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Reals:
    """(N, 2) points x y divided by the size of their frame."""
    return np.ascontiguousarray(boxes_to_norm(np.tile(points_px, 2), widths, heights)[:, :2])


def clip_boxes(boxes_px: Boxes, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Boxes:
    """Boxes cut to their frame; one that lies outside becomes a line or a point on the border."""
    return np.clip(boxes_px, 0.0, _sizes(boxes_px, widths, heights))


def rotated_corners(boxes_px: Boxes, rotations: npt.ArrayLike) -> Reals:
    """(N, 4, 2) corners of boxes turned about their centre, from the top left one on, clockwise.

    Args:
        boxes_px: (N, 4) float64.
        rotations: (N,) or one number, degrees, clockwise (y points down).
    """
    corners = boxes_px[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # (N, 4, 2)
    degrees = np.broadcast_to(np.asarray(rotations, dtype=np.float64), len(boxes_px))  # (N,)
    turned = np.flatnonzero(degrees)
    if len(turned) == 0:
        return corners
    centres = corners[turned].mean(axis=1, keepdims=True)  # (T, 1, 2)
    x, y = np.moveaxis(corners[turned] - centres, 2, 0)  # (T, 4) each
    cosines, sines = _cosines_sines(degrees[turned])
    offsets = np.stack([x * cosines - y * sines, x * sines + y * cosines], axis=2)  # (T, 4, 2)
    corners[turned] = centres + offsets
    return corners


def hull_boxes(corners: Reals) -> Boxes:
    """(N, 4) axis-aligned boxes around (N, K, 2) points."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def bounding_boxes(points: Reals, offsets: npt.NDArray[np.int64]) -> Boxes:
    """(N, 4) boxes around the points x0 y0 x1 y1 … of each row of a ragged column; an empty row gives 0 0 0 0."""
    boxes = np.zeros((len(offsets) - 1, 4), dtype=np.float64)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled) == 0:
        return boxes
    starts = offsets[:-1][filled] // 2  # (F,)
    pairs = points.reshape(-1, 2)
    boxes[filled, :2] = np.minimum.reduceat(pairs, starts, axis=0)
    boxes[filled, 2:] = np.maximum.reduceat(pairs, starts, axis=0)
    return boxes


def _sizes(boxes: Boxes, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Reals:
    """(N, 4) float64, width height width height of each box's frame."""
    sizes = np.empty((len(boxes), 4), dtype=np.float64)
    sizes[:, 0::2] = np.asarray(widths).reshape(-1, 1)
    sizes[:, 1::2] = np.asarray(heights).reshape(-1, 1)
    return sizes


def _cosines_sines(degrees: Reals) -> tuple[Reals, Reals]:
    """(T, 1) each; exact at whole quarter turns, where the plain functions leave 6e-17 instead of 0."""
    quarters = np.round(degrees / 90.0)  # (T,)
    rest = np.deg2rad(degrees - quarters * 90.0)
    cosines, sines = np.cos(rest), np.sin(rest)
    turn = quarters.astype(np.int64) % 4
    exact_cosines = np.choose(turn, [cosines, -sines, -cosines, sines])
    exact_sines = np.choose(turn, [sines, cosines, -sines, -cosines])
    return exact_cosines[:, None], exact_sines[:, None]
