"""Columns of few texts, read by the stretches that they make up: the same as cell by cell."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from app.columns import Coded, CSVBlock, CSVReader, FewTexts, decode_flags, decode_numbers
from app.columns import few as module
from app.errors import Report

WANTED = ("Source", "LabelName", "Confidence", "IsOccluded", "IsInside")
TEXTS = {
    "Source": ["xclick", "activemil", "", "a source with a very long name, which is no word of a published table" * 2],
    "LabelName": ["/m/1", "/m/01g317", " /m/1", "é", "/m/011k07_crowdsource_verification_more_than_forty_bytes"],
    "Confidence": ["1", "0.5", " 1", "", "many", "1e999"],
    "IsOccluded": ["0", "1", "-1", "true", "", "2"],
    "IsInside": ["0", "1", "-1"],
    "ImageID": ["0001", "0002", "0003"],
    "XMin": ["0.1", "0.25", "0.333333"],
}


def blocks_of(rng: random.Random, columns: Sequence[str], n: int, quotes: float) -> list[CSVBlock]:
    def cell(text: str) -> str:
        if "," in text or '"' in text or rng.random() < quotes:
            return f'"{text}"'
        return text

    texts = {name: [text.replace(",", "") for text in some] if not quotes else some for name, some in TEXTS.items()}
    rows = [",".join(cell(rng.choice(texts[name])) for name in columns) for _ in range(n)]
    data = "\n".join([",".join(columns), *rows, ""]).encode()
    report = Report()
    blocks = list(CSVReader([data], report, "t.csv", block_bytes=4096))
    assert report.n_errors == 0
    return blocks


def texts_of(column: Coded) -> list[bytes]:
    return [column.cells.row_bytes(row if column.codes is None else column.codes[row]) for row in range(len(column))]


@pytest.mark.parametrize("quotes", [0.0, 0.002, 1.0], ids=["no quotes", "few quotes", "quotes"])
@pytest.mark.parametrize(
    "columns",
    [
        ("ImageID", "Source", "LabelName", "Confidence", "XMin", "IsOccluded", "IsInside"),
        ("Source", "LabelName", "Confidence", "IsOccluded", "IsInside"),
        ("LabelName", "ImageID", "CONFIDENCE", "XMin", "Source"),
        ("IsInside", "ImageID"),
        ("ImageID", "XMin"),
    ],
    ids=" ".join,
)
def test_columns_of_few_texts_are_those_of_the_cells(columns: tuple[str, ...], quotes: float) -> None:
    written = {name: next(one for one in TEXTS if one.casefold() == name.casefold()) for name in columns}
    rng = random.Random(len(columns))
    few = FewTexts(columns, WANTED)
    kinds_of: dict[int, list[bytes]] = {}
    n_known = 0
    for block in blocks_of(rng, [written[name] for name in columns], 900, quotes):
        block = CSVBlock(**{name: getattr(block, name) for name in CSVBlock.__slots__} | {"columns": columns})
        found, kinds = few.read(block)
        assert set(found) == set(WANTED)
        for name in WANTED:
            plain = block.cells(name)
            assert texts_of(found[name]) == plain.ragged().to_bytes_list()
            assert len(found[name]) == len(block)
            numbers, flags = found[name].decoded(decode_numbers), found[name].trimmed().decoded(decode_flags)
            assert np.array_equal(found[name].spread(numbers.values), decode_numbers(plain).values, equal_nan=True)
            assert np.array_equal(found[name].spread(flags.bad), decode_flags(plain).bad)
            rows = np.array([len(block) - 1, 0, 0], dtype=np.int64)
            assert texts_of(found[name].take(rows)) == [texts_of(found[name])[row] for row in rows.tolist()]
            assert found[name].row_text(0) == plain.row_text(0)
            assert texts_of(found[name].trimmed()) == plain.trimmed().ragged().to_bytes_list()
        if kinds is None:
            assert quotes
            continue
        for row, kind in enumerate(kinds.tolist()):
            said = [texts_of(found[name])[row] for name in WANTED]
            n_known += kind in kinds_of
            assert kinds_of.setdefault(kind, said) == said
    if not quotes:
        assert n_known
        assert len({tuple(said) for said in kinds_of.values()}) == len(kinds_of)


def test_a_stretch_of_many_texts_is_read_cell_by_cell_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FREE_TEXTS", 3)
    columns = ("ImageID", "Source", "XMin", "IsInside")
    rng = random.Random(1)
    few = FewTexts(columns, ("Source", "XMin", "IsInside"))
    monkeypatch.setitem(TEXTS, "XMin", [f"{number / 1000:.3f}" for number in range(1000)])
    for block in blocks_of(rng, columns, 900, 0.0):
        found, kinds = few.read(block)
        assert kinds is None
        assert found["XMin"].codes is None
        assert texts_of(found["XMin"]) == block.cells("XMin").ragged().to_bytes_list()


def test_a_stretch_of_long_texts_is_read_cell_by_cell_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    monkeypatch.setitem(TEXTS, "Source", ["long" * 2000, "x"])
    columns = ("ImageID", "Source", "XMin")
    few = FewTexts(columns, ("Source",))
    known = []
    for block in blocks_of(random.Random(4), columns, 60, 0.0):
        found, kinds = few.read(block)
        known.append(kinds is not None)
        assert texts_of(found["Source"]) == block.cells("Source").ragged().to_bytes_list()
    assert not known[-1]
    assert sum(len(stretch._buffer) for stretch in few._stretches) < 5000


def test_rows_of_more_stretches_than_a_number_holds_are_of_no_kind() -> None:
    columns = ["IsInside", "ImageID"] * 5
    names = [f"{name}{place}" for place, name in enumerate(columns)]
    data = "\n".join([",".join(names), ",".join("0" for _ in names), ""]).encode()
    (block,) = CSVReader([data], Report(), "t.csv")
    for n_stretches, is_known in ((4, True), (5, False)):
        few = FewTexts(names, [name for name in names if name.startswith("IsInside")][:n_stretches])
        assert (few.read(block)[1] is not None) == is_known


def test_a_block_without_rows_has_columns() -> None:
    few = FewTexts(("ImageID", "Source", "LabelName"), WANTED)
    blank = np.zeros((0, 3), dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    columns = ("ImageID", "Source", "LabelName")
    block = CSVBlock(none, columns, 1, np.zeros(0, dtype=np.uint8), blank, blank, none, none, none, is_plain=True)
    found, kinds = few.read(block)
    assert kinds is not None
    assert not len(kinds)
    assert [len(found[name]) for name in WANTED] == [0] * len(WANTED)
