"""huey as transport: messages hold a request id and nothing else.

huey deletes a message before it is worked on, so a kill loses it; the request's row brings it back (`sweep.py`). For
the same reason the SQLite file needs no sync of its own, and a damaged one is simply put aside.
Messages are JSON, not huey's pickles: who can write to the queue must not be able to run code.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog

from app.errors import Busy

DRIVER = "psycopg"

# huey imports PostgreSQL's driver where there is one, used or not: a twentieth of what a process needs to start. So it
# finds none, and is given it with the first queue on a server.
_is_hidden = sys.modules.setdefault(DRIVER, None) is None  # type: ignore[arg-type]
import huey.storage  # noqa: E402
from huey import Huey  # noqa: E402
from huey.exceptions import HueyException  # noqa: E402
from huey.registry import Message  # noqa: E402
from huey.serializer import Serializer  # noqa: E402
from huey.storage import PostgresStorage, SqliteStorage  # noqa: E402

if _is_hidden:
    del sys.modules[DRIVER]

log = structlog.get_logger(__name__)

QUEUE_NAME = "annoport"
# huey would take the module path, and a message of another name is lost without a word.
TASK_NAME = "annoport-request"


class _JSONMessages(Serializer):  # type: ignore[misc]
    """A message is `[message id, task name, request id]`."""

    def _serialize(self, data: Message) -> bytes:
        return orjson.dumps([data.id, data.name, data.args[0]])

    def _deserialize(self, data: bytes) -> Message:
        message_id, name, request_id = orjson.loads(bytes(data))
        return Message(message_id, name, args=(str(request_id),), kwargs={}, retries=0, retry_delay=0)


class _File(SqliteStorage):  # type: ignore[misc]
    def _create_connection(self) -> Any:
        connection = super()._create_connection()
        connection.execute("PRAGMA synchronous=NORMAL")  # never damaged; the last messages may be lost by power loss
        return connection


class Queue:
    """A durable queue of request ids. Any process may send; each message reaches one receiver, or (kill -9) none.

    Where it cannot be opened, as on a full disk, each call tries again: the service starts and answers without it.
    """

    def __init__(self, make: Callable[[], Huey]) -> None:
        self._make = make
        self._opening = threading.Lock()
        self._made: tuple[Huey, Callable[[str], Any]] | None = None
        try:
            self._open()
        except Busy as error:
            log.warning("the queue cannot be opened; it is tried again", reason=str(error.__cause__))

    def _open(self) -> tuple[Huey, Callable[[str], Any]]:
        """huey, and how to send. Raises Busy."""
        with self._opening:
            if self._made is None:
                with _answering():
                    huey = self._make()
                self._made = huey, huey.task(name=TASK_NAME)(_nothing)
            return self._made

    @property
    def _huey(self) -> Huey:
        return self._open()[0]

    def send(self, request_id: str) -> None:
        """Announce a queued request; call it after the commit of its row. Raises Busy."""
        _, announce = self._open()
        try:
            with _answering():
                announce(request_id)
        except Busy:  # a database that was started again: the connection of before is found dead by its first use
            with _answering():
                announce(request_id)

    def receive(self) -> str | None:
        """The next id, or None where there is none (on PostgreSQL: after waiting up to a second). Raises Busy."""
        try:
            with _answering():
                task = self._huey.dequeue()
        except (HueyException, ValueError, TypeError, orjson.JSONDecodeError):
            log.warning("a message of the queue could not be read and was dropped")
            return None
        return None if task is None else str(task.args[0])

    def __len__(self) -> int:
        """How many messages wait. Raises Busy."""
        with _answering():
            return int(self._huey.storage.queue_size())

    def close(self) -> None:
        """Give back connections; the next call opens them again."""
        if self._made is not None:
            self._made[0].storage.close()


@contextmanager
def _answering() -> Iterator[None]:
    """A database that is not there, or locked, is Busy; only its driver knows the class."""
    try:
        yield
    except Exception as error:
        if not any(kind.__name__ == "OperationalError" for kind in type(error).__mro__):
            raise
        raise Busy("the queue does not answer, try again") from error


def _nothing(request_id: str) -> None:
    """What huey is told to run; nobody lets it."""


def open_queue(queue_url: str, data_dir: Path) -> Queue:
    """`sqlite:///path` or `postgresql://…`; "" is `data_dir/queue.sqlite3`."""
    common: dict[str, Any] = {"results": False, "serializer": _JSONMessages()}
    scheme = urlsplit(queue_url).scheme.partition("+")[0]
    if scheme in ("postgresql", "postgres"):
        huey.storage.psycopg = importlib.import_module(DRIVER)
        dsn = "postgresql:" + queue_url.partition(":")[2]
        shared = partial(Huey, QUEUE_NAME, storage_class=PostgresStorage, dsn=dsn, read_timeout=1, **common)
        return Queue(partial(_make_shared, shared))
    path = Path(queue_url.removeprefix("sqlite:///")) if queue_url else data_dir / "queue.sqlite3"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    common |= {"storage_class": _File, "filename": os.fspath(path), "strict_fifo": True, "cache_mb": 0}
    return Queue(partial(_make_in_file, path, common))


def _make_in_file(path: Path, common: dict[str, Any]) -> Huey:
    try:
        return Huey(QUEUE_NAME, **common)
    except Exception as error:
        # Only the driver knows the class: "file is not a database", "database disk image is malformed".
        if type(error).__name__ != "DatabaseError":
            raise
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        log.warning("the queue file is damaged and was put aside; requests come back from their rows", file=aside.name)
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return Huey(QUEUE_NAME, **common)


def _make_shared(make: Callable[[], Huey]) -> Huey:
    """Several processes may be the first one at once, and CREATE TABLE IF NOT EXISTS of PostgreSQL is not made for it:
    one of them is told of a table or type that it did not see before."""
    for pause in (0.1, 0.5, 1.0):
        try:
            return make()
        except Exception as error:
            if type(error).__name__ not in ("UniqueViolation", "DuplicateTable", "DuplicateObject"):
                raise
            time.sleep(pause)
    return make()
