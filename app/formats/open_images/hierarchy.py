"""The class hierarchy: checked, kept as it came, never applied to annotations.

    {"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/0", "Part": [{"LabelName": "/m/1"}]}]}

Nothing here recurses: the depth is counted in the text before it is parsed, and the tree is walked with a list.

Source: Open Images reference 3.12, 4.11; reliability: depth 32, 100,000 nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from app.errors import Report

MAX_DEPTH = 32
MAX_NODES = 100_000
VALUES_PER_NODE = 8
MAX_BYTES = 64 << 20
CHILDREN = ("Subcategory", "Part")

# Possessive, as nothing here needs a second try: else the matcher remembers every character, 120 bytes for each.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_JSON = re.compile(r"NaN|-?Infinity")
_BRACKETS = re.compile(r"[\[\]{}]")


def read_hierarchy(
    data: bytes, file: str, report: Report, *, max_depth: int = MAX_DEPTH, max_nodes: int = MAX_NODES
) -> tuple[str, list[str]] | None:
    """Check a hierarchy; None when it was refused.

    Returns:
        The text without a byte order mark, and the names of its classes below the root in order of appearance.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        report.error("hierarchy.bad_json", "not UTF-8 text; save the hierarchy as UTF-8", file=file, row=row)
        return None
    marks = _STRING.sub("", text)
    # A node nests twice: an object within a list.
    if _depth(marks) > 2 * max_depth:
        report.error("hierarchy.too_big", f"nodes nest deeper than {max_depth}", file=file)
        return None
    # Each value takes about 150 bytes once it is parsed, as small as it is in the text.
    if sum(marks.count(mark) for mark in "[{,") > VALUES_PER_NODE * max_nodes:
        report.error("hierarchy.too_big", f"more values than {max_nodes:,} nodes have", file=file)
        return None
    if (word := _NO_JSON.search(marks)) is not None:  # which Python takes, and other readers refuse
        row = marks.count("\n", 0, word.start()) + 1  # strings have no line breaks
        report.error("hierarchy.bad_json", f"{word[0]} is no JSON", file=file, row=row, value=word[0])
        return None
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        report.error("hierarchy.bad_json", f"{error.msg} at character {error.colno}", file=file, row=error.lineno)
        return None
    except ValueError as error:  # such as an integer of thousands of digits
        report.error("hierarchy.bad_json", str(error), file=file)
        return None
    names = _check_nodes(tree, file, report, max_nodes)
    return None if names is None else (text, names)


def unknown_labels(names: Iterable[str], known: Collection[str]) -> list[str]:
    """The classes of a hierarchy that nothing else in the archive or the task names."""
    return [name for name in dict.fromkeys(names) if name not in known]


def default_hierarchy(labels: Collection[str]) -> str:
    """A root without children, whose name is the first of `/m/0`, `/m/1`, … that is no label."""
    taken = frozenset(labels)
    number = next(number for number in range(len(taken) + 1) if f"/m/{number}" not in taken)
    return json.dumps({"LabelName": f"/m/{number}", "Subcategory": []})


def is_bare(text: str) -> bool:
    """Whether a checked hierarchy is a root alone, as programs write it that know of none."""
    tree = json.loads(text)
    return not any(tree.get(key) for key in CHILDREN)


def rename_classes(text: str, names: Mapping[str, str]) -> str:
    """A checked hierarchy with other names for the classes that have one."""
    tree = json.loads(text)
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        node["LabelName"] = names.get(node["LabelName"], node["LabelName"])
        waiting += [child for key in CHILDREN for child in node.get(key, ())]
    return json.dumps(tree, ensure_ascii=False)


def _depth(marks: str) -> int:
    """How deep brackets nest in a text without strings."""
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(marks):
        depth += 1 if bracket.group() in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _check_nodes(tree: Any, file: str, report: Report, max_nodes: int) -> list[str] | None:
    """The class names below the root; None after an error. Paths in messages are JSON paths, the root is `$`."""
    names: list[str] = []
    waiting: list[tuple[Any, str]] = [(tree, "$")]
    n_nodes, good = 0, True

    def refuse(path: str, message: str) -> None:
        report.error("hierarchy.bad_node", message, file=file, column=path)

    while waiting:
        node, path = waiting.pop()
        n_nodes += 1
        if n_nodes > max_nodes:
            report.error("hierarchy.too_big", f"more than {max_nodes:,} nodes", file=file)
            return None
        if not isinstance(node, dict):
            refuse(path, f"expected an object with LabelName, found {_kind(node)}")
            good = False
            continue
        name = node.get("LabelName")
        if not isinstance(name, str) or not name:
            refuse(path, "a node needs a LabelName, a text that is not empty")
            good = False
        elif path != "$":
            names.append(name)
        for key in reversed(CHILDREN):
            children = node.get(key, [])
            if not isinstance(children, list):
                refuse(f"{path}.{key}", f"expected a list of nodes, found {_kind(children)}")
                good = False
                continue
            waiting += [(child, f"{path}.{key}[{index}]") for index, child in reversed(list(enumerate(children)))]
    return names if good else None


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
