"""Bad requests, byte by byte: each with the statuses that are right, and never one from 500 on."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.hostile.arena import Arena
from tests.service import ADMIN, PASSWORD

TIMEOUT_SECONDS = 20.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Headers = Sequence[tuple[str, str | bytes]]
BASIC = "Basic " + base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """The first answer on the connection; status 0 where there was none."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        try:
            return str(json.loads(self.body).get("code", ""))
        except (ValueError, AttributeError):
            return ""


@dataclass(frozen=True)
class Bad:
    """One request.

    Attributes:
        write: the bytes to send, for the number of the task.
        statuses: those that are right; 0: the connection may end without a word.
        code: of the refusal; "": any.
    """

    write: Callable[[int], bytes]
    statuses: frozenset[int]
    code: str = ""
    is_head: bool = False

    def send(self, arena: Arena) -> Answer:
        return exchange(arena.service.url, self.write(arena.task), is_head=self.is_head)

    def misses(self, answer: Answer) -> str:
        """What is wrong with the answer, or nothing."""
        if answer.status not in self.statuses:
            return f"status {answer.status}, not {sorted(self.statuses)}: {answer.body[:300]!r}"
        if self.code and answer.code != self.code:
            return f"code {answer.code!r}, not {self.code!r}: {answer.body[:300]!r}"
        if answer.status >= 400:
            if (
                (not answer.code and not self.is_head)
                or b"Traceback" in answer.body
                or b"sqlite" in answer.body.lower()
            ):
                return f"no proper refusal: {answer.body[:300]!r}"
            if len(answer.body) > 40_000:
                return f"a refusal of {len(answer.body)} bytes"
            if answer.headers.get("x-content-type-options") != "nosniff":
                return f"without nosniff: {answer.headers}"
        return ""


def exchange(url: str, data: bytes, *, is_head: bool = False) -> Answer:
    """Send bytes on a connection of its own; read until the first answer is whole or the connection ends.

    Args:
        is_head: the answer has no body, whatever length it tells.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), TIMEOUT_SECONDS) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answers before it has read everything
            connection.sendall(data)
        received = b""
        try:
            while not _is_whole(received, is_head) and (piece := connection.recv(1 << 16)):
                received += piece
        except (ConnectionResetError, TimeoutError):
            pass
    return _parsed(received)


def _is_whole(received: bytes, is_head: bool) -> bool:
    _, end, body = received.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    if is_head:
        return bool(end)
    answer = _parsed(received)
    if answer.headers.get("transfer-encoding") == "chunked":
        return body.endswith(b"0\r\n\r\n")
    length = answer.headers.get("content-length")
    return bool(end) and (answer.status in (204, 304) or (length is not None and len(body) >= int(length)))


def _parsed(received: bytes) -> Answer:
    head, _, body = received.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) < 2 or not words[1].isdigit():
        return Answer(0, {}, received)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length")
    return Answer(int(words[1]), headers, body if length is None else body[: int(length)])


def write(
    method: str,
    target: str | bytes,
    headers: Headers = (),
    body: bytes = b"",
    *,
    auth: bool = True,
    length: bool = True,
) -> bytes:
    """A request as bytes. Host, Authorization and Content-Length are added unless `headers` has them."""
    given = {name.lower() for name, _ in headers}
    lines: list[tuple[str, str | bytes]] = list(headers)
    if "host" not in given:
        lines.append(("Host", "127.0.0.1"))
    if auth and "authorization" not in given:
        lines.append(("Authorization", BASIC))
    if length and not given & {"content-length", "transfer-encoding"}:
        lines.append(("Content-Length", str(len(body))))
    raw_target = target if isinstance(target, bytes) else target.encode()
    out = method.encode() + b" " + raw_target + b" HTTP/1.1\r\n"
    for name, value in lines:
        out += (
            name.encode("latin-1") + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")) + b"\r\n"
        )
    return out + b"\r\n" + body


REQUESTS: dict[str, Bad] = {}


def bad(
    name: str,
    method: str,
    target: str | bytes,
    statuses: int | Sequence[int],
    headers: Headers = (),
    body: bytes = b"",
    code: str = "",
    **more: Any,
) -> None:
    """A request to `target`, where `{}` is the number of the task."""

    def make(task: int) -> bytes:
        number = str(task).encode()
        there = target.replace("{}", str(task)) if isinstance(target, str) else target.replace(b"{}", number)
        return write(method, there, headers, body, **more)

    assert name not in REQUESTS, name
    right = frozenset([statuses] if isinstance(statuses, int) else statuses)
    REQUESTS[name] = Bad(make, right, code, method == "HEAD")


def raw(name: str, data: bytes, statuses: Sequence[int]) -> None:
    REQUESTS[name] = Bad(lambda task: data, frozenset(statuses))


JSON = ("Content-Type", "application/json")
ZIP = ("Content-Type", "application/zip")
TUS = ("Tus-Resumable", "1.0.0")
CHUNK = ("Content-Type", "application/offset+octet-stream")


def form(*parts: tuple[str, bytes], boundary: str = "XX") -> tuple[tuple[str, str], bytes]:
    """The header and the body of a form; a part is the rest of its Content-Disposition, and its bytes."""
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), data)
        for head, data in parts
    )
    return ("Content-Type", f"multipart/form-data; boundary={boundary}"), body + f"--{boundary}--\r\n".encode()


# --- the connection

raw("raw: nothing that is HTTP", b"hello, is it me\r\n\r\n", [400])
raw("raw: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), [400, 0])
raw("raw: HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 405, 404])
raw("raw: HTTP/0.9", b"GET /\r\n\r\n", [200, 400])
raw("raw: HTTP/3.7", b"GET / HTTP/3.7\r\nHost: 127.0.0.1\r\n\r\n", [400])
raw("raw: a header without colon", b"GET /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nhello\r\n\r\n", [400])
raw("raw: a folded header", b"GET /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\n c\r\n\r\n", [400, 401])
raw("raw: a header name with a blank", b"GET /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nA b: c\r\n\r\n", [400])
raw("raw: NUL in a header", b"GET /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\0c\r\n\r\n", [400])
raw("raw: bare line feeds", b"GET /api/tasks HTTP/1.1\nHost: 127.0.0.1\n\n", [400, 401])
raw("raw: no Host", b"GET /api/tasks HTTP/1.1\r\n\r\n", [400, 401])
raw(
    "raw: an absolute address",
    b"GET http://evil.example/api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    [400, 401, 404],
)
raw("raw: CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", [400, 401, 404, 405])
bad("raw: two lengths", "POST", "/api/tasks", 400, [("Content-Length", "2"), ("Content-Length", "3"), JSON], b"{} ")
bad(
    "raw: a length and chunks",
    "POST",
    "/api/tasks",
    400,
    [("Content-Length", "2"), ("Transfer-Encoding", "chunked")],
    b"0\r\n\r\n",
)
bad("raw: a length below zero", "POST", "/api/tasks", 400, [("Content-Length", "-1"), JSON])
bad("raw: a length of 10^30", "POST", "/api/tasks", [400, 413], [("Content-Length", "1" + "0" * 30), JSON])
bad("raw: a length with a plus", "POST", "/api/tasks", 400, [("Content-Length", "+2"), JSON], b"{}")
bad(
    "raw: a chunk of no size",
    "POST",
    "/api/tasks",
    400,
    [("Transfer-Encoding", "chunked"), JSON],
    b"zz\r\n{}\r\n0\r\n\r\n",
)
bad(
    "raw: a chunk of 2^64",
    "POST",
    "/api/tasks",
    400,
    [("Transfer-Encoding", "chunked"), JSON],
    b"ffffffffffffffffff\r\n{}",
)
bad(
    "raw: another transfer coding",
    "POST",
    "/api/tasks",
    [400, 501],
    [("Transfer-Encoding", "gzip, chunked"), JSON],
    b"0\r\n\r\n",
)
bad("raw: headers of 100 KB", "GET", "/api/tasks", 431, [("X-Long", "x" * 100_000)])
bad("raw: 10,000 headers", "GET", "/api/tasks", 431, [(f"X-{number}", "x") for number in range(10_000)])
bad("raw: an address of 20 KB", "GET", "/api/" + "x" * 20_000, 414)
bad("raw: a query of 17 KB", "GET", "/api/tasks?search=" + "x" * 16_300, [414, 431, 400])
bad("raw: an Upgrade", "GET", "/api/tasks", [200, 400, 426], [("Connection", "Upgrade"), ("Upgrade", "websocket")])

# --- Host, Origin, cookies, tokens

bad("host: two", "GET", "/api/tasks", 400, [("Host", "127.0.0.1"), ("Host", "evil.example")])
bad("host: malformed", "GET", "/api/tasks", 400, [("Host", "a b/c@d")], code="request.host")
bad("host: a port of words", "GET", "/api/tasks", 400, [("Host", "127.0.0.1:http")], code="request.host")
bad("host: a port of 70000", "GET", "/api/tasks", 400, [("Host", "127.0.0.1:70000")], code="request.host")
bad("host: half an IPv6", "GET", "/api/tasks", 400, [("Host", "[::1")], code="request.host")
bad(
    "origin: another site",
    "POST",
    "/api/tasks",
    403,
    [("Origin", "https://evil.example"), JSON],
    b'{"name": "x"}',
    code="access.origin",
)
bad("origin: null", "POST", "/api/tasks", 403, [("Origin", "null"), JSON], b'{"name": "x"}', code="access.origin")
bad(
    "origin: nonsense",
    "POST",
    "/api/tasks",
    403,
    [("Origin", "http://[::1"), JSON],
    b'{"name": "x"}',
    code="access.origin",
)
bad(
    "origin: ours with another port",
    "POST",
    "/api/tasks",
    403,
    [("Origin", "http://127.0.0.1:1"), JSON],
    b'{"name": "x"}',
)
bad(
    "origin: a page of another site",
    "POST",
    "/api/tasks",
    403,
    [("Sec-Fetch-Site", "cross-site"), JSON],
    b'{"name": "x"}',
)
bad("auth: nobody", "GET", "/api/tasks", 401, auth=False)
bad("auth: no base64", "GET", "/api/tasks", 401, [("Authorization", "Basic %%%")])
bad("auth: no colon", "GET", "/api/tasks", 401, [("Authorization", "Basic " + base64.b64encode(b"admin").decode())])
bad(
    "auth: no UTF-8",
    "GET",
    "/api/tasks",
    401,
    [("Authorization", "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode())],
)
bad(
    "auth: a NUL in the name",
    "GET",
    "/api/tasks",
    401,
    [("Authorization", "Basic " + base64.b64encode(b"a\0b:c").decode())],
)
bad("auth: a wrong token", "GET", "/api/tasks", 401, [("Authorization", "Token " + "0" * 40)])
bad("auth: a token of 60 KB", "GET", "/api/tasks", [401, 431], [("Authorization", "Bearer " + "0" * 60_000)])
bad("auth: other bytes", "GET", "/api/tasks", 401, [("Authorization", b"Bearer \xff\xfe")])
bad("auth: an unknown scheme", "GET", "/api/tasks", 401, [("Authorization", "Negotiate abc")])
bad("auth: two headers", "GET", "/api/tasks", [400, 401], [("Authorization", "Token x"), ("Authorization", BASIC)])
bad("cookie: a wrong session", "GET", "/api/tasks", 401, [("Cookie", "sessionid=" + "0" * 32)], auth=False)
bad("cookie: nonsense", "GET", "/api/tasks", 401, [("Cookie", b'sessionid=\xff"; ;;=;sessionid')], auth=False)
bad(
    "cookie: a session, no CSRF token",
    "POST",
    "/api/tasks",
    [401, 403],
    [("Cookie", "sessionid=x; csrftoken=y"), JSON],
    b"{}",
    auth=False,
)
bad(
    "login: a body of 100 KB",
    "POST",
    "/api/auth/login",
    413,
    [JSON],
    b'{"username": "' + b"x" * 100_000 + b'"}',
    auth=False,
)
bad(
    "login: a name that is a list",
    "POST",
    "/api/auth/login",
    400,
    [JSON],
    b'{"username": [], "password": {}}',
    auth=False,
)
bad(
    "login: a password with NUL",
    "POST",
    "/api/auth/login",
    [400, 401],
    [JSON],
    b'{"username": "a\\u0000", "password": "\\u0000"}',
    auth=False,
)
bad("organization: unknown", "GET", "/api/tasks?org=nobody", 404)
bad("organization: two of them", "GET", "/api/tasks?org=a", [400, 404], [("X-Organization", "b")])
bad(
    "forwarded: another host",
    "GET",
    "/api/tasks",
    [200, 400],
    [("X-Forwarded-Host", "evil.example"), ("Forwarded", "for=1.2.3.4;host=evil")],
)
bad(
    "forwarded: an address of nonsense",
    "GET",
    "/api/tasks",
    200,
    [("X-Forwarded-For", "', DROP TABLE"), ("X-Forwarded-Proto", "gopher")],
)

# --- paths and methods

for _name, _path, _statuses in (
    ("climbing", "/api/../../etc/passwd", (404, 400)),
    ("climbing in the page", "/static/../../../etc/passwd", (404, 400)),
    ("climbing by percents", "/%2e%2e/%2e%2e/etc/passwd", (404, 400)),
    ("climbing by backslashes", "/..\\..\\etc\\passwd", (404, 400)),
    ("NUL", "/api/tasks/%00", (404, 400)),
    ("a line break", "/api/tasks/1%0d%0aX: y", (404, 400)),
    ("no UTF-8", "/api/tasks/%ff%fe", (404, 400)),
    ("half a percent", "/api/tasks/%", (404, 400)),
    ("two slashes", "//evil.example/api", (404, 400)),
    ("a number below zero", "/api/tasks/-1", (404,)),
    ("a number of 30 digits", "/api/tasks/" + "9" * 30, (404,)),
    ("a number over 64 bits", "/api/tasks/9223372036854775808", (404,)),
    ("a fraction", "/api/tasks/1.5", (404,)),
    ("other digits", "/api/tasks/%D9%A1", (404,)),
    ("an underscore", "/api/tasks/1_0", (404,)),
    ("a request that climbs", "/api/requests/..%2f..%2fx", (404,)),
    ("a request of 10 KB", "/api/requests/" + "x" * 10_000, (404, 400)),
    ("a request with SQL", "/api/requests/x'%20OR%201=1--", (404,)),
):
    bad(f"path: {_name}", "GET", _path, _statuses)
for _method in ("TRACE", "PROPFIND", "PUT", "DELETE"):
    bad(f"method: {_method} on the list", _method, "/api/tasks", [400, 403, 404, 405])
bad("method: nonsense", "GETT", "/api/tasks", [400, 404, 405])
bad("method: GET on the import", "GET", "/api/tasks/{}/import", [404, 405])

# --- queries

for _name, _query in {
    "page 0": "page=0",
    "page of words": "page=x",
    "page of 10^30": "page=1" + "0" * 30,
    "page size below zero": "page_size=-1",
    "sort by a secret": "sort=owner__password",
    "sort with SQL": "sort=id;DROP TABLE tasks",
    "a filter that is no JSON": "filter={",
    "a filter 1,000 deep": "filter=" + '{"and":[' * 1000,
    "a filter of nonsense": 'filter={"regex":[{"var":"x"},1]}',
    "no UTF-8": "search=%ff",
    "NUL": "search=%00",
}.items():
    bad(f"query: {_name}", "GET", "/api/tasks?" + _query.replace(" ", "%20"), [400, 404])
bad("query: an unknown format", "POST", "/api/tasks/{}/import?format=Nonsense", 400, [ZIP], b"x", code="format.unknown")
bad("query: an unknown option", "POST", "/api/tasks/{}/import?dryrun=1", 400, [ZIP], b"x")
bad("query: wait for ever", "POST", "/api/tasks/{}/import?wait=inf", 400, [ZIP], b"x")
bad("query: wait nan", "POST", "/api/tasks/{}/import?wait=nan", 400, [ZIP], b"x")
bad("query: another mode", "POST", "/api/tasks/{}/import?mode=merge", 400, [ZIP], b"x")
bad("query: a frame of words", "GET", "/api/tasks/{}/data?type=frame&number=x&quality=original", [400, 404])
bad(
    "query: a frame of 10^20",
    "GET",
    "/api/tasks/{}/data?type=frame&number=100000000000000000000&quality=original",
    [400, 404],
)
bad("query: a frame that is not there", "GET", "/api/tasks/{}/data?type=frame&number=99&quality=original", [400, 404])
bad(
    "query: a file from the server",
    "POST",
    "/api/tasks/{}/data",
    400,
    [JSON],
    b'{"server_files": ["/etc/passwd"], "image_quality": 70}',
)
bad(
    "query: a file from the net",
    "POST",
    "/api/tasks/{}/data",
    400,
    [JSON],
    b'{"remote_files": ["http://169.254.169.254/"], "image_quality": 70}',
)

# --- bodies

bad(
    "body: packed",
    "POST",
    "/api/tasks",
    415,
    [JSON, ("Content-Encoding", "gzip")],
    b"\x1f\x8b",
    code="request.media_type",
)
bad("body: an archive that is packed", "POST", "/api/tasks/{}/import", 415, [ZIP, ("Content-Encoding", "br")], b"x")
bad(
    "body: XML",
    "POST",
    "/api/tasks",
    415,
    [("Content-Type", "application/xml")],
    b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
)
bad("body: a text", "POST", "/api/tasks", 415, [("Content-Type", "text/plain")], b'{"name": "x"}')
bad(
    "body: a form for JSON",
    "POST",
    "/api/tasks",
    415,
    [("Content-Type", "application/x-www-form-urlencoded")],
    b"name=x",
)
bad("body: an empty archive", "POST", "/api/tasks/{}/import", 400, [ZIP], code="upload.empty")
bad("body: JSON for an archive", "POST", "/api/tasks/{}/import", 400, [JSON], b"{}")
bad("body: 3 GiB announced", "POST", "/api/tasks/{}/import", 413, [ZIP, ("Content-Length", str(3 << 30))], b"PK")
bad(
    "body: 70 MiB of JSON announced",
    "PUT",
    "/api/tasks/{}/annotations",
    413,
    [JSON, ("Content-Length", str(70 << 20))],
    b"{",
)


def annotations(
    name: str, body: bytes | dict[str, Any], statuses: int | Sequence[int] = 400, method: str = "PUT"
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    query = "?action=update" if method == "PATCH" else ""
    bad(f"json: {name}", method, "/api/tasks/{}/annotations" + query, statuses, [JSON], data)


def shape(**changes: Any) -> dict[str, Any]:
    """A body with one shape; the label is none of the task's, unless it is told."""
    plain = {"type": "rectangle", "frame": 0, "label_id": 1, "points": [1, 1, 3, 3], "attributes": []}
    return {"version": 0, "tags": [], "tracks": [], "shapes": [plain | changes]}


annotations("nothing", b"")
annotations("cut", b'{"shapes": [')
annotations("no UTF-8", b'{"shapes": "\xff"}')
annotations("UTF-16", '{"shapes": []}'.encode("utf-16"))
annotations("a list", b"[]")
annotations("a number", b"7")
annotations("100,000 deep", b"[" * 100_000 + b"]" * 100_000)
annotations("a million braces", b'{"a":' * 1_000_000)
annotations("shapes that are a text", {"shapes": "x"})
annotations("shapes that are numbers", {"shapes": [1, 2, 3]})
annotations("NaN", json.dumps(shape(points=[1, 1, 3, float("nan")])).encode())
annotations("Infinity", json.dumps(shape(points=[1, 1, 3, float("inf")])).encode())
annotations("1e400", b'{"shapes": [{"type": "rectangle", "frame": 0, "label_id": 1, "points": [1, 1, 3, 1e400]}]}')
annotations("10^300", shape(points=[0, 0, 1e300, 1e300]))
annotations("points that are true", shape(points=[True, False, True, True]))
annotations("points that are texts", shape(points=["1", "1", "3", "3"]))
annotations("three points", shape(points=[1, 2, 3]))
annotations("a polygon of two corners", shape(type="polygon", points=[1, 1, 2, 2]))
annotations("a polygon of an odd number", shape(type="polygon", points=[1, 1, 2, 2, 3, 3, 4]))
annotations("a polygon of 200,000 numbers", shape(type="polygon", points=[1.5, 2.5] * 100_000))
annotations("an unknown type", shape(type="heart"))
annotations("a frame below zero", shape(frame=-1))
annotations("a frame over all", shape(frame=3))
annotations("a frame of 2^70", shape(frame=1 << 70))
annotations("a frame that is true", shape(frame=True))
annotations("a label that is none", shape(label_id=999_999))
annotations("a label of 2^70", shape(label_id=1 << 70))
annotations("an attribute that is none", shape(attributes=[{"spec_id": 999_999, "value": "x"}]))
annotations("runs that do not fill their box", shape(type="mask", points=[1, 2, 0, 0, 5, 5]))
annotations("runs below zero", shape(type="mask", points=[-1, 37, 0, 0, 5, 5]))
annotations("runs of 10^18", shape(type="mask", points=[10**18, 0, 0, 0, 5, 5]))
annotations("a mask of a billion pixels", shape(type="mask", points=[0, 10**18, 0, 0, 10**9 - 1, 10**9 - 1]))
annotations("a mask outside of the picture", shape(type="mask", points=[0, 4, 100, 100, 101, 101]))
annotations("a text with NUL", shape(source="\0"))
annotations("an integer of 5,000 digits", b'{"version": ' + b"9" * 5000 + b"}")
annotations("a million tags that are null", {"tags": [None] * 1_000_000})
annotations("300,000 shapes", {"shapes": [0] * 300_000})
annotations("a track without shapes", {"tracks": [{"frame": 0, "label_id": 1, "shapes": []}]})
annotations("a track of nonsense", {"tracks": [{"frame": 0, "label_id": 1, "shapes": [{"type": []}]}]})
annotations("an id that is not there", shape(id=123456), [400, 404], "PATCH")
bad("json: an unknown action", "PATCH", "/api/tasks/{}/annotations?action=explode", 400, [JSON], b"{}")
bad("json: a task without name", "POST", "/api/tasks", 400, [JSON], b"{}")
bad("json: a name of 300 characters", "POST", "/api/tasks", 400, [JSON], json.dumps({"name": "x" * 300}).encode())
bad("json: a name with NUL", "POST", "/api/tasks", 400, [JSON], b'{"name": "a\\u0000b"}')
bad("json: a lone surrogate", "POST", "/api/tasks", 400, [JSON], b'{"name": "\\ud800"}')
bad("json: labels twice", "POST", "/api/tasks", 400, [JSON], b'{"name": "x", "labels": [{"name": "a"}, {"name": "a"}]}')
bad(
    "json: a project that is not there", "POST", "/api/tasks", [400, 404], [JSON], b'{"name": "x", "project_id": 99999}'
)
bad("json: a segment below zero", "POST", "/api/tasks", 400, [JSON], b'{"name": "x", "labels": [], "segment_size": -5}')

# --- forms

for _name, _header, _body in (
    ("no boundary", "multipart/form-data", b"x"),
    ("an empty boundary", "multipart/form-data; boundary=", b"--\r\n"),
    ("a boundary of 10 KB", "multipart/form-data; boundary=" + "x" * 10_000, b"x"),
    ("a boundary that never comes", "multipart/form-data; boundary=XX", b"hello" * 100),
    (
        "no end",
        "multipart/form-data; boundary=XX",
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nPK',
    ),
    ("a part without name", "multipart/form-data; boundary=XX", b"--XX\r\nContent-Type: a/b\r\n\r\nx\r\n--XX--\r\n"),
    (
        "a part's header of 100 KB",
        "multipart/form-data; boundary=XX",
        b"--XX\r\nX: " + b"x" * 100_000 + b"\r\n\r\n\r\n--XX--\r\n",
    ),
    ("100 KB in front", "multipart/form-data; boundary=XX", b"x" * 100_000 + b"--XX--\r\n"),
    (
        "100 KB behind",
        "multipart/form-data; boundary=XX",
        form(('name="file"; filename="a.zip"', b"PK"))[1] + b"x" * 100_000,
    ),
    (
        "a part that is packed",
        "multipart/form-data; boundary=XX",
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nUEs=\r\n--XX--\r\n",
    ),
):
    bad(f"form: {_name}", "POST", "/api/tasks/{}/import", [400, 413], [("Content-Type", _header)], _body)
for _name, _parts in {
    "no file": (('name="x"', b"y"),),
    "two files": (('name="file"; filename="a.zip"', b"x"), ('name="file"; filename="b.zip"', b"y")),
    "another field": (('name="upload"; filename="a.zip"', b"x"),),
    "2,000 fields": tuple((f'name="f{number}"', b"") for number in range(2000)),
    "a field of 2 MiB": (('name="x"', b"y" * (2 << 20)),),
}.items():
    _content_type, _body = form(*_parts)
    bad(f"form: {_name}", "POST", "/api/tasks/{}/import", [400, 413], [_content_type], _body)
_content_type, _body = form(('name="file"; filename="../../../etc/cron.d/x"', b"no zip"))
bad("form: a file name that climbs", "POST", "/api/tasks/{}/import", 400, [_content_type], _body, code="zip.invalid")

# --- resumable uploads

AT = "/api/tasks/{}/annotations/"


def tus(
    name: str, statuses: int | Sequence[int], *headers: tuple[str, str | bytes], method: str = "POST", at: str = AT
) -> None:
    bad(f"tus: {name}", method, at, statuses, headers)


tus("no number", 400, TUS, ("Upload-Length", "abc"))
tus("below zero", 400, TUS, ("Upload-Length", "-1"))
tus("other digits", 400, TUS, ("Upload-Length", "\u00b2"))
tus("a plus", 400, TUS, ("Upload-Length", "+5"))
tus("10^30", [400, 413], TUS, ("Upload-Length", "1" + "0" * 30))
tus("a terabyte", 413, TUS, ("Upload-Length", str(1 << 40)))
tus("deferred", 400, TUS, ("Upload-Defer-Length", "1"))
tus("another version", 412, ("Tus-Resumable", "0.2.2"), ("Upload-Length", "5"))
tus("metadata that are no base64", 400, TUS, ("Upload-Length", "5"), ("Upload-Metadata", "filename %%%"))
tus("metadata that are no UTF-8", 400, TUS, ("Upload-Length", "5"), ("Upload-Metadata", "filename /w=="))
tus("metadata of 20 KB", 400, TUS, ("Upload-Length", "5"), ("Upload-Metadata", "filename " + "QUFB" * 5000))
tus(
    "a name that climbs",
    [400, 201],
    TUS,
    ("Upload-Length", "5"),
    ("Upload-Metadata", "filename " + base64.b64encode(b"..").decode()),
)
tus(
    "a name with NUL",
    400,
    TUS,
    ("Upload-Length", "5"),
    ("Upload-Metadata", "filename " + base64.b64encode(b"a\0b").decode()),
)
tus("finish of nothing", 400, ("Upload-Finish", ""), at=AT + "?format=Open%20Images%20V6%201.0&filename=nobody")
tus("finish without name", 400, ("Upload-Finish", ""), at=AT + "?format=Open%20Images%20V6%201.0")
tus("finish of a path", 400, ("Upload-Finish", ""), at=AT + "?format=Open%20Images%20V6%201.0&filename=../../x")
tus("an unknown id", 404, TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "nobody")
tus("an id that climbs", 404, TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "..%2f..%2fx")
tus("an id of dots", [404, 405], TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "..")
tus("an id of 10 KB", [400, 404], TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "x" * 10_000)
tus("an id with NUL", 404, TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "a%00b")
tus("HEAD of an unknown id", 404, TUS, method="HEAD", at=AT + "nobody")
tus("DELETE of an unknown id", [404, 405], TUS, method="DELETE", at=AT + "nobody")
bad("tus: a group that is no form", "POST", AT, 400, [("Upload-Multiple", ""), ZIP], b"PK")

# --- downloads

for _name, _range in {
    "backwards": "bytes=9-1",
    "of words": "bytes=a-b",
    "many": "bytes=" + ",".join(f"{n}-{n}" for n in range(1000)),
    "10^30": "bytes=1" + "0" * 30 + "-",
    "another unit": "pixels=1-2",
    "empty": "",
}.items():
    bad(f"range: {_name}", "GET", "/api/tasks/{}/export", [200, 206, 416], [("Range", _range)])

# --- a service that asks nobody for a password: pages of other sites must not reach it

LOCAL: dict[str, Bad] = {
    name: Bad(lambda task, request=request: request, frozenset([status]))  # type: ignore[misc]
    for name, status, request in (
        ("another name for this machine", 400, write("GET", "/api/tasks", [("Host", "evil.example")], auth=False)),
        (
            "a page of another site reads",
            403,
            write("GET", "/api/tasks", [("Origin", "http://evil.example")], auth=False),
        ),
        ("a sandboxed page reads", 403, write("GET", "/api/tasks", [("Origin", "null")], auth=False)),
        (
            "a page of another site embeds",
            403,
            write("GET", "/api/tasks", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], auth=False),
        ),
        (
            "a form of another site",
            403,
            write("POST", "/api/tasks/1/import", [("Origin", "http://evil.example"), form()[0]], form()[1], auth=False),
        ),
        (
            "a proxy's word for it",
            400,
            write("GET", "/api/tasks", [("Host", "evil.example"), ("X-Forwarded-Host", "127.0.0.1")], auth=False),
        ),
        ("a text that is JSON", 415, write("POST", "/api/tasks", [("Content-Type", "text/plain")], b"{}", auth=False)),
    )
}
