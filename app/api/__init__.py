"""The edge: HTTP in, HTTP out; the only home of FastAPI and of wire models.

In: requests of CVAT's clients, curl and browsers. Out: rows, drafts and bytes for the store; JSON and archives.
Never: SQL, a format's words, work that takes longer than 50 ms of CPU; a route without a rule of access.
Spec: cvat-api.md; reliability.md sections 2, 3, 9 and 11; stack.md sections 6 and 8.
Start with `build_app`, then `routing.py` (how a request gets in), then any router.
"""

from __future__ import annotations

import json
from functools import partial

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.api import (
    auth,
    data,
    direct,
    exports,
    issues,
    jobs,
    labels,
    ops,
    pages,
    projects,
    requests,
    server,
    stats,
    tasks,
    uploads,
    users,
)
from app.api.annotations import router as annotations_router
from app.api.credentials import Authenticator
from app.api.deps import ApiSettings, Caller, Services
from app.api.errors import install_error_handlers
from app.api.observing import HTTPMetrics, ObservingMiddleware, is_quiet
from app.api.openapi import describe_api
from app.api.protocol import guarded_protocol
from app.api.queries import import_options_of
from app.api.security import SecurityMiddleware
from app.api.shared_metrics import reserve_room

ROUTERS = (
    ops.router,
    server.router,
    auth.router,
    users.router,
    data.router,
    annotations_router,
    exports.router,
    direct.router,
    stats.router,
    uploads.router,
    projects.router,
    tasks.router,
    jobs.router,
    issues.router,
    labels.router,
    requests.router,
    pages.router,
)
"""In order of matching: fixed paths such as /api/tasks/backup come before /api/tasks/{id}."""


def build_app(services: Services) -> FastAPI:
    """The whole API over these services. `app.openapi()` is its contract."""
    app = FastAPI(
        title="annoport",
        version=services.version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, if anywhere; logs have a way of their own.
        telemetry={"auto_configure": True, "logs": False, "operation_spans": False, "exclude": is_quiet},
    )
    registry = CollectorRegistry()
    app.state.services = services
    app.state.authenticator = Authenticator(services.settings, services.storage)
    app.state.collect_metrics = partial(ops.collect_metrics, registry, services.storage)
    install_error_handlers(app)
    for router in ROUTERS:
        # Their routes as they are, in one flat list: prefixes and rules are in them already, and a wrong method on a
        # path of two routers is answered by the first.
        app.router.routes.extend(router.routes)

    def describe() -> dict[str, object]:
        if app.openapi_schema is None:
            app.openapi_schema = describe_api(app, services.version)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
    app.state.openapi_text = lambda: json.dumps(app.openapi(), ensure_ascii=False)
    # The last one added is the outermost.
    app.add_middleware(SecurityMiddleware, settings=services.settings)
    app.add_middleware(ObservingMiddleware, metrics=HTTPMetrics(registry))
    return app


__all__ = [
    "ROUTERS",
    "ApiSettings",
    "Caller",
    "Services",
    "build_app",
    "guarded_protocol",
    "import_options_of",
    "reserve_room",
]
