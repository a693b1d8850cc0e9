"""Each fsync and rename in turn fails once: nothing acknowledged is lost or half there, and all works again after."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.annotations import Annotations
from app.errors import Busy, NoSpace
from app.storage import AnnotationReader, Storage, User, annotations, housekeeping, uploads
from tests.storage.stores import make_task, open_store, shapes, user

CALLS = ("fsync", "replace")


class Faults:
    """Lets the n-th call of the named functions of `os` fail."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int, code: int) -> None:
        self.left = n
        for name in CALLS:
            patch.setattr(os, name, self.failing(getattr(os, name), code))

    def failing(self, real: Callable[..., Any], code: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(code, os.strerror(code))
            return real(*arguments)

        return call


def upload_and_import(storage: Storage, ann: User, task_id: int, told: list[tuple[str, bytes]]) -> None:
    """A tus upload in two chunks, then an import with kept bytes; `told` gets what was acknowledged."""
    target = {"kind": "annotations", "target": "task", "target_id": task_id}
    with storage.database.write() as conn:
        upload = uploads.create(conn, ann, filename="a.zip", length=6, **target)
    for offset, data in ((0, b"abc"), (3, b"def")):
        writer = uploads.open_chunk(storage, ann, upload.id, offset)
        writer.write(data)
        upload = writer.finish()
        told.append((upload.id, b"abcdef"[: upload.offset]))
    with annotations.begin_set(storage, task_id) as writer_of_set:
        writer_of_set.write(Annotations(shapes=shapes([1, 2])))
        writer_of_set.keep(b"png")
        writer_of_set.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer_of_set.set_id)


def check(storage: Storage, ann: User, task_id: int, told: list[tuple[str, bytes]], before: int) -> int:
    """Everything acknowledged is there; the annotations are the old or the new. Returns how many."""
    with storage.database.snapshot() as conn:
        for upload_id, data in told[-1:]:
            upload = uploads.get(conn, ann, upload_id)
            source = uploads.open_source(storage, upload)
            assert source.read_at(0, 100) == data
            source.close()
        reader = AnnotationReader(conn, storage, task_id)
        n_shapes = sum(len(batch) for batch in reader.shapes())
        assert n_shapes in (before, 2)
        reader.close()
    return n_shapes


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["disk full", "disk broken"])
def test_every_sync_and_rename_may_fail(tmp_path: Path, code: int) -> None:
    with open_store("sqlite", tmp_path) as storage:
        ann = user(storage, "ann")
        for n in range(1, 40):
            task_id = make_task(storage, 5).id
            told: list[tuple[str, bytes]] = []
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch, n, code)
                try:
                    upload_and_import(storage, ann, task_id, told)
                except NoSpace:
                    assert code == errno.ENOSPC
                except Busy:
                    assert code == errno.EIO
                else:
                    assert faults.left > 0, "the fault was swallowed"
            done = check(storage, ann, task_id, told, 0)
            incoming = list((tmp_path / "blobs" / ".incoming").iterdir())
            assert incoming == []
            if faults.left > 0:
                break
            upload_and_import(storage, ann, task_id, told)
            assert check(storage, ann, task_id, told, done) == 2
        else:
            pytest.fail("the calls do not end")
        assert n > 8, "the fault points were not reached"
        housekeeping.sweep(storage, orphan_age_seconds=-5)
        keys = [key for key, _, _ in storage.blobs.list("uploads")]
        with storage.database.read() as conn:
            waiting = uploads.waiting(conn, ann, kind="annotations", target="task", target_id=task_id)
        assert {segment.key for upload in waiting for segment in upload.segments} <= set(keys)
