"""Pictures for people to look at: upright, compressed, small, and made up.

Every picture is measured first (`sizes.py`), so only the known kinds reach a decoder, and only that kind's decoder.
The orientation found there is the one applied here, so pixels and stored sizes agree.

Nothing is decoded that would need more than `MAX_DECODED_BYTES` for its pixels, in all forms that it goes through: 20
KB of PNG may stand for 169 million pixels. Such pictures can be looked at as they came; browsers decode them elsewhere.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import AppError
from app.images.sizes import MAX_PICTURE_PIXELS, BadPicture, PictureSize, PictureTooBig, damage, read_size

MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
}
MAX_DECODED_BYTES = 384 << 20
"""About 96 million pixels of colours, half of that where they are turned or have an alpha channel."""
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "RGB": 4}
"""Of one pixel of a decoded picture and its form in colours; others take 4, and 4 more in colours."""
DEEP_BYTES = 32
"""Of one pixel of deep grey, on its way through floats."""
WEBP_BYTES = 8
"""Of one pixel within the decoder of WEBP, which holds a picture twice."""
HIGH_QUALITY = 95
PREVIEW_QUALITY = 85
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright."""


def upright_picture(data: bytes, *, max_pixels: int = MAX_PICTURE_PIXELS) -> tuple[bytes, str]:
    """The picture as uploaded, turned upright if its EXIF data says so; and its MIME type.

    An upright picture comes back as the very same bytes, another one in the same format at high quality.
    Raises BadPicture, PictureTooBig (too big to be turned).
    """
    size = read_size(data, max_pixels=max_pixels)
    if size.is_upright:
        return data, MIME_TYPES[size.format]
    with _open(data, size) as picture:
        _check_cost(picture, size, in_colours=False, turned=True)
        turned = _turn(picture, size)
        return _save(turned, size.format, HIGH_QUALITY, picture.info.get("icc_profile")), MIME_TYPES[size.format]


def compress_picture(data: bytes, quality: int = 70, *, max_pixels: int = MAX_PICTURE_PIXELS) -> bytes:
    """An RGB JPEG of the upright picture's size. Raises BadPicture, PictureTooBig."""
    size = read_size(data, max_pixels=max_pixels)
    with _open(data, size) as picture:
        _check_cost(picture, size, in_colours=True, turned=not size.is_upright)
        return _save(_turn(_to_rgb(picture), size), "JPEG", quality)


def make_preview(data: bytes, side: int = 256, *, max_pixels: int = MAX_PICTURE_PIXELS) -> bytes:
    """An upright RGB JPEG that fits into side x side pixels, never enlarged. Raises BadPicture, PictureTooBig."""
    size = read_size(data, max_pixels=max_pixels)
    with _open(data, size) as picture:
        # A JPEG is decoded at a fraction of its size, the smallest that is still twice what is wanted.
        picture.draft("RGB", (2 * side, 2 * side))
        _check_cost(picture, size, in_colours=True, turned=False)
        small = _to_rgb(picture)
        small.thumbnail((side, side), reducing_gap=2.0)
        return _save(_turn(small, size), "JPEG", PREVIEW_QUALITY)


def encode_picture(pixels: npt.NDArray[np.uint8], format: str = "JPEG", quality: int = HIGH_QUALITY) -> bytes:
    """A picture of (height, width, 3) RGB or (height, width) grey uint8; `format`: "JPEG" or "PNG"."""
    return _save(Image.fromarray(np.ascontiguousarray(pixels)), format, quality)


def make_picture(width: int, height: int, seed: int = 0, format: str = "JPEG") -> bytes:
    """A picture for demonstrations: soft colours and shapes drawn from the seed. `format`: "JPEG" or "PNG"."""
    random = np.random.default_rng(seed)
    y = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    corners = random.uniform(90, 235, (4, 3)).astype(np.float32)
    weights = ((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y)  # four (height, width)
    pixels = sum(weight[:, :, None] * corner for weight, corner in zip(weights, corners, strict=True))
    canvas = np.asarray(pixels)  # (height, width, 3)
    for _ in range(int(random.integers(3, 7))):
        centre_x, centre_y, radius_x, radius_y = random.uniform((0.1, 0.1, 0.05, 0.05), (0.9, 0.9, 0.25, 0.25))
        inside = ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2 <= 1.0
        canvas[inside] = random.uniform(20, 250, 3)
    return encode_picture(canvas.astype(np.uint8), format)


@contextmanager
def _open(data: bytes, size: PictureSize) -> Iterator[Image.Image]:
    """The picture, read by its kind's decoder alone; what goes wrong within the block is the picture's fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of big pictures (checked already) and of odd metadata
        try:
            with Image.open(io.BytesIO(data), formats=(size.format,)) as picture:
                yield picture
        except Image.DecompressionBombError as error:
            raise PictureTooBig(f"the {size.format} picture has too many pixels; make it smaller") from error
        except (MemoryError, AppError):
            raise  # the machine's fault; ours
        except Exception as error:
            raise BadPicture(damage(size.format, error)) from error


def _check_cost(picture: Image.Image, size: PictureSize, *, in_colours: bool, turned: bool) -> None:
    """Refuse what would need too much memory, by what the opened but not yet decoded picture says of itself.

    Raises:
        PictureTooBig.
    """
    is_deep = picture.mode.startswith(("I", "F")) and picture.mode not in MODE_BYTES
    pixel = DEEP_BYTES if is_deep else MODE_BYTES.get(picture.mode, 4)
    pixel += DEEP_BYTES if in_colours and picture.mode.startswith("I;") else 0
    pixel += 4 if in_colours and picture.mode != "RGB" else 0
    pixel += (4 if in_colours else MODE_BYTES.get(picture.mode, 4)) if turned or size.format == "TIFF" else 0
    pixel += WEBP_BYTES if size.format == "WEBP" else 0
    needed = picture.width * picture.height * pixel
    if needed > MAX_DECODED_BYTES:
        raise PictureTooBig(
            f"the {size.format} picture of {size.width} x {size.height} pixels needs {needed >> 20} MiB to be decoded, "
            f"more than the {MAX_DECODED_BYTES >> 20} allowed; it can be had as it was uploaded"
        )


def _turn(picture: Image.Image, size: PictureSize) -> Image.Image:
    if size.format == "TIFF":
        return picture.copy()  # Pillow has turned it while decoding
    transposition = UPRIGHT.get(size.orientation)
    return picture if transposition is None else picture.transpose(transposition)


def _to_rgb(picture: Image.Image) -> Image.Image:
    """8 bits a channel. Deep grey pictures are scaled to their brightest pixel, as CVAT does, instead of cut at 255."""
    if picture.mode.startswith("I") or picture.mode == "F":
        samples = np.nan_to_num(np.asarray(picture, dtype=np.float64)).clip(min=0.0)
        brightest = float(samples.max())
        scaled = samples * (255.0 / brightest) if brightest > 0 else samples
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _save(picture: Image.Image, format: str, quality: int, icc_profile: bytes | None = None) -> bytes:
    options: dict[str, object] = {"icc_profile": icc_profile} if icc_profile else {}
    if format in ("JPEG", "WEBP"):
        options["quality"] = max(1, quality)  # to Pillow 0 is "whatever is usual"
    if format == "JPEG" and quality >= HIGH_QUALITY:
        options["subsampling"] = 0
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()
