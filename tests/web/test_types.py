"""The types that the page's modules state in their comments (JSDoc), checked by TypeScript. Nothing is built."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from app.api.pages import ENTRY, WEB
from tests.environments import NODE_PINS, node_modules

TYPES = Path(__file__).parent / "types.d.ts"
OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "target": "es2023",
    "lib": ["es2024", "dom", "dom.iterable", "dom.asynciterable"],
    "module": "esnext",
    "moduleResolution": "bundler",
    "strictBindCallApply": True,
    "strictFunctionTypes": True,
    "noImplicitThis": True,
    "noFallthroughCasesInSwitch": True,
    "noUnusedLocals": True,
    "strict": False,
    "skipLibCheck": True,
    "types": [],
}


def check(folder: Path, modules: Path) -> str:
    """What TypeScript says of the modules in `folder`; empty where it finds nothing."""
    # The upload library is one packed file: its own types stand in for it.
    shutil.copy(TYPES, folder)
    (folder / "vendor" / "tus-js-client").mkdir(parents=True)
    (folder / "vendor" / "tus-js-client" / "tus.min.d.ts").write_text("export {};\n")
    (folder / "node_modules").symlink_to(modules)
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": OPTIONS, "files": [ENTRY, TYPES.name]}, indent=2)
    )
    command = ["node", modules / "typescript" / "bin" / "tsc", "-p", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1, 2), done.stderr
    return done.stdout


def test_the_types_of_the_page_hold(tmp_path: Path) -> None:
    modules = node_modules()
    shutil.copytree(WEB / "js", tmp_path / "js")
    said = check(tmp_path, modules)
    assert not said, said[:6000]


def test_a_wrong_type_is_found(tmp_path: Path) -> None:
    modules = node_modules()
    shutil.copytree(WEB / "js", tmp_path / "js")
    entry = tmp_path / ENTRY
    entry.write_text(entry.read_text() + '\nimport { percent } from "./format.js";\npercent("half").nothing();\n')
    assert "nothing" in check(tmp_path, modules)


def test_libraries_are_checked_in_the_versions_that_are_served() -> None:
    served = {
        package["package"]: package["version"] for package in json.loads((WEB / "vendor/vendor.json").read_text())
    }
    assert {name: version for name, version in NODE_PINS.items() if name != "typescript"} == {
        name: served[name] for name in ("lit", "tus-js-client")
    }
