"""The side file on its way in: it adds what a row cannot say, as long as the row still says what it said.

An entry is honoured where its row has the same label, coordinates and PNG, the frame the same size, and the task the
labels. Any other row is read as rows are; a track needs all of its rows. Nothing here is an error: what cannot be used
is told once (`extra.ignored`) and the tables speak alone.

Source: Open Images reference 4.12.
"""

from __future__ import annotations

import json
import pickle
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Annotations, Edit, FrameTable, Kept, LabelCatalog, Shapes, ShapeType, Tags, Tracks
from app.columns import CSVBlock, Ragged
from app.errors import Problem, Report, shorten
from app.formats.base import MAX_GROUP
from app.formats.open_images.attributes import AttributeDecoder
from app.formats.open_images.side_items import BadItem, Item, ItemCodec, need, shapes_table, tags_table, without_end
from app.formats.open_images.side_write import VERSION
from app.formats.open_images.track_ways import TrackWays
from app.formats.open_images.track_words import TrackWords
from app.geometry import Flips, ShapeTooComplex, find_flips, flips_to_polygons, flips_to_runs, runs_to_mask
from app.spools import spool_of

MAX_BYTES = 2 << 30
MAX_PARSED_BYTES = 32 << 20
"""JSON that is parsed at once: one entry, or a whole file that was laid out anew. It takes ten times as much memory."""
RESERVED_GROUPS = 1 << 20  # for the masks of one picture
_ROW = re.compile(rb'\{"row":\[([0-9]{1,9}),([0-9]{1,12})\],')
_ROWLESS = b'{"row":null,'
_TRACK = b'{"track":'
_WHOLE = b'{"whole":'
_FILE_SHIFT = 40
_HIGHEST = 1 << 62
LINES_AT_ONCE, BYTES_AT_ONCE = 512, 1 << 20
"""Entries that are parsed together."""
SHOWN_BYTES, TABLE_BYTES, SHAPE_BYTES = 2 << 20, 10_000, 200
"""Shapes of rows that go to disk together, what each table of them takes, and each shape beside points and lines."""
_UNFIT = (BadItem, ValueError, TypeError, KeyError, AttributeError, RecursionError)
_NO_FILE = 1 << 22

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Find = Callable[[Ragged], npt.NDArray[np.int32]]


class Held:
    """Tracks, or shapes that several rows show, while their rows come in: N, their entries on disk.

    Attributes:
        lines: the entries.
    """

    def __init__(self, name: str) -> None:
        self._name = name  # of what an entry's number is
        self.lines = _Lines()
        self._given, self._n_rows = array("q"), array("q")  # of each entry
        self._numbers: Ids = np.empty(0, dtype=np.int64)  # (N,) ascending
        self._order: Ids = np.empty(0, dtype=np.int64)  # (N,) the entry of each number
        self._seen: Ids = np.empty(0, dtype=np.int64)  # (N,) by entry: rows that came, below 0 where it is broken
        self._parts: Ids = np.empty(0, dtype=np.int64)  # (N,) the task that they are of, below 0 before the first

    def __len__(self) -> int:
        return len(self._given)

    def add(self, line: bytes) -> Item:
        """The next entry, and what it says. Raises BadItem, or as JSON does."""
        item: Item = _parsed(line)
        number, n_rows = item[self._name], item["rows"]
        need(type(number) is int and type(n_rows) is int, f"a {self._name} has no number")
        need(max(abs(number), abs(n_rows)) < _HIGHEST, f"a {self._name} has no number")
        self._given.append(number)
        self._n_rows.append(n_rows)
        self.lines.append(line)
        return item

    def settle(self) -> None:
        """All entries are there. Raises BadItem where two have one number."""
        given = np.array(self._given, dtype=np.int64)
        self._order = np.argsort(given, kind="stable")
        self._numbers = given[self._order]
        need(not (self._numbers[1:] == self._numbers[:-1]).any(), f"a {self._name} has no number")
        self._seen = np.zeros(len(given), dtype=np.int64)
        self._parts = np.full(len(given), -1, dtype=np.int64)

    def find(self, number: object) -> int | None:
        """The entry of this number, None where there is none."""
        if type(number) is not int or not -_HIGHEST < number < _HIGHEST:
            return None
        place = int(np.searchsorted(self._numbers, number))
        is_there = place < len(self._numbers) and int(self._numbers[place]) == number
        return int(self._order[place]) if is_there else None

    def part(self, entry: int) -> int:
        """The task of its rows, -1 where none came."""
        return int(self._parts[entry])

    def see(self, entry: int, part: int) -> bool:
        """A row of it came, in this task; those of one entry are of one. True for the first one."""
        is_first = bool(self._seen[entry] == 0)
        if self._parts[entry] not in (-1, part):
            self.break_(entry)
        self._parts[entry] = part
        if self._seen[entry] >= 0:
            self._seen[entry] += 1
        return is_first

    def break_(self, entry: int) -> None:
        """One of its rows is another one now."""
        self._seen[entry] = -1

    def have_rows(self) -> Mask:
        """(N,) bool, entries of which a row tells."""
        some: Mask = np.array(self._n_rows, dtype=np.int64) > 0
        return some

    def are_whole(self) -> Mask:
        """(N,) bool, entries of which every row came as it was, and no other."""
        whole: Mask = self._seen == np.array(self._n_rows, dtype=np.int64)
        return whole


class _ShownRows:
    """The shapes of the rows of tracks and wholes, on disk: they are needed where one is not whole."""

    def __init__(self) -> None:
        self._file = spool_of(self)
        self._waiting: list[tuple[Ids, Ids, Shapes]] = []
        self._n_waiting = 0
        self._n_written = 0

    def add(self, owners: Ids, tables: Ids, shapes: Shapes) -> None:
        """Shapes, (S,) the entry that each belongs to, of a whole -1 - its place, and (S,) a number for each."""
        texts = {name: getattr(shapes, name).compact() for name in ("sources", "attributes")}
        shapes = shapes.replace(**texts)
        self._waiting.append((owners, tables, shapes))
        self._n_waiting += TABLE_BYTES + shapes.points.nbytes + shapes.runs.nbytes + shapes.kept.lines.nbytes
        self._n_waiting += SHAPE_BYTES * len(shapes)
        if self._n_waiting >= SHOWN_BYTES:
            self._write()

    def _write(self) -> None:
        all_owners, all_tables, all_shapes = zip(*self._waiting, strict=True)
        self._waiting, self._n_waiting = [], 0
        columns = np.concatenate(all_owners), np.concatenate(all_tables), Shapes.concatenate(all_shapes)
        pickle.dump(columns, self._file, protocol=5)
        self._n_written += 1

    def of(self, are_wanted: Callable[[Ids], Mask]) -> Iterator[tuple[Ids, Ids, Shapes]]:
        """Those whose owners are wanted, in the order they came, some thousand at a time."""
        if self._waiting:
            self._write()
        self._file.seek(0)
        for _ in range(self._n_written):
            owners, tables, shapes = pickle.load(self._file)  # what this process wrote
            rows = np.flatnonzero(are_wanted(owners))
            if len(rows):
                yield owners[rows], tables[rows], shapes.take(rows)
        self._file.seek(0, 2)


class SideFile:
    """The entries of a side file; without one, it has none and changes nothing.

    Attributes:
        max_group: the highest group number of its entries.
    """

    def __init__(
        self,
        frames: FrameTable,
        codec: ItemCodec,
        find: Find,
        first_group: int,
        group_room: int,
        parts: Sequence[int] = (),
        is_part: bool = False,
    ) -> None:
        """An empty one.

        Args:
            find: image ids to frame numbers.
            first_group: added to group numbers, less one.
            group_room: how many numbers from there on are free.
            parts: the first frame of each task, where there are several.
            is_part: the frames are those of a job.
        """
        self._frames, self._codec, self._find = frames, codec, find
        self._parts, self._is_part = parts, is_part
        self._more_group, self._group_room = first_group - 1, group_room
        self.max_group = 0
        self._files: dict[str, int] = {}
        self._keys: Ids = np.empty(0, dtype=np.int64)  # file and row of each of the lines, ascending
        self._order: Ids = np.empty(0, dtype=np.int64)
        self._lines, self._rowless = _Lines(), _Lines()
        self._tracks, self._wholes = Held("track"), Held("whole")
        self._ways = TrackWays(find, parts, is_part)
        self._shown = _ShownRows()
        self._n_refused = 0

    @classmethod
    def unread(cls) -> SideFile:
        """One that tells `labels`, and is read against no task."""
        labels = LabelCatalog(())
        none = np.zeros(0, dtype=np.int32)
        frames = FrameTable(Ragged.empty(np.uint8), none, none, none.astype(np.bool_))
        codec = ItemCodec(labels, AttributeDecoder(labels))
        return cls(frames, codec, lambda ids: np.full(len(ids), -1, dtype=np.int32), 1, MAX_GROUP)

    # --- loading ---

    def load(self, blocks: Iterator[bytes], size: int, path: str, report: Report) -> None:
        """Take the entries of a side file; one that cannot be read is told and left aside."""
        try:
            need(size <= MAX_BYTES, f"it has more than {MAX_BYTES:,} bytes")
            self._take_lines(_split(blocks))
        except (BadItem, ValueError, TypeError, KeyError, RecursionError) as problem:
            self._keys = np.empty(0, dtype=np.int64)
            self._lines, self._rowless = _Lines(), _Lines()
            self._tracks, self._wholes, self._n_refused = Held("track"), Held("whole"), 0
            self._ways = TrackWays(self._find, self._parts, self._is_part)
            report.warn(
                "extra.ignored", f"the side file cannot be used ({problem}); the tables are read alone", file=path
            )

    def _take_lines(self, lines: Iterator[bytes | None]) -> None:
        first = next(lines, None) or b""
        head: Any
        entries: Iterable[bytes | None]
        if first.startswith(b'{"version":') and first.endswith(b'"entries":['):
            head, entries = json.loads(first + b"]}"), (line and line.rstrip(b",\r") for line in lines)
        else:  # laid out anew by some other tool
            head = json.loads(_join(chain([first], lines)))
            need(isinstance(head, dict) and isinstance(head.get("entries"), list), "it is no side file")
            entries = (json.dumps(entry, separators=(",", ":")).encode() for entry in head["entries"])
        need(head.get("version") == VERSION, f"its version is {head.get('version')}, not {VERSION}")
        files = head.get("files")
        need(isinstance(files, list) and all(isinstance(name, str) for name in files), "its files are no names")
        need(len(files) < _NO_FILE, "it has too many files")
        max_group = head.get("max_group", 0)
        most = self._group_room - RESERVED_GROUPS
        need(type(max_group) is int and 0 <= max_group <= max(most, 0), "its groups are out of range")
        self._files = {name.lower(): number for number, name in enumerate(files)}
        self.max_group = max_group
        keys = array("q")
        for line in entries:
            if line is None:
                self._n_refused += 1
                continue
            match = _ROW.match(line)
            if match is not None:
                if int(match[1]) >= len(files):
                    self._n_refused += 1
                    continue
                keys.append((int(match[1]) << _FILE_SHIFT) | int(match[2]))
                self._lines.append(line)
            elif line.startswith(_ROWLESS):
                self._rowless.append(line)
            elif line.startswith(_TRACK):
                self._ways.add(self._tracks.add(line))
            elif line.startswith(_WHOLE):
                self._wholes.add(line)
            else:
                need(line in (b"", b"]}"), "an entry has no row")
        self._tracks.settle()
        self._wholes.settle()
        self._ways.settle()
        self._keys = np.array(keys, dtype=np.int64)
        self._order = np.argsort(self._keys, kind="stable")
        self._keys = self._keys[self._order]

    def labels(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """Names of labels that entries mean, each with the attributes that one has, and with those that key frames of a
        track have; skeletons are left out, as a label of theirs is more than a name."""
        entries = map(_parsed, chain(self._rowless, self._lines, self._wholes.lines))
        items = (item for entry in entries for item in chain(entry.get("shapes") or (), entry.get("tags") or ()))
        tracks = (track for track in map(_parsed, self._tracks.lines) if not track["body"]["elements"])
        for item in chain(items, tracks):
            if item.get("type") != "skeleton" and isinstance(item.get("label"), str):
                keys = item["body"]["shapes"] if "body" in item else ()
                moving = dict.fromkeys(name for key in keys for name in key.get("attributes") or ())
                yield item["label"], list(item.get("attributes") or ()), list(moving)

    # --- rows ---

    def has_entries(self, path: str, first: int, n: int) -> bool:
        """Whether any of the rows first … first + n of a table has an entry."""
        low, high = np.searchsorted(self._keys, self._key(path) + np.array([first, first + n]))
        return bool(low < high)

    def entries(self, path: str, first: int, rows: Ids) -> Iterator[tuple[int, Item]]:
        """The entries of some rows of a table, read one by one: (row, entry).

        Args:
            rows: ascending, counted from `first`.
        """
        wanted = self._key(path) + first + rows
        starts, stops = (np.searchsorted(self._keys, wanted, side=side) for side in ("left", "right"))
        some = np.flatnonzero(starts < stops)
        for row, start, stop in zip(rows[some].tolist(), starts[some].tolist(), stops[some].tolist(), strict=True):
            for at in self._order[start:stop].tolist():
                try:
                    yield row, orjson.loads(self._lines.read(at))
                except ValueError:
                    self._n_refused += 1

    def _key(self, path: str) -> int:
        """Of the first row of a table; one that the side file does not know is beyond all others."""
        return self._files.get(path.rpartition("/")[2].lower(), _NO_FILE) << _FILE_SHIFT

    def replace_shapes(
        self,
        path: str,
        entries: Iterable[tuple[int, Item]],
        check: Callable[[int], str],
        places: Callable[[int], Ids],
        table: Callable[[], int],
        shapes: Shapes,
        pixels: Callable[[int], Flips | None] = lambda row: None,
        masks_stay: bool = True,
    ) -> Shapes:
        """The shapes of some rows, with those of their entries in their place.

        Args:
            path: of their table.
            entries: of `entries`, by row.
            check: what row `i` says now.
            places: where in `shapes` row `i` is shown; empty for a row that was left out.
            table: the number of the table's twin, for rows with an entry.
            pixels: the mask of row `i`, for what leaves its geometry to the row.
            masks_stay: False where masks become polygons: entries of masks alone do as well.
        """
        gone = np.zeros(len(shapes), dtype=np.bool_)
        new: list[Item] = []
        shown_at: list[int] = []  # the first shape of the row of each new one
        are_parts: list[bool] = []
        owners: list[int] = []
        owned_at: list[int] = []
        tables: list[int] = []
        for row, entry in entries:
            here = places(row)
            items = entry.get("shapes")
            try:
                need(len(here) > 0, "the row was left out")
                if not isinstance(items, list):
                    raise BadItem("no shapes")
                frame, mask = int(shapes.frames[here[0]]), pixels(row)
                rows, held = self._read_items(entry, items, check(row), frame, mask)
                if not masks_stay and _become_outlines(rows, shapes.types[here]):
                    rows = _as_outlines(rows, mask, int(shapes.groups[here[0]]))
            except (BadItem, TypeError, KeyError, ValueError) as problem:
                self._refuse(items, str(problem))
                continue
            gone[here] = True
            for one in held:
                is_first = self._of(one).see(_entry_of(one), self._part(frame))
                # Any row of a track may come to say less than its shape.
                number = table() if is_first or one >= 0 else -1
                owners += [one] * len(here)
                owned_at += here.tolist()
                tables += [number] * len(here)
                if one >= 0:
                    self._ways.see(one, frame, self._key(path))
            new += rows
            shown_at += [int(here[0])] * len(rows)
            are_parts += [len(rows) > 1 and one["types"] == ShapeType.MASK for one in rows]
        if owners:
            of, numbers, owned = (np.array(column, dtype=np.int64) for column in (owners, tables, owned_at))
            self._shown.add(of, numbers, shapes.take(owned))
        if not gone.any():
            return shapes
        left, at = np.flatnonzero(~gone), np.array(shown_at, dtype=np.int64)
        parts = [shapes.take(left)]
        if new:
            kept = _in_table(shapes.kept.take(at), table())
            kept = kept.replace(edits=np.where(are_parts, np.uint8(Edit.PART), kept.edits))
            parts.append(shapes_table(new, shapes.frames[at].tolist(), kept))
        return Shapes.concatenate(parts).take(np.argsort(np.concatenate([left, at]), kind="stable"))

    def _read_items(
        self, entry: Item, items: list[Any], check: str, frame: int, pixels: Flips | None
    ) -> tuple[list[Item], list[int]]:
        """The shapes of an entry, and what the row shows together with others. Raises BadItem."""
        need(entry.get("is") == check, "the row was changed")
        width, height = self._size(entry, frame)
        rows: list[Item] = []
        held: list[int] = []
        outlines: list[npt.NDArray[np.float64]] | None = None
        for item in items:
            if isinstance(item, dict) and ("track" in item or "whole" in item):
                one = self._owner(item)
                need(one is not None, "no such track or whole")
                assert one is not None
                held.append(one)
                continue
            row = self._codec.shape(item, frame, width, height)
            if item.get("traced"):
                outlines = _outlines(pixels) if outlines is None else outlines
                need(len(items) == len(outlines), "the mask has another number of parts")
                row["points"] = outlines[len(rows)]
            elif row["types"] == ShapeType.MASK and not row["runs"]:
                need(pixels is not None, "no pixels")
                assert pixels is not None
                row["runs"] = flips_to_runs(pixels)
            row["groups"] = self._own_group(row["groups"])
            rows.append(row)
        need(not held or not rows, "a track and other shapes in one row")
        return rows, held

    def _owner(self, item: Item) -> int | None:
        """The entry of the track or, as -1 - its place, of the whole that an item names; None where there is none."""
        if "track" in item:
            return self._tracks.find(item["track"])
        entry = self._wholes.find(item["whole"])
        return None if entry is None else -1 - entry

    def _of(self, owner: int) -> Held:
        return self._tracks if owner >= 0 else self._wholes

    def replace_tags(
        self,
        entries: Iterable[tuple[int, Item]],
        check: Callable[[int], str],
        place: Callable[[int], int],
        table: Callable[[], int],
        tags: Tags,
    ) -> Tags:
        """The same for tags; a row is one tag."""
        rows, at = [], []
        for row, entry in entries:
            here, items = place(row), entry.get("tags")
            try:
                need(here >= 0, "the row was left out")
                if not isinstance(items, list) or len(items) != 1:
                    raise BadItem("no tag")
                need(entry.get("is") == check(row), "the row was changed")
                found = self._codec.tag(items[0])
                found["groups"] = self._own_group(found["groups"])
            except (BadItem, TypeError, KeyError, ValueError):
                self._n_refused += 1
                continue
            rows.append(found)
            at.append(here)
        if not rows:
            return tags
        chosen = np.array(at, dtype=np.int64)
        new = tags_table(rows, tags.frames[chosen].tolist(), _in_table(tags.kept.take(chosen), table()))
        order = np.arange(len(tags), dtype=np.int64)
        order[chosen] = len(tags) + np.arange(len(chosen), dtype=np.int64)
        return Tags.concatenate([tags, new]).take(order)

    # --- the rest ---

    def finish(self, path: str, report: Report, is_listed: Mask) -> Iterator[Annotations]:
        """Shapes without a row, and tracks and wholes of which every row came; the rows of others as shapes. Some at a
        time.

        Args:
            is_listed: (frames,) those that the archive lists.
        """
        yield from self._finish_rowless(path, report)
        are_bad = ~self._tracks.are_whole() | self._ways_off(path, report, is_listed)
        yield from self._finish_tracks(are_bad)
        yield from self._shapes_of_bad(are_bad)
        are_bad_wholes = ~self._wholes.are_whole()
        yield from self._finish_wholes(are_bad_wholes)
        yield from self._rows_of_bad(are_bad_wholes)
        self._n_refused += int(are_bad.sum()) + int(are_bad_wholes.sum())
        if self._n_refused:
            some = "1 entry" if self._n_refused == 1 else f"{self._n_refused:,} entries"
            message = f"{some} of the side file that do not fit the task and its rows any more: the rows alone are read"
            if are_bad.any():
                message += " (as shapes with the attributes and the group of their track, where they are of one)"
            report.warn("extra.ignored", message, file=path)
        self._tell_undeclared(path, report)

    def _tell_undeclared(self, path: str, report: Report) -> None:
        """Values that have no place in the task."""
        listed = []
        for (label, name), n in sorted(self._codec.undeclared.items()):
            values = "1 value" if n == 1 else f"{n:,} values"
            message = (
                f'{values} of the attribute "{shorten(name)}" left out, for the label "{shorten(label)}" has none of '
                "that name; declare it and import again"
            )
            listed.append(Problem("attribute.undeclared", message, "warning", path, value=shorten(name)))
        report.add_many(listed, len(listed))

    def _ways_off(self, path: str, report: Report, is_listed: Mask) -> Mask:
        """(N,) tracks that do not show here what their rows say. Those without rows come as they can."""
        are_off, are_longer = self._ways.are_off(is_listed, self._frames.start)
        has_rows = self._tracks.have_rows()
        n = int((are_longer & ~has_rows).sum())
        if n:
            some = "1 track" if n == 1 else f"{n:,} tracks"
            message = f"{some} without rows, between key frames that other images lie between now: shown on those"
            report.warn("extra.ignored", message, file=path)
        off: Mask = are_off & has_rows
        return off

    def _shapes_of_bad(self, are_bad: Mask) -> Iterator[Annotations]:
        """Of tracks, with what these say."""
        if not are_bad.any():
            return
        words = TrackWords(self._codec)
        for at in np.flatnonzero(are_bad).tolist():
            try:
                words.add(at, _parsed(self._tracks.lines.read(at)), self._frames_of, self._own_group)
            except _UNFIT:
                continue  # its rows say all that there is
        for owners, tables, shapes in self._shown.of(lambda owners: (owners >= 0) & are_bad[np.maximum(owners, 0)]):
            yield Annotations(shapes=words.tell(owners, tables, shapes))

    def _rows_of_bad(self, are_bad: Mask) -> Iterator[Annotations]:
        """Of wholes, as they came."""
        if are_bad.any():
            found = self._shown.of(lambda owners: (owners < 0) & are_bad[np.maximum(-1 - owners, 0)])
            yield from (Annotations(shapes=shapes) for _, _, shapes in found)

    def _finish_rowless(self, path: str, report: Report) -> Iterator[Annotations]:
        n_lost, why = 0, ""
        for lines in self._rowless.some():
            entries = [_parsed(line) for line in lines]
            frames = self._frames_of([entry.get("image") for entry in entries if isinstance(entry, dict)])
            rows: list[Item] = []
            shown: list[int] = []
            for entry in entries:
                try:
                    found, frame = self._rowless_items(entry, frames)
                except _UNFIT as problem:
                    n_lost += 1
                    why = why or (str(problem) if isinstance(problem, BadItem) else "it cannot be read")
                    continue
                rows += found
                shown += [frame] * len(found)
            yield Annotations(shapes=shapes_table(rows, shown, Kept.empty(len(rows))))
        if n_lost:
            # No row stands for them: what the user must know is that they are gone, and what they wanted.
            message = f"shapes of the side file that no row shows are left out, {n_lost:,} of them; the first: {why}"
            report.warn("extra.ignored", message, file=path)

    def _finish_tracks(self, are_bad: Mask) -> Iterator[Annotations]:
        """Those that are whole; what cannot be used is marked as bad."""
        number = 0
        for lines in self._tracks.lines.some():
            entries = [_parsed(line) for line in lines]
            frames = self._frames_of([name for entry in entries for name in _track_images(entry)])
            tracks: list[Tracks] = []
            for at, entry in enumerate(entries, number):
                if are_bad[at]:
                    continue
                try:
                    if self._ways.is_cut[at]:
                        entry = {**entry, "body": without_end(entry["body"], "image")}
                    told = {self._part(frames[name]) for name in _track_images(entry) if name in frames}
                    need(len(told | ({self._tracks.part(at)} - {-1})) == 1, "it goes on in another task")
                    track = self._codec.track(entry, frames)
                    groups = np.array([self._own_group(group) for group in track.groups.tolist()], dtype=np.int32)
                    tracks.append(track.replace(groups=groups))
                except _UNFIT:
                    are_bad[at] = True
            number += len(lines)
            yield Annotations(tracks=Tracks.concatenate(tracks))

    def _finish_wholes(self, are_bad: Mask) -> Iterator[Annotations]:
        """The same; each goes where the first of its rows is."""
        are_done = are_bad.copy()
        for owners, tables, shapes in self._shown.of(lambda owners: owners < 0) if len(are_bad) else ():
            _, firsts = np.unique(owners, return_index=True)
            firsts = np.sort(firsts)
            firsts = firsts[~are_done[-1 - owners[firsts]]]
            entries = [_parsed(self._wholes.lines.read(at)) for at in (-1 - owners[firsts]).tolist()]
            frames = self._frames_of([entry.get("image") for entry in entries])
            rows: list[Item] = []
            shown: list[int] = []
            at: list[int] = []
            for place, entry in zip(firsts.tolist(), entries, strict=True):
                are_done[-1 - owners[place]] = True
                try:
                    found, frame = self._rowless_items(entry, frames)
                    need(len(found) == 1, "not one shape")
                except _UNFIT:
                    are_bad[-1 - owners[place]] = True
                    continue
                rows += found
                shown.append(frame)
                at.append(place)
            kept = shapes.kept.take(np.array(at, dtype=np.int64)).replace(tables=tables[at].astype(np.int32))
            yield Annotations(shapes=shapes_table(rows, shown, kept))

    def _rowless_items(self, entry: Item, frames: Mapping[str, int]) -> tuple[list[Item], int]:
        """The shapes of an entry, and their frame. Raises BadItem."""
        name = entry.get("image")
        need(isinstance(name, str), "no image")
        need(name in frames, "no such image")
        frame = frames[str(name)]
        width, height = self._size(entry, frame)
        rows = [self._codec.shape(item, frame, width, height) for item in entry["shapes"]]
        for row in rows:
            need(bool(row["points"] or row["runs"] or row["elements"]), "no geometry")
            row["groups"] = self._own_group(row["groups"])
        return rows, frame

    def _frames_of(self, names: Iterable[Any]) -> dict[str, int]:
        """Image id → frame number, of those that are there."""
        asked = list(dict.fromkeys(name for name in names if isinstance(name, str)))
        frames = self._find(Ragged.from_bytes([name.encode("utf-8", "replace") for name in asked]))
        return {name: frame for name, frame in zip(asked, frames.tolist(), strict=True) if frame >= 0}

    def _part(self, frame: int) -> int:
        """Which of the tasks a frame is of."""
        return bisect_right(self._parts, frame)

    def _own_group(self, group: int) -> int:
        """The number of a group of the file among those that are free."""
        need(group <= self._group_room, "a group out of range")
        return group + self._more_group if group else 0

    def _size(self, entry: Item, frame: int) -> tuple[int, int]:
        at = frame - self._frames.start
        width, height = int(self._frames.widths[at]), int(self._frames.heights[at])
        need(entry.get("size") == [width, height], "the frame has another size")
        return width, height

    def _refuse(self, items: Any, why: str) -> None:
        self._n_refused += 1
        for item in items if isinstance(items, list) else ():
            one = self._owner(item) if isinstance(item, dict) and ("track" in item or "whole" in item) else None
            if one is not None:
                self._of(one).break_(_entry_of(one))


class _Lines:
    """Lines in the order they came, on disk once they are much."""

    def __init__(self) -> None:
        self._file = spool_of(self)
        self._offsets = array("q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self.read, range(len(self)))

    def some(self) -> Iterator[list[bytes]]:
        """All of them, so many at a time that they can be parsed."""
        waiting: list[bytes] = []
        n_bytes = 0
        for line in self:
            waiting.append(line)
            n_bytes += len(line)
            if len(waiting) == LINES_AT_ONCE or n_bytes >= BYTES_AT_ONCE:
                yield waiting
                waiting, n_bytes = [], 0
        if waiting:
            yield waiting

    def append(self, line: bytes) -> None:
        self._file.write(line)
        self._offsets.append(self._offsets[-1] + len(line))

    def read(self, at: int) -> bytes:
        self._file.seek(self._offsets[at])
        return self._file.read(self._offsets[at + 1] - self._offsets[at])


def _split(blocks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines of some bytes; None for one that is too long."""
    held: list[bytes] = []
    n_held = 0
    for block in blocks:
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*held, lines[0]])
            is_long = n_held > MAX_PARSED_BYTES  # what was held was dropped
            for line in lines:
                yield None if is_long or len(line) > MAX_PARSED_BYTES else line
                is_long = False
            held, n_held = [], 0
        n_held += len(rest)
        held = [*held, rest] if n_held <= MAX_PARSED_BYTES else []
    yield b"".join(held) if n_held <= MAX_PARSED_BYTES else None


def _join(lines: Iterable[bytes | None]) -> bytes:
    joined = bytearray()
    for line in lines:
        need(
            line is not None and len(joined) + len(line) < MAX_PARSED_BYTES,
            f"it is laid out anew, and has more than {MAX_PARSED_BYTES:,} bytes",
        )
        joined += line or b""
        joined += b"\n"
    return bytes(joined)


def _parsed(line: bytes) -> Any:
    """JSON; of what is no JSON, but Python reads it, too."""
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line)


def _entry_of(owner: int) -> int:
    """The place of an entry among those of tracks, or of wholes."""
    return owner if owner >= 0 else -1 - owner


def _track_images(entry: Item) -> list[Any]:
    """The image ids that a track uses; none where it has not the form of one."""
    try:
        body = entry["body"]
        lists = [body["shapes"], body["elements"], *(one["shapes"] for one in body["elements"])]
        return [entry["image"], *(one["image"] for shapes in lists for one in shapes)]
    except (KeyError, TypeError):
        return []


def _in_table(kept: Kept, number: int) -> Kept:
    return kept.replace(tables=np.full(len(kept), number, dtype=np.int32))


def _become_outlines(rows: Sequence[Item], types: npt.NDArray[np.uint8]) -> bool:
    """Whether an entry is of masks alone, and its row was traced (too complex a mask is not)."""
    only_masks = len(rows) > 0 and all(row["types"] == ShapeType.MASK for row in rows)
    return only_masks and bool((types == ShapeType.POLYGON).all())


def _as_outlines(rows: list[Item], mask: Flips | None, group: int) -> list[Item]:
    """Masks as polygons that look as they do. Those that share a PNG are one, as its row is; where they look unlike,
    each is traced by itself.

    Args:
        mask: of the row.
        group: for the parts of a mask without one.
    """
    looks = [{name: value for name, value in row.items() if name != "runs"} for row in rows]
    if all(look == looks[0] for look in looks):
        traced = [(looks[0], _outlines(mask))]
    else:
        traced = [
            (look, _outlines(find_flips(runs_to_mask(np.asarray(row["runs"])))))
            for look, row in zip(looks, rows, strict=True)
        ]
    more = {"types": ShapeType.POLYGON, "runs": []}
    return [
        {**look, **more, "points": points, "groups": look["groups"] or (group if len(outlines) > 1 else 0)}
        for look, outlines in traced
        for points in outlines
    ]


def _outlines(mask: Flips | None) -> list[npt.NDArray[np.float64]]:
    need(mask is not None, "no pixels")
    assert mask is not None
    try:
        return flips_to_polygons([mask]).split()
    except ShapeTooComplex as error:
        raise BadItem(error.detail) from error


def row_check(block: CSVBlock, columns: Sequence[str]) -> Callable[[int], str]:
    """What a row of a block says in some columns, as an entry remembers it."""
    cells = [block.cells(column) for column in columns]
    return lambda row: ",".join(one.row_text(row) for one in cells)
