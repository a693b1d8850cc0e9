"""Merging what a task exported into the task: shapes that were drawn there are what its rows say, and stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.parts import MASK_HEADER, MASKS, TAG_HEADER, TAGS
from tests.samples import mask_png, runs_of

FRAMES = {"a.jpg": (40, 30)}
NOTE = {"name": "note", "mutable": False, "input_type": "text", "values": [""]}
LABELS = [{"name": "cat", "attributes": [NOTE]}, {"name": "dog"}]
ONE, TWO = [1.0, 1, 5, 1, 5, 6], [11.0, 1, 15, 1, 15, 6]
CONVERT = ["true", "false"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("drawn")) as opened:
        yield opened


def mask_at(*lefts: int) -> dict[str, Any]:
    pixels = np.zeros((30, 40), dtype=np.bool_)
    for left in lefts:
        pixels[left : left + 3, left : left + 4] = True
    pixels[lefts[0], lefts[0]] = False
    return {"type": "mask", "points": runs_of(pixels)}


def polygon(points: list[float], note: str = "") -> dict[str, Any]:
    return {"type": "polygon", "points": points, "note": note}


def draw(task: TaskDesk, *shapes: dict[str, Any]) -> None:
    cat = task.labels()["cat"]
    spec = cat["attributes"][0]["id"]
    look = {"frame": 0, "label_id": cat["id"]}
    notes = [[{"spec_id": spec, "value": one.get("note", "")}] for one in shapes]
    bare = [{name: value for name, value in one.items() if name != "note"} for one in shapes]
    task.put(shapes=[{**look, **one, "attributes": note} for one, note in zip(bare, notes, strict=True)])


def shown(task: TaskDesk) -> list[tuple[Any, ...]]:
    """Type, points, group, layer, flag and note of each shape."""
    return sorted(
        (one["type"], one["points"], one["group"], one["z_order"], one["occluded"], one["attributes"][0]["value"])
        for one in task.annotations()["shapes"]
    )


DRAWN = {
    "a mask": [mask_at(3)],
    "a mask of two parts": [mask_at(3, 12)],
    "masks of a group": [{**mask_at(3), "group": 1}, {**mask_at(12), "group": 1}],
    "a mask and its box": [{**mask_at(3), "group": 1}, {"type": "rectangle", "points": [1, 1, 9, 9], "group": 1}],
    "polygons of a group": [{**polygon(ONE, "x"), "group": 2}, {**polygon(TWO, "y"), "group": 2}],
    "a polygon and a mask": [{**polygon(ONE), "group": 1}, {**mask_at(12), "group": 1}],
    "a polygon and an ellipse": [
        {**polygon(ONE), "group": 1},
        {"type": "ellipse", "points": [9, 9, 14, 5], "group": 1},
    ],
    "two alike": [{**polygon(ONE), "group": 2}, {**polygon(ONE), "group": 2}],
}


@pytest.mark.parametrize("convert", CONVERT)
@pytest.mark.parametrize("name", DRAWN)
def test_what_was_drawn_is_there_once(desk: Desk, name: str, convert: str) -> None:
    task = desk.task(FRAMES, LABELS)
    draw(task, *DRAWN[name])
    before, data = task.annotations(), task.export_zip()
    report = task.bring(data, mode="merge", conv_mask_to_poly=convert)
    told = {word: report["changes"]["shapes"][word] for word in ("added", "changed", "removed", "unchanged", "kept")}
    assert told == {"added": 0, "changed": 0, "removed": 0, "unchanged": len(DRAWN[name]), "kept": 0}
    assert task.annotations() == before
    assert read_zip(task.export_zip()) == read_zip(data)


def test_one_of_several_is_corrected_the_others_stay(desk: Desk) -> None:
    task, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    draw(task, *DRAWN["polygons of a group"])
    before = shown(task)
    other.bring(task.export_zip())
    one = next(each for each in other.annotations()["shapes"] if each["points"] == TWO)
    spec = one["attributes"][0]["spec_id"]
    other.change("update", shapes=[{**one, "attributes": [{"spec_id": spec, "value": "z"}]}])
    task.bring(other.export_zip(), mode="merge")
    assert [each[-1] for each in shown(task)] == [("z" if each[1] == TWO else each[-1]) for each in before]
    assert [each[:-1] for each in shown(task)] == [each[:-1] for each in before]


def test_what_the_archive_lacks_of_a_row_stays(desk: Desk) -> None:
    task, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    draw(task, *DRAWN["polygons of a group"])
    before = shown(task)
    other.bring(task.export_zip())
    other.change("delete", shapes=[one for one in other.annotations()["shapes"] if one["points"] == TWO])
    task.bring(other.export_zip(), mode="merge")
    assert shown(task) == before


def test_a_shape_that_joined_an_imported_mask_is_there_once(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    pixels = np.zeros((30, 40), dtype=np.bool_)
    pixels[20:25, 20:30] = True
    archive = zip_of({MASKS: MASK_HEADER + "m.png,a,cat,7,,,,,,\n", "masks/train/m.png": mask_png(pixels)})
    task.bring(archive)
    (mask,) = task.annotations()["shapes"]
    task.change("update", shapes=[{**mask, "group": 1}])
    note = [{"spec_id": task.labels()["cat"]["attributes"][0]["id"], "value": "own"}]
    joined = {**mask, "id": 0, "group": 1, "type": "polygon", "points": ONE, "z_order": 3, "occluded": True}
    task.change("create", shapes=[{**joined, "attributes": note}])
    before = shown(task)
    data = task.export_zip()
    task.bring(data, mode="merge")
    assert shown(task) == before
    assert task.bring(data, mode="merge")["changes"]["shapes"]["unchanged"] == 2
    assert shown(task) == before


@pytest.mark.parametrize("which", [0, 1])
def test_a_relabelled_part_keeps_its_label(desk: Desk, which: int) -> None:
    task = desk.task(FRAMES, LABELS)
    pixels = np.zeros((30, 40), dtype=np.bool_)
    pixels[2:5, 2:5] = pixels[20:25, 20:30] = True
    members = {MASKS: MASK_HEADER + "m.png,a,cat,7,,,,,0.5,\n", "masks/train/m.png": mask_png(pixels)}
    task.bring(zip_of(members), conv_mask_to_poly="true")
    parts = task.annotations()["shapes"]
    dog = task.labels()["dog"]["id"]
    task.change("update", shapes=[{**parts[which], "label_id": dog, "attributes": []}])
    for correction in ("0.5", "0.6"):
        corrected = {**members, MASKS: members[MASKS].replace("0.5", correction)}
        for data in (zip_of(corrected), task.export_zip()):
            task.bring(data, mode="merge", conv_mask_to_poly="true")
            dogs = [one for one in task.annotations()["shapes"] if one["label_id"] == dog]
            assert [(one["id"], one["points"]) for one in dogs] == [(parts[which]["id"], parts[which]["points"])]
            cats = [one["points"] for one in task.annotations()["shapes"] if one["label_id"] != dog]
            assert parts[1 - which]["points"] in cats


def test_of_several_tags_of_a_label_each_stays_what_it_is(desk: Desk) -> None:
    """The lines of both leave otherwise than they came: what they said once tells which is which no more."""
    attributes = [{**NOTE, "name": name} for name in ("score", "source")]
    task = desk.task(FRAMES, [{"name": "cat", "attributes": attributes}])
    rows = ["a,verification,cat,", "a,verification,cat,"]
    task.bring(zip_of({TAGS: TAG_HEADER.strip() + ",n\n" + "".join(f"{row},{n}\n" for n, row in enumerate(rows))}))
    specs = {spec["name"]: spec["id"] for spec in task.labels()["cat"]["attributes"]}
    first = task.annotations()["tags"][0]
    told = {"score": "1", "source": "mine"}
    edited = [{"spec_id": specs[name], "value": value} for name, value in told.items()]
    task.change("update", tags=[{**first, "attributes": edited}])

    def seen() -> list[tuple[int, Any]]:
        return [(tag["id"], tag["attributes"]) for tag in task.annotations()["tags"]]

    before, archive = seen(), task.export_zip()
    task.bring(archive, mode="merge")
    assert sorted(seen()) == sorted(before)
    assert read_zip(task.export_zip())[TAGS] == read_zip(archive)[TAGS]


def test_a_tag_that_was_drawn_is_not_taken_for_an_imported_one(desk: Desk) -> None:
    """Both leave with one line; what only the side file knows tells which is which."""
    task = desk.task(FRAMES, LABELS)
    cat = task.labels()["cat"]
    note = [{"spec_id": cat["attributes"][0]["id"], "value": "mine"}]
    task.put(tags=[{"frame": 0, "label_id": cat["id"], "attributes": note, "group": 3}])
    task.bring(zip_of({TAGS: "LabelName,ImageID,Source,Confidence\ncat,a,,1\n"}), mode="append")

    def seen() -> list[tuple[int, int, Any]]:
        return sorted((tag["id"], tag["group"], tag["attributes"]) for tag in task.annotations()["tags"])

    before, archive = seen(), task.export_zip()
    task.bring(archive, mode="merge")
    assert seen() == before
    assert read_zip(task.export_zip())[TAGS] == read_zip(archive)[TAGS]


@pytest.mark.parametrize("kind", ["tag", "box", "mask"])
def test_what_a_side_file_told_leaves_again_after_a_correction_without_one(desk: Desk, kind: str) -> None:
    drawn = desk.task(FRAMES, LABELS)
    cat = drawn.labels()["cat"]
    note = [{"spec_id": cat["attributes"][0]["id"], "value": "mine"}]
    looks: dict[str, dict[str, Any]] = {"box": {"type": "rectangle", "points": [4.0, 6, 20, 18]}, "mask": mask_at(3)}
    table, look = ("shapes", looks[kind]) if kind in looks else ("tags", {})
    drawn.put(**{table: [{"frame": 0, "label_id": cat["id"], "attributes": note, **look}]})
    exported = drawn.export_zip()
    task, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    task.bring(exported)
    corrected = {name: data.replace(b"cat,1", b"cat,0.5") for name, data in read_zip(exported).items()}
    del corrected["annotations/oid_extra.json"]
    for name in corrected:
        if name.endswith(".png"):
            corrected[name] = mask_png(np.ones((30, 40), dtype=np.bool_))
    report = task.bring(zip_of(corrected), mode="merge")
    assert report["changes"][table]["changed"] == 1
    other.bring(task.export_zip())
    for one in (task, other):
        (found,) = one.annotations()[table]
        assert [spec["value"] for spec in found["attributes"]] == ["mine"]


def test_rows_that_call_a_label_by_its_name_keep_it_when_it_is_renamed(desk: Desk) -> None:
    """Also where a merge brought them: what the label was called is needed once it is called otherwise."""
    task, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, [{"name": "kitty"}, {"name": "dog"}])
    task.bring(zip_of({TAGS: TAG_HEADER + "a,verification,cat,1\n"}), mode="merge")
    desk.call("PATCH", f"/api/labels/{task.labels()['cat']['id']}", json={"name": "kitty"})
    other.bring(task.export_zip())
    assert [tag["label_id"] for tag in other.annotations()["tags"]] == [other.labels()["kitty"]["id"]]


def test_a_tag_that_takes_a_label_without_a_score_is_there(desk: Desk) -> None:
    """Of its old label it said that it is absent, which the new one cannot show."""
    labels: list[dict[str, Any]] = [{"name": "cat", "attributes": [{**NOTE, "name": "score"}]}, {"name": "dog"}]
    task, other = desk.task(FRAMES, labels), desk.task(FRAMES, labels)
    task.bring(zip_of({TAGS: TAG_HEADER + "a,verification,cat,0\n"}))
    (tag,) = task.annotations()["tags"]
    task.change("update", tags=[{**tag, "label_id": task.labels()["dog"]["id"], "attributes": []}])
    members = task.export()
    assert members[TAGS] == (TAG_HEADER + "a,verification,dog,1\n").encode()
    other.bring(zip_of(members))
    assert [found["label_id"] for found in other.annotations()["tags"]] == [other.labels()["dog"]["id"]]
