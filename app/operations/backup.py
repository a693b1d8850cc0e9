"""Backups of tasks and projects: everything of them in one zip, in a format of our own, and back.

    backup.json                     what it is; the project; the tasks with labels, jobs, data
    tasks/0/frames.json             names of the frames, and the member of each picture
    tasks/0/pictures/000000.jpg     the uploaded bytes
    tasks/0/sets/0/set.json         the document of an import; sets/N is the Nth, oldest first
    tasks/0/sets/0/shapes-000.json  its rows, a batch a member (`backup_rows.py`); tags, tracks, images, rows likewise
    kept/0                          bytes that an import kept: mask files, files nobody interprets

A mask that nobody has looked at is among the kept bytes, and has no numbers beside (`backup_rows.py`): no mask is
decoded for a backup. Version 1 had numbers for each, and is read, too.

A task that comes back has new ids, and exports the very bytes that the first one does. It belongs to whoever brought
it; assignees, issues and dates stay behind. What comes in may have been made by anybody: it is read like any upload.
CVAT's own backups are not read, and CVAT does not read these.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from app.annotations import (
    Annotations,
    AttributeSpec,
    FrameTable,
    Images,
    Kept,
    Label,
    LabelCatalog,
    Rows,
    Shapes,
    Table,
    Tags,
    Tracks,
)
from app.archive import Archive, ArchiveWriter, ByteSource, Entry, open_archive
from app.columns import Ragged
from app.errors import InvalidInput
from app.formats import kept_checker, relabel_extras
from app.operations.arrange import frame_step
from app.operations.backup_rows import (
    Bounds,
    Flags,
    Renumbered,
    bring_masks,
    damaged,
    join_rows,
    leave_masks,
    settle,
    split_rows,
)
from app.operations.import_dataset import copy_pictures
from app.operations.ingest_images import (
    PICTURE_EXTENSIONS,
    Holder,
    extension,
    found_member,
    frame_columns,
    measure_all,
)
from app.operations.names import backup_name
from app.operations.targets import TaskSource
from app.operations.work import Limits, Work
from app.storage import (
    AttributeDraft,
    BlobSource,
    Connection,
    LabelDraft,
    Result,
    Storage,
    Task,
    TaskData,
    User,
    frames,
    jobs,
    labels,
    projects,
    tasks,
    unfinished,
    uploads,
    users,
)
from app.storage import annotations as stored

KIND, VERSION, READ_VERSIONS = "annoport backup", 2, (1, 2)
TABLES: dict[str, type[Any]] = {"shapes": Shapes, "tags": Tags, "tracks": Tracks, "images": Images, "rows": Rows}
MAX_JSON_BYTES = 32 << 20
BATCH_VALUES = 500_000  # numbers and bytes of a batch: far below what a member may have
KEPT_PIECE_BYTES = 4 << 20
MAX_TASKS = 1000
DATA_FIELDS = (
    "segment_size", "overlap", "mode", "image_quality", "chunk_size", "start_frame", "stop_frame", "frame_filter",
    "sorting_method",
)  # fmt: skip


# --- out ---


def export_backup(work: Work) -> None:
    """Handler of `export:backup` of a task or project: a file to download."""
    request = work.request
    writer = work.storage.blobs.open_writer(work.result_key)
    try:
        with work.storage.database.snapshot() as conn:
            name = _write_backup(conn, work, writer.write)
        filename = work.options.get("filename") or backup_name(request.target, name, request.created_date)
        result = Result(work.result_key, writer.size, filename)
        writer.finish(result)
    except BaseException:
        writer.abort()
        raise
    with work.finishing(result=result):
        pass


def _write_backup(conn: Connection, work: Work, send: Callable[[bytes], None]) -> str:
    """Write the whole zip; the name of what was written."""
    request = work.request
    head: dict[str, Any] = {"kind": KIND, "version": VERSION, "target": request.target}
    if request.target == "project":
        assert request.project_id is not None
        project = projects.load(conn, request.project_id)
        name = project.name
        head["project"] = {"name": name, "bug_tracker": project.bug_tracker}
        head["labels"] = _labels_out(labels.of_project(conn, project.id))
        chosen = projects.task_ids(conn, project.id)
    else:
        assert request.task_id is not None
        name = tasks.load(conn, request.task_id).name
        head["labels"] = _labels_out(labels.of_task(conn, request.task_id))
        chosen = (request.task_id,)
    if len(chosen) > MAX_TASKS:
        raise InvalidInput(f"a backup holds at most {MAX_TASKS} tasks; this project has {len(chosen)}")
    archive = ArchiveWriter(send)
    kept: dict[str, int] = {}
    told = []
    for number, task_id in enumerate(chosen):
        task = tasks.load(conn, task_id)
        told.append(_task_out(conn, task))
        source = TaskSource(conn, work.storage, task_id)
        with closing(source):
            share = (number / len(chosen), 1 / len(chosen))
            _write_pictures(conn, archive, work, source, number, task, share)
        table = frames.load(conn, task_id, with_names=False)
        for place, row in enumerate(stored.sets_of(conn, task_id)):
            folder = f"tasks/{number}/sets/{place}"
            document: dict[str, Any] = {"is_base": row.is_base, "extras": row.extras, "kept": None}
            if row.kept_key is not None:
                document["kept"] = kept.setdefault(row.kept_key, len(kept))
            _write_json(archive, f"{folder}/set.json", document)
            for kind in TABLES:
                rows = _small(stored.iterate_set(conn, task_id, row.id, kind), table)
                for count, (part, by_png) in enumerate(rows):
                    _write_text(archive, f"{folder}/{kind}-{count:05d}.json", join_rows(part, by_png))
                    work.progress(0.9, "writing the annotations")
    for key, index in kept.items():
        with closing(work.storage.blobs.open_key(key)) as blob:
            pieces = (blob.read_at(at, KEPT_PIECE_BYTES) for at in range(0, blob.size, KEPT_PIECE_BYTES))
            archive.add_stored_chunks(f"kept/{index}", blob.size, pieces)
    _write_json(archive, "backup.json", {**head, "tasks": told})
    archive.close()
    return name


def _task_out(conn: Connection, task: Task) -> dict[str, Any]:
    of_task = jobs.of_task(conn, task.id)
    return {
        "name": task.name,
        "subset": task.subset,
        "bug_tracker": task.bug_tracker,
        "data": {name: getattr(task, name) for name in DATA_FIELDS},
        "jobs": [[job.start_frame, job.stop_frame, job.stage, job.state] for job in of_task],
        "deleted_frames": frames.deleted(conn, task.id).tolist(),
    }


def _write_pictures(
    conn: Connection,
    archive: ArchiveWriter,
    work: Work,
    source: TaskSource,
    number: int,
    task: Task,
    share: tuple[float, float],
) -> None:
    table = frames.load(conn, task.id)
    names = table.names.to_texts()
    members = [f"tasks/{number}/pictures/{frame:06d}{_safe_extension(name)}" for frame, name in enumerate(names)]
    _write_json(archive, f"tasks/{number}/frames.json", {"names": names, "pictures": members})
    for frame, member in enumerate(members):
        picture = source.picture(frame)
        archive.add_stored_chunks(member, picture.size, picture.chunks())
        if frame % 64 == 0:
            work.progress(0.8 * (share[0] + share[1] * frame / len(members)), "writing the pictures")


def _safe_extension(name: str) -> str:
    found = posixpath.splitext(name)[1].lower()
    return found if found in PICTURE_EXTENSIONS else ""


def _write_json(archive: ArchiveWriter, name: str, document: Any) -> None:
    _write_text(archive, name, orjson.dumps(document))


def _write_text(archive: ArchiveWriter, name: str, text: bytes) -> None:
    with archive.open_deflated(name) as member:
        member.write(text)


def _small(tables: Iterator[Any], table_of_frames: FrameTable) -> Iterator[tuple[Any, Flags | None]]:
    """The same rows in batches whose JSON is small enough to be read in one go, and which masks their PNGs tell."""
    for table in tables:
        told = None
        if isinstance(table, Shapes):
            table, told = leave_masks(table, table_of_frames.widths, table_of_frames.heights)
        sizes = np.full(len(table), 32, dtype=np.int64) + sum(
            (lengths for lengths in _row_lengths(table)), np.zeros(len(table), dtype=np.int64)
        )
        batch = (np.cumsum(sizes) - sizes) // BATCH_VALUES
        starts = np.concatenate([[0], np.flatnonzero(np.diff(batch)) + 1, [len(table)]]).tolist()
        for start, stop in pairwise(starts):
            yield table.take(np.arange(start, stop)), None if told is None else told[start:stop]


def _row_lengths(table: Table) -> Iterator[Any]:
    for column in table.columns().values():
        if isinstance(column, Table):
            yield from _row_lengths(column)
        elif isinstance(column, Ragged):
            yield column.lengths


def _labels_out(catalog: LabelCatalog) -> list[dict[str, Any]]:
    return [_label_out(label) for label in catalog.labels]


def _label_out(label: Label) -> dict[str, Any]:
    return {
        "id": label.id,
        "name": label.name,
        "color": label.color,
        "type": label.type,
        "svg": label.svg,
        "attributes": [
            {
                "id": spec.id,
                "name": spec.name,
                "mutable": spec.mutable,
                "input_type": spec.input_type,
                "default_value": spec.default_value,
                "values": list(spec.values),
            }
            for spec in label.attributes
        ],
        "sublabels": [_label_out(sublabel) for sublabel in label.sublabels],
    }


# --- back ---


def import_backup(work: Work, *, limits: Limits) -> None:
    """Handler of `import:backup`: a new task or project of whoever brought the backup.

    Raises:
        ImportProblems: no sound zip.
        InvalidInput: no backup of this service, one of something else, or a damaged one.
    """
    request, storage = work.request, work.storage
    with storage.database.read() as conn:
        upload = uploads.load(conn, request.upload_ids[0])
        owner = users.get(conn, request.owner.id)
    with closing(uploads.open_source(storage, upload)) as source:
        archive = open_archive(source, limits.archive)
        head = read_head(archive, request.target)
        with storage.database.write() as conn:
            unfinished.clear_earlier(conn, request)
        try:
            result_id = Restoring(work, owner, archive, source, limits).run(head)
            archive.verify(lambda done: work.progress(0.95, "checking the rest of the archive"))
            message = f"restored {request.target} {result_id}"
            with work.finishing(message=message, result_id=result_id) as conn:
                unfinished.reveal(conn, request)
        except BaseException:
            with storage.database.write() as conn:
                unfinished.clear(conn, request)
            raise


def read_head(archive: Archive, target: str) -> dict[str, Any]:
    """`backup.json`. Raises InvalidInput for anything but a backup of a `target`."""
    entry = archive.find("backup.json")
    head = _read_json(archive, entry) if entry is not None else None
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise InvalidInput(
            "this is no backup of this service (it has no backup.json). Backups of CVAT are not read; export the task "
            "there as a dataset with images",
            code="backup.unknown",
        )
    if head.get("version") not in READ_VERSIONS:
        raise InvalidInput("this backup was made by another version of this service", code="backup.version")
    if head.get("target") != target:
        raise InvalidInput(f"this is the backup of a {head.get('target')!r}, not of a {target}", code="backup.target")
    return head


def _read_json(archive: Archive, entry: Entry) -> Any:
    if entry.size > MAX_JSON_BYTES:
        raise damaged(f"{entry.name} has {entry.size:,} bytes")
    try:
        return orjson.loads(archive.read(entry))
    except orjson.JSONDecodeError as error:
        raise damaged(f"{entry.name}: {error}") from error


class Restoring:
    """The way of one backup into the store; everything is hidden until the request ends."""

    def __init__(self, work: Work, owner: User, archive: Archive, source: ByteSource, limits: Limits) -> None:
        self._work, self._owner, self._archive, self._source, self._limits = work, owner, archive, source, limits
        self._storage: Storage = work.storage
        self._kept: dict[int, tuple[str, int]] = {}  # the blob and size of each kept member
        self._sets: dict[tuple[int, int], dict[str, list[Entry]]] = {}
        for entry in archive.entries:
            parts = entry.name.split("/")
            if entry.is_dir or len(parts) != 5 or (parts[0], parts[2]) != ("tasks", "sets"):
                continue
            if parts[1].isdecimal() and parts[3].isdecimal():
                kind = parts[4].partition("-")[0].removesuffix(".json")
                of_set = self._sets.setdefault((int(parts[1]), int(parts[3])), {})
                of_set.setdefault(kind, []).append(entry)

    def run(self, head: Mapping[str, Any]) -> int:
        """Make everything; the id of the task or project."""
        try:
            drafts = [_label_in(label) for label in head["labels"]]
            told = list(head["tasks"])
            if len(told) > MAX_TASKS or (self._work.request.target == "task" and len(told) != 1):
                raise damaged("another number of tasks than it should have")
            project_id = None
            if self._work.request.target == "project":
                project_id = self._make_project(head["project"], drafts)
            made = 0
            for number, task in enumerate(told):
                made = self._make_task(number, task, head["labels"], drafts, project_id)
            return project_id if project_id is not None else made
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise damaged(f"backup.json: {error!r}"[:200]) from error

    def _make_project(self, told: Mapping[str, Any], drafts: Sequence[LabelDraft]) -> int:
        with self._storage.database.write() as conn:
            project = projects.create(conn, self._owner, told["name"], drafts, bug_tracker=told["bug_tracker"])
            unfinished.hide(conn, self._work.request, project_id=project.id)
            return project.id

    def _make_task(
        self,
        number: int,
        told: Mapping[str, Any],
        label_documents: Sequence[Mapping[str, Any]],
        drafts: Sequence[LabelDraft],
        project_id: int | None,
    ) -> int:
        work = self._work
        listed = self._json(f"tasks/{number}/frames.json")
        names, members = list(listed["names"]), list(listed["pictures"])
        data = _data_in(told, len(names))
        entries = [self._archive.entry(member) for member in members]
        for name in names:
            if not isinstance(name, str) or not name or "\x00" in name or extension(name) not in PICTURE_EXTENSIONS:
                raise damaged("a frame whose name is none")
        if len(set(names)) < len(names):
            raise damaged("two frames of one name")
        holder = Holder(self._source, 0, self._archive)
        found = [found_member(holder, entry, name, 0) for entry, name in zip(entries, names, strict=True)]
        sizes = measure_all(found, self._limits, work)
        copied, segment = copy_pictures(work, self._archive, list(zip(entries, found, strict=True)))
        with self._storage.database.write() as conn:
            own = () if project_id is not None else drafts
            task = tasks.create(
                conn, self._owner, told["name"], own, subset=told["subset"], bug_tracker=told["bug_tracker"]
            )
            unfinished.hide(conn, work.request, task_id=task.id, project_id=project_id)
            indices = frames.add_packs(conn, task.id, [[segment]])
            tasks.attach_data(conn, task.id, data, frame_columns(copied, sizes, indices))
            jobs.set_progress(conn, task.id, [(stage, state) for _, _, stage, state in told["jobs"]])
            frames.set_deleted(conn, task.id, np.array(told["deleted_frames"], dtype=np.int64))
        with self._storage.database.read() as conn:
            catalog = labels.of_task(conn, task.id)
        renumbered = _renumber(label_documents, catalog)
        place = 0
        while (number, place) in self._sets:
            self._make_set(number, place, task.id, renumbered)
            place += 1
        return task.id

    def _make_set(self, number: int, place: int, task_id: int, renumbered: Renumbered) -> None:
        folder = f"tasks/{number}/sets/{place}"
        document = self._json(f"{folder}/set.json")
        with self._storage.database.read() as conn:
            table = frames.load(conn, task_id, with_names=False)
        extras = document["extras"]
        if extras is not None:
            extras = relabel_extras(extras, renumbered.labels, renumbered.attributes)
        with (
            stored.begin_set(self._storage, task_id, is_base=document["is_base"] is True) as writer,
            ExitStack() as stack,
        ):
            kept_bytes = 0
            kept: BlobSource | None = None
            if document["kept"] is not None:
                key, kept_bytes = self._copy_kept(document["kept"])
                writer.share(key, kept_bytes)
                kept = stack.enter_context(closing(self._storage.blobs.open_key(key)))
            n_tables = len(extras.get("tables", ())) if extras is not None else 0
            check = kept_checker(extras) if extras is not None else _nothing_kept
            bounds = Bounds(n_tables, check, kept_bytes, table.widths, table.heights)
            if extras is not None:
                writer.extras(extras)
            for kind, entries in self._sets[number, place].items():
                if kind not in TABLES:
                    continue
                for entry in sorted(entries):
                    columns = _read_json(self._archive, entry)
                    rows = split_rows(TABLES[kind], columns, entry.name)
                    parts: Iterable[Any] = (rows,)
                    if kind == "shapes" and kept is not None:
                        parts = bring_masks(rows, columns, bounds, kept.read_at, entry.name)
                    for part in parts:
                        writer.write(Annotations(**{kind: settle(part, renumbered, bounds, entry.name)}))
                    self._work.progress(0.9, "writing the annotations")
            writer.close()
            with self._storage.database.write() as conn:
                stored.publish(conn, writer.set_id, mode="append")

    def _copy_kept(self, index: int) -> tuple[str, int]:
        """The blob of a kept member; sets that had it in common have it in common again."""
        if index not in self._kept:
            entry = self._archive.entry(f"kept/{index}")
            request = self._work.request
            blob = self._storage.blobs.open_writer(f"kept/{request.id}-{request.attempt}-{secrets.token_hex(8)}")
            try:
                for block in self._archive.blocks(entry):
                    blob.write(block)
                    self._work.progress(0.85, "copying kept files")
                self._kept[index] = blob.key, blob.finish()
            except BaseException:
                blob.abort()
                raise
        return self._kept[index]

    def _json(self, name: str) -> Any:
        return _read_json(self._archive, self._archive.entry(name))


def _nothing_kept(kept: Kept) -> None:
    """Of a set without a document: no row of it says that it is of a table."""


def _label_in(told: Mapping[str, Any]) -> LabelDraft:
    return LabelDraft(
        name=told["name"],
        color=told["color"],
        type=told["type"],
        svg=told["svg"],
        attributes=tuple(
            AttributeDraft(
                _text(spec["name"]),
                spec["mutable"] is True,
                _text(spec["input_type"]),
                _text(spec["default_value"]),
                tuple(_text(value) for value in spec["values"]),
            )
            for spec in told["attributes"]
        ),
        sublabels=tuple(_label_in(sublabel) for sublabel in told["sublabels"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _data_in(told: Mapping[str, Any], n_frames: int) -> TaskData:
    """Jobs and settings of a task's data. Raises InvalidInput where they cannot be."""
    spans = tuple((int(start), int(stop) + 1) for start, stop, _, _ in told["jobs"])
    if not n_frames or not spans or not all(0 <= start < stop <= n_frames for start, stop in spans):
        raise damaged("a task without frames, or a job outside of them")
    if list(spans) != sorted(spans):
        raise damaged("jobs that are not in the order of their frames")
    fields = {name: told["data"][name] for name in DATA_FIELDS}
    for name, value in fields.items():
        if name in ("mode", "frame_filter", "sorting_method"):
            fits = isinstance(value, str) and len(value) <= 32
        else:
            fits = type(value) is int and 0 <= value <= 2**31 - 1
        if not fits:
            raise damaged(f"{name} is {value!r}"[:80])
    frame_step(fields["frame_filter"])
    if fields["mode"] != "annotation" or fields["chunk_size"] < 1 or fields["image_quality"] > 100:
        raise damaged("settings of a task's data that cannot be")
    return TaskData(jobs=spans, **fields)


def _renumber(told: Sequence[Mapping[str, Any]], catalog: LabelCatalog) -> Renumbered:
    """The ids that labels and attributes have here, by those they had; both are in the same order."""
    label_ids: dict[int, int] = {}
    spec_ids: dict[int, int] = {}

    def pair(documents: Sequence[Mapping[str, Any]], found: Sequence[Label]) -> None:
        for document, label in zip(documents, found, strict=True):
            label_ids[document["id"]] = label.id
            specs: Sequence[AttributeSpec] = label.attributes
            for spec_document, spec in zip(document["attributes"], specs, strict=True):
                spec_ids[spec_document["id"]] = spec.id
            pair(document["sublabels"], label.sublabels)

    pair(told, catalog.labels)
    return Renumbered(label_ids, spec_ids)
