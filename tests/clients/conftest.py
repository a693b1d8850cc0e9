"""CVAT's clients for the services of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.runners import Clients
from tests.service import Service


@pytest.fixture(scope="session")
def clients(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(service, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def local_clients(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(local_service, tmp_path_factory.mktemp("home"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder for the pictures of one test."""
    return tmp_path / "pictures"
