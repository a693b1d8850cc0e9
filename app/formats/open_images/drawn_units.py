"""Shapes that were drawn here, beside the row that an export made of them.

    drawn here            exported, maybe corrected, merged
    polygon A ┐
    polygon B ┴ a group   one row, whose entry in the side file has A and B     the row is A and B, not A alone
    mask M                one row; its outlines, where masks become polygons    the row is M

Nothing ties a drawn shape to a row but what it looks like, and a row may be several of them: then they are one unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.annotations import Shapes, ShapeType
from app.formats.open_images.same_rows import Mask, Pairing, Positions, Units, shown_keys
from app.geometry import ShapeTooComplex, mask_to_polygons, merge_masks, runs_to_mask

Groups = dict[tuple[int, int, int], list[int]]


def join_drawn(
    old: Shapes, new: Shapes, old_units: Units, new_units: Units, pairing: Pairing
) -> tuple[Units, Pairing, Mask]:
    """The units of `old` with drawn shapes put together as rows of the archive show them, their pairs, and (N,) which
    units of `new` are, traced, the very pixels of their pair."""
    traced = np.zeros(len(new_units), dtype=np.bool_)
    # A box that was turned here, or became a polygon, is part of a mask row as what was drawn is.
    drawn = np.flatnonzero(pairing.is_free & (old_units.sizes == 1) & (old.kept.png_offsets[old_units.firsts] < 0))
    if not len(drawn) or not (new.kept.png_offsets >= 0).any():
        return old_units, pairing, traced
    joined: dict[int, list[int]] = {}
    _join_alike(old, new, old_units, new_units, pairing, drawn, joined)
    _join_traced(old, new, old_units, new_units, pairing, drawn, joined, traced)
    return *_with_joined(old_units, pairing, joined), traced


def _join_alike(
    old: Shapes,
    new: Shapes,
    old_units: Units,
    new_units: Units,
    pairing: Pairing,
    drawn: Positions,
    joined: dict[int, list[int]],
) -> None:
    """Units of several shapes: drawn ones that look like one of them belong to the pair."""
    several = np.flatnonzero(new_units.sizes > 1)
    rows, which = new_units.members(several)
    keys = shown_keys(new.take(rows))
    old_keys = shown_keys(old.take(old_units.firsts[drawn]))
    waiting: dict[int, list[int]] = {}
    for unit, key in zip(drawn.tolist(), old_keys.tolist(), strict=True):
        waiting.setdefault(key, []).append(unit)
    starts = np.concatenate([[0], np.cumsum(new_units.sizes[several])])
    for place in np.unique(which[np.isin(keys, old_keys)]).tolist():
        unit = int(several[place])
        pair = int(pairing.old_of[unit])
        own: list[int] = []
        if pair >= 0:
            members, _ = old_units.members(np.array([pair]))
            own = shown_keys(old.take(members)).tolist()
        for key in keys[starts[place] : starts[place + 1]].tolist():
            if key in own:
                own.remove(key)
            elif waiting.get(key):
                found = waiting[key].pop(0)
                pairing.is_free[found] = False
                if pair < 0:
                    pair = pairing.old_of[unit] = found
                else:
                    joined.setdefault(pair, []).append(found)


def _join_traced(
    old: Shapes,
    new: Shapes,
    old_units: Units,
    new_units: Units,
    pairing: Pairing,
    drawn: Positions,
    joined: dict[int, list[int]],
    traced: Mask,
) -> None:
    """Units of polygons that are the outlines of masks which were drawn here."""
    wanted: dict[tuple[int, int, bytes], list[int]] = {}
    firsts = new_units.firsts
    free = np.flatnonzero((pairing.old_of < 0) & (new.kept.png_offsets[firsts] >= 0))
    for unit in free[new.types[firsts[free]] == ShapeType.POLYGON].tolist():
        rows, _ = new_units.members(np.array([unit]))
        look = (
            int(new.frames[rows[0]]),
            int(new.label_ids[rows[0]]),
            _outline([new.points.row(row) for row in rows.tolist()]),
        )
        wanted.setdefault(look, []).append(unit)
    if not wanted:
        return
    groups: Groups = {}
    places = {(frame, label) for frame, label, _ in wanted}
    for unit in drawn[pairing.is_free[drawn]].tolist():
        row = int(old_units.firsts[unit])
        frame, label, group = int(old.frames[row]), int(old.label_ids[row]), int(old.groups[row])
        if old.types[row] == ShapeType.MASK and (frame, label) in places:
            groups.setdefault((frame, label, group or -1 - row), []).append(unit)
    for (frame, label, _), units in groups.items():
        masks = [runs_to_mask(old.runs.row(int(old_units.firsts[unit]))) for unit in units]
        try:
            outline = _outline(mask_to_polygons(merge_masks(masks)))
        except ShapeTooComplex:
            continue
        if found := wanted.get((frame, label, outline)):
            unit = found.pop(0)
            pairing.old_of[unit], traced[unit] = units[0], True
            pairing.is_free[units] = False
            joined.setdefault(units[0], []).extend(units[1:])


def _outline(polygons: Sequence[npt.NDArray[np.float64]]) -> bytes:
    return b";".join(np.round(points, 6).astype(np.float64).tobytes() for points in polygons)


def _with_joined(old_units: Units, pairing: Pairing, joined: dict[int, list[int]]) -> tuple[Units, Pairing]:
    """The same with some units being part of others."""
    if not joined:
        return old_units, pairing
    home = np.arange(len(old_units), dtype=np.int64)
    for pair, units in joined.items():
        home[units] = pair
    left = np.flatnonzero(home == np.arange(len(home)))
    place = np.searchsorted(left, home)  # of each unit's home among those that are left
    rows, which = old_units.members(np.arange(len(old_units), dtype=np.int64))
    ranks = np.zeros(len(old_units), dtype=np.int64)  # what is joined comes behind, in the archive's order
    for units in joined.values():
        ranks[units] = np.arange(1, len(units) + 1)
    order = np.lexsort((np.arange(len(rows)), ranks[which], place[which]))
    starts = np.concatenate([[0], np.cumsum(np.bincount(place[which], minlength=len(left)))])
    renumbered = Pairing(len(left), len(pairing.old_of))
    paired = pairing.old_of >= 0
    renumbered.old_of[paired] = place[pairing.old_of[paired]]
    renumbered.is_free = pairing.is_free[left]
    return Units(rows[order], starts), renumbered
