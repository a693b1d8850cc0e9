"""The strict zip reader: one way to read each zip, or none.

Refused: anything but a zip from its first byte to its last; several end records; records that do not add up; members
that overlap, or bytes that no record lists; a local header or descriptor that contradicts the directory; a name twice,
or as file and folder; unsafe names, links, devices; encryption; methods other than stored and deflate; a stream that
ends early, late, or grows past its size; a wrong CRC; any limit of `ArchiveLimits`.

Taken, because ordinary tools write them: data descriptors, ZIP64 though small, comments, folder entries, names in UTF-8
with or without its flag or in code page 437, extra fields, more than 65,535 members counted modulo 65,536.

Cost: the directory is walked in windows of 1 MiB; with the local headers 4 to 5 microseconds and about 400 bytes of
memory a member. Members are columns; an `Entry` is made when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from isal import igzip_lib, isal_zlib

from app.archive.directory import STORED, Directory, find_end, invalid, read_directory
from app.archive.limits import ArchiveLimits
from app.archive.locals import check_locals
from app.archive.sources import ByteSource
from app.errors import ImportProblems, NotFound, Report, shorten

Progress = Callable[[float], None]

# Small members are read by windows of this size; so much memory is held while their views are in use.
WINDOW_BYTES = 4 << 20
_PACKED_BLOCK_BYTES = 256 << 10
PROGRESS_STEP = 0.01


class Entry(NamedTuple):
    """One member of an archive.

    Attributes:
        name: NFC text with `/` between parts; a folder's name has no slash at its end.
        size, compressed_size: bytes.
        method: 0 stored, 8 deflate.
        crc: CRC-32 of the unpacked bytes.
        offset: where the (packed) bytes begin in the source.
        number: place in `Archive.entries`, which follows the zip's directory.
    """

    name: str
    size: int
    compressed_size: int
    method: int
    crc: int
    offset: int
    is_dir: bool
    number: int


class EntryList(Sequence[Entry]):
    """The members in the order of the directory; each `Entry` is made when asked for."""

    __slots__ = ("_directory", "_offsets")

    def __init__(self, directory: Directory, offsets: npt.NDArray[np.int64]) -> None:
        self._directory = directory
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        d = self._directory
        return Entry(
            d.names[index],
            d.sizes[index],
            d.compressed_sizes[index],
            d.methods[index],
            d.crcs[index],
            int(self._offsets[index]),
            bool(d.folders[index]),
            index,
        )

    def __iter__(self) -> Iterator[Entry]:
        d = self._directory
        columns = (d.names, d.sizes, d.compressed_sizes, d.methods, d.crcs, self._offsets.tolist())
        return map(Entry, *columns, map(bool, d.folders), range(len(self)))


class Members(NamedTuple):
    """What `Entry` says, of N members as columns: (N,) each.

    Attributes:
        is_deflated: bool; the others are stored.
    """

    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    compressed_sizes: npt.NDArray[np.int64]
    crcs: npt.NDArray[np.int64]
    is_deflated: npt.NDArray[np.bool_]


class Archive:
    """A checked archive. Every member that is read is proven by its size and CRC-32, and remembered as proven."""

    def __init__(
        self,
        source: ByteSource,
        directory: Directory,
        offsets: npt.NDArray[np.int64],
        opened: frozenset[int] = frozenset(),
        proven: Sequence[int] = (),
    ) -> None:
        """Use `open_archive` or `open_files`, which make the checks this class relies on.

        Args:
            opened: numbers of zips whose own members are listed in their place.
            proven: numbers of members whose bytes were proven already.
        """
        self.entries: Sequence[Entry] = EntryList(directory, offsets)
        self._source = source
        self._directory = directory
        self._offsets = offsets
        self._order: npt.NDArray[np.int32] | None = None
        self._opened = opened
        self._proven = bytearray(directory.folders)  # a folder has nothing to prove
        for number in proven:
            self._proven[number] = 1

    def names(self) -> list[str]:
        """Names of all files (no folders), in the order of the directory."""
        return [name for name, _ in self._listed()]

    def _listed(self) -> Iterator[tuple[str, int]]:
        d = self._directory
        for number, (name, is_dir) in enumerate(zip(d.names, d.folders, strict=True)):
            if not is_dir and number not in self._opened:
                yield name, number

    def find(self, name: str) -> Entry | None:
        """The file of exactly that name, or None (also for a folder)."""
        names = self._directory.names
        if self._order is None:  # 4 bytes a member, where a dict would hold 60
            listed = sorted((number for _, number in self._listed()), key=names.__getitem__)
            self._order = np.array(listed, dtype=np.int32)
        place = bisect_left(self._order, name, key=names.__getitem__)
        if place == len(self._order) or names[self._order[place]] != name:
            return None
        return self.entries[int(self._order[place])]

    def entry(self, name: str) -> Entry:
        """The file of exactly that name.

        Raises:
            NotFound: there is none.
        """
        found = self.find(name)
        if found is None:
            raise NotFound("archive member", name, f'There is no "{shorten(name)}" in the zip.')
        return found

    def numbers(self, names: Iterable[str]) -> npt.NDArray[np.int32]:
        """(N,) places in `entries` of the files of exactly these names.

        Raises:
            NotFound: there is no such file.
        """
        wanted = list(names)
        if not wanted:
            return np.empty(0, dtype=np.int32)
        d = self._directory
        every = range(len(d))
        # Not kept: it would take 60 bytes a member, and nobody asks often.
        known = dict(zip(d.names, every, strict=True))
        for number in {*compress(every, d.folders), *self._opened}:
            known.pop(d.names[number], None)
        try:
            return np.array([known[name] for name in wanted], dtype=np.int32)
        except KeyError as error:
            raise NotFound("archive member", error.args[0]) from None

    def members(self, numbers: npt.NDArray[np.integer[Any]]) -> Members:
        """The columns of these places in `entries`."""
        d = self._directory
        sizes, packed, crcs = (np.frombuffer(c, dtype=np.int64) for c in (d.sizes, d.compressed_sizes, d.crcs))
        is_deflated = np.frombuffer(d.methods, dtype=np.uint8)[numbers] != STORED
        return Members(self._offsets[numbers], sizes[numbers], packed[numbers], crcs[numbers], is_deflated)

    def read_stretch(self, offset: int, length: int) -> bytes:
        """Bytes of the source as they lie there, packed and not proven; from any thread."""
        return self._source.read_at(offset, length)

    def read(self, entry: Entry) -> bytes:
        """All bytes of a member, in memory; look at `entry.size` first.

        Raises:
            ImportProblems: zip.bad_member: its stream or its CRC is wrong.
        """
        packed = self._source.read_at(entry.offset, entry.compressed_size)
        return bytes(self._prove(entry, packed))

    def read_all(self, numbers: npt.NDArray[np.integer[Any]]) -> list[bytes]:
        """Bytes of many small members, by their places in `entries`; neighbours in the zip share one read of it.

        For tens of thousands of masks: give them sorted by offset, as many as fit into memory together.

        Raises:
            ImportProblems: zip.bad_member.
        """
        members, found = self.members(numbers), []
        columns = (numbers, members.offsets, members.sizes, members.compressed_sizes, members.crcs, members.is_deflated)
        window = _PackedWindow(self._source, int((members.offsets + members.compressed_sizes).max(initial=0)))
        for number, offset, size, packed_size, crc, is_deflated in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            data = bytes(window.packed(offset, packed_size))
            if is_deflated or len(data) != size or isal_zlib.crc32(data) != crc:
                data = bytes(self._prove(self.entries[number], data))
            self._proven[number] = 1
            found.append(data)
        return found

    def blocks(self, entry: Entry, block_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of a member in blocks of `block_bytes` (the last one shorter). For members of any size.

        What was given out is proven only when the iterator has ended: size and CRC are checked after the last block.

        Raises:
            ImportProblems: zip.bad_member.
        """
        crc = total = 0
        for block in self._unpacked(entry, block_bytes):
            crc = isal_zlib.crc32(block, crc)
            total += len(block)
            if total > entry.size:
                raise _bad(entry, "unpacks to more than its size")
            yield block
        self._settle(entry, total, crc)

    def verify(self, progress: Progress | None = None) -> None:
        """Prove every member that was not read to its end yet.

        Args:
            progress: told 0..1 now and then.

        Raises:
            ImportProblems: with every bad member.
        """
        report = Report()
        order = [i for i in np.argsort(self._offsets, kind="stable").tolist() if not self._proven[i]]
        todo = max(1, sum(self._directory.compressed_sizes[i] for i in order))
        done, told = 0, 0.0
        window = _PackedWindow(self._source, self._source.size)
        for index in order:
            entry = self.entries[index]
            try:
                if entry.size <= WINDOW_BYTES and entry.compressed_size <= WINDOW_BYTES:
                    self._prove(entry, window.packed(entry.offset, entry.compressed_size))
                else:
                    unpacked = 0
                    for block in self.blocks(entry):
                        unpacked += len(block)
                        if progress is not None:
                            progress((done + entry.compressed_size * unpacked / max(1, entry.size)) / todo)
            except ImportProblems as problems:
                report.add(problems.report.errors[0])
            done += entry.compressed_size
            if progress is not None and done / todo >= told + PROGRESS_STEP:
                told = done / todo
                progress(told)
        report.raise_if_errors()
        if progress is not None:
            progress(1.0)

    def _prove(self, entry: Entry, packed: bytes | memoryview) -> bytes | memoryview:
        """The unpacked bytes of a member whose packed bytes are all here."""
        if len(packed) != entry.compressed_size:
            raise _bad(entry, "is cut short")
        data = packed if entry.method == STORED else _inflate(entry, packed)
        if len(data) != entry.size:
            raise _bad(entry, f"unpacks to {len(data):,} bytes instead of {entry.size:,}")
        self._settle(entry, len(data), isal_zlib.crc32(data))
        return data

    def _settle(self, entry: Entry, n_bytes: int, crc: int) -> None:
        if n_bytes != entry.size:
            raise _bad(entry, f"unpacks to {n_bytes:,} bytes instead of {entry.size:,}")
        if crc != entry.crc:
            raise _bad(entry, "is damaged (its CRC-32 is wrong)")
        self._proven[entry.number] = 1

    def _unpacked(self, entry: Entry, block_bytes: int) -> Iterator[bytes]:
        position, stop = entry.offset, entry.offset + entry.compressed_size
        if entry.method == STORED:
            while position < stop:
                block = self._read_exactly(entry, position, min(block_bytes, stop - position))
                position += len(block)
                yield block
            return
        inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
        while not inflater.eof:
            packed = b""
            if inflater.needs_input:
                if position == stop:
                    raise _bad(entry, "is cut short (its deflate stream does not end)")
                packed = self._read_exactly(entry, position, min(_PACKED_BLOCK_BYTES, stop - position))
                position += len(packed)
            try:
                block = inflater.decompress(packed, block_bytes)
            except igzip_lib.IsalError:  # type: ignore[misc]  # a class; the stubs say instance
                raise _bad(entry, "is damaged (its deflate stream is broken)") from None
            if block:
                yield block
        if position != stop or inflater.unused_data:
            raise _bad(entry, "holds bytes behind the end of its deflate stream")

    def _read_exactly(self, entry: Entry, offset: int, length: int) -> bytes:
        data = self._source.read_at(offset, length)
        if len(data) != length:
            raise _bad(entry, "is cut short")
        return data


class _PackedWindow:
    """Packed bytes of members, neighbours from one read; behind `last` nobody wants any."""

    __slots__ = ("_base", "_end", "_last", "_source", "_view")

    def __init__(self, source: ByteSource, last: int) -> None:
        self._source, self._last = source, last
        self._base = self._end = 0
        self._view = memoryview(b"")

    def packed(self, start: int, size: int) -> memoryview:
        stop = start + size
        if start < self._base or stop > self._end:
            self._base = start
            self._view = memoryview(self._source.read_at(start, max(size, min(WINDOW_BYTES, self._last - start))))
            self._end = start + len(self._view)
        return self._view[start - self._base : stop - self._base]


def _inflate(entry: Entry, packed: bytes | memoryview) -> bytes:
    """Inflate at once, to one byte more than the size at most: a stream that would grow further is never unpacked."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    try:
        data: bytes = inflater.decompress(packed, entry.size + 1)
    except igzip_lib.IsalError:  # type: ignore[misc]  # a class; the stubs say instance
        raise _bad(entry, "is damaged (its deflate stream is broken)") from None
    if len(data) > entry.size:
        raise _bad(entry, "unpacks to more than its size")
    if not inflater.eof:
        raise _bad(entry, "is cut short (its deflate stream does not end)")
    if inflater.unused_data:
        raise _bad(entry, "holds bytes behind the end of its deflate stream")
    return data


def _bad(entry: Entry, why: str) -> ImportProblems:
    name = shorten(entry.name)
    return ImportProblems.single(
        "zip.bad_member", f'"{name}" {why}. Make the zip again, or upload it again.', file=name
    )


def open_archive(source: ByteSource, limits: ArchiveLimits | None = None) -> Archive:
    """Check a zip and list its members. Nothing is unpacked: `read`, `blocks` and `verify` prove the bytes.

    Raises:
        ImportProblems: `zip.*`, with every bad name, kind and header listed, not the first only.
    """
    return Archive(source, *list_members(source, limits or ArchiveLimits()))


def list_members(source: ByteSource, limits: ArchiveLimits) -> tuple[Directory, npt.NDArray[np.int64]]:
    """The directory of a checked zip, and where the bytes of each member begin. Raises as `open_archive`."""
    end = find_end(source)
    report = Report()
    directory = read_directory(source, end, limits, report)
    if not len(directory):
        raise invalid("The zip is empty. Put the annotation files into it.")
    report.raise_if_errors()
    offsets = check_locals(source, directory, end, report)
    report.raise_if_errors()
    return directory, offsets
