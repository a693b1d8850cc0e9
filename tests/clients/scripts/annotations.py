"""Annotations by the SDK: set, read, create, update, delete, remove, on a task and on its jobs."""

from __future__ import annotations

from cvat_sdk import models
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction as Action
from telling import REQUEST, connect, plain, tell

with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="annotations", labels=REQUEST["labels"], segment_size=2), REQUEST["pictures"]
    )
    ids = {label.name: label.id for label in task.get_labels()}
    points = {sub.name: sub.id for label in task.get_labels() for sub in label.sublabels}
    specs = {f"{label.name}.{spec.name}": spec.id for label in task.get_labels() for spec in label.attributes}

    def named(value):
        """Names in place of ids, which the test cannot know: label ids and attribute ids, at any depth."""
        if isinstance(value, list):
            return [named(each) for each in value]
        if not isinstance(value, dict):
            return value
        value = {key: named(each) for key, each in value.items()}
        if isinstance(value.get("label_id"), str):
            value["label_id"] = (ids | points)[value["label_id"]]
        if isinstance(value.get("spec_id"), str):
            value["spec_id"] = specs[value["spec_id"]]
        return value

    given = named(REQUEST["annotations"])
    task.set_annotations(models.LabeledDataRequest(**given))
    stored = plain(task.get_annotations())

    first = stored["shapes"][0]
    changed = {**first, "points": REQUEST["new_points"], "occluded": True}
    task.update_annotations(models.PatchedLabeledDataRequest(shapes=[changed]))
    after_update = plain(task.get_annotations())

    # Ids that are given to new objects are ignored.
    task.update_annotations(models.PatchedLabeledDataRequest(shapes=[first], tags=stored["tags"]), action=Action.CREATE)
    after_create = plain(task.get_annotations())

    task.remove_annotations(ids=[first["id"], stored["tags"][0]["id"]])
    after_delete = plain(task.get_annotations())

    jobs = sorted(task.get_jobs(), key=lambda job: job.start_frame)
    of_jobs = [plain(job.get_annotations()) for job in jobs]
    jobs[1].set_annotations(models.LabeledDataRequest(shapes=[{**first, "frame": jobs[1].start_frame}]))
    after_job_set = plain(task.get_annotations())
    jobs[0].remove_annotations()
    after_job_remove = plain(task.get_annotations())
    task.remove_annotations()
    tell(
        ids=ids,
        points=points,
        specs=specs,
        given=given,
        stored=stored,
        after_update=after_update,
        after_create=after_create,
        after_delete=after_delete,
        of_jobs=of_jobs,
        after_job_set=after_job_set,
        after_job_remove=after_job_remove,
        after_remove=task.get_annotations(),
    )
    task.remove()
