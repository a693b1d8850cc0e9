"""Blocks made ahead are those that were made; errors come in their place, and no thread stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.archive import read_ahead

BLOCKS = [b"%d" % n for n in range(100)]


def n_threads() -> int:
    return sum(thread.name == "read ahead" for thread in threading.enumerate())


def test_blocks_come_in_order() -> None:
    assert list(read_ahead(iter(BLOCKS))) == BLOCKS
    assert list(read_ahead(iter([]))) == []
    assert n_threads() == 0


def test_an_error_comes_behind_the_blocks_before_it() -> None:
    def broken() -> Iterator[bytes]:
        yield from BLOCKS
        raise ZeroDivisionError

    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(read_ahead(broken()))
    found = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for block in read_ahead(broken()):
            found.append(block)
    assert found == BLOCKS
    assert n_threads() == 0


def test_a_reader_that_goes_away_leaves_no_thread_and_few_blocks_are_made() -> None:
    made = []

    def watched() -> Iterator[bytes]:
        for block in BLOCKS:
            made.append(block)
            yield block

    blocks = read_ahead(watched())
    assert next(blocks) == b"0"
    blocks.close()  # type: ignore[attr-defined]
    assert n_threads() == 0
    assert len(made) <= 5
