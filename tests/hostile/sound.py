"""Odd but sound archives, as ordinary tools and careless people make them: each must be taken whole."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.archive.test_sound_zips import NTFS_TIMES, OWNERS, TIMES, Unseekable
from tests.archive.zips import (
    DEFLATED,
    DESCRIPTOR,
    FAT,
    STORED,
    UTF8,
    Member,
    build,
    streamed,
    unicode_path,
    zip64_field,
)
from tests.hostile.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    IMAGE_HEADER,
    IMAGES,
    MASKS,
    META,
    PNG,
    TAG_HEADER,
    TAGS,
    TREE,
    box,
    chunk,
    header,
    members,
    png_of,
    tree,
)
from tests.images.pngs import build as build_png

Make = Callable[[], bytes]


def packed(change: Callable[[Member], Member] = lambda member: member, *more: Member, **other: Any) -> bytes:
    """The sound archive, each member changed as a tool would write it."""
    plain = [Member(name.encode(), data=data, method=DEFLATED) for name, data in members().items()]
    return build(*(change(member) for member in plain), *more, **other)


def with_fields(**fields: Any) -> Callable[[Member], Member]:
    def change(member: Member) -> Member:
        for name, value in fields.items():
            setattr(member, name, value)
        return member

    return change


def as_streamed(member: Member, **more: Any) -> Member:
    return streamed(member.name, data=member.data, **more)


def widened(member: Member) -> Member:
    wide = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": zip64_field(len(member.data), len(member.body))}
    member.local, member.central = wide, wide
    return member


def by_python(unseekable: bool, method: int, force_zip64: bool) -> bytes:
    sink: Any = Unseekable() if unseekable else io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        archive.mkdir("annotations")
        for name, data in members().items():
            with archive.open(name, "w", force_zip64=force_zip64) as member:
                member.write(data)
    return bytes(sink.data) if unseekable else sink.getvalue()


def by_tool(*words: str) -> bytes:
    """The archive packed by a program in a folder of the members; `{}` is the zip's path."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in members().items():
            path = Path(folder) / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        target = Path(folder) / "x.zip"
        command = [word.format(target) for word in words]
        done = subprocess.run(command, cwd=Path(folder) / "tree", stdout=subprocess.PIPE, check=True)
        return target.read_bytes() if target.exists() else done.stdout


def replaced(old: bytes, new: bytes, *names: str) -> bytes:
    """Bytes replaced in these members, in all tables by default."""
    chosen = names or tuple(name for name in members() if name.endswith(".csv"))
    return tree({name: members()[name].replace(old, new) for name in chosen})


def renamed(change: Callable[[str], str], **more: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**members(), **more}.items():
            archive.writestr(change(name), data)
    return body.getvalue()


def grey_mask(values: tuple[int, int], depth: int = 8, interlaced: bool = False, colour: int = 0) -> bytes:
    channels = {0: 1, 2: 3, 6: 4}[colour]
    samples = np.full((6, 8, channels), values[0], dtype=np.int64)
    samples[2:5, 2:6] = values[1]
    return build_png(samples, colour, depth, interlaced=interlaced)


def chatty_png() -> bytes:
    """Text chunks that unpack to 40 MB, and 33,000 more of them."""
    texts = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40 << 20))), *(chunk(b"tEXt", b"k\0" + bytes(1000)),) * 33_000
    data = zlib.compress(b"\0\xff" * 6)
    return png_of(header(8, 6), *texts, chunk(b"IDAT", data), chunk(b"IEND"))


def wide_table() -> bytes:
    """256 columns, all that may be."""
    n_more = 256 - BOX_HEADER.count(b",") - 1
    names = b"".join(b",X%d" % number for number in range(n_more))
    return tree({BOXES: BOX_HEADER[:-1] + names + b"\n" + box()[:-1] + b",v" * n_more + b"\n"})


def many_files() -> bytes:
    """20,000 members that nobody knows."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, data in members().items():
            archive.writestr(name, data)
        for number in range(20_000):
            archive.writestr(zipfile.ZipInfo(f"other/{number}.txt"), b"x")
    return body.getvalue()


NOTHING: Mapping[str, None] = dict.fromkeys((TREE, META, MASKS, PNG, TAGS, IMAGES, CLASSES), None)

SOUND: dict[str, Make] = {
    "as published": tree,
    "stored": lambda: packed(with_fields(method=STORED)),
    "streamed": lambda: packed(as_streamed),
    "streamed without signatures": lambda: packed(lambda member: as_streamed(member, signature=False)),
    "streamed with wide descriptors": lambda: packed(lambda member: as_streamed(member, wide=True)),
    "Go": lambda: packed(
        lambda member: with_fields(flags=DESCRIPTOR | UTF8)(as_streamed(member)),
        Member(b"masks/", data=b"", attributes=0),
    ),
    "ZIP64 though small": lambda: packed(widened, end64={}),
    "macOS": lambda: packed(
        as_streamed,
        streamed(b"__MACOSX/annotations/._images.meta"),
        streamed(b".DS_Store"),
        streamed(b"annotations/.DS_Store"),
    ),
    "Windows": lambda: packed(
        with_fields(host=FAT, attributes=0x20),
        Member(b"Thumbs.db", host=FAT, attributes=0x20),
        Member("Größe.txt".encode("cp437"), host=FAT, attributes=0x20),
    ),
    "7-Zip": lambda: packed(with_fields(host=FAT, attributes=0o100644 << 16 | 0x8020, central={"extra": NTFS_TIMES})),
    "Info-ZIP's times and owners": lambda: packed(with_fields(extra=TIMES + OWNERS)),
    "a Unicode path": lambda: packed(
        lambda member: member, Member(b"l?.txt", extra=unicode_path(b"l?.txt", "l\u0142.txt"))
    ),
    "comments": lambda: packed(with_fields(comment=b"a comment"), comment=b"made by hand " * 1000),
    "set-uid": lambda: packed(with_fields(attributes=0o104755 << 16)),
    "folders listed": lambda: packed(
        lambda member: member,
        *(Member(name, data=b"", attributes=0o40755 << 16) for name in (b"annotations/", b"masks/", b"masks/train/")),
    ),
    "a zip within": lambda: tree({"more/inner.zip": tree()}),
    "unknown files": lambda: tree({"README.md": b"# hi", "annotations/notes.csv": b"\xff\0;", "images/x/y.jpg": b"-"}),
    "20,000 unknown files": many_files,
    "Python, streamed": lambda: by_python(True, zipfile.ZIP_DEFLATED, False),
    "Python, stored, ZIP64": lambda: by_python(False, zipfile.ZIP_STORED, True),
    "one folder around it": lambda: renamed("export-2024/{}".format),
    "CRLF": lambda: replaced(b"\n", b"\r\n"),
    "only carriage returns": lambda: replaced(b"\n", b"\r"),
    "a byte order mark": lambda: tree(
        {name: b"\xef\xbb\xbf" + data for name, data in members().items() if "csv" in name}
    ),
    "no line break at the end": lambda: tree({BOXES: members()[BOXES][:-1], TAGS: members()[TAGS][:-1]}),
    "quotes around everything": lambda: tree(
        {BOXES: b"\n".join(b",".join(b'"%s"' % c for c in line.split(b",")) for line in members()[BOXES].splitlines())}
    ),
    "unknown columns": lambda: tree({TAGS: TAG_HEADER[:-1] + b',Clicks\na,x,/m/0,1,"1 2;3\n4"\n'}),
    "256 columns": wide_table,
    "columns in another order": lambda: tree({TAGS: b"Confidence,LabelName,Source,ImageID\n1,/m/0,x,a\n"}),
    "a title of 600 KB": lambda: tree({IMAGES: IMAGE_HEADER + b"a,train,,,,,," + b"title " * 100_000 + b",,,,\n"}),
    "cells that are formulas": lambda: tree({TAGS: TAG_HEADER + b"a,\"=cmd|' /C calc'!A0\",/m/0,1\nb,@x,/m/1,1\n"}),
    "no hierarchy, no sizes, no classes": lambda: tree(
        {**NOTHING, BOXES: BOX_HEADER + box(label="cat") + box("b", "dog")}
    ),
    "tags only": lambda: tree({BOXES: None, MASKS: None, PNG: None}),
    "tables without rows": lambda: tree({BOXES: BOX_HEADER, TAGS: TAG_HEADER}),
    "sizes that contradict": lambda: tree({META: b"a 600 800\nb 999999 999999\nsub/c 1 1\n"}),
    "sizes of other images": lambda: tree({META: b"a 6 8\nnobody 1 1\n'it''s' 2 2\n"}),
    "flags unknown": lambda: tree({BOXES: BOX_HEADER + box(flags="-1,-1,-1,-1,-1") + box("b", flags=",,,,")}),
    "a box over the edge": lambda: tree({BOXES: BOX_HEADER + box(corners="-0.1,1.2,0,1")}),
    "numbers of 300 digits": lambda: tree({BOXES: BOX_HEADER + box(corners=f"0.{'1' * 300},0.5,0.2,0.7")}),
    "a mask of 0 and 1": lambda: tree({PNG: grey_mask((0, 1))}),
    "a mask of 16 bits": lambda: tree({PNG: grey_mask((0, 65535), depth=16)}),
    "a mask by Adam7": lambda: tree({PNG: grey_mask((0, 255), interlaced=True)}),
    "a mask in colours": lambda: tree({PNG: grey_mask((0, 200), colour=2)}),
    "a mask with 40 MB of texts": lambda: tree({PNG: chatty_png()}),
}

if shutil.which("zip"):
    SOUND |= {
        "Info-ZIP": lambda: by_tool("zip", "-qr", "{}", "."),
        "Info-ZIP through a pipe": lambda: by_tool("zip", "-qr", "-", "."),
        "Info-ZIP with descriptors": lambda: by_tool("zip", "-qr", "-fd", "{}", "."),
        "Info-ZIP, some removed again": lambda: by_tool(
            "sh", "-c", "zip -qr {0} . && zip -qd {0} 'masks/*' 'annotations/*segm*'"
        ),
        "Info-ZIP with ZIP64": lambda: by_tool("zip", "-qrfz", "{}", "."),
    }
if shutil.which("jar"):
    SOUND |= {
        "Java": lambda: by_tool("jar", "cfM", "{}", "."),
        "Java with a manifest": lambda: by_tool("jar", "cf", "{}", "."),
    }
if shutil.which("7z"):
    SOUND |= {
        "7-Zip itself": lambda: by_tool("7z", "a", "-tzip", "-bso0", "{}", "."),
        "7-Zip, stored": lambda: by_tool("7z", "a", "-tzip", "-mx0", "-bso0", "{}", "."),
    }
if shutil.which("bsdtar"):  # not through a pipe: there it fills the last block up with zeros
    SOUND |= {
        "libarchive": lambda: by_tool("bsdtar", "--format", "zip", "-cf", "{}", "annotations", "masks"),
        "libarchive with ZIP64": lambda: by_tool(
            *("bsdtar", "--format", "zip", "--options", "zip:zip64", "-cf", "{}", "annotations", "masks")
        ),
    }
