"""Several files as one archive: zips beside a zip, zips within it, and files that are none."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from typing import IO

import numpy as np
import pytest

from app.archive import (
    Archive,
    ArchiveLimits,
    BytesSource,
    FileRules,
    JoinedSource,
    PartSource,
    SentFile,
    open_files,
)
from app.errors import ImportProblems
from tests.archive.zips import CSV, DEFLATED, STORED, Member, build, noise_png

PNG = noise_png()
MASKS = build(Member(b"a.png", PNG), Member(b"b.png", PNG[::-1], method=DEFLATED))


def spool(needed_bytes: int) -> IO[bytes]:
    return tempfile.TemporaryFile()


RULES = FileRules(
    lambda name: re.fullmatch(r"masks-\d\.zip", name) is not None, lambda name: name.endswith(".csv"), spool
)


def sent(files: Mapping[str, bytes], limits: ArchiveLimits | None = None) -> Archive:
    """Files in one row of bytes, as a form leaves them."""
    offset, places = 0, []
    for name, data in files.items():
        places.append(SentFile(name, offset, len(data)))
        offset += len(data)
    return open_files(BytesSource(b"".join(files.values())), places, limits or ArchiveLimits(), RULES)


def all_of(archive: Archive) -> dict[str, bytes]:
    """Every member, read in three ways."""
    entries = [archive.entry(name) for name in archive.names()]
    whole = {entry.name: archive.read(entry) for entry in entries}
    assert {entry.name: b"".join(archive.blocks(entry, 7)) for entry in entries} == whole
    by_offset = sorted(entries, key=lambda entry: entry.offset)
    found = archive.read_all(np.array([entry.number for entry in by_offset], dtype=np.int64))
    assert {entry.name: data for entry, data in zip(by_offset, found, strict=True)} == whole
    archive.verify()
    return whole


def refused(files: Mapping[str, bytes], limits: ArchiveLimits | None = None) -> tuple[str, str | None]:
    with pytest.raises(ImportProblems) as caught:
        sent(files, limits).verify()
    problem = caught.value.report.errors[0]
    return problem.code, problem.file


@pytest.mark.parametrize("method", [STORED, DEFLATED], ids=["stored", "deflated"])
def test_a_zip_within_is_read_where_it_lies(method: int) -> None:
    outer = build(Member(b"x/masks-0.zip", MASKS, method=method), Member(b"t.csv", CSV))
    found = all_of(sent({"upload.zip": outer}))
    assert found == {"t.csv": CSV, "x/masks-0.zip/a.png": PNG, "x/masks-0.zip/b.png": PNG[::-1]}


def test_zips_and_files_beside_each_other() -> None:
    files = {
        "upload.zip": build(Member(b"t.csv", CSV)),
        "masks-1.zip": MASKS,
        "u.csv": CSV + b"c,z\n",
        "empty.csv": b"",
    }
    found = all_of(sent(files))
    masks = {"masks-1.zip/a.png": PNG, "masks-1.zip/b.png": PNG[::-1]}
    assert found == {"t.csv": CSV, "u.csv": CSV + b"c,z\n", "empty.csv": b""} | masks


def test_a_lone_file_is_an_archive_of_one() -> None:
    assert all_of(sent({"t.csv": CSV})) == {"t.csv": CSV}


def test_an_archive_of_one_zip_is_that_zip() -> None:
    assert all_of(sent({"upload.zip": build(Member(b"t.csv", CSV))})) == {"t.csv": CSV}


def test_one_level_only_and_no_zip_that_nobody_asked_for() -> None:
    inner = build(Member(b"masks-1.zip", MASKS), Member(b"a.png", PNG))
    outer = build(Member(b"masks-0.zip", inner), Member(b"other.zip", MASKS))
    assert set(all_of(sent({"upload.zip": outer}))) == {"masks-0.zip/masks-1.zip", "masks-0.zip/a.png", "other.zip"}
    assert set(all_of(sent({"masks-0.zip": inner, "t.csv": CSV}))) == {
        "masks-0.zip/masks-1.zip",
        "masks-0.zip/a.png",
        "t.csv",
    }


@pytest.mark.parametrize(
    ("inner", "code", "place"),
    [
        (b"no zip", "zip.invalid", "masks-0.zip"),
        (MASKS[:-5], "zip.invalid", "masks-0.zip"),
        (build(Member(b"../a.png", PNG)), "zip.unsafe_path", "masks-0.zip/../a.png"),
        (build(Member(b"a.png", PNG, flags=1)), "zip.encrypted", "masks-0.zip/a.png"),
        (build(Member(b"a.png", PNG, central={"crc": 7}, local={"crc": 7})), "zip.bad_member", "masks-0.zip/a.png"),
        (build(Member(b"a.png", PNG), Member(b"A.png", PNG)), "zip.duplicate_member", "masks-0.zip/A.png"),
    ],
    ids=["text", "cut short", "a path upwards", "encrypted", "a wrong CRC", "a name twice"],
)
@pytest.mark.parametrize("method", [STORED, DEFLATED], ids=["stored", "deflated"])
def test_a_bad_zip_within_or_beside_is_named(method: int, inner: bytes, code: str, place: str) -> None:
    outer = build(Member(b"masks-0.zip", inner, method=method), Member(b"t.csv", CSV))
    assert refused({"upload.zip": outer}) == (code, place)
    assert refused({"upload.zip": build(Member(b"t.csv", CSV)), "masks-0.zip": inner}) == (code, place)


def test_the_bytes_of_a_zip_within_are_proven_by_the_outer_one_too() -> None:
    for method in (STORED, DEFLATED):
        bad = Member(b"masks-0.zip", MASKS, method=method, central={"crc": 7}, local={"crc": 7})
        assert refused({"upload.zip": build(bad)}) == ("zip.bad_member", "masks-0.zip")


def test_limits_count_all_together() -> None:
    main = build(Member(b"t.csv", CSV))
    files = {"upload.zip": main, "masks-0.zip": MASKS, "masks-1.zip": MASKS}
    assert len(sent(files, ArchiveLimits(max_entries=5)).names()) == 5
    assert refused(files, ArchiveLimits(max_entries=4)) == ("zip.too_big", None)
    total = len(CSV) + 4 * len(PNG)
    assert len(sent(files, ArchiveLimits(max_total_bytes=total)).names()) == 5
    assert refused(files, ArchiveLimits(max_total_bytes=total - 1)) == ("zip.too_big", None)
    assert refused({"upload.zip": main, "t2.csv": bytes(100)}, ArchiveLimits(max_member_bytes=99))[0] == "zip.too_big"
    assert refused(files, ArchiveLimits(max_depth=1, max_component_bytes=3))[0] == "zip.unsafe_path"


def test_a_bomb_of_two_stages_is_measured_against_what_was_sent() -> None:
    zeros = build(Member(b"a.png", bytes(90_000), method=DEFLATED))
    middle = build(Member(b"b.png", bytes(90_000), method=DEFLATED), Member(b"pad", bytes(3000)))
    limits = ArchiveLimits(max_ratio=40, ratio_from_bytes=100_000)
    assert len(sent({"masks-0.zip": middle, "t.csv": noise_png()}, limits).names()) == 3
    outer = build(*(Member(b"masks-%d.zip" % n, zeros, method=DEFLATED) for n in range(10)))
    assert refused({"upload.zip": outer}, limits) == ("zip.too_big", None)


def test_names_may_not_meet() -> None:
    main = build(Member(b"t.csv", CSV))
    assert refused({"upload.zip": main, "T.csv": CSV}) == ("zip.duplicate_member", "T.csv")
    assert refused({"upload.zip": main, "more.zip": main}) == ("zip.duplicate_member", "t.csv")
    folder = build(Member(b"masks-0.zip/a.png", PNG), Member(b"t.csv", CSV))
    assert refused({"upload.zip": folder, "masks-0.zip": MASKS})[0] == "zip.duplicate_member"


@pytest.mark.parametrize("data", [b"Rar!\x1a\x07\x00", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b\x08" + bytes(30)])
def test_other_archives_are_told_apart_from_kept_files(data: bytes) -> None:
    files = {"upload.zip": build(Member(b"t.csv", CSV)), "masks.bin": data}
    assert refused(files) == ("zip.invalid", "masks.bin")
    assert set(sent({**files, "masks.bin": b"anything"}).names()) == {"t.csv", "masks.bin"}
    assert refused({"masks.bin": data}) == ("zip.invalid", None)


def test_a_table_without_a_telling_name_is_told_how_to_come() -> None:
    with pytest.raises(ImportProblems, match="under its own name"):
        sent({"annotations.zip": CSV})


def test_sources_in_rows_and_parts() -> None:
    joined = JoinedSource([BytesSource(b"abc"), BytesSource(b""), BytesSource(b"defg")])
    whole = b"abcdefg"
    assert joined.size == 7
    for offset in range(9):
        for length in range(10):
            assert joined.read_at(offset, length) == whole[offset : offset + length]
            assert PartSource(joined, 2, 4).read_at(offset, length) == b"cdef"[offset : offset + length]
    assert JoinedSource([]).read_at(0, 1) == b""
