"""Names that archives use to the frames of a task, all at once: by hash, proven byte by byte, without a dict a row.

An id is looked up as it is, then without an extension, then below a folder; the first step that finds frames decides:

    1  a frame's path                                      cats/1.jpg   → cats/1.jpg
    2  a frame's path without its last extension           cats/1       → cats/1.jpg
    3  1 and 2 without the subset in front of the id       train/cats/1 → cats/1.jpg
    4  the end of a frame's path, up to 32 components      1            → cats/1.jpg
    5  of a video only: the number of a frame              frame_7      → frame_000007

Digits alone are never a frame number. Ids and paths are compared in NFC, with `/` between parts and none in front;
where frames differ by composition alone (é as one character, e with an accent), an id means the one spelled as it is.

Source: Open Images reference 3.3.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.annotations.frames import FrameTable
from app.columns import (
    Cells,
    HashPlaces,
    Indices,
    NarrowRagged,
    Ragged,
    Texts,
    distinct,
    equal_cells,
    hash_cells,
    narrow_numbers,
    steps,
)
from app.errors import shorten

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SLASH, DOT, BACKSLASH = ord("/"), ord("."), ord("\\")
NEAREST_CANDIDATES = 300
NEAREST_CHARACTERS = 120
PARTED_FROM = 1 << 18
"""Frames from which on their hashes are looked at in two parts, which takes half the memory."""
MOST_END_SLASHES = 31
"""Ids of more parts are looked for by their whole path alone: each number of parts has a table of its own."""
HELD_END_TABLES = 4
_VIDEO_FRAME = re.compile(rb"(?:^|/)frame_0*([0-9]{1,18})(?:\.[A-Za-z0-9]+)?$")


class Rows(Protocol):
    """A column of bytes that lies somewhere: cells of some of its rows, without a copy."""

    def __len__(self) -> int: ...

    def cells(self, rows: Indices | slice) -> Cells: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Cells as `Rows`."""

    column: Cells

    def __len__(self) -> int:
        return len(self.column)

    def cells(self, rows: Indices | slice) -> Cells:
        return Cells(self.column.buffer, self.column.starts[rows], self.column.stops[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Stems:
    """Names without their last extension; `tails` (N,) are the lengths of what they have more."""

    names: NarrowRagged
    tails: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.names)

    def cells(self, rows: Indices | slice) -> Cells:
        whole = self.names.cells(rows)
        return Cells(whole.buffer, whole.starts, whole.stops - self.tails[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Ends of paths behind a slash, as `Rows`.

    Attributes:
        owners: (E,) the row of each path.
        skips: (E,) bytes in front of the end, the slash with them.
        tails: (E,) bytes that are left out behind it: nothing, or its extension.
    """

    names: NarrowRagged
    owners: npt.NDArray[Any]
    skips: npt.NDArray[Any]
    tails: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.owners)

    def cells(self, rows: Indices | slice) -> Cells:
        whole = self.names.cells(self.owners[rows])
        return Cells(whole.buffer, whole.starts + self.skips[rows], whole.stops - self.tails[rows])

    def folders(self, rows: Indices) -> Cells:
        """What lies in front of the slash."""
        whole = self.names.cells(self.owners[rows])
        return Cells(whole.buffer, whole.starts, whole.starts + self.skips[rows] - 1)


class TextLookup:
    """Finds the rows of a byte column that equal a text. A *group* is all rows of one text.

    Held of each row are its place and 32 bits of its hash: what those find is compared with the text itself.

    Attributes:
        firsts: (G,) the first row of each group.
        sizes: (G,) int64, rows of each group.
    """

    def __init__(self, texts: Ragged | Cells | Rows) -> None:
        if isinstance(texts, Ragged) and not isinstance(texts, NarrowRagged):
            texts = Cells.of(texts)
        self._rows: Rows = _Given(texts) if isinstance(texts, Cells) else texts
        hashes = _hashes(self._rows)  # (N,)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        if len(order) <= MOST_NARROW:
            order = order.astype(np.int32)
        order = self._part_collisions(hashes, order)
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = hashes[1:] != hashes[:-1]
        alike = np.flatnonzero(~new)
        new[alike] = ~self._are_equal(order[alike], order[alike - 1])
        self._order = order
        self._starts: Positions | None = None  # (G,) places in `_order`; None: each text is there once
        self.firsts = order
        self.sizes: Positions = np.broadcast_to(np.int64(1), len(order))
        self._hashes = _upper(hashes)  # (G,) of each group
        if len(alike) and not new.all():
            self._starts = np.flatnonzero(new)
            self._hashes, self.firsts = self._hashes[self._starts], order[self._starts]
            self.sizes = np.diff(self._starts, append=np.int64(len(order)))
        self._places = HashPlaces(self._hashes)
        self._crowds: dict[int, dict[bytes, int]] = {}

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def is_unique(self) -> bool:
        """Whether each text is there once."""
        return self._starts is None

    def find(self, texts: Ragged | Cells) -> Positions:
        """(Q,) int64, the group of each text, -1 where no row equals it."""
        asked = _Given(texts if isinstance(texts, Cells) else Cells.of(texts))
        if not len(self.firsts) or not len(asked):
            return np.full(len(asked), -1, dtype=np.int64)
        found = [self._find(asked.cells(part)) for part in steps(len(asked))]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _find(self, asked: Cells) -> Positions:
        hashes = _upper(_hashes(_Given(asked)))  # (Q,)
        hit, place = self._places.find(hashes)
        equal = hit.copy()
        rows = np.flatnonzero(hit)
        equal[rows] = equal_rows(asked.take(rows), self._rows.cells(self.firsts[place[rows]]))
        groups = np.where(equal, place, -1)
        for row in np.flatnonzero(hit & ~equal).tolist():
            groups[row] = self._crowd(int(hashes[row])).get(asked.row_bytes(row), -1)
        return groups

    def _crowd(self, upper: int) -> dict[bytes, int]:
        """The groups whose hashes begin with the same bits, by their text: mostly one, which was not the one."""
        if upper not in self._crowds:
            wanted = self._hashes.dtype.type(upper)
            first, stop = (int(np.searchsorted(self._hashes, wanted, side=side)) for side in ("left", "right"))
            cells = self._rows.cells(self.firsts[first:stop])
            self._crowds[upper] = {cells.row_bytes(place): first + place for place in range(len(cells))}
        return self._crowds[upper]

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
        return which, self._order[starts[which] + within].astype(np.int64)

    def _are_equal(self, rows: Indices, others: Indices) -> Mask:
        return equal_rows(self._rows.cells(rows), self._rows.cells(others))

    def _part_collisions(self, hashes: npt.NDArray[np.uint64], order: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring equal texts together where different ones share a hash: practically never, and then one by one."""
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        differ = same[~self._are_equal(order[same + 1], order[same])]
        cells = self._rows.cells(slice(None)) if len(differ) else None
        for value in distinct(hashes[differ]):
            assert cells is not None
            start, stop = (int(np.searchsorted(hashes, value, side=side)) for side in ("left", "right"))
            order[start:stop] = sorted(order[start:stop].tolist(), key=cells.row_bytes)
        return order


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
        names = NarrowRagged.of(frames.names)
        self._is_spelled_so = True  # composing changed no name
        self._has_folders = False
        changed, tails = False, [np.zeros(0, dtype=np.uint8)]
        for piece in _pieces(names):
            normal = normalise_names(piece, compose=self._compose)
            if normal is not piece:
                changed = True
                self._is_spelled_so &= _are_same(normal, normalise_names(piece, compose=False))
            self._has_folders |= bool((normal.values == SLASH).any())
            tails.append(narrow_numbers(normal.offsets[1:] - stem_stops(normal)))
        if changed:
            names = NarrowRagged([normalise_names(piece, compose=self._compose) for piece in _pieces(names)])
        self._names = names
        self.stems = Stems(names, np.concatenate(tails))
        self._end_tables: dict[int, tuple[TextLookup, Ends]] = {}

    @cached_property
    def _stem_lookup(self) -> TextLookup:
        return TextLookup(self.stems)

    @property
    def names(self) -> NarrowRagged:
        """The paths as they are compared; those of the table itself where they are like that anyway."""
        return self._names

    @cached_property
    def is_plain(self) -> bool:
        """No path or stem of a frame is one of another; True is certain."""
        return not self._is_any_repeated()

    @cached_property
    def stem_is_unique(self) -> Mask:
        """(N,) bool: the name without extension means this frame and no other."""
        n = len(self._names)
        if self.is_plain:
            return np.broadcast_to(np.True_, n)
        unique = np.ones(n, dtype=np.bool_)
        if not self._stem_lookup.is_unique:
            which, rows = self._stem_lookup.members(np.arange(len(self._stem_lookup), dtype=np.int64))
            unique[rows] = self._stem_lookup.sizes[which] == 1
        for part in steps(n):  # another frame's whole path?
            stems = self.stems.cells(part).ragged()
            whole = Cells.of(stems)
            first, count = self._whole(whole, self._stem_lookup.find(_without_tails(stems, whole)))
            hit = np.flatnonzero(count)
            unique[hit + part.start] &= first[hit] == hit + part.start
        return unique

    def _is_any_repeated(self) -> bool:
        """Whether one text may be the path or the stem of two frames; False is certain."""
        whole = np.flatnonzero(self.stems.tails)
        n_parts = 1 if len(self.stems) < PARTED_FROM else 2
        return any(self._is_any_repeated_of(whole, part, n_parts) for part in range(n_parts))

    def _is_any_repeated_of(self, whole: Positions, part: int, n_parts: int) -> bool:
        """The same of the texts whose hash belongs to a part of all: equal ones are in the same."""
        n = len(self.stems) + len(whole)
        hashes = np.empty(n if n_parts == 1 else n // n_parts + n // 64, dtype=np.uint64)
        stop = 0
        stems = (self.stems.cells(rows) for rows in steps(len(self.stems)))
        for cells in chain(stems, (self._names.cells(whole[rows]) for rows in steps(len(whole)))):
            found = _hashes(_Given(cells))
            if n_parts > 1:
                found = found[found % np.uint64(n_parts) == part]
            first, stop = stop, stop + len(found)
            if stop > len(hashes):
                return True  # hashes that somebody has made uneven
            hashes[first:stop] = found
        hashes = hashes[:stop]
        hashes.sort()
        return bool((hashes[1:] == hashes[:-1]).any())

    def _whole(self, asked: Cells, groups: Positions) -> tuple[Positions, Positions]:
        """The first frame whose whole path each text is (any where there is none), and how many there are; whose path
        it is has its stem, too.

        Args:
            groups: of the texts' stems.
        """
        count = np.zeros(len(asked), dtype=np.int64)
        first = np.zeros(len(asked), dtype=np.int64)
        places = np.flatnonzero(groups >= 0)
        if self._stem_lookup.is_unique:
            first[places] = self._stem_lookup.firsts[groups[places]]
            count[places] = equal_rows(asked.take(places), self._names.cells(first[places]))
            return first, count
        which, rows = self._stem_lookup.members(groups[places])
        fits = np.flatnonzero(equal_rows(asked.take(places[which]), self._names.cells(rows)))
        which, rows = places[which[fits]], rows[fits]
        count += np.bincount(which, minlength=len(asked))
        first[which[::-1]] = rows[::-1]  # the last assignment stays
        return first, count

    def match(self, ids: Ragged, subsets: Texts | str | None = None, root: bytes | None = None) -> Matches:
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

    def find_root(self, parts: Iterable[tuple[Ragged, Texts | str | None]]) -> bytes | None:
        """The one folder under which every id lies that only step 4 finds; None where there is no single one.

        Args:
            parts: all ids of a file with their subsets, in blocks; repeats do no harm. All of them are taken: whoever
                gives them may look at them, too.
        """
        roots: npt.NDArray[np.uint64] | None = None  # hashes of the folders that hold all ids so far; None: no id yet
        name = b""
        for part, subsets in parts:
            if not self._has_folders:
                continue
            ids = normalise_names(part, compose=self._compose)
            rows, several = np.full(len(ids), -1, dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
            self._by_path(ids, np.arange(len(ids)), rows, several)
            self._without_subset(ids, subsets, rows, several)
            for texts, _, lookup, ends in self._with_ends(ids, np.flatnonzero((rows < 0) & ~several)):
                groups = distinct(lookup.find(texts))
                groups = groups[groups >= 0]
                if not len(groups):
                    continue
                which, members = lookup.members(groups)
                folders = ends.folders(members)
                hashes = hash_cells(folders.buffer, folders.starts, folders.stops)
                order = np.lexsort((hashes, which))
                new = np.ones(len(order), dtype=np.bool_)  # a folder may hold an id under two extensions
                new[1:] = (np.diff(which[order]) != 0) | (np.diff(hashes[order]) != 0)
                found, counts = np.unique(hashes[order[new]], return_counts=True)
                found = found[counts == len(groups)]
                roots = found if roots is None else np.intersect1d(roots, found)
                if len(roots) == 1:
                    name = folders.row_bytes(int(np.flatnonzero(hashes == roots[0])[0]))
        return name if roots is not None and len(roots) == 1 else None

    def nearest(self, text: str, limit: int = 3) -> list[str]:
        """The paths most like a text, best first; for messages."""
        return nearest_texts(text, self.frames.names, limit)

    def several(self, text: str) -> str:
        """Why an ambiguous id is so, and what to do: for messages."""
        names = self.nearest(text, NEAREST_CANDIDATES)
        near = [name for name in names if _fits(text, name)]
        if not near:  # its first part is a subset
            near = [name for name in names if _fits(text.partition("/")[2], name)]
        if len(near) > 1:
            two = " and ".join(f'"{shorten(name)}"' for name in near[:2])
            return f"fits several frames, such as {two}; write the folder or the extension with it"
        if not TextLookup(self._names).is_unique:
            name = f', all of them called "{shorten(near[0])}"' if near else ""
            return f"fits frames of several tasks{name}; an id means one of them all, so give the others another name"
        return "fits several frames; write the folder or the extension with it"

    # --- the steps ---

    def _by_path(
        self, ids: Ragged, asked: Positions, rows: Positions, several: Mask, named: Ragged | None = None
    ) -> None:
        """Steps 1 and 2 for the ids `asked`; `ids` has one row for each of them, and so has `named`, by which pictures
        are told, where that is something else."""
        whole = Cells.of(ids)
        stems = _without_tails(ids, whole)
        groups = self._stem_lookup.find(stems)
        first, count = self._whole(whole, groups)
        rows[asked[count == 1]] = first[count == 1]
        several[asked[count > 1]] = True
        left = np.flatnonzero(count == 0)
        if not len(left):
            return
        groups = groups[left]
        longer = np.flatnonzero(stems.stops[left] < whole.stops[left])
        if len(longer):
            groups[longer] = self._stem_lookup.find(whole.take(left[longer]))
        hit = groups >= 0
        single = self._stem_lookup.counts(groups) == 1
        rows[asked[left[single]]] = self._stem_lookup.firsts[groups[single]]
        for place in np.flatnonzero(hit & ~single).tolist():
            _, members = self._stem_lookup.members(groups[place : place + 1])
            text = (ids if named is None else named).row_bytes(int(left[place]))
            self._by_picture(text, members, int(asked[left[place]]), rows, several)

    def _without_subset(self, ids: Ragged, subsets: Texts | str | None, rows: Positions, several: Mask) -> None:
        """Step 3."""
        if subsets is None or subsets == "":
            return
        named = subsets if isinstance(subsets, Texts) else Texts.same(subsets, len(ids))
        open_rows = np.flatnonzero((rows < 0) & ~several)
        for code in distinct(named.codes[open_rows]).tolist():
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

    def _by_end(self, ids: Ragged, root: bytes | None, rows: Positions, several: Mask) -> Mask:
        """Step 4; the mask of ids that several frames end with."""
        needs_root = np.zeros(len(ids), dtype=np.bool_)
        if not self._has_folders:
            return needs_root
        for texts, asked, lookup, ends in self._with_ends(ids, np.flatnonzero((rows < 0) & ~several)):
            groups = lookup.find(texts)
            hit = groups >= 0
            asked, groups = asked[hit], groups[hit]
            single = lookup.sizes[groups] == 1
            rows[asked[single]] = ends.owners[lookup.firsts[groups[single]]]
            needs_root[asked[~single]] = True
            several[asked[~single]] = True
        crowded = np.flatnonzero(needs_root)
        if root is None or not len(crowded):
            return needs_root
        under, undecided = np.full(len(crowded), -1, dtype=np.int64), np.zeros(len(crowded), dtype=np.bool_)
        texts = ids.take(crowded)
        self._by_path(_below(root, texts), np.arange(len(crowded)), under, undecided, texts)
        rows[crowded] = under
        several[crowded] = under < 0
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
        if not self._compose or self._is_spelled_so:
            return None
        return FrameIndex(self.frames, self._pictures, as_spelled=True)

    def _by_picture(self, text: bytes, candidates: Positions, asked: int, rows: Positions, several: Mask) -> None:
        """Of frames that differ by their extension, the one whose extension the archive's own picture has."""
        extensions = self._extensions.get(text.decode("utf-8", "replace"), set())
        fitting = []
        for row in candidates.tolist():
            name = self._names.row_bytes(row)
            tail = name[len(name) - int(self.stems.tails[row]) :]
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

    def _with_ends(self, ids: Ragged, asked: Positions) -> Iterator[tuple[Ragged, Positions, TextLookup, Ends]]:
        """The ids `asked` by their number of slashes, which is that of the end of a path that equals them: their texts,
        which they are, and the ends to look in."""
        texts = ids.take(asked)
        slashes = np.bincount(_rows_of(texts.offsets, np.flatnonzero(texts.values == SLASH)), minlength=len(texts))
        for depth in distinct(slashes[slashes <= MOST_END_SLASHES]).tolist():
            places = np.flatnonzero(slashes == depth)
            if depth not in self._end_tables:
                ends = self._ends(depth)
                if len(self._end_tables) >= HELD_END_TABLES:
                    del self._end_tables[next(iter(self._end_tables))]
                self._end_tables[depth] = TextLookup(ends), ends
            yield texts.take(places), asked[places], *self._end_tables[depth]

    def _ends(self, depth: int) -> Ends:
        """The ends with so many slashes of all paths that have more, with and without extension."""
        owners, skips = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for part in steps(len(self._names)):
            names = self._names.slice(part.start, part.stop)
            slashes = np.flatnonzero(names.values == SLASH)
            counts = np.bincount(_rows_of(names.offsets, slashes), minlength=len(names))
            deep = np.flatnonzero(counts > depth)
            owners.append(deep + part.start)
            skips.append(slashes[np.cumsum(counts)[deep] - 1 - depth] + 1 - names.offsets[deep])
        rows, skip = np.concatenate(owners), np.concatenate(skips)
        shorter = np.flatnonzero(self.stems.tails[rows])
        rows, skip = np.concatenate([rows, rows[shorter]]), np.concatenate([skip, skip[shorter]])
        tails = self.stems.tails[rows]
        tails[: len(tails) - len(shorter)] = 0
        return Ends(self._names, narrow_numbers(rows), narrow_numbers(skip), tails)


def _below(folder: bytes, texts: Ragged) -> Ragged:
    """The texts as paths in a folder."""
    prefix = np.frombuffer(folder + b"/", dtype=np.uint8)
    lengths = texts.lengths + len(prefix)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = np.empty(int(offsets[-1]), dtype=np.uint8)
    values[offsets[:-1, np.newaxis] + np.arange(len(prefix))] = prefix
    more = len(prefix) * np.arange(1, len(texts) + 1, dtype=np.int64)
    values[np.arange(len(texts.values), dtype=np.int64) + np.repeat(more, texts.lengths)] = texts.values
    return Ragged(values, offsets)


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
        return names if values is names.values else Ragged(values, names.offsets)
    return Cells(values, starts + skip, stops).ragged()


def stem_stops(names: Ragged) -> Positions:
    """(N,) int64, the position in `names.values` where each path's last extension begins (its end where it has none).

    A dot at the start of the last component begins no extension.
    """
    dots = _last_places(names, DOT)
    if not (dots >= 0).any():
        return names.offsets[1:]
    slashes = _last_places(names, SLASH)
    begins = np.maximum(slashes + 1, names.offsets[:-1])
    return np.where(dots > begins, dots, names.offsets[1:])


def nearest_texts(text: str, names: Ragged, limit: int = 3) -> list[str]:
    """The names most like a text, best first: difflib among those that share most of their beginning and end. Blanks
    around the text, which nobody sees, count for nothing."""
    text = text.strip()
    asked = text.encode("utf-8", "replace")[:NEAREST_CHARACTERS]
    n = len(names)
    rows = np.arange(n if n <= NEAREST_CANDIDATES else 0)
    if n > NEAREST_CANDIDATES:
        best = [_most_alike(part, names, asked) for part in steps(n)]
        rows, scores = (np.concatenate([each[place] for each in best]) for place in (0, 1))
        if len(best) > 1:
            rows = rows[np.argpartition(-scores, NEAREST_CANDIDATES)[:NEAREST_CANDIDATES]]
        rows = np.sort(rows)
    candidates = dict.fromkeys(
        names.row_bytes(row).decode("utf-8", "replace")[:NEAREST_CHARACTERS] for row in rows.tolist()
    )
    folded = text[:NEAREST_CHARACTERS].casefold()
    same = [name for name in candidates if name.casefold() == folded or _tail(name) == _tail(folded)]
    close = difflib.get_close_matches(text[:NEAREST_CHARACTERS], candidates, limit, cutoff=0.6)
    return list(dict.fromkeys([*same, *close]))[:limit]


def _fits(text: str, name: str) -> bool:
    """Whether an id may mean the frame of this name by one of the steps that look at names."""
    asked, path = (unicodedata.normalize("NFC", one).replace("\\", "/") for one in (text, name))
    end = "/" + asked.removeprefix("./").lstrip("/")
    stem, dot, extension = f"/{path}".rpartition(".")
    return end != "/" and (f"/{path}".endswith(end) or (bool(dot) and "/" not in extension and stem.endswith(end)))


def _tail(name: str) -> str:
    """The last component without extension, in lower case."""
    return name.casefold().rpartition("/")[2].rpartition(".")[0] or name.casefold().rpartition("/")[2]


def _most_alike(part: slice, names: Ragged, text: bytes) -> tuple[Positions, Positions]:
    """The rows of a stretch of names that share most of their beginning and end with the text, and how much."""
    cells = Cells.of(names.slice(part.start, part.stop))
    score = _shared(cells, text, forward=True) + _shared(cells, text, forward=False)
    score = score * 4 - np.minimum(np.abs(cells.lengths - len(text)), 40)
    rows = np.arange(len(score), dtype=np.int64)
    if len(score) > NEAREST_CANDIDATES:
        rows = np.argpartition(-score, NEAREST_CANDIDATES)[:NEAREST_CANDIDATES]
    return rows + part.start, score[rows]


def _shared(names: Cells, text: bytes, *, forward: bool) -> Positions:
    """(N,) int64, how many bytes (up to 24) each name has in common with the text, from its start or its end."""
    shared = np.zeros(len(names), dtype=np.int64)
    lengths = names.lengths
    edges = names.starts if forward else names.stops - 1
    going = np.arange(len(names), dtype=np.int64)  # (K,) of those that have had all bytes in common so far
    for step in range(min(24, len(text))):
        going = going[lengths[going] > step]
        places = edges[going] + (step if forward else -step)
        going = going[names.buffer[places] == text[step if forward else -1 - step]]
        shared[going] += 1
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


def _without_tails(texts: Ragged, whole: Cells) -> Cells:
    """The texts (`whole`: as cells) without their last extension."""
    shift = whole.starts[:1] - texts.offsets[:1] if len(texts) else 0
    return Cells(whole.buffer, whole.starts, stem_stops(texts) + shift)


MOST_NARROW = 1 << 31


def _pieces(names: Ragged) -> Iterator[Ragged]:
    for part in steps(len(names)):
        yield names.slice(part.start, part.stop)


def _are_same(a: Ragged, b: Ragged) -> bool:
    return np.array_equal(a.values, b.values) and np.array_equal(a.offsets, b.offsets)


def _upper(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _hashes(rows: Rows) -> npt.NDArray[np.uint64]:
    hashes = np.empty(len(rows), dtype=np.uint64)
    for part in steps(len(rows)):
        cells = rows.cells(part)
        hashes[part] = hash_cells(cells.buffer, cells.starts, cells.stops)
    return hashes


def equal_rows(a: Cells, b: Cells) -> Mask:
    """(N,) whether each cell equals its counterpart, byte by byte."""
    return equal_cells(a.buffer, a.starts, a.stops, b.buffer, b.starts, b.stops)


def has_repeated_rows(rows: Rows) -> bool:
    """Whether a text may be there twice; False is certain."""
    hashes = _hashes(rows)
    hashes.sort()
    return bool((hashes[1:] == hashes[:-1]).any())


HASHES_AT_ONCE = 1 << 16


class TextSet:
    """Which texts were seen before, as 8 bytes a text: sorted arrays of hashes, merged as they grow."""

    def __init__(self) -> None:
        self._levels: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return sum(len(level) for level in self._levels)

    def has(self, texts: Ragged) -> Mask:
        """(N,) bool."""
        return self._have(_hashes(_Given(Cells.of(texts))))

    def _have(self, hashes: npt.NDArray[np.uint64]) -> Mask:
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
        hashes, first = np.unique(_hashes(_Given(Cells.of(texts.take(rows)))), return_index=True)
        new[rows[first]] = True
        self._levels.append(hashes)
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            # No hash is in two levels. Two sorted stretches are merged; numpy's own union makes a hash table of them.
            merged = np.concatenate([self._levels.pop(), self._levels.pop()])
            merged.sort(kind="stable")
            self._levels.append(merged)
        return new

    def count_missing(self, other: TextSet) -> int:
        """How many texts of this set the other does not hold."""
        parts = (
            level[at : at + HASHES_AT_ONCE] for level in self._levels for at in range(0, len(level), HASHES_AT_ONCE)
        )
        return sum(len(part) - int(other._have(part).sum()) for part in parts)
