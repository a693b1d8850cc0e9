"""Rows copied along the class hierarchy, as the evaluation of the challenges wants them.

    boxes, labels that are there      → to every ancestor below the root        cat → mammal, animal
    labels verified to be absent      → to every descendant                     animal → mammal, cat, dog

The rows themselves stay as they are; copies follow the row they were made of. A label that an image has already (there
or absent, as the copy would say) is not copied once more; every box is an object of its own and always is.

Source: Open Images reference 8.1, 7.6. Parts (`Part`) are no ancestors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns import Ragged, Texts, decode_numbers, decode_texts, join_records, split_lines
from app.formats.open_images.kept_rows import TableRows, pick, spread

Rows = npt.NDArray[np.int64]
Names = tuple[str, ...]


class Expansion:
    """Ancestors and descendants of every class of a checked hierarchy, nearest first.

    `made` holds the LabelNames of all copies so far.
    """

    def __init__(self, hierarchy: str) -> None:
        children: dict[str, dict[str, None]] = {}
        parents: dict[str, dict[str, None]] = {}
        tree = json.loads(hierarchy)
        waiting = [(child, "") for child in tree.get("Subcategory", ())]
        while waiting:
            node, parent = waiting.pop()
            name = node["LabelName"]
            parents.setdefault(name, {})
            if parent:
                parents[name][parent] = None
                children.setdefault(parent, {})[name] = None
            waiting += [(child, name) for child in reversed(node.get("Subcategory", ()))]
        self.ancestors: dict[str, Names] = {name: _reached(name, parents) for name in parents}
        self.descendants: dict[str, Names] = {name: _reached(name, children) for name in parents}
        self.made: dict[str, None] = {}

    def boxes(self, parts: Iterable[TableRows], columns: Sequence[str]) -> Iterator[TableRows]:
        """Rows of the box table with their copies."""
        for part in parts:
            if not len(part):
                continue
            names = decode_texts(split_lines(part.records, columns).cells("LabelName"))
            rows, copies = _copies(names.codes, [self.ancestors.get(name, ()) for name in names.values])
            yield self._with_copies(part, columns, rows, copies)

    def tags(self, parts: Iterable[TableRows], columns: Sequence[str]) -> Iterator[TableRows]:
        """Rows of an image label table with their copies."""
        for part in _in_whole_frames(parts):
            block = split_lines(part.records, columns)
            names = decode_texts(block.cells("LabelName"))
            absent = decode_numbers(block.cells("Confidence")).values == 0
            relatives = [self.ancestors.get(name, ()) for name in names.values]
            relatives += [self.descendants.get(name, ()) for name in names.values]
            rows, copies = _copies(names.codes + len(names.values) * absent, relatives)
            new = _unsaid(part.frames, names, absent, rows, copies)
            yield self._with_copies(part, columns, rows[new], copies.take(np.flatnonzero(new)))

    def _with_copies(self, part: TableRows, columns: Sequence[str], rows: Rows, copies: Texts) -> TableRows:
        """The rows of a part, each followed by its copies."""
        if not len(rows):
            return part
        self.made |= dict.fromkeys(copies.compact().values)
        block = split_lines(pick(part.records, rows), columns)
        cells = [spread(copies) if name == "LabelName" else block.cells(name).ragged() for name in columns]
        order = np.argsort(np.concatenate([np.arange(len(part), dtype=np.int64), rows]), kind="stable")
        both = TableRows(
            np.concatenate([part.frames, part.frames[rows]]),
            Ragged.concatenate([part.records, join_records(cells, len(rows))]),
        )
        return both.take(order)


def _reached(name: str, edges: Mapping[str, Iterable[str]]) -> Names:
    """Everything that edges lead to, nearest first; a class is no relative of itself, whatever circles there are."""
    found: dict[str, None] = {}
    waiting = list(edges.get(name, ()))
    while waiting:
        following: list[str] = []
        for other in waiting:
            if other != name and other not in found:
                found[other] = None
                following += edges.get(other, ())
        waiting = following
    return tuple(found)


def _in_whole_frames(parts: Iterable[TableRows]) -> Iterator[TableRows]:
    """The same rows; none of the parts ends within a frame, none is empty."""
    waiting: list[TableRows] = []  # of one frame, which may go on
    for part in parts:
        if not len(part):
            continue
        begin = int(np.searchsorted(part.frames, part.frames[-1]))  # of the last frame
        if waiting and (begin or part.frames[0] != waiting[0].frames[0]):
            yield TableRows.concatenate([*waiting, part.take(np.arange(begin))])
            waiting = []
        elif begin:
            yield part.take(np.arange(begin))
        waiting.append(part.take(np.arange(begin, len(part))) if begin else part)
    if waiting:
        yield TableRows.concatenate(waiting)


def _copies(codes: npt.NDArray[np.integer[Any]], relatives: Sequence[Names]) -> tuple[Rows, Texts]:
    """The row of each copy, ascending, and its LabelName.

    Args:
        codes: (N,) of each row, into `relatives`.
    """
    sizes = np.array([len(some) for some in relatives], dtype=np.int64)
    flat = Texts.from_list(name for some in relatives for name in some)
    counts = sizes[codes]  # (N,)
    rows = np.repeat(np.arange(len(codes), dtype=np.int64), counts)  # (C,)
    within = np.arange(len(rows), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, flat.take((np.cumsum(sizes) - sizes)[codes[rows]] + within)


def _unsaid(
    frames: npt.NDArray[np.int32], names: Texts, absent: npt.NDArray[np.bool_], rows: Rows, copies: Texts
) -> npt.NDArray[np.bool_]:
    """(C,) bool, copies that say of an image what nothing before them says."""
    both = Texts.concatenate([names, copies])
    all_frames = np.concatenate([frames, frames[rows]]).astype(np.int64)
    keys = (all_frames * (len(both.values) + 1) + both.codes) * 2 + np.concatenate([absent, absent[rows]])
    first = np.zeros(len(keys), dtype=np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    return first[len(names) :]
