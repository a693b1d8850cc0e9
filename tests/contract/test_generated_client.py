"""openapi-python-client makes a client of the contract, and the client does the main job."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Stocked
from tests.environments import clean_environ, python_of, run_script
from tests.samples import OpenImages, picture
from tests.service import ADMIN, PASSWORD

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "scripts" / "basic_calls.py"
# Zips and pictures are bytes; the generator only has to be told that it knows them.
CONFIG = """
content_type_overrides:
  application/zip: application/octet-stream
  application/offset+octet-stream: application/octet-stream
  image/jpeg: application/octet-stream
  image/*: application/octet-stream
post_hooks: []
"""


@pytest.fixture
def generated(tmp_path: Path) -> tuple[Path, str]:
    """The folder of a package `generated`, and what its generator said."""
    (tmp_path / "config.yml").write_text(CONFIG)
    command = [str(python_of("generator").parent / "openapi-python-client"), "generate"]
    command += ["--path", str(ROOT / "openapi" / "openapi.json"), "--output-path", str(tmp_path / "generated")]
    command += ["--meta", "none", "--config", str(tmp_path / "config.yml")]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return tmp_path, done.stdout + done.stderr


def test_its_basic_calls_work(generated: tuple[Path, str], stocked: Stocked, tmp_path: Path) -> None:
    folder, said = generated
    assert "WARNING" not in said, f"the generator has left something out: {said}"
    (tmp_path / "a.png").write_bytes(picture(10, 8))
    archive = OpenImages(classes=[("cat", "cat")], images=[("a", "default")])
    archive.box("a", "cat", ("0.25", "0.5", "0.25", "0.5"))
    told: dict[str, Any] = run_script(
        "generator",
        SCRIPT,
        {
            "url": stocked.service.url,
            "user": ADMIN,
            "password": PASSWORD,
            "picture": str(tmp_path / "a.png"),
            "archive": str(archive.write(tmp_path / "upload.zip")),
        },
        environ={"PYTHONPATH": str(folder)},
    )
    assert told.pop("version").startswith("2.80.0+annoport")
    assert "Open Images V6 1.0" in told.pop("formats")
    assert told == {
        "request": ["finished", "create:task"],
        "size": 1,
        "frames": ["a.png"],
        "listed": True,
        "stored": [[1.0, 2.0, 8.0, 6.0]],
        "report": ["finished", 0],
        "both": 2,
        "state": "in progress",
        "export": True,
        "streamed": [200, "PK"],
        "picture": len(picture(10, 8)),
        "refused": ["ErrorInfo", "request.invalid", "name: This field may not be blank."],
        "deleted": 204,
        "gone": "Not found.",
    }
