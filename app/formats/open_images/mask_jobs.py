"""Masks to jobs: which of them are to be drawn, from what, and what their entries in the side file begin with.

    shapes ── batch ── chunk ── stretch ── job     instances; their PNGs; those that are drawn together; their polygons

Nothing is written here, so jobs may be made long before it is their turn (`write_masks.py`).

Source: Open Images reference 4.5, 4.6, 4.8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from app.annotations import Edit, Kept, Shapes, ShapeType
from app.columns import CSVBlock, LazyRagged, Ragged, held_values, steps_within
from app.formats.base import Source
from app.formats.open_images.kept_bytes import KeptBytes
from app.formats.open_images.kept_rows import KeptLines, Mask, kept_columns, kept_lines, only_kept
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.layout import MASK_COORDINATES
from app.formats.open_images.mask_cells import label_column
from app.formats.open_images.mask_drawing import DrawJob, Drawn, draw_masks
from app.formats.open_images.mask_instances import Instance, InstanceColumns, drawn_shapes, find_instances, rows_of
from app.formats.open_images.names import is_plain_name, is_safe_box_id
from app.formats.open_images.plain_masks import PlainMasks, find_plain
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_write import SideWriter, mask_check, may_be_outlines
from app.formats.open_images.whole_outlines import whole_outlines
from app.helpers import Crew

# Instances taken at once: those that are drawn, whose crops stand in memory together, and all that are looked at.
TAKEN_AT_ONCE, KEPT_AT_ONCE = 64, 1024
# And coordinates of those (traced masks: some thirty of them), and bytes of the PNGs and lines of these.
TAKEN_VALUES, TAKEN_BYTES = 1 << 16, 8 << 20
UNHELPED_JOBS, JOBS_AHEAD = 16, 12
MASKS = ("masks",)
# An enumeration's attributes are slow to get, and these are asked for once a mask.
POLYGON = int(ShapeType.POLYGON)
GEOMETRY = int(Edit.GEOMETRY)


NeedyShapes = tuple[Shapes, Mask]
"""Shapes of some frames, all that masks may have to do with, and (N,) which of them need an entry in the side file."""
Done = list[Drawn | None] | None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The masks of some frames.

    Attributes:
        needed: (N,) shapes that need an entry in the side file.
        instances: in the order of their first shape.
        masks: what is asked of them, by column.
    """

    shapes: Shapes
    needed: Mask
    instances: Sequence[Instance]
    masks: InstanceColumns

    def needs_entry(self, number: int) -> bool:
        instance = self.instances[number]
        return len(instance.rows) > 1 or bool(self.needed[instance.rows[0]])


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Instances `start` to `stop` of a batch, which are looked at together.

    Attributes:
        whole: (N,) of the batch, which of the chunk are the outline of their PNG.
        drawn: (N,) whose pixels are wanted.
    """

    batch: Batch
    start: int
    stop: int
    whole: Mask
    drawn: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Instances `start` to `stop` of a chunk. Those of its drawn ones that are polygons alone are drawn by a job."""

    chunk: Chunk
    start: int
    stop: int

    @property
    def by_job(self) -> Places:
        """Their numbers."""
        part = slice(self.start, self.stop)
        return self.start + np.flatnonzero(self.chunk.drawn[part] & self.chunk.batch.masks.polygons[part])


@dataclass(frozen=True, slots=True, eq=False)
class PlainStretch:
    """Some masks of a batch that leave as they came."""

    shapes: Shapes
    needed: Mask
    chosen: Mask
    masks: PlainMasks


DrawCrew = Crew[Stretch | PlainStretch, DrawJob, Done]


def draw_crew(most_helpers: int) -> DrawCrew:
    """Who draws the masks of a table; to be entered."""
    return Crew(draw_masks, most_helpers, UNHELPED_JOBS, JOBS_AHEAD)


class MaskJobs:
    """The masks of one table in the order of their shapes, and the jobs of those that are drawn.

    Attributes:
        n_expected: polygons that are sure to be drawn, as far as told.
        rest: shapes that come behind those that were told beforehand.
    """

    def __init__(
        self, plan: Plan, source: Source, subset: str | None, columns: Sequence[str], side: SideWriter | None
    ) -> None:
        self._plan, self._source, self._subset, self._columns, self._side = plan, source, subset, columns, side
        self.n_expected = 0
        self.rest: Iterator[NeedyShapes] = iter(())
        self._expected: deque[NeedyShapes] = deque()
        self._making: Iterator[tuple[Stretch | PlainStretch, DrawJob | None]] = iter(())

    def expect(self, shapes: Shapes, needed: Mask) -> None:
        """The next shapes; of ascending frames."""
        edited = (shapes.kept.edits & GEOMETRY != 0) | (shapes.kept.tables < 0)
        self.n_expected += int(((shapes.types == POLYGON) & edited & self._chosen(shapes)).sum())
        self._expected.append((shapes, needed))

    def next(self) -> tuple[Stretch | PlainStretch, DrawJob | None] | None:
        """None where nothing more is expected by now."""
        while (found := next(self._making, None)) is None:
            shapes = self._expected.popleft() if self._expected else next(self.rest, None)
            if shapes is None:
                return None
            self._making = self._of(*shapes)
        return found

    def _of(self, shapes: Shapes, needed: Mask) -> Iterator[tuple[Stretch | PlainStretch, DrawJob | None]]:
        chosen = drawn_shapes(self._plan, shapes) & self._chosen(shapes)
        if not chosen.any():
            return
        plain = self._plain(shapes, needed, chosen)
        if plain is not None:
            sizes = shapes.kept.png_sizes[plain.rows]
            for masks in plain.stretches(sizes, KEPT_AT_ONCE, TAKEN_BYTES):
                yield PlainStretch(shapes, needed, chosen, masks), None
            return
        batch = self.batch(shapes, needed, chosen)
        owners = batch.masks.owners
        # Outlines are not held until the rows are written.
        points = shapes.points.apart() if isinstance(shapes.points, LazyRagged) else shapes.points
        for part in steps_within(
            shapes.kept.png_sizes[owners] + shapes.kept.lines.lengths[owners], TAKEN_BYTES, KEPT_AT_ONCE
        ):
            pngs = self.pngs(batch, np.arange(part.start, part.stop, dtype=np.int64))
            chunk = self.chunk(batch, part.start, part.stop, pngs)
            drafts = self._drafts(chunk)
            for stretch in _stretches(chunk, points):
                yield stretch, self._draw_job(stretch, points, pngs, drafts)

    def _chosen(self, shapes: Shapes) -> Mask:
        return self._plan.chosen_shapes(shapes, self._subset)

    def _plain(self, shapes: Shapes, needed: Mask, chosen: Mask) -> PlainMasks | None:
        """All masks of a batch, where they leave as they came."""
        layout = self._plan.layout
        if layout.bright_masks or layout.fills_boxes:  # such a layout may change any of them
            return None
        return find_plain(self._plan, shapes, chosen, needed, partial(self.lines, shapes))

    def batch(self, shapes: Shapes, needed: Mask, chosen: Mask) -> Batch:
        instances = find_instances(self._plan, shapes, chosen)
        return Batch(shapes, needed, instances, InstanceColumns.of(shapes, instances))

    def chunk(self, batch: Batch, start: int, stop: int, pngs: KeptBytes) -> Chunk:
        whole, drawn = np.zeros((2, len(batch.instances)), dtype=np.bool_)
        part = slice(start, stop)
        whole[part] = whole_outlines(self._plan, batch.shapes, batch.instances[part], pngs)
        drawn[part] = ~batch.masks.unchanged[part] & ~whole[part]
        return Chunk(batch, start, stop, whole, drawn)

    def pngs(self, batch: Batch, numbers: Places) -> KeptBytes:
        """The stored PNGs of those of these instances that have one."""
        masks = batch.masks
        return KeptBytes(self._source, batch.shapes.kept, masks.owners[numbers[masks.imported[numbers]]])

    def _draw_job(
        self, stretch: Stretch, points: Ragged, pngs: KeptBytes, drafts: Mapping[int, tuple[bytes, bytes]]
    ) -> DrawJob | None:
        """None where there is nothing to draw."""
        numbers = stretch.by_job
        if not len(numbers):
            return None
        batch = stretch.chunk.batch
        instances = [batch.instances[number] for number in numbers.tolist()]
        rows, starts = rows_of(instances)
        outlines = points.take(rows)
        widths, heights = (sides.tolist() for sides in self._plan.sizes_of(batch.masks.frames[numbers]))
        earlier = [self.earlier(instance, pngs) for instance in instances]
        made = [drafts.get(number, (b"", b"")) for number in numbers.tolist()]
        return DrawJob(
            held_values(outlines),
            outlines.offsets,
            np.repeat(np.arange(len(numbers), dtype=np.int64), np.diff(starts)),
            widths,
            heights,
            [png for png, _ in earlier],
            [digest for _, digest in earlier],
            self._plan.layout.fills_boxes,
            [draft for draft, _ in made],
            [check for _, check in made],
        )

    def _drafts(self, chunk: Chunk) -> dict[int, tuple[bytes, bytes]]:
        """Of the side file's entries of instances that are drawn by jobs, and what they say of a stored PNG; none where
        there is no entry, or where the polygons may be the mask's outline, or the layout may write another PNG."""
        batch, masks = chunk.batch, chunk.batch.masks
        numbers = Stretch(chunk, chunk.start, chunk.stop).by_job
        if self._side is None or not len(numbers):
            return {}
        shapes, owners = batch.shapes, masks.owners[numbers]
        kept = only_kept(shapes.kept.take(owners), masks.imported[numbers])
        column = kept_columns(self._plan, kept, ("LabelName",))["LabelName"]
        labels = label_column(self._plan, shapes, masks, numbers, column).to_texts()
        self._side.prepare(masks.frames[numbers])
        are_tracks = bool((shapes.ids < 0).any())
        columns = (
            numbers,
            masks.imported[numbers],
            masks.edits[numbers] & GEOMETRY != 0,
            (masks.sizes[numbers] > 1) | batch.needed[masks.firsts[numbers]],
            shapes.kept.png_crcs[owners],
            shapes.kept.png_sizes[owners],
        )
        drafts = {}
        for label, number, is_imported, is_moved, needs_entry, crc, size in zip(
            labels, *(column.tolist() for column in columns), strict=True
        ):
            rows = batch.instances[number].rows
            if not needs_entry or (are_tracks and self._side.is_of_track(shapes, rows)):
                continue
            if is_imported and (self._plan.layout.bright_masks or (not is_moved and may_be_outlines(shapes, rows))):
                continue
            check = mask_check("", crc, size)[1:] if is_imported else ""
            drafts[number] = self._side.draft(shapes, rows, label), check.encode()
        return drafts

    def earlier(self, instance: Instance, pngs: KeptBytes) -> tuple[bytes, int | None]:
        """The stored PNG of an imported instance, and the digest of its pixels where that is noted."""
        if instance.imported is None:
            return b"", None
        return pngs.noted(instance.imported)

    def lines(self, shapes: Shapes, places: Places) -> KeptLines:
        """Of the places, those whose line can be written as it came."""
        plan = self._plan
        may_trust = not plan.layout.fills_boxes
        return kept_lines(
            plan, shapes.kept, shapes.frames, places, MASKS, self._columns, self._is_plain, may_trust=may_trust
        )

    def _is_plain(self, block: CSVBlock, places: Places) -> Mask:
        """Whether every reader takes these rows: a BoxID, a usable name, and the box where the layout wants one."""
        texts = zip(block.cells("BoxID").ragged().to_texts(), block.cells("MaskPath").ragged().to_texts(), strict=True)
        good = np.array([is_safe_box_id(box) and is_plain_name(path) for box, path in texts], dtype=np.bool_)
        if self._plan.layout.fills_boxes:
            for name in MASK_COORDINATES:
                good &= block.cells(name).lengths > 0
        return good


def _stretches(chunk: Chunk, points: Ragged) -> Iterator[Stretch]:
    """Instances of which so many are drawn as fit into memory together."""
    drawn = np.flatnonzero(chunk.drawn)
    start = chunk.start
    if len(drawn):
        rows, starts = rows_of([chunk.batch.instances[number] for number in drawn.tolist()])
        sizes = np.add.reduceat(points.lengths[rows], starts[:-1])
        for part in steps_within(sizes, TAKEN_VALUES, TAKEN_AT_ONCE):
            stop = chunk.stop if part.stop == len(drawn) else int(drawn[part.stop])
            yield Stretch(chunk, start, stop)
            start = stop
    elif start < chunk.stop:
        yield Stretch(chunk, start, chunk.stop)


def identity(kept: Kept, row: int) -> tuple[int, int]:
    return int(kept.png_crcs[row]), int(kept.png_sizes[row])
