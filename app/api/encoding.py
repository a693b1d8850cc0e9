"""Annotations → the JSON of CVAT's LabeledData, whole columns at a time.

    ids        1 2 3           orjson, split at the commas   →  b"1"    b"2"    b"3"
    label_ids  7 7 9           one text for each value       →  b"7"    b"7"    b"9"
    points     x y x y | …     orjson, split at row ends     →  b"1.0,2.0,…"

One list of texts a column, or one text alone where the column says the same in every row; a single join interleaves
them. Nothing is built per shape in Python: 300,000 boxes take well under a second. Numbers are written by orjson, so a
double comes back exactly.

Tracks and skeletons are few and nested, so theirs are JSON texts in the tables already; they are only completed here.
"Complete" means: every attribute of the label that has no value gets the label's default, as CVAT does on reading.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import AttributeSpec, LabelCatalog, Shapes, ShapeType, Tags, Tracks
from app.annotations.looks import UNHELPED_LOOKS, cut_for_looks, filled_rows, write_runs
from app.columns import PackedRagged, Ragged, Texts, dump_texts, dump_tight, steps_within
from app.helpers import Crew

ROWS_PER_CHUNK = 4096
VALUES_PER_CHUNK = 1 << 17
"""About 1 MiB of JSON: what one send should carry."""
BYTES_A_VALUE = 8
FEW_BYTES = BYTES_A_VALUE * VALUES_PER_CHUNK // ROWS_PER_CHUNK
"""Where no label's attributes take more, a chunk is bounded by its rows, and nobody need look at each."""
TRACKED_BYTES = 100  # of a shape of a track at least

CHARACTERS_A_RUN = 3

MAX_CACHED_TEXTS, MAX_CACHED_BYTES = 4096, 8 << 20
"""Masks have a box each, so a text each: to remember them all would take 60 MiB and help nobody."""

TYPE_NAMES = {kind: kind.name.lower() for kind in ShapeType}

Piece = bytes | list[bytes]
"""The same text in every row, or one text a row."""

RunsCrew = Crew[Shapes, Ragged, tuple[int, bytes]]
Specs = tuple[AttributeSpec, ...]
_T = TypeVar("_T", Tags, Shapes, Tracks)

_TYPE_TEXTS = np.array([TYPE_NAMES[kind].encode() for kind in sorted(ShapeType)], dtype=object)
_SPEC_ID = re.compile(r'\{"spec_id":(\d+)')


def encode(
    tags: Iterable[Tags],
    shapes: Iterable[Shapes],
    tracks: Iterable[Tracks],
    labels: LabelCatalog,
    version: int = 0,
    *,
    most_helpers: int = 0,
) -> Generator[bytes, None, None]:
    """The JSON text of a LabeledData object, in chunks of about 1 MiB.

    Args:
        tags, shapes, tracks: batches of any size, in the order wanted; each is asked for its next batch only when the
            ones before have been sent, but for a few thousand rows that helpers work on.
        labels: the labels of the task, for the defaults of attributes.
        version: CVAT's version counter of the annotations.
        most_helpers: processes that may help where there are many packed masks. They end with the iterator: close it.
    """
    attributes = _Attributes(labels)
    yield b'{"version":%d,"tags":[' % version
    yield from _listed(_encode_tags(part, attributes) for batch in tags for part in _chunks(batch, attributes))
    yield b'],"shapes":['
    crew: RunsCrew = Crew(write_runs, most_helpers, UNHELPED_LOOKS)
    with crew:
        yield from _listed(
            _encode_shapes(part, runs, attributes) for part, runs in _with_runs(shapes, crew, attributes)
        )
    yield b'],"tracks":['
    yield from _listed(_encode_tracks(part, attributes) for batch in tracks for part in _chunks(batch, attributes))
    yield b"]}"


def _listed(texts: Iterable[bytes]) -> Iterator[bytes]:
    """The texts with commas between them."""
    first = True
    for text in texts:
        yield text if first else b"," + text
        first = False


def _chunks(batch: _T, attributes: _Attributes) -> Iterator[_T]:
    """A batch in stretches of rows that make about one chunk each."""
    weights = _weights(batch, attributes)
    if isinstance(batch, Shapes):
        weights += batch.runs.lengths
    for rows in steps_within(weights, VALUES_PER_CHUNK, ROWS_PER_CHUNK):
        yield batch.slice(rows.start, rows.stop)


def _weights(batch: _T, attributes: _Attributes) -> npt.NDArray[np.int64]:
    """(N,) about how many numbers take as much room as each row, without its run lengths."""
    n_bytes = attributes.sizes(batch.label_ids, batch.attributes)
    if isinstance(batch, Tracks):  # each shape of a track gets the defaults
        n_bytes += batch.bodies.lengths * (1 + n_bytes // TRACKED_BYTES)
    if isinstance(batch, Shapes):
        return batch.points.lengths + (n_bytes + batch.elements.lengths) // BYTES_A_VALUE
    return n_bytes // BYTES_A_VALUE


def _with_runs(batches: Iterable[Shapes], crew: RunsCrew, attributes: _Attributes) -> Iterator[tuple[Shapes, Piece]]:
    """Stretches of rows that make about one chunk each, with the texts of their run lengths; those of packed masks come
    from the crew."""
    for shapes, done in crew.run(_looks(batches)):
        n_seen = 0
        if done is not None:
            masks = np.flatnonzero(filled_rows(shapes.runs))
            n_masks, text = done
            n_seen = int(masks[n_masks]) if n_masks < len(masks) else len(shapes)
            yield from _written(shapes.slice(0, n_seen), masks[:n_masks], text.split(b";"), attributes)
        rest = shapes.slice(n_seen, len(shapes))
        for runs in rest.runs.pieces(VALUES_PER_CHUNK) if done is not None else (rest.runs,):
            for part in _chunks(rest.slice(0, len(runs)).replace(runs=runs), attributes):
                yield part, _lists(part.runs)
            rest = rest.slice(len(runs), len(rest))


def _looks(batches: Iterable[Shapes]) -> Iterator[tuple[Shapes, Ragged | None]]:
    """Batches, cut where there is something packed in them, and what the crew is to look at."""
    for batch in batches:
        if not isinstance(batch.runs, PackedRagged):
            yield batch, None
            continue
        for start, stop in cut_for_looks(batch.runs):
            part = batch.slice(start, stop)
            is_packed = isinstance(part.runs, PackedRagged)
            yield part, part.runs.take(np.flatnonzero(filled_rows(part.runs))) if is_packed else None


def _written(
    shapes: Shapes, masks: npt.NDArray[np.int64], runs: list[bytes], attributes: _Attributes
) -> Iterator[tuple[Shapes, Piece]]:
    """Rows whose run lengths are written: those of `masks`."""
    texts = np.full(len(shapes), b"", dtype=object)
    texts[masks] = np.array(runs, dtype=object)
    weights = _weights(shapes, attributes)
    weights[masks] += [len(text) // CHARACTERS_A_RUN for text in runs]
    for rows in steps_within(weights, VALUES_PER_CHUNK, ROWS_PER_CHUNK):
        written: list[bytes] = texts[rows].tolist()
        yield shapes.slice(rows.start, rows.stop), written


def _encode_shapes(shapes: Shapes, runs: Piece, attributes: _Attributes) -> bytes:
    return join_rows(
        b'{"id":',
        number_texts(shapes.ids),
        b',"frame":',
        number_texts(shapes.frames),
        b',"label_id":',
        number_texts(shapes.label_ids),
        b',"group":',
        number_texts(shapes.groups),
        b',"source":',
        _texts(shapes.sources),
        b',"type":"',
        _chosen(_TYPE_TEXTS, shapes.types),
        b'","occluded":',
        number_texts(shapes.occluded),
        b',"outside":',
        number_texts(shapes.outside),
        b',"z_order":',
        number_texts(shapes.z_orders),
        b',"rotation":',
        number_texts(shapes.rotations),
        b',"points":[',
        _lists(shapes.points),
        runs,
        b'],"attributes":',
        attributes.column(shapes.label_ids, shapes.attributes),
        b',"elements":',
        _elements(shapes, attributes),
        b',"score":',
        number_texts(shapes.scores),
        b"},",
    )


def _encode_tags(tags: Tags, attributes: _Attributes) -> bytes:
    return join_rows(
        b'{"id":',
        number_texts(tags.ids),
        b',"frame":',
        number_texts(tags.frames),
        b',"label_id":',
        number_texts(tags.label_ids),
        b',"group":',
        number_texts(tags.groups),
        b',"source":',
        _texts(tags.sources),
        b',"attributes":',
        attributes.column(tags.label_ids, tags.attributes),
        b"},",
    )


def _encode_tracks(tracks: Tracks, attributes: _Attributes) -> bytes:
    bodies = tracks.bodies.to_bytes_list()
    label_ids = tracks.label_ids.tolist()
    return join_rows(
        b'{"id":',
        number_texts(tracks.ids),
        b',"frame":',
        number_texts(tracks.frames),
        b',"label_id":',
        number_texts(tracks.label_ids),
        b',"group":',
        number_texts(tracks.groups),
        b',"source":',
        _texts(tracks.sources),
        b',"attributes":',
        attributes.column(tracks.label_ids, tracks.attributes, mutable=False),
        b",",
        [attributes.complete_track(label_id, body)[1:] for label_id, body in zip(label_ids, bodies, strict=True)],
        b",",
    )


def _elements(shapes: Shapes, attributes: _Attributes) -> Piece:
    """A skeleton's elements, completed; `[]` for every other type."""
    rows = np.flatnonzero(shapes.elements.lengths)
    if len(rows) == 0:
        return b"[]"
    texts = np.full(len(shapes), b"[]", dtype=object)
    completed = [attributes.complete_elements(text) for text in shapes.elements.take(rows).to_bytes_list()]
    texts[rows] = np.array(completed, dtype=object)
    listed: list[bytes] = texts.tolist()
    return listed


# Columns → texts


def join_rows(*pieces: Piece) -> bytes:
    """Row by row, the texts of all pieces; the last piece ends with a comma, which the last row loses."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            merged[-1] = last + piece
        else:
            merged.append(piece)
    columns: list[Iterable[bytes]] = [repeat(piece) if isinstance(piece, bytes) else piece for piece in merged]
    return b"".join(chain.from_iterable(zip(*columns, strict=False)))[:-1]


def _dump(values: npt.NDArray[Any]) -> bytes:
    """The numbers with commas between them, without brackets."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def number_texts(values: npt.NDArray[Any]) -> Piece:
    """Integers, reals or booleans. The first column of a table must vary or have one row: ids do."""
    if len(values) > 1 and (values == values[0]).all() and values.dtype != np.int64:
        return _dump(values[:1])
    return _dump(values).split(b",")


def _chosen(texts: npt.NDArray[np.object_], codes: npt.NDArray[Any]) -> Piece:
    if (codes == codes[0]).all():
        only: bytes = texts[codes[0]]
        return only
    listed: list[bytes] = texts[codes].tolist()
    return listed


def _texts(column: Texts) -> Piece:
    return _chosen(np.array(dump_texts(column.values), dtype=object), column.codes)


def _lists(column: Ragged) -> Piece:
    """Each row's numbers with commas between them; an empty text for an empty row."""
    if len(column.values) == 0:
        return b""
    text = np.frombuffer(_dump(column.values), dtype=np.uint8).copy()
    filled = column.lengths > 0  # (N,)
    row_ends = column.offsets[1:][filled][:-1]  # counted in numbers: a row starts after so many commas
    text[np.flatnonzero(text == ord(","))[row_ends - 1]] = ord(";")
    parts = text.tobytes().split(b";")
    if filled.all():
        return parts
    texts = np.full(len(column), b"", dtype=object)
    texts[filled] = np.array(parts, dtype=object)
    listed: list[bytes] = texts.tolist()
    return listed


class _Attributes:
    """Completes stored attribute texts with the defaults of their label; each (label, text) pair once."""

    def __init__(self, labels: LabelCatalog) -> None:
        self._labels = labels
        self._known: dict[tuple[int, str, bool | None], bytes] = {}
        self._n_cached = 0
        self._of_label: dict[tuple[int, bool | None], tuple[list[str], list[str]]] = {}

    def sizes(self, label_ids: npt.NDArray[np.int32], stored: Texts) -> npt.NDArray[np.int64]:
        """(N,) about how many bytes each row's attributes take."""
        texts = np.fromiter(map(len, stored.values), dtype=np.int64, count=len(stored.values))
        sizes: npt.NDArray[np.int64] = texts[stored.codes]
        known, label_sizes = self._labels.default_sizes
        if label_sizes.max(initial=0) > FEW_BYTES:
            at = np.minimum(np.searchsorted(known, label_ids), len(known) - 1)
            sizes += np.where(known[at] == label_ids, label_sizes[at], 0)
        return sizes

    def column(self, label_ids: npt.NDArray[np.int32], stored: Texts, mutable: bool | None = None) -> Piece:
        """One JSON list a row; `mutable` narrows the label's attributes to those of that kind."""
        keys = label_ids.astype(np.int64) * len(stored.values) + stored.codes
        pairs, codes = np.unique(keys, return_inverse=True)
        texts = [
            self.complete(label_id, stored.values[code], mutable)
            for label_id, code in (divmod(pair, len(stored.values)) for pair in pairs.tolist())
        ]
        return _chosen(np.array(texts, dtype=object), codes)

    def complete(self, label_id: int, text: str, mutable: bool | None) -> bytes:
        key = (label_id, text, mutable)
        known = self._known.get(key)
        if known is None:
            known = self._completed(label_id, text, mutable)
            self._n_cached += len(text) + len(known)
            if len(self._known) >= MAX_CACHED_TEXTS or self._n_cached > MAX_CACHED_BYTES:
                self._known.clear()
                self._n_cached = len(text) + len(known)
            self._known[key] = known
        return known

    def _completed(self, label_id: int, text: str, mutable: bool | None) -> bytes:
        ids, defaults = self._defaults(label_id, mutable)
        # Quotes within a value are escaped in JSON, so this finds the ids of the list and nothing else.
        parts = _SPEC_ID.split(text)  # between the ids: `,"value":"x"}` and a comma, or the bracket
        found = parts[1::2]
        if found != ids:
            given = dict(zip(found, parts[2::2], strict=True))
            told = [f'{{"spec_id":{key}{given.get(key, other)[:-1]}' for key, other in zip(ids, defaults, strict=True)]
            text = f"[{','.join(told)}]"
        return text.encode("utf-8")

    def _defaults(self, label_id: int, mutable: bool | None) -> tuple[list[str], list[str]]:
        """The ids of the label's attributes, ascending, and what stands behind each where it has its default."""
        known = self._of_label.get((label_id, mutable))
        if known is None:
            specs = self._specs(label_id, mutable)
            values = (orjson.dumps(spec.default_value).decode("utf-8") for spec in specs)
            known = self._of_label[label_id, mutable] = (
                [str(spec.id) for spec in specs],
                [f',"value":{value}}},' for value in values],
            )
        return known

    def _specs(self, label_id: int, mutable: bool | None) -> Specs:
        """The label's attributes in ascending id; none for a label that is gone."""
        label = self._labels.by_id.get(label_id)
        specs = () if label is None else label.attributes
        return tuple(sorted((s for s in specs if mutable is None or s.mutable == mutable), key=lambda spec: spec.id))

    def complete_elements(self, text: bytes) -> bytes:
        """The elements of a skeleton on one frame."""
        elements = orjson.loads(text)
        for element in elements:
            element["attributes"] = _with_defaults(element["attributes"], self._specs(element["label_id"], None))
            element["elements"] = []
        return dump_tight(elements)

    def complete_track(self, label_id: int, body: bytes) -> bytes:
        """`{"shapes":[…],"elements":[…]}` of a track."""
        track = orjson.loads(body)
        self._complete_track_shapes(label_id, track["shapes"])
        for element in track["elements"]:
            element_label_id = element["label_id"]
            element["attributes"] = _with_defaults(element["attributes"], self._specs(element_label_id, False))
            self._complete_track_shapes(element_label_id, element["shapes"])
            element["elements"] = []
        return dump_tight({"shapes": track["shapes"], "elements": track["elements"]})

    def _complete_track_shapes(self, label_id: int, shapes: list[dict[str, Any]]) -> None:
        """A mutable attribute keeps the value it had on the shape before; the first shape has the defaults."""
        specs = self._specs(label_id, True)
        before: dict[int, str] = {}
        for shape in shapes:
            shape["attributes"] = _with_defaults(shape["attributes"], specs, before)
            before = {attribute["spec_id"]: attribute["value"] for attribute in shape["attributes"]}


def _with_defaults(
    attributes: Sequence[dict[str, Any]], specs: Specs, before: dict[int, str] | None = None
) -> list[dict[str, Any]]:
    """Values of exactly these attributes; those of attributes that the label no longer has are left out."""
    values = {attribute["spec_id"]: attribute["value"] for attribute in attributes}
    earlier = before or {}
    return [
        {"spec_id": spec.id, "value": values.get(spec.id, earlier.get(spec.id, spec.default_value))} for spec in specs
    ]
