"""Which pictures an archive has, and the subset of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.archive import FileSource, open_archive
from app.formats.open_images.pictures import pictures
from app.operations import PICTURE_EXTENSIONS
from tests.samples import OpenImages


def found(tmp_path: Path, built: OpenImages, *paths: str) -> list[tuple[str, str]]:
    built.more = dict.fromkeys(paths, b"x")
    with FileSource(built.write(tmp_path / "a.zip")) as source:
        return [(one.subset, one.name) for one in pictures(open_archive(source))]


@pytest.mark.parametrize(
    ("listed", "path", "wanted"),
    [
        ([("a", "train")], "images/train/a.jpg", ("train", "a.jpg")),
        ([("a", "train")], "images/a.jpg", ("train", "a.jpg")),
        ([("a", "train")], "train/data/a.jpg", ("train", "a.jpg")),
        ([("a", "train")], "data/a.jpg", ("train", "a.jpg")),
        ([("a", "train")], "a.jpg", ("train", "a.jpg")),
        ([("cats/a", "train")], "images/cats/a.jpg", ("train", "cats/a.jpg")),
        ([("cats/a", "train")], "images/train/cats/a.jpg", ("train", "cats/a.jpg")),
        ([("a", "train")], "images/spring/never listed.jpg", ("default", "spring/never listed.jpg")),
        ([("masks/a", "train")], "images/train/masks/a.png", ("train", "masks/a.png")),
        ([("images/train/a", "train")], "train/images/train/a.jpg", ("train", "images/train/a.jpg")),
        ([("data/a", "train")], "train/data/a.jpg", ("train", "data/a.jpg")),
        ([("a", "train")], "train/a.jpg", ("train", "a.jpg")),
        ([], "images/spring/b.jpg", ("spring", "b.jpg")),
        ([("a", "val"), ("b", "validation")], "images/val/a.jpg", ("validation", "a.jpg")),
        ([("a", "val")], "images/val/a.jpg", ("val", "a.jpg")),
    ],
)
def test_the_subset_of_a_picture(
    tmp_path: Path, listed: list[tuple[str, str]], path: str, wanted: tuple[str, str]
) -> None:
    assert found(tmp_path, OpenImages(classes=[("cat", "cat")], images=listed), path) == [wanted]


def test_masks_and_other_files_are_no_pictures(tmp_path: Path) -> None:
    built = OpenImages(classes=[("cat", "cat")], images=[("a", "train")])
    paths = ("masks/a_cat_1.png", "train-masks-0/a.png", "images/train/notes.txt", "__MACOSX/images/train/._a.jpg")
    assert found(tmp_path, built, *paths, "images/train/a.png") == [("train", "a.png")]


def test_any_kind_of_picture_that_a_task_may_have_is_one(tmp_path: Path) -> None:
    built = OpenImages(classes=[("cat", "cat")], images=[("a", "train")])
    names = [f"a{extension}" for extension in sorted(PICTURE_EXTENSIONS)]
    assert found(tmp_path, built, *(f"images/train/{name}" for name in names)) == [("train", name) for name in names]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("test-annotations-point-labels.csv", "ImageId,X,Y,Label\na,0.5,0.5,cat\n"),
        ("test-annotations-vrd.csv", "ImageID,LabelName1,LabelName2\na,cat,cat\n"),
        ("test-annotations-machine-imagelabels.csv", "ImageID,LabelName\na,cat\n"),
    ],
)
def test_any_table_may_tell_the_subset_of_a_picture(tmp_path: Path, table: str, text: str) -> None:
    built = OpenImages(classes=[("cat", "cat")])
    built.more = {table: text.encode(), "a.jpg": b"x"}
    with FileSource(built.write(tmp_path / "a.zip")) as source:
        assert [(one.subset, one.name) for one in pictures(open_archive(source))] == [("test", "a.jpg")]
