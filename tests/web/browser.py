"""A browser that minds its manners: whatever a page may not do makes the test fail at its end."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Guard:
    """What a page said and asked for.

    Attributes:
        allowed: patterns of console errors that a test brings about on purpose.
    """

    host: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    bytes_received: int = 0
    refusals: list[Any] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        page.on("response", lambda answer: self.refusals.append(answer) if answer.status >= 400 else None)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(f"page error: {error}"))
        page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.foreign.append(request.url)

    def unexpected(self) -> list[str]:
        return [e for e in self.errors if not any(re.search(pattern, e) for pattern in self.allowed)]

    def read_refusals(self) -> None:
        """What the service said where an error is unexpected; read while the pages that asked are open."""
        if unexpected := "\n".join(self.unexpected()):
            for answer in self.refusals:
                if answer.url in unexpected:
                    with contextlib.suppress(Exception):  # one that was broken off has no text
                        self.errors.append(f"{answer.status} of {answer.url} said: {answer.text()[:2000]}")

    def check(self) -> None:
        assert not self.unexpected(), "\n".join(self.unexpected())
        assert not self.foreign, f"asked other hosts: {self.foreign}"
