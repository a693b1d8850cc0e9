"""Task → zip → task in our service: exactly the same, whatever the task holds. And when the tables were edited."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import spools
from app.annotations import Annotations, AttributeSpec, Label, LabelCatalog, Shapes, ShapeType, Tags, Tracks, mix
from app.archive import ArchiveWriter
from app.columns import Ragged, Texts
from app.deflate import Piece, deflate_piece
from app.errors import Report
from app.formats import ImportOptions, find_format
from app.formats.open_images import side_pieces, side_read, side_write
from app.formats.open_images.side_items import points_text
from app.geometry import mask_to_runs, pack_mask
from app.operations import CountingSink
from tests.formats.builders import all_attributes, exported, good, opened, read_zip, target
from tests.formats.memory import MemorySource

SIDE = "annotations/oid_extra.json"
FRAMES = {"a.jpg": (8, 6), "dir/b.png": (13, 7), "c.jpg": (40, 30)}
SIZES = list(FRAMES.values())
MOOD = AttributeSpec(900, "mood", True, "select", "calm", ("calm", "wild"))
PARTS = tuple(Label(50 + n, name, "#00ff00", "points", (MOOD,), parent_id=3) for n, name in enumerate(("head", "tail")))
LABELS = LabelCatalog(
    (
        Label(1, "cat", "#ff0000", "any", (*all_attributes(), MOOD)),
        Label(2, 'a, "b"', "#ff0000", "any"),
        Label(3, "bones", "#ff0000", "skeleton", (), PARTS),
    )
)
TASK = target(FRAMES, LABELS, subset="train")

NUMBER = st.one_of(
    st.floats(-3, 45, allow_nan=False, allow_subnormal=False).map(lambda x: round(x, 2)),
    st.floats(0, 40, allow_subnormal=False),
)
SOURCES = st.sampled_from(["manual", "manual", "auto", "file"])


def attributes_of(draw: st.DrawFn, label: int) -> str:
    if label != 1:
        return "[]"
    values: dict[int, str] = {}
    for spec, choices in (
        (100, ["true", "false"]),
        (101, ["true", "false"]),
        (105, ["1", "0.5", "", "often", "0.50"]),
        (107, ["", "x1", "a/b"]),
        (108, ["0.5", ""]),
        (900, ["calm", "wild"]),
    ):
        if draw(st.booleans()):
            values[spec] = draw(st.sampled_from(choices))
    items = [{"spec_id": spec, "value": value} for spec, value in sorted(values.items())]
    return json.dumps(items, separators=(",", ":"))


def points_of(draw: st.DrawFn, kind: ShapeType) -> list[float]:
    count = {ShapeType.RECTANGLE: 2, ShapeType.ELLIPSE: 2, ShapeType.CUBOID: 8}.get(kind) or draw(st.integers(3, 6))
    points = [draw(NUMBER) for _ in range(2 * count)]
    if kind == ShapeType.RECTANGLE:
        points = [
            min(points[0], points[2]),
            min(points[1], points[3]),
            max(points[0], points[2]),
            max(points[1], points[3]),
        ]
    return points


@st.composite
def shapes(draw: st.DrawFn) -> Shapes:
    frame = draw(st.integers(0, 2))
    kind = draw(st.sampled_from(ShapeType))
    label = 3 if kind == ShapeType.SKELETON else draw(st.integers(1, 2))
    width, height = SIZES[frame]
    runs: list[int] = []
    points: list[float] = []
    elements = b""
    if kind == ShapeType.MASK:
        seed = draw(st.integers(0, 1 << 16))
        pixels = np.random.default_rng(seed).random((height, width)) < 0.4
        pixels[0, 0] = True
        runs = mask_to_runs(pack_mask(pixels)).tolist()
    elif kind == ShapeType.SKELETON:
        one = {"occluded": False, "outside": True, "z_order": 0, "rotation": 0.0, "points": [1.5, 2.5]}
        more = {"frame": frame, "group": 0, "source": "manual"}
        elements = json.dumps(
            [
                {
                    "type": "points",
                    **one,
                    "attributes": [{"spec_id": 900, "value": "wild"}],
                    **more | {"label_id": part.id},
                }
                for part in PARTS
            ]
        ).encode()
    else:
        points = points_of(draw, kind)
    turned = kind in (ShapeType.RECTANGLE, ShapeType.ELLIPSE) and draw(st.booleans())
    return replace(
        Shapes.empty(1),
        frames=np.array([frame], dtype=np.int32),
        types=np.array([kind], dtype=np.uint8),
        label_ids=np.array([label], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 0, 1, 2]))], dtype=np.int32),
        z_orders=np.array([draw(st.sampled_from([0, 0, 5, -1]))], dtype=np.int32),
        occluded=np.array([draw(st.booleans())]),
        rotations=np.array([draw(st.sampled_from([30.0, 90.0, 359.5])) if turned else 0.0]),
        sources=Texts.from_list([draw(SOURCES)]),
        attributes=Texts.from_list([attributes_of(draw, label)]),
        points=Ragged.from_arrays([points], np.float64),
        runs=Ragged.from_arrays([runs], np.int32),
        elements=Ragged.from_bytes([elements]),
    )


@st.composite
def tags(draw: st.DrawFn) -> Tags:
    label = draw(st.integers(1, 2))
    return replace(
        Tags.empty(1),
        frames=np.array([draw(st.integers(0, 2))], dtype=np.int32),
        label_ids=np.array([label], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 0, 4]))], dtype=np.int32),
        sources=Texts.from_list([draw(SOURCES)]),
        attributes=Texts.from_list([attributes_of(draw, label)]),
    )


@st.composite
def tracks(draw: st.DrawFn) -> Tracks:
    kind = draw(st.sampled_from([ShapeType.RECTANGLE, ShapeType.POLYGON, ShapeType.POINTS]))
    frames = sorted(draw(st.sets(st.integers(0, 2), min_size=1)))
    keys = [
        {
            "type": kind.name.lower(),
            "occluded": draw(st.booleans()),
            "outside": frame > frames[0] and draw(st.booleans()),
            "z_order": 0,
            "rotation": 0.0,
            "points": points_of(draw, kind)[:6] if kind != ShapeType.RECTANGLE else points_of(draw, kind),
            "attributes": [{"spec_id": 900, "value": "wild"}],
            "frame": frame,
        }
        for frame in frames
    ]
    body = json.dumps({"shapes": keys, "elements": []}, separators=(",", ":")).encode()
    return replace(
        Tracks.empty(1),
        frames=np.array([frames[0]], dtype=np.int32),
        label_ids=np.array([1], dtype=np.int32),
        groups=np.array([draw(st.sampled_from([0, 3]))], dtype=np.int32),
        attributes=Texts.from_list(['[{"spec_id":100,"value":"true"}]']),
        bodies=Ragged.from_bytes([body]),
    )


def rows_of(table: Any) -> list[str]:
    """Every row as text, without ids and kept lines; in order of text, as a zip does not keep the order on a frame."""
    rows = []
    for n in range(len(table)):
        row: dict[str, Any] = {}
        for name, column in table.columns().items():
            if name in ("ids", "kept"):
                continue
            value = column.row(n) if hasattr(column, "row") else column[n]
            if name in ("bodies", "elements"):
                value = json.loads(value.tobytes()) if len(value) else None
            row[name] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        rows.append(json.dumps(row, sort_keys=True))
    return sorted(rows)


def assert_same(one: Annotations, other: Annotations) -> None:
    for kind in ("shapes", "tags", "tracks"):
        assert rows_of(getattr(one, kind)) == rows_of(getattr(other, kind)), kind


TASKS = (st.lists(shapes(), max_size=7), st.lists(tags(), max_size=3), st.lists(tracks(), max_size=2))
TOO_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, deadline=None, suppress_health_check=TOO_SLOW)
@given(*TASKS)
def test_whatever_a_task_holds_comes_back_the_same(
    some_shapes: list[Shapes], some_tags: list[Tags], some_tracks: list[Tracks]
) -> None:
    check_two_trips(some_shapes, some_tags, some_tracks)


@pytest.mark.long
@settings(max_examples=2000, deadline=None, suppress_health_check=TOO_SLOW)
@given(*TASKS)
def test_a_great_many_tasks_come_back_the_same(
    some_shapes: list[Shapes], some_tags: list[Tags], some_tracks: list[Tracks]
) -> None:
    check_two_trips(some_shapes, some_tags, some_tracks)


def check_two_trips(some_shapes: list[Shapes], some_tags: list[Tags], some_tracks: list[Tracks]) -> None:
    given_ = Annotations(
        shapes=Shapes.concatenate(sorted(some_shapes, key=lambda s: int(s.frames[0]))),
        tags=Tags.concatenate(sorted(some_tags, key=lambda t: int(t.frames[0]))),
        tracks=Tracks.concatenate(some_tracks),
    )
    data, _ = exported(MemorySource(given_, TASK.frames), TASK)
    sink, report = good(data, TASK)
    assert [p for p in report.warnings if p.code.startswith("extra")] == []
    found = sink.annotations()
    assert_same(given_, found)
    again, _ = exported(MemorySource.of_sink(sink, TASK.frames), TASK)
    second, report = good(again, TASK)
    assert [p for p in report.warnings if p.code.startswith("extra")] == []
    assert_same(given_, second.annotations())


# --- what is written, and when ---


def one(kind: ShapeType, points: list[float], **columns: Any) -> Shapes:
    base = replace(
        Shapes.empty(1),
        types=np.array([kind], dtype=np.uint8),
        label_ids=np.array([2], dtype=np.int32),
        points=Ragged.from_arrays([[] if kind == ShapeType.MASK else points], np.float64),
        runs=Ragged.from_arrays([points if kind == ShapeType.MASK else []], np.int32),
    )
    return replace(base, **columns)


BOX = one(ShapeType.RECTANGLE, [1, 1, 3, 4])
MASK = one(ShapeType.MASK, [0, 15, 1, 1, 5, 3])
POLYGON = one(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4])
RAISED = one(ShapeType.RECTANGLE, [1, 1, 3, 5], z_orders=np.array([7], dtype=np.int32))
BOXES = "annotations/train-annotations-bbox.csv"


def members_of(*parts: Shapes, tracks: Tracks | None = None, **options: Any) -> dict[str, bytes]:
    found = Annotations(shapes=Shapes.concatenate(list(parts)), tracks=tracks or Tracks.empty())
    return read_zip(exported(MemorySource(found, TASK.frames), TASK, **options)[0])


def entries_of(members: dict[str, bytes]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(members[SIDE])["entries"]
    return entries


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(1 << 33), 1 << 33).map(float),
            st.sampled_from([0.0, -0.0, 2.0**31, -(2.0**31), 2.0**31 - 1]),
        ),
        max_size=12,
    )
)
def test_points_read_back_bit_by_bit(points: list[float]) -> None:
    text = points_text(np.array(points, dtype=np.float64))
    assert np.array(json.loads(text), dtype=np.float64).tobytes() == np.array(points, dtype=np.float64).tobytes()
    is_whole = all(point == int(point) and str(point) != "-0.0" and -(1 << 31) <= point < 1 << 31 for point in points)
    assert (b"." in text or b"e" in text) == (not is_whole)


def test_nothing_is_written_where_the_tables_say_it_all() -> None:
    assert SIDE not in members_of(BOX, MASK)
    assert SIDE not in members_of(RAISED, side_file=False)


def test_an_entry_names_its_row() -> None:
    members = members_of(BOX, RAISED)
    (entry,) = entries_of(members)
    assert json.loads(members[SIDE])["files"] == ["train-annotations-bbox.csv"]
    assert entry == {
        "row": [0, 1],
        "image": "a",
        "size": [8, 6],
        "is": 'a, "b",0.125,0.375,0.16666666666666666,0.8333333333333334',
        "shapes": [{"type": "rectangle", "label": 'a, "b"', "points": [1.0, 1.0, 3.0, 5.0], "z_order": 7}],
    }


def test_a_task_of_other_ids_understands_it_by_names() -> None:
    data = members_of(one(ShapeType.POLYGON, [1, 1, 6, 1, 6, 4], label_ids=np.array([1], dtype=np.int32)))
    other = LabelCatalog((Label(77, "cat", "#f", "any", all_attributes(4000)), Label(5, 'a, "b"', "#f", "any")))
    sink, _ = good(dict(data), target(FRAMES, other))
    assert sink.annotations().shapes.types.tolist() == [ShapeType.POLYGON]
    assert sink.annotations().shapes.label_ids.tolist() == [77]


def reread(members: dict[str, bytes], **options: Any) -> tuple[Shapes, list[str], Tracks]:
    sink, report = good(dict(members), TASK, **options)
    codes = [problem.code for problem in report.warnings]
    return sink.annotations().shapes, codes, sink.annotations().tracks


def test_an_edited_row_wins() -> None:
    members = members_of(BOX, RAISED)
    lines = members[BOXES].decode().splitlines()
    lines[2] = lines[2].replace("0.375", "0.5")
    members[BOXES] = "\n".join(lines).encode()
    shapes, codes, _ = reread(members)
    assert shapes.z_orders.tolist() == [0, 0]
    assert shapes.points.values.tolist() == [1, 1, 3, 4, 1, 1, 4, 5]
    assert codes == ["extra.ignored"]


def test_a_deleted_row_takes_its_entry_along() -> None:
    members = members_of(RAISED, BOX)
    lines = members[BOXES].decode().splitlines(keepends=True)
    members[BOXES] = "".join([lines[0], *lines[2:]]).encode()
    shapes, _, _ = reread(members)
    assert len(shapes) == 1


def test_another_png_wins() -> None:
    members = members_of(POLYGON)
    (name,) = (name for name in members if name.startswith("masks/"))
    members[name] = members_of(MASK)[name]
    shapes, codes, _ = reread(members)
    assert shapes.types.tolist() == [ShapeType.MASK]
    assert shapes.runs.row(0).tolist() == [0, 15, 1, 1, 5, 3]
    assert codes == ["extra.ignored"]


def test_a_frame_of_another_size_is_read_by_its_rows() -> None:
    members = members_of(POLYGON)
    sink, report = good(dict(members), target({"a.jpg": (16, 12), "dir/b.png": (13, 7), "c.jpg": (40, 30)}, LABELS))
    assert sink.annotations().shapes.types.tolist() == [ShapeType.MASK]
    assert "extra.ignored" in report.counts


# Two parts (the second of a mask as well), whose outlines are told apart by where they are.
APART = mask_to_runs(
    pack_mask(np.array([[1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0, 0, 0]] + [[0] * 8] * 4, dtype=bool))
)
LOW = mask_to_runs(pack_mask(np.array([[0] * 8] * 3 + [[0, 0, 0, 1, 1, 1, 0, 0]] * 3, dtype=bool)))
WILD = '[{"spec_id":900,"value":"wild"}]'


def seen(table: Shapes) -> list[tuple[Any, ...]]:
    """Where each outline begins, and what the shape says beside it."""
    columns = (table.groups, table.z_orders, table.occluded, table.scores)
    return sorted(
        (
            *table.points.row(row)[:2].tolist(),
            *(column[row].item() for column in columns),
            table.sources.row(row),
            table.attributes.row(row),
        )
        for row in range(len(table))
    )


def mask(runs: Any, **columns: Any) -> Shapes:
    return one(ShapeType.MASK, list(runs), label_ids=np.array([1], dtype=np.int32), **columns)


@pytest.mark.parametrize("n_parts", [1, 2])
@pytest.mark.parametrize("group", [0, 3])
def test_masks_that_become_polygons_stay_as_they_look(n_parts: int, group: int) -> None:
    drawn = mask(
        APART if n_parts == 2 else LOW,
        occluded=np.array([True]),
        groups=np.array([group], dtype=np.int32),
        z_orders=np.array([4], dtype=np.int32),
        scores=np.array([0.25]),
        sources=Texts.from_list(["auto"]),
        attributes=Texts.from_list([WILD]),
    )
    members = members_of(drawn)
    found, codes, _ = reread(members, conv_mask_to_poly=True)
    assert codes == []
    assert found.types.tolist() == [ShapeType.POLYGON] * n_parts
    assert {row[3:] for row in seen(found)} == {(4, True, 0.25, "auto", WILD)}
    assert len(set(found.groups.tolist())) == 1
    assert (found.groups[0] > 0) == (n_parts > 1 or group > 0)
    sink, _ = good(dict(members), TASK, conv_mask_to_poly=True)
    again = read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK)[0])
    pngs = [[data for name, data in one.items() if name.startswith("masks/")] for one in (members, again)]
    assert pngs[0] == pngs[1]
    assert seen(reread(again)[0]) == seen(found)


@pytest.mark.parametrize("is_alike", [True, False])
def test_masks_of_one_png_become_polygons_as_each_looks(is_alike: bool) -> None:
    look = {"groups": np.array([3], dtype=np.int32), "z_orders": np.array([2], dtype=np.int32)}
    other = look if is_alike else {**look, "occluded": np.array([True]), "attributes": Texts.from_list([WILD])}
    found, codes, _ = reread(members_of(mask(APART, **look), mask(LOW, **other)), conv_mask_to_poly=True)
    assert codes == []
    assert found.types.tolist() == [ShapeType.POLYGON] * 3
    assert len(set(found.groups.tolist())) == 1
    assert set(found.z_orders.tolist()) == {2}
    is_low = found.points.values[found.points.offsets[:-1] + 1] >= 3
    assert is_low.sum() == 1
    assert found.occluded.tolist() == [bool(low) and not is_alike for low in is_low]
    assert [text == WILD for text in found.attributes.to_list()] == found.occluded.tolist()


def test_polygons_where_masks_are_to_become_polygons() -> None:
    hidden = one(ShapeType.MASK, [0, 15, 1, 1, 5, 3], occluded=np.array([True]))
    shapes, codes, _ = reread(members_of(hidden), conv_mask_to_poly=True)
    assert shapes.types.tolist() == [ShapeType.POLYGON]
    assert shapes.occluded.tolist() == [True]
    assert codes == []
    shapes, _, _ = reread(members_of(hidden))
    assert shapes.occluded.tolist() == [True]


def track_of(frames: list[int]) -> Tracks:
    keys = [
        {
            "type": "rectangle",
            "occluded": False,
            "outside": False,
            "z_order": 0,
            "rotation": 0.0,
            "points": [frame, 0.0, frame + 1.0, 1.0],
            "attributes": [],
            "frame": frame,
        }
        for frame in frames
    ]
    body = json.dumps({"shapes": keys, "elements": []}).encode()
    return replace(
        Tracks.empty(1),
        frames=np.array(frames[:1], dtype=np.int32),
        label_ids=np.array([2], dtype=np.int32),
        bodies=Ragged.from_bytes([body]),
    )


def test_a_track_comes_back_where_all_of_its_rows_do() -> None:
    shapes, codes, tracks = reread(members_of(BOX, tracks=track_of([0, 2])))
    assert (len(shapes), len(tracks), codes) == (1, 1, [])


@pytest.mark.parametrize("edit", ["change", "delete"])
def test_a_track_of_which_a_row_was_edited_is_shapes(edit: str) -> None:
    members = members_of(tracks=track_of([0, 2]))
    lines = members[BOXES].decode().splitlines(keepends=True)
    assert len(lines) == 4
    kept = [lines[0], lines[1].replace(",0,0.125,", ",0,0.25,")] if edit == "change" else [lines[0]]
    members[BOXES] = "".join([*kept, *lines[2:]]).encode()
    shapes, codes, tracks = reread(members)
    assert (len(shapes), len(tracks)) == (len(kept) - 1 + 2, 0)
    assert codes == ["extra.ignored"]


def test_a_track_that_reaches_out_of_a_job_is_shapes() -> None:
    part = target(dict(list(FRAMES.items())[:2]), LABELS, subset="train")
    found = Annotations(tracks=track_of([0, 2]))
    data, _ = exported(MemorySource(found, part.frames), part)
    sink, _ = good(data, part)
    assert (len(sink.annotations().shapes), len(sink.annotations().tracks)) == (2, 0)


def rows_in_order(table: Any) -> list[list[Any]]:
    return [[int(table.frames[row]), table.points.row(row).tolist()] for row in range(len(table))]


@pytest.mark.parametrize("broken", [(), (1,), (0, 4), tuple(range(7))])
def test_tracks_and_points_of_which_rows_changed_are_shapes_in_their_order(
    monkeypatch: pytest.MonkeyPatch, broken: tuple[int, ...]
) -> None:
    three = one(ShapeType.POINTS, [1, 1, 2, 2, 3, 3])
    members = members_of(three, three, tracks=Tracks.concatenate([track_of([0, 2])] * 7))
    tables = {name: data.decode().splitlines(keepends=True) for name, data in members.items() if name.endswith(".csv")}
    points = next(name for name in tables if "point" in name)
    for number in broken:
        tables[BOXES][1 + number] = tables[BOXES][1 + number].replace(",0.125,", ",0.1875,")
    if 4 in broken:
        tables[points][4] = tables[points][4].replace("0.125", "0.25", 1)
    members |= {name: "".join(lines).encode() for name, lines in tables.items()}
    found, codes, tracks = reread(members)
    assert len(tracks) == 7 - len(broken)
    assert ("extra.ignored" in codes) == bool(broken)
    monkeypatch.setattr(side_read, "SHOWN_BYTES", 1)
    monkeypatch.setattr(side_read, "LINES_AT_ONCE", 2)
    again, codes_again, tracks_again = reread(members)
    assert (rows_in_order(again), codes_again) == (rows_in_order(found), codes)
    assert tracks_again.bodies.to_bytes_list() == tracks.bodies.to_bytes_list()
    boxes = [row for row in rows_in_order(again) if len(row[1]) == 4]
    assert len(boxes) == 3 * len(broken)
    lone = 3 if 4 in broken else 0
    assert len(again) == len(boxes) + 2 - bool(lone) + lone


@pytest.mark.parametrize("number", ["[]", "{}", "null", "1e0", "true", '"0"', str(1 << 63), str(1 << 70), "-1"])
def test_a_row_of_no_track_is_a_row(number: str) -> None:
    members = members_of(tracks=track_of([0, 2]))
    members[SIDE] = members[SIDE].replace(b'"shapes":[{"track":0}]', b'"shapes":[{"track":%s}]' % number.encode())
    shapes, codes, tracks = reread(members)
    assert (len(shapes), len(tracks), set(codes)) == (3, 0, {"extra.ignored"})


@pytest.mark.parametrize("number", ["[]", "null", str(1 << 62), "0"])
def test_tracks_of_no_number_or_of_one_number_leave_the_tables_alone(number: str) -> None:
    members = members_of(tracks=Tracks.concatenate([track_of([0, 2])] * 2))
    members[SIDE] = members[SIDE].replace(b'{"track":1,"rows"', b'{"track":%s,"rows"' % number.encode())
    shapes, codes, tracks = reread(members)
    assert (len(shapes), len(tracks), "extra.ignored" in codes) == (6, 0, True)


@pytest.mark.parametrize(("kind", "n"), [("tracks", 2_500), ("rowless", 5_000), ("wholes", 2_500)])
def test_memory_does_not_follow_what_no_table_can_say(kind: str, n: int) -> None:
    if kind == "tracks":
        members = members_of(tracks=Tracks.concatenate([track_of([0, 2])] * n))
    else:
        members = members_of(
            *[
                one(ShapeType.POLYLINE if kind == "rowless" else ShapeType.POINTS, [1, 1, 6, n / (1 + at)])
                for at in range(n)
            ]
        )
    archive, sink = opened(members), CountingSink()
    read = find_format("Open Images V6 1.0").read
    assert read is not None
    tracemalloc.start()
    try:
        read(archive, TASK, ImportOptions(), sink, Report(), lambda done: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.close()["tracks" if kind == "tracks" else "shapes"] == n
    assert peak < 16 << 20


def test_groups_begin_where_told() -> None:
    grouped = [replace(part, groups=np.array([3], dtype=np.int32)) for part in (POLYGON, RAISED)]
    where = replace(TASK, first_group=10)
    sink, _ = good(dict(members_of(*grouped)), where)
    assert sink.annotations().shapes.groups.tolist() == [12, 12]


def test_groups_stay_among_the_free_numbers() -> None:
    highest = (1 << 31) - 1
    grouped = [replace(part, groups=np.array([3], dtype=np.int32)) for part in (POLYGON, RAISED)]
    members = dict(members_of(*grouped))
    assert codes_where(members, first_group=highest - 2, group_room=2) == ["extra.ignored"]  # as a whole
    members[SIDE] = (
        members[SIDE].replace(b'"max_group":3', b'"max_group":0').replace(b'"group":3', b'"group":%d' % highest)
    )
    assert codes_where(members, first_group=10, group_room=highest - 9) == ["extra.ignored"]  # each entry


def codes_where(members: dict[str, bytes], **groups: int) -> list[str]:
    sink, report = good(members, replace(TASK, **groups))
    assert (sink.annotations().shapes.groups >= 0).all()
    return [problem.code for problem in report.warnings if problem.code == "extra.ignored"]


def test_it_may_be_laid_out_anew() -> None:
    members = members_of(BOX, RAISED, POLYGON, one(ShapeType.POLYLINE, [1, 1, 2, 2]))
    expected, _, _ = reread(members)
    members[SIDE] = json.dumps(json.loads(members[SIDE]), indent=2).encode()
    shapes, codes, _ = reread(members)
    assert rows_of(shapes) == rows_of(expected)
    assert codes == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"version":2,"files":[],"entries":[\n]}',
        b'{"version":1,"files":7,"entries":[]}',
        b'{"version":1,"files":[],"max_group":-1,"entries":[]}',
        b'{"version":1,"files":[],"entries":[{"x":1}]}',
        b'{"version":1,"files":[],"entries":[{"track":"a","rows":1}]}',
        b'{"version":1,"files":[],"entries":' + b"[" * 100_000,
        b'{"version":1,"files":[' + b'"a",' * (1 << 22) + b'"a"],"entries":[\n]}',
    ],
    ids=range(12),
)
def test_a_side_file_that_cannot_be_used_changes_nothing(text: bytes) -> None:
    members = members_of(BOX, RAISED)
    members[SIDE] = text
    shapes, codes, _ = reread(members)
    assert shapes.z_orders.tolist() == [0, 0]
    assert codes == ["extra.ignored"]


@pytest.mark.parametrize("blank", [b" ", b" \n"], ids=["in one line", "in many"])
def test_a_side_file_that_was_laid_out_anew_has_a_limit(blank: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import side_read

    members = members_of(BOX, RAISED)
    expected, _, _ = reread(members)
    start, end = members[SIDE][:1], members[SIDE][1:]
    monkeypatch.setattr(side_read, "MAX_PARSED_BYTES", 1 << 20)
    for n_bytes, z_orders, told in ((1 << 19, expected.z_orders.tolist(), []), (1 << 20, [0, 0], ["extra.ignored"])):
        members[SIDE] = start + blank * (n_bytes // len(blank)) + end
        shapes, codes, _ = reread(members)
        assert (shapes.z_orders.tolist(), codes) == (z_orders, told)


def test_a_side_file_over_the_limit_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import side_read

    monkeypatch.setattr(side_read, "MAX_BYTES", 10)
    shapes, codes, _ = reread(members_of(RAISED))
    assert (shapes.z_orders.tolist(), codes) == ([0], ["extra.ignored"])


@pytest.mark.parametrize(
    "change",
    [
        {"shapes": 7},
        {"shapes": [7]},
        {"is": "something else"},
        {"size": [1, 1]},
        {"shapes": [{"type": "circle", "label": "cat"}]},
        {"shapes": [{"type": "rectangle", "label": "bird", "points": [0, 0, 1, 1]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, "x"]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1e300]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 10**400]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "rotation": 10**400}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, float("nan")]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, True]}]},
        {"row": [999_999_999, 0]},
        {"shapes": [{"type": "polygon", "label": "cat", "points": [0, 0, 1, 1, 2]}]},
        {"shapes": [{"type": "polygon", "label": "cat", "traced": True}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "traced": True}]},
        {"shapes": [{"type": "mask", "label": "cat"}]},
        {"shapes": [{"type": "mask", "label": "cat", "runs": [1, 2, 3]}]},
        {"shapes": [{"type": "mask", "label": "cat", "runs": [0, 1, 50, 50, 50, 50]}]},
        {"shapes": [{"type": "skeleton", "label": "bones"}]},
        {"shapes": [{"type": "skeleton", "label": "bones", "elements": [{"type": "points", "label": "nose"}]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "group": -1}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "z_order": 2.5}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "occluded": 1}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "rotation": "x"}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "score": 1.5}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "score": -0.5}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "source": 5}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "attributes": [1]}]},
        {"shapes": [{"type": "rectangle", "label": "cat", "points": [0, 0, 1, 1], "attributes": {"mood": 1}}]},
        {"shapes": [{"track": 99}]},
    ],
    ids=str,
)
def test_an_entry_that_fits_nothing_leaves_the_row(change: dict[str, Any]) -> None:
    members = members_of(BOX, RAISED)
    document = json.loads(members[SIDE])
    document["entries"][0] |= change
    members[SIDE] = json.dumps(document).encode()
    shapes, codes, _ = reread(members)
    assert shapes.z_orders.tolist() == [0, 0]
    assert shapes.points.values.tolist() == [1, 1, 3, 4, 1, 1, 3, 5]
    assert codes == ["extra.ignored"]


@pytest.mark.parametrize(
    "entry",
    [
        {"image": "zz", "size": [8, 6], "shapes": []},
        {"image": 7, "size": [8, 6], "shapes": []},
        {"image": "a", "size": [8, 6]},
        {"image": "a", "size": [8, 6], "shapes": [{"type": "mask", "label": "cat"}]},
        {"image": "a", "size": [1, 6], "shapes": [{"type": "polyline", "label": "cat", "points": [1, 1, 2, 2]}]},
    ],
)
def test_a_shape_without_a_row_must_fit_its_frame(entry: dict[str, Any]) -> None:
    members = members_of(one(ShapeType.POLYLINE, [1, 1, 2, 2]))
    document = json.loads(members[SIDE])
    document["entries"] = [{"row": None, **entry}]
    members[SIDE] = json.dumps(document).encode()
    shapes, codes, _ = reread(members)
    assert (len(shapes), codes) == (0, ["extra.ignored"])


def test_shapes_that_no_row_shows_are_told_as_left_out_and_why() -> None:
    """As those of a project's skeletons, whose label a new project has not: to say that rows are read was no help."""
    members = members_of(one(ShapeType.POLYLINE, [1, 1, 2, 2]), one(ShapeType.POLYLINE, [1, 1, 3, 3]))
    document = json.loads(members[SIDE])
    for entry in document["entries"]:
        entry["shapes"][0]["label"] = "ghost"
    members[SIDE] = json.dumps(document).encode()
    sink, report = good(members, TASK)
    assert len(sink.annotations().shapes) == 0
    (warning,) = report.warnings
    assert warning.code == "extra.ignored"
    assert 'left out, 2 of them; the first: there is no label "ghost" here' in warning.message


def test_tag_entries_that_do_not_fit_leave_the_tag() -> None:
    tag = replace(Tags.empty(1), label_ids=np.array([2], dtype=np.int32), groups=np.array([4], dtype=np.int32))
    data, _ = exported(MemorySource(Annotations(tags=tag), TASK.frames), TASK)
    members = read_zip(data)
    assert good(dict(members), TASK)[0].annotations().tags.groups.tolist() == [4]
    for change in ({"tags": []}, {"is": "x"}, {"tags": [{"label": "bird"}]}, {"tags": [[]]}):
        document = json.loads(members[SIDE])
        document["entries"][0] |= change
        sink, report = good({**members, SIDE: json.dumps(document).encode()}, TASK)
        assert sink.annotations().tags.groups.tolist() == [0]
        assert report.counts == {"extra.ignored": 1}


def test_skeleton_and_mask_tracks_come_back() -> None:
    point = {"type": "points", "occluded": False, "outside": False, "z_order": 0, "rotation": 0.0, "points": [1.0, 2.0]}
    wild = [{"spec_id": 900, "value": "wild"}]
    key = {**point, "type": "skeleton", "points": [], "attributes": [], "frame": 0}
    parts = [
        {
            "frame": 0,
            "label_id": part.id,
            "group": 0,
            "source": "auto",
            "attributes": [],
            "shapes": [{**point, "attributes": wild, "frame": 0}],
        }
        for part in PARTS
    ]
    mask = {**point, "type": "mask", "points": [0, 15, 1, 1, 5, 3], "attributes": [], "frame": 1}
    bodies = [{"shapes": [key], "elements": parts}, {"shapes": [mask], "elements": []}]
    two = replace(
        Tracks.empty(2),
        frames=np.array([0, 1], dtype=np.int32),
        label_ids=np.array([3, 2], dtype=np.int32),
        sources=Texts.from_list(["auto", "manual"]),
        bodies=Ragged.from_bytes([json.dumps(body).encode() for body in bodies]),
    )
    _, codes, tracks = reread(members_of(tracks=two))
    assert codes == []
    assert rows_of(tracks) == rows_of(two)


def test_scores_of_models_come_back() -> None:
    scored = one(ShapeType.RECTANGLE, [1, 1, 3, 4], scores=np.array([0.25]), sources=Texts.from_list(["auto"]))
    shapes, _, _ = reread(members_of(scored))
    assert (shapes.scores.tolist(), shapes.sources.to_list()) == ([0.25], ["auto"])


@pytest.mark.parametrize(("turned", "kept"), [(-30, 330), (400.5, 40.5), (360, 360), (0, 0), (359.5, 359.5)])
def test_a_rotation_that_clients_cannot_read_is_the_same_angle_within_their_range(turned: float, kept: float) -> None:
    members = members_of(one(ShapeType.RECTANGLE, [1, 1, 3, 4], rotations=np.array([33.0])))
    document = json.loads(members[SIDE])
    document["entries"][0]["shapes"][0]["rotation"] = turned
    members[SIDE] = json.dumps(document).encode()
    shapes, codes, _ = reread(members)
    assert (shapes.rotations.tolist(), codes) == ([kept], [])


def test_attributes_the_label_has_not_are_left_out_and_told() -> None:
    members = members_of(RAISED)
    document = json.loads(members[SIDE])
    document["entries"][0]["shapes"][0]["attributes"] = {"colour": "red"}
    shapes, codes, _ = reread({**members, SIDE: json.dumps(document).encode()})
    assert (shapes.attributes.to_list(), shapes.z_orders.tolist()) == (["[]"], [7])
    assert codes == ["attribute.undeclared"]


def test_a_line_that_is_no_json_leaves_its_row() -> None:
    members = members_of(RAISED)
    members[SIDE] = members[SIDE].replace(b'"z_order":7', b'"z_order":')
    shapes, codes, _ = reread(members)
    assert (shapes.z_orders.tolist(), codes) == ([0], ["extra.ignored"])


def test_an_entry_that_is_too_long_leaves_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import side_read

    monkeypatch.setattr(side_read, "MAX_PARSED_BYTES", 500)
    members = members_of(RAISED, one(ShapeType.RECTANGLE, [1, 1, 3, 6], z_orders=np.array([7], dtype=np.int32)))
    head, first, second, *rest = members[SIDE].split(b"\n")
    long = first.replace(b'"z_order":7', b'"z_order":' + b" " * 500 + b"7")
    for lines, z_orders in (([long, second], [0, 7]), ([first, long.replace(b"[0,0]", b"[0,1]")], [7, 0])):
        members[SIDE] = b"\n".join([head, *lines, *rest])
        shapes, codes, _ = reread(members)
        assert (shapes.z_orders.tolist(), codes) == (z_orders, ["extra.ignored"])


def test_entries_are_read_from_disk_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches the masks of a table come in."""
    from app.formats.open_images import read_masks, side_read

    polygons = [one(ShapeType.POLYGON, [1.25, 1.0, 6.0, 1.0 + at / 70, 6.0, 5.5]) for at in range(30)]
    members = members_of(*polygons)
    monkeypatch.setattr(spools, "SPOOL_BYTES", 10)
    monkeypatch.setattr(read_masks, "BATCH_MASKS", 4)
    read: list[int] = []

    class Lines(side_read._Lines):
        def read(self, at: int) -> bytes:
            read.append(at)
            return super().read(at)

    monkeypatch.setattr(side_read, "_Lines", Lines)
    shapes, codes, _ = reread(members)
    assert codes == []
    assert shapes.points.values.tolist() == Shapes.concatenate(polygons).points.values.tolist()
    assert read == list(range(30))


def test_entries_wait_in_pieces_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones together, long ones by themselves, held ones wherever they are asked for; the same bytes however much
    may wait in memory."""
    random = np.random.default_rng(3)
    texts = [
        b'{"n":%d,"text":"%s"}' % (row, random.bytes(int(random.integers(900))).hex().encode()) for row in range(400)
    ]
    expected = b"".join(b"<%d>%s" % (row, text[1:]) for row, text in enumerate(texts))
    found = []
    for room, text_bytes in ((1 << 20, 3000), (100, 3000), (0, 3000), (100, 20)):
        monkeypatch.setattr(spools, "SPOOL_BYTES", room)
        monkeypatch.setattr(side_pieces, "TEXT_BYTES", text_bytes)
        pieces = side_pieces.Pieces()
        entries = [side_pieces.pack_entry(text) for text in texts]
        is_long = [len(text) >= side_pieces.LONG_BYTES for text in texts]
        assert [isinstance(entry, Piece) for entry in entries] == is_long
        assert any(is_long)
        frames = [pieces.held.add(entry) if isinstance(entry, Piece) else b"" for entry in entries[::-1]][::-1]
        for row, (text, frame) in enumerate(zip(texts, frames, strict=True)):
            pieces.add_text(b"<%d>" % row + (b"" if frame else text[1:]))
            if frame:
                assert frame[:1] == side_pieces.HELD
                pieces.add_held(frame)
        chunks: list[bytes] = []
        with ArchiveWriter(chunks.append) as writer, writer.open_deflated("a.json") as member:
            for piece in pieces.read():
                member.write_piece(piece)
        assert read_zip(b"".join(chunks)) == {"a.json": expected}  # CRC and size too
        found.append(b"".join(chunks))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("traced", [False, True])
def test_entries_of_masks_are_found_however_far_ahead_jobs_are_taken(
    traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a few rows, and a helper that is given jobs of the blocks behind."""
    from app import helpers
    from app.formats.open_images import mask_work, read_masks, reading

    polygons = [one(ShapeType.POLYGON, [1.25, 1.0, 6.0, 1.0 + at / 70, 6.0, 5.5]) for at in range(30)]
    members = members_of(*polygons)
    monkeypatch.setattr(reading, "CSVReader", partial(reading.CSVReader, block_bytes=300))
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    has_room = helpers.Helper.has_room
    monkeypatch.setattr(helpers.Helper, "has_room", lambda self: self.wait() or has_room(self))
    monkeypatch.setattr(read_masks, "BATCH_MASKS", 2)
    monkeypatch.setattr(mask_work, "HELPED_MASKS", 1)
    monkeypatch.setattr(mask_work, "HELPED_PROOFS", 1)
    shapes, codes, _ = reread(members, conv_mask_to_poly=traced, mask_helpers=1)
    assert codes == []
    assert shapes.points.values.tolist() == Shapes.concatenate(polygons).points.values.tolist()


@pytest.mark.parametrize("few_hashes", [False, True])
def test_rows_that_are_equal_are_found_as_by_comparing_each_with_each(
    few_hashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if few_hashes:
        monkeypatch.setattr(side_write, "mix", lambda *columns: mix(*columns) & np.uint64(3))
    random = np.random.default_rng(4)
    for size in (0, 1, 2, 30, 300):
        rows = random.integers(-2, 2, (size, 5))
        rows[: size // 3] = random.integers(-(1 << 62), 1 << 62, (size // 3, 5))
        marked = random.random(size) < 0.2
        told = [row.tobytes() for row in rows]
        expected = [
            place
            for place, text in enumerate(told)
            if told.count(text) > 1 and any(marked[other] for other in range(size) if told[other] == text)
        ]
        assert side_write._equal_to_marked(rows, marked).tolist() == expected


def test_keys_of_several_values_are_found_as_by_counting() -> None:
    random = np.random.default_rng(5)
    for size in (0, 1, 2, 40):
        keys, values = random.integers(0, 12, size), random.integers(0, 3, size)
        seen: dict[int, set[int]] = {}
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            seen.setdefault(key, set()).add(value)
        assert side_write._have_several(keys, values).tolist() == [len(seen[key]) > 1 for key in keys.tolist()]


@pytest.mark.parametrize("spool_bytes", [1, 4 << 20])
def test_pieces_come_back_in_the_order_in_which_their_rows_came(
    spool_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SPOOL_BYTES", spool_bytes)
    monkeypatch.setattr(side_pieces, "READ_BYTES", 100)
    monkeypatch.setattr(side_pieces, "TEXT_BYTES", 300)
    random = np.random.default_rng(6)
    pieces = side_pieces.Pieces()
    entries = [random.integers(32, 127, n, dtype=np.uint8).tobytes() for n in random.integers(1, 900, 200)]
    held = {
        number: pieces.held.add(deflate_piece(entries[number])) for number in random.permutation(200)[:120].tolist()
    }
    for number, entry in enumerate(entries):
        if number in held:
            pieces.add_held(held[number])
        else:
            pieces.add_text(entry)
    raw = b"".join(piece.packed for piece in pieces.read()) + b"\x03\x00"
    assert zlib.decompress(raw, wbits=-15) == b"".join(entries)


@pytest.mark.parametrize("kind", ["box", "tag", "track", "skeleton", "points"])
def test_values_of_attributes_that_a_label_has_not_are_told(kind: str) -> None:
    mood = '[{"spec_id":900,"value":"wild"}]'
    of_cat: dict[str, Any] = {"label_ids": np.array([1], dtype=np.int32), "attributes": Texts.from_list([mood])}
    shape = one(ShapeType.RECTANGLE, [0, 0, 1, 1], **of_cat)
    if kind == "points":
        shape = one(ShapeType.POINTS, [1, 1, 2, 2], **of_cat)
    moving = replace(track_of([0, 2]), **of_cat)
    tag = replace(Tags.empty(1), **of_cat)
    part = {"type": "points", "points": [1.0, 1.0], "attributes": json.loads(mood), "label_id": 50, "frame": 0}
    bones = one(ShapeType.SKELETON, [], label_ids=np.array([3], dtype=np.int32))
    bones = bones.replace(elements=Ragged.from_bytes([json.dumps([part]).encode()]))
    found = {
        "box": Annotations(shapes=shape),
        "points": Annotations(shapes=shape),
        "tag": Annotations(tags=tag),
        "track": Annotations(tracks=moving),
        "skeleton": Annotations(shapes=bones),
    }[kind]
    data, _ = exported(MemorySource(found, TASK.frames), TASK)
    poorer = LabelCatalog(
        tuple(
            replace(label, attributes=(), sublabels=tuple(replace(each, attributes=()) for each in label.sublabels))
            for label in LABELS.labels
        )
    )
    _, report = good(data, target(FRAMES, poorer, subset="train"))
    told = [(problem.code, problem.value) for problem in report.problems()]
    assert told == [("attribute.undeclared", "mood")]
