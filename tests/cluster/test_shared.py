"""What one web process began, any other goes on with; nothing lies on the disk of one alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.caller import Caller
from tests.clients import meadow
from tests.cluster.processes import Cluster
from tests.samples import LABELS, write_pictures
from tests.service import ADMIN, PASSWORD

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def webs(cluster: Cluster) -> Iterator[list[httpx.Client]]:
    """A client of each web process, past nginx."""
    addresses = [f"http://127.0.0.1:{member.environ['ANNOPORT_PORT']}" for member in cluster.webs]
    with contextlib.ExitStack() as stack:
        made = (httpx.Client(base_url=address, auth=(ADMIN, PASSWORD), timeout=180) for address in addresses)
        yield [stack.enter_context(client) for client in made]


def task_of(cluster: Cluster, tmp_path: Path) -> int:
    pictures = {path.name: path.read_bytes() for path in write_pictures(tmp_path / "in", meadow.SIZES)}
    with Caller(cluster) as caller:
        return caller.task("shared", LABELS, pictures)


def begin_upload(web: httpx.Client, path: str, length: int) -> str:
    """The path of a new upload."""
    name = base64.b64encode(b"upload.zip").decode()
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {name}"}
    assert web.post(path, headers={"Upload-Start": "true"}).status_code == 202
    made = web.post(path, headers=headers)
    assert made.status_code == 201, made.text
    return urlsplit(made.headers["location"]).path


def offset_of(web: httpx.Client, place: str) -> int:
    return int(web.head(place, headers=TUS).headers["upload-offset"])


def test_an_upload_goes_from_process_to_process(cluster: Cluster, webs: list[httpx.Client], tmp_path: Path) -> None:
    number = task_of(cluster, tmp_path)
    body = meadow.archive().write(tmp_path / "upload.zip").read_bytes()
    path, query = f"/api/tasks/{number}/annotations/", {"format": "Open Images V6 1.0", "filename": "upload.zip"}
    place = begin_upload(webs[0], path, len(body))
    step = len(body) // 5 + 1
    for turn, start in enumerate(range(0, len(body), step)):
        web = webs[turn % len(webs)]
        assert offset_of(web, place) == start
        sent = web.patch(place, headers={**CHUNK, "Upload-Offset": str(start)}, content=body[start : start + step])
        assert sent.status_code == 204, sent.text
    late = webs[0].patch(place, headers={**CHUNK, "Upload-Offset": "0"}, content=body[:step])
    assert (late.status_code, late.headers["upload-offset"]) == (409, str(len(body)))
    finished = webs[1].post(path, params=query, headers={"Upload-Finish": "true"})
    assert finished.status_code == 202, finished.text
    with Caller(cluster) as caller:
        caller.wait(finished.json()["rq_id"])
        assert len(caller.annotations(number)["tags"]) == len(meadow.tags())


def test_what_arrived_before_a_cut_stays_behind_nginx_too(
    cluster: Cluster, webs: list[httpx.Client], tmp_path: Path
) -> None:
    number = task_of(cluster, tmp_path)
    body = os.urandom(4 << 20)
    place = begin_upload(webs[0], f"/api/tasks/{number}/annotations/", len(body))
    secret = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
    head = {**CHUNK, "Upload-Offset": "0", "Content-Length": str(len(body)), "Authorization": f"Basic {secret}"}
    lines = [
        f"PATCH {place} HTTP/1.1",
        f"Host: {urlsplit(cluster.url).netloc}",
        *(f"{k}: {v}" for k, v in head.items()),
    ]
    with socket.create_connection((urlsplit(cluster.url).hostname, urlsplit(cluster.url).port)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[: 3 << 20])
        time.sleep(0.3)
    deadline = time.monotonic() + 60
    while not (offset := offset_of(webs[1], place)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 0 < offset <= 3 << 20
    rest = webs[1].patch(place, headers={**CHUNK, "Upload-Offset": str(offset)}, content=body[offset:])
    assert rest.status_code == 204


def test_exports_come_from_the_bucket_and_their_headers_from_any_process(
    cluster: Cluster, webs: list[httpx.Client], tmp_path: Path
) -> None:
    number = task_of(cluster, tmp_path)
    with Caller(cluster) as caller:
        caller.bring(number, meadow.archive().write(tmp_path / "upload.zip"))
        started = caller.json("POST", f"/api/tasks/{number}/dataset/export", params={"format": "Open Images V6 1.0"})
        result = caller.wait(started["rq_id"])["result_url"]
    assert result.startswith(cluster.url), "clients are told of nginx, not of the process behind it"
    path = result.removeprefix(cluster.url)
    for web in webs:
        sent = web.get(path)
        assert sent.status_code == 302
        assert sent.headers["location"].startswith(cluster.environ["AWS_ENDPOINT_URL"])
        fetched = httpx.get(sent.headers["location"])  # nobody's credentials
        assert fetched.status_code == 200
        assert fetched.headers["content-disposition"].startswith('attachment; filename="')
        heads = web.head(path)
        assert (heads.status_code, heads.headers["content-length"]) == (200, str(len(fetched.content)))


def test_sessions_and_tokens_are_known_to_all(cluster: Cluster, webs: list[httpx.Client]) -> None:
    made = webs[0].post("/api/auth/access_tokens", json={"name": "shared"})
    assert made.status_code == 201, made.text
    secret = made.json()["value"]
    bearer = {"Authorization": f"Bearer {secret}"}
    plain = [httpx.get(f"{web.base_url}/api/users/self", headers=bearer) for web in webs]
    assert [answer.status_code for answer in plain] == [200, 200]


def metrics(web: httpx.Client) -> dict[str, float]:
    lines = [line for line in web.get("/metrics").text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_background_work_is_counted_for_all(cluster: Cluster, webs: list[httpx.Client], tmp_path: Path) -> None:
    number = task_of(cluster, tmp_path)
    before = metrics(webs[1])
    with Caller(cluster) as caller:
        report = caller.bring(number, meadow.archive().write(tmp_path / "upload.zip"))
    grown: dict[str, Any] = {}
    for web in webs:
        after = metrics(web)
        grown = {name: value - before.get(name, 0) for name, value in after.items()}
        assert grown['annoport_requests_ended_total{status="finished",type="import:annotations"}'] == 1
        assert grown['annoport_request_seconds_count{type="import:annotations"}'] == 1
        assert after['annoport_request_seconds_bucket{le="+Inf",type="import:annotations"}'] >= 1
        rows = sum(table["seen"] for table in report["tables"].values())
        assert grown['annoport_request_rows_total{type="import:annotations"}'] == rows > 0
        size = (tmp_path / "upload.zip").stat().st_size
        assert grown['annoport_request_received_bytes_total{type="import:annotations"}'] == size
        assert "annoport_lease_expiries_total" in after


def test_a_log_line_joins_the_answer_and_the_work(cluster: Cluster, webs: list[httpx.Client], tmp_path: Path) -> None:
    number = task_of(cluster, tmp_path)
    started = webs[0].post(
        f"/api/tasks/{number}/dataset/export",
        params={"format": "Open Images V6 1.0"},
        headers={"X-Request-Id": "from-the-proxy-01"},
    )
    assert started.headers["x-request-id"] == "from-the-proxy-01"
    rq_id = started.json()["rq_id"]
    with Caller(cluster) as caller:
        caller.wait(rq_id)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        texts = [member.log.read_text(errors="replace") for member in cluster.members]
        lines = [
            json.loads(line) for text in texts for line in text.splitlines() if line.startswith("{") and rq_id in line
        ]
        events = {line["event"] for line in lines}
        if "request ended" in events:
            break
        time.sleep(0.05)
    assert {"request queued", "request started", "request ended"} <= events
    (queued,) = [line for line in lines if line["event"] == "request queued"]
    assert (queued["request_id"], queued["rq_id"]) == ("from-the-proxy-01", rq_id)
    assert PASSWORD not in "".join(texts)
