"""Where the entries of a large JSON document lie, found without parsing it.

    {"version":0,"tags":[],"shapes":[{"type":"rectangle","points":[1,2,3,4]},{…},…],"tracks":[…]}
     depth 1          depth 2          depth 3               depth 4

Parsing 64 MiB of JSON at once makes a gigabyte of Python values, and several from a body that was built for it. So the
brackets are found first, in blocks of 1 MiB with arrays (quotes tell strings apart; an escaped quote is one after an
odd number of backslashes), and the entries are parsed a few thousand at a time. Every byte is still parsed once, in one
piece or another, so what is no JSON is refused as before. Cost: about 4 ms a MiB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.errors import InvalidInput

BLOCK_BYTES = 1 << 20
BATCH_BYTES = 1 << 19
MAX_ROOT_BYTES = 64 << 10
MAX_SECTIONS = 64
MAX_ENTRY_BYTES = 16 << 20
MAX_TAIL_BYTES = 64 << 10
MAX_ENTRY_CONTAINERS = 400_000

QUOTE, BACKSLASH, COMMA = b'"\\,'
_STRING_OR_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?(?:NaN|Infinity)', re.DOTALL)  # each byte is looked at once
_INTERESTING = np.zeros(256, dtype=np.bool_)
_INTERESTING[list(b'"[]{}')] = True
_STEPS = np.zeros(256, dtype=np.int64)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NotJSON:
    """A token that Python's JSON reader takes although JSON has none such."""

    token: str

    def __str__(self) -> str:
        return f"{self.token}, which is no JSON number"


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The inside of one array at depth 2: bytes `start` to `stop`.

    Attributes:
        ends: (N,) int64, the position behind each entry that is an object or array.
        containers: (N,) int64, how many objects and arrays each of them holds, itself included.
    """

    start: int
    stop: int
    ends: Positions
    containers: Positions


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A document taken apart.

    Attributes:
        root: what is left when each array or object at depth 2 is emptied; arrays come back as lists with one number,
            the index of their section.
        sections: the arrays at depth 2, in order.
    """

    body: bytes | bytearray
    root: Any
    sections: tuple[Section, ...]

    def entries(self, name: str) -> Iterator[tuple[int, list[Any]]]:
        """(index of the first, values) of a few thousand entries of the field `name` at a time; none if it is missing.

        NaN and Infinity, which JSON does not know, come back as `NotJSON`, so that a check can name the place.

        Raises:
            InvalidInput: the field is no array, an entry is too large, or something is no JSON.
        """
        if name not in self.root:
            return
        value = self.root[name]
        if not isinstance(value, list):  # nor null: who puts it might mean that a list stays as it is
            got = ", got null; leave the field out where there is none" if value is None else ""
            raise InvalidInput(f"expected a list{got}", place=name, code="json.type")
        section = self.sections[value[0]]
        _check_sizes(section, name)
        first, position = 0, section.start
        while position < section.stop:
            end = _batch_end(section, position)
            values = _parse_batch(self.body[position:end], name, first)
            yield first, values
            first += len(values)
            position = end


def outline(body: bytes | bytearray, *, max_depth: int, max_entries: int) -> Outline:
    """Find the sections and entries of a document whose root is an object.

    Raises:
        InvalidInput: nested too deep, too many entries, too much outside of the sections, or no JSON.
    """
    scan = _Scan(max_depth, max_entries)
    view = np.frombuffer(body, dtype=np.uint8)
    for start in range(0, len(body), BLOCK_BYTES):
        scan.block(view[start : start + BLOCK_BYTES], start)
    scan.check_end()
    opens, closes = scan.joined(scan.opens), scan.joined(scan.closes)
    ends, containers = scan.joined(scan.ends), scan.joined(scan.containers)
    sections: list[Section] = []
    pieces, position = [], 0
    for start, stop in zip((opens + 1).tolist(), closes.tolist(), strict=True):
        pieces.append(body[position:start])
        if body[start - 1] == ord("["):
            pieces.append(b"%d" % len(sections))
            a, b = np.searchsorted(ends, [start, stop], side="right")
            own = (
                containers[a:b] - np.concatenate([containers[a - 1 : a] if a else [0], containers[a : b - 1]])[: b - a]
            )
            sections.append(Section(start, stop, ends[a:b], own))
        position = stop
    pieces.append(body[position:])
    text = b"".join(pieces)
    if len(text) > MAX_ROOT_BYTES:
        raise InvalidInput("the body holds more than lists of annotations", code="json.type")
    root = parse_json(text)
    if not isinstance(root, dict):
        raise InvalidInput("expected an object", code="json.type")
    used = sum(isinstance(value, list) for value in root.values())
    if used != len(sections):
        raise InvalidInput("a field is named twice", code="json.syntax")
    return Outline(body, root, tuple(sections))


class _Scan:
    """Walks over the blocks of a body; what one block leaves open is carried to the next."""

    def __init__(self, max_depth: int, max_entries: int) -> None:
        self.max_depth = max_depth
        self.max_entries = max_entries
        self.opens: list[Positions] = []
        self.closes: list[Positions] = []
        self.ends: list[Positions] = []
        self.containers: list[Positions] = []
        self.n_entries = self.n_sections = self.n_containers = 0
        self.depth = 0
        self.in_string = 0
        self.slashes = 0

    def block(self, block: Bytes, start: int) -> None:
        at = np.flatnonzero(_INTERESTING[block])
        chars = block[at]
        is_quote = chars == QUOTE
        counts = is_quote & ~self.escaped(block, at)
        strings = np.cumsum(counts, dtype=np.int64) + self.in_string
        outside = ~is_quote & (strings % 2 == 0)
        steps = _STEPS[chars[outside]]
        positions = at[outside].astype(np.int64) + start
        depths = np.cumsum(steps) + self.depth
        containers = np.cumsum(steps > 0) + self.n_containers
        if len(depths):
            self.check_depths(depths, positions)
            closing = steps < 0
            self.opens.append(positions[~closing & (depths == 2)])
            self.closes.append(positions[closing & (depths == 1)])
            self.ends.append(positions[closing & (depths == 2)] + 1)
            self.containers.append(containers[closing & (depths == 2)])
            self.depth, self.n_containers = int(depths[-1]), int(containers[-1])
            self.n_entries += len(self.ends[-1])
            self.n_sections += len(self.opens[-1])
            self.check_counts()
        self.in_string = int(strings[-1]) % 2 if len(strings) else self.in_string

    def escaped(self, block: Bytes, at: Positions) -> npt.NDArray[np.bool_]:
        """Of each interesting character: whether an odd number of backslashes stands before it."""
        is_slash = block == BACKSLASH
        if not self.slashes and not is_slash.any():
            return np.zeros(len(at), dtype=np.bool_)
        index = np.arange(len(block), dtype=np.int64)
        last_other = np.maximum.accumulate(np.where(is_slash, -1 - self.slashes, index))  # carried ones lie before 0
        before = np.where(at > 0, last_other[at - 1], -1 - self.slashes)
        self.slashes = int(len(block) - 1 - last_other[-1])
        odd: npt.NDArray[np.bool_] = (at - 1 - before) % 2 == 1
        return odd

    def check_depths(self, depths: Positions, positions: Positions) -> None:
        if int(depths.max()) > self.max_depth:
            raise InvalidInput(f"the JSON is nested deeper than {self.max_depth}", code="json.depth")
        if int(depths.min()) < 0:
            byte = int(positions[np.flatnonzero(depths < 0)[0]])
            raise InvalidInput(f"the body is not valid JSON: a bracket too many at byte {byte}", code="json.syntax")

    def check_counts(self) -> None:
        if self.n_entries > self.max_entries:
            raise InvalidInput(
                f"the body holds more than {self.max_entries} annotations: send them in parts (PATCH with "
                "action=create), or import an archive",
                code="annotations.too_many",
            )
        if self.n_sections > MAX_SECTIONS:
            raise InvalidInput("the body holds more than lists of annotations", code="json.type")

    def check_end(self) -> None:
        if self.depth or self.in_string:
            raise InvalidInput("the body is not valid JSON: it ends in the middle", code="json.syntax")

    @staticmethod
    def joined(parts: list[Positions]) -> Positions:
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _check_sizes(section: Section, name: str) -> None:
    """No entry may be so large that parsing it alone takes much memory."""
    bounds = np.concatenate([[section.start], section.ends, [section.stop]])
    large = np.flatnonzero(np.diff(bounds) > MAX_ENTRY_BYTES)
    if len(large):
        message = f"more than {MAX_ENTRY_BYTES >> 20} MiB of JSON in one annotation"
        raise InvalidInput(message, place=f"{name}[{large[0]}]", code="annotations.too_large")
    if bounds[-1] - bounds[-2] > MAX_TAIL_BYTES:
        raise InvalidInput("expected an object", place=f"{name}[{len(section.ends)}]", code="json.type")
    many = np.flatnonzero(section.containers > MAX_ENTRY_CONTAINERS)
    if len(many):
        message = f"more than {MAX_ENTRY_CONTAINERS} lists and objects in one annotation"
        raise InvalidInput(message, place=f"{name}[{many[0]}]", code="annotations.too_large")


def _batch_end(section: Section, position: int) -> int:
    """Behind the last entry of a batch that begins at `position`: at least one entry, or all that is left."""
    following = int(np.searchsorted(section.ends, position, side="right"))
    until = int(np.searchsorted(section.ends, position + BATCH_BYTES, side="right"))
    last = max(following, until - 1)
    # What stands behind the last entry is white space, or no object: it goes with the last batch.
    return section.stop if last >= len(section.ends) - 1 else int(section.ends[last])


def _parse_batch(text: bytes | bytearray, name: str, first: int) -> list[Any]:
    stripped = text.strip(b" \t\r\n")
    if first:
        if not stripped:
            return []
        if stripped[0] != COMMA:
            raise InvalidInput("a comma is missing before it", place=f"{name}[{first}]", code="json.syntax")
        stripped = stripped[1:]
    try:
        values: list[Any] = parse_json(b"[" + stripped + b"]")
    except InvalidInput as error:
        raise InvalidInput(
            f"at or after this entry {error.detail}", place=f"{name}[{first}]", code=error.code
        ) from None
    if first and not values:
        raise InvalidInput("an entry is missing behind a comma", place=f"{name}[{first}]", code="json.syntax")
    return values


def parse_json(text: bytes) -> Any:
    """JSON → Python values; NaN and Infinity → `NotJSON`. Raises InvalidInput."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        fault: ValueError = error
        if b"NaN" in text or b"Infinity" in text:
            try:
                # Python takes more than these two: halves of surrogates, numbers of any size. They alone may be wrong.
                orjson.loads(_STRING_OR_TOKEN.sub(_without_token, text))
                return json.loads(text, parse_constant=NotJSON, parse_int=orjson.loads)
            except ValueError as other:
                fault = other
        raise InvalidInput(f"the body is not valid JSON: {fault}", code="json.syntax") from None


def _without_token(found: re.Match[bytes]) -> bytes:
    """Of the same length, so that what else is wrong is told at its place."""
    return found[0] if found[0].startswith(b'"') else b"0".rjust(len(found[0]))
