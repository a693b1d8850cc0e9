"""Zip archives as a stream of large chunks (signatures first; being written)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class DeflatedMember:
    """A member being written; from `ArchiveWriter.open_deflated`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError


class ArchiveWriter:
    """Pushes a zip into `send`. The same calls give the same bytes."""

    def __init__(self, send: Callable[[bytes], None], chunk_bytes: int = 256 << 10) -> None:
        raise NotImplementedError

    def add_stored(self, name: str, data: bytes | bytearray | memoryview, crc: int | None = None) -> None:
        """A member as it is. `crc`: its CRC-32 where known already, which must be true."""
        raise NotImplementedError

    def add_stored_chunks(
        self, name: str, size: int, chunks: Iterable[bytes | memoryview], crc: int | None = None
    ) -> None:
        """A member of `size` bytes that comes in chunks. Raises Damaged when they do not add up to `size` (or `crc`)."""
        raise NotImplementedError

    def open_deflated(self, name: str, may_be_large: bool = False) -> DeflatedMember:
        """A context with write(bytes); deflate level 1. `may_be_large`: needed where 4 GiB may be passed."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the directory and send the rest. `send` itself is not told about the end."""
        raise NotImplementedError
