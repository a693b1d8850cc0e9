"""Random walks of a task: archives come with any options, annotations are drawn, edited and deleted, labels renamed,
frames deleted. Whatever it holds then leaves in every layout and comes back, into another task and by a merge
into itself.

A few seeds run always, a hundred with `pytest -m long tests/operations/test_random_walks.py`.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import read_zip
from tests.formats.open_images.random_archives import make_archives
from tests.operations.test_random_imports import archive_of, picture, revision, told
from tests.samples import runs_of

SOME, MANY, STEP = (1, 1017, 1020), 100, 10
N_IMPORTS = 3
OPTIONS: list[dict[str, str]] = [
    *[{}] * 6,
    {"classes": "Cat,Dog"},
    {"subsets": "train", "only_matching": "true"},
    {"min_confidence": "0.5"},
    {"max_confidence": "0.7"},
    {"label_types": "detections,classifications"},
    {"label_types": "segmentations"},
    {"max_images": "2", "seed": "3"},
    {"annotated_only": "true"},
    {"labels": "create"},
    {"missing": "keep"},
]
LAYOUTS: list[dict[str, str]] = [{}, {"layout": "official"}, {"layout": "fiftyone"}, {"label_ids": "name"}]
KINDS = ("shapes", "tags", "tracks")
Thing = dict[str, Any]
Holding = dict[str, Counter[str]]


class Walk:
    """A task on its way."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.rng = desk, random.Random(seed)
        self.archives = make_archives(seed, N_IMPORTS)
        self.frames = self.archives[0].frames
        self.sizes = list(self.frames.values())
        self.task = desk.task(self.frames, [*self.archives[0].labels, {"name": "extra"}])
        self.options: dict[str, str] = {"machine_labels": "tags"}  # of archives of ours
        self.gone: list[int] = []

    # --- what happens to it ---

    def bring(self, number: int) -> None:
        """An archive, as a dry run first."""
        made, rng = self.archives[number], self.rng
        query = {**made.options, **rng.choice(OPTIONS), "machine_labels": "tags"}
        query |= {"mode": rng.choice(("replace", "append", "append", "merge", "merge"))}
        query |= {"unmatched": "skip"} if rng.random() < 0.3 else {}
        dry = told(self.task, made.files, {**query, "dry_run": "true"})
        assert told(self.task, made.files, query) == dry

    def thing(self, kind: str) -> Thing:
        rng = self.rng
        label, frame = rng.choice([*self.task.labels().values()]), rng.randrange(len(self.sizes))
        width, height = self.sizes[frame]
        common = {"frame": frame, "label_id": label["id"], "group": rng.choice([0, 0, 0, 3, 1])}
        common |= {"source": rng.choice(["manual", "auto"]), "attributes": self.attributes(label)}
        look = {"occluded": rng.random() < 0.3, "z_order": rng.choice([0, 0, 2]), "rotation": 0.0}
        if kind == "tags":
            return common
        box = {"type": "rectangle", "points": [0.5, 0.0, min(width, 5.0), min(height, 4.0)]}
        if kind == "tracks":
            return common | {"shapes": [look | box | {"frame": frame, "attributes": []}]}
        pixels = np.random.default_rng(rng.getrandbits(32)).random((height, width)) < 0.4
        pixels[rng.randrange(height), rng.randrange(width)] = True
        corners = [round(rng.uniform(0, side), 2) for _ in range(3) for side in (width, height)]
        shapes = [box, {"type": "mask", "points": runs_of(pixels)}]
        shapes += [{"type": name, "points": corners} for name in ("polygon", "points", "polyline")]
        shapes.append({"type": "ellipse", "points": [*corners[:2], corners[0] + 2, corners[1] - 3]})
        return common | look | rng.choice(shapes)

    def attributes(self, label: Mapping[str, Any]) -> list[Thing]:
        kinds = {"checkbox": ["true", "false"], "number": ["0", "1"], "text": ["", "x, y", "0.5", "日本"]}
        return [
            {"spec_id": spec["id"], "value": self.rng.choice(kinds.get(spec["input_type"]) or spec["values"])}
            for spec in label["attributes"]
        ]

    def edit(self) -> None:
        rng, found = self.rng, self.task.annotations()
        some = {kind: rng.sample(found[kind], min(len(found[kind]), rng.randint(0, 3))) for kind in KINDS}
        action = rng.choice(["create", "update", "update", "delete"])
        if action == "create":
            some = {kind: [self.thing(kind) for _ in range(rng.randint(0, 2))] for kind in KINDS}
        elif action == "update":
            some = {kind: [self.changed(kind, one) for one in some[kind]] for kind in KINDS}
        self.task.change(action, **some)

    def changed(self, kind: str, one: Thing) -> Thing:
        how = self.rng.choice(["occluded", "points", "group", "attributes", "label_id", "look"])
        new = self.thing(kind)
        if how == "label_id":
            shapes = {"shapes": [{**shape, "attributes": []} for shape in one["shapes"]]} if kind == "tracks" else {}
            return {**one, **shapes, "label_id": new["label_id"], "attributes": new["attributes"]}
        if how == "attributes":
            label = next(label for label in self.task.labels().values() if label["id"] == one["label_id"])
            return {**one, "attributes": self.attributes(label)}
        if how == "look" and kind == "shapes" and new["frame"] == one["frame"]:
            return {**one, **{name: new[name] for name in ("type", "points")}, "rotation": 0.0}
        if how == "points" and kind == "shapes" and one["type"] != "mask":
            return {**one, "points": [number * 0.75 + 0.5 for number in one["points"]]}
        return {**one, how: new[how]} if how in ("group", "occluded") and how in one else one

    def change_labels(self) -> None:
        rng, labels = self.rng, self.task.labels()
        label = rng.choice([*labels.values()])
        if rng.random() < 0.5:
            change: Thing = {"name": f"{label['name'][:40]} {rng.randint(0, 99)}"}
            self.desk.call("PATCH", f"/api/labels/{label['id']}", json=change)
        elif not any(spec["name"] == "note" for spec in label["attributes"]):
            spec = {"name": "note", "mutable": False, "input_type": "text", "values": [""]}
            self.desk.call("PATCH", f"/api/labels/{label['id']}", json={"attributes": [spec]})

    def delete_frames(self, task: TaskDesk) -> None:
        self.desk.call("PATCH", f"{task.path}/data/meta", json={"deleted_frames": self.gone})

    # --- what must be true of it ---

    def check(self) -> None:
        here = held(self.task)
        for options in LAYOUTS:
            data = archive_of(self.task, **options)
            fresh = self.desk.task(self.frames, [declared(label) for label in self.task.labels().values()])
            fresh.bring(data, **self.options)
            if not self.gone:
                # FiftyOne wants a box of each mask: those that a box of the same place has belong to it then.
                of_both = [
                    held(task, groups="layout" not in options or options["layout"] != "fiftyone")
                    for task in (fresh, self.task)
                ]
                assert of_both[0] == of_both[1], options
            self.delete_frames(fresh)
            assert contents(archive_of(fresh, **options)) == contents(data), options
            self.desk.call("DELETE", fresh.path, 204)
        if not self.gone:
            before = archive_of(self.task)
            self.task.bring(before, mode="merge", **self.options)
            assert held(self.task) == here
            assert contents(archive_of(self.task)) == contents(before)
            again = archive_of(self.task), revision(self.task)
            self.task.bring(again[0], mode="merge", **self.options)
            assert held(self.task) == here

    def go(self) -> None:
        for number in range(N_IMPORTS):
            self.bring(number)
            for _ in range(self.rng.randint(0, 3)):
                self.rng.choice([self.edit, self.edit, self.edit, self.change_labels])()
            if self.rng.random() < 0.15:
                self.gone = [self.rng.randrange(len(self.sizes))] if len(self.sizes) > 1 else []
                self.delete_frames(self.task)
        self.check()
        self.desk.call("DELETE", self.task.path, 204)


def declared(label: Mapping[str, Any]) -> Thing:
    """A label as a task is made with it."""
    names = ("name", "mutable", "input_type", "default_value", "values")
    specs = [{name: spec[name] for name in names} for spec in label["attributes"]]
    return {"name": label["name"], "type": label["type"], "attributes": specs}


def held(task: TaskDesk, *, groups: bool = True) -> Holding:
    """Annotations with names in the place of ids, in any order; of a group who is in it. An export fills each BoxID."""
    labels = task.labels().values()
    names = {label["id"]: label["name"] for label in labels}
    specs = {spec["id"]: spec["name"] for label in labels for spec in label["attributes"]}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        if not isinstance(value, dict):
            return value
        found = {key: named(each) for key, each in value.items() if key not in ("id", "version")}
        if "label_id" in found:
            found["label_id"] = names[found["label_id"]]
        if "spec_id" in found:
            found["spec_id"] = specs[found["spec_id"]]
            is_box_id = found["spec_id"] == "box_id" and re.fullmatch("[0-9a-f]{8}|", found["value"])
            found["value"] = "box" if is_box_id else found["value"]
        if "attributes" in found:
            found["attributes"] = sorted(found["attributes"], key=lambda each: str(each["spec_id"]))
        return found

    found = named(task.annotations())
    everyone = [(kind, one) for kind in KINDS for one in found[kind]]
    members: dict[tuple[int, int], list[str]] = {}
    for kind, one in everyone:
        members.setdefault((one["frame"], one["group"]), []).append(
            json.dumps([kind, {**one, "group": 0}], sort_keys=True)
        )
    for _, one in everyone:
        one["group"] = sorted(members[one["frame"], one["group"]]) if one["group"] and groups else []
    return {kind: Counter(json.dumps(one, sort_keys=True) for one in found[kind]) for kind in KINDS}


def contents(archive: bytes) -> dict[str, Any]:
    """Members, of tables the rows in any order; a hierarchy of names has those of the labels that there are."""
    found: dict[str, Any] = {}
    for name, data in read_zip(archive).items():
        if name.endswith("images.meta"):
            lines = (line.rsplit(" ", 2) for line in data.decode().splitlines())
            found[name] = {(picture(image.strip("'")), *size) for image, *size in lines}
        elif name.endswith(".csv") and "class" not in name:
            found[name] = Counter(map(tuple, csv.reader(io.StringIO(data.decode(), newline=""))))
        elif not name.endswith("oid_extra.json") and name != "metadata/hierarchy.json":
            found[name] = data
    return found


def walk(desk: Desk, seed: int) -> None:
    Walk(desk, seed).go()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("walks")) as opened:
        yield opened


@pytest.mark.parametrize("seed", SOME)
def test_whatever_happened_to_a_task_it_comes_back(desk: Desk, seed: int) -> None:
    walk(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(1000, 1000 + MANY, STEP))
def test_many_walks(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            walk(desk, seed)
