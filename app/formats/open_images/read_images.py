"""Image lists: which images there are, in which subset, and what else is said of them.

Source: Open Images reference 3.3 (ids), 3.4 (subset, repeats), 1.3 (columns).
"""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Images, Kept, TextLookup, equal_rows, normalise_names
from app.columns import Cells, CSVBlock, Ragged, TextIndex, Texts, decode_runs
from app.errors import Problem, shorten
from app.formats.open_images.layout import DEFAULT_SUBSET
from app.formats.open_images.listed_before import ListedBefore, content_hashes
from app.formats.open_images.names import is_plain_name
from app.formats.open_images.reading import WARNINGS_LISTED, Ints, Mask, Reading, TableState

_PICTURE_FOLDER = re.compile(r"(?:^|/)images/([^/]+)/(.+)$", re.IGNORECASE)

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class ImageListReader:
    """Reads all image lists first, and says what is left to say about images when every table has been read."""

    def __init__(self, reading: Reading) -> None:
        n_frames = len(reading.target.frames)
        self._reading = reading
        self._content: Hashes = np.zeros(n_frames, dtype=np.uint64)  # of the row that stands for an image
        self._is_written: Mask = np.zeros(n_frames, dtype=np.bool_)
        self._before: ListedBefore  # read with the lists
        self._tables: list[TableState] = []
        self._waiting: list[TableState] = []  # tables with rows whose subset only annotation tables can tell

    def read(self) -> None:
        """Every image list: subsets are claimed, one row an image is written."""
        self._before = ListedBefore(self._reading.target)
        for file in self._reading.layout.of("images"):
            table = self._reading.open_table(file)
            self._tables.append(table)
            in_this_table = np.zeros(len(self._reading.target.frames), dtype=np.bool_)
            for block in self._reading.read_table(table):
                self._read_block(table, block, in_this_table)
                del block

    def finish(self) -> None:
        """When all annotation tables were read: ids that only a list has, rows that waited, images without a row."""
        self._tell_unmatched()
        for table in self._waiting:
            for block in self._reading.read_again(table):
                self._write_waiting(table, block)
        for frames, ids in self._reading.named_images():
            subsets = self._subsets_of(frames, ids)
            self._tell_moved(frames, ids, subsets)
            self._reading.write(Annotations(images=Images(frames, ids, subsets, Kept.empty(len(frames)))))

    def _read_block(self, table: TableState, block: CSVBlock, in_this_table: Mask) -> None:
        reading = self._reading
        bad = np.zeros(len(block), dtype=np.bool_)
        names = _subset_names(block, table)
        self._check_subsets(table, block, names, bad)
        frames, ids = reading.find_frames(table, block, bad, names)
        codes = np.where(bad, np.int32(-1), reading.subset_codes(names))
        reading.claim(table, block.rows, frames, codes, bad)
        good = np.flatnonzero(~bad)  # (G,)
        at = frames[good] - reading.target.frames.start
        content = content_hashes(block)[good]
        first = np.zeros(len(good), dtype=np.bool_)
        first[np.unique(at, return_index=True)[1]] = True
        new = first & ~reading.is_listed[at]
        self._content[at[new]] = content[new]
        # The same image in another list, in the same words: two names of one list.
        again = ~new & first & ~in_this_table[at] & (self._content[at] == content)
        in_this_table[at] = True
        reading.is_listed[at] = True
        repeated = np.zeros(len(block), dtype=np.bool_)
        repeated[good[~new & ~again]] = True
        message = "this image has a row already; the first one is taken"
        reading.tell(table, "warning", "image.duplicate", block.rows, repeated, "ImageID", message, ids)
        other = np.zeros(len(block), dtype=np.bool_)
        other[good[new & self._before.differs(at.astype(np.int64), content)]] = True
        message = "a list of an earlier import says something else of this image; exports have this row in its place"
        reading.tell(table, "warning", "image.replaced", block.rows, other, "ImageID", message, ids)
        count = reading.report.table(table.path)
        count.kept += int((new | again).sum())
        count.dropped += len(block) - int((new | again).sum())
        reading.n_kept_rows += int(new.sum())
        chosen = good[new]
        told = reading.subset_of[frames[chosen] - reading.target.frames.start] >= 0
        if not told.all() and table not in self._waiting:
            self._waiting.append(table)
        self._write(table, block, frames, ids, chosen[told])

    def _write_waiting(self, table: TableState, block: CSVBlock) -> None:
        """Rows of a list that had no subset; it is known by now, or will be `default`."""
        ids = block.cells("ImageID")
        names = _subset_names(block, table)
        frames = self._reading.index.match(ids.ragged(), names, table.root).frames
        open_rows = np.flatnonzero(frames >= 0)
        at = frames[open_rows] - self._reading.target.frames.start
        open_rows = open_rows[~self._is_written[at]]
        first = np.unique(frames[open_rows], return_index=True)[1]
        self._write(table, block, frames, ids, np.sort(open_rows[first]))

    def _write(self, table: TableState, block: CSVBlock, frames: Ints, ids: Cells, chosen: Positions) -> None:
        if not len(chosen):
            return
        self._is_written[frames[chosen] - self._reading.target.frames.start] = True
        names = ids.take(chosen).ragged()
        kept = self._reading.kept(table.number, block.lines.take(chosen))
        subsets = self._subsets_of(frames[chosen], names)
        at = frames[chosen].astype(np.int64) - self._reading.target.frames.start
        moved = np.zeros(len(block), dtype=np.bool_)
        moved[chosen[self._before.is_moved(at, subsets)]] = True
        self._reading.tell(
            table,
            "warning",
            "image.replaced",
            block.rows,
            moved,
            "Subset",
            lambda place: self._moved_words(int(frames[place]), subsets.row(int(np.searchsorted(chosen, place)))),
            ids,
        )
        self._reading.see_lines(table, lambda: _tell_subsets(block.cells("Subset").take(chosen), subsets))
        self._reading.write(Annotations(images=Images(frames[chosen], names, subsets, kept)))

    def _moved_words(self, frame: int, subset: str) -> str:
        before = self._before.subsets(np.array([frame - self._reading.target.frames.start], dtype=np.int64))[0]
        return f'an earlier import had this image in "{shorten(before)}"; it is in "{shorten(subset)}" from now on'

    def _tell_moved(self, frames: Ints, ids: Ragged, subsets: Texts) -> None:
        """Images without a row of a list, of which files of another subset speak now."""
        at = frames.astype(np.int64) - self._reading.target.frames.start
        moved = np.flatnonzero(self._before.is_moved(at, subsets))
        if not len(moved):
            return
        problems = [
            Problem(
                "image.replaced",
                self._moved_words(int(frames[row]), subsets.row(row)),
                "warning",
                column="ImageID",
                value=shorten(ids.row_bytes(row).decode("utf-8")),
            )
            for row in moved[:WARNINGS_LISTED].tolist()
        ]
        self._reading.report.add_many(problems, len(moved))

    def _check_subsets(self, table: TableState, block: CSVBlock, names: Texts, bad: Mask) -> None:
        unusable = np.array([bool(name) and not is_plain_name(name) for name in names.values], dtype=np.bool_)
        wrong = unusable[names.codes]
        self._reading.tell(
            table,
            "error",
            "image.bad_subset",
            block.rows,
            wrong,
            "Subset",
            lambda place: f'"{shorten(names.row(place))}" cannot be the name of a folder; rename it',
            block.cells("Subset"),
        )
        bad |= wrong

    def _tell_unmatched(self) -> None:
        reading = self._reading
        left = reading.unlisted_unmatched.count_missing(reading.unmatched)
        for table in self._tables if left else ():
            for block in reading.read_again(table):
                runs = decode_runs(block.cells("ImageID"))
                asked = np.flatnonzero(reading.unlisted_unmatched.has(runs.texts))
                new = asked[reading.unmatched.add(runs.texts.take(asked))]
                reading.tell_unmatched(table, runs.texts, new, block.rows[runs.starts])
                left -= len(new)
                if left <= 0:
                    return

    def _subsets_of(self, frames: Ints, ids: Ragged) -> Texts:
        """The subset of each image: told by a row, else the folder of its picture or mask, else an earlier import
        that stays, else `default`."""
        reading = self._reading
        at = frames - reading.target.frames.start
        codes = reading.subset_of[at]  # a copy
        silent = np.flatnonzero(codes < 0)
        if len(silent):
            codes[silent] = self._folder_codes(ids.take(silent))
            codes = np.where(codes >= 0, codes, reading.weak_subset_of[at])
            codes = np.where(codes >= 0, codes, self._before.codes(at.astype(np.int64), reading.subsets))
            codes = np.where(codes >= 0, codes, np.int32(reading.subset_code(DEFAULT_SUBSET)))
        return reading.subsets.texts(codes)

    def _folder_codes(self, ids: Ragged) -> Ints:
        """The subset folder of the archive's own picture of each image, -1 where it has none."""
        lookup, codes = self._picture_folders
        groups = lookup.find(normalise_names(ids))
        found = np.full(len(ids), -1, dtype=np.int32)
        found[groups >= 0] = codes[lookup.firsts[groups[groups >= 0]]]
        return found

    @cached_property
    def _picture_folders(self) -> tuple[TextLookup, Ints]:
        """Pictures below `images/<subset>/`, with and without extension, and the code of the subset of each."""
        names, codes = [], []
        for path in self._reading.layout.pictures:
            match = _PICTURE_FOLDER.search(path)
            if match is not None:
                code = self._reading.subset_code(match[1])
                names += [match[2], match[2].rpartition(".")[0]]
                codes += [code, code]
        texts = Ragged.from_bytes([name.encode() for name in names])
        return TextLookup(texts), np.array(codes, dtype=np.int32)


def _subset_names(block: CSVBlock, table: TableState) -> Texts:
    """The subset each row tells, else the one the table's name tells, else ""."""
    index = TextIndex()
    codes = index.codes(block.cells("Subset"))
    return Texts.from_list([name or table.subset or "" for name in index.values]).take(codes)


def _tell_subsets(cells: Cells, subsets: Texts) -> bool:
    """Whether each cell is the subset of its row."""
    told = Cells.of(Ragged.from_bytes([value.encode("utf-8") for value in subsets.values])).take(subsets.codes)
    return bool(equal_rows(cells, told).all())
