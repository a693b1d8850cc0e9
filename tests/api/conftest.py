"""A whole API over a real store in a temporary folder.

client              the local admin, no credentials (auth_mode=local)
make_client(name)   a user of that name, by access token, where everybody must log in (auth_mode=users)
storage, services   what is behind both
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from app.api import ApiSettings, Services, build_app
from app.columns import Ragged
from app.formats.base import Format
from app.requests import Queue, open_queue
from app.storage import FrameColumns, FramePlaces, Storage, Task, TaskData, User, tasks, tokens, users
from tests.storage.stores import ENGINES, Place, place_of

with warnings.catch_warnings():
    # Starlette asks for a fork of httpx that is not needed for what these tests do.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

BASE_URL = "http://localhost"

MakeClient = Callable[..., TestClient]


def nothing(*_: object) -> None:
    """The reader and the writer of a format that is only listed."""


FORMATS = (
    Format(name="Open Images V6", version="1.0", accepts=lambda names: True, read=nothing, write=nothing),
    Format(name="Write Only", version="2.1", accepts=lambda names: False, read=None, write=nothing),
)


# Every test is for both engines. Those that take and give bytes, start background work or make SQL of what a client
# sends always run on both; of the others the second run is among the long ones: what they ask of the store is tested
# there, on both.
ON_BOTH = (
    "test_uploads",
    "test_tus",
    "test_direct",
    "test_backups",
    "test_filters",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        engine = getattr(item, "callspec", None) and item.callspec.params.get("place")
        if engine == "postgresql" and item.path.parent.name == "api" and item.path.stem not in ON_BOTH:
            item.add_marker("long")


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place_of(request.param, tmp_path / "data") as made:
        yield made


@pytest.fixture
def storage(place: Place) -> Iterator[Storage]:
    # Bytes come through the service in both shapes here; that a bucket may give them itself is for tests/cluster.
    opened = place.open(pool_size=8, may_redirect=False)
    yield opened
    opened.close()


@pytest.fixture
def queue(place: Place) -> Iterator[Queue]:
    opened = open_queue(place.database_url, place.folder)
    yield opened
    opened.close()


@pytest.fixture
def api_settings() -> ApiSettings:
    """Override in a test module for other limits."""
    return ApiSettings(allowed_hosts=("localhost", "127.0.0.1", "[::1]"), request_hold_seconds=0.2)


@pytest.fixture
def services(storage: Storage, queue: Queue, api_settings: ApiSettings) -> Services:
    return Services(settings=api_settings, storage=storage, queue=queue, version="0.1.0", formats=FORMATS)


@pytest.fixture
def app(services: Services) -> FastAPI:
    return build_app(services)


@pytest.fixture
def users_app(services: Services) -> FastAPI:
    """The same store, behind logins."""
    return build_app(replace(services, settings=replace(services.settings, auth_mode="users")))


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """The local admin."""
    return TestClient(app, base_url=BASE_URL)


@pytest.fixture
def anonymous(users_app: FastAPI) -> TestClient:
    """Nobody, where everybody must log in."""
    return TestClient(users_app, base_url=BASE_URL)


@pytest.fixture
def make_user(storage: Storage) -> Callable[..., User]:
    """A user by name, made at the first call."""

    def make(username: str, *, password: str | None = None, is_admin: bool = False) -> User:
        with storage.database.write() as conn:
            found = users.find(conn, username)
            return found or users.create(conn, username, password, is_admin=is_admin)

    return make


@pytest.fixture
def make_client(users_app: FastAPI, storage: Storage, make_user: Callable[..., User]) -> MakeClient:
    """A client with an access token of its own: `make_client("bob")`, `make_client("root", is_admin=True)`."""

    def make(username: str, *, is_admin: bool = False, read_only: bool = False) -> TestClient:
        user = make_user(username, is_admin=is_admin)
        with storage.database.write() as conn:
            _, secret = tokens.create(conn, user.id, "test", read_only=read_only)
        return TestClient(users_app, base_url=BASE_URL, headers={"Authorization": f"Bearer {secret}"})

    return make


@pytest.fixture
def give_data(storage: Storage) -> Callable[..., Task]:
    """Attach `size` frames of 64 by 48 pixels (names `0.png` …, without pictures) to a task, in jobs of one segment."""

    def give(task_id: int, size: int = 3, segment_size: int = 0) -> Task:
        step = segment_size or size
        columns = FrameColumns(
            names=Ragged.from_bytes([f"{number}.png".encode() for number in range(size)]),
            widths=np.full(size, 64, dtype=np.int32),
            heights=np.full(size, 48, dtype=np.int32),
            places=FramePlaces(
                packs=np.zeros(size, dtype=np.int32),
                offsets=np.zeros(size, dtype=np.int64),
                stored_sizes=np.zeros(size, dtype=np.int64),
                sizes=np.zeros(size, dtype=np.int64),
                methods=np.zeros(size, dtype=np.uint8),
                crcs=np.full(size, -1, dtype=np.int64),
                orientations=np.ones(size, dtype=np.uint8),
            ),
        )
        jobs = tuple((start, min(start + step, size)) for start in range(0, size, step))
        data = TaskData(jobs=jobs, segment_size=step, stop_frame=size - 1)
        with storage.database.write() as conn:
            return tasks.attach_data(conn, task_id, data, columns)

    return give


def created(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    """What a POST made."""
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
