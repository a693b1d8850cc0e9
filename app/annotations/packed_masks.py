"""Masks that nobody has looked at: a row of `Shapes.runs` packed as the PNG that it came in.

    width, height of the frame (u32 each), then the PNG

An import that keeps masks has no need of their pixels, only of the proof that they are there. Their run lengths are
made when somebody looks: nothing can fail then, nothing has to happen in between, and what is written anew meanwhile (a
block with an edited neighbour, a backup, a merge) keeps the row or unpacks it, which is the same.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from app.columns import Ragged
from app.errors import Damaged
from app.geometry import Flips, PackedMask, find_flips, flips_to_runs, resize_flips
from app.images import BadPNG, DecodedMask, decode_mask

Ints = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

SIZE = struct.Struct("<II")
MOST_BYTES = 64 << 10
MOST_PLACES = 1 << 22
"""Bounds of what one row may become: 16 MB of runs at the very worst, however few bytes it has."""

NO_BOX = (0, 0, -1, -1)
"""Of a mask without a pixel."""


@overload
def can_stay_packed(png_size: int, png_width: int, png_height: int, width: int, height: int) -> bool: ...
@overload
def can_stay_packed(png_size: Ints, png_width: Ints, png_height: Ints, width: Ints, height: Ints) -> Mask: ...
def can_stay_packed(png_size: Any, png_width: Any, png_height: Any, width: Any, height: Any) -> Any:
    """Whether a PNG on a frame of this size may be packed. Where a mask shrinks, only its pixels tell whether any are
    left. Of one mask, or of N."""
    fits = (png_width <= width) & (png_height <= height) & ((png_width + 1) * height <= MOST_PLACES)
    return fits & (png_size <= MOST_BYTES)


def pack_masks(pngs: Sequence[bytes], widths: Ints, heights: Ints) -> Ragged:
    """A row of each PNG that was proven, has a pixel and `can_stay_packed`; empty PNGs become empty rows."""
    sizes = np.stack([widths, heights], axis=1).astype("<u4").tobytes()
    cells: list[bytes] = []
    for start, png in zip(range(0, len(sizes), SIZE.size), pngs, strict=True):
        cells += (sizes[start : start + SIZE.size], png) if png else (b"", b"")
    lengths = np.array([len(png) for png in pngs], dtype=np.int64)
    offsets = np.zeros(len(pngs) + 1, dtype=np.int64)
    np.cumsum(lengths + SIZE.size * (lengths > 0), out=offsets[1:])
    return Ragged(np.frombuffer(b"".join(cells), dtype=np.uint8), offsets)


def png_of(row: npt.NDArray[np.uint8]) -> memoryview:
    """The PNG of a packed row."""
    return row.data[SIZE.size :]


def frame_size_of(row: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of the frame of a packed row."""
    width, height = SIZE.unpack_from(row.data)
    return width, height


def unpack_mask(row: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Its run lengths. Raises Damaged."""
    decoded, width, height = _decoded(row)
    return flips_to_runs(_flips_of(decoded, width, height))


def box_of_mask(row: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The last four of its run lengths, in two thirds of the time. Raises Damaged."""
    decoded, width, height = _decoded(row)
    if (decoded.width, decoded.height) == (width, height) and decoded.changes is None:
        box = decoded_part(decoded).box
    else:
        box = _flips_of(decoded, width, height).box
    return box if box is not None else NO_BOX


def _decoded(row: npt.NDArray[np.uint8]) -> tuple[DecodedMask, int, int]:
    try:
        return decode_mask(png_of(row), max_pixels=MOST_PLACES), *frame_size_of(row)
    except (BadPNG, struct.error) as error:
        raise Damaged(f"a stored mask cannot be read: {error}") from error


def _flips_of(decoded: DecodedMask, width: int, height: int) -> Flips:
    flips = decoded_flips(decoded)
    return flips if (decoded.width, decoded.height) == (width, height) else resize_flips(flips, width, height)


def decoded_flips(mask: DecodedMask) -> Flips:
    """The flips of a decoded PNG."""
    if mask.changes is not None:
        return Flips(*mask.changes, mask.width, mask.height)
    is_tight = mask.part.size < mask.height * ((mask.width + 7) // 8)
    flips = find_flips(decoded_part(mask), is_tight=is_tight)
    lines, columns = flips.lines + np.int32(flips.top), flips.columns + np.int32(flips.left)
    return Flips(lines, columns, mask.width, mask.height)


def decoded_part(mask: DecodedMask) -> PackedMask:
    """The pixels of a decoded PNG that has no `changes`: what is set, at its place."""
    width = min(8 * mask.part.shape[1], mask.width - 8 * mask.left)
    return PackedMask(mask.part, width, 8 * mask.left, mask.top)
