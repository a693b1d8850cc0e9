"""What an archive speaks of, before it is read against a task: images, their sizes, labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.annotations import TextLookup
from app.archive import Archive
from app.columns import CSVReader, NarrowRagged, Ragged, TextIndex, decode_runs, steps
from app.errors import Report
from app.formats.base import ImportOptions, Survey
from app.formats.open_images.class_words import MAX_COLUMNS, MAX_FIELD_BYTES
from app.formats.open_images.labels import ClassNames
from app.formats.open_images.layout import ALIASES, LABEL_COLUMNS, lay_out
from app.formats.open_images.read import set_aside
from app.formats.open_images.sizes import read_sizes

FEW_NAMES = 1 << 16


def survey(archive: Archive, options: ImportOptions) -> Survey:
    """What images, sizes and labels the tables that would be read name; problems are left to `read`."""
    scratch = Report(limit=1)
    layout = lay_out(archive.names(), scratch)
    set_aside(layout, options)
    classes = ClassNames()
    for file in layout.of("classes"):
        classes.add_table(archive.blocks(archive.entry(file.path)), file.path, scratch, MAX_FIELD_BYTES, MAX_COLUMNS)
    images = _DistinctNames()
    labels: dict[str, None] = {}
    for file in layout.of("images", "boxes", "tags", "machine", "masks", "points", "relationships"):
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
    for file in layout.of("sizes"):
        for lines in read_sizes(archive.blocks(archive.entry(file.path)), file.path, scratch):
            groups = lookup.find(lines.ids)
            told = np.flatnonzero(groups >= 0)
            rows = lookup.firsts[groups[told]]
            widths[rows], heights[rows] = lines.widths[told], lines.heights[told]  # of an image's lines the last
    return Survey(known, widths, heights, list(labels))


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
