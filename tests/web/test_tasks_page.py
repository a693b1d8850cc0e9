"""The list of tasks, and making them."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.samples import picture
from tests.web.browser import Guard
from tests.web.conftest import PATIENCE_MS
from tests.web.tasks import Caller, archive, box, zip_of

OpenPage = Callable[..., Any]


def write_pictures(folder: Path, names: list[str]) -> list[str]:
    paths = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(90, 60, number))
        paths.append(str(path))
    return paths


def test_a_task_is_made_of_dropped_pictures_and_named_labels(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    page = open_page("/tasks/new")
    page.locator("input[type=file]").set_input_files(write_pictures(tmp_path, ["img10.png", "img2.png"]))
    expect(page.locator(".picked")).to_contain_text("2 pictures")
    page.get_by_label("Name", exact=True).fill("Two of them")
    labels = page.get_by_placeholder("cat, dog, …")
    labels.fill("cat")
    labels.press("Enter")
    page.locator("#label-input").fill("dog, bird")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".frame")).to_have_count(2)
    assert page.locator(".frame .clip").all_inner_texts() == ["img2.png", "img10.png"]
    task_id = int(page.url.split("/tasks/")[1].split("?")[0])
    found = caller.call("GET", "/api/labels", task_id=task_id)["results"]
    assert [label["name"] for label in found] == ["cat", "dog", "bird"]
    assert caller.call("GET", f"/api/tasks/{task_id}")["name"] == "Two of them"


def test_a_task_is_made_of_an_archive_with_pictures_and_annotations(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    pictures = {f"images/train/{name}.png": picture(100, 50, seed) for seed, name in enumerate("ab")}
    path = tmp_path / "pets.zip"
    path.write_bytes(archive([box("a"), box("b", "/m/0bt9lr")], ["a,verification,/m/01yrx,1"], pictures))
    page = open_page("/")
    page.goto("/tasks/new")
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_label("Name", exact=True)).to_have_value("pets")
    expect(page.locator(".tokens .label")).to_have_text(["Cat", "Dog"])
    page.get_by_role("button", name="Create and look at the annotations").click()
    expect(page.locator(".verdict h2")).to_have_text("Ready: 2 boxes and 1 picture label")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator(".verdict h2")).to_have_text("Imported 2 boxes and 1 picture label")
    task_id = int(re.findall(r"/tasks/(\d+)/", page.url)[0])
    stored = caller.annotations(task_id)
    assert (len(stored["shapes"]), len(stored["tags"])) == (2, 1)
    assert stored["shapes"][0]["points"] == [10.0, 10.0, 50.0, 30.0]


def test_folders_with_equal_names_are_kept_apart(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", ["left/1.png", "right/1.png", "right/2.png"])
    page = open_page("/tasks/new")
    page.locator("input[type=file]").evaluate("input => input.toggleAttribute('webkitdirectory', true)")
    page.locator("input[type=file]").set_input_files(tmp_path / "set")
    expect(page.locator(".picked")).to_contain_text("3 pictures")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".frame")).to_have_count(3)
    task_id = int(page.url.split("/tasks/")[1].split("?")[0])
    names = [frame["name"] for frame in caller.call("GET", f"/api/tasks/{task_id}/data/meta")["frames"]]
    assert names == ["set/left/1.png", "set/right/1.png", "set/right/2.png"]


def test_what_is_no_picture_is_named(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.zip").write_bytes(zip_of({"a.png": b"x"})[:-30])
    (tmp_path / "tables.zip").write_bytes(archive([box("a")]))
    page = open_page("/tasks/new")
    for name, words in (
        ("notes.txt", "neither pictures nor one zip"),
        ("broken.zip", "not a zip, or its end is missing"),
        ("tables.zip", "annotations, but no pictures"),
    ):
        page.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(page.get_by_role("alert")).to_contain_text(words)


def test_a_picture_that_cannot_be_read_leaves_no_task_behind(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture at all")
    before = caller.call("GET", "/api/tasks")["count"]
    page = open_page("/tasks/new")
    page.locator("input[type=file]").set_input_files(tmp_path / "bad.png")
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as removed:
        page.get_by_role("button", name="Create").click()
    assert removed.value.ok
    expect(page.get_by_role("alert")).to_contain_text("bad.png")
    expect(page.get_by_role("button", name="Create")).to_be_enabled()
    assert caller.call("GET", "/api/tasks")["count"] == before


def test_files_dropped_on_the_list_go_to_a_new_task(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    caller.task("so that the list is not empty")
    page = open_page("/")
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    page.evaluate(
        """async (bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            for (const name of ["dragenter", "dragover", "drop"])
                window.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        list(picture(20, 20, 3)),
    )
    expect(page).to_have_url(re.compile("/tasks/new$"))
    expect(page.locator(".picked")).to_contain_text("1 picture")
    expect(page.get_by_label("Name", exact=True)).to_have_value("dropped")


def test_the_list_shows_counts_and_is_searched(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("Zebra crossing", 3)
    caller.load(task_id, archive([box("p000"), box("p001")], ["p000,verification,/m/01yrx,1"]))
    caller.task("Something else")
    page = open_page("/?search=zebra")
    card = page.locator(".card")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("3 pictures · 2 shapes · 1 tag")
    expect(card).to_contain_text("Changed just now")
    expect(card.locator("img")).to_have_js_property("complete", True)
    assert card.locator("img").evaluate("image => image.naturalWidth") > 0
    page.get_by_label("Search tasks").fill("no such thing")
    expect(page.locator(".nothing")).to_contain_text("no such thing")


def test_a_deleted_task_comes_back_with_undo_and_goes_without(open_page: OpenPage, caller: Caller) -> None:
    kept, lost = caller.task("undo keeps me"), caller.task("undo loses me")
    page = open_page("/?search=undo", is_new=True)  # the clock is the whole context's
    page.clock.install()
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("button", name="Delete undo keeps me").click()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("button", name="Delete undo loses me").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        page.clock.fast_forward(8000)
    assert deleted.value.status == 204
    names = {task["id"] for task in caller.call("GET", "/api/tasks", search="undo")["results"]}
    assert kept in names
    assert lost not in names


def test_a_deleted_task_goes_when_the_page_is_left(open_page: OpenPage, caller: Caller) -> None:
    lost = caller.task("closing loses me")
    page = open_page("/?search=closing")
    page.get_by_role("button", name="Delete closing loses me").click()
    expect(page.locator(".card")).to_have_count(0)
    page.goto("/help")
    expect(page.get_by_role("heading", name="How a zip should look")).to_be_visible()
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while lost in {task["id"] for task in caller.call("GET", "/api/tasks", search="closing")["results"]}:
        assert time.monotonic() < deadline, "the task is still there"
        page.wait_for_timeout(50)


def test_a_task_that_is_not_there(open_page: OpenPage, guard: Guard) -> None:
    guard.allowed.append("status of 404")
    page = open_page("/tasks/987654")
    expect(page.get_by_role("heading", name="There is no such task")).to_be_visible()
    page.get_by_role("link", name="To the tasks").click()
    expect(page).to_have_url(re.compile(r"/$"))


def test_a_task_is_renamed_and_its_labels_change(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("old name", 1)
    page = open_page(f"/tasks/{task_id}/labels")
    changes: list[str] = []
    page.on("request", lambda asked: changes.append(asked.post_data) if asked.method == "PATCH" else None)
    page.get_by_role("button", name="old name").click()
    page.get_by_label("Name of the task").fill("never")
    page.get_by_label("Name of the task").press("Escape")
    page.get_by_role("button", name="old name").click()
    page.get_by_label("Name of the task").fill("new name")
    page.get_by_label("Name of the task").press("Enter")
    expect(page.get_by_role("button", name="new name")).to_be_visible()
    assert changes == ['{"name":"new name"}'], "once"
    page.get_by_label("Add labels").fill("bird")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".label-cards li")).to_have_count(3)
    page.get_by_role("button", name="Remove Dog").click()
    page.get_by_role("button", name="Remove Dog").click()
    expect(page.locator(".label-cards li")).to_have_count(2)
    names = [label["name"] for label in caller.call("GET", "/api/labels", task_id=task_id)["results"]]
    assert names == ["Cat", "bird"]


def test_thousands_of_classes_become_labels_and_are_found_by_name(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    n_classes = 7_000  # with what Open Images says of each, more than one call takes
    classes = [(f"/m/{number:05d}", f"Class {number:05d}") for number in range(n_classes)]
    path = tmp_path / "many.zip"
    tags = [f"a,verification,{mid},1" for mid, _ in classes]
    path.write_bytes(archive((), tags, {"images/train/a.png": picture(100, 50)}, classes))
    page = open_page("/tasks/new")
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(".tokens")).to_contain_text("and 6,940 more")
    page.get_by_role("button", name="Create and look at the annotations").click()
    expect(page.locator(".verdict h2")).to_have_text("Ready: 7,000 picture labels")
    task_id = int(re.findall(r"/tasks/(\d+)/", page.url)[0])
    last = caller.call("GET", "/api/labels", task_id=task_id, sort="-id", page_size=1)
    assert (last["count"], last["results"][0]["name"]) == (n_classes, "Class 06999")
    assert "score" in [one["name"] for one in last["results"][0]["attributes"]]
    page.goto(f"/tasks/{task_id}/labels")
    cards = page.locator(".label-cards li")
    expect(cards).to_have_count(200)
    expect(page.get_by_text("and 6,800 more")).to_be_visible()
    page.get_by_label("Search labels by name").fill("class 0699")
    expect(cards).to_have_count(10)
    page.get_by_label("Search labels by name").fill("class 9")
    expect(page.get_by_text("No label is called that.")).to_be_visible()


def test_the_zip_that_is_sent_is_a_whole_zip(open_page: OpenPage, tmp_path: Path) -> None:
    """Cutting members out of a zip in the browser, and making one of files: read back by Python."""
    source = tmp_path / "source.zip"
    source.write_bytes(archive([box("a")], (), {"images/a.png": picture(30, 30), "masks/é.png": b"mask" * 1000}))
    page = open_page("/help")
    made = page.evaluate(
        """async (bytes) => {
            const base = document.querySelector('link[rel=stylesheet]').href.replace('app.css', '');
            const zip = await import(base + 'js/zip.js');
            const opened = await zip.openZip(new Blob([new Uint8Array(bytes)]));
            const of = async (blob) => [...new Uint8Array(await blob.arrayBuffer())];
            const names = await of(zip.cutZip(opened, (entry) => (entry.name.endsWith('a.png') ? 'name' : true)));
            const some = await of(zip.cutZip(opened, (entry) => entry.name.startsWith('masks/')));
            const fresh = await of(await zip.makeZip([
                { file: new File(['hello'], 'x.txt'), name: 'dir/x.txt' },
                { file: new File([new Uint8Array(100001).fill(7)], 'ü.bin'), name: 'ü.bin' },
            ]));
            return [names, some, fresh];
        }""",
        list(source.read_bytes()),
    )
    names, some, fresh = (zipfile.ZipFile(_file(tmp_path, index, data)) for index, data in enumerate(made))
    with zipfile.ZipFile(source) as whole:
        assert names.namelist() == whole.namelist()
        assert names.read("images/a.png") == b""
        assert names.read("masks/é.png") == some.read("masks/é.png") == whole.read("masks/é.png")
    assert some.namelist() == ["masks/é.png"]
    assert (fresh.read("dir/x.txt"), fresh.read("ü.bin")) == (b"hello", b"\x07" * 100001)
    for one in (names, some, fresh):
        assert one.testzip() is None
        one.close()


def _file(folder: Path, index: int, data: list[int]) -> Path:
    path = folder / f"made{index}.zip"
    path.write_bytes(bytes(data))
    return path
