"""A track is of the job that it begins in; the export of a later job tells what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from app.annotations import Annotations, Tracks
from app.columns import Ragged
from app.errors import Report
from app.formats import ExportOptions, find_format
from app.operations.export_dataset import DEFAULT_FORMAT, Exported, count_dataset, write_dataset
from app.storage import Storage, frames, jobs
from tests.operations.desk import Desk, open_desk_store


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Jobs of the frames 0, 1 to 2 and 3; a track from 0 that ends at 3, and one from 2 on."""
    with open_desk_store(tmp_path / "store") as storage:
        desk = Desk(storage, ("a.png", "b.png", "c.png", "d.png"), [(40, 30)] * 4, jobs=((0, 1), (1, 3), (3, 4)))

        def key(frame: int, outside: bool = False) -> dict[str, Any]:
            return {"type": "rectangle", "frame": frame, "points": [1, 1, 9, 9], "outside": outside}

        bodies = [orjson.dumps({"shapes": keys, "elements": []}) for keys in ([key(0), key(3, outside=True)], [key(2)])]
        tracks = Tracks.empty(2).replace(
            label_ids=np.full(2, desk.label_id("cat"), dtype=np.int32),
            frames=np.array([0, 2], dtype=np.int32),
            bodies=Ragged.from_bytes(bodies),
        )
        desk.draw(Annotations(tracks=tracks))
        yield desk


def told(storage: Storage, what: Exported) -> Report:
    report = Report()
    write_dataset(storage, what, find_format(DEFAULT_FORMAT), ExportOptions(), lambda _: None, report, lambda _: None)
    return report


def test_the_export_of_a_job_tells_of_tracks_that_come_into_it(desk: Desk) -> None:
    with desk.storage.database.read() as conn:
        first, second, third = sorted(job.id for job in jobs.of_task(conn, desk.task_id))
    code = "export.earlier_tracks"
    assert code not in told(desk.storage, Exported(desk.task_id)).counts
    assert code not in told(desk.storage, Exported(desk.task_id, first)).counts
    report = told(desk.storage, Exported(desk.task_id, second))
    assert report.counts[code] == 2
    assert "2 shapes of tracks that begin in an earlier job" in report.warnings[0].message
    assert told(desk.storage, Exported(desk.task_id, third)).counts[code] == 1
    counted = count_dataset(desk.storage, Exported(desk.task_id, second), find_format(DEFAULT_FORMAT), ExportOptions())
    assert counted["counts"][code] == 2


def test_shapes_on_deleted_frames_are_not_missed(desk: Desk) -> None:
    with desk.storage.database.write() as conn:
        second = sorted(job.id for job in jobs.of_task(conn, desk.task_id))[1]
        frames.set_deleted(conn, desk.task_id, np.array([1], dtype=np.int32))
    assert told(desk.storage, Exported(desk.task_id, second)).counts["export.earlier_tracks"] == 1


def test_the_export_of_a_job_tells_of_tracks_that_it_cuts(desk: Desk) -> None:
    with desk.storage.database.read() as conn:
        first, second, _ = sorted(job.id for job in jobs.of_task(conn, desk.task_id))
    assert "export.cut_tracks" not in told(desk.storage, Exported(desk.task_id)).counts
    assert told(desk.storage, Exported(desk.task_id, first)).counts == {"export.cut_tracks": 1}
    assert "export.cut_tracks" not in told(desk.storage, Exported(desk.task_id, second)).counts
