"""A resumable upload whose connection is cut in the middle: the SDK goes on where the service says it is."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.clients import meadow
from tests.clients.runners import Clients
from tests.cluster.processes import Cluster
from tests.samples import LABELS, write_pictures

CUT_AFTER_BYTES = 3 << 20


@dataclass
class Scissors:
    """A relay between a client and the service that cuts the first connection which carries a PATCH, once.

    Attributes:
        offsets: the Upload-Offset of every PATCH that passed.
    """

    target: tuple[str, int]
    offsets: list[int] = field(default_factory=list)
    cuts: int = 0
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        finally:
            # shutdown first: closing alone does not wake a thread that sits in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        passed = None
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if data.startswith(b"PATCH "):
                    self.offsets.extend(int(each) for each in re.findall(rb"(?i)upload-offset: *(\d+)", data))
                    passed = 0 if self.cuts == 0 else None
                server.sendall(data)
                if passed is not None:
                    passed += len(data)
                    if passed >= CUT_AFTER_BYTES:
                        self.cuts += 1
                        break
        self._close(client, server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        self._close(client, server)

    @staticmethod
    def _close(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def scissors(clients: Clients) -> Scissors:
    address = urlsplit(clients.service.url)
    assert address.hostname is not None
    assert address.port is not None
    return Scissors((address.hostname, address.port))


def test_a_cut_upload_goes_on_where_it_stopped(clients: Clients, scissors: Scissors, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", meadow.SIZES)
    archive = meadow.archive()
    # Something the service does not know and keeps, which does not compress: a body of two chunks of the SDK.
    archive.more["notes/ballast.bin"] = np.random.default_rng(1).bytes(12 << 20)
    with scissors.open() as url:
        told = clients.sdk(
            "exchange",
            url=url,
            name="cut",
            labels=LABELS,
            pictures=[str(path) for path in paths],
            imports=[{"path": str(archive.write(tmp_path / "large.zip"))}],
        )
    assert told["steps"][0]["failure"] is None
    assert len(told["steps"][0]["annotations"]["shapes"]) >= len(meadow.boxes()) + len(meadow.masks())
    assert scissors.cuts == 1
    first, second, *_ = scissors.offsets
    # What had arrived before the cut was kept, so the client did not start again. Behind a proxy it may ask before the
    # process that was cut off has heard of it (and is told 409 and where to go on, if it then begins anew).
    assert first == 0 <= second <= CUT_AFTER_BYTES + (1 << 16)
    assert second > 0 or isinstance(clients.service, Cluster)
