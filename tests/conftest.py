"""Fixtures of the whole service. What one package's tests share lives in that package's own folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from app.archive import writer
from app.blocks import codec
from tests import passwords, statements
from tests.cluster.processes import Cluster, running_cluster
from tests.service import Service, running_service

TESTS = Path(__file__).parent


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


@pytest.fixture
def costly_passwords() -> Iterator[None]:
    """Passwords are hashed as the service does it."""
    with passwords.of_the_product():
        yield


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few lines are stored and exported as long ones are."""
    monkeypatch.setattr(codec, "SMALL_BYTES", 1)
    monkeypatch.setattr(writer, "SMALL_BYTES", 1)


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
    statements.share()
    passwords.cheapen()
    # With the values of all variables, as structlog shows a traceback by itself, one took seconds.
    *others, _ = structlog.get_config()["processors"]
    shown = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, shown])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first, so that no worker has one to itself at the end. Tests marked `bench` or `long` run
    only when `-m` asks for them (or when one is named by its id)."""
    ranks = {path: RANKS.get(path.relative_to(TESTS).as_posix(), len(RANKS)) for path in {item.path for item in items}}
    items.sort(key=lambda item: ranks[item.path])
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("bench") or item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


# Files that take longest, and those of the cluster, which takes long to start.
EARLY = (
    "faults/test_steps.py",
    "cluster/test_deaths.py",
    "cluster/test_shared.py",
    "clients/test_cli.py",
    "faults/test_processes.py",
    "clients/test_backups.py",
    "clients/test_exchange.py",
    "clients/test_cut_upload.py",
    "clients/test_surface.py",
    "clients/test_proxy.py",
    "web/test_task_page.py",
    "web/test_import_page.py",
    "web/test_whole_page.py",
    "faults/test_disk.py",
    "requests/test_kill.py",
    "hostile/test_hostile.py",
    "bench/test_bench.py",
    "test_house.py",
)
RANKS = {name: rank for rank, name in enumerate(EARLY)}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files go to the workers, and all that needs the cluster to one of them, so that one of it is started."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            needs_cluster = "[cluster" in nodeid or nodeid.startswith("tests/cluster/test_shared.py")
            return "cluster" if needs_cluster else str(super()._split_scope(nodeid))

    return Files(config, log)


def pytest_collection_finish() -> None:
    """The tests themselves are no garbage before the end; looking for it among them took a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 10)
