"""Polygon to pixels, with the very pixels of CVAT's exports.

CVAT draws with the COCO rasteriser. Its rule, in our words: points are rounded to fifths of a pixel; each edge is
walked in fifths along its longer axis, the other coordinate rounded to the nearest fifth; where a walk steps over the
middle of a pixel column (from fifth 5 i + 2 to 5 i + 3), the column's pixels from the first one whose middle is not
above the step change colour. On straight edges that is "the centre is inside, even-odd, ties to the left and upper".

Instead of walking, the steps over column middles are computed, edge by edge and column by column, with the same
floating point operations in the same order, so the pixels are equal, ties of rounding included (tests compare with
pycocotools itself). Cost: 30 to 50 ns and 100 bytes for each column that an edge crosses within the frame, whatever the
length of the outline: far points cost nothing, and memory is bounded by working in chunks. Polygons that run along the
edges of pixels have no slanting edge and are drawn apart (`pixel_outlines.py`), in a third of the time.

    crossings          flips             running exclusive or, down
    . . 1 . 1 .        0b00101000        0b00101000
    . . . . . .        0b00000000        0b00101000
    . . 1 . . .        0b00100000        0b00001000
    . . . . 1 .        0b00001000        0b00000000

Why not pycocotools: it needs memory for every fifth of the outline (30,000 random points on one megapixel: 685 MiB),
overflows on far points, and one polygon at a time takes as long as ours without the part that makes pixels of its runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.errors import TooLarge
from app.geometry.boxes import rotated_corners
from app.geometry.masks import PackedMask, Rows, merge_masks
from app.geometry.pixel_outlines import PixelOutlines

Points = npt.NDArray[np.float64]
AnyPoints = npt.NDArray[np.float64 | np.int32]
Offsets = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int64]

FIFTHS = 5
"""Sub-pixels a pixel of the COCO rasteriser."""
FAR_PIXELS = 1e9
"""Points farther out are moved here: no frame is near, and products of fifths stay exact in 64-bit floats."""
MAX_CROSSINGS = 64_000_000
"""Columns that one polygon's edges may cross: about 2 s. 100,000 random points on one megapixel cross 35 million."""
CHUNK_CROSSINGS = 1 << 15
"""Crossings computed at once: some 4 MB of arrays, which stay in the cache."""


class ShapeTooComplex(TooLarge):
    """A polygon whose outline crosses the pixel columns of its frame so often that drawing it would take too long."""

    code = "shape.too_complex"


def polygon_to_mask(points: Points, width: int, height: int) -> PackedMask | None:
    """The pixels of one polygon by the even-odd rule, clipped to the frame.

    Args:
        points: (2 K,) or (K, 2) float64, finite, pixels, x before y; it need not be closed, simple or inside.
        width, height: pixels of the frame.

    Returns:
        The crop of the polygon's box at its place (not tightened), None where no pixel is set.

    Raises:
        ShapeTooComplex: more crossings than any real outline has.
    """
    flat = points.reshape(-1)
    return polygons_to_masks(flat, np.array([0, len(flat)], dtype=np.int64), width, height)[0]


def polygons_to_mask(polygons: Sequence[Points], width: int, height: int) -> PackedMask | None:
    """The union of polygons, each drawn by itself by the even-odd rule; None where no pixel is set."""
    flat = [polygon.reshape(-1) for polygon in polygons]
    offsets = np.zeros(len(flat) + 1, dtype=np.int64)
    np.cumsum([len(points) for points in flat], out=offsets[1:])
    masks = polygons_to_masks(np.concatenate(flat) if flat else np.empty(0), offsets, width, height)
    drawn = [mask for mask in masks if mask is not None]
    return merge_masks(drawn) if drawn else None


def rectangle_to_mask(box: Points, rotation: float, width: int, height: int) -> PackedMask | None:
    """The pixels of a rectangle (4,) x0 y0 x1 y1, turned clockwise by `rotation` degrees, drawn as a polygon."""
    return polygon_to_mask(rotated_corners(box.reshape(1, 4), rotation)[0], width, height)


def polygons_to_masks(
    points: AnyPoints, offsets: Offsets, widths: npt.ArrayLike, heights: npt.ArrayLike
) -> list[PackedMask | None]:
    """The pixels of many polygons, one mask each, clipped to the frame of each; twice as fast as one by one.

    Args:
        points: (M,) float64 (or int32), finite, pixels, x before y: the values of a ragged column.
        offsets: (N + 1,) int64, polygon i is points[offsets[i]:offsets[i + 1]].
        widths, heights: (N,) or one number, pixels of the frame of each polygon.

    Returns:
        N crops (not tightened) at their places; None where no pixel is set, as for fewer than three points. They all
        stand in memory at once: give it hundreds of polygons, not millions.

    Raises:
        ShapeTooComplex: a polygon has more than MAX_CROSSINGS crossings; count them first with `count_crossings`.
    """
    n = len(offsets) - 1
    frame_widths = np.broadcast_to(np.asarray(widths, dtype=np.int64), n)
    frame_heights = np.broadcast_to(np.asarray(heights, dtype=np.int64), n)
    outlines = PixelOutlines.of(points, offsets)
    if outlines is not None and outlines.along.all():
        masks = outlines.draw(frame_widths, frame_heights, MAX_CROSSINGS)
        if masks is not None:
            return masks
    elif outlines is not None and outlines.along.any():
        return _draw_apart(outlines.along, points, offsets, frame_widths, frame_heights)
    return _draw(points, offsets, frame_widths, frame_heights)


def _draw_apart(
    along: npt.NDArray[np.bool_], points: AnyPoints, offsets: Offsets, widths: Ints, heights: Ints
) -> list[PackedMask | None]:
    """Those along pixels, and all others."""
    masks: list[PackedMask | None] = [None] * len(along)
    lengths = np.diff(offsets)
    for chosen in (along, ~along):
        places = np.flatnonzero(chosen)
        own = np.zeros(len(places) + 1, dtype=np.int64)
        np.cumsum(lengths[places], out=own[1:])
        drawn = polygons_to_masks(points[np.repeat(chosen, lengths)], own, widths[places], heights[places])
        for place, mask in zip(places.tolist(), drawn, strict=True):
            masks[place] = mask
    return masks


def _draw(points: AnyPoints, offsets: Offsets, widths: Ints, heights: Ints) -> list[PackedMask | None]:
    """`polygons_to_masks` of any polygons."""
    edges = _Edges.of(points, offsets, widths, heights)
    edges.refuse_complex()
    crops = _Crops.of(edges)
    for start, stop in edges.chunks():
        polygons, columns, rows = edges.crossings(start, stop)
        crops.flip(polygons, columns, rows)
    return crops.masks()


def count_crossings(points: Points, offsets: Offsets, widths: npt.ArrayLike, heights: npt.ArrayLike) -> Ints:
    """(N,) how many pixel columns the edges of each polygon cross: what drawing it costs. Over MAX_CROSSINGS it cannot
    be drawn. Arguments as in `polygons_to_masks`; the cost of counting follows the number of points alone.
    """
    edges = _Edges.of(points, offsets, widths, heights)
    return edges.crossings_of_polygons()


def polygon_areas(points: Points, offsets: Offsets) -> Points:
    """(N,) float64, what each polygon encloses, in square pixels; exact for whole numbers. Arguments as in
    `polygons_to_masks`."""
    starts, stops = offsets[:-1] // 2, offsets[1:] // 2
    filled = stops > starts
    # Seen from each polygon's first point, so that the running sum stays small and thereby exact.
    corners = points.reshape(-1, 2)
    corners = corners - np.repeat(corners[starts[filled]], (stops - starts)[filled], axis=0)  # (P, 2)
    x, y = corners[:, 0], corners[:, 1]
    following = np.arange(1, len(x) + 1, dtype=np.int64)
    following[stops[filled] - 1] = starts[filled]
    totals = np.zeros(len(x) + 1)
    np.cumsum(x * y[following] - x[following] * y, out=totals[1:])
    areas: Points = np.abs(totals[stops] - totals[starts]) / 2
    return areas


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """The edges of N polygons in fifths of a pixel: E edges, one from each point to the next of its polygon.

    Attributes:
        xs, ys, xe, ye: (E,) float64, start and end, so turned that the longer axis grows.
        long_x: (E,) the longer axis is x.
        polygons: (E,) whose edge it is.
        lows, highs: (E,) the first and last column whose middle the edge steps over, of any frame.
        first_columns, counts: (E,) the first such column of the frame, and how many.
        ends: (E,) running sum of counts.
        offsets: (N + 1,) polygon i has edges offsets[i]:offsets[i + 1].
        widths, heights: (N,) of the frames.
    """

    xs: Points
    ys: Points
    xe: Points
    ye: Points
    long_x: npt.NDArray[np.bool_]
    polygons: Ints
    lows: Ints
    highs: Ints
    first_columns: Ints
    counts: Ints
    ends: Ints
    offsets: Ints
    widths: Ints
    heights: Ints

    @staticmethod
    def of(points: AnyPoints, offsets: Offsets, widths: npt.ArrayLike, heights: npt.ArrayLike) -> _Edges:
        n = len(offsets) - 1
        frame_widths = np.broadcast_to(np.asarray(widths, dtype=np.int64), n)
        frame_heights = np.broadcast_to(np.asarray(heights, dtype=np.int64), n)
        offsets = offsets // 2
        lengths = np.diff(offsets)  # (N,)
        polygons = np.repeat(np.arange(n, dtype=np.int64), lengths)  # (E,)
        pixels = points.astype(np.float64, copy=False)
        fifths = np.trunc(np.clip(pixels, -FAR_PIXELS, FAR_PIXELS) * FIFTHS + 0.5).reshape(-1, 2)  # (E, 2)
        x0, y0 = fifths[:, 0], fifths[:, 1]
        following = np.arange(1, len(fifths) + 1, dtype=np.int64)
        filled = lengths > 0
        following[offsets[1:][filled] - 1] = offsets[:-1][filled]
        x1, y1 = x0[following], y0[following]
        long_x = np.abs(x1 - x0) >= np.abs(y1 - y0)
        turned = np.where(long_x, x0 > x1, y0 > y1)

        # The middle of column i lies between fifths 5 i + 2 and 5 i + 3: the edge must reach both.
        lows = (np.minimum(x0, x1).astype(np.int64) + 2) // FIFTHS
        highs = (np.maximum(x0, x1).astype(np.int64) - 3) // FIFTHS
        first_columns = np.maximum(lows, 0)
        counts = np.maximum(np.minimum(highs, frame_widths[polygons] - 1) - first_columns + 1, 0)
        counts[(lengths < 3)[polygons]] = 0  # a point or a line has no inside
        return _Edges(
            xs=np.where(turned, x1, x0),
            ys=np.where(turned, y1, y0),
            xe=np.where(turned, x0, x1),
            ye=np.where(turned, y0, y1),
            long_x=long_x,
            polygons=polygons,
            lows=lows,
            highs=highs,
            first_columns=first_columns,
            counts=counts,
            ends=np.cumsum(counts),
            offsets=offsets,
            widths=frame_widths,
            heights=frame_heights,
        )

    def crossings_of_polygons(self) -> Ints:
        totals = np.concatenate([np.zeros(1, dtype=np.int64), self.ends])
        crossings: Ints = totals[self.offsets[1:]] - totals[self.offsets[:-1]]
        return crossings

    def refuse_complex(self) -> None:
        crossings = self.crossings_of_polygons()
        if len(crossings) and crossings.max() > MAX_CROSSINGS:
            worst = int(crossings.argmax())
            raise ShapeTooComplex(
                f"a polygon of {int(np.diff(self.offsets)[worst])} points crosses {int(crossings[worst])} pixel "
                f"columns of its frame, more than {MAX_CROSSINGS}; simplify its outline"
            )

    def chunks(self) -> list[tuple[int, int]]:
        """Ranges of edges with about CHUNK_CROSSINGS crossings each."""
        total = int(self.ends[-1]) if len(self.ends) else 0
        if total <= CHUNK_CROSSINGS:
            return [(0, len(self.ends))] if total else []
        marks = np.arange(CHUNK_CROSSINGS, total, CHUNK_CROSSINGS, dtype=np.int64)
        cuts = np.unique(np.concatenate([[0], np.searchsorted(self.ends, marks, side="right"), [len(self.ends)]]))
        return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))

    def crossings(self, start: int, stop: int) -> tuple[Ints, Ints, Ints]:
        """(C,) each: polygon, column, and first row below the crossing, of edges start to stop."""
        edges = np.flatnonzero(self.counts[start:stop]) + start  # (F,) those that cross anything
        is_flat = self.ys[edges] == self.ye[edges]
        is_steep = ~self.long_x[edges]
        kinds = (edges[is_flat], edges[~(is_flat | is_steep)], edges[is_steep])
        n_flat, n_long, edges = len(kinds[0]), len(kinds[0]) + len(kinds[1]), np.concatenate(kinds)
        counts = self.counts[edges]
        ends = np.cumsum(counts)
        columns = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64)
        columns -= np.repeat(ends - counts - self.first_columns[edges], counts)  # (C,)
        flat, split = (int(ends[n - 1]) if n else 0 for n in (n_flat, n_long))
        fifths = np.concatenate(
            [
                self._heights_along_x(edges[n_flat:n_long], counts[n_flat:n_long], columns[flat:split]),
                self._heights_along_y(edges[n_long:], counts[n_long:], columns[split:]),
            ]
        )
        polygons = np.repeat(self.polygons[edges], counts)
        # Where y is the same all along, it is so in each column; outlines along pixel edges have no other edge here.
        rows_of_flat = _rows_from(np.trunc(self.ys[edges[:n_flat]] + 0.5))
        rows = np.repeat(rows_of_flat, counts[:n_flat])
        return polygons, columns, rows if flat == len(columns) else np.concatenate([rows, _rows_from(fifths)])

    def _heights_along_x(self, edges: Ints, counts: Ints, columns: Ints) -> Points:
        """The smaller y of the two steps around each column's middle, for edges walked along x; in fifths."""
        slopes = (self.ye[edges] - self.ys[edges]) / (self.xe[edges] - self.xs[edges])
        slopes, xs, ys = (np.repeat(values, counts) for values in (slopes, self.xs[edges], self.ys[edges]))
        steps = (FIFTHS * columns + 2) - xs
        before = ys + slopes * steps + 0.5
        after = ys + slopes * (steps + 1.0) + 0.5
        return np.trunc(np.minimum(before, after))

    def _heights_along_y(self, edges: Ints, counts: Ints, columns: Ints) -> Points:
        """The same for edges walked along y: find the step at which x passes the column's middle."""
        slopes = (self.xe[edges] - self.xs[edges]) / (self.ye[edges] - self.ys[edges])
        slopes, xs, ys = (np.repeat(values, counts) for values in (slopes, self.xs[edges], self.ys[edges]))
        rising = slopes > 0
        far_side = (FIFTHS * columns + 3).astype(np.float64)
        # The division finds the step to within one; x as the walk computes it decides between the neighbours.
        steps = np.ceil((far_side - 0.5 - xs) / slopes)
        passed = (xs + slopes * steps + 0.5 >= far_side) == rising
        passed_before = (xs + slopes * (steps - 1.0) + 0.5 >= far_side) == rising
        first_passed = steps + 1.0 - passed - (passed & passed_before)
        heights: Points = ys + first_passed - 1.0
        return heights


@dataclass(frozen=True, slots=True, eq=False)
class _Crops:
    """The packed crops of N polygons in one buffer; rows are padded to words, and one spare row for each polygon takes
    the flips that end it at the lower border of its crop.

    Attributes:
        buffer: (bytes,) flips.
        starts: (N,) where each crop starts in it.
        lefts, tops, widths, heights: (N,) pixels; 0 high where nothing is drawn.
        row_bytes: (N,)
    """

    buffer: Rows
    starts: Ints
    lefts: Ints
    tops: Ints
    widths: Ints
    heights: Ints
    row_bytes: Ints

    @staticmethod
    def of(edges: _Edges) -> _Crops:
        bounds = np.zeros((4, len(edges.widths)), dtype=np.int64)  # left, top, right, bottom (exclusive)
        drawn = np.flatnonzero(edges.crossings_of_polygons() > 0)  # (D,)
        if len(drawn):
            # Polygons without a crossing may lie between the drawn ones; they must not join the range before them.
            ranges = np.stack([edges.offsets[drawn], edges.offsets[drawn + 1]], axis=1).reshape(-1)
            if ranges[-1] == len(edges.lows):
                ranges = ranges[:-1]
            upper, lower = np.minimum(edges.ys, edges.ye), np.maximum(edges.ys, edges.ye)
            bounds[0, drawn] = np.minimum.reduceat(edges.lows, ranges)[::2]
            bounds[1, drawn] = _rows_from(np.minimum.reduceat(upper, ranges)[::2])
            bounds[2, drawn] = np.maximum.reduceat(edges.highs, ranges)[::2] + 1
            bounds[3, drawn] = _rows_from(np.maximum.reduceat(lower, ranges)[::2])
        lefts, tops = np.maximum(bounds[:2], 0)
        lefts &= -8  # whole bytes of a frame's rows: placing a crop there needs no shift
        widths = np.maximum(np.minimum(bounds[2], edges.widths) - lefts, 0)
        heights = np.maximum(np.minimum(bounds[3], edges.heights) - tops, 0)
        row_bytes = (widths + 63) // 64 * 8
        sizes = np.where(heights > 0, (heights + 1) * row_bytes, 0)  # (N,)
        buffer = np.zeros(int(sizes.sum()), dtype=np.uint8)
        return _Crops(buffer, np.cumsum(sizes) - sizes, lefts, tops, widths, heights, row_bytes)

    def flip(self, polygons: Ints, columns: Ints, rows: Ints) -> None:
        """Change the colour of each column from a row on; rows beyond the crop's end fall into its spare row."""
        heights = self.heights[polygons]
        inside = heights > 0
        if not inside.all():
            polygons, columns, rows, heights = polygons[inside], columns[inside], rows[inside], heights[inside]
        down = np.clip(rows - self.tops[polygons], 0, heights)
        across = columns - self.lefts[polygons]
        places = self.starts[polygons] + down * self.row_bytes[polygons] + (across >> 3)
        np.bitwise_xor.at(self.buffer, places, np.right_shift(np.uint8(128), (across & 7).astype(np.uint8)))

    def masks(self) -> list[PackedMask | None]:
        columns = (self.starts, self.lefts, self.tops, self.widths, self.heights, self.row_bytes)
        return [self._mask(*place) for place in zip(*(column.tolist() for column in columns), strict=True)]

    def _mask(self, start: int, left: int, top: int, width: int, height: int, row_bytes: int) -> PackedMask | None:
        if height == 0:
            return None
        flips = self.buffer[start : start + height * row_bytes].view(np.uint64).reshape(height, -1)
        words = np.bitwise_xor.accumulate(flips, axis=0)
        if not (np.count_nonzero(words[0]) or words.any()):
            return None
        rows = words.view(np.uint8).reshape(height, row_bytes)[:, : (width + 7) // 8]
        return PackedMask(np.ascontiguousarray(rows), width, left, top)


def _rows_from(fifths: Points) -> Ints:
    """The first row whose middle is not above a place."""
    rows: Ints = (fifths.astype(np.int64) + 2) // FIFTHS
    return rows
