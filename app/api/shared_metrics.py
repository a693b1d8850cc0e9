"""The files in which the web processes of one `serve` share their numbers, with room that is theirs before they use it.

prometheus-client makes such a file longer without taking the room for it, and maps it: on a full disk the first number
behind the end kills the process (SIGBUS), and so it does with each one that is started again, though reading needs no
room. Here room is taken first. Where there is none the process counts for itself alone, in memory, to its end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import Any

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import _INITIAL_MMAP_SIZE, MmapedDict

log = structlog.get_logger(__name__)

ENTRY_BYTES = 4 + 8 + 16
"""What a number has beside its name: the length of that, what fills it up to a multiple of 8, value and moment."""


class ReservedDict(MmapedDict):
    """See the module."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            with open(filename, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, _INITIAL_MMAP_SIZE)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(filename)  # half made, others cannot read it
            self._f: Any = None
            self._fname = filename
            self._positions: dict[str, int] = {}
            self._used = 0
            self._go_alone(_INITIAL_MMAP_SIZE, error)
            self._used = 8

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + ENTRY_BYTES
        while needed > self._capacity:
            self._grow(2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, capacity: int) -> None:
        try:
            if self._f is not None:
                os.posix_fallocate(self._f.fileno(), 0, capacity)
                self._m = mmap.mmap(self._f.fileno(), capacity)
                self._capacity = capacity
                return
            error = None
        except OSError as found:
            error = found
        self._go_alone(capacity, error)

    def _go_alone(self, capacity: int, error: OSError | None) -> None:
        """From now on in memory; what the file has by now stays there."""
        alone = mmap.mmap(-1, capacity)
        if self._used:
            alone[: self._used] = self._m[: self._used]
        self._m, self._capacity = alone, capacity
        if error is not None:
            log.warning("no room to share numbers; this process counts for itself", reason=error.strerror)
        if self._f is not None:
            self._f.close()
            self._f = None


def reserve_room() -> None:
    """From now on room is taken before it is used; call it before the first number is made."""
    vars(values)["MmapedDict"] = ReservedDict  # which MultiProcessValue takes whenever it begins a file
