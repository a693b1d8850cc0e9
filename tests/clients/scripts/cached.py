"""`cvat_sdk.datasets` with its cache on disk: dropped at every change, of use without the network until then."""

from __future__ import annotations

from cvat_sdk import models
from cvat_sdk.datasets import MediaDownloadPolicy, TaskDataset, UpdatePolicy
from telling import REQUEST, connect, tell


def seen(dataset: TaskDataset) -> list[object]:
    """What a training run sees of a task."""
    return [
        [
            sample.frame_name,
            sample.media.load_image().size,
            len(sample.annotations.shapes),
            len(sample.annotations.tags),
        ]
        for sample in dataset.samples
    ]


with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="cached", labels=[{"name": "cat"}], segment_size=2), REQUEST["pictures"]
    )
    label = task.get_labels()[0]
    box = models.LabeledShapeRequest(type="rectangle", frame=0, label_id=label.id, points=[1.0, 2.0, 3.0, 4.0])
    job = task.get_jobs()[0]
    changes = {
        "annotations of the task": lambda: task.set_annotations(models.LabeledDataRequest(shapes=[box])),
        "annotations of a job": lambda: job.remove_annotations(),
        "an import": lambda: task.import_annotations(REQUEST["format"], REQUEST["archive"]),
        "a deleted frame": lambda: task.remove_frames_by_ids([2]),
        "a label": lambda: client.api_client.labels_api.partial_update(label.id, patched_label_request={"name": "dog"}),
        "a state of a job": lambda: job.update(models.PatchedJobWriteRequest(state="completed")),
        "a name": lambda: task.update(models.PatchedTaskWriteRequest(name="renamed")),
    }
    stale: list[str] = []
    TaskDataset(client, task.id)
    for name, change in changes.items():
        before = task.fetch().updated_date
        change()
        if not before < task.fetch().updated_date:
            stale.append(name)
    online = seen(TaskDataset(client, task.id))
    names = [label.name for label in TaskDataset(client, task.id).labels]
    offline = seen(TaskDataset(client, task.id, update_policy=UpdatePolicy.NEVER))
    on_demand = seen(TaskDataset(client, task.id, media_download_policy=MediaDownloadPolicy.FETCH_FRAMES_ON_DEMAND))
    task.remove()
    gone_but_cached = seen(TaskDataset(client, task.id, update_policy=UpdatePolicy.NEVER))
tell(stale=stale, names=names, online=online, offline=offline, on_demand=on_demand, gone_but_cached=gone_but_cached)
