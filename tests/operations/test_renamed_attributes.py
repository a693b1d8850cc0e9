"""An attribute that is called otherwise since an import: what it shows leaves with the export, and comes back under its
new name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.formats.open_images.extras import Extras, relabel
from tests.desk import Desk, TaskDesk
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

FRAMES = {"a.png": (8, 8)}
RENAMES = {
    "occluded": "occ2",
    "truncated": "is_group_of",
    "is_group_of": "grouped",
    "score": "rating",
    "box_id": "number",
    "yes_votes": "votes",
}
MEMBERS: dict[str, str | bytes] = {
    CLASSES: "cat,cat\n",
    BOXES: BOX_HEADER + "a,freehand,cat,0.7,0,1,0,1,1,1,0,0,0\na,,cat,1,0,0.5,0,1,0,0,-1,0,0\n",
    TAGS: TAG_HEADER + "a,verified,cat,0.25\n",
    MASKS: MASK_HEADER + "m.png,a,cat,e16d01b9,,,,,,\n",
    "masks/train/m.png": rectangle_png(8, 8, 2, 2, 4, 4),
    POINTS: POINT_HEADER + "a,0.5,0.5,cat,yes,ih,1,0,0,other\n",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("renamed")) as opened:
        yield opened


def label(*names: str, checkbox: bool = False) -> dict[str, Any]:
    kind = {"input_type": "checkbox", "values": ["false"]} if checkbox else {"input_type": "text", "values": [""]}
    return {"name": "cat", "attributes": [{"name": name, "mutable": False, **kind} for name in names]}


def rename(task: TaskDesk, names: dict[str, str]) -> None:
    """Attributes get their other names, all of them at once."""
    cat = task.labels()["cat"]
    specs = [{**spec, "name": names[spec["name"]]} for spec in cat["attributes"] if spec["name"] in names]
    task.desk.call("PATCH", f"/api/labels/{cat['id']}", json={"attributes": specs})


def shown(task: TaskDesk) -> list[Any]:
    """What the task shows: each shape and tag with its attributes by name."""
    cat = task.labels()["cat"]
    names = {spec["id"]: spec["name"] for spec in cat["attributes"]}
    found = task.annotations()
    rows = [
        [one.get("type", ""), one.get("points"), {names[spec["spec_id"]]: spec["value"] for spec in one["attributes"]}]
        for one in (*found["shapes"], *found["tags"])
    ]
    return sorted(rows, key=lambda row: (row[0], row[1]))


@pytest.mark.parametrize("checkbox", [False, True])
def test_what_a_renamed_attribute_shows_comes_back(desk: Desk, checkbox: bool) -> None:
    names = [*RENAMES] if not checkbox else ["occluded", "truncated", "is_group_of"]
    renames = {old: new for old, new in RENAMES.items() if old in names}
    task = desk.task(FRAMES, [label(*names, checkbox=checkbox)])
    other = desk.task(FRAMES, [label(*renames.values(), checkbox=checkbox)])
    absent = "a,,cat,0\n"  # which only a score shows
    task.bring(zip_of({**MEMBERS, TAGS: str(MEMBERS[TAGS]) + absent}))
    rename(task, renames)
    before = shown(task)
    assert [one[2]["occ2"] for one in before].count("true") == 1
    archive = task.export_zip()
    other.bring(archive)
    assert shown(other) == before
    assert other.export_zip() == archive
    task.bring(archive)
    assert shown(task) == before


def test_rows_of_a_label_without_renames_leave_as_they_came(desk: Desk) -> None:
    task = desk.task(FRAMES, [label("occluded", "mood")])
    task.bring(zip_of(MEMBERS))
    same = task.export()
    rename(task, {"mood": "temper"})
    assert task.export() == same, "no column shows it"


@pytest.mark.parametrize("way", ["move", "merge"])
def test_it_is_known_wherever_the_rows_go(desk: Desk, way: str) -> None:
    """In a project, where ids are others, and when rows get their lines from another archive, whose import knows the
    new names alone."""
    task = desk.task(FRAMES, [label(*RENAMES)])
    new = label(*reversed(RENAMES.values()))
    other = desk.task(FRAMES, [new])
    task.bring(zip_of(MEMBERS))
    rename(task, RENAMES)
    if way == "move":
        project = desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": [{"name": "dog"}, new]})["id"]
        desk.call("PATCH", task.path, json={"project_id": project})
    else:
        boxes = str(MEMBERS[BOXES]).replace("cat,0.7,0,1,0,1,", "cat,0.7,0,0.75,0,1,")
        report = task.bring(zip_of({**MEMBERS, BOXES: boxes}), mode="merge")
        assert report["changes"]["shapes"]["changed"] == 1
    before = shown(task)
    assert [one[2]["occ2"] for one in before].count("true") == 1
    other.bring(task.export_zip())
    assert shown(other) == before


def test_an_attribute_that_is_called_like_a_column_since_is_in_it(desk: Desk) -> None:
    """As if somebody had edited it: also where no side file tells it."""
    first, second = (desk.task(FRAMES, [label("foo")]) for _ in range(2))
    first.bring(zip_of(MEMBERS))
    found = first.annotations()
    for one in (*found["shapes"], *found["tags"]):
        one["attributes"][0]["value"] = "0.125"
    first.change("update", shapes=found["shapes"], tags=found["tags"])
    second.bring(first.export_zip())
    rename(second, {"foo": "score"})
    members = second.export(side_file="false")
    assert [row.split(",")[3] for row in members[BOXES].decode().split()[1:]] == ["0.125"] * 2
    assert members[TAGS].decode().split()[1:] == ["a,verified,cat,0.125"]
    third = desk.task(FRAMES, [label("score")])
    third.bring(second.export_zip())
    assert shown(third) == shown(second)


def test_an_attribute_that_is_new_shows_its_column(desk: Desk) -> None:
    """It has shown nothing before, so that nothing is lost: the row speaks when it comes in again."""
    task = desk.task(FRAMES, [label("occluded")])
    task.bring(zip_of(MEMBERS))
    same = task.export()
    cat = task.labels()["cat"]
    desk.call("PATCH", f"/api/labels/{cat['id']}", json={"attributes": label("score")["attributes"]})
    assert task.export() == same
    task.bring(zip_of(same))
    assert {"occluded": "true", "score": "0.7"} in [one[2] for one in shown(task)]


def test_what_was_recorded_follows_the_ids_of_attributes() -> None:
    told = Extras(attributes={3: "score", 4: "score", 5: "mood"}).to_dict()
    assert told["attributes"] == {"score": [3, 4], "mood": [5]}
    moved = relabel(told, {}, {3: 30, 4: 40})
    assert moved is not None
    assert Extras.from_dict(moved).attributes == {30: "score", 40: "score"}
    assert not Extras.from_dict({}).attributes
    for damaged in ([], {"score": 3}, {"score": [[3]]}):
        with pytest.raises(ValueError, match="damaged"):
            relabel({**told, "attributes": damaged}, {}, {3: 30})
