"""Backups by the SDK and the command line: what comes back is what went."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients import meadow
from tests.clients.expected import names_of
from tests.clients.runners import FORMAT, Clients
from tests.clients.test_projects import dataset
from tests.samples import LABELS, write_pictures


@pytest.fixture(scope="module")
def folder(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one service: it ends with the service's turn."""
    folder = tmp_path_factory.mktemp("backups")
    write_pictures(folder / "in", meadow.SIZES)
    meadow.archive().write(folder / "upload.zip")
    dataset().write(folder / "dataset.zip")
    return folder


@pytest.fixture(scope="module")
def told(clients: Clients, folder: Path) -> Any:
    return clients.sdk(
        "backups",
        folder=str(folder),
        labels=LABELS,
        pictures=[str(folder / "in" / name) for name in meadow.SIZES],
        archive=str(folder / "upload.zip"),
        dataset=str(folder / "dataset.zip"),
    )


def by_name(task: Any) -> str:
    """Annotations with names for ids, as one text."""
    labels, specs = names_of(task["labels"])

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: named(each) for key, each in value.items() if key not in ("id", "label_id", "spec_id")}
            if "label_id" in value:
                kept["label"] = labels[value["label_id"]]
            if "spec_id" in value:
                kept["attribute"] = specs[value["spec_id"]]
            return kept
        return [named(each) for each in value] if isinstance(value, list) else value

    return json.dumps(named(task["annotations"]), sort_keys=True)


def test_the_task_that_comes_back_is_the_task(told: Any) -> None:
    one, two = told["told"]
    for name in ("name", "quality", "frames", "deleted", "jobs"):
        assert one[name] == two[name]
    assert one["deleted"] == [0]
    assert one["annotations"]["tracks"]
    assert by_name(one) == by_name(two)
    assert [label["id"] for label in one["labels"]] != [label["id"] for label in two["labels"]]


def test_it_exports_the_same_bytes(told: Any, folder: Path) -> None:
    assert (folder / "one.zip").read_bytes() == (folder / "two.zip").read_bytes()
    assert (folder / "three.zip").read_bytes() == (folder / "four.zip").read_bytes()


def test_the_project_that_comes_back_has_its_tasks(told: Any) -> None:
    assert told["names"] == ["a project", "a project"]
    assert told["subsets"] == [["test", "train"]] * 2


def test_another_zip_is_refused_with_a_sentence(told: Any) -> None:
    assert "no backup of this service" in told["failure"]


@pytest.mark.parametrize("kind", ["task", "project"])
def test_the_command_line_backs_up_and_restores(clients: Clients, folder: Path, tmp_path: Path, kind: str) -> None:
    if kind == "task":
        pictures = [str(folder / "in" / name) for name in meadow.SIZES]
        made = clients.cli("task", "create", "kept", "--labels", json.dumps(LABELS), "local", *pictures)
    else:
        more = ("--dataset_path", str(folder / "dataset.zip"), "--dataset_format", FORMAT)
        made = clients.cli("project", "create", "kept", *more)
    number = made.out.split()[-1]
    clients.cli(kind, "backup", number, f"{tmp_path}/out/")
    (path,) = (tmp_path / "out").iterdir()
    assert re.fullmatch(rf"{kind}_kept_backup_[0-9_]+\.zip", path.name)
    restored = clients.cli(kind, "create-from-backup", str(path)).out.split()[-1]
    assert int(restored) > int(number)
    assert clients.get(f"/api/{kind}s/{restored}")["name"] == "kept"
    clients.cli(kind, "delete", number, restored)
