"""We read what datumaro writes: CRLF, full-length decimals, 8-bit masks of 0 and 1."""

from __future__ import annotations

import collections
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.caller import Caller
from tests.clients.expected import readable, same_points
from tests.environments import run_script
from tests.samples import LABELS, Mask, disk_with_hole, mask_of_runs, picture, read_archive, runs_of
from tests.service import Service

SCRIPTS = Path(__file__).parent / "scripts"
WIDTH, HEIGHT = 61, 47  # coordinates that are no short fractions of the size
RING = disk_with_hole(WIDTH, HEIGHT, 20, 7)
SPOT = disk_with_hole(WIDTH, HEIGHT, 5, 2)


def mask(label: str, pixels: Mask, **more: Any) -> dict[str, Any]:
    body = {"size": list(pixels.shape), "bits": np.packbits(pixels).tobytes().hex()}
    return {"kind": "mask", "label": label, **body, **more}


def box(label: str, points: tuple[float, ...], **more: Any) -> dict[str, Any]:
    return {"kind": "bbox", "label": label, "points": list(points), **more}


FLAGS = {"occluded": True, "truncated": False, "is_group_of": True}
ITEMS: list[dict[str, Any]] = [
    {"id": "a", "subset": "train", "annotations": [
        box("cat", (1.5, 2.25, 33.33, 40), group=1, attributes={"score": 0.5, **FLAGS}),
        mask("cat", RING, group=1, attributes={"box_id": "0a0b0c0d", "predicted_iou": 0.75}),
        box("dog", (0, 0, WIDTH, HEIGHT), group=2),
        {"kind": "label", "label": "cat", "attributes": {"score": 0.25}},
        {"kind": "label", "label": "dog"},
    ]},
    {"id": "day/Zähler 1", "subset": "train", "annotations": [
        mask("dog", SPOT), mask("dog", RING), {"kind": "label", "label": "Ente, groß", "attributes": {"score": 0.5}},
    ]},
    {"id": "b", "subset": "validation", "annotations": [box("cat", (3.1, 4.7, 5.9, 8.3))]},
    {"id": "nothing", "subset": "validation", "annotations": []},
]  # fmt: skip
FRAMES = ("a.png", "b.png", "day/Zähler 1.png", "nothing.png")


@pytest.fixture(scope="module")
def written(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What datumaro wrote with and without pictures, what we read of it, and what datumaro reads of our export."""
    folder = tmp_path_factory.mktemp("writing")
    labels = [label["name"] for label in LABELS]
    told = {"labels": labels, "items": [{**item, "size": [HEIGHT, WIDTH]} for item in ITEMS]}
    archives = {"plain": told, "pictures": {**told, "pictures": True}}
    run_script("judge", SCRIPTS / "write.py", {"folder": str(folder), "archives": archives})
    result: dict[str, Any] = {"folder": folder, "labels": labels}
    exports = {}
    with Caller(local_service) as caller:
        for name in archives:
            number = caller.task(name, LABELS, {path: picture(WIDTH, HEIGHT) for path in FRAMES})
            result[f"{name} report"] = caller.bring(number, folder / f"{name}.zip")
            result[name] = readable(caller.annotations(number), caller.labels(number))
            exports[name] = str(caller.export(number, folder / f"{name}-again.zip"))
    result["read"] = run_script(
        "judge",
        SCRIPTS / "read.py",
        {"archives": exports | {f"{name} first": str(folder / f"{name}.zip") for name in archives}},
    )
    return result


def test_the_judge_writes_as_it_is_known_to(written: Any) -> None:
    """The premise of this file: other line ends, other masks than ours."""
    members = read_archive(written["folder"] / "plain.zip")
    assert members["annotations/train-annotations-bbox.csv"].count(b"\r\n") == 3
    pngs = [body for name, body in members.items() if name.endswith(".png")]
    assert len(pngs) == 3
    for body in pngs:
        with Image.open(io.BytesIO(body)) as image:
            assert (image.mode, image.getextrema()) == ("L", (0, 1))


@pytest.mark.parametrize("name", ["plain", "pictures"])
def test_every_annotation_arrives(written: Any, name: str) -> None:
    shapes, tags = written[name]["shapes"], written[name]["tags"]
    boxes = [(each["frame"], each["label"]) for each in shapes if each["type"] == "rectangle"]
    assert sorted(boxes) == [(0, "cat"), (0, "dog"), (1, "cat")]
    wanted = {(0, "cat"): (1.5, 2.25, 33.33, 40), (0, "dog"): (0, 0, WIDTH, HEIGHT), (1, "cat"): (3.1, 4.7, 5.9, 8.3)}
    for each in shapes:
        if each["type"] == "rectangle":
            # The judge's own coordinates are 32-bit floats.
            found = [round(number, 4) for number in each["points"]]
            assert same_points(found, wanted[each["frame"], each["label"]])
    flagged = next(each for each in shapes if (each["frame"], each["label"], each["type"]) == (0, "cat", "rectangle"))
    assert flagged["occluded"] is True
    kept = flagged["attributes"]
    assert (kept["truncated"], kept["is_group_of"], kept["is_depiction"], kept["score"]) == (
        "false",
        "true",
        "false",
        "0.5",
    )
    said = sorted((each["frame"], each["label"], each["attributes"].get("score")) for each in tags)
    assert said == [(0, "cat", "0.25"), (0, "dog", None), (2, "Ente, groß", "0.5")]


@pytest.mark.parametrize("name", ["plain", "pictures"])
def test_masks_of_zeros_and_ones_have_the_same_pixels(written: Any, name: str) -> None:
    masks = [each for each in written[name]["shapes"] if each["type"] == "mask"]
    found = sorted((each["frame"], each["label"], each["points"]) for each in masks)
    assert found == sorted([(0, "cat", runs_of(RING)), (2, "dog", runs_of(SPOT)), (2, "dog", runs_of(RING))])
    linked = next(each for each in masks if each["frame"] == 0)
    assert linked["attributes"]["box_id"] == "0a0b0c0d"
    assert np.array_equal(mask_of_runs(linked["points"], WIDTH, HEIGHT), RING)
    partners = [
        each["type"] for each in written[name]["shapes"] if each["frame"] == 0 and each["group"] == linked["group"]
    ]
    assert sorted(partners) == ["mask", "rectangle"]
    assert all(each["group"] is None for each in masks if each["frame"] == 2)


def test_nothing_is_dropped_and_nothing_is_an_error(written: Any) -> None:
    for name in ("plain", "pictures"):
        report = written[f"{name} report"]
        assert report["n_errors"] == 0
        assert sum(table["dropped"] for table in report["tables"].values()) == 0


@pytest.mark.parametrize("name", ["plain", "pictures"])
def test_the_judge_reads_no_less_after_us_than_before(written: Any, name: str) -> None:
    """It reads more: of its own archive it drops the masks of images that have no box, for want of a size."""
    before, after = written["read"][f"{name} first"], written["read"][name]
    assert after["labels"] == before["labels"]

    def by_image(told: Any) -> dict[tuple[str, str], collections.Counter[str]]:
        return {
            (item["subset"], item["id"]): collections.Counter(repr(sorted(one.items())) for one in item["annotations"])
            for item in told["items"]
        }

    read_before, read_after = by_image(before), by_image(after)
    assert read_after.keys() == read_before.keys()
    for image, told in read_before.items():
        assert told <= read_after[image]
    masks = [one for item in after["items"] for one in item["annotations"] if one["kind"] == "mask"]
    assert len(masks) == 3
