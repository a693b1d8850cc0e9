"""Random edits through the API, and the rows that leave: each held against the edit rules, worked out once more here.

    geometry of a box     new coordinates; clicks -1; Source empty; the rest stays; a linked mask's Box* follow
    geometry of a mask    new PNG at frame size; Clicks empty, and PredictedIoU unless the attribute holds it
    link removed          Box* empty
    label                 LabelName and MaskPath
    attribute, flag       that cell
    deleted               the row and its PNG are gone

A few seeds run always, two hundred with `pytest -m long tests/formats/open_images/test_random_edits.py`.
"""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOXES, LIST, LIST_HEADER, MASK_HEADER, MASKS, TAG_HEADER, TAGS
from tests.formats.open_images.random_archives import CLICKS, FLAGS, Row, read_rows
from tests.samples import BOX_FIELDS, CHECKBOXES, MASK_FIELDS, TAG_FIELDS, mask_of_runs, mask_png, runs_of

pytestmark = pytest.mark.usefixtures("short_blocks")
SOME, MANY, STEP = 10, 200, 20
WIDTH, HEIGHT = 40, 30
IMAGES = ("0a", "0b")
MIDS = {"Cat": "/m/c", "Dog": "/m/d", "Bird": "/m/b"}
EDGES = ("XMin", "XMax", "YMin", "YMax")
ATTRIBUTES = [
    *({"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]} for name in CHECKBOXES),
    *(
        {"name": name, "mutable": False, "input_type": "text", "values": [""]}
        for name in ("score", "source", "box_id", "predicted_iou")
    ),
]
LABELS = [{"name": "Cat", "attributes": ATTRIBUTES}, {"name": "Dog", "attributes": ATTRIBUTES}, {"name": "Bird"}]
CELLS = {"truncated": "IsTruncated", "is_group_of": "IsGroupOf", "is_depiction": "IsDepiction", "is_inside": "IsInside"}
BOX_COLUMNS = [*BOX_FIELDS, *CLICKS, "note"]
MASK_COLUMNS = [*MASK_FIELDS, "note"]


@dataclass
class Thing:
    """A row, the annotation it became, and what was done to it."""

    kind: str
    row: Row
    label: str
    json: dict[str, Any] = field(default_factory=dict)
    cells: Row = field(default_factory=dict)  # that an attribute or a flag has changed
    is_gone: bool = False
    is_moved: bool = False
    is_regrouped: bool = False
    is_relabelled: bool = False

    @property
    def declares(self) -> bool:
        return self.label != "Bird"


def plain(number: float) -> str:
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")


def share(rng: random.Random, parts: int) -> tuple[str, str]:
    low, high = sorted(rng.sample(range(parts * 4), 2))
    return f"{low / parts / 4:.6f}", f"{high / parts / 4:.4f}"


class Scene:
    """A task made of an archive, and its rows."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.task: TaskDesk = desk.task({f"{image}.jpg": (WIDTH, HEIGHT) for image in IMAGES}, LABELS)
        self.things: list[Thing] = []
        self.pngs: dict[str, bytes] = {}
        for image in IMAGES:
            for number in range(rng.randint(2, 4)):
                self.things.append(self.box(image, number))
            boxes = [thing for thing in self.things if thing.kind == "box" and thing.row["ImageID"] == image]
            for number in range(rng.randint(2, 4)):
                self.things.append(self.mask(image, number, boxes[number] if number < 2 else None))
            for label in rng.sample(list(MIDS), 2):
                row = {"ImageID": image, "Source": "verification", "LabelName": MIDS[label], "Confidence": "0.90"}
                self.things.append(Thing("tag", row, label))
        self.task.bring(zip_of(self.archive()))
        self.meet()

    def box(self, image: str, number: int) -> Thing:
        rng, label = self.rng, self.rng.choice(list(MIDS))
        (x0, x1), (y0, y1) = share(rng, WIDTH), share(rng, HEIGHT)
        row = {"ImageID": image, "LabelName": MIDS[label], "Source": "xclick", "Confidence": rng.choice(["1", "0.90"])}
        row |= dict(zip(EDGES, (x0, x1, y0, y1), strict=True)) | {flag: rng.choice(["0", "1", "-1"]) for flag in FLAGS}
        return Thing(
            "box", row | {name: f"0.{rng.randint(1, 99):02}" for name in CLICKS} | {"note": f"n {number}"}, label
        )

    def mask(self, image: str, number: int, box: Thing | None) -> Thing:
        rng, label = self.rng, box.label if box else self.rng.choice(list(MIDS))
        size = rng.choice([(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)])
        pixels = np.random.default_rng(rng.getrandbits(32)).random((size[1], size[0])) < 0.3
        pixels[number, number] = True
        name = f"{image}_{label}_{number}.png"
        self.pngs[name] = mask_png(pixels)
        cells = (
            [box.row[edge] for edge in EDGES] if box else rng.choice([["", "", "", ""], ["0.999", "1", "0.999", "1"]])
        )
        row = {"MaskPath": name, "ImageID": image, "LabelName": MIDS[label], "BoxID": f"{number:08x}"}
        row |= dict(zip((f"Box{edge}" for edge in EDGES), cells, strict=True))
        return Thing("mask", row | {"PredictedIoU": "0.87650", "Clicks": "0.1 0.2 1", "note": "m"}, label)

    def archive(self) -> dict[str, str | bytes]:
        def lines(kind: str, columns: list[str]) -> str:
            rows = [thing.row for thing in self.things if thing.kind == kind]
            return "".join(",".join(row[name] for name in columns) + "\n" for row in rows)

        return {
            "annotations/class-descriptions.csv": "".join(f"{mid},{name}\n" for name, mid in MIDS.items()),
            LIST: LIST_HEADER + "".join(f"{image},train,,,,,,,,,,\n" for image in IMAGES),
            BOXES: ",".join(BOX_COLUMNS) + "\n" + lines("box", BOX_COLUMNS),
            TAGS: TAG_HEADER + lines("tag", TAG_FIELDS),
            MASKS: MASK_HEADER.strip() + ",note\n" + lines("mask", MASK_COLUMNS),
            **{f"masks/train/{name}": png for name, png in self.pngs.items()},
        }

    def meet(self) -> None:
        """Find the annotation of each row."""
        labels = self.task.labels()
        self.label_ids = {name: label["id"] for name, label in labels.items()}
        self.specs = {
            label["id"]: {spec["name"]: spec["id"] for spec in label["attributes"]} for label in labels.values()
        }
        found = self.task.annotations()
        left = [*found["shapes"], *found["tags"]]
        for thing in self.things:
            match = next(one for one in left if self.is_of(one, thing))
            left.remove(match)
            thing.json = match
        assert not left

    def is_of(self, one: dict[str, Any], thing: Thing) -> bool:
        if IMAGES[one["frame"]] != thing.row["ImageID"] or one["label_id"] != self.label_ids[thing.label]:
            return False
        if thing.kind == "tag":
            return "type" not in one
        if thing.kind == "box":
            corners = [float(thing.row[edge]) for edge in ("XMin", "YMin", "XMax", "YMax")]
            corners = [value * side for value, side in zip(corners, (WIDTH, HEIGHT) * 2, strict=True)]
            return one.get("type") == "rectangle" and bool(np.allclose(one["points"], corners, atol=1e-5))
        if one.get("type") != "mask":
            return False
        png = np.asarray(Image.open(io.BytesIO(self.pngs[thing.row["MaskPath"]])))
        rows = np.arange(HEIGHT) * png.shape[0] // HEIGHT
        whole = png[rows][:, np.arange(WIDTH) * png.shape[1] // WIDTH] != 0
        return np.array_equal(mask_of_runs(one["points"], WIDTH, HEIGHT), whole)

    # --- edits ---

    def edit(self) -> None:
        """One random edit of one annotation, sent as a client sends it."""
        rng = self.rng
        alive = [thing for thing in self.things if not thing.is_gone]
        thing = rng.choice(alive)
        edits = {
            "box": [self.move, self.move, self.attribute, self.occlude, self.relabel, self.regroup, self.delete],
            "mask": [self.redraw, self.mask_attribute, self.relabel, self.regroup, self.delete],
            "tag": [self.score, self.relabel, self.delete],
        }
        rng.choice(edits[thing.kind])(thing)

    def send(self, thing: Thing) -> None:
        table = "tags" if thing.kind == "tag" else "shapes"
        (thing.json,) = self.task.change("update", **{table: [thing.json]})[table]

    def set_attribute(self, thing: Thing, name: str, value: str) -> None:
        spec = self.specs[thing.json["label_id"]][name]
        others = [one for one in thing.json["attributes"] if one["spec_id"] != spec]
        thing.json["attributes"] = [*others, {"spec_id": spec, "value": value}]

    def move(self, thing: Thing) -> None:
        x, y = sorted(self.rng.sample(range(WIDTH + 1), 2)), sorted(self.rng.sample(range(HEIGHT + 1), 2))
        thing.json["points"] = [x[0] + 0.25, y[0], x[1] - 0.25, y[1]]
        thing.is_moved = True
        self.send(thing)

    def redraw(self, thing: Thing) -> None:
        pixels = np.random.default_rng(self.rng.getrandbits(32)).random((HEIGHT, WIDTH)) < 0.5
        thing.json["points"] = runs_of(pixels)
        thing.is_moved = True
        self.send(thing)

    def attribute(self, thing: Thing) -> None:
        if not thing.declares:
            return
        name = self.rng.choice([*CELLS, "score", "source"])
        if name in CELLS:
            value = self.rng.choice(["true", "false"])
            before = thing.cells.get(CELLS[name], thing.row[CELLS[name]])
            if not (before == "-1" and value == "false"):  # at its default an unknown flag stays unknown
                thing.cells[CELLS[name]] = "1" if value == "true" else "0"
            if thing.row[CELLS[name]] == "-1" and value == "false":
                thing.cells.pop(CELLS[name], None)
        elif name == "score":
            value = thing.cells["Confidence"] = self.rng.choice(["0.5", "0.25"])
        else:
            value = thing.cells["Source"] = self.rng.choice(["freeform", "activemil"])
        self.set_attribute(thing, name, value)
        self.send(thing)

    def mask_attribute(self, thing: Thing) -> None:
        if not thing.declares:
            return
        name, cell = self.rng.choice([("box_id", "BoxID"), ("predicted_iou", "PredictedIoU")])
        value = thing.cells[cell] = self.rng.choice(["abc", "def0"]) if name == "box_id" else "0.5"
        self.set_attribute(thing, name, value)
        self.send(thing)

    def occlude(self, thing: Thing) -> None:
        thing.json["occluded"] = not thing.json["occluded"]
        known = thing.row["IsOccluded"]
        thing.cells["IsOccluded"] = "1" if thing.json["occluded"] else "-1" if known == "-1" else "0"
        self.send(thing)

    def score(self, thing: Thing) -> None:
        if thing.declares:
            thing.cells["Confidence"] = self.rng.choice(["0.5", "0.25"])
            self.set_attribute(thing, "score", thing.cells["Confidence"])
            self.send(thing)

    def relabel(self, thing: Thing) -> None:
        """Between labels that declare the same: the attributes go along, as the client carries them over."""
        if not thing.declares:
            return
        names = {spec: name for name, spec in self.specs[thing.json["label_id"]].items()}
        thing.label = "Dog" if thing.label == "Cat" else "Cat"
        thing.json["label_id"] = self.label_ids[thing.label]
        own = self.specs[thing.json["label_id"]]
        thing.json["attributes"] = [
            {"spec_id": own[names[one["spec_id"]]], "value": one["value"]} for one in thing.json["attributes"]
        ]
        thing.is_relabelled = True
        self.send(thing)

    def regroup(self, thing: Thing) -> None:
        others = [one for one in self.things if one.kind == "box" and one is not thing and not one.is_gone]
        others = [one for one in others if one.json["group"] and one.json["frame"] == thing.json["frame"]]
        group = 0
        if thing.kind == "mask" and others and self.rng.random() < 0.5:
            group = self.rng.choice(others).json["group"]
        thing.is_regrouped |= thing.json["group"] != group
        thing.json["group"] = group
        self.send(thing)

    def delete(self, thing: Thing) -> None:
        if self.rng.random() < 0.5:
            return
        table = "tags" if thing.kind == "tag" else "shapes"
        self.task.change("delete", **{table: [thing.json]})
        thing.is_gone = True

    # --- what must leave ---

    def wanted(self, kind: str) -> Counter[Any]:
        rows = [self.wanted_row(thing) for thing in self.things if thing.kind == kind and not thing.is_gone]
        return Counter(tuple(row.items()) for row in rows)

    def wanted_row(self, thing: Thing) -> Row:
        row = {**thing.row, "LabelName": MIDS[thing.label]}
        if thing.kind == "mask":
            return self.wanted_mask(thing, row)
        if thing.kind == "box":
            if thing.is_moved:
                row |= dict(zip(EDGES, self.edges(thing), strict=True)) | {"Source": ""}
                row |= dict.fromkeys(CLICKS, "-1")
            return {name: (row | thing.cells)[name] for name in BOX_COLUMNS}
        return {name: (row | thing.cells)[name] for name in TAG_FIELDS}

    def edges(self, thing: Thing) -> list[str]:
        """The four cells of a box."""
        if not thing.is_moved:
            return [thing.row[edge] for edge in EDGES]
        x0, y0, x1, y1 = thing.json["points"]
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        return [plain(x0 / WIDTH), plain(x1 / WIDTH), plain(y0 / HEIGHT), plain(y1 / HEIGHT)]

    def wanted_mask(self, thing: Thing, row: Row) -> Row:
        if thing.is_moved:
            row["Clicks"] = ""
            if not thing.declares:
                row["PredictedIoU"] = ""
        if thing.is_relabelled:
            row["MaskPath"] = "new"
        group = thing.json["group"]
        boxes = [one for one in self.things if one.kind == "box" and not one.is_gone and group]
        boxes = [one for one in boxes if one.json["group"] == group and one.label == thing.label]
        boxes = [one for one in boxes if one.json["frame"] == thing.json["frame"]]
        names = [f"Box{edge}" for edge in EDGES]
        if boxes:
            cells = self.edges(boxes[0])
            own = [row[name] for name in names]
            near = all(own) and all(abs(float(a) - float(b)) <= 1e-6 for a, b in zip(own, cells, strict=True))
            row |= {} if near else dict(zip(names, cells, strict=True))
        elif group or thing.is_regrouped:
            row |= dict.fromkeys(names, "")
        return {name: (row | thing.cells)[name] for name in MASK_COLUMNS}

    def check(self) -> None:
        members = self.task.export(side_file="false")
        for kind, name in (("box", BOXES), ("tag", TAGS)):
            found = read_rows(members[name])[1] if name in members else []
            wanted, actual = self.wanted(kind), Counter(tuple(row.items()) for row in found)
            assert actual == wanted, (wanted - actual, actual - wanted)
        found = read_rows(members[MASKS])[1] if MASKS in members else []
        paths = [row["MaskPath"] for row in found]
        kept = {t.row["MaskPath"] for t in self.things if t.kind == "mask" and not t.is_gone and not t.is_relabelled}
        for row in found:
            if row["MaskPath"] not in kept:
                assert row["MaskPath"].startswith(f"{row['ImageID']}_{row['LabelName'].replace('/', '')}_"), row
                row["MaskPath"] = "new"
        wanted, actual = self.wanted("mask"), Counter(tuple(row.items()) for row in found)
        assert actual == wanted, (wanted - actual, actual - wanted)
        assert {name for name in members if name.endswith(".png")} == {f"masks/train/{path}" for path in paths}
        for thing in self.things:
            if thing.kind == "mask" and not thing.is_gone and not thing.is_relabelled:
                data = members[f"masks/train/{thing.row['MaskPath']}"]
                if thing.is_moved:
                    pixels = np.asarray(Image.open(io.BytesIO(data))) != 0
                    assert np.array_equal(pixels, mask_of_runs(thing.json["points"], WIDTH, HEIGHT))
                else:
                    assert data == self.pngs[thing.row["MaskPath"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("edits")) as opened:
        yield opened


def edit_and_check(desk: Desk, seed: int) -> None:
    scene = Scene(desk, seed)
    scene.check()
    for _ in range(3):
        for _ in range(scene.rng.randint(1, 5)):
            scene.edit()
        scene.check()


@pytest.mark.parametrize("seed", range(SOME))
def test_edits_do_to_rows_what_the_rules_say(desk: Desk, seed: int) -> None:
    edit_and_check(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_edits_do_to_rows_what_the_rules_say(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            edit_and_check(desk, seed)
