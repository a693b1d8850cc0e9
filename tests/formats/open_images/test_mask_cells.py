"""Cells of mask rows by column, against plain loops over the same rows."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from app.annotations import Kept, Shapes, ShapeType
from app.columns import Ragged, Texts
from app.errors import Report
from app.formats.base import ExportOptions
from app.formats.open_images.mask_cells import LINK_TOLERANCE, _same_boxes, box_ids
from app.formats.open_images.mask_instances import Instance, InstanceColumns
from app.formats.open_images.names import are_plain_names, is_plain_name
from app.formats.open_images.plan import make_plan
from tests.formats.builders import all_attributes, labels, target
from tests.formats.memory import MemorySink, MemorySource

TASK = target({f"{name}.jpg": (8, 8) for name in "abc"}, labels("cat", "dog", attributes=all_attributes()))
BOX_ID = next(spec.id for spec in TASK.labels.labels[0].attributes if spec.name == "box_id")


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_the_same_where_each_cell_is(seed: int) -> None:
    chance = random.Random(seed)

    def cell() -> str:
        value = chance.choice([0.1, 0.25, 0.5])
        near = value + chance.choice([0, 0, 0, 0, 9e-7, 2e-6])
        return chance.choice([f"{near:.7f}", repr(near), f" {near:e}", str(value), str(value)])

    own = [[cell() if chance.random() < 0.95 else "" for _ in range(4)] for _ in range(200)]
    boxes = [[cell() for _ in range(4)] for _ in own]
    for place in chance.sample(range(200), 80):
        boxes[place] = [f"{float(text or 1):e}" for text in own[place]]
    expected = [
        all(mine) and all(abs(float(a) - float(b)) <= LINK_TOLERANCE for a, b in zip(mine, theirs, strict=True))
        for mine, theirs in zip(own, boxes, strict=True)
    ]
    found = _same_boxes(
        *([Ragged.from_bytes([row[place].encode() for row in rows]) for place in range(4)] for rows in (own, boxes))
    )
    assert found.tolist() == expected
    assert 40 < sum(expected) < 160
    assert _same_boxes(*([Ragged.empty(np.uint8)] * 4 for _ in range(2))).tolist() == []


@pytest.mark.parametrize("seed", range(4))
def test_box_ids_are_those_of_attributes_or_the_next_free_number(seed: int) -> None:
    chance = random.Random(seed)
    plan = make_plan(MemorySource.of_sink(MemorySink(), TASK.frames), TASK, ExportOptions(), Report())
    n = 60
    frames = sorted(chance.randrange(3) for _ in range(n))
    wanted = [chance.choice(["", "", "00000000", "00000002", "7.0", "a/b", "..", "c0ffee"]) for _ in range(n)]
    attributes = [json.dumps([{"spec_id": BOX_ID, "value": text}] if text else []).replace(" ", "") for text in wanted]
    shapes = Shapes.empty(n).replace(
        frames=np.array(frames, dtype=np.int32),
        types=np.full(n, ShapeType.POLYGON, dtype=np.uint8),
        label_ids=np.full(n, TASK.labels.labels[0].id, dtype=np.int32),
        attributes=Texts.from_list(attributes),
        kept=Kept.empty(n),
    )
    masks = InstanceColumns.of(shapes, [Instance(frame, [row], None) for row, frame in enumerate(frames)])
    expected: list[str] = []
    for row, text in enumerate(wanted):
        usable = {"a/b": "", "..": ""}.get(text, text)
        number = 0
        taken = {
            *(other for other, frame in zip(wanted, frames, strict=True) if frame == frames[row]),
            *(other for other, frame in zip(expected, frames, strict=False) if frame == frames[row]),
        }
        while f"{number:08x}" in taken:
            number += 1
        expected.append(usable or f"{number:08x}")
    assert box_ids(plan, shapes, masks, np.arange(n, dtype=np.int64)) == expected
    assert box_ids(plan, shapes, masks, np.zeros(0, dtype=np.int64)) == []


def test_plain_names_are_told_together() -> None:
    for texts in ([], ["a.png", "ü", "", ".", "..", "..."], ["a/b", "a\\b", "a\0b", "a", ""]):
        assert are_plain_names(texts).tolist() == [is_plain_name(text) for text in texts]
