"""Imports: written into a set that nobody sees, made visible in one step.

An import may hold millions of rows. They go into the store in transactions of some megabytes, so others never wait for
a whole import; what makes them visible is one small row, and that change shares its transaction with the request's end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Self

import numpy as np
import sqlalchemy as sa
from isal import isal_zlib

from app.annotations import Annotations
from app.block_inserts import portions
from app.blocks import BlockJob, Blocks, Numbering, byte_size, count_unnumbered, frames_of
from app.errors import Conflict, InvalidInput, NotFound
from app.steps import reach
from app.storage.blobs import BlobWriter
from app.storage.block_parts import remove_range
from app.storage.block_rows import KINDS, OBJECT_KINDS, insert_blocks, remove_part, visible_sets
from app.storage.block_work import BlockCrew
from app.storage.changes import give_back_numbers, lock_task, take_numbers, touch_jobs, touch_task
from app.storage.database import Connection
from app.storage.removal import drop_sets
from app.storage.schema import BLOCKS, annotation_sets, now, tasks
from app.storage.storage import Storage

Outlives = Callable[[Mapping[str, Any], int, int], bool]

BUFFER_BYTES = 2 << 20  # rows wait until there are enough for some dozens of full blocks
NUMBERS_AHEAD = 1 << 17
"""Ids that a flush takes for those behind it, too: what is left at the end is given back. 14.6 million rows are some
1,500 flushes, each of which waited for the blocks of the one before to be written."""
TOUCHED_SECONDS = 60.0  # a set that nobody touches for an hour is taken for dead
GONE = "the imported annotations are gone, import again"


class SetWriter:
    """Writes one import; a `formats.Sink`.

        with begin_set(storage, task_id) as writer:
            …writer.write(batch), writer.keep(png), writer.extras(document)…
            writer.close()
            with storage.database.write() as conn:
                publish(conn, writer.set_id, mode="replace")

    Leaving the block without a publish discards the set.
    """

    def __init__(
        self,
        storage: Storage,
        task_id: int,
        set_id: int,
        start: int,
        stop: int,
        ids: Numbering,
        crew: BlockCrew | None = None,
    ) -> None:
        self.set_id = set_id
        self.task_id = task_id
        self._storage = storage
        self._start, self._stop = start, stop
        self._ids: Numbering = ids
        self._crew = crew or BlockCrew(0)
        self._conn: Connection | None = None
        self._waiting: dict[str, list[Any]] = {kind: [] for kind in KINDS}
        self._waiting_bytes = 0
        self._part = 0
        self._first_number = self._end_of_numbers = 0  # ids that were taken and are not given yet
        self._touched = monotonic()
        self._counts = dict.fromkeys(KINDS, 0)
        self._extras: dict[str, Any] | None = None
        self._kept: BlobWriter | None = None
        self._shared: tuple[str, int] | None = None

    def write(self, batch: Annotations) -> None:
        """Take a batch.

        Raises:
            InvalidInput: a row of a frame outside of the range (kept rows may have frame -1).
        """
        for kind in KINDS:
            table = getattr(batch, kind)
            if len(table) == 0:
                continue
            frames = frames_of(table)
            outside = (frames < self._start) | (frames >= self._stop)
            if kind == "rows":
                outside &= frames != -1
            if bool(outside.any()):
                raise InvalidInput(f"frame {int(frames[outside][0])} is not one of {self._start} to {self._stop - 1}")
            self._waiting[kind].append(table)
            self._waiting_bytes += byte_size(table)
            self._counts[kind] += len(table)
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        """Keep bytes; (offset, size, crc32)."""
        if self._kept is None:
            self._kept = self._storage.blobs.open_writer(f"kept/{self.set_id}-{secrets.token_hex(8)}")
        offset = self._kept.size
        self._kept.write(data)
        return offset, self._kept.size - offset, isal_zlib.crc32(data)

    def extras(self, extras: Mapping[str, Any]) -> None:
        """The format's own document about this import (replaces an earlier one)."""
        self._extras = dict(extras)

    def close(self) -> dict[str, int]:
        """Write what is buffered and make the kept bytes durable. Returns rows by kind."""
        self.flush()
        self._crew.finish()
        self._give_back_numbers()
        values: dict[str, Any] = {"extras": self._extras, "touched_date": now()}
        if self._kept is not None:
            values |= {"kept_size": self._kept.finish(), "kept_key": self._kept.key}
        elif self._shared is not None:
            values |= {"kept_key": self._shared[0], "kept_size": self._shared[1]}
        with self._transaction() as conn:
            conn.execute(annotation_sets.update().where(annotation_sets.c.id == self.set_id).values(**values))
        return dict(self._counts)

    @property
    def document(self) -> Mapping[str, Any]:
        """What `extras` was given."""
        return self._extras or {}

    @property
    def shared(self) -> tuple[str, int] | None:
        """The blob of the kept bytes and its size, when the set is closed."""
        return self._shared if self._kept is None else (self._kept.key, self._kept.size)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the rows that `flush` would write."""
        return self._waiting_bytes

    def share(self, key: str, size: int) -> None:
        """The kept bytes are a blob that other sets have too; instead of `keep`."""
        assert self._kept is None, "this set has kept bytes of its own"
        self._shared = key, size

    def flush(self) -> None:
        """Write the rows that wait; where a crew has help, those of the last flushes are written with the next."""
        waiting = {kind: parts for kind, parts in self._waiting.items() if parts}
        self._waiting = {kind: [] for kind in KINDS}
        self._waiting_bytes = 0
        if not waiting:
            return
        fresh = {kind: count_unnumbered(waiting[kind], self._ids) for kind in OBJECT_KINDS if kind in waiting}
        first = self._take_numbers(sum(fresh.values()))
        for kind, parts in waiting.items():
            job = BlockJob(parts, self._ids, first, self.task_id, self.set_id, self._part)
            self._crew.take(job, partial(self._insert, kind))
            first += fresh.get(kind, 0)
        self._part += 1

    def _take_numbers(self, count: int) -> int:
        """The first of so many ids in a row; the set is touched now and then."""
        is_short = self._first_number + count > self._end_of_numbers
        if is_short or monotonic() - self._touched > TOUCHED_SECONDS:
            self._crew.settle()
            # Numbers need no sync of their own: whoever sees them sees them after the publish, which syncs all before.
            with self._transaction(is_bulk=True) as conn:
                touched = annotation_sets.update().where(annotation_sets.c.id == self.set_id)
                conn.execute(touched.values(touched_date=now()))
                if is_short:
                    some = max(count, NUMBERS_AHEAD if self._part else 0)  # many imports have one flush
                    give_back_numbers(conn, self.task_id, self._first_number, self._end_of_numbers)
                    self._first_number = take_numbers(conn, self.task_id, some)
                    self._end_of_numbers = self._first_number + some
            self._touched = monotonic()
        first = self._first_number
        self._first_number += count
        return first

    def _give_back_numbers(self) -> None:
        if self._first_number < self._end_of_numbers:
            with self._transaction(is_bulk=True) as conn:
                give_back_numbers(conn, self.task_id, self._first_number, self._end_of_numbers)
        self._end_of_numbers = self._first_number

    def _insert(self, kind: str, rows: Blocks | None, *, is_again: bool = False) -> None:
        """Insert blocks, unless a helper has; `is_again`: remove them first, for it may have inserted some."""
        for some in portions(rows or []):
            with self._transaction(is_bulk=True) as conn:
                if is_again:
                    remove_part(conn, kind, some)
                insert_blocks(conn, kind, some)
        reach("import.mid")

    def write_within(self, conn: Connection) -> None:
        """From now on write in the caller's transaction."""
        self._conn = conn

    @contextmanager
    def _transaction(self, *, is_bulk: bool = False) -> Iterator[Connection]:
        if self._conn is not None:
            yield self._conn
            return
        database = self._storage.database
        with database.bulk_write() if is_bulk else database.write() as conn:
            yield conn

    def discard(self) -> None:
        """Forget everything that was written; harmless after publish."""
        if self._kept is not None:
            self._kept.abort()
        with suppress(Exception):  # what went wrong is told already, or the set was published long ago
            self._crew.settle()
        if self._conn is not None:
            return  # undone with the caller's transaction, and the number may be another set's by now
        with self._storage.database.write() as conn:
            drop_sets(conn, sa.and_(annotation_sets.c.id == self.set_id, annotation_sets.c.state == "writing"))
            known = sa.select(annotation_sets.c.id).where(annotation_sets.c.id == self.set_id)
            if conn.execute(known).one_or_none() is None:  # removed with its task: what was written after that, too
                for table in BLOCKS.values():
                    conn.execute(table.delete().where(table.c.set_id == self.set_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def begin_set(
    storage: Storage,
    task_id: int,
    *,
    start: int = 0,
    stop: int | None = None,
    is_base: bool = False,
    ids: Numbering = "new",
    conn: Connection | None = None,
    crew: BlockCrew | None = None,
) -> SetWriter:
    """A writer for one import into frames start to stop of the task.

    Args:
        is_base: for what never was in an archive, in a task that has nothing yet.
        ids: every row gets a new one; or those that have none (0); or none does, for rows that nobody will see.
        conn: write in this transaction, not in ones of its own.
        crew: who encodes the blocks; without it this process alone.

    Raises:
        NotFound: the task.
    """
    given = conn
    with nullcontext(given) if given is not None else storage.database.write() as conn:
        size = conn.execute(sa.select(tasks.c.size).where(tasks.c.id == task_id)).scalar()
        if size is None:
            raise NotFound("task", task_id)
        moment = now()
        set_id = conn.execute(
            annotation_sets.insert()
            .values(task_id=task_id, is_base=is_base, created_date=moment, touched_date=moment)
            .returning(annotation_sets.c.id)
        ).scalar_one()
    writer = SetWriter(storage, task_id, set_id, max(start, 0), size if stop is None else min(stop, size), ids, crew)
    if given is not None:
        writer.write_within(given)
    return writer


def publish(
    conn: Connection,
    set_id: int,
    *,
    mode: str = "replace",
    start: int = 0,
    stop: int | None = None,
    outlives: Outlives | None = None,
) -> None:
    """Make a closed set visible, all at once, in the caller's transaction.

    Args:
        mode: `replace` drops every other annotation, image and kept row of frames start to stop; `append` adds.
        start, stop: the frames of a job; the whole task by default. The set must hold no other frames.
        outlives: told the document of a set whose last rows go with those frames, and the frames: whether it stays.

    Raises:
        Conflict: the set is gone (it was discarded, or its task deleted).
        InvalidInput: another mode.
    """
    if mode not in ("replace", "append"):
        raise InvalidInput("the import mode is replace or append", place="import_mode")
    found = sa.select(annotation_sets.c.task_id).where(
        annotation_sets.c.id == set_id, annotation_sets.c.state == "writing"
    )
    task_id = conn.execute(found).scalar()
    if task_id is None:
        raise Conflict(GONE)
    size = lock_task(conn, task_id)
    stop = size if stop is None else min(stop, size)
    if mode == "replace":
        remove_visible(conn, task_id, start, stop, size, outlives)
    leave_writing(conn, set_id, "visible")
    touch_task(conn, task_id)
    touch_jobs(conn, task_id, None if start <= 0 and stop >= size else np.arange(start, stop))


def remove_visible(
    conn: Connection, task_id: int, start: int, stop: int, size: int, outlives: Outlives | None = None
) -> None:
    """Every row of frames start to stop goes, of `size` that the task has: of all of them whole sets, else those sets
    that have no row left. `outlives` as in `publish`."""
    if start <= 0 and stop >= size:
        drop_sets(conn, sa.and_(annotation_sets.c.task_id == task_id, annotation_sets.c.state == "visible"))
        return
    before = used_sets(conn, task_id)
    for kind in KINDS:
        remove_range(conn, kind, task_id, start, stop)
    drop_emptied_sets(conn, task_id, before, outlives and (lambda document: outlives(document, start, stop)))


def leave_writing(conn: Connection, set_id: int, state: str) -> None:
    """A set at work becomes `visible` or `dropped`. Raises Conflict where housekeeping took it for dead meanwhile."""
    writing = sa.and_(annotation_sets.c.id == set_id, annotation_sets.c.state == "writing")
    if conn.execute(annotation_sets.update().where(writing).values(state=state)).rowcount == 0:
        raise Conflict(GONE)


def used_sets(conn: Connection, task_id: int) -> set[int]:
    """The sets that hold a row."""
    used: set[int] = set()
    for table in BLOCKS.values():
        used |= set(conn.execute(sa.select(table.c.set_id).where(table.c.task_id == task_id).distinct()).scalars())
    return used


def drop_emptied_sets(
    conn: Connection, task_id: int, before: set[int], stays: Callable[[Mapping[str, Any]], bool] | None = None
) -> None:
    """Sets that held rows `before` and hold none now are of no use: their documents and kept bytes go. A set that
    never held any is there for those, and one may stay for them (told its document)."""
    if not before:
        return
    now_used = used_sets(conn, task_id)
    emptied = [set_id for set_id in visible_sets(conn, task_id) if set_id in before and set_id not in now_used]
    if emptied and stays is not None:
        sets = annotation_sets.c
        told = conn.execute(sa.select(sets.id, sets.extras).where(sets.id.in_(emptied), sets.extras.is_not(None)))
        kept = {row.id for row in told if stays(row.extras)}
        emptied = [set_id for set_id in emptied if set_id not in kept]
    if emptied:
        drop_sets(conn, annotation_sets.c.id.in_(emptied))
