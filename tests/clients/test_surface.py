"""The tables of what works (openapi/README.md), against the clients' real methods and commands, called one by one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.runners import FORMAT, Clients
from tests.samples import OpenImages, picture, write_pictures

PAGE = Path(__file__).parents[2] / "openapi" / "README.md"
SIZES = {"a.png": (64, 48), "b.png": (64, 48), "c.png": (40, 30)}
Table = dict[str, tuple[set[str], set[str]]]


def table(head: str) -> Table:
    """First column → (what works, what does not), of the table with this first heading."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"| `{head}` | works | does not |") + 2
    found: Table = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        names, works, fails = (set(re.findall(r"`([\w-]+)`", cell)) for cell in line.split("|")[1:4])
        names = names or {line.split("|")[1].strip()}
        found |= dict.fromkeys(names, (works, fails))
    return found


def archive(*images: str) -> OpenImages:
    built = OpenImages(classes=[("cat", "cat")])
    for image in images:
        built.images.append((image, "default"))
        built.box(image, "cat", ("0.125", "0.5", "0.25", "0.75"))
    return built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surface")
    write_pictures(folder / "in", SIZES)
    archive("a", "b", "c").write(folder / "all.zip")
    archive("a", "b").write(folder / "job.zip")
    dataset = archive("a")
    dataset.more = {"images/default/a.png": picture(64, 48)}
    dataset.write(folder / "dataset.zip")
    return folder


@pytest.fixture(scope="module")
def told(clients: Clients, folder: Path) -> Any:
    (folder / "out").mkdir()
    return clients.sdk(
        "surface",
        folder=str(folder / "out"),
        pictures=[str(folder / "in" / name) for name in SIZES],
        archive=str(folder / "all.zip"),
        boxes=3,
        job_archive=str(folder / "job.zip"),
        dataset=str(folder / "dataset.zip"),
    )


def test_the_table_names_every_method_of_the_sdk(told: Any) -> None:
    named = {kind: works | fails for kind, (works, fails) in table("cvat_sdk").items()}
    # Shown by the table's first words alone: what it says of `User` is not asked for where README names a command.
    named["User"] -= {"annoport"}
    assert named == {kind: set(methods) for kind, methods in told["there"].items()}


def test_what_the_table_says_works_has_worked(told: Any) -> None:
    rows = table("cvat_sdk").items()
    assert {f"{kind}.{name}" for kind, (works, _) in rows for name in works} == set(told["worked"])


def test_what_the_table_says_does_not_work_is_refused(told: Any) -> None:
    fails = {f"{kind}.{name}" for kind, (_, fails) in table("cvat_sdk").items() for name in fails}
    without_an_organization = {f"Organization.{name}" for name in ("fetch", "remove", "update")}
    assert set(told["failed"]) == fails - without_an_organization


@pytest.mark.parametrize("group", ["task", "project", "profile", "function"])
def test_the_table_names_every_command(clients: Clients, group: str) -> None:
    works, fails = table("cvat-cli")[group]
    usage = clients.cli(group, "--help", auth=None).out
    match = re.search(r"\{([^}]+)\}", usage)
    assert match is not None
    assert works | fails == set(re.sub(r"\s", "", match[1]).split(","))


def test_the_table_names_every_group_and_alias(clients: Clients) -> None:
    rows = table("cvat-cli")
    usage = re.search(r"\{([^}]+)\}", clients.cli("--help", auth=None).out)
    assert usage is not None
    there = set(re.sub(r"\s", "", usage[1]).split(","))
    assert (rows.keys() - {"deprecated"}) | rows["deprecated"][0] == there
    assert clients.cli("config", "default-server", "http://127.0.0.1:9", auth=None).out
    assert "http://127.0.0.1:9" in clients.cli("config", "default-server", auth=None).out
    clients.cli("config", "default-server", "--unset", auth=None)


@pytest.fixture(scope="module")
def low_level(clients: Clients, folder: Path) -> Any:
    (folder / "low").mkdir()
    return clients.sdk(
        "low_level",
        folder=str(folder / "low"),
        pictures=[str(folder / "in" / name) for name in ("a.png", "b.png")],
        archive=str(folder / "job.zip"),
        job_archive=str(folder / "job.zip"),
        dataset=str(folder / "dataset.zip"),
    )


def test_the_table_names_every_generated_call_and_how_it_ends(low_level: Any) -> None:
    rows = table("ApiClient")
    assert {kind: works | fails for kind, (works, fails) in rows.items()} == {
        kind: set(calls) for kind, calls in low_level["there"].items()
    }
    assert {f"{kind}.{name}" for kind, (works, _) in rows.items() for name in works} == set(low_level["worked"])
    assert low_level["named"], "the file of a backup has the name that was asked for"


def test_generated_calls_that_are_not_offered_say_so(low_level: Any) -> None:
    rows = table("ApiClient")
    assert {f"{kind}.{name}" for kind, (_, fails) in rows.items() for name in fails} == set(low_level["refusals"])
    known = {(404, "not_offered"), (400, "unsupported"), (405, "request.method")}
    assert low_level["refusals"].pop("JobsApi.destroy")[0] in (400, 404), "that of a job that is there, or is not"
    for call, (status, code, has_detail) in low_level["refusals"].items():
        assert (status, code) in known, call
        assert has_detail, call


def test_deprecated_commands_do_what_the_new_ones_do(clients: Clients, folder: Path, tmp_path: Path) -> None:
    pictures = [str(folder / "in" / name) for name in SIZES]
    number = clients.cli("create", "old ways", "--labels", '[{"name": "cat"}]', "local", *pictures).out.split()[-1]
    assert number in clients.cli("ls").out.split()
    clients.cli("frames", "--outdir", str(tmp_path), number, "1")
    clients.cli("upload", "--format", FORMAT, number, str(folder / "all.zip"))
    clients.cli("dump", "--format", FORMAT, number, str(tmp_path / "dump.zip"))
    clients.cli("export", number, str(tmp_path / "backup.zip"))
    restored = clients.cli("import", str(tmp_path / "backup.zip")).out.split()[-1]
    (tmp_path / "boxes.py").write_text(FUNCTION)
    clients.cli("auto-annotate", restored, "--function-file", str(tmp_path / "boxes.py"), "--clear-existing")
    assert len(clients.get(f"/api/tasks/{restored}/annotations/")["shapes"]) == len(SIZES)
    clients.cli("delete", number, restored)


def test_the_adapters_keep_a_cache_that_every_change_drops(clients: Clients, folder: Path) -> None:
    told = clients.sdk(
        "cached", pictures=[str(folder / "in" / name) for name in SIZES], archive=str(folder / "all.zip")
    )
    assert told["stale"] == []
    assert told["names"] == ["dog"]
    assert told["online"] == [["a.png", [64, 48], 1, 0], ["b.png", [64, 48], 1, 0]]
    assert told["offline"] == told["on_demand"] == told["gone_but_cached"] == told["online"]


FUNCTION = """
import cvat_sdk.auto_annotation as cvataa

spec = cvataa.DetectionFunctionSpec(labels=[cvataa.label_spec("cat", 0)])


def detect(context, image):
    return [cvataa.rectangle(0, [0, 0, image.width / 2, image.height / 2])]
"""


def test_the_command_line_annotates_by_a_function(clients: Clients, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.py").write_text(FUNCTION)
    pictures = [str(folder / "in" / name) for name in SIZES]
    made = clients.cli("task", "create", "auto", "--labels", '[{"name": "cat"}]', "local", *pictures)
    number = made.out.split()[-1]
    clients.cli("task", "auto-annotate", number, "--function-file", str(tmp_path / "boxes.py"))
    shapes = clients.get(f"/api/tasks/{number}/annotations/")["shapes"]
    assert [(each["frame"], each["points"]) for each in shapes] == [
        (0, [0, 0, 32, 24]),
        (1, [0, 0, 32, 24]),
        (2, [0, 0, 20, 15]),
    ]
    clients.cli("task", "delete", number)


def test_profiles_keep_a_token_for_the_command_line(clients: Clients) -> None:
    _, body, _ = clients.raw("POST", "/api/auth/access_tokens", b'{"name": "kept"}', Content_Type="application/json")
    secret = json.loads(body)["value"]
    clients.cli("profile", "create", secret, auth=None)
    assert "kept" in clients.cli("profile", "list", auth=None).out
    clients.cli("profile", "default", "kept", auth=None)
    clients.cli("profile", "delete", "kept", auth=None)
    assert "kept" not in clients.cli("profile", "list", auth=None).out


def test_formats_of_data_that_are_not_offered_are_refused_with_a_sentence(clients: Clients) -> None:
    ended = clients.cli(
        "task", "create", "far", "--labels", '[{"name": "cat"}]', "remote", "https://host/a.png", ok=False
    )
    assert ended.code != 0
    assert "pictures are not fetched from other addresses" in ended.err
    share = clients.cli("task", "create", "share", "--labels", '[{"name": "cat"}]', "share", "a.png", ok=False)
    assert "there is no share of server files" in share.err
    _, body, _ = clients.raw("POST", "/api/tasks", b'{"name": "empty"}', Content_Type="application/json")
    number = str(json.loads(body)["id"])
    early = clients.cli("task", "import-dataset", "--format", FORMAT, number, str(PAGE), ok=False)
    assert "upload its pictures first" in early.err
