"""Tables expanded along the hierarchy: what the evaluation of the challenges reads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.annotations import Annotations
from app.formats import ExportOptions
from app.formats.open_images.expansion import Expansion
from tests.formats.builders import exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, HIERARCHY, LIST, LIST_HEADER, TAG_HEADER, TAGS

TREE = {
    "LabelName": "/m/root",
    "Subcategory": [
        {
            "LabelName": "/m/animal",
            "Subcategory": [
                {"LabelName": "/m/mammal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]},
                {"LabelName": "/m/pet", "Subcategory": [{"LabelName": "/m/cat"}], "Part": [{"LabelName": "/m/tail"}]},
            ],
        },
        {"LabelName": "/m/oak"},
    ],
}
NAMES = {"cat": "Cat", "dog": "Dog", "animal": "Animal", "mammal": "Mammal", "pet": "Pet", "oak": "Oak", "tail": "Tail"}
WHERE = target({"a.jpg": (8, 8), "b.jpg": (8, 8)}, labels(*NAMES.values()))
FULL = "0,1,0,1,0,0,0,0,0"
MEMBERS: dict[str, str | bytes] = {
    CLASSES: "".join(f"/m/{mid},{name}\n" for mid, name in NAMES.items()),
    HIERARCHY: json.dumps(TREE),
    LIST: LIST_HEADER + "a,train,,,,,,,,,,\nb,train,,,,,,,,,,\n",
    BOXES: BOX_HEADER.strip() + ",more\n" + f"a,x,/m/cat,1,{FULL},m\na,x,/m/cat,1,{FULL},m\nb,x,/m/oak,1,{FULL},\n",
    TAGS: TAG_HEADER + "a,v,/m/cat,1\na,v,/m/mammal,1\na,v,/m/pet,0\nb,v,/m/animal,0\nb,v,/m/dog,0\nb,v,/m/dog,0.7\n",
}


def test_ancestors_and_descendants() -> None:
    expansion = Expansion(json.dumps(TREE))
    assert expansion.ancestors["/m/cat"] == ("/m/mammal", "/m/pet", "/m/animal")
    assert expansion.ancestors["/m/animal"] == ()
    assert expansion.descendants["/m/animal"] == ("/m/mammal", "/m/pet", "/m/cat", "/m/dog")
    assert "/m/tail" not in expansion.ancestors
    assert "/m/root" not in expansion.ancestors


def test_a_class_below_itself_ends() -> None:
    below = {"LabelName": "b", "Subcategory": [{"LabelName": "a"}]}
    ring = {"LabelName": "r", "Subcategory": [{"LabelName": "a", "Subcategory": [below]}]}
    expansion = Expansion(json.dumps(ring))
    assert (expansion.ancestors, expansion.descendants) == ({"a": ("b",), "b": ("a",)}, {"a": ("b",), "b": ("a",)})


@pytest.mark.parametrize("batch_frames", [0, 1, 2])
def test_rows_are_copied_along_the_hierarchy(batch_frames: int) -> None:
    sink = good(MEMBERS, WHERE)[0]
    source = MemorySource.of_sink(sink, WHERE.frames, batch_frames=batch_frames)
    found = read_zip(exported(source, WHERE, expand="hierarchy")[0])
    boxes = [f"a,x,/m/{name},1,{FULL}" for name in ("cat", "mammal", "pet", "animal")]
    assert found[BOXES].decode() == BOX_HEADER + "".join(
        f"{line}\n" for line in [*boxes, *boxes, f"b,x,/m/oak,1,{FULL}"]
    )
    assert found[TAGS].decode().splitlines()[1:] == [
        "a,v,/m/cat,1",
        "a,v,/m/pet,1",
        "a,v,/m/animal,1",
        "a,v,/m/mammal,1",
        "a,v,/m/pet,0",
        "a,v,/m/cat,0",
        "b,v,/m/dog,0.7",
        "b,v,/m/mammal,0.7",
        "b,v,/m/animal,0.7",
        "b,v,/m/animal,0",
        "b,v,/m/mammal,0",
        "b,v,/m/pet,0",
        "b,v,/m/cat,0",
        "b,v,/m/dog,0",
    ]
    assert json.loads(found[HIERARCHY]) == TREE


def test_names_are_expanded_by_names() -> None:
    sink = good(MEMBERS, WHERE)[0]
    found = read_zip(exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, expand="hierarchy", label_ids="name")[0])
    assert [line.split(",")[2] for line in found[BOXES].decode().splitlines()[1:5]] == [
        "Cat",
        "Mammal",
        "Pet",
        "Animal",
    ]


def test_classes_that_only_copies_have_are_declared() -> None:
    where = target({"a.jpg": (8, 8)}, labels("Cat"))
    members = {CLASSES: "/m/cat,Cat\n", HIERARCHY: json.dumps(TREE), TAGS: TAG_HEADER + "a,v,/m/cat,1\n"}
    sink = good(members, where)[0]
    found = read_zip(exported(MemorySource.of_sink(sink, where.frames), where, expand="hierarchy")[0])
    assert found[CLASSES].decode() == "/m/cat,Cat\n/m/mammal,/m/mammal\n/m/pet,/m/pet\n/m/animal,/m/animal\n"


def test_without_a_hierarchy_nothing_is_expanded() -> None:
    where = target({"a.jpg": (8, 8)}, labels("Cat"))
    _, report = exported(MemorySource(Annotations(), where.frames), where, expand="hierarchy")
    assert report.counts == {"export.unsupported": 1}
    assert ExportOptions().expand == "none"


def test_large_tables_are_those_of_the_plain_loop() -> None:
    random = np.random.default_rng(5)
    names = [f"/m/{mid}" for mid in NAMES]
    rows = sorted(
        (int(random.integers(0, 2)), names[random.integers(0, 7)], int(random.integers(0, 2))) for _ in range(200)
    )
    members = MEMBERS | {TAGS: TAG_HEADER + "".join(f"{'ab'[i]},v,{name},{sign}\n" for i, name, sign in rows)}
    sink = good(members, WHERE)[0]
    found = read_zip(exported(MemorySource.of_sink(sink, WHERE.frames), WHERE, expand="hierarchy")[0])
    expansion = Expansion(json.dumps(TREE))
    expected: set[tuple[str, str, str]] = set()
    for image, name, sign in rows:
        relatives = expansion.ancestors if sign else expansion.descendants
        expected |= {("ab"[image], other, str(sign)) for other in (name, *relatives.get(name, ()))}
    written = [line.split(",") for line in found[TAGS].decode().splitlines()[1:]]
    assert {(image, name, sign) for image, _, name, sign in written} == expected
    originals = [("ab"[image], name, str(sign)) for image, name, sign in rows]
    assert len(written) == len(originals) + len(expected - set(originals))
