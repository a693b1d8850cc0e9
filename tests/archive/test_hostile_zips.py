"""Zips that must be refused, one by one: with their code, the member's name, and a sentence that says what to do."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from app.archive import ArchiveLimits
from app.errors import ImportProblems
from tests.archive.zips import (
    CSV,
    DEFLATED,
    DESCRIPTOR,
    FAT,
    STORED,
    UNIX,
    UTF8,
    Make,
    Member,
    build,
    by_zipfile,
    contents,
    deflate,
    descriptor,
    extra_field,
    opened,
    outcome,
    read_first,
    refusal,
    streamed,
    unicode_path,
    zip64_field,
)

SMALL = ArchiveLimits(
    max_entries=3,
    max_member_bytes=1 << 20,
    max_total_bytes=2 << 20,
    max_ratio=10,
    ratio_from_bytes=64 << 10,
    max_name_bytes=100,
    max_component_bytes=40,
    max_depth=4,
)
A, B = Member(b"a.csv"), Member(b"b.csv", data=b"ImageID\nz\n")
OTHER = b"PK\x03\x04" + bytes(26)


def cut(data: bytes, n: int) -> bytes:
    return data[:-n]


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def _overlapping() -> bytes:
    """b lies, header and all, inside the stored bytes of a; no other byte is out of order."""
    inner = build(B)[: 35 + len(B.data)]
    whole = build(Member(b"a.csv", data=inner), Member(b"b.csv", data=B.data, packed=b"", central={"offset": 35}))
    whole = patched(whole, whole[35 + len(inner) : 35 + len(inner) + 35], b"")  # the header that b does not need
    at = whole.rfind(b"PK\x05\x06") + 16
    whole = whole[:at] + struct.pack("<I", 35 + len(inner)) + whole[at + 4 :]
    at = whole.rfind(b"PK\x01\x02") + 20
    return whole[:at] + struct.pack("<I", len(B.data)) + whole[at + 4 :]


def _bomb(ratio_bytes: int) -> bytes:
    return build(Member(b"a.csv", data=bytes(ratio_bytes), method=DEFLATED))


def _grows() -> bytes:
    """Declares 10 bytes and inflates to a mebibyte."""
    packed = deflate(bytes(1 << 20))
    return build(Member(b"a.csv", data=bytes(10), method=DEFLATED, packed=packed))


def _shrinks() -> bytes:
    return build(Member(b"a.csv", data=CSV, method=DEFLATED, packed=deflate(CSV[:-1])))


def _unended() -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(CSV) + packer.flush(zlib.Z_SYNC_FLUSH)  # no final block
    return build(Member(b"a.csv", data=CSV, method=DEFLATED, packed=packed))


def _link(host: int, kind: int) -> bytes:
    return build(Member(b"link.csv", data=b"/etc/passwd", host=host, attributes=(kind | 0o777) << 16))


def _lying(**local: object) -> bytes:
    return build(Member(b"a.csv", local=local), B)


def _described(**other: int) -> bytes:
    member = streamed()
    member.descriptor = descriptor(member, **other)
    return build(member, B)


INVALID: dict[str, Make] = {
    "nothing at all": lambda: b"",
    "a text file": lambda: CSV * 10,
    "a rar file": lambda: b"Rar!\x1a\x07\x01\x00" + bytes(50),
    "a 7z file": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(50),
    "a gzip file": lambda: b"\x1f\x8b\x08\x00" + bytes(50),
    "a tar file": lambda: bytes(257) + b"ustar\x0000" + bytes(300),
    "a zip without members": lambda: build(),
    "cut in the end record": lambda: cut(build(A, B), 1),
    "cut before the end record": lambda: cut(build(A, B), 22),
    "cut in the middle": lambda: build(A, B)[:70],
    "a split zip of one part": lambda: build(A, B, prefix=b"PK\x07\x08"),
    "a split zip that became whole": lambda: build(A, B, prefix=b"PK00"),
    "bytes in front of the first member": lambda: build(A, B, prefix=b"#!/bin/sh\n"),
    "an offset that jumps over the first bytes": lambda: build(Member(before=b"hidden"), B),
    "bytes behind the end": lambda: build(A, B, suffix=b"trailing"),
    "a zero byte behind the end": lambda: build(A, B, suffix=b"\0"),
    "bytes between two members": lambda: build(A, Member(b"b.csv", before=b"hidden")),
    "a hidden member between two": lambda: build(A, Member(b"b.csv", before=build(B)[: 35 + len(B.data)])),
    "bytes between members and directory": lambda: build(A, B, between=b"hidden"),
    "bytes between directory and end": lambda: build(A, B, before_end=b"hidden"),
    "two end records, the later one in the comment": lambda: build(A, comment=build(B)[-22:]),
    "an end record's signature in the comment": lambda: build(A, comment=b"PK\x05\x06"),
    "a second whole zip in the comment": lambda: build(A, comment=build(B)),
    "two end records that both fit": lambda: build(
        A, between=b"PK\x05\x06" + bytes(16) + struct.pack("<H", 51 + 22), end={"offset": 57}
    ),
    "a comment longer than the file": lambda: build(A, end={"comment": 5}),
    "split over disks": lambda: build(A, end={"disk": 1}),
    "the directory on another disk": lambda: build(A, end={"directory_disk": 2}),
    "fewer records on this disk than in all": lambda: build(A, B, end={"count_here": 1}),
    "a member on another disk": lambda: build(Member(central={"disk": 3})),
    "fewer members counted than listed": lambda: build(A, B, end={"count": 1, "count_here": 1}),
    "more members counted than listed": lambda: build(A, B, end={"count": 3, "count_here": 3}),
    "a directory size that is too small": lambda: build(A, B, end={"size": 51}),
    "a directory size that is too large": lambda: build(A, B, end={"size": 103}),
    "a directory offset that is wrong": lambda: build(A, B, end={"offset": 3}),
    "a directory record without its signature": lambda: build(A, Member(b"b.csv", central={"signature": b"PK\1\3"})),
    "a directory record that is cut": lambda: patched(
        build(A), struct.pack("<3H", 5, 0, 0), struct.pack("<3H", 5, 9, 0)
    ),
    "a local header without its signature": lambda: _lying(signature=b"PK\3\5"),
    "another name in the local header": lambda: _lying(name=b"x.csv"),
    "a longer name in the local header": lambda: _lying(name=b"a.csvx"),
    "another method in the local header": lambda: _lying(method=DEFLATED),
    "another CRC in the local header": lambda: _lying(crc=1),
    "another size in the local header": lambda: _lying(size=5),
    "another packed size in the local header": lambda: _lying(packed=5),
    "sizes of zero in the local header without descriptor": lambda: _lying(size=0, packed=0, crc=0),
    "encrypted in the local header only": lambda: _lying(flags=1),
    "a descriptor in the local header only": lambda: _lying(flags=DESCRIPTOR),
    "UTF-8 in the local header only": lambda: _lying(flags=UTF8),
    "a local extra field that is longer than its area": lambda: _lying(extra=b"\x01\x00\xff\x00ab"),
    "another Unicode path in the local header": lambda: _lying(extra=unicode_path(b"a.csv", "x.csv")),
    "another Unicode path, of the same letters, in the local header": lambda: build(
        Member(b"?.csv", local={"extra": unicode_path(b"?.csv", "é.csv")})
    ),
    "a ZIP64 field with a disk number": lambda: build(
        Member(extra=extra_field(1, struct.pack("<3QI", len(CSV), len(CSV), 0, 1)))
    ),
    "no descriptor where one should be": lambda: build(Member(method=DEFLATED, flags=DESCRIPTOR), B),
    "a descriptor of 5 bytes": lambda: build(Member(method=DEFLATED, flags=DESCRIPTOR, descriptor=b"12345"), B),
    "a descriptor with another CRC": lambda: _described(crc=7),
    "a descriptor with another size": lambda: _described(size=7),
    "a descriptor with another packed size": lambda: _described(packed=7),
    "a descriptor with another signature": lambda: build(
        Member(method=DEFLATED, flags=DESCRIPTOR, descriptor=b"XXXX" + descriptor(Member(method=DEFLATED))[4:]), B
    ),
    "other sizes in the header than in the descriptor": lambda: build(streamed(local={"size": 3}), B),
    "members that overlap": _overlapping,
    "two records for the same bytes": lambda: build(A, Member(b"b.csv", central={"offset": 0})),
    "a member that runs into the directory": lambda: build(
        Member(packed=CSV[:-4], local={"packed": len(CSV)}, central={"packed": len(CSV)})
    ),
    "an offset behind the end": lambda: build(A, Member(b"b.csv", central={"offset": 1 << 20})),
    "a patch": lambda: build(Member(flags=0x20)),
    "a stored member with two sizes": lambda: build(Member(packed=CSV + b"more")),
    "a deflated member of no bytes": lambda: build(Member(data=b"", method=DEFLATED, packed=b"")),
    "a folder with content": lambda: build(Member(b"images/", data=CSV), A),
    "a folder by its mode, a file by its name": lambda: build(Member(b"images", data=b"", attributes=0o40755 << 16), A),
    "an extra field that is longer than its area": lambda: build(Member(extra=b"\x01\x00\xff\x00ab")),
    "an extra area with bytes left over": lambda: build(Member(extra=b"\x55\x54\x00\x00ab")),
    "two ZIP64 fields": lambda: build(Member(extra=zip64_field(len(CSV)) * 2)),
    "a ZIP64 field that is missing": lambda: build(Member(central={"size": 0xFFFFFFFF})),
    "a ZIP64 field of three bytes": lambda: build(Member(extra=extra_field(1, b"abc"))),
    "a ZIP64 field that contradicts": lambda: build(Member(extra=zip64_field(len(CSV) + 1))),
    "a ZIP64 field that contradicts the local header": lambda: build(
        Member(central={"size": 0xFFFFFFFF, "extra": zip64_field(len(CSV) + 1)})
    ),
    "a ZIP64 end record that contradicts the end": lambda: build(A, B, end64={"count": 1, "count_here": 1}),
    "a ZIP64 end record of another directory": lambda: build(A, B, end64={"offset": 1}, end={"offset": 0xFFFFFFFF}),
    "a ZIP64 end record with data of its own": lambda: build(A, end64={}, end64_rest=b"hidden"),
    "a ZIP64 end record without its signature": lambda: build(A, end64={}).replace(b"PK\x06\x06", b"PK\x06\x08"),
    "a ZIP64 locator that points elsewhere": lambda: build(A, end64={}, locator={"offset": 0}),
    "a ZIP64 locator of several disks": lambda: build(A, end64={}, locator={"disks": 2}),
    "a ZIP64 locator of no disk": lambda: build(A, end64={}, locator={"disks": 0}),
    "a ZIP64 end record on another disk": lambda: build(A, end64={"disk": 1}, end={"disk": 0xFFFF}),
    "a ZIP64 locator inside the last comment": lambda: build(
        Member(comment=struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1))
    ),
}

UNSAFE_NAMES: dict[str, bytes] = {
    "absolute": b"/etc/passwd",
    "absolute by two slashes": b"//server/share",
    "up and out": b"../a.csv",
    "up in the middle": b"annotations/../../a.csv",
    "a dot": b"./a.csv",
    "only dots": b"..",
    "an empty part": b"annotations//a.csv",
    "empty": b"",
    "only a slash": b"/",
    "a backslash": b"annotations\\a.csv",
    "up by backslash": b"..\\a.csv",
    "a drive": b"C:/a.csv",
    "a drive without slash": b"c:a.csv",
    "a NUL": b"a.csv\0.png",
    "a line break": b"a\n.csv",
    "an escape": b"a\x1b[2J.csv",
    "DEL": b"a\x7f.csv",
    "over the limit of bytes": b"/".join([b"x" * 30] * 4),
    "a part over its limit": b"x" * 41,
    "a part over its limit in UTF-8": "é".encode() * 21,
    "too deep": b"a/b/c/d/e.csv",
    "much too deep": b"a/b/c/d/e/f/g.csv",
}

BAD_STREAMS: dict[str, Make] = {
    "a wrong CRC": lambda: build(Member(central={"crc": 1}, local={"crc": 1})),
    "a flipped bit": lambda: build(A).replace(b"Source", b"Sourcf"),
    "a deflate stream that is no such": lambda: build(Member(method=DEFLATED, packed=b"\xff" * 20)),
    "a deflate stream that grows past its size": _grows,
    "a deflate stream that ends early": _shrinks,
    "a deflate stream without end": _unended,
    "bytes behind the deflate stream": lambda: build(Member(method=DEFLATED, packed=deflate(CSV) + b"hidden")),
    "a second deflate stream behind the first": lambda: build(Member(method=DEFLATED, packed=deflate(CSV) * 2)),
    "Deflate64": lambda: build(Member(method=9)),
    "bzip2": lambda: build(Member(method=12)),
    "LZMA": lambda: build(Member(method=14)),
    "Zstandard": lambda: build(Member(method=93)),
    "an unknown method": lambda: build(Member(method=77)),
    "a version that is not there yet": lambda: build(Member(central={"version": 148})),
    "a method over 255": lambda: build(Member(method=0x108)),
}

LINKS: dict[str, Make] = {
    "a symbolic link": lambda: _link(UNIX, 0xA000),
    "a symbolic link by 7-Zip on Windows": lambda: _link(FAT, 0xA000),
    "a symbolic link by macOS": lambda: _link(19, 0xA000),
    "a pipe": lambda: _link(UNIX, 0x1000),
    "a character device": lambda: _link(UNIX, 0x2000),
    "a block device": lambda: _link(UNIX, 0x6000),
    "a socket": lambda: _link(UNIX, 0xC000),
}

ENCRYPTED: dict[str, Make] = {
    "encrypted": lambda: build(Member(flags=1)),
    "strongly encrypted": lambda: build(Member(flags=0x41)),
    "with masked headers": lambda: build(Member(flags=0x2000)),
    "AES": lambda: build(Member(method=99, flags=1)),
    "AES without its flag": lambda: build(Member(method=99)),
    "encrypted and a descriptor": lambda: build(streamed(), Member(b"b.csv", flags=9)),
}

DOUBLES: dict[str, tuple[bytes, bytes]] = {
    "the same name": (b"a.csv", b"a.csv"),
    "another case": (b"a.csv", b"A.CSV"),
    "composed and decomposed": ("é.csv".encode(), "e\u0301.csv".encode()),
    "sharp s": ("straße.csv".encode(), b"STRASSE.csv"),
    "a file and a folder": (b"masks", b"masks/a.png"),
    "a file and a folder entry": (b"masks", b"masks/"),
    "a file and a folder of another case": (b"Masks", b"masks/x/a.png"),
    "a file two floors above": (b"a/b", b"a/b/c/d.png"),
    "a folder twice": (b"masks/", b"masks/"),
}

TOO_BIG: dict[str, Make] = {
    "too many members": lambda: build(*(Member(f"{i}.csv".encode()) for i in range(4))),
    "too many members by its word": lambda: build(A, end={"count": 9, "count_here": 9}),
    "more members than its word": lambda: build(
        *(Member(f"{i}.csv".encode()) for i in range(4)), end={"count": 0, "count_here": 0}
    ),
    "a member over its limit": lambda: build(Member(data=bytes(2 << 20), method=DEFLATED)),
    "a size that is a lie": lambda: build(
        Member(
            extra=zip64_field(1 << 50, 1 << 50), local={"size": 1}, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}
        )
    ),
    "all members together": lambda: build(*(Member(f"{i}.csv".encode(), data=bytes(900_000)) for i in range(3))),
    "a ratio that no data has": lambda: _bomb(100_000),
    "a ratio of all members": lambda: build(
        *(Member(f"{i}.csv".encode(), data=bytes(60_000), method=DEFLATED) for i in range(3))
    ),
}


def test_the_bricks_of_these_tests_make_sound_zips() -> None:
    for data in (
        build(A, B),
        build(streamed(), B),
        build(A, end64={}),
        build(A, comment=b"hello"),
        build(streamed(wide=True)),
    ):
        assert contents(opened(data, SMALL)) == by_zipfile(data)


def _says_what_to_do(problems: ImportProblems) -> None:
    message = problems.report.errors[0].message
    assert message[0].isupper() or message[0] == '"'
    assert message.endswith(".")


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID.keys())
def test_invalid_zip_is_refused(make: Make) -> None:
    problems = refusal(make(), SMALL)
    assert problems.code == "zip.invalid"
    _says_what_to_do(problems)


@pytest.mark.parametrize("name", UNSAFE_NAMES.values(), ids=UNSAFE_NAMES.keys())
def test_unsafe_name_is_refused(name: bytes) -> None:
    flags = 0 if name.isascii() else UTF8
    data = b"" if name.endswith(b"/") else CSV
    problems = refusal(build(Member(b"good.csv"), Member(name, data=data, flags=flags)), SMALL)
    assert [(p.code, p.severity) for p in problems.report.errors] == [("zip.unsafe_path", "error")]
    _says_what_to_do(problems)


def test_a_name_may_have_as_many_parts_as_the_limit_says() -> None:
    assert refusal(build(Member(b"a/b/c/d.csv"), Member(b"e/f/g/h/i.csv")), SMALL).report.n_errors == 1
    problems = refusal(build(Member(b"a/b/c/d/e.csv")), SMALL)
    assert "has more than 4 parts, folders and all. Flatten the folders." in problems.detail


UNREADABLE_NAMES: dict[str, Make] = {
    "UTF-8 that is not": lambda: build(Member(b"\xff\xfe.csv", flags=UTF8)),
    "overlong UTF-8": lambda: build(Member(b"\xc0\xae\xc0\xae/a.csv", flags=UTF8)),
    "a surrogate": lambda: build(Member(b"\xed\xa0\x80.csv", flags=UTF8)),
    "a C1 control": lambda: build(Member(b"a\xc2\x85.csv", flags=UTF8)),
    "another Unicode path": lambda: build(Member(b"a.csv", extra=unicode_path(b"a.csv", "b.csv"))),
    "another Unicode path beside UTF-8": lambda: build(
        Member("é.csv".encode(), flags=UTF8, extra=unicode_path("é.csv".encode(), "è.csv"))
    ),
    "a Unicode path that climbs": lambda: build(Member(b"x?.csv", extra=unicode_path(b"x?.csv", "../x.csv"))),
    "a Unicode path that is absolute": lambda: build(Member(b"?.csv", extra=unicode_path(b"?.csv", "/é.csv"))),
    "a Unicode path that is a folder": lambda: build(Member(b"\x82", extra=unicode_path(b"\x82", "é/"))),
    "a Unicode path that is a folder of a file": lambda: build(Member(b"?/", data=b"", extra=unicode_path(b"?/", "é"))),
    "a Unicode path with its slash elsewhere": lambda: build(
        Member(b"a?/", data=b"", extra=unicode_path(b"a?/", "a/é"))
    ),
    "a Unicode path that is no UTF-8": lambda: build(
        Member(b"a.csv", extra=extra_field(0x7075, struct.pack("<BI", 1, zlib.crc32(b"a.csv")) + b"\xff"))
    ),
}


@pytest.mark.parametrize("make", UNREADABLE_NAMES.values(), ids=UNREADABLE_NAMES.keys())
def test_name_with_two_readings_is_refused(make: Make) -> None:
    assert refusal(make(), SMALL).code == "zip.unsafe_path"


def test_unicode_path_twice_is_refused() -> None:
    assert refusal(build(Member(extra=unicode_path(b"a.csv", "a.csv") * 2))).code == "zip.invalid"


@pytest.mark.parametrize("make", BAD_STREAMS.values(), ids=BAD_STREAMS.keys())
def test_bad_member_is_refused(make: Make) -> None:
    problems = refusal(make())
    assert (problems.code, problems.report.errors[0].file) == ("zip.bad_member", "a.csv")
    _says_what_to_do(problems)


@pytest.mark.parametrize("make", BAD_STREAMS.values(), ids=BAD_STREAMS.keys())
@pytest.mark.parametrize("way", ["read", "read_all", "blocks", "small blocks"])
def test_bad_member_is_refused_in_every_way_of_reading(make: Make, way: str) -> None:
    with pytest.raises(ImportProblems) as caught:
        read_first(opened(make()), way)
    assert caught.value.code == "zip.bad_member"


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS.keys())
def test_link_or_device_is_refused(make: Make) -> None:
    problems = refusal(make())
    assert (problems.code, problems.report.errors[0].file) == ("zip.symlink", "link.csv")
    _says_what_to_do(problems)


@pytest.mark.parametrize("make", ENCRYPTED.values(), ids=ENCRYPTED.keys())
def test_encrypted_member_is_refused(make: Make) -> None:
    problems = refusal(make())
    assert problems.code == "zip.encrypted"
    _says_what_to_do(problems)


@pytest.mark.parametrize("names", DOUBLES.values(), ids=DOUBLES.keys())
@pytest.mark.parametrize("swapped", [False, True], ids=["as given", "the other way round"])
def test_double_name_is_refused(names: tuple[bytes, bytes], swapped: bool) -> None:
    members = [Member(name, data=b"" if name.endswith(b"/") else CSV, flags=UTF8) for name in names]
    problems = refusal(build(*(members[::-1] if swapped else members)))
    assert problems.code == "zip.duplicate_member"
    _says_what_to_do(problems)


@pytest.mark.parametrize("make", TOO_BIG.values(), ids=TOO_BIG.keys())
def test_too_big_zip_is_refused(make: Make) -> None:
    problems = refusal(make(), SMALL)
    assert problems.code == "zip.too_big"
    _says_what_to_do(problems)


def test_overlapping_members_are_named() -> None:
    with pytest.raises(ImportProblems) as caught:
        opened(_overlapping())
    assert [problem.file for problem in caught.value.report.errors] == ["a.csv"]


def test_all_bad_names_are_listed_at_once() -> None:
    names = [b"../a", b"/b", b"c\\d", b"good", b"GOOD"]
    problems = refusal(build(*(Member(name) for name in names)))
    assert problems.report.counts == {"zip.unsafe_path": 3, "zip.duplicate_member": 1}
    assert [p.file for p in problems.report.errors] == ["../a", "/b", "c\\d", "GOOD"]


def test_all_lying_headers_are_listed_at_once() -> None:
    members = [Member(f"{i}.csv".encode(), local={"crc": 5} if i % 2 else {}) for i in range(10)]
    problems = refusal(build(*members))
    assert [p.file for p in problems.report.errors] == ["1.csv", "3.csv", "5.csv", "7.csv", "9.csv"]


def test_a_bomb_is_never_unpacked_past_its_declared_size() -> None:
    archive = opened(_grows())
    taken: list[int] = []
    with pytest.raises(ImportProblems):
        taken.extend(len(block) for block in archive.blocks(archive.entries[0], 4096))
    assert sum(taken) <= 4096


def test_a_name_of_controls_is_shown_harmless() -> None:
    problem = refusal(build(Member(b"a\x1b[2J\n.csv"))).report.errors[0]
    assert problem.file == "a\\x1b[2J\\n.csv"
    assert "\x1b" not in problem.message


@pytest.mark.parametrize("flips", [1, 3])
def test_flipped_bytes_are_refused_or_change_nothing(flips: int) -> None:
    """Whatever is damaged: a refusal with a zip code, or the very contents (a time or a comment was hit)."""
    sound = build(
        A,
        streamed(b"annotations/b.csv"),
        Member("masks/é.png".encode(), data=bytes(range(200)), flags=UTF8, comment=b"a mask"),
        Member(b"masks/", data=b"", attributes=0o40755 << 16),
        comment=b"made for a test",
        end64={},
    )
    truth = contents(opened(sound))
    rng = random.Random(flips)
    taken = 0
    for _ in range(3000):
        damaged = bytearray(sound)
        for _ in range(flips):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        code, found = outcome(bytes(damaged))
        taken += not code
        assert code.startswith("zip.") or sorted(found.values()) == sorted(truth.values())
    assert 0 < taken < 1500


def test_every_cut_is_refused() -> None:
    sound = build(A, streamed(b"b.csv"), end64={}, comment=b"hello")
    for length in range(len(sound)):
        assert refusal(sound[:length]).code.startswith("zip.")


def test_stored_method_of_other_sizes_never_reaches_a_reader() -> None:
    with pytest.raises(ImportProblems):
        opened(build(Member(method=STORED, packed=CSV[:-1])))
