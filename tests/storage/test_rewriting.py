"""Labels that go from large tasks, and large tasks that move: as small ones, but that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.annotations import Annotations
from app.storage import Storage, annotations, housekeeping, labels, projects, rewriting, tasks
from app.storage.schema import annotation_sets
from tests.storage.stores import ENGINES, LABELS, make_task, open_store, shapes, tags, user

N_FRAMES = 300
Change = Callable[[Storage, int], None]


@pytest.fixture(params=ENGINES)
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr(rewriting, "ROWS_AHEAD", 10)
    monkeypatch.setattr(rewriting, "STEP_ROWS", 200)
    with open_store(request.param, tmp_path) as opened:
        yield opened


def label_ids(storage: Storage, task_id: int) -> dict[str, int]:
    with storage.database.read() as conn:
        return {label.name: label.id for label in labels.of_task(conn, task_id).labels}


def fill(storage: Storage) -> int:
    """A task with two imports, one of which has several parts and kept bytes, and with drawn rows."""
    task = make_task(storage, N_FRAMES, jobs=((0, 100), (100, N_FRAMES)))
    ids = label_ids(storage, task.id)
    both = np.array([ids["car"], ids["dog"]], dtype=np.int32)
    for number in range(2):
        with annotations.begin_set(storage, task.id) as writer:
            for part in range(3):
                frames = sorted([*range(N_FRAMES)] * 2)
                lines = [f"line {number} {part} {row}".encode() for row in range(len(frames))]
                rows = shapes(frames, lines=lines, label_ids=np.resize(both, len(frames)))
                drawn = tags([1, 2, 3], label_ids=np.resize(both, 3))
                writer.write(Annotations(shapes=rows, tags=drawn))
                writer.flush()
            writer.keep(b"kept" * (number + 1))
            writer.extras({"number": number, "label_ids": [ids["car"]]})
            writer.close()
            with storage.database.write() as conn:
                annotations.publish(conn, writer.set_id, mode="append")
    with storage.database.write() as conn:
        more = shapes([5, 5, 200], label_ids=np.array([ids["car"], ids["dog"], ids["dog"]], dtype=np.int32))
        annotations.append(conn, task.id, Annotations(shapes=more))
    return task.id


def seen(storage: Storage, task_id: int) -> Any:
    """All that a task has, but the numbers of its sets, which stand for their documents and kept bytes."""
    names = {number: name for name, number in label_ids(storage, task_id).items()}
    with storage.database.read() as conn:
        rows = annotations.load(conn, task_id)
        sets = annotations.sets_of(conn, task_id)
    extras = {row.id: (row.is_base, (row.extras or {}).get("number"), row.kept_key) for row in sets}
    found: dict[str, Any] = {"sets": [*extras.values()]}
    for kind in ("shapes", "tags"):
        table = getattr(rows, kind)
        found[kind] = [
            table.frames.tolist(),
            [names[number] for number in table.label_ids.tolist()],
            table.ids.tolist(),
            table.attributes.to_list(),
        ]
    found["points"] = rows.shapes.points.values.tolist()
    found["kept"] = [extras[number][1] if number else None for number in rows.shapes.kept.sets.tolist()]
    found["lines"] = rows.shapes.kept.lines.to_bytes_list()
    return found


def delete_dog(storage: Storage, task_id: int) -> None:
    labels.remove(storage, user(storage, "ann"), label_ids(storage, task_id)["dog"])


def move(storage: Storage, task_id: int) -> None:
    ann = user(storage, "ann")
    with storage.database.write() as conn:
        project = projects.create(conn, ann, "p", LABELS)

    def relabel_extras(extras: Any, numbers: Any, attributes: Any) -> Any:
        return {**extras, "label_ids": [numbers[number] for number in extras["label_ids"]]}

    tasks.save(storage, ann, task_id, project_id=project.id, relabel_extras=relabel_extras)


CHANGES = pytest.mark.parametrize("change", [delete_dog, move])


@CHANGES
def test_it_is_the_same_as_at_once(storage: Storage, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    ahead, at_once = fill(storage), fill(storage)
    before = set(sets_of(storage, ahead))
    change(storage, ahead)
    monkeypatch.setattr(rewriting, "ROWS_AHEAD", 1 << 30)
    change(storage, at_once)
    found, expected = seen(storage, ahead), seen(storage, at_once)
    keys = dict(zip([row[2] for row in expected["sets"]], [row[2] for row in found["sets"]], strict=True))
    expected["sets"] = [(is_base, number, keys[key]) for is_base, number, key in expected["sets"]]
    assert found == expected
    assert not before & set(sets_of(storage, ahead)), "it was done at once"
    assert_nothing_is_left(storage)
    assert seen(storage, ahead) == found
    for _, _, key in found["sets"]:
        if key is not None:
            storage.blobs.open_key(key).close()


def sets_of(storage: Storage, task_id: int) -> list[int]:
    with storage.database.read() as conn:
        return [row.id for row in annotations.sets_of(conn, task_id)]


def assert_nothing_is_left(storage: Storage) -> None:
    """Nothing that only this change has made, and of what it gave up only what others still use."""
    housekeeping.collect(storage)
    with storage.database.read() as conn:
        assert set(conn.execute(sa.select(annotation_sets.c.state)).scalars()) == {"visible"}


@CHANGES
def test_what_others_write_meanwhile_stays(storage: Storage, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """They can write, and all is written anew once more."""
    task_id = fill(storage)
    car = label_ids(storage, task_id)["car"]
    write, drawn = rewriting._write_step, []

    def others(*given: Any) -> None:
        write(*given)
        if not drawn:
            with storage.database.write() as conn:
                added = annotations.append(
                    conn, task_id, Annotations(shapes=shapes([7], label_ids=np.array([car], dtype=np.int32)))
                )
            drawn.append(int(added.shapes.ids[0]))

    monkeypatch.setattr(rewriting, "_write_step", others)
    change(storage, task_id)
    assert drawn[0] in seen(storage, task_id)["shapes"][2]
    assert_nothing_is_left(storage)


@CHANGES
def test_what_others_write_each_time_stays_too(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """Then it is done at once."""
    task_id = fill(storage)
    before = sets_of(storage, task_id)
    begin = rewriting._begin_sets

    def others(*given: Any) -> Any:
        with storage.database.write() as conn:
            tasks.touch(conn, task_id)
        return begin(*given)

    monkeypatch.setattr(rewriting, "_begin_sets", others)
    change(storage, task_id)
    assert sets_of(storage, task_id) == before
    assert set(seen(storage, task_id)["shapes"][1]) == ({"car"} if change is delete_dog else {"car", "dog"})
    assert_nothing_is_left(storage)


def test_rows_of_an_import_that_began_before_stay_behind_those_that_were_there(storage: Storage) -> None:
    task_id = fill(storage)
    car = np.array([label_ids(storage, task_id)["car"]], dtype=np.int32)
    with annotations.begin_set(storage, task_id) as writer:
        delete_dog(storage, task_id)
        writer.write(Annotations(shapes=shapes([5], label_ids=car, lines=[b"the last"])))
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id, mode="append")
    with storage.database.read() as conn:
        rows = annotations.load(conn, task_id, start=5, stop=6).shapes
    assert rows.kept.lines.to_bytes_list()[-1] == b"the last"


@CHANGES
def test_what_fails_leaves_all_as_it_was(storage: Storage, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    task_id = fill(storage)
    before, n_steps = seen(storage, task_id), 0

    def fail(*given: Any) -> None:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 4:
            raise OSError("the disk is broken")

    monkeypatch.setattr(rewriting, "_write_step", fail)
    with pytest.raises(OSError, match="broken"):
        change(storage, task_id)
    assert seen(storage, task_id) == before
    assert_nothing_is_left(storage)
