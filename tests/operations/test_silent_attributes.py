"""An attribute that cannot show its cell: another edit of the annotation does not write its default into the row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk import Desk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    MASK_HEADER,
    MASKS,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)
from tests.formats.open_images.test_points import HEADER as POINT_HEADER
from tests.formats.open_images.test_points import POINTS


def spec(name: str, kind: str, *values: str, default: str = "") -> dict[str, Any]:
    return {"name": name, "mutable": False, "input_type": kind, "values": list(values), "default_value": default}


LABEL = {
    "name": "cat",
    "attributes": [
        spec("source", "select", "drawn", "clicked", default="drawn"),
        spec("score", "select", "1", "0.5", default="1"),
        spec("truncated", "select", "false", "perhaps", default="false"),
        spec("is_group_of", "checkbox", "false", default="false"),
        spec("box_id", "number", "0", "100", "1", default="0"),
        spec("predicted_iou", "number", "0", "1", "0.1", default="0"),
        spec("text_label", "select", "none", "some", default="none"),
        spec("note", "text", default=""),
    ],
}
ROWS = {
    BOXES: ["a,freehand,cat,0.7,0,1,0,1,0,1,-1,0,0", "a,,cat,0.5,0,0.5,0,1,0,0,-1,0,0"],
    TAGS: ["a,verified,cat,0.25", "a,,cat,1"],
    MASKS: ["m.png,a,cat,e16d01b9,,,,,,"],
    POINTS: ["a,0.5,0.5,cat,yes,ih,1,0,0,other", "a,0.25,0.5,cat,no,,1,0,0,"],
}
HEADERS = {BOXES: BOX_HEADER, TAGS: TAG_HEADER, MASKS: MASK_HEADER, POINTS: POINT_HEADER}
MEMBERS: dict[str, str | bytes] = {
    CLASSES: "cat,cat\n",
    "masks/train/m.png": rectangle_png(8, 8, 2, 2, 4, 4),
    **{path: HEADERS[path] + "".join(f"{row}\n" for row in rows) for path, rows in ROWS.items()},
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as opened:
        yield opened


def rows_of(members: dict[str, bytes]) -> dict[str, list[str]]:
    return {path: members[path].decode().splitlines()[1:] for path in ROWS}


@pytest.mark.parametrize("changed", [{"note": "new"}, {"note": "new", "is_group_of": "true"}], ids=str)
def test_one_edit_changes_one_cell(desk: Desk, changed: dict[str, str]) -> None:
    task = desk.task({"a.png": (8, 8)}, [LABEL])
    task.bring({"a.zip": zip_of(MEMBERS)})
    assert rows_of(task.export()) == ROWS
    names = {one["id"]: one["name"] for one in task.labels()["cat"]["attributes"]}
    found = task.annotations()
    for one in (*found["shapes"], *found["tags"]):
        assert len(one["attributes"]) == len(names), "clients get, and send back, every attribute"
        for attribute in one["attributes"]:
            attribute["value"] = changed.get(names[attribute["spec_id"]], attribute["value"])
    task.change("update", shapes=found["shapes"], tags=found["tags"])
    wanted = dict(ROWS)
    if "is_group_of" in changed:
        wanted[BOXES] = [row.replace(",-1,0,0", ",1,0,0") for row in ROWS[BOXES]]
    assert rows_of(task.export()) == wanted


def test_what_is_said_is_written(desk: Desk) -> None:
    task = desk.task({"a.png": (8, 8)}, [LABEL])
    task.bring({"a.zip": zip_of(MEMBERS)})
    said = {"source": "clicked", "score": "0.5", "truncated": "false", "box_id": "7", "predicted_iou": "0.5"}
    names = {one["id"]: one["name"] for one in task.labels()["cat"]["attributes"]}
    found = task.annotations()
    for one in (*found["shapes"], *found["tags"]):
        for attribute in one["attributes"]:
            attribute["value"] = said.get(names[attribute["spec_id"]], attribute["value"])
    task.change("update", shapes=found["shapes"], tags=found["tags"])
    rows = rows_of(task.export())
    assert rows[BOXES] == ["a,clicked,cat,0.5,0,1,0,1,0,1,-1,0,0", "a,clicked,cat,0.5,0,0.5,0,1,0,0,-1,0,0"]
    assert rows[TAGS] == ["a,clicked,cat,0.5", "a,clicked,cat,0.5"]
    assert rows[MASKS] == ["m.png,a,cat,7,,,,,0.5,"]
