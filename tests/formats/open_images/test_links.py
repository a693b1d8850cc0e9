"""Masks and their boxes: the stream against the plain rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.formats.open_images import links as module
from app.formats.open_images.links import TOLERANCE, MaskLinks

Item = tuple[int, int, tuple[float, float, float, float]]

COORDINATES = st.sampled_from([0.25, 0.25 + 1e-6, 0.25 + 2e-6, 0.25 - 1e-6, 0.5, -1.0, 2.0])
ITEMS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.tuples(COORDINATES, COORDINATES, st.just(0.1), st.just(0.9))),
    max_size=14,
)


def plain_links(masks: list[Item], boxes: list[Item]) -> tuple[list[int], list[int]]:
    """3.10 as it is worded: (which mask first took each box, which box each mask is linked to), -1 for none."""
    taken = [-1] * len(boxes)
    linked = []
    for number, (frame, label, corners) in enumerate(masks):
        candidates = [
            at
            for at, box in enumerate(boxes)
            if box[:2] == (frame, label) and all(abs(a - b) <= TOLERANCE for a, b in zip(corners, box[2], strict=True))
        ]
        free = [at for at in candidates if taken[at] < 0]
        if free:
            taken[free[0]] = number
        linked.append((free or candidates or [-1])[0])
    return taken, linked


def columns(items: list[Item]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frames = np.array([item[0] for item in items], dtype=np.int32)
    codes = np.array([item[1] for item in items], dtype=np.int32)
    return frames, codes, np.array([item[2] for item in items], dtype=np.float64).reshape(-1, 4)


def streamed(masks: list[Item], boxes: list[Item], block: int) -> tuple[list[int], list[int], list[int]]:
    frames, codes, corners = columns(masks)
    links = MaskLinks(frames, codes, corners, np.ones(len(masks), dtype=np.bool_), 1)
    groups: list[int] = []
    for start in range(0, len(boxes), block):
        groups += links.take_boxes(*columns(boxes[start : start + block])).tolist()
    return groups, links.mask_groups().tolist(), links.numbers.tolist()


@settings(max_examples=400, deadline=None)
@given(ITEMS, ITEMS, st.integers(1, 5))
def test_the_stream_links_as_the_plain_rule_does(masks: list[Item], boxes: list[Item], block: int) -> None:
    taken, linked = plain_links(masks, boxes)
    box_groups, mask_groups, numbers = streamed(masks, boxes, block)
    assert box_groups == [numbers[mask] if mask >= 0 else 0 for mask in taken]
    assert mask_groups == [box_groups[box] if box >= 0 else 0 for box in linked]


def test_many_pairs_are_taken_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Item] = [(0, 0, (0.25 + n * 1e-8, 0.5, 0.1, 0.9)) for n in range(20)]
    boxes: list[Item] = [(0, 0, (0.25 + n * 1e-8, 0.5, 0.1, 0.9)) for n in range(30)]
    expected = streamed(masks, boxes, 30)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    assert streamed(masks, boxes, 30) == expected
    assert sum(group > 0 for group in expected[0]) == 20


def test_a_quarter_and_a_quarter_and_a_millionth_link() -> None:
    groups, mask_groups, _ = streamed([(3, 1, (0.25, 0.5, 0.1, 0.9))], [(3, 1, (0.250001, 0.5, 0.1, 0.9))], 1)
    assert groups == mask_groups == [1]
    groups, mask_groups, _ = streamed([(3, 1, (0.25, 0.5, 0.1, 0.9))], [(3, 1, (0.250002, 0.5, 0.1, 0.9))], 1)
    assert groups == mask_groups == [0]


def test_groups_are_unique_within_an_image_and_start_where_told() -> None:
    items: list[Item] = [(0, 0, (0.1, 0.2, 0, 1)), (1, 0, (0.1, 0.2, 0, 1)), (0, 0, (0.3, 0.4, 0, 1))]
    frames, codes, corners = columns(items)
    links = MaskLinks(frames, codes, corners, np.array([True, True, False]), 50)
    assert links.take_boxes(frames, codes, corners).tolist() == [50, 50, 0]
    assert links.mask_groups().tolist() == [50, 50, 0]
    assert links.numbers.tolist() == [50, 50, 51]


def test_no_masks_and_no_boxes() -> None:
    none = columns([])
    links = MaskLinks(*none, np.zeros(0, dtype=np.bool_), 1)
    assert links.take_boxes(*columns([(0, 0, (0, 1, 0, 1))])).tolist() == [0]
    assert links.take_boxes(*none).tolist() == []
    assert links.mask_groups().tolist() == []
