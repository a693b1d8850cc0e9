"""The formats that exist: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from app.annotations import Kept, Rows
from app.errors import ImportProblems, InvalidInput, shorten
from app.formats.base import NAMES_SHOWN, Format, Note, hint_of_names
from app.formats.open_images import OPEN_IMAGES_V6, OPEN_IMAGES_V7

FORMATS: tuple[Format, ...] = (
    OPEN_IMAGES_V6,
    OPEN_IMAGES_V7,
)


def find_format(display_name: str) -> Format:
    """The format of this display name, in any case; the version may be left out.

    Raises:
        InvalidInput: there is none; the message names the nearest.
    """
    by_name = {one.display_name.casefold(): one for one in FORMATS}
    wanted = " ".join(display_name.split()).casefold()
    for one in FORMATS:
        if wanted in (one.display_name.casefold(), one.name.casefold()):
            return one
    near = get_close_matches(wanted, by_name, 1, cutoff=0.4)
    names = ", ".join(one.display_name for one in FORMATS)
    hint = f"did you mean {by_name[near[0]].display_name!r}?" if near else f"there is {names}"
    raise InvalidInput(f"no format {shorten(display_name)!r}; {hint}", place="format", code="format.unknown")


def detect(names: Sequence[str]) -> Format:
    """The first format whose entry names these are.

    Raises:
        ImportProblems: none; `layout.not_found` with what the archive does hold.
    """
    for one in FORMATS:
        if one.accepts(names):
            return one
    held = ", ".join(shorten(name) for name in names[:NAMES_SHOWN]) or "nothing"
    formats = ", ".join(one.display_name for one in FORMATS)
    near = next(filter(None, (one.nearest(names) for one in FORMATS)), None)
    examples = " or ".join(dict.fromkeys(one.example for one in FORMATS if one.example))
    hint = hint_of_names(near, names) or f". Files are known by their names, such as {examples}"
    raise ImportProblems.single(
        "layout.not_found",
        f"no annotation file of any format ({formats}); the zip holds {held}{hint}",
        suggestion=near,
    )


def looks_into(name: str) -> bool:
    """Whether a zip of this name is a folder of its members, to any format."""
    return any(one.looks_into(name) for one in FORMATS)


def knows(name: str) -> bool:
    """Whether a file of this name may come by itself, in no zip."""
    return any(one.knows(name) for one in FORMATS)


def relabel_extras(
    extras: Mapping[str, Any], label_ids: Mapping[int, int], attribute_ids: Mapping[int, int]
) -> dict[str, Any]:
    """The document of an import, by whichever format it is, for labels and attributes with other ids.

    Raises:
        ValueError: no format knows it, or it is damaged.
    """
    for one in FORMATS:
        found = one.relabel(extras, label_ids, attribute_ids) if one.relabel is not None else None
        if found is not None:
            return found
    raise ValueError("the document of an import is of no format that there is")


def kept_checker(extras: Mapping[str, Any]) -> Callable[[Kept], None]:
    """Who looks whether kept rows can be those of an import with these extras, which `relabel_extras` has taken; it
    raises ValueError where they cannot."""
    for one in FORMATS:
        if one.check_kept is not None and one.relabel is not None and one.relabel(extras, {}, {}) is not None:
            return partial(one.check_kept, extras)
    return lambda kept: None


def outlives(extras: Mapping[str, Any], start: int, stop: int) -> bool:
    """Whether an import with these extras has left something that stays when its last rows go, those of frames start
    to stop (exclusive): files of the whole task, where a job is replaced or cleared."""
    return any(one.outlives(extras, start, stop) for one in FORMATS)


def notes_of(documents: Mapping[int, Mapping[str, Any]], rows: Rows) -> list[Note]:
    """What kept rows say of their pictures, import by import.

    Args:
        documents: extras by set.
    """
    found: list[Note] = []
    for set_id, document in documents.items():
        of_set = rows.take(rows.kept.sets == set_id)
        told = (one.notes(document, of_set) for one in FORMATS if one.notes is not None) if len(of_set) else iter(())
        found += next((notes for notes in told if notes is not None), [])
    return found
