"""Kept PNGs of some rows: what lies side by side in the pack is read in one go.

An import keeps PNGs in the order of its archive, so the rows of a stretch of frames need one stretch of the pack; from
a bucket that is one request in place of hundreds.

In front of the PNG of a mask that was traced lies a note of 12 bytes: how many polygons it became, and a digest of its
pixels. Where all of them are still there untouched, they are the mask; where what is drawn has another digest, it is
not. Either way nothing has to be decoded. Imports of earlier versions have no notes; what lies there is the end of the
PNG before.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from app.annotations import Kept
from app.formats.base import Source

Rows = npt.NDArray[np.int64]

NOTE = struct.Struct("<4sII")
NOTE_WORD, EARLIER_WORD = b"PRT3", b"PRT2"
"""Earlier imports noted another digest."""

MAX_GAP_BYTES = 32 << 10
"""Bytes between two PNGs that are read along rather than asked around."""
MAX_RANGE_BYTES = 8 << 20


def parts_note(n_parts: int, digest: int) -> bytes:
    """What is kept in front of the PNG of a mask that became so many polygons."""
    return NOTE.pack(NOTE_WORD, n_parts, digest)


def read_all(source: Source, kept: Kept, rows: Rows) -> list[memoryview]:
    """The PNGs of all rows, as `KeptBytes` reads them one by one; they are in memory together."""
    order = np.lexsort((kept.png_offsets[rows], kept.sets[rows]))
    in_order = rows[order]
    sets, begins, sizes = kept.sets[in_order], kept.png_offsets[in_order], kept.png_sizes[in_order]
    apart = (sets[1:] != sets[:-1]) | (begins[1:] - (begins + sizes)[:-1] > MAX_GAP_BYTES)
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)] if len(rows) else []
    pngs = [memoryview(b"")] * len(rows)
    for first, stop in pairwise(edges):
        begin, end = int(begins[first]), int((begins + sizes)[first:stop].max())
        data = memoryview(source.kept_bytes(int(sets[first]), begin, end - begin))
        columns = (order[first:stop], begins[first:stop] - begin, sizes[first:stop])
        for place, start, size in zip(*(column.tolist() for column in columns), strict=True):
            pngs[place] = data[start : start + size]
    return pngs


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
            offset = max(offset - NOTE.size, 0)
            fits = current and current[0] == set_id and offset - current[2] <= MAX_GAP_BYTES
            if fits and end - current[1] <= MAX_RANGE_BYTES:
                current[2] = max(current[2], end)
            else:
                current = [set_id, offset, end]
            self._range_of[row] = current

    def read(self, row: int) -> memoryview:
        """The PNG of one of the rows."""
        data, begin = self._find(row)
        return data[begin : begin + int(self._kept.png_sizes[row])]

    def noted(self, row: int) -> tuple[bytes, int | None]:
        """The PNG of one of the rows, and the digest of its pixels at the size of its frame; None where that was not
        noted."""
        data, begin = self._find(row)
        note = _note_at(data, begin)
        return data[begin : begin + int(self._kept.png_sizes[row])].tobytes(), None if note is None else note[1]

    def n_parts(self, row: int) -> int | None:
        """How many polygons the PNG of one of the rows became; None where that was not noted."""
        note = _note_at(*self._find(row))
        return None if note is None else note[0]

    def _find(self, row: int) -> tuple[memoryview, int]:
        """The bytes read together with a row's PNG, and where in them it begins."""
        place = self._range_of[row]
        data = self._data.get(id(place))
        if data is None:
            data = memoryview(self._source.kept_bytes(place[0], place[1], place[2] - place[1]))
            self._data[id(place)] = data
        return data, int(self._kept.png_offsets[row]) - place[1]


def _note_at(data: memoryview, begin: int) -> tuple[int, int | None] | None:
    """What is noted in front of a PNG: parts, and a digest where it is of the kind that counts today."""
    if begin < NOTE.size:
        return None
    word, count, digest = NOTE.unpack_from(data, begin - NOTE.size)
    if word not in (NOTE_WORD, EARLIER_WORD):
        return None
    return int(count), int(digest) if word == NOTE_WORD else None
