"""What a writer must know of a target before the first row: the id and the subset of every frame, names of labels.

Source: Open Images reference 4.2 (ids), 4.3 (subsets), 4.4 (labels).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import FrameIndex, Kept, Shapes, Tags, TextLookup, has_repeated
from app.columns import Cells, Ragged, Texts, decode_numbers, decode_runs, equal_cells, split_lines
from app.errors import Problem, Report, shorten
from app.formats.base import ExportOptions, Source, Target
from app.formats.open_images.attributes import AttributeDecoder
from app.formats.open_images.export_layouts import LAYOUTS, ExportLayout
from app.formats.open_images.extras import Extras, KeptTable
from app.formats.open_images.layout import DEFAULT_SUBSET
from app.formats.open_images.names import clean_subset, fold_name
from app.formats.selection import Selector

Codes = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that the tables of one export have in common.

    Attributes:
        settled: the ids of the frames.
        subsets: (N,) the subset of each frame, ready for a path.
        subset_names: as archives and tasks spell them → as they are written.
        moved_subset: some frame is in another subset now than an import said.
        shown: (N,) bool, frames that are exported (deleted ones are not).
        extras: by set, oldest first.
        selector: tells which rows are exported; None: all.
        spellings: ids of kept rows that mean a frame as well as its own id: frame number by id, filled on the way.
        strays: LabelNames of rows that mean no label of the task (any more), filled on the way.
    """

    target: Target
    options: ExportOptions
    report: Report
    settled: Ids
    subsets: Texts
    subset_names: Mapping[str, str]
    moved_subset: bool
    shown: Mask
    extras: Mapping[int, Extras]
    selector: Selector | None = None
    spellings: dict[bytes, int] = field(default_factory=dict)
    strays: dict[str, None] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """Number of the target's first frame."""
        return self.target.frames.start

    @property
    def index(self) -> FrameIndex:
        """Finds frames by the ids of kept rows."""
        return self.settled.index

    @property
    def root(self) -> int | None:
        """The folder that ids of kept rows lie under, as `FrameIndex.find_root` tells it."""
        return self.settled.root

    @property
    def ids(self) -> Ragged:
        """(N,) bytes, the image id of each frame of the target; each only once."""
        return self.settled.ids

    @property
    def layout(self) -> ExportLayout:
        return LAYOUTS[self.options.layout]

    def written_subsets(self) -> list[str]:
        """The subsets that have a frame, sorted; one even where there is no frame at all."""
        used = np.unique(self.subsets.codes[self.shown]).tolist()
        return sorted(self.subsets.values[code] for code in used) or [DEFAULT_SUBSET]

    def in_subset(self, frames: Codes, subset: str | None) -> Mask:
        """(N,) bool for (N,) frame numbers: shown and of this subset (None: of any); others are not of the target."""
        rows, n = frames.astype(np.int64) - self.start, len(self.target.frames)
        inside: Mask = (rows >= 0) & (rows < n)
        if not n:
            return inside
        rows = np.where(inside, rows, 0)
        chosen: Mask = inside & self.shown[rows]
        if subset is not None and len(self.subsets.values) > 1:
            code = self.subsets.values.index(subset) if subset in self.subsets.values else -1
            chosen &= self.subsets.codes[rows] == code
        return chosen

    def chosen_shapes(self, shapes: Shapes, subset: str | None) -> Mask:
        """(N,) bool: shapes of the subset's tables that are exported."""
        chosen = self.in_subset(shapes.frames, subset)
        if self.selector is not None and chosen.any():
            chosen &= self.selector.keeps(shapes, self.confidences(shapes.kept))
        return chosen

    def chosen_tags(self, tags: Tags, subset: str | None) -> Mask:
        chosen = self.in_subset(tags.frames, subset)
        if self.selector is not None and chosen.any():
            chosen &= self.selector.keeps(tags, self.confidences(tags.kept))
        return chosen

    def confidences(self, kept: Kept) -> Reals | None:
        """(N,) the Confidence of kept rows, NaN where there is none; None where nobody asks for it."""
        if self.selector is None or not self.selector.selection.by_confidence:
            return None
        values = np.full(len(kept), np.nan, dtype=np.float64)
        for set_id, number, rows in tables_of(kept):
            block = split_lines(kept.lines.take(rows), self.table(set_id, number).columns)
            if block.has("Confidence"):
                values[rows] = decode_numbers(block.cells("Confidence")).values
        return values

    def ids_of(self, frames: Codes) -> Ragged:
        return self.ids.take(frames - self.start)

    def foreign_ids(self, cells: Cells, frames: Codes, exact: bool = False) -> Mask:
        """(N,) bool: the ImageID of a kept row that would not be found to be its frame again.

        An id that is spelled in another way than the image's own stays as it is, and is remembered for images.meta.
        Not so where ids are to be exact: datumaro looks for masks of unlisted images in a wrong folder.
        """
        own = self._id_cells.take(frames - self.start)
        foreign = ~equal_cells(cells.buffer, cells.starts, cells.stops, own.buffer, own.starts, own.stops)
        rows = np.flatnonzero(foreign)
        if not len(rows) or exact or self.layout.flat_ids:
            return foreign
        runs = decode_runs(cells.take(rows))
        asked = frames[rows[runs.starts]]
        found = self.index.match(runs.texts, self.subsets.take(asked - self.start), self.root).frames == asked
        foreign[rows] = ~runs.spread(found)
        for place in np.flatnonzero(found).tolist():
            self.spellings.setdefault(runs.texts.row_bytes(place), int(asked[place]))
        return foreign

    @cached_property
    def _id_cells(self) -> Cells:
        return Cells.of(self.ids)

    def sizes_of(self, frames: Codes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """(N,) widths and heights in pixels."""
        rows = frames - self.start
        return self.target.frames.widths[rows], self.target.frames.heights[rows]

    # --- tables that rows were kept of ---

    def table(self, set_id: int, number: int) -> KeptTable:
        return self.extras[set_id].tables[number]

    def tables_of(self, kind: str, subset: str | None) -> list[KeptTable]:
        """The tables of this kind that may have rows in a subset (None: in any)."""
        tables = [table for extras in self.extras.values() for table in extras.tables if table.kind == kind]
        if subset is None or self.moved_subset or kind == "images":
            return tables
        return [
            table
            for table in tables
            if table.subset is None or self.subset_names.get(table.subset, table.subset) == subset
        ]

    def has_table(self, kind: str) -> bool:
        return bool(self.tables_of(kind, None))

    # --- labels ---

    @cached_property
    def decoder(self) -> AttributeDecoder:
        return AttributeDecoder(self.target.labels)

    @cached_property
    def mids(self) -> dict[int, str]:
        """The recorded MID of each label that has one; the newest import's."""
        found: dict[int, str] = {}
        for extras in self.extras.values():
            found.update({key: mid for key, mid in extras.mids.items() if key in self.target.labels.by_id})
        return found

    @cached_property
    def label_names(self) -> dict[int, str]:
        """The LabelName of each label id: its recorded MID, else its name (always its name with `label_ids=name`)."""
        names = {label_id: label.name for label_id, label in self.target.labels.by_id.items()}
        return names if self.options.label_ids == "name" else names | self.mids

    def label_column(self, label_ids: Codes) -> Texts:
        """(N,) LabelNames."""
        known = sorted(self.label_names)
        codes = np.searchsorted(np.array(known, dtype=np.int64), label_ids).astype(np.int32)
        names = Texts.from_list(self.label_names[label_id] for label_id in known)
        return names.take(codes)

    @cached_property
    def imported_classes(self) -> dict[str, str]:
        """DisplayName by LabelName, of all imports, in their order."""
        rows: dict[str, str] = {}
        for extras in self.extras.values():
            for mid, name in extras.classes:
                rows.setdefault(mid, name)
        return rows

    @cached_property
    def names_of_mids(self) -> dict[str, str]:
        """LabelName of kept rows → name of the task's label that it means."""
        labels = self.target.labels.by_name
        folded: dict[str, list[str]] = {}
        for name in labels:
            folded.setdefault(name.casefold(), []).append(name)
        found: dict[str, str] = {}
        for mid, display in self.imported_classes.items():
            alike = folded.get(display.casefold(), [])
            if display in labels:
                found[mid] = display
            elif len(alike) == 1:
                found[mid] = alike[0]
        by_id = self.target.labels.by_id
        for extras in self.extras.values():
            found.update({name: by_id[label_id].name for name, label_id in extras.mapped.items() if label_id in by_id})
        found.update({mid: by_id[label_id].name for label_id, mid in self.mids.items()})
        found.update({name: name for name in labels})
        return found

    @cached_property
    def label_ids_of_names(self) -> dict[str, int]:
        """LabelName of kept rows → label id."""
        return {mid: self.target.labels.by_name[name].id for mid, name in self.names_of_mids.items()}

    def name_of(self, kept_name: str) -> str:
        """What `label_ids=name` writes for the LabelName of a row that no annotation shows."""
        if kept_name not in self.names_of_mids:
            self.strays[kept_name] = None
            return kept_name
        return self.names_of_mids[kept_name]

    def classes(self) -> list[tuple[str, str]]:
        """The rows of the class file: imported ones in their order, then the task's further labels.

        Complete when all tables are written.
        """
        labels = self.target.labels.labels
        if self.options.label_ids == "name":
            rows = {label.name: label.name for label in labels}
            rows.update({mid: self.imported_classes.get(mid, mid) for mid in self.strays})
            return list(rows.items())
        rows = dict(self.imported_classes)
        for label in labels:
            rows.setdefault(self.label_names[label.id], label.name)
        for name in self.strays:
            rows.setdefault(name, name)
        return list(rows.items())


def tables_of(kept: Kept, chosen: Rows | None = None) -> Iterator[tuple[int, int, Rows]]:
    """Each table that rows (all, or the chosen ones) came from: set, number, rows in order."""
    if chosen is None:
        chosen = np.arange(len(kept), dtype=np.int64)
    imported = chosen[kept.tables[chosen] >= 0]
    if not len(imported):
        return
    keys = kept.sets[imported] << 32 | kept.tables[imported]
    if (keys == keys[0]).all():
        yield int(keys[0] >> 32), int(keys[0] & 0xFFFFFFFF), imported
        return
    for key in np.unique(keys).tolist():
        yield key >> 32, key & 0xFFFFFFFF, imported[keys == key]


class Ids:
    """The ids of a target's frames, settled when somebody first asks: the first member of an export has begun by then.

    Args:
        images: rows of the target, ids and subsets of the frames that archives named; the newest import last.
    """

    def __init__(
        self, target: Target, images: Sequence[tuple[Rows, Ragged, Texts]], flat: bool, report: Report
    ) -> None:
        self._frames, self._images, self._flat, self._report = target.frames, images, flat, report

    @cached_property
    def index(self) -> FrameIndex:
        return FrameIndex(self._frames)

    @cached_property
    def _named(self) -> tuple[Rows, Ragged, Texts]:
        return _joined(self._images)

    @cached_property
    def root(self) -> int | None:
        rows, names, told = self._named
        parts = ((names.slice(first, stop), told.slice(first, stop)) for first, stop in _steps(len(rows)))
        return self.index.find_root(parts) if len(rows) else None

    @cached_property
    def ids(self) -> Ragged:
        rows, names, told = self._named
        found = [
            self.index.match(names.slice(first, stop), told.slice(first, stop), self.root).frames
            for first, stop in _steps(len(rows))
        ]
        frames = np.concatenate([np.zeros(0, dtype=np.int32), *found])
        still = np.flatnonzero(frames.astype(np.int64) - self._frames.start == rows)
        return _ids(self.index, rows[still], names.take(still), self._flat, self._report)


STEP = 1 << 16
"""Frames that are looked at together: what is worked out on the way stays small for millions of them."""


def _steps(n: int) -> Iterator[tuple[int, int]]:
    """Ranges that make up 0 to n."""
    for first in range(0, n, STEP):
        yield first, min(first + STEP, n)


def make_plan(source: Source, target: Target, options: ExportOptions, report: Report) -> Plan:
    """Read what the images came with, and settle their subsets."""
    extras = {set_id: Extras.from_dict(document) for set_id, document in source.extras().items()}
    start = target.frames.start
    images = [(part.frames.astype(np.int64) - start, part.names, part.subsets) for part in source.images()]
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(part[0] for part in images)])
    told = Texts.concatenate([part[2] for part in images])
    subset_names = _subset_names([*_used(target.subsets), *_used(told)], report)
    subsets, moved = _subsets(target.subsets, rows, told, subset_names)
    settled = Ids(target, images, LAYOUTS[options.layout].flat_ids, report)
    if LAYOUTS[options.layout].flat_ids:
        _ = settled.ids  # they may be worth a warning, which comes first
    return Plan(target, options, report, settled, subsets, subset_names, moved, ~target.frames.deleted, extras)


def _joined(parts: Sequence[tuple[Rows, Ragged, Texts]]) -> tuple[Rows, Ragged, Texts]:
    if not parts:
        return np.zeros(0, dtype=np.int64), Ragged.empty(np.uint8), Texts(np.zeros(0, dtype=np.int32), ())
    return (
        np.concatenate([part[0] for part in parts]),
        Ragged.concatenate([part[1] for part in parts]),
        Texts.concatenate([part[2] for part in parts]),
    )


# --- subsets ---


def _used(texts: Texts) -> list[str]:
    return [texts.values[code] for code in np.unique(texts.codes).tolist()]


def _subset_names(told: list[str], report: Report) -> dict[str, str]:
    """Each subset as it is written: fit for a path, and no two that differ by letter case only."""
    names = {"": DEFAULT_SUBSET}
    taken: dict[str, str] = {}
    # Those that can stay as they are come first, so that a cleaned name never takes the name of another subset.
    wanted = {text: clean_subset(text) for text in sorted(set(told) | {""}) if text}
    for text, name in sorted(wanted.items(), key=lambda item: item[0] != item[1]):
        stem, number = name, 1
        while taken.setdefault(fold_name(name), text) != text:
            number += 1
            name = f"{stem}-{number}"
        names[text] = name
        if name != text:
            message = f'the subset "{shorten(text)}" is written as "{name}"'
            report.add_many([Problem("export.renamed", message, "warning", value=shorten(text))], 1)
    return names


def _subsets(of_tasks: Texts, rows: Rows, told: Texts, names: Mapping[str, str]) -> tuple[Texts, bool]:
    """(N,) the recorded subset, else the task's, else `default`; and whether an import had told another one."""
    written = sorted({*names.values()})
    place = {name: code for code, name in enumerate(written)}

    def codes(texts: Texts) -> Codes:
        mapping = np.array([place.get(names.get(value, ""), 0) for value in texts.values], dtype=np.int32)
        return mapping[texts.codes] if len(texts) else np.zeros(0, dtype=np.int32)

    chosen, said = codes(of_tasks), codes(told)
    chosen[rows] = said
    return Texts(chosen, tuple(written)), bool((chosen[rows] != said).any())


# --- ids ---


def _ids(index: FrameIndex, rows: Rows, names: Ragged, flat: bool, report: Report) -> Ragged:
    """(N,) image ids, each only once: the imported one that still means this frame, the stem, or the whole path.

    Args:
        rows, names: the frames that have an imported id, and those ids; the newest import last.
        flat: ids without a folder where those still mean their frame.
    """
    paths = index.frames.names
    n = len(paths)
    choice = np.where(index.stem_is_unique, np.arange(n), n + np.arange(n))
    choice[rows] = 2 * n + np.arange(len(rows))
    ids = _chosen(choice, index.stems, paths, names)
    if flat:
        ids = _flat(index, ids, report)
    if not has_repeated(ids):
        return ids
    lookup = TextLookup(ids)
    _, members = lookup.members(np.flatnonzero(lookup.sizes > 1))
    if not len(members):
        return ids
    choice[members] = n + members
    return _unique(_chosen(choice, index.stems, paths, names))


def _chosen(choice: Rows, stems: Ragged, paths: Ragged, names: Ragged) -> Ragged:
    """(N,) of each frame its stem (choice: its row), its path (N more), or the name of that number (2 N and more)."""
    n = len(paths)
    parts = [Ragged.empty(np.uint8)]
    for first, stop in _steps(n):
        chosen, k = choice[first:stop], stop - first
        named = np.flatnonzero(chosen >= 2 * n)
        pool = Ragged.concatenate(
            [stems.slice(first, stop), paths.slice(first, stop), names.take(chosen[named] - 2 * n)]
        )
        places = np.where(chosen < n, chosen - first, chosen - n - first + k)
        places[named] = 2 * k + np.arange(len(named), dtype=np.int64)
        parts.append(pool.take(places))
    return Ragged.concatenate(parts)


def _flat(index: FrameIndex, ids: Ragged, report: Report) -> Ragged:
    """Ids without folders, where that says enough."""
    texts = ids.to_bytes_list()
    shorter = Ragged.from_bytes([text.rpartition(b"/")[2] for text in texts])
    found = index.match(shorter).frames.astype(np.int64) - index.frames.start
    means = found == np.arange(len(ids))
    deep = sum(b"/" in texts[row] for row in np.flatnonzero(~means).tolist())
    if deep:
        message = f"{deep} images lie in folders and share their file name; FiftyOne finds pictures of one folder only"
        report.add_many([Problem("export.unsupported", message, "warning")], deep)
    return Ragged.concatenate([ids, shorter]).take(np.arange(len(ids)) + np.where(means, len(ids), 0))


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
