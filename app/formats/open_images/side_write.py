"""The side file on its way out: an entry for each row that says less than the shapes it stands for, and for what has
no row at all.

    {"version":1,"max_group":3,"files":["train-annotations-bbox.csv",…],"entries":[
    {"row":[0,17],"image":"a","size":[8,6],"is":"cat,0.1,0.5,0.2,0.6","shapes":[{…}]},
    {"row":null,"image":"a","size":[8,6],"shapes":[{…}]},
    {"track":0,"rows":12,"at":[0,3,12],…}
    {"whole":0,"rows":3,"image":"a","size":[8,6],"shapes":[{…}]}
    ]}

`row` is the file and the number of the row in it, from 0; `is` is what the row said when it was written: an entry is
good only as long as the row still says so. Of what several rows show together, each row says which it is
(`"shapes":[{"track":0}]`), and one entry what that is: a track, or points that are one shape (`whole`). `at` tells how
far a track's key frames, and the end of the frames, are from the first one. One entry a line, so that a reader can take
it line by line. Entries are gathered deflated, in the order in which rows are written, and become a member at the end
(`side_pieces.py`).

Which rows need none: those that read back as the very shape. That is so for imported rows nobody edited, and for new
boxes, masks and points without anything that the tables cannot hold.

Source: Open Images reference 4.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Edit, Shapes, ShapeType, Tags, Tracks, mix
from app.archive import DeflatedMember
from app.columns import Cells, Ragged, Texts, among, decode_numbers, decode_texts, distinct, dump_tight, encode_integers
from app.deflate import Piece, deflate_piece
from app.errors import Problem, Report
from app.formats.open_images.attributes import attributes_text, share_text, shown_value
from app.formats.open_images.extras import is_sided
from app.formats.open_images.kept_rows import UNKNOWN, Columns, Mask, kept_columns, pick
from app.formats.open_images.layout import COORDINATES, FLAGS, MASK_COORDINATES, POINT_ATTRIBUTES, POINT_PLACE
from app.formats.open_images.links import BoxClasses
from app.formats.open_images.mask_instances import DRAWN
from app.formats.open_images.names import is_safe_box_id
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_items import MANUAL, Item, ItemCodec, ShapeRows
from app.formats.open_images.side_pieces import GAP, HELD, Entry, Pieces, pack_entry
from app.formats.open_images.write_boxes import confidence_rule, flag_rule, is_rotated, norm_boxes, source_rule
from app.formats.open_images.write_points import new_point_rule, norm_points
from app.geometry import PackedMask, ShapeTooComplex, boxes_to_pixels, mask_to_polygons, points_to_pixels

VERSION = 1
LABEL_CELL = ("LabelName",)
BOX_CELLS = ("LabelName", *COORDINATES)
TAG_CELLS = ("LabelName", "Confidence")
POINT_CELLS = ("Label", *POINT_PLACE, *POINT_ATTRIBUTES)
PLAIN_TYPES = (ShapeType.RECTANGLE, ShapeType.MASK, ShapeType.POINTS)
_KINDS = 4  # of rows, as `_is_unlike` tells them apart: boxes by their flag, masks, points

HIGH_GROUP = 1 << 29
"""Group numbers from here on, drawn by lot, are told by others that follow one another."""

MOST_IMAGES = 4096
"""Of which the ids are remembered."""

Ids = npt.NDArray[np.int64]
Frames = npt.NDArray[np.int32]


def mask_check(label: str, crc: int, size: int) -> str:
    """What an entry remembers of a mask row: its LabelName, and its PNG by CRC-32 and size."""
    return f"{label},{crc:08x},{size}"


class SideWriter:
    """Gathers the entries of one export. `has_entries` tells whether there is anything to write."""

    def __init__(self, plan: Plan, grouped_tags: Callable[[], Iterable[tuple[Frames, Frames]]]) -> None:
        """
        Args:
            grouped_tags: frames and groups of the tags that are in a group.
        """
        self._plan, self._grouped_tags = plan, grouped_tags
        self._quiet = replace(plan, report=Report(limit=1))  # rules that are asked beforehand warn when they write
        self._codec = ItemCodec(plan.target.labels, plan.decoder)
        self._pieces = Pieces()
        self._files: dict[str, int] = {}
        self._max_group = self._n_wholes = 0
        self._high_groups: dict[int, int] = {}  # in order of appearance
        self._track_rows: dict[int, int] = {}
        self._predicted: dict[tuple[int, str, int], bool] = {}
        self._last_traced: tuple[tuple[object, ...], bytes] = ((), b"")
        self._last_needed: tuple[Shapes | None, Mask] = (None, np.zeros(0, dtype=np.bool_))
        self._last_rows: ShapeRows | None = None
        self._images: dict[int, tuple[str, list[int]]] = {}  # id and size of some frames, by their place
        self.has_entries = False

    # --- which rows need an entry ---

    def needed(self, shapes: Shapes) -> Mask:
        """(N,) bool: the shape would not read back as it is. Whole frames only: a group is in or out as a whole, and
        boxes that are in none tell whose it is."""
        if self._last_needed[0] is not shapes:
            self._last_needed = shapes, self._find_needed(shapes)
        return self._last_needed[1]

    def forget(self) -> None:
        """Let go of the shapes that were seen last."""
        self._last_needed, self._last_rows = (None, np.zeros(0, dtype=np.bool_)), None

    def _find_needed(self, shapes: Shapes) -> Mask:
        kept = shapes.kept
        untouched = (kept.tables >= 0) & (kept.edits == 0) & ~is_sided(self._plan.extras, kept)
        need: Mask = ~among(shapes.types, PLAIN_TYPES) | is_rotated(shapes) | (shapes.rotations != 0)
        need |= (shapes.z_orders != 0) | shapes.outside | (shapes.scores != 1) | (shapes.ids < 0)
        need |= (shapes.types != ShapeType.RECTANGLE) & shapes.occluded
        points = shapes.types == ShapeType.POINTS
        if points.any():  # else the places of shapes are not read at all
            need |= points & (shapes.points.lengths != 2)
        manual = np.array([source == MANUAL for source in shapes.sources.values], dtype=np.bool_)
        need |= ~manual[shapes.sources.codes]
        need |= (kept.tables >= 0) & ~untouched
        fresh = np.flatnonzero(~untouched & ~need)
        if len(fresh):
            part = shapes.take(fresh)
            need[fresh] = (part.groups != 0) | self._moves(part) | self._unlike(part)
        grouped = shapes.groups != 0
        need |= self._links_anew(shapes)
        if grouped.any():
            need |= self._links_otherwise(shapes, grouped)
        if (need & grouped).any():
            keys = _keys(shapes.frames, shapes.groups)
            need |= grouped & np.isin(keys, keys[need & grouped])
        return need

    @cached_property
    def _tag_groups(self) -> Ids:
        """Frame and group of the tags that are in one, as one number, ascending."""
        keys = [_keys(frames, groups) for frames, groups in self._grouped_tags()]
        return distinct(np.concatenate([np.empty(0, dtype=np.int64), *keys]))

    def _links_otherwise(self, shapes: Shapes, grouped: Mask) -> Mask:
        """(N,) bool, shapes whose group a reader may not find by the links between rows.

        Rows link by what boxes say, and of equal boxes in their order. What came linked so and was left alone links so
        again; where somebody was there, groups are told. So is the group of what has lost its box or its mask, and that
        of a tag.
        """
        is_box = (shapes.types == ShapeType.RECTANGLE) & ~is_rotated(shapes)
        is_drawn = among(shapes.types, DRAWN)
        masks = np.flatnonzero(grouped & is_drawn)
        places = shapes.frames.astype(np.int64) << 32
        keys = places | shapes.groups
        linked = np.flatnonzero(is_box & grouped)
        found = grouped & _are_in(self._tag_groups, keys)
        left = linked[~_are_in(distinct(keys[masks]), keys[linked])]
        found[left] = True
        if not len(masks):
            return found
        # A reader takes rows that call their label otherwise for those of another one.
        named = np.flatnonzero(grouped & (is_box | is_drawn) & (shapes.kept.tables >= 0))
        named = named[np.isin(shapes.label_ids[named], self._plan.labels_of_several_names)]
        if len(named):
            names = decode_texts(Cells.of(kept_columns(self._plan, shapes.kept.take(named), LABEL_CELL)["LabelName"]))
            of_label = mix(keys[named], shapes.label_ids[named]).view(np.int64)
            found[named[_have_several(of_label, names.codes.astype(np.int64))]] = True
        alone = masks[~_are_in(distinct(keys[linked]), keys[masks])]
        found[alone[shapes.types[alone] == ShapeType.MASK]] = True
        found[alone[_have_several(keys[alone], shapes.kept.png_offsets[alone])]] = True

        # An edit, a new shape, a box whose mask was deleted; imports that were put together.
        touched = (is_box | is_drawn) & ((shapes.kept.edits != 0) | (shapes.kept.tables < 0))
        touched[left] = True
        touched |= (shapes.kept.sets != shapes.kept.sets[0]).any()
        if not touched.any():
            return found
        frames = np.intersect1d(shapes.frames[touched], shapes.frames[masks])
        boxes = np.flatnonzero(is_box & np.isin(shapes.frames, frames))
        if len(boxes):
            corners = shapes.points.take(boxes).values.reshape(-1, 4)
            cells = np.column_stack([places[boxes] | shapes.label_ids[boxes], corners.view(np.int64)])
            doubtful = boxes[_equal_to_marked(cells, grouped[boxes])]
            found |= grouped & np.isin(shapes.frames, shapes.frames[doubtful])
            found[doubtful] = True
        return found

    def _links_anew(self, shapes: Shapes) -> Mask:
        """(N,) bool, masks in no group whose rows name a box that is there, and these boxes: they came with several
        imports, or an edit brought them together. A reader of both would link them."""
        found = np.zeros(len(shapes), dtype=np.bool_)
        kept = shapes.kept
        alone = np.flatnonzero((kept.png_offsets >= 0) & (shapes.groups == 0) & (kept.edits & Edit.GROUP == 0))
        are_boxes = (shapes.types == ShapeType.RECTANGLE) & ~is_rotated(shapes)
        touched = are_boxes & ((kept.edits != 0) | (kept.tables < 0))
        if not len(alone) or not ((kept.sets != kept.sets[0]).any() or touched.any()):
            return found
        alone = alone[np.isin(shapes.frames[alone], shapes.frames[are_boxes])]
        cells = kept_columns(self._plan, kept.take(alone), MASK_COORDINATES)
        named = np.stack([decode_numbers(Cells.of(cells[name])).values for name in MASK_COORDINATES], axis=1)
        is_whole = np.all([cells[name].lengths > 0 for name in MASK_COORDINATES], axis=0)
        alone, named = alone[is_whole], named[is_whole]
        boxes = np.flatnonzero(are_boxes & np.isin(shapes.frames, shapes.frames[alone]))
        if not len(alone) or not len(boxes):
            return found
        classes = BoxClasses(shapes.frames[alone], shapes.label_ids[alone], named)
        corners = norm_boxes(self._plan, shapes.take(boxes))[:, (0, 2, 1, 3)]
        for which, fitting in classes.pairs(shapes.frames[boxes], shapes.label_ids[boxes], corners):
            is_named = np.zeros(len(classes), dtype=np.bool_)
            is_named[fitting] = True
            found[boxes[which]] = True
            found[alone[classes.members[np.repeat(is_named, classes.sizes)]]] = True
        return found

    def _moves(self, shapes: Shapes) -> Mask:
        """(N,) bool, rectangles and points that are finer than what a table's numbers give back."""
        moves = np.zeros(len(shapes), dtype=np.bool_)
        boxes = np.flatnonzero(shapes.types == ShapeType.RECTANGLE)
        part = shapes.take(boxes)
        widths, heights = self._plan.sizes_of(part.frames)
        points = part.points.values.reshape(-1, 4)
        back = boxes_to_pixels(norm_boxes(self._plan, part), widths, heights)
        moves[boxes] = (back != points).any(axis=1)
        lone = np.flatnonzero(shapes.types == ShapeType.POINTS)
        if len(lone):
            part = shapes.take(lone)
            back = points_to_pixels(norm_points(self._plan, part), *self._plan.sizes_of(part.frames))
            moves[lone] = (back != part.points.values.reshape(-1, 2)).any(axis=1)
        return moves

    def _unlike(self, shapes: Shapes) -> Mask:
        """(N,) bool, new shapes of plain types whose attributes are not those that their row will show."""
        kinds = shapes.occluded.astype(np.int64)
        kinds[shapes.types == ShapeType.MASK] = 2
        kinds[shapes.types == ShapeType.POINTS] = 3
        first, inverse = _distinct(shapes.label_ids, shapes.attributes, kinds)
        unlike = [
            self._is_unlike(int(shapes.label_ids[row]), shapes.attributes.row(row), int(kinds[row]))
            for row in first.tolist()
        ]
        return np.array(unlike, dtype=np.bool_)[inverse]

    def _is_unlike(self, label_id: int, text: str, kind: int) -> bool:
        key = (label_id, text, kind)
        known = self._predicted.get(key)
        if known is None:
            if len(self._predicted) > 100_000:
                self._predicted.clear()
            values = self._plan.decoder.values(label_id, text)
            if kind < 2:
                cells = self._box_cells(label_id, values, bool(kind))
            else:
                cells = _mask_cells(values) if kind == 2 else self._point_cells(label_id, values)
            known = self._predicted[key] = self._shown(label_id, cells) != text
        return known

    def _box_cells(self, label_id: int, values: dict[str, str], occluded: bool) -> dict[str, tuple[str, bool]]:
        """Attribute name → (cell, is a flag) of a new box, by the very rules that write it."""
        pairs = [(label_id, values)]
        cells = {
            "score": (confidence_rule(self._quiet, pairs)(0, ""), False),
            "source": (source_rule(self._quiet, pairs, False)(0, ""), False),
        }
        for name in FLAGS.values():
            cell = str(int(occluded)) if name == "occluded" else flag_rule(self._quiet, pairs, name)(0, "")
            cells[name] = ("" if cell == UNKNOWN else cell, True)
        return cells

    def _point_cells(self, label_id: int, values: dict[str, str]) -> dict[str, tuple[str, bool]]:
        pairs = [(label_id, values)]
        cells = {name: new_point_rule(self._quiet, pairs, column)(0, "") for column, name in POINT_ATTRIBUTES.items()}
        return {name: (cell, False) for name, cell in cells.items()}

    def _shown(self, label_id: int, cells: dict[str, tuple[str, bool]]) -> str:
        shown = {}
        for name, (cell, is_flag) in cells.items():
            spec = self._plan.decoder.spec(label_id, name)
            value = shown_value(spec, cell, is_flag) if spec is not None and cell else None
            if spec is not None and value is not None:
                shown[spec.id] = value
        return attributes_text(shown)

    def needed_tags(self, tags: Tags) -> Mask:
        """(N,) bool: the tag would not read back as it is."""
        kept = tags.kept
        manual = np.array([source == MANUAL for source in tags.sources.values], dtype=np.bool_)
        untouched = (kept.edits == 0) & ~is_sided(self._plan.extras, kept)
        need: Mask = (tags.groups != 0) | ~manual[tags.sources.codes] | ((kept.tables >= 0) & ~untouched)
        fresh = np.flatnonzero(~need & (kept.tables < 0))
        if len(fresh):
            part = tags.take(fresh)
            first, inverse = _distinct(part.label_ids, part.attributes, np.zeros(len(part), dtype=np.int64))
            unlike = [self._is_unlike_tag(int(part.label_ids[row]), part.attributes.row(row)) for row in first.tolist()]
            need[fresh] = np.array(unlike, dtype=np.bool_)[inverse]
        return need

    def _is_unlike_tag(self, label_id: int, text: str) -> bool:
        """Whether the attributes of a new tag are not those that its row will show."""
        pairs = [(label_id, self._plan.decoder.values(label_id, text))]
        cells = {
            "score": (confidence_rule(self._quiet, pairs)(0, ""), False),
            "source": (source_rule(self._quiet, pairs, False)(0, ""), False),
        }
        return self._shown(label_id, cells) != text

    # --- entries of rows ---

    def box_entries(self, shapes: Shapes, need: Mask, cells: Columns) -> Ragged:
        """The entries of rows of the box table; empty where none is needed.

        Args:
            need: (N,) of `needed`, for these shapes.
            cells: what the rows say.
        """
        texts = [b""] * len(shapes)
        rows = np.flatnonzero(need)
        self.prepare(shapes.frames[rows])
        said = zip(*(pick(cells[name], rows).to_texts() for name in BOX_CELLS), strict=True)
        for row, frame, check in zip(rows.tolist(), shapes.frames[rows].tolist(), said, strict=True):
            texts[row] = self._entry(frame, ",".join(check), [self._item(shapes, row, True)])
        return Ragged.from_bytes(texts)

    def point_entries(self, shapes: Shapes, of: Ids, places: Ids, need: Mask, cells: Columns) -> Ragged:
        """The entries of rows of the point table, which has a row for each point.

        Args:
            shapes: the shapes that the rows are of.
            of: (R,) place in `shapes` of each row, those of one shape side by side.
            places: (P,) the rows that are made now, ascending.
            need: (S,) of `needed`, for the shapes.
            cells: what the made rows say.
        """
        texts = [b""] * len(places)
        rows_of = np.bincount(of, minlength=len(shapes))
        last = -1
        for at in np.flatnonzero(need[of[places]]).tolist():
            row = int(of[places[at]])
            frame, n_rows, whole = int(shapes.frames[row]), int(rows_of[row]), b""
            if shapes.ids[row] < 0 or n_rows == 1:
                item = self._item(shapes, row, True)
            else:
                if row != last:  # the first of the rows that are this shape together: their entry follows its own
                    entry = self._entry(frame, None, [self._item(shapes, row, True)])
                    whole = b',\n{"whole":%d,"rows":%d,' % (self._n_wholes, n_rows) + entry[1:]
                    last, self._n_wholes = row, self._n_wholes + 1
                item = {"whole": self._n_wholes - 1}
            check = ",".join(cells[name].row_bytes(at).decode("utf-8") for name in POINT_CELLS)
            texts[at] = self._entry(frame, check, [item]) + whole
        return Ragged.from_bytes(texts)

    def tag_entries(self, tags: Tags, cells: Columns) -> Ragged:
        texts = [b""] * len(tags)
        for row in np.flatnonzero(self.needed_tags(tags)).tolist():
            check = ",".join(cells[name].row_bytes(row).decode("utf-8") for name in TAG_CELLS)
            item = self._numbered(self._codec.of_tag(tags, row))
            texts[row] = self._entry(int(tags.frames[row]), check, [item], "tags")
        return Ragged.from_bytes(texts)

    def mask_entry(self, shapes: Shapes, rows: list[int], check: str, traced: PackedMask | None) -> bytes:
        """The entry of one mask row.

        Args:
            rows: places of the shapes that the row stands for.
            check: of `mask_check`.
            traced: the mask, where its polygons may be those that tracing it gives.
        """
        is_own_outline = traced is not None and _is_outline(shapes, rows, traced)
        items = []
        for row in rows:
            if self._plan.options.rotated == "both" and shapes.types[row] == ShapeType.RECTANGLE:
                continue  # the row of its hull speaks for it
            whole = not is_own_outline and (len(rows) > 1 or shapes.types[row] != ShapeType.MASK)
            item = self._item(shapes, row, whole)
            items.append(item | {"traced": True} if is_own_outline else item)
        return self._entry(int(shapes.frames[rows[0]]), check, items)

    def is_of_track(self, shapes: Shapes, rows: list[int]) -> bool:
        """Whether some of these shapes stand for key frames of a track."""
        ids = self._rows_of(shapes).ids
        return any(ids[row] < 0 for row in rows)

    def draft(self, shapes: Shapes, rows: list[int], label: str) -> bytes:
        """`mask_entry` of polygons that nobody has traced, before they are drawn: with a gap for CRC-32 and size of the
        PNG, and one for the points of each. `label`: the LabelName of the row."""
        items = [self._item(shapes, row, True, GAP) for row in rows]
        check = orjson.Fragment(orjson.dumps(label)[:-1] + b"," + GAP + b'"')
        return self._entry(int(shapes.frames[rows[0]]), check, items)

    def outline_entry(self, shapes: Shapes, rows: list[int], check: str) -> bytes:
        """`mask_entry` of polygons that are the outline of their PNG, all of them and in order."""
        items = b",".join([self._traced_item(shapes, row) for row in rows])
        return self._entry(int(shapes.frames[rows[0]]), check, [])[:-2] + items + b"]}"

    def _traced_item(self, shapes: Shapes, row: int) -> bytes:
        """One part of an outline. Parts of a mask are alike but for their points, which are not told: one dump."""
        rows = self._rows_of(shapes)
        if rows.ids[row] < 0:
            return dump_tight(self._item(shapes, row, False) | {"traced": True})
        key = (
            rows.label_ids[row],
            rows.attributes[row],
            rows.groups[row],
            rows.z_orders[row],
            rows.occluded[row],
            rows.outside[row],
            rows.rotations[row],
            rows.scores[row],
            rows.sources[row],
        )
        if self._last_traced[0] != key:
            self._last_traced = key, orjson.dumps(self._item(shapes, row, False) | {"traced": True})
        return self._last_traced[1]

    def add_rowless(self, shapes: Shapes) -> None:
        """Shapes that no table has a row for. Those of tracks stand in their track."""
        for row in np.flatnonzero(shapes.ids >= 0).tolist():
            entry = self._entry(int(shapes.frames[row]), None, [self._item(shapes, row, True)])
            self._add(b'{"row":null,' + entry[1:])

    def _item(self, shapes: Shapes, row: int, geometry: bool, points: bytes = b"") -> Item:
        rows = self._rows_of(shapes)
        if rows.ids[row] < 0:
            track = -1 - rows.ids[row]
            self._track_rows[track] = self._track_rows.get(track, 0) + 1
            return {"track": track}
        return self._numbered(self._codec.of_shape(rows, row, geometry, points))

    def _numbered(self, item: Item) -> Item:
        """The item with a number of its group that leaves others to those who read it: for what rows link, and above
        those of a task that it is appended to. Low ones, as people and clients give them, stay."""
        group = item.get("group", 0)
        if group >= HIGH_GROUP:
            group = item["group"] = HIGH_GROUP + self._high_groups.setdefault(group, len(self._high_groups))
        self._max_group = max(self._max_group, group)
        return item

    def _rows_of(self, shapes: Shapes) -> ShapeRows:
        if self._last_rows is None or self._last_rows.shapes is not shapes:
            self._last_rows = ShapeRows.of(shapes)
        return self._last_rows

    def prepare(self, frames: npt.NDArray[np.int32]) -> None:
        """Look up the ids and sizes of frames whose entries come next, all at once."""
        if len(self._images) > MOST_IMAGES:
            self._images = {}
        places = np.array(
            [place for place in (distinct(frames) - self._plan.start).tolist() if place not in self._images],
            dtype=np.int32,
        )
        widths, heights = (sides.tolist() for sides in self._plan.sizes_of(places + self._plan.start))
        for place, image, *size in zip(
            places.tolist(), self._plan.ids.take(places).to_texts(), widths, heights, strict=True
        ):
            self._images[place] = image, size

    def _entry(self, frame: int, check: str | orjson.Fragment | None, items: list[Item], kind: str = "shapes") -> bytes:
        place = frame - self._plan.start
        if place not in self._images:
            self.prepare(np.array([frame], dtype=np.int32))
        image, size = self._images[place]
        entry: dict[str, Any] = {"image": image, "size": size}
        if check is not None:
            entry["is"] = check
        return dump_tight({**entry, kind: items})

    def hold(self, entry: Entry) -> bytes:
        """What stands for an entry in a column `SIDE` of rows that wait for their table: long ones wait on disk."""
        if isinstance(entry, bytes):
            entry = pack_entry(entry)
        return self._pieces.held.add(entry) if isinstance(entry, Piece) else entry

    def add_rows(self, name: str, first: int, entries: Ragged) -> None:
        """Rows `first` … of a table were written; `entries` is their column `SIDE`."""
        rows = np.flatnonzero(entries.lengths)
        if not len(rows):
            return
        number = self._files.setdefault(name.rpartition("/")[2], len(self._files))
        ordinals = encode_integers(rows + first).to_bytes_list()
        for row, ordinal in zip(rows.tolist(), ordinals, strict=True):
            entry, place = entries.row_bytes(row), b'{"row":[%d,%s],' % (number, ordinal)
            if entry[:1] == HELD:
                self._add(place)
                self._pieces.add_held(entry)
            else:
                self._add(place + entry[1:])

    def add_tracks(self, tracks: Tracks) -> None:
        """Tracks, with the number of rows that show them. Warns of those that go on beyond what is exported."""
        names = _ImageNames(self._plan)
        stop = self._plan.start + len(self._plan.target.frames)
        n_cut = 0
        for row in range(len(tracks)):
            item = self._codec.of_track(tracks, row, names, stop, self._plan.target.is_part)
            if item is None:
                n_cut += 1
                continue
            numbered = self._numbered(item)
            self._add(orjson.dumps({"track": row, "rows": self._track_rows.get(row, 0), **numbered}))
        if n_cut:
            message = (
                f"{n_cut} tracks have key frames beyond the exported images: the archive has the shapes that they show "
                "here, and whoever imports it gets those instead of the tracks"
            )
            self._plan.report.add_many([Problem("export.cut_tracks", message, "warning")], n_cut)

    def _add(self, line: bytes) -> None:
        self._pieces.add_text((b",\n" if self.has_entries else b"\n") + line)
        self.has_entries = True

    def write(self, member: DeflatedMember) -> None:
        """The member's content, when everything else was written."""
        head = {"version": VERSION, "max_group": self._max_group, "files": list(self._files)}
        member.write_piece(deflate_piece(orjson.dumps(head)[:-1] + b',"entries":['))
        for piece in self._pieces.read():
            member.write_piece(piece)
        member.write_piece(deflate_piece(b"\n]}\n"))


class _ImageNames(Mapping[int, str]):
    """The id of each frame, looked up when somebody asks; KeyError for others than those that are exported."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._known = plan, dict[int, str]()

    def __getitem__(self, frame: int) -> str:
        if frame not in self._known:
            place = frame - self._plan.start
            if not 0 <= place < len(self):
                raise KeyError(frame)
            if len(self._known) >= MOST_IMAGES:
                self._known.clear()
            self._known[frame] = self._plan.ids.row_bytes(place).decode()
        return self._known[frame]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._plan.start, self._plan.start + len(self)))

    def __len__(self) -> int:
        return len(self._plan.target.frames)


def _distinct(label_ids: npt.NDArray[np.int32], attributes: Texts, kinds: Ids) -> tuple[Ids, Ids]:
    """The first row of each label, attribute text and kind (0..3), and (N,) which of them each row is."""
    keys = (label_ids.astype(np.int64) * max(len(attributes.values), 1) + attributes.codes) * _KINDS + kinds
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)


def _keys(frames: Frames, groups: Frames) -> Ids:
    """(N,) int64, frame and group as one number."""
    keys: Ids = (frames.astype(np.int64) << 32) | groups
    return keys


def _are_in(ascending: Ids, keys: Ids) -> Mask:
    """(N,) bool, which of the keys are among those, which may be many more."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    found: Mask = ascending[places] == keys
    return found


def _have_several(keys: Ids, values: Ids) -> Mask:
    """(N,) bool, rows whose key comes with more than one value."""
    order = np.lexsort((values, keys))
    keys_in_order, values_in_order = keys[order], values[order]
    differs = (keys_in_order[1:] == keys_in_order[:-1]) & (values_in_order[1:] != values_in_order[:-1])
    several: Mask = np.isin(keys, keys_in_order[1:][differs])
    return several


def _equal_to_marked(rows: Ids, marked: Mask) -> Ids:
    """The places of rows (N, K) that are there more than once, with a marked one among their equals, ascending.

    Rows are compared as they are only where their hash is there twice: to sort them costs ten times as much.
    """
    hashes = mix(*rows.T)
    order = np.argsort(hashes)
    is_next_alike = hashes[order[1:]] == hashes[order[:-1]]
    is_twice = np.zeros(len(rows), dtype=np.bool_)
    is_twice[order[1:][is_next_alike]] = is_twice[order[:-1][is_next_alike]] = True
    places: Ids = np.flatnonzero(is_twice)
    if not len(places):
        return places
    _, which, counts = np.unique(rows[places], axis=0, return_inverse=True, return_counts=True)
    return places[(counts[which] > 1) & np.isin(which, which[marked[places]])]


def _mask_cells(values: dict[str, str]) -> dict[str, tuple[str, bool]]:
    """Attribute name → cell of a new mask; a BoxID that is made up or rewritten is like no attribute."""
    quality, box_id = values.get("predicted_iou", ""), values.get("box_id", "")
    is_kept = is_safe_box_id(box_id) and not box_id.endswith(".0")
    return {
        "box_id": (box_id if is_kept else "made up", False),
        "predicted_iou": (share_text(quality) or "" if quality.strip() else "", False),
    }


def may_be_outlines(shapes: Shapes, rows: list[int]) -> bool:
    """Whether polygons run along the edges of pixels, as what was traced does: each step is along one axis."""
    for row in rows:
        points = shapes.points.row(row)
        steps = np.diff(points.reshape(-1, 2), axis=0)
        if not (np.array_equal(points, np.trunc(points)) and bool((steps == 0).any(axis=1).all())):
            return False
    return True


def _is_outline(shapes: Shapes, rows: list[int], mask: PackedMask) -> bool:
    """Whether polygons are, point by point, those that tracing the mask gives."""
    try:
        outlines = mask_to_polygons(mask)
    except ShapeTooComplex:
        return False
    return len(outlines) == len(rows) and all(
        np.array_equal(outline, shapes.points.row(row)) for outline, row in zip(outlines, rows, strict=True)
    )
