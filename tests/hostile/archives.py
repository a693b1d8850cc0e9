"""Bad archives: what is wrong with each, and what the refusal must name.

Zips whose structure lies are those of `tests.archive.test_hostile_zips`; here they go through the whole service. All
others are a sound archive that is spoiled in one place.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.archive import test_hostile_zips as zips
from tests.archive.zips import DEFLATED, UTF8, Member, build, deflate, zip64_field
from tests.hostile.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    IMAGE_HEADER,
    IMAGES,
    MASK_HEADER,
    MASKS,
    META,
    PNG,
    TAG_HEADER,
    TAGS,
    TREE,
    box,
    chunk,
    header,
    mask,
    mask_row,
    members,
    only,
    png_of,
    tree,
)
from tests.images.pngs import raw_png


@dataclass(frozen=True)
class Bad:
    """A bad archive and the problem that must be told; what is None is not looked at.

    Attributes:
        code: of that problem.
        value: a text that the problem's value or message must hold.
        status: of the one-call door.
    """

    make: Callable[[], bytes]
    code: str
    file: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None
    status: int = 400


BAD: dict[str, Bad] = {}


def bad(name: str, make: Callable[[], bytes], code: str, *place: object, **more: object) -> None:
    assert name not in BAD, name
    BAD[name] = Bad(make, code, *place, **more)  # type: ignore[arg-type]


def csv_case(
    name: str,
    file: str,
    body: bytes | Callable[[], bytes],
    code: str,
    row: int | None = None,
    column: str | None = None,
    value: str | None = None,
) -> None:
    """A file is this instead. A long body is made when it is asked for: whoever looks for tests needs none."""
    bad(name, lambda: tree({file: body() if callable(body) else body}), code, file, row, column, value)


# --- the structure of the zip

for _name, _make in zips.INVALID.items():
    if not _make():
        continue  # an empty body is a bad request, no bad archive
    bad(f"zip: {_name}", _make, "zip.invalid")
for _name in (
    "Deflate64",
    "bzip2",
    "LZMA",
    "Zstandard",
    "an unknown method",
    "a method over 255",
    "a version that is not there yet",
):
    bad(f"zip: {_name}", zips.BAD_STREAMS[_name], "zip.bad_member", "a.csv")
for _name, _make in zips.LINKS.items():
    bad(f"zip: {_name}", _make, "zip.symlink", "link.csv")
for _name, _make in zips.ENCRYPTED.items():
    bad(f"zip: {_name}", _make, "zip.encrypted")
for _name, _pair in zips.DOUBLES.items():
    bad(
        f"zip: {_name}",
        lambda pair=_pair: build(  # type: ignore[misc]
            *(Member(name, data=b"" if name.endswith(b"/") else b"x\n", flags=UTF8) for name in pair)
        ),
        "zip.duplicate_member",
    )
for _name, _text in {
    "absolute": b"/etc/passwd",
    "climbs out": b"annotations/../../../etc/cron.d/x",
    "climbs by backslash": b"..\\..\\x.csv",
    "a drive": b"C:/x.csv",
    "a UNC path": b"//server/share/x.csv",
    "an empty part": b"annotations//x.csv",
    "a NUL": b"x.csv\0.png",
    "a terminal's escape": b"x\x1b[2J.csv",
    "a component of 256 bytes": b"x" * 256,
    "1025 bytes": b"/".join([b"x" * 204] * 5) + b"x",
    "33 folders": b"d/" * 33 + b"x.csv",
    "empty": b"",
}.items():
    bad(f"name: {_name}", lambda text=_text: build(Member(text)), "zip.unsafe_path")  # type: ignore[misc]

_SURROGATE = b"\xed\xa0\x80.csv"
bad("name: invalid UTF-8 with its flag", lambda: build(Member(b"\xff\xfe.csv", flags=UTF8)), "zip.unsafe_path")
bad("name: a lone surrogate", lambda: build(Member(_SURROGATE, flags=UTF8)), "zip.unsafe_path")


def table(**lies: object) -> Callable[[], bytes]:
    """A zip of one table, told a lie."""
    data = BOX_HEADER + box() * 50
    return lambda: build(Member(BOXES.encode(), **{"data": data, **lies}))  # type: ignore[arg-type]


_ROWS = BOX_HEADER + box() * 50
_UNENDED = zlib.compressobj(6, zlib.DEFLATED, -15)
for _name, _make in {
    "a wrong CRC": table(local={"crc": 1}, central={"crc": 1}),
    "no deflate stream": table(method=DEFLATED, packed=b"\xff" * 20),
    "a stream that goes on past its size": table(data=_ROWS[:-9], method=DEFLATED, packed=deflate(_ROWS)),
    "a stream that ends early": table(method=DEFLATED, packed=deflate(_ROWS[:-9])),
    "a stream without end": table(method=DEFLATED, packed=_UNENDED.compress(_ROWS) + _UNENDED.flush(zlib.Z_SYNC_FLUSH)),
    "bytes behind the stream": table(method=DEFLATED, packed=deflate(_ROWS) + b"hidden"),
    "a second stream behind the first": table(method=DEFLATED, packed=deflate(_ROWS) * 2),
}.items():
    bad(f"zip: {_name}", _make, "zip.bad_member", BOXES)


def spoiled_member() -> bytes:
    """A sound archive whose last member, an unknown file, has a flipped bit."""
    body = bytearray(tree({"README.txt": random.Random(1).randbytes(400)}))
    body[body.index(b"README.txt") + 50] ^= 0x10
    return bytes(body)


def truncated_upload() -> bytes:
    whole = tree()
    return whole[: len(whole) // 2]


bad("zip: an unused member with a wrong CRC", spoiled_member, "zip.bad_member", "README.txt")
bad("zip: half of a sound archive", truncated_upload, "zip.invalid")
bad("zip: a sound archive twice", lambda: tree() + tree(), "zip.invalid")
bad("zip: a sound archive in a sound archive's comment", lambda: build(Member(), comment=tree()[:60000]), "zip.invalid")
bad("zip: a script in front", lambda: b"#!/bin/sh\nrm -rf /\n" + tree(), "zip.invalid")


# --- bombs


def flat_bomb() -> bytes:
    """200 MiB of zeros in 200 KiB."""
    return tree({"annotations/readme.txt": bytes(200 << 20)}, level=9)


def table_bomb() -> bytes:
    """A table whose one line goes on for 200 MiB."""
    return tree({BOXES: BOX_HEADER + b"a" * (200 << 20)}, level=9)


def lying_bomb() -> bytes:
    """Says 100 bytes, unpacks to 64 MiB."""
    return build(Member(BOXES.encode(), data=bytes(100), method=DEFLATED, packed=deflate(bytes(64 << 20))))


def quilt() -> bytes:
    """Fifield's bomb: thousands of records of one and the same stream."""
    kernel = deflate(bytes(1 << 20))
    first = Member(b"0.csv", data=bytes(1 << 20), method=DEFLATED, packed=kernel)
    rest = [
        Member(
            f"{i}.csv".encode(),
            data=bytes(1 << 20),
            method=DEFLATED,
            packed=b"",
            central={"offset": 0, "packed": len(kernel)},
        )
        for i in range(1, 200)
    ]
    return build(first, *rest)


def many_members() -> bytes:
    """More members than are allowed, all empty."""
    body = io.BytesIO()
    local = b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 0, 0, 0x21, 0, 0, 0, 6, 0)
    central = b"PK\x01\x02" + struct.pack("<6H3I3H2HI", 0x314, 20, 0, 0, 0, 0x21, 0, 0, 0, 6, 0, 0, 0, 0, 0)
    n = 250_001
    names = [b"%06d" % i for i in range(n)]
    body.write(b"".join(local + name for name in names))
    start = body.tell()
    body.write(b"".join(central + struct.pack("<I", i * 36) + name for i, name in enumerate(names)))
    size = body.tell() - start
    body.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, start))
    body.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1))
    body.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, start, 0))
    return body.getvalue()


bad("bomb: 200 MiB of zeros", flat_bomb, "zip.too_big", "annotations/readme.txt")
bad("bomb: a table of one endless line", table_bomb, "zip.too_big", BOXES)
bad("bomb: a size that is a lie", lying_bomb, "zip.bad_member", BOXES)
bad("bomb: 200 records of one stream", quilt, "zip.too_big")
bad("bomb: 250,001 members", many_members, "zip.too_big", value="250,000")
bad(
    "bomb: 4 GiB and a byte declared",
    lambda: build(
        Member(
            b"a.csv",
            method=DEFLATED,
            extra=zip64_field((4 << 30) + 1, 24),
            local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
            central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
        )
    ),
    "zip.too_big",
    "a.csv",
)
bad(
    "zip64: a member of an exabyte",
    lambda: build(
        Member(
            b"a.csv",
            extra=zip64_field(1 << 60, 1 << 60),
            local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
            central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
        )
    ),
    "zip.too_big",
    "a.csv",
)
bad(
    "zip64: a directory of an exabyte",
    lambda: build(Member(), end64={"size": 1 << 60}, end={"size": 0xFFFFFFFF}),
    "zip.invalid",
)
bad(
    "zip64: 2^63 members",
    lambda: build(
        Member(), end64={"count": 1 << 63, "count_here": 1 << 63}, end={"count": 0xFFFF, "count_here": 0xFFFF}
    ),
    "zip.too_big",
)
bad(
    "zip64: an offset of 2^64 - 1",
    lambda: build(Member(extra=b"", central={"offset": 0xFFFFFFFF, "extra": zip64_field((1 << 64) - 1)})),
    "zip.invalid",
)

# --- which file is what

bad("layout: a zip of a text", lambda: only({"readme.txt": b"hello"}), "layout.not_found")
bad(
    "layout: folders only",
    lambda: build(Member(b"annotations/", data=b"", attributes=0o40755 << 16)),
    "layout.not_found",
)
bad("layout: a COCO file", lambda: only({"annotations/instances.json": b"{}"}), "layout.not_found")
bad("layout: a zip in a zip", lambda: only({"upload.zip": tree()}), "layout.not_found")
bad(
    "layout: two data sets",
    lambda: tree({f"other/{name}": data for name, data in members().items()}),
    "layout.several_roots",
)
bad("layout: the tables in a nested zip only", lambda: only({"x/y.zip": tree(), "notes.md": b"#"}), "layout.not_found")

# --- CSV

csv_case("csv: UTF-16", BOXES, (BOX_HEADER + box()).decode().encode("utf-16"), "csv.encoding")
csv_case("csv: UTF-16 without mark", BOXES, (BOX_HEADER + box()).decode().encode("utf-16-le"), "csv.nul")
csv_case("csv: UTF-32", BOXES, (BOX_HEADER + box()).decode().encode("utf-32"), "csv.encoding")
csv_case(
    "csv: Latin-1 in row 3", BOXES, BOX_HEADER + box() + b"caf\xe9,x,/m/0,1,0,1,0,1,0,0,0,0,0\n", "csv.encoding", 3
)
csv_case("csv: overlong UTF-8", BOXES, BOX_HEADER + box("\0a").replace(b"\0", b"\xc0\xaf"), "csv.encoding", 2)
csv_case("csv: a surrogate in UTF-8", BOXES, BOX_HEADER + box("?").replace(b"?", b"\xed\xb0\x80"), "csv.encoding", 2)
csv_case("csv: UTF-8 cut at the end", BOXES, BOX_HEADER + box() + box("\u00e9")[:1], "csv.encoding", 3)
csv_case("csv: NUL in a cell", BOXES, BOX_HEADER + box() + box("a\0"), "csv.nul", 3)
csv_case("csv: NUL in the header", BOXES, BOX_HEADER.replace(b"Source", b"Sou\0rce") + box(), "csv.nul", 1)
csv_case("csv: only NULs", BOXES, bytes(1000), "csv.nul", 1)
csv_case("csv: a quote that never ends", BOXES, BOX_HEADER + box() + b'"a' + box()[1:] * 3, "csv.quote", 3)
csv_case(
    "csv: a giant quote",
    BOXES,
    BOX_HEADER + b'"' + random.Random(2).randbytes(9 << 20).hex().encode(),
    "csv.too_big",
    2,
)

csv_case("csv: no header", BOXES, box() + box(), "csv.no_header", 1)
csv_case("csv: an unknown header", BOXES, b"x,y,z\n1,2,3\n", "csv.no_header", 1)
csv_case("csv: semicolons", BOXES, (BOX_HEADER + box()).replace(b",", b";"), "csv.delimiter", 1)
csv_case("csv: tabs", BOXES, (BOX_HEADER + box()).replace(b",", b"\t"), "csv.delimiter", 1)
csv_case("csv: no XMin", BOXES, BOX_HEADER.replace(b"XMin", b"XMid") + box(), "csv.missing_column", 1, "XMin")
csv_case(
    "csv: no LabelName",
    TAGS,
    TAG_HEADER.replace(b"LabelName", b"Name") + b"a,,x,1\n",
    "csv.missing_column",
    1,
    "LabelName",
)
csv_case(
    "csv: no MaskPath",
    MASKS,
    MASK_HEADER.replace(b"MaskPath", b"Mask") + mask_row(),
    "csv.missing_column",
    1,
    "MaskPath",
)
csv_case("csv: XMin twice", BOXES, BOX_HEADER.replace(b"XMax", b"XMin") + box(), "csv.duplicate_column", 1, "XMin")
csv_case("csv: a short row", BOXES, BOX_HEADER + box() + b"a,x,/m/0,1\n", "csv.field_count", 3)
csv_case("csv: a long row", BOXES, BOX_HEADER + box().replace(b"\n", b",1,2\n"), "csv.field_count", 2)
csv_case(
    "csv: 300 columns",
    BOXES,
    BOX_HEADER[:-1] + b"".join(b",X%d" % i for i in range(287)) + b"\n" + box(),
    "csv.too_big",
    1,
)
csv_case("csv: a million columns", BOXES, BOX_HEADER[:-1] + b",x" * 1_000_000 + b"\n", "csv.too_big", 1)
csv_case(
    "csv: a row of a million cells", BOXES, BOX_HEADER + box()[:-1] + b",1" * 1_000_000 + b"\n", "csv.field_count", 2
)


def wide_field() -> bytes:
    """One row with a cell of 16 MiB and a byte, of bytes that do not pack."""
    cell = random.Random(3).randbytes((8 << 20) + 1).hex().encode()
    return tree({BOXES: BOX_HEADER + box(cell.decode())}, level=1)


bad("csv: one row with a cell over 16 MiB", wide_field, "csv.too_big", BOXES, 2)


def sixteen() -> bytes:
    cell = random.Random(3).randbytes(8 << 20).hex()
    return tree({BOXES: BOX_HEADER + box(cell)}, level=1)


bad("csv: one row with a cell of 16 MiB that is no image", sixteen, "image.unmatched", BOXES, 2, "ImageID")


def dense_field() -> bytes:
    """A quoted cell of line breaks only, just under the limit of a field."""
    lines = b'"' + b"\n" * ((8 << 20) - 9) + b'"'
    noise = random.Random(4).randbytes(1 << 20)
    return tree({BOXES: BOX_HEADER + box("?").replace(b"?", lines), "noise.bin": noise}, level=1)


bad("csv: a cell of 8 million line breaks", dense_field, "image.unmatched", BOXES, 2, "ImageID")
csv_case(
    "csv: 100,000 empty rows and a bad one",
    BOXES,
    BOX_HEADER + b"\n" * 100_000 + box("zzz"),
    "image.unmatched",
    100_002,
    "ImageID",
)
csv_case(
    "csv: 200,000 rows, all bad",
    BOXES,
    lambda: BOX_HEADER + b"".join(box(f"no{i}") for i in range(200_000)),
    "image.unmatched",
    2,
)
csv_case("csv: 300,000 quotes", BOXES, BOX_HEADER + box('"' + '""' * 300_000 + '"'), "image.unmatched", 2, "ImageID")
csv_case(
    "csv: only carriage returns",
    BOXES,
    (BOX_HEADER + box("no")).replace(b"\n", b"\r"),
    "image.unmatched",
    None,
    "ImageID",
)

# --- cells

csv_case(
    "cell: an image that is not the task's",
    BOXES,
    BOX_HEADER + box() + box("nobody"),
    "image.unmatched",
    3,
    "ImageID",
    "nobody",
)
csv_case("cell: no image", BOXES, BOX_HEADER + box(""), "value.missing", 2, "ImageID")
csv_case("cell: an image that climbs out", BOXES, BOX_HEADER + box("../../etc/passwd"), "image.unmatched", 2, "ImageID")
csv_case("cell: an image that is a number", BOXES, BOX_HEADER + box("0"), "image.unmatched", 2, "ImageID")
csv_case("cell: an image with an escape", BOXES, BOX_HEADER + box("a\x1b[2J"), "image.unmatched", 2, "ImageID")
csv_case(
    "cell: a label that is not the task's",
    BOXES,
    BOX_HEADER + box(label="/m/wolf"),
    "label.unknown",
    2,
    "LabelName",
    "/m/wolf",
)
csv_case("cell: no label", BOXES, BOX_HEADER + box(label=""), "value.missing", 2, "LabelName")
csv_case("cell: a label of 100 KB", BOXES, BOX_HEADER + box(label="x" * 100_000), "label.unknown", 2, "LabelName")
csv_case(
    "cell: a label that is a script",
    TAGS,
    TAG_HEADER + b"a,,<script>alert(1)</script>,1\n",
    "label.unknown",
    2,
    "LabelName",
    "<script>",
)
for _text, _code in {
    "abc": "value.not_number",
    "0x1p-2": "value.not_number",
    "1_0": "value.not_number",
    "١": "value.not_number",
    "0,5": "csv.field_count",
    "--1": "value.not_number",
    "1e": "value.not_number",
    "nan": "value.not_finite",
    "NaN": "value.not_finite",
    "inf": "value.not_finite",
    "-Infinity": "value.not_finite",
    "1e999": "value.not_finite",
    "9" * 400: "value.not_finite",
    "5": "value.range",
    "-1.5": "value.range",
    "1e15": "value.range",
    "": "value.missing",
}.items():
    csv_case(
        f"number: {_text[:20] or 'empty'}",
        BOXES,
        BOX_HEADER + box() + box(corners=f"{_text},0.5,0.25,0.75"),
        _code,
        3,
        None if _code == "csv.field_count" else "XMin",
    )
csv_case(
    "number: 100,000 digits",
    BOXES,
    BOX_HEADER + box(corners=f"0.{'1' * 100_000}x,0.5,0.2,0.7"),
    "value.not_number",
    2,
    "XMin",
)
csv_case("box: inverted", BOXES, BOX_HEADER + box(corners="0.75,0.25,0.25,0.75"), "box.inverted", 2, "XMin")
csv_case("box: upside down", BOXES, BOX_HEADER + box(corners="0.25,0.75,0.75,0.25"), "box.inverted", 2, "YMin")
csv_case("flag: 2", BOXES, BOX_HEADER + box(flags="2,0,0,0,0"), "value.flag", 2, "IsOccluded")
csv_case("flag: maybe", BOXES, BOX_HEADER + box(flags="0,0,0,0,maybe"), "value.flag", 2, "IsInside", "maybe")
csv_case("confidence: 7", TAGS, TAG_HEADER + b"a,,/m/0,7\n", "value.range", 2, "Confidence", "7")
csv_case("confidence: nan", TAGS, TAG_HEADER + b"a,,/m/0,nan\n", "value.not_finite", 2, "Confidence")
csv_case("confidence: a word", BOXES, BOX_HEADER + box(confidence="sure"), "value.not_number", 2, "Confidence", "sure")
csv_case(
    "images: one id in two subsets",
    IMAGES,
    IMAGE_HEADER + b"a,train,,,,,,,,,,\na,validation,,,,,,,,,,\n",
    "image.subset_conflict",
    3,
    "Subset",
)
csv_case(
    "images: a subset that climbs out", IMAGES, IMAGE_HEADER + b"a,../../x,,,,,,,,,,\n", "image.bad_subset", 2, "Subset"
)
csv_case("images: a subset with a slash", IMAGES, IMAGE_HEADER + b"a,x/y,,,,,,,,,,\n", "image.bad_subset", 2, "Subset")
csv_case("classes: NUL", CLASSES, b"/m/0,cat\n/m/1,d\0g\n", "csv.nul", 2)
csv_case("classes: an open quote", CLASSES, b'/m/0,cat\n/m/1,"dog\n', "csv.quote", 2)
csv_case("classes: UTF-16", CLASSES, "/m/0,cat\n".encode("utf-16"), "csv.encoding")

# --- images.meta

for _name, _line in {
    "no numbers": b"b x y",
    "nothing": b"b",
    "zero": b"b 0 64",
    "below zero": b"b -48 64",
    "seven digits": b"b 1000000 64",
    "a fraction": b"b 4.8 64",
    "hex": b"b 0x30 64",
    "other digits": "b ٤٨ 64".encode(),
    "5,000 digits": b"b " + b"9" * 5000 + b" 64",
    "no UTF-8": b"b\xff 48 64",
    "100,000 blanks behind a lone quote": b"'b" + b" " * 100_000 + b"1",
    "40 MB without a line break": b"b" * (40 << 20),
}.items():
    csv_case(f"meta: {_name}", META, b"a 6 8\n" + _line + b"\n", "meta.bad_line", 2)

# --- the hierarchy


def nested(depth: int, opening: str = '{"LabelName":"/m/0","Subcategory":[', closing: str = "]}") -> bytes:
    return (opening * depth + closing * depth).encode()


csv_case("hierarchy: no JSON", TREE, b"{\n\nhello", "hierarchy.bad_json", 3)
csv_case("hierarchy: empty", TREE, b"", "hierarchy.bad_json")
csv_case("hierarchy: no UTF-8", TREE, b'{"LabelName": "\xff"}', "hierarchy.bad_json")
csv_case("hierarchy: a list", TREE, b"[]", "hierarchy.bad_node", None, "$")
csv_case("hierarchy: a number", TREE, b"7", "hierarchy.bad_node", None, "$")
csv_case(
    "hierarchy: a node without name",
    TREE,
    b'{"LabelName":"r","Subcategory":[{}]}',
    "hierarchy.bad_node",
    None,
    "$.Subcategory[0]",
)
csv_case("hierarchy: a name that is a number", TREE, b'{"LabelName":5}', "hierarchy.bad_node", None, "$")
csv_case(
    "hierarchy: children that are a text", TREE, b'{"LabelName":"r","Part":"x"}', "hierarchy.bad_node", None, "$.Part"
)
csv_case("hierarchy: 40 deep", TREE, nested(40), "hierarchy.too_big")
csv_case("hierarchy: a million deep", TREE, nested(1_000_000, "[", "]"), "hierarchy.too_big")
csv_case("hierarchy: half a million braces", TREE, b'{"a":' * 500_000, "hierarchy.too_big")
csv_case(
    "hierarchy: an integer of a million digits", TREE, b'{"LabelName":' + b"9" * 1_000_000 + b"}", "hierarchy.bad_json"
)
csv_case(
    "hierarchy: an open text of 30 MB",
    TREE,
    lambda: b'{"LabelName":"' + random.Random(5).randbytes(15 << 20).hex().encode(),
    "hierarchy.bad_json",
)
csv_case("hierarchy: 30 MB of backslashes", TREE, b'"' + b"\\" * (3 << 20), "hierarchy.bad_json")
csv_case(
    "hierarchy: 200,000 nodes",
    TREE,
    lambda: json.dumps({"LabelName": "r", "Subcategory": [{"LabelName": f"/m/{i}"} for i in range(200_000)]}).encode(),
    "hierarchy.too_big",
)

# --- masks


def mask_case(name: str, png: Callable[[], bytes], code: str = "mask.bad_png", value: str | None = None) -> None:
    bad(f"mask: {name}", lambda: tree({PNG: png()}), code, MASKS, 2, "MaskPath", value)


IHDR = header(8, 6)
IDAT = chunk(b"IDAT", zlib.compress(bytes(2 * 6)))
IEND = chunk(b"IEND")
GOOD = mask()

mask_case("empty file", lambda: b"")
mask_case("a text", lambda: b"hello")
mask_case("a JPEG", lambda: b"\xff\xd8\xff\xe0" + bytes(100))
mask_case("a GIF", lambda: b"GIF89a" + bytes(100))
mask_case("an SVG", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
mask_case("only the signature", lambda: png_of())
mask_case("no header", lambda: png_of(IDAT, IEND))
mask_case("cut in the data", lambda: GOOD[:-20])
mask_case("no IDAT", lambda: png_of(IHDR, IEND))
mask_case("no IEND", lambda: png_of(IHDR, IDAT))
mask_case("a header of another length", lambda: png_of(chunk(b"IHDR", bytes(12)), IDAT, IEND))
mask_case(
    "a wrong CRC in the header",
    lambda: png_of(chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 1, 0, 0, 0, 0), 1), IDAT, IEND),
)
mask_case("a wrong CRC in the data", lambda: png_of(IHDR, chunk(b"IDAT", zlib.compress(bytes(12)), 1), IEND))
mask_case("two headers", lambda: png_of(IHDR, IHDR, IDAT, IEND))
mask_case("a chunk of 2 GiB", lambda: png_of(IHDR) + b"\x7f\xff\xff\xffIDAT" + bytes(50))
mask_case("a chunk longer than can be", lambda: png_of(IHDR) + b"\xff\xff\xff\xffIDAT" + bytes(50))
mask_case("60,000 x 60,000", lambda: png_of(header(60_000, 60_000), IDAT, IEND), value="60000")
mask_case("2^31 - 1 squared", lambda: png_of(header((1 << 31) - 1, (1 << 31) - 1), IDAT, IEND))
mask_case("2^32 - 1 wide", lambda: png_of(header((1 << 32) - 1, 1), IDAT, IEND))
mask_case("no width", lambda: png_of(header(0, 6), IDAT, IEND))
mask_case("no height", lambda: png_of(header(8, 0), IDAT, IEND))
mask_case("colour type 5", lambda: png_of(header(8, 6, 8, 5), IDAT, IEND))
mask_case("3 bits", lambda: png_of(header(8, 6, 3, 0), IDAT, IEND))
mask_case("an unknown compression", lambda: png_of(header(8, 6, 1, 0, (1, 0, 0)), IDAT, IEND))
mask_case("an unknown interlace", lambda: png_of(header(8, 6, 1, 0, (0, 0, 2)), IDAT, IEND))
mask_case("a palette that is missing", lambda: png_of(header(8, 6, 1, 3), IDAT, IEND))
mask_case("a filter of 9", lambda: raw_png(b"\x09\0" * 6, 8, 6))
mask_case("too few rows", lambda: raw_png(bytes(2 * 5), 8, 6))
mask_case("no zlib", lambda: png_of(IHDR, chunk(b"IDAT", b"hello"), IEND))
mask_case("a zlib dictionary", lambda: png_of(IHDR, chunk(b"IDAT", b"\x78\xbb\0\0\0\1" + bytes(10)), IEND))
mask_case("49 million pixels of three 16-bit colours", lambda: png_of(header(7000, 7000, 16, 2), IDAT, IEND))
mask_case("a bomb: 60 MB behind 8 x 6", lambda: raw_png(bytes(60 << 20), 8, 6))
mask_case(
    "a bomb: Adam7 of 7,000 x 7,000",
    lambda: png_of(header(7000, 7000, 8, 6, (0, 0, 1)), chunk(b"IDAT", zlib.compress(bytes(1000))), IEND),
)


def checkerboard(width: int, height: int) -> bytes:
    """Every other pixel: as many outlines as pixels."""
    rows = np.indices((height, width)).sum(axis=0) % 2
    packed = np.packbits(rows.astype(np.uint8), axis=1)
    raw = np.concatenate([np.zeros((height, 1), dtype=np.uint8), packed], axis=1).tobytes()
    return raw_png(raw, width, height)


def path_case(name: str, path: str, code: str) -> None:
    csv_case(f"path: {name}", MASKS, MASK_HEADER + mask_row() + mask_row(path, box_id="00000002"), code, 3, "MaskPath")


path_case("absolute", "/etc/passwd", "mask.bad_path")
path_case("climbs out", "../../../etc/passwd", "mask.bad_path")
path_case("climbs by backslash", "..\\..\\x.png", "mask.bad_path")
path_case("a drive", "C:\\x.png", "mask.bad_path")
path_case("a control character", "a\x01.png", "mask.missing_file")
path_case("two dots", "..", "mask.bad_path")
path_case("missing", "nobody.png", "mask.missing_file")
path_case("empty", "", "value.missing")
path_case("a table", "train-annotations-bbox.csv", "mask.missing_file")
path_case("a URL", "http://169.254.169.254/x.png", "mask.bad_path")
csv_case(
    "mask row: a box id that climbs out", MASKS, MASK_HEADER + mask_row(box_id="../../x"), "mask.bad_box_id", 2, "BoxID"
)
csv_case("mask row: an IoU of 2", MASKS, MASK_HEADER + mask_row(iou="2"), "value.range", 2, "PredictedIoU")
csv_case(
    "mask row: an IoU that is no number", MASKS, MASK_HEADER + mask_row(iou="x"), "value.not_number", 2, "PredictedIoU"
)
csv_case(
    "mask row: another image", MASKS, MASK_HEADER + mask_row(image="nobody"), "image.unmatched", 2, "ImageID", "nobody"
)
csv_case("mask row: an infinite box", MASKS, MASK_HEADER + mask_row(box="inf,1,0,1"), "value.not_finite", 2, "BoxXMin")


def many_masks() -> bytes:
    """50,000 rows of one file, and one that is not there."""
    rows = b"".join(mask_row(box_id=f"{i:08x}") for i in range(50_000))
    return tree({MASKS: MASK_HEADER + rows + mask_row("nobody.png")}, level=1)


def many_bad_masks() -> bytes:
    """20,000 files that are no PNG."""
    files: dict[str, bytes | None] = {f"masks/train/{i}.png": b"\x89PNG\r\n\x1a\n" + bytes(50) for i in range(20_000)}
    rows = b"".join(mask_row(f"{i}.png", box_id=f"{i:08x}") for i in range(20_000))
    return tree({**files, MASKS: MASK_HEADER + rows}, level=1)


def big_masks() -> bytes:
    """200 masks of 49 million pixels each, and a label that is unknown: none needs to be decoded."""
    png = raw_png(bytes((7000 // 8 + 1) * 7000), 7000, 7000)
    files: dict[str, bytes | None] = {f"masks/train/{i}.png": png for i in range(200)}
    rows = b"".join(mask_row(f"{i}.png", label="/m/wolf", box_id=f"{i:08x}") for i in range(200))
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, data in (members() | files | {MASKS: MASK_HEADER + rows}).items():
            assert data is not None
            archive.writestr(name, data)
    return body.getvalue()


bad("mask: 50,000 rows of one file", many_masks, "mask.missing_file", MASKS, 50_002, "MaskPath")
bad("mask: 20,000 files that are no PNG", many_bad_masks, "mask.bad_png", MASKS, 2)
bad("mask: 200 files of 49 million pixels", big_masks, "label.unknown", MASKS, 2, "LabelName")


def noise(width: int, height: int) -> bytes:
    """A mask of random bits: half as many outlines as pixels."""
    chance = random.Random(6)
    return raw_png(b"".join(b"\0" + chance.randbytes(width // 8) for _ in range(height)), width, height)


mask_case("49 million pixels of noise", lambda: noise(7000, 7000), value="8,000,000")
mask_case("an animation without its first picture", lambda: png_of(IHDR, chunk(b"fdAT", bytes(20)), IEND))
mask_case("CgBI, as Apple packs them", lambda: png_of(chunk(b"CgBI", bytes(4)), IHDR, IDAT, IEND))
mask_case("IDAT in two places", lambda: png_of(IHDR, IDAT, chunk(b"tEXt", b"a\0b"), IDAT, IEND))
mask_case("an unknown critical chunk", lambda: png_of(IHDR, chunk(b"EVIL", b""), IDAT, IEND))
mask_case("a million IDAT chunks that hold nothing", lambda: png_of(IHDR, *(chunk(b"IDAT", b""),) * 1_000_000, IEND))
mask_case("16 bits of a palette", lambda: png_of(header(8, 6, 16, 3), IDAT, IEND))
mask_case("a stream without its checksum", lambda: png_of(IHDR, chunk(b"IDAT", zlib.compress(bytes(12))[:-4]), IEND))
mask_case(
    "a stream with a wrong checksum",
    lambda: png_of(IHDR, chunk(b"IDAT", zlib.compress(bytes(12))[:-4] + bytes(4)), IEND),
)
mask_case("gzip instead of zlib", lambda: png_of(IHDR, chunk(b"IDAT", b"\x1f\x8b\x08" + bytes(20)), IEND))
mask_case("a whole zip in front", lambda: tree()[:500] + GOOD)

csv_case(
    "hierarchy: 5 million empty lists",
    TREE,
    lambda: b'{"LabelName":"r","x":[' + b"[]," * 5_000_000 + b"[]]}",
    "hierarchy.too_big",
)
csv_case(
    "hierarchy: a million keys",
    TREE,
    lambda: b'{"LabelName":"r",' + b",".join(b'"k%d":0' % number for number in range(1_000_000)) + b"}",
    "hierarchy.too_big",
)
csv_case("hierarchy: NaN for a name", TREE, b'{"LabelName":NaN}', "hierarchy.bad_json", 1)
csv_case("hierarchy: two documents", TREE, b'{"LabelName":"r"}{"LabelName":"s"}', "hierarchy.bad_json")
csv_case("hierarchy: an empty name", TREE, b'{"LabelName":""}', "hierarchy.bad_node", None, "$")
csv_case("hierarchy: XML", TREE, b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>", "hierarchy.bad_json")
csv_case(
    "csv: half a million labels that are none",
    BOXES,
    lambda: BOX_HEADER + b"".join(box("a", f"/m/x{number}") for number in range(200_000)),
    "label.unknown",
    2,
    "LabelName",
    "/m/x0",
)
csv_case(
    "csv: half a million pictures that are none",
    TAGS,
    lambda: TAG_HEADER + b"".join(b"i%d,x,/m/0,1\n" % number for number in range(500_000)),
    "image.unmatched",
    2,
    "ImageID",
    "i0",
)
csv_case("csv: quotes that open in each row", BOXES, BOX_HEADER + box('"a') * 200_000, "csv.quote", 2)

csv_case("csv: a header in quotes that never close", BOXES, b'"' + BOX_HEADER + box(), "csv.quote", 1)
csv_case("csv: a header of blanks", BOXES, b" , , \n" + box(), "csv.no_header", 1)
csv_case("csv: a row of commas", BOXES, BOX_HEADER + b"," * 12 + b"\n", "value.missing", 2, "ImageID")
csv_case("csv: an image in another composition", BOXES, BOX_HEADER + box("a\u0301"), "image.unmatched", 2, "ImageID")
csv_case(
    "csv: an image that turns the line around", BOXES, BOX_HEADER + box("a\u202e"), "image.unmatched", 2, "ImageID"
)
csv_case("csv: an image with a zero width", BOXES, BOX_HEADER + box("a\u200b"), "image.unmatched", 2, "ImageID")
csv_case("csv: UTF-8 of two bytes for one", BOXES, BOX_HEADER + b"\xc1\xa1" + box(""), "csv.encoding", 2)
csv_case("csv: a surrogate in a cell", BOXES, BOX_HEADER + b"\xed\xa0\x80" + box(""), "csv.encoding", 2)
csv_case(
    "csv: two byte order marks", BOXES, b"\xef\xbb\xbf" * 2 + BOX_HEADER + box(), "csv.missing_column", 1, "ImageID"
)
csv_case(
    "csv: form feeds for line breaks", BOXES, (BOX_HEADER + box()).replace(b"\n", b"\x0c"), "csv.duplicate_column", 1
)
for _text in ("1e308", "-1e308", "1e-400x", "0.5.5", "½", "５", "0b1", "1'000", "+-1", "0x", "1e", ".", "-"):
    if _text in ("1e308", "-1e308"):
        csv_case(
            f"number: {_text}", BOXES, BOX_HEADER + box(corners=f"{_text},0.5,0.25,0.75"), "value.range", 2, "XMin"
        )
    elif f"number: {_text}" not in BAD:
        csv_case(
            f"number: {_text}", BOXES, BOX_HEADER + box(corners=f"{_text},0.5,0.25,0.75"), "value.not_number", 2, "XMin"
        )
