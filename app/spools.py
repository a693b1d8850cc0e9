"""Files for what waits until it is its turn: in memory while it is little, on disk once it is much."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO

SPOOL_BYTES = 4 << 20


def spool_of(owner: object) -> IO[bytes]:
    """A file that is closed with its owner: of work that is cut off nobody else closes it."""
    file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file
