"""A task's annotations to an Open Images archive: station by station, streamed, the same bytes for the same state.

    image lists → classes, hierarchy, sizes → boxes → image labels → masks: PNGs, then their table → files, pictures

Each table is one pass over the source for each subset; nothing but ids and subsets of frames is held as a whole.

Source: Open Images reference 4.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from app.annotations import Shapes, ShapeType, expand_tracks
from app.archive import ArchiveWriter, DeflatedMember
from app.columns import Ragged, join_columns
from app.errors import Problem, Report
from app.formats.base import ExportOptions, Progress, Source, Target
from app.formats.open_images.extras import KeptFile
from app.formats.open_images.hierarchy import default_hierarchy
from app.formats.open_images.kept_rows import TableRows, header_columns, merge_by_frame
from app.formats.open_images.layout import (
    CLASSES_NAME,
    COLUMNS,
    DOCUMENTED_IMAGE_LIST,
    HIERARCHY_NAME,
    SIZES_NAME,
    TABLE_NAMES,
    Kind,
)
from app.formats.open_images.plan import Plan, make_plan
from app.formats.open_images.sizes import join_sizes
from app.formats.open_images.write_boxes import box_rows
from app.formats.open_images.write_images import image_rows
from app.formats.open_images.write_masks import MaskTable
from app.formats.open_images.write_tags import hidden_rows, tag_rows

# Tables of tasks beyond this many frames may pass 4 GiB, which a zip must say beforehand.
LARGE_FRAMES = 200_000
SIZES_STEP = 50_000
KEPT_PIECE_BYTES = 4 << 20
UNWRITTEN = (ShapeType.POLYLINE, ShapeType.POINTS, ShapeType.CUBOID, ShapeType.SKELETON)


def write(
    source: Source, target: Target, archive: ArchiveWriter, options: ExportOptions, report: Report, progress: Progress
) -> None:
    """Write every member of the archive; see the module."""
    plan = make_plan(source, target, options, report)
    writer = Writer(plan, source, archive, progress)
    writer.write_lists()
    writer.write_classes()
    writer.write_tables()
    writer.write_kept_files()
    if options.save_images:
        writer.write_pictures()
    writer.tell_unwritten()
    progress(1.0)


class Writer:
    """The steps of one export, in their order."""

    def __init__(self, plan: Plan, source: Source, archive: ArchiveWriter, progress: Progress) -> None:
        self._plan, self._source, self._archive, self._progress = plan, source, archive, progress
        self._subsets = plan.subset_names()
        self._unwritten = np.zeros(len(ShapeType), dtype=np.int64)
        self._is_counted = False
        self._tracks: Shapes | None = None

    # --- image lists ---

    def write_lists(self) -> None:
        """Every shown frame, under the name readers know and under the documented one; written even when empty."""
        columns = header_columns(self._plan, "images", COLUMNS["images"])
        names = [TABLE_NAMES["images"]]
        if self._plan.options.documented_image_list:
            names.append(DOCUMENTED_IMAGE_LIST)
        for subset in self._subsets:
            for name in names:
                rows = image_rows(self._plan, self._source.images(), subset, columns)
                self._write_table(name.format(subset), columns, rows, even_empty=True)

    def write_classes(self) -> None:
        """Class names without header, the hierarchy, and the sizes of all frames."""
        plan = self._plan
        classes = plan.classes()
        columns = [Ragged.from_bytes([row[place].encode("utf-8") for row in classes]) for place in (0, 1)]
        self._write_text(CLASSES_NAME, [join_columns(columns, len(classes))] if classes else [])
        trees = [extras.hierarchy for extras in plan.extras.values() if extras.hierarchy is not None]
        self._write_text(
            HIERARCHY_NAME, [(trees[-1] if trees else default_hierarchy([m for m, _ in classes])).encode()]
        )
        self._write_text(SIZES_NAME, self._sizes())

    def _sizes(self) -> Iterator[bytes]:
        frames, shown = self._plan.target.frames, np.flatnonzero(self._plan.shown)
        for first in range(0, len(shown), SIZES_STEP):
            rows = shown[first : first + SIZES_STEP]
            yield join_sizes(self._plan.ids.take(rows), frames.heights[rows], frames.widths[rows])

    # --- annotations ---

    def write_tables(self) -> None:
        """Boxes, image labels, machine labels and masks of each subset; a table without rows is not written."""
        plan, source = self._plan, self._source
        for number, subset in enumerate(self._subsets):
            boxes = header_columns(plan, "boxes", COLUMNS["boxes"], subset)
            name = TABLE_NAMES["boxes"].format(subset)
            hidden = hidden_rows(plan, source.rows(), subset, boxes, "boxes")
            self._write_table(name, boxes, merge_by_frame(box_rows(plan, self._shapes(), subset, boxes), hidden))
            kinds: tuple[Kind, ...] = ("tags", "machine")
            for kind in kinds:
                tags = header_columns(plan, kind, COLUMNS[kind], subset)
                name = TABLE_NAMES[kind].format(subset)
                hidden = hidden_rows(plan, source.rows(), subset, tags, kind)
                shown = tag_rows(plan, source.tags(), subset, tags, kind)
                self._write_table(name, tags, merge_by_frame(shown, hidden))
            self._write_masks(subset)
            self._progress((number + 1) / (len(self._subsets) + 1))

    def _write_masks(self, subset: str) -> None:
        """PNGs leave as they are drawn; the rows wait for their table, which follows them."""
        columns = header_columns(self._plan, "masks", COLUMNS["masks"], subset)
        table = MaskTable(self._plan, self._source, self._archive, subset, columns)
        rows = merge_by_frame(table.rows(self._shapes()), table.hidden(self._source.rows()))
        parts = [join_columns([part.columns[name] for name in columns], len(part)) for part in rows]
        if parts:
            self._write_text(TABLE_NAMES["masks"].format(subset), [_header(columns), *parts])

    def _shapes(self) -> Iterator[Shapes]:
        """All shapes in ascending frames, those of tracks among them. The first pass counts what no table holds."""
        done = self._plan.start
        counting, self._is_counted = not self._is_counted, True
        for shapes in self._with_tracks(done):
            if counting:
                self._unwritten += np.bincount(shapes.types, minlength=len(ShapeType))[: len(ShapeType)]
            yield shapes

    def _with_tracks(self, done: int) -> Iterator[Shapes]:
        frames = self._plan.target.frames
        if self._tracks is None:
            tracks = self._source.tracks()
            expanded = (
                expand_tracks(tracks, frames.start, frames.start + len(frames)) if len(tracks) else Shapes.empty()
            )
            self._tracks = expanded.take(np.argsort(expanded.frames, kind="stable"))
        moving = self._tracks
        for shapes in self._source.shapes():
            last = int(shapes.frames[-1]) + 1 if len(shapes) else done
            span = _between(moving, done, last)
            done = max(done, last)
            yield _by_frame(shapes, span) if len(span) else shapes
        rest = _between(moving, done, frames.start + len(frames))
        if len(rest):
            yield rest

    def tell_unwritten(self) -> None:
        """Shape types that no table holds, counted."""
        for kind in UNWRITTEN:
            count = int(self._unwritten[kind])
            if count:
                message = f"{count} {kind.name.lower()} shapes have no row in Open Images tables"
                self._plan.report.add_many([Problem("export.unsupported", message, "warning")], count)

    # --- files ---

    def write_kept_files(self) -> None:
        """Files that nobody interprets, at their path; the newest import's where two have one."""
        newest = {
            kept.path: (set_id, kept)
            for set_id, extras in self._plan.extras.items()
            for kept in (*extras.files, *extras.masks)
        }
        for path, (set_id, kept) in newest.items():
            if not self._archive.accepts(path):
                message = f"{path} is a name of this export; the kept file of that name is left out"
                self._plan.report.add_many([Problem("export.renamed", message, "warning", file=path)], 1)
                continue
            self._archive.add_stored_chunks(path, kept.size, self._pieces(set_id, kept), kept.crc)

    def _pieces(self, set_id: int, kept: KeptFile) -> Iterator[bytes]:
        for start in range(0, kept.size, KEPT_PIECE_BYTES):
            yield self._source.kept_bytes(set_id, kept.offset + start, min(KEPT_PIECE_BYTES, kept.size - start))

    def write_pictures(self) -> None:
        """`images/<subset>/<frame name>`, the uploaded bytes."""
        shown = np.flatnonzero(self._plan.shown)
        for count, row in enumerate(shown.tolist()):
            picture = self._source.picture(row + self._plan.start)
            self._archive.add_stored_chunks(self._picture_name(row), picture.size, picture.chunks())
            if count % 64 == 0:
                self._progress((len(self._subsets) + count / len(shown)) / (len(self._subsets) + 1))

    def _picture_name(self, row: int) -> str:
        """The frame's name; its number where another picture has that name in other letter case, or no zip takes it."""
        folder = f"images/{self._plan.subsets.row(row)}/"
        name = unicodedata.normalize("NFC", self._plan.target.frames.names.row_bytes(row).decode("utf-8"))
        if self._archive.accepts(folder + name):
            return folder + name
        extension = posixpath.splitext(name)[1]
        stem = f"{folder}frame_{row + self._plan.start:06d}"
        return next(
            path
            for path in (f"{stem}{extension}", stem, *(f"{stem}-{n}" for n in range(2, 1 << 30)))
            if self._archive.accepts(path)
        )

    # --- members ---

    def _write_table(
        self, name: str, columns: Sequence[str], rows: Iterable[TableRows], even_empty: bool = False
    ) -> None:
        """One CSV member: the header, then the rows as they come."""
        member: DeflatedMember | None = self._open(name) if even_empty else None
        if member is not None:
            member.write(_header(columns))
        for part in rows:
            if not len(part):
                continue
            if member is None:
                member = self._open(name)
                member.write(_header(columns))
            member.write(join_columns([part.columns[column] for column in columns], len(part)))
        if member is not None:
            member.close()

    def _write_text(self, name: str, parts: Iterable[bytes]) -> None:
        with self._open(name) as member:
            for part in parts:
                member.write(part)

    def _open(self, name: str) -> DeflatedMember:
        return self._archive.open_deflated(name, may_be_large=len(self._plan.ids) > LARGE_FRAMES)


def _header(columns: Sequence[str]) -> bytes:
    return join_columns([Ragged.from_bytes([column.encode("utf-8")]) for column in columns], 1)


def _between(shapes: Shapes, first: int, stop: int) -> Shapes:
    """Shapes of frames first to stop; they ascend."""
    places = np.searchsorted(shapes.frames, (first, stop))
    return shapes.take(np.arange(places[0], places[1]))


def _by_frame(shapes: Shapes, more: Shapes) -> Shapes:
    both = Shapes.concatenate([shapes, more])
    return both.take(np.argsort(both.frames, kind="stable"))
