"""Many small pictures in one go: the SDK puts them all into one form."""

from __future__ import annotations

from pathlib import Path

from cvat_sdk import models
from telling import REQUEST, connect, digest, tell

pictures = sorted(Path(REQUEST["folder"]).iterdir())
with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="many", labels=[{"name": "cat"}], segment_size=500),
        pictures if REQUEST["order"] == "lexicographical" else pictures[::-1],
        data_params={"sorting_method": REQUEST["order"]},
    )
    last = task.size - 1
    tell(
        size=task.size,
        names=[frame.name for frame in task.get_frames_info()],
        last=digest(task.get_frame(last, quality="original").read()),
        jobs=sorted([job.start_frame, job.stop_frame] for job in task.get_jobs()),
    )
    task.remove()
