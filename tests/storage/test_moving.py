"""A store moved between the shapes: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.annotations import Annotations
from app.errors import Conflict, Damaged
from app.storage import BlobWriter, RequestDraft, Storage, annotations, move, requests, tasks, uploads
from app.storage.blobs import BucketBlobs, FolderBlobs
from app.storage.schema import metadata
from tests.storage.stores import ENGINES, make_task, open_store, place_of, shapes, user

OTHER = {"sqlite": "postgresql", "postgresql": "sqlite"}


@pytest.fixture(params=ENGINES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Storage]]:
    """A store with something in it, and an empty one of the other shape."""
    with ExitStack() as stack:
        source = stack.enter_context(open_store(request.param, tmp_path / "source"))
        place = stack.enter_context(place_of(OTHER[request.param], tmp_path / "target"))
        target = place.open()
        stack.callback(target.close)
        fill(source)
        yield source, target


def fill(storage: Storage) -> None:
    for _ in range(3):
        task = make_task(storage, 100)
    with storage.database.write() as conn:
        tasks.delete(conn, user(storage, "ann"), task.id)  # its number is never given again
    task = make_task(storage, 200, jobs=((0, 100), (100, 200)))
    with annotations.begin_set(storage, task.id) as writer:
        writer.write(Annotations(shapes=shapes(list(range(200)) * 3, lines=[b"a line"] * 600)))
        writer.keep(b"kept bytes" * 1000)
        writer.extras({"ä": [1, 2.5, None]})
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    ann = user(storage, "ann")
    with storage.database.write() as conn:
        draft = RequestDraft("export:dataset", "task", task_id=task.id, format="f", options={})
        requests.create(conn, ann, draft, max_queued_per_user=9, max_queued=9)
        upload = uploads.create(conn, ann, kind="data", target="task", target_id=task.id, filename="x", length=10)
    chunk = uploads.open_chunk(storage, ann, upload.id, 0)
    chunk.write(b"half")
    chunk.finish()


def all_rows(storage: Storage) -> dict[str, list[str]]:
    with storage.database.read() as conn:
        return {
            table.name: sorted(repr(tuple(row)) for row in conn.execute(sa.select(table)))
            for table in metadata.sorted_tables
            if table.name not in ("facts", "discarded_blobs")
        }


def bytes_of(storage: Storage) -> dict[str, bytes]:
    with storage.database.read() as conn:
        waiting = set(conn.execute(sa.select(metadata.tables["discarded_blobs"].c.key)).scalars())
    found = {}
    for key, size, _ in storage.blobs.list():
        if key not in waiting and key != "store-id":
            source = storage.blobs.open_key(key)
            found[key] = source.read_at(0, size)
            source.close()
    return found


def test_everything_is_there_and_the_next_numbers_are_new(both: tuple[Storage, Storage]) -> None:
    source, target = both
    before = all_rows(source)
    moved = move(source, target)
    assert all_rows(target) == before == all_rows(source)
    assert bytes_of(target) == bytes_of(source)
    assert moved.rows == sum(map(len, before.values())) + 1  # the mark that labels changed, among the facts
    assert moved.blobs == len(bytes_of(target)) > 1
    target.check_health()
    made = [make_task(storage, 10).id for storage in both]
    assert made[0] == made[1] == 5


def test_an_upload_goes_on_where_it_was(both: tuple[Storage, Storage]) -> None:
    source, target = both
    move(source, target)
    ann = user(target, "ann")
    with target.database.read() as conn:
        (found,) = conn.execute(sa.select(metadata.tables["uploads"].c.id)).scalars()
    chunk = uploads.open_chunk(target, ann, found, 4)
    chunk.write(b" whole")
    chunk.finish()
    with target.database.read() as conn:
        whole = uploads.load(conn, found)
    assert uploads.open_source(target, whole).read_at(0, 99) == b"half whole"


def test_a_target_that_holds_something_is_refused(both: tuple[Storage, Storage]) -> None:
    source, target = both
    target.blobs.put("kept/1", b"x")
    with pytest.raises(Conflict, match="not empty"):
        move(source, target)
    target.blobs.delete(["kept/1"])
    move(source, target)
    before = all_rows(target)
    with pytest.raises(Conflict, match="not empty"):
        move(source, target)
    with pytest.raises(Conflict, match="same store"):
        move(source, source)
    assert all_rows(target) == before


def test_work_at_hand_is_waited_for(both: tuple[Storage, Storage]) -> None:
    source, target = both
    with source.database.write() as conn:
        (request,) = conn.execute(sa.select(metadata.tables["requests"].c.id)).scalars()
        assert requests.claim(conn, request, lease_seconds=60)
    with pytest.raises(Conflict, match="stop the service"):
        move(source, target)


def test_bytes_that_are_gone_are_said(both: tuple[Storage, Storage]) -> None:
    source, target = both
    source.blobs.delete([key for key in bytes_of(source) if key.startswith("kept/")])
    with pytest.raises(Damaged, match="kept/"):
        move(source, target)
    assert all_rows(target)["tasks"] == []


def test_a_move_that_was_cut_off_goes_on(both: tuple[Storage, Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = both
    n_puts: list[str] = []
    kind = FolderBlobs if isinstance(target.blobs, FolderBlobs) else BucketBlobs
    real = kind.open_writer

    def fail_later(self: FolderBlobs, key: str, **more: object) -> BlobWriter:
        n_puts.append(key)
        if len(n_puts) > 1:
            raise OSError("cut off")
        return real(self, key, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(kind, "open_writer", fail_later)
        with pytest.raises(OSError, match="cut off"):
            move(source, target)
    assert len(bytes_of(target)) == 1
    assert all_rows(target)["users"] == []
    said: list[str] = []
    move(source, target, said.append)
    assert said[0] == f"{len(bytes_of(source))} files, {len(bytes_of(source)) - 1} of them to be copied"
    assert bytes_of(target) == bytes_of(source)
    assert all_rows(target) == all_rows(source)
