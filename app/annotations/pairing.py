"""Which rows of one table are those of another: by equal keys, or by the nearest box.

    old   k1 k2 k1 k3        new   k1 k1 k1 k4        pairs   0 2 - -

Keys are 64-bit numbers that callers mix from what they compare. Rows of one key pair in their order, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
PAIRS_AT_ONCE = 1 << 20
LARGEST_GROUP = 1 << 18
"""Old times new boxes of one group; larger ones pair in their order, for each pair costs some tens of bytes."""
MAX_ROUNDS = 100
"""Each pairs those who are each other's nearest; what chains of boxes leave after so many stays without a pair."""


SHARE_ROWS = 131_072
"""Of both sides, that are paired at once: nine numbers of each are held."""


def mix(*columns: npt.NDArray[Any]) -> Keys:
    """(N,) one key of several columns of numbers; equal rows have equal keys."""
    key: Keys = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        if column.dtype == np.float64:
            column = (column + 0.0).view(np.uint64)  # -0.0 is 0.0
        key = (key ^ column.astype(np.int64, copy=False).view(np.uint64)) * _MULTIPLIER
        key ^= key >> np.uint64(29)
    return key


def pair_in_order(old: Keys, new: Keys) -> Positions:
    """(N,) int64, the old row of each new row: of an equal key, each once, both in their order; -1 for none."""
    n_shares = (len(old) + len(new)) // SHARE_ROWS + 1
    if n_shares == 1:
        return _pair_share(old, new)
    pairs = np.full(len(new), -1, dtype=np.int64)
    for share in range(n_shares):  # equal keys are of one share
        old_rows, new_rows = (np.flatnonzero(keys % np.uint64(n_shares) == share) for keys in (old, new))
        found = _pair_share(old[old_rows], new[new_rows])
        places = np.flatnonzero(found >= 0)
        pairs[new_rows[places]] = old_rows[found[places]]
    return pairs


def _pair_share(old: Keys, new: Keys) -> Positions:
    pairs = np.full(len(new), -1, dtype=np.int64)
    if not len(old) or not len(new):
        return pairs
    codes = np.unique(np.concatenate([old, new]), return_inverse=True)[1]
    old_codes, new_codes = codes[: len(old)], codes[len(old) :]
    members = np.argsort(old_codes, kind="stable")
    in_order = old_codes[members]
    places = np.searchsorted(in_order, new_codes, side="left")
    stops = np.searchsorted(in_order, new_codes, side="right")
    places += ranks(new_codes)
    found = places < stops
    pairs[found] = members[places[found]]
    return pairs


def ranks(codes: npt.NDArray[Any]) -> Positions:
    """(N,) int64, how many rows of the same code come before each."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(codes) else order
    sizes = np.diff(begins, append=np.int64(len(codes)))
    found = np.empty(len(codes), dtype=np.int64)
    found[order] = np.arange(len(codes), dtype=np.int64) - np.repeat(begins, sizes)
    return found


def pair_nearest(
    old_groups: Keys, new_groups: Keys, old_boxes: Reals, new_boxes: Reals, least_overlap: Reals
) -> Positions:
    """(N,) int64, the old row of each new row of the same group: the nearest first, each once; -1 where none is left.

    Near is: overlap (intersection over union), and for boxes apart the distance of their centres.

    Args:
        old_boxes, new_boxes: (M, 4), (N, 4) x0 y0 x1 y1.
        least_overlap: (M,) what each old row asks for; -1: it takes any.
    """
    pairs = np.full(len(new_groups), -1, dtype=np.int64)
    for old_rows, new_rows in _candidates(old_groups, new_groups, pairs):
        scores = _nearness(old_boxes[old_rows], new_boxes[new_rows])
        good = np.flatnonzero((scores >= least_overlap[old_rows]) | (least_overlap[old_rows] < 0))
        order = good[np.lexsort((new_rows[good], old_rows[good], -scores[good]))]
        old_rows, new_rows = old_rows[order], new_rows[order]
        for _ in range(MAX_ROUNDS):
            if not len(old_rows):
                break
            first = np.zeros(len(old_rows), dtype=np.bool_)
            first[np.unique(old_rows, return_index=True)[1]] = True
            firsts_of_new = np.zeros(len(new_rows), dtype=np.bool_)
            firsts_of_new[np.unique(new_rows, return_index=True)[1]] = True
            taken = first & firsts_of_new  # the best of both: at least the very first is
            pairs[new_rows[taken]] = old_rows[taken]
            left = ~np.isin(old_rows, old_rows[taken]) & ~np.isin(new_rows, new_rows[taken])
            old_rows, new_rows = old_rows[left], new_rows[left]
    return pairs


def _candidates(old: Keys, new: Keys, pairs: Positions) -> Iterator[tuple[Positions, Positions]]:
    """All pairs of rows of one group, some groups at a time; those of the largest groups are settled in `pairs`."""
    old_order, new_order = np.argsort(old, kind="stable"), np.argsort(new, kind="stable")
    groups = np.intersect1d(old, new)
    old_spans = np.searchsorted(old[old_order], groups), np.searchsorted(old[old_order], groups, side="right")
    new_spans = np.searchsorted(new[new_order], groups), np.searchsorted(new[new_order], groups, side="right")
    n_old, n_new = old_spans[1] - old_spans[0], new_spans[1] - new_spans[0]
    n_pairs = n_old * n_new
    for group in np.flatnonzero(n_pairs > LARGEST_GROUP).tolist():
        count = int(min(n_old[group], n_new[group]))
        pairs[new_order[new_spans[0][group] : new_spans[0][group] + count]] = old_order[
            old_spans[0][group] : old_spans[0][group] + count
        ]
    rest = np.flatnonzero(n_pairs <= LARGEST_GROUP)
    stretch = np.cumsum(n_pairs[rest]) // PAIRS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(stretch)) + 1).tolist(), len(rest)] if len(rest) else []
    for start, stop in pairwise(edges):
        some = rest[start:stop]
        counts = n_pairs[some]
        within = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
        widths = np.repeat(n_new[some], counts)
        old_places = np.repeat(old_spans[0][some], counts) + within // widths
        new_places = np.repeat(new_spans[0][some], counts) + within % widths
        yield old_order[old_places], new_order[new_places]


def _nearness(one: Reals, two: Reals) -> Reals:
    """(P,) the overlap of two boxes, 0 to 1; below 0 where they are apart."""
    across = np.minimum(one[:, 2], two[:, 2]) - np.maximum(one[:, 0], two[:, 0])
    down = np.minimum(one[:, 3], two[:, 3]) - np.maximum(one[:, 1], two[:, 1])
    common = np.maximum(across, 0) * np.maximum(down, 0)
    area_one = (one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1])
    area_two = (two[:, 2] - two[:, 0]) * (two[:, 3] - two[:, 1])
    total = area_one + area_two - common
    overlap: Reals = np.divide(common, total, out=np.zeros(len(one)), where=total > 0)
    centres = (one[:, :2] + one[:, 2:] - two[:, :2] - two[:, 2:]) / 2
    apart = -np.hypot(centres[:, 0], centres[:, 1]) - 1e-9
    return np.where(overlap > 0, overlap, apart)
