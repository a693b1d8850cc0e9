"""The form every mask takes between two others: packed rows with a place.

    frame  . . . . . .      PackedMask(left=1, top=1, width=3, rows=[[0b01100000],
           . . x x . .                                               [0b11100000]])
           . x x x . .

Eight pixels a byte, the leftmost in the most significant bit; each row starts a new byte; bits past `width` are zero.
That is the layout of a 1-bit PNG, so a mask at frame size is encoded without another step; and whole-mask operations
(or, exclusive or, shifts) touch an eighth of the bytes of a boolean array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """A rectangle of pixels at a place of a frame.

    Attributes:
        rows: (height, ceil(width / 8)) uint8, C order, most significant bit leftmost, bits past `width` zero.
        width: pixels, at least 1.
        left, top: pixel of the frame where the first pixel of the first row lies; may be negative.
    """

    rows: Rows
    width: int
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        rows = self.rows
        if self.width < 1 or rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] != (self.width + 7) // 8:
            raise ValueError(f"rows: expected (1.., {(self.width + 7) // 8}) for width {self.width}, got {rows.shape}")
        if rows.dtype != np.uint8:
            raise ValueError(f"rows: expected uint8, got {rows.dtype}")

    @property
    def height(self) -> int:
        return len(self.rows)

    @property
    def area(self) -> int:
        """How many pixels are set."""
        flat = np.ascontiguousarray(self.rows).reshape(-1)
        words, rest = _words(flat)
        return int(np.bitwise_count(words).sum(dtype=np.int64)) + int.from_bytes(rest.tobytes()).bit_count()

    @property
    def box(self) -> Box | None:
        """Left, top, right, bottom (inclusive) of the pixels that are set; None where none is."""
        columns = np.bitwise_or.reduce(self.rows, axis=0)  # (row_bytes,)
        set_columns = np.flatnonzero(np.unpackbits(columns).view(np.bool_))
        if not len(set_columns):
            return None
        set_rows = np.flatnonzero(self.rows.any(axis=1))
        left, right = self.left + int(set_columns[0]), self.left + int(set_columns[-1])
        return left, self.top + int(set_rows[0]), right, self.top + int(set_rows[-1])

    @property
    def first_pixel(self) -> tuple[int, int] | None:
        """Row and column of the frame of the first pixel that is set, row by row; None where none is."""
        filled = np.flatnonzero(self.rows[0])  # of what was drawn, or tightened, the first row has it
        row, byte = 0, int(filled[0]) if len(filled) else -1
        if byte < 0:
            flat = np.ascontiguousarray(self.rows).reshape(-1)
            words, rest = _words(flat)
            start = 8 * int((words != 0).argmax()) if words.any() else len(flat) - len(rest)
            filled = np.flatnonzero(flat[start : start + 8])
            if not len(filled):
                return None
            row, byte = divmod(start + int(filled[0]), self.rows.shape[1])
        return self.top + row, self.left + 8 * byte + 8 - int(self.rows[row, byte]).bit_length()


def _words(flat: Rows) -> tuple[npt.NDArray[np.uint64], Rows]:
    """Eight bytes at a time, and what is left."""
    n_words = len(flat) // 8
    return flat[: 8 * n_words].view(np.uint64), flat[8 * n_words :]


def pack_mask(pixels: Pixels, left: int = 0, top: int = 0) -> PackedMask:
    """A boolean array (height, width) as a mask whose first pixel lies at (left, top)."""
    # packbits takes forty times as long on an array in Fortran order.
    return PackedMask(np.packbits(np.ascontiguousarray(pixels), axis=1), pixels.shape[1], left, top)


def unpack_mask(mask: PackedMask) -> Pixels:
    """(height, width) bool, the pixels of the mask's own rectangle."""
    return np.unpackbits(mask.rows, axis=1, count=mask.width).view(np.bool_)


def tighten_mask(mask: PackedMask) -> PackedMask | None:
    """The smallest rectangle that holds all set pixels; None where none is set."""
    box = mask.box
    if box is None:
        return None
    x0, y0 = box[0] - mask.left, box[1] - mask.top
    x1, y1 = box[2] + 1 - mask.left, box[3] + 1 - mask.top
    if x0 == 0 and y0 == 0 and x1 == mask.width and y1 == mask.height:
        return mask
    rows = shift_rows(mask.rows[y0:y1], -x0, x1 - x0)
    return PackedMask(rows, x1 - x0, mask.left + x0, mask.top + y0)


def place_mask(mask: PackedMask, width: int, height: int) -> PackedMask:
    """The mask on a frame of this size, at (0, 0): what a PNG of frame size holds. What lies outside is cut off."""
    return PackedMask(_window(mask, 0, 0, width, height), width)


def merge_masks(masks: Sequence[PackedMask]) -> PackedMask:
    """The union of one or more masks, in the smallest rectangle that holds all of theirs."""
    if len(masks) == 1:
        return masks[0]
    left = min(mask.left for mask in masks)
    top = min(mask.top for mask in masks)
    width = max(mask.left + mask.width for mask in masks) - left
    height = max(mask.top + mask.height for mask in masks) - top
    rows = np.zeros((height, (width + 7) // 8), dtype=np.uint8)
    for mask in masks:
        _draw(mask, rows, left, top, width)
    return PackedMask(rows, width, left, top)


def resize_mask(mask: PackedMask, width: int, height: int) -> PackedMask:
    """Nearest neighbour: pixel (x, y) comes from (floor(x * old width / width), floor(y * old height / height)).

    The mask must lie at (0, 0), as a decoded PNG does.

    Source: Open Images reference 3.9; identical to datumaro's.
    """
    if (width, height) == (mask.width, mask.height):
        return mask
    source_y = np.arange(height, dtype=np.int64) * mask.height // height  # (height,)
    if width == mask.width:
        return PackedMask(mask.rows[source_y], width)
    source_x = np.arange(width, dtype=np.int64) * mask.width // width  # (width,)
    # Rows that come from one source row are alike: each source row is widened once, then copied as packed bytes.
    used, copies = np.unique(source_y, return_inverse=True)
    pixels = np.unpackbits(mask.rows[used], axis=1, count=mask.width)  # (used, old width)
    return PackedMask(np.packbits(np.take(pixels, source_x, axis=1), axis=1)[copies], width)


def equal_masks(one: PackedMask, other: PackedMask) -> bool:
    """Whether two masks have the same pixels of their frame set, however large their rectangles are."""
    shift = (other.left - one.left) % 8
    rows = shift_rows(other.rows, shift, other.width + shift) if shift else other.rows
    # Both in bytes of the same grid: where they overlap they are equal, and beyond that clear.
    left, top = (other.left - shift - one.left) // 8, other.top - one.top
    y0, y1 = max(top, 0), min(top + len(rows), len(one.rows))
    x0, x1 = max(left, 0), min(left + rows.shape[1], one.rows.shape[1])
    if y0 >= y1 or x0 >= x1:
        return not one.rows.any() and not rows.any()
    return (
        np.array_equal(one.rows[y0:y1, x0:x1], rows[y0 - top : y1 - top, x0 - left : x1 - left])
        and _is_clear_around(one.rows, y0, y1, x0, x1)
        and _is_clear_around(rows, y0 - top, y1 - top, x0 - left, x1 - left)
    )


def _is_clear_around(rows: Rows, y0: int, y1: int, x0: int, x1: int) -> bool:
    return not (rows[:y0].any() or rows[y1:].any() or rows[y0:y1, :x0].any() or rows[y0:y1, x1:].any())


def shift_rows(rows: Rows, shift: int, width: int) -> Rows:
    """Rows moved `shift` pixels to the right (left if negative) into rows of `width` pixels; cut off at both ends."""
    row_bytes = (width + 7) // 8
    moved = np.zeros((len(rows), row_bytes), dtype=np.uint8)
    byte_shift, bit_shift = divmod(shift, 8)
    _or_bytes(moved, rows >> np.uint8(bit_shift) if bit_shift else rows, byte_shift)
    if bit_shift:
        _or_bytes(moved, rows * np.uint8(1 << 8 - bit_shift), byte_shift + 1)  # `<<` takes six times as long
    if width % 8:
        moved[:, -1] &= np.uint8(0xFF00 >> (width % 8) & 0xFF)
    return moved


def bit_positions(flat: Rows) -> npt.NDArray[np.int64]:
    """The positions of the set bits of a (B,) uint8 array, ascending; bit 0 is the most significant of byte 0.

    Only bytes that are not zero are unpacked, which suits outlines: few set bits in many bytes. Both searches are of
    booleans, for which numpy has a way of its own: seven times as fast as of bytes.
    """
    filled = np.flatnonzero(flat != 0)  # (F,)
    bits = np.flatnonzero(np.unpackbits(flat[filled]).view(np.bool_))  # (P,), 8 a filled byte
    positions: npt.NDArray[np.int64] = filled[bits >> 3] * 8 + (bits & 7)
    return positions


def _or_bytes(target: Rows, source: Rows, at: int) -> None:
    """Or the columns of `source` into `target` from byte `at` on; columns that fall outside are left out."""
    first, last = max(at, 0), min(at + source.shape[1], target.shape[1])
    if first < last:
        target[:, first:last] |= source[:, first - at : last - at]


def _draw(mask: PackedMask, rows: Rows, left: int, top: int, width: int) -> None:
    """Or a mask into rows of `width` pixels whose first pixel lies at (left, top); what falls outside is cut off."""
    y0, y1 = max(mask.top - top, 0), min(mask.top - top + mask.height, len(rows))
    if y0 >= y1:
        return
    part = mask.rows[y0 - (mask.top - top) : y1 - (mask.top - top)]
    x0, x1 = max(mask.left - left, 0) // 8, min((mask.left - left + mask.width + 7) // 8, rows.shape[1])
    if x0 >= x1:
        return
    # Only the bytes that the mask touches are moved: a small crop on a large frame costs what the crop costs.
    span = min(width - 8 * x0, 8 * (x1 - x0))
    shift = mask.left - left - 8 * x0
    if shift == 0 and mask.width <= span:  # as all that was drawn, for its crop begins at a whole byte
        rows[y0:y1, x0:x1] |= part
    else:
        rows[y0:y1, x0:x1] |= shift_rows(part, shift, span)


def _window(mask: PackedMask, left: int, top: int, width: int, height: int) -> Rows:
    """The rows of the rectangle (left, top, width, height)."""
    rows = np.zeros((height, (width + 7) // 8), dtype=np.uint8)
    _draw(mask, rows, left, top, width)
    return rows
