"""For those who run the service: is it alive, can it work, how much does it do; and the API's contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.deps import AnyoneDep, CallerDep, ServicesDep
from app.api.routing import Router
from app.api.schemas import Health, Readiness
from app.errors import AccessDenied, AppError, Busy
from app.storage import Storage, requests

router = Router(tags=["ops"])


class StoreCollector(Collector):
    """Background work by state and its waiting time, read from the store at each scrape."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterator[Metric]:
        with self._storage.database.read() as conn:
            counts = requests.counts(conn)
            oldest = requests.oldest_queued_seconds(conn)
        by_status = GaugeMetricFamily("annoport_requests", "Background requests by status", labels=["status"])
        for status in ("queued", "started", "failed", "finished"):
            by_status.add_metric([status], counts.get(status, 0))
        yield by_status
        yield GaugeMetricFamily("annoport_oldest_queued_seconds", "Age of the oldest queued request", value=oldest)

    def describe(self) -> Iterator[Metric]:
        # Without this the registry would read the store when it is built.
        yield GaugeMetricFamily("annoport_requests", "Background requests by status")
        yield GaugeMetricFamily("annoport_oldest_queued_seconds", "Age of the oldest queued request")


@router.get("/health/live", response_model=Health)
def get_live(_: AnyoneDep) -> Any:
    """The process answers."""
    return Health(status="ok")


@router.get("/health/ready", response_model=Readiness)
def get_ready(_: AnyoneDep, services: ServicesDep) -> Any:
    """The service can do its work: a row and a blob can be written. 503 where it cannot."""
    try:
        services.storage.check_health()
        with services.storage.database.read() as conn:
            counts = requests.counts(conn)
            oldest = requests.oldest_queued_seconds(conn)
    except AppError as error:
        raise Busy(f"not ready: {error.detail}", 5, code=error.code) from error
    return Readiness(status="ok", storage="ok", requests=counts, oldest_queued_seconds=oldest)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": 'annoport_requests{status="queued"} 0.0\n'}}}},
)
def get_metrics(request: Request, caller: CallerDep) -> Response:
    """Numbers for Prometheus; for admins only, as they tell what others do. Each web process counts its own traffic."""
    if not caller.user.is_admin:
        raise AccessDenied("Metrics are for admins; give Prometheus an admin's access token.")
    registry: CollectorRegistry = request.app.state.metrics_registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/openapi.json", include_in_schema=False)
def get_openapi(request: Request, _: AnyoneDep) -> Any:
    """The API's contract."""
    return Response(request.app.state.openapi_text(), media_type="application/json")
