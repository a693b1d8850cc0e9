"""What teams do beyond one archive in and out: awkward names, overlapping jobs, labels that change and go."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.caller import Caller
from tests.clients.runners import Clients
from tests.samples import picture, read_archive

LABELS = [{"name": "cat"}, {"name": "dog ü"}]


@pytest.fixture
def caller(clients: Clients) -> Iterator[Caller]:
    with Caller(clients.service) as caller:
        yield caller


def box(frame: int, label: str = "cat", left: float = 1) -> dict[str, object]:
    return {"type": "rectangle", "frame": frame, "label": label, "points": [left, 1, 8, 6]}


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "A.png", "b.png"],
        ["a.png", "a.jpg"],
        ["ö 日本.png", " .png", "a b.png", "-.png", "'.png", "1.png", "01.png"],
        ["frame_000001.png", "FRAME_000001.png", "frame_000000.png"],
    ],
    ids=["letter case", "same stems", "odd ones", "names that look like ours"],
)
def test_names_that_differ_a_little_are_told_apart(caller: Caller, tmp_path: Path, names: list[str]) -> None:
    kinds = {name: picture(10, 8, index, "JPEG" if name.endswith("jpg") else "PNG") for index, name in enumerate(names)}
    task = caller.json("POST", "/api/tasks", json={"name": "names", "labels": LABELS})["id"]
    # A form, for a zip whose names differ by case alone is refused: not every disk can hold what it holds.
    files = [(f"client_files[{index}]", (name, kinds[name])) for index, name in enumerate(names)]
    caller.wait(caller.json("POST", f"/api/tasks/{task}/data", files=files)["rq_id"])
    caller.annotate(task, {"shapes": [box(frame, left=frame / 8) for frame in range(len(names))]})
    before = caller.annotations(task)["shapes"]
    path = caller.export(task, tmp_path / "with.zip", save_images=True)
    members = read_archive(path)
    assert sorted(body for name, body in members.items() if name.startswith("images/")) == sorted(kinds.values())
    caller.bring(task, path)
    after = caller.annotations(task)["shapes"]
    assert [(one["frame"], one["points"]) for one in after] == [(one["frame"], one["points"]) for one in before]


def test_overlapping_jobs_show_one_truth(caller: Caller) -> None:
    task = caller.task(
        "overlap", LABELS, {f"{n:03d}.png": picture(10, 8, n % 5) for n in range(60)}, segment_size=4, overlap=2
    )
    jobs = caller.json("GET", f"/api/jobs?task_id={task}&page_size=all&sort=id")["results"]
    assert [(job["start_frame"], job["stop_frame"]) for job in jobs] == [(n, n + 3) for n in range(0, 58, 2)]
    label = caller.labels(task)[0]["id"]
    first, second = (f"/api/jobs/{job['id']}" for job in jobs[:2])
    made = {"type": "rectangle", "frame": 3, "label_id": label, "points": [1, 1, 8, 6]}
    caller.call("PUT", f"{first}/annotations", json={"shapes": [made]})
    (seen,) = caller.json("GET", f"{second}/annotations")["shapes"]
    dates = {path: caller.json("GET", path)["updated_date"] for path in (first, second, f"/api/tasks/{task}")}
    caller.call("PATCH", f"{second}/annotations?action=update", json={"shapes": [{**seen, "points": [2, 2, 8, 6]}]})
    assert [one["points"] for one in caller.json("GET", f"{first}/annotations")["shapes"]] == [[2, 2, 8, 6]]
    assert all(date < caller.json("GET", path)["updated_date"] for path, date in dates.items())


def test_labels_change_and_go_under_annotations(caller: Caller, tmp_path: Path) -> None:
    task = caller.task("labels", LABELS, {f"{n}.png": picture(10, 8, n) for n in range(3)})
    caller.annotate(
        task, {"shapes": [box(0), box(1, "dog ü"), box(2, "dog ü")], "tags": [{"frame": 0, "label": "cat"}]}
    )
    cat, dog = caller.labels(task)
    caller.call("PATCH", f"/api/labels/{dog['id']}", json={"name": "Hund", "color": "#123456"})
    exported = read_archive(caller.export(task, tmp_path / "renamed.zip"))
    assert b"Hund" in exported["annotations/class-descriptions.csv"]
    assert exported["annotations/default-annotations-bbox.csv"].count(b"Hund") == 2
    caller.call("PATCH", f"/api/tasks/{task}", json={"labels": [{"id": cat["id"], "deleted": True}, {"name": "cat"}]})
    left = caller.annotations(task)
    assert ([one["frame"] for one in left["shapes"]], left["tags"]) == ([1, 2], [])
    assert [label["name"] for label in caller.labels(task)] == ["Hund", "cat"]


def test_what_a_zip_of_pictures_holds_beside_them_is_told(caller: Caller) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep/b.png", picture(9, 9))
    task = caller.task(
        "nested",
        LABELS,
        {"a.png": picture(9, 9), "in/more.zip": inner.getvalue(), "notes.txt": b"x", "__MACOSX/._a.png": b""},
    )
    assert [frame["name"] for frame in caller.json("GET", f"/api/tasks/{task}/data/meta")["frames"]] == ["a.png"]
    (request,) = caller.json("GET", f"/api/requests?task_id={task}")["results"]
    assert request["report"]["counts"] == {"image.nested_zip": 1, "image.not_a_picture": 1}
    assert "in/more.zip" in request["message"]
    assert "unpack it" in request["message"]
