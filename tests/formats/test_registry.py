"""Formats by name, and by what an archive holds."""

from __future__ import annotations

import pytest

from app.errors import ImportProblems, InvalidInput
from app.formats import FORMATS, detect, find_format


def test_display_names_are_cvats() -> None:
    assert [one.display_name for one in FORMATS] == ["Open Images V6 1.0", "Open Images V7 1.0"]
    assert len({one.display_name.casefold() for one in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize(
    "name", ["Open Images V6 1.0", "open images v6 1.0", " OPEN  Images V6 1.0 ", "open images v6"]
)
def test_names_are_found_in_any_case(name: str) -> None:
    assert find_format(name) is FORMATS[0]


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(InvalidInput, match=r"did you mean 'Open Images V7 1\.0'") as caught:
        find_format("Open Image V7")
    assert (caught.value.code, caught.value.place) == ("format.unknown", "format")
    with pytest.raises(InvalidInput, match=r"there is Open Images V6 1\.0, Open Images V7 1\.0"):
        find_format("zzz")


def test_an_archive_tells_its_format() -> None:
    assert detect(["annotations/train-annotations-bbox.csv"]) is FORMATS[0]
    with pytest.raises(ImportProblems) as caught:
        detect(["a.jpg", "b.jpg"])
    assert caught.value.code == "layout.not_found"
    assert "a.jpg, b.jpg. Files are known by their names, such as train-annotations-bbox.csv" in caught.value.detail


def test_what_to_do_about_an_archive_of_no_format_is_told() -> None:
    pictures = [f"{n}.jpg" for n in range(500)]
    with pytest.raises(ImportProblems, match=r'Did you mean "x/train-annotations-bbox\.csv"\?') as caught:
        detect([*pictures, "x/train-annotations-bboxes.csv"])
    assert caught.value.report.errors[0].suggestion == "x/train-annotations-bbox.csv"
    with pytest.raises(ImportProblems, match=r'"upload\.zip" is not looked into: send what it holds'):
        detect([*pictures, "upload.zip"])


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["annotations/instances_default.json", "images/a.jpg"], "COCO"),
        (["annotations.xml"], "CVAT's XML"),
        (["VOC/Annotations/a.xml", "VOC/JPEGImages/a.jpg"], "Pascal VOC"),
        (["obj.data", "obj.names", "obj_train_data/a.txt"], "YOLO"),
        (["data.yaml", "labels/train/a.txt"], "YOLO"),
        (["annotations/default.json"], "Datumaro's JSON"),
        (["train/_annotations.coco.json", "train/a.jpg"], "COCO"),
        (["train/_annotations.csv", "train/a.jpg", "README.roboflow.txt"], "Roboflow's CSV"),
        (["valid/_classes.csv", "valid/a.jpg"], "Roboflow's CSV"),
        (
            ["Dataset/train/Cat/a.jpg", "Dataset/train/Cat/Label/a.txt"],
            "the text labels of OIDv4_ToolKit, whose csv_folder is Open Images",
        ),
        (["cat/darknet/a.txt", "cat/images/a.jpg"], "YOLO"),
        (["cat/pascal/a.xml", "cat/images/a.jpg"], "Pascal VOC"),
        (["notes.txt"], None),
    ],
    ids=str,
)
def test_an_archive_of_another_format_is_called_by_its_name(names: list[str], what: str | None) -> None:
    with pytest.raises(ImportProblems) as caught:
        detect(names)
    told = f"It looks like {what}: export it as Open Images, or convert it (datumaro does)"
    assert caught.value.detail.endswith(told) if what else "looks like" not in caught.value.detail
