"""Backups brought back: the same rows, bit for bit; damaged and hostile ones leave nothing."""

from __future__ import annotations

import io
import json
import random
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Shapes, ShapeType, Table, Tracks
from app.columns import PackedRagged, Ragged, Texts
from app.errors import AppError
from app.operations import Limits, backup, backup_rows, export_backup, import_backup
from app.operations.backup_rows import join_rows, split_rows
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.storage import (
    LabelDraft,
    Request,
    RequestDraft,
    Storage,
    User,
    annotations,
    frames,
    housekeeping,
    labels,
    projects,
    requests,
    tasks,
    uploads,
)
from app.storage.rows import AttributeDraft
from app.storage.schema import annotation_sets, packs
from app.storage.schema import projects as project_rows
from app.storage.schema import tasks as task_rows
from tests.operations import test_import_dataset as datasets
from tests.operations.test_import_dataset import count, seen
from tests.samples import mask_png

ann, storage = datasets.ann, datasets.storage

Handler = Callable[[Context], None]


def claimed(storage: Storage, draft: RequestDraft, owner: User) -> Context:
    with storage.database.write() as conn:
        request, _ = requests.create(conn, owner, draft)
        found = requests.claim(conn, request.id, lease_seconds=60)
    assert found is not None
    return Context(found, storage, WorkerLimits(), threading.Event())


def backup_of(storage: Storage, owner: User, target: str, number: int) -> bytes:
    work = claimed(storage, RequestDraft("export:backup", target, **{f"{target}_id": number}), owner)  # type: ignore[arg-type]
    export_backup(work)
    with storage.database.read() as conn:
        result = requests.load(conn, work.request.id).result
    assert result is not None
    blob = storage.blobs.open_key(result.key)
    try:
        return blob.read_at(0, result.size)
    finally:
        blob.close()


def bring_back(storage: Storage, owner: User, body: bytes, target: str = "task") -> Request:
    writer = uploads.open_body(
        storage, owner, kind="backup", target=target, target_id=None, filename="b.zip", max_bytes=1 << 30
    )
    writer.write(body)
    upload = writer.finish()
    work = claimed(storage, RequestDraft("import:backup", target, upload_ids=(upload.id,)), owner)
    import_backup(work, limits=Limits())
    with storage.database.read() as conn:
        return requests.load(conn, work.request.id)


@pytest.fixture
def project(storage: Storage, ann: User, tmp_path: Path) -> int:
    """Two tasks out of a dataset, one of them with a track and a skeleton beside the imported rows."""
    number = datasets.new_project(storage, ann)
    path = datasets.dataset().write(tmp_path / "d.zip")
    datasets.attempt(storage, datasets.asked(storage, ann, path, number).id)
    bone = LabelDraft("bone", type="skeleton", sublabels=(LabelDraft("tip", type="points"),))
    side = LabelDraft("sided", attributes=(AttributeDraft("side", False, "select", "l", ("l", "r")),))
    with storage.database.write() as conn:
        labels.apply(conn, [bone, side], project_id=number)
        catalog = labels.of_project(conn, number).by_name
        spec = catalog["sided"].attributes[0].id
        task_id = projects.task_ids(conn, number)[0]
        value = f'[{{"spec_id":{spec},"value":"r"}}]'
        element = {"type": "points", "label_id": catalog["bone"].sublabels[0].id, "points": [1.5, 2], "attributes": []}
        shapes = Shapes.empty(2).replace(
            types=np.array([ShapeType.SKELETON, ShapeType.POLYGON], dtype=np.uint8),
            label_ids=np.array([catalog["bone"].id, catalog["sided"].id], dtype=np.int32),
            attributes=Texts.from_list(["[]", value]),
            points=Ragged.from_arrays([[], [0.1, 0.2, 1 / 3, 4, 5, 1e-9]], np.float64),
            elements=Ragged.from_bytes([json.dumps([element]).encode(), b""]),
        )
        key = {"type": "rectangle", "frame": 0, "points": [1, 2, 3, 4], "attributes": json.loads(value)}
        tracks = Tracks.empty(1).replace(
            label_ids=np.array([catalog["sided"].id], dtype=np.int32),
            bodies=Ragged.from_bytes([json.dumps({"shapes": [key], "elements": []}).encode()]),
        )
        annotations.append(conn, task_id, Annotations(shapes=shapes, tracks=tracks))
    return number


def plain(column: Any) -> Any:
    if isinstance(column, Table):
        return {name: plain(inner) for name, inner in column.columns().items() if name not in ("ids", "sets")}
    if isinstance(column, Ragged):
        return column.values.tolist(), column.offsets.tolist()
    return column.to_list() if isinstance(column, Texts) else column.tolist()


def all_rows(storage: Storage, task_id: int) -> Any:
    """Every row of a task, with names in place of ids of labels and attributes."""
    with storage.database.snapshot() as conn:
        catalog = labels.of_task(conn, task_id)
        loaded = annotations.load(conn, task_id, start=-1, kinds=annotations.KINDS)
        deleted = frames.deleted(conn, task_id).tolist()
    text = json.dumps({kind: plain(getattr(loaded, kind)) for kind in annotations.KINDS}, sort_keys=True)
    document = json.loads(text)
    for kind in ("shapes", "tags", "tracks"):
        names = [catalog.by_id[number].name for number in document[kind]["label_ids"]]
        document[kind]["label_ids"] = names
        document[kind]["attributes"] = [
            [each["value"] for each in json.loads(told)] for told in document[kind]["attributes"]
        ]
    document["tracks"].pop("bodies")
    document["shapes"].pop("elements")
    return document, deleted


def test_a_project_comes_back_with_every_row(storage: Storage, ann: User, project: int) -> None:
    made = bring_back(storage, ann, backup_of(storage, ann, "project", project), "project")
    assert made.result_id is not None
    assert made.result_id != project
    with storage.database.read() as conn:
        pairs = list(zip(projects.task_ids(conn, project), projects.task_ids(conn, made.result_id), strict=True))
        assert len(pairs) == 2
    for one, two in pairs:
        assert all_rows(storage, one) == all_rows(storage, two)
    assert backup_of(storage, ann, "project", project) != b""
    with storage.database.snapshot() as conn:
        two = annotations.load(conn, pairs[0][1])
        catalog = labels.of_project(conn, made.result_id).by_name
    body = json.loads(two.tracks.bodies.row_bytes(0))
    assert body["shapes"][0]["attributes"] == [{"spec_id": catalog["sided"].attributes[0].id, "value": "r"}]
    row = int(np.flatnonzero(two.shapes.types == ShapeType.SKELETON)[0])
    (element,) = json.loads(two.shapes.elements.row_bytes(row))
    assert element["label_id"] == catalog["bone"].sublabels[0].id


def test_the_backup_of_a_restored_task_differs_in_ids_alone(storage: Storage, ann: User, project: int) -> None:
    with storage.database.read() as conn:
        task_id = projects.task_ids(conn, project)[0]
    first = backup_of(storage, ann, "task", task_id)
    made = bring_back(storage, ann, first)
    assert made.result_id is not None
    second = backup_of(storage, ann, "task", made.result_id)
    left, right = members(first), members(second)
    assert left.keys() == right.keys()
    for name, body in left.items():
        if not name.endswith(".json") or name.endswith("frames.json"):
            assert body == right[name]


def members(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return body.getvalue()


def refused(storage: Storage, ann: User, body: bytes) -> str:
    """What a refusal says; nothing of it may be left."""
    before = [count(storage, table) for table in (task_rows, project_rows, packs, annotation_sets)]
    names = seen(storage, ann)
    with pytest.raises(AppError) as caught:
        bring_back(storage, ann, body)
    housekeeping.collect(storage)
    assert [count(storage, table) for table in (task_rows, project_rows, packs, annotation_sets)] == before
    assert seen(storage, ann) == names
    return caught.value.detail


@pytest.fixture
def entries(storage: Storage, ann: User, project: int) -> dict[str, bytes]:
    with storage.database.read() as conn:
        return members(backup_of(storage, ann, "task", projects.task_ids(conn, project)[0]))


def test_what_is_no_backup_is_told_so(storage: Storage, ann: User, entries: dict[str, bytes]) -> None:
    assert "no backup of this service" in refused(storage, ann, zipped({"task.json": b"{}"}))
    head = json.loads(entries["backup.json"])
    for change, told in (({"version": 9}, "another version"), ({"target": "project"}, "not of a task")):
        changed = {**entries, "backup.json": json.dumps({**head, **change}).encode()}
        assert told in refused(storage, ann, zipped(changed))


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(each for key, value in pairs for each in leaves(value, (*path, key)))]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("seed", range(4))
def test_no_change_of_a_backup_is_a_defect(storage: Storage, ann: User, entries: dict[str, bytes], seed: int) -> None:
    """Any value replaced by any other: a task that exports, or a refusal that leaves nothing."""
    chance = random.Random(seed)
    texts = [name for name in entries if name.endswith(".json")]
    odd = [None, -1, 2**31, 2**70, 1.5, "", "x\x00", [], [[]], {}, True, [1, 2], {"values": [], "lengths": []}]
    for _ in range(20):
        name = chance.choice(texts)
        document = json.loads(entries[name])
        path = chance.choice(leaves(document))
        changed = {**entries, name: json.dumps(replaced(document, path, chance.choice(odd))).encode()}
        try:
            made = bring_back(storage, ann, zipped(changed))
        except AppError:
            housekeeping.collect(storage)
            continue
        assert made.result_id is not None
        with storage.database.write() as conn:
            annotations.load(conn, made.result_id, start=-1, kinds=annotations.KINDS)
            tasks.delete(conn, ann, made.result_id)


@pytest.mark.parametrize("gone", ["frames.json", ".png", "set.json", "kept/0"])
def test_a_member_that_is_missing_is_named(storage: Storage, ann: User, entries: dict[str, bytes], gone: str) -> None:
    left = {name: body for name, body in entries.items() if gone not in name}
    assert len(left) < len(entries)
    assert gone in refused(storage, ann, zipped(left))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"frames": [7]}, "frame"),
        ({"label_ids": [123456]}, "123456"),
        ({"types": [9]}, "type"),
        ({"points": {"values": [1, 2, 3], "lengths": [3]}}, "points"),
        ({"points": {"values": [1e300, 2, 3, 4, 5, 6], "lengths": [6]}}, "points"),
        ({"points": {"values": [1, 2], "lengths": [6]}}, "offsets"),
        ({"types": [6], "points": {"values": [], "lengths": [0]}}, "mask"),
        ({"occluded": [1]}, "bool"),
        ({"attributes": {"codes": [0], "values": ['[{"spec_id":1,"value":3}]']}}, "attribute"),
        ({"attributes": {"codes": [1], "values": ["[]"]}}, "code"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    storage: Storage, ann: User, entries: dict[str, bytes], values: dict[str, Any], told: str
) -> None:
    shape = Shapes.empty(1).replace(
        types=np.array([ShapeType.POLYGON], dtype=np.uint8), points=Ragged.from_arrays([[1, 2, 3, 4, 5, 6]], np.float64)
    )
    head = json.loads(entries["backup.json"])
    row = {**json.loads(join_rows(shape)), "label_ids": [head["labels"][0]["id"]], **values}
    name = "tasks/0/sets/0/shapes-00099.json"
    assert told in refused(storage, ann, zipped({**entries, name: json.dumps(row).encode()}))


def test_masks_that_nobody_looked_at_come_back_so(storage: Storage, ann: User, project: int) -> None:
    with storage.database.read() as conn:
        task_id = projects.task_ids(conn, project)[0]
    made = bring_back(storage, ann, backup_of(storage, ann, "task", task_id))
    assert made.result_id is not None
    assert all_rows(storage, made.result_id) == all_rows(storage, task_id)
    assert n_packed(storage, made.result_id) == n_packed(storage, task_id) == 1


def test_a_backup_of_the_first_version_has_numbers_for_all_masks(
    storage: Storage, ann: User, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.database.read() as conn:
        task_id = projects.task_ids(conn, project)[0]
    with monkeypatch.context() as patch:
        patch.setattr(backup, "VERSION", 1)
        patch.setattr(backup_rows, "png_of", lambda row: b"")  # another one than was kept
        body = backup_of(storage, ann, "task", task_id)
    assert not any(b'"kept":[' in text for text in members(body).values())
    made = bring_back(storage, ann, body)
    assert made.result_id is not None
    assert all_rows(storage, made.result_id) == all_rows(storage, task_id)
    assert n_packed(storage, made.result_id) == 0


def n_packed(storage: Storage, task_id: int) -> int:
    with storage.database.read() as conn:
        runs = annotations.load(conn, task_id).shapes.runs
    return int((runs.packed.lengths > 0).sum()) if isinstance(runs, PackedRagged) else 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runs": {"kept": [1]}}, "of no row"),
        ({"runs": {"kept": [-1]}}, "of no row"),
        ({"runs": {"kept": [0, 0]}}, "of no row"),
        ({"runs": {"kept": []}}, "without runs"),
        ({"runs": {"kept": [0], "values": [1], "lengths": [1]}}, "not kept"),
        ({"types": [1]}, "not kept"),
        ({"kept": {"png_offsets": [-1]}}, "not kept"),
        ({"kept": {"png_sizes": [0]}}, "not kept"),
        ({"kept": {"png_offsets": [1]}}, "not the PNG"),
        ({"kept": {"png_offsets": [1 << 20]}}, "not there"),
        ({"kept": {"png_offsets": [(1 << 63) - 1]}}, "not there"),
        ({"kept": {"png_sizes": [(1 << 63) - 1]}}, "not there"),
        ({"kept": {"png_sizes": [1 << 64]}}, "damaged"),
        ({"kept": {"png_sizes": [60]}}, "PNG"),
        ({"kept": {"png_crcs": [7]}}, "not the PNG it was"),
        ({"frames": [5]}, "frame"),
    ],
    ids=str,
)
def test_masks_that_cannot_be_kept_are_refused(
    storage: Storage, ann: User, entries: dict[str, bytes], change: dict[str, Any], told: str
) -> None:
    name = "tasks/0/sets/0/shapes-00000.json"
    document = json.loads(entries[name])
    assert document["runs"] == {"values": [], "lengths": [0], "kept": [0]}
    for column, value in change.items():
        document[column] = {**document[column], **value} if isinstance(value, dict) else value
    assert told in refused(storage, ann, zipped({**entries, name: json.dumps(document).encode()}))


def test_kept_masks_are_brought_back_a_few_at_a_time(
    storage: Storage, ann: User, entries: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows name one PNG; and none is read that is larger than a kept one can be."""
    name = "tasks/0/sets/0/shapes-00000.json"
    one = split_rows(Shapes, json.loads(entries[name]), name)
    many = json.loads(join_rows(one.take(np.zeros(50, dtype=np.int64)), np.ones(50, dtype=np.bool_)))
    changed = {**entries, name: json.dumps(many).encode()}
    written: list[int] = []
    monkeypatch.setattr(backup_rows, "STEP_BYTES", 3 * int(one.kept.png_sizes[0]))
    write = annotations.SetWriter.write
    monkeypatch.setattr(
        annotations.SetWriter,
        "write",
        lambda self, rows: (written.append(len(rows.shapes)) if len(rows.shapes) else None, write(self, rows))[1],
    )
    made = bring_back(storage, ann, zipped(changed))
    assert made.result_id is not None
    assert n_packed(storage, made.result_id) == 50
    assert written[:17] == [3] * 16 + [2]  # then those of other sets
    many["kept"]["png_sizes"][7] = (64 << 10) + 1
    changed = {**entries, name: json.dumps(many).encode(), "kept/0": entries["kept/0"] + bytes(80 << 10)}
    assert "has to be decoded" in refused(storage, ann, zipped(changed))


def test_a_mask_that_has_to_be_decoded_is_no_kept_one(storage: Storage, ann: User, entries: dict[str, bytes]) -> None:
    name = "tasks/0/sets/0/shapes-00000.json"
    document = json.loads(entries[name])
    png = mask_png(np.ones((9, 9), dtype=np.bool_), kind="zero-one")
    place = {"png_offsets": [len(entries["kept/0"])], "png_sizes": [len(png)], "png_crcs": [zlib.crc32(png)]}
    document["kept"] |= place
    changed = {**entries, "kept/0": entries["kept/0"] + png, name: json.dumps(document).encode()}
    assert "has to be decoded" in refused(storage, ann, zipped(changed))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_come_back_bit_for_bit(rows: int) -> None:
    chance = np.random.default_rng(rows)
    shapes = Shapes.empty(rows).replace(
        rotations=chance.normal(size=rows), sources=Texts.from_list(["é,", "b", "c"][:rows]),
        points=Ragged.from_arrays([chance.normal(size=6) for _ in range(rows)], np.float64),
        runs=Ragged.from_arrays([[5, 6]] * rows, np.int32),
        elements=Ragged.from_bytes([b"\x00\xff\n"] * rows),
    )  # fmt: skip
    assert plain(split_rows(Shapes, json.loads(join_rows(shapes)), "x")) == plain(shapes)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (lambda columns: columns[1:], "no row of"),
        (lambda columns: [*columns, "more"], "no row of"),
        (lambda columns: "x", "another type"),
    ],
    ids=["one less", "one more", "a text"],
)
def test_kept_lines_that_are_of_no_table_are_refused(
    storage: Storage, ann: User, entries: dict[str, bytes], columns: Callable[[Any], Any], told: str
) -> None:
    """Else a task would be restored that cannot be exported."""
    name = "tasks/0/sets/0/set.json"
    document = json.loads(entries[name])
    for table in document["extras"]["tables"]:
        table[3] = columns(table[3])
    assert told in refused(storage, ann, zipped({**entries, name: json.dumps(document).encode()}))


@pytest.mark.parametrize("tree", [{}, [], 0, False, 7], ids=repr)
def test_a_hierarchy_that_is_no_text_is_refused(
    storage: Storage, ann: User, entries: dict[str, bytes], tree: Any
) -> None:
    name = "tasks/0/sets/0/set.json"
    document = json.loads(entries[name])
    document["extras"]["hierarchy"] = tree
    assert "another type" in refused(storage, ann, zipped({**entries, name: json.dumps(document).encode()}))
