"""An export looks into tasks and blocks for the subsets that they have, and reads mixed ones once for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.blocks import waiting
from app.formats.open_images import plan
from app.operations import stream_dataset
from app.operations.targets import ProjectSource, TaskSource
from app.storage import AnnotationReader
from app.storage.annotations import counts
from tests.desk import FORMAT, Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.samples import mask_png

N_TASKS = 6
KINDS = ("rectangle", "mask", "points", "polyline")
POINTS: dict[str, list[float]] = {
    "rectangle": [0, 0, 3, 2],
    "mask": [1, 2, 1, 1, 3, 1],
    "points": [1, 1, 2, 2],
    "polyline": [0, 0, 3, 3],
}


def project_of(desk: Desk, subsets: list[str]) -> int:
    """Tasks with shapes of all kinds, tags and a track; the archive of one says another subset of an image."""
    project: int = desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": [{"name": "cat"}]})["id"]
    (label,) = desk.call("GET", f"/api/labels?project_id={project}")["results"]
    for number, subset in enumerate(subsets):
        task = desk.task({f"{name}{number}.jpg": (8, 6) for name in "ab"}, [], project_id=project, subset=subset)
        if number == 1:
            task.bring({"val-annotations-bbox.csv": b"ImageID,LabelName,XMin,XMax,YMin,YMax\nb1,cat,0,1,0,1\n"})
        draw(task, number, label["id"])
    return project


def draw(task: TaskDesk, number: int, label: int) -> None:
    kind = KINDS[number % len(KINDS)]
    shapes = [
        {"type": one, "frame": frame, "label_id": label, "points": POINTS[one], "group": number % 2}
        for frame in range(2)
        for one in (kind, "rectangle")
    ]
    key = {"type": "rectangle", "outside": False, "points": [1, 1, 3, 3]}
    track = {"frame": 0, "label_id": label, "shapes": [{"frame": 0, **key}]}
    tags = [{"frame": 1, "label_id": label}]
    task.change("create", shapes=shapes, tags=tags, tracks=[track] if number % 3 == 0 else [])


def exported(desk: Desk, project: int, **options: Any) -> bytes:
    path = f"/api/projects/{project}/dataset"
    asked = {"format": FORMAT, **options}
    rq_id = desk.call("POST", f"{path}/export", 202, params=asked)["rq_id"]
    desk.work()
    answer = desk.client.get(f"{path}/download", params={"rq_id": rq_id})
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


@pytest.mark.parametrize("layout", ["default", "fiftyone", "official"])
def test_only_the_tasks_of_a_subset_are_read_for_it(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_passes = 0
    read = TaskSource.shapes

    def counted(source: TaskSource) -> Any:
        nonlocal n_passes
        n_passes += 1
        return read(source)

    monkeypatch.setattr(TaskSource, "shapes", counted)
    monkeypatch.setattr(plan, "MOST_PASSES", 1 << 30)
    with Desk(tmp_path / "few") as desk:
        few = exported(desk, project_of(desk, [f"s{number}" for number in range(N_TASKS)]), layout=layout)
    n_few, n_passes = n_passes, 0
    monkeypatch.setattr(ProjectSource, "part", lambda source, wanted: source)
    with Desk(tmp_path / "all") as desk:
        assert exported(desk, project_of(desk, [f"s{number}" for number in range(N_TASKS)]), layout=layout) == few
    if layout != "fiftyone":  # whose tables have no subset
        assert b"val-annotations-bbox.csv" in few
        assert n_few < 5 * N_TASKS < n_passes


N_FRAMES, N_SUBSETS = 400, 25
KEPT_KINDS = ("images", "shapes", "tags", "rows")
IMAGE, BOX = "ImageID,Subset,Title\n", "ImageID,LabelName,XMin,XMax,YMin,YMax\n"
TAG, MACHINE = "ImageID,Source,LabelName,Confidence\n", "ImageID,Source,LabelName,Confidence\n"
MASK = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
RELATION = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel\n"


def many_subsets(subset_of: Callable[[int], int]) -> bytes:
    """Every table of every subset; each frame has a row in all of them."""
    files: dict[str, str | bytes] = {"annotations/class-descriptions.csv": "/m/cat,cat\n/m/dog,dog\n"}
    tables = {
        "images-with-rotation": IMAGE,
        "annotations-bbox": BOX,
        "annotations-human-imagelabels": TAG,
        "annotations-machine-imagelabels": MACHINE,
        "annotations-object-segmentation": MASK,
        "annotations-vrd": RELATION,
    }
    png = mask_png(np.eye(6, 8, dtype=np.bool_))
    for frame in range(N_FRAMES):
        subset, name = f"s{subset_of(frame)}", f"{frame:04}"
        mask, place = f"{name}_cat_{frame:08x}.png", f"0.{frame + 100},0.9,0.25,0.75"
        for table, row in zip(
            tables,
            (
                f"{name},{subset},picture {frame}",
                f"{name},/m/cat,{place}\n{name},/m/dog,{place}",
                f"{name},verification,/m/cat,1\n{name},verification,/m/dog,0",
                f"{name},machine,/m/dog,0.{frame + 1}",
                f"{mask},{name},/m/cat,{frame:08x},{place},0.9,",
                f"{name},/m/cat,/m/dog,{place},{place},on",
            ),
            strict=True,
        ):
            path = f"annotations/{subset}-{table}.csv"
            files[path] = f"{files.get(path, tables[table])}{row}\n"  # type: ignore[str-bytes-safe]
        files[f"masks/{subset}/{mask}"] = png
    return zip_of(files)


@pytest.fixture(params=["mixed", "one after the other"])
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskDesk]:
    """A task with all that an archive may hold of many subsets, some of it edited, more drawn, and tracks."""
    mixed = request.param == "mixed"
    with Desk(tmp_path) as desk:
        task = desk.task({f"{frame:04}.jpg": (8, 6) for frame in range(N_FRAMES)}, [{"name": "cat"}, {"name": "dog"}])
        task.bring(many_subsets(lambda frame: frame % N_SUBSETS if mixed else frame * N_SUBSETS // N_FRAMES))
        boxes = [shape for shape in task.annotations()["shapes"] if shape["type"] == "rectangle"]
        task.change("update", shapes=[{**box, "points": [1, 1, 4, 4]} for box in boxes[::7]])
        task.change("delete", shapes=boxes[3::50])
        for number in range(4):
            draw(task, number, task.labels()["dog"]["id"])
        key = {"type": "rectangle", "outside": False, "points": [1, 1, 3, 3]}
        shapes = [{"frame": 3, **key}, {"frame": 90, **key, "outside": True}]
        task.change("create", tracks=[{"frame": 3, "label_id": task.labels()["cat"]["id"], "shapes": shapes}])
        yield task


class Reading:
    """Exports of a task, and how many rows of each kind each of them read."""

    def __init__(self, task: TaskDesk, options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._task, self._options, self.n_rows = task, options, Counter[str]()
        read = AnnotationReader._pass

        def counted(reader: AnnotationReader, kind: str) -> Iterator[Any]:
            for table in read(reader, kind):
                self.n_rows[kind] += len(table)
                yield table

        monkeypatch.setattr(AnnotationReader, "_pass", counted)

    def export(self) -> tuple[bytes, Counter[str]]:
        self.n_rows.clear()
        parts: list[bytes] = []
        job = {"task_id": self._task.number, "job_id": None, "format": FORMAT, **self._options}
        stream_dataset(self._task.desk.storage, job, lambda chunk: parts.append(bytes(chunk)))
        return b"".join(parts), self.n_rows.copy()


@pytest.mark.parametrize("options", [{}, {"layout": "official"}, {"classes": "cat"}, {"label_ids": "name"}], ids=str)
def test_an_export_of_many_subsets_reads_everything_a_few_times(
    options: dict[str, str], many: TaskDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(many, options, monkeypatch)
    monkeypatch.setattr(waiting, "STRETCH_ROWS", 150)  # several of each
    found, n_few = reading.export()
    monkeypatch.setattr(plan, "MOST_PASSES", 1 << 30)
    monkeypatch.setattr(AnnotationReader, "part", lambda reader, wanted: reader)
    again, n_many = reading.export()
    assert again == found
    is_mixed = n_few["images"] == 2 * N_FRAMES  # for their ids, and for all lists
    for kind in KEPT_KINDS:
        assert n_few[kind] * (10 if is_mixed else 5) <= n_many[kind], kind


@pytest.mark.parametrize("options", [{}, {"layout": "official"}, {"layout": "fiftyone"}], ids=str)
def test_an_export_of_few_images_reads_all_once_and_theirs_alone(
    options: dict[str, str], many: TaskDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(many, {**options, "image_ids": "0070,0090,0399"}, monkeypatch)
    found, n_few = reading.export()
    with many.desk.storage.database.read() as conn:
        n_held = counts(conn, many.number)
    monkeypatch.setattr(AnnotationReader, "part", lambda reader, wanted: reader)
    again, n_many = reading.export()
    assert again == found
    for kind in ("shapes", "tags"):
        # Two of seven blocks, however often.
        assert 0 < 3 * (n_few[kind] - n_held[kind]) < n_many[kind] - n_held[kind], kind


def test_pictures_of_boxes_and_points_are_written_some_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes do not tell where a picture was cut; one that has a mask or a group is not."""
    n_rows: list[int] = []
    read = AnnotationReader.shapes

    def counted(reader: AnnotationReader) -> Iterator[Any]:
        for table in read(reader):
            n_rows.append(len(table))
            yield table

    random = np.random.default_rng(1)
    note = {"name": "text_label", "mutable": False, "input_type": "text", "values": [""]}
    with Desk(tmp_path) as desk:
        task = desk.task({f"{name}.jpg": (80, 60) for name in "abc"}, [{"name": "cat", "attributes": [note]}])
        (label,) = task.labels().values()
        shapes = []
        for number in range(400):
            kind = KINDS[:3:2][number % 2]
            points = np.sort(random.integers(0, 60, (1 + number % 3 if kind == "points" else 2, 2)), axis=0)
            text = {"spec_id": label["attributes"][0]["id"], "value": f"note {number % 5}"}
            shape = {"type": kind, "frame": number % 3, "label_id": label["id"], "points": points.ravel().tolist()}
            shapes.append({**shape, "attributes": [text] if number % 4 == 0 else [], "occluded": number % 11 == 0})
        shapes.append({"type": "mask", "frame": 2, "label_id": label["id"], "points": POINTS["mask"]})
        task.change("create", shapes=shapes)
        task.bring(task.export_zip(), mode="append")  # and those with lines
        monkeypatch.setattr(AnnotationReader, "shapes", counted)

        def export() -> bytes:
            n_rows.clear()
            parts: list[bytes] = []
            job = {"task_id": task.number, "job_id": None, "format": FORMAT}
            stream_dataset(desk.storage, job, lambda chunk: parts.append(bytes(chunk)))
            return b"".join(parts)

        whole = export()
        assert max(n_rows) == 802
        monkeypatch.setitem(AnnotationReader.__init__.__kwdefaults__ or {}, "batch_rows", 20)
        assert export() == whole
        n_largest, n_second = sorted({*n_rows})[:-3:-1]
        assert n_largest == 268, "the picture with a mask"
        assert n_second <= 40


def test_a_subset_that_no_image_is_of_costs_no_choice_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: AnnotationReader, wanted: Any) -> AnnotationReader:
        raise AssertionError("all blocks are wanted")

    monkeypatch.setattr(AnnotationReader, "part", asked)
    with Desk(tmp_path) as desk:
        task = desk.task({"a.jpg": (8, 6), "b.jpg": (8, 6)}, [{"name": "cat"}], subset="train")
        rows = b"ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,0,1,0,1\nb,cat,0,1,0,1\n"
        task.bring({"train-annotations-bbox.csv": rows})
        found, n_rows = Reading(task, {}, monkeypatch).export()
        assert n_rows["shapes"]
        assert found
