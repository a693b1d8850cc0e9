"""An upload as one archive: a zip, or several files side by side, with the zips that a format looks into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.archive import Archive, ByteSource, FileRules, SentFile, open_files
from app.formats import knows, looks_into
from app.operations.work import Limits
from app.storage import Storage, Upload, uploads


@contextmanager
def open_upload(storage: Storage, upload: Upload, limits: Limits) -> Iterator[tuple[Archive, ByteSource]]:
    """The archive of an upload, and the bytes that were sent.

    Raises:
        ImportProblems: `zip.*`.
        NoSpace: a zip that must be unpacked first does not fit on the disk.
    """
    rules = FileRules(looks_into, knows, storage.blobs.open_scratch)
    with closing(uploads.open_source(storage, upload)) as source:
        yield open_files(source, sent_files(upload), limits.archive, rules), source


def sent_files(upload: Upload) -> list[SentFile]:
    """The files of an upload: those of its form, or the whole."""
    if upload.parts:
        return [SentFile(part.name, part.offset, part.size) for part in upload.parts]
    return [SentFile(upload.filename, 0, upload.length)]
