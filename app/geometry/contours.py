"""Mask to polygons along the pixel edges, so that polygon to mask gives the very pixels back.

    pixels      edges                        polygon (clockwise, integer corners)
    x x         T──────►T                    0 0  2 0  2 1  1 1  1 2  0 2
    x .         ▲   ┌◄B─▼
                B◄──┘

How: a horizontal edge runs along the top of pixels (T, to the right) or along their bottom (B, to the left), so that
the inside is on its right. The ends of all of them come from the flips of the rows below and above. In each column of
corners, corner 1 is joined to 2, 3 to 4, …: those are the vertical edges, and with them every horizontal edge knows the
next one. Walking these links gives the rings: outer ones clockwise, holes the other way.

Connected parts: pixels that touch at a corner only are one part (as in CVAT's own conversion), so a thin diagonal line
is one polygon. Where four pixels meet of which two opposite ones are set, both a T and a B edge end; sorting T before B
makes the outline go on to the other pixel.

Holes: CVAT knows no polygon with a hole. Each hole is cut open from its leftmost, then topmost corner along the
horizontal line to the border of the part on its left, which may be that of another hole further left; the bridge is
walked both ways, has no width, and the even-odd rule does not see it. So each connected part is one polygon; an island
inside a hole is a part of its own.

Cost, for an organic mask with 1,200 corners: 0.2 ms in batches of 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.geometry.flips import Flips, find_flips
from app.geometry.masks import PackedMask
from app.geometry.polygons import ShapeTooComplex

Ints = npt.NDArray[np.int64]

BATCH_MASKS = 16
"""Masks traced at once: fewer pay numpy's price per call more often, more gain nothing (measured)."""
BATCH_FLIPS = 1 << 18
"""Flips traced at once, so that many large masks do not add up."""
SMALL = 1 << 31
"""Places below it are sorted as half as long numbers, in half the time."""
MAX_CORNERS = 500_000
"""Corners of one mask, those of a checkerboard of a quarter of a megapixel: some 130 MB and 0.5 s. A shape that clients
send may have a tenth of its points."""
MAX_PARTS = 20_000
"""Polygons of one mask: noise of a megapixel has 3,000 to 40,000. Nobody edits as many, and each is a row."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The polygons of many masks.

    Attributes:
        points: (2 P,) int32, x before y, pixels of the frame: corners of pixels are whole numbers.
        offsets: (K + 1,) int64, polygon k is points[offsets[k]:offsets[k + 1]].
        masks: (K,) int64, ascending: the mask that polygon k is a part of. A mask without pixels has none.
    """

    points: npt.NDArray[np.int32]
    offsets: Ints
    masks: Ints

    def split(self) -> list[npt.NDArray[np.float64]]:
        """Each polygon as the points of a shape, (2 K,)."""
        return np.split(self.points.astype(np.float64), self.offsets[1:-1]) if len(self.masks) else []


def mask_to_polygons(mask: PackedMask) -> list[npt.NDArray[np.float64]]:
    """The polygons of one mask, each (2 K,) float64; see `masks_to_polygons`."""
    return masks_to_polygons([mask]).split()


def masks_to_polygons(masks: Sequence[PackedMask]) -> Outlines:
    """One polygon for each connected part of each mask, holes cut open by a bridge; in frame pixels.

    Parts come in the order of their topmost, then leftmost pixel; no three neighbouring points lie on one line.

    Raises:
        ShapeTooComplex: a mask has more than MAX_CORNERS corners, or than MAX_PARTS parts.

    Source: Open Images reference 3.9.
    """
    return flips_to_polygons([find_flips(mask) for mask in masks])


def flips_to_polygons(masks: Sequence[Flips]) -> Outlines:
    """`masks_to_polygons` of the masks that have these flips."""
    parts = []
    start = 0
    while start < len(masks):
        stop = _batch_end(masks, start)
        parts += _trace(masks[start:stop], start)
        start = stop
    if not parts:
        return Outlines(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    points = np.concatenate([part.points for part in parts])
    return Outlines(points, offsets, np.concatenate([part.masks for part in parts]))


def _batch_end(masks: Sequence[Flips], start: int) -> int:
    total = 0
    for index in range(start, min(start + BATCH_MASKS, len(masks))):
        total += len(masks[index])
        if total > BATCH_FLIPS:
            return max(index, start + 1)
    return min(start + BATCH_MASKS, len(masks))


def _trace(masks: Sequence[Flips], first_mask: int) -> list[Outlines]:
    stack = _Stack.of(masks)
    ends = stack.edge_ends(MAX_CORNERS)
    if ends is None:
        return _halved(masks, first_mask, f"more than {MAX_CORNERS:,} corners")
    edges = _link(stack, *ends)
    rings = _walk(edges)
    holes = np.flatnonzero(rings.areas() < 0)
    n_parts = len(rings.starts) - 1 - len(holes)
    if n_parts > MAX_PARTS:
        return _halved(masks, first_mask, f"{n_parts:,} parts, more than {MAX_PARTS:,}")
    if len(holes):
        rings = _splice(rings, _bridge(edges, stack, rings, holes), holes)
    return [_polygons(rings, stack, masks, first_mask)]


def _halved(masks: Sequence[Flips], first_mask: int, why: str) -> list[Outlines]:
    """Fewer masks at once; one alone is refused."""
    if len(masks) == 1:
        raise ShapeTooComplex(f"a mask has {why}; keep it as a mask")
    half = len(masks) // 2
    return _trace(masks[:half], first_mask) + _trace(masks[half:], first_mask + half)


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """The masks of a batch one below the other.

    Each mask has one clear line below its last, so the row above another mask's first is never its own. Lines are
    numbered through: line y of a mask is its row y, and the border above that row.

    Attributes:
        places: (P,) line * span + column of every flip, ascending.
        span: more than any column.
        first_lines: (masks + 1,) where each mask starts.
    """

    places: Ints
    span: int
    first_lines: Ints

    @staticmethod
    def of(masks: Sequence[Flips]) -> _Stack:
        first_lines = np.concatenate([[0], np.cumsum([mask.height + 1 for mask in masks])])
        span = max(mask.width for mask in masks) + 1
        lines = np.concatenate([mask.lines for mask in masks]).astype(np.int64)
        lines += np.repeat(first_lines[:-1], [len(mask) for mask in masks])
        return _Stack(lines * span + np.concatenate([mask.columns for mask in masks]), span, first_lines)

    def edge_ends(self, most: int) -> tuple[Ints, Ints] | None:
        """Places where T edges, and where B edges begin and end, left and right in turn; ascending. None where they are
        more than `most` together, which is known before they are all held."""
        cuts = np.unique(self.places[BATCH_FLIPS::BATCH_FLIPS] // self.span).tolist()
        bands = pairwise([0, *cuts, self.n_lines])
        tops, bottoms, n_corners = [], [], 0
        for first, last in bands:
            top, bottom = self._ends_between(first, last)
            n_corners += len(top) + len(bottom)
            if n_corners > most:
                return None
            tops.append(top)
            bottoms.append(bottom)
        return np.concatenate(tops), np.concatenate(bottoms)

    @property
    def n_lines(self) -> int:
        return int(self.first_lines[-1])

    def _ends_between(self, first: int, last: int) -> tuple[Ints, Ints]:
        """`edge_ends` on the borders above some lines.

        Along a border, the row below and the row above it change at their flips. A T edge lies where the row below is
        set and the one above is not, a B edge the other way. Each row has an even number of flips, so whether it is set
        is a parity that need not begin anew with each line.
        """
        # The row above a border is the line before: its flips, one line further, with the last bit set.
        below, above = self._between(first, last), self._between(first - 1, last - 1)
        n = len(below)
        is_small = n > 0 and 2 * (last + 1) * self.span < SMALL
        events: npt.NDArray[np.signedinteger[Any]]
        events = np.empty(n + len(above), dtype=np.int32 if is_small else np.int64)
        np.multiply(below, 2, out=events[:n], casting="same_kind")
        np.multiply(above, 2, out=events[n:], casting="same_kind")
        events[n:] += 2 * self.span + 1
        events.sort(kind="stable")  # two ascending runs, which that merges, in a tenth of the time
        is_set_above = np.bitwise_xor.accumulate((events & 1).astype(np.uint8))  # behind each event
        is_set_below = is_set_above.copy()
        is_set_below[0::2] ^= 1
        events >>= 1
        is_last = np.ones(len(events), dtype=np.bool_)  # of the events at one place
        is_last[:-1] = events[1:] != events[:-1]
        at = np.flatnonzero(is_last)
        tops, bottoms = (is_set_below > is_set_above)[at], (is_set_above > is_set_below)[at]
        ends = events[at].astype(np.int64)
        return ends[_steps(tops)], ends[_steps(bottoms)]

    def _between(self, first: int, last: int) -> Ints:
        """The flips of some lines."""
        start, stop = np.searchsorted(self.places, [first * self.span, last * self.span])
        return self.places[start:stop]

    def masks_of(self, lines: Ints) -> Ints:
        """The mask that each line belongs to."""
        return np.searchsorted(self.first_lines, lines, side="right") - 1


def _steps(bits: npt.NDArray[np.bool_]) -> Ints:
    """Where a row of bits changes; there is a clear one in front of it."""
    changes = bits.copy()
    changes[1:] ^= bits[:-1]
    return np.flatnonzero(changes)


def _by_column(lines: Ints, columns: Ints) -> Ints:
    """The order of places by column, then line, then as they stand; they are two runs of ascending lines."""
    order = np.argsort(lines, kind="stable")  # which it merges
    # Numbers of 16 bits are counted, not compared, by a stable sort: a fifth of the time.
    kind = np.uint16 if int(columns.max(initial=0)) < 1 << 16 else np.int64
    found: Ints = order[np.argsort(columns[order].astype(kind), kind="stable")]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Horizontal edges, T edges first, each kind in reading order; bridges last.

    Attributes:
        lines: (E,) where they lie.
        xa, xb: (E,) columns where they start and end; a T edge runs to the right, a B edge to the left.
        links: (E,) the edge that follows each.
        n_tops: how many are T edges.
        rises: (R, 4) the vertical edges that run up: column, upper line, edge before, edge after; in order of place.
    """

    lines: Ints
    xa: Ints
    xb: Ints
    links: Ints
    n_tops: int
    rises: Ints


def _link(stack: _Stack, tops: Ints, bottoms: Ints) -> _Edges:
    """The edges of all masks, each with its successor; `tops` and `bottoms` are the ends of T and B edges."""
    ends = np.concatenate([tops, bottoms])  # (2 E,) of every edge left and right in turn
    end_lines = ends // stack.span
    end_columns = ends - end_lines * stack.span
    n_ends, n_top_ends = len(ends), len(tops)
    # Corner k is one of edge k // 2; a T edge ends on the right, a B edge on the left.
    is_end = np.zeros(n_ends, dtype=np.bool_)
    is_end[1:n_top_ends:2] = is_end[n_top_ends::2] = True

    # Both ends of every edge, by column, then line, a T edge before a B edge.
    order = _by_column(end_lines, end_columns)
    uppers, lowers = order[0::2], order[1::2]  # the two ends of each vertical edge
    upper, lower = uppers >> 1, lowers >> 1  # their edges
    falls = is_end[uppers]  # the upper edge ends here: the way goes down
    links = np.empty(n_ends // 2, dtype=np.int64)
    links[np.where(falls, upper, lower)] = np.where(falls, lower, upper)

    up = np.flatnonzero(~falls)
    rises = np.stack([end_columns[uppers[up]], end_lines[uppers[up]], lower[up], upper[up]], axis=1)
    tops_x, bottoms_x = end_columns[:n_top_ends], end_columns[n_top_ends:]
    xa = np.concatenate([tops_x[0::2], bottoms_x[1::2]])
    xb = np.concatenate([tops_x[1::2], bottoms_x[0::2]])
    return _Edges(end_lines[0::2], xa, xb, links, n_top_ends // 2, rises)


@dataclass(frozen=True, slots=True, eq=False)
class _Rings:
    """Edges in the order they are walked: `order` (E,), ring r is order[starts[r]:starts[r + 1]]."""

    edges: _Edges
    order: Ints
    starts: Ints

    def areas(self) -> Ints:
        """(rings,) the signed area each ring encloses: negative for holes."""
        moments = self.edges.lines * (self.edges.xa - self.edges.xb)
        areas: Ints = np.add.reduceat(moments[self.order], self.starts[:-1]) if len(self.order) else self.starts[:-1]
        return areas


def _walk(edges: _Edges) -> _Rings:
    """Follow the links from each T edge that no ring holds yet, so that rings come in order of their topmost edge.

    The one plain loop over corners of this package: 60 ns a step, where doubling pointers in numpy takes 200.
    """
    links = edges.links.tolist()
    order: list[int] = []
    starts: list[int] = []
    step = order.append
    for first in range(edges.n_tops):
        edge = links[first]
        if edge < 0:
            continue
        starts.append(len(order))
        step(first)
        links[first] = -1
        while edge != first:
            step(edge)
            following = links[edge]
            links[edge] = -1
            edge = following
    starts.append(len(order))
    return _Rings(edges, np.array(order, dtype=np.int64), np.array(starts, dtype=np.int64))


def _bridge(edges: _Edges, stack: _Stack, rings: _Rings, holes: Ints) -> _Edges:
    """Cut every hole open, from its leftmost, then topmost corner straight to the left.

    The B edge above that corner goes on to the border on the left; the edge that came up that border goes right along
    a new edge, the bridge, into the hole. As the border lies left of the hole, no circle of bridges can come about.
    """
    span = int(stack.first_lines[-1])
    lengths = np.diff(rings.starts)
    of_hole = np.zeros(len(lengths), dtype=np.bool_)
    of_hole[holes] = True
    order, lengths = rings.order[np.repeat(of_hole, lengths)], lengths[holes]  # edges of holes only
    corners = edges.xb[order] * span + edges.lines[order]
    corners[order < edges.n_tops] = np.iinfo(np.int64).max
    first_corners = np.minimum.reduceat(corners, np.cumsum(lengths) - lengths)  # (H,)
    lids = order[corners == np.repeat(first_corners, lengths)]  # (H,) the B edge above the corner of each hole
    lines, columns = edges.lines[lids], edges.xb[lids]

    run_starts = stack.places[0::2]
    line_starts = lines * stack.span
    borders = run_starts[np.searchsorted(run_starts, line_starts + columns) - 1] - line_starts  # (H,) columns
    rises = np.searchsorted(edges.rises[:, 0] * span + edges.rises[:, 1], borders * span + lines, side="right") - 1

    # Several holes may end at one border; the way up it meets the lowest first.
    turn = np.lexsort((-lines, rises))
    lids, lines, columns, borders, rises = lids[turn], lines[turn], columns[turn], borders[turn], rises[turn]
    is_first = np.diff(rises, prepend=-1) != 0
    is_last = np.diff(rises, append=-1) != 0
    bridges = len(edges.lines) + np.arange(len(lids), dtype=np.int64)
    links = np.concatenate([edges.links, edges.links[lids]])
    before = np.where(is_first, edges.rises[rises, 2], np.roll(lids, 1))
    links[before] = bridges
    links[lids[is_last]] = edges.rises[rises[is_last], 3]
    xb = np.concatenate([edges.xb, columns])
    xb[lids] = borders
    return _Edges(
        np.concatenate([edges.lines, lines]), np.concatenate([edges.xa, borders]), xb, links, edges.n_tops, edges.rises
    )


def _splice(rings: _Rings, edges: _Edges, holes: Ints) -> _Rings:
    """`_walk` of the edges with bridges, from the rings without: cut where links changed, and put together anew.

    Costs a step a stretch instead of one an edge. A ring begins with its topmost edge, which no hole of it lies above,
    so the rings that are left begin where they did.
    """
    order, n_edges = rings.order, len(rings.order)
    places = np.empty(n_edges, dtype=np.int64)
    places[order] = np.arange(n_edges, dtype=np.int64)
    changed = np.flatnonzero(edges.links[:n_edges] != rings.edges.links)
    starts = np.unique(np.concatenate([rings.starts, places[changed] + 1]))  # of the stretches; the last is the end
    after = edges.links[order[starts[1:] - 1]]  # (S,) what follows each stretch: an edge, or a bridge and its edge
    is_bridge = after >= n_edges
    following = np.searchsorted(starts, places[np.where(is_bridge, edges.links[after], after)]).tolist()
    bounds = starts.tolist()
    bridges = np.where(is_bridge, after, -1).tolist()
    kept = np.ones(len(rings.starts) - 1, dtype=np.bool_)
    kept[holes] = False
    pool = np.concatenate([order, np.arange(n_edges, len(edges.lines), dtype=np.int64)])
    pieces: list[Ints] = []
    ends = [0]
    for first in np.searchsorted(starts, rings.starts[:-1][kept]).tolist():
        stretch, length = first, 0
        while True:
            pieces.append(pool[bounds[stretch] : bounds[stretch + 1]])
            length += bounds[stretch + 1] - bounds[stretch]
            if bridges[stretch] >= 0:
                pieces.append(pool[bridges[stretch] : bridges[stretch] + 1])
                length += 1
            stretch = following[stretch]
            if stretch == first:
                break
        ends.append(ends[-1] + length)
    return _Rings(edges, np.concatenate(pieces), np.array(ends, dtype=np.int64))


def _polygons(rings: _Rings, stack: _Stack, masks: Sequence[Flips], first_mask: int) -> Outlines:
    """The corners of the rings, in pixels of the frames."""
    edges, order = rings.edges, rings.order
    lines = edges.lines[order]
    # A lid may go on into the next edge on the same line; the two are one.
    starts_ring = np.zeros(len(order) + 1, dtype=np.bool_)
    starts_ring[rings.starts] = True
    is_new = np.diff(lines, prepend=-1) != 0
    is_new |= starts_ring[:-1]
    firsts = np.flatnonzero(is_new)  # (F,)
    lasts = np.append(firsts[1:], len(order)) - 1 if len(firsts) else firsts
    ring_masks = stack.masks_of(lines[rings.starts[:-1]])
    offsets = np.searchsorted(firsts, rings.starts) * 4
    edge_masks = np.repeat(ring_masks, np.diff(offsets) // 4)
    lefts = np.array([mask.left for mask in masks], dtype=np.int64)
    tops = np.array([mask.top for mask in masks], dtype=np.int64) - stack.first_lines[:-1]
    points = np.empty((len(firsts), 4), dtype=np.int32)
    points[:, 0] = edges.xa[order[firsts]] + lefts[edge_masks]
    points[:, 2] = edges.xb[order[lasts]] + lefts[edge_masks]
    points[:, 1] = points[:, 3] = lines[firsts] + tops[edge_masks]
    return Outlines(points.reshape(-1), offsets, ring_masks + first_mask)
