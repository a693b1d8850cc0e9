"""Which mask belongs to which box: the same image and LabelName, and four coordinates that differ by 1e-6 at most.

A mask takes the first box of its candidates that no mask has yet; where all have one, the first. Boxes come as a stream
and get their group at once, which is the same: each box takes the first mask without a box among those it fits. (Masks
and boxes each agree on one order, and such a matching has one stable outcome, whoever chooses first.)

    masks      m0 ─┐   ┌─ m1          equal coordinates make one class; classes are sorted by image, label and XMin
    boxes, in order:   b0 → m0    b1 → m1    b2 → nothing left: group 0

Source: Open Images reference 3.10.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

TOLERANCE = 1e-6 + 1e-12
"""So that 0.25 and 0.250001 link, whatever binary fractions make of them."""
_WINDOW = 1.2e-6  # a little more, for the rounding of the sort values
_KEY_STEP = 4.0  # XMin lies in -1..2
PAIRS_AT_ONCE = 1 << 20


class MaskLinks:
    """The masks of an import, waiting for their boxes.

    Attributes:
        numbers: (M,) int32, a group number for each mask, unique within its image.
    """

    def __init__(
        self, frames: Ints, labels: Ints, boxes: Reals, linkable: npt.NDArray[np.bool_], first_group: int
    ) -> None:
        """Sort the masks.

        Args:
            frames, labels: (M,) frame number and code of the LabelName.
            boxes: (M, 4) XMin XMax YMin YMax as in the table.
            linkable: (M,) all four are there.
        """
        self.numbers = _ranks(frames) + np.int32(first_group)
        self._groups: Ints = np.zeros(len(frames), dtype=np.int32)
        rows = np.flatnonzero(linkable)
        keys = _keys(frames[rows], labels[rows])
        order = np.lexsort((*boxes[rows].T[::-1], keys))  # key first, then XMin …
        rows, keys = rows[order], keys[order]
        sorted_boxes = boxes[rows]
        new = np.ones(len(rows), dtype=np.bool_)
        new[1:] = (keys[1:] != keys[:-1]) | (sorted_boxes[1:] != sorted_boxes[:-1]).any(axis=1)
        self._members = rows  # masks, by class, in their order
        self._starts = np.flatnonzero(new)  # (C,)
        self._sizes = np.diff(self._starts, append=np.int64(len(rows)))
        self._boxes = sorted_boxes[self._starts]  # (C, 4)
        self._keys = np.unique(keys)
        places = np.searchsorted(self._keys, keys[self._starts])
        self._values = places * _KEY_STEP + self._boxes[:, 0] + 1.0  # (C,) ascending
        self._taken = np.zeros(len(self._starts), dtype=np.int64)
        self._first_group = np.zeros(len(self._starts), dtype=np.int32)  # of the first box that fits, 0: none yet

    def take_boxes(self, frames: Ints, labels: Ints, boxes: Reals) -> Ints:
        """(N,) int32, the group of each of the next N boxes, 0 for one without a mask."""
        groups = np.zeros(len(frames), dtype=np.int32)
        if not len(self._starts) or not len(frames):
            return groups
        keys = _keys(frames, labels)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = np.flatnonzero(self._keys[places] == keys)
        values = places[rows] * _KEY_STEP + boxes[rows, 0] + 1.0
        low = np.searchsorted(self._values, values - _WINDOW, side="left")
        high = np.searchsorted(self._values, values + _WINDOW, side="right")
        near = high > low
        rows, low, counts = rows[near], low[near], (high - low)[near]
        start = 0
        while start < len(rows):
            ends = np.cumsum(counts[start:])
            stop = start + max(1, int(np.searchsorted(ends, PAIRS_AT_ONCE, side="right")))
            self._take(rows[start:stop], low[start:stop], counts[start:stop], boxes, groups)
            start = stop
        return groups

    def _take(self, rows: Ids, low: Ids, counts: Ids, boxes: Reals, groups: Ints) -> None:
        """Boxes with the stretch of classes each may fit; some hundred thousand pairs."""
        which = np.repeat(rows, counts)  # (P,) box
        ends = np.cumsum(counts)
        classes = np.repeat(low - (ends - counts), counts) + np.arange(len(which), dtype=np.int64)  # (P,)
        fits = (np.abs(boxes[which] - self._boxes[classes]) <= TOLERANCE).all(axis=1)
        which, classes = which[fits], classes[fits]
        if not len(which):
            return
        n_classes = np.bincount(which, minlength=int(which[-1]) + 1)[which]  # (P,) of the pair's box
        hard = np.zeros(len(self._starts), dtype=np.bool_)
        hard[classes[n_classes > 1]] = True
        plain = ~hard[classes]
        self._take_plain(which[plain], classes[plain], groups)
        # A box with several classes, and every box that competes with it, one by one.
        todo = hard[classes]
        if todo.any():
            self._take_hard(which[todo], classes[todo], groups)

    def _take_plain(self, boxes: Ids, classes: Ids, groups: Ints) -> None:
        """Pairs whose box fits one class only, and so do all boxes of that class."""
        if not len(boxes):
            return
        order = np.argsort(classes, kind="stable")  # boxes stay in order within a class
        boxes, classes = boxes[order], classes[order]
        begins = np.flatnonzero(np.diff(classes, prepend=-1))
        n_boxes = np.diff(begins, append=len(classes))
        rank = np.arange(len(classes), dtype=np.int64) - np.repeat(begins, n_boxes)
        place = self._taken[classes] + rank
        free = place < self._sizes[classes]
        masks = self._members[self._starts[classes[free]] + place[free]]
        groups[boxes[free]] = self.numbers[masks]
        self._groups[masks] = self.numbers[masks]
        distinct = classes[begins]
        unset = self._first_group[distinct] == 0
        self._first_group[distinct[unset]] = groups[boxes[begins[unset]]]
        self._taken[distinct] = np.minimum(self._taken[distinct] + n_boxes, self._sizes[distinct])

    def _take_hard(self, boxes: Ids, classes: Ids, groups: Ints) -> None:
        cuts = np.flatnonzero(np.diff(boxes, prepend=-1))
        for start, stop in zip(cuts.tolist(), [*cuts[1:].tolist(), len(boxes)], strict=True):
            fitting = classes[start:stop]
            free = fitting[self._taken[fitting] < self._sizes[fitting]]
            if not len(free):
                continue
            firsts = self._members[self._starts[free] + self._taken[free]]
            chosen = int(np.argmin(firsts))
            mask = int(firsts[chosen])
            self._taken[free[chosen]] += 1
            groups[boxes[start]] = self._groups[mask] = self.numbers[mask]
            unset = fitting[self._first_group[fitting] == 0]
            self._first_group[unset] = self.numbers[mask]

    def mask_groups(self) -> Ints:
        """(M,) int32, when all boxes have come: the group of each mask's box, 0 for a mask without one."""
        rank = np.arange(len(self._members), dtype=np.int64) - np.repeat(self._starts, self._sizes)
        left = rank >= np.repeat(self._taken, self._sizes)
        groups = self._groups.copy()
        groups[self._members[left]] = np.repeat(self._first_group, self._sizes)[left]
        return groups


def _keys(frames: Ints, labels: Ints) -> Ids:
    return (frames.astype(np.int64) << 32) | labels.astype(np.int64)


def _ranks(frames: Ints) -> Ints:
    """(M,) int32, how many masks of the same frame come before each."""
    order = np.argsort(frames, kind="stable")
    begins = (
        np.flatnonzero(np.diff(frames[order], prepend=np.int32(-1))) if len(frames) else np.zeros(0, dtype=np.int64)
    )
    counts = np.diff(begins, append=len(frames))
    ranks = np.empty(len(frames), dtype=np.int32)
    ranks[order] = np.arange(len(frames)) - np.repeat(begins, counts)
    return ranks
