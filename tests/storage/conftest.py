"""A store for each test, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.storage import Storage, User
from tests.storage.stores import ENGINES, open_store, user


@pytest.fixture(params=ENGINES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def admin(storage: Storage) -> User:
    return user(storage, "admin")


@pytest.fixture
def ann(storage: Storage) -> User:
    return user(storage, "ann")


@pytest.fixture
def bob(storage: Storage) -> User:
    return user(storage, "bob")
