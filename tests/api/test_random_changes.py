"""Random changes of annotations over HTTP, of a task and of its jobs, against a plain dict of what was said.

    PUT       a range holds exactly what was sent; whose id is there in the same kind stays that object
    create    given ids are ignored
    update    all ids must be in the range; else 400, and nothing changes
    delete    ids that are not in the range are fine

Some objects come from an archive, with masks that are stored as they came. A few seeds run always, a hundred with
`pytest -m long tests/api/test_random_changes.py`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.desk import Desk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOX_HEADER, BOXES, MASK_HEADER, MASKS
from tests.samples import mask_png, runs_of

SOME, MANY, STEP = 3, 100, 10
N_FRAMES, JOB_SIZE = 150, 50  # three blocks of 64; a block belongs to two jobs
WIDTH, HEIGHT = 24, 18
KINDS = ("tags", "shapes", "tracks")
LABELS: list[dict[str, Any]] = [
    {
        "name": "car",
        "attributes": [
            {"name": "side", "mutable": False, "input_type": "select", "values": ["left", "right"]},
            {"name": "note", "mutable": False, "input_type": "text", "values": [""], "default_value": "–"},
        ],
    },
    {"name": "tree", "attributes": []},
]
Thing = dict[str, Any]


class Model:
    """A task, and what it should hold: objects by id, of each kind."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.rng = desk, random.Random(seed)
        self.task = desk.task({f"{i}.jpg": (WIDTH, HEIGHT) for i in range(N_FRAMES)}, LABELS, JOB_SIZE)
        found = self.task.labels()
        self.labels = {name: label["id"] for name, label in found.items()}
        self.specs = {spec["name"]: spec["id"] for spec in found["car"]["attributes"]}
        jobs = desk.call("GET", "/api/jobs", params={"task_id": str(self.task.number), "sort": "id"})["results"]
        self.ranges = {self.task.path: (0, N_FRAMES)} | {
            f"/api/jobs/{job['id']}": (job["start_frame"], job["stop_frame"] + 1) for job in jobs
        }
        self.known: dict[str, dict[int, Thing]] = {kind: {} for kind in KINDS}
        self.gone: list[int] = []
        self.bring()

    def bring(self) -> None:
        """Boxes and masks of an archive, in a few of the frames."""
        frames = [self.rng.choice([0, 1, 49, 63, 64, 65, 99, 100, 128, 149]) for _ in range(6)]
        boxes = "".join(f"{frame},,car,1,0.25,0.5,0.25,0.5,0,0,0,0,0\n" for frame in frames)
        masks = "".join(f"{n}.png,{frame},tree,{n:08x},,,,,,\n" for n, frame in enumerate(frames))
        pixels = [np.random.default_rng(self.rng.getrandbits(32)).random((HEIGHT, WIDTH)) < 0.3 for _ in frames]
        pngs = {f"masks/{n}.png": mask_png(some) for n, some in enumerate(pixels)}
        files: dict[str, str | bytes] = {BOXES: BOX_HEADER + boxes, MASKS: MASK_HEADER + masks, **pngs}
        self.task.bring(zip_of(files), import_mode="append")
        for kind, things in self.task.annotations().items():
            if kind in KINDS:
                self.known[kind] |= {thing["id"]: thing for thing in things if thing["id"] not in self.known[kind]}

    # --- what is sent ---

    def attributes(self, label_id: int) -> list[Thing]:
        """All of the label's, as every answer has them."""
        if label_id == self.labels["tree"]:
            return []
        side, note = self.rng.choice(["left", "right"]), self.rng.choice(["–", "", "é", 'a "b"\n'])
        return [{"spec_id": self.specs["side"], "value": side}, {"spec_id": self.specs["note"], "value": note}]

    def geometry(self) -> Thing:
        rng = self.rng
        kind = rng.choice(["rectangle", "rectangle", "polygon", "ellipse", "mask", "points"])
        points: list[float] = [round(rng.uniform(0, HEIGHT), 2) for _ in range(8)]
        if kind == "mask":
            points = list(
                runs_of(np.random.default_rng(rng.getrandbits(32)).random((HEIGHT, WIDTH)) < rng.random() + 0.01)
            )
            if len(points) <= 5:
                kind, points = "points", [1.0, 2.0]
        elif kind != "polygon":
            points = points[:4]
        rotation = rng.choice([0.0, 0.0, 30.5]) if kind in ("rectangle", "ellipse") else 0.0
        return {"type": kind, "points": points, "rotation": rotation}

    def thing(self, kind: str, frame: int) -> Thing:
        rng, label_id = self.rng, self.rng.choice([*self.labels.values()])
        common = {"frame": frame, "label_id": label_id, "group": rng.choice([0, 0, 3])}
        common |= {"source": rng.choice(["manual", "auto"]), "attributes": self.attributes(label_id)}
        look = {"occluded": rng.random() < 0.3, "outside": False, "z_order": rng.choice([0, 0, 2])}
        if kind == "tags":
            return common
        if kind == "shapes":
            return common | look | self.geometry() | {"elements": [], "score": 1.0}
        shape = {"type": "rectangle", "frame": frame, "points": [0.0, 0.0, 5.0, 5.0], "rotation": 0.0, "attributes": []}
        return common | {"shapes": [shape | look], "elements": []}

    def changed(self, thing: Thing, kind: str, frame: int) -> Thing:
        """The same object with nothing, one thing or everything changed."""
        how = self.rng.choice(["same", "all", "frame", "occluded", "points", "group", "attributes"])
        new = self.thing(kind, frame) | {"id": thing["id"]}
        if how == "all" or kind == "tracks":
            return new
        if how == "points" and kind == "shapes":
            return thing | {name: new[name] for name in ("type", "points", "rotation")}
        if how == "attributes":
            return thing | {"attributes": self.attributes(thing["label_id"])}
        return thing | ({how: new[how]} if how in new and how in thing else {})

    def frame(self, bounds: tuple[int, int]) -> int:
        some = [frame for frame in (0, 1, 49, 50, 63, 64, 128, 149) if bounds[0] <= frame < bounds[1]]
        return self.rng.choice([*some, *some, self.rng.randrange(*bounds)])

    def inside(self, kind: str, bounds: tuple[int, int]) -> list[Thing]:
        return [thing for thing in self.known[kind].values() if bounds[0] <= thing["frame"] < bounds[1]]

    # --- changes ---

    def step(self) -> None:
        path, bounds = self.rng.choice([*self.ranges.items()])
        action = self.rng.choice(["create", "create", "update", "update", "update", "delete", "put", "put"])
        if action == "put" and path == self.task.path and self.rng.random() < 0.5:
            path, bounds = self.rng.choice([*self.ranges.items()])
        getattr(self, action)(f"{path}/annotations", bounds)
        self.check()

    def check(self) -> None:
        for path, bounds in self.ranges.items():
            found = self.desk.call("GET", f"{path}/annotations")
            for kind in KINDS:
                expected = {thing["id"]: thing for thing in self.inside(kind, bounds)}
                assert {thing["id"]: bare(thing) for thing in found[kind]} == {
                    key: bare(thing) for key, thing in expected.items()
                }
                frames = [thing["frame"] for thing in found[kind]]
                assert frames == sorted(frames)
                assert len(found[kind]) == len(expected)

    def learn(self, kind: str, told: list[Thing], sent: list[Thing]) -> None:
        """What was told is what was sent, but for ids that are given."""
        assert [bare(thing) for thing in told] == [bare(thing) for thing in sent]
        for thing in told:
            assert thing["id"] > 0
            assert thing["id"] not in self.gone
            self.known[kind][thing["id"]] = thing

    def send(self, method: str, url: str, sections: dict[str, list[Thing]], status: int = 200, **params: str) -> Any:
        return self.desk.call(method, url, status, params=params, json={"version": 0, **sections})

    def some(self, kind: str, bounds: tuple[int, int]) -> list[Thing]:
        return [self.thing(kind, self.frame(bounds)) for _ in range(self.rng.choice([0, 1, 1, 3]))]

    def create(self, url: str, bounds: tuple[int, int]) -> None:
        sent = {kind: self.some(kind, bounds) for kind in KINDS}
        known = [key for kind in KINDS for key in self.known[kind]]
        for thing in sent["shapes"]:
            thing["id"] = self.rng.choice([*known, 999_999])
        told = self.send("PATCH", url, sent, action="create")
        for kind in KINDS:
            assert not {thing["id"] for thing in told[kind]} & set(self.known[kind])
            self.learn(kind, told[kind], sent[kind])

    def update(self, url: str, bounds: tuple[int, int]) -> None:
        sent = {}
        for kind in KINDS:
            there = self.inside(kind, bounds)
            chosen = self.rng.sample(there, min(len(there), self.rng.choice([0, 1, 1, 2, 5])))
            sent[kind] = [self.changed(thing, kind, self.frame(bounds)) for thing in chosen]
        wrong = [
            thing for kind in KINDS for thing in self.known[kind].values() if thing not in self.inside(kind, bounds)
        ]
        if self.rng.random() < 0.2:
            alien = self.rng.choice([*(thing["id"] for thing in wrong), *self.gone, 999_999])
            if alien not in self.known["shapes"] or alien in {thing["id"] for thing in wrong}:
                sent["shapes"].append(self.thing("shapes", self.frame(bounds)) | {"id": alien})
                is_there = any(thing["id"] == alien for thing in self.inside("shapes", bounds))
                if not is_there:
                    self.send("PATCH", url, sent, 400, action="update")
                    return
                sent["shapes"].pop()
        told = self.send("PATCH", url, sent, action="update")
        for kind in KINDS:
            assert [thing["id"] for thing in told[kind]] == [thing["id"] for thing in sent[kind]]
            self.learn(kind, told[kind], sent[kind])

    def delete(self, url: str, bounds: tuple[int, int]) -> None:
        sent: dict[str, list[Thing]] = {}
        for kind in KINDS:
            there = list(self.known[kind].values())
            chosen = self.rng.sample(there, min(len(there), self.rng.choice([0, 1, 2])))
            # The frame is a hint, and may be a wrong one, or none.
            hints: list[dict[str, Any]] = [
                {},
                {"frame": self.frame(bounds)},
                {"frame": -1},
                {"frame": 2**40},
                {"frame": "x"},
            ]
            ids = [thing["id"] for thing in chosen]
            sent[kind] = [thing if self.rng.random() < 0.5 else {"id": thing["id"]} for thing in chosen]
            sent[kind] = [{**thing, **self.rng.choice(hints)} for thing in sent[kind]]
            sent[kind] += [{"id": 888_888}] if self.rng.random() < 0.3 else []
            for key in ids:
                if bounds[0] <= self.known[kind][key]["frame"] < bounds[1]:
                    del self.known[kind][key]
                    self.gone.append(key)
        self.send("PATCH", url, sent, action="delete")

    def put(self, url: str, bounds: tuple[int, int]) -> None:
        sent = {}
        for kind in KINDS:
            stays = self.rng.choice([0.0, 0.5, 1.0, 1.0])
            there = self.inside(kind, bounds)
            kept = [self.changed(thing, kind, self.frame(bounds)) for thing in there if self.rng.random() < stays]
            if self.rng.random() < 0.3:
                self.rng.shuffle(kept)
            new = [] if stays == 1.0 else self.some(kind, bounds)
            sent[kind] = [*kept, *new, *({**thing, "id": 777_777} for thing in new[:1])]
        told = self.send("PUT", url, sent)
        for kind in KINDS:
            before = {thing["id"] for thing in self.inside(kind, bounds)}
            for key in before:
                del self.known[kind][key]
            for one, other in zip(told[kind], sent[kind], strict=True):
                if other.get("id") in before:
                    assert one["id"] == other["id"]
                else:
                    assert one["id"] not in before
            self.learn(kind, told[kind], sent[kind])
            self.gone += before - set(self.known[kind])


def bare(thing: Thing) -> Thing:
    """Without ids, and attributes in one order."""
    found = {name: value for name, value in thing.items() if name != "id"}
    found["attributes"] = sorted(thing["attributes"], key=lambda one: int(one["spec_id"]))
    if "shapes" in thing:
        found["shapes"] = [{name: value for name, value in shape.items() if name != "id"} for shape in thing["shapes"]]
    return found


def change_and_compare(desk: Desk, seed: int, n_steps: int = 25) -> None:
    model = Model(desk, seed)
    for step in range(n_steps):
        model.step()
        if step == n_steps // 2:
            model.bring()  # another set
            model.check()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.mark.parametrize("seed", range(SOME))
def test_a_task_holds_what_was_said(desk: Desk, seed: int) -> None:
    change_and_compare(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_tasks_hold_what_was_said(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            change_and_compare(desk, seed)
