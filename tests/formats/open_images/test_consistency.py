"""Consistency rules: each finds what breaks it at its row and nothing in a sound archive, and can be left out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from app import spools
from app.errors import InvalidInput, Report
from app.formats import RULES, parse_rules
from app.formats.open_images import consistency, parted_rows
from app.formats.open_images.consistency import Consistency, classes_above, overlaps
from tests.formats.builders import imported, labels, target
from tests.samples import mask_png

BOXES = "annotations/train-annotations-bbox.csv"
TAGS = "annotations/train-annotations-human-imagelabels.csv"
MASKS = "annotations/train-annotations-object-segmentation.csv"
CLASSES = "annotations/class-descriptions.csv"
HIERARCHY = "annotations/bbox_labels_600_hierarchy.json"
TREE = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]}],
}


def png(left: int, top: int, right: int, bottom: int) -> bytes:
    mask = np.zeros((80, 100), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask_png(mask)


def sound() -> dict[str, Any]:
    """Rows by table; the frame has 100 x 80 pixels."""
    return {
        "boxes": ["a,x,/m/cat,1,0.1,0.5,0.1,0.5,0,0,0,0,0", "a,x,/m/dog,1,0.6,0.9,0.6,0.9,0,0,0,0,0"],
        "tags": ["a,v,/m/cat,1", "a,v,/m/dog,1", "b,v,/m/cat,0"],
        "masks": [("/m/cat", "0.1,0.5,0.1,0.5", png(10, 8, 50, 40))],
        "classes": ["/m/animal,Animal", "/m/cat,Cat", "/m/dog,Dog"],
    }


def members(told: dict[str, Any]) -> dict[str, str | bytes]:
    masks = [f"{place}.png,a,{label},{place},{box},," for place, (label, box, _) in enumerate(told["masks"])]
    tables = {
        BOXES: ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
                "IsDepiction,IsInside", *told["boxes"]],
        TAGS: ["ImageID,Source,LabelName,Confidence", *told["tags"]],
        MASKS: ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks", *masks],
        CLASSES: told["classes"],
    }  # fmt: skip
    found: dict[str, str | bytes] = {name: "\n".join(rows) + "\n" for name, rows in tables.items()}
    found |= {f"masks/train/{place}.png": body for place, (_, _, body) in enumerate(told["masks"])}
    return found | {HIERARCHY: json.dumps(TREE)}


def read_report(members: dict[str, str | bytes], rules: str, **options: Any) -> Report:
    where = target({"a.png": (100, 80), "b.png": (100, 80)}, labels("Cat", "Dog", "Animal", "Bird"))
    return imported(members, where, rules=rules, **options)[1]


def told_of(told: dict[str, Any], rules: str = "all", **options: Any) -> list[tuple[Any, ...]]:
    report = read_report(members(told), rules, **options)
    assert report.errors == []
    return [(p.code, p.file, p.row, p.column) for p in report.warnings if p.code.startswith("rule.")]


BROKEN: dict[str, tuple[str, Any, tuple[Any, ...]]] = {
    "mask_without_box": ("masks", ("/m/dog", ",,,", png(60, 50, 90, 70)), (MASKS, 3, "BoxID")),
    "mask_outside_box": ("masks", ("/m/dog", "0.6,0.9,0.6,0.9", png(60, 30, 90, 72)), (MASKS, 3, "BoxXMin")),
    "mask_far_from_box": ("masks", ("/m/dog", "0.6,0.9,0.6,0.9", png(60, 48, 70, 58)), (MASKS, 3, "BoxXMin")),
    "box_without_label": ("boxes", "a,x,Bird,1,0,0.1,0,0.1,0,0,0,0,0", (BOXES, 4, "LabelName")),
    "negative_with_box": ("tags", "a,v,/m/bird,0", (TAGS, 5, "Confidence")),
    "contradicting_labels": ("tags", "a,w,/m/dog,0", (TAGS, 5, "Confidence")),
    "duplicate_box": ("boxes", "a,x,/m/cat,1,0.101,0.5,0.1,0.5,0,0,0,0,0", (BOXES, 4, "XMin")),
    "parent_and_child": ("boxes", "a,x,/m/animal,1,0.1,0.5,0.1,0.51,0,0,0,0,0", (BOXES, 4, "LabelName")),
    "unused_class": ("classes", "/m/fish,Fish", (CLASSES, None, None)),
}


def broken(rule: str) -> dict[str, Any]:
    told = sound()
    kind, row, _ = BROKEN[rule]
    told[kind].append(row)
    if rule in ("box_without_label", "negative_with_box"):
        told["classes"].append("/m/bird,Bird" if rule == "negative_with_box" else "Bird,Bird")
    if rule == "negative_with_box":
        told["boxes"].append("a,x,/m/bird,1,0,0.1,0,0.1,0,0,0,0,0")
        told["tags"].insert(0, "a,v,/m/bird,1")
        told["tags"].append(told["tags"].pop(1))
    return told


def test_a_sound_archive_keeps_all_rules_but_an_unused_parent() -> None:
    assert told_of(sound()) == [("rule.unused_class", CLASSES, None, None)]
    assert told_of(sound(), "all,-unused_class") == []
    assert told_of(sound(), "all,-unused_class", conv_mask_to_poly=True) == []


@pytest.mark.parametrize("rule", ["mask_without_box", "mask_outside_box", "mask_far_from_box", "box_without_label",
                                  "contradicting_labels", "duplicate_box", "parent_and_child"])  # fmt: skip
@pytest.mark.parametrize("conv", [False, True], ids=["masks", "polygons"])
def test_a_broken_rule_is_told_at_its_row(rule: str, conv: bool) -> None:
    found = told_of(broken(rule), rule, conv_mask_to_poly=conv)
    assert found == [(f"rule.{rule}", *BROKEN[rule][2])]
    everything = {code for code, *_ in told_of(broken(rule), conv_mask_to_poly=conv)}
    assert f"rule.{rule}" in everything
    assert told_of(broken(rule), f"all,-{rule},-unused_class,-mask_outside_box,-negative_with_box") == []
    assert told_of(broken(rule), "") == []


def test_a_box_of_what_is_verified_absent_names_the_box() -> None:
    told = sound()
    told["tags"].append("a,v,/m/animal,0")
    report = read_report(members(told), "negative_with_box")
    problem = next(one for one in report.warnings if one.code == "rule.negative_with_box")
    assert (problem.file, problem.row, problem.column, problem.value) == (TAGS, 5, "Confidence", "/m/animal")
    assert f'{BOXES}:2 is a box of "Cat"' in problem.message


def test_unused_classes_are_counted() -> None:
    told = sound()
    told["classes"] += [f"/m/{number},class {number}" for number in range(20)]
    report = read_report(members(told), "unused_class")
    assert report.counts["rule.unused_class"] == 21
    assert sum(one.code == "rule.unused_class" for one in report.warnings) == 5


def test_rules_are_switched_one_by_one_and_as_a_group() -> None:
    assert parse_rules("") == parse_rules("none") == parse_rules("all,none") == frozenset()
    assert parse_rules("all") == frozenset(RULES)
    assert parse_rules("all, -unused_class") == frozenset(RULES) - {"unused_class"}
    assert parse_rules("duplicate_box\nunused_class,-duplicate_box") == {"unused_class"}
    with pytest.raises(InvalidInput, match="did you mean duplicate_box"):
        parse_rules("duplicate_boxes")


def test_classes_above_follow_every_way_up() -> None:
    tree = {"LabelName": "r", "Subcategory": [{"LabelName": "a", "Subcategory": [{"LabelName": "c"}]},
                                              {"LabelName": "b", "Subcategory": [{"LabelName": "c"}]}]}  # fmt: skip
    above = classes_above(json.dumps(tree), ("c", "b", "a", "other"))
    assert [codes.tolist() for codes in above] == [[1, 2], [], [], []]
    assert [codes.tolist() for codes in classes_above(None, ("c",))] == [[]]


def test_rows_that_wait_on_disk_are_told_as_if_they_had_not(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    n = 3000
    corners = np.sort(random.integers(0, 4, (n, 2, 2)) / 4 + 0.0, axis=1).reshape(n, 4)
    frames, codes = random.integers(0, 200, n).astype(np.int32), random.integers(0, 3, n).astype(np.int32)
    shares = random.integers(0, 2, n) + 0.0
    tree = json.dumps({"LabelName": "r", "Subcategory": [{"LabelName": "a", "Subcategory": [{"LabelName": "b"}]}]})

    def told() -> dict[str, Any]:
        report = Report()
        checks = Consistency(frozenset(RULES), report)
        for at in range(0, n, 500):
            rows, lines = slice(at, at + 500), np.arange(at, at + 500, dtype=np.int64)
            boxes = corners[rows][:, [0, 2, 1, 3]]
            checks.add_boxes(f"b{at // 1500}.csv", lines, frames[rows], codes[rows], boxes)
            checks.add_tags("t.csv", lines, frames[rows], codes[rows], shares[rows])
        checks.tell(("a", "b", "c"), {}, "", tree)
        return report.to_dict()

    in_memory = told()
    monkeypatch.setattr(parted_rows, "STRETCH_ROWS", 30)
    monkeypatch.setattr(spools, "SPOOL_BYTES", 100)
    assert told() == in_memory
    monkeypatch.setattr(consistency, "PARTS", 1)
    monkeypatch.setattr(parted_rows, "PARTS", 1)
    assert told() == in_memory
    assert {"rule.duplicate_box", "rule.parent_and_child", "rule.negative_with_box"} <= set(in_memory["counts"])


def slow_overlap(one: list[float], two: list[float]) -> float:
    width, height = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    common = max(width, 0.0) * max(height, 0.0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)) - common
    return common / total if total > 0 else 0.0


@pytest.mark.parametrize("size", [0, 1, 120])
def test_twins_are_those_of_a_plain_search(size: int) -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        corners = np.sort(random.integers(0, 5, (size, 2, 2)) / 4 + 0.0, axis=1).reshape(size, 4)
        frames, codes = random.integers(0, 3, size).astype(np.int32), random.integers(0, 2, size).astype(np.int32)
        report = Report(limit=1000)
        checks = Consistency(frozenset({"duplicate_box"}), report)
        checks.add_boxes("b.csv", np.arange(size, dtype=np.int64), frames, codes, corners[:, [0, 2, 1, 3]])
        checks.tell(("x", "y"), {}, "", None)
        keys = sorted(range(size), key=lambda row: (frames[row], codes[row], corners[row, 0], row))
        expected = 0
        for place, row in enumerate(keys):
            expected += any(
                (frames[row], codes[row]) == (frames[other], codes[other])
                and slow_overlap(corners[row].tolist(), corners[other].tolist()) >= consistency.SAME_OVERLAP
                for other in keys[:place]
            )
        assert report.counts.get("rule.duplicate_box", 0) == expected
        others = random.permutation(size)
        found = overlaps(corners, corners[others])
        assert found.tolist() == pytest.approx(
            [slow_overlap(one.tolist(), two.tolist()) for one, two in zip(corners, corners[others], strict=True)]
        )


def test_of_boxes_beside_each_other_only_those_of_one_height_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    n_compared, size = 0, 600

    def counted(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        nonlocal n_compared
        n_compared += len(one)
        return overlaps(one, two)

    monkeypatch.setattr(consistency, "overlaps", counted)
    random = np.random.default_rng(1)
    tops = np.repeat(np.arange(size // 4) / 200, 4) + random.random(size) * 0.02  # four that nearly lie on each other
    sides = 0.5 + random.random((size, 2)) * 0.01
    corners = np.stack([np.zeros(size), tops, sides[:, 0], tops + sides[:, 1]], axis=1)
    report = Report(limit=1000)
    checks = Consistency(frozenset({"duplicate_box"}), report)
    same = np.zeros(size, dtype=np.int32)
    checks.add_boxes("b.csv", np.arange(size, dtype=np.int64), same, same, corners[:, [0, 2, 1, 3]])
    checks.tell(("x",), {}, "", None)
    expected = sum(
        any(slow_overlap(corners[row].tolist(), corners[other].tolist()) >= consistency.SAME_OVERLAP for other in near)
        for row in range(size)
        for near in [range(max(0, row - consistency.NEIGHBOURS + 1), row)]
    )
    assert report.counts["rule.duplicate_box"] == expected > 50
    assert n_compared < 30 * size
