"""What a cell shows as an attribute, and what an attribute says as a cell.

Import:  cell → value of the attribute, if the label declares one of that name → `[{"spec_id":3,"value":"true"},…]`
Export:  attributes → cell; the kept cell wherever what it showed is what is still shown

A value that cannot be shown is kept in its row all the same.

Source: Open Images reference 3.7, 3.11 (types), 4.5 (back), 5 (edits change that cell only).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from json.encoder import encode_basestring

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import AttributeSpec, LabelCatalog
from app.columns import HashPlaces, Texts

MAX_VALUE_CHARACTERS = 4096
MAX_CACHED = 1 << 15
"""Texts that are remembered: 14.6 million boxes have some 20,000. Each takes about 600 bytes."""
MANY_CACHED = 1 << 12
"""From here on texts are forgotten where hardly any comes again: ids of boxes, which masks show, never do."""
UNLIKE_ROWS = 64
"""From so many on, rows with a cell each that no other has are not looked for among those that were met."""
FLAG_TEXTS = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1, "true": 1, "false": 0, "yes": 1, "no": 0}
_LISTED = ("select", "radio")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Codes = npt.NDArray[np.int32]
Plan = Callable[[int], Sequence[tuple[int, Callable[[str], str | None]]]]


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
        self._declaring: dict[str, npt.NDArray[np.bool_]] = {}
        self._showing: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
        self._known: dict[tuple[tuple[str, bool], ...], _Combinations] = {}

    def is_declared(self, name: str) -> bool:
        """Whether any label declares an attribute of this name."""
        return bool(self._labels_with(name).any())

    def can_show(self, label_ids: Codes, name: str, cell: str) -> npt.NDArray[np.bool_]:
        """(N,) bool, whether the label of each row declares an attribute of this name that can show such a cell."""
        if not len(label_ids):
            return np.zeros(0, dtype=np.bool_)
        if (name, cell) not in self._showing:
            shown = np.zeros(len(self._specs), dtype=np.bool_)
            for place in np.flatnonzero(self._labels_with(name)).tolist():
                shown[place] = shown_value(self._specs[place][name], cell, False) is not None
            self._showing[name, cell] = shown
        return self._showing[name, cell][np.searchsorted(self._ids, label_ids)]

    def _labels_with(self, name: str) -> npt.NDArray[np.bool_]:
        """(L,) bool, which labels declare it."""
        if name not in self._declaring:
            self._declaring[name] = np.array([name in specs for specs in self._specs], dtype=np.bool_)
        return self._declaring[name]

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
        used = self.used(columns)
        if not n or not used:
            return Texts.same("[]", n)
        if n >= UNLIKE_ROWS and any(len(column.values) >= n for column in used):
            return self._encode_unlike(label_ids, used, no_value)
        kinds = tuple((column.name, column.is_flag) for column in used)
        known = self._known.get(kinds)
        if known is None or known.is_full():
            known = self._known[kinds] = _Combinations(len(used))
        numbers = known.numbers(self.codes(label_ids, used, known), self.plan(used))
        for place, column in enumerate(used):
            refusing = known.refusing(place)
            if refusing.any() and (rows := refusing[numbers]).any():
                no_value(column, rows)
        return known.texts_of(numbers)

    def _encode_unlike(
        self,
        label_ids: Codes,
        used: Sequence[AttributeColumn],
        no_value: Callable[[AttributeColumn, npt.NDArray[np.bool_]], None],
    ) -> Texts:
        """The same for rows of which hardly one says what another says, such as those of masks, with their ids."""
        labels = np.searchsorted(self._ids, label_ids).tolist()
        shown = {label: self._shown(used, label) for label in dict.fromkeys(labels)}
        # Of a text attribute everything but its number is the same for all labels.
        quoted = [_quoted(column) for column in used]
        refused = np.zeros((len(used), len(labels)), dtype=np.bool_)
        codes, known = [], dict[str, int]()
        for at, (label, cells) in enumerate(
            zip(labels, zip(*(column.codes.tolist() for column in used), strict=True), strict=True)
        ):
            said = []
            for spec, place in shown[label]:
                code = cells[place]
                if code < 0:
                    continue
                if spec.input_type == "text" and not used[place].is_flag:
                    value = quoted[place][code]
                    text = None if value is None else _item_text(spec.id, value)
                else:
                    text = _attribute_text(spec, used[place].is_flag, used[place].values[code])
                if text is None:
                    refused[place, at] = True
                else:
                    said.append(text)
            codes.append(known.setdefault(f"[{','.join(said)}]", len(known)))
        for column, rows in zip(used, refused, strict=True):
            if rows.any():
                no_value(column, rows)
        return Texts(np.array(codes, dtype=np.int32), tuple(known))

    def used(self, columns: Sequence[AttributeColumn]) -> list[AttributeColumn]:
        """Those that any label declares."""
        return [column for column in columns if self.is_declared(column.name)]

    def codes(self, label_ids: Codes, used: Sequence[AttributeColumn], known: _Combinations) -> Codes:
        """(C + 1, N) the combination of each row: its label, and its cells where the label declares them."""
        labels = np.searchsorted(self._ids, label_ids)  # (N,)
        cells = [labels.astype(np.int32)]
        for place, column in enumerate(used):
            codes = known.cell_codes(place, column)
            cells.append(np.where(self._labels_with(column.name)[labels], codes, np.int32(0)))
        return np.stack(cells)

    def plan(self, used: Sequence[AttributeColumn]) -> Plan:
        return partial(self._plan, used)

    def _plan(self, columns: Sequence[AttributeColumn], label: int) -> list[tuple[int, Callable[[str], str | None]]]:
        """The columns that a label shows, by ascending spec_id, and what one of their cells is as JSON; None where the
        attribute cannot take it."""
        shown = self._shown(columns, label)
        return [(place, partial(_attribute_text, spec, columns[place].is_flag)) for spec, place in shown]

    def _shown(self, columns: Sequence[AttributeColumn], label: int) -> list[tuple[AttributeSpec, int]]:
        """The attributes of a label that have a column, by ascending spec_id, and the place of that column."""
        specs = self._specs[label]
        shown = [(specs[column.name], place) for place, column in enumerate(columns) if column.name in specs]
        return sorted(shown, key=lambda found: found[0].id)


def _quoted(column: AttributeColumn) -> list[str | None]:
    """The cells as JSON; None for those that no attribute takes."""
    return [encode_basestring(text) if len(text) <= MAX_VALUE_CHARACTERS else None for text in column.values]


def _attribute_text(spec: AttributeSpec, is_flag: bool, cell: str) -> str | None:
    value = shown_value(spec, cell, is_flag)
    return None if value is None else _item_text(spec.id, encode_basestring(value))


def _item_text(spec_id: int, quoted: str) -> str:
    return f'{{"spec_id":{spec_id},"value":{quoted}}}'


class TextsByKind:
    """Attribute texts of rows by their kind: rows of one kind have one label, and say the same in all columns that
    attributes show. Each kind is encoded once, by its first row."""

    def __init__(self, encoder: AttributeEncoder) -> None:
        self._encoder = encoder
        self._forget()

    def _forget(self) -> None:
        self._hashes: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)  # of the kinds, sorted
        self._places = HashPlaces(self._hashes)
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # of their combinations
        self._used: list[AttributeColumn] = []
        self._known: _Combinations | None = None

    def encode(
        self,
        kinds: npt.NDArray[np.int64],
        label_ids: Codes,
        columns: Callable[[npt.NDArray[np.int64]], Sequence[AttributeColumn]],
        no_value: Callable[[AttributeColumn, npt.NDArray[np.bool_]], None],
    ) -> Texts:
        """As `AttributeEncoder.encode`; `columns` of some of the rows."""
        if len(self._hashes) > MAX_CACHED or (self._known is not None and self._known.is_full()):
            self._forget()
        hashes = kinds.astype(np.uint64) * _MULTIPLIER  # others for other kinds: the factor is odd
        found, places = self._places.find(hashes)
        if self._known is not None:
            self._known.note(found)
        if not found.all():
            unknown = np.flatnonzero(~found)
            _, first = np.unique(hashes[unknown], return_index=True)
            new = np.sort(unknown[first])
            self._add(hashes[new], label_ids[new], columns(new))
            _, places = self._places.find(hashes)
        if self._known is None:
            return Texts.same("[]", 0)
        numbers = self._numbers[places]
        for place, column in enumerate(self._used):
            refusing = self._known.refusing(place)
            if refusing.any() and (rows := refusing[numbers]).any():
                no_value(column, rows)
        return self._known.texts_of(numbers)

    def _add(self, hashes: npt.NDArray[np.uint64], label_ids: Codes, columns: Sequence[AttributeColumn]) -> None:
        """New kinds by their hashes, and what the first row of each says."""
        used = self._encoder.used(columns)
        if self._known is None:
            self._known, self._used = _Combinations(len(used)), used
        first = self._known.add(self._encoder.codes(label_ids, used, self._known), self._encoder.plan(used))
        order = np.argsort(hashes)
        at = np.searchsorted(self._hashes, hashes[order])
        self._numbers = np.insert(self._numbers, at, first + order)
        self._hashes = np.insert(self._hashes, at, hashes[order])
        self._places = HashPlaces(self._hashes)


class _Combinations:
    """The combinations of a label and some cells that were met, each with a number; found by a hash that is checked.

    A row is C + 1 codes: of its label, and of its cells (0 for none). Known combinations cost no step of Python.
    """

    def __init__(self, n_columns: int) -> None:
        self._plans: dict[int, list[tuple[int, Callable[[str], str | None], dict[int, str | None]]]] = {}
        self._cells: list[dict[str, int]] = [{} for _ in range(n_columns)]
        self._values: list[list[str | None]] = [[None] for _ in range(n_columns)]
        self._hashes: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)  # sorted
        self._places = HashPlaces(self._hashes)
        self._order: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # the number of each hash
        self._codes: Codes = np.zeros((n_columns + 1, 0), dtype=np.int32)
        self._refused: npt.NDArray[np.bool_] = np.zeros((n_columns, 0), dtype=np.bool_)
        self._text_codes: Codes = np.zeros(0, dtype=np.int32)
        self._collided: dict[bytes, int] = {}
        self._all_texts: list[str] = []
        self._texts: dict[str, int] = {}
        self._n_asked = self._n_known = 0

    def note(self, found: npt.NDArray[np.bool_]) -> None:
        """Which of some rows were known."""
        if len(self._text_codes) > MANY_CACHED:
            self._n_asked += len(found)
            self._n_known += int(np.count_nonzero(found))

    def is_full(self) -> bool:
        """Whether to begin anew: there are too many, or many that nobody asks for again."""
        is_vain = self._n_asked > MANY_CACHED // 4 and 8 * self._n_known < self._n_asked
        return is_vain or len(self._text_codes) > MAX_CACHED

    def cell_codes(self, place: int, column: AttributeColumn) -> Codes:
        """(N,) the code of each cell of a column, the same for the same text in every block; 0 for none."""
        known, values = self._cells[place], self._values[place]
        mapping = np.zeros(len(column.values) + 1, dtype=np.int32)  # -1 is the last
        used = np.flatnonzero(np.bincount(column.codes[column.codes >= 0], minlength=len(column.values)))
        for code in used.tolist():
            text = column.values[code]
            if text not in known:
                known[text] = len(values)
                values.append(text)
            mapping[code] = known[text]
        return mapping[column.codes]

    def numbers(self, codes: Codes, plan: Plan) -> npt.NDArray[np.int64]:
        """(N,) the number of each row's combination.

        Args:
            codes: (C + 1, N).
            plan: see `add`.
        """
        hashes = np.zeros(codes.shape[1], dtype=np.uint64)
        for row in codes:
            hashes ^= row.astype(np.uint64)
            hashes *= _MULTIPLIER
            hashes ^= hashes >> np.uint64(29)
        found, numbers = self._look_up(hashes)
        self.note(found)
        if not found.all():
            unknown = np.flatnonzero(~found)
            new, first = np.unique(hashes[unknown], return_index=True)
            rows = np.sort(unknown[first])
            self.add(codes[:, rows], plan)
            # `new` ascends as the known ones do; their numbers go by the rows they were met in.
            places = np.searchsorted(self._hashes, new)
            fresh = len(self._text_codes) - len(new) + np.searchsorted(rows, unknown[first])
            self._order = np.insert(self._order, places, fresh)
            self._hashes = np.insert(self._hashes, places, new)
            self._places = HashPlaces(self._hashes)
            _, numbers = self._look_up(hashes)
        differ = (self._codes[:, numbers] != codes).any(axis=0)
        for place in np.flatnonzero(differ).tolist():  # two combinations of one hash: practically never
            key = codes[:, place].tobytes()
            if key not in self._collided:
                self._collided[key] = len(self._text_codes)
                self.add(codes[:, place : place + 1], plan)
            numbers[place] = self._collided[key]
        return numbers

    def _look_up(self, hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        found, places = self._places.find(hashes)
        return found, self._order[places] if len(self._order) else places

    def add(self, codes: Codes, plan: Plan) -> int:
        """Number new combinations, (C + 1, K), one after the other. Returns the first number.

        Args:
            plan: of a label: the columns that it shows, in their order, and the JSON of a cell (None: cannot be shown).
        """
        text_codes, refused = [], np.zeros((len(codes) - 1, codes.shape[1]), dtype=np.bool_)
        for at, (label, *cells) in enumerate(codes.T.tolist()):
            if label not in self._plans:
                self._plans[label] = [(place, text_of, {}) for place, text_of in plan(label)]
            said = []
            for place, text_of, known in self._plans[label]:
                code = cells[place]
                if not code:
                    continue
                if code not in known:
                    known[code] = text_of(self._values[place][code] or "")
                text = known[code]
                if text is None:
                    refused[place, at] = True
                else:
                    said.append(text)
            whole = f"[{','.join(said)}]"
            number = self._texts.get(whole)
            if number is None:
                number = self._texts[whole] = len(self._all_texts)
                self._all_texts.append(whole)
            text_codes.append(number)
        self._codes = np.concatenate([self._codes, codes], axis=1)
        self._refused = np.concatenate([self._refused, refused], axis=1)
        self._text_codes = np.concatenate([self._text_codes, np.array(text_codes, dtype=np.int32)])
        return len(self._text_codes) - len(text_codes)

    def refusing(self, place: int) -> npt.NDArray[np.bool_]:
        """(K,) bool, the combinations whose cell in this column its attribute cannot take."""
        flags: npt.NDArray[np.bool_] = self._refused[place]
        return flags

    def texts_of(self, numbers: npt.NDArray[np.int64]) -> Texts:
        """The texts of combinations, with only the values they use."""
        codes = self._text_codes[numbers]
        used = np.flatnonzero(np.bincount(codes, minlength=len(self._all_texts)))
        compact = np.zeros(len(self._all_texts), dtype=np.int32)
        compact[used] = np.arange(len(used), dtype=np.int32)
        return Texts(compact[codes], tuple(map(self._all_texts.__getitem__, used.tolist())))


def attributes_text(values: Mapping[int, str]) -> str:
    """Values by spec id as the stored text: ascending spec_id, no spaces."""
    return f"[{','.join(_item_text(spec_id, encode_basestring(values[spec_id])) for spec_id in sorted(values))}]"


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
    if not value.isascii() or "_" in value:
        return None  # Python would take other digits, and 0_5
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
    if not one or not other:  # an empty text is no number and no flag, and most defaults are empty
        return False
    a = plain_decimal(one)
    if a is not None and a == plain_decimal(other):
        return True
    flag = FLAG_TEXTS.get(one.strip().lower())
    return flag is not None and flag == FLAG_TEXTS.get(other.strip().lower())


def is_silent(spec: AttributeSpec | None, value: str, cell: str, is_flag: bool = False) -> bool:
    """Whether the attribute of an imported row says nothing: its cell holds nothing that it can show, and it is at its
    default still.

    Args:
        cell: as it came; "1" or "0" of a flag.
    """
    if spec is None or not same_value(value, spec.default_value):
        return False
    text = cell.strip()
    return not text or shown_value(spec, text, is_flag) is None


def distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
