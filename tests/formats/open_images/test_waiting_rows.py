"""Rows that wait come back as they went, in memory and on disk."""

from __future__ import annotations

import numpy as np
import pytest

from app.columns import Ragged
from app.formats.open_images.kept_rows import TableRows
from app.formats.open_images.waiting_rows import WaitingRows


@pytest.mark.parametrize("spool_bytes", [1 << 20, 64])
def test_batches_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch, spool_bytes: int) -> None:
    monkeypatch.setattr("app.spools.SPOOL_BYTES", spool_bytes)
    random = np.random.default_rng(1)
    waiting, parts = WaitingRows(), []
    for batch in range(20):
        n_rows = int(random.integers(0, 9))
        texts = [random.bytes(int(random.integers(0, 30))) for _ in range(n_rows)]
        entries = Ragged.from_bytes(texts[::-1]) if batch % 3 else None
        frames = np.sort(random.integers(0, 5, n_rows)).astype(np.int32)
        parts.append(TableRows(frames, Ragged.from_bytes(texts), entries))
        waiting.add(parts[-1])
    for _ in range(2):  # as often as somebody asks
        for part, given in zip(waiting, parts, strict=True):
            assert part.frames.dtype == np.int32
            assert part.frames.tolist() == given.frames.tolist()
            assert part.records.to_bytes_list() == given.records.to_bytes_list()
            assert (part.entries is None) == (given.entries is None)
            if part.entries is not None and given.entries is not None:
                assert part.entries.to_bytes_list() == given.entries.to_bytes_list()


def test_nothing_waits() -> None:
    assert list(WaitingRows()) == []
