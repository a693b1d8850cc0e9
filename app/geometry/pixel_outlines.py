"""Polygons along the edges of pixels → pixels, three times as fast as any polygon: what was traced has no other edges.

Every corner is a whole number, every edge runs along x or along y. An edge along y crosses the middle of no column; one
along x changes the colour of its columns from its own row on. So a run of pixels is flipped for each of them, a word of
64 at a time, and a running exclusive or down the rows does the rest, as in `polygons.py`.

    word of the row  . . . 1 1 1 1 1      FROM[3], from the left end on
                     1 1 1 1 1 1 . .      UPTO[5], up to the right end
                     . . . 1 1 1 . .      the edge, if both are in one word; words between its ends are full
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from app.geometry.masks import PackedMask

Points = npt.NDArray[np.float64 | np.int32]
Ints = npt.NDArray[np.int64]
Whole = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

FARTHEST = 1_000_000_000
"""Pixels from the origin: beyond, sums of places might not fit 32 bits."""
_FULL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_FROM = np.right_shift(_FULL, np.arange(64, dtype=np.uint64)).astype(">u8").view(np.uint64)
_UPTO = np.left_shift(_FULL, np.arange(63, -1, -1, dtype=np.uint64)).astype(">u8").view(np.uint64)
"""(64,) pixels of a word as they lie in memory, the leftmost in the most significant bit of the first byte."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelOutlines:
    """N polygons of three or more corners each: P corners, and an edge from each to the next of its polygon.

    Attributes:
        along: (N,) the polygon runs along the edges of pixels all the way. What follows is true of such alone.
        x, y: (P,)
        next_x: (P,) of the corner that follows.
        starts: (N,) the first corner of each polygon.
        lows, highs: (2, N) least and largest x and y.
    """

    along: Flags
    x: Whole
    y: Whole
    next_x: Whole
    starts: Ints
    lows: Whole
    highs: Whole

    @classmethod
    def of(cls, points: Points, offsets: Ints) -> Self | None:
        """Polygons as `polygons_to_masks` has them; None where some have fewer than three corners, or no polygon runs
        so."""
        starts = offsets[:-1] // 2
        if not len(starts) or np.diff(offsets).min() < 6:
            return None
        with np.errstate(invalid="ignore"):  # far out there are no whole numbers of 32 bits
            whole = points.astype(np.int32, copy=False)
        x, y = np.ascontiguousarray(whole[0::2]), np.ascontiguousarray(whole[1::2])
        next_x, next_y = _following(x, starts), _following(y, starts)
        is_along = (x == next_x) | (y == next_y)  # (P,)
        is_whole = whole == points
        if not is_whole.all():
            is_along &= is_whole[0::2] & is_whole[1::2]
        along = np.ones(len(starts), dtype=np.bool_)
        if not is_along.all():
            np.logical_and.reduceat(is_along, starts, out=along)
            if not along.any():
                return None
        lows = np.stack([np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)])
        highs = np.stack([np.maximum.reduceat(x, starts), np.maximum.reduceat(y, starts)])
        along &= (lows.min(axis=0) >= -FARTHEST) & (highs.max(axis=0) <= FARTHEST)
        return cls(along, x, y, next_x, starts, lows, highs)

    def draw(self, widths: Ints, heights: Ints, most_crossings: int) -> list[PackedMask | None] | None:
        """Crops as `polygons_to_masks` gives them; None where the polygons cross so many columns together that one of
        them may be too complex."""
        edges, n_edges = self._edges(widths)
        lefts, rights, rows = edges
        if int((rights - lefts).sum(dtype=np.int64)) > most_crossings:
            return None
        crop_lefts, tops = np.maximum(self.lows, 0).astype(np.int64)
        crop_lefts &= -8  # whole bytes of a frame's rows: placing a crop there needs no shift
        crop_widths = np.maximum(np.minimum(self.highs[0], widths) - crop_lefts, 0)
        crop_heights = np.maximum(np.minimum(self.highs[1], heights) - tops, 0)
        is_drawn = (crop_heights > 0) & (n_edges > 0)
        if not is_drawn.all():
            lefts, rights, rows = edges[:, np.repeat(is_drawn, n_edges)]
            crop_heights, n_edges = np.where(is_drawn, crop_heights, 0), np.where(is_drawn, n_edges, 0)
        row_words = (crop_widths + 63) // 64
        # One spare row for each polygon takes the edges that end it at the lower border of its crop.
        sizes = np.where(is_drawn, (crop_heights + 1) * row_words, 0)
        places = np.cumsum(sizes) - sizes
        words = np.zeros(int(sizes.sum()), dtype=np.uint64)
        if self.lows[1].min() < 0 or (self.highs[1] > heights).any():
            rows = np.clip(rows, np.repeat(tops, n_edges), np.repeat(tops + crop_heights, n_edges))
        row_places = np.repeat(places - tops * row_words, n_edges) + rows * np.repeat(row_words, n_edges)
        across = np.repeat(crop_lefts.astype(np.int32), n_edges)
        _flip(words, row_places, lefts - across, rights - across - np.int32(1))
        columns = (places, crop_lefts, tops, crop_widths, crop_heights, row_words)
        return [_mask(words, *each) for each in zip(*(column.tolist() for column in columns), strict=True)]

    def _edges(self, widths: Ints) -> tuple[Whole, Ints]:
        """The edges along x within their frames, (3, E): left and right end, row; and (N,) how many of each polygon."""
        places = np.flatnonzero(self.x != self.next_x)
        firsts = np.searchsorted(places, self.starts)
        counts = np.diff(firsts, append=len(places))
        edges = np.empty((3, len(places)), dtype=np.int32)
        x0, x1 = self.x[places], self.next_x[places]
        np.minimum(x0, x1, out=edges[0])
        np.maximum(x0, x1, out=edges[1])
        edges[2] = self.y[places]
        if self.lows[0].min() < 0 or (self.highs[0] > widths).any():
            np.maximum(edges[0], 0, out=edges[0])
            edges[1] = np.minimum(edges[1], np.repeat(widths, counts))
            is_inside = edges[0] < edges[1]
            before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(is_inside)])
            edges, counts = edges[:, is_inside], before[firsts + counts] - before[firsts]
        return edges, counts


def _following(values: Whole, starts: Ints) -> Whole:
    """Of each corner the value of the next one of its polygon."""
    result = np.empty_like(values)
    result[:-1] = values[1:]
    result[starts[1:] - 1] = values[starts[:-1]]
    result[-1] = values[starts[-1]]
    return result


def _flip(words: npt.NDArray[np.uint64], rows: Ints, lefts: Whole, rights: Whole) -> None:
    """Flip the pixels `lefts` to `rights` (inclusive) of rows that begin at the words `rows`."""
    first, last = lefts >> 6, rights >> 6
    begin, end = _FROM[lefts & 63], _UPTO[rights & 63]
    wide = np.flatnonzero(first != last)
    if len(wide):
        np.bitwise_xor.at(words, rows[wide] + last[wide], end[wide])
        between = (last - first)[wide] - 1
        stops = np.cumsum(between)
        full = np.repeat(rows[wide] + first[wide] + 1 - stops + between, between)
        full += np.arange(len(full), dtype=np.int64)
        np.bitwise_xor.at(words, full, _FULL)
        end[wide] = _FULL
    begin &= end
    np.bitwise_xor.at(words, rows + first, begin)


def _mask(
    words: npt.NDArray[np.uint64], place: int, left: int, top: int, width: int, height: int, row_words: int
) -> PackedMask | None:
    if height == 0:
        return None
    rows = words[place : place + height * row_words].reshape(height, row_words)
    filled = np.bitwise_xor.accumulate(rows, axis=0)
    if not (np.count_nonzero(filled[0]) or np.count_nonzero(filled)):
        return None
    packed = filled.view(np.uint8)[:, : (width + 7) // 8]
    return PackedMask(np.ascontiguousarray(packed), width, left, top)
