"""Names of members: from bytes to one text, and whether that text may stand in an archive.

A name is a key and never a path of the disk; still only names that every unpacker would put at the same harmless place
are taken, so that nobody who unpacks the same zip elsewhere sees other files than this service did.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Sequence
from itertools import repeat

from isal import isal_zlib

from app.archive.limits import ArchiveLimits

UTF8_FLAG = 0x800
UNICODE_PATH_ID = 0x7075  # Info-ZIP: version 1, CRC-32 of the plain name, name in UTF-8

# One part of a name without control characters, backslash or slash; C1 controls are outside ASCII.
_PLAIN_PART = re.compile(r"[^\x00-\x1f\x7f-\x9f\\/]+")
_DRIVE = re.compile(r"[A-Za-z]:")
# What Info-ZIP and others put in place of a character that the plain name cannot hold.
_REPLACED = re.compile(rb"#U[0-9A-Fa-f]{4}|#L[0-9A-Fa-f]{6}|[?_\x80-\xff]")
_MAX_KNOWN_FOLDERS = 4096


class NameRefused(Exception):
    """Why a name is refused (a clause that follows the name), and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


def decode_name(raw: bytes, flags: int, unicode_path: bytes | None) -> str:
    """The text of a name, not normalised.

    With the UTF-8 flag it is UTF-8. Without it, an Info-ZIP Unicode path (if it belongs to this very name) is the name.
    Else it is UTF-8 if it can be (macOS writes UTF-8 without the flag), else code page 437.

    Args:
        unicode_path: body of the extra field 0x7075, or None.

    Raises:
        NameRefused: not UTF-8 although it says so, or two names that differ.
    """
    if raw.isascii() and unicode_path is None:
        return raw.decode("ascii")
    stated = _stated_path(raw, unicode_path)
    if flags & UTF8_FLAG:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise NameRefused("is said to be UTF-8 and is not", "Rename the file and make the zip again.") from None
        if stated is not None and stated != text:
            raise NameRefused("has a second name that differs", "Make the zip again with an ordinary tool.")
        return text
    if stated is not None:
        if stated not in _readings(raw) and not _same_skeleton(raw, stated):
            raise NameRefused("has a second name that differs", "Make the zip again with an ordinary tool.")
        return stated
    return _readings(raw)[0]


def _readings(raw: bytes) -> list[str]:
    plain = raw.decode("cp437")
    try:
        return [raw.decode("utf-8"), plain]
    except UnicodeDecodeError:
        return [plain]


def _stated_path(raw: bytes, unicode_path: bytes | None) -> str | None:
    if unicode_path is None or len(unicode_path) < 5 or unicode_path[0] != 1:
        return None
    (crc,) = struct.unpack_from("<I", unicode_path, 1)
    if crc != isal_zlib.crc32(raw):
        return None  # the member was renamed by a tool that does not know the field; the field is void by its spec
    try:
        return unicode_path[5:].decode("utf-8")
    except UnicodeDecodeError:
        raise NameRefused("has a Unicode name that is not UTF-8", "Make the zip again with an ordinary tool.") from None


def _same_skeleton(raw: bytes, text: str) -> bool:
    """Whether `raw` may be `text` with other characters than ASCII replaced: what is left of both is the same."""
    plain = bytes(ord(c) for c in text if c.isascii() and c not in "?_")
    return not text.isascii() and _REPLACED.sub(b"", raw) == plain


class NameRules:
    """Checks names; remembers the folders it has seen, since most members share a few."""

    __slots__ = ("_folders", "_limits")

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._folders: set[str] = {""}

    def check(self, name: str) -> None:
        """Refuse a name (without the slash that ends a folder's name) that is no plain relative path.

        Raises:
            NameRefused: says what is wrong with it.
        """
        folder, slash, last = name.rpartition("/")
        if slash and not folder:
            raise NameRefused("is an absolute path", "Zip the folder's content with relative names.")
        if folder not in self._folders:
            self._check_folder(folder)
        self._check_part(last)
        if not slash:
            if _DRIVE.match(name):
                raise NameRefused("begins with a drive letter", "Zip the folder's content with relative names.")
        elif folder.count("/") + 2 > self._limits.max_depth:
            raise self._too_deep()

    def _too_deep(self) -> NameRefused:
        return NameRefused(f"has more than {self._limits.max_depth} parts, folders and all", "Flatten the folders.")

    def may_refuse(self, text: str, names: Sequence[str]) -> bool:
        """Whether `check` could refuse any of these names: ASCII without control characters, joined in `text`.
        Quick, and on the safe side."""
        lines = "\n".join(("", *names, ""))
        return (
            any(odd in text for odd in "\\:")
            or any(odd in lines for odd in ("//", "/\n", "\n/", "/.", "\n.", "\n\n"))
            or max(map(len, names)) > self._limits.max_component_bytes
            or max(map(str.count, names, repeat("/"))) + 1 > self._limits.max_depth
        )

    def _check_folder(self, folder: str) -> None:
        if folder.startswith("/"):
            raise NameRefused("is an absolute path", "Zip the folder's content with relative names.")
        if _DRIVE.match(folder):
            raise NameRefused("begins with a drive letter", "Zip the folder's content with relative names.")
        if folder.count("/") + 1 > self._limits.max_depth:
            raise self._too_deep()
        for part in folder.split("/"):
            self._check_part(part)
        if len(self._folders) < _MAX_KNOWN_FOLDERS:
            self._folders.add(folder)

    def _check_part(self, part: str) -> None:
        if part in (".", ".."):
            raise NameRefused(f'has a part "{part}"', "Zip the folder's content with plain relative names.")
        if not part:
            raise NameRefused("has an empty part", "Rename the file and make the zip again.")
        if not _PLAIN_PART.fullmatch(part):
            if "\\" in part:
                raise NameRefused("holds a backslash", "Make the zip with a tool that writes / between folders.")
            raise NameRefused("holds a control character", "Rename the file and make the zip again.")
        if len(part) > self._limits.max_component_bytes // 4:
            n_bytes = len(part.encode("utf-8"))
            if n_bytes > self._limits.max_component_bytes:
                limit = self._limits.max_component_bytes
                raise NameRefused(f"has a part of {n_bytes} bytes, over the limit of {limit}", "Shorten the name.")


def normalise(name: str) -> str:
    """NFC, so that names written by macOS equal those written elsewhere."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def fold(name: str) -> str:
    """The key under which two names count as one: case and composition do not part them."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
