"""The end records and the central directory of a zip: found in one way only, and walked in windows.

    member, member, …        each: local header, bytes, (data descriptor)
    central directory        one record a member
    (ZIP64 end record, ZIP64 locator)
    end record, comment      and nothing after it

Everything must lie exactly there: no byte before, between or behind. A zip that two readers could see in two ways
(two end records, a ZIP64 record that contradicts) is refused.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from app.archive.header_columns import RECORD_FIELDS, TOGETHER, ZIP64_ID, have_plain_extras, headers_at
from app.archive.limits import ArchiveLimits
from app.archive.names import UNICODE_PATH_ID, NameRefused, NameRules, decode_name, fold, normalise
from app.archive.sources import ByteSource
from app.errors import ImportProblems, Report, shorten

LOCAL_SIGNATURE = b"PK\x03\x04"
DIRECTORY_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR_SIGNATURE = b"PK\x06\x07"
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")
RECORD = struct.Struct("<4s6H3I5H2I")
_LENGTHS = struct.Struct("<4s24x3H")

STORED, DEFLATED = 0, 8
ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000  # encrypted, strongly encrypted, headers masked
DESCRIPTOR_FLAG = 0x0008
PATCH_FLAG = 0x0020
AES_METHOD = 99
NEWEST_VERSION = 63  # APPNOTE 4.4.3.2; other readers refuse higher ones
U16, U32 = 0xFFFF, 0xFFFFFFFF
MAX_COMMENT = U16
WINDOW_BYTES = 1 << 20
_ORDINARY_FILE = 0x8000
_NO_RECORD = "The zip's directory is damaged: a record is not where it should be. Make the zip again."

_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 20: "Zstandard", 93: "Zstandard"}
_METHODS |= {95: "XZ", 98: "PPMd"}
_OTHER_KINDS = {
    b"Rar!": "a RAR file",
    b"7z\xbc\xaf": "a 7z file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a Zstandard file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF file",
}


def invalid(message: str, name: str | None = None) -> ImportProblems:
    return ImportProblems.single("zip.invalid", message, file=name)


@dataclass(frozen=True, slots=True)
class EndRecord:
    """Where the directory lies. `count_wraps`: only the lowest 16 bits of `count` are told (no ZIP64)."""

    count: int
    offset: int
    size: int
    count_wraps: bool


def find_end(source: ByteSource) -> EndRecord:
    """Find and check the end records.

    Raises:
        ImportProblems: zip.invalid: no zip, cut short, bytes behind, several ends, several disks, contradictions.
    """
    tail_offset = max(0, source.size - END.size - MAX_COMMENT)
    tail = source.read_at(tail_offset, source.size - tail_offset)
    position = _end_position(source, tail) + tail_offset
    _, disk, directory_disk, count_here, count, size, offset, _ = END.unpack_from(tail, position - tail_offset)
    locator_offset = position - LOCATOR.size
    locator = source.read_at(locator_offset, LOCATOR.size) if locator_offset >= 0 else b""
    if locator_offset >= 0 and len(locator) != LOCATOR.size:
        raise invalid("The zip's end could not be read. Upload the zip again.")
    if locator.startswith(LOCATOR_SIGNATURE):
        told = (disk, directory_disk, count_here, count, size, offset)
        return _end64(source, locator, locator_offset, told)
    if disk or directory_disk or count_here != count:
        raise invalid("The zip is split over several disks. Make one zip in one file.")
    if offset + size != position:
        raise invalid(
            f"The zip's directory should end at byte {offset + size} but its end record is at {position}: bytes were "
            "added or lost. Make the zip again, without anything in front of it."
        )
    return EndRecord(count, offset, size, count_wraps=True)


def _end_position(source: ByteSource, tail: bytes) -> int:
    """Position in `tail` of the one end record that ends exactly where the source ends."""
    fitting, last = [], -1
    position = tail.find(END_SIGNATURE)
    while position >= 0:
        last = position
        if position + END.size <= len(tail):
            comment = int.from_bytes(tail[position + 20 : position + 22], "little")
            if position + END.size + comment == len(tail):
                fitting.append(position)
        position = tail.find(END_SIGNATURE, position + 1)
    if not fitting:
        raise _no_end(source, tail, last)
    if len(fitting) > 1 or last != fitting[0]:
        raise invalid("The zip has several end records, so programs may read it differently. Make the zip again.")
    return fitting[0]


def _no_end(source: ByteSource, tail: bytes, last: int) -> ImportProblems:
    head = source.read_at(0, 512)
    if not head:
        return invalid("The file is empty (0 bytes). Upload a zip.")
    if 0 <= last <= len(tail) - END.size:
        comment = int.from_bytes(tail[last + 20 : last + 22], "little")
        if last + END.size + comment < len(tail):
            behind = len(tail) - last - END.size - comment
            return invalid(f"There are {behind} bytes behind the end of the zip. Make the zip again.")
    if head[:2] == b"PK" or last >= 0:
        return invalid("The zip is cut short: its end is missing. Upload it again, or make it again.")
    kind = describe_kind(source)
    if kind is not None:
        return invalid(f"This is {kind}, not a zip. Make a zip of the folder and upload that.")
    if b"\x00" not in head:
        return invalid(
            "This is not a zip. Make a zip of the folder and upload that; a table by itself is taken under its own "
            "name, such as train-annotations-bbox.csv."
        )
    return invalid("This is not a zip. Make a zip of the folder and upload that.")


def describe_kind(source: ByteSource) -> str | None:
    """What a file is that is no zip: another kind of archive, or a picture; None for anything else."""
    head = source.read_at(0, 512)
    if head[257:262] == b"ustar":
        return "a tar file"
    return next((kind for signature, kind in _OTHER_KINDS.items() if head.startswith(signature)), None)


def _end64(source: ByteSource, locator: bytes, locator_offset: int, told: tuple[int, ...]) -> EndRecord:
    _, locator_disk, end_offset, disks = LOCATOR.unpack(locator)
    if locator_disk or disks != 1:
        raise invalid("The zip is split over several disks. Make one zip in one file.")
    if end_offset + END64.size != locator_offset:
        raise invalid("The zip's ZIP64 end record is not where it should be. Make the zip again.")
    record = source.read_at(end_offset, END64.size)
    if len(record) != END64.size or record[:4] != END64_SIGNATURE:
        raise invalid("The zip's ZIP64 end record is missing. Make the zip again.")
    _, length, _, _, disk, directory_disk, count_here, count, size, offset = END64.unpack(record)
    if length != END64.size - 12:
        raise invalid("The zip's ZIP64 end record holds data of an unknown kind. Make the zip again.")
    if disk or directory_disk or count_here != count:
        raise invalid("The zip is split over several disks. Make one zip in one file.")
    truths = (disk, directory_disk, count_here, count, size, offset)
    unsaid = (U16, U16, U16, U16, U32, U32)
    if any(old not in (truth, none) for old, truth, none in zip(told, truths, unsaid, strict=True)):
        raise invalid("The zip's two end records contradict each other. Make the zip again.")
    if offset + size != end_offset:
        raise invalid("The zip's directory does not end at its end record. Make the zip again.")
    return EndRecord(count, offset, size, count_wraps=False)


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of an extra area. Up to three zero bytes at the end (alignment tools write them) are passed over.

    Raises:
        ValueError: it does not add up.
    """
    position, end = 0, len(extra)
    while end - position >= 4:
        key = extra[position] | extra[position + 1] << 8
        length = extra[position + 2] | extra[position + 3] << 8
        position += 4
        if position + length > end:
            raise ValueError("a field is longer than the area")
        yield key, extra[position : position + length]
        position += length
    if any(extra[position:]):
        raise ValueError("bytes are left over")


def needed_extras(extra: bytes) -> tuple[bytes | None, bytes | None]:
    """Bodies of the ZIP64 field and of the Unicode path. Raises ValueError: broken, or one of them twice."""
    zip64: bytes | None = None
    path: bytes | None = None
    for key, body in extra_fields(extra):
        if key == ZIP64_ID:
            if zip64 is not None:
                raise ValueError("two ZIP64 fields")
            zip64 = body
        elif key == UNICODE_PATH_ID:
            if path is not None:
                raise ValueError("two Unicode paths")
            path = body
    return zip64, path


def fill_zip64(body: bytes | None, values: list[int]) -> list[int]:
    """Put the 64-bit numbers of a ZIP64 field in place of the 32-bit values that say "look there".

    Args:
        values: size, compressed size, header offset, in the field's order (any prefix of it).

    Raises:
        ValueError: a number is missing, or the field has more numbers and they contradict.
    """
    body = body or b""
    if len(body) not in (0, 8, 16, 24, 28):
        raise ValueError("a ZIP64 field of odd length")
    numbers = list(struct.unpack_from(f"<{len(body) // 8}Q", body))
    filled = list(values)
    wanted = [place for place, value in enumerate(values) if value == U32]
    if len(numbers) < len(wanted):
        raise ValueError("a ZIP64 number is missing")
    if len(body) == 28 and body[24:] != bytes(4):
        raise ValueError("a ZIP64 disk number")
    for place, number in zip(wanted, numbers, strict=False):
        filled[place] = number
    # Some tools write all numbers though only some are needed: then they stand in full order, and must agree.
    if len(numbers) > len(wanted) and numbers[: len(values)] != filled[: len(numbers)]:
        raise ValueError("a ZIP64 field that contradicts")
    return filled


_COLUMNS_OF_RECORDS = {"sizes": "size", "compressed_sizes": "packed", "header_offsets": "offset", "crcs": "crc"}


@dataclass(slots=True)
class Directory:
    """The records of all members as columns; `raw_names` only where the bytes are not the name in UTF-8."""

    names: list[str] = field(default_factory=list)
    raw_names: dict[int, bytes] = field(default_factory=dict)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    compressed_sizes: array[int] = field(default_factory=lambda: array("q"))
    header_offsets: array[int] = field(default_factory=lambda: array("q"))
    crcs: array[int] = field(default_factory=lambda: array("q"))
    flags: array[int] = field(default_factory=lambda: array("H"))
    methods: bytearray = field(default_factory=bytearray)
    folders: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, size: int, crc: int) -> None:
        """A file beside the zips, as if it were stored in one."""
        self.names.append(name)
        self.sizes.append(size)
        self.compressed_sizes.append(size)
        self.header_offsets.append(0)
        self.crcs.append(crc)
        self.flags.append(0)
        self.methods.append(STORED)
        self.folders.append(False)

    def add_plain(self, names: list[str], records: npt.NDArray[Any]) -> None:
        """Files whose names are ASCII and whose numbers are all in their records (N,)."""
        self.names += names
        for column, name in _COLUMNS_OF_RECORDS.items():
            getattr(self, column).frombytes(records[name].astype(np.int64).tobytes())
        self.flags.frombytes(records["flags"].astype(np.uint16).tobytes())
        self.methods += records["method"].astype(np.uint8).tobytes()
        self.folders += bytes(len(names))

    def extend(self, other: Directory, folder: str) -> None:
        """The members of another zip, below a folder ("" or with a slash at its end)."""
        self.names += [folder + name for name in other.names] if folder else other.names
        for column in ("sizes", "compressed_sizes", "header_offsets", "crcs", "flags", "methods", "folders"):
            getattr(self, column).extend(getattr(other, column))

    def raw_name(self, index: int) -> bytes:
        raw = self.raw_names.get(index)
        if raw is None:
            raw = self.names[index].encode("utf-8")
            return raw + b"/" if self.folders[index] else raw
        return raw


def read_directory(source: ByteSource, end: EndRecord, limits: ArchiveLimits, report: Report) -> Directory:
    """Walk the directory: names, kinds, methods, sizes and limits of every member; problems go to the report.

    Raises:
        ImportProblems: zip.invalid where the walk cannot go on; zip.too_big where there are too many members.
    """
    if end.count > limits.max_entries:
        raise too_many(limits)
    directory = Directory()
    rules = NameRules(limits)
    for window, starts in _windows(source, end):
        if len(directory) + len(starts) > limits.max_entries:
            raise too_many(limits)
        _add_records(directory, window, starts, rules, limits, report)
    told = len(directory) & U16 if end.count_wraps else len(directory)
    if told != end.count:
        raise invalid(f"The zip's directory lists {len(directory)} members, its end record says {end.count}.")
    check_totals(directory, source.size, limits, report)
    check_doubles(directory, report)
    return directory


def too_many(limits: ArchiveLimits, what: str = "The zip") -> ImportProblems:
    message = f"{what} has more than {limits.max_entries:,} members. Split it into several zips."
    return ImportProblems.single("zip.too_big", message)


def _windows(source: ByteSource, end: EndRecord) -> Iterator[tuple[bytes, list[int]]]:
    """Stretches of the directory, and where the records in them begin: whole records."""
    base, left = end.offset, end.size
    while left:
        window = source.read_at(base, min(left, WINDOW_BYTES))
        starts: list[int] = []
        position, last = 0, len(window) - RECORD.size
        if last < 0:
            raise invalid(_NO_RECORD)
        while position <= last:
            signature, n_name, n_extra, n_comment = _LENGTHS.unpack_from(window, position)
            if signature != DIRECTORY_SIGNATURE:
                raise invalid(_NO_RECORD)
            following = position + RECORD.size + n_name + n_extra + n_comment
            if following > left:
                raise invalid("The zip's directory is damaged: its last record is cut. Make the zip again.")
            if following > len(window):
                break
            starts.append(position)
            position = following
        if not starts:
            raise invalid("The zip's directory could not be read to its end. Upload the zip again.")
        yield window, starts
        base += position
        left -= position


def _add_records(
    directory: Directory, window: bytes, starts: list[int], rules: NameRules, limits: ArchiveLimits, report: Report
) -> None:
    """The records that begin at `starts`, those without anything unusual many at once."""
    odd: Sequence[int] = range(len(starts))
    if len(starts) >= TOGETHER:
        data, places = np.frombuffer(window, dtype=np.uint8), np.array(starts, dtype=np.int64)
        records = headers_at(data, places, RECORD_FIELDS)
        name_starts = places + RECORD.size
        name_stops = name_starts + records["n_name"]
        text = window.decode("latin-1")
        names = [text[start:stop] for start, stop in zip(name_starts.tolist(), name_stops.tolist(), strict=True)]
        plain = _are_plain(records, limits)
        plain &= have_plain_extras(data, name_stops, records["n_extra"].astype(np.int64))
        plain &= data[name_stops - 1] != ord("/")
        _part_odd_names(names, plain, rules)
        odd = np.flatnonzero(~plain).tolist()
    done = 0
    for number in [*odd, len(starts)]:
        if done < number:
            directory.add_plain(names[done:number], records[done:number])
        done = number + 1
        if number < len(starts):
            record = RECORD.unpack_from(window, starts[number])[1:]
            tail = starts[number] + RECORD.size
            rest = window[tail : tail + record[9] + record[10]]
            _add_record(directory, record, rest, rules, limits, report)


def _are_plain(records: npt.NDArray[Any], limits: ArchiveLimits) -> npt.NDArray[np.bool_]:
    """(N,) bool: files of which `_add_record` has nothing to tell, but for their names and extra fields."""
    size, packed = records["size"].astype(np.int64), records["packed"].astype(np.int64)
    method, kind = records["method"], records["attributes"] >> 16 & 0xF000
    plain: npt.NDArray[np.bool_] = records["flags"] & (ENCRYPTED_FLAGS | PATCH_FLAG) == 0
    plain &= ((method == STORED) & (size == packed)) | ((method == DEFLATED) & (packed > 0))
    plain &= (kind == 0) | (kind == _ORDINARY_FILE)
    plain &= records["needed"] & 0xFF <= NEWEST_VERSION
    plain &= (size < U32) & (packed < U32) & (records["offset"] < U32) & (records["disk"] == 0)
    plain &= (records["n_name"] > 0) & (records["n_name"] <= limits.max_name_bytes)
    plain &= size <= limits.max_member_bytes
    plain &= (size <= limits.ratio_from_bytes) | (size <= limits.max_ratio * packed)
    return plain


def _part_odd_names(names: list[str], plain: npt.NDArray[np.bool_], rules: NameRules) -> None:
    """Take from `plain` what has more than ASCII letters in its name, or a name that may be refused."""
    some = list(compress(names, plain.tolist()))
    text = "".join(some)
    if not (text.isascii() and text.isprintable()):
        plain &= np.array([name.isascii() and name.isprintable() for name in names], dtype=np.bool_)
        some = list(compress(names, plain.tolist()))
        text = "".join(some)
    if some and rules.may_refuse(text, some):
        plain[:] = False


def _add_record(
    directory: Directory,
    record: tuple[int, ...],
    tail: bytes,
    rules: NameRules,
    limits: ArchiveLimits,
    report: Report,
) -> None:
    made_by, needed, flags, method, _, _, crc, packed, size, n_name, n_extra, _, disk, _, attributes, offset = record
    raw = tail[:n_name]
    zip64: bytes | None = None
    path: bytes | None = None
    if n_extra:
        try:
            zip64, path = needed_extras(tail[n_name : n_name + n_extra])
        except ValueError as error:
            raise invalid(f'The extra fields of "{_show(raw)}" are damaged ({error}).', _show(raw)) from None
    if zip64 is not None or packed == U32 or size == U32 or offset == U32:
        try:
            size, packed, offset = fill_zip64(zip64, [size, packed, offset])
        except ValueError as error:
            raise invalid(f'"{_show(raw)}" has {error}. Make the zip again.', _show(raw)) from None
    if disk and not (disk == U16 and zip64 is not None and len(zip64) == 28):
        raise invalid(f'"{_show(raw)}" lies on another disk. Make one zip in one file.', _show(raw))

    index = len(directory.names)
    is_dir = raw.endswith(b"/")
    try:
        if n_name > limits.max_name_bytes:
            raise NameRefused(f"has a name of {n_name} bytes, over {limits.max_name_bytes}", "Shorten the name.")
        name = decode_name(raw, flags, path)
        if name.endswith("/") != is_dir:
            raise NameRefused("has a second name that differs", "Make the zip again with an ordinary tool.")
        if is_dir:
            name = name[:-1]
        rules.check(name)
        name = normalise(name)
        if path is not None or not raw.isascii():
            directory.raw_names[index] = raw
    except NameRefused as refused:
        name = _show(raw)
        report.error("zip.unsafe_path", f'"{name}" {refused.why}. {refused.remedy}', file=name)
        directory.raw_names[index] = raw
    problem = _kind_problem(made_by, flags, method, attributes, is_dir, size, packed, crc)
    if problem is None and needed & 0xFF > NEWEST_VERSION:
        version = f"{(needed & 0xFF) // 10}.{needed % 10}"
        problem = "zip.bad_member", f"needs version {version} of the format. Make the zip with ordinary compression."
    if problem is None and size > limits.max_member_bytes:
        problem = "zip.too_big", f"unpacks to {size:,} bytes, over the limit of {limits.max_member_bytes:,}. Split it."
    if problem is None and size > limits.ratio_from_bytes and size > limits.max_ratio * packed:
        problem = "zip.too_big", f"unpacks to more than {limits.max_ratio} times its size, as no real data does."
    if problem is not None:
        code, what = problem
        report.error(code, f'"{shorten(name)}" {what}', file=shorten(name))

    directory.names.append(name)
    directory.sizes.append(size if size < 1 << 62 else 1 << 62)
    directory.compressed_sizes.append(packed if packed < 1 << 62 else 1 << 62)
    directory.header_offsets.append(offset if offset < 1 << 62 else 1 << 62)
    directory.crcs.append(crc)
    directory.flags.append(flags)
    directory.methods.append(min(method, 255))
    directory.folders.append(is_dir)


def _show(raw: bytes) -> str:
    try:
        return shorten(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return shorten(raw.decode("cp437"))


_FILE_TYPES = {0xA000: "a symbolic link", 0x1000: "a pipe", 0x2000: "a device", 0x6000: "a device", 0xC000: "a socket"}
_FAT_LIKE = (0, 10, 11, 14)  # made on DOS or Windows: the upper half of the attributes means nothing, but for links


def _kind_problem(
    made_by: int, flags: int, method: int, attributes: int, is_dir: bool, size: int, packed: int, crc: int
) -> tuple[str, str] | None:
    """What is wrong with the kind of a member: (code, clause after its name)."""
    if flags & ENCRYPTED_FLAGS or method == AES_METHOD:
        return "zip.encrypted", "is encrypted. Make the zip without a password."
    kind = attributes >> 16 & 0xF000
    if kind in _FILE_TYPES and (kind == 0xA000 or made_by >> 8 not in _FAT_LIKE):
        return "zip.symlink", f"is {_FILE_TYPES[kind]}. Put the file itself into the zip."
    if kind == 0x4000 and not is_dir and made_by >> 8 not in _FAT_LIKE:
        return "zip.invalid", "is said to be a folder and has a file's name. Make the zip again."
    if flags & PATCH_FLAG:
        return "zip.invalid", "is a patch of another file. Make the zip again."
    if method not in (STORED, DEFLATED):
        known = _METHODS.get(method)
        how = f"{known} (method {method})" if known else f"method {method}"
        return "zip.bad_member", f"is compressed by {how}. Make the zip with ordinary deflate compression."
    if is_dir and (size or crc):
        return "zip.invalid", "is a folder and has content. Make the zip again."
    if method == STORED and size != packed:
        return "zip.invalid", f"is stored, yet its sizes differ ({packed:,} and {size:,} bytes). Make the zip again."
    if method == DEFLATED and not packed:
        return "zip.invalid", "is said to be deflated into 0 bytes. Make the zip again."
    return None


def check_totals(
    directory: Directory, source_bytes: int, limits: ArchiveLimits, report: Report, what: str = "The zip"
) -> None:
    """What all members unpack to, against the limits and against the bytes that were sent."""
    total = sum(directory.sizes)
    if total > limits.max_total_bytes:
        limit = limits.max_total_bytes
        report.error("zip.too_big", f"{what} unpacks to {total:,} bytes, over the limit of {limit:,}. Split it.")
    elif total > limits.ratio_from_bytes and total > limits.max_ratio * source_bytes:
        text = f"{what} unpacks to more than {limits.max_ratio} times its size, as no real data does."
        report.error("zip.too_big", text)


def check_doubles(
    directory: Directory, report: Report, what: str = "zip", opened: Collection[int] = frozenset()
) -> None:
    """Two members of one name, and names that are file and folder; case and composition do not part names.

    Args:
        opened: numbers of zips that stand for folders.
    """
    if not opened and _are_all_apart(directory):
        return
    seen: set[str] = set()
    folders: set[str] = set()
    parents: set[str] = set()
    last_parent = ""
    for number, (name, is_dir) in enumerate(zip(directory.names, directory.folders, strict=True)):
        is_dir = is_dir or number in opened
        key = fold(name)
        if key == name:
            key = name  # one text in memory, not two
        if key in seen:
            shown = shorten(name)
            message = f'"{shown}" is in the {what} twice (case and accents written otherwise do not count). Remove one.'
            report.error("zip.duplicate_member", message, file=shown)
            continue
        seen.add(key)
        if is_dir:
            folders.add(key)
        parent = key.rpartition("/")[0]
        if parent != last_parent:
            last_parent = parent
            while parent and parent not in parents:
                parents.add(parent)
                parent = parent.rpartition("/")[0]
    for key in sorted(parents & seen - folders):
        shown = shorten(key)
        message = f'"{shown}" is a file and a folder in the {what}. Rename one of them.'
        report.error("zip.duplicate_member", message, file=shown)


def _are_all_apart(directory: Directory) -> bool:
    """Whether nothing is to be told of names in ASCII; False where nobody knows."""
    text = "\n".join(directory.names)
    if not text.isascii():
        return False
    keys = text.lower().split("\n")
    files = set(compress(keys, [not is_dir for is_dir in directory.folders]))
    are_distinct = len(keys) == len(directory.names) and len(set(keys)) == len(keys)
    parents: set[str] = set()
    for folder in {key.rpartition("/")[0] for key in keys}:
        while folder and folder not in parents:
            parents.add(folder)
            folder = folder.rpartition("/")[0]
    return are_distinct and not parents & files
