"""What an archive corrected of annotations that are there: part by part, beside what was edited since.

A cell that differs from the kept line was corrected in the archive; its part of the annotation (place, label,
attribute, occluded flag, group) is taken. Every other part stays as the task shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Edit, Kept, Shapes, ShapeType, attributes_differ, ragged_differ
from app.columns import Ragged, Texts, distinct
from app.formats.open_images.extras import is_sided
from app.formats.open_images.layout import COORDINATES, FLAGS, MASK_COORDINATES, POINT_ATTRIBUTES, POINT_PLACE
from app.formats.open_images.merge_sides import LABEL_NAMES, Sides, differing_cells
from app.formats.open_images.said import Said
from app.formats.open_images.same_rows import Units

Flags = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Table = Any

ALL_PARTS = Edit.GEOMETRY | Edit.LABEL | Edit.ATTRIBUTES | Edit.OCCLUDED
_TAG_COLUMNS = {"confidence": Edit.ATTRIBUTES, "source": Edit.ATTRIBUTES}
PARTS: Mapping[str, Mapping[str, Edit]] = {
    "boxes": {
        **{name.casefold(): Edit.GEOMETRY for name in COORDINATES},
        **{name.casefold(): Edit.ATTRIBUTES for name in FLAGS},
        **_TAG_COLUMNS,
        "isoccluded": Edit.OCCLUDED | Edit.ATTRIBUTES,
    },
    "points": {
        **{name.casefold(): Edit.GEOMETRY for name in POINT_PLACE},
        **{name.casefold(): Edit.ATTRIBUTES for name in POINT_ATTRIBUTES},
    },
    "tags": _TAG_COLUMNS,
    "machine": _TAG_COLUMNS,
    "masks": {
        **{name.casefold(): Edit.GROUP for name in MASK_COORDINATES},
        "boxid": Edit.ATTRIBUTES,
        "predictediou": Edit.ATTRIBUTES,
    },
}
"""Which part of an annotation a column tells. Rows of other tables are taken whole where a cell was corrected."""
ATTRIBUTES = {
    **{column.casefold(): name for column, name in (FLAGS | POINT_ATTRIBUTES).items()},
    "confidence": "score",
    "source": "source",
    "boxid": "box_id",
    "predictediou": "predicted_iou",
}
FOLLOWING: Mapping[Edit, frozenset[str]] = {
    Edit.GEOMETRY: frozenset({"source", "clicks", "predictediou"}),
    Edit.LABEL: frozenset({"labelname", "maskpath"}),
    Edit.ATTRIBUTES: frozenset({"maskpath", "source", *ATTRIBUTES}),
    Edit.OCCLUDED: frozenset({"isoccluded"}),
    Edit.GROUP: frozenset(name.casefold() for name in MASK_COORDINATES),
}
"""Columns that an export writes anew where such a part was edited, beside those that tell it."""

_BOX_OF_MASK = frozenset(name.casefold() for name in MASK_COORDINATES)


class Correction:
    """What the archive corrected of paired rows, and the annotations that come of it.

    Attributes:
        is_changed: (P,) bool.
        overwritten: (P,) uint8, `Edit` flags: parts edited here that get the archive's value.
    """

    def __init__(
        self,
        sides: Sides,
        kind: str,
        old: Table,
        new: Table,
        old_units: Units,
        new_units: Units,
        old_of: Positions,
        new_of: Positions,
        related: npt.NDArray[np.int32],
        traced: Mask | None = None,
    ) -> None:
        """`related`: frames with relationships, which find their boxes by what these said: there a box takes the line
        that repeats its edits. `traced`: pairs that show the same pixels, as masks here and as polygons there."""
        self._sides, self._kind = sides, kind
        self._old, self._new = old, new
        self._old_units, self._new_units = old_units, new_units
        self._old_of, self._new_of, self._related = old_of, new_of, related
        self._mine, self._theirs = old.take(old_units.firsts[old_of]), new.take(new_units.firsts[new_of])
        n = len(old_of)
        self._traced = np.zeros(n, dtype=np.bool_) if traced is None else traced
        self._parts: Flags = np.zeros(n, dtype=np.uint8)  # what the archive corrected
        self._columns: dict[str, Mask] = {}  # attribute columns that it corrected
        self._is_whole: Mask = np.zeros(n, dtype=np.bool_)  # the archive's is taken as it is
        self.is_changed: Mask = np.zeros(n, dtype=np.bool_)
        self._edits: Flags = np.zeros(n, dtype=np.uint8)
        rows, which = old_units.members(old_of)
        np.bitwise_or.at(self._edits, which, old.kept.changes[rows])
        self._compare()
        self._regroup()
        self._attributes = self._merged_attributes()
        self._settle()
        self.overwritten: Flags = self._overwritten()

    def _compare(self) -> None:
        mine, theirs = self._mine, self._theirs
        has_lines = (mine.kept.tables >= 0) & (theirs.kept.tables >= 0)
        same_lines = has_lines & self._sides.same_lines(mine.kept, theirs.kept)
        same_png = (mine.kept.png_crcs == theirs.kept.png_crcs) & (mine.kept.png_sizes == theirs.kept.png_sizes)
        self._parts[has_lines & ~same_png] |= np.uint8(Edit.GEOMETRY)
        self.is_changed |= has_lines & ~same_png
        unsure = np.flatnonzero(has_lines & ~same_lines)
        if len(unsure):
            self._compare_cells(unsure)
        # The side file says more than the row; a shape without a row only what it is.
        sided = np.isin(theirs.kept.tables, self._sides.new.sided) & (theirs.kept.tables >= 0)
        lineless = (mine.kept.tables < 0) | sided
        lineless &= (mine.kept.tables < 0) | (theirs.kept.tables >= 0)
        lineless &= ~(same_lines & same_png & (self._edits != 0))
        rows = np.flatnonzero(lineless)
        if len(rows):
            shown = self._shown_differences(rows)
            self._parts[rows] = shown
            self._is_whole[rows] = sided[rows] | (theirs.kept.tables[rows] < 0)
            self.is_changed[rows] |= shown != 0

    def _compare_cells(self, rows: Positions) -> None:
        """Rows whose lines differ: cell by cell."""
        sides = self._sides
        mine, theirs = sides.said(self._mine.kept.take(rows)), sides.said(self._theirs.kept.take(rows))
        differing = differing_cells(mine, theirs)
        label = np.zeros(len(rows), dtype=np.bool_)
        for name in LABEL_NAMES & differing.keys():
            spelled = differing.pop(name)
            if not spelled.any():
                continue
            label = self._means_other_label(mine, name, rows, spelled)
            # A mask's file is called by its label.
            differing["maskpath"] = differing.get("maskpath", label) & ~(spelled & ~label)
        parts = np.where(label, np.uint8(Edit.LABEL), np.uint8(0))
        changed = label.copy()
        edits = self._edits[rows]
        for name, differ in differing.items():
            if name in _BOX_OF_MASK:
                # A linked mask repeats its box, whose own row says what was corrected.
                differ = differ & ~self._stays_linked(rows)
            if not differ.any():
                continue
            told = np.zeros(len(rows), dtype=np.uint8)
            for kind in distinct(theirs.kinds[differ]).tolist():
                of_kind = theirs.kinds == kind
                told[of_kind] = int(PARTS[kind].get(name, Edit.NONE) if kind in PARTS else ALL_PARTS)
                self._is_whole[rows[of_kind & differ]] |= kind not in PARTS
            parts[differ] |= told[differ]
            if name in ATTRIBUTES:
                column = self._columns.setdefault(name, np.zeros(len(self._parts), dtype=np.bool_))
                column[rows[differ]] = True
            changed |= differ & ~_follows(name, told, edits)
        self._parts[rows] |= parts
        # Where cells follow from an edit, what is shown tells whether there is more to it.
        following = np.flatnonzero(~changed & (edits != 0) & (parts != 0))
        if len(following):
            changed[following] = self._shown_differences(rows[following]) != 0
            changed[following] |= np.isin(self._theirs.frames[rows[following]], self._related)
        self.is_changed[rows] |= changed

    def _stays_linked(self, rows: Positions) -> Mask:
        groups = self._mine.groups[rows]
        found: Mask = (groups != 0) & (groups == self._theirs.groups[rows])
        return found

    def _means_other_label(self, mine: Said, column: str, rows: Positions, differ: Mask) -> Mask:
        """(R,) rows that name another label than the kept line did, not the same one by another name."""
        other: Mask = differ & (self._mine.label_ids[rows] != self._theirs.label_ids[rows])
        was_edited = np.flatnonzero(other & (self._edits[rows] & Edit.LABEL != 0))
        if len(was_edited):
            names = mine.cells(column).take(was_edited).to_texts()
            before = [self._sides.label_ids.get(name, -1) for name in names]
            other[was_edited] = np.array(before, dtype=np.int64) != self._theirs.label_ids[rows[was_edited]]
        return other

    def _shown_differences(self, rows: Positions) -> Flags:
        """(R,) `Edit` flags: in what the shown annotations of pairs differ, but groups."""
        mine, theirs = self._mine.take(rows), self._theirs.take(rows)
        parts = np.zeros(len(rows), dtype=np.uint8)
        parts[mine.label_ids != theirs.label_ids] |= np.uint8(Edit.LABEL)
        parts[attributes_differ(mine.attributes, theirs.attributes, self._sides.defaults)] |= np.uint8(Edit.ATTRIBUTES)
        if self._kind != "shapes":
            return parts
        sizes = self._old_units.sizes[self._old_of[rows]], self._new_units.sizes[self._new_of[rows]]
        # Outlines of one PNG are the same, drawn as polygons or as a mask.
        same_pixels = (mine.kept.png_offsets >= 0) & (theirs.kept.png_offsets >= 0)
        same_pixels &= self._edits[rows] & Edit.GEOMETRY == 0
        same_pixels &= (mine.kept.png_crcs == theirs.kept.png_crcs) & (mine.kept.png_sizes == theirs.kept.png_sizes)
        same_pixels |= self._traced[rows]
        moved = _geometry_differs(mine, theirs) | (sizes[0] != sizes[1])
        several = np.flatnonzero((sizes[0] == sizes[1]) & (sizes[0] > 1))
        if len(several):
            old_rows, which = self._old_units.members(self._old_of[rows[several]])
            new_rows, _ = self._new_units.members(self._new_of[rows[several]])
            old, new = self._old.take(old_rows), self._new.take(new_rows)
            other = _geometry_differs(old, new)
            # What was drawn has all of its own; the shapes of an imported row share what the row says.
            drawn = old.kept.tables < 0
            other |= drawn & attributes_differ(old.attributes, new.attributes, self._sides.defaults)
            other |= drawn & ((old.occluded != new.occluded) | (old.z_orders != new.z_orders))
            moved[several[distinct(which[other])]] = True
        parts[moved & ~same_pixels] |= np.uint8(Edit.GEOMETRY)
        parts[mine.occluded != theirs.occluded] |= np.uint8(Edit.OCCLUDED)
        return parts

    def _regroup(self) -> None:
        """A new link, or one that the archive dissolved; what was grouped here stays grouped."""
        mine, theirs = self._mine, self._theirs
        linked = (theirs.groups != 0) & (theirs.groups != mine.groups) & (self._edits & Edit.GROUP == 0)
        if self._kind == "shapes":
            linked &= mine.types == theirs.types
            linked &= self._old_units.sizes[self._old_of] == self._new_units.sizes[self._new_of]
        unlinked = (self._parts & Edit.GROUP != 0) & (theirs.groups == 0) & (mine.groups != 0)
        if self._kind == "shapes":
            unlinked |= self._lost_boxes()
        takes = self._is_whole & (theirs.groups != mine.groups)
        if self._kind == "shapes":  # parts of a mask that was traced there have a group which says no more than that
            takes &= ~((mine.types == ShapeType.MASK) & (theirs.types == ShapeType.POLYGON) & (mine.groups == 0))
        self._takes_group = linked | unlinked | takes
        self.is_changed |= self._takes_group

    def _lost_boxes(self) -> Mask:
        """(P,) masks of which the row still names a box that the archive has no more: they stand alone, as it says."""
        mine, theirs = self._mine, self._theirs
        found: Mask = (theirs.groups == 0) & (mine.groups != 0) & (self._edits & Edit.GROUP == 0)
        found &= (mine.kept.tables >= 0) & (theirs.kept.tables >= 0) & (mine.types == theirs.types)
        found &= self._old_units.sizes[self._old_of] == self._new_units.sizes[self._new_of]
        rows = np.flatnonzero(found)
        if len(rows):
            said = self._sides.said(theirs.kept.take(rows))
            found[rows] = (said.kinds == "masks") & (said.cells("BoxXMin").lengths > 0)
        return found

    def _merged_attributes(self) -> Texts:
        """(P,) the attributes shown here, with the values of the cells that were corrected."""
        mine, theirs = self._mine.attributes, self._theirs.attributes
        takes = (self._parts & Edit.LABEL != 0) | (self._is_whole & (self._parts & Edit.ATTRIBUTES != 0))
        both = Texts.concatenate([mine, theirs])
        n = len(mine)
        codes = np.where(takes, both.codes[n:], both.codes[:n])
        rows = np.flatnonzero(~takes & (self._parts & Edit.ATTRIBUTES != 0))
        if not len(rows):
            return Texts(codes, both.values)
        names = list(self._columns)
        bits = np.zeros(len(rows), dtype=np.int64)
        for place, name in enumerate(names):
            bits |= self._columns[name][rows].astype(np.int64) << place
        bits[self._mine.kept.tables[rows] < 0] = -1  # drawn here: no earlier row tells what was corrected
        asked = np.stack([both.codes[rows], both.codes[n + rows], bits, self._mine.label_ids[rows]])
        distinct, inverse = np.unique(asked, axis=1, return_inverse=True)
        texts = []
        for old_code, new_code, bit, label_id in distinct.T.tolist():
            corrected = {
                self._sides.spec_ids.get((label_id, ATTRIBUTES[name]))
                for place, name in enumerate(names)
                if bit >> place & 1
            }
            if bit < 0:
                corrected = {self._sides.spec_ids.get((label_id, name)) for name in ATTRIBUTES.values()}
            texts.append(_merged_text(both.values[old_code], both.values[new_code], corrected, only_told=bit < 0))
        known = {value: code for code, value in enumerate(both.values)}
        places = [known.setdefault(text, len(known)) for text in texts]
        codes[rows] = np.array(places, dtype=np.int32)[inverse.reshape(-1)]
        return Texts(codes, tuple(known))

    def _settle(self) -> None:
        """What was drawn here is changed only by values that the archive tells."""
        drawn = (self._mine.kept.tables < 0) & (self._parts & Edit.ATTRIBUTES != 0)
        drawn &= ~attributes_differ(self._mine.attributes, self._attributes, self._sides.defaults)
        self._parts[drawn] &= ~np.uint8(Edit.ATTRIBUTES)
        self.is_changed[drawn] = (self._parts[drawn] != 0) | self._takes_group[drawn]
        self._parts[~self.is_changed] = 0

    def _overwritten(self) -> Flags:
        """Edited parts (of what was drawn here, all parts) whose value is another now."""
        drawn = (self._mine.kept.tables < 0) & (self._theirs.kept.tables >= 0)
        suspects = self._parts & np.where(drawn, np.uint8(ALL_PARTS), self._edits & ALL_PARTS)
        rows = np.flatnonzero(suspects)
        found = np.zeros(len(suspects), dtype=np.uint8)
        if len(rows):
            differ = self._shown_differences(rows) & ~np.uint8(Edit.ATTRIBUTES)
            same = self._mine.attributes.take(rows), self._attributes.take(rows)
            differ[attributes_differ(*same, self._sides.defaults)] |= np.uint8(Edit.ATTRIBUTES)
            found[rows] = suspects[rows] & differ
        return found

    def result(self, changed: Positions) -> Table:
        """The rows of some pairs as they are from now on, unit by unit."""
        redrawn = self._parts[changed] & Edit.GEOMETRY != 0
        old_rows, old_which = self._old_units.members(self._old_of[changed[~redrawn]])
        new_rows, new_which = self._new_units.members(self._new_of[changed[redrawn]])
        pairs = np.concatenate([changed[~redrawn][old_which], changed[redrawn][new_which]])
        body = type(self._new).concatenate([self._old.take(old_rows), self._new.take(new_rows)])
        order = np.argsort(pairs, kind="stable")
        body, pairs = body.take(order), pairs[order]
        is_new = np.isin(pairs, changed[redrawn])
        ordinals = np.arange(len(pairs), dtype=np.int64) - np.searchsorted(pairs, pairs)
        mine, theirs = self._mine.take(pairs), self._theirs.take(pairs)
        parts, whole = self._parts[pairs], self._is_whole[pairs]
        # The nth shape of a row continues the nth of the old ones, as far as there are so many.
        sizes = self._old_units.sizes[self._old_of[pairs]]
        starts = self._old_units.starts[self._old_of[pairs]]
        counterparts = self._old.ids[self._old_units.rows[starts + np.minimum(ordinals, sizes - 1)]]
        columns: dict[str, Any] = {
            "ids": np.where(ordinals < sizes, counterparts, 0),
            "label_ids": np.where(parts & Edit.LABEL != 0, theirs.label_ids, mine.label_ids),
            "groups": np.where(self._takes_group[pairs], theirs.groups, mine.groups),
            "attributes": self._attributes.take(pairs),
            "sources": body.sources if not is_new.any() else _choose(whole, theirs.sources, mine.sources),
            "kept": self._kept(mine.kept, theirs.kept, parts, body.kept, is_new),
        }
        if self._kind == "shapes":
            # Of a row's further shapes, those that stay keep what they have, and the side file tells each for itself.
            own = (ordinals > 0) & np.where(is_new, whole, parts & (Edit.ATTRIBUTES | Edit.OCCLUDED) == 0)
            occluded = np.where(parts & Edit.OCCLUDED != 0, theirs.occluded, mine.occluded)
            columns |= {
                "occluded": np.where(own, body.occluded, occluded),
                "z_orders": np.where(own, body.z_orders, np.where(whole, theirs.z_orders, mine.z_orders)),
                "scores": np.where(own, body.scores, np.where(whole, theirs.scores, mine.scores)),
            }
            if own.any():
                columns["attributes"] = _choose(own, body.attributes, columns["attributes"])
        return body.replace(**columns)

    def _kept(self, mine: Kept, theirs: Kept, parts: Flags, body: Kept, is_new: Mask) -> Kept:
        """The new line and PNG; edits of parts that the archive did not correct stay edits."""
        edits = np.where(is_new, mine.edits, body.edits)
        taken = parts & ~np.uint8(Edit.ATTRIBUTES)
        taken[parts & Edit.LABEL != 0] |= np.uint8(Edit.ATTRIBUTES)
        # Attributes that were drawn here speak beside a line that was not theirs.
        edits = np.where(mine.tables >= 0, edits & ~taken, np.uint8(Edit.ATTRIBUTES)).astype(np.uint8)
        edits = edits & ~np.uint8(Edit.PART) | theirs.edits & np.uint8(Edit.PART)  # of the new PNG
        # What a side file told of a row stays shown, and the new line does not say it either.
        told = is_sided(self._sides.extras, mine) & (theirs.tables >= 0)
        tables = theirs.tables
        if told.any():
            tables = np.where(told, self._sides.sided_tables(np.where(told, tables, -1)), tables).astype(np.int32)
        return replace(theirs, edits=edits, tables=tables)


def _follows(name: str, told: Flags, edits: Flags) -> Mask:
    """(N,) whether an export writes this column anew because of the edits, or the edits are of what it tells."""
    found: Mask = (told & edits) != 0
    for part, columns in FOLLOWING.items():
        if name in columns or (part == Edit.GEOMETRY and name.startswith("xclick")):
            found |= (edits & part) != 0
    return found


def _geometry_differs(mine: Shapes, theirs: Shapes) -> Mask:
    """(N,) bool; points that were drawn finer than an archive's are the same within a millionth of a pixel."""
    differ: Mask = (mine.types != theirs.types) | (mine.rotations != theirs.rotations)
    rounded = [Ragged(np.round(table.points.values, 6) + 0.0, table.points.offsets) for table in (mine, theirs)]
    differ |= ragged_differ(rounded[0], rounded[1]) | ragged_differ(mine.runs, theirs.runs)
    return differ | ragged_differ(mine.elements, theirs.elements)


def _choose(chosen: Mask, if_true: Texts, if_false: Texts) -> Texts:
    both = Texts.concatenate([if_true, if_false])
    n = len(if_true)
    return Texts(np.where(chosen, both.codes[:n], both.codes[n:]), both.values)


def _merged_text(mine: str, theirs: str, corrected: set[int | None], *, only_told: bool) -> str:
    """Attributes with the values of some of them taken from others; `only_told`: where those have a value."""
    told = {one["spec_id"]: one["value"] for one in orjson.loads(theirs) if one["spec_id"] in corrected}
    gone = told.keys() if only_told else corrected
    values = {one["spec_id"]: one["value"] for one in orjson.loads(mine) if one["spec_id"] not in gone} | told
    return orjson.dumps([{"spec_id": key, "value": values[key]} for key in sorted(values)]).decode()
