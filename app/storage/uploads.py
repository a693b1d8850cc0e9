"""Staged uploads: tus files, one-shot bodies, forms (reliability.md, section 7; stack.md, section 6).

    open_body / open_chunk → UploadWriter.write(…)* → finish() | abort()

A chunk becomes a blob of its own (a segment), made durable first; then the row's offset moves by compare-and-set. So
the offset that is told is always safe on disk, and of two writers at one offset one wins and the other's blob goes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa

from app.errors import InvalidInput, NotFound, OffsetMismatch, TooLarge, TooManyRequests, shorten
from app.steps import reach
from app.storage.access import Viewer, visible
from app.storage.blobs import BlobSource, BlobWriter
from app.storage.database import Connection
from app.storage.removal import remove_uploads
from app.storage.rows import Segment, Upload, UploadPart, User
from app.storage.schema import now, upload_segments, uploads
from app.storage.storage import Storage


class UploadWriter:
    """Receives one chunk or one body. All of it belongs in a thread: a disk that is behind makes a write wait."""

    def __init__(
        self, blob: BlobWriter, room: int, finish: Callable[[BlobWriter, Sequence[UploadPart]], Upload]
    ) -> None:
        self._blob = blob
        self._room = room
        self._finish = finish

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._blob.size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes.

        Raises:
            TooLarge: more than the upload's length (tus) or than `max_bytes` (body); nothing of it will be kept.
            NoSpace: the disk is full.
        """
        try:
            if self._blob.size + len(data) > self._room:
                raise TooLarge(f"more than the {self._room} bytes that may still come")
            self._blob.write(data)
        except BaseException:
            self._blob.abort()
            raise

    def finish(self, parts: Sequence[UploadPart] = ()) -> Upload:
        """Make what was written durable and count it; also for a chunk that was cut off.

        Raises:
            OffsetMismatch: another writer was faster (its `offset` is the true one).
            NotFound: the upload went away meanwhile.
        """
        try:
            return self._finish(self._blob, parts)
        except BaseException:
            self._blob.abort()
            raise

    def abort(self) -> None:
        """Keep nothing of this chunk or body; harmless after finish."""
        self._blob.abort()


# ---- rows


def _upload(conn: Connection, row: Any, *, with_segments: bool = True) -> Upload:
    segments: Sequence[Any] = ()
    if with_segments:
        segments = _segments(conn, row.id)
    return Upload(
        id=row.id,
        owner_id=row.owner_id,
        kind=row.kind,
        target=row.target,
        target_id=row.target_id,
        filename=row.filename,
        length=row.length,
        offset=row.offset,
        parts=tuple(UploadPart(name, offset, size) for name, offset, size in row.parts),
        request_id=row.request_id,
        created_date=row.created_date,
        updated_date=row.updated_date,
        segments=tuple(Segment(segment.key, segment.size) for segment in segments),
    )


def _segments(conn: Connection, upload_id: str) -> Sequence[Any]:
    return conn.execute(
        sa.select(upload_segments.c.key, upload_segments.c.size)
        .where(upload_segments.c.upload_id == upload_id)
        .order_by(upload_segments.c.offset)
    ).all()


def _insert(
    conn: Connection,
    upload_id: str,
    owner: User,
    *,
    kind: str,
    target: str,
    target_id: int | None,
    filename: str,
    length: int,
    offset: int = 0,
    parts: Sequence[UploadPart] = (),
) -> None:
    if len(filename) > 1024 or "\x00" in filename:
        raise InvalidInput("a file name has at most 1024 characters", place="filename")
    moment = now()
    conn.execute(
        uploads.insert().values(
            id=upload_id,
            owner_id=owner.id,
            kind=kind,
            target=target,
            target_id=target_id,
            filename=filename,
            length=length,
            offset=offset,
            parts=[[part.name, part.offset, part.size] for part in parts],
            created_date=moment,
            updated_date=moment,
        )
    )


def _new_id(owner: User) -> str:
    return f"{owner.id}_{secrets.token_hex(16)}"


def _key(upload_id: str, offset: int) -> str:
    return f"uploads/{upload_id}/{offset}-{secrets.token_hex(4)}"


def create(
    conn: Connection,
    owner: User,
    *,
    kind: str,
    target: str,
    target_id: int | None,
    filename: str,
    length: int,
    max_open: int = 50,
) -> Upload:
    """Begin a resumable upload (tus creation). The caller has checked the length against its limits.

    Raises:
        TooManyRequests: `max_open` unfinished uploads of this user.
    """
    unfinished = sa.select(sa.func.count()).where(uploads.c.owner_id == owner.id, uploads.c.offset < uploads.c.length)
    if conn.execute(unfinished).scalar_one() >= max_open:
        raise TooManyRequests(f"{max_open} uploads are open; finish them first", retry_after_seconds=60)
    upload_id = _new_id(owner)
    _insert(conn, upload_id, owner, kind=kind, target=target, target_id=target_id, filename=filename, length=length)
    return load(conn, upload_id)


def get(conn: Connection, viewer: User, upload_id: str, *, with_segments: bool = True) -> Upload:
    """Raises NotFound (unknown, foreign, expired). Without segments its cost does not follow the chunks so far."""
    row = conn.execute(_query(Viewer(viewer.id, viewer.is_admin)), {"key": upload_id}).one_or_none()
    if row is None:
        raise NotFound("upload", upload_id)
    return _upload(conn, row, with_segments=with_segments)


@lru_cache(maxsize=256)
def _query(viewer: Viewer) -> sa.Select[Any]:
    """Made once: each chunk asks it."""
    return visible(sa.select(uploads), uploads, viewer).where(uploads.c.id == sa.bindparam("key"))


def load(conn: Connection, upload_id: str) -> Upload:
    """The same as `get` without a viewer, for background work."""
    row = conn.execute(sa.select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    if row is None:
        raise NotFound("upload", upload_id)
    return _upload(conn, row)


def _to(viewer: User, kind: str, target: str, target_id: int | None) -> sa.Select[Any]:
    """The viewer's own uploads to a target that no request works on."""
    return sa.select(uploads).where(
        uploads.c.owner_id == viewer.id,
        uploads.c.kind == kind,
        uploads.c.target == target,
        uploads.c.target_id.is_not_distinct_from(target_id),
        uploads.c.request_id.is_(None),
    )


def find(conn: Connection, viewer: User, *, kind: str, target: str, target_id: int | None, filename: str) -> Upload:
    """The complete upload that a client means at `Upload-Finish`: by id, else the newest of that file name.

    Raises:
        InvalidInput: there is none, or it is not complete.
    """
    chosen = _to(viewer, kind, target, target_id).where(
        sa.or_(uploads.c.id == filename, uploads.c.filename == filename)
    )
    order = (sa.case((uploads.c.id == filename, 0), else_=1), uploads.c.created_date.desc(), uploads.c.id)
    row = conn.execute(chosen.order_by(*order).limit(1)).one_or_none()
    if row is None:
        raise InvalidInput(
            f"no upload of the name {shorten(filename)!r} is waiting here", place="filename", code="upload.unknown"
        )
    upload = _upload(conn, row)
    if not upload.is_complete:
        raise InvalidInput(
            f"the upload of {shorten(upload.filename)!r} is not complete: {upload.offset} of {upload.length} bytes",
            place="filename",
            code="upload.incomplete",
        )
    return upload


def waiting(conn: Connection, viewer: User, *, kind: str, target: str, target_id: int | None) -> tuple[Upload, ...]:
    """The complete uploads to this target that no request works on yet, in the order of their creation."""
    chosen = _to(viewer, kind, target, target_id).where(uploads.c.offset == uploads.c.length)
    rows = conn.execute(chosen.order_by(uploads.c.created_date, uploads.c.id)).all()
    return tuple(_upload(conn, row) for row in rows)


def delete(conn: Connection, upload_id: str, *, keep_bytes: bool = False) -> None:
    """Forget an upload; its bytes go after the commit unless a pack took them over. Unknown ids are fine."""
    remove_uploads(conn, uploads.c.id == upload_id, keep_bytes=keep_bytes)


def give_up(conn: Connection, upload_id: str) -> None:
    """The same, unless a request works on it."""
    remove_uploads(conn, sa.and_(uploads.c.id == upload_id, uploads.c.request_id.is_(None)))


# ---- bytes


def open_chunk(
    storage: Storage, viewer: User, upload_id: str, offset: int, *, known: Upload | None = None
) -> UploadWriter:
    """A writer for the bytes from `offset` on; its `finish` gives the upload without its segments.

    Args:
        known: the upload as it was read a moment ago (`get`).

    Raises:
        NotFound: unknown, foreign or expired.
        OffsetMismatch: with the true offset.
        NoSpace: below the minimum of free disk.
    """
    if known is None:
        with storage.database.read() as conn:
            known = get(conn, viewer, upload_id, with_segments=False)
    upload = known
    if upload.offset != offset:
        raise _mismatch(upload.offset)
    room = upload.length - offset

    def finish(blob: BlobWriter, parts: Sequence[UploadPart]) -> Upload:
        assert not parts, "a chunk is no form"
        if blob.size == 0:
            blob.abort()
            with storage.database.read() as conn:
                return get(conn, viewer, upload_id, with_segments=False)
        size = blob.finish()
        reach("tus.synced")
        try:
            with storage.database.write() as conn:
                _add_segment(conn, viewer, upload_id, offset, Segment(blob.key, size))
        except (OffsetMismatch, NotFound):  # anything else leaves the blob to housekeeping: its row may be there
            storage.blobs.delete([blob.key])
            raise
        reach("tus.committed")
        return replace(upload, offset=offset + size)

    return UploadWriter(storage.blobs.open_writer(_key(upload_id, offset), expected_bytes=room), room, finish)


def _mismatch(offset: int) -> OffsetMismatch:
    return OffsetMismatch(f"the upload goes on at byte {offset}", offset)


def _add_segment(conn: Connection, viewer: User, upload_id: str, offset: int, segment: Segment) -> None:
    stop = offset + segment.size
    moved = conn.execute(_moving(), {"upload": upload_id, "start": offset, "stop": stop, "moment": now()})
    if moved.rowcount == 0:
        raise _mismatch(get(conn, viewer, upload_id, with_segments=False).offset)
    row = {"upload_id": upload_id, "offset": offset, "key": segment.key, "size": segment.size}
    conn.execute(_adding(), row)


@cache
def _moving() -> sa.Update:
    """Whoever finds the upload at `start` moves it on."""
    stop = sa.bindparam("stop", type_=uploads.c.offset.type)
    return (
        uploads.update()
        .where(
            uploads.c.id == sa.bindparam("upload"), uploads.c.offset == sa.bindparam("start"), uploads.c.length >= stop
        )
        .values(offset=stop, updated_date=sa.bindparam("moment", type_=uploads.c.updated_date.type))
    )


@cache
def _adding() -> sa.Insert:
    return upload_segments.insert()


def open_body(
    storage: Storage,
    owner: User,
    *,
    kind: str,
    target: str,
    target_id: int | None,
    filename: str,
    max_bytes: int,
    expected_bytes: int = 0,
) -> UploadWriter:
    """A writer for a whole body; `finish` makes it a complete Upload, with the `parts` found in a form.

    Raises:
        NoSpace: `expected_bytes` would leave less than the minimum free.
    """
    upload_id = _new_id(owner)

    def finish(blob: BlobWriter, parts: Sequence[UploadPart]) -> Upload:
        size = blob.finish()
        reach("stage.synced")
        with storage.database.write() as conn:
            _insert(
                conn,
                upload_id,
                owner,
                kind=kind,
                target=target,
                target_id=target_id,
                filename=filename,
                length=size,
                offset=size,
                parts=parts,
            )
            if size:
                conn.execute(upload_segments.insert().values(upload_id=upload_id, offset=0, key=blob.key, size=size))
            else:
                storage.blobs.delete([blob.key])
            upload = load(conn, upload_id)
        reach("stage.committed")
        return upload

    return UploadWriter(storage.blobs.open_writer(_key(upload_id, 0), expected_bytes=expected_bytes), max_bytes, finish)


def open_source(storage: Storage, upload: Upload) -> BlobSource:
    """The bytes of an upload across its segments. `UploadPart` offsets count in it."""
    return storage.blobs.open(upload.segments)
