"""Which shapes make one mask row, and what its pixels are.

    an imported mask row      the mask shape, or the polygons it was traced to: one instance, known by its kept PNG;
                              without those that were relabelled or ungrouped since
    polygons, masks, ellipses (and rotated rectangles) of one non-zero group and one label on a frame: one instance
    anything else             an instance of its own

New shapes that join the group of one imported mask become part of it.

Source: Open Images reference 4.5, 4.6, 4.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Shapes, ShapeType
from app.columns import among, steps_within
from app.errors import Problem, TooLarge
from app.formats.open_images.kept_rows import Mask, is_kind
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.mask_drawing import DRAWN_BYTES, add_parts, packed_bytes, stretches
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import is_rotated
from app.geometry import PackedMask, ellipse_to_mask, polygons_to_masks, rotated_corners, runs_to_mask

DRAWN = (ShapeType.POLYGON, ShapeType.MASK, ShapeType.ELLIPSE)


@dataclass(slots=True)
class Instance:
    """One mask row to be.

    Attributes:
        frame: its number.
        rows: places of its shapes in the batch, in their order.
        imported: place of a shape whose kept row this is; None for a new instance.
        box: place of the rectangle it is linked to.
        is_less: other shapes of its row have gone another way.
    """

    frame: int
    rows: list[int]
    imported: int | None
    box: int | None = None
    is_less: bool = False


def drawn_shapes(plan: Plan, shapes: Shapes) -> Mask:
    """(N,) bool, the shapes that become pixels."""
    drawn = among(shapes.types, DRAWN)
    if plan.options.rotated != "box":
        drawn |= (shapes.types == ShapeType.RECTANGLE) & is_rotated(shapes)
    return drawn


def strayed_parts(shapes: Shapes, imported: Mask) -> Mask:
    """(N,) bool: of the shapes of one imported row, those that are this row no more. All have one label and one group
    when they come; who relabels or ungroups some makes other objects of them.

    Args:
        imported: (N,) shapes that an imported row became, known by its PNG.
    """
    strayed = np.zeros(len(shapes), dtype=np.bool_)
    rows = np.flatnonzero(imported)
    columns = [column[rows] for column in (shapes.kept.png_offsets, shapes.kept.sets, shapes.frames)]
    order = np.lexsort(columns)
    rows = rows[order]
    same = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in columns])
    labels, groups = shapes.label_ids[rows], shapes.groups[rows]
    unlike = same & ((labels[1:] != labels[:-1]) | (groups[1:] != groups[:-1]) | (groups[1:] == 0))
    if not unlike.any():
        return strayed
    units = np.concatenate([[0], np.cumsum(~same)])
    for unit in np.unique(units[1:][unlike]).tolist():
        part = slice(*np.searchsorted(units, [unit, unit + 1]).tolist())
        moved = shapes.kept.edits[rows[part]] & (Edit.LABEL | Edit.GROUP) != 0
        first = int(np.argmin(moved))
        stays = (labels[part] == labels[part][first]) & (groups[part] == groups[part][first]) & (groups[part] != 0)
        stays[first] = True
        strayed[rows[part][~stays]] = True
    return strayed


def find_instances(plan: Plan, shapes: Shapes, chosen: Mask) -> list[Instance]:
    """The instances among the chosen shapes, in order of their first shape. One Python step a shape: each costs a
    picture anyway."""
    imported = is_kind(plan, shapes.kept, "masks") & (shapes.kept.png_offsets >= 0)
    strayed = strayed_parts(shapes, imported)
    imported &= ~strayed
    unit = (shapes.frames, shapes.kept.sets, shapes.kept.png_offsets)
    divided = set(zip(*(column[strayed].tolist() for column in unit), strict=True))
    rows = np.flatnonzero(chosen)
    found: dict[tuple[int, ...], Instance] = {}
    of_group: dict[tuple[int, int, int], list[Instance]] = {}
    later: list[int] = []
    columns = (shapes.frames, shapes.groups, shapes.label_ids, imported, shapes.kept.sets, shapes.kept.png_offsets)
    for row, frame, group, label, is_imported, set_id, offset in zip(
        rows.tolist(), *(column[rows].tolist() for column in columns), strict=True
    ):
        if not is_imported:
            later.append(row)
            continue
        key: tuple[int, ...] = (0, frame, set_id, offset)
        instance = found.get(key)
        if instance is None:
            instance = found[key] = Instance(frame, [], row, is_less=(frame, set_id, offset) in divided)
            if group:
                of_group.setdefault((frame, group, label), []).append(instance)
        instance.rows.append(row)
    for row in later:
        frame, group, label = int(shapes.frames[row]), int(shapes.groups[row]), int(shapes.label_ids[row])
        joined = of_group.get((frame, group, label), []) if group else []
        if len(joined) == 1:
            joined[0].rows.append(row)
            continue
        place: tuple[int, ...] = (1, frame, group, label) if group else (2, row)
        found.setdefault(place, Instance(frame, [], None)).rows.append(row)
    instances = sorted(found.values(), key=lambda instance: min(instance.rows))
    _link_boxes(shapes, instances)
    if plan.options.rotated == "both":
        hulls = {id(one): min(turned) for one in instances if (turned := _turned(shapes, one))}
        for instance in instances:
            instance.box = hulls.get(id(instance), instance.box)  # the hull of the turned rectangle itself
        # As they stand when they are read again: what has a row in the table of boxes comes first.
        instances.sort(key=lambda one: (one.frame, id(one) not in hulls))
    return instances


def _turned(shapes: Shapes, instance: Instance) -> list[int]:
    """The turned rectangles of an instance."""
    return [row for row in instance.rows if shapes.types[row] == ShapeType.RECTANGLE]


def _link_boxes(shapes: Shapes, instances: Sequence[Instance]) -> None:
    """The first unrotated rectangle, in task order, of an instance's group and label on its frame."""
    firsts = np.array([instance.rows[0] for instance in instances], dtype=np.int64)
    groups, label_ids = shapes.groups[firsts], shapes.label_ids[firsts].tolist()
    if not groups.any():
        return
    is_box = (shapes.types == ShapeType.RECTANGLE) & ~is_rotated(shapes) & (shapes.groups != 0)
    is_box &= np.isin(shapes.groups, groups)
    boxes: dict[tuple[int, int, int], int] = {}
    rows = np.flatnonzero(is_box)
    columns = (rows, shapes.frames[rows], shapes.groups[rows], shapes.label_ids[rows])
    for row, frame, group, label in zip(*(column.tolist() for column in columns), strict=True):
        boxes.setdefault((frame, group, label), row)
    for instance, group, label in zip(instances, groups.tolist(), label_ids, strict=True):
        if group:
            instance.box = boxes.get((instance.frame, group, label))


@dataclass(frozen=True, slots=True, eq=False)
class InstanceColumns:
    """What is asked of instances, by column.

    Attributes:
        firsts: (N,) the place of the first shape.
        owners: (N,) the place of the shape that speaks for it: label, attributes, kept row.
        sizes: (N,) how many shapes it has.
        boxes: (N,) the place of the rectangle it is linked to; -1 for none.
        imported: (N,) it is an imported row.
        edits: (N,) what was changed of an imported one; 0 for a new one.
        polygons: (N,) it is made of polygons alone.
        unchanged: (N,) it is still the very mask that was imported: one mask shape, its pixels untouched.
    """

    frames: npt.NDArray[np.int32]
    firsts: Places
    owners: Places
    sizes: Places
    boxes: Places
    imported: Mask
    edits: npt.NDArray[np.uint8]
    polygons: Mask
    unchanged: Mask

    @classmethod
    def of(cls, shapes: Shapes, instances: Sequence[Instance]) -> Self:
        rows, starts = rows_of(instances)
        firsts = rows[starts[:-1]]
        owners = np.array([-1 if one.imported is None else one.imported for one in instances], dtype=np.int64)
        imported = owners >= 0
        owners = np.where(imported, owners, firsts)
        sizes = np.diff(starts)
        edits, polygons = np.zeros(len(instances), dtype=np.uint8), np.zeros(len(instances), dtype=np.bool_)
        if len(instances):
            edits = np.bitwise_or.reduceat(shapes.kept.edits[rows], starts[:-1])
            polygons = np.logical_and.reduceat(shapes.types[rows] == ShapeType.POLYGON, starts[:-1])
        edits = np.where(imported, edits, np.uint8(0))
        is_mask = shapes.types[firsts] == ShapeType.MASK
        is_less = np.array([one.is_less for one in instances], dtype=np.bool_)
        return cls(
            frames=shapes.frames[firsts],
            firsts=firsts,
            owners=owners,
            sizes=sizes,
            boxes=np.array([-1 if one.box is None else one.box for one in instances], dtype=np.int64),
            imported=imported,
            edits=edits,
            polygons=polygons,
            unchanged=imported & (sizes == 1) & is_mask & ~is_less & (edits & (Edit.GEOMETRY | Edit.PART) == 0),
        )

    @property
    def traced(self) -> Mask:
        """(N,) bool, the parts of one imported mask: their group may be theirs alone, and no link."""
        return self.imported & (self.sizes > 1) & self.polygons


def rows_of(instances: Sequence[Instance]) -> tuple[Places, Places]:
    """(R,) the places of the shapes of all instances, and (K + 1,) where each instance begins."""
    rows = np.array([row for instance in instances for row in instance.rows], dtype=np.int64)
    starts = np.zeros(len(instances) + 1, dtype=np.int64)
    np.cumsum([len(instance.rows) for instance in instances], out=starts[1:])
    return rows, starts


def draw_instances(plan: Plan, shapes: Shapes, instances: Sequence[Instance]) -> list[PackedMask | None]:
    """The pixels of each instance, clipped to its frame; None where nothing is left."""
    rows, starts = rows_of(instances)
    owners = np.repeat(np.arange(len(instances), dtype=np.int64), np.diff(starts))
    parts: list[list[PackedMask]] = [[] for _ in instances]
    for some in steps_within(packed_bytes(*plan.sizes_of(shapes.frames[rows])), DRAWN_BYTES):
        add_parts(parts, owners[some], _draw(plan, shapes, rows[some]))
    return [part[0] if part else None for part in parts]


def _draw(plan: Plan, shapes: Shapes, rows: npt.NDArray[np.int64]) -> list[PackedMask | None]:
    """The pixels of shapes: all polygons (and turned rectangles) in one call, the others one by one."""
    part = shapes.take(rows)
    widths, heights = plan.sizes_of(part.frames)
    result: list[PackedMask | None] = [None] * len(part)
    turned = np.flatnonzero(part.types == ShapeType.RECTANGLE)
    polygons = np.flatnonzero(part.types == ShapeType.POLYGON)
    if len(turned):
        boxes = part.points.take(turned).values.reshape(-1, 4)
        corners = rotated_corners(boxes, part.rotations[turned]).reshape(-1)  # 8 numbers each
        _draw_polygons(plan, part, turned, corners, np.arange(len(turned) + 1, dtype=np.int64) * 8, result)
    if len(polygons):
        points = part.points.take(polygons)
        _draw_polygons(plan, part, polygons, points.values, points.offsets, result)
    for place in np.flatnonzero(part.types == ShapeType.ELLIPSE).tolist():
        rotation = float(part.rotations[place])
        result[place] = ellipse_to_mask(part.points.row(place), rotation, int(widths[place]), int(heights[place]))
    for place in np.flatnonzero(part.types == ShapeType.MASK).tolist():
        mask = runs_to_mask(part.runs.row(place))
        result[place] = mask if mask.first_pixel is not None else None
    return result


def _draw_polygons(
    plan: Plan,
    part: Shapes,
    places: npt.NDArray[np.int64],
    points: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    result: list[PackedMask | None],
) -> None:
    widths, heights = plan.sizes_of(part.frames[places])
    for stretch in stretches(points, offsets, widths, heights):
        own = offsets[stretch.start : stretch.stop + 1]
        values = points[own[0] : own[-1]]
        some = widths[stretch], heights[stretch]
        try:
            masks = polygons_to_masks(values, own - own[0], *some)
        except TooLarge:
            masks = [
                _draw_one(plan, part, i, points[a:b], int(w), int(h))
                for i, a, b, w, h in zip(
                    places[stretch].tolist(), own[:-1].tolist(), own[1:].tolist(), *some, strict=True
                )
            ]
        for place, mask in zip(places[stretch].tolist(), masks, strict=True):
            result[place] = mask


def _draw_one(
    plan: Plan, part: Shapes, place: int, points: npt.NDArray[np.float64], width: int, height: int
) -> PackedMask | None:
    """One polygon by itself, after one of its batch was too complex to draw."""
    try:
        return polygons_to_masks(points, np.array([0, len(points)], dtype=np.int64), width, height)[0]
    except TooLarge as error:
        frame = plan.target.frames.name(int(part.frames[place]))
        message = f"shape {int(part.ids[place])} on {frame} is left out: {error.detail}"
        plan.report.add_many([Problem("export.unsupported", message, "warning")], 1)
        return None
