"""A task's annotations under the labels of another project: each label and attribute becomes the one of its name.

    plan_moves    what becomes what, of what annotations use; or why not
    relabel       all blocks, and what imports recorded, in the caller's transaction
    relabelling   the blocks ahead of it, of a large task

Kept rows keep their words: an archive that nobody edited leaves as it came, whatever its labels' ids are by now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa

from app.annotations import AttributeSpec, Label, LabelCatalog
from app.columns import Ragged, Texts, distinct, dump_tight
from app.errors import InvalidInput, shorten
from app.storage.block_rows import (
    OBJECT_KINDS,
    Placed,
    pairs_of,
    read_block_list,
    read_column,
    write_changed,
)
from app.storage.block_steps import block_steps
from app.storage.database import Connection
from app.storage.rewriting import Change, with_columns
from app.storage.schema import TABLES_BY_KIND, annotation_sets, block_columns

RelabelExtras = Callable[[Mapping[str, Any], Mapping[int, int], Mapping[int, int]], Mapping[str, Any]]
"""A format's document of an import for labels and attributes of other ids."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Ids of labels (and sublabels) and of attributes, and what they become."""

    labels: Mapping[int, int]
    attributes: Mapping[int, int]


def plan_moves(conn: Connection, task_id: int, before: LabelCatalog, after: LabelCatalog) -> Moves:
    """What labels become.

    Raises:
        InvalidInput: annotations use a label or attribute that is not there, or means something else.
    """
    used = _used_labels(conn, task_id)
    found, attributes = dict[int, int](), dict[int, int]()
    for label in before.labels:
        other = after.by_name.get(label.name)
        family = {label.id, *(sublabel.id for sublabel in label.sublabels)}
        try:
            if other is None:
                raise ValueError("it has no label of this name")
            _pair(label, other, found, attributes)
        except ValueError as error:
            if family & used:
                message = f'annotations of the task have the label "{shorten(label.name)}", but the project does not: '
                raise InvalidInput(message + str(error), place="project_id", code="label.unknown") from error
    return Moves(found, attributes)


def _pair(label: Label, other: Label, labels: dict[int, int], attributes: dict[int, int]) -> None:
    """Raises ValueError, before anything is paired."""
    if other.type not in ("any", label.type):
        raise ValueError(f"its type there is {other.type}")
    specs = [(spec, _counterpart(spec, other)) for spec in label.attributes]
    known = {sublabel.name: sublabel for sublabel in other.sublabels}
    missing = [sublabel.name for sublabel in label.sublabels if sublabel.name not in known]
    if missing:
        raise ValueError(f'it has no sublabel "{shorten(missing[0])}" there')
    for sublabel in label.sublabels:
        _pair(sublabel, known[sublabel.name], labels, attributes)
    labels[label.id] = other.id
    attributes |= {spec.id: counterpart.id for spec, counterpart in specs}


def _counterpart(spec: AttributeSpec, label: Label) -> AttributeSpec:
    found = label.attribute(spec.name)
    if found is None:
        raise ValueError(f'it has no attribute "{shorten(spec.name)}" there')
    same = found.input_type == spec.input_type and found.mutable == spec.mutable
    if not same or (spec.input_type in ("select", "radio") and not set(spec.values) <= set(found.values)):
        raise ValueError(f'its attribute "{shorten(spec.name)}" is of another kind there, or lacks values')
    return found


def _used_labels(conn: Connection, task_id: int) -> set[int]:
    used: set[int] = set()
    for kind in OBJECT_KINDS:
        for blocks in block_steps(conn, task_id, (kind,)):
            ids = read_column(conn, kind, task_id, "label_ids", first=int(blocks[0]), last=int(blocks[-1]))
            used |= set(distinct(ids).tolist())
    return used


def relabel(conn: Connection, task_id: int, moves: Moves, relabel_extras: RelabelExtras) -> None:
    """Give every annotation its new ids."""
    for kind in OBJECT_KINDS:
        for blocks in block_steps(conn, task_id, (kind,)):
            before = read_block_list(conn, kind, task_id, blocks)
            after = Placed(_relabelled(before.table, moves), before.set_ids)
            write_changed(conn, kind, task_id, after, pairs_of(before))
    sets = annotation_sets.c
    visible = sets.task_id == task_id, sets.state == "visible"
    recorded = conn.execute(sa.select(sets.id, sets.extras).where(*visible, sets.extras.is_not(None)))
    for row in recorded.all():
        document = dict(relabel_extras(row.extras, moves.labels, moves.attributes))
        conn.execute(annotation_sets.update().where(sets.id == row.id).values(extras=document))


def relabelling(moves: Moves) -> Change:
    """The same for blocks that are written anew ahead (`rewriting`): no other column is looked at."""
    return with_columns(_labelled_columns, lambda _, column: _relabelled_column(column, moves))


def _labelled_columns(kind: str) -> list[str]:
    """Those that tell of labels."""
    return [name for name in block_columns(kind) if name in ("label_ids", "attributes", "elements", "bodies")]


def _relabelled(table: Any, moves: Moves) -> Any:
    kind = next(kind for kind in OBJECT_KINDS if isinstance(table, TABLES_BY_KIND[kind]))
    names = _labelled_columns(kind)
    return table.replace(**{name: _relabelled_column(getattr(table, name), moves) for name in names})


def _relabelled_column(column: Any, moves: Moves) -> Any:
    if isinstance(column, Texts):
        return Texts(column.codes, tuple(_text(text.encode(), moves).decode() for text in column.values))
    if isinstance(column, Ragged):
        if not column.lengths.any():
            return column
        return Ragged.from_bytes([_text(text, moves) for text in column.to_bytes_list()])
    ids, inverse = np.unique(column, return_inverse=True)
    return np.array([moves.labels[label_id] for label_id in ids.tolist()], dtype=np.int32)[inverse]


def _text(text: bytes, moves: Moves) -> bytes:
    return dump_tight(_value(orjson.loads(text), moves)) if text else text


def _value(value: Any, moves: Moves) -> Any:
    """A piece of JSON with the ids in it replaced; attributes ascend by theirs."""
    if isinstance(value, list):
        items: list[Any] = [_value(each, moves) for each in value]
        is_attributes = bool(items) and all(isinstance(each, dict) and "spec_id" in each for each in items)
        return sorted(items, key=lambda each: each["spec_id"]) if is_attributes else items
    if isinstance(value, dict):
        made: dict[str, Any] = {name: _value(each, moves) for name, each in value.items()}
        for name, known in (("label_id", moves.labels), ("spec_id", moves.attributes)):
            if name in made:
                made[name] = known[made[name]]
        return made
    return value
