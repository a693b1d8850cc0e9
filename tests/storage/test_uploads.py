"""Staged uploads against a plain twin: a byte string that grows."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from app.errors import InvalidInput, NotFound, OffsetMismatch, TooLarge, TooManyRequests
from app.storage import RequestDraft, Storage, Upload, UploadPart, UploadWriter, User, housekeeping, requests, uploads
from app.storage.schema import now
from app.storage.schema import uploads as upload_table
from tests.storage.stores import make_task, open_store, user

TARGET = {"kind": "annotations", "target": "task", "target_id": 1}


def create(storage: Storage, owner: User, length: int, filename: str = "a.zip", max_open: int = 50) -> Upload:
    with storage.database.write() as conn:
        return uploads.create(conn, owner, filename=filename, length=length, max_open=max_open, **TARGET)


def send(storage: Storage, owner: User, upload_id: str, offset: int, data: bytes) -> Upload:
    writer = uploads.open_chunk(storage, owner, upload_id, offset)
    writer.write(data)
    return writer.finish()


def content(storage: Storage, upload: Upload) -> bytes:
    source = uploads.open_source(storage, upload)
    try:
        return source.read_at(0, source.size)
    finally:
        source.close()


def blob_keys(storage: Storage) -> list[str]:
    return sorted(key for key, _, _ in storage.blobs.list("uploads"))


class Tus(RuleBasedStateMachine):
    """Clients that send, race, break off and ask, in any order."""

    files = Bundle("files")
    writers = Bundle("writers")

    @initialize()
    def start(self) -> None:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.storage = self.stack.enter_context(open_store("sqlite", Path(folder)))
        self.owner = user(self.storage, "ann")
        self.expected: dict[str, bytes] = {}
        self.lengths: dict[str, int] = {}
        self.opened: list[UploadWriter] = []

    def teardown(self) -> None:
        for writer in getattr(self, "opened", ()):
            writer.abort()
        if hasattr(self, "stack"):
            self.stack.close()

    @rule(target=files, length=st.integers(0, 12))
    def create(self, length: int) -> str:
        upload = create(self.storage, self.owner, length)
        self.expected[upload.id] = b""
        self.lengths[upload.id] = length
        return upload.id

    @rule(upload_id=files, data=st.binary(max_size=6), shift=st.sampled_from([0, 0, 0, -1, 1]))
    def send(self, upload_id: str, data: bytes, shift: int) -> None:
        known = self.expected[upload_id]
        offset = len(known) + shift
        try:
            found = send(self.storage, self.owner, upload_id, offset, data)
        except OffsetMismatch as error:
            assert shift != 0
            assert error.offset == len(known)  # noqa: PT017
        except TooLarge:
            assert shift == 0
            assert len(known) + len(data) > self.lengths[upload_id]
        else:
            assert shift == 0
            self.expected[upload_id] = known + data
            assert found.offset == len(known) + len(data)

    @rule(target=writers, upload_id=files, data=st.binary(min_size=1, max_size=4))
    def begin(self, upload_id: str, data: bytes) -> tuple[str, int, bytes, UploadWriter] | None:
        offset = len(self.expected[upload_id])
        writer = uploads.open_chunk(self.storage, self.owner, upload_id, offset)
        self.opened.append(writer)
        try:
            writer.write(data)
        except TooLarge:
            assert offset + len(data) > self.lengths[upload_id]
            return None
        return upload_id, offset, data, writer

    @rule(begun=writers, abort=st.booleans())
    def end(self, begun: tuple[str, int, bytes, UploadWriter] | None, abort: bool) -> None:
        if begun is None:
            return
        upload_id, offset, data, writer = begun
        if abort:
            writer.abort()
            return
        known = self.expected[upload_id]
        try:
            writer.finish()
        except OffsetMismatch as error:
            assert offset != len(known)
            assert error.offset == len(known)  # noqa: PT017
        except ValueError:  # finished or aborted before: a writer is used once
            pass
        else:
            assert offset == len(known)
            self.expected[upload_id] = known + data

    @invariant()
    def what_is_told_is_there(self) -> None:
        n_segments = 0
        for upload_id, data in getattr(self, "expected", {}).items():
            with self.storage.database.read() as conn:
                upload = uploads.get(conn, self.owner, upload_id)
            assert upload.offset == len(data)
            assert upload.is_complete == (len(data) == self.lengths[upload_id])
            assert content(self.storage, upload) == data
            n_segments += len(upload.segments)
        if hasattr(self, "storage"):
            assert len(blob_keys(self.storage)) == n_segments


TestTus = Tus.TestCase
TestTus.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)


def test_of_writers_at_one_offset_one_wins_and_the_others_blobs_go(storage: Storage, ann: User) -> None:
    upload = create(storage, ann, 100)
    results: list[int | str] = []
    barrier = threading.Barrier(5)

    def work(number: int) -> None:
        writer = uploads.open_chunk(storage, ann, upload.id, 0)
        writer.write(bytes([number]) * 10)
        barrier.wait()
        try:
            results.append(writer.finish().offset)
        except OffsetMismatch as error:
            results.append(f"lost {error.offset}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["10", *["lost 10"] * 4]
    assert len(blob_keys(storage)) == 1


def test_bytes_before_a_cut_count(storage: Storage, ann: User) -> None:
    upload = create(storage, ann, 10)
    writer = uploads.open_chunk(storage, ann, upload.id, 0)
    writer.write(b"abc")
    assert writer.finish().offset == 3  # the edge finishes when the client is gone
    assert send(storage, ann, upload.id, 3, b"defghij").is_complete


def test_a_chunk_past_the_length_keeps_nothing(storage: Storage, ann: User) -> None:
    upload = create(storage, ann, 5)
    writer = uploads.open_chunk(storage, ann, upload.id, 0)
    writer.write(b"abc")
    with pytest.raises(TooLarge):
        writer.write(b"def")
    assert blob_keys(storage) == []
    with storage.database.read() as conn:
        assert uploads.get(conn, ann, upload.id).offset == 0


def test_an_upload_of_nothing_is_complete_and_takes_an_empty_chunk(storage: Storage, ann: User) -> None:
    upload = create(storage, ann, 0)
    assert upload.is_complete
    assert send(storage, ann, upload.id, 0, b"").offset == 0
    assert content(storage, upload) == b""
    assert blob_keys(storage) == []


def test_open_uploads_are_limited_per_user(storage: Storage, ann: User, bob: User) -> None:
    first = create(storage, ann, 5, max_open=2)
    create(storage, ann, 5, max_open=2)
    with pytest.raises(TooManyRequests):
        create(storage, ann, 5, max_open=2)
    create(storage, bob, 5, max_open=2)
    send(storage, ann, first.id, 0, b"abcde")
    create(storage, ann, 5, max_open=2)


def test_a_form_is_one_body_with_parts(storage: Storage, ann: User) -> None:
    writer = uploads.open_body(
        storage, ann, kind="data", target="task", target_id=1, filename="", max_bytes=100, expected_bytes=12
    )
    writer.write(b"--x\r\nabc--x\r\ndefg")
    parts = (UploadPart("/home/a.png", 5, 3), UploadPart("b.png", 13, 4))
    upload = writer.finish(parts)
    assert (upload.parts, upload.is_complete, upload.offset) == (parts, True, 17)
    source = uploads.open_source(storage, upload)
    assert [source.read_at(part.offset, part.size) for part in upload.parts] == [b"abc", b"defg"]
    source.close()


def test_a_body_over_its_limit_leaves_nothing(storage: Storage, ann: User) -> None:
    writer = uploads.open_body(storage, ann, filename="a", max_bytes=3, **TARGET)
    with pytest.raises(TooLarge):
        writer.write(b"abcd")
    assert blob_keys(storage) == []
    with storage.database.read() as conn:
        assert uploads.waiting(conn, ann, **TARGET) == ()


def test_finish_finds_by_id_or_newest_name(storage: Storage, ann: User, bob: User) -> None:
    first, second, unfinished = (create(storage, ann, 3, name) for name in ("a.zip", "a.zip", "b.zip"))
    send(storage, ann, first.id, 0, b"abc")
    send(storage, ann, second.id, 0, b"def")
    with storage.database.read() as conn:
        assert uploads.find(conn, ann, filename=first.id, **TARGET).id == first.id
        assert uploads.find(conn, ann, filename="a.zip", **TARGET).id == second.id
        assert [upload.id for upload in uploads.waiting(conn, ann, **TARGET)] == [first.id, second.id]
        for viewer, name in ((ann, "c.zip"), (ann, "b.zip"), (ann, unfinished.id), (bob, "a.zip"), (bob, first.id)):
            with pytest.raises(InvalidInput):
                uploads.find(conn, viewer, filename=name, **TARGET)
        with pytest.raises(InvalidInput):
            uploads.find(conn, ann, filename="a.zip", kind="annotations", target="task", target_id=2)


def test_a_backup_has_no_target(storage: Storage, ann: User) -> None:
    target = {"kind": "backup", "target": "task", "target_id": None}
    with storage.database.write() as conn:
        upload = uploads.create(conn, ann, filename="a.zip", length=0, **target)
        assert uploads.find(conn, ann, filename="a.zip", **target).id == upload.id


def test_silent_uploads_expire_with_their_bytes_but_not_while_worked_on(storage: Storage, ann: User) -> None:
    task = make_task(storage, 1)
    silent, working = create(storage, ann, 3), create(storage, ann, 3)
    for upload in (silent, working):
        send(storage, ann, upload.id, 0, b"abc")
    with storage.database.write() as conn:
        draft = RequestDraft("import:annotations", "task", task_id=task.id, upload_ids=(working.id,))
        request, _ = requests.create(conn, ann, draft)
        conn.execute(upload_table.update().values(updated_date=now() - timedelta(hours=25)))
    assert housekeeping.sweep(storage).uploads == 1
    with storage.database.write() as conn:
        with pytest.raises(NotFound):
            uploads.get(conn, ann, silent.id)
        assert content(storage, uploads.load(conn, working.id)) == b"abc"
        with pytest.raises(InvalidInput):  # a request has it
            uploads.find(conn, ann, filename=working.id, **TARGET)
        requests.cancel(conn, ann, request.id)
    housekeeping.collect(storage)
    assert blob_keys(storage) == []


def test_a_chunk_for_an_upload_that_went_away_leaves_nothing(storage: Storage, ann: User) -> None:
    upload = create(storage, ann, 3)
    writer = uploads.open_chunk(storage, ann, upload.id, 0)
    writer.write(b"abc")
    with storage.database.write() as conn:
        uploads.delete(conn, upload.id)
        uploads.delete(conn, "unknown")
    with pytest.raises(NotFound):
        writer.finish()
    assert blob_keys(storage) == []
