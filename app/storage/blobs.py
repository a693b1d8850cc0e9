"""Bytes under keys: a folder or a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from app.storage.rows import Result, Segment


class BlobSource(Protocol):
    """Bytes that can be read anywhere; what `app.archive` calls a ByteSource."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end."""

    def close(self) -> None:
        """Give back the file handle, if there is one."""


class BlobWriter(Protocol):
    """Receives one blob. `write` is cheap enough for an event loop; `finish` is not (call it in a thread)."""

    key: str
    size: int

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def finish(self) -> int:
        """Make the blob durable and visible under its key. Returns its size."""

    def abort(self) -> None:
        """Drop what was written; harmless after finish or abort."""


class Blobs(Protocol):
    """All blobs of one store."""

    def open_writer(self, key: str, *, result: Result | None = None) -> BlobWriter:
        """Begin a blob. `result` gives a bucket the download's name and type.

        Raises:
            NoSpace: less than the minimum is free.
        """

    def put(self, key: str, chunks: bytes | Iterable[bytes]) -> int:
        """Write a whole blob durably. Returns its size."""

    def open(self, segments: Sequence[Segment]) -> BlobSource:
        """The bytes of the segments, one after the other, as one source."""

    def open_key(self, key: str) -> BlobSource:
        """One blob. Raises NotFound."""

    def local_path(self, key: str) -> Path | None:
        """Where the blob lies on this machine, or None for a bucket. Raises NotFound."""

    def presign(self, key: str, seconds: int = 300) -> str | None:
        """A URL that anyone may GET for a while, or None for a folder."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove blobs; missing ones are fine."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """(key, size, last modified) of every blob below the prefix."""

    def check_space(self, needed_bytes: int = 0) -> None:
        """Raises NoSpace unless `needed_bytes` and the minimum are free."""
