"""Masks that leave as they came, by columns: batches of shapes in which nobody has touched a mask.

What is plain here is what the general way (`write_masks.py`, the twin) would find out about each mask one by one: one
mask shape for each imported row, neither it nor its box edited, and a line that every reader takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.annotations import Shapes, ShapeType
from app.columns import Ragged, steps_within
from app.formats.open_images.kept_rows import KeptLines, Mask, Rows, is_kind, kept_columns
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import is_rotated


@dataclass(frozen=True, slots=True, eq=False)
class PlainMasks:
    """Some masks of a batch.

    Attributes:
        rows: (M,) their places, ascending.
        records: (M,) their lines.
        names: (M,) their MaskPaths.
    """

    rows: Rows
    records: Ragged
    names: Sequence[str]

    def stretches(self, sizes: Rows, most: int, most_bytes: int) -> Iterator[PlainMasks]:
        """So many of them, and bytes of their PNGs (`sizes`), at a time."""
        for part in steps_within(sizes, most_bytes, most):
            yield PlainMasks(self.rows[part], self.records.slice(part.start, part.stop), self.names[part])


def find_plain(
    plan: Plan, shapes: Shapes, chosen: Mask, needed: Mask, lines_of: Callable[[Rows], KeptLines]
) -> PlainMasks | None:
    """The chosen shapes, if every one of them is such a mask.

    Args:
        needed: (N,) shapes that need an entry in the side file.
        lines_of: told places, which of them have a line that may be written as it came.
    """
    kept, rows = shapes.kept, np.flatnonzero(chosen)
    untouched = (shapes.types == ShapeType.MASK) & (kept.edits == 0) & (kept.png_offsets >= 0) & ~needed
    if not (untouched & is_kind(plan, kept, "masks"))[rows].all():
        return None
    if not (_are_distinct(shapes, rows) and _have_their_boxes(plan, shapes, rows)):
        return None
    lines = lines_of(rows)
    if len(lines.places) < len(rows):
        return None
    names = kept_columns(plan, kept.take(rows), ("MaskPath",))["MaskPath"].to_texts()
    return PlainMasks(rows, lines.records, names)


def _are_distinct(shapes: Shapes, rows: Rows) -> bool:
    """Whether each shape has a PNG of its own."""
    columns = shapes.kept.png_offsets[rows], shapes.kept.sets[rows], shapes.frames[rows]
    order = np.lexsort(columns)
    same = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in columns])
    return not same.any()


def _have_their_boxes(plan: Plan, shapes: Shapes, rows: Rows) -> bool:
    """Whether each mask in a group has the box there that it came with: the first of its frame, group and label."""
    rows = rows[shapes.groups[rows] != 0]
    if not len(rows):
        return True
    is_turned = is_rotated(shapes)
    boxes = np.flatnonzero((shapes.types == ShapeType.RECTANGLE) & ~is_turned & (shapes.groups != 0))
    both = np.concatenate([boxes, rows])
    _, frame_groups = np.unique((shapes.frames[both].astype(np.int64) << 32) | shapes.groups[both], return_inverse=True)
    _, labels = np.unique(shapes.label_ids[both], return_inverse=True)
    keys = frame_groups.astype(np.int64) * len(both) + labels
    found, firsts = np.unique(keys[: len(boxes)], return_index=True)
    if not len(found):
        return False
    at = np.minimum(np.searchsorted(found, keys[len(boxes) :]), len(found) - 1)
    if (found[at] != keys[len(boxes) :]).any():
        return False
    own = boxes[firsts[at]]
    are_untouched = (shapes.kept.edits == 0) & is_kind(plan, shapes.kept, "boxes")
    are_of_one_import = shapes.kept.sets[own] == shapes.kept.sets[rows]  # a merge may have corrected the box alone
    return bool((are_untouched[own] & are_of_one_import).all())
