"""Mask PNGs: what the header says, the proof that it will decode, packed rows out of it, and a 1-bit PNG from them.

Packed rows are (height, ceil(width / 8)) uint8, most significant bit leftmost, bits past the width zero.

What is checked, before any pixel is made: signature; IHDR first, with a combination of depth and colour that exists;
length, name and CRC of every chunk up to IEND (bytes after it are nobody's); no unknown critical chunk; IDAT chunks in
one row; limits on pixels and file size; a zlib stream that holds exactly the bytes the header implies, ends there and
has the right Adler-32; filter numbers 0 to 4. Whatever passes that can be decoded: no other rule is left to break. So
`check_png` and `prove_mask` prove a mask and keep nothing, and `decode_mask` uses the same steps.

What is foreground (Open Images reference 3.9): the stored sample is not zero. Grey of any depth: the value (16 bits:
all 16); palette: the index; RGB: any of the three; with an alpha channel: and alpha is not zero. A tRNS chunk is no
alpha channel and is not looked at, nor are gamma or the palette's colours.

Unfiltering: rows that all have filter 0, or all 1, are undone by numpy; mixed ones by Pillow, which gets the bytes as
an 8-bit grey picture, and of one bit or byte a pixel only the rectangle with something in it. PNG filters work on bytes
at the distance of a pixel, so samples of several bytes are split into one such picture for each byte.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image

from app.deflate import DEFLATE_ERROR, deflate
from app.errors import AppError

MAX_MASK_PIXELS = 50_000_000
MAX_MASK_BYTES = 32 << 20

MAX_SIDE_PIXELS = 1_000_000
"""libpng's own limit, so no other reader takes more; it also bounds what one row takes."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
STRIP_BYTES = 4 << 20
"""Unpacked bytes held at once, so that a 16-bit RGBA picture of 50 megapixels does not take 400 MB."""
SHORT_BYTES = (16 << 20) // 1032
"""A stream of so many bytes cannot become more than 16 MiB: deflate makes no more than 1,032 of one."""
MAX_STORED_BYTES = 0xFFFF
"""Of one stored block of deflate."""
FILTER_SUB = 1
LAST_FILTER = 4
DARK = 122
"""FiftyOne takes a pixel for the object when its grey, of 0 to 255, is above this."""
SPARSE_SAMPLES = 16
"""Rows of differences count as sparse when no more than one sample in so many is not zero."""
LOOKED_AT = 16
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step, row step of each pass of an interlaced picture."""
KNOWN_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")

Rows = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int32]


class BadPNG(AppError):
    """A mask file that is no PNG, is damaged or cut short, or claims to be too big."""

    code = "mask.bad_png"


@dataclass(frozen=True, slots=True)
class PNGHeader:
    """What IHDR says: size in pixels, bits a sample, colour type (0 grey, 2 RGB, 3 palette, 4 grey+alpha, 6 RGBA)."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        return self.bit_depth * CHANNELS[self.colour_type]

    def passes(self) -> list[_Pass]:
        """The pictures that the stream holds one after the other: one, or up to seven of an interlaced picture."""
        if not self.interlaced:
            return [_Pass(0, 0, 1, 1, self.width, self.height)]
        sizes = [(x, y, dx, dy, -(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in ADAM7]
        return [_Pass(*size) for size in sizes if size[4] > 0 and size[5] > 0]


@dataclass(frozen=True, slots=True)
class _Pass:
    x: int
    y: int
    step_x: int
    step_y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ProvenMask:
    """What a proof tells of a mask that has a pixel and at most one value beside 0; `is_dark` as in `DecodedMask`."""

    width: int
    height: int
    is_dark: bool


@dataclass(frozen=True, slots=True, eq=False)
class DecodedMask:
    """The foreground of a mask PNG: packed pixels, or where they change along the rows.

    Attributes:
        part: (h, b) uint8, packed, 1 = foreground: a rectangle of the picture outside of which nothing is set.
        top, left: where it lies: row, and byte of a row.
        changes: (P,) int32 each, in place of pixels: lines and columns, in reading order, where clear becomes set or
            set clear; in front of each row and behind it everything is clear, so the last may be at `width`.
        width, height: of the picture, pixels.
        is_binary: the picture is grey without alpha, with at most one value beside 0; else warn `mask.not_binary`.
        is_dark: that one value is dark, as the 1 of 255 that datumaro writes: such a picture looks black.
    """

    part: Rows
    top: int
    left: int
    width: int
    height: int
    is_binary: bool
    is_dark: bool = False
    changes: tuple[Places, Places] | None = None

    @property
    def rows(self) -> Rows:
        """(height, ceil(width / 8)) uint8, the whole picture."""
        shape = (self.height, (self.width + 7) // 8)
        if self.changes is not None:
            marks = np.zeros((self.height, self.width + 1), dtype=np.bool_)
            marks[self.changes] = True
            return np.packbits(np.logical_xor.accumulate(marks, axis=1)[:, :-1], axis=1)
        if self.part.shape == shape:
            return self.part
        rows = np.zeros(shape, dtype=np.uint8)
        rows[self.top : self.top + len(self.part), self.left : self.left + self.part.shape[1]] = self.part
        return rows


def read_png_header(data: bytes | memoryview) -> PNGHeader:
    """Signature and IHDR (its CRC too), nothing else. Raises BadPNG."""
    if bytes(data[:8]) != SIGNATURE:
        raise BadPNG("not a PNG file" if len(data) else "the file is empty")
    if len(data) < 33:
        raise BadPNG("the PNG is cut short within its header")
    length, name, width, height, depth, colour, compression, filtering, interlace, crc = struct.unpack_from(
        ">I4sIIBBBBBI", data, 8
    )
    if name != b"IHDR" or length != 13:
        raise BadPNG("the PNG does not start with an IHDR chunk")
    if crc != isal_zlib.crc32(data[12:29]):
        raise BadPNG("the PNG's IHDR chunk is damaged (CRC)")
    if not 0 < width <= MAX_SIDE_PIXELS or not 0 < height <= MAX_SIDE_PIXELS:
        raise BadPNG(f"the PNG claims a size of {width} x {height} pixels")
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BadPNG(f"the PNG's header is not valid (depth {depth}, colour type {colour}, {interlace=})")
    return PNGHeader(width, height, depth, colour, interlace == 1)


def check_png(
    data: bytes | memoryview, *, max_pixels: int = MAX_MASK_PIXELS, max_bytes: int = MAX_MASK_BYTES
) -> PNGHeader:
    """Prove that `decode_mask` will succeed, without making pixels (see the module). Raises BadPNG."""
    header = _checked_header(data, max_pixels, max_bytes)
    stream = _Inflater(_image_data(data, header))
    for part in header.passes():
        for _ in _strips(stream, header, part):
            pass
    stream.finish()
    return header


def prove_mask(
    data: bytes | memoryview, *, max_pixels: int = MAX_MASK_PIXELS, max_bytes: int = MAX_MASK_BYTES
) -> ProvenMask | None:
    """Prove a mask of a usual kind that has a pixel set, without making pixels; None for any other, of which only
    `decode_mask` knows. Raises BadPNG.

    Usual is grey that is not interlaced: of one bit a pixel, or of eight as OpenCV writes them, see `_find_values`.
    """
    header = _checked_header(data, max_pixels, max_bytes)
    if header.bit_depth not in (1, 8) or header.colour_type != GREY or header.interlaced:
        return None
    stream = _Inflater(_image_data(data, header))
    if header.bit_depth == 8:
        return _prove_grey(stream, header)
    has_pixels = False
    for strip in _strips(stream, header, header.passes()[0]):
        has_pixels = has_pixels or _has_pixels(strip, header.width)
    stream.finish()
    return ProvenMask(header.width, header.height, False) if has_pixels else None


def _has_pixels(strip: Rows, width: int) -> bool:
    """Whether filtered rows of one bit a pixel certainly have one that is set.

    Rows of a picture without a pixel are all zeros whatever their filter, and the first byte that is not zero is the
    same before and after the filters. Only the last byte of a row has bits that are no pixels.
    """
    pixels = strip[:, 1:] if width % 8 == 0 else strip[:, 1:-1]
    # Most masks have a pixel in one of a few rows.
    return bool(pixels[::LOOKED_AT].any()) or bool(pixels.any())


def _prove_grey(stream: _Inflater, header: PNGHeader) -> ProvenMask | None:
    if not _is_one_strip(header):
        return None
    (strip,) = _strips(stream, header, header.passes()[0])
    stream.finish()
    found = _find_values(strip)
    if found is None:
        return None
    levels = _Levels(header)
    levels.see(found[1], found[1] != 0)
    is_usual = levels.is_binary and levels.has_value
    return ProvenMask(header.width, header.height, levels.is_dark) if is_usual else None


def decode_mask(
    data: bytes | memoryview, *, max_pixels: int = MAX_MASK_PIXELS, max_bytes: int = MAX_MASK_BYTES
) -> DecodedMask:
    """The foreground of any PNG: sample non-zero (3.9). Checks everything `check_png` checks. Raises BadPNG."""
    header = _checked_header(data, max_pixels, max_bytes)
    stream = _Inflater(_image_data(data, header))
    levels = _Levels(header)
    whole, top, left, changes = header.passes()[0], 0, 0, None
    if header.interlaced:
        pixels = np.zeros((header.height, header.width), dtype=np.bool_)
        for part in header.passes():
            lines = pixels[part.y :: part.step_y, part.x :: part.step_x]
            lines[:] = np.unpackbits(_foreground(stream, header, part, levels), axis=1, count=part.width)
        rows = np.packbits(pixels, axis=1)
    elif header.pixel_bits in (1, 8) and _is_one_strip(header):
        (strip,) = _strips(stream, header, whole)
        changes = _find_changes(strip, levels) if header.pixel_bits == 8 else None
        rows = np.zeros((1, 1), dtype=np.uint8)
        if changes is None:
            samples_a_byte = 8 // header.pixel_bits
            rows, top, left = _object(strip, header.pixel_bits)
            rows = levels.pack([rows], min(rows.shape[1] * samples_a_byte, header.width - left * samples_a_byte))
            left = left * samples_a_byte // 8
    else:
        rows = _foreground(stream, header, whole, levels)
    stream.finish()
    return DecodedMask(rows, top, left, header.width, header.height, levels.is_binary, levels.is_dark, changes)


def encode_mask(rows: Rows, width: int, height: int | None = None, top: int = 0, left: int = 0) -> bytes:
    """A 1-bit grey PNG of packed rows (bits past the width must be clear); the same pixels give the same bytes.

    Args:
        rows: of the whole picture, or of a rectangle outside of which nothing is set.
        width, height: of the picture, pixels; without a height it has as many rows as there are.
        top, left: where the rectangle lies: row, and byte of a row.
    """
    return _encode(rows, width, height or len(rows), 1, top, left)


def encode_mask_grey(rows: Rows, width: int) -> bytes:
    """An 8-bit grey PNG, 0 and 255, of packed rows."""
    return _encode(np.unpackbits(rows, axis=1, count=width) * np.uint8(255), width, len(rows), 8)


def _encode(samples: Rows, width: int, height: int, depth: int, top: int = 0, left: int = 0) -> bytes:
    # Filter 0 throughout: for masks smaller and faster than any other (measured), and the fastest to read again.
    raw = np.zeros((height, (width * depth + 7) // 8 + 1), dtype=np.uint8)
    raw[top : top + len(samples), 1 + left : 1 + left + samples.shape[1]] = samples
    header = struct.pack(">IIBBBBB", width, height, depth, GREY, 0, 0, 0)
    data = deflate(raw.data)
    return b"".join([SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")])


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = isal_zlib.crc32(data, isal_zlib.crc32(name))
    return b"".join([struct.pack(">I", len(data)), name, data, struct.pack(">I", crc)])


def _checked_header(data: bytes | memoryview, max_pixels: int, max_bytes: int) -> PNGHeader:
    if len(data) > max_bytes:
        raise BadPNG(f"the PNG has {len(data)} bytes, more than the {max_bytes} allowed for a mask")
    header = read_png_header(data)
    if header.width * header.height > max_pixels:
        raise BadPNG(
            f"the PNG claims {header.width} x {header.height} pixels, more than the {max_pixels} allowed for a mask"
        )
    return header


def _image_data(data: bytes | memoryview, header: PNGHeader) -> list[memoryview]:
    """The contents of the IDAT chunks, every chunk checked."""
    view = memoryview(data)
    parts: list[memoryview] = []
    offset, previous, has_palette = 33, b"IHDR", False
    while True:
        if offset + 12 > len(view):
            raise BadPNG(f"the PNG is cut short after its {previous.decode('latin-1')} chunk")
        length = int.from_bytes(view[offset : offset + 4], "big")
        name = bytes(view[offset + 4 : offset + 8])
        end = offset + 12 + length
        if not name.isalpha() or not name.isascii():
            raise BadPNG(f"the PNG is damaged after its {previous.decode('latin-1')} chunk")
        if end > len(view):
            raise BadPNG(f"the PNG is cut short within its {name.decode('latin-1')} chunk")
        if isal_zlib.crc32(view[offset + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise BadPNG(f"the PNG's {name.decode('latin-1')} chunk is damaged (CRC)")
        if name == b"IDAT":
            if parts and previous != b"IDAT":
                raise BadPNG("the PNG's IDAT chunks do not follow each other")
            if header.colour_type == PALETTE and not has_palette:
                raise BadPNG("the PNG has no palette before its pixels")
            parts.append(view[offset + 8 : end - 4])
        elif name == b"IEND":
            break
        elif name == b"IHDR" or (name[0] & 0x20 == 0 and name not in KNOWN_CRITICAL):
            raise BadPNG(f"the PNG has an unexpected {name.decode('latin-1')} chunk")
        has_palette |= name == b"PLTE"
        offset, previous = end, name
    if not parts:
        raise BadPNG("the PNG has no IDAT chunk, so no pixels")
    return parts


class _Inflater:
    """Hands out the bytes of a zlib stream in pieces, and insists on its exact end.

    A short stream that is read whole is inflated by one call: 41 µs of a mask in place of 51.
    """

    def __init__(self, parts: list[memoryview]) -> None:
        self._short = parts[0] if len(parts) == 1 and len(parts[0]) <= SHORT_BYTES else None
        self._is_over = False
        self._parts = iter(parts)
        self._rest: bytes | memoryview = b""

    @cached_property
    def _engine(self) -> Any:
        return isal_zlib.decompressobj()

    def read(self, size: int) -> bytes:
        if self._short is not None:
            short, self._short = self._short, None
            with contextlib.suppress(DEFLATE_ERROR):  # what is wrong is found out below
                data: bytes = isal_zlib.decompress(short, bufsize=size)
                if len(data) == size:
                    self._is_over = True
                    return data
        pieces: list[bytes] = []
        while size > 0:
            piece = self._next(size)
            if not piece:
                raise BadPNG("the PNG's pixels are cut short")
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        if self._is_over:
            return
        if self._next(1):
            raise BadPNG("the PNG holds more pixels than its header says")
        if not self._engine.eof:
            raise BadPNG("the PNG's pixels are cut short (the zlib stream does not end)")

    def _next(self, size: int) -> bytes:
        """Some bytes, at most `size`; none at the end of the stream or of the parts."""
        while not self._engine.eof:
            exhausted = False
            if not self._rest:
                following = next(self._parts, None)
                exhausted = following is None
                self._rest = following if following is not None else b""
            try:
                piece: bytes = self._engine.decompress(self._rest, size)
            except DEFLATE_ERROR as error:
                raise BadPNG(f"the PNG's pixels are damaged ({error})") from None
            self._rest = self._engine.unconsumed_tail
            if piece or exhausted:
                return piece
        return b""


def _is_one_strip(header: PNGHeader) -> bool:
    return header.height * (header.width * header.pixel_bits // 8 + 2) <= STRIP_BYTES


def _strips(stream: _Inflater, header: PNGHeader, part: _Pass) -> Iterator[Rows]:
    """The filtered rows of a pass, (rows, 1 + row bytes) uint8 with the filter first, a few megabytes at a time."""
    row_bytes = (part.width * header.pixel_bits + 7) // 8
    step = max(1, STRIP_BYTES // (row_bytes + 1))
    for start in range(0, part.height, step):
        count = min(step, part.height - start)
        strip = np.frombuffer(stream.read(count * (row_bytes + 1)), dtype=np.uint8).reshape(count, -1)
        if strip[:, 0].max() > LAST_FILTER:
            raise BadPNG("the PNG's pixels are damaged (a row with an unknown filter)")
        yield strip


def _foreground(stream: _Inflater, header: PNGHeader, part: _Pass, levels: _Levels) -> Rows:
    """(height, ceil(width / 8)) packed foreground of one pass."""
    distance = (header.pixel_bits + 7) // 8
    packed = []
    above = np.zeros((distance, 1, (part.width * header.pixel_bits + 7) // 8 // distance), dtype=np.uint8)
    for strip in _strips(stream, header, part):
        planes = [
            _unfilter(strip[:, 0], strip[:, 1 + byte :: distance], above[byte]) for byte in range(distance)
        ]  # one for each byte of a pixel, (rows, bytes) uint8
        above = np.stack([plane[-1:] for plane in planes])
        packed.append(levels.pack(planes, part.width))
    return packed[0] if len(packed) == 1 else np.concatenate(packed)


def _unfilter(filters: Rows, rows: Rows, above: Rows) -> Rows:
    """Undo the filters of rows whose pixels are one byte wide (or less); `above` is the row before the first."""
    highest = filters.max()
    if highest == 0:
        return rows
    if highest == FILTER_SUB and filters.min() == FILTER_SUB:
        return _sum_rows(rows)
    raw = np.empty((len(rows) + 1, rows.shape[1] + 1), dtype=np.uint8)
    raw[0, 0], raw[0, 1:] = 0, above[0]
    raw[1:, 0] = filters
    raw[1:, 1:] = rows
    # The filters were checked, so nothing can fail here.
    picture = Image.frombytes("L", (rows.shape[1], len(raw)), _stored(raw.data.cast("B")), "zip", "L", 0)
    return np.frombuffer(picture.tobytes(), dtype=np.uint8).reshape(len(raw), -1)[1:]


def _stored(data: memoryview) -> bytes:
    """A zlib stream that holds the bytes as they are; without the sum at its end, for Pillow stops at the last row."""
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(data), MAX_STORED_BYTES):
        piece = data[start : start + MAX_STORED_BYTES]
        is_last = start + len(piece) == len(data)
        parts += struct.pack("<BHH", is_last, len(piece), len(piece) ^ MAX_STORED_BYTES), piece
    return b"".join(parts)


def _object(strip: Rows, unit: int = 1) -> tuple[Rows, int, int]:
    """The rectangle of a whole picture (filter and bytes of each row) with everything that is set, filters undone; its
    first row, and byte of a row, which is a multiple of `unit`.

    Most of a mask is clear around its object, before the filters and after. A filter adds something of the bytes on the
    left, above and between. So what lies above or left of the first byte that is not zero stays zero; and so does what
    lies beyond a row, and beyond a column, that are zero before and after: hence one more of each is taken, and looked
    at.
    """
    filters, rows = strip[:, 0], strip[:, 1:]
    clear = np.zeros((1, rows.shape[1]), dtype=np.uint8)
    top, stop = _filled_lines(strip)
    if stop - top == len(rows):
        lines = np.flatnonzero(np.bitwise_or.reduce(rows, axis=1))
        top, stop = (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, 0)
    bottom = min(stop + 1, len(rows))
    columns = np.flatnonzero(np.bitwise_or.reduce(rows[top:bottom], axis=0))
    if not len(columns):
        return clear[:, :1], 0, 0
    left, right = int(columns[0]) // unit * unit, min(int(columns[-1]) + 2, rows.shape[1])
    part = _unfilter(filters[top:bottom], rows[top:bottom, left:right], clear[:, left:right])
    if (bottom < len(rows) and part[-1].any()) or (right < rows.shape[1] and part[:, -1].any()):
        return _unfilter(filters, rows, clear), 0, 0
    return part, top, left


def _filled_lines(strip: Rows) -> tuple[int, int]:
    """The first line with a byte that is not zero, its filter among them, and the one behind the last; eight bytes at a
    time, so there may be a line more. Where every line has a filter, all of them are filled."""
    flat, stride = strip.reshape(-1), strip.shape[1]
    n_words = len(flat) // 8
    filled = (flat[: n_words * 8].view(np.uint64) != 0).tobytes()  # bytes are searched from either end at once
    first, last = filled.find(1), filled.rfind(1)
    if first < 0 or flat[n_words * 8 :].any():
        return 0, len(strip)
    return first * 8 // stride, min((last * 8 + 7) // stride + 1, len(strip))


def _find_values(strip: Rows) -> tuple[npt.NDArray[np.int64], Rows] | None:
    """The samples of a picture of one byte a pixel, all rows with filter 1, where they may change; None for any other,
    and where there are so many places that pixels are cheaper.

    That filter keeps differences, so nothing else than the bytes that are not zero tells anything: masks as OpenCV
    writes them (8 bits, 0 and 1, what CVAT and datumaro export) have one in a thousand of them.

    Returns:
        (C,) places in the strip, ascending, each row's filter among them, and (C,) the sample from there on, which is
        0 at a filter.
    """
    if not (strip[:, 0] == FILTER_SUB).all():
        return None
    flat, stride = strip.reshape(-1), strip.shape[1]
    places = _filled_bytes(flat, len(strip) + strip.size // SPARSE_SAMPLES)
    if places is None:
        return None
    sums, lines = np.cumsum(flat[places], dtype=np.uint8), places // stride
    return places, sums - sums[lines * stride == places][lines]


def _find_changes(strip: Rows, levels: _Levels) -> tuple[Places, Places] | None:
    """Where a picture that `_find_values` knows changes between clear and set; None for any other."""
    found = _find_values(strip)
    if found is None:
        return None
    places, values = found
    is_set = values != 0
    if levels.is_binary:
        levels.see(values, is_set)
    at = np.flatnonzero(is_set[1:] != is_set[:-1]) + 1  # the first is a filter
    # Each sample lies one behind its column, and a row that is set up to its end changes at the next one's filter.
    ends = np.append(places[at], [strip.size] * int(is_set[-1])) - 1
    lines, columns = np.divmod(ends, strip.shape[1])
    return lines.astype(np.int32), columns.astype(np.int32)


def _filled_bytes(flat: Rows, most: int) -> npt.NDArray[np.int64] | None:
    """The places of all bytes of a (B,) array that are not zero, ascending; eight at a time, for few are. None where
    they are more than `most`."""
    n_words = len(flat) // 8
    words = flat[: n_words * 8].view(np.uint64)
    filled = np.flatnonzero(words != 0)
    if len(filled) > most:
        return None
    some = np.flatnonzero(words[filled].view(np.uint8) != 0)
    rest = np.flatnonzero(flat[n_words * 8 :]) + n_words * 8
    places = np.concatenate([filled[some >> 3] * 8 + (some & 7), rest])
    return places if len(places) <= most else None


def _sum_rows(rows: Rows) -> Rows:
    """Running sums along each row, modulo 256: undoes filter 1.

    Masks as OpenCV writes them are of this kind (8 bits, 0 and 1, so nearly all differences are 0): the few samples
    where a sum changes are added up and repeated, four times as fast as summing every byte.
    """
    changes = rows != 0
    changes[:, 0] = True
    places = np.flatnonzero(changes)  # (C,), every row's first sample is among them
    if len(places) * SPARSE_SAMPLES > rows.size:
        return np.add.accumulate(rows, axis=1, dtype=np.uint8)
    lines, columns = np.divmod(places, rows.shape[1])
    sums = np.cumsum(rows[lines, columns], dtype=np.int64)
    before = np.concatenate([[0], sums])[np.flatnonzero(columns == 0)]  # (rows,) the sum before each row
    values = (sums - before[lines]).astype(np.uint8)
    return np.repeat(values, np.diff(places, append=rows.size)).reshape(rows.shape)


class _Levels:
    """Turns samples into foreground, and remembers whether all of them were one and the same value."""

    def __init__(self, header: PNGHeader) -> None:
        self._depth = header.bit_depth
        self._colour = header.colour_type
        self._value: int | None = None
        self.is_binary = header.colour_type == GREY

    @property
    def has_value(self) -> bool:
        """Whether any sample seen was not 0."""
        return self._value is not None

    @property
    def is_dark(self) -> bool:
        """Whether the picture has one value beside 0, and readers that take bright pixels only would see none."""
        return self.is_binary and self._value is not None and self._value * 255 <= DARK * ((1 << self._depth) - 1)

    def pack(self, planes: list[Rows], width: int) -> Rows:
        """(rows, ceil(width / 8)) packed, of the bytes of each pixel (or of eight, four, two pixels a byte)."""
        if self._depth == 1:
            return self._clear_padding(planes[0], width)
        if self._depth < 8:
            planes = [self._spread(planes[0], width)]
        if self._depth == 16:
            pairs = zip(planes[::2], planes[1::2], strict=True)
            samples = [high.astype(np.uint16) << np.uint16(8) | low for high, low in pairs]
        else:
            samples = list(planes)
        has_alpha = self._colour in (GREY_ALPHA, RGB_ALPHA)
        colours = samples[:-1] if has_alpha else samples
        foreground = colours[0] != 0
        for colour in colours[1:]:
            foreground |= colour != 0
        if has_alpha:
            foreground &= samples[-1] != 0
        if self.is_binary:
            self.see(samples[0], foreground)
        return np.packbits(foreground, axis=1)

    def see(self, samples: npt.NDArray[np.unsignedinteger[Any]], foreground: Pixels) -> None:
        """Note the values of some samples of a picture of grey."""
        if not len(samples):
            return
        highest = int(samples.max())
        if highest == 0:
            return
        if self._value is None:
            self._value = highest
        self.is_binary = self._value == highest and bool(((samples == highest) == foreground).all())

    def _spread(self, rows: Rows, width: int) -> Rows:
        """One byte a sample of 2 or 4 bits."""
        per_byte = 8 // self._depth
        shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(self._depth)
        samples = rows[:, :, None] >> shifts & np.uint8((1 << self._depth) - 1)  # (rows, bytes, samples a byte)
        return samples.reshape(len(rows), -1)[:, :width]

    @staticmethod
    def _clear_padding(rows: Rows, width: int) -> Rows:
        packed = np.array(rows)
        if width % 8:
            packed[:, -1] &= np.uint8(0xFF00 >> (width % 8) & 0xFF)
        return packed
