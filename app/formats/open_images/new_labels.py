"""The labels that an archive needs and its target has not, for `labels=create`.

One pass over the columns that name images and labels: what is asked for is a label for each row of an image of the
target. A label is called as the class files call it, else as its rows do; it declares what the columns of its tables
say (`score`, `truncated`, `yes_votes` …), so that everything a row says can be seen and edited.

Source: Open Images reference 3.5 (labels), 3.7, 3.9 (attributes), 3.13 (`labels`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from app.annotations import Annotations, AttributeSpec, is_label_name
from app.archive import Archive
from app.errors import ImportProblems, Report
from app.formats.base import ImportOptions, NewLabel, Target
from app.formats.open_images.layout import FLAGS, LABEL_TYPE_OF, POINT_ATTRIBUTES, Kind, lay_out
from app.formats.open_images.read import read_classes, read_side_file, set_aside
from app.formats.open_images.read_images import ImageListReader
from app.formats.open_images.reading import Reading, TableState
from app.formats.open_images.side_read import SideFile
from app.formats.open_images.write_boxes import OCCLUDED
from app.formats.selection import parse_selection

_CHECKBOXES = {column: name for column, name in FLAGS.items() if column != OCCLUDED}  # that one is the shape's own flag
_SCORED = {"Confidence": "score", "Source": "source"}
_SHOWN: dict[Kind, dict[str, str]] = {
    "boxes": {**_CHECKBOXES, **_SCORED},
    "tags": _SCORED,
    "machine": _SCORED,
    "masks": {"BoxID": "box_id", "PredictedIoU": "predicted_iou"},
    "points": POINT_ATTRIBUTES,
}
"""Columns and the attributes that show them."""

Wanted = dict[str, tuple[str, ...]]
"""Names, and the attributes that each is to have."""


class _NoSink:
    """Takes everything and keeps nothing."""

    def write(self, batch: Annotations) -> None: ...

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        return 0, len(data), 0

    def extras(self, extras: dict[str, Any]) -> None: ...


def new_labels(archive: Archive, target: Target, options: ImportOptions) -> list[NewLabel]:
    """The labels to be made; see the module. What cannot be read is left for `read` to tell."""
    scratch = Report(limit=1)
    layout = lay_out(archive.names(), scratch)
    if scratch.n_errors:
        return []
    set_aside(layout, options)
    reading = Reading(archive, layout, target, options, _NoSink(), scratch, lambda done: None)
    wanted: Wanted = {}  # by LabelName
    beside: Wanted = {}  # by label name, what no row tells
    moving: Wanted = {}
    try:
        read_classes(reading)
        reading.match_labels()
        ImageListReader(reading).read()
        wanted_types = parse_selection(options).label_types
        kinds = [kind for kind in _SHOWN if not wanted_types or LABEL_TYPE_OF[kind] in wanted_types]
        for file in layout.of(*kinds):
            _see_table(reading, reading.open_table(file), wanted)
        read_side_file(reading)
        beside, moving = said_beside(reading.side)
    except (ImportProblems, ValueError, TypeError, KeyError, AttributeError):
        pass  # the real reading meets the same, and tells it
    return _made_of(reading, wanted, beside, moving)


def specs_beside(side: SideFile) -> dict[str, tuple[AttributeSpec, ...]]:
    """The labels of a side file, with an attribute for each that it says of them. Raises as `said_beside`."""
    found, moving = said_beside(side)
    return {
        name: tuple(replace(spec, mutable=spec.name in moving.get(name, ())) for spec in _specs(attributes))
        for name, attributes in found.items()
        if is_label_name(name)
    }


def said_beside(side: SideFile) -> tuple[Wanted, Wanted]:
    """What a side file says of labels: all attributes of each, and those of them that change along a track.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is damaged.
    """
    found: Wanted = {}
    moving: Wanted = {}
    for name, own, of_keys in side.labels():
        found[name] = _joined(found.get(name, ()), (*own, *of_keys))
        if of_keys:
            moving[name] = _joined(moving.get(name, ()), tuple(of_keys))
    return found, moving


def _see_table(reading: Reading, table: TableState, wanted: Wanted) -> None:
    """The LabelNames of the table's rows of images that the target has."""
    for block in reading.read_table(table):
        bad = np.zeros(len(block), dtype=np.bool_)
        frames, _ = reading.find_frames(table, block, bad)
        cells = block.cells(table.label_column)
        rows = np.flatnonzero((frames >= 0) & (cells.lengths > 0))
        shown = tuple(name for column, name in _SHOWN[table.file.kind].items() if block.has(column))
        codes = reading.labels.codes(cells.take(rows), table.path)
        _, first = np.unique(codes, return_index=True)
        for at in np.sort(first).tolist():
            word = reading.labels.name(int(codes[at]))
            wanted[word] = _joined(wanted.get(word, ()), shown)


def _made_of(reading: Reading, wanted: Wanted, beside: Wanted, moving: Wanted) -> list[NewLabel]:
    made: dict[str, NewLabel] = {}
    for word, attributes in wanted.items():
        if reading.labels.find(word) is None:
            name = _name_of(reading, word)
            if name is not None:
                _add(made, name, (word,), attributes)
    known = {label.name for label in reading.target.labels.labels}
    for name, attributes in beside.items():
        if name in made or (name not in known and is_label_name(name)):
            _add(made, name, (), attributes)
    for name in made.keys() & moving.keys():
        names = frozenset(moving[name])
        specs = tuple(replace(spec, mutable=spec.name in names) for spec in made[name].attributes)
        made[name] = replace(made[name], attributes=specs)
    return list(made.values())


def _add(made: dict[str, NewLabel], name: str, words: tuple[str, ...], attributes: tuple[str, ...]) -> None:
    before = made.get(name)
    if before is None:
        made[name] = NewLabel(name, words, _specs(attributes))
    else:
        names = _joined(tuple(spec.name for spec in before.attributes), attributes)
        made[name] = NewLabel(name, (*before.words, *words), _specs(names))


@lru_cache(256)
def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


@lru_cache(256)
def _specs(names: tuple[str, ...]) -> tuple[AttributeSpec, ...]:
    """Labels of one kind of row declare the same: one tuple for all of them."""
    return tuple(_spec(name) for name in names if is_label_name(name))


def _spec(name: str) -> AttributeSpec:
    if name in _CHECKBOXES.values():
        return AttributeSpec(0, name, False, "checkbox", "false", ("false",))
    return AttributeSpec(0, name, False, "text", "", ("",))


def _name_of(reading: Reading, word: str) -> str | None:
    """What the label of a LabelName is to be called; None where no label can be called so."""
    display = reading.classes.display_names.get(word, "")
    names = (reading.renaming.label(word, display), display, word)
    return next((name for name in names if name and is_label_name(name)), None)
