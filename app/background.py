"""The processes behind the web: the worker, and the child that streams exports.

They know nothing of the edge: without FastAPI and its models a process starts in half the time and holds 40 MiB less.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import numpy as np
import structlog

from app import requests
from app.annotations import FrameTable, Label, LabelCatalog
from app.archive import ArchiveLimits, ArchiveWriter, BytesSource, open_archive
from app.columns import Texts
from app.errors import AppError, NoSpace, NotMigrated, Report, Unreachable
from app.formats import ImportOptions, Target, detect
from app.heap import bound_heap, keep_heap
from app.images import encode_mask
from app.operations import (
    CountingSink,
    Limits,
    export_backup,
    export_dataset,
    import_annotations,
    import_backup,
    import_dataset,
    ingest_images,
    stream_dataset,
)
from app.settings import Settings
from app.spools import keep_temporary_files
from app.steps import die_at
from app.storage import Storage, open_storage
from app.streams import serve_streams
from app.telemetry import set_up_logging, set_up_tracing, traced

log = structlog.get_logger(__name__)
T = TypeVar("T")

WARM_MASK = "masks/train/m.png"
WARM_MEMBERS = {
    "annotations/class-descriptions.csv": b"/m/c,cat\n",
    "annotations/images.meta": b"a 8 8\n",
    "annotations/train-images-with-rotation.csv": b"ImageID,Subset\na,train\n",
    "annotations/train-annotations-bbox.csv": (
        b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
        b"IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\na,xclick,/m/c,1,0.25,0.75,0.250000,1,0,0,0,0,0\n"
    ),
    "annotations/train-annotations-human-imagelabels.csv": b"ImageID,Source,LabelName,Confidence\na,x,/m/c,1\n",
    "annotations/train-annotations-object-segmentation.csv": (
        b"MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
        b"m.png,a,/m/c,0,0.25,0.75,0.25,1,0.5,\n"
    ),
}
READY_PAUSE_SECONDS = 1.0
MAX_SAID = 300  # characters of what a driver said
AWAITED: Mapping[type[AppError], str] = {
    NoSpace: "room on the disk",
    Unreachable: "a server",
    NotMigrated: "the database to be migrated",
}
TEMPORARY = "tmp"  # below the data folder
WORKER_CONNECTIONS = 4  # the work, the lease's monitor, and an export's snapshot beside a write


def open_store(settings: Settings, *, migrate: bool, connections: int = WORKER_CONNECTIONS) -> Storage:
    return open_storage(
        settings.database_url,
        settings.blob_url,
        settings.data_dir,
        min_free_bytes=settings.min_free_bytes,
        pool_size=connections,
        migrate=migrate,
        may_redirect=settings.blob_redirects,
        public_endpoint=settings.blob_public_url,
    )


def when_ready(work: Callable[[], T]) -> T:
    """The same, as soon as what it needs is there: room on the disk, a server that answers, tables. As a running
    service, one that starts needs nobody to start it again; containers start in any order."""
    told = ""
    while True:
        try:
            return work()
        except tuple(AWAITED) as error:
            what = next(words for kind, words in AWAITED.items() if isinstance(error, kind))
            if error.detail != told:
                cause = getattr(error.__cause__, "orig", error.__cause__)
                said = " ".join(str(cause).split())[:MAX_SAID]
                log.warning(f"waiting for {what}; Ctrl-C ends it", reason=error.detail, said=said)
                told = error.detail
        time.sleep(READY_PAUSE_SECONDS)


def open_request_queue(settings: Settings) -> requests.Queue:
    return requests.open_queue(settings.resolved_queue_url, settings.data_dir)


def limits_of(settings: Settings) -> Limits:
    return Limits(
        archive=ArchiveLimits(
            max_entries=settings.max_zip_entries,
            max_member_bytes=settings.max_zip_member_bytes,
            max_total_bytes=settings.max_zip_total_bytes,
            max_ratio=settings.max_zip_ratio,
            ratio_from_bytes=settings.zip_ratio_from_bytes,
            max_name_bytes=settings.max_zip_name_bytes,
            max_component_bytes=settings.max_zip_component_bytes,
            max_depth=settings.max_zip_depth,
        ),
        max_rows=settings.max_csv_rows,
        max_field_bytes=settings.max_csv_field_bytes,
        max_columns=settings.max_csv_columns,
        max_classes=settings.max_classes,
        max_subsets=settings.max_subsets,
        max_hierarchy_depth=settings.max_hierarchy_depth,
        max_hierarchy_nodes=settings.max_hierarchy_nodes,
        max_mask_pixels=settings.max_mask_pixels,
        max_mask_bytes=settings.max_mask_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_image_bytes=settings.max_image_bytes,
        max_problems=settings.max_problems,
        mask_helpers=settings.import_helpers,
    )


def handlers_of(settings: Settings) -> Mapping[str, requests.Handler]:
    """The function of each operation type."""
    limits = limits_of(settings)
    handlers: dict[str, requests.Handler] = {
        "create:task": partial(ingest_images, limits=limits),
        "import:annotations": partial(import_annotations, limits=limits),
        "export:backup": export_backup,
        "import:backup": partial(import_backup, limits=limits),
        "import:dataset": partial(import_dataset, limits=limits),
        "export:annotations": partial(export_dataset, mask_helpers=settings.import_helpers),
        "export:dataset": partial(export_dataset, mask_helpers=settings.import_helpers),
    }
    return {name: traced(name, handler) for name, handler in handlers.items()}


def warm_up() -> None:
    """Read a small archive and keep nothing, so that the first import finds every code path in memory."""
    pieces: list[bytes] = []
    writer = ArchiveWriter(pieces.append)
    for name, text in WARM_MEMBERS.items():
        with writer.open_deflated(name) as member:
            member.write(text)
    writer.add_stored(WARM_MASK, encode_mask(np.full((8, 1), 0x3C, dtype=np.uint8), 8))
    writer.close()
    archive = open_archive(BytesSource(b"".join(pieces)))
    label = Label(1, "cat", "#000000", "any")
    frames = FrameTable.build(["a.png"], [8], [8])
    target = Target(frames, LabelCatalog((label,)), Texts.same("train", 1), "")
    for options in (ImportOptions(), ImportOptions(conv_mask_to_poly=True)):
        format_ = detect(archive.names())
        assert format_.read is not None
        format_.read(archive, target, options, CountingSink(), Report(), lambda done: None)


def run_worker_process(settings: Settings, parent_fd: int | None) -> None:
    """`annoport worker`: background requests, one at a time, until SIGTERM or the parent's end."""
    bound_heap()
    os.nice(settings.worker_niceness)
    set_up_logging(settings.log_level, settings.log_format)
    warm_up()
    die_at(settings.fail_point)
    open_it = partial(open_store, settings, migrate=False)
    # A child ends where it cannot begin: its parent starts another, and would not be missed by one that waits.
    storage = when_ready(open_it) if parent_fd is None else open_it()
    keep_temporary_files(settings.data_dir / TEMPORARY)
    queue = open_request_queue(settings)
    end_tracing = set_up_tracing()
    keep_heap()
    # Of another shape workers live on other machines, and nobody asks for their locks.
    living = requests.alive(settings.data_dir) if storage.database.file is not None else nullcontext()
    try:
        with living:
            requests.run_worker(
                storage,
                queue,
                handlers_of(settings),
                limits=requests.WorkerLimits(
                    memory_bytes=settings.worker_memory_bytes,
                    timeout_seconds=settings.import_timeout_seconds,
                    lease_seconds=settings.lease_seconds,
                    grace_seconds=settings.stop_timeout_seconds,
                    request_ttl_seconds=settings.request_ttl_seconds,
                    export_ttl_seconds=settings.export_ttl_seconds,
                    upload_ttl_seconds=settings.tus_expiry_seconds,
                    sweep_seconds=settings.sweep_seconds,
                ),
                parent_fd=parent_fd,
            )
    finally:
        end_tracing()
        queue.close()
        storage.close()


def run_stream_process(settings: Settings, fd: int) -> None:
    """One warm child that writes exports into a socket."""
    bound_heap()
    set_up_logging(settings.log_level, settings.log_format)
    die_at(settings.fail_point)
    # The parent ends this process by closing the socket; a Ctrl-C at the terminal is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    storage = open_store(settings, migrate=False)
    keep_heap()
    try:
        export = partial(stream_dataset, storage, mask_helpers=settings.import_helpers)
        serve_streams(fd, export, storage.database.drop_caches)
    finally:
        storage.close()
