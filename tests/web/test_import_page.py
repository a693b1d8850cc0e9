"""Importing: what is seen before, what goes wrong, what is done about it, and uploads that are cut."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import expect

from app.formats.open_images.layout import classify
from tests.environments import clean_environ, python_of
from tests.samples import mask_png, picture
from tests.web.tasks import BOX_HEADER, Caller, archive, box

OpenPage = Callable[..., Any]


def give(page: Any, folder: Path, data: bytes, name: str = "upload.zip") -> Path:
    path = folder / name
    path.write_bytes(data)
    page.locator("input[type=file]").set_input_files(path)
    return path


def verdict(page: Any) -> Any:
    return page.locator(".verdict h2")


def test_what_an_archive_would_do_is_seen_first(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("preview", 2)
    caller.load(task_id, archive([box("p000"), box("p001"), box("p001", place="0.2,0.3,0.2,0.3")]))
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive([box("p000", "/m/0bt9lr")], ["p001,verification,/m/01yrx,1"], {"README.md": "hello"}))
    expect(verdict(page)).to_have_text("Ready: 1 box and 1 picture label")
    rows = page.locator(".ledger tbody tr")
    expect(rows.nth(0)).to_have_text(re.compile(r"Shapes\s*3\s*−3\s*\+1\s*1"))
    expect(rows.nth(1)).to_have_text(re.compile(r"Tags\s*0\s*0\s*\+1\s*1"))
    tree = page.locator("ap-tree")
    expect(tree).to_contain_text("train-annotations-bbox.csv")
    expect(tree).to_contain_text("kept as it is")
    expect(page.locator(".counts tbody tr", has_text="bbox")).to_have_text(re.compile(r"1\s*1\s*0\s*0$"))
    expect(page.locator(".looks rect")).to_have_count(1)
    assert len(caller.annotations(task_id)["shapes"]) == 3, "looking changes nothing"
    page.get_by_label("Keep it").check()
    expect(rows.nth(0)).to_have_text(re.compile(r"Shapes\s*3\s*0\s*\+1\s*4"))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 1 box and 1 picture label")
    stored = caller.annotations(task_id)
    assert (len(stored["shapes"]), len(stored["tags"])) == (4, 1)
    page.get_by_role("button", name="Import another").click()
    expect(page.locator(".request")).to_have_count(2)
    page.locator(".request summary").first.click()
    expect(page.locator(".request .counts").first).to_contain_text("train-annotations-bbox.csv")


def sixty_problems() -> bytes:
    rows = [
        *(box(f"missing{number:02d}") for number in range(30)),
        *(box("p000", place=f"{number + 3},{number + 40},0.1,0.2") for number in range(10)),
        *(box("p001", flags="perhaps,0,0,0,0") for _ in range(10)),
    ]
    return archive(rows)


def test_sixty_problems_are_grouped_and_lead_to_their_lines(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    task_id = caller.task("sixty", 2)
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, sixty_problems())
    expect(verdict(page)).to_have_text("Not yet: nothing was changed")
    expect(page.locator("ap-report h2")).to_have_text("60 problems of 3 kinds")
    groups = page.locator(".group.error")
    expect(groups.locator("h3")).to_have_text(
        ["The task has no such picture", "A number is out of range", "A flag is neither 0, 1 nor -1"]
    )
    expect(groups.locator(".chip")).to_have_text(["30 times", "20 times", "10 times"])
    first = page.locator('[data-code="image.unmatched"]')
    expect(first.locator(".problem")).to_have_count(5)
    first.get_by_role("button", name="Show 25 more").click()
    expect(first.locator(".problem")).to_have_count(30)
    ranges = page.locator('[data-code="value.range"]')
    ranges.get_by_role("button", name=re.compile("row 32, XMin")).click()
    excerpt = ranges.locator(".excerpt")
    expect(excerpt.locator("tr.hit th")).to_have_text("32")
    expect(excerpt.locator("td.hit")).to_have_text("3")
    expect(excerpt.locator("th.hit")).to_have_text("XMin")
    expect(page.get_by_role("button", name="Import", exact=True)).to_have_count(0)
    expect(page.locator("ap-tree .chip.bad")).to_have_text("60")


def test_rows_of_unknown_pictures_are_left_out_with_one_click(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    task_id = caller.task("skip", 1)
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive([box("p000"), box("elsewhere"), box("elsewhere")]))
    page.get_by_role("button", name="Leave these rows out").click()
    expect(verdict(page)).to_have_text("Ready: 1 box")
    expect(page.get_by_label("Leave out pictures that are not in the task")).to_be_checked()
    expect(page.locator(".counts tbody tr", has_text="bbox")).to_have_text(re.compile(r"3\s*1\s*0\s*2$"))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 1 box")


def test_buttons_stay_where_they_are_when_the_first_look_comes(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    task_id = caller.task("still", 1)
    page = open_page(f"/tasks/{task_id}/import")
    held: list[Any] = []
    page.route("**/pictures?*", lambda route: held.append(route))
    give(page, tmp_path, archive([box("p000"), box("elsewhere")]))
    button = page.get_by_role("button", name="Leave these rows out")
    expect(page.locator(".looks-to-come")).to_have_text("Looking …")
    while not held:
        page.wait_for_timeout(20)
    before = button.bounding_box()
    page.route("**/pictures?*", lambda route: route.continue_())
    for route in held:
        route.continue_()
    expect(page.locator(".looks rect")).to_have_count(1)
    assert abs(button.bounding_box()["y"] - before["y"]) <= 1
    page.get_by_role("button", name="Another zip").click()
    give(page, tmp_path, archive([box("elsewhere")]))
    expect(page.locator(".looks-to-come")).to_have_text("None of its pictures could be found in the task.")


def test_missing_labels_are_added_with_one_click(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("labels", 1)
    page = open_page(f"/tasks/{task_id}/import")
    rows = [box("p000", "/m/0bird"), box("p000", "/m/0fish"), box("p000")]
    give(page, tmp_path, archive(rows, classes=[("/m/01yrx", "Cat"), ("/m/0bird", "Bird"), ("/m/0fish", "Fish")]))
    page.get_by_role("button", name="Add these labels to the task").click()
    expect(verdict(page)).to_have_text("Ready: 3 boxes")
    expect(page.get_by_role("group", name="New labels").locator(".label")).to_have_text(["Bird", "Fish"])

    def labels() -> list[str]:
        return [label["name"] for label in caller.call("GET", "/api/labels", task_id=task_id)["results"]]

    assert labels() == ["Cat", "Dog"], "looking changes nothing"
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 3 boxes")
    assert labels() == ["Cat", "Dog", "Bird", "Fish"]
    page.get_by_role("link", name="Look at the pictures").click()
    expect(page.locator(".label-list")).to_contain_text("Bird")


def test_a_label_is_taken_for_its_nearest_with_one_click(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("nearest", 1, ["Sailing boat", "Buoy, red=1"])
    page = open_page(f"/tasks/{task_id}/import")
    rows = [box("p000", "/m/0sail"), box("p000", "/m/0sail"), box("p000", "Boje")]
    give(page, tmp_path, archive(rows, classes=[("/m/0sail", "Sailing boats"), ("Boje", "Boje")]))
    expect(page.locator(".renamings li")).to_have_count(2)
    page.get_by_role("button", name="It is “Sailing boat”").click()
    expect(page.locator(".renamings li")).to_have_count(1)
    page.get_by_label("Take Boje for the label").select_option("Buoy, red=1")
    expect(verdict(page)).to_have_text("Ready: 3 boxes")
    chosen = page.get_by_role("group", name="Labels called otherwise").locator(".label")
    expect(chosen).to_have_text(["Sailing boats → Sailing boat", "Boje → Buoy, red=1"])
    page.get_by_text("The same from a terminal").click()
    expect(page.locator(".command code").nth(1)).to_contain_text("map=label%3A%2Fm%2F0sail%3DSailing+boat")
    page.get_by_role("button", name="No longer take Boje").click()
    expect(verdict(page)).to_have_text("Not yet: nothing was changed")
    page.get_by_label("Take Boje for the label").select_option("Buoy, red=1")
    expect(verdict(page)).to_have_text("Ready: 3 boxes")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 3 boxes")
    labels = {label["id"]: label["name"] for label in caller.call("GET", "/api/labels", task_id=task_id)["results"]}
    stored = sorted(labels[shape["label_id"]] for shape in caller.annotations(task_id)["shapes"])
    assert stored == ["Buoy, red=1", "Sailing boat", "Sailing boat"]


def test_files_are_taken_for_what_the_service_takes_them_for(open_page: OpenPage) -> None:
    names = [
        "train-annotations-bbox.csv", "a/oidv6-train-annotations-bbox.csv", "challenge-2019-train-detection-bbox.csv",
        "challenge-2018-train-vrd.csv", "oidv6-train-annotations-vrd.csv", "open_images_train_v6_captions.jsonl",
        "validation-annotations-point-labels.csv", "class-descriptions-boxable.csv", "metadata/classes.csv",
        "challenge-2019-classes-description-500.csv", "train-images-boxable-with-rotation.csv", "images.meta",
        "x/labels/points.csv", "bbox_labels_600_hierarchy.json", "oid_extra.json", "notes.csv", "labels/detections.csv",
        "train-annotations-machine-imagelabels.csv", "challenge-2019-train-segmentation-masks.csv", "image_ids.csv",
        "challenge-2019-classes-vrd.csv", "challenge-2018-image-ids-valset-vrd.csv",
        "challenge-2019-train-vrd-labels.csv",
    ]  # fmt: skip
    page = open_page("/help")
    found = page.evaluate(
        """async (names) => {
            const base = document.querySelector('link[rel=stylesheet]').href.replace('app.css', '');
            const { kindOf } = await import(base + 'js/tables.js');
            return names.map((name) => kindOf(name).kind);
        }""",
        names,
    )
    tables = [classify(name) for name in names]
    assert found == ["kept" if table is None else table.kind for table in tables]


def test_a_subset_is_called_otherwise(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("subset names", 1)
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive([box("p000")]))
    expect(verdict(page)).to_have_text("Ready: 1 box")
    page.get_by_text("Call subsets otherwise").click()
    page.locator(".subsets").get_by_label("train").fill("validation")
    page.locator(".subsets").get_by_label("train").press("Enter")
    page.get_by_text("The same from a terminal").click()
    expect(page.locator(".command code").nth(1)).to_contain_text("map=subset%3Atrain%3Dvalidation")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 1 box")
    assert caller.call("GET", f"/api/tasks/{task_id}/pictures/0")["subset"] == "validation"


def test_a_corrected_zip_changes_only_what_was_corrected(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("merge", 3)
    rows = [box("p000"), box("p001"), box("p002", place="0.1,0.2,0.1,0.2"), box("p002", place="0.5,0.7,0.5,0.7")]
    caller.load(task_id, archive(rows))
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive(rows))
    expect(verdict(page)).to_have_text("Ready: 4 boxes")
    shapes = page.locator(".ledger tbody tr").first.locator("td")
    expect(shapes).to_have_text(["4", "−4", "+4", "4"])
    page.get_by_label("Correct it").check()
    expect(shapes).to_have_text(["4", "0", "0", "0", "4", "4"])
    page.get_by_role("button", name="Another zip").click()
    corrected = [box("p000", flags="1,0,0,0,0"), box("p001"), rows[2], box("p001", place="0.8,0.9,0.8,0.9")]
    give(page, tmp_path, archive(corrected), "corrected.zip")
    expect(shapes).to_have_text(["4", "−1", "~1", "+1", "4", "2"])
    page.get_by_label("Keep what the zip leaves out").check()
    expect(shapes).to_have_text(["4", "0", "~1", "+1", "5", "3"])
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text(re.compile("Imported"))
    stored = caller.annotations(task_id)["shapes"]
    assert sorted(shape["frame"] for shape in stored) == [0, 1, 1, 2, 2]
    assert [shape["occluded"] for shape in stored if shape["frame"] == 0] == [True]


def test_tables_that_are_in_no_zip_are_taken_together(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("no zip needed", 1)
    page = open_page(f"/tasks/{task_id}/import")
    boxes, classes = tmp_path / "train-annotations-bbox.csv", tmp_path / "class-descriptions.csv"
    boxes.write_text("\n".join([BOX_HEADER, box("p000")]) + "\n")
    classes.write_text("/m/01yrx,Cat\n")
    page.locator("input[type=file]").set_input_files([boxes, classes])
    expect(verdict(page)).to_have_text("Ready: 1 box")
    expect(page.locator(".tree-file")).to_have_count(2)
    page.get_by_role("button", name="Another zip").click()
    page.locator("input[type=file]").set_input_files(boxes)
    expect(page.locator(".renamings li")).to_contain_text("/m/01yrx")


def test_pictures_with_problems_are_looked_at_first_masks_too(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    task_id = caller.task("looks", 3)
    mask = np.zeros((80, 120), dtype=np.bool_)
    mask[5:60, 10:90] = True
    more = {
        "masks/train/p001_m.png": mask_png(mask),
        "annotations/train-annotations-object-segmentation.csv": (
            "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
            "p001_m.png,p001,/m/01yrx,00000000,,,,,0.9,\n"
        ),
    }
    rows = [box("p000"), box("p000", "/m/0bt9lr"), box("p000"), box("p002", place="0.1,112,0.2,0.6")]
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive(rows, more=more))
    looks = page.locator(".looks figure")
    expect(looks.locator("figcaption .clip")).to_have_text(["p002.png", "p000.png", "p001.png"])
    expect(looks.nth(0)).to_contain_text("1 problem")
    expect(looks.nth(0).locator("rect.is-bad")).to_have_count(1)
    expect(looks.nth(1).locator("rect")).to_have_count(3)
    expect(looks.nth(2).locator("image.mask")).to_have_count(1)
    painted = page.evaluate(
        """async (address) => {
            const image = new Image();
            image.src = address;
            await image.decode();
            const canvas = new OffscreenCanvas(120, 80);
            const context = canvas.getContext("2d", { willReadFrequently: true });
            context.drawImage(image, 0, 0, 120, 80);
            return [[40, 30], [100, 70]].map(([x, y]) => context.getImageData(x, y, 1, 1).data[3] > 0);
        }""",
        looks.nth(2).locator("image.mask").get_attribute("href"),
    )
    assert painted == [True, False]


def test_the_report_is_saved_as_a_page_as_csv_and_as_json(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task('report <b>"&', 1)
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive([box("a<script>alert(1)</script>,b".replace(",", ""))]))
    saved = {}
    for name in ("one page", "CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        saved[name] = Path(download.value.path()).read_text()
    assert "<script>" not in saved["one page"]
    assert "&lt;script&gt;" in saved["one page"]
    assert "report &lt;b&gt;" in saved["one page"]
    assert "http" not in saved["one page"].replace("http-equiv", "")
    (row,) = csv.DictReader(saved["CSV"].splitlines())
    assert (row["code"], row["row"], row["column"]) == ("image.unmatched", "2", "ImageID")
    assert json.loads(saved["JSON"])["counts"] == {"image.unmatched": 1}


def test_what_is_no_zip_is_said_at_once(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    page = open_page(f"/tasks/{caller.task('no zip', 1)}/import")
    give(page, tmp_path, b"this is not a zip", "notes.zip")
    expect(page.get_by_role("alert")).to_contain_text("“notes.zip”: this is not a zip")
    give(page, tmp_path, archive(more={"a.txt": "x"}, classes=[])[:-10], "cut.zip")
    expect(page.get_by_role("alert")).to_contain_text("its end is missing")


def test_an_archive_without_tables_is_refused_by_the_service(
    open_page: OpenPage, caller: Caller, tmp_path: Path
) -> None:
    from tests.web.tasks import zip_of

    page = open_page(f"/tasks/{caller.task('nothing in it', 1)}/import")
    give(page, tmp_path, zip_of({"holiday.txt": "sun"}))
    expect(page.locator(".group.error h3")).to_have_text("No Open Images table in this zip")
    expect(page.locator(".verdict")).to_contain_text("nothing was changed")


def heavy(names: list[str], megabytes: int = 12) -> bytes:
    """An archive that takes a while to send: kept files of noise, which no packing makes smaller."""
    noise = np.random.default_rng(0).bytes(megabytes << 20)
    return archive([box(name) for name in names], more={"notes.bin": noise})


def slow_down(page: Any, bytes_per_second: int) -> Any:
    """So slow that there are seconds for what is to be done meanwhile, on busy machines too."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    session.send("Network.emulateNetworkConditions", limits)
    return session


def full_speed(session: Any) -> None:
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", limits)


def sent_percent(page: Any) -> int:
    return int(page.get_by_role("progressbar", name=re.compile("Sending")).get_attribute("aria-valuenow"))


def wait_until_sent(page: Any, percent: int) -> None:
    page.wait_for_function(
        "least => Number(document.querySelector('.upload .bar')?.getAttribute('aria-valuenow')) >= least", arg=percent
    )


def test_an_upload_is_paused_and_goes_on(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("pause", 1)
    page = open_page(f"/tasks/{task_id}/import")
    session = slow_down(page, 1 << 20)
    give(page, tmp_path, heavy(["p000"]))
    wait_until_sent(page, 5)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".upload")).to_have_attribute("data-state", "paused")
    before = sent_percent(page)
    page.wait_for_timeout(300)
    assert sent_percent(page) == before < 100
    full_speed(session)
    page.get_by_role("button", name="Go on").click()
    expect(verdict(page)).to_have_text("Ready: 1 box")


def test_an_upload_goes_on_after_the_page_was_closed(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("reload", 1)
    page = open_page(f"/tasks/{task_id}/import")
    session = slow_down(page, 3 << 19)
    path = give(page, tmp_path, heavy(["p000"]))
    wait_until_sent(page, 20)
    page.reload()
    full_speed(session)
    notice = page.locator(".notice", has_text="upload.zip")
    expect(notice).to_contain_text("Choose the same file, and it goes on from there")
    held = int(re.findall(r"stopped at (\d+)%", notice.inner_text())[0])
    assert held > 5
    offsets: list[int] = []
    page.on(
        "request",
        lambda request: offsets.append(int(request.headers["upload-offset"])) if request.method == "PATCH" else None,
    )
    page.locator("input[type=file]").set_input_files(path)
    expect(verdict(page)).to_have_text("Ready: 1 box")
    assert offsets
    assert offsets[0] > 0, "it began anew"
    page.reload()
    expect(page.locator(".drop")).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)


def test_a_cut_connection_is_survived(open_page: OpenPage, caller: Caller, tmp_path: Path, guard: Any) -> None:
    guard.allowed.append("net::ERR_CONNECTION_RESET")
    task_id = caller.task("cut", 1)
    page = open_page(f"/tasks/{task_id}/import")
    cuts = []

    def cut(route: Any) -> None:
        if len(cuts) < 2 and route.request.method == "PATCH":
            cuts.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/annotations/*", cut)
    give(page, tmp_path, heavy(["p000"], 6))
    expect(verdict(page)).to_have_text("Ready: 1 box")
    assert len(cuts) == 2
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PATCH" else None)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 1 box")
    assert not sent, "what was sent for the look is imported, not sent again"


def test_a_cancelled_upload_leaves_nothing_changed(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("cancel", 1)
    page = open_page(f"/tasks/{task_id}/import")
    slow_down(page, 1 << 20)
    give(page, tmp_path, heavy(["p000"]))
    wait_until_sent(page, 5)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("button", name="Choose a zip")).to_be_visible()
    assert caller.annotations(task_id)["shapes"] == []


def test_pictures_of_the_task_are_not_sent_again(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(5 << 20)
    task_id = caller.task("not again", {"a.png": picture(100, 50), "b.png": picture(100, 50)})
    mask = np.zeros((50, 100), dtype=np.bool_)
    mask[5:20, 10:40] = True
    more = {
        "images/train/a.png": noise,
        "masks/train/a_m.png": mask_png(mask),
        "annotations/train-annotations-object-segmentation.csv": (
            "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
            "a_m.png,a,/m/01yrx,00000000,,,,,0.9,\n"
        ),
    }
    page = open_page(f"/tasks/{task_id}/import")
    sizes: list[int] = []
    page.on("request", lambda request: sizes.append(len(request.post_data_buffer or b"")))
    give(page, tmp_path, archive([box("a")], more=more))
    expect(verdict(page)).to_have_text("Ready: 1 box and 1 mask")
    expect(page.locator(".archive")).to_contain_text("stay on this machine")
    assert max(sizes) < 100_000
    page.get_by_role("button", name="Import", exact=True).click()
    expect(verdict(page)).to_have_text("Imported 1 box and 1 mask")
    kinds = sorted(shape["type"] for shape in caller.annotations(task_id)["shapes"])
    assert kinds == ["mask", "rectangle"]


def test_an_import_by_keyboard_alone(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("keys", 1)
    path = tmp_path / "keys.zip"
    path.write_bytes(archive([box("p000"), box("elsewhere")]))
    page = open_page(f"/tasks/{task_id}/import")
    expect(page.get_by_role("button", name="Choose a zip")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        tab_to(page, "Choose a zip")
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    expect(page.get_by_role("button", name="Leave these rows out")).to_be_visible()
    tab_to(page, "Leave these rows out")
    page.keyboard.press("Enter")
    expect(verdict(page)).to_have_text("Ready: 1 box")
    tab_to(page, "Import", tag="BUTTON")
    page.keyboard.press("Enter")
    expect(verdict(page)).to_have_text("Imported 1 box")
    tab_to(page, "Look at the pictures")
    page.keyboard.press("Enter")
    expect(page.locator(".shapes rect")).to_have_count(1)
    page.keyboard.press(".")
    expect(page.locator(".object.is-selected")).to_contain_text("Cat")


def tab_to(page: Any, name: str, tag: str = "") -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => [document.activeElement.innerText?.trim() ?? '', document.activeElement.tagName,"
            " document.activeElement.matches(':focus-visible')]"
        )
        if focused[0] == name and (not tag or focused[1] == tag):
            assert focused[2], f"nobody sees that {name} has the focus"
            return
    raise AssertionError(f"{name} cannot be reached with Tab")


def command_lines(page: Any) -> dict[str, str]:
    """What a page shows for the terminal, by name."""
    summary = page.locator(".commands summary")
    if page.locator(".commands[open]").count() == 0:
        summary.click()
    names = page.locator(".command-name").all_inner_texts()
    return dict(zip(names, page.locator(".command code").all_inner_texts(), strict=True))


def run_line(line: str, folder: Path, **environ: str) -> str:
    """Run a line as it stands there."""
    path = os.environ["PATH"]
    if "cvat-cli" in line:
        path = f"{python_of('client').parent}:{path}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=clean_environ(PATH=path, PASS="any", HOME=str(folder), **environ),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_lines_for_the_terminal_do_the_same(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    task_id = caller.task("terminal", 1)
    page = open_page(f"/tasks/{task_id}/import")
    give(page, tmp_path, archive([box("p000"), box("elsewhere"), box("p000", "/m/0bt9lr")]), """it's "mine"; a,b.zip""")
    page.get_by_label("Leave out pictures that are not in the task").check()
    expect(verdict(page)).to_have_text("Ready: 2 boxes")
    lines = command_lines(page)
    assert set(lines) == {"Look first", "Import"}, "cvat-cli cannot leave pictures out"
    assert lines["Import"].endswith(f"'{caller.url}/api/tasks/{task_id}/import?unmatched=skip'")
    assert json.loads(run_line(lines["Look first"], tmp_path))["dry_run"] is True
    assert caller.annotations(task_id)["shapes"] == []
    told = json.loads(run_line(lines["Import"], tmp_path))
    assert told["changes"]["shapes"]["added"] == 2
    page.goto(f"/tasks/{task_id}/export")
    page.get_by_text("Only a part of it").click()
    page.locator(".part").get_by_role("button", name="Dog").click()
    run_line(command_lines(page)["curl"], tmp_path)
    with zipfile.ZipFile(tmp_path / "terminal.zip") as exported:
        assert len(exported.read("annotations/train-annotations-bbox.csv").splitlines()) == 2
    page.goto(f"/tasks/{task_id}/labels")
    page.get_by_label("Add labels").fill("an owl's, bat")
    run_line(command_lines(page)["curl"], tmp_path)
    names = [label["name"] for label in caller.call("GET", "/api/labels", task_id=task_id)["results"]]
    assert names == ["Cat", "Dog", "an owl's", "bat"]
    page.goto(f"/tasks/{task_id}")
    lines = command_lines(page)
    assert len(json.loads(run_line(lines["Annotations"], tmp_path))["annotations"]["shapes"]) == 2
    run_line(lines["Picture"], tmp_path)
    assert (tmp_path / "p000.png").read_bytes() == picture(120, 80, 0)
    page.goto("/?search=terminal")
    expect(page.locator(".card")).to_have_count(1)
    assert json.loads(run_line(command_lines(page)["curl"], tmp_path))["count"] == 1


def test_the_lines_for_cvats_client_do_the_same(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(picture(40, 30))
    page = open_page("/tasks/new")
    page.locator("input[type=file]").set_input_files(tmp_path / "one.png")
    page.get_by_label("Name", exact=True).fill("by cvat's client")
    page.locator("#label-input").fill("Cat")
    page.locator("#label-input").press("Enter")
    lines = command_lines(page)
    made = json.loads(run_line(lines["Make it"], tmp_path))
    run_line(f"ID={made['id']}; " + lines["Pictures"], tmp_path)
    run_line(lines["cvat-cli"], tmp_path)
    found = caller.call("GET", "/api/tasks", search="by cvat's client")["results"]
    assert [task["name"] for task in found] == ["by cvat's client"] * 2
    page.goto(f"/tasks/{found[0]['id']}/import")
    give(page, tmp_path, archive([box("one")]), "boxes.zip")
    expect(verdict(page)).to_have_text("Ready: 1 box")
    run_line(command_lines(page)["cvat-cli"], tmp_path)
    assert len(caller.annotations(found[0]["id"])["shapes"]) == 1
