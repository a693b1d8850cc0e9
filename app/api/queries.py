"""Values of query parameters and form fields: all of them texts.

CVAT's doors ignore names they do not know. Our own doors (`direct.py`) refuse them and say what was probably meant, for
an option that is mistyped and ignored is a silent loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fastapi import Request

from app.api.errors import did_you_mean
from app.errors import InvalidInput, shorten
from app.formats import (
    ExportOptions,
    ImportOptions,
    ListText,
    SelectionOptions,
    parse_renaming,
    parse_rules,
    parse_selection,
)

TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})
FALSE = frozenset({"false", "0", "no", "n", "off", "f"})
MAX_TEXT_CHARACTERS = 256
MAX_LIST_CHARACTERS = 64 << 10
COMMON_NAMES = frozenset({"org", "org_id"})


def query_of(request: Request) -> dict[str, str]:
    """The query parameters; of a name that stands there twice, the last value."""
    return dict(request.query_params)


def options_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The options of a call at one of our own doors, from its query and its form.

    Raises:
        InvalidInput: an option that is no list stands there twice with two values, or a flag without one: to take
            either of two would be a guess, and `?dry_run` must not change anything.
    """
    found: dict[str, str] = {}
    for name, text in pairs:
        hint = _hints().get(name)
        if hint is bool and not text.strip():
            raise InvalidInput("must be true or false; it has no value", place=name, code="option.value")
        before = found.setdefault(name, text)
        if hint is ListText and before is not text:
            found[name] = f"{before}\n{text}"
        elif before != text:
            message = f'stands there twice, as "{shorten(before)}" and as "{shorten(text)}"; send it once'
            raise InvalidInput(message, place=name, code="option.twice")
    return found


@cache
def _hints() -> dict[str, Any]:
    """What each option of our own doors is."""
    return {**get_type_hints(ImportOptions), **get_type_hints(ExportOptions), "dry_run": bool}


def parse_flag(name: str, text: str) -> bool:
    """`True`, `true`, `1`, `yes` … Raises InvalidInput for anything else."""
    lower = text.strip().lower()
    if lower in TRUE:
        return True
    if lower in FALSE:
        return False
    raise InvalidInput(f'must be true or false; got "{shorten(text)}"', place=name, code="option.value")


def parse_choice(name: str, text: str, choices: Iterable[str]) -> str:
    """One of the choices, in any letter case."""
    known = tuple(choices)
    for choice in known:
        if text.strip().lower() == choice.lower():
            return choice
    message = f'must be one of {", ".join(known)}; got "{shorten(text)}".{did_you_mean(text, known)}'
    raise InvalidInput(message, place=name, code="option.value")


def parse_whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number, as a JSON number or as text."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20:
        text = int(text)
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool):
        raise InvalidInput(f"a whole number is needed; got {shorten(repr(value))}", place=name)
    if not low <= text <= high:
        raise InvalidInput(f"{text} is not within {low} to {high}", place=name)
    return text


def parse_text(name: str, text: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise InvalidInput(f"a printable text of at most {MAX_TEXT_CHARACTERS} characters is needed", place=name)
    return text


def parse_list(name: str, text: str) -> str:
    """A list in one text, entries separated by commas or line breaks; it stays a text."""
    if len(text) > MAX_LIST_CHARACTERS or "\0" in text:
        raise InvalidInput(f"a list of at most {MAX_LIST_CHARACTERS:,} characters is needed", place=name)
    return text


def parse_options(kind: type[Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The values of an options dataclass that are given, by name: flags, choices and texts. Limits are no options.

    Raises:
        InvalidInput: a value that the option does not have.
    """
    hints = get_type_hints(kind)
    options: dict[str, Any] = {}
    for name in option_names(kind):
        text = given.get(name)
        if text is None or text == "":
            continue
        hint = hints[name]
        if hint is bool:
            options[name] = parse_flag(name, text)
        elif get_origin(hint) is Literal:
            options[name] = parse_choice(name, text, get_args(hint))
        elif hint is ListText:
            options[name] = parse_list(name, text)
        else:
            options[name] = parse_text(name, text)
    if issubclass(kind, SelectionOptions):
        parse_selection(kind(**options))
    if issubclass(kind, ImportOptions):
        parse_renaming(kind(**options).map)
        parse_rules(kind(**options).rules)
    return options


def option_names(kind: type[Any]) -> tuple[str, ...]:
    """Names of the options that callers may set."""
    hints = get_type_hints(kind)
    return tuple(field.name for field in dataclasses.fields(kind) if hints[field.name] is not int)


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse query parameters that the call does not have."""
    names = tuple(known)
    for name in given:
        if name not in names and name not in COMMON_NAMES:
            message = f'there is no option "{shorten(name)}".{did_you_mean(name, names)}'
            raise InvalidInput(f"{message} There are {', '.join(sorted(names))}", code="option.unknown")


def import_options_of(given: Iterable[str]) -> dict[str, Any]:
    """Options of an import as `name=value` texts, read as the doors read them.

    Raises:
        InvalidInput: no such option or value; names the nearest.
    """
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f'"{shorten(text)}" is no option; an option is name=value', code="option.unknown")
        values[name.strip()] = value
    check_names(values, option_names(ImportOptions))
    return parse_options(ImportOptions, values)
