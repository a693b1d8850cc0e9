"""What each option of a format does, for the contract: the doors read them by name, and the contract tells them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from app.api.queries import option_names
from app.formats import ExportOptions, ImportOptions

WORDS = {
    "annotated_only": "Only images that have an annotation",
    "attributes": "Only images with such a row: names of attributes, or `name=value`; a list",
    "box_source": "`Source` of boxes that were drawn",
    "classes": "Only images with these classes: MIDs or names; a list",
    "conv_mask_to_poly": "Masks become polygons along pixel edges",
    "descendants": "Classes mean all classes below them in the hierarchy too",
    "documented_image_list": "Write the image list a second time, under the name in CVAT's manual",
    "expand": "`hierarchy`: copies of rows for every ancestor, as the challenges' evaluation wants them",
    "image_ids": "Only these images, with or without extension, with or without `subset/` in front; a list",
    "label_ids": "What rows call labels: their MIDs, or their names",
    "label_types": "Only these: detections, classifications, segmentations, points, relationships; a list",
    "labels": "`create`: labels that the archive needs and the task has not come with the import",
    "layout": "Names and folders: CVAT's, the official ones, or FiftyOne's",
    "machine_labels": "`tags`: machine image labels become tags; else their file is kept as it is",
    "map": "Labels and subsets called otherwise: `label:FROM=TO`, `subset:FROM=TO`; a list",
    "max_confidence": "Only rows of this confidence at most, 0 to 1",
    "max_images": "Only so many images",
    "min_confidence": "Only rows of this confidence at least, 0 to 1",
    "missing": "What a merge does with rows that the archive lacks",
    "only_matching": "Of a chosen image only the rows of the classes and attributes asked for",
    "rotated": "A rotated rectangle is a mask, the box around it, or both",
    "rules": "Consistency rules to warn of: `all`, or their names; `-name` leaves one out; a list",
    "save_images": "With the pictures",
    "seed": "Any so many images of `max_images`, the same ones for the same number",
    "side_file": "With the file that says what the tables cannot",
    "subsets": "Only images of these subsets; a list",
    "tag_source": "`Source` of image labels that were given here",
    "unmatched": "Images that are not the task's: refuse the archive, or pass over them",
}
"""A list is one text: entries separated by commas or line breaks, quoted where they hold one."""

_TASK_DOORS = ("/api/tasks/{task_id}", "/api/jobs/{job_id}")
DOORS: Mapping[str, type[Any]] = {
    **{f"post {door}/import": ImportOptions for door in _TASK_DOORS},
    **{f"post {door}/annotations": ImportOptions for door in _TASK_DOORS},
    "post /api/projects/{project_id}/dataset": ImportOptions,
    **{f"get {door}/export": ExportOptions for door in _TASK_DOORS},
    **{f"post {door}/dataset/export": ExportOptions for door in (*_TASK_DOORS, "/api/projects/{project_id}")},
}
"""Method and path of each door that takes a format's options."""


def add_options(document: Mapping[str, Any]) -> None:
    """Put the options of every door into the contract, beside those that it tells already."""
    for door, kind in DOORS.items():
        method, path = door.split(" ")
        operation = document["paths"][path][method]
        parameters = operation.setdefault("parameters", [])
        names = set(option_names(kind))
        parameters[:] = [one for one in parameters if one["name"] not in names or one.get("description")]
        known = {parameter["name"] for parameter in parameters}
        parameters += [_parameter(kind, name) for name in sorted(names - known)]


def _parameter(kind: type[Any], name: str) -> dict[str, Any]:
    hint = get_type_hints(kind)[name]
    default = next(field.default for field in dataclasses.fields(kind) if field.name == name)
    schema: dict[str, Any] = {"type": "string", "default": default}
    if hint is bool:
        schema |= {"enum": ["true", "false"], "default": str(default).lower()}
    elif get_origin(hint) is Literal:
        schema["enum"] = list(get_args(hint))
    return {"name": name, "in": "query", "required": False, "description": WORDS[name], "schema": schema}
