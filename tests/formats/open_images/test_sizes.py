"""images.meta: height first, in shell quoting."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.columns import Ragged
from app.errors import Report
from app.formats.open_images import sizes
from app.formats.open_images.sizes import join_sizes, read_sizes


def read(
    data: bytes, block_bytes: int = 1 << 20
) -> tuple[list[tuple[str, int, int, int]], list[tuple[str, int | None]]]:
    report = Report()
    blocks = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)]
    found = []
    for lines in read_sizes(blocks, "images.meta", report):
        columns = (lines.ids.to_texts(), lines.heights.tolist(), lines.widths.tolist(), lines.rows.tolist())
        found += list(zip(*columns, strict=True))
    return found, [(p.code, p.row) for p in report.problems()]


@pytest.mark.parametrize(
    ("line", "image"),
    [
        (b"a 20 10", "a"),
        (b"a 020 010  ", "a"),
        (b"cats/a\t20 10 extra", "cats/a"),
        (b"'my cat' 20 10", "my cat"),
        (b'"it\'s" 20 10 # comment', "it's"),
        (b"a\\ b 20 10", "a b"),
        (b"it's 20 10", "it's"),
        ("né 20 10".encode(), "né"),
        (b"a 20 10\r", "a"),
    ],
)
def test_a_line(line: bytes, image: str) -> None:
    assert read(line) == ([(image, 20, 10, 1)], [])


@pytest.mark.parametrize(
    "line",
    [
        b"a 20",
        b"a 0 10",
        b"a -1 10",
        b"a x 10",
        b"a 1234567 10",
        b"a 2.0 1",
        b"it's x 10",
        b"' '",
        b"\xff 1 1",
        b"'' 1 1",
    ],
)
def test_a_bad_line(line: bytes) -> None:
    assert read(b"ok 1 1\n" + line + b"\nok 2 2\n") == ([("ok", 1, 1, 1), ("ok", 2, 2, 3)], [("meta.bad_line", 2)])


def test_blank_lines_and_comments_are_nothing() -> None:
    assert read(b"\xef\xbb\xbf\n# hello\n  \na 1 2\n") == ([("a", 1, 2, 4)], [])


def test_blocks_cut_anywhere() -> None:
    data = b"".join(b"'p %d' %d %d\n" % (n, n, n + 1) for n in range(1, 40))
    assert read(data, 7) == read(data)
    assert len(read(data)[0]) == 39


PARTS = (
    "a",
    "cats/a.b",
    "20",
    "0",
    "00012",
    "123456789",
    "999999",
    "1000000",
    "-1",
    "1e3",
    "é",
    "'a b'",
    "#",
    "a\\",
    "",
)
LINES = st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(" ".join), max_size=5)


@given(LINES, st.sampled_from(["\n", "\n\n", "\r\n", " \n"]), st.integers(1, 40))
def test_plain_blocks_are_read_as_line_by_line(lines: list[str], end: str, block_bytes: int) -> None:
    data = "".join(line + end for line in ["x 1 2", *lines]).encode()
    found = read(data, block_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "_decode_plain", lambda text, first_row: None)
        assert read(data, block_bytes) == found


@given(st.lists(st.sampled_from(["a", "b/c.d", "é", "x y", "'", "", "-", "#"]), max_size=4))
def test_plain_lines_are_written_as_one_by_one(ids: list[str]) -> None:
    columns = Ragged.from_bytes([one.encode() for one in ids])
    heights = np.arange(1, len(ids) + 1, dtype=np.int32)
    found = join_sizes(columns, heights, heights + 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "_IS_PLAIN", np.zeros(256, dtype=np.bool_))
        assert join_sizes(columns, heights, heights + 9) == found


IDS = st.lists(st.text(min_size=1, max_size=8).filter(lambda t: not any(c in t for c in "\r\n")), max_size=8)


@given(IDS.map(lambda ids: [i for i in ids if i.isprintable()]))
def test_written_lines_are_read_back_by_any_shell_reader(ids: list[str]) -> None:
    heights = np.arange(1, len(ids) + 1, dtype=np.int32)
    data = join_sizes(Ragged.from_bytes([one.encode() for one in ids]), heights, heights * 2)
    expected = [(one, n, 2 * n) for n, one in enumerate(ids, 1)]
    assert [row[:3] for row in read(data)[0]] == expected
    lines = [line for line in data.decode().split("\n") if line]
    assert [tuple(shlex.split(line, comments=True)) for line in lines] == [(a, str(b), str(c)) for a, b, c in expected]


def test_an_id_with_a_line_break_has_no_line() -> None:
    ones = np.ones(2, dtype=np.int32)
    assert join_sizes(Ragged.from_bytes([b"a\nb", b"c"]), ones, ones) == b"c 1 1\n"
