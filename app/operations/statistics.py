"""What a task holds, in numbers and pictures of numbers: the page's health check.

One pass over the column blocks in batches, so memory follows a batch and the number of frames, not of shapes:

    batch (100,000 rows)  →  boxes (N, 4) of each shape's frame  →  counts added to small arrays

A task of more than a million annotations is counted on evenly spread stretches of its frames, and the answer says so:
this runs while somebody waits. Deleted frames count nowhere. Tracks are counted by label; sizes, places and flags are
those of shapes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Annotations, AttributeSpec, FrameTable, Label, LabelCatalog, Shapes, ShapeType, Tags
from app.annotations.looks import UNHELPED_LOOKS, cut_for_looks, find_boxes
from app.columns import Ragged, Texts, distinct
from app.geometry import bounding_boxes, hull_boxes, rotated_corners
from app.helpers import Crew
from app.storage import Connection, frames, labels, tasks
from app.storage import annotations as annotation_rows

Ints = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
BoxCrew = Crew[tuple[int, int], Ragged, Ints]

GRID = 32
"""Cells of the heat map in each direction."""

SIZE_EDGES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0)
"""Side of a square as large as the box, as a part of the side of a square as large as the picture."""

ASPECT_EDGES = (0.125, 0.177, 0.25, 0.354, 0.5, 0.707, 0.841, 1.189, 1.414, 2.0, 2.828, 4.0, 5.657, 8.0)
"""Width divided by height: half powers of two, and one bin around 1 for squares."""

PER_PICTURE_EDGES = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 26, 51, 101)
"""Shapes of a picture: 0, 1, …, 6 to 7, 8 to 10, …, 101 and more."""

AGREEMENT_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Overlap of a mask's extent and its box (intersection over union); the last bin ends at 1."""

BAD_AGREEMENT = 0.5
LISTED_FRAMES = 24
MAX_ROWS = 1_000_000
LOOKED_AT: Mapping[str, Any] = {"batch_rows": 20_000, "batch_bytes": 1 << 20, "with_kept": False, "cuts": "anywhere"}
"""How rows are read that are looked at one by one."""
STRETCHES = 48
STRETCH_UNIT = 64
"""Frames of a block: stretches hold whole blocks."""

TINY_SIDE_PX = 3.0
OUTSIDE_PX = 1.0
RARE_SHARE = 0.01
_ZERO = re.compile(r'\{"spec_id":(\d+),"value":"0(?:\.0)?"\}')
FLAG_ORDER = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")


@dataclass(slots=True)
class Finding:
    """Something worth a look: how often, and on which frames.

    Attributes:
        on: (frames,) bool.
    """

    on: Flags
    count: int = 0

    def add(self, found: npt.NDArray[np.integer[Any]]) -> None:
        """`found`: (K,) the frame of each case."""
        self.count += len(found)
        self.on[found] = True


@dataclass(slots=True)
class Flag:
    """A yes-or-no question about shapes: yes, no and "not said", and (frames,) bool where a shape says yes."""

    on: Flags
    counts: Ints = field(default_factory=lambda: np.zeros(3, dtype=np.int64))


@dataclass(slots=True)
class Tally:
    """Counts of one task while they grow; arrays are indexed by frame, label or bin."""

    table: FrameTable
    catalog: LabelCatalog
    counted: Flags
    subset_codes: Ints
    subset_names: list[str]
    share: float = 1.0
    label_ids: Ints = field(init=False)
    shapes_per_frame: Ints = field(init=False)
    tags_per_frame: Ints = field(init=False)
    shapes_per_label: Ints = field(init=False)  # (labels, subsets)
    tags_per_label: Ints = field(init=False)
    absent_per_label: Ints = field(init=False)
    tracks_per_label: Ints = field(init=False)
    pictures_per_label: Ints = field(init=False)
    types: Ints = field(default_factory=lambda: np.zeros(len(ShapeType), dtype=np.int64))
    sizes: Ints = field(default_factory=lambda: np.zeros(len(SIZE_EDGES), dtype=np.int64))
    aspects: Ints = field(default_factory=lambda: np.zeros(len(ASPECT_EDGES) + 1, dtype=np.int64))
    grid: Ints = field(default_factory=lambda: np.zeros((GRID + 1, GRID + 1), dtype=np.int64))
    agreements: Ints = field(default_factory=lambda: np.zeros(len(AGREEMENT_EDGES), dtype=np.int64))
    boxes_with_mask: int = 0
    boxes_alone: int = 0
    masks_alone: int = 0
    flags: dict[str, Flag] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_labels, n_frames = len(self.catalog.labels), len(self.table)
        self.label_ids = np.array(sorted(label.id for label in self.catalog.labels), dtype=np.int64)
        self.shapes_per_frame = np.zeros(n_frames, dtype=np.int64)
        self.tags_per_frame = np.zeros(n_frames, dtype=np.int64)
        self.shapes_per_label = np.zeros((n_labels, len(self.subset_names)), dtype=np.int64)
        for name in ("tags_per_label", "absent_per_label", "tracks_per_label", "pictures_per_label"):
            setattr(self, name, np.zeros(n_labels, dtype=np.int64))

    def rows_of(self, label_ids: npt.NDArray[np.int32]) -> Ints:
        """The row of each label in this tally; labels come from the same task, so each is there."""
        return np.searchsorted(self.label_ids, label_ids)

    @property
    def said(self) -> Flags:
        """(frames,) whether a counted frame has a shape or a tag."""
        return self.counted & ((self.shapes_per_frame + self.tags_per_frame) > 0)

    def finding(self, name: str) -> Finding:
        if name not in self.findings:
            self.findings[name] = Finding(np.zeros(len(self.table), dtype=np.bool_))
        return self.findings[name]

    def flag(self, name: str) -> Flag:
        if name not in self.flags:
            self.flags[name] = Flag(np.zeros(len(self.table), dtype=np.bool_))
        return self.flags[name]


def task_statistics(
    conn: Connection, task_id: int, max_rows: int = MAX_ROWS, *, most_helpers: int = 0
) -> dict[str, Any]:
    """Everything the page's health check shows, as JSON values.

    `shapes`, `tags` and `tracks` are exact; where `counted_share` is below 1, all else is of that share of the frames.
    `most_helpers`: processes that may help where there are many packed masks.

    Raises:
        NotFound: no such task.
    """
    tally = count_task(conn, task_id, max_rows, most_helpers=most_helpers)
    held = annotation_rows.counts(conn, task_id)
    share = float(tally.share)
    found = {"task_id": task_id, "revision": tasks.load(conn, task_id).revision, "counted_share": share}
    found |= described(tally)
    return found if share == 1 else {**found, "shapes": held["shapes"], "tags": held["tags"]}


def count_task(
    conn: Connection, task_id: int, max_rows: int = MAX_ROWS, *, most_helpers: int = 0, with_boxes: bool = True
) -> Tally:
    """One pass over a task (or evenly spread parts of it); without sizes, places and pairs if not `with_boxes`.
    Raises NotFound."""
    task = tasks.load(conn, task_id)
    table = frames.load(conn, task_id, with_names=False)
    held = annotation_rows.counts(conn, task_id)
    stretches = chosen_stretches(len(table), held["shapes"] + held["tags"], max_rows)
    counted = np.zeros(len(table), dtype=np.bool_)
    for start, stop in stretches:
        counted[start:stop] = True
    codes, names = frame_subsets(conn, task_id, len(table), task.subset)
    tally = Tally(table, labels.of_task(conn, task_id), counted & ~table.deleted, codes, names)
    crew: BoxCrew = Crew(find_boxes, most_helpers, UNHELPED_LOOKS)
    with crew:
        for start, stop in stretches:
            for batch in _iterate(conn, task_id, start=start, stop=stop):
                shapes = batch.shapes.take(~table.deleted[batch.shapes.frames])
                tags = batch.tags.take(~table.deleted[batch.tags.frames])
                if len(shapes):
                    add_shapes(tally, shapes, crew if with_boxes else None)
                if len(tags):
                    add_tags(tally, tags)
                add_pictures_per_label(tally, shapes, tags)
    for batch in annotation_rows.iterate(conn, task_id, kinds=("tracks",), **LOOKED_AT):
        rows = tally.rows_of(batch.tracks.label_ids)
        tally.tracks_per_label += np.bincount(rows, minlength=len(tally.label_ids))
    note_labels(tally)
    if not held["tracks"]:  # whose shapes are not counted frame by frame
        tally.finding("nothing").add(np.flatnonzero(tally.counted & ~tally.said))
    tally.share = float(counted.mean()) if len(counted) else 1.0
    return tally


def _iterate(conn: Connection, task_id: int, **more: Any) -> Iterator[Annotations]:
    """Shapes and tags, without what was kept of their rows."""
    return annotation_rows.iterate(conn, task_id, kinds=("shapes", "tags"), with_kept=False, **more)


def chosen_stretches(n_frames: int, n_rows: int, max_rows: int) -> list[tuple[int, int]]:
    """Stretches of frames, start to stop, that hold about `max_rows` of all rows: everything where that is enough."""
    if n_rows <= max_rows or n_frames <= STRETCHES * STRETCH_UNIT:
        return [(0, n_frames)]
    pace = n_frames / STRETCHES
    length = max(1, round(pace * max_rows / n_rows / STRETCH_UNIT)) * STRETCH_UNIT
    starts = [int(index * pace) // STRETCH_UNIT * STRETCH_UNIT for index in range(STRETCHES)]
    stops = [*starts[1:], n_frames]
    return [(start, min(start + length, stop)) for start, stop in zip(starts, stops, strict=True)]


def frame_subsets(conn: Connection, task_id: int, n_frames: int, own: str) -> tuple[Ints, list[str]]:
    """The subset of each frame: the one its archive told, else the task's own. Codes (frames,), and their names."""
    codes, names = np.zeros(n_frames, dtype=np.int64), [own]
    for batch in annotation_rows.iterate(conn, task_id, kinds=("images",)):
        images = batch.images
        mapping = np.array([_code_of(name, names) for name in images.subsets.values], dtype=np.int64)
        if len(images):
            codes[images.frames] = mapping[images.subsets.codes]
    return codes, names


def _code_of(name: str, names: list[str]) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


# ---- one batch


def boxes_of(shapes: Shapes, crew: BoxCrew) -> Boxes:
    """(N, 4) pixels: the upright box around each shape, with its rotation. The crew looks at masks."""
    boxes = bounding_boxes(shapes.points.values, shapes.points.offsets)
    is_ellipse = shapes.types == ShapeType.ELLIPSE
    if is_ellipse.any():
        # Stored as the centre, the x of the right end, the y of the top end.
        centre_x, centre_y, right, top = shapes.points.take(np.flatnonzero(is_ellipse)).values.reshape(-1, 4).T
        boxes[is_ellipse] = np.stack([2 * centre_x - right, top, right, 2 * centre_y - top], axis=1)
    masks = np.flatnonzero(shapes.types == ShapeType.MASK)
    runs = shapes.runs.take(masks)
    looks = (((start, stop), runs.slice(start, stop)) for start, stop in cut_for_looks(runs))
    for (start, stop), found in crew.run(looks):
        assert found is not None
        corners = found.astype(np.float64)  # inclusive; without a pixel it is right of its right side
        has_pixels = corners[:, 0] <= corners[:, 2]
        boxes[masks[start:stop][has_pixels]] = (corners + np.array([0.0, 0.0, 1.0, 1.0]))[has_pixels]
    turned = np.flatnonzero(shapes.rotations)
    if len(turned):
        boxes[turned] = hull_boxes(rotated_corners(boxes[turned], shapes.rotations[turned]))
    return boxes


def add_shapes(tally: Tally, shapes: Shapes, crew: BoxCrew | None) -> None:
    """Count a batch of shapes; without a crew, none of their boxes."""
    n_labels, n_subsets = tally.shapes_per_label.shape
    rows = tally.rows_of(shapes.label_ids)
    cells = rows * n_subsets + tally.subset_codes[shapes.frames]
    tally.shapes_per_label += np.bincount(cells, minlength=n_labels * n_subsets).reshape(n_labels, n_subsets)
    tally.shapes_per_frame += np.bincount(shapes.frames, minlength=len(tally.table))
    tally.types += np.bincount(shapes.types, minlength=len(ShapeType))
    add_flags(tally, shapes, rows)
    has_box = shapes.types != ShapeType.SKELETON
    boxed = shapes if has_box.all() else shapes.take(has_box)
    if len(boxed) and crew is not None:
        boxes = boxes_of(boxed, crew)
        add_boxes(tally, boxed, boxes)
        add_pairs(tally, boxed, boxes)


def add_boxes(tally: Tally, shapes: Shapes, boxes: Boxes) -> None:
    """Count sizes, aspects and places, and note what looks wrong."""
    widths = tally.table.widths[shapes.frames].astype(np.float64)
    heights = tally.table.heights[shapes.frames].astype(np.float64)
    spans = boxes[:, 2:] - boxes[:, :2]  # (N, 2) width, height
    has_area = (spans > 0).all(axis=1)
    has_frame = (widths > 0) & (heights > 0)
    good = has_area & has_frame
    sides = np.sqrt(spans[good].prod(axis=1) / (widths[good] * heights[good]))
    tally.sizes += _binned(sides, SIZE_EDGES[1:], len(SIZE_EDGES))
    tally.aspects += _binned(spans[good, 0] / spans[good, 1], ASPECT_EDGES, len(ASPECT_EDGES) + 1)
    add_places(tally.grid, boxes[good] / np.stack([widths, heights, widths, heights], axis=1)[good])
    is_area = ~np.isin(shapes.types, (ShapeType.POINTS, ShapeType.POLYLINE))
    tally.finding("empty").add(shapes.frames[is_area & ~has_area])
    tally.finding("tiny").add(shapes.frames[is_area & has_area & (spans < TINY_SIDE_PX).any(axis=1)])
    beyond = (boxes[:, :2] < -OUTSIDE_PX).any(axis=1)
    beyond |= (boxes[:, 2] > widths + OUTSIDE_PX) | (boxes[:, 3] > heights + OUTSIDE_PX)
    tally.finding("outside").add(shapes.frames[beyond & has_frame])
    tally.finding("twice").add(shapes.frames[is_repeated(shapes, boxes)])


def add_pairs(tally: Tally, shapes: Shapes, boxes: Boxes) -> None:
    """Hold each mask (or outline) against its box: the rectangle of its frame, label and group."""
    is_box = shapes.types == ShapeType.RECTANGLE
    is_drawn = np.isin(shapes.types, (ShapeType.MASK, ShapeType.POLYGON, ShapeType.ELLIPSE))
    _, groups = np.unique(shapes.groups, return_inverse=True)
    keys = shapes.frames.astype(np.int64) * len(tally.label_ids) + tally.rows_of(shapes.label_ids)  # (N,)
    keys = keys * (int(groups.max(initial=0)) + 1) + groups
    can_pair = shapes.groups > 0
    box_rows, mask_rows = np.flatnonzero(is_box & can_pair), np.flatnonzero(is_drawn & can_pair)
    order = box_rows[np.argsort(keys[box_rows], kind="stable")]
    places = np.searchsorted(keys[order], keys[mask_rows])  # the first box of the key, where there is one
    has_box = places < len(order)
    has_box[has_box] = keys[order[places[has_box]]] == keys[mask_rows[has_box]]
    masks, partners = mask_rows[has_box], order[places[has_box]]
    agreement = overlaps(boxes[masks], boxes[partners])
    tally.agreements += _binned(agreement, AGREEMENT_EDGES[1:], len(AGREEMENT_EDGES))
    n_with = len(distinct(partners))
    tally.boxes_with_mask += n_with
    tally.boxes_alone += int(is_box.sum()) - n_with
    tally.masks_alone += int(is_drawn.sum()) - len(masks)
    tally.finding("mask_off_box").add(shapes.frames[masks[agreement < BAD_AGREEMENT]])


def overlaps(some: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """(N,) intersection over union of two boxes each; 0 where neither has an area."""
    spans = np.minimum(some[:, 2:], others[:, 2:]) - np.maximum(some[:, :2], others[:, :2])  # (N, 2)
    common = np.clip(spans, 0.0, None).prod(axis=1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1) for boxes in (some, others)]
    union = areas[0] + areas[1] - common
    result: npt.NDArray[np.float64] = np.divide(common, union, out=np.zeros(len(union)), where=union > 0)
    return result


def is_repeated(shapes: Shapes, boxes: Boxes) -> Flags:
    """(N,) whether a shape before it has the same frame, label, type and box (to a hundredth of a pixel)."""
    keys = np.column_stack(
        [shapes.frames, shapes.label_ids, shapes.types, np.round(boxes * 100).astype(np.int64)]
    ).astype(np.int64)  # (N, 7)
    order = np.lexsort(keys.T[::-1])
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    repeated = np.zeros(len(shapes), dtype=np.bool_)
    repeated[order[1:][same]] = True
    return repeated


def _binned(values: npt.NDArray[np.float64], edges: Sequence[float], n_bins: int) -> Ints:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=n_bins)[:n_bins].astype(np.int64)


def add_places(grid: Ints, boxes_norm: Boxes) -> None:
    """Add one to every cell a box covers: four corners of a difference array a box, summed up at the end."""
    cells = np.clip(boxes_norm, 0.0, 1.0) * GRID
    first = np.minimum(np.floor(cells[:, :2]), GRID - 1).astype(np.int64)  # (N, 2) x, y
    last = np.maximum(np.ceil(cells[:, 2:]).astype(np.int64), first + 1)
    size = GRID + 1
    for x, y, sign in ((first, first, 1), (last, first, -1), (first, last, -1), (last, last, 1)):
        flat = y[:, 1] * size + x[:, 0]
        grid += sign * np.bincount(flat, minlength=size * size).reshape(size, size)


def add_flags(tally: Tally, shapes: Shapes, rows: Ints) -> None:
    """Count yes, no and "not said" of every yes-or-no attribute, and of the occluded flag."""
    occluded = tally.flag("occluded")
    n_occluded = int(shapes.occluded.sum())
    occluded.counts += [n_occluded, len(shapes) - n_occluded, 0]
    occluded.on[shapes.frames[shapes.occluded]] = True
    catalog = {label.id: label for label in tally.catalog.labels}
    for row in distinct(rows).tolist():
        label = catalog[int(tally.label_ids[row])]
        specs = [spec for spec in label.attributes if spec.input_type == "checkbox" and spec.name != "occluded"]
        if specs:
            of_label = np.flatnonzero(rows == row)
            texts = shapes.attributes.take(of_label).compact()
            _add_flags_of(tally, specs, texts, shapes.frames[of_label])


def _add_flags_of(tally: Tally, specs: Sequence[AttributeSpec], texts: Texts, on: npt.NDArray[np.int32]) -> None:
    # Stored texts have one form, so a search finds an attribute; quotes within values are escaped and cannot match.
    values = np.array([text.encode() for text in texts.values], dtype=np.bytes_)
    weights = np.bincount(texts.codes, minlength=len(values))
    for spec in specs:
        said = np.char.find(values, b'{"spec_id":%d,' % spec.id) >= 0
        yes = np.char.find(values, b'{"spec_id":%d,"value":"true"}' % spec.id) >= 0
        flag = tally.flag(spec.name)
        flag.counts += [weights[yes].sum(), weights[said & ~yes].sum(), weights[~said].sum()]
        flag.on[on[yes[texts.codes]]] = True


def add_tags(tally: Tally, tags: Tags) -> None:
    """Count a batch of tags; those whose score is 0 say that something is not there."""
    rows = tally.rows_of(tags.label_ids)
    n_labels = len(tally.label_ids)
    tally.tags_per_frame += np.bincount(tags.frames, minlength=len(tally.table))
    spec_ids = np.zeros(n_labels, dtype=np.int64)  # of each label's score
    for label in tally.catalog.labels:
        spec = label.attribute("score")
        if spec is not None:
            spec_ids[tally.rows_of(np.array([label.id], dtype=np.int32))] = spec.id
    absent = _have_zero(tags.attributes, spec_ids[rows])
    tally.tags_per_label += np.bincount(rows, minlength=n_labels)
    tally.absent_per_label += np.bincount(rows[absent], minlength=n_labels)


def _have_zero(texts: Texts, spec_ids: Ints) -> Flags:
    """(N,) whether the attribute of each row's `spec_ids` is zero; no attribute has the id 0."""
    # Stored texts have one form, so a search finds an attribute; quotes within values are escaped and cannot match.
    found = [(code, int(spec)) for code, text in enumerate(texts.values) for spec in _ZERO.findall(text)]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)  # (P, 2) text, attribute
    width = max(int(spec_ids.max(initial=0)), int(pairs[:, 1].max(initial=0))) + 1
    zeros: Flags = np.isin(texts.codes.astype(np.int64) * width + spec_ids, pairs[:, 0] * width + pairs[:, 1])
    return zeros


def add_pictures_per_label(tally: Tally, shapes: Shapes, tags: Tags) -> None:
    """Count the frames each label is on; batches hold whole frames, so none is counted twice."""
    if not len(shapes) and not len(tags):
        return
    n_frames = max(1, len(tally.table))
    rows = np.concatenate([tally.rows_of(shapes.label_ids), tally.rows_of(tags.label_ids)])
    on = np.concatenate([shapes.frames, tags.frames]).astype(np.int64)
    pairs = distinct(rows * n_frames + on)
    tally.pictures_per_label += np.bincount(pairs // n_frames, minlength=len(tally.label_ids))


# ---- the answer


def described(tally: Tally) -> dict[str, Any]:
    """The tally as JSON values."""
    alive = tally.counted
    per_frame = tally.shapes_per_frame[alive]
    said = tally.said
    numbers = np.flatnonzero(alive)
    busiest = numbers[np.argsort(-per_frame, kind="stable")[:LISTED_FRAMES]]
    grid = tally.grid.cumsum(axis=0).cumsum(axis=1)[:GRID, :GRID]
    pictures_per_subset = np.bincount(tally.subset_codes[alive], minlength=len(tally.subset_names)).tolist()
    return {
        "pictures": int(alive.sum()),
        "annotated_pictures": int(said.sum()),
        "shapes": int(per_frame.sum()),
        "tags": int(tally.tags_per_frame.sum()),
        "tracks": int(tally.tracks_per_label.sum()),
        "types": {kind.name.lower(): int(tally.types[kind]) for kind in ShapeType if tally.types[kind]},
        "subsets": {name: n for name, n in zip(tally.subset_names, pictures_per_subset, strict=True) if n},
        "labels": [describe_label(tally, label) for label in tally.catalog.labels],
        "objects_per_picture": {
            "edges": list(PER_PICTURE_EDGES),
            "counts": _binned(per_frame.astype(np.float64), PER_PICTURE_EDGES[1:], len(PER_PICTURE_EDGES)).tolist(),
            "mean": float(per_frame.mean()) if len(per_frame) else 0.0,
            "max": int(per_frame.max(initial=0)),
        },
        "sizes": {"edges": list(SIZE_EDGES), "counts": tally.sizes.tolist()},
        "aspects": {"edges": list(ASPECT_EDGES), "counts": tally.aspects.tolist()},
        "positions": {"columns": GRID, "rows": GRID, "counts": grid.ravel().tolist()},
        "flags": describe_flags(tally.flags),
        "masks": {
            "boxes_with_mask": tally.boxes_with_mask,
            "boxes_alone": tally.boxes_alone,
            "masks_alone": tally.masks_alone,
            "agreement": {"edges": list(AGREEMENT_EDGES), "counts": tally.agreements.tolist()},
        },
        "busiest": [
            {"frame": frame, "name": tally.table.name(frame), "shapes": int(tally.shapes_per_frame[frame])}
            for frame in busiest.tolist()
            if tally.shapes_per_frame[frame]
        ],
        "findings": {
            name: {"count": found.count, "frames": np.flatnonzero(found.on)[:LISTED_FRAMES].tolist()}
            for name, found in tally.findings.items()
            if found.count
        },
    }


def note_labels(tally: Tally) -> None:
    """Labels that nothing uses, and labels much rarer than the most frequent one; counted, without frames."""
    used = tally.shapes_per_label.sum(axis=1) + tally.tags_per_label + tally.tracks_per_label
    n_unused = int((used == 0).sum())
    if n_unused:
        tally.finding("unused_label").count = n_unused
    if len(used) > 1 and used.max() >= 1 / RARE_SHARE:
        tally.finding("rare_label").count = int(((used > 0) & (used < RARE_SHARE * used.max())).sum())


def describe_label(tally: Tally, label: Label) -> dict[str, Any]:
    row = int(np.searchsorted(tally.label_ids, label.id))
    per_subset = tally.shapes_per_label[row].tolist()
    return {
        "id": label.id,
        "name": label.name,
        "color": label.color,
        "shapes": sum(per_subset),
        "tags": int(tally.tags_per_label[row]),
        "absent": int(tally.absent_per_label[row]),
        "tracks": int(tally.tracks_per_label[row]),
        "pictures": int(tally.pictures_per_label[row]),
        "subsets": {name: n for name, n in zip(tally.subset_names, per_subset, strict=True) if n},
    }


def describe_flags(flags: Mapping[str, Flag]) -> list[dict[str, Any]]:
    """Those of Open Images first, in their order, then the task's own."""
    order = {name: place for place, name in enumerate(FLAG_ORDER)}
    names = sorted(flags, key=lambda name: (order.get(name, len(order)), name))
    return [
        dict(zip(("name", "yes", "no", "unknown"), (name, *flags[name].counts.tolist()), strict=True)) for name in names
    ]


# ---- smaller questions


def task_facts(conn: Connection, task_ids: Sequence[int], n_labels: int = 6) -> dict[str, Any]:
    """For a list of tasks: how much each holds, and its first labels. The caller has checked that they may be seen."""
    facts = {}
    for task_id in task_ids:
        counts = annotation_rows.counts(conn, task_id)
        catalog = labels.of_task(conn, task_id)
        facts[str(task_id)] = {
            "shapes": counts["shapes"],
            "tags": counts["tags"],
            "tracks": counts["tracks"],
            "n_labels": len(catalog.labels),
            "labels": [{"name": label.name, "color": label.color} for label in catalog.labels[:n_labels]],
        }
    return facts


def frame_counts(conn: Connection, task_id: int, start: int, stop: int) -> tuple[Ints, Ints]:
    """Shapes and tags on each of frames start to stop; a track counts on the frame it begins on."""
    shapes, tags = np.zeros(stop - start, dtype=np.int64), np.zeros(stop - start, dtype=np.int64)
    for batch in annotation_rows.iterate(conn, task_id, start=start, stop=stop, **LOOKED_AT):
        for found in (batch.shapes.frames, batch.tracks.frames):
            shapes += np.bincount(found - start, minlength=stop - start)
        tags += np.bincount(batch.tags.frames - start, minlength=stop - start)
    return shapes, tags


def frames_with_label(conn: Connection, task_id: int, label_id: int | None) -> Ints:
    """Ascending numbers of the frames with an annotation of this label (None: of any label)."""
    found: list[npt.NDArray[np.int32]] = []
    for batch in annotation_rows.iterate(conn, task_id, **LOOKED_AT):
        for table in (batch.shapes, batch.tags, batch.tracks):
            chosen = table.frames if label_id is None else table.frames[table.label_ids == label_id]
            found.append(distinct(chosen))
    return distinct(np.concatenate(found)).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def frames_of_subset(conn: Connection, task_id: int, subset: str) -> Ints:
    """Ascending numbers of the frames of a subset."""
    task = tasks.load(conn, task_id)
    codes, names = frame_subsets(conn, task_id, task.size, task.subset)
    return np.flatnonzero(codes == (names.index(subset) if subset in names else -1))


def frames_with_finding(conn: Connection, task_id: int, name: str, *, most_helpers: int = 0) -> Ints:
    """Ascending numbers of the frames that a finding of the health check is about; of all of a large task."""
    tally = count_task(conn, task_id, max_rows=sys.maxsize, most_helpers=most_helpers)
    return np.flatnonzero(tally.findings[name].on) if name in tally.findings else np.empty(0, dtype=np.int64)


def frames_with_flag(conn: Connection, task_id: int, name: str) -> Ints:
    """Ascending numbers of the frames with a shape whose yes-or-no attribute (or occluded flag) says yes."""
    tally = count_task(conn, task_id, max_rows=sys.maxsize, with_boxes=False)
    return np.flatnonzero(tally.flags[name].on) if name in tally.flags else np.empty(0, dtype=np.int64)


def frames_with_value(conn: Connection, task_id: int, name: str, value: str) -> Ints:
    """Ascending numbers of the frames with a shape or tag whose attribute `name` has this value."""
    needles = {
        label.id: b'{"spec_id":%d,"value":%s}' % (spec.id, orjson.dumps(value))
        for label in labels.of_task(conn, task_id).labels
        for spec in label.attributes
        if spec.name == name
    }
    found: list[npt.NDArray[np.int32]] = []
    for batch in _iterate(conn, task_id):
        for table in (batch.shapes, batch.tags):
            for label_id, of_label in _by_label(table.label_ids):
                needle = needles.get(label_id)
                if needle is None:
                    continue
                texts = table.attributes.take(of_label).compact()
                has = np.array([needle in text.encode() for text in texts.values], dtype=np.bool_)
                found.append(distinct(table.frames[of_label[has[texts.codes]]]))
    return distinct(np.concatenate(found)).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def _by_label(label_ids: npt.NDArray[np.int32]) -> Iterator[tuple[int, Ints]]:
    """The labels that are there, and the rows of each: of 20,000 that a task has, few are in a batch."""
    order = np.argsort(label_ids, kind="stable")
    found, starts = np.unique(label_ids[order], return_index=True)
    if len(found):
        yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)


def frames_where(conn: Connection, task_id: int, name: str, fits: Callable[[str], bool]) -> Ints:
    """Ascending numbers of the frames with a shape or tag whose attribute `name` has a value that fits."""
    specs = {
        spec.id for label in labels.of_task(conn, task_id).labels for spec in label.attributes if spec.name == name
    }
    found: list[npt.NDArray[np.int32]] = []
    for batch in _iterate(conn, task_id) if specs else ():
        for table in (batch.shapes, batch.tags):
            texts = table.attributes.compact()
            has = np.array([_has_fitting(text, specs, fits) for text in texts.values], dtype=np.bool_)
            found.append(distinct(table.frames[has[texts.codes]]))
    return distinct(np.concatenate(found)).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def _has_fitting(text: str, specs: Container[int], fits: Callable[[str], bool]) -> bool:
    return any(one["spec_id"] in specs and fits(one["value"]) for one in orjson.loads(text))


def frames_named(table: FrameTable, text: str) -> Ints:
    """Ascending numbers of the frames whose name holds `text`, ASCII letters in any case."""
    blob, wanted = table.names.values.tobytes().lower(), text.encode("utf-8", "replace").lower()
    places, at = [], blob.find(wanted)
    while at >= 0:
        row = int(np.searchsorted(table.names.offsets, at, side="right")) - 1
        end = int(table.names.offsets[row + 1])
        if at + len(wanted) <= end:
            places.append(row)
            at = blob.find(wanted, end)
        else:
            at = blob.find(wanted, at + 1)
    return np.array(places, dtype=np.int64) + table.start
