"""More bad requests, of the connection: framing, addresses, headers, resumable uploads."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from urllib.parse import quote

from tests.hostile.requests import AT, BASIC, CHUNK, JSON, TUS, ZIP, bad, raw, tus

HOST = b"Host: 127.0.0.1\r\nAuthorization: " + BASIC.encode() + b"\r\n"
GET = b"GET /api/tasks HTTP/1.1\r\n" + HOST
POST = b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# --- framing

raw("raw: HTTP/1.0", b"GET /api/tasks HTTP/1.0\r\n" + HOST + b"\r\n", [200])
raw("raw: HTTP/1.0 without Host", b"GET /api/tasks HTTP/1.0\r\n\r\n", [401])
raw(
    "raw: HTTP/1.0 with chunks",
    b"POST /api/tasks HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    [400, 415],
)
raw("raw: a version of words", b"GET / HTTP/one\r\n\r\n", [400])
raw("raw: no version", b"GET /api/tasks\r\n" + HOST + b"\r\n", [200, 400])
raw("raw: blanks in the address", b"GET /api/tasks /x HTTP/1.1\r\n" + HOST + b"\r\n", [400])
raw("raw: an asterisk", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [200, 204, 400, 404, 405])
raw("raw: an empty line in front", b"\r\n\r\n" + GET + b"\r\n", [200, 400])
raw("raw: NULs", bytes(1000), [400])
raw("raw: 10 KB of noise", bytes(range(128, 256)) * 80, [400])
raw(
    "raw: a request for a page of a proxy",
    b"GET https://127.0.0.1/api/tasks HTTP/1.1\r\n" + HOST + b"\r\n",
    [200, 400, 404],
)
raw("raw: Expect", POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", [400])
raw("raw: Expect of something else", POST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", [400, 417])
raw(
    "raw: Expect of a body that is too long",
    b"POST /api/tasks/1/import HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: application/zip\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n",
    [413],
)
raw("raw: chunks whose size is below zero", CHUNKED + b"-1\r\n\r\n", [400])
raw("raw: chunks whose size has a blank", CHUNKED + b"2 0\r\n{}\r\n0\r\n\r\n", [400])
raw("raw: chunks whose size begins with 0x", CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", [400])
raw("raw: chunks longer than they say", CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", [400])
raw(
    "raw: chunks with an extension of 100 KB",
    CHUNKED + b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    [400, 413, 431],
)
raw("raw: chunks with trailers", CHUNKED + b"2\r\n{}\r\n0\r\nX-Evil: yes\r\nContent-Length: 5\r\n\r\n", [400])
raw("raw: chunks by line feeds", CHUNKED + b"2\n{}\n0\n\n", [400])
raw("raw: 100,000 chunks of a byte", CHUNKED + b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n", [400])
raw("raw: a transfer coding by tab", POST + b"Transfer-Encoding:\tchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", [400])
raw("raw: a transfer coding before a colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400])
raw("raw: identity", POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", [400])
raw("raw: chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", [400])
raw("raw: a coding that is almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400])
raw(
    "raw: chunks, then a length",
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    [400],
)
raw("raw: the same length twice", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", [400])
raw("raw: two lengths in one", POST + b"Content-Length: 2, 2\r\n\r\n{}", [400])
raw("raw: a length of words", POST + b"Content-Length: two\r\n\r\n{}", [400])
raw("raw: a length of hex", POST + b"Content-Length: 0x2\r\n\r\n{}", [400])
raw("raw: a length of a fraction", POST + b"Content-Length: 2.0\r\n\r\n{}", [400])
raw("raw: no length and no chunks", POST + b"\r\n", [400, 411])
raw("raw: a header of nothing", GET + b": x\r\n\r\n", [400])
raw("raw: a header name of 8-bit letters", GET + b"X-\xff: x\r\n\r\n", [400])
raw("raw: a header with a bare carriage return", GET + b"X: a\rY: b\r\n\r\n", [400])
raw("raw: a header name with NUL", GET + b"X\0: x\r\n\r\n", [400])
raw("raw: two requests at once", GET + b"\r\n" + GET + b"\r\n", [200])
raw("raw: a hundred requests at once", (GET + b"\r\n") * 100, [200])
raw("raw: a request behind a body that is refused", POST + b"Content-Length: 2\r\n\r\n[]" + GET + b"\r\n", [400])
raw("raw: a body for GET", GET + b"Content-Length: 5\r\n\r\nhello", [200])
raw(
    "raw: h2c",
    GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    [200, 400, 426],
)
raw(
    "raw: a websocket",
    GET
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    [200, 400, 403, 404, 426],
)

# --- addresses

for _name, _path, _statuses in (
    ("an encoded slash", "/api%2ftasks", (404, 200)),
    ("an encoded slash in an id", "/api/tasks/1%2fdata", (400, 404)),
    ("an encoded climb", "/api/tasks/%2e%2e/%2e%2e/admin", (404,)),
    ("an encoded climb twice", "/api/tasks/%252e%252e%252fx", (404,)),
    ("overlong UTF-8", "/api/%c0%ae%c0%ae/x", (404, 400)),
    ("a surrogate in UTF-8", "/api/%ed%a0%80", (404, 400)),
    ("a letter that turns the line around", "/api/%e2%80%ae", (404,)),
    ("a byte order mark", "/api/%ef%bb%bftasks", (404,)),
    ("an escape", "/api/%1b[2J", (404,)),
    ("DEL", "/api/%7f", (404,)),
    ("semicolons", "/api/tasks;x=1", (404,)),
    ("a hash", "/api/tasks%23", (404,)),
    ("a question mark", "/api/tasks%3f", (404,)),
    ("a path of 15 KB", "/api/" + "a/" * 7500, (404,)),
    ("15 KB of dots", "/" + "../" * 5000, (404, 400)),
    ("many slashes", "////////api////tasks", (404,)),
    ("another case", "/API/TASKS", (404,)),
    ("an id with a plus", "/api/tasks/+1", (200, 404)),
    ("an id with a blank", "/api/tasks/%201", (200, 404)),
    ("an id of hex", "/api/tasks/0x1", (404,)),
    ("an id of 1e0", "/api/tasks/1e0", (404,)),
    ("an id of 5,000 digits", "/api/tasks/" + "9" * 5000, (404,)),
    ("an id of null", "/api/tasks/null", (404,)),
    ("a job of 2^63", f"/api/jobs/{1 << 63}/annotations", (404,)),
    ("a label of 2^63", f"/api/labels/{1 << 63}", (404,)),
    ("a picture of 2^63", f"/api/tasks/1/pictures/{1 << 63}", (404,)),
    ("a static file of the system", "/static/%2fetc%2fpasswd", (404,)),
    ("a static file by NUL", "/static/app.css%00.png", (404,)),
    ("a health check that is none", "/health/../api/tasks", (404, 401)),
):
    bad(f"path: {_name}", "GET", _path, _statuses)
for _name, _raw in {
    "8-bit letters": b"/api/\xff\xfe",
    "a control": b"/api/\x01",
    "UTF-8 as it is": "/api/ä".encode(),
}.items():
    bad(f"path: raw {_name}", "GET", _raw, [400, 404])
for _method in ("PATCH", "DELETE", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 100):
    bad(f"method: {_method[:10]} on the import", _method, "/api/tasks/{}/import", [204, 400, 404, 405])

# --- headers

for _name, _headers, _expected in (
    ("a type of 10 KB", [("Content-Type", "application/" + "x" * 10_000)], (415,)),
    ("a type of nonsense", [("Content-Type", ";;;=")], (415,)),
    ("no type", [], (415,)),
    ("JSON in another charset", [("Content-Type", "application/json; charset=utf-16")], (400, 415)),
    ("two types", [("Content-Type", "text/plain"), JSON], (400, 415)),
    ("an encoding of nonsense", [JSON, ("Content-Encoding", "x" * 1000)], (415,)),
    ("identity", [JSON, ("Content-Encoding", "identity")], (400, 415)),
):
    bad(f"header: {_name}", "POST", "/api/tasks", _expected, _headers, b"{}")
for _name, _header, _value in (
    ("an ETag of 10 KB", "If-None-Match", '"' + "x" * 10_000 + '"'),
    ("ETags of nonsense", "If-None-Match", "W/W/,,,\"'"),
    ("a date of nonsense", "If-Modified-Since", "the day before"),
    ("an Accept of nonsense", "Accept", "x/y;q=nan, */*;q=99999"),
    ("an Accept of images only", "Accept", "image/png"),
    ("languages of nonsense", "Accept-Language", "x" * 5000),
    ("a request id with a line", "X-Request-Id", "a b;c"),
    ("a real address of nonsense", "X-Forwarded-For", "::::, 999.999.999.999"),
    ("a method in a header", "X-HTTP-Method-Override", "DELETE"),
    ("a rewritten address", "X-Original-URL", "/api/users"),
    ("a user by header", "X-Remote-User", "admin"),
    ("an organization of 10 KB", "X-Organization", "x" * 10_000),
    ("a range of a list", "Range", "bytes=0-1"),
):
    bad(f"header: {_name}", "GET", "/api/tasks", [200, 400, 404, 406], [(_header, _value)])
bad(
    "header: a preflight of 60 KB",
    "OPTIONS",
    "/api/tasks",
    [204, 400, 403, 405, 431],
    [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "x" * 60_000),
    ],
    auth=False,
)
bad(
    "header: a file name that injects",
    "GET",
    "/api/tasks/{}/export?filename=" + quote('a"\r\nX-Evil: 1.zip'),
    [200, 400],
)
bad("header: a file name that climbs", "GET", "/api/tasks/{}/export?filename=" + quote("../../etc/passwd"), [200, 400])
bad(
    "header: a file name that turns around",
    "GET",
    "/api/tasks/{}/export?filename=" + quote("a\u202egnp.zip"),
    [200, 400],
)

# --- resumable uploads


def created(
    name: str, statuses: int | Sequence[int], length: str = "5", metadata: str | None = None, **more: str
) -> None:
    headers = [TUS, ("Upload-Length", length)]
    if metadata is not None:
        headers.append(("Upload-Metadata", metadata))
    headers += [(key.replace("_", "-"), value) for key, value in more.items()]
    tus(name, statuses, *headers)


def named(name: bytes) -> str:
    return "filename " + base64.b64encode(name).decode()


created("a length of nothing", 400, "")
created("a length of blanks", 400, "5 5")
created("a length with an underscore", 400, "1_0")
created("a length of hex", 400, "0x5")
created("a length of a fraction", 400, "5.0")
created("a length of 2^64", [400, 413], str(1 << 64), named(b"a.zip"))
created("a length of 5,000 digits", [400, 413], "9" * 5000, named(b"a.zip"))
created("no metadata", 400)
created("metadata of nothing", 400, metadata="")
created("metadata of commas", 400, metadata=",,,")
created("metadata without filename", 400, metadata="x eA==")
created("metadata of another alphabet", 400, metadata="filename -_8=")
created("metadata half padded", 400, metadata="filename YQ=")
created("metadata of 8-bit letters", 400, metadata="filename \xff\xff")
created("a name that is empty", 400, metadata="filename ")
created("a name of 300 characters", 400, metadata=named(b"x" * 300))
created("a name with a slash", 400, metadata=named(b"a/b.zip"))
created("a name with a backslash", 400, metadata=named(b"a\\b.zip"))
created("a name with a line break", 400, metadata=named(b"a\r\nX-Evil: 1"))
created("a name with an escape", 400, metadata=named(b"a\x1b[2J.zip"))
created("a name of one dot", 400, metadata=named(b"."))
created("a concatenation", [400, 201], metadata=named(b"a.zip"), Upload_Concat="final;/api/tasks/1/annotations/x")
created("two lengths", 400, metadata=named(b"a.zip"), Upload_length="6")
tus("a length of words beside a start", [202, 400], TUS, ("Upload-Length", "x"), ("Upload-Start", ""))
tus("PATCH without offset", [400, 404], TUS, CHUNK, method="PATCH", at=AT + "1_" + "0" * 32)
tus("PATCH of another type", [404, 415], TUS, ZIP, ("Upload-Offset", "0"), method="PATCH", at=AT + "1_" + "0" * 32)
tus(
    "PATCH of another version",
    [404, 412],
    ("Tus-Resumable", "9"),
    CHUNK,
    ("Upload-Offset", "0"),
    method="PATCH",
    at=AT + "x",
)
tus("PUT of a chunk", [404, 405], TUS, CHUNK, ("Upload-Offset", "0"), method="PUT", at=AT + "x")
tus("an id in SQL", 404, TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + quote("x' OR '1'='1"))
tus("an id of 8-bit letters", [400, 404], TUS, CHUNK, ("Upload-Offset", "0"), method="PATCH", at=AT + "%ff")
tus(
    "finish of a form",
    [400, 415],
    ("Upload-Finish", ""),
    ("Content-Type", "multipart/form-data"),
    at=AT + "?format=Open%20Images%20V6%201.0&filename=x",
)
tus(
    "finish of a name of 10 KB",
    400,
    ("Upload-Finish", ""),
    at=AT + "?format=Open%20Images%20V6%201.0&filename=" + "x" * 10_000,
)
tus("finish of a name with NUL", 400, ("Upload-Finish", ""), at=AT + "?format=Open%20Images%20V6%201.0&filename=%00")
tus("finish of an unknown format", 400, ("Upload-Finish", ""), at=AT + "?format=x&filename=y")
