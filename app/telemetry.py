"""Logs: one line an event, text on a terminal, JSON elsewhere, always to standard error. Traces, where asked for.

Never file content, tokens, passwords or presigned URLs; control characters are escaped by the renderers.

Traces go by OTLP over HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT` (the extra `otel` brings the exporter): FastAPI makes the
spans of requests, `traced` those of background work.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import structlog

from app.errors import AppError

SERVICE_NAME = "annoport"


class _Work(Protocol):
    @property
    def attempt(self) -> int: ...

    @property
    def request_id(self) -> str: ...


W = TypeVar("W", bound=_Work)


def set_up_logging(level: str, log_format: str) -> None:
    """Configure structlog and route the libraries' own loggers (uvicorn, huey, sqlalchemy) through it."""
    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE_NAME)
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.types.Processor
    if as_text:
        # The plain formatter: a pretty one prints local variables, and those may be secrets.
        renderer = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries speak up only when something is wrong; the service logs its own requests.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "huey", "sqlalchemy", "alembic", "PIL"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def _trace_endpoint() -> str:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


def set_up_tracing() -> Callable[[], None]:
    """For processes without FastAPI: send spans where the environment asks for it. Returns what ends it.

    Raises:
        AppError: it is asked for, and the extra `otel` is not installed.
    """
    if not _trace_endpoint():
        return lambda: None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise AppError("OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is missing: annoport[otel]") from error
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def traced(name: str, handler: Callable[[W], None]) -> Callable[[W], None]:
    """The handler within a span of its own, where somebody collects them."""
    return partial(_run_traced, name, handler) if _trace_endpoint() else handler


def _run_traced(name: str, handler: Callable[[W], None], work: W) -> None:
    from opentelemetry import trace

    attributes: dict[str, str | int] = {"annoport.rq_id": work.request_id, "annoport.attempt": work.attempt}
    with trace.get_tracer(SERVICE_NAME).start_as_current_span(name, attributes=attributes):
        handler(work)
