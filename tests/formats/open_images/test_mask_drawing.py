"""A mask of any number of polygons: drawn some at a time, the same pixels."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from app.formats.open_images import mask_drawing
from app.formats.open_images.mask_drawing import DrawJob, draw_masks, stretches
from app.geometry import merge_masks, place_mask, polygons_to_masks
from app.images import decode_mask

SIDE = 1600


def polygons(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles nearly as large as the frame, some partly beside it: their points, and where each begins."""
    points = random.uniform(-100, SIDE + 100, (n, 6))
    return points.reshape(-1), np.arange(n + 1, dtype=np.int64) * 6


def job_of(points: np.ndarray, offsets: np.ndarray, owners: np.ndarray) -> DrawJob:
    n = int(owners[-1]) + 1
    nothing = [b""] * n
    return DrawJob(points, offsets, owners, [SIDE] * n, [SIDE] * n, nothing, [None] * n, False, nothing, nothing)


def test_parts_of_a_mask_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_drawing, "DRAWN_BYTES", 1 << 20)
    points, offsets = polygons(np.random.default_rng(3), 120)
    owners = np.array([0] * 80 + [1] * 3 + [2] * 37, dtype=np.int64)
    job = job_of(points, offsets, owners)
    draw_masks(job)
    tracemalloc.start()
    try:
        found = draw_masks(job)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert found is not None
    parts = polygons_to_masks(points, offsets, SIDE, SIDE)
    for owner, drawn in enumerate(found):
        mine = [parts[place] for place in np.flatnonzero(owners == owner).tolist()]
        whole = place_mask(merge_masks([part for part in mine if part is not None]), SIDE, SIDE)
        assert drawn is not None
        assert drawn.png is not None
        assert np.array_equal(decode_mask(drawn.png).rows, whole.rows)


def test_polygons_that_lie_beside_their_frame_or_have_no_point_take_nothing() -> None:
    points = np.array([-50.0, -50, -20, -50, -20, -10, 5, 5, 900, 5, 5, 900])
    offsets = np.array([0, 6, 6, 12], dtype=np.int64)
    sizes = np.full(3, 100_000, dtype=np.int64)
    assert [part.indices(3) for part in stretches(points, offsets, sizes, sizes)] == [(0, 3, 1)]
