from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.images import (
    BadPNG,
    DecodedMask,
    ProvenMask,
    check_png,
    decode_mask,
    encode_mask,
    encode_mask_grey,
    prove_mask,
    read_png_header,
)
from app.images import png as png_module
from tests.images.pngs import CHANNELS, KINDS, SIGNATURE, apply_filters, build, chunk, foreground, header, raw_png
from tests.reference_geometry import unfilter

Y, X = np.mgrid[:37, :45]
DISK = (X - 20) ** 2 + (Y - 17) ** 2 < 200


def pixels_of(mask: DecodedMask) -> np.ndarray:
    assert mask.rows.shape == (mask.height, (mask.width + 7) // 8)
    bits = np.unpackbits(mask.rows, axis=1).astype(np.bool_)
    assert not bits[:, mask.width :].any()
    return bits[:, : mask.width]


def one_bit(pixels: np.ndarray) -> bytes:
    return encode_mask(np.packbits(pixels, axis=1), pixels.shape[1])


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_of_png_gives_the_foreground_of_the_rule(colour: int, depth: int, interlaced: bool) -> None:
    random = np.random.default_rng(colour * 100 + depth)
    for height, width in ((1, 1), (3, 2), (5, 9), (13, 17), (24, 33)):
        for filters in ([0], [1], [2], [3], [4], [1, 4, 0, 2, 3]):
            samples = random.integers(0, 1 << depth, (height, width, CHANNELS[colour]))
            samples[random.random(samples.shape) < 0.7] = 0
            if depth == 16:  # values of which one byte alone is not zero
                samples[random.random(samples.shape) < 0.3] &= 0xFF00
                samples[random.random(samples.shape) < 0.3] &= 0x00FF
            data = build(samples, colour, depth, filters, interlaced, pieces=3)
            found = read_png_header(data)
            assert (found.width, found.height, found.bit_depth, found.colour_type) == (width, height, depth, colour)
            assert found.interlaced == interlaced
            assert check_png(data) == found
            np.testing.assert_array_equal(pixels_of(decode_mask(data)), foreground(samples, colour))


def test_large_pictures_are_decoded_in_strips_with_the_row_above_carried_over(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    for colour, depth in KINDS:
        samples = random.integers(0, 1 << depth, (23, 11, CHANNELS[colour]))
        samples[random.random(samples.shape) < 0.7] = 0
        data = build(samples, colour, depth, [4, 2, 3, 1, 2])
        for strip_bytes in (1, 100):
            monkeypatch.setattr(png_module, "STRIP_BYTES", strip_bytes)
            np.testing.assert_array_equal(pixels_of(decode_mask(data)), foreground(samples, colour))


def test_filters_are_undone_as_a_plain_loop_undoes_them() -> None:
    random = np.random.default_rng(6)
    rows = random.integers(0, 256, (40, 30)).astype(np.uint8)
    filters = random.integers(0, 5, 40).astype(np.uint8)
    above = np.zeros((1, 30), dtype=np.uint8)
    np.testing.assert_array_equal(png_module._unfilter(filters, rows, above), unfilter(filters.tolist(), rows, 1))


def test_filters_around_an_object_are_undone_as_a_plain_loop_undoes_them() -> None:
    """What is filtered is clear around a rectangle; what it becomes may run on to the right and below (1, 2, 3, 4)."""
    random = np.random.default_rng(8)
    spread = 0
    for _ in range(400):
        height, width = random.integers(1, 14, 2).tolist()
        rows = np.zeros((height, width), dtype=np.uint8)
        top, left = random.integers(0, height), random.integers(0, width)
        part = rows[top : top + random.integers(0, 8), left : left + random.integers(0, 8)]
        part[:] = random.integers(0, 256, part.shape) * (random.random(part.shape) < random.random())
        if random.random() < 0.5:  # what comes back to zero, as objects do
            rows = np.diff(rows, axis=1, prepend=np.uint8(0)).astype(np.uint8)
        filters = random.integers(0, 5, height).astype(np.uint8) if random.random() < 0.7 else np.full(height, 2)
        if random.random() < 0.5:  # as encoders do that choose row by row
            filters[~rows.any(axis=1)] = 0
        part, first, byte = png_module._object(np.column_stack([filters.astype(np.uint8), rows]))
        found = np.zeros(rows.shape, dtype=np.uint8)
        found[first : first + len(part), byte : byte + part.shape[1]] = part
        np.testing.assert_array_equal(found, unfilter(filters.tolist(), rows, 1))
        spread += bool((found[:, -1:].any() and not rows[:, -1:].any()) or (found[-1].any() and not rows[-1].any()))
    assert spread > 20


@pytest.mark.parametrize("colour", [0, 3], ids=["grey", "palette"])
def test_differences_along_rows_tell_where_pixels_change(colour: int) -> None:
    """What OpenCV writes, beside the same pixels without filters, which are decoded as they are."""
    random = np.random.default_rng(9)
    n_told = 0
    for round_ in range(300):
        height, width = random.integers(1, 40, 2).tolist()
        samples = np.zeros((height, width, 1), dtype=np.int64)
        for _ in range(round_ % 4):
            top, left = random.integers(0, height), random.integers(-5, width)
            value = random.choice([1, 255, 255, 7]) if round_ % 3 else 1
            samples[top : top + random.integers(1, 20), max(left, 0) : max(left, 0) + random.integers(1, 40)] = value
        sparse, plain = (decode_mask(build(samples, colour, 8, [number])) for number in (1, 0))
        np.testing.assert_array_equal(pixels_of(sparse), foreground(samples, colour))
        assert (sparse.is_binary, sparse.is_dark) == (plain.is_binary, plain.is_dark)
        if sparse.changes is not None:
            n_told += 1
            lines, columns = np.nonzero(np.diff(foreground(samples, colour), axis=1, prepend=False, append=False))
            assert np.array_equal(sparse.changes, (lines, columns))
    assert n_told > 200


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5], ids=["empty", "sparse", "dense"])
def test_rows_of_differences_are_summed_up(density: float) -> None:
    random = np.random.default_rng(7)
    rows = random.integers(0, 256, (30, 101)).astype(np.uint8) * (random.random((30, 101)) < density)
    ones = np.ones(30, dtype=np.uint8)
    above = np.zeros((1, 101), dtype=np.uint8)
    np.testing.assert_array_equal(png_module._unfilter(ones, rows, above), unfilter([1] * 30, rows, 1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_pictures_of_other_writers_are_read(mode: str) -> None:
    picture = Image.fromarray(DISK.astype(np.uint8) * 255).convert(mode)
    out = io.BytesIO()
    picture.save(out, "PNG")
    mask = decode_mask(out.getvalue())
    expected = np.asarray(picture) != 0 if mode == "P" else DISK
    np.testing.assert_array_equal(pixels_of(mask), expected)
    assert mask.is_binary == (mode in ("1", "L"))


@pytest.mark.parametrize(
    ("values", "depth", "is_binary"),
    [
        ([0], 1, True),
        ([0, 1], 1, True),
        ([0, 1], 8, True),
        ([0, 255], 8, True),
        ([7], 8, True),
        ([0, 1, 2], 8, False),
        ([1, 2], 8, False),
        ([0, 3], 2, True),
        ([0, 1, 3], 2, False),
        ([0, 256], 16, True),
        ([0, 1, 256], 16, False),
    ],
)
def test_grey_with_at_most_one_value_beside_zero_is_binary(values: list[int], depth: int, is_binary: bool) -> None:
    samples = np.resize(np.array(values), (6, 7, 1))
    for interlaced in (False, True):
        assert decode_mask(build(samples, 0, depth, interlaced=interlaced)).is_binary == is_binary


def test_values_are_compared_across_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_module, "STRIP_BYTES", 1)
    samples = np.repeat([[[0]], [[5]], [[0]], [[9]]], 3, axis=1)
    assert not decode_mask(build(samples, 0, 8)).is_binary
    samples[3] = 5
    assert decode_mask(build(samples, 0, 8)).is_binary


def test_colour_and_palette_are_never_binary_and_a_transparent_grey_is_no_alpha_channel() -> None:
    samples = np.resize(np.array([0, 1]), (4, 5, 1))
    assert not decode_mask(build(samples, 3, 1)).is_binary
    with_transparency = decode_mask(build(samples, 0, 1, extra=chunk(b"tRNS", b"\0\1")))
    np.testing.assert_array_equal(pixels_of(with_transparency), samples[..., 0] == 1)
    assert with_transparency.is_binary


def test_set_bits_past_the_width_are_cleared() -> None:
    mask = decode_mask(raw_png(b"\0\xff\xff" * 2, 9, 2))
    assert pixels_of(mask).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (5, 9), (37, 45), (2, 70_000)])
def test_what_is_encoded_decodes_everywhere(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).random(shape) < 0.4
    rows = np.packbits(pixels, axis=1)
    for data, depth, mode in ((encode_mask(rows, shape[1]), 1, "1"), (encode_mask_grey(rows, shape[1]), 8, "L")):
        assert check_png(data).bit_depth == depth
        mask = decode_mask(data)
        np.testing.assert_array_equal(mask.rows, rows)
        assert mask.is_binary
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            assert picture.mode == mode
            values = np.asarray(picture)
        np.testing.assert_array_equal(values != 0, pixels)
        assert depth == 1 or set(np.unique(values)) <= {0, 255}
    assert encode_mask(rows, shape[1]) == encode_mask(rows, shape[1])


@pytest.mark.parametrize(
    ("top", "left", "height", "row_bytes"), [(0, 0, 1, 1), (3, 1, 4, 2), (8, 2, 2, 1), (0, 0, 10, 3)]
)
def test_a_part_gives_what_the_whole_gives(top: int, left: int, height: int, row_bytes: int) -> None:
    part = np.full((height, row_bytes), 0xA0, dtype=np.uint8)
    whole = np.zeros((10, 3), dtype=np.uint8)
    whole[top : top + height, left : left + row_bytes] = part
    assert encode_mask(part, 20, 10, top, left) == encode_mask(whole, 20)


@pytest.mark.parametrize("reader", [check_png, decode_mask])
class TestBrokenFiles:
    """The proof and the decoder refuse the same files."""

    def refuse(self, reader: object, data: bytes, words: str, **limits: int) -> None:
        with pytest.raises(BadPNG, match=words) as refused:
            reader(data, **limits)  # type: ignore[operator]
        assert refused.value.code == "mask.bad_png"

    def test_every_shorter_file(self, reader: object) -> None:
        data = one_bit(DISK)
        for size in range(len(data) - 1):
            self.refuse(reader, data[:size], "cut short|not a PNG|empty")

    def test_every_flipped_bit(self, reader: object) -> None:
        data = one_bit(DISK)
        for place in range(0, len(data) * 8, 3):
            broken = bytearray(data)
            broken[place // 8] ^= 128 >> place % 8
            self.refuse(reader, bytes(broken), "PNG")

    @pytest.mark.parametrize(
        "ihdr",
        [
            (0, 5, 1, 0),
            (5, 0, 1, 0),
            (1 << 31, 5, 1, 0),
            (2_000_000, 1, 1, 0),
            (5, 5, 3, 0),
            (5, 5, 16, 3),
            (5, 5, 8, 5),
        ],
        ids=["no width", "no height", "2^31 wide", "too wide for any reader", "depth 3", "palette of 16", "colour 5"],
    )
    def test_a_header_that_makes_no_sense(self, reader: object, ihdr: tuple[int, int, int, int]) -> None:
        self.refuse(
            reader, SIGNATURE + header(*ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND"), "header|size"
        )

    @pytest.mark.parametrize("tail", [(1, 0, 0), (0, 1, 0), (0, 0, 2)], ids=["compression", "filtering", "interlace"])
    def test_an_unknown_method(self, reader: object, tail: tuple[int, int, int]) -> None:
        self.refuse(reader, SIGNATURE + header(5, 5, 1, 0, tail) + chunk(b"IEND"), "header is not valid")

    def test_limits_are_checked_before_anything_is_unpacked(self, reader: object) -> None:
        bomb = SIGNATURE + header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND")
        self.refuse(reader, bomb, "60000 x 60000 pixels, more than the 50000000")
        self.refuse(reader, one_bit(DISK), "45 x 37 pixels, more than the 1000", max_pixels=1000)
        self.refuse(reader, one_bit(DISK), "bytes, more than the 20", max_bytes=20)

    def test_a_stream_that_holds_more_than_the_header_says(self, reader: object) -> None:
        self.refuse(reader, raw_png(bytes(2 * 2 + 1), 8, 2), "more pixels")
        bomb = raw_png(bytes(64 << 20), 8, 2)
        tracemalloc.start()
        self.refuse(reader, bomb, "more pixels")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()

    def test_a_stream_that_holds_less_than_the_header_says(self, reader: object) -> None:
        self.refuse(reader, raw_png(bytes(2 * 2 - 1), 8, 2), "cut short")

    def test_a_stream_without_its_checksum_or_with_a_wrong_one(self, reader: object) -> None:
        stream = zlib.compress(bytes(4))
        for broken in (stream[:-4], stream[:-1], stream[:-1] + b"\x00"):
            data = SIGNATURE + header(8, 2) + chunk(b"IDAT", broken) + chunk(b"IEND")
            self.refuse(reader, data, "cut short|damaged")

    def test_no_stream_at_all(self, reader: object) -> None:
        self.refuse(reader, SIGNATURE + header(8, 2) + chunk(b"IDAT", b"no zlib") + chunk(b"IEND"), "damaged")

    def test_an_unknown_filter(self, reader: object) -> None:
        self.refuse(reader, raw_png(b"\0\0\5\0", 8, 2), "unknown filter")

    def test_chunks_in_the_wrong_places(self, reader: object) -> None:
        top, idat, end = header(8, 1), chunk(b"IDAT", zlib.compress(bytes(2))), chunk(b"IEND")
        half = zlib.compress(bytes(2))
        apart = chunk(b"IDAT", half[:4]) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", half[4:])
        self.refuse(reader, SIGNATURE + top + end, "no IDAT")
        self.refuse(reader, SIGNATURE + idat + top + end, "IHDR")
        self.refuse(reader, SIGNATURE + top + top + idat + end, "unexpected IHDR")
        self.refuse(reader, SIGNATURE + top + chunk(b"ABCD") + idat + end, "unexpected ABCD")
        self.refuse(reader, SIGNATURE + top + apart + end, "do not follow")
        self.refuse(reader, SIGNATURE + top + chunk(b"tE\0t") + idat + end, "damaged after its IHDR")
        self.refuse(reader, SIGNATURE + header(8, 1, 1, 3) + idat + end, "no palette")
        self.refuse(reader, SIGNATURE + top + chunk(b"tEXt", b"a\0b", crc=1) + idat + end, "tEXt chunk is damaged")
        self.refuse(reader, SIGNATURE + struct.pack(">I4s", 99, b"IHDR") + top[8:] + idat + end, "IHDR")

    def test_other_files(self, reader: object) -> None:
        self.refuse(reader, b"", "empty")
        self.refuse(reader, b"GIF89a" + bytes(50), "not a PNG")
        self.refuse(reader, SIGNATURE, "cut short")


def test_bytes_after_the_end_and_unknown_ancillary_chunks_are_nobodys() -> None:
    samples = DISK.astype(np.int64)[..., None]
    data = build(samples, 0, 1, extra=chunk(b"abCd", b"whatever")) + b"trailing"
    assert check_png(memoryview(data)).width == 45
    np.testing.assert_array_equal(pixels_of(decode_mask(memoryview(data))), DISK)


def test_a_deep_picture_of_many_pixels_does_not_take_all_its_unpacked_bytes() -> None:
    height, width = 1_000, 2_000  # 16 MB unpacked
    engine = zlib.compressobj(1)
    parts = [engine.compress(b"\4" + bytes(width * 8)) for _ in range(height)]
    idat = chunk(b"IDAT", b"".join([*parts, engine.flush()]))
    data = SIGNATURE + header(width, height, 16, 6) + idat + chunk(b"IEND")
    tracemalloc.start()
    mask = decode_mask(data)
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()
    assert not mask.rows.any()


def test_a_mask_is_proven_where_it_has_pixels_and_one_bit_of_grey_for_each() -> None:
    random = np.random.default_rng(8)
    for colour, depth in KINDS:
        for interlaced in (False, True):
            samples = random.integers(0, 1 << depth, (9, 21, CHANNELS[colour]))
            data = build(samples, colour, depth, [1, 4, 0, 2, 3], interlaced)
            usual = (colour, depth, interlaced) == (0, 1, False)
            assert prove_mask(data) == (ProvenMask(21, 9, False) if usual else None)


def test_a_mask_of_eight_bits_is_proven_where_its_differences_tell_one_value() -> None:
    """Whatever is proven says the same as the decoder; what has several values, or none, is left to that."""
    random = np.random.default_rng(12)
    n_proven = 0
    for round_ in range(400):
        height, width = random.integers(1, 40, 2).tolist()
        samples = np.zeros((height, width, 1), dtype=np.int64)
        values = random.choice([1, 122, 123, 255], size=1 + (round_ % 5 == 0))
        for _ in range(round_ % 4):
            top, left = random.integers(0, height), random.integers(-5, width)
            box = samples[top : top + random.integers(1, 20), max(left, 0) : max(left, 0) + random.integers(1, 40)]
            box[:] = random.choice(values)
        number = 1 if round_ % 7 else 0
        filters = [number] if round_ % 11 else [number, 2]
        data = build(samples, 0, 8, filters)
        decoded, proven = decode_mask(data), prove_mask(data)
        usual = decoded.changes is not None and decoded.is_binary and bool(samples.any())
        assert proven == (ProvenMask(width, height, decoded.is_dark) if usual else None)
        n_proven += usual
    assert 100 < n_proven < 300


def test_noise_of_eight_bits_is_left_to_the_decoder_without_a_place_for_each_byte() -> None:
    random = np.random.default_rng(13)
    noise = np.column_stack([np.ones(1_000, dtype=np.uint8), random.integers(0, 2, (1_000, 2_000), dtype=np.uint8)])
    data = raw_png(noise.tobytes(), 2_000, 1_000, 8)
    tracemalloc.start()
    assert prove_mask(data) is None
    assert tracemalloc.get_traced_memory()[1] < 6 << 20
    tracemalloc.stop()


def test_a_proof_knows_pixels_from_padding_whatever_the_filters() -> None:
    random = np.random.default_rng(9)
    for width in (1, 7, 8, 9, 16, 17, 40, 43):
        for _ in range(40):
            pixels = random.random((random.integers(1, 40), width)) < random.choice([0, 0.01, 0.5])
            row_bytes = (width + 7) // 8
            rows = np.packbits(pixels, axis=1)
            if width % 8 and random.random() < 0.5:  # bits that are no pixels
                rows[:, -1] |= np.uint8(0xFF >> width % 8)
            raw = apply_filters(rows, random.integers(0, 5, len(rows)).tolist(), 1)
            data = raw_png(raw, width, len(rows))
            found = prove_mask(data)
            assert found is None or pixels.any()
            # A pixel within the last byte of a row alone may need a closer look; nothing else does.
            certain = pixels[:, : 8 * (row_bytes - 1) if width % 8 else width].any()
            assert found is not None or not certain


def test_a_proof_refuses_what_the_decoder_refuses() -> None:
    random = np.random.default_rng(10)
    goods = one_bit(DISK), build(DISK[:, :, np.newaxis].astype(np.int64), 0, 8, [1])
    for round_ in range(800):
        good = goods[round_ % 2]
        broken = bytearray(good)
        broken[random.integers(len(good))] ^= 1 << int(random.integers(8))
        data = bytes(broken[: random.integers(1, len(good) + 1)] if random.random() < 0.3 else broken)
        proven: Any = outcome(prove_mask, data)
        expected = outcome(decode_mask, data)
        if isinstance(expected, DecodedMask):
            assert proven is None or (proven.width, proven.height) == (expected.width, expected.height)
        else:
            assert proven == expected


def outcome(look: Callable[..., object], data: bytes) -> object:
    try:
        return look(data, max_pixels=2000)
    except BadPNG as error:
        return error.detail
