"""Tables to blocks, in this process or a helper's: numbers for their rows, order, bytes of each column.

    job   some tables of one kind, one behind the other, and the number of their first row
    done  the rows for `insert_blocks`

A small import is worked on here; a large one gets a helper after its first jobs, and then this process goes on reading
while the other one encodes and deflates (a third of what a table costs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from app.helpers import Helper, n_cores
from app.storage.block_rows import encode_blocks

UNHELPED_JOBS = 16
"""Jobs of `SetWriter`'s buffer each, some 100,000 boxes: reading those takes as long as a helper takes to start."""

INSERTED_AHEAD = 2

Numbering = Literal["new", "given", "none"]
Blocks = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class BlockJob:
    """Some rows of one set.

    Attributes:
        parts: tables of one kind.
        numbering: every row gets a new id; or those that have none (0); or none does.
        first: the first of the new ids.
        part: the number of this flush.
    """

    parts: Sequence[Any]
    numbering: Numbering
    first: int
    task_id: int
    set_id: int
    part: int


def count_unnumbered(parts: Sequence[Any], numbering: Numbering) -> int:
    """How many rows get an id of their own."""
    if numbering == "none":
        return 0
    return sum(len(part) if numbering == "new" else int((part.ids == 0).sum()) for part in parts)


def work_blocks(job: BlockJob) -> Blocks:
    """Number, sort and encode."""
    table = type(job.parts[0]).concatenate(job.parts)
    if job.numbering != "none" and hasattr(table, "ids"):
        table = _numbered(table, job.numbering, job.first)
    return encode_blocks(table, task_id=job.task_id, set_id=job.set_id, part=job.part)


def _numbered(table: Any, numbering: Numbering, first: int) -> Any:
    if numbering == "new":
        return table.replace(ids=np.arange(first, first + len(table), dtype=np.int64))
    ids: npt.NDArray[np.int64] = table.ids.copy()
    rows = np.flatnonzero(ids == 0)
    ids[rows] = np.arange(first, first + len(rows), dtype=np.int64)
    return table.replace(ids=ids)


class BlockCrew:
    """Works on jobs, with the help of another process where there is much to do: `with BlockCrew(1) as crew`.

    At most `SENT_AHEAD` jobs wait; rather than wait for one, the next is done here. Blocks that a helper made are
    inserted by a thread, one job after the other: the database needs no lock of Python's while it writes.
    """

    def __init__(self, most_helpers: int) -> None:
        self._is_wanted = min(most_helpers, n_cores() - 1) > 0
        self._helper: Helper | None = None
        self._n_jobs = 0
        self._has_answered = False
        self._waiting: deque[tuple[BlockJob, Callable[[Blocks], None]]] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._inserting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        if self._helper is not None:
            self._helper.close()

    def take(self, job: BlockJob, insert: Callable[[Blocks], None]) -> None:
        """Work on a job; `insert` gets its blocks, now or at a later call."""
        self._n_jobs += 1
        if self._helper is None and self._is_wanted and self._n_jobs > UNHELPED_JOBS:
            self._helper = Helper("app.storage.block_work:work_blocks")
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="insert blocks")
        while self._waiting and self._helper is not None and self._helper.has_answer():
            self._hand_on()
        if self._helper is not None and self._helper.has_room():
            self._helper.send(job)
            self._waiting.append((job, insert))
        else:
            blocks = work_blocks(job)
            self.settle()  # two writers of one process would wait for each other, and not for ever
            insert(blocks)

    def finish(self) -> None:
        """Everything that was taken is inserted. A helper that is still starting is not waited for."""
        if self._helper is not None and not self._has_answered and not self._helper.has_answer():
            self._helper.close()
            self._helper = None
        while self._waiting:
            if self._helper is not None:
                self._hand_on()
            else:
                job, insert = self._waiting.popleft()
                insert(work_blocks(job))
        self.settle()

    def settle(self) -> None:
        """Wait for what is being inserted. Raises what went wrong with it."""
        while self._inserting:
            self._inserting.popleft().result()

    def _hand_on(self) -> None:
        assert self._helper is not None
        assert self._thread is not None
        job, insert = self._waiting.popleft()
        done = self._helper.receive()
        self._has_answered = True
        while len(self._inserting) >= INSERTED_AHEAD:
            self._inserting.popleft().result()
        self._inserting.append(self._thread.submit(insert, work_blocks(job) if done is None else done[0]))
