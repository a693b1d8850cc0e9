"""The rows of background work: limits, leases, one effect."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from app.annotations import Annotations
from app.errors import Busy, Cancelled, Conflict, NotFound, TooManyRequests
from app.storage import ListQuery, RequestDraft, Result, Storage, User, annotations, housekeeping, requests, uploads
from app.storage.removal import remove_task
from app.storage.schema import now
from app.storage.schema import requests as table
from tests.storage.stores import make_task, shapes

TTL = 1000


def export(task_id: int, **more: object) -> RequestDraft:
    return RequestDraft("export:dataset", "task", task_id=task_id, format="f", **more)


def importing(task_id: int, **more: object) -> RequestDraft:
    return RequestDraft("import:annotations", "task", task_id=task_id, format="f", **more)


def create(storage: Storage, owner: User, draft: RequestDraft, **more: object) -> str:
    with storage.database.write() as conn:
        return requests.create(conn, owner, draft, **more)[0].id


def claim(storage: Storage, request_id: str, lease_seconds: float = 60) -> int | None:
    with storage.database.write() as conn:
        claimed = requests.claim(conn, request_id, lease_seconds=lease_seconds)
    return None if claimed is None else claimed.attempt


def status(storage: Storage, request_id: str) -> str:
    with storage.database.read() as conn:
        return requests.load(conn, request_id).status


def test_the_way_of_a_request(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    with storage.database.write() as conn:
        created, is_new = requests.create(conn, ann, export(task.id, options={"save_images": True}))
        assert (is_new, created.status, created.attempt, created.owner.username) == (True, "queued", 0, "ann")
        assert (created.options, created.is_final) == ({"save_images": True}, False)
        started = requests.claim(conn, created.id, lease_seconds=60)
        assert started is not None
        assert (started.status, started.attempt, started.progress) == ("started", 1, 0.0)
        requests.beat(conn, created.id, 1, lease_seconds=60, progress=1.5, message="half")
        beaten = requests.get(conn, ann, created.id)
        assert (beaten.progress, beaten.message) == (1.0, "half")
        result = Result("results/x/1", 5, "t.zip")
        requests.finish(conn, created.id, 1, report={"counts": {}}, result=result, ttl_seconds=TTL)
        final = requests.get(conn, ann, created.id)
    assert (final.status, final.result, final.report, final.progress) == ("finished", result, {"counts": {}}, 1.0)
    assert final.finished_date is not None
    assert final.expiry_date is not None
    assert abs(final.expiry_date - final.finished_date - timedelta(seconds=TTL)) < timedelta(seconds=1)


def test_nothing_leaves_the_end(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    for end in ("finish", "fail", "cancel"):
        request_id = create(storage, ann, importing(task.id))
        assert claim(storage, request_id) == 1
        with storage.database.write() as conn:
            if end == "finish":
                requests.finish(conn, request_id, 1, ttl_seconds=TTL)
            elif end == "fail":
                requests.fail(conn, request_id, 1, message="", ttl_seconds=TTL)
            else:
                requests.cancel(conn, ann, request_id)
            before = requests.load(conn, request_id)
            assert before.message or end == "finish"
        assert claim(storage, request_id) is None
        for call in (
            lambda conn, key: requests.beat(conn, key, 1, lease_seconds=1, progress=0),
            lambda conn, key: requests.finish(conn, key, 1, ttl_seconds=TTL),
            lambda conn, key: requests.fail(conn, key, 1, message="x", ttl_seconds=TTL),
        ):
            with pytest.raises(Cancelled), storage.database.write() as conn:
                call(conn, request_id)
        with pytest.raises(Conflict), storage.database.write() as conn:
            requests.cancel(conn, ann, request_id)
        with storage.database.write() as conn:
            requests.release(conn, request_id, 1)
            assert requests.load(conn, request_id) == before


def test_one_of_many_claims_succeeds(storage: Storage, ann: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    found: list[int | None] = []
    threads = [threading.Thread(target=lambda: found.append(claim(storage, request_id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == ["1", *["None"] * 5]


def test_a_silent_worker_loses_its_request_to_another(storage: Storage, ann: User) -> None:
    task = make_task(storage, 3)
    request_id = create(storage, ann, importing(task.id))
    assert claim(storage, request_id, lease_seconds=0.01) == 1
    time.sleep(0.02)
    assert claim(storage, request_id) == 2
    with pytest.raises(Cancelled), storage.database.write() as conn:  # noqa: PT012
        annotations.append(conn, task.id, Annotations(shapes=shapes([1])))
        requests.finish(conn, request_id, 1, ttl_seconds=TTL)
    with storage.database.write() as conn:
        assert annotations.counts(conn, task.id)["shapes"] == 0
        annotations.append(conn, task.id, Annotations(shapes=shapes([1])))
        requests.finish(conn, request_id, 2, ttl_seconds=TTL)
        assert annotations.counts(conn, task.id)["shapes"] == 1


def test_the_third_death_fails_with_a_word(storage: Storage, ann: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    for attempt in (1, 2, 3):
        assert claim(storage, request_id, lease_seconds=-1) == attempt
        with storage.database.write() as conn:
            assert requests.has_lost(conn)
            lost = requests.requeue_lost(conn, ttl_seconds=TTL)
            assert lost == ((request_id,) if attempt < 3 else ())
    with storage.database.read() as conn:
        final = requests.load(conn, request_id)
        assert not requests.has_lost(conn)
    assert final.status == "failed"
    assert "interrupted" in final.message


def test_forgotten_requests_are_announced_once_a_minute(storage: Storage, ann: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    with storage.database.write() as conn:
        assert requests.requeue_lost(conn, ttl_seconds=TTL) == ()
        conn.execute(table.update().values(queued_date=now() - timedelta(seconds=61)))
        assert requests.requeue_lost(conn, ttl_seconds=TTL) == (request_id,)
        assert requests.requeue_lost(conn, ttl_seconds=TTL) == ()


@pytest.mark.parametrize(("lost_after_seconds", "is_lost"), [(5, True), (20, False), (3600, False)])
def test_where_leases_are_short_forgotten_requests_wait_no_longer_than_one(
    storage: Storage, ann: User, lost_after_seconds: float, is_lost: bool
) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    with storage.database.write() as conn:
        conn.execute(table.update().values(queued_date=now() - timedelta(seconds=6)))
        assert requests.has_lost(conn, lost_after_seconds=lost_after_seconds) == is_lost
        found = requests.requeue_lost(conn, ttl_seconds=TTL, lost_after_seconds=lost_after_seconds)
        assert found == ((request_id,) if is_lost else ())
        conn.execute(table.update().values(queued_date=now() - timedelta(seconds=61)))
        found = requests.requeue_lost(conn, ttl_seconds=TTL, lost_after_seconds=3600)
        assert found == (request_id,), "a minute at most"


def test_a_released_request_has_not_lost_an_attempt(storage: Storage, ann: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    for attempt in range(1, 6):
        assert claim(storage, request_id) == attempt
        with storage.database.write() as conn:
            requests.release(conn, request_id, attempt)
            assert requests.requeue_lost(conn, ttl_seconds=TTL) == (request_id,)
    for attempt in range(6, 9):
        assert claim(storage, request_id) == attempt
        with storage.database.write() as conn:
            requests.release(conn, request_id, attempt, counts=True)
    assert claim(storage, request_id) is None


def test_imports_into_one_task_exclude_each_other(storage: Storage, ann: User, admin: User) -> None:
    task, other = make_task(storage, 4), make_task(storage, 4)
    request_id = create(storage, ann, importing(task.id))
    for draft in (
        importing(task.id),
        RequestDraft("create:task", "task", task_id=task.id),
        importing(task.id, job_id=1),
    ):
        with pytest.raises(Conflict):
            create(storage, admin, draft)
    create(storage, ann, importing(other.id))
    create(storage, ann, export(task.id))
    with storage.database.write() as conn:
        requests.cancel(conn, ann, request_id)
    create(storage, ann, importing(task.id))


def test_equal_exports_are_one_request(storage: Storage, ann: User, admin: User) -> None:
    task = make_task(storage, 4)
    first = create(storage, ann, export(task.id, options={"a": 1, "b": 2}))
    assert create(storage, ann, export(task.id, options={"b": 2, "a": 1})) == first
    assert create(storage, ann, export(task.id, options={"a": 2})) != first
    assert create(storage, admin, export(task.id, options={"a": 1, "b": 2})) != first
    with storage.database.write() as conn:  # what is written after the first was asked for must be in the second
        annotations.append(conn, task.id, Annotations(shapes=shapes([1])))
    second = create(storage, ann, export(task.id, options={"a": 1, "b": 2}))
    assert second != first
    claim(storage, second)
    with storage.database.write() as conn:
        requests.finish(conn, second, 1, result=Result("k", 1, "f"), ttl_seconds=TTL)
    assert create(storage, ann, export(task.id, options={"a": 1, "b": 2}), reuse_finished=True) == second
    assert create(storage, ann, export(task.id, options={"a": 1, "b": 2})) != second


def test_the_queue_is_limited(storage: Storage, ann: User, bob: User) -> None:
    ids = [make_task(storage, 1).id for _ in range(3)]
    for task_id in ids[:2]:
        create(storage, ann, export(task_id), max_queued_per_user=2)
    with pytest.raises(TooManyRequests):
        create(storage, ann, export(ids[2]), max_queued_per_user=2)
    with pytest.raises(Busy) as caught:
        create(storage, bob, export(ids[2]), max_queued=2)
    assert caught.value.retry_after_seconds > 0


def test_uploads_belong_to_one_request_and_go_with_its_end(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    target = {"kind": "annotations", "target": "task", "target_id": task.id}
    writer = uploads.open_body(storage, ann, filename="a", max_bytes=9, **target)
    writer.write(b"abc")
    upload = writer.finish()
    request_id = create(storage, ann, importing(task.id, upload_ids=(upload.id,)))
    with storage.database.read() as conn:
        assert requests.load(conn, request_id).upload_ids == (upload.id,)
    with storage.database.write() as conn:
        requests.cancel(conn, ann, request_id)
        with pytest.raises(NotFound):
            uploads.load(conn, upload.id)
    with pytest.raises(NotFound):
        create(storage, ann, importing(task.id, upload_ids=(upload.id,)))


def test_what_was_removed_meanwhile_is_asked_nothing_of(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    with storage.database.write() as conn:
        remove_task(conn, task.id)
    for draft in (importing(task.id), export(task.id), RequestDraft("import:dataset", "project", project_id=99)):
        with pytest.raises(NotFound):
            create(storage, ann, draft)


def test_a_foreign_request_is_not_there(storage: Storage, ann: User, bob: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    with storage.database.write() as conn:
        for call in (requests.get, requests.cancel):
            with pytest.raises(NotFound):
                call(conn, bob, request_id)
    assert status(storage, request_id) == "queued"


def test_lists_and_numbers(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    with storage.database.read() as conn:
        assert requests.oldest_queued_seconds(conn) == 0
    ids = [create(storage, ann, importing(task.id)), create(storage, ann, export(task.id))]
    with storage.database.read() as conn:
        assert [r.id for r in requests.list_page(conn, ann, ListQuery()).items] == ids[::-1]
        for equals in ({"action": "import"}, {"subresource": "annotations"}, {"action": "import", "status": "queued"}):
            assert [r.id for r in requests.list_page(conn, ann, ListQuery(equals=equals)).items] == ids[:1]
        assert requests.counts(conn) == {"queued": 2, "started": 0, "finished": 0, "failed": 0}
        assert 0 < requests.oldest_queued_seconds(conn) < 60


def test_a_download_keeps_the_result_longer(storage: Storage, ann: User) -> None:
    request_id = create(storage, ann, export(make_task(storage, 1).id))
    claim(storage, request_id)
    with storage.database.write() as conn:
        requests.finish(conn, request_id, 1, result=Result("k", 1, "f"), ttl_seconds=10)
        before = requests.load(conn, request_id).expiry_date
        requests.mark_downloaded(conn, request_id, ttl_seconds=1)
        assert requests.load(conn, request_id).expiry_date == before
        requests.mark_downloaded(conn, request_id, ttl_seconds=1000)
        after = requests.load(conn, request_id).expiry_date
    assert before is not None
    assert after is not None
    assert after > before + timedelta(seconds=900)


def test_one_of_many_sweeps_for_all(storage: Storage) -> None:
    assert housekeeping.take_turn(storage, 0)
    assert not housekeeping.take_turn(storage, 3600)
    assert housekeeping.take_turn(storage, 0)
