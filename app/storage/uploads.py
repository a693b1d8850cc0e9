"""Staged uploads: tus files, one-shot bodies, forms (reliability.md, section 7; stack.md, section 6).

    open_body / open_chunk → UploadWriter.write(…)* → finish() | abort()

A chunk becomes a blob of its own (a segment), made durable first; then the row's offset moves by compare-and-set. So
the offset that is told is always safe on disk, and of two writers at one offset one wins and the other's blob goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.storage.blobs import BlobSource
from app.storage.database import Connection
from app.storage.rows import Upload, UploadPart, User
from app.storage.storage import Storage


class UploadWriter:
    """Receives one chunk or one body. `write` is fit for an event loop; `finish` and `abort` belong in a thread."""

    size: int

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes.

        Raises:
            TooLarge: more than the upload's length (tus) or than `max_bytes` (body); nothing of it will be kept.
            NoSpace: the disk is full.
        """
        raise NotImplementedError

    def finish(self, parts: Sequence[UploadPart] = ()) -> Upload:
        """Make what was written durable and count it; also for a chunk that was cut off.

        Raises:
            OffsetMismatch: another writer was faster (its `offset` is the true one).
            NotFound: the upload went away meanwhile.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Keep nothing of this chunk or body; harmless after finish."""
        raise NotImplementedError


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
    raise NotImplementedError


def open_chunk(storage: Storage, viewer: User, upload_id: str, offset: int) -> UploadWriter:
    """A writer for the bytes from `offset` on.

    Raises:
        NotFound: unknown, foreign or expired.
        OffsetMismatch: with the true offset.
        NoSpace: below the minimum of free disk.
    """
    raise NotImplementedError


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
    raise NotImplementedError


def get(conn: Connection, viewer: User, upload_id: str) -> Upload:
    """Raises NotFound (unknown, foreign, expired)."""
    raise NotImplementedError


def find(conn: Connection, viewer: User, *, kind: str, target: str, target_id: int | None, filename: str) -> Upload:
    """The complete upload that a client means at `Upload-Finish`: by id, else the newest of that file name.

    Raises:
        InvalidInput: there is none, or it is not complete.
    """
    raise NotImplementedError


def waiting(conn: Connection, viewer: User, *, kind: str, target: str, target_id: int | None) -> tuple[Upload, ...]:
    """The complete uploads to this target that no request works on yet, in the order of their creation."""
    raise NotImplementedError


def load(conn: Connection, upload_id: str) -> Upload:
    """The same as `get` without a viewer, for background work."""
    raise NotImplementedError


def open_source(storage: Storage, upload: Upload) -> BlobSource:
    """The bytes of an upload across its segments. `UploadPart` offsets count in it."""
    raise NotImplementedError


def delete(conn: Connection, upload_id: str, *, keep_bytes: bool = False) -> None:
    """Forget an upload; its bytes go after the commit unless a pack took them over. Unknown ids are fine."""
    raise NotImplementedError
