"""Tags to rows of the image label tables; hidden rows (verified absent, machine labels) join them as they came.

Source: Open Images reference 4.5, 3.8, 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.annotations import Edit, Rows, Tags
from app.columns import Cells, decode_texts
from app.formats.open_images.kept_rows import Columns, TableRows, is_kind, kept_columns, map_texts, put
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import confidence_rule, fill_confidence, label_cells, source_rule

MACHINE = "machine"


def tag_rows(
    plan: Plan, batches: Iterator[Tags], subset: str, columns: Sequence[str], kind: str
) -> Iterator[TableRows]:
    """The rows of the subset's table of this kind: `tags` (imported from it, and new ones) or `machine`."""
    for tags in batches:
        machine = is_kind(plan, tags.kept, MACHINE)
        chosen = plan.in_subset(tags.frames, subset) & (machine if kind == MACHINE else ~machine)
        if chosen.any():
            part = tags.take(chosen)
            yield TableRows(part.frames, tag_columns(plan, part, columns, kind))


def tag_columns(plan: Plan, tags: Tags, columns: Sequence[str], kind: str) -> Columns:
    """The cells of tags, by column."""
    cells = kept_columns(plan, tags.kept, columns)
    imported = is_kind(plan, tags.kept, kind)
    edits = tags.kept.edits
    cells["ImageID"] = put(cells["ImageID"], ~imported, plan.ids_of(tags.frames[~imported]))
    cells["LabelName"] = label_cells(plan, cells["LabelName"], tags.label_ids, imported, edits)
    if plan.options.tag_source:
        cells["Source"] = put(cells["Source"], ~imported, plan.options.tag_source.encode())
    rows = np.flatnonzero(~imported | (edits & (Edit.ATTRIBUTES | Edit.LABEL) != 0))
    if len(rows):
        places, pairs = plan.decoder.pairs(tags.label_ids, tags.attributes)
        for column, rule in (("Confidence", confidence_rule(plan, pairs)), ("Source", source_rule(pairs))):
            kept = decode_texts(Cells.of(cells[column].take(rows)))
            cells[column] = put(cells[column], rows, map_texts(places[rows], kept, rule))
    cells["Confidence"] = fill_confidence(cells["Confidence"])
    return cells


def hidden_rows(
    plan: Plan, batches: Iterator[Rows], subset: str, columns: Sequence[str], kind: str
) -> Iterator[TableRows]:
    """Kept lines of this kind that no annotation shows, as they came."""
    for rows in batches:
        chosen = plan.in_subset(rows.frames, subset) & is_kind(plan, rows.kept, kind)
        if chosen.any():
            part = rows.take(chosen)
            yield TableRows(part.frames, kept_columns(plan, part.kept, columns))
