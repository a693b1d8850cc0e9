"""The local headers of all members, held against the directory; and every byte between them accounted for.

In the order of the file each member must begin where the one before ended: no overlap, no byte that nothing lists.
Headers are read through windows: one read serves hundreds of small members, and one small read a large one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.archive.directory import (
    DESCRIPTOR_FLAG,
    LOCAL_SIGNATURE,
    U32,
    WINDOW_BYTES,
    Directory,
    EndRecord,
    fill_zip64,
    needed_extras,
)
from app.archive.header_columns import LOCAL_FIELDS, TOGETHER, Mask, Places, have_plain_extras, headers_at
from app.archive.names import NameRefused, decode_name, normalise
from app.archive.sources import ByteSource
from app.errors import Report, shorten

LOCAL = struct.Struct("<4s5H3I2H")
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
SPLIT_SIGNATURES = (DESCRIPTOR_SIGNATURE, b"PK00")
"""What tools that split zips write in front of the first part."""
_DESCRIPTORS = {12: "<III", 16: "<4sIII", 20: "<IQQ", 24: "<4sIQQ"}
_SMALL_MEMBER_BYTES = 64 << 10
_HEADER_WINDOW_BYTES = 4 << 10
# Bits 1 and 2 tell how hard the deflater tried; nothing reads them, and some tools write them in one place only.
_COMPARED_FLAGS = 0xFFFF & ~0x0006
_SIGNATURE = int.from_bytes(LOCAL_SIGNATURE, "little")


class _Window:
    """A moving window over the source."""

    __slots__ = ("base", "data", "source")

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.base = 0
        self.data = b""

    def reach(self, offset: int, length: int, ahead: int) -> int:
        """Position in `data` of `offset`, with `length` bytes behind it (fewer where the source ends)."""
        position = offset - self.base
        if position < 0 or position + length > len(self.data):
            self.base, position = offset, 0
            self.data = self.source.read_at(offset, max(length, ahead))
        return position


def check_locals(source: ByteSource, directory: Directory, end: EndRecord, report: Report) -> npt.NDArray[np.int64]:
    """Check every local header against its record in the directory.

    Returns:
        (members,) int64: where the bytes of each member begin, in the order of the directory.
    """
    n = len(directory)
    data_offsets = np.zeros(n, dtype=np.int64)
    header_offsets = np.frombuffer(directory.header_offsets, dtype=np.int64)
    order: Places = np.argsort(header_offsets, kind="stable")
    if n and header_offsets[order[0]] != 0:
        extra = f"There are {header_offsets[order[0]]} bytes in front of the zip's first member."
        is_split = source.read_at(0, 4) in SPLIT_SIGNATURES
        remedy = "It was made to be split into parts: make one whole zip." if is_split else "Make the zip again."
        report.error("zip.invalid", f"{extra} {remedy}")
        return data_offsets
    ordered = header_offsets[order]
    ends = np.append(ordered[1:], end.offset)
    window = _Window(source)
    done = 0
    while done < n:
        stop = done + _count_reached(ordered[done:])
        odd: Sequence[int] = range(done, stop)
        if stop - done >= TOGETHER:
            some = order[done:stop]
            begins, is_plain = _look_together(source, directory, some, ends[done:stop])
            data_offsets[some] = begins
            odd = (done + np.flatnonzero(~is_plain)).tolist()
        for place in odd:
            index = int(order[place])
            problem, data_offsets[index] = _look_at(window, directory, index, int(ends[place]), is_last=place + 1 == n)
            if problem is not None:
                _refuse(report, directory, index, problem)
        done = stop
    return data_offsets


def _count_reached(header_offsets: Places) -> int:
    """How many of these headers (ascending) lie in one window: at least one."""
    last = header_offsets[0] + WINDOW_BYTES - LOCAL.size
    return max(1, int(np.searchsorted(header_offsets, last, side="right")))


def _look_together(source: ByteSource, directory: Directory, order: Places, ends: Places) -> tuple[Places, Mask]:
    """The members of one window, by their places in the directory.

    Args:
        ends: (N,) where the next member begins, or the directory.

    Returns:
        (N,) where their bytes begin, and (N,) whether that is sure, and nothing is to be told.
    """
    sizes, packed, crcs, header_offsets = (
        np.frombuffer(column, dtype=np.int64)[order]
        for column in (directory.sizes, directory.compressed_sizes, directory.crcs, directory.header_offsets)
    )
    flags = np.frombuffer(directory.flags, dtype=np.uint16)[order]
    methods, folders = (
        np.frombuffer(column, dtype=np.uint8)[order] for column in (directory.methods, directory.folders)
    )
    window = source.read_at(int(header_offsets[0]), WINDOW_BYTES)
    data, at = np.frombuffer(window, dtype=np.uint8), header_offsets - header_offsets[0]
    if at[-1] + LOCAL.size > len(data):
        return at, np.zeros(len(order), dtype=np.bool_)
    headers = headers_at(data, at, LOCAL_FIELDS)
    names = [directory.names[index] for index in order.tolist()]
    name_starts = at + LOCAL.size
    name_stops = name_starts + headers["n_name"]
    n_extra = headers["n_extra"].astype(np.int64)
    begins = header_offsets + LOCAL.size + headers["n_name"] + n_extra
    plain: Mask = (headers["signature"] == _SIGNATURE) & (headers["method"] == methods) & (folders == 0)
    plain &= ((headers["flags"] ^ flags) & _COMPARED_FLAGS == 0) & (flags & DESCRIPTOR_FLAG == 0)
    plain &= (headers["crc"] == crcs) & (headers["packed"] == packed) & (headers["size"] == sizes)
    plain &= (packed < U32) & (sizes < U32) & (begins + packed == ends) & (name_stops + n_extra <= len(data))
    plain &= have_plain_extras(data, np.where(plain, name_stops, 0), np.where(plain, n_extra, 0))
    text = window.decode("latin-1")
    starts, stops = name_starts.tolist(), name_stops.tolist()
    plain &= np.array(
        [text[start:stop] == name and name.isascii() for name, start, stop in zip(names, starts, stops, strict=True)],
        dtype=np.bool_,
    )
    return begins, plain


def _look_at(
    window: _Window, directory: Directory, index: int, next_at: int, *, is_last: bool
) -> tuple[str | None, int]:
    """What is wrong with a local header or behind its member's bytes, and where those begin.

    Args:
        next_at: where the next member begins, or the directory.
    """
    header_at, packed = directory.header_offsets[index], directory.compressed_sizes[index]
    ahead = WINDOW_BYTES if packed < _SMALL_MEMBER_BYTES else _HEADER_WINDOW_BYTES
    at = window.reach(header_at, LOCAL.size, ahead)
    problem, header_bytes = _check_header(window, at, header_at, directory, index)
    data_at = header_at + header_bytes
    data_end = data_at + packed
    if problem is None and data_end > next_at:
        problem = "runs into the zip's directory" if is_last else "overlaps another member"
    if problem is None:
        if directory.flags[index] & DESCRIPTOR_FLAG:
            problem = _check_descriptor(window, data_end, next_at, directory, index)
        elif data_end != next_at:
            problem = f"is followed by {next_at - data_end} bytes that belong to no member"
    return problem, data_at


def _refuse(report: Report, directory: Directory, index: int, why: str) -> None:
    name = shorten(directory.names[index])
    report.error("zip.invalid", f'"{name}" {why}. Make the zip again, or upload it again.', file=name)


def _check_header(window: _Window, at: int, header_at: int, directory: Directory, index: int) -> tuple[str | None, int]:
    """(what is wrong or None, bytes of the local header with name and extra)."""
    data = window.data
    if len(data) - at < LOCAL.size or not data.startswith(LOCAL_SIGNATURE, at):
        return "has no local header where the directory says", 0
    _, _, flags, method, _, _, crc, packed, size, n_name, n_extra = LOCAL.unpack_from(data, at)
    header_bytes = LOCAL.size + n_name + n_extra
    if len(data) - at < header_bytes:
        at = window.reach(header_at, header_bytes, header_bytes)
        data = window.data
        if len(data) - at < header_bytes:
            return "has a local header that is cut", header_bytes
    name = data[at + LOCAL.size : at + LOCAL.size + n_name]
    if name != directory.raw_name(index):
        return "has another name in its local header", header_bytes
    if method != directory.methods[index]:
        return "has another method in its local header", header_bytes
    if (flags ^ directory.flags[index]) & _COMPARED_FLAGS:
        return "has other flags in its local header", header_bytes
    if n_extra:
        try:
            zip64, path = needed_extras(data[at + LOCAL.size + n_name : at + header_bytes])
            if zip64 is not None or packed == U32 or size == U32:
                size, packed = fill_zip64(zip64, [size, packed])
            if path is not None and normalise(decode_name(name, flags, path)).rstrip("/") != directory.names[index]:
                return "has another name in its local header", header_bytes
        except (ValueError, NameRefused) as error:
            return f"has a damaged local header ({error})", header_bytes
    told = (crc, packed, size)
    truth = (directory.crcs[index], directory.compressed_sizes[index], directory.sizes[index])
    if told != truth:
        if not flags & DESCRIPTOR_FLAG:
            return "has other sizes or another CRC in its local header", header_bytes
        # They follow in the descriptor; here they are 0, or whatever is known already.
        if any(said not in (0, true) for said, true in zip(told, truth, strict=True)):
            return "has other sizes or another CRC in its local header", header_bytes
    return None, header_bytes


def _check_descriptor(window: _Window, data_end: int, next_at: int, directory: Directory, index: int) -> str | None:
    length = next_at - data_end
    layout = _DESCRIPTORS.get(length)
    if layout is None:
        return f"should be followed by its data descriptor and is followed by {length} bytes"
    at = window.reach(data_end, length, length + _HEADER_WINDOW_BYTES)
    if len(window.data) - at < length:
        return "has a data descriptor that is cut"
    values: Sequence[int | bytes] = struct.unpack_from(layout, window.data, at)
    if length in (16, 24):
        if values[0] != DESCRIPTOR_SIGNATURE:
            return f"should be followed by its data descriptor and is followed by {length} other bytes"
        values = values[1:]
    truth = (directory.crcs[index], directory.compressed_sizes[index], directory.sizes[index])
    return None if tuple(values) == truth else "has a data descriptor that contradicts the directory"
