"""cvat-cli from login to delete, as its users type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients import meadow
from tests.clients.runners import FORMAT, Clients
from tests.samples import LABELS, read_archive, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_pictures(folder / "in", meadow.SIZES)
    meadow.archive().write(folder / "upload.zip")
    return folder


def create(clients: Clients, folder: Path, name: str, *more: str) -> str:
    pictures = [str(folder / "in" / each) for each in meadow.SIZES]
    made = clients.cli("task", "create", name, "--labels", json.dumps(LABELS), *more, "local", *pictures)
    return str(int(made.out.split()[-1]))


@pytest.fixture(scope="module")
def number(clients: Clients, folder: Path) -> str:
    """A task with the sample archive imported, as the command line does it: masks become polygons."""
    number = create(clients, folder, "by cvat-cli")
    clients.cli("task", "import-dataset", "--format", FORMAT, number, str(folder / "upload.zip"))
    return number


def test_the_task_is_listed(clients: Clients, number: str) -> None:
    assert number in clients.cli("task", "ls").out.split()
    listed = json.loads(clients.cli("task", "ls", "--json").out)
    (task,) = [each for each in listed if each["id"] == int(number)]
    assert (task["name"], task["size"]) == ("by cvat-cli", len(meadow.SIZES))


def test_the_import_is_in_the_task(clients: Clients, number: str) -> None:
    annotations = clients.get(f"/api/tasks/{number}/annotations/")
    kinds = {each["type"] for each in annotations["shapes"]}
    assert kinds == {"rectangle", "polygon"}
    assert len(annotations["tags"]) == len(meadow.tags())


def test_frames_are_downloaded(clients: Clients, number: str, tmp_path: Path) -> None:
    clients.cli("task", "frames", "--outdir", str(tmp_path), number, "0", "2")
    assert len(list(tmp_path.iterdir())) == 2


def test_export_into_a_folder_and_a_file(clients: Clients, number: str, tmp_path: Path) -> None:
    export = ("task", "export-dataset", "--format", FORMAT)
    clients.cli(*export, "--with-images", "yes", number, f"{tmp_path}/out/")
    (path,) = (tmp_path / "out").iterdir()
    assert path.suffix == ".zip"
    clients.cli(*export, number, str(tmp_path / "plain.zip"))
    pictures = {name for name in read_archive(path) if name.startswith("images/")}
    assert pictures == {f"images/default/{name}" for name in meadow.SIZES}
    assert read_archive(tmp_path / "plain.zip").keys() == read_archive(path).keys() - pictures


def test_one_command_creates_uploads_and_imports(clients: Clients, folder: Path) -> None:
    more = ("--annotation_path", str(folder / "upload.zip"), "--annotation_format", FORMAT, "--segment_size", "2")
    number = create(clients, folder, "all in one", *more)
    assert clients.get(f"/api/tasks/{number}/annotations/")["shapes"]
    assert clients.get(f"/api/jobs?task_id={number}")["count"] == 2
    clients.cli("task", "delete", number)
    assert number not in clients.cli("task", "ls").out.split()
    # Deleting what is not there is no error.
    clients.cli("task", "delete", number)


def test_a_failed_import_ends_with_its_reason(clients: Clients, number: str, tmp_path: Path) -> None:
    bad = meadow.archive()
    bad.box("a", "zebra", ("0", "1", "0", "1"))
    before = clients.get(f"/api/tasks/{number}/annotations/")
    ended = clients.cli(
        "task", "import-dataset", "--format", FORMAT, number, str(bad.write(tmp_path / "bad.zip")), ok=False
    )
    assert ended.code != 0
    assert "zebra" in ended.err
    assert clients.get(f"/api/tasks/{number}/annotations/") == before


def test_an_unknown_format_is_refused(clients: Clients, number: str, folder: Path) -> None:
    ended = clients.cli(
        "task", "import-dataset", "--format", "No Such 1.0", number, str(folder / "upload.zip"), ok=False
    )
    assert ended.code != 0
    assert "No Such 1.0" in ended.err


def test_an_access_token_serves_the_command_line(clients: Clients, number: str) -> None:
    _, body, _ = clients.raw("POST", "/api/auth/access_tokens", b'{"name": "cli"}', Content_Type="application/json")
    ended = clients.cli("task", "ls", auth=None, CVAT_ACCESS_TOKEN=json.loads(body)["value"])
    assert number in ended.out.split()
    refused = clients.cli("task", "ls", auth=None, CVAT_ACCESS_TOKEN="cvat_wrong", ok=False)
    assert refused.code != 0
    assert "401" in refused.err


def test_a_project_lends_its_labels_to_its_tasks(clients: Clients, folder: Path, tmp_path: Path) -> None:
    project = str(int(clients.cli("project", "create", "meadows", "--labels", json.dumps(LABELS)).out.split()[-1]))
    pictures = [str(folder / "in" / each) for each in meadow.SIZES]
    made = clients.cli(
        "task", "create", "in a project", "--project_id", project, "--subset", "train", "local", *pictures
    )
    number = str(int(made.out.split()[-1]))
    clients.cli("task", "import-dataset", "--format", FORMAT, number, str(folder / "upload.zip"))
    clients.cli("project", "export-dataset", "--format", FORMAT, project, str(tmp_path / "project.zip"))
    assert "annotations/default-annotations-bbox.csv" in read_archive(tmp_path / "project.zip")
    assert project in clients.cli("project", "ls").out.split()
    clients.cli("project", "delete", project)
    assert number not in clients.cli("task", "ls").out.split()


def test_the_local_mode_does_the_whole_job(local_clients: Clients, folder: Path, tmp_path: Path) -> None:
    number = create(local_clients, folder, "local")
    local_clients.cli("task", "import-dataset", "--format", FORMAT, number, str(folder / "upload.zip"))
    local_clients.cli("task", "export-dataset", "--format", FORMAT, number, str(tmp_path / "local.zip"))
    assert "annotations/default-annotations-bbox.csv" in read_archive(tmp_path / "local.zip")
    local_clients.cli("task", "delete", number)
