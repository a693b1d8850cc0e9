"""What a writer must know of a target before the first row: the id and the subset of every frame, names of labels.

Source: Open Images reference 4.2 (ids), 4.3 (subsets), 4.4 (labels).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import FrameIndex, TextLookup
from app.columns import Ragged, Texts
from app.errors import Report
from app.formats.base import ExportOptions, Source, Target
from app.formats.open_images.attributes import AttributeDecoder
from app.formats.open_images.extras import Extras, KeptTable
from app.formats.open_images.layout import DEFAULT_SUBSET
from app.formats.open_images.names import clean_subset

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that the tables of one export have in common.

    Attributes:
        ids: (N,) bytes, the image id of each frame of the target.
        subsets: (N,) the subset of each frame, ready for a path.
        shown: (N,) bool, frames that are exported (deleted ones are not).
        extras: by set, oldest first.
    """

    target: Target
    options: ExportOptions
    report: Report
    ids: Ragged
    subsets: Texts
    shown: Mask
    extras: Mapping[int, Extras]

    @property
    def start(self) -> int:
        """Number of the target's first frame."""
        return self.target.frames.start

    def subset_names(self) -> list[str]:
        """The subsets that have a frame, sorted; one even where there is no frame at all."""
        used = np.unique(self.subsets.codes[self.shown]).tolist()
        return sorted(self.subsets.values[code] for code in used) or [DEFAULT_SUBSET]

    def in_subset(self, frames: Codes, subset: str) -> Mask:
        """(N,) bool for (N,) frame numbers: shown and of this subset; numbers outside the target are not."""
        rows = frames - self.start
        inside = (rows >= 0) & (rows < len(self.ids))
        rows = np.where(inside, rows, 0)
        if not len(self.ids):
            return inside
        code = self.subsets.values.index(subset) if subset in self.subsets.values else -1
        chosen: Mask = inside & self.shown[rows] & (self.subsets.codes[rows] == code)
        return chosen

    def ids_of(self, frames: Codes) -> Ragged:
        return self.ids.take(frames - self.start)

    def sizes_of(self, frames: Codes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """(N,) widths and heights in pixels."""
        rows = frames - self.start
        return self.target.frames.widths[rows], self.target.frames.heights[rows]

    def table(self, set_id: int, number: int) -> KeptTable:
        return self.extras[set_id].tables[number]

    @cached_property
    def decoder(self) -> AttributeDecoder:
        return AttributeDecoder(self.target.labels)

    @cached_property
    def label_names(self) -> dict[int, str]:
        """The LabelName of each label id: its recorded MID, else its name (always its name with `label_ids=name`)."""
        names = {label_id: label.name for label_id, label in self.target.labels.by_id.items()}
        if self.options.label_ids == "mid":
            for extras in reversed(list(self.extras.values())):
                names.update({label_id: mid for label_id, mid in extras.mids.items() if label_id in names})
        return names

    def label_column(self, label_ids: Codes) -> Texts:
        """(N,) LabelNames."""
        known = sorted(self.label_names)
        codes = np.searchsorted(np.array(known, dtype=np.int64), label_ids).astype(np.int32)
        return Texts(codes, tuple(self.label_names[label_id] for label_id in known))

    def classes(self) -> list[tuple[str, str]]:
        """The rows of the class file: imported ones in their order, then the task's further labels."""
        if self.options.label_ids == "name":
            return [(label.name, label.name) for label in self.target.labels.labels]
        rows: dict[str, str] = {}
        for extras in self.extras.values():
            for mid, name in extras.classes:
                rows.setdefault(mid, name)
        for label in self.target.labels.labels:
            rows.setdefault(self.label_names[label.id], label.name)
        return list(rows.items())


def make_plan(source: Source, target: Target, options: ExportOptions, report: Report) -> Plan:
    """Read what the images came with, and settle ids and subsets."""
    extras = {set_id: Extras.from_dict(document) for set_id, document in source.extras().items()}
    n, start = len(target.frames), target.frames.start
    index = FrameIndex(target.frames)
    rows, names, subsets = _imported(source, start)
    subset_column = _subsets(target.subsets, rows, subsets)
    ids = _ids(index, n, rows, names, subsets, start)
    return Plan(target, options, report, ids, subset_column, ~target.frames.deleted, extras)


def _imported(source: Source, start: int) -> tuple[npt.NDArray[np.int64], Ragged, Texts]:
    """Rows of the target, ids and subsets of the frames that archives named; the newest import last."""
    parts = [(images.frames.astype(np.int64) - start, images.names, images.subsets) for images in source.images()]
    if not parts:
        return np.zeros(0, dtype=np.int64), Ragged.empty(np.uint8), Texts.same("", 0)
    return (
        np.concatenate([part[0] for part in parts]),
        Ragged.concatenate([part[1] for part in parts]),
        Texts.concatenate([part[2] for part in parts]),
    )


def _subsets(of_tasks: Texts, rows: npt.NDArray[np.int64], imported: Texts) -> Texts:
    """(N,) the recorded subset, else the task's, else `default`, each fit for a path."""
    both = Texts.concatenate([of_tasks, imported])
    codes = both.codes[: len(of_tasks)].copy()
    codes[rows] = both.codes[len(of_tasks) :]
    values = [clean_subset(value) if value else DEFAULT_SUBSET for value in both.values]
    return Texts(np.zeros(0, dtype=np.int32), ()) if not values else _merge_equal(codes, values)


def _merge_equal(codes: Codes, values: list[str]) -> Texts:
    known: dict[str, int] = {}
    mapping = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)
    return Texts(mapping[codes], tuple(known))


def _ids(index: FrameIndex, n: int, rows: npt.NDArray[np.int64], names: Ragged, subsets: Texts, start: int) -> Ragged:
    """(N,) image ids, each only once: the imported one that still means this frame, the stem, or the whole path."""
    paths = index.frames.names
    choice = np.where(index.stem_is_unique, np.arange(n), n + np.arange(n))
    pool = [index.stems, paths]
    if len(rows):
        still = index.match(names, subsets).frames.astype(np.int64) - start == rows
        choice[rows[still]] = 2 * n + np.flatnonzero(still)
        pool.append(names)
    ids = Ragged.concatenate(pool).take(choice)
    lookup = TextLookup(ids)
    _, members = lookup.members(np.flatnonzero(lookup.sizes > 1))
    if len(members):
        choice[members] = n + members
        ids = Ragged.concatenate(pool).take(choice)
    return _unique(ids)


def _unique(ids: Ragged) -> Ragged:
    """Frames of one path can only be those of several tasks of a project: all but the first get a number."""
    lookup = TextLookup(ids)
    _, members = lookup.members(np.flatnonzero(lookup.sizes > 1))
    if not len(members):
        return ids
    texts = ids.to_texts()
    taken, seen = set(texts), set()
    for row in np.sort(members).tolist():
        text, number = texts[row], 2
        while texts[row] in seen or (texts[row] != text and texts[row] in taken):
            texts[row], number = f"{text}_{number}", number + 1
        seen.add(texts[row])
    return Ragged.from_bytes([text.encode("utf-8") for text in texts])
