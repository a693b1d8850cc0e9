"""An archive into annotations that are there: rows that say the same stay, others are corrected, added, removed.

Three sides meet in a row: what an earlier archive said (the kept line), what the task shows now, and what this archive
says. A cell that differs from the kept line was corrected there, and its value is taken; every other part of the
annotation stays as the task shows it, edits included. Where both changed the same part, the archive's wins and the
report says so.

Which rows are one and the same, first match wins; of several alike those that show the same, then the first with the
first:

    all rows       the same line; the same cells in another order
    boxes          image, label, coordinates as imported; what is shown now; image, coordinates; image, label, nearest
    image labels   what is shown now; image, label, source; image, label
    points         image, label, source, text, place; image, label, place; image, label, source, text; shown now
    relationships  image, labels, relation, boxes; image, labels, relation; image, boxes
    masks          image, MaskPath; image, label, BoxID; the same PNG; what is shown now; image, label
    no row         (shapes, tracks of the side file) what is shown now; image, label, type

The shapes that one mask row became are compared as one, and so are those that were drawn here and that an export made
one row of. A row of the task is removed only if an earlier archive brought it, nobody has edited it since, this archive
has a table of its kind and subset, and names its image. What was drawn here is never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Annotations, Edit, Images, Kept, Rows, Tracks, mix, pair_in_order, texts_differ
from app.columns import distinct, steps_within
from app.errors import Problem, Report, shorten
from app.formats.base import Changes, Held, ImportOptions, MergedDocuments, NewDocument, Target
from app.formats.open_images.correction import Correction
from app.formats.open_images.drawn_units import join_drawn
from app.formats.open_images.extras import KeptTable, merge_extras
from app.formats.open_images.mask_instances import strayed_parts
from app.formats.open_images.merge_sides import LABEL_NAMES, Sides, differing_cells
from app.formats.open_images.reading import WARNINGS_LISTED
from app.formats.open_images.said import NO_KIND
from app.formats.open_images.same_rows import STEP_BYTES, STEP_ROWS, Pairing, RowFinder, Units, units_of
from app.formats.selection import parse_selection

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Table = Any

KINDS = ("shapes", "tags", "tracks", "images", "rows")


class OpenImagesMerger:
    """See the module; a `formats.Merger`."""

    def __init__(self, new: NewDocument, target: Target, options: ImportOptions, report: Report) -> None:
        self._sides = Sides(new, target)
        self._target, self._report = target, report
        # A part of an archive says nothing of rows that it lacks.
        self._is_whole = parse_selection(options).is_empty
        self._removes = self._is_whole and options.missing == "remove"
        self._changes = {kind: Changes() for kind in KINDS}
        self._told: dict[str, int] = {}
        self._finder = RowFinder(self._sides, self._is_whole)
        self._edits = {"kept": 0, "overwritten": 0}

    @property
    def changes(self) -> Mapping[str, Changes]:
        return self._changes

    def merge(self, held: Held, new: Annotations, write: Callable[[Annotations], None]) -> Mapping[str, Mask]:
        """See `formats.Merger`."""
        named = distinct(new.images.frames)
        goes: dict[str, Mask] = {}
        tables: dict[str, Table] = {}
        pairs: dict[str, tuple[Units, Units, Pairing]] = {}
        held, new, strays = _without_strays(held, new)
        traced: Mask | None = None
        for kind in ("shapes", "tags"):
            old_table, new_table = getattr(held.annotations, kind), getattr(new, kind)
            old_units, new_units = units_of(old_table), units_of(new_table)
            pairing = self._finder.pair(
                _firsts(old_table, old_units),
                _firsts(new_table, new_units),
                held.imported[kind][old_units.firsts],
            )
            if kind == "shapes":
                old_units, pairing, traced = join_drawn(old_table, new_table, old_units, new_units, pairing)
            pairs[kind] = old_units, new_units, pairing
        related = new.rows.frames[self._sides.said(new.rows.kept).of_kind("relationships")]
        groups = self._groups(held.annotations, new, pairs)
        for kind in ("shapes", "tags"):
            imported, as_traced = held.imported[kind], traced if kind == "shapes" else None
            old_table = getattr(held.annotations, kind)
            goes[kind] = np.zeros(len(old_table), dtype=np.bool_)
            for part in self._objects(
                kind, old_table, groups[kind], pairs[kind], imported, named, related, as_traced, goes[kind]
            ):
                write(Annotations(**{kind: part}))
        # Strays that stay are written anew, without their row, which may be another from now on.
        left = np.flatnonzero(strays & ~goes["shapes"])
        if len(left):
            goes["shapes"][left] = True
            write(Annotations(shapes=held.annotations.shapes.take(left)))
        goes["images"], tables["images"] = self._images(held.annotations.images, new.images)
        goes["rows"] = np.zeros(len(held.annotations.rows), dtype=np.bool_)
        for rows in self._rows(held.annotations.rows, new.rows, named, goes["rows"]):
            write(Annotations(rows=rows))
        goes["tracks"], tables["tracks"] = self._tracks(
            held.annotations.tracks, new.tracks, held.imported["tracks"], named
        )
        write(Annotations(**tables))
        return goes

    def documents(self) -> MergedDocuments:
        """See `formats.Merger`."""
        return self._documents

    @cached_property
    def _documents(self) -> MergedDocuments:
        earlier, new, is_needed = merge_extras(
            self._sides.earlier,
            self._sides.new,
            {label_id: label.name for label_id, label in self._target.labels.by_id.items()},
        )
        updates = {set_id: extras.to_dict() for set_id, extras in earlier.items()}
        return MergedDocuments(updates, new.to_dict(), is_needed)

    def summary(self) -> dict[str, Any]:
        """See `formats.Merger`."""
        return {"changes": {kind: counts.to_dict() for kind, counts in self._changes.items()}, "edits": self._edits}

    # --- pairs ---

    # --- groups ---

    def _groups(
        self, held: Annotations, new: Annotations, pairs: Mapping[str, tuple[Units, Units, Pairing]]
    ) -> dict[str, Table]:
        """The new shapes and tags with the group numbers that their pairs have."""
        places: list[Positions] = []  # frame and new number as one
        numbers: list[npt.NDArray[np.int32]] = []
        for kind, (old_units, new_units, pairing) in pairs.items():
            old, fresh = getattr(held, kind), getattr(new, kind)
            paired = np.flatnonzero(pairing.old_of >= 0)
            new_rows, old_rows = new_units.firsts[paired], old_units.firsts[pairing.old_of[paired]]
            both = (fresh.groups[new_rows] != 0) & (old.groups[old_rows] != 0)
            places.append(_group_places(fresh, new_rows[both]))
            numbers.append(old.groups[old_rows[both]])
        known, firsts = np.unique(np.concatenate(places), return_index=True)
        meant = np.concatenate(numbers)[firsts]
        renamed: dict[str, Table] = {}
        for kind in pairs:
            table = getattr(new, kind)
            rows = np.flatnonzero(table.groups)
            if len(rows) and len(known):
                asked = _group_places(table, rows)
                found = np.minimum(np.searchsorted(known, asked), len(known) - 1)
                groups = table.groups.copy()
                groups[rows] = np.where(known[found] == asked, meant[found], groups[rows])
                table = table.replace(groups=groups)
            renamed[kind] = table
        return renamed

    # --- shapes and tags ---

    def _objects(
        self,
        kind: str,
        old: Table,
        new: Table,
        pairs: tuple[Units, Units, Pairing],
        imported: Mask,
        named: npt.NDArray[np.int32],
        related: npt.NDArray[np.int32],
        traced: Mask | None,
        goes: Mask,
    ) -> Iterator[Table]:
        """The new rows, in parts; which of the old ones go is told to `goes`. `traced`: see `join_drawn`."""
        old_units, new_units, pairing = pairs
        changes = self._changes[kind]
        new_of = np.flatnonzero(pairing.old_of >= 0)
        old_of = pairing.old_of[new_of]
        n_same = 0
        for some in _steps(old, new, old_units, new_units, old_of, new_of):
            of_old, of_new = old_of[some], new_of[some]
            same_pixels = None if traced is None else traced[of_new]
            corrected = Correction(
                self._sides, kind, old, new, old_units, new_units, of_old, of_new, related, same_pixels
            )
            changed = np.flatnonzero(corrected.is_changed)
            self._count_edits(kind, old, old_units.firsts[of_old], corrected)
            if len(changed):
                rows, _ = old_units.members(of_old[changed])
                goes[rows] = True
                result = corrected.result(changed)
                changes.changed += len(result)
                yield result
                del result
            n_same += int(old_units.sizes[of_old[~corrected.is_changed]].sum())
        changes.unchanged += n_same
        added, _ = new_units.members(np.flatnonzero(pairing.old_of < 0))
        added.sort()
        for start in range(0, len(added), STEP_ROWS):
            yield new.take(added[start : start + STEP_ROWS])
        changes.added += len(added)
        left = np.flatnonzero(pairing.is_free)
        removed = self._removable(old, old_units.firsts[left], imported, named)
        edited = np.zeros(len(left), dtype=np.bool_)
        rows, which = old_units.members(left)
        edited[which[old.kept.changes[rows] != 0]] = True
        self._tell_missing(kind, old.take(old_units.firsts[left[removed & edited]]))
        rows, _ = old_units.members(left[removed & ~edited])
        goes[rows] = True
        changes.removed += len(rows)
        changes.kept += len(old_units.rows) - n_same - int(goes.sum())

    def _removable(self, old: Table, rows: Positions, imported: Mask, named: npt.NDArray[np.int32]) -> Mask:
        """(R,) which of some rows an archive brought and this one could have, but has not."""
        if not self._removes:
            return np.zeros(len(rows), dtype=np.bool_)
        said = self._sides.said(old.kept)
        known = said.rows_where(self._is_covered)
        if self._sides.new.has_side:
            known |= said.of_kind(NO_KIND)
        found: Mask = (imported & known)[rows] & np.isin(old.frames[rows], named)
        return found

    def _is_covered(self, table: KeptTable) -> bool:
        """Whether this archive has a table of the same kind and subset."""
        return any(
            mine.kind == table.kind and (mine.subset == table.subset or None in (mine.subset, table.subset))
            for mine in self._sides.new.tables
        )

    def _count_edits(self, kind: str, old: Table, rows: Positions, corrected: Correction) -> None:
        """Edits that the archive overwrites, and those that stay although it has the row."""
        edits = old.kept.changes[rows]
        overwritten = corrected.overwritten
        self._edits["overwritten"] += int((overwritten != 0).sum())
        stays = (edits != 0) & ((edits & ~overwritten) != 0)
        self._edits["kept"] += int(stays.sum())
        for place in self._listed("merge.edit_overwritten", overwritten != 0):
            message = f"{_words(int(overwritten[place]))} was changed here and in the archive; the archive's is taken"
            self._tell("merge.edit_overwritten", kind, old, int(rows[place]), message)
        for place in self._listed("merge.edit_kept", stays):
            message = (
                f"{_words(int(edits[place] & ~overwritten[place]))} was changed here and not in the archive; it stays"
            )
            self._tell("merge.edit_kept", kind, old, int(rows[place]), message)

    def _tell_missing(self, kind: str, old: Table) -> None:
        self._edits["kept"] += len(old)
        for row in self._listed("merge.missing_kept", np.ones(len(old), dtype=np.bool_)):
            message = "the archive has this row no more, but it was changed here; it stays"
            self._tell("merge.missing_kept", kind, old, row, message)

    def _listed(self, code: str, found: Mask) -> list[int]:
        """The first few places, all of them counted."""
        room = WARNINGS_LISTED - self._told.get(code, 0)
        places = np.flatnonzero(found)
        listed: list[int] = places[: max(room, 0)].tolist()
        if len(places) > len(listed):
            self._report.count_more(code, "warning", len(places) - len(listed))
        self._told[code] = self._told.get(code, 0) + len(listed)
        return listed

    def _tell(self, code: str, kind: str, table: Table, row: int, message: str) -> None:
        frame = shorten(self._target.frames.name(int(table.frames[row])))
        label = self._target.labels.by_id.get(int(table.label_ids[row]))
        about = f'{kind[:-1]} {int(table.ids[row])} of "{frame}"' + (f' ("{shorten(label.name)}")' if label else "")
        line = table.kept.lines.row_bytes(row).decode("utf-8", "replace")
        file = None
        if table.kept.tables[row] >= 0:
            file = self._sides.extras[int(table.kept.sets[row])].tables[int(table.kept.tables[row])].path
        self._report.add(Problem(code, f"{about}: {message}", "warning", file, value=line or None))

    # --- the rest ---

    def _images(self, old: Images, new: Images) -> tuple[Mask, Images]:
        """One row a frame; the newest import's counts. A row that no list has says only the subset."""
        goes = np.zeros(len(old), dtype=np.bool_)
        last = (
            np.flatnonzero(np.concatenate([old.frames[1:] != old.frames[:-1], [True]]))
            if len(old)
            else goes.nonzero()[0]
        )
        old_of = pair_in_order(mix(old.frames[last]), mix(new.frames))
        paired = np.flatnonzero(old_of >= 0)
        mine, theirs = old.take(last[old_of[paired]]), new.take(paired)
        differ = texts_differ(mine.subsets, theirs.subsets)
        has_line = theirs.kept.tables >= 0
        lined = np.flatnonzero(has_line)
        if len(lined):
            one, two = mine.take(lined), theirs.take(lined)
            other = ~(self._sides.same_lines(one.kept, two.kept) & (one.kept.tables >= 0))
            unsure = np.flatnonzero(other)
            if len(unsure):
                sides = self._sides.said(one.kept.take(unsure)), self._sides.said(two.kept.take(unsure))
                same = (sides[0].kinds != NO_KIND) & ~np.any(list(differing_cells(*sides).values()), axis=0)
                other[unsure] = ~same
            differ[lined] |= other
        changed = np.flatnonzero(differ)
        # A row without a line leaves the older one with its line: only the subset is another.
        goes[last[old_of[paired[changed[has_line[changed]]]]]] = True
        counts = self._changes["images"]
        counts.changed += len(changed)
        counts.unchanged += len(paired) - len(changed)
        counts.added += int((old_of < 0).sum())
        counts.kept += len(old) - len(paired)
        return goes, new.take(np.sort(np.concatenate([np.flatnonzero(old_of < 0), paired[changed]])))

    def _rows(self, old: Rows, new: Rows, named: npt.NDArray[np.int32], goes: Mask) -> Iterator[Rows]:
        """Kept lines that nothing shows: the new ones, in parts; which of the old ones go is told to `goes`."""
        counts = self._changes["rows"]
        pairing = self._finder.pair(old, new, np.ones(len(old), dtype=np.bool_))
        new_of = np.flatnonzero(pairing.old_of >= 0)
        old_of = pairing.old_of[new_of]
        differ = np.zeros(len(new_of), dtype=np.bool_)
        for some in steps_within(
            old.kept.lines.lengths[old_of] + new.kept.lines.lengths[new_of], STEP_BYTES, STEP_ROWS
        ):
            differ[some] = self._rows_differ(old.kept.take(old_of[some]), new.kept.take(new_of[some]))
        goes[old_of[differ]] = True
        left = np.flatnonzero(pairing.is_free)
        removed = self._removable(old, left, np.ones(len(old), dtype=np.bool_), named)
        goes[left[removed]] = True
        counts.changed += int(differ.sum())
        counts.unchanged += int((~differ).sum())
        counts.removed += int(removed.sum())
        counts.kept += int((~removed).sum())
        fresh = np.flatnonzero(pairing.old_of < 0)
        counts.added += len(fresh)
        written = np.sort(np.concatenate([fresh, new_of[differ]]))
        for start in range(0, len(written), STEP_ROWS):
            yield new.take(written[start : start + STEP_ROWS])

    def _rows_differ(self, mine: Kept, theirs: Kept) -> Mask:
        """(N,) which of some pairs of kept lines say something else."""
        differ = ~self._sides.same_lines(mine, theirs)
        unsure = np.flatnonzero(differ)
        if len(unsure):
            sides = self._sides.said(mine.take(unsure)), self._sides.said(theirs.take(unsure))
            cells = differing_cells(*sides)
            for name in LABEL_NAMES & cells.keys():
                mine_labels, their_labels = (self._sides.named_labels(side, name) for side in sides)
                cells[name] &= mine_labels != their_labels
            differ[unsure] = np.any(list(cells.values()), axis=0)
        # Whether a relationship has its boxes is another archive by archive.
        differ |= self._sides.said(mine).links != self._sides.said(theirs).links
        differ |= (mine.png_crcs != theirs.png_crcs) | (mine.png_sizes != theirs.png_sizes)
        return differ

    def _tracks(self, old: Tracks, new: Tracks, imported: Mask, named: npt.NDArray[np.int32]) -> tuple[Mask, Tracks]:
        """Tracks have no row: the same if all of them is, corrected if the label and the first frame are."""
        counts = self._changes["tracks"]
        pairing = Pairing(len(old), len(new))
        pairing.by_key(_track_keys(old), _track_keys(new))
        same = pairing.old_of.copy()
        if self._is_whole:
            keys = [mix(table.frames, table.label_ids) for table in (old, new)]
            pairing.by_key(keys[0], keys[1], imported)
        goes = np.zeros(len(old), dtype=np.bool_)
        changed = np.flatnonzero((pairing.old_of >= 0) & (same < 0))
        goes[pairing.old_of[changed]] = True
        ids = new.ids.copy()
        ids[changed] = old.ids[pairing.old_of[changed]]
        left = np.flatnonzero(pairing.is_free)
        removed = imported[left] & np.isin(old.frames[left], named) & (self._removes and self._sides.new.has_side)
        goes[left[removed]] = True
        counts.unchanged += int((same >= 0).sum())
        counts.changed += len(changed)
        counts.added += int((pairing.old_of < 0).sum())
        counts.removed += int(removed.sum())
        counts.kept += int((~removed).sum())
        return goes, new.replace(ids=ids).take(np.flatnonzero(same < 0))


def _without_strays(held: Held, new: Annotations) -> tuple[Held, Annotations, Mask]:
    """Shapes that are no part of their row any more have none: an export makes rows of their own of them. Also (N,)
    which of the held ones that are."""
    old, strays = held.annotations.shapes, []
    tables = []
    for shapes in (old, new.shapes):
        stray = strayed_parts(shapes, shapes.kept.png_offsets >= 0)
        if stray.any():
            rows = np.where(stray, len(shapes), np.arange(len(shapes), dtype=np.int64))
            shapes = shapes.replace(kept=Kept.concatenate([shapes.kept, Kept.empty(1)]).take(rows))
        strays.append(stray)
        tables.append(shapes)
    imported = {**held.imported, "shapes": held.imported["shapes"] & ~strays[0]}
    return Held(replace(held.annotations, shapes=tables[0]), imported), replace(new, shapes=tables[1]), strays[0]


def _firsts(table: Table, units: Units) -> Table:
    """The first row of each unit; not copied where each row is one."""
    return table if len(units) == len(table) else table.take(units.firsts)


def _steps(
    old: Table, new: Table, old_units: Units, new_units: Units, old_of: Positions, new_of: Positions
) -> Iterator[slice]:
    """Pairs that are compared together: so many rows, or bytes of their first ones' lines."""
    n_rows = old_units.sizes[old_of] + new_units.sizes[new_of]
    n_bytes = old.kept.lines.lengths[old_units.firsts[old_of]] + new.kept.lines.lengths[new_units.firsts[new_of]]
    return steps_within(np.maximum(n_rows * (STEP_BYTES // STEP_ROWS), n_bytes), 2 * STEP_BYTES)


def _group_places(table: Table, rows: Positions) -> Positions:
    places: Positions = table.frames[rows].astype(np.int64) << 32 | table.groups[rows].astype(np.int64)
    return places


def _track_keys(tracks: Tracks) -> Keys:
    """(N,) of all that a track is, but its id and the number of its group."""
    keys = np.empty(len(tracks), dtype=np.int64)
    columns = (tracks.frames, tracks.label_ids, tracks.groups != 0)
    for place, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        body = orjson.loads(tracks.bodies.row_bytes(place))
        parts = [row, tracks.attributes.row(place), tracks.sources.row(place), body]
        keys[place] = hash(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))
    return mix(keys)


def _words(parts: int) -> str:
    names = {Edit.GEOMETRY: "the place", Edit.LABEL: "the label", Edit.ATTRIBUTES: "an attribute"}
    names |= {Edit.OCCLUDED: "the occluded flag", Edit.GROUP: "the group"}
    return " and ".join(name for part, name in names.items() if parts & part) or "it"
