"""Where the bytes of an archive lie: a file on disk, an object in a bucket, or memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from app.errors import NotFound


class ByteSource(Protocol):
    """Bytes that can be read at any place and do not change while an archive is open on them."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; fewer only where the source ends."""
        ...


class BytesSource:
    """Bytes in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class FileSource:
    """A file on disk, read by position: no shared file pointer, so threads and forks may read at once.

    pread and not mmap: a file that is cut short while mapped kills the process (SIGBUS); here it is a short read.
    """

    __slots__ = ("_fd", "_size")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file.

        Raises:
            NotFound: there is no such file.
        """
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            raise NotFound("file", Path(path).name, f"There is no file {Path(path).name}.") from None
        self._size = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        # One call gives at most 2 GiB, and less after a signal.
        parts, have = [data], len(data)
        while have < length:
            part = os.pread(self._fd, length - have, offset + have)
            if not part:
                break
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
