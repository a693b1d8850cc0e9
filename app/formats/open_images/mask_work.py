"""What masks cost most: PNG → proof, or flips → runs or outlines, some dozens at a time, here or in a helper's process.

    job   PNGs as they came, the sizes of their frames, what is wanted
    done  a column of every answer; nothing is told here, for only the reader knows rows and reports

A helper is a spawned process that knows this module alone. It gets jobs and answers them in order through two pipes,
and ends when its reader does: at the end of the pipe, however that end came.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import can_stay_packed
from app.columns import Ragged
from app.geometry import (
    Flips,
    PackedMask,
    ShapeTooComplex,
    count_flips,
    find_flips,
    flips_to_polygons,
    flips_to_runs,
    resize_flips,
)
from app.images import BadPNG, decode_mask, prove_mask

Ids = npt.NDArray[np.int64]
Ticket = TypeVar("Ticket")

MAX_FLIPS = 4_000_000
"""Flips of masks held at once, 8 bytes each: PNGs of a few kilobytes may hold tens of millions."""
MOST_FLIPS = 8_000_000
"""Of one mask; no object has so many, noise of 50 million pixels has three times as many and takes 800 MB."""
HELPED_MASKS = 512
"""Below so many masks a helper's start costs more than it saves."""
SENT_AHEAD = 2
HELD_JOBS = 6
CODE = "from app.formats.open_images.mask_work import serve; serve()"


@dataclass(frozen=True, slots=True, eq=False)
class MaskJob:
    """Some masks.

    Attributes:
        widths, heights: (N,) of the frames, pixels.
        traced: outlines are wanted, not runs.
        with_flips: the flips at frame size are wanted too.
        packed: masks whose pixels tell nothing more may stay as they are.
    """

    pngs: Sequence[bytes]
    widths: Sequence[int]
    heights: Sequence[int]
    traced: bool
    with_flips: bool
    max_pixels: int
    max_bytes: int
    packed: bool = False


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

    def add_bad(self, why: str) -> None:
        self.add((0, 0), is_blank=True, is_packed=False)
        self.errors[-1] = why


def work_masks(job: MaskJob) -> MasksDone:
    """Decode, resize, and turn into runs or outlines."""
    done = MasksDone()
    found: list[Flips | None] = []
    n_flips = 0
    for png, width, height in zip(job.pngs, job.widths, job.heights, strict=True):
        if n_flips > MAX_FLIPS:
            break
        mask = _decode(done, png, width, height, job)
        found.append(mask)
        n_flips += 0 if mask is None else len(mask)
    places = [place for place, mask in enumerate(found) if mask is not None]
    masks = [mask for mask in found if mask is not None]
    whole = set(places)
    if job.traced and masks:
        whole = _trace(done, places, masks)
    runs = [
        flips_to_runs(mask) if mask is not None and place in whole else np.empty(0, dtype=np.int32)
        for place, mask in enumerate(found)
    ]
    done.runs = Ragged.from_arrays(runs, np.int32)
    done.digests = [digest_of(mask) if mask is not None and job.traced else 0 for mask in found]
    done.flips = found if job.with_flips else ()
    return done


def digest_of(flips: Flips) -> int:
    """A number that masks of other pixels hardly share: where it differs, the pixels do."""
    lines = np.ascontiguousarray(flips.lines + np.int32(flips.top))
    columns = np.ascontiguousarray(flips.columns + np.int32(flips.left))
    return isal_zlib.crc32(columns, isal_zlib.crc32(lines))


def _decode(done: MasksDone, png: bytes, width: int, height: int, job: MaskJob) -> Flips | None:
    """One mask at the size of its frame; None where it is bad, has no pixel, or stays packed."""
    try:
        if job.packed and (size := _packed_size(png, width, height, job)) is not None:
            done.add(size, is_blank=False, is_packed=True)
            return None
        decoded = decode_mask(png, max_pixels=job.max_pixels, max_bytes=job.max_bytes)
    except BadPNG as error:
        done.add_bad(error.detail)
        return None
    packed = PackedMask(decoded.rows, decoded.width)
    if decoded.width * decoded.height > MOST_FLIPS and (n_flips := count_flips(packed)) > MOST_FLIPS:
        done.add_bad(f"it changes {n_flips:,} times between object and ground; at most {MOST_FLIPS:,} are taken")
        return None
    flips = find_flips(packed)
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


def _packed_size(png: bytes, width: int, height: int, job: MaskJob) -> tuple[int, int] | None:
    """The size of a mask that may stay as it is; None where it has to be decoded. Raises BadPNG."""
    header = prove_mask(png, max_pixels=job.max_pixels, max_bytes=job.max_bytes)
    if header is None or not can_stay_packed(len(png), header.width, header.height, width, height):
        return None
    return header.width, header.height


def _trace(done: MasksDone, places: Sequence[int], masks: Sequence[Flips]) -> set[int]:
    """Outlines of masks; the places of those that are too complex for it."""
    whole: set[int] = set()
    try:
        outlines = flips_to_polygons(masks)
        points, offsets, owners = outlines.points, outlines.offsets, np.array(places, dtype=np.int64)[outlines.masks]
    except ShapeTooComplex:
        parts, lengths, owned = [np.empty(0, dtype=np.float64)], [], []
        for place, mask in zip(places, masks, strict=True):
            try:
                outlines = flips_to_polygons([mask])
            except ShapeTooComplex as error:
                done.too_complex[place] = error.detail
                whole.add(place)
                continue
            parts.append(outlines.points)
            lengths += np.diff(outlines.offsets).tolist()
            owned += [place] * len(outlines.masks)
        points = np.concatenate(parts)
        offsets = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))]).astype(np.int64)
        owners = np.array(owned, dtype=np.int64)
    done.outlines = Ragged(points.astype(np.int32), offsets)  # corners of pixels: whole numbers
    done.owners = owners
    return whole


# --- helpers ---


class MaskCrew(Generic[Ticket]):
    """Works on jobs with the help of another process, if there is one: `with MaskCrew(1) as crew: crew.run(jobs)`."""

    def __init__(self, n_helpers: int) -> None:
        self._helpers = [_Helper() for _ in range(n_helpers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.close()

    def run(self, jobs: Iterable[tuple[Ticket, MaskJob]]) -> Iterator[tuple[Ticket, MasksDone]]:
        """The answers in the order of the jobs; a few jobs are taken ahead. A job may be answered in several parts."""
        source = iter(jobs)
        waiting: deque[tuple[Ticket, MaskJob, _Helper | None, MasksDone | None]] = deque()
        is_over = False

        def take() -> tuple[Ticket, MaskJob] | None:
            nonlocal is_over
            found = None if is_over else next(source, None)
            is_over = found is None
            return found

        while True:
            for helper in self._helpers:
                while helper.has_room() and len(waiting) < HELD_JOBS and (found := take()) is not None:
                    helper.send(found[1])
                    waiting.append((*found, helper, None))
            head = waiting[0] if waiting else None
            if head is None or (head[2] is not None and not head[2].has_answer() and len(waiting) < HELD_JOBS):
                # Nothing to hand out yet: rather than wait, do the next job here.
                if (found := take()) is not None:
                    waiting.append((*found, None, work_masks(found[1])))
                    continue
                if head is None:
                    return
            ticket, job, helper_of, done = waiting.popleft()
            if helper_of is not None:
                done = helper_of.receive()
            if done is None:  # the helper is gone: what it cannot do is found out here
                done = work_masks(job)
            yield ticket, done


class _Helper:
    """A process that works on jobs, and a thread that takes its answers, so that neither side ever waits for the
    other's pipe to be emptied."""

    def __init__(self) -> None:
        job_end, self_end = os.pipe()
        answer_end, result_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE], stdin=job_end, stdout=result_end, close_fds=True
            )
        finally:
            os.close(job_end)
            os.close(result_end)
        self._jobs = Connection(self_end, readable=False)
        self._answers = Connection(answer_end, writable=False)
        self._done: queue.SimpleQueue[MasksDone | None] = queue.SimpleQueue()
        self._sent = 0
        self._is_lost = False
        self._thread = threading.Thread(target=self._listen, name="mask helper", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._done.put(self._answers.recv())
        self._done.put(None)

    def has_room(self) -> bool:
        return not self._is_lost and self._sent < SENT_AHEAD

    def has_answer(self) -> bool:
        return self._is_lost or not self._done.empty()

    def send(self, job: MaskJob) -> None:
        self._sent += 1
        try:
            self._jobs.send(job)
        except OSError:
            self._is_lost = True

    def receive(self) -> MasksDone | None:
        """The answer to the oldest job; None where there will be none."""
        self._sent -= 1
        done = None if self._is_lost and self._done.empty() else self._done.get()
        self._is_lost = self._is_lost or done is None
        return done

    def close(self) -> None:
        self._jobs.close()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._answers.close()


def serve() -> None:
    """The helper's loop, until the pipe ends."""
    jobs, answers = Connection(0, writable=False), Connection(1, readable=False)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            job: Any = jobs.recv()
            answers.send(work_masks(job))
    os._exit(0)


def n_helpers(n_masks: int, most: int) -> int:
    """How many helpers are worth it: none for few masks, none where there is one core."""
    if n_masks < HELPED_MASKS:
        return 0
    return min(most, n_cores() - 1)


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux
