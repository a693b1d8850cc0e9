"""Masks that nobody has looked at: a row of `Shapes.runs` packed as the PNG that it came in.

    width, height of the frame (u32 each), then the PNG

An import that keeps masks has no need of their pixels, only of the proof that they are there. Their run lengths are
made when somebody looks: nothing can fail then, nothing has to happen in between, and what is written anew meanwhile (a
block with an edited neighbour, a backup, a merge) keeps the row or unpacks it, which is the same.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from app.errors import Damaged
from app.geometry import Flips, PackedMask, find_flips, flips_to_runs, resize_flips
from app.images import BadPNG, DecodedMask, decode_mask

SIZE = struct.Struct("<II")
MOST_BYTES = 64 << 10
MOST_PLACES = 1 << 22
"""Bounds of what one row may become: 16 MB of runs at the very worst, however few bytes it has."""


def can_stay_packed(png_size: int, png_width: int, png_height: int, width: int, height: int) -> bool:
    """Whether a PNG on a frame of this size may be packed. Where a mask shrinks, only its pixels tell whether any are
    left."""
    fits = png_width <= width and png_height <= height and (png_width + 1) * height <= MOST_PLACES
    return fits and png_size <= MOST_BYTES


def pack_mask_row(png: bytes, width: int, height: int) -> bytes:
    """A row of a PNG that was proven, has a pixel and `can_stay_packed`."""
    return SIZE.pack(width, height) + png


def unpack_mask(row: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Its run lengths. Raises Damaged."""
    try:
        width, height = SIZE.unpack_from(row.data)
        decoded = decode_mask(row.data[SIZE.size :], max_pixels=MOST_PLACES)
    except (BadPNG, struct.error) as error:
        raise Damaged(f"a stored mask cannot be read: {error}") from error
    flips = decoded_flips(decoded)
    if (decoded.width, decoded.height) != (width, height):
        flips = resize_flips(flips, width, height)
    return flips_to_runs(flips)


def decoded_flips(mask: DecodedMask) -> Flips:
    """The flips of a decoded PNG."""
    if mask.changes is not None:
        return Flips(*mask.changes, mask.width, mask.height)
    part_width = min(8 * mask.part.shape[1], mask.width - 8 * mask.left)
    flips = find_flips(PackedMask(mask.part, part_width))
    lines, columns = flips.lines + np.int32(mask.top), flips.columns + np.int32(8 * mask.left)
    return Flips(lines, columns, mask.width, mask.height)
