"""Blocks of an import, made in this process or a helper's (`app.blocks`), and inserted.

A small import is worked on here; a large one gets a helper after its first jobs, and then this process goes on reading
while the other one encodes, deflates and inserts (half of what a table costs).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from app.blocks import BlockJob, Blocks, is_packed, work_blocks
from app.helpers import Helper, n_cores, refused

UNHELPED_JOBS = 8
"""Jobs of `SetWriter`'s buffer each, some 50,000 boxes: below that a helper's start costs more than it saves."""

INSERTED_AHEAD = 2


class Insert(Protocol):
    """What becomes of the blocks of a job."""

    def __call__(self, rows: Blocks | None, *, is_again: bool = ...) -> None: ...


class BlockCrew:
    """Works on jobs, with the help of another process where there is much to do: `with BlockCrew(1) as crew`.

    At most `SENT_AHEAD` jobs wait; rather than wait for one, or for a helper that is still starting, the next is done
    here; so are masks that stay as they came, which cost less to encode than to hand over. Where there may be help,
    blocks are inserted by a thread, one job after the other: the database needs no lock of Python's while it writes.

    Args:
        file: an SQLite database, into which the helper inserts what it encodes; else its answers are the blocks.
        is_large: there will be many jobs: the helper starts at once.
    """

    def __init__(self, most_helpers: int, *, file: Path | None = None, is_large: bool = False) -> None:
        self._is_wanted = min(most_helpers, n_cores() - 1) > 0
        self._file = file
        self._unhelped = 0 if is_large else UNHELPED_JOBS
        self._helper: Helper | None = None
        self._n_jobs = 0
        self._waiting: deque[tuple[Callable[[], BlockJob], Insert]] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._inserting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        if self._helper is None and self._is_wanted and self._n_jobs >= self._unhelped:
            self._is_wanted = False
            with refused():
                if self._file is None:
                    self._helper = Helper("app.blocks:work_blocks")
                else:
                    self._helper = Helper("app.block_inserts:BlockInserter", of=os.fspath(self._file))
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="insert blocks")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        if self._helper is not None:
            self._helper.close()

    def take(self, job: BlockJob, insert: Insert) -> None:
        """Work on a job; `insert` gets its blocks, now or at a later call, or None where the helper has inserted them.
        Where that may have failed half way, or not, it is asked to remove them first."""
        self._start()
        self._n_jobs += 1
        while self._waiting and self._helper is not None and self._helper.has_answer():
            self._hand_on()
        if self._helper is not None and self._helper.has_room() and not is_packed(job.parts):
            self._waiting.append((self._helper.send(job), insert))
        else:
            self._insert(insert, work_blocks(job))

    def finish(self) -> None:
        """Everything that was taken is inserted."""
        while self._waiting:
            self._hand_on()
        self.settle()

    def settle(self) -> None:
        """Wait for all that this process is inserting: who gives a set up removes what is there. Raises what went
        wrong."""
        wait(self._inserting)
        while self._inserting:
            self._inserting.popleft().result()

    def _hand_on(self) -> None:
        assert self._helper is not None
        again, insert = self._waiting.popleft()
        done = self._helper.receive()
        if self._file is None:
            self._insert(insert, work_blocks(again()) if done is None else done[0])
        elif done == (True,):
            self._insert(insert, None)
        else:  # what the helper could not do is found out here
            self._insert(partial(insert, is_again=True), work_blocks(again()))

    def _insert(self, insert: Insert, blocks: Blocks | None) -> None:
        if self._thread is None:
            insert(blocks)
            return
        while len(self._inserting) >= INSERTED_AHEAD:
            self._inserting.popleft().result()
        self._inserting.append(self._thread.submit(insert, blocks))
