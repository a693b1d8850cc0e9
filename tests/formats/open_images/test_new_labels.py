"""Which labels an archive needs that a target has not, and what they declare."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Shapes, ShapeType
from app.columns import Ragged, Texts
from app.formats import ImportOptions, NewLabel
from app.formats.base import ListText
from app.operations import with_labels
from tests.desk import Desk
from tests.formats.builders import OPEN_IMAGES, exported, good, labels, opened, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, MASK_HEADER, TAG_HEADER, TAGS, rectangle_png
from tests.formats.open_images.test_points import HEADER as POINT_HEADER
from tests.formats.open_images.test_points import POINTS

WHERE = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("Cat"), subset="train")
LONG = "x" * 65
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: f"/m/cat,Cat\n/m/dog,Dog\n/m/dog2,Dog\n/m/far,Far\n/m/none,Nobody\n/m/long,{LONG}\n",
    BOXES: BOX_HEADER
    + "a,x,/m/dog,1,0,1,0,1,0,0,0,0,0\na,x,/m/cat,1,0,1,0,1,0,0,0,0,0\nzz,x,/m/far,1,0,1,0,1,0,0,0,0,0\n",
    TAGS: "ImageID,LabelName,Confidence\nb,/m/dog2,1\nb,/m/long,0\nb,Plain,1\n",
    POINTS: POINT_HEADER + "a,0,0,/m/dog,,,,,,\n",
    "annotations/train-annotations-machine-imagelabels.csv": TAG_HEADER + "a,machine,/m/none,0.5\n",
}


def found(members: dict[str, str | bytes] = ARCHIVE, **options: Any) -> list[NewLabel]:
    assert OPEN_IMAGES.new_labels is not None
    return OPEN_IMAGES.new_labels(opened(members), WHERE, ImportOptions(labels="create", **options))


def names(made: list[NewLabel]) -> dict[str, tuple[str, ...]]:
    return {label.name: label.words for label in made}


def test_rows_of_the_targets_images_tell_what_is_missing() -> None:
    made = found()
    # A name too long for a label falls back to what the rows say.
    assert names(made) == {"Dog": ("/m/dog", "/m/dog2"), "/m/long": ("/m/long",), "Plain": ("Plain",)}
    dog = {spec.name: (spec.input_type, spec.default_value) for spec in made[0].attributes}
    flags = ("truncated", "is_group_of", "is_depiction", "is_inside")
    texts = ("score", "source", "estimated_yes_no", "yes_votes", "no_votes", "unsure_votes", "text_label")
    assert dog == dict.fromkeys(flags, ("checkbox", "false")) | dict.fromkeys(texts, ("text", ""))
    assert [spec.name for spec in made[2].attributes] == ["score"]


def test_machine_labels_count_where_they_become_tags() -> None:
    assert "Nobody" in names(found(machine_labels="tags"))


def test_mapped_words_make_their_own_label_or_none() -> None:
    made = names(found(map=ListText("label:Dog=Pet,label:Plain=Cat,label:/m/long=Short")))
    assert made == {"Pet": ("/m/dog", "/m/dog2"), "Short": ("/m/long",)}


def test_with_them_everything_is_read_and_comes_back() -> None:
    members = {name: data for name, data in ARCHIVE.items() if name != BOXES}
    where = with_labels(WHERE, found(members))
    sink, report = good(members, where)
    assert "label.unknown" not in report.counts
    assert sink.document["mids"][str(where.labels.by_name["Dog"].id)] == "/m/dog"
    written = read_zip(exported(MemorySource.of_sink(sink, where.frames), where)[0])
    assert written[POINTS].decode() == members[POINTS]
    assert "b,,/m/long,0" in written[TAGS].decode(), "a negative label is a tag with its score, as the label has one"
    assert len(sink.annotations().tags) == 3


def test_masks_declare_what_their_table_has() -> None:
    table = "annotations/train-annotations-object-segmentation.csv"
    members: dict[str, str | bytes] = {
        table: MASK_HEADER + "m.png,a,Owl,00,,,,,0.5,\n",
        "masks/train/m.png": rectangle_png(8, 8, 0, 0, 2, 2),
    }
    assert [(made.name, [spec.name for spec in made.attributes]) for made in found(members)] == [
        ("Owl", ["box_id", "predicted_iou"])
    ]


def test_shapes_that_only_the_side_file_has_need_their_label_too() -> None:
    whole = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels("Road", "Cat"), subset="train")
    line = Shapes.empty(1).replace(
        types=np.array([ShapeType.POLYLINE], dtype=np.uint8),
        label_ids=np.array([1], dtype=np.int32),
        points=Ragged.from_arrays([[0.0, 0.0, 5.0, 5.0]], np.float64),
        attributes=Texts.from_list(["[]"]),
    )
    members = read_zip(exported(MemorySource(Annotations(shapes=line), whole.frames), whole)[0])
    made = found(dict(members))
    assert names(made) == {"Road": ()}
    sink, _ = good(dict(members), with_labels(WHERE, made))
    assert sink.annotations().shapes.types.tolist() == [ShapeType.POLYLINE]


def test_what_changes_along_a_track_is_declared_so(tmp_path: Path) -> None:
    mood = {"name": "mood", "mutable": True, "input_type": "text", "values": [""]}
    note = {"name": "note", "mutable": False, "input_type": "text", "values": [""]}
    with Desk(tmp_path) as desk:
        frames = {"a.jpg": (8, 8), "b.jpg": (8, 8)}
        task, other = desk.task(frames, [{"name": "cat", "attributes": [mood, note]}]), desk.task(frames, [])
        cat = task.labels()["cat"]
        ids = {spec["name"]: spec["id"] for spec in cat["attributes"]}
        look = {"type": "rectangle", "points": [1, 1, 5, 5], "outside": False, "occluded": False, "z_order": 0}
        keys = [
            {**look, "frame": at, "attributes": [{"spec_id": ids["mood"], "value": value}]}
            for at, value in enumerate(("calm", "wild"))
        ]
        said = [{"spec_id": ids["note"], "value": "x"}]
        task.put(tracks=[{"frame": 0, "label_id": cat["id"], "attributes": said, "shapes": keys}])
        other.bring(task.export_zip(), labels="create")
        (made,) = other.labels().values()
        assert {spec["name"]: spec["mutable"] for spec in made["attributes"]}.items() >= {
            "mood": True,
            "note": False,
        }.items()
        (track,) = other.annotations()["tracks"]
        names = {spec["id"]: spec["name"] for spec in made["attributes"]}
        told = [{names[one["spec_id"]]: one["value"] for one in key["attributes"]} for key in track["shapes"]]
        assert [one["mood"] for one in told] == ["calm", "wild"]
        assert {names[one["spec_id"]]: one["value"] for one in track["attributes"]}["note"] == "x"


def test_what_cannot_be_read_is_left_to_the_reader() -> None:
    assert found({"notes.txt": "x"}) == []
    assert names(found({**ARCHIVE, BOXES: "no;header\n1;2\n"})).keys() >= {"Plain"}
    assert found({**ARCHIVE}, max_rows=1) == []
    assert isinstance(found({**ARCHIVE, "annotations/oid_extra.json": b'{"version":1,"entries":[7]}'}), list)
    assert MemorySink().batches == []


@pytest.mark.parametrize("display", ["D\to", "Do\x7f", "D\u0085o", " Do", "Do ", '"D\no"', LONG, ""], ids=repr)
def test_a_display_name_that_no_label_can_have_is_not_taken(display: str) -> None:
    members = {CLASSES: f"/m/dog,{display}\n", BOXES: BOX_HEADER + "a,x,/m/dog,1,0,1,0,1,0,0,0,0,0\n"}
    assert [label.name for label in found(members)] == ["/m/dog"]


def test_labels_of_any_number_share_what_they_declare() -> None:
    many = "".join(f"a,x,Kind {at},1,0,1,0,1,0,0,0,0,0\n" for at in range(5_000))
    found({BOXES: BOX_HEADER + many[:1_000]})  # what is made once
    tracemalloc.start()
    try:
        before, made = tracemalloc.get_traced_memory()[0], found({BOXES: BOX_HEADER + many})
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(made) == 5_000
    assert len({label.attributes for label in made}) == 1
    assert held < 500 * len(made)
