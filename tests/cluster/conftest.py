"""One quiet cluster for the tests that only look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.processes import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), 2, 2) as running:
        yield running
