"""A task of a store and the calls of clients on it, as background work does them: imports with their reports, exports,
edits. Archives are built by `tests.samples.OpenImages`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.annotations import Annotations
from app.columns import Ragged, Texts
from app.errors import ImportProblems
from app.operations import Limits, import_annotations, stream_dataset
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.storage import (
    AttributeDraft,
    FrameColumns,
    FramePlaces,
    LabelDraft,
    RequestDraft,
    Storage,
    TaskData,
    open_storage,
    requests,
    tasks,
    uploads,
    users,
)
from app.storage import annotations as stored
from tests.samples import LABELS
from tests.storage.stores import lay_database

NAMES = ("a.png", "b.png", "d/c.png")
SIZES = ((40, 30), (40, 30), (80, 60))


def label_drafts(told: Sequence[Mapping[str, Any]] = LABELS) -> list[LabelDraft]:
    return [
        LabelDraft(
            label["name"],
            attributes=tuple(
                AttributeDraft(
                    spec["name"],
                    spec["mutable"],
                    spec["input_type"],
                    (spec["values"] or [""])[0],
                    tuple(spec["values"]),
                )
                for spec in label["attributes"]
            ),
        )
        for label in told
    ]


class Desk:
    """One task, and what is done to it."""

    def __init__(
        self,
        storage: Storage,
        names: Sequence[str] = NAMES,
        sizes: Sequence[tuple[int, int]] = SIZES,
        jobs: tuple[tuple[int, int], ...] | None = None,
        drafts: Sequence[LabelDraft] | None = None,
    ) -> None:
        self.storage = storage
        n = len(names)
        columns = FrameColumns(
            names=Ragged.from_bytes([name.encode() for name in names]),
            widths=np.array([width for width, _ in sizes], dtype=np.int32),
            heights=np.array([height for _, height in sizes], dtype=np.int32),
            places=FramePlaces(
                packs=np.zeros(n, dtype=np.int32),
                offsets=np.zeros(n, dtype=np.int64),
                stored_sizes=np.ones(n, dtype=np.int64),
                sizes=np.ones(n, dtype=np.int64),
                methods=np.zeros(n, dtype=np.uint8),
                crcs=np.full(n, -1, dtype=np.int64),
                orientations=np.ones(n, dtype=np.uint8),
            ),
        )
        with storage.database.write() as conn:
            self.owner = users.find(conn, "ann") or users.create(conn, "ann", None)
            task = tasks.create(conn, self.owner, "t", label_drafts() if drafts is None else drafts)
            data = TaskData(jobs=jobs or ((0, n),), segment_size=n)
            self.task_id = tasks.attach_data(conn, task.id, data, columns).id

    def bring(self, archive: bytes, job_id: int | None = None, **options: Any) -> dict[str, Any]:
        """Import; the report, also that of a refused archive."""
        writer = uploads.open_body(
            self.storage,
            self.owner,
            kind="annotations",
            target="task",
            target_id=self.task_id,
            filename="u.zip",
            max_bytes=1 << 30,
        )
        writer.write(archive)
        draft = RequestDraft(
            "import:annotations",
            "task" if job_id is None else "job",
            task_id=self.task_id,
            job_id=job_id,
            options=options,
            upload_ids=(writer.finish().id,),
        )
        with self.storage.database.write() as conn:
            asked, _ = requests.create(conn, self.owner, draft)
            begun = requests.claim(conn, asked.id, lease_seconds=60)
        assert begun is not None
        context = Context(begun, self.storage, WorkerLimits(), threading.Event())
        try:
            import_annotations(context, limits=Limits())
        except ImportProblems:
            assert context.report is not None
            with self.storage.database.write() as conn:
                requests.fail(conn, begun.id, begun.attempt, message="refused", ttl_seconds=60)
            return dict(context.report)
        with self.storage.database.read() as conn:
            report = requests.get(conn, self.owner, begun.id).report
        assert report is not None
        return dict(report)

    def export(self, **options: Any) -> bytes:
        pieces: list[bytes] = []
        stream_dataset(self.storage, {"task_id": self.task_id, **options}, lambda piece: pieces.append(bytes(piece)))
        return b"".join(pieces)

    def load(self) -> Annotations:
        with self.storage.database.read() as conn:
            return stored.load(conn, self.task_id, start=-1, kinds=stored.KINDS)

    def revision(self) -> int:
        with self.storage.database.read() as conn:
            return tasks.load(conn, self.task_id).revision

    def edit(self, kind: str, change: Callable[[Any], Any], rows: Sequence[int] | None = None) -> None:
        """As a client edits: the rows come back with other values."""
        with self.storage.database.write() as conn:
            found = stored.load(conn, self.task_id, kinds=(kind,), with_kept=False)
            table = getattr(found, kind)
            table = change(table.take(np.arange(len(table)) if rows is None else np.array(rows, dtype=np.int64)))
            stored.update(conn, self.task_id, Annotations(**{kind: table}))

    def draw(self, new: Annotations) -> Annotations:
        with self.storage.database.write() as conn:
            return stored.append(conn, self.task_id, new)

    def remove(self, **ids: Sequence[int]) -> None:
        with self.storage.database.write() as conn:
            stored.delete(conn, self.task_id, {kind: np.array(some, dtype=np.int64) for kind, some in ids.items()})

    def label_id(self, name: str) -> int:
        from app.operations.targets import task_target

        with self.storage.database.read() as conn:
            return task_target(conn, self.task_id).labels.by_name[name].id


@contextmanager
def open_desk_store(folder: Path) -> Iterator[Storage]:
    lay_database(folder)
    storage = open_storage("", "", folder, min_free_bytes=0)
    try:
        yield storage
    finally:
        storage.close()


def with_points(table: Any, points: Sequence[Sequence[float]]) -> Any:
    return table.replace(points=Ragged.from_arrays(points, np.float64))


def with_attributes(table: Any, texts: Sequence[str]) -> Any:
    return table.replace(attributes=Texts.from_list(texts))
