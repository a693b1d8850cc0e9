"""What is fuzzed: a function of bytes for each reader of what strangers send. Anything but an AppError is a defect.

Where there is a second reader, both must agree: what the strict zip reader takes, `zipfile` reads to the same bytes;
what `check_png` takes, `decode_mask` decodes.
"""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers

from app.api import tus
from app.api.bodies import parse_json
from app.api.decoding import JSONLimits, decode
from app.api.forms import FormLimits, FormReader
from app.archive import ArchiveLimits, BytesSource, open_archive
from app.columns.csv import CSVReader
from app.errors import AppError, Report
from app.formats import ImportOptions
from app.formats.open_images.hierarchy import read_hierarchy
from app.formats.open_images.sizes import read_sizes
from app.images import compress_picture, make_preview
from app.images.png import BadPNG, check_png, decode_mask
from tests.api.test_encoding import FRAMES, LABELS, body_of
from tests.archive import zips
from tests.formats.builders import OPEN_IMAGES, labels, target
from tests.formats.memory import MemorySink
from tests.hostile import parts
from tests.hostile.pictures import saved

Target = Callable[[bytes], None]

SMALL = ArchiveLimits(max_entries=100, max_member_bytes=1 << 20, max_total_bytes=4 << 20, ratio_from_bytes=1 << 16)
TABLES = (parts.BOXES, parts.TAGS, parts.MASKS, parts.IMAGES, parts.CLASSES, parts.META, parts.TREE, parts.PNG)
SIDE = "annotations/oid_extra.json"
MEMBERS = (*TABLES, SIDE)


@dataclass(frozen=True)
class Fuzzed:
    """One target, and inputs to begin with."""

    run: Target
    seeds: Callable[[], list[bytes]]


def strict_zip(data: bytes) -> None:
    try:
        archive = open_archive(BytesSource(data), SMALL)
        archive.verify()
        found = zips.contents(archive)
    except AppError:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        told = {info.filename: other.read(info) for info in other.infolist() if not info.is_dir()}
    assert sorted(found.values()) == sorted(told.values()), "two readers read two things"


def table(data: bytes) -> None:
    pieces = [data[at : at + 37] for at in range(0, len(data), 37)]
    for block_bytes in (64, 1 << 20):
        report = Report()
        try:
            reader = CSVReader(
                pieces, report, "a.csv", known=("A", "B"), required=("A",), max_field_bytes=200, block_bytes=block_bytes
            )
            rows = [tuple(block.rows.tolist()) for block in reader]
        except AppError:
            continue
        assert all(len(block) <= len(data) for block in rows)


def mask(data: bytes) -> None:
    try:
        check_png(data, max_pixels=1 << 16)
    except BadPNG:
        taken = False
    else:
        taken = True
    try:
        decode_mask(data, max_pixels=1 << 16)
    except BadPNG:
        assert not taken, "what was checked cannot be decoded"
    else:
        assert taken, "what was refused can be decoded"


def signed_mask(data: bytes) -> None:
    """The same with CRCs set right, so that the fuzzer gets beyond them."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    mask(bytes(out))


def picture(data: bytes) -> None:
    for look in (make_preview, compress_picture):
        try:
            look(data, max_pixels=1 << 18)
        except AppError:
            continue


def tus_headers(data: bytes) -> None:
    text = data.decode("latin-1")
    length, _, metadata = text.partition("\n")
    for read in (
        lambda: tus.parse_size(Headers({"upload-length": length}), "upload-length"),
        lambda: tus.plain_filename(tus.parse_metadata(metadata)),
    ):
        try:
            found = read()
        except AppError:
            continue
        assert isinstance(found, int) or ("/" not in found and "\\" not in found and found.strip("."))


class Nowhere:
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it."""


def multipart(data: bytes) -> None:
    step = data[0] + 1 if data else 1
    try:
        reader = FormReader(
            "multipart/form-data; boundary=X", FormLimits(3, 3, 100, 200), lambda name: name == "f", lambda _: Nowhere()
        )
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
        reader.close()
    except AppError:
        return


def labeled_data(data: bytes) -> None:
    try:
        decode(data, FRAMES, LABELS, JSONLimits(max_body_bytes=1 << 16, max_points=100, max_shapes=50))
    except AppError:
        return


def json_body(data: bytes) -> None:
    try:
        parse_json(data, 8)
    except AppError:
        return


def hierarchy(data: bytes) -> None:
    report = Report()
    found = read_hierarchy(data, "tree.json", report)
    assert (found is None) == (report.n_errors > 0)


def sizes(data: bytes) -> None:
    list(read_sizes([data[:5], data[5:]], "images.meta", Report()))


def archive(data: bytes) -> None:
    """One member of a sound archive is the input: its first byte says which."""
    name = MEMBERS[data[0] % len(MEMBERS)] if data else SIDE
    body = parts.tree({name: data[1:]})
    assert OPEN_IMAGES.read is not None
    try:
        OPEN_IMAGES.read(
            open_archive(BytesSource(body)),
            target(parts.FRAMES, labels(*parts.LABELS)),
            ImportOptions(max_mask_pixels=1 << 16),
            MemorySink(),
            Report(),
            lambda done: None,
        )
    except AppError:
        return


def _zips() -> list[bytes]:
    plain = zips.Member()
    return [
        zips.build(plain, zips.Member(b"b/c.csv", method=zips.DEFLATED)),
        zips.build(zips.streamed(), zips.streamed(b"b.csv", signature=False, wide=True)),
        zips.build(plain, end64={}, comment=b"a comment"),
        zips.build(zips.Member(extra=zips.zip64_field(len(zips.CSV), len(zips.CSV))), end64={}),
        zips.build(zips.Member(b"l?.txt", extra=zips.unicode_path(b"l?.txt", "l\u0142.txt"))),
    ]


def _members() -> list[bytes]:
    return [bytes([place]) + parts.members().get(name, b"{}") for place, name in enumerate(MEMBERS)]


LABELED = (
    b'{"version":0,"tags":[{"frame":0,"label_id":1,"attributes":[]}],"shapes":[{"type":"mask","frame":1,"label_id":1,'
    b'"points":[0,4,0,0,1,1]},{"type":"polygon","frame":2,"label_id":2,"points":[1,1,2,2,3,1],"group":1}],"tracks":'
    b'[{"frame":0,"label_id":1,"shapes":[{"type":"rectangle","frame":0,"points":[1,1,2,2],"outside":false}]}]}'
)

TARGETS: dict[str, Fuzzed] = {
    "zip": Fuzzed(strict_zip, _zips),
    "csv": Fuzzed(table, lambda: [b"A,B\n1,2\n", b'A,B\r\n"1\n2","a""b"\r\n', b"\xef\xbb\xbfB,A\r1,2"]),
    "png": Fuzzed(mask, lambda: [parts.mask()]),
    "signed-png": Fuzzed(signed_mask, lambda: [parts.mask()]),
    "picture": Fuzzed(picture, lambda: [saved(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")]),
    "tus": Fuzzed(tus_headers, lambda: [b"123\nfilename YS56aXA=,x", b"5\nname YQ=="]),
    "multipart": Fuzzed(
        multipart,
        lambda: [b'--X\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nPK\r\n--X--\r\n'],
    ),
    "json": Fuzzed(labeled_data, lambda: [body_of(shapes=[], tags=[], tracks=[]), LABELED]),
    "body": Fuzzed(json_body, lambda: [b'{"a": [1, 2.5, "x", null, true]}']),
    "hierarchy": Fuzzed(hierarchy, lambda: [parts.members()[parts.TREE]]),
    "meta": Fuzzed(sizes, lambda: [parts.members()[parts.META], b"'it''s' 5 6\n"]),
    "archive": Fuzzed(archive, _members),
}


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A few changes, for where there is no fuzzer that is guided by coverage."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0 if out:
                out[at % len(out)] = chance.choice((0, 0xFF, 0x80, 0x7F, chance.randrange(256)))
            case 1 if out:
                out[at % len(out)] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.randint(1, 16)]
            case 3:
                out[at:at] = out[: chance.randint(0, 40)]
            case _:
                out[at:at] = chance.randbytes(chance.randint(1, 4))
    return bytes(out)
