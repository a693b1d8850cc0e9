"""Point label tables → `points` shapes of one point each, with the votes as attributes.

Source: Open Images reference 1.3 (columns); what a person sees and what is kept as of boxes (3.6, 3.7).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, Shapes, ShapeType
from app.columns import CSVBlock, Ragged
from app.formats.open_images.layout import POINT_ATTRIBUTES, POINT_PLACE
from app.formats.open_images.read_boxes import (
    claim_subset,
    encode_attributes,
    find_labels,
    read_coordinate,
    text_columns,
    with_entries,
)
from app.formats.open_images.reading import Mask, Reading, TableState
from app.formats.open_images.repeats import RepeatedRows, read_each_block
from app.formats.open_images.side_write import POINT_CELLS
from app.geometry import points_to_pixels

Reals = npt.NDArray[np.float64]


def read_points(reading: Reading) -> None:
    """All tables of point labels, in order."""
    for file in reading.layout.of("points"):
        read_each_block(reading, file, _read_block)


def _read_block(reading: Reading, table: TableState, block: CSVBlock, repeats: RepeatedRows) -> None:
    bad = np.zeros(len(block), dtype=np.bool_)
    frames, ids = reading.find_frames(table, block, bad)
    few = reading.few(table, block, (table.label_column,))
    _, label_ids = find_labels(reading, table, few, frames, bad)
    claim_subset(reading, table, block, frames, bad)
    places = _read_places(reading, table, block, bad)
    count = reading.report.table(table.path)
    good = np.flatnonzero(~bad)  # (G,)
    count.dropped += len(block) - len(good)
    if not len(good):
        return
    reading.name_images(frames[good], ids.take(good))
    repeats.add(block, good)
    sources = {name: (column, few[column].trimmed()) for column, name in POINT_ATTRIBUTES.items()}
    frames, label_ids = frames[good], label_ids[good]
    points_px = points_to_pixels(places[good], *reading.target.frames.sizes(frames))
    shapes = replace(
        Shapes.empty(len(good)),
        frames=frames,
        types=np.full(len(good), ShapeType.POINTS, dtype=np.uint8),
        label_ids=label_ids,
        attributes=encode_attributes(
            reading, table, few, good, label_ids, lambda rows: text_columns(reading, sources, rows)
        ),
        points=Ragged(points_px.reshape(-1), np.arange(len(good) + 1, dtype=np.int64) * 2),
        kept=reading.kept(table.number, block.lines.take(good)),
    )
    count.kept += len(good)
    reading.n_kept_rows += len(good)
    reading.write(Annotations(shapes=with_entries(reading, table, block, good, shapes, POINT_CELLS)))


def _read_places(reading: Reading, table: TableState, block: CSVBlock, bad: Mask) -> Reals:
    """(N, 2) X Y as shares of the picture, checked."""
    places = np.empty((len(block), 2), dtype=np.float64)
    for axis, column in enumerate(POINT_PLACE):
        _, places[:, axis], flawed = read_coordinate(reading, table, block, column)
        bad |= flawed
    outside = ~bad & ((places < 0) | (places > 1)).any(axis=1)
    message = "lies outside of the picture; kept as it is"
    reading.tell(table, "warning", "point.outside", block.rows, outside, None, message)
    return places
