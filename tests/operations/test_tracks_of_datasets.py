"""A data set becomes a task for each subset: a track that goes over pictures of several comes as the boxes it shows,
each other one as the track it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.storage import requests
from tests.desk import FORMAT, Desk, TaskDesk
from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.parts import LIST, LIST_HEADER
from tests.samples import picture

SHAPE = {"type": "rectangle", "points": [0, 0, 2, 2], "attributes": []}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as opened:
        yield opened


def project_of(desk: Desk, name: str) -> int:
    return int(desk.call("POST", "/api/projects", 201, json={"name": name, "labels": [{"name": "cat"}]})["id"])


def new_task(desk: Desk, project: int) -> TaskDesk:
    """Pictures a, b, c, of which b is of another subset."""
    task = TaskDesk(desk, desk.call("POST", "/api/tasks", 201, json={"name": "t", "project_id": project})["id"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.png", picture(8, 6))
    files = {"client_files[0]": ("p.zip", packed.getvalue())}
    desk.call("POST", f"{task.path}/data", 202, files=files, data={"image_quality": "70"})
    desk.work()
    rows = (f"{name},{subset},,,,,,,,,,\n" for name, subset in zip("abc", ("train", "test", "train"), strict=True))
    task.bring(zip_of({LIST: LIST_HEADER + "".join(rows)}))
    return task


def exported(desk: Desk, project: int) -> bytes:
    asked = {"format": FORMAT, "save_images": "true"}
    rq_id = desk.call("POST", f"/api/projects/{project}/dataset/export", 202, params=asked)["rq_id"]
    desk.work()
    return bytes(desk.client.get(f"/api/projects/{project}/dataset/download", params={"rq_id": rq_id}).content)


def boxes(data: bytes) -> dict[str, list[bytes]]:
    return {name: sorted(body.splitlines()) for name, body in read_zip(data).items() if "bbox.csv" in name}


@pytest.mark.parametrize(
    ("keys", "tracks"),
    [
        pytest.param([(0, False)], 0, id="over all pictures"),
        pytest.param([(0, False), (1, True)], 0, id="until a picture of another subset"),
        pytest.param([(1, False), (2, True)], 1, id="of another subset alone"),
        pytest.param([(2, False)], 1, id="of one subset"),
    ],
)
def test_no_box_of_a_track_is_lost(desk: Desk, keys: list[tuple[int, bool]], tracks: int) -> None:
    one, other = project_of(desk, "p"), project_of(desk, "q")
    task = new_task(desk, one)
    shapes = [{**SHAPE, "frame": frame, "outside": outside} for frame, outside in keys]
    cat = task.labels()["cat"]["id"]
    task.change("create", tracks=[{"frame": keys[0][0], "label_id": cat, "attributes": [], "shapes": shapes}])
    data = exported(desk, one)
    form = {"dataset_file": ("p.zip", data)}
    rq_id = desk.call("POST", f"/api/projects/{other}/dataset", 202, params={"format": FORMAT}, files=form)["rq_id"]
    desk.work()
    with desk.storage.database.read() as conn:
        report: dict[str, Any] = dict(requests.load(conn, rq_id).report or {})
    assert ("extra.ignored" in report["counts"]) is (not tracks), "it is told"
    assert boxes(exported(desk, other)) == boxes(data)
    listed = desk.call("GET", "/api/tasks", params={"project_id": str(other)})["results"]
    found = [TaskDesk(desk, made["id"]).annotations()["tracks"] for made in listed]
    assert sum(map(len, found)) == tracks


@pytest.mark.parametrize("hidden", [[], [0]], ids=["all pictures", "the next task's first picture is deleted"])
def test_a_track_that_goes_on_to_the_end_of_its_task_is_a_track_in_another_project(
    desk: Desk, hidden: list[int]
) -> None:
    one, other = project_of(desk, "p"), project_of(desk, "q")
    before = []
    for subset in ("train", "test"):
        number = desk.call("POST", "/api/tasks", 201, json={"name": subset, "project_id": one, "subset": subset})["id"]
        task = TaskDesk(desk, number)
        packed = zip_of({f"{subset}{at}.png": picture(8, 6) for at in range(3)})
        files = {"client_files[0]": ("p.zip", packed)}
        desk.call("POST", f"{task.path}/data", 202, files=files, data={"image_quality": "70"})
        desk.work()
        cat = task.labels()["cat"]["id"]
        shapes = [{**SHAPE, "frame": 1}, {**SHAPE, "frame": 2, "points": [1, 1, 3, 3]}]
        task.put(tracks=[{"frame": 1, "label_id": cat, "group": 4, "attributes": [], "shapes": shapes}])
        before.append(keys_of(task))
    desk.call("PATCH", f"{task.path}/data/meta", json={"deleted_frames": hidden})
    form = {"dataset_file": ("p.zip", exported(desk, one))}
    desk.call("POST", f"/api/projects/{other}/dataset", 202, params={"format": FORMAT}, files=form)
    desk.work()
    listed = desk.call("GET", "/api/tasks", params={"project_id": str(other), "sort": "name"})["results"]
    after = [keys_of(TaskDesk(desk, each["id"])) for each in listed]
    assert after == ([before[1], before[0]] if not hidden else [moved(before[1]), before[0]])


def keys_of(task: TaskDesk) -> list[Any]:
    found = task.annotations()
    assert not found["shapes"]
    return [
        (track["group"], [(key["frame"], key["points"], key["outside"]) for key in track["shapes"]])
        for track in found["tracks"]
    ]


def moved(tracks: list[Any]) -> list[Any]:
    """In a task without the first picture."""
    return [(group, [(frame - 1, *more) for frame, *more in keys]) for group, keys in tracks]
