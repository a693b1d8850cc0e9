"""What an edit changed of an annotation: old and new rows side by side, column by column.

The flags say which cells of an imported line still hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.annotations import Edit, attributes_differ, choose_texts, ragged_differ


def continue_rows(kind: str, old: Any, new: Any, defaults: Mapping[int, str]) -> Any:
    """`new` as the next state of `old`, row by row: kept rows stay with the flags of what differs.

    Rows that moved to another frame are new ones: what was kept of them is of no use there.
    """
    attributes = attributes_differ(old.attributes, new.attributes, defaults)
    # A text that means the same stays as it was, so nothing drifts when clients send back what they got.
    new = new.replace(attributes=choose_texts(attributes, new.attributes, old.attributes))
    if kind == "tracks":
        return new
    edits = old.kept.edits.copy()
    edits[old.label_ids != new.label_ids] |= np.uint8(Edit.LABEL)
    edits[old.groups != new.groups] |= np.uint8(Edit.GROUP)
    if kind == "shapes":
        geometry = (old.types != new.types) | (old.rotations != new.rotations)
        geometry |= ragged_differ(old.points, new.points) | ragged_differ(old.runs, new.runs)
        geometry |= ragged_differ(old.elements, new.elements)
        edits[geometry] |= np.uint8(Edit.GEOMETRY)
        edits[old.occluded != new.occluded] |= np.uint8(Edit.OCCLUDED)
        attributes = attributes | (old.scores != new.scores)
    edits[attributes] |= np.uint8(Edit.ATTRIBUTES)
    kept = old.kept.replace(edits=edits)
    moved = old.frames != new.frames
    if bool(moved.any()):
        nothing = type(kept).concatenate([kept, type(kept).empty(1)])
        kept = nothing.take(np.where(moved, len(kept), np.arange(len(kept))))
    return new.replace(kept=kept)
