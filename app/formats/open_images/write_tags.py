"""Tags to rows of the image label tables; hidden rows (verified absent, machine labels) join them as they came.

Source: Open Images reference 4.5, 3.8, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from app.annotations import Edit, Rows, Tags
from app.columns import Cells, CSVBlock, Ragged, Texts, decode_texts
from app.formats.open_images.attributes import same_value, shown_value
from app.formats.open_images.kept_rows import (
    SIDE,
    Columns,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    kept_lines,
    map_texts,
    put,
    spread,
    table_rows,
)
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_write import SideWriter
from app.formats.open_images.write_boxes import (
    Pairs,
    are_there,
    confidence_rule,
    fill_confidence,
    id_cells,
    label_cells,
    source_rule,
)
from app.formats.selection import LabelType

MACHINE = "machine"


def tag_rows(
    plan: Plan,
    batches: Iterator[Tags],
    subset: str | None,
    columns: Sequence[str],
    kinds: Sequence[str],
    side: SideWriter | None = None,
) -> Iterator[TableRows]:
    """The rows of the subset's table: `tags` (imported from such a table, and new ones), `machine`, or both."""
    for tags in batches:
        chosen = plan.chosen_tags(tags, subset)
        if len(kinds) == 1 and plan.has_table(MACHINE):
            chosen &= is_kind(plan, tags.kept, MACHINE) == (kinds[0] == MACHINE)
        places = np.flatnonzero(chosen)
        if not len(places):
            continue
        candidates = places if side is None else np.flatnonzero(chosen & ~side.needed_tags(tags))
        lines = kept_lines(plan, tags.kept, tags.frames, candidates, kinds, columns, plain_tags)
        others = lines.others(places)
        cells: Columns = {}
        if len(others):
            rest = tags.take(others)
            cells = tag_columns(plan, rest, columns)
            if side is not None:
                cells[SIDE] = side.tag_entries(rest, cells)
        yield table_rows(tags.frames, places, lines, cells, columns)


def plain_tags(block: CSVBlock, places: Places | None = None) -> Mask:
    """(N,) whether other readers take these rows: they have a Confidence."""
    return are_there(block.cells("Confidence"))


def tag_columns(plan: Plan, tags: Tags, columns: Sequence[str]) -> Columns:
    """The cells of tags, by column."""
    cells = kept_columns(plan, tags.kept, columns)
    imported = is_kind(plan, tags.kept, "tags", MACHINE)
    edits = tags.kept.edits
    cells["ImageID"] = id_cells(plan, cells["ImageID"], tags.frames)
    cells["LabelName"] = label_cells(plan, cells["LabelName"], tags.label_ids, imported, edits)
    if plan.options.tag_source:
        cells["Source"] = put(cells["Source"], ~imported, plan.options.tag_source.encode())
    spoken = ~imported | (edits & (Edit.ATTRIBUTES | Edit.LABEL) != 0)
    if spoken.any():
        places, pairs = plan.decoder.pairs(tags.label_ids, tags.attributes)
        for is_imported in (True, False):
            rows = np.flatnonzero(spoken & (imported == is_imported))
            rules = {"Confidence": presence_rule(plan, pairs), "Source": source_rule(plan, pairs, is_imported)}
            for column, rule in rules.items() if len(rows) else ():
                kept = decode_texts(Cells.of(cells[column].take(rows)))
                cells[column] = put(cells[column], rows, map_texts(places[rows], kept, rule))
    cells["Confidence"] = fill_confidence(cells["Confidence"])
    return cells


def presence_rule(plan: Plan, pairs: Pairs) -> Callable[[int, str], str]:
    """Confidence of a tag whose attributes speak. One that is shown without a score is there: 0 would say that it is
    not, as its row may have said of a label that it had before."""
    rule = confidence_rule(plan, pairs)

    def confidence(pair: int, kept: str) -> str:
        text, spec = rule(pair, kept), plan.decoder.spec(pairs[pair][0], "score")
        can_show = spec is not None and shown_value(spec, "0", False) is not None
        return "1" if not can_show and same_value("0", text) else text

    return confidence


def hidden_rows(
    plan: Plan, batches: Iterator[Rows], subset: str | None, columns: Sequence[str], kinds: Sequence[str]
) -> Iterator[TableRows]:
    """Kept lines of these kinds that no annotation shows, as they came."""
    for batch in batches:
        here = plan.in_subset(batch.frames, subset) & is_kind(plan, batch.kept, *kinds)
        rows = selected_rows(plan, batch.take(here), "classifications")
        if not len(rows):
            continue
        chosen = np.arange(len(rows), dtype=np.int64)
        lines = kept_lines(plan, rows.kept, rows.frames, chosen, kinds, columns, plain_tags)
        rest = rows.take(lines.others(chosen))
        yield table_rows(rows.frames, chosen, lines, hidden_columns(plan, rest, columns), columns)


def selected_rows(plan: Plan, rows: Rows, kind: LabelType) -> Rows:
    """Those of some kept rows that the selection leaves; those of a label that was deleted went with it, and count."""
    if not len(rows) or (plan.selector is None and not plan.gone_names):
        return rows
    names = decode_texts(Cells.of(kept_columns(plan, rows.kept, ("LabelName",))["LabelName"]))
    stays = np.ones(len(rows), dtype=np.bool_)
    if plan.selector is not None:
        ids = np.array([plan.label_ids_of_names.get(name, -1) for name in names.values], dtype=np.int32)
        stays = plan.selector.keeps_absent(rows.frames, ids[names.codes], kind)
    gone = np.array([name in plan.gone_names for name in names.values], dtype=np.bool_)
    counts = np.bincount(names.codes[stays], minlength=len(gone))
    plan.n_gone.update({names.values[code]: int(counts[code]) for code in np.flatnonzero(gone & (counts > 0)).tolist()})
    return rows.take(stays & ~gone[names.codes])


def hidden_columns(plan: Plan, rows: Rows, columns: Sequence[str]) -> Columns:
    """The cells of kept rows that no annotation shows, by column."""
    cells = kept_columns(plan, rows.kept, columns)
    cells["ImageID"] = id_cells(plan, cells["ImageID"], rows.frames)
    cells["LabelName"] = kept_label_cells(plan, cells["LabelName"])
    cells["Confidence"] = fill_confidence(cells["Confidence"])
    return cells


def kept_label_cells(plan: Plan, kept: Ragged) -> Ragged:
    """LabelName of rows that no annotation shows: as it came, or the task's name for it where names are asked for."""
    if plan.options.label_ids == "mid":
        return kept
    names = decode_texts(Cells.of(kept))
    return spread(Texts.from_list(plan.name_of(name) for name in names.values).take(names.codes))
