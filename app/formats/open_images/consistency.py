"""Rules that rows of several tables must keep together, looked at when all have been read.

    boxes, image labels, masks as they are read → a few numbers a row → problems with file, row and column

A class is also what the hierarchy has above it: who says "Cat" says "Animal". So a box of a class needs an image label
of it or of a class below, and a class verified absent has no box of it or of a class below. Of images without any image
label nothing is said.

All rules are about rows of one image, so the rows wait on disk and are looked at in parts: 52 bytes a box, 28 an image
label and 108 a mask; nothing where no rule is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import mix
from app.columns import distinct
from app.errors import Problem, Report, shorten
from app.formats.open_images.parted_rows import PARTS, PartedRows
from app.formats.rules import RULES

WARNINGS_LISTED = 5

Ints = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

SAME_OVERLAP = 0.98
"""Boxes of one class that overlap so much are one thing twice."""
PARENT_OVERLAP = 0.9
MASK_OVERLAP = 0.5
"""A mask's own box and the box it belongs to overlap more than this."""
OUTSIDE_SHARE, OUTSIDE_PIXELS = 0.05, 2.0
"""A mask may reach out of its box by such a share of the box's side, and by some pixels: its PNG may be a small one."""
NEIGHBOURS = 256
"""Boxes that begin at about the same place are compared with so many of those that follow."""
CLASSES_ABOVE = 64


_FIELDS = [("table", "<i4"), ("row", "<i8"), ("frame", "<i4"), ("code", "<i4")]


def _waiting(width: int) -> PartedRows:
    """For rows as they come: table, line and frame of each, the code of its class, and some numbers."""
    return PartedRows([*_FIELDS, ("numbers", "<f8", (width,))])


@dataclass(slots=True)
class Found:
    """What a rule has found: how many, and the first few with their table and line."""

    n: int = 0
    first: list[tuple[int, int, Problem]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """(N,) each; `numbers` (N, K)."""

    tables: Ints
    rows: Rows
    frames: Ints
    codes: Ints
    numbers: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Table:
        return cls(rows["table"], rows["row"], rows["frame"], rows["code"], rows["numbers"])

    def take(self, indices: Rows | Mask) -> Table:
        return Table(
            self.tables[indices], self.rows[indices], self.frames[indices], self.codes[indices], self.numbers[indices]
        )


class Consistency:
    """Takes the rows of an import; `tell` says what does not go together."""

    def __init__(self, rules: frozenset[str], report: Report) -> None:
        self._rules, self._report = rules, report
        self._paths: list[str] = []
        self._boxes, self._tags, self._masks = _waiting(4), _waiting(1), _waiting(11)
        self._found: dict[str, Found] = {}

    @property
    def is_on(self) -> bool:
        return bool(self._rules)

    def _number(self, path: str) -> int:
        if not self._paths or self._paths[-1] != path:
            self._paths.append(path)
        return len(self._paths) - 1

    def add_boxes(self, path: str, rows: Rows, frames: Ints, codes: Ints, corners: Reals) -> None:
        """`corners`: (N, 4) XMin XMax YMin YMax."""
        if self._rules:
            self._boxes.add(
                table=self._number(path), row=rows, frame=frames, code=codes, numbers=corners[:, [0, 2, 1, 3]]
            )

    def add_tags(self, path: str, rows: Rows, frames: Ints, codes: Ints, confidences: Reals) -> None:
        if self._rules:
            self._tags.add(
                table=self._number(path), row=rows, frame=frames, code=codes, numbers=confidences[:, np.newaxis]
            )

    def add_masks(
        self, path: str, rows: Rows, frames: Ints, codes: Ints, has_box: Mask, boxes: Reals, bounds: Reals, sizes: Reals
    ) -> None:
        """Masks with pixels.

        Args:
            has_box: (N,) there is a box that the mask belongs to.
            boxes: (N, 4) BoxXMin BoxXMax BoxYMin BoxYMax, NaN where not all are there.
            bounds: (N, 4) x0 y0 x1 y1 of its pixels; sizes: (N, 2) width and height of its frame.
        """
        if self._rules:
            norm = bounds / sizes[:, [0, 1, 0, 1]]
            numbers = np.concatenate([has_box[:, np.newaxis], boxes[:, [0, 2, 1, 3]], norm, sizes], axis=1)
            self._masks.add(table=self._number(path), row=rows, frame=frames, code=codes, numbers=numbers)

    def tell(self, names: tuple[str, ...], declared: Mapping[str, str], class_file: str, hierarchy: str | None) -> None:
        """Report everything, rule by rule.

        Args:
            names: LabelName of each class code.
            declared: DisplayName by LabelName, of the class files.
        """
        if not self._rules:
            return
        self._names, self._declared = names, declared
        above = classes_above(hierarchy, names)
        for part in range(PARTS):
            boxes, tags, masks = (Table.of(rows.read(part)) for rows in (self._boxes, self._tags, self._masks))
            self._tell_masks(masks)
            self._tell_labels(boxes, tags, above)
            self._tell_boxes(boxes, above)
        for rule in RULES:
            if rule in self._found:
                found = self._found[rule]
                self._report.add_many([problem for _, _, problem in found.first], found.n)
        for rows in (self._boxes, self._tags, self._masks):
            rows.close()
        if "unused_class" in self._rules:
            self._tell_unused(class_file)

    # --- masks ---

    def _tell_masks(self, masks: Table) -> None:
        has_box, box, bounds, sizes = masks.numbers[:, 0] > 0, *np.split(masks.numbers[:, 1:], [4, 8], axis=1)
        self._tell("mask_without_box", masks, ~has_box, "BoxID", "this mask belongs to no box of its image and label")
        named = ~np.isnan(box[:, 0])
        sides = box[:, 2:] - box[:, :2]
        slack = np.maximum(OUTSIDE_SHARE * sides, OUTSIDE_PIXELS / sizes)
        out = (bounds[:, :2] < box[:, :2] - slack) | (bounds[:, 2:] > box[:, 2:] + slack)
        outside = named & out.any(axis=1)
        message = "pixels of this mask lie outside of the box that the row names"
        self._tell("mask_outside_box", masks, outside, "BoxXMin", message)
        far = named & (overlaps(box, bounds) < MASK_OVERLAP)
        message = "this mask fills less than half of the box that the row names, or lies elsewhere"
        self._tell("mask_far_from_box", masks, far, "BoxXMin", message)

    # --- image labels ---

    def _tell_labels(self, boxes: Table, tags: Table, above: list[Ints]) -> None:
        present = tags.take(tags.numbers[:, 0] > 0)
        absent = tags.take(tags.numbers[:, 0] == 0)
        if "box_without_label" in self._rules:
            frames, codes, _ = _with_above(present, above)
            known = np.isin(mix(boxes.frames, boxes.codes), mix(frames, codes))
            # A box of a class that is above a labelled one is fine, and so is one below: the label is of its kind.
            frames, codes, which = _with_above(boxes, above)
            known[which[np.isin(mix(frames, codes), mix(present.frames, present.codes))]] = True
            lone = ~known & np.isin(boxes.frames, present.frames)
            message = "no image label says that this class is in the image, though others have some"
            self._tell("box_without_label", boxes, lone, "LabelName", message)
        if "negative_with_box" in self._rules:
            frames, codes, which = _with_above(boxes, above)
            here = mix(frames, codes)
            order = np.argsort(here, kind="stable")
            asked = mix(absent.frames, absent.codes)
            places = np.minimum(np.searchsorted(here[order], asked), max(len(here) - 1, 0))
            found = here[order][places] == asked if len(here) else np.zeros(len(absent), dtype=np.bool_)
            boxes_of = which[order[places]] if len(here) else places

            def message_of(row: int) -> str:
                box = int(boxes_of[row])
                place = f"{self._paths[int(boxes.tables[box])]}:{int(boxes.rows[box])}"
                return f"the class is verified absent, but {place} is a box of {self._class(int(boxes.codes[box]))}"

            self._tell("negative_with_box", absent, found, "Confidence", message_of)
        if "contradicting_labels" in self._rules:
            frames, codes, _ = _with_above(present, above)
            both = np.isin(mix(absent.frames, absent.codes), mix(frames, codes))
            message = "another row says that this class, or a kind of it, is in the image"
            self._tell("contradicting_labels", absent, both, "Confidence", message)

    # --- boxes ---

    def _tell_boxes(self, boxes: Table, above: list[Ints]) -> None:
        if "duplicate_box" in self._rules:
            order = np.lexsort((boxes.rows, boxes.numbers[:, 0], boxes.codes, boxes.frames))
            ordered = boxes.take(order)
            twin = self._twins(ordered, mix(ordered.frames, ordered.codes), SAME_OVERLAP, None)
            message = "lies on another box of the same class, at "
            self._tell_pairs("duplicate_box", ordered, twin, "XMin", message)
        if "parent_and_child" in self._rules and any(len(codes) for codes in above):
            related = distinct(mix(*_pairs(above)))
            concerned = np.zeros(len(self._names), dtype=np.bool_)
            concerned[np.concatenate(_pairs(above))] = True
            some = boxes.take(concerned[boxes.codes]) if len(boxes) else boxes
            ordered = some.take(np.lexsort((some.rows, some.numbers[:, 0], some.frames)))
            twin = self._twins(ordered, mix(ordered.frames), PARENT_OVERLAP, related)
            message = "lies on a box of a class that is a kind of this one or of which this is a kind, at "
            self._tell_pairs("parent_and_child", ordered, twin, "LabelName", message)

    def _twins(self, boxes: Table, groups: Keys, overlap: float, related: Keys | None) -> Rows:
        """(N,) for each box the first one before it, in this order, that lies on it; -1 for none.

        Args:
            boxes: by group and left edge.
            related: pairs of classes that count; all do.
        """
        twin = np.full(len(boxes), -1, dtype=np.int64)
        corners, codes = boxes.numbers, boxes.codes
        left = np.arange(len(boxes), dtype=np.int64)
        slack = (1 - overlap) * (corners[:, 2:] - corners[:, :2]) / overlap + 1e-9
        tops = np.ascontiguousarray(corners[:, 1])
        for step in range(1, NEIGHBOURS):
            left = left[left + step < len(boxes)]
            near = groups[left] == groups[left + step]
            near &= corners[left + step, 0] - corners[left, 0] <= slack[left, 0]
            left = left[near]
            if not len(left):
                break
            level = left[np.abs(tops[left + step] - tops[left]) <= slack[left, 1]]  # few of many
            same = overlaps(corners[level], corners[level + step]) >= overlap
            if related is not None:
                pairs = codes[level], codes[level + step]
                same &= np.isin(mix(*pairs), related) | np.isin(mix(*reversed(pairs)), related)
            hits = level[same]
            fresh = twin[hits + step] < 0
            twin[hits[fresh] + step] = hits[fresh]
        return twin

    def _tell_pairs(self, rule: str, boxes: Table, twin: Rows, column: str, message: str) -> None:
        def message_of(row: int) -> str:
            other = int(twin[row])
            place = f"{self._paths[int(boxes.tables[other])]}:{int(boxes.rows[other])}"
            return f"{message}{place} ({self._class(int(boxes.codes[other]))})"

        self._tell(rule, boxes, twin >= 0, column, message_of)

    # --- classes ---

    def _tell_unused(self, class_file: str) -> None:
        used = set(self._names) | {self._declared.get(name, name) for name in self._names}
        unused = [(mid, name) for mid, name in self._declared.items() if mid not in used]
        listed = [
            Problem("rule.unused_class", f'no row is of "{shorten(name)}"', "warning", class_file or None, value=mid)
            for mid, name in unused[:WARNINGS_LISTED]
        ]
        self._report.add_many(listed, len(unused))

    # --- telling ---

    def _class(self, code: int) -> str:
        name = self._names[code]
        display = self._declared.get(name, name)
        return f'"{shorten(display)}"'

    def _tell(self, rule: str, table: Table, bad: Mask, column: str, message: Any) -> None:
        """Of all parts the first few rows in the order of tables and lines are listed; all are counted."""
        places = np.flatnonzero(bad) if rule in self._rules else np.zeros(0, dtype=np.int64)
        if not len(places):
            return
        places = places[np.lexsort((table.rows[places], table.tables[places]))]
        found = self._found.setdefault(rule, Found())
        found.n += len(places)
        for row in places[:WARNINGS_LISTED].tolist():
            number, line = int(table.tables[row]), int(table.rows[row])
            words = message if isinstance(message, str) else message(row)
            name = shorten(self._names[int(table.codes[row])])
            problem = Problem(f"rule.{rule}", words, "warning", self._paths[number], line, column, name)
            found.first.append((number, line, problem))
        found.first = sorted(found.first, key=lambda one: one[:2])[:WARNINGS_LISTED]


def classes_above(hierarchy: str | None, names: tuple[str, ...]) -> list[Ints]:
    """For each class the codes of those above it in the hierarchy (by Subcategory), as far as rows name them."""
    known = {name: code for code, name in enumerate(names)}
    found: list[set[int]] = [set() for _ in names]
    waiting: list[tuple[Any, tuple[int, ...]]] = [(json.loads(hierarchy), ())] if hierarchy is not None else []
    while waiting:
        node, path = waiting.pop()
        code = known.get(node["LabelName"])
        if code is not None:
            found[code] |= set(path) - {code}
            path = (*path, code)[-CLASSES_ABOVE:]
        waiting += [(child, path) for child in node.get("Subcategory", ())]
    return [np.array(sorted(codes), dtype=np.int32) for codes in found]


def _pairs(above: list[Ints]) -> tuple[Ints, Ints]:
    """(class, class above it), one after the other."""
    counts = [len(codes) for codes in above]
    return np.repeat(np.arange(len(above), dtype=np.int32), counts), np.concatenate(above)


def _with_above(table: Table, above: list[Ints]) -> tuple[Ints, Ints, Rows]:
    """Frames and classes of the rows, and again for each class above; and which row each is of."""
    own = np.arange(len(table), dtype=np.int64)
    if not len(table) or not any(len(codes) for codes in above):
        return table.frames, table.codes, own
    counts = np.array([len(codes) for codes in above], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    n_more = counts[table.codes]
    which = np.repeat(own, n_more)
    within = np.arange(len(which), dtype=np.int64) - np.repeat(np.cumsum(n_more) - n_more, n_more)
    more = np.concatenate(above)[starts[table.codes[which]] + within]
    return (
        np.concatenate([table.frames, table.frames[which]]),
        np.concatenate([table.codes, more]),
        np.concatenate([own, which]),
    )


def overlaps(one: Reals, two: Reals) -> Reals:
    """(N,) intersection over union of boxes x0 y0 x1 y1; 0 where there is no area."""
    low, high = np.maximum(one[:, :2], two[:, :2]), np.minimum(one[:, 2:], two[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    total = np.prod(one[:, 2:] - one[:, :2], axis=1) + np.prod(two[:, 2:] - two[:, :2], axis=1) - common
    shares: Reals = np.divide(common, total, out=np.zeros(len(one)), where=total > 0)
    return shares
