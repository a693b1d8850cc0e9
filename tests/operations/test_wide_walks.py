"""Random walks through whatever users do to a task, beside what `test_random_walks.py` does to it: backups that come
back, moves to projects, labels and attributes that change, jobs, exports of its own that come in again.

    step ── step ── … ── step ── check        each step is told (`steps`), so that a walk can be followed

Exports come back into another task as they were, a merge of a task's own export adds and removes nothing, a backup
holds the same annotations in the same order and exports the same bytes, a dry run tells what the real run tells.
A few seeds run always, a hundred with `pytest -m long tests/operations/test_wide_walks.py`.
"""

from __future__ import annotations

import io
import json
import random
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.desk import FORMAT, Desk, TaskDesk
from tests.formats.open_images.random_archives import make_archives
from tests.operations.test_random_imports import archive_of, told
from tests.operations.test_random_walks import KINDS, Thing, Walk, contents, declared, held
from tests.samples import picture
from tests.storage.stores import ENGINES, place_of

SOME, MANY, STEP = (34,), 100, 10
OF_BOTH = (301,)
N_ARCHIVES = 4
SELECTIONS: list[dict[str, str]] = [
    *[{}] * 12,
    {"classes": "Cat,Dog"},
    {"classes": "Cat", "only_matching": "true"},
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
LAYOUTS: list[dict[str, str]] = [
    {},
    {"rotated": "both"},
    {"layout": "official"},
    {"layout": "fiftyone"},
    {"label_ids": "name"},
    {"layout": "fiftyone", "rotated": "both"},
]
TYPES = ("any", "any", "rectangle", "polygon", "mask", "tag")


class WideWalk(Walk):
    """A task with pictures on its way."""

    STEPS: ClassVar[dict[str, int]] = {
        "bring_one": 6,
        "bring_own": 3,
        "edit": 7,
        "edit_job": 2,
        "put": 1,
        "rename_label": 2,
        "delete_label": 1,
        "add_label": 1,
        "add_attribute": 2,
        "change_attribute": 3,
        "retype_label": 1,
        "hide_frames": 1,
        "back_up": 1,
        "move": 1,
    }

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.seed, self.rng = desk, seed, random.Random(seed)
        self.archives = make_archives(seed, N_ARCHIVES)
        self.labels = [*self.archives[0].labels, {"name": "extra"}]
        wanted = self.archives[0].frames
        self.pictures = {
            name: picture(*size, seed=at, kind="PNG" if name.endswith("png") else "JPEG")
            for at, (name, size) in enumerate(wanted.items())
        }
        self.options: dict[str, str] = {"machine_labels": "tags"}
        self.gone: list[int] = []
        self.steps: list[Any] = []
        self.told: list[Any] = []
        self.n_made = 0
        self.task = self.new_task(self.labels, segment_size=self.rng.choice([0, 0, 2]))
        listed = desk.call("GET", f"{self.task.path}/data/meta")["frames"]
        self.frames = {frame["name"]: (frame["width"], frame["height"]) for frame in listed}
        self.sizes = list(self.frames.values())
        assert self.frames == wanted

    def new_task(self, labels: list[Thing], **fields: Any) -> TaskDesk:
        body = {"name": "t", **({} if "project_id" in fields else {"labels": labels}), **fields}
        number = self.desk.call("POST", "/api/tasks", 201, json=body)["id"]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in self.pictures.items():
                archive.writestr(name, data)
        form = {"client_files[0]": ("p.zip", packed.getvalue())}
        self.desk.call("POST", f"/api/tasks/{number}/data", 202, files=form, data={"image_quality": "70"})
        self.desk.work()
        return TaskDesk(self.desk, number)

    # --- steps ---

    def bring_files(self, files: Mapping[str, bytes], query: Mapping[str, str], path: str = "") -> None:
        query = {**query, "machine_labels": "tags"}
        dry = self.sent(files, {**query, "dry_run": "true"}, path)
        real = self.sent(files, query, path)
        self.told.append(real)
        assert real == dry, (query, real, dry)

    def sent(self, files: Mapping[str, bytes], query: Mapping[str, str], path: str) -> Any:
        if not path:
            return told(self.task, files, query)
        status, report = self.task.send(files, path, **query)
        return status, {name: value for name, value in report.items() if name != "dry_run"}

    def bring_one(self) -> None:
        rng, made = self.rng, self.rng.choice(self.archives)
        query = {**made.options, **rng.choice(SELECTIONS)}
        if rng.random() < 0.15:
            ids = [name.rpartition(".")[0] for name in rng.sample([*self.frames], min(2, len(self.frames)))]
            query["image_ids"] = "\n".join(json.dumps(each, ensure_ascii=False).replace('\\"', '""') for each in ids)
        if rng.random() < 0.3:
            query["conv_mask_to_poly"] = "true"
        query["mode"] = rng.choice(("replace", "append", "append", "merge", "merge", "merge"))
        if rng.random() < 0.3:
            query["unmatched"] = "skip"
        path = ""
        if rng.random() < 0.15:
            path, query["unmatched"] = f"/api/jobs/{self.job()['id']}", "skip"
        self.steps[-1] += [query, path]
        self.bring_files(made.files, query, path)

    def bring_own(self) -> None:
        rng = self.rng
        options = rng.choice(LAYOUTS)
        query = {"mode": rng.choice(("merge", "merge", "replace", "append"))}
        if rng.random() < 0.25:
            query["conv_mask_to_poly"] = "true"
        self.steps[-1] += [options, query]
        self.bring_files({"upload.zip": archive_of(self.task, **options)}, query)

    def job(self) -> Thing:
        found = self.desk.call("GET", "/api/jobs", params={"task_id": str(self.task.number), "sort": "id"})
        return dict(self.rng.choice(found["results"]))

    def thing(self, kind: str) -> Thing:
        """No label of one type takes shapes of another."""
        one = super().thing(kind)
        rng, frame = self.rng, one["frame"]
        width, height = self.sizes[frame]
        if kind == "tracks" and rng.random() < 0.5:
            moved = {**one["shapes"][0], "points": [1.0, 1.0, width - 0.5, height - 0.25], "frame": len(self.sizes) - 1}
            if len(self.sizes) - 1 > frame:
                one["shapes"].append({**moved, "outside": rng.random() < 0.5, "keyframe": True})
        if kind == "shapes" and one["type"] in ("rectangle", "ellipse") and rng.random() < 0.3:
            one["rotation"] = rng.choice([30.5, 90.0, 271.0])
        if kind == "shapes" and rng.random() < 0.05:
            one |= {"type": "cuboid", "points": [float(each) for each in range(16)]}
        label = next(each for each in self.task.labels().values() if each["id"] == one["label_id"])
        shown = {"tags": "tag", "tracks": "rectangle"}.get(kind) or one["type"]
        if label["type"] not in ("any", shown):
            others = [each for each in self.task.labels().values() if each["type"] in ("any", shown)]
            if not others:
                return {}
            other = rng.choice(others)
            one |= {"label_id": other["id"], "attributes": self.attributes(other)}
        return one

    def things(self, kind: str, most: int) -> list[Thing]:
        return [one for one in (self.thing(kind) for _ in range(self.rng.randint(0, most))) if one]

    def attributes(self, label: Mapping[str, Any]) -> list[Thing]:
        """Values of any kind of attribute; some are left out."""
        made = []
        for spec in label["attributes"]:
            kind, values = spec["input_type"], spec["values"]
            chosen = {"checkbox": ["true", "false"], "text": ["", "x, y", "0.5", "日本", " a "]}.get(kind, values)
            if kind == "number":
                chosen = [values[0], values[1]]
            if self.rng.random() < 0.9:
                made.append({"spec_id": spec["id"], "value": self.rng.choice(chosen)})
        return made

    def edit(self) -> None:
        self.change(f"{self.task.path}", range(len(self.sizes)))

    def edit_job(self) -> None:
        job = self.job()
        self.change(f"/api/jobs/{job['id']}", range(job["start_frame"], job["stop_frame"] + 1))

    def change(self, path: str, frames: range) -> None:
        rng = self.rng
        found = self.desk.call("GET", f"{path}/annotations")
        some = {kind: rng.sample(found[kind], min(len(found[kind]), rng.randint(0, 3))) for kind in KINDS}
        action = rng.choice(["create", "update", "update", "delete"])
        if action == "create":
            some = {kind: self.things(kind, 3) for kind in KINDS}
            some = {kind: [one for one in listed if one["frame"] in frames] for kind, listed in some.items()}
        elif action == "update":
            some = {kind: [self.changed(kind, one) for one in some[kind]] for kind in KINDS}
        self.steps[-1] += [path, action, {kind: [one.get("id", one) for one in some[kind]] for kind in KINDS}]
        body = {"version": 0, **some}
        self.desk.call("PATCH", f"{path}/annotations", params={"action": action}, json=body)

    def changed(self, kind: str, one: Thing) -> Thing:
        new = self.thing(kind)
        if not new:
            return one
        how = self.rng.choice(["occluded", "points", "group", "attributes", "label_id", "look", "rotation", "source"])
        label = next(label for label in self.task.labels().values() if label["id"] == one["label_id"])
        if how == "label_id":
            kinds = {"tags": "tag", "tracks": "rectangle"}
            other = next(each for each in self.task.labels().values() if each["id"] == new["label_id"])
            if other["type"] not in ("any", kinds.get(kind) or one["type"]):
                return one
            shapes = {"shapes": [{**shape, "attributes": []} for shape in one["shapes"]]} if kind == "tracks" else {}
            return {**one, **shapes, "label_id": new["label_id"], "attributes": new["attributes"]}
        if how == "attributes":
            return {**one, "attributes": self.attributes(label)}
        may_be = kind == "shapes" and new["frame"] == one["frame"] and label["type"] in ("any", new["type"])
        if how == "look" and may_be:
            return {**one, **{name: new[name] for name in ("type", "points", "rotation")}}
        if how == "points" and kind == "shapes" and one["type"] != "mask":
            return {**one, "points": [number * 0.75 + 0.5 for number in one["points"]]}
        if how == "rotation" and kind == "shapes" and one["type"] in ("rectangle", "ellipse"):
            return {**one, "rotation": self.rng.choice([0.0, 45.0, 359.5])}
        return {**one, how: new[how]} if how in ("group", "occluded", "source") and how in one else one

    def put(self) -> None:
        """What the page does when it saves: all of it, as it was read, some of it changed or gone."""
        found = self.task.annotations()
        kept = {kind: [one for one in found[kind] if self.rng.random() < 0.9] for kind in KINDS}
        for kind in KINDS:
            kept[kind] = [self.changed(kind, one) if self.rng.random() < 0.1 else one for one in kept[kind]]
        self.task.put(**kept)

    def label(self) -> Thing:
        return dict(self.rng.choice([*self.task.labels().values()]))

    def patch_label(self, label: Thing, **fields: Any) -> None:
        self.steps[-1] += [label["name"], fields]
        self.desk.call("PATCH", f"/api/labels/{label['id']}", json=fields)

    def rename_label(self) -> None:
        label = self.label()
        self.n_made += 1
        self.patch_label(label, name=f"{label['name'][:40]} {self.n_made}")

    def delete_label(self) -> None:
        if len(self.task.labels()) > 1:
            label = self.label()
            self.steps[-1].append(label["name"])
            self.desk.call("DELETE", f"/api/labels/{label['id']}", 204)

    def add_labels(self, labels: list[Thing]) -> None:
        project = self.desk.call("GET", self.task.path)["project_id"]
        path = f"/api/projects/{project}" if project else self.task.path
        self.steps[-1].append(labels)
        self.desk.call("PATCH", path, json={"labels": labels})

    def add_label(self) -> None:
        self.n_made += 1
        name = self.rng.choice(["Cat", "Dog", "Car, large", f"new {self.n_made}"])
        if name not in self.task.labels():
            self.add_labels([{"name": name, "type": self.rng.choice(TYPES)}])

    def add_attribute(self) -> None:
        label = self.label()
        names = {spec["name"] for spec in label["attributes"]}
        name = self.rng.choice(["note", "mood", "rating", "age"])
        if name in names:
            return
        kinds = {"text": [""], "checkbox": ["false"], "select": ["a", "b", "true"], "number": ["0", "1", "0.1"]}
        kind = self.rng.choice([*kinds])
        default = self.rng.choice(kinds[kind])
        spec = {"name": name, "mutable": self.rng.random() < 0.2, "input_type": kind, "values": kinds[kind]}
        if kind != "number":
            spec["default_value"] = default
        self.patch_label(label, attributes=[spec])

    def change_attribute(self) -> None:
        label = self.label()
        if not label["attributes"]:
            return
        spec = dict(self.rng.choice(label["attributes"]))
        how = self.rng.choice(["name", "default", "values"])
        self.n_made += 1
        if how == "name":
            spec["name"] = self.rng.choice([f"{spec['name'][:20]}_{self.n_made}", "score", "truncated", "mood"])
            if spec["name"] in {each["name"] for each in label["attributes"]}:
                return
        elif how == "default":
            choices = {"checkbox": ["true", "false"], "text": ["", "std"]}.get(spec["input_type"], spec["values"][:2])
            spec["default_value"] = self.rng.choice(choices)
        elif spec["input_type"] in ("select", "radio"):
            spec["values"] = [*spec["values"], f"v{self.n_made}"]
        self.patch_label(label, attributes=[spec])

    def retype_label(self) -> None:
        self.patch_label(self.label(), type=self.rng.choice(TYPES))

    def hide_frames(self) -> None:
        some = self.rng.sample(range(len(self.sizes)), self.rng.randint(0, min(2, len(self.sizes) - 1)))
        self.gone = sorted(some)
        self.steps[-1].append(self.gone)
        self.delete_frames(self.task)

    def back_up(self) -> None:
        """The task comes back from a backup, and is the one that goes on."""
        before = self.task
        rq_id = self.desk.call("POST", f"{before.path}/backup/export", 202)["rq_id"]
        self.desk.work()
        form = {"task_file": ("b.zip", self.download(f"{before.path}/backup", rq_id))}
        rq_id = self.desk.call("POST", "/api/tasks/backup", 202, files=form)["rq_id"]
        self.desk.work()
        request = self.desk.call("GET", f"/api/requests/{rq_id}")
        assert request["status"] == "finished", request
        self.task = TaskDesk(self.desk, request["result_id"])
        assert described(self.task) == described(before)
        for options in LAYOUTS:
            assert archive_of(self.task, **options) == archive_of(before, **options), options
        self.desk.call("DELETE", before.path, 204)

    def move(self) -> None:
        """To a project with the same labels."""
        labels = [declared(label) for label in self.task.labels().values()]
        before, archives = described(self.task), [archive_of(self.task, **options) for options in LAYOUTS]
        project = self.desk.call("POST", "/api/projects", 201, json={"name": "p", "labels": labels})["id"]
        self.desk.call("PATCH", self.task.path, json={"project_id": project})
        assert described(self.task) == before
        assert [archive_of(self.task, **options) for options in LAYOUTS] == archives
        other = self.desk.call("POST", "/api/projects", 201, json={"name": "q", "labels": labels})["id"]
        archive = self.project_export(project)
        form = {"dataset_file": ("p.zip", archive)}
        query = {"format": FORMAT}
        started = self.desk.call("POST", f"/api/projects/{other}/dataset", 202, params=query, files=form)
        self.desk.work()
        request = self.desk.call("GET", f"/api/requests/{started['rq_id']}")
        assert request["status"] == "finished", request
        assert alike(self.project_export(other)) == alike(archive)
        self.desk.call("DELETE", f"/api/projects/{other}", 204)

    def project_export(self, project: int) -> bytes:
        asked = {"format": FORMAT, "save_images": "true"}
        rq_id = self.desk.call("POST", f"/api/projects/{project}/dataset/export", 202, params=asked)["rq_id"]
        self.desk.work()
        return self.download(f"/api/projects/{project}/dataset", rq_id)

    def download(self, path: str, rq_id: str) -> bytes:
        """A bucket hands it out itself."""
        answer = self.desk.client.get(f"{path}/download", params={"rq_id": rq_id}, follow_redirects=False)
        if answer.status_code == 302:
            with urllib.request.urlopen(answer.headers["location"]) as found:
                return bytes(found.read())
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    # --- what must be true ---

    def check(self) -> None:
        here = held(self.task)
        labels = [declared(label) for label in self.task.labels().values()]
        for options in LAYOUTS:
            data = archive_of(self.task, **options)
            self.told.append(data)
            fresh = self.desk.task(self.frames, labels)
            fresh.bring(data, **self.options)
            if not self.gone:
                groups = options.get("layout") != "fiftyone"
                of_both = [held(task, groups=groups) for task in (fresh, self.task)]
                assert of_both[0] == of_both[1], (options, differences(*of_both))
            self.delete_frames(fresh)
            by_name = "label_ids" in options
            assert alike(archive_of(fresh, **options), by_name) == alike(data, by_name), options
            self.desk.call("DELETE", fresh.path, 204)
        if not self.gone:
            before = archive_of(self.task)
            self.task.bring(before, mode="merge", **self.options)
            assert held(self.task) == here, differences(held(self.task), here)
            assert alike(archive_of(self.task)) == alike(before)
            again = archive_of(self.task)
            report = self.task.bring(again, mode="merge", **self.options)
            assert held(self.task) == here
            for counts in report["changes"].values():
                assert (counts["added"], counts["removed"]) == (0, 0), report["changes"]
            assert alike(archive_of(self.task)) == alike(again)

    def go(self, n_steps: int = 8) -> None:
        names, weights = [*self.STEPS], [*self.STEPS.values()]
        for _ in range(n_steps):
            name = self.rng.choices(names, weights)[0]
            self.steps.append([name])
            getattr(self, name)()
        self.steps.append(["check"])
        self.check()
        self.desk.call("DELETE", self.task.path, 204)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Any:
    """What is in one of two holdings alone."""
    return {kind: ([*(one[kind] - other[kind])], [*(other[kind] - one[kind])]) for kind in KINDS}


def described(task: TaskDesk) -> Any:
    """All annotations in their order, with names in the place of ids of labels and attributes, without their own."""
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
        if "attributes" in found:
            found["attributes"] = sorted(found["attributes"], key=lambda each: str(each["spec_id"]))
        return found

    return named(task.annotations())


def alike(archive: bytes, by_name: bool = False) -> dict[str, Any]:
    """`contents`, with class names in any order. Where labels are called by their names, so are masks, of which some
    have one file then: their rows have its bytes in the place of its name."""
    found = contents(archive)
    classes = next(name for name in found if name.endswith(("class-descriptions.csv", "metadata/classes.csv")))
    found[classes] = sorted(found[classes].splitlines())
    if not by_name:
        return found
    pngs = {name.rpartition("/")[2]: zlib.crc32(data) for name, data in found.items() if name.endswith(".png")}
    for name in [*found]:
        if name.endswith("object-segmentation.csv"):
            found[name] = Counter((pngs.get(row[0], row[0]), *row[1:]) for row in found[name].elements())
        elif name.endswith(".png") and "masks" in name:
            del found[name]
    return found


def walk(desk: Desk, seed: int) -> None:
    WideWalk(desk, seed).go()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("wide")) as opened:
        yield opened


@pytest.mark.parametrize("seed", SOME)
def test_whatever_happened_to_a_task_it_comes_back(desk: Desk, seed: int) -> None:
    walk(desk, seed)


def told_by(engine: str, folder: Path, seed: int) -> list[Any]:
    """All reports and exports of a walk."""
    with place_of(engine, folder) as place, Desk(folder, place) as desk:
        one = WideWalk(desk, seed)
        one.go()
        return one.told


@pytest.mark.parametrize("seed", OF_BOTH)
def test_both_stores_tell_the_same_and_export_the_same_bytes(tmp_path: Path, seed: int) -> None:
    found = []
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        found.append(told_by(engine, tmp_path / engine, seed))
    assert found[0] == found[1]


@pytest.mark.long
@pytest.mark.parametrize("start", range(1, 1 + MANY, STEP))
def test_many_walks(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            walk(desk, seed)
