"""Bad and odd pictures: bombs, lies, formats that are none; each in an upload of its own.

A bad one fails the request that attaches the pictures, by name and code, and the task stays without data. An odd one is
attached, for only headers are read then; whoever looks at it gets a picture or a refusal, never a failure.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.archive.zips import DEFLATED, Member, build, deflate
from tests.images.pngs import SIGNATURE, chunk, header, raw_png

Make = Callable[[], bytes]


@dataclass(frozen=True)
class BadPicture:
    """An upload of one file that must be refused.

    Attributes:
        file: its name, which the refusal must tell.
        code: that the refusal's report must hold; "": any.
    """

    file: str
    make: Make
    code: str = "image.bad"
    culprit: str = ""

    @property
    def named(self) -> str:
        return self.culprit or self.file


VIEWS = (
    "data?type=frame&number=0&quality=original",
    "data?type=frame&number=0&quality=compressed",
    "data?type=chunk&number=0&quality=compressed",
    "preview",
    "export?save_images=true",
)
"""What people look at a picture by; a chunk and an archive take a damaged one along as it is."""

BAD_PICTURES: dict[str, BadPicture] = {}
ODD_PICTURES: dict[str, tuple[str, Make]] = {}


def bad(name: str, file: str, make: Make, code: str = "image.bad", culprit: str = "") -> None:
    assert name not in BAD_PICTURES, name
    BAD_PICTURES[name] = BadPicture(file, make, code, culprit)


def odd(name: str, file: str, make: Make) -> None:
    assert name not in ODD_PICTURES, name
    ODD_PICTURES[name] = (file, make)


def saved(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    body = io.BytesIO()
    Image.new(mode, size).save(body, kind, **options)
    return body.getvalue()


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def black(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """A PNG of zeros, which packs a thousandfold."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * depth * channels + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    palette = [chunk(b"PLTE", bytes(3))] if colour == 3 else []
    return png(header(width, height, depth, colour, (0, 0, interlace)), *palette, chunk(b"IDAT", data))


def jpeg(*, size: tuple[int, int] | None = None, segments: bytes = b"") -> bytes:
    """A JPEG whose frame header lies about its size, with more segments in front."""
    body = bytearray(saved("JPEG"))
    if size is not None:
        at = body.index(b"\xff\xc0")
        body[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
    body[2:2] = segments
    return bytes(body)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def exif(*entries: tuple[int, int, int, int], directory: int = 8, count: int | None = None) -> bytes:
    """An EXIF segment of (tag, type, values, value) entries."""
    body = struct.pack("<2sHIH", b"II", 42, directory, len(entries) if count is None else count)
    body += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return segment(0xE1, b"Exif\0\0" + body + bytes(4))


def tiff(*entries: tuple[int, int, int, int], count: int | None = None) -> bytes:
    """A TIFF of one directory of (tag, type, values, value) entries."""
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries) if count is None else count)
    return body + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(68)


def tiff_size(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return tiff(*plain, (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 100), *more)


def gif(width: int, height: int, frames: int = 1) -> bytes:
    one = b"\x2c" + struct.pack("<4HB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    palette = bytes(12)
    return b"GIF89a" + struct.pack("<2H3B", width, height, 0x81, 0, 0) + palette + one * frames + b"\x3b"


def bmp(width: int, height: int, bits: int = 24, compression: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 100, 0, 0, 54) + info + bytes(100)


def webp(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def zipped(*members: Member) -> bytes:
    return build(*members)


# --- no pictures, whatever they are called

bad("nothing", "a.jpg", lambda: b"")
bad("a text", "a.png", lambda: b"hello, I am a picture")
bad("an SVG", "a.png", lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
bad("an SVG by its name", "a.svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "request.invalid")
bad("HTML", "a.jpg", lambda: b"<html><script>alert(1)</script></html>")
bad("PostScript", "a.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
bad("PDF", "a.jpg", lambda: b"%PDF-1.7\n" + bytes(100))
bad("Photoshop", "a.tif", lambda: b"8BPS\0\1" + bytes(100))
bad("a Windows icon", "a.bmp", lambda: saved("ICO"))
bad("JPEG 2000", "a.jpg", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
bad("an HEIF", "a.jpg", lambda: b"\0\0\0\x18ftypheic" + bytes(100))
bad("XML with an entity", "a.png", lambda: b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>")
bad("a program", "a.exe", lambda: b"MZ" + bytes(100), "request.invalid")
bad("only a dot as its kind", "a.", lambda: saved("PNG"), "request.invalid")

# --- headers that lie

bad("PNG: cut in its header", "a.png", lambda: SIGNATURE + b"\0\0\0\rIHDR\0\0")
bad("PNG: another first chunk", "a.png", lambda: png(chunk(b"tEXt", b"a\0b")))
bad("PNG: no width", "a.png", lambda: png(header(0, 5)))
bad("PNG: no height", "a.png", lambda: png(header(5, 0)))
bad("PNG: 2^31 - 1 squared", "a.png", lambda: png(header((1 << 31) - 1, (1 << 31) - 1)), "image.too_big")
bad("PNG: 2^32 - 1 wide", "a.png", lambda: png(header((1 << 32) - 1, 1)), "image.too_big")
bad("PNG: 14,000 x 14,000", "a.png", lambda: black(14_000, 14_000, 1), "image.too_big")
bad("JPEG: 65,535 squared", "a.jpg", lambda: jpeg(size=(65535, 65535)), "image.too_big")
bad("JPEG: no width", "a.jpg", lambda: jpeg(size=(0, 9)))
bad("JPEG: no height", "a.jpg", lambda: jpeg(size=(9, 0)))
bad("JPEG: no frame", "a.jpg", lambda: b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9")
bad("JPEG: cut in its header", "a.jpg", lambda: saved("JPEG")[:30])
bad("JPEG: a segment of no length", "a.jpg", lambda: b"\xff\xd8\xff\xe0\0\0" + bytes(100))
bad("JPEG: 100,000 segments", "a.jpg", lambda: b"\xff\xd8" + segment(0xFE, b"") * 100_000 + b"\xff\xd9")
bad("JPEG: 30 MB of fill bytes", "a.jpg", lambda: b"\xff\xd8" + b"\xff" * (30 << 20))
bad("GIF: no size", "a.gif", lambda: gif(0, 0))
bad("GIF: 65,535 squared", "a.gif", lambda: gif(65535, 65535), "image.too_big")
bad("GIF: without a frame", "a.gif", lambda: gif(40, 30, 0))
bad("GIF: cut", "a.gif", lambda: b"GIF89a\1")
bad("BMP: 2^31 - 1 squared", "a.bmp", lambda: bmp((1 << 31) - 1, (1 << 31) - 1), "image.too_big")
bad("BMP: below zero", "a.bmp", lambda: bmp(-5, -5))
bad("BMP: 77 bits", "a.bmp", lambda: bmp(5, 5, 77))
bad("BMP: an unknown compression", "a.bmp", lambda: bmp(5, 5, 24, 99))
bad("WEBP: 16,384 squared", "a.webp", lambda: webp(16384, 16384), "")
bad("WEBP: cut", "a.webp", lambda: saved("WEBP")[:20])
bad("TIFF: no directory", "a.tif", lambda: b"II*\0\xff\xff\xff\xff")
bad("TIFF: 100,000 squared", "a.tif", lambda: tiff_size(100_000, 100_000), "image.too_big")
bad("TIFF: 65,535 entries of which none is there", "a.tif", lambda: tiff(count=65535))
bad("TIFF: a billion values", "a.tif", lambda: tiff((256, 4, 1 << 30, 8), (257, 4, 1, 5)))
bad("TIFF: BigTIFF that is cut", "a.tif", lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8)
bad("EXIF that turns a picture that is none", "a.jpg", lambda: b"\xff\xd8" + exif((274, 3, 1, 6)) + b"\xff\xd9")

# --- zips of pictures

bad("zip: an empty picture", "p.zip", lambda: zipped(Member(b"x/a.png", data=b"")), culprit="x/a.png")
bad("zip: a text", "p.zip", lambda: zipped(Member(b"x/a.jpg", data=b"hello")), culprit="x/a.jpg")
bad("zip: no picture at all", "p.zip", lambda: zipped(Member(b"README.txt")), "request.invalid", "no picture")
bad("zip: climbs out", "p.zip", lambda: zipped(Member(b"../a.png", data=saved("PNG"))), "zip.unsafe_path", "../a.png")
bad(
    "zip: a name twice",
    "p.zip",
    lambda: zipped(Member(b"a.png", data=saved("PNG")), Member(b"A.PNG", data=saved("PNG"))),
    "zip.duplicate_member",
    "A.PNG",
)
bad(
    "zip: a bomb behind a header",
    "p.zip",
    lambda: zipped(Member(b"a.png", data=black(20, 20) + bytes(100 << 20), method=DEFLATED)),
    "zip.too_big",
    "a.png",
)
bad(
    "zip: a member that says 50 bytes and unpacks to 64 MiB",
    "p.zip",
    lambda: zipped(Member(b"a.jpg", data=bytes(50), method=DEFLATED, packed=deflate(bytes(64 << 20)))),
    "",
    "a.jpg",
)
bad("zip: encrypted", "p.zip", lambda: zipped(Member(b"a.png", data=saved("PNG"), flags=1)), "zip.encrypted", "a.png")
bad("zip: a link", "p.zip", lambda: zipped(Member(b"a.png", attributes=0o120777 << 16)), "zip.symlink", "a.png")


def many_empty() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for number in range(20_000):
            archive.writestr(zipfile.ZipInfo(f"{number:05}.png"), b"")
    return body.getvalue()


bad("zip: 20,000 empty pictures", "p.zip", many_empty, culprit="00000.png")

# --- odd ones, which show what they are when somebody looks

odd("PNG: no pixels", "a.png", lambda: png(header(20, 20)))
odd("PNG: pixels that are no zlib", "a.png", lambda: png(header(20, 20), chunk(b"IDAT", b"hello")))
odd("PNG: pixels that end early", "a.png", lambda: raw_png(bytes(50), 20, 20))
odd("PNG: a bomb of 60 MB behind 20 x 20", "a.png", lambda: raw_png(bytes(60 << 20), 20, 20))
odd("PNG: an unknown filter", "a.png", lambda: raw_png(b"\x09" * 100, 20, 20))
odd("PNG: 16 bits and three colours", "a.png", lambda: black(30, 20, 16, 2))
odd("PNG: 16 bits of grey", "a.png", lambda: black(30, 20, 16, 0))
odd("PNG: Adam7", "a.png", lambda: saved("PNG"))
odd("PNG: a palette of one colour", "a.png", lambda: black(30, 20, 8, 3))
odd("PNG: no palette", "a.png", lambda: png(header(9, 9, 8, 3), chunk(b"IDAT", zlib.compress(bytes(90)))))
odd("PNG: 169 million black pixels in 20 KB", "a.png", lambda: black(13_000, 13_000, 1))
odd("PNG: 169 million pixels with colours and alpha", "a.png", lambda: black(13_000, 13_000, 8, 6))
odd(
    "PNG: iCCP that unpacks to 100 MB",
    "a.png",
    lambda: png(
        header(9, 9, 8, 0),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100 << 20), 9)),
        chunk(b"IDAT", zlib.compress(bytes(90))),
    ),
)
odd(
    "PNG: 100 texts that unpack to 10 MB each",
    "a.png",
    lambda: png(
        header(9, 9, 8, 0),
        *(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10 << 20), 9)),) * 100,
        chunk(b"IDAT", zlib.compress(bytes(90))),
    ),
)
odd(
    "PNG: an animation of a million frames",
    "a.png",
    lambda: png(
        header(9, 9, 8, 0), chunk(b"acTL", struct.pack(">II", 1_000_000, 0)), chunk(b"IDAT", zlib.compress(bytes(90)))
    ),
)
odd(
    "PNG: eXIf of nonsense",
    "a.png",
    lambda: png(header(9, 9, 8, 0), chunk(b"eXIf", b"II*\0" + b"\xff" * 40), chunk(b"IDAT", zlib.compress(bytes(90)))),
)
odd("JPEG: cut in the middle", "a.jpg", lambda: saved("JPEG", (400, 300))[:-500])
odd("JPEG: 13,000 squared that is cut", "a.jpg", lambda: jpeg(size=(13_000, 13_000)))
odd("JPEG: progressive", "a.jpg", lambda: saved("JPEG", progressive=True))
odd("JPEG: four colours", "a.jpg", lambda: saved("JPEG", mode="CMYK"))
odd("JPEG: EXIF turned by 99", "a.jpg", lambda: jpeg(segments=exif((274, 3, 1, 99))))
odd("JPEG: EXIF turned a quarter", "a.jpg", lambda: jpeg(segments=exif((274, 3, 1, 6))))
odd("JPEG: EXIF turned by a billion values", "a.jpg", lambda: jpeg(segments=exif((274, 3, 1 << 30, 6))))
odd("JPEG: EXIF with a directory that points away", "a.jpg", lambda: jpeg(segments=exif(directory=0xFFFFFFF0)))
odd("JPEG: EXIF with a directory in itself", "a.jpg", lambda: jpeg(segments=exif((34665, 4, 1, 8), (274, 3, 1, 3))))
odd("JPEG: EXIF of 65,535 entries", "a.jpg", lambda: jpeg(segments=exif(count=65535)))
odd(
    "JPEG: ICC in 255 pieces",
    "a.jpg",
    lambda: jpeg(
        segments=b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i % 256, 255]) + bytes(9000)) for i in range(255))
    ),
)
odd("JPEG: junk at its end", "a.jpg", lambda: jpeg() + b"PK\x03\x04<script>" * 100)
odd("GIF: a thousand frames", "a.gif", lambda: gif(40, 30, 1000))
odd("GIF: 13,000 squared", "a.gif", lambda: gif(13_000, 13_000))
odd(
    "WEBP: animated",
    "a.webp",
    lambda: saved("WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30), i) for i in range(30)]),
)
odd("WEBP: lossless with alpha", "a.webp", lambda: saved("WEBP", mode="RGBA", lossless=True))
odd("TIFF: many pages", "a.tif", lambda: saved("TIFF", save_all=True, append_images=[Image.new("RGB", (40, 30))] * 20))
odd("TIFF: floats", "a.tif", lambda: _tiff_of(np.full((20, 30), np.nan, dtype=np.float32)))
odd("TIFF: 16 bits", "a.tif", lambda: _tiff_of(np.arange(600, dtype=np.uint16).reshape(20, 30)))
odd("TIFF: a directory that follows itself", "a.tif", lambda: _looped(saved("TIFF")))
odd("TIFF: pixels that are not there", "a.tif", lambda: tiff_size(5000, 5000))
odd("TIFF: 5,000 values for one tag", "a.tif", lambda: tiff_size(50, 50, (700, 4, 5000, 8)))
odd("BMP: top down", "a.bmp", lambda: bmp(5, -5))
odd("BMP: cut", "a.bmp", lambda: saved("BMP")[:80])
odd("BMP: 13,000 squared of 100 bytes", "a.bmp", lambda: bmp(13_000, 13_000))


def _tiff_of(samples: npt.NDArray[np.generic]) -> bytes:
    body = io.BytesIO()
    Image.fromarray(samples).save(body, "TIFF")
    return body.getvalue()


def _looped(body: bytes) -> bytes:
    (first,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, first)
    at = first + 2 + 12 * count
    return body[:at] + struct.pack("<I", first) + body[at + 4 :]
