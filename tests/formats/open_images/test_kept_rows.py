"""Rows that are shown and rows that are not, as one table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from app.columns import Ragged
from app.formats.open_images.kept_rows import TableRows, merge_by_frame


def parts_of(frames: list[int], word: str, random: np.random.Generator) -> Iterator[TableRows]:
    """The rows in stretches of any length, a frame's rows in several of them, too."""
    cuts = np.unique(random.integers(0, len(frames) + 1, 6)).tolist()
    for start, stop in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        texts = [f"{word}{row}".encode() for row in range(start, stop)]
        yield TableRows(np.array(frames[start:stop], dtype=np.int32), Ragged.from_bytes(texts))


@pytest.mark.parametrize("seed", range(50))
def test_two_passes_are_one_wherever_they_are_cut(seed: int) -> None:
    random = np.random.default_rng(seed)
    shown, hidden = (np.sort(random.integers(0, 8, random.integers(0, 20))).tolist() for _ in range(2))
    merged = list(merge_by_frame(parts_of(shown, "s", random), parts_of(hidden, "h", random)))
    found = [text for part in merged for text in part.records.to_texts()]
    rows = [(frame, 0, row, f"s{row}") for row, frame in enumerate(shown)]
    rows += [(frame, 1, row, f"h{row}") for row, frame in enumerate(hidden)]
    assert found == [text for *_, text in sorted(rows)]
    assert [frame for part in merged for frame in part.frames.tolist()] == sorted(shown + hidden)
