"""FiftyOne's importer reads every export in its layout: nothing is dropped, no mask is empty, unknown flags are told.

Its module for Open Images runs as it is, on stand-ins for the rest of the package; with `-m long` the whole package
does (a gigabyte, without its database).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.images import decode_mask
from app.storage import requests
from tests.desk import Desk
from tests.environments import python_of, run_script
from tests.formats.builders import exported, read_zip
from tests.formats.open_images.random_archives import Row, read_rows
from tests.judges.test_exports import SCENES, SCRIPTS, rows_of

CHOSEN = ("untouched", "polygons", "odd", "odd, turned as both", "cats")
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
EDGES = ("XMin", "XMax", "YMin", "YMax")


def exports(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, bytes]], dict[str, Any]]:
    """The folders, their members, and the reports."""
    folders, members, reports = {}, {}, {}
    for name in CHOSEN:
        where, make, options = SCENES[name]
        source = make()
        source._pictures = dict.fromkeys(range(len(where.frames)), b"a picture")
        data, reports[name] = exported(source, where, **options, layout="fiftyone", save_images=True)
        members[name] = read_zip(data)
        for path, body in members[name].items():
            place = folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
        folders[name] = str(folder / name)
    return folders, members, reports


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folders, members, reports = exports(tmp_path_factory.mktemp("fiftyone"))
    (package,) = python_of("fiftyone").parent.parent.glob("lib/python*/site-packages/fiftyone")
    request = {"whole": False, "package": str(package), "folders": folders}
    told = run_script("judge", SCRIPTS / "read_fiftyone.py", request)
    return {"told": told, "members": members, "reports": reports}


def labels_of(told: dict[str, Any], kind: str) -> Counter[tuple[str, str]]:
    """(picture without extension, class) of every label of a kind."""
    return Counter(
        (name.rpartition(".")[0], one["label"])
        for name, sample in told["samples"].items()
        for one in sample.get(kind, ())
    )


def table(members: dict[str, bytes], name: str) -> list[Row]:
    return read_rows(members[f"labels/{name}.csv"])[1]


@pytest.mark.parametrize("name", CHOSEN)
def test_every_row_is_a_label(read: dict[str, Any], name: str) -> None:
    members, told = read["members"][name], read["told"][name]
    classes = dict(tuple(row.values()) for row in _class_rows(members))
    for kinds, file in (
        (("detections",), "detections"),
        (("segmentations",), "segmentations"),
        (("positive_labels", "negative_labels"), "classifications"),
    ):
        rows = Counter((row["ImageID"], classes[row["LabelName"]]) for row in table(members, file))
        assert sum((labels_of(told, kind) for kind in kinds), Counter()) == rows, file
    absent = Counter(
        (row["ImageID"], classes[row["LabelName"]])
        for row in table(members, "classifications")
        if float(row["Confidence"]) <= 0.1
    )
    assert labels_of(told, "negative_labels") == absent


def _class_rows(members: dict[str, bytes]) -> list[Row]:
    return read_rows(b"LabelName,DisplayName\n" + members["metadata/classes.csv"])[1]


@pytest.mark.parametrize("name", CHOSEN)
def test_no_mask_is_empty_that_was_not(read: dict[str, Any], name: str) -> None:
    """FiftyOne cuts masks by the cells of their box, and takes bright pixels alone."""
    members = read["members"][name]
    drawn = {path.rpartition("/")[2] for path, data in members.items() if is_drawn(path, data)}
    rows = table(members, "segmentations")
    assert rows
    found = Counter(
        (picture.rpartition(".")[0], int(one["bits"] or "0", 16) != 0)
        for picture, sample in read["told"][name]["samples"].items()
        for one in sample.get("segmentations", ())
    )
    assert found == Counter((row["ImageID"], row["MaskPath"] in drawn) for row in rows)


def is_drawn(path: str, data: bytes) -> bool:
    return path.startswith("labels/masks/") and bool(decode_mask(data).rows.any())


@pytest.mark.parametrize("name", CHOSEN)
def test_unknown_flags_are_true_to_fiftyone_and_the_report_says_so(read: dict[str, Any], name: str) -> None:
    rows = table(read["members"][name], "detections")
    n_unknown = sum(row[flag] == "-1" for row in rows for flag in FLAGS)
    counts = read["reports"][name].counts
    assert counts.get("export.unknown_flag", 0) == n_unknown
    flags = Counter(
        (flag, one[flag])
        for sample in read["told"][name]["samples"].values()
        for one in sample.get("detections", ())
        for flag in FLAGS
    )
    assert flags == Counter((flag, row[flag] != "0") for row in rows for flag in FLAGS)


def test_what_fiftyone_reads_is_what_the_default_layout_says(read: dict[str, Any]) -> None:
    where, make, options = SCENES["untouched"]
    plain = read_zip(exported(make(), where, **options)[0])
    rows = table(read["members"]["untouched"], "detections")
    assert Counter((row["ImageID"].rpartition("/")[2], row["LabelName"]) for row in rows) == Counter(
        {(image.rpartition("/")[2], label): n for (image, label), n in rows_of(plain, "bbox").items()}
    )
    boxes = [
        one["bounding_box"]
        for sample in read["told"]["untouched"]["samples"].values()
        for one in sample.get("detections", ())
    ]
    wanted = [[float(row[edge]) for edge in EDGES] for row in rows]
    assert sorted(boxes) == sorted([x0, y0, x1 - x0, y1 - y0] for x0, x1, y0, y1 in wanted)


FRAMES = ("#hash.png", ".hidden.png", "=cmd.png", "+1.png", "-1.png", "[b].png", "~t.png", "$HOME.png", "%41.png",
          " lead.png", "a,b.png", 'q"uote.png', "it's.png", "a.b.c.png", "100%.png", "ß.png", "שלום.png", "😀.png",
          "l" * 200 + ".png", "a.jpg.png", "same.png", "same.jpg", "folder/other.png", "0001.png",
          "x\ty.png")  # fmt: skip
LABELS = ("comma, label", 'quote "x"', "=cmd|' /C calc'!A0", "+1", "@sum", "Cat", "cat", "שלום", "😀", "123", "a/b",
          "/m/01yrx", "DisplayName", "a  b", "SS", "ß", "x" * 64, "#x", "'", "ImageID,Source")  # fmt: skip


def test_names_of_all_kinds_are_read(tmp_path: Path) -> None:
    runs = [0, 100, 3.0, 4.0, 12.0, 13.0]
    with Desk(tmp_path / "data") as desk:
        task = desk.task(dict.fromkeys(FRAMES, (40, 30)), [{"name": name} for name in LABELS])
        ids = [label["id"] for label in task.labels().values()]
        looks = [{"frame": frame, "label_id": ids[frame % len(ids)], "attributes": []} for frame in range(len(FRAMES))]
        kinds = {"rectangle": [1, 2, 20, 21], "mask": runs, "points": [5, 6]}
        shapes = [{**look, "type": kind, "points": points} for look in looks for kind, points in kinds.items()]
        task.put(shapes=shapes, tags=looks)
        members = task.export(layout="fiftyone")
    rows = table(members, "detections")
    for path, body in [*members.items(), *((f"data/{row['ImageID']}.png", b"a picture") for row in rows)]:
        place = tmp_path / "out" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    (package,) = python_of("fiftyone").parent.parent.glob("lib/python*/site-packages/fiftyone")
    request = {"whole": False, "package": str(package), "folders": {"all": str(tmp_path / "out")}}
    told = run_script("judge", SCRIPTS / "read_fiftyone.py", request)["all"]
    wanted = Counter((row["ImageID"], row["LabelName"]) for row in rows)
    assert sorted(label for _, label in wanted.elements()) == sorted(
        LABELS[n % len(LABELS)] for n in range(len(FRAMES))
    )
    for kind in ("detections", "segmentations", "positive_labels", "points"):
        assert labels_of(told, kind) == wanted, kind
    drawn = [one["bits"] for sample in told["samples"].values() for one in sample["segmentations"]]
    assert [int(bits, 16).bit_count() for bits in drawn] == [100] * len(FRAMES)


@pytest.mark.parametrize(
    ("images", "names", "misread"),
    [
        (["0001.png", "0002.png"], ["cat"], 2),  # its column is one of numbers
        (["a.png", "2.png"], ["7", "1e5"], 2),
        (["NA.png", "1.png"], ["cat", "None"], 3),
        (["a.png", "2.png"], ["cat", "7"], 0),
    ],
)
def test_names_that_fiftyone_takes_for_others_are_told(
    tmp_path: Path, images: list[str], names: list[str], misread: int
) -> None:
    with Desk(tmp_path / "data") as desk:
        task = desk.task(dict.fromkeys(images, (40, 30)), [{"name": name} for name in names])
        asked = {"format": "Open Images V7 1.0", "layout": "fiftyone"}
        rq_id = desk.call("POST", f"{task.path}/dataset/export", 202, params=asked)["rq_id"]
        desk.work()
        with desk.storage.database.read() as conn:
            report = requests.load(conn, rq_id).report
    assert report is not None
    counts = report["counts"]
    assert counts.get("export.misread", 0) == misread


@pytest.mark.long
def test_the_whole_package_reads_the_same(read: dict[str, Any], tmp_path: Path) -> None:
    folders, _, _ = exports(tmp_path)
    request = {"whole": True, "package": "", "folders": folders}
    environ = {"HOME": str(tmp_path), "FIFTYONE_DO_NOT_TRACK": "1"}
    told = run_script("fiftyone-whole", SCRIPTS / "read_fiftyone.py", request, environ=environ)
    assert told == read["told"]
