"""Tasks, jobs, projects, labels, frames."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from app.annotations import Annotations
from app.errors import Conflict, InvalidInput, NotFound
from app.storage import (
    AttributeDraft,
    FrameSizes,
    LabelDraft,
    ListQuery,
    Segment,
    Storage,
    TaskData,
    User,
    annotations,
    changes,
    frames,
    housekeeping,
    jobs,
    labels,
    projects,
    schema,
    tasks,
)
from tests.storage.stores import frame_columns, make_task, shapes, tags


def test_a_task_before_and_after_its_data(storage: Storage, ann: User) -> None:
    task = make_task(storage)
    assert (task.has_data, task.mode, task.size, task.n_jobs, task.status) == (False, "", 0, 0, "annotation")
    with storage.database.write() as conn:
        data = TaskData(jobs=((0, 6), (4, 10)), segment_size=6, overlap=2, stop_frame=9)
        attached = tasks.attach_data(conn, task.id, data, frame_columns(10))
        with pytest.raises(Conflict):
            tasks.attach_data(conn, task.id, data, frame_columns(10))
        found = jobs.of_task(conn, task.id)
    assert (attached.has_data, attached.mode, attached.size, attached.n_jobs) == (True, "annotation", 10, 2)
    assert (attached.segment_size, attached.overlap, attached.stop_frame) == (6, 2, 9)
    assert attached.updated_date > task.updated_date
    assert [job.frame_range for job in found] == [(0, 6), (4, 10)]


def test_status_follows_the_stages_of_the_jobs(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4, ((0, 2), (2, 4)))
    with storage.database.write() as conn:
        one, two = (job.id for job in jobs.of_task(conn, task.id))
        jobs.change(conn, ann, one, stage="validation", state="in progress")
        assert tasks.get(conn, ann, task.id).status == "annotation"
        jobs.change(conn, ann, two, stage="acceptance", state="completed")
        found = tasks.get(conn, ann, task.id)
        assert (found.status, found.n_completed_jobs, found.n_validation_jobs) == ("validation", 1, 1)
        job = jobs.change(conn, ann, one, stage="acceptance")
        assert (job.state, job.status) == ("new", "completed")
        assert tasks.get(conn, ann, task.id).status == "completed"
        for fields in ({"stage": "x"}, {"state": "x"}, {"assignee_id": 99}, {"task_id": 5}):
            with pytest.raises(InvalidInput):
                jobs.change(conn, ann, one, **fields)


def test_updated_date_grows_when_the_clock_goes_back(
    storage: Storage, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(storage, 4)
    past = task.updated_date - timedelta(hours=5)
    monkeypatch.setattr(changes, "now", lambda: past)
    dates, revisions = [task.updated_date], [task.revision]
    with storage.database.write() as conn:
        steps = (
            lambda: tasks.change(conn, ann, task.id, name="n"),
            lambda: tasks.change(conn, ann, task.id, labels=[LabelDraft("new")]),
            lambda: annotations.append(conn, task.id, Annotations(shapes=shapes([1]))),
            lambda: frames.set_deleted(conn, task.id, np.array([2])),
            lambda: jobs.change(conn, ann, jobs.of_task(conn, task.id)[0].id, state="completed"),
            lambda: annotations.clear(conn, task.id),
        )
        for step in steps:
            step()
            found = tasks.get(conn, ann, task.id)
            dates.append(found.updated_date)
            revisions.append(found.revision)
    assert dates == sorted(set(dates))
    assert revisions == sorted(set(revisions))


def test_only_jobs_that_show_a_change_grow(storage: Storage, ann: User) -> None:
    task = make_task(storage, 10, ((0, 6), (4, 10)))

    def revisions() -> list[int]:
        with storage.database.read() as conn:
            return [job.revision for job in jobs.of_task(conn, task.id)]

    for frame, grown in ((1, [1, 0]), (5, [1, 1]), (9, [0, 1])):
        before = revisions()
        with storage.database.write() as conn:
            annotations.append(conn, task.id, Annotations(shapes=shapes([frame])))
        assert (np.array(revisions()) - before).tolist() == grown


def test_changing_a_task(storage: Storage, ann: User, bob: User) -> None:
    task = make_task(storage)
    with storage.database.write() as conn:
        changed = tasks.change(conn, ann, task.id, name="x", subset="train", bug_tracker="b", assignee_id=bob.id)
        assert (changed.name, changed.subset, changed.bug_tracker) == ("x", "train", "b")
        assert changed.assignee == bob.ref
        assert changed.assignee_updated_date is not None
        same = tasks.change(conn, ann, task.id, assignee_id=bob.id)
        assert same.assignee_updated_date == changed.assignee_updated_date
        assert tasks.change(conn, ann, task.id, assignee_id=None).assignee is None
        for fields in (
            {"name": ""},
            {"name": "x" * 257},
            {"owner_id": 99},
            {"assignee_id": "x"},
            {"mode": "x"},
            {"subset": "a\x00"},
        ):
            with pytest.raises(InvalidInput):
                tasks.change(conn, ann, task.id, **fields)
        assert tasks.change(conn, ann, task.id, owner_id=bob.id).owner == bob.ref
        with pytest.raises(NotFound):
            tasks.get(conn, ann, task.id + 1000)


def test_a_task_moves_into_a_project(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    with storage.database.write() as conn:
        project = projects.create(conn, ann, "p", [LabelDraft("x")])
        annotations.append(conn, task.id, Annotations(tags=tags([1])))
        with pytest.raises(InvalidInput, match="annotations"):
            tasks.change(conn, ann, task.id, project_id=project.id)
        annotations.clear(conn, task.id)
        moved = tasks.change(conn, ann, task.id, project_id=project.id, subset="s")
        assert (moved.project_id, moved.project_name) == (project.id, "p")
        assert [label.name for label in labels.of_task(conn, task.id).labels] == ["x"]
        found = projects.get(conn, ann, project.id)
        assert (found.n_tasks, found.task_subsets) == (1, ("s",))
        assert projects.task_ids(conn, project.id) == (task.id,)


def test_ids_are_never_used_twice(storage: Storage, ann: User) -> None:
    first = make_task(storage)
    with storage.database.write() as conn:
        tasks.delete(conn, ann, first.id)
    assert make_task(storage).id > first.id


def test_a_deleted_task_leaves_nothing_behind(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    key = "uploads/x/0-1"
    storage.blobs.put(key, b"pictures")
    with annotations.begin_set(storage, task.id) as writer:
        writer.write(Annotations(shapes=shapes([1, 2])))
        writer.keep(b"png")
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
            frames.add_packs(conn, task.id, [[Segment(key, 8)]])
    with storage.database.write() as conn:
        tasks.delete(conn, ann, task.id)
    housekeeping.collect(storage)
    assert key in [name for name, _, _ in storage.blobs.list()]
    with storage.database.write() as conn:  # no export can be reading any more
        conn.execute(schema.discarded_blobs.update().values(not_before=schema.now()))
    housekeeping.collect(storage)
    assert [name for name, _, _ in storage.blobs.list()] == ["store-id"]
    with storage.database.read() as conn:
        for table in schema.metadata.sorted_tables:
            if table.name not in ("users", "facts"):
                assert conn.execute(table.select()).all() == [], table.name


# ---- labels


def test_labels_as_they_were_written(storage: Storage, ann: User) -> None:
    drafts = [
        LabelDraft(
            "car",
            id=77,
            color="#123456",
            attributes=(
                AttributeDraft("n", input_type="number", values=("0", "9", "1"), id=5),
                AttributeDraft("t", mutable=True, default_value="d"),
            ),
        ),
        LabelDraft("man", type="skeleton", svg="<svg/>", sublabels=(LabelDraft("head"), LabelDraft("foot"))),
    ]
    with storage.database.write() as conn:
        task = tasks.create(conn, ann, "t", drafts)
        car, man = labels.of_task(conn, task.id).labels
    assert (car.name, car.color, car.type, car.id != 77) == ("car", "#123456", "any", True)
    assert [(a.name, a.mutable, a.input_type, a.default_value, a.values) for a in car.attributes] == [
        ("n", False, "number", "0", ("0", "9", "1")),
        ("t", True, "text", "d", ()),
    ]
    assert [(s.name, s.type, s.parent_id) for s in man.sublabels] == [
        ("head", "points", man.id),
        ("foot", "points", man.id),
    ]
    assert len({car.color, man.color, *(s.color for s in man.sublabels)}) == 4


@pytest.mark.parametrize(
    "drafts",
    [
        [LabelDraft("a"), LabelDraft("a")],
        [LabelDraft("")],
        [LabelDraft(" a")],
        [LabelDraft("a" * 65)],
        [LabelDraft(None)],
        [LabelDraft("a", type="x")],
        [LabelDraft("a", sublabels=(LabelDraft("b"),))],
        [LabelDraft("a", type="skeleton", sublabels=(LabelDraft("b"), LabelDraft("b")))],
        [LabelDraft("a", attributes=(AttributeDraft("x"), AttributeDraft("x")))],
        [LabelDraft("a", attributes=(AttributeDraft("x", input_type="y"),))],
        [LabelDraft("a", attributes=(AttributeDraft("x", input_type="select"),))],
        [LabelDraft("a", attributes=(AttributeDraft("x", input_type="number"),))],
        [LabelDraft("a", attributes=(AttributeDraft("x", values=("\x00",)),))],
    ],
    ids=range(13),
)
def test_bad_labels_are_refused(storage: Storage, ann: User, drafts: list[LabelDraft]) -> None:
    with pytest.raises(InvalidInput), storage.database.write() as conn:
        tasks.create(conn, ann, "t", drafts)


def test_changing_labels(storage: Storage, ann: User) -> None:
    task = make_task(storage, 4)
    with storage.database.write() as conn:
        car, dog = labels.of_task(conn, task.id).labels
        side = car.attributes[0]
        annotations.append(
            conn,
            task.id,
            Annotations(shapes=shapes([0, 1, 2], label_ids=np.array([car.id, dog.id, car.id], dtype=np.int32))),
        )
        tasks.change(
            conn,
            ann,
            task.id,
            labels=[
                LabelDraft(
                    "bus",
                    id=car.id,
                    attributes=(AttributeDraft("wing", id=side.id, values=("l",)), AttributeDraft("new")),
                ),
                LabelDraft(None, id=dog.id, deleted=True),
                LabelDraft("dog"),
            ],
        )
        bus, new_dog = labels.of_task(conn, task.id).labels
        assert (bus.id, bus.name) == (car.id, "bus")
        assert [(a.id == side.id, a.name) for a in bus.attributes] == [(True, "wing"), (False, "new")]
        assert new_dog.name == "dog"
        assert new_dog.id > dog.id
        assert annotations.load(conn, task.id).shapes.frames.tolist() == [0, 2]
        for bad in ([LabelDraft("dog", id=bus.id)], [LabelDraft("bus")]):
            with pytest.raises(InvalidInput):
                labels.apply(conn, bad, task_id=task.id)
        with pytest.raises(NotFound):
            labels.apply(conn, [LabelDraft("x", id=dog.id)], task_id=task.id)
        owned = labels.change(conn, ann, bus.id, LabelDraft(None, color="#000000"))
        assert (owned.label.color, owned.label.name, owned.task_id) == ("#000000", "bus", task.id)
        labels.delete(conn, ann, bus.id)
        assert annotations.counts(conn, task.id)["shapes"] == 0


def test_sublabels_are_changed_with_their_label_only(storage: Storage, ann: User) -> None:
    with storage.database.write() as conn:
        task = tasks.create(conn, ann, "t", [LabelDraft("m", type="skeleton", sublabels=(LabelDraft("head"),))])
        man = labels.of_task(conn, task.id).labels[0]
        head = man.sublabels[0]
        for call in (
            lambda: labels.change(conn, ann, head.id, LabelDraft("x")),
            lambda: labels.delete(conn, ann, head.id),
        ):
            with pytest.raises(InvalidInput):
                call()
        labels.apply(conn, [LabelDraft(None, id=man.id, sublabels=(LabelDraft("top", id=head.id),))], task_id=task.id)
        assert labels.get(conn, ann, head.id).label.name == "top"
        assert labels.list_page(conn, ann, ListQuery(), task_id=task.id).count == 1


def test_labels_of_a_project_are_those_of_its_tasks(storage: Storage, ann: User) -> None:
    with storage.database.write() as conn:
        project = projects.create(conn, ann, "p", [LabelDraft("x")])
        with pytest.raises(InvalidInput, match="not both"):
            tasks.create(conn, ann, "t", [LabelDraft("y")], project_id=project.id)
        task = tasks.create(conn, ann, "t", project_id=project.id)
        projects.change(conn, ann, project.id, labels=[LabelDraft("z")], name="q")
        tasks.change(conn, ann, task.id, labels=[LabelDraft("ignored")])
        names = [owned.label.name for owned in labels.list_page(conn, ann, ListQuery(), task_id=task.id).items]
        assert names == ["x", "z"]
        assert tasks.get(conn, ann, task.id).revision > task.revision
        with pytest.raises(InvalidInput):
            labels.list_page(conn, ann, ListQuery(), task_id=task.id, project_id=project.id)
        for key in ("task_id", "project_id", "job_id"):
            with pytest.raises(NotFound):
                labels.list_page(conn, ann, ListQuery(), **{key: 999})


# ---- frames


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 1), (4095, 4097), (4096, 8192), (9000, None), (5, 5), (8999, 10**6)]
)
def test_frames_of_any_range(storage: Storage, ann: User, start: int, stop: int | None) -> None:
    task = make_task(storage, 9001)
    whole = frame_columns(9001)
    with storage.database.read() as conn:
        table = frames.load(conn, task.id, start, stop)
        places = frames.load_places(conn, task.id, start, stop)
    chosen = slice(start, stop)
    assert table.names.to_bytes_list() == whole.names.to_bytes_list()[chosen]
    assert table.widths.tolist() == whole.widths[chosen].tolist()
    assert table.heights.tolist() == whole.heights[chosen].tolist()
    assert places.offsets.tolist() == whole.places.offsets[chosen].tolist()
    assert places.sizes.tolist() == whole.places.sizes[chosen].tolist()
    assert places.methods.tolist() == whole.places.methods[chosen].tolist()
    assert (table.start, places.start) == (start, start)


@pytest.mark.parametrize("numbers", [[], [5], [9000, 0, 4095, 4096, 0], [4096, 4097]])
def test_sizes_of_some_frames(storage: Storage, numbers: list[int]) -> None:
    task = make_task(storage, 9001)
    whole = frame_columns(9001)
    known = FrameSizes(storage.database, task.id, 9001)
    widths, heights = known.sizes(np.array(numbers, dtype=np.int64))
    assert len(known) == 9001
    assert widths.tolist() == whole.widths[numbers].tolist()
    assert heights.tolist() == whole.heights[numbers].tolist()


def test_deleted_frames_are_replaced_within_the_range(storage: Storage, ann: User) -> None:
    task = make_task(storage, 10, ((0, 5), (5, 10)))
    with storage.database.write() as conn:
        frames.set_deleted(conn, task.id, np.array([7, 1, 1]))
        frames.set_deleted(conn, task.id, np.array([3]), 0, 5)
        assert frames.deleted(conn, task.id).tolist() == [3, 7]
        assert frames.deleted(conn, task.id, 5, 10).tolist() == [7]
        assert np.flatnonzero(frames.load(conn, task.id, 2, 9).deleted).tolist() == [1, 5]
        for number in (-1, 5, 10):
            with pytest.raises(InvalidInput, match=f"no frame {number};"):
                frames.set_deleted(conn, task.id, np.array([number]), 0, 5)
        before = tasks.get(conn, ann, task.id)
        frames.set_deleted(conn, task.id, np.array([3, 7]))
        assert tasks.get(conn, ann, task.id) == before


def test_packs_are_read_in_place(storage: Storage, ann: User) -> None:
    task = make_task(storage, 2)
    parts = [b"abc", b"defg"]
    segments = [Segment(f"uploads/1/{i}", storage.blobs.put(f"uploads/1/{i}", part)) for i, part in enumerate(parts)]
    with storage.database.write() as conn:
        assert frames.add_packs(conn, task.id, [segments, segments[:1]]) == (0, 1)
        assert frames.add_packs(conn, task.id, []) == ()
        source = frames.open_pack(conn, storage.blobs, task.id, 0)
        with pytest.raises(NotFound):
            frames.open_pack(conn, storage.blobs, task.id, 2)
    assert source.read_at(2, 3) == b"cde"
    source.close()
