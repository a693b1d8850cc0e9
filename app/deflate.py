"""Deflate by ISA-L, with the same bytes for the same data in every process and thread.

Left alone, ISA-L (levels 1 and 2, up to 2.32 at least) takes the hash of the third byte of a stream from a register
that nobody has set: in it is a part of the address of the stream, on the heap or on the caller's stack. Now and then a
match is found, or not, that another stream does not find. Its routine for the end of a piece has no such fault, so the
first bytes are handed over as a piece of their own, which costs some ten bytes and three microseconds a stream. Four of
them, for of fewer that routine keeps no hash: what comes next would be the begin of the stream once more.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, cast

from isal import isal_zlib

LEVEL = 1
ZLIB, RAW = 15, -15
"""Bits of the window: with zlib's header and checksum, or without."""

FIRST_BYTES = 4
CUT_BYTES = 256 << 10
"""What the deflater is given at once: what comes out of it depends on how its input is cut, and may not depend on how
callers cut theirs."""

SMALL_BYTES = 16 << 10
"""Blocks of a table that are shorter are deflated together with their neighbours, for by itself each would be packed
less well; so they are not stored as pieces, either."""

Data = bytes | bytearray | memoryview
DEFLATE_ERROR = cast(type[Exception], isal_zlib.error)  # its type stub calls the class an instance


class Deflater:
    """One stream; `compress` and `flush` as in zlib."""

    def __init__(self, window_bits: int = ZLIB) -> None:
        self._engine = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, window_bits)
        self._has_begun = False

    def compress(self, data: Data) -> bytes:
        if self._has_begun or not len(data):
            return self._engine.compress(data)
        self._has_begun = True
        view = memoryview(data).cast("B")
        first = self._engine.compress(view[:FIRST_BYTES])
        rest = view[FIRST_BYTES:]
        return b"".join((first, self._engine.flush(isal_zlib.Z_SYNC_FLUSH), self._engine.compress(rest)))

    def flush(self) -> bytes:
        """The end of the stream."""
        return self._engine.flush()

    def pause(self) -> bytes:
        """What is left of the data so far, up to a whole byte."""
        return self._engine.flush(isal_zlib.Z_SYNC_FLUSH)


def deflate(data: Data) -> bytes:
    """A whole zlib stream."""
    deflater = Deflater()
    return deflater.compress(data) + deflater.flush()


STORED_PIECE_BYTES = 48
"""What is shorter is stored as it is: a block of its own would hardly make it smaller."""


class Piece(NamedTuple):
    """A part of a raw stream that needs nothing in front of it, begins and ends at a whole byte, and is not the last.

    Attributes:
        crc, size: of what it inflates to.
    """

    packed: bytes | memoryview
    crc: int
    size: int


def deflate_piece(data: Data) -> Piece:
    """A piece that may stand in any raw stream."""
    crc, size = isal_zlib.crc32(data), len(data)
    if size < STORED_PIECE_BYTES:
        return Piece(struct.pack("<BHH", 0, size, size ^ 0xFFFF) + data, crc, size)
    deflater = Deflater(RAW)
    return Piece(deflater.compress(data) + deflater.pause(), crc, size)


def deflate_text(data: Data) -> Piece:
    """A piece whose data is handed over as if it had come bit by bit."""
    deflater = Deflater(RAW)
    view = memoryview(data).cast("B")
    packed = [deflater.compress(view[start : start + CUT_BYTES]) for start in range(0, len(view), CUT_BYTES)]
    return Piece(b"".join((*packed, deflater.pause())), isal_zlib.crc32(data), len(data))


def inflate_piece(packed: Data, size: int) -> bytes:
    """The `size` bytes that a piece stands for. Raises ValueError: it stands for others."""
    try:
        data = isal_zlib.decompressobj(RAW).decompress(packed, size + 1)
    except DEFLATE_ERROR as error:
        raise ValueError(str(error)) from None
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, not {size}")
    return data
