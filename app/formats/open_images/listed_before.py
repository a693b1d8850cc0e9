"""What the rows of earlier imports say of images: an appended import stands beside them, and an export has one row for
each image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.annotations import Images
from app.columns import Cells, CSVBlock, Ragged, TextIndex, Texts, hash_cells, split_lines
from app.formats.base import Target
from app.formats.open_images.extras import Extras
from app.formats.open_images.plan import tables_of

_KEYS = ("imageid", "subset")

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


class ListedBefore:
    """By frame: what the newest row of an image list said, and the subset. Nothing where an import replaces all."""

    def __init__(self, target: Target) -> None:
        self._start, n = target.frames.start, len(target.frames) if target.listed is not None else 0
        self._names = TextIndex()
        self._content: Hashes = np.zeros(n, dtype=np.uint64)
        self._is_kept: Mask = np.zeros(n, dtype=np.bool_)
        self._subsets: Ints = np.full(n, -1, dtype=np.int32)
        documents = {set_id: Extras.from_dict(document) for set_id, document in target.earlier.items()}
        for images in target.listed() if target.listed is not None else ():
            rows = images.frames.astype(np.int64) - self._start
            self._see(images.take((rows >= 0) & (rows < n)), documents)

    def _see(self, images: Images, documents: dict[int, Extras]) -> None:
        at = images.frames.astype(np.int64) - self._start
        names = Cells.of(Ragged.from_bytes([name.encode() for name in images.subsets.values]))
        self._subsets[at] = self._names.codes(names)[images.subsets.codes]
        for set_id, number, rows in tables_of(images.kept):  # the newest set comes last
            block = split_lines(images.kept.lines.take(rows), documents[set_id].tables[number].columns)
            self._content[at[rows]] = content_hashes(block)
            self._is_kept[at[rows]] = True

    def __bool__(self) -> bool:
        return len(self._names.values) > 0

    def differs(self, at: Rows, content: Hashes) -> Mask:
        """(N,) bool: an earlier list says something else of the image beside its subset."""
        if not self:
            return np.zeros(len(at), dtype=np.bool_)
        other: Mask = self._is_kept[at] & (self._content[at] != content)
        return other

    def subsets(self, at: Rows) -> list[str]:
        """The subset of each, "" where nothing is known."""
        return [self._names.values[code] if code >= 0 else "" for code in self._subsets[at].tolist()] if self else []

    def is_moved(self, at: Rows, subsets: Texts) -> Mask:
        """(N,) bool: an earlier import had the image in another subset."""
        if not self:
            return np.zeros(len(at), dtype=np.bool_)
        known = {name: code for code, name in enumerate(self._names.values)}
        codes = np.array([known.get(name, -2) for name in subsets.values], dtype=np.int32)[subsets.codes]
        moved: Mask = (self._subsets[at] >= 0) & (self._subsets[at] != codes)
        return moved

    def codes(self, at: Rows, index: TextIndex) -> Ints:
        """(N,) the subsets as codes of another index, -1 where nothing is known."""
        found = np.full(len(at), -1, dtype=np.int32)
        if self:
            for code in np.unique(self._subsets[at]).tolist():
                if code >= 0:
                    name = Cells.of(Ragged.from_bytes([self._names.values[code].encode()]))
                    found[self._subsets[at] == code] = index.codes(name)[0]
        return found


def content_hashes(block: CSVBlock) -> Hashes:
    """(N,) uint64, of what a row says beside its id and subset, whatever the order of the columns."""
    total = np.zeros(len(block), dtype=np.uint64)
    for place, name in enumerate(block.columns):
        if name.casefold() in _KEYS:
            continue
        key = Cells.of(Ragged.from_bytes([name.casefold().encode()]))
        factor = hash_cells(key.buffer, key.starts, key.stops) | np.uint64(1)  # (1,)
        cells = block.cells_at(place)
        hashes = hash_cells(cells.buffer, cells.starts, cells.stops) * factor
        total += np.where(cells.lengths > 0, hashes, np.uint64(0))
    return total
