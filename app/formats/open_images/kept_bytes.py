"""Kept PNGs of some rows: what lies side by side in the pack is read in one go.

An import keeps PNGs in the order of its archive, so the rows of a stretch of frames need one stretch of the pack; from
a bucket that is one request in place of hundreds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.annotations import Kept
from app.formats.base import Source

Rows = npt.NDArray[np.int64]

MAX_GAP_BYTES = 32 << 10
"""Bytes between two PNGs that are read along rather than asked around."""
MAX_RANGE_BYTES = 8 << 20


class KeptBytes:
    """The PNGs of `rows`, read when the first of their range is asked for."""

    def __init__(self, source: Source, kept: Kept, rows: Rows) -> None:
        self._source, self._kept = source, kept
        sets, offsets, sizes = kept.sets[rows], kept.png_offsets[rows], kept.png_sizes[rows]
        order = np.lexsort((offsets, sets))
        self._range_of: dict[int, list[int]] = {}
        self._data: dict[int, memoryview] = {}
        current: list[int] = []  # set, begin, end
        columns = (rows[order], sets[order], offsets[order], sizes[order])
        for row, set_id, offset, size in zip(*(column.tolist() for column in columns), strict=True):
            end = offset + size
            fits = current and current[0] == set_id and offset - current[2] <= MAX_GAP_BYTES
            if fits and end - current[1] <= MAX_RANGE_BYTES:
                current[2] = max(current[2], end)
            else:
                current = [set_id, offset, end]
            self._range_of[row] = current

    def read(self, row: int) -> memoryview:
        """The PNG of one of the rows."""
        place = self._range_of[row]
        data = self._data.get(id(place))
        if data is None:
            data = memoryview(self._source.kept_bytes(place[0], place[1], place[2] - place[1]))
            self._data[id(place)] = data
        begin = int(self._kept.png_offsets[row]) - place[1]
        return data[begin : begin + int(self._kept.png_sizes[row])]
