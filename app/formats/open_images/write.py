"""A task's annotations to an Open Images archive: station by station, streamed, the same bytes for the same state.

    image lists → boxes → image labels → masks: PNGs, then their table → classes, hierarchy, sizes → files, pictures

Each table is one pass over the source for each subset, or one for all where many subsets are mixed (`subset_tables`);
nothing but ids and subsets of frames is held as a whole.

Source: Open Images reference 4.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import chain, takewhile
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import MovingShapes, Shapes, ShapeType, shapes_between
from app.archive import ArchiveWriter, DeflatedMember
from app.columns import Ragged, StoredLines, among, decode_flags, decode_texts, distinct, split_lines
from app.errors import Problem, Report, shorten
from app.formats.base import ClassWords, ExportOptions, Progress, Source, Target
from app.formats.open_images.expansion import Expansion
from app.formats.open_images.export_layouts import CLASS_COLUMNS, companion_rows, csv_rows, misread_names, missing_rows
from app.formats.open_images.extras import KeptFile
from app.formats.open_images.hierarchy import default_hierarchy, rename_classes
from app.formats.open_images.kept_rows import Mask, TableRows, header_columns, header_texts, merge_by_frame
from app.formats.open_images.layout import FLAGS, SIDE_NAME, Kind, classify, table_name
from app.formats.open_images.mask_instances import DRAWN
from app.formats.open_images.mask_jobs import NeedyShapes, draw_crew
from app.formats.open_images.mask_names import MaskNames
from app.formats.open_images.names import MAX_PART_BYTES
from app.formats.open_images.plan import Plan, make_plan
from app.formats.open_images.side_write import SideWriter
from app.formats.open_images.sizes import join_sizes
from app.formats.open_images.subset_tables import SubsetTables
from app.formats.open_images.table_blocks import table_blocks
from app.formats.open_images.waiting_rows import WaitingRows
from app.formats.open_images.write_boxes import box_rows, is_rotated
from app.formats.open_images.write_images import image_rows
from app.formats.open_images.write_masks import MaskTable
from app.formats.open_images.write_points import point_rows
from app.formats.open_images.write_relationships import RelationshipWriter, named_labels
from app.formats.open_images.write_tags import hidden_rows, tag_rows
from app.formats.selection import Selection, Selector, parse_selection
from app.heap import trim_heap

# Tables of tasks beyond this many frames may pass 4 GiB, which a zip must say beforehand.
LARGE_FRAMES = 200_000
CLASSES_STEP = 4096
HELD_BYTES, HELD_ROW_BYTES = 24 << 20, 160
"""Shapes that masks may have to do with are held for their pass while they are few; a row without its line takes some
160 bytes."""
JOINED_ROWS = 1024
"""Rows of masks that are looked at together: drawn ones come by the dozen."""
TURNED = len(ShapeType)
"""Stands for rotated rectangles, which may be drawn as masks."""
UNWRITTEN = (ShapeType.POLYLINE, ShapeType.CUBOID, ShapeType.SKELETON)
CHUNK_BYTES = 1 << 20
MAX_COMPANION_BYTES = 16 << 20  # ten times the names of all 20,638 classes
LARGE_BYTES = 2 << 30
FOLDERS_TRIED = 100
MAX_EXTENSION_BYTES = 32
"""What is longer behind a dot is no extension."""
ROOT = "/m/0bl9f"  # of the published hierarchy; in no class file
# Kept files that are packed already gain nothing from being packed again.
PACKED = (".zip", ".png", ".jpg", ".jpeg", ".gz", ".webp", ".mp4", ".7z")


def write(
    source: Source, target: Target, archive: ArchiveWriter, options: ExportOptions, report: Report, progress: Progress
) -> None:
    """Write every member of the archive; see the module."""
    plan = make_plan(source, target, options, report)
    writer = Writer(plan, source, archive, progress)
    selection = parse_selection(options)
    if not selection.is_empty:
        plan = writer.select(selection)
        writer = Writer(plan, source.part(plan.shown), archive, progress)
    writer.write_lists()
    trim_heap()
    writer.write_tables()
    writer.write_classes()
    writer.write_sizes()
    writer.write_side_file()
    writer.write_files()
    if options.save_images:
        writer.write_pictures()
    writer.tell_unwritten()
    writer.tell_misread()
    progress(1.0)


def count(source: Source, target: Target, options: ExportOptions, report: Report) -> None:
    """Count what an export with these options would hold, image by image and row by row, and write nothing."""
    plain = replace(options, side_file=False, expand="none")
    writer = Writer(make_plan(source, target, plain, report), source, ArchiveWriter(_drop), _wait)
    writer.select(parse_selection(options))


def list_images(source: Source, target: Target, options: ExportOptions, report: Report) -> Iterator[bytes]:
    """`<subset>/<image id>` of each image that an export with these options would hold, one a line: the form in which
    the data set's downloader takes lists, and a selection by images too."""
    plain = replace(options, side_file=False, expand="none")
    plan = make_plan(source, target, plain, report)
    selection = parse_selection(options)
    if not selection.is_empty:
        plan = Writer(plan, source, ArchiveWriter(_drop), _wait).select(selection)
    for rows in plan.shown_rows():
        names = zip(plan.subsets.take(rows).to_list(), plan.ids.take(rows).to_texts(), strict=True)
        yield csv_rows([(f"{subset}/{name}",) for subset, name in names])


def _table_name(path: str) -> str:
    """What a reader knows a table by; "" of any other file."""
    table = classify(path)
    return (table_name(table) or "") if table is not None else ""


def _numbered(path: str) -> Iterator[str]:
    """The path, then with `-2`, `-3`, … in front of its extension; of each number the same without folders, too, for a
    folder may be a file in this archive. What would be longer than names may be is cut."""
    yield path
    folder, slash, base = path.rpartition("/")
    stem, extension = posixpath.splitext(base)
    if len(extension.encode("utf-8")) > MAX_EXTENSION_BYTES:
        stem, extension = base, ""
    for number in range(2, 1 << 30):
        mark = f"-{number}{extension}"
        name = stem.encode("utf-8")[: MAX_PART_BYTES - len(mark.encode("utf-8"))].decode("utf-8", "ignore") + mark
        yield f"{folder}{slash}{name}"
        yield name


def _drop(chunk: bytes | memoryview) -> None:
    """Take bytes and keep none."""


def _wait(done: float) -> None:
    """Nobody waits for the progress of counting."""


class Writer:
    """The steps of one export, in their order."""

    def __init__(self, plan: Plan, source: Source, archive: ArchiveWriter, progress: Progress) -> None:
        self._plan, self._source, self._archive, self._progress = plan, source, archive, progress
        self._layout = plan.layout
        subsets = plan.written_subsets()
        self._subsets: Sequence[str | None] = [None] if self._layout.one_table else subsets
        self._all_subsets = subsets
        self._mask_names = MaskNames(archive, in_all_folders=self._layout.one_mask_folder)
        self._masked: dict[str, None] = {}  # LabelNames of masks
        self._written: dict[str, tuple[int, int]] = {}  # CRC-32 and size of files that imports left, by path
        self._relationships = RelationshipWriter(plan)
        self._unwritten = np.zeros(len(ShapeType), dtype=np.int64)
        self._is_counted = False
        self._subset: str | None = None  # whose annotations are written
        self._parted: tuple[str | None, Source] | None = None
        self._waiting = SubsetTables(plan) if len(subsets) > 1 and plan.are_subsets_mixed else None
        self._met: frozenset[int] | None = None  # types of shapes that there are, when one pass has seen them all
        self._masks: MaskTable | None = None  # of a subset
        self._held_until = -1  # the last frame whose shapes it holds
        self._moving: MovingShapes | None = None
        self._expansion = self._make_expansion() if plan.options.expand == "hierarchy" else None
        # Entries tell rows by their number, and tracks by all their rows: not of copies, not of a part.
        is_whole = self._expansion is None and (plan.selector is None or not len(source.tracks()))
        self._side = SideWriter(plan, source.grouped_tags) if plan.options.side_file and is_whole else None

    # --- selection ---

    def select(self, selection: Selection) -> Plan:
        """The plan of what is selected: one pass over everything tells what there is."""
        plan = self._plan
        words = ClassWords(plan.mids, plan.imported_classes, next(iter(plan.hierarchies), None))
        selector = Selector(selection, plan.target, words, plan.report)
        chosen = replace(plan, selector=selector)
        for shapes in self._with_tracks(plan.start, self._source):
            selector.see(shapes, chosen.confidences(shapes.kept))
        for tags in self._source.tags():
            selector.see(tags, chosen.confidences(tags.kept))
        if plan.has_table("relationships"):
            for frames, label_ids in named_labels(plan, self._source.rows()):
                selector.see_rows(frames, label_ids, "relationships")
        selector.choose_images(plan.index, plan.subsets)
        selector.settle()
        return replace(chosen, shown=plan.shown & selector.shown)

    def _part(self, subset: str | None) -> Source:
        """What a pass for this subset needs of the source."""
        if self._parted is None or self._parted[0] != subset:
            subsets = self._plan.subsets
            several = subset in subsets.values and len(subsets.values) > 1
            self._parted = subset, self._source
            if subset is not None and several:
                wanted = (subsets.codes == subsets.values.index(subset)) & self._plan.shown
                if not wanted.all():  # a subset may be named that no image is of
                    self._parted = subset, self._source.part(wanted)
        return self._parted[1]

    def _of_subset(self, kind: Literal["images", "tags", "rows"], subset: str | None) -> Iterator[Any]:
        """Tables of the source that hold what there is of the subset, and perhaps more."""
        if self._waiting is not None and subset is not None:
            return self._waiting.of(kind, subset, getattr(self._source, kind))
        tables: Iterator[Any] = getattr(self._part(subset), kind)()
        return tables

    # --- image lists ---

    def write_lists(self) -> None:
        """Every shown frame, under the name readers know and under the documented one; written even when empty."""
        for subset in self._subsets:
            columns = header_columns(self._plan, ("images",), subset)
            is_listed_twice = self._plan.options.documented_image_list
            self._write_table(
                self._path("images", subset),
                columns,
                image_rows(self._plan, self._of_subset("images", subset), subset, columns),
                even_empty=True,
                copies=self._layout.more_lists(subset) if is_listed_twice and subset is not None else (),
            )

    def write_classes(self) -> None:
        """Class names and the hierarchy."""
        if self._expansion is not None:
            self._plan.strays.update(self._expansion.made)
        classes = self._plan.classes()
        rows = [CLASS_COLUMNS, *classes] if self._layout.has_class_header else classes
        self._write_text(
            self._layout.classes,
            (csv_rows(rows[first : first + CLASSES_STEP]) for first in range(0, len(rows), CLASSES_STEP)),
        )
        self._write_text(self._layout.hierarchy, [self._hierarchy(classes).encode()])
        for tree in self._plan.hierarchies[1:]:
            name = self._free_path(self._layout.hierarchy)
            message = f"imports left several class hierarchies; the newest counts, an earlier one became {name}"
            self._plan.report.add_many([Problem("export.renamed", message, "warning", file=self._layout.hierarchy)], 1)
            data = tree.encode()
            self._written[name] = isal_zlib.crc32(data), len(data)
            self._write_text(name, [data])

    def _make_expansion(self) -> Expansion | None:
        """By the hierarchy that imports left, in the names that the tables of this export have."""
        plan = self._plan
        trees = plan.hierarchies
        if not trees:
            message = "expand=hierarchy: no import has left a class hierarchy, so there is nothing to expand"
            plan.report.warn("export.unsupported", message)
            return None
        by_name = plan.options.label_ids == "name"
        return Expansion(rename_classes(trees[0], plan.names_of_mids) if by_name else trees[0])

    def _hierarchy(self, classes: Sequence[tuple[str, str]]) -> str:
        plan = self._plan
        trees = plan.hierarchies
        tree = trees[0] if trees else default_hierarchy([mid for mid, _ in classes])
        if self._layout.names_hierarchy:
            return rename_classes(tree, {ROOT: "Entity"} | dict(classes))
        return rename_classes(tree, plan.names_of_mids) if trees and plan.options.label_ids == "name" else tree

    def write_sizes(self) -> None:
        """images.meta: every frame, under each id that some row has for it."""
        if self._layout.sizes is not None:
            self._write_text(self._layout.sizes, self._sizes())

    def _sizes(self) -> Iterator[bytes]:
        plan = self._plan
        frames = plan.target.frames
        for rows in plan.shown_rows():
            widths, heights = frames.sizes(rows + plan.start)
            yield join_sizes(plan.ids.take(rows), heights, widths)
        if plan.spellings:
            widths, heights = frames.sizes(np.array(list(plan.spellings.values()), dtype=np.int64))
            yield join_sizes(Ragged.from_bytes(list(plan.spellings)), heights, widths)

    def write_side_file(self) -> None:
        """What no table can say, where there is something."""
        if self._side is not None:
            self._side.add_tracks(self._moving_shapes().tracks)
            if self._side.has_entries:
                with self._open(SIDE_NAME) as member:
                    self._side.write(member)

    # --- annotations ---

    def write_tables(self) -> None:
        """Boxes, image labels, machine labels, points and masks of each subset; one without rows is not written."""
        for number, subset in enumerate(self._subsets):
            self._subset = subset
            columns = header_columns(self._plan, ("masks",), subset)
            with draw_crew(self._plan.options.mask_helpers) as crew:
                masks = self._masks = MaskTable(
                    self._plan, self._source, self._archive, self._mask_names, subset, columns, crew, self._side
                )
                self._write_boxes(subset, masks)
                if subset is None:
                    self._write_tags(subset, ("tags", "machine"))
                else:
                    self._write_tags(subset, ("tags",))
                    if self._plan.has_table("machine"):
                        self._write_tags(subset, ("machine",))
                self._write_points(subset)
                if self._plan.has_table("relationships") or self._layout.empty_tables:
                    self._write_relationships(subset)
                self._write_masks(subset, masks, columns)
                self._masks = None
            self._progress((number + 1) / (len(self._subsets) + 1))

    def _write_boxes(self, subset: str | None, masks: MaskTable) -> None:
        columns = header_columns(self._plan, ("boxes",), subset)
        rows = box_rows(self._plan, self._holding(self._shapes(), subset, masks), subset, columns, self._side)
        if self._expansion is not None:
            rows = self._expansion.boxes(rows, columns)
        if self._layout.bright_masks:
            rows = self._count_unknown(rows, columns)
        self._write_table(self._path("boxes", subset), columns, rows)

    def _count_unknown(self, rows: Iterable[TableRows], columns: Sequence[str]) -> Iterator[TableRows]:
        """Tell of flags that are unknown: FiftyOne takes -1 for true."""
        n_unknown = 0
        for part in rows:
            block = split_lines(part.records, columns)
            n_unknown += sum(int((decode_flags(block.cells(column)).values == -1).sum()) for column in FLAGS)
            yield part
        if n_unknown:
            message = f"{n_unknown:,} flags of boxes are unknown (-1), which FiftyOne reads as true"
            self._plan.report.add_many([Problem("export.unknown_flag", message, "warning")], n_unknown)

    def _write_tags(self, subset: str | None, kinds: Sequence[Kind]) -> None:
        plan = self._plan
        columns = header_columns(plan, kinds, subset)
        tags = map(plan.with_renames, self._of_subset("tags", subset))
        rows: Iterable[TableRows] = tag_rows(plan, tags, subset, columns, kinds, self._side)
        if any(plan.has_table(kind) for kind in kinds):
            rows = merge_by_frame(rows, hidden_rows(plan, self._of_subset("rows", subset), subset, columns, kinds))
        if self._expansion is not None and "tags" in kinds:
            rows = self._expansion.tags(rows, columns)
        self._write_table(self._path(kinds[0], subset), columns, rows)

    def _write_points(self, subset: str | None) -> None:
        plan = self._plan
        kinds: tuple[Kind, ...] = ("points",)
        columns = header_columns(plan, kinds, subset)
        rows = point_rows(plan, self._shapes(ShapeType.POINTS), subset, columns, self._side)
        header = header_texts(plan, kinds, subset, columns)
        self._write_table(self._path("points", subset), columns, rows, header=header)

    def _write_relationships(self, subset: str | None) -> None:
        plan = self._plan
        kinds: tuple[Kind, ...] = ("relationships",)
        columns = header_columns(plan, kinds, subset)
        rows = self._relationships.rows(self._of_subset("rows", subset), self._untracked(subset), subset, columns)
        header = header_texts(plan, kinds, subset, columns)
        self._write_table(self._path("relationships", subset), columns, rows, header=header)

    def _write_masks(self, subset: str | None, table: MaskTable, columns: Sequence[str]) -> None:
        """PNGs leave as they are drawn; the rows wait for their table, which follows them."""
        # One after the other, so that neither names nor the order of PNGs depend on how the source cuts its batches.
        hidden, shown = WaitingRows(), WaitingRows()
        if self._plan.has_table("masks"):
            self._hold(table.hidden(self._of_subset("rows", subset)), hidden, columns)
        turned = () if self._plan.options.rotated == "box" else (TURNED,)
        rows = table.rows(self._unheld(self._shapes(*DRAWN, *turned)))
        self._hold(_joined(rows, JOINED_ROWS), shown, columns)
        self._write_table(self._path("masks", subset), columns, merge_by_frame(shown, hidden))

    def _hold(self, parts: Iterable[TableRows], waiting: WaitingRows, columns: Sequence[str]) -> None:
        for part in parts:
            names = decode_texts(split_lines(part.records, columns).cells("LabelName"))
            self._masked |= dict.fromkeys(names.values)
            waiting.add(part)

    def _path(self, kind: Kind, subset: str | None) -> str:
        return self._layout.table(kind, subset, self._all_subsets)

    def _shapes(self, *types: int) -> Iterator[Shapes]:
        """All shapes in ascending frames, those of tracks among them. The first pass counts what no table holds.

        Args:
            types: those that the caller is interested in: nothing is read where there is none of them.
        """
        if types and self._met is not None and not self._met & set(types):
            return
        if self._waiting is not None and self._subset is not None:
            yield from self._waiting.of("shapes", self._subset, self._seen)
        else:
            yield from self._seen()

    def _seen(self) -> Iterator[Shapes]:
        """All shapes, or at least those of the subset once all were seen and counted."""
        done = self._plan.start
        counting, self._is_counted = not self._is_counted, True
        met: set[int] = set()
        source = self._source if counting else self._part(self._subset)
        for shapes in self._with_tracks(done, source):
            if counting:
                here = set(np.flatnonzero(np.bincount(shapes.types)).tolist())
                met |= here
                if bool(((shapes.types == ShapeType.RECTANGLE) & is_rotated(shapes)).any()):
                    met.add(TURNED)
                if here & set(UNWRITTEN):
                    self._take_rowless(shapes)
            yield shapes
        if counting:
            self._met = frozenset(met)

    def _untracked(self, subset: str | None) -> Iterator[Shapes]:
        """The shapes of the subset, and perhaps more, without those of tracks."""
        if self._waiting is None or subset is None:
            yield from self._part(subset).shapes()
            return
        for shapes in self._waiting.of("shapes", subset, self._seen):
            yield shapes.take(shapes.ids >= 0)

    def _holding(self, batches: Iterator[Shapes], subset: str | None, masks: MaskTable) -> Iterator[Shapes]:
        """The same batches; `masks` is told of all that is no plain box, while it is little, and holds it."""
        n_bytes = 0
        self._held_until, is_held = -1, True
        for shapes in batches:
            is_held = is_held and n_bytes <= HELD_BYTES and self._moving is not None and not len(self._moving)
            if is_held and len(shapes):
                wanted = (shapes.types != ShapeType.RECTANGLE) | (shapes.groups != 0) | (shapes.rotations != 0)
                if len(self._subsets) > 1:
                    wanted &= self._plan.in_subset(shapes.frames, subset)
                if wanted.any():
                    part, held_bytes = _apart(shapes.take(wanted))
                    masks.expect(part, self._needed(shapes)[wanted])
                    n_bytes += held_bytes
                self._held_until = int(shapes.frames[-1])
            masks.go_on()
            yield shapes
        if is_held:
            self._held_until = self._plan.start + len(self._plan.target.frames)
        if self._side is not None:
            self._side.forget()

    def _unheld(self, batches: Iterator[Shapes]) -> Iterator[NeedyShapes]:
        """What the pass of the boxes has not held, once more."""
        if self._held_until >= self._plan.start + len(self._plan.target.frames):
            return
        for shapes in batches:
            later = shapes.frames > self._held_until
            if later.any():
                yield shapes.take(later), self._needed(shapes)[later]

    def _needed(self, shapes: Shapes) -> Mask:
        """(N,) bool, shapes that need an entry in the side file."""
        return self._side.needed(shapes) if self._side is not None else np.zeros(len(shapes), dtype=np.bool_)

    def _take_rowless(self, shapes: Shapes) -> None:
        """Count the shapes that no table holds, for the side file has them."""
        rowless = shapes.take(among(shapes.types, UNWRITTEN) & self._plan.chosen_shapes(shapes, None))
        self._unwritten += np.bincount(rowless.types, minlength=len(ShapeType))[: len(ShapeType)]
        if self._side is not None:
            self._side.add_rowless(rowless)

    def _with_tracks(self, done: int, source: Source) -> Iterator[Shapes]:
        """Shapes and those of tracks, by frame. A shape of track n bears the id -1 - n, so that it can be told whose it
        is."""
        end = self._plan.start + len(self._plan.target.frames)
        moving = self._moving_shapes()
        for shapes in map(self._plan.with_renames, source.shapes()):
            last = int(shapes.frames[-1]) + 1 if len(shapes) else done
            if not len(moving) or last <= done:
                yield shapes
            else:
                given = done
                for first, stop, moved in moving.between(done, last, _cohering(shapes)):
                    part, given = shapes_between(shapes, max(first, given), stop), stop
                    if len(moved) or len(part):
                        yield _by_frame(part, moved) if len(moved) else part
            done = max(done, last)
        if len(moving):
            yield from (moved for _, _, moved in moving.between(done, end) if len(moved))

    def _moving_shapes(self) -> MovingShapes:
        if self._moving is None:
            start = self._plan.start
            self._moving = MovingShapes(self._source.tracks(), start, start + len(self._plan.target.frames))
        return self._moving

    def tell_unwritten(self) -> None:
        """Shape types that no table holds, relationships without a box, and rows without a label, counted."""
        n_dropped = self._relationships.n_dropped
        if n_dropped:
            message = f"{n_dropped} relationships named a box that was deleted; their rows are left out"
            self._plan.report.add_many([Problem("export.relationship_dropped", message, "warning")], n_dropped)
        n_gone = self._plan.n_gone.total()
        if n_gone:
            name = next(iter(self._plan.n_gone))
            label = shorten(self._plan.imported_classes.get(name, name))
            message = (
                f"{n_gone:,} rows say that something is absent, or that its mask is empty, but its label was deleted, "
                f'such as "{label}"; they are left out'
            )
            self._plan.report.add_many(
                [Problem("export.label_deleted", message, "warning", value=shorten(name))], n_gone
            )
        for kind in UNWRITTEN:
            count = int(self._unwritten[kind])
            if count:
                message = f"{count} {kind.name.lower()} shapes have no row in Open Images tables"
                self._plan.report.add_many([Problem("export.unsupported", message, "warning")], count)

    def tell_misread(self) -> None:
        """Names that the layout's tool takes for numbers or for nothing: it finds no row of theirs, or fails."""
        if not self._layout.guesses_types:
            return
        plan = self._plan
        images = (plan.ids.take(rows).to_texts() for rows in plan.shown_rows())
        for what, names in (("images", images), ("classes", iter([[mid for mid, _ in plan.classes()]]))):
            count, first = misread_names(names)
            if count:
                message = (
                    f'FiftyOne takes the names of {count:,} {what}, such as "{shorten(first)}", for numbers or for '
                    "nothing, and misses their rows; rename them to read them there"
                )
                plan.report.add_many([Problem("export.misread", message, "warning", value=shorten(first))], count)

    # --- files ---

    def write_files(self) -> None:
        """Members that only this layout has, so that its tool finds every file it opens, and files that nobody
        interprets, at their path; of two that have one path, the newest import's has it."""
        kept = list(reversed(self._kept_files()))
        if self._plan.options.save_images:
            self._reserve_picture_folders()
        known = self._plan.imported_classes
        attributes = [(name, known.get(name, name)) for name in self._relationships.attributes]
        companions = self._layout.companions(self._plan.classes(), list(self._masked), attributes)
        written = self._written
        for path, (header, rows) in companions.items():
            own = next((each for each in kept if each[1].path.casefold() == path.casefold()), None)
            if own is not None and self._archive.accepts(own[1].path):
                set_id, file = own
                written[file.path] = file.crc, file.size
                is_read = file.size <= MAX_COMPANION_BYTES
                whole = self._source.kept_bytes(set_id, file.offset, file.size if is_read else 0)
                self._write_kept_file(file.path, set_id, file, missing_rows(whole, header, rows) if is_read else b"")
            elif self._archive.accepts(path):
                self._write_text(path, [csv_rows([header]) if header else b"", companion_rows(header, rows)])
        # Imports may have had their tables in other folders; of one name in two folders they would be two data sets.
        tables = {_table_name(name) for name in self._archive.names(".csv")} - {""} if kept else set()
        for set_id, file in kept:
            name = self._free_path(file.path, tables)
            tried = takewhile(name.__ne__, _numbered(file.path))
            if any(written.get(one) == (file.crc, file.size) for one in tried):
                continue  # it is there, by its path or by the number that an earlier export gave it
            tables |= {_table_name(name)} - {""}
            if name != file.path:
                message = f"another member has this name; the kept file became {shorten(name)}"
                self._plan.report.add_many([Problem("export.renamed", message, "warning", file=file.path)], 1)
            written[name] = file.crc, file.size
            self._write_kept_file(name, set_id, file)

    def _reserve_picture_folders(self) -> None:
        """No kept file may have the name of a folder of pictures, which come last."""
        for subset in self._subsets:
            self._archive.reserve_folder(posixpath.dirname(self._layout.picture(subset or "", "0", "0")))

    def _kept_files(self) -> list[tuple[int, KeptFile]]:
        """The kept files of each set, oldest first."""
        kept = [
            (set_id, file) for set_id, extras in self._plan.extras.items() for file in (*extras.files, *extras.masks)
        ]
        if self._plan.target.is_part:
            kept = self._kept_of_part(kept)
        if self._plan.selector is not None and kept:
            # They speak of images and classes that may not be among the selected ones.
            message = f"{len(kept)} kept files are left out of a selection, such as {shorten(kept[0][1].path)}"
            self._plan.report.add_many([Problem("export.unsupported", message, "warning")], len(kept))
            return []
        return kept

    def _kept_of_part(self, kept: Sequence[tuple[int, KeptFile]]) -> list[tuple[int, KeptFile]]:
        """The kept files that speak of no frames but these."""
        plan, first = self._plan, self._plan.start
        stop = first + len(plan.target.frames)
        own = [(set_id, file) for set_id, file in kept if plan.extras[set_id].is_within(first, stop)]
        if n_left := len(kept) - len(own):
            foreign = next(file for each in kept if (file := each[1]) and each not in own)
            message = f"{n_left} kept files of the whole task are left out of a job, such as {shorten(foreign.path)}"
            plan.report.add_many([Problem("export.unsupported", message, "warning")], n_left)
        return own

    def _write_kept_file(self, name: str, set_id: int, file: KeptFile, more: bytes = b"") -> None:
        """Its bytes as they came, and more behind them."""
        chunks = (
            self._source.kept_bytes(set_id, file.offset + start, min(CHUNK_BYTES, file.size - start))
            for start in range(0, file.size, CHUNK_BYTES)
        )
        if name.lower().endswith(PACKED):
            self._archive.add_stored_chunks(name, file.size, chunks, file.crc)
            return
        with self._archive.open_deflated(name, may_be_large=file.size >= LARGE_BYTES) as member:
            for chunk in chain(chunks, [more]):
                member.write(chunk)

    def _free_path(self, path: str, tables: Set[str] = frozenset()) -> str:
        """The path, or the first of `-2`, `-3`, … in front of its extension that is free, and no table's of these."""
        return next(name for name in _numbered(path) if self._archive.accepts(name) and _table_name(name) not in tables)

    def write_pictures(self) -> None:
        """Pictures as they were uploaded."""
        n_shown = int(np.count_nonzero(self._plan.shown))
        for count, row in enumerate(chain.from_iterable(rows.tolist() for rows in self._plan.shown_rows())):
            picture = self._source.picture(row + self._plan.start)
            self._archive.add_stored_chunks(self._picture_name(row), picture.size, picture.chunks())
            if count % 64 == 0:
                self._progress((len(self._subsets) + count / n_shown) / (len(self._subsets) + 1))

    def _picture_name(self, row: int) -> str:
        """The frame's name, or its id where another task of the project has that name: readers find it by its id. The
        same in a folder of a number where another picture has that name in other letter case, or is called like its
        folder; the frame's number where no zip takes its name."""
        plan = self._plan
        subset, image = plan.subsets.row(row), plan.ids.row_bytes(row).decode("utf-8")
        name = plan.target.frames.names.row_bytes(row).decode("utf-8")
        if row in plan.ids.numbered:
            name = image + posixpath.splitext(name)[1]
        path = unicodedata.normalize("NFC", self._layout.picture(subset, image, name))
        if self._archive.accepts(path):
            return path
        for n in range(2, FOLDERS_TRIED):
            path = unicodedata.normalize("NFC", self._layout.picture(subset, f"{n}/{image}", f"{n}/{name}"))
            if self._archive.accepts(path):
                return path
        extension = posixpath.splitext(name)[1]
        number = f"frame_{row + plan.start:06d}"
        stem = self._layout.picture(subset, number, number)
        names = chain([f"{stem}{extension}", stem], (f"{stem}-{n}" for n in range(2, 1 << 30)))
        return next(path for path in names if self._archive.accepts(path))

    # --- members ---

    def _write_table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Iterable[TableRows],
        even_empty: bool = False,
        header: Sequence[str] = (),
        copies: Sequence[str] = (),
    ) -> None:
        """One CSV member: the header (`columns`, unless it is spelled in another way), then the rows as they come; once
        more under each name of `copies`."""
        header = header or columns
        member: DeflatedMember | None = None
        if even_empty or self._layout.empty_tables:
            member = self._open(name, copies)
            member.write(csv_rows([header]))
        n_rows = 0
        for part in rows:
            if self._masks is not None:
                self._masks.go_on()
            if not len(part):
                continue
            if member is None:
                member = self._open(name, copies)
                member.write(csv_rows([header]))
            for made, is_packed in table_blocks(part):
                member.write_blocks(made, is_packed=is_packed)
            if self._side is not None and part.entries is not None:
                self._side.add_rows(name, n_rows, part.entries)
            n_rows += len(part)
        if member is not None:
            member.close()

    def _write_text(self, name: str, parts: Iterable[bytes]) -> None:
        with self._open(name) as member:
            for part in parts:
                member.write(part)

    def _open(self, name: str, copies: Sequence[str] = ()) -> DeflatedMember:
        return self._archive.open_deflated(name, len(self._plan.target.frames) > LARGE_FRAMES, copies)


def _joined(parts: Iterable[TableRows], n_rows: int) -> Iterator[TableRows]:
    """The same rows, at least so many at a time."""
    waiting: list[TableRows] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= n_rows:
            yield TableRows.concatenate(waiting)
            waiting = []
    if waiting:
        yield TableRows.concatenate(waiting)


def _apart(shapes: Shapes) -> tuple[Shapes, int]:
    """The same shapes, holding nothing that others read of their columns, and about how many bytes they take.
    Attributes that are needed in any case are taken from what those others have read."""
    kept = shapes.kept
    lazy = {name: column.apart() for name, column in shapes.columns().items() if hasattr(column, "apart")}
    if kept.edits.any() or (kept.tables < 0).any():
        lazy["attributes"] = shapes.attributes.compact()
    lines = kept.lines.apart() if isinstance(kept.lines, StoredLines) else kept.lines
    lazy["kept"] = kept.replace(lines=lines)
    n_bytes = lines.packed_bytes if isinstance(lines, StoredLines) else lines.nbytes
    return shapes.replace(**lazy), n_bytes + len(shapes) * HELD_ROW_BYTES


def _cohering(shapes: Shapes) -> npt.NDArray[np.int32]:
    """The frames of which all shapes must be seen at once: those of others than plain boxes."""
    is_box = (shapes.types == ShapeType.RECTANGLE) & (shapes.groups == 0) & (shapes.rotations == 0)
    return distinct(shapes.frames[~is_box])


def _by_frame(shapes: Shapes, more: Shapes) -> Shapes:
    both = Shapes.concatenate([shapes, more])
    return both.take(np.argsort(both.frames, kind="stable"))
