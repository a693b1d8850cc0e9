"""Tables of annotations ↔ JSON of a backup: one object a batch, one list a column.

    {"frames": [0, 0, 3], "points": {"values": [1.5, 2, …], "lengths": [4, 4, 6]}, …,
     "sources": {"codes": […], "values": […]}, "kept": {"lines": {"bytes": "a,b…", "lengths": [3, 3]}, …}}

Numbers are written so that they come back bit for bit; bytes are texts of Latin-1, a character a byte. A mask that
nobody has looked at is the PNG among the kept bytes: `"runs": {…, "kept": [3, 4, …]}` are the rows that have no numbers
for that reason (version 2; the first had numbers for all). What comes back may have been made by anybody: all of it is
checked before it goes into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from isal import isal_zlib

from app.annotations import (
    MOST_BYTES,
    Kept,
    Shapes,
    ShapeType,
    Table,
    Tags,
    Tracks,
    can_stay_packed,
    frame_size_of,
    pack_masks,
    png_of,
    unpack_mask,
)
from app.columns import PackedRagged, Ragged, Texts, distinct, dump_tight, steps_within
from app.errors import InvalidInput
from app.images import BadPNG, prove_mask

Flags = npt.NDArray[np.bool_]

ID_COLUMNS = ("ids", "sets")  # the store gives both anew
MAX_COORDINATE = 1e7
STEP_BYTES = 8 << 20  # of PNGs that are looked at and stored together
TYPE_NAMES = frozenset(kind.name.lower() for kind in ShapeType)
_NUMBERS = {ShapeType.RECTANGLE: (4, 4), ShapeType.ELLIPSE: (4, 4), ShapeType.CUBOID: (16, 16), ShapeType.MASK: (0, 0)}
_AT_LEAST = {ShapeType.POLYGON: 6, ShapeType.POLYLINE: 4, ShapeType.POINTS: 2}


@dataclass(frozen=True, slots=True)
class Renumbered:
    """What ids of the backup are here: labels and sublabels, and attributes."""

    labels: Mapping[int, int]
    attributes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a set of the backup has: tables in its document, and who looks whether a row can be one of theirs; bytes
    kept, and sizes of the task's frames."""

    n_tables: int
    check_kept: Callable[[Kept], None]
    kept_bytes: int
    widths: np.ndarray[Any, np.dtype[np.int32]]
    heights: np.ndarray[Any, np.dtype[np.int32]]


def damaged(what: str) -> InvalidInput:
    return InvalidInput(f"this backup is damaged: {what}", code="backup.damaged")


def leave_masks(shapes: Shapes, widths: Any, heights: Any) -> tuple[Shapes, Flags]:
    """The same rows without the run lengths that their kept PNGs tell, and which rows (N,) these are.

    Args:
        widths, heights: of the task's frames.
    """
    runs, kept = shapes.runs, shapes.kept
    told = np.zeros(len(shapes), dtype=np.bool_)
    if not isinstance(runs, PackedRagged):
        return shapes, told
    places = np.flatnonzero(runs.packed.lengths).tolist()
    for row in places:
        packed, frame = runs.packed.row(row), shapes.frames[row]
        png = png_of(packed)
        has_all = kept.png_offsets[row] >= 0 and len(png) == kept.png_sizes[row]
        is_size = frame_size_of(packed) == (widths[frame], heights[frame])
        told[row] = has_all and is_size and isal_zlib.crc32(png) == kept.png_crcs[row]
    rest = [runs.row(row) if not told[row] else np.empty(0, dtype=np.int32) for row in places]
    order = np.arange(len(shapes), dtype=np.int64)
    order[places] = len(shapes) + np.arange(len(places), dtype=np.int64)
    plain = Ragged.concatenate([runs.plain, Ragged.from_arrays(rest, np.int32)]).take(order)
    return shapes.replace(runs=plain), told


def join_rows(table: Table, told: Flags | None = None) -> bytes:
    """A batch as JSON; `told` as `leave_masks` gives it."""
    columns = _columns(table)
    if told is not None and told.any():
        columns["runs"]["kept"] = np.flatnonzero(told)
    return orjson.dumps(columns, option=orjson.OPT_SERIALIZE_NUMPY)


def _columns(table: Table) -> dict[str, Any]:
    return {name: _joined(column) for name, column in table.columns().items() if name not in ID_COLUMNS}


def _joined(column: Any) -> Any:
    if isinstance(column, Table):
        return _columns(column)
    if isinstance(column, Texts):
        used = column.compact()
        return {"codes": used.codes, "values": list(used.values)}
    if isinstance(column, Ragged):
        if column.values.dtype == np.uint8:
            return {"bytes": column.values.tobytes().decode("latin-1"), "lengths": column.lengths}
        return {"values": np.ascontiguousarray(column.values), "lengths": column.lengths}
    return np.ascontiguousarray(column)


def split_rows(kind: type[Any], document: Any, place: str) -> Any:
    """The table of a batch. Raises InvalidInput for anything but one."""
    try:
        return _table(kind, document)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise damaged(f"{place}: {error}") from error


def _table(kind: type[Any], document: Mapping[str, Any]) -> Any:
    models = kind.empty().columns()
    columns = {name: _split(model, document[name]) for name, model in models.items() if name not in ID_COLUMNS}
    rows = len(next(iter(columns.values())))
    for name in ID_COLUMNS:
        if name in models:
            columns[name] = np.zeros(rows, dtype=np.int64)
    return kind(**columns)


def _split(model: Any, value: Any) -> Any:
    if isinstance(model, Kept):
        return _table(Kept, value)
    if isinstance(model, Texts):
        values = value["values"]
        codes = _numbers(value["codes"], np.dtype(np.int32))
        if not all(isinstance(text, str) and "\x00" not in text for text in values) or len(set(values)) < len(values):
            raise ValueError("texts that are none, or one of them twice")
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(values):
            raise ValueError("a code without a text")
        return Texts(codes, tuple(values))
    if isinstance(model, Ragged):
        lengths = _numbers(value["lengths"], np.dtype(np.int64))
        if len(lengths) and (lengths.min() < 0 or lengths.max() > 1 << 32):
            raise ValueError("a length below 0, or too large")
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        if model.values.dtype == np.uint8:
            return Ragged(np.frombuffer(value["bytes"].encode("latin-1"), dtype=np.uint8), offsets)
        return Ragged(_numbers(value["values"], model.values.dtype), offsets)
    return _numbers(value, model.dtype)


def _numbers(values: Any, dtype: np.dtype[Any]) -> Any:
    if not isinstance(values, list):
        raise TypeError("a column is a list")
    kinds = {type(value) for value in values}
    if dtype == np.bool_:
        allowed: set[type] = {bool}
    else:
        allowed = {int, float} if dtype.kind == "f" else {int}
    if not kinds <= allowed:
        raise TypeError(f"a column of {dtype} holds {', '.join(sorted(kind.__name__ for kind in kinds - allowed))}")
    column = np.array(values, dtype=dtype)
    if dtype.kind == "f" and not bool(np.isfinite(column).all()):
        raise ValueError("a number is not finite")
    return column


def bring_masks(
    shapes: Shapes, document: Any, bounds: Bounds, read: Callable[[int, int], bytes], place: str
) -> Iterator[Shapes]:
    """The same rows with the masks that are kept as PNGs, a few MiB of them at a time: many rows may name one PNG.

    Raises:
        InvalidInput: a mask cannot be one.

    Args:
        document: what `shapes` was split of.
        read: the kept bytes at an offset, so many.
    """
    try:
        rows = _numbers(document["runs"].get("kept", []), np.dtype(np.int64))
        if not len(rows):
            yield shapes
            return
        if len(distinct(rows)) < len(rows) or not 0 <= rows.min() <= rows.max() < len(shapes):
            raise ValueError("a mask of no row")
        _check_frames(shapes, len(bounds.widths))
        _check_kept(shapes.kept, bounds)
        has_png = (shapes.kept.png_offsets[rows] >= 0) & (shapes.kept.png_sizes[rows] > 0)
        if not bool((has_png & (shapes.types[rows] == ShapeType.MASK) & (shapes.runs.lengths[rows] == 0)).all()):
            raise ValueError("a mask whose PNG is not kept")
        sizes = np.zeros(len(shapes), dtype=np.int64)
        sizes[rows] = shapes.kept.png_sizes[rows]
        if int(sizes.max()) > MOST_BYTES:
            raise ValueError("a mask that has to be decoded")
        for step in steps_within(sizes, STEP_BYTES):
            yield _with_pngs(shapes.slice(step.start, step.stop), sizes[step] > 0, bounds, read)
    except (AttributeError, BadPNG, KeyError, OverflowError, TypeError, ValueError) as error:
        raise damaged(f"{place}: {error}") from error


def _with_pngs(shapes: Shapes, told: Flags, bounds: Bounds, read: Callable[[int, int], bytes]) -> Shapes:
    """The same rows; those that are told have their PNG for a mask."""
    widths, heights = bounds.widths[shapes.frames], bounds.heights[shapes.frames]
    pngs = [b""] * len(shapes)
    for row in np.flatnonzero(told).tolist():
        pngs[row] = read(int(shapes.kept.png_offsets[row]), int(shapes.kept.png_sizes[row]))
        if isal_zlib.crc32(pngs[row]) != int(shapes.kept.png_crcs[row]):
            raise ValueError("a mask that is not the PNG it was")
        _check_png(pngs[row], int(widths[row]), int(heights[row]))
    return shapes.replace(runs=PackedRagged(pack_masks(pngs, widths, heights), shapes.runs, unpack_mask))


def _check_png(png: bytes, width: int, height: int) -> None:
    """Whether it may stay packed, as an import asks."""
    mask = prove_mask(png)
    if mask is None or not can_stay_packed(len(png), mask.width, mask.height, width, height):
        raise ValueError("a mask that has to be decoded")


def settle(table: Any, renumbered: Renumbered, bounds: Bounds, place: str) -> Any:
    """The same rows with the ids of this service, after a look at every value that others rely on.

    Raises:
        InvalidInput: a label or attribute that the backup does not have; a shape that cannot be; a place in the kept
            bytes that is none.
    """
    try:
        _check_frames(table, len(bounds.widths))
        if "kept" in table.columns():
            _check_kept(table.kept, bounds)
            bounds.check_kept(table.kept)
        if not isinstance(table, Shapes | Tags | Tracks):
            return table
        table = table.replace(
            label_ids=_mapped(table.label_ids, renumbered.labels, "label"),
            attributes=_attribute_texts(table.attributes, renumbered),
        )
        if isinstance(table, Shapes):
            _check_shapes(table, bounds)
            elements = [_element_text(text, renumbered) for text in table.elements.to_bytes_list()]
            table = table.replace(elements=Ragged.from_bytes(elements))
        if isinstance(table, Tracks):
            bodies = [_body(text, renumbered) for text in table.bodies.to_bytes_list()]
            table = table.replace(bodies=Ragged.from_bytes(bodies))
        return table
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise damaged(f"{place}: {error}") from error


def _check_frames(table: Any, n_frames: int) -> None:
    frames = table.frames
    lowest = 0 if isinstance(table, Shapes | Tags | Tracks) else -1
    if len(frames) and not lowest <= int(frames.min()) <= int(frames.max()) < n_frames:
        raise ValueError("a frame that the task has not")


def _check_kept(kept: Kept, bounds: Bounds) -> None:
    has_png = kept.png_offsets >= 0
    wrong = (kept.tables < -1) | (kept.tables >= bounds.n_tables)
    wrong |= has_png & ((kept.png_sizes < 0) | (kept.png_offsets > bounds.kept_bytes - kept.png_sizes))
    if bool(wrong.any()):
        raise ValueError("a kept line or file that is not there")


def _mapped(ids: Any, known: Mapping[int, int], what: str) -> Any:
    found, inverse = np.unique(ids, return_inverse=True)
    unknown = [number for number in found.tolist() if number not in known]
    if unknown:
        raise ValueError(f"the {what} {unknown[0]} is not in the backup")
    return np.array([known[number] for number in found.tolist()], dtype=ids.dtype)[inverse]


def _attributes(values: Any, renumbered: Renumbered) -> list[dict[str, Any]]:
    made = []
    for value in values:
        if not isinstance(value["value"], str) or value["spec_id"] not in renumbered.attributes:
            raise ValueError("an attribute that is not in the backup")
        made.append({"spec_id": renumbered.attributes[value["spec_id"]], "value": value["value"]})
    return sorted(made, key=lambda value: value["spec_id"])


def _attribute_texts(column: Texts, renumbered: Renumbered) -> Texts:
    texts = [orjson.dumps(_attributes(orjson.loads(text), renumbered)).decode() for text in column.values]
    codes = column.codes
    return Texts.from_list(texts).take(codes) if texts else column


def _check_shapes(shapes: Shapes, bounds: Bounds) -> None:
    lengths, runs = shapes.points.lengths, shapes.runs
    if len(shapes) and int(shapes.types.max()) >= len(ShapeType):
        raise ValueError("a shape of an unknown type")
    low = np.zeros(len(ShapeType), dtype=np.int64)
    high = np.full(len(ShapeType), np.iinfo(np.int64).max, dtype=np.int64)
    for kind, (least, most) in _NUMBERS.items():
        low[kind], high[kind] = least, most
    for kind, least in _AT_LEAST.items():
        low[kind] = least
    wrong = (lengths < low[shapes.types]) | (lengths > high[shapes.types]) | (lengths % 2 != 0)
    plain = runs.plain if isinstance(runs, PackedRagged) else runs
    wrong |= (shapes.types != ShapeType.MASK) & (plain.lengths > 0)
    if bool(wrong.any()) or bool((np.abs(shapes.points.values) > MAX_COORDINATE).any()):
        raise ValueError("a shape whose points cannot be its own")
    is_proven = runs.packed.lengths > 0 if isinstance(runs, PackedRagged) else np.zeros(len(shapes), dtype=np.bool_)
    for row in np.flatnonzero((shapes.types == ShapeType.MASK) & ~is_proven).tolist():
        _check_mask(runs.row(row), int(bounds.widths[shapes.frames[row]]), int(bounds.heights[shapes.frames[row]]))


def _check_mask(runs: Any, width: int, height: int) -> None:
    if len(runs) < 5 or int(runs.min()) < 0:
        raise ValueError("a mask without runs")
    left, top, right, bottom = runs[-4:].tolist()
    if not (left <= right < width and top <= bottom < height):
        raise ValueError("a mask outside of its picture")
    if int(runs[:-4].sum(dtype=np.int64)) != (right - left + 1) * (bottom - top + 1):
        raise ValueError("a mask whose runs do not fill its box")


def _element_text(text: bytes, renumbered: Renumbered) -> bytes:
    if not text:
        return text
    return dump_tight([_element(element, renumbered) for element in orjson.loads(text)])


def _element(element: dict[str, Any], renumbered: Renumbered) -> dict[str, Any]:
    """A skeleton's element, or the element of a track: a label of its own, and shapes or a shape."""
    made = _shape(element, renumbered) if "type" in element else {**element}
    made["label_id"] = renumbered.labels[element["label_id"]]
    if "attributes" in element:
        made["attributes"] = _attributes(element["attributes"], renumbered)
    if "shapes" in element:
        made["shapes"] = [_shape(shape, renumbered) for shape in element["shapes"]]
    return made


def _shape(shape: dict[str, Any], renumbered: Renumbered) -> dict[str, Any]:
    points = shape.get("points", [])
    if shape["type"] not in TYPE_NAMES or not all(type(number) in (int, float) for number in points):
        raise ValueError("a shape within a track or skeleton that cannot be one")
    if "frame" in shape and type(shape["frame"]) is not int:
        raise ValueError("a frame that is no number")
    made = {**shape}
    if "attributes" in shape:
        made["attributes"] = _attributes(shape["attributes"], renumbered)
    return made


def _body(text: bytes, renumbered: Renumbered) -> bytes:
    body = orjson.loads(text)
    made = {**body, "shapes": [_shape(shape, renumbered) for shape in body["shapes"]]}
    if "elements" in body:
        made["elements"] = [_element(element, renumbered) for element in body["elements"]]
    return dump_tight(made)
