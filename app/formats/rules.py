"""Consistency rules: what may well be meant, and often is not. Each is a warning, and can be left out.

    rules=all    rules=none    rules=mask_without_box,unused_class    rules=all,-unused_class

Formats say what a rule means in their tables; the names are the same for all.
"""

from __future__ import annotations

from difflib import get_close_matches

from app.errors import InvalidInput, shorten
from app.formats.selection import split_list

RULES = {
    "mask_without_box": "a mask belongs to no box",
    "mask_outside_box": "a mask reaches out of its box",
    "mask_far_from_box": "a mask fills little of its box",
    "box_without_label": "a box's class is not among the image labels of its image",
    "negative_with_box": "a class is verified absent, and there is a box of it",
    "contradicting_labels": "a class is verified present and absent in one image",
    "duplicate_box": "two boxes of one class lie on each other",
    "parent_and_child": "two boxes lie on each other, and one's class is a kind of the other's",
    "unused_class": "a class is declared, and no row uses it",
}
ALL, NONE = "all", "none"


def parse_rules(text: str) -> frozenset[str]:
    """The rules that are asked for; none where nothing is said.

    Raises:
        InvalidInput: a name that is no rule.
    """
    chosen: set[str] = set()
    for entry in split_list(text):
        name = entry.removeprefix("-")
        if name in (ALL, NONE):
            chosen = set(RULES) if (name == ALL) is (name == entry) else set()
            continue
        if name not in RULES:
            near = get_close_matches(name, [*RULES, ALL, NONE], 1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else "."
            message = f'there is no rule "{shorten(name)}"{hint} There are {ALL}, {NONE}, {", ".join(RULES)}'
            raise InvalidInput(message, place="rules", code="option.value")
        if name == entry:
            chosen.add(name)
        else:
            chosen.discard(name)
    return frozenset(chosen)
