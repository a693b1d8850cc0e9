"""What masks cost most: PNG → proof, or flips → runs or outlines, some dozens at a time, here or in a helper's process.

    job   PNGs as they came, the sizes of their frames, what is wanted
    done  a column of every answer; nothing is told here, for only the reader knows rows and reports

A job may be answered in part: the rest is then asked for again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import can_stay_packed, decoded_flips
from app.columns import Ragged
from app.geometry import (
    Flips,
    PackedMask,
    ShapeTooComplex,
    count_flips,
    flips_to_polygons,
    flips_to_runs,
    resize_flips,
)
from app.helpers import Crew
from app.images import BadPNG, ProvenMask, decode_mask, prove_mask

Ids = npt.NDArray[np.int64]
Ticket = TypeVar("Ticket")

MAX_FLIPS = 1_000_000
"""Flips of masks held at once, 8 bytes each: PNGs of a few kilobytes may hold tens of millions."""
MOST_FLIPS = 8_000_000
"""Of one mask; no object has so many, noise of 50 million pixels has three times as many and takes 800 MB."""
MAX_OUTLINES = 20_000
"""Of a job; each is a row. Specks of dust make a thousand of a mask, and a job has a hundred masks."""
TRACED_AT_ONCE, TRACED_FLIPS = 16, 1 << 16
"""Masks that are traced together, and their flips."""
GLANCE = struct.Struct("<qqq")
HELPED_MASKS, HELPED_PROOFS = 512, 4096
"""Below so many masks that are traced, or proven alone, a helper's start costs more than it saves."""
_NO_RUNS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class MaskJob:
    """Some masks.

    Attributes:
        widths, heights: (N,) of the frames, pixels.
        traced: outlines are wanted, not runs.
        with_flips: the flips at frame size are wanted too.
        packed: masks whose pixels tell nothing more may stay as they are.
        proven: (N, 3) width, height and whether they are dark of masks that were proven already and stay as they are;
            zeros for the others.
    """

    pngs: Sequence[bytes]
    widths: Sequence[int]
    heights: Sequence[int]
    traced: bool
    with_flips: bool
    max_pixels: int
    max_bytes: int
    packed: bool = False
    proven: Sequence[tuple[int, int, int]] = ()


@dataclass(slots=True, eq=False)
class MasksDone:
    """The first masks of a job: all of them, unless they hold so much that the rest is to be asked for again.

    Attributes:
        errors: why a PNG is none; "" for a good one.
        sizes: width and height of each PNG.
        is_binary, is_dark: see `DecodedMask`.
        is_blank: the PNG has no pixel set. A mask that is not blank and has neither runs nor outlines has lost all of
            its pixels at the size of its frame.
        is_packed: proven and no more: its runs are left to whoever looks.
        runs: of masks that stay masks; empty for the others.
        outlines, owners: the points of each polygon, int32, and which mask it is a part of, ascending.
        too_complex: why a mask is not traced, by its place.
        digests: of the pixels of each mask that was traced, 0 for the others; see `digest_of`.
        flips: None for a mask without pixels; () where nobody wants them.
    """

    errors: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    is_binary: list[bool] = field(default_factory=list)
    is_dark: list[bool] = field(default_factory=list)
    is_blank: list[bool] = field(default_factory=list)
    is_packed: list[bool] = field(default_factory=list)
    runs: Ragged = field(default_factory=lambda: Ragged.empty(np.int32))
    outlines: Ragged = field(default_factory=lambda: Ragged.empty(np.int32))
    owners: Ids = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    too_complex: dict[int, str] = field(default_factory=dict)
    digests: list[int] = field(default_factory=list)
    flips: Sequence[Flips | None] = ()

    def __len__(self) -> int:
        return len(self.errors)

    def add(
        self, size: tuple[int, int], *, is_binary: bool = True, is_dark: bool = False, is_blank: bool, is_packed: bool
    ) -> None:
        self.errors.append("")
        self.sizes.append(size)
        self.is_binary.append(is_binary)
        self.is_dark.append(is_dark)
        self.is_blank.append(is_blank)
        self.is_packed.append(is_packed)

    @staticmethod
    def of_proven(proven: Sequence[tuple[int, int, int]]) -> MasksDone:
        """Masks that were proven elsewhere, and stay as they are."""
        n = len(proven)
        sizes, is_dark = [(width, height) for width, height, _ in proven], [dark != 0 for *_, dark in proven]
        runs = Ragged.empty(np.int32, n)
        return MasksDone([""] * n, sizes, [True] * n, is_dark, [False] * n, [True] * n, runs, digests=[0] * n)

    def add_bad(self, why: str) -> None:
        self.add((0, 0), is_blank=True, is_packed=False)
        self.errors[-1] = why


def work_masks(job: MaskJob) -> MasksDone:
    """Decode, resize, and turn into runs or outlines."""
    done = MasksDone()
    found: list[Flips | None] = []
    tracing = _Tracing()
    n_flips = 0
    proven = job.proven or [(0, 0, 0)] * len(job.pngs)
    for png, width, height, (png_width, png_height, is_dark) in zip(
        job.pngs, job.widths, job.heights, proven, strict=True
    ):
        if n_flips > MAX_FLIPS or len(tracing) > MAX_OUTLINES:
            break
        if png_width:
            done.add((png_width, png_height), is_dark=is_dark != 0, is_blank=False, is_packed=True)
            found.append(None)
            continue
        mask = _decode(done, png, width, height, job)
        found.append(mask)
        if mask is not None:
            n_flips += len(mask)
            if job.traced:
                tracing.add(len(found) - 1, mask)
    tracing.end(done)
    runs = [
        flips_to_runs(mask) if mask is not None and (not job.traced or place in done.too_complex) else _NO_RUNS
        for place, mask in enumerate(found)
    ]
    done.runs = Ragged.from_arrays(runs, np.int32)
    done.digests = [digest_of(mask) if mask is not None and job.traced else 0 for mask in found]
    done.flips = found if job.with_flips else ()
    return done


def digest_of(flips: Flips) -> int:
    """32 bits that masks of other pixels hardly share: where they differ, the pixels do. The upper half are those of
    `glance_at`."""
    lines = np.ascontiguousarray(flips.lines + np.int32(flips.top))
    columns = np.ascontiguousarray(flips.columns + np.int32(flips.left))
    glance = _glance((int(lines[0]), int(columns[0])), flips.area)
    return glance << 16 | isal_zlib.crc32(columns, isal_zlib.crc32(lines)) & 0xFFFF


def glance_at(mask: PackedMask) -> int:
    """16 bits by where the mask begins and how many pixels it has, which tells most masks apart in a tenth of the
    time. It has a pixel."""
    first = mask.first_pixel
    assert first is not None
    return _glance(first, mask.area)


def _glance(first: tuple[int, int], area: int) -> int:
    return isal_zlib.crc32(GLANCE.pack(*first, area)) & 0xFFFF


def _decode(done: MasksDone, png: bytes, width: int, height: int, job: MaskJob) -> Flips | None:
    """One mask at the size of its frame; None where it is bad, has no pixel, or stays packed."""
    try:
        if job.packed and (proven := _proven(png, width, height, job)) is not None:
            done.add((proven.width, proven.height), is_dark=proven.is_dark, is_blank=False, is_packed=True)
            return None
        decoded = decode_mask(png, max_pixels=job.max_pixels, max_bytes=job.max_bytes)
    except BadPNG as error:
        done.add_bad(error.detail)
        return None
    is_large = decoded.width * decoded.height > MOST_FLIPS
    if is_large and (n_flips := count_flips(PackedMask(decoded.rows, decoded.width))) > MOST_FLIPS:
        done.add_bad(f"it changes {n_flips:,} times between object and ground; at most {MOST_FLIPS:,} are taken")
        return None
    flips = decoded_flips(decoded)
    done.add(
        (decoded.width, decoded.height),
        is_binary=decoded.is_binary,
        is_dark=decoded.is_dark,
        is_blank=not len(flips),
        is_packed=False,
    )
    if len(flips) and (decoded.width, decoded.height) != (width, height):
        flips = resize_flips(flips, width, height)
    return flips if len(flips) else None


def _proven(png: bytes, width: int, height: int, job: MaskJob) -> ProvenMask | None:
    """The proof of a mask that may stay as it is; None where it has to be decoded. Raises BadPNG."""
    mask = prove_mask(png, max_pixels=job.max_pixels, max_bytes=job.max_bytes)
    if mask is None or not can_stay_packed(len(png), mask.width, mask.height, width, height):
        return None
    return mask


class _Tracing:
    """Outlines of the masks of a job, traced some at a time: how many they are is only known then.

    `len()`: the outlines so far.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Flips]] = []
        self._points: list[npt.NDArray[np.int32]] = [_NO_RUNS]
        self._lengths: list[Ids] = [np.zeros(0, dtype=np.int64)]
        self._owners: list[Ids] = [np.zeros(0, dtype=np.int64)]
        self._too_complex: dict[int, str] = {}
        self._n = self._n_flips = 0

    def __len__(self) -> int:
        return self._n

    def add(self, place: int, mask: Flips) -> None:
        """The mask of the next place; it may have to wait for others."""
        self._waiting.append((place, mask))
        self._n_flips += len(mask)
        if len(self._waiting) == TRACED_AT_ONCE or self._n_flips > TRACED_FLIPS:
            self._trace_waiting()

    def end(self, done: MasksDone) -> None:
        """Trace what waits, and give all to the answer."""
        if self._waiting:
            self._trace_waiting()
        lengths = np.concatenate(self._lengths)
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        done.outlines = Ragged(np.concatenate(self._points), offsets)
        done.owners = np.concatenate(self._owners)
        done.too_complex = self._too_complex

    def _trace_waiting(self) -> None:
        waiting, self._waiting, self._n_flips = self._waiting, [], 0
        try:
            self._trace(waiting)
        except ShapeTooComplex:
            for place, mask in waiting:
                try:
                    self._trace([(place, mask)])
                except ShapeTooComplex as error:
                    self._too_complex[place] = error.detail

    def _trace(self, some: Sequence[tuple[int, Flips]]) -> None:
        outlines = flips_to_polygons([mask for _, mask in some])
        self._points.append(outlines.points)
        self._lengths.append(np.diff(outlines.offsets))
        self._owners.append(np.array([place for place, _ in some], dtype=np.int64)[outlines.masks])
        self._n += len(outlines.masks)


def mask_crew(
    n_masks: int, most_helpers: int, is_traced: bool, *, is_sure: bool = True
) -> Crew[Ticket, MaskJob, MasksDone]:
    """Who works on so many masks: helpers are not worth their start for few. They start before the first row is read,
    while this process is alone; where masks are only proven (`mask_proofs.py` does most of that), or nobody is sure
    that there is any, they wait until there was one job."""
    is_worth_it = n_masks >= (HELPED_MASKS if is_traced else HELPED_PROOFS)
    return Crew(work_masks, most_helpers if is_worth_it else 0, 0 if is_traced and is_sure else 1)
