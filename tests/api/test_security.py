"""What every request must pass, and what every answer carries."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from app.api import Services, build_app
from app.api.errors import TimedOut
from app.api.security import _host_name, _Patient
from tests.api.conftest import BASE_URL, TestClient, created

# ---- hosts


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_known_hosts_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/server/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil", "localhost@evil", "[::1", "a b", "localhost:x"]
)
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/server/about", headers={"Host": host})
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.host"


def test_any_host_where_none_is_listed(services: Services) -> None:
    settings = replace(services.settings, allowed_hosts=(), auth_mode="users")
    open_to_all = TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)
    about = open_to_all.get("/api/server/about", headers={"Host": "some.example:81"})
    assert about.json()["logo_url"] == "http://some.example:81/logo.svg"
    assert open_to_all.get("/api/server/about", headers={"Host": "bad host"}).status_code == 400


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Host.example:80", "host.example"),
        ("host.", "host"),
        ("[::1]:80", "[::1]"),
        ("[::1]x", ""),
        ("[]", ""),
        ("a:99999", ""),
        ("", ""),
        ("a/b", ""),
        ("é.example", ""),
    ],
)
def test_host_names(host: str, name: str) -> None:
    assert _host_name(host) == name


# ---- origins


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost", "http://localhost:80", "HTTP://LOCALHOST"])
def test_our_own_origin_may_write(client: TestClient, origin: str) -> None:
    assert client.post("/api/tasks", json={"name": "t"}, headers={"Origin": origin}).status_code == 201


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:81", "http://localhost.evil", "garbage", "http://["]
)
def test_foreign_origins_may_not_write(client: TestClient, anonymous: TestClient, origin: str) -> None:
    for one in (client, anonymous):
        answer = one.post("/api/auth/login", json={"username": "a", "password": "b"}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert answer.json()["code"] == "access.origin"


def test_foreign_pages_may_not_even_read_in_local_mode(client: TestClient, anonymous: TestClient) -> None:
    assert client.get("/api/tasks", headers={"Origin": "http://evil.example"}).status_code == 403
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/tasks", headers=embedded).status_code == 403
    followed_link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/api/server/about", headers=followed_link).status_code == 200
    assert client.post("/api/tasks", json={"name": "t"}, headers=followed_link).status_code == 403
    # Elsewhere credentials decide.
    assert anonymous.get("/api/server/about", headers={"Origin": "http://evil.example"}).status_code == 200


def test_the_public_address_is_an_own_origin(services: Services) -> None:
    settings = replace(services.settings, public_url="https://labels.example")
    behind_proxy = TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)
    answer = behind_proxy.post("/api/tasks", json={"name": "t"}, headers={"Origin": "https://labels.example"})
    assert answer.status_code == 201
    assert answer.json()["url"] == "https://labels.example/api/tasks/1"


@pytest.fixture
def cors_client(services: Services) -> TestClient:
    settings = replace(services.settings, allowed_origins=("https://tool.example",))
    return TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)


def test_listed_origins_get_cors_answers(cors_client: TestClient) -> None:
    answer = cors_client.post("/api/tasks", json={"name": "t"}, headers={"Origin": "https://tool.example"})
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == "https://tool.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-origin" not in cors_client.get("/api/tasks").headers


def test_preflights_are_answered_for_listed_origins_only(cors_client: TestClient) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "Upload-Offset"}
    answer = cors_client.options("/api/tasks/1", headers={"Origin": "https://tool.example", **asked})
    assert answer.status_code == 204
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "Upload-Offset"
    refused = cors_client.options("/api/tasks/1", headers={"Origin": "https://evil.example", **asked})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


# ---- targets


def test_a_trailing_slash_makes_no_difference_and_no_redirect(client: TestClient) -> None:
    made = client.post("/api/tasks/", json={"name": "t"}, follow_redirects=False)
    assert made.status_code == 201
    assert client.get("/api/tasks/1/", follow_redirects=False).json()["id"] == 1
    assert client.get("/api/tasks/1//", follow_redirects=False).status_code == 404


@pytest.mark.parametrize("query", ["search=%00", "filter=%ff", "search=%ed%a0%80"])
def test_queries_that_no_database_takes_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/tasks?{query}").status_code == 400


def test_long_queries_are_refused(client: TestClient) -> None:
    assert client.get("/api/tasks?search=" + "x" * 20_000).status_code == 414
    assert client.get("/api/tasks?search=" + "x" * 5_000).status_code == 400


@pytest.mark.parametrize(
    "path", ["/api/requests/a%00b", "/api/requests/%ff", "/api/tasks/1%0a", "/api/tasks/9" + "9" * 30]
)
def test_paths_that_name_nothing_are_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["cloudstorages", "webhooks/1", "organizations", "quality/reports", "lambda/functions", "server/share", "schema/"],
)
def test_what_is_not_offered_says_so(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/{path}")
    assert answer.status_code == 404
    assert "does not offer" in answer.json()["detail"]
    assert client.post(f"/api/{path}", json={}).status_code == 404


def test_a_wrong_method_names_the_right_ones(client: TestClient) -> None:
    answer = client.put("/api/tasks/1", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert "PUT" in answer.json()["detail"]


# ---- bodies


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[" * 100 + b"]" * 100, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"name": "t"}', "text/plain", 415),
        (b"name=t", "application/x-www-form-urlencoded", 415),
        (b'{"name": "t"}', "application/vnd.cvat+json", 201),
        (b'{"name": "t"}', "application/json; charset=utf-8", 201),
        (b'{"name": "a\\u0000b"}', "application/json", 400),
        (b'{"name": "\\ud800"}', "application/json", 400),
        (b'{"name": true}', "application/json", 400),
        (b'{"name": ""}', "application/json", 400),
        (b'{"name": "%s"}' % (b"x" * 257), "application/json", 400),
    ],
)
def test_json_bodies(client: TestClient, body: bytes, content_type: str, status: int) -> None:
    answer = client.post("/api/tasks", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    if status != 201:
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/tasks", b"", "the body: This field is required."),
        ("/api/tasks", b"[]", "the body: Expected an object."),
        ("/api/comments", b'{"message": "a", "issue": 1e308}', "issue: A valid integer is required."),
        (
            "/api/auth/access_tokens",
            b'{"name": "a", "expiry_date": "soon"}',
            "expiry_date: A moment is required, such as",
        ),
        ("/api/auth/access_tokens", b'{"name": "a", "expiry_date": {}}', "expiry_date: A moment is required, such as"),
    ],
)
def test_what_is_wrong_with_a_body_has_a_name(client: TestClient, path: str, body: bytes, words: str) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(words)


def test_malformed_json_is_told_in_cvats_shape(client: TestClient) -> None:
    answer = client.post("/api/tasks", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.json()["detail"].startswith("JSON parse error")


def test_compressed_bodies_are_not_taken(client: TestClient) -> None:
    answer = client.post("/api/tasks", content=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


@pytest.fixture
def small_client(services: Services) -> TestClient:
    settings = replace(services.settings, max_json_body_bytes=1000)
    return TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)


def test_announced_bodies_over_the_limit_are_413(small_client: TestClient) -> None:
    assert small_client.post("/api/tasks", json={"name": "x" * 1000}).status_code == 413


def test_bodies_of_models_are_bounded_whatever_the_setting(client: TestClient) -> None:
    # Up to the bound a large body is parsed in a thread; past it nothing is read.
    labels = [{"name": f"label {number}", "attributes": [{"name": "a" * 60}]} for number in range(3000)]
    assert client.post("/api/tasks", json={"name": "t", "labels": labels}).status_code == 201
    answer = client.post("/api/tasks", json={"name": "t", "labels": [*labels, {"color": "#ff0000"}]})
    assert (answer.status_code, answer.json()["labels"]) == (
        400,
        ["labels[3000]: a new label needs a name, a change of one needs its id"],
    )
    assert client.post("/api/tasks", json={"name": "t", "x": "x" * (4 << 20)}).status_code == 413


def test_unannounced_bodies_over_the_limit_are_413(small_client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    answer = small_client.post("/api/tasks", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1x", "１"])
def test_a_length_that_is_no_number_is_refused(app: FastAPI, length: str) -> None:
    status = asyncio.run(_post_raw(app, [(b"content-length", length.encode())], b"{}"))
    assert status == 400


def test_two_hosts_are_refused(app: FastAPI) -> None:
    assert asyncio.run(_post_raw(app, [(b"host", b"localhost")], b"{}")) == 400


async def _post_raw(app: FastAPI, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """POST /api/tasks past the client, which would repair the headers. Gives the status."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/tasks",
        "raw_path": b"/api/tasks",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_credentials_are_checked_before_the_body_is_read(users_app: FastAPI) -> None:
    async def run() -> tuple[int, int]:
        n_reads = 0
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            nonlocal n_reads
            n_reads += 1
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/api/tasks",
            "raw_path": b"/api/tasks",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-length", b"2")],
            "client": None,
            "server": None,
        }
        await users_app(scope, receive, send)
        return sent[0]["status"], n_reads

    assert asyncio.run(run()) == (401, 0)


def test_a_silent_body_is_408() -> None:
    async def run() -> None:
        async def never() -> Any:
            await asyncio.sleep(60)

        with pytest.raises(TimedOut, match=r"0\.01 seconds"):
            await _Patient(never, 0.01)()

    asyncio.run(run())


def test_after_the_body_there_is_no_hurry() -> None:
    async def run() -> str:
        messages = iter([{"type": "http.request", "body": b"x", "more_body": False}])

        async def receive() -> Any:
            for message in messages:
                return message
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        patient = _Patient(receive, 0.01)
        await patient()
        return str((await patient())["type"])

    assert asyncio.run(run()) == "http.disconnect"


def test_a_stalled_body_is_answered_with_408(services: Services) -> None:
    settings = replace(services.settings, body_idle_timeout_seconds=0.05)
    app = build_app(replace(services, settings=settings))

    async def run() -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/api/tasks",
            "raw_path": b"/api/tasks",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": None,
            "server": None,
        }
        await app(scope, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(run()) == 408


# ---- answers


def test_every_answer_carries_the_security_headers_and_a_request_id(client: TestClient) -> None:
    for path in ("/api/server/about", "/api/nothing", "/health/live", "/api/tasks/77"):
        answer = client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert len(answer.headers["x-request-id"]) == 16
        if path.startswith("/api/"):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"


def test_the_request_id_is_in_the_body_of_a_refusal(client: TestClient) -> None:
    answer = client.get("/api/tasks/77", headers={"X-Request-Id": "abcdef-0123"})
    assert answer.headers["x-request-id"] == "abcdef-0123"
    assert answer.json()["request_id"] == "abcdef-0123"
    forged = client.get("/api/tasks/77", headers={"X-Request-Id": "a\tb"})
    assert forged.json()["request_id"] != "a\tb"


def test_a_defect_is_a_500_without_a_traceback(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail of /data/annoport.db")

    monkeypatch.setattr("app.storage.tasks.list_page", broken)
    answer = TestClient(app, base_url=BASE_URL).get("/api/tasks")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("lack", "status"),
    [
        (OSError(errno.EMFILE, "Too many open files"), 503),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), 503),
        (OSError(errno.EIO, "Input/output error"), 503),
        (OSError(errno.ENOSPC, "No space left on device"), 507),
        (MemoryError(), 503),
        (RuntimeError("can't start new thread"), 503),
        (OSError(errno.EINVAL, "Invalid argument"), 500),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_no_defect(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, lack: Exception, status: int
) -> None:
    def refused(*_: object) -> None:
        raise lack

    monkeypatch.setattr("app.storage.tasks.list_page", refused)
    answer = TestClient(app, base_url=BASE_URL).get("/api/tasks")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["request_id"]


def test_an_organization_is_taken_when_empty_and_404_otherwise(client: TestClient) -> None:
    created(client, "/api/tasks", name="t")
    assert client.get("/api/tasks?org=").json()["count"] == 1
    assert client.get("/api/tasks", headers={"X-Organization": ""}).json()["count"] == 1
    for answer in (
        client.get("/api/tasks?org=acme"),
        client.get("/api/tasks?org_id=1"),
        client.get("/api/tasks", headers={"X-Organization": "acme"}),
    ):
        assert answer.status_code == 404
        assert "organization" in answer.json()["detail"]
    assert client.get("/api/tasks?org_id=1&org=").status_code == 400
    assert client.get("/api/tasks?org=a", headers={"X-Organization": "b"}).status_code == 400


@pytest.mark.parametrize("path", ["/health/live", "/api/server/about", "/api/tasks", "/api/users/self", "/"])
def test_what_is_read_answers_head_too(client: TestClient, path: str) -> None:
    read, asked = client.get(path), client.head(path)
    assert asked.status_code == read.status_code == 200
    assert asked.headers["content-type"] == read.headers["content-type"]
    assert asked.headers.get("content-length") == read.headers.get("content-length")


def test_head_of_what_is_not_there_is_404(client: TestClient) -> None:
    assert client.head("/api/tasks/999").status_code == 404
