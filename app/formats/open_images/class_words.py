"""What words of an archive mean a task's labels, for selections by class.

Source: Open Images reference 3.5 (labels), 8.3.
"""

from __future__ import annotations

from app.annotations import LabelCatalog
from app.archive import Archive
from app.errors import Report
from app.formats.base import ClassWords
from app.formats.open_images.hierarchy import MAX_BYTES, read_hierarchy
from app.formats.open_images.labels import ClassNames
from app.formats.open_images.layout import lay_out

MAX_FIELD_BYTES, MAX_COLUMNS = 16 << 20, 256


def find_words(archive: Archive, labels: LabelCatalog) -> ClassWords:
    """The class names and the hierarchy of an archive; problems are left to `read`."""
    scratch = Report(limit=1)
    layout = lay_out(archive.names(), scratch)
    classes = ClassNames()
    for file in layout.class_files():
        classes.add_table(archive.blocks(archive.entry(file.path)), file.path, scratch, MAX_FIELD_BYTES, MAX_COLUMNS)
    hierarchy = None
    for file in layout.of("hierarchy"):
        entry = archive.entry(file.path)
        found = read_hierarchy(archive.read(entry), file.path, scratch) if entry.size <= MAX_BYTES else None
        hierarchy = found[0] if found is not None else None
    return ClassWords(_mids(classes.display_names, labels), classes.display_names, hierarchy)


def _mids(display_names: dict[str, str], labels: LabelCatalog) -> dict[int, str]:
    """The LabelName of each label: its own name, or the first whose display name it is."""
    by_display: dict[str, str] = {}
    for mid, name in display_names.items():
        by_display.setdefault(name, mid)
        by_display.setdefault(name.casefold(), mid)
    found = {}
    for label in labels.labels:
        folded = by_display.get(label.name.casefold(), "")
        mid = label.name if label.name in display_names else by_display.get(label.name, folded)
        if mid:
            found[label.id] = mid
    return found
