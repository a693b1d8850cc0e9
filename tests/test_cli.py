"""The command line as a person types it, each command in a process of its own."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.settings import Settings
from tests.processes import family
from tests.service import COMMAND, annoport, running_service, start_service

TABLE = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    "a,xclick,/m/0,1,0.1,0.5,0.2,{},0,0,0,0,0\n"
)


def make_zip(path: Path, last_number: str = "0.6") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations/train-annotations-bbox.csv", TABLE.format(last_number))
        archive.writestr("annotations/class-descriptions.csv", "/m/0,cat\n")
    return path


def test_a_user_can_be_added_before_the_first_start_and_while_serving(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    assert "user ann added (admin)" in annoport("user", "add", "ann", "--password", "p", "--admin", "--data-dir", data)
    with running_service(tmp_path, auth_mode="users") as service:
        annoport("user", "add", "bob", "--password", "q", "--data-dir", str(service.data_dir))
        secret = annoport("token", "add", "bob", "--data-dir", str(service.data_dir)).strip()
        request = urllib.request.Request(service.url + "/api/users/self", headers={"Authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["username"] == "bob"
        assert "ok" in annoport("healthcheck", "--url", service.url).lower()


def test_a_taken_name_and_an_unknown_one_are_said_plainly(tmp_path: Path) -> None:
    data = str(tmp_path)
    annoport("user", "add", "ann", "--password", "p", "--data-dir", data)
    for arguments, words in (
        (["user", "add", "ANN", "--password", "p"], "ANN is taken"),
        (["token", "add", "nobody"], "no user 'nobody'"),
    ):
        done = subprocess.run([*COMMAND, *arguments, "--data-dir", data], capture_output=True, text=True)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--host", "0.0.0.0"], "ANNOPORT_AUTH_MODE=users"),
        (["serve", "--port", "70000"], "ANNOPORT_PORT"),
        (["srve"], "Did you mean"),
        (["check", "no-such.zip"], "no-such.zip"),
        (["check", __file__.replace("test_cli.py", "test_clii.py")], "Did you mean 'test_cli.py'?"),
        (["check", str(Path(__file__).parent)], "make a zip of it"),
        (["healthcheck", "--url", "http://127.0.0.1:9"], "127.0.0.1:9"),
        (["healthcheck", "--url", "file:///etc/passwd"], "not an http address"),
    ],
)
def test_a_wrong_command_is_one_clear_message(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with running_service(tmp_path / "one", auth_mode="local") as service:
        port = service.url.rsplit(":", 1)[1]
        done = subprocess.run(
            [*COMMAND, "serve", "--port", port, "--data-dir", str(tmp_path / "two")],
            capture_output=True,
            text=True,
            env={**os.environ, "ANNOPORT_AUTH_MODE": "local"},
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}: another program has it" in done.stderr
    assert "take another port (annoport serve --port NUMBER" in done.stderr
    assert not (tmp_path / "two").exists(), "something was made or migrated before"


@pytest.mark.parametrize("name", [".", "annoport.sqlite3", "blobs"])
def test_a_folder_that_cannot_be_written_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only disk, which not every machine lets a test make."""
    annoport("migrate", "--data-dir", str(tmp_path))
    allowed, refused = os.access, tmp_path / name
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode, **more: not (mode & os.W_OK and Path(path) == refused) and allowed(path, mode, **more),
    )
    result = CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"Error: {refused} cannot be written" in result.output
    assert "ANNOPORT_DATA_DIR" in result.output


@pytest.mark.parametrize("command", [["migrate"], ["user", "add", "ann", "--password", "p"], ["serve", "--port", "0"]])
def test_a_folder_that_cannot_be_made_is_said_plainly(command: list[str]) -> None:
    done = subprocess.run([*COMMAND, *command, "--data-dir", "/proc/none"], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr == "Error: /proc/none: No such file or directory\n"


def test_a_check_that_settings_keep_from_running_found_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNOPORT_MAX_ZIP_RATIO", "many")
    result = CliRunner().invoke(main, ["check", str(make_zip(tmp_path / "sound.zip"))])
    assert (result.exit_code, "ANNOPORT_MAX_ZIP_RATIO" in result.output) == (2, True)


def test_a_setting_whose_name_is_nearly_right_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNOPORT_MAX_ZIP_RATO", "5")
    monkeypatch.setenv("ANNOPORT_TEST_ENVS", "none")
    result = CliRunner().invoke(main, ["serve", "--port", "70000"])  # which ends at once
    assert [line for line in result.output.splitlines() if line.startswith("Warning")] == [
        "Warning: ANNOPORT_MAX_ZIP_RATO is no setting; did you mean ANNOPORT_MAX_ZIP_RATIO?"
    ]


def test_check_takes_a_sound_archive(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(make_zip(tmp_path / "sound.zip"))])
    assert result.exit_code == 0, result.output
    assert "annotations/train-annotations-bbox.csv: 1 rows, 1 kept" in result.output


def test_check_names_each_problem_with_its_place(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "bad.zip", "abc")
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert "annotations/train-annotations-bbox.csv:2:YMax: value.not_number" in result.output
    report = json.loads(CliRunner().invoke(main, ["check", str(path), "--json"]).output)
    assert report["counts"]["value.not_number"] == 1
    assert report["problems"][0]["value"] == "abc"


def test_check_against_given_frames_and_labels(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "sound.zip")
    (tmp_path / "frames.txt").write_text("b.jpg 10 20\n")
    (tmp_path / "labels.json").write_text('[{"name": "dog"}]')
    arguments = [
        "check",
        str(path),
        "--frames",
        str(tmp_path / "frames.txt"),
        "--labels",
        str(tmp_path / "labels.json"),
    ]
    report = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)
    assert report["counts"]["image.unmatched"] == 1
    assert report["counts"]["label.unknown"] == 1


def test_check_takes_every_option_of_an_import(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "sound.zip")
    (tmp_path / "labels.txt").write_text("bird\n")
    arguments = ["check", str(path), "--labels", str(tmp_path / "labels.txt"), "--json"]
    assert json.loads(CliRunner().invoke(main, arguments).output)["counts"] == {"label.unknown": 1}
    created = json.loads(CliRunner().invoke(main, [*arguments, "-o", "labels=create"]).output)
    assert [label["name"] for label in created["created_labels"]] == ["cat"]
    mapped = CliRunner().invoke(main, [*arguments, "--option", "map=label:cat=bird"])
    assert json.loads(mapped.output)["n_errors"] == 0
    wrong = CliRunner().invoke(main, [*arguments, "-o", "clases=cat"])
    assert (wrong.exit_code, "Did you mean" in wrong.output, "classes" in wrong.output) == (2, True, True)
    assert CliRunner().invoke(main, [*arguments, "-o", "labels"]).exit_code == 2


def test_the_contract_is_written_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    assert CliRunner().invoke(main, ["openapi", "--output", str(path)]).exit_code == 0
    assert json.loads(path.read_text())["openapi"].startswith("3.")
    assert CliRunner().invoke(main, ["openapi", "--check", str(path)]).exit_code == 0
    path.write_text(path.read_text() + " ")
    result = CliRunner().invoke(main, ["openapi", "--check", str(path)])
    assert result.exit_code == 1
    assert "out of date" in result.output


def test_demo_shows_the_main_job(tmp_path: Path) -> None:
    told = annoport(
        "demo", "--stop", "--frames", "2", "--output", str(tmp_path), environ={"ANNOPORT_AUTH_MODE": "local"}
    )
    assert "imported it" in told
    with zipfile.ZipFile(tmp_path / "upload.zip") as sent, zipfile.ZipFile(tmp_path / "demo.zip") as back:
        name = "annotations/train-annotations-bbox.csv"
        assert back.read(name) == sent.read(name)
        assert {n for n in sent.namelist() if n.startswith("masks/")} <= set(back.namelist())
        assert sum(n.startswith("images/train/") for n in back.namelist()) == 2


def test_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    service = start_service(tmp_path, auth_mode="local")
    try:
        before = [pid for pid in family(service.process.pid) if pid != service.process.pid]
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            now = [pid for pid in family(service.process.pid) if pid != service.process.pid and pid not in before]
            if len(now) >= 2:
                break
            time.sleep(0.1)
        assert len(now) >= 2
    finally:
        service.stop()


def test_children_do_not_outlive_a_killed_service(tmp_path: Path) -> None:
    service = start_service(tmp_path, auth_mode="local")
    children = [pid for pid in family(service.process.pid) if pid != service.process.pid]
    assert children
    service.process.kill()
    service.process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(_runs(pid) for pid in children):
        time.sleep(0.05)
    assert [pid for pid in children if _runs(pid)] == []


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "app.cli", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("annoport, version ")


@pytest.mark.parametrize("n_files", [8, 20, 63])
def test_a_service_that_may_open_too_few_files_says_so(tmp_path: Path, n_files: int) -> None:
    command = ["serve", "--port", "0", "--data-dir", str(tmp_path), "--workers", "1"]
    limited = f"ulimit -n {n_files}; exec {shlex.join([*COMMAND, *command])}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "files" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_machine_refuses_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where it is seen by what goes wrong after it."""

    def refused(settings: Settings) -> int:
        try:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        finally:
            raise RuntimeError("cannot close a loop that runs")

    monkeypatch.setattr("app.main.run_service", refused)
    result = CliRunner().invoke(main, ["serve", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "short of open files" in result.output
