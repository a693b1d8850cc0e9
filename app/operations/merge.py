"""Merging a staged archive into a task: compared with what the task holds, and put in place in one step.

    staged set → compared with the task, range by range, on one snapshot → rows that leave, merged set → published

The comparison takes its time while others work on. If the task has changed meanwhile it is made again, the last time
with the task locked, so that what is published was always compared with what is there.
"""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations
from app.errors import Report, Unsupported
from app.formats import Format, ImportOptions, Target
from app.formats.base import Held, Merger, NewDocument
from app.heap import trim_heap
from app.operations.groups import way_to_free_groups
from app.operations.targets import Before
from app.operations.work import Work
from app.storage import AnnotationReader, Connection, SetWriter, labels, requests
from app.storage import annotations as stored

FREE_TRIES = 2
"""Comparisons beside others' work; one more holds the task."""


class _Changed(Exception):
    """The task is not what it was when it was compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What a merge would do, as of a revision of the task."""

    revision: int
    merger: Merger
    leaving: stored.Leaving
    arriving: npt.NDArray[np.int32]
    writer: SetWriter | None
    report: Report


def merge_staged(
    work: Work,
    staged: SetWriter,
    format_: Format,
    target: Target,
    before: Before,
    options: ImportOptions,
    report: Report,
    start: int,
    stop: int | None,
) -> None:
    """Merge a closed staged set, and end the request; with `dry_run` only tell what it would do.

    Raises:
        Conflict: the task lacks a label that it had, or has no room for the groups.
        Outdated: somebody changed what the caller had read before.
        Unsupported: archives of this format are not merged.
    """
    if format_.merger is None:
        raise Unsupported(f"{format_.display_name} archives cannot be merged; use mode=replace or mode=append")
    trim_heap()  # of what read the archive
    merging = Merging(work, staged, format_, target, before, options, report, start, stop)
    if work.options.get("dry_run"):
        with work.storage.database.snapshot() as conn:
            found = merging.compare(conn, None)
        with work.finishing(message=summary_line(found.report), report=found.report.to_dict()) as conn:
            requests.check_revision(conn, work.request)
        return
    for left in range(FREE_TRIES, -1, -1):
        with ExitStack() as stack:
            early: Comparison | None = None
            if left:
                writer = stack.enter_context(merging.begin(None))
                with work.storage.database.snapshot() as conn:
                    early = merging.compare(conn, writer)
            try:
                with work.finishing() as conn:
                    merging.settle(conn, early, stack)
                return
            except _Changed:
                continue


class Merging:
    """One merge at work."""

    def __init__(
        self,
        work: Work,
        staged: SetWriter,
        format_: Format,
        target: Target,
        before: Before,
        options: ImportOptions,
        report: Report,
        start: int,
        stop: int | None,
    ) -> None:
        self._before = before
        self._work, self._staged, self._format = work, staged, format_
        self._target, self._options, self._report = target, options, report
        self._start, self._stop = start, stop

    def begin(self, conn: Connection | None) -> SetWriter:
        """The set for what is added and corrected; the kept bytes are those of the staged one."""
        writer = stored.begin_set(
            self._work.storage, self._staged.task_id, start=self._start, stop=self._stop, ids="given", conn=conn
        )
        if self._staged.shared is not None:
            writer.share(*self._staged.shared)
        return writer

    def compare(self, conn: Connection, writer: SetWriter | None) -> Comparison:
        """Compare on one state of the store; what is new or corrected goes to the writer, which is closed then."""
        task_id = self._staged.task_id
        report = deepcopy(self._report)
        revision = stored.revision_of(conn, task_id)
        reader = AnnotationReader(conn, self._work.storage, task_id, skip_deleted=False)
        # What earlier imports left may be much: it is read anew where it may be another one.
        is_same = revision == self._before.revision
        target = self._target if is_same else replace(self._target, earlier=reader.extras())
        document = NewDocument(self._staged.set_id, self._staged.document)
        assert self._format.merger is not None
        merger = self._format.merger(document, target, self._options, report)
        by = 0
        if revision != self._before.revision:
            by = way_to_free_groups(conn, task_id, self._staged.set_id, target.first_group)
        leaving, arriving = stored.Leaving(), [np.empty(0, dtype=np.int32)]

        def write(rows: Annotations) -> None:
            arriving.extend(getattr(rows, kind).frames for kind in stored.KINDS)
            if writer is not None:
                writer.write(rows)

        meeting = stored.find_meeting(conn, task_id, self._staged.set_id, start=self._start, stop=self._stop)
        for both in stored.read_both(conn, meeting):
            goes = merger.merge(Held(both.held, both.imported), _with_groups(both.staged, by), write)
            for kind, rows in goes.items():
                leaving.add(kind, both.places[kind][rows], getattr(both.held, kind).frames[rows])
            del both  # nor is it held while more is read
        for kind, n_rows in meeting.apart.items():
            merger.changes[kind].kept += n_rows
        if writer is not None:
            writer.extras(merger.documents().new)
            writer.close()
            leaving.make_what_is_left(conn, task_id)
        report.summary |= merger.summary()
        return Comparison(revision, merger, leaving, np.concatenate(arriving), writer, report)

    def settle(self, conn: Connection, early: Comparison | None, stack: ExitStack) -> None:
        """Publish what was compared early if it still holds, else compare now.

        Raises:
            _Changed: it does not, and there is another try.
        """
        task_id = self._staged.task_id
        revision = stored.lock_for_merge(conn, task_id)
        requests.check_revision(conn, self._work.request)
        labels.check_kept(conn, self._before.labels, task_id=task_id)
        if early is not None and early.revision != revision:
            raise _Changed
        found = early
        if found is None:
            writer = self.begin(conn)
            stack.enter_context(writer)
            found = self.compare(conn, writer)
        assert found.writer is not None
        documents = found.merger.documents()
        stored.publish_merged(
            conn,
            task_id,
            staged_id=self._staged.set_id,
            merged_id=found.writer.set_id,
            leaving=found.leaving,
            arriving=found.arriving,
            documents=documents.earlier,
            is_needed=documents.is_needed,
        )
        self._work.report, self._work.message = found.report.to_dict(), summary_line(found.report)


def _with_groups(staged: Annotations, by: int) -> Annotations:
    """The rows with `by` added to the numbers of their groups."""
    if not by:
        return staged
    tables = {kind: getattr(staged, kind) for kind in ("shapes", "tags", "tracks")}
    moved = {kind: table.replace(groups=stored.moved_by(table.groups, by)) for kind, table in tables.items()}
    return replace(staged, **moved)


def summary_line(report: Report) -> str:
    """What a finished merge says of itself."""
    changes = report.summary["changes"].values()
    words = ("added", "changed", "removed", "unchanged", "kept")
    line = "merged: " + ", ".join(f"{sum(change[word] for change in changes)} {word}" for word in words)
    if report.n_warnings:
        line += f"; {report.warning_line()}"
    return line
