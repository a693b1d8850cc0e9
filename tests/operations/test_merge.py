"""Merging: the same archive twice changes nothing, a corrected one only what was corrected; no edit goes in silence."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import sqlalchemy as sa

from app.annotations import Annotations, ShapeType, Tracks, pairing
from app.columns import Ragged
from app.formats.open_images import merging as openimages_merging
from app.formats.open_images import same_rows
from app.formats.open_images.extras import Extras, KeptFile, merge_extras
from app.formats.open_images.labels import recorded_mids
from app.operations.merge import Merging
from app.storage import Storage, housekeeping, jobs, merging
from app.storage import annotations as stored
from app.storage.database import Connection
from app.storage.merging import Meeting
from app.storage.schema import annotation_sets, discarded_blobs, now
from tests.operations.desk import Desk, open_desk_store, with_attributes, with_points
from tests.samples import OpenImages, disk_with_hole, mask_png
from tests.storage.stores import shapes as plain_shapes

PNG = mask_png(disk_with_hole(40, 30, 10, 3))
OTHER_PNG = mask_png(disk_with_hole(40, 30, 8, 2))
CORNERS = ("0.25", "0.75", "0.2", "0.8")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_desk_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def desk(storage: Storage) -> Desk:
    return Desk(storage)


def sample() -> OpenImages:
    built = OpenImages(classes=[("/m/01yrx", "cat"), ("/m/0bt9lr", "dog")])
    built.images = [("a", "train"), ("b", "train"), ("d/c", "train")]
    built.box("a", "/m/01yrx", CORNERS, "1 0 0 0 -1", subset="train")
    built.box("a", "/m/0bt9lr", ("0.1", "0.2", "0.1", "0.2"), subset="train")
    built.box("a", "/m/0bt9lr", ("0.5", "0.9", "0.5", "0.9"), subset="train")
    built.box("b", "/m/01yrx", ("0", "0.5", "0", "0.5"), subset="train")
    built.mask("a", "/m/01yrx", "0000000a", PNG, CORNERS, iou="0.5", subset="train")
    built.mask("b", "/m/0bt9lr", "0000000b", PNG, subset="train")
    built.tag("a", "/m/01yrx", subset="train", source="verification")
    built.tag("a", "/m/0bt9lr", "0", subset="train", source="verification")  # hidden: no score to say so
    built.tag("d/c", "/m/01yrx", "0.7", subset="train", source="machine")
    built.more = {"note.txt": b"as it was"}
    return built


class Zips:
    """Archives of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._n = folder, 0

    def __call__(self, built: OpenImages) -> bytes:
        self._n += 1
        return built.write(self._folder / f"{self._n}.zip").read_bytes()


@pytest.fixture
def zips(tmp_path: Path) -> Zips:
    return Zips(tmp_path)


def moved(report: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Added, removed, changed of each kind that has any."""
    found = {kind: (c["added"], c["removed"], c["changed"]) for kind, c in report["changes"].items()}
    return {kind: counts for kind, counts in found.items() if any(counts)}


@pytest.mark.parametrize("conv", [False, True], ids=["masks", "polygons"])
def test_the_same_archive_twice_changes_nothing(desk: Desk, zips: Zips, conv: bool) -> None:
    archive = zips(sample())
    first = desk.bring(archive, mode="merge", conv_mask_to_poly=conv)
    assert {kind: c["added"] for kind, c in first["changes"].items()} == first["annotations"]
    state = desk.load(), desk.revision(), desk.export()
    for again in (conv, not conv):
        report = desk.bring(archive, mode="merge", conv_mask_to_poly=again)
        assert moved(report) == {}
        for kind, counts in report["changes"].items():
            assert (counts["unchanged"], counts["kept"]) == (len(getattr(state[0], kind)), 0)
        assert (desk.revision(), desk.export()) == state[1:]
        assert np.array_equal(desk.load().shapes.ids, state[0].shapes.ids)


def test_the_tasks_own_export_changes_nothing(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    desk.edit("shapes", lambda table: with_points(table, [(1, 2, 11, 12)]), [1])
    desk.draw(Annotations(shapes=plain_shapes([2]).replace(label_ids=np.array([desk.label_id("dog")], dtype=np.int32))))
    before, revision = desk.export(), desk.revision()
    report = desk.bring(before, mode="merge")
    assert moved(report) == {}
    assert (desk.export(), desk.revision()) == (before, revision)
    by_name = desk.bring(desk.export(label_ids="name"), mode="merge")
    assert moved(by_name) == {}


def correct(built: OpenImages, change: Callable[[OpenImages], object]) -> OpenImages:
    other = copy.deepcopy(built)
    change(other)
    return other


def drop(rows: list[Any], place: int) -> None:
    del rows[place]


CORRECTIONS: dict[str, tuple[Callable[[OpenImages], object], dict[str, tuple[int, ...]]]] = {
    "a box moved a little": (lambda z: z.boxes[1][1].update(XMin="0.11"), {"shapes": (0, 0, 1)}),
    "a box moved far": (
        lambda z: z.boxes[3][1].update(XMin="0.6", XMax="0.9", YMin="0.6", YMax="0.9"),
        {"shapes": (0, 0, 1)},
    ),
    "a flag": (lambda z: z.boxes[0][1].update(IsTruncated="1"), {"shapes": (0, 0, 1)}),
    "a label": (lambda z: z.boxes[1][1].update(LabelName="/m/01yrx"), {"shapes": (0, 0, 1)}),
    "a box less": (lambda z: drop(z.boxes, 2), {"shapes": (0, 1, 0)}),
    "a box more": (lambda z: z.box("b", "/m/0bt9lr", CORNERS, subset="train"), {"shapes": (1, 0, 0)}),
    "a mask's pixels": (lambda z: z.pngs.update({"train/b_m0bt9lr_0000000b.png": OTHER_PNG}), {"shapes": (0, 0, 1)}),
    "a mask's number": (lambda z: z.masks[0][1].update(PredictedIoU="0.75"), {"shapes": (0, 0, 1)}),
    "a tag's confidence": (lambda z: z.tags[2][1].update(Confidence="0.8"), {"tags": (0, 0, 1)}),
    "a tag's source": (lambda z: z.tags[0][1].update(Source="crowd"), {"tags": (0, 0, 1)}),
    "a hidden tag's source": (lambda z: z.tags[1][1].update(Source="crowd"), {"rows": (0, 0, 1)}),
    "a hidden tag verified": (lambda z: z.tags[1][1].update(Confidence="1"), {"rows": (0, 1, 0), "tags": (1, 0, 0)}),
    "a tag less": (lambda z: drop(z.tags, 0), {"tags": (0, 1, 0)}),
    "nothing but the order": (lambda z: z.boxes.reverse(), {}),
    "a kept file": (lambda z: z.more.update({"note.txt": b"other"}), {}),
    "a class name": (lambda z: z.classes.append(("/m/0", "bird")), {}),
}


@pytest.mark.parametrize("name", CORRECTIONS)
@pytest.mark.parametrize("dry_run", [False, True], ids=["real", "dry"])
def test_a_correction_changes_only_what_was_corrected(
    storage: Storage, desk: Desk, zips: Zips, name: str, dry_run: bool
) -> None:
    change, expected = CORRECTIONS[name]
    corrected = zips(correct(sample(), change))
    desk.bring(zips(sample()))
    before, archive = desk.load(), desk.export()
    report = desk.bring(corrected, mode="merge", dry_run=dry_run)
    assert moved(report) == expected
    if dry_run:
        assert desk.export() == archive
        return
    fresh = Desk(storage)
    fresh.bring(corrected)
    assert members_of(desk.export()) == members_of(fresh.export())
    after = desk.load()
    stays = np.isin(before.shapes.ids, after.shapes.ids)
    assert len(before.shapes) - int(stays.sum()) == expected.get("shapes", (0, 0, 0))[1]
    report = desk.bring(corrected, mode="merge")
    assert moved(report) == {}


def members_of(archive: bytes) -> dict[str, Any]:
    """Members; of tables the header and the rows, in any order."""
    import io
    import zipfile

    found: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for name in opened.namelist():
            body = opened.read(name)
            found[name] = sorted(body.split(b"\n")) if name.endswith(".csv") else body
    return found


def test_edits_stay_where_the_archive_says_what_it_said(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    desk.edit("shapes", lambda table: with_points(table, [(1, 2, 11, 12)]), [0])
    before, revision = desk.export(), desk.revision()
    report = desk.bring(zips(sample()), mode="merge")
    assert moved(report) == {}
    assert report["edits"] == {"kept": 1, "overwritten": 0}
    assert report["counts"]["merge.edit_kept"] == 1
    assert (desk.export(), desk.revision()) == (before, revision)


def test_corrections_and_edits_of_different_parts_go_together(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    desk.edit("shapes", lambda table: with_points(table, [(1, 2, 11, 12)]), [0])
    corrected = zips(correct(sample(), lambda z: z.boxes[0][1].update(IsTruncated="1")))
    report = desk.bring(corrected, mode="merge")
    assert moved(report) == {"shapes": (0, 0, 1)}
    assert report["edits"] == {"kept": 1, "overwritten": 0}
    rows = table_of(desk.export(), "bbox")
    assert b"a,,/m/01yrx,1,0.025,0.275,0.06666666666666667,0.4,1,1,0,0,-1" in rows


def table_of(archive: bytes, name: str) -> list[bytes]:
    return next(rows for path, rows in members_of(archive).items() if f"annotations-{name}" in path)


def test_where_both_changed_the_same_the_archive_wins_and_says_so(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    desk.edit("shapes", lambda table: with_points(table, [(11, 7, 29, 23)]), [0])
    corrected = zips(correct(sample(), lambda z: z.boxes[0][1].update(XMin="0.26")))
    report = desk.bring(corrected, mode="merge")
    assert moved(report) == {"shapes": (0, 0, 2)}  # the mask, whose row was not corrected, stands alone now
    assert report["edits"] == {"kept": 0, "overwritten": 1}
    problem = next(one for one in report["problems"] if one["code"] == "merge.edit_overwritten")
    assert problem["file"] == "annotations/train-annotations-bbox.csv"
    assert 'of "a.png" ("cat")' in problem["message"]


def test_what_was_drawn_here_is_never_removed_nor_edited_rows_that_are_missing(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    drawn = desk.draw(
        Annotations(shapes=plain_shapes([0]).replace(label_ids=np.array([desk.label_id("dog")], np.int32)))
    )
    desk.edit("shapes", lambda table: with_points(table, [(21, 16, 30, 28)]), [2])
    report = desk.bring(zips(correct(sample(), lambda z: drop(z.boxes, 2))), mode="merge")
    assert moved(report) == {}
    assert report["counts"]["merge.missing_kept"] == 1
    assert drawn.shapes.ids[0] in desk.load().shapes.ids


def test_what_was_deleted_here_comes_back_with_its_row_and_is_told(desk: Desk, zips: Zips) -> None:
    def remove() -> None:
        shapes = desk.load().shapes
        desk.remove(shapes=shapes.ids[(shapes.frames == 1) & (shapes.types == ShapeType.RECTANGLE)].tolist())

    desk.bring(zips(sample()))
    before = desk.export()
    remove()
    for dry_run in (True, False):
        assert moved(desk.bring(zips(sample()), mode="merge", dry_run=dry_run)) == {"shapes": (1, 0, 0)}
    assert members_of(desk.export()) == members_of(before)
    remove()
    without = zips(correct(sample(), lambda z: drop(z.boxes, 3)))
    assert moved(desk.bring(without, mode="merge")) == {}


def test_a_part_of_an_archive_removes_nothing_of_other_images_tables_or_selections(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    part = OpenImages(classes=sample().classes)
    part.images = [("b", "train")]
    part.boxes = [(subset, row) for subset, row in sample().boxes if row["ImageID"] == "b"]
    report = desk.bring(zips(part), mode="merge")
    assert moved(report) == {}
    less = zips(correct(sample(), lambda z: drop(z.boxes, 2)))
    assert moved(desk.bring(less, mode="merge", missing="keep")) == {}
    assert moved(desk.bring(less, mode="merge", classes="cat", only_matching=True)) == {}
    assert moved(desk.bring(less, mode="merge")) == {"shapes": (0, 1, 0)}


def test_attributes_that_no_table_has_stay(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    loaded = desk.load().shapes
    row = int(np.flatnonzero((loaded.types == ShapeType.RECTANGLE) & (loaded.label_ids == desk.label_id("cat")))[0])
    note = f'[{{"spec_id":{note_id(desk)},"value":"mine"}}]'
    desk.edit("shapes", lambda table: with_attributes(table, [note]), [row])
    corrected = zips(correct(sample(), lambda z: z.boxes[0][1].update(IsTruncated="1")))
    desk.bring(corrected, mode="merge")
    assert sum('"value":"mine"' in text for text in desk.load().shapes.attributes.to_list()) == 1


def note_id(desk: Desk) -> int:
    from app.operations.targets import task_target

    with desk.storage.database.read() as conn:
        label = task_target(conn, desk.task_id).labels.by_name["cat"]
    return next(spec.id for spec in label.attributes if spec.name == "note")


def test_a_job_merges_its_frames_alone(storage: Storage, zips: Zips) -> None:
    desk = Desk(storage, jobs=((0, 1), (1, 3)))
    desk.bring(zips(sample()))
    with storage.database.read() as conn:
        job = jobs.of_task(conn, desk.task_id)[0]
    only_a = correct(sample(), lambda z: (z.images.__delitem__(slice(1, 3)), z.boxes.__delitem__(3), z.masks.pop()))
    only_a.tags.pop()
    only_a.pngs.pop("train/b_m0bt9lr_0000000b.png")
    only_a.boxes[1][1]["XMin"] = "0.11"
    report = desk.bring(zips(only_a), mode="merge", job_id=job.id)
    assert moved(report) == {"shapes": (0, 0, 1)}
    assert sum(counts["unchanged"] for counts in report["changes"].values()) == 6
    fresh = Desk(storage)
    fresh.bring(zips(correct(sample(), lambda z: z.boxes[1][1].update(XMin="0.11"))))
    assert members_of(desk.export()) == members_of(fresh.export())


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_task_that_changes_meanwhile_is_compared_again(
    desk: Desk, zips: Zips, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.bring(zips(sample()))
    corrected = zips(correct(sample(), lambda z: z.boxes[1][1].update(XMin="0.11")))
    left = [times]
    compare = Merging.compare

    def others_work(self: Merging, conn: Any, writer: Any) -> Any:
        found = compare(self, conn, writer)
        if left[0] and writer is not None and writer._conn is None:
            left[0] -= 1
            label_ids = np.array([desk.label_id("dog")], dtype=np.int32)
            desk.draw(Annotations(shapes=plain_shapes([0]).replace(label_ids=label_ids)))
        return found

    monkeypatch.setattr(Merging, "compare", others_work)
    report = desk.bring(corrected, mode="merge")
    assert moved(report) == {"shapes": (0, 0, 1)}
    assert report["changes"]["shapes"]["kept"] == min(times, 2)
    assert len(desk.load().shapes) == 6 + min(times, 2)
    housekeeping.collect(desk.storage)
    with desk.storage.database.read() as conn:
        states = conn.execute(sa.select(annotation_sets.c.state)).scalars().all()
    assert states == ["visible"] * 3  # the first import, what was drawn, what was corrected


def test_nothing_is_read_or_encoded_while_others_wait_for_a_merge(
    desk: Desk, zips: Zips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six million boxes the blocks that rows left were made anew within the last transaction, and nobody else could
    write for 24 s."""
    desk.bring(zips(sample()))
    corrected = zips(correct(sample(), lambda z: z.boxes[1][1].update(XMin="0.11")))
    read, encode = merging.read_block_list, merging.encode_changed
    calls: list[str] = []
    lock = merging.lock_for_merge

    def locked(*arguments: Any) -> int:
        calls.append("lock")
        return lock(*arguments)

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(stored, "lock_for_merge", locked)
    monkeypatch.setattr(merging, "read_block_list", noted("read", read))
    monkeypatch.setattr(merging, "encode_changed", noted("encode", encode))
    report = desk.bring(corrected, mode="merge")
    assert moved(report) == {"shapes": (0, 0, 1)}
    assert calls[-3:] == ["read", "encode", "lock"]
    assert calls.count("lock") == 1
    assert len(desk.load().shapes) == 6


@pytest.mark.parametrize("window", [None, (10, 150), (64, 192)], ids=["task", "job", "job of whole blocks"])
@pytest.mark.parametrize("options", [{}, {"missing": "keep"}, {"conv_mask_to_poly": True}], ids=str)
def test_only_blocks_of_which_an_archive_speaks_are_compared(
    storage: Storage,
    zips: Zips,
    window: tuple[int, int] | None,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin compares all of them: the same report, and the same export. A correction of four boxes among 1.5 million
    took 3.3 s."""
    names = [f"{number:03}" for number in range(210)]
    built = OpenImages(classes=[("/m/01yrx", "cat"), ("/m/0bt9lr", "dog")])
    for number, name in enumerate(names):
        built.box(name, "/m/01yrx", CORNERS, subset="train")
        built.tag(name, "/m/0bt9lr", subset="train", source="verification")
        if number % 40 == 0:
            built.mask(name, "/m/01yrx", f"{number:08}", PNG, CORNERS, subset="train")
    few = OpenImages(classes=built.classes)
    for number in (70, 80, 100, *(() if window else (200,))):  # of 80 and 200 the masks are missing
        few.box(names[number], "/m/01yrx", ("0.3", "0.75", "0.2", "0.8") if number == 70 else CORNERS, subset="train")
        few.tag(names[number], "/m/0bt9lr", subset="train", source="verification")
    few.mask(names[120], "/m/01yrx", "00000120", OTHER_PNG, CORNERS, subset="train")
    archives = zips(built), zips(few)
    real_meeting, real_read = stored.find_meeting, merging.read_block_list

    def everything(conn: Connection, task_id: int, staged_id: int, *, start: int, stop: int | None) -> Meeting:
        found = real_meeting(conn, task_id, staged_id, start=start, stop=stop)
        blocks = np.arange(found.start >> 6, (found.stop - 1 >> 6) + 1, dtype=np.int64)
        return replace(found, blocks=blocks, apart={})

    def merge(desk: Desk) -> tuple[dict[str, Any], bytes]:
        desk.bring(archives[0], conv_mask_to_poly=options.get("conv_mask_to_poly", False))
        label_ids = np.full(3, desk.label_id("dog"), dtype=np.int32)
        desk.draw(Annotations(shapes=plain_shapes([0, 80, 205]).replace(label_ids=label_ids)))
        with storage.database.read() as conn:
            found = {job.start_frame: job.id for job in jobs.of_task(conn, desk.task_id)} if window else {}
        report = desk.bring(archives[1], mode="merge", job_id=found[window[0]] if window else None, **options)
        return report, desk.export()

    wanted = ((0, window[0]), window, (window[1], 210)) if window else None
    read: list[int] = []

    def noted(conn: Connection, kind: str, task_id: int, blocks: Any, **chosen: Any) -> Any:
        read.extend(blocks.tolist())
        return real_read(conn, kind, task_id, blocks, **chosen)

    with monkeypatch.context() as patched:
        patched.setattr(merging, "read_block_list", noted)
        found = merge(Desk(storage, [f"{name}.png" for name in names], [(40, 30)] * 210, wanted))
    assert set(read) == {None: {1, 3}, (10, 150): {0, 1, 2}, (64, 192): {1}}[window]
    assert moved(found[0])["shapes"][2] > 0
    monkeypatch.setattr(stored, "find_meeting", everything)
    twin = merge(Desk(storage, [f"{name}.png" for name in names], [(40, 30)] * 210, wanted))
    assert found[0]["changes"] == twin[0]["changes"]
    assert {**found[0], "id": 0} == {**twin[0], "id": 0}
    assert members_of(found[1]) == members_of(twin[1])


def test_kept_bytes_of_a_merge_outlive_its_staged_set(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(sample()))
    corrected = correct(sample(), lambda z: z.pngs.update({"train/b_m0bt9lr_0000000b.png": OTHER_PNG}))
    corrected.more["note.txt"] = b"other"
    desk.bring(zips(corrected), mode="merge")
    with desk.storage.database.write() as conn:
        conn.execute(discarded_blobs.update().values(not_before=now()))
    housekeeping.collect(desk.storage)
    members = members_of(desk.export())
    assert members["masks/train/b_m0bt9lr_0000000b.png"] == OTHER_PNG
    assert members["note.txt"] == b"other"


def test_replace_and_append_count_what_they_do(storage: Storage, zips: Zips) -> None:
    desk = Desk(storage, jobs=((0, 2), (1, 3)))
    archive = zips(sample())
    for dry_run in (True, False):
        report = desk.bring(archive, mode="append", dry_run=dry_run)
        assert (report["mode"], report["changes"]["shapes"]) == ("append", counted(added=6))
    for dry_run in (True, False):
        report = desk.bring(archive, mode="append", dry_run=dry_run)
        assert report["changes"]["shapes"] == counted(added=6, kept=6)
    with storage.database.read() as conn:
        job = jobs.of_task(conn, desk.task_id)[1]
    part = OpenImages(classes=sample().classes, images=[("b", "train")])
    part.box("b", "/m/01yrx", CORNERS, subset="train")
    for dry_run in (True, False):
        report = desk.bring(zips(part), job_id=job.id, dry_run=dry_run)
        assert report["changes"]["shapes"] == counted(added=1, removed=4)
    report = desk.bring(archive)
    assert report["changes"]["shapes"] == counted(added=6, removed=9)


def counted(**given: int) -> dict[str, int]:
    return {**dict.fromkeys(("added", "removed", "changed", "unchanged", "kept"), 0), **given}


def test_an_archive_without_rows_leaves_its_files(desk: Desk, zips: Zips) -> None:
    empty = OpenImages(classes=[("/m/01yrx", "cat")], more={"note.txt": b"n"})
    for mode in ("replace", "merge"):
        desk.bring(zips(empty), mode=mode)
        assert members_of(desk.export())["note.txt"] == b"n"
    with desk.storage.database.write() as conn:
        stored.replace_all(conn, desk.task_id, Annotations())
    assert members_of(desk.export())["note.txt"] == b"n"


def test_tracks_and_shapes_without_rows_merge_by_the_side_file(storage: Storage, desk: Desk) -> None:
    label_ids = np.array([desk.label_id("dog")] * 2, dtype=np.int32)
    line = with_points(plain_shapes([0, 2]), [(1, 1, 9, 9), (2, 2, 30, 8)])
    types = np.full(2, ShapeType.POLYLINE, dtype=np.uint8)
    desk.draw(Annotations(shapes=line.replace(label_ids=label_ids, types=types)))
    archive = desk.export()
    assert moved(desk.bring(archive, mode="merge")) == {"images": (3, 0, 0)}  # an archive names them now
    assert desk.export() == archive
    other = Desk(storage)
    assert moved(other.bring(archive, mode="merge")) == {"shapes": (2, 0, 0), "images": (3, 0, 0)}
    assert moved(other.bring(archive, mode="merge")) == {}
    desk.edit("shapes", lambda table: with_points(table, [(1, 1, 9, 12)]), [0])
    desk.remove(shapes=[int(desk.load().shapes.ids[1])])
    report = other.bring(desk.export(), mode="merge")
    assert moved(report) == {"shapes": (0, 1, 1)}
    assert members_of(other.export()) == members_of(desk.export())


def test_tracks_are_compared_without_a_second_copy_of_them(desk: Desk) -> None:
    n, random = 3_000, np.random.default_rng(2)
    plain = {"type": "rectangle", "occluded": False, "z_order": 0, "rotation": 0, "attributes": []}

    def body() -> bytes:
        places = enumerate(random.integers(30, size=3).tolist())
        keys = [{**plain, "frame": at, "outside": at == 2, "points": [x, 1, 39, 29]} for at, x in places]
        return orjson.dumps({"shapes": keys, "elements": []})

    bodies = [body() for _ in range(n)]
    ids = np.full(n, desk.label_id("dog"), dtype=np.int32)
    desk.draw(Annotations(tracks=Tracks.empty(n).replace(label_ids=ids, bodies=Ragged.from_bytes(bodies))))
    archive = desk.export()
    desk.bring(archive)
    merge = openimages_merging.OpenImagesMerger._tracks
    peaks: list[int] = []

    def measured(*given: Any) -> Any:
        tracemalloc.start()
        try:
            return merge(*given)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(openimages_merging.OpenImagesMerger, "_tracks", measured)
        report = desk.bring(archive, mode="merge")
    assert report["changes"]["tracks"]["unchanged"] == n
    assert max(peaks) < sum(map(len, bodies)) / 2


HIERARCHY = "annotations/bbox_labels_600_hierarchy.json"
BARE = b'{"LabelName": "/m/0", "Subcategory": []}'
TREES = [b'{"LabelName":"/m/0bl9f","Subcategory":[{"LabelName":"%s"}]}' % name for name in (b"/m/01yrx", b"/m/0bt9lr")]


def with_tree(tree: bytes) -> OpenImages:
    built = sample()
    built.more = {HIERARCHY: tree}
    return built


def test_a_hierarchy_gives_way_to_one_that_says_more_and_none_is_lost(desk: Desk, zips: Zips) -> None:
    desk.bring(zips(with_tree(TREES[0])))
    desk.bring(zips(with_tree(BARE)), mode="append")  # as every export has one
    assert members_of(desk.export())[HIERARCHY] == TREES[0]
    desk.bring(zips(with_tree(TREES[1])), mode="append")
    found = members_of(desk.export())
    assert (found[HIERARCHY], found[HIERARCHY.replace(".json", "-2.json")]) == (TREES[1], TREES[0])
    desk.bring(zips(with_tree(TREES[0])), mode="merge")
    found = members_of(desk.export())
    assert {name: text for name, text in found.items() if "hierarchy" in name} == {HIERARCHY: TREES[0]}


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_what_an_export_gave_a_number_is_known_by_it(desk: Desk, zips: Zips, mode: str) -> None:
    """Of files and hierarchies of one path the older ones go by numbers: they are no new ones when they come back."""

    def others(archive: bytes) -> dict[str, bytes]:
        return {
            name: text for name, text in members_of(archive).items() if "hierarchy" in name or name.endswith(".txt")
        }

    for tree, note in zip(TREES, (b"one", b"two"), strict=True):
        built = with_tree(tree)
        built.more |= {"note.txt": note, "equal.txt": b"same", "equal-2.txt": b"same"}
        desk.bring(zips(built), mode="append")
    archive = desk.export()
    trees = {HIERARCHY: TREES[1], HIERARCHY.replace(".json", "-2.json"): TREES[0]}
    notes = {"note.txt": b"two", "note-2.txt": b"one", "equal.txt": b"same", "equal-2.txt": b"same"}
    assert others(archive) == trees | notes
    for _ in range(2):
        desk.bring(archive, mode=mode)
        assert others(desk.export()) == others(archive)
    built.more["note-2.txt"] = b"two"  # two files that say the same are two files
    desk.bring(zips(built), mode=mode)
    assert others(desk.export())["note-2.txt"] == b"two"


def peak_of(call: Callable[[], Any]) -> tuple[Any, int]:
    """What it returns, and the most bytes that it held."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (same_rows, openimages_merging):
        monkeypatch.setattr(module, "STEP_ROWS", 500)
    monkeypatch.setattr(merging, "MANY_ROWS", 5_000)
    monkeypatch.setattr(same_rows, "MANY_ROWS", 5_000)
    monkeypatch.setattr(pairing, "SHARE_ROWS", 2_000)


@pytest.mark.parametrize("change", ["nothing", "labels", "places"])
def test_rows_of_one_picture_are_compared_some_at_a_time(
    desk: Desk, zips: Zips, few_at_a_time: None, change: str
) -> None:
    n = 10_000

    def many(label: str = "/m/01yrx", shift: int = 0) -> bytes:
        built = OpenImages(classes=[("/m/01yrx", "cat"), ("/m/0bt9lr", "dog")])
        for at in range(n):
            x, y = at % 100 / 200 + shift / 1000, at // 100 / 200
            built.box("a", label, (f"{x:.3f}", f"{x + 0.5:.3f}", f"{y:.3f}", f"{y + 0.4:.3f}"), subset="train")
        return zips(built)

    desk.bring(many())
    second = {"nothing": many, "labels": lambda: many("/m/0bt9lr"), "places": lambda: many(shift=1)}[change]()
    report, peak = peak_of(lambda: desk.bring(second, mode="merge"))
    counts = report["changes"]["shapes"]
    assert counts["unchanged" if change == "nothing" else "changed"] == n
    assert sum(counts.values()) == n
    assert peak < 750 * n


@pytest.mark.parametrize("change", ["nothing", "words"])
def test_relationships_of_one_picture_are_compared_some_at_a_time(
    desk: Desk, zips: Zips, few_at_a_time: None, change: str
) -> None:
    n = 10_000

    def many(word: str) -> bytes:
        built = OpenImages(classes=[("/m/01yrx", "cat"), ("/m/0bt9lr", "dog")])
        lines = ["ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationLabel\n"]
        for at in range(n):
            corners = f"{at % 100 / 200:.3f},0.9,{at // 100 / 200:.3f},0.9"
            lines.append(f"a,/m/01yrx,/m/0bt9lr,{corners},{corners},{word}\n")
        built.more["oidv6-train-annotations-vrd.csv"] = "".join(lines).encode()
        return zips(built)

    desk.bring(many("at"))
    second = many("at" if change == "nothing" else "on")
    report, peak = peak_of(lambda: desk.bring(second, mode="merge"))
    counts = report["changes"]["rows"]
    assert counts["unchanged" if change == "nothing" else "changed"] == n
    assert sum(counts.values()) == n
    assert peak < 850 * n


def test_files_that_earlier_imports_left_are_looked_at_where_they_matter() -> None:
    n = 20_000
    kept = tuple(KeptFile(f"other/{number:06}.txt", number, 1, number) for number in range(n))
    document = {**Extras(mids={1: "/m/1"}, files=kept).to_dict(), "classes": [["/m/1", "cat"]]}

    found, peak = peak_of(lambda: recorded_mids({1: document}))
    assert found == {1: "/m/1"}
    assert peak < 10 * n
    earlier, new = {1: Extras(files=kept)}, Extras(files=kept)
    (changed, merged, says_more), peak = peak_of(lambda: merge_extras(earlier, new, {}))
    assert (changed, merged.files, says_more) == ({}, (), False)
    assert peak < 200 * n
    other = KeptFile("other/000001-2.txt", 0, 1, 1)  # the name that an export gives an earlier one
    assert merge_extras(earlier, Extras(files=(kept[0], other)), {})[1].files == (other,)
    twice = {**earlier, 2: Extras(files=(KeptFile("other/000001.txt", 9, 2, 7),))}
    assert merge_extras(twice, Extras(files=(kept[0], other)), {})[1].files == ()
