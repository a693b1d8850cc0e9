"""Image lists, subsets and ids; labels and their names."""

from __future__ import annotations

import pytest

from app.annotations import Images
from app.formats import Target
from app.formats.open_images import reading
from tests.formats.builders import all_attributes, exported, good, imported, labels, places, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    HIERARCHY,
    LIST,
    LIST_HEADER,
    SIZES,
    TAG_HEADER,
    TAGS,
)

TASK = target({"a.jpg": (8, 6), "b.jpg": (8, 6), "c.jpg": (8, 6)}, labels("cat", "dog"))
NAMES = "cat,cat\ndog,dog\n"
BOX = "{},,cat,1,0,1,0,1,0,0,0,0,0\n"


def images(sink: MemorySink) -> dict[int, tuple[str, str]]:
    found: Images = sink.annotations().images
    rows = zip(found.frames.tolist(), found.names.to_texts(), found.subsets.to_list(), strict=True)
    result = {frame: (name, subset) for frame, name, subset in rows}
    assert len(result) == len(found), "one row an image"
    return result


def row(image: str, subset: str = "train", url: str = "") -> str:
    return f"{image},{subset},{url},,,,,,,,,\n"


def test_every_listed_image_has_its_id_subset_and_line() -> None:
    sink, report = good({LIST: LIST_HEADER + row("a", url="u") + row("b.jpg")}, TASK)
    assert images(sink) == {0: ("a", "train"), 1: ("b.jpg", "train")}
    assert sink.annotations().images.kept.lines.to_texts() == [row("a", url="u").strip(), row("b.jpg").strip()]
    assert report.problems() == []


def test_images_that_only_annotations_name() -> None:
    sink, _ = good({BOXES: BOX_HEADER + BOX.format("b"), CLASSES: NAMES, LIST: LIST_HEADER + row("a")}, TASK)
    assert images(sink) == {0: ("a", "train"), 1: ("b", "train")}
    assert sink.annotations().images.kept.tables.tolist() == [0, -1]


def test_ids_that_only_annotations_use_stay_as_they_are_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most are a part of their frame's name, which is what is remembered of them."""
    monkeypatch.setattr(reading, "NAMED_AT_ONCE", 2)
    frames = target({f"x/{name}.jpg": (8, 6) for name in "abcdef"}, labels("cat", "dog"))
    ids = ["x/c", "f", "x/a.jpg", "./x/b", "train/x/e.jpg"]
    sink, _ = good({BOXES: BOX_HEADER + "".join(map(BOX.format, ids)), CLASSES: NAMES}, frames)
    named = {frame: name for frame, (name, _) in images(sink).items()}
    assert named == {0: "x/a.jpg", 1: "./x/b", 2: "x/c", 4: "train/x/e.jpg", 5: "f"}


@pytest.mark.parametrize(
    ("members", "subset"),
    [
        pytest.param({LIST: LIST_HEADER + row("a", "own")}, "own", id="the row's own cell"),
        pytest.param({LIST: LIST_HEADER + row("a", "")}, "train", id="the list's name"),
        pytest.param({BOXES: BOX_HEADER + BOX.format("a")}, "train", id="the name of an annotation table"),
        pytest.param(
            {"image_ids.csv": "ImageID\na\n", BOXES: BOX_HEADER + BOX.format("a")}, "train", id="a table later"
        ),
        pytest.param({"image_ids.csv": "ImageID\na\n", "images/val/a.jpg": b"x"}, "val", id="the picture's folder"),
        pytest.param({"image_ids.csv": "ImageID\na\n"}, "default", id="nothing tells"),
        pytest.param({"labels/detections.csv": BOX_HEADER + BOX.format("a")}, "default", id="no subset in the name"),
        pytest.param({LIST: LIST_HEADER + row("a", "val")}, "val", id="val stays val"),
        pytest.param(
            {LIST: LIST_HEADER + row("a", "val") + row("b", "validation")}, "validation", id="val beside validation"
        ),
        pytest.param(
            {"val-annotations-bbox.csv": BOX_HEADER + BOX.format("a"), "validation-images.csv": LIST_HEADER},
            "validation",
            id="val beside a file of validation",
        ),
    ],
)
def test_the_subset_of_an_image(members: dict[str, str], subset: str) -> None:
    sink, report = good({**members, CLASSES: NAMES}, TASK)
    assert images(sink)[0] == ("a", subset)
    assert report.problems() == []


def test_one_image_in_two_subsets() -> None:
    _, report = imported({LIST: LIST_HEADER + row("a") + row("b") + row("a", "test") + row("a", "x")}, TASK)
    assert places(report.errors) == [("image.subset_conflict", LIST, 4, "Subset")]
    members = {LIST: LIST_HEADER + row("a"), "test-annotations-bbox.csv": BOX_HEADER + BOX.format("a"), CLASSES: NAMES}
    _, report = imported(members, TASK)
    assert places(report.errors) == [("image.subset_conflict", "test-annotations-bbox.csv", 2, None)]


@pytest.mark.parametrize("subset", ["a/b", "..", ".", "a\\b"])
def test_a_subset_that_is_no_folder_name(subset: str) -> None:
    _, report = imported({LIST: LIST_HEADER + row("a", subset)}, TASK)
    assert places(report.errors) == [("image.bad_subset", LIST, 2, "Subset")]


def test_a_file_name_that_tells_no_usable_subset() -> None:
    _, report = imported({"..-annotations-bbox.csv": BOX_HEADER, CLASSES: NAMES}, TASK)
    assert places(report.errors) == [("image.bad_subset", "..-annotations-bbox.csv", None, None)]


def test_an_image_listed_twice_in_one_list() -> None:
    sink, report = good({LIST: LIST_HEADER + row("a") + row("a.jpg", url="u") + row("a")}, TASK)
    assert images(sink) == {0: ("a", "train")}
    assert places(report.warnings) == [("image.duplicate", LIST, 3, "ImageID"), ("image.duplicate", LIST, 4, "ImageID")]
    assert (report.tables[LIST].kept, report.tables[LIST].dropped) == (1, 2)


def test_two_names_of_one_list_are_no_repeat() -> None:
    other = "annotations/train-image_ids_and_rotation.csv"
    text = LIST_HEADER + row("a", url="u") + row("b")
    sink, report = good({LIST: text, other: text}, TASK)
    assert report.problems() == []
    assert len(images(sink)) == 2
    short = "Subset,ImageID,OriginalURL\ntrain,a,u\ntrain,b,w\n"
    _, report = good({LIST: text, other: short}, TASK)
    assert places(report.warnings) == [("image.duplicate", LIST, 3, "ImageID")], "b says something else"


def test_an_unmatched_id_is_told_once_at_its_first_annotation() -> None:
    members = {
        LIST: LIST_HEADER + row("zz") + row("yy") + row("a") + row("yy"),
        BOXES: BOX_HEADER + BOX.format("a") + BOX.format("zz") * 2 + BOX.format("B.png"),
        TAGS: TAG_HEADER + "zz,,cat,1\n",
        CLASSES: NAMES,
    }
    _, report = imported(members, TASK)
    assert places(report.errors) == [
        ("image.unmatched", BOXES, 3, "ImageID"),
        ("image.unmatched", BOXES, 5, "ImageID"),
        ("image.unmatched", LIST, 3, "ImageID"),
    ]
    assert report.errors[1].suggestion == "b.jpg"
    assert 'did you mean "b.jpg"' in report.errors[1].message


def test_unmatched_rows_may_be_passed_over() -> None:
    members = {
        LIST: LIST_HEADER + row("zz") + row("a"),
        BOXES: BOX_HEADER + BOX.format("a") + BOX.format("zz") * 3 + BOX.format("zz").replace("cat", "unicorn"),
        CLASSES: NAMES,
    }
    sink, report = good(members, TASK, unmatched="skip")
    assert len(sink.annotations().shapes) == 1
    assert places(report.warnings) == [("image.unmatched", BOXES, 3, "ImageID")]
    assert (report.tables[BOXES].kept, report.tables[BOXES].dropped) == (1, 4)


def test_an_archive_of_which_nothing_fits_fails_and_says_why() -> None:
    _, report = imported({TAGS: TAG_HEADER + "A,,cat,1\nyy,,cat,1\n", CLASSES: NAMES}, TASK, unmatched="skip")
    assert [p.code for p in report.errors] == ["image.unmatched"]
    message = report.errors[0].message
    assert "0 of 2 rows" in message
    assert '"A"' in message
    assert '"a.jpg"' in message
    assert '"cat"' in message


def test_a_list_alone_imports_nothing_and_is_fine() -> None:
    sink, report = good({LIST: LIST_HEADER}, TASK)
    assert report.problems() == []
    assert images(sink) == {}


def test_ambiguous_ids() -> None:
    task = target({"x/1.jpg": (1, 1), "y/1.jpg": (1, 1), "y/2.jpg": (1, 1)}, labels("cat"))
    _, report = imported({TAGS: TAG_HEADER + "1,,cat,1\n1,,cat,1\n", CLASSES: NAMES}, task)
    assert places(report.errors) == [("image.ambiguous", TAGS, 2, "ImageID")]
    sink, _ = good({TAGS: TAG_HEADER + "1,,cat,1\n2,,cat,1\n", CLASSES: NAMES}, task)
    assert sink.annotations().tags.frames.tolist() == [1, 2]


def test_the_zip_of_the_manual() -> None:
    """`<subset>-image_ids_and_rotation.csv`, no images.meta, no pictures: other readers drop all boxes."""
    members = {
        "annotations/default-image_ids_and_rotation.csv": LIST_HEADER + row("a", "default") + row("b", "default"),
        "annotations/default-annotations-bbox.csv": BOX_HEADER + BOX.format("a") + BOX.format("b"),
        "annotations/default-annotations-human-imagelabels.csv": TAG_HEADER + "a,,dog,1\n",
        CLASSES: NAMES,
        HIERARCHY: '{"LabelName": "/m/0bl9f"}',
    }
    sink, report = good(members, TASK)
    found = sink.annotations()
    assert (len(found.shapes), len(found.tags), len(found.images)) == (2, 1, 2)
    assert report.problems() == []
    assert sink.document["hierarchy"] == '{"LabelName": "/m/0bl9f"}'


def test_what_the_files_were_taken_for() -> None:
    members: dict[str, str | bytes] = {
        BOXES: BOX_HEADER,
        CLASSES: NAMES,
        "notes.txt": "x",
        "masks/train/m.png": b"x",
        "images/a.jpg": b"x",
    }
    _, report = good(members, TASK)
    assert report.summary["files"] == {
        BOXES: "boxes",
        CLASSES: "class names",
        "notes.txt": "kept as it is",
        "masks/": "1 mask files",
        "images/": "1 pictures, not read",
    }
    assert places(report.warnings) == [
        ("file.kept", "notes.txt", None, None),
        ("mask.unreferenced", "masks/train/m.png", None, None),
    ]


def test_sizes_that_differ_are_told_and_the_frame_wins() -> None:
    members = {BOXES: BOX_HEADER + BOX.format("a"), CLASSES: NAMES, SIZES: "a 6 8\nb 1 1\nzz 5 5\nb 60 80\n"}
    sink, report = good(members, TASK)
    assert places(report.warnings) == [("meta.size_differs", SIZES, 4, None)]
    assert sink.annotations().shapes.points.values.tolist() == [0, 0, 8, 6]


@pytest.mark.parametrize(
    ("task_labels", "classes", "name", "expected"),
    [
        pytest.param(["cat", "/m/1"], "/m/1,cat\n", "cat", "cat", id="the label's name before a display name"),
        pytest.param(["Cat"], "/m/1,Cat\n", "/m/1", "Cat", id="the display name"),
        pytest.param(["CAT"], "/m/1,Cat\n", "/m/1", "CAT", id="the display name in another case"),
        pytest.param(["/m/1"], "/m/1,Cat\n", "Cat", "/m/1", id="a display name in the table"),
        pytest.param(["E\u0301lan"], "/m/1,élan\n", "/m/1", "E\u0301lan", id="another composition and case"),
        pytest.param(["e\u0301lan"], "élan,élan\n", "élan", "e\u0301lan", id="the name in another composition"),
        pytest.param(["élan", "e\u0301lan"], "x,e\u0301lan\n", "x", "e\u0301lan", id="the very bytes first"),
        pytest.param(
            ['Fiat 500 "topolino"'], '/m/1,"Fiat 500 ""topolino"""\n', "/m/1", 'Fiat 500 "topolino"', id="quotes"
        ),
        pytest.param(["Cat"], "LabelName,DisplayName\n/m/1,Cat\n", "/m/1", "Cat", id="a header"),
        pytest.param(["Cat"], "id,name\n/m/1,Cat\n", "/m/1", "Cat", id="another header"),
        pytest.param(["Cat"], "MID,ClassName,x\n/m/1,Cat,a,b,c\n", "/m/1", "Cat", id="a ragged table"),
    ],
)
def test_the_label_of_a_row(task_labels: list[str], classes: str, name: str, expected: str) -> None:
    task = target({"a.jpg": (8, 6)}, labels(*task_labels))
    sink, report = good({TAGS: f"ImageID,LabelName\na,{name}\n", CLASSES: classes}, task)
    assert report.problems() == []
    assert [task.labels.by_id[i].name for i in sink.annotations().tags.label_ids.tolist()] == [expected]
    assert sink.document["mids"] == {str(task.labels.by_name[expected].id): name}


def test_labels_that_came_with_an_earlier_import() -> None:
    task = target({"a.jpg": (8, 6)}, labels("pet"))
    earlier = {7: {"mids": {"1": "/m/1", "99": "/m/2"}, "classes": [["/m/1", "Pet animal"], ["/m/3", "gone"]]}}
    task = Target(task.frames, task.labels, task.subsets, task.name, earlier)
    sink, report = good({TAGS: "ImageID,LabelName\na,/m/1\n"}, task)
    assert sink.annotations().tags.label_ids.tolist() == [1]
    assert [p.code for p in report.warnings] == ["label.undeclared"]
    assert sink.document["mids"] == {"1": "/m/1"}
    assert sink.document["classes"] == [["/m/1", "pet"]]


def test_names_that_share_a_label_or_conflict() -> None:
    task = target({"a.jpg": (8, 6)}, labels("Cat"))
    classes = "/m/1,Cat\n/m/2,Cat\n/m/1,Kitten\n"
    sink, report = good({TAGS: "ImageID,LabelName\na,/m/1\na,/m/2\n", CLASSES: classes}, task)
    assert sink.annotations().tags.label_ids.tolist() == [1, 1]
    assert places(report.warnings) == [
        ("label.name_conflict", CLASSES, 3, "DisplayName"),
        ("label.shared_name", TAGS, 3, "LabelName"),
    ]
    assert sink.document["mids"] == {"1": "/m/1"}
    assert sink.document["classes"] == [["/m/1", "Cat"], ["/m/2", "Cat"]]


def test_an_unknown_label_is_told_once_with_the_nearest() -> None:
    task = target({"a.jpg": (8, 6)}, labels("Cat", "Dog"))
    members = {TAGS: "ImageID,LabelName\na,/m/1\na,/m/1\na,Dogg\n", CLASSES: "/m/1,Cats\n"}
    _, report = imported(members, task)
    assert places(report.errors) == [("label.unknown", TAGS, 2, "LabelName"), ("label.unknown", TAGS, 4, "LabelName")]
    assert [p.suggestion for p in report.errors] == ["Cat", "Dog"]
    assert "/m/1 (Cats)" in report.errors[0].message


def test_a_name_in_no_class_file() -> None:
    sink, report = good({TAGS: "ImageID,LabelName\na,cat\n", CLASSES: "dog,dog\n"}, TASK)
    assert places(report.warnings) == [("label.undeclared", TAGS, 2, "LabelName")]
    assert sink.document["classes"] == [["dog", "dog"], ["cat", "cat"]]


def test_a_class_without_a_name() -> None:
    _, report = imported({TAGS: TAG_HEADER, CLASSES: ",Cat\n"}, TASK)
    assert places(report.errors) == [("value.missing", CLASSES, 1, "LabelName")]


def test_hierarchy_labels_that_nothing_else_names() -> None:
    tree = '{"LabelName":"/m/e","Subcategory":[{"LabelName":"cat"},{"LabelName":"x"}]}'
    _, report = good({TAGS: TAG_HEADER, HIERARCHY: tree}, TASK)
    assert [(p.code, p.value) for p in report.warnings] == [("hierarchy.unknown_label", "x")]


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("ImageID;LabelName\n", "csv.delimiter", None),
        ("ImageID\tLabelName\n", "csv.delimiter", None),
        ("a,,cat,1\n", "csv.no_header", None),
        ("ImageID,Confidence\n", "csv.missing_column", "LabelName"),
        ("ImageID,LabelName,imageid\n", "csv.duplicate_column", "imageid"),
    ],
)
def test_headers_that_cannot_be_read(text: str, code: str, column: str | None) -> None:
    _, report = imported({TAGS: text}, TASK)
    assert places(report.errors) == [(code, TAGS, 1, column)]


@pytest.mark.parametrize(
    ("row_bytes", "code"),
    [
        (b"a,\xff,cat,1", "csv.encoding"),
        (b"a,\x00,cat,1", "csv.nul"),
        (b'a,"x"y,cat,1', "csv.quote"),
        (b"a,,cat,1,5", "csv.field_count"),
    ],
)
def test_rows_that_cannot_be_read(row_bytes: bytes, code: str) -> None:
    members: dict[str, str | bytes] = {
        TAGS: TAG_HEADER.encode() + b"a,,cat,1\n" + row_bytes + b"\na,,dog,1\n",
        CLASSES: NAMES,
    }
    sink, report = imported(members, TASK)
    assert places(report.errors) == [(code, TAGS, 3, None)]
    assert len(sink.annotations().tags) == 2


def test_an_empty_table_is_fine() -> None:
    sink, report = good({TAGS: "", BOXES: BOX_HEADER, CLASSES: NAMES}, TASK)
    assert report.problems() == []
    assert len(sink.annotations().tags) == 0


def test_the_frames_of_a_job_keep_their_numbers() -> None:
    task = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat", attributes=all_attributes()), start=100)
    members = {LIST: LIST_HEADER + row("b"), BOXES: BOX_HEADER + BOX.format("b") + BOX.format("a"), CLASSES: NAMES}
    sink, _ = good(members, task)
    assert images(sink) == {101: ("b", "train"), 100: ("a", "train")}
    assert sink.annotations().shapes.frames.tolist() == [100, 101]


def test_a_task_without_frames() -> None:
    _, report = imported({TAGS: TAG_HEADER + "a,,cat,1\n", CLASSES: NAMES}, target({}, labels("cat")))
    assert [p.code for p in report.errors] == ["image.unmatched"]
    assert "no frames" in report.errors[0].message


def test_class_files_are_read_in_the_order_of_their_names() -> None:
    boxable = CLASSES.replace(".csv", "-boxable.csv")
    task = target({"a.jpg": (8, 6)}, labels("Cat", "Kitty"))
    for members in ({CLASSES: "/m/1,Cat\n", boxable: "/m/1,Kitty\n"}, {boxable: "/m/1,Kitty\n", CLASSES: "/m/1,Cat\n"}):
        sink, report = good({TAGS: "ImageID,LabelName\na,/m/1\n", **members}, task)
        assert [task.labels.by_id[label_id].name for label_id in sink.annotations().tags.label_ids] == ["Cat"]
        assert [(problem.code, problem.file) for problem in report.warnings] == [("label.name_conflict", boxable)]


def test_a_class_file_that_says_more_than_names_comes_back_as_it_was() -> None:
    name, table = (
        "oidv7-class-descriptions.csv",
        "LabelName,DisplayName,Points,TextMentions\n/m/1,Cat,4,tom,pus\n/m/2,Dog\n",
    )
    task = target({"a.jpg": (8, 6)}, labels("Cat", "Dog"))
    sink, report = good({TAGS: "ImageID,LabelName\na,/m/1\n", name: table}, task)
    assert report.problems() == []
    assert report.summary["files"][name] == "class names, kept as they are"
    members = read_zip(exported(MemorySource.of_sink(sink, task.frames), task)[0])
    assert members[name].decode() == table
    assert members[CLASSES].decode() == "/m/1,Cat\n/m/2,Dog\n"


@pytest.mark.parametrize("table", ["/m/1,Cat\n", "/m/1,Cat,\n/m/2,Dog,,\n"])
def test_a_class_file_of_names_alone_is_not_kept_beside(table: str) -> None:
    task = target({"a.jpg": (8, 6)}, labels("Cat", "Dog"))
    sink, _ = good({TAGS: "ImageID,LabelName\na,/m/1\n", CLASSES: table}, task)
    assert list(sink.document["files"]) == []


def test_blanks_around_a_label_are_named_as_the_reason() -> None:
    task = target({"a.jpg": (8, 6)}, labels("Cat"))
    _, report = imported({TAGS: "ImageID,LabelName\na, /m/1\n", CLASSES: "/m/1,Cat\n"}, task)
    (problem,) = report.errors
    assert (problem.code, problem.value, problem.suggestion) == ("label.unknown", " /m/1", "/m/1")
    assert "blanks around it" in problem.message
