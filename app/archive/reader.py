"""The strict zip reader (signatures first; being written)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from app.archive.limits import ArchiveLimits
from app.archive.sources import ByteSource


class Entry(NamedTuple):
    """One member of an archive.

    Attributes:
        name: NFC text with `/` between parts; a folder's name has no slash at its end.
        size, compressed_size: bytes.
        method: 0 stored, 8 deflate.
        crc: CRC-32 of the unpacked bytes.
        offset: where the (packed) bytes begin in the source.
        index: place in `Archive.entries`, which follows the zip's directory.
    """

    name: str
    size: int
    compressed_size: int
    method: int
    crc: int
    offset: int
    is_dir: bool
    index: int


class Archive:
    """A checked archive. Every member that is read is proven by its size and CRC-32, and remembered as proven."""

    entries: Sequence[Entry]

    def names(self) -> list[str]:
        """Names of all files (no folders), in the order of the directory."""
        raise NotImplementedError

    def find(self, name: str) -> Entry | None:
        """The file of that name, or None (also for a folder)."""
        raise NotImplementedError

    def entry(self, name: str) -> Entry:
        """The file of that name. Raises NotFound."""
        raise NotImplementedError

    def read(self, entry: Entry) -> bytes:
        """All bytes of a member; look at `entry.size` first. Raises ImportProblems (zip.bad_member)."""
        raise NotImplementedError

    def read_many(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes | memoryview]]:
        """Bytes of many small members, in the order given; neighbours in the zip share one read of the source.

        For tens of thousands of masks: give them sorted by `offset`. A stored member comes as a memoryview of a
        shared window: copy it (`bytes(view)`) to keep it without the window. Raises ImportProblems (zip.bad_member).
        """
        raise NotImplementedError

    def blocks(self, entry: Entry, block_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of a member in blocks of about `block_bytes`; size and CRC are checked after the last block."""
        raise NotImplementedError

    def verify(self, progress: Callable[[float], None] | None = None) -> None:
        """Prove every member that was not read in full yet. Raises ImportProblems with every bad member."""
        raise NotImplementedError


def open_archive(source: ByteSource, limits: ArchiveLimits | None = None) -> Archive:
    """Check a zip and list its members. Raises ImportProblems (`zip.*`), with every bad name and member listed."""
    raise NotImplementedError
