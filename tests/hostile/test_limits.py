"""Every limit that is a setting: what passes it, and what is answered. One service with small limits for all."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.caller import Caller
from tests.hostile import parts
from tests.hostile.pictures import black, saved
from tests.hostile.requests import BASIC
from tests.samples import picture
from tests.service import running_service

KIB = 1 << 10

SMALL = {
    "MAX_ANNOTATION_UPLOAD_BYTES": 300 * KIB,
    "MAX_DATA_UPLOAD_BYTES": 600 * KIB,
    "TUS_MAX_SIZE_BYTES": 200 * KIB,
    "TUS_MAX_OPEN_PER_USER": 2,
    "MAX_JSON_BODY_BYTES": 20 * KIB,
    "MAX_LOGIN_BODY_BYTES": 1 * KIB,
    "MAX_JSON_DEPTH": 8,
    "MULTIPART_MAX_FILES": 3,
    "MULTIPART_MAX_FIELDS": 4,
    "MULTIPART_MAX_FIELD_BYTES": 2 * KIB,
    "MULTIPART_MAX_PART_HEADER_BYTES": 1 * KIB,
    "MAX_HEADER_BYTES": 8 * KIB,
    "MAX_ZIP_ENTRIES": 12,
    "MAX_ZIP_MEMBER_BYTES": 200 * KIB,
    "MAX_ZIP_TOTAL_BYTES": 250 * KIB,
    "MAX_ZIP_RATIO": 50,
    "ZIP_RATIO_FROM_BYTES": 20 * KIB,
    "MAX_ZIP_NAME_BYTES": 80,
    "MAX_ZIP_COMPONENT_BYTES": 64,
    "MAX_ZIP_DEPTH": 3,
    "MAX_CSV_ROWS": 20,
    "MAX_CSV_FIELD_BYTES": 1 * KIB,
    "MAX_CSV_COLUMNS": 20,
    "MAX_HIERARCHY_DEPTH": 2,
    "MAX_HIERARCHY_NODES": 10,
    "MAX_MASK_PIXELS": 1000,
    "MAX_MASK_BYTES": 300,
    "MAX_IMAGE_PIXELS": 20_000,
    "MAX_IMAGE_BYTES": 60 * KIB,
    "MAX_POINTS_PER_SHAPE": 20,
    "MAX_SHAPES_PER_REQUEST": 30,
    "MAX_PAGE_SIZE": 2,
    "LOGIN_RATE_PER_MINUTE": 2,
    "MAX_PROBLEMS": 3,
}

ELSEWHERE = {
    "MAX_QUEUED_PER_USER": "tests/api/test_requests.py",
    "MAX_QUEUED": "tests/storage/test_requests.py",
    "MAX_CONNECTIONS": "tests/hostile/test_limits.py",
    "MIN_FREE_BYTES": "tests/storage/test_blobs.py",
    "MAX_CLASSES": "tests/formats/open_images/test_read_rarely.py",
    "MAX_SUBSETS": "tests/formats/open_images/test_read_rarely.py",
}
"""Limits that this service cannot have at once with the others, or that are passed where a table is read."""


@dataclass(frozen=True)
class Over:
    """A call that passes a limit, and what it must hear; code "": not looked at."""

    call: Callable[[Caller, int], httpx.Response]
    status: int
    code: str = ""


def bring(body: Callable[[], bytes], status: int, code: str) -> Over:
    return Over(lambda user, task: user.http.post(f"/api/tasks/{task}/import?wait=150", content=body()), status, code)


def annotate(status: int, code: str, **body: Any) -> Over:
    return Over(lambda user, task: user.http.put(f"/api/tasks/{task}/annotations", json=body), status, code)


def attach(*files: tuple[str, bytes], **texts: str) -> Callable[[Caller, int], httpx.Response]:
    """Pictures for a task; the answer is that of the request's end."""

    def call(user: Caller, _: int) -> httpx.Response:
        task = user.json("POST", "/api/tasks", json={"name": "x", "labels": []})["id"]
        form = [(f"client_files[{number}]", file) for number, file in enumerate(files)]
        answer = user.http.post(f"/api/tasks/{task}/data", files=form, data=texts)
        while answer.status_code == 202 or answer.json().get("status") in ("queued", "started"):
            rq_id = answer.json().get("rq_id") or answer.json()["id"]
            answer = user.http.get(f"/api/requests/{rq_id}")
        return answer

    return call


def tus(length: int) -> Callable[[Caller, int], httpx.Response]:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": "filename YS56aXA="}
    return lambda user, task: user.http.post(f"/api/tasks/{task}/annotations", headers=headers)


def three_uploads(user: Caller, task: int) -> httpx.Response:
    return [tus(5)(user, task) for _ in range(3)][-1]


def logins(user: Caller, _: int) -> httpx.Response:
    body = {"username": "nobody", "password": "x"}
    return [user.http.post("/api/auth/login", json=body) for _ in range(3)][-1]


def rectangle(**more: Any) -> dict[str, Any]:
    return {"type": "rectangle", "frame": 0, "label_id": 1, "points": [0, 0, 1, 1], **more}


def table(rows: bytes) -> Callable[[], bytes]:
    return lambda: parts.tree({parts.BOXES: parts.BOX_HEADER + rows})


def noise(n_bytes: int) -> bytes:

    return random.Random(n_bytes).randbytes(n_bytes)


OVER: dict[str, Over] = {
    "MAX_ANNOTATION_UPLOAD_BYTES": bring(lambda: bytes(301 * KIB), 413, "too_large"),
    "MAX_DATA_UPLOAD_BYTES": Over(attach(("a.png", bytes(34 << 20))), 413, "too_large"),
    "TUS_MAX_SIZE_BYTES": Over(tus(201 * KIB), 413, "too_large"),
    "TUS_MAX_OPEN_PER_USER": Over(three_uploads, 429),
    "MAX_JSON_BODY_BYTES": annotate(413, "too_large", shapes=[], version="x" * 21 * KIB),
    "MAX_LOGIN_BODY_BYTES": Over(
        lambda user, _: user.http.post("/api/auth/login", json={"username": "x" * 2000, "password": ""}), 413
    ),
    "MAX_JSON_DEPTH": Over(
        lambda user, _: user.http.post(
            "/api/tasks", content=b"[" * 9 + b"]" * 9, headers={"Content-Type": "application/json"}
        ),
        400,
        "json.too_deep",
    ),
    "MULTIPART_MAX_FILES": Over(attach(*((f"{n}.png", b"x") for n in range(4))), 413),
    "MULTIPART_MAX_FIELDS": Over(attach(("a.png", b"x"), **{f"f{n}": "x" for n in range(5)}), 413),
    "MULTIPART_MAX_FIELD_BYTES": Over(attach(("a.png", b"x"), f="x" * 3000), 413),
    "MULTIPART_MAX_PART_HEADER_BYTES": Over(attach(("x" * 1000 + ".png", b"x")), 400),
    "MAX_HEADER_BYTES": Over(lambda user, _: user.http.get("/api/tasks", headers={"X": "x" * 9000}), 431),
    "MAX_ZIP_ENTRIES": bring(lambda: parts.tree({f"{n}.txt": b"x" for n in range(12)}), 400, "zip.too_big"),
    "MAX_ZIP_MEMBER_BYTES": bring(lambda: parts.tree({"x": noise(201 * KIB)}), 400, "zip.too_big"),
    "MAX_ZIP_TOTAL_BYTES": bring(
        lambda: parts.tree({f"{n}": noise(60 * KIB) + bytes(30 * KIB) for n in range(3)}), 400, "zip.too_big"
    ),
    "MAX_ZIP_RATIO": bring(lambda: parts.tree({"x": bytes(100 * KIB)}), 400, "zip.too_big"),
    "ZIP_RATIO_FROM_BYTES": bring(lambda: parts.tree({"x": bytes(21 * KIB)}), 400, "zip.too_big"),
    "MAX_ZIP_NAME_BYTES": bring(lambda: parts.tree({"/".join(["x" * 41] * 2): b""}), 400, "zip.unsafe_path"),
    "MAX_ZIP_COMPONENT_BYTES": bring(lambda: parts.tree({"x" * 65: b""}), 400, "zip.unsafe_path"),
    "MAX_ZIP_DEPTH": bring(lambda: parts.tree({"a/b/c/d": b""}), 400, "zip.unsafe_path"),
    "MAX_CSV_ROWS": bring(table(parts.box() * 21), 400, "csv.too_big"),
    "MAX_CSV_FIELD_BYTES": bring(table(parts.box("x" * 1100)), 400, "csv.too_big"),
    "MAX_CSV_COLUMNS": bring(
        lambda: parts.tree({parts.BOXES: parts.BOX_HEADER[:-1] + b",x,y,z,u,v,w,q,r\n"}), 400, "csv.too_big"
    ),
    "MAX_HIERARCHY_DEPTH": bring(
        lambda: parts.tree({parts.TREE: b'{"LabelName":"a","Part":[{"LabelName":"b","Part":[{"LabelName":"c"}]}]}'}),
        400,
        "hierarchy.too_big",
    ),
    "MAX_HIERARCHY_NODES": bring(
        lambda: parts.tree({parts.TREE: json.dumps({"LabelName": "a", "Part": [{"LabelName": "b"}] * 10}).encode()}),
        400,
        "hierarchy.too_big",
    ),
    "MAX_MASK_PIXELS": bring(lambda: parts.tree({parts.PNG: parts.mask(40, 30)}), 400, "mask.bad_png"),
    "MAX_MASK_BYTES": bring(lambda: parts.tree({parts.PNG: parts.mask() + noise(400)}), 400, "mask.bad_png"),
    "MAX_IMAGE_PIXELS": Over(attach(("a.png", black(200, 150))), 200, "more than the 20000 allowed"),
    "MAX_IMAGE_BYTES": Over(attach(("a.png", saved("PNG") + noise(61 * KIB))), 200, "61,440 are allowed"),
    "MAX_POINTS_PER_SHAPE": annotate(400, "", shapes=[rectangle(type="polygon", points=[1, 2] * 11)]),
    "MAX_SHAPES_PER_REQUEST": annotate(400, "annotations.too_many", shapes=[rectangle()] * 31),
    "MAX_PAGE_SIZE": Over(lambda user, _: user.http.get("/api/labels?page_size=100"), 200),
    "MAX_PROBLEMS": bring(table(b"".join(parts.box(f"no{n}") for n in range(9))), 400, "image.unmatched"),
    "LOGIN_RATE_PER_MINUTE": Over(logins, 429),
}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caller, int]]:
    environ = {f"ANNOPORT_{name}": str(value) for name, value in SMALL.items()}
    folder = tmp_path_factory.mktemp("small")
    with running_service(folder, arguments=("--workers", "1"), environ=environ) as service, Caller(service) as caller:
        pictures = {name: picture(*size) for name, size in parts.FRAMES.items()}
        task = caller.task("small", [{"name": name} for name in parts.LABELS], pictures)
        sound = caller.http.post(f"/api/tasks/{task}/import?wait=150", content=parts.tree())
        assert sound.status_code == 200, sound.text
        yield caller, task


@pytest.mark.parametrize("name", OVER)
def test_what_passes_a_limit_is_refused_by_its_name(user: tuple[Caller, int], name: str) -> None:
    caller, task = user
    before = caller.annotations(task)
    over = OVER[name]
    answer = over.call(caller, task)
    assert answer.status_code == over.status, answer.text[:500]
    told = answer.json()
    if "message" in told:  # a request that must have failed
        assert told["status"] == "failed"
        assert over.code in told["message"]
    elif over.code:
        codes = {told["code"], *(problem["code"] for problem in told["problems"])}
        assert over.code in codes
    if name == "MAX_PAGE_SIZE":
        assert len(told["results"]) == SMALL[name]
    if name == "MAX_PROBLEMS":
        assert len([one for one in told["problems"] if one["severity"] == "error"]) == SMALL[name]
        assert told["counts"]["image.unmatched"] == 9
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) > 0
    assert caller.annotations(task) == before


def test_every_limit_is_passed_somewhere() -> None:
    limits = {name.upper() for name in Settings.model_fields if "max_" in name or "rate" in name or "ratio" in name}
    assert limits - {"MAX_CONNECTIONS", *ELSEWHERE} == set(OVER)
    assert set(OVER) == set(SMALL)
    for file in ELSEWHERE.values():
        assert Path(file).is_file(), file


def test_more_connections_than_allowed_hear_503(tmp_path: Path) -> None:
    environ = {"ANNOPORT_MAX_CONNECTIONS": "5"}
    with running_service(tmp_path, arguments=("--workers", "0"), environ=environ) as service:
        port = int(service.url.rpartition(":")[2])
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        try:
            answer = httpx.get(service.url + "/api/tasks", headers={"Authorization": BASIC}, timeout=180)
            assert answer.status_code == 503
            assert answer.json()["code"] == "busy"
            assert int(answer.headers["retry-after"]) > 0
        finally:
            for connection in held:
                connection.close()
