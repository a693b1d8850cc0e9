"""Image label tables → tags. A verified absence is no tag, unless the label has a `score` to say so.

Source: Open Images reference 3.8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.annotations import Annotations, Rows, RowsMeaning, Tags
from app.columns import CSVBlock, decode_numbers
from app.formats.open_images.layout import Kind
from app.formats.open_images.read_boxes import (
    are_all,
    claim_subset,
    encode_attributes,
    find_labels,
    read_share,
    text_columns,
)
from app.formats.open_images.reading import Reading, TableState
from app.formats.open_images.repeats import RepeatedRows, read_each_block
from app.formats.open_images.side_read import row_check
from app.formats.open_images.side_write import TAG_CELLS
from app.formats.open_images.write_boxes import are_there

FEW_TAG_COLUMNS = ("Source", "LabelName", "Confidence")


def read_tags(reading: Reading) -> None:
    """All tables of human labels; those of machines where the options say so."""
    kinds: tuple[Kind, ...] = ("tags", "machine") if reading.options.machine_labels == "tags" else ("tags",)
    for file in reading.layout.of(*kinds):
        read_each_block(reading, file, _read_block)


def _read_block(reading: Reading, table: TableState, block: CSVBlock, repeats: RepeatedRows) -> None:
    bad = np.zeros(len(block), dtype=np.bool_)
    few = reading.few(table, block, FEW_TAG_COLUMNS)
    frames, ids = reading.find_frames(table, block, bad)
    codes, label_ids = find_labels(reading, table, few, frames, bad)
    claim_subset(reading, table, block, frames, bad)
    confidence = read_share(reading, table, few, "Confidence", bad, empty_is="1")
    count = reading.report.table(table.path)
    good = np.flatnonzero(~bad)
    count.dropped += len(block) - len(good)
    if not len(good):
        return
    reading.name_images(frames[good], ids.take(good))
    repeats.add(block, good)
    reading.see_lines(table, lambda: are_all(few["Confidence"], are_there, good))
    absent = np.zeros(len(block), dtype=np.bool_)
    confidences = confidence.spread(confidence.decoded(decode_numbers).values)[good]
    absent[good] = confidences == 0
    reading.consistency.add_tags(table.path, block.rows[good], frames[good], codes[good], confidences)
    hidden = absent.copy()
    # Nor by one that has no such value, whose default would say the opposite.
    hidden[good] &= ~reading.attributes.can_show(label_ids[good], "score", "0")
    message = 'says that the label is absent; kept, but no tag: the label has no attribute "score" to say so'
    reading.tell(
        table, "warning", "tag.negative_hidden", block.rows, hidden, "Confidence", message, block.cells("Confidence")
    )
    count.kept += len(good)
    reading.n_kept_rows += len(good)
    lines = block.lines
    unseen = np.flatnonzero(hidden)
    rows = Rows(frames[unseen], reading.kept(table.number, lines.take(unseen)))
    good = good[~hidden[good]]
    sources = {"score": ("Confidence", confidence), "source": ("Source", few["Source"])}
    tags = replace(
        Tags.empty(len(good)),
        frames=frames[good],
        label_ids=label_ids[good],
        attributes=encode_attributes(
            reading, table, few, good, label_ids[good], lambda rows: text_columns(reading, sources, rows), few.kinds
        ),
        kept=reading.kept(table.number, lines.take(good)),
    )
    if reading.side.has_entries(table.path, table.first, len(block)):
        entries = reading.side.entries(table.path, table.first, np.arange(len(block), dtype=np.int64))
        place = np.full(len(block), -1, dtype=np.int64)
        place[good] = np.arange(len(good), dtype=np.int64)
        check = row_check(block, TAG_CELLS)
        tags = reading.side.replace_tags(
            entries, check, lambda row: int(place[row]), lambda: reading.sided_table(table), tags
        )
    meaning = RowsMeaning("classifications", label_ids[unseen].reshape(-1, 1), is_absent=True)
    said = reading.confidences(confidence, good) if len(tags) == len(good) else None
    reading.write(Annotations(tags=tags, rows=rows, meaning=meaning, confidences=said))
