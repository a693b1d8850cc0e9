"""Localized narratives: what people said of pictures, a JSON object a line. Captions become rows that can be read.

    {"dataset_id":…,"image_id":"a","annotator_id":7,"caption":"A cat sits.","timed_caption":[…],"traces":[…],…}
      → the file, kept as it came    → a kept row: a,openimages,7,A cat sits.

The rows are there to be read with their picture; they are never written, as the file itself goes back byte by byte. A
line may be about any picture of the world: those of other tasks are counted, not refused.

Source: Open Images reference 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from app.annotations import Annotations, Rows
from app.columns import Ragged, join_records
from app.errors import shorten
from app.formats.open_images.layout import NARRATIVE_COLUMNS, TableFile
from app.formats.open_images.reading import WARNINGS_LISTED, Reading, TableState

LINES_AT_ONCE = 2000
CAPTIONS_SHOWN = 3
NO_TEXT = "\ufffd"  # in place of NUL, which no table holds
_KEYS = ("image_id", "dataset_id", "annotator_id", "caption")
"""In the order of the columns."""


@dataclass(slots=True)
class _Count:
    lines: int = 0
    tied: int = 0
    images: set[int] = field(default_factory=set)
    captions: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {"lines": self.lines, "tied": self.tied, "images": len(self.images), "captions": self.captions}


def read_narratives(reading: Reading) -> None:
    """The captions of all files of narratives; the report tells how many there are, and the first few."""
    found = {}
    for file in reading.layout.of("narratives"):
        found[file.path] = _read_file(reading, file).to_dict()
    if found:
        reading.report.summary["narratives"] = found


def _read_file(reading: Reading, file: TableFile) -> _Count:
    table = reading.open_rows(file, NARRATIVE_COLUMNS)
    count = _Count()
    waiting: list[tuple[str, ...]] = []
    for row, line in enumerate(_lines(reading, file), 1):
        if not line.strip():
            continue
        count.lines += 1
        reading.count_row(table)
        told = _parse(reading, table, row, line)
        if told is not None:
            waiting.append(told)
        if len(waiting) == LINES_AT_ONCE:
            _write(reading, table, waiting, count)
            waiting.clear()
    _write(reading, table, waiting, count)
    return count


def _lines(reading: Reading, file: TableFile) -> Iterator[bytes]:
    """Lines without their ends; of one over the limit no more than the limit's worth, which is no JSON any more."""
    limit = reading.options.max_field_bytes
    rest = b""
    for block in reading.blocks(file.path):
        *whole, last = block.split(b"\n")
        if whole:
            yield rest + whole[0]
            yield from whole[1:]
            rest = b""
        rest = (rest + last)[: limit + 1]
    if rest:
        yield rest


def _parse(reading: Reading, table: TableState, row: int, line: bytes) -> tuple[str, ...] | None:
    """The texts of a line by column; None for one that is no narrative."""
    try:
        if len(line) > reading.options.max_field_bytes:
            raise ValueError(f"it is longer than {reading.options.max_field_bytes:,} bytes")
        told = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
        if not isinstance(told, dict) or not isinstance(told.get("image_id"), str):
            raise ValueError("it has no image_id")
    except ValueError as error:
        _warn(reading, table, row, f"this line is no narrative ({error}); the file is kept as it is")
        return None
    return tuple("" if told.get(key) is None else str(told[key]).replace("\0", NO_TEXT) for key in _KEYS)


def _warn(reading: Reading, table: TableState, row: int, message: str) -> None:
    told = table.listed["narrative.bad_line"] = table.listed.get("narrative.bad_line", 0) + 1
    if told <= WARNINGS_LISTED:
        reading.report.warn("narrative.bad_line", shorten_words(message), file=table.path, row=row)
    else:
        reading.report.count_more("narrative.bad_line", "warning", 1)


def shorten_words(message: str) -> str:
    """A message that quotes a parser, on one line."""
    return " ".join(message.split())


def _write(reading: Reading, table: TableState, lines: list[tuple[str, ...]], count: _Count) -> None:
    if not lines:
        return
    columns = [Ragged.from_bytes([text.encode() for text in column]) for column in zip(*lines, strict=True)]
    frames = reading.index.match(columns[0], table.subset, table.root).frames
    good = np.flatnonzero(frames >= 0)
    of_table = reading.report.table(table.path)
    of_table.kept += len(good)
    of_table.dropped += len(lines) - len(good)
    count.tied += len(good)
    reading.n_kept_rows += len(good)
    count.images.update(frames[good].tolist())
    for place in good[: CAPTIONS_SHOWN - len(count.captions)].tolist():
        count.captions.append({"image": shorten(lines[place][0]), "caption": shorten(lines[place][3])})
    records = join_records(columns, len(lines)).take(good)
    reading.write(Annotations(rows=Rows(frames[good], reading.kept(table.number, records))))
