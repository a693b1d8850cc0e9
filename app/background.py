"""The processes behind the web: the worker, and the child that streams exports.

They know nothing of the edge: without FastAPI and its models a process starts in half the time and holds 40 MiB less.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from functools import partial

from app import requests
from app.archive import ArchiveLimits
from app.heap import bound_heap
from app.operations import (
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
from app.steps import die_at
from app.storage import Storage, open_storage
from app.streams import serve_streams
from app.telemetry import set_up_logging, set_up_tracing, traced

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
        "export:annotations": export_dataset,
        "export:dataset": export_dataset,
    }
    return {name: traced(name, handler) for name, handler in handlers.items()}


def run_worker_process(settings: Settings, parent_fd: int | None) -> None:
    """`annoport worker`: background requests, one at a time, until SIGTERM or the parent's end."""
    bound_heap()
    set_up_logging(settings.log_level, settings.log_format)
    die_at(settings.fail_point)
    storage = open_store(settings, migrate=False)
    queue = open_request_queue(settings)
    end_tracing = set_up_tracing()
    try:
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
    try:
        serve_streams(fd, partial(stream_dataset, storage))
    finally:
        storage.close()
