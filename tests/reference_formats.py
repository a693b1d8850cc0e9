"""Slow, obvious twins of what the Open Images writer does by arrays: one row at a time, from the rules as told.

Source: Open Images reference 4.5 (cells of new rows), 4.9 (numbers), 5 (edits).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal

from app.annotations import AttributeSpec, Edit, Shapes, ShapeType, Tags
from app.formats import Target

BOX_HEADER = [
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated",
    "IsGroupOf", "IsDepiction", "IsInside",
]  # fmt: skip
TAG_HEADER = ["ImageID", "Source", "LabelName", "Confidence"]
POINT_HEADER = [
    "ImageId", "X", "Y", "Label", "EstimatedYesNo", "Source", "YesVotes", "NoVotes", "UnsureVotes", "TextLabel",
]  # fmt: skip
POINT_ATTRIBUTES = {
    "EstimatedYesNo": "estimated_yes_no",
    "Source": "source",
    "YesVotes": "yes_votes",
    "NoVotes": "no_votes",
    "UnsureVotes": "unsure_votes",
    "TextLabel": "text_label",
}
DRAWN = {"EstimatedYesNo": "yes", "YesVotes": "1", "NoVotes": "0", "UnsureVotes": "0"}
FLAG_ATTRIBUTES = {
    "IsTruncated": "truncated",
    "IsGroupOf": "is_group_of",
    "IsDepiction": "is_depiction",
    "IsInside": "is_inside",
}
WORDS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0, "-1": -1, "-1.0": -1}

Row = dict[str, str]


def decimal(number: float) -> str:
    """The shortest text that reads back to the same number, without exponent, integers without point."""
    text = format(Decimal(repr(float(number))), "f")
    return text.removesuffix(".0")


def flag(text: str) -> int | None:
    return WORDS.get(text.strip().lower())


def box_rows(
    shapes: Shapes, target: Target, tables: Sequence[Sequence[str]], mids: dict[int, str], header: Sequence[str]
) -> list[Row]:
    """The rows of the box table for rectangles of one subset, in their order.

    Args:
        tables: the header of each kept table, by number.
        mids: the recorded LabelName of label ids.
    """
    return [
        _box_row(shapes, at, target, tables, mids, header)
        for at in range(len(shapes))
        if shapes.types[at] == ShapeType.RECTANGLE
    ]


def tag_rows(
    tags: Tags, target: Target, tables: Sequence[Sequence[str]], mids: dict[int, str], header: Sequence[str]
) -> list[Row]:
    """The rows of the image label table for tags of one subset, in their order."""
    return [_tag_row(tags, at, target, tables, mids, header) for at in range(len(tags))]


def _box_row(
    shapes: Shapes,
    at: int,
    target: Target,
    tables: Sequence[Sequence[str]],
    mids: dict[int, str],
    header: Sequence[str],
) -> Row:
    row, is_new = _kept(shapes, at, tables, header)
    edits = int(shapes.kept.edits[at])
    frame = int(shapes.frames[at])
    label_id = int(shapes.label_ids[at])
    if is_new:
        row["ImageID"] = target.frames.name(frame).rpartition(".")[0]
    if is_new or edits & Edit.LABEL:
        row["LabelName"] = mids.get(label_id, target.labels.by_id[label_id].name)
    source = row["Source"]
    if is_new or edits & Edit.GEOMETRY:
        width, height = int(target.frames.widths[frame]), int(target.frames.heights[frame])
        left, top, right, bottom = shapes.points.row(at).tolist()
        row["XMin"], row["XMax"] = decimal(left / width), decimal(right / width)
        row["YMin"], row["YMax"] = decimal(top / height), decimal(bottom / height)
    for name in header:
        if name.startswith("XClick") and (edits & Edit.GEOMETRY or row[name] == ""):
            row[name] = "-1"
    specs = {spec.name: spec for spec in target.labels.by_id[label_id].attributes}
    values = _values(shapes.attributes.row(at), list(specs.values()))
    if is_new or edits & (Edit.ATTRIBUTES | Edit.LABEL):
        _speak(row, values)
        for column, name in FLAG_ATTRIBUTES.items():
            row[column] = _flag_cell(row[column], specs.get(name), values.get(name), is_new)
    if not is_new and edits & Edit.GEOMETRY and row["Source"] == source:
        row["Source"] = ""
    row["Confidence"] = row["Confidence"] or "1"
    for column in FLAG_ATTRIBUTES:
        row[column] = str(flag(row[column] or "-1"))
    occluded = bool(shapes.occluded[at])
    known = flag(row["IsOccluded"] or "-1")
    row["IsOccluded"] = (
        str(known) if not is_new and (known == occluded or (known == -1 and not occluded)) else str(int(occluded))
    )
    return row


def _tag_row(
    tags: Tags, at: int, target: Target, tables: Sequence[Sequence[str]], mids: dict[int, str], header: Sequence[str]
) -> Row:
    row, is_new = _kept(tags, at, tables, header)
    edits, label_id = int(tags.kept.edits[at]), int(tags.label_ids[at])
    if is_new:
        row["ImageID"] = target.frames.name(int(tags.frames[at])).rpartition(".")[0]
    if is_new or edits & Edit.LABEL:
        row["LabelName"] = mids.get(label_id, target.labels.by_id[label_id].name)
    if is_new or edits & (Edit.ATTRIBUTES | Edit.LABEL):
        _speak(row, _values(tags.attributes.row(at), target.labels.by_id[label_id].attributes))
    row["Confidence"] = row["Confidence"] or "1"
    return row


def point_rows(
    shapes: Shapes, target: Target, tables: Sequence[Sequence[str]], mids: dict[int, str], header: Sequence[str]
) -> list[Row]:
    """The rows of the point table, one for each point of a shape; only the first has what was kept of the shape."""
    rows = []
    for at in range(len(shapes)):
        places = shapes.points.row(at).reshape(-1, 2).tolist()
        rows += [_point_row(shapes, at, place, n, target, tables, mids, header) for n, place in enumerate(places)]
    return rows


def _point_row(
    shapes: Shapes,
    at: int,
    place: Sequence[float],
    number: int,
    target: Target,
    tables: Sequence[Sequence[str]],
    mids: dict[int, str],
    header: Sequence[str],
) -> Row:
    row, is_new = _kept(shapes, at, tables, header) if number == 0 else (dict.fromkeys(header, ""), True)
    edits = 0 if is_new else int(shapes.kept.edits[at])
    frame, label_id = int(shapes.frames[at]), int(shapes.label_ids[at])
    if is_new:
        row["ImageId"] = target.frames.name(frame).rpartition(".")[0]
    if is_new or edits & Edit.LABEL:
        row["Label"] = mids.get(label_id, target.labels.by_id[label_id].name)
    if is_new or edits & Edit.GEOMETRY:
        row["X"] = decimal(place[0] / int(target.frames.widths[frame]))
        row["Y"] = decimal(place[1] / int(target.frames.heights[frame]))
    specs = {spec.name: spec for spec in target.labels.by_id[label_id].attributes}
    values = _values(shapes.attributes.row(at), list(specs.values()))
    for column, name in POINT_ATTRIBUTES.items():
        default = specs[name].default_value if name in specs else ""
        if is_new:
            row[column] = values.get(name, default).strip() or DRAWN.get(column, "")
        elif edits & (Edit.ATTRIBUTES | Edit.LABEL):
            value = values.get(name, "").strip()
            if value and not (row[column] == "" and value == default):
                row[column] = value
    return row


def _kept(table: Shapes | Tags, at: int, tables: Sequence[Sequence[str]], header: Sequence[str]) -> tuple[Row, bool]:
    """The kept cells by column of the output, and whether there are none."""
    number = int(table.kept.tables[at])
    if number < 0:
        return dict.fromkeys(header, ""), True
    line = table.kept.lines.row_bytes(at).decode()
    (cells,) = csv.reader(io.StringIO(line, newline=""))
    kept = {name.casefold(): cell for name, cell in zip(tables[number], cells, strict=True)}
    return {name: kept.get(name.casefold(), "") for name in header}, False


def _values(text: str, specs: Sequence[AttributeSpec]) -> dict[str, str]:
    names = {spec.id: spec.name for spec in specs}
    return {names[item["spec_id"]]: item["value"] for item in json.loads(text) if item["spec_id"] in names}


def _speak(row: Row, values: dict[str, str]) -> None:
    """`score` and `source` to their cells."""
    score = values.get("score", "").strip()
    if score:
        try:
            number = float(score)
        except ValueError:
            number = -1.0
        same = bool(row["Confidence"]) and float(row["Confidence"]) == number
        if 0 <= number <= 1 and not same:
            row["Confidence"] = decimal(number)
    row["Source"] = values.get("source") or row["Source"]


def _flag_cell(kept: str, spec: AttributeSpec | None, value: str | None, is_new: bool) -> str:
    """A checkbox attribute to its flag; an unknown flag stays unknown while the box is at its default."""
    if not is_new:
        kept = kept or "-1"
    if spec is None:
        return kept or "-1"
    if value is None:
        return str(flag(spec.default_value)) if is_new else kept
    if kept and flag(kept) == -1 and flag(value) == flag(spec.default_value):
        return kept
    if kept and flag(kept) == flag(value):
        return kept
    return str(flag(value))
