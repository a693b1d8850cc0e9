"""The hierarchy: what is a tree, and where it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.errors import Report
from app.formats.open_images.hierarchy import MAX_DEPTH, MAX_NODES, default_hierarchy, read_hierarchy, unknown_labels


def read(data: bytes) -> tuple[Any, list[tuple[str, int | None, str | None]]]:
    report = Report()
    return read_hierarchy(data, "h.json", report), [(p.code, p.row, p.column) for p in report.errors]


def test_the_text_and_the_names_below_the_root() -> None:
    text = '{"LabelName":"/m/e","Subcategory":[{"LabelName":"a","Part":[{"LabelName":"b"}]},{"LabelName":"a"}],"x":1}'
    found, problems = read(text.encode())
    assert problems == []
    assert found == (text, ["a", "b", "a"])


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    found, _ = read(b'\xef\xbb\xbf{"LabelName": "r"}')
    assert found[0] == '{"LabelName": "r"}'


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"LabelName":\n"a",\n"x"}', ("hierarchy.bad_json", 3, None)),
        (b"", ("hierarchy.bad_json", 1, None)),
        (b'{"LabelName": "NaN",\n"x": NaN}', ("hierarchy.bad_json", 2, None)),
        (b'{"LabelName": "a", "x": [-Infinity]}', ("hierarchy.bad_json", 1, None)),
        (b'{"LabelName":\n"\xff"}', ("hierarchy.bad_json", 2, None)),
        (b'{"LabelName":"a","x":' + b"9" * 5000 + b"}", ("hierarchy.bad_json", None, None)),
        (b"[]", ("hierarchy.bad_node", None, "$")),
        (b"{}", ("hierarchy.bad_node", None, "$")),
        (b'{"LabelName":7}', ("hierarchy.bad_node", None, "$")),
        (b'{"LabelName":"a","Part":{}}', ("hierarchy.bad_node", None, "$.Part")),
        (b'{"LabelName":"a","Subcategory":[{"LabelName":"b"},5]}', ("hierarchy.bad_node", None, "$.Subcategory[1]")),
        (b'{"LabelName":"a","Subcategory":[null]}', ("hierarchy.bad_node", None, "$.Subcategory[0]")),
    ],
)
def test_what_is_no_tree(data: bytes, problem: tuple[str, int | None, str | None]) -> None:
    found, problems = read(data)
    assert found is None
    assert problems == [problem]


def nested(depth: int) -> bytes:
    return b'{"LabelName":"a","Subcategory":[' * depth + b'{"LabelName":"a"}' + b"]}" * depth


def test_the_depth_is_limited_before_parsing() -> None:
    assert read(nested(MAX_DEPTH - 1))[1] == []
    assert read(nested(MAX_DEPTH + 1))[1] == [("hierarchy.too_big", None, None)]
    assert read(b"[" * 1_000_000)[1] == [("hierarchy.too_big", None, None)]
    assert read(b'{"LabelName":"' + b"[" * 1000 + b'"}')[1] == []


def test_the_number_of_nodes_is_limited() -> None:
    tree = {"LabelName": "r", "Subcategory": [{"LabelName": "a"}] * MAX_NODES}
    assert read(json.dumps(tree).encode())[1] == [("hierarchy.too_big", None, None)]


def test_the_default_root_is_no_label() -> None:
    assert json.loads(default_hierarchy([])) == {"LabelName": "/m/0", "Subcategory": []}
    assert json.loads(default_hierarchy(["/m/0", "/m/1", "x"]))["LabelName"] == "/m/2"


def test_unknown_labels_are_named_once() -> None:
    assert unknown_labels(["a", "b", "b", "c"], {"a"}) == ["b", "c"]
