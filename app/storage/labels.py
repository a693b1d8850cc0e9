"""Labels and attributes of tasks and projects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from app.annotations import (
    INPUT_TYPES,
    LABEL_TYPES,
    MAX_NAME_CHARACTERS,
    AttributeSpec,
    Label,
    LabelCatalog,
    is_label_name,
)
from app.errors import AccessDenied, Conflict, InvalidInput, NotFound, shorten
from app.storage.access import visible
from app.storage.annotations import n_labelled, remove_labelled
from app.storage.changes import labels_mark, lock_tasks_of, touch_jobs, touch_labels, touch_project, touch_task
from app.storage.database import Connection
from app.storage.listing import Field, Listing, fetch_page
from app.storage.rewriting import NOTHING, Ahead, in_two_steps, is_large, without_labels, written_anew
from app.storage.rows import AttributeDraft, LabelDraft, ListQuery, Page, User
from app.storage.schema import attribute_specs, jobs, labels, projects, tasks
from app.storage.storage import Storage

MAX_LABELS = 25_000
"""Of a task or a project: the largest published set of classes, that of V7's image labels, has 20,638."""
REMEMBERED, REMEMBERED_BYTES = 16, 48 << 20
"""Catalogs that are kept, and what they may take together, about."""
LABEL_BYTES, ATTRIBUTE_BYTES = 400, 100  # without long texts; attributes share theirs
ALIKE_FROM = 16
"""So many new labels in a row that declare the same get it by a statement for each attribute."""
Known = TypeVar("Known", Label, AttributeSpec)
Draft = TypeVar("Draft", LabelDraft, AttributeDraft)
MAX_VALUES_CHARACTERS = 1 << 20
# Bright, and far apart from one another; a label takes the next one that its task does not use yet.
COLORS = (
    "#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe",
    "#008080", "#e6beff", "#9a6324", "#fffac8", "#800000", "#aaffc3", "#808000", "#ffd8b1", "#000075", "#808080",
)  # fmt: skip

_parents = labels.alias("parents")


@dataclass(frozen=True, slots=True)
class OwnedLabel:
    """A top-level label (or a sublabel, by `get`) and whose it is."""

    label: Label
    task_id: int | None
    project_id: int | None


LISTING = Listing(
    fields={
        "id": Field(labels.c.id, "integer"),
        "name": Field(labels.c.name),
        "color": Field(labels.c.color),
        "type": Field(labels.c.type),
        "parent": Field(_parents.c.name),
        "parent_id": Field(labels.c.parent_id, "integer"),
        "task_id": Field(labels.c.task_id, "integer"),
        "project_id": Field(labels.c.project_id, "integer"),
    },
    search=("name", "parent"),
    unique=labels.c.id,
    default_sort="id",
)


# ---- reading


def of_task(conn: Connection, task_id: int) -> LabelCatalog:
    """The labels a task's annotations may use: its project's, where it has one. Raises NotFound."""
    row = conn.execute(sa.select(tasks.c.project_id).where(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return remembered(conn, labels_mark(conn), task_id=task_id, project_id=row.project_id)


def of_project(conn: Connection, project_id: int) -> LabelCatalog:
    """The labels of a project."""
    return remembered(conn, labels_mark(conn), project_id=project_id)


def check_kept(
    conn: Connection, catalog: LabelCatalog, *, task_id: int | None = None, project_id: int | None = None
) -> None:
    """That a task (or project) still has all labels that it had. For who brings rows that were made for them: call it
    in the transaction that shows them, with the task (or project) locked.

    Raises:
        Conflict: it has not.
        NotFound: the task.
    """
    found = of_project(conn, project_id) if project_id is not None else of_task(conn, task_id or 0)
    gone = [label.name for label_id, label in catalog.by_id.items() if label_id not in found.by_id]
    if gone:
        raise Conflict(f'the label "{shorten(gone[0])}" was removed, or the task moved, meanwhile; import again')


class _Remembered:
    """The catalogs that were asked for last, by the mark of labels: 600 labels with attributes take 40 ms to read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], tuple[LabelCatalog, int]] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: tuple[str, str, int]) -> LabelCatalog | None:
        with self._lock:
            if key not in self._known:
                return None
            self._known.move_to_end(key)
            return self._known[key][0]

    def put(self, key: tuple[str, str, int], catalog: LabelCatalog) -> None:
        size = _size_of(catalog)
        with self._lock:
            if key in self._known:
                return
            self._known[key] = catalog, size
            self._n_bytes += size
            while len(self._known) > REMEMBERED or self._n_bytes > REMEMBERED_BYTES:
                _, (_, freed) = self._known.popitem(last=False)
                self._n_bytes -= freed


def _size_of(catalog: LabelCatalog) -> int:
    """About how many bytes of memory it takes."""
    return sum(
        LABEL_BYTES
        + ATTRIBUTE_BYTES * len(label.attributes)
        + len(label.svg)
        + sum(len(text) for spec in label.attributes for text in spec.values)
        for label in catalog.by_id.values()
    )


_REMEMBERED = _Remembered()


def remembered(
    conn: Connection, mark: str | None, *, task_id: int | None = None, project_id: int | None = None
) -> LabelCatalog:
    """The labels of a project, or of a task without one; read again only where `mark` (of now) is another."""
    kind, key, column = ("task", task_id, labels.c.task_id)
    if project_id is not None:
        kind, key, column = ("project", project_id, labels.c.project_id)
    assert key is not None, "labels of a task or of a project"
    if mark is None:
        return _catalog(conn, column == key)
    catalog = _REMEMBERED.get((mark, kind, key))
    if catalog is None:
        catalog = _catalog(conn, column == key)
        # Only where the mark is still the same: without a snapshot, another may have changed labels meanwhile.
        if labels_mark(conn) == mark:
            _REMEMBERED.put((mark, kind, key), catalog)
    return catalog


def _catalog(conn: Connection, chosen: sa.ColumnElement[bool]) -> LabelCatalog:
    rows = conn.execute(sa.select(labels).where(chosen).order_by(labels.c.id)).all()
    own = attribute_specs.c
    values = sa.type_coerce(own["values"], sa.Text)
    specs = conn.execute(
        sa.select(own.id, own.label_id, own.name, own.mutable, own.input_type, own.default_value, values)
        .join(labels, labels.c.id == own.label_id)
        .where(chosen)
        .order_by(own.id)
    ).all()
    return LabelCatalog(_build(rows, specs))


def _build(rows: Iterable[Any], specs: Iterable[Any]) -> tuple[Label, ...]:
    """20,000 labels have the same few attributes, mostly: their texts are held once."""
    attributes: dict[int, list[AttributeSpec]] = {}
    known: dict[str, str] = {}
    parsed: dict[str, tuple[str, ...]] = {}
    for key, label_id, name, mutable, input_type, default, values in specs:
        if values not in parsed:
            parsed[values] = tuple(orjson.loads(values))
        name, default = known.setdefault(name, name), known.setdefault(default, default)
        made = AttributeSpec(key, name, mutable, known.setdefault(input_type, input_type), default, parsed[values])
        attributes.setdefault(label_id, []).append(made)
    found: dict[int, Label] = {}
    children: dict[int, list[Label]] = {}
    for row in rows:
        label = Label(
            id=row.id,
            name=row.name,
            color=row.color,
            type=row.type,
            attributes=tuple(attributes.get(row.id, ())),
            svg=row.svg,
            parent_id=row.parent_id,
        )
        if row.parent_id is None:
            found[row.id] = label
        else:
            children.setdefault(row.parent_id, []).append(label)
    for parent_id, sublabels in children.items():
        if parent_id in found:
            found[parent_id] = replace(found[parent_id], sublabels=tuple(sublabels))
    return tuple(found.values())


def list_page(
    conn: Connection,
    viewer: User,
    query: ListQuery,
    *,
    task_id: int | None = None,
    project_id: int | None = None,
    job_id: int | None = None,
) -> Page[OwnedLabel]:
    """Top-level labels by ascending id. More than one of the ids: InvalidInput; one that is unknown: NotFound."""
    if sum(value is not None for value in (task_id, project_id, job_id)) > 1:
        raise InvalidInput("task_id, project_id and job_id exclude each other", place="task_id")
    select = (
        sa.select(labels)
        .join(_parents, _parents.c.id == labels.c.parent_id, isouter=True)
        .where(labels.c.parent_id.is_(None))
    )
    if task_id is not None:
        select = select.where(
            _labels_of_task(conn, visible(_task_project(tasks.c.id == task_id), tasks, viewer), task_id)
        )
    elif job_id is not None:
        chosen = _task_project(jobs.c.id == job_id).join(jobs, jobs.c.task_id == tasks.c.id)
        select = select.where(_labels_of_task(conn, visible(chosen, jobs, viewer), job_id, "job"))
    elif project_id is not None:
        chosen = visible(sa.select(projects.c.id).where(projects.c.id == project_id), projects, viewer)
        if conn.execute(chosen).one_or_none() is None:
            raise NotFound("project", project_id)
        select = select.where(labels.c.project_id == project_id)
    else:
        select = visible(select, labels, viewer)
    found = fetch_page(conn, select, LISTING, query, lambda row: row)
    ids = [row.id for row in found.items]
    built = {
        label.id: label for label in _catalog(conn, sa.or_(labels.c.id.in_(ids), labels.c.parent_id.in_(ids))).labels
    }
    items = tuple(OwnedLabel(built[row.id], row.task_id, row.project_id) for row in found.items)
    return Page(found.count, items, found.page, found.page_size)


def _task_project(chosen: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(tasks.c.id, tasks.c.project_id).where(chosen)


def _labels_of_task(conn: Connection, select: sa.Select[Any], key: int, what: str = "task") -> sa.ColumnElement[bool]:
    row = conn.execute(select).one_or_none()
    if row is None:
        raise NotFound(what, key)
    found: sa.ColumnElement[bool] = labels.c.task_id == row.id
    if row.project_id is not None:
        found = labels.c.project_id == row.project_id
    return found


def get(conn: Connection, viewer: User, label_id: int) -> OwnedLabel:
    """Raises NotFound."""
    row = conn.execute(visible(sa.select(labels).where(labels.c.id == label_id), labels, viewer)).one_or_none()
    if row is None:
        raise NotFound("label", label_id)
    top = row.id if row.parent_id is None else row.parent_id
    catalog = _catalog(conn, sa.or_(labels.c.id == top, labels.c.parent_id == top))
    return OwnedLabel(catalog.by_id[row.id], row.task_id, row.project_id)


# ---- changing


def change(conn: Connection, viewer: User, label_id: int, draft: LabelDraft) -> OwnedLabel:
    """Change one top-level label. Raises InvalidInput for a sublabel or a bad value, AccessDenied for another's."""
    owned = _top_level(conn, viewer, label_id)
    made = replace(draft, id=label_id, deleted=False)
    apply(conn, [made], task_id=owned.task_id, project_id=owned.project_id)
    return get(conn, viewer, label_id)


def remove(storage: Storage, viewer: User, label_id: int) -> None:
    """As `delete`, in a transaction of its own; the annotations of large tasks are written anew before it, so that
    others can write meanwhile."""

    def prepare() -> AbstractContextManager[Ahead]:
        with storage.database.read() as conn:
            owned = _top_level(conn, viewer, label_id)
        drafts = [LabelDraft(None, id=label_id, deleted=True)]
        return removing(storage, drafts, task_id=owned.task_id, project_id=owned.project_id)

    in_two_steps(storage, prepare, lambda conn, ahead: delete(conn, viewer, label_id, ahead=ahead))


def removing(
    storage: Storage, drafts: Sequence[LabelDraft], *, task_id: int | None = None, project_id: int | None = None
) -> AbstractContextManager[Ahead]:
    """What `apply` may do ahead of it, where labels go with annotations of large tasks."""
    gone = {draft.id for draft in drafts if draft.id is not None and draft.deleted}
    if not gone:
        return nullcontext(NOTHING)
    chosen = labels.c.task_id == task_id if project_id is None else labels.c.project_id == project_id
    with storage.database.read() as conn:
        is_one = sa.or_(labels.c.id.in_(gone), labels.c.parent_id.in_(gone))
        dead = list(conn.execute(sa.select(labels.c.id).where(chosen, is_one)).scalars())
        of_project = sa.select(tasks.c.id).where(tasks.c.project_id == project_id).order_by(tasks.c.id)
        task_ids = [task_id] if task_id is not None else list(conn.execute(of_project).scalars())
        task_ids = [one for one in task_ids if is_large(n_labelled(conn, one, dead))]
    return written_anew(storage, task_ids, frozenset(dead), without_labels(dead))


def delete(conn: Connection, viewer: User, label_id: int, *, ahead: Ahead = NOTHING) -> None:
    """Remove one top-level label with its annotations. Raises InvalidInput for a sublabel."""
    owned = _top_level(conn, viewer, label_id)
    drafts = [LabelDraft(None, id=label_id, deleted=True)]
    apply(conn, drafts, task_id=owned.task_id, project_id=owned.project_id, ahead=ahead)


def _top_level(conn: Connection, viewer: User, label_id: int) -> OwnedLabel:
    owned = get(conn, viewer, label_id)
    if owned.label.parent_id is not None:
        raise InvalidInput("a sublabel cannot be changed alone; change the label it belongs to", place="id")
    _check_home(conn, viewer, owned.task_id, owned.project_id)
    return owned


def check_may_add(conn: Connection, viewer: User, task_id: int) -> None:
    """That the viewer sees whose labels a task has. Raises NotFound, AccessDenied."""
    row = conn.execute(_task_project(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    _check_home(conn, viewer, row.id, row.project_id)


def _check_home(conn: Connection, viewer: User, task_id: int | None, project_id: int | None) -> None:
    table, key = (tasks, task_id) if project_id is None else (projects, project_id)
    if conn.execute(visible(sa.select(table.c.id), table, viewer).where(table.c.id == key)).one_or_none() is None:
        raise AccessDenied("these labels belong to a task or project that is not yours; ask its owner")


def apply(
    conn: Connection,
    drafts: Sequence[LabelDraft],
    *,
    task_id: int | None = None,
    project_id: int | None = None,
    taken_colors: Iterable[str] = (),
    ahead: Ahead = NOTHING,
) -> None:
    """Add, change and remove labels of one task or project (cvat-api, section 8).

    Args:
        taken_colors: colors that new labels do not get, beside those of the others.
        ahead: what `removing` gave.

    Raises:
        InvalidInput: duplicate names, unknown type or input type, name not 1 to 64 characters.
        NotFound: an id that is not a label of this task or project.
    """
    if not drafts:
        return
    assert (task_id is None) != (project_id is None), "labels belong to a task or to a project"
    home = {"task_id": task_id, "project_id": project_id}
    task_ids = [task_id] if task_id is not None else _hold_tasks(conn, project_id or 0)
    for one in task_ids:
        touch_task(conn, one)  # takes the lock too: no annotation is written with a label that goes away
        touch_jobs(conn, one)
    catalog = remembered(conn, labels_mark(conn), task_id=task_id, project_id=project_id)
    current = {label.id: label for label in catalog.labels}
    sound: set[tuple[AttributeDraft, ...]] = set()
    for index, draft in enumerate(drafts):
        if draft.id is not None and draft.id not in current:
            raise NotFound("label", draft.id, f"there is no label with id {draft.id}")
        _check(draft, current.get(draft.id) if draft.id is not None else None, f"labels[{index}]", sound)
    gone = [draft.id for draft in drafts if draft.id is not None and draft.deleted]
    _check_names(current, drafts)
    if gone:
        dead = [inner.id for label_id in gone for inner in (current[label_id], *current[label_id].sublabels)]
        for one in task_ids:
            if not ahead.show(conn, one, frozenset(dead)):
                remove_labelled(conn, one, dead)
        conn.execute(labels.delete().where(labels.c.id.in_(gone)))
    used = {*taken_colors, *(label.color for label in catalog.labels)}
    changes = _Changes()
    for draft in drafts:
        if draft.id is not None and not draft.deleted:
            changes.update(current[draft.id], draft)
    changes.added += [(draft, None) for draft in drafts if draft.id is None and not draft.deleted]
    changes.write(conn, home, used)
    touch_labels(conn)  # the last thing: nobody may take what is half done for what the new mark stands for


def as_new(drafts: Sequence[LabelDraft]) -> list[LabelDraft]:
    """The same labels without ids: people paste the labels of another task."""
    return [
        draft
        if draft.id is None and not draft.deleted and not draft.sublabels and _are_new(draft.attributes or ())
        else replace(
            draft,
            id=None,
            deleted=False,
            attributes=tuple(replace(attribute, id=None) for attribute in draft.attributes or ()),
            sublabels=tuple(as_new(draft.sublabels or ())),
        )
        for draft in drafts
    ]


def _are_new(attributes: Iterable[AttributeDraft]) -> bool:
    return all(attribute.id is None for attribute in attributes)


def _hold_tasks(conn: Connection, project_id: int) -> list[int]:
    """The tasks of a project, all locked, and the project: those that came into it before it was locked, too."""
    lock_tasks_of(conn, project_id)
    touch_project(conn, project_id)
    return lock_tasks_of(conn, project_id)


def _check_names(current: Mapping[int, Label], drafts: Sequence[LabelDraft]) -> None:
    names = {label_id: label.name for label_id, label in current.items()}
    added = []
    for draft in drafts:
        if draft.id is None:
            added.append(draft.name)
        elif draft.deleted:
            del names[draft.id]
        elif draft.name is not None:
            names[draft.id] = draft.name
    everything = [*names.values(), *added]
    if len(everything) > MAX_LABELS:
        raise InvalidInput(f"more than {MAX_LABELS} labels", place="labels")
    _unique(everything, "label", "labels")


def _unique(names: Iterable[str | None], what: str, place: str) -> None:
    seen: set[str | None] = set()
    for name in names:
        if name in seen:
            raise InvalidInput(f"the {what} name {shorten(name)!r} is there twice", place=place, code="label.duplicate")
        seen.add(name)


def _check(draft: LabelDraft, old: Label | None, place: str, sound: set[tuple[AttributeDraft, ...]]) -> None:
    """`sound`: attributes of labels before, which need no other look; others are added."""
    if draft.deleted and draft.id is not None:
        return
    _check_name(draft.name if draft.name is not None or old is None else old.name, f"{place}.name")
    kind = draft.type if draft.type is not None else old.type if old is not None else "any"
    if kind not in LABEL_TYPES:
        raise InvalidInput(f"{shorten(kind)!r} is not a label type", place=f"{place}.type")
    if draft.color is not None and (len(draft.color) > 16 or "\x00" in draft.color):
        raise InvalidInput("a color is a text such as #ff0000", place=f"{place}.color")
    if draft.svg is not None and ("\x00" in draft.svg or len(draft.svg) > MAX_VALUES_CHARACTERS):
        raise InvalidInput("not an SVG text", place=f"{place}.svg")
    if draft.sublabels and kind != "skeleton":
        raise InvalidInput("only a skeleton has sublabels", place=f"{place}.sublabels")
    if old is not None and draft.type is not None:
        if old.sublabels and kind != "skeleton":
            message = f"{shorten(old.name)!r} is a skeleton and stays one; its parts would be lost"
            raise InvalidInput(message, place=f"{place}.type")
        if kind == "skeleton" and not (old.sublabels or draft.sublabels):
            raise InvalidInput("a skeleton needs sublabels", place=f"{place}.sublabels")
    for index, sublabel in enumerate(draft.sublabels or ()):
        if sublabel.sublabels or sublabel.type == "skeleton":
            raise InvalidInput("sublabels have no sublabels", place=f"{place}.sublabels[{index}]")
        _check(replace(sublabel, deleted=False), None, f"{place}.sublabels[{index}]", sound)
    _unique((sublabel.name for sublabel in draft.sublabels or ()), "sublabel", f"{place}.sublabels")
    if not draft.attributes or draft.attributes in sound:
        return
    for index, attribute in enumerate(draft.attributes):
        _check_attribute(attribute, f"{place}.attributes[{index}]")
    _unique((attribute.name for attribute in draft.attributes), "attribute", f"{place}.attributes")
    sound.add(draft.attributes)


def _check_name(name: str | None, place: str) -> None:
    if name is None or not is_label_name(name):
        message = f"a name has 1 to {MAX_NAME_CHARACTERS} characters, no control character and no blank around it"
        raise InvalidInput(message, place=place)


def _check_attribute(attribute: AttributeDraft, place: str) -> None:
    _check_name(attribute.name, f"{place}.name")
    if attribute.input_type not in INPUT_TYPES:
        raise InvalidInput(f"{shorten(attribute.input_type)!r} is not an input type", place=f"{place}.input_type")
    texts = (*attribute.values, attribute.default_value)
    if sum(map(len, texts)) > MAX_VALUES_CHARACTERS or any("\x00" in text for text in texts):
        raise InvalidInput("the values are too long or hold a NUL character", place=f"{place}.values")
    if attribute.input_type == "number" and len(attribute.values) != 3:
        raise InvalidInput("a number has three values: min, max, step", place=f"{place}.values")
    if attribute.input_type in ("select", "radio") and not attribute.values:
        raise InvalidInput("there must be a value to choose", place=f"{place}.values")


class _Changes:
    """What becomes of the labels of a task, gathered, so that a statement serves many of them: one by one, 20,000 hold
    the lock for longer than others wait for it."""

    def __init__(self) -> None:
        self.added: list[tuple[LabelDraft, int | None]] = []
        """New labels, each with its parent's id."""
        self._labels: dict[tuple[str, ...], list[dict[str, Any]]] = {}  # by the columns that change
        self._specs: list[dict[str, Any]] = []
        self._new_specs: list[dict[str, Any]] = []

    def update(self, old: Label, draft: LabelDraft) -> None:
        """Attributes and sublabels that are not mentioned stay."""
        values = {"name": draft.name, "color": draft.color or None, "type": draft.type, "svg": draft.svg}
        values = {name: value for name, value in values.items() if value is not None}
        if values:
            self._labels.setdefault(tuple(values), []).append({"key": old.id, **values})
        for attribute, spec in _paired(old.attributes, draft.attributes or (), "attribute"):
            changed = _spec_values(old.id, attribute)
            if spec is None:
                self._new_specs.append(changed)
            else:
                self._specs.append({"key": spec.id, **changed})
        for sublabel, label in _paired(old.sublabels, draft.sublabels or (), "sublabel"):
            if label is None:
                self.added.append((sublabel, old.id))
            else:
                self.update(label, sublabel)

    def write(self, conn: Connection, home: Mapping[str, int | None], used: set[str]) -> None:
        """Args:
        used: colors that new labels do not get; theirs are added.
        """
        for rows in self._labels.values():
            conn.execute(labels.update().where(labels.c.id == sa.bindparam("key")), rows)
        if self._specs:
            conn.execute(attribute_specs.update().where(attribute_specs.c.id == sa.bindparam("key")), self._specs)
        if self._new_specs:
            conn.execute(attribute_specs.insert(), self._new_specs)
        _insert(conn, self.added, home, used)


def _insert(
    conn: Connection, drafts: Sequence[tuple[LabelDraft, int | None]], home: Mapping[str, int | None], used: set[str]
) -> None:
    """Add labels, each with its parent's id, and their attributes and sublabels."""
    if not drafts:
        return
    rows = []
    for draft, parent_id in drafts:
        color = draft.color or _next_color(used)
        used.add(color)
        kind = draft.type or ("points" if parent_id is not None else "any")
        own = {"parent_id": parent_id, "name": draft.name, "color": color, "type": kind, "svg": draft.svg or ""}
        rows.append({**home, **own})
    # The engines give ids in the order of the rows, and tell which by another statement: RETURNING is one for each row.
    at_home = [labels.c[name] == key for name, key in home.items() if key is not None]
    last = conn.execute(sa.select(sa.func.max(labels.c.id)).where(*at_home)).scalar() or 0
    conn.execute(labels.insert(), rows)
    made = sa.select(labels.c.id).where(*at_home, labels.c.id > last).order_by(labels.c.id)
    ids = conn.execute(made).scalars().all()
    placed = [(label_id, draft) for label_id, (draft, _) in zip(ids, drafts, strict=True)]
    _insert_specs(conn, at_home, placed)
    _insert(conn, [(one, label_id) for label_id, draft in placed for one in draft.sublabels or ()], home, used)


def _insert_specs(
    conn: Connection, at_home: Sequence[sa.ColumnElement[bool]], placed: Sequence[tuple[int, LabelDraft]]
) -> None:
    """Add the attributes of new labels, which follow one another."""
    specs = []
    for attributes, group in groupby(placed, key=lambda each: each[1].attributes or ()):
        ids = [label_id for label_id, _ in group]
        if len(ids) < ALIKE_FROM:
            specs += [_spec_values(label_id, one) for label_id in ids for one in attributes]
            continue
        of_all = sa.and_(*at_home, labels.c.id.between(ids[0], ids[-1]))
        for one in attributes:
            values = {name: value for name, value in _spec_values(0, one).items() if name != "label_id"}
            same = [sa.literal(value, attribute_specs.c[name].type) for name, value in values.items()]
            rows = sa.select(labels.c.id, *same).where(of_all).order_by(labels.c.id)
            conn.execute(attribute_specs.insert().from_select(["label_id", *values], rows))
    if specs:
        conn.execute(attribute_specs.insert(), specs)


def _next_color(used: set[str]) -> str:
    free = next((color for color in COLORS if color not in used), None)
    if free is not None:
        return free
    number = len(used) * 0x9E3779B1 & 0xFFFFFF  # golden ratio: neighbours are far apart
    while f"#{number:06x}" in used:
        number = (number + 1) & 0xFFFFFF
    return f"#{number:06x}"


def _default(attribute: AttributeDraft) -> str:
    return attribute.default_value or (attribute.values[0] if attribute.values else "")


def _spec_values(label_id: int, attribute: AttributeDraft) -> dict[str, Any]:
    return {
        "label_id": label_id,
        "name": attribute.name,
        "mutable": attribute.mutable,
        "input_type": attribute.input_type,
        "default_value": _default(attribute),
        "values": list(attribute.values),
    }


def _paired(there: Sequence[Known], drafts: Sequence[Draft], what: str) -> list[tuple[Draft, Known | None]]:
    """Each draft with what it changes: by id, else by name (of those that no draft has the id of); new ones with None.

    Raises:
        InvalidInput: two would have one name.
    """
    by_id = {one.id: one for one in there}
    asked = {draft.id for draft in drafts}
    by_name = {one.name: one for one in there if one.id not in asked}
    pairs: list[tuple[Draft, Known | None]] = [
        (draft, by_id.get(draft.id or 0) or by_name.get(draft.name or "")) for draft in drafts
    ]
    names: dict[int, str | None] = {one.id: one.name for one in there}
    names |= {known.id: draft.name for draft, known in pairs if known is not None}
    _unique([*names.values(), *(draft.name for draft, known in pairs if known is None)], what, f"{what}s")
    return pairs
