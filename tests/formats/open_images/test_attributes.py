"""Cells as attributes and back, type by type."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest

from app.annotations import AttributeSpec, Label, LabelCatalog
from app.columns import Texts
from app.formats.open_images.attributes import (
    AttributeColumn,
    AttributeDecoder,
    AttributeEncoder,
    TextsByKind,
    attributes_text,
    flag_text,
    plain_decimal,
    same_value,
    share_text,
    shown_value,
)
from tests.formats.builders import all_attributes, labels


def spec(kind: str, *values: str) -> AttributeSpec:
    return AttributeSpec(1, "x", False, kind, values[0] if values else "", values)


@pytest.mark.parametrize(
    ("one", "cell", "is_flag", "value"),
    [
        (spec("checkbox"), "1", True, "true"),
        (spec("checkbox"), "0", True, "false"),
        (spec("checkbox"), "1.0", False, "true"),
        (spec("checkbox"), "0.7", False, None),
        (spec("number"), "1", True, "1"),
        (spec("number"), "0.70", False, "0.7"),
        (spec("number"), "1e-05", False, "0.00001"),
        (spec("number"), "abc", False, None),
        (spec("text"), "1", True, "true"),
        (spec("text"), "0", True, "false"),
        (spec("text"), "0.70", False, "0.70"),
        (spec("text"), "x" * 4097, False, None),
        (spec("select", "True", "False"), "1", True, "True"),
        (spec("select", "1", "0"), "0", True, "0"),
        (spec("radio", "No", "Yes"), "1", True, "Yes"),
        (spec("select", "0.7", "1"), "0.70", False, "0.7"),
        (spec("select", "Verification"), "verification", False, "Verification"),
        (spec("select", "a", "b"), "1", True, None),
        (spec("select", "a", "b"), "0.5", False, None),
    ],
)
def test_what_a_cell_shows(one: AttributeSpec, cell: str, is_flag: bool, value: str | None) -> None:
    assert shown_value(one, cell, is_flag) == value


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("5.0", "5"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        (" 1 ", "1"),
        ("nan", None),
        ("inf", None),
        ("1e999999", None),
        ("", None),
    ],
)
def test_plain_decimals(text: str, plain: str | None) -> None:
    assert plain_decimal(text) == plain


def test_combinations_are_encoded_once_in_ascending_spec_ids() -> None:
    catalog = labels("cat", attributes=all_attributes())
    encoder = AttributeEncoder(catalog)
    columns = [
        AttributeColumn("score", "Confidence", np.array([0, 1, 0, -1], dtype=np.int32), ("1", "0.5")),
        AttributeColumn("truncated", "IsTruncated", np.array([1, -1, 1, 0], dtype=np.int32), ("0", "1"), is_flag=True),
    ]
    texts = encoder.encode(np.ones(4, dtype=np.int32), columns, lambda column, rows: None)
    assert texts.to_list() == [
        '[{"spec_id":101,"value":"true"},{"spec_id":105,"value":"1"}]',
        '[{"spec_id":105,"value":"0.5"}]',
        '[{"spec_id":101,"value":"true"},{"spec_id":105,"value":"1"}]',
        '[{"spec_id":101,"value":"false"}]',
    ]
    assert len(texts.values) == 3
    assert encoder.encode(np.zeros(0, dtype=np.int32), columns[:0], lambda column, rows: None).to_list() == []


def test_what_an_attribute_cannot_take_is_told_by_row() -> None:
    catalog = labels("cat", attributes=all_attributes(score="checkbox"))
    told: list[tuple[str, list[bool]]] = []
    column = AttributeColumn("score", "Confidence", np.array([0, 1, 0], dtype=np.int32), ("0.5", "1"))
    texts = AttributeEncoder(catalog).encode(
        np.ones(3, dtype=np.int32), [column], lambda one, rows: told.append((one.name, rows.tolist()))
    )
    assert texts.to_list() == ["[]", '[{"spec_id":105,"value":"true"}]', "[]"]
    assert told == [("score", [True, False, True])]


@pytest.mark.parametrize(
    "notes", [('"', "a,b", "é", "x" * 5000), tuple(f'"{i}é' * (i % 99 * 30) for i in range(1, 500))]
)
def test_columns_are_encoded_as_row_by_row(notes: tuple[str, ...]) -> None:
    """Whatever repeats, what is refused included, or hardly does; twice, so that what is known from before is used
    too."""
    random = np.random.default_rng(3)
    kinds = {"occluded": "checkbox", "score": "number", "colour": "select", "note": "text"}
    numbers = {"occluded": 9, "score": 4, "colour": 7, "note": 2}

    def declared(first_id: int, *names: str) -> tuple[AttributeSpec, ...]:
        return tuple(
            AttributeSpec(first_id + numbers[name], name, False, kinds[name], "", ("red", "Blue")) for name in names
        )

    catalog = LabelCatalog(
        (
            Label(1, "cat", "#ff0000", "any", declared(10, *kinds)),
            Label(2, "dog", "#ff0000", "any", declared(20, "note", "score")),
            Label(5, "fox", "#ff0000", "any", ()),
        )
    )

    def note(told: dict[str, Any], column: AttributeColumn, rows: Any) -> None:
        told[column.name] = rows

    encoder = AttributeEncoder(catalog)
    specs = {label.id: {one.name: one for one in label.attributes} for label in catalog.labels}
    sources = {
        "occluded": ("0", "1"),
        "score": ("0.50", "1", "many", "-3"),
        "colour": ("RED", "blue", "green"),
        "note": notes,
        "stranger": ("1", "2"),
    }
    for _ in range(2):
        n = 400
        label_ids = random.choice([label.id for label in catalog.labels], n).astype(np.int32)
        columns = [
            AttributeColumn(
                name, name, random.integers(-1, len(values), n).astype(np.int32), values, name == "occluded"
            )
            for name, values in sources.items()
        ]
        refused: dict[str, Any] = {}
        texts = encoder.encode(label_ids, columns, partial(note, refused))
        for row in range(n):
            said = {}
            for column in columns:
                one = specs[int(label_ids[row])].get(column.name)
                code = int(column.codes[row])
                value = shown_value(one, column.values[code], column.is_flag) if one is not None and code >= 0 else None
                is_refused = column.name in refused and bool(refused[column.name][row])
                assert is_refused == (one is not None and code >= 0 and value is None)
                if one is not None and value is not None:
                    said[one.id] = value
            assert texts.row(row) == attributes_text(said)


def test_kinds_of_rows_are_encoded_as_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind once, by its first row; what is refused is told of each row. Forgotten kinds are encoded anew."""
    random = np.random.default_rng(5)
    monkeypatch.setattr("app.formats.open_images.attributes.MAX_CACHED", 60)
    catalog = labels("cat", "dog", attributes=all_attributes(score="number"))
    sources = {"score": ("1", "many", "0.5"), "occluded": ("0", "1"), "source": ("a", "b", "x" * 5000)}
    by_kind, plain = TextsByKind(AttributeEncoder(catalog)), AttributeEncoder(catalog)
    n_kinds = 2 * np.prod([len(values) + 1 for values in sources.values()])
    for _ in range(8):
        kinds = random.integers(0, n_kinds, 40)  # a label and cells, of each kind the same
        left, label_ids = np.divmod(kinds, 2)
        codes = {}
        for name, values in sources.items():
            left, codes[name] = np.divmod(left, len(values) + 1)
        asked: list[int] = []

        def columns(rows: Any) -> list[AttributeColumn]:
            asked.append(len(rows))  # noqa: B023
            return [
                AttributeColumn(name, name, (codes[name][rows] - 1).astype(np.int32), values, name == "occluded")  # noqa: B023
                for name, values in sources.items()
            ]

        told: list[tuple[str, list[bool]]] = []
        expected: list[tuple[str, list[bool]]] = []
        ids = (label_ids + 1).astype(np.int32)
        texts = by_kind.encode(kinds, ids, columns, lambda one, rows: told.append((one.name, rows.tolist())))  # noqa: B023
        assert sum(asked) <= len(np.unique(kinds))
        every = np.arange(40)
        same = plain.encode(ids, columns(every), lambda one, rows: expected.append((one.name, rows.tolist())))  # noqa: B023
        assert texts.to_list() == same.to_list()
        assert told == expected
        assert len(texts.values) == len(set(texts.to_list()))


def test_texts_that_never_come_again_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as ids of boxes, one a mask; what comes again is encoded once, however much there is of it."""
    asked: list[str] = []

    def shown(one: AttributeSpec, cell: str, is_flag: bool) -> str | None:
        asked.append(cell)
        return shown_value(one, cell, is_flag)

    monkeypatch.setattr("app.formats.open_images.attributes.MANY_CACHED", 50)
    monkeypatch.setattr("app.formats.open_images.attributes.UNLIKE_ROWS", 1000)
    monkeypatch.setattr("app.formats.open_images.attributes.shown_value", shown)
    encoder = AttributeEncoder(labels("cat", attributes=all_attributes(source="text")))

    def n_encoded(cells: list[str]) -> int:
        asked.clear()
        column = AttributeColumn("source", "Source", np.arange(len(cells), dtype=np.int32), tuple(cells))
        texts = encoder.encode(np.ones(len(cells), dtype=np.int32), [column], lambda one, rows: None)
        assert [orjson.loads(text)[0]["value"] for text in texts.to_list()] == cells
        return len(asked)

    often = [f"often {i}" for i in range(80)]
    assert [n_encoded(often) for _ in range(3)] == [80, 0, 0]
    for batch in range(30):
        n_encoded([f"{batch} {i}" for i in range(80)])
    again = [n_encoded(often) for _ in range(4)]
    assert (again[0], again[-1]) == (80, 0)


def test_undeclared_attributes_are_not_shown() -> None:
    encoder = AttributeEncoder(labels("cat"))
    column = AttributeColumn("score", "Confidence", np.array([0], dtype=np.int32), ("0.5",))
    assert encoder.encode(np.ones(1, dtype=np.int32), [column], lambda one, rows: None).to_list() == ["[]"]
    assert not encoder.is_declared("score")


def test_values_are_decoded_by_name_and_strangers_left_out() -> None:
    catalog = labels("cat", "dog", attributes=all_attributes())
    decoder = AttributeDecoder(catalog)
    texts = Texts.from_list(['[{"spec_id":105,"value":"0.5"},{"spec_id":999,"value":"x"}]', "[]"])
    places, pairs = decoder.pairs(np.array([1, 2, 1], dtype=np.int32), texts.take(np.array([0, 1, 0])))
    assert [pairs[place] for place in places.tolist()] == [(1, {"score": "0.5"}), (2, {}), (1, {"score": "0.5"})]


@pytest.mark.parametrize(
    ("value", "flag"),
    [("true", "1"), ("No", "0"), ("-1", "-1"), (" 1.0 ", "1"), ("maybe", None), ("", None), ("2", None)],
)
def test_flags_of_attributes(value: str, flag: str | None) -> None:
    assert flag_text(value) == flag


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.70", "0.7"),
        ("1.0", "1"),
        ("1e-5", "0.00001"),
        ("0", "0"),
        ("1.5", None),
        ("nan", None),
        ("x", None),
        ("", None),
    ],
)
def test_shares_of_attributes(value: str, text: str | None) -> None:
    assert share_text(value) == text


@pytest.mark.parametrize(("one", "other"), [("a", "a"), ("1.0", "1"), ("true", "yes"), ("0", "false")])
def test_values_that_say_the_same(one: str, other: str) -> None:
    assert same_value(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("0.1", "0.2"), ("true", "0"), ("0", ""), ("", "false"), ("a", ""), ("", " ")]
)
def test_values_that_differ(one: str, other: str) -> None:
    assert not same_value(one, other)
