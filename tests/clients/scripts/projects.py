"""A dataset into a project through the SDK, what its tasks are then, and the project's export."""

from __future__ import annotations

from cvat_sdk import models
from cvat_sdk.core.exceptions import BackgroundRequestException
from telling import REQUEST, connect, plain, tell

with connect() as client:
    labels = [models.PatchedLabelRequest(**label) for label in REQUEST.get("labels", [])]
    project = client.projects.create_from_dataset(
        models.ProjectWriteRequest(name="by the SDK", labels=labels),
        dataset_path=REQUEST["first"],
        dataset_format=REQUEST["format"],
    )
    failure = None
    try:
        project.import_dataset(REQUEST["format"], REQUEST["bad"])
    except BackgroundRequestException as error:
        failure = str(error)
    project.fetch()
    project.export_dataset(REQUEST["format"], REQUEST["export"], include_images=True)
    tasks = sorted(project.get_tasks(), key=lambda task: task.id)
    told = [
        {
            "name": task.name,
            "subset": task.subset,
            "frames": [frame.name for frame in task.get_frames_info()],
            "picture": len(task.get_frame(0, quality="original").read()),
            "annotations": plain(task.get_annotations()),
        }
        for task in tasks
    ]
    found = {label.name for label in project.get_labels()}
    preview = len(project.get_preview().read())
    project.remove()
    tell(tasks=told, labels=sorted(found), failure=failure, preview=preview, count=project.tasks.count)
