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
from app.formats.open_images.kept_bytes import KeptBytes
from app.formats.open_images.kept_rows import Mask, is_sided
from app.formats.open_images.mask_instances import Instance
from app.formats.open_images.plan import Plan
from app.geometry import polygon_areas, resize_flips
from app.images import decode_mask


def untouched_outlines(plan: Plan, shapes: Shapes, instances: Sequence[Instance]) -> Mask:
    """(K,) bool: instances of polygons as they were traced; some of them may be gone."""
    rows, starts = _rows_of(instances)
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    kept = shapes.kept
    owners = np.array([-1 if one.imported is None else one.imported for one in instances], dtype=np.int64)
    owner = np.repeat(owners, np.diff(starts))  # (R,)
    good = (shapes.types[rows] == ShapeType.POLYGON) & (owner >= 0)
    good &= (kept.tables[rows] >= 0) & (kept.edits[rows] & Edit.GEOMETRY == 0)
    # What came with an entry of the side file may be any polygon.
    good &= ~is_sided(plan, kept.take(rows))
    good &= (kept.sets[rows] == kept.sets[owner]) & (kept.png_offsets[rows] == kept.png_offsets[owner])
    result: Mask = np.logical_and.reduceat(good, starts[:-1])
    return result


def whole_outlines(plan: Plan, shapes: Shapes, instances: Sequence[Instance], pngs: KeptBytes) -> set[int]:
    """The `id` of each instance that is, polygon by polygon, the outline of its stored PNG."""
    candidates = [
        instance
        for instance, untouched in zip(instances, untouched_outlines(plan, shapes, instances).tolist(), strict=True)
        if untouched
    ]
    found = set()
    unnoted = []
    for instance in candidates:
        assert instance.imported is not None
        n_parts = pngs.n_parts(instance.imported)
        if n_parts is None:
            unnoted.append(instance)
        elif n_parts == len(instance.rows):
            found.add(id(instance))
    return found | _of_equal_area(plan, shapes, unnoted, pngs)


def _of_equal_area(plan: Plan, shapes: Shapes, candidates: Sequence[Instance], pngs: KeptBytes) -> set[int]:
    if not candidates:
        return set()
    rows, starts = _rows_of(candidates)
    points = shapes.points.take(rows)
    areas = np.add.reduceat(polygon_areas(points.values, points.offsets), starts[:-1]).tolist()  # (K,)
    frames = np.array([instance.frame for instance in candidates], dtype=np.int32)
    widths, heights = (sides.tolist() for sides in plan.sizes_of(frames))
    found = set()
    for instance, area, width, height in zip(candidates, areas, widths, heights, strict=True):
        assert instance.imported is not None
        png = decode_mask(pngs.read(instance.imported))
        flips = resize_flips(decoded_flips(png), width, height)
        if flips.area == area:
            found.add(id(instance))
    return found


def _rows_of(instances: Sequence[Instance]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """(R,) the places of the shapes of all instances, and (K + 1,) where each instance begins."""
    rows = np.array([row for instance in instances for row in instance.rows], dtype=np.int64)
    starts = np.zeros(len(instances) + 1, dtype=np.int64)
    np.cumsum([len(instance.rows) for instance in instances], out=starts[1:])
    return rows, starts
