"""Lines that are stored as texts of tables: the same lines, read part by part, and only where somebody looks."""

from __future__ import annotations

import pickle
import tracemalloc
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import pytest

from app.columns import LinePart, Ragged, StoredLines
from app.deflate import Piece


class Parts:
    """Some parts and what was read of them."""

    def __init__(self, chance: np.random.Generator) -> None:
        self.texts = [
            [bytes(chance.integers(97, 123, chance.integers(0, 6), dtype=np.uint8)) for _ in range(count)]
            for count in chance.integers(1, 6, chance.integers(1, 5)).tolist()
        ]
        self.reads: list[int] = []
        self.is_packed = chance.random(len(self.texts)) < 0.7

    @property
    def lines(self) -> list[bytes]:
        return [line for part in self.texts for line in part]

    @cached_property
    def stored(self) -> list[LinePart]:
        return [
            LinePart(
                np.array(list(map(len, part)), dtype=np.int64),
                Piece(b"".join(line + b"\n" for line in part), number, 0) if packed else None,
                10,
                partial(self.read, number),
            )
            for number, (part, packed) in enumerate(zip(self.texts, self.is_packed, strict=True))
        ]

    def read(self, number: int) -> np.ndarray:
        self.reads.append(number)
        return np.frombuffer(b"".join(self.texts[number]), dtype=np.uint8)


def test_a_column_of_lines_holds_one_part_of_them_at_a_time() -> None:
    n_parts, n_bytes = 20, 1 << 20
    lengths = np.full(1024, n_bytes // 1024, dtype=np.int64)
    stored = [LinePart(lengths, None, 10, partial(np.full, n_bytes, part, np.uint8)) for part in range(n_parts)]
    tracemalloc.start()
    try:
        column = StoredLines(stored).column()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert column.values.tolist() == np.repeat(np.arange(n_parts), n_bytes).tolist()
    assert len(column) == 1024 * n_parts
    assert peak < 1.2 * n_parts * n_bytes


@pytest.mark.parametrize("seed", range(60))
def test_lines_are_taken_and_joined_as_those_of_a_plain_column(seed: int) -> None:
    chance = np.random.default_rng(seed)
    parts = [Parts(chance) for _ in range(3)]
    found: Ragged = StoredLines(parts[0].stored)
    lines = parts[0].lines
    for step in range(chance.integers(0, 5)):
        kind = chance.integers(3)
        if kind == 0:
            rows = chance.integers(0, len(lines), chance.integers(0, 12)) if lines else np.empty(0, dtype=np.int64)
            found, lines = found.take(rows), [lines[row] for row in rows.tolist()]
        elif kind == 1:
            start, stop = sorted(chance.integers(0, len(lines) + 1, 2).tolist())
            found, lines = found.slice(start, stop), lines[start:stop]
        else:
            other: Ragged = Ragged.from_bytes([b"drawn"]) if step % 2 else StoredLines(parts[1 + step // 3].stored)
            more = [b"drawn"] if step % 2 else parts[1 + step // 3].lines
            found, lines = Ragged.concatenate([found, other]), lines + more
    assert isinstance(found, StoredLines)
    assert len(found) == len(lines)
    assert found.lengths.tolist() == list(map(len, lines))
    assert not any(part.reads for part in parts), "nobody has looked"
    assert found.to_bytes_list() == lines
    assert [found.row_bytes(row) for row in range(len(lines))] == lines
    assert pickle.loads(pickle.dumps(found)).to_bytes_list() == lines
    for part in parts:
        assert len(set(part.reads)) == len(part.reads), "each part is read once"
    assert StoredLines(parts[0].stored).column().to_bytes_list() == parts[0].lines
    again = found.apart()
    assert again.to_bytes_list() == lines
    assert again.packed_bytes <= found.packed_bytes


def test_only_what_is_looked_at_is_read() -> None:
    parts = Parts(np.random.default_rng(3))
    parts.texts = [[b"a", b"b"], [b"c"], [b"d", b"e"]]
    parts.is_packed = np.ones(3, dtype=np.bool_)
    lines = StoredLines(parts.stored)
    assert lines.take(np.array([4, 3])).to_bytes_list() == [b"e", b"d"]
    assert parts.reads == [2]
    assert lines.take(np.array([0, 4])).to_bytes_list() == [b"a", b"e"]
    assert parts.reads == [2, 0]
    assert lines.to_bytes_list() == [b"a", b"b", b"c", b"d", b"e"]
    assert sorted(parts.reads) == [0, 1, 2]
    assert lines.take(np.empty(0, dtype=np.int64)).to_bytes_list() == []
    some = lines.take(np.array([3, 0]))
    assert isinstance(some, StoredLines)
    assert some.apart().packed_bytes == 20
    assert some.apart().to_bytes_list() == [b"d", b"a"]
    assert parts.reads[3:] == [0, 2], "what is apart has read nothing yet"


@pytest.mark.parametrize("seed", range(60))
def test_a_part_is_whole_where_all_of_its_rows_follow_each_other(seed: int) -> None:
    chance = np.random.default_rng(seed)
    parts = [Parts(chance), Parts(chance)]
    lines: Ragged = StoredLines(parts[0].stored)
    if chance.random() < 0.5:
        lines = Ragged.concatenate([lines, Ragged.from_bytes([b"x"] * 2), StoredLines(parts[1].stored)])
    rows = np.arange(len(lines))
    for _ in range(chance.integers(0, 3)):
        one, two = chance.integers(0, len(rows), 2).tolist()
        rows[[one, two]] = rows[[two, one]]
    rows = np.delete(rows, chance.integers(0, len(rows), chance.integers(0, 2)))
    taken = lines.take(rows)
    assert isinstance(taken, StoredLines)
    inner = (
        np.sort(chance.choice(np.arange(1, max(len(rows), 2)), min(len(rows) - 1, 5), replace=False))
        if rows.size
        else []
    )
    bounds = np.array([0, *inner, len(rows)], dtype=np.int64)
    pieces: dict[tuple[int, ...], Piece | None] = {}
    first = 0
    for part in taken._parts:
        pieces[tuple(range(first, first + len(part.lengths)))] = part.piece
        first += len(part.lengths)
    stretches = [tuple(rows[start:stop].tolist()) for start, stop in pairwise(bounds.tolist())]
    if len(rows):
        assert taken.whole_parts(bounds) == [pieces.get(stretch) for stretch in stretches]
    assert not parts[0].reads
