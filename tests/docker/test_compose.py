"""The compose files and nginx.conf, checked without a container runtime: every path, setting, port, command and name in
them exists and fits the others. That they run is proven by `tests/cluster`: its processes are started with the
environment, the bucket's command and the nginx.conf of these files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.cli import main
from app.settings import Settings
from tests.cluster.processes import nginx_conf, nginx_program
from tests.docker.test_dockerfile import only
from tests.engines import compose
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
FILES = ("compose.yaml", "compose.cluster.yaml")
CLUSTER = "compose.cluster.yaml"
NGINX = (ROOT / "docker" / "nginx.conf").read_text()


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(name)["services"]
    return found


def ours(name: str) -> dict[str, Any]:
    """The services that are this program."""
    return {each: body for each, body in services(name).items() if body["image"] == "annoport"}


def environ_of(body: dict[str, Any]) -> dict[str, str]:
    """The environment as a container sees it, with secrets filled in."""
    return {name: re.sub(r"\$\{\w+:\?[^}]*\}", "secret", str(value)) for name, value in body["environment"].items()}


def port_of(body: dict[str, Any]) -> str:
    command = body.get("command", [])
    return str(command[command.index("--port") + 1]) if "--port" in command else only("EXPOSE")


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_of_the_compose_schema(name: str) -> None:
    command = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / "docker" / name)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_every_setting_exists_and_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ours(name).values():
        environ = environ_of(body)
        given = {key.removeprefix("ANNOPORT_").lower() for key in environ if key.startswith("ANNOPORT_")}
        assert given
        assert given <= Settings.model_fields.keys()
        assert {key for key in environ if not key.startswith("ANNOPORT_")} <= AWS
        for key, value in environ.items():
            monkeypatch.setenv(key, value)
        settings = Settings(auth_mode="users", host="0.0.0.0")
        grace = int(str(body["stop_grace_period"]).removesuffix("s"))
        assert grace > settings.stop_timeout_seconds, "it would be killed while it still may work"


AWS = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}


@pytest.mark.parametrize("name", FILES)
def test_every_command_and_option_exists(name: str) -> None:
    for body in ours(name).values():
        if "command" not in body:
            continue  # the image's own
        first, *options = body["command"]
        command = main.commands[first]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.parametrize("name", FILES)
def test_every_file_and_volume_exists(name: str) -> None:
    whole = compose(name)
    for body in services(name).values():
        if "build" in body:
            context = (ROOT / "docker" / body["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / body["build"]["dockerfile"]).is_file()
        for volume in body.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (ROOT / "docker" / source).is_file()
            else:
                assert source in whole["volumes"]
            if body["image"] == "annoport":
                assert target == only("VOLUME")


@pytest.mark.parametrize("name", FILES)
def test_published_ports_are_local_and_served(name: str) -> None:
    for each, body in services(name).items():
        for published in body.get("ports", []):
            address, outside, inside = published.split(":")
            assert (address, outside) == ("127.0.0.1", "8080")
            assert inside == (port_of(body) if each != "nginx" else re.findall(r"listen (\d+);", NGINX)[0])


@pytest.mark.parametrize("name", FILES)
def test_who_is_waited_for_can_be_waited_for(name: str) -> None:
    known = services(name)
    for body in known.values():
        for other, how in body.get("depends_on", {}).items():
            waited = known[other]
            if how["condition"] == "service_healthy":
                checked = "healthcheck" in waited or waited["image"] == "annoport"  # the image has one of its own
                assert checked
                assert not waited.get("healthcheck", {}).get("disable")
            else:
                assert how["condition"] == "service_completed_successfully"
                assert waited["restart"] == "no"


def test_the_services_of_the_cluster_find_each_other() -> None:
    known = services(CLUSTER)
    for body in ours(CLUSTER).values():
        environ = environ_of(body)
        url = sa.make_url(environ["ANNOPORT_DATABASE_URL"])
        database = environ_of(known[str(url.host)])
        assert (url.username, url.database, url.port) == (database["POSTGRES_USER"], database["POSTGRES_DB"], 5432)
        assert url.password == database["POSTGRES_PASSWORD"] == "secret"
        host, port = environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
        bucket = known[host]
        assert f"-s3.port={port}" in bucket["command"]
        assert f"-ip={host}" in bucket["command"]
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert environ[key] == environ_of(bucket)[key]
    (host, port) = re.findall(r"server ([\w-]+):(\d+) max_fails=0;", NGINX)[0]
    assert host in ours(CLUSTER)
    assert port == port_of(known[host])


def test_secrets_are_asked_for_and_the_head_tells_how() -> None:
    text = (ROOT / "docker" / CLUSTER).read_text()
    head = text.partition("name:")[0]
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == {"POSTGRES_PASSWORD", "S3_SECRET_KEY"}
    assert all(f"{name}=%s" in head for name in asked)
    assert "docker/.env" in head
    assert subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=ROOT).returncode == 0


def test_the_database_has_connections_for_all() -> None:
    known = services(CLUSTER)
    command = known["postgres"]["command"]
    settings = dict(each.split("=") for each in command if "=" in each)
    needed = 0
    for each in ("web", "worker"):
        replicas = known[each]["deploy"]["replicas"]
        needed += replicas * (Settings.model_fields["database_connections"].default if each == "web" else 5)
        needed += replicas * (2 * 4 if each == "web" else 0)  # two export streams a web process
    assert needed + 10 <= int(settings["max_connections"])


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    conf = tmp_path / "nginx.conf"
    conf.write_text(nginx_conf(tmp_path, port, [port]))
    done = subprocess.run([nginx_program(), "-t", "-c", str(conf)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
