"""Annotations of whole tasks written anew before anybody waits: labels that go, and labels that become others.

    visible sets   s1 s2 s3     as they are, until the end
    anew           n1 n2 n3     the same sets with the same documents and kept bytes, and the rows as they are to be

Blocks are copied or changed some megabytes at a time, in transactions of their own, into sets that nobody sees. The
change itself then shows the new sets in place of the old ones, which is a few small rows however large the task is:
other writers wait for that, not for the blocks. It does so only where the task has not changed since; otherwise all is
written anew once more, and then, if need be, while others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa

from app.block_inserts import portions
from app.blocks import encode_blocks, encoder
from app.columns import distinct
from app.errors import NotFound
from app.storage.block_rows import KINDS, OBJECT_KINDS, decode_column, decode_rows, insert_blocks
from app.storage.block_steps import STEP_BYTES, STEP_ROWS, large_bytes
from app.storage.changes import lock_task
from app.storage.database import Connection
from app.storage.removal import drop_sets
from app.storage.schema import BLOCKS, annotation_sets, block_columns, now, tasks
from app.storage.set_writer import leave_writing
from app.storage.storage import Storage

ROWS_AHEAD = 100_000
"""Of a task that has more than so many, rows are written anew ahead; fewer take less than others may wait."""
TRIES = 2

Result = TypeVar("Result")
Stored = Sequence[Any]
"""Rows of a table of blocks: (block, set, n_rows, the columns of its kind in order, part)."""
Change = Callable[[str, Stored, int], list[dict[str, Any]] | None]
"""What is to be stored for some blocks of one kind and part, in the set of this id; None: the same."""
Extras = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Anew:
    """One task: the revision that it had, and the new set of each visible one."""

    revision: int
    sets: Mapping[int, int]


@dataclass(slots=True)
class Ahead:
    """What was written anew, for a change that says the same `basis`."""

    basis: Hashable = None
    by_task: dict[int, Anew] = field(default_factory=dict)
    _held: set[int] = field(default_factory=set)

    def hold(self, conn: Connection) -> bool:
        """Lock the tasks, the first thing in the transaction of the change. Whether all are as they were."""
        for task_id, made in sorted(self.by_task.items()):
            try:
                lock_task(conn, task_id)
            except NotFound:
                continue
            if _state(conn, task_id) == (made.revision, list(made.sets)) and not _has_imports(conn, task_id, made):
                self._held.add(task_id)
        return len(self._held) == len(self.by_task)

    def show(self, conn: Connection, task_id: int, basis: Hashable) -> bool:
        """Show the new sets of a task in place of the old ones, if they are for this change, and still hold."""
        if task_id not in self._held or basis != self.basis:
            return False
        made = self.by_task[task_id]
        drop_sets(conn, annotation_sets.c.id.in_(list(made.sets)))
        for set_id in made.sets.values():
            leave_writing(conn, set_id, "visible")
        return True


NOTHING = Ahead()
"""Nothing was written: the change does all by itself."""


def in_two_steps(
    storage: Storage,
    prepare: Callable[[], AbstractContextManager[Ahead]],
    change: Callable[[Connection, Ahead], Result],
) -> Result:
    """Make a change with what was prepared for it, in one transaction."""
    for left in reversed(range(TRIES)):
        with prepare() as ahead, storage.database.write() as conn:
            if ahead.hold(conn) or not left:
                return change(conn, ahead)
    raise AssertionError("the last try makes the change")


@contextmanager
def written_anew(
    storage: Storage,
    task_ids: Sequence[int],
    basis: Hashable,
    change: Change,
    change_extras: Callable[[Extras], Extras] = lambda extras: extras,
) -> Iterator[Ahead]:
    """The large ones of these tasks, with their blocks changed. What is not shown at the end goes."""
    ahead = Ahead(basis)
    try:
        for task_id in task_ids:
            made = _write_anew(storage, task_id, change, change_extras, ahead)
            if made is not None:
                ahead.by_task[task_id] = made
        yield ahead
    finally:
        new = [set_id for made in ahead.by_task.values() for set_id in made.sets.values()]
        if new:
            with storage.database.write() as conn:
                drop_sets(conn, sa.and_(annotation_sets.c.id.in_(new), annotation_sets.c.state == "writing"))


def _state(conn: Connection, task_id: int) -> tuple[int | None, list[int]]:
    """The revision of a task, and its visible sets in their order."""
    sets = annotation_sets.c
    visible = sets.task_id == task_id, sets.state == "visible"
    revision = conn.execute(sa.select(tasks.c.revision).where(tasks.c.id == task_id)).scalar()
    return revision, list(conn.execute(sa.select(sets.id).where(*visible).order_by(sets.id)).scalars())


def _has_imports(conn: Connection, task_id: int, among: Anew | None = None) -> bool:
    """Whether an import is at work (that began before the new sets): its rows are to come after those that are there,
    and would come before those of the new sets. Then all is done at once."""
    sets = annotation_sets.c
    chosen = sa.select(sets.id).where(sets.task_id == task_id, sets.state == "writing")
    if among is not None:
        new = list(among.sets.values())
        chosen = chosen.where(sets.id < max(new, default=0), sets.id.not_in(new))
    return conn.execute(chosen.limit(1)).one_or_none() is not None


def _write_anew(
    storage: Storage, task_id: int, change: Change, change_extras: Callable[[Extras], Extras], ahead: Ahead
) -> Anew | None:
    with storage.database.read() as conn:
        revision, visible = _state(conn, task_id)
        if revision is None or not is_large(_n_rows(conn, task_id)) or _has_imports(conn, task_id):
            return None
    made = Anew(revision, _begin_sets(storage, visible, change_extras))
    ahead.by_task[task_id] = made
    for old, new in made.sets.items():
        for kind in KINDS:
            with storage.database.read() as conn:
                steps = _steps(conn, kind, old)
            for ids in steps:
                _write_step(storage, kind, ids, new, change if kind in OBJECT_KINDS else _same)
    return made


def is_large(n_rows: int) -> bool:
    """Whether it takes long to write so many rows anew."""
    return n_rows > ROWS_AHEAD


def _n_rows(conn: Connection, task_id: int) -> int:
    n_rows = 0
    for kind in OBJECT_KINDS:
        table = BLOCKS[kind].c
        total = sa.select(sa.func.coalesce(sa.func.sum(table.n_rows), 0)).where(table.task_id == task_id)
        n_rows += int(conn.execute(total).scalar_one())
    return n_rows


def _begin_sets(
    storage: Storage, visible: Sequence[int], change_extras: Callable[[Extras], Extras]
) -> Mapping[int, int]:
    """A new set for each, in the same order."""
    columns = [column for column in annotation_sets.c if column.name != "id"]
    made: dict[int, int] = {}
    with storage.database.write() as conn:
        for set_id in visible:
            row = conn.execute(sa.select(*columns).where(annotation_sets.c.id == set_id)).one_or_none()
            if row is None:  # the task has changed, and nothing of this will be shown
                continue
            values = {**row._mapping, "state": "writing", "touched_date": now(), "extras": change_extras(row.extras)}
            inserted = annotation_sets.insert().values(**values).returning(annotation_sets.c.id)
            made[set_id] = int(conn.execute(inserted).scalar_one())
    return made


def _steps(conn: Connection, kind: str, set_id: int) -> list[list[int]]:
    """The ids of a set's blocks, by part, so many at a time as may be held at once."""
    table = BLOCKS[kind].c
    chosen = sa.select(table.id, table.part, table.n_rows, large_bytes(kind)).where(table.set_id == set_id)
    found: list[list[int]] = []
    last, held = None, 0.0
    for number, part, n_rows, size in conn.execute(chosen.order_by(table.part, table.block)):
        share = n_rows / STEP_ROWS + size / STEP_BYTES
        if part != last or held + share > 1:
            found.append([])
            last, held = part, 0.0
        found[-1].append(number)
        held += share
    return found


def _write_step(storage: Storage, kind: str, ids: Sequence[int], set_id: int, change: Change) -> None:
    table = BLOCKS[kind].c
    names = block_columns(kind)
    columns = [table.block, table.set_id, table.n_rows, *(table[name] for name in names), table.part, table.task_id]
    with storage.database.read() as conn:
        rows = conn.execute(sa.select(*columns).where(table.id.in_(ids)).order_by(table.block)).all()
    if not rows:
        return
    stored = change(kind, rows, set_id)
    if stored is None:
        stored = [{**row._mapping, "set_id": set_id} for row in rows]
    for some in portions(stored):
        with storage.database.bulk_write() as conn:
            insert_blocks(conn, kind, some)


def _same(kind: str, rows: Stored, set_id: int) -> None:
    return None


def without_labels(label_ids: Sequence[int]) -> Change:
    """The change that takes all rows of these labels away."""
    wanted = distinct(np.array(label_ids, dtype=np.int64))

    def change(kind: str, rows: Stored, set_id: int) -> list[dict[str, Any]] | None:
        found = decode_column(kind, "label_ids", [row.label_ids for row in rows], [row.n_rows for row in rows])
        gone = np.isin(found, wanted)
        if not bool(gone.any()):
            return None
        table = decode_rows(kind, [tuple(row)[:-2] for row in rows]).table
        left = table.take(np.flatnonzero(~gone))
        return encode_blocks(left, task_id=rows[0].task_id, set_id=set_id, part=rows[0].part)

    return change


def with_columns(names: Callable[[str], Sequence[str]], make: Callable[[str, Any], Any]) -> Change:
    """The change of some columns alone: `names` of a kind, and what `make` makes of each."""

    def change(kind: str, rows: Stored, set_id: int) -> list[dict[str, Any]]:
        counts = [row.n_rows for row in rows]
        ends = np.cumsum(counts).tolist()
        stored = [{**row._mapping, "set_id": set_id} for row in rows]
        for name in names(kind):
            column = make(name, decode_column(kind, name, [row._mapping[name] for row in rows], counts))
            encode = encoder(column)
            for row, count, end in zip(stored, counts, ends, strict=True):
                row[name] = encode if isinstance(encode, bytes) else encode(end - count, end)
        return stored

    return change
