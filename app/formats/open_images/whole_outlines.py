"""Which instances are still the outline of the mask they were traced from: nothing to draw, the stored PNG is theirs.

    polygons, none of them touched, of one PNG  ─── as many as were traced ──▶  all parts are there: the very mask
                                                └── fewer ──────────────────▶  a part was deleted: draw what is left

Tracing loses nothing, so the parts together are the mask, pixel by pixel. How many there were is noted beside the PNG;
where it is not, their areas must add up to its pixels: each has an area, so no other set of them has the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.annotations import Edit, Shapes, ShapeType, decoded_flips
from app.formats.open_images.extras import is_sided
from app.formats.open_images.kept_bytes import KeptBytes
from app.formats.open_images.kept_rows import Mask
from app.formats.open_images.mask_instances import Instance, rows_of
from app.formats.open_images.plan import Plan
from app.geometry import polygon_areas, resize_flips
from app.images import decode_mask


def untouched_outlines(plan: Plan, shapes: Shapes, instances: Sequence[Instance]) -> Mask:
    """(K,) bool: instances of polygons as they were traced; some of them may be gone."""
    rows, starts = rows_of(instances)
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    kept = shapes.kept
    owners = np.array([-1 if one.imported is None else one.imported for one in instances], dtype=np.int64)
    owner = np.repeat(owners, np.diff(starts))  # (R,)
    good = (shapes.types[rows] == ShapeType.POLYGON) & (owner >= 0)
    good &= (kept.tables[rows] >= 0) & (kept.edits[rows] & Edit.GEOMETRY == 0)
    # What came with an entry of the side file may be any polygon.
    good &= ~is_sided(plan.extras, kept.take(rows))
    good &= (kept.sets[rows] == kept.sets[owner]) & (kept.png_offsets[rows] == kept.png_offsets[owner])
    result: Mask = np.logical_and.reduceat(good, starts[:-1])
    return result


def whole_outlines(plan: Plan, shapes: Shapes, instances: Sequence[Instance], pngs: KeptBytes) -> Mask:
    """(K,) bool: instances that are, polygon by polygon, the outline of their stored PNG."""
    whole = np.zeros(len(instances), dtype=np.bool_)
    unnoted = []
    for place in np.flatnonzero(untouched_outlines(plan, shapes, instances)).tolist():
        instance = instances[place]
        assert instance.imported is not None
        n_parts = pngs.n_parts(instance.imported)
        if n_parts is None:
            unnoted.append(place)
        else:
            whole[place] = n_parts == len(instance.rows)
    whole[unnoted] = _of_equal_area(plan, shapes, [instances[place] for place in unnoted], pngs)
    return whole


def _of_equal_area(plan: Plan, shapes: Shapes, candidates: Sequence[Instance], pngs: KeptBytes) -> list[bool]:
    if not candidates:
        return []
    rows, starts = rows_of(candidates)
    points = shapes.points.take(rows)
    areas = np.add.reduceat(polygon_areas(points.values, points.offsets), starts[:-1]).tolist()  # (K,)
    frames = np.array([instance.frame for instance in candidates], dtype=np.int32)
    widths, heights = (sides.tolist() for sides in plan.sizes_of(frames))
    found = []
    for instance, area, width, height in zip(candidates, areas, widths, heights, strict=True):
        assert instance.imported is not None
        png = decode_mask(pngs.read(instance.imported))
        flips = resize_flips(decoded_flips(png), width, height)
        found.append(flips.area == area)
    return found
