"""What the service sends: the policy, the files, their caching, the samples. No browser needed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.api.pages import LIBRARIES, WEB, current_site, resolve_module
from tests.service import Service
from tests.web.refresh_vendor import AXE, VENDOR, digest
from tests.web.screenshots import CHOSEN, KEPT
from tests.web.tasks import Caller

ADDRESSES = ("/", "/tasks", "/tasks/new", "/tasks/7", "/tasks/7/import", "/activity", "/tokens", "/help")
MAX_FIRST_VIEW_BYTES = 150_000


def fetch(service: Service, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(service.url + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def directives(headers: Any) -> dict[str, list[str]]:
    return {part.split()[0]: part.split()[1:] for part in headers["Content-Security-Policy"].split(";")}


@pytest.mark.parametrize("path", ADDRESSES)
def test_each_address_gives_the_page_under_a_strict_policy(local_service: Service, path: str) -> None:
    status, headers, body = fetch(local_service, path)
    assert status == 200
    policy = directives(headers)
    assert policy["default-src"] == ["'none'"]
    assert policy["style-src"] == policy["connect-src"] == ["'self'"]
    nonce = re.search(rb'<script type="importmap" nonce="([\w-]+)">', body)
    assert nonce is not None
    assert policy["script-src"] == ["'self'", f"'nonce-{nonce.group(1).decode()}'"]
    assert not any("unsafe" in value or "//" in value or value == "*" for values in policy.values() for value in values)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_every_page_has_a_nonce_of_its_own(local_service: Service) -> None:
    nonces = {tuple(directives(fetch(local_service, "/")[1])["script-src"]) for _ in range(5)}
    assert len(nonces) == 5


def test_nothing_is_inline_and_nothing_is_elsewhere() -> None:
    texts = {path: path.read_text() for path in WEB.rglob("*") if path.suffix in (".js", ".html", ".css")}
    ours = {path: text for path, text in texts.items() if "vendor" not in path.parts}
    for path, text in ours.items():
        assert not re.search(r"\son\w+=[\"']", text), f"{path}: an inline handler"
        assert not re.search(r"""[\s`]style=["'$]""", text), f"{path}: an inline style"
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|unsafeHTML", text), (
            path
        )
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert all(address.startswith("http://www.w3.org/") for address in addresses), f"{path}: {addresses}"


def test_files_are_kept_for_ever_under_the_name_of_their_build(local_service: Service) -> None:
    site = current_site()
    status, headers, body = fetch(local_service, f"{site.base}js/app.js", **{"Accept-Encoding": "gzip"})
    assert status == 200
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == (WEB / "js" / "app.js").read_bytes()
    assert headers["Content-Type"].startswith("text/javascript")
    again, _, nothing = fetch(local_service, f"{site.base}js/app.js", **{"If-None-Match": headers["ETag"]})
    assert (again, nothing) == (304, b"")


def test_a_tab_of_an_older_build_gets_the_file_but_asks_again(local_service: Service) -> None:
    status, headers, body = fetch(local_service, "/web/0123456789ab/app.css")
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    assert body == (WEB / "app.css").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["../api/pages.py", "%2e%2e/api/pages.py", "README.md", "index.html", "js/none.js", "vendor/lit/LICENSE", ""],
)
def test_only_files_of_the_page_are_given(local_service: Service, path: str) -> None:
    assert fetch(local_service, f"{current_site().base}{path}")[0] == 404


def test_the_modules_are_found_before_the_browser_asks_for_them() -> None:
    site = current_site()
    modules = site.modules()
    assert modules[0] == "js/app.js"
    own = {path for path in site.files if path.startswith("js/")}
    assert own <= set(modules), "a module that nothing imports, or only later"
    assert "vendor/tus-js-client/tus.min.js" not in modules, "fetched when the first upload begins"
    assert resolve_module("js/pages/task.js", "../api.js") == "js/api.js"
    assert resolve_module("js/app.js", "lit-html/directives/repeat.js") == "vendor/lit-html/directives/repeat.js"
    assert set(LIBRARIES.values()) - {"vendor/lit-html/", "vendor/lit-element/"} <= set(site.files)


def test_the_first_view_is_light() -> None:
    site = current_site()
    sent = [*site.modules(), "app.css", "logo.svg"]
    total = len(site.index("n" * 22)) + sum(len(site.files[path].packed) for path in sent)
    print(f"\n{len(sent) + 1} files of the first view, packed: {total:,} bytes")
    assert total < MAX_FIRST_VIEW_BYTES, f"{total:,} bytes"


def test_the_pictures_that_the_readme_shows_are_there_and_small() -> None:
    text = (WEB / "README.md").read_text()
    shown = set(re.findall(r"\]\(\.\./\.\./tests/web/screenshots/([\w-]+)\.webp\)", text))
    assert shown == CHOSEN == {path.stem for path in KEPT.iterdir()}
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 900_000


def test_what_is_written_about_the_page_is_not_packed_with_it() -> None:
    tools = tomllib.loads((WEB.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert tools["exclude-package-data"]["app"] == ["web/README.md"]


@pytest.mark.parametrize("folder", [VENDOR, AXE], ids=["page", "tests"])
def test_libraries_are_as_published_with_their_licences(folder: Path) -> None:
    packages = json.loads((folder / "vendor.json").read_text())
    listed = {name: value for package in packages for name, value in package["files"].items()}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"vendor.json"}
    assert there == set(listed)
    assert {name: digest(folder / name) for name in listed} == listed
    for package in packages:
        assert any("LICENSE" in name for name in package["files"]), package["package"]


def test_unknown_addresses_are_not_the_page(local_service: Service) -> None:
    status, headers, _ = fetch(local_service, "/nothing/here")
    assert (status, headers["Content-Type"]) == (404, "application/json")


def test_the_logo_is_where_clients_are_told_it_is(local_service: Service, caller: Caller) -> None:
    told = caller.call("GET", "/api/server/about")["logo_url"]
    assert told == f"{local_service.url}/logo.svg"
    assert fetch(local_service, "/logo.svg")[2].startswith(b"<svg")


def test_samples_are_the_same_each_time_and_go_in(local_service: Service, caller: Caller) -> None:
    whole = fetch(local_service, "/samples/open-images-sample.zip")
    assert whole[1]["Content-Disposition"].startswith('attachment; filename="open-images-sample.zip"')
    assert (
        hashlib.sha256(whole[2]).digest()
        == hashlib.sha256(fetch(local_service, "/samples/open-images-sample.zip")[2]).digest()
    )
    with zipfile.ZipFile(io.BytesIO(whole[2])) as archive:
        assert archive.testzip() is None
        pictures = {name: archive.read(name) for name in archive.namelist() if name.endswith(".jpg")}
    task = caller.task("sample", pictures, ["Boat", "Buoy", "Crate", "Sun"])
    report = caller.load(task, fetch(local_service, "/samples/open-images-tables.zip")[2])
    assert report["n_errors"] == 0
    assert report["annotations"]["shapes"] == 120
    with pytest.raises(urllib.error.HTTPError) as refused:
        caller.load(task, fetch(local_service, "/samples/open-images-mistakes.zip")[2])
    problems = json.loads(refused.value.read())["counts"]
    assert {"image.unmatched", "label.unknown", "value.range", "value.not_number", "box.inverted"} <= set(problems)
    assert fetch(local_service, "/samples/other.zip")[0] == 404
