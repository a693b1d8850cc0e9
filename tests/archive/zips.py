"""Zips made byte by byte, so that every field can be told a lie."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.archive import Archive, ArchiveLimits, BytesSource, open_archive
from app.errors import ImportProblems

STORED, DEFLATED = 0, 8
DESCRIPTOR, UTF8 = 0x8, 0x800
UNIX, FAT = 3, 0
CSV = b"ImageID,Source\na,x\nb,y\n"


def noise_png(n_bytes: int = 400) -> bytes:
    """Bytes that nothing packs any smaller."""
    return random.Random(n_bytes).randbytes(n_bytes)


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass
class Member:
    """One member. `local` and `central` replace fields of one header only; `descriptor` is written as given."""

    name: bytes = b"a.csv"
    data: bytes = CSV
    method: int = STORED
    flags: int = 0
    host: int = UNIX
    attributes: int = 0o100644 << 16
    extra: bytes = b""
    comment: bytes = b""
    packed: bytes | None = None
    before: bytes = b""
    descriptor: bytes = b""
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflate(self.data) if self.method == DEFLATED else self.data

    def fields(self, other: Mapping[str, Any]) -> dict[str, Any]:
        own = {
            "signature": None,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "packed": len(self.body),
            "size": len(self.data),
            "name": self.name,
            "extra": self.extra,
            "offset": None,
            "disk": 0,
            "version": 20,
        }
        assert set(other) <= set(own), other
        return own | dict(other)


def descriptor(member: Member, signature: bool = True, wide: bool = False, **other: int) -> bytes:
    """The data descriptor of a member, with other numbers where given."""
    truth = {"crc": zlib.crc32(member.data), "packed": len(member.body), "size": len(member.data)} | other
    numbers = struct.pack("<IQQ" if wide else "<III", truth["crc"], truth["packed"], truth["size"])
    return (b"PK\x07\x08" if signature else b"") + numbers


def streamed(name: bytes = b"a.csv", signature: bool = True, wide: bool = False, **other: Any) -> Member:
    """A deflated member with nothing in its local header and a descriptor behind it, as streaming tools write."""
    member = Member(name, method=DEFLATED, flags=DESCRIPTOR, **other)
    member.local = {"crc": 0, "packed": 0, "size": 0} | dict(member.local)
    member.descriptor = descriptor(member, signature, wide)
    return member


def build(
    *members: Member,
    prefix: bytes = b"",
    between: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
    locator: Mapping[str, int] | None = None,
    end64_rest: bytes = b"",
    before_end: bytes = b"",
) -> bytes:
    """A zip of the members. `end`, `end64`, `locator` replace numbers of those records; the last two are only written
    when given (`{}` for true ones)."""
    out = bytearray(prefix)
    records = bytearray()
    for member in members:
        out += member.before
        here = member.fields(member.local)
        there = member.fields(member.central)
        offset = len(out) if there["offset"] is None else there["offset"]
        out += struct.pack(
            "<4s5H3I2H",
            here["signature"] or b"PK\x03\x04",
            here["version"],
            here["flags"],
            here["method"],
            0,
            0x21,
            here["crc"],
            here["packed"],
            here["size"],
            len(here["name"]),
            len(here["extra"]),
        )
        out += here["name"] + here["extra"] + member.body + member.descriptor
        records += struct.pack(
            "<4s6H3I5H2I",
            there["signature"] or b"PK\x01\x02",
            member.host << 8 | 20,
            there["version"],
            there["flags"],
            there["method"],
            0,
            0x21,
            there["crc"],
            there["packed"],
            there["size"],
            len(there["name"]),
            len(there["extra"]),
            len(member.comment),
            there["disk"],
            0,
            member.attributes,
            offset,
        )
        records += there["name"] + there["extra"] + member.comment
    out += between
    directory_offset = len(out)
    out += records
    truth = {
        "disk": 0,
        "directory_disk": 0,
        "count_here": len(members),
        "count": len(members),
        "size": len(records),
        "offset": directory_offset,
    }
    if end64 is not None:
        where = len(out)
        wide = truth | {"length": 44 + len(end64_rest)} | dict(end64)
        out += struct.pack(
            "<4sQ2H2I4Q",
            b"PK\x06\x06",
            wide["length"],
            45,
            45,
            wide["disk"],
            wide["directory_disk"],
            wide["count_here"],
            wide["count"],
            wide["size"],
            wide["offset"],
        )
        out += end64_rest
        place = {"disk": 0, "offset": where, "disks": 1} | dict(locator or {})
        out += struct.pack("<4sIQI", b"PK\x06\x07", place["disk"], place["offset"], place["disks"])
    out += before_end
    said = truth | {"comment": len(comment)} | dict(end or {})
    out += struct.pack(
        "<4s4H2IH",
        b"PK\x05\x06",
        said["disk"],
        said["directory_disk"],
        said["count_here"] & 0xFFFF,
        said["count"] & 0xFFFF,
        said["size"],
        said["offset"],
        said["comment"],
    )
    return bytes(out) + comment + suffix


def extra_field(key: int, body: bytes) -> bytes:
    return struct.pack("<HH", key, len(body)) + body


def zip64_field(*numbers: int) -> bytes:
    return extra_field(1, struct.pack(f"<{len(numbers)}Q", *numbers))


def unicode_path(raw: bytes, text: str, crc: int | None = None) -> bytes:
    body = struct.pack("<BI", 1, zlib.crc32(raw) if crc is None else crc)
    return extra_field(0x7075, body + text.encode("utf-8"))


def opened(data: bytes, limits: ArchiveLimits | None = None) -> Archive:
    return open_archive(BytesSource(data), limits)


def refusal(data: bytes, limits: ArchiveLimits | None = None) -> ImportProblems:
    """How opening and proving a zip ends, which must be a refusal."""
    try:
        opened(data, limits).verify()
    except ImportProblems as problems:
        return problems
    raise AssertionError("the zip was taken")


def contents(archive: Archive) -> dict[str, bytes]:
    return {entry.name: archive.read(entry) for entry in archive.entries if not entry.is_dir}


def outcome(data: bytes) -> tuple[str, dict[str, bytes]]:
    """(the code it is refused with, {}) or ("", its contents)."""
    try:
        archive = opened(data)
        archive.verify()
    except ImportProblems as problems:
        return problems.code, {}
    return "", contents(archive)


def read_first(archive: Archive, way: str) -> None:
    """Read the first member in one of all ways."""
    entry = archive.entries[0]
    if way == "read":
        archive.read(entry)
    elif way == "read_all":
        archive.read_all(np.array([entry.number]))
    else:
        list(archive.blocks(entry, 1 << 20 if way == "blocks" else 7))


def by_zipfile(data: bytes) -> dict[str, bytes]:
    """What Python's own reader makes of a zip (code page 437 where it is not told UTF-8)."""
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        return {info.filename: other.read(info) for info in other.infolist() if not info.is_dir()}


Make = Callable[[], bytes]
