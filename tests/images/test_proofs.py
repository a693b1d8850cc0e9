"""Proofs of PNGs in a stretch of a zip are those of each PNG by itself."""

from __future__ import annotations

import zlib

import numpy as np

from app.images import BadPNG, ProofJob, encode_mask, encode_mask_grey, prove_mask, prove_stretch
from tests.images.pngs import build


def packed(png: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(png) + deflater.flush()


def pngs_of_all_kinds(random: np.random.Generator, n: int) -> list[bytes]:
    pngs = []
    for number in range(n):
        height, width = random.integers(1, 40, 2).tolist()
        pixels = random.random((height, width)) < random.choice([0.0, 0.02, 0.4])
        if number % 7 == 0:
            pixels[: height // 2], pixels[height // 2 :] = True, False
            samples = (pixels * random.choice([1, 255])).astype(np.int64)
            png = bytearray(build(samples[:, :, np.newaxis], 0, 8, [1]))  # as OpenCV writes them
        else:
            encode = encode_mask_grey if number % 5 == 0 else encode_mask
            png = bytearray(encode(np.packbits(pixels, axis=1), width))
        if number % 3 == 0:
            png[int(random.integers(len(png)))] ^= 1 << int(random.integers(8))
        pngs.append(bytes(png[: len(png) - 20] if number % 11 == 0 else png))
    return pngs


def plainly(png: bytes) -> tuple[int, int, int]:
    try:
        mask = prove_mask(png)
    except BadPNG:
        mask = None
    return (0, 0, 0) if mask is None else (mask.width, mask.height, int(mask.is_dark))


def job_of(members: list[bytes], sizes: list[int], crcs: list[int], is_deflated: list[bool]) -> ProofJob:
    """Members with some bytes of others between them."""
    lengths = np.array([len(member) for member in members], dtype=np.int64)
    stretch = b"".join(member + b"between" for member in members)
    return ProofJob(
        np.frombuffer(stretch, dtype=np.uint8),
        np.cumsum(lengths + 7) - lengths - 7,
        lengths,
        np.array(sizes, dtype=np.int64),
        np.array(crcs, dtype=np.int64),
        np.array(is_deflated, dtype=np.bool_),
        1 << 20,
        1 << 20,
    )


def test_a_stretch_is_its_pngs_one_by_one() -> None:
    random = np.random.default_rng(3)
    pngs = pngs_of_all_kinds(random, 200)
    is_deflated = [number % 2 == 0 for number in range(len(pngs))]
    members = [packed(png) if deflated else png for png, deflated in zip(pngs, is_deflated, strict=True)]
    job = job_of(members, [len(png) for png in pngs], [zlib.crc32(png) for png in pngs], is_deflated)
    expected = [plainly(png) for png in pngs]
    assert list(map(tuple, prove_stretch(job).tolist())) == expected
    assert 40 < sum(width > 0 for width, *_ in expected) < 160
    assert sum(is_dark for *_, is_dark in expected) > 3


def test_bytes_that_are_not_those_of_the_directory_are_not_proven() -> None:
    png = encode_mask(np.full((8, 1), 255, dtype=np.uint8), 8)
    size, crc, deflated = len(png), zlib.crc32(png), packed(png)
    members = [png, png, deflated, deflated, deflated[:-1], deflated + b"x", png, b"nothing"]
    sizes = [size, size, size, size - 1, size, size, size + 1, 7]
    crcs = [crc, crc ^ 1, crc, crc, crc, crc, crc, zlib.crc32(b"nothing")]
    job = job_of(members, sizes, crcs, [False, False, True, True, True, True, False, True])
    assert prove_stretch(job)[:, 0].tolist() == [8, 0, 8, 0, 0, 0, 0, 0]


def test_no_png_is_no_proof() -> None:
    assert prove_stretch(job_of([], [], [], [])).shape == (0, 3)
