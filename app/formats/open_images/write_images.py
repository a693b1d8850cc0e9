"""Frames to rows of the image lists: one a frame, with the metadata it came with.

Source: Open Images reference 4.1, 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from app.annotations import Images, Kept
from app.columns import Cells, CSVBlock, Ragged, Texts, equal_cells, join_records
from app.formats.open_images.kept_rows import (
    Mask,
    Rows,
    TableRows,
    blank_cell,
    kept_columns,
    kept_lines,
    put,
    spread,
    table_rows,
)
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import id_cells

# So many frames are written at a time, whether an archive named them or not.
STEP = 50_000


def image_rows(
    plan: Plan, batches: Iterator[Images], subset: str | None, columns: Sequence[str]
) -> Iterator[TableRows]:
    """One row for each shown frame of the subset, in frame order."""
    done = 0
    for images in batches:
        if not len(images):
            continue
        part = images.take(_one_a_frame(images))
        places = part.frames.astype(np.int64) - plan.start
        row = 0
        while row < len(part):  # some frames of millions lie far from each other
            first = int(places[row])
            stop_row = int(np.searchsorted(places, first + STEP))
            stop = int(places[stop_row - 1]) + 1
            yield from _new_rows(plan, subset, columns, done, first)
            wanted = plan.places_of(subset, first, stop)
            if len(wanted):
                yield from _listed_rows(plan, columns, wanted, part.slice(row, stop_row))
            done, row = stop, stop_row
    yield from _new_rows(plan, subset, columns, done, len(plan.ids))


def _one_a_frame(images: Images) -> Mask:
    """The last row of each frame that has a line, the newest import's; where none has one, the last."""
    if len(images) and (np.diff(images.frames) > 0).all():  # almost always
        return np.ones(len(images), dtype=np.bool_)
    order = np.lexsort((images.kept.tables >= 0, images.frames))  # stable
    is_last = np.ones(len(images), dtype=np.bool_)
    is_last[:-1] = images.frames[order[1:]] != images.frames[order[:-1]]
    chosen = np.zeros(len(images), dtype=np.bool_)
    chosen[order[is_last]] = True
    return chosen


def _listed_rows(plan: Plan, columns: Sequence[str], wanted: Rows, part: Images) -> Iterator[TableRows]:
    """Rows for the frames at the places `wanted`, of which `part` lists some."""
    places = part.frames.astype(np.int64) - plan.start
    if np.array_equal(places, wanted):
        yield from _rows(plan, columns, part.frames, part.kept, part.subsets)
        return
    at = np.minimum(np.searchsorted(places, wanted), len(part) - 1)
    listed = places[at] == wanted
    if listed.all():
        some = part.take(at)
        yield from _rows(plan, columns, some.frames, some.kept, some.subsets)
        return
    order = np.where(listed, at, len(part))
    kept = Kept.concatenate([part.kept, Kept.empty(1)]).take(order)
    yield from _rows(plan, columns, (wanted + plan.start).astype(np.int32), kept)


def _new_rows(plan: Plan, subset: str | None, columns: Sequence[str], first: int, stop: int) -> Iterator[TableRows]:
    for begin in range(first, stop, STEP):
        wanted = plan.places_of(subset, begin, min(begin + STEP, stop))
        if len(wanted):
            yield from _rows(plan, columns, (wanted + plan.start).astype(np.int32), Kept.empty(len(wanted)))


def _rows(
    plan: Plan, columns: Sequence[str], frames: npt.NDArray[np.int32], kept: Kept, told: Texts | None = None
) -> Iterator[TableRows]:
    """Rows for these frames of the target; `told`: the subset that each came with."""
    chosen = np.arange(len(frames), dtype=np.int64)
    written = plan.subsets.take(frames - plan.start)

    def subsets_at(places: Rows) -> Cells:
        return Cells.of(spread(written.take(places)))

    def is_plain(block: CSVBlock, places: Rows) -> Mask:
        return _same_subset(block.cells("Subset"), subsets_at(places))

    stayed = told is not None and _are_same(told, written)
    lines = kept_lines(plan, kept, frames, chosen, ("images",), columns, is_plain, may_trust=stayed)
    rest = lines.others(chosen)
    if not len(rest):
        yield table_rows(frames, chosen, lines, {}, columns)
        return
    if not len(lines.places) and not (kept.tables[rest] >= 0).any():
        yield TableRows(frames[rest], _new_records(plan, frames[rest], written.take(rest), columns))
        return
    cells = kept_columns(plan, kept.take(rest), columns)
    cells["ImageID"] = id_cells(plan, cells["ImageID"], frames[rest])
    subsets = subsets_at(rest)
    other = np.flatnonzero(~_same_subset(Cells.of(cells["Subset"]), subsets))
    cells["Subset"] = put(cells["Subset"], other, subsets.take(other).ragged())
    yield table_rows(frames, chosen, lines, cells, columns)


def _new_records(plan: Plan, frames: npt.NDArray[np.int32], subsets: Texts, columns: Sequence[str]) -> Ragged:
    """Rows of images that no list had: an id, a subset, and nothing else."""
    cells: dict[str, Ragged | Texts] = {"ImageID": plan.ids_of(frames), "Subset": subsets}
    return join_records([cells.get(name, blank_cell(name)) for name in columns], len(frames))


def _are_same(told: Texts, written: Texts) -> bool:
    """Whether two columns say the same."""
    known = {value: code for code, value in enumerate(written.values)}
    codes = np.array([known.get(value, -1) for value in told.values], dtype=np.int32)
    return bool((codes[told.codes] == written.codes).all())


def _same_subset(cells: Cells, subsets: Cells) -> Mask:
    """Whether rows name the subset that files and folders of this export are named by; readers need that."""
    return equal_cells(cells.buffer, cells.starts, cells.stops, subsets.buffer, subsets.starts, subsets.stops)
