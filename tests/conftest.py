"""Fixtures of the whole service. What one package's tests share lives in that package's own folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import Service, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with users, one for the whole run: tests make their own tasks in it and look at no others."""
    with running_service(tmp_path_factory.mktemp("service"), auth_mode="users") as running:
        yield running


@pytest.fixture(scope="session")
def local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as `annoport serve` starts it by default: this machine only, no password needed."""
    with running_service(tmp_path_factory.mktemp("local"), auth_mode="local") as running:
        yield running
