"""Proofs of masks, made by another process while this one reads the tables in front of them.

    the zip   …▒▒▒▒▒▒▒▒▒▒▒▒…       the PNGs of its masks, in the order in which they lie there
    jobs        └──0──┘└──1──┘     stretches of the zip, sent as they are

It begins before any row is read, for nearly every PNG is named by one.
Only where masks stay masks, and are many. What is not proven here, for any reason, the reader finds out about itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from app.annotations import MOST_BYTES
from app.archive import Archive, Members
from app.columns import distinct
from app.formats.open_images.mask_work import HELPED_PROOFS
from app.formats.open_images.reading import Reading
from app.helpers import Ahead, n_cores
from app.images import ProofJob, prove_stretch

Ids = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

STRETCH_BYTES, STRETCH_MASKS = 2 << 20, 512
LEAST_MASKS = 32
"""PNGs that lie among other things in the zip, so that a stretch has fewer, are not sent."""
MAX_GAP_BYTES = 16 << 10


def prove_ahead(reading: Reading) -> MaskProofs:
    """For the PNGs of all masks of an archive; of a selection of its images nobody knows yet which are wanted."""
    options = reading.options
    stay_masks = not (options.conv_mask_to_poly or reading.consistency.is_on)
    n_helpers = options.mask_helpers if stay_masks and reading.target.chosen is None else 0
    numbers = reading.archive.numbers(reading.layout.likely_masks())
    return MaskProofs(reading.archive, numbers, n_helpers, options.max_mask_pixels, options.max_mask_bytes)


class MaskProofs:
    """What is told of proven PNGs, by their number in the archive.

    Args:
        numbers: (N,) of the PNGs; one may be there twice.
        most_helpers: none is used where it is 0, or there is one core.
    """

    def __init__(self, archive: Archive, numbers: Ints, most_helpers: int, max_pixels: int, max_bytes: int) -> None:
        self._archive = archive
        self._max_pixels, self._max_bytes = max_pixels, max_bytes
        is_worth_it = len(numbers) >= HELPED_PROOFS and min(most_helpers, n_cores() - 1) > 0
        wanted = distinct(numbers) if is_worth_it else numbers[:0]
        members = archive.members(wanted)
        chosen = np.flatnonzero(np.maximum(members.sizes, members.compressed_sizes) <= MOST_BYTES)
        order = chosen[np.argsort(members.offsets[chosen], kind="stable")]
        self._numbers = wanted[order]
        self._bounds = _stretches(archive.members(self._numbers))
        # The place of each PNG among the sent ones, by its number.
        self._by_number = np.argsort(self._numbers, kind="stable")
        self._ahead = Ahead(prove_stretch, len(self._bounds), self._job)

    def __enter__(self) -> Self:
        self._ahead.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.__exit__(kind, error, trace)

    def told(self, numbers: Ints) -> Ids:
        """(N, 3) width, height and whether it is dark of each PNG that is proven; zeros for the others."""
        told = np.zeros((len(numbers), 3), dtype=np.int64)
        if not self._bounds:
            return told
        at = np.searchsorted(self._numbers, numbers, sorter=self._by_number)
        places = self._by_number[np.minimum(at, len(self._numbers) - 1)]
        places[self._numbers[places] != numbers] = -1
        starts, stops = np.array(self._bounds, dtype=np.int64).T
        jobs = np.searchsorted(starts, places, side="right") - 1
        jobs[(places >= stops[jobs]) | (places < 0)] = -1
        for job in distinct(jobs[jobs >= 0]).tolist():
            rows = np.flatnonzero(jobs == job)
            told[rows] = self._ahead.answer(job)[places[rows] - starts[job]]
        return told

    def _job(self, number: int) -> ProofJob:
        start, stop = self._bounds[number]
        members = self._archive.members(self._numbers[start:stop])
        first = int(members.offsets[0])
        end = int(members.offsets[-1] + members.compressed_sizes[-1])
        return ProofJob(
            np.frombuffer(self._archive.read_stretch(first, end - first), dtype=np.uint8),
            members.offsets - first,
            members.compressed_sizes,
            members.sizes,
            members.crcs,
            members.is_deflated,
            self._max_pixels,
            self._max_bytes,
        )


def _stretches(members: Members) -> Sequence[tuple[int, int]]:
    """Runs of members (in the order in which they lie there) that are worth to be sent together."""
    offsets, ends = members.offsets, members.offsets + members.compressed_sizes
    gaps = np.flatnonzero(offsets[1:] - ends[:-1] > MAX_GAP_BYTES) + 1
    found = []
    start = 0
    while start < len(offsets):
        gap = int(np.searchsorted(gaps, start, side="right"))
        stop = int(gaps[gap]) if gap < len(gaps) else len(offsets)
        full = int(np.searchsorted(ends, offsets[start] + STRETCH_BYTES, side="right"))
        stop = max(start + 1, min(stop, full, start + STRETCH_MASKS))
        if stop - start >= LEAST_MASKS:
            found.append((start, stop))
        start = stop
    return found
