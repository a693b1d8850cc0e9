"""Limits on the wire: a real server, raw sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from app.api import guarded_protocol
from app.api.protocol import GuardedProtocol

HEADER_TIMEOUT_SECONDS = 0.3
PATIENCE_SECONDS = 20.0


async def answer(scope: dict[str, object], receive: object, send: object) -> None:
    """Answers at once, without reading the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(HEADER_TIMEOUT_SECONDS) as found:
        yield found


@pytest.fixture(scope="module")
def patient_port() -> Iterator[int]:
    """Of a server that waits for headers longer than anybody here for its answer."""
    with serving(10 * PATIENCE_SECONDS) as found:
        yield found


@contextlib.contextmanager
def serving(header_timeout_seconds: float) -> Iterator[int]:
    protocol = guarded_protocol(header_timeout_seconds=header_timeout_seconds, max_header_bytes=20_000)
    config = uvicorn.Config(answer, port=0, http=protocol, lifespan="off", log_level="critical", loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_SECONDS)


def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[bytes, float, bool]:
    """Send the pieces; gives what came back, after how long, and whether the server closed."""
    received = b""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        try:
            while block := connection.recv(65536):
                received += block
        except TimeoutError:
            return received, time.monotonic() - started, False
        except ConnectionError:
            pass
    return received, time.monotonic() - started, True


def status(received: bytes) -> int:
    return int(received.split(b" ")[1]) if received else 0


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    received, seconds, closed = exchange(port)
    assert closed
    assert received == b""
    assert seconds > HEADER_TIMEOUT_SECONDS * 0.8


def test_headers_that_trickle_in_are_408(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\n", *[b"X-A: 1\r\n"] * 10]
    received, _, closed = exchange(port, *pieces, pause=0.1)
    assert closed
    assert status(received) == 408
    assert b'"request.timeout"' in received


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 21_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 21_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
    ],
)
def test_bad_heads_are_refused_at_once(patient_port: int, request_bytes: bytes, expected: int) -> None:
    received, _, closed = exchange(patient_port, request_bytes)
    assert closed
    assert status(received) == expected


def test_a_large_body_is_not_taken_for_headers(patient_port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n"
    received, _, _ = exchange(patient_port, head + b"x" * 300_000)
    assert status(received) == 200


def test_several_requests_on_one_connection(patient_port: int) -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 15_000 + b"\r\n\r\n"
    last = one.replace(b"Host: x", b"Host: x\r\nConnection: close")
    received, _, closed = exchange(patient_port, one, one, one, last, pause=0.1)
    assert closed
    assert received.count(b"HTTP/1.1 200") == 4


def test_the_next_request_has_its_own_time(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    received, _, closed = exchange(port, one, b"GET / HTTP", pause=0.05)
    assert closed
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.count(b"HTTP/1.1 408") == 1


def test_a_body_that_nobody_reads_is_drained_for_a_while_only(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.protocol.DRAIN_SECONDS", 0.2)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    received, _, closed = exchange(port, head, *[b"x"] * 20, pause=0.05)
    assert status(received) == 200
    assert closed, "before the body was whole"


def test_the_class_is_made_for_its_limits() -> None:
    made = guarded_protocol(header_timeout_seconds=3, max_header_bytes=99)
    assert issubclass(made, GuardedProtocol)
    assert (made.header_timeout_seconds, made.max_header_bytes) == (3, 99)
    assert GuardedProtocol.max_header_bytes != 99
