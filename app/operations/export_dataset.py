"""The walk back: the task's annotations → format → archive → a stored result, or straight into a stream.

One read snapshot serves the whole export, so it shows one state, at or after the moment it was asked for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from app.annotations import MovingShapes
from app.archive import ArchiveWriter
from app.errors import InvalidInput, Problem, Report
from app.formats import ExportOptions, Format, Target, count_selected, find_format
from app.operations.names import download_name
from app.operations.targets import ProjectSource, TaskSource, job_range, project_target, task_target
from app.operations.work import Work
from app.steps import reach
from app.storage import Result, Storage

DEFAULT_FORMAT = "Open Images V6 1.0"
TURN_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Exported:
    """What is exported: a task, a job of it, or (without either) a project."""

    task_id: int | None
    job_id: int | None = None
    project_id: int | None = None


def export_dataset(work: Work, *, mask_helpers: int = 0) -> None:
    """Handler of `export:dataset` and `export:annotations` of a task, job or project: a file to download."""
    request = work.request
    format_ = find_format(work.options.get("format") or DEFAULT_FORMAT)
    options = export_options({**work.options, "mask_helpers": mask_helpers})
    writer = work.storage.blobs.open_writer(work.result_key)
    report = Report()
    try:
        write_dataset(
            work.storage,
            Exported(request.task_id, request.job_id, request.project_id),
            format_,
            options,
            writer.write,
            report,
            lambda done: work.progress(done, "writing the archive"),
        )
        key = getattr(request, f"{request.target}_id")
        name = work.options.get("filename") or download_name(
            request.target, key, options.save_images, request.created_date, format_.display_name
        )
        result = Result(work.result_key, writer.size, name)
        writer.finish(result)
        reach("export.done")
    except BaseException:
        writer.abort()
        raise
    with work.finishing(message=report.warning_line(), report=report.to_dict(), result=result):
        pass


def stream_dataset(
    storage: Storage, job: Mapping[str, Any], send: Callable[[bytes], None], *, mask_helpers: int = 0
) -> None:
    """An export straight to its reader; `job` holds task_id, job_id, and the options; with `dry_run` its counts,
    with `image_list` the names of its images."""
    format_ = find_format(job.get("format") or DEFAULT_FORMAT)
    what = Exported(job.get("task_id"), job.get("job_id"), job.get("project_id"))
    report = Report()
    if job.get("image_list"):
        with opened(storage, what) as (target, source):
            assert format_.list_images is not None
            for chunk in format_.list_images(source, target, export_options(job), report):
                send(chunk)
            _check_selection(report)
        return
    if job.get("dry_run"):
        send(json.dumps(count_dataset(storage, what, format_, export_options(job))).encode())
        return
    options = export_options({**job, "mask_helpers": mask_helpers})

    def send_checked(chunk: bytes) -> None:
        _check_selection(report)
        send(chunk)

    write_dataset(storage, what, format_, options, send_checked, report, lambda done: None)


def _check_selection(report: Report) -> None:
    """A stream has no report: what is empty because a word of the selection means nothing is refused instead.

    Raises:
        InvalidInput: with what was probably meant.
    """
    if "selection.unknown" in report.counts and "selection.empty" in report.counts:
        told = next(
            (one.message for one in report.warnings if one.code == "selection.empty"), report.warnings[0].message
        )
        raise InvalidInput(told, code="selection.empty")


def count_dataset(storage: Storage, what: Exported, format_: Format, options: ExportOptions) -> dict[str, Any]:
    """The report of an export that is not written: `selection` tells what there is and what would be in it."""
    report = Report()
    with opened(storage, what) as (target, source):
        _tell_of_earlier_tracks(source, target, report)
        count_selected(format_, source, target, options, report)
    return {"dry_run": True, "format": format_.display_name, **report.to_dict()}


def write_dataset(
    storage: Storage,
    what: Exported,
    format_: Format,
    options: ExportOptions,
    send: Callable[[bytes], None],
    report: Report,
    progress: Callable[[float], None],
) -> None:
    """Write the whole archive of a task, a job or a project, from one state of the store."""
    assert format_.write is not None
    with short_turns(), opened(storage, what) as (target, source):
        archive = ArchiveWriter(send)
        _tell_of_earlier_tracks(source, target, report)
        format_.write(source, target, archive, options, report, progress)
        archive.close()


def _tell_of_earlier_tracks(source: TaskSource | ProjectSource, target: Target, report: Report) -> None:
    """A track is of the job that it begins in. Were its later shapes written for the next job, too, they would come
    back as boxes beside the track."""
    if not target.is_part or not isinstance(source, TaskSource):
        return
    start = target.frames.start
    moving = MovingShapes(source.earlier_tracks(), start, start + len(target.frames))
    if count := moving.count_on(~target.frames.deleted):
        message = (
            f"{count} shapes of tracks that begin in an earlier job are left out of this one; "
            "an export of the task has them"
        )
        report.add_many([Problem("export.earlier_tracks", message, "warning")], count)


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads take turns after half a millisecond. An export has one that deflates what is not copied as it is stored,
    and after each step one of them would wait Python's own 5 ms for the others. An import, whose threads seldom need
    Python, is no quicker for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def opened(storage: Storage, what: Exported) -> Iterator[tuple[Target, TaskSource | ProjectSource]]:
    """One state of a task, a job or a project: what annotations refer to, and the annotations."""
    with storage.database.snapshot() as conn:
        source: TaskSource | ProjectSource
        if what.task_id is not None:
            start, stop = job_range(conn, what.job_id)
            target = task_target(conn, what.task_id, start, stop, names_later=True)
            source = TaskSource(conn, storage, what.task_id, start, stop)
        else:
            assert what.project_id is not None
            target, places = project_target(conn, what.project_id)
            source = ProjectSource(conn, storage, places)
        try:
            yield target, source
        finally:
            source.close()


def export_options(options: Mapping[str, Any]) -> ExportOptions:
    known = {field.name for field in fields(ExportOptions)}
    return ExportOptions(**{name: value for name, value in options.items() if name in known and value is not None})
