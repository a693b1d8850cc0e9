"""What nobody needs any more goes here: rows first, then bytes.

A crash between the two leaves bytes without a row, never a row without bytes; the next sweep finds them by looking for
blobs that no row names. Only those older than an hour: a blob is written before its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from app.steps import reach
from app.storage import unfinished
from app.storage.database import Connection, insert_or_not
from app.storage.removal import discard_blobs, drop_sets, forget_requests, remove_uploads
from app.storage.schema import (
    BLOCKS,
    annotation_sets,
    discarded_blobs,
    facts,
    login_failures,
    now,
    packs,
    requests,
    sessions,
    tokens,
    upload_segments,
    uploads,
)
from app.storage.storage import STORE_ID_KEY, Storage

STALE_SET = timedelta(hours=1)  # an import that has not written for so long is dead
TURN = "last-sweep"  # among the facts
BLOBS_A_STEP = 1000
BLOCKS_A_STEP = 256  # rows of one transaction: others wait no longer than that


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed: how many of each."""

    requests: int
    uploads: int
    sets: int
    sessions: int
    blobs: int
    database_bytes: int  # that its file is to lose


def take_turn(storage: Storage, pause_seconds: float) -> bool:
    """Whether nobody has swept for this long; then it is the caller's turn. One of many workers does it for all: a
    sweep lists every blob there is."""
    moment = now()
    due = (moment - timedelta(seconds=pause_seconds)).isoformat()
    is_due = sa.or_(facts.c.value <= due, facts.c.value > moment.isoformat())  # or the clock was set back
    with storage.database.write() as conn:
        insert = insert_or_not(conn, facts)
        turn = insert.values(name=TURN, value=moment.isoformat()).on_conflict_do_update(
            index_elements=["name"], set_={"value": insert.excluded.value}, where=is_due
        )
        return conn.execute(turn.returning(facts.c.name)).one_or_none() is not None


def sweep(storage: Storage, *, upload_ttl_seconds: int = 86400, orphan_age_seconds: int = 3600) -> Swept:
    """Remove expired requests with their results, uploads without a chunk for `upload_ttl_seconds`, annotation sets
    that were never published, what requests that ended were still making, dead sessions and tokens, discarded blobs,
    and blobs without a row that are older than `orphan_age_seconds`, which must be more than work may take. May run
    anywhere, any time, twice at once."""
    moment = now()
    is_final = requests.c.status.in_(("finished", "failed"))
    is_silent = uploads.c.updated_date < moment - timedelta(seconds=upload_ttl_seconds)
    is_stale = annotation_sets.c.touched_date < moment - max(STALE_SET, timedelta(seconds=orphan_age_seconds))
    with storage.database.write() as conn:
        n_requests = forget_requests(conn, sa.and_(is_final, requests.c.expiry_date < moment))
        n_uploads = remove_uploads(conn, sa.and_(is_silent, uploads.c.request_id.is_(None)))
        drop_sets(conn, sa.and_(annotation_sets.c.state == "writing", is_stale))
        unfinished.clear_dead(conn)
        n_sessions = conn.execute(sessions.delete().where(sessions.c.expiry_date < moment)).rowcount
        n_sessions += conn.execute(
            tokens.delete().where(tokens.c.kind == "login", tokens.c.expiry_date < moment)
        ).rowcount
        conn.execute(login_failures.delete().where(login_failures.c.moment < moment - timedelta(minutes=1)))
    with storage.database.read() as conn:
        n_sets = conn.execute(
            sa.select(sa.func.count()).select_from(annotation_sets).where(annotation_sets.c.state == "dropped")
        ).scalar_one()
    reach("sweep.rows")
    n_blobs = collect(storage)
    n_blobs += _collect_orphans(storage, orphan_age_seconds)
    n_blobs += storage.blobs.sweep_incomplete(orphan_age_seconds)
    return Swept(n_requests, n_uploads, n_sets, n_sessions, n_blobs, storage.database.give_back_space())


def collect(storage: Storage) -> int:
    """Remove what committed transactions gave up: dropped annotation sets and discarded blobs (deleted tasks, ended
    uploads, replaced imports). Cheap where there is nothing; returns the number of blobs."""
    with storage.database.read() as conn:
        dropped = (
            conn.execute(
                sa.select(annotation_sets.c.id)
                .where(annotation_sets.c.state == "dropped")
                .order_by(annotation_sets.c.id)
            )
            .scalars()
            .all()
        )
    for set_id in dropped:
        _remove_set(storage, set_id)
    n_removed = 0
    while True:
        with storage.database.read() as conn:
            due = sa.select(discarded_blobs.c.key).where(discarded_blobs.c.not_before <= now())
            keys = conn.execute(due.limit(BLOBS_A_STEP)).scalars().all()
        if not keys:
            return n_removed
        storage.blobs.delete(keys)
        reach("collect.deleted")
        with storage.database.write() as conn:
            conn.execute(discarded_blobs.delete().where(discarded_blobs.c.key.in_(keys)))
        n_removed += len(keys)


def _remove_set(storage: Storage, set_id: int) -> None:
    for table in BLOCKS.values():
        while True:
            some = sa.select(table.c.id).where(table.c.set_id == set_id).limit(BLOCKS_A_STEP)
            with storage.database.read() as conn:
                ids = conn.execute(some).scalars().all()
            if not ids:
                break
            with storage.database.write() as conn:
                conn.execute(table.delete().where(table.c.id.in_(ids)))
    with storage.database.write() as conn:
        key = conn.execute(sa.select(annotation_sets.c.kept_key).where(annotation_sets.c.id == set_id)).scalar()
        # Sets of one import into several tasks have their kept bytes in common: the last one takes them along.
        others = sa.select(annotation_sets.c.id).where(
            annotation_sets.c.kept_key == key, annotation_sets.c.id != set_id
        )
        if key is not None and conn.execute(others.limit(1)).one_or_none() is None:
            discard_blobs(conn, [key], has_readers=True)
        conn.execute(annotation_sets.delete().where(annotation_sets.c.id == set_id))


def _collect_orphans(storage: Storage, age_seconds: int) -> int:
    before = now() - timedelta(seconds=age_seconds)
    n_removed = 0
    old: list[str] = []
    for key, _size, modified in storage.blobs.list():
        if modified < before and key != STORE_ID_KEY:
            old.append(key)
        if len(old) == BLOBS_A_STEP:
            n_removed += _remove_orphans(storage, old)
            old = []
    return n_removed + _remove_orphans(storage, old)


def _remove_orphans(storage: Storage, keys: list[str]) -> int:
    if not keys:
        return 0
    with storage.database.read() as conn:
        orphans = sorted(set(keys) - _named(conn, keys))
    storage.blobs.delete(orphans)
    return len(orphans)


def _named(conn: Connection, keys: list[str]) -> set[str]:
    """Those of the keys that a row names."""
    found: set[str] = set()
    for column in (
        upload_segments.c.key,
        packs.c.key,
        requests.c.result_key,
        annotation_sets.c.kept_key,
        discarded_blobs.c.key,
    ):
        found |= set(conn.execute(sa.select(column).where(column.in_(keys))).scalars())
    return found
