"""Any byte of a zip's records may be another: what the strict reader then still takes, `zipfile` reads alike."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from app.archive import BytesSource, open_archive
from app.errors import ImportProblems
from tests.hostile.parts import tree
from tests.hostile.sound import SOUND, as_streamed, packed

WRITERS = ("ZIP64 though small", "Info-ZIP", "7-Zip itself", "Java")
ZIPS = {"plain": tree, "streamed": lambda: packed(as_streamed)} | {n: SOUND[n] for n in WRITERS if n in SOUND}
A_FEW = 37
"""A number without common factors: each kind of field meets each kind of change."""


def ours(body: bytes) -> dict[str, bytes] | None:
    """All files by name, or None where the zip is refused."""
    try:
        archive = open_archive(BytesSource(body))
        archive.verify()
        return {name: archive.read(archive.entry(name)) for name in archive.names()}
    except ImportProblems:
        return None


def theirs(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def flipped(body: bytes, step: int) -> Iterator[bytes]:
    """The zip with one byte of its headers, directory or end records changed, every `step`-th of all such changes."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        heads = [range(i.header_offset, i.header_offset + 38 + len(i.filename)) for i in archive.infolist()]
        places = [*range(archive.start_dir, len(body)), *(place for head in heads for place in head)]
    changes = [(place, new) for place in places for new in (body[place] ^ 1, body[place] ^ 128, 0, 255)]
    for place, new in changes[::step]:
        if new != body[place]:
            yield body[:place] + bytes([new]) + body[place + 1 :]


def disagreements(name: str, step: int) -> list[bytes]:
    sound = ZIPS[name]()
    assert ours(sound) == theirs(sound)
    return [body for body in flipped(sound, step) if (read := ours(body)) is not None and read != theirs(body)]


@pytest.mark.parametrize("name", ZIPS)
def test_some_flipped_bytes_are_refused_or_read_alike(name: str) -> None:
    assert disagreements(name, A_FEW) == []


@pytest.mark.long
@pytest.mark.parametrize("name", ZIPS)
def test_flipped_bytes_are_refused_or_read_alike(name: str) -> None:
    assert disagreements(name, 1) == []
