"""Bytes under keys, in a folder and in a bucket."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from obstore.store import MemoryStore, S3Store

from app.errors import Busy, NoSpace, NotFound
from app.storage import Blobs, Result, Segment
from app.storage.blobs import READ_AHEAD_BYTES, BucketBlobs, FolderBlobs, open_blobs
from tests.engines import bucket


@pytest.fixture(params=["folder", "memory", "moto", "seaweedfs"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "folder":
        return FolderBlobs(tmp_path / "b", min_free_bytes=0)
    if request.param == "memory":
        return BucketBlobs(MemoryStore(), tmp_path / "spool", min_free_bytes=0)
    made = bucket(request.param)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return open_blobs(made.place(), tmp_path / "spool", min_free_bytes=0)


def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return sorted(key for key, _, _ in blobs.list(prefix))


def test_a_blob_is_seen_when_it_is_finished(blobs: Blobs) -> None:
    writer = blobs.open_writer("uploads/1/0-a")
    writer.write(b"abc")
    writer.write(memoryview(b"def"))
    assert keys(blobs) == []
    assert writer.finish() == writer.size == 6
    assert keys(blobs) == ["uploads/1/0-a"]
    source = blobs.open_key("uploads/1/0-a")
    assert source.size == 6
    assert (source.read_at(2, 2), source.read_at(4, 10), source.read_at(6, 1), source.read_at(9, 1)) == (
        b"cd",
        b"ef",
        b"",
        b"",
    )
    source.close()


def test_an_aborted_blob_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    writer = blobs.open_writer("uploads/1/0-a")
    writer.write(b"abc")
    writer.abort()
    writer.abort()
    assert keys(blobs) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_segments_read_as_one(blobs: Blobs) -> None:
    parts = [b"abc", b"", b"defgh", b"i"]
    segments = [Segment(f"uploads/1/{i}", blobs.put(f"uploads/1/{i}", part)) for i, part in enumerate(parts)]
    whole = b"".join(parts)
    source = blobs.open(segments)
    for offset in range(len(whole) + 2):
        for length in range(len(whole) + 2):
            assert source.read_at(offset, length) == whole[offset : offset + length]
    source.close()
    assert blobs.open([]).size == 0


def test_large_blobs_read_in_any_order(blobs: Blobs) -> None:
    data = os.urandom(3 * READ_AHEAD_BYTES + 17)
    blobs.put("kept/1", (data[i : i + 100_000] for i in range(0, len(data), 100_000)))
    source = blobs.open_key("kept/1")
    for offset, length in (
        (0, 10),
        (10, 10),
        (READ_AHEAD_BYTES - 3, 10),
        (2 * READ_AHEAD_BYTES, READ_AHEAD_BYTES + 17),
        (5, 5),
    ):
        assert source.read_at(offset, length) == data[offset : offset + length]
    source.close()


def test_missing_blobs(blobs: Blobs) -> None:
    blobs.delete(["kept/none"])
    with pytest.raises(NotFound):
        blobs.open_key("kept/none")
    with pytest.raises(NotFound):
        blobs.open([Segment("kept/none", 3)]).read_at(0, 1)


def test_deleted_blobs_are_gone_and_others_stay(blobs: Blobs) -> None:
    for key in ("results/a/1", "results/a/2", "results/b/1"):
        blobs.put(key, b"x")
    blobs.delete(["results/a/1", "results/b/1"])
    assert keys(blobs) == ["results/a/2"]
    assert keys(blobs, "results/a") == ["results/a/2"]
    blobs.put("results/b/1", b"again")
    assert keys(blobs, "results/b") == ["results/b/1"]


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "../a", "a/../b", ".hidden", "a/.b", "a\\b", "a\x00", "é", "a" * 1025]
)
def test_odd_keys_are_our_own_mistakes(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.open_writer(key)


def test_crashed_writers_are_swept_when_they_are_old(blobs: Blobs) -> None:
    writer = blobs.open_writer("uploads/1/0-a")
    writer.write(b"abc")
    assert blobs.sweep_incomplete(3600) == 0
    assert blobs.sweep_incomplete(-1) == 1
    writer.abort()


def test_too_little_free_space_refuses_before_writing(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, min_free_bytes=1 << 60)
    with pytest.raises(NoSpace, match="MiB"):
        blobs.open_writer("uploads/1/0-a")
    generous = FolderBlobs(tmp_path, min_free_bytes=0)
    with pytest.raises(NoSpace):
        generous.open_writer("uploads/1/0-a", expected_bytes=1 << 60)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_while_finishing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    blobs = FolderBlobs(tmp_path, min_free_bytes=0)
    writer = blobs.open_writer("uploads/1/0-a")
    writer.write(b"abc")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(NoSpace):
            writer.finish()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert blobs.put("uploads/1/0-a", b"again") == 5


def test_files_and_folders_are_synced_before_a_blob_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FolderBlobs(tmp_path, min_free_bytes=0)
    calls: list[str] = []
    real: dict[str, Callable[..., object]] = {"fsync": os.fsync, "replace": os.replace}

    def spy(name: str) -> Callable[..., object]:
        def called(*args: object) -> object:
            calls.append(name)
            return real[name](*args)

        return called

    for name in real:
        monkeypatch.setattr(os, name, spy(name))
    blobs.put("uploads/1/0-a", b"abc")
    # the rename, once more into the new folders; the file; then the blob's folder, and the parents of the two new ones
    assert calls == ["replace", "replace", "fsync", "fsync", "fsync", "fsync"]
    calls.clear()
    blobs.put("uploads/1/3-b", b"def")
    assert calls == ["replace", "fsync", "fsync"]


def test_a_bucket_carries_the_name_of_a_download(tmp_path: Path) -> None:
    store = MemoryStore()
    blobs = BucketBlobs(store, tmp_path, min_free_bytes=0)
    blobs.put("results/a/1", b"x", result=Result("results/a/1", 1, '..tä"sk.zip'))
    attributes = store.get("results/a/1").attributes
    assert attributes["Content-Disposition"] == 'attachment; filename="t__sk.zip"'
    assert attributes["Content-Type"] == "application/zip"
    assert blobs.local_path("results/a/1") is None
    assert blobs.presign("results/a/1") is None


def test_a_download_from_s3_may_be_signed(tmp_path: Path) -> None:
    store = S3Store("bucket", access_key_id="id", secret_access_key="secret", region="us-east-1")
    url = BucketBlobs(store, tmp_path, min_free_bytes=0, signer=store).presign("results/a/1", 60)
    assert url is not None
    assert "results/a/1" in url
    assert "X-Amz-Expires=60" in url


def test_a_bucket_that_refuses_our_keys_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bucket("seaweedfs")
    for name, value in {**made.environ, "AWS_SECRET_ACCESS_KEY": "another one"}.items():
        monkeypatch.setenv(name, value)
    blobs = open_blobs(made.place(), tmp_path, min_free_bytes=0)
    with pytest.raises(Busy, match="refuses our keys"):
        blobs.put("kept/1", b"x")
    with pytest.raises(Busy, match="refuses our keys"):
        blobs.open_key("kept/1")
    address = blobs.presign("kept/1")
    assert address is not None
    assert httpx.get(address).status_code == 403


def test_a_signed_address_gives_the_bytes_with_their_name_to_anyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bucket("seaweedfs")
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    place = made.place()
    blobs = open_blobs(place, tmp_path, min_free_bytes=0)
    writer = blobs.open_writer("results/a/1")
    writer.write(b"abcdef")
    writer.finish(Result("results/a/1", 6, "two words.zip"))  # the name is known when the last byte is
    address = blobs.presign("results/a/1", 60)
    assert address is not None
    answer = httpx.get(address)
    assert (answer.status_code, answer.content) == (200, b"abcdef")
    assert answer.headers["content-disposition"] == 'attachment; filename="two words.zip"'
    assert answer.headers["content-type"] == "application/zip"
    assert httpx.get(address, headers={"Range": "bytes=2-3"}).content == b"cd"
    assert httpx.get(address.replace("results/a/1", "results/a/2")).status_code == 403
    # Where clients reach the bucket at another address than we do, that one is signed.
    outside = open_blobs(place, tmp_path, min_free_bytes=0, public_endpoint="https://files.example.org/")
    assert (outside.presign("results/a/1") or "").startswith("https://files.example.org/annoport-tests/")
    inside = open_blobs(place, tmp_path, min_free_bytes=0, may_redirect=False)
    assert inside.presign("results/a/1") is None
    assert inside.open_key("results/a/1").read_at(0, 10) == b"abcdef"


def test_a_bucket_that_is_not_there_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket("moto").environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Busy, match="does not exist"):
        open_blobs("s3://no-such-bucket/x", tmp_path, min_free_bytes=0).put("kept/1", b"x")
