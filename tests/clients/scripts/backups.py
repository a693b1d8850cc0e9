"""Backups of a task and of a project through the SDK: made, brought back, and what both export."""

from __future__ import annotations

from pathlib import Path

from cvat_sdk import models
from cvat_sdk.core.exceptions import BackgroundRequestException
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from telling import REQUEST, connect, plain, tell

folder = Path(REQUEST["folder"])

with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="first", labels=REQUEST["labels"], segment_size=2),
        REQUEST["pictures"],
        data_params={"image_quality": 60},
    )
    task.import_annotations(REQUEST["format"], REQUEST["archive"], conv_mask_to_poly=False)
    labels = task.get_labels()
    drawn = {"type": "rectangle", "frame": 1, "label_id": labels[1].id, "points": [1.0, 2.0, 3.25, 4.1]}
    side = next(spec.id for spec in labels[0].attributes if spec.name == "side")
    keys = [
        {"type": "rectangle", "frame": frame, "points": [float(frame), 1.0, frame + 5.0, 6.0], "attributes": value}
        for frame, value in ((0, [{"spec_id": side, "value": "right"}]), (2, []))
    ]
    track = {"frame": 0, "label_id": labels[0].id, "shapes": keys, "attributes": []}
    added = models.PatchedLabeledDataRequest(
        shapes=[models.LabeledShapeRequest(**drawn)], tracks=[models.LabeledTrackRequest(**track)]
    )
    task.update_annotations(added, action=AnnotationUpdateAction.CREATE)
    jobs = sorted(task.get_jobs(), key=lambda job: job.start_frame)
    jobs[0].update(models.PatchedJobWriteRequest(stage="validation", state="in progress"))
    task.remove_frames_by_ids([0])
    task.download_backup(str(folder / "task.zip"))
    back = client.tasks.create_from_backup(str(folder / "task.zip"))
    for name, each in (("one", task), ("two", back)):
        each.export_dataset(REQUEST["format"], str(folder / f"{name}.zip"), include_images=True)
    told = [
        {
            "name": each.name,
            "quality": each.image_quality,
            "frames": [frame.name for frame in each.get_frames_info()],
            "deleted": plain(each.get_meta().deleted_frames),
            "jobs": sorted((job.start_frame, job.stop_frame, job.stage, job.state) for job in each.get_jobs()),
            "annotations": plain(each.get_annotations()),
            "labels": plain(each.get_labels()),
        }
        for each in (task, back)
    ]
    project = client.projects.create_from_dataset(
        models.ProjectWriteRequest(name="a project"), dataset_path=REQUEST["dataset"], dataset_format=REQUEST["format"]
    )
    project.download_backup(str(folder / "project.zip"))
    again = client.projects.create_from_backup(str(folder / "project.zip"))
    for name, each in (("three", project), ("four", again)):
        each.export_dataset(REQUEST["format"], str(folder / f"{name}.zip"), include_images=True)
    subsets = [sorted(each.subset for each in one.get_tasks()) for one in (project, again)]
    failure = None
    try:
        client.tasks.create_from_backup(REQUEST["archive"])
    except BackgroundRequestException as error:
        failure = str(error)
    for each in (task, back, project, again):
        each.remove()
    tell(told=told, names=[project.name, again.name], subsets=subsets, failure=failure)
