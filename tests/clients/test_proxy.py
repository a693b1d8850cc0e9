"""The clients behind a reverse proxy that ends TLS: at the root of a host, under a path, and after a restart."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import urllib.request
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients import meadow
from tests.clients.runners import FORMAT, SCRIPTS, Clients
from tests.environments import run_script
from tests.nginx import running_nginx
from tests.ports import free_port
from tests.samples import LABELS, read_archive, write_pictures
from tests.service import ADMIN, PASSWORD, start_service

pytestmark = [
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (package nginx-light)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

TLS = " ssl; ssl_certificate {folder}/host.pem; ssl_certificate_key {folder}/host.key"
FORWARDED = """
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
"""


def make_certificates(folder: Path) -> Path:
    """A certificate authority of our own and a host's certificate that it has signed; the authority's certificate."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=180)

    (folder / "san.cnf").write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    # Without the usage Python 3.13 does not believe in it.
    authority = ("-subj", "/CN=test authority", "-addext", "keyUsage = critical, keyCertSign, cRLSign")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *authority)
    openssl("req", *key, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=127.0.0.1")
    openssl(
        *("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "host.pem", "-days", "2", "-extfile", "san.cnf"),
    )
    return folder / "ca.pem"


def nginx(folder: Path, upstream: str, port: int, path: str = "/") -> AbstractContextManager[None]:
    """nginx that ends TLS in front of a service, until the block ends."""
    return running_nginx(folder, upstream, port, path, listen=TLS.format(folder=folder), headers=FORWARDED)


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
