"""Where the bytes of an archive lie: a file on disk, an object in a bucket, or memory; parts and rows of these."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Protocol

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


class PartSource:
    """A stretch of a source, read as if it were the whole: a file of a form, a zip within a zip."""

    __slots__ = ("_offset", "_size", "_source")

    def __init__(self, source: ByteSource, offset: int, size: int) -> None:
        self._source, self._offset, self._size = source, offset, size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._source.read_at(self._offset + offset, max(0, min(length, self._size - offset)))


class JoinedSource:
    """Several sources, one behind the other, as one."""

    __slots__ = ("_sources", "_starts")

    def __init__(self, sources: Sequence[ByteSource]) -> None:
        self._sources = list(sources)
        self._starts = [0, *accumulate(source.size for source in sources)]

    @property
    def size(self) -> int:
        return self._starts[-1]

    def read_at(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        parts = []
        place = bisect_right(self._starts, offset) - 1
        while offset < stop:
            start, end = self._starts[place], min(stop, self._starts[place + 1])
            parts.append(self._sources[place].read_at(offset - start, end - offset))
            if len(parts[-1]) != end - offset:
                break
            offset, place = end, place + 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


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

    @classmethod
    def of_file(cls, file: IO[bytes]) -> FileSource:
        """The bytes of an open file that may have no name (any more). The file itself is closed."""
        file.flush()
        source = cls.__new__(cls)
        source._fd = os.dup(file.fileno())
        source._size = os.fstat(source._fd).st_size
        file.close()
        return source

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
