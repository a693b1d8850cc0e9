"""The README's own lines, typed as they stand: the main job by curl, and by cvat-cli."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments import clean_environ, python_of
from tests.samples import OpenImages, disk_with_hole, mask_png, read_archive, read_table, write_pictures
from tests.service import Service, running_service

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"


def block_after(words: str) -> str:
    """The first block of shell lines after these words."""
    found = re.search(r"```sh\n(.*?)```", README[README.index(words) :], re.DOTALL)
    assert found
    return found.group(1)


def type_in(lines: str, folder: Path, service: Service, **environ: str) -> str:
    """Run lines in a folder against the service's own address; everything they print."""
    host, _, port = service.url.rpartition(":")
    lines = lines.replace(ADDRESS, service.url)
    lines = lines.replace(
        "--server-host http://127.0.0.1 --server-port 8080", f"--server-host {host} --server-port {port}"
    )
    assert service.url in lines or f"--server-port {port}" in lines, "the lines name an address that is not replaced"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=clean_environ(HOME=str(folder), **environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{service.tail()}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: two pictures and an archive for them."""
    folder = tmp_path_factory.mktemp("readme")
    write_pictures(folder, {"a.jpg": (64, 48), "b.jpg": (80, 60)})
    archive = OpenImages(classes=[("cat", "cat"), ("dog", "dog")], images=[("a", "default"), ("b", "default")])
    archive.box("a", "cat", ("0.25", "0.5", "0.25", "0.5"))
    archive.box("b", "cat", ("0", "1", "0", "1"))
    archive.tag("b", "cat")
    archive.mask("a", "cat", "00000000", mask_png(disk_with_hole(64, 48, 10, 3)))
    archive.write(folder / "upload.zip")
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service nobody used: the README's first task is number 1."""
    with running_service(tmp_path_factory.mktemp("fresh"), auth_mode="local") as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_do_the_main_job(fresh: Service, folder: Path) -> None:
    said = type_in(block_after("**Do the main job**"), folder, fresh)
    # The answers one after the other: the task, the pictures' request, the dry run's report, the import's report.
    decoder, answers, rest = json.JSONDecoder(), [], said.strip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    task, pictures, dry, real = answers
    assert task["id"] == 1
    assert pictures["rq_id"]
    for report in (dry, real):
        assert report["n_errors"] == 0
        assert sum(table["dropped"] for table in report["tables"].values()) == 0
    members = read_archive(folder / "pets.zip")
    assert len(read_table(members["annotations/default-annotations-bbox.csv"])) == 2
    assert [name for name in members if name.startswith("masks/")] == ["masks/default/a_cat_00000000.png"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_refused_download_is_no_file(fresh: Service, tmp_path: Path) -> None:
    """What was refused must not lie there under the name of what was asked for, nor look as if all went well."""
    lines = re.findall(r"^curl -\w*OJ .*$", README, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        with pytest.raises(AssertionError, match="The requested URL returned error: 404"):
            type_in(line.replace("/tasks/1/", "/tasks/999/"), tmp_path, fresh)
    assert not list(tmp_path.iterdir())


def test_the_cvat_cli_lines_do_the_main_job(fresh: Service, folder: Path) -> None:
    lines = block_after("## Real clients")
    # The client is there already, in an environment of its own.
    lines = "\n".join(line for line in lines.splitlines() if not line.startswith("pip install"))
    programs = str(python_of("client").parent)
    with urllib.request.urlopen(f"{fresh.url}/api/tasks") as answer:
        number = json.load(answer)["count"] + 1
    lines = re.sub(r"(1.0'(?: --with-images yes)?) 1 ", rf"\1 {number} ", lines)
    said = type_in(lines, folder, fresh, PATH=f"{programs}:/usr/bin:/bin")
    assert said.split()[0] == str(number)
    (archive,) = (folder / "out").iterdir()
    members = read_archive(archive)
    assert len(read_table(members["annotations/default-annotations-bbox.csv"])) == 2
    assert {name for name in members if name.startswith("images/")} == {"images/default/a.jpg", "images/default/b.jpg"}
