"""What kept rows say of a picture that no shape or tag shows, in words: relationships, captions, absent labels.

The rows themselves are told beside the words, cell by cell, so that nothing of them is hidden.

Source: Open Images reference 1.3, 3.8, 3.9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.annotations import Rows
from app.columns import CSVBlock, split_lines
from app.formats.base import Note
from app.formats.open_images.extras import Extras, KeptTable
from app.formats.open_images.read_relationships import is_attributive

Names = Callable[[str], str]


def notes(document: Mapping[str, Any], rows: Rows) -> list[Note] | None:
    """A note for each row of one import, in order; None for a document of another format."""
    if not {"tables", "mids", "classes"} <= document.keys():
        return None
    extras = Extras.from_dict(document)
    displays = dict(extras.classes)
    found = []
    for at in range(len(rows)):
        table = extras.tables[int(rows.kept.tables[at])]
        block = split_lines(rows.kept.lines.slice(at, at + 1), table.columns)
        cells = {name: block.cells_at(place).row_text(0) for place, name in enumerate(table.columns)}
        kind, words = _words(table, block, lambda name: displays.get(name) or name)
        found.append(Note(kind, words, table.path, cells))
    return found


def _words(table: KeptTable, block: CSVBlock, name: Names) -> tuple[str, str]:
    def cell(column: str) -> str:
        return block.cells(column).row_text(0) if block.has(column) else ""

    label = name(cell("LabelName"))
    if table.kind == "relationships":
        relation = cell("RelationshipLabel") or "?"
        kind = "attribute" if is_attributive(block.cells("RelationshipLabel"))[0] else "relationship"
        return kind, f"{name(cell('LabelName1'))} {relation} {name(cell('LabelName2'))}"
    if table.kind == "narratives":
        return "caption", cell("Caption")
    if table.kind == "masks":
        return "empty_mask", f"{label}: a mask without a pixel"
    return "absent_label", f"no {label}"
