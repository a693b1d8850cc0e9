"""Taking things away: rows in the transaction, their bytes after its commit.

A key that is discarded in a transaction becomes a row of `discarded_blobs`; `housekeeping.collect` removes the bytes
later, also after a crash. Annotation sets are only marked here: their blocks are many, and go bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa

from app.errors import NotFound
from app.storage.changes import lock_task
from app.storage.database import Connection, insert_or_not
from app.storage.schema import annotation_sets, discarded_blobs, now, packs, requests, tasks, upload_segments, uploads

# An export reads rows in one transaction, which shows it pictures and kept PNGs that were given up meanwhile. It has as
# long as a worker's wall time allows by default, and more.
READERS_MAY_TAKE = timedelta(minutes=75)


def discard_blobs(conn: Connection, keys: Iterable[str], *, has_readers: bool = False) -> None:
    """The bytes under these keys go after the commit; where exports may be reading them, `READERS_MAY_TAKE` later."""
    not_before = now() + READERS_MAY_TAKE if has_readers else now()
    values = [{"key": key, "not_before": not_before} for key in keys]
    if values:
        conn.execute(insert_or_not(conn, discarded_blobs).on_conflict_do_nothing(), values)


def drop_sets(conn: Connection, chosen: sa.ColumnElement[bool]) -> None:
    """Hide annotation sets for ever; `housekeeping.collect` removes them."""
    conn.execute(annotation_sets.update().where(chosen).values(state="dropped"))


def remove_uploads(conn: Connection, chosen: sa.ColumnElement[bool], *, keep_bytes: bool = False) -> int:
    """Forget uploads. Returns how many."""
    ids = conn.execute(sa.select(uploads.c.id).where(chosen).with_for_update()).scalars().all()
    if not ids:
        return 0
    if not keep_bytes:
        of_them = upload_segments.c.upload_id.in_(ids)
        discard_blobs(conn, conn.execute(sa.select(upload_segments.c.key).where(of_them)).scalars().all())
    conn.execute(upload_segments.delete().where(upload_segments.c.upload_id.in_(ids)))
    conn.execute(uploads.delete().where(uploads.c.id.in_(ids)))
    return len(ids)


def forget_requests(conn: Connection, chosen: sa.ColumnElement[bool]) -> int:
    """Remove requests with their results and staged uploads. Returns how many."""
    found = sa.select(requests.c.id, requests.c.result_key).where(chosen)
    rows = conn.execute(found.order_by(requests.c.id).with_for_update()).all()
    if not rows:
        return 0
    ids = [row.id for row in rows]
    discard_blobs(conn, [row.result_key for row in rows if row.result_key is not None])
    remove_uploads(conn, uploads.c.request_id.in_(ids))
    conn.execute(requests.delete().where(requests.c.id.in_(ids)))
    return len(ids)


def remove_task(conn: Connection, task_id: int) -> None:
    """Remove a task with everything of it. It is locked first: what others were writing of it goes, too."""
    with suppress(NotFound):
        lock_task(conn, task_id)
    keys = conn.execute(sa.select(packs.c.key).where(packs.c.task_id == task_id)).scalars().all()
    discard_blobs(conn, keys, has_readers=True)
    drop_sets(conn, annotation_sets.c.task_id == task_id)
    forget_requests(conn, requests.c.task_id == task_id)
    remove_uploads(conn, sa.and_(uploads.c.target == "task", uploads.c.target_id == task_id))
    conn.execute(tasks.delete().where(tasks.c.id == task_id))  # jobs, labels, frames go with it
