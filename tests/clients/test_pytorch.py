"""`cvat_sdk.pytorch` on a running service: on request, for torch by pip is gigabytes.

Debian's own packages are smaller, and belong to the system's Python; theirs must be the version of this environment's:

    apt-get install --no-install-recommends python3-torch python3-torchvision
    pytest -m long tests/clients/test_pytorch.py

TORCH_PYTHON chooses another interpreter that has torch and torchvision. The SDK comes from the clients' environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.runners import FORMAT, SCRIPTS, Clients
from tests.environments import python_of
from tests.samples import OpenImages, write_pictures
from tests.service import ADMIN, PASSWORD

PYTHON = os.environ.get("TORCH_PYTHON", "/usr/bin/python3")


@pytest.mark.long
def test_tasks_and_projects_are_datasets_of_torchvision(clients: Clients, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "in", {"a.png": (64, 48), "b.png": (64, 48)})
    archive = OpenImages(classes=[("cat", "cat"), ("dog", "dog")], images=[("a", "default"), ("b", "default")])
    archive.box("a", "dog", ("0.25", "0.5", "0.25", "0.75"))
    archive.tag("a", "cat")
    archive.tag("b", "dog")
    home = python_of("client").parent.parent
    (packages,) = home.glob("lib/python*/site-packages")
    told = {
        "url": clients.service.url,
        "user": ADMIN,
        "password": PASSWORD,
        "format": FORMAT,
        "pictures": [str(path) for path in pictures],
        "archive": str(archive.write(tmp_path / "upload.zip")),
    }
    done = subprocess.run(
        [PYTHON, "-W", "ignore", str(SCRIPTS / "torch_adapters.py")],
        input=json.dumps(told),
        env=clients.environ(PYTHONPATH=f"{packages}:{SCRIPTS}"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["found"] == [[[64, 48], [[16.0, 12.0, 32.0, 36.0]], [1]], [[64, 48], [], []]]
    assert found["tags"] == [[[3, 48, 64], 0], [[3, 48, 64], 1]]
    assert found["batch"] == [[2, 3, 48, 64], [2]]
    assert found["fresh"] == [0, 0], "the cache is dropped when the task changes"
