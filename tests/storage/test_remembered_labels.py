"""Catalogs are read once, until some label changes: by anybody, in any way, also where the change is undone."""

from __future__ import annotations

import pytest

from app.storage import AttributeDraft, LabelDraft, Storage, labels
from app.storage import labels as module
from tests.storage.stores import make_task


def names(storage: Storage, task_id: int) -> list[tuple[str, list[str]]]:
    with storage.database.read() as conn:
        found = labels.of_task(conn, task_id)
        assert found == module._catalog(conn, module.labels.c.task_id == task_id)
    return [(label.name, [spec.name for spec in label.attributes]) for label in found.labels]


def test_every_change_of_a_label_is_seen(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = make_task(storage).id
    before = names(storage, task_id)
    with storage.database.write() as conn:
        labels.apply(conn, [LabelDraft(name="extra")], task_id=task_id)
    assert names(storage, task_id) == [*before, ("extra", [])]
    with storage.database.read() as conn:
        (extra,) = (label for label in labels.of_task(conn, task_id).labels if label.name == "extra")
    attribute = AttributeDraft(name="kind", input_type="text")
    for draft, told in (
        (LabelDraft(id=extra.id, name="other"), [("other", [])]),
        (LabelDraft(id=extra.id, name="other", attributes=(attribute,)), [("other", ["kind"])]),
        (LabelDraft(id=extra.id, name="other", deleted=True), []),
    ):
        with storage.database.write() as conn:
            labels.apply(conn, [draft], task_id=task_id)
        assert names(storage, task_id) == [*before, *told]


def test_a_change_that_is_undone_leaves_nothing(storage: Storage) -> None:
    task_id = make_task(storage).id
    before = names(storage, task_id)

    def change(name: str, *, undo: bool) -> None:
        with storage.database.write() as conn:
            labels.apply(conn, [LabelDraft(name=name)], task_id=task_id)
            assert name in [label.name for label in labels.of_task(conn, task_id).labels]
            if undo:
                raise KeyError(name)

    with pytest.raises(KeyError):
        change("never", undo=True)
    assert names(storage, task_id) == before
    change("now", undo=False)
    assert [name for name, _ in names(storage, task_id)] == [*(name for name, _ in before), "now"]


def test_unchanged_labels_are_not_read_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = make_task(storage).id
    with storage.database.write() as conn:
        labels.apply(conn, [LabelDraft(name="extra")], task_id=task_id)
    with storage.database.read() as conn:
        first = labels.of_task(conn, task_id)
        monkeypatch.setattr(module, "_catalog", None)
        assert labels.of_task(conn, task_id) is first
