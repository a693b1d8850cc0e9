"""`annoport convert`: what it writes is what a task would export, and what it refuses leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.desk import Desk
from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.random_archives import make_archive
from tests.formats.open_images.test_consistency import BOXES, HIERARCHY, broken, members, sound
from tests.samples import picture

DRAWN_SPECS: list[dict[str, Any]] = [
    {"name": "mood", "mutable": True, "input_type": "select", "values": ["calm", "wild"]},
    {"name": "note", "mutable": False, "input_type": "text", "values": [""]},
    {"name": "truncated", "mutable": False, "input_type": "text", "values": [""]},
]


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.zip"
    path.write_bytes(zip_of(members(sound())))
    return path


@pytest.mark.parametrize(
    ("seed", "options"),
    [(0, {}), (1, {"layout": "fiftyone"}), (2, {"layout": "official", "label_ids": "name"}), (3, {"rotated": "box"})],
)
def test_a_converted_archive_is_what_a_task_would_export(tmp_path: Path, seed: int, options: dict[str, str]) -> None:
    made = make_archive(seed)
    paths = []
    for name, body in made.files.items():
        (tmp_path / name).write_bytes(body)
        paths.append(tmp_path / name)
    frames = "".join(f"{name} {width} {height}\n" for name, (width, height) in made.frames.items())
    (tmp_path / "frames.txt").write_text(frames, encoding="utf-8")
    (tmp_path / "labels.json").write_text(json.dumps(made.labels), encoding="utf-8")
    arguments: list[Any] = [*paths, tmp_path / "out.zip"]
    arguments += ["--frames", tmp_path / "frames.txt", "--labels", tmp_path / "labels.json"]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    for name, value in made.options.items():
        arguments += ["-o", f"{name}={value}"]
    done = convert(*arguments)
    assert done.exit_code == 0, done.output
    with Desk(tmp_path / "data") as desk:
        task = desk.task(made.frames, made.labels)
        task.bring(made.files, **made.options)
        assert read_zip((tmp_path / "out.zip").read_bytes()) == task.export(**options)


DRAWN = [{"name": name, "attributes": specs} for name, specs in (("cat", DRAWN_SPECS), ("only lines", DRAWN_SPECS))]


@pytest.mark.parametrize("layout", ["default", "official", "fiftyone"])
def test_an_export_that_is_converted_without_frames_and_labels_stays_as_it_is(tmp_path: Path, layout: str) -> None:
    """What a task's labels declare, what only the side file knows, flags nobody told, the order of frames."""
    frames = {"b.jpg": (40, 30), "a.jpg": (50, 40), "c.jpg": (60, 50)}
    with Desk(tmp_path / "data") as desk:
        task = desk.task(frames, DRAWN)
        cat, lines = task.labels()["cat"], task.labels()["only lines"]
        ids = {spec["name"]: spec["id"] for spec in cat["attributes"]}
        said = [{"spec_id": ids["note"], "value": "x, y"}]
        truncated = {"spec_id": ids["truncated"], "value": "true"}
        look = {"type": "rectangle", "points": [1, 1, 9, 9], "outside": False, "occluded": False, "z_order": 0}
        keys = [
            {**look, "frame": frame, "attributes": [{"spec_id": ids["mood"], "value": mood}]}
            for frame, mood in ((0, "calm"), (1, "wild"))
        ]
        shape = {"frame": 2, "label_id": cat["id"], "attributes": said}
        task.put(
            shapes=[
                {**shape, "type": "rectangle", "points": [2, 2, 8, 8]},
                {**shape, "type": "polygon", "points": [2, 2, 8, 8, 3, 9], "attributes": [truncated]},
                {**shape, "type": "polyline", "points": [2, 2, 8, 8], "label_id": lines["id"], "attributes": []},
            ],
            tracks=[{"frame": 0, "label_id": cat["id"], "attributes": said, "shapes": keys}],
        )
        made = task.export_zip(layout=layout)
    assert b"-1" in next(body for name, body in read_zip(made).items() if "bbox" in name or "detections" in name)
    (tmp_path / "in.zip").write_bytes(made)
    done = convert(tmp_path / "in.zip", tmp_path / "out.zip", "--layout", layout)
    assert done.exit_code == 0, done.output
    assert read_zip((tmp_path / "out.zip").read_bytes()) == read_zip(made)
    assert (tmp_path / "out.zip").read_bytes() == made


def test_names_of_classes_keep_their_order(tmp_path: Path, source: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    members = read_zip(source.read_bytes())
    classes = next(name for name in members if name.endswith("class-descriptions.csv"))
    for order in (1, -1):
        lines = members[classes].splitlines(keepends=True)
        source.write_bytes(zip_of({**members, classes: b"".join(lines[::order])}))
        asked = ("--label-ids", "name", "--force")
        assert convert(source, first, "--size", "100x80", *asked).exit_code == 0
        assert convert(first, second, *asked).exit_code == 0
        named = [line.split(b",")[1].strip() for line in lines[::order]]
        told = [line.split(b",")[0] for line in read_zip(first.read_bytes())[classes].splitlines()]
        assert told == [name for name in named if name in told]
        assert second.read_bytes() == first.read_bytes()


def test_a_part_in_another_layout_with_pictures(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture(100, 80))
    (folder / "b.png").write_bytes(picture(100, 80, 1))
    arguments = (source, tmp_path / "out.zip", "--frames", folder, "--save-images", "--layout", "fiftyone")
    done = convert(*arguments, "--classes", "Cat", "--only-matching")
    assert done.exit_code == 0, done.output
    found = read_zip((tmp_path / "out.zip").read_bytes())
    assert found["data/a.png"] == (folder / "a.png").read_bytes()
    assert b"/m/cat" in found["labels/detections.csv"]
    assert b"/m/dog" not in found["labels/detections.csv"]
    assert convert(*arguments).exit_code == 2  # it is there
    assert convert(*arguments, "--force").exit_code == 0


def test_sizes_come_from_the_archives_own_pictures(tmp_path: Path) -> None:
    told = members(sound())
    path = tmp_path / "in.zip"
    path.write_bytes(zip_of(told | {"images/train/a.png": picture(100, 80)}))
    refused = convert(path, tmp_path / "out.zip")
    assert (refused.exit_code, 'such as "b"' in refused.output) == (2, True)
    assert convert(path, tmp_path / "out.zip", "--size", "100x80", "--expand", "hierarchy").exit_code == 0
    found = read_zip((tmp_path / "out.zip").read_bytes())
    assert found["annotations/images.meta"] == b"a 80 100\nb 80 100\n"
    assert found[BOXES].count(b"/m/animal") == 2
    assert json.loads(found[HIERARCHY])["LabelName"] == "/m/0bl9f"


def test_the_archives_own_pictures_keep_their_extension(tmp_path: Path) -> None:
    told = members(sound())
    pictures = {"images/train/a.JPG": picture(100, 80), "images/train/b.v2.png": picture(100, 80, 1)}
    path = tmp_path / "in.zip"
    path.write_bytes(zip_of(told | pictures))
    assert convert(path, tmp_path / "out.zip", "--size", "100x80", "--save-images").exit_code == 2  # b has none
    archive = {name: body.replace(b"\nb,", b"\nb.v2,") for name, body in read_zip(path.read_bytes()).items()}
    path.write_bytes(zip_of(archive | pictures))
    assert convert(path, tmp_path / "out.zip", "--save-images").exit_code == 0
    found = read_zip((tmp_path / "out.zip").read_bytes())
    assert {name: body for name, body in found.items() if name.startswith("images/")} == pictures
    assert found["annotations/images.meta"] == b"a 80 100\nb.v2 80 100\n"


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    path.write_bytes(zip_of(members(sound()) | {"images/train/a.png": b"junk"}))
    done = convert(path, tmp_path / "out.zip", "--size", "100x80")
    assert (done.exit_code, "images/train/a.png: not a JPEG" in done.output) == (2, True)


@pytest.mark.parametrize("option", ["keep", "tags"])
def test_images_of_every_table_that_is_read_are_written(tmp_path: Path, option: str) -> None:
    relation = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel\n"
    tags = "ImageID,Source,LabelName,Confidence\n"
    path = tmp_path / "in.zip"
    path.write_bytes(
        zip_of(
            {
                "class-descriptions.csv": "/m/cat,Cat\n/m/dog,Dog\n",
                "train-annotations-vrd.csv": relation + "a,/m/cat,/m/hat,0.1,0.2,0.1,0.2,0.3,0.4,0.3,0.4,at\n",
                "train-annotations-machine-imagelabels.csv": tags + "b,machine,/m/dog,0.6\n",
            }
        )
    )
    done = convert(path, tmp_path / "out.zip", "--size", "100x80", "--machine-labels", option)
    assert done.exit_code == 0, done.output
    sizes = read_zip((tmp_path / "out.zip").read_bytes())["annotations/images.meta"]
    assert sorted(sizes.split(b"\n")) == [b"", b"a 80 100", *([b"b 80 100"] if option == "tags" else [])]


def test_what_cannot_be_written_is_told(tmp_path: Path, source: Path) -> None:
    done = convert(source, tmp_path / "new" / "out.zip", "--size", "100x80")
    assert (done.exit_code, "there is no folder" in done.output) == (2, True)
    part = tmp_path / "out.zip.part"
    part.mkdir()
    done = convert(source, tmp_path / "out.zip", "--size", "100x80")
    assert (done.exit_code, f"{part}: Is a directory" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(("--size", "big"), 2), (("--layout", "coco"), 2), (("--label-ids", "number"), 2), (("-o", "clases=Cat"), 2)],
)
def test_what_cannot_be_tried_is_2(tmp_path: Path, source: Path, wrong: tuple[str, ...], code: int) -> None:
    assert convert(source, tmp_path / "out.zip", *wrong).exit_code == code


def test_a_refused_archive_writes_nothing(tmp_path: Path) -> None:
    told = broken("duplicate_box")
    told["boxes"].append("a,x,/m/cat,abc,0.1,0.5,0.1,0.5,7,0,0,0,0")
    path = tmp_path / "in.zip"
    path.write_bytes(zip_of(members(told)))
    done = convert(path, tmp_path / "out.zip", "--size", "100x80")
    assert (done.exit_code, "value.not_number" in done.output) == (1, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.zip"]
