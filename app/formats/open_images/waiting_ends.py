"""Ends of relationship rows that wait for their boxes, on disk: millions of them are never in memory together.

Source: Open Images reference 1.3, 3.10.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.formats.open_images.links import BoxFinder
from app.formats.open_images.parted_rows import PARTS, PartedRows

Ints = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_FIELDS = [("frame", "<i4"), ("label", "<i4"), ("box", "<f8", (4,))]


ENDS_AT_ONCE = 100_000
"""About; each time all boxes of the same images are looked at."""


class WaitingEnds:
    """Which ends have a box: the same image and LabelName, and coordinates within the tolerance. All ends are added,
    then all boxes seen; `find` is called once."""

    def __init__(self, first_frame: int, n_frames: int) -> None:
        self._first = first_frame
        self._has_end: Mask = np.zeros(n_frames, dtype=np.bool_)
        self._n_ends = 0
        self._ends, self._boxes = PartedRows([*_FIELDS, ("number", "<i8")]), PartedRows(_FIELDS)

    def add(self, frames: Ints, labels: Ints, boxes: Reals, is_whole: Mask) -> None:
        """The next ends.

        Args:
            frames, labels: (N,) frame number and code of the LabelName.
            boxes: (N, 4) XMin XMax YMin YMax as in the table.
            is_whole: (N,) all four are numbers; others have no box.
        """
        numbers = np.arange(self._n_ends, self._n_ends + len(frames), dtype=np.int64)
        self._n_ends += len(frames)
        self._has_end[frames[is_whole] - self._first] = True
        self._ends.add(frame=frames[is_whole], label=labels[is_whole], box=boxes[is_whole], number=numbers[is_whole])

    def see(self, frames: Ints, labels: Ints, boxes: Reals) -> None:
        """The next boxes."""
        if not self._n_ends:
            return
        wanted = self._has_end[frames - self._first]
        if wanted.any():
            self._boxes.add(frame=frames[wanted], label=labels[wanted], box=boxes[wanted])

    def find(self) -> Mask:
        """(N,) bool, the ends that have a box, in the order in which they were added."""
        found: Mask = np.zeros(self._n_ends, dtype=np.bool_)
        for part in range(PARTS):
            for ends in self._ends.groups(part, ENDS_AT_ONCE):  # one image may have all of them
                finder = BoxFinder(ends["frame"], ends["label"], ends["box"], np.ones(len(ends), dtype=np.bool_))
                for boxes in self._boxes.stretches(part):
                    finder.see(boxes["frame"], boxes["label"], boxes["box"])
                found[ends["number"]] = finder.found >= 0
        self._ends.close()
        self._boxes.close()
        return found
