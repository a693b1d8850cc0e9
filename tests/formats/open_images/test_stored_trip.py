"""The same trip through the real store: an archive in, edits as a client makes them, and the archive that leaves."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, ShapeType
from app.archive import ArchiveWriter, BytesSource, open_archive
from app.columns import Ragged, Texts
from app.errors import Report
from app.formats import ExportOptions, ImportOptions, Target
from app.operations.targets import TaskSource, task_target
from app.storage import AttributeDraft, FrameColumns, FramePlaces, LabelDraft, Storage, TaskData, tasks, users
from app.storage import annotations as stored
from tests.formats.builders import OPEN_IMAGES, read_zip, zip_of
from tests.formats.open_images.parts import BOXES, CLASSES, MASKS, SIZES, TAGS
from tests.formats.open_images.test_round_trip import ARCHIVE, IDS, cells
from tests.storage.stores import ENGINES, open_store

FLAGS = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
NAMES = (f"{IDS[0]}.jpg", f"cats/{IDS[1]}.jpg", "plain.jpg")
SIZES_OF = ((1024, 768), (8, 6), (10, 20))


def label(name: str) -> LabelDraft:
    flags = [AttributeDraft(flag, input_type="checkbox", values=("false",)) for flag in FLAGS]
    texts = [AttributeDraft(text, input_type="text", values=("",)) for text in ("score", "box_id", "predicted_iou")]
    return LabelDraft(name, attributes=(*flags, *texts))


class Desk:
    """One task of a store, with the calls that clients would make."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        columns = FrameColumns(
            names=Ragged.from_bytes([name.encode() for name in NAMES]),
            widths=np.array([width for width, _ in SIZES_OF], dtype=np.int32),
            heights=np.array([height for _, height in SIZES_OF], dtype=np.int32),
            places=FramePlaces(
                packs=np.zeros(3, dtype=np.int32),
                offsets=np.zeros(3, dtype=np.int64),
                stored_sizes=np.ones(3, dtype=np.int64),
                sizes=np.ones(3, dtype=np.int64),
                methods=np.zeros(3, dtype=np.uint8),
                crcs=np.full(3, -1, dtype=np.int64),
                orientations=np.ones(3, dtype=np.uint8),
            ),
        )
        with storage.database.write() as conn:
            owner = users.find(conn, "ann")
            assert owner is not None
            drafts = (label("Cat"), label('Fiat 500 "topolino"'), label("unused"))
            task = tasks.create(conn, owner, "t", drafts)
            self.task_id = tasks.attach_data(conn, task.id, TaskData(jobs=((0, 3),), segment_size=3), columns).id

    def target(self) -> Target:
        with self.storage.database.read() as conn:
            return task_target(conn, self.task_id)

    def bring(self, members: dict[str, str | bytes], mode: str = "replace", **options: Any) -> Report:
        report = Report()
        assert OPEN_IMAGES.read is not None
        with stored.begin_set(self.storage, self.task_id) as writer:
            archive = open_archive(BytesSource(zip_of(members)))
            OPEN_IMAGES.read(archive, self.target(), ImportOptions(**options), writer, report, lambda done: None)
            assert report.errors == []
            writer.close()
            with self.storage.database.write() as conn:
                stored.publish(conn, writer.set_id, mode=mode)
        return report

    def load(self) -> Annotations:
        with self.storage.database.read() as conn:
            return stored.load(conn, self.task_id)

    def change(self, work: Callable[[Any, int], Any]) -> None:
        with self.storage.database.write() as conn:
            work(conn, self.task_id)

    def export(self, **options: Any) -> dict[str, bytes]:
        parts: list[bytes] = []
        assert OPEN_IMAGES.write is not None
        with self.storage.database.snapshot() as conn:
            source = TaskSource(conn, self.storage, self.task_id)
            archive = ArchiveWriter(parts.append)
            OPEN_IMAGES.write(
                source, task_target(conn, self.task_id), archive, ExportOptions(**options), Report(), lambda done: None
            )
            archive.close()
            source.close()
        return read_zip(b"".join(parts))


@pytest.fixture(params=ENGINES)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    with open_store(request.param, tmp_path) as storage:
        yield Desk(storage)


def rows(members: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(members[name].decode(), newline="")))


@pytest.mark.parametrize("conv_mask_to_poly", [False, True])
def test_an_untouched_archive_comes_back(desk: Desk, conv_mask_to_poly: bool) -> None:
    desk.bring(ARCHIVE, conv_mask_to_poly=conv_mask_to_poly)
    members = desk.export()
    for name, data in ARCHIVE.items():
        if name.endswith(".csv") and "vrd" not in name and name != CLASSES:
            assert cells(members[name]) == cells(data), name
        elif name not in (CLASSES, SIZES):
            assert members[name] == (data if isinstance(data, bytes) else data.encode()), name
    assert desk.export() == members


def test_edits_reach_their_rows_and_no_other(desk: Desk) -> None:
    desk.bring(ARCHIVE)
    before = desk.export()
    shapes = desk.load().shapes
    box = next(row for row, line in enumerate(shapes.kept.lines.to_texts()) if line.startswith(f"{IDS[1]},activemil"))
    moved = shapes.take(np.array([box]))
    moved = moved.replace(points=Ragged.from_arrays([[1, 1, 5, 4]], np.float64))
    desk.change(lambda conn, task: stored.update(conn, task, Annotations(shapes=moved)))
    members = desk.export()
    (row,) = [row for row in rows(members, BOXES) if row["ImageID"] == IDS[1]]
    edges = ("XMin", "XMax", "YMin", "YMax")
    assert [row[name] for name in edges] == ["0.125", "0.625", "0.16666666666666666", "0.6666666666666666"]
    assert row["Source"] == ""
    assert {row[name] for name in row if name.startswith("XClick")} == {"-1"}
    assert row["IsOccluded"] == "-1"
    (linked,) = [row for row in rows(members, MASKS) if row["MaskPath"].endswith("00000001.png")]
    assert [linked[f"Box{name}"] for name in ("XMin", "XMax", "YMin", "YMax")] == [
        row[name] for name in ("XMin", "XMax", "YMin", "YMax")
    ]
    others = [row for row in rows(members, BOXES) if row["ImageID"] != IDS[1]]
    assert others == [row for row in rows(before, BOXES) if row["ImageID"] != IDS[1]]
    assert members[TAGS] == before[TAGS]


def test_what_clients_send_back_unchanged_changes_nothing(desk: Desk) -> None:
    desk.bring(ARCHIVE)
    before = desk.export()
    found = desk.load()
    desk.change(lambda conn, task: stored.update(conn, task, Annotations(shapes=found.shapes, tags=found.tags)))
    assert desk.export() == before


def test_deleted_and_new_annotations(desk: Desk) -> None:
    desk.bring(ARCHIVE)
    shapes = desk.load().shapes
    mask = next(row for row, line in enumerate(shapes.kept.lines.to_texts()) if line.startswith("small.png"))
    desk.change(lambda conn, task: stored.delete(conn, task, {"shapes": shapes.ids[[mask]]}))
    new = (
        type(shapes)
        .empty(1)
        .replace(
            frames=np.array([2], dtype=np.int32),
            types=np.array([ShapeType.RECTANGLE], dtype=np.uint8),
            label_ids=shapes.label_ids[:1],
            points=Ragged.from_arrays([[1, 2, 3, 4]], np.float64),
            sources=Texts.same("manual", 1),
        )
    )
    desk.change(lambda conn, task: stored.append(conn, task, Annotations(shapes=new)))
    members = desk.export()
    assert "masks/train/small.png" not in members
    assert "small.png" not in [row["MaskPath"] for row in rows(members, MASKS)]
    added = rows(members, "annotations/validation-annotations-bbox.csv")[-1]
    told = [added[name] for name in ("ImageID", "LabelName", "XMin", "YMax", "IsTruncated")]
    assert told == ["plain", "/m/01yrx", "0.1", "0.2", "0"]


def test_a_second_archive_beside_the_first(desk: Desk) -> None:
    desk.bring(ARCHIVE)
    first = desk.export()
    desk.bring(ARCHIVE, mode="append")
    members = desk.export()
    assert rows(members, BOXES) == sorted(
        [*rows(first, BOXES), *rows(first, BOXES)], key=lambda row: IDS.index(row["ImageID"])
    )
    assert members["README.md"] == first["README.md"]
    assert "README-2.md" not in members
    paths = [row["MaskPath"] for row in rows(members, MASKS)]
    assert sorted(set(paths)) == sorted(row["MaskPath"] for row in rows(first, MASKS)), "equal PNGs are written once"


@pytest.mark.parametrize("layout", ["official", "fiftyone"])
def test_other_layouts_leave_the_store_too(desk: Desk, layout: str) -> None:
    desk.bring(ARCHIVE)
    members = desk.export(layout=layout)
    shapes = desk.load().shapes
    desk.bring(dict(members))
    again = desk.load().shapes
    assert again.frames.tolist() == shapes.frames.tolist()
    assert sorted(map(tuple, (again.runs.row(n).tolist() for n in range(len(again))))) == sorted(
        map(tuple, (shapes.runs.row(n).tolist() for n in range(len(shapes))))
    )
