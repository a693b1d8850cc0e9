"""Masks that leave by columns leave as they do one by one."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Edit, Shapes
from app.formats.open_images import mask_jobs
from app.formats.open_images.plain_masks import PlainMasks, find_plain
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, MASK_HEADER, MASKS, rectangle_png

WRITE = import_module("app.formats.open_images.write")  # the package has a function of this name
IMAGES = "abcdef"
TASK = target({f"{image}.jpg": (8, 6) for image in IMAGES}, labels("cat", "dog", attributes=all_attributes()))
BOX = "0.125,0.75,0.2,0.7"


def archive(random_: random.Random, odd: bool) -> dict[str, str | bytes]:
    """Masks with and without boxes; where they are odd, some have no BoxID, no pixel, or the PNG of another."""
    boxes, masks, pngs = "", "", {}
    for image in IMAGES:
        for number in range(random_.randrange(4)):
            label, name = random_.choice(["cat", "dog"]), f"{image}{number}.png"
            is_boxed = random_.random() < 0.6
            if is_boxed:
                boxes += f"{image},,{label},1,{BOX},0,0,0,0,0\n" * random_.randint(1, 2)
            cells = BOX if is_boxed or random_.random() < 0.2 else ",,,"
            is_odd = odd and random_.random() < 0.3
            box_id = "" if is_odd and random_.random() < 0.5 else f"{random_.getrandbits(32):08x}"
            masks += f"{name},{image},{label},{box_id},{cells},0.5,\n"
            right = random_.randrange(1, 8)
            pngs[f"masks/train/{name}"] = rectangle_png(8, 6, 0, 0, right, 0 if is_odd and right == 2 else 5)
            if is_odd and random_.random() < 0.5:
                masks += f"{name},{image},{label},{box_id}f,{cells},0.5,\n"
    return {MASKS: MASK_HEADER + masks, BOXES: BOX_HEADER + boxes, CLASSES: "cat,cat\ndog,dog\n", **pngs}


def touched(random_: random.Random, shapes: Shapes) -> Shapes:
    """Something is edited, removed, or joins a group."""
    row = random_.randrange(len(shapes))
    match random_.randrange(6):
        case 0:
            return edited(shapes, row, Edit.LABEL, label_ids=1 + (int(shapes.label_ids[row]) == 1))
        case 1:
            return edited(shapes, row, Edit.GROUP, groups=random_.randrange(3))
        case 2:
            return edited(shapes, row, Edit.ATTRIBUTES, attributes="[]")
        case 3:
            return shapes.take(np.delete(np.arange(len(shapes)), row))
        case 4:  # two shapes of one row
            both = Shapes.concatenate([shapes, shapes.take(np.array([row]))])
            return both.take(np.argsort(both.frames, kind="stable"))
        case _:
            twin = shapes.take(np.array([row]))
            alone = twin.replace(kept=type(twin.kept).empty(1), ids=np.zeros(1, dtype=np.int64))
            both = Shapes.concatenate([shapes, alone])
            return both.take(np.argsort(both.frames, kind="stable"))


def exports(sink: MemorySink, shapes: Shapes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[bytes, ...]:
    """By columns where that is possible, one by one, and with the shapes read twice."""
    annotations = sink.annotations()
    annotations = Annotations(shapes, annotations.tags, annotations.tracks, annotations.images, annotations.rows)
    found = []
    for finder, held_bytes in ((find_plain, WRITE.HELD_BYTES), (lambda *_: None, WRITE.HELD_BYTES), (find_plain, -1)):
        monkeypatch.setattr(mask_jobs, "find_plain", finder)
        monkeypatch.setattr(WRITE, "HELD_BYTES", held_bytes)
        data, report = exported(MemorySource.of_sink(sink, TASK.frames, annotations), TASK, **options)
        found.append(data + repr(report.to_dict()).encode())
    return tuple(found)


@pytest.mark.parametrize("seed", range(60))
def test_masks_leave_as_they_do_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(seed)
    sink, _ = good(archive(random_, odd=seed % 2 == 1), TASK)
    shapes = sink.annotations().shapes
    for _ in range(seed % 4 if len(shapes) else 0):
        shapes = touched(random_, shapes)
    if seed % 5 == 0:
        monkeypatch.setattr(mask_jobs, "KEPT_AT_ONCE", 2)
    layout = random_.choice(["default", "official", "fiftyone"])
    by_columns, one_by_one, read_twice = exports(sink, shapes, monkeypatch, layout=layout)
    assert by_columns == one_by_one == read_twice


def seen(sink: MemorySink, monkeypatch: pytest.MonkeyPatch, shapes: Shapes | None = None) -> list[bool]:
    """Whether each batch was plain."""
    batches: list[bool] = []

    def find(*given: Any) -> PlainMasks | None:
        plain = find_plain(*given)
        batches.append(plain is not None)
        return plain

    monkeypatch.setattr(mask_jobs, "find_plain", find)
    annotations = Annotations(shapes) if shapes is not None else None
    exported(MemorySource.of_sink(sink, TASK.frames, annotations, batch_frames=6), TASK)
    return batches


def test_untouched_masks_are_plain_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = f"m.png,a,cat,01,{BOX},,\nn.png,b,dog,02,,,,,,\n"
    files = {f"masks/train/{name}.png": rectangle_png(8, 6, 0, 0, 5, 5) for name in "mn"}
    members = {
        MASKS: MASK_HEADER + rows,
        BOXES: BOX_HEADER + f"a,,cat,1,{BOX},0,0,0,0,0\n",
        CLASSES: "cat,cat\ndog,dog\n",
        **files,
    }
    sink, _ = good(members, TASK)
    assert seen(sink, monkeypatch) == [True]
    shapes = sink.annotations().shapes
    for row in range(3):
        assert seen(sink, monkeypatch, edited(shapes, row, Edit.ATTRIBUTES)) == [False]
    box = int(np.flatnonzero(shapes.types == 0)[0])
    assert seen(sink, monkeypatch, shapes.take(np.delete(np.arange(3), box))) == [False]
    assert seen(sink, monkeypatch, edited(shapes, box, Edit.NONE, groups=9)) == [False]
    assert seen(good({**members, MASKS: MASK_HEADER + rows.replace(",02,", ",,")}, TASK)[0], monkeypatch) == [False]


def test_a_name_that_is_taken_is_settled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of one folder whose names differ in their letter case alone: no two files may be called so."""
    rows = "m.png,a,cat,01,,,,,,\nM.png,b,dog,02,,,,,,\n"
    files = {"masks/train/m.png": rectangle_png(8, 6, 0, 0, 5, 5), "masks/x/M.png": rectangle_png(8, 6, 0, 0, 4, 5)}
    sink, _ = good({MASKS: MASK_HEADER + rows, CLASSES: "cat,cat\ndog,dog\n", **files}, TASK)
    by_columns, one_by_one, _ = exports(sink, sink.annotations().shapes, monkeypatch)
    assert by_columns == one_by_one
    monkeypatch.setattr(mask_jobs, "find_plain", find_plain)
    names = read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])
    assert sorted(name for name in names if name.endswith(".png")) == ["masks/train/M-2.png", "masks/train/m.png"]
