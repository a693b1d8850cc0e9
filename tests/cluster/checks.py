"""What must hold of a store after any number of deaths, in both shapes: looked up in the rows and the bytes themselves.

wait_until_quiet   every request ended, by itself
check_store        nothing half done, nothing lost between rows and bytes, nothing left over
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from app.storage import Storage, housekeeping
from app.storage.schema import (
    BLOCKS,
    annotation_sets,
    discarded_blobs,
    now,
    packs,
    projects,
    requests,
    tasks,
    upload_segments,
    uploads,
)
from app.storage.storage import STORE_ID_KEY


def wait_until_quiet(storage: Storage, seconds: float = 240) -> None:
    """Until no request is queued or at work."""
    deadline = time.monotonic() + seconds
    waiting = sa.select(requests.c.id, requests.c.type, requests.c.status, requests.c.attempt).where(
        requests.c.status.in_(["queued", "started"])
    )
    while True:
        with storage.database.read() as conn:
            left = conn.execute(waiting).all()
        if not left:
            return
        assert time.monotonic() < deadline, f"never ended: {left}"
        time.sleep(0.2)


def check_store(storage: Storage) -> dict[str, int]:
    """Raises AssertionError; returns what was counted. Nobody may be at work in the store.

    1 no request is open, each final one has a moment of its end, a failed one a reason
    2 no annotation set is half written, no task or project half made
    3 every row that names bytes finds them, of the size that it names
    4 after housekeeping no bytes are left that no row names, and no blocks of a set that is gone
    """
    database = storage.database
    with database.read() as conn:
        ended = conn.execute(sa.select(requests)).all()
        states = Counter(row.status for row in ended)
        assert set(states) <= {"finished", "failed"}, states
        assert all(row.finished_date is not None and row.lease_until is None for row in ended)
        assert all(row.message for row in ended if row.status == "failed")
    _finish_dropping(storage)
    with database.read() as conn:
        sets = conn.execute(sa.select(annotation_sets.c.id, annotation_sets.c.state)).all()
        assert {state for _, state in sets} <= {"visible"}, sets
        for table in (tasks, projects):
            assert conn.execute(sa.select(table.c.id).where(table.c.maker_id.is_not(None))).all() == []
        known = {number for number, _ in sets}
        for kind, table in BLOCKS.items():
            of_sets = set(conn.execute(sa.select(table.c.set_id).distinct()).scalars())
            assert of_sets <= known, f"{kind} of sets that are gone: {of_sets - known}"
        named: dict[str, int | None] = {}
        for key, size in (
            (upload_segments.c.key, upload_segments.c.size),
            (packs.c.key, None),
            (requests.c.result_key, requests.c.result_size),
            (annotation_sets.c.kept_key, annotation_sets.c.kept_size),
        ):
            chosen = sa.select(key, size if size is not None else sa.null()).where(key.is_not(None))
            named |= {row[0]: row[1] for row in conn.execute(chosen)}
        waiting = set(conn.execute(sa.select(discarded_blobs.c.key)).scalars())
        n_uploads = conn.execute(sa.select(sa.func.count()).select_from(uploads)).scalar_one()
    found = {key: size for key, size, _ in storage.blobs.list()}
    lost = named.keys() - found.keys()
    assert not lost, f"rows name bytes that are gone: {sorted(lost)[:5]}"
    wrong = {key for key, size in named.items() if size is not None and size != found[key]}
    assert not wrong, f"bytes of another size than their row says: {sorted(wrong)[:5]}"
    orphans = found.keys() - named.keys() - waiting - {STORE_ID_KEY}
    assert not orphans, f"bytes that no row names: {sorted(orphans)[:5]}"
    return {**states, "sets": len(sets), "blobs": len(found), "uploads": n_uploads}


def _finish_dropping(storage: Storage) -> None:
    """All that housekeeping would do in the next hours, now: what died in the middle is old, nobody is at work."""
    long_ago = now() - timedelta(days=1)
    with storage.database.write() as conn:
        unpublished = annotation_sets.c.state == "writing"
        conn.execute(annotation_sets.update().where(unpublished).values(touched_date=long_ago))
    housekeeping.sweep(storage, orphan_age_seconds=-5)
    with storage.database.write() as conn:
        conn.execute(discarded_blobs.update().values(not_before=long_ago))
    housekeeping.collect(storage)
