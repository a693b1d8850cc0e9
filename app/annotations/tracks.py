"""Tracks to the shapes one sees: interpolation between key frames as CVAT does it.

    key frames   3: x=0        7: x=8            9: outside, x=8
    frames       3  4  5  6    7  8              (nothing from 9 on)
    x            0  2  4  6    8  8

- A key frame holds until the next one; the last one until the end of the task. After an outside key frame nothing is
  shown, up to the next key frame that is not outside.
- Rectangles, ellipses, cuboids and single points move in a straight line; rotation turns the shorter way round.
- Polygons and polylines: points are matched by how far along the outline they lie (each to the nearest, those left over
  to their nearest), matched pairs move in a straight line, and where several points run together or apart, those too
  close to each other are left out, so the outline does not gather points.
- Several points, masks, and neighbours of different types hold.
- Attributes, occluded and z-order are those of the latest key frame; an attribute not set there keeps its last value.
- A skeleton's elements are tracks of their own; its shape shows all of them on each of its frames, outside ones marked.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations.tables import Shapes, ShapeType, Tracks
from app.columns import Ragged, Texts, among, distinct
from app.errors import Damaged

Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Frames = npt.NDArray[np.integer[Any]]

STRAIGHT = (ShapeType.RECTANGLE, ShapeType.ELLIPSE, ShapeType.CUBOID)
TURNING = (ShapeType.RECTANGLE, ShapeType.ELLIPSE)
OUTLINES = ("polygon", "polyline")
CHUNK_POINTS = 1 << 18
"""Interpolated points held at once."""
TRACKS_AT_ONCE = 1024
"""Tracks whose key frames are held at once."""
ROWS_AT_ONCE, ROWS_A_STRETCH = 50_000, 8_000
"""Shapes of tracks held at once, some 300 bytes each and their points, and those handed out at once."""
NO_FRAMES = np.empty(0, dtype=np.int64)


def expand_tracks(tracks: Tracks, start: int, stop: int) -> Shapes:
    """The visible shape of every track on every frame of start..stop (exclusive), in order of track, then frame.

    Args:
        tracks: bodies as CVAT's LabeledData (`shapes`, `elements`).
        start, stop: frame numbers of the task; the last key frame of a track holds until `stop`.

    Returns:
        One row a visible frame: ids 0, the track's label, group and source, its immutable attributes joined with the
        mutable ones of the latest key frame (ascending spec_id), `kept` empty. Frames where the track is outside have
        no row.

    Raises:
        Damaged: a body that is not JSON of this form.
    """
    shapes = _expand_rows(tracks, np.arange(len(tracks)), start, stop)
    return shapes.replace(ids=np.zeros(len(shapes), dtype=np.int64))


def _expand_rows(tracks: Tracks, rows: Ints, start: int, stop: int) -> Shapes:
    """The same of these tracks; ids are -1 - the track's row."""
    parts = [Shapes.empty()]
    for first in range(0, len(rows), TRACKS_AT_ONCE):
        parts.append(_expand_some(tracks, rows[first : first + TRACKS_AT_ONCE].tolist(), start, stop))
    return Shapes.concatenate(parts)


def _expand_some(tracks: Tracks, rows: Sequence[int], start: int, stop: int) -> Shapes:
    """Nearly all tracks together; those whose outlines change, and skeletons, one by one."""
    together, texts = _KeyLists(), _AttributeTexts()
    tables: list[Shapes] = []
    for row in rows:
        with _reading(tracks, row):
            body = orjson.loads(tracks.bodies.row_bytes(row))
            keys = _ordered(body.get("shapes") or [])
            immutable = texts.values(tracks.attributes.row(row))
            if _is_alone([str(key["type"]) for key in keys]):
                shapes = _expand(tracks, row, body, immutable, start, stop)
                tables.append(shapes.replace(ids=np.full(len(shapes), -1 - row, dtype=np.int64)))
            else:
                together.add(row, keys, immutable)
    several = together.expand(tracks, start, stop)
    if not tables:
        return several
    shapes = Shapes.concatenate([several, *tables])
    return shapes.take(np.argsort(-shapes.ids, kind="stable"))


@contextmanager
def _reading(tracks: Tracks, row: int) -> Iterator[None]:
    """Raises Damaged where a body has not the form that it should have."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"track {int(tracks.ids[row])} cannot be read: {error!r}") from error


class MovingShapes:
    """The shapes of many tracks, expanded some frames at a time: together they may be many times what is stored.

        frames     0 1 2 3 4 5 6 7 8 9
        rows       . 2 3 9 8 3 3 1 1 .      tracks that show on each frame, known from the key frames
        windows    └─────┘└─┘└───────┘      so many rows at most, but one frame at least; one is held

    A frame of many plain boxes, in no group, comes in parts, for nobody cares what else such a frame has.

    `len()`: all rows. `tracks`: those it was given.
    """

    def __init__(self, tracks: Tracks, start: int, stop: int) -> None:
        """Raises Damaged, as `expand_tracks`."""
        self.tracks, self._start, self._stop = tracks, start, stop
        self._rows, self._firsts, self._ends, is_plain = _spans(tracks, start, stop)
        # Where no track shows, frames need not be counted: a task may have millions, and most have no track.
        n = max(0, stop - start) + 1 if len(self._rows) else 1
        # (frames + 1,) each: tracks on a frame, whether all of them are plain, and rows of the frames before it
        self._shown = self._count(np.ones(len(self._rows), dtype=np.bool_), n)
        self._is_plain = self._count(~is_plain[self._rows], n) == 0
        self._before = np.concatenate([[0], np.cumsum(self._shown[:-1], dtype=np.int64)])
        self._held: tuple[int, int, Shapes] | None = None

    def _count(self, wanted: npt.NDArray[np.bool_], n: int) -> npt.NDArray[np.int32]:
        begun, ended = (np.bincount(edges[wanted] - self._start, minlength=n) for edges in (self._firsts, self._ends))
        return np.cumsum(begun - ended, dtype=np.int32)

    def __len__(self) -> int:
        return int(self._before[-1])

    def count_on(self, wanted: npt.NDArray[np.bool_]) -> int:
        """The rows on those frames alone, of start to stop (N,)."""
        return int(self._shown[:-1][wanted].sum()) if len(self) else 0

    def between(self, first: int, stop: int, whole: Frames = NO_FRAMES) -> Iterator[tuple[int, int, Shapes]]:
        """(first frame, last frame + 1, shapes) of stretches of frames that follow each other, from `first` to `stop`;
        by frame, then by track. Ids are -1 - the track's row. A stretch has a few thousand shapes, or one frame that
        cannot come in parts; such a part is a stretch of the same frame.

        Args:
            whole: frames that may not come in parts.
        """
        if not len(self):
            if first < stop:
                yield first, stop, Shapes.empty()
            return
        while first < stop:
            at = first - self._start
            may_be_cut = bool(self._is_plain[at]) and first not in whole
            if may_be_cut and self._shown[at] > ROWS_AT_ONCE:
                rows = self._rows_between(first, first + 1)
                for some in range(0, len(rows), ROWS_A_STRETCH):
                    part = rows[some : some + ROWS_A_STRETCH]
                    yield first, first + 1, _expand_rows(self.tracks, part, first, first + 1)
                first += 1
                continue
            _, window_end, shapes = self._window(first)
            end = min(self._end(first, ROWS_A_STRETCH), window_end, stop)
            places = np.searchsorted(shapes.frames, (first, end)).tolist()
            step = ROWS_A_STRETCH if may_be_cut and end == first + 1 else len(shapes)
            for place in range(places[0], max(places[1], places[0] + 1), max(step, 1)):
                yield first, end, shapes.slice(place, min(place + step, places[1]))
            first = end

    def _window(self, frame: int) -> tuple[int, int, Shapes]:
        if self._held is None or not self._held[0] <= frame < self._held[1]:
            self._held = None  # before the next one is made
            end = self._end(frame, ROWS_AT_ONCE)
            shapes = _expand_rows(self.tracks, self._rows_between(frame, end), frame, end)
            self._held = frame, end, shapes.take(np.argsort(shapes.frames, kind="stable"))
        return self._held

    def _rows_between(self, first: int, end: int) -> Ints:
        """The tracks that show there."""
        return distinct(self._rows[(self._firsts < end) & (self._ends > first)])

    def _end(self, frame: int, most: int) -> int:
        """Where a stretch of frames ends that begins here and has so many rows at most, but one frame at least."""
        until = self._before[frame - self._start] + most
        end = self._start + int(np.searchsorted(self._before, until, side="right")) - 1
        return min(max(end, frame + 1), self._stop)


def shapes_between(shapes: Shapes, first: int, stop: int) -> Shapes:
    """Shapes of frames first to stop (exclusive); they ascend."""
    places = np.searchsorted(shapes.frames, (first, stop))
    return shapes.slice(int(places[0]), int(places[1]))


def _spans(tracks: Tracks, start: int, stop: int) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """(S,) each: the track's row, the first frame and the end (exclusive) of each stretch of start..stop on which a
    track shows. (N,) bool: the track is a box that is not turned, in no group."""
    rows, firsts, ends, plain = array("q"), array("q"), array("q"), bytearray()
    for row, group in enumerate(tracks.groups.tolist()):
        with _reading(tracks, row):
            ordered = _ordered(orjson.loads(tracks.bodies.row_bytes(row)).get("shapes") or [])
            keys = [(int(shape["frame"]), bool(shape.get("outside"))) for shape in ordered]
            plain.append(not group and all(key["type"] == "rectangle" and not key.get("rotation") for key in ordered))
        for (frame, is_outside), (until, _) in pairwise([*keys, (stop, True)]):
            first, end = max(frame, start), min(until, stop)
            if is_outside or first >= end:
                continue
            if rows and rows[-1] == row and ends[-1] == first:
                ends[-1] = end
            else:
                rows.append(row)
                firsts.append(first)
                ends.append(end)
    columns = (np.frombuffer(column, dtype=np.int64) for column in (rows, firsts, ends))
    return (*columns, np.frombuffer(plain, dtype=np.bool_))  # type: ignore[return-value]


def _ordered(shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Key frames in their order; of two on one frame the later one."""
    if len(shapes) < 2:
        return list(shapes)
    return [shape for _, shape in sorted({int(shape["frame"]): shape for shape in shapes}.items())]


def _is_alone(kinds: Sequence[str]) -> bool:
    """Whether key frames of these types need more than straight lines between numbers."""
    return "skeleton" in kinds or any(one == other and one in OUTLINES for one, other in pairwise(kinds))


class _AttributeTexts:
    """The attributes of key frames, of which most are alike."""

    def __init__(self) -> None:
        self._read: dict[str, dict[int, str]] = {"[]": {}}

    def values(self, text: str) -> dict[int, str]:
        """Of a track's own attributes."""
        known = self._read.get(text)
        if known is None:
            known = self._read[text] = _values(orjson.loads(text))
        return known


class _KeyLists:
    """The key frames of some tracks, one behind the other, and whose they are: K in all."""

    def __init__(self) -> None:
        self._rows, self._frames, self._z_orders = array("q"), array("q"), array("i")
        self._types, self._outside, self._occluded = bytearray(), bytearray(), bytearray()
        self._rotations, self._points, self._ends = array("d"), array("d"), array("q", [0])
        self._attributes: list[str] = []

    def add(self, row: int, keys: Sequence[dict[str, Any]], immutable: dict[int, str]) -> None:
        """One track's, in order."""
        mutable: dict[int, str] = {}
        for key in keys:
            if key.get("attributes"):
                mutable = mutable | _values(key["attributes"])
            self._rows.append(row)
            self._frames.append(int(key["frame"]))
            self._types.append(ShapeType[key["type"].upper()])
            self._outside.append(bool(key.get("outside")))
            self._occluded.append(bool(key.get("occluded")))
            self._z_orders.append(key.get("z_order") or 0)
            self._rotations.append(key.get("rotation") or 0.0)
            self._points.extend(key.get("points") or ())
            self._ends.append(len(self._points))
            self._attributes.append(_attributes(immutable, mutable))

    def expand(self, tracks: Tracks, start: int, stop: int) -> Shapes:
        """Their shapes on start..stop, by track, then by frame."""
        if not self._rows:
            return Shapes.empty()
        rows, frames = (np.frombuffer(column, dtype=np.int64) for column in (self._rows, self._frames))
        types = np.frombuffer(self._types, dtype=np.uint8)
        points = Ragged(np.frombuffer(self._points, dtype=np.float64), np.frombuffer(self._ends, dtype=np.int64))
        has_next = np.append(rows[1:] == rows[:-1], False)  # (K,)
        following = np.arange(len(rows)) + has_next  # (K,) the track's next key frame, or the same one
        firsts = np.maximum(frames, start)
        ends = np.minimum(np.where(has_next, frames[following], stop), stop)
        outside = np.frombuffer(self._outside, dtype=np.bool_)
        counts = np.where(outside, 0, np.maximum(ends - firsts, 0))  # (K,) frames on which each holds
        held = np.repeat(np.arange(len(rows)), counts)  # (F,)
        begins = np.cumsum(counts) - counts
        shown = firsts[held] + np.arange(len(held)) - begins[held]  # (F,)

        rotations = np.frombuffer(self._rotations, dtype=np.float64)
        n_points = points.lengths
        alike = has_next & (types == types[following])
        straight = among(types, STRAIGHT) | ((types == ShapeType.POINTS) & (n_points == 2))
        moves = alike & straight & (n_points == n_points[following])
        placed, turned = points.take(held), rotations[held]
        moving = np.flatnonzero((alike & among(types, (*STRAIGHT, ShapeType.POINTS)))[held])
        if len(moving):
            keys = held[moving]
            offsets = (shown[moving] - frames[keys]) / (frames[following[keys]] - frames[keys])  # 0..1
            turns = among(types[keys], TURNING)
            turned[moving[turns]] = _turn(rotations[keys[turns]], rotations[following[keys[turns]]], offsets[turns])
            going = moves[keys]
            placed = _moved(placed, moving[going], points.take(following[keys[going]]), offsets[going])
        is_mask = types[held] == ShapeType.MASK
        of = rows[held]
        return Shapes.empty(len(held)).replace(
            ids=-1 - of,
            frames=shown.astype(np.int32),
            types=types[held],
            label_ids=tracks.label_ids[of],
            groups=tracks.groups[of],
            z_orders=np.frombuffer(self._z_orders, dtype=np.int32)[held],
            occluded=np.frombuffer(self._occluded, dtype=np.bool_)[held],
            rotations=turned,
            sources=tracks.sources.take(of).compact(),
            attributes=Texts.from_list(self._attributes).take(held).compact(),
            points=_rows_where(placed, ~is_mask, np.float64),
            runs=_rows_where(placed, is_mask, np.int32),
        )


def _moved(points: Ragged, rows: Ints, targets: Ragged, offsets: Points) -> Ragged:
    """The points of some rows on their way to others of the same number; offset 0 leaves them as they stand."""
    wanted = np.zeros(len(points), dtype=np.bool_)
    wanted[rows] = True
    places = np.flatnonzero(np.repeat(wanted, points.lengths))
    lefts, values = points.values[places], points.values.copy()
    values[places] = lefts + (targets.values - lefts) * np.repeat(offsets, targets.lengths)
    return Ragged(values, points.offsets)


def _expand(tracks: Tracks, row: int, body: dict[str, Any], immutable: dict[int, str], start: int, stop: int) -> Shapes:
    keys = _Keys.of(body.get("shapes") or [])
    frames, held = keys.shown(start, stop)
    if len(frames) == 0:
        return Shapes.empty()
    columns = keys.place(frames, held)
    if ShapeType.SKELETON in keys.types:
        elements = _elements(body.get("elements") or [], frames, columns.types == ShapeType.SKELETON)
    else:
        elements = Ragged.empty(np.uint8, len(frames))
    texts = Texts.from_list([_attributes(immutable, mutable) for mutable in keys.attributes])
    is_mask = columns.types == ShapeType.MASK
    return Shapes.empty(len(frames)).replace(
        frames=frames.astype(np.int32),
        types=columns.types,
        label_ids=np.full(len(frames), tracks.label_ids[row], dtype=np.int32),
        groups=np.full(len(frames), tracks.groups[row], dtype=np.int32),
        z_orders=keys.z_orders[held],
        occluded=keys.occluded[held],
        rotations=columns.rotations,
        sources=Texts.same(tracks.sources.row(row), len(frames)),
        attributes=texts.take(held),
        points=_rows_where(columns.points, ~is_mask, np.float64),
        runs=_rows_where(columns.points, is_mask, np.int32),
        elements=elements,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """Where a track is on F frames."""

    types: npt.NDArray[np.uint8]
    rotations: Points
    points: Ragged


@dataclass(frozen=True, slots=True, eq=False)
class _Keys:
    """The K key frames of one track, in order."""

    frames: Ints
    types: npt.NDArray[np.uint8]
    outside: npt.NDArray[np.bool_]
    occluded: npt.NDArray[np.bool_]
    z_orders: npt.NDArray[np.int32]
    rotations: Points
    points: tuple[Points, ...]
    attributes: tuple[dict[int, str], ...]

    @staticmethod
    def of(shapes: Sequence[dict[str, Any]]) -> _Keys:
        ordered = _ordered(shapes)
        attributes: list[dict[int, str]] = []
        for shape in ordered:
            attributes.append((attributes[-1] if attributes else {}) | _values(shape.get("attributes") or []))
        return _Keys(
            frames=np.array([shape["frame"] for shape in ordered], dtype=np.int64),
            types=np.array([ShapeType[shape["type"].upper()] for shape in ordered], dtype=np.uint8),
            outside=np.array([bool(shape.get("outside")) for shape in ordered], dtype=np.bool_),
            occluded=np.array([bool(shape.get("occluded")) for shape in ordered], dtype=np.bool_),
            z_orders=np.array([shape.get("z_order") or 0 for shape in ordered], dtype=np.int32),
            rotations=np.array([shape.get("rotation") or 0.0 for shape in ordered], dtype=np.float64),
            points=tuple(np.array(shape.get("points") or [], dtype=np.float64) for shape in ordered),
            attributes=tuple(attributes),
        )

    def shown(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """(F,) each: the frames of start..stop where the track is visible, and the key frame that holds there."""
        if len(self.frames) == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        frames = np.arange(max(start, int(self.frames[0])), stop, dtype=np.int64)
        held = np.searchsorted(self.frames, frames, side="right") - 1
        visible = ~self.outside[held]
        return frames[visible], held[visible]

    def place(self, frames: Ints, held: Ints) -> _Placed:
        """Type, rotation and points on ascending frames; `held` is the latest key frame of each."""
        rotations = self.rotations[held].copy()
        parts = []
        firsts = np.flatnonzero(np.diff(held, prepend=-1))
        for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(held)], strict=True):
            key = int(held[first])
            span = frames[first:last]
            if key + 1 == len(self.frames) or self.types[key] != self.types[key + 1]:
                parts.append(_hold(self.points[key], len(span)))
                continue
            offsets = (span - self.frames[key]) / (self.frames[key + 1] - self.frames[key])  # (span,) 0..1
            if self.types[key] in TURNING:
                rotations[first:last] = _turn(self.rotations[key], self.rotations[key + 1], offsets)
            parts.append(_move(ShapeType(self.types[key]), self.points[key], self.points[key + 1], offsets))
        return _Placed(self.types[held], rotations, Ragged.concatenate(parts))


def _hold(points: Points, rows: int) -> Ragged:
    return Ragged(np.tile(points, rows), np.arange(rows + 1, dtype=np.int64) * len(points))


def _turn(left: float | Points, right: float | Points, offsets: Points) -> Points:
    """Degrees between two rotations, the shorter way round; offset 0 gives the left one as it stands."""
    way = (right - left + 180.0) % 360.0 - 180.0
    return np.where(offsets == 0.0, left, (left + way * offsets) % 360.0)


def _move(kind: ShapeType, left: Points, right: Points, offsets: Points) -> Ragged:
    """The points at each offset between two key frames; offset 0 gives the left ones as they stand."""
    is_single_point = kind == ShapeType.POINTS and len(left) == len(right) == 2
    if (kind in STRAIGHT or is_single_point) and len(left) == len(right):
        moved = left + (right - left) * offsets[:, None]  # (F, points)
        return Ragged(moved.reshape(-1), np.arange(len(offsets) + 1, dtype=np.int64) * len(left))
    if kind not in (ShapeType.POLYGON, ShapeType.POLYLINE) or len(left) < 4 or len(right) < 4:
        return _hold(left, len(offsets))
    at_key = int(offsets[0] == 0.0)
    parts = [_hold(left, at_key)]
    matched = _Matching.of(left.reshape(-1, 2), right.reshape(-1, 2), kind == ShapeType.POLYGON)
    step = max(1, CHUNK_POINTS // len(matched.lefts))
    for start in range(at_key, len(offsets), step):
        parts.append(matched.between(offsets[start : start + step]))
    return Ragged.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Matching:
    """Which point of one outline goes to which of another: M pairs, in order along both.

    Attributes:
        lefts, rights: (M, 2) the points of each pair; a closed outline ends with its first point again.
        bundles: (first pair, last pair, least distance) where several points share one partner.
        is_closed: polygons.
    """

    lefts: Points
    rights: Points
    bundles: tuple[tuple[int, int, float], ...]
    is_closed: bool

    @staticmethod
    def of(left: Points, right: Points, is_closed: bool) -> _Matching:
        if is_closed:
            left, right = np.concatenate([left, left[:1]]), np.concatenate([right, right[:1]])
        along_left, along_right = _along(left), _along(right)
        to_right = _nearest(along_left, along_right)  # (L,)
        free = np.setdiff1d(np.arange(len(right)), to_right)
        lefts = np.concatenate([np.arange(len(left)), _nearest(along_right[free], along_left)])  # (M,)
        rights = np.concatenate([to_right, free])
        order = np.lexsort((rights, lefts))
        lefts, rights = lefts[order], rights[order]
        return _Matching(left[lefts], right[rights], tuple(_bundles(left, right, lefts, rights)), is_closed)

    def between(self, offsets: Points) -> Ragged:
        """The outline at each offset."""
        points = self.lefts + (self.rights - self.lefts) * offsets[:, None, None]  # (F, M, 2)
        kept = np.ones(points.shape[:2], dtype=np.bool_)
        for first, last, least in self.bundles:
            latest = points[:, first].copy()  # (F, 2)
            for index in range(first + 1, last):
                kept[:, index] = far = _distances(latest, points[:, index]) >= least
                latest[far] = points[far, index]
            # Both ends stay, but if nothing stayed between them and they are close, their middle stands for both.
            close = ~kept[:, first + 1 : last].any(axis=1) & (_distances(points[:, first], points[:, last]) < least)
            points[close, first] = (points[close, first] + points[close, last]) / 2
            kept[close, last] = False
        if self.is_closed:
            last_kept = len(self.lefts) - 1 - np.argmax(kept[:, ::-1], axis=1)
            kept[np.arange(len(kept)), last_kept] = False
        offsets_of_rows = np.concatenate([[0], np.cumsum(kept.sum(axis=1) * 2)])
        return Ragged(points[kept].reshape(-1), offsets_of_rows)


def _bundles(left: Points, right: Points, lefts: Ints, rights: Ints) -> list[tuple[int, int, float]]:
    """Runs of pairs that share their left or their right point, with the least distance of points in between."""
    counts = np.bincount(lefts, minlength=len(left))
    is_fan = counts[lefts] > 1  # one left point, several right ones
    same = (is_fan[1:] & (lefts[1:] == lefts[:-1])) | (~is_fan[1:] & ~is_fan[:-1] & (rights[1:] == rights[:-1]))
    edges = np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))
    bundles = []
    for first, last in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        outline, indices = (right, rights) if is_fan[first] else (left, lefts)
        stretch = outline[indices[first] : indices[last] + 1]
        bundles.append((first, last, float(_steps(stretch).sum()) / (2 * len(stretch))))
    return bundles


def _steps(points: Points) -> Points:
    return _distances(points[1:], points[:-1])


def _distances(a: Points, b: Points) -> Points:
    distances: Points = np.sqrt(((a - b) ** 2).sum(axis=-1))
    return distances


def _along(points: Points) -> Points:
    """How far along the outline each point lies, 0..1."""
    ways = np.concatenate([[0.0], np.cumsum(_steps(points))])
    return ways / ways[-1] if ways[-1] > 0 else ways


def _nearest(values: Points, places: Points) -> Ints:
    """The index of the place nearest to each value; the first of equals. Places ascend."""
    after = np.clip(np.searchsorted(places, values), 1, len(places) - 1)
    nearer = np.where(values - places[after - 1] <= places[after] - values, after - 1, after)
    return np.searchsorted(places, places[nearer])


def _elements(elements: Sequence[dict[str, Any]], frames: Ints, shown: npt.NDArray[np.bool_]) -> Ragged:
    """JSON of a skeleton's elements on each frame; no text where the shape is no skeleton."""
    rows: list[list[dict[str, Any]]] = [[] for _ in range(len(frames))]
    for element in elements:
        keys = _Keys.of(element.get("shapes") or [])
        if len(keys.frames) == 0:
            continue
        immutable = _values(element.get("attributes") or [])
        held = np.maximum(np.searchsorted(keys.frames, frames, side="right") - 1, 0)
        began = frames >= keys.frames[0]
        placed = keys.place(np.maximum(frames, keys.frames[0]), held)
        for index in np.flatnonzero(shown).tolist():
            key = int(held[index])
            rows[index].append(
                {
                    "type": ShapeType(placed.types[index]).name.lower(),
                    "frame": int(frames[index]),
                    "label_id": element["label_id"],
                    "group": element.get("group") or 0,
                    "source": element.get("source") or "manual",
                    "occluded": bool(keys.occluded[key]),
                    "outside": bool(keys.outside[key] or not began[index]),
                    "z_order": int(keys.z_orders[key]),
                    "rotation": float(placed.rotations[index]),
                    "points": placed.points.row(index).tolist(),
                    "attributes": json.loads(_attributes(immutable, keys.attributes[key])),
                }
            )
    texts = [_json(row) if is_shown else "" for row, is_shown in zip(rows, shown.tolist(), strict=True)]
    return Ragged.from_bytes([text.encode("utf-8") for text in texts])


def _rows_where(points: Ragged, wanted: npt.NDArray[np.bool_], dtype: npt.DTypeLike) -> Ragged:
    """The same rows, those not wanted emptied."""
    lengths = np.where(wanted, points.lengths, 0)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(points.values[np.repeat(wanted, points.lengths)].astype(dtype), offsets)


def _values(attributes: Sequence[dict[str, Any]]) -> dict[int, str]:
    return {int(attribute["spec_id"]): str(attribute["value"]) for attribute in attributes}


def _attributes(immutable: dict[int, str], mutable: dict[int, str]) -> str:
    """The text of a shape's attributes, as `tables` has it."""
    if not immutable and not mutable:
        return "[]"
    return _json([{"spec_id": spec_id, "value": value} for spec_id, value in sorted((immutable | mutable).items())])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
