"""Image lists are the same wherever their stretches of frames are cut."""

from __future__ import annotations

import numpy as np
import pytest

from tests.formats.builders import exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource

HEADER = "ImageID,Subset,OriginalURL,Title,Rotation\n"


@pytest.mark.parametrize("step", [1, 3, 7])
def test_frames_that_lie_far_from_each_other_are_listed_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    random = np.random.default_rng(step)
    for _ in range(6):
        n = int(random.integers(1, 40))
        where = target({f"{i:03x}.jpg": (9, 8) for i in range(n)}, labels("cat"))
        told = np.flatnonzero(random.random(n) < random.choice([0.05, 0.5, 1])).tolist()
        rows = "".join(f'{i:03x},{"train" if i % 2 else "test"},http://x/{i},"a, {i}",{i}.0\n' for i in told)
        boxes = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n" + "".join(
            f"{i:03x},,cat,1,0.1,0.2,0.3,0.4\n" for i in told if i % 2
        )
        members = {
            "annotations/image_ids_and_rotation.csv": HEADER + rows,
            "annotations/train-annotations-bbox.csv": boxes,
        }
        sink, _ = good(members, where)
        monkeypatch.setattr("app.formats.open_images.write_images.STEP", step)
        parts = read_zip(exported(MemorySource.of_sink(sink, where.frames), where)[0])
        monkeypatch.undo()
        assert parts == read_zip(exported(MemorySource.of_sink(sink, where.frames), where)[0])
        lists = "".join(text.decode() for name, text in parts.items() if name.endswith("-images-with-rotation.csv"))
        listed = [line.split(",")[0] for line in lists.splitlines() if not line.startswith("ImageID")]
        assert sorted(listed) == [f"{i:03x}" for i in range(n)]
