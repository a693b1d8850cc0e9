"""Rows of blocks into an SQLite file by its driver alone, in this process or in a helper's.

In: the file, jobs of `app.blocks`. Out: rows of `…_blocks`, committed. Never: SQLAlchemy, or anything else of the
store: a helper would import it for longer than it takes to start.
What a helper encodes it inserts, so nothing comes back from it, and the process that reads does not write. It commits
as an import does everywhere: unsynced, for nobody sees these rows before a synced commit says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.blocks import BlockJob, work_blocks

LOCK_TIMEOUT_SECONDS = 5
PAGE_BYTES = 16 << 10
"""Of a new file. A block of boxes has some 60 kB: in pages of 4 KiB its insert took twice the time."""
CHECKPOINT_BYTES = 32 << 20  # an import is copied from the log to the file in few large steps
WRITE_CACHE_KIB = 4096  # rows of an import are written once, in order
TRANSACTION_BYTES = 8 << 20  # what one transaction of an import writes: other writers wait so long
LOG_BYTES = 64 << 20  # the log is cut to this after a checkpoint; a long export may have let it grow


def set_up(cursor: Any, *, synchronous: str, cache_kib: int) -> None:
    """What every connection has, once the file is one with a log."""
    page_bytes = cursor.execute("PRAGMA page_size").fetchone()[0]
    cursor.execute(f"PRAGMA synchronous={synchronous}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.execute(f"PRAGMA cache_size=-{cache_kib}")
    cursor.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")


def insertion(kind: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[tuple[Any, ...]]]:
    """The statement for rows of one kind with the same columns, and its values, row by row."""
    return _inserting(kind, tuple(rows[0])), [tuple(row.values()) for row in rows]


@lru_cache(maxsize=16)
def _inserting(kind: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {kind}_blocks ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def portions(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of blocks in runs of about `TRANSACTION_BYTES`."""
    found: list[list[dict[str, Any]]] = []
    room = 0
    for row in rows:
        if room <= 0:
            found.append([])
            room = TRANSACTION_BYTES
        found[-1].append(row)
        room -= sum(len(value) for value in row.values() if isinstance(value, bytes))
    return found


class BlockInserter:
    """The work of a helper: the blocks of a job, made and inserted."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None)
        set_up(self._connection.cursor(), synchronous="NORMAL", cache_kib=WRITE_CACHE_KIB)

    def __call__(self, job: BlockJob) -> bool:
        """Whether they are there. Where not, or not all, whoever gave the job inserts them, and tells what is wrong."""
        return all(self._insert(job, rows) for rows in portions(work_blocks(job)))

    def _insert(self, job: BlockJob, rows: Sequence[Mapping[str, Any]]) -> bool:
        cursor = self._connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE")
            # A set that was given up meanwhile gets no rows any more, or nobody would remove them.
            writing = "SELECT 1 FROM annotation_sets WHERE id = ? AND state = 'writing'"
            is_writing = cursor.execute(writing, (job.set_id,)).fetchone() is not None
            if is_writing:
                cursor.executemany(*insertion(job.kind, rows))
            cursor.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.rollback()
            return False
        return is_writing
