"""An export of many tasks looks into each for the subsets that it has, not for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.operations.targets import ProjectSource, TaskSource
from tests.desk import FORMAT, Desk, TaskDesk

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
    with Desk(tmp_path / "few") as desk:
        few = exported(desk, project_of(desk, [f"s{number}" for number in range(N_TASKS)]), layout=layout)
    n_few, n_passes = n_passes, 0
    monkeypatch.setattr(ProjectSource, "part", lambda source, wanted: source)
    with Desk(tmp_path / "all") as desk:
        assert exported(desk, project_of(desk, [f"s{number}" for number in range(N_TASKS)]), layout=layout) == few
    if layout != "fiftyone":  # whose tables have no subset
        assert b"val-annotations-bbox.csv" in few
        assert n_few < 5 * N_TASKS < n_passes
