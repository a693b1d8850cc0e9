"""Open Images archives in and out through the SDK: annotations compared one by one, masks pixel by pixel."""

from __future__ import annotations

import collections
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clients import meadow
from tests.clients.expected import readable, same_points
from tests.clients.runners import Clients
from tests.samples import (
    BOX_FIELDS,
    LABELS,
    OpenImages,
    mask_of_polygon,
    mask_of_runs,
    read_archive,
    read_table,
    write_pictures,
)

HIGH, WIDE = {0: 48, 1: 60, 2: 50}, {0: 64, 1: 80, 2: 40}


@pytest.fixture(scope="module")
def folder(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one service: it ends with the service's turn."""
    return tmp_path_factory.mktemp("exchange")


@pytest.fixture(scope="module")
def told(clients: Clients, folder: Path) -> Any:
    paths = write_pictures(folder / "in", meadow.SIZES)
    good = meadow.archive().write(folder / "good.zip")
    more = OpenImages(classes=[("dog", "dog")], images=[("b", "default")])
    more.box("b", "dog", ("0.25", "0.5", "0.25", "0.5"))
    bad = meadow.archive()
    bad.box("never/uploaded", "cat", ("0", "1", "0", "1"))
    bad.box("a", "zebra", ("0", "1", "0", "1"))
    bad.box("a", "cat", ("0", "one", "0", "1"))
    (folder / "no.zip").write_bytes(b"this is not a zip")
    (folder / "out").mkdir()
    imports = [
        {"path": str(good), "options": {"conv_mask_to_poly": False}},
        {"path": str(bad.write(folder / "bad.zip"))},
        {"path": str(folder / "no.zip")},
        {"path": str(more.write(folder / "more.zip")), "options": {"import_mode": "append"}},
        {"path": str(more.write(folder / "more.zip")), "options": {"import_mode": "replace"}},
        {"path": str(good)},
        {"path": str(more.write(folder / "more.zip")), "job": 1},
        {"path": str(good), "options": {"conv_mask_to_poly": False}},
    ]
    exports = [
        {"to": str(folder / "with.zip"), "images": True},
        {"to": str(folder / "without.zip"), "images": False},
        {"to": str(folder / "out"), "images": True},
        {"to": str(folder / "job.zip"), "images": True, "job": 0},
    ]
    told = clients.sdk(
        "exchange",
        name="Wiese & Straße",
        labels=LABELS,
        task={"segment_size": 2},
        pictures=[str(path) for path in paths],
        imports=imports,
        exports=exports,
        folder=str(folder / "out"),
    )
    names = ("masks", "bad", "no zip", "append", "replace", "polygons", "job", "masks again")
    told["steps"] = dict(zip(names, told["steps"], strict=True))
    return told


def step(told: Any, name: str) -> dict[str, list[dict[str, Any]]]:
    """What the task held after this import, and that it did not fail."""
    assert told["steps"][name]["failure"] is None
    return readable(told["steps"][name]["annotations"], told["labels"])


def pick(shapes: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return sorted((each for each in shapes if each["type"] == kind), key=lambda each: (each["frame"], each["points"]))


def equal(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """One for one, on what the wanted ones say."""
    wanted = sorted(wanted, key=lambda each: (each["frame"], each["points"]))
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert same_points(one["points"], two["points"]), (one, two)
        for key in two.keys() - {"points", "linked"}:
            assert one[key] == two[key], (key, one, two)


def test_tags_say_what_the_labels_can_say(told: Any) -> None:
    found = step(told, "masks")["tags"]
    assert all(each.pop("group") is None for each in found)
    key = lambda each: (each["frame"], each["label"])  # noqa: E731
    assert sorted(found, key=key) == sorted(meadow.tags(), key=key)


def test_boxes_become_rectangles(told: Any) -> None:
    shapes = step(told, "masks")["shapes"]
    equal(pick(shapes, "rectangle"), meadow.boxes())
    assert all((each["rotation"], each["z_order"], each["outside"]) == (0, 0, False) for each in shapes)


def test_masks_become_masks_of_the_same_pixels(told: Any) -> None:
    shapes = step(told, "masks")["shapes"]
    equal(pick(shapes, "mask"), meadow.masks())
    assert {each["type"] for each in shapes} == {"rectangle", "mask"}


def test_a_mask_is_grouped_with_its_box_and_nothing_else(told: Any) -> None:
    shapes = step(told, "masks")["shapes"]
    groups = collections.defaultdict(list)
    for each in shapes:
        if each["group"]:
            groups[each["frame"], each["group"]].append((each["label"], each["type"]))
    assert sorted(sorted(members) for members in groups.values()) == [
        [("cat", "mask"), ("cat", "rectangle")],
        [("dog", "mask"), ("dog", "rectangle")],
    ]


def test_masks_become_polygons_of_the_same_pixels_by_default(told: Any) -> None:
    result = step(told, "polygons")
    equal(pick(result["shapes"], "rectangle"), meadow.boxes())
    assert {each["type"] for each in result["shapes"]} == {"rectangle", "polygon"}
    for wanted in meadow.masks():
        frame, label = wanted["frame"], wanted["label"]
        polygons = [
            each for each in pick(result["shapes"], "polygon") if (each["frame"], each["label"]) == (frame, label)
        ]
        drawn = np.zeros((HIGH[frame], WIDE[frame]), dtype=np.bool_)
        for each in polygons:
            drawn |= mask_of_polygon(each["points"], WIDE[frame], HIGH[frame])
            assert each["attributes"] == wanted["attributes"]
        assert np.array_equal(drawn, mask_of_runs(wanted["points"], WIDE[frame], HIGH[frame])), wanted
        # Parts of one mask belong together, and to the box the mask was linked to.
        together = {each["group"] for each in polygons}
        assert len(together) == 1
        boxes = [
            each for each in pick(result["shapes"], "rectangle") if each["frame"] == frame and each["label"] == label
        ]
        if wanted["linked"]:
            assert {each["group"] for each in boxes} == together != {None}


def test_a_bad_archive_fails_with_its_place_and_changes_nothing(told: Any) -> None:
    failure = told["steps"]["bad"]["failure"]
    assert "never/uploaded" in failure
    assert "default-annotations-bbox.csv" in failure
    assert "\n  File " not in failure, "a traceback is no message"
    assert told["steps"]["bad"]["annotations"] == told["steps"]["masks"]["annotations"]


def test_what_is_no_zip_is_called_so(told: Any) -> None:
    assert "zip" in told["steps"]["no zip"]["failure"]
    assert told["steps"]["no zip"]["annotations"] == told["steps"]["masks"]["annotations"]


def test_append_adds_and_replace_replaces(told: Any) -> None:
    before, appended = (told["steps"][name]["annotations"] for name in ("no zip", "append"))
    kept = {each["id"] for each in before["shapes"]}
    new = [each for each in appended["shapes"] if each["id"] not in kept]
    assert [each for each in appended["shapes"] if each["id"] in kept] == before["shapes"]
    assert appended["tags"] == before["tags"]
    assert [each["points"] for each in new] == [[20, 15, 40, 30]]
    replaced = step(told, "replace")
    assert replaced["tags"] == []
    assert [each["points"] for each in replaced["shapes"]] == [[20, 15, 40, 30]]


def test_import_into_a_job_of_other_frames_is_refused_and_touches_nothing(told: Any) -> None:
    # Job 1 holds the third frame only; the archive names the second.
    assert "b" in told["steps"]["job"]["failure"]
    assert told["steps"]["job"]["annotations"] == told["steps"]["polygons"]["annotations"]


def rows_of(members: dict[str, bytes], suffix: str) -> list[dict[str, str]]:
    return [row for name, body in members.items() if name.endswith(suffix) for row in read_table(body)]


def key(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in row.items())


@pytest.mark.parametrize("name", ["with.zip", "without.zip"])
def test_an_untouched_archive_comes_back_cell_by_cell(told: Any, folder: Path, name: str) -> None:
    members, wanted = read_archive(folder / name), meadow.archive()
    for suffix, rows in (
        ("-annotations-bbox.csv", wanted.boxes),
        ("-annotations-human-imagelabels.csv", wanted.tags),
        ("-annotations-object-segmentation.csv", wanted.masks),
    ):
        found = rows_of(members, suffix)
        assert sorted(map(key, found)) == sorted(key(row) for _, row in rows)
    for path, png in wanted.pngs.items():
        assert members[f"masks/{path}"] == png
    assert members["annotations/class-descriptions.csv"].decode().splitlines()[2] == f'{meadow.DUCK},"Ente, groß"'


def test_pictures_come_along_when_asked_for(told: Any, folder: Path) -> None:
    with_images, without = read_archive(folder / "with.zip"), read_archive(folder / "without.zip")
    pictures = {name: body for name, body in with_images.items() if name.startswith("images/")}
    assert pictures == {f"images/default/{name}": (folder / "in" / name).read_bytes() for name in meadow.SIZES}
    assert {name for name in with_images if name not in pictures} == set(without)


def test_the_folder_gets_a_named_zip(told: Any, folder: Path) -> None:
    (name,) = told["files"]
    assert name.endswith(".zip")
    assert read_archive(folder / "out" / name) == read_archive(folder / "with.zip")


def test_a_job_exports_its_own_frames(told: Any, folder: Path) -> None:
    members = read_archive(folder / "job.zip")
    assert {name for name in members if name.startswith("images/")} == {"images/default/a.png", "images/default/b.jpg"}
    assert {row["ImageID"] for row in rows_of(members, "-annotations-bbox.csv")} == {"a", "b"}
    assert {row["ImageID"] for row in rows_of(members, "-annotations-object-segmentation.csv")} == {"a", "b"}


def test_polygons_export_as_the_masks_they_came_from(clients: Clients, tmp_path: Path) -> None:
    """zip → polygons → zip: the same pixels, holes and parts included, one PNG for each mask."""
    paths = write_pictures(tmp_path / "in", meadow.SIZES)
    good = meadow.archive().write(tmp_path / "good.zip")
    clients.sdk(
        "exchange",
        name="polygons",
        labels=LABELS,
        pictures=[str(path) for path in paths],
        imports=[{"path": str(good)}],
        exports=[{"to": str(tmp_path / "back.zip"), "images": False}],
    )
    members = read_archive(tmp_path / "back.zip")
    rows = rows_of(members, "-annotations-object-segmentation.csv")
    wanted = {("a", "cat"): meadow.RING, ("b", "dog"): meadow.HALF_GROWN, ("c d", "dog"): meadow.PARTS}
    assert sorted((row["ImageID"], row["LabelName"]) for row in rows) == sorted(wanted)
    for row in rows:
        with Image.open(io.BytesIO(members[f"masks/default/{row['MaskPath']}"])) as png:
            pixels = np.asarray(png).astype(np.bool_)
        mask = wanted[row["ImageID"], row["LabelName"]]
        scale = mask.shape[0] // pixels.shape[0]  # an untouched mask keeps its own size
        assert np.array_equal(pixels.repeat(scale, axis=0).repeat(scale, axis=1), mask), row
    linked = {row["ImageID"]: row["BoxXMin"] for row in rows}
    assert linked == {"a": "0.125", "b": "0.1", "c d": ""}


def test_an_archive_by_the_manual_imports_every_row(clients: Clients, tmp_path: Path) -> None:
    """The documented names, no images.meta, no pictures: what CVAT itself drops with a line in its log."""
    paths = write_pictures(tmp_path / "in", meadow.SIZES)
    manual = meadow.archive().write(
        tmp_path / "manual.zip", image_list="{}-image_ids_and_rotation.csv", line_end="\r\n"
    )
    told = clients.sdk(
        "exchange",
        name="manual",
        labels=LABELS,
        pictures=[str(path) for path in paths],
        imports=[{"path": str(manual), "options": {"conv_mask_to_poly": False}}],
    )
    assert told["steps"][0]["failure"] is None
    found = readable(told["steps"][0]["annotations"], told["labels"])
    equal(pick(found["shapes"], "rectangle"), meadow.boxes())
    equal(pick(found["shapes"], "mask"), meadow.masks())
    assert len(found["tags"]) == len(meadow.tags())


def test_the_adapters_of_the_sdk_work_on_a_task(clients: Clients, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", meadow.SIZES)
    small = OpenImages(classes=[("dog", "dog")], images=[("b", "default")])
    small.box("b", "dog", ("0.25", "0.5", "0.25", "0.5"))
    small.tag("a", "dog")
    told = clients.sdk(
        "adapters", pictures=[str(path) for path in paths], archive=str(small.write(tmp_path / "small.zip"))
    )
    assert [(sample["name"], tuple(sample["size"])) for sample in told["samples"]] == list(meadow.SIZES.items())
    assert [len(sample["shapes"]) for sample in told["samples"]] == [0, 1, 0]
    assert [len(sample["tags"]) for sample in told["samples"]] == [1, 0, 0]
    added = collections.Counter((each["frame"], each["type"]) for each in told["added"])
    assert added == {(frame, kind): 1 for frame in range(3) for kind in ("rectangle", "mask")}
    assert told["before"] == 1
    assert told["now"] == told["fresh"] == 6


def test_box_columns_are_those_published(folder: Path, told: Any) -> None:
    body = read_archive(folder / "without.zip")["annotations/default-annotations-bbox.csv"]
    assert body.decode().splitlines()[0] == ",".join(BOX_FIELDS)
