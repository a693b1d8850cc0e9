"""Rows of a table → the texts of its blocks, 64 frames each: as they are stored, where nothing of them changed.

    rows     frames 0 … 63   │  64 … 127          │  128 … 191
    blocks   ▒▒ as stored    │  lines, deflated   │  ▒▒ as stored

Whether a block is copied or made anew does not show: both are the same bytes (`archive.writer.DeflatedMember`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, pairwise

import numpy as np

from app.blocks import BLOCK_BITS
from app.columns import LazyRagged, Ragged, StoredLines, join_lines, steps
from app.deflate import Data, Piece
from app.formats.open_images.kept_rows import Rows, TableRows

Made = Callable[[], list[tuple[int, Data | Piece]]]


def table_blocks(rows: TableRows) -> Iterator[tuple[Made, bool]]:
    """Blocks for `DeflatedMember.write_blocks`, some at a time, and whether they are packed.

    Args:
        rows: at least one.
    """
    blocks = rows.frames >> BLOCK_BITS
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(blocks)) + 1, [len(blocks)]])
    numbers = blocks[bounds[:-1]].tolist()
    records = rows.records
    if isinstance(records, LazyRagged):
        records = records.column()
    pieces: list[Piece | None] = [None] * len(numbers)
    if isinstance(records, StoredLines):
        pieces = records.whole_parts(bounds)
    for is_made, group in groupby(range(len(numbers)), key=lambda place: pieces[place] is None):
        places = list(group)
        if not is_made:
            yield partial(list, [(numbers[place], pieces[place]) for place in places]), True
            continue
        first, last = int(bounds[places[0]]), int(bounds[places[-1] + 1])
        for some in steps(last - first):  # one picture may have millions
            start, stop = first + some.start, first + some.stop
            inner = bounds[(bounds > start) & (bounds < stop)]
            cuts = np.concatenate([[start], inner, [stop]])
            yield partial(_texts, records.slice(start, stop), blocks[cuts[:-1]].tolist(), cuts - start), False


def _texts(records: Ragged, numbers: list[int], bounds: Rows) -> list[tuple[int, Data | Piece]]:
    """The text of each block, from row bounds[k] to bounds[k + 1]."""
    text = memoryview(join_lines(records))
    ends = (records.offsets[bounds] + bounds).tolist()
    return [(number, text[start:stop]) for number, (start, stop) in zip(numbers, pairwise(ends), strict=True)]
