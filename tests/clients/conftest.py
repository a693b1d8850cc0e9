"""CVAT's clients for the services of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.runners import Clients
from tests.service import Service

# Every test is for both shapes. Those that send and fetch bytes, or start background work, always run on both; of the
# others, which only ask for rows, the second run is among the long ones.
ON_BOTH = ("test_cli", "test_exchange", "test_cut_upload", "test_backups")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        shape = getattr(item, "callspec", None) and item.callspec.params.get("clients")
        if shape == "cluster" and item.path.stem not in ON_BOTH:
            item.add_marker("long")


@pytest.fixture(scope="session", params=["embedded", "cluster"])
def clients(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    running = request.getfixturevalue({"embedded": "service", "cluster": "cluster"}[request.param])
    return Clients(running, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def local_clients(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(local_service, tmp_path_factory.mktemp("home"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder for the pictures of one test."""
    return tmp_path / "pictures"
