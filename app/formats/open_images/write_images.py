"""Frames to rows of the image lists: one a frame, with the metadata it came with.

Source: Open Images reference 4.1, 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.annotations import Images, Kept
from app.formats.open_images.kept_rows import TableRows, kept_columns, put, spread
from app.formats.open_images.plan import Plan

# Frames that no archive named are written so many at a time.
STEP = 50_000


def image_rows(plan: Plan, batches: Iterator[Images], subset: str, columns: Sequence[str]) -> Iterator[TableRows]:
    """One row for each shown frame of the subset, in frame order."""
    start, n = plan.start, len(plan.ids)
    done = 0
    for images in batches:
        if not len(images):
            continue
        first, stop = int(images.frames[0]) - start, int(images.frames[-1]) - start + 1
        yield from _new_rows(plan, subset, columns, done, first)
        part = images.take(_one_a_frame(images))
        kept = Kept.empty(stop - first)
        filled = part.frames.astype(np.int64) - start - first
        order = np.arange(stop - first, dtype=np.int64)
        order[filled] = stop - first + np.arange(len(part), dtype=np.int64)
        yield from _rows(plan, subset, columns, first, Kept.concatenate([kept, part.kept]).take(order))
        done = stop
    yield from _new_rows(plan, subset, columns, done, n)


def _one_a_frame(images: Images) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The last row of each frame: the newest import's."""
    last = np.ones(len(images), dtype=np.bool_)
    last[:-1] = images.frames[1:] != images.frames[:-1]
    return last


def _new_rows(plan: Plan, subset: str, columns: Sequence[str], first: int, stop: int) -> Iterator[TableRows]:
    for begin in range(first, stop, STEP):
        yield from _rows(plan, subset, columns, begin, Kept.empty(min(begin + STEP, stop) - begin))


def _rows(plan: Plan, subset: str, columns: Sequence[str], first: int, kept: Kept) -> Iterator[TableRows]:
    """Rows for the frames at places first … first + len(kept) of the target."""
    frames = (np.arange(first, first + len(kept)) + plan.start).astype(np.int32)
    chosen = plan.in_subset(frames, subset)
    if not chosen.any():
        return
    frames, kept = frames[chosen], kept.take(chosen)
    cells = kept_columns(plan, kept, columns)
    new = kept.tables < 0
    cells["ImageID"] = put(cells["ImageID"], new, plan.ids_of(frames[new]))
    # Readers refuse an empty subset.
    blank = cells["Subset"].lengths == 0
    cells["Subset"] = put(cells["Subset"], blank, spread(plan.subsets.take(frames[blank] - plan.start)))
    yield TableRows(frames, cells)
