"""`map=`: labels and subsets of an archive that are called otherwise in the task.

    label:Feline=cat,subset:val=validation        a LabelName or display name → a label of the task; a subset → another
    "label:Salt, pepper=spices"                   an entry that holds a comma is quoted, as in every list
    label:a\\=b=c                                  an equals sign in a name: with a backslash (and a backslash likewise)

The same for every format. An import tells what a mapping names that neither the archive nor the task has.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.errors import InvalidInput, Report, shorten
from app.formats.selection import split_list

KINDS = ("label", "subset")
SYNTAX = "an entry is label:FROM=TO or subset:FROM=TO"


@dataclass(frozen=True, slots=True)
class Renaming:
    """What is called otherwise.

    Attributes:
        labels, subsets: name in the archive → name in the task.
        used: (kind, name in the archive) of those that something was called; readers fill it.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    subsets: Mapping[str, str] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    def label(self, *names: str) -> str | None:
        """The task's label that a class of these names (LabelName, display name) is mapped to."""
        return self._find("label", self.labels, names)

    def subset(self, name: str) -> str | None:
        return self._find("subset", self.subsets, (name,))

    def _find(self, kind: str, known: Mapping[str, str], names: Iterable[str]) -> str | None:
        for name in names:
            if name in known:
                self.used.add((kind, name))
                return known[name]
        return None

    def tell_unused(self, report: Report, labels: Iterable[str], subsets: Iterable[str]) -> None:
        """Warn of what an archive with these names does not have."""
        for kind, mapping, there in (("label", self.labels, labels), ("subset", self.subsets, subsets)):
            unused = [name for name in mapping if (kind, name) not in self.used]
            names = dict.fromkeys(there) if unused else {}
            for name in unused:
                if name in names:
                    continue  # it is declared, if only no row is of it
                # Only while it is listed: `map` may have thousands of entries.
                near = difflib.get_close_matches(name, names, 1, cutoff=0.6) if report.room("warning") > 1 else []
                hint = f"; did you mean {near[0]!r}?" if near else ""
                message = f'map: the archive has no {kind} "{shorten(name)}"{hint}'
                report.warn("map.unused", message, value=name, suggestion=near[0] if near else None)


def parse_renaming(text: str) -> Renaming:
    """The renaming that an option's text asks for.

    Raises:
        InvalidInput: an entry that cannot be understood; `place` is `map`.
    """
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for entry in split_list(text):
        kind, colon, rest = entry.partition(":")
        kind = kind.strip().casefold()
        if not colon or kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1, cutoff=0.6) if colon else []
            hint = f'; did you mean "{near[0]}:"?' if near else f"; {SYNTAX}"
            raise _refuse(f'"{shorten(entry)}" says neither label nor subset{hint}')
        parts = _split(rest)
        if len(parts) != 2 or not parts[0] or not parts[1]:
            why = "has more than one =; write those of a name as \\=" if len(parts) > 2 else f"is no mapping; {SYNTAX}"
            raise _refuse(f'"{shorten(entry)}" {why}')
        name, other = parts
        if kind == "subset" and (any(c in other for c in "/\\\0") or other in (".", "..")):
            raise _refuse(f'"{shorten(other)}" cannot be a subset: it is the name of a folder')
        if found[kind].setdefault(name, other) != other:
            raise _refuse(f'the {kind} "{shorten(name)}" is mapped to two names')
    return Renaming(found["label"], found["subset"])


def _split(text: str) -> list[str]:
    """The parts between equals signs; a backslash takes the next character as it is."""
    parts, is_taken = [""], False
    for character in text:
        if is_taken or character not in "=\\":
            parts[-1] += character
            is_taken = False
        elif character == "=":
            parts.append("")
        else:
            is_taken = True
    return [part.strip() for part in parts]


def _refuse(message: str) -> InvalidInput:
    return InvalidInput(message, place="map", code="option.value")
