"""What the contract says of things that are read and written by hand: annotations, frames, reports.

Annotations are encoded from columns, so no model holds them. Options of formats are in `option_words.py`.
"""

from __future__ import annotations

from typing import Any


def parameter(name: str, text: str, *, required: bool = False, example: Any = None, **schema: Any) -> dict[str, Any]:
    """A query parameter as the contract shows it."""
    described = {"type": "string", **schema}
    if example is not None:
        described["examples"] = [example]
    return {"name": name, "in": "query", "required": required, "description": text, "schema": described}


FORMAT = parameter("format", "Display name of the format", example="Open Images V6 1.0", maxLength=256)
LOCATION = parameter("location", "Where the file comes from or goes to: the client", enum=["local"], default="local")
FILENAME = parameter("filename", "Name of the file that is downloaded", example="pets.zip", maxLength=256)
PERSONAL = parameter("org", "The personal workspace: empty, as there are no organizations", enum=[""])


def _object(title: str, text: str, required: list[str], **properties: Any) -> dict[str, Any]:
    described = {"type": "object", "title": title, "description": text, "properties": properties}
    return {**described, "required": required} if required else described


def _list(name: str, text: str = "") -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return {**items, "description": text} if text else items


def _number(example: int, *, nullable: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": ["integer", "null"] if nullable else "integer", "examples": [example], **more}


COUNTED = ("seen", "kept", "changed", "dropped")
MAX_INT32 = 2**31 - 1
FRAME = _number(0, minimum=0, maximum=MAX_INT32, description="Number of the frame in the task")
FLAG = {"type": "boolean", "default": False}
ENTRY: dict[str, Any] = {
    "id": _number(7, nullable=True, minimum=0),
    "frame": FRAME,
    "label_id": _number(3, minimum=0, maximum=MAX_INT32),
    "group": _number(0, nullable=True, minimum=0, maximum=MAX_INT32),
    "source": {"type": "string", "maxLength": 256, "default": "manual"},
    "attributes": _list("AttributeVal"),
}
GEOMETRY: dict[str, Any] = {
    "type": {"$ref": "#/components/schemas/ShapeType"},
    "occluded": FLAG,
    "outside": FLAG,
    "z_order": _number(0, minimum=-MAX_INT32, maximum=MAX_INT32),
    "rotation": {"type": "number", "minimum": 0, "maximum": 360, "default": 0.0},
    "points": {"type": "array", "items": {"type": "number"}, "examples": [[10.0, 20.0, 110.0, 70.5]]},
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "ShapeType": {
        "type": "string",
        "title": "ShapeType",
        "enum": ["rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"],
    },
    "AttributeVal": _object(
        "AttributeVal",
        "A value of an attribute; a text, also where it means a number or a flag.",
        ["spec_id", "value"],
        spec_id=_number(3, minimum=0),
        value={"type": "string", "maxLength": 4096, "examples": ["left"]},
    ),
    "LabeledImage": _object("LabeledImage", "A tag: a label of a whole frame.", ["frame", "label_id"], **ENTRY),
    "SubLabeledShape": _object(
        "SubLabeledShape", "A part of a skeleton, on the frame of the whole.", ["type", "label_id"], **ENTRY, **GEOMETRY
    ),
    "LabeledShape": _object(
        "LabeledShape",
        "A shape on a frame. Coordinates are pixels; of a mask, `points` are run lengths and its box.",
        ["type", "frame", "label_id"],
        **ENTRY,
        **GEOMETRY,
        score={"type": "number", "minimum": 0, "maximum": 1, "default": 1.0},
        elements=_list("SubLabeledShape", "Of a skeleton: its parts"),
    ),
    "TrackedShape": _object(
        "TrackedShape",
        "A shape of a track, from its frame on.",
        ["type", "frame"],
        id=ENTRY["id"],
        frame=FRAME,
        attributes=ENTRY["attributes"],
        **GEOMETRY,
    ),
    "SubLabeledTrack": _object(
        "SubLabeledTrack",
        "A part of a skeleton that is tracked.",
        ["label_id", "shapes"],
        **ENTRY,
        shapes=_list("TrackedShape"),
    ),
    "LabeledTrack": _object(
        "LabeledTrack",
        "A thing that is followed over frames.",
        ["frame", "label_id", "shapes"],
        **ENTRY,
        shapes=_list("TrackedShape"),
        elements=_list("SubLabeledTrack", "Of a skeleton: its parts"),
    ),
    "LabeledData": _object(
        "LabeledData",
        "Annotations of a task or job.",
        [],
        version=_number(0),
        tags=_list("LabeledImage"),
        shapes=_list("LabeledShape"),
        tracks=_list("LabeledTrack"),
    ),
    "FrameMeta": _object(
        "FrameMeta",
        "What is known of a frame.",
        ["name", "related_files"],
        name={"type": "string", "examples": ["a.jpg"]},
        width=_number(640),
        height=_number(480),
        related_files=_number(0),
        has_related_context=FLAG,
    ),
    "DataMetaRead": _object(
        "DataMetaRead",
        "What is known of the frames of a task or job, deleted ones included.",
        ["chunks_updated_date", "frames", "deleted_frames"],
        chunks_updated_date={"type": "string", "format": "date-time"},
        chunk_size=_number(72),
        size=_number(1),
        image_quality=_number(70),
        start_frame=_number(0),
        stop_frame=_number(0),
        frame_filter={"type": "string", "examples": [""]},
        frames=_list("FrameMeta"),
        deleted_frames={"type": "array", "items": {"type": "integer"}, "examples": [[]]},
        included_frames={"type": ["array", "null"], "items": {"type": "integer"}},
        chapters={"type": "null"},
        storage={"type": "string", "examples": ["local"]},
        storage_method={"type": "string", "examples": ["cache"]},
        cloud_storage_id={"type": "null"},
    ),
    "ImportWaiting": _object(
        "ImportWaiting",
        "An import that is not at its end yet.",
        ["rq_id", "status", "url"],
        rq_id={"type": "string", "examples": ["4f0c5a3d9e7b4c6f8a1b2c3d4e5f6071"]},
        status={"type": "string", "enum": ["queued", "started"]},
        url={"type": "string", "examples": ["https://host/api/requests/4f0c5a3d9e7b4c6f8a1b2c3d4e5f6071"]},
        message={"type": "string", "examples": ["reading the archive"]},
        progress={"type": ["number", "null"], "minimum": 0, "maximum": 1},
    ),
    "ImportReport": _object(
        "ImportReport",
        "What an import saw, kept, changed and dropped; further facts of the format stand beside these.",
        ["rq_id", "status", "url", "message", "problems", "counts", "n_errors", "n_warnings", "tables"],
        rq_id={"type": "string", "examples": ["4f0c5a3d9e7b4c6f8a1b2c3d4e5f6071"]},
        status={"type": "string", "enum": ["finished"]},
        url={"type": "string", "examples": ["https://host/api/requests/4f0c5a3d9e7b4c6f8a1b2c3d4e5f6071"]},
        message={"type": "string", "examples": ["imported 2 shapes, 1 tags"]},
        problems={"type": "array", "items": {"$ref": "#/components/schemas/ProblemInfo"}, "examples": [[]]},
        counts={"type": "object", "additionalProperties": {"type": "integer"}, "examples": [{}]},
        n_errors=_number(0),
        n_warnings=_number(0),
        tables={
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/TableCounts"},
            "examples": [
                {"annotations/default-annotations-bbox.csv": dict.fromkeys(COUNTED, 0) | {"seen": 2, "kept": 2}}
            ],
        },
        format={"type": "string", "examples": ["Open Images V6 1.0"]},
        dry_run=FLAG,
        annotations={"type": "object", "examples": [{"shapes": 2, "tags": 1, "tracks": 0}]},
    ),
    "TableCounts": _object(
        "TableCounts", "Rows of one table.", list(COUNTED), **{name: _number(0) for name in COUNTED}
    ),
}
"""Components that no model stands for."""


def json_of(name: str) -> dict[str, Any]:
    """The content of an answer or a body of this component."""
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def told_headers(**texts: str) -> dict[str, Any]:
    """Headers of an answer, `_` for `-` in their names."""
    return {name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}
