"""Looking at pictures, their numbers, and taking them away."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Error, expect

from tests.samples import mask_png, picture
from tests.web.browser import Guard
from tests.web.tasks import BOX_HEADER, Caller, archive, box

OpenPage = Callable[..., Any]


def expect_picture(page: Any, name: str) -> None:
    """Wait until a picture is there: its name is shown at once, what was said of it when it comes."""
    expect(page.locator(".viewer-bar strong")).to_have_text(name)
    expect(page.locator(".stage")).to_have_attribute("aria-busy", "false")


@pytest.fixture(scope="module")
def task(caller: Caller) -> int:
    """Five pictures: boxes and tags on the first two, a mask on the third, every other kind of shape on the fourth."""
    task_id = caller.task("viewer", {f"p{n}.png": picture(120, 80, n) for n in range(5)})
    mask = np.zeros((80, 120), dtype=np.bool_)
    mask[20:60, 30:90] = True
    more = {
        "masks/train/p2_m.png": mask_png(mask),
        "annotations/train-annotations-object-segmentation.csv": (
            "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
            "p2_m.png,p2,/m/01yrx,00000000,,,,,0.9,\n"
        ),
    }
    boxes = [box("p0", flags="1,1,0,0,-1"), box("p0", "/m/0bt9lr", "0.6,0.9,0.6,0.9"), box("p1")]
    caller.load(task_id, archive(boxes, ["p0,verification,/m/01yrx,1", "p1,verification,/m/0bt9lr,0"], more))
    cat = caller.call("GET", "/api/labels", task_id=task_id)["results"][0]["id"]
    shapes = [
        {"type": "polygon", "points": [5, 5, 40, 5, 20, 40]},
        {"type": "ellipse", "points": [70, 30, 90, 20]},
        {"type": "points", "points": [10, 60, 20, 70, 30, 60]},
        {"type": "polyline", "points": [40, 60, 60, 75, 80, 60]},
        {"type": "rectangle", "points": [90, 50, 115, 70], "rotation": 30},
    ]
    track = {
        "frame": 3,
        "label_id": cat,
        "shapes": [
            {"type": "rectangle", "frame": 3, "points": [0, 0, 10, 10], "attributes": []},
            {"type": "rectangle", "frame": 4, "points": [20, 0, 30, 10], "attributes": []},
        ],
    }
    body = {"shapes": [{"frame": 3, "label_id": cat, **shape} for shape in shapes], "tracks": [track]}
    caller.call("PATCH", f"/api/tasks/{task_id}/annotations?action=create", json.dumps(body).encode())
    return task_id


def test_a_picture_is_shown_with_what_was_said_of_it(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    expect(page.locator(".shapes rect")).to_have_count(2)
    expect(page.locator(".canvas img")).to_have_js_property("complete", True)
    assert page.locator(".canvas img").evaluate("image => image.naturalWidth") == 120
    first = page.locator(".shapes rect").first
    assert [float(first.get_attribute(name)) for name in ("x", "y", "width", "height")] == [12, 16, 48, 32]
    expect(page.locator(".stage-tags .label")).to_have_text(["Cat"])
    page.get_by_role("button", name=re.compile("^Cat box")).click()
    expect(page.locator(".facts")).to_contain_text("occluded")
    expect(page.locator(".facts")).to_contain_text("truncated")
    expect(page.locator(".shape.is-selected")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect_picture(page, "p1.png")
    expect(page.locator(".stage-tags .label")).to_have_text(["no Dog"])
    expect(page).to_have_url(re.compile("frame=1"))
    page.keyboard.press("ArrowLeft")
    expect_picture(page, "p0.png")


def test_hovering_and_clicking_on_the_picture(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    shape = page.locator(".shapes rect").first
    expect(shape).to_be_visible()
    place = shape.bounding_box()
    middle = (place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.mouse.move(*middle)
    expect(page.locator(".tip")).to_contain_text("Cat")
    expect(page.locator(".tip")).to_contain_text("truncated: yes")
    page.mouse.click(*middle)
    expect(page.locator(".object.is-selected")).to_contain_text("Cat")
    page.keyboard.press("Escape")
    expect(page.locator(".object.is-selected")).to_have_count(0)


def test_masks_are_painted_and_can_be_pointed_at(open_page: OpenPage, task: int, guard: Guard) -> None:
    guard.allowed.append("Canvas2D: Multiple readback")  # of this test
    page = open_page(f"/tasks/{task}?frame=2")
    expect_picture(page, "p2.png")
    alpha = """() => { const c = document.querySelector('canvas.masks');
        const at = (x, y) => c.getContext('2d').getImageData(x, y, 1, 1).data[3];
        return [at(29, 40), at(30, 20), at(89, 59), at(90, 40), at(60, 19)]; }"""
    expect(page.locator("canvas.masks")).to_be_attached()
    page.wait_for_function(f"() => ({alpha})()[1] > 0")
    edges = page.evaluate(alpha)
    assert [value > 0 for value in edges] == [False, True, True, False, False]
    place = page.locator("canvas.masks").bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(page.locator(".tip")).to_contain_text("mask")
    page.keyboard.press("h")
    assert not any(page.evaluate(alpha))


def test_every_kind_of_shape_is_drawn_and_tracks_too(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}?frame=3")
    expect(page.locator(".shapes .shape")).to_have_count(6)
    expect(page.locator(".shapes .polygon path")).to_have_attribute("d", "M5 5L40 5L20 40Z")
    ellipse = page.locator(".shapes ellipse")
    assert [ellipse.get_attribute(name) for name in ("cx", "cy", "rx", "ry")] == ["70", "30", "20", "10"]
    expect(page.locator(".shapes .points circle")).to_have_count(3)
    expect(page.locator(".shapes .polyline path.open")).to_have_count(1)
    turned = page.locator(".shapes .rectangle rect[transform*=rotate]")
    assert turned.get_attribute("transform") == "rotate(30 102.5 60)"
    page.keyboard.press("ArrowRight")
    expect_picture(page, "p4.png")
    expect(page.locator(".shapes rect")).to_have_attribute("x", "20")


def test_pictures_are_found_by_name_label_and_emptiness(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    names = page.locator(".frame .clip")
    expect(names).to_have_count(5)
    page.get_by_label("Search pictures by name").fill("P3")
    expect(names).to_have_text(["p3.png"])
    page.get_by_label("Search pictures by name").fill("")
    page.get_by_label("Which pictures").select_option(label="Dog")
    expect(names).to_have_text(["p0.png", "p1.png"])
    page.get_by_label("Which pictures").select_option(label="Without annotations")
    expect(names).to_have_text(["p4.png"])
    page.get_by_label("Which pictures").select_option(label="With annotations")
    expect(names).to_have_text(["p0.png", "p1.png", "p2.png", "p3.png"])
    page.get_by_label("Which pictures").focus()
    page.get_by_label("Which pictures").select_option(label="truncated")
    expect(names).to_have_text(["p0.png"])
    expect(page).to_have_url(re.compile("only=flag%3Atruncated"))
    page.reload()
    expect(names).to_have_text(["p0.png"])
    expect(page.get_by_label("Which pictures")).to_have_value("flag:truncated")


def test_labels_are_hidden_and_shown(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    expect(page.locator(".shapes rect")).to_have_count(2)
    dog = page.get_by_role("button", name=re.compile("Show Dog"))
    expect(dog).to_have_attribute("aria-pressed", "true")
    dog.click()
    expect(page.locator(".shapes rect")).to_have_count(1)
    expect(dog).to_have_attribute("aria-pressed", "false")


def middle(place: dict[str, float]) -> tuple[float, float]:
    """Of a box; its edges move with the width of its line."""
    return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2


def test_zoom_and_pan(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    shape = page.locator(".shapes rect").first
    expect(shape).to_be_visible()
    fitted = shape.bounding_box()
    page.mouse.move(fitted["x"] + fitted["width"] / 2, fitted["y"] + fitted["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_function(
        "width => document.querySelector('.shapes rect').getBoundingClientRect().width > 1.5 * width",
        arg=fitted["width"],
    )
    larger = shape.bounding_box()
    assert abs((larger["x"] + larger["width"] / 2) - (fitted["x"] + fitted["width"] / 2)) < 3, "the pointer stays on it"
    stage = page.locator(".stage").bounding_box()
    page.mouse.move(stage["x"] + 10, stage["y"] + 10)
    page.mouse.down()
    page.mouse.move(stage["x"] + 60, stage["y"] + 40, steps=4)
    page.mouse.up()
    moved = shape.bounding_box()
    assert [round(after - before) for after, before in zip(middle(moved), middle(larger), strict=True)] == [50, 30]
    page.keyboard.press("0")
    expect(shape).to_have_js_property("isConnected", True)
    assert abs(shape.bounding_box()["x"] - fitted["x"]) < 1


FRAME_TIMES = """async (turn) => {
    const step = new Function("index", turn);
    const gaps = [];
    let last = performance.now();
    for (let index = 0; index < 40; index += 1) {
        step(index);
        await new Promise(requestAnimationFrame);
        gaps.push(performance.now() - last);
        last = performance.now();
    }
    gaps.sort((a, b) => a - b);
    return [gaps[20], gaps[38]].map((gap) => Math.round(gap));
}"""


def frame_times(page: Any, turn: str) -> str:
    """How long 40 frames of the screen took while something was done in each."""
    middle, late = page.evaluate(FRAME_TIMES, turn)
    return f"{middle} ms a frame in the middle, {late} ms at the 95th percentile"


def test_a_hundred_thousand_pictures_make_no_longer_page(open_page: OpenPage, caller: Caller) -> None:
    tiny, n = picture(8, 8), 100_000
    task_id = caller.task("a hundred thousand", {f"{number:06d}.png": tiny for number in range(n)})
    caller.load(task_id, archive([box(f"{number:06d}") for number in range(0, n, 2)]))
    page = open_page(f"/tasks/{task_id}", bypass_csp=True)
    expect(page.locator(".frame").first).to_contain_text("000000.png")
    few = page.evaluate("document.querySelectorAll('*').length")
    assert few < 700
    page.locator(".frames").evaluate("list => list.scrollTop = list.scrollHeight")
    expect(page.locator(".frame").last).to_contain_text("099999.png")
    assert page.locator(".frame").count() < 40
    assert page.evaluate("document.querySelectorAll('*').length") < 700
    print(f"\n100,000 pictures: {few} elements; scrolling 2,500 rows a frame: ", end="")
    print(frame_times(page, "document.querySelector('.frames').scrollTop = index * 130000"))
    page.locator(".frames").focus()
    page.keyboard.press("End")
    expect_picture(page, "099999.png")
    page.keyboard.press("ArrowUp")
    expect_picture(page, "099998.png")
    expect(page.locator(".shapes rect")).to_have_count(1)
    page.get_by_label("Which pictures").select_option(label="Without annotations")
    expect(page.locator(".viewer-bar")).to_contain_text("of 50,000")
    page.get_by_label("Search pictures by name").fill("09999")
    expect(page.locator(".frame .clip")).to_have_text(
        ["009999.png", *(f"09999{digit}.png" for digit in (1, 3, 5, 7, 9))]
    )
    page.goto(f"/tasks/{task_id}/health")
    expect(page.locator(".figure").first).to_contain_text(re.compile(r"100,000\s*pictures"))


def test_a_thousand_shapes_are_all_drawn_and_listed_in_parts(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("crowd", 2)
    random = np.random.default_rng(0)
    corners = random.random((1000, 2)) * 0.9
    rows = [box("p001", place=f"{x:.4f},{x + 0.05:.4f},{y:.4f},{y + 0.05:.4f}") for x, y in corners]
    caller.load(task_id, archive(rows))
    page = open_page(f"/tasks/{task_id}", bypass_csp=True)
    expect_picture(page, "p000.png")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".shapes rect")).to_have_count(1000)
    expect(page.locator(".object")).to_have_count(150)
    page.get_by_role("button", name="Later shapes").click()
    expect(page.locator(".pages")).to_contain_text("151 to 300")
    page.keyboard.press(",")
    expect(page.locator(".object.is-selected")).to_be_visible()
    expect(page.locator(".pages")).to_contain_text("901 to 1,000")
    print("\n1,000 shapes, hovering: ", end="")
    print(
        frame_times(
            page,
            "const r = document.querySelector('.stage').getBoundingClientRect();"
            "document.querySelector('.stage').dispatchEvent(new PointerEvent('pointermove',"
            " { clientX: r.x + r.width / 2 + index, clientY: r.y + r.height / 2, bubbles: true }))",
        )
    )
    zoom = "document.dispatchEvent(new KeyboardEvent('keydown', { key: index % 2 ? '+' : '-', bubbles: true }))"
    print(f"1,000 shapes, zooming: {frame_times(page, zoom)}")


def test_shapes_of_every_other_kind(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("other kinds", 1)
    body = {
        "labels": [
            {
                "name": "face",
                "type": "skeleton",
                "sublabels": [{"name": "eye", "type": "points"}, {"name": "nose", "type": "points"}],
            }
        ]
    }
    caller.call("PATCH", f"/api/tasks/{task_id}", json.dumps(body).encode())
    labels = {label["name"]: label for label in caller.call("GET", "/api/labels", task_id=task_id)["results"]}
    eye, nose = labels["face"]["sublabels"]
    corners = [10, 10, 10, 30, 40, 10, 40, 30, 50, 5, 50, 25, 20, 5, 20, 25]
    points = [
        {"type": "points", "frame": 0, "label_id": one["id"], "points": place}
        for one, place in ((eye, [60, 20]), (nose, [70, 30]))
    ]
    shapes = [
        {"type": "cuboid", "frame": 0, "label_id": labels["Cat"]["id"], "points": corners},
        {"type": "skeleton", "frame": 0, "label_id": labels["face"]["id"], "points": [], "elements": points},
    ]
    caller.call("PATCH", f"/api/tasks/{task_id}/annotations?action=create", json.dumps({"shapes": shapes}).encode())
    page = open_page(f"/tasks/{task_id}")
    expect(page.locator(".shapes .cuboid path")).to_have_count(4)
    expect(page.locator(".shapes .skeleton circle")).to_have_count(2)
    places = [
        [float(dot.get_attribute(name)) for name in ("cx", "cy")] for dot in page.locator(".skeleton circle").all()
    ]
    assert places == [[60, 20], [70, 30]]
    expect(page.locator(".object")).to_contain_text(["Cat", "face"])


def test_pictures_are_chosen_by_an_attribute_of_their_shapes(open_page: OpenPage, caller: Caller) -> None:
    values = ["red", "<b>blue</b>"]
    colour = {"name": "colour", "mutable": False, "input_type": "select", "default_value": "red", "values": values}
    task_id = caller.task("attributes", 3)
    label = caller.call("GET", "/api/labels", task_id=task_id)["results"][0]
    change = {"labels": [{"id": label["id"], "attributes": [colour]}]}
    caller.call("PATCH", f"/api/tasks/{task_id}", json.dumps(change).encode())
    label = caller.call("GET", "/api/labels", task_id=task_id)["results"][0]
    spec = next(one["id"] for one in label["attributes"] if one["name"] == "colour")
    one = {"type": "rectangle", "label_id": label["id"], "points": [1, 1, 9, 9]}
    shapes = [
        {**one, "frame": frame, "attributes": [{"spec_id": spec, "value": value}]}
        for frame, value in [(0, "red"), (1, "<b>blue</b>"), (1, "<b>blue</b>")]
    ]
    caller.call("PATCH", f"/api/tasks/{task_id}/annotations?action=create", json.dumps({"shapes": shapes}).encode())
    page = open_page(f"/tasks/{task_id}")
    expect(page.locator(".frame .clip")).to_have_count(3)
    page.get_by_label("Which pictures").select_option(label="colour: <b>blue</b>")
    expect(page.locator(".frame .clip")).to_have_text(["p001.png"])
    expect(page).to_have_url(re.compile("frame=1"))
    expect(page.locator(".object")).to_have_count(2)  # its shapes are there, no more those of the first
    page.keyboard.press(".")
    expect(page.locator(".facts")).to_contain_text("<b>blue</b>")


def test_pictures_are_chosen_by_texts_and_numbers_of_their_shapes(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("texts", 3)
    label = caller.call("GET", "/api/labels", task_id=task_id)["results"][0]
    note = {"name": "note", "mutable": False, "input_type": "text", "values": [""]}
    change = {"labels": [{"id": label["id"], "attributes": [note]}]}
    caller.call("PATCH", f"/api/tasks/{task_id}", json.dumps(change).encode())
    label = caller.call("GET", "/api/labels", task_id=task_id)["results"][0]
    specs = {spec["name"]: spec["id"] for spec in label["attributes"]}
    said = [("seen from afar", "0.25"), ("<i>odd</i>", "0.5"), ("", "0.75")]
    shapes = [
        {
            "type": "rectangle",
            "label_id": label["id"],
            "frame": frame,
            "points": [1, 1, 9, 9],
            "attributes": [{"spec_id": specs["note"], "value": text}, {"spec_id": specs["score"], "value": score}],
        }
        for frame, (text, score) in enumerate(said)
    ]
    caller.call("PATCH", f"/api/tasks/{task_id}/annotations?action=create", json.dumps({"shapes": shapes}).encode())
    page = open_page(f"/tasks/{task_id}")
    listed = page.locator(".frame .clip")
    expect(listed).to_have_count(3)
    page.get_by_label("Which pictures").select_option(label="note …")
    page.get_by_label("note holds").fill("<I>")
    expect(listed).to_have_text(["p001.png"])
    page.get_by_label("Which pictures").select_option(label="score …")
    page.get_by_label("score from").fill("0.3")
    expect(listed).to_have_text(["p001.png", "p002.png"])
    page.get_by_label("score to").fill("0.6")
    expect(listed).to_have_text(["p001.png"])
    page.reload()
    expect(listed).to_have_text(["p001.png"])
    expect(page.get_by_label("score to")).to_have_value("0.6")


def test_a_phone_pinches_pans_and_opens_the_list(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    shape = page.locator(".shapes rect").first
    expect(shape).to_be_visible()
    before = shape.bounding_box()
    touch = page.context.new_cdp_session(page)
    stage = page.locator(".stage").bounding_box()
    x, y = middle(stage)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": a, "y": b, "id": n} for n, (a, b) in enumerate(points)]},
        )

    fingers("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 7):
        fingers("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
    fingers("touchEnd")
    page.wait_for_function(
        "width => document.querySelector('.shapes rect').getBoundingClientRect().width > 2.5 * width",
        arg=before["width"],
    )
    larger = shape.bounding_box()
    fingers("touchStart", (x, y))
    for step in range(1, 5):
        fingers("touchMove", (x + 10 * step, y + 5 * step))
    fingers("touchEnd")
    page.wait_for_function(
        "x => document.querySelector('.shapes rect').getBoundingClientRect().x > x + 30", arg=larger["x"]
    )
    page.get_by_role("button", name="List of pictures").click()
    expect(page.locator(".frame")).to_have_count(5)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.thumb img')].filter((one) => one.naturalWidth > 0).length === 5"
    )
    page.locator(".frame").nth(2).click()
    expect(page.locator(".viewer-list")).to_be_hidden()
    expect_picture(page, "p2.png")


def test_the_keyboard_moves_the_picture(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}")
    shape = page.locator(".shapes rect").first
    expect(shape).to_be_visible()
    before = middle(shape.bounding_box())
    for key in ("+", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect_picture(page, "p0.png")
    page.keyboard.press("-")
    after = middle(shape.bounding_box())
    assert after[0] < before[0] - 30
    assert after[1] < before[1] - 30


def test_the_health_check_counts_and_leads_to_pictures(open_page: OpenPage, caller: Caller, task: int) -> None:
    page = open_page(f"/tasks/{task}/health")
    expect(page.locator(".figure").nth(0)).to_contain_text(re.compile(r"5\s*pictures"))
    stats = caller.call("GET", f"/api/tasks/{task}/stats")
    assert (stats["shapes"], stats["tags"], stats["tracks"]) == (9, 2, 1)
    expect(page.locator(".bars tbody tr").first).to_contain_text("Cat")
    flags = {flag["name"]: flag for flag in stats["flags"]}["truncated"]
    cells = page.locator(".flags tbody tr", has_text="truncated").locator(".n")
    expect(cells).to_have_text([str(flags[said]) for said in ("yes", "no", "unknown")])
    widths = page.locator(".flags tbody tr", has_text="truncated").locator(".hbar rect").all()
    assert [bool(float(bar.get_attribute("width"))) for bar in widths] == [True] * 3
    tags = page.locator("section", has=page.get_by_role("heading", name="Picture labels")).locator("tbody tr")
    expect(tags.locator(".n")).to_have_text(["1", "0", "0", "1"])
    masks = page.locator("section", has=page.get_by_role("heading", name="Masks against boxes"))
    expect(masks.locator("tbody .n")).to_have_text(
        [str(stats["masks"][name]) for name in ("boxes_with_mask", "boxes_alone", "masks_alone")]
    )
    for link in page.get_by_role("link", name=re.compile("as JSON$")).all():
        path = str(link.get_attribute("href"))
        assert caller.call("GET", path)["revision"] == stats["revision"], path
    expect(page.locator(".heat rect").first).to_be_attached()
    page.get_by_text("These numbers as JSON").click()
    expect(page.locator(".command code")).to_contain_text(f"/api/tasks/{task}/stats")
    page.locator(".bars tbody tr", has_text="Dog").get_by_role("link").first.click()
    expect(page.locator(".frame .clip")).to_have_text(["p0.png", "p1.png"])


def test_an_empty_task_invites_to_import(open_page: OpenPage, caller: Caller) -> None:
    page = open_page(f"/tasks/{caller.task('bare', 1)}/health")
    page.get_by_role("link", name="Import annotations").click()
    expect(page.locator(".drop-heading")).to_have_text("Drop a zip of annotations")


def test_export_at_once_and_prepared(open_page: OpenPage, task: int, tmp_path: Path) -> None:
    page = open_page(f"/tasks/{task}/export")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download viewer.zip").click()
    assert download.value.suggested_filename == "viewer.zip"
    with zipfile.ZipFile(download.value.path()) as exported:
        assert "annotations/train-annotations-bbox.csv" in exported.namelist()
        assert not [name for name in exported.namelist() if name.startswith("images/")]
    page.get_by_label("With the pictures").check()
    page.get_by_text("The same from a terminal").click()
    expect(page.locator(".command code").first).to_contain_text("save_images=true")
    with page.expect_download() as prepared:
        page.get_by_role("button", name="Prepare it first").click()
    with zipfile.ZipFile(prepared.value.path()) as exported:
        assert len([name for name in exported.namelist() if name.startswith("images/")]) == 5
    row = page.locator(".request")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("kept until")
    with page.expect_download() as again:
        row.get_by_role("link", name="Download").click()
    assert Path(again.value.path()).read_bytes() == Path(prepared.value.path()).read_bytes()


def test_bars_are_split_by_subset(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("subsets", 3)
    more = {
        "annotations/test-annotations-bbox.csv": "\n".join([BOX_HEADER, box("p002", "/m/0bt9lr"), box("p002")]) + "\n"
    }
    caller.load(task_id, archive([box("p000"), box("p001")], more=more))
    page = open_page(f"/tasks/{task_id}/health")
    rows = page.locator(".bars").first.locator("tbody tr")
    expect(rows.nth(0).locator(".hbar title")).to_have_text(["train: 2", "test: 1"])
    expect(rows.nth(1).locator(".hbar title")).to_have_text(["test: 1"])
    expect(page.locator(".legend").first).to_have_text(re.compile(r"train \(2 pictures\)\s*test \(1 picture\)"))


def test_a_part_is_chosen_counted_and_exported(open_page: OpenPage, task: int) -> None:
    page = open_page(f"/tasks/{task}/export")
    page.get_by_text("Only a part of it").click()
    tally = page.locator(".tally")
    expect(tally).to_contain_text(re.compile(r"5 of 5 pictures"))
    page.locator(".part").get_by_role("button", name="Dog").click()
    expect(tally).to_contain_text("2 of 5 pictures")
    expect(tally).to_contain_text(re.compile(r"1 of \d+ boxes"))
    page.get_by_label("These pictures").fill("p1")
    expect(tally).to_contain_text("1 of 5 picture")
    page.get_by_label("These pictures").fill("p7")
    expect(tally).to_contain_text('no image "p7"')
    expect(tally).to_contain_text("the zip would be empty")
    page.get_by_label("These pictures").fill("")
    expect(tally).to_contain_text("2 of 5 pictures")
    page.get_by_label("Leave out what is not chosen").uncheck()
    expect(tally).to_contain_text(re.compile(r"3 of \d+ boxes"))
    page.get_by_label("Leave out what is not chosen").check()
    expect(tally).to_contain_text(re.compile(r"1 of \d+ boxes"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download viewer.zip").click()
    with zipfile.ZipFile(download.value.path()) as exported:
        lines = exported.read("annotations/train-annotations-bbox.csv").decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["p0"]
    with page.expect_download():
        page.get_by_role("button", name="Prepare it first").click()
    expect(page.locator(".request").first).to_contain_text("2 pictures, 1 box")
    expect(page.locator(".request").first).to_contain_text(re.compile(r"\d kB|\d B"))
    page.get_by_role("button", name="Take all of it again").click()
    expect(tally).to_contain_text("5 of 5 pictures")


def test_an_export_is_cancelled_and_tried_again(open_page: OpenPage, caller: Caller, task: int, guard: Guard) -> None:
    page = open_page("/help")
    work = {"status": "started", "progress": 0.4, "message": "writing the archive"}

    def held(route: Any) -> None:
        """The answer as if the work took its time."""
        try:
            answer = route.fetch()
        except Error:  # the page was left meanwhile
            return
        found = answer.json()
        if "results" in found:
            for one in found["results"]:
                one.update(work)
        else:
            found.update(work)
        route.fulfill(response=answer, json=found)

    asked = caller.call(
        "POST", f"/api/tasks/{task}/dataset/export?format=Open+Images+V7+1.0&classes=Cat&layout=official"
    )
    caller.wait(asked["rq_id"])
    pattern = re.compile(r"/api/requests(\?|/[^/]+$)")
    page.route(pattern, held)
    page.goto(f"/tasks/{task}/export")
    row = page.locator(".request").first
    expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "40")
    expect(row).to_contain_text("writing the archive")
    guard.allowed.append("status of 400 .*/cancel")  # it has ended long since
    row.get_by_role("button", name="Cancel").click()
    expect(page.locator(".toast")).to_contain_text("has ended already")
    work.update(status="failed", message="cancelled", result_url="")
    page.reload()
    failed = page.locator(".request.is-failed").first
    expect(failed).to_contain_text("cancelled")
    page.unroute(pattern)
    failed.get_by_role("button", name="Try again").click()
    expect(page.locator(".request.is-finished").first).to_contain_text("Open Images V7")


def test_checks_are_not_listed_among_what_was_done_unless_asked_for(open_page: OpenPage, caller: Caller) -> None:
    task_id = caller.task("checked", 1)
    caller.load(task_id, archive([box("p000")]), dry_run="true")
    caller.load(task_id, archive([box("p000")]))
    page = open_page("/activity")
    here = page.locator(".request", has=page.get_by_role("link", name=f"task {task_id}", exact=True))
    expect(here.locator("strong")).to_have_text(["Import", "Reading pictures"])
    page.get_by_label("that changed nothing").check()
    expect(here.locator("strong")).to_have_text(["Import", "Look at an archive", "Reading pictures"])


def test_activity_lists_what_was_done(open_page: OpenPage, task: int) -> None:
    page = open_page("/activity")
    row = page.locator(".request", has=page.get_by_role("link", name=f"task {task}", exact=True)).first
    expect(row).to_be_visible()
    row.get_by_role("link", name=f"task {task}").click()
    expect(page).to_have_url(re.compile(f"/tasks/{task}"))
