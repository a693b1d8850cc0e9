"""What is seen of many packed masks, by whoever has a hand free: work for a `Crew`.

    shapes  b m b b m …     runs of the masks alone, some MASKS_A_LOOK of them     →  a job, here or in a helper
                            texts of their run lengths, or the boxes around them   ←  its answer

A packed mask takes 2 kB and 0.2 ms; how many run lengths it has, nobody knows before. So a look at texts ends where
they fill 4 MiB, and says how many masks it saw: for the others one asks again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations.packed_masks import NO_BOX, box_of_mask
from app.columns import PackedRagged, Ragged

MASKS_A_LOOK = 64
BYTES_A_LOOK = 256 << 10
ROWS_A_LOOK = 4096
UNHELPED_LOOKS = 24
"""Done before a helper is started, in the time that it takes to start."""
MOST_TEXT = 4 << 20


def filled_rows(runs: Ragged) -> npt.NDArray[np.bool_]:
    """(N,) which rows have run lengths, packed or not."""
    if isinstance(runs, PackedRagged):
        return (runs.packed.lengths > 0) | (runs.plain.lengths > 0)
    return runs.lengths > 0


def cut_for_looks(runs: Ragged) -> Iterator[tuple[int, int]]:
    """Stretches of rows that make a job each."""
    plain, packed = (runs.plain, runs.packed.lengths) if isinstance(runs, PackedRagged) else (runs, 0)
    masks = np.cumsum(filled_rows(runs))  # (N,) up to each row
    sizes = np.cumsum(plain.lengths * plain.dtype.itemsize + packed)
    start, n = 0, len(runs)
    while start < n:
        before = (int(masks[start - 1]), int(sizes[start - 1])) if start else (0, 0)
        stop = min(
            int(np.searchsorted(masks, before[0] + MASKS_A_LOOK, side="right")),
            int(np.searchsorted(sizes, before[1] + BYTES_A_LOOK, side="right")),
            start + ROWS_A_LOOK,
        )
        stop = min(max(stop, start + 1), n)
        yield start, stop
        start = stop


def write_runs(runs: Ragged) -> tuple[int, bytes]:
    """The numbers of each row as JSON without brackets, with a `;` between rows: of so many rows, at least one."""
    texts: list[bytes] = []
    size = 0
    for row in range(len(runs)):
        text = orjson.dumps(runs.row(row), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        if texts and size + len(text) > MOST_TEXT:
            break
        texts.append(text)
        size += len(text)
    return len(texts), b";".join(texts)


def find_boxes(runs: Ragged) -> npt.NDArray[np.int64]:
    """(N, 4) left, top, right, bottom (inclusive) of each row, `NO_BOX` where it has no pixel."""
    boxes = np.empty((len(runs), len(NO_BOX)), dtype=np.int64)
    plain = runs.plain if isinstance(runs, PackedRagged) else runs
    has_box = plain.lengths >= len(NO_BOX)
    boxes[~has_box] = NO_BOX
    boxes[has_box] = plain.values[plain.offsets[1:][has_box][:, None] + np.arange(-len(NO_BOX), 0)]
    if isinstance(runs, PackedRagged):
        for row in np.flatnonzero(runs.packed.lengths).tolist():
            boxes[row] = box_of_mask(runs.packed.row(row))
    return boxes
