"""Zip archives as a stream: headers, bytes, descriptors and the directory leave in chunks of 256 KiB or more.

The same calls give the same bytes: times are fixed (1980-01-01, the first that a zip can tell), and nothing depends on
the machine. ZIP64 records appear only where a number does not fit otherwise. What is written is read back by the strict
reader of this package, by Python's zipfile and by Info-ZIP's unzip.

Stored members of known CRC need no descriptor; a deflated member's sizes follow it in one, since they are not known
when it begins.
"""

from __future__ import annotations

import struct
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.archive.directory import (
    DEFLATED,
    DESCRIPTOR_FLAG,
    DIRECTORY_SIGNATURE,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    RECORD,
    STORED,
    U16,
    U32,
)
from app.archive.header_columns import LOCAL_FIELDS, RECORD_FIELDS, ZIP64_ID, made_headers
from app.archive.limits import ArchiveLimits
from app.archive.locals import DESCRIPTOR_SIGNATURE, LOCAL
from app.archive.names import UTF8_FLAG, NameRefused, NameRules, fold, normalise
from app.deflate import CUT_BYTES, RAW, SMALL_BYTES, Data, Deflater, Piece, deflate_text, inflate_piece
from app.errors import Damaged, TooLarge

DOS_DATE = 0x0021  # 1980-01-01; the time is 0
MADE_BY_UNIX = 3 << 8 | 45
FILE_ATTRIBUTES = 0o100644 << 16
VERSION, VERSION_ZIP64 = 20, 45
MAX_SEND_BYTES = 1 << 20
HERE_BYTES = 1 << 20
"""So much of a member is deflated at once, so that small ones start no thread; the rest by a thread beside, while more
is made: it needs no lock of Python's for that."""
SMALL_TOGETHER = 64 << 10
"""Short blocks that are deflated together."""
JOBS_AHEAD = 2
SPOOL_BYTES = 1 << 20
"""What waits for a further name of its member waits on disk once it is more."""
NO_BLOCK = -2
"""The number of what is written in no block; rows without a frame are in block -1."""


class _Stream:
    """One raw stream of deflate. Only one thread at a time is in here.

    Attributes:
        crc, size: of all that it has taken and does not hold back.
    """

    def __init__(self) -> None:
        self.crc = self.size = 0
        self._block = NO_BLOCK
        self._deflater: Deflater | None = None  # of the block, once some of it was deflated
        self._waiting = bytearray()  # of the block, less than is deflated at once
        self._whole: Piece | None = None  # all of the block so far
        self._small = bytearray()  # blocks before it
        self._out: list[Data] = []

    def add(self, make: Callable[[], Iterable[tuple[int, Data | Piece]]]) -> list[Data]:
        """What the deflater gives for the next parts of the member."""
        for block, data in make():
            if block != self._block:
                self._end_block()
                self._block = block
            if not isinstance(data, Piece):
                self._add_text(data)
            elif data.size >= SMALL_BYTES and self._is_at_start():
                self._whole = data
            else:
                self._add_text(_text_of(data))
        return self._taken()

    def copy(self, piece: Piece) -> Data:
        self.crc = isal_zlib.crc32_combine(self.crc, piece.crc, piece.size)
        self.size += piece.size
        return piece.packed

    def end(self) -> list[Data]:
        """The rest, and the end of the stream."""
        if self._block != NO_BLOCK:
            self._end_block()
            self._end_small()
        deflater = self._deflater or Deflater(RAW)
        self._out.append(deflater.compress(self._waiting))
        self._out.append(deflater.flush())
        return self._taken()

    def _is_at_start(self) -> bool:
        return self._whole is None and self._deflater is None and not self._waiting

    def _taken(self) -> list[Data]:
        out, self._out = self._out, []
        return out

    def _add_text(self, data: Data) -> None:
        if self._whole is not None:  # it was not all
            whole, self._whole = self._whole, None
            self._add_text(_text_of(whole))
        view = memoryview(data).cast("B")
        self.crc = isal_zlib.crc32(view, self.crc)
        self.size += len(view)
        start = 0
        while start < len(view):
            stop = start + CUT_BYTES - len(self._waiting)
            cut: Data = view[start:stop]
            if self._waiting or stop > len(view):
                self._waiting += cut
                cut = self._waiting
            if len(cut) == CUT_BYTES:
                self._deflate(cut)
                self._waiting = bytearray()
            start = stop

    def _deflate(self, data: Data) -> None:
        if self._deflater is None:
            self._end_small()
            self._deflater = Deflater(RAW)
        self._out.append(self._deflater.compress(data))

    def _end_block(self) -> None:
        if self._whole is not None:
            self._end_small()
            self._out.append(self.copy(self._whole))
            self._whole = None
        elif self._deflater is None and len(self._waiting) < SMALL_BYTES:
            self._small += self._waiting
            if len(self._small) >= SMALL_TOGETHER:
                self._end_small()
        else:
            self._deflate(self._waiting)
            assert self._deflater is not None
            self._out.append(self._deflater.pause())
            self._deflater = None
        self._waiting = bytearray()

    def _end_small(self) -> None:
        if self._small:
            self._out.append(deflate_text(self._small).packed)
            self._small = bytearray()


def _text_of(piece: Piece) -> bytes:
    try:
        return inflate_piece(piece.packed, piece.size)
    except ValueError as error:
        raise Damaged(f"Stored rows of a table cannot be read: {error}") from error


class DeflatedMember:
    """A member being written; from `ArchiveWriter.open_deflated`. Nothing else may be added until it is closed.

    What is written at once, or block by block, gives the same bytes however callers cut it, for the deflater begins
    anew with each block. So blocks that were deflated before, as `deflate_text` does it, are copied as they are.
    """

    def __init__(
        self, writer: ArchiveWriter, name: bytes, flags: int, may_be_large: bool, copies: Sequence[str] = ()
    ) -> None:
        self._writer = writer
        self._copies = copies
        self._spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES) if copies else None  # noqa: SIM115
        if self._spool is not None:  # of an archive that is cut off nobody closes a member
            weakref.finalize(self, self._spool.close)
        self._name = name
        self._flags = flags
        self._zip64 = may_be_large
        self._stream = _Stream()
        self._given = bytearray()  # small writes, behind all that was handed over
        self._jobs: deque[Future[list[Data]]] = deque()
        self._packed = 0
        self._offset = writer._begin(name, flags, DEFLATED, 0, 0, 0, may_be_large)

    def write(self, data: Data) -> None:
        self._given += data
        if len(self._given) >= CUT_BYTES:
            self._hand_over()

    def write_piece(self, piece: Piece) -> None:
        """What was deflated before, as it is; such a member is made of pieces alone."""
        self._put(self._stream.copy(piece))

    def write_blocks(self, make: Callable[[], Iterable[tuple[int, Data | Piece]]], *, is_packed: bool = False) -> None:
        """Blocks that `make` gives by their numbers, at their place; in a large member they are made beside, a little
        later. What comes of the number before goes on with that block. Nothing else is written afterwards.

        Args:
            is_packed: all are pieces: there is nothing to do beside.
        """
        if self._given:
            self._hand_over()
        if not self._jobs and (is_packed or self._stream.size < HERE_BYTES):
            self._put_all(self._stream.add(make))
            return
        self._jobs.append(self._writer.beside.submit(self._stream.add, make))
        while len(self._jobs) > JOBS_AHEAD or (self._jobs and self._jobs[0].done()):
            self._put_all(self._jobs.popleft().result())

    def _hand_over(self) -> None:
        """Deflate what was given in small writes, here or beside."""
        given, self._given = self._given, bytearray()
        self.write_blocks(lambda: [(NO_BLOCK, given)])

    def close(self) -> None:
        """End the stream and write the descriptor.

        Raises:
            TooLarge: over 4 GiB without `may_be_large`.
        """
        if self._given:
            self._hand_over()
        while self._jobs:
            self._put_all(self._jobs.popleft().result())
        self._put_all(self._stream.end())
        if not self._zip64 and max(self._stream.size, self._packed) >= U32:
            raise TooLarge(f"{self._name.decode()} is over 4 GiB, which this export did not expect.")
        self._end(self._name, self._flags, self._offset)
        if self._spool is not None:
            with self._spool as spool:
                for copy in self._copies:
                    self._add_copy(copy, spool)

    def _end(self, name: bytes, flags: int, offset: int) -> None:
        layout = "<4sIQQ" if self._zip64 else "<4sIII"
        crc, size = self._stream.crc, self._stream.size
        self._writer._put(struct.pack(layout, DESCRIPTOR_SIGNATURE, crc, self._packed, size))
        self._writer._end(name, flags, DEFLATED, crc, self._packed, size, offset, self._zip64)

    def _add_copy(self, copy: str, spool: IO[bytes]) -> None:
        name, flags = self._writer._name(copy)
        flags |= DESCRIPTOR_FLAG
        offset = self._writer._begin(name, flags, DEFLATED, 0, 0, 0, self._zip64)
        spool.seek(0)
        while chunk := spool.read(MAX_SEND_BYTES):
            self._writer._put(chunk)
        self._end(name, flags, offset)

    def _put_all(self, packed: list[Data]) -> None:
        for piece in packed:
            self._put(piece)

    def _put(self, packed: Data) -> None:
        self._packed += len(packed)
        self._writer._put(packed)
        if self._spool is not None:
            self._spool.write(packed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class ArchiveWriter:
    """Pushes a zip into `send`. The same calls give the same bytes."""

    def __init__(self, send: Callable[[bytes], Any], chunk_bytes: int = 256 << 10) -> None:
        """Write to `send`, in chunks of `chunk_bytes` to 1 MiB; the last one may be shorter, and so is the first: it
        leaves as the first member begins, so that a reader knows at once that something comes."""
        self._send = send
        self._chunk_bytes = chunk_bytes
        self._buffer = bytearray()
        self._sent = 0
        self._records = bytearray()
        self._count = 0
        self._limits = ArchiveLimits()
        self._rules = NameRules(self._limits)
        self._names: set[str] = set()
        self._folders: set[str] = set()  # those that names and reserved folders lie in, folded
        self._open = False
        self._closed = False

    @cached_property
    def beside(self) -> ThreadPoolExecutor:
        """One thread, for members that are large enough; it goes with the writer."""
        return ThreadPoolExecutor(1, thread_name_prefix="deflate")

    @property
    def n_bytes(self) -> int:
        """Bytes of the zip so far, sent or not."""
        return self._sent + len(self._buffer)

    def add_stored(self, name: str, data: Data, crc: int | None = None, *, is_accepted: bool = False) -> None:
        """Add a member as it is.

        Args:
            crc: its CRC-32 where known already, which must be true.
            is_accepted: `accepts` has said so of the name, and it was not used since.
        """
        raw, flags = self._name(name, is_accepted)
        size = len(data)
        if crc is None:
            crc = isal_zlib.crc32(data)
        zip64 = size >= U32
        offset = self._begin(raw, flags, STORED, crc, size, size, zip64)
        self._put(data)
        self._end(raw, flags, STORED, crc, size, size, offset, zip64)

    def add_stored_all(self, names: Sequence[str], datas: Sequence[Data], crcs: Sequence[int]) -> None:
        """Add members as they are, as `add_stored` does one by one: each costs a tenth.

        Args:
            names: ASCII; `accepts_all` has said so of them, and none was used since.
            crcs: their CRC-32s, which must be true.
        """
        assert not self._open, "a member is still open"
        assert not self._closed, "the archive is closed"
        n, sizes = len(names), np.array(list(map(len, datas)), dtype=np.int64)
        n_names = np.array(list(map(len, names)), dtype=np.int64)
        ends = self.n_bytes + np.cumsum(LOCAL.size + n_names + sizes)  # of the members
        if not n or ends[-1] >= U32:
            for name, data, crc in zip(names, datas, crcs, strict=True):
                self.add_stored(name, data, crc, is_accepted=True)
            return
        raws = list(map(str.encode, names))
        told: dict[str, npt.ArrayLike] = {"method": STORED, "date": DOS_DATE, "needed": VERSION, "n_name": n_names}
        told |= {"crc": np.array(crcs, dtype=np.uint32), "packed": sizes, "size": sizes}
        signature = int.from_bytes(LOCAL_SIGNATURE, "little")
        local = made_headers(LOCAL_FIELDS, n, signature=signature, **told)
        told |= {"signature": int.from_bytes(DIRECTORY_SIGNATURE, "little"), "made_by": MADE_BY_UNIX}
        told |= {"attributes": FILE_ATTRIBUTES, "offset": ends - (LOCAL.size + n_names + sizes)}
        records = made_headers(RECORD_FIELDS, n, **told)
        self._records += b"".join(chain.from_iterable(zip(records, raws, strict=True)))
        # A name that is its own key is held once, together with whoever gave it.
        keys = list(map(str.lower, names))
        self._names.update(name if name == key else key for name, key in zip(names, keys, strict=True))
        self._folders |= self._folders_of(keys)
        self._count += n
        if not self.n_bytes:  # a reader is to know at once that something comes
            self._buffer += local[0] + raws[0]
            self._flush()
            local[0] = raws[0] = b""
        parts = list(chain.from_iterable(zip(local, raws, datas, strict=True)))
        first, held = 0, self.n_bytes - len(self._buffer)
        while first < n:  # as many as make a chunk
            stop = min(int(np.searchsorted(ends, held + self._chunk_bytes)) + 1, n)
            self._put(b"".join(parts[3 * first : 3 * stop]))
            first, held = stop, int(ends[stop - 1])

    def add_stored_chunks(
        self, name: str, size: int, chunks: Iterable[bytes | memoryview], crc: int | None = None
    ) -> None:
        """Add a member of `size` bytes that comes in chunks. Without `crc` it follows in a descriptor.

        Raises:
            Damaged: the chunks do not add up to `size`, or not to `crc`.
        """
        raw, flags = self._name(name)
        zip64 = size >= U32
        if crc is None:
            flags |= DESCRIPTOR_FLAG
            offset = self._begin(raw, flags, STORED, 0, 0, 0, zip64)
        else:
            offset = self._begin(raw, flags, STORED, crc, size, size, zip64)
        found, seen = 0, 0
        for chunk in chunks:
            found = isal_zlib.crc32(chunk, found)
            seen += len(chunk)
            self._put(chunk)
        if seen != size or (crc is not None and crc != found):
            raise Damaged(f"{name} was stored with {size:,} bytes and reads back otherwise ({seen:,} bytes).")
        if crc is None:
            layout = "<4sIQQ" if zip64 else "<4sIII"
            self._put(struct.pack(layout, DESCRIPTOR_SIGNATURE, found, size, size))
        self._end(raw, flags, STORED, found, size, size, offset, zip64)

    def open_deflated(self, name: str, may_be_large: bool = False, copies: Sequence[str] = ()) -> DeflatedMember:
        """A context with `write(bytes)`; deflate level 1.

        Args:
            may_be_large: needed where 4 GiB may be passed.
            copies: further members that follow when this one is closed, and have the same content; nothing is deflated
                twice for them.
        """
        raw, flags = self._name(name)
        return DeflatedMember(self, raw, flags | DESCRIPTOR_FLAG, may_be_large, copies)

    def close(self) -> None:
        """Write the directory and send the rest. `send` itself is not told about the end."""
        assert not self._open, "a member is still open"
        if self._closed:
            return
        self._closed = True
        offset, size, count = self.n_bytes, len(self._records), self._count
        self._put(self._records)
        if count >= U16 or size >= U32 or offset >= U32:
            end64 = self.n_bytes
            self._put(
                END64.pack(
                    END64_SIGNATURE, END64.size - 12, MADE_BY_UNIX, VERSION_ZIP64, 0, 0, count, count, size, offset
                )
            )
            self._put(LOCATOR.pack(LOCATOR_SIGNATURE, 0, end64, 1))
        told = min(count, U16)
        self._put(END.pack(END_SIGNATURE, 0, 0, told, told, min(size, U32), min(offset, U32), 0))
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def names(self, extension: str) -> list[str]:
        """The names of the members so far that end so, in lower case."""
        return sorted(name for name in self._names if name.endswith(extension))

    def accepts(self, name: str) -> bool:
        """Whether a member can have this name: it is clean, in NFC, not too long, and in any letter case neither taken
        nor a folder, nor in a folder that is a member."""
        try:
            self._rules.check(name)
        except NameRefused:
            return False
        if len(name.encode("utf-8")) > self._limits.max_name_bytes or normalise(name) != name:
            return False
        key = fold(name)
        return not (key in self._names or key in self._folders) and self._names.isdisjoint(self._new_folders(key))

    def reserve_folder(self, folder: str) -> None:
        """Members will lie in this folder: none is accepted that has its name."""
        self._folders.update(self._new_folders(f"{fold(folder)}/"))

    def _new_folders(self, key: str) -> list[str]:
        """The folders of a folded name that no earlier name lies in."""
        found = []
        folder = key.rpartition("/")[0]
        while folder and folder not in self._folders:
            found.append(folder)
            folder = folder.rpartition("/")[0]
        return found

    def _folders_of(self, keys: Iterable[str]) -> set[str]:
        """The new folders of many names, which lie in few."""
        parents = {key.rpartition("/")[0] for key in keys}
        return {folder for parent in parents for folder in self._new_folders(f"{parent}/")}

    def accepts_all(self, names: Sequence[str]) -> bool:
        """Whether members can have these names, all of them; False also where that is not plain to see. Of ASCII
        names that differ, and whose parts begin with no dot."""
        text = "".join(names)
        if not (text.isascii() and text.isprintable()) or self._rules.may_refuse(text, names):
            return False
        keys = set(map(str.lower, names))
        if len(keys) < len(names) or not (self._names.isdisjoint(keys) and self._folders.isdisjoint(keys)):
            return False
        folders = self._folders_of(keys)
        return folders.isdisjoint(self._names) and folders.isdisjoint(keys)

    def _name(self, name: str, is_accepted: bool = False) -> tuple[bytes, int]:
        """The name's bytes and flags. A bad or doubled name is a mistake of the caller, who must make clean ones."""
        assert not self._open, f"{name}: another member is still open"
        assert not self._closed, f"{name}: the archive is closed"
        key = fold(name)
        if not is_accepted:
            try:
                self._rules.check(name)
            except NameRefused as refused:
                raise ValueError(f"member name {name!r} {refused.why}") from None
        if key in self._names or (not is_accepted and normalise(name) != name):
            raise ValueError(f"member name {name!r} is taken, or not NFC")
        self._names.add(key)
        self._folders.update(self._new_folders(key))
        return name.encode("utf-8"), 0 if name.isascii() else UTF8_FLAG

    def _begin(self, name: bytes, flags: int, method: int, crc: int, packed: int, size: int, zip64: bool) -> int:
        """Write a local header; answers its offset."""
        offset = self.n_bytes
        self._open = True
        if zip64:
            extra = struct.pack("<HHQQ", ZIP64_ID, 16, size, packed)
            told = (VERSION_ZIP64, flags, method, 0, DOS_DATE, crc, U32, U32, len(name), len(extra))
            self._put(LOCAL.pack(LOCAL_SIGNATURE, *told) + name + extra)
        else:
            self._buffer += LOCAL.pack(
                LOCAL_SIGNATURE, VERSION, flags, method, 0, DOS_DATE, crc, packed, size, len(name), 0
            )
            self._buffer += name
        if not offset:
            self._flush()
        return offset

    def _end(
        self, name: bytes, flags: int, method: int, crc: int, packed: int, size: int, offset: int, zip64: bool
    ) -> None:
        """Keep the directory's record of a member that is written."""
        numbers = [number for number in (size, packed, offset) if number >= U32]
        extra = struct.pack(f"<HH{len(numbers)}Q", ZIP64_ID, 8 * len(numbers), *numbers) if numbers else b""
        version = VERSION_ZIP64 if numbers or zip64 else VERSION
        self._records += RECORD.pack(
            DIRECTORY_SIGNATURE,
            MADE_BY_UNIX,
            version,
            flags,
            method,
            0,
            DOS_DATE,
            crc,
            min(packed, U32),
            min(size, U32),
            len(name),
            len(extra),
            0,
            0,
            0,
            FILE_ATTRIBUTES,
            min(offset, U32),
        )
        self._records += name
        self._records += extra
        self._count += 1
        self._open = False

    def _put(self, data: Data) -> None:
        """Take bytes: small ones wait in the buffer, large ones leave as they are, in pieces of 1 MiB."""
        if len(data) < self._chunk_bytes:
            self._buffer += data
            if len(self._buffer) >= self._chunk_bytes:
                self._flush()
            return
        self._flush()
        if isinstance(data, bytes) and len(data) <= MAX_SEND_BYTES:
            self._sent += len(data)
            self._send(data)
            return
        for start in range(0, len(data), MAX_SEND_BYTES):
            piece = bytes(memoryview(data)[start : start + MAX_SEND_BYTES])
            self._sent += len(piece)
            self._send(piece)

    def _flush(self) -> None:
        if self._buffer:
            chunk = bytes(self._buffer)
            self._buffer.clear()
            self._sent += len(chunk)
            self._send(chunk)
