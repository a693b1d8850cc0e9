"""What an archive speaks of, before it is read against a task: images, their sizes, labels."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.annotations import AttributeSpec, TextLookup
from app.archive import Archive
from app.columns import CSVReader, NarrowRagged, Ragged, TextIndex, decode_runs, steps
from app.errors import Report
from app.formats.base import ImportOptions, Survey
from app.formats.open_images.class_words import MAX_COLUMNS, MAX_FIELD_BYTES
from app.formats.open_images.labels import ClassNames
from app.formats.open_images.layout import ALIASES, LABEL_COLUMNS, Layout, is_picture, lay_out
from app.formats.open_images.new_labels import specs_beside
from app.formats.open_images.read import set_aside
from app.formats.open_images.side_read import SideFile
from app.formats.open_images.sizes import read_sizes

FEW_NAMES = 1 << 16

Rows = npt.NDArray[np.int64]


def survey(archive: Archive, options: ImportOptions) -> Survey:
    """What images, sizes and labels the tables that would be read name; problems are left to `read`."""
    scratch = Report(limit=1)
    layout = lay_out(archive.names(), scratch)
    set_aside(layout, options)
    classes = ClassNames()
    for file in layout.class_files():
        classes.add_table(archive.blocks(archive.entry(file.path)), file.path, scratch, MAX_FIELD_BYTES, MAX_COLUMNS)
    images = _DistinctNames()
    labels: dict[str, None] = {}
    n_listed = 0
    lists, tables = layout.of("images"), layout.of("boxes", "tags", "machine", "masks", "points", "relationships")
    for number, file in enumerate([*lists, *tables]):
        if number == len(lists):
            n_listed = len(images.names())
        aliases = ALIASES.get(file.kind, {})
        reader = CSVReader(archive.blocks(archive.entry(file.path)), scratch, file.path, aliases=aliases)
        label_column = LABEL_COLUMNS.get(file.kind, ("LabelName",))[0]
        names = TextIndex()
        for block in reader:
            images.add(decode_runs(block.cells("ImageID")).texts)
            if file.kind not in ("images", "relationships"):  # relationships are kept whatever their labels
                names.codes(block.cells(label_column))
        labels |= dict.fromkeys(classes.display_names.get(name) or name for name in names.values if name)
    known = images.names()
    lookup = TextLookup(known)
    widths, heights = np.zeros((2, len(known)), dtype=np.int32)
    places = np.full(len(known), np.iinfo(np.int64).max, dtype=np.int64)  # in the sizes
    n_sizes = 0
    for file in layout.of("sizes"):
        for lines in read_sizes(archive.blocks(archive.entry(file.path)), file.path, scratch):
            groups = lookup.find(lines.ids)
            told = np.flatnonzero(groups >= 0)
            rows = lookup.firsts[groups[told]]
            widths[rows], heights[rows] = lines.widths[told], lines.heights[told]  # of an image's lines the last
            np.minimum.at(places, rows, n_sizes + told)
            n_sizes += len(lines.rows)
    known, firsts, others = _one_name_each(known, n_listed if n_listed else len(known))
    for sides in (widths, heights):
        sides[firsts] = np.where(sides[firsts] > 0, sides[firsts], sides[others])
    places[firsts] = np.minimum(places[firsts], places[others])
    rows = np.setdiff1d(np.arange(len(known), dtype=np.int64), others)
    rows = rows[np.argsort(places[rows], kind="stable")]  # an export has its sizes in the order of its frames
    beside = _beside(archive, layout)
    labels |= dict.fromkeys(beside)
    named = dict.fromkeys(name or mid for mid, name in classes.display_names.items())
    labels = dict.fromkeys(name for name in named if name in labels) | labels  # in the order of the class files
    return Survey(known.take(rows), widths[rows], heights[rows], list(labels), list(named), beside)


def _one_name_each(known: Ragged, n_listed: int) -> tuple[Ragged, Rows, Rows]:
    """Ids that rows have with the extension of a picture (`a.jpg`) and image lists without it, or the other way about,
    are one image. An image list has each image, so those that it has are different ones (`a`, of `a.png`, and `a.jpg`,
    of `a.jpg.png`).

    Args:
        n_listed: how many ids, from the first on, image lists have.

    Returns:
        The ids, with the extension for images that somewhere have it; (P,) the first row of each such image, and (P,)
        its other one.
    """
    none = np.zeros(0, dtype=np.int64)
    if n_listed >= len(known):
        return known, none, none
    texts = known.to_texts()
    row_of = {text: row for row, text in enumerate(texts)}
    named: dict[str, list[str]] = {}
    for text in texts:
        if is_picture(text):
            named.setdefault(posixpath.splitext(text)[0], []).append(text)
    pairs: list[list[int]] = []
    for stem, names in named.items():
        row = row_of.get(stem, -1)
        if len(names) == 1 and row >= 0 and (row < n_listed) != (row_of[names[0]] < n_listed):
            pairs.append(sorted((row, row_of[names[0]])))
            texts[pairs[-1][0]] = names[0]
    if not pairs:
        return known, none, none
    firsts, others = np.array(pairs, dtype=np.int64).T
    return Ragged.from_bytes([text.encode("utf-8") for text in texts]), firsts, others


def _beside(archive: Archive, layout: Layout) -> dict[str, tuple[AttributeSpec, ...]]:
    """The labels of the side file, and what it says of each beyond rows."""
    for file in layout.of("side"):
        entry = archive.entry(file.path)
        side = SideFile.unread()
        side.load(archive.blocks(entry), entry.size, file.path, Report(limit=1))
        try:
            return specs_beside(side)
        except (ValueError, TypeError, KeyError, AttributeError):
            break  # the real reading tells it
    return {}


class _DistinctNames:
    """Names that are not blank, each once, in the order of first mention."""

    def __init__(self) -> None:
        self._known: Ragged = Ragged.empty(np.uint8)
        self._more: list[Ragged] = []
        self._n_more = 0

    def add(self, names: Ragged) -> None:
        there = np.flatnonzero(names.lengths > 0)
        self._more.append(names if len(there) == len(names) else names.take(there))
        self._n_more += len(there)
        if self._n_more > max(FEW_NAMES, len(self._known)):
            self._settle()

    def names(self) -> Ragged:
        self._settle()
        return self._known

    def _settle(self) -> None:
        """Sort what came since with what was there; names come twice where tables name the same images."""
        every = NarrowRagged(self._parts())
        self._more, self._n_more = [], 0
        firsts = np.sort(TextLookup(every).firsts)
        self._known = every
        if len(firsts) < len(every):
            self._known = NarrowRagged(every.take(firsts[part]) for part in steps(len(firsts)))

    def _parts(self) -> Iterator[Ragged]:
        for some in [self._known, *self._more]:
            yield from some.pieces()
