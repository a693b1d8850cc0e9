"""datumaro reads random exports: archives of all versions through a stored task, edited or not, out as options say.
Each row that was written is an annotation there, with its label, place, flags and pixels, and there is no other.

A few seeds run always, hundreds with `pytest -m long tests/judges/test_random_exports.py`.
"""

from __future__ import annotations

import csv
import io
import random
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.desk import Desk, TaskDesk
from tests.environments import run_script
from tests.formats.builders import read_zip
from tests.formats.open_images.random_archives import make_archive

READ = Path(__file__).parent / "scripts" / "read.py"
SOME, MANY, STEP = 10, 300, 60
FLAGS = {
    "IsTruncated": "truncated",
    "IsGroupOf": "is_group_of",
    "IsDepiction": "is_depiction",
    "IsInside": "is_inside",
}
Row = dict[str, str]
Key = tuple[Any, ...]
Found = tuple[Counter[Key], Mapping[Key, list[list[float]]]]


def rows_of(members: Mapping[str, bytes], kind: str) -> list[tuple[str, Row]]:
    """(subset, row) of every row of a kind of table."""
    found = []
    for name, data in members.items():
        if name.endswith(f"-annotations-{kind}.csv"):
            subset = name.removeprefix("annotations/").removesuffix(f"-annotations-{kind}.csv")
            found += [(subset, row) for row in read(data)]
    return found


def read(data: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def edit(task: TaskDesk, rng: random.Random) -> None:
    """What somebody does to a task: some is moved, some goes, some is drawn."""
    found = task.annotations()
    labels = list(task.labels().values())
    shapes = [shape for shape in found["shapes"] if rng.random() < 0.7]
    for shape in shapes:
        if shape["type"] == "rectangle" and rng.random() < 0.5:
            shape["points"] = [number * 0.75 + 0.5 for number in shape["points"]]
            shape["rotation"] = rng.choice([0, 0, 30])
    for kind, points in (("polygon", [1, 1, 6, 1, 6, 4]), ("ellipse", [4, 3, 7, 1]), ("rectangle", [0, 1.5, 5, 4])):
        for _ in range(rng.randint(0, 2)):
            label = rng.choice(labels)["id"]
            shapes.append({"type": kind, "frame": 0, "label_id": label, "points": points, "group": rng.choice([0, 7])})
    task.put(shapes=shapes, tags=[tag for tag in found["tags"] if rng.random() < 0.8], tracks=found["tracks"])


def written(desk: Desk, seed: int) -> bytes:
    """One export."""
    rng = random.Random(seed)
    made = make_archive(seed)
    task = desk.task(made.frames, made.labels)
    task.bring(made.files, **{"conv_mask_to_poly": rng.choice(("true", "false")), **made.options})
    if seed % 2:
        edit(task, rng)
    options = {
        "label_ids": rng.choice(("mid", "mid", "name")),
        "rotated": rng.choice(("mask", "box", "both")),
        "expand": rng.choice(("none", "none", "hierarchy")),
        "side_file": rng.choice(("true", "false")),
    }
    return task.export_zip(**options)


def expected(members: Mapping[str, bytes]) -> Found:
    """What there is to see: a number of each annotation, and the places of boxes in pixels."""
    sizes, counts, places = sizes_of(members), Counter[Key](), defaultdict[Key, list[list[float]]](list)
    listed = {
        row["ImageID"] for name in members if name.endswith("-images-with-rotation.csv") for row in read(members[name])
    }

    def told(subset: str, image: str) -> str:
        """The subset of an image: by its list; of an id in another spelling by the file, up to a hyphen."""
        return subset if image in listed else subset.partition("-")[0]

    for subset, row in rows_of(members, "bbox"):
        key: Key = (
            "bbox",
            told(subset, row["ImageID"]),
            row["ImageID"],
            row["LabelName"],
            *(row[column] for column in FLAGS),
        )
        height, width = sizes[row["ImageID"]]
        scaled = zip(("XMin", "YMin", "XMax", "YMax"), (width, height, width, height), strict=True)
        places[key].append([float(row[name]) * by for name, by in scaled])
        counts[key] += 1
    for subset, row in rows_of(members, "human-imagelabels"):
        subset, score = told(subset, row["ImageID"]), round(float(row["Confidence"]), 4)
        counts["label", subset, row["ImageID"], row["LabelName"], score] += 1
    for subset, row in rows_of(members, "object-segmentation"):
        with Image.open(io.BytesIO(members[f"masks/{subset}/{row['MaskPath']}"])) as png:
            pixels = np.asarray(png).astype(bool)
        height, width = sizes[row["ImageID"]]
        # The judge stretches by the nearest pixel in floating point, which now and then is the one before ours.
        down, across = (
            np.floor(np.arange(n) * (1 / (n / old))).astype(int).clip(max=old - 1)
            for n, old in zip((height, width), pixels.shape, strict=True)
        )
        n_pixels = int(pixels[down][:, across].sum())
        subset = told(subset, row["ImageID"])
        counts["mask", subset, row["ImageID"], row["LabelName"], row["BoxID"], n_pixels] += 1
    return counts, places


def seen(told: Mapping[str, Any]) -> Found:
    counts, places = Counter[Key](), defaultdict[Key, list[list[float]]](list)
    for item in told["items"]:
        for each in item["annotations"]:
            key: Key = (each["kind"], item["subset"], item["id"], each["label"])
            if each["kind"] == "bbox":
                flags = {True: "1", False: "0", None: "-1"}
                key += tuple(flags[each["attributes"].get(name)] for name in FLAGS.values())
                places[key].append(each["points"])
            elif each["kind"] == "label":
                key += (round(float(each["attributes"]["score"]), 4),)
            else:
                key += (each["attributes"]["box_id"], int(each["bits"] or "0", 16).bit_count())
            counts[key] += 1
    return counts, places


def sizes_of(members: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
    lines = map(shlex.split, members["annotations/images.meta"].decode().splitlines())
    return {name: (int(height), int(width)) for name, height, width in lines}


def judge(folder: Path, seeds: Sequence[int]) -> None:
    archives = {}
    with Desk(folder / "desk") as desk:
        for seed in seeds:
            archives[str(seed)] = str(path := folder / f"{seed}.zip")
            path.write_bytes(written(desk, seed))
    told = run_script("judge", READ, {"archives": archives}, timeout=600)
    for seed, path in archives.items():
        members = read_zip(Path(path).read_bytes())
        (wanted, here), (found, there) = expected(members), seen(told[seed])
        assert found == wanted, f"seed {seed}: lacks {wanted - found}, has {found - wanted}"
        for key, boxes in here.items():  # which the judge rounds to a hundredth of a pixel
            assert np.allclose(sorted(boxes), sorted(there[key]), rtol=0, atol=0.02), f"seed {seed}: {key}"
        classes = csv.reader(io.StringIO(members["annotations/class-descriptions.csv"].decode(), newline=""))
        assert told[seed]["labels"] == [row[0] for row in classes], f"seed {seed}"


def test_the_judge_reads_random_exports(tmp_path: Path) -> None:
    judge(tmp_path, range(SOME))


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_the_judge_reads_many_random_exports(tmp_path: Path, start: int) -> None:
    judge(tmp_path, range(start, start + STEP))
