"""Fast bodies past the event loop: a real server, raw sockets, both event loops; what arrives is what was sent."""

from __future__ import annotations

import errno
import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.requests import Request

from app.api import guarded_protocol
from app.api.bursts import burst_of
from app.api.receiving import Pouring
from app.errors import AppError, TooLarge

MIB = 1 << 20


@dataclass
class Digesting:
    """An application that answers the digest of each body; at most `max_bytes` are taken."""

    max_bytes: int = 1 << 40
    seen: list[tuple[int, int, bool]] = field(default_factory=list)
    """Of each request: bytes taken, bytes that came past the event loop, whether it was whole."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        request = Request(scope, receive)
        digest, taken = hashlib.sha256(), 0

        def take(data: bytes | bytearray | memoryview) -> None:
            nonlocal taken
            if taken + len(data) > self.max_bytes:
                raise TooLarge("too large")
            taken += len(data)
            digest.update(data)

        pouring = Pouring(request, take)
        status, whole = 200, True
        try:
            assert await pouring.run(lambda: "finished") == "finished"
            assert pouring.size == taken
        except AppError as error:
            status, whole = 413 if isinstance(error, TooLarge) else 408, False
            if status == 408:
                pouring.settle()
        burst = burst_of(scope)
        self.seen.append((taken, burst.n_read if burst else 0, whole))
        text = digest.hexdigest().encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"64")]})
        await send({"type": "http.response.body", "body": text})


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Digesting]]:
    app = Digesting()
    protocol = guarded_protocol(header_timeout_seconds=5, max_header_bytes=20_000)
    config = uvicorn.Config(app, port=0, http=protocol, lifespan="off", log_level="critical", loop=request.param)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1], app
    running.should_exit = True
    thread.join(20)


def head(length: int, more: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + more + b"Content-Length: %d\r\n\r\n" % length


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer, and nothing of the next one."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        block = connection.recv(1)
        assert block, received
        received += block
    body = b""
    while len(body) < 64:
        block = connection.recv(64 - len(body))
        assert block, received + body
        body += block
    return int(received.split(b" ")[1]), body


def hex_digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def test_bodies_of_all_sizes_on_one_connection(server: tuple[int, Digesting]) -> None:
    port, app = server
    rng = random.Random(1)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for size in (0, 1, 65_535, 65_536, 300_000, MIB, 3 * MIB + 17, 20 * MIB, 5, 2 * MIB):
            body = rng.randbytes(size)
            connection.sendall(head(size) + body)
            assert answer(connection) == (200, hex_digest(body)), size
    assert [taken for taken, _, _ in app.seen] == [
        0,
        1,
        65_535,
        65_536,
        300_000,
        MIB,
        3 * MIB + 17,
        20 * MIB,
        5,
        2 * MIB,
    ]
    assert max(past for _, past, _ in app.seen) > 10 * MIB, "nothing came past the event loop"


def test_pieces_with_pauses_take_both_ways_in_turn(server: tuple[int, Digesting]) -> None:
    port, app = server
    rng = random.Random(2)
    body = rng.randbytes(12 * MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head(len(body)))
        at = 0
        while at < len(body):
            n = rng.choice([1, 70, 5_000, 100_000, 900_000, 3 * MIB])
            connection.sendall(body[at : at + n])
            at += n
            if rng.random() < 0.5:
                time.sleep(rng.choice([0.001, 0.012]))
        assert answer(connection) == (200, hex_digest(body))
    taken, past, whole = app.seen[0]
    assert (taken, whole) == (len(body), True)
    assert 0 < past < taken


def test_a_request_that_follows_at_once_is_read_as_its_own(server: tuple[int, Digesting]) -> None:
    port, _ = server
    first, second = random.Random(3).randbytes(4 * MIB), random.Random(4).randbytes(2 * MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        sent = head(len(first)) + first + head(len(second)) + second
        thread = threading.Thread(target=connection.sendall, args=[sent])
        thread.start()
        assert answer(connection)[1] == hex_digest(first)
        assert answer(connection)[1] == hex_digest(second)
        thread.join()


def test_chunked_bodies_take_the_event_loops_way(server: tuple[int, Digesting]) -> None:
    port, app = server
    body = random.Random(5).randbytes(3 * MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 500_000):
            piece = body[at : at + 500_000]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        assert answer(connection) == (200, hex_digest(body))
    assert app.seen == [(len(body), 0, True)]


def test_what_came_before_a_cut_is_there(server: tuple[int, Digesting]) -> None:
    port, app = server
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head(9 * MIB) + bytes(8 * MIB + 5))
    until = time.monotonic() + 60
    while not app.seen and time.monotonic() < until:
        time.sleep(0.01)
    taken, past, whole = app.seen[0]
    assert (taken, whole) == (8 * MIB + 5, False)
    assert past > 0


def test_a_refusal_in_the_middle_is_answered_and_the_connection_goes_on(server: tuple[int, Digesting]) -> None:
    port, app = server
    app.max_bytes = 3 * MIB
    body = random.Random(6).randbytes(MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head(16 * MIB) + bytes(16 * MIB))
        assert answer(connection)[0] == 413
        connection.sendall(head(len(body)) + body)
        assert answer(connection) == (200, hex_digest(body))
    assert not app.seen[0][2]


def test_without_a_handle_for_it_the_event_loop_reads(
    server: tuple[int, Digesting], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, app = server

    def refuse(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("app.api.bursts.os.dup", refuse)
    body = random.Random(5).randbytes(5 * MIB)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head(len(body)) + body)
        assert answer(connection) == (200, hex_digest(body))
    assert app.seen == [(len(body), 0, True)]
