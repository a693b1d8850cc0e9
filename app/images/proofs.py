"""Proofs of many mask PNGs that lie side by side in one stretch of a zip.

Here is a module of its own, and of few imports: another process may do nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from isal import igzip_lib, isal_zlib

from app.images.png import BadPNG, prove_mask

Ids = npt.NDArray[np.int64]
InflateError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # a class; the stubs say instance


@dataclass(frozen=True, slots=True, eq=False)
class ProofJob:
    """PNGs in a stretch of bytes.

    Attributes:
        data: the stretch, uint8.
        starts, packed_sizes: (N,) where each PNG lies in it.
        sizes, crcs: (N,) of its bytes, unpacked.
        is_deflated: (N,) bool.
    """

    data: npt.NDArray[np.uint8]
    starts: Ids
    packed_sizes: Ids
    sizes: Ids
    crcs: Ids
    is_deflated: npt.NDArray[np.bool_]
    max_pixels: int
    max_bytes: int


def prove_stretch(job: ProofJob) -> npt.NDArray[np.int32]:
    """(N, 3) width, height and whether it is dark (`ProvenMask`) of each PNG that `prove_mask` proves; zeros for any
    other, whatever the reason."""
    found: list[tuple[int, int, int]] = []
    columns = (job.starts, job.packed_sizes, job.sizes, job.crcs, job.is_deflated)
    for start, packed_size, size, crc, is_deflated in zip(*(column.tolist() for column in columns), strict=True):
        packed = job.data[start : start + packed_size].data
        try:
            png = _inflated(packed, size) if is_deflated else packed
            is_whole = len(png) == size and isal_zlib.crc32(png) == crc
            mask = prove_mask(png, max_pixels=job.max_pixels, max_bytes=job.max_bytes) if is_whole else None
        except (BadPNG, InflateError):
            mask = None
        found.append((0, 0, 0) if mask is None else (mask.width, mask.height, mask.is_dark))
    return np.array(found, dtype=np.int32).reshape(-1, 3)


def _inflated(packed: memoryview, size: int) -> bytes:
    """At most one byte more than the size: a stream that would grow further is never unpacked."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    data: bytes = inflater.decompress(packed, size + 1)
    return data if inflater.eof and not inflater.unused_data else b""
