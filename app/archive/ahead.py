"""Blocks that a thread makes while the last ones are worked on: reading and inflating need no lock of Python's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

AHEAD = 2
PATIENCE_SECONDS = 0.05
"""How long the thread of a reader that went away may stay."""


def read_ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, and the same error in their place; at most `AHEAD` of them wait."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)
    is_over = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                waiting.put(item, timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for block in blocks:
                put(block)
                if is_over.is_set():
                    return
        except BaseException as error:
            put(error)
        else:
            put(None)

    thread = threading.Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_over.set()
        thread.join()
