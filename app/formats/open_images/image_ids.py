"""The image id of every frame of an export, each only once: in millions, and mostly a part of the frame's own name.

    kind of each frame   STEM   its name without the last extension
                         PATH   its whole name
                         OTHER  a text of its own: what an import called it, or a name with a number

Ids lie in the names that the frames have anyway; a byte a frame tells which part. What imports called their images is
read in pieces and compared with that, so only what differs is looked up, and held.

Source: Open Images reference 4.2.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import FrameIndex, FrameTable, Images, TextLookup, equal_rows, has_repeated_rows, normalise_names
from app.columns import Cells, Indices, NarrowRagged, Ragged, Texts, steps
from app.errors import Problem, Report

STEM, PATH, OTHER = 0, 1, 2  # `any()` tells those that are no stems

Kinds = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Part = tuple[Rows, Ragged, Texts]


class ImageIds:
    """(N,) bytes, the id of each frame.

    Args:
        kinds: (N,) of each frame.
        rows, texts: frames with a text of their own, ascending, and those texts.
        numbered: frames whose name another frame has, too, so that theirs bears a number.
    """

    def __init__(
        self, index: FrameIndex, kinds: Kinds, rows: Rows, texts: Ragged, numbered: frozenset[int] = frozenset()
    ) -> None:
        self.numbered = numbered
        self._stems, self._paths = index.stems, NarrowRagged.of(index.frames.names)
        self.kinds, self._rows, self._texts = kinds, rows, texts
        # Where names are compared as they are, stems and paths lie in one buffer.
        self.is_one_buffer = self._paths is index.names

    def __len__(self) -> int:
        return len(self.kinds)

    def cells(self, rows: Indices | slice) -> Cells:
        kinds = self.kinds[rows]
        if self.is_one_buffer and (not len(self._rows) or not (kinds == OTHER).any()):
            paths = self._paths.cells(rows)
            return Cells(paths.buffer, paths.starts, paths.stops - np.where(kinds == STEM, self._stems.tails[rows], 0))
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)), dtype=np.int64)
        places = [np.flatnonzero(kinds == kind) for kind in (STEM, PATH, OTHER)]
        parts = [
            self._stems.cells(rows[places[STEM]]).ragged(),
            self._paths.cells(rows[places[PATH]]).ragged(),
            self._texts.take(np.searchsorted(self._rows, rows[places[OTHER]])),
        ]
        order = np.empty(len(kinds), dtype=np.int64)
        order[np.concatenate(places)] = np.arange(len(kinds), dtype=np.int64)
        return Cells.of(Ragged.concatenate(parts)).take(order)

    def take(self, rows: Indices) -> Ragged:
        return self.cells(rows).ragged()

    def row_bytes(self, row: int) -> bytes:
        kind = int(self.kinds[row])
        if kind == OTHER:
            return self._texts.row_bytes(int(np.searchsorted(self._rows, row)))
        column = self._stems if kind == STEM else self._paths
        return column.cells(slice(row, row + 1)).row_bytes(0)

    def to_texts(self) -> list[str]:
        return [text for part in steps(len(self)) for text in self.cells(part).ragged().to_texts()]


class Ids:
    """The ids of a target's frames, settled when somebody first asks: the first member of an export has begun by then.

    Args:
        images: a pass over the frames that archives named; of one frame the newest import comes last.
        flat: ids without a folder where those still mean their frame.
    """

    def __init__(self, frames: FrameTable, images: Callable[[], Iterator[Images]], flat: bool, report: Report) -> None:
        self._frames, self._images, self._flat, self._report = frames, images, flat, report
        self._n_other_names = self._n_paths = 0

    @cached_property
    def index(self) -> FrameIndex:
        return FrameIndex(self._frames)

    def _parts(self) -> Iterator[Part]:
        for images in self._images():
            for part in steps(len(images)):
                frames = images.frames[part].astype(np.int64) - self._frames.start
                names = images.names.slice(part.start, part.stop)
                yield frames, names, images.subsets.slice(part.start, part.stop)

    def _own(self, rows: Rows, names: Ragged) -> tuple[Mask, Mask]:
        """(K,) names that certainly mean their frame: its stem, or its path."""
        asked = Cells.of(normalise_names(names))
        is_stem = equal_rows(asked, self.index.stems.cells(rows))
        if is_stem.all():
            is_path = is_stem & (self.index.stems.tails[rows] == 0)
        else:
            is_path = equal_rows(asked, self.index.names.cells(rows))
        if not self.index.is_plain:
            is_path[:] = False
        return is_stem & self.index.stem_is_unique[rows], is_path

    @cached_property
    def root(self) -> bytes | None:
        """The folder that imported ids lie under, as `FrameIndex.find_root` tells it."""

        def others() -> Iterator[tuple[Ragged, Texts]]:
            for rows, names, told in self._parts():
                is_stem, is_path = self._own(rows, names)
                self._n_paths += int((is_path & ~is_stem).sum())
                self._n_other_names += _count_respelled(names)
                rest = np.flatnonzero(~is_stem & ~is_path)
                if len(rest):
                    self._n_other_names += len(rest)
                    yield names.take(rest), told.take(rest)

        return self.index.find_root(others())

    @cached_property
    def ids(self) -> ImageIds:
        """The imported id that still means this frame (the newest import's), the stem, or the whole path."""
        root = self.root
        kinds: Kinds = np.where(self.index.stem_is_unique, np.uint8(STEM), np.uint8(PATH))
        told: list[tuple[Rows, Ragged]] = []
        if self._n_other_names or self._n_paths or not self.index.is_plain:
            told = [self._take_names(part, root, kinds) for part in self._parts()]
        ids = _joined(self.index, kinds, told)
        if self._flat:
            ids = _flat(self.index, ids, self._report)
        if self.index.is_plain and ids.is_one_buffer and not (ids.kinds == OTHER).any():
            return ids
        if not has_repeated_rows(ids):
            return ids
        lookup = TextLookup(ids)
        _, members = lookup.members(np.flatnonzero(lookup.sizes > 1))
        if not len(members):
            return ids
        ids.kinds[members] = PATH
        return _unique(self.index, ids)

    def _take_names(self, part: Part, root: bytes | None, kinds: Kinds) -> tuple[Rows, Ragged]:
        """Note the kind of each frame whose imported id still means it. Those with a text of their own, and those."""
        rows, names, told = part
        is_stem, is_path = self._own(rows, names)
        still = is_stem | is_path
        rest = np.flatnonzero(~still)
        if len(rest):
            frames = self.index.match(names.take(rest), told.take(rest), root).frames
            still[rest] = frames.astype(np.int64) - self._frames.start == rows[rest]
        places = np.flatnonzero(still)
        asked = Cells.of(names).take(places)
        said = np.full(len(places), OTHER, dtype=np.uint8)
        said[equal_rows(asked, NarrowRagged.of(self._frames.names).cells(rows[places]))] = PATH
        said[equal_rows(asked, self.index.stems.cells(rows[places]))] = STEM
        kinds[rows[places]] = said
        other = places[said == OTHER]
        return rows[other], names.take(other)


def _count_respelled(names: Ragged) -> int:
    """How many are spelled in another way than names are compared in: such a one is kept as it came."""
    normal = normalise_names(names)
    return 0 if normal is names else int((~equal_rows(Cells.of(names), Cells.of(normal))).sum())


def _joined(index: FrameIndex, kinds: Kinds, told: list[tuple[Rows, Ragged]]) -> ImageIds:
    """The ids, where of the texts of one frame the last counts."""
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(part[0] for part in told)])
    texts = NarrowRagged(part[1] for part in told)
    stays = kinds[rows] == OTHER
    stays[:-1] &= rows[1:] != rows[:-1]  # a frame's names follow each other
    if not stays.all():
        rows, texts = rows[stays], NarrowRagged.of(texts.take(np.flatnonzero(stays)))
    return ImageIds(index, kinds, rows, texts)


def _flat(index: FrameIndex, ids: ImageIds, report: Report) -> ImageIds:
    """Ids without folders, where that says enough."""
    deep, told = 0, []
    kinds = ids.kinds.copy()
    for part in steps(len(ids)):
        texts = ids.cells(part).ragged()
        rows = np.arange(part.start, part.stop, dtype=np.int64)
        if (texts.values == ord("/")).any():
            shorter = Ragged.from_bytes([text.rpartition(b"/")[2] for text in texts.to_bytes_list()])
            means = index.match(shorter).frames.astype(np.int64) - index.frames.start == rows
            cut = shorter.lengths < texts.lengths
            deep += int((cut & ~means).sum())
            kinds[rows[cut & means]] = OTHER
            chosen = rows - part.start + np.where(cut & means, len(texts), 0)
            texts = Ragged.concatenate([texts, shorter]).take(chosen)
        other = np.flatnonzero(kinds[part] == OTHER)
        told.append((rows[other], texts.take(other)))
    if deep:
        message = f"{deep} images lie in folders and share their file name; FiftyOne finds pictures of one folder only"
        report.add_many([Problem("export.unsupported", message, "warning")], deep)
    return _joined(index, kinds, told)


def _unique(index: FrameIndex, ids: ImageIds) -> ImageIds:
    """Frames of one path can only be those of several tasks of a project: all but the first get a number, in front of
    the extension. Like all ids, theirs have the extension only where frames differ by nothing else: two `x.png` are `x`
    and `x_2`."""
    lookup = TextLookup(ids)
    _, members = lookup.members(np.flatnonzero(lookup.sizes > 1))
    if not len(members):
        return ids
    texts = ids.to_texts()
    alike: dict[str, list[int]] = {}  # the frames of each path that several have
    for row in np.sort(members).tolist():
        alike.setdefault(texts[row], []).append(row)
    # Ids, and what may be taken for them: other frames' names with and without extension.
    taken: Counter[str] = Counter()
    for text in dict.fromkeys(texts):
        taken.update({text, posixpath.splitext(text)[0]})
    changed: dict[int, str] = {}
    numbered = frozenset(row for rows in alike.values() for row in rows[1:])
    for path, (first, *others) in alike.items():
        stem, extension = posixpath.splitext(path)
        changed[first] = stem if taken[stem] == 1 else path
        number = 2
        for row in others:
            while taken[f"{stem}_{number}"] or taken[f"{stem}_{number}{extension}"]:
                number += 1
            changed[row] = f"{stem}_{number}"
            number += 1
        taken.update(changed[row] for row in others)
    kinds = ids.kinds.copy()
    kinds[list(changed)] = OTHER
    rows = np.flatnonzero(kinds == OTHER)
    own = Ragged.from_bytes([changed.get(row, texts[row]).encode("utf-8") for row in rows.tolist()])
    return ImageIds(index, kinds, rows, own, numbered)
