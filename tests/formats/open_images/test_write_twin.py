"""Whole tables against the plain twin: random archives, random edits as the store flags them."""

from __future__ import annotations

import csv
import io
import random
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from app.annotations import Annotations, Shapes, ShapeType, Tags
from app.columns import Ragged, Texts
from app.formats.open_images.plan import Plan
from app.storage.edits import continue_rows
from tests import reference_formats as reference
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import BOXES, CLASSES, LIST, LIST_HEADER, TAGS

FRAMES = {f"{name}.jpg": (10 * n + 7, 13 * n + 5) for n, name in enumerate("abcdefgh")}
WHERE = target(FRAMES, labels("Cat", "Dog", "Bird", attributes=all_attributes()))
DEFAULTS = {spec.id: spec.default_value for label in WHERE.labels.labels for spec in label.attributes}
MIDS = {1: "/m/cat", 2: "/m/dog"}
CLICKS = [f"XClick{corner}{axis}" for axis in "XY" for corner in "1234"]


def number(random_: random.Random) -> str:
    value = random_.random()
    return random_.choice(
        [f"{value:.6f}", f"{value:.2f}", repr(value), f"{value:e}", f" {value:.3f}", "0", "1", "0.50"]
    )


def archive(random_: random.Random, n_boxes: int, n_tags: int, clicks: bool) -> dict[str, str | bytes]:
    """Tables with every spelling that readers of this service take."""
    flags = ["0", "1", "-1"] * 5 + ["true", "No", "1.0", "", "-1.0"]
    header = [*reference.BOX_HEADER, *(CLICKS if clicks else []), "my, extra"]
    random_.shuffle(header)
    boxes = io.StringIO(newline="")
    writer = csv.writer(boxes, lineterminator=random_.choice(["\n", "\r\n"]))
    writer.writerow(header)
    for _ in range(n_boxes):
        x, y = (sorted((number(random_), number(random_)), key=float) for _ in "xy")
        cells = {
            "ImageID": random_.choice("abcdefgh"),
            "Source": random_.choice(["", "xclick", "activemil"]),
            "LabelName": random_.choice(["/m/cat", "/m/dog"]),
            "Confidence": random_.choice(["1", "0.90", "", "1.0", "1e-1"]),
            **dict(zip(("XMin", "XMax", "YMin", "YMax"), (*x, *y), strict=True)),
            **{name: random_.choice(flags) for name in ("IsOccluded", *reference.FLAG_ATTRIBUTES)},
            **dict.fromkeys(CLICKS, "0.5"),
            "my, extra": random_.choice(["", 'a "quoted" text', "two\nlines", "plain"]),
        }
        writer.writerow([cells[name] for name in header])
    tags = io.StringIO(newline="")
    writer = csv.writer(tags, lineterminator="\n")
    writer.writerow(reference.TAG_HEADER)
    for _ in range(n_tags):
        confidence = random_.choice(["1", "0", "0.70", "", "1.00"])
        writer.writerow([random_.choice("abcdefgh"), "verification", random_.choice(["/m/cat", "/m/dog"]), confidence])
    return {
        CLASSES: "/m/cat,Cat\n/m/dog,Dog\n",
        LIST: LIST_HEADER + "".join(f"{name},train,,,,,,,,,,\n" for name in "abcdefgh"),
        BOXES: boxes.getvalue(),
        TAGS: tags.getvalue(),
    }


def attributes(random_: random.Random) -> str:
    values = {
        **{spec: random_.choice(["true", "false"]) for spec in range(100, 105) if random_.random() < 0.7},
        **({105: random_.choice(["1", "0.5", "0", "", "0.90", "1.0"])} if random_.random() < 0.7 else {}),
        **({106: random_.choice(["", "drawn"])} if random_.random() < 0.5 else {}),
    }
    return "[" + ",".join(f'{{"spec_id":{spec},"value":"{value}"}}' for spec, value in sorted(values.items())) + "]"


def changed(random_: random.Random, table: Any, kind: str) -> Any:
    """The table after somebody changed some rows, flagged by comparing old and new."""
    n = len(table)
    some = np.array([random_.random() < 0.5 for _ in range(n)], dtype=np.bool_)
    new_labels = np.where(some, [random_.choice([1, 2, 3]) for _ in range(n)], table.label_ids).astype(np.int32)
    texts = [attributes(random_) if random_.random() < 0.4 else text for text in table.attributes.to_list()]
    columns: dict[str, Any] = {"label_ids": new_labels, "attributes": Texts.from_list(texts)}
    if kind == "shapes":
        columns["occluded"] = table.occluded ^ np.array([random_.random() < 0.3 for _ in range(n)], dtype=np.bool_)
        boxes = table.points.values.reshape(-1, 4).copy()
        moved = np.flatnonzero([random_.random() < 0.4 for _ in range(n)])
        boxes[moved] = np.sort(np.round(np.random.default_rng(n).random((len(moved), 2, 2)) * 5, 2), axis=1).reshape(
            -1, 4
        )
        columns["points"] = Ragged(boxes.reshape(-1), table.points.offsets)
    return continue_rows(kind, table, table.replace(**columns), DEFAULTS)


def new_shapes(random_: random.Random, n: int) -> Shapes:
    boxes = np.sort(np.random.default_rng(n).random((n, 2, 2)) * 5, axis=1).reshape(-1, 4)
    return Shapes.empty(n).replace(
        frames=np.sort(np.array([random_.randrange(8) for _ in range(n)], dtype=np.int32)),
        types=np.full(n, ShapeType.RECTANGLE, dtype=np.uint8),
        label_ids=np.array([random_.choice([1, 2, 3]) for _ in range(n)], dtype=np.int32),
        occluded=np.array([random_.random() < 0.5 for _ in range(n)], dtype=np.bool_),
        attributes=Texts.from_list([attributes(random_) for _ in range(n)]),
        points=Ragged(boxes.reshape(-1), np.arange(n + 1, dtype=np.int64) * 4),
    )


def new_tags(random_: random.Random, n: int) -> Tags:
    return Tags.empty(n).replace(
        frames=np.sort(np.array([random_.randrange(8) for _ in range(n)], dtype=np.int32)),
        label_ids=np.array([random_.choice([1, 2, 3]) for _ in range(n)], dtype=np.int32),
        attributes=Texts.from_list([attributes(random_) for _ in range(n)]),
    )


def by_frame(*tables: Any) -> Any:
    both = type(tables[0]).concatenate(list(tables))
    return both.take(np.argsort(both.frames, kind="stable"))


def table_of(members: dict[str, bytes], name: str) -> tuple[list[str], list[dict[str, str]]]:
    if name not in members:
        return [], []
    reader = csv.DictReader(io.StringIO(members[name].decode(), newline=""))
    rows = list(reader)
    assert reader.fieldnames is not None
    return list(reader.fieldnames), rows


@pytest.mark.parametrize("batch_frames", [0, 1, 3, 100])
@pytest.mark.parametrize("seed", range(12))
def test_tables_are_those_of_the_twin(seed: int, batch_frames: int) -> None:
    random_ = random.Random(seed)
    members = archive(random_, random_.choice([0, 1, 30]), random_.choice([0, 1, 20]), clicks=seed % 2 == 0)
    sink: MemorySink = good(members, WHERE)[0]
    found = sink.annotations()
    shapes, tags = found.shapes, found.tags
    if seed % 3:
        shapes = by_frame(changed(random_, shapes, "shapes"), new_shapes(random_, random_.choice([0, 1, 7])))
        tags = by_frame(changed(random_, tags, "tags"), new_tags(random_, random_.choice([0, 1, 5])))
    source = MemorySource.of_sink(
        sink, WHERE.frames, Annotations(shapes=shapes, tags=tags, images=found.images), batch_frames=batch_frames
    )
    data, _ = exported(source, WHERE)
    with patch.object(Plan, "has_plain_lines", return_value=False):  # each line is looked into
        assert exported(source, WHERE)[0] == data
    written = read_zip(data)
    headers = [columns for _, _, _, columns in sink.document["tables"]]
    mids = {int(label_id): mid for label_id, mid in sink.document["mids"].items()}
    for name, plain, twin, table in (
        (BOXES, reference.BOX_HEADER, reference.box_rows, shapes),
        (TAGS, reference.TAG_HEADER, reference.tag_rows, tags),
    ):
        header, rows = table_of(written, name)
        expected = twin(table, WHERE, headers, mids, header or plain)  # type: ignore[operator]
        assert rows == expected
        if rows:
            assert header[: len(plain)] == plain
