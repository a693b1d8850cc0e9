"""The official zips of masks, one a letter, in the upload or beside it; and tables that come without any zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOX_HEADER, LIST_HEADER, MASK_HEADER, pixels, rectangle_png

FRAMES = {"0a.jpg": (8, 6), "0b.jpg": (8, 6), "f3.jpg": (10, 10)}
LABELS = [{"name": "Cat"}, {"name": "Dog"}]
CLASSES = "class-descriptions-boxable.csv", b"/m/c,Cat\n/m/d,Dog\n"
TABLE = "train-annotations-object-segmentation.csv"
ROWS = (
    "0a_m0c_00000001.png,0a,/m/c,00000001,0.1,0.5,0.1,0.5,0.9,0.1 0.2 1\nf3_m0d_00000002.png,f3,/m/d,00000002,,,,,,\n"
)
PNGS = {
    "0a_m0c_00000001.png": pixels("##......", *["........"] * 5),
    "f3_m0d_00000002.png": rectangle_png(40, 40, 0, 0, 10, 20),
    "0b_nobody.png": rectangle_png(4, 3, 0, 0, 1, 1),
}
TABLES: dict[str, str | bytes] = {
    CLASSES[0]: CLASSES[1],
    "train-images-with-rotation.csv": LIST_HEADER + "".join(f"{name[:2]},train,,,,,,,,,,\n" for name in FRAMES),
    "train-annotations-bbox.csv": BOX_HEADER + "0a,xclick,/m/c,1,0.1,0.5,0.1,0.5,0,0,0,0,-1\n",
    TABLE: MASK_HEADER + ROWS,
}


def mask_zips() -> dict[str, bytes]:
    """`train-masks-0.zip` and `train-masks-f.zip`, packed as published: stored PNGs, flat."""
    zips = {}
    for letter in "0f":
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for name, data in PNGS.items():
                if name.startswith(letter):
                    archive.writestr(name, data)
        zips[f"train-masks-{letter}.zip"] = body.getvalue()
    return zips


@pytest.fixture
def task(tmp_path: Path) -> Iterator[TaskDesk]:
    with Desk(tmp_path) as desk:
        yield desk.task(FRAMES, LABELS)


def check_export(task: TaskDesk) -> None:
    """Every row and PNG is back, in our layout and in the official one."""
    members = task.export()
    lines = members["annotations/" + TABLE].decode().splitlines()
    assert sorted(lines[1:]) == sorted(ROWS.splitlines())
    masks = {name: data for name, data in members.items() if name.endswith(".png")}
    assert masks == {
        "masks/train/0a_m0c_00000001.png": PNGS["0a_m0c_00000001.png"],
        "masks/train/f3_m0d_00000002.png": PNGS["f3_m0d_00000002.png"],
        "train-masks-0/0b_nobody.png": PNGS["0b_nobody.png"],
    }
    official = {name: data for name, data in task.export(layout="official").items() if name.endswith(".png")}
    assert official == {f"train-masks-{name[0]}/{name}": data for name, data in PNGS.items()}


def members_of(kind: str) -> dict[str, bytes]:
    """The same data set, sent in different ways."""
    zips = mask_zips()
    if kind == "inside":
        return {"upload.zip": zip_of({**TABLES, **zips})}
    if kind == "inside, stored, in folders":
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for name, data in {**TABLES, **zips}.items():
                archive.writestr(f"oid/{'masks/' if name in zips else ''}{name}", data)
        return {"upload.zip": body.getvalue()}
    if kind == "beside":
        return {"upload.zip": zip_of(TABLES), **zips}
    assert kind == "no zip of tables"
    return {name: data.encode() if isinstance(data, str) else data for name, data in TABLES.items()} | zips


@pytest.mark.parametrize("kind", ["inside", "inside, stored, in folders", "beside", "no zip of tables"])
def test_masks_come_back_byte_by_byte(task: TaskDesk, kind: str) -> None:
    report = task.bring(members_of(kind))
    assert report["counts"] == {"mask.resized": 1, "mask.unreferenced": 1}, report
    assert report["annotations"]["shapes"] == 3
    if "folders" not in kind:
        check_export(task)


def test_problems_name_the_zip_within(task: TaskDesk) -> None:
    zips = mask_zips()
    bad = zip_of({"0a_m0c_00000001.png": b"not a picture", "0b_nobody.png": b"x"})
    (problem,) = task.refuse({"upload.zip": zip_of(TABLES), **zips, "train-masks-0.zip": bad})
    assert (problem["code"], problem["row"], problem["column"]) == ("mask.bad_png", 2, "MaskPath")
    assert problem["value"] == "train-masks-0.zip/0a_m0c_00000001.png"
    (problem,) = task.refuse(
        {"upload.zip": zip_of(TABLES), **zips, "train-masks-f.zip": zips["train-masks-f.zip"][:-9]}
    )
    assert (problem["code"], problem["file"]) == ("zip.invalid", "train-masks-f.zip")
    (problem,) = task.refuse({"upload.zip": zip_of(TABLES), "train-masks-0.zip": zips["train-masks-0.zip"]})
    assert (problem["code"], problem["file"], problem["row"]) == ("mask.missing_file", TABLE, 3)


def test_a_slice_keeps_no_mask_of_images_that_are_passed_over(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        task = desk.task({"0a.jpg": (8, 6)}, LABELS)
        report = task.bring(members_of("beside"), unmatched="skip")
        assert report["counts"]["mask.unreferenced"] == 1
        masks = {name for name in task.export() if name.endswith(".png")}
    assert masks == {"masks/train/0a_m0c_00000001.png", "train-masks-0/0b_nobody.png"}


def test_a_zip_in_a_zip_of_masks_is_a_file_like_any_other(task: TaskDesk) -> None:
    zips = mask_zips()
    within = zip_of({**PNGS, "train-masks-f.zip": zips["train-masks-f.zip"], "readme.txt": "hello"})
    task.bring({"upload.zip": zip_of({**TABLES, "notes.zip": zips["train-masks-0.zip"]}), "train-masks-0.zip": within})
    members = task.export()
    assert members["notes.zip"] == zips["train-masks-0.zip"]
    assert members["train-masks-0/train-masks-f.zip"] == zips["train-masks-f.zip"]
    assert members["train-masks-0/readme.txt"] == b"hello"


@pytest.mark.parametrize("way", ["form", "bare"])
def test_a_table_that_was_just_downloaded(task: TaskDesk, way: str) -> None:
    data = (BOX_HEADER + "0a,xclick,Cat,1,0.1,0.5,0.1,0.5,0,0,0,0,-1\n").encode()
    name = "validation-annotations-bbox.csv"
    if way == "form":
        report = task.bring({name: data})
        assert report["files"] == {name: "boxes"}
        assert task.export()[f"annotations/{name}"] == data
        return
    told = task.desk.call("POST", f"{task.path}/import", 202, params={"wait": "0", "filename": name}, content=data)
    task.desk.work()
    done = task.desk.call("GET", f"/api/requests/{told['rq_id']}")
    assert done["status"] == "finished", done
    assert task.export()[f"annotations/{name}"] == data


def test_a_bare_table_without_a_name_is_told_how_to_come(task: TaskDesk) -> None:
    told = task.desk.call("POST", f"{task.path}/import", 202, params={"wait": "0"}, content=BOX_HEADER.encode())
    task.desk.work()
    done = task.desk.call("GET", f"/api/requests/{told['rq_id']}")
    assert done["status"] == "failed"
    assert "under its own name, such as train-annotations-bbox.csv" in done["message"]


def test_a_file_may_come_once_only(task: TaskDesk) -> None:
    form = [("file", ("a.csv", b"x")), ("file", ("a.csv", b"y"))]
    told = task.desk.call("POST", f"{task.path}/import", 400, files=form)
    assert told["code"] == "upload.files"
    assert "a.csv" in told["detail"]


def test_the_check_takes_several_files_too(tmp_path: Path) -> None:
    paths = []
    for name, data in members_of("beside").items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    done: Any = CliRunner().invoke(main, ["check", *map(str, paths)])
    assert done.exit_code == 0, done.output
    assert "0 errors" in done.output
    done = CliRunner().invoke(main, ["check", str(paths[0]), str(paths[1])])
    assert done.exit_code == 1
    assert "f3_m0d_00000002.png" in done.output
