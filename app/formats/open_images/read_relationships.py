"""Relationship tables: kept row by row, each tied to its image and its boxes. No shape shows them.

    first pass    rows are checked; their ends (image, label, four coordinates) wait for the boxes
    boxes         go by (`waiting_ends.py`)
    second pass   rows are kept; which of their two ends have a box is remembered by the number of their table

An end that has a box follows it on export: `write_relationships.py`. One without is no error, as the boxes may be in
another archive: the row stays as it is. The labels need be none of the task's.

Source: Open Images reference 1.3: `is` is of one thing and an attribute of it, so both its ends are one box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Rows, RowsMeaning
from app.columns import Cells, CSVBlock, decode_numbers, decode_texts, distinct
from app.errors import shorten
from app.formats.open_images.layout import COORDINATES, ENDS, IS
from app.formats.open_images.read_boxes import claim_subset
from app.formats.open_images.reading import Ints, Mask, Reading, TableState
from app.formats.open_images.repeats import RepeatedRows, repeats_of
from app.formats.open_images.waiting_ends import WaitingEnds

Reals = npt.NDArray[np.float64]
RELATIONS_LISTED = 100


@dataclass(frozen=True, slots=True)
class RelationshipRows:
    """All rows of the relationship tables, while they wait for boxes.

    Attributes:
        frames: (R,) int32 for each table, -1 for a row that is not kept.
        ends: of the kept rows: both of the first row, both of the second, …
        relations: how many rows each relation has.
    """

    tables: list[tuple[TableState, Ints]]
    ends: WaitingEnds
    relations: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of N rows: codes of their labels (N, 2), coordinates (N, 2, 4), and whether all four are numbers."""

    codes: Ints
    boxes: Reals
    is_whole: Mask


def read_relationship_rows(reading: Reading) -> RelationshipRows:
    """The first pass over the tables."""
    tables: list[tuple[TableState, Ints]] = []
    waiting = WaitingEnds(reading.target.frames.start, len(reading.target.frames))
    relations: dict[str, int] = {}
    for file in reading.layout.of("relationships"):
        table = reading.open_table(file)
        frames_of_blocks = [np.zeros(0, dtype=np.int32)]
        with repeats_of(reading, table) as repeats:
            for block in reading.read_table(table):
                frames = _read_block(reading, table, block, repeats)
                good = np.flatnonzero(frames >= 0)
                frames_of_blocks.append(frames)
                ends = _ends(reading, table.path, block)
                waiting.add(
                    np.repeat(frames[good], 2),
                    ends.codes[good].reshape(-1),
                    ends.boxes[good].reshape(-1, 4),
                    ends.is_whole[good].reshape(-1),
                )
                _count_relations(block.cells("RelationshipLabel").take(good), relations)
        tables.append((table, np.concatenate(frames_of_blocks)))
    return RelationshipRows(tables, waiting, relations)


def _read_block(reading: Reading, table: TableState, block: CSVBlock, repeats: RepeatedRows) -> Ints:
    """(N,) the frame of each row, -1 for one that is not kept."""
    bad = np.zeros(len(block), dtype=np.bool_)
    frames, ids = reading.find_frames(table, block, bad)
    for end in ENDS:
        reading.require(table, block, f"LabelName{end}", bad)
    claim_subset(reading, table, block, frames, bad)
    count = reading.report.table(table.path)
    good = np.flatnonzero(~bad)
    count.dropped += len(block) - len(good)
    count.kept += len(good)
    reading.n_kept_rows += len(good)
    if len(good):
        reading.name_images(frames[good], ids.take(good))
        repeats.add(block, good)
    return np.where(bad, np.int32(-1), frames)


def _ends(reading: Reading, file: str, block: CSVBlock) -> Ends:
    """What the rows name. The second end of an `is` row is the first thing again, so it has that one's label."""
    codes = np.stack([reading.labels.codes(block.cells(f"LabelName{end}"), file) for end in ENDS], axis=1)
    boxes = np.empty((len(block), 2, 4), dtype=np.float64)
    is_whole = np.ones((len(block), 2), dtype=np.bool_)
    for place, end in enumerate(ENDS):
        for corner, column in enumerate(COORDINATES):
            numbers = decode_numbers(block.cells(f"{column}{end}"))
            boxes[:, place, corner] = numbers.values
            is_whole[:, place] &= ~(numbers.empty | numbers.not_number | numbers.not_finite)
    attributive = is_attributive(block.cells("RelationshipLabel"))
    codes[attributive, 1] = codes[attributive, 0]
    return Ends(codes.astype(np.int32), boxes, is_whole)


def is_attributive(relations: Cells) -> Mask:
    """(N,) bool, rows of a thing and an attribute of it."""
    texts = decode_texts(relations)
    flags = np.array([text.strip().casefold() == IS for text in texts.values], dtype=np.bool_)
    found: Mask = flags[texts.codes] if len(flags) else np.zeros(len(texts), dtype=np.bool_)
    return found


def _count_relations(cells: Cells, relations: dict[str, int]) -> None:
    texts = decode_texts(cells)
    for name, count in zip(texts.values, np.bincount(texts.codes, minlength=len(texts.values)).tolist(), strict=True):
        if name in relations or len(relations) < RELATIONS_LISTED:
            relations[name] = relations.get(name, 0) + count


def write_relationships(reading: Reading, rows: RelationshipRows) -> None:
    """The second pass, when all boxes have come."""
    if not rows.tables:
        return
    has_box = rows.ends.find().reshape(-1, 2)  # (K, 2)
    done = 0
    for table, frames in rows.tables:
        first = 0
        for block in reading.read_again(table):
            here = frames[first : first + len(block)]
            first += len(block)
            n_kept = int((here >= 0).sum())
            _write_block(reading, table, block, here, has_box[done : done + n_kept])
            done += n_kept
    n_linked = np.bincount(has_box.sum(axis=1), minlength=3).tolist()
    reading.report.summary["relationships"] = {
        "rows": len(has_box),
        "linked": n_linked[2],
        "half_linked": n_linked[1],
        "unlinked": n_linked[0],
        "relations": {shorten(name): count for name, count in sorted(rows.relations.items())},
    }


def _write_block(reading: Reading, table: TableState, block: CSVBlock, frames: Ints, has_box: Mask) -> None:
    good = np.flatnonzero(frames >= 0)
    if not len(good):
        return
    for place, end in enumerate(ENDS):
        lone = np.zeros(len(block), dtype=np.bool_)
        lone[good] = ~has_box[:, place]
        cells = block.cells(f"LabelName{end}")
        message = f"no box of this label has the coordinates of end {end}; the row is kept as it is"
        reading.tell(table, "warning", "relationship.unlinked", block.rows, lone, f"XMin{end}", message, cells)
    kept = reading.kept(table.number, block.lines.take(good))
    if not reading.is_selecting:  # else the boxes may be left out, and would seem to have been deleted
        numbers = np.array([reading.linked_table(table, ends) if ends in _used(has_box) else 0 for ends in range(4)])
        kept = replace(kept, tables=numbers[_bits(has_box)].astype(np.int32))
    codes = [reading.labels.codes(block.cells(f"LabelName{end}").take(good), table.path) for end in ENDS]
    label_ids = np.stack([reading.labels.meant(of_end) for of_end in codes], axis=1)
    reading.write(Annotations(rows=Rows(frames[good], kept), meaning=RowsMeaning("relationships", label_ids)))


def _bits(has_box: Mask) -> npt.NDArray[np.int64]:
    return has_box[:, 0].astype(np.int64) + 2 * has_box[:, 1]


def _used(has_box: Mask) -> set[int]:
    return set(distinct(_bits(has_box)).tolist())
