"""What was sent as one archive: a zip, or several files side by side; and zips that are looked into where they lie.

    upload.zip                          its members, under their own names
      └ train-masks-0.zip               looked into, for the format says so: members `train-masks-0.zip/…`
    train-masks-1.zip                   beside it, likewise
    validation-annotations-bbox.csv     a member, as if it were stored in a zip

    bytes   │ upload.zip … ▒train-masks-0.zip▒ … │ train-masks-1.zip │ … .csv │ copies of deflated inner zips │

All members count their offsets in this one row of bytes, so a zip that is stored in a zip is read where it lies; a
deflated one is unpacked into a nameless file first. Every zip is read as strictly as the first one, one level deep (a
zip within an inner zip is a member like any other), and all together stand below the limits of one archive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.archive.directory import STORED, Directory, check_doubles, check_totals, describe_kind, too_many
from app.archive.limits import ArchiveLimits
from app.archive.names import NameRefused, NameRules, normalise
from app.archive.reader import Archive, Entry, list_members
from app.archive.sources import ByteSource, FileSource, JoinedSource, PartSource
from app.errors import ImportProblems, Report, shorten

BLOCK_BYTES = 1 << 20
TOGETHER = "The upload"

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was sent: the client's name for it (no folders), and where it lies in the source."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class FileRules:
    """What names mean to those who will read the archive, and where a zip may be unpacked to.

    Attributes:
        looks_into: whether a zip of this name is a folder of its members.
        knows: whether a file of this name, which is no zip, is something by itself.
        open_spool: gives an empty file that vanishes when it is closed, with room for so many bytes.
    """

    looks_into: Callable[[str], bool]
    knows: Callable[[str], bool]
    open_spool: Callable[[int], IO[bytes]]


def open_files(source: ByteSource, files: Sequence[SentFile], limits: ArchiveLimits, rules: FileRules) -> Archive:
    """Check what was sent and list its members, as one archive.

    Args:
        source: holds the bytes of all files.

    Raises:
        ImportProblems: `zip.*`; what is wrong within a zip names it, `train-masks-0.zip/a.png`.
    """
    gathering = _Gathering(source, limits, sum(file.size for file in files))
    for file in files:
        part = PartSource(source, file.offset, file.size)
        if _is_zip(part, file.name, rules, alone=len(files) == 1):
            folder = f"{file.name}/" if rules.looks_into(file.name) else ""
            gathering.add_zip(part, file.offset, folder, file.name if len(files) > 1 else "")
        else:
            gathering.add_file(file, part)
    for number in range(len(gathering.directory)):
        name = gathering.directory.names[number]
        # A member of a zip that is looked into itself lies one level deeper.
        if rules.looks_into(name.rpartition("/")[2]) and not gathering.is_inner(number):
            gathering.look_into(number, rules)
    return gathering.close()


def _is_zip(part: PartSource, name: str, rules: FileRules, *, alone: bool) -> bool:
    """Whether a file is read as a zip; what is neither a zip nor anything known is, for it will be told what it is."""
    head = part.read_at(0, 4)
    if head.startswith(b"PK") or name.lower().endswith(".zip"):
        return True
    if rules.knows(name):
        return False
    return alone or describe_kind(part) is not None


class _Gathering:
    """The members so far."""

    def __init__(self, source: ByteSource, limits: ArchiveLimits, sent_bytes: int) -> None:
        self.directory = Directory()
        self._sources: list[ByteSource] = [source]
        self._limits, self._sent_bytes = limits, sent_bytes
        self._rules = NameRules(limits)
        self._offsets: list[Offsets] = []
        self._inner: list[range] = []
        self._opened: set[int] = set()
        self._proven: list[int] = []
        self._n_parts = 0

    def is_inner(self, number: int) -> bool:
        """Whether a member came out of a zip that was looked into."""
        return any(number in numbers for numbers in self._inner)

    def add_zip(self, part: ByteSource, base: int, folder: str, name: str) -> None:
        """The members of a zip whose bytes begin at `base`.

        Args:
            folder: in front of their names.
            name: of the zip, for messages about the zip itself.
        """
        directory, offsets = _within(name, folder, lambda: list_members(part, self._limits))
        if folder:
            self._inner.append(range(len(self.directory), len(self.directory) + len(directory)))
        self.directory.extend(directory, folder)
        self._offsets.append(offsets + base)
        self._n_parts += 1
        if len(self.directory) > self._limits.max_entries:
            raise too_many(self._limits, TOGETHER)

    def add_file(self, file: SentFile, part: ByteSource) -> None:
        """A file that is no zip."""
        name, limit = normalise(file.name), self._limits.max_member_bytes
        try:
            self._rules.check(name)
        except NameRefused as refused:
            message = f'"{shorten(name)}" {refused.why}. {refused.remedy}'
            raise ImportProblems.single("zip.unsafe_path", message, file=shorten(name)) from None
        if file.size > limit:
            message = f'"{shorten(name)}" has {file.size:,} bytes, over the limit of {limit:,}. Split it.'
            raise ImportProblems.single("zip.too_big", message, file=shorten(name))
        crc = 0
        for start in range(0, file.size, BLOCK_BYTES):
            crc = isal_zlib.crc32(part.read_at(start, BLOCK_BYTES), crc)
        self.directory.add(name, file.size, crc)
        self._offsets.append(np.array([file.offset], dtype=np.int64))
        self._n_parts += 1

    def look_into(self, number: int, rules: FileRules) -> None:
        """List the members of a zip that is a member itself, in its place."""
        entry = self._entry(number)
        place = entry.offset
        if entry.method == STORED:
            part: ByteSource = PartSource(self._joined(), place, entry.size)
        else:
            place = self._joined().size
            part = self._unpack(entry, rules)
            self._sources.append(part)
            self._proven.append(number)
        self._opened.add(number)
        self.add_zip(part, place, f"{entry.name}/", entry.name)

    def _unpack(self, entry: Entry, rules: FileRules) -> FileSource:
        with rules.open_spool(entry.size) as spool:
            for block in self._archive().blocks(entry):
                spool.write(block)
            return FileSource.of_file(spool)

    def _entry(self, number: int) -> Entry:
        return self._archive().entries[number]

    def _joined(self) -> ByteSource:
        return self._sources[0] if len(self._sources) == 1 else JoinedSource(self._sources)

    def _archive(self) -> Archive:
        offsets = np.concatenate(self._offsets) if self._offsets else np.empty(0, dtype=np.int64)
        return Archive(self._joined(), self.directory, offsets, frozenset(self._opened), self._proven)

    def close(self) -> Archive:
        """Everything that was added, checked as one."""
        if self._n_parts > 1:
            report = Report()
            check_totals(self.directory, self._sent_bytes, self._limits, report, TOGETHER)
            check_doubles(self.directory, report, "upload", self._opened)
            report.raise_if_errors()
        return self._archive()


def _within(name: str, folder: str, work: Callable[[], tuple[Directory, Offsets]]) -> tuple[Directory, Offsets]:
    """Do something with a zip; its problems name it."""
    try:
        return work()
    except ImportProblems as problems:
        if not name:
            raise
        report = Report(limit=problems.report.limit)
        for problem in problems.report.errors:
            place = shorten(f"{folder or f'{name}/'}{problem.file}" if problem.file else name)
            report.add(replace(problem, file=place))
        report.n_errors = problems.report.n_errors
        report.counts = dict(problems.report.counts)
        raise ImportProblems(report) from None
