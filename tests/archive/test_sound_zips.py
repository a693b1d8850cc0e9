"""Zips as ordinary tools write them, which must be taken, and read to the very bytes that other readers see."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pytest

from tests.archive.zips import (
    CSV,
    DEFLATED,
    DESCRIPTOR,
    FAT,
    UTF8,
    Make,
    Member,
    build,
    by_zipfile,
    contents,
    descriptor,
    extra_field,
    opened,
    streamed,
    unicode_path,
    zip64_field,
)

TIMES = extra_field(0x5455, b"\x03" + bytes(8))  # Info-ZIP's "UT"
OWNERS = extra_field(0x7875, b"\x01\x04\xe8\x03\x00\x00\x04\xe8\x03\x00\x00")  # Info-ZIP's "ux"
NTFS_TIMES = extra_field(0x000A, bytes(4) + struct.pack("<HH", 1, 24) + bytes(24))
FILES = {"annotations/a.csv": CSV, "masks/train/m.png": bytes(range(256)) * 9, "empty.txt": b"", "é/ü.csv": CSV * 500}


class Unseekable(io.RawIOBase):
    """A sink that cannot go back, as a socket or a pipe."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def python_zip(sink: IO[bytes] | None = None, method: int = zipfile.ZIP_DEFLATED, force_zip64: bool = False) -> bytes:
    target = sink or io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as out:
        out.comment = b"made by Python"
        out.mkdir("masks")
        for name, data in FILES.items():
            with out.open(name, "w", force_zip64=force_zip64) as member:
                member.write(data)
    return bytes(target.data) if isinstance(target, Unseekable) else target.getvalue()  # type: ignore[union-attr]


def mac_zip() -> bytes:
    """Archive Utility: descriptors, UTF-8 in decomposed form without its flag, resource forks beside."""
    name = unicodedata.normalize("NFD", "annotations/été.csv").encode()
    fork = b"__MACOSX/annotations/._" + unicodedata.normalize("NFD", "été.csv").encode()
    folder = Member(b"annotations/", data=b"", attributes=0o40755 << 16, extra=TIMES)
    return build(folder, streamed(name), streamed(fork), streamed(b".DS_Store"))


def go_zip() -> bytes:
    """archive/zip: flag for UTF-8, descriptors with signature, 64-bit ones where a number needs it."""
    first = streamed("annotations/é.csv".encode())
    first.flags = DESCRIPTOR | UTF8
    return build(Member(b"annotations/", data=b"", attributes=0), first, streamed(b"b.csv", wide=True))


def windows_zip() -> bytes:
    """Explorer: FAT attributes, code page 437, no extra fields; folders are not listed."""
    name = "Bilder/Größe é.csv".encode("cp437")
    return build(Member(name, host=FAT, attributes=0x20, method=DEFLATED), Member(b"b.csv", host=11, attributes=0x20))


def seven_zip() -> bytes:
    """7-Zip: NTFS times in the directory only, and its mark for Unix modes in the attributes."""
    attributes = 0o100644 << 16 | 0x8000 | 0x20
    return build(Member(b"a.csv", host=FAT, attributes=attributes, method=DEFLATED, central={"extra": NTFS_TIMES}))


def info_zip_for_old_readers() -> bytes:
    """The plain name in another code page, the true one in the Unicode path."""
    raw = "annotations/e?.csv".encode("cp437")
    return build(Member(raw, extra=TIMES + unicode_path(raw, "annotations/e\u0142.csv")))


def streaming_zip64() -> bytes:
    """Sizes told as "look in the ZIP64 field", which says 0, and 64-bit numbers behind."""
    member = streamed(wide=True)
    member.local = {"crc": 0, "packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": zip64_field(0, 0)}
    return build(member, Member(b"b.csv"))


def needless_zip64() -> bytes:
    sizes = len(CSV), len(CSV)
    wide = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": zip64_field(*sizes)}
    all_wide = wide | {"offset": 0xFFFFFFFF, "extra": zip64_field(*sizes, 35 + 20 + len(CSV))}
    unneeded = Member(b"c.csv", extra=zip64_field(*sizes))
    return build(Member(local=wide, central=wide), Member(b"b.csv", local=wide, central=all_wide), unneeded, end64={})


def sixty_six_thousand() -> bytes:
    """More members than 16 bits can count, from a tool that knows no ZIP64."""
    members = [Member(f"masks/{number:05}.png".encode(), data=b"") for number in range(66_000)]
    return build(*members)


HANDMADE: dict[str, Make] = {
    "macOS Archive Utility": mac_zip,
    "Go": go_zip,
    "Windows Explorer": windows_zip,
    "7-Zip": seven_zip,
    "Info-ZIP with a Unicode path": info_zip_for_old_readers,
    "Info-ZIP with times and owners": lambda: build(Member(extra=TIMES + OWNERS), Member(b"b/", data=b"", extra=TIMES)),
    "ZIP64 while streaming": streaming_zip64,
    "ZIP64 though small": needless_zip64,
    "a ZIP64 end with 16-bit counts left open": lambda: build(
        Member(), end64={}, end={"count": 0xFFFF, "count_here": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    ),
    "a disk number in a ZIP64 field": lambda: build(
        Member(
            central={
                "packed": 0xFFFFFFFF,
                "size": 0xFFFFFFFF,
                "offset": 0xFFFFFFFF,
                "disk": 0xFFFF,
                "extra": extra_field(1, struct.pack("<3QI", len(CSV), len(CSV), 0, 0)),
            }
        )
    ),
    "a descriptor without signature": lambda: build(streamed(signature=False), Member(b"b.csv")),
    "a wide descriptor without signature": lambda: build(streamed(signature=False, wide=True)),
    "a descriptor and the sizes in front too": lambda: build(
        streamed(local={"crc": zlib.crc32(CSV), "size": len(CSV)}), Member(b"b.csv")
    ),
    "a stored member with descriptor": lambda: build(
        Member(flags=DESCRIPTOR, local={"crc": 0, "packed": 0, "size": 0}, descriptor=descriptor(Member())),
        Member(b"b.csv"),
    ),
    "a folder deflated to two bytes": lambda: build(Member(b"a/", data=b"", method=DEFLATED), Member(b"a/b.csv")),
    "padding by zipalign": lambda: build(Member(local={"extra": b"\0\0\0"}), Member(b"b.csv", extra=bytes(8))),
    "marks of how hard was tried": lambda: build(Member(method=DEFLATED, flags=2, local={"flags": 0})),
    "set-uid bits": lambda: build(Member(attributes=0o104755 << 16)),
    "no mode at all": lambda: build(Member(attributes=0)),
    "a comment, of the zip and of a member": lambda: build(Member(comment=b"first"), comment=b"x" * 65535),
    "UTF-8 with its flag": lambda: build(Member("日本語/é.csv".encode(), flags=UTF8)),
    "a stale Unicode path": lambda: build(Member(extra=unicode_path(b"old.csv", "old.csv", crc=1))),
    "a Unicode path of an unknown version": lambda: build(Member(extra=extra_field(0x7075, b"\x02abcdefgh"))),
    "the same Unicode path beside UTF-8": lambda: build(
        Member("é.csv".encode(), flags=UTF8, extra=unicode_path("é.csv".encode(), "é.csv"))
    ),
    "odd but harmless names": lambda: build(
        Member(b"a b/..c/...csv"), Member(b"12:30.csv"), Member(b"con"), Member(b"-rf"), Member(b".hidden")
    ),
    "a zip within": lambda: build(
        Member(b"inner.zip", data=build(Member())), Member(b"last.zip", data=build(Member()))
    ),
    "66,000 members counted in 16 bits": sixty_six_thousand,
}


def read_by_others(data: bytes, folder: Path) -> None:
    """unzip finds nothing wrong, and zipfile sees the same bytes in the same order."""
    ours = contents(opened(data))
    assert list(ours.values()) == list(by_zipfile(data).values())
    if shutil.which("unzip"):
        path = folder / "x.zip"
        path.write_bytes(data)
        done = subprocess.run(["unzip", "-tqq", path], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("make", HANDMADE.values(), ids=HANDMADE.keys())
def test_zip_of_an_ordinary_tool_is_taken(make: Make, tmp_path: Path) -> None:
    data = make()
    opened(data).verify()
    read_by_others(data, tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("force_zip64", [False, True], ids=["plain", "zip64"])
@pytest.mark.parametrize("seekable", [False, True], ids=["streamed", "seekable"])
def test_zip_of_python_is_taken(method: int, force_zip64: bool, seekable: bool, tmp_path: Path) -> None:
    data = python_zip(None if seekable else Unseekable(), method, force_zip64)  # type: ignore[arg-type]
    archive = opened(data)
    archive.verify()
    assert contents(archive) == FILES
    assert [entry.name for entry in archive.entries if entry.is_dir] == ["masks"]
    read_by_others(data, tmp_path)


def _tree(folder: Path) -> Path:
    for name, data in FILES.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "tree"


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP is not installed")
@pytest.mark.parametrize(
    "words",
    [
        ["-r", "../x.zip", "."],
        ["-r", "-", "."],
        ["-r0", "../x.zip", "."],
        ["-rDX", "../x.zip", "."],
        ["-rfz", "../x.zip", "."],
    ],
    ids=["to a file", "to a pipe", "stored", "bare", "with ZIP64"],
)
def test_zip_of_info_zip_is_taken(words: list[str], tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    done = subprocess.run(["zip", "-q", *words], cwd=tree, stdout=subprocess.PIPE, check=True)
    data = done.stdout or (tmp_path / "x.zip").read_bytes()
    archive = opened(data)
    archive.verify()
    assert contents(archive) == FILES
    read_by_others(data, tmp_path)


@pytest.mark.skipif(not shutil.which("jar"), reason="no Java here")
def test_zip_of_java_is_taken(tmp_path: Path) -> None:
    subprocess.run(["jar", "cfM", "../x.zip", "."], cwd=_tree(tmp_path), check=True)
    archive = opened((tmp_path / "x.zip").read_bytes())
    archive.verify()
    assert contents(archive) == FILES


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (mac_zip, ["annotations", "annotations/été.csv", "__MACOSX/annotations/._été.csv", ".DS_Store"]),
        (windows_zip, ["Bilder/Größe é.csv", "b.csv"]),
        (info_zip_for_old_readers, ["annotations/e\u0142.csv"]),
        (go_zip, ["annotations", "annotations/é.csv", "b.csv"]),
    ],
    ids=["macOS", "Windows", "Unicode path", "Go"],
)
def test_names_are_composed_text(make: Make, names: list[str]) -> None:
    assert [entry.name for entry in opened(make()).entries] == names
