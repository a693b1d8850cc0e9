"""The store after all is over: rows have their bytes, and bytes their rows."""

from __future__ import annotations

import sqlalchemy as sa

from app.storage import Storage, housekeeping
from app.storage.schema import annotation_sets, discarded_blobs, packs, requests, upload_segments
from app.storage.storage import STORE_ID_KEY

NAMED = (upload_segments.c.key, packs.c.key, requests.c.result_key, annotation_sets.c.kept_key)


def check_store(storage: Storage) -> list[str]:
    """What is wrong. One round of housekeeping without patience is made in between; the store is closed."""
    try:
        wrong = [f"a row without bytes: {key}" for key in sorted(_named(storage) - _there(storage))]
        housekeeping.sweep(storage, orphan_age_seconds=-5)
        wrong += [
            f"a row that lost its bytes to housekeeping: {key}" for key in sorted(_named(storage) - _there(storage))
        ]
        wrong += [
            f"bytes without a row: {key}" for key in sorted(_there(storage) - _named(storage) - _given_up(storage))
        ]
        with storage.database.read() as conn:
            active = conn.execute(sa.select(requests.c.id).where(requests.c.status.in_(("queued", "started")))).all()
            wrong += [f"request {row.id} is not final" for row in active]
            sets = sa.select(annotation_sets.c.id, annotation_sets.c.state).where(annotation_sets.c.state == "dropped")
            wrong += [f"annotation set {row.id} is still {row.state}" for row in conn.execute(sets)]
            if storage.database.is_sqlite:
                found = conn.execute(sa.text("PRAGMA integrity_check")).scalar_one()
                wrong += [] if found == "ok" else [f"the database: {found}"]
    finally:
        storage.close()
    return wrong


def _named(storage: Storage) -> set[str]:
    with storage.database.read() as conn:
        return {key for column in NAMED for key in conn.execute(sa.select(column)).scalars() if key is not None}


def _given_up(storage: Storage) -> set[str]:
    """Bytes that go when their last reader must have ended."""
    with storage.database.read() as conn:
        return set(conn.execute(sa.select(discarded_blobs.c.key)).scalars())


def _there(storage: Storage) -> set[str]:
    return {key for key, _, _ in storage.blobs.list()} - {STORE_ID_KEY}
