"""The pictures of an archive, and the subset each belongs to: a project's tasks are made of them.

    images/train/a.jpg         frame a.jpg of subset train
    train/data/a.jpg           likewise (FiftyOne)
    images/a.jpg, data/a.jpg   the subset that a table tells of image a, else `default`

A folder below `images/` is a subset, unless tables name subsets and it is none of them: then it is part of the name.
`val` is `validation` where tables say so.

Source: Open Images reference 2.5 (places of pictures), 3.4 (subsets).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from app.archive import Archive
from app.columns import CSVReader, TextIndex, decode_runs
from app.errors import Report
from app.formats.base import ArchivePicture
from app.formats.open_images.layout import DEFAULT_SUBSET, VAL, VALIDATION, Layout, lay_out

_IN_IMAGES = re.compile(r"(?:^|/)images/(?:(?P<subset>[^/]+)/)?(?P<name>.+)$", re.IGNORECASE)
_IN_DATA = re.compile(r"(?:^|/|(?:^|/)(?P<subset>[^/]+)/)data/(?P<name>.+)$", re.IGNORECASE)


def pictures(archive: Archive) -> list[ArchivePicture]:
    """All pictures, sorted by subset and name; masks are none. Problems of the tables are left to `read`."""
    layout = lay_out(archive.names(), Report(limit=1))
    told = _told_subsets(archive, layout)
    known = set(told.values()) | {table.subset for table in layout.tables if table.subset}
    found = [_placed(path, layout.root, told, known) for path in layout.pictures]
    if VALIDATION in known:
        found = [replace(picture, subset=VALIDATION) if picture.subset == VAL else picture for picture in found]
    return sorted(found, key=lambda picture: (picture.subset, picture.name))


def _told_subsets(archive: Archive, layout: Layout) -> dict[str, str]:
    """The subset of each image id that a table names: by its row, else by the table's name; the first one counts."""
    told: dict[str, str] = {}
    for file in layout.of("images", "boxes", "tags", "masks", "points", "relationships", "machine"):
        reader = CSVReader(archive.blocks(archive.entry(file.path)), Report(limit=1), file.path)
        for block in reader:
            ids = block.cells("ImageID")
            index = TextIndex()
            codes = index.codes(block.cells("Subset"))
            for code, value in enumerate(index.values):
                subset = value or file.subset or ""
                if subset:
                    for name in decode_runs(ids.take((codes == code).nonzero()[0])).texts.to_texts():
                        told.setdefault(name, subset)
    return told


def _placed(path: str, root: str, told: Mapping[str, str], known: set[str]) -> ArchivePicture:
    subset, _, inner = path.removeprefix(root).partition("/")
    if subset in known and told.get(inner.rpartition(".")[0]) == subset:  # folders of its name are called like ours
        return ArchivePicture(path, inner, subset)
    match = _IN_IMAGES.search(path) or _IN_DATA.search(path)
    if match is None:
        name = path.removeprefix(root)
        return ArchivePicture(path, name, _of_id(name, told))
    folder, name = match["subset"], match["name"]
    in_images = match.re is _IN_IMAGES
    if folder is not None and (folder in known or (in_images and not known)):
        return ArchivePicture(path, name, folder)
    if folder is not None and in_images:
        whole = f"{folder}/{name}"
        if _is_told(whole, told) or not _is_told(name, told):
            name = whole
    return ArchivePicture(path, name, _of_id(name, told))


def _is_told(name: str, told: Mapping[str, str]) -> bool:
    return name in told or name.rpartition(".")[0] in told


def _of_id(name: str, told: Mapping[str, str]) -> str:
    """The subset of the image of this name, with or without its extension and folders."""
    base = name.rpartition("/")[2]
    for text in (name, name.rpartition(".")[0], base, base.rpartition(".")[0]):
        if text in told:
            return told[text]
    return DEFAULT_SUBSET
