"""What holds for every page: hostile names, accessibility, small screens, sign-in, keys."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.samples import picture
from tests.service import ADMIN, PASSWORD, Service
from tests.web.browser import Guard
from tests.web.tasks import Caller, archive, box
from tests.web.test_pages import MAX_FIRST_VIEW_BYTES

OpenPage = Callable[..., Any]

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
HOSTILE = '<img src=x onerror="window.broken=1">'
HOSTILE_LABEL = '"><script>window.broken=1</script>'


@pytest.fixture(scope="module")
def task(caller: Caller) -> int:
    task_id = caller.task("every page", {f"p{n}.png": picture(160, 100, n) for n in range(3)})
    caller.load(task_id, archive([box("p0", flags="1,0,0,0,-1"), box("p1", "/m/0bt9lr")], ["p0,x,/m/01yrx,1"]))
    return task_id


def test_hostile_names_are_only_text(open_page: OpenPage, caller: Caller, tmp_path: Path) -> None:
    name = "<img src=x onerror=window.broken=1>.png"
    task_id = caller.task(HOSTILE, {name: picture(60, 40), "b.png": picture(60, 40, 1)}, [HOSTILE_LABEL, HOSTILE])
    classes = [("/m/01yrx", HOSTILE_LABEL), ("/m/0bt9lr", HOSTILE)]
    caller.load(task_id, archive([box(name.removesuffix(".png")), box("b", "/m/0bt9lr")], classes=classes))
    bad = tmp_path / f"{HOSTILE.replace('/', '')}.zip"
    bad.write_bytes(
        archive([box(HOSTILE.replace('"', "")), box("b", HOSTILE.replace('"', ""))], more={f"{name}/x": "x"})
    )
    page = open_page("/?search=onerror")
    expect(page.locator(".card-link")).to_have_text(HOSTILE)
    for path, text in (
        (f"/tasks/{task_id}", name),
        (f"/tasks/{task_id}/health", HOSTILE_LABEL),
        (f"/tasks/{task_id}/labels", HOSTILE_LABEL),
        (f"/tasks/{task_id}/export", HOSTILE),
    ):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(text)
    page.goto(f"/tasks/{task_id}/import")
    page.locator("input[type=file]").set_input_files(bad)
    expect(page.locator(".group.error").first).to_contain_text("onerror")
    expect(page.locator(".archive")).to_contain_text(bad.name)
    page.goto("/activity")
    page.get_by_label("that changed nothing").check()
    page.locator(".request summary").first.click()
    expect(page.locator(".request").first).to_contain_text("onerror")
    assert page.evaluate("window.broken") is None
    assert page.locator("main img[src=x]").count() == 0


PAGES = {
    "tasks": "/",
    "new": "/tasks/new",
    "pictures": "/tasks/{task}",
    "health": "/tasks/{task}/health",
    "labels": "/tasks/{task}/labels",
    "import": "/tasks/{task}/import",
    "preview": "/tasks/{task}/import",
    "problems": "/tasks/{task}/import",
    "export": "/tasks/{task}/export",
    "activity": "/activity",
    "tokens": "/tokens",
    "help": "/help",
    "lost": "/tasks/1/nowhere",
}


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(open_page: OpenPage, task: int, tmp_path: Path, name: str) -> None:
    page = open_page(PAGES[name].format(task=task), color_scheme="light", reduced_motion="reduce", bypass_csp=True)
    expect(page.locator("main h1, main h2, main .drop, main .viewer").first).to_be_visible()
    if name == "preview":
        path = tmp_path / "good.zip"
        path.write_bytes(archive([box("p0"), box("p1", place="0.2,0.3,0.2,0.3")]))
        page.locator("input[type=file]").set_input_files(path)
        page.get_by_label("Correct it").check()
        expect(page.locator(".ledger")).to_contain_text("Unchanged")
        expect(page.locator(".looks figure")).to_have_count(2)
    if name == "problems":
        path = tmp_path / "bad.zip"
        path.write_bytes(archive([box("nowhere"), box("p0", place="3,5,0,1")], more={"notes.txt": "x"}))
        page.locator("input[type=file]").set_input_files(path)
        expect(page.locator(".group.error")).to_have_count(2)
        page.get_by_role("button", name=re.compile("row 2, ImageID")).click()
        expect(page.locator(".excerpt")).to_be_visible()
    if name == "pictures":
        expect(page.locator(".object").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    for summary in page.locator("summary").all():
        summary.click()
    page.evaluate(AXE.read_text())
    assert not violations(page, "{}")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.wait_for_function(
        "() => matchMedia('(prefers-color-scheme: dark)').matches && document.getAnimations().length === 0"
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert not violations(page, "{ runOnly: ['color-contrast'] }")


def violations(page: Any, options: str) -> str:
    """What axe-core says of the page as it is, in words."""
    found = page.evaluate(f"async () => (await axe.run(document, {options})).violations")
    return "\n".join(
        f"{one['id']}: {one['help']}\n    {node['html'][:200]}\n    {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"][:4]
    )


def test_nothing_reaches_over_the_edge_of_a_phone(open_page: OpenPage, task: int) -> None:
    page = open_page("/", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    for name, path in PAGES.items():
        page.goto(path.format(task=task))
        expect(page.locator("main").first).to_be_visible()
        page.wait_for_load_state("networkidle")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, f"{name}: {width} pixels wide"


def test_light_and_dark_follow_the_system_and_the_button(open_page: OpenPage) -> None:
    colors = {}
    for scheme in ("light", "dark"):
        page = open_page("/help", color_scheme=scheme)
        expect(page.locator("main h1")).to_be_visible()
        colors[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colors["light"] != colors["dark"]
    page.get_by_role("button", name="Colours: auto").click()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colors["light"]
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()


def test_keys_lead_everywhere(open_page: OpenPage, task: int) -> None:
    page = open_page("/")
    expect(page.locator(".card").first).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Search tasks")).to_be_focused()
    page.keyboard.type("every page")
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_label("Search tasks").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New task")).to_be_visible()
    page.go_back()
    expect(page.locator(".card")).to_have_count(1)


def test_the_first_view_is_light_and_soon_there(open_page: OpenPage, guard: Guard) -> None:
    for path, seen in (("/help", "main h1"), ("/?search=nothing+is+called+so", ".nothing")):
        page = open_page(path, is_new=True)
        expect(page.locator(seen)).to_be_visible()
        page.wait_for_load_state("networkidle")
        n, size = page.evaluate(
            "() => { const [page] = performance.getEntriesByType('navigation');"
            " const all = [...performance.getEntriesByType('resource'), page];"
            " return [all.length, all.reduce((sum, one) => sum + one.transferSize, 0)]; }"
        )
        print(f"\nfirst view of {path}: {size:,} bytes transferred in {n} answers")
        assert size < MAX_FIRST_VIEW_BYTES
        page.reload()
        expect(page.locator(seen)).to_be_visible()
        again = page.evaluate(
            "performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0)"
        )
        print(f"again: {again:,} bytes beside the page itself")
        assert again < 10_000, "the files of the page are kept"


def test_sign_in_tokens_and_sign_out(open_page: OpenPage, service: Service, guard: Guard) -> None:
    guard.host = service.url.removeprefix("http://")
    guard.allowed += ["status of 401", "status of 400 .*/auth/login"]
    page = open_page(service.url + "/tokens")
    expect(page.get_by_role("heading", name="Sign in to annoport")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_label("Name").fill(ADMIN)
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("do not go together")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("heading", name="Access tokens")).to_be_visible()
    page.get_by_label("What is it for?").fill("nightly <b>export</b>")
    page.get_by_label("Reading only").check()
    page.get_by_role("button", name="Create").click()
    secret = page.locator(".fresh code").inner_text()
    request = urllib.request.Request(f"{service.url}/api/users/self", headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read())["username"] == ADMIN
    page.reload()
    row = page.locator(".request", has_text="nightly <b>export</b>")
    expect(row).to_contain_text("reading only")
    expect(page.locator(".fresh")).to_have_count(0)
    row.get_by_role("button", name="Revoke").click()
    row.get_by_role("button", name="Really revoke").click()
    expect(row).to_have_count(0)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=60)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to annoport")).to_be_visible()


def test_changes_of_a_signed_in_user_carry_their_proof(
    open_page: OpenPage, service: Service, guard: Guard, tmp_path: Path
) -> None:
    guard.host = service.url.removeprefix("http://")
    guard.allowed += ["status of 401"]
    page = open_page(service.url + "/tasks/new")
    page.get_by_label("Name").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    path = tmp_path / "pets.zip"
    path.write_bytes(archive([box("a")], more={"images/a.png": picture(50, 50)}))
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Create and look at the annotations").click()
    expect(page.locator(".verdict h2")).to_have_text("Ready: 1 box")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator(".verdict h2")).to_have_text("Imported 1 box")
    page.get_by_text("The same from a terminal").click()
    expect(page.locator(".command code").first).to_contain_text('-H "Authorization: Bearer $ANNOPORT_TOKEN"')
