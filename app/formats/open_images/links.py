"""Which rows mean which box: the same image and LabelName, and four coordinates that differ by 1e-6 at most.

`BoxFinder` is for relationships: any number of them may mean one box. `MaskLinks` is for masks, and one to one:

A mask takes the first box of its candidates that no mask has yet; where all have one, the first. Boxes come as a stream
and get their group at once, which is the same: each box takes the first mask without a box among those it fits. (Masks
and boxes each agree on one order, and such a matching has one stable outcome, whoever chooses first.)

    masks      m0 ─┐   ┌─ m1          equal coordinates make one class; classes are sorted by image, label and XMin
    boxes, in order:   b0 → m0    b1 → m1    b2 → nothing left: group 0

Source: Open Images reference 3.10.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.columns import distinct
from app.formats.open_images.layout import HIGHEST, LOWEST

Ints = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

TOLERANCE = 1e-6 + 1e-12
"""So that 0.25 and 0.250001 link, whatever binary fractions make of them."""
_WINDOW = 1.2e-6  # a little more, for the rounding of the sort values
_KEY_STEP = 4.0  # XMin lies in -1..2
PAIRS_AT_ONCE = 1 << 20


class BoxClasses:
    """Distinct boxes of images and labels, to be found by boxes that are the same within the tolerance.

    Attributes:
        members: rows by class, in their order; those of class c are `members[starts[c]:][:sizes[c]]`.
    """

    def __init__(self, frames: Ints, labels: Ints, boxes: Reals) -> None:
        """Sort N boxes.

        Args:
            frames, labels: (N,) frame number and code of the LabelName.
            boxes: (N, 4) XMin XMax YMin YMax as in the table.
        """
        keys = _keys(frames, labels)
        self.members = np.lexsort((*boxes.T[::-1], keys)).astype(np.int32)  # key first, then XMin …
        keys, sorted_boxes = keys[self.members], boxes[self.members]
        new = np.ones(len(keys), dtype=np.bool_)
        new[1:] = (keys[1:] != keys[:-1]) | (sorted_boxes[1:] != sorted_boxes[:-1]).any(axis=1)
        self.starts = np.flatnonzero(new).astype(np.int32)  # (C,)
        self.sizes = np.diff(self.starts, append=np.int32(len(keys)))
        self._boxes = sorted_boxes[self.starts]  # (C, 4)
        self._keys = distinct(keys)
        places = np.searchsorted(self._keys, keys[self.starts])
        self._values = places * _KEY_STEP + self._boxes[:, 0] + 1.0  # (C,) ascending

    def __len__(self) -> int:
        return len(self.starts)

    def pairs(self, frames: Ints, labels: Ints, boxes: Reals) -> Iterator[tuple[Ids, Ids]]:
        """Boxes (ascending) and the classes that each is the same as, some hundred thousand pairs at a time."""
        if not len(self) or not len(frames):
            return
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
            yield self._fitting(rows[start:stop], low[start:stop], counts[start:stop], boxes)
            start = stop

    def _fitting(self, rows: Ids, low: Ids, counts: Ids, boxes: Reals) -> tuple[Ids, Ids]:
        """Boxes with the stretch of classes each may be the same as, to pairs that are."""
        which = np.repeat(rows, counts)  # (P,) box
        ends = np.cumsum(counts)
        classes = np.repeat(low - (ends - counts), counts) + np.arange(len(which), dtype=np.int64)  # (P,)
        fits = (np.abs(boxes[which] - self._boxes[classes]) <= TOLERANCE).all(axis=1)
        return which[fits], classes[fits]


class BoxFinder:
    """Looks for the boxes that some rows name. Boxes come as a stream; of several that fit, a row gets the first.

    Attributes:
        found: (N,) int64, the number of each row's box, -1 where none has come.
    """

    def __init__(self, frames: Ints, labels: Ints, boxes: Reals, is_whole: npt.NDArray[np.bool_]) -> None:
        """Rows that wait for their box.

        Args:
            is_whole: (N,) the row has four coordinates; others find none, and so do those that no box can have.
        """
        within = ((boxes >= LOWEST) & (boxes <= HIGHEST)).all(axis=1)
        self._n_rows, self._rows = len(frames), np.flatnonzero(is_whole & within)
        self._classes = BoxClasses(frames[self._rows], labels[self._rows], boxes[self._rows])
        self._found = np.full(len(self._classes), -1, dtype=np.int64)

    def see(self, frames: Ints, labels: Ints, boxes: Reals, first_number: int = 0) -> None:
        """The next boxes, numbered on from `first_number`."""
        for which, classes in self._classes.pairs(frames, labels, boxes):
            distinct, first = np.unique(classes, return_index=True)
            new = self._found[distinct] < 0
            self._found[distinct[new]] = which[first[new]] + first_number

    @property
    def found(self) -> Ids:
        found = np.full(self._n_rows, -1, dtype=np.int64)
        found[self._rows[self._classes.members]] = np.repeat(self._found, self._classes.sizes)
        return found


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
        rows = np.flatnonzero(linkable).astype(np.int32)
        self._classes = BoxClasses(frames[rows], labels[rows], boxes[rows])
        self._members = rows[self._classes.members]  # masks, by class, in their order
        self._starts, self._sizes = self._classes.starts, self._classes.sizes  # (C,)
        self._taken = np.zeros(len(self._starts), dtype=np.int32)
        self._first_group = np.zeros(len(self._starts), dtype=np.int32)  # of the first box that fits, 0: none yet

    def take_boxes(self, frames: Ints, labels: Ints, boxes: Reals) -> Ints:
        """(N,) int32, the group of each of the next N boxes, 0 for one without a mask."""
        groups = np.zeros(len(frames), dtype=np.int32)
        for which, classes in self._classes.pairs(frames, labels, boxes):
            if len(which):
                self._take(which, classes, groups)
        return groups

    def _take(self, which: Ids, classes: Ids, groups: Ints) -> None:
        """Pairs of a box and a class of masks that it may belong to."""
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
