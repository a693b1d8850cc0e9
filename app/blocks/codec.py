"""Columns as bytes: how a block keeps an array, a Ragged or Texts in one blob.

    array   format byte, then
              0 raw       the values, little endian, one after the other
              1 constant  one value; every row has it (most columns of most blocks)
              2 range     the first value; each next one is 1 more (ids of an import)
              3 deflated  the values as a zlib stream: kept lines only, which edits do not look at
              4 whole     doubles that are whole numbers, as int16: outlines along pixel edges
              5 packed    bytes of the packed rows, then the values of the others as an array: masks as they came
              6 text      kept lines with a line end behind each, as a piece of a deflated table: u32 CRC-32, the piece
    Ragged  u32 length of the encoded lengths, lengths as an array of int32, values as an array; a length below zero is
            the number of bytes of a packed row
    Texts   u32 length of the encoded codes, codes as an array of int32, the distinct values: a JSON list, or where they
            are long and none has a line end: byte 1, u32 length of the lines, the lines (a value each) deflated

The number of rows stands in the row of the block. A new format byte may be added, a given one never changes. Decoding
takes the blobs of many blocks at once and fills one array: the cost follows the bytes. Encoding many blocks of a table
looks at each column as a whole first (`encoder`): what is the same everywhere is encoded once.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from isal import isal_zlib

from app.columns import (
    LARGEST_WHOLE,
    LinePart,
    PackedRagged,
    Ragged,
    StoredLines,
    Texts,
    Unpack,
    WholeRagged,
    text_of_lines,
    used_codes,
)
from app.deflate import DEFLATE_ERROR, SMALL_BYTES, Piece, deflate_text, inflate_piece
from app.errors import Damaged

RAW, CONSTANT, RANGE, DEFLATED, WHOLE, PACKED, TEXT = 0, 1, 2, 3, 4, 5, 6
WHOLE_FROM_VALUES, LOOKED_AT = 64, 8
DEFLATE_FROM_BYTES = 512  # less is not worth the call
LENGTH = struct.Struct("<I")
LINES = b"\x01"  # no JSON list begins so

LITTLE_ENDIAN = sys.byteorder == "little"

Array = npt.NDArray[Any]


def encode_array(values: Array, *, deflate: bool = False) -> bytes:
    """(N,) of any fixed dtype."""
    rows = len(values)
    if rows == 0:
        return b"\x00"
    little = values if LITTLE_ENDIAN else values.astype(values.dtype.newbyteorder("<"), copy=False)
    if deflate and little.nbytes >= DEFLATE_FROM_BYTES:
        packed = isal_zlib.compress(np.ascontiguousarray(little), 1)
        if len(packed) < little.nbytes:
            return b"\x03" + bytes(packed)
    if rows > 1:
        if is_constant(little):
            return constant(little[0])
        first, last = little[0], little[-1]
        if little.dtype.kind == "i" and int(last) - int(first) == rows - 1 and bool((np.diff(little) == 1).all()):
            return b"\x02" + bytes(first.tobytes())
        if little.dtype == np.float64 and rows >= WHOLE_FROM_VALUES:
            small = whole_numbers(little)
            if small is not None:
                return b"\x04" + small.tobytes()
    return b"\x00" + little.tobytes()


def whole_numbers(values: Array) -> Array | None:
    """Doubles as int16, little endian, where that says them all exactly (no negative zero)."""
    head = values[:LOOKED_AT]
    if not bool((head == np.floor(head)).all()) or not bool((np.abs(values) <= LARGEST_WHOLE).all()):
        return None
    small = values.astype("<i2")
    again = small.astype(values.dtype).view(np.uint64)
    return small if bool((again == np.ascontiguousarray(values).view(np.uint64)).all()) else None


def constant(value: Any) -> bytes:
    """Any number of rows with this one value (a numpy scalar)."""
    little = value if LITTLE_ENDIAN else value.astype(value.dtype.newbyteorder("<"))
    return b"\x01" + bytes(little.tobytes())


def is_constant(values: Array) -> bool:
    """Whether all rows are the same bit by bit."""
    if len(values) == 0 or values[0] != values[-1]:
        return False
    if values.strides == (0,):
        return True
    if values.dtype.kind == "f":
        values = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return bool((values == values[0]).all())


def encoder(column: Any, *, are_lines: bool = False) -> bytes | Callable[[int, int], bytes]:
    """How to encode parts of a column: the bytes of every part, or a function of its start and stop.

    Args:
        column: an array, Ragged or Texts; not empty.
        are_lines: a Ragged of kept lines, which are deflated.
    """
    if isinstance(column, Texts):
        if is_constant(column.codes):
            return encode_texts(column, 0, len(column))
        return lambda start, stop: encode_texts(column, start, stop)
    if isinstance(column, PackedRagged):
        return lambda start, stop: encode_packed(column, start, stop)
    if isinstance(column, WholeRagged):
        return lambda start, stop: encode_whole(column, start, stop)
    if isinstance(column, Ragged):
        lengths = column.lengths
        if not is_constant(lengths):
            if are_lines:
                return _line_encoder(column, lengths)
            return lambda start, stop: encode_ragged(column, start, stop)
        width = int(lengths[0])
        head = constant(np.int32(width))
        head = LENGTH.pack(len(head)) + head
        if width == 0:
            return head + b"\x00"
        if are_lines:
            return _line_encoder(column, lengths)
        values = column.values
        return lambda start, stop: head + encode_array(values[start * width : stop * width])
    if is_constant(column):
        return constant(column[0])
    return lambda start, stop: encode_array(column[start:stop])


_RAW, _CONSTANT, _WHOLE, _TEXT = (bytes([form]) for form in (RAW, CONSTANT, WHOLE, TEXT))


def _are_same(blobs: Sequence[bytes], rows: Sequence[int]) -> bool:
    """Whether all blocks have rows, and the same blob."""
    first = blobs[0]
    return first == blobs[-1] and blobs.count(first) == len(blobs) and all(rows)


def decode_arrays(blobs: Sequence[bytes], rows: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """The arrays of several blocks, one after the other.

    Raises:
        Damaged: a blob is not `rows` values long, or of a format this version does not know.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    if len(blobs) > 1 and blobs[0][:1] == _CONSTANT and _are_same(blobs, rows):
        blobs, rows = blobs[:1], [sum(rows)]  # a column that most imports leave alone
    if len(blobs) > 1 and LITTLE_ENDIAN and {blob[:1] for blob in blobs} == {_RAW}:
        size = kind.itemsize
        if list(map(len, blobs)) == [1 + size * count for count in rows]:
            return np.frombuffer(bytearray().join([blob[1:] for blob in blobs]), dtype=dtype)
    out = np.empty(sum(rows), dtype=dtype)
    start = 0
    for blob, count in zip(blobs, rows, strict=True):
        stop = start + count
        if count == 0:
            continue
        try:
            form = blob[0]
            if form == RAW:
                out[start:stop] = _values(blob, kind, count)
            elif form == CONSTANT:
                out[start:stop] = np.frombuffer(blob, dtype=kind, offset=1)[0]
            elif form == DEFLATED:
                data = isal_zlib.decompress(memoryview(blob)[1:], bufsize=count * kind.itemsize + 1)
                out[start:stop] = np.frombuffer(data, dtype=kind)
            elif form == WHOLE:
                out[start:stop] = _values(blob, np.dtype("<i2"), count)
            elif form == RANGE:
                first = int(np.frombuffer(blob, dtype=kind, offset=1)[0])
                out[start:stop] = np.arange(first, first + count, dtype=kind)
            else:
                raise Damaged(f"a stored column has the unknown format {form}; a newer version may have written it")
        except (ValueError, IndexError, DEFLATE_ERROR) as error:
            raise Damaged(f"a stored column cannot be read: {error}") from error
        start = stop
    return out


def _values(blob: bytes, kind: np.dtype[Any], count: int) -> Array:
    """The values behind the format byte. Raises ValueError: they are not so many."""
    values = np.frombuffer(blob, dtype=kind, offset=1)
    if len(values) != count:  # one value would be taken for all
        raise ValueError(f"{len(values)} values, not {count}")
    return values


def encode_ragged(column: Ragged, start: int, stop: int, *, deflate: bool = False) -> bytes:
    """Rows start to stop of a Ragged."""
    offsets = column.offsets
    lengths = encode_array(np.diff(offsets[start : stop + 1]).astype(np.int32))
    values = encode_array(column.values[offsets[start] : offsets[stop]], deflate=deflate)
    return b"".join((LENGTH.pack(len(lengths)), lengths, values))


def _line_encoder(column: Ragged, lengths: npt.NDArray[np.int64]) -> Callable[[int, int], bytes]:
    """`encoder` of lines."""
    ends = _offsets(lengths + 1)

    def encode(start: int, stop: int) -> bytes:
        if ends[stop] - ends[start] < SMALL_BYTES:
            return encode_ragged(column, start, stop, deflate=True)
        piece = deflate_text(np.ascontiguousarray(text_of_lines(column, start, stop)).data)
        head = encode_array(lengths[start:stop].astype(np.int32))
        return b"".join((LENGTH.pack(len(head)), head, _TEXT, LENGTH.pack(piece.crc), piece.packed))

    return encode


def decode_lines(blobs: Sequence[bytes], rows: Sequence[int]) -> Ragged:
    """Lines of several blocks, one after the other; texts stay packed until somebody looks (`StoredLines`).

    Raises:
        Damaged: as `decode_arrays`; a text tells it when it is read.
    """
    heads, values = _split(blobs)
    if not any(blob[:1] == _TEXT for blob in values):
        return decode_ragged(blobs, rows, np.uint8)
    lengths = decode_arrays(heads, rows, np.int32).astype(np.int64)
    parts = np.split(lengths, np.cumsum(rows)[:-1])
    return StoredLines([_line_part(blob, part) for blob, part in zip(values, parts, strict=True)])


def _line_part(blob: bytes, lengths: npt.NDArray[np.int64]) -> LinePart:
    n_bytes = int(lengths.sum())
    if blob[:1] != _TEXT:
        return LinePart(lengths, None, len(blob), lambda: decode_arrays([blob], [n_bytes], np.uint8))
    if len(blob) <= 1 + LENGTH.size:
        raise Damaged("a stored column of lines is cut off")
    piece = Piece(memoryview(blob)[1 + LENGTH.size :], LENGTH.unpack_from(blob, 1)[0], n_bytes + len(lengths))
    return LinePart(lengths, piece, len(blob), partial(_lines_of, piece, lengths))


def _lines_of(piece: Piece, lengths: npt.NDArray[np.int64]) -> Array:
    """The lines of a text, without their ends. Raises Damaged."""
    try:
        data = inflate_piece(piece.packed, piece.size)
    except ValueError as error:
        raise Damaged(f"a stored column of lines cannot be read: {error}") from error
    joined = data.replace(b"\n", b"")
    if len(joined) == piece.size - len(lengths):
        return np.frombuffer(joined, dtype=np.uint8)
    # Some lines hold a line end.
    return np.delete(np.frombuffer(data, dtype=np.uint8), np.cumsum(lengths + 1) - 1)


def encode_packed(column: PackedRagged, start: int, stop: int) -> bytes:
    """Rows start to stop of a Ragged, of which some may be packed and stay so."""
    some = column.slice(start, stop)
    if not isinstance(some, PackedRagged):
        return encode_ragged(some, 0, stop - start)
    sizes = some.packed.lengths
    lengths = encode_array(np.where(sizes > 0, -sizes, some.plain.lengths).astype(np.int32))
    cells = some.packed.values.tobytes()
    return b"".join((LENGTH.pack(len(lengths)), lengths, b"\x05", cells, encode_array(some.plain.values)))


def decode_ragged(
    blobs: Sequence[bytes],
    rows: Sequence[int],
    dtype: npt.DTypeLike,
    unpack: Unpack | None = None,
    *,
    keep_whole: bool = False,
) -> Ragged:
    """The Raggeds of several blocks, one after the other.

    Args:
        unpack: where rows may be packed.
        keep_whole: blocks of whole numbers are held as such (`WholeRagged`).

    Raises:
        Damaged: as `decode_arrays`.
    """
    heads, values = _split(blobs)
    lengths = decode_arrays(heads, rows, np.int32)
    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(rows, out=ends[1:])
    offsets = _offsets(np.maximum(lengths, 0))
    sizes = np.diff(offsets[ends]).tolist()
    if not len(lengths) or lengths.min() >= 0:
        are_whole = [blob[:1] == _WHOLE for blob in values]
        if keep_whole and any(are_whole):
            in_whole = np.repeat(are_whole, rows)
            are_plain = [not this for this in are_whole]
            whole = decode_arrays([*compress(values, are_whole)], [*compress(sizes, are_whole)], np.int16)
            plain = decode_arrays([*compress(values, are_plain)], [*compress(sizes, are_plain)], dtype)
            return WholeRagged(
                Ragged(whole, _offsets(np.where(in_whole, lengths, 0))),
                Ragged(plain, _offsets(np.where(in_whole, 0, lengths))),
            )
        return Ragged(decode_arrays(values, sizes, dtype), offsets)
    if unpack is None:
        raise Damaged("a stored column has packed rows where there are none")
    packed_offsets = _offsets(np.maximum(-lengths.astype(np.int64), 0))
    cells: list[bytes] = []
    for place, size in enumerate(np.diff(packed_offsets[ends]).tolist()):
        if not size:
            continue
        blob = values[place]
        if not blob or blob[0] != PACKED or len(blob) <= size + 1:
            raise Damaged("a stored column of packed rows is cut off")
        cells.append(blob[1 : size + 1])
        values[place] = blob[size + 1 :]
    packed = Ragged(np.frombuffer(b"".join(cells), dtype=np.uint8), packed_offsets)
    return PackedRagged(packed, Ragged(decode_arrays(values, sizes, dtype), offsets), unpack)


def encode_whole(column: WholeRagged, start: int, stop: int) -> bytes:
    """The bytes of `encode_ragged`; where all rows are held as whole numbers, nobody looks whether they are such."""
    some = column.slice(start, stop)
    if isinstance(some, WholeRagged) and not len(some.plain.values):
        values = some.whole.values
        if len(values) >= WHOLE_FROM_VALUES and not is_constant(values):
            lengths = encode_array(some.lengths.astype(np.int32))
            return b"".join((LENGTH.pack(len(lengths)), lengths, _WHOLE, values.astype("<i2", copy=False).tobytes()))
    return encode_ragged(some, 0, stop - start)


def _offsets(lengths: Array) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def encode_texts(column: Texts, start: int, stop: int) -> bytes:
    """Rows start to stop of Texts, with only the values they use."""
    codes = column.codes[start:stop]
    first = codes[0] if len(codes) else 0
    if len(codes) and bool((codes == first).all()):
        encoded, values = b"\x01\x00\x00\x00\x00", [column.values[int(first)]]
    else:
        used, compact = used_codes(codes)
        encoded, values = encode_array(compact), [column.values[code] for code in used.tolist()]
    return b"".join((LENGTH.pack(len(encoded)), encoded, _encode_pool(values)))


def _encode_pool(values: Sequence[str]) -> bytes:
    """Distinct texts. Attribute texts of a block are some 60 kB and much alike: deflated they take a tenth, and less
    time than it takes to write them as JSON (33 µs against 52)."""
    lines = "\n".join(values)
    if len(lines) < DEFLATE_FROM_BYTES or lines.count("\n") >= len(values):
        return orjson.dumps(values)
    try:
        data = lines.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which JSON refuses in its own words
        return orjson.dumps(values)
    return LINES + LENGTH.pack(len(data)) + isal_zlib.compress(data, 1)


def _decode_pool(pool: bytes) -> list[str]:
    """Raises Damaged."""
    try:
        if not pool.startswith(LINES):
            values: list[str] = orjson.loads(pool)
            return values
        head = len(LINES) + LENGTH.size
        (size,) = LENGTH.unpack_from(pool, len(LINES))
        data = isal_zlib.decompress(memoryview(pool)[head:], bufsize=size + 1)
        if len(data) != size:
            raise Damaged("a stored column of texts is not as long as it says")
        return str(data, "utf-8").split("\n")
    except (ValueError, struct.error, DEFLATE_ERROR) as error:
        raise Damaged(f"a stored column of texts cannot be read: {error}") from error


def decode_texts(blobs: Sequence[bytes], rows: Sequence[int]) -> Texts:
    """The Texts of several blocks, one after the other. Raises Damaged."""
    if len(blobs) > 1 and blobs[0][LENGTH.size : LENGTH.size + 1] == _CONSTANT and _are_same(blobs, rows):
        blobs, rows = blobs[:1], [sum(rows)]
    heads, pools = _split(blobs)
    codes = decode_arrays(heads, rows, np.int32)
    known: dict[str, int] = {}
    mapped: dict[bytes, Array] = {}  # most blocks share few pools
    start = 0
    for pool, count in zip(pools, rows, strict=True):
        mapping = mapped.get(pool)
        if mapping is None:
            values = _decode_pool(pool)
            mapping = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)
            mapped[pool] = mapping
        part = codes[start : start + count]
        if count and (int(part.max()) >= len(mapping) or int(part.min()) < 0):
            raise Damaged("a stored column of texts points beyond its values")
        if len(pools) == 1:
            return Texts(codes, tuple(known))
        part[:] = mapping[part]
        start += count
    return Texts(codes, tuple(known))


def only_text(blob: bytes) -> str | None:
    """The text of all rows of a block of Texts; None where they differ. Raises Damaged."""
    return decode_texts([blob], [1]).row(0) if blob[LENGTH.size : LENGTH.size + 1] == _CONSTANT else None


def _split(blobs: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    heads, tails = [], []
    for blob in blobs:
        if len(blob) < LENGTH.size:
            raise Damaged("a stored column is cut off")
        end = LENGTH.size + LENGTH.unpack_from(blob)[0]
        heads.append(blob[LENGTH.size : end])
        tails.append(blob[end:])
    return heads, tails
