"""Bytes under keys: a folder or a bucket.

A blob is written whole and never changed. `finish` returns when it is safe: in a folder after a rename, fsync of the
file, and fsync of the folders (obstore's LocalStore does not sync, so the folder is written with the system's own
calls); in a bucket when the upload is complete. Until it is whole nothing is seen under the key.

Keys are ours: `uploads/…`, `packs/…`, `kept/…`, `results/…`; no client's name is ever part of one.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store, from_url

from app.errors import Busy, NoSpace, NotFound, Unreachable, shortage_of, shortages
from app.steps import reach
from app.storage.rows import Result, Segment

if TYPE_CHECKING:
    from obstore.store import ObjectStore

INCOMING = ".incoming"  # blobs that are being written; no key begins with a dot
KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
WRITE_BUFFER_BYTES = 64 << 10  # larger pieces are not copied there
# How much is gathered in memory before the disk is told to begin with it, which costs CPU each time. What is left is
# for the fsync: of a chunk of 10 MB it took 4.0 ms where 8 MiB were gathered, 1.4 ms of 2 MiB. Long ones gain nothing.
WRITE_BACK_BYTES, LONG_WRITE_BACK_BYTES, LONG_BYTES = 2 << 20, 8 << 20, 16 << 20
SPACE_CHECK_BYTES = 64 << 20  # how much may be written between two looks at the free disk
READ_AHEAD_BYTES = 1 << 20
RANGE_BYTES = 16 << 20  # the most that one request to a bucket asks for: each has to end within its time

# A bucket that is gone is told to the caller in a minute at most; obstore's own patience is three.
BUCKET_CLIENT: dict[str, Any] = {"connect_timeout": "5s", "timeout": "60s", "allow_http": True}
BUCKET_RETRIES: dict[str, Any] = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}


class BlobSource(Protocol):
    """Bytes that can be read anywhere, from any thread; what `app.archive` calls a ByteSource."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end."""

    def close(self) -> None:
        """Give back the file handle, if there is one."""


class BlobWriter(Protocol):
    """Receives one blob. `write` is cheap enough for an event loop; `finish` is not (call it in a thread)."""

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes. Raises NoSpace."""

    def finish(self, result: Result | None = None) -> int:
        """Make the blob durable and visible under its key. Returns its size. `result` as in `Blobs.open_writer`, for
        what is known only now."""

    def abort(self) -> None:
        """Drop what was written; harmless after finish or abort."""


class Blobs(Protocol):
    """All blobs of one store."""

    def open_writer(self, key: str, *, expected_bytes: int = 0, result: Result | None = None) -> BlobWriter:
        """Begin a blob. `result` gives a bucket the download's name and type.

        Raises:
            NoSpace: `expected_bytes` more would leave less than the minimum free.
        """

    def put(self, key: str, chunks: bytes | Iterable[bytes], *, result: Result | None = None) -> int:
        """Write a whole blob durably. Returns its size."""

    def open(self, segments: Sequence[Segment]) -> BlobSource:
        """The bytes of the segments, one after the other, as one source. Raises NotFound."""

    def open_key(self, key: str) -> BlobSource:
        """One blob. Raises NotFound."""

    def local_path(self, key: str) -> Path | None:
        """Where the blob lies on this machine, or None for a bucket. Raises NotFound."""

    def presign(self, key: str, seconds: int = 300) -> str | None:
        """A URL that anyone may GET for a while, or None for a folder."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove blobs; missing ones are fine."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """(key, size, last modified) of every blob below the prefix."""

    def sweep_incomplete(self, age_seconds: float) -> int:
        """Remove what crashed writers left, untouched for `age_seconds`. Returns how many."""

    def check_space(self, needed_bytes: int = 0) -> None:
        """Raises NoSpace unless `needed_bytes` and the minimum are free."""

    def open_scratch(self, needed_bytes: int) -> IO[bytes]:
        """An empty file without a name, gone when it is closed. Raises NoSpace."""


def open_blobs(
    url: str,
    spool_dir: Path,
    *,
    min_free_bytes: int = 512 << 20,
    may_redirect: bool = True,
    public_endpoint: str = "",
) -> Blobs:
    """`file:///folder` (or a plain path), `s3://bucket/prefix`, or any other URL that obstore knows.

    Args:
        spool_dir: where bodies for a bucket are gathered before they are sent.
        may_redirect: whether clients can reach the bucket, so that `presign` gives addresses.
        public_endpoint: the bucket's server as clients reach it, where it differs from ours.
    """
    if "://" not in url or url.startswith("file://"):
        return FolderBlobs(Path(url.removeprefix("file://")), min_free_bytes=min_free_bytes)
    store = _open_bucket(url)
    signer = store
    if public_endpoint and isinstance(store, S3Store):
        signer = _open_bucket(url, endpoint=public_endpoint.rstrip("/"))
    return BucketBlobs(store, spool_dir, min_free_bytes=min_free_bytes, signer=signer if may_redirect else None)


def _open_bucket(url: str, **config: str) -> ObjectStore:
    options: Any = {"client_options": BUCKET_CLIENT, "retry_config": BUCKET_RETRIES, **config}
    store: ObjectStore = from_url(url, **options)
    return store


def check_key(key: str) -> str:
    if not KEY.fullmatch(key) or len(key) > 1024:
        raise ValueError(f"not a blob key: {key!r}")
    return key


def check_free(folder: Path, needed_bytes: int, min_free_bytes: int) -> None:
    with shortages():
        free = shutil.disk_usage(folder).free
    if free < needed_bytes + min_free_bytes:
        raise NoSpace(
            f"there is not enough space on the disk: {free >> 20} MiB are free, "
            f"{(needed_bytes + min_free_bytes) >> 20} MiB are needed"
        )


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _find_sync_file_range() -> Callable[..., int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):  # not Linux
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return cast("Callable[..., int]", function)


_sync_file_range = _find_sync_file_range()
SYNC_FILE_RANGE_WRITE = 2


def begin_writing(handle: int, offset: int, length: int) -> None:
    """Let the disk begin with these bytes while more come, so that the fsync at the end finds little left to do.

    No promise: where the system cannot, or will not, the fsync does all of it."""
    if _sync_file_range is not None:
        _sync_file_range(handle, offset, length, SYNC_FILE_RANGE_WRITE)


def gather(writer: BlobWriter, chunks: bytes | Iterable[bytes]) -> int:
    try:
        for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
            writer.write(chunk)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


class _FileWriter:
    """A file in the incoming folder; what becomes of it is decided by the subclass."""

    is_synced = True

    def __init__(self, key: str, path: Path, folder: Path, min_free_bytes: int) -> None:
        self.key = check_key(key)
        self.size = 0
        self._path = path
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._unchecked = 0
        self._begun = 0
        with shortages():
            self._file = open(path, "xb", buffering=WRITE_BUFFER_BYTES)  # noqa: SIM115 - closed by finish and abort
        self._open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with shortages():
            self._file.write(data)
        length = data.nbytes if isinstance(data, memoryview) else len(data)
        self.size += length
        self._unchecked += length
        step = WRITE_BACK_BYTES if self.size < LONG_BYTES else LONG_WRITE_BACK_BYTES
        if self.is_synced and self.size - self._begun >= step:
            begin_writing(self._file.fileno(), self._begun, self.size - self._begun)
            self._begun = self.size
        if self._unchecked >= SPACE_CHECK_BYTES:
            self._unchecked = 0
            check_free(self._folder, 0, self._min_free_bytes)

    def finish(self, result: Result | None = None) -> int:
        if result is not None:
            self._describe(result)
        try:
            with shortages():
                self._deliver()
        except BaseException:
            self.abort()
            raise
        self._open = False
        return self.size

    def _describe(self, result: Result) -> None:
        """Files have no names for their readers: those lie in rows."""

    def _deliver(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        with suppress(OSError):  # a full disk may refuse the last flush, and nobody wants these bytes
            self._file.close()
        with suppress(OSError):  # a broken one may refuse even this; then they go with what crashed writers left
            self._path.unlink(missing_ok=True)


class FolderBlobs:
    """A folder; a key is a path below it."""

    def __init__(self, root: Path, *, min_free_bytes: int = 512 << 20) -> None:
        self.root = root.absolute()
        self.min_free_bytes = min_free_bytes
        self.incoming = self.root / INCOMING
        with shortages():
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open_writer(self, key: str, *, expected_bytes: int = 0, result: Result | None = None) -> BlobWriter:
        self.check_space(expected_bytes)
        return _FolderWriter(key, self)

    def put(self, key: str, chunks: bytes | Iterable[bytes], *, result: Result | None = None) -> int:
        return gather(self.open_writer(key), chunks)

    def open(self, segments: Sequence[Segment]) -> BlobSource:
        return _open_segments(self, segments)

    def open_key(self, key: str) -> BlobSource:
        return _FileSource(key, self.root / check_key(key))

    def local_path(self, key: str) -> Path | None:
        path = self.root / check_key(key)
        if not path.is_file():
            raise NotFound("blob", key)
        return path

    def presign(self, key: str, seconds: int = 300) -> str | None:
        return None

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.root / check_key(key)
            with shortages():
                path.unlink(missing_ok=True)
            # Folders are made on the way in; the last one out removes them. A writer that is about to use one of them
            # makes it again (`_FolderWriter`).
            for folder in path.parents:
                if folder == self.root or not _remove_empty(folder):
                    break

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        base = self.root / check_key(prefix.rstrip("/")) if prefix else self.root
        for folder, folders, files in os.walk(base):
            if Path(folder) == self.root and INCOMING in folders:
                folders.remove(INCOMING)
            for name in files:
                path = Path(folder) / name
                try:
                    stat = path.stat()
                except FileNotFoundError:  # removed meanwhile
                    continue
                yield path.relative_to(self.root).as_posix(), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)

    def sweep_incomplete(self, age_seconds: float) -> int:
        return _sweep_folder(self.incoming, age_seconds)

    def check_space(self, needed_bytes: int = 0) -> None:
        check_free(self.root, needed_bytes, self.min_free_bytes)

    def open_scratch(self, needed_bytes: int) -> IO[bytes]:
        self.check_space(needed_bytes)
        with shortages():
            return tempfile.TemporaryFile(dir=self.incoming)


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _sweep_folder(folder: Path, age_seconds: float) -> int:
    n_removed = 0
    with shortages():
        found = list(folder.iterdir())
    for path in found:
        with suppress(FileNotFoundError), shortages():
            if time.time() - path.stat().st_mtime > age_seconds:
                path.unlink()
                n_removed += 1
    return n_removed


class _FolderWriter(_FileWriter):
    def __init__(self, key: str, blobs: FolderBlobs) -> None:
        super().__init__(key, blobs.incoming / secrets.token_hex(16), blobs.root, blobs.min_free_bytes)
        self._root = blobs.root

    def _deliver(self) -> None:
        """Under its key first, then safe: one commit of the file system's journal is enough for the bytes and the name.
        Nobody asks for the key before a row names it, and the row comes after this."""
        kind = self.key.partition("/")[0]
        self._file.flush()
        reach(f"{kind}.written")
        target = self._root / self.key
        new: list[Path] = []
        for _ in range(10):
            try:
                os.replace(self._path, target)
                break
            except FileNotFoundError:  # the folder is not there yet, or was empty for a moment, and somebody removed it
                if not self._path.exists():
                    raise
                new += [folder for folder in target.parents if not folder.exists()]
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            os.replace(self._path, target)
        self._path = target
        reach(f"{kind}.renamed")
        os.fsync(self._file.fileno())
        self._file.close()
        for folder in {target.parent, *(folder.parent for folder in new)}:
            sync_folder(folder)


class _FileSource:
    """A file, read by position."""

    def __init__(self, key: str, path: Path) -> None:
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound("blob", key, "the stored file is gone") from None
        except OSError as error:
            raise shortage_of(error) or error from error
        self.size = os.fstat(self._handle).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            return self._read(offset, length)
        except OSError as error:
            raise shortage_of(error) or error from error

    def _read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._handle, length, offset)
        if len(data) in (length, max(0, self.size - offset)):
            return data
        parts = [data]  # the kernel gives at most 2 GiB at once
        while data and sum(map(len, parts)) < length:
            data = os.pread(self._handle, length - sum(map(len, parts)), offset + sum(map(len, parts)))
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) >= 0:
            self.close()


class _Joined:
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[BlobSource], sizes: Sequence[int]) -> None:
        self._sources = sources
        self._starts = [0, *accumulate(sizes)]
        self.size = self._starts[-1]

    def read_at(self, offset: int, length: int) -> bytes:
        parts = []
        index = max(0, bisect_right(self._starts, offset) - 1)
        while length > 0 and index < len(self._sources):
            inside = offset - self._starts[index]
            take = min(length, self._starts[index + 1] - offset)
            if take > 0:
                parts.append(self._sources[index].read_at(inside, take))
                offset += take
                length -= take
            index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        for source in self._sources:
            source.close()


class _Lazy:
    """A blob that is opened by the first read: uploads may have thousands of segments."""

    def __init__(self, blobs: Blobs, segment: Segment) -> None:
        self._blobs = blobs
        self._key = segment.key
        self._source: BlobSource | None = None
        self.size = segment.size

    def read_at(self, offset: int, length: int) -> bytes:
        source = self._source
        if source is None:
            source = self._source = self._blobs.open_key(self._key)
        return source.read_at(offset, length)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


def _open_segments(blobs: Blobs, segments: Sequence[Segment]) -> BlobSource:
    used = [segment for segment in segments if segment.size]
    if len(used) == 1:
        return blobs.open_key(used[0].key)
    return _Joined([_Lazy(blobs, segment) for segment in used], [segment.size for segment in used])


class BucketBlobs:
    """A bucket behind obstore. Bodies are gathered in a spool file first: a slow bucket never holds an event loop."""

    def __init__(
        self,
        store: ObjectStore,
        spool_dir: Path,
        *,
        min_free_bytes: int = 512 << 20,
        signer: ObjectStore | None = None,
    ) -> None:
        self.store = store
        self.signer = signer
        self.spool = spool_dir
        self.min_free_bytes = min_free_bytes
        with shortages():
            self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open_writer(self, key: str, *, expected_bytes: int = 0, result: Result | None = None) -> BlobWriter:
        self.check_space(expected_bytes)
        return _BucketWriter(key, self, result)

    def put(self, key: str, chunks: bytes | Iterable[bytes], *, result: Result | None = None) -> int:
        return gather(self.open_writer(key, result=result), chunks)

    def open(self, segments: Sequence[Segment]) -> BlobSource:
        return _open_segments(self, segments)

    def open_key(self, key: str) -> BlobSource:
        with bucket_errors(key):
            size = obstore.head(self.store, check_key(key))["size"]
        return _BucketSource(self.store, key, size)

    def local_path(self, key: str) -> Path | None:
        return None

    def presign(self, key: str, seconds: int = 300) -> str | None:
        if not isinstance(self.signer, S3Store):  # nobody may, or it cannot sign: the bytes go through us
            return None
        with bucket_errors(key):
            return obstore.sign(self.signer, "GET", check_key(key), timedelta(seconds=seconds))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with suppress(NotFound), bucket_errors(key):
                obstore.delete(self.store, check_key(key))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        pages = iter(obstore.list(self.store, prefix.rstrip("/") or None))
        while True:
            with bucket_errors(prefix):
                page = next(pages, None)
            if page is None:
                return
            for entry in page:
                yield entry["path"], entry["size"], entry["last_modified"]

    def sweep_incomplete(self, age_seconds: float) -> int:
        return _sweep_folder(self.spool, age_seconds)

    def check_space(self, needed_bytes: int = 0) -> None:
        check_free(self.spool, needed_bytes, self.min_free_bytes)

    def open_scratch(self, needed_bytes: int) -> IO[bytes]:
        self.check_space(needed_bytes)
        with shortages():
            return tempfile.TemporaryFile(dir=self.spool)


@contextmanager
def bucket_errors(key: str) -> Iterator[None]:
    """A missing object is NotFound, anything else of a bucket may be better in a while."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        if "NoSuchBucket" in str(error):
            raise Busy("the bucket does not exist; create it, or correct ANNOPORT_BLOB_URL") from error
        raise NotFound("blob", key, "the stored file is gone") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Busy("the object store refuses our keys; check the AWS_ variables") from error
    except BaseError as error:
        raise Unreachable("the object store does not answer, try again") from error


class _BucketWriter(_FileWriter):
    is_synced = False  # the file goes as soon as the bucket has its bytes

    def __init__(self, key: str, blobs: BucketBlobs, result: Result | None) -> None:
        super().__init__(key, blobs.spool / secrets.token_hex(16), blobs.spool, blobs.min_free_bytes)
        self._store = blobs.store
        self._attributes: dict[str, str] = {}
        if result is not None:
            self._describe(result)

    def _describe(self, result: Result) -> None:
        # A presigned URL cannot set headers, so the object carries them.
        name = re.sub(r"[^A-Za-z0-9_.\- ]", "_", result.filename).lstrip(".")
        self._attributes = {
            "Content-Type": result.content_type,
            "Content-Disposition": f'attachment; filename="{name}"',
        }

    def _deliver(self) -> None:
        self._file.close()
        with bucket_errors(self.key):
            obstore.put(self._store, self.key, self._path, attributes=cast(Any, self._attributes) or None)
        self._path.unlink()


class _BucketSource:
    """An object, read by ranges; small reads fetch 1 MiB and keep it."""

    def __init__(self, store: ObjectStore, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self.size = size
        self._window: tuple[int, bytes] = (0, b"")
        self._lock = threading.Lock()

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        with self._lock:
            start, data = self._window
        if start <= offset and offset + length <= start + len(data):
            return data[offset - start : offset - start + length]
        if length > RANGE_BYTES:
            places = range(offset, offset + length, RANGE_BYTES)
            return b"".join(self._fetch(place, min(RANGE_BYTES, offset + length - place)) for place in places)
        take = min(max(length, READ_AHEAD_BYTES), self.size - offset)
        data = self._fetch(offset, take)
        if take > length:
            with self._lock:
                self._window = (offset, data)
        return data[:length]

    def _fetch(self, offset: int, length: int) -> bytes:
        with bucket_errors(self._key):
            return bytes(obstore.get_range(self._store, self._key, start=offset, length=length))

    def close(self) -> None:
        self._window = (0, b"")
