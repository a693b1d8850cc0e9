"""What an operator sees of a service of several processes: metrics of all of them from any, spans, an orderly end."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.caller import Caller
from tests.clients import meadow
from tests.samples import LABELS, write_pictures
from tests.service import Service, running_service


class Collector:
    """A collector of traces: what arrived, span by span."""

    def __init__(self) -> None:
        self.spans: dict[str, dict[str, object]] = {}
        self.services: set[str] = set()
        arrived = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    arrived.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            for each in resource.resource.attributes:
                if each.key == "service.name":
                    self.services.add(each.value.string_value)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans[span.name] = {each.key: each.value.string_value for each in span.attributes}

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    with made.running():
        yield made


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Service]:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    folder = tmp_path_factory.mktemp("observed")
    with running_service(folder, arguments=("--web-processes", "2"), environ=environ) as running:
        yield running


def test_any_process_tells_of_the_traffic_of_all(observed: Service) -> None:
    line = 'annoport_http_requests_total{method="GET",route="/api/server/about",status="200"}'

    def count() -> float:
        # Each call is a connection of its own, so both processes are asked.
        with Caller(observed) as caller:
            text = caller.call("GET", "/metrics").text
        (found,) = [each for each in text.splitlines() if each.startswith(line)] or [f"{line} 0"]
        assert 'annoport_requests{status="queued"}' in text
        return float(found.rpartition(" ")[2])

    before = count()
    for _ in range(30):
        with Caller(observed) as caller:
            caller.call("GET", "/api/server/about")
    deadline = time.monotonic() + 60  # an answer is counted when its last byte is sent, which its reader may outrun
    while count() < before + 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {count() for _ in range(8)} == {before + 30}


def test_spans_of_answers_and_of_background_work_are_sent(
    observed: Service, collector: Collector, tmp_path: Path
) -> None:
    pictures = {path.name: path.read_bytes() for path in write_pictures(tmp_path / "in", meadow.SIZES)}
    with Caller(observed) as caller:
        number = caller.task("seen", LABELS, pictures)
        caller.bring(number, meadow.archive().write(tmp_path / "upload.zip"))
    wanted = {"import:annotations", "create:task", "POST /api/tasks/{task_id}/import"}
    deadline = time.monotonic() + 60
    while not wanted <= collector.spans.keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wanted <= collector.spans.keys()
    assert collector.services == {"annoport"}
    assert collector.spans["import:annotations"]["annoport.rq_id"]
    assert not any("health" in name for name in collector.spans)
