"""Memory that was given back goes back to the system.

glibc keeps what is freed: each thread in an arena of its own, and arrays of any size once a large one was freed. A
process that once held 200 MiB for a moment would hold them for life. Two arenas, and large arrays always mapped and
unmapped, cost some page faults and keep every process near what it needs.
"""

from __future__ import annotations

import contextlib
import ctypes

# Numbers of <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
ARENAS = 2
TRIM_BYTES = 8 << 20
MAPPED_FROM_BYTES = 4 << 20


def bound_heap() -> None:
    """Set it for this process, at its start; nothing happens where the C library is another one."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)


def trim_heap() -> None:
    """Give back what lies free between what is held: after a step that made and dropped much, before the next one."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
