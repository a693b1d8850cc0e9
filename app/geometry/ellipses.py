"""Ellipse to pixels: a pixel belongs to it iff its centre is inside the exact rotated ellipse.

Turned by t, an ellipse with radii a and b holds the offsets (x, y) from its centre with p x² + 2 q x y + r y² <= 1,

    p = cos² t / a² + sin² t / b²     q = sin t cos t (1 / a² - 1 / b²)     r = sin² t / a² + cos² t / b²

For one row (one y) that is a range of x, so every row is one run of pixels from a square root; work follows the rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.geometry.masks import PackedMask

MIN_RADIUS_PIXELS = 1e-9
"""A thinner ellipse holds no pixel's centre but by accident, and 1 / radius² must stay finite."""
SLACK = 1e-12
"""Relative; a centre that lies on the ellipse but for rounding belongs to it."""


def ellipse_to_mask(points: npt.NDArray[np.float64], rotation: float, width: int, height: int) -> PackedMask | None:
    """The pixels of an ellipse, clipped to the frame; None where no pixel is set.

    Args:
        points: (4,) float64, finite, pixels, as CVAT stores it: centre x, centre y, x of the right end, y of the top
            end.
        rotation: degrees, clockwise, about the centre.
        width, height: pixels of the frame.

    Source: Open Images reference 4.6 (centre and radii are not rounded, unlike CVAT's own export).
    """
    centre_x, centre_y, right, top = (float(value) for value in points)
    a, b = abs(right - centre_x), abs(centre_y - top)
    if a < MIN_RADIUS_PIXELS or b < MIN_RADIUS_PIXELS:
        return None
    radians = np.deg2rad(rotation % 180.0)
    cosine, sine = float(np.cos(radians)), float(np.sin(radians))
    p = (cosine / a) ** 2 + (sine / b) ** 2
    q = sine * cosine * (1.0 / a**2 - 1.0 / b**2)
    reach_y = float(np.hypot(a * sine, b * cosine))
    y0 = int(np.clip(np.ceil(centre_y - reach_y - 1.0), 0, height))
    y1 = int(np.clip(np.floor(centre_y + reach_y + 1.0), 0, height))
    y = np.arange(y0, y1, dtype=np.float64) + 0.5 - centre_y  # (rows,)

    # p x² + 2 q y x + (r y² - 1) = 0; as p r - q² = 1 / (a b)², a quarter of the discriminant is p - y² / (a b)².
    quarter = p * (1.0 + SLACK) - (y / (a * b)) ** 2
    inside = quarter >= 0
    half = np.sqrt(np.where(inside, quarter, 0.0)) / p
    middle = centre_x - q * y / p
    first = np.ceil(np.clip(middle - half - 0.5, -1.0, width)).astype(np.int64)  # centres at i + 0.5
    last = np.floor(np.clip(middle + half - 0.5, -1.0, width)).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, width - 1)
    filled = np.flatnonzero(inside & (first <= last))
    if len(filled) == 0:
        return None
    rows = slice(int(filled[0]), int(filled[-1]) + 1)
    left, right_end = int(first[filled].min()), int(last[filled].max()) + 1
    x = np.arange(left, right_end, dtype=np.int64)
    pixels = (x >= first[rows, None]) & (x <= last[rows, None]) & inside[rows, None]  # (rows, columns)
    return PackedMask(np.packbits(pixels, axis=1), right_end - left, left, y0 + rows.start)
