"""Labels and subsets that are called otherwise in the task: `map=`, and how such rows go back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.annotations import Annotations, Edit
from app.errors import Report
from app.formats import ImportOptions
from app.formats.base import ListText
from tests.formats.builders import OPEN_IMAGES, exported, good, imported, labels, opened, places, read_zip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, TAG_HEADER, TAGS

TASK = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("cat", "dog"))
ROWS = ("a,,/m/feline,1,0,0.5,0,1,0,0,0,0,0", "a,,/m/cat,1,0,1,0,1,0,0,0,0,0", "a,,/m/lion,1,0,0.250,0,1,0,0,0,0,0")
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: "/m/feline,Feline\n/m/cat,Cat\n/m/lion,Lion\n",
    BOXES: BOX_HEADER + "\n".join(ROWS) + "\n",
    TAGS: TAG_HEADER + "a,verification,/m/lion,0\n",
}
MAP = "label:Feline=cat,label:/m/lion=cat"


def mapped(members: dict[str, str | bytes], text: str, **more: Any) -> tuple[MemorySink, Report]:
    return good(members, TASK, map=ListText(text), **more)


def written(sink: MemorySink, **options: Any) -> dict[str, bytes]:
    return read_zip(exported(MemorySource.of_sink(sink, TASK.frames), TASK, **options)[0])


def test_rows_get_their_label_and_keep_their_own_name() -> None:
    sink, report = mapped(ARCHIVE, MAP)
    assert sink.annotations().shapes.label_ids.tolist() == [1, 1, 1]
    assert report.counts == {"tag.negative_hidden": 1}, "what was asked for is no warning"
    members = written(sink)
    for name, data in ARCHIVE.items():
        assert members[name].decode() == (data if name != CLASSES else f"{data}dog,dog\n"), name


def test_the_label_keeps_the_id_of_its_own_name() -> None:
    sink, _ = mapped(ARCHIVE, MAP)
    assert sink.document["mids"] == {"1": "/m/cat"}
    shapes = edited(sink.annotations().shapes, 1, Edit.LABEL, label_ids=2)
    shapes = edited(shapes, 1, Edit.LABEL, label_ids=1)
    found = sink.annotations()
    source = MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=shapes, images=found.images))
    assert read_zip(exported(source, TASK)[0])[BOXES].decode().splitlines()[2] == ROWS[1]
    only, _ = mapped({CLASSES: ARCHIVE[CLASSES], BOXES: BOX_HEADER + ROWS[0]}, MAP)
    assert only.document["mids"] == {}, "a new cat is not exported as a feline"


def test_a_task_remembers_what_was_mapped() -> None:
    first, _ = mapped(ARCHIVE, MAP)
    where = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("cat", "dog"))
    second, _ = good(dict(written(first)), replace(where, earlier={1: first.document}))
    assert second.annotations().shapes.label_ids.tolist() == [1, 1, 1]
    assert second.document["mapped"] == {"/m/feline": 1, "/m/lion": 1}
    assert written(second) == written(first)
    _, report = imported(dict(written(first)), where)
    assert {problem.value for problem in report.errors} == {"/m/feline", "/m/lion"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("label:/m/1=dog,label:/m/2=cat", ["dog", "cat"]),
        ("label:/m/1=dog", ["dog", "dog"]),
        ("label:/m/2=cat", ["cat", "cat"]),
    ],
)
def test_a_name_that_is_told_to_mean_another_label_is_called_so_in_the_class_file(text: str, told: list[str]) -> None:
    rows = [f"a,xclick,/m/{number},1,0.25,0.50,0.25,0.5,0,0,0,0,0" for number in (1, 2)]
    brought = {CLASSES: "/m/1,cat\n/m/2,dog\n", BOXES: BOX_HEADER + "".join(f"{row}\n" for row in rows)}
    first, _ = mapped(brought, text)
    members = written(first)
    assert members[BOXES].decode().splitlines()[1:] == rows, "they keep their own name"
    assert members[CLASSES].decode().splitlines()[:2] == [f"/m/1,{told[0]}", f"/m/2,{told[1]}"]
    stranger = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("cat", "dog"))
    for where in (stranger, replace(stranger, earlier={1: first.document})):
        again, _ = good(dict(members.items()), where)
        assert [("", "cat", "dog")[n] for n in again.annotations().shapes.label_ids.tolist()] == told
        assert written(again) == members
    drawn = Annotations(
        shapes=edited(first.annotations().shapes, 0, Edit.LABEL, label_ids=1), images=first.annotations().images
    )
    members = read_zip(exported(MemorySource.of_sink(first, TASK.frames, drawn), TASK)[0])
    again, _ = good(dict(members.items()), stranger)
    assert again.annotations().shapes.label_ids.tolist() == drawn.shapes.label_ids.tolist()


def test_names_in_place_of_ids() -> None:
    sink, _ = mapped(ARCHIVE, MAP)
    members = written(sink, label_ids="name")
    assert [line.split(",")[2] for line in members[BOXES].decode().splitlines()[1:]] == ["cat"] * 3
    assert members[TAGS].decode().splitlines()[1] == "a,verification,cat,0"


@pytest.mark.parametrize(
    ("text", "label"),
    [("label:/m/lion=dog", 2), ("label:Lion=DOG", 2), ("label:Cat=dog,label:Lion=cat", 1), ("label:/m/lion=/m/cat", 1)],
)
def test_a_label_is_named_in_any_way_it_has(text: str, label: int) -> None:
    rows = {CLASSES: ARCHIVE[CLASSES], BOXES: BOX_HEADER + "\n".join(ROWS[1:]) + "\n"}
    sink, _ = mapped(rows, text)
    assert sink.annotations().shapes.label_ids.tolist()[1] == label


def test_a_label_that_the_task_has_not_is_told_once_with_the_nearest() -> None:
    _, report = imported(ARCHIVE, TASK, map=ListText("label:Feline=kat,label:Lion=kat"))
    assert places(report.errors) == [("map.unknown", BOXES, 2, "LabelName")]
    assert report.errors[0].suggestion == "cat"
    assert 'mapped to "kat"' in report.errors[0].message


def test_what_the_archive_has_not_is_told() -> None:
    _, report = mapped(ARCHIVE, MAP + ",label:Felin=dog,label:Dog=dog,subset:trian=test")
    told = [(p.code, p.value, p.suggestion) for p in report.warnings if p.code == "map.unused"]
    assert told == [("map.unused", "Felin", "Feline"), ("map.unused", "Dog", None), ("map.unused", "trian", "train")]


# --- subsets ---

VAL: dict[str, str | bytes] = {
    "val-images-with-rotation.csv": "ImageID,Subset,Note\na,val,x\n",
    "val-annotations-bbox.csv": BOX_HEADER + "a,,cat,1,0,1,0,1,0,0,0,0,0\n",
    "test-annotations-bbox.csv": BOX_HEADER + "b,,cat,1,0,1,0,1,0,0,0,0,0\n",
}


def test_a_subset_is_another_everywhere() -> None:
    sink, report = mapped(VAL, "subset:val=dev")
    assert sink.annotations().images.subsets.to_list() == ["dev", "test"]
    assert report.counts == {"label.undeclared": 1}
    members = written(sink)
    assert members["annotations/dev-annotations-bbox.csv"].decode() == VAL["val-annotations-bbox.csv"]
    assert members["annotations/dev-images-with-rotation.csv"].decode().splitlines()[1] == "a,dev" + "," * 10 + ",x"
    assert not any("/val-" in name for name in members)


def test_two_subsets_may_become_one() -> None:
    sink, _ = mapped(VAL, "subset:val=test")
    members = written(sink)
    assert len(members["annotations/test-annotations-bbox.csv"].decode().splitlines()) == 3
    clash = {**VAL, "test-annotations-bbox.csv": VAL["val-annotations-bbox.csv"]}
    _, report = imported(clash, TASK)
    assert set(report.counts) >= {"image.subset_conflict"}
    mapped(clash, "subset:val=test")


def test_a_conflict_of_subsets_tells_the_mapping_that_settles_it() -> None:
    members = {CLASSES: "/m/cat,Cat\n", "TRAIN-annotations-bbox.csv": BOX_HEADER + ROWS[1] + "\n"}
    members["train-images-with-rotation.csv"] = "ImageID\na\n"
    _, report = imported(members, TASK)
    (told,) = [problem for problem in report.errors if problem.code == "image.subset_conflict"]
    text = told.message.partition("say map=")[2]
    assert text == "subset:TRAIN=train"
    good(members, TASK, map=ListText(text))


def test_val_may_stay_where_it_would_mean_validation() -> None:
    members = {**VAL, "validation-annotations-bbox.csv": BOX_HEADER}
    assert mapped(members, "")[0].annotations().images.subsets.row(0) == "validation"
    assert mapped(members, "subset:val=val")[0].annotations().images.subsets.row(0) == "val"


def test_pngs_are_looked_for_in_the_folder_as_it_is_called() -> None:
    from tests.formats.open_images.parts import MASK_HEADER, rectangle_png

    members: dict[str, str | bytes] = {
        "val-annotations-object-segmentation.csv": MASK_HEADER + "m.png,a,cat,00,,,,,,\n",
        "masks/val/m.png": rectangle_png(8, 8, 0, 0, 2, 2),
        "masks/test/m.png": rectangle_png(8, 8, 0, 0, 5, 5),
    }
    sink, _ = mapped(members, "subset:val=dev")
    assert written(sink)["masks/dev/m.png"] == members["masks/val/m.png"]


def test_an_option_that_cannot_be_read_stops_the_import() -> None:
    from app.errors import InvalidInput

    assert OPEN_IMAGES.read is not None
    with pytest.raises(InvalidInput, match="map"):
        OPEN_IMAGES.read(opened(VAL), TASK, ImportOptions(map=ListText("x")), MemorySink(), Report(), lambda done: None)
