"""Pictures of every page, made by a command: `python -m tests.web.screenshots [OUT]`.

A service of its own is filled with a sample task, one of three subsets, and some work; each page is shown on a laptop
(1366 x 768) and on a phone (390 x 844), light and dark. Without OUT the chosen ones that `app/web/README.md` shows are
written anew, as small WebP files; with OUT all of them, as PNG.
"""

from __future__ import annotations

import io
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.images import make_picture
from tests.service import running_service
from tests.web.browser import open_browser
from tests.web.tasks import BOX_HEADER, Caller, archive, box

KEPT = Path(__file__).parent / "screenshots"
CHOSEN = {
    "tasks",
    "new",
    "preview",
    "preview-dark",
    "problems",
    "pictures",
    "pictures-dark",
    "health",
    "labels",
    "import",
    "export",
    "activity",
    "tokens",
    "help",
    "welcome",
    "tasks-phone",
    "preview-phone",
    "pictures-phone",
    "health-phone-dark",
    "problems-phone-dark",
}
QUALITY = 58
LAPTOP = {"viewport": {"width": 1366, "height": 768}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}
CLASSES = [("/m/01yrx", "Cat"), ("/m/0bt9lr", "Dog"), ("/m/015p6", "Bird"), ("/m/0ch_cf", "Fish")]


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


def fill_subsets(caller: Caller) -> int:
    """A task of sixty pictures in three subsets, from a fixed seed; answers its id."""
    random = np.random.default_rng(1)
    tables: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    pictures, tags = {}, []
    for number in range(60):
        subset = "train" if number < 36 else "validation" if number < 48 else "test"
        image = f"pets-{number:03d}"
        pictures[f"{image}.jpg"] = make_picture(320, 220, number)
        for _ in range(int(random.integers(1, 9))):
            (x, y), (w, h) = random.random(2) * 0.7, random.random(2) * 0.26 + 0.03
            label = CLASSES[int(random.choice(4, p=[0.5, 0.3, 0.15, 0.05]))][0]
            flags = ",".join(map(str, random.choice([0, 1, -1], 5, p=[0.6, 0.25, 0.15])))
            tables[subset].append(box(image, label, f"{x:.3f},{x + w:.3f},{y:.3f},{y + h:.3f}", flags))
        if subset == "train":
            for label, _ in CLASSES[:2]:
                tags.append(f"{image},verification,{label},{int(random.integers(0, 2))}")
    more = {
        f"annotations/{name}-annotations-bbox.csv": "\n".join([BOX_HEADER, *tables[name]]) + "\n"
        for name in ("validation", "test")
    }
    task = caller.task("Pets in three subsets", pictures, [name for _, name in CLASSES])
    caller.load(task, archive(tables["train"], tags, more, CLASSES))
    return task


def wait_for_pictures(page: Any) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(250)


def scenes(url: str, folder: Path, task: int, subsets: int) -> dict[str, Callable[[Any], None]]:
    """What is shown, by file name."""

    def give(page: Any, name: str) -> None:
        page.goto(f"/tasks/{task}/import")
        page.locator("input[type=file]").set_input_files(fetch_sample(url, name, folder))
        page.locator(".verdict").wait_for()
        page.locator(".looks").wait_for()

    def problems(page: Any) -> None:
        give(page, "open-images-mistakes.zip")
        page.locator(".problem button").first.click()
        page.locator(".excerpt tbody tr").first.wait_for()
        page.evaluate("scrollTo(0, 0)")

    def new(page: Any) -> None:
        page.goto("/tasks/new?sample=1")
        page.locator(".tokens .label").first.wait_for()

    def pictures(page: Any) -> None:
        page.goto(f"/tasks/{task}?frame=4")
        page.locator(".shapes .shape").first.wait_for()
        page.keyboard.press(".")

    def export(page: Any) -> None:
        page.goto(f"/tasks/{subsets}/export")
        page.get_by_text("Only a part of it").click()
        page.locator(".tally").wait_for()
        page.locator(".part").get_by_role("button", name="Dog").click()
        page.get_by_text("43 pictures").or_(page.locator(".tally:not(.is-old)")).first.wait_for()

    return {
        "tasks": lambda page: page.goto("/"),
        "new": new,
        "preview": lambda page: give(page, "open-images-tables.zip"),
        "problems": problems,
        "pictures": pictures,
        "health": lambda page: page.goto(f"/tasks/{subsets}/health"),
        "labels": lambda page: page.goto(f"/tasks/{task}/labels"),
        "import": lambda page: page.goto(f"/tasks/{task}/import"),
        "export": export,
        "activity": lambda page: page.goto("/activity"),
        "tokens": lambda page: page.goto("/tokens"),
        "help": lambda page: page.goto("/help"),
    }


def keep(picture: bytes, name: str, out: Path | None) -> None:
    """Write one picture: all of them as PNG where somebody asked, else the chosen ones small."""
    if out is not None:
        (out / f"{name}.png").write_bytes(picture)
    elif name in CHOSEN:
        with Image.open(io.BytesIO(picture)) as opened:
            opened.convert("RGB").save(KEPT / f"{name}.webp", quality=QUALITY, method=6)


def take(url: str, out: Path | None) -> None:
    """Show everything and keep it."""
    (out or KEPT).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, open_browser() as browser:
        folder = Path(name)
        context = browser.new_context(base_url=url, **LAPTOP)
        page = context.new_page()
        page.goto("/")
        page.get_by_role("heading").first.wait_for()
        wait_for_pictures(page)
        keep(page.screenshot(), "welcome", out)
        task = fill(page)
        context.close()
        subsets = fill_subsets(Caller(url))
        for device, options in (("", LAPTOP), ("-phone", PHONE)):
            for scheme in ("light", "dark"):
                context = browser.new_context(base_url=url, color_scheme=scheme, **options)
                page = context.new_page()
                for scene, show in scenes(url, folder, task, subsets).items():
                    full = f"{scene}{device}{'' if scheme == 'light' else '-dark'}"
                    if out is None and full not in CHOSEN:
                        continue
                    show(page)
                    wait_for_pictures(page)
                    keep(page.screenshot(), full, out)
                context.close()


def main() -> None:
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit(__doc__)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), auth_mode="local") as service:
        take(service.url, out)


if __name__ == "__main__":
    main()
