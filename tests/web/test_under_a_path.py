"""The page behind a proxy that serves it under a path: every address stays below it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.nginx import running_nginx
from tests.ports import free_port
from tests.service import Service, start_service
from tests.web.browser import Guard
from tests.web.tasks import Caller, archive, box

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (package nginx-light)")

UNDER = "/annotations/of/us"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service's address as browsers know it."""
    folder = tmp_path_factory.mktemp("path")
    port = free_port()
    url = f"http://127.0.0.1:{port}{UNDER}"
    service: Service = start_service(folder / "service", auth_mode="local", environ={"ANNOPORT_PUBLIC_URL": url})
    try:
        with running_nginx(folder, f"{service.url}/", port, f"{UNDER}/"):
            yield url
    finally:
        assert service.stop() == 0, service.tail()


def test_the_page_works_under_a_path(browser: Any, address: str, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    guard, elsewhere = Guard(urlsplit(address).netloc), []
    caller = Caller(address)
    task = caller.task("below", 3)
    caller.load(task, archive([box("p000")]))
    upload = tmp_path / "upload.zip"
    upload.write_bytes(archive([box("p000"), box("p001")]))
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    guard.watch(page)
    page.on("request", lambda request: elsewhere.append(request.url) if not below(request.url, address) else None)
    page.goto(f"{address}/")
    page.get_by_role("link", name=re.compile("below")).first.click()
    expect(page).to_have_url(re.compile(f"^{re.escape(address)}/tasks/{task}"))
    expect(page.locator(".shapes rect")).to_have_count(1)
    page.get_by_role("link", name="Import").click()
    expect(page).to_have_url(f"{address}/tasks/{task}/import")
    page.locator("input[type=file]").first.set_input_files(upload)
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.locator(".verdict.good")).to_be_visible()
    page.get_by_role("link", name="Export", exact=True).click()
    expect(page).to_have_url(f"{address}/tasks/{task}/export")
    with page.expect_download() as got:
        page.get_by_role("link", name="Download below.zip").click()
    assert got.value.suggested_filename == "below.zip"
    expect(page.locator("ap-commands")).to_contain_text(f"{address}/api/tasks/{task}/")
    page.goto(f"{address}/tasks/{task}/health")  # opened by its address, deep down
    expect(page.locator("h2").first).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{address}/tasks/{task}/export")
    for name in ("Activity", "Help", "Tasks"):
        page.get_by_role("link", name=name).first.click()
        expect(page.locator("main h1, main h2").first).to_be_visible()
    context.close()
    assert not elsewhere
    guard.check()


def below(url: str, address: str) -> bool:
    return url.startswith((f"{address}/", "blob:", "data:"))
