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
    other = client.projects.create(
        models.ProjectWriteRequest(name="other", labels=[models.PatchedLabelRequest(name=n) for n in ("dog", "cat")])
    )
    moving = tasks[-1]
    before = plain(moving.get_annotations())
    moving.update(models.PatchedTaskWriteRequest(project_id=other.id))
    names = {label.id: label.name for label in moving.get_labels()}
    after = plain(moving.get_annotations())
    moved = {
        "project": moving.project_id == other.id,
        "labels": [names[shape["label_id"]] for shape in after["shapes"]],
        "places": [shape["points"] for shape in after["shapes"]] == [shape["points"] for shape in before["shapes"]],
        "left": [task.id for task in project.get_tasks()] == [task.id for task in tasks[:-1]],
    }
    other.remove()
    project.remove()
    tell(tasks=told, labels=sorted(found), failure=failure, preview=preview, count=project.tasks.count, moved=moved)
