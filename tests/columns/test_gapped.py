"""Lines that still lie in their file are the lines."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from app.columns import CSVReader, GappedLines, Ragged, join_lines, text_of_lines
from app.errors import Report


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CR LF"])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_lines_without_their_ends(end: str, n: int) -> None:
    texts = [f"{number},{'x' * (number % 70)}" for number in range(n)]
    (block,) = CSVReader([end.join(["a,b", *texts, ""]).encode()], Report(), "t.csv")
    lines = block.lines
    assert isinstance(lines, GappedLines)
    plain = Ragged.from_bytes([text.encode() for text in texts])
    sent = pickle.loads(pickle.dumps(lines))
    assert isinstance(sent, GappedLines)
    for one in (lines, sent):
        assert len(one) == n
        assert one.dtype == np.uint8
        assert one.lengths.tolist() == plain.lengths.tolist()
        assert one.nbytes > len(plain.values)
        every = np.arange(n)
        assert one.take(every) is one
        assert one._column is None  # nobody has looked
        assert one.take(every[::-1]).to_bytes_list() == plain.take(every[::-1]).to_bytes_list()
        assert one.slice(0, 1).to_bytes_list() == plain.slice(0, 1).to_bytes_list()
        assert one.row_bytes(n - 1) == texts[-1].encode()
        assert one.to_bytes_list() == plain.to_bytes_list()
        both = Ragged.concatenate([plain, one])
        assert both.to_bytes_list() == 2 * plain.to_bytes_list()
    twice = Ragged.concatenate([lines, sent, GappedLines(np.empty(0, dtype=np.uint8), lines.end, np.empty(0, "u1"))])
    assert isinstance(twice, GappedLines)
    for start, stop in ((0, 1), (0, n), (n - 1, n + 1), (n, 2 * n), (0, 2 * n)):
        text = text_of_lines(twice, start, stop).tobytes().decode()
        assert text == "".join(f"{line}\n" for line in (2 * texts)[start:stop])
        assert text_of_lines(plain, 0, stop - start).tobytes() == join_lines(plain.slice(0, stop - start))
    assert (twice._column is None) == (lines.end == b"\n"), "such a text is not copied"
    assert twice.to_bytes_list() == 2 * plain.to_bytes_list()


def test_lines_with_quotes_are_copied_for_they_may_hold_an_end() -> None:
    (block,) = CSVReader([b'a,b\n1,"x\ny"\n2,z\n'], Report(), "t.csv")
    assert not isinstance(block.lines, GappedLines)
    assert block.lines.to_bytes_list() == [b'1,"x\ny"', b"2,z"]


def test_a_text_that_is_not_as_long_as_its_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        GappedLines(np.zeros(5, dtype=np.uint8), b"\n", np.array([1, 2]))
