"""Shapes, tags and tracks as JSON that another task can read: labels and attributes by name, frames by image id.

    {"type":"polygon","label":"cat","points":[1,1,6,1,6,4],"group":3,"attributes":{"mood":"calm"}}

What has its usual value is left out. A mask has `runs`, or neither runs nor points where its row's PNG has the pixels;
a polygon may be `"traced":true` instead: the outline that tracing that PNG gives. Skeletons have `elements`, tracks a
`body`, both as CVAT's LabeledData with the same changes. What comes from a file is checked as strictly as a request.

Source: Open Images reference 4.12.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Kept, Label, LabelCatalog, Shapes, ShapeType, Tags, Tracks
from app.columns import Ragged, Texts, dump_tight
from app.errors import shorten
from app.formats.open_images.attributes import AttributeDecoder
from app.formats.open_images.layout import SHOWING
from app.geometry import check_runs

Item = dict[str, Any]
Points = npt.NDArray[np.float64 | np.int32]

MANUAL = "manual"
MAX_INT = (1 << 31) - 1
FEW_NUMBERS = 8
# As wide as what the API takes, and wider than what it can be set to take within a sane body: else an export of a task
# would not come back whole.
MAX_NUMBERS = 2_000_000
MAX_TEXT = 4096
MAX_SOURCE = 256
MAX_ELEMENTS = 1000
MAX_KEY_FRAMES = 200_000
MAX_UNDECLARED = 1000
"""Names of attributes that are told at most, of those that the labels do not have."""
_TYPES = {kind.name.lower(): kind for kind in ShapeType}
_TYPE_NAMES = {int(kind): name for name, kind in _TYPES.items()}
_MASK, _SKELETON = int(ShapeType.MASK), int(ShapeType.SKELETON)  # an enumeration's attributes are slow to get
_N_POINTS = {ShapeType.RECTANGLE: 4, ShapeType.ELLIPSE: 4, ShapeType.CUBOID: 16, ShapeType.SKELETON: 0}
_LEAST_POINTS = {ShapeType.POLYGON: 6, ShapeType.POLYLINE: 4, ShapeType.POINTS: 2}


class BadItem(Exception):
    """An item that says nothing usable about a task with these labels and frames."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise BadItem(what)


def whole_points(points: Points) -> Points:
    """The same points as 32-bit integers, where all of them are such, bit by bit."""
    if points.dtype.kind == "i":
        return points.astype(np.int32, copy=False)
    with np.errstate(invalid="ignore"):  # far out there are no whole numbers of 32 bits
        whole = points.astype(np.int32)
    points = np.ascontiguousarray(points)
    is_same = np.array_equal(whole.astype(np.float64).view(np.int64), points.view(np.int64))  # bits, for -0.0
    return whole if is_same else points


def points_text(points: Points) -> bytes:
    """(2 K,) points as JSON: whole numbers without a fraction, all others by the shortest text that reads back as the
    same. Outlines along the edges of pixels take a tenth of the time so, and two thirds of the bytes."""
    if len(points) <= FEW_NUMBERS:  # of boxes: numpy takes ten times as long
        numbers = points.tolist()
        is_whole = points.dtype == np.int32 or all(
            n.is_integer() and -MAX_INT - 1 <= n <= MAX_INT and (n or math.copysign(1, n) > 0) for n in numbers
        )
        return dump_tight(list(map(int, numbers)) if is_whole else numbers)
    return dump_tight(whole_points(points), option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True, slots=True, eq=False)
class ShapeRows:
    """Shapes, and their short columns as lists: numpy takes a while to give one value."""

    shapes: Shapes
    ids: list[int]
    frames: list[int]
    types: list[int]
    label_ids: list[int]
    groups: list[int]
    z_orders: list[int]
    occluded: list[bool]
    outside: list[bool]
    rotations: list[float]
    scores: list[float]
    sources: list[str]
    attributes: list[str]

    @staticmethod
    def of(shapes: Shapes) -> ShapeRows:
        return ShapeRows(
            shapes,
            shapes.ids.tolist(),
            shapes.frames.tolist(),
            shapes.types.tolist(),
            shapes.label_ids.tolist(),
            shapes.groups.tolist(),
            shapes.z_orders.tolist(),
            shapes.occluded.tolist(),
            shapes.outside.tolist(),
            shapes.rotations.tolist(),
            shapes.scores.tolist(),
            shapes.sources.to_list(),
            shapes.attributes.to_list(),
        )


@dataclass(frozen=True)
class ItemCodec:
    """Items of one catalog of labels; `decoder` is of the same.

    Attributes:
        undeclared: how many values came for each (label, attribute) that these labels do not declare. Those that a
            column of a table shows are not counted: the row keeps them.
    """

    labels: LabelCatalog
    decoder: AttributeDecoder
    undeclared: Counter[tuple[str, str]] = field(default_factory=Counter)

    # --- out ---

    def of_shape(self, rows: ShapeRows, row: int, geometry: bool = True, points: bytes = b"") -> Item:
        """One shape. `geometry` False leaves points and runs out; `points` are its own as JSON, where somebody has made
        that already."""
        kind = rows.types[row]
        label = self.labels.by_id[rows.label_ids[row]]
        item: Item = {"type": _TYPE_NAMES[kind], "label": label.name}
        if geometry:
            if kind == _MASK:
                item["runs"] = rows.shapes.runs.row(row).tolist()
            else:
                item["points"] = orjson.Fragment(points or points_text(rows.shapes.points.row(row)))
        if rows.rotations[row]:
            item["rotation"] = rows.rotations[row]
        if rows.groups[row]:
            item["group"] = rows.groups[row]
        if rows.z_orders[row]:
            item["z_order"] = rows.z_orders[row]
        if rows.occluded[row]:
            item["occluded"] = True
        if rows.outside[row]:
            item["outside"] = True
        if rows.sources[row] != MANUAL:
            item["source"] = rows.sources[row]
        if rows.scores[row] != 1:
            item["score"] = rows.scores[row]
        self._add_attributes(item, label, rows.attributes[row])
        if kind == _SKELETON:
            item["elements"] = self._named(orjson.loads(rows.shapes.elements.row_bytes(row)), None)
        return item

    def of_tag(self, tags: Tags, row: int) -> Item:
        label = self.labels.by_id[int(tags.label_ids[row])]
        item: Item = {"label": label.name}
        if tags.groups[row]:
            item["group"] = int(tags.groups[row])
        if tags.sources.row(row) != MANUAL:
            item["source"] = tags.sources.row(row)
        self._add_attributes(item, label, tags.attributes.row(row))
        return item

    def of_track(
        self, tracks: Tracks, row: int, images: Mapping[int, str], stop: int, is_part: bool = False
    ) -> Item | None:
        """One track; None where a key frame has no image id (it lies outside of what is exported).

        `at` tells where its key frames lie, and where the frames end (`stop`), from the first key frame on. The end of
        a track that does not move before it may be left out, but not where the frames are those of a job (`is_part`):
        there it would go on into others.
        """
        label = self.labels.by_id[int(tracks.label_ids[row])]
        body = orjson.loads(tracks.bodies.row_bytes(row))
        numbers = [shape["frame"] for shape in body["shapes"]]
        at = [number - numbers[0] for number in [*numbers, max(stop, numbers[-1])]] if numbers else []
        if not is_part and ends_still(body["shapes"]) and images.get(numbers[-1]) is None:
            body, at = without_end(body, "frame"), at[:-1]
        item: Item = {"label": label.name, "image": images.get(int(tracks.frames[row])), "at": at}
        if tracks.groups[row]:
            item["group"] = int(tracks.groups[row])
        if tracks.sources.row(row) != MANUAL:
            item["source"] = tracks.sources.row(row)
        self._add_attributes(item, label, tracks.attributes.row(row))
        try:
            item["body"] = {
                "shapes": self._keys(body["shapes"], label, images),
                "elements": [
                    {**one, "shapes": self._keys(given["shapes"], self.labels.by_id[given["label_id"]], images)}
                    for one, given in zip(self._named(body["elements"], images), body["elements"], strict=True)
                ],
            }
        except KeyError:
            return None
        return item if item["image"] is not None else None

    def _keys(self, shapes: Sequence[Item], label: Label, images: Mapping[int, str]) -> list[Item]:
        named = []
        for shape in shapes:
            one = {("image" if key == "frame" else key): value for key, value in shape.items()}
            one["image"] = images[shape["frame"]]
            one["attributes"] = _by_name(label, shape.get("attributes") or [])
            named.append(one)
        return named

    def _named(self, elements: Sequence[Item], images: Mapping[int, str] | None) -> list[Item]:
        """Elements of skeletons: labels and attributes by name, frames by image id (or left out)."""
        named = []
        for element in elements:
            label = self.labels.by_id[element["label_id"]]
            one: Item = {}
            for key, value in element.items():
                if key == "label_id":
                    one["label"] = label.name
                elif key == "frame":
                    one["image"] = None if images is None else images[value]
                elif key == "attributes":
                    one[key] = _by_name(label, value)
                else:
                    one[key] = value
            named.append(one)
        return named

    def _add_attributes(self, item: Item, label: Label, attributes: str) -> None:
        if attributes != "[]" and (values := self.decoder.values(label.id, attributes)):
            item["attributes"] = values

    # --- in ---

    def label_of(self, item: Item, among: Sequence[Label] | None = None) -> Label:
        name = item.get("label")
        found = [label for label in (self.labels.labels if among is None else among) if label.name == name]
        need(len(found) == 1, f'there is no label "{shorten(name)}" here')
        return found[0]

    def shape(self, item: Item, frame: int, width: int, height: int) -> Item:
        """An item checked and completed: the columns of one row of Shapes, points and runs as lists.

        Raises:
            BadItem: it cannot be a shape on this frame.
        """
        need(isinstance(item, dict), "no object")
        need(item.get("type") in _TYPES, "no shape type")
        kind = _TYPES[item["type"]]
        label = self.label_of(item)
        points, runs = _geometry(item, kind, width, height)
        elements = b""
        if kind == ShapeType.SKELETON:
            elements = dump_tight(self._elements(item.get("elements"), label, frame))
        return {
            "types": kind,
            "label_ids": label.id,
            "points": points,
            "runs": runs,
            "rotations": _rotation(item),
            "groups": _integer(item, "group", 0, 0),
            "z_orders": _integer(item, "z_order", 0, -MAX_INT - 1),
            "occluded": _flag(item, "occluded"),
            "outside": _flag(item, "outside"),
            "sources": _text(item, "source", MANUAL),
            "scores": _number(item, "score", 1.0, 0.0, 1.0),
            "attributes": self._attributes_text(item, label),
            "elements": elements,
        }

    def tag(self, item: Item) -> Item:
        """The columns of one row of Tags. Raises BadItem."""
        need(isinstance(item, dict), "no object")
        label = self.label_of(item)
        return {
            "label_ids": label.id,
            "groups": _integer(item, "group", 0, 0),
            "sources": _text(item, "source", MANUAL),
            "attributes": self._attributes_text(item, label),
        }

    def track(self, item: Item, frames: Mapping[str, int]) -> Tracks:
        """One row of Tracks. Raises BadItem."""
        label = self.label_of(item)
        body = item.get("body")
        need(isinstance(body, dict), "no body")
        assert isinstance(body, dict)
        shapes = self._key_shapes(body.get("shapes"), label, frames)
        need(len(shapes) > 0, "no key frame")
        elements = []
        for given in _list(body.get("elements"), MAX_ELEMENTS):
            part = self.label_of(given, label.sublabels)
            elements.append(
                {
                    "frame": _frame(given, frames),
                    "label_id": part.id,
                    "group": _integer(given, "group", 0, 0),
                    "source": _text(given, "source", MANUAL),
                    "attributes": self.values_of(given, part),
                    "shapes": self._key_shapes(given.get("shapes"), part, frames),
                }
            )
        return Tracks(
            ids=np.zeros(1, dtype=np.int64),
            frames=np.array([_frame(item, frames)], dtype=np.int32),
            label_ids=np.array([label.id], dtype=np.int32),
            groups=np.array([_integer(item, "group", 0, 0)], dtype=np.int32),
            sources=Texts.from_list([_text(item, "source", MANUAL)]),
            attributes=Texts.from_list([self._attributes_text(item, label)]),
            bodies=Ragged.from_bytes([dump_tight({"shapes": shapes, "elements": elements})]),
        )

    def values_of(self, item: Item, label: Label) -> list[Item]:
        """The attributes of an item in ascending spec id; names that the label does not declare are left out, and
        counted."""
        values = item.get("attributes") or {}
        need(isinstance(values, dict), "attributes are no object")
        specs = {spec.name: spec.id for spec in label.attributes}
        found = {}
        for name, value in values.items():
            need(isinstance(value, str) and len(value) <= MAX_TEXT, "an attribute is no text")
            if name in specs:
                found[specs[name]] = value
            elif name not in SHOWING and len(self.undeclared) < MAX_UNDECLARED:
                self.undeclared[label.name, name] += 1
        return [{"spec_id": spec_id, "value": found[spec_id]} for spec_id in sorted(found)]

    def _attributes_text(self, item: Item, label: Label) -> str:
        return json.dumps(self.values_of(item, label), ensure_ascii=False, separators=(",", ":"))

    def _described(self, item: Any, label: Label) -> Item:
        """A key frame or an element, as it is stored."""
        need(isinstance(item, dict) and item.get("type") in _TYPES, "no shape type")
        kind = _TYPES[item["type"]]
        points = _numbers(item.get("points"))
        if kind == ShapeType.MASK:
            need(all(number == int(number) for number in points), "runs are no integers")
            points = [int(number) for number in points]
        else:
            _check_count(kind, len(points))
        return {
            "type": item["type"],
            "occluded": _flag(item, "occluded"),
            "outside": _flag(item, "outside"),
            "z_order": _integer(item, "z_order", 0, -MAX_INT - 1),
            "rotation": _rotation(item),
            "points": points,
            "attributes": self.values_of(item, label),
        }

    def _key_shapes(self, given: Any, label: Label, frames: Mapping[str, int]) -> list[Item]:
        shapes = []
        for one in _list(given, MAX_KEY_FRAMES):
            described = self._described(one, label)
            shapes.append({**described, "frame": _frame(one, frames)})
        numbers = [shape["frame"] for shape in shapes]
        need(numbers == sorted(set(numbers)), "key frames are not in order")
        return shapes

    def _elements(self, given: Any, label: Label, frame: int) -> list[Item]:
        elements = []
        for one in _list(given, MAX_ELEMENTS):
            part = self.label_of(one, label.sublabels)
            more = {
                "frame": frame,
                "label_id": part.id,
                "group": _integer(one, "group", 0, 0),
                "source": _text(one, "source", MANUAL),
            }
            elements.append(self._described(one, part) | more)
        return elements


def ends_still(keys: Sequence[Item]) -> bool:
    """Whether a track does not move until its last key frame, from which on it is outside."""
    return (
        len(keys) > 1
        and keys[-1].get("outside") is True
        and all(keys[-2].get(name) == keys[-1].get(name) for name in ("type", "points", "rotation"))
    )


def without_end(body: Item, place: str) -> Item:
    """The body of a track without its last key frame, and without those of a skeleton's parts that are there.

    Args:
        place: what a key frame calls where it is.
    """
    *keys, last = body["shapes"]

    def cut(shapes: list[Item]) -> list[Item]:
        return shapes[:-1] if len(shapes) > 1 and shapes[-1][place] == last[place] else shapes

    return {"shapes": keys, "elements": [{**one, "shapes": cut(one["shapes"])} for one in body["elements"]]}


def shapes_table(rows: Sequence[Item], frames: Sequence[int], kept: Kept) -> Shapes:
    """Rows of `ItemCodec.shape` as a table."""

    def column(name: str, dtype: Any) -> Any:
        return np.array([row[name] for row in rows], dtype=dtype)

    return Shapes(
        ids=np.zeros(len(rows), dtype=np.int64),
        frames=np.array(frames, dtype=np.int32),
        types=column("types", np.uint8),
        label_ids=column("label_ids", np.int32),
        groups=column("groups", np.int32),
        z_orders=column("z_orders", np.int32),
        occluded=column("occluded", np.bool_),
        outside=column("outside", np.bool_),
        rotations=column("rotations", np.float64),
        scores=column("scores", np.float64),
        sources=Texts.from_list(row["sources"] for row in rows),
        attributes=Texts.from_list(row["attributes"] for row in rows),
        points=Ragged.from_arrays([row["points"] for row in rows], np.float64),
        runs=Ragged.from_arrays([row["runs"] for row in rows], np.int32),
        elements=Ragged.from_bytes([row["elements"] for row in rows]),
        kept=kept,
    )


def tags_table(rows: Sequence[Item], frames: Sequence[int], kept: Kept) -> Tags:
    """Rows of `ItemCodec.tag` as a table."""
    return Tags(
        ids=np.zeros(len(rows), dtype=np.int64),
        frames=np.array(frames, dtype=np.int32),
        label_ids=np.array([row["label_ids"] for row in rows], dtype=np.int32),
        groups=np.array([row["groups"] for row in rows], dtype=np.int32),
        sources=Texts.from_list(row["sources"] for row in rows),
        attributes=Texts.from_list(row["attributes"] for row in rows),
        kept=kept,
    )


# --- checks ---


def _by_name(label: Label, attributes: Sequence[Item]) -> dict[str, str]:
    names = {spec.id: spec.name for spec in label.attributes}
    return {names[one["spec_id"]]: one["value"] for one in attributes if one["spec_id"] in names}


def _geometry(item: Item, kind: ShapeType, width: int, height: int) -> tuple[list[float], list[int]]:
    """(points, runs); both empty where the row has the pixels."""
    if kind == ShapeType.MASK:
        runs = [int(number) for number in _numbers(item.get("runs", []))]
        if runs:
            values = np.array(runs, dtype=np.int64)
            faults = check_runs(values, np.array([0, len(runs)], dtype=np.int64), width, height)
            need(int(faults[0]) == 0, "no runs of this frame")
        return [], runs
    if item.get("traced") is True:
        need(kind == ShapeType.POLYGON, "only polygons are traced")
        return [], []
    points = _numbers(item.get("points"))
    _check_count(kind, len(points))
    return points, []


def _check_count(kind: ShapeType, count: int) -> None:
    if kind in _N_POINTS:
        need(count == _N_POINTS[kind], "a wrong number of points")
    else:
        need(count >= _LEAST_POINTS[kind] and count % 2 == 0, "a wrong number of points")


def _list(value: Any, limit: int) -> list[Any]:
    need(isinstance(value, list) and len(value) <= limit, "no list")
    assert isinstance(value, list)
    need(all(isinstance(one, dict) for one in value), "no objects")
    return value


def _numbers(value: Any) -> list[float]:
    need(isinstance(value, list) and len(value) <= MAX_NUMBERS, "no list of numbers")
    assert isinstance(value, list)
    need(set(map(type, value)) <= {int, float}, "no number")
    # The range first: no number of any size can be turned into a float.
    need(not value or (min(value) >= -MAX_INT and max(value) <= MAX_INT), "a number out of range")
    need(all(map(math.isfinite, value)), "no number")
    return value


def _integer(item: Item, name: str, default: int, low: int) -> int:
    value = item.get(name, default)
    need(type(value) is int and low <= value <= MAX_INT, f"{name} is no integer")
    return int(value)


def _number(item: Item, name: str, default: float, low: float, high: float) -> float:
    value = item.get(name, default)
    need(type(value) in (int, float) and low <= value <= high, f"{name} is no number from {low} to {high}")
    return float(value)


def _rotation(item: Item) -> float:
    """Degrees from 0 to 360, which CVAT's clients insist on when they read: of other turns the same angle."""
    value = _number(item, "rotation", 0.0, -360_000.0, 360_000.0)
    return value if 0.0 <= value <= 360.0 else value % 360.0


def _flag(item: Item, name: str) -> bool:
    value = item.get(name, False)
    need(type(value) is bool, f"{name} is no flag")
    return bool(value)


def _text(item: Item, name: str, default: str) -> str:
    value = item.get(name, default)
    need(isinstance(value, str) and len(value) <= MAX_SOURCE, f"{name} is no text")
    return str(value)


def _frame(item: Item, frames: Mapping[str, int]) -> int:
    need(item.get("image") in frames, "no such image")
    return frames[item["image"]]
