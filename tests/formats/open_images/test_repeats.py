"""Rows that are there twice, as a set of lines finds them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from app.columns import CSVReader
from app.errors import Report
from app.formats.open_images import repeats
from app.formats.open_images.layout import TableFile
from app.formats.open_images.reading import TableState
from tests.formats.builders import good, labels, target
from tests.formats.open_images.parts import TAG_HEADER


@pytest.mark.parametrize("seed", range(6))
def test_repeated_rows_are_those_that_a_set_has(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(repeats, "WARNINGS_LISTED", 10_000)
    n_lines = [3, 50, 400, 10**9, 2000, 1][seed]
    lines = [f"{rng.randrange(n_lines)},x" for _ in range(900)]
    table = TableState(TableFile("t.csv", "boxes", "train"), None, 0)
    report = Report(limit=10_000)
    found = repeats.RepeatedRows(table, report)
    seen: set[str] = set()
    expected = []
    for block in CSVReader(["\n".join(["a,b", *lines, ""]).encode()], Report(), "t.csv", block_bytes=700):
        rows = np.arange(len(block))
        chosen = rows if seed % 2 else rows[rows % 5 != 2]
        found.add(block, chosen)
        for row in chosen.tolist():
            line = block.lines.row_bytes(row).decode()
            expected += [int(block.rows[row])] if line in seen else []
            seen.add(line)
    found.tell()
    assert [problem.row for problem in report.warnings] == expected
    assert report.counts.get("row.duplicate", 0) == len(expected)


TAGS, BOXABLE = (f"annotations/train-annotations-human-imagelabels{more}.csv" for more in ("", "-boxable"))


def test_rows_of_two_tables_of_one_kind_are_told_too() -> None:
    where = target({"a.jpg": (8, 8)}, labels("Cat", "Dog"))
    first, other = "a,v,Cat,1\n", "a,v,Dog,1\n"
    members: dict[str, str | bytes] = {
        BOXABLE: TAG_HEADER + first + other,
        TAGS: TAG_HEADER + "a,w,Cat,1\n" + first + first + "a,x,Cat,1\n" + other,
    }
    sink, report = good(members, where)
    assert len(sink.annotations().tags) == 7
    told = [problem for problem in report.warnings if problem.code == "row.duplicate"]
    assert [(problem.file, problem.row) for problem in told] == [(TAGS, 3), (TAGS, 4), (TAGS, 6)]
    members[TAGS] = "Source,ImageID,LabelName,Confidence\n" + "v,a,Cat,1\n"  # not word for word
    assert "row.duplicate" not in good(members, where)[1].counts


@pytest.mark.parametrize("seed", range(3))
def test_many_tables_are_held_against_what_was_before_without_sorting_it_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tables, n_sorted = 300, 0
    sort = repeats._ascending

    def counted(parts: Sequence[repeats.Hashes]) -> repeats.Hashes:
        nonlocal n_sorted
        found = sort(parts)
        n_sorted += len(found)
        return found

    monkeypatch.setattr(repeats, "_ascending", counted)
    monkeypatch.setattr(repeats, "WARNINGS_LISTED", 10_000)
    rng = random.Random(seed)
    seen: set[str] = set()
    held, n_all = repeats.SeenHashes(), 0
    for number in range(n_tables):
        lines = [f"{rng.randrange(10_000)},x" for _ in range(rng.choice((0, 1, 40)))]
        expected, table = [], TableState(TableFile(f"{number}.csv", "boxes", "train"), None, 0)
        for row, line in enumerate(lines):
            expected += [row + 2] if line in seen else []
            seen.add(line)
        report = Report(limit=10_000)
        found = repeats.RepeatedRows(table, report, held)
        for block in CSVReader(["\n".join(["a,b", *lines, ""]).encode()], Report(), "t.csv", block_bytes=100):
            found.add(block, np.arange(len(block)))
        found.tell()
        held = found.seen()
        n_all += len(lines)
        assert [problem.row for problem in report.warnings] == expected
    assert len(held) == n_all
    assert n_sorted < 12 * n_all  # each once, and again whenever what is held doubles
