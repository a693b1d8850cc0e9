"""One service for all tests of the page, a browser for each module of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service import Service
from tests.web.browser import Guard, chromium_path, open_browser
from tests.web.tasks import Caller

PATIENCE_MS = 60_000
"""A test waits so long for what it expects: machines that run many tests at once are slow, and no test is of speed."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Ends with its module: while it is open, its event loop counts as running, and other tests could start none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page's tests need playwright: pip install playwright"
    )
    playwright.expect.set_options(timeout=PATIENCE_MS)
    if chromium_path() is None:
        pytest.skip("the page's tests need a chromium on the path")
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def caller(local_service: Service) -> Caller:
    return Caller(local_service.url)


@pytest.fixture
def guard(local_service: Service) -> Guard:
    return Guard(urlsplit(local_service.url).netloc)


@dataclass
class Visitor:
    """Somebody who comes back: what the browser keeps of the page's own files stays from test to test, as fetching and
    compiling them took more than half of a test's time. All else that a test leaves goes (`forget`)."""

    context: Any
    blank: Any
    devtools: Any

    def forget(self, *origins: str) -> None:
        for page in self.context.pages:
            if page is not self.blank:
                page.close()
        kinds = "cookies,local_storage,indexeddb,cache_storage,service_workers,file_systems,websql"
        for origin in origins:
            self.devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": kinds})
        self.context.clear_cookies()
        self.context.clear_permissions()


@pytest.fixture(scope="module")
def new_context(browser: Any, local_service: Service) -> Callable[..., Any]:
    """A browser that never was here, with options of Playwright."""

    def make(**options: Any) -> Any:
        view = {"width": 1280, "height": 800}
        context = browser.new_context(**{"base_url": local_service.url, "viewport": view, **options})
        context.set_default_timeout(PATIENCE_MS)
        return context

    return make


@pytest.fixture(scope="module")
def visitor(new_context: Callable[..., Any]) -> Callable[..., Visitor]:
    """The module's visitor with these options."""
    known: dict[str, Visitor] = {}

    def find(**options: Any) -> Visitor:
        key = repr(sorted(options.items()))
        if key not in known:
            context = new_context(**options)
            blank = context.new_page()
            known[key] = Visitor(context, blank, context.new_cdp_session(blank))
        return known[key]

    return find


@pytest.fixture
def open_page(
    new_context: Callable[..., Any], visitor: Callable[..., Visitor], local_service: Service, guard: Guard
) -> Iterator[Callable[..., Any]]:
    """Opens an address of the page, for a visitor who comes back, or for one who `is_new`; at the end nothing may have
    gone wrong in any of them."""
    contexts: list[Any] = []
    visitors: list[Visitor] = []

    def open_at(path: str = "/", *, is_new: bool = False, **options: Any) -> Any:
        if is_new:
            contexts.append(new_context(**options))
            page = contexts[-1].new_page()
        else:
            visitors.append(visitor(**options))
            page = visitors[-1].context.new_page()
        guard.watch(page)
        page.goto(path)
        return page

    yield open_at
    guard.read_refusals()
    for context in contexts:
        context.close()
    for each in visitors:
        each.forget(local_service.url, f"http://{guard.host}")
    guard.check()
