"""One picture with all that is on it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from app.annotations import Annotations, Tracks
from app.api.stats import picture_json
from app.columns import Ragged
from app.operations.statistics import count_task, frame_counts, frames_with_label
from app.storage import Storage, Task, annotations
from tests.storage.stores import make_task, open_store, shapes, tags

N_TRACKS, PAD_BYTES = 20_000, 2_000


def many_tracks() -> Tracks:
    """Each shows on two frames; that of the first is outside on the sixth."""
    corners = {"type": "rectangle", "points": [1, 2, 3, 4], "occluded": False, "z_order": 0, "rotation": 0}
    ends = {"frame": 6, "outside": True, "attributes": [], **corners}
    random = np.random.default_rng(1)
    bodies = [
        orjson.dumps(
            {
                "shapes": [
                    {
                        "frame": number % 6,
                        "outside": False,
                        "attributes": [],
                        "pad": random.bytes(PAD_BYTES // 2).hex(),
                        **corners,
                    },
                    ends,
                ]
            }
        )
        for number in range(N_TRACKS)
    ]
    return Tracks.empty(N_TRACKS).replace(
        frames=np.arange(N_TRACKS, dtype=np.int32) % 6,
        label_ids=np.full(N_TRACKS, 2, dtype=np.int32),
        bodies=Ragged.from_bytes(bodies),
    )


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes at most that a call took; the second one, for the first loads what stays."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def filled(storage: Storage) -> Task:
    task = make_task(storage, 10)
    new = Annotations(shapes=shapes([7, 8, 8]), tags=tags([8]), tracks=many_tracks())
    with storage.database.write() as conn:
        annotations.append(conn, task.id, new)
    return task


def test_a_picture_holds_few_of_the_tracks_of_a_task(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as storage:
        task = filled(storage)
        with storage.database.snapshot() as conn:
            found = orjson.loads(picture_json(conn, task, 8))["annotations"]
            assert [len(found[kind]) for kind in ("tags", "shapes", "tracks")] == [1, 2, 0]
            assert peak_of(lambda: picture_json(conn, task, 8)) < N_TRACKS * PAD_BYTES / 2
            shown = orjson.loads(picture_json(conn, task, 2))["annotations"]["shapes"]
    assert len(shown) == sum(number % 6 <= 2 for number in range(N_TRACKS))


def test_statistics_hold_few_of_the_tracks_of_a_task(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as storage:
        task = filled(storage)
        with storage.database.snapshot() as conn:
            assert count_task(conn, task.id).tracks_per_label.tolist() == [0, N_TRACKS]
            assert peak_of(lambda: count_task(conn, task.id)) < N_TRACKS * PAD_BYTES / 2


def test_the_list_of_pictures_holds_few_of_the_tracks_of_a_task(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as storage:
        task = filled(storage)
        with storage.database.snapshot() as conn:
            shapes_, tags_ = frame_counts(conn, task.id, 0, 10)
            assert shapes_.tolist()[6:] == [0, 1, 2, 0]
            assert (shapes_[:6].sum(), tags_.tolist()) == (N_TRACKS, [0] * 8 + [1, 0])
            assert frames_with_label(conn, task.id, None).tolist() == [*range(6), 7, 8]
            assert peak_of(lambda: frame_counts(conn, task.id, 0, 10)) < N_TRACKS * PAD_BYTES / 2
            assert peak_of(lambda: frames_with_label(conn, task.id, None)) < N_TRACKS * PAD_BYTES / 2
