"""Rows that wait for their part come back as they came, part by part, however many are written together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.annotations import Shapes, unpack_mask
from app.blocks import WaitingTables, flat_columns, waiting
from app.columns import LazyRagged, LazyTexts, PackedRagged, Ragged, StoredLines, Texts
from app.columns.stored import LinePart
from tests.storage.stores import shapes


def batch(random: np.random.Generator) -> Shapes:
    """Rows of ascending frames whose columns are read when somebody looks, and packed, or neither."""
    rows = int(random.integers(0, 60))
    frames = np.sort(random.integers(0, 40, rows)).tolist()
    lines = [b"line %d" % random.integers(0, 1 << 40) for _ in frames]
    table = shapes(frames, lines=lines).replace(ids=random.integers(1, 1 << 40, rows))
    if not rows or random.random() < 0.3:
        return table
    texts = Texts.from_list([f"[{number % 5}]" for number in range(rows)])
    cells = Ragged.from_bytes([b"%d" % row if row % 3 else b"" for row in range(rows)])
    plain = Ragged.from_arrays([[] if row % 3 else [row] for row in range(rows)], np.int32)
    points = table.points
    return table.replace(
        attributes=LazyTexts(lambda: texts, rows),
        points=LazyRagged(lambda: points, rows, np.float64),
        runs=PackedRagged(cells, plain, unpack_mask),
        kept=table.kept.replace(lines=StoredLines([LinePart.of(table.kept.lines)])),
    )


def values(table: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, column in flat_columns(table).items():
        if isinstance(column, PackedRagged):
            found[f"packed {name}"], column = column.packed.to_bytes_list(), column.plain
        if isinstance(column, Ragged):
            found[name] = [column.row(row).tolist() for row in range(len(column))]
        else:
            found[name] = column.to_list() if isinstance(column, Texts) else column.tolist()
    return found


@pytest.mark.parametrize("stretch_rows", [1, 100, 1 << 16])
@pytest.mark.parametrize("seed", range(4))
def test_rows_come_back_part_by_part(seed: int, stretch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STRETCH_ROWS", stretch_rows)
    monkeypatch.setattr(waiting, "READ_ROWS", 50)
    random = np.random.default_rng(seed)
    tables = WaitingTables()
    given = [batch(random) for _ in range(20)]
    for table in given:
        tables.add(table, table.frames % 7 - 1)
    whole = Shapes.concatenate([table for table in given if len(table)])
    for part in (3, 0, 5, 1, 2, 4, 0):
        some = list(tables.read(part))
        assert max(map(len, some)) <= max(50, stretch_rows)
        assert values(Shapes.concatenate(some)) == values(whole.take(whole.frames % 7 - 1 == part))
    assert list(tables.read(6)) == []


def test_rows_that_come_together_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "READ_ROWS", 1)
    tables = WaitingTables()
    for start in (0, 3):
        table = shapes([start, start, start + 1, start + 2, start + 2])
        tables.add(table, np.array([0, 0, 1, 0, 0]))
        tables._write()
    assert [table.frames.tolist() for table in tables.read(0)] == [[0, 0, 2, 2], [3, 3, 5, 5]]
