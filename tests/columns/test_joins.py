"""Columns to CSV bytes, beside Python's csv."""

from __future__ import annotations

import random

import numpy as np
import pytest

from app.columns import CSVReader, Ragged, Texts, join_columns, join_lines, join_records, join_words
from app.errors import Report
from tests import reference_columns as reference

TEXTS = [
    "",
    "a",
    "0.5",
    "/m/01",
    "x,y",
    'say "hi"',
    '"',
    '""',
    "a\nb",
    "a\rb",
    "\r\n",
    " ",
    "é",
    "日本語",
    "x" * 7,
    "x" * 8,
]
TEXTS += ["x" * 9, "x" * 700, "," * 600, '"' * 20, "=1+1", "-1", "\t"]


def column(texts: list[str], kind: str) -> Ragged | Texts:
    return Texts.from_list(texts) if kind == "texts" else Ragged.from_bytes([text.encode() for text in texts])


@pytest.mark.parametrize("rows", [0, 1, 2, 50, 9000])
@pytest.mark.parametrize("n_columns", [1, 2, 5])
@pytest.mark.parametrize("kind", ["texts", "ragged", "mixed"])
def test_rows_are_written_as_by_the_slow_twin(rows: int, n_columns: int, kind: str) -> None:
    rng = random.Random(rows * 10 + n_columns)
    table = [[rng.choice(TEXTS) for _ in range(n_columns)] for _ in range(rows)]
    columns = [
        column([row[place] for row in table], ["texts", "ragged"][place % 2] if kind == "mixed" else kind)
        for place in range(n_columns)
    ]
    assert join_columns(columns, rows) == reference.joined(table)
    records = join_records(columns, rows).to_bytes_list()
    assert [record + b"\n" for record in records] == [reference.joined([row]) for row in table]


@pytest.mark.parametrize("rows", [0, 1, 50, 9000])
@pytest.mark.parametrize("seed", range(6))
def test_cells_that_stand_in_every_row_are_written_as_by_the_slow_twin(rows: int, seed: int) -> None:
    rng = random.Random(seed)
    table = [[rng.choice(TEXTS) for _ in range(6)] for _ in range(rows)]
    constants = {place: rng.choice(TEXTS) for place in range(6) if rng.random() < 0.7}
    table = [[constants.get(place, cell) for place, cell in enumerate(row)] for row in table]
    columns = [
        constants[place].encode() if place in constants else column([row[place] for row in table], "texts")
        for place in range(6)
    ]
    assert join_columns(columns, rows) == reference.joined(table)
    assert join_columns([b""], rows) == reference.joined([[""]] * rows)


@pytest.mark.parametrize("rows", [0, 1, 9000])
def test_words_are_written_with_blanks_between(rows: int) -> None:
    rng = random.Random(rows)
    table = [[rng.choice(TEXTS) for _ in range(3)] for _ in range(rows)]
    columns = [Ragged.from_bytes([row[place].encode() for row in table]) for place in range(3)]
    assert join_words(columns, rows) == "".join(" ".join(row) + "\n" for row in table).encode()


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_constant_is_the_same_cell_in_every_row(text: str) -> None:
    texts = ["a", "b,c", ""]
    expected = reference.joined([[one, text] for one in texts])
    assert join_columns([column(texts, "ragged"), text.encode()], 3) == expected


def test_the_slow_twin_writes_as_python_does() -> None:
    rng = random.Random(3)
    texts = [text for text in TEXTS if "\r" not in text]
    for width in (1, 2, 3):
        table = [[rng.choice(texts) for _ in range(width)] for _ in range(300)]
        assert reference.joined(table) == reference.written_by_csv(table)


def test_rows_of_very_short_cells_do_not_disturb_one_another() -> None:
    rng = random.Random(1)
    table = [[rng.choice(["", "1", "0", "-1"]) for _ in range(3)] for _ in range(20_000)]
    columns = [column([row[place] for row in table], "ragged") for place in range(3)]
    assert join_columns(columns, len(table)) == reference.joined(table)


def test_what_is_written_is_read_back() -> None:
    rng = random.Random(2)
    table = [[rng.choice(TEXTS) for _ in range(3)] for _ in range(500)]
    data = join_columns([column([row[place] for row in table], "ragged") for place in range(3)], 500)
    blocks = list(CSVReader([data], Report(), "t.csv", columns=["a", "b", "c"], block_bytes=1 << 30))
    read = [blocks[0].cells(name).ragged().to_texts() for name in "abc"]
    assert [list(row) for row in zip(*read, strict=True)] == table


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows instead of 3"):
        join_columns([Ragged.from_bytes([b"a", b"b"])], 3)


def test_a_slice_of_a_column_is_written() -> None:
    texts = [f"{number},x" for number in range(100)]
    part = column(texts, "ragged").slice(10, 20)
    assert join_columns([part, column(texts, "texts").slice(10, 20)], 10) == reference.joined(
        [[t, t] for t in texts[10:20]]
    )


@pytest.mark.parametrize("lines", [[], [b"a"], [b"a,b", b"", b'"x\ny",2', b"z" * 1000]])
def test_lines_are_written_as_they_are(lines: list[bytes]) -> None:
    assert join_lines(Ragged.from_bytes(lines)) == b"".join(line + b"\n" for line in lines)
    assert np.array_equal(Ragged.from_bytes(lines).lengths, [len(line) for line in lines])
