"""Pairs of rows: against plain loops on random keys and boxes."""

from __future__ import annotations

import numpy as np
import pytest

from app.annotations import mix, pair_in_order, pair_nearest, pairing


def slow_pairs(old: list[int], new: list[int]) -> list[int]:
    free = dict(enumerate(old))
    pairs = []
    for key in new:
        found = next((row for row, other in free.items() if other == key), -1)
        free.pop(found, None)
        pairs.append(found)
    return pairs


def overlap(one: list[float], two: list[float]) -> float:
    across = min(one[2], two[2]) - max(one[0], two[0])
    down = min(one[3], two[3]) - max(one[1], two[1])
    common = max(across, 0.0) * max(down, 0.0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)) - common
    if common > 0:
        return common / total
    return -float(np.hypot((one[0] + one[2] - two[0] - two[2]) / 2, (one[1] + one[3] - two[1] - two[3]) / 2)) - 1e-9


def slow_nearest(
    old: np.ndarray, new: np.ndarray, boxes: np.ndarray, others: np.ndarray, least: np.ndarray
) -> list[int]:
    """The best pair of all, then the best of what is left, and so on."""
    found = [
        (-overlap(boxes[i].tolist(), others[j].tolist()), i, j)
        for i in range(len(old))
        for j in range(len(new))
        if old[i] == new[j]
    ]
    pairs = [-1] * len(new)
    for score, i, j in sorted(found):
        if pairs[j] < 0 and i not in pairs and (least[i] < 0 or -score >= least[i]):
            pairs[j] = i
    return pairs


@pytest.mark.parametrize("sizes", [(0, 0), (0, 3), (3, 0), (1, 1), (40, 60), (60, 40)])
@pytest.mark.parametrize("rows_at_once", [10, 1000])
def test_rows_of_one_key_pair_in_their_order(
    sizes: tuple[int, int], rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "SHARE_ROWS", rows_at_once)
    for seed in range(5):
        random = np.random.default_rng(seed)
        old, new = (random.integers(0, 12, size) for size in sizes)
        pairs = pair_in_order(mix(old), mix(new))
        assert pairs.tolist() == slow_pairs(old.tolist(), new.tolist())


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0), (1, 1), (25, 30)])
def test_the_nearest_boxes_of_a_group_pair_first(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "PAIRS_AT_ONCE", 50)
    for seed in range(8):
        random = np.random.default_rng(seed)
        old, new = (random.integers(0, 3, size) for size in sizes)
        one, other = (np.sort(random.random((size, 2, 2)), axis=1).reshape(size, 4) for size in sizes)
        least = random.choice([-1.0, 0.3], sizes[0])
        pairs = pair_nearest(mix(old), mix(new), one, other, least)
        assert pairs.tolist() == slow_nearest(old, new, one, other, least)


def test_too_many_boxes_of_a_group_pair_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "LARGEST_GROUP", 5)
    same = mix(np.zeros(3, dtype=np.int64))
    boxes = np.arange(12, dtype=np.float64).reshape(3, 4)
    assert pair_nearest(same, same[:2], boxes, boxes[1:], np.full(3, -1.0)).tolist() == [0, 1]


def test_minus_zero_is_zero() -> None:
    assert mix(np.array([-0.0])) == mix(np.array([0.0]))
