"""How a checked archive is read: entries, whole members, many members, blocks, proof, sources."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from app.archive import ArchiveLimits, BytesSource, FileSource, open_archive
from app.errors import ImportProblems, NotFound
from tests.archive.zips import CSV, DEFLATED, UTF8, Member, build, contents, opened, read_first, refusal, streamed


class Counted(BytesSource):
    """Counts how often, and how much, is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0
        self.n_bytes = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self.n_bytes += length
        return super().read_at(offset, length)


class Shrinking(BytesSource):
    """A source that has lost its tail since it was opened (or a bucket that answers short)."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.rest = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return super().read_at(offset, max(0, min(length, self.rest - offset)))


class Stuttering(BytesSource):
    """One read, the n-th, gives only half of what was asked for."""

    def __init__(self, data: bytes, n: int) -> None:
        super().__init__(data)
        self.left = n

    def read_at(self, offset: int, length: int) -> bytes:
        self.left -= 1
        return super().read_at(offset, length // 2 if self.left == 0 else length)


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def many(n: int) -> bytes:
    return build(
        *(
            Member(f"masks/{i:04}.png".encode(), data=noise(100 + i, i), method=DEFLATED * (i % 3 == 0))
            for i in range(n)
        )
    )


def test_entries_are_a_sequence_in_the_order_of_the_directory() -> None:
    archive = opened(build(Member(b"b/", data=b""), Member(b"b/a.csv", method=DEFLATED), Member(b"c.csv")))
    assert [entry.name for entry in archive.entries] == ["b", "b/a.csv", "c.csv"]
    assert [archive.entries[i] for i in range(3)] == list(archive.entries) == archive.entries[:]
    assert archive.entries[-1] == archive.entries[2]
    assert [entry.number for entry in archive.entries[1:]] == [1, 2]
    assert archive.entries[0].is_dir
    with pytest.raises(IndexError):
        archive.entries[3]


def test_an_entry_tells_sizes_method_and_place() -> None:
    entry = opened(build(Member(method=DEFLATED))).entries[0]
    assert (entry.size, entry.method, entry.offset) == (len(CSV), 8, 35)
    assert 0 < entry.compressed_size != entry.size


def test_names_and_find_know_files_only() -> None:
    archive = opened(build(Member(b"b/", data=b""), Member(b"b/a.csv"), Member("é.csv".encode(), flags=UTF8)))
    assert archive.names() == ["b/a.csv", "é.csv"]
    assert archive.find("b") is None
    assert archive.find("B/A.CSV") is None
    assert archive.entry("é.csv").number == 2


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        opened(build(Member())).entry("x.csv")
    assert caught.value.key == "x.csv"


@pytest.mark.parametrize("n", [1, 2, 300])
def test_read_all_gives_what_read_gives(n: int) -> None:
    archive = opened(many(n))
    order = random.Random(n).sample(list(archive.entries), n)
    for entries in (list(archive.entries), order):
        numbers = np.array([entry.number for entry in entries], dtype=np.int64)
        assert archive.read_all(numbers) == [archive.read(entry) for entry in entries]


def test_read_all_of_nothing_is_nothing() -> None:
    assert opened(many(1)).read_all(np.zeros(0, dtype=np.int64)) == []


def test_neighbours_share_one_read() -> None:
    source = Counted(many(300))
    archive = open_archive(source)
    before = source.reads
    assert before <= 5
    archive.read_all(np.arange(300))
    assert source.reads == before + 1


def test_headers_of_large_members_cost_little() -> None:
    source = Counted(build(*(Member(f"{i}.jpg".encode(), data=bytes(500_000)) for i in range(20))))
    open_archive(source)
    assert source.n_bytes < 250_000


@pytest.mark.parametrize("method", [0, DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 1000, 5000])
def test_blocks_join_to_the_member(method: int, block_bytes: int, size: int) -> None:
    data = (noise(size // 2) + bytes(size))[:size]
    archive = opened(build(Member(data=data, method=method), Member(b"b.csv")))
    blocks = list(archive.blocks(archive.entries[0], block_bytes))
    assert b"".join(blocks) == data
    assert all(0 < len(block) <= block_bytes for block in blocks)


def test_a_large_member_streams_through_small_reads() -> None:
    data = noise(1 << 20) + bytes(5 << 20)
    source = Counted(build(Member(data=data, method=DEFLATED)))
    archive = open_archive(source)
    assert b"".join(archive.blocks(archive.entries[0])) == data
    archive.verify()


def test_verify_reads_only_what_is_not_proven_yet() -> None:
    source = Counted(build(Member(data=noise(100_000)), Member(b"b.csv", data=noise(50_000, 1))))
    archive = open_archive(source)
    archive.read(archive.entries[0])
    list(archive.blocks(archive.entries[1]))
    before = source.reads
    archive.verify()
    assert source.reads == before


def test_a_block_iterator_left_early_proves_nothing() -> None:
    archive = opened(build(Member(data=noise(5000), central={"crc": 1}, local={"crc": 1})))
    next(archive.blocks(archive.entries[0], 1000))
    with pytest.raises(ImportProblems):
        archive.verify()


def test_verify_lists_every_bad_member() -> None:
    bad = {"central": {"crc": 1}, "local": {"crc": 1}}
    large = Member(b"large", data=bytes(5 << 20), method=DEFLATED, **bad)  # type: ignore[arg-type]
    archive = opened(build(Member(b"a", **bad), Member(b"b"), large, Member(b"c", **bad)))  # type: ignore[arg-type]
    with pytest.raises(ImportProblems) as caught:
        archive.verify()
    assert [problem.file for problem in caught.value.report.errors] == ["a", "large", "c"]


def test_verify_tells_its_progress_upwards_to_one() -> None:
    told: list[float] = []
    archive = opened(
        build(*(Member(f"{i}".encode(), data=noise(3000, i)) for i in range(50)), Member(data=bytes(9 << 20)))
    )
    archive.verify(told.append)
    assert told == sorted(told)
    assert len(told) > 5
    assert told[-1] == 1.0


def test_verify_of_folders_only_is_done_at_once() -> None:
    told: list[float] = []
    opened(build(Member(b"a/", data=b""))).verify(told.append)
    assert told == [1.0]


@pytest.mark.parametrize("way", ["read", "read_all", "blocks"])
@pytest.mark.parametrize("method", [0, DEFLATED], ids=["stored", "deflated"])
def test_a_source_that_lost_its_tail_is_a_bad_member(way: str, method: int) -> None:
    source = Shrinking(build(Member(data=noise(5000), method=method)))
    archive = open_archive(source)
    source.rest = 1000
    with pytest.raises(ImportProblems) as caught:
        read_first(archive, way)
    assert caught.value.code == "zip.bad_member"


def test_a_source_that_answers_short_while_opening_is_refused() -> None:
    data = build(*(Member(f"{i}.csv".encode(), data=noise(100_000, i)) for i in range(3)))
    for rest in range(0, len(data), 7919):
        source = Shrinking(data)
        source.rest = rest
        with pytest.raises(ImportProblems) as caught:
            open_archive(source)
        assert caught.value.code == "zip.invalid"


def test_any_short_answer_is_refused_or_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.archive.directory.WINDOW_BYTES", 110)
    monkeypatch.setattr("app.archive.locals.WINDOW_BYTES", 100)
    monkeypatch.setattr("app.archive.locals._HEADER_WINDOW_BYTES", 10)
    data = build(*(streamed(f"annotations/{i}.csv".encode(), data=noise(200, i)) for i in range(20)), end64={})
    truth = contents(opened(data))
    codes = set()
    for n in range(1, 100):
        try:
            assert contents(open_archive(Stuttering(data, n))) == truth
        except ImportProblems as problems:
            codes.add(problems.code)
    assert codes == {"zip.invalid", "zip.bad_member"}


def test_thousands_of_folders_are_taken() -> None:
    data = build(*(Member(f"{i}/a.csv".encode(), data=b"") for i in range(5000)))
    assert len(opened(data).entries) == 5000


@pytest.mark.parametrize("field", ["max_entries", "max_member_bytes", "max_total_bytes"])
def test_exactly_the_limit_is_taken(field: str) -> None:
    data = build(Member(b"a", data=bytes(100)), Member(b"b", data=bytes(50)))
    exact = {"max_entries": 2, "max_member_bytes": 100, "max_total_bytes": 150}[field]
    assert len(opened(data, ArchiveLimits(**{field: exact})).entries) == 2
    assert refusal(data, ArchiveLimits(**{field: exact - 1})).code == "zip.too_big"


def test_a_high_ratio_is_fine_while_it_is_small() -> None:
    data = build(Member(data=bytes(60_000), method=DEFLATED))
    assert len(opened(data, ArchiveLimits(max_ratio=2, ratio_from_bytes=60_000)).entries) == 1


def test_records_that_straddle_windows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for window in (100, 101, 150, 4096):
        monkeypatch.setattr("app.archive.directory.WINDOW_BYTES", window)
        monkeypatch.setattr("app.archive.locals.WINDOW_BYTES", window)
        archive = opened(many(40))
        assert len(contents(archive)) == 40


def test_a_long_local_extra_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = b"\x99\x99" + (60_000).to_bytes(2, "little") + bytes(60_000)
    data = build(Member(data=bytes(100_000)), streamed(b"b.csv", local={"extra": extra}), Member(b"c.csv"))
    assert len(contents(opened(data))) == 3


def test_a_file_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(many(10))
    with FileSource(path) as source:
        assert source.size == path.stat().st_size
        assert len(contents(open_archive(source))) == 10
        assert source.read_at(source.size - 3, 10) == path.read_bytes()[-3:]
        assert source.read_at(source.size + 3, 10) == b""
        source.close()


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        FileSource(tmp_path / "x.zip")


def test_a_file_read_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pread may give less than was asked for."""
    path = tmp_path / "x.zip"
    path.write_bytes(many(10))
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: whole(fd, min(length, 1000), offset))
    with FileSource(path) as source:
        assert source.read_at(0, 10**9) == source.read_at(0, source.size) == path.read_bytes()


def test_looking_for_members_by_name_holds_next_to_nothing_of_them() -> None:
    archive = opened(many(4000))
    names = archive.names()
    tracemalloc.start()
    try:
        numbers = archive.numbers(names[::-1])
        assert [archive.find(name) for name in names[::7]] == [
            next(iter(archive.entries[n : n + 1])) for n in numbers[::-1][::7].tolist()
        ]
        held = tracemalloc.get_traced_memory()[0] - numbers.nbytes
    finally:
        tracemalloc.stop()
    assert archive.find("not there") is archive.find("") is archive.find("~") is None
    assert held < 10 * len(names)
