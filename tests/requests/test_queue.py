"""huey as transport: ids in order, each to one receiver."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from app.errors import Busy
from app.requests import open_queue
from tests.requests.conftest import Place


def test_ids_come_in_order_and_once(place: Place) -> None:
    for number in range(3):
        place.queue.send(f"id-{number}")
    assert len(place.queue) == 3
    assert [place.queue.receive() for _ in range(4)] == ["id-0", "id-1", "id-2", None]


def test_ids_reach_other_processes_and_later_starts(place: Place) -> None:
    place.queue.send("a")
    other = open_queue(place.url, place.folder)
    assert other.receive() == "a"
    assert place.queue.receive() is None
    other.close()


def test_many_receivers_share_the_messages(place: Place) -> None:
    sent = [f"id-{number}" for number in range(60)]
    for request_id in sent:
        place.queue.send(request_id)
    found: list[str] = []

    def work() -> None:
        queue = open_queue(place.url, place.folder)
        while (request_id := queue.receive()) is not None:
            found.append(request_id)
        queue.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(sent)


def test_unreadable_messages_are_dropped(place: Place) -> None:
    storage = place.queue._huey.storage
    for message in (b"no json", b"[1,2]", b'["1","other-task","x"]', b"{}"):
        storage.enqueue(message)
    place.queue.send("a")
    found = [place.queue.receive() for _ in range(5)]
    assert found == [None, None, None, None, "a"]


def test_a_message_is_plain_json(place: Place) -> None:
    place.queue.send("a")
    (message,) = place.queue._huey.storage.enqueued_items()
    assert bytes(message).endswith(b'"a"]')


# huey leaves the connection that found it to the collector, which Python 3.13 tells of.
@pytest.mark.filterwarnings("ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite3").write_bytes(b"this is no database" * 1000)
    queue = open_queue("", tmp_path)
    queue.send("a")
    assert queue.receive() == "a"
    queue.close()
    assert len(list(tmp_path.glob("queue.sqlite3.damaged-*"))) == 1
    gc.collect()


@pytest.mark.filterwarnings("ignore:.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_cannot_be_opened_is_tried_again_by_each_call(tmp_path: Path) -> None:
    """As on a full disk, or where no more files may be open: the service starts, and rows wait for their messages."""
    place = tmp_path / "queue.sqlite3"
    place.mkdir()
    queue = open_queue("", tmp_path)
    with pytest.raises(Busy):
        queue.send("a")
    with pytest.raises(Busy):
        queue.receive()
    place.rmdir()
    queue.send("a")
    assert queue.receive() == "a"
    queue.close()
    gc.collect()
