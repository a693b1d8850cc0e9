"""Tables that their names do not tell: their columns do.

    boxes.csv: ImageID,LabelName,XMin,XMax,YMin,YMax    →  train-annotations-bbox.csv, did somebody call it so

Such a file is kept like any other. Its rows are not read, and who sent it must hear so: what is in the task instead of
them may be replaced by nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from app.archive import Archive
from app.errors import ImportProblems
from app.formats.base import NAMES_TRIED
from app.formats.open_images.layout import REQUIRED, TABLE_NAMES, Kind, is_unknown, proposed_name

HEADER_BYTES = 1 << 14
"""Longer headers are no table's."""
_COLUMNS: dict[Kind, tuple[str, ...]] = {
    **{kind: REQUIRED[kind] for kind in ("masks", "relationships", "points", "boxes")},
    "tags": (*REQUIRED["tags"], "Confidence"),  # image and label alone are named by many a table
}


def unnamed_tables(archive: Archive, paths: Sequence[str]) -> dict[str, str]:
    """Files with the columns of a table, and the names that they should have."""
    found = {}
    for path in [path for path in paths if path.lower().endswith((".csv", ".txt")) and is_unknown(path)][:NAMES_TRIED]:
        kind = _kind_of(_header(archive, path))
        if kind is not None:
            found[path] = proposed_name(path, TABLE_NAMES[kind])
    return found


def _header(archive: Archive, path: str) -> set[str]:
    """The names of the columns, in lower case; none where it is no CSV."""
    try:
        start = next(archive.blocks(archive.entry(path), HEADER_BYTES), b"")
    except ImportProblems:
        return set()  # told when it is kept
    line = start.decode("utf-8-sig", "replace").splitlines()[:1]
    try:
        names = next(csv.reader(line), [])
    except csv.Error:
        return set()
    return {name.strip().casefold() for name in names}


def _kind_of(header: set[str]) -> Kind | None:
    return next(
        (kind for kind, columns in _COLUMNS.items() if all(name.casefold() in header for name in columns)), None
    )
