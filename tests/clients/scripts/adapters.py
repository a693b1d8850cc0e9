"""The SDK's dataset adapter and its automatic annotation, as users of the SDK run them on a task of the service."""

from __future__ import annotations

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.datasets import TaskDataset
from telling import REQUEST, connect, plain, tell


class EveryPicture:
    """Finds one box and one mask in every picture."""

    spec = cvataa.DetectionFunctionSpec(labels=[cvataa.label_spec("cat", 0)])

    def detect(self, context, image):
        width, height = image.size
        # One pixel, (1, 1), as CVAT writes a mask: runs of its box, zeros first, then the box.
        return [cvataa.rectangle(0, [0, 0, width / 2, height / 2]), cvataa.mask(0, [0, 1, 1, 1, 1, 1])]


with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="adapters", labels=[{"name": "cat"}, {"name": "dog"}]), REQUEST["pictures"]
    )
    task.import_annotations(REQUEST["format"], REQUEST["archive"], conv_mask_to_poly=False)
    samples = [
        {
            "name": sample.frame_name,
            "size": list(sample.media.load_image().size),
            "shapes": plain(sample.annotations.shapes),
            "tags": plain(sample.annotations.tags),
        }
        for sample in TaskDataset(client, task.id).samples
    ]
    known = {shape.id for shape in task.get_annotations().shapes}
    cvataa.annotate_task(client, task.id, EveryPicture())
    added = [shape for shape in plain(task.get_annotations().shapes) if shape["id"] not in known]
    cvataa.annotate_task(client, task.id, EveryPicture(), clear_existing=True)
    # The adapter keeps a cache and drops it when the task says that it changed.
    fresh = sum(len(sample.annotations.shapes) for sample in TaskDataset(client, task.id).samples)
    tell(samples=samples, before=len(known), added=added, fresh=fresh, now=len(task.get_annotations().shapes))
    task.remove()
