"""Where hashes stand in a sorted array of them: `np.searchsorted`, by their upper bits.

    hash  0110 1011…   the upper bits say where to look first     firsts  [0, 0, 1, 4, …]
                       a step or two further it is, or is not      hashes  ascending

Hashes are spread evenly, so the first place is nearly the right one: two fetches where a binary search makes some
fifteen jumps (15 ns instead of 100 to 300). Where somebody has made them uneven, the binary search does the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.columns.words import Mask, Positions, Words

MAX_BITS = 20  # 4 MiB
MAX_STEPS = 12
FEW = 1 << 16
"""Hashes that are counted by their upper bits, a tenth of the time of so many searches, but twice the memory."""


class HashPlaces:
    """Looks up hashes of 64 bits, or their upper 32, among some that ascend; of equal ones the first is found."""

    def __init__(self, hashes: Words | npt.NDArray[np.uint32]) -> None:
        self._n = len(hashes)
        bits = min(MAX_BITS, max(1, self._n.bit_length()))
        self._shift = hashes.dtype.type(8 * hashes.dtype.itemsize - bits)
        self._hashes = hashes
        self._firsts: npt.NDArray[np.int32] = _firsts(hashes, bits, self._shift)

    def find(self, asked: Words | npt.NDArray[np.uint32]) -> tuple[Mask, Positions]:
        """(N,) bool, whether each hash is there; (N,) int64, its place (any place where it is not)."""
        if not self._n:
            return np.zeros(len(asked), dtype=np.bool_), np.zeros(len(asked), dtype=np.int64)
        last = self._n - 1
        places = np.minimum(self._firsts[(asked >> self._shift).astype(np.int64)], last).astype(np.int64)
        rows = np.flatnonzero(self._hashes[places] < asked)
        for _ in range(MAX_STEPS):
            rows = rows[places[rows] < last]
            if not len(rows):
                break
            places[rows] += 1
            rows = rows[self._hashes[places[rows]] < asked[rows]]
        if len(rows):
            places[rows] = np.minimum(np.searchsorted(self._hashes, asked[rows]), last)
        return self._hashes[places] == asked, places


def _firsts(hashes: Words | npt.NDArray[np.uint32], bits: int, shift: np.generic) -> npt.NDArray[np.int32]:
    """(2^bits,) the place of the first hash of these upper bits, or of higher ones."""
    if len(hashes) > FEW:
        begins = (np.arange(1 << bits, dtype=np.uint64) << np.uint64(shift)).astype(hashes.dtype)
        return np.searchsorted(hashes, begins).astype(np.int32)
    counts = np.bincount((hashes >> shift).astype(np.int64), minlength=1 << bits)  # type: ignore[operator]
    firsts = np.zeros(1 << bits, dtype=np.int32)
    np.cumsum(counts[:-1], out=firsts[1:])
    return firsts
