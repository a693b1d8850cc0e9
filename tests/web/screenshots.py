"""Pictures of every page, made by a command: `python -m tests.web.screenshots OUT [--url URL]`.

A service of its own is filled with the sample task; each page is shown on a laptop and on a phone, light and dark.
"""

from __future__ import annotations

import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.service import running_service
from tests.web.browser import open_browser

LAPTOP = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
PHONE = {"viewport": {"width": 390, "height": 780}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def fetch_sample(url: str, name: str, folder: Path) -> Path:
    path = folder / name
    with urllib.request.urlopen(f"{url}/samples/{name}", timeout=60) as answer:
        path.write_bytes(answer.read())
    return path


def fill(page: Any) -> int:
    """Make the sample task through the page itself; answers its id."""
    page.goto("/tasks/new?sample=1")
    page.get_by_role("button", name="Create and look at the annotations").click()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("link", name="Look at the pictures").wait_for()
    return int(page.url.split("/tasks/")[1].split("/")[0])


def wait_for_pictures(page: Any) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(250)


def scenes(url: str, folder: Path, task: int) -> dict[str, Callable[[Any], None]]:
    """What is shown, by file name."""

    def give(page: Any, name: str) -> None:
        page.goto(f"/tasks/{task}/import")
        page.locator("input[type=file]").set_input_files(fetch_sample(url, name, folder))
        page.locator(".verdict").wait_for()

    def problems(page: Any) -> None:
        give(page, "open-images-mistakes.zip")
        page.locator(".problem button").first.click()
        page.locator(".excerpt tbody tr").first.wait_for()

    def new(page: Any) -> None:
        page.goto("/tasks/new?sample=1")
        page.locator(".tokens .label").first.wait_for()

    def pictures(page: Any) -> None:
        page.goto(f"/tasks/{task}?frame=4")
        page.locator(".shapes .shape").first.wait_for()
        page.keyboard.press(".")

    def export(page: Any) -> None:
        page.goto(f"/tasks/{task}/export")
        page.get_by_text("The same from a terminal").click()

    return {
        "tasks": lambda page: page.goto("/"),
        "new": new,
        "preview": lambda page: give(page, "open-images-tables.zip"),
        "problems": problems,
        "pictures": pictures,
        "health": lambda page: page.goto(f"/tasks/{task}/health"),
        "labels": lambda page: page.goto(f"/tasks/{task}/labels"),
        "import": lambda page: page.goto(f"/tasks/{task}/import"),
        "export": export,
        "activity": lambda page: page.goto("/activity"),
        "tokens": lambda page: page.goto("/tokens"),
        "help": lambda page: page.goto("/help"),
    }


def take(url: str, out: Path) -> None:
    """Write every picture to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, open_browser() as browser:
        folder = Path(name)
        context = browser.new_context(base_url=url, **LAPTOP)
        page = context.new_page()
        page.goto("/")
        page.get_by_role("heading").first.wait_for()
        wait_for_pictures(page)
        page.screenshot(path=out / "welcome.png")
        task = fill(page)
        context.close()
        for device, options in (("", LAPTOP), ("-phone", PHONE)):
            for scheme in ("light", "dark"):
                context = browser.new_context(base_url=url, color_scheme=scheme, **options)
                page = context.new_page()
                for scene, show in scenes(url, folder, task).items():
                    show(page)
                    wait_for_pictures(page)
                    page.screenshot(path=out / f"{scene}{device}{'' if scheme == 'light' else '-dark'}.png")
                context.close()


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    if "--url" in sys.argv:
        take(sys.argv[sys.argv.index("--url") + 1].rstrip("/"), out)
        return
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), auth_mode="local") as service:
        take(service.url, out)


if __name__ == "__main__":
    main()
