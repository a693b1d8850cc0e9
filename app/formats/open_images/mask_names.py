"""Names of mask PNGs in an export: none twice in a folder, in any letter case; one kept PNG may serve several rows.

Source: Open Images reference 4.7.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from operator import add

from app.archive import ArchiveWriter
from app.formats.open_images.names import MAX_PART_BYTES, fold_name

Identity = tuple[int, int]
"""CRC-32 and size of a kept PNG."""
_NUMBER_ROOM = 12


class MaskNames:
    """The names that are taken.

    Args:
        in_all_folders: a name must be free in every folder, because readers look for the name alone.
    """

    def __init__(self, archive: ArchiveWriter, *, in_all_folders: bool) -> None:
        self._archive = archive
        self._names: set[str] | None = set() if in_all_folders else None
        self._kept: dict[str, int] = {}  # the identity as one number, a third of the memory
        self._pending: set[str] = set()  # paths of kept PNGs that are claimed and not written, folded
        self._reserved: frozenset[str] = frozenset()

    def reserve(self, names: Iterable[str]) -> None:
        """Names that `choose` passes over, in place of those reserved before."""
        self._reserved = frozenset(fold_name(name) for name in names)

    def claim(self, folder: str, name: str, identity: Identity) -> bool:
        """Take a name for a kept PNG; False where another PNG has it, or no file can."""
        path = folder + name
        if path in self._kept:
            return self._kept[path] == _number(identity)
        if not (name.isascii() or unicodedata.is_normalized("NFC", name)) or not self._is_free(folder, name):
            return False
        self._keep(path, name, identity)
        return True

    def claim_all(self, folders: Sequence[str], names: Sequence[str], identities: Sequence[Identity]) -> list[str]:
        """The paths of kept PNGs that are written at once, if each can have its name, and no other has been near it;
        none where that is not plain to see: `claim` tells of each."""
        paths = list(map(add, folders, names))
        if not self._archive.accepts_all(paths):
            return []
        folded = set(map(str.lower, paths))
        keys = set(map(str.lower, names)) if self._names is not None else set()
        is_taken = self._names is not None and (len(keys) < len(names) or not self._names.isdisjoint(keys))
        if is_taken or not self._pending.isdisjoint(folded) or not self._kept.keys().isdisjoint(paths):
            return []
        self._kept.update(zip(paths, map(_number, identities), strict=True))
        if self._names is not None:
            self._names |= keys
        return paths

    def begin(self, path: str) -> bool:
        """Whether the PNG of a claimed path is still to be written: True once."""
        key = fold_name(path)
        if key not in self._pending:
            return False
        self._pending.remove(key)
        return True

    def choose(self, folder: str, wanted: str, kept: Identity | None = None) -> str:
        """Take the name, or the first of `-2`, `-3`, … in front of `.png` that is free.

        Args:
            kept: of the kept PNG that will have this name.
        """
        name = wanted = unicodedata.normalize("NFC", wanted)
        stem = wanted.removesuffix(".png").encode()[: MAX_PART_BYTES - _NUMBER_ROOM].decode("utf-8", "ignore")
        number = 1
        while fold_name(name) in self._reserved or not self._is_free(folder, name):
            number += 1
            name = f"{stem}-{number}.png"
        if kept is not None:
            self._keep(folder + name, name, kept)
        elif self._names is not None:
            self._names.add(fold_name(name))
        return name

    def _is_free(self, folder: str, name: str) -> bool:
        if self._names is not None and fold_name(name) in self._names:
            return False
        return fold_name(folder + name) not in self._pending and self._archive.accepts(folder + name)

    def _keep(self, path: str, name: str, identity: Identity) -> None:
        self._kept[path] = _number(identity)
        self._pending.add(fold_name(path))
        if self._names is not None:
            self._names.add(fold_name(name))


def _number(identity: Identity) -> int:
    crc, size = identity
    return size << 32 | crc
