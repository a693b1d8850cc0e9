"""Files for what waits until it is its turn: in memory while it is little, on disk once it is much."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import IO

SPOOL_BYTES = 4 << 20


def keep_temporary_files(folder: Path) -> None:
    """From now on all that waits on disk waits in this folder, also of processes that this one starts. The system's own
    place may be memory, as in a container, or a disk that others fill."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = os.fspath(folder.resolve())


def spool_of(owner: object) -> IO[bytes]:
    """A file that is closed with its owner: of work that is cut off nobody else closes it."""
    file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file
