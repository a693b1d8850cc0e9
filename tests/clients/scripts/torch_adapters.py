"""`cvat_sdk.pytorch` as a training script uses it: a task and a project as data sets of torchvision."""

from __future__ import annotations

import cvat_sdk.pytorch as cvatpt
import torch
from cvat_sdk import models
from telling import REQUEST, connect, tell
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

INDEX = {"cat": 0, "dog": 1}


with connect() as client:
    project = client.projects.create(
        models.ProjectWriteRequest(name="torch", labels=[{"name": name} for name in INDEX])
    )
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="torch", project_id=project.id, subset="train"), REQUEST["pictures"]
    )
    task.import_annotations(REQUEST["format"], REQUEST["archive"])
    rectangles = cvatpt.ExtractBoundingBoxes(include_shape_types={"rectangle"})
    boxes = cvatpt.TaskVisionDataset(client, task.id, label_name_to_index=INDEX, target_transform=rectangles)
    found = [[list(image.size), target["boxes"].tolist(), target["labels"].tolist()] for image, target in boxes]
    single = cvatpt.ProjectVisionDataset(
        client,
        project.id,
        include_subsets={"train"},
        label_name_to_index=INDEX,
        transform=pil_to_tensor,
        target_transform=cvatpt.ExtractSingleLabelIndex(),
    )
    tags = [[list(image.shape), int(label)] for image, label in single]
    loader = DataLoader(single, batch_size=len(single))
    batch = [list(part.shape) for part in next(iter(loader))]
    task.set_annotations(models.LabeledDataRequest())
    fresh = [len(target.annotations.shapes) for _, target in cvatpt.TaskVisionDataset(client, task.id)]
    project.remove()
tell(found=found, tags=tags, batch=batch, fresh=fresh, torch=torch.__version__)
