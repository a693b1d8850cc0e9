"""The clients behind a reverse proxy that ends TLS: at the root of a host, under a path, and after a restart."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients import meadow
from tests.clients.runners import FORMAT, SCRIPTS, Clients
from tests.environments import run_script
from tests.samples import LABELS, read_archive, write_pictures
from tests.service import ADMIN, PASSWORD, start_service

pytestmark = [
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (package nginx-light)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

# What docker/README.md and the README say of proxies: sizes, no buffering of uploads, the forwarded headers.
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/host.pem; ssl_certificate_key {folder}/host.key;
    client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
    location {path} {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


def make_certificates(folder: Path) -> Path:
    """A certificate authority of our own and a host's certificate that it has signed; the authority's certificate."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    (folder / "san.cnf").write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    openssl("req", *key, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=127.0.0.1")
    openssl(
        *("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "host.pem", "-days", "2", "-extfile", "san.cnf"),
    )
    return folder / "ca.pem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, port: int, path: str = "/") -> Iterator[None]:
    """nginx in front of a service, until the block ends."""
    config = folder / "nginx.conf"
    config.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream, path=path))
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)
        if process.stderr:
            process.stderr.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proxy")
    write_pictures(folder / "in", meadow.SIZES)
    meadow.archive().write(folder / "upload.zip")
    return folder


def session(clients: Clients, folder: Path, url: str, authority: Path, **more: Any) -> Any:
    """The script of a team, which trusts the authority as its users would: by the environment."""
    request = {
        "url": url,
        "user": ADMIN,
        "password": PASSWORD,
        "format": FORMAT,
        "labels": LABELS,
        "pictures": [str(folder / "in" / name) for name in meadow.SIZES],
        "archive": str(folder / "upload.zip"),
        "folder": str(folder),
        **more,
    }
    environ = clients.environ(SSL_CERT_FILE=str(authority))
    return run_script("client", SCRIPTS / "behind_proxy.py", request, environ=environ)


def command_line(clients: Clients, url: str, authority: Path, *arguments: str) -> str:
    """cvat-cli at this address."""
    there = replace(clients, service=replace(clients.service, url=url))
    return there.cli(*arguments, SSL_CERT_FILE=str(authority)).out


@pytest.mark.parametrize("path", ["", "/annotations/of/us"], ids=["at the root of a host", "under a path"])
def test_the_clients_work_through_tls_and_after_a_restart(
    clients: Clients, folder: Path, tmp_path: Path, path: str
) -> None:
    """What they are sent to later (uploads, results, pages) has the public address; cookies are Secure."""
    authority, port = make_certificates(tmp_path), free_port()
    url = f"https://127.0.0.1:{port}{path}"
    environ = {"ANNOPORT_PUBLIC_URL": url}
    first = start_service(tmp_path / "service", environ=environ)
    try:
        with nginx(tmp_path, f"{first.url}/" if path else first.url, port, f"{path}/"):
            told = session(clients, folder, url, authority)
            cookies = login_cookies(url, authority)
            listed = command_line(clients, url, authority, "task", "ls")
            command_line(
                *(clients, url, authority, "task", "export-dataset", "--format", FORMAT, "--with-images", "yes"),
                *(str(told["task"]), f"{tmp_path}/out/"),
            )
    finally:
        assert first.stop() == 0, first.tail()
    assert len(cookies) == 2
    assert all("; Secure; SameSite=Lax" in line and line.endswith("SameSite=Lax") for line in cookies), cookies
    for address in (told["url"], told["result_url"], told["next"], told["upload"]["location"]):
        assert address.startswith(f"{url}/api/"), address
    assert told["shapes"] > 0
    assert told["frames"] == list(meadow.SIZES)
    assert told["jobs"] == len(meadow.SIZES)
    assert told["begun_with"] == 204
    assert told["refused"] == 403, "a page of another site"
    assert str(told["task"]) in listed.split()
    exported = read_archive(folder / "behind.zip")
    assert [read_archive(each) for each in (tmp_path / "out").iterdir()] == [exported]

    if path:
        return  # once is enough for what follows
    # The same data folder, so the user is there already.
    second = start_service(tmp_path / "service", auth_mode="local", environ={**environ, "ANNOPORT_AUTH_MODE": "users"})
    try:
        with nginx(tmp_path, f"{second.url}/" if path else second.url, port, f"{path}/"):
            kept = {name: told[name] for name in ("task", "token", "upload")}
            again = session(clients, folder, url, authority, **kept)
    finally:
        assert second.stop() == 0, second.tail()
    assert again["shapes"] == told["shapes"]
    assert again["by_token"] == ADMIN
    assert read_archive(folder / "behind.zip") == exported
    assert (again["upload"], again["offset"] > 0) == ("finished", True), "an upload goes on where it was"


def login_cookies(url: str, authority: Path) -> list[str]:
    context = ssl.create_default_context(cafile=str(authority))
    body = f'{{"username": "{ADMIN}", "password": "{PASSWORD}"}}'.encode()
    request = urllib.request.Request(f"{url}/api/auth/login", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return list(answer.headers.get_all("Set-Cookie"))
