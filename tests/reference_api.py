"""Slow and obvious twins of `app.api.encoding` and `app.api.outline`: plain loops, plain objects."""

from __future__ import annotations

import json
from typing import Any

from app.annotations import Annotations, LabelCatalog, ShapeType


def attributes(text: str, catalog: LabelCatalog, label_id: int, mutable: bool | None = None) -> list[dict[str, Any]]:
    label = catalog.by_id.get(label_id)
    values = {entry["spec_id"]: entry["value"] for entry in json.loads(text)}
    found = []
    for spec in sorted(label.attributes if label else (), key=lambda spec: spec.id):
        if mutable is None or spec.mutable == mutable:
            found.append({"spec_id": spec.id, "value": values.get(spec.id, spec.default_value)})
    return found


def document(found: Annotations, catalog: LabelCatalog) -> dict[str, Any]:
    """What `encode` writes, as Python values."""
    tags, shapes, tracks = [], [], []
    for i in range(len(found.tags)):
        tags.append(
            {
                "id": int(found.tags.ids[i]),
                "frame": int(found.tags.frames[i]),
                "label_id": int(found.tags.label_ids[i]),
                "group": int(found.tags.groups[i]),
                "source": found.tags.sources.row(i),
                "attributes": attributes(found.tags.attributes.row(i), catalog, int(found.tags.label_ids[i])),
            }
        )
    for i in range(len(found.shapes)):
        table = found.shapes
        is_mask = table.types[i] == ShapeType.MASK
        elements = json.loads(table.elements.row_bytes(i) or b"[]")
        for element in elements:
            element["attributes"] = attributes(json.dumps(element["attributes"]), catalog, element["label_id"])
            element["elements"] = []
        shapes.append(
            {
                "id": int(table.ids[i]),
                "frame": int(table.frames[i]),
                "label_id": int(table.label_ids[i]),
                "group": int(table.groups[i]),
                "source": table.sources.row(i),
                "type": ShapeType(int(table.types[i])).name.lower(),
                "occluded": bool(table.occluded[i]),
                "outside": bool(table.outside[i]),
                "z_order": int(table.z_orders[i]),
                "rotation": float(table.rotations[i]),
                "points": table.runs.row(i).tolist() if is_mask else table.points.row(i).tolist(),
                "attributes": attributes(table.attributes.row(i), catalog, int(table.label_ids[i])),
                "elements": elements,
                "score": float(table.scores[i]),
            }
        )
    for i in range(len(found.tracks)):
        label_id = int(found.tracks.label_ids[i])
        body = json.loads(found.tracks.bodies.row_bytes(i))
        fill_track(body["shapes"], catalog, label_id)
        for element in body["elements"]:
            text = json.dumps(element["attributes"])
            element["attributes"] = attributes(text, catalog, element["label_id"], mutable=False)
            element["elements"] = []
            fill_track(element["shapes"], catalog, element["label_id"])
        tracks.append(
            {
                "id": int(found.tracks.ids[i]),
                "frame": int(found.tracks.frames[i]),
                "label_id": label_id,
                "group": int(found.tracks.groups[i]),
                "source": found.tracks.sources.row(i),
                "attributes": attributes(found.tracks.attributes.row(i), catalog, label_id, mutable=False),
                **body,
            }
        )
    return {"version": 0, "tags": tags, "shapes": shapes, "tracks": tracks}


def fill_track(shapes: list[dict[str, Any]], catalog: LabelCatalog, label_id: int) -> None:
    """An attribute that a shape does not set has the value of the shape before it."""
    before: dict[int, str] = {}
    for shape in shapes:
        given = {entry["spec_id"] for entry in shape["attributes"]}
        shape["attributes"] = attributes(json.dumps(shape["attributes"]), catalog, label_id, mutable=True)
        for entry in shape["attributes"]:
            if entry["spec_id"] not in given:
                entry["value"] = before.get(entry["spec_id"], entry["value"])
            before[entry["spec_id"]] = entry["value"]


def depth(value: Any) -> int:
    """How deep a JSON value is nested."""
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    return 0
