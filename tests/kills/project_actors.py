"""Somebody who works on a whole project and remembers what was promised: datasets in and out, backups, labels, moves.

A project's state is the names of its labels and the states of its tasks (`actors.State`), each with its subset. Imports
make two tasks at once, so that half an import would be seen.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from typing import Any

from tests.hostile.parts import mask
from tests.kills.actors import FORMAT, HEADER, MASK_HEADER, SIDE, Actor, Broken, State, boxes, shown
from tests.samples import picture

ProjectState = tuple[tuple[str, ...], tuple[tuple[str, State], ...]]

SUBSETS = ("test", "train")
MOST_TASKS = 4
N_PICTURES = 12


class ProjectActor(Actor):
    """See the module."""

    def __init__(self, url: Callable[[], str], seed: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(url, seed, headers)
        self.name = f"project of {seed}"
        self.project = 0
        self.may_be: set[ProjectState] = {((), ())}
        self.ever: set[ProjectState] = set()
        self._steps = {
            "project import": self.import_dataset,
            "project import with labels": self.import_new_label,
            "refused project import": self.import_dataset_nonsense,
            "project dry run": self.try_dataset,
            "project export": self.export_dataset,
            "project backup": self.back_up_and_restore_project,
            "draw": self.draw,
            "merge with labels": self.merge_new_label,
            "label goes": self.remove_label,
            "task moves in": self.move_in,
            "task goes": self.remove_task,
            "project read": self.observe,
        }

    def begin(self) -> None:
        body = {"name": self.name, "labels": [{"name": "cat"}]}
        self.project = int(self.insist("POST", "/api/projects", 201, json=body).json()["id"])
        self.may_be = {(("cat",), ())}
        self.ever = set(self.may_be)

    def settle(self) -> None:
        listed = self.insist("GET", "/api/requests?page_size=500", 200).json()["results"]
        tasks = {task["id"] for task in self.tasks_of(self.project)}
        for request in listed:
            about = request["operation"]
            mine = about["project_id"] == self.project or about["task_id"] in tasks
            if mine and request["status"] not in ("finished", "failed"):
                self.final(request["id"])
        self.observe()

    def finish(self) -> None:
        self.settle()
        for number in self.gone:
            self.insist("GET", f"/api/projects/{number}", 404)
        for project in self.pages("/api/projects"):
            if project["name"] == self.name:
                found = self.look(project["id"])
                if found not in self.ever:
                    raise Broken(f"project {project['id']} is half there: {found}")

    # What is seen

    def pages(self, path: str, **query: Any) -> list[Any]:
        found: list[Any] = []
        while True:
            query |= {"page_size": 100, "page": query.get("page", 0) + 1}
            page = self.insist("GET", path, 200, params=query).json()
            found += page["results"]
            if not page["next"]:
                return found

    def tasks_of(self, project: int) -> list[Any]:
        return self.pages("/api/tasks", project_id=project)

    def look(self, project: int) -> ProjectState:
        labels = tuple(sorted(label["name"] for label in self.pages("/api/labels", project_id=project)))
        found = []
        for task in self.tasks_of(project):
            annotations = self.insist("GET", f"/api/tasks/{task['id']}/annotations", 200).json()
            found.append((task["subset"], shown(annotations)))
        return labels, tuple(sorted(found))

    def observe(self) -> None:
        found = self.look(self.project)
        if found not in self.may_be:
            raise Broken(f"project {self.project} shows {found}, not one of {sorted(self.may_be)}")
        self.may_be = {found}

    @property
    def now(self) -> ProjectState:
        (state,) = self.may_be
        return state

    def turns(self, new: ProjectState, do: Callable[[], bool]) -> None:
        """As `becomes`, of the project."""
        old = self.now
        self.may_be = {old, new}
        self.ever.add(new)
        self.may_be = {new if do() else old}

    # What is done

    def bring(self, body: bytes, **query: Any) -> bool:
        files = {"dataset_file": ("p.zip", body)}
        query = {"format": FORMAT, **query}
        return self.worked(self.call("POST", f"/api/projects/{self.project}/dataset", params=query, files=files))

    def make_room(self) -> None:
        while len(self.now[1]) > MOST_TASKS - len(SUBSETS):
            self.remove_task()

    def import_dataset(self) -> None:
        self.make_room()
        labels, tasks = self.now
        parts = tuple((subset, self.numbers()) for subset in SUBSETS)
        self.turns((labels, tuple(sorted(tasks + parts))), lambda: self.bring(dataset(parts)))

    def import_new_label(self) -> None:
        self.make_room()
        labels, tasks = self.now
        name = self.new_name()
        parts = tuple((subset, self.numbers()) for subset in SUBSETS)
        new = tuple(sorted({*labels, name})), tuple(sorted(tasks + parts))
        self.turns(new, lambda: self.bring(dataset(parts, label=name), labels="create"))

    def new_name(self) -> str:
        return f"new {self._random.randrange(1 << 40)}"

    def import_dataset_nonsense(self) -> None:
        """A second subset of a label that nobody knows."""
        parts = tuple((subset, self.numbers()) for subset in SUBSETS)
        files = {"dataset_file": ("p.zip", dataset(parts, label="unknown"))}
        path = f"/api/projects/{self.project}/dataset"
        answer = self.call("POST", path, params={"format": FORMAT}, files=files)
        self.fails(answer, "a dataset of a label that the project lacks was imported")
        self.observe()

    def try_dataset(self) -> None:
        parts = tuple((subset, self.numbers()) for subset in SUBSETS)
        self.bring(dataset(parts), dry_run="true")
        self.observe()

    def export_dataset(self) -> None:
        _, tasks = self.now
        if not tasks:
            return
        answer = self.call("POST", f"/api/projects/{self.project}/dataset/export", params={"format": FORMAT})
        if not self.worked(answer):
            return
        found = numbers_in(self.result(answer))
        expected = tuple(sorted(number for _, state in tasks for number in state))
        if found != expected:
            raise Broken(f"the export of project {self.project} shows {found}, not {expected}")

    def back_up_and_restore_project(self) -> None:
        if not self.now[1]:
            return
        asked = self.call("POST", f"/api/projects/{self.project}/backup/export")
        if not self.worked(asked):
            return
        body = self.result(asked)
        self.ever.add(self.now)
        asked = self.call("POST", "/api/projects/backup", files={"project_file": ("backup.zip", body)})
        if not self.worked(asked):
            return
        number = self.insist("GET", f"/api/requests/{asked.json()['rq_id']}", 200).json()["result_id"]
        found = self.look(number)
        if found != self.now:
            raise Broken(f"project {number} was made of a backup of {self.now} and shows {found}")
        self.insist("DELETE", f"/api/projects/{number}", 204, 404)
        self.gone = [*self.gone[-20:], number]

    def some_task(self) -> tuple[int, str, State] | None:
        listed = self.tasks_of(self.project)
        if not listed:
            return None
        task = self._random.choice(listed)
        seen = shown(self.insist("GET", f"/api/tasks/{task['id']}/annotations", 200).json())
        return task["id"], task["subset"], seen

    def label_id(self, name: str = "cat") -> int:
        return next(
            int(label["id"]) for label in self.pages("/api/labels", project_id=self.project) if label["name"] == name
        )

    def with_task(self, subset: str, old: State, new: State | None) -> ProjectState:
        labels, tasks = self.now
        left = list(tasks)
        left.remove((subset, old))
        return labels, tuple(sorted([*left, *([] if new is None else [(subset, new)])]))

    def draw(self) -> None:
        chosen = self.some_task()
        if chosen is None:
            return
        task, subset, old = chosen
        new = self.numbers()
        body = {"shapes": boxes(new, self.label_id()), "tags": [], "tracks": []}
        path = f"/api/tasks/{task}/annotations"
        self.turns(self.with_task(subset, old, new), lambda: self.expect(self.call("PUT", path, json=body), 200))

    def merge_new_label(self) -> None:
        """Rows of a new label are merged in, and the label comes with them or not at all."""
        chosen = self.some_task()
        if chosen is None:
            return
        task, subset, old = chosen
        name, more = self.new_name(), self.numbers()[:5]
        labels, tasks = self.with_task(subset, old, tuple(sorted(old + more)))
        new = tuple(sorted({*labels, name})), tasks
        body = dataset(((subset, more),), label=name, with_pictures=False)
        query = {"labels": "create", "mode": "append", "wait": self._random.choice((0, 0.1, 30))}

        def do() -> bool:
            return self.told(self.call("POST", f"/api/tasks/{task}/import", params=query, content=body))

        self.turns(new, do)

    def remove_label(self) -> None:
        """It goes with its annotations; which those are is looked up first."""
        labels, _ = self.now
        names = [name for name in labels if name != "cat"]
        if not names:
            return
        name = self._random.choice(names)
        number = self.label_id(name)
        left = []
        for task in self.tasks_of(self.project):
            annotations = self.insist("GET", f"/api/tasks/{task['id']}/annotations", 200).json()
            shapes = [shape for shape in annotations["shapes"] if shape["label_id"] != number]
            left.append((task["subset"], shown({"shapes": shapes})))
        new = tuple(other for other in labels if other != name), tuple(sorted(left))
        self.turns(new, lambda: self.expect(self.call("DELETE", f"/api/labels/{number}"), 204))

    def move_in(self) -> None:
        """A task with annotations of its own label comes under the project's label of that name."""
        self.make_room()
        task = self.new_task()
        started = self.call(
            "POST", f"/api/tasks/{task}/data", files={"client_files[0]": ("a.png", picture(SIDE, SIDE))}
        )
        if not self.worked(started):
            return
        numbers = self.numbers()
        (label,) = self.insist("GET", f"/api/labels?task_id={task}", 200).json()["results"]
        body = {"shapes": boxes(numbers, int(label["id"]))}
        self.insist("PUT", f"/api/tasks/{task}/annotations", 200, json=body)
        labels, tasks = self.now
        new = labels, tuple(sorted([*tasks, ("", numbers)]))
        path = f"/api/tasks/{task}"
        self.turns(new, lambda: self.expect(self.call("PATCH", path, json={"project_id": self.project}), 200))

    def remove_task(self) -> None:
        chosen = self.some_task()
        if chosen is None:
            return
        task, subset, old = chosen
        self.turns(
            self.with_task(subset, old, None), lambda: self.expect(self.call("DELETE", f"/api/tasks/{task}"), 204)
        )


def dataset(parts: tuple[tuple[str, State], ...], *, label: str = "cat", with_pictures: bool = True) -> bytes:
    """An archive of some subsets; the boxes of each lie on its first picture."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for subset, numbers in parts:
            table = f"annotations/{subset or 'train'}-annotations"
            image = f"{subset}0" if subset else "a"  # of a task that moved in
            rows = [f"{image},x,{label},1,{n / SIDE},{(n + 1) / SIDE},0,{1 / SIDE},0,0,0,0,0" for n in numbers]
            archive.writestr(f"{table}-bbox.csv", "\n".join([HEADER, *rows, ""]))
            archive.writestr(
                f"{table}-object-segmentation.csv", f"{MASK_HEADER}\n{image}.png,{image},{label},00000001,,,,,,\n"
            )
            archive.writestr(f"masks/{subset or 'train'}/{image}.png", mask(SIDE, SIDE))
            if with_pictures:
                archive.writestr(f"images/{subset}/{image}.png", picture(SIDE, SIDE))
                for number in range(1, N_PICTURES):
                    archive.writestr(f"images/{subset}/{subset}{number}.png", picture(40, 30))
    return body.getvalue()


def numbers_in(data: bytes) -> State:
    """The left edges of all boxes, whatever their subset."""
    found: list[int] = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.testzip() is not None:
            raise Broken("a member of an exported archive is damaged")
        for name in archive.namelist():
            if name.endswith("bbox.csv"):
                rows = csv.DictReader(io.StringIO(archive.read(name).decode()))
                found += [round(float(row["XMin"]) * SIDE) for row in rows]
    return tuple(sorted(found))
