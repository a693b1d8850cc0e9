"""Annotation sets: invisible, then whole; what they keep, and for how long."""

from __future__ import annotations

import threading
import zlib
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app import block_inserts
from app.annotations import Annotations, Images, Rows
from app.columns import Ragged, Texts
from app.errors import Conflict, Damaged, InvalidInput
from app.storage import AnnotationReader, Storage, User, annotations, frames, housekeeping, jobs, set_writer, tasks
from app.storage.schema import BLOCKS, annotation_sets, discarded_blobs, now
from tests.storage.stores import kept, make_task, shapes, tags

SIZE = 150


@pytest.fixture
def task_id(storage: Storage) -> int:
    return make_task(storage, SIZE, ((0, 80), (70, SIZE))).id


def put_in(storage: Storage, task_id: int, batch: Annotations, name: str, png: bytes = b"", **chosen: Any) -> int:
    window = {key: chosen[key] for key in ("start", "stop") if key in chosen}
    with annotations.begin_set(storage, task_id, **window) as writer:
        writer.write(batch)
        if png:
            writer.keep(png)
        writer.extras({"name": name})
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id, **chosen)
    return writer.set_id


def state(storage: Storage, task_id: int) -> tuple[list[int], list[str]]:
    """Frames of the shapes, and the names of the imports still in use."""
    with storage.database.snapshot() as conn:
        reader = AnnotationReader(conn, storage, task_id)
        found = [frame for batch in reader.shapes() for frame in batch.frames.tolist()]
        return found, [extras["name"] for extras in reader.extras().values()]


def blobs_to_come(storage: Storage) -> list[str]:
    """What will be removed when no export can be reading it any more."""
    with storage.database.read() as conn:
        return [row.key for row in conn.execute(discarded_blobs.select())]


def kept_keys(storage: Storage) -> list[str]:
    return [key for key, _, _ in storage.blobs.list("kept")]


def test_replace_takes_the_place_of_all_and_append_adds(storage: Storage, task_id: int) -> None:
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes([5])))
    put_in(storage, task_id, Annotations(shapes=shapes([1, 100])), "a", b"png a")
    assert state(storage, task_id) == ([1, 100], ["a"])
    put_in(storage, task_id, Annotations(shapes=shapes([2])), "b", b"png b", mode="append")
    assert state(storage, task_id) == ([1, 2, 100], ["a", "b"])
    assert len(kept_keys(storage)) == 2
    put_in(storage, task_id, Annotations(shapes=shapes([3])), "c", mode="replace")
    assert state(storage, task_id) == ([3], ["c"])
    housekeeping.collect(storage)
    assert len(kept_keys(storage)) == 2  # an export may be reading them
    with storage.database.write() as conn:
        conn.execute(discarded_blobs.update().values(not_before=now()))
    housekeeping.collect(storage)
    assert kept_keys(storage) == []
    with pytest.raises(InvalidInput):
        put_in(storage, task_id, Annotations(), "d", mode="merge")


def test_groups_of_a_set_at_work_move_together(storage: Storage, task_id: int) -> None:
    frames, numbers = [0, 1, 1, 70, 149], np.array([5, 0, 6, 5, 5], dtype=np.int32)
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes([0]).replace(groups=numbers[:1])))
    with annotations.begin_set(storage, task_id) as writer:
        for _ in "ab":  # blocks of two parts
            grouped = tags(frames).replace(groups=numbers)
            writer.write(Annotations(shapes=shapes(frames).replace(groups=numbers), tags=grouped))
            writer.flush()
        writer.close()
        with storage.database.write() as conn:
            assert annotations.highest_group(conn, task_id, writer.set_id) == 6
            annotations.move_groups(conn, task_id, writer.set_id, 10)
            annotations.publish(conn, writer.set_id, mode="append")
    with storage.database.read() as conn:
        found = annotations.load(conn, task_id)
    wanted = [15] * 2 + [0, 16] * 2 + [15] * 4
    assert found.shapes.groups.tolist() == [5, *wanted]
    assert found.tags.groups.tolist() == wanted
    with storage.database.snapshot() as conn:
        parts = list(AnnotationReader(conn, storage, task_id, start=1, stop=140, frame_offset=1000).grouped_tags())
    assert [frame for frames, _ in parts for frame in frames.tolist()] == [1001, 1001, 1070, 1070]
    assert [group for _, groups in parts for group in groups.tolist()] == [16, 16, 15, 15]


def test_an_import_into_a_job_leaves_the_other_frames(storage: Storage, task_id: int) -> None:
    with storage.database.read() as conn:
        one, two = jobs.of_task(conn, task_id)
    everywhere = [0, 69, 70, 79, 80, 149]
    images = Images.empty(6).replace(
        frames=np.array(everywhere, dtype=np.int32), names=Ragged.from_bytes([b"x"] * 6), kept=kept([b"i"] * 6)
    )
    hidden = Rows(np.array([-1, 5, 75], dtype=np.int32), kept([b"r"] * 3))
    put_in(storage, task_id, Annotations(shapes=shapes(everywhere), images=images, rows=hidden), "a")
    start, stop = two.frame_range
    put_in(storage, task_id, Annotations(shapes=shapes([75])), "b", start=start, stop=stop)
    assert state(storage, task_id) == ([0, 69, 75], ["a", "b"])
    with storage.database.read() as conn:
        found = annotations.load(conn, task_id, start=-1, kinds=("images", "rows"))
        assert found.images.frames.tolist() == [0, 69]
        assert found.rows.frames.tolist() == [-1, 5]
    start, stop = one.frame_range
    put_in(storage, task_id, Annotations(shapes=shapes([79])), "c", start=start, stop=stop)
    # The rest of b lies in the overlap of both jobs; only the row without a frame is left of a.
    assert state(storage, task_id) == ([79], ["a", "c"])


def test_a_set_for_a_job_takes_no_other_frames(storage: Storage, task_id: int) -> None:
    with annotations.begin_set(storage, task_id, start=70, stop=80) as writer:
        writer.write(Annotations(shapes=shapes([70, 79])))
        with pytest.raises(InvalidInput, match="frame 80 is not one of 70 to 79"):
            writer.write(Annotations(shapes=shapes([75, 80])))


def test_nothing_is_seen_before_the_publish_and_an_error_leaves_nothing(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([1])), "a")
    with pytest.raises(ZeroDivisionError), annotations.begin_set(storage, task_id) as writer:  # noqa: PT012
        writer.write(Annotations(shapes=shapes([2])))
        writer.keep(b"png")
        writer.close()
        assert state(storage, task_id) == ([1], ["a"])
        raise ZeroDivisionError
    assert state(storage, task_id) == ([1], ["a"])
    housekeeping.collect(storage)
    with storage.database.read() as conn:
        assert len(conn.execute(annotation_sets.select()).all()) == 1
        assert len(conn.execute(BLOCKS["shapes"].select()).all()) == 1
        with pytest.raises(Conflict):
            annotations.publish(conn, writer.set_id)
    assert blobs_to_come(storage) == kept_keys(storage)


def test_a_publish_that_is_undone_changes_nothing(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([1])), "a")
    with annotations.begin_set(storage, task_id) as writer:
        writer.write(Annotations(shapes=shapes([2])))
        writer.close()
        with pytest.raises(ZeroDivisionError), storage.database.write() as conn:  # noqa: PT012
            annotations.publish(conn, writer.set_id)
            raise ZeroDivisionError
        assert state(storage, task_id) == ([1], ["a"])


def test_large_imports_go_in_many_parts_and_transactions(
    storage: Storage, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_writer, "BUFFER_BYTES", 5000)
    monkeypatch.setattr(block_inserts, "TRANSACTION_BYTES", 1000)
    rng = np.random.default_rng(3)
    sent = [rng.integers(0, SIZE, 40).tolist() for _ in range(20)]
    with annotations.begin_set(storage, task_id) as writer:
        for number, chosen in enumerate(sent):
            writer.write(Annotations(shapes=shapes(chosen, lines=[b"%d" % number] * 40), tags=tags(chosen)))
        assert writer.close()["shapes"] == 800
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    with storage.database.read() as conn:
        found = annotations.load(conn, task_id)
        n_parts = len(conn.execute(BLOCKS["shapes"].select()).all())
    assert n_parts > 3
    by_id = found.shapes.take(np.argsort(found.shapes.ids))
    assert by_id.frames.tolist() == [frame for chosen in sent for frame in chosen]
    assert by_id.kept.lines.to_bytes_list() == [b"%d" % number for number in range(20) for _ in range(40)]
    assert sorted([*found.shapes.ids.tolist(), *found.tags.ids.tolist()]) == list(range(1, 1601))
    # Rows of one frame stand as they came.
    assert bool((np.diff(found.shapes.ids)[np.diff(found.shapes.frames) == 0] > 0).all())


def test_kept_bytes_come_back_by_their_place(storage: Storage, task_id: int) -> None:
    pieces = [b"one", b"", bytes(range(256)) * 100]
    with annotations.begin_set(storage, task_id) as writer:
        places = [writer.keep(piece) for piece in pieces]
        writer.write(Annotations(shapes=shapes([1])))
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    assert [crc for _, _, crc in places] == [zlib.crc32(piece) for piece in pieces]
    with storage.database.snapshot() as conn:
        reader = AnnotationReader(conn, storage, task_id)
        assert [reader.kept_bytes(writer.set_id, offset, size) for offset, size, _ in places] == pieces
        with pytest.raises(Damaged):
            reader.kept_bytes(writer.set_id, 0, 10**6)
        with pytest.raises(Damaged):
            reader.kept_bytes(999, 0, 1)
        reader.close()


def test_a_reader_leaves_out_deleted_frames_and_other_jobs(storage: Storage, task_id: int) -> None:
    hidden = Rows(np.array([-1, 3, 100], dtype=np.int32), kept([b"r"] * 3))
    put_in(storage, task_id, Annotations(shapes=shapes([1, 2, 3, 100]), tags=tags([2, 3]), rows=hidden), "a")
    with storage.database.write() as conn:
        frames.set_deleted(conn, task_id, np.array([2, 100]))
    with storage.database.snapshot() as conn:
        whole = AnnotationReader(conn, storage, task_id, frame_offset=1000, batch_rows=1)
        assert [f for batch in whole.shapes() for f in batch.frames.tolist()] == [1001, 1003]
        assert [f for batch in whole.tags() for f in batch.frames.tolist()] == [1003]
        assert [f for batch in whole.rows() for f in batch.frames.tolist()] == [-1, 1003]
        assert list(whole.images()) == []
        everything = AnnotationReader(conn, storage, task_id, skip_deleted=False, start=2, stop=80)
        assert [f for batch in everything.shapes() for f in batch.frames.tolist()] == [2, 3]
        assert [f for batch in everything.rows() for f in batch.frames.tolist()] == [3]


def images(told: dict[int, str]) -> Annotations:
    names = Ragged.from_bytes([b"%d" % frame for frame in told])
    return Annotations(
        images=Images(
            np.array(list(told), dtype=np.int32), names, Texts.from_list(told.values()), kept([b"r"] * len(told))
        )
    )


@pytest.mark.parametrize("at_once", [1, 2048])
def test_subsets_are_those_of_the_images(
    storage: Storage, task_id: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotations, "BLOCKS_AT_ONCE", at_once)

    def told(**chosen: Any) -> tuple[dict[int, str], str | None]:
        """The subset of each frame, and the one of all; the last of a frame counts."""
        with storage.database.snapshot() as conn:
            reader = AnnotationReader(conn, storage, task_id, **chosen)
            slowly = [
                each for part in reader.images() for each in zip(part.frames, part.subsets.to_list(), strict=True)
            ]
            found = [each for at, texts in reader.subsets() for each in zip(at, texts.to_list(), strict=True)]
            assert found == slowly
            assert [frame for frame, _ in found] == sorted(frame for frame, _ in found)
            return dict(found), reader.only_subset()

    assert told() == ({}, None)
    put_in(storage, task_id, images({1: "train", 2: "train", 70: "train", 149: "train"}), "a", mode="append")
    assert told() == ({1: "train", 2: "train", 70: "train", 149: "train"}, "train")
    put_in(storage, task_id, images({1: "test", 69: "train"}), "b", mode="append")
    assert told() == ({1: "test", 2: "train", 69: "train", 70: "train", 149: "train"}, None)
    assert told(start=64, stop=140) == ({69: "train", 70: "train"}, "train")
    with storage.database.write() as conn:
        frames.set_deleted(conn, task_id, np.array([2, 69]))
    assert told(frame_offset=10) == ({11: "test", 80: "train", 159: "train"}, None)
    put_in(storage, task_id, images({3: "test", 4: "train"}), "c")
    assert told() == ({3: "test", 4: "train"}, None)


def test_a_reader_sees_one_state_while_others_write(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes(list(range(SIZE)))), "a", b"png")
    with storage.database.snapshot() as conn:
        reader = AnnotationReader(conn, storage, task_id, batch_rows=10)
        passes = reader.shapes()
        found = next(passes).frames.tolist()
        put_in(storage, task_id, Annotations(shapes=shapes([5, 5, 5])), "b")
        housekeeping.sweep(storage, orphan_age_seconds=-5)
        assert [reader.kept_bytes(set_id, 0, 3) for set_id in reader.extras()] == [b"png"]
        for batch in passes:
            found += batch.frames.tolist()
        assert found == list(range(SIZE))
        assert sum(len(batch) for batch in reader.shapes()) == SIZE
    assert state(storage, task_id)[0] == [5, 5, 5]


def test_writers_of_one_task_lose_nothing(storage: Storage, task_id: int, ann: User) -> None:
    def work() -> None:
        for _ in range(10):
            with storage.database.write() as conn:
                annotations.append(conn, task_id, Annotations(shapes=shapes([5, 6, 70])))

    with storage.database.read() as conn:
        before = tasks.get(conn, ann, task_id).revision
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with storage.database.read() as conn:
        found = annotations.load(conn, task_id).shapes
        assert tasks.get(conn, ann, task_id).revision == before + 40
    assert len(found) == 120
    assert len(np.unique(found.ids)) == 120


def test_an_import_never_removes_a_write_acknowledged_after_it(storage: Storage, task_id: int) -> None:
    with annotations.begin_set(storage, task_id) as writer:
        writer.write(Annotations(shapes=shapes([1])))
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
        with storage.database.write() as conn:
            annotations.append(conn, task_id, Annotations(shapes=shapes([2])))
    assert state(storage, task_id)[0] == [1, 2]


# ---- housekeeping


def test_a_dead_import_is_swept(storage: Storage, task_id: int) -> None:
    writer = annotations.begin_set(storage, task_id)
    writer.write(Annotations(shapes=shapes([1])))
    writer.keep(b"png")
    writer.close()
    assert housekeeping.sweep(storage).sets == 0
    with storage.database.write() as conn:
        conn.execute(annotation_sets.update().values(touched_date=now() - timedelta(hours=2)))
    assert housekeeping.sweep(storage).sets == 1
    with storage.database.read() as conn:
        assert conn.execute(BLOCKS["shapes"].select()).all() == []
    assert blobs_to_come(storage) == kept_keys(storage)


def test_orphans_are_swept_when_they_are_old_and_nothing_else(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([1])), "a", b"png")
    storage.blobs.put("results/lost/1", b"x")
    before = sorted(key for key, _, _ in storage.blobs.list())
    assert housekeeping.sweep(storage).blobs == 0
    assert sorted(key for key, _, _ in storage.blobs.list()) == before
    assert housekeeping.sweep(storage, orphan_age_seconds=-5).blobs == 1
    assert sorted(key for key, _, _ in storage.blobs.list()) == [key for key in before if key != "results/lost/1"]


def test_dropped_sets_go_in_steps(storage: Storage, task_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BLOCKS_A_STEP", 1)
    put_in(storage, task_id, Annotations(shapes=shapes(list(range(SIZE)))), "a")
    put_in(storage, task_id, Annotations(shapes=shapes([1])), "b")
    housekeeping.collect(storage)
    with storage.database.read() as conn:
        assert len(conn.execute(BLOCKS["shapes"].select()).all()) == 1
        assert len(conn.execute(annotation_sets.select()).all()) == 1
