"""What a writer must know of a target before the first row: the id and the subset of every frame, names of labels.

Source: Open Images reference 4.2 (ids), 4.3 (subsets), 4.4 (labels).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, FrameIndex, Kept, Shapes, Tags
from app.blocks import BLOCK_BITS
from app.columns import (
    Cells,
    Ragged,
    Texts,
    decode_numbers,
    decode_runs,
    distinct,
    equal_cells,
    split_lines,
    steps,
)
from app.errors import Problem, Report, shorten
from app.formats.base import ExportOptions, Source, Target
from app.formats.open_images.attributes import AttributeDecoder
from app.formats.open_images.export_layouts import LAYOUTS, ExportLayout
from app.formats.open_images.extras import Extras, KeptTable
from app.formats.open_images.hierarchy import is_bare
from app.formats.open_images.image_ids import Ids, ImageIds
from app.formats.open_images.layout import DEFAULT_SUBSET, SHOWING
from app.formats.open_images.names import clean_subset, fold_name
from app.formats.selection import Selector

Codes = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
Annotated = TypeVar("Annotated", Shapes, Tags)

FEW_SUBSETS = 4
"""To look for the frames of so many subsets by passing over all of them takes less than to sort them."""
MOST_PASSES = 4
"""What is read for each subset anew may be read so often; more, and rows wait on disk by their subset. Those that are
read from the store may be written as they are stored there."""


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
        n_gone: rows that were left out, by the LabelName of a label that was deleted, filled on the way.
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
    n_gone: Counter[str] = field(default_factory=Counter)

    @property
    def start(self) -> int:
        """Number of the target's first frame."""
        return self.target.frames.start

    @property
    def index(self) -> FrameIndex:
        """Finds frames by the ids of kept rows."""
        return self.settled.index

    @property
    def root(self) -> bytes | None:
        """The folder that ids of kept rows lie under, as `FrameIndex.find_root` tells it."""
        return self.settled.root

    @property
    def ids(self) -> ImageIds:
        """(N,) bytes, the image id of each frame of the target; each only once."""
        return self.settled.ids

    @property
    def layout(self) -> ExportLayout:
        return LAYOUTS[self.options.layout]

    def written_subsets(self) -> list[str]:
        """The subsets that have a frame, sorted; one even where there is no frame at all."""
        used = _used(self.subsets)
        if len(used) > 1 or not self.shown.any():
            used = _used(self.subsets.take(np.flatnonzero(self.shown)))
        return sorted(used) or [DEFAULT_SUBSET]

    def shown_rows(self) -> Iterator[Rows]:
        """The places of the frames that are shown, some at a time, at least one: those of 1.74 million take 14 MB."""
        for part in steps(len(self.shown)):
            rows = np.flatnonzero(self.shown[part])
            if len(rows):
                yield part.start + rows

    def in_subset(self, frames: Codes, subset: str | None) -> Mask:
        """(N,) bool for (N,) frame numbers: shown and of this subset (None: of any); others are not of the target."""
        n = len(self.target.frames)
        is_one = subset is None or len(self.subsets.values) < 2 or subset == self._lone_subset
        if is_one and self._all_shown and _are_within(frames, self.start, self.start + n):
            return np.ones(len(frames), dtype=np.bool_)
        rows = frames.astype(np.int64) - self.start
        inside: Mask = (rows >= 0) & (rows < n)
        if not n:
            return inside
        rows = np.where(inside, rows, 0)
        chosen: Mask = inside & self.shown[rows]
        if not is_one:
            code = self.subsets.values.index(subset) if subset in self.subsets.values else -1
            chosen &= self.subsets.codes[rows] == code
        return chosen

    def places_of(self, subset: str | None, start: int, stop: int) -> Rows:
        """Places start to stop of the target, ascending: those of frames that are shown and of this subset (None: of
        any)."""
        if subset is None or len(self.subsets.values) <= FEW_SUBSETS:
            frames = np.arange(start + self.start, stop + self.start, dtype=np.int32)
            chosen = self.in_subset(frames, subset)
            return np.arange(start, stop, dtype=np.int64) if chosen.all() else start + np.flatnonzero(chosen)
        order, bounds = self._by_subset
        if subset not in self.subsets.values:
            return np.empty(0, dtype=np.int64)
        code = self.subsets.values.index(subset)
        places = order[bounds[code] : bounds[code + 1]]
        first, last = np.searchsorted(places, (start, stop)).tolist()
        within = places[first:last]
        return within[self.shown[within]].astype(np.int64)

    @cached_property
    def _by_subset(self) -> tuple[Codes, Rows]:
        """The places of all frames by their subset, and where each subset begins."""
        codes = self.subsets.codes
        bounds = np.zeros(len(self.subsets.values) + 1, dtype=np.int64)
        np.cumsum(np.bincount(codes, minlength=len(self.subsets.values)), out=bounds[1:])
        return np.argsort(codes, kind="stable").astype(np.int32), bounds

    @cached_property
    def are_subsets_mixed(self) -> bool:
        """Whether frames of many subsets lie among each other: who looks for those of one finds some in most blocks."""
        n_values = len(self.subsets.values)
        if n_values <= MOST_PASSES or not len(self.subsets):
            return False
        blocks = (np.arange(len(self.subsets), dtype=np.int64) + self.start) >> BLOCK_BITS
        n_blocks = int(blocks[-1] - blocks[0]) + 1
        return len(distinct(blocks * n_values + self.subsets.codes)) > MOST_PASSES * n_blocks

    @cached_property
    def _all_shown(self) -> bool:
        return bool(self.shown.all())

    @cached_property
    def _lone_subset(self) -> str | None:
        """The subset of all frames, if they are of one."""
        used = _used(self.subsets)
        return used[0] if len(used) == 1 else None

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
        own = self.ids.cells(frames - self.start)
        foreign = ~equal_cells(cells.buffer, cells.starts, cells.stops, own.buffer, own.starts, own.stops)
        rows = np.flatnonzero(foreign & (cells.lengths > 0))
        if not len(rows) or exact or self.layout.flat_ids:
            return foreign
        runs = decode_runs(cells.take(rows))
        asked = frames[rows[runs.starts]]
        found = self.index.match(runs.texts, self.subsets.take(asked - self.start), self.root).frames == asked
        foreign[rows] = ~runs.spread(found)
        for place in np.flatnonzero(found).tolist():
            self.spellings.setdefault(runs.texts.row_bytes(place), int(asked[place]))
        return foreign

    def sizes_of(self, frames: Codes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """(N,) widths and heights in pixels."""
        return self.target.frames.sizes(frames)

    # --- tables that rows were kept of ---

    def table(self, set_id: int, number: int) -> KeptTable:
        return self.extras[set_id].tables[number]

    def has_plain_lines(self, set_id: int, number: int, frames: Codes) -> bool:
        """Whether these kept rows of a table (of no other frames) are written as they came, as their import noted."""
        if number not in self.extras[set_id].plain or set_id in self.foreign_names:
            return False
        return not self.ids.kinds[frames - self.start].any()

    def tables_of(self, kind: str, subset: str | None) -> list[KeptTable]:
        """The tables of this kind that may have rows in a subset (None: in any)."""
        tables, by_subset = self._kept_tables.get(kind, ([], {}))
        if subset is None or self.moved_subset or kind == "images":
            return tables
        return by_subset.get(subset, by_subset[None]) if tables else tables

    @cached_property
    def _kept_tables(self) -> dict[str, tuple[list[KeptTable], dict[str | None, list[KeptTable]]]]:
        """By kind: the tables, and those that may have rows in each subset; of None those that may have in any."""
        found: dict[str, list[KeptTable]] = {}
        for extras in self.extras.values():
            for table in extras.tables:
                found.setdefault(table.kind, []).append(table)
        return {kind: (tables, self._tables_by_subset(tables)) for kind, tables in found.items()}

    def _tables_by_subset(self, tables: list[KeptTable]) -> dict[str | None, list[KeptTable]]:
        places: dict[str | None, list[int]] = {None: []}
        for place, table in enumerate(tables):
            subset = None if table.subset is None else self.subset_names.get(table.subset, table.subset)
            places.setdefault(subset, []).append(place)
        of_any = places[None]
        return {
            subset: [tables[place] for place in (sorted([*of_any, *own]) if subset is not None else of_any)]
            for subset, own in places.items()
        }

    def has_table(self, kind: str) -> bool:
        return bool(self.tables_of(kind, None))

    # --- labels ---

    @cached_property
    def hierarchies(self) -> list[str]:
        """The trees that imports left, each once: the one that counts, which is the newest that says something, then
        the others that do, the newest first."""
        newest = [extras.hierarchy for extras in reversed([*self.extras.values()]) if extras.hierarchy is not None]
        trees = list(dict.fromkeys(newest))
        return [tree for tree in trees if not is_bare(tree)] or trees[:1] if len(trees) > 1 else trees

    @cached_property
    def decoder(self) -> AttributeDecoder:
        return AttributeDecoder(self.target.labels)

    def with_renames(self, table: Annotated) -> Annotated:
        """The same annotations; where a label's attribute that shows a column is called otherwise since the import, or
        another one by such a name, as if somebody had edited the attributes: the row does not say any more what it
        shows."""
        kept, edits = table.kept, table.kept.edits
        for set_id, label_ids in self._renamed_attributes.items():
            unlike = (kept.tables >= 0) & (kept.sets == set_id) & np.isin(table.label_ids, label_ids)
            edits = np.where(unlike, edits | np.uint8(Edit.ATTRIBUTES), edits)
        return table if edits is kept.edits else table.replace(kept=kept.replace(edits=edits))

    @cached_property
    def _renamed_attributes(self) -> dict[int, Codes]:
        """By set: the labels (ids) whose attributes had other names when it was imported, as far as columns go."""
        specs = {
            spec.id: (label.id, spec.name) for label in self.target.labels.by_id.values() for spec in label.attributes
        }
        found: dict[int, Codes] = {}
        for set_id, extras in self.extras.items():
            label_ids = {
                specs[key][0]
                for key, name in extras.attributes.items()
                if key in specs and specs[key][1] != name and not SHOWING.isdisjoint((name, specs[key][1]))
            }
            if label_ids:
                found[set_id] = np.array(sorted(label_ids), dtype=np.int32)
        return found

    @cached_property
    def mids(self) -> dict[int, str]:
        """The recorded MID of each label that has one; the newest import's, of those that are no other label's. Of a
        label that is newer than the imports, the one class that has its name, as an import of it would say."""
        found: dict[int, str] = {}
        for extras in self.extras.values():
            own = {key: mid for key, mid in extras.own_mids.items() if self.owners.get(mid, key) == key}
            found.update({key: mid for key, mid in own.items() if key in self.target.labels.by_id})
        labels = self.target.labels
        new = {name: label.id for name, label in labels.by_name.items() if label.id not in found}
        if not new:
            return found
        meant = {
            name: key for one in self.extras.values() for name, key in (*one.own_names.items(), *one.mapped.items())
        }
        alike: dict[str, list[str]] = {}
        for mid, display in self.imported_classes.items():
            if display in new and mid != display:
                alike.setdefault(display, []).append(mid)
        for display, mids in alike.items():
            is_free = mids[0] not in labels.by_name and meant.get(mids[0], -1) not in labels.by_id
            if len(mids) == 1 and is_free:
                found[new[display]] = mids[0]
        return found

    @cached_property
    def owners(self) -> dict[str, int]:
        """LabelNames by which some import means another label than the export → the label that has the name here: the
        one that is called so, else what the first import means that was not told by options."""
        return {
            name: owner for name, (owner, told) in self._contests.items() if any(one != owner for one in told.values())
        }

    @cached_property
    def foreign_names(self) -> dict[int, dict[str, str]]:
        """By set: the LabelNames of its kept rows that are another label's here → what is written in their place."""
        found: dict[int, dict[str, str]] = {}
        for name, owner in self.owners.items():
            for set_id, label_id in self._contests[name][1].items():
                if label_id != owner:
                    found.setdefault(set_id, {})[name] = self.label_names[label_id]
        return found

    @cached_property
    def _contests(self) -> dict[str, tuple[int, dict[int, int]]]:
        """LabelNames that may mean several labels → which of them has it, and the label that each set means."""
        by_name, records = self.target.labels.by_name, self.extras.values()
        said: dict[str, set[int]] = {}
        for extras in records:
            for label_id, name in extras.mids.items():
                said.setdefault(name, set()).add(label_id)
            for name, label_id in (*extras.mapped.items(), *extras.also.items()):
                said.setdefault(name, set()).add(label_id)
        for name, ids in said.items():
            told = (self._called(self.imported_classes.get(name, "")), by_name[name].id if name in by_name else None)
            ids.update(label_id for label_id in told if label_id is not None)
        asked = {name for name, ids in said.items() if len(ids) > 1} | self._renamed_classes.keys()
        found: dict[str, tuple[int, dict[int, int]]] = {}
        displays = {
            set_id: {name: display for name, display in extras.classes if name in asked}
            for set_id, extras in (self.extras.items() if asked else ())
        }
        for name in sorted(asked):
            meant = {set_id: self._meant(extras, name, displays[set_id]) for set_id, extras in self.extras.items()}
            told_by = {set_id: label_id for set_id, label_id in meant.items() if label_id is not None}
            plain = [label_id for set_id, label_id in told_by.items() if name not in self.extras[set_id].mapped]
            if told_by:
                owner = by_name[name].id if name in by_name else [*plain, *told_by.values()][0]
                found[name] = owner, told_by
        return found

    def _meant(self, extras: Extras, name: str, displays: Mapping[str, str]) -> int | None:
        """The label that a LabelName meant when an import was read, as far as it is still known."""
        labels = self.target.labels
        recorded = (label_id for label_id, mid in extras.mids.items() if mid == name)
        for label_id in (extras.mapped.get(name), *recorded, extras.also.get(name)):
            if label_id is not None and label_id in labels.by_id:
                return label_id
        return labels.by_name[name].id if name in labels.by_name else self._called(displays.get(name, ""))

    @cached_property
    def _folded_names(self) -> dict[str, list[str]]:
        folded: dict[str, list[str]] = {}
        for name in self.target.labels.by_name:
            folded.setdefault(name.casefold(), []).append(name)
        return folded

    def _called(self, display: str) -> int | None:
        """The label that a display name means: the one of that name, else the only one but for letter case."""
        labels = self.target.labels.by_name
        if display in labels:
            return labels[display].id
        alike = self._folded_names.get(display.casefold(), [])
        return labels[alike[0]].id if len(alike) == 1 else None

    def tell_foreign_names(self) -> None:
        """A warning for each label that cannot be written by the name that its rows came with."""
        names = {key: label.name for key, label in self.target.labels.by_id.items()}
        for name, owner in self.owners.items() if self.options.label_ids == "mid" else ():
            for label_id in sorted({*self._contests[name][1].values()} - {owner}):
                own, other = shorten(names[owner]), shorten(names[label_id])
                message = (
                    f'"{shorten(name)}" means "{own}" in this export, but rows of "{other}" came with it, too; they '
                    f'are called "{shorten(self.label_names[label_id])}"'
                )
                self.report.add_many([Problem("export.renamed", message, "warning", value=shorten(name))], 1)

    @cached_property
    def label_names(self) -> dict[int, str]:
        """The LabelName of each label id: its recorded MID, else its name (always its name with `label_ids=name`)."""
        names = {label_id: label.name for label_id, label in self.target.labels.by_id.items()}
        return names if self.options.label_ids == "name" else names | self.mids

    @cached_property
    def labels_of_several_names(self) -> Codes:
        """Labels (ids) that rows call by more than one LabelName."""
        found: dict[int, set[str]] = {}
        for extras in self.extras.values():
            for name, label_id in (*extras.own_names.items(), *extras.mapped.items()):
                found.setdefault(label_id, set()).add(name)
        return np.array(sorted(key for key, names in found.items() if len(names) > 1), dtype=np.int32)

    def label_column(self, label_ids: Codes) -> Texts:
        """(N,) LabelNames."""
        known = sorted(self.label_names)
        codes = np.searchsorted(np.array(known, dtype=np.int64), label_ids).astype(np.int32)
        names = Texts.from_list(self.label_names[label_id] for label_id in known)
        return names.take(codes)

    @cached_property
    def imported_classes(self) -> dict[str, str]:
        """DisplayName by LabelName, of all imports, in their order; the first of each."""
        rows: dict[str, str] = {}
        for extras in self.extras.values():
            for mid, name in extras.classes:
                rows.setdefault(mid, name)
        return rows

    @cached_property
    def _renamed_classes(self) -> dict[str, None]:
        """LabelNames that not all imports give the same DisplayName."""
        known = self.imported_classes
        told = (row for extras in [*self.extras.values()][1:] for row in extras.classes)
        return {mid: None for mid, name in told if known[mid] != name}

    @cached_property
    def names_of_mids(self) -> dict[str, str]:
        """LabelName of kept rows → name of the task's label that it means."""
        by_id = self.target.labels.by_id
        found: dict[str, str] = {}
        for mid, display in self.imported_classes.items():
            called = self._called(display)
            if called is not None:
                found[mid] = by_id[called].name
        for extras in self.extras.values():
            told = (*extras.also.items(), *extras.mapped.items())
            found.update({name: by_id[label_id].name for name, label_id in told if label_id in by_id})
        found.update({mid: by_id[label_id].name for label_id, mid in self.mids.items()})
        found.update({name: by_id[label_id].name for name, label_id in self.owners.items()})
        found.update({name: name for name in self.target.labels.by_name})
        return found

    @cached_property
    def label_ids_of_names(self) -> dict[str, int]:
        """LabelName of kept rows → label id."""
        return {mid: self.target.labels.by_name[name].id for mid, name in self.names_of_mids.items()}

    @cached_property
    def gone_names(self) -> frozenset[str]:
        """LabelNames that meant a label which the task has no more, as imports recorded, and mean none that it has."""
        by_id, records = self.target.labels.by_id, self.extras.values()
        own = {mid for extras in records for key, mid in extras.own_mids.items() if key not in by_id}
        told = {
            name
            for extras in records
            for name, key in (*extras.mapped.items(), *extras.also.items())
            if key not in by_id
        }
        if not own | told:
            return frozenset()
        # The first LabelName of a label is recorded; others meant it by the same display name, or are that name.
        displays = {self.imported_classes[name] for name in own if name in self.imported_classes}
        called = set(map(fold_name, own | displays))
        alike = {name for name, display in self.imported_classes.items() if fold_name(display) in called}
        return frozenset((own | told | displays | alike) - self.label_ids_of_names.keys())

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
        known = self.target.labels.by_id
        mapped = {mid: key for one in self.extras.values() for mid, key in one.mapped.items() if key in known}
        also = {mid: key for one in self.extras.values() for mid, key in one.own_names.items() if key in known}
        meant = mapped | also | {mid: label_id for label_id, mid in self.mids.items()} | self.owners
        for mid, label_id in also.items():
            if mid != known[label_id].name:
                rows.setdefault(mid, mid)
        for mid, label_id in meant.items():
            called = self._called(rows.get(mid, ""))
            name = known[label_id].name
            # Else other readers take its rows for another's, or find no label of its new name.
            is_misread = called is not None or mid in self._renamed_classes or mid in self.owners
            was_renamed = mid not in mapped and name != mid and fold_name(name) != fold_name(rows.get(mid, name))
            if called != label_id and (is_misread or was_renamed):
                rows[mid] = name
        for label in labels:
            rows.setdefault(self.label_names[label.id], label.name)
        for name in self.strays:
            rows.setdefault(name, name)
        return self._with_own_first(rows, also)

    def _with_own_first(self, rows: Mapping[str, str], meant: Mapping[str, int]) -> list[tuple[str, str]]:
        """Of the LabelNames of a label the one that what is drawn is called by stands first: who reads the file calls
        it so, too."""
        names = list(rows)
        alike: dict[int, list[str]] = {}
        for name in names:
            if name in meant:
                alike.setdefault(meant[name], []).append(name)
        for label_id, some in alike.items():
            own = self.label_names[label_id]
            if own in some[1:]:
                names.remove(own)
                names.insert(names.index(some[0]), own)
        return [(name, rows[name]) for name in names]


def tables_of(kept: Kept, chosen: Rows | None = None) -> Iterator[tuple[int, int, Rows]]:
    """Each table that rows (all, or the chosen ones) came from: set, number, rows in order."""
    if chosen is None:
        chosen, tables, sets = np.arange(len(kept), dtype=np.int64), kept.tables, kept.sets
    else:
        tables, sets = kept.tables[chosen], kept.sets[chosen]
    if not len(chosen):
        return
    if (tables == tables[0]).all() and (sets == sets[0]).all():
        if tables[0] >= 0:
            yield int(sets[0]), int(tables[0]), chosen
        return
    is_imported = tables >= 0
    imported, keys = chosen[is_imported], sets[is_imported] << 32 | tables[is_imported]
    for key in distinct(keys).tolist():
        yield key >> 32, key & 0xFFFFFFFF, imported[keys == key]


def make_plan(source: Source, target: Target, options: ExportOptions, report: Report) -> Plan:
    """Read what the images came with, and settle their subsets."""
    extras = {set_id: Extras.from_dict(document) for set_id, document in source.extras().items()}
    start = target.frames.start
    told = Told(target)
    of_tasks = _used(target.subsets)
    if of_tasks != [source.only_subset()]:
        for frames, subsets in source.subsets():
            told.add(frames.astype(np.int64) - start, subsets)
    subset_names = _subset_names([*of_tasks, *told.used()], LAYOUTS[options.layout], report)
    subsets, moved = told.settled(subset_names)
    settled = Ids(target.frames, source.images, LAYOUTS[options.layout].flat_ids, report)
    if LAYOUTS[options.layout].flat_ids:
        _ = settled.ids  # they may be worth a warning, which comes first
    plan = Plan(target, options, report, settled, subsets, subset_names, moved, ~target.frames.deleted, extras)
    plan.tell_foreign_names()
    return plan


# --- subsets ---


def _are_within(frames: Codes, start: int, stop: int) -> bool:
    return not len(frames) or (int(frames.min()) >= start and int(frames.max()) < stop)


def _used(texts: Texts) -> list[str]:
    if len(texts) and int(texts.codes.min()) == int(texts.codes.max()):  # almost always, and found soonest
        return [texts.row(0)]
    return [texts.values[code] for code in np.flatnonzero(np.bincount(texts.codes)).tolist()]


def _subset_names(told: list[str], layout: ExportLayout, report: Report) -> dict[str, str]:
    """Each subset as it is written: fit for a path, and no two that differ by letter case only."""
    names = {"": DEFAULT_SUBSET}
    taken: dict[str, str] = {}
    # Those that can stay as they are come first, so that a cleaned name never takes the name of another subset.
    wanted = {text: clean_subset(text, layout.subset_first) for text in sorted(set(told) | {""}) if text}
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


class Told:
    """The subset of each frame: the recorded one, else the task's, else `default`. Parts come in ascending frames."""

    def __init__(self, target: Target) -> None:
        self._of_tasks = target.subsets
        self._known = {value: code for code, value in enumerate(self._of_tasks.values)}
        self._codes: Codes = self._of_tasks.codes
        self._used: set[int] = set()
        self._moves: set[tuple[int, int]] = set()  # what stands, and what an import had said

    def add(self, rows: Rows, told: Texts) -> None:
        """What imports said of some frames; of those that are there twice the last counts."""
        mapping = np.array([self._known.setdefault(value, len(self._known)) for value in told.values], dtype=np.int32)
        if not self._used:
            self._codes = self._codes.copy()
        said = mapping[told.codes]
        self._used.update(np.flatnonzero(np.bincount(said)).tolist())
        self._codes[rows] = said
        stands = self._codes[rows]
        differ = np.flatnonzero(stands != said)
        self._moves.update(zip(stands[differ].tolist(), said[differ].tolist(), strict=True))

    def used(self) -> list[str]:
        """What imports said."""
        values = list(self._known)
        return [values[code] for code in sorted(self._used)]

    def settled(self, names: Mapping[str, str]) -> tuple[Texts, bool]:
        """(N,) the subsets as they are written, and whether an import had told another one of some frame."""
        written = sorted({*names.values()})
        place = {name: code for code, name in enumerate(written)}
        mapping = np.array([place.get(names.get(value, ""), 0) for value in self._known], dtype=np.int32)
        codes = mapping[self._codes] if len(self._codes) else np.zeros(0, dtype=np.int32)
        return Texts(codes, tuple(written)), any(mapping[one] != mapping[two] for one, two in self._moves)
