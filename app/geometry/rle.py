"""CVAT's run lengths.

    frame  . . . . .     tight box 1,1..2,2    pixels  x x     runs [0, 2, 1, 1, 1, 1, 2, 2]
           . x x . .                                   . x           ---------- ----------
           . . x . .                                                 0, 2, 1, 1 left, top, right, bottom
                                                                                (inclusive)

The pixels of the box are read row by row; lengths alternate between clear and set, clear first (0 if the first pixel is
set), and add up to the area of the box. Columns of runs are ragged: `values` (M,) and `offsets` (N + 1,).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from app.geometry.flips import Flips, find_flips
from app.geometry.masks import PackedMask

Runs = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

BOX_NUMBERS = 4
MAX_NUMBER = (1 << 31) - 1


class RunFault(IntEnum):
    """What is wrong with a mask's runs; the first rule broken, in this order."""

    NONE = 0
    TOO_SHORT = 1
    """Fewer than one run and the four numbers of the box."""
    NOT_WHOLE = 2
    """A number that is not a whole number of at least 0 (in the runs) or that no 32-bit integer holds."""
    BAD_BOX = 3
    """left > right or top > bottom, or a box that leaves the frame."""
    BAD_SUM = 4
    """The runs do not add up to the area of the box."""


def mask_to_runs(mask: PackedMask) -> Runs:
    """Runs of the tight crop, then left, top, right, bottom: (R + 4,) int32; (0,) where no pixel is set."""
    return flips_to_runs(find_flips(mask))


def flips_to_runs(flips: Flips) -> Runs:
    """`mask_to_runs` of the mask that has these flips."""
    box = flips.box
    if box is None:
        return np.empty(0, dtype=np.int32)
    lines, columns, n = flips.lines, flips.columns, len(flips)
    x0, x1 = box[0] - flips.left, box[2] + 1 - flips.left
    y0, y1 = box[1] - flips.top, box[3] - flips.top
    width = x1 - x0
    first, area = y0 * width + x0, width * (y1 - y0 + 1)
    places = lines * _fitting(y1 * width + x1)(width) + columns  # (P,) in reading order of the box, from `first` on
    runs = np.empty(n + 1 + BOX_NUMBERS, dtype=np.int32)
    runs[0] = places[0] - first
    np.subtract(places[1:], places[:-1], out=runs[1:n])
    runs[n] = first + area - places[-1]
    if not runs[n]:
        runs, n = runs[:-1], n - 1
    if not runs[1 : n + 1].all():
        # The end of a row is the begin of the next: a run goes on.
        runs = np.append(_joined_runs(runs[: n + 1]), runs[:BOX_NUMBERS])
    runs[-BOX_NUMBERS:] = box
    return runs


def _joined_runs(runs: Runs) -> Runs:
    """Run lengths without those of no pixel, but the first: the runs on both sides are one."""
    ends = np.cumsum(runs, dtype=np.int64)
    keep = np.ones(len(ends), dtype=np.bool_)
    is_none = np.flatnonzero(runs[1:] == 0) + 1
    keep[is_none] = False
    keep[is_none - 1] = False
    return np.diff(ends[keep], prepend=0).astype(np.int32)


def _fitting(number: int) -> type[np.int32 | np.int64]:
    return np.int32 if number <= MAX_NUMBER else np.int64


def masks_to_runs(masks: Sequence[PackedMask]) -> tuple[Runs, Offsets]:
    """`mask_to_runs` of each mask, as the values and offsets of a ragged column."""
    parts = [mask_to_runs(mask) for mask in masks]
    offsets = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32), offsets


def runs_to_mask(runs: npt.NDArray[Any]) -> PackedMask:
    """The crop that valid runs (see `check_runs`) describe, at its place; any number type."""
    left, top, right, bottom = (int(number) for number in runs[-BOX_NUMBERS:])
    lengths = runs[:-BOX_NUMBERS].astype(np.int64)
    colours = (np.arange(len(lengths), dtype=np.int64) & 1).astype(np.uint8)
    pixels = np.repeat(colours, lengths).reshape(bottom - top + 1, right - left + 1)
    return PackedMask(np.packbits(pixels, axis=1), right - left + 1, left, top)


def runs_area(values: npt.NDArray[Any], offsets: Offsets) -> npt.NDArray[np.int64]:
    """(N,) int64, the number of set pixels of each row of a ragged column of runs; an empty row has none."""
    starts, lengths = offsets[:-1], np.diff(offsets)  # (N,) each
    places = np.arange(len(values), dtype=np.int64) - np.repeat(starts, lengths)  # (M,), within the row
    in_box = places >= np.repeat(lengths - BOX_NUMBERS, lengths)
    set_lengths = np.where((places & 1 == 1) & ~in_box, values, 0).astype(np.int64)
    return _row_sums(set_lengths, starts, offsets[1:])


def check_runs(
    values: npt.NDArray[Any], offsets: Offsets, widths: npt.ArrayLike, heights: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Which rows of a ragged column are no valid runs on a frame of the given size.

    Args:
        values: (M,) int or float, whole numbers may be written as `5.0`.
        offsets: (N + 1,) int64.
        widths, heights: (N,) or one number for all, pixels of each row's frame.

    Returns:
        (N,) uint8, a `RunFault` each, 0 for valid runs.
    """
    starts, stops = offsets[:-1], offsets[1:]  # (N,) each
    faults = np.zeros(len(starts), dtype=np.uint8)
    bad_numbers = ~((values >= 0) & (values <= MAX_NUMBER) & (np.floor(values) == values))  # (M,), NaN is bad too
    numbers = np.where(bad_numbers, 0, values).astype(np.int64)
    too_short = stops - starts <= BOX_NUMBERS
    not_whole = _row_sums(bad_numbers.astype(np.int64), starts, stops) > 0

    whole = np.flatnonzero(~too_short)
    box = numbers[stops[whole, None] - np.arange(BOX_NUMBERS, 0, -1)]  # (W, 4)
    left, top, right, bottom = box.T
    frame_widths = np.broadcast_to(np.asarray(widths, dtype=np.int64), len(starts))[whole]
    frame_heights = np.broadcast_to(np.asarray(heights, dtype=np.int64), len(starts))[whole]
    bad_box = (left > right) | (top > bottom) | (right >= frame_widths) | (bottom >= frame_heights)
    sums = _row_sums(numbers, starts[whole], stops[whole] - BOX_NUMBERS)
    bad_sum = sums != (right - left + 1) * (bottom - top + 1)

    faults[whole[bad_sum]] = RunFault.BAD_SUM
    faults[whole[bad_box]] = RunFault.BAD_BOX
    faults[not_whole] = RunFault.NOT_WHOLE
    faults[too_short] = RunFault.TOO_SHORT
    return faults


def _row_sums(numbers: npt.NDArray[np.int64], starts: Offsets, stops: Offsets) -> npt.NDArray[np.int64]:
    """The sums of numbers[starts:stops], row by row; empty rows sum to 0."""
    totals = np.zeros(len(numbers) + 1, dtype=np.int64)
    np.cumsum(numbers, out=totals[1:])
    return totals[stops] - totals[starts]
