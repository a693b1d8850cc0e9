from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.images import (
    MIME_TYPES,
    BadPicture,
    PictureTooBig,
    compress_picture,
    encode_picture,
    make_picture,
    make_preview,
    read_size,
    upright_picture,
)
from tests.images.pngs import SIGNATURE, build, chunk, header
from tests.images.test_sizes import FORMATS, WITH_EXIF


def draw(width: int = 64, height: int = 40) -> Image.Image:
    """Four areas of plain colour: a turn or a flip shows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (250, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 250, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 250)
    pixels[height // 2 :, width // 2 :] = (240, 240, 240)
    return Image.fromarray(pixels)


def encode(picture: Image.Image, kind: str, orientation: int | None = None) -> bytes:
    options: dict[str, object] = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def decode(data: bytes, kind: str) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=(kind,)) as picture:
        picture.load()
        return picture.copy()


def assert_alike(picture: Image.Image, expected: Image.Image, most: float = 12.0) -> None:
    assert picture.size == expected.size
    a = np.asarray(picture.convert("RGB"), dtype=np.float64)
    assert np.abs(a - np.asarray(expected.convert("RGB"), dtype=np.float64)).mean() < most


@pytest.mark.parametrize("kind", FORMATS)
def test_an_upright_picture_comes_back_as_the_very_bytes(kind: str) -> None:
    data = encode(draw(), kind)
    assert upright_picture(data) == (data, MIME_TYPES[kind])


@pytest.mark.parametrize("kind", WITH_EXIF)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_is_turned_upright_in_its_own_format(kind: str, orientation: int) -> None:
    data = encode(draw(), kind, orientation)
    with Image.open(io.BytesIO(data)) as picture:
        expected = ImageOps.exif_transpose(picture)
    upright, mime_type = upright_picture(data)
    assert mime_type == MIME_TYPES[kind]
    size = read_size(upright)
    assert size.is_upright
    assert (size.width, size.height) == expected.size == (read_size(data).width, read_size(data).height)
    assert_alike(decode(upright, kind), expected, 4.0)
    assert_alike(decode(compress_picture(data), "JPEG"), expected)
    assert_alike(decode(make_preview(data), "JPEG"), expected)


def test_the_colour_profile_of_a_turned_picture_is_kept() -> None:
    exif = Image.Exif()
    exif[274] = 3
    out = io.BytesIO()
    draw().save(out, "JPEG", exif=exif, icc_profile=b"profile bytes")
    assert decode(upright_picture(out.getvalue())[0], "JPEG").info["icc_profile"] == b"profile bytes"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_compressed_picture_is_an_rgb_jpeg_of_the_same_size(kind: str) -> None:
    data = encode(draw(63, 41), kind)
    compressed = decode(compress_picture(data), "JPEG")
    assert compressed.mode == "RGB"
    assert_alike(compressed, draw(63, 41))


def test_quality_makes_files_smaller() -> None:
    data = make_picture(300, 200, 1, "PNG")
    assert len(compress_picture(data, 10)) < len(compress_picture(data, 70)) < len(compress_picture(data, 95))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert_alike(decode(compress_picture(encode(draw().convert(mode), kind)), "JPEG"), draw().convert(mode), 25.0)


def test_deep_grey_is_scaled_to_its_brightest_pixel_not_cut() -> None:
    samples = np.linspace(0, 4095, 64 * 40).reshape(40, 64, 1).astype(np.int64)
    data = build(samples, 0, 16)
    for result in (compress_picture(data, 95), make_preview(data)):
        grey = np.asarray(decode(result, "JPEG").convert("L"), dtype=np.float64)
        assert np.abs(grey - samples[..., 0] / 4095 * 255).max() < 12
    black = build(np.zeros((4, 5, 1), dtype=np.int64), 0, 16)
    assert np.asarray(decode(compress_picture(black), "JPEG")).max() <= 2


@pytest.mark.parametrize(
    ("size", "preview"),
    [((1000, 500), (256, 128)), ((500, 1000), (128, 256)), ((100, 60), (100, 60)), ((3000, 2), (256, 1))],
    ids=["wide", "tall", "small already", "a line"],
)
def test_a_preview_fits_and_is_never_enlarged(size: tuple[int, int], preview: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        assert decode(make_preview(encode(draw(*size), kind)), "JPEG").size == preview
    assert max(decode(make_preview(encode(draw(*size), "PNG"), side=32), "JPEG").size) == 32


def test_pictures_made_up_follow_the_seed() -> None:
    for format in ("JPEG", "PNG"):
        data = make_picture(64, 48, 3, format)
        assert read_size(data).format == format
        assert (read_size(data).width, read_size(data).height) == (64, 48)
        assert data == make_picture(64, 48, 3, format)
        assert data != make_picture(64, 48, 4, format)
    assert read_size(make_picture(1, 1)).width == 1


def test_arrays_become_pictures() -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.testing.assert_array_equal(np.asarray(decode(encode_picture(grey, "PNG"), "PNG")), grey)
    colour = np.asarray(draw())
    np.testing.assert_array_equal(np.asarray(decode(encode_picture(colour, "PNG"), "PNG")), colour)
    assert_alike(decode(encode_picture(colour), "JPEG"), draw(), 4.0)


@pytest.mark.parametrize("function", [compress_picture, make_preview])
def test_a_picture_cut_short_is_refused(function: object) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8))
    for kind in ("JPEG", "PNG", "BMP", "TIFF"):
        data = encode(noise, kind)
        with pytest.raises(BadPicture, match="damaged"):
            function(data[: len(data) // 2])  # type: ignore[operator]


@pytest.mark.parametrize("function", [upright_picture, compress_picture, make_preview])
def test_limits_and_kinds_are_checked_before_decoding(function: object) -> None:
    data = encode(draw(), "PNG")
    with pytest.raises(PictureTooBig):
        function(data, max_pixels=100)  # type: ignore[operator]
    with pytest.raises(BadPicture):
        function(b"%PDF-1.7")  # type: ignore[operator]


def test_pillows_own_limit_holds_when_the_caller_sets_a_higher_one() -> None:
    bomb = SIGNATURE + header(30_000, 30_000, 8) + chunk(b"IDAT", b"") + chunk(b"IEND")
    with pytest.raises(PictureTooBig):
        compress_picture(bomb, max_pixels=10**12)


def test_want_of_memory_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(MemoryError):
        compress_picture(encode_picture(np.zeros((8, 8), dtype=np.uint8)))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_a_picture_is_decoded_only_within_the_memory_for_it(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upright, turned = (encode(Image.new(mode, (100, 50)), "PNG", orientation) for orientation in (None, 6))
    monkeypatch.setattr("app.images.pictures.MAX_DECODED_BYTES", 100 * 50 * 13)
    assert compress_picture(upright)
    assert compress_picture(turned)
    assert make_preview(upright)
    monkeypatch.setattr("app.images.pictures.MAX_DECODED_BYTES", 100 * 50 // 2)
    for refused in (compress_picture, make_preview, upright_picture):
        with pytest.raises(PictureTooBig, match="as it was uploaded"):
            refused(turned)
    assert upright_picture(upright)[0] == upright
