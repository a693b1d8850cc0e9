from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.errors import TooLarge
from app.images import MAX_PICTURE_PIXELS, BadPicture, PictureTooBig, measure_picture, read_size
from tests.images.pngs import SIGNATURE, chunk, header

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF")


def encode(kind: str, width: int, height: int, orientation: int | None = None, **options: object) -> bytes:
    picture = Image.fromarray(np.full((height, width, 3), 120, dtype=np.uint8))
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif(order: str, tag: int, kind: int, count: int, value: int, offset: int = 8, entries: int = 1) -> bytes:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    number = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    return magic + struct.pack(order + "IHHHI", offset, entries, tag, kind, count) + number


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG header of 30 x 20 with the given segments before its frame."""
    frame = (0xC0, struct.pack(">BHHB", 8, 20, 30, 1) + b"\1\x11\0")
    parts = [bytes([0xFF, m]) + struct.pack(">H", len(body) + 2) + body for m, body in (*segments, frame)]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xda"


@pytest.mark.parametrize("kind", FORMATS)
def test_size_and_kind_of_every_format(kind: str) -> None:
    size = read_size(encode(kind, 37, 21))
    assert (size.width, size.height, size.orientation, size.format) == (37, 21, 1, kind)
    assert size.is_upright


@pytest.mark.parametrize("kind", WITH_EXIF)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_the_one_pillow_finds_and_sizes_are_upright(kind: str, orientation: int) -> None:
    data = encode(kind, 37, 21, orientation)
    size = read_size(data)
    with Image.open(io.BytesIO(data)) as picture:
        assert size.orientation == orientation == picture.getexif().get(274, 1)
        assert (size.width, size.height) == ImageOps.exif_transpose(picture).size
    assert size.is_upright == (orientation == 1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_only_the_header_of_a_large_jpeg_is_read(options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG", quality=95, **options)
    data = out.getvalue()
    read = []

    def read_at(offset: int, length: int) -> bytes:
        read.append(length)
        return data[offset : offset + length]

    size = measure_picture(read_at, len(data))
    assert (size.width, size.height) == (500, 400)
    assert sum(read) < 8_000 < len(data)


def test_a_frame_behind_long_segments_is_found() -> None:
    long_segments = [(0xE2, bytes(65_000))] * 5
    size = read_size(jpeg_with((0xE1, b"Exif\0\0" + exif(">", 274, 3, 1, 6)), *long_segments))
    assert (size.width, size.height, size.orientation) == (20, 30, 6)


@pytest.mark.parametrize(
    ("body", "orientation"),
    [
        (exif("<", 274, 3, 1, 6), 6),
        (exif(">", 274, 3, 1, 8), 8),
        (exif(">", 274, 4, 1, 3), 3),
        (exif("<", 273, 3, 1, 6), 1),
        (exif("<", 274, 3, 1, 0), 1),
        (exif("<", 274, 3, 1, 9), 1),
        (exif("<", 274, 3, 2, 6), 1),
        (exif("<", 274, 2, 1, 6), 1),
        (exif("<", 274, 3, 1, 6, offset=4_000_000_000), 1),
        (exif("<", 274, 3, 1, 6, entries=65_535), 6),
        (exif("<", 275, 3, 1, 6, entries=65_535), 1),
        (exif("<", 274, 3, 1, 6)[:14], 1),
        (exif("<", 274, 3, 1, 6)[:6], 1),
        (b"XX*\0" + exif("<", 274, 3, 1, 6)[4:], 1),
        (b"", 1),
    ],
    ids=[
        "little endian",
        "big endian",
        "long",
        "another tag",
        "zero",
        "nine",
        "two values",
        "text",
        "directory far away",
        "more entries than there are, found",
        "more entries than there are, not found",
        "entry cut short",
        "header cut short",
        "unknown byte order",
        "nothing",
    ],
)
def test_damaged_exif_data_never_does_harm(body: bytes, orientation: int) -> None:
    assert read_size(jpeg_with((0xE1, b"Exif\0\0" + body))).orientation == orientation
    png = SIGNATURE + header(30, 20, 8) + chunk(b"eXIf", body) + chunk(b"IDAT")
    assert read_size(png).orientation == orientation


def test_fill_bytes_and_markers_without_length_are_passed() -> None:
    data = jpeg_with()
    assert read_size(data[:2] + b"\xff\xff\xff\x01\xff\xd0" + data[2:]).width == 30


def test_orientation_after_the_frame_counts_too() -> None:
    data = jpeg_with()[:-2]
    segment = b"Exif\0\0" + exif("<", 274, 3, 1, 6)
    late = data + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + b"\xff\xda"
    assert read_size(late).orientation == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        b"8BPS\0\1" + bytes(40),
        b"\0\0\1\0\1\0" + bytes(40),
        b"P5 3 3 255\n" + bytes(9),
        b"RIFF\0\0\0\0WAVE" + bytes(40),
        bytes(100),
    ],
    ids=["nothing", "one byte", "SVG", "EPS", "PDF", "PSD", "ICO", "PGM", "WAV", "zeros"],
)
def test_other_kinds_are_refused_by_their_first_bytes(data: bytes) -> None:
    with pytest.raises(BadPicture) as refused:
        read_size(data)
    assert refused.value.code == "image.bad"


@pytest.mark.parametrize("kind", FORMATS)
def test_headers_cut_short_are_refused_or_hold_the_size_already(kind: str) -> None:
    data = encode(kind, 37, 21)
    for length in range(min(len(data), 700)):
        try:
            size = read_size(data[:length])
        except BadPicture:
            continue
        assert (size.width, size.height) == (37, 21)


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_end_in_a_size_or_a_known_error(kind: str) -> None:
    random = np.random.default_rng(1)
    data = encode(kind, 37, 21, 6 if kind in WITH_EXIF else None)
    for _ in range(300):
        broken = bytearray(data)
        for place in random.integers(0, min(len(data), 400), 3):
            broken[place] = int(random.integers(0, 256))
        try:
            size = read_size(bytes(broken))
        except (BadPicture, PictureTooBig):
            continue
        assert size.width * size.height <= MAX_PICTURE_PIXELS


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + header(30_000, 30_000, 8) + chunk(b"IDAT", zlib.compress(b"")),
        jpeg_with()[:7] + struct.pack(">HH", 65_535, 65_535) + jpeg_with()[11:],
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + encode("GIF", 5, 5)[10:],
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0),
    ],
    ids=["PNG", "JPEG", "GIF", "BMP"],
)
def test_bombs_are_refused_by_their_header(data: bytes) -> None:
    with pytest.raises(PictureTooBig) as refused:
        read_size(data)
    assert refused.value.code == "image.too_big"
    assert isinstance(refused.value, TooLarge)


def test_the_limit_is_the_callers() -> None:
    data = encode("PNG", 40, 30)
    assert read_size(data, max_pixels=1200).width == 40
    with pytest.raises(PictureTooBig, match="40 x 30 pixels, more than the 1199"):
        read_size(data, max_pixels=1199)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(BadPicture, match="0 x 20"):
        read_size(SIGNATURE + header(0, 20, 8) + chunk(b"IDAT"))
    with pytest.raises(BadPicture, match="no frame header"):
        read_size(b"\xff\xd8\xff\xd9" + bytes(10))
    with pytest.raises(BadPicture, match="no frame header"):
        read_size(b"\xff\xd8\xff\xe0\0\1" + bytes(10))
    with pytest.raises(BadPicture, match="IHDR"):
        read_size(SIGNATURE + chunk(b"IDAT") + bytes(30))


def test_endless_headers_are_given_up() -> None:
    comments = jpeg_with(*[(0xFE, b"")] * 5000)
    with pytest.raises(BadPicture, match="no frame header"):
        read_size(comments)
    png = SIGNATURE + header(30, 20, 8) + chunk(b"tEXt", b"") * 5000 + chunk(b"eXIf", exif("<", 274, 3, 1, 6))
    assert read_size(png).orientation == 1
