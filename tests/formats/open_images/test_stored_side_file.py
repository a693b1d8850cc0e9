"""Task → zip → task through the service's own JSON: whatever a task holds comes back as it was, and edited rows win."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import MASK_HEADER, MASKS
from tests.samples import CHECKBOXES, disk_with_hole, mask_png, runs_of

SOME, MANY, STEP = 6, 200, 20
FRAMES = {"a.jpg": (40, 30), "dir/b.png": (13, 7), "c.jpg": (64, 48), "none.jpg": (5, 5)}
SIZES = list(FRAMES.values())
MUTABLE = {"name": "mood", "mutable": True, "input_type": "select", "values": ["calm", "wild"]}
LABELS: list[dict[str, Any]] = [
    {
        "name": "cat",
        "attributes": [
            *({"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]} for name in CHECKBOXES),
            {"name": "score", "mutable": False, "input_type": "number", "values": ["0", "1", "0.1"]},
            {"name": "box_id", "mutable": False, "input_type": "text", "values": [""]},
            {"name": "note", "mutable": False, "input_type": "text", "values": ["none"]},
            MUTABLE,
        ],
    },
    {"name": 'a, "b"'},
    {
        "name": "bones",
        "type": "skeleton",
        "sublabels": [{"name": name, "type": "points", "attributes": [MUTABLE]} for name in ("head", "tail")],
        "svg": '<circle r="1.5" cx="10" cy="10" data-type="element node" data-element-id="1" data-node-id="1" '
        'data-label-name="head"></circle><circle r="1.5" cx="20" cy="20" data-type="element node" '
        'data-element-id="2" data-node-id="2" data-label-name="tail"></circle>',
    },
]
SOURCES = ("manual", "manual", "auto", "file", "consensus")


class Drawer:
    """Draws random annotations on a task."""

    def __init__(self, task: TaskDesk, seed: int) -> None:
        self.rng = random.Random(seed)
        self.labels = task.labels()

    def flip(self, share: float = 0.3) -> bool:
        return self.rng.random() < share

    def attributes(self, label: dict[str, Any], mutable: bool | None = None) -> list[dict[str, Any]]:
        rng, found = self.rng, []
        for spec in label["attributes"]:
            if mutable is not None and spec["mutable"] != mutable:
                continue
            kinds = {"checkbox": ["true", "false"], "number": ["0", "0.5", "1"], "text": ["", "x, y", "日本"]}
            value = rng.choice(kinds.get(spec["input_type"]) or spec["values"])
            found.append({"spec_id": spec["id"], "value": value})
        return found

    def number(self, top: float) -> float:
        return self.rng.choice([float(self.rng.randint(0, int(top))), round(self.rng.uniform(-1, top + 1), 2)])

    def points(self, kind: str, frame: int) -> list[float]:
        rng, (width, height) = self.rng, SIZES[frame]
        if kind == "mask":
            pixels = np.random.default_rng(rng.getrandbits(32)).random((height, width)) < 0.4
            pixels[rng.randrange(height), rng.randrange(width)] = True
            return [float(number) for number in runs_of(pixels)]
        if kind == "rectangle":
            x, y = sorted([self.number(width), self.number(width)]), sorted([self.number(height), self.number(height)])
            return [x[0], y[0], x[1] + 0.5, y[1] + 0.5]
        if kind == "ellipse":
            cx, cy = self.number(width), self.number(height)
            return [cx, cy, cx + 0.5 + rng.randint(0, 9), cy - 0.5 - rng.randint(0, 9)]
        count = {"cuboid": 8, "points": rng.randint(1, 4), "polyline": rng.randint(2, 5)}.get(kind, rng.randint(3, 6))
        return [self.number(side) for _ in range(count) for side in (width, height)]

    def look(self, kind: str) -> dict[str, Any]:
        rng = self.rng
        rotated = kind in ("rectangle", "ellipse") and self.flip()
        return {
            "type": kind,
            "occluded": self.flip(),
            "z_order": rng.choice([0, 0, 1, -2, 7]),
            "rotation": round(rng.uniform(0, 359), 2) if rotated else 0.0,
        }

    def shape(self) -> dict[str, Any]:
        rng, frame = self.rng, self.rng.randrange(len(FRAMES))
        kind = rng.choice(
            ["rectangle", "rectangle", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton"]
        )
        more = {"frame": frame, "group": rng.choice([0, 0, 1, 2, 3]), "source": rng.choice(SOURCES)}
        if kind == "skeleton":
            return self.skeleton(frame) | more
        label = self.labels[rng.choice(["cat", 'a, "b"'])]
        points = self.points(kind, frame)
        return {
            **self.look(kind),
            **more,
            "points": points,
            "label_id": label["id"],
            "attributes": self.attributes(label),
        }

    def skeleton(self, frame: int) -> dict[str, Any]:
        label = self.labels["bones"]
        elements = [
            {
                **self.look("points"),
                "frame": frame,
                "label_id": part["id"],
                "points": [self.number(SIZES[frame][0]), self.number(SIZES[frame][1])],
                "outside": self.flip(),
                "attributes": self.attributes(part),
            }
            for part in label["sublabels"]
        ]
        return {**self.look("skeleton"), "points": [], "label_id": label["id"], "elements": elements, "attributes": []}

    def tag(self) -> dict[str, Any]:
        label = self.labels[self.rng.choice(["cat", 'a, "b"'])]
        attributes = self.attributes(label)
        more = {"frame": self.rng.randrange(len(FRAMES)), "source": self.rng.choice(SOURCES)}
        return {**more, "group": self.rng.choice([0, 0, 4]), "label_id": label["id"], "attributes": attributes}

    def track(self) -> dict[str, Any]:
        rng = self.rng
        label = self.labels[rng.choice(["cat", 'a, "b"'])]
        kind = rng.choice(["rectangle", "polygon", "ellipse", "points", "polyline"])
        frames = sorted(rng.sample(range(len(FRAMES)), rng.randint(1, len(FRAMES))))
        n_points = rng.randint(3, 5)
        shapes = []
        for frame in frames:
            points = self.points(kind, frame)
            while kind in ("polygon", "points", "polyline") and len(points) != 2 * n_points:
                points = [self.number(side) for _ in range(n_points) for side in SIZES[frame]]
            outside = self.flip() and frame != frames[0]
            shapes.append(
                {
                    **self.look(kind),
                    "frame": frame,
                    "points": points,
                    "outside": outside,
                    "attributes": self.attributes(label, mutable=True),
                }
            )
        return {
            "frame": frames[0],
            "label_id": label["id"],
            "group": rng.choice([0, 5]),
            "source": rng.choice(SOURCES),
            "attributes": self.attributes(label, mutable=False),
            "shapes": shapes,
        }

    def everything(self) -> dict[str, Any]:
        rng = self.rng
        return {
            "shapes": [self.shape() for _ in range(rng.randint(3, 14))],
            "tags": [self.tag() for _ in range(rng.randint(0, 4))],
            "tracks": [self.track() for _ in range(rng.randint(0, 3))],
        }


def plain(found: dict[str, Any]) -> dict[str, list[str]]:
    """Annotations without ids, frame by frame in their order."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(one) for key, one in sorted(value.items()) if key not in ("id", "version")}
        if isinstance(value, list):
            return [strip(one) for one in value]
        return value

    def ordered(one: dict[str, Any]) -> dict[str, Any]:
        """Attributes in the order of their specs: what they say does not depend on it."""
        if "attributes" in one:
            one["attributes"] = sorted(one["attributes"], key=lambda each: each["spec_id"])
        for part in (*one.get("elements", ()), *one.get("shapes", ())):
            ordered(part)
        return one

    return {kind: sorted(repr(ordered(strip(one))) for one in found[kind]) for kind in ("shapes", "tags", "tracks")}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("sides")) as opened:
        yield opened


def there_and_back(desk: Desk, seed: int, **options: str) -> None:
    one, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    drawn = Drawer(one, seed).everything()
    one.put(**drawn)
    before = plain(one.annotations())
    assert sum(map(len, before.values())) == sum(len(drawn[kind]) for kind in before)
    data = one.export_zip(**options)
    one.bring(data)
    assert plain(one.annotations()) == before, f"seed {seed}"
    # Another task, whose labels have other ids, holds the same by names: what it writes is the same, byte for byte.
    other.bring(data)
    assert other.export_zip(**options) == one.export_zip(**options), f"seed {seed}"
    one.bring(other.export_zip(**options))
    assert plain(one.annotations()) == before, f"seed {seed}"


@pytest.mark.parametrize("seed", range(SOME))
def test_whatever_a_task_holds_comes_back_through_the_api(desk: Desk, seed: int) -> None:
    there_and_back(desk, seed)


OTHER_OPTIONS: list[dict[str, str]] = [
    {"rotated": "both"},
    {"rotated": "box", "layout": "official"},
    {"layout": "fiftyone", "rotated": "both"},
    {"label_ids": "name"},
]


@pytest.mark.parametrize("options", OTHER_OPTIONS, ids=" ".join)
@pytest.mark.parametrize("seed", range(2))
def test_it_comes_back_whatever_the_options_of_the_export_are(desk: Desk, seed: int, options: dict[str, str]) -> None:
    there_and_back(desk, seed, **options)


def turned(label: dict[str, Any], points: list[float], **more: Any) -> dict[str, Any]:
    look = {"type": "rectangle", "frame": 0, "label_id": label["id"], "attributes": []}
    return {**look, "points": points, "rotation": 30.0, **more}


def test_a_turned_rectangle_without_a_pixel_comes_back_once(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    task.put(shapes=[turned(task.labels()["cat"], [2, 2, 2.2, 2.2])])
    before = plain(task.annotations())
    for rotated in ("mask", "box", "both"):
        task.bring(task.export_zip(rotated=rotated))
        assert plain(task.annotations()) == before, rotated


def test_a_turned_rectangle_and_the_mask_of_its_group_stay_linked(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    cat = task.labels()["cat"]
    polygon = {"type": "polygon", "frame": 0, "label_id": cat["id"], "group": 1, "attributes": []}
    rectangle = turned(cat, [5, 5, 20, 15], group=1)
    outline = {**polygon, "points": [3.0, 3.0, 21.0, 4.0, 9.0, 19.0]}
    for shapes in ([rectangle, outline], [outline, rectangle]):
        task.put(shapes=shapes)
        first = task.export(rotated="both")
        task.bring(zip_of(first))
        assert task.export(rotated="both") == first


def test_the_source_of_a_turned_rectangle_stays_until_it_moves(desk: Desk) -> None:
    source = {"name": "source", "mutable": False, "input_type": "text", "values": [""]}
    task = desk.task(FRAMES, [{"name": "cat", "attributes": [source]}])
    cat = task.labels()["cat"]
    said = [{"spec_id": cat["attributes"][0]["id"], "value": "mine"}]
    task.put(shapes=[turned(cat, [5, 5, 20, 15], attributes=said)])
    first = task.export(rotated="box")
    assert b"\na,mine,cat,1," in first["annotations/default-annotations-bbox.csv"]
    task.bring(zip_of(first))
    assert task.export(rotated="box") == first
    (moved,) = task.annotations()["shapes"]
    task.change("update", shapes=[{**moved, "rotation": 45.0}])
    assert b"\na,,cat,1," in task.export(rotated="box")["annotations/default-annotations-bbox.csv"]


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_tasks_come_back_through_the_api(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            there_and_back(desk, seed)


def test_edited_rows_win_and_the_others_keep_what_only_the_side_file_knows(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    cat = task.labels()["cat"]
    look = {"frame": 0, "label_id": cat["id"], "type": "rectangle", "source": "auto", "z_order": 3, "attributes": []}
    task.put(
        shapes=[
            {**look, "points": [1, 1, 5, 5]},
            {**look, "points": [6, 6, 9, 9]},
            {**look, "points": [1, 2, 3, 4, 5, 1], "type": "polyline"},
        ],
        tags=[{"frame": 0, "label_id": cat["id"], "source": "auto", "group": 4, "attributes": []}],
    )
    members = task.export()
    table = "annotations/default-annotations-bbox.csv"
    assert b"0.025,0.125," in members[table]
    members[table] = members[table].replace(b"0.025,0.125,", b"0.025,0.25,")
    report = task.bring(zip_of(members))
    assert report["counts"]["extra.ignored"] == 1
    found = {tuple(one["points"]): one for one in task.annotations()["shapes"]}
    assert set(found) == {(1, 1, 10, 5), (6, 6, 9, 9), (1, 2, 3, 4, 5, 1)}
    assert (found[1, 1, 10, 5]["source"], found[1, 1, 10, 5]["z_order"]) == ("manual", 0)
    assert {(found[key]["source"], found[key]["z_order"]) for key in found if key != (1, 1, 10, 5)} == {("auto", 3)}
    assert [(one["source"], one["group"]) for one in task.annotations()["tags"]] == [("auto", 4)]


def test_what_the_api_takes_at_its_limits_comes_back(desk: Desk) -> None:
    task = desk.task(FRAMES, LABELS)
    label = task.labels()['a, "b"']["id"]
    look = {"frame": 0, "label_id": label, "attributes": []}
    polygon = [float(number % 25) for number in range(100_000)]
    task.put(
        shapes=[
            {**look, "type": "polygon", "points": [1, 1, 5, 1, 5, 9], "score": 1.0},
            {**look, "type": "polyline", "points": [1, 1, 5, 1, 5, 9], "score": 1e-300},
            {**look, "type": "rectangle", "points": [1, 1, 5, 5], "source": "ö" * 256},
            {**look, "type": "polyline", "points": polygon},
        ],
        tags=[{**look, "source": "a" * 256}],
    )
    before = plain(task.annotations())
    report = task.bring(task.export_zip())
    assert "extra.ignored" not in report["counts"]
    assert plain(task.annotations()) == before


@pytest.mark.parametrize("to_polygons", ["false", "true"])
def test_a_mask_that_is_drawn_anew_for_fiftyone_keeps_what_only_the_side_file_knows(
    desk: Desk, to_polygons: str
) -> None:
    """Its PNG is another one in that layout, by which the entry must know it."""
    one, other = desk.task(FRAMES, LABELS), desk.task(FRAMES, LABELS)
    dark = mask_png(disk_with_hole(40, 30, 9, 3), kind="zero-one")
    row = "m.png,a,cat,0000000a,,,,,,\n"
    one.bring(zip_of({MASKS: MASK_HEADER + row, "masks/train/m.png": dark}), conv_mask_to_poly=to_polygons)
    notes = {spec["name"]: spec["id"] for spec in one.labels()["cat"]["attributes"]}
    shapes = [
        {**shape, "attributes": [{"spec_id": notes["note"], "value": "told"}]} for shape in one.annotations()["shapes"]
    ]
    one.change("update", shapes=shapes)
    members = one.export(layout="fiftyone")
    assert members["labels/masks/A/m.png"] != dark
    report = other.bring(zip_of(members))
    assert "extra.ignored" not in report["counts"]
    told = {spec["name"]: spec["id"] for spec in other.labels()["cat"]["attributes"]}
    for task, spec in ((one, notes["note"]), (other, told["note"])):
        found = task.annotations()["shapes"]
        assert [{"spec_id": spec, "value": "told"} in shape["attributes"] for shape in found] == [True] * len(shapes)
