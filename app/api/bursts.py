"""Bodies that arrive fast, read by the thread that writes them to the disk.

    event loop    receive() → 256 KiB ──▶ thread: take, recv, take, recv, … ──▶ nothing came for 5 ms ──▶ receive() …

Piece by piece through the event loop, each 256 KiB of an upload costs two wake-ups, three copies and a turn of the
parser. A thread that has to write the piece anyway goes on with the socket itself while more is there, in calls of up
to 1 MiB into one buffer, and gives it back as soon as the sender pauses, so no thread ever waits for a slow client. The
parser is then told how much of the body is still to come.

Only bodies of a known length, on a connection of GuardedProtocol without TLS; everything else takes the event loop's
way, with the same bytes at the end.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "annoport.burst"
READ_BYTES = 1 << 20
"""Each time into the same memory."""
PAUSE_SECONDS = 0.005
BURST_SECONDS = 1.0

Take = Callable[[bytes | memoryview], None]
"""Takes bytes, which are others as soon as it is done."""


class Burst:
    """The rest of one request's body, as its connection's protocol offers it in the scope."""

    def __init__(self, protocol: HttpToolsProtocol, cycle: RequestResponseCycle, length: int) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._length = length
        self.n_parsed = 0
        """Bytes that came through the parser."""
        self.n_read = 0
        """Bytes that came past it."""

    def begin(self) -> Reading | None:
        """Stop the event loop's reading, for a thread's; None where nothing is left to read. On the event loop."""
        protocol, cycle = self._protocol, self._cycle
        transport = protocol.transport
        if protocol.cycle is not cycle or not cycle.more_body or cycle.disconnected or transport.is_closing():
            return None
        connection = transport.get_extra_info("socket")
        if connection is None:
            return None
        try:
            handle = os.dup(connection.fileno())
        except OSError:  # there are no more handles: the event loop needs none
            return None
        protocol.flow.pause_reading()
        first, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        return Reading(handle, first, self._length - self.n_parsed - self.n_read)

    def end(self, reading: Reading) -> None:
        """Go on by the event loop, whatever the thread did or did not read. On the event loop."""
        reading.close()
        self.n_read += reading.n_read
        protocol = self._protocol
        if reading.n_read == 0 or protocol.parser is None:  # the second: the connection is lost
            return
        n_left = self._length - self.n_parsed - self.n_read
        protocol.parser = parser_within_body(protocol, n_left)
        if n_left == 0:
            protocol.on_message_complete()


class Reading:
    """What a thread does between `begin` and `end`."""

    def __init__(self, handle: int, first: bytes, n_left: int) -> None:
        self._first = first
        self._n_left = n_left
        self._socket = socket.socket(fileno=handle)
        self.n_read = 0

    def run(self, take: Take) -> None:
        """Hand on what is there, until there is no more, or for a second. Raises what `take` raises."""
        if self._first:
            take(self._first)
        buffer = memoryview(bytearray(min(READ_BYTES, self._n_left)))
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        end = time.monotonic() + BURST_SECONDS
        while self.n_read < self._n_left and time.monotonic() < end:
            try:
                n_wanted = min(len(buffer), self._n_left - self.n_read)
                n_bytes = self._socket.recv_into(buffer, n_wanted, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not poll.poll(PAUSE_SECONDS * 1000):
                    return
                continue
            except OSError:  # the event loop meets it, too, and knows what to do
                return
            if not n_bytes:
                return
            self.n_read += n_bytes
            take(buffer[:n_bytes])

    @property
    def is_complete(self) -> bool:
        """Whether the last byte of the body is there."""
        return self.n_read == self._n_left

    def close(self) -> None:
        self._socket.close()


class _Past:
    """Passes a parser's calls on to the protocol, but those of a head that only tells the parser where it is."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self.is_past = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self.is_past:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.is_past:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_past:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.is_past:
            self._protocol.on_headers_complete()


def parser_within_body(protocol: HttpToolsProtocol, n_left: int) -> Any:
    """A parser that waits for the last `n_left` bytes of a body; for the next request, where that is 0."""
    past = _Past(protocol)
    parser = httptools.HttpRequestParser(past)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
    if n_left:
        parser.feed_data(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % n_left)
    past.is_past = True
    return parser


def burst_of(scope: MutableMapping[str, Any]) -> Burst | None:
    """What the connection offers for this request, if anything."""
    found: Burst | None = scope.get("extensions", {}).get(EXTENSION)
    return found
