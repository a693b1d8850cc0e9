"""Names that archives use to the frames of a task, all at once: by hash, proven byte by byte, without a dict a row.

An id is looked up as it is, then without an extension, then below a folder; the first step that finds frames decides:

    1  a frame's path                                      cats/1.jpg   → cats/1.jpg
    2  a frame's path without its last extension           cats/1       → cats/1.jpg
    3  1 and 2 without the subset in front of the id       train/cats/1 → cats/1.jpg
    4  the end of a frame's path, whole components         1            → cats/1.jpg
    5  of a video only: the number of a frame              frame_7      → frame_000007

Digits alone are never a frame number. Ids and paths are compared in NFC, with `/` between parts and none in front;
where frames differ by composition alone (é as one character, e with an accent), an id means the one spelled as it is.

Source: Open Images reference 3.3.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations.frames import FrameTable
from app.columns import Cells, HashPlaces, Indices, Ragged, Texts, equal_cells, hash_cells

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SLASH, DOT, BACKSLASH = ord("/"), ord("."), ord("\\")
NEAREST_CANDIDATES = 300
NEAREST_CHARACTERS = 120
_VIDEO_FRAME = re.compile(rb"(?:^|/)frame_0*([0-9]{1,18})(?:\.[A-Za-z0-9]+)?$")


class TextLookup:
    """Finds the rows of a byte column that equal a text. A *group* is all rows of one text.

    Attributes:
        firsts: (G,) int64, the first row of each group.
        sizes: (G,) int64, rows of each group.
    """

    def __init__(self, texts: Ragged | Cells) -> None:
        self._cells = Cells.of(texts) if isinstance(texts, Ragged) else texts
        hashes = _hashes(self._cells)  # (N,)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        order = self._part_collisions(hashes, order)
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = hashes[1:] != hashes[:-1]
        alike = np.flatnonzero(~new)
        new[alike] = ~_equal(self._cells, order[alike], self._cells, order[alike - 1])
        self._order = order
        self._starts: Positions | None = None  # (G,) places in `_order`; None: each text is there once
        self.firsts: Positions = order
        self.sizes: Positions = np.broadcast_to(np.int64(1), len(order))
        if len(alike) and not new.all():
            self._starts = np.flatnonzero(new)
            hashes, self.firsts = hashes[self._starts], order[self._starts]
            self.sizes = np.diff(self._starts, append=np.int64(len(order)))
        self._places = HashPlaces(hashes)

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def is_unique(self) -> bool:
        """Whether each text is there once."""
        return self._starts is None

    def find(self, texts: Ragged) -> Positions:
        """(Q,) int64, the group of each text, -1 where no row equals it."""
        if not len(self.firsts) or not len(texts):
            return np.full(len(texts), -1, dtype=np.int64)
        if len(texts) > FOUND_AT_ONCE:
            edges = range(0, len(texts), FOUND_AT_ONCE)
            return np.concatenate([self.find(texts.slice(first, first + FOUND_AT_ONCE)) for first in edges])
        asked = Cells.of(texts)
        hit, place = self._places.find(_hashes(asked))  # (Q,)
        equal = hit & _equal(asked, np.arange(len(texts)), self._cells, self.firsts[place])
        groups = np.where(equal, place, -1)
        for row in np.flatnonzero(hit & ~equal).tolist() if self._collided else ():
            groups[row] = self._collided_group(asked.row_bytes(row))
        return groups

    def counts(self, groups: Positions) -> Positions:
        """(Q,) int64, rows of each group that `find` gave, 0 for none."""
        if not len(self.sizes):
            return np.zeros(len(groups), dtype=np.int64)
        return np.where(groups >= 0, self.sizes[groups], 0)

    def members(self, groups: Positions) -> tuple[Positions, Positions]:
        """All rows of some groups: (which of `groups`, row), in order of group, then row."""
        sizes = self.sizes[groups]
        which = np.repeat(np.arange(len(groups), dtype=np.int64), sizes)
        ends = np.cumsum(sizes)
        within = np.arange(len(which), dtype=np.int64) - np.repeat(ends - sizes, sizes)
        starts = groups if self._starts is None else self._starts[groups]
        return which, self._order[starts[which] + within]

    def _part_collisions(self, hashes: npt.NDArray[np.uint64], order: Positions) -> Positions:
        """Bring equal texts together where different ones share a hash: practically never, and then one by one."""
        self._collided: dict[bytes, int] = {}
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        differ = same[~_equal(self._cells, order[same + 1], self._cells, order[same])]
        for value in np.unique(hashes[differ]).tolist():
            start, stop = np.searchsorted(hashes, [value, value + 1] if value < 2**64 - 1 else [value, value])
            stop = stop if value < 2**64 - 1 else len(hashes)
            rows = sorted(order[start:stop].tolist(), key=self._cells.row_bytes)
            order[start:stop] = rows
            self._collided |= {self._cells.row_bytes(row): -1 for row in rows}
        return order

    def _collided_group(self, text: bytes) -> int:
        if -1 in self._collided.values():
            for group, row in enumerate(self.firsts.tolist()):
                known = self._cells.row_bytes(row)
                if known in self._collided:
                    self._collided[known] = group
        return self._collided.get(text, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What each of Q ids was found to be.

    Attributes:
        frames: (Q,) int32, frame numbers, -1 where there is none or no single one.
        ambiguous: (Q,) bool, several frames, of which nothing chooses one.
        needs_root: (Q,) bool, ambiguous ids that the right folder would settle (step 4).
    """

    frames: npt.NDArray[np.int32]
    ambiguous: Mask
    needs_root: Mask


class FrameIndex:
    """The names of a FrameTable, ready to be searched.

    Args:
        pictures: paths of pictures that lie beside the ids, in any folder; their extensions choose between frames
            that share a name without extension.
        as_spelled: names of another composition are other names.
    """

    def __init__(self, frames: FrameTable, pictures: Sequence[str] = (), *, as_spelled: bool = False) -> None:
        self.frames = frames
        self._pictures = pictures
        self._compose = not as_spelled
        self._names = normalise_names(frames.names, compose=self._compose)
        self._stem_stops = stem_stops(self._names)
        self._cells = Cells.of(self._names)
        self._full = TextLookup(self._cells)

    @cached_property
    def stems(self) -> Ragged:
        """(N,) bytes, each frame's path without its last extension."""
        return Cells(self._names.values, self._names.offsets[:-1], self._stem_stops).ragged()

    @cached_property
    def _stem_lookup(self) -> TextLookup:
        before = self._cells.starts[:1] - self._names.offsets[:1]  # what the buffer holds in front of the names
        return TextLookup(Cells(self._cells.buffer, self._cells.starts, self._stem_stops + before))

    @cached_property
    def stem_is_unique(self) -> Mask:
        """(N,) bool: the name without extension means this frame and no other."""
        unique = np.ones(len(self.stems), dtype=np.bool_)
        if not self._stem_lookup.is_unique:
            which, rows = self._stem_lookup.members(np.arange(len(self._stem_lookup), dtype=np.int64))
            unique[rows] = self._stem_lookup.sizes[which] == 1
        as_path = self._full.find(self.stems)  # another frame's whole path?
        hit = np.flatnonzero(as_path >= 0)
        unique[hit] &= self._full.firsts[as_path[hit]] == hit
        return unique

    @cached_property
    def name_is_unique(self) -> Mask:
        """(N,) bool: no other frame has the same path (those of several tasks may)."""
        unique = np.empty(len(self._names), dtype=np.bool_)
        which, rows = self._full.members(np.arange(len(self._full), dtype=np.int64))
        unique[rows] = self._full.sizes[which] == 1
        return unique

    def match(self, ids: Ragged, subsets: Texts | str | None = None, root: int | None = None) -> Matches:
        """Find the frame of each id.

        Args:
            ids: (Q,) bytes, UTF-8, as the archive has them.
            subsets: the subset of all ids, or of each ("" for none).
            root: what `find_root` found; without it, step 4 takes an id only where one frame fits.
        """
        asked = ids
        ids = normalise_names(ids, compose=self._compose)
        rows = np.full(len(ids), -1, dtype=np.int64)
        several = np.zeros(len(ids), dtype=np.bool_)
        self._by_path(ids, np.arange(len(ids)), rows, several)
        self._without_subset(ids, subsets, rows, several)
        needs_root = self._by_end(ids, root, rows, several)
        if self.frames.is_video:
            self._by_number(ids, rows, several)
        self._by_spelling(asked, subsets, rows, several)
        frames = np.where(rows >= 0, rows + self.frames.start, -1).astype(np.int32)
        return Matches(frames, several, needs_root & several)

    def find_root(self, parts: Iterable[tuple[Ragged, Texts | str | None]]) -> int | None:
        """The one folder under which every id lies that only step 4 finds; None where there is no single one.

        Args:
            parts: all ids of a file with their subsets, in blocks; repeats do no harm.
        """
        counts = np.zeros(self._n_folders, dtype=np.int64)
        total = 0
        for part, subsets in parts:
            ids = normalise_names(part, compose=self._compose)
            rows, several = np.full(len(ids), -1, dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
            self._by_path(ids, np.arange(len(ids)), rows, several)
            self._without_subset(ids, subsets, rows, several)
            groups = self._ends.find(ids.take(np.flatnonzero((rows < 0) & ~several)))
            groups = groups[groups >= 0]
            which, members = self._ends.members(groups)
            pairs = np.unique(which * self._n_folders + self._end_folders[members])
            counts += np.bincount(pairs % self._n_folders, minlength=self._n_folders)
            total += len(groups)
        roots = np.flatnonzero(counts == total)
        return int(roots[0]) if total and len(roots) == 1 else None

    def nearest(self, text: str, limit: int = 3) -> list[str]:
        """The paths most like a text, best first; for messages."""
        return nearest_texts(text, self.frames.names, limit)

    # --- the steps ---

    def _by_path(self, ids: Ragged, asked: Positions, rows: Positions, several: Mask) -> None:
        """Steps 1 and 2 for the ids `asked`; `ids` has one row for each of them."""
        groups = self._full.find(ids)
        hit = groups >= 0
        single = self._full.counts(groups) == 1
        rows[asked[single]] = self._full.firsts[groups[single]]
        several[asked[hit & ~single]] = True
        left = np.flatnonzero(~hit)
        if not len(left):
            return
        groups = self._stem_lookup.find(ids.take(left))
        hit = groups >= 0
        single = self._stem_lookup.counts(groups) == 1
        rows[asked[left[single]]] = self._stem_lookup.firsts[groups[single]]
        for place in np.flatnonzero(hit & ~single).tolist():
            _, members = self._stem_lookup.members(groups[place : place + 1])
            self._by_picture(ids.row_bytes(int(left[place])), members, int(asked[left[place]]), rows, several)

    def _without_subset(self, ids: Ragged, subsets: Texts | str | None, rows: Positions, several: Mask) -> None:
        """Step 3."""
        if subsets is None or subsets == "":
            return
        named = subsets if isinstance(subsets, Texts) else Texts.same(subsets, len(ids))
        open_rows = np.flatnonzero((rows < 0) & ~several)
        for code in np.unique(named.codes[open_rows]).tolist():
            prefix = unicodedata.normalize("NFC", named.values[code]).encode() + b"/"
            if prefix == b"/":
                continue
            asked = open_rows[named.codes[open_rows] == code]
            starts, stops = ids.offsets[asked], ids.offsets[asked + 1]
            longer = stops - starts > len(prefix)
            asked, starts, stops = asked[longer], starts[longer], stops[longer]
            here = ids.values[starts[:, None] + np.arange(len(prefix))] == np.frombuffer(prefix, dtype=np.uint8)
            begins = here.all(axis=1)
            rest = Cells(ids.values, starts[begins] + len(prefix), stops[begins]).ragged()
            self._by_path(rest, asked[begins], rows, several)

    def _by_end(self, ids: Ragged, root: int | None, rows: Positions, several: Mask) -> Mask:
        """Step 4; the mask of ids that several frames end with."""
        needs_root = np.zeros(len(ids), dtype=np.bool_)
        asked = np.flatnonzero((rows < 0) & ~several)
        if not len(asked) or not self._has_folders:
            return needs_root
        groups = self._ends.find(ids.take(asked))
        hit = groups >= 0
        asked, groups = asked[hit], groups[hit]
        single = self._ends.sizes[groups] == 1
        rows[asked[single]] = self._end_rows[self._ends.firsts[groups[single]]]
        asked, groups = asked[~single], groups[~single]
        needs_root[asked] = True
        several[asked] = True
        if root is None or not len(asked):
            return needs_root
        which, members = self._ends.members(groups)
        under = self._end_folders[members] == root
        which, members = which[under], members[under]
        n_under = np.bincount(which, minlength=len(asked))
        settled = n_under[which] == 1
        rows[asked[which[settled]]] = self._end_rows[members[settled]]
        several[asked[which[settled]]] = False
        for place in np.flatnonzero(n_under > 1).tolist():
            frames = self._end_rows[members[which == place]]
            several[asked[place]] = False
            self._by_picture(ids.row_bytes(int(asked[place])), frames, int(asked[place]), rows, several)
        return needs_root

    def _by_number(self, ids: Ragged, rows: Positions, several: Mask) -> None:
        """Step 5."""
        for asked in np.flatnonzero((rows < 0) & ~several).tolist():
            match = _VIDEO_FRAME.fullmatch(ids.row_bytes(asked))
            if match is not None:
                rows[asked] = self._numbers.get(int(match.group(1)), -1)

    def _by_spelling(self, ids: Ragged, subsets: Texts | str | None, rows: Positions, several: Mask) -> None:
        """Of frames that differ by composition, the one of the very bytes; `ids` as the archive has them."""
        left = np.flatnonzero(several)
        if not len(left) or self._spelled is None:
            return
        exact = self._spelled.match(ids.take(left), subsets.take(left) if isinstance(subsets, Texts) else subsets)
        found = np.flatnonzero(exact.frames >= 0)
        rows[left[found]] = exact.frames[found].astype(np.int64) - self.frames.start
        several[left[found]] = False

    @cached_property
    def _spelled(self) -> FrameIndex | None:
        """The same names as they are spelled; None where all of them are composed, and none can differ by it."""
        if not self._compose or np.array_equal(
            self._names.values, normalise_names(self.frames.names, compose=False).values
        ):
            return None
        return FrameIndex(self.frames, self._pictures, as_spelled=True)

    def _by_picture(self, text: bytes, candidates: Positions, asked: int, rows: Positions, several: Mask) -> None:
        """Of frames that differ by their extension, the one whose extension the archive's own picture has."""
        extensions = self._extensions.get(text.decode("utf-8", "replace"), set())
        fitting = []
        for row in candidates.tolist():
            tail = self._names.values[self._stem_stops[row] : self._names.offsets[row + 1]].tobytes()
            if tail.decode("utf-8", "replace") in extensions:
                fitting.append(row)
        if len(fitting) == 1:
            rows[asked] = fitting[0]
        else:
            several[asked] = True

    @cached_property
    def _extensions(self) -> dict[str, set[str]]:
        """Every end of a picture's path without extension → the extensions it is seen with (`.jpg`)."""
        found: dict[str, set[str]] = {}
        for path in self._pictures:
            stem, dot, extension = path.rpartition(".")
            while stem:
                found.setdefault(stem, set()).add(dot + extension)
                stem = stem.partition("/")[2]
        return found

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """Absolute frame number → row, of a video."""
        numbers: dict[int, int] = {}
        for row, name in enumerate(self.frames.names.to_bytes_list()):
            match = _VIDEO_FRAME.search(name)
            numbers.setdefault(int(match.group(1)) if match else self.frames.start + row, row)
        return numbers

    # --- ends of paths, for step 4 ---

    @cached_property
    def _slashes(self) -> Positions:
        return np.flatnonzero(self._names.values == SLASH)

    @property
    def _has_folders(self) -> bool:
        return len(self._slashes) > 0

    @cached_property
    def _end_table(self) -> tuple[TextLookup, Positions, Positions, int]:
        """The ends of all paths behind each slash, with and without extension.

        Returns:
            Lookup of E ends, (E,) the frame row of each, (E,) a code of the folder in front of it, number of codes.
        """
        slashes, offsets = self._slashes, self._names.offsets
        owners = _rows_of(offsets, slashes)
        stops, stem_ends = offsets[owners + 1], self._stem_stops[owners]
        shorter = np.flatnonzero(stem_ends < stops)
        starts = np.concatenate([slashes + 1, slashes[shorter] + 1])
        ends = Cells(self._names.values, starts, np.concatenate([stops, stem_ends[shorter]])).ragged()
        rows = np.concatenate([owners, owners[shorter]])
        folders = TextLookup(Cells(self._names.values, offsets[owners], slashes).ragged())
        codes = np.empty(len(slashes), dtype=np.int64)
        which, members = folders.members(np.arange(len(folders), dtype=np.int64))
        codes[members] = which
        return TextLookup(ends), rows, np.concatenate([codes, codes[shorter]]), len(folders)

    @property
    def _ends(self) -> TextLookup:
        return self._end_table[0]

    @property
    def _end_rows(self) -> Positions:
        return self._end_table[1]

    @property
    def _end_folders(self) -> Positions:
        return self._end_table[2]

    @property
    def _n_folders(self) -> int:
        return self._end_table[3]


def normalise_names(names: Ragged, *, compose: bool = True) -> Ragged:
    """NFC (unless `compose` is off), `/` for a backslash, without one `./` or `/` in front."""
    values = names.values
    if compose and (values >= 0x80).any():
        names = _compose(names)
        values = names.values
    if (values == BACKSLASH).any():
        values = np.where(values == BACKSLASH, np.uint8(SLASH), values)
    starts, stops = names.offsets[:-1], names.offsets[1:]
    if not len(values):
        return names
    last = len(values) - 1
    first, second = values[np.minimum(starts, last)], values[np.minimum(starts + 1, last)]
    lengths = stops - starts
    skip = np.where((first == SLASH) & (lengths > 0), 1, 0)
    skip = np.where((first == DOT) & (second == SLASH) & (lengths > 1), 2, skip)
    if not skip.any():
        return Ragged(values, names.offsets)
    return Cells(values, starts + skip, stops).ragged()


def stem_stops(names: Ragged) -> Positions:
    """(N,) int64, the position in `names.values` where each path's last extension begins (its end where it has none).

    A dot at the start of the last component begins no extension.
    """
    dots, slashes = _last_places(names, DOT), _last_places(names, SLASH)
    begins = np.maximum(slashes + 1, names.offsets[:-1])
    return np.where(dots > begins, dots, names.offsets[1:])


def nearest_texts(text: str, names: Ragged, limit: int = 3) -> list[str]:
    """The names most like a text, best first: difflib among those that share most of their beginning and end."""
    asked = text.encode("utf-8", "replace")[:NEAREST_CHARACTERS]
    n = len(names)
    rows = np.arange(n)
    if n > NEAREST_CANDIDATES:
        score = _shared(names, asked, forward=True) + _shared(names, asked, forward=False)
        score = score * 4 - np.minimum(np.abs(names.lengths - len(asked)), 40)
        rows = np.sort(np.argpartition(-score, NEAREST_CANDIDATES)[:NEAREST_CANDIDATES])
    candidates = dict.fromkeys(
        names.row_bytes(row).decode("utf-8", "replace")[:NEAREST_CHARACTERS] for row in rows.tolist()
    )
    folded = text[:NEAREST_CHARACTERS].casefold()
    same = [name for name in candidates if name.casefold() == folded or _tail(name) == _tail(folded)]
    close = difflib.get_close_matches(text[:NEAREST_CHARACTERS], candidates, limit, cutoff=0.6)
    return list(dict.fromkeys([*same, *close]))[:limit]


def _tail(name: str) -> str:
    """The last component without extension, in lower case."""
    return name.casefold().rpartition("/")[2].rpartition(".")[0] or name.casefold().rpartition("/")[2]


def _shared(names: Ragged, text: bytes, *, forward: bool) -> Positions:
    """(N,) int64, how many bytes (up to 24) each name has in common with the text, from its start or its end."""
    shared = np.zeros(len(names), dtype=np.int64)
    going = np.ones(len(names), dtype=np.bool_)
    edges = names.offsets[:-1] if forward else names.offsets[1:] - 1
    for step in range(min(24, len(text))):
        going &= names.lengths > step
        places = np.clip(edges + (step if forward else -step), 0, max(len(names.values) - 1, 0))
        going &= names.values[places] == text[step if forward else -1 - step]
        shared += going
    return shared


def _compose(names: Ragged) -> Ragged:
    """NFC of all names in one call: joined by NUL, which composes with nothing."""
    offsets, n = names.offsets, len(names)
    joined = np.zeros(len(names.values) + n, dtype=np.uint8)
    joined[np.arange(len(names.values)) + np.repeat(np.arange(n), names.lengths)] = names.values
    if (names.values == 0).any():  # no name of a frame or of a good row; then one by one
        texts = [unicodedata.normalize("NFC", text.decode("utf-8", "replace")) for text in names.to_bytes_list()]
        return Ragged.from_bytes([text.encode() for text in texts])
    text = unicodedata.normalize("NFC", joined.tobytes().decode("utf-8", "replace"))
    composed = np.frombuffer(text.encode(), dtype=np.uint8)
    stops = np.flatnonzero(composed == 0)
    starts = np.concatenate([[0], stops[:-1] + 1]) if n else stops
    return Cells(composed, starts.astype(np.int64), stops).ragged() if n else Ragged(names.values, offsets)


def _last_places(names: Ragged, byte: int) -> Positions:
    """(N,) int64, the position of the last such byte in each row, -1 where there is none."""
    places = np.flatnonzero(names.values == byte)
    last = np.full(len(names), -1, dtype=np.int64)
    last[_rows_of(names.offsets, places)] = places  # the last assignment to a row stays
    return last


def _rows_of(offsets: Positions, places: Positions) -> Positions:
    return np.searchsorted(offsets, places, side="right") - 1


FOUND_AT_ONCE = HASHED_AT_ONCE = 1 << 16
"""Cells: what is worked out on the way then stays in the cache, and small for millions of them."""


def _hashes(cells: Cells) -> npt.NDArray[np.uint64]:
    edges = range(0, max(len(cells), 1), HASHED_AT_ONCE)
    parts = [slice(start, start + HASHED_AT_ONCE) for start in edges]
    return np.concatenate([hash_cells(cells.buffer, cells.starts[part], cells.stops[part]) for part in parts])


def _equal(a: Cells, rows: Indices, b: Cells, other_rows: Indices) -> Mask:
    return equal_cells(a.buffer, a.starts[rows], a.stops[rows], b.buffer, b.starts[other_rows], b.stops[other_rows])


def has_repeated(texts: Ragged) -> bool:
    """Whether a text may be there twice; False is certain."""
    hashes = _hashes(Cells.of(texts))
    hashes.sort()
    return bool((hashes[1:] == hashes[:-1]).any())


class TextSet:
    """Which texts were seen before, as 8 bytes a text: sorted arrays of hashes, merged as they grow."""

    def __init__(self) -> None:
        self._levels: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return sum(len(level) for level in self._levels)

    def has(self, texts: Ragged) -> Mask:
        """(N,) bool."""
        hashes = _hashes(Cells.of(texts))
        seen = np.zeros(len(hashes), dtype=np.bool_)
        for level in self._levels:
            place = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            seen |= level[place] == hashes
        return seen

    def add(self, texts: Ragged) -> Mask:
        """(N,) bool, the first row of each text that was not there before; all texts are there afterwards."""
        new = np.zeros(len(texts), dtype=np.bool_)
        rows = np.flatnonzero(~self.has(texts))
        if not len(rows):
            return new
        hashes, first = np.unique(_hashes(Cells.of(texts.take(rows))), return_index=True)
        new[rows[first]] = True
        self._levels.append(hashes)
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            last = self._levels.pop()
            self._levels[-1] = np.union1d(self._levels[-1], last)
        return new

    def count_missing(self, other: TextSet) -> int:
        """How many texts of this set the other does not hold."""
        mine = np.concatenate(self._levels) if self._levels else np.empty(0, dtype=np.uint64)
        for level in other._levels:
            mine = np.setdiff1d(mine, level, assume_unique=True)
        return len(mine)
