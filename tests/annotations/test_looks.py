"""Looks at packed masks: cut into jobs of all rows, none of them too large."""

from __future__ import annotations

import numpy as np
import pytest

from app.annotations import looks
from app.annotations.looks import cut_for_looks, filled_rows, write_runs
from app.columns import PackedRagged, Ragged


def unpack(row: np.ndarray) -> np.ndarray:
    return np.repeat(row.astype(np.int32), 2)


@pytest.mark.parametrize("rows", [0, 1, 2, 500])
def test_stretches_are_all_rows_in_order_and_small(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(looks, "MASKS_A_LOOK", 7)
    monkeypatch.setattr(looks, "BYTES_A_LOOK", 400)
    monkeypatch.setattr(looks, "ROWS_A_LOOK", 30)
    random = np.random.default_rng(rows)
    lengths = random.integers(0, 90, (2, rows)) * (random.random((2, rows)) < 0.1)
    lengths[1] *= lengths[0] == 0
    plain, packed = ([np.zeros(n, dtype=np.int32) for n in each] for each in lengths.tolist())
    plain = Ragged.from_arrays(plain, np.int32)
    for runs in (plain, PackedRagged(Ragged.from_arrays(packed, np.uint8), plain, unpack)):
        stretches = list(cut_for_looks(runs))
        assert [row for start, stop in stretches for row in range(start, stop)] == list(range(rows))
        sizes = 4 * plain.lengths + (runs.packed.lengths if isinstance(runs, PackedRagged) else 0)
        assert filled_rows(runs).tolist() == (sizes > 0).tolist()
        for start, stop in stretches:
            within = sizes[start:stop]
            assert stop - start == 1 or ((within > 0).sum() <= 7 and within.sum() <= 400 and stop - start <= 30)


def test_texts_end_where_there_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Ragged.from_bytes([b"\x01", b"", b"\x0a\x0b"])
    runs = PackedRagged(packed, Ragged.from_arrays([[], [7, 8], []], np.int32), unpack)
    assert write_runs(runs) == (3, b"1,1;7,8;10,10,11,11")
    monkeypatch.setattr(looks, "MOST_TEXT", 6)
    assert write_runs(runs) == (2, b"1,1;7,8")
    monkeypatch.setattr(looks, "MOST_TEXT", 0)
    assert write_runs(runs) == (1, b"1,1")
