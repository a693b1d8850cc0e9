"""Ends of relationship rows that wait for their boxes, on disk: millions of them are never in memory together.

    ends   ─┐  (image, LabelName) ─▶ 64 parts      each lies in one file, in stretches
    boxes  ─┘  of images with an end               then part by part: `links.BoxFinder`

Source: Open Images reference 1.3, 3.10.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.formats.open_images.links import BoxFinder

Ints = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PARTS = 64
STRETCH_ROWS = 50_000
"""Rows that are put into parts together."""
SPOOL_BYTES = 4 << 20
_ROW = np.dtype([("frame", "<i4"), ("label", "<i4"), ("box", "<f8", (4,)), ("number", "<i8")])


class WaitingEnds:
    """Which ends have a box: the same image and LabelName, and coordinates within the tolerance. All ends are added,
    then all boxes seen; `find` is called once."""

    def __init__(self, first_frame: int, n_frames: int) -> None:
        self._first = first_frame
        self._has_end: Mask = np.zeros(n_frames, dtype=np.bool_)
        self._n_ends = 0
        self._ends, self._boxes = _Parts(), _Parts()

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
        self._ends.add(frames[is_whole], labels[is_whole], boxes[is_whole], numbers[is_whole])

    def see(self, frames: Ints, labels: Ints, boxes: Reals) -> None:
        """The next boxes."""
        if not self._n_ends:
            return
        wanted = self._has_end[frames - self._first]
        if wanted.any():
            n_boxes = int(wanted.sum())
            self._boxes.add(frames[wanted], labels[wanted], boxes[wanted], np.zeros(n_boxes, dtype=np.int64))

    def find(self) -> Mask:
        """(N,) bool, the ends that have a box, in the order in which they were added."""
        found: Mask = np.zeros(self._n_ends, dtype=np.bool_)
        for part in range(PARTS):
            ends = self._ends.read(part)
            if not len(ends):
                continue
            finder = BoxFinder(ends["frame"], ends["label"], ends["box"], np.ones(len(ends), dtype=np.bool_))
            for boxes in self._boxes.stretches(part):
                finder.see(boxes["frame"], boxes["label"], boxes["box"])
            found[ends["number"]] = finder.found >= 0
        self._ends.close()
        self._boxes.close()
        return found


class _Parts:
    """Rows by image and label, in a file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - closed when all was found
        weakref.finalize(self, self._file.close)
        self._waiting: list[npt.NDArray[Any]] = []
        self._n_waiting = 0
        self._n_written = 0
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]  # first row, rows

    def add(self, frames: Ints, labels: Ints, boxes: Reals, numbers: Ids) -> None:
        rows = np.empty(len(frames), dtype=_ROW)
        rows["frame"], rows["label"], rows["box"], rows["number"] = frames, labels, boxes, numbers
        self._waiting.append(rows)
        self._n_waiting += len(rows)
        if self._n_waiting >= STRETCH_ROWS:
            self._write()

    def _write(self) -> None:
        if not self._n_waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        mixed = rows["frame"].astype(np.uint32) * np.uint32(0x9E3779B1) + rows["label"].astype(np.uint32)
        parts = (mixed * np.uint32(0x85EBCA6B)) >> np.uint32(26)  # the upper 6 bits: one of 64
        order = np.argsort(parts, kind="stable")
        counts = np.bincount(parts, minlength=PARTS)
        self._file.seek(self._n_written * _ROW.itemsize)
        self._file.write(rows[order].tobytes())
        for part, (first, n_rows) in enumerate(
            zip((np.cumsum(counts) - counts).tolist(), counts.tolist(), strict=True)
        ):
            if n_rows:
                self._places[part].append((self._n_written + first, n_rows))
        self._n_written += len(rows)

    def stretches(self, part: int) -> Iterator[npt.NDArray[Any]]:
        """The rows of a part, in the order in which they came."""
        self._write()
        for first, n_rows in self._places[part]:
            self._file.seek(first * _ROW.itemsize)
            yield np.frombuffer(self._file.read(n_rows * _ROW.itemsize), dtype=_ROW)

    def read(self, part: int) -> npt.NDArray[Any]:
        return np.concatenate([np.empty(0, dtype=_ROW), *self.stretches(part)])

    def close(self) -> None:
        self._file.close()
