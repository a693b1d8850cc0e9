"""Blocks of annotations against a plain twin, and each edit's rules by example."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy.event import listen

from app.annotations import Annotations, Edit, Images, Rows, Shapes, Tags, Tracks
from app.columns import Ragged
from app.errors import InvalidInput, NotFound
from app.storage import (
    AnnotationReader,
    Storage,
    User,
    annotation_changes,
    annotations,
    block_parts,
    block_rows,
    jobs,
    labels,
)
from app.storage.block_steps import block_steps
from tests.storage.stores import attributes, kept, make_task, open_store, rows_of, shapes, tags, tracks

SIZE = 150  # three blocks, the last not full
KINDS = ("shapes", "tags", "tracks")
RANGES = st.sampled_from([(0, None), (0, SIZE), (0, 70), (60, SIZE), (64, 128), (100, 101), (40, 40)])
FRAMES = st.lists(st.one_of(st.integers(0, SIZE - 1), st.sampled_from([0, 63, 64, 127, 128, SIZE - 1])), max_size=6)
STEPS = st.sampled_from([(8, 200_000, 8_000), (0, 1, 1), (0, 3, 2), (1, 1, 8_000)])
"""Blocks and rows that are taken at once: all in one go, block by block, and between."""

Row = dict[str, Any]  # what the twin knows of one object: frame, label, line (None: never imported), edits


def build(kind: str, frames: list[int], label_ids: list[int], lines: list[bytes] | None = None) -> Any:
    made = {"shapes": shapes, "tags": tags, "tracks": tracks}[kind](frames)
    made = made.replace(label_ids=np.array(label_ids, dtype=np.int32))
    return made.replace(kept=kept(lines)) if lines is not None and kind != "tracks" else made


class Twin(RuleBasedStateMachine):
    """Imports, edits and reads of one task in any order; the twin is a dict of rows by id."""

    @initialize(steps=STEPS)
    def start(self, steps: tuple[int, int, int]) -> None:
        self.stack = ExitStack()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(annotation_changes, "NARROW_BLOCKS", steps[0])
        patch.setattr(annotation_changes, "SCANNED_ROWS", steps[1])
        patch.setitem(block_steps.__kwdefaults__ or {}, "most_rows", steps[2])
        for module in (annotation_changes, block_parts):
            patch.setattr(module, "PART_ROWS", steps[2] / 4)
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.storage = self.stack.enter_context(open_store("sqlite", Path(folder)))
        self.task_id = make_task(self.storage, SIZE, ((0, 80), (70, SIZE))).id
        self.rows: dict[str, dict[int, Row]] = {kind: {} for kind in KINDS}
        self.images: list[tuple[int, bytes]] = []
        self.kept_rows: list[tuple[int, bytes]] = []
        self.n_lines = 0

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    # ---- helpers

    def line(self) -> bytes:
        self.n_lines += 1
        return b"line %d" % self.n_lines

    def inside(self, frame: int, bounds: tuple[int, int | None]) -> bool:
        return bounds[0] <= frame < (SIZE if bounds[1] is None else bounds[1])

    def ids_in(self, kind: str, bounds: tuple[int, int | None]) -> list[int]:
        return [key for key, row in self.rows[kind].items() if self.inside(row["frame"], bounds)]

    def drop(self, bounds: tuple[int, int | None], *, imports: bool) -> None:
        for kind in KINDS:
            for key in self.ids_in(kind, bounds):
                del self.rows[kind][key]
        if imports:
            is_whole = bounds[0] == 0 and bounds[1] in (None, SIZE)
            self.images = [row for row in self.images if not self.inside(row[0], bounds)]
            self.kept_rows = [
                row for row in self.kept_rows if not self.inside(row[0], bounds) and not (is_whole and row[0] == -1)
            ]

    def learn(self, stored: Annotations, kind: str, old: list[Row | None], lines: list[bytes | None]) -> None:
        """Put what the store answered into the twin, row by row."""
        table = getattr(stored, kind)
        for index, key in enumerate(table.ids.tolist()):
            assert key not in self.rows[kind]
            before, frame, label = old[index], int(table.frames[index]), int(table.label_ids[index])
            edits, line = 0, lines[index]
            if before is not None and kind != "tracks" and before["frame"] == frame:
                line = before["line"]
                edits = before["edits"] | (Edit.LABEL if before["label"] != label else 0)
            self.rows[kind][key] = {"frame": frame, "label": label, "line": line, "edits": int(edits)}

    # ---- rules

    @rule(data=st.data(), bounds=RANGES, mode=st.sampled_from(["replace", "append"]))
    def imports(self, data: st.DataObject, bounds: tuple[int, int | None], mode: str) -> None:
        frames = {
            kind: [f for f in data.draw(FRAMES, label=kind) if self.inside(f, bounds)] for kind in annotations.KINDS
        }
        frames["rows"] += [-1] * data.draw(st.integers(0, 2))
        lines = {kind: [self.line() for _ in frames[kind]] for kind in annotations.KINDS}
        with annotations.begin_set(self.storage, self.task_id, start=bounds[0], stop=bounds[1]) as writer:
            for kind in KINDS:
                table = build(kind, frames[kind], [1] * len(frames[kind]), lines[kind])
                writer.write(Annotations(**{kind: table}))
            images = Images.empty(len(frames["images"])).replace(
                frames=np.array(frames["images"], dtype=np.int32),
                names=Ragged.from_bytes(lines["images"]),
                kept=kept(lines["images"]),
            )
            kept_rows = Rows(np.array(frames["rows"], dtype=np.int32), kept(lines["rows"]))
            writer.write(Annotations(images=images, rows=kept_rows))
            counts = writer.close()
            assert counts == {kind: len(found) for kind, found in frames.items()}
            self.what_is_stored()  # nothing is seen yet
            with self.storage.database.write() as conn:
                annotations.publish(conn, writer.set_id, mode=mode, start=bounds[0], stop=bounds[1])
        if mode == "replace":
            self.drop(bounds, imports=True)
        self.images += zip(frames["images"], lines["images"], strict=True)
        self.kept_rows += zip(frames["rows"], lines["rows"], strict=True)
        with self.storage.database.read() as conn:
            found = annotations.load(conn, self.task_id)
        for kind in KINDS:
            known = self.rows[kind]
            table = getattr(found, kind)
            new = table.take(np.array([key not in known for key in table.ids.tolist()], dtype=np.bool_))
            # Ids follow the order of the batch, so the lines do too.
            new = new.take(np.argsort(new.ids))
            assert new.frames.tolist() == frames[kind]
            line_column = lines[kind] if kind != "tracks" else [None] * len(new)
            self.learn(Annotations(**{kind: new}), kind, [None] * len(new), list(line_column))

    @rule(frames=FRAMES, kind=st.sampled_from(KINDS), bounds=RANGES)
    def append(self, frames: list[int], kind: str, bounds: tuple[int, int | None]) -> None:
        frames = [frame for frame in frames if self.inside(frame, bounds)]
        new = Annotations(**{kind: build(kind, frames, [2] * len(frames))})
        with self.storage.database.write() as conn:
            stored = annotations.append(conn, self.task_id, new, start=bounds[0], stop=bounds[1])
        self.learn(stored, kind, [None] * len(frames), [None] * len(frames))

    @rule(data=st.data(), kind=st.sampled_from(KINDS), bounds=RANGES)
    def update(self, data: st.DataObject, kind: str, bounds: tuple[int, int | None]) -> None:
        known = self.ids_in(kind, bounds)
        chosen = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
        table, old = self.changed(data, kind, chosen, bounds)
        with self.storage.database.write() as conn:
            stored = annotations.update(
                conn, self.task_id, Annotations(**{kind: table}), start=bounds[0], stop=bounds[1]
            )
        for key in chosen:
            del self.rows[kind][key]
        self.learn(stored, kind, list(old), [None] * len(chosen))
        if chosen:
            assert getattr(stored, kind).ids.tolist() == chosen

    def changed(
        self, data: st.DataObject, kind: str, chosen: list[int], bounds: tuple[int, int | None]
    ) -> tuple[Any, list[Row]]:
        """The rows of these ids as a client sends them back: some with another label, some on another frame."""
        with self.storage.database.read() as conn:
            table = getattr(annotations.load(conn, self.task_id), kind)
        table = table.take(np.array([table.ids.tolist().index(key) for key in chosen], dtype=np.int64))
        old = [self.rows[kind][key] for key in chosen]
        start, stop = bounds[0], (SIZE if bounds[1] is None else bounds[1]) - 1
        frames = [data.draw(st.sampled_from([row["frame"], row["frame"], start, stop])) for row in old]
        label_ids = [data.draw(st.sampled_from([row["label"], 2])) for row in old]
        table = table.replace(frames=np.array(frames, dtype=np.int32), label_ids=np.array(label_ids, dtype=np.int32))
        if kind != "tracks":  # a client knows nothing of what is kept
            table = table.replace(kept=type(table).empty(len(chosen)).kept)
        return table, old

    @rule(data=st.data(), bounds=RANGES)
    def replace_all(self, data: st.DataObject, bounds: tuple[int, int | None]) -> None:
        new, old = {}, {}
        for kind in KINDS:
            known = self.ids_in(kind, bounds)
            chosen = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
            table, rows = self.changed(data, kind, chosen, bounds) if chosen else (build(kind, [], []), [])
            frames = [frame for frame in data.draw(FRAMES) if self.inside(frame, bounds)]
            added = build(kind, frames, [1] * len(frames))
            foreign = data.draw(st.sampled_from([0, 10**9]))  # ids that are not there are given anew
            added = added.replace(ids=np.full(len(frames), foreign, dtype=np.int64))
            new[kind] = type(table).concatenate([table, added])
            old[kind] = [*rows, *[None] * len(frames)]
        with self.storage.database.write() as conn:
            stored = annotations.replace_all(conn, self.task_id, Annotations(**new), start=bounds[0], stop=bounds[1])
        if self.inside(bounds[0], bounds):
            self.drop(bounds, imports=False)
            for kind in KINDS:
                self.learn(stored, kind, old[kind], [None] * len(old[kind]))

    @rule(data=st.data(), kind=st.sampled_from(KINDS), bounds=RANGES)
    def delete(self, data: st.DataObject, kind: str, bounds: tuple[int, int | None]) -> None:
        known = list(self.rows[kind])
        chosen = data.draw(st.lists(st.sampled_from(known), max_size=4)) if known else []
        ids = np.array([*chosen, *data.draw(st.sampled_from([(), (10**9,)]))], dtype=np.int64)
        hints = {kind: np.array([self.rows[kind][key]["frame"] for key in chosen], dtype=np.int64)}
        near = data.draw(st.sampled_from([None, hints, {kind: np.array([SIZE - 1, 10**6])}]))
        with self.storage.database.write() as conn:
            n_removed = annotations.delete(conn, self.task_id, {kind: ids}, start=bounds[0], stop=bounds[1], near=near)
        gone = set(chosen) & set(self.ids_in(kind, bounds))
        assert n_removed == len(gone)
        for key in gone:
            del self.rows[kind][key]

    @rule(bounds=RANGES)
    def clear(self, bounds: tuple[int, int | None]) -> None:
        with self.storage.database.write() as conn:
            annotations.clear(conn, self.task_id, start=bounds[0], stop=bounds[1])
        self.drop(bounds, imports=True)

    @rule(label_id=st.sampled_from([1, 2]))
    def remove_label(self, label_id: int) -> None:
        with self.storage.database.write() as conn:
            annotations.remove_labelled(conn, self.task_id, [label_id])
        for kind in KINDS:
            self.rows[kind] = {key: row for key, row in self.rows[kind].items() if row["label"] != label_id}

    # ---- what must hold

    @invariant()
    def what_is_stored(self) -> None:
        if not hasattr(self, "storage"):
            return
        with self.storage.database.read() as conn:
            whole = annotations.load(conn, self.task_id, kinds=annotations.KINDS, start=-1)
            counts = annotations.counts(conn, self.task_id)
            part = annotations.load(conn, self.task_id, start=60, stop=130)
            batches = list(annotations.iterate(conn, self.task_id, batch_rows=3))
        for kind in KINDS:
            table = getattr(whole, kind)
            assert bool((np.diff(table.frames) >= 0).all())
            found = {}
            for index, key in enumerate(table.ids.tolist()):
                row = {
                    "frame": int(table.frames[index]),
                    "label": int(table.label_ids[index]),
                    "line": None,
                    "edits": 0,
                }
                if kind != "tracks" and table.kept.tables[index] >= 0:
                    row |= {"line": table.kept.lines.row_bytes(index), "edits": int(table.kept.edits[index])}
                    assert table.kept.sets[index] > 0
                found[key] = row
            expected = {
                key: row if row["line"] is not None else {**row, "edits": 0} for key, row in self.rows[kind].items()
            }
            assert found == expected
            assert counts[kind] == len(expected)
            inside = table.take((table.frames >= 60) & (table.frames < 130))
            assert getattr(part, kind).ids.tolist() == inside.ids.tolist()
            joined = type(table).concatenate([getattr(batch, kind) for batch in batches])
            assert joined.ids.tolist() == table.ids.tolist()
        for kind, expected_rows in (("images", self.images), ("rows", self.kept_rows)):
            table = getattr(whole, kind)
            found_rows = zip(table.frames.tolist(), table.kept.lines.to_bytes_list(), strict=True)
            assert sorted(found_rows) == sorted(expected_rows)


TestTwin = Twin.TestCase
TestTwin.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)


# ---- by example


@pytest.fixture
def task_id(storage: Storage) -> int:
    return make_task(storage, SIZE, ((0, 80), (70, SIZE))).id


def put_in(storage: Storage, task_id: int, batch: Annotations, **extras: Any) -> int:
    """Import a batch; the set's id."""
    with annotations.begin_set(storage, task_id) as writer:
        writer.write(batch)
        if extras:
            writer.extras(extras)
        writer.close()
        with storage.database.write() as conn:
            annotations.publish(conn, writer.set_id)
    return writer.set_id


def all_of(storage: Storage, task_id: int) -> Annotations:
    with storage.database.read() as conn:
        return annotations.load(conn, task_id)


def every_column(rows: int) -> Shapes:
    """Shapes with something of its own in each column."""
    numbers = np.arange(rows)
    return Shapes(
        ids=np.zeros(rows, dtype=np.int64),
        frames=(numbers * 40 % SIZE).astype(np.int32),
        types=(numbers % 8).astype(np.uint8),
        label_ids=(numbers % 2 + 1).astype(np.int32),
        groups=numbers.astype(np.int32),
        z_orders=(-numbers).astype(np.int32),
        occluded=numbers % 2 == 0,
        outside=numbers % 3 == 0,
        rotations=numbers / 7,
        scores=1 / (numbers + 1),
        sources=attributes(*("file", "manual", "auto")[:rows] * rows).take(numbers),
        attributes=attributes(*(f'[{{"spec_id":1,"value":"{number}"}}]' for number in range(rows))),
        points=Ragged.from_arrays([np.arange(number) / 3 for number in range(rows)], np.float64),
        runs=Ragged.from_arrays([np.arange(number, 9) for number in range(rows)], np.int32),
        elements=Ragged.from_bytes([b"[]" * (number % 2) for number in range(rows)]),
        kept=kept([b"%d" % number for number in range(rows)]).replace(
            png_offsets=numbers.astype(np.int64) * 5,
            png_sizes=numbers.astype(np.int64),
            png_crcs=(numbers + 2**31).astype(np.uint32),
        ),
    )


def as_lists(table: Any) -> dict[str, Any]:
    found = {}
    for name, column in table.columns().items():
        if hasattr(column, "columns"):
            found[name] = as_lists(column)
        elif isinstance(column, Ragged):
            found[name] = [column.row(index).tolist() for index in range(len(column))]
        else:
            found[name] = column.to_list() if hasattr(column, "to_list") else column.tolist()
    return found


def test_every_column_comes_back(storage: Storage, task_id: int) -> None:
    sent = every_column(8)
    set_id = put_in(storage, task_id, Annotations(shapes=sent, tracks=tracks([3, 90])))
    found = all_of(storage, task_id)
    by_id = found.shapes.take(np.argsort(found.shapes.ids))
    expected = as_lists(sent)
    expected["ids"] = by_id.ids.tolist()
    expected["kept"]["sets"] = [set_id] * 8
    assert as_lists(by_id) == expected
    assert found.tracks.bodies.to_bytes_list() == tracks([3, 90]).bodies.to_bytes_list()


def test_what_clients_send_back_unchanged_has_no_edits(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=every_column(8), tags=tags([1, 2], kept=kept([b"a", b"b"]))))
    before = all_of(storage, task_id)
    bare = Annotations(
        shapes=before.shapes.replace(kept=Shapes.empty(8).kept), tags=before.tags.replace(kept=Tags.empty(2).kept)
    )
    with storage.database.write() as conn:
        annotations.replace_all(conn, task_id, bare)
    after = all_of(storage, task_id)
    assert as_lists(after.shapes) == as_lists(before.shapes)
    assert as_lists(after.tags) == as_lists(before.tags)
    assert not after.shapes.kept.edits.any()


@pytest.mark.parametrize(
    ("column", "value", "flag"),
    [
        ("points", Ragged(np.array([0.0, 1, 2, 4]), np.array([0, 4])), Edit.GEOMETRY),
        ("points", Ragged(np.array([0.0, 1, 2]), np.array([0, 3])), Edit.GEOMETRY),
        ("runs", Ragged(np.array([1], dtype=np.int32), np.array([0, 1])), Edit.GEOMETRY),
        ("elements", Ragged.from_bytes([b"[]"]), Edit.GEOMETRY),
        ("rotations", np.array([5.0]), Edit.GEOMETRY),
        ("types", np.array([1], dtype=np.uint8), Edit.GEOMETRY),
        ("label_ids", np.array([2], dtype=np.int32), Edit.LABEL),
        ("attributes", attributes('[{"spec_id":1,"value":"right"}]'), Edit.ATTRIBUTES),
        ("scores", np.array([0.5]), Edit.ATTRIBUTES),
        ("occluded", np.array([True]), Edit.OCCLUDED),
        ("groups", np.array([3], dtype=np.int32), Edit.GROUP),
        ("z_orders", np.array([3], dtype=np.int32), Edit.NONE),
        ("outside", np.array([True]), Edit.NONE),
        ("sources", attributes("auto"), Edit.NONE),
    ],
)
def test_each_change_has_its_flag(storage: Storage, task_id: int, column: str, value: Any, flag: Edit) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([5], lines=[b"row"])))
    shape = all_of(storage, task_id).shapes
    with storage.database.write() as conn:
        annotations.update(conn, task_id, Annotations(shapes=shape.replace(**{column: value})))
    found = all_of(storage, task_id).shapes
    assert found.kept.edits.tolist() == [int(flag)]
    assert found.kept.lines.row_bytes(0) == b"row"
    assert as_lists(found)[column] == as_lists(shape.replace(**{column: value}))[column]
    with storage.database.write() as conn:  # flags stay, also when the old value comes back
        annotations.update(conn, task_id, Annotations(shapes=shape))
    assert all_of(storage, task_id).shapes.kept.edits.tolist() == [int(flag)]


COLUMNS: dict[str, Any] = {
    "groups": np.array([9, 8, 7], dtype=np.int32),
    "types": np.array([0, 0, 1], dtype=np.uint8),
    "occluded": np.array([False, True, False]),
    "rotations": np.array([-0.0, 0.5, 0.25]),
    "scores": np.array([0.5, 0.25, 0.125]),
    "sources": attributes("auto", "file", "auto"),
    "attributes": attributes("[]", '[{"spec_id":1,"value":"new"}]', "[]"),
    "points": Ragged.from_arrays([[1.0, 2.0], [], [3.0]], np.float64),
    "runs": Ragged.from_arrays([[], [4, 5], [6]], np.int32),
    "elements": Ragged.from_bytes([b"", b"[1]", b"[]"]),
}


@pytest.mark.parametrize(
    ("column", "parts"), [*((column, 1) for column in COLUMNS), ("nothing", 1), ("nothing", 2), ("points", 2)]
)
def test_columns_that_differ_are_written_as_if_all_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, parts: int
) -> None:
    with open_store("sqlite", tmp_path) as storage:
        found, writes = [], []
        for compared in (64, 0):
            monkeypatch.setattr(block_rows, "COMPARED_BLOCKS", compared)
            number = make_task(storage, SIZE).id
            whole = every_column(12).replace(frames=np.arange(12, dtype=np.int32))
            with annotations.begin_set(storage, number) as writer:
                for some in np.split(np.arange(12), parts):
                    writer.write(Annotations(shapes=whole.take(some)))
                    writer.flush()
                writer.close()
                with storage.database.write() as conn:
                    annotations.publish(conn, writer.set_id)
            three = all_of(storage, number).shapes.take(np.array([0, 5, 10]))
            changed = three.replace(**({} if column == "nothing" else {column: COLUMNS[column]}))
            statements: list[str] = []
            with storage.database.write() as conn:
                listen(conn, "before_cursor_execute", lambda *told, to=statements: to.append(told[2]))
                annotations.update(conn, number, Annotations(shapes=changed))
            writes.append([each for each in statements if "shapes_blocks" in each and not each.startswith("SELECT")])
            table = as_lists(all_of(storage, number).shapes)
            del table["kept"]["sets"]  # numbers of the store's, not of the task's
            found.append(table)
    assert found[0] == found[1]
    if column == "nothing":
        assert writes[0] == []
    elif parts == 2:
        assert len(writes[0]) == 1 + len(writes[1]) == 3  # no single row to write into
    else:
        (statement,) = writes[0]
        assert statement.startswith(f"UPDATE shapes_blocks SET {column}=?")
        assert "kept_lines" not in statement


def test_defaults_of_attributes_are_no_change(storage: Storage, ann: User, task_id: int) -> None:
    with storage.database.read() as conn:
        spec = labels.of_task(conn, task_id).labels[0].attributes[0]
    default = f'[{{"spec_id":{spec.id},"value":"left"}}]'
    put_in(
        storage,
        task_id,
        Annotations(
            shapes=shapes([5, 6], lines=[b"a", b"b"], attributes=attributes("[]", default)),
        ),
    )
    before = all_of(storage, task_id).shapes
    swapped = before.replace(attributes=attributes(default, "[]"))
    with storage.database.write() as conn:
        annotations.update(conn, task_id, Annotations(shapes=swapped))
    after = all_of(storage, task_id).shapes
    assert after.kept.edits.tolist() == [0, 0]
    assert after.attributes.to_list() == ["[]", default]  # what was said stays as it was said


def test_ids_are_numbers_of_the_task_never_used_again(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([1, 2]), tags=tags([3])))
    first = rows_of(all_of(storage, task_id))
    assert sorted(key for rows in first.values() for key, _ in rows) == [1, 2, 3]
    put_in(storage, task_id, Annotations(shapes=shapes([1])))
    assert rows_of(all_of(storage, task_id))["shapes"] == [(4, 1)]


@pytest.mark.parametrize("frame", [-1, SIZE, 10**6])
def test_frames_outside_are_refused_and_nothing_changes(storage: Storage, task_id: int, frame: int) -> None:
    new = Annotations(shapes=shapes([1, frame]))
    for call in (annotations.append, annotations.replace_all, annotations.update):
        with pytest.raises(InvalidInput, match=r"shapes\[1\].frame"), storage.database.write() as conn:
            call(conn, task_id, new)
    with annotations.begin_set(storage, task_id) as writer, pytest.raises(InvalidInput):
        writer.write(new)
    assert annotations.KINDS
    with storage.database.read() as conn:
        assert sum(annotations.counts(conn, task_id).values()) == 0


def test_updates_of_ids_that_are_not_there(storage: Storage, task_id: int) -> None:
    with storage.database.write() as conn:
        stored = annotations.append(conn, task_id, Annotations(shapes=shapes([5, 100])))
    with storage.database.write() as conn:
        far = stored.shapes.take(np.array([1]))
        moved_in = far.replace(frames=np.array([6], dtype=np.int32))
        with pytest.raises(NotFound):  # of another job
            annotations.update(conn, task_id, Annotations(shapes=moved_in), start=0, stop=80)
        with pytest.raises(NotFound):
            annotations.update(conn, task_id, Annotations(tags=tags([5], ids=stored.shapes.ids[:1])))
        with pytest.raises(InvalidInput, match="twice"):
            annotations.update(conn, task_id, Annotations(shapes=far.take(np.array([0, 0]))))


@pytest.mark.parametrize("change", ["append", "update", "replace_all", "delete", "remove_labelled"])
def test_a_change_all_over_a_task_holds_a_few_blocks_at_once(
    storage: Storage, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(range(0, 6400, 16))  # 100 blocks of 4 rows
    task_id = make_task(storage, 6400, ((0, 6400),)).id
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes(frames)))
    before = all_of(storage, task_id).shapes
    held: list[int] = []
    read = annotation_changes.read_block_list

    def watched(*given: Any, **options: Any) -> Any:
        placed = read(*given, **options)
        held.append(len(placed.table))
        return placed

    monkeypatch.setattr(annotation_changes, "read_block_list", watched)
    monkeypatch.setitem(block_steps.__kwdefaults__ or {}, "most_rows", 20)
    monkeypatch.setattr(annotation_changes, "PART_ROWS", 20)
    one_a_block = before.take(np.arange(0, 400, 4))
    with storage.database.write() as conn:
        if change in ("append", "update", "replace_all"):
            moved = one_a_block.replace(z_orders=one_a_block.z_orders + 1)
            getattr(annotations, change)(conn, task_id, Annotations(shapes=moved))
        elif change == "delete":
            annotations.delete(conn, task_id, {"shapes": one_a_block.ids})
        else:
            annotations.remove_labelled(conn, task_id, np.unique(before.label_ids).tolist())
    n_rows = {"append": 500, "update": 400, "replace_all": 100, "delete": 300, "remove_labelled": 0}[change]
    assert len(all_of(storage, task_id).shapes) == n_rows
    assert len(held) >= 20
    assert max(held) <= 24


def test_an_update_finds_a_row_that_moves_far_away(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes([5], lines=[b"row"])))
    shape = all_of(storage, task_id).shapes
    with storage.database.write() as conn:
        annotations.update(conn, task_id, Annotations(shapes=shape.replace(frames=np.array([140], dtype=np.int32))))
    found = all_of(storage, task_id).shapes
    assert (found.ids.tolist(), found.frames.tolist(), found.kept.tables.tolist()) == ([1], [140], [-1])


def test_a_read_of_a_job_is_a_window(storage: Storage, ann: User, task_id: int) -> None:
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes([0, 69, 70, 79, 80, 149]), tracks=tracks([75])))
        one, two = (job.frame_range for job in jobs.of_task(conn, task_id))
        first = annotations.load(conn, task_id, start=one[0], stop=one[1])
        second = annotations.load(conn, task_id, start=two[0], stop=two[1])
    assert first.shapes.frames.tolist() == [0, 69, 70, 79]
    assert second.shapes.frames.tolist() == [70, 79, 80, 149]
    assert len(first.tracks) == len(second.tracks) == 1


def test_a_task_that_is_not_there(storage: Storage) -> None:
    with storage.database.write() as conn:
        for call in (annotations.append, annotations.replace_all, annotations.update):
            with pytest.raises(NotFound):
                call(conn, 999, Annotations())
        with pytest.raises(NotFound):
            annotations.load(conn, 999)
        with pytest.raises(NotFound):
            annotations.clear(conn, 999)
        with pytest.raises(NotFound):
            list(annotations.iterate(conn, 999))
    with pytest.raises(NotFound):
        annotations.begin_set(storage, 999)


def test_tracks_of_a_project_are_shifted_with_their_shapes(storage: Storage, task_id: int) -> None:
    with storage.database.write() as conn:
        body = Ragged.from_bytes(
            [b'{"shapes":[{"frame":3},{"frame":9}],"elements":[{"frame":3,"shapes":[{"frame":4}]}]}']
        )
        track: Tracks = tracks([3]).replace(bodies=body)
        annotations.append(conn, task_id, Annotations(tracks=track, shapes=shapes([2])))
    with storage.database.snapshot() as conn:
        reader = AnnotationReader(conn, storage, task_id, frame_offset=1000)
        found = reader.tracks()
        assert found.frames.tolist() == [1003]
        assert found.bodies.row_bytes(0) == (
            b'{"shapes":[{"frame":1003},{"frame":1009}],"elements":[{"frame":1003,"shapes":[{"frame":1004}]}]}'
        )
        assert [shape.frames.tolist() for shape in reader.shapes()] == [[1002]]


@pytest.mark.parametrize(("start", "stop"), [(10, 20), (60, 70), (64, 128), (0, 64), (100, None), (63, 129)])
@pytest.mark.parametrize("change", ["clear", "replace_all", "publish"])
def test_changes_of_a_range_end_at_its_very_frames(
    storage: Storage, task_id: int, change: str, start: int, stop: int | None
) -> None:
    put_in(storage, task_id, Annotations(shapes=shapes(list(range(SIZE)))))
    with annotations.begin_set(storage, task_id, start=start, stop=stop) as writer:
        writer.close()
        with storage.database.write() as conn:
            if change == "clear":
                annotations.clear(conn, task_id, start=start, stop=stop)
            elif change == "replace_all":
                annotations.replace_all(conn, task_id, Annotations(), start=start, stop=stop)
            else:
                annotations.publish(conn, writer.set_id, start=start, stop=stop)
    gone = set(range(SIZE)[start:stop])
    assert all_of(storage, task_id).shapes.frames.tolist() == [frame for frame in range(SIZE) if frame not in gone]


def test_a_read_without_what_is_kept_is_else_the_same(storage: Storage, task_id: int) -> None:
    put_in(storage, task_id, Annotations(shapes=every_column(8), tags=tags([1, 2], kept=kept([b"a", b"b"]))))
    with storage.database.read() as conn:
        whole = annotations.load(conn, task_id)
        bare = annotations.load(conn, task_id, with_kept=False)
        (batch,) = annotations.iterate(conn, task_id, with_kept=False)
    for found in (bare, batch):
        for kind in ("shapes", "tags"):
            expected = getattr(whole, kind)
            expected = expected.replace(kept=type(expected).empty(len(expected)).kept)
            assert as_lists(getattr(found, kind)) == as_lists(expected)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (3, 7), (70, 140)])
def test_a_lazy_read_is_the_same_when_it_is_looked_at(
    storage: Storage, task_id: int, start: int, stop: int | None
) -> None:
    put_in(storage, task_id, Annotations(shapes=every_column(8), tags=tags([1, 2, 139], kept=kept([b"a", b"b", b"c"]))))
    with storage.database.write() as conn:
        annotations.append(conn, task_id, Annotations(shapes=shapes([139, 3, 3, 70, 5])))
    with storage.database.snapshot() as conn:
        for batch_rows in (3, 1000):
            bounds = {"start": start, "stop": stop, "batch_rows": batch_rows}
            eager = list(annotations.iterate(conn, task_id, **bounds))
            lazy = list(annotations.iterate(conn, task_id, lazy=True, **bounds))
            assert len(eager) == len(lazy)
            for one, other in zip(eager, lazy, strict=True):
                for kind in ("shapes", "tags", "tracks"):
                    assert as_lists(getattr(other, kind)) == as_lists(getattr(one, kind))
                order = np.arange(len(one.shapes), dtype=np.int64)[::-2]
                assert as_lists(other.shapes.take(order)) == as_lists(one.shapes.take(order))
