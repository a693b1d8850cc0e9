"""The JSON of CVAT's LabeledData → Annotations, all or nothing, with the place of everything that is wrong.

One list a field (`frames = [5, 5, 6, …]`), checked as a column: the types met in it, then the values as an array. So a
body of 200,000 shapes is checked in about two seconds, and a message still says `shapes[17].points[3]`. All problems
of a step are counted and the first 100 are listed; a step that found problems is the last one.

Nothing is dropped silently: what CVAT would leave out without a word (shapes on frames outside of the task) is refused.
What is filled in: defaults of fields that are missing, and texts of attribute values that are numbers or booleans.
"""

from __future__ import annotations

import difflib
import gc
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import (
    Annotations,
    AttributeSpec,
    Kept,
    Label,
    LabelCatalog,
    Shapes,
    ShapeType,
    Tags,
    Tracks,
)
from app.api.encoding import TYPE_NAMES
from app.api.outline import NotJSON, Outline, outline
from app.columns import GrowingRagged, Ragged, Texts, dump_tight
from app.errors import InvalidInput, Problem, Report, TooLarge, shorten

MAX_INT32 = 2**31 - 1
MAX_ID = 2**63 - 1
MAX_COORDINATE = 1e7  # pixels; far outside of any picture, and small enough for every later computation
MAX_SOURCE_CHARACTERS = 256
MAX_ATTRIBUTE_CHARACTERS = 4096

TYPES = {name: kind for kind, name in TYPE_NAMES.items()}

# Numbers in `points`: at least, and a multiple of; exactly where both are the same and the type is fixed.
_EXACT = {ShapeType.RECTANGLE: 4, ShapeType.ELLIPSE: 4, ShapeType.CUBOID: 16, ShapeType.SKELETON: 0}
_AT_LEAST = {ShapeType.POLYGON: 6, ShapeType.POLYLINE: 4, ShapeType.POINTS: 2}
_MASK_AT_LEAST = 5  # one run and the box

MANY_ROWS = 500
"""Of a batch whose fields are held once where all of it says the same. To look takes 0.2 ms, a twentieth of a save of
one frame."""

LISTS = ("tags", "shapes", "tracks")
NEAR = 0.85
"""How much a name must look like that of a list to be taken for a slip."""
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")

Place = Callable[[int], str]
Objects = Sequence[dict[str, Any]]
KINDS = ("shapes", "tags", "tracks")
Mask = npt.NDArray[np.bool_]
Ints64 = npt.NDArray[np.int64]


class Frames(Protocol):
    """The frames of a task: a FrameTable, or what reads sizes only where masks ask for them."""

    @property
    def start(self) -> int: ...

    def __len__(self) -> int: ...

    def sizes(self, frames: Ints64) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Widths and heights of frames by their numbers."""


@dataclass(frozen=True, slots=True)
class JSONLimits:
    """What a body may hold at most."""

    max_body_bytes: int = 64 << 20
    max_depth: int = 64
    max_points: int = 100_000
    max_shapes: int = 200_000


class InvalidAnnotations(InvalidInput):
    """Annotations that cannot be taken; `report` lists every place."""

    code = "annotations.invalid"

    def __init__(self, report: Report) -> None:
        first, more = report.errors[0], report.n_errors - 1
        super().__init__(f"{first.message} (and {more} more)" if more else first.message, code=first.code)
        self.report = report

    def problems(self) -> Sequence[Problem]:
        return self.report.problems()


@dataclass(frozen=True, slots=True)
class Identities:
    """The ids of annotations, by kind; each (N,) int64. `frames`: those that their objects name, for a search."""

    tags: Ints64
    shapes: Ints64
    tracks: Ints64
    frames: Mapping[str, Ints64] = field(default_factory=dict)


def decode(
    body: bytes | bytearray,
    frames: Frames,
    labels: LabelCatalog,
    limits: JSONLimits,
    *,
    window: tuple[int, int] | None = None,
    need_ids: bool = False,
) -> Annotations:
    """The annotations of a LabeledData body.

    Args:
        frames: all frames of the task.
        window: the frames of the job, (start, stop) half open, that annotations may be on; a track must begin there
            and may go on beyond. None: all.
        need_ids: every annotation must carry the id of a stored one (update); else ids may be missing and are kept
            as given, 0 for none.

    Raises:
        TooLarge: the body is longer than the limit.
        InvalidAnnotations: with the place of every problem.
    """
    window = window or (frames.start, frames.start + len(frames))
    with _no_collection():
        return _Decoder(frames, window, labels, limits, need_ids).annotations(parse(body, limits))


def decode_identities(body: bytes | bytearray, limits: JSONLimits) -> Identities:
    """The ids named by a body of annotations to remove. Nothing else of the objects is looked at.

    Raises: as `decode`.
    """
    with _no_collection():
        return _identities(parse(body, limits))


def _identities(document: Outline) -> Identities:
    problems = _Problems()
    ids: dict[str, Ints64] = {}
    frames: dict[str, Ints64] = {}
    for name in KINDS:
        columns = [np.empty(0, dtype=np.int64)]
        named: set[int] = set()
        for first, values in document.entries(name):
            place = _placed(name, first)
            columns.append(
                _Fields(_objects(values, place, problems), place, problems).integers("id", low=1, high=MAX_ID)
            )
            given = (value.get("frame") for value in values if type(value) is dict)
            named |= {frame for frame in given if type(frame) is int and 0 <= frame <= MAX_INT32}
        ids[name] = np.concatenate(columns)
        frames[name] = np.array(sorted(named), dtype=np.int64)
    problems.stop()
    return Identities(**ids, frames=frames)


_collection_lock = threading.Lock()
_collection_pauses = 0


@contextmanager
def _no_collection() -> Iterator[None]:
    """No cyclic garbage collection while millions of JSON values come to be, none of them in a cycle.

    Each full collection would walk all of them: 300,000 shapes took 9.9 s with it and 2.0 s without. The caller must
    have let go of the values when the block ends, else the next collection walks them after all.
    """
    global _collection_pauses
    with _collection_lock:
        _collection_pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _collection_lock:
            _collection_pauses -= 1
            if _collection_pauses == 0:
                gc.enable()


def _is_short(name: str) -> bool:
    return len(name) <= 2 * max(map(len, LISTS))


def parse(body: bytes | bytearray, limits: JSONLimits) -> Outline:
    """The outline of the document, within the limits of size, depth and number.

    Raises: as `decode`.
    """
    if len(body) > limits.max_body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes; at most {limits.max_body_bytes} are taken")
    if _NOT_BLANK.search(body) is None:
        raise InvalidInput("the body is empty; JSON is expected", code="json.syntax")
    document = outline(body, max_depth=limits.max_depth, max_entries=limits.max_shapes)
    for name in filter(_is_short, document.root):
        # A list that is nearly called so would be dropped in silence, and a PUT of it remove everything.
        if name not in LISTS and (near := difflib.get_close_matches(name.casefold(), LISTS, 1, cutoff=NEAR)):
            raise InvalidInput(
                f"there is no such field; did you mean {near[0]}?", place=shorten(name), code="json.field"
            )
    if any(values for _, values in document.entries("intervals")):
        raise InvalidInput("intervals (of audio) are not kept here", place="intervals", code="annotations.unsupported")
    return document


class _Problems:
    """Collects what is wrong with a body."""

    def __init__(self) -> None:
        self.report = Report()

    def add(self, code: str, place: str, message: str, *, value: object = None, count: int = 1) -> None:
        text = None if value is None else shorten(value)
        self.report.add_many([Problem(code, f"{place}: {message}", column=place, value=text)], count)

    def add_rows(self, code: str, rows: Sequence[int], place: Place, message: Callable[[int], str]) -> None:
        """One problem of each of these rows: the first are listed, all are counted."""
        listed = list(rows[: self.report.room()])
        problems = [Problem(code, f"{place(row)}: {message(row)}", column=place(row)) for row in listed]
        self.report.add_many(problems, len(rows))

    def stop(self) -> None:
        """End here if anything was found."""
        if self.report.n_errors:
            raise InvalidAnnotations(self.report)


def _placed(name: str, first: int = 0) -> Place:
    """Where row i of a batch stands whose first row is entry `first` of the list."""
    return lambda row: f"{name}[{first + row}]"


def _told(value: object) -> str:
    """A value as JSON would show it."""
    if isinstance(value, NotJSON):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return shorten(repr(value) if isinstance(value, str) else value)


_MISSING: Any = NotJSON("nothing")


class _Fields:
    """The fields of many objects, one column at a time. Bad cells are noted and replaced, so that all are found."""

    def __init__(self, rows: Objects, place: Place, problems: _Problems) -> None:
        self.rows = rows
        self.place = place
        self.problems = problems

    def field_place(self, name: str) -> Place:
        return lambda row: f"{self.place(row)}.{name}"

    def cells(self, name: str, kinds: set[type], wanted: str, default: Any, filler: Any) -> list[Any]:
        """The values of one field, all of these types. `default` is for objects without it; none: it is needed."""
        values = [row.get(name, default) for row in self.rows]
        if not set(map(type, values)) <= kinds:
            bad = [row for row, value in enumerate(values) if type(value) not in kinds]

            def message(row: int) -> str:
                return (
                    f"{wanted} is missing"
                    if values[row] is _MISSING
                    else f"expected {wanted}, got {_told(values[row])}"
                )

            self.problems.add_rows("json.type", bad, self.field_place(name), message)
            values = [value if type(value) in kinds else filler for value in values]
        return values

    def integers(self, name: str, *, low: int, high: int, default: Any = _MISSING, null: int | None = None) -> Ints64:
        """Whole numbers within low..high; `null` stands for null where that may be."""
        kinds: set[type] = {int, float} if null is None else {int, float, type(None)}
        values = self.cells(name, kinds, "a whole number", default, low)
        kinds_met = set(map(type, values))
        if type(None) in kinds_met:
            values = [null if value is None else value for value in values]
        if float in kinds_met:
            bad = [row for row, value in enumerate(values) if type(value) is float and not value.is_integer()]
            self.problems.add_rows(
                "json.type", bad, self.field_place(name), lambda row: f"expected a whole number, got {values[row]}"
            )
            given = values
            values = [int(value) if value == value // 1 else low for value in given]
        if values and not (low <= min(values) and max(values) <= high):
            bad = [row for row, value in enumerate(values) if not low <= value <= high]
            shown = values
            self.problems.add_rows(
                "json.range", bad, self.field_place(name), lambda row: f"{shown[row]} is not within {low} to {high}"
            )
            values = [min(max(value, low), high) for value in values]
        return np.array(values, dtype=np.int64)

    def reals(self, name: str, *, low: float, high: float, default: float) -> npt.NDArray[np.float64]:
        values = self.cells(name, {int, float}, "a number", default, default)
        array = np.array(values, dtype=np.float64)
        bad = np.flatnonzero(~((array >= low) & (array <= high)))
        if len(bad):
            self.problems.add_rows(
                "json.range",
                bad.tolist(),
                self.field_place(name),
                lambda row: f"{values[row]} is not within {low} to {high}",
            )
        return array

    def flags(self, name: str) -> Mask:
        return np.array(self.cells(name, {bool}, "true or false", False, False), dtype=np.bool_)

    def texts(self, name: str, *, default: str, max_characters: int) -> Texts:
        values = self.cells(name, {str}, "a text", default, default)
        column = Texts.from_list(values)
        for code, value in enumerate(column.values):
            message = _bad_text(value, max_characters)
            if message:
                rows = np.flatnonzero(column.codes == code).tolist()
                self.problems.add_rows("json.text", rows, self.field_place(name), lambda _, m=message: m)  # type: ignore[misc]
        return column

    def lists(self, name: str) -> list[list[Any]]:
        return self.cells(name, {list}, "a list", [], [])


def _bad_text(value: str, max_characters: int) -> str | None:
    if "\0" in value:
        return "a text must not hold the NUL character"
    if len(value) > max_characters:
        return f"a text of {len(value)} characters; at most {max_characters} are taken"
    return None


def _check_count(count: int, limits: JSONLimits) -> None:
    if count > limits.max_shapes:
        raise InvalidInput(
            f"the body holds {count} annotations; at most {limits.max_shapes} are taken at once: send them in parts "
            "(PATCH with action=create), or import an archive",
            code="annotations.too_many",
        )


def _objects(rows: list[Any], place: Place, problems: _Problems) -> Objects:
    """The rows, if all are objects; none of them else."""
    if set(map(type, rows)) <= {dict}:
        return rows
    bad = [row for row, value in enumerate(rows) if type(value) is not dict]
    problems.add_rows("json.type", bad, place, lambda row: f"expected an object, got {_told(rows[row])}")
    return []


@dataclass(frozen=True, slots=True, eq=False)
class _Geometry:
    """What shapes, elements and the shapes of tracks have in common; N rows each. Masks too are in `points`."""

    types: npt.NDArray[np.uint8]
    occluded: Mask
    outside: Mask
    z_orders: Ints64
    rotations: npt.NDArray[np.float64]
    points: Ragged


class _Decoder:
    def __init__(
        self, frames: Frames, window: tuple[int, int], labels: LabelCatalog, limits: JSONLimits, need_ids: bool
    ) -> None:
        self.frames = frames
        self.window = window
        self.labels = labels
        self.limits = limits
        self.need_ids = need_ids
        self.problems = _Problems()

    def annotations(self, document: Outline) -> Annotations:
        """All batches of all lists; memory follows the columns, not the JSON values."""
        shapes: list[Shapes] = []
        points, runs = GrowingRagged(np.float64), GrowingRagged(np.int32)  # the most of a body, by far
        for fields in self.batches(document, "shapes"):
            part = self.shapes(fields)
            points.add(part.points)
            runs.add(part.runs)
            none = Ragged.empty(np.float64, len(part)), Ragged.empty(np.int32, len(part))
            part = part.replace(points=none[0], runs=none[1])
            shapes.append(part.with_values_once() if len(part) >= MANY_ROWS else part)
        tags = [self.tags(fields) for fields in self.batches(document, "tags")]
        tracks: list[Tracks] = []
        bodies = GrowingRagged(np.uint8)
        for fields in self.batches(document, "tracks"):
            some = self.tracks(fields)
            bodies.add(some.bodies)
            tracks.append(some.replace(bodies=Ragged.empty(np.uint8, len(some))))
        _check_count(sum(map(len, (*shapes, *tags, *tracks))), self.limits)
        joined = Shapes.concatenate(shapes).replace(points=points.column(), runs=runs.column())
        moving = Tracks.concatenate(tracks).replace(bodies=bodies.column())
        found = Annotations(joined, Tags.concatenate(tags), moving)
        if self.need_ids:
            for name, ids in (("shapes", found.shapes.ids), ("tags", found.tags.ids), ("tracks", found.tracks.ids)):
                self.check_distinct(name, ids)
        self.problems.stop()
        return found

    def batches(self, document: Outline, name: str) -> Iterator[_Fields]:
        for first, values in document.entries(name):
            place = _placed(name, first)
            yield _Fields(_objects(values, place, self.problems), place, self.problems)

    # The three tables

    def shapes(self, fields: _Fields) -> Shapes:
        ids = self.ids(fields)
        frames = self.frame_numbers(fields)
        label_ids = self.label_ids(fields)
        groups = fields.integers("group", low=0, high=MAX_INT32, default=0, null=0)
        sources = fields.texts("source", default="manual", max_characters=MAX_SOURCE_CHARACTERS)
        scores = fields.reals("score", low=0.0, high=1.0, default=1.0)
        geometry = self.geometry(fields, frames)
        attributes = self.attributes(fields, label_ids, None)
        elements = self.elements(fields, geometry.types, label_ids, frames)
        is_mask = geometry.types == ShapeType.MASK
        return Shapes(
            ids=ids,
            frames=frames.astype(np.int32),
            types=geometry.types,
            label_ids=label_ids.astype(np.int32),
            groups=groups.astype(np.int32),
            z_orders=geometry.z_orders.astype(np.int32),
            occluded=geometry.occluded,
            outside=geometry.outside,
            rotations=geometry.rotations,
            scores=scores,
            sources=sources,
            attributes=attributes,
            points=_only_rows(geometry.points, ~is_mask, np.float64),
            runs=_only_rows(geometry.points, is_mask, np.int32),
            elements=elements,
            kept=Kept.empty(len(fields.rows)),
        )

    def tags(self, fields: _Fields) -> Tags:
        label_ids = self.label_ids(fields)
        return Tags(
            ids=self.ids(fields),
            frames=self.frame_numbers(fields).astype(np.int32),
            label_ids=label_ids.astype(np.int32),
            groups=fields.integers("group", low=0, high=MAX_INT32, default=0, null=0).astype(np.int32),
            sources=fields.texts("source", default="manual", max_characters=MAX_SOURCE_CHARACTERS),
            attributes=self.attributes(fields, label_ids, None),
            kept=Kept.empty(len(fields.rows)),
        )

    def tracks(self, fields: _Fields) -> Tracks:
        label_ids = self.label_ids(fields)
        shapes = self.track_shapes(fields, label_ids)
        elements, element_label_ids, parents = self.children(fields, label_ids, fields.lists("elements"))
        element_shapes = self.track_shapes(elements, element_label_ids)
        element_sources = elements.texts("source", default="manual", max_characters=MAX_SOURCE_CHARACTERS)
        element_groups = elements.integers("group", low=0, high=MAX_INT32, default=0, null=0)
        element_attributes = self.attributes(elements, element_label_ids, False)
        element_frames = elements.integers("frame", low=0, high=MAX_INT32, default=0)
        bodies: list[dict[str, list[Any]]] = [{"shapes": shapes_of_track, "elements": []} for shapes_of_track in shapes]
        for row, (parent, shapes_of_element) in enumerate(zip(parents, element_shapes, strict=True)):
            first = shapes_of_element[0]["frame"] if shapes_of_element else int(element_frames[row])
            bodies[parent]["elements"].append(
                {
                    "frame": first,
                    "label_id": int(element_label_ids[row]),
                    "group": int(element_groups[row]),
                    "source": element_sources.row(row),
                    "attributes": orjson.loads(element_attributes.row(row)),
                    "shapes": shapes_of_element,
                }
            )
        empty = [row for row, shapes_of_track in enumerate(shapes) if not shapes_of_track]
        self.problems.add_rows(
            "annotations.track", empty, fields.field_place("shapes"), lambda _: "a track needs at least one shape"
        )
        return Tracks(
            ids=self.ids(fields),
            frames=self.frame_numbers(fields).astype(np.int32),
            label_ids=label_ids.astype(np.int32),
            groups=fields.integers("group", low=0, high=MAX_INT32, default=0, null=0).astype(np.int32),
            sources=fields.texts("source", default="manual", max_characters=MAX_SOURCE_CHARACTERS),
            attributes=self.attributes(fields, label_ids, False),
            bodies=Ragged.from_bytes([dump_tight(body) for body in bodies]),
        )

    # Fields that several tables have

    def ids(self, fields: _Fields) -> Ints64:
        if self.need_ids:
            return fields.integers("id", low=1, high=MAX_ID)
        return fields.integers("id", low=0, high=MAX_ID, default=0, null=0)

    def check_distinct(self, name: str, ids: Ints64) -> None:
        """Of two changes of one annotation, which would be meant?"""
        _, first = np.unique(ids, return_index=True)
        is_first = np.zeros(len(ids), dtype=np.bool_)
        is_first[first] = True
        again = np.flatnonzero(~is_first).tolist()
        self.problems.add_rows(
            "annotations.duplicate", again, lambda row: f"{name}[{row}].id", lambda row: f"{ids[row]} is named twice"
        )

    def numbers(self, fields: _Fields, name: str) -> tuple[Ints64, bool]:
        """Whole numbers, and whether all of them are such (else a search for them would only repeat the complaint)."""
        before = self.problems.report.n_errors
        numbers = fields.integers(name, low=-MAX_INT32, high=MAX_INT32)
        return numbers, self.problems.report.n_errors == before

    def frame_numbers(self, fields: _Fields, window: tuple[int, int] | None = None) -> Ints64:
        """Frame numbers within the window; others are refused, never dropped."""
        numbers, are_numbers = self.numbers(fields, "frame")
        start, stop = window or self.window
        bad = np.flatnonzero((numbers < start) | (numbers >= stop)).tolist() if are_numbers else []
        self.problems.add_rows(
            "annotations.frame",
            bad,
            fields.field_place("frame"),
            lambda row: f"there is no frame {numbers[row]} here; frames are {start} to {stop - 1}",
        )
        return numbers

    def label_ids(self, fields: _Fields) -> Ints64:
        """Top-level labels of the task; parts of a skeleton stand in `elements` only."""
        label_ids, are_numbers = self.numbers(fields, "label_id")
        if not are_numbers:
            return label_ids
        known = self.labels.top_ids
        at = np.searchsorted(known[:-1], label_ids)  # without the last, so that each has a place there
        bad = np.flatnonzero(known[at] != label_ids).tolist() if len(known) else list(range(len(label_ids)))

        def message(row: int) -> str:
            label = self.labels.by_id.get(int(label_ids[row]))
            if label is not None:
                return f"label {label.id} ({label.name}) is a part of a skeleton; it can stand in elements only"
            return f"the task has no label with the id {label_ids[row]}"

        self.problems.add_rows("annotations.label", bad, fields.field_place("label_id"), message)
        return label_ids

    def geometry(self, fields: _Fields, frames: Ints64) -> _Geometry:
        types = self.types(fields)
        points = self.points(fields, types)
        self.check_lengths(fields, types, points)
        is_mask = types == ShapeType.MASK
        self.check_coordinates(fields, points, is_mask)
        self.check_masks(fields, frames, points, is_mask)
        return _Geometry(
            types=types,
            occluded=fields.flags("occluded"),
            outside=fields.flags("outside"),
            z_orders=fields.integers("z_order", low=-MAX_INT32, high=MAX_INT32, default=0),
            rotations=fields.reals("rotation", low=0.0, high=360.0, default=0.0),
            points=points,
        )

    def types(self, fields: _Fields) -> npt.NDArray[np.uint8]:
        names = fields.cells("type", {str}, "a shape type", _MISSING, "rectangle")
        codes = [TYPES.get(name, -1) for name in names]
        if codes and min(codes) < 0:
            bad = [row for row, code in enumerate(codes) if code < 0]
            wanted = ", ".join(TYPES)
            self.problems.add_rows(
                "annotations.type",
                bad,
                fields.field_place("type"),
                lambda row: f"{_told(names[row])} is no shape type; there are {wanted}",
            )
        return np.array(codes, dtype=np.int64).astype(np.uint8)

    def points(self, fields: _Fields, types: npt.NDArray[np.uint8]) -> Ragged:
        lists = fields.lists("points")
        lengths = np.array(list(map(len, lists)), dtype=np.int64)  # (N,)
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        flat = list(chain.from_iterable(lists))
        if not set(map(type, flat)) <= {int, float}:
            bad = [index for index, value in enumerate(flat) if type(value) not in (int, float)]
            shown = flat
            self.problems.add_rows(
                "json.type",
                bad,
                _number_place(fields, offsets),
                lambda index: f"expected a number, got {_told(shown[index])}",
            )
            flat = [value if type(value) in (int, float) else 0.0 for value in flat]
        return Ragged(np.array(flat, dtype=np.float64), offsets)

    # Checks of geometry

    def check_lengths(self, fields: _Fields, types: npt.NDArray[np.uint8], points: Ragged) -> None:
        lengths = points.lengths
        bad = lengths > self.limits.max_points
        for kind, exact in _EXACT.items():
            bad |= (types == kind) & (lengths != exact)
        for kind, least in _AT_LEAST.items():
            bad |= (types == kind) & ((lengths < least) | (lengths % 2 == 1))
        bad |= (types == ShapeType.MASK) & (lengths < _MASK_AT_LEAST)

        def message(row: int) -> str:
            length = int(lengths[row])
            if length > self.limits.max_points:
                return f"{length} numbers; at most {self.limits.max_points} are taken"
            kind = ShapeType(int(types[row]))
            if kind in _EXACT:
                article = "an" if TYPE_NAMES[kind] == "ellipse" else "a"
                return f"{article} {TYPE_NAMES[kind]} has {_EXACT[kind]} numbers, got {length}"
            if kind is ShapeType.MASK:
                return f"a mask has runs and the four numbers of its box, got {length} numbers"
            return f"a {TYPE_NAMES[kind]} has an even number of at least {_AT_LEAST[kind]} numbers, got {length}"

        self.problems.add_rows(
            "annotations.points", np.flatnonzero(bad).tolist(), fields.field_place("points"), message
        )

    def check_coordinates(self, fields: _Fields, points: Ragged, is_mask: Mask) -> None:
        of_mask = np.repeat(is_mask, points.lengths)  # (M,)
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(points.values) <= np.where(of_mask, MAX_INT32, MAX_COORDINATE))
            bad |= of_mask & (points.values != np.floor(points.values))

        def message(index: int) -> str:
            value = points.values[index]
            return f"{value} is not a whole number" if of_mask[index] else f"{value} is too far outside of any picture"

        self.problems.add_rows(
            "json.range", np.flatnonzero(bad).tolist(), _number_place(fields, points.offsets), message
        )

    def check_masks(self, fields: _Fields, frames: Ints64, points: Ragged, is_mask: Mask) -> None:
        """Runs are lengths, fill their box, and the box lies within the picture."""
        rows = np.flatnonzero(is_mask & (points.lengths >= _MASK_AT_LEAST))
        if len(rows) == 0:
            return
        masks = points.take(rows)
        ends = masks.offsets[1:]
        boxes = masks.values[ends[:, None] + np.arange(-4, 0)]  # (K, 4) left, top, right, bottom, inclusive
        is_run = np.ones(len(masks.values), dtype=np.bool_)
        is_run[(ends[:, None] + np.arange(-4, 0)).ravel()] = False
        negative = np.flatnonzero(is_run & (masks.values < 0))
        self.problems.add_rows(
            "annotations.mask",
            negative.tolist(),
            lambda index: _number_place(fields, masks.offsets, rows)(index),
            lambda index: f"a run cannot be {masks.values[index]:g} pixels long",
        )
        left, top, right, bottom = boxes.T
        with np.errstate(over="ignore"):  # numbers of any size may stand there
            sums = np.add.reduceat(np.where(is_run, masks.values, 0.0), masks.offsets[:-1])  # (K,)
            areas = (right - left + 1) * (bottom - top + 1)
        bad = (sums != areas) | (right < left) | (bottom < top)
        self.problems.add_rows(
            "annotations.mask",
            np.flatnonzero(bad).tolist(),
            lambda k: fields.field_place("points")(int(rows[k])),
            lambda k: f"the runs add up to {sums[k]:g} pixels, the box has {max(areas[k], 0.0):g}",
        )
        if len(self.frames) == 0:
            return
        # A number that is no frame's was found out before.
        first = self.frames.start
        widths, heights = self.frames.sizes(np.clip(frames[rows], first, first + len(self.frames) - 1))
        outside = (left < 0) | (top < 0) | (right >= widths) | (bottom >= heights)
        outside &= ~bad & (widths > 0) & (heights > 0)
        self.problems.add_rows(
            "annotations.mask",
            np.flatnonzero(outside).tolist(),
            lambda k: fields.field_place("points")(int(rows[k])),
            lambda k: (
                f"the box {left[k]:g}, {top[k]:g}, {right[k]:g}, {bottom[k]:g} leaves the picture "
                f"of {widths[k]} x {heights[k]} pixels"
            ),
        )

    # Attributes

    def attributes(self, fields: _Fields, label_ids: Ints64, mutable: bool | None) -> Texts:
        """Texts of the values that were given; each distinct list of a label is looked at once."""
        lists = fields.lists("attributes")
        known: dict[tuple[int, bytes], int] = {}
        dump, empty = dump_tight, b"[]"
        keys = [
            (label_id, dump(given, default=repr) if given else empty)
            for label_id, given in zip(label_ids.tolist(), lists, strict=True)
        ]
        codes = np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int32)
        first_rows = np.zeros(len(known), dtype=np.int64)
        first_rows[codes[::-1]] = np.arange(len(codes), dtype=np.int64)[::-1]
        counts = np.bincount(codes, minlength=len(known))
        texts: dict[str, int] = {}
        mapping = np.zeros(len(known), dtype=np.int32)
        for (label_id, _), code in known.items():
            row = int(first_rows[code])
            place = f"{fields.place(row)}.attributes"
            text = self.attribute_text(lists[row], self.labels.by_id.get(label_id), place, mutable, int(counts[code]))
            mapping[code] = texts.setdefault(text, len(texts))
        return Texts(mapping[codes], tuple(texts) or ("[]",))

    def attribute_text(
        self, given: list[Any], label: Label | None, place: str, mutable: bool | None, count: int
    ) -> str:
        """`[{"spec_id":3,"value":"left"},…]` in ascending spec_id; `count` rows say the same."""
        if not given or label is None:
            return "[]"
        specs = {spec.id: spec for spec in label.attributes}
        values: dict[int, str] = {}
        for index, entry in enumerate(given):
            message = self.attribute_problem(entry, specs, values, label, mutable)
            if message:
                self.problems.add("annotations.attribute", f"{place}[{index}]", message, count=count)
            else:
                values[entry["spec_id"]] = attribute_value(entry["value"])
        return orjson.dumps([{"spec_id": spec_id, "value": values[spec_id]} for spec_id in sorted(values)]).decode()

    def attribute_problem(
        self, entry: Any, specs: dict[int, AttributeSpec], values: dict[int, str], label: Label, mutable: bool | None
    ) -> str | None:
        if type(entry) is not dict:
            return f"expected an object with spec_id and value, got {_told(entry)}"
        spec_id, value = entry.get("spec_id", _MISSING), entry.get("value", _MISSING)
        if type(spec_id) is not int:
            return (
                "spec_id is missing"
                if spec_id is _MISSING
                else f"spec_id: expected a whole number, got {_told(spec_id)}"
            )
        if spec_id not in specs:
            return f"the label {label.name} has no attribute with the spec_id {spec_id}"
        if mutable is not None and specs[spec_id].mutable != mutable:
            where = "the shapes of the track" if specs[spec_id].mutable else "the track itself"
            return f"the attribute {specs[spec_id].name} belongs to {where}"
        if spec_id in values:
            return f"the attribute {specs[spec_id].name} is named twice"
        if type(value) not in (str, bool, int, float):
            return "value is missing" if value is _MISSING else f"value: expected a text, got {_told(value)}"
        return _bad_text(attribute_value(value), MAX_ATTRIBUTE_CHARACTERS)

    # What skeletons and tracks hold

    def children(
        self, fields: _Fields, label_ids: Ints64, lists: Sequence[list[Any]]
    ) -> tuple[_Fields, Ints64, list[int]]:
        """The elements of all rows as one list: their fields, labels (parts of the parent's) and parents' rows."""
        rows, parents, starts = _flatten(lists)

        def place(row: int) -> str:
            return f"{fields.place(parents[row])}.elements[{row - starts[parents[row]]}]"

        _check_count(len(rows), self.limits)
        elements = _Fields(_objects(rows, place, self.problems), place, self.problems)
        parents = parents[: len(elements.rows)]
        element_label_ids, are_numbers = self.numbers(elements, "label_id")
        parent_labels = label_ids.tolist()
        parts = {
            label_id: {part.id for part in self.labels.by_id[label_id].sublabels}
            for label_id in (set(parent_labels) if rows else ())
            if label_id in self.labels.by_id
        }
        bad = [
            row
            for row, (label_id, parent) in enumerate(zip(element_label_ids.tolist(), parents, strict=True))
            if are_numbers and label_id not in parts.get(parent_labels[parent], ())
        ]
        self.problems.add_rows(
            "annotations.label",
            bad,
            elements.field_place("label_id"),
            lambda row: f"label {element_label_ids[row]} is no part of the label {parent_labels[parents[row]]}",
        )
        nested = [row for row, within in enumerate(elements.lists("elements")) if within]
        self.problems.add_rows(
            "annotations.elements",
            nested,
            elements.field_place("elements"),
            lambda _: "elements have no elements",
        )
        return elements, element_label_ids, parents

    def elements(self, fields: _Fields, types: npt.NDArray[np.uint8], label_ids: Ints64, frames: Ints64) -> Ragged:
        """The texts of skeletons' elements; empty for every other type."""
        lists = fields.lists("elements")
        if not (types == ShapeType.SKELETON).any() and not any(lists):
            return Ragged.empty(np.uint8, len(fields.rows))
        elements, element_label_ids, parents = self.children(fields, label_ids, lists)
        not_skeleton = sorted({parent for parent in parents if types[parent] != ShapeType.SKELETON})
        self.problems.add_rows(
            "annotations.elements",
            not_skeleton,
            fields.field_place("elements"),
            lambda _: "only skeletons have elements",
        )
        parent_frames = frames[np.array(parents, dtype=np.int64)] if parents else np.empty(0, dtype=np.int64)
        geometry = self.geometry(elements, parent_frames)
        self.check_element_types(elements, geometry)
        given_frames = elements.integers("frame", low=-1, high=MAX_INT32, default=-1)
        elsewhere = np.flatnonzero((given_frames != -1) & (given_frames != parent_frames)).tolist()
        self.problems.add_rows(
            "annotations.frame",
            elsewhere,
            elements.field_place("frame"),
            lambda row: f"frame {given_frames[row]}, but its skeleton is on frame {parent_frames[row]}",
        )
        sources = elements.texts("source", default="manual", max_characters=MAX_SOURCE_CHARACTERS)
        groups = elements.integers("group", low=0, high=MAX_INT32, default=0, null=0)
        attributes = self.attributes(elements, element_label_ids, None)
        described = _describe(geometry, attributes)
        listed: list[list[dict[str, Any]]] = [[] for _ in fields.rows]
        for row, parent in enumerate(parents):
            described[row] |= {
                "frame": int(parent_frames[row]),
                "label_id": int(element_label_ids[row]),
                "group": int(groups[row]),
                "source": sources.row(row),
            }
            listed[parent].append(described[row])
        if not (types == ShapeType.SKELETON).any():
            return Ragged.empty(np.uint8, len(fields.rows))
        is_skeleton = (types == ShapeType.SKELETON).tolist()
        return Ragged.from_bytes(
            [dump_tight(own) if wanted else b"" for own, wanted in zip(listed, is_skeleton, strict=True)]
        )

    def track_shapes(self, fields: _Fields, label_ids: Ints64) -> list[list[dict[str, Any]]]:
        """The shapes of each track (or element of one), ready to be stored, in order of frames."""
        lists = fields.lists("shapes")
        rows, parents, starts = _flatten(lists)

        def place(row: int) -> str:
            return f"{fields.place(parents[row])}.shapes[{row - starts[parents[row]]}]"

        _check_count(len(rows), self.limits)
        shapes = _Fields(_objects(rows, place, self.problems), place, self.problems)
        parents = parents[: len(shapes.rows)]
        frames = self.frame_numbers(shapes, (self.frames.start, self.frames.start + len(self.frames)))
        geometry = self.geometry(shapes, frames)
        labels_of_shapes = label_ids[np.array(parents, dtype=np.int64)] if parents else np.empty(0, dtype=np.int64)
        attributes = self.attributes(shapes, labels_of_shapes, True)
        described = _describe(geometry, attributes)
        by_frame: list[dict[int, dict[str, Any]]] = [{} for _ in fields.rows]
        for row, (parent, frame) in enumerate(zip(parents, frames.tolist(), strict=True)):
            if frame in by_frame[parent]:
                self.problems.add("annotations.track", f"{place(row)}.frame", f"a second shape on frame {frame}")
            described[row]["frame"] = frame
            by_frame[parent][frame] = described[row]
        return [[own[frame] for frame in sorted(own)] for own in by_frame]

    def check_element_types(self, elements: _Fields, geometry: _Geometry) -> None:
        bad = np.flatnonzero(geometry.types == ShapeType.SKELETON).tolist()
        self.problems.add_rows(
            "annotations.elements",
            bad,
            elements.field_place("type"),
            lambda _: "no part of a skeleton is a skeleton",
        )


def attribute_value(value: str | bool | int | float) -> str:
    """The text that stands for a value: CVAT's values are all texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode()


def _number_place(fields: _Fields, offsets: Ints64, rows: Ints64 | None = None) -> Place:
    """Where the number at an index of a flat list stands; `rows` if the list holds chosen rows only."""

    def place(index: int) -> str:
        k = int(np.searchsorted(offsets, index, side="right")) - 1
        row = k if rows is None else int(rows[k])
        return f"{fields.place(row)}.points[{index - int(offsets[k])}]"

    return place


def _flatten(lists: Iterable[list[Any]]) -> tuple[list[Any], list[int], list[int]]:
    """All entries; the index of the list that each came from; where each list begins."""
    entries: list[Any] = []
    parents: list[int] = []
    starts: list[int] = []
    for parent, entries_of_parent in enumerate(lists):
        starts.append(len(entries))
        if entries_of_parent:
            entries += entries_of_parent
            parents += [parent] * len(entries_of_parent)
    return entries, parents, starts


def _only_rows(column: Ragged, rows: Mask, dtype: npt.DTypeLike) -> Ragged:
    """The column with every other row empty."""
    lengths = np.where(rows, column.lengths, 0)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    with np.errstate(invalid="ignore"):
        values = column.values[np.repeat(rows, column.lengths)].astype(dtype)
    return Ragged(values, offsets)


def _describe(geometry: _Geometry, attributes: Texts) -> list[dict[str, Any]]:
    """One object a row, as LabeledData spells it, for what is stored as JSON text."""
    ends = geometry.points.offsets.tolist()
    # What lies beyond was found out before (`check_coordinates`), and only has to be a number that JSON can hold.
    values = np.clip(geometry.points.values, -MAX_INT32, MAX_INT32).tolist()
    parsed = [orjson.loads(text) for text in attributes.values]
    columns = zip(
        geometry.types.tolist(),
        geometry.occluded.tolist(),
        geometry.outside.tolist(),
        geometry.z_orders.tolist(),
        geometry.rotations.tolist(),
        ends[:-1],
        ends[1:],
        attributes.codes.tolist(),
        strict=True,
    )
    names = [name for _, name in sorted((kind.value, name) for kind, name in TYPE_NAMES.items())]
    return [
        {
            "type": names[kind] if kind < len(names) else "",
            "occluded": occluded,
            "outside": outside,
            "z_order": z_order,
            "rotation": rotation,
            "points": [int(v) for v in values[start:stop]] if kind == ShapeType.MASK else values[start:stop],
            "attributes": parsed[code],
        }
        for kind, occluded, outside, z_order, rotation, start, stop, code in columns
    ]
