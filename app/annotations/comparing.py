"""Columns of two tables side by side: which rows differ.

Attributes are compared by what they mean: a value that equals the attribute's default is the same as no value, because
answers show defaults and clients send back what they got.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import orjson

from app.columns import PackedRagged, Ragged, Texts, distinct

Flags = npt.NDArray[np.bool_]


def ragged_differ(old: Ragged, new: Ragged) -> Flags:
    """(N,) bool, rows whose values differ, in number or in any one."""
    if isinstance(old, PackedRagged) or isinstance(new, PackedRagged):
        return _packed_differ(old, new)
    differ: Flags = old.lengths != new.lengths
    same_length = np.flatnonzero(~differ)
    left, right = old.take(same_length), new.take(same_length)
    bad_values = np.flatnonzero(left.values != right.values)
    if len(bad_values):
        bad_rows = np.searchsorted(left.offsets, bad_values, side="right") - 1
        differ[same_length[distinct(bad_rows)]] = True
    return differ


def _packed_differ(old: Ragged, new: Ragged) -> Flags:
    """The same, with little of it unpacked at a time."""
    found = [np.empty(0, dtype=np.bool_)]
    start = 0
    for part in old.pieces():
        rows = range(start, start + len(part))
        found.append(np.array([not np.array_equal(part.row(at - start), new.row(at)) for at in rows], dtype=np.bool_))
        start += len(part)
    return np.concatenate(found)


def texts_differ(old: Texts, new: Texts) -> Flags:
    """(N,) bool."""
    both = Texts.concatenate([old, new])
    n_rows = len(old)
    found: Flags = both.codes[:n_rows] != both.codes[n_rows:]
    return found


def without_defaults(text: str, defaults: Mapping[int, str]) -> str:
    """An attributes text without the values that equal their default."""
    values = [value for value in orjson.loads(text or "[]") if defaults.get(value["spec_id"]) != value["value"]]
    return orjson.dumps(sorted(values, key=lambda value: value["spec_id"])).decode()


def attributes_differ(old: Texts, new: Texts, defaults: Mapping[int, str]) -> Flags:
    """(N,) bool, rows whose attributes mean something else; JSON is read once per distinct text."""
    both = Texts.concatenate([old, new])
    n_rows = len(old)
    before, after = both.codes[:n_rows], both.codes[n_rows:]
    differ: Flags = before != after
    if not bool(differ.any()):
        return differ
    suspects = distinct(np.concatenate([before[differ], after[differ]]))
    meaning: dict[str, int] = {}
    meanings = np.zeros(len(both.values), dtype=np.int64)
    for code in suspects.tolist():
        meanings[code] = meaning.setdefault(without_defaults(both.values[code], defaults), len(meaning))
    changed: Flags = differ & (meanings[before] != meanings[after])
    return changed


def choose_texts(chosen: Flags, if_true: Texts, if_false: Texts) -> Texts:
    """Row by row from one or the other."""
    both = Texts.concatenate([if_true, if_false])
    n_rows = len(if_true)
    return Texts(np.where(chosen, both.codes[:n_rows], both.codes[n_rows:]), both.values).compact()
