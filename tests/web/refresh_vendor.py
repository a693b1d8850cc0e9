"""Fetch the page's two libraries with the npm client and lay them down in app/web/vendor, as they were published.

    python -m tests.web.refresh_vendor            the versions of vendor.json
    python -m tests.web.refresh_vendor --latest   the newest of the same major version

`vendor.json` names each package, its version and licence, and the SHA-256 of every file; a test compares.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "app" / "web" / "vendor"
AXE = Path(__file__).parent / "vendor"

PAGE_FILES = {
    "lit": ["index.js"],
    "lit-html": [
        "lit-html.js",
        "is-server.js",
        "directive.js",
        "directive-helpers.js",
        "directives/repeat.js",
        "directives/live.js",
        "directives/ref.js",
        "async-directive.js",
    ],
    "lit-element": ["lit-element.js"],
    "@lit/reactive-element": ["reactive-element.js", "css-tag.js"],
    "tus-js-client": ["dist/tus.min.js"],
}
TEST_FILES = {"axe-core": ["axe.min.js"]}
WANTED = {"lit": "3", "tus-js-client": "4", "axe-core": "4"}
LICENSE_NAMES = ("LICENSE", "LICENSE.md", "LICENCE")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lay_down(modules: Path, target: Path, files: dict[str, list[str]]) -> None:
    """Copy the files of some packages and their licences; write vendor.json."""
    shutil.rmtree(target, ignore_errors=True)
    packages = []
    for package, names in files.items():
        source, folder = modules / package, target / package.replace("@lit/", "")
        about = json.loads((source / "package.json").read_text())
        names = [*names, *(name for name in LICENSE_NAMES if (source / name).exists())]
        laid = {}
        for name in names:
            # A folder of the name `dist` would be taken for the product of a build.
            path = folder / name.removeprefix("dist/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, path)
            laid[path.relative_to(target).as_posix()] = digest(path)
        packages.append(
            {
                "package": package,
                "version": about["version"],
                "license": about["license"],
                "files": laid,
            }
        )
    (target / "vendor.json").write_text(json.dumps(packages, indent=2) + "\n")


def pinned() -> dict[str, str]:
    """Versions that are laid down now."""
    found = {}
    for manifest in (VENDOR / "vendor.json", AXE / "vendor.json"):
        if manifest.exists():
            found |= {entry["package"]: entry["version"] for entry in json.loads(manifest.read_text())}
    return found


def main() -> None:
    versions = {} if "--latest" in sys.argv else pinned()
    names = {*WANTED, *(versions and PAGE_FILES)}
    packages = [f"{name}@{versions.get(name, WANTED.get(name, 'latest'))}" for name in sorted(names)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "package.json").write_text('{"private": true}')
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages], cwd=folder, check=True
        )
        modules = Path(folder) / "node_modules"
        lay_down(modules, VENDOR, PAGE_FILES)
        lay_down(modules, AXE, TEST_FILES)


if __name__ == "__main__":
    main()
