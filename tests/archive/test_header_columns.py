"""Headers looked at together say what each of them says by itself, and of lying ones the same is told."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from app.archive import ArchiveLimits, BytesSource, directory, locals
from app.archive.header_columns import have_plain_extras
from app.archive.reader import list_members
from app.errors import ImportProblems
from tests.archive.test_hostile_zips import BAD_STREAMS, ENCRYPTED, INVALID, LINKS, SMALL, TOO_BIG, UNREADABLE_NAMES
from tests.archive.test_sound_zips import HANDMADE, OWNERS, TIMES
from tests.archive.zips import DEFLATED, DESCRIPTOR, UTF8, Make, Member, build, extra_field, streamed, zip64_field

ALONE = 1 << 40
MADE: dict[str, Make] = INVALID | BAD_STREAMS | LINKS | ENCRYPTED | TOO_BIG | UNREADABLE_NAMES | HANDMADE
NAMES = (
    "masks/a.png",
    "masks/B.png",
    "é.csv",
    "x/../y",
    "a\\b",
    "/root",
    "C:x",
    "a\x01b",
    "x//y",
    "masks",
    "deep/" * 9,
)


def listed(data: bytes, limits: ArchiveLimits, together: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is made of a zip, or told of it."""
    monkeypatch.setattr(directory, "TOGETHER", together)
    monkeypatch.setattr(locals, "TOGETHER", together)
    try:
        found, offsets = list_members(BytesSource(data), limits)
    except ImportProblems as problems:
        return problems.report.to_dict()
    return found, offsets.tolist()


def check(data: bytes, limits: ArchiveLimits, monkeypatch: pytest.MonkeyPatch) -> Any:
    alone = listed(data, limits, ALONE, monkeypatch)
    assert listed(data, limits, 1, monkeypatch) == alone
    return alone


@pytest.mark.parametrize("limits", [ArchiveLimits(), SMALL], ids=["default", "small"])
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_made_zip(make: Make, limits: ArchiveLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    check(make(), limits, monkeypatch)


def _member(number: int, draw: random.Random) -> Member:
    """Mostly an ordinary one."""
    name = f"masks/{draw.choice(('train', 'Val'))}/{number:05}.png".encode()
    data = draw.randbytes(draw.choice((0, 9, 300)))
    extra = draw.choice((b"", b"", TIMES, TIMES + OWNERS))
    member = Member(name, data, draw.choice((0, DEFLATED)), extra=extra)
    if draw.random() < 0.9:
        return member
    odd = draw.randrange(12)
    if odd == 0:
        return streamed(name, data=data)
    if odd == 1:
        return Member(draw.choice(NAMES).encode(), data, flags=UTF8)
    if odd == 2:
        return Member(f"masks/{number}/".encode(), b"")
    if odd == 3:
        return Member(
            name, data, extra=zip64_field(len(data), len(data)), central={"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF}
        )
    if odd == 4:
        return Member(name, data, local={"name": name.replace(b"masks", b"Masks")})
    if odd == 5:
        return Member(name, data, local={"crc": 1})
    if odd == 6:
        return Member(name, data, central={"flags": draw.choice((1, 2, DESCRIPTOR, 0x20))})
    if odd == 7:
        return Member(name, data, before=b"PK\x01\x02")
    if odd == 8:
        return Member(
            name, data, extra=draw.choice((b"\x01", b"UT\x09\x00", extra_field(0x7075, b"\x01abcd?"), bytes(3)))
        )
    if odd == 9:
        return Member(name, data, central={"disk": 1})
    if odd == 10:
        return Member(name, data, attributes=draw.choice((0o120777, 0o040755, 0o010644)) << 16)
    return Member(name, data, comment=b"PK\x05\x06")


@pytest.mark.parametrize("seed", range(40))
def test_zips_of_many_members(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    members = [_member(number, draw) for number in range(draw.randrange(2, 200))]
    if seed % 2 == 1:
        members = [
            member for member in members if check(build(member), ArchiveLimits(), monkeypatch).__class__ is tuple
        ]
    limits = ArchiveLimits(max_name_bytes=30, max_depth=6, max_component_bytes=20) if seed % 5 == 0 else ArchiveLimits()
    body = build(*members)
    check(body, limits, monkeypatch)
    for _ in range(12):
        place = draw.randrange(len(body))
        if draw.random() < 0.8:  # in the directory
            place = body.index(b"PK\x01\x02", len(body) // 2) + draw.randrange(len(body) // 4)
        place = min(place, len(body) - 1)
        check(body[:place] + bytes([draw.randrange(256)]) + body[place + 1 :], limits, monkeypatch)


def test_windows_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    body = build(*(Member(f"{number:03}.png".encode(), bytes(number)) for number in range(300)))
    for window in (4096, 5000, 1 << 20):
        monkeypatch.setattr(directory, "WINDOW_BYTES", window)
        monkeypatch.setattr(locals, "WINDOW_BYTES", window)
        found, _ = check(body, ArchiveLimits(), monkeypatch)
        assert found.names[7] == "007.png"


@pytest.mark.parametrize(
    ("area", "is_plain"),
    [
        (b"", True),
        (TIMES, True),
        (TIMES + OWNERS, True),
        (b"xx\x00\x00", True),
        (b"xx\x00\x00" * 8, True),
        (b"xx\x00\x00" * 9, False),
        (TIMES + b"\x00", False),
        (zip64_field(1, 1), False),
        (TIMES + extra_field(0x7075, b"\x01abcd"), False),
        (b"xx\x05\x00abcd", False),
    ],
)
def test_extra_fields(area: bytes, is_plain: bool) -> None:
    data = np.frombuffer(b"ab" + area, dtype=np.uint8)
    found = have_plain_extras(data, np.array([2, 0]), np.array([len(area), 0]))
    assert found.tolist() == [is_plain, True]
