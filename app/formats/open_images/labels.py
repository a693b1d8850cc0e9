"""Class files, and the task label that a row's LabelName means.

Source: Open Images reference 2.5 (headers), 3.5 (matching), 4.4 (what is written).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import LabelCatalog
from app.columns import Cells, Coded, CSVBlock, CSVReader, TextIndex, told_delimiter
from app.errors import ImportProblems, Report, shorten
from app.formats.open_images.extras import Extras, is_bare
from app.formats.open_images.layout import CLASS_HEADERS
from app.formats.open_images.names import composed, fold_name
from app.formats.open_images.repairs import Repairs, is_header_row, is_mid
from app.formats.renaming import Renaming

NO_LABEL, NOT_ASKED = -1, -2
MAX_CLASSES = 250_000
LABELS_SHOWN = 3


@dataclass(slots=True)
class ClassNames:
    """The class files of an archive: display name by MID, in order of appearance; the first of a MID wins. Their
    number, and that of the names of rows, is bounded, for all are held at once.

    Attributes:
        wider: paths of the files that say more than names, such as V7's with its counts of points.
    """

    display_names: dict[str, str] = field(default_factory=dict)
    limit: int = MAX_CLASSES
    wider: list[str] = field(default_factory=list)

    def add_table(
        self,
        blocks: Iterable[bytes],
        file: str,
        report: Report,
        max_field_bytes: int,
        max_columns: int,
        repairs: Repairs | None = None,
    ) -> None:
        """Read one class file, with or without header; trailing cells are passed over."""
        repairs = repairs or Repairs(report)
        reader = CSVReader(
            blocks, report, file, columns=(), ragged=True, max_field_bytes=max_field_bytes, max_columns=max_columns
        )
        count, first = report.table(file), True
        for block in reader:
            mids, names = block.cells_at(0), block.cells_at(1)
            start = 1 if first and len(block) and _is_header(mids, names) else 0
            count.seen += block.n_seen - start
            count.dropped += block.n_seen - len(block)
            if first and len(block) and _is_otherwise_separated(block, file, report):
                count.dropped += len(block)
                return
            first = first and not len(block)
            if file not in self.wider and _has_further_cells(block):
                self.wider.append(file)
            for row in range(start, len(block)):
                mid, name = _mended(mids.row_text(row), names.row_text(row), file, int(block.rows[row]), repairs)
                if name is None:
                    count.dropped += 1
                else:
                    self._add(mid, name, block, row, file, report)

    def _add(self, mid: str, name: str, block: CSVBlock, row: int, file: str, report: Report) -> None:
        place = {"file": file, "row": int(block.rows[row])}
        count = report.table(file)
        if not mid:
            report.error("value.missing", "a class needs its LabelName", column="LabelName", value="", **place)
            count.dropped += 1
            return
        known = self.display_names.setdefault(mid, name)
        if len(self.display_names) > self.limit:
            message = f"more than {self.limit:,} classes; leave out those that no row names"
            report.error("csv.too_big", message, column="LabelName", value=mid, **place)
            raise ImportProblems(report)
        count.kept += 1
        if known == mid:
            self.display_names[mid] = name  # a MID is no name of itself where there is another
        elif known != name and name != mid:
            report.warn(
                "label.name_conflict",
                f'"{shorten(mid)}" is named "{shorten(known)}" and "{shorten(name)}"; the first is taken',
                column="DisplayName",
                value=name,
                **place,
            )


def _mended(mid: str, name: str, file: str, row: int, repairs: Repairs) -> tuple[str, str | None]:
    """A row of a class file without what other tools are known to do to it; no name for one that is no class."""
    if is_header_row(mid, name):
        message = "a header that was taken for a class; no class is made of it"
        repairs.tell("class.header_row", file, 1, message, row, "LabelName", mid)
        return mid, None
    if is_mid(name):
        if mid == name:
            message = (
                "classes are called by their MID, as datumaro and CVAT write them; other names are used where known"
            )
            repairs.tell("class.named_by_mid", file, 1, message, row, "DisplayName", name)
        elif mid and not is_mid(mid):
            message = "DisplayName stands before LabelName; the two are read the other way round"
            repairs.tell("class.swapped", file, 1, message, row, "LabelName", mid)
            return name, mid
    return mid, name


def _is_otherwise_separated(block: CSVBlock, file: str, report: Report) -> bool:
    """Whether the first row is one cell that holds a MID and a name; it is told."""
    line = block.lines_at(np.zeros(1, dtype=np.int64)).row_bytes(0)
    message = told_delimiter(line)
    parts = re.split("[;\t|]", line.decode("utf-8"))
    if int(block.field_counts[0]) > 1 or message is None or not (any(map(is_mid, parts)) or is_header_row(*parts[:2])):
        return False
    report.error("csv.delimiter", message, file=file, row=int(block.rows[0]), value=shorten(line.decode("utf-8")))
    return True


def _has_further_cells(block: CSVBlock) -> bool:
    """Whether a cell behind LabelName and DisplayName holds something."""
    return any(bool(block.cells_at(place).lengths.any()) for place in range(2, int(block.field_counts.max(initial=0))))


def _is_header(mids: Cells, names: Cells) -> bool:
    return (mids.row_text(0).strip().casefold(), names.row_text(0).strip().casefold()) in CLASS_HEADERS


def recorded_maps(extras: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
    """LabelName → label id, as earlier imports were told to map them; the newest import's."""
    maps: dict[str, int] = {}
    for document in extras.values():
        maps |= Extras.words_of(document).mapped
    return maps


def recorded_mids(extras: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """Label id → the LabelName it came with in the imports that are still known; the newest import's."""
    mids: dict[int, str] = {}
    for document in extras.values():
        mids |= Extras.words_of(document).own_mids
    return mids


def recorded_names(extras: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
    """LabelName → label id, of all by which rows of the imports that are still known meant a label; the newest
    import's."""
    found: dict[str, int] = {}
    for document in extras.values():
        found |= Extras.words_of(document).own_names
    return found


class LabelMatcher:
    """LabelName cells to label ids. A name that means no label is reported once, at the first row that uses it.

    Attributes:
        mids: label id → its recorded MID, from an earlier import.
        undeclared: LabelName → label name, of those in no class file.
        mapped: LabelName → label id, of those that mean a label by the options alone, now or in an earlier import.
    """

    def __init__(
        self,
        catalog: LabelCatalog,
        classes: ClassNames,
        earlier: Mapping[int, Mapping[str, Any]],
        report: Report,
        renaming: Renaming,
        passes_over: bool = False,
        unneeded: frozenset[str] = frozenset(),
    ) -> None:
        """Nothing is resolved yet.

        Args:
            passes_over: names that mean no label are warnings: only rows of some classes are wanted.
            unneeded: the names of which the same is true, else.
        """
        self._report, self._renaming, self._passes_over = report, renaming, passes_over
        self._unneeded, self._passed_over = unneeded, set[str]()
        self._classes, self._limit = classes.display_names, classes.limit
        self._names = {label.name: label.id for label in catalog.labels}
        self._label_names = {label.id: label.name for label in catalog.labels}
        self._folded: dict[str, list[int]] = {}
        self._composed: dict[str, list[int]] = {}
        for label in catalog.labels:
            self._folded.setdefault(fold_name(label.name), []).append(label.id)
            self._composed.setdefault(composed(label.name), []).append(label.id)
        known = recorded_mids(earlier)
        self.mids = {label_id: mid for label_id, mid in known.items() if label_id in self._label_names}
        self._by_mid = {
            name: label_id for name, label_id in recorded_names(earlier).items() if label_id in self._label_names
        }
        self._by_mid |= {mid: label_id for label_id, mid in reversed(self.mids.items())}
        self.mapped = {
            name: label_id for name, label_id in recorded_maps(earlier).items() if label_id in self._label_names
        }
        self._told_targets: set[str] = set()
        self.undeclared: dict[str, str] = {}
        # The first MID of each display name, and those that share one: files may hold a million of them.
        self._by_display: dict[str, str] = {}
        self._sharing: dict[str, list[str]] = {}
        for mid, name in self._classes.items():
            if self._by_display.setdefault(name, mid) != mid:
                self._sharing.setdefault(name, []).append(mid)
        self._index = TextIndex()
        self._label_ids: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._used: dict[int, str] = {}
        self._meant: dict[str, int] = {}  # LabelNames of rows → label id, but for mapped ones

    def codes(self, cells: Cells, file: str) -> npt.NDArray[np.int32]:
        """(N,) int32, a number for each cell's text; `name` tells the text. Raises ImportProblems: too many names."""
        codes = self._index.codes(cells)
        missing = len(self._index.values) - len(self._label_ids)
        if missing:
            if len(self._index.values) > self._limit:
                message = f"rows name more than {self._limit:,} classes; is it the right column?"
                value = self._index.values[self._limit]
                self._report.error("csv.too_big", message, file=file, column="LabelName", value=value)
                raise ImportProblems(self._report)
            self._label_ids = np.append(self._label_ids, np.full(missing, NOT_ASKED, dtype=np.int32))
        return codes

    def codes_of(self, column: Coded, file: str) -> npt.NDArray[np.int32]:
        """The same of a column of few texts; those that no row has are not looked at."""
        if column.codes is None:
            return self.codes(column.cells, file)
        known = column.notes.get(self, np.zeros(0, dtype=np.int32))
        if len(known) < len(column.cells):
            known = np.concatenate([known, np.full(len(column.cells) - len(known), -1, dtype=np.int32)])
            column.notes[self] = known
        codes: npt.NDArray[np.int32] = known[column.codes]
        new = np.flatnonzero(codes < 0)
        if len(new):
            _, first = np.unique(column.codes[new], return_index=True)
            cells = column.codes[np.sort(new[first])]  # in the order in which rows have them
            known[cells] = self.codes(column.cells.take(cells), file)
            codes = known[column.codes]
        return codes

    @property
    def names(self) -> tuple[str, ...]:
        """Every LabelName that was seen."""
        return tuple(self._index.values)

    def name(self, code: int) -> str:
        return self._index.values[code]

    def resolve(
        self,
        codes: npt.NDArray[np.int32],
        rows: npt.NDArray[np.int64],
        file: str,
        column: str = "LabelName",
        needed: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.int32]:
        """(N,) int32, the label id of each row, `NO_LABEL` where there is none.

        Args:
            codes: of `codes`; none of an empty cell.
            rows: (N,) the lines of the file, for messages.
            needed: (N,) rows that need a label, None: all; others are passed over where they have none.
        """
        for at in self._not_asked(codes, needed):
            self._label_ids[codes[at]] = self._resolve_one(self.name(int(codes[at])), file, int(rows[at]), column)
        if needed is None:
            return self._label_ids[codes]
        for at in self._not_asked(codes, ~needed):
            name = self.name(int(codes[at]))
            place = {"file": file, "row": int(rows[at]), "column": column, "value": name}
            if self.find(name) is None:  # and another row may need it still
                self._pass_over(name, place)
            else:
                self._label_ids[codes[at]] = self._resolve_one(name, file, int(rows[at]), column)
        return np.maximum(self._label_ids[codes], NO_LABEL)

    def _not_asked(self, codes: npt.NDArray[np.int32], among: npt.NDArray[np.bool_] | None) -> list[int]:
        """The first place of each name that was not looked up yet."""
        open_ = self._label_ids[codes] == NOT_ASKED
        asked = np.flatnonzero(open_ if among is None else open_ & among)
        if not len(asked):
            return []
        _, first = np.unique(codes[asked], return_index=True)
        places: list[int] = np.sort(asked[first]).tolist()
        return places

    def _pass_over(self, name: str, place: dict[str, Any]) -> None:
        if name not in self._passed_over:
            self._passed_over.add(name)
            message = f'no label of the task is called "{shorten(self._shown(name))}"; its rows were not selected'
            self._report.warn("label.passed_over", message, **place)

    def meant(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """(N,) int32, the same of rows that need no label: nothing is told."""
        distinct, inverse = np.unique(codes, return_inverse=True)
        found = [self.find(self.name(code)) for code in distinct.tolist()]
        ids = np.array([NO_LABEL if label_id is None else label_id for label_id in found], dtype=np.int32)
        return ids[inverse] if len(codes) else np.zeros(0, dtype=np.int32)

    def _resolve_one(self, name: str, file: str, row: int, column: str) -> int:
        place = {"file": file, "row": row, "column": column, "value": name}
        label_id = self.find(name)
        if label_id is None and self._is_mapped_to_nothing(name, place):
            return NO_LABEL
        if label_id is None and (self._passes_over or name in self._unneeded):
            self._pass_over(name, place)
            return NO_LABEL
        if label_id is None:
            hint, suggestion = self._meant_name(name)
            hint = hint or self._what_to_do(name)
            self._report.error(
                "label.unknown",
                f'no label of the task is called "{shorten(self._shown(name))}"{hint}',
                suggestion=suggestion,
                **place,
            )
            return NO_LABEL
        if name not in self._classes and name not in self._by_display:
            self.undeclared[name] = self._label_names[label_id]
            self._report.warn("label.undeclared", f'"{shorten(name)}" is in no class file', **place)
        self._tell_contradiction(name, label_id, place)
        if name in self.mapped:
            return label_id
        first = self._used.setdefault(label_id, name)
        if first != name:
            label = self._label_names[label_id]
            self._report.warn(
                "label.shared_name",
                f'"{shorten(first)}" and "{shorten(name)}" both mean the label "{shorten(label)}"; rows keep their own',
                **place,
            )
        self._meant[name] = label_id
        return label_id

    def _tell_contradiction(self, name: str, label_id: int, place: dict[str, Any]) -> None:
        """A LabelName that an earlier import brought for one label, and that a class file calls like another one."""
        display = self._classes.get(name, "")
        other = self._names.get(display, label_id)
        if name in self.mapped or name in self._names or other == label_id:
            return
        label = shorten(self._label_names[label_id])
        message = (
            f'"{shorten(name)}" is named "{shorten(display)}", but an earlier import brought it for "{label}", which '
            f'its rows mean; if they are to be "{shorten(display)}", say map=label:{shorten(name)}={shorten(display)}'
        )
        self._report.warn("label.name_conflict", message, **place)

    def _is_mapped_to_nothing(self, name: str, place: dict[str, Any]) -> bool:
        """Whether the options map a LabelName to a label that the task has not, which is told once."""
        wanted = self._renaming.label(name, self._classes.get(name, ""))
        if wanted is None:
            return False
        if wanted not in self._told_targets:
            self._told_targets.add(wanted)
            hint, suggestion = self._meant_name(wanted)
            words = (
                f'"{shorten(self._shown(name))}" is mapped to "{shorten(wanted)}", which is no label of the task{hint}'
            )
            self._report.error("map.unknown", words, suggestion=suggestion, **place)
        return True

    def find(self, name: str) -> int | None:
        """The label id that a LabelName means: by the options, else by the four steps of 3.5, else as an earlier import
        was told. Nothing is reported."""
        wanted = self._renaming.label(name, self._classes.get(name, ""))
        if wanted is None:
            found = self._match(name)
            if found is None:
                return self.mapped.get(name)
            if self.mapped.get(name, found) != found:
                del self.mapped[name]  # what an earlier import was told says nothing of this one's rows
            return found
        found = self._match(wanted)
        if found is None:
            alike = self._folded.get(fold_name(wanted), [])
            found = alike[0] if len(alike) == 1 else None
        if found is not None:
            self.mapped[name] = found
        return found

    def _match(self, name: str) -> int | None:
        """The four steps of 3.5; then a label's name in another composition of its letters, if only one has it."""
        if name in self._names:
            return self._names[name]
        if name in self._by_mid:
            return self._by_mid[name]
        display = self._classes.get(name)
        if display:
            if display in self._names:
                return self._names[display]
            alike = self._folded.get(fold_name(display), [])
            if len(alike) == 1:
                return alike[0]
        if name in self._by_display:
            for mid in (self._by_display[name], *self._sharing.get(name, ())):
                if mid in self._names:
                    return self._names[mid]
        alike = self._composed.get(composed(name), [])
        return alike[0] if len(alike) == 1 else None

    def recorded(self) -> dict[int, str]:
        """The MID of each label: from an earlier import, or from rows, of several the first in the class files; else
        from the class files where one class alone has the label's name. The label's name itself only where there is no
        other: it says nothing."""
        names = self._label_names
        found = {label_id: mid for label_id, mid in self.mids.items() if not is_bare(mid, names[label_id])}
        places = {name: place for place, name in enumerate(self._classes)} if len(self._meant) > 1 else {}
        for name in sorted(self._meant, key=lambda name: places.get(name, len(places))):
            if not is_bare(name, names[self._meant[name]]):
                found.setdefault(self._meant[name], name)
        for label_id, name in names.items():
            if label_id in found or name not in self._by_display:
                continue
            alike = [mid for mid in (self._by_display[name], *self._sharing.get(name, ())) if mid != name]
            if len(alike) != 1:
                continue
            owner = self._names.get(alike[0], self._by_mid.get(alike[0], self.mapped.get(alike[0], label_id)))
            if owner == label_id:  # else its rows mean another label
                found[label_id] = alike[0]
        for name, label_id in self._meant.items():
            found.setdefault(label_id, name)
        return self.mids | found

    def also(self) -> dict[str, int]:
        """LabelName → label id, of the other names by which rows mean a label."""
        found = self.recorded()
        return {name: label_id for name, label_id in self._meant.items() if found.get(label_id) != name}

    def _meant_name(self, name: str) -> tuple[str, str | None]:
        """What to ask behind a message about an unknown name, and the suggestion; nothing once no more is listed, for a
        file may have a million other names."""
        if self._report.room() <= 1:
            return "", None
        bare = name.strip()
        if bare != name and self.find(bare) is not None:
            return f'; it has blanks around it, write "{shorten(bare)}"', bare
        near = self.nearest(name)
        return (f"; did you mean {near[0]!r}?", near[0]) if near else ("", None)

    def _what_to_do(self, name: str) -> str:
        """About a name that is like no label's."""
        if is_mid(name) and name not in self._classes:
            return "; no class file tells its name: send class-descriptions.csv with it"
        some = ", ".join(f'"{shorten(label)}"' for label in [*self._names][:LABELS_SHOWN])
        has = f"the task has {some}{' …' if len(self._names) > LABELS_SHOWN else ''}" if some else "the task has none"
        return f"; {has}. labels=create makes what is missing, map=label:NAME=LABEL says which label is meant"

    def nearest(self, name: str) -> list[str]:
        """Labels of the task that look like a name or its display name."""
        folded = {label.casefold(): label for label in reversed(self._names)}
        asked = [text.strip().casefold()[:120] for text in (name, self._classes.get(name, ""))]
        found = [hit for text in asked if text for hit in difflib.get_close_matches(text, folded, 3, cutoff=0.6)]
        return list(dict.fromkeys(folded[hit] for hit in found))

    def _shown(self, name: str) -> str:
        display = self._classes.get(name)
        return f"{name} ({display})" if display and display != name else name
