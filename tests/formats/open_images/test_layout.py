"""What each entry of an archive is taken for."""

from __future__ import annotations

import pytest

from app.errors import Report
from app.formats.open_images.layout import accepts, classify, lay_out, looks_into, nearest_name, unzipped


@pytest.mark.parametrize(
    ("path", "kind", "subset"),
    [
        ("annotations/image_ids_and_rotation.csv", "images", None),
        ("metadata/image_ids.csv", "images", None),
        ("annotations/train-image_ids_and_rotation.csv", "images", "train"),
        ("train-images-boxable-with-rotation.csv", "images", "train"),
        ("validation-images-with-rotation.csv", "images", "validation"),
        ("oidv6-train-images-with-labels-with-rotation.csv", "images", "train"),
        ("train-images-with-bbox.csv", "images", "train"),
        ("test-images.csv", "images", "test"),
        ("train-annotations-bbox.csv", "boxes", "train"),
        ("oidv6-train-annotations-bbox.csv", "boxes", "train"),
        ("OIDV6-Train-Annotations-BBOX.CSV", "boxes", "Train"),
        ("train-annotations-human-bbox.csv", "boxes", "train"),
        ("my-set-annotations-bbox.csv", "boxes", "my-set"),
        ("labels/detections.csv", "boxes", None),
        ("oidv7-val-annotations-human-imagelabels.csv", "tags", "val"),
        ("train-annotations-human-imagelabels-boxable.csv", "tags", "train"),
        ("x/labels/classifications.csv", "tags", None),
        ("oidv7-train-annotations-machine-imagelabels.csv", "machine", "train"),
        ("test-annotations-object-segmentation.csv", "masks", "test"),
        ("masks_data.csv", "masks", None),
        ("oidv7-val-annotations-point-labels.csv", "points", "val"),
        ("labels/points.csv", "points", None),
        ("oidv6-train-annotations-vrd.csv", "relationships", "train"),
        ("labels/relationships.csv", "relationships", None),
        ("challenge-2019-train-vrd.csv", "relationships", "train"),
        ("open_images_train_v6_localized_narratives-00000-of-00010.jsonl", "narratives", None),
        ("open_images_validation_captions.jsonl", "narratives", None),
        ("labels/segmentations.csv", "masks", None),
        ("challenge-2018-train-annotations-bbox.csv", "boxes", "train"),
        ("challenge-2019-train-detection-bbox.csv", "boxes", "train"),
        ("challenge-2019-validation-detection-human-imagelabels.csv", "tags", "validation"),
        ("challenge-2019-train-segmentation-labels.csv", "tags", "train"),
        ("challenge-2019-train-segmentation-bbox.csv", "boxes", "train"),
        ("challenge-2019-train-segmentation-masks.csv", "masks", "train"),
        ("challenge-2019-classes-description-500.csv", "classes", None),
        ("challenge-2019-classes-description-segmentable.csv", "classes", None),
        ("challenge-2019-classes-vrd.csv", "classes", None),
        ("challenge-2018-train-vrd-labels.csv", "tags", "train"),
        ("train/labels/detections.csv", "boxes", "train"),
        ("open-images-v7/validation/metadata/image_ids.csv", "images", "validation"),
        ("2018_04/train/train-annotations-bbox.csv", "boxes", "train"),
        ("class-descriptions.csv", "classes", None),
        ("oidv7-class-descriptions-boxable.csv", "classes", None),
        ("metadata/classes.csv", "classes", None),
        ("bbox_labels_600_hierarchy.json", "hierarchy", None),
        ("challenge-2019-label500-hierarchy.json", "hierarchy", None),
        ("annotations/images.meta", "sizes", None),
        ("annotations/oid_extra.json", "side", None),
    ],
)
def test_a_table_is_known_by_its_name(path: str, kind: str, subset: str | None) -> None:
    table = classify(path)
    assert table is not None
    assert (table.kind, table.subset) == (kind, subset)


@pytest.mark.parametrize(
    "path",
    [
        "oidv6-relationship-triplets.csv",
        "oidv7-train-annotations-points.csv",
        "challenge-2018-image-ids-valset-vrd.csv",
        "challenge-2019-relationships-description.csv",
        "notes.jsonl",
        "train-detection-bbox.csv",
        "classes.csv",
        "detections.csv",
        "-annotations-bbox.csv",
        "annotations/dataset_meta.json",
        "classes.txt",
    ],
)
def test_another_name_is_no_table(path: str) -> None:
    assert classify(path) is None


def test_the_rest_is_pictures_masks_clutter_or_kept() -> None:
    report = Report()
    layout = lay_out(
        [
            "annotations/train-annotations-bbox.csv",
            "images/train/a.JPG",
            "images/train/b.png",
            "images/train/masks/c.png",
            "images/train/x-masks-0/c.png",
            "images/masks/d.png",
            "masks/images/masks/e.png",
            "masks/train/a_m0_0.png",
            "train-masks-f/f_m0_0.png",
            "labels/masks/A/a.png",
            "notes.txt",
            "__MACOSX/annotations/._x.csv",
            "annotations/._train-annotations-bbox.csv",
            ".DS_Store",
            "images/Thumbs.db",
            "desktop.ini",
        ],
        report,
    )
    assert report.problems() == []
    assert layout.masks == [
        "images/masks/d.png",
        "labels/masks/A/a.png",
        "masks/images/masks/e.png",
        "masks/train/a_m0_0.png",
        "train-masks-f/f_m0_0.png",
    ]
    assert layout.pictures == [
        "images/train/a.JPG",
        "images/train/b.png",
        "images/train/masks/c.png",
        "images/train/x-masks-0/c.png",
    ]
    assert layout.kept == ["notes.txt"]
    assert layout.root == ""


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["x/train-annotations-bbox.csv", "captions/a_captions.jsonl"], "x/"),
        (["annotations/train-annotations-bbox.csv"], ""),
        (["upload/annotations/train-annotations-bbox.csv", "upload/annotations/images.meta"], "upload/"),
        (["train-annotations-bbox.csv"], ""),
        (["fo/labels/detections.csv", "fo/metadata/classes.csv"], "fo/"),
    ],
)
def test_the_root_holds_all_tables(names: list[str], root: str) -> None:
    assert lay_out(names, Report()).root == root


def test_one_hierarchy_is_read_and_others_are_kept() -> None:
    layout = lay_out(
        ["a/class-descriptions.csv", "a/bbox_labels_600_hierarchy.json", "a/challenge-hierarchy.json"], Report()
    )
    assert [table.path for table in layout.of("hierarchy")] == ["a/bbox_labels_600_hierarchy.json"]
    assert layout.kept == ["a/challenge-hierarchy.json"]


def test_tables_of_a_challenge_repeat_those_of_the_data_set() -> None:
    names = [
        "challenge-2019-train-detection-bbox.csv",
        "challenge-2019-validation-detection-bbox.csv",
        "challenge-2019-classes-description-500.csv",
        "oidv6-train-annotations-bbox.csv",
    ]
    layout = lay_out(names, Report())
    assert layout.kept == [names[0]]
    assert [table.path for table in layout.of("boxes")] == [names[1], names[3]]


def test_fiftyone_keeps_each_split_in_a_folder() -> None:
    files = ("labels/detections.csv", "labels/segmentations.csv", "metadata/classes.csv", "metadata/image_ids.csv")
    report = Report()
    names = [f"open-images-v7/{split}/{file}" for split in ("train", "validation") for file in files]
    layout = lay_out(names, report)
    assert report.problems() == []
    assert layout.root == "open-images-v7/"
    report = Report()
    lay_out([f"{name}/{file}" for name in ("one", "two") for file in files], report)
    assert {problem.code for problem in report.errors} == {"layout.several_roots"}


def test_class_files_may_lie_in_several_folders() -> None:
    report = Report()
    lay_out(["2018_04/class-descriptions.csv", "v5/class-descriptions.csv", "v5/train-annotations-bbox.csv"], report)
    assert report.problems() == []


def test_zips_of_masks_are_known_by_their_names() -> None:
    for name in (
        "train-masks-0.zip",
        "validation-masks-F.zip",
        "challenge-2019-train-masks-a.zip",
        "my-set-masks-1.ZIP",
    ):
        assert looks_into(name), name
    for name in ("upload.zip", "train-masks.zip", "train-masks-g.zip", "train-masks-00.zip", "masks-0.zip.png"):
        assert not looks_into(name), name
    assert unzipped("x/train-masks-0.zip/a.png") == "x/train-masks-0/a.png"
    assert unzipped("x/other.zip/a.png") == "x/other.zip/a.png"


def test_two_data_sets_in_one_zip() -> None:
    report = Report()
    lay_out(["one/train-annotations-bbox.csv", "two/train-annotations-bbox.csv"], report)
    assert [(p.code, p.file) for p in report.errors] == [("layout.several_roots", "two/train-annotations-bbox.csv")]


@pytest.mark.parametrize("names", [[], ["a.jpg"], ["images.meta", "bbox_labels_600_hierarchy.json"], ["x.csv"]])
def test_nothing_recognised(names: list[str]) -> None:
    report = Report()
    lay_out(names, report)
    assert [p.code for p in report.errors] == ["layout.not_found"]
    assert not accepts(names)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("train-annotation-bbox.csv", "train-annotations-bbox.csv"),
        ("x/my-set_annotations_bbox.csv", "x/my-set-annotations-bbox.csv"),
        ("train-annotations-vdr.csv", "train-annotations-vrd.csv"),
        ("a/class-description.csv", "a/class-descriptions.csv"),
        ("image.meta", "images.meta"),
        ("annotations/annotations-bbox.csv", "annotations/train-annotations-bbox.csv"),
        ("Images_With_Rotation.csv", "train-images-with-rotation.csv"),
        ("train-annotations-bbox.csv.gz", None),
        ("train-annotations-bbox.csv", None),
        ("classes.csv", None),
        ("oidv6-attributes-description.csv", None),
        ("oidv6-relationship-triplets.csv", None),
        ("README.md", None),
        ("notes.txt", None),
        ("instances_train.json", None),
    ],
)
def test_a_name_that_is_nearly_a_tables_is_told(path: str, near: str | None) -> None:
    assert nearest_name(path) == near


NARRATIVES = "open_images_validation_localized_narratives.jsonl"


@pytest.mark.parametrize("name", ["train-annotations-bbox.csv.gz", "x/oidv6-train-annotations-vrd.csv.ZIP"])
@pytest.mark.parametrize("beside", ["class-descriptions.csv", NARRATIVES, "a.jpg"])
def test_a_packed_table_is_no_empty_data_set(name: str, beside: str) -> None:
    report = Report()
    lay_out([name, beside], report)
    assert [p.code for p in report.errors] == ["layout.not_found"]
    assert f'"{name}" is not looked into: send what it holds' in report.errors[0].message
    assert report.errors[0].suggestion is None


@pytest.mark.parametrize(
    "beside", ["class-descriptions.csv", "images.meta", "hierarchy.json", "oid_extra.json", NARRATIVES]
)
def test_a_misnamed_table_is_no_empty_data_set(beside: str) -> None:
    """Taken, it would replace what the task has by nothing."""
    for name in ("train-annotation-bbox.csv", "annotations-bbox.csv", "train-annotations-bbox (1).csv"):
        report = Report()
        lay_out([name, beside], report)
        assert [p.code for p in report.errors] == ["layout.not_found"]
        assert report.errors[0].suggestion == "train-annotations-bbox.csv"
    report = Report()
    lay_out(["train-annotation-bbox.csv", "train-images-with-rotation.csv"], report)
    lay_out(["class-descriptions.csv", "notes.csv"], report)
    assert not report.errors


def test_an_archive_of_misnamed_tables_is_refused_with_the_right_name() -> None:
    report = Report()
    lay_out(["notes.txt", "train-annotation-bbox.csv"], report)
    assert report.errors[0].suggestion == "train-annotations-bbox.csv"
    assert 'Did you mean "train-annotations-bbox.csv"?' in report.errors[0].message


@pytest.mark.parametrize(
    ("one", "other", "are_versions"),
    [
        ("train-annotations-bbox.csv", "oidv6-train-annotations-bbox.csv", True),
        ("oidv6-val-annotations-human-imagelabels.csv", "x/OIDV7-val-annotations-human-imagelabels.csv", True),
        ("oidv6-train-annotations-bbox.csv", "validation-annotations-bbox.csv", False),
        ("train-annotations-human-imagelabels.csv", "train-annotations-human-imagelabels-boxable.csv", False),
        ("class-descriptions.csv", "oidv7-class-descriptions.csv", False),
        ("train-images-with-labels-with-rotation.csv", "oidv6-train-images-with-labels-with-rotation.csv", False),
    ],
)
def test_a_table_in_two_versions_is_told(one: str, other: str, are_versions: bool) -> None:
    report = Report()
    lay_out([one, other], report)
    assert [problem.code for problem in report.problems()] == ["layout.two_versions"] * are_versions
