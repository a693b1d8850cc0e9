"""Annotations through the SDK, with every kind of shape, on tasks and on jobs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.runners import Clients
from tests.samples import LABELS, write_pictures

SKELETON = {
    "name": "person",
    "type": "skeleton",
    "sublabels": [{"name": "head", "type": "points"}, {"name": "foot", "type": "points"}],
    "svg": '<circle r="0.75" cx="10" cy="10" data-type="element node" data-element-id="1" data-node-id="1" '
    'data-label-name="head"></circle><circle r="0.75" cx="10" cy="40" data-type="element node" '
    'data-element-id="2" data-node-id="2" data-label-name="foot"></circle>',
    "attributes": [],
}
POINTS = {
    "rectangle": [10.0, 5.5, 40.25, 30.0],
    "polygon": [1.0, 1.0, 20.5, 2.0, 10.0, 30.125],
    "polyline": [1.0, 1.0, 5.0, 5.0],
    "points": [3.0, 4.0],
    "ellipse": [20.0, 20.0, 30.0, 10.0],
    "cuboid": [float(number) for number in range(16)],
    "mask": [0, 2, 1, 1, 1, 1, 2, 2],
}


def shape(kind: str, frame: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "frame": frame, "label_id": "cat", "points": POINTS[kind], **more}


ANNOTATIONS: dict[str, Any] = {
    "shapes": [
        shape(
            "rectangle", 0, rotation=33.5, z_order=-2, group=4, occluded=True, source="semi-auto",
            attributes=[{"spec_id": "cat.side", "value": "right"}, {"spec_id": "cat.note", "value": "a \"b\" ü,\n<c>"}],
        ),
        *(shape(kind, index % 4) for index, kind in enumerate(POINTS)),
        {
            "type": "skeleton", "frame": 1, "label_id": "person",
            "elements": [
                {"type": "points", "frame": 1, "label_id": "head", "points": [5.0, 6.0]},
                {"type": "points", "frame": 1, "label_id": "foot", "points": [5.0, 26.0], "outside": True},
            ],
        },
    ],
    "tags": [
        {"frame": 0, "label_id": "dog"},
        {"frame": 3, "label_id": "cat", "group": 7, "attributes": [{"spec_id": "cat.score", "value": "0.25"}]},
    ],
    "tracks": [
        {
            "frame": 1, "label_id": "cat", "group": 0,
            "attributes": [{"spec_id": "cat.mood", "value": "wild"}],
            "shapes": [
                {"type": "rectangle", "frame": 1, "points": [0.0, 0.0, 10.0, 10.0],
                 "attributes": [{"spec_id": "cat.side", "value": "right"}]},
                {"type": "rectangle", "frame": 3, "points": [20.0, 10.0, 30.0, 20.0], "outside": True},
            ],
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def told(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Any:
    sizes = {f"{index}.png": (64, 48) for index in range(4)}
    paths = write_pictures(tmp_path_factory.mktemp("pictures"), sizes)
    return clients.sdk(
        "annotations",
        labels=[*LABELS, SKELETON],
        pictures=[str(path) for path in paths],
        annotations=ANNOTATIONS,
        new_points=[1.0, 2.0, 3.0, 4.5],
    )


def without_ids(each: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [without_ids(one) for one in value] if key in ("shapes", "elements") else value
        for key, value in each.items()
        if key != "id"
    }


def covers(stored: Any, given: Any, place: str = "") -> None:
    """Everything that was given is stored, with the same values; lists in the same order, attributes in any."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key == "attributes":
                kept = {each["spec_id"]: each["value"] for each in stored[key]}
                assert {each["spec_id"]: each["value"] for each in value}.items() <= kept.items(), place
            else:
                covers(stored[key], value, f"{place}.{key}")
    elif isinstance(given, list):
        assert len(stored) == len(given), place
        for index, (one, two) in enumerate(zip(stored, given, strict=True)):
            covers(one, two, f"{place}[{index}]")
    else:
        assert stored == given, place


def by_place(annotations: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """In order of frames, then of ids: the order in which they were given within a frame."""
    return sorted(annotations[kind], key=lambda each: (each["frame"], each["id"]))


def test_what_is_set_is_read_back_unchanged(told: Any) -> None:
    for kind in ("tags", "shapes", "tracks"):
        given = sorted(told["given"][kind], key=lambda each: each["frame"])
        covers(by_place(told["stored"], kind), given, kind)
    assert all(each["id"] for kind in ("tags", "shapes", "tracks") for each in told["stored"][kind])


def test_attributes_that_nobody_set_have_their_defaults(told: Any) -> None:
    plain = next(each for each in told["stored"]["shapes"] if each["type"] == "points" and each["frame"] == 3)
    kept = {each["spec_id"]: each["value"] for each in plain["attributes"]}
    expected = {
        "occluded": "false",
        "truncated": "false",
        "score": "",
        "side": "left",
        "mood": "calm",
        "note": "none yet",
    }
    for name, value in expected.items():
        assert kept[told["specs"][f"cat.{name}"]] == value, name


def test_an_update_changes_this_shape_alone(told: Any) -> None:
    before = {each["id"]: each for each in told["stored"]["shapes"]}
    after = {each["id"]: each for each in told["after_update"]["shapes"]}
    changed = told["stored"]["shapes"][0]["id"]
    assert after.keys() == before.keys()
    assert after[changed]["points"] == [1.0, 2.0, 3.0, 4.5]
    assert after[changed]["occluded"] is True
    assert {key: value for key, value in after.items() if key != changed} == {
        key: value for key, value in before.items() if key != changed
    }
    assert told["after_update"]["tags"] == told["stored"]["tags"]


def test_created_objects_get_ids_of_their_own(told: Any) -> None:
    old = {each["id"] for each in told["stored"]["shapes"]}
    new = [each for each in told["after_create"]["shapes"] if each["id"] not in old]
    assert [without_ids(each) for each in new] == [without_ids(told["stored"]["shapes"][0])]
    assert len(told["after_create"]["tags"]) == 2 * len(told["stored"]["tags"])


def test_removed_objects_are_gone_and_no_others(told: Any) -> None:
    gone = {told["stored"]["shapes"][0]["id"], told["stored"]["tags"][0]["id"]}
    for kind in ("tags", "shapes", "tracks"):
        kept = [each for each in told["after_create"][kind] if each["id"] not in gone]
        assert told["after_delete"][kind] == kept


def test_a_job_shows_and_changes_its_own_frames(told: Any) -> None:
    first, second = told["of_jobs"]
    for kind in ("tags", "shapes"):
        assert {each["frame"] for each in first[kind]} <= {0, 1}
        assert {each["frame"] for each in second[kind]} <= {2, 3}
        assert len(first[kind]) + len(second[kind]) == len(told["after_delete"][kind])
    after = told["after_job_set"]
    assert [each["frame"] for each in after["shapes"] if each["frame"] > 1] == [2]
    assert [each["frame"] for each in after["tags"] if each["frame"] > 1] == []
    assert [each for each in after["shapes"] if each["frame"] < 2] == first["shapes"]
    assert {each["frame"] for each in told["after_job_remove"]["shapes"]} == {2}


def test_remove_without_ids_empties_the_task(told: Any) -> None:
    assert [told["after_remove"][kind] for kind in ("tags", "shapes", "tracks")] == [[], [], []]
