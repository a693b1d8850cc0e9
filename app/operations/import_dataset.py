"""The walk of a dataset into a project: its pictures become new tasks, one a subset, and its annotations theirs.

    zip → pictures by subset → hidden tasks with their frames → one read against all frames, split by task
        → published, shown and in the project with the request's end

The tasks are there from the start, but nobody sees them before the end (`storage.unfinished`): a refusal leaves the
project as it was, and so does a worker that dies. Tasks that the project has already are not touched.

Source: CVAT's import of a dataset into a project; labels of the dataset become those of a project without any, classes
that no row has among them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.annotations import MAX_NAME_CHARACTERS, FrameTable, LabelCatalog, is_label_name
from app.archive import Archive, ByteSource, Entry
from app.columns import Ragged, Texts
from app.errors import InvalidInput, Report, Unsupported
from app.formats import ArchivePicture, Format, ImportOptions, NewLabel, Target, selects_labels
from app.images import PictureSize
from app.operations.arrange import default_chunk_size
from app.operations.dry_run import CountingSink
from app.operations.import_annotations import choose_format, import_options, read_archive, summary_line, telling
from app.operations.ingest_images import (
    PICTURE_EXTENSIONS,
    STORED,
    Found,
    Holder,
    extension,
    found_member,
    frame_columns,
    measure_all,
)
from app.operations.new_labels import drafts_of, find_new_labels, with_labels
from app.operations.uploaded import open_upload
from app.operations.work import Limits, Work
from app.storage import (
    Segment,
    SplitWriter,
    TaskData,
    User,
    frames,
    labels,
    projects,
    tasks,
    unfinished,
    uploads,
    users,
)
from app.storage import annotations as stored

MAX_SUBSETS = 1000
MAX_SUBSET_CHARACTERS = 64
BACKGROUND = "background"  # CVAT drops the label of this name
COPIED = 0.4  # the share of the work that is done when the pictures are in their tasks


@dataclass(frozen=True, slots=True)
class Subset:
    """The pictures of one task to be, in frame order: their entries, where they lie, their sizes."""

    name: str
    entries: list[Entry]
    pictures: list[Found]
    sizes: list[PictureSize]


def import_dataset(work: Work, *, limits: Limits) -> None:
    """Handler of `import:dataset` of a project.

    Raises:
        ImportProblems: the archive was refused; `work.report` holds every problem.
        InvalidInput: no picture, a picture that is none, a subset or label name that cannot be one.
    """
    request, options, storage = work.request, work.options, work.storage
    assert request.project_id is not None
    report = Report(limit=limits.max_problems)
    with storage.database.read() as conn:
        upload = uploads.load(conn, request.upload_ids[0])
        project = projects.load(conn, request.project_id)
        catalog = labels.of_project(conn, project.id)
        owner = users.get(conn, request.owner.id)
    with telling(work, report), open_upload(storage, upload, limits) as (archive, source):
        format_ = choose_format(options.get("format"), archive.names())
        report.summary["format"] = format_.display_name
        report.summary["dry_run"] = bool(options.get("dry_run"))
        subsets = find_subsets(archive, source, format_, limits, work)
        creating = options.get("labels") == "create"
        target = dataset_target(subsets, catalog, project.name)
        chosen = import_options(options, limits)
        target, new = find_new_labels(archive, format_, target, chosen, report)
        if not creating and not catalog.labels:
            new = dataset_labels(archive, format_, chosen)
        report.summary["tasks"] = {subset.name: len(subset.pictures) for subset in subsets}
        if options.get("dry_run"):
            target = with_labels(target, new)
            counting = CountingSink()
            read_archive(archive, format_, target, options, limits, counting, report, work, COPIED)
            with work.finishing(message=summary_line(report), report=report.to_dict()):
                pass
            return
        try:
            with storage.database.write() as conn:
                unfinished.clear_earlier(conn, request)
            task_ids = [make_task(work, owner, subset, archive) for subset in subsets]
            if new:
                with storage.database.write() as conn:
                    taken = [label.color for label in catalog.labels]
                    labels.apply(conn, drafts_of(new), task_id=task_ids[0], taken_colors=taken)
                with storage.database.read() as conn:
                    made = labels.of_task(conn, task_ids[0])
                target = replace(target, labels=LabelCatalog((*catalog.labels, *made.labels)))
            parts = [(task_id, len(subset.pictures)) for task_id, subset in zip(task_ids, subsets, strict=True)]
            with SplitWriter(storage, parts) as writer:
                read_archive(archive, format_, target, options, limits, writer, report, work, COPIED)
                with work.finishing(message=summary_line(report), report=report.to_dict()) as conn:
                    for set_id in writer.set_ids:
                        stored.publish(conn, set_id)
                    holder = task_ids[0] if new else None
                    unfinished.give_to_project(conn, request, project.id, holder, had_labels=bool(catalog.labels))
                    labels.check_kept(conn, catalog, project_id=project.id)
                    unfinished.reveal(conn, request)
        except BaseException:
            with storage.database.write() as conn:
                unfinished.clear(conn, request)
            raise


def find_subsets(archive: Archive, source: ByteSource, format_: Format, limits: Limits, work: Work) -> list[Subset]:
    """The pictures of the archive by subset, each measured.

    Raises:
        Unsupported: the format's archives have no pictures.
        InvalidInput: no picture at all, two of one name, a file that is none, too many subsets.
    """
    if format_.pictures is None:
        raise Unsupported(f"{format_.display_name} archives hold no pictures; import them into tasks that have theirs")
    by_subset: dict[str, list[ArchivePicture]] = {}
    for picture in format_.pictures(archive):
        if extension(picture.path) in PICTURE_EXTENSIONS:
            by_subset.setdefault(picture.subset, []).append(picture)
    if not by_subset:
        raise InvalidInput(
            "the dataset holds no picture (images/<subset>/<name>); a project's tasks are made of them. Import "
            "annotations alone into a task that has its pictures",
            code="image.none",
        )
    if len(by_subset) > MAX_SUBSETS:
        raise InvalidInput(f"the dataset has {len(by_subset):,} subsets; {MAX_SUBSETS:,} are allowed", code="limit")
    subsets = []
    holder = Holder(source, 0, archive)
    for name, listed in sorted(by_subset.items()):
        if len(name) > MAX_SUBSET_CHARACTERS:
            raise InvalidInput(f"a subset's name has at most {MAX_SUBSET_CHARACTERS} characters: {name[:80]!r}")
        seen: set[str] = set()
        for picture in listed:
            if picture.name in seen:
                raise InvalidInput(
                    f"{picture.path!r}: subset {name!r} has another picture of the name {picture.name!r}"
                )
            seen.add(picture.name)
        entries = [archive.entry(one.path) for one in listed]
        found = [found_member(holder, entry, one.name, 0) for entry, one in zip(entries, listed, strict=True)]
        subsets.append(Subset(name, entries, found, measure_all(found, limits, work)))
    return subsets


def dataset_labels(archive: Archive, format_: Format, options: ImportOptions) -> list[NewLabel]:
    """The labels that a dataset names, for a project that has none, with what it says of them beyond rows: those of its
    rows, and classes without any, unless there are more than labels can be or some are chosen.

    Raises:
        InvalidInput: a name that no label can have.
    """
    if format_.survey is None:
        return []
    found = format_.survey(archive, options)
    for name in found.labels:
        if not is_label_name(name):
            raise InvalidInput(
                f"{name[:80]!r} cannot be a label: a name has 1 to {MAX_NAME_CHARACTERS} characters, no control "
                "character and no blank around it. Give the project its labels first",
                code="label.unknown",
            )
    names = dict.fromkeys(name for name in (*found.classes, *found.labels) if is_label_name(name))
    if len(names) > labels.MAX_LABELS or selects_labels(options):
        names = dict.fromkeys(found.labels)
    names.pop(BACKGROUND, None)
    return [NewLabel(name, attributes=found.attributes.get(name, ())) for name in names]


def dataset_target(subsets: Sequence[Subset], catalog: LabelCatalog, name: str) -> Target:
    """All frames to be, one task after the other."""
    found = [picture for subset in subsets for picture in subset.pictures]
    sizes = [size for subset in subsets for size in subset.sizes]
    table = FrameTable(
        Ragged.from_bytes([picture.name.encode("utf-8") for picture in found]),
        np.array([size.width for size in sizes], dtype=np.int32),
        np.array([size.height for size in sizes], dtype=np.int32),
        np.zeros(len(found), dtype=np.bool_),
    )
    of_frames = Texts.concatenate([Texts.same(subset.name, len(subset.pictures)) for subset in subsets])
    stops = np.cumsum([len(subset.pictures) for subset in subsets])
    return Target(table, catalog, of_frames, name, parts=(0, *stops[:-1].tolist()))


def make_task(work: Work, owner: User, subset: Subset, archive: Archive) -> int:
    """A hidden task with the pictures of a subset, copied into one pack."""
    copied, segment = copy_pictures(work, archive, list(zip(subset.entries, subset.pictures, strict=True)))
    with work.storage.database.write() as conn:
        task = tasks.create(conn, owner, subset.name, subset=subset.name)
        unfinished.hide(conn, work.request, task_id=task.id)
        n_frames, first = len(copied), subset.sizes[0]
        data = TaskData(
            jobs=((0, n_frames),),
            segment_size=n_frames,
            chunk_size=default_chunk_size(first.width, first.height),
            stop_frame=n_frames - 1,
        )
        indices = frames.add_packs(conn, task.id, [[segment]])
        tasks.attach_data(conn, task.id, data, frame_columns(copied, subset.sizes, indices))
    return task.id


def copy_pictures(work: Work, archive: Archive, chosen: Sequence[tuple[Entry, Found]]) -> tuple[list[Found], Segment]:
    """The members, unpacked and proven, one after the other in a new blob.

    Returns:
        Where each lies in it (pack 0), and the blob.
    """
    writer = work.storage.blobs.open_writer(f"packs/{work.request.id}-{work.request.attempt}-{secrets.token_hex(8)}")
    copied = []
    try:
        for count, (entry, picture) in enumerate(chosen):
            offset = writer.size
            for block in archive.blocks(entry):
                writer.write(block)
            size = writer.size - offset
            copied.append(replace(picture, pack=0, offset=offset, stored_size=size, size=size, method=STORED))
            if count % 64 == 0:
                work.progress(COPIED * count / len(chosen), "copying the pictures")
        return copied, Segment(writer.key, writer.finish())
    except BaseException:
        writer.abort()
        raise
