"""Localized narratives: the file byte by byte, the captions with their images."""

from __future__ import annotations

import json

import pytest

from app.annotations import Annotations
from tests.formats.builders import exported, good, imported, labels, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import LIST, LIST_HEADER

FILE = "annotations/open_images_train_v6_localized_narratives-00000-of-00010.jsonl"
TASK = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("Cat"), subset="train")
ONE = {
    "dataset_id": "oid",
    "image_id": "a",
    "annotator_id": 93,
    "caption": 'A "cat", asleep.',
    "traces": [[{"x": 0.1}]],
}
TEXT = (
    json.dumps(ONE)
    + "\r\n\n"
    + json.dumps({"image_id": "b", "caption": None})
    + "\n"
    + json.dumps({"image_id": "elsewhere", "caption": "Far away"})
)


def written(sink: MemorySink) -> dict[str, bytes]:
    return read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])


def test_captions_are_tied_to_their_images_and_the_file_comes_back() -> None:
    sink, report = good({LIST: LIST_HEADER + "a,train,,,,,,,,,,\n", FILE: TEXT}, TASK)
    rows = sink.annotations().rows
    assert (rows.frames.tolist(), rows.kept.lines.to_texts()) == ([0, 1], ['a,oid,93,"A ""cat"", asleep."', "b,,,"])
    captions = [{"image": "a", "caption": 'A "cat", asleep.'}, {"image": "b", "caption": ""}]
    assert report.summary["narratives"] == {FILE: {"lines": 3, "tied": 2, "images": 2, "captions": captions}}
    assert report.problems() == []
    count = report.tables[FILE]
    assert (count.seen, count.kept, count.dropped) == (3, 2, 1)
    members = written(sink)
    assert members[FILE].decode() == TEXT
    assert not any("narratives" in name for name in members if name != FILE)


def test_narratives_alone_are_an_archive() -> None:
    sink, _ = good({"x_captions.jsonl": TEXT}, TASK)
    assert written(sink)["x_captions.jsonl"].decode() == TEXT
    _, report = imported({"x_captions.jsonl": json.dumps({"image_id": "zz"})}, TASK)
    assert [problem.code for problem in report.errors] == ["image.unmatched"]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"image_id": 7}', '{"caption": "x"}', "\x00", '{"image_id":"a"', "[" * 100_000]
)
def test_lines_that_are_no_narrative_are_told_and_kept(line: str) -> None:
    text = f"{line}\n" * 8 + json.dumps(ONE)
    sink, report = good({FILE: text}, TASK)
    assert report.counts == {"narrative.bad_line": 8}
    assert [problem.row for problem in report.warnings] == [1, 2, 3, 4, 5]
    assert len(sink.annotations().rows) == 1
    assert written(sink)[FILE].decode() == text


def test_bytes_that_are_no_text_and_long_lines_are_kept() -> None:
    data = b"\xff\xfe\n" + b'{"image_id":"a","caption":"' + b"x" * 5000 + b'"}\n' + json.dumps(ONE).encode()
    sink, report = good({FILE: data}, TASK, max_field_bytes=1000)
    assert report.counts == {"narrative.bad_line": 2}
    assert len(sink.annotations().rows) == 1
    assert written(sink)[FILE] == data


def test_rows_of_all_files_count_against_the_limit() -> None:
    from app.errors import ImportProblems

    with pytest.raises(ImportProblems, match=r"csv\.too_big"):
        imported({FILE: TEXT}, TASK, max_rows=2)


def test_many_lines_come_in_batches() -> None:
    text = "\ufeff" + "\n".join(json.dumps({"image_id": "ab"[n % 2], "caption": str(n)}) for n in range(4500))
    sink, report = good({FILE: text}, TASK)
    assert report.summary["narratives"][FILE]["lines"] == report.summary["narratives"][FILE]["tied"] == 4500
    assert len(sink.batches) >= 3
    assert len(sink.annotations().rows) == 4500


def test_deleted_images_leave_the_file_whole() -> None:
    sink, _ = good({FILE: TEXT}, TASK)
    source = MemorySource.of_sink(sink, TASK.frames, Annotations())
    assert read_zip(exported(source, TASK)[0])[FILE].decode() == TEXT
