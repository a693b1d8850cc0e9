"""What an imported archive said beyond rows: the document that the reader leaves with its set and the writer reads.

    tables      what each `Kept.tables` number stands for: kind, subset, path, header cells as they stood
    mids        the label names of the tables (mostly MIDs) by id of the task's label; the first one seen of a label.
                Labels that were deleted stay here, which tells what rows they had
    also        further label names of the tables by which rows meant a label: name → id of the task's label
    mapped      label names of the tables by which the options meant a label: name → id of the task's label
    attributes  what the attributes of the labels were called, by their ids (as JSON: name → ids)
    classes     the class files' rows, [LabelName, DisplayName], in their order, the first of each LabelName
    hierarchy   the hierarchy file's text, as it came; None where there was none
    files       files nobody interprets: where their bytes lie in the set's pack
    masks       PNGs that no row names, likewise
    linked      numbers of tables (each the twin of another) whose rows name boxes that the import had: which of the
                two ends of a relationship do, as bits
    has_side    whether there was a side file
    sided       numbers of tables (each the twin of another) whose rows say less than the shapes that they stand for:
                the side file had an entry for them
    plain       numbers of tables whose every kept line names its image by the stem of the frame's name, and is as other
                readers take it: an export writes such lines as they are, and does not look into them. The frames of
                a task keep their names. Nobody else's word is taken for it: a backup that is restored has none
    window      the frames of the job that it was brought into, as first and stop; None: of the whole task. Files may
                speak of any image of theirs, so they leave the task by no job of fewer frames

Plain JSON underneath: the store keeps it as it is. `version` grows when a field changes its meaning.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import Kept
from app.columns import distinct, split_lines
from app.errors import Damaged, shorten
from app.formats.open_images.hierarchy import is_bare as is_bare_tree
from app.formats.open_images.repairs import is_mid

VERSION = 1
WORDS = ("mids", "mapped", "also")
GONE = -1
"""Stands for a label that a task had once, and numbers below for others."""
HIERARCHY = "hierarchy.json"
"""How the name of each class hierarchy ends."""


@dataclass(frozen=True, slots=True)
class KeptTable:
    """One table that rows were kept of. `columns` are the header's cells, in order, in their own spelling.

    Where a column goes by another name than this format's usual one, `columns` has the usual one, and `spelling` the
    whole header as it stood.
    """

    kind: str
    subset: str | None
    path: str
    columns: tuple[str, ...]
    spelling: tuple[str, ...] = ()

    def to_list(self) -> list[Any]:
        told = [self.kind, self.subset, self.path, list(self.columns)]
        return [*told, list(self.spelling)] if self.spelling else told

    @classmethod
    def from_list(cls, told: Sequence[Any]) -> KeptTable:
        kind, subset, path, columns, *spelling = told
        return cls(kind, subset, path, tuple(columns), *map(tuple, spelling))


@dataclass(frozen=True, slots=True)
class KeptFile:
    """Bytes kept as they came, by `Sink.keep`."""

    path: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Extras:
    """See the module."""

    tables: tuple[KeptTable, ...] = ()
    mids: Mapping[int, str] = field(default_factory=dict)
    classes: tuple[tuple[str, str], ...] = ()
    hierarchy: str | None = None
    files: tuple[KeptFile, ...] = ()
    masks: tuple[KeptFile, ...] = ()
    sided: tuple[int, ...] = ()
    linked: Mapping[int, int] = field(default_factory=dict)
    has_side: bool = False
    mapped: Mapping[str, int] = field(default_factory=dict)
    plain: tuple[int, ...] = ()
    window: tuple[int, int] | None = None
    attributes: Mapping[int, str] = field(default_factory=dict)
    also: Mapping[str, int] = field(default_factory=dict)

    def is_within(self, start: int, stop: int) -> bool:
        """Whether frames start to stop are all that its files can speak of."""
        return self.window is not None and start <= self.window[0] and self.window[1] <= stop

    @property
    def own_mids(self) -> dict[int, str]:
        """`mids` without names that the options gave to another label: rows of those are that label's."""
        return {label_id: mid for label_id, mid in self.mids.items() if self.mapped.get(mid, label_id) == label_id}

    @property
    def own_names(self) -> dict[str, int]:
        """All LabelNames by which rows meant a label, as `own_mids`."""
        further = {name: key for name, key in self.also.items() if self.mapped.get(name, key) == key}
        return further | {mid: label_id for label_id, mid in self.own_mids.items()}

    def to_dict(self) -> dict[str, Any]:
        attributes: dict[str, list[int]] = {}
        for attribute_id, name in self.attributes.items():
            attributes.setdefault(name, []).append(attribute_id)
        told = {
            "version": VERSION,
            "tables": [table.to_list() for table in self.tables],
            "mids": {str(label_id): mid for label_id, mid in self.mids.items()},
            "classes": [list(row) for row in self.classes],
            "hierarchy": self.hierarchy,
            "files": [[f.path, f.offset, f.size, f.crc] for f in self.files],
            "masks": [[f.path, f.offset, f.size, f.crc] for f in self.masks],
            "sided": list(self.sided),
            "mapped": dict(self.mapped),
            "linked": {str(number): ends for number, ends in self.linked.items()},
            "has_side": self.has_side,
            "plain": list(self.plain),
            "attributes": attributes,
        }
        if self.also:
            told["also"] = dict(self.also)
        return told if self.window is None else {**told, "window": list(self.window)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Extras:
        first, stop = document.get("window") or (-1, -1)
        return cls(
            tables=tuple(map(KeptTable.from_list, document.get("tables", ()))),
            mids={int(label_id): mid for label_id, mid in document.get("mids", {}).items()},
            classes=tuple((mid, name) for mid, name in document.get("classes", ())),
            hierarchy=document.get("hierarchy"),
            files=tuple(KeptFile(*entry) for entry in document.get("files", ())),
            masks=tuple(KeptFile(*entry) for entry in document.get("masks", ())),
            sided=tuple(document.get("sided", ())),
            mapped=dict(document.get("mapped", {})),
            linked={int(number): ends for number, ends in document.get("linked", {}).items()},
            has_side=bool(document.get("has_side", False)),
            plain=tuple(document.get("plain", ())),
            window=None if first == -1 else (first, stop),
            attributes={key: name for name, keys in document.get("attributes", {}).items() for key in keys},
            also=dict(document.get("also", {})),
        )

    @classmethod
    def words_of(cls, document: Mapping[str, Any]) -> Extras:
        """`mids`, `mapped` and `also` alone: an archive may have left 250,000 files, and as many classes."""
        return cls.from_dict({name: document[name] for name in WORDS if name in document})


def relabel(
    document: Mapping[str, Any], label_ids: Mapping[int, int], attribute_ids: Mapping[int, int]
) -> dict[str, Any] | None:
    """The document for labels and attributes that have other ids by now: the same ones of a task that was made anew.
    Labels that the task has no more have ids below 0, so that rows of theirs are still known as such.

    Returns:
        None for a document of another format.

    Raises:
        ValueError: it is damaged.
    """
    if not {"tables", "mids", "classes"} <= document.keys():
        return None
    try:
        extras = Extras.from_dict(document)
        mids = {label_ids[label_id]: mid for label_id, mid in extras.mids.items() if label_id in label_ids}
        gone = [mid for label_id, mid in extras.mids.items() if label_id not in label_ids]
        mids |= {GONE - number: mid for number, mid in enumerate(gone)}
        texts = [*mids.values(), *(text for row in extras.classes for text in row), extras.hierarchy or ""]
        for table in extras.tables:
            texts += [table.kind, table.subset or "", table.path, *table.columns, *table.spelling]
        kept = (*extras.files, *extras.masks)
        numbers = [number for file in kept for number in (file.offset, file.size, file.crc)]
        numbers += [*extras.linked.values(), *(extras.window or ())]
        mapped = {name: label_ids.get(label_id, GONE) for name, label_id in extras.mapped.items()}
        also = {name: label_ids.get(label_id, GONE) for name, label_id in extras.also.items()}
        named = extras.attributes.items()
        attributes = {attribute_ids[key]: name for key, name in named if key in attribute_ids}
        whole = all(type(number) is int and number >= 0 for number in numbers)
        whole &= all(type(label_id) is int for label_id in (*extras.mapped.values(), *extras.also.values()))
        whole &= all(isinstance(told[3], list) for told in document["tables"])
        whole &= extras.hierarchy is None or isinstance(extras.hierarchy, str)
        if not whole or not all(isinstance(text, str) for text in (*texts, *(file.path for file in kept))):
            raise ValueError("a value of another type than it should be")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"the document of an import is damaged: {error}") from error
    return replace(extras, mids=mids, mapped=mapped, also=also, attributes=attributes, plain=()).to_dict()


def is_bare(mid: str, name: str | None) -> bool:
    """Whether a LabelName is no more than the name that its label has anyway."""
    return mid == name and not is_mid(mid)


def is_sided(extras: Mapping[int, Extras], kept: Kept) -> npt.NDArray[np.bool_]:
    """(N,) bool: the row was imported with an entry of the side file, so it says less than the annotation.

    Args:
        extras: by set.
    """
    found = np.zeros(len(kept), dtype=np.bool_)
    for set_id, one in extras.items():
        if one.sided:
            found |= (kept.sets == set_id) & np.isin(kept.tables, one.sided)
    return found & (kept.tables >= 0)


def outlives(document: Mapping[str, Any], start: int, stop: int) -> bool:
    """Whether it has files that speak of more frames than start to stop."""
    told = Extras.from_dict({name: document[name] for name in ("files", "masks", "window") if name in document})
    return bool(told.files or told.masks) and not told.is_within(start, stop)


def check_kept(document: Mapping[str, Any], kept: Kept) -> None:
    """That kept rows are rows of the document's tables.

    Raises:
        ValueError: a line that is no row of its table.
    """
    tables = [KeptTable.from_list(told) for told in document["tables"]]
    for number in distinct(kept.tables[kept.tables >= 0]).tolist():
        try:
            split_lines(kept.lines.take(np.flatnonzero(kept.tables == number)), tables[number].columns)
        except Damaged as error:
            raise ValueError(f"a kept line that is no row of {shorten(tables[number].path)}") from error


def merge_extras(
    earlier: Mapping[int, Extras], new: Extras, labels: Mapping[int, str]
) -> tuple[dict[int, Extras], Extras, bool]:
    """Documents when an archive is merged: what it says anew takes the place of what earlier ones said.

    Args:
        earlier: by set, oldest first.
        labels: names of the task's labels by id; that a label is called what it is called says nothing.

    Returns:
        The earlier documents that become others, the new one without what was there before, and whether anything is
        left of it that no earlier one says.
    """
    classes: dict[str, str] = {}
    mids: dict[int, str] = {}
    mapped: dict[str, int] = {}
    files: dict[str, tuple[int, int]] = {}
    hierarchy = None
    for extras in earlier.values():
        for name, display in extras.classes:
            classes.setdefault(name, display)
        # That a label is called what it is called says nothing.
        mids |= {key: mid for key, mid in extras.mids.items() if not is_bare(mid, labels.get(key))}
        mapped |= extras.mapped
        files |= {file.path: (file.size, file.crc) for file in chain(extras.files, extras.masks)}
        hierarchy = extras.hierarchy or hierarchy
    renamed = {name: display for name, display in new.classes if classes.get(name, display) != display}
    unlike = [file for file in chain(new.files, new.masks) if files.get(file.path) != (file.size, file.crc)]
    all_files = _all_files(earlier.values()) if unlike else set()
    fresh = {file.path for file in unlike if not _is_numbered(file, all_files, files)}
    corrects_tree = new.hierarchy not in (None, hierarchy) and not is_bare_tree(new.hierarchy or "")
    changed = {}
    for set_id, extras in earlier.items():
        other = replace(
            extras,
            classes=tuple((name, renamed.get(name, display)) for name, display in extras.classes),
            files=tuple(file for file in extras.files if file.path not in fresh),
            masks=tuple(file for file in extras.masks if file.path not in fresh),
            hierarchy=None if corrects_tree else extras.hierarchy,
        )
        if other != extras:
            changed[set_id] = other
    own_names = set(labels.values())
    # Rows that get their line from this archive keep what earlier ones showed as an attribute that is called otherwise.
    former: dict[int, str] = {}
    for extras in reversed([*earlier.values()]):
        former |= {key: name for key, name in extras.attributes.items() if name != new.attributes.get(key)}
    merged = replace(
        new,
        mids={key: mids.get(key, mid) for key, mid in new.mids.items()},
        attributes={key: former.get(key, name) for key, name in new.attributes.items()},
        classes=tuple(
            (name, display)
            for name, display in new.classes
            if name in classes or name != display or name not in own_names
        ),
        files=tuple(file for file in new.files if file.path in fresh),
        masks=tuple(file for file in new.masks if file.path in fresh),
    )
    says_more = (
        bool(changed or fresh)
        or any(name not in classes for name, _ in merged.classes)
        or any(mids.get(key) != mid != labels.get(key) for key, mid in merged.mids.items())
        or not merged.mapped.items() <= mapped.items()
        or (new.hierarchy is not None and new.hierarchy != hierarchy)
    )
    return changed, merged, says_more


def _all_files(earlier: Collection[Extras]) -> set[tuple[str, int, int]]:
    """Path, size and CRC-32 of every file that earlier imports left."""
    found = {(file.path, file.size, file.crc) for extras in earlier for file in chain(extras.files, extras.masks)}
    return found | {(HIERARCHY, *_size_and_crc(extras.hierarchy)) for extras in earlier if extras.hierarchy is not None}


def _is_numbered(file: KeptFile, known: Set[tuple[str, int, int]], newest: Mapping[str, tuple[int, int]]) -> bool:
    """Whether it is one of the known files (path, size, CRC-32) by the number that an export gave it: of several that
    have one path, of which it is not the newest."""
    stem, extension = posixpath.splitext(file.path)
    base, _, number = stem.rpartition("-")
    if not (base and number.isascii() and number.isdigit()):
        return False
    path = base + extension
    paths = (path, HIERARCHY) if path.lower().endswith(HIERARCHY) else (path,)
    return newest.get(path) != (file.size, file.crc) and any((each, file.size, file.crc) in known for each in paths)


def _size_and_crc(text: str) -> tuple[int, int]:
    data = text.encode()
    return len(data), isal_zlib.crc32(data)
