"""The image's recipe, checked without a container runtime: every source, command, port and setting it names exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.settings import Settings
from tests.service import annoport

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(name, arguments) of each instruction; comments gone, continued lines joined."""
    lines = (line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    text = "\n".join(lines).replace("\\\n", " ")
    return [
        (line.split(None, 1)[0].upper(), line.split(None, 1)[1].strip()) for line in text.splitlines() if line.strip()
    ]


def arguments_of(name: str) -> list[str]:
    return [arguments for each, arguments in instructions() if each == name]


def only(name: str) -> str:
    (arguments,) = arguments_of(name)
    return arguments


def ignored() -> list[str]:
    return [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def test_hadolint_finds_nothing() -> None:
    command = [str(Path(sys.executable).parent / "hadolint"), "--no-color", str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_copied_source_exists_and_is_not_ignored() -> None:
    allowed = {line[1:] for line in ignored() if line.startswith("!")}
    assert ignored()[0] == "*", "everything is left out but what is named"
    copied = [arguments.split() for arguments in arguments_of("COPY") if "--from=" not in arguments]
    assert copied
    for *sources, _ in copied:
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in allowed
    assert allowed == {source for *sources, _ in copied for source in sources}


def test_the_stages_are_of_one_pinned_python_that_the_package_supports() -> None:
    images = [arguments.split()[0] for arguments in arguments_of("FROM")]
    assert len(images) == 2
    assert len(set(images)) == 1, "an environment moves between equal interpreters only"
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim-\w+", images[0])
    assert found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert (int(found[1]), int(found[2])) >= (3, 11)


def test_the_lock_holds_every_dependency_and_the_extras_that_the_image_promises() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "docker" / "requirements.txt").read_text()
    assert "://" not in lock, "a lock names no index"
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    extras = project["optional-dependencies"]
    for wanted in [*project["dependencies"], *extras["postgres"], *extras["otel"]]:
        name = re.split(r"[\[>=<]", wanted)[0].lower()
        assert name in locked, f"{wanted} is not in the lock; write it again (docker/README.md)"
    assert "--require-hashes" in only_of_stage("RUN", 0)


def only_of_stage(name: str, stage: int) -> str:
    """All arguments of an instruction within one stage, joined."""
    current, found = -1, []
    for each, arguments in instructions():
        current += each == "FROM"
        if current == stage and each == name:
            found.append(arguments)
    return " ".join(found)


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"\bANNOPORT_([A-Z0-9_]+)=", only("ENV")))
    assert {"AUTH_MODE", "DATA_DIR"} <= named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_the_settings_of_the_image_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"\b(ANNOPORT_[A-Z0-9_]+)=(\S+)", only("ENV")):
        monkeypatch.setenv(name, value)
    settings = Settings(host="0.0.0.0")
    assert (settings.auth_mode, settings.port, str(settings.data_dir)) == ("users", int(only("EXPOSE")), "/data")


def test_it_does_not_run_as_root_and_owns_its_volume() -> None:
    number, _, group = only("USER").partition(":")
    assert int(number) > 0
    assert int(group) > 0
    made = re.search(r"useradd --uid (\d+) --user-group", only_of_stage("RUN", 1))
    assert made
    assert made[1] == number == group
    owner = re.search(r"install --directory --owner=(\w+) --group=(\w+) --mode=0750 /data", only_of_stage("RUN", 1))
    assert owner
    assert owner[1] == owner[2] in only_of_stage("RUN", 1).split()
    assert only("VOLUME") == "/data"
    order = [name for name, _ in instructions()]
    assert order.index("VOLUME") > order.index("RUN", order.index("FROM", 1)), "a volume keeps the owner it had before"


def test_the_commands_exist_with_their_options() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert json.loads(only("ENTRYPOINT"))[0] in project["scripts"]
    name, *options = json.loads(only("CMD"))
    described = annoport(name, "--help")
    for option in options:
        if option.startswith("--"):
            assert option in described
    assert options[options.index("--port") + 1] == only("EXPOSE")
    assert f"ANNOPORT_DATA_DIR={only('VOLUME')}" in only("ENV")
    health = only("HEALTHCHECK")
    command = json.loads(health[health.index("CMD") + 3 :])
    assert command[0] == json.loads(only("ENTRYPOINT"))[0]
    annoport(*command[1:], "--help")
