"""PNG files of every kind, built chunk by chunk, sound ones and broken ones."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Sequence

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)]
KINDS += [(3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]
"""(colour type, bit depth): all that exist."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    good = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", good if crc is None else crc)


def header(width: int, height: int, depth: int = 1, colour: int = 0, tail: Sequence[int] = (0, 0, 0)) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *tail))


def sample_bytes(samples: np.ndarray, depth: int) -> np.ndarray:
    """(height, row bytes) of (height, width, channels) samples, as they stand in a PNG before filtering."""
    height = len(samples)
    flat = samples.reshape(height, -1)
    if depth == 16:
        return np.ascontiguousarray(flat.astype(">u2")).view(np.uint8).reshape(height, -1)
    if depth == 8:
        return flat.astype(np.uint8)
    bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)


def apply_filters(rows: np.ndarray, filters: Sequence[int], distance: int) -> bytes:
    """Filter rows as the PNG specification says, byte by byte."""
    out = bytearray()
    for y, kind in enumerate(filters):
        out.append(kind)
        for x in range(rows.shape[1]):
            a = int(rows[y, x - distance]) if x >= distance else 0
            b = int(rows[y - 1, x]) if y else 0
            c = int(rows[y - 1, x - distance]) if y and x >= distance else 0
            estimate = a + b - c
            paeth = min((a, b, c), key=lambda value: abs(estimate - value))
            out.append((int(rows[y, x]) - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
    return bytes(out)


def build(
    samples: np.ndarray,
    colour: int,
    depth: int,
    filters: Sequence[int] | None = None,
    interlaced: bool = False,
    pieces: int = 1,
    extra: bytes = b"",
) -> bytes:
    """A PNG of (height, width, channels) samples; `filters` is repeated over the rows, `extra` stands before IDAT."""
    height, width, channels = samples.shape
    distance = max(1, depth * channels // 8)
    raw = b""
    for x, y, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[y::dy, x::dx]
        if part.size:
            kinds = [(filters or [0])[index % len(filters or [0])] for index in range(len(part))]
            raw += apply_filters(sample_bytes(part, depth), kinds, distance)
    data = zlib.compress(raw)
    cuts = [len(data) * index // pieces for index in range(pieces + 1)]
    palette = chunk(b"PLTE", bytes(3 << min(depth, 8))) if colour == 3 else b""
    idat = b"".join(chunk(b"IDAT", data[a:b]) for a, b in itertools.pairwise(cuts))
    top = header(width, height, depth, colour, (0, 0, int(interlaced)))
    return SIGNATURE + top + palette + extra + idat + chunk(b"IEND")


def foreground(samples: np.ndarray, colour: int) -> np.ndarray:
    """The rule of the reference, 3.9: sample non-zero, and alpha non-zero where there is an alpha channel."""
    if colour in (4, 6):
        return (samples[..., :-1] != 0).any(axis=-1) & (samples[..., -1] != 0)
    return (samples != 0).any(axis=-1)


def raw_png(raw: bytes, width: int, height: int, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG whose zlib stream unpacks to `raw`, whatever the header says."""
    return SIGNATURE + header(width, height, depth, colour) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")
