"""What all readers of one import share: the archive and its target, ids found, subsets claimed, problems told.

    TableState   one table being read: its place in the kept tables, its count, the folder its ids lie under
    Reading      everything else; `images` below are frames that some row names

Source: Open Images reference 3.3 (ids), 3.4 (subsets), 6 (problems).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, FrameIndex, Kept, TextSet, equal_rows
from app.archive import Archive, Entry, read_ahead
from app.columns import (
    Cells,
    Coded,
    CSVBlock,
    CSVReader,
    FewTexts,
    Ragged,
    TextIndex,
    Texts,
    decode_numbers,
    decode_runs,
)
from app.errors import Damaged, ImportProblems, Problem, Report, Severity, shorten
from app.formats.base import ImportOptions, Progress, Sink, Target
from app.formats.open_images.attributes import AttributeDecoder, AttributeEncoder, TextsByKind
from app.formats.open_images.consistency import Consistency
from app.formats.open_images.extras import KeptFile, KeptTable
from app.formats.open_images.labels import ClassNames, LabelMatcher
from app.formats.open_images.layout import (
    ALIASES,
    COLUMNS,
    LABEL_COLUMNS,
    LABEL_TYPE_OF,
    REQUIRED,
    VAL,
    VALIDATION,
    Layout,
    TableFile,
    unzipped,
)
from app.formats.open_images.names import is_plain_name
from app.formats.open_images.repairs import Repairs, has_foreign_ends
from app.formats.open_images.side_items import ItemCodec
from app.formats.open_images.side_read import SideFile
from app.formats.renaming import parse_renaming
from app.formats.rules import parse_rules
from app.formats.selection import parse_selection

if TYPE_CHECKING:
    from app.formats.open_images.repeats import SeenHashes

Ints = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]

WARNINGS_LISTED = 5
"""Warnings of one code and table that are listed; a flood of one kind leaves room for the others."""
FILL = "fill it, or remove the row"
"""What to do about an empty cell."""

KEPT_PIECE_BYTES = 4 << 20

AHEAD_FROM_BYTES = 8 << 20
"""Tables that a second thread inflates while this one reads them."""

NOT_NAMED, BY_STEM, BY_PATH, BY_OTHER = range(4)
"""What an id is of its frame's name: the part in front of the extension, all of it, or something else."""

NAMED_AT_ONCE = 1 << 14

Message = str | Callable[[int], str]


class FrameCodes:
    """A small number for each of N frames, -1 until one is told: one byte each, and more when a number needs more."""

    def __init__(self, n_frames: int) -> None:
        self._told: npt.NDArray[Any] = np.zeros(
            n_frames, dtype=np.uint8
        )  # one more, so that nothing is touched at first

    def __getitem__(self, rows: npt.NDArray[np.integer[Any]]) -> Ints:
        codes: Ints = self._told[rows].astype(np.int32)
        codes -= 1
        return codes

    def tell(self, rows: npt.NDArray[np.integer[Any]], codes: Ints | int) -> None:
        highest = int(np.max(codes, initial=-1)) + 1
        if highest > np.iinfo(self._told.dtype).max:
            self._told = self._told.astype(np.min_scalar_type(highest))
        self._told[rows] = np.asarray(codes) + 1


@dataclass(slots=True)
class TableState:
    """One table while it is read.

    Attributes:
        subset: the subset its name tells, None where it tells none.
        number: index into the kept tables of the extras.
        header: column names as written.
        first: the number of the current block's first row, from 0.
        root: what `FrameIndex.find_root` found; asked for once, when an id needs it.
        has_stems: every id so far is the stem of its frame's name, to the letter.
        is_plain: so are all lines that were kept, and other readers take them as they are; None: nobody has looked.
    """

    file: TableFile
    subset: str | None
    number: int
    first: int = 0
    header: tuple[str, ...] = ()
    root: bytes | None = None
    root_is_known: bool = False
    has_stems: bool = True
    is_plain: bool | None = None
    listed: dict[str, int] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def id_column(self) -> str:
        return next((name for name in COLUMNS[self.file.kind] if name.casefold() == "imageid"), "ImageID")

    @property
    def label_column(self) -> str:
        return LABEL_COLUMNS.get(self.file.kind, ("LabelName",))[0]


@dataclass(frozen=True, slots=True, eq=False)
class FewColumns:
    """The columns of a block that say few things (`app.columns.few`).

    Attributes:
        kinds: (N,) equal where rows are alike in all of them, in every block of such a table; None: nobody knows.
        texts: the attribute texts of those kinds.
    """

    block: CSVBlock
    columns: Mapping[str, Coded]
    kinds: npt.NDArray[np.int64] | None
    texts: TextsByKind

    def __getitem__(self, column: str) -> Coded:
        """Any column of the block."""
        return self.columns[column] if column in self.columns else Coded(None, self.block.cells(column))


class Reading:
    """One import."""

    def __init__(
        self,
        archive: Archive,
        layout: Layout,
        target: Target,
        options: ImportOptions,
        sink: Sink,
        report: Report,
        progress: Progress,
    ) -> None:
        self.archive, self.layout, self.target, self.options = archive, layout, target, options
        self.sink, self.report = sink, report
        self.index = FrameIndex(target.frames, [*layout.pictures, *layout.masks])
        self.repairs = Repairs(report)
        self.needs_size: Mask = np.zeros(len(target.frames), dtype=np.bool_)  # frames that a box or a mask is on
        self.classes = ClassNames(limit=options.max_classes)
        self.renaming = parse_renaming(options.map)
        selection = parse_selection(options)
        self.is_selecting = not selection.is_empty
        self._label_types = selection.label_types
        self.labels = LabelMatcher(target.labels, self.classes, {}, report, self.renaming)
        self.attributes = AttributeEncoder(target.labels)
        self._few: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[FewTexts, TextsByKind]] = {}
        self._list_root: bytes | None = None
        index = self.index  # alone: what is referred to in a circle lies about until somebody looks for garbage
        self.side = SideFile(
            target.frames,
            ItemCodec(target.labels, AttributeDecoder(target.labels)),
            lambda ids: index.match(ids).frames,
            target.first_group,
            target.group_room,
            target.parts,
            target.is_part,
        )
        self.tables: list[KeptTable] = []
        self._states: list[TableState] = []
        self.consistency = Consistency(parse_rules(options.rules), report)
        self.sided: dict[int, int] = {}  # table number → number of its twin
        self.linked: dict[tuple[int, int], int] = {}  # table number, ends with a box → number of that twin
        self.subsets = TextIndex()
        n_frames = len(target.frames)
        self.subset_of = FrameCodes(n_frames)  # code in `subsets`, -1 not told yet
        self.weak_subset_of = FrameCodes(n_frames)  # told by a mask's folder only
        self.is_listed: Mask = np.zeros(n_frames, dtype=np.bool_)  # an image list has a row for it
        # How annotation tables name frames that no image list has; ids that are no part of the frame's name are held.
        self._named_as: npt.NDArray[np.uint8] = np.zeros(n_frames, dtype=np.uint8)
        self._other_names: list[tuple[Ints, Ragged]] = []
        self._conflicts: Mask = np.zeros(n_frames, dtype=np.bool_)
        self.unmatched, self._ambiguous = TextSet(), TextSet()
        deleted = target.frames.deleted
        self._deleted: Mask | None = deleted.copy() if deleted.any() else None  # frames that nothing was said of yet
        self.unlisted_unmatched = TextSet()  # ids of image lists that are no frame, told at the end
        self.lines_before: dict[tuple[str, ...], SeenHashes] = {}  # see `repeats.py`
        self.n_annotation_rows = self.n_kept_rows = 0
        self.meanwhile: Callable[[], None] | None = None  # called after each block: has others go on with their work
        self._progress, self._total_bytes, self._done_bytes = progress, 1, 0
        self._n_rows = 0

    def expect(self, n_bytes: int) -> None:
        """How many bytes there are to read, for progress."""
        self._total_bytes = max(n_bytes, 1)

    def match_labels(self) -> None:
        """Called when the class files are read: labels can be matched from now on."""
        self.labels = LabelMatcher(
            self.target.labels,
            self.classes,
            self.target.earlier,
            self.report,
            self.renaming,
            passes_over=bool(self.options.classes) and self.options.only_matching,
            unneeded=self.target.unneeded,
        )

    def needs_label(self, table: TableState, frames: Ints) -> Mask | None:
        """(N,) bool: rows that the options may select, by the kind of their table and by their frame; None: all."""
        if self._label_types and LABEL_TYPE_OF.get(table.file.kind) not in self._label_types:
            return np.zeros(len(frames), dtype=np.bool_)
        if self.target.chosen is None:
            return None
        needed: Mask = frames < 0  # which is told of anyway
        needed[~needed] = self.target.chosen[frames[~needed] - self.target.frames.start]
        return needed

    # --- tables ---

    def blocks(self, path: str) -> Iterator[bytes]:
        """The bytes of an entry; progress moves with them."""
        entry = self.archive.entry(path)
        blocks = self.archive.blocks(entry)
        for block in read_ahead(blocks) if entry.size >= AHEAD_FROM_BYTES else blocks:
            self.advance(len(block))
            yield block

    def advance(self, n_bytes: int) -> None:
        self._done_bytes += n_bytes
        self._progress(min(1.0, self._done_bytes / self._total_bytes))

    def open_table(self, file: TableFile) -> TableState:
        """A table to be read; its name must tell a usable subset."""
        subset = file.subset
        if subset is not None and not is_plain_name(subset):
            self.report.error(
                "image.bad_subset",
                f'the file\'s name tells the subset "{shorten(subset)}", which cannot be the name of a folder; '
                "rename the file",
                file=file.path,
                value=subset,
            )
            subset = None
        told = None if subset is None else self.renaming.subset(subset)
        if told is None and subset == VAL and self._validation_is_named:
            subset = VALIDATION
        table = TableState(file, subset, len(self.tables))
        self.tables.append(KeptTable(file.kind, told or subset, file.path, ()))
        self._states.append(table)
        self.report.table(file.path)
        return table

    def read_table(self, table: TableState) -> Iterator[CSVBlock]:
        """Blocks of a table, each row counted; broken rows are told and left out."""
        reader = self._csv(table, self.report)
        table.header = reader.header
        spelling = reader.spelling if reader.spelling != reader.header else ()
        self.tables[table.number] = replace(self.tables[table.number], columns=reader.header, spelling=spelling)
        count = self.report.table(table.path)
        n_before = 0
        for block in reader:
            if not n_before and len(block) and has_foreign_ends(block.buffer, int(block.line_stops[0])):
                message = "lines end with CR, as other systems and datumaro write them; they are written back with LF"
                self.repairs.tell("csv.line_ends", table.path, 1, message)
            table.first, n_before = n_before, n_before + len(block)
            count.seen += block.n_seen
            count.dropped += block.n_seen - len(block)
            self._take_rows(table, block.n_seen)
            if table.file.kind != "images":
                self.n_annotation_rows += block.n_seen
            yield block
            del block  # so that there is one at a time

    def few(self, table: TableState, block: CSVBlock, columns: tuple[str, ...]) -> FewColumns:
        """Columns of a block that say few things; tables of one header know them together."""
        key = table.header, columns
        if key not in self._few:
            self._few[key] = FewTexts(table.header, columns), TextsByKind(self.attributes)
        texts, by_kind = self._few[key]
        return FewColumns(block, *texts.read(block), by_kind)

    def _take_rows(self, table: TableState, n: int) -> None:
        self._n_rows += n
        if self._n_rows > self.options.max_rows:
            self.report.error(
                "csv.too_big",
                f"more than {self.options.max_rows:,} rows in all tables together; split the archive",
                file=table.path,
            )
            raise ImportProblems(self.report)

    def open_rows(self, file: TableFile, columns: tuple[str, ...]) -> TableState:
        """A table to be kept whose rows are made here, of what is no CSV file."""
        table = self.open_table(file)
        table.header = columns
        self.tables[table.number] = replace(self.tables[table.number], columns=columns)
        return table

    def count_row(self, table: TableState) -> None:
        """One row of such a table was seen."""
        self.report.table(table.path).seen += 1
        self._take_rows(table, 1)

    def read_again(self, table: TableState) -> Iterator[CSVBlock]:
        """The same blocks a second time: nothing is told or counted twice."""
        n_before = 0
        for block in self._csv(table, Report(limit=1)):
            table.first, n_before = n_before, n_before + len(block)
            yield block

    def _csv(self, table: TableState, report: Report) -> CSVReader:
        kind = table.file.kind
        return CSVReader(
            self.blocks(table.path),
            report,
            table.path,
            known=COLUMNS[kind],
            required=REQUIRED[kind],
            aliases=ALIASES.get(kind, {}),
            max_field_bytes=self.options.max_field_bytes,
            max_columns=self.options.max_columns,
        )

    def sided_table(self, table: TableState) -> int:
        """The number of the table's twin, for rows that say less than the shapes they stand for."""
        if table.number not in self.sided:
            self.sided[table.number] = len(self.tables)
            self.tables.append(self.tables[table.number])
        return self.sided[table.number]

    def linked_table(self, table: TableState, ends: int) -> int:
        """The number of the table's twin for rows of which these ends (bits) have a box."""
        if not ends:
            return table.number
        if (table.number, ends) not in self.linked:
            self.linked[table.number, ends] = len(self.tables)
            self.tables.append(self.tables[table.number])
        return self.linked[table.number, ends]

    def see_lines(self, table: TableState, are_plain: Callable[[], bool]) -> None:
        """Some lines of the table were kept; `are_plain`: whether other readers take all of them as they are."""
        if table.is_plain is not False:
            table.is_plain = table.has_stems and are_plain()

    def plain_tables(self) -> tuple[int, ...]:
        """Numbers of tables with none but plain lines."""
        return tuple(table.number for table in self._states if table.is_plain and table.has_stems)

    # --- problems ---

    def tell(
        self,
        table: TableState,
        severity: Severity,
        code: str,
        rows: Rows,
        bad: Mask,
        column: str | None,
        message: Message,
        cells: Cells | Coded | None = None,
    ) -> None:
        """Report the rows of a block under a mask: the first few are listed, all are counted.

        Args:
            rows: (N,) lines of the file.
            message: or a function of the place in the block.
            cells: (N,) whose text is the problem's value.
        """
        places = np.flatnonzero(bad)
        if not len(places):
            return
        room = self.report.room(severity)
        if severity == "warning":
            told = table.listed.get(code, 0)
            room = min(room, WARNINGS_LISTED - told)
            table.listed[code] = told + min(len(places), max(room, 0))
        problems = [
            Problem(
                code,
                message if isinstance(message, str) else message(place),
                severity,
                table.path,
                int(rows[place]),
                column,
                None if cells is None else shorten(cells.row_text(place)),
            )
            for place in places[: max(room, 0)].tolist()
        ]
        if problems:
            self.report.add_many(problems, len(places))
        else:
            self.report.count_more(code, severity, len(places))

    def tell_cells(
        self,
        table: TableState,
        severity: Severity,
        code: str,
        block: CSVBlock,
        bad: Mask,
        column: str,
        message: Message,
        cells: Coded,
        unless: Mask | None = None,
    ) -> Mask | None:
        """The same by (K,) `bad` of the cells of a column; not of the rows (N,) of `unless`. Returns the rows, None for
        none."""
        if not bad.any():
            return None
        rows = cells.spread(bad)
        self.tell(table, severity, code, block.rows, rows if unless is None else rows & ~unless, column, message, cells)
        return rows

    def mend(self, table: TableState, code: str, block: CSVBlock, mended: Mask, column: str, message: str) -> None:
        """Rows of a block in which a known damage was mended: told once a table (`repairs.py`)."""
        places = np.flatnonzero(mended)
        if len(places):
            value = block.cells(column).row_text(int(places[0]))
            self.repairs.tell(code, table.path, len(places), message, int(block.rows[places[0]]), column, value)

    def mend_cells(
        self, table: TableState, code: str, block: CSVBlock, mended: Mask, column: str, message: str, cells: Coded
    ) -> None:
        """The same by (K,) the cells of a column."""
        if mended.any():
            self.mend(table, code, block, cells.spread(mended), column, message)

    def require(self, table: TableState, block: CSVBlock, column: str, bad: Mask) -> Cells:
        """The cells of a column that may not be empty; rows where it is are told and marked in `bad`."""
        cells = block.cells(column)
        empty = cells.lengths == 0
        self.tell(table, "error", "value.missing", block.rows, empty, column, f"{column} is empty; {FILL}", cells)
        bad |= empty
        return cells

    # --- images ---

    def find_frames(
        self, table: TableState, block: CSVBlock, bad: Mask, subsets: Texts | None = None
    ) -> tuple[Ints, Cells]:
        """The frame number of each row, -1 (and `bad`) where there is none; and the cells of ImageID."""
        cells = self.require(table, block, table.id_column, bad)
        runs = decode_runs(cells)
        asked: Texts | str | None = subsets.take(runs.starts) if subsets is not None else table.subset
        matches = self.index.match(runs.texts, asked, table.root)
        if not table.root_is_known and matches.needs_root.any():
            table.root, table.root_is_known = self._find_root(table), True
            if table.file.kind == "images":
                self._list_root = table.root
            elif table.root is None:
                # A few rows alone may not tell where their images lie; the list of all images does.
                table.root = self._list_root
            matches = self.index.match(runs.texts, asked, table.root)
        filled = runs.texts.lengths > 0
        missing = np.flatnonzero((matches.frames < 0) & filled)
        if len(missing):
            self._tell_unmatched(table, runs.texts, missing, matches.ambiguous, block.rows[runs.starts])
        if self._deleted is not None and table.file.kind != "images":
            self._tell_deleted(table, runs.texts, matches.frames, block.rows[runs.starts], self._deleted)
        if table.has_stems:
            found = np.flatnonzero(matches.frames >= 0)
            stems = self.index.stems.cells(matches.frames[found] - self.target.frames.start)
            table.has_stems = bool(equal_rows(Cells.of(runs.texts).take(found), stems).all())
        frames = runs.spread(matches.frames)
        bad |= frames < 0
        return frames, cells

    def _find_root(self, table: TableState) -> bytes | None:
        def parts() -> Iterator[tuple[Ragged, Texts | str | None]]:
            for block in self.read_again(table):
                runs = decode_runs(block.cells("ImageID"))
                subsets = block.cells("Subset") if block.has("Subset") else None
                if subsets is None:
                    yield runs.texts, table.subset
                else:
                    index = TextIndex()
                    yield runs.texts, index.texts(index.codes(subsets.take(runs.starts)))

        return self.index.find_root(parts())

    def _tell_unmatched(self, table: TableState, ids: Ragged, missing: Rows, is_ambiguous: Mask, rows: Rows) -> None:
        """Each id once, at its first row; ids of image lists wait until the annotation tables have been read."""
        ambiguous, unmatched = missing[is_ambiguous[missing]], missing[~is_ambiguous[missing]]
        new = ambiguous[self._ambiguous.add(ids.take(ambiguous))]
        self._tell_ids(table, "error", "image.ambiguous", ids, new, rows, self._ambiguous_message)
        if table.file.kind == "images":
            self.unlisted_unmatched.add(ids.take(unmatched))
        else:
            new = unmatched[self.unmatched.add(ids.take(unmatched))]
            self.tell_unmatched(table, ids, new, rows)

    def _tell_deleted(self, table: TableState, ids: Ragged, frames: Ints, rows: Rows, untold: Mask) -> None:
        """Each deleted frame once, at its first row: what is imported for it is not to be seen."""
        hits = np.flatnonzero(frames >= 0)
        hits = hits[untold[frames[hits] - self.target.frames.start]]
        new = np.sort(hits[np.unique(frames[hits], return_index=True)[1]])
        untold[frames[new] - self.target.frames.start] = False
        self._tell_ids(table, "warning", "image.deleted", ids, new, rows, _deleted_message)

    def tell_unmatched(self, table: TableState, ids: Ragged, places: Rows, rows: Rows) -> None:
        severity: Severity = "error" if self.options.unmatched == "error" else "warning"
        self._tell_ids(table, severity, "image.unmatched", ids, places, rows, self._unmatched_message)

    def _tell_ids(
        self,
        table: TableState,
        severity: Severity,
        code: str,
        ids: Ragged,
        places: Rows,
        rows: Rows,
        message: Callable[[str], tuple[str, str | None]],
    ) -> None:
        if not len(places):
            return
        room = self.report.room(severity)
        if severity == "warning":
            room = min(room, WARNINGS_LISTED - table.listed.get(code, 0))
            table.listed[code] = table.listed.get(code, 0) + min(len(places), max(room, 0))
        problems = []
        for place in places[: max(room, 0)].tolist():
            text = ids.row_bytes(place).decode("utf-8", "replace")
            words, suggestion = message(text)
            problems.append(
                Problem(code, words, severity, table.path, int(rows[place]), table.id_column, shorten(text), suggestion)
            )
        if problems:
            self.report.add_many(problems, len(places))
        else:
            self.report.count_more(code, severity, len(places))

    def _unmatched_message(self, text: str) -> tuple[str, str | None]:
        whose = "job" if self.target.is_part else "task"
        near = self.index.nearest(text)
        if near:
            hint = "; did you mean " + " or ".join(f'"{shorten(name)}"' for name in near) + "?"
        else:
            hint = (
                f"; the {whose} has no frames" if not len(self.target.frames) else f"; frames are called {self.example}"
            )
            if self.options.unmatched != "skip":
                hint += ". unmatched=skip passes over rows of other images"
        return f'no frame of the {whose} is called "{shorten(text)}"{hint}', near[0] if near else None

    def _ambiguous_message(self, text: str) -> tuple[str, str | None]:
        return f'"{shorten(text)}" {self.index.several(text)}', None

    @cached_property
    def example(self) -> str:
        """The first few frame names, for messages."""
        names = [
            shorten(name) for name in self.target.frames.names.slice(0, min(3, len(self.target.frames))).to_texts()
        ]
        return ", ".join(f'"{name}"' for name in names)

    # --- subsets ---

    def subset_codes(self, names: Texts) -> Ints:
        """(N,) int32, codes in `subsets`; -1 for an empty name. `val` is `validation` where anything is called so."""
        mapping = np.full(max(len(names.values), 1), -1, dtype=np.int32)
        for place, name in enumerate(names.values):
            if name:
                mapping[place] = self.subset_code(name)
        return mapping[names.codes]

    def subset_code(self, name: str) -> int:
        told = self.renaming.subset(name)
        if told is not None:
            name = told
        elif name == VAL and self._validation_is_named:
            name = VALIDATION
        code = int(self.subsets.codes(Cells.of(Ragged.from_bytes([name.encode()])))[0])
        if code >= self.options.max_subsets:
            message = f"more than {self.options.max_subsets:,} subsets; is it the right column?"
            self.report.error("csv.too_big", message, column="Subset", value=name)
            raise ImportProblems(self.report)
        return code

    def claim(self, table: TableState, rows: Rows, frames: Ints, codes: Ints | int, bad: Mask) -> None:
        """Rows say which subset their images belong to (code -1: nothing); one image in two subsets is an error."""
        if isinstance(codes, int) and len(frames):  # rows of a frame stand together, and mostly nothing is wrong
            starts = _run_starts(frames)
            if len(starts) < len(frames) and self._claims_agree(frames[starts], codes):
                return
        at = frames - self.target.frames.start
        codes = np.broadcast_to(np.asarray(codes, dtype=np.int32), len(frames))
        places = np.flatnonzero((frames >= 0) & (codes >= 0))
        at, codes = at[places], codes[places]
        unknown = self.subset_of[at] < 0
        _, first = np.unique(at[unknown], return_index=True)
        self.subset_of.tell(at[unknown][first], codes[unknown][first])
        wrong = np.flatnonzero(self.subset_of[at] != codes)
        if not len(wrong):
            return
        bad[places[wrong]] = True
        _, first = np.unique(at[wrong], return_index=True)
        told = wrong[first][~self._conflicts[at[wrong[first]]]]
        self._conflicts[at[told]] = True
        mask = np.zeros(len(rows), dtype=np.bool_)
        mask[places[told]] = True
        here = dict(zip(places.tolist(), range(len(places)), strict=True)) if mask.any() else {}

        def message(place: int) -> str:
            (one,), two = self.subset_of[at[here[place]][np.newaxis]], codes[here[place]]
            name = self.target.frames.name(int(frames[place]))
            now, before = (shorten(self.subsets.values[code]) for code in (two, one))
            return (
                f'"{shorten(name)}" is in subset "{now}" here and in "{before}" before; an image has one subset. '
                f"Correct one of the two, or say map=subset:{now}={before}"
            )

        column = "Subset" if "subset" in (name.casefold() for name in table.header) else None
        self.tell(table, "error", "image.subset_conflict", rows, mask, column, message)

    def _claims_agree(self, frames: Ints, code: int) -> bool:
        """`claim` of one subset; False where images are in another one, which is not told yet."""
        at = frames[frames >= 0] - self.target.frames.start
        known = self.subset_of[at]
        if code >= 0:
            self.subset_of.tell(at[known < 0], code)
        return code < 0 or not bool(((known >= 0) & (known != code)).any())

    def name_images(self, frames: Ints, ids: Cells) -> None:
        """Remember the id that annotation rows use for frames that no image list has."""
        starts = _run_starts(frames)
        frames, ids = frames[starts], ids.take(starts)
        at = frames - self.target.frames.start
        new = np.flatnonzero((frames >= 0) & ~self.is_listed[at] & (self._named_as[at] == NOT_NAMED))
        if not len(new):
            return
        rows, first = np.unique(at[new], return_index=True)
        chosen = new[first]
        cells = ids.take(chosen)
        kinds = np.full(len(chosen), BY_OTHER, dtype=np.uint8)
        kinds[equal_rows(cells, self.index.names.cells(rows))] = BY_PATH
        kinds[equal_rows(cells, self.index.stems.cells(rows))] = BY_STEM
        self._named_as[rows] = kinds
        other = np.flatnonzero(kinds == BY_OTHER)
        if len(other):
            self._other_names.append((frames[chosen[other]], cells.take(other).ragged()))

    def named_images(self) -> Iterator[tuple[Ints, Ragged]]:
        """The frames that only annotation tables name, and the id that they use, in batches."""
        tails = self.index.stems.tails
        for first in range(0, len(self._named_as), NAMED_AT_ONCE):
            kinds = self._named_as[first : first + NAMED_AT_ONCE]
            rows = first + np.flatnonzero((kinds == BY_STEM) | (kinds == BY_PATH))
            if len(rows):
                names = self.index.names.cells(rows)
                stops = names.stops - np.where(self._named_as[rows] == BY_STEM, tails[rows], 0)
                frames = (rows + self.target.frames.start).astype(np.int32)
                yield frames, Cells(names.buffer, names.starts, stops).ragged()
        yield from self._other_names

    @cached_property
    def _validation_is_named(self) -> bool:
        """Whether a file's name, a folder or a row of an image list says `validation`."""
        if any(table.subset == VALIDATION for table in self.layout.tables):
            return True
        folder = f"/{VALIDATION}/"
        if any(folder in f"/{path}" for path in [*self.layout.masks, *self.layout.pictures]):
            return True
        index = TextIndex()
        for file in self.layout.of("images"):
            for block in self.read_again(TableState(file, None, -1)):
                index.codes(block.cells("Subset"))
                if VALIDATION in index.values:
                    return True
        return False

    # --- out ---

    def confidences(self, texts: Coded, rows: Rows) -> Reals | None:
        """(N,) the Confidence of some rows, where the selection goes by it."""
        if not (self.options.min_confidence or self.options.max_confidence):
            return None
        some = texts.take(rows)
        return some.spread(some.decoded(decode_numbers).values)

    def kept(self, number: int, lines: Ragged, **png: Any) -> Kept:
        """The kept rows of a table."""
        tables = np.full(len(lines), number, dtype=np.int32)
        return replace(Kept.empty(len(lines)), tables=tables, lines=lines, **png)

    def write(self, batch: Annotations) -> None:
        self.sink.write(batch)
        if self.meanwhile is not None:
            self.meanwhile()

    def tell_unused_names(self) -> None:
        """What the options map, and the archive does not have."""
        classes = self.classes.display_names
        subsets = (table.subset for table in self.layout.tables if table.subset)
        labels = [*classes, *classes.values(), *self.labels.names]
        self.renaming.tell_unused(self.report, labels, [*self.subsets.values, *subsets])

    def keep_entry(self, entry: Entry) -> KeptFile:
        """Keep an entry's bytes, in pieces of bounded size: what is kept in turn lies side by side."""
        places = [self.sink.keep(block) for block in self.archive.blocks(entry, KEPT_PIECE_BYTES)]
        self.advance(entry.size)
        if not places:
            places = [self.sink.keep(b"")]
        for (offset, size, _), (following, _, _) in itertools.pairwise(places):
            if offset + size != following:
                raise Damaged(f"{entry.name} could not be kept in one piece")
        return KeptFile(unzipped(entry.name), places[0][0], entry.size, entry.crc)


def _deleted_message(text: str) -> tuple[str, str | None]:
    return (
        f'"{shorten(text)}" is deleted in the task: its rows are kept, and left out of exports until it is restored',
        None,
    )


def _run_starts(frames: Ints) -> Rows:
    """The first row of each run of equal frames."""
    is_first = np.ones(len(frames), dtype=np.bool_)
    np.not_equal(frames[1:], frames[:-1], out=is_first[1:])
    return np.flatnonzero(is_first)
