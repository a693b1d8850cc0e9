"""The operator's page, typed as it stands: backups out and in, moves there and back; exports are the same after."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.operations import stream_dataset
from app.storage import open_storage
from tests import engines
from tests.clients import meadow
from tests.desk import Desk
from tests.environments import python_of
from tests.samples import LABELS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
FORMAT = "Open Images V6 1.0"


def blocks_of(heading: str) -> list[str]:
    """The shell lines of a section, block by block."""
    section = re.split(r"\n## ", PAGE[PAGE.index(f"\n## {heading}\n") + 4 :])[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def type_in(lines: str, **environ: str) -> None:
    programs = [Path(sys.executable).parent, engines.postgres_programs(), python_of("bucket").parent]
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "AWS_PAGER": "", **environ}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"


def exports(database_url: str, blob_url: str, folder: Path) -> dict[str, bytes]:
    """Every task's archive, as a client gets it, and the bytes under every key that a row names."""
    with closing(open_storage(database_url, blob_url, folder, min_free_bytes=0, pool_size=4, migrate=False)) as storage:
        storage.check_health()
        found = {}
        for number in (1, 2):
            chunks: list[bytes] = []
            stream_dataset(
                storage, {"task_id": number, "format": FORMAT}, lambda data, into=chunks: into.append(bytes(data))
            )
            found[f"task {number}"] = b"".join(chunks)
        for key, size, _ in storage.blobs.list("results"):
            source = storage.blobs.open_key(key)
            found[key] = source.read_at(0, size)
            source.close()
    assert len(found["task 1"]) > 1000
    assert len(found) == 3
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two tasks, what an archive left in one of them, and a finished export."""
    folder = tmp_path_factory.mktemp("filled")
    archive = meadow.archive().write(folder / "upload.zip").read_bytes()
    with Desk(folder / "data") as desk:
        for _ in range(2):
            task = desk.task(meadow.SIZES, LABELS)
        desk.task(meadow.SIZES, LABELS)
        first = f"/api/tasks/{task.number - 1}"
        told = desk.call("POST", f"{first}/import", 202, files=[("file", ("u.zip", archive))], params={"wait": "0"})
        desk.work()
        assert desk.call("GET", f"/api/requests/{told['rq_id']}")["status"] == "finished"
        told = desk.call("POST", f"{first}/dataset/export", 202, params={"format": FORMAT})
        desk.work()
        assert desk.call("GET", f"/api/requests/{told['rq_id']}")["status"] == "finished"
    return folder / "data"


@pytest.fixture
def empty_cluster() -> Iterator[tuple[str, str]]:
    """The URLs of an empty database and of an empty prefix."""
    bucket = engines.bucket()
    with engines.new_database() as url:
        yield url, bucket.place()


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
def test_the_embedded_backup_comes_back(filled: Path, tmp_path: Path) -> None:
    out, back, *_ = blocks_of("Back up")
    (tmp_path / "backup").mkdir()
    type_in(out, ANNOPORT_DATA_DIR=str(filled), BACKUP=str(tmp_path / "backup"))
    (tmp_path / "new").mkdir()
    type_in(back, ANNOPORT_DATA_DIR=str(tmp_path / "new"), BACKUP=str(tmp_path / "backup"))
    assert exports("", "", tmp_path / "new") == exports("", "", filled)


def test_a_store_moves_to_the_cluster_is_backed_up_and_moves_home(
    filled: Path, tmp_path: Path, empty_cluster: tuple[str, str]
) -> None:
    there, home = blocks_of("Move between the shapes")
    _, _, out, back = blocks_of("Back up")
    expected = exports("", "", filled)
    database_url, blob_url = empty_cluster
    type_in(there, ANNOPORT_DATA_DIR=str(filled), CLUSTER_DATABASE_URL=database_url, CLUSTER_BLOB_URL=blob_url)
    assert exports(database_url, blob_url, tmp_path / "look") == expected
    (tmp_path / "backup").mkdir()
    copy = engines.bucket().place()
    places = {"ANNOPORT_DATABASE_URL": database_url, "ANNOPORT_BLOB_URL": blob_url, "BACKUP_BLOB_URL": copy}
    type_in(out, BACKUP=str(tmp_path / "backup"), **places)
    with engines.new_database() as restored_url:
        restored = {"ANNOPORT_DATABASE_URL": restored_url, "ANNOPORT_BLOB_URL": engines.bucket().place()}
        folder = {"ANNOPORT_DATA_DIR": str(tmp_path / "restored")}
        type_in(back, BACKUP=str(tmp_path / "backup"), BACKUP_BLOB_URL=copy, **restored, **folder)
        assert exports(restored_url, restored["ANNOPORT_BLOB_URL"], tmp_path / "restored") == expected
    type_in(home, NEW_DATA_DIR=str(tmp_path / "home"), ANNOPORT_DATA_DIR=str(tmp_path / "spool"), **places)
    assert exports("", "", tmp_path / "home") == expected


def test_every_block_of_the_page_is_typed_by_a_test() -> None:
    assert (
        len(re.findall(r"```sh\n", PAGE)) == len(blocks_of("Back up")) + len(blocks_of("Move between the shapes")) == 6
    )


def test_the_page_names_settings_metrics_and_files_that_exist() -> None:
    from app.settings import Settings

    named = set(re.findall(r"ANNOPORT_([A-Z_]+)", PAGE)) - {""}
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
    listed = set(re.findall(r"^\| `([\w.]+)` \|", PAGE[PAGE.index("## Files here") :], re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "docker").iterdir()} - {"README.md", ".env"}
