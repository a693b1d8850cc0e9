"""The health check's numbers beside a slow, obvious count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, FrameTable, Images, Shapes, ShapeType, Tags
from app.annotations.looks import find_boxes
from app.columns import Ragged, Texts
from app.helpers import Crew
from app.operations import statistics
from app.operations.statistics import (
    AGREEMENT_EDGES,
    ASPECT_EDGES,
    GRID,
    PER_PICTURE_EDGES,
    SIZE_EDGES,
    boxes_of,
    chosen_stretches,
    frames_named,
    is_repeated,
    overlaps,
    task_statistics,
)
from app.storage import (
    AttributeDraft,
    Connection,
    FrameColumns,
    FramePlaces,
    LabelDraft,
    Storage,
    TaskData,
    open_storage,
    tasks,
    users,
)
from app.storage import annotations as annotation_rows
from app.storage import frames as frame_rows
from app.storage import labels as label_rows

WIDTH, HEIGHT, N_FRAMES = 200, 100, 300


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("statistics")
    opened = open_storage("", "", folder, min_free_bytes=0, migrate=True)
    yield opened
    opened.close()


def make_task(conn: Connection, n_frames: int = N_FRAMES) -> int:
    admin = users.ensure_local_admin(conn)
    flag = AttributeDraft(
        name="truncated", mutable=False, input_type="checkbox", default_value="false", values=("false",)
    )
    score = AttributeDraft(name="score", mutable=False, input_type="text", default_value="", values=("",))
    drafts = [LabelDraft(name=name, attributes=(flag, score)) for name in ("cat", "dog", "never")]
    task = tasks.create(conn, admin, "numbers", drafts, subset="own")
    zeros = np.zeros(n_frames, dtype=np.int64)
    columns = FrameColumns(
        names=Ragged.from_bytes([b"dir/IMG_%03d.png" % number for number in range(n_frames)]),
        widths=np.full(n_frames, WIDTH, dtype=np.int32),
        heights=np.full(n_frames, HEIGHT, dtype=np.int32),
        places=FramePlaces(
            packs=zeros.astype(np.int32),
            offsets=zeros,
            stored_sizes=zeros,
            sizes=zeros,
            methods=zeros.astype(np.uint8),
            crcs=zeros,
            orientations=np.ones(n_frames, dtype=np.uint8),
        ),
    )
    data = TaskData(
        jobs=((0, n_frames),),
        segment_size=n_frames,
        overlap=0,
        image_quality=70,
        chunk_size=10,
        start_frame=0,
        stop_frame=n_frames - 1,
        frame_filter="",
        sorting_method="natural",
    )
    tasks.attach_data(conn, task.id, data, columns)
    return task.id


def random_shapes(rng: np.random.Generator, n: int, n_frames: int, label_ids: list[int], spec_id: int) -> Shapes:
    kinds = rng.choice([ShapeType.RECTANGLE, ShapeType.ELLIPSE, ShapeType.POLYGON, ShapeType.MASK], n)
    points: list[list[float]] = []
    runs: list[list[int]] = []
    for kind in kinds.tolist():
        x0, y0 = rng.uniform(-5, WIDTH * 0.8), rng.uniform(-5, HEIGHT * 0.8)
        w, h = rng.uniform(0.5, 60), rng.uniform(0.5, 60)
        corners = [x0, y0, x0 + w, y0 + h]
        if kind == ShapeType.ELLIPSE:
            corners = [x0 + w / 2, y0 + h / 2, x0 + w, y0]
        if kind == ShapeType.POLYGON:
            corners = [x0, y0, x0 + w, y0, x0 + w / 3, y0 + h]
        left, top, wide, tall = int(max(0, x0)), int(max(0, y0)), int(w) + 1, int(h) + 1
        is_mask = kind == ShapeType.MASK
        points.append([] if is_mask else corners)
        runs.append([0, wide * tall, left, top, left + wide - 1, top + tall - 1] if is_mask else [])
    texts = ["[]", *(f'[{{"spec_id":{spec_id},"value":"{value}"}}]' for value in ("true", "false"))]
    return Shapes.empty(n).replace(
        frames=np.sort(rng.integers(0, n_frames, n)).astype(np.int32),
        types=kinds.astype(np.uint8),
        label_ids=rng.choice(label_ids, n).astype(np.int32),
        groups=rng.integers(0, 3 * n_frames // 2, n).astype(np.int32) // 300,  # few, so that some meet
        occluded=rng.random(n) < 0.3,
        rotations=np.where((kinds == ShapeType.RECTANGLE) & (rng.random(n) < 0.3), 37.0, 0.0),
        attributes=Texts.from_list([texts[i] for i in rng.integers(0, 3, n)]),
        points=Ragged.from_arrays(points, np.float64),
        runs=Ragged.from_arrays(runs, np.int32),
    )


def slow_box(kind: int, points: list[float], runs: list[int], rotation: float) -> tuple[float, float, float, float]:
    if kind == ShapeType.MASK:
        left, top, right, bottom = runs[-4:]
        return left, top, right + 1, bottom + 1
    if kind == ShapeType.ELLIPSE:
        x, y, right_end, top_end = points
        return 2 * x - right_end, top_end, right_end, 2 * y - top_end
    xs, ys = points[::2], points[1::2]
    if rotation:
        x0, y0, x1, y1 = points
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        turn = complex(np.cos(np.radians(rotation)), np.sin(np.radians(rotation)))
        turned = [complex(cx, cy) + turn * (complex(x, y) - complex(cx, cy)) for x in (x0, x1) for y in (y0, y1)]
        xs, ys = [c.real for c in turned], [c.imag for c in turned]
    return min(xs), min(ys), max(xs), max(ys)


def slow_boxes(shapes: Shapes) -> list[tuple[float, float, float, float]]:
    return [
        slow_box(
            int(shapes.types[i]), shapes.points.row(i).tolist(), shapes.runs.row(i).tolist(), float(shapes.rotations[i])
        )
        for i in range(len(shapes))
    ]


def slow_bin(value: float, edges: tuple[float, ...]) -> int:
    return max(index for index, edge in enumerate(edges) if value >= edge)


@pytest.fixture(scope="module")
def filled(storage: Storage) -> tuple[int, Shapes, dict[str, Any], dict[int, str]]:
    """A task with 2,000 shapes and some tags; its statistics, and label names by id."""
    rng = np.random.default_rng(7)
    with storage.database.write() as conn:
        task_id = make_task(conn)
        catalog = label_rows.of_task(conn, task_id)
        cat, dog, _ = (label.id for label in catalog.labels)
        spec = catalog.labels[0].attribute("truncated")
        assert spec is not None
        shapes = random_shapes(rng, 2000, N_FRAMES - 20, [cat], spec.id)
        dog_spec = catalog.labels[1].attribute("truncated")
        assert dog_spec is not None
        more = random_shapes(rng, 500, N_FRAMES - 20, [dog], dog_spec.id)
        shapes = Shapes.concatenate([shapes, more, shapes.take(np.array([3, 9]))])
        score = catalog.labels[1].attribute("score")
        assert score is not None
        said = [f'[{{"spec_id":{score.id},"value":"{value}"}}]' for value in ("0", "1", "0.5", "0")]
        tags = Tags.empty(4).replace(
            frames=np.array([0, 1, 2, 299], dtype=np.int32),
            label_ids=np.full(4, dog, dtype=np.int32),
            attributes=Texts.from_list(said),
        )
        annotation_rows.append(conn, task_id, Annotations(shapes=shapes, tags=tags))
        frame_rows.set_deleted(conn, task_id, np.array([5]))
    with storage.database.read() as conn:
        found = task_statistics(conn, task_id)
        stored = annotation_rows.load(conn, task_id).shapes
    return task_id, stored.take(stored.frames != 5), found, {cat: "cat", dog: "dog"}


def test_boxes_of_every_kind_of_shape(filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]) -> None:
    shapes = filled[1]
    assert {int(kind) for kind in shapes.types} == {0, 1, 4, 6}
    assert np.allclose(boxes_of(shapes, Crew(find_boxes, 0)), slow_boxes(shapes))


def test_counts_are_those_of_a_slow_count(filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]) -> None:
    _, shapes, found, names = filled
    per_frame = Counter(shapes.frames.tolist())
    assert found["pictures"] == N_FRAMES - 1
    assert found["counted_share"] == 1
    assert found["shapes"] == len(shapes)
    assert (found["tags"], found["tracks"]) == (4, 0)
    assert found["annotated_pictures"] == len(set(per_frame) | {0, 1, 2, 299})
    kinds = Counter(ShapeType(kind).name.lower() for kind in shapes.types.tolist())
    assert found["types"] == dict(kinds)
    by_name = {label["name"]: label for label in found["labels"]}
    for label_id, name in names.items():
        rows = shapes.take(shapes.label_ids == label_id)
        assert by_name[name]["shapes"] == len(rows)
        on = set(rows.frames.tolist()) | ({0, 1, 2, 299} if name == "dog" else set())
        assert by_name[name]["pictures"] == len(on)
    assert (by_name["dog"]["tags"], by_name["dog"]["absent"]) == (4, 2)
    assert by_name["never"]["shapes"] == 0
    counts = [0] * len(PER_PICTURE_EDGES)
    for frame in range(N_FRAMES):
        if frame != 5:
            counts[slow_bin(per_frame[frame], PER_PICTURE_EDGES)] += 1
    assert found["objects_per_picture"]["counts"] == counts
    assert found["objects_per_picture"]["max"] == max(per_frame.values())
    assert found["busiest"][0]["shapes"] == max(per_frame.values())


def test_sizes_places_and_findings_are_those_of_a_slow_count(
    filled: tuple[int, Shapes, dict[str, Any], dict[int, str]],
) -> None:
    _, shapes, found, _ = filled
    sizes, aspects = [0] * len(SIZE_EDGES), [0] * (len(ASPECT_EDGES) + 1)
    grid = np.zeros((GRID, GRID), dtype=np.int64)
    outside = tiny = 0
    for x0, y0, x1, y1 in slow_boxes(shapes):
        sizes[slow_bin(((x1 - x0) * (y1 - y0) / WIDTH / HEIGHT) ** 0.5, SIZE_EDGES)] += 1
        aspects[sum((x1 - x0) / (y1 - y0) >= edge for edge in ASPECT_EDGES)] += 1
        for row in range(GRID):
            for column in range(GRID):
                left, right = column / GRID * WIDTH, (column + 1) / GRID * WIDTH
                top, bottom = row / GRID * HEIGHT, (row + 1) / GRID * HEIGHT
                if row == GRID - 1:
                    bottom = np.inf
                if column == GRID - 1:
                    right = np.inf
                if row == 0:
                    top = -np.inf
                if column == 0:
                    left = -np.inf
                grid[row, column] += x0 < right and x1 > left and y0 < bottom and y1 > top
        outside += x0 < -1 or y0 < -1 or x1 > WIDTH + 1 or y1 > HEIGHT + 1
        tiny += x1 - x0 < 3 or y1 - y0 < 3
    assert found["sizes"]["counts"] == sizes
    assert found["aspects"]["counts"] == aspects
    assert np.array_equal(np.array(found["positions"]["counts"]).reshape(GRID, GRID), grid)
    assert found["findings"]["outside"]["count"] == outside
    assert found["findings"]["tiny"]["count"] == tiny
    assert found["findings"]["twice"]["count"] == 2
    assert found["findings"]["unused_label"]["count"] == 1
    assert found["findings"]["nothing"]["count"] == N_FRAMES - 1 - found["annotated_pictures"]


def slow_overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, tall)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def test_masks_are_held_against_their_boxes(filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]) -> None:
    _, shapes, found, _ = filled
    boxes = slow_boxes(shapes)
    keys = list(zip(shapes.frames.tolist(), shapes.label_ids.tolist(), shapes.groups.tolist(), strict=True))
    first: dict[tuple[int, int, int], int] = {}
    n_boxes = 0
    for row, key in enumerate(keys):
        if shapes.types[row] == ShapeType.RECTANGLE:
            n_boxes += 1
            if key[2]:
                first.setdefault(key, row)
    agreements, alone, used, bad = [0] * len(AGREEMENT_EDGES), 0, set(), 0
    for row, key in enumerate(keys):
        if shapes.types[row] == ShapeType.RECTANGLE:
            continue
        if key in first:
            overlap = slow_overlap(boxes[row], boxes[first[key]])
            agreements[slow_bin(overlap, AGREEMENT_EDGES)] += 1
            bad += overlap < 0.5
            used.add(first[key])
        else:
            alone += 1
    assert sum(agreements) > 50
    assert found["masks"] == {
        "boxes_with_mask": len(used),
        "boxes_alone": n_boxes - len(used),
        "masks_alone": alone,
        "agreement": {"edges": list(AGREEMENT_EDGES), "counts": agreements},
    }
    assert found["findings"]["mask_off_box"]["count"] == bad


def test_boxes_without_area_agree_with_nothing() -> None:
    some = np.array([[0, 0, 10, 10], [0, 0, 0, 0], [0, 0, 10, 10]], dtype=np.float64)
    others = np.array([[0, 0, 10, 10], [0, 0, 0, 0], [20, 20, 30, 30]], dtype=np.float64)
    assert overlaps(some, others).tolist() == [1.0, 0.0, 0.0]


def test_flags_have_three_states(filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]) -> None:
    _, shapes, found, _ = filled
    texts = shapes.attributes.to_list()
    flags = {flag["name"]: flag for flag in found["flags"]}
    assert [flag["name"] for flag in found["flags"]] == ["occluded", "truncated"]
    assert flags["occluded"]["yes"] == int(shapes.occluded.sum())
    assert flags["truncated"] == {
        "name": "truncated",
        "yes": sum('"true"' in text for text in texts),
        "no": sum('"false"' in text for text in texts),
        "unknown": sum(text == "[]" for text in texts),
    }


def test_a_task_without_annotations_counts_to_nothing(storage: Storage) -> None:
    with storage.database.write() as conn:
        task_id = make_task(conn, 3)
        found = task_statistics(conn, task_id)
    assert (found["shapes"], found["tags"], found["annotated_pictures"], found["flags"]) == (0, 0, 0, [])
    assert found["findings"]["nothing"] == {"count": 3, "frames": [0, 1, 2]}
    assert sum(found["positions"]["counts"]) == 0


def test_a_large_task_is_counted_in_part_and_says_so(storage: Storage) -> None:
    n_frames, rng = 20_000, np.random.default_rng(3)
    with storage.database.write() as conn:
        task_id = make_task(conn, n_frames)
        label = label_rows.of_task(conn, task_id).labels[0]
        shapes = random_shapes(rng, 20_000, n_frames, [label.id], label.attributes[0].id)
        annotation_rows.append(conn, task_id, Annotations(shapes=shapes))
        found = task_statistics(conn, task_id, max_rows=5_000)
    assert found["shapes"] == 20_000
    assert 0.2 < found["counted_share"] < 0.35
    assert found["labels"][0]["shapes"] == pytest.approx(20_000 * found["counted_share"], rel=0.1)
    assert found["pictures"] == pytest.approx(n_frames * found["counted_share"], abs=1)


@pytest.mark.parametrize(("n_frames", "n_rows"), [(10, 10**9), (5000, 10), (100_000, 10**7), (3100, 2 * 10**6)])
def test_stretches_are_whole_blocks_in_order(n_frames: int, n_rows: int) -> None:
    stretches = chosen_stretches(n_frames, n_rows, 10**6)
    assert all(0 <= start < stop <= n_frames for start, stop in stretches)
    assert all(a[1] <= b[0] for a, b in pairwise(stretches))
    assert all(start % 64 == 0 for start, _ in stretches)
    share = sum(stop - start for start, stop in stretches) / n_frames
    assert share == 1 if n_rows <= 10**6 or n_frames < 3072 else share < 1


def test_the_subset_is_the_archives_else_the_tasks(storage: Storage) -> None:
    with storage.database.write() as conn:
        task_id = make_task(conn, 4)
    with annotation_rows.begin_set(storage, task_id) as writer:
        names = Ragged.from_bytes([b"a", b"b"])
        images = Images.empty(2).replace(
            frames=np.array([1, 3], dtype=np.int32), names=names, subsets=Texts.from_list(["test", "train"])
        )
        writer.write(Annotations(images=images))
        writer.close()
        with storage.database.write() as conn:
            annotation_rows.publish(conn, writer.set_id)
    with storage.database.read() as conn:
        found = task_statistics(conn, task_id)
    assert found["subsets"] == {"own": 2, "test": 1, "train": 1}


def test_only_the_later_of_two_equal_shapes_is_repeated() -> None:
    shapes = Shapes.empty(4).replace(frames=np.array([0, 0, 0, 1], dtype=np.int32))
    boxes = np.array([[0, 0, 5, 5], [0, 0, 5, 6], [0, 0, 5.001, 5], [0, 0, 5, 5]], dtype=np.float64)
    assert is_repeated(shapes, boxes).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("img", [0, 1, 2]), ("B/c", [1]), (".pngx", []), ("é", [2]), ("a.png", [0]), ("png", [0, 1, 2]), ("gx", [])],
)
def test_frames_are_found_by_part_of_their_name(text: str, expected: list[int]) -> None:
    names = ["img/a.png", "x/b/c_IMG.png", "imgé.png"]
    table = FrameTable.build(names, [1, 1, 1], [1, 1, 1])
    assert frames_named(table, text).tolist() == expected


def test_facts_of_several_tasks(storage: Storage, filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]) -> None:
    with storage.database.read() as conn:
        facts = statistics.task_facts(conn, [filled[0]], n_labels=2)[str(filled[0])]
    assert (facts["shapes"], facts["tags"], facts["n_labels"]) == (2502, 4, 3)
    assert [label["name"] for label in facts["labels"]] == ["cat", "dog"]


def test_lists_of_frames_by_what_was_found(
    storage: Storage, filled: tuple[int, Shapes, dict[str, Any], dict[int, str]]
) -> None:
    task_id, shapes, found, _ = filled
    boxes = np.array(slow_boxes(shapes))
    outside = (boxes[:, :2] < -1).any(axis=1) | (boxes[:, 2] > WIDTH + 1) | (boxes[:, 3] > HEIGHT + 1)
    yes = np.array(['"true"' in text for text in shapes.attributes.to_list()])
    with storage.database.read() as conn:
        named = statistics.frames_with_finding(conn, task_id, "outside")
        assert named.tolist() == sorted(set(shapes.frames[outside].tolist()))
        assert found["findings"]["outside"]["frames"] == named[:24].tolist()
        assert statistics.frames_with_finding(conn, task_id, "no such thing").tolist() == []
        assert (
            statistics.frames_with_flag(conn, task_id, "truncated").tolist() == np.unique(shapes.frames[yes]).tolist()
        )
        no = np.array(['"false"' in text for text in shapes.attributes.to_list()])
        asked = statistics.frames_with_value(conn, task_id, "truncated", "false")
        assert set(asked.tolist()) - {5} == set(shapes.frames[no].tolist())
        assert statistics.frames_with_value(conn, task_id, "score", "0.5").tolist() == [2]
        assert statistics.frames_with_value(conn, task_id, "colour", "red").tolist() == []
        occluded = np.unique(shapes.frames[shapes.occluded]).tolist()
        assert statistics.frames_with_flag(conn, task_id, "occluded").tolist() == occluded
        assert statistics.frames_of_subset(conn, task_id, "own").tolist() == list(range(N_FRAMES))
        assert statistics.frames_of_subset(conn, task_id, "other").tolist() == []
        dog = next(label["id"] for label in found["labels"] if label["name"] == "dog")
        expected = set(shapes.frames[shapes.label_ids == dog].tolist()) | {0, 1, 2, 299}
        assert set(statistics.frames_with_label(conn, task_id, dog).tolist()) - {5} == expected
        shown, tags = statistics.frame_counts(conn, task_id, 0, 3)
    assert shown.tolist() == [int((shapes.frames == frame).sum()) for frame in range(3)]
    assert tags.tolist() == [1, 1, 1]
