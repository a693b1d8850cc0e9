"""Many labels at once: the same as one after the other, by few statements, for others wait meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import event

from app.annotations import Label
from app.errors import InvalidInput
from app.storage import AttributeDraft, LabelDraft, Storage, labels
from app.storage import labels as module
from tests.storage.stores import make_task

N_V7_CLASSES = 20_638
GIVEN_COLORS = ("#123456", "#abcdef", "#654321")


def apply(storage: Storage, task_id: int, *drafts: LabelDraft) -> tuple[Sequence[Label], int]:
    """The labels after it, and how many statements it took."""
    statements: list[str] = []
    with storage.database.write() as conn:
        event.listen(conn, "before_cursor_execute", lambda *told: statements.append(told[2]))
        labels.apply(conn, drafts, task_id=task_id)
        n_statements = len(statements)
        return labels.of_task(conn, task_id).labels, n_statements


def spec(name: str, *, number: int = 0) -> AttributeDraft:
    if number % 3:
        return AttributeDraft(name, input_type="select", values=("one", "two"), mutable=bool(number % 2))
    return AttributeDraft(name, input_type="text", default_value=str(number))


def new_labels(n: int) -> list[LabelDraft]:
    joints = tuple(LabelDraft(f"joint {at}", attributes=(spec("seen", number=at),)) for at in range(3))
    made = [
        LabelDraft(
            f"label {number}",
            color="#123456" if number % 5 == 0 else None,
            attributes=tuple(spec(f"attribute {at}", number=number // 3 + at) for at in range(number // 3 % 4)),
        )
        for number in range(n)
    ]
    made[n // 2] = replace(made[n // 2], type="skeleton", sublabels=joints, svg="<svg/>")
    return made


def changed_labels(found: Sequence[Label]) -> list[LabelDraft]:
    drafts = []
    for number, label in enumerate(found):
        if number % 7 == 0:
            drafts.append(LabelDraft(None, id=label.id, deleted=True))
            continue
        draft = LabelDraft(None, id=label.id)
        if number % 2:
            draft = replace(draft, name=f"renamed {number}", color="#abcdef")
        if number % 3 == 0:
            attributes = tuple(AttributeDraft(one.name, input_type="text") for one in label.attributes[:1])
            draft = replace(draft, attributes=(*attributes, spec("later", number=number)))
        if label.sublabels:
            draft = replace(draft, sublabels=(LabelDraft("joint 0", color="#654321"), LabelDraft("joint 9")))
        drafts.append(draft)
    return [*drafts, LabelDraft("new at last", attributes=(spec("seen"),))]


def told(found: Sequence[Label]) -> list[object]:
    """Labels in the order of their ids, without these, and without the colors that they were not given."""
    return [
        (
            label.name, label.color if label.color in GIVEN_COLORS else "", label.type, label.svg,
            [(one.name, one.mutable, one.input_type, one.default_value, one.values) for one in label.attributes],
            told(label.sublabels),
        )
        for label in sorted(found, key=lambda one: one.id)
    ]  # fmt: skip


@pytest.mark.parametrize("alike_from", [2, module.ALIKE_FROM])
def test_many_at_once_are_as_one_after_the_other(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, alike_from: int
) -> None:
    monkeypatch.setattr(module, "ALIKE_FROM", alike_from)
    at_once, one_by_one = make_task(storage).id, make_task(storage).id
    new = new_labels(40)
    found, _ = apply(storage, at_once, *new)
    for draft in new:
        same, _ = apply(storage, one_by_one, draft)
    assert told(found) == told(same)
    chosen = [label.color for label in found if label.color not in GIVEN_COLORS]
    assert len(set(chosen)) == len(chosen) == 34
    changed, _ = apply(storage, at_once, *changed_labels(found))
    for draft in changed_labels(same):
        same, _ = apply(storage, one_by_one, draft)
    assert told(changed) == told(same)
    assert {"new at last", "renamed 1"} <= {label.name for label in changed}


def test_all_classes_of_a_data_set_take_few_statements(storage: Storage) -> None:
    task_id = make_task(storage).id
    new = [LabelDraft(f"class {number}", attributes=(spec("score"),)) for number in range(N_V7_CLASSES)]
    found, n_new = apply(storage, task_id, *new)
    assert len(found) == len(new) + 2  # the task had two
    later = [LabelDraft(id=label.id, name=f"{label.name}!", attributes=(spec("source"),)) for label in found]
    found, n_changed = apply(storage, task_id, *later)
    assert all(label.name.endswith("!") and label.attributes[-1].name == "source" for label in found)
    assert max(n_new, n_changed) < len(new) / 20
    with pytest.raises(InvalidInput, match="more than"):
        apply(storage, task_id, *(LabelDraft(f"another {number}") for number in range(module.MAX_LABELS)))


def test_what_is_remembered_of_labels_is_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", module._Remembered())
    monkeypatch.setattr(module, "REMEMBERED_BYTES", 100_000)
    for _ in range(5):
        task_id = make_task(storage).id
        long = AttributeDraft("text", input_type="select", values=("x" * 40_000,))
        apply(storage, task_id, LabelDraft("long", attributes=(long,)))
        with storage.database.read() as conn:
            first = labels.of_task(conn, task_id)
            assert labels.of_task(conn, task_id) is first
        known = module._REMEMBERED._known
        assert sum(map(module._size_of, (catalog for catalog, _ in known.values()))) <= 100_000
        assert module._REMEMBERED._n_bytes == sum(size for _, size in known.values())
    assert sum(size > 40_000 for _, size in module._REMEMBERED._known.values()) == 2


def test_labels_that_declare_the_same_take_a_row_for_each_attribute_once(storage: Storage) -> None:
    task_id = make_task(storage).id
    attributes = tuple(spec(f"attribute {at}", number=at) for at in range(8))
    new = [LabelDraft(f"class {number}", attributes=attributes) for number in range(1000)]
    n_rows = 0

    def count(_conn: object, _cursor: object, statement: str, rows: Sequence[object], *_: object) -> None:
        nonlocal n_rows
        n_rows += len(rows) if "INSERT INTO attribute_specs" in statement and isinstance(rows, list) else 1

    with storage.database.write() as conn:
        event.listen(conn, "before_cursor_execute", count)
        labels.apply(conn, new, task_id=task_id)
    assert n_rows < 100
    with storage.database.read() as conn:
        found = labels.of_task(conn, task_id).labels[-1000:]
    for label in found:
        assert [(one.name, one.mutable, one.values) for one in label.attributes] == [
            (one.name, one.mutable, one.values) for one in attributes
        ]


def test_the_labels_of_a_large_data_set_are_read_once(storage: Storage) -> None:
    task_id = make_task(storage).id
    attributes = tuple(spec(f"attribute {at}", number=at) for at in range(8))
    new = [LabelDraft(f"class {number}", attributes=attributes) for number in range(N_V7_CLASSES)]
    apply(storage, task_id, *new)
    with storage.database.read() as conn:
        found = labels.of_task(conn, task_id)
        assert labels.of_task(conn, task_id) is found
    n_statements = 0

    def count(*_: object) -> None:
        nonlocal n_statements
        n_statements += 1

    with storage.database.write() as conn:
        event.listen(conn.engine, "before_cursor_execute", count)
        try:
            labels.apply(conn, [LabelDraft("other", id=found.labels[5].id)], task_id=task_id)
        finally:
            event.remove(conn.engine, "before_cursor_execute", count)
    assert n_statements < 10
    with storage.database.read() as conn:
        assert labels.of_task(conn, task_id).labels[5].name == "other"
