"""For those who run the service: is it alive, can it work, how much does it do; and the API's contract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.api.deps import AnyoneDep, CallerDep, Services, ServicesDep
from app.api.routing import Router
from app.api.schemas import Health, Readiness
from app.errors import AccessDenied, AppError, Busy
from app.storage import Storage, counters, requests

router = Router(tags=["ops"])


def collect_metrics(own: CollectorRegistry, storage: Storage) -> bytes:
    """Everything, in Prometheus' text format."""
    stored = CollectorRegistry()
    stored.register(StoreCollector(storage))
    traffic = own
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # web processes that share a socket write into files there
        traffic = CollectorRegistry()
        MultiProcessCollector(traffic)  # type: ignore[no-untyped-call]
    return generate_latest(traffic) + generate_latest(stored)


class StoreCollector(Collector):
    """Background work, read from the store at each scrape."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterator[Metric]:
        with self._storage.database.read() as conn:
            counts = requests.counts(conn)
            queued = requests.oldest_queued_seconds(conn)
            started = requests.oldest_started_seconds(conn)
            found = counters.read(conn)
        by_status = GaugeMetricFamily("annoport_requests", "Background requests by status", labels=["status"])
        for status in ("queued", "started", "failed", "finished"):
            by_status.add_metric([status], counts.get(status, 0))
        yield by_status
        yield GaugeMetricFamily("annoport_oldest_queued_seconds", "Age of the oldest queued request", value=queued)
        yield GaugeMetricFamily("annoport_oldest_started_seconds", "Time of the longest at work", value=started)
        ended = CounterMetricFamily(
            "annoport_requests_ended", "Background requests that ended", labels=["type", "status"]
        )
        for type_, status in _labels(found, "ended"):
            ended.add_metric([type_, status], found["ended", type_, status])
        yield ended
        for name, key, meaning in COUNTED:
            counter = CounterMetricFamily(name, meaning, labels=["type"])
            for (type_,) in _labels(found, key):
                counter.add_metric([type_], found[key, type_])
            yield counter
        yield CounterMetricFamily(
            "annoport_lease_expiries",
            "Times that a worker went silent and its request was given to another",
            value=found.get(("lease_expiries",), 0),
        )
        yield _seconds(found)


COUNTED = (
    ("annoport_request_rows", "rows", "Rows of tables read or written by background requests"),
    ("annoport_request_received_bytes", "received_bytes", "Bytes of the uploads that ended requests worked on"),
    ("annoport_request_result_bytes", "result_bytes", "Bytes of the files that requests made"),
)


def _labels(found: Mapping[tuple[str, ...], float], key: str) -> list[tuple[str, ...]]:
    return [name[1:] for name in found if name[0] == key]


def _seconds(found: Mapping[tuple[str, ...], float]) -> Metric:
    """Time at work by type: from the start of the last attempt to the end."""
    family = HistogramMetricFamily("annoport_request_seconds", "Time at work", labels=["type"])
    for (type_,) in _labels(found, "seconds_count"):
        total, buckets = 0.0, []
        for step in [*(str(step) for step in counters.SECONDS_STEPS), "+Inf"]:
            total += found.get(("seconds_bucket", type_, step), 0)
            buckets.append((step, total))
        family.add_metric([type_], buckets, found["seconds_sum", type_])
    return family


@router.get("/health/live", response_model=Health)
def get_live(_: AnyoneDep) -> Any:
    """The process answers."""
    return Health(status="ok")


@router.get("/health/ready", response_model=Readiness)
def get_ready(_: AnyoneDep, services: ServicesDep) -> Any:
    """This process can do its work: a row and a blob can be written. 503 where it cannot. Work that waits is told, and
    no reason for a 503: answers do not depend on workers, and every web process would be taken out of service."""
    return _readiness(services)


@router.get("/health/work", response_model=Readiness)
def get_work(_: AnyoneDep, services: ServicesDep) -> Any:
    """Workers keep up: no request waits longer than `ANNOPORT_QUEUE_LATE_SECONDS`. 503 where one does, or where the
    service is not ready at all."""
    found = _readiness(services)
    if found.work != "ok":
        queued = found.requests.get("queued", 0)
        raise Busy(
            f"workers are behind: {queued:,} requests wait, the oldest for {found.oldest_queued_seconds:,.0f} s. Are "
            "workers running, and are they enough?",
            5,
            code="work.late",
        )
    return found


def _readiness(services: Services) -> Readiness:
    try:
        services.storage.check_health()
        with services.storage.database.read() as conn:
            counts = requests.counts(conn)
            oldest = requests.oldest_queued_seconds(conn)
    except AppError as error:
        raise Busy(f"not ready: {error.detail}", 5, code=error.code) from error
    work = "late" if oldest > services.settings.queue_late_seconds else "ok"
    return Readiness(status="ok", storage="ok", requests=counts, oldest_queued_seconds=oldest, work=work)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": 'annoport_requests{status="queued"} 0.0\n'}}}},
)
def get_metrics(request: Request, caller: CallerDep) -> Response:
    """Numbers for Prometheus; for admins only, as they tell what others do. Background work is counted in the store, so
    any process tells of all of it; HTTP traffic is that of this `serve`, of all its web processes."""
    if not caller.user.is_admin:
        raise AccessDenied("Metrics are for admins; give Prometheus an admin's access token.")
    collected: bytes = request.app.state.collect_metrics()
    return Response(collected, media_type=CONTENT_TYPE_LATEST)


@router.get("/api/openapi.json", include_in_schema=False)
def get_openapi(request: Request, _: AnyoneDep) -> Any:
    """The API's contract."""
    return Response(request.app.state.openapi_text(), media_type="application/json")
