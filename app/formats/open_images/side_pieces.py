"""Entries of the side file while they wait: deflated once, where they are made, and copied into the member as they are.

    {"row":[0,17],   "image":"a", … "points":[1,1,6,1, …]}      an outline has some 20 kB, and its entry's text is made
    └── a text ──┘└──────────── a piece ─────────────────┘      and deflated by whoever draws it

What is short waits as text, and is deflated together with its neighbours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO

from app.deflate import Data, Piece, deflate_piece
from app.spools import spool_of

WRITTEN_BYTES = READ_BYTES = 64 << 10
"""Pieces that are handed to that disk together, and taken from there: they come in the order of their rows, nearly."""
LONG_BYTES = 512
"""An entry of so many bytes is deflated by itself."""
TEXT_BYTES = 256 << 10
"""Short entries that are deflated together."""
GAP = b"\0"
"""Stands in a draft for what is not known yet; no JSON has it."""
HELD, INLINE = b"\0", b"\1"
"""Marks: a piece that lies in the file of held ones (no entry begins so), or behind its frame."""
FRAME = struct.Struct("<cQIII")
"""Mark, offset, bytes of the piece, its CRC-32, bytes of its text."""

Entry = bytes | Piece


def fill_draft(draft: bytes, check: bytes, points: Sequence[bytes]) -> Entry:
    """The entry of a mask that was drawn.

    Args:
        draft: its text with gaps.
        check: CRC-32 and size of the PNG, for the first gap.
        points: of each polygon, for the others.
    """
    return pack_entry(b"".join(chain.from_iterable(zip(draft.split(GAP), (check, *points, b""), strict=True))))


def pack_entry(entry: bytes) -> Entry:
    """A long one as a piece, without its brace: the number of its row comes first."""
    return entry if len(entry) < LONG_BYTES else deflate_piece(memoryview(entry)[1:])


class HeldPieces:
    """Pieces of rows that wait for their table, on disk once they are much."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._waiting = bytearray()
        self._n_bytes = 0
        self._read, self._read_from = b"", 0  # what was read ahead, and where that begins

    def add(self, piece: Piece) -> bytes:
        """The frame that stands for it."""
        if self._file is None:
            self._file = spool_of(self)
        self._waiting += piece.packed
        if len(self._waiting) >= WRITTEN_BYTES:
            self._write()
        self._n_bytes += len(piece.packed)
        offset = self._n_bytes - len(piece.packed)
        return FRAME.pack(HELD, offset, len(piece.packed), piece.crc, piece.size)

    def _write(self) -> None:
        if self._file is not None and self._waiting:
            self._file.write(self._waiting)
            self._waiting.clear()

    def read(self, offset: int, size: int) -> bytes:
        """When no more is added."""
        start = offset - self._read_from
        if start < 0 or start + size > len(self._read):
            assert self._file is not None
            self._write()
            self._file.seek(offset)
            self._read, self._read_from, start = self._file.read(max(size, READ_BYTES)), offset, 0
        return self._read[start : start + size]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Pieces:
    """The side file's text as far as it is known, in order: short texts together, held pieces by their frames."""

    def __init__(self) -> None:
        self.held = HeldPieces()
        self._text = bytearray()
        self._frames = spool_of(self)
        self._waiting = bytearray()  # of frames

    def add_text(self, text: bytes) -> None:
        self._text += text
        if len(self._text) >= TEXT_BYTES:
            self._end_text()

    def add_held(self, frame: bytes) -> None:
        self._end_text()
        self._put(frame)

    def _end_text(self) -> None:
        if self._text:
            piece = deflate_piece(bytes(self._text))
            self._text.clear()
            self._put(FRAME.pack(INLINE, 0, len(piece.packed), piece.crc, piece.size), piece.packed)

    def _put(self, *parts: Data) -> None:
        for part in parts:
            self._waiting += part
        if len(self._waiting) >= WRITTEN_BYTES:
            self._write()

    def _write(self) -> None:
        self._frames.write(self._waiting)
        self._waiting.clear()

    def read(self) -> Iterator[Piece]:
        """All of it, once."""
        self._end_text()
        self._write()
        self._frames.seek(0)
        read, place = b"", 0
        while True:
            if place + FRAME.size > len(read):
                read, place = read[place:] + self._frames.read(READ_BYTES), 0
                if not read:
                    break
            mark, offset, n_bytes, crc, size = FRAME.unpack_from(read, place)
            place += FRAME.size
            if mark == HELD:
                yield Piece(self.held.read(offset, n_bytes), crc, size)
                continue
            if place + n_bytes > len(read):
                read, place = read[place:] + self._frames.read(max(n_bytes, READ_BYTES)), 0
            yield Piece(read[place : place + n_bytes], crc, size)
            place += n_bytes
        self._frames.close()
        self.held.close()
