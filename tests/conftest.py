"""Fixtures of the whole service. What one package's tests share lives in that package's own folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster.processes import Cluster, running_cluster
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


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two web processes and two workers behind nginx, on PostgreSQL and a bucket; exports come from the bucket."""
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(folder, 2, 2, environ={"ANNOPORT_BLOB_REDIRECTS": "true"}) as running:
        yield running


def pytest_configure(config: pytest.Config) -> None:
    """Of hypothesis: no time is a failure (a busy machine stands still for longer than any example takes), and two runs
    of one state of the house see the same examples; `-m long` draws new ones."""
    settings.register_profile(
        "house",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize="long" not in config.option.markexpr,
    )
    settings.load_profile("house")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `bench` or `long` run only when `-m` asks for them (or when one is named by its id)."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("bench") or item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """The tests themselves are no garbage before the end; looking for it among them took a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 10)
