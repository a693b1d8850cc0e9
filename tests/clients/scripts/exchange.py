"""A task from pictures, archives imported into it one after the other, its annotations after each, and exports."""

from __future__ import annotations

from cvat_sdk import models
from cvat_sdk.core.exceptions import BackgroundRequestException
from telling import REQUEST, connect, files_in, plain, tell


def bring_in(target, wanted):
    """One import; answers the failure's text, or None."""
    try:
        target.import_annotations(REQUEST["format"], wanted["path"], **wanted.get("options", {}))
    except BackgroundRequestException as error:
        return str(error)
    return None


with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name=REQUEST["name"], labels=REQUEST["labels"], **REQUEST.get("task", {})),
        REQUEST["pictures"],
    )
    jobs = sorted(task.get_jobs(), key=lambda job: job.start_frame)
    steps = []
    for wanted in REQUEST["imports"]:
        target = jobs[wanted["job"]] if "job" in wanted else task
        failure = bring_in(target, wanted)
        steps.append({"failure": failure, "annotations": plain(task.get_annotations())})
    for wanted in REQUEST.get("exports", []):
        target = jobs[wanted["job"]] if "job" in wanted else task
        target.export_dataset(REQUEST["format"], wanted["to"], include_images=wanted["images"])
    labels = plain(task.get_labels())
    if REQUEST.get("remove", True):
        task.remove()
    tell(
        task=task.id,
        labels=labels,
        steps=steps,
        jobs=[job.id for job in jobs],
        files=files_in(REQUEST["folder"]) if "folder" in REQUEST else [],
    )
