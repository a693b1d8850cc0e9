"""What a cell shows as an attribute, and what an attribute says as a cell.

Import:  cell → value of the attribute, if the label declares one of that name → `[{"spec_id":3,"value":"true"},…]`
Export:  attributes → cell; the kept cell wherever what it showed is what is still shown

A value that cannot be shown is kept in its row all the same.

Source: Open Images reference 3.7, 3.11 (types), 4.5 (back), 5 (edits change that cell only).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import AttributeSpec, LabelCatalog
from app.columns import Texts

MAX_VALUE_CHARACTERS = 4096
MAX_CACHED = 100_000
FLAG_TEXTS = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1, "true": 1, "false": 0, "yes": 1, "no": 0}
_LISTED = ("select", "radio")

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """One column of a table that may be shown as an attribute.

    Attributes:
        name: of the attribute.
        column: header text, for messages.
        codes: (N,) int32 into `values`; -1 where the cell says nothing.
        values: the distinct cells, as texts; flags are "1" and "0".
        is_flag: flags become true/false in checkboxes and texts.
    """

    name: str
    column: str
    codes: Codes
    values: Sequence[str]
    is_flag: bool = False


def shown_value(spec: AttributeSpec, text: str, is_flag: bool) -> str | None:
    """The attribute value that a cell shows; None where the attribute cannot take it.

    Args:
        text: the cell, trimmed, not empty; "1" or "0" of a flag.
    """
    if len(text) > MAX_VALUE_CHARACTERS:
        return None
    if spec.input_type == "checkbox":
        flag = FLAG_TEXTS.get(text.lower())
        return None if flag in (None, -1) else ("true" if flag else "false")
    if spec.input_type == "number":
        return plain_decimal(text)
    words = ("true", "1", "yes") if text == "1" else ("false", "0", "no")
    if spec.input_type in _LISTED:
        wanted = words if is_flag else (text,)
        return _listed(spec.values, wanted)
    return words[0] if is_flag else text


def plain_decimal(text: str) -> str | None:
    """A number as decimal text without exponent or needless zeros; None where it is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > 400:
        return None
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return plain if plain not in ("", "-0") else "0"


def _listed(values: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The listed value equal to one of the wanted ones, ignoring case; then the one of the same number."""
    folded = {value.casefold(): value for value in reversed(values)}
    for word in wanted:
        if word.casefold() in folded:
            return folded[word.casefold()]
    numbers = {plain_decimal(value): value for value in reversed(values)}
    found = numbers.get(plain_decimal(wanted[0]))
    return found if plain_decimal(wanted[0]) is not None else None


class AttributeEncoder:
    """Import: columns to attribute texts, each distinct combination worked out once for the whole archive."""

    def __init__(self, catalog: LabelCatalog) -> None:
        self._ids = np.array(sorted(label.id for label in catalog.labels), dtype=np.int64)
        labels = {label.id: label for label in catalog.labels}
        self._specs = [{spec.name: spec for spec in labels[label_id].attributes} for label_id in self._ids.tolist()]
        self._cache: dict[tuple[object, ...], tuple[str, tuple[int, ...]]] = {}
        self._said: dict[tuple[int, str, bool], str | None] = {}  # one attribute's JSON; None: it cannot take the cell

    def is_declared(self, name: str) -> bool:
        """Whether any label declares an attribute of this name."""
        return any(name in specs for specs in self._specs)

    def declares(self, label_ids: Codes, name: str) -> npt.NDArray[np.bool_]:
        """(N,) bool, whether the label of each row declares an attribute of this name."""
        declaring = np.array([name in specs for specs in self._specs], dtype=np.bool_)
        return declaring[np.searchsorted(self._ids, label_ids)] if len(label_ids) else np.zeros(0, dtype=np.bool_)

    def encode(
        self,
        label_ids: Codes,
        columns: Sequence[AttributeColumn],
        no_value: Callable[[AttributeColumn, npt.NDArray[np.bool_]], None],
    ) -> Texts:
        """Attribute texts of N rows.

        Args:
            label_ids: (N,) of the catalog.
            no_value: told a column and the rows (mask) whose cell its attribute cannot take.
        """
        n = len(label_ids)
        labels = np.searchsorted(self._ids, label_ids)  # (N,)
        used = [column for column in columns if any(column.name in specs for specs in self._specs)]
        chosen = [np.where(self.declares(label_ids, column.name), column.codes, -1) for column in used]
        combos = labels.astype(np.int64)
        for column, codes in zip(used, chosen, strict=True):
            radix = len(column.values) + 1
            if len(combos) and int(combos.max()) > (1 << 62) // radix:
                combos = np.unique(combos, return_inverse=True)[1].astype(np.int64)
            combos = combos * radix + codes + 1
        distinct, first, inverse = np.unique(combos, return_index=True, return_inverse=True)
        texts: dict[str, int] = {}
        codes_of = np.empty(len(distinct), dtype=np.int32)
        refused_of = [np.zeros(len(distinct), dtype=np.bool_) for _ in used]
        names = tuple(column.name for column in used)
        cells_of = [
            [column.values[code] if code >= 0 else None for code in codes[first].tolist()]
            for column, codes in zip(used, chosen, strict=True)
        ]
        for combo, (label, *cells) in enumerate(zip(labels[first].tolist(), *cells_of, strict=True)):
            key = (label, names, *cells)
            text, refused = self._cache.get(key) or self._build(key, self._specs[label], used, cells)
            codes_of[combo] = texts.setdefault(text, len(texts))
            for place in refused:
                refused_of[place][combo] = True
        for column, refusing in zip(used, refused_of, strict=True):
            if refusing.any():
                no_value(column, refusing[inverse])
        if not texts:
            return Texts.same("[]", n)
        return Texts(codes_of[inverse].astype(np.int32), tuple(texts))

    def _build(
        self,
        key: tuple[object, ...],
        specs: Mapping[str, AttributeSpec],
        columns: Sequence[AttributeColumn],
        cells: Sequence[str | None],
    ) -> tuple[str, tuple[int, ...]]:
        said, refused = [], []
        for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
            if cell is None:
                continue
            spec = specs[column.name]
            asked = (spec.id, cell, column.is_flag)
            if asked not in self._said:
                value = shown_value(spec, cell, column.is_flag)
                self._said[asked] = None if value is None else attributes_text({spec.id: value})[1:-1]
            text = self._said[asked]
            if text is None:
                refused.append(place)
            else:
                said.append((spec.id, text))
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        if len(self._said) >= MAX_CACHED:
            self._said.clear()
        said.sort()
        self._cache[key] = f"[{','.join(text for _, text in said)}]", tuple(refused)
        return self._cache[key]


def attributes_text(values: Mapping[int, str]) -> str:
    """Values by spec id as the stored text: ascending spec_id, no spaces."""
    items = [{"spec_id": spec_id, "value": values[spec_id]} for spec_id in sorted(values)]
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


class AttributeDecoder:
    """Export: attribute texts to values by name, each distinct pair of label and text parsed once."""

    def __init__(self, catalog: LabelCatalog) -> None:
        self._specs = {label.id: {spec.name: spec for spec in label.attributes} for label in catalog.by_id.values()}
        self._names = {
            label_id: {spec.id: spec.name for spec in specs.values()} for label_id, specs in self._specs.items()
        }
        self._known: dict[tuple[int, str], dict[str, str]] = {}

    def spec(self, label_id: int, name: str) -> AttributeSpec | None:
        return self._specs[label_id].get(name)

    def values(self, label_id: int, text: str) -> dict[str, str]:
        """Attribute values by name, for reading only; those the label does not declare (any more) are left out."""
        known = self._known.get((label_id, text))
        if known is None:
            names = self._names[label_id]
            items = orjson.loads(text) if text != "[]" else ()
            known = {names[item["spec_id"]]: str(item["value"]) for item in items if item["spec_id"] in names}
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[label_id, text] = known
        return known

    def pairs(
        self, label_ids: Codes, attributes: Texts
    ) -> tuple[npt.NDArray[np.int64], list[tuple[int, dict[str, str]]]]:
        """(N,) places in a list of distinct (label id, values by name)."""
        if not len(label_ids):
            return np.zeros(0, dtype=np.int64), []
        keys = label_ids.astype(np.int64) * max(len(attributes.values), 1) + attributes.codes
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        found = []
        for row in first.tolist():
            label_id = int(label_ids[row])
            found.append((label_id, self.values(label_id, attributes.row(row))))
        return inverse.astype(np.int64), found


def flag_text(value: str) -> str | None:
    """A flag cell of an attribute's value; None where it cannot be understood."""
    flag = FLAG_TEXTS.get(value.strip().lower())
    return None if flag is None else str(flag)


def share_text(value: str) -> str | None:
    """A number of 0..1 as a cell, shortest form; None for any other text."""
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number) or not 0 <= number <= 1:
        return None
    plain = format(Decimal(repr(number)), "f")
    return plain[:-2] if plain.endswith(".0") else plain


def same_value(one: str, other: str) -> bool:
    """Whether two attribute values say the same: equal texts, equal flags, or equal numbers."""
    if one == other:
        return True
    a, b = plain_decimal(one), plain_decimal(other)
    if a is not None and a == b:
        return True
    flag = FLAG_TEXTS.get(one.strip().lower())
    return flag is not None and flag == FLAG_TEXTS.get(other.strip().lower())


def distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
