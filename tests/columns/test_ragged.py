"""Columns of varying lengths, columns of few texts, and cells in a buffer."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from app.columns import Cells, GrowingRagged, Ragged, Texts
from app.columns.words import Bytes, Positions, Words, copy_cells, equal_cells, hash_cells, hash_lines, joined_cells


def rows_of(column: Ragged) -> list[list[int]]:
    return [column.row(index).tolist() for index in range(len(column))]


def random_rows(rng: random.Random, n: int) -> list[list[int]]:
    return [[rng.randrange(256) for _ in range(rng.choice([0, 0, 1, 3, 8, 20]))] for _ in range(n)]


@pytest.mark.parametrize("n", [0, 1, 200])
def test_ragged_keeps_its_rows(n: int) -> None:
    rng = random.Random(n)
    rows = random_rows(rng, n)
    column = Ragged.from_arrays(rows, np.uint8)
    assert rows_of(column) == rows
    assert column.lengths.tolist() == [len(row) for row in rows]
    assert column.to_bytes_list() == [bytes(row) for row in rows]
    assert rows_of(Ragged.from_bytes([bytes(row) for row in rows])) == rows


@pytest.mark.parametrize("n", [0, 1, 200])
def test_ragged_takes_slices_and_joins_as_lists_do(n: int) -> None:
    rng = random.Random(n)
    rows = random_rows(rng, n)
    column = Ragged.from_arrays(rows, np.int32)
    indices = [rng.randrange(n) for _ in range(2 * n)]
    assert rows_of(column.take(np.array(indices, dtype=np.int64))) == [rows[i] for i in indices]
    start, stop = sorted((rng.randint(0, n), rng.randint(0, n)))
    assert rows_of(column.slice(start, stop)) == rows[start:stop]
    parts = [column.slice(0, start), column.slice(start, stop), column.slice(stop, n)]
    assert rows_of(Ragged.concatenate(parts)) == rows
    assert rows_of(Ragged.concatenate([column])) == rows


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_growing_column_is_all_of_its_parts(n: int) -> None:
    rng = random.Random(n)
    parts = [Ragged.from_arrays(random_rows(rng, rng.randrange(9)), np.float64) for _ in range(n)]
    growing = GrowingRagged(np.float64)
    for part in parts:
        growing.add(part)
    column = growing.column()
    assert column.dtype == np.float64
    assert rows_of(column) == [row for part in parts for row in rows_of(part)]


def test_no_row_or_few_of_a_column_do_not_hold_its_values() -> None:
    column = Ragged.from_bytes([b"x" * 100_000, b"", b"y", b"z" * 100_000])
    for rows in ([], [1], [2], [1, 2]):
        values = column.take(np.array(rows, dtype=np.int64)).values
        assert values.base is None or values.base.nbytes < 100


@pytest.mark.parametrize("length", [0, 1, 40, 700, 40_000], ids=lambda length: f"rows of up to {length}")
def test_ragged_takes_pieces_and_stretches_as_lists_do(length: int) -> None:
    rng = random.Random(length)
    rows = [bytes([rng.randrange(256)]) * rng.randint(length // 2, length) for _ in range(60)]
    column = Ragged.from_bytes(rows)
    wanted = [
        list(range(60)),
        list(range(7, 50)),
        list(range(20, 23)),
        [row for row in range(60) if row % 9],
        sorted(rng.choices(range(60), k=80)),
        rng.choices(range(60), k=80),
        [5],
        [],
    ]
    for indices in wanted:
        taken = column.take(np.array(indices, dtype=np.int64))
        assert taken.to_bytes_list() == [rows[index] for index in indices]


def test_ragged_empty_has_rows_of_nothing() -> None:
    assert rows_of(Ragged.empty(np.float64, 3)) == [[], [], []]
    assert len(Ragged.empty(np.uint8)) == 0


def test_ragged_gives_bytes_and_texts() -> None:
    column = Ragged.from_bytes(["é".encode(), b"", b"abc"])
    assert column.row_bytes(0) == "é".encode()
    assert column.to_texts() == ["é", "", "abc"]


@pytest.mark.parametrize(
    "offsets", [np.array([], dtype=np.int64), np.array([0, 3], dtype=np.int32), np.array([0, 2]), np.array([1, 3])]
)
def test_ragged_refuses_offsets_that_do_not_fit(offsets: np.ndarray) -> None:
    with pytest.raises(ValueError, match="offsets"):
        Ragged(np.zeros(3, dtype=np.uint8), offsets)


def test_texts_keep_their_rows() -> None:
    texts = ["b", "a", "b", "", "é"]
    column = Texts.from_list(texts)
    assert column.to_list() == texts
    assert column.values == ("b", "a", "", "é")
    assert [column.row(index) for index in range(5)] == texts
    assert column.take(np.array([4, 0])).to_list() == ["é", "b"]
    assert column.slice(1, 3).to_list() == ["a", "b"]
    assert Texts.same("x", 3).to_list() == ["x"] * 3


def test_texts_compact_forgets_what_is_not_used() -> None:
    column = Texts.from_list(["c", "b", "a", "b"]).slice(1, 4).compact()
    assert (column.values, column.to_list()) == (("b", "a"), ["b", "a", "b"])


def test_a_few_rows_of_a_long_column_bring_few_values() -> None:
    column = Texts.from_list([str(number) for number in range(1000)])
    parts = [column.slice(990, 993), Texts.from_list(["x", "991"])]
    joined = Texts.concatenate(parts)
    assert joined.to_list() == ["990", "991", "992", "x", "991"]
    assert set(joined.values) == {"990", "991", "992", "x"}


def test_texts_concatenate_shares_values() -> None:
    parts = [Texts.from_list(["a", "b"]), Texts.from_list([]), Texts.from_list(["b", "c"])]
    joined = Texts.concatenate(parts)
    assert (joined.values, joined.to_list()) == (("a", "b", "c"), ["a", "b", "b", "c"])
    assert Texts.concatenate([]).to_list() == []
    assert Texts.concatenate(parts[:1]) is parts[0]


def test_texts_refuse_codes_of_another_type() -> None:
    with pytest.raises(ValueError, match="codes"):
        Texts(np.zeros(2, dtype=np.int64), ("a",))


def random_cells(rng: random.Random, n: int) -> tuple[Cells, list[bytes]]:
    """Cells in a buffer without any room around them, in any order, some sharing bytes."""
    lengths = [0, 1, 2, 7, 8, 9, 15, 16, 17, 100, 511, 512, 513, 2000]
    buffer = rng.randbytes(5000)
    starts = [rng.randrange(3000) for _ in range(n)]
    stops = [start + rng.choice(lengths) for start in starts]
    cells = Cells(
        np.frombuffer(buffer, dtype=np.uint8), np.array(starts, dtype=np.int64), np.array(stops, dtype=np.int64)
    )
    return cells, [buffer[start:stop] for start, stop in zip(starts, stops, strict=True)]


@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_cells_are_copied_into_a_column(n: int) -> None:
    cells, texts = random_cells(random.Random(n), n)
    assert cells.ragged().to_bytes_list() == texts
    assert [cells.row_bytes(row) for row in range(n)] == texts
    assert Cells.of(cells.ragged()).ragged().to_bytes_list() == texts
    assert cells.lengths.tolist() == [len(text) for text in texts]


def test_cells_at_the_very_ends_of_a_buffer_are_copied() -> None:
    buffer = np.frombuffer(b"0123456789", dtype=np.uint8)
    bounds = [(0, 10), (0, 0), (10, 10), (9, 10), (0, 1)]
    starts, stops = (np.array(side, dtype=np.int64) for side in zip(*bounds, strict=True))
    assert Cells(buffer, starts, stops).ragged().to_bytes_list() == [b"0123456789", b"", b"", b"9", b"0"]


@pytest.mark.parametrize("n", [0, 1, 300])
def test_cells_take_rows_and_masks(n: int) -> None:
    rng = random.Random(n)
    cells, texts = random_cells(rng, n)
    indices = [rng.randrange(n) for _ in range(n)]
    assert cells.take(np.array(indices, dtype=np.int64)).ragged().to_bytes_list() == [texts[i] for i in indices]
    mask = np.array([rng.random() < 0.5 for _ in range(n)], dtype=np.bool_)
    expected = [text for text, keep in zip(texts, mask.tolist(), strict=True) if keep]
    assert cells.take(mask).ragged().to_bytes_list() == expected


def test_cells_are_trimmed_as_bytes_are() -> None:
    rng = random.Random(3)
    texts = [
        bytes(rng.choices(b" \t\n\v\f\ra", k=rng.randrange(40)))
        + rng.choice([b"", b"x y", b"z"])
        + b" " * rng.randrange(12)
        for _ in range(500)
    ]
    trimmed = Cells.of(Ragged.from_bytes(texts)).trimmed()
    assert trimmed.ragged().to_bytes_list() == [text.strip() for text in texts]
    assert len(Cells.blank(0).trimmed()) == 0
    assert Cells(np.zeros(0, np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int64)).trimmed().lengths.tolist() == [
        0,
        0,
    ]


def test_blank_cells_are_empty() -> None:
    assert Cells.blank(3).ragged().to_bytes_list() == [b"", b"", b""]
    assert Cells.blank(2).row_text(1) == ""


def test_row_text_replaces_what_is_no_utf8() -> None:
    assert Cells.of(Ragged.from_bytes([b"a\xff"])).row_text(0) == "a\ufffd"


def test_cells_are_equal_where_their_bytes_are() -> None:
    rng = random.Random(9)
    cells, texts = random_cells(rng, 400)
    others = [bytearray(text) for text in texts]
    for other in others:
        if rng.random() < 0.5 and other:
            other[rng.randrange(len(other))] ^= 1 << rng.randrange(8)
        elif rng.random() < 0.2:
            other += b"\0"
    column = Cells.of(Ragged.from_bytes([bytes(other) for other in others]))
    equal = equal_cells(cells.buffer, cells.starts, cells.stops, column.buffer, column.starts, column.stops)
    assert equal.tolist() == [text == bytes(other) for text, other in zip(texts, others, strict=True)]
    assert 0 < equal.sum() < 400


Hash = Callable[[Bytes, Positions, Positions], Words]


@pytest.mark.parametrize("hash_texts", [hash_cells, hash_lines])
def test_equal_cells_have_equal_hashes_and_others_hardly_ever(hash_texts: Hash) -> None:
    cells, texts = random_cells(random.Random(8), 500)
    copied = Cells.of(Ragged.from_bytes(texts))
    hashes = hash_texts(cells.buffer, cells.starts, cells.stops)
    assert np.array_equal(hashes, hash_texts(copied.buffer, copied.starts, copied.stops))
    assert len(set(hashes.tolist())) == len(set(texts))


@pytest.mark.parametrize("hash_texts", [hash_cells, hash_lines])
def test_a_cell_has_the_same_hash_alone_and_in_company(hash_texts: Hash, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, texts = random_cells(random.Random(6), 200)
    together = hash_texts(cells.buffer, cells.starts, cells.stops)
    alone = [
        hash_texts(one.buffer, one.starts, one.stops)[0] for one in (cells.take(np.array([i])) for i in range(200))
    ]
    assert together.tolist() == alone
    assert b"" in texts
    monkeypatch.setattr("app.columns.words._AT_ONCE", 7)
    assert np.array_equal(together, hash_texts(cells.buffer, cells.starts, cells.stops))


def test_words_that_reach_beyond_the_buffer_end_with_zeros() -> None:
    # A short cell is the last, beside one that is as long as all that is left.
    texts = [b"x" * 200, b"yz"]
    cells = Cells.of(Ragged.from_bytes(texts))
    alone = Cells.of(Ragged.from_bytes(texts[1:]))
    hashes = hash_cells(cells.buffer, cells.starts, cells.stops)
    assert hashes[1] == hash_cells(alone.buffer, alone.starts, alone.stops)[0]


def test_lines_with_the_highest_bit_of_a_word_flipped_have_other_hashes() -> None:
    # Multiplied alone, that bit stays where it is, and two bits of the next word take it away again.
    text, other = bytes(24), bytearray(24)
    for place, bits in ((7, 0x80), (12, 0x04), (15, 0x80)):
        other[place] = bits
    cells = Cells.of(Ragged.from_bytes([text, bytes(other)]))
    edges = cells.starts, cells.stops
    assert len(set(hash_cells(cells.buffer, *edges).tolist())) == 1
    assert len(set(hash_lines(cells.buffer, *edges).tolist())) == 2


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("most", [1, 7, 60, 300, 3000])
@pytest.mark.parametrize("n", [1, 3, 100, 700])
def test_cells_are_put_one_behind_the_other(n: int, most: int, gap: int) -> None:
    rng = random.Random(f"{n} {most} {gap}")
    buffer = rng.randbytes(rng.choice([most, most + 9, 40 * most]))
    for kind in ("alike", "unlike", "few are long", "empty ones", "the last bytes", "all of it"):
        cells = []
        for _ in range(n):
            length = {
                "alike": rng.randint(most // 2, most),
                "unlike": rng.choice([1, most]),
                "few are long": most if rng.random() < 0.01 else 1,
                "empty ones": rng.choice([0, 0, min(3, most)]),
                "the last bytes": min(rng.randint(0, 9), most),
                "all of it": len(buffer) if n < 10 else most,
            }[kind]
            start = len(buffer) - length if kind == "the last bytes" else rng.randint(0, len(buffer) - length)
            cells.append((start, start + length))
        starts, stops = (np.array(side, dtype=np.int64) for side in zip(*cells, strict=True))
        values, places = joined_cells(np.frombuffer(buffer, dtype=np.uint8), starts, stops, gap)
        assert np.diff(places).tolist() == [stop - start + gap for start, stop in cells]
        found = [values[place : place + stop - start] for place, (start, stop) in zip(places, cells, strict=False)]
        assert [one.tobytes() for one in found] == [buffer[start:stop] for start, stop in cells], kind
        assert len(values) == places[-1]


def test_cells_are_copied_to_places_with_gaps() -> None:
    cells, texts = random_cells(random.Random(5), 200)
    target = np.zeros(sum(len(text) + 1 for text in texts) + 8, dtype=np.uint8)
    places = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    copy_cells(target, places, cells.buffer, cells.starts, cells.stops)
    assert target[:-8].tobytes() == b"".join(text + b"\0" for text in texts)
    assert not target[-8:].any()
