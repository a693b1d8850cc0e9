"""CSV files as blocks: the dialect, the header, what is reported and dropped, and memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.columns import CSVBlock, CSVReader, Ragged, join_records, split_lines
from app.columns import csv as csv_module
from app.errors import Damaged, Report, shorten
from tests import reference_columns as reference


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes | Iterable[bytes], **options: Any) -> tuple[CSVReader, list[CSVBlock], Report]:
    report = Report()
    reader = CSVReader([data] if isinstance(data, bytes) else data, report, "t.csv", **options)
    return reader, list(reader), report


def rows_of(blocks: Iterable[CSVBlock]) -> list[tuple[int, bytes, list[bytes]]]:
    """(line, raw record, cells) of every row."""
    rows = []
    for block in blocks:
        columns = [block.cells_at(place) for place in range(block.starts.shape[1])]
        lines = block.lines.to_bytes_list()
        assert not block.is_trimmed or all(
            one.trimmed().ragged().to_bytes_list()
            == [cell.strip(b" \t\n\v\f\r") for cell in one.ragged().to_bytes_list()]
            for one in columns
        )
        hashes = block.line_hashes().tolist()
        assert len(set(hashes)) == len(set(lines)) == len(set(zip(hashes, lines, strict=True)))
        backwards = np.arange(len(block))[::-1]
        assert block.lines_at(backwards).to_bytes_list() == lines[::-1]
        for row in range(len(block)):
            cells = [column.row_bytes(row) for column in columns][: block.field_counts[row]]
            rows.append((int(block.rows[row]), lines[row], cells))
    return rows


def cells(data: bytes, **options: Any) -> list[list[bytes]]:
    _, blocks, report = read(data, **options)
    assert report.n_errors == 0, report.errors
    return [row[2] for row in rows_of(blocks)]


def told(report: Report) -> list[tuple[str, int | None, str | None]]:
    return [(problem.code, problem.row, problem.column) for problem in report.errors]


DIALECTS = {
    "plain": (b"a,b\n1,2\n3,4\n", [[b"1", b"2"], [b"3", b"4"]]),
    "without a last line end": (b"a,b\n1,2", [[b"1", b"2"]]),
    "CR LF": (b"a,b\r\n1,2\r\n3,4\r\n", [[b"1", b"2"], [b"3", b"4"]]),
    "CR": (b"a,b\r1,2\r3,4\r", [[b"1", b"2"], [b"3", b"4"]]),
    "CR without a last one": (b"a,b\r1,2", [[b"1", b"2"]]),
    "all line ends at once": (b"a,b\r\n1,2\n3,4\r5,6", [[b"1", b"2"], [b"3", b"4"], [b"5", b"6"]]),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", [[b"1", b"2"]]),
    "byte order mark and quotes": (b'\xef\xbb\xbf"a",b\n1,2\n', [[b"1", b"2"]]),
    "blank lines": (b"\n\na,b\n\n\n1,2\n\n3,4\n\n", [[b"1", b"2"], [b"3", b"4"]]),
    "blank lines of CR LF": (b"a,b\r\n\r\n1,2\r\n\r\n", [[b"1", b"2"]]),
    "quotes": (b'a,b\n"1","2"\n', [[b"1", b"2"]]),
    "quotes around commas": (b'a,b\n"1,1",2\n', [[b"1,1", b"2"]]),
    "quotes around line ends": (b'a,b\n"1\n1\r\n1\r","2"\n', [[b"1\n1\r\n1\r", b"2"]]),
    "doubled quotes": (b'a,b\n"say ""hi""",""""\n', [[b'say "hi"', b'"']]),
    "quotes and CR LF": (b'a,b\r\n"1","2"\r\n"3",4\r\n', [[b"1", b"2"], [b"3", b"4"]]),
    "empty quotes": (b'a,b\n"",""\n', [[b"", b""]]),
    "empty cells": (b"a,b\n,\n", [[b"", b""]]),
    "a quote inside a plain cell": (b'a,b\n5" pipe,2\n', [[b'5" pipe', b"2"]]),
    "a quote at the end of a plain cell": (b'a,b\n5",2\n', [[b'5"', b"2"]]),
    "quotes behind a blank": (b'a,b\n "1",2\n', [[b' "1"', b"2"]]),
    "blanks are kept": (b"a,b\n 1 , 2\n", [[b" 1 ", b" 2"]]),
    "other scripts": ("a,b\né,日本\n".encode(), [["é".encode(), "日本".encode()]]),
    "one column": (b'a\n1\n""\n2\n', [[b"1"], [b""], [b"2"]]),
    "header only": (b"a,b\n", []),
    "header without line end": (b"a,b", []),
    "nothing": (b"", []),
    "only a byte order mark": (b"\xef\xbb\xbf", []),
    "only blank lines": (b"\n\r\n\r", []),
}


@pytest.mark.parametrize(("data", "expected"), DIALECTS.values(), ids=DIALECTS.keys())
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("piece_bytes", [1, 5, 1000])
def test_dialect_is_read(data: bytes, expected: list[list[bytes]], block_bytes: int, piece_bytes: int) -> None:
    _, blocks, report = read(pieces(data, piece_bytes), block_bytes=block_bytes)
    assert [row[2] for row in rows_of(blocks)] == expected
    assert report.problems() == []


def test_rows_are_physical_lines() -> None:
    data = b'a,b\n1,2\n\n"3\n3",4\r\n5,6\r7,8\n'
    _, blocks, _ = read(data)
    assert [row[:2] for row in rows_of(blocks)] == [(2, b"1,2"), (4, b'"3\n3",4'), (6, b"5,6"), (7, b"7,8")]


def test_lines_are_verbatim() -> None:
    lines = [b' 1 ,"2"', b'"a ""b""",x', b"3,\xc3\xa9"]
    _, blocks, _ = read(b"a,b\r\n" + b"\r\n".join(lines))
    assert blocks[0].lines.to_bytes_list() == lines


def test_header_is_trimmed_and_found_in_any_case() -> None:
    reader, blocks, _ = read(b'\n ImageID , "XMin"\n1,2\n', required=["imageid"])
    assert reader.header == ("ImageID", '"XMin"')
    assert reader.header_row == 2
    assert reader.has("IMAGEID ")
    assert blocks[0].has("imageID")
    assert blocks[0].cells("IMAGEID").row_text(0) == "1"
    assert not blocks[0].has("XMax")


def test_a_missing_optional_column_is_empty_cells() -> None:
    _, blocks, report = read(b"a\n1\n2\n")
    assert blocks[0].cells("b").ragged().to_bytes_list() == [b"", b""]
    assert report.problems() == []


HEADERS: dict[str, tuple[bytes, list[tuple[str, int, str | None]]]] = {
    "no header": (b"abc,/m/01\n", [("csv.no_header", 1, None)]),
    "semicolons": (b"ImageID;LabelName\n", [("csv.delimiter", 1, None)]),
    "tabs": (b"ImageID\tLabelName\n", [("csv.delimiter", 1, None)]),
    "bars": (b"ImageID|LabelName\n", [("csv.delimiter", 1, None)]),
    "a column twice": (b"ImageID,LabelName,imageid \n", [("csv.duplicate_column", 1, "imageid")]),
    "a column missing": (b"LabelName\n", [("csv.missing_column", 1, "ImageID")]),
    "two columns missing, on line 2": (
        b"\nSource\n",
        [("csv.missing_column", 2, "ImageID"), ("csv.missing_column", 2, "LabelName")],
    ),
    "NUL": (b"ImageID,\0LabelName\n", [("csv.nul", 1, None)]),
    "Latin-1": (b"ImageID,LabelName,gr\xf6\xdfe\n", [("csv.encoding", 1, None)]),
    "UTF-16": ("\ufeffImageID,LabelName\n".encode("utf-16-le"), [("csv.encoding", 1, None)]),
    "UTF-16, the other way round": ("\ufeffImageID,LabelName\n".encode("utf-16-be"), [("csv.encoding", 1, None)]),
    "UTF-16 without mark": ("ImageID,LabelName\n".encode("utf-16-le"), [("csv.nul", 1, None)]),
    "text behind a quote": (b'"ImageID"x,LabelName\n', [("csv.quote", 1, None)]),
    "a quote never closed": (b'ImageID,"LabelName\n1,2\n', [("csv.quote", 1, None)]),
    "too many columns": (b"ImageID,LabelName" + b",x" * 300, [("csv.too_big", 1, None)]),
}


@pytest.mark.parametrize(("data", "expected"), HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_bad_header_is_refused(data: bytes, expected: list[tuple[str, int, str | None]], block_bytes: int) -> None:
    known, required = ["ImageID", "LabelName", "Source"], ["ImageID", "LabelName"]
    reader, blocks, report = read(data + b"1,2\n", known=known, required=required, block_bytes=block_bytes)
    assert told(report) == expected
    assert not reader.usable
    assert blocks == []
    assert all(
        problem.file == "t.csv" and problem.message.endswith((".", "ImageID", "Source")) for problem in report.errors
    ) or (report.errors[0].code == "csv.missing_column")


def test_unnamed_columns_may_repeat() -> None:
    assert cells(b"a,,\n1,2,3\n") == [[b"1", b"2", b"3"]]


ROWS: dict[str, tuple[bytes, list[tuple[str, int]], list[int]]] = {
    "the header again": (
        b"a,b\n1,2\na,b\n3,4\n\xef\xbb\xbfa,b\na,c\n",
        [("csv.repeated_header", 3), ("csv.repeated_header", 5)],
        [2, 4, 6],
    ),
    "too few cells": (b"a,b\n1\n1,2\n", [("csv.field_count", 2)], [3]),
    "too many cells": (b"a,b\n1,2\n1,2,3\n", [("csv.field_count", 3)], [2]),
    "far too many cells": (b"a,b\n1,2\n" + b"," * 5000 + b"\n1,2\n", [("csv.field_count", 3)], [2, 4]),
    "NUL": (b"a,b\n1,\0\n1,2\n", [("csv.nul", 2)], [3]),
    "NUL twice in one row": (b"a,b\n\0,\0\n1,2\n", [("csv.nul", 2)], [3]),
    "not UTF-8": (b"a,b\n1,2\n1,\xff\n1,2\n1,\xe9\n", [("csv.encoding", 3), ("csv.encoding", 5)], [2, 4]),
    "not UTF-8 on the second line of a row": (b'a,b\n"1\r\n\xff",2\n1,2\n', [("csv.encoding", 3)], [4]),
    "UTF-8 cut at the end": (b"a,b\n1,2\n1,\xe2\x82", [("csv.encoding", 3)], [2]),
    "a surrogate": (b"a,b\n\xed\xa0\x80,2\n", [("csv.encoding", 2)], []),
    "not UTF-8 and too short": (b"a,b\n\xff\n", [("csv.encoding", 2)], []),
    "text behind a closing quote": (b'a,b\n"1"x,2\n1,2\n', [("csv.quote", 2)], [3]),
    "a blank behind a closing quote": (b'a,b\n1,2\n"1" ,2\n', [("csv.quote", 3)], [2]),
    "a quote behind a closing quote": (b'a,b\n"1"x",2\n1,2\n', [("csv.quote", 2)], [3]),
    "a quote never closed": (b'a,b\n1,2\n"1,2\n3,4\n', [("csv.quote", 3)], [2]),
    "a quote never closed at the very end": (b'a,b\n1,2\n1,"', [("csv.quote", 3)], [2]),
}


@pytest.mark.parametrize(("data", "problems", "kept"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("block_bytes", [1, 9, 1 << 20])
def test_bad_row_is_reported_and_left_out(
    data: bytes, problems: list[tuple[str, int]], kept: list[int], block_bytes: int
) -> None:
    _, blocks, report = read(data, block_bytes=block_bytes)
    assert [(problem.code, problem.row) for problem in report.errors] == problems
    assert all(str(problem.value)[:1] in shorten(data.decode("utf-8", "replace")) for problem in report.errors)
    assert [row[0] for row in rows_of(blocks)] == kept
    assert sum(block.n_seen for block in blocks) == len(problems) + len(kept)


def test_every_bad_row_is_counted_and_the_first_listed() -> None:
    _, blocks, report = read(b"a,b\n" + b"1\n" * 1000 + b"1,\xff\n" * 150)
    assert report.counts == {"csv.field_count": 1000, "csv.encoding": 150}
    assert report.n_errors == 1150
    assert len(report.errors) == 100
    assert sum(len(block) for block in blocks) == 0


def test_the_message_tells_how_many_cells_there_are() -> None:
    for width in (1, 3, 256, 257, 258, 300, 4000):
        _, _, report = read(b"a,b\n" + b",".join([b"x"] * width) + b"\n")
        assert f"{width:,} cell" in report.errors[0].message
        assert report.errors[0].value == shorten(",".join("x" * width))
        _, _, report = read(b'a,b\n"y",' + b",".join([b"x"] * width) + b',"y"\n')
        assert f"{width + 2:,} cells" in report.errors[0].message


def test_a_field_over_the_limit_is_too_big() -> None:
    data = b"a,b\n1,2\n" + b"x" * 101 + b",2\n" + b"x" * 100 + b",2\n"
    _, blocks, report = read(data, max_field_bytes=100, block_bytes=1 << 10)
    assert told(report) == [("csv.too_big", 3, "a")]
    assert [row[0] for row in rows_of(blocks)] == [2, 4]


def test_a_name_of_a_column_over_the_limit_is_too_big() -> None:
    for n, found in ((100, []), (101, [("csv.too_big", 1, None)])):
        reader, _, report = read(b"a," + b"b" * n + b"\n1,2\n", max_field_bytes=100)
        assert told(report) == found
        assert reader.usable is not bool(found)


@pytest.mark.parametrize("opening", [b"", b'"'], ids=["plain", "in quotes"])
def test_an_endless_record_is_too_big_and_ends_the_reading(opening: bytes) -> None:
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        yield b"a,b\n1,2\n" + opening
        while True:
            asked += 1
            yield b"x" * 1000

    reader, blocks, report = read(endless(), max_field_bytes=20_000, block_bytes=5000)
    assert told(report) == [("csv.too_big", 3, None)]
    assert [row[0] for row in rows_of(blocks)] == [2]
    assert asked < 100
    assert not reader.usable


def test_an_endless_header_is_too_big() -> None:
    reader, blocks, report = read([b"x" * 5000] * 20, max_field_bytes=20_000, block_bytes=5000)
    assert told(report) == [("csv.too_big", 1, None)]
    assert (reader.usable, blocks) == (False, [])


def test_a_table_without_header_takes_names() -> None:
    reader, blocks, report = read(b"/m/01,Cat\n/m/02,Dog\n", columns=["LabelName", "DisplayName"])
    assert reader.header == ("LabelName", "DisplayName")
    assert blocks[0].cells("displayname").ragged().to_texts() == ["Cat", "Dog"]
    assert blocks[0].rows.tolist() == [1, 2]
    assert report.problems() == []


def test_a_table_without_header_or_names_is_as_wide_as_its_first_row() -> None:
    _, blocks, report = read(b"1,2\n3\n4,5\n", columns=())
    assert [row[2] for row in rows_of(blocks)] == [[b"1", b"2"], [b"4", b"5"]]
    assert told(report) == [("csv.field_count", 2, None)]


def test_a_ragged_table_takes_rows_of_any_width() -> None:
    data = b'a,b\n1\n1,2,3,"4"\n1,2\n'
    _, blocks, report = read(data, ragged=True)
    assert [row[2] for row in rows_of(blocks)] == [[b"1"], [b"1", b"2", b"3", b"4"], [b"1", b"2"]]
    assert blocks[0].field_counts.tolist() == [1, 4, 2]
    assert blocks[0].cells("b").ragged().to_bytes_list() == [b"", b"2", b"2"]
    assert blocks[0].cells_at(99).ragged().to_bytes_list() == [b"", b"", b""]
    assert report.problems() == []


def test_a_ragged_row_over_the_limit_of_columns_is_too_big() -> None:
    data = b"a,b\n" + b"," * 9 + b"\n" + b"," * 10 + b"\n1\n"
    _, blocks, report = read(data, ragged=True, max_columns=10)
    assert told(report) == [("csv.too_big", 3, None)]
    assert blocks[0].field_counts.tolist() == [10, 1]


ALPHABETS = {
    "plain": [b"a", b"b", b",", b",", b"\n"],
    "quotes": [b"a", b",", b"\n", b'"', b'""', b'"a"', b'"a,\n"'],
    "well quoted": [b"a,a\n", b'"a","b"\n', b'"a""",b\n', b'"",""\n', b'"a\nb",c\r\n', b"\n"],
    "all line ends": [b"a", b",", b"\n", b"\r", b"\r\n", b'"', b'"a\r\nb"'],
    "bytes of all kinds": [b"a", b",", b"\n", b'"', b"\0", b"\xff", "é".encode(), b"\xc3", b"\r"],
    "rows of two": [b"a,b\n", b"c,d\n", b"e\n", b"1,2,3\n", b'"x,y",z\n', b'q"q,\n', b'"x"y,z\n'],
}


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS.keys())
def test_any_bytes_are_read_as_the_slow_twin_reads_them(alphabet: list[bytes]) -> None:
    rng = random.Random(str(alphabet))
    for _ in range(250):
        data = b"".join(rng.choices(alphabet, k=rng.randrange(60)))
        good, bad = reference.good_rows(data, 2)
        for block_bytes in (1, rng.randrange(2, 40), 1 << 20):
            _, blocks, report = read(
                pieces(data, rng.randrange(1, 20)), columns=["x", "y"], block_bytes=block_bytes, max_columns=4
            )
            assert rows_of(blocks) == [(record.line, record.raw, record.cells) for record in good], data
            found = [(problem.code, problem.row) for problem in report.errors]
            assert sorted(found, key=repr) == sorted(bad[:100], key=repr) or report.n_errors == len(bad) > 100, data


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab,"\n\r é', max_size=60))
def test_the_slow_twin_reads_as_python_does(text: str) -> None:
    """Where quotes are in order; where not, Python takes what we refuse."""
    records = reference.split_csv(text.encode())
    if not any(record.misquoted for record in records):
        ours = [[cell.decode() for cell in record.cells] for record in records]
        assert ours == reference.read_by_csv(text)


def test_split_lines_gives_the_cells_back() -> None:
    data = b'a,b\n1,"2, ""two"""\n"3\n3",4\n\n,\n'
    _, blocks, _ = read(data)
    again = split_lines(blocks[0].lines, blocks[0].columns)
    assert [row[1:] for row in rows_of([again])] == [row[1:] for row in rows_of(blocks)]
    assert again.cells("b").row_text(0) == '2, "two"'


def test_split_lines_of_nothing_is_an_empty_block() -> None:
    block = split_lines(Ragged.empty(np.uint8), ["a", "b"])
    assert len(block) == 0
    assert len(block.cells("b")) == 0
    assert len(block.lines) == 0


@pytest.mark.parametrize("line", [b"1", b"1,2,3", b"", b'"1', b"1,2\n3,4", b"1,\xff"])
def test_split_lines_refuses_what_is_no_record(line: bytes) -> None:
    with pytest.raises(Damaged):
        split_lines(Ragged.from_bytes([b"1,2", line]), ["a", "b"])


def test_split_lines_with_a_quote_inside_a_cell_is_one_block() -> None:
    """Such a record is read by itself, and must not part the others."""
    lines = [b'"a","b","c"', b'"d",u0.5",1', b'"e","f",""', b'x,"y",z', b'u",v,w']
    block = split_lines(Ragged.from_bytes(lines), ["A", "B", "C"])
    columns = [block.cells(name).ragged().to_bytes_list() for name in "ABC"]
    assert columns == [
        [b"a", b"d", b"e", b"x", b'u"'],
        [b"b", b'u0.5"', b"f", b"y", b"v"],
        [b"c", b"1", b"", b"z", b"w"],
    ]
    assert block.lines.to_bytes_list() == lines
    ragged = split_lines(Ragged.from_bytes([b'"a","b"', b'u",1', b'"e","f","g"']), ["A", "B"], ragged=True)
    assert ragged.field_counts.tolist() == [2, 2, 3]
    assert ragged.cells_at(2).ragged().to_bytes_list() == [b"", b"", b"g"]


def test_split_lines_of_many_lines_is_one_block() -> None:
    lines = Ragged.from_bytes([b"%d,x" % number for number in range(300_000)])
    block = split_lines(lines, ["a", "b"])
    assert len(block) == 300_000
    assert block.cells("a").row_text(299_999) == "299999"


def test_memory_follows_the_block_not_the_file() -> None:
    line = b"0123456789abcdef,xclick,/m/01,1,0.123456,0.234567,0.345678,0.456789,0,1,0,-1,0\n"

    def file(n_blocks: int) -> Iterator[bytes]:
        yield b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,O,T,G,D,I\n"
        for _ in range(n_blocks):
            yield line * 1000

    def peak(n_blocks: int) -> int:
        tracemalloc.start()
        report = Report()
        for block in CSVReader(file(n_blocks), report, "t.csv", block_bytes=200_000):
            assert len(block) > 0
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(100) < 1.2 * peak(10)


def test_hostile_commas_and_quotes_cost_little_memory() -> None:
    for filler in (b",", b'"'):
        tracemalloc.start()
        _, blocks, report = read([b"a,b\n1,2\n", filler * (9 << 18), b"\n1,2\n"], max_field_bytes=3 << 20)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert top < 120 << 20
        assert report.n_errors >= 1
        assert rows_of(blocks)[0][0] == 2


@pytest.mark.parametrize("inside", [b'""', b",\n"], ids=["doubled quotes", "commas and line ends"])
def test_a_cell_of_any_size_costs_few_times_its_size(inside: bytes) -> None:
    size, n_rows = 8 << 20, 100_000
    data = b'x,"' + inside * (size // 2) + b'"\n' + b'1,"2,2"\n' * n_rows
    tracemalloc.start()
    try:
        kept, n_seen = Ragged.empty(np.uint8, 0), 0
        for block in CSVReader(pieces(data, 1 << 20), Report(), "t.csv", columns=["a", "b"]):
            kept = block.lines_at(np.array([0])) if n_seen == 0 else kept
            n_seen += len(block)
            reading = tracemalloc.get_traced_memory()[1] - size
            del block
        assert len(split_lines(kept, ["a", "b"])) == len(kept) == 1
        both = tracemalloc.get_traced_memory()[1] - size
    finally:
        tracemalloc.stop()
    assert n_seen == 1 + n_rows
    assert reading < 8 * size
    assert both < 10 * size


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize(
    "texts", [["", "a", "é", "-1"], ["", "a", "\t"], ["x", 'a "b"', "c,d"], ["", "ü" * 40]], ids=ascii
)
def test_split_lines_gives_the_cells_that_were_joined(width: int, texts: list[str]) -> None:
    rng = random.Random(width)
    names = [f"c{place}" for place in range(width)]
    for n in (1, 2, 40):
        table = [[rng.choice(texts) for _ in range(width)] for _ in range(n)]
        columns = [Ragged.from_bytes([row[place].encode() for row in table]) for place in range(width)]
        lines = join_records(columns, n)
        block = split_lines(lines, names)
        assert [block.cells(name).ragged().to_texts() for name in names] == [
            list(one) for one in zip(*table, strict=True)
        ]
        assert block.lines.to_bytes_list() == lines.to_bytes_list()
        assert block.rows.tolist() == list(range(1, n + 1))


@pytest.mark.parametrize("lines", [[b"a,\xc3", b"\xa9,b"], [b"1,2,3", b"4"], [b"1", b"2,3,4"], [b"1,2", b"3,4,", b"5"]])
def test_split_lines_takes_no_cell_from_the_line_beside(lines: list[bytes]) -> None:
    with pytest.raises(Damaged):
        split_lines(Ragged.from_bytes(lines), ["a", "b"])


def test_split_lines_of_quoted_and_plain_ones_is_what_the_reader_gives() -> None:
    rng = random.Random(4)
    texts = ["", "a", "é", '"', "x,y", "1\n2", "1\r\n2\r3", "plain", "b" * 60]
    for n in range(1, 40):
        table = [[rng.choice(texts) for _ in range(3)] for _ in range(n)]
        lines = join_records([Ragged.from_bytes([row[place].encode() for row in table]) for place in range(3)], n)
        block, expected = split_lines(lines, "abc"), csv_module._split_by_reader(lines, "abc", False)
        assert (block.columns, block.n_seen) == (expected.columns, expected.n_seen)
        assert block.rows.tolist() == expected.rows.tolist()
        assert block.field_counts.tolist() == expected.field_counts.tolist()
        assert block.lines.to_bytes_list() == expected.lines.to_bytes_list() == lines.to_bytes_list()
        for place, name in enumerate("abc"):
            assert block.cells(name).ragged().to_texts() == [row[place] for row in table]
            assert block.cells_at(place).ragged().to_texts() == expected.cells(name).ragged().to_texts()


@pytest.mark.parametrize(
    ("header", "code", "column", "hint"),
    [
        (b"ImageIDs,LabelName,XMin\n", "csv.missing_column", "ImageID", 'Perhaps "ImageIDs" is meant to be it'),
        (b"ImageID,LabelNmae,XMin\n", "csv.missing_column", "LabelName", 'Perhaps "LabelNmae"'),
        (b"ImageID,LabelName,IsOcluded\n", "csv.unknown_column", "IsOcluded", 'did you mean "IsOccluded"?'),
        (b"ImageID,LabelName,IsOccluded,IsOcluded\n", None, None, ""),
        (b"ImageID,LabelName,Note\n", None, None, ""),
        (b"image_id,label_name,x_min\n", "csv.no_header", None, 'Perhaps "image_id" is meant to be "ImageID"'),
        (b"a,b,c\n", "csv.no_header", None, "Put a header above the rows"),
        (b"sep=,\nImageID,LabelName\n", "csv.no_header", None, "for Excel alone: remove it"),
        (b'"SEP=,"\nImageID,LabelName\n', "csv.no_header", None, "for Excel alone: remove it"),
        (b'"ImageID,LabelName,XMin"\n', "csv.no_header", None, "remove the quotes around lines"),
    ],
)
def test_columns_that_are_nearly_known_are_told(header: bytes, code: str | None, column: str | None, hint: str) -> None:
    report = Report()
    known = ("ImageID", "LabelName", "XMin", "IsOccluded")
    CSVReader([header], report, "t.csv", known=known, required=("ImageID", "LabelName"))
    found = [(p.code, p.column, hint in p.message) for p in report.problems()]
    assert found == ([(code, column, True)] if code else [])
