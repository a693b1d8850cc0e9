"""The walk of an upload: staged file → archive → format → annotation set → published with the request's end.

Everything is read and checked before anything is visible; a refused archive leaves the task as it was. A dry run walks
the same way and publishes nothing, so its report is the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from app.annotations import Images
from app.archive import Archive
from app.errors import ImportProblems, Report
from app.formats import Format, ImportOptions, Target, detect, find_format, outlives, read_selected
from app.formats.base import Changes
from app.operations.dry_run import CountingSink
from app.operations.groups import free_groups, way_to_free_groups
from app.operations.merge import merge_staged
from app.operations.new_labels import find_new_labels, making_labels, with_labels
from app.operations.targets import Before, job_range, task_target
from app.operations.uploaded import open_upload
from app.operations.work import Limits, Work
from app.steps import reach
from app.storage import AnnotationReader, BlockCrew, Connection, SetWriter, SplitWriter, labels, requests, uploads
from app.storage import annotations as stored

# Reading takes most of the time; the last part is the store's.
READ_SHARE = 0.9

LARGE_TABLES_BYTES = 16 << 20
"""Tables, unpacked, with which a helper surely pays; it starts while this process reads what comes before rows."""


def import_annotations(work: Work, *, limits: Limits) -> None:
    """Handler of `import:annotations` for a task or a job.

    Raises:
        ImportProblems: the archive was refused; `work.report` holds every problem.
        Outdated: somebody changed what its caller had read before.
    """
    request, options = work.request, work.options
    task_id = request.task_id
    assert task_id is not None
    mode = options.get("mode") or "replace"
    report = Report(limit=limits.max_problems)
    with work.storage.database.snapshot() as conn:
        requests.check_revision(conn, request)  # before the work, too, which may take minutes
        upload = uploads.load(conn, request.upload_ids[0])
        start, stop = job_range(conn, request.job_id)
        target = known_before(conn, work, task_target(conn, task_id, start, stop), appends=mode != "replace")
        before = Before(target.labels, stored.revision_of(conn, task_id))
    if mode == "append":
        target = replace(target, listed=lambda: listed_images(work, task_id, start, stop))
    with telling(work, report), open_upload(work.storage, upload, limits) as (archive, _):
        format_ = choose_format(options.get("format"), archive.names())
        report.summary["format"] = format_.display_name
        report.summary["dry_run"] = bool(options.get("dry_run"))
        report.summary["mode"] = mode
        target, new = find_new_labels(archive, format_, target, import_options(options, limits), report)
        if options.get("dry_run"):
            import_into(work, archive, format_, with_labels(target, new), before, limits, report, start, stop)
            return
        with making_labels(work, target, new) as (labelling, whole):
            import_into(labelling, archive, format_, whole, before, limits, report, start, stop)


def import_into(
    work: Work,
    archive: Archive,
    format_: Format,
    target: Target,
    before: Before,
    limits: Limits,
    report: Report,
    start: int,
    stop: int | None,
) -> None:
    """Read the archive against a target with all its labels, and end the request: changed, or (a dry run) only told."""
    options, task_id = work.options, work.request.task_id
    mode = options.get("mode") or "replace"
    assert task_id is not None
    if mode == "merge":
        with (
            block_crew(work, archive, limits) as crew,
            stored.begin_set(work.storage, task_id, start=start, stop=stop, ids="none", crew=crew) as staged,
        ):
            read_archive(archive, format_, target, options, limits, staged, report, work)
            merge_staged(work, staged, format_, target, before, import_options(options, limits), report, start, stop)
        return
    if options.get("dry_run"):
        counting = CountingSink()
        added = read_archive(archive, format_, target, options, limits, counting, report, work)
        with work.storage.database.read() as conn:
            report.summary["changes"] = changes_of(conn, task_id, mode, added, start, stop)
        with work.finishing(message=summary_line(report), report=report.to_dict()) as conn:
            requests.check_revision(conn, work.request)
        return
    with (
        block_crew(work, archive, limits) as crew,
        stored.begin_set(work.storage, task_id, start=start, stop=stop, crew=crew) as writer,
    ):
        added = read_archive(archive, format_, target, options, limits, writer, report, work)
        with work.finishing() as conn:
            stored.lock_task(conn, task_id)
            requests.check_revision(conn, work.request)
            report.summary["changes"] = changes_of(conn, task_id, mode, added, start, stop)
            work.report, work.message = report.to_dict(), summary_line(report)
            if mode == "append" and stored.revision_of(conn, task_id) != before.revision:
                by = way_to_free_groups(conn, task_id, writer.set_id, target.first_group)
                if by:
                    stored.move_groups(conn, task_id, writer.set_id, by)
            stored.publish(conn, writer.set_id, mode=mode, start=start, stop=stop, outlives=outlives)
            labels.check_kept(conn, before.labels, task_id=task_id)


def block_crew(work: Work, archive: Archive, limits: Limits) -> BlockCrew:
    """Who encodes what is imported."""
    n_bytes = sum(archive.entry(name).size for name in archive.names() if name.endswith(".csv"))
    file = work.storage.database.file
    return BlockCrew(limits.mask_helpers, file=file, is_large=n_bytes >= LARGE_TABLES_BYTES)


def changes_of(
    conn: Connection, task_id: int, mode: str, added: Mapping[str, int], start: int, stop: int | None
) -> dict[str, Any]:
    """What an import does to the rows of each kind, before it is published."""
    before = stored.counts(conn, task_id, start=start, stop=stop)
    removed, kept = (before, {}) if mode == "replace" else ({}, before)
    return {
        kind: Changes(added=n, removed=removed.get(kind, 0), kept=kept.get(kind, 0)).to_dict()
        for kind, n in added.items()
    }


def known_before(conn: Connection, work: Work, target: Target, *, appends: bool) -> Target:
    """The target with what earlier imports recorded (labels' MIDs), and for an appended import group numbers that are
    not in use."""
    task_id = work.request.task_id
    assert task_id is not None
    reader = AnnotationReader(conn, work.storage, task_id, skip_deleted=False)
    try:
        target = replace(target, earlier=reader.extras())
    finally:
        reader.close()
    if not appends:
        return target
    first, room = free_groups(conn, task_id)
    return replace(target, first_group=first, group_room=room)


def listed_images(work: Work, task_id: int, start: int, stop: int | None) -> Iterator[Images]:
    """The images of which a task has rows, as they are now."""
    with work.storage.database.read() as conn:
        reader = AnnotationReader(conn, work.storage, task_id, start=start, stop=stop, skip_deleted=False)
        try:
            yield from reader.images()
        finally:
            reader.close()


@contextmanager
def telling(work: Work, report: Report) -> Iterator[None]:
    """A refusal within keeps the whole report, whoever found the problem."""
    try:
        yield
    except ImportProblems as problems:
        if problems.report is not report:
            for problem in problems.report.problems():
                report.add(problem)
        work.report = report.to_dict()
        raise ImportProblems(report) from problems


def read_archive(
    archive: Archive,
    format_: Format,
    target: Target,
    options: Mapping[str, Any],
    limits: Limits,
    sink: SetWriter | SplitWriter | CountingSink,
    report: Report,
    work: Work,
    done_before: float = 0.0,
) -> dict[str, int]:
    """Read and check all of the archive into the sink, as much of it as is selected, and count it in the report.

    Returns:
        Rows by kind.
    """
    share = READ_SHARE - done_before
    read_selected(
        format_,
        archive,
        target,
        import_options(options, limits),
        sink,
        report,
        lambda done: work.progress(done_before + share * done, "reading the archive"),
    )
    # Members that nobody read may be damaged too, and a damaged archive is taken by nobody.
    archive.verify(lambda done: work.progress(READ_SHARE, "checking the rest of the archive"))
    report.raise_if_errors()
    counts = sink.close()
    report.summary["annotations"] = counts
    reach("plan.done")
    return counts


def choose_format(name: str | None, entry_names: list[str]) -> Format:
    """The named format, else the one whose entries these are."""
    return find_format(name) if name else detect(entry_names)


def import_options(options: Mapping[str, Any], limits: Limits) -> ImportOptions:
    """The request's options as the format takes them; those that are not a format's are another station's."""
    known = {field.name for field in fields(ImportOptions)}
    given = {name: value for name, value in options.items() if name in known and value is not None}
    bounds = {
        "max_rows": limits.max_rows,
        "max_mask_pixels": limits.max_mask_pixels,
        "max_mask_bytes": limits.max_mask_bytes,
        "max_field_bytes": limits.max_field_bytes,
        "max_columns": limits.max_columns,
        "max_classes": limits.max_classes,
        "max_subsets": limits.max_subsets,
        "max_hierarchy_depth": limits.max_hierarchy_depth,
        "max_hierarchy_nodes": limits.max_hierarchy_nodes,
        "mask_helpers": limits.mask_helpers,
    }
    return ImportOptions(**{**given, **bounds})


def summary_line(report: Report) -> str:
    """What a finished import says of itself: counts, or what it took away, and the first warning where there is one."""
    is_dry = report.summary.get("dry_run")
    counts = _counted(report.summary["annotations"])
    line = f"{'would import' if is_dry else 'imported'} {counts}" if counts else "nothing to import"
    gone = _counted({kind: each["removed"] for kind, each in report.summary.get("changes", {}).items()})
    if gone and not counts:
        line += f"; {'would remove' if is_dry else 'removed'} {gone}"
    if report.n_warnings:
        line += f"; {report.warning_line()}"
    return line


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {kind if n != 1 else kind.removesuffix('s')}" for kind, n in counts.items() if n)
