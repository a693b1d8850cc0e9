"""`labels=create`: the labels that an archive needs and its target has not, made with the import, or not at all.

    find      what is missing, by the format → the target with labels to be (a dry run ends here)
    make      a hidden task holds the new labels while rows are written
    give      in the transaction of the request's end they become the target's

A refusal leaves no label behind, nor does a worker that dies (`storage.unfinished`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from app.annotations import AttributeSpec, Label, LabelCatalog
from app.archive import Archive
from app.errors import ImportProblems, Report
from app.formats import Format, ImportOptions, NewLabel, Target, selects_labels, wanted_labels
from app.operations.work import Work
from app.storage import (
    AttributeDraft,
    Connection,
    LabelDraft,
    Request,
    Result,
    Storage,
    labels,
    tasks,
    unfinished,
    users,
)

FIRST_ID = 1 << 30
"""Ids of labels that are never made are far from those that are."""


def find_new_labels(
    archive: Archive, format_: Format, target: Target, options: ImportOptions, report: Report
) -> tuple[Target, list[NewLabel]]:
    """The labels to make, told in the report (`created_labels`), and the target that knows which are not needed.

    Raises:
        ImportProblems: they are more than a task can have.
    """
    if options.labels != "create" or format_.new_labels is None:
        return target, []
    found = format_.new_labels(archive, target, options)
    if found and selects_labels(options):
        whole = _with_any(target, found)
        wanted = wanted_labels(archive, format_, whole, options)
    else:
        wanted = None
    if wanted is not None:
        names = {whole.labels.by_id[label_id].name for label_id in wanted}
        unneeded = {word for label in found if label.name not in names for word in label.words}
        target = replace(target, unneeded=target.unneeded | unneeded)
        found = [label for label in found if label.name in names]
    total = len(found) + len(target.labels.labels)
    if total > labels.MAX_LABELS:
        raise ImportProblems.single(
            "label.too_many",
            f"labels=create would make {len(found):,} labels, {total:,} in all; {labels.MAX_LABELS:,} are allowed. "
            "Select some (classes=, only_matching=true), or map several to one (map=)",
        )
    report.summary["created_labels"] = [
        {"name": label.name, "words": list(label.words), "attributes": [spec.name for spec in label.attributes]}
        for label in found
    ]
    return target, found


def with_labels(target: Target, new: Sequence[NewLabel]) -> Target:
    """The target as it would be with the labels; their ids are made up."""
    made, next_id = [], FIRST_ID
    for label in new:
        specs = tuple(replace(spec, id=next_id + 1 + at) for at, spec in enumerate(label.attributes))
        made.append(Label(next_id, label.name, "", "any", specs))
        next_id += 1 + len(specs)
    return replace(target, labels=LabelCatalog((*target.labels.labels, *made)))


def _with_any(target: Target, new: Sequence[NewLabel]) -> Target:
    """The same to look with: there may be any number of them, so those that declare the same share it."""
    shared = {specs: specs for specs in dict.fromkeys(label.attributes for label in new)}
    next_id = FIRST_ID + len(new)
    for specs in shared:
        shared[specs] = tuple(replace(spec, id=next_id + at) for at, spec in enumerate(specs))
        next_id += len(specs)
    made = [Label(FIRST_ID + at, one.name, "", "any", shared[one.attributes]) for at, one in enumerate(new)]
    return replace(target, labels=LabelCatalog((*target.labels.labels, *made)))


def drafts_of(new: Sequence[NewLabel]) -> list[LabelDraft]:
    return [LabelDraft(label.name, attributes=tuple(map(_draft, label.attributes))) for label in new]


def _draft(spec: AttributeSpec) -> AttributeDraft:
    return AttributeDraft(spec.name, spec.mutable, spec.input_type, spec.default_value, spec.values)


@contextmanager
def making_labels(work: Work, target: Target, new: Sequence[NewLabel]) -> Iterator[tuple[Work, Target]]:
    """Within it the new labels exist, but nobody sees them: the work to go on with, whose end gives them to the
    request's task (or the project it is in), and the target with them.

    Raises:
        Conflict: by the end of the work; the task's labels were changed meanwhile.
    """
    if not new:
        yield work, target
        return
    request = work.request
    try:
        with work.storage.database.write() as conn:
            unfinished.clear_earlier(conn, request)
            holder = tasks.create(conn, users.get(conn, request.owner.id), "labels of an import")
            unfinished.hide(conn, request, task_id=holder.id)
            taken = [label.color for label in target.labels.labels]
            labels.apply(conn, drafts_of(new), task_id=holder.id, taken_colors=taken)
        with work.storage.database.read() as conn:  # 20,000 of them take a while
            made = labels.of_task(conn, holder.id)
        whole = replace(target, labels=LabelCatalog((*target.labels.labels, *made.labels)))
        yield _WithLabels(work, holder.id), whole
    except BaseException:
        with work.storage.database.write() as conn:
            unfinished.clear(conn, request)
        raise


@dataclass
class _WithLabels:
    """A request's work whose end gives labels to its task too."""

    inner: Work
    holder_id: int

    @property
    def request(self) -> Request:
        return self.inner.request

    @property
    def storage(self) -> Storage:
        return self.inner.storage

    @property
    def options(self) -> Mapping[str, Any]:
        return self.inner.options

    @property
    def result_key(self) -> str:
        return self.inner.result_key

    @property
    def report(self) -> Mapping[str, Any] | None:
        return self.inner.report

    @report.setter
    def report(self, report: Mapping[str, Any] | None) -> None:
        self.inner.report = report

    @property
    def message(self) -> str:
        return self.inner.message

    @message.setter
    def message(self, message: str) -> None:
        self.inner.message = message

    def progress(self, fraction: float, message: str = "") -> None:
        self.inner.progress(fraction, message)

    @contextmanager
    def finishing(
        self,
        *,
        message: str = "",
        report: Mapping[str, Any] | None = None,
        result: Result | None = None,
        result_id: int | None = None,
    ) -> Iterator[Connection]:
        assert self.request.task_id is not None
        with self.inner.finishing(message=message, report=report, result=result, result_id=result_id) as conn:
            unfinished.hold_home(conn, self.request.task_id)
            yield conn
            unfinished.give_labels(conn, self.request, self.request.task_id, self.holder_id)
