"""Tables that are called otherwise: told by their columns, and no task is emptied by them."""

from __future__ import annotations

import pytest

from app.errors import ImportProblems
from tests.formats.builders import good, imported, labels, places, target
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, MASK_HEADER, TAG_HEADER

WHERE = target({"a.jpg": (8, 8)}, labels("Cat"))
BOX = "a,x,Cat,1,0,1,0,1,0,0,0,0,0\n"


@pytest.mark.parametrize(
    ("path", "header", "name"),
    [
        ("boxes.csv", BOX_HEADER, "train-annotations-bbox.csv"),
        ("x/annotations.csv", BOX_HEADER, "x/train-annotations-bbox.csv"),
        ("boxes.txt", "\ufeff" + BOX_HEADER.upper().replace("\n", "\r\n"), "train-annotations-bbox.csv"),
        ("boxes.csv", '"YMax","YMin","XMax","XMin","LabelName","ImageID"', "train-annotations-bbox.csv"),
        ("masks.csv", MASK_HEADER, "train-annotations-object-segmentation.csv"),
        ("tags.csv", TAG_HEADER, "train-annotations-human-imagelabels.csv"),
        ("p.csv", "ImageId,X,Y,Label\n", "train-annotations-point-labels.csv"),
        ("r.csv", "ImageID,LabelName1,LabelName2,RelationLabel\n", "train-annotations-vrd.csv"),
    ],
)
def test_a_table_of_another_name_is_told_by_its_columns(path: str, header: str, name: str) -> None:
    _, report = good({BOXES: BOX_HEADER + BOX, path: header}, WHERE)
    (told,) = [problem for problem in report.warnings if problem.code == "file.kept"]
    assert (told.file, told.suggestion) == (path, name)
    assert "has the columns of a table" in told.message
    with pytest.raises(ImportProblems) as refused:
        imported({CLASSES: "/m/1,Cat\n", path: header}, WHERE)
    (error,) = refused.value.report.errors
    assert (error.code, error.file, error.suggestion) == ("layout.not_found", path, name)


@pytest.mark.parametrize("text", ["", "\0\n", "a,b\n", "ImageID,LabelName\n", '"ImageID', "ImageID;XMin;XMax\n"])
def test_other_files_are_kept_as_they_are(text: str) -> None:
    _, report = good({CLASSES: "/m/1,Cat\n", "more.csv": text, "metadata/attributes.csv": "id,name\n"}, WHERE)
    assert {problem.suggestion for problem in report.warnings} == {None}
    assert places(report.warnings)[-1] == ("file.kept", "more.csv", None, None)
