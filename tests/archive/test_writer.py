"""What the writer sends: taken by the strict reader and by others, the same on two runs, in large chunks."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from app.archive import ArchiveLimits, ArchiveWriter, BytesSource, open_archive
from app.archive import writer as writer_module
from app.archive.writer import NO_BLOCK
from app.deflate import RAW, Deflater, Piece, deflate_text
from app.errors import Damaged, TooLarge
from tests.archive.zips import by_zipfile, contents, opened

TEXT = b"ImageID,LabelName\n" + b"0123456789abcdef,/m/01\n" * 40_000


def written(fill: Callable[[ArchiveWriter], None], chunk_bytes: int = 256 << 10) -> tuple[bytes, list[int]]:
    """(the zip, sizes of the chunks it came in)."""
    chunks: list[bytes] = []
    with ArchiveWriter(chunks.append, chunk_bytes) as writer:
        fill(writer)
    data = b"".join(chunks)
    assert writer.n_bytes == len(data)
    return data, [len(chunk) for chunk in chunks]


def mixed(writer: ArchiveWriter) -> None:
    rng = random.Random(7)
    with writer.open_deflated("annotations/train-annotations-bbox.csv") as member:
        for start in range(0, len(TEXT), 100_000):
            member.write(TEXT[start : start + 100_000])
    for number in range(500):
        data = rng.randbytes(rng.randrange(3000))
        writer.add_stored(f"masks/{number:03}.png", data, zlib.crc32(data) if number % 2 else None)
    large = rng.randbytes(3_000_000)
    writer.add_stored("images/é.jpg", memoryview(large))
    writer.add_stored_chunks("images/b.jpg", len(large), (large[i : i + 65536] for i in range(0, len(large), 65536)))
    writer.add_stored_chunks("images/c.jpg", 5, [b"abc", memoryview(b"de")], zlib.crc32(b"abcde"))
    writer.add_stored("empty.txt", b"")
    writer.add_stored_chunks("nothing.txt", 0, [])
    with writer.open_deflated("empty.csv", may_be_large=True):
        pass
    with writer.open_deflated("large.csv", may_be_large=True) as member:
        member.write(TEXT)


def check(data: bytes, folder: Path) -> dict[str, bytes]:
    archive = opened(data)
    archive.verify()
    ours = contents(archive)
    assert ours == by_zipfile(data)
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.testzip() is None
    if shutil.which("unzip"):
        (folder / "x.zip").write_bytes(data)
        done = subprocess.run(["unzip", "-tqq", folder / "x.zip"], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
    return ours


def test_all_kinds_of_members_are_read_back_by_everybody(tmp_path: Path) -> None:
    files = check(written(mixed)[0], tmp_path)
    assert len(files) == 508
    assert files["annotations/train-annotations-bbox.csv"] == files["large.csv"] == TEXT
    assert files["images/é.jpg"] == files["images/b.jpg"]
    assert files["images/c.jpg"] == b"abcde"
    assert files["empty.txt"] == files["nothing.txt"] == files["empty.csv"] == b""


def test_two_runs_give_the_same_bytes() -> None:
    assert written(mixed)[0] == written(mixed)[0]


def test_the_size_of_chunks_does_not_change_the_bytes() -> None:
    assert written(mixed, 1)[0] == written(mixed, 1 << 20)[0]


@pytest.mark.parametrize("here_bytes", [0, 1, 1 << 30])
def test_what_is_deflated_beside_is_the_same(here_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a caller goes on with the bytes that it gave."""
    rng = random.Random(2)
    lines = [rng.randbytes(40).hex().encode() * rng.randrange(40_000) for _ in range(5)]

    def fill(writer: ArchiveWriter) -> None:
        given = bytearray()
        for name in ("a", "b"):
            with writer.open_deflated(name) as member:
                for line in lines:
                    given[:] = line
                    member.write(given)
        writer.add_stored("c", b"c")

    found = written(fill)[0]
    monkeypatch.setattr(writer_module, "HERE_BYTES", here_bytes)
    assert written(fill)[0] == found
    assert by_zipfile(found) == {"a": b"".join(lines), "b": b"".join(lines), "c": b"c"}


@pytest.mark.parametrize("here_bytes", [0, 1, 300_000, 1 << 30])
def test_what_is_made_beside_is_at_its_place(here_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "HERE_BYTES", here_bytes)
    parts = [random.Random(number).randbytes(90_000) for number in range(30)]

    def fill(writer: ArchiveWriter, made: Callable[[int], bool]) -> None:
        with writer.open_deflated("a.csv") as member:
            for number, part in enumerate(parts):
                if made(number):
                    member.write_blocks(partial(list, [(NO_BLOCK, part)]))
                else:
                    member.write(part)

    plain = written(lambda writer: fill(writer, lambda number: False))[0]
    assert written(lambda writer: fill(writer, lambda number: True))[0] == plain
    assert written(lambda writer: fill(writer, lambda number: number % 3 > 0))[0] == plain


@pytest.mark.parametrize("here_bytes", [0, 1 << 30])
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
@pytest.mark.parametrize("may_be_large", [False, True])
def test_copies_are_as_if_written_again(
    size: int, may_be_large: bool, here_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HERE_BYTES", here_bytes)
    data = random.Random(size).randbytes(size // 2).hex().encode()

    def fill(writer: ArchiveWriter, copies: Sequence[str], again: Sequence[str]) -> None:
        for name in ("a.csv", *again):
            with writer.open_deflated(name, may_be_large, () if again else copies) as member:
                member.write(data)
        writer.add_stored("z", b"z")

    found = written(lambda writer: fill(writer, ("b.csv", "é.csv"), ()))[0]
    assert found == written(lambda writer: fill(writer, (), ("b.csv", "é.csv")))[0]
    assert by_zipfile(found) == {"a.csv": data, "b.csv": data, "é.csv": data, "z": b"z"}


def stream_of(header: bytes, blocks: Sequence[bytes]) -> bytes:
    """The member of a table, by the rule: long blocks one by one, short ones with their neighbours."""
    waiting, out = header, b""
    for text in [*blocks, b"end" * (1 << 20)]:
        is_long = len(text) >= writer_module.SMALL_BYTES
        if not is_long:
            waiting += text
        if waiting and (is_long or len(waiting) >= writer_module.SMALL_TOGETHER):
            out, waiting = out + deflate_text(waiting).packed, b""
        if is_long:
            out += deflate_text(text).packed
    return out[: -len(deflate_text(b"end" * (1 << 20)).packed)] + Deflater(RAW).flush()


@pytest.mark.parametrize("here_bytes", [0, 200_000, 1 << 30])
@pytest.mark.parametrize("seed", range(6))
def test_blocks_are_the_same_bytes_packed_or_not(seed: int, here_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole blocks as they were packed, texts in any parts, or first the one, then the other."""
    monkeypatch.setattr(writer_module, "HERE_BYTES", here_bytes)
    chance = random.Random(seed)
    sizes = (0, 90, 5_000, 15_000, 16_384, 40_000, 262_144, 600_000)
    lengths = [chance.choice(sizes[: chance.choice((3, 8))]) for _ in range(chance.randrange(2, 40))]
    blocks = [chance.randbytes(length // 2).hex().encode() for length in lengths]
    numbers = sorted(chance.sample(range(-1, 400), len(blocks)))
    header = b"ImageID,Source\n"

    def parts(text: bytes) -> list[bytes | Piece]:
        """A block in one of its forms."""
        cuts = sorted(chance.choices(range(len(text) + 1), k=chance.choice((0, 0, 3))))
        texts: list[bytes | Piece] = [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
        return [deflate_text(part) if chance.random() < 0.6 else part for part in texts if isinstance(part, bytes)]

    def fill(writer: ArchiveWriter, of: Callable[[bytes], list[bytes | Piece]]) -> None:
        with writer.open_deflated("a.csv") as member:
            member.write(header)
            given = [(number, part) for number, text in zip(numbers, blocks, strict=True) for part in of(text)]
            while given:
                some, given = given[: (stop := chance.randrange(1, 9))], given[stop:]
                is_packed = all(isinstance(part, Piece) for _, part in some)
                member.write_blocks(partial(list, some), is_packed=is_packed)

    plain = written(lambda writer: fill(writer, lambda text: [text]))[0]
    assert by_zipfile(plain) == {"a.csv": b"".join([header, *blocks])}
    assert stream_of(header, blocks) in plain
    for _ in range(3):
        assert written(lambda writer: fill(writer, parts))[0] == plain
    assert written(lambda writer: fill(writer, lambda text: [deflate_text(text)]))[0] == plain


def test_what_cannot_be_made_is_told() -> None:
    def fail() -> list[tuple[int, bytes]]:
        raise Damaged("no rows")

    def fill(writer: ArchiveWriter) -> None:
        with writer.open_deflated("a.csv") as member:
            member.write(bytes(2 << 20))
            member.write_blocks(fail)

    with pytest.raises(Damaged, match="no rows"):
        written(fill)


def test_the_begin_of_the_first_member_leaves_at_once() -> None:
    chunks: list[bytes] = []
    with ArchiveWriter(chunks.append) as writer:
        with writer.open_deflated("first.csv") as member:
            assert [chunk[:4] for chunk in chunks] == [b"PK\3\4"]
            member.write(b"x")
        with writer.open_deflated("second.csv"):
            assert len(chunks) == 1


def test_chunks_are_large() -> None:
    _, sizes = written(mixed)
    assert max(sizes) <= 1 << 20
    # Only what is in the buffer when a large piece comes by, and the end, may be small.
    assert sum(size < 256 << 10 for size in sizes) <= 8


def test_deflate_makes_text_small() -> None:
    data, _ = written(lambda writer: _deflate(writer, TEXT))
    assert len(data) < len(TEXT) / 20


def _deflate(writer: ArchiveWriter, text: bytes) -> None:
    with writer.open_deflated("a.csv") as member:
        member.write(text)


def test_an_archive_without_members_is_an_empty_zip() -> None:
    assert written(lambda writer: None)[0] == b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize(("n", "wide"), [(65_534, False), (65_535, True), (65_600, True)])
def test_zip64_counts_members_where_16_bits_do_not(n: int, wide: bool, tmp_path: Path) -> None:
    def fill(writer: ArchiveWriter) -> None:
        for number in range(n):
            writer.add_stored(f"{number}", b"")

    data, _ = written(fill)
    assert (b"PK\x06\x06" in data) is wide
    assert len(check(data, tmp_path)) == n


class Sparse:
    """Keeps what was sent, but runs of zeros only by their length: gigabytes of them fit."""

    def __init__(self) -> None:
        self.size = 0
        self.parts: list[tuple[int, bytes]] = []

    def send(self, data: bytes) -> None:
        if data.count(0) != len(data):
            self.parts.append((self.size, data))
        self.size += len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        out = bytearray(length)
        for start, data in self.parts:
            low, high = max(start, offset), min(start + len(data), offset + length)
            if low < high:
                out[low - offset : high - offset] = data[low - start : high - start]
        return bytes(out)


def test_zip64_tells_sizes_and_offsets_over_4_gib() -> None:
    sink = Sparse()
    writer = ArchiveWriter(sink.send)
    block, n_blocks = bytes(64 << 20), 65  # 4.06 GiB
    size = len(block) * n_blocks
    writer.add_stored_chunks("known.bin", size, (block for _ in range(n_blocks)), _crc_of_zeros(block, n_blocks))
    writer.add_stored_chunks("unknown.bin", size, (block for _ in range(n_blocks)))
    writer.add_stored("behind.txt", b"behind 4 GiB")
    writer.close()
    archive = open_archive(sink, ArchiveLimits(max_member_bytes=size))
    assert [(entry.name, entry.size) for entry in archive.entries] == [
        ("known.bin", size),
        ("unknown.bin", size),
        ("behind.txt", 12),
    ]
    assert archive.read(archive.entry("behind.txt")) == b"behind 4 GiB"
    assert archive.entries[2].offset > 8 << 30


def _crc_of_zeros(block: bytes, n_blocks: int) -> int:
    crc = 0
    for _ in range(n_blocks):
        crc = zlib.crc32(block, crc)
    return crc


def test_a_deflated_member_over_4_gib_must_be_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.archive.writer.U32", 1000)
    writer = ArchiveWriter(lambda data: None)
    member = writer.open_deflated("a.csv")
    member.write(bytes(1000))
    with pytest.raises(TooLarge):
        member.close()


@pytest.mark.parametrize(
    ("size", "chunks", "crc"),
    [(5, [b"abc"], None), (2, [b"abc"], None), (3, [b"abc"], 7)],
    ids=["too few", "too many", "another CRC"],
)
def test_chunks_that_do_not_add_up_are_damaged(size: int, chunks: list[bytes], crc: int | None) -> None:
    with pytest.raises(Damaged):
        ArchiveWriter(lambda data: None).add_stored_chunks("a.bin", size, chunks, crc)


@pytest.mark.parametrize("name", ["", "/a", "../a", "a//b", "a\\b", "C:/a", "a\n", "e\u0301.csv", "x" * 256])
def test_a_name_that_the_reader_would_refuse_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="member name"):
        ArchiveWriter(lambda data: None).add_stored(name, b"")


def test_a_name_is_written_once() -> None:
    writer = ArchiveWriter(lambda data: None)
    writer.add_stored("a.csv", b"")
    with pytest.raises(ValueError, match="taken"):
        writer.open_deflated("A.csv")


def test_one_member_at_a_time() -> None:
    writer = ArchiveWriter(lambda data: None)
    writer.open_deflated("a.csv")
    with pytest.raises(AssertionError):
        writer.add_stored("b.csv", b"")
    with pytest.raises(AssertionError):
        writer.close()


def test_an_error_leaves_the_zip_without_its_end() -> None:
    chunks: list[bytes] = []

    def fail() -> None:
        with ArchiveWriter(chunks.append, 1) as writer, writer.open_deflated("a.csv") as member:
            member.write(b"abc")
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        fail()
    assert b"PK\x05\x06" not in b"".join(chunks)


def test_closing_twice_sends_one_end() -> None:
    chunks: list[bytes] = []
    writer = ArchiveWriter(chunks.append)
    writer.close()
    writer.close()
    assert len(b"".join(chunks)) == 22


def test_times_and_modes_are_fixed() -> None:
    data, _ = written(lambda writer: writer.add_stored("a", b"x"))
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        info = other.infolist()[0]
    assert info.date_time == (1980, 1, 1, 0, 0, 0)
    assert info.external_attr >> 16 == 0o100644
    assert struct.unpack_from("<H", data, 6) == (0,)


@pytest.mark.parametrize(
    ("name", "fine"), [("b.csv", True), ("é/b.csv", True), ("A.csv", False), ("../b", False), ("e\u0301.csv", False)]
)
def test_accepts_tells_which_names_can_be_written(name: str, fine: bool) -> None:
    writer = ArchiveWriter(lambda data: None)
    writer.add_stored("a.csv", b"")
    assert writer.accepts(name) is fine


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("A", False),  # a folder of another member
        ("a/B", False),
        ("a/b/c.csv/d", False),  # within a member
        ("pictures", False),
        ("pictures/train", False),
        ("pictures/train/a.jpg", True),
        ("a/b/d.csv", True),
        ("/".join(["x" * 255] * 4), True),
        ("/".join(["x" * 255] * 4 + ["y"]), False),  # 1025 bytes
    ],
)
def test_no_name_is_accepted_that_our_own_reader_would_refuse(name: str, fine: bool) -> None:
    chunks: list[bytes] = []
    writer = ArchiveWriter(chunks.append)
    writer.add_stored("a/b/c.csv", b"")
    writer.reserve_folder("pictures/train")
    assert writer.accepts(name) is fine
    assert not (writer.accepts_all([name]) and not fine)
    writer.add_stored_all(["m/1.png", "m/2.png"], [b"", b""], [0, 0])
    assert not writer.accepts("M")
    assert not writer.accepts_all(["n/1.png/2.png", "n/1.png"])
    if fine:
        writer.add_stored(name, b"")
    writer.close()
    assert len(open_archive(BytesSource(b"".join(chunks))).names()) == 3 + fine


def test_an_accepted_name_is_not_checked_again_and_still_had_once() -> None:
    parts: list[bytes] = []
    writer = ArchiveWriter(parts.append)
    assert writer.accepts("masks/a.png")
    writer.add_stored("masks/a.png", b"a", is_accepted=True)
    assert not writer.accepts("masks/A.png")
    with pytest.raises(ValueError, match="taken"):
        writer.add_stored("masks/A.png", b"a", is_accepted=True)
    writer.close()
    assert zipfile.ZipFile(io.BytesIO(b"".join(parts))).namelist() == ["masks/a.png"]


@pytest.mark.parametrize("limit", [1 << 32, 3000], ids=["below 4 GiB", "over it"])
@pytest.mark.parametrize("chunk_bytes", [1 << 10, 256 << 10])
def test_many_stored_members_are_as_if_added_one_by_one(
    chunk_bytes: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "U32", limit)
    rng = random.Random(limit)
    datas = [memoryview(rng.randbytes(rng.choice([0, 9, 300, 2999]))) for _ in range(60)]
    names = [f"masks/{rng.choice('abAB')}{number}.png" for number in range(60)]
    crcs = [zlib.crc32(data) for data in datas]

    def at_once(writer: ArchiveWriter) -> None:
        for start in range(0, 60, 20):
            some = slice(start, start + 20)
            assert writer.accepts_all(names[some])
            writer.add_stored_all(names[some], datas[some], crcs[some])
        assert not writer.accepts_all([names[3].swapcase()])
        writer.add_stored_all([], [], [])

    def one_by_one(writer: ArchiveWriter) -> None:
        for name, data, crc in zip(names, datas, crcs, strict=True):
            writer.add_stored(name, data, crc)

    found, chunks = written(at_once, chunk_bytes)
    expected, chunks_of_each = written(one_by_one, chunk_bytes)
    assert found == expected
    assert chunks[0] == chunks_of_each[0] == 30 + len(names[0])  # a reader knows at once that something comes
    if limit == 1 << 32:
        assert by_zipfile(found) == dict(zip(names, map(bytes, datas), strict=True))


def test_names_that_are_accepted_together_are_accepted_each() -> None:
    """And of usual names none is passed over."""
    rng = random.Random(4)
    odd = ["..", ".", "", "a\\b", "c:", "\n", "\x7f", "é", "a" * 256, ".hidden", "é.png", "x/y", "C"]
    n_accepted = 0
    for _ in range(4000):
        writer = ArchiveWriter(lambda data: None)
        writer.add_stored("masks/c.png", b"")
        names = ["/".join(rng.choices(["a", "b.png", "masks", "c.png", *odd], k=rng.randint(1, 3))) for _ in range(2)]
        if writer.accepts_all(names):
            n_accepted += 1
            writer.add_stored(names[0], b"")  # raises where it is refused
            writer.add_stored(names[1], b"")
    assert n_accepted > 50
    writer = ArchiveWriter(lambda data: None)
    assert writer.accepts_all(["masks/train/0a1b_m012_c0ffee.png", "masks/train/0a1b_m01-2_x.png", "a/" * 31 + "b"])
    assert not writer.accepts_all(["a/" * 32 + "b"])
